//! What an agent issues: its own row, the rows of the zones that it speaks for, and functions.
//!
//! A zone's row has one line and several issuers, the zone's representatives, so its counter is
//! Lamport's: one more than the highest that its issuer met. They evaluate the same functions over
//! tables that gossip makes equal. When the row has been quiet, whoever hears news first issues it;
//! while it changes, the first in rank does, and the others only if it doesn't, so that
//! representatives whose tables differ for some rounds don't undo each other's rows, and the death
//! or lag of one is a matter of rounds. When nobody refreshes the row at all, everybody in the zone
//! evaluates, and whoever the functions elect steps in.

use alloc::sync::Arc;
use alloc::vec::Vec;
use core::net::SocketAddr;

use spinglass_summary::{Row, RowBuilder, Value};

use super::functions::{Summary, name_id};
use super::level::Merged;
use super::path::ZonePath;
use super::row::{Draft, Kind, RowKey, TableRow, Version, contacts};
use super::{SetError, Table, TableCx};
use crate::id::Incarnation;

/// Rounds that a representative waits for each one before it in rank, and after which a row counts
/// as quiet: about what a region's gossip takes to bring it the other's row.
const STAGGER_ROUNDS: u32 = 3;
/// Refresh periods after which a zone's row counts as nobody's.
const STALE_REFRESHES: u32 = 2;
/// The longest name of a function, in bytes.
const FUNCTION_NAME_BYTES_MAX: usize = 64;

/// Why a zone's row may be issued now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Due {
    /// A round has begun.
    Round,
    /// News came between two rounds.
    News,
}

impl Table {
    /// Issues the own row if it has changed or is due for refreshing.
    pub(super) fn issue_own(&mut self, cx: &mut TableCx<'_>) {
        let refresh = self.config.refresh_rounds.saturating_mul(self.agent_refreshes);
        let is_due = self.round.saturating_add(self.refresh_phase).is_multiple_of(refresh);
        if self.is_suspended || !self.own_changed && !is_due {
            return;
        }
        self.own_changed = false;
        self.version.counter = self.version.counter.saturating_add(1);
        let draft = Draft {
            kind: Kind::Agent,
            zone: self.region.clone(),
            version: self.version,
            issued_ms: self.issue_ms(cx),
            is_removed: self.has_left,
            attributes: self.own_attributes(&self.attributes),
        };
        self.issue(draft, cx);
    }

    /// Says where this agent is reached from now on: in its row, as soon as that is issued.
    pub(crate) const fn set_address(&mut self, address: SocketAddr) {
        (self.address, self.own_changed) = (address, true);
    }

    /// Issues what the functions make of the own zones, from the region upwards.
    pub(crate) fn issue_zones(&mut self, cx: &mut TableCx<'_>) {
        for depth in (1..self.levels.len()).rev() {
            self.issue_zone(depth, Due::Round, cx);
        }
    }

    /// The same between two rounds, for zones whose row was quiet and for which one is the first to
    /// speak: so news climb a level at once, and one representative tells them.
    pub(super) fn issue_zones_at_once(&mut self, cx: &mut TableCx<'_>) {
        for depth in (1..self.levels.len()).rev() {
            self.issue_zone(depth, Due::News, cx);
        }
    }

    fn issue_zone(&mut self, depth: usize, due: Due, cx: &mut TableCx<'_>) {
        let (zone, parent) = (self.region.ancestor(depth), self.region.ancestor(depth - 1));
        let held = self.own_zone(depth).cloned();
        let refresh = self.config.refresh_rounds;
        let age = held.as_ref().map_or(u32::MAX, |line| self.round.saturating_sub(line.heard));
        let stale = refresh.saturating_mul(STALE_REFRESHES);
        let is_orphan = age >= stale;
        let held_rank = held.as_ref().and_then(|line| self.rank(line.row.contacts()));
        // After some quiet whoever hears news first tells it: waiting for the first in rank to hear
        // it too would cost rounds at every level.
        let is_quiet = age >= STAGGER_ROUNDS;
        if due == Due::News && (is_orphan || held_rank != Some(0) || !is_quiet) {
            return;
        }
        if held_rank.is_none() && !is_orphan {
            self.set_pending(depth, None);
            return;
        }
        // Whoever fell silent can't be elected in an orphan's stead.
        let since = if is_orphan { self.round.saturating_sub(stale) } else { 0 };
        let Summary { attributes, .. } = self.summaries.summarize(&self.levels, depth, since);
        // One that no longer is a representative by its own reckoning still hands over.
        let elected: Vec<SocketAddr> = contacts(&attributes).collect();
        let Some(rank) = self.rank(&elected).or(held_rank) else { return };
        let rank = u32::try_from(rank).unwrap_or(u32::MAX);
        let is_cleared =
            held.as_ref().is_some_and(|line| self.is_cleared(Kind::Zone, line.row.issued_ms()));
        let is_due =
            is_cleared || age >= refresh.saturating_add(rank.saturating_mul(STAGGER_ROUNDS));
        let differs = held.as_ref().is_none_or(|line| *line.row.attributes() != attributes);
        if !differs && !is_due {
            self.set_pending(depth, None);
            return;
        }
        let since = self.pending.get(depth).copied().flatten().unwrap_or(self.round);
        self.set_pending(depth, Some(since));
        let waited = self.round.saturating_sub(since);
        if is_quiet || waited >= rank.saturating_mul(STAGGER_ROUNDS) {
            self.set_pending(depth, None);
            let (kind, name) = (Kind::Zone, zone.last_name());
            self.issue_shared(kind, &parent, name, attributes, false, cx);
        }
    }

