//! Objects: what is too large for a row goes into it by name, and is fetched in bulk from whoever
//! has it. Departure: Astrolabe leaves that to its applications; here a name that a row holds is
//! enough, and functions' texts travel in the same way.
//!
//! An agent puts up to 16 MiB under an attribute of its row. The row then holds the object's name,
//! the root of a hash tree over its pieces and its size ([`ObjectName`]). Whoever wants the object
//! asks agents that may have it: those whose rows name it, one of its own region, one of any zone
//! beside its path. Whoever has fetched an object has it too, so sources grow as copies do.
//!
//! ```text
//!  a ── seek: do you have this object? ──────▶ b, c, d    a few agents, every five rounds
//!  a ◀── have ──────────────────────────────── b          whoever has it; others are silent
//!  a ── ask: pieces 0 to 26 ─────────────────▶ b          as many as a round's budget allows
//!  a ◀── piece, piece, ... ─────────────────── b          each with its way up the tree
//! ```
//!
//! The receiver sets the pace: it asks for so many bytes a round, of all its sources together, and
//! a source serves so many, of which half at most to one receiver. What does not come is asked for
//! again, of another source. A source that is silent is left; one that sends a forged piece is not
//! asked again as long as the fetch lasts.
//!
//! Invariants: nothing unverified is kept; memory grows with the pieces that come, not with what a
//! name claims; what the own row or a function in force names is not dropped; bytes asked for and
//! served stay within their budgets in every round, whatever others ask or lose.

mod fetch;
mod messages;
mod name;
mod store;
#[cfg(test)]
mod tests;
mod tree;

use alloc::collections::{BTreeMap, BTreeSet, VecDeque};
use alloc::vec::Vec;
use core::fmt;
use core::net::SocketAddr;

use bytes::Bytes;

pub use messages::{Ask, PieceRef, parse_name};
pub use name::ObjectName;
pub use tree::{Tree, verify};

use crate::config::{MESSAGE_BYTES_MAX, ObjectsConfig};
use crate::crypto::Crypto;
use crate::event::Reject;
use crate::frame::FRAME_HEADER_BYTES;
use crate::link::{HEADER_BYTES_MAX, OVERHEAD_BYTES};
use crate::members::RECORD_BYTES_MAX;
use crate::outbox::{Control, Outbox};
use crate::rng::Prng;
use crate::stats::Stats;
use crate::table::Table;
use crate::time::Instant;
use crate::wire::{Put as _, varint_bytes};
use fetch::{Allowance, Fetch};
use store::Store;

/// The largest object: 16 MiB, as the largest message.
pub const OBJECT_BYTES_MAX: usize = MESSAGE_BYTES_MAX;
/// Bytes of a piece; the last one may be shorter. With the longest way up a tree it fits a datagram
/// of 1,200 bytes.
pub const PIECE_BYTES: usize = 896;
/// Pieces that one request names at most.
pub const ASK_PIECES_MAX: usize = 64;

/// Fetches at once at most; further ones are refused until one has ended.
pub const FETCHES_MAX: usize = 16;
/// Failures remembered, for whoever waits for an object. When full, the oldest is forgotten.
const FAILURES_MAX: usize = 64;
/// Bytes of a search, or of its answer: they carry their sender's record.
const SEEK_BYTES_MAX: usize =
    HEADER_BYTES_MAX + crate::crypto::TAG_BYTES + RECORD_BYTES_MAX + 2 * FRAME_HEADER_BYTES + 20;

/// Levels of the largest object's tree above its pieces.
const DEPTH_MAX: usize =
    OBJECT_BYTES_MAX.div_ceil(PIECE_BYTES).next_power_of_two().trailing_zeros() as usize;
/// The longest piece fits the default datagram.
const _: () = assert!(
    OVERHEAD_BYTES + FRAME_HEADER_BYTES + 16 + 4 + 3 + DEPTH_MAX * tree::HASH_BYTES + PIECE_BYTES
        <= 1200
);

/// What objects may touch while they handle one input.
pub(crate) struct ObjectCx<'a> {
    pub(crate) now: Instant,
    pub(crate) table: &'a Table,
    pub(crate) rng: &'a mut Prng,
    pub(crate) crypto: &'a mut dyn Crypto,
    pub(crate) outbox: &'a mut Outbox,
    pub(crate) stats: &'a mut Stats,
}

/// What is to be sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Intent {
    /// Ask whether one has an object.
    Seek(ObjectName),
    /// Say so.
    Have(ObjectName),
    /// Ask for pieces.
    Ask(Ask),
    /// A piece, read from the store when it is sent.
    Piece { name: ObjectName, index: u32 },
}

