//! One zone's table, as one agent holds it.
//!
//! Merging is a join: per line the newest row wins, so the order in which rows come doesn't matter,
//! and two agents that hold the same rows have the same digest. What was removed is remembered by
//! its version for as long as the settings say, so that no old row brings it back.

use alloc::collections::BTreeMap;
use alloc::sync::Arc;
use alloc::vec::Vec;

use super::messages::{PARTS, part_of};
use super::path::ZonePath;
use super::row::{Kind, RowKey, TableRow, Version};
use crate::compact::make_room;

/// The zone's rows, by key.
#[derive(Debug)]
pub(crate) struct Level {
    zone: ZonePath,
    lines: Vec<Line>,
    /// The sums of the rows' hashes, part by part: equal in two agents that hold the same rows.
    digest: [u32; PARTS],
    /// Versions of rows that are gone, and the round in which each may be forgotten.
    gone: BTreeMap<RowKey, (Version, u32)>,
    /// Lines that say something new which was not passed on yet; in no order.
    news: Vec<RowKey>,
    /// How often what its rows say has changed: agents' and zones', and functions'.
    changes: u32,
    function_changes: u32,
    /// How often somebody came, went or began a new life.
    moves: u32,
}

/// One line of a table. An agent has hundreds: the bulk of what it holds.
#[derive(Debug, Clone)]
pub(crate) struct Line {
    pub(crate) row: Arc<TableRow>,
    /// The front of the row's key, so that a search seldom looks at rows.
    front: u32,
    /// The own round in which this row came: silence is counted from here.
    pub(crate) heard: u32,
}

impl Line {
    pub(crate) fn key(&self) -> RowKey {
        self.row.key()
    }
}

/// What became of a row.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Merged {
    /// The first row of its line.
    Added,
    /// It replaced an older one.
    Replaced,
    /// It is known, or something newer is.
    Old,
    /// The table is full.
    Full,
}

impl Level {
    pub(crate) const fn new(zone: ZonePath) -> Self {
        Self {
            zone,
            lines: Vec::new(),
            digest: [0; PARTS],
            gone: BTreeMap::new(),
            news: Vec::new(),
            changes: 0,
            function_changes: 0,
            moves: 0,
        }
    }

    /// Counts the changes of what agents' and zones' rows say.
    pub(crate) const fn changes(&self) -> u32 {
        self.changes
    }

    /// Counts the changes of functions' rows.
    pub(crate) const fn function_changes(&self) -> u32 {
        self.function_changes
    }

    /// Counts those who came, went or began a new life.
    pub(crate) const fn moves(&self) -> u32 {
        self.moves
    }

    fn note_change(&mut self, kind: Kind) {
        let count = match kind {
            Kind::Agent | Kind::Zone => &mut self.changes,
            Kind::Function | Kind::Order => &mut self.function_changes,
        };
        *count = count.wrapping_add(1);
    }

    pub(crate) const fn zone(&self) -> &ZonePath {
        &self.zone
    }

    pub(crate) fn lines(&self) -> &[Line] {
        &self.lines
    }

    /// Rows of agents or child zones: what is summarised.
    pub(crate) fn children(&self) -> impl Iterator<Item = &Line> {
        self.lines.iter().filter(|line| line.row.kind().is_child() && !line.row.is_removed())
    }

    /// Rows of functions that hold from here down.
    pub(crate) fn functions(&self) -> impl Iterator<Item = &Arc<TableRow>> {
        let rows = self.lines.iter().map(|line| &line.row);
        rows.filter(|row| row.kind() == Kind::Function && !row.is_removed())
    }

    /// Rows of orders, lifted ones included.
    pub(crate) fn orders(&self) -> impl Iterator<Item = &Arc<TableRow>> {
        self.lines.iter().map(|line| &line.row).filter(|row| row.kind() == Kind::Order)
    }

    pub(crate) fn find(&self, key: RowKey) -> Option<&Line> {
        self.lines.get(self.place(key).ok()?)
    }

    /// The lines from one key to another, both included.
    pub(crate) fn between(&self, from: RowKey, to: RowKey) -> &[Line] {
        let start = self.place(from).unwrap_or_else(|place| place);
        let end = self.place(to).map_or_else(|place| place, |place| place + 1);
        self.lines.get(start..end).unwrap_or(&[])
    }

    /// Where a line is, or (the error) would be.
    fn place(&self, key: RowKey) -> Result<usize, usize> {
        let front = front(key);
        self.lines
            .binary_search_by(|line| line.front.cmp(&front).then_with(|| line.key().cmp(&key)))
    }

    /// The highest version of a line that was ever met, as far as one remembers.
    pub(crate) fn highest(&self, key: RowKey) -> Option<Version> {
        let held = self.find(key).map(|line| line.row.version());
        held.max(self.gone.get(&key).map(|(version, _)| *version))
    }

    pub(crate) const fn digest(&self) -> [u32; PARTS] {
        self.digest
    }

    /// Whether a row of this line and version, of these bytes, may be news.
    pub(crate) fn wants(&self, key: RowKey, version: Version, bytes: &[u8]) -> bool {
        let gone = self.gone.get(&key).is_some_and(|(gone, _)| version <= *gone);
        let is_newer = |held: &TableRow| {
            held.version() < version || held.version() == version && held.encoded() != bytes
        };
        !gone && self.find(key).is_none_or(|line| is_newer(&line.row))
    }

