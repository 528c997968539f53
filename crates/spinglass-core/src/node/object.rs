//! A node's part in objects: what is too large for a row.

use alloc::vec::Vec;
use core::net::SocketAddr;

use bytes::Bytes;
use spinglass_summary::Name;

use super::Node;
use crate::event::Reject;
use crate::frame::{self, Frame};
use crate::object::{Come, FETCHES_MAX, Intent, ObjectCx, ObjectError, ObjectName, ObjectState};
use crate::table::SetError;
use crate::time::{Instant, Now};
use crate::timer::Timer;

/// Fetches at once, functions' texts and all, beyond which no further text is fetched: the rest is
/// the application's.
const TEXT_FETCHES_MAX: usize = FETCHES_MAX / 2;

/// The bundle that objects work with, borrowed from a node field by field.
macro_rules! object_cx {
    ($node:ident, $now:expr) => {
        ObjectCx {
            now: $now,
            table: &$node.table,
            rng: &mut $node.object_rng,
            crypto: &mut *$node.crypto,
            outbox: &mut $node.outbox,
            stats: &mut $node.stats,
        }
    };
}

impl Node {
    /// Puts an object under an attribute of the own row: the row then names it by hash and size,
    /// and whoever wants it fetches it. It is kept for as long as the row names it.
    ///
    /// # Errors
    /// It is too large, the store is full of objects in use, or the attribute can't be set; the row
    /// has not changed.
    pub fn put_object(
        &mut self,
        now: Now,
        name: Name,
        bytes: Bytes,
    ) -> Result<ObjectName, SetError> {
        let closed = SetError::Object(ObjectError::Closed);
        if self.has_left {
            return Err(closed);
        }
        let object = self.objects.put(bytes, &mut *self.crypto).map_err(SetError::Object)?;
        let set = self.set_attributes(now, &[(name, object.to_value())]);
        self.objects.keep(self.table.objects_in_use());
        set.map(|()| object)
    }

    /// Begins to fetch an object from whoever has it, unless it is here or on its way:
    /// [`objects`](Self::objects) tells how far it is.
    ///
    /// # Errors
    /// Too many are being fetched, or the store is full of objects in use; nothing changed.
    pub fn fetch_object(&mut self, now: Now, object: ObjectName) -> Result<(), ObjectError> {
        self.stats.inputs += 1;
        if self.has_left {
            return Err(ObjectError::Closed);
        }
        self.begin_fetch(object, FETCHES_MAX, now.monotonic)
    }

    fn begin_fetch(
        &mut self,
        object: ObjectName,
        fetches_max: usize,
        now: Instant,
    ) -> Result<(), ObjectError> {
        self.objects.fetch(object, fetches_max, &mut object_cx!(self, now))?;
        self.set_object_timer(now);
        Ok(())
    }

    fn set_object_timer(&mut self, now: Instant) {
        if let Some(due) = self.objects.next_due(now) {
            self.timers.set(Timer::Object, due);
        }
    }

    /// Holds the text of a function that is too long for a row.
    pub(super) fn hold_text(&mut self, sql: &str) -> Result<ObjectName, SetError> {
        let bytes = Bytes::copy_from_slice(sql.as_bytes());
        self.objects.put(bytes, &mut *self.crypto).map_err(SetError::Object)
    }

    pub(super) fn on_objects_due(&mut self, now: Instant) {
        if !self.has_left {
            self.objects.on_round(&mut object_cx!(self, now));
            self.set_object_timer(now);
        }
    }

    /// Keeps what is in use, and fetches the texts of functions, and what orders name, that are not
    /// here.
    pub(super) fn look_after_objects(&mut self, now: Now) {
        self.objects.keep(self.table.objects_in_use());
        if self.has_left {
            return;
        }
        let of_orders = self.heed_objects(now);
        let mut awaited: Vec<_> = self.table.texts_awaited().into_iter().collect();
        awaited.extend(of_orders);
        // Those that nobody had the last time let the others go first.
        awaited.sort_by_key(|text| matches!(self.objects.state(text), ObjectState::Failed(_)));
        for text in awaited {
            if let ObjectState::Held(bytes) = self.objects.state(&text) {
                self.table.on_object(text, &bytes);
            } else if self.begin_fetch(text, TEXT_FETCHES_MAX, now.monotonic).is_err() {
                // There is no room just now: the next round tries again.
                break;
            }
        }
    }

    /// Takes in what another agent says of objects.
    pub(super) fn on_object_frame(
        &mut self,
        frame: &Frame<'_>,
        from: SocketAddr,
        now: Instant,
    ) -> Result<(), Reject> {
        if self.has_left {
            self.stats.frames_skipped += 1;
            return Ok(());
        }
        let cx = &mut object_cx!(self, now);
        match frame {
            Frame::Seek(name) => self.objects.on_seek(from, *name, cx),
            Frame::Have(name) => self.objects.on_have(from, *name, cx),
            Frame::Ask(ask) => self.objects.on_ask(from, ask, cx),
            Frame::Piece(piece) => {
                if self.objects.on_piece(from, piece, cx)? == Come::Whole
                    && let ObjectState::Held(bytes) = self.objects.state(&piece.name)
                {
                    self.table.on_object(piece.name, &bytes);
                }
            }
            _ => (),
        }
        Ok(())
    }

    pub(super) fn write_object(&mut self, intent: &Intent, buffer: &mut Vec<u8>) {
        match intent {
            Intent::Seek(name) => frame::put_seek(*name, buffer),
            Intent::Have(name) => frame::put_have(*name, buffer),
            Intent::Ask(ask) => frame::put_ask(ask, buffer),
            Intent::Piece { name, index } => {
                self.stats.object_pieces_sent += 1;
                frame::put_piece(buffer, |buffer| self.objects.put_piece(name, *index, buffer));
            }
        }
    }
}
