//! Astrolabe: one table of everything, a level per zone on the agent's path (van Renesse, Birman,
//! Vogels, TOCS 2003).
//!
//! An agent in `/usa/ithaca` holds three tables: its region's, with a row per agent; `/usa`'s, with
//! a row per region; the root's, with a row per child of the root. It writes one row, its own. The
//! row of a zone is computed from the zone's table by summary functions, and is signed and
//! issued by the zone's representatives, which such a function elects.
//!
//! ```text
//!   /              usa ......... eu .........            root's table: a row per child
//!                  ▲ summary
//!   /usa           ithaca ...... boston ......
//!                  ▲ summary
//!   /usa/ithaca    agent ... agent ... agent ...         region's table: a row per agent
//! ```
//!
//! Once a round each agent compares tables with a random agent of its region, and a representative
//! also with a random representative of a sibling zone, at that level and all above
//! ([`TableDigest`], [`Inventory`], [`Want`]). Whatever differs is exchanged, newest first, within
//! a budget of bytes. Between rounds a row that says something new is passed on at once.
//!
//! Invariants: only verified rows are merged; a line's version never goes back; what was removed
//! does not return in its old version; an agent holds no rows but those of zones on its path; a row
//! is dropped for silence by its holder's own count of rounds, never by comparing clocks.

mod audit;
mod discovery;
mod effort;
mod functions;
mod gossip;
mod level;
mod liars;
mod messages;
mod news;
mod objects;
mod orders;
mod path;
mod publish;
mod reading;
mod region;
mod row;
mod text;

use alloc::boxed::Box;
use alloc::collections::VecDeque;
use alloc::string::String;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::fmt;
use core::net::SocketAddr;
use core::time::Duration;

pub use spinglass_summary::{
    Budget, Filter, Function, Name, Query, Row, RowBuilder, SqlError, Time, Value,
};

pub use discovery::ACQUAINTANCES_MAX;
pub use functions::{CORE, CORE_SQL, InForce, Summary, SummaryError};
pub use messages::{Inventory, InventoryLine, LINES_MAX, TableDigest, Want};
pub(crate) use news::NEWS_WAIT_PARTS;
pub use path::{DEPTH_MAX, PathError, ZonePath};
pub use reading::{AgedRow, Excerpt};
pub(crate) use reading::{Route, proving, regions_below};
pub(crate) use region::member;
pub(crate) use row::name_of as row_name;
pub use row::{ATTRIBUTE_BYTES_MAX, Kind, ROW_BYTES_MAX, RowKey, TableRow, UnverifiedRow, Version};
pub use text::NewFunction;

use crate::config::TableConfig;
use crate::crypto::Crypto;
use crate::discovery::Seeds;
use crate::event::Event;
use crate::id::Incarnation;
use crate::interest::{Interest, TOPICS};
use crate::object::{ObjectError, ObjectName};
use crate::outbox::Outbox;
use crate::quarantine::Proof;
use crate::rng::Prng;
use crate::stats::Stats;
use crate::trust::Denied;
use audit::Audit;
use effort::Effort;
use functions::{Summaries, attribute_bytes, name_id};
use gossip::BytesLeft;
use level::Level;

/// Attributes that the agent fills in itself.
pub(crate) const RESERVED: [&str; 6] = ["id", "contacts", "nmembers", "depth", CAPPED, TOPICS];
/// Set at agents that cap what they receive.
const CAPPED: &str = "capped";

/// What the table may touch while it handles one input.
pub(crate) struct TableCx<'a> {
    pub(crate) wall_ms: u64,
    pub(crate) crypto: &'a mut dyn Crypto,
    pub(crate) outbox: &'a mut Outbox,
    pub(crate) stats: &'a mut Stats,
}

