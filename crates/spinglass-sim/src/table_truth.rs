//! What every table has to say when nothing happens any more, computed a second time: from what the
//! living agents say of themselves and the functions in force, zone by zone, up to the root.
//!
//! | | holds if, some rounds after the last fault or change |
//! |---|---|
//! | AS-4 | all agents of a zone hold the same rows |
//! | AS-5 | each zone's row is, byte for byte, what its functions make of its children's rows |
//! | MB-2 | nobody holds a row of an agent that is gone |
//! | MB-5 | all agents of a region hold the same agents (agreement in the end, not at all times) |
//! | MB-6 | after any outage the living find each other again, by nothing but their seeds |

use std::collections::{BTreeMap, BTreeSet};

use spinglass_core::Node;
use spinglass_core::table::{
    ATTRIBUTE_BYTES_MAX, Budget, CORE, CORE_SQL, Function, Kind, Name, Row, RowBuilder, TableRow,
    Value, ZonePath,
};
use spinglass_core::wire::{Put, Reader};

use crate::world::World;

/// The attribute in which a zone's row names the functions that made it and all rows below it.
const PROVED: &str = "&functions";
/// The attribute that tells of topics: `L`, and for each, by rising tag, 4 bytes and a varint.
const TOPICS: &str = "&topics";

/// More than any function of a scenario needs.
const BUDGET: Budget =
    Budget { steps: 250_000, memory_bytes: 1 << 20, output_bytes: ATTRIBUTE_BYTES_MAX as u32 };

/// What the tables have to say.
#[derive(Debug, Default)]
pub struct Truth {
    /// By zone: its agents' or child zones' rows, by name.
    zones: BTreeMap<ZonePath, BTreeMap<String, Row>>,
    /// By zone and name: the SQL of the functions that hold from there down.
    functions: BTreeMap<(ZonePath, String), String>,
}

/// An agent whose table is not as it has to be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Difference {
    /// Which invariant.
    pub invariant: &'static str,
    /// At whom.
    pub agent: usize,
    /// What.
    pub what: String,
}

impl Truth {
    /// The truth about a world: the agents that run and have not left.
    ///
    /// # Panics
    /// If an agent holds a function that is none, which no core takes in.
    #[must_use]
    pub fn of(world: &World, left: &BTreeSet<usize>) -> Self {
        let mut truth = Self { functions: functions(world, left), ..Self::default() };
        for (_, node) in living(world, left) {
            let table = node.table();
            let own = table.own_row().map(|row| (row.name().to_owned(), row.attributes().clone()));
            truth.zones.entry(table.region().clone()).or_default().extend(own);
        }
        let deepest = truth.zones.keys().map(ZonePath::depth).max().unwrap_or(0);
        for depth in (1..=deepest).rev() {
            let of_depth = |zone: &&ZonePath| zone.depth() == depth;
            let zones: Vec<ZonePath> = truth.zones.keys().filter(of_depth).cloned().collect();
            for zone in zones {
                let row = truth.summary(&zone);
                let siblings = truth.zones.entry(zone.ancestor(depth - 1)).or_default();
                siblings.insert(zone.last_name().to_owned(), row);
            }
        }
        truth
    }

    /// What the functions in force make of a zone's rows.
    fn summary(&self, zone: &ZonePath) -> Row {
        let children = self.zones.get(zone);
        let rows: Vec<(&str, &Row)> =
            children.into_iter().flatten().map(|(name, row)| (name.as_str(), row)).collect();
        let mut in_force = BTreeMap::from([(CORE, CORE_SQL)]);
        for depth in 0..=zone.depth() {
            let here = zone.ancestor(depth);
            let of_zone = self.functions.iter().filter(|((since, _), _)| *since == here);
            in_force.extend(of_zone.map(|((_, name), sql)| (name.as_str(), sql.as_str())));
        }
        let id = Name::new("id").expect("a legal name");
        let mut summary = BTreeMap::from([(id, Value::text(zone.last_name()))]);
        for sql in in_force.into_values() {
            let function = Function::parse(sql).expect("only functions are taken in");
            for (name, value) in function.evaluate(&rows, BUDGET).row.iter() {
                summary.entry(name.clone()).or_insert_with(|| value.clone());
            }
        }
        let topics = Name::new(TOPICS).expect("a legal name");
        summary.extend(topics_of(&rows).map(|taken| (topics, taken)));
        let with = |row: RowBuilder, (name, value)| row.with(name, value);
        summary.into_iter().fold(RowBuilder::default(), with).build()
    }