    /// Issues the row of the zone at `depth` of the path without oneself in it, if one spoke for
    /// it; its last one, if nobody is left there.
    pub(super) fn hand_over(
        &mut self,
        depth: usize,
        cx: &mut TableCx<'_>,
    ) -> Option<Arc<TableRow>> {
        let is_empty = self.levels.get(depth)?.children().next().is_none();
        if !is_empty && !self.speaks_for(depth) {
            return None;
        }
        let (zone, parent) = (self.region.ancestor(depth), self.region.ancestor(depth - 1));
        let attributes = self.summaries.summarize(&self.levels, depth, 0).attributes;
        self.issue_shared(Kind::Zone, &parent, zone.last_name(), attributes, is_empty, cx);
        let key = *self.zone_keys.get(depth)?;
        Some(Arc::clone(&self.levels.get(depth - 1)?.find(key)?.row))
    }

    fn set_pending(&mut self, depth: usize, round: Option<u32>) {
        if let Some(pending) = self.pending.get_mut(depth) {
            *pending = round;
        }
    }

    /// The own place among a zone's contacts.
    pub(super) fn rank(&self, contacts: &[SocketAddr]) -> Option<usize> {
        contacts.iter().position(|contact| *contact == self.address)
    }

    /// Issues a function's row; with no attributes, its last one.
    pub(super) fn issue_function(
        &mut self,
        zone: &ZonePath,
        name: &str,
        function: Option<Row>,
        cx: &mut TableCx<'_>,
    ) -> Result<(), SetError> {
        self.depth_of(zone)?;
        let legal =
            |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"-_.".contains(&byte);
        let fits = (1..=FUNCTION_NAME_BYTES_MAX).contains(&name.len());
        if !fits || !name.bytes().all(legal) {
            return Err(SetError::BadName(name.into()));
        }
        self.issue_named(Kind::Function, zone, name, function, cx).map(|_| ())
    }

    /// Issues the row of a function or an order; with no attributes, its last one.
    pub(super) fn issue_named(
        &mut self,
        kind: Kind,
        zone: &ZonePath,
        name: &str,
        attributes: Option<Row>,
        cx: &mut TableCx<'_>,
    ) -> Result<Arc<TableRow>, SetError> {
        let is_removed = attributes.is_none();
        let attributes = attributes.unwrap_or_else(|| {
            let mut builder = RowBuilder::default();
            builder.set(name_id(), Value::text(name));
            builder.build()
        });
        let (limit, got) = (super::ATTRIBUTE_BYTES_MAX, attributes.encoded_bytes());
        if got > limit {
            return Err(SetError::TooLarge { limit, got });
        }
        let issued = self.issue_shared(kind, zone, name, attributes, is_removed, cx);
        let key = RowKey::of_name(kind, zone, name, cx.crypto);
        let line = self.levels.get(zone.depth()).and_then(|level| level.find(key));
        line.filter(|_| issued).map(|line| Arc::clone(&line.row)).ok_or(SetError::Closed)
    }

    /// Issues a row of a line that others issue too.
    fn issue_shared(
        &mut self,
        kind: Kind,
        zone: &ZonePath,
        name: &str,
        attributes: Row,
        is_removed: bool,
        cx: &mut TableCx<'_>,
    ) -> bool {
        let key = RowKey::of_name(kind, zone, name, cx.crypto);
        let level = self.levels.get(zone.depth());
        let highest = level.and_then(|level| level.highest(key)).unwrap_or_default();
        let counter = highest.counter.saturating_add(1);
        let version = Version { incarnation: Incarnation(0), counter };
        let zone = zone.clone();
        let issued_ms = self.issue_ms(cx);
        self.issue(Draft { kind, zone, version, issued_ms, is_removed, attributes }, cx)
    }

    fn issue(&mut self, draft: Draft, cx: &mut TableCx<'_>) -> bool {
        cx.stats.signatures_made += 1;
        cx.stats.rows_issued += 1;
        let Some(row) = draft.sign(cx.crypto).map(Arc::new) else { return false };
        self.pool.iter_mut().for_each(|pool| pool.add(&row));
        !matches!(self.merge(&row), Merged::Old | Merged::Full)
    }

    /// Takes a verified row in.
    pub(super) fn merge(&mut self, row: &Arc<TableRow>) -> Merged {
        let Some(level) = self.levels.get_mut(row.zone().depth()) else { return Merged::Old };
        let held = level.find(row.key()).map(|line| Arc::clone(&line.row));
        let merged = level.merge(row, self.round, self.config.rows_max);
        if matches!(merged, Merged::Added | Merged::Replaced) {
            self.revision += 1;
            self.has_news = true;
            self.note_change(held.as_deref(), Some(row));
            if row.kind() == Kind::Order {
                self.orders.push(Arc::clone(row));
            }
        }
        if let (Merged::Replaced, Kind::Function, Some(held)) = (merged, row.kind(), held) {
            self.summaries.texts_mut().on_replaced(held, row);
        }
        merged
    }
}