/// An attribute or a function that can't be set. Nothing changed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SetError {
    /// The agent fills this attribute in itself.
    Reserved(Name),
    /// The row would be too large.
    TooLarge {
        /// Bytes that the attributes may take.
        limit: usize,
        /// Bytes that they would take.
        got: usize,
    },
    /// The zone is not on the agent's path.
    NotOnPath(ZonePath),
    /// There is no such function in this zone.
    NoSuchFunction(String),
    /// A function's name has 1 to 64 of `a` to `z`, digits, `-`, `_` and `.`.
    BadName(String),
    /// The SQL is no summary function.
    Sql(SqlError),
    /// A function lasts for a millisecond at least.
    NoTime,
    /// The function's text, or the attribute's object, can't be held.
    Object(ObjectError),
    /// The rules do not let this member do it.
    Denied(Denied),
    /// The table is full, or the member has left.
    Closed,
}

impl From<ObjectError> for SetError {
    fn from(error: ObjectError) -> Self {
        Self::Object(error)
    }
}

impl fmt::Display for SetError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Reserved(name) => write!(formatter, "{name} is filled in by the agent itself"),
            Self::TooLarge { limit, got } => write!(
                formatter,
                "the row would take {got} bytes of the {limit} that it has: put large values into \
                 fewer attributes, or several functions in place of one"
            ),
            Self::NotOnPath(zone) => {
                write!(formatter, "{zone} is not on this agent's path: ask an agent that is in it")
            }
            Self::NoSuchFunction(name) => write!(formatter, "no summary is called {name:?} here"),
            Self::BadName(name) => write!(
                formatter,
                "{name:?} can't be a summary's name: use 1 to 64 of a-z, 0-9, '-', '_' and '.'"
            ),
            Self::Sql(error) => error.fmt(formatter),
            Self::NoTime => formatter.write_str("a function lasts for a millisecond at least"),
            Self::Object(error) => error.fmt(formatter),
            Self::Denied(denied) => write!(formatter, "this member may not do that: {denied}"),
            Self::Closed => formatter.write_str("the table takes no more rows, or the agent left"),
        }
    }
}

impl core::error::Error for SetError {}

/// Verified rows that several agents of one process share: a simulator holds a million agents, and
/// a row of each is in a hundred tables.
pub trait RowPool: Send {
    /// The row that has these bytes, if some agent holds it.
    fn find(&mut self, encoded: &[u8]) -> Option<Arc<TableRow>>;
    /// Lets others share a row.
    fn add(&mut self, row: &Arc<TableRow>);
}

impl fmt::Debug for dyn RowPool {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("RowPool")
    }
}

/// The table as one agent holds it.
#[derive(Debug)]
pub struct Table {
    config: TableConfig,
    region: ZonePath,
    address: SocketAddr,
    name: String,
    /// The line of the agent's own row.
    own: RowKey,
    version: Version,
    /// What the agent says of itself, as set by its user.
    attributes: Row,
    /// What it takes of which topics, once that was said.
    interest: Option<Interest>,
    /// Whether it caps what it receives.
    is_capped: bool,
    /// Root first; the last is the region's.
    levels: Vec<Level>,
    /// The line of each zone of the path in its parent's table; the root has none.
    zone_keys: Vec<RowKey>,
    /// What each zone of the path, root first, is waiting for before its row is issued.
    pending: Vec<Option<u32>>,
    summaries: Summaries,
    /// Whether those who speak for the path's zones, root first, speak the truth.
    audits: Vec<Audit>,
    /// Own rounds: those that an agent slept through make nobody look silent to it.
    round: u32,
    /// Whether the own row does not yet say what it should.
    own_changed: bool,
    /// Refresh periods between two issues of an unchanged agent's row, and between two of silence:
    /// more than one where a failure detector tells who is alive.
    agent_refreshes: u32,
    /// When within that time it is issued anew, so that not all are at once.
    refresh_phase: u32,
    has_left: bool,
    /// Whether the region removed this agent in its present life.
    is_suspended: bool,
    /// Whether rows are held that say something new and were not passed on yet.
    has_news: bool,
    /// How often news may still be passed on before the next round.
    news_left: u32,
    /// Bytes of rows and inventories that may still be sent in this round.
    bytes_left: BytesLeft,
    effort: Effort,
    seeds: Seeds,
    /// Whom to compare tables with once: agents heard of that the table does not know.
    strangers: VecDeque<SocketAddr>,
    /// Who spoke for zones that fell silent: tried as seeds are.
    remembered: Vec<SocketAddr>,
    /// Where agents of the region were that it lost, and in which own round, the last lost last:
    /// tried now and then by each of the others.
    absent: Vec<(SocketAddr, u32)>,
    /// Counts changes of what is held.
    revision: u64,
    /// Counts changes of who is there.
    peers_revision: u64,
    /// What happened to agents of the region: at most one life's end and beginning per row taken
    /// in.
    events: Vec<Event>,
    /// Orders taken in that nobody has heeded yet: at most one per row taken in.
    orders: Vec<Arc<TableRow>>,
    /// Rows signed until then, in milliseconds since 1970, were cleared by order.
    cleared_ms: u64,
    /// What proves an agent a liar, met since this was asked last.
    proofs: Vec<Proof>,
    pool: Option<Box<dyn RowPool>>,
    rng: Prng,
}

