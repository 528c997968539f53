//! A question that an agent works on: what it has found so far, and who is still being asked.

use alloc::collections::{BTreeSet, VecDeque};
use alloc::vec::Vec;
use core::net::SocketAddr;

use spinglass_summary::{Query, Row, Value};

use super::errand::{Errand, Target};
use super::report::{FOUND_BYTES_MAX, Found, Reach, Report};
use super::{Answer, Outcome, QuestionId};
use crate::id::MemberId;
use crate::identity::Chain;
use crate::table::{AgedRow, Excerpt, Table, TableRow, ZonePath, proving, regions_below};
use crate::time::Instant;
use crate::trust::Trust;

/// Bytes of a row in a report beside its own: its age and its length.
const ROW_EXTRA_BYTES: usize = 12;

/// Who waits for the answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Asker {
    /// This agent's own user.
    Own(QuestionId),
    /// Another agent, by its number for the question.
    Member { id: MemberId, to: SocketAddr, number: u64 },
}

/// Why nothing can be found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Failure {
    NoSuchZone(ZonePath),
    NotUnderstood,
}

/// A question under way.
#[derive(Debug)]
pub(super) struct Search {
    pub(super) asker: Asker,
    pub(super) zone: ZonePath,
    /// None: the zone's own rows are asked for.
    pub(super) query: Option<Query>,
    pub(super) began: Instant,
    pub(super) due: Instant,
    /// Zones to ask about when others have answered.
    pub(super) waiting: VecDeque<Target>,
    pub(super) errands: Vec<Errand>,
    pub(super) failure: Option<Failure>,
    /// The age in it is as of when the search began; ages of rows are, too.
    reach: Reach,
    hosts: Vec<(Value, Row)>,
    rows: Vec<AgedRow>,
    /// Chains of who signed the rows, if they came with them.
    chains: Vec<Chain>,
}

impl Search {
    pub(super) const fn new(
        asker: Asker,
        zone: ZonePath,
        query: Option<Query>,
        began: Instant,
        due: Instant,
    ) -> Self {
        let reach = Reach { age_ms: 0, asked: 0, answered: 0, ruled_out: 0, is_cut: false };
        Self {
            asker,
            zone,
            query,
            began,
            due,
            waiting: VecDeque::new(),
            errands: Vec::new(),
            failure: None,
            reach,
            hosts: Vec::new(),
            rows: Vec::new(),
            chains: Vec::new(),
        }
    }

    pub(super) fn is_done(&self) -> bool {
        self.waiting.is_empty() && self.errands.is_empty()
    }

    // --- what is asked of whom

    /// Asks on in the direction of the zone.
    pub(super) fn go_toward(&mut self, row: &TableRow, own: SocketAddr) {
        let depth = row.zone().depth() + 1;
        self.enter(row, self.zone.clone(), depth, own);
    }

    /// Looks at what is held here of a zone of the path, and asks about each child zone that its
    /// summary can't rule out. Returns the steps that it took.
    pub(super) fn look(&mut self, table: &Table, own: SocketAddr, steps: u32) -> u32 {
        let Some(query) = self.query.clone() else {
            self.rows = table.told(&self.zone);
            return 0;
        };
        for depth in self.zone.depth()..table.region().depth() {
            let functions = table.functions_at(depth);
            for row in table.child_zones(depth) {
                let Ok(zone) = row.zone().child(row.name()) else { continue };
                let proof = proving(&functions, row.attributes());
                if query.may_match(row.attributes(), &proof, &[regions_below(&zone)]) {
                    self.enter(row, zone, depth + 1, own);
                } else {
                    self.reach.ruled_out = self.reach.ruled_out.saturating_add(1);
                }
            }
        }
        let hosts = table.hosts();
        let selection = query.select(hosts.iter().map(|(row, _)| row), steps);
        self.reach.is_cut |= selection.is_cut;
        for (place, key, row) in selection.found {
            let age_ms = hosts.get(place).map_or(0, |(_, age_ms)| *age_ms);
            self.reach.age_ms = self.reach.age_ms.max(age_ms);
            self.hosts.push((key, row));
        }
        self.trim();
        selection.steps
    }

    fn enter(&mut self, row: &TableRow, zone: ZonePath, depth: usize, own: SocketAddr) {
        let contacts = row.contacts().iter().copied();
        let contacts: Vec<_> = contacts.filter(|contact| *contact != own).collect();
        let depth = u8::try_from(depth).unwrap_or(u8::MAX);
        if contacts.is_empty() {
            self.on_silent();
        } else {
            self.waiting.push_back(Target { zone, depth, contacts });
        }
    }

    // --- what comes back

    /// A zone does not answer.
    pub(super) const fn on_silent(&mut self) {
        self.reach.asked = self.reach.asked.saturating_add(1);
    }

    /// A zone has answered.
    pub(super) fn on_answer(&mut self, reach: &Reach) {
        self.reach.add(&Reach { asked: 1, answered: 1, ..Reach::default() });
        self.reach.add(reach);
    }

    /// Takes over what arrived at `now`, `age_ms` old when it left, and was asked for at `since`.
    pub(super) fn add_hosts(
        &mut self,
        hosts: Vec<(Value, Row)>,
        age_ms: u64,
        (since, now): (Instant, Instant),
    ) {
        if hosts.is_empty() {
            return;
        }
        let age_ms = self.as_of_beginning(age_ms, since, now);
        self.reach.age_ms = self.reach.age_ms.max(age_ms);
        self.hosts.extend(hosts);
        self.trim();
    }

