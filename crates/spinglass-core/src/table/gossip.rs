//! Rounds, and what two agents exchange in them: see [`messages`](super::messages).

use alloc::collections::BTreeSet;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::cmp::Reverse;
use core::net::SocketAddr;

use super::level::{Level, Line, Merged};
use super::liars::counts_ahead;
use super::messages::{
    Inventory, InventoryLine, LINES_BYTES_MAX, LINES_MAX, PARTS, TableDigest, Want, keys_of,
};
use super::row::{Kind, RowKey, TableRow, UnverifiedRow, Version};
use super::{Table, TableCx, ZonePath};
use crate::event::Reject;
use crate::outbox::Control;
use crate::rng::Prng;

/// How far ahead of one's own clock a row's time of issue may lie: beyond, it is not stored. It
/// stops nobody's row for good, since versions are counters.
pub(super) const SKEW_MAX_MS: u64 = 60_000;
/// Rows that a table of any zone remembers as gone at most.
pub(super) const GONE_MAX: usize = 4096;
/// Rounds between two attempts to reach a seed once others are known: what mends a partition that
/// outlasted everybody's patience.
pub(super) const REJOIN_ROUNDS: u32 = 10;
/// Rounds that a newcomer counts before it is as patient as all others, once it has found its
/// region, and if it does not find it.
const JOIN_ROUNDS: u32 = 10;
const SEARCH_ROUNDS: u32 = 100;
/// Of a table of more lines, one who knows nobody there is only told of this many others: a seed
/// that compared with each of many newcomers would serve few of them in a round, and the others
/// would know of nobody else to ask.
const MANY_LINES: usize = 16;
const INTRODUCED: usize = 2;
/// Lines drawn at random before all are looked at for one to choose.
const DRAWS: usize = 4;
/// Agents that are told of a good-bye at once.
const GOODBYES: usize = 4;

/// Bytes that may still be sent in a round. Inventories may take half of a round's, and with the
/// rows that follow from them three quarters: where a table is so large that comparing would take
/// all, rows are still exchanged, and news passed on.
#[derive(Debug, Clone, Copy)]
pub(super) struct BytesLeft {
    all: usize,
    comparing: usize,
    inventories: usize,
}

/// What bytes are spent on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Use {
    Inventory,
    /// Rows that another lacks.
    Rows,
    News,
}

impl BytesLeft {
    pub(super) const fn of(bytes_per_round: usize) -> Self {
        let comparing = bytes_per_round - bytes_per_round / 4;
        Self { all: bytes_per_round, comparing, inventories: bytes_per_round / 2 }
    }

    /// Whether so many bytes may be sent; they are spent then.
    pub(super) fn take(&mut self, what: Use, bytes: usize) -> bool {
        let is_comparing = what != Use::News;
        let fits = bytes <= self.all
            && (!is_comparing || bytes <= self.comparing)
            && (what != Use::Inventory || bytes <= self.inventories);
        if fits && !(is_rows_unbounded() && what != Use::Inventory) {
            self.all -= bytes;
            self.comparing = self.comparing.saturating_sub(if is_comparing { bytes } else { 0 });
            let told = if what == Use::Inventory { bytes } else { 0 };
            self.inventories = self.inventories.saturating_sub(told);
        }
        fits
    }
}

const fn is_rows_unbounded() -> bool {
    cfg!(spinglass_bug = "rows_unbounded")
}

impl Table {
    /// Takes in which share of probes, in millionths, got no answer lately.
    pub(crate) const fn note_loss(&mut self, lost_ppm: u32) {
        self.effort.note(lost_ppm);
    }

    /// Begins a round. `lost` are agents of the region that this one has not reached for so long
    /// that it drops them, though no quorum agrees: its region may be too small for one.
    pub(crate) fn on_round(&mut self, lost: &[RowKey], cx: &mut TableCx<'_>) {
        self.round += 1;
        self.bytes_left = BytesLeft::of(self.config.bytes_per_round);
        self.begin_news_round();
        self.drop_silent(lost);
        self.drop_lapsed(cx.wall_ms);
        self.issue_own(cx);
        if !self.has_left && !self.is_suspended {
            self.issue_zones(cx);
            self.audit(cx);
        }
        self.pass_on(cx);
        for to in self.choose_partners() {
            cx.outbox.control(Control::TableDigest { to });
        }
    }

