//! The region's agents, as the failure detector sees and removes them.

use alloc::sync::Arc;
use core::net::SocketAddr;

use super::Table;
use super::gossip::GONE_MAX;
use super::row::{Kind, RowKey, TableRow, Version};
use crate::id::Incarnation;

impl Table {
    /// The region's agents, by rising key.
    pub(crate) fn agents(&self) -> impl Iterator<Item = &Arc<TableRow>> + Clone {
        let lines = self.levels.last().into_iter().flat_map(|level| level.lines());
        let rows = lines.map(|line| &line.row);
        rows.filter(|row| row.kind() == Kind::Agent && !row.is_removed())
    }

    /// An agent of the region.
    pub(crate) fn agent(&self, key: RowKey) -> Option<&Arc<TableRow>> {
        let row = &self.levels.last()?.find(key)?.row;
        Some(row).filter(|row| row.kind() == Kind::Agent && !row.is_removed())
    }

    /// Where an agent of the region is reached.
    pub(crate) fn address_of(&self, key: RowKey) -> Option<SocketAddr> {
        self.agent(key)?.contacts().first().copied()
    }

    /// Removes an agent of the region in this life: no row of it is taken in again.
    pub(crate) fn condemn(&mut self, key: RowKey, incarnation: Incarnation) {
        let forget = self.round.saturating_add(self.config.gone_rounds);
        #[cfg(not(spinglass_bug = "verdict_forgotten"))]
        let last = Version { incarnation, counter: u64::MAX };
        #[cfg(spinglass_bug = "verdict_forgotten")]
        let last = Version { incarnation, counter: 0 };
        let level = self.levels.last_mut();
        if level.is_some_and(|level| level.remove(key, last, forget, GONE_MAX).is_some()) {
            self.revision += 1;
        }
    }

    /// Issues nothing more: the region removed this agent in its present life.
    pub(crate) const fn suspend(&mut self) {
        self.is_suspended = true;
    }

    /// Begins a new life in the table, after the region removed the agent in the last one.
    pub(crate) const fn begin_new_life(&mut self) {
        let incarnation = Incarnation(self.version.incarnation.0.saturating_add(1));
        self.version = Version { incarnation, counter: 0 };
        (self.is_suspended, self.own_changed) = (false, true);
    }
}