/// Who the agent is, to its table.
#[derive(Debug)]
pub(crate) struct Own {
    pub(crate) key: RowKey,
    pub(crate) incarnation: Incarnation,
    pub(crate) name: String,
    pub(crate) region: ZonePath,
    pub(crate) address: SocketAddr,
    pub(crate) is_capped: bool,
}

impl Table {
    pub(crate) fn new(
        config: TableConfig,
        agent_refreshes: u32,
        own: Own,
        seeds: Vec<SocketAddr>,
        mut rng: Prng,
        crypto: &mut dyn Crypto,
    ) -> Self {
        let Own { key, incarnation, name, region, address, is_capped } = own;
        let refresh = u64::from(config.refresh_rounds) * u64::from(agent_refreshes);
        let refresh_phase = rng.below(refresh) as u32;
        let depth = region.depth();
        let levels: Vec<_> = (0..=depth).map(|depth| Level::new(region.ancestor(depth))).collect();
        let mut zone_key = |depth: usize| {
            let zone = region.ancestor(depth);
            let parent = region.ancestor(depth.saturating_sub(1));
            RowKey::of_name(Kind::Zone, &parent, zone.last_name(), crypto)
        };
        let zone_keys = (0..=depth).map(&mut zone_key).collect();
        Self {
            bytes_left: BytesLeft::of(config.bytes_per_round),
            effort: Effort::new(),
            summaries: Summaries::default(),
            config,
            region,
            address,
            name,
            own: key,
            version: Version { incarnation, counter: 0 },
            attributes: Row::empty(),
            interest: None,
            is_capped,
            pending: alloc::vec![None; levels.len()],
            audits: levels.iter().map(|_| Audit::default()).collect(),
            levels,
            zone_keys,
            round: 0,
            own_changed: true,
            agent_refreshes,
            refresh_phase,
            has_left: false,
            is_suspended: false,
            has_news: false,
            news_left: 0,
            seeds: Seeds::new(seeds),
            strangers: VecDeque::new(),
            remembered: Vec::new(),
            absent: Vec::new(),
            revision: 0,
            peers_revision: 1,
            events: Vec::new(),
            orders: Vec::new(),
            cleared_ms: 0,
            proofs: Vec::new(),
            pool: None,
            rng,
        }
    }

    // --- what the application does

    /// Sets an attribute of the own row; null removes it. Others see it within a few rounds.
    ///
    /// # Errors
    /// The agent fills it in itself, or the row has no room for it.
    pub(crate) fn set(&mut self, attributes: &[(Name, Value)]) -> Result<(), SetError> {
        let is_reserved = |(name, _): &&(Name, Value)| RESERVED.contains(&name.as_str());
        if let Some((name, _)) = attributes.iter().find(is_reserved) {
            return Err(SetError::Reserved(name.clone()));
        }
        let mut builder = RowBuilder::default();
        self.attributes.iter().for_each(|(name, value)| builder.set(name.clone(), value.clone()));
        attributes.iter().for_each(|(name, value)| builder.set(name.clone(), value.clone()));
        let attributes = builder.build();
        let got = self.own_attributes_but_topics(&attributes).encoded_bytes();
        if got > ATTRIBUTE_BYTES_MAX {
            return Err(SetError::TooLarge { limit: ATTRIBUTE_BYTES_MAX, got });
        }
        self.own_changed |= attributes != self.attributes;
        self.attributes = attributes;
        Ok(())
    }