    /// Says good-bye: the own row's last version, and new rows of the zones that one spoke for, to
    /// those who speak for them now and to a few others at once; gossip tells the rest.
    pub(crate) fn leave(&mut self, cx: &mut TableCx<'_>) {
        (self.has_left, self.own_changed) = (true, true);
        self.issue_own(cx);
        let own = self.levels.last().and_then(|level| level.find(self.own));
        let mut rows: Vec<_> = own.map(|line| Arc::clone(&line.row)).into_iter().collect();
        for depth in (1..self.levels.len()).rev() {
            rows.extend(self.hand_over(depth, cx));
        }
        for depth in 0..self.levels.len() {
            let held: Vec<_> =
                rows.iter().filter(|row| row.zone().depth() <= depth).cloned().collect();
            let mut heirs = BTreeSet::new();
            heirs.extend((0..GOODBYES).filter_map(|_| self.choose_sibling(depth)));
            // Whoever speaks for the zone at this depth stands in its table.
            let heir = held.iter().filter(|row| row.zone().depth() + 1 == depth);
            heirs.extend(heir.flat_map(|row| row.contacts()));
            for to in heirs {
                cx.outbox.control(Control::TableRows { to, rows: held.clone() });
            }
        }
    }

    /// Drops rows that were not heard of for too long. A zone's may be silent the longer the
    /// higher it stands: first the dead agents must go, then the zones that they spoke for get new
    /// representatives, and these must still know whom to talk to.
    fn drop_silent(&mut self, lost: &[RowKey]) {
        let agents_silent = self.config.silent_rounds.saturating_mul(self.agent_refreshes);
        let (round, own, gone) = (self.round, self.own, self.config.gone_rounds);
        let heights = (1..=self.levels.len() as u32).rev();
        let mut dropped = Vec::new();
        for (level, height) in self.levels.iter_mut().zip(heights) {
            let silent = self.config.silent_rounds.saturating_mul(height);
            level.forget_gone(round);
            let is_silent = |line: &&Line| {
                let patience = match (line.row.kind(), line.row.is_removed()) {
                    (Kind::Function | Kind::Order, false) => return false,
                    // Whoever missed the removal of a function still holds it.
                    (Kind::Function | Kind::Order, true) => gone,
                    (Kind::Zone, _) | (Kind::Agent, true) => silent,
                    (Kind::Agent, false) => agents_silent,
                };
                let is_silent = round.saturating_sub(line.heard) > patience;
                line.key() != own && (is_silent || lost.contains(&line.key()))
            };
            let lines = level.lines().iter().filter(is_silent);
            let lines: Vec<(RowKey, Version)> =
                lines.map(|line| (line.key(), line.row.version())).collect();
            for (key, last) in lines {
                dropped.extend(level.remove(key, last, round.saturating_add(gone), GONE_MAX));
            }
        }
        self.note_gone(&dropped);
        for Line { row, .. } in dropped {
            self.remember(&row);
        }
    }

    /// Whom to compare tables with in this round: one agent of the region; one representative of a
    /// sibling of each zone that one speaks for; one of those who speak for a zone of the path
    /// without standing in its table, which so is not whole; and a stranger that announced itself.
    fn choose_partners(&mut self) -> Vec<SocketAddr> {
        let mut partners = Vec::new();
        let leaf = self.levels.len() - 1;
        for depth in (0..self.levels.len()).rev() {
            if depth == leaf || self.speaks_for(depth + 1) {
                let comparisons = self.effort.of(1, &mut self.rng);
                partners.extend((0..comparisons).filter_map(|_| self.choose_sibling(depth)));
            }
        }
        let stranger = (1..=leaf).rev().find_map(|depth| self.choose_stranger(depth));
        partners.extend(stranger);
        partners.extend(self.strangers.pop_front());
        // Those who speak for the path's first zone look for what is beyond it.
        let is_rejoin =
            self.round.is_multiple_of(REJOIN_ROUNDS) && (leaf == 0 || self.speaks_for(1));
        if partners.is_empty() || is_rejoin {
            let known = self.seeds.iter().chain(self.remembered.iter().copied());
            let known: Vec<_> = known.filter(|address| *address != self.address).collect();
            partners.extend(known.get(self.rng.index(known.len())));
        }
        partners.extend(self.choose_absent());
        partners.sort_unstable();
        partners.dedup();
        partners
    }

