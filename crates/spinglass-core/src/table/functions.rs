//! Summary functions in force, and what they make of a zone's rows.
//!
//! A function is a row in the table of the zone where it begins to hold, and holds from there down,
//! so it spreads as all rows do. Of two with one name, the nearer zone's holds. They are evaluated
//! in the order of their names; an attribute that two of them give is the first one's.

use alloc::collections::BTreeMap;
use alloc::string::String;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::cell::OnceCell;

use spinglass_summary::{Budget, EvalError, Function, Name, Row, RowBuilder, Value};

use super::level::{Level, Line};
use super::path::ZonePath;
use super::row::{ATTRIBUTE_BYTES_MAX, Kind, TableRow};
use super::text::Texts;
use crate::interest::{Interest, TOPICS};

/// The function that every zone has unless one with this name replaces it: who is in the zone, and
/// who speaks for it.
pub const CORE: &str = "core";
/// Its text. Three representatives: FACTS 4.9 shows what fewer cost under crashes. Those that cap
/// what they receive are none as long as there are others: a representative carries for its zone.
pub const CORE_SQL: &str = "SELECT SUM(nmembers) AS nmembers, \
                            FIRST(3, contacts ORDER BY COALESCE(capped, 0)) AS contacts, \
                            MAX(depth) + 1 AS depth FROM zone";
/// Functions evaluated for one zone at most; further ones, by name, are not.
pub(crate) const FUNCTIONS_MAX: usize = 64;
/// What all functions of one zone may cost together is this, times [`FUNCTIONS_MAX`] at worst; the
/// row that comes out is bounded on its own.
const BUDGET: Budget =
    Budget { steps: 250_000, memory_bytes: 1 << 20, output_bytes: ATTRIBUTE_BYTES_MAX as u32 };

/// A zone's attribute that names the functions which made the zone's row and those of all zones
/// below it: 4 bytes each. What these say of hosts' attributes proves something; what a function
/// of a newer text, or one that a zone below replaced, would have said proves nothing.
pub(crate) const PROVED: &str = "&functions";
/// Functions named there at most; further ones, by name, prove nothing.
const PROVED_MAX: usize = 32;

/// A function that holds in some zone.
#[derive(Debug, Clone)]
pub struct InForce {
    /// Its name.
    pub name: String,
    /// The zone from which it holds; `None` for the built-in one.
    pub since: Option<ZonePath>,
    /// What it computes.
    pub function: Function,
    /// Until when it holds, in milliseconds since the Unix epoch; `None`: until it is removed.
    pub lapses_ms: Option<u64>,
    /// What tells its row from any other, and so its text; none for the built-in one.
    pub(crate) tag: Option<[u8; 4]>,
}

/// What the functions made of a zone's rows.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Summary {
    /// The zone's attributes; `id` is its name.
    pub attributes: Row,
    /// What has no value, and why: function, attribute, cause.
    pub errors: Vec<(String, Name, SummaryError)>,
}

/// Why an attribute of a summary is not there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SummaryError {
    /// The evaluation of its function failed.
    Evaluation(EvalError),
    /// The zone's row is full.
    RowFull {
        /// Bytes that the attribute takes.
        needed: usize,
        /// Bytes that were left.
        left: usize,
    },
    /// A function whose name comes earlier gives it already.
    GivenAlready,
}

impl core::fmt::Display for SummaryError {
    fn fmt(&self, formatter: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        match self {
            Self::Evaluation(error) => error.fmt(formatter),
            Self::RowFull { needed, left } => {
                write!(formatter, "needs {needed} bytes, but the zone's row has {left} left")
            }
            Self::GivenAlready => {
                formatter.write_str("is given by a function whose name comes earlier")
            }
        }
    }
}

/// The functions of one agent's path.
#[derive(Debug, Default)]
pub(crate) struct Summaries {
    core: OnceCell<Function>,
    texts: Texts,
}

impl Summaries {
    pub(super) const fn texts(&self) -> &Texts {
        &self.texts
    }

    pub(super) const fn texts_mut(&mut self) -> &mut Texts {
        &mut self.texts
    }

    /// The functions that hold in the zone at `depth` of the path, by name.
    pub(crate) fn in_force(&self, levels: &[Level], depth: usize) -> Vec<InForce> {
        let mut nearest = BTreeMap::<&str, &Arc<TableRow>>::new();
        for level in levels.iter().take(depth + 1) {
            // Deeper levels come later, and replace.
            for row in level.functions() {
                // One whose text is on its way hides nothing yet.
                let is_here = !self.texts.awaits(row) || self.texts.in_force(row).is_some();
                if is_here {
                    nearest.insert(row.name(), row);
                }
            }
        }
        let mut functions: Vec<InForce> = nearest
            .into_iter()
            .filter_map(|(name, row)| {
                let (row, function) = self.texts.in_force(row)?;
                let [a, b, c, d, ..] = row.hash().0;
                Some(InForce {
                    name: name.into(),
                    since: Some(row.zone().clone()),
                    function: function.clone(),
                    lapses_ms: row.lapses_ms(),
                    tag: Some([a, b, c, d]),
                })
            })
            .collect();
        if !functions.iter().any(|function| function.name == CORE) {
            let (name, function) = (CORE.into(), self.core());
            let core = InForce { name, since: None, function, lapses_ms: None, tag: None };
            let at = functions.partition_point(|function| function.name.as_str() < CORE);
            functions.insert(at, core);
        }
        functions.truncate(FUNCTIONS_MAX);
        functions
    }