/// How far an object is, for one agent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ObjectState {
    /// It is here, whole and verified.
    Held(Bytes),
    /// It is on its way.
    Fetching {
        /// Pieces that have come.
        come: u32,
        /// Pieces that it has.
        of: u32,
    },
    /// The last attempt to fetch it failed.
    Failed(Failure),
    /// It is not here, and nobody fetches it.
    Absent,
}

/// Why an object was not fetched.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Failure {
    /// Nobody that was asked has it.
    NotFound,
    /// Some said that they have it, but did not send it.
    NoAnswer,
    /// There is no room for it beside what must be kept.
    StoreFull,
}

impl fmt::Display for Failure {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::NotFound => "nobody that was asked has the object: is its owner still there?",
            Self::NoAnswer => "the agents that have the object do not send it: try again",
            Self::StoreFull => "there is no room for the object: raise objects.store_bytes_max",
        })
    }
}

/// An object that can't be put or fetched. Nothing changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ObjectError {
    /// It is larger than any object may be.
    TooLarge {
        /// The limit, in bytes.
        limit: usize,
        /// Its size.
        got: usize,
    },
    /// The store has no room for it beside what must be kept.
    StoreFull {
        /// Bytes that the store holds at most, hashes included.
        limit: usize,
    },
    /// So many objects are being fetched that no further one is begun.
    Busy {
        /// Fetches at once at most.
        limit: usize,
    },
    /// The agent has left, or has no table.
    Closed,
}

impl fmt::Display for ObjectError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TooLarge { limit, got } => {
                write!(formatter, "the object has {got} bytes, the limit is {limit}: split it")
            }
            Self::StoreFull { limit } => write!(
                formatter,
                "the objects in use fill the store of {limit} bytes: raise \
                 objects.store_bytes_max, or set attributes that name objects to null"
            ),
            Self::Busy { limit } => {
                write!(formatter, "{limit} objects are being fetched: wait until one is here")
            }
            Self::Closed => formatter
                .write_str("the agent has left the group: start it again to put or fetch objects"),
        }
    }
}

impl core::error::Error for ObjectError {}

/// The objects of one agent.
#[derive(Debug)]
pub struct Objects {
    config: ObjectsConfig,
    store: Store,
    fetches: BTreeMap<ObjectName, Fetch>,
    failures: VecDeque<(ObjectName, Failure)>,
    allowance: Allowance,
    serve_bytes_left: usize,
    /// Bytes served in this round, by receiver.
    served: BTreeMap<SocketAddr, usize>,
    /// Counts changes of what is held or on its way.
    revision: u64,
}

impl Objects {
    pub(crate) fn new(config: ObjectsConfig) -> Self {
        let bytes = config.fetch_bytes_per_round;
        Self {
            store: Store::new(config.store_bytes_max),
            fetches: BTreeMap::new(),
            failures: VecDeque::new(),
            allowance: Allowance { round: 0, bytes_left: bytes, source_bytes: bytes / 2 },
            serve_bytes_left: config.serve_bytes_per_round,
            served: BTreeMap::new(),
            revision: 0,
            config,
        }
    }

    // --- what the application does

    /// Holds an object, and keeps it until [`keep`](Self::keep) says otherwise.
    ///
    /// # Errors
    /// It is too large, or there is no room for it.
    pub(crate) fn put(
        &mut self,
        bytes: Bytes,
        crypto: &mut dyn Crypto,
    ) -> Result<ObjectName, ObjectError> {
        let (limit, got) = (OBJECT_BYTES_MAX, bytes.len());
        let too_large = ObjectError::TooLarge { limit, got };
        if got > limit {
            return Err(too_large);
        }
        let size = u32::try_from(got).map_err(|_| too_large)?;
        let tree = Tree::of(&bytes, crypto);
        let name = ObjectName::new(tree.root(size, crypto), size).ok_or(too_large)?;
        if !self.store.put(name, bytes, tree) {
            return Err(ObjectError::StoreFull { limit: self.config.store_bytes_max });
        }
        self.store.keep_one(name);
        self.end_fetch(&name);
        self.revision += 1;
        Ok(name)
    }

    /// Says which objects must not be dropped.
    pub(crate) fn keep(&mut self, kept: BTreeSet<ObjectName>) {
        self.store.keep(kept);
    }