    pub(crate) fn merge(&mut self, row: &Arc<TableRow>, round: u32, lines_max: usize) -> Merged {
        debug_assert!(row.zone() == &self.zone);
        let key = row.key();
        if self.gone.get(&key).is_some_and(|(gone, _)| row.version() <= *gone) {
            return Merged::Old;
        }
        let line = Line { row: Arc::clone(row), front: front(key), heard: round };
        let (mut is_news, mut is_same_life) = (true, false);
        let place = self.place(key);
        let merged = match place {
            Ok(at) => {
                let Some(held) = self.lines.get_mut(at) else { return Merged::Old };
                if !row.supersedes(&held.row) {
                    return Merged::Old;
                }
                is_news = !held.row.says_same(row);
                is_same_life = held.row.version().incarnation == row.version().incarnation;
                let old = core::mem::replace(held, line).row;
                subtract(&mut self.digest, &old);
                Merged::Replaced
            }
            Err(_) if self.lines.len() >= lines_max => return Merged::Full,
            Err(at) => {
                make_room(&mut self.lines);
                self.lines.insert(at, line);
                Merged::Added
            }
        };
        add(&mut self.digest, row);
        self.gone.remove(&key);
        if is_news || row.kind() == Kind::Function {
            self.note_change(row.kind());
        }
        self.moves = self.moves.wrapping_add(u32::from(!is_same_life || row.is_removed()));
        // What was added can't be among them already: whatever is removed is no news any more.
        if is_news && (merged == Merged::Added || !self.news.contains(&key)) {
            self.news.push(key);
        }
        merged
    }

    /// Takes a line out, and remembers `last` as its version until the round `forget`.
    pub(crate) fn remove(
        &mut self,
        key: RowKey,
        last: Version,
        forget: u32,
        gone_max: usize,
    ) -> Option<Line> {
        let line = self.lines.remove(self.place(key).ok()?);
        self.news.retain(|news| *news != key);
        subtract(&mut self.digest, &line.row);
        self.note_change(line.row.kind());
        self.moves = self.moves.wrapping_add(1);
        if self.gone.len() >= gone_max {
            // The one that would be forgotten first.
            let first = self.gone.iter().min_by_key(|(_, (_, forget))| *forget);
            if let Some(first) = first.map(|(key, _)| *key) {
                self.gone.remove(&first);
            }
        }
        #[cfg(not(spinglass_bug = "row_gone_forgotten"))]
        self.gone.insert(key, (last, forget));
        #[cfg(spinglass_bug = "row_gone_forgotten")]
        let _forgotten = (last, forget);
        Some(line)
    }

    /// Takes out the rows that `is_it` names, as if they had never been there: nothing is
    /// remembered of their versions, which might be none that anybody can supersede.
    pub(crate) fn take(&mut self, is_it: impl Fn(&Line) -> bool) -> Vec<Line> {
        let (taken, others) = core::mem::take(&mut self.lines).into_iter().partition(is_it);
        self.lines = others;
        let taken: Vec<Line> = taken;
        for line in &taken {
            self.news.retain(|news| *news != line.key());
            subtract(&mut self.digest, &line.row);
            self.note_change(line.row.kind());
            self.moves = self.moves.wrapping_add(1);
        }
        taken
    }

    /// The rows that are news, by key, and when each came; they are none any more.
    pub(crate) fn take_news(&mut self) -> impl Iterator<Item = (u32, Arc<TableRow>)> {
        let mut news = core::mem::take(&mut self.news);
        news.sort_unstable();
        let lines = news.into_iter().filter_map(|key| self.find(key));
        lines.map(|line| (line.heard, Arc::clone(&line.row)))
    }

    pub(crate) fn forget_gone(&mut self, round: u32) {
        self.gone.retain(|_, (_, forget)| *forget > round);
    }

    pub(crate) fn check_invariants(&self) {
        let pairs = self.lines.iter().zip(self.lines.iter().skip(1));
        assert!(pairs.into_iter().all(|(a, b)| a.key() < b.key()), "lines out of order");
        assert!(self.lines.iter().all(|line| line.front == front(line.key())));
        assert!(self.news.iter().all(|key| self.find(*key).is_some()), "news that are not held");
        let mut sum = [0; PARTS];
        self.lines.iter().for_each(|line| add(&mut sum, &line.row));
        assert!(sum == self.digest, "a digest that does not fit its rows");
    }
}

/// The first half of a key: in the same order as the whole.
const fn front(key: RowKey) -> u32 {
    (key.0 >> 32) as u32
}

fn add(digest: &mut [u32; PARTS], row: &TableRow) {
    if let Some(part) = digest.get_mut(part_of(row.key())) {
        *part = part.wrapping_add(share(row));
    }
}

fn subtract(digest: &mut [u32; PARTS], row: &TableRow) {
    if let Some(part) = digest.get_mut(part_of(row.key())) {
        *part = part.wrapping_sub(share(row));
    }
}

/// What a row adds to its part's digest: the front of its hash.
fn share(row: &TableRow) -> u32 {
    let [a, b, c, d, ..] = row.hash().0;
    u32::from_le_bytes([a, b, c, d])
}
