//! What others may be told of the table, and what is read of zones beyond the own path.

use alloc::string::String;
use alloc::sync::Arc;
use alloc::vec::Vec;

use spinglass_summary::{Function, Name, Range, Row, RowBuilder, Value};

use super::functions::{InForce, Summaries, Summary};
use super::gossip::SKEW_MAX_MS;
use super::level::Level;
use super::path::ZonePath;
use super::row::{Kind, TableRow, UnverifiedRow};
use super::{Table, TableCx};
use crate::event::Reject;

/// The column of a host's region: no host can set it for itself.
const REGION_COLUMN: &str = "zone";

/// A verified row, and how long ago at most somebody heard it from its issuer.
#[derive(Debug, Clone)]
pub struct AgedRow {
    /// The row.
    pub row: Arc<TableRow>,
    /// Milliseconds since whoever holds it had news of it, and its way from there.
    pub age_ms: u64,
}

/// A zone's table, wherever the zone is: its rows, the functions in force there, and what these
/// make of those.
#[derive(Debug, Clone, Default)]
pub struct Excerpt {
    /// Its agents, or its child zones, by name.
    pub rows: Vec<AgedRow>,
    /// The functions that hold in it, by name.
    pub functions: Vec<InForce>,
    /// What they make of the rows.
    pub summary: Summary,
}

/// Which way a zone lies.
#[derive(Debug)]
pub(crate) enum Route {
    /// It is on the own path: its table is held here.
    Here,
    /// In this zone of a table held here, one name deeper than the path that both share.
    Toward(Arc<TableRow>),
    /// Nowhere: this is the first zone on the way that is not there.
    Nowhere(ZonePath),
}

impl Excerpt {
    /// Puts verified rows together: those of the zone, and functions of it and of zones above.
    pub(crate) fn new(zone: &ZonePath, rows: Vec<AgedRow>) -> Self {
        let depth = zone.depth();
        let mut levels: Vec<_> =
            (0..=depth).map(|depth| Level::new(zone.ancestor(depth))).collect();
        let mut ages = Vec::new();
        for AgedRow { row, age_ms } in rows {
            if let Some(level) = levels.get_mut(row.zone().depth()) {
                level.merge(&row, 0, usize::MAX);
                ages.push((row.key(), row.version(), age_ms));
            }
        }
        ages.sort_unstable();
        let summaries = Summaries::default();
        let summary = summaries.summarize(&levels, depth, 0);
        let functions = summaries.in_force(&levels, depth);
        let children = levels.last().into_iter().flat_map(Level::children);
        let age = |row: &TableRow| {
            let at = ages
                .partition_point(|(key, version, _)| (*key, *version) < (row.key(), row.version()));
            ages.get(at).map_or(0, |(.., age_ms)| *age_ms)
        };
        let aged = |row: &Arc<TableRow>| AgedRow { row: Arc::clone(row), age_ms: age(row) };
        let mut rows: Vec<_> = children.map(|line| aged(&line.row)).collect();
        rows.sort_by(|a, b| a.row.name().cmp(b.row.name()));
        Self { rows, functions, summary }
    }
}

impl Table {
    /// A zone of the path, root included, as it stands here and now. `None`: it is elsewhere.
    #[must_use]
    pub fn excerpt(&self, zone: &ZonePath) -> Option<Excerpt> {
        let aged = |row: Arc<TableRow>| AgedRow { age_ms: self.age_ms(&row), row };
        Some(Excerpt {
            rows: self.rows(zone)?.into_iter().map(aged).collect(),
            functions: self.functions(zone)?,
            summary: self.summary(zone)?,
        })
    }

    /// Everything that somebody elsewhere needs to see a zone of the path as it is seen here: the
    /// functions first, and the rows by name.
    pub(crate) fn told(&self, zone: &ZonePath) -> Vec<AgedRow> {
        let levels = self.levels.iter().take(zone.depth() + 1);
        let functions = levels.flat_map(Level::functions).cloned();
        let rows = functions.chain(self.rows(zone).unwrap_or_default());
        rows.map(|row| AgedRow { age_ms: self.age_ms(&row), row }).collect()
    }