    /// Begins to fetch an object, unless it is here or on its way, if fewer than `fetches_max` are.
    ///
    /// # Errors
    /// Too many are being fetched, or there is no room for it.
    pub(crate) fn fetch(
        &mut self,
        name: ObjectName,
        fetches_max: usize,
        cx: &mut ObjectCx<'_>,
    ) -> Result<(), ObjectError> {
        if self.store.find(&name).is_some() || self.fetches.contains_key(&name) {
            return Ok(());
        }
        if self.fetches.len() >= fetches_max {
            return Err(ObjectError::Busy { limit: fetches_max });
        }
        let limit = self.config.store_bytes_max;
        let coming: usize = self.fetches.keys().map(ObjectName::bytes).sum();
        if !self.store.has_room(coming + name.bytes()) {
            return Err(ObjectError::StoreFull { limit });
        }
        self.begin_round(cx.now);
        self.failures.retain(|(failed, _)| *failed != name);
        let mut fetch = Fetch::new(name);
        fetch.on_round(&mut self.allowance, cx);
        self.fetches.insert(name, fetch);
        self.revision += 1;
        Ok(())
    }

    // --- what the application reads

    /// How far an object is.
    #[must_use]
    pub fn state(&self, name: &ObjectName) -> ObjectState {
        if let Some(held) = self.store.find(name) {
            return ObjectState::Held(held.bytes.clone());
        }
        if let Some(fetch) = self.fetches.get(name) {
            return ObjectState::Fetching { come: fetch.pieces_come(), of: name.pieces() };
        }
        let failure = self.failures.iter().rev().find(|(failed, _)| failed == name);
        failure.map_or(ObjectState::Absent, |(_, failure)| ObjectState::Failed(*failure))
    }

    /// A number that rises whenever something is held, comes, or fails.
    #[must_use]
    pub const fn revision(&self) -> u64 {
        self.revision
    }

    /// Bytes of the objects held and of their trees.
    #[must_use]
    pub const fn held_bytes(&self) -> usize {
        self.store.bytes()
    }

    /// Checks what must always hold. For tests and simulators.
    pub(crate) fn check_invariants(&self) {
        self.store.check_invariants();
        self.fetches.values().for_each(Fetch::check_invariants);
        assert!(self.fetches.len() <= FETCHES_MAX && self.failures.len() <= FAILURES_MAX);
        let served: usize = self.served.values().sum();
        assert!(served + self.serve_bytes_left <= self.config.serve_bytes_per_round);
    }

    // --- rounds

    /// When the next round of the fetches is due; `None`: there is nothing to fetch.
    pub(crate) fn next_due(&self, now: Instant) -> Option<Instant> {
        let next = Instant::from_nanos(self.round_nanos() * (self.round_at(now) + 1));
        (!self.fetches.is_empty()).then_some(next)
    }

    /// Runs the round of all fetches, beginning with a random one: none has the budget for itself.
    pub(crate) fn on_round(&mut self, cx: &mut ObjectCx<'_>) {
        self.begin_round(cx.now);
        let mut names: Vec<_> = self.fetches.keys().copied().collect();
        let first = cx.rng.index(names.len());
        names.rotate_left(first);
        for name in names {
            let Some(fetch) = self.fetches.get_mut(&name) else { continue };
            match fetch.failure() {
                Some(failure) => self.fail(name, failure),
                None => fetch.on_round(&mut self.allowance, cx),
            }
        }
    }

    fn round_nanos(&self) -> u64 {
        u64::try_from(self.config.round.as_nanos()).unwrap_or(u64::MAX).max(1)
    }

    fn round_at(&self, now: Instant) -> u64 {
        now.as_nanos() / self.round_nanos()
    }

    /// Renews the budgets if a round has begun since they were last renewed.
    fn begin_round(&mut self, now: Instant) {
        let round = self.round_at(now);
        if round != self.allowance.round {
            self.allowance.round = round;
            self.allowance.bytes_left = self.config.fetch_bytes_per_round;
            self.serve_bytes_left = self.config.serve_bytes_per_round;
            self.served.clear();
        }
    }

    fn fail(&mut self, name: ObjectName, failure: Failure) {
        self.end_fetch(&name);
        if self.failures.len() >= FAILURES_MAX {
            self.failures.pop_front();
        }
        self.failures.push_back((name, failure));
        self.revision += 1;
    }

    fn end_fetch(&mut self, name: &ObjectName) -> Option<Fetch> {
        self.fetches.remove(name)
    }

    // --- frames

    /// Somebody looks for an object.
    pub(crate) fn on_seek(&mut self, to: SocketAddr, name: ObjectName, cx: &mut ObjectCx<'_>) {
        if self.store.find(&name).is_some() && self.pays(to, SEEK_BYTES_MAX, cx) {
            cx.outbox.control(Control::Object { to, intent: Intent::Have(name) });
        }
    }

