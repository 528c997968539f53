//! Whom the table knows, whom it tries, and whom it would remember.

use alloc::vec::Vec;
use core::net::SocketAddr;

use super::Table;
use super::path::{DEPTH_MAX, ZonePath};
use super::row::RowKey;

/// Strangers that wait to be tried, one a round. When full, the one heard first is dropped: it will
/// announce itself again.
const STRANGERS_MAX: usize = 8;
/// Addresses of each level that are worth remembering. Of more, those count that follow the
/// agent's own key: each remembers others, so that together they remember all.
const ACQUAINTANCES_PER_LEVEL: usize = 64;
/// The most addresses that [`Node::acquaintances`](crate::Node::acquaintances) gives.
pub const ACQUAINTANCES_MAX: usize = ACQUAINTANCES_PER_LEVEL * (DEPTH_MAX + 1);

impl Table {
    /// The seeds that the agent started with.
    pub(crate) fn seeds_given(&self) -> &[SocketAddr] {
        self.seeds.given()
    }

    pub(crate) fn add_seed(&mut self, seed: SocketAddr) {
        self.seeds.add(seed);
    }

    /// Compares tables with whoever is at this address, in a round to come.
    pub(crate) fn meet(&mut self, stranger: SocketAddr) {
        if stranger == self.address || self.strangers.contains(&stranger) {
            return;
        }
        if self.strangers.len() >= STRANGERS_MAX {
            self.strangers.pop_front();
        }
        self.strangers.push_back(stranger);
    }

    /// Whether the table tells of an agent of that region: by its own row if it is this agent's
    /// region, else by the row of the zone that it is in.
    pub(crate) fn knows(&self, agent: RowKey, region: &ZonePath) -> bool {
        if *region == self.region {
            return self.agent(agent).is_some();
        }
        let shared = self.region.common_depth(region);
        let zone = region.ancestor(shared + 1);
        self.row(&region.ancestor(shared), zone.last_name()).is_some()
    }

    /// Addresses of the rows of every level, others than one's own, the nearest level first.
    pub(crate) fn acquaintances(&self) -> Vec<SocketAddr> {
        let mut known = Vec::new();
        for level in self.levels.iter().rev() {
            let lines = level.lines();
            let first = lines.partition_point(|line| line.key() <= self.own);
            let (before, after) = lines.split_at(first);
            let rows = after.iter().chain(before).filter(|line| !line.row.is_removed());
            let contacts = rows.flat_map(|line| line.row.contacts()).copied();
            let others = contacts.filter(|contact| *contact != self.address);
            known.extend(others.take(ACQUAINTANCES_PER_LEVEL));
        }
        known
    }
}