    fn core(&self) -> Function {
        let parse = || Function::parse(CORE_SQL).expect("the built-in function parses");
        self.core.get_or_init(parse).clone()
    }

    /// The row of the zone at `depth` of the path, from the rows heard since the own round `since`.
    pub(crate) fn summarize(&self, levels: &[Level], depth: usize, since: u32) -> Summary {
        let Some(level) = levels.get(depth) else { return Summary::default() };
        let mut lines: Vec<&Line> = level.children().filter(|line| line.heard >= since).collect();
        lines.sort_by_key(|line| line.row.name());
        let rows: Vec<(&str, &Row)> =
            lines.iter().map(|line| (line.row.name(), line.row.attributes())).collect();
        let mut builder = RowBuilder::default();
        // The attributes' count, and the name, which is a zone's.
        let mut left = ATTRIBUTE_BYTES_MAX - 2;
        let id = Value::text(level.zone().last_name());
        left -= attribute_bytes(&name_id(), id.encoded_bytes());
        builder.set(name_id(), id);
        // Which function gives an attribute; the name and the proof are nobody's.
        let proof = Name::new(PROVED).expect("a legal name");
        let mut makers = BTreeMap::from([(name_id(), usize::MAX), (proof.clone(), usize::MAX)]);
        makers.insert(Name::new(TOPICS).expect("a legal name"), usize::MAX);
        let mut errors = Vec::new();
        let functions = self.in_force(levels, depth);
        let mut proved = Vec::new();
        for (index, InForce { name, function, .. }) in functions.iter().enumerate() {
            let evaluation = function.evaluate(&rows, BUDGET);
            let errors_before = errors.len();
            for (column, error) in evaluation.errors {
                errors.push((name.clone(), column, SummaryError::Evaluation(error)));
            }
            for (column, value) in evaluation.row.iter() {
                let outcome = if makers.contains_key(column) {
                    Err(SummaryError::GivenAlready)
                } else {
                    makers.insert(column.clone(), index);
                    put(&mut builder, &mut left, column, value)
                };
                if let Err(error) = outcome {
                    errors.push((name.clone(), column.clone(), error));
                }
            }
            if errors.len() == errors_before {
                proved.push(index);
            }
        }
        proved.retain(|index| {
            let made = |output: &Name| makers.get(output).is_none_or(|maker| maker == index);
            let proves = |function: &InForce| {
                function.function.outputs().all(made) && is_proved(function, &lines)
            };
            functions.get(*index).is_some_and(proves)
        });
        let tags = proved.into_iter().filter_map(|index| functions.get(index)?.tag);
        let tags: Vec<u8> = tags.take(PROVED_MAX).flatten().collect();
        // Without room for it, whoever is in the zone may take anything.
        let topics = Name::new(TOPICS).expect("a legal name");
        let room = left.saturating_sub(attribute_bytes(&topics, 0));
        let told = Interest::of_rows(rows.iter().map(|(_, row)| *row)).encode(room);
        for value in told.iter().filter(|_| !rows.is_empty()) {
            let _ = put(&mut builder, &mut left, &topics, value);
        }
        // What was made without some of the rows proves nothing of these.
        if !tags.is_empty() && lines.len() == level.children().count() {
            // Where there is no room, nothing is proved: that costs questions detours, no answers.
            let _ = put(&mut builder, &mut left, &proof, &Value::bytes(&tags));
        }
        Summary { attributes: builder.build(), errors }
    }
}

impl InForce {
    /// Whether this very function made a zone's row, and the rows of all zones below it.
    pub(crate) fn made(&self, zone_row: &Row) -> bool {
        let Some(Value::Bytes(tags)) = zone_row.get(PROVED) else { return false };
        let (tags, _) = tags.as_chunks::<4>();
        self.tag.is_some_and(|tag| tags.contains(&tag))
    }
}

/// Whether what a function makes of these rows says something of every host below: the same
/// function made the zones' rows, and no host has an attribute in an output's place.
fn is_proved(function: &InForce, lines: &[&Line]) -> bool {
    let mut bounds = function.function.bounds().peekable();
    let strangers = |row: &Row| {
        let mut outputs = function.function.bounds().filter(|bound| bound.input != bound.output);
        outputs.any(|bound| row.get(bound.output.as_str()).is_some())
    };
    let follows = |line: &&Line| match line.row.kind() {
        Kind::Zone => function.made(line.row.attributes()),
        Kind::Agent | Kind::Function | Kind::Order => !strangers(line.row.attributes()),
    };
    bounds.peek().is_some() && lines.iter().all(follows)
}

/// Adds an attribute if there is room for it.
fn put(
    builder: &mut RowBuilder,
    left: &mut usize,
    name: &Name,
    value: &Value,
) -> Result<(), SummaryError> {
    let needed = attribute_bytes(name, value.encoded_bytes());
    if needed > *left {
        return Err(SummaryError::RowFull { needed, left: *left });
    }
    *left -= needed;
    builder.set(name.clone(), value.clone());
    Ok(())
}

/// Bytes that an attribute takes of a row, with a value of so many.
pub(super) fn attribute_bytes(name: &Name, value_bytes: usize) -> usize {
    1 + name.as_str().len() + value_bytes
}

pub(crate) fn name_id() -> Name {
    Name::new("id").expect("a legal name")
}