    /// Whether the agent is a representative of the zone at `depth` of its path.
    pub(super) fn speaks_for(&self, depth: usize) -> bool {
        self.own_zone(depth).is_some_and(|line| self.rank(line.row.contacts()).is_some())
    }

    /// The line of the zone at `depth` of the path, in its parent's table.
    pub(super) fn own_zone(&self, depth: usize) -> Option<&Line> {
        let line = self.levels.get(depth.checked_sub(1)?)?.find(*self.zone_keys.get(depth)?)?;
        Some(line).filter(|line| !line.row.is_removed())
    }

    /// Whether this agent is new, or has yet to find its region: it knows nobody, or hears of
    /// somebody who speaks for a zone of its path and whom it does not know.
    pub(crate) fn is_joining(&self) -> bool {
        let leaf = self.levels.len() - 1;
        let knows_any = self.levels.iter().any(|level| level.children().nth(1).is_some());
        let has_seeds = self.seeds.iter().any(|seed| seed != self.address);
        let finds_stranger = (1..=leaf).any(|depth| !self.unknown_speakers(depth).is_empty());
        let is_new = self.round < JOIN_ROUNDS && has_seeds;
        is_new || self.round < SEARCH_ROUNDS && (!knows_any && has_seeds || finds_stranger)
    }

    /// Somebody who speaks for the zone at `depth` of the path and does not stand in its table:
    /// that is how a newcomer finds its zone, and how two halves of one that formed apart merge.
    fn choose_stranger(&mut self, depth: usize) -> Option<SocketAddr> {
        let unknown = self.unknown_speakers(depth);
        unknown.get(self.rng.index(unknown.len())).copied()
    }

    fn unknown_speakers(&self, depth: usize) -> Vec<SocketAddr> {
        let speakers = self.own_zone(depth).map_or(&[][..], |line| line.row.contacts());
        let stands = |speaker: &SocketAddr| {
            let mut rows = self.levels.get(depth).into_iter().flat_map(Level::children);
            *speaker == self.address || rows.any(|line| line.row.contacts().contains(speaker))
        };
        speakers.iter().filter(|speaker| !stands(speaker)).copied().collect()
    }

    /// A contact of a random row of the table at `depth`, other than one's own.
    pub(super) fn choose_sibling(&mut self, depth: usize) -> Option<SocketAddr> {
        let row = self.choose_line(depth)?;
        let is_other = |contact: &&SocketAddr| **contact != self.address;
        let contacts: Vec<_> = row.contacts().iter().filter(is_other).collect();
        contacts.get(self.rng.index(contacts.len())).map(|contact| **contact)
    }

    /// A random row of the table at `depth`, of an agent or a zone other than one's own.
    fn choose_line(&mut self, depth: usize) -> Option<Arc<TableRow>> {
        let level = self.levels.get(depth)?;
        let own =
            if depth + 1 < self.levels.len() { *self.zone_keys.get(depth + 1)? } else { self.own };
        let is_other = |line: &&Line| {
            let row = &line.row;
            row.kind().is_child() && !row.is_removed() && line.key() != own
        };
        // Most lines are others: a few draws find one, at no cost that grows with the table.
        let lines = level.lines();
        let mut draws = (0..DRAWS).filter_map(|_| lines.get(self.rng.index(lines.len())));
        let row = draws.find(is_other).map(|line| Arc::clone(&line.row));
        row.or_else(|| {
            let others: Vec<&Line> = lines.iter().filter(is_other).collect();
            others.get(self.rng.index(others.len())).map(|line| Arc::clone(&line.row))
        })
    }

