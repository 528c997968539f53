//! Addresses by which others may be reached who are not known.

use alloc::collections::VecDeque;
use alloc::vec::Vec;
use core::net::SocketAddr;

/// Addresses kept of those that a host told after the start. When full, the one told first is
/// forgotten; those that an agent started with stay.
pub const SEEDS_MAX: usize = 256;

/// Seeds: given at the start, and told later.
#[derive(Debug, Clone, Default)]
pub(crate) struct Seeds {
    given: Vec<SocketAddr>,
    told: VecDeque<SocketAddr>,
}

impl Seeds {
    pub(crate) const fn new(given: Vec<SocketAddr>) -> Self {
        Self { given, told: VecDeque::new() }
    }

    /// Those that the agent started with.
    pub(crate) fn given(&self) -> &[SocketAddr] {
        &self.given
    }

    /// Adds one, unless it is there.
    pub(crate) fn add(&mut self, seed: SocketAddr) {
        if self.given.contains(&seed) || self.told.contains(&seed) {
            return;
        }
        if self.told.len() >= SEEDS_MAX {
            self.told.pop_front();
        }
        self.told.push_back(seed);
    }

    /// All of them, in the order in which they came.
    pub(crate) fn iter(&self) -> impl Iterator<Item = SocketAddr> + '_ {
        self.given.iter().chain(&self.told).copied()
    }
}

#[cfg(test)]
mod tests {
    use core::net::Ipv4Addr;

    use super::*;

    #[test]
    fn the_oldest_told_makes_room_and_what_was_given_stays() {
        let seed = |port| SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        let mut seeds = Seeds::new(alloc::vec![seed(1)]);
        (1..=300).for_each(|port| seeds.add(seed(port)));
        (1..=300).for_each(|port| seeds.add(seed(port)));
        let all: Vec<SocketAddr> = seeds.iter().collect();
        assert_eq!(all.len(), 1 + SEEDS_MAX);
        assert_eq!(all.first(), Some(&seed(1)));
        assert!(all.contains(&seed(300)) && !all.contains(&seed(2)));
    }
}
