//! The live table as tables of rows and columns, for whoever asks in SQL.
//!
//! | table | a row for |
//! |---|---|
//! | `hosts` | each agent anywhere, found by going down the tree where summaries lead |
//! | `zones` | each row of each zone on the agent's path |
//! | `"/usa/ithaca"` | each row of that zone; any zone's path is such a table |
//! | `self` | the agent itself |
//! | `members` | each member it knows |
//! | `topics` | each topic it has met, and what has passed on it |
//! | `summaries` | each summary function in force on its path |
//! | `events` | what became of members of late |
//!
//! Rows of the table have no schema, tables of SQL have one: columns are all attributes that this
//! agent has ever seen in such rows, and those that a statement names. A column stays.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;

use futures_util::FutureExt as _;
use rusqlite::types::Value as Cell;
use spinglass::{
    Event, Hosts, Node, Pattern, Reach, Row, RowKind, Table, Time, Value, Zone, ZonePath,
};
use tokio::runtime::Handle;
use tokio::sync::broadcast;

use super::listen::Notices;
use super::types::{Holds, cell};
use crate::events::MemberEvent;
use crate::told::{self, MemberTold, TopicTold, is_own};

/// Attributes that are columns; what comes later is none.
const ATTRIBUTES_MAX: usize = 500;
/// Zones off the path that are tables because somebody asked for them.
const ZONES_MAX: usize = 64;
/// What this agent's clients publish and its other clients have not heard yet.
const NOTICES_MAX: usize = 256;
/// Events that are kept.
const EVENTS_MAX: usize = 256;
/// The longest question that goes down the tree, in bytes: with less than the core allows, since
/// conditions are put into it one by one.
const QUESTION_BYTES_MAX: usize = 700;
/// So many columns are asked for by name; for more all are asked for.
const NAMED_MAX: usize = 12;

/// A table's name and columns, and where its rows come from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Shape {
    pub(super) name: String,
    pub(super) source: Source,
    pub(super) columns: Vec<(String, Holds)>,
}

/// Where rows come from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Source {
    Hosts,
    Zones,
    Zone(ZonePath),
    Own,
    Members,
    Topics,
    Summaries,
    Events,
}

/// A condition of a query that may go down the tree.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Condition {
    pub(super) column: usize,
    pub(super) operator: &'static str,
    pub(super) value: Cell,
}

/// Rows, and what is to be said of them.
#[derive(Debug, Default)]
pub(super) struct Found {
    pub(super) rows: Vec<Vec<Cell>>,
    pub(super) warning: Option<String>,
}

/// Attributes seen so far, by name.
type Attributes = BTreeMap<String, Holds>;

/// What is known of the table's shape.
#[derive(Debug)]
struct Known {
    table: Table,
    agents: Attributes,
    zones: Attributes,
    /// Zones off the path.
    beyond: Vec<ZonePath>,
    shapes: Arc<Vec<Shape>>,
}

/// The agent, as SQL sees it. All calls block, and are made by threads that may.
pub(super) struct Live {
    node: Weak<Node>,
    runtime: Handle,
    known: Mutex<Option<Known>>,
    events: Mutex<VecDeque<Vec<Cell>>>,
    notices: Notices,
}

impl std::fmt::Debug for Live {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("Live").finish_non_exhaustive()
    }
}

impl Live {
    pub(super) fn new(node: Weak<Node>, runtime: Handle) -> Self {
        let (notices, _) = broadcast::channel(NOTICES_MAX);
        Self { node, runtime, known: Mutex::new(None), events: Mutex::default(), notices }
    }

    /// What this agent's own clients publish.
    pub(super) const fn notices(&self) -> &Notices {
        &self.notices
    }

    /// Publishes a message, to this agent's own clients, too: nobody hears its own agent over the
    /// network.
    pub(super) async fn publish(&self, topic: &str, payload: String) -> Result<(), String> {
        if Pattern::has_wildcards(topic) {
            return Err("this is a pattern of topics: name one to publish on".into());
        }
        let group = self.node()?.group(topic);
        group.publish(payload.clone()).await.map_err(|error| error.to_string())?;
        let _nobody_listens = self.notices.send((topic.to_owned(), payload));
        Ok(())
    }

    pub(super) fn node(&self) -> Result<Arc<Node>, String> {
        self.node.upgrade().ok_or_else(|| "the agent is leaving".into())
    }

    /// Waits for something of the node's.
    pub(super) fn wait<T>(&self, future: impl Future<Output = T>) -> T {
        self.runtime.block_on(future)
    }