    /// The digest to send.
    pub(crate) fn digest(&self) -> TableDigest {
        TableDigest { levels: self.levels.iter().map(Level::digest).collect() }
    }

    /// Answers a digest with an inventory of each part of a shared level that differs, the nearest
    /// level first.
    pub(crate) fn on_digest(
        &mut self,
        to: SocketAddr,
        region: &ZonePath,
        digest: &TableDigest,
        cx: &mut TableCx<'_>,
    ) {
        cx.stats.table_digests_received += 1;
        let shared = self.shared_levels(region).min(digest.levels.len());
        for depth in (0..shared).rev() {
            let (Some(level), Some(theirs)) = (self.levels.get(depth), digest.levels.get(depth))
            else {
                continue;
            };
            if is_newcomer(level, theirs) {
                self.introduce(to, depth, cx);
                continue;
            }
            let own = level.digest();
            self.note_comparison(depth, to, own == *theirs);
            let Some(level) = self.levels.get(depth) else { continue };
            let parts = own.iter().zip(theirs).enumerate();
            let differ = parts.filter(|(_, (own, theirs))| own != theirs).map(|(part, _)| part);
            let mut differ: Vec<usize> = differ.collect();
            let first = self.rng.index(differ.len());
            differ.rotate_left(first);
            let starts = differ.iter().map(|part| first_told(level, *part, &mut self.rng));
            let starts: Vec<usize> = starts.collect();
            let parts = differ.into_iter().zip(starts);
            let mut pieces = parts.flat_map(|(part, start)| Pieces::new(level, depth, part, start));
            let all_told = tell(to, &mut pieces, &mut self.bytes_left, cx);
            cx.stats.table_over_budget += u64::from(!all_told);
        }
    }

    /// Tells one who knows nobody of a few others, drawn at random, whom to ask for the rest.
    fn introduce(&mut self, to: SocketAddr, depth: usize, cx: &mut TableCx<'_>) {
        let drawn: Vec<_> = (0..INTRODUCED).filter_map(|_| self.choose_line(depth)).collect();
        self.send_rows(to, drawn, Use::News, cx);
    }

    /// Levels, from the root, that an agent of `region` holds too.
    fn shared_levels(&self, region: &ZonePath) -> usize {
        self.region.common_depth(region) + 1
    }

    /// Compares another's inventory with what is held: sends what it lacks, asks for what it has.
    pub(crate) fn on_inventory(
        &mut self,
        to: SocketAddr,
        region: &ZonePath,
        theirs: &Inventory,
        cx: &mut TableCx<'_>,
    ) {
        let depth = usize::from(theirs.depth);
        if depth >= self.shared_levels(region) {
            return;
        }
        let Some(level) = self.levels.get(depth) else { return };
        let keys: Vec<RowKey> =
            theirs.lines.iter().filter(|line| is_newer(level, line)).map(|line| line.key).collect();
        let held = level.between(theirs.from, theirs.to).iter();
        let mut news: Vec<&Line> = held.filter(|line| lacks(&theirs.lines, line)).collect();
        news.sort_by_key(|line| Reverse(line.heard));
        let rows: Vec<_> = news.into_iter().map(|line| Arc::clone(&line.row)).collect();
        self.send_rows(to, rows, Use::Rows, cx);
        if !keys.is_empty() {
            cx.outbox.control(Control::TableWant { to, want: Want { depth: theirs.depth, keys } });
        }
    }

    /// Answers a request for rows.
    pub(crate) fn on_want(
        &mut self,
        to: SocketAddr,
        region: &ZonePath,
        want: &Want,
        cx: &mut TableCx<'_>,
    ) {
        let depth = usize::from(want.depth);
        if depth >= self.shared_levels(region) {
            return;
        }
        let Some(level) = self.levels.get(depth) else { return };
        let found = want.keys.iter().filter_map(|key| level.find(*key));
        let rows = found.map(|line| Arc::clone(&line.row)).collect();
        self.send_rows(to, rows, Use::Rows, cx);
    }

