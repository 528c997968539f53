//! The checkers of the table and of the failure detector: what must hold in every run, whatever the
//! faults [RELIABILITY 4.2, 4.3].
//!
//! | | holds if |
//! |---|---|
//! | AS-1 | a row that anybody holds was issued, byte for byte, by an agent that may issue it |
//! | AS-2 | at each observer a line's version never goes back, and an agent's version is one row |
//! | AS-3 | nobody takes in a row from more than a minute ahead of its own clock |
//! | AS-6 | a line that was dropped comes back only in a greater version |
//! | AS-8 | an agent holds only rows of the zones on its path, each in its place |
//! | MB-1, AS-9 | agents that nothing ails do not drop each other's rows, whatever clocks say |
//! | MB-3 | an agent that was removed in one life is not held in it again |
//! | MB-4 | rows and inventories stay within the round's budget, whatever is asked for |
//!
//! AS-4, AS-5, MB-2, MB-5 and MB-6 speak of how things end: see
//! [`table_truth`](crate::table_truth).
//! AS-7, that functions are bounded and deterministic, is for the tests of `spinglass-summary`.

use std::collections::{BTreeMap, BTreeSet};

use spinglass_core::crypto::{Hash, PublicKey};
use spinglass_core::frame::Frame;
use spinglass_core::link::{LONG_HEADER_BYTES, SHORT_HEADER_BYTES};
use spinglass_core::table::{Kind, RowKey, TableRow, Version, ZonePath};
use spinglass_core::wire::Reader;
use spinglass_core::{Event, Incarnation, Instant, Node, Now, Transmit};

use crate::check::{VIOLATIONS_MAX, Violation};
use crate::world::Observer;

/// How far ahead of its holder's clock a row may have been issued.
const SKEW_MAX_MS: u64 = 60_000;
/// Bytes that a seal adds at a datagram's end.
const TAG_BYTES: usize = 16;
/// Bytes before a frame's body.
const FRAME_HEADER_BYTES: usize = 3;

/// Watches the tables of a run.
#[derive(Debug, Default)]
pub struct TableChecker {
    /// Whether frames are looked into: only checksums leave them readable.
    look_inside: bool,
    /// Members whose datagrams are damaged on purpose: what they send is not what they said.
    pub tampered: BTreeSet<usize>,
    /// Members that nothing ails: of these, none may drop another.
    pub well: BTreeSet<usize>,
    /// Pairs of members between which nothing gets through: they may lose each other.
    pub parted: BTreeSet<(usize, usize)>,
    /// Members that say good-bye: these tell it at once, whatever the round's budget is.
    pub leaving: BTreeSet<usize>,
    /// Every version of every row that was issued.
    issued: BTreeSet<(RowKey, Version, Hash)>,
    /// Where whoever signs with a key is.
    regions: BTreeMap<PublicKey, ZonePath>,
    /// Whose line of its region's table it is.
    owners: BTreeMap<RowKey, usize>,
    seen: BTreeMap<usize, Seen>,
    /// The life in which a member has removed an agent, by that member's own life.
    condemned: BTreeMap<(usize, u64, RowKey), Incarnation>,
    told: BTreeMap<usize, Told>,
    /// Rows looked at, in all: shows that there was something to look at.
    pub rows: u64,
    violations: Vec<Violation>,
}

/// A member's table when it was last looked at.
#[derive(Debug, Default)]
struct Seen {
    life: u64,
    revision: u64,
    lines: BTreeMap<RowKey, Line>,
}

/// The newest row of a line that a member held in its present life.
#[derive(Debug, Clone)]
struct Line {
    version: Version,
    hash: Hash,
    kind: Kind,
    is_held: bool,
}

/// What a member has sent of its table.
#[derive(Debug, Default)]
struct Told {
    /// Its life, and the round of its table.
    round: (u64, u32),
    bytes: usize,
}

/// Where and when something is looked at.
#[derive(Debug, Clone, Copy)]
struct Place {
    at: Now,
    member: usize,
    life: u64,
}

