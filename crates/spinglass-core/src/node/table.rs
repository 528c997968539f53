//! A node's part in the hierarchical table.

use alloc::boxed::Box;
use alloc::format;
use alloc::string::String;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::net::SocketAddr;
use core::time::Duration;

use spinglass_summary::{Function, Name, Value};

use super::{Identity, Node};
use crate::config::Config;
use crate::crypto::{Crypto, Hash};
use crate::event::{Event, Reject};
use crate::frame::Frame;
use crate::id::MemberId;
use crate::rng::Prng;
use crate::rules::Action;
use crate::table::{
    NEWS_WAIT_PARTS, NewFunction, Own, RowKey, RowPool, SetError, Table, TableCx, TableRow,
    UnverifiedRow, ZonePath,
};
use crate::time::{Instant, Now};
use crate::timer::Timer;

/// Refresh periods between two issues of an unchanged row of an agent that others watch: its
/// refreshing only mends what gossip and the failure detector missed.
const WATCHED_REFRESHES: u32 = 6;

/// How many times faster than others a newcomer begins rounds, until it has found its region.
const JOIN_HASTE: u32 = 10;

impl Node {
    /// Sets attributes of the own row, all or none; null removes one. Everybody in the region sees
    /// them within a few rounds, everybody else what the summary functions make of them.
    ///
    /// # Errors
    /// The agent fills in one of them itself, the rules forbid one, or the row has no room for
    /// them; nothing changed.
    pub fn set_attributes(
        &mut self,
        now: Now,
        attributes: &[(Name, Value)],
    ) -> Result<(), SetError> {
        self.stats.inputs += 1;
        if self.has_left {
            return Err(SetError::Closed);
        }
        if let Some(trust) = &self.trust {
            for (name, _) in attributes {
                let zone = self.table.region().clone();
                let write = Action::Write { attribute: name.as_str(), zone };
                trust.decide_own(&write).map_err(SetError::Denied)?;
            }
        }
        self.table.set(attributes)?;
        self.after_table(now.monotonic);
        Ok(())
    }

    /// Installs a summary function in a zone of the own path, from where it holds downwards;
    /// replaces the one of this name; or, with no function, removes it. A text that fits no row
    /// travels as an object.
    ///
    /// # Errors
    /// The text is no function, or the zone is elsewhere; nothing changed.
    pub fn set_summary(
        &mut self,
        now: Now,
        zone: &ZonePath,
        name: &str,
        function: Option<NewFunction<'_>>,
    ) -> Result<(), SetError> {
        self.stats.inputs += 1;
        if self.has_left {
            return Err(SetError::Closed);
        }
        if let Some(trust) = &self.trust {
            let install = Action::Install { function: name, zone: zone.clone() };
            trust.decide_own(&install).map_err(SetError::Denied)?;
        }
        if let Some(new) = function {
            Function::parse(new.sql).map_err(SetError::Sql)?;
            let fits = Table::fits_row(name, &new);
            let object = if fits { None } else { Some(self.hold_text(new.sql)?) };
            let cx = &mut table_cx!(self, now.wall_ms);
            self.table.install(zone, name, &new, object, cx)?;
        } else {
            self.table.uninstall(zone, name, &mut table_cx!(self, now.wall_ms))?;
        }
        self.after_table(now.monotonic);
        Ok(())
    }

    /// Lets agents of one process share the memory of rows that they verified.
    pub fn share_rows(&mut self, pool: Box<dyn RowPool>) {
        self.table.share(pool);
    }

    /// Takes over rows of the table that need no checking, such as a simulator's; issues the own
    /// one.
    pub fn adopt_rows(&mut self, now: Now, rows: &[Arc<TableRow>]) {
        self.table.adopt(rows, &mut table_cx!(self, now.wall_ms));
    }

    /// Issues the rows of the zones that this agent speaks for now, not at its next round.
    pub fn issue_zones(&mut self, now: Now) {
        self.table.issue_zones(&mut table_cx!(self, now.wall_ms));
    }

    pub(super) fn leave_table(&mut self, now: Now) {
        self.table.leave(&mut table_cx!(self, now.wall_ms));
    }

