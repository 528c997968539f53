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

/// Bits that the number of introductions takes; the time of the last one has the others, which
/// last for 36 years.
const TIMES_BITS: u32 = 4;
const TIMES_MAX: u64 = (1 << TIMES_BITS) - 1;

/// The introductions that were made, of somebody to somebody: when the last one was, and how many
/// there were, as far as it matters.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Told(u64);

impl Told {
    const fn at(self) -> Instant {
        Instant::from_nanos(self.0 >> TIMES_BITS)
    }

    const fn times(self) -> u8 {
        (self.0 & TIMES_MAX) as u8
    }

    /// Whether the next one is due; it then counts as made.
    pub(super) fn tell(&mut self, now: Instant, doublings_max: u8) -> bool {
        let doublings = self.times().saturating_sub(TOLD_FIRST).min(doublings_max);
        if self.times() > 0 && now < self.at() + TOLD_WAIT * (1 << doublings) {
            return false;
        }
        let times = TIMES_MAX.min(u64::from(self.times()) + 1);
        self.0 = now.as_nanos().min(u64::MAX >> TIMES_BITS) << TIMES_BITS | times;
        true
    }

    /// The destination has shown that it knows: it is told as seldom from now on as one who has
    /// been told often. An answer to what was sent before all was forgotten shows nothing.
    pub(super) const fn confirm(&mut self) {
        if self.times() > 0 {
            self.0 |= TIMES_MAX;
        }
    }

    /// None was made.
    pub(super) const fn forget(&mut self) {
        self.0 &= !TIMES_MAX;
    }

    /// Whether the only one was at this moment.
    pub(super) fn is_first(self, now: Instant) -> bool {
        self.times() == 1 && self.at() == now
    }

    /// Whether the last one was just now, and one of the first: what follows may overtake it.
    pub(super) fn is_fresh(self, now: Instant) -> bool {
        (1..=TOLD_FIRST).contains(&self.times()) && now.since(self.at()) < TOLD_WAIT
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_grows_patient() {
        let (mut told, mut now, mut waits) = (Told::default(), Instant::START, [0; 20]);
        for wait in &mut waits {
            let before = now;
            while !told.tell(now, TOLD_DOUBLINGS) {
                now = now + TOLD_WAIT;
            }
            *wait = now.since(before).as_millis();
        }
        let doubled = [200, 400, 800, 1600, 3200, 6400, 12_800, 12_800];
        assert_eq!(waits[..6], [0, 100, 100, 100, 100, 100]);
        assert_eq!(waits[6..14], doubled);
        assert_eq!(waits[19], 12_800);
        assert!(!told.is_fresh(now));
        told.forget();
        told.confirm();
        assert!(told.tell(now, TOLD_DOUBLINGS) && told.is_fresh(now), "an answer was under way");
        told.confirm();
        let long = TOLD_WAIT * (1 << TOLD_DOUBLINGS);
        assert!(!told.tell(now + long - TOLD_WAIT, TOLD_DOUBLINGS), "whoever knows can wait");
        assert!(told.tell(now + long, TOLD_DOUBLINGS), "and may forget");
    }
}