impl TableChecker {
    /// A checker that also looks into datagrams, for worlds without real cryptography.
    #[must_use]
    pub fn new(look_inside: bool) -> Self {
        Self { look_inside, ..Self::default() }
    }

    /// What went wrong.
    #[must_use]
    pub fn violations(&self) -> &[Violation] {
        &self.violations
    }

    /// Notes that something is not as it has to be.
    pub fn violate(&mut self, invariant: &'static str, member: usize, at: Instant, what: String) {
        if self.violations.len() < VIOLATIONS_MAX {
            self.violations.push(Violation { invariant, member, at: at.as_nanos(), what });
        }
    }

    /// Looks at all rows that a member holds, after something in its table has changed.
    fn look(&mut self, place: Place, node: &Node) {
        let own = node.own_record().public_key;
        self.regions.entry(own).or_insert_with(|| node.table().region().clone());
        let mut seen = self.seen.remove(&place.member).unwrap_or_default();
        if seen.life != place.life {
            seen = Seen { life: place.life, ..Seen::default() };
        }
        seen.revision = node.table().revision();
        if let Some(row) = node.table().own_row() {
            self.owners.insert(row.key(), place.member);
        }
        let mut held = BTreeSet::new();
        for row in node.table().held() {
            held.insert(row.key());
            self.check_life(place, row);
            let last = seen.lines.get(&row.key());
            if last.is_some_and(|last| last.is_held && last.hash == row.hash()) {
                continue;
            }
            self.rows += 1;
            if *row.issuer() == own {
                self.issued.insert((row.key(), row.version(), row.hash()));
            }
            self.check_row(place, node, row);
            if let Some(last) = last {
                self.check_order(place, row, last);
            }
            let (version, hash, kind) = (row.version(), row.hash(), row.kind());
            seen.lines.insert(row.key(), Line { version, hash, kind, is_held: true });
        }
        for (key, line) in &mut seen.lines {
            if line.is_held && !held.contains(key) {
                line.is_held = false;
                self.on_dropped(place, *key, line);
            }
        }
        self.seen.insert(place.member, seen);
    }

    /// Who issued a row, where it stands, and when it was issued.
    fn check_row(&mut self, place: Place, node: &Node, row: &TableRow) {
        let mut wrong = Vec::new();
        let region = node.table().region();
        let in_place = match row.kind() {
            Kind::Agent => row.zone() == region,
            Kind::Zone => row.zone() != region && region.is_within(row.zone()),
            Kind::Function | Kind::Order => region.is_within(row.zone()),
        };
        if !in_place {
            wrong.push(("AS-8", "has no place here"));
        }
        let subject = match row.kind() {
            Kind::Agent | Kind::Function | Kind::Order => Some(row.zone().clone()),
            Kind::Zone => row.zone().child(row.name()).ok(),
        };
        let issuer = self.regions.get(row.issuer());
        let may_issue = issuer.zip(subject).is_some_and(|(issuer, zone)| issuer.is_within(&zone));
        if !may_issue || !self.issued.contains(&(row.key(), row.version(), row.hash())) {
            wrong.push(("AS-1", "was not issued by whoever may"));
        }
        let is_own = *row.issuer() == node.own_record().public_key;
        if !is_own && row.issued_ms() > place.at.wall_ms.saturating_add(SKEW_MAX_MS) {
            wrong.push(("AS-3", "is from the future"));
        }
        for (invariant, what) in wrong {
            let what = format!("{} {what}", shown(row));
            self.violate(invariant, place.member, place.at.monotonic, what);
        }
    }

    /// Whether a row is of a life that its holder has declared over.
    fn check_life(&mut self, place: Place, row: &TableRow) {
        let condemned = self.condemned.get(&(place.member, place.life, row.key()));
        if condemned.is_some_and(|life| row.version().incarnation <= *life) {
            let what = format!("{} is of a life in which the agent was removed", shown(row));
            self.violate("MB-3", place.member, place.at.monotonic, what);
        }
    }

