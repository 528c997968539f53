//! Queries that go down the tree: which hosts match, what of them is told, and in which order.
//!
//! ```text
//! asker            a zone's agent                       a host
//!   | -- query --->  | may_match(child's row)? -------->  | matches(own row)?
//!   |                |                                    | project, sort_key
//!   | <------------- answers, in any order -------------- |
//!   | finish: ORDER BY and LIMIT
//! ```

use alloc::string::String;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::cmp::Ordering;

use crate::error::{EvalError, SqlError};
use crate::eval::Frame;
use crate::expr::Expr;
use crate::filter;
use crate::function::Function;
use crate::meter::{Budget, Meter, ROW_BUDGET};
use crate::order;
use crate::prune::{Knowledge, Range};
use crate::row::{Name, Row, RowBuilder};
use crate::statement::{self, QueryText};
use crate::value::{LIST_DEPTH_MAX, Value};

/// What a query found in one table's rows.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Selection {
    /// Of each row that matches: its place among the rows given, its
    /// [`sort_key`](Query::sort_key), and what is told of it.
    pub found: Vec<(usize, Value, Row)>,
    /// Steps taken, of those allowed.
    pub steps: u32,
    /// Whether a row was passed over because it, or all together, took too many steps.
    pub is_cut: bool,
}

/// A query: checked, compiled, immutable, and cheap to clone.
#[derive(Debug, Clone)]
pub struct Query {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    sql: String,
    text: QueryText,
}

impl Query {
    /// Checks and compiles a text of at most [`Function::SQL_BYTES_MAX`] bytes.
    ///
    /// # Errors
    /// The text is no query: what is wrong, where, and what to do.
    pub fn parse(sql: &str) -> Result<Self, SqlError> {
        let text = statement::query(sql)?;
        Ok(Self { inner: Arc::new(Inner { sql: String::from(sql), text }) })
    }

    /// The text.
    #[must_use]
    pub fn sql(&self) -> &str {
        &self.inner.sql
    }

    /// The columns that it reads, in `WHERE` or elsewhere.
    pub fn inputs(&self) -> impl Iterator<Item = &Name> {
        self.inner.text.columns.iter()
    }

    /// The columns that it tells, as they are written; none for `*`, which tells what there is.
    pub fn outputs(&self) -> impl Iterator<Item = &Name> {
        self.inner.text.outputs.iter().flatten().map(|output| &output.name)
    }