    pub(super) fn send_rows(
        &mut self,
        to: SocketAddr,
        rows: Vec<Arc<TableRow>>,
        what: Use,
        cx: &mut TableCx<'_>,
    ) {
        let mut sent = Vec::new();
        for row in rows {
            if !self.bytes_left.take(what, row.encoded().len()) {
                cx.stats.table_over_budget += 1;
                break;
            }
            sent.push(row);
        }
        if !sent.is_empty() {
            cx.stats.rows_sent += sent.len() as u64;
            cx.outbox.control(Control::TableRows { to, rows: sent });
        }
    }

    /// Takes in a row that another sent.
    ///
    /// # Errors
    /// It is forged, or has no place in the tables held here.
    pub(crate) fn on_row(
        &mut self,
        row: UnverifiedRow<'_>,
        cx: &mut TableCx<'_>,
    ) -> Result<(), Reject> {
        cx.stats.rows_received += 1;
        let Ok(depth) = self.depth_of(row.zone()) else { return Err(Reject::Misplaced) };
        let is_leaf = depth + 1 == self.levels.len();
        let has_place = match row.kind() {
            Kind::Agent => is_leaf,
            Kind::Zone => !is_leaf,
            Kind::Function => true,
            Kind::Order => depth == 0,
        };
        let is_early = row.issued_ms() > cx.wall_ms.saturating_add(SKEW_MAX_MS)
            && !cfg!(spinglass_bug = "row_from_future");
        if !has_place || is_early || counts_ahead(&row) {
            return Err(Reject::Misplaced);
        }
        if row.is_order() && !self.has_room_for_order(row.name()) {
            cx.stats.table_full += 1;
            return Ok(());
        }
        let key = row.key(cx.crypto);
        let level = self.levels.get(depth).ok_or(Reject::Misplaced)?;
        let is_over = row.has_lapsed(cx.wall_ms) || self.is_cleared(row.kind(), row.issued_ms());
        if is_over || !level.wants(key, row.version(), row.bytes()) {
            cx.stats.rows_surplus += 1;
            return Ok(());
        }
        let row = self.verified(row, key, cx)?;
        if key == self.own {
            self.outlive(&row);
            return Ok(());
        }
        self.note_twin(&row);
        match self.merge(&row) {
            Merged::Full => cx.stats.table_full += 1,
            Merged::Added | Merged::Replaced => cx.stats.rows_merged += 1,
            Merged::Old => cx.stats.rows_surplus += 1,
        }
        Ok(())
    }

    pub(super) fn verified(
        &mut self,
        row: UnverifiedRow<'_>,
        key: RowKey,
        cx: &mut TableCx<'_>,
    ) -> Result<Arc<TableRow>, Reject> {
        if let Some(shared) = self.pool.as_mut().and_then(|pool| pool.find(row.bytes())) {
            return Ok(shared);
        }
        cx.stats.signatures_checked += 1;
        let row = Arc::new(row.verify(key, cx.crypto).ok_or(Reject::Forged)?);
        self.pool.iter_mut().for_each(|pool| pool.add(&row));
        Ok(row)
    }

    /// A row of one's own that one did not issue, at least not in this life: the next one issued
    /// supersedes it.
    fn outlive(&mut self, row: &TableRow) {
        let theirs = row.version();
        if theirs.incarnation == self.version.incarnation && theirs >= self.version {
            self.version.counter = theirs.counter;
            self.own_changed = true;
        }
    }
}

/// Sends inventories, as many to a datagram as fit, while the budget allows. Returns whether it
/// allowed all of them; what it doesn't allow is not made.
fn tell(
    to: SocketAddr,
    pieces: &mut dyn Iterator<Item = (Inventory, usize)>,
    bytes_left: &mut BytesLeft,
    cx: &mut TableCx<'_>,
) -> bool {
    let (mut batch, mut filled, mut all_told) = (Vec::new(), 0, true);
    for (inventory, bytes) in pieces {
        if !bytes_left.take(Use::Inventory, bytes) {
            all_told = false;
            break;
        }
        cx.stats.table_inventories_sent += 1;
        if filled + bytes > LINES_BYTES_MAX {
            let inventories = core::mem::take(&mut batch);
            cx.outbox.control(Control::TableInventories { to, inventories });
            filled = 0;
        }
        batch.push(inventory);
        filled += bytes;
    }
    if !batch.is_empty() {
        cx.outbox.control(Control::TableInventories { to, inventories: batch });
    }
    all_told
}

