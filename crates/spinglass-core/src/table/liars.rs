//! Agents that sign two rows of one version, and counters that no honest one has reached.

use alloc::vec::Vec;

use super::gossip::GONE_MAX;
use super::level::Level;
use super::row::{Kind, RowKey, TableRow, UnverifiedRow, Version};
use super::{Table, TableCx};
use crate::event::Reject;
use crate::id::{Incarnation, MemberId};
use crate::quarantine::{Exhibit, Proof};
use alloc::sync::Arc;

/// How far the counter of a zone's or function's row may be ahead of the row's time of issue, in
/// milliseconds since the Unix epoch. Such a counter is one more than the highest that its issuer
/// met, so whoever could make it as high as it goes would have the line's last word; bound to a
/// time that has come, it is outdone a millisecond later. No honest line is issued so often; a
/// million are for hosts whose clock stands at 1970.
const COUNTER_AHEAD_MAX: u64 = 1 << 20;
/// Proofs kept until they are asked for: a datagram brings one row or two.
const PROOFS_MAX: usize = 16;

/// Whether a row that others issue, too, counts farther than it can have come.
pub(super) fn counts_ahead(row: &UnverifiedRow<'_>) -> bool {
    let highest = row.issued_ms().saturating_add(COUNTER_AHEAD_MAX);
    row.kind() != Kind::Agent && row.version().counter > highest
}

impl Table {
    /// Notes a verified row of an agent if another of its version is held.
    pub(super) fn note_twin(&mut self, row: &Arc<TableRow>) {
        let held = self.levels.last().and_then(|level| level.find(row.key()));
        let Some(held) = held.filter(|_| row.kind() == Kind::Agent) else { return };
        let halves = [&held.row, row].map(|row| Exhibit::Row(Arc::clone(row)));
        let [held, other] = halves;
        let proof = Proof::of(held, other);
        self.proofs.extend(proof.filter(|_| self.proofs.len() < PROOFS_MAX));
    }

    /// Proofs that were met since this was asked last.
    pub(crate) fn take_proofs(&mut self) -> Vec<Proof> {
        core::mem::take(&mut self.proofs)
    }

    /// An agent's row of this version, if it is held.
    pub(crate) fn exhibit(&self, key: RowKey, version: Version) -> Option<Exhibit> {
        let row = &self.levels.last()?.find(key)?.row;
        let is_it = row.kind() == Kind::Agent && row.version() == version;
        is_it.then(|| Exhibit::Row(Arc::clone(row)))
    }

    /// Verifies an agent's row, of whatever region, that is shown as half of a proof.
    ///
    /// # Errors
    /// Its issuer did not sign it.
    pub(crate) fn verify(
        &mut self,
        row: UnverifiedRow<'_>,
        cx: &mut TableCx<'_>,
    ) -> Result<Arc<TableRow>, Reject> {
        let key = row.key(cx.crypto);
        self.verified(row, key, cx)
    }

    /// Drops every row that a liar has signed. What the zones that it spoke for are, others say
    /// anew.
    pub(crate) fn expel(&mut self, liar: MemberId) {
        let forget = self.round.saturating_add(self.config.gone_rounds);
        let mut dropped = Vec::new();
        for level in &mut self.levels {
            let lines = level.lines().iter().filter(|line| line.row.member() == liar);
            let lines: Vec<_> = lines.map(|line| (line.key(), last_of(&line.row))).collect();
            let removed = lines
                .into_iter()
                .map(|(key, last)| Level::remove(level, key, last, forget, GONE_MAX));
            dropped.extend(removed.flatten());
        }
        self.note_gone(&dropped);
    }
}

/// The version up to which nothing of a line is taken back: others go on with a zone's.
fn last_of(row: &TableRow) -> Version {
    match row.kind() {
        Kind::Agent => Version { incarnation: Incarnation(u64::MAX), counter: u64::MAX },
        Kind::Zone | Kind::Function | Kind::Order => row.version(),
    }
}