    /// Tells what became of a member.
    pub(super) fn tell(&self, event: &Event) {
        let Some(MemberEvent { at, kind, member, detail }) = MemberEvent::of(event) else { return };
        let at = Time::parse(&at).map_or(Value::Null, Value::Time);
        let texts = [kind.into(), member, detail].map(Cell::Text);
        let mut events = self.events.lock().unwrap_or_else(PoisonError::into_inner);
        if events.len() == EVENTS_MAX {
            events.pop_front();
        }
        events.push_back([cell(&at)].into_iter().chain(texts).collect());
    }

    /// The tables there are.
    ///
    /// The node is waited for with nothing locked: its task runs on the thread that
    /// [`known_shapes`](Self::known_shapes) is called from.
    pub(super) fn shapes(&self) -> Result<Arc<Vec<Shape>>, String> {
        if let Some(shapes) = self.unchanged_shapes() {
            return Ok(shapes);
        }
        let node = self.node()?;
        // Made first, so that it sees what changes meanwhile.
        let table = node.table();
        let path = self.wait(path(&table))?;
        let own = self.wait(table.own()).map_err(|error| error.to_string())?;
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        let known = known.get_or_insert_with(|| Known::new(table.clone()));
        known.table = table;
        known.see_own(&own);
        known.see(&path);
        Ok(Arc::clone(&known.shapes))
    }

    /// The tables as they were last looked at, if nothing has changed since.
    fn unchanged_shapes(&self) -> Option<Arc<Vec<Shape>>> {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        let known = known.as_mut()?;
        known.table.changed().now_or_never().is_none().then(|| Arc::clone(&known.shapes))
    }

    /// The tables as they were last looked at: no wait.
    pub(super) fn known_shapes(&self) -> Arc<Vec<Shape>> {
        let known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        known.as_ref().map(|known| Arc::clone(&known.shapes)).unwrap_or_default()
    }

    /// Makes a column of an attribute that a statement names. `false`: there is no room.
    pub(super) fn add_attribute(&self, name: &str) -> bool {
        self.change(|known| {
            let is_room = known.agents.len() < ATTRIBUTES_MAX;
            is_room && known.agents.insert(name.to_owned(), Holds::Any).is_none()
        })
    }

    /// Makes a table of a zone that a statement names. `false`: there is none, or no room.
    pub(super) fn add_zone(&self, name: &str) -> bool {
        let Ok(path) = ZonePath::parse(name) else { return false };
        let Ok(node) = self.node() else { return false };
        let Ok(zone) = self.wait(node.table().zone(&path)) else { return false };
        self.change(|known| {
            if known.beyond.len() == ZONES_MAX || known.beyond.contains(&path) {
                return false;
            }
            known.beyond.push(path);
            known.see_rows(&zone);
            true
        })
    }

    /// Takes note of what this agent says of itself by now.
    pub(super) fn see_own(&self) {
        let own = self
            .node()
            .and_then(|node| self.wait(node.table().own()).map_err(|error| error.to_string()));
        if let Ok(own) = own {
            self.change(|known| {
                known.see_own(&own);
                true
            });
        }
    }

    fn change(&self, change: impl FnOnce(&mut Known) -> bool) -> bool {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(known) = known.as_mut() else { return false };
        let changed = change(known);
        let path = known.path();
        known.reshape(&path);
        changed
    }