    /// Somebody says that it has an object.
    pub(crate) fn on_have(&mut self, from: SocketAddr, name: ObjectName, cx: &mut ObjectCx<'_>) {
        self.begin_round(cx.now);
        if let Some(fetch) = self.fetches.get_mut(&name) {
            fetch.on_have(from, &mut self.allowance, cx);
        }
    }

    /// Somebody asks for pieces.
    pub(crate) fn on_ask(&mut self, to: SocketAddr, ask: &Ask, cx: &mut ObjectCx<'_>) {
        let name = ask.name;
        if self.store.find(&name).is_none() {
            return;
        }
        for index in &ask.pieces {
            if !self.pays(to, piece_datagram_bytes(&name), cx) {
                return;
            }
            let intent = Intent::Piece { name, index: *index };
            cx.outbox.control(Control::Object { to, intent });
        }
    }

    /// Whether the round's budget, and the receiver's half of it, pay for so many bytes; if so,
    /// they are spent.
    fn pays(&mut self, to: SocketAddr, bytes: usize, cx: &mut ObjectCx<'_>) -> bool {
        self.begin_round(cx.now);
        let had = self.served.get(&to).copied().unwrap_or(0);
        let is_over =
            bytes > self.serve_bytes_left || had + bytes > self.config.serve_bytes_per_round / 2;
        if is_over {
            cx.stats.objects_over_budget += 1;
            return false;
        }
        self.serve_bytes_left -= bytes;
        self.served.insert(to, had + bytes);
        true
    }

    /// Takes in a piece; says whether the object is whole now.
    ///
    /// # Errors
    /// It is forged.
    pub(crate) fn on_piece(
        &mut self,
        from: SocketAddr,
        piece: &PieceRef<'_>,
        cx: &mut ObjectCx<'_>,
    ) -> Result<Come, Reject> {
        let PieceRef { name, index, path, content } = *piece;
        let fetch = self.fetches.get_mut(&name).filter(|fetch| fetch.awaits(from, index));
        let Some(fetch) = fetch else {
            cx.stats.object_pieces_surplus += 1;
            return Ok(Come::Nothing);
        };
        if !verify(&name, index, path, content, cx.crypto) {
            fetch.refuse(from);
            return Err(Reject::Forged);
        }
        cx.stats.object_pieces_received += 1;
        self.revision += 1;
        fetch.take(from, index, content);
        let is_whole = fetch.is_whole();
        let Some(fetch) = self.end_fetch_if(is_whole, &name) else { return Ok(Come::Piece) };
        let bytes = fetch.into_bytes();
        let tree = Tree::of(&bytes, cx.crypto);
        if !self.store.put(name, bytes, tree) {
            self.fail(name, Failure::StoreFull);
            return Ok(Come::Piece);
        }
        cx.stats.objects_fetched += 1;
        Ok(Come::Whole)
    }

    fn end_fetch_if(&mut self, is_whole: bool, name: &ObjectName) -> Option<Fetch> {
        if is_whole { self.end_fetch(name) } else { None }
    }

    // --- what leaves

    /// Whether there is still something to be said.
    pub(crate) fn is_due(&self, intent: &Intent) -> bool {
        match intent {
            Intent::Seek(name) => self.store.find(name).is_none(),
            Intent::Have(name) | Intent::Piece { name, .. } => self.store.find(name).is_some(),
            Intent::Ask(_) => true,
        }
    }

    /// Appends a piece's body, if the object is held.
    pub(crate) fn put_piece(&self, name: &ObjectName, index: u32, buffer: &mut Vec<u8>) {
        let Some(held) = self.store.find(name) else { return };
        let from = (index as usize).saturating_mul(PIECE_BYTES).min(held.bytes.len());
        let rest = held.bytes.get(from..).unwrap_or_default();
        let content = rest.get(..PIECE_BYTES.min(rest.len())).unwrap_or_default();
        name.encode(buffer);
        buffer.put_varint(index.into());
        held.tree.put_path(index, buffer);
        buffer.put(content);
    }
}

/// What became of a piece.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Come {
    /// Nobody waited for it.
    Nothing,
    /// It was kept.
    Piece,
    /// It was the last one: the object is held.
    Whole,
}

/// Bytes of the datagram that carries a piece of an object, at most.
fn piece_datagram_bytes(name: &ObjectName) -> usize {
    let piece = name.piece_bytes(0).unwrap_or(PIECE_BYTES);
    let index = varint_bytes(name.pieces().into());
    let path = name.depth() * tree::HASH_BYTES;
    OVERHEAD_BYTES + FRAME_HEADER_BYTES + name.encoded_bytes() + index + path + piece
}