    /// Has the own row tell what this agent takes of which topics.
    pub(crate) fn set_interest(&mut self, interest: Interest) {
        if self.interest.as_ref() != Some(&interest) {
            (self.interest, self.own_changed) = (Some(interest), true);
        }
    }

    /// Installs a summary function in a zone of the path, or replaces the one of this name.
    /// `object` is its text, if that [fits no row](Self::fits_row).
    ///
    /// # Errors
    /// The text is none, or is too long; it lasts for no time; the zone is elsewhere.
    pub(crate) fn install(
        &mut self,
        zone: &ZonePath,
        name: &str,
        new: &NewFunction<'_>,
        object: Option<ObjectName>,
        cx: &mut TableCx<'_>,
    ) -> Result<(), SetError> {
        let function = Function::parse(new.sql).map_err(SetError::Sql)?;
        if new.lasts.is_some_and(|lasts| lasts < Duration::from_millis(1)) {
            return Err(SetError::NoTime);
        }
        if let Some(object) = object {
            self.summaries.texts_mut().learn(object, Some(function));
        }
        self.issue_function(zone, name, Some(new.attributes(name, object)), cx)
    }

    /// Whether a function's text has room in its row.
    pub(crate) fn fits_row(name: &str, new: &NewFunction<'_>) -> bool {
        new.attributes(name, None).encoded_bytes() <= ATTRIBUTE_BYTES_MAX
    }

    /// Removes a summary function from a zone of the path.
    ///
    /// # Errors
    /// There is none of this name, or the zone is elsewhere.
    pub(crate) fn uninstall(
        &mut self,
        zone: &ZonePath,
        name: &str,
        cx: &mut TableCx<'_>,
    ) -> Result<(), SetError> {
        let depth = self.depth_of(zone)?;
        let level = self.levels.get(depth);
        if !level.is_some_and(|level| level.functions().any(|row| row.name() == name)) {
            return Err(SetError::NoSuchFunction(name.into()));
        }
        self.issue_function(zone, name, None, cx)
    }

    /// Takes over rows that need no checking, such as a simulator's.
    pub(crate) fn adopt(&mut self, rows: &[Arc<TableRow>], cx: &mut TableCx<'_>) {
        self.issue_own(cx);
        for row in rows {
            self.merge(row);
        }
        self.forget_news();
        self.events = Vec::new();
    }

    pub(crate) fn share(&mut self, pool: Box<dyn RowPool>) {
        self.pool = Some(pool);
    }

    // --- what the application reads

    /// The agent's region: the deepest zone of its path.
    #[must_use]
    pub const fn region(&self) -> &ZonePath {
        &self.region
    }

    /// The rows of a zone of the path: its agents', or its child zones'. `None`: it is elsewhere.
    #[must_use]
    pub fn rows(&self, zone: &ZonePath) -> Option<Vec<Arc<TableRow>>> {
        let level = self.levels.get(self.depth_of(zone).ok()?)?;
        let mut rows: Vec<_> = level.children().map(|line| Arc::clone(&line.row)).collect();
        rows.sort_by(|a, b| a.name().cmp(b.name()));
        Some(rows)
    }

    /// What this agent's row will say when it is issued next: with what was set since.
    #[must_use]
    pub fn own_next(&self) -> Row {
        self.own_attributes(&self.attributes)
    }

    /// The agent's own row, once it has been issued.
    #[must_use]
    pub fn own_row(&self) -> Option<&Arc<TableRow>> {
        self.levels.last()?.find(self.own).map(|line| &line.row)
    }