    /// A table's rows; of hosts only those that may meet the conditions, and only `used` columns
    /// need be there.
    pub(super) fn rows(
        &self,
        shape: &Shape,
        conditions: &[Condition],
        used: &[usize],
        within: Duration,
    ) -> Result<Found, String> {
        let node = self.node()?;
        let table = node.table();
        match &shape.source {
            Source::Hosts => {
                let question = question(shape, conditions, used);
                let asked = self.wait(table.query_in(&ZonePath::root(), &question, within));
                let hosts = asked.map_err(|error| error.to_string())?;
                self.learn(&hosts);
                let warning = missing(&hosts.reach);
                let rows = hosts.rows.iter().map(|row| by_columns(shape, row, &[])).collect();
                Ok(Found { rows, warning })
            }
            Source::Zones => {
                let path = self.wait(path(&table))?;
                let region = self.wait(table.region()).map_err(|error| error.to_string())?;
                let rows = path.iter().flat_map(|zone| zone_rows(shape, zone, &region, &node));
                Ok(Found { rows: rows.collect(), warning: None })
            }
            Source::Zone(zone) => {
                let zone = self.wait(table.zone(zone)).map_err(|error| error.to_string())?;
                let region = self.wait(table.region()).map_err(|error| error.to_string())?;
                let rows = zone_rows(shape, &zone, &region, &node).collect();
                Ok(Found { rows, warning: missing(&zone.reach) })
            }
            Source::Own => {
                // What was set just now is there at once, though the row is not issued yet.
                let gone = |error: spinglass::TableError| error.to_string();
                let own = self.wait(table.own()).map_err(gone)?;
                let region = self.wait(table.region()).map_err(gone)?;
                let name = own.get("id").map_or(Cell::Null, cell);
                let fixed =
                    [Cell::Text(region.to_string()), name, Cell::Integer(1), Cell::Real(0.0)];
                Ok(Found { rows: vec![by_columns(shape, &own, &fixed)], warning: None })
            }
            Source::Members => {
                let rows = self.wait(told::members(&node)).into_iter().map(member_row).collect();
                Ok(Found { rows, warning: None })
            }
            Source::Topics => {
                let rows = self.wait(told::topics(&node)).into_iter().map(topic_row).collect();
                Ok(Found { rows, warning: None })
            }
            Source::Summaries => Ok(Found { rows: self.wait(summaries(&node))?, warning: None }),
            Source::Events => {
                let events = self.events.lock().unwrap_or_else(PoisonError::into_inner);
                Ok(Found { rows: events.iter().cloned().collect(), warning: None })
            }
        }
    }

    /// Takes note of attributes that hosts elsewhere have.
    fn learn(&self, hosts: &Hosts) {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(known) = known.as_mut() else { return };
        let before = known.agents.clone();
        hosts.rows.iter().for_each(|row| see(&mut known.agents, row));
        if known.agents != before {
            let path = known.path();
            known.reshape(&path);
        }
    }
}

impl Known {
    fn new(table: Table) -> Self {
        Self {
            table,
            agents: BTreeMap::new(),
            zones: BTreeMap::new(),
            beyond: Vec::new(),
            shapes: Arc::default(),
        }
    }

    /// The zones of the agent's path, root first, as the shapes have them.
    fn path(&self) -> Vec<ZonePath> {
        let zones = self.shapes.iter().filter_map(|shape| match &shape.source {
            Source::Zone(zone) if !self.beyond.contains(zone) => Some(zone.clone()),
            _ => None,
        });
        zones.collect()
    }

    fn see(&mut self, path: &[Zone]) {
        path.iter().for_each(|zone| self.see_rows(zone));
        let path: Vec<ZonePath> = path.iter().map(|zone| zone.path.clone()).collect();
        self.reshape(&path);
    }

    /// Makes columns of attributes that were set just now.
    fn see_own(&mut self, own: &Row) {
        see(&mut self.agents, own);
    }

    fn see_rows(&mut self, zone: &Zone) {
        for row in &zone.rows {
            let is_agent = row.row.kind() == RowKind::Agent;
            see(if is_agent { &mut self.agents } else { &mut self.zones }, row.row.attributes());
        }
    }

