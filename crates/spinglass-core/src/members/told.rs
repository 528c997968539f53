//! How often, and when, somebody is told who somebody is.

use core::time::Duration;

use crate::time::Instant;

/// How often a new destination is told who one is before one has patience: of five tellings one
/// arrives, in a loss of 20 % with a probability of 0.9997.
const TOLD_FIRST: u8 = 5;
/// How long after the first tellings the next one follows: a round.
const TOLD_WAIT: Duration = Duration::from_millis(100);
/// Doublings of that wait at most, should the destination have forgotten: 12.8 s.
pub(super) const TOLD_DOUBLINGS: u8 = 7;
/// The same for the IP multicast group, where newcomers listen: 800 ms.
pub(super) const TOLD_GROUP_DOUBLINGS: u8 = 3;

/// The introductions that were made, of somebody to somebody.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Told {
    /// When the last one was.
    pub(super) at: Instant,
    /// How many there were.
    pub(super) times: u8,
}

impl Told {
    /// Whether the next one is due; it then counts as made.
    pub(super) fn tell(&mut self, now: Instant, doublings_max: u8) -> bool {
        let doublings = self.times.saturating_sub(TOLD_FIRST).min(doublings_max);
        if self.times > 0 && now < self.at + TOLD_WAIT * (1 << doublings) {
            return false;
        }
        (self.at, self.times) = (now, self.times.saturating_add(1));
        true
    }

    /// Whether the only one was at this moment.
    pub(super) fn is_first(&self, now: Instant) -> bool {
        self.times == 1 && self.at == now
    }

    /// Whether the last one was just now, and one of the first: what follows may overtake it.
    pub(super) fn is_fresh(&self, now: Instant) -> bool {
        (1..=TOLD_FIRST).contains(&self.times) && now.since(self.at) < TOLD_WAIT
    }
}
