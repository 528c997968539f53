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

use super::level::Level;
use super::path::ZonePath;
use super::row::{ATTRIBUTE_BYTES_MAX, TableRow};
use super::text::Texts;

/// The function that every zone has unless one with this name replaces it: who is in the zone, and
/// who speaks for it.
pub const CORE: &str = "core";
/// Its text. Three representatives: FACTS 4.9 shows what fewer cost under crashes.
pub const CORE_SQL: &str = "SELECT SUM(nmembers) AS nmembers, FIRST(3, contacts) AS contacts, \
                            MAX(depth) + 1 AS depth FROM zone";
/// Functions evaluated for one zone at most; further ones, by name, are not.
pub(crate) const FUNCTIONS_MAX: usize = 64;
/// What all functions of one zone may cost together is this, times [`FUNCTIONS_MAX`] at worst; the
/// row that comes out is bounded on its own.
const BUDGET: Budget =
    Budget { steps: 250_000, memory_bytes: 1 << 20, output_bytes: ATTRIBUTE_BYTES_MAX as u32 };

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
                Some(InForce {
                    name: name.into(),
                    since: Some(row.zone().clone()),
                    function: function.clone(),
                    lapses_ms: row.lapses_ms(),
                })
            })
            .collect();
        if !functions.iter().any(|function| function.name == CORE) {
            let core =
                InForce { name: CORE.into(), since: None, function: self.core(), lapses_ms: None };
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
        let fresh = level.children().filter(|line| line.heard >= since);
        let mut rows: Vec<(&str, &Row)> =
            fresh.map(|line| (line.row.name(), line.row.attributes())).collect();
        rows.sort_by_key(|(name, _)| *name);
        let mut builder = RowBuilder::default();
        // The attributes' count, and the name, which is a zone's.
        let mut left = ATTRIBUTE_BYTES_MAX - 2;
        let id = Value::text(level.zone().last_name());
        left -= attribute_bytes(&name_id(), &id);
        builder.set(name_id(), id);
        let mut given = alloc::vec![name_id()];
        let mut errors = Vec::new();
        for InForce { name, function, .. } in self.in_force(levels, depth) {
            let evaluation = function.evaluate(&rows, BUDGET);
            for (column, error) in evaluation.errors {
                errors.push((name.clone(), column, SummaryError::Evaluation(error)));
            }
            for (column, value) in evaluation.row.iter() {
                let outcome = if given.contains(column) {
                    Err(SummaryError::GivenAlready)
                } else {
                    given.push(column.clone());
                    put(&mut builder, &mut left, column, value)
                };
                if let Err(error) = outcome {
                    errors.push((name.clone(), column.clone(), error));
                }
            }
        }
        Summary { attributes: builder.build(), errors }
    }
}

/// Adds an attribute if there is room for it.
fn put(
    builder: &mut RowBuilder,
    left: &mut usize,
    name: &Name,
    value: &Value,
) -> Result<(), SummaryError> {
    let needed = attribute_bytes(name, value);
    if needed > *left {
        return Err(SummaryError::RowFull { needed, left: *left });
    }
    *left -= needed;
    builder.set(name.clone(), value.clone());
    Ok(())
}

fn attribute_bytes(name: &Name, value: &Value) -> usize {
    1 + name.as_str().len() + value.encoded_bytes()
}

pub(crate) fn name_id() -> Name {
    Name::new("id").expect("a legal name")
}
