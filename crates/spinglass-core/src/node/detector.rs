//! A node's part in the failure detection of its region.

use core::net::SocketAddr;
use core::time::Duration;

use super::Node;
use crate::config::Config;
use crate::crypto::Hash;
use crate::detector::{Detector, DetectorCx};
use crate::event::Reject;
use crate::frame::Frame;
use crate::id::MemberId;
use crate::outbox::Control;
use crate::rng::Prng;
use crate::table::{Inventory, RowKey};
use crate::time::Instant;
use crate::timer::Timer;

/// The bundle that the detector works with, borrowed from a node field by field.
macro_rules! detector_cx {
    ($node:ident, $now:expr) => {
        DetectorCx {
            now: $now,
            table: &mut $node.table,
            crypto: &mut *$node.crypto,
            outbox: &mut $node.outbox,
            stats: &mut $node.stats,
        }
    };
}

impl Node {
    pub(super) fn on_probe_due(&mut self, now: Instant) {
        if self.has_left {
            return;
        }
        let next = self.detector.on_tick(&mut detector_cx!(self, now));
        self.timers.set(Timer::Probe, next);
        self.after_table(now);
    }

    /// Takes in what another agent says of who is alive.
    pub(super) fn on_detector_frame(
        &mut self,
        frame: Frame<'_>,
        to: SocketAddr,
        now: Instant,
    ) -> Result<(), Reject> {
        match frame {
            // Whoever has left doesn't say that it is alive.
            Frame::Probe(number) if !self.has_left => {
                self.outbox.control(Control::Answer { to, number });
            }
            Frame::Answer(number) => {
                let was_asked = self.detector.on_answer(number);
                if was_asked {
                    self.members.note_answer(to);
                }
            }
            Frame::Doubt(subject) if self.has_detector() => self.detector.on_doubt(subject),
            Frame::Accusations(verdict) if self.has_detector() => {
                self.detector.on_accusations(verdict, &mut detector_cx!(self, now))?;
                self.after_table(now);
            }
            _ => (),
        }
        Ok(())
    }

    /// Tells the sender of a frame of the table what it seems to have missed: that it was removed,
    /// or that others were whose rows it holds.
    pub(super) fn remind(
        &mut self,
        (from, to): (MemberId, SocketAddr),
        inventory: Option<&Inventory>,
        now: Instant,
    ) {
        let from = RowKey::of_hash(Hash(from.0));
        let cx = &mut detector_cx!(self, now);
        self.detector.on_sign_of(from, to, cx);
        inventory.into_iter().for_each(|inventory| self.detector.on_inventory(to, inventory, cx));
    }

    fn has_detector(&self) -> bool {
        !self.config.get().detector.probe_timeout.is_zero()
    }
}

/// The detector, and when its first half round begins, if it has any: at a random phase.
pub(super) fn new_detector(
    config: &Config,
    id: MemberId,
    now: Instant,
    rng: &Prng,
) -> (Detector, Option<Instant>) {
    let mut rng = rng.fork("detector");
    let interval = u64::try_from(config.detector.probe_timeout.as_nanos()).unwrap_or(u64::MAX);
    let first = now + Duration::from_nanos(rng.below(interval.max(1)));
    let own = RowKey::of_hash(Hash(id.0));
    let is_on = !config.detector.probe_timeout.is_zero();
    let detector = Detector::new(config.detector.clone(), own, first, rng);
    (detector, is_on.then_some(first))
}