    /// What the query finds in the rows of hosts, within so many steps for all of them together.
    #[must_use]
    pub fn select<'a>(&self, rows: impl IntoIterator<Item = &'a Row>, steps: u32) -> Selection {
        let mut selection = Selection::default();
        for (place, row) in rows.into_iter().enumerate() {
            // The row itself costs something, also if nothing is asked of it.
            let Some(mut left) = (steps - selection.steps).checked_sub(1) else {
                selection.is_cut = true;
                break;
            };
            let matches = metered(&mut left, |meter| self.is_match(row, meter));
            if matches == Ok(true) {
                let key = metered(&mut left, |meter| self.key(row, meter));
                let told = metered(&mut left, |meter| self.told(row, meter));
                selection.found.push((place, key, told));
            }
            selection.steps = steps - left;
            selection.is_cut |= matches.is_err();
        }
        selection
    }

    /// Whether `WHERE` is true of a host's row. A row that takes too many steps does not match.
    #[must_use]
    pub fn matches(&self, row: &Row) -> bool {
        self.is_match(row, &mut Meter::new(ROW_BUDGET)) == Ok(true)
    }

    fn is_match(&self, row: &Row, meter: &mut Meter) -> Result<bool, EvalError> {
        let QueryText { filter, columns, .. } = &self.inner.text;
        filter.as_ref().map_or(Ok(true), |filter| filter::holds(filter, columns, row, meter))
    }

    /// What is told of a host. A column that takes too many steps or bytes is absent.
    #[must_use]
    pub fn project(&self, row: &Row) -> Row {
        self.told(row, &mut Meter::new(ROW_BUDGET))
    }

    fn told(&self, row: &Row, meter: &mut Meter) -> Row {
        let Some(outputs) = &self.inner.text.outputs else { return row.clone() };
        let cells = self.cells(row);
        let mut bytes_left = (ROW_BUDGET.output_bytes as usize).saturating_sub(1);
        let mut projected = RowBuilder::default();
        for (index, output) in outputs.iter().enumerate() {
            let share = meter.share(outputs.len() - index);
            let mut left = share;
            let value = evaluated(&output.expr, &cells, &mut left);
            meter.settle(share, left);
            let Ok(value) = value else { continue };
            let needed = 1 + output.name.as_str().len() + value.encoded_bytes();
            if value.depth() > LIST_DEPTH_MAX || needed > bytes_left {
                continue;
            }
            bytes_left -= needed;
            projected.set(output.name.clone(), value);
        }
        projected.build()
    }

    /// A host's place in the `ORDER BY`, as a list to send along with what is told of it.
    #[must_use]
    pub fn sort_key(&self, row: &Row) -> Value {
        self.key(row, &mut Meter::new(ROW_BUDGET))
    }

    fn key(&self, row: &Row, meter: &mut Meter) -> Value {
        let cells = self.cells(row);
        let key = |(expr, _): &(Expr, bool)| {
            let key = evaluated(expr, &cells, meter).unwrap_or_default();
            if key.depth() < LIST_DEPTH_MAX { key } else { Value::Null }
        };
        Value::list(self.inner.text.order.iter().map(key).collect::<Vec<_>>())
    }

    /// `ORDER BY` and `LIMIT`, over what hosts told and their [`sort_key`](Self::sort_key)s. Rows
    /// of one place in the order are ordered by what they hold. Null is less than all else.
    #[must_use]
    pub fn finish(&self, answers: Vec<(Value, Row)>) -> Vec<Row> {
        self.leading(answers).into_iter().map(|(_, row)| row).collect()
    }

    /// The same with the keys kept, for others to go on with: the first of many are the first of
    /// the firsts of any parts of them.
    #[must_use]
    pub fn leading(&self, mut answers: Vec<(Value, Row)>) -> Vec<(Value, Row)> {
        answers.sort_by(|(left, left_row), (right, right_row)| {
            self.compare_keys(left, right).then_with(|| left_row.iter().cmp(right_row.iter()))
        });
        answers.truncate(self.inner.text.limit.unwrap_or(usize::MAX));
        answers
    }

    /// Whether a host below a zone may match: `false` only if the zone's row, made by these
    /// functions without an error, or what is known by other means, proves that none does. What a
    /// row can prove with is [`Function::bounds`].
    #[must_use]
    pub fn may_match(&self, zone_row: &Row, functions: &[&Function], known: &[Range]) -> bool {
        let Some(filter) = &self.inner.text.filter else { return true };
        let columns = &self.inner.text.columns;
        let knowledge = Knowledge::new(columns, zone_row, functions, known);
        knowledge.outcomes(filter).can_be_true
    }

    fn cells<'a>(&self, row: &'a Row) -> Vec<Option<&'a Value>> {
        filter::cells(&self.inner.text.columns, row)
    }

    fn compare_keys(&self, left: &Value, right: &Value) -> Ordering {
        let key = |list: &Value, index: usize| {
            list.as_list().and_then(|keys| keys.get(index)).cloned().unwrap_or_default()
        };
        let compare = |(index, (_, is_descending)): (usize, &(Expr, bool))| {
            let ordering = order::by_place(&key(left, index), &key(right, index));
            if *is_descending { ordering.reverse() } else { ordering }
        };
        let mut orderings = self.inner.text.order.iter().enumerate().map(compare);
        orderings.find(|ordering| ordering.is_ne()).unwrap_or(Ordering::Equal)
    }
}

/// Does something for a row within the row's budget and the steps that are left, and takes those.
fn metered<T>(left: &mut u32, work: impl FnOnce(&mut Meter) -> T) -> T {
    let steps = ROW_BUDGET.steps.min(*left);
    let mut meter = Meter::new(Budget { steps, ..ROW_BUDGET });
    let done = work(&mut meter);
    *left -= steps - meter.steps;
    done
}

fn evaluated(expr: &Expr, cells: &[Option<&Value>], meter: &mut Meter) -> Result<Value, EvalError> {
    let frame = Frame { columns: cells, aggregates: &[] };
    expr.evaluate(frame, meter).map(|value| value.into_owned())
}