    /// Where an agent's table says something else, the deepest level first.
    #[must_use]
    pub fn differences(&self, agent: usize, node: &Node) -> Vec<Difference> {
        let table = node.table();
        let mut found = Vec::new();
        let mut differ = |invariant, what| found.push(Difference { invariant, agent, what });
        for depth in (0..=table.region().depth()).rev() {
            let zone = table.region().ancestor(depth);
            let is_region = depth == table.region().depth();
            let held = table.rows(&zone).unwrap_or_default();
            let nothing = BTreeMap::new();
            let wanted = self.zones.get(&zone).unwrap_or(&nothing);
            for row in &held {
                let invariant = if is_region { "MB-2/MB-5" } else { "AS-4/AS-5" };
                match wanted.get(row.name()) {
                    None => differ(invariant, format!("{zone} has a row {}", row.name())),
                    Some(wanted) if encoded(wanted) != encoded(row.attributes()) => {
                        let (held, name) = (row.attributes(), row.name());
                        let what =
                            format!("{name} of {zone} is {held:?}, and should be {wanted:?}");
                        differ("AS-4/AS-5", what);
                    }
                    Some(_) => (),
                }
            }
            let names: BTreeSet<&str> = held.iter().map(|row| row.name()).collect();
            for name in wanted.keys().filter(|name| !names.contains(name.as_str())) {
                differ("AS-4/MB-5/MB-6", format!("{zone} has no row {name}"));
            }
        }
        let own_path = |(zone, _): &&(ZonePath, String)| table.region().is_within(zone);
        let wanted: BTreeSet<_> = self.functions.keys().filter(own_path).cloned().collect();
        let held: BTreeSet<_> =
            functions_of(node).filter(|row| !row.is_removed()).map(line).collect();
        if wanted != held {
            differ("AS-4", format!("functions {held:?}, and should be {wanted:?}"));
        }
        found
    }
}

/// Where any living agent's table is not as it has to be.
///
/// # Panics
/// As [`Truth::of`].
#[must_use]
pub fn differences(world: &World, left: &BTreeSet<usize>) -> Vec<Difference> {
    let truth = Truth::of(world, left);
    living(world, left).flat_map(|(agent, node)| truth.differences(agent, node)).collect()
}

fn living<'a>(
    world: &'a World,
    left: &'a BTreeSet<usize>,
) -> impl Iterator<Item = (usize, &'a Node)> {
    let here = (0..world.len()).filter(|agent| !left.contains(agent));
    here.filter_map(|agent| Some((agent, world.node(agent)?)))
}

/// The newest word on every function, whoever has heard it.
fn functions(world: &World, left: &BTreeSet<usize>) -> BTreeMap<(ZonePath, String), String> {
    let mut newest = BTreeMap::<(ZonePath, String), &TableRow>::new();
    for row in living(world, left).flat_map(|(_, node)| functions_of(node)) {
        let best = newest.entry(line(row)).or_insert(row);
        if row.supersedes(best) {
            *best = row;
        }
    }
    let in_force = newest.into_iter().filter(|(_, row)| !row.is_removed());
    let sql = |row: &TableRow| row.attributes().get("sql").and_then(Value::as_text).map(Into::into);
    in_force.filter_map(|(line, row)| Some((line, sql(row)?))).collect()
}

fn functions_of(node: &Node) -> impl Iterator<Item = &TableRow> {
    node.table().held().map(AsRef::as_ref).filter(|row| row.kind() == Kind::Function)
}

fn line(row: &TableRow) -> (ZonePath, String) {
    (row.zone().clone(), row.name().to_owned())
}

/// What those take who have these rows: of each topic and pattern, the most that one does, and how
/// busy a stream one bears. None: anything.
fn topics_of(rows: &[(&str, &Row)]) -> Option<Value> {
    let (mut topics, mut patterns, mut ceiling) = (BTreeMap::new(), BTreeMap::new(), 0);
    for (_, row) in rows {
        let Some(Value::Bytes(bytes)) = row.get(TOPICS) else { return None };
        let mut rest = Reader::new(bytes.strip_prefix(b"L").expect("few topics are a list"));
        ceiling = ceiling.max(rest.u8().ok()?);
        let mut left = rest.u8().ok()?;
        while !rest.is_empty() {
            let entries = if left > 0 { &mut patterns } else { &mut topics };
            left = left.saturating_sub(1);
            let (tag, passed_over) = (rest.array::<4>().ok()?, rest.varint().ok()?);
            let least = entries.entry(tag).or_insert(passed_over);
            *least = passed_over.min(*least);
        }
    }
    let mut bytes = vec![b'L', ceiling, u8::try_from(patterns.len()).expect("they are few")];
    for (tag, passed_over) in patterns.into_iter().chain(topics) {
        bytes.put(&tag);
        bytes.put_varint(passed_over);
    }
    (!rows.is_empty()).then(|| Value::bytes(&bytes))
}

/// What a row says, but for the names of the functions that made it, which questions alone need.
fn encoded(row: &Row) -> Vec<u8> {
    let mut said = RowBuilder::default();
    let attributes = row.iter().filter(|(name, _)| name.as_str() != PROVED);
    attributes.for_each(|(name, value)| said.set(name.clone(), value.clone()));
    let mut bytes = Vec::new();
    said.build().encode(&mut bytes);
    bytes
}