    /// Compares a row with the newest one of its line that the member has held before.
    fn check_order(&mut self, place: Place, row: &TableRow, last: &Line) {
        let (version, hash) = (row.version(), row.hash());
        let shown = |what: &str| format!("{} {what} {:?}", shown(row), last.version);
        let wrong = if !last.is_held && version <= last.version {
            ("AS-6", shown("came back after"))
        } else if (version, hash) < (last.version, last.hash) {
            ("AS-2", shown("came after"))
        } else if row.kind() == Kind::Agent && version == last.version {
            ("AS-2", shown("is another row of version"))
        } else {
            return;
        };
        self.violate(wrong.0, place.member, place.at.monotonic, wrong.1);
    }

    fn on_dropped(&mut self, place: Place, key: RowKey, line: &Line) {
        let owner = self.owners.get(&key).filter(|_| line.kind == Kind::Agent);
        let is_well = |member: &usize| self.well.contains(member);
        let is_parted = |owner: &usize| self.parted.contains(&(place.member, *owner));
        let owner = owner.filter(|owner| is_well(owner) && is_well(&place.member));
        if let Some(owner) = owner.filter(|owner| !is_parted(owner)) {
            let what = format!("dropped agent {owner}, which is well");
            self.violate("MB-1/AS-9", place.member, place.at.monotonic, what);
        }
    }

    /// Takes bytes off a member's budget of the round.
    fn spend(&mut self, place: Place, node: &Node, bytes: usize) {
        let round = (place.life, node.table().round());
        let told = self.told.entry(place.member).or_default();
        if told.round != round {
            (told.round, told.bytes) = (round, 0);
        }
        told.bytes += bytes;
        let (got, limit) = (told.bytes, node.config().table.bytes_per_round);
        if got > limit && !self.leaving.contains(&place.member) {
            let what = format!("{got} bytes of rows in round {round:?}, the budget is {limit}");
            self.violate("MB-4", place.member, place.at.monotonic, what);
        }
    }

    /// Looks at the frames of a datagram.
    fn look_at(&mut self, place: Place, node: &Node, datagram: &[u8]) {
        let is_long = datagram.first().is_some_and(|version| version & 0x80 != 0);
        let header = if is_long { LONG_HEADER_BYTES } else { SHORT_HEADER_BYTES };
        let frames = datagram.get(header..datagram.len().saturating_sub(TAG_BYTES));
        let mut reader = Reader::new(frames.unwrap_or(&[]));
        while let Some(Ok(frame)) = Frame::next(&mut reader) {
            match frame {
                Frame::Row(row) => {
                    self.spend(place, node, row.bytes().len());
                }
                Frame::Inventory(inventory) => {
                    let mut bytes = Vec::new();
                    inventory.encode(&mut bytes);
                    self.spend(place, node, bytes.len() + FRAME_HEADER_BYTES);
                }
                Frame::Accusations(verdict) if verdict.accusations.len() > 1 => {
                    let life = (place.member, place.life, verdict.subject);
                    let last = self.condemned.entry(life).or_insert(verdict.incarnation);
                    *last = (*last).max(verdict.incarnation);
                }
                _ => (),
            }
        }
    }
}

fn shown(row: &TableRow) -> String {
    format!("{:?} {} of {}, {:?}", row.kind(), row.name(), row.zone(), row.version())
}

impl Observer for TableChecker {
    fn event(&mut self, _at: Instant, _member: usize, _life: u64, _event: &Event) {}

    fn handled(&mut self, at: Now, member: usize, life: u64, node: &Node) {
        let seen = self.seen.get(&member).map(|seen| (seen.life, seen.revision));
        if seen != Some((life, node.table().revision())) {
            self.look(Place { at, member, life }, node);
        }
    }

    fn sent(
        &mut self,
        at: Instant,
        member: usize,
        node: &Node,
        transmit: &Transmit,
        segments: &[u8],
    ) {
        if !self.look_inside || self.tampered.contains(&member) {
            return;
        }
        let life = self.seen.get(&member).map_or(0, |seen| seen.life);
        // Only the monotonic clock is told; no time of issue is looked at here.
        let place = Place { at: Now { monotonic: at, wall_ms: 0 }, member, life };
        for datagram in segments.chunks(transmit.segment_bytes.max(1)) {
            self.look_at(place, node, datagram);
        }
    }
}