    pub(super) fn on_table_round(&mut self, at: Now) {
        let (now, wall_ms) = (at.monotonic, at.wall_ms);
        let (interval, first) = (self.config.get().table.round, self.first_table_round);
        let passed = now.since(first).as_nanos() / interval.as_nanos().max(1);
        let next = u32::try_from(passed).unwrap_or(u32::MAX).saturating_add(1);
        let next = if now < first { first } else { first + interval * next };
        let lost = self.detector.lost(self.config.get().table.silent_rounds);
        self.table.on_round(&lost, &mut table_cx!(self, wall_ms));
        let soon = now + interval / JOIN_HASTE;
        self.timers.set(Timer::Table, if self.table.is_joining() { soon } else { next });
        self.after_table(now);
        self.look_after_objects(at);
        self.let_orders_lapse(at);
    }

    pub(super) fn on_table_news(&mut self, now: Instant, wall_ms: u64) {
        self.table.on_news(&mut table_cx!(self, wall_ms));
        self.after_table(now);
    }

    /// Has news passed on before long, together with what else comes until then; tells the others
    /// what happened to agents of the region.
    pub(super) fn after_table(&mut self, now: Instant) {
        if self.table.has_news() {
            let wait = self.config.get().table.round / NEWS_WAIT_PARTS;
            self.timers.set_earlier(Timer::News, now + wait);
        }
        for event in self.table.take_events() {
            match &event {
                Event::MemberDown { id, .. } => self.multicast.on_member_down(*id),
                Event::MemberUp(member) => self.members.forget_told(member.address),
                Event::Message(_)
                | Event::Gap(_)
                | Event::Kept { .. }
                | Event::Quarantined { .. }
                | Event::FalseSummary { .. } => (),
            }
            self.events.push_back(event);
        }
    }

    /// Takes in what another agent says of its table.
    pub(super) fn on_table_frame(
        &mut self,
        frame: Frame<'_>,
        (from, to): (MemberId, SocketAddr),
        now: Now,
    ) -> Result<(), Reject> {
        let inventory =
            if let Frame::Inventory(inventory) = &frame { Some(inventory) } else { None };
        self.remind((from, to), inventory, now.monotonic);
        let record = self.members.find(from).ok_or(Reject::UnknownSender)?;
        let region = record.region.clone();
        if matches!(frame, Frame::Inventory(_) | Frame::Want(_)) {
            // They follow a digest and an inventory.
            self.members.note_answer(to);
        }
        let cx = &mut table_cx!(self, now.wall_ms);
        match frame {
            Frame::TableDigest(digest) => self.table.on_digest(to, &region, &digest, cx),
            Frame::Inventory(inventory) => self.table.on_inventory(to, &region, &inventory, cx),
            Frame::Want(want) => self.table.on_want(to, &region, &want, cx),
            _ => (),
        }
        Ok(())
    }

    /// Takes in a row, whoever passed it on.
    pub(super) fn on_table_row(
        &mut self,
        row: UnverifiedRow<'_>,
        from: MemberId,
        now: Now,
    ) -> Result<(), Reject> {
        self.check_row(&row, from, now)?;
        self.table.on_row(row, &mut table_cx!(self, now.wall_ms))?;
        self.after_table(now.monotonic);
        self.heed_orders(Some(from), now);
        Ok(())
    }
}

pub(super) fn new_table(
    config: &Config,
    identity: &Identity,
    id: MemberId,
    seeds: Vec<SocketAddr>,
    rng: &Prng,
    crypto: &mut dyn Crypto,
) -> Table {
    let Identity { incarnation, address, region, name, .. } = identity;
    // Eight digits tell the members of any region apart.
    let short = || format!("{id}").chars().take(8).collect::<String>();
    let own = Own {
        key: RowKey::of_hash(Hash(id.0)),
        incarnation: *incarnation,
        name: if name.is_empty() { short() } else { name.clone() },
        region: region.clone(),
        address: *address,
        is_capped: config.multicast.receive_rate_max > 0,
    };
    let has_detector = !config.detector.probe_timeout.is_zero();
    let agent_refreshes = if has_detector { WATCHED_REFRESHES } else { 1 };
    Table::new(config.table.clone(), agent_refreshes, own, seeds, rng.fork("table"), crypto)
}

/// When the table's first round begins: at a random phase.
pub(super) fn first_round(config: &Config, now: Instant, rng: &Prng) -> Instant {
    let nanos = u64::try_from(config.table.round.as_nanos()).unwrap_or(u64::MAX);
    now + Duration::from_nanos(rng.fork("table phase").below(nanos.max(1)))
}

/// When the table is first looked at: a newcomer does not wait for the round.
pub(super) fn first_look(now: Instant, first_round: Instant) -> Instant {
    now + first_round.since(now) / JOIN_HASTE
}