    /// Every row held: agents', zones' and functions', removed ones included.
    pub fn held(&self) -> impl Iterator<Item = &Arc<TableRow>> {
        self.levels.iter().flat_map(Level::lines).map(|line| &line.row)
    }

    /// The row called `name` in a zone of the path.
    #[must_use]
    pub fn row(&self, zone: &ZonePath, name: &str) -> Option<&Arc<TableRow>> {
        let level = self.levels.get(self.depth_of(zone).ok()?)?;
        level.children().map(|line| &line.row).find(|row| row.name() == name)
    }

    /// Own rounds since a row of a zone of the path was heard.
    #[must_use]
    pub fn age(&self, row: &TableRow) -> Option<u32> {
        let level = self.levels.get(self.depth_of(row.zone()).ok()?)?;
        if row.key() == self.own {
            return Some(0);
        }
        Some(self.round.saturating_sub(level.find(row.key())?.heard))
    }

    /// What the functions make of a zone of the path, from the rows held here and now.
    #[must_use]
    pub fn summary(&self, zone: &ZonePath) -> Option<Summary> {
        let depth = self.depth_of(zone).ok()?;
        Some(self.summaries.summarize(&self.levels, depth, 0))
    }

    /// The functions that hold in a zone of the path, by name.
    #[must_use]
    pub fn functions(&self, zone: &ZonePath) -> Option<Vec<InForce>> {
        let depth = self.depth_of(zone).ok()?;
        Some(self.summaries.in_force(&self.levels, depth))
    }

    /// A number that rises whenever something held changes.
    #[must_use]
    pub const fn revision(&self) -> u64 {
        self.revision
    }

    /// The round that the table is in.
    #[must_use]
    pub const fn round(&self) -> u32 {
        self.round
    }

    /// Rows held, over all levels.
    #[must_use]
    pub fn row_count(&self) -> usize {
        self.held().count()
    }

    /// Bytes of those rows, signatures and all.
    #[must_use]
    pub fn row_bytes(&self) -> usize {
        self.held().map(|row| row.encoded().len()).sum()
    }

    /// Checks what must always hold. For tests and simulators.
    pub fn check_invariants(&self) {
        for level in &self.levels {
            level.check_invariants();
            assert!(level.lines().len() <= self.config.rows_max);
        }
    }

    fn depth_of(&self, zone: &ZonePath) -> Result<usize, SetError> {
        let on_path = self.region.is_within(zone);
        if on_path { Ok(zone.depth()) } else { Err(SetError::NotOnPath(zone.clone())) }
    }

    /// The whole own row, with what the agent fills in.
    fn own_attributes(&self, set: &Row) -> Row {
        let row = self.own_attributes_but_topics(set);
        let topics = Name::new(TOPICS).expect("a legal name");
        let taken = row.encoded_bytes() + attribute_bytes(&topics, 0);
        let room = ATTRIBUTE_BYTES_MAX.saturating_sub(taken);
        // Where there is no room for it, others send whatever there is.
        let Some(told) = self.interest.clone().and_then(|it| it.encode(room)) else { return row };
        let mut builder = RowBuilder::default();
        row.iter().for_each(|(name, value)| builder.set(name.clone(), value.clone()));
        builder.set(topics, told);
        builder.build()
    }

    fn own_attributes_but_topics(&self, set: &Row) -> Row {
        let mut builder = RowBuilder::default();
        set.iter().for_each(|(name, value)| builder.set(name.clone(), value.clone()));
        let reserved = |name| Name::new(name).expect("a legal name");
        builder.set(name_id(), Value::text(&self.name));
        let address = Value::text(&alloc::format!("{}", self.address));
        builder.set(reserved("contacts"), Value::list([address]));
        builder.set(reserved("nmembers"), Value::Int(1));
        builder.set(reserved("depth"), Value::Int(0));
        if self.is_capped {
            builder.set(reserved(CAPPED), Value::Int(1));
        }
        builder.build()
    }
}