    pub(crate) fn route(&self, zone: &ZonePath) -> Route {
        let shared = self.region.common_depth(zone);
        if shared == zone.depth() {
            return Route::Here;
        }
        let next = zone.ancestor(shared + 1);
        let level = self.levels.get(shared);
        let mut children = level.into_iter().flat_map(Level::children).map(|line| &line.row);
        let is_next =
            |row: &&Arc<TableRow>| row.kind() == Kind::Zone && row.name() == next.last_name();
        match children.find(is_next) {
            Some(row) => Route::Toward(Arc::clone(row)),
            None => Route::Nowhere(next),
        }
    }

    /// The child zones of the path's zone at `depth`, other than the one that the agent is in.
    pub(crate) fn child_zones(&self, depth: usize) -> impl Iterator<Item = &Arc<TableRow>> {
        let own = self.zone_keys.get(depth + 1);
        let level = self.levels.get(depth);
        let rows = level.into_iter().flat_map(Level::children).map(|line| &line.row);
        rows.filter(move |row| row.kind() == Kind::Zone && Some(&row.key()) != own)
    }

    /// The functions that hold at `depth` of the path; see [`proving`] which of them made a row.
    pub(crate) fn functions_at(&self, depth: usize) -> Vec<InForce> {
        self.summaries.in_force(&self.levels, depth)
    }

    /// The region's agents as a query sees them, each with its region and its age in milliseconds.
    pub(crate) fn hosts(&self) -> Vec<(Row, u64)> {
        let region = Value::text(self.region.as_str());
        let host = |row: &Arc<TableRow>| {
            let with_region =
                RowBuilder::from(row.attributes()).with(region_column(), region.clone());
            (with_region.build(), self.age_ms(row))
        };
        self.agents().map(host).collect()
    }

    fn age_ms(&self, row: &TableRow) -> u64 {
        let rounds = u64::from(self.age(row).unwrap_or(0));
        let round_ms = u64::try_from(self.config.round.as_millis()).unwrap_or(u64::MAX);
        rounds.saturating_mul(round_ms)
    }

    /// Checks a row that somebody told of `zone`.
    ///
    /// # Errors
    /// It is forged, or is none of this zone's and no function that could hold there.
    pub(crate) fn check_told(
        &mut self,
        row: UnverifiedRow<'_>,
        zone: &ZonePath,
        cx: &mut TableCx<'_>,
    ) -> Result<Arc<TableRow>, Reject> {
        let has_place = match row.kind() {
            Kind::Agent | Kind::Zone => row.zone() == zone,
            Kind::Function | Kind::Order => zone.is_within(row.zone()),
        };
        if !has_place || row.issued_ms() > cx.wall_ms.saturating_add(SKEW_MAX_MS) {
            return Err(Reject::Misplaced);
        }
        let key = row.key(cx.crypto);
        self.verified(row, key, cx)
    }
}

/// Which of a zone's functions made the row of its child zone: what they say proves something.
pub(crate) fn proving<'a>(functions: &'a [InForce], zone_row: &Row) -> Vec<&'a Function> {
    let made = functions.iter().filter(|function| function.made(zone_row));
    made.map(|function| &function.function).collect()
}

/// What the path of a zone says of the regions of the hosts in it: each is this path, or begins
/// with it and a slash, after which `0` is the next sign.
pub(crate) fn regions_below(zone: &ZonePath) -> Range {
    let mut high = String::from(zone.as_str());
    high.push('0');
    Range { column: region_column(), low: Value::text(zone.as_str()), high: Value::text(&high) }
}

fn region_column() -> Name {
    Name::new(REGION_COLUMN).expect("a legal name")
}
