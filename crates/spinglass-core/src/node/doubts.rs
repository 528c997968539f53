//! Who is checked less: where datagrams come from that are sealed well, and hold what does not
//! verify. A signature check costs as much as refusing a hundred datagrams by their tags, and
//! whoever holds the link key alone can have them made.
//!
//! A source is an address that datagrams come from, not a member: who holds the link key can seal
//! in anybody's name. In a round each may fail some checks; beyond that nearly all that comes from
//! there is refused unread until the round ends.

use alloc::collections::BTreeMap;
use core::net::SocketAddr;

use crate::event::Reject;
use crate::rng::Prng;

/// Checks that what comes from one address may fail in a round: nothing that a member of good
/// health sends fails any, since it has checked what it passes on.
const FAILURES_MAX: u32 = 4;
/// Addresses that are told apart in a round. When there are more, all others count as one.
const SOURCES_MAX: usize = 64;
/// Checks that what comes from those others may fail in a round. With the ones above that is 320,
/// or some 13 ms of a processor in 100 ms.
const OTHERS_FAILURES_MAX: u32 = 64;
/// Of what is refused unread one datagram in so many is looked at after all, so that nobody who
/// sends from a forged address can silence whoever has it.
const LOOKED_AT_ONE_IN: u64 = 64;

/// Checks failed in this round, by where the datagrams came from.
#[derive(Debug)]
pub(super) struct Doubts {
    failures: BTreeMap<SocketAddr, u32>,
    others: u32,
    rng: Prng,
}

impl Doubts {
    pub(super) const fn new(rng: Prng) -> Self {
        Self { failures: BTreeMap::new(), others: 0, rng }
    }

    pub(super) fn on_round(&mut self) {
        self.failures.clear();
        self.others = 0;
    }

    /// Something that came from here was refused; it counts if it was because it did not verify.
    pub(super) fn note(&mut self, from: SocketAddr, reject: Reject) {
        if reject != Reject::Forged {
            return;
        }
        if self.failures.len() >= SOURCES_MAX && !self.failures.contains_key(&from) {
            self.others = self.others.saturating_add(1);
        } else {
            let failures = self.failures.entry(from).or_default();
            *failures = failures.saturating_add(1);
        }
    }

    /// Whether to look at what came from here.
    pub(super) fn admits(&mut self, from: SocketAddr) -> bool {
        let is_doubted = match self.failures.get(&from) {
            Some(failures) => *failures >= FAILURES_MAX,
            None => self.others >= OTHERS_FAILURES_MAX,
        };
        !is_doubted || self.rng.below(LOOKED_AT_ONE_IN) == 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_source_that_fails_is_looked_at_less_and_others_are_not() {
        let address = |port| SocketAddr::from(([127, 0, 0, 1], port));
        let mut doubts = Doubts::new(Prng::new(1));
        let looked = |doubts: &mut Doubts, at| (0..10_000).filter(|_| doubts.admits(at)).count();
        (0..FAILURES_MAX).for_each(|_| doubts.note(address(1), Reject::Forged));
        let few = looked(&mut doubts, address(1));
        assert!((50..400).contains(&few), "{few} of 10,000");
        assert_eq!(looked(&mut doubts, address(2)), 10_000);
        doubts.on_round();
        assert_eq!(looked(&mut doubts, address(1)), 10_000);
    }

    #[test]
    fn failures_from_everywhere_are_bounded_too() {
        let mut doubts = Doubts::new(Prng::new(1));
        let mut checked = 0;
        for port in 1..=50_000 {
            let from = SocketAddr::from(([127, 0, 0, 1], port));
            if doubts.admits(from) {
                checked += 1;
                doubts.note(from, Reject::Forged);
            }
        }
        let most = SOURCES_MAX as u32 + OTHERS_FAILURES_MAX + 50_000 / 32;
        assert!(checked <= most, "{checked} checks of 50,000");
        assert!(doubts.failures.len() <= SOURCES_MAX);
    }
}