    /// Makes the shapes anew, if something about them has changed.
    fn reshape(&mut self, path: &[ZonePath]) {
        let mut all = self.agents.clone();
        for (name, holds) in &self.zones {
            all.entry(name.clone()).and_modify(|it| *it = it.or(*holds)).or_insert(*holds);
        }
        let row = || {
            let more = [("own".to_owned(), Holds::Bool), ("age".to_owned(), Holds::Float)];
            texts(&["zone", "name"]).into_iter().chain(more).collect::<Vec<_>>()
        };
        let with = |fixed: Vec<(String, Holds)>, attributes: &Attributes| {
            let more = attributes.iter().filter(|(name, _)| {
                fixed.iter().all(|(taken, _)| !taken.eq_ignore_ascii_case(name))
            });
            let more: Vec<_> = more.map(|(name, holds)| (name.clone(), *holds)).collect();
            [fixed, more].concat()
        };
        let shape = |name: &str, source, columns| Shape { name: name.into(), source, columns };
        let mut shapes = vec![
            shape("hosts", Source::Hosts, with(texts(&["zone", "id"]), &self.agents)),
            shape("zones", Source::Zones, with(row(), &all)),
            shape("self", Source::Own, with(row(), &self.agents)),
            shape("members", Source::Members, {
                let mut columns = texts(&["id", "address", "region"]);
                columns.push(("sent_bytes".into(), Holds::Int));
                columns.push(("received_bytes".into(), Holds::Int));
                columns.push(("heard".into(), Holds::Float));
                columns
            }),
            shape("topics", Source::Topics, {
                let fixed =
                    [("topic", Holds::Text), ("subscribed", Holds::Bool), ("rating", Holds::Float)];
                let counts = TOPIC_COUNTS.into_iter().map(|(name, _)| (name, Holds::Int));
                fixed.into_iter().chain(counts).map(|(name, holds)| (name.into(), holds)).collect()
            }),
            shape("summaries", Source::Summaries, {
                let mut columns = texts(&["zone", "name", "since", "sql"]);
                columns.push(("steps_per_row".into(), Holds::Int));
                columns.push(("seconds_left".into(), Holds::Int));
                columns
            }),
            shape("events", Source::Events, {
                let at = vec![("at".to_owned(), Holds::Time)];
                [at, texts(&["kind", "member", "detail"])].concat()
            }),
        ];
        for (at, zone) in path.iter().enumerate() {
            let is_region = at + 1 == path.len();
            let attributes = if is_region { &self.agents } else { &self.zones };
            let columns = with(row(), attributes);
            shapes.push(shape(zone.as_str(), Source::Zone(zone.clone()), columns));
        }
        for zone in &self.beyond {
            let columns = with(row(), &all);
            shapes.push(shape(zone.as_str(), Source::Zone(zone.clone()), columns));
        }
        if *self.shapes != shapes {
            self.shapes = Arc::new(shapes);
        }
    }
}

fn member_row(member: MemberTold) -> Vec<Cell> {
    let bytes = [member.sent_bytes, member.received_bytes].map(count);
    let heard = member.heard.map_or(Cell::Null, Cell::Real);
    let texts = [member.id, member.address, member.region].map(Cell::Text);
    texts.into_iter().chain(bytes).chain([heard]).collect()
}

/// What is counted of a topic, and how it is called.
type TopicCount = (&'static str, fn(&TopicTold) -> u64);

/// Columns of `topics` that count.
const TOPIC_COUNTS: [TopicCount; 8] = [
    ("senders", |topic| topic.senders as u64),
    ("messages_published", |topic| topic.messages_published),
    ("bytes_published", |topic| topic.bytes_published),
    ("messages_delivered", |topic| topic.messages_delivered),
    ("bytes_delivered", |topic| topic.bytes_delivered),
    ("packets_received", |topic| topic.packets_received),
    ("bytes_received", |topic| topic.bytes_received),
    ("packets_lost", |topic| topic.packets_lost),
];

fn topic_row(topic: TopicTold) -> Vec<Cell> {
    let counts = TOPIC_COUNTS.map(|(_, of)| count(of(&topic)));
    let rating = Cell::Real(topic.rating);
    let fixed = [Cell::Text(topic.topic), Cell::Integer(topic.subscribed.into()), rating];
    fixed.into_iter().chain(counts).collect()
}

fn count(count: u64) -> Cell {
    Cell::Integer(i64::try_from(count).unwrap_or(i64::MAX))
}

/// Columns of text.
fn texts(names: &[&str]) -> Vec<(String, Holds)> {
    names.iter().map(|name| ((*name).to_owned(), Holds::Text)).collect()
}

/// Takes note of a row's attributes. Those that agents keep for themselves are no columns.
fn see(attributes: &mut Attributes, row: &Row) {
    for (name, value) in row.iter().filter(|(name, _)| !name.as_str().starts_with('&')) {
        let Some(holds) = Holds::of(value) else { continue };
        let is_room = attributes.len() < ATTRIBUTES_MAX;
        match attributes.get_mut(name.as_str()) {
            // Somebody asked for it before anybody was seen to have it.
            Some(it) if *it == Holds::Any => *it = holds,
            Some(it) => *it = it.or(holds),
            None if is_room => {
                attributes.insert(name.as_str().to_owned(), holds);
            }
            None => {}
        }
    }
}

async fn path(table: &Table) -> Result<Vec<Zone>, String> {
    let gone = |error: spinglass::TableError| error.to_string();
    let region = table.region().await.map_err(gone)?;
    let mut zones = Vec::new();
    for depth in 0..=region.depth() {
        zones.push(table.zone(&region.ancestor(depth)).await.map_err(gone)?);
    }
    Ok(zones)
}

async fn summaries(node: &Node) -> Result<Vec<Vec<Cell>>, String> {
    let gone = |error: told::Refused| error.to_string();
    let region = node.table().region().await.map_err(|error| error.to_string())?;
    let text = |text: Option<String>| text.map_or(Cell::Null, Cell::Text);
    let mut rows = Vec::new();
    for depth in 0..=region.depth() {
        let zone = region.ancestor(depth);
        for function in told::summaries(node, Some(zone.as_str())).await.map_err(gone)? {
            let left = function.seconds_left.and_then(|left| i64::try_from(left).ok());
            rows.push(vec![
                Cell::Text(zone.to_string()),
                Cell::Text(function.name),
                text(function.zone),
                Cell::Text(function.sql),
                Cell::Integer(function.steps_per_row.into()),
                left.map_or(Cell::Null, Cell::Integer),
            ]);
        }
    }
    Ok(rows)
}

/// A zone's rows: its path, a row's name, whether it is or holds the agent itself, its age in
/// seconds, and its attributes.
fn zone_rows<'a>(
    shape: &'a Shape,
    zone: &'a Zone,
    region: &'a ZonePath,
    node: &Node,
) -> impl Iterator<Item = Vec<Cell>> + use<'a> {
    let own = node.local_addr();
    zone.rows.iter().map(move |row| {
        let fixed = [
            Cell::Text(zone.path.to_string()),
            Cell::Text(row.row.name().to_owned()),
            Cell::Integer(is_own(&row.row, region, own).into()),
            Cell::Real(row.age.as_secs_f64()),
        ];
        by_columns(shape, row.row.attributes(), &fixed)
    })
}

