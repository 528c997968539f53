//! Members that turn hostile.

use std::collections::BTreeSet;

use spinglass_core::crypto::Salt;

use super::World;
use crate::badboy::{Badboy, Sent, Way};
use crate::crypto::{SimCrypto, mix};
use crate::host::address;

impl World {
    /// Lets a member turn hostile from now on, in these ways. Not with real cryptography.
    ///
    /// # Panics
    /// If somebody has crashed: a scenario's own mistake.
    pub fn corrupt(&mut self, index: usize, ways: impl IntoIterator<Item = Way>) {
        let ways: BTreeSet<Way> = ways.into_iter().collect();
        let record = self.node(index).expect("it has not crashed").own_record();
        let salt = Salt(record.salt.0);
        let crypto = SimCrypto::new(&self.oracle, index as u64 + 1, 0);
        let id = |other: usize| self.node(other).map(|node| (node.id(), address(other)));
        let others = (0..self.len()).filter_map(id).collect();
        let seed = mix(self.setup.seed, &index.to_le_bytes());
        let badboy = Badboy::new(salt, ways, Box::new(crypto), others, seed);
        self.badboys.insert(index, badboy);
    }

    /// Whether a member has turned hostile.
    #[must_use]
    pub fn is_hostile(&self, index: usize) -> bool {
        self.badboys.contains_key(&index)
    }

    /// What leaves a member in place of what its core sends, if it is hostile.
    pub(super) fn turn_hostile(&mut self, index: usize, sent: &mut Vec<Sent>) {
        let Some(badboy) = self.badboys.get_mut(&index) else { return };
        let driver = self.members.get(index).and_then(|member| member.driver.as_ref());
        if let Some(driver) = driver {
            *sent = badboy.rewrite(self.now, driver.node(), std::mem::take(sent));
        }
    }
}