    /// Takes over a zone's verified rows, and the chains that came with them, to be passed on.
    pub(super) fn add_rows(
        &mut self,
        (rows, chains): (Vec<AgedRow>, Vec<Chain>),
        (since, now): (Instant, Instant),
    ) {
        self.chains = chains;
        let aged = |AgedRow { row, age_ms }| AgedRow {
            row,
            age_ms: self.as_of_beginning(age_ms, since, now),
        };
        self.rows = rows.into_iter().map(aged).collect();
    }

    /// How old something would have been when the search began; 0 for what is younger.
    fn as_of_beginning(&self, age_ms: u64, since: Instant, now: Instant) -> u64 {
        let arrived = age_ms.saturating_add(ms_between(since, now));
        arrived.saturating_sub(ms_between(self.began, now))
    }

    /// Keeps of the hosts what the query's `LIMIT` and an answer's bytes leave room for.
    fn trim(&mut self) {
        let Some(query) = &self.query else { return };
        self.hosts = query.leading(core::mem::take(&mut self.hosts));
        let mut left = FOUND_BYTES_MAX;
        let mut fits = |(key, row): &(Value, Row)| {
            let bytes = key.encoded_bytes() + row.encoded_bytes();
            let rest = left.checked_sub(bytes);
            left = rest.unwrap_or(0);
            rest.is_some()
        };
        let fitting = self.hosts.iter().take_while(|host| fits(host)).count();
        self.reach.is_cut |= fitting < self.hosts.len();
        self.hosts.truncate(fitting);
    }

    // --- the end

    /// Counts whoever has not answered, and brings ages up to date.
    fn close(&mut self, now: Instant) {
        let open = self.waiting.len() + self.errands.len();
        (0..open).for_each(|_| self.on_silent());
        let passed = ms_between(self.began, now);
        for AgedRow { age_ms, .. } in &mut self.rows {
            *age_ms = age_ms.saturating_add(passed);
            self.reach.age_ms = self.reach.age_ms.max(*age_ms);
        }
        if self.query.is_some() {
            let age_ms = self.reach.age_ms.saturating_add(passed);
            self.reach.age_ms = if self.hosts.is_empty() { 0 } else { age_ms };
        }
    }

    /// The answer for this agent's user.
    pub(super) fn into_answer(mut self, now: Instant) -> Answer {
        self.close(now);
        let nobody = self.reach.answered == 0 && self.reach.silent() > 0;
        let outcome = match (self.failure.take(), self.query.take()) {
            (Some(Failure::NoSuchZone(zone)), _) => Outcome::NoSuchZone(zone),
            (Some(Failure::NotUnderstood), _) => Outcome::NotUnderstood,
            (None, None) if nobody => Outcome::Silence,
            (None, None) => Outcome::Zone(Excerpt::new(&self.zone, self.rows)),
            (None, Some(query)) => {
                let rows = query.finish(self.hosts);
                let columns = if query.outputs().next().is_some() {
                    query.outputs().cloned().collect()
                } else {
                    let names = rows.iter().flat_map(|row| row.iter().map(|(name, _)| name));
                    let mut names: Vec<_> = names.cloned().collect();
                    names.sort_unstable();
                    names.dedup();
                    names
                };
                Outcome::Hosts { columns, rows }
            }
        };
        Answer { outcome, reach: self.reach }
    }

    /// Something of an answer that came is left out.
    pub(super) const fn cut(&mut self) {
        self.reach.is_cut = true;
    }

    /// The answer for another agent.
    pub(super) fn into_report(mut self, now: Instant, trust: Option<&Trust>) -> Report {
        self.close(now);
        let found = match (self.failure.take(), &self.query) {
            (Some(Failure::NoSuchZone(zone)), _) => Found::NoSuchZone(zone),
            (Some(Failure::NotUnderstood), _) => Found::NotUnderstood,
            // Whoever asked may know another way.
            (None, None) if self.rows.is_empty() => Found::Refused,
            (None, None) => self.fitting_rows(trust),
            (None, Some(_)) => Found::Hosts(core::mem::take(&mut self.hosts)),
        };
        Report { reach: self.reach, found }
    }

    fn fitting_rows(&mut self, trust: Option<&Trust>) -> Found {
        let mut left = FOUND_BYTES_MAX;
        let mut fitting = Vec::new();
        for AgedRow { row, age_ms } in &self.rows {
            let Some(rest) = left.checked_sub(row.encoded().len() + ROW_EXTRA_BYTES) else {
                self.reach.is_cut = true;
                break;
            };
            left = rest;
            fitting.push((*age_ms, row.encoded().to_vec()));
        }
        let mut chains = core::mem::take(&mut self.chains);
        if let (true, Some(trust)) = (chains.is_empty(), trust) {
            let signers: BTreeSet<MemberId> =
                self.rows.iter().map(|AgedRow { row, .. }| row.member()).collect();
            let holders = signers.into_iter().filter_map(|signer| trust.holder(signer));
            chains = holders.map(|holder| holder.chain.clone()).collect();
        }
        chains.retain(|chain| {
            let rest = left.checked_sub(chain.bytes().len() + ROW_EXTRA_BYTES);
            left = rest.unwrap_or(left);
            rest.is_some()
        });
        Found::Rows { rows: fitting, chains }
    }
}

/// Whole milliseconds, rounded up: ages are never told too small.
fn ms_between(from: Instant, to: Instant) -> u64 {
    u64::try_from(to.since(from).as_nanos().div_ceil(1_000_000)).unwrap_or(u64::MAX)
}