fn by_columns(shape: &Shape, row: &Row, fixed: &[Cell]) -> Vec<Cell> {
    let columns = shape.columns.iter().enumerate();
    let of = |(at, (name, _)): (usize, &(String, Holds))| match fixed.get(at) {
        Some(cell) => cell.clone(),
        None => row.get(name).map_or(Cell::Null, cell),
    };
    columns.map(of).collect()
}

/// What is to be asked of others: no more than what SQLite said it needs, and hosts that can't
/// match left out. SQLite looks at each condition once more.
fn question(shape: &Shape, conditions: &[Condition], used: &[usize]) -> String {
    let plain = |name: &str| {
        let mut letters = name.bytes();
        letters.next().is_some_and(|it| it.is_ascii_lowercase())
            && letters.all(|it| it.is_ascii_lowercase() || it.is_ascii_digit() || it == b'_')
    };
    let named: Vec<&str> =
        used.iter().filter_map(|at| Some(shape.columns.get(*at)?.0.as_str())).collect();
    let all = named.is_empty() || named.len() > NAMED_MAX || !named.iter().all(|name| plain(name));
    let mut text = format!("SELECT {} FROM hosts", if all { "*".into() } else { named.join(", ") });
    let mut link = " WHERE ";
    for condition in conditions {
        let Some((name, holds)) = shape.columns.get(condition.column) else { continue };
        let literal = match (&condition.value, holds) {
            (Cell::Integer(number), Holds::Bool) => {
                if *number == 0 {
                    "FALSE".into()
                } else {
                    "TRUE".into()
                }
            }
            (Cell::Integer(number), Holds::Int | Holds::Float) => number.to_string(),
            (Cell::Real(number), Holds::Int | Holds::Float) if number.is_finite() => {
                format!("{number:?}")
            }
            (Cell::Text(text), Holds::Text) => super::lexer::quoted(text),
            _ => continue,
        };
        let more = format!("{link}{name} {} {literal}", condition.operator);
        let fits = text.len() + more.len() <= QUESTION_BYTES_MAX;
        // What the core can't read is left to SQLite.
        if fits && plain(name) && reads(&(text.clone() + &more)) {
            text += &more;
            link = " AND ";
        }
    }
    text
}

/// Whether the core can read a query: a column may be called as one of its keywords.
fn reads(sql: &str) -> bool {
    spinglass::Query::parse(sql).is_ok()
}

/// What an answer lacks, if it lacks something.
fn missing(reach: &Reach) -> Option<String> {
    if reach.is_whole() {
        return None;
    }
    let mut parts = Vec::new();
    if reach.silent() > 0 {
        parts.push(format!(
            "{} of {} zones asked did not answer in time",
            reach.silent(),
            reach.asked
        ));
    }
    if reach.is_cut {
        parts.push("there is more than an answer has room for: narrow WHERE".into());
    }
    Some(format!("hosts are missing: {}", parts.join("; ")))
}