/// Whether an agent with this digest holds so little of a table of many lines that comparing is
/// not worth it.
fn is_newcomer(level: &Level, theirs: &[u32; PARTS]) -> bool {
    let is_large = level.lines().len() > MANY_LINES;
    is_large && theirs.iter().filter(|part| **part != 0).count() <= 1
}

/// The line of a part at which to begin telling of it: where that may not be allowed to the end, a
/// random one, so that nothing is told of less often than the rest.
fn first_told(level: &Level, part: usize, rng: &mut Prng) -> usize {
    let (first, last) = keys_of(part);
    let lines = level.between(first, last).len();
    if lines > LINES_MAX { rng.index(lines) } else { 0 }
}

/// What is held of a part of a level, in pieces that fit a datagram each, with their bytes:
/// together they speak of every key of the part.
struct Pieces<'a> {
    depth: u8,
    /// The part's lines before and after the one at which telling begins.
    before: &'a [Line],
    after: &'a [Line],
    /// Which keys are spoken of next, unless all have been.
    next: Option<(RowKey, RowKey)>,
    /// The part's keys before that line, once those after it have been told.
    wrap: Option<(RowKey, RowKey)>,
}

impl<'a> Pieces<'a> {
    fn new(level: &'a Level, depth: usize, part: usize, start: usize) -> Self {
        let depth = u8::try_from(depth).unwrap_or(u8::MAX);
        let (first, last) = keys_of(part);
        let (before, after) = level.between(first, last).split_at(start);
        // The pieces after speak from the line on; those before, of all that is less.
        let from = after.first().filter(|_| start > 0).map(Line::key);
        let wrap = from.map(|from| (first, RowKey(from.0.saturating_sub(1))));
        Self { depth, before, after, next: Some((from.unwrap_or(first), last)), wrap }
    }
}

impl Iterator for Pieces<'_> {
    type Item = (Inventory, usize);

    fn next(&mut self) -> Option<Self::Item> {
        let (from, to) = self.next.or_else(|| {
            self.after = core::mem::take(&mut self.before);
            self.wrap.take()
        })?;
        let mut piece = Inventory { depth: self.depth, from, to, lines: Vec::new() };
        let mut bytes = piece.encoded_bytes();
        self.next = None;
        while let Some((line, rest)) = self.after.split_first() {
            let (key, version, hash) = (line.key(), line.row.version(), line.row.short_hash());
            let told = InventoryLine { key, version, hash };
            let more = told.encoded_bytes();
            if bytes + more > LINES_BYTES_MAX || piece.lines.len() == LINES_MAX {
                // Keys rise, so the one before this one is no less than the last told.
                piece.to = RowKey(key.0.saturating_sub(1));
                self.next = Some((key, to));
                break;
            }
            bytes += more;
            piece.lines.push(told);
            self.after = rest;
        }
        Some((piece, bytes))
    }
}

/// Whether another's line is newer than what is held.
fn is_newer(level: &Level, theirs: &InventoryLine) -> bool {
    match level.find(theirs.key) {
        Some(held) => (held.row.version(), held.row.short_hash()) < (theirs.version, theirs.hash),
        None => level.highest(theirs.key).is_none_or(|gone| gone < theirs.version),
    }
}

/// Whether another lacks a line that is held, or has it older.
fn lacks(theirs: &[InventoryLine], held: &Line) -> bool {
    match theirs.binary_search_by_key(&held.key(), |line| line.key) {
        Ok(at) => theirs.get(at).is_some_and(|line| {
            (line.version, line.hash) < (held.row.version(), held.row.short_hash())
        }),
        Err(_) => true,
    }
}
