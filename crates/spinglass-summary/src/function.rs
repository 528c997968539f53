//! Summary functions: the SQL that makes a zone's row in its parent's table out of the rows of
//! the zone's own (Astrolabe §3).

use alloc::borrow::Cow;
use alloc::collections::BTreeMap;
use alloc::string::String;
use alloc::sync::Arc;
use alloc::vec;
use alloc::vec::Vec;

use crate::aggregate::{Aggregate, Fold, GROUPS_MAX, Table, map};
use crate::error::{EvalError, SqlError};
use crate::eval::Frame;
use crate::expr::Expr;
use crate::meter::{Budget, Meter};
use crate::order;
use crate::row::{Name, Row, RowBuilder};
use crate::scalar::Scalar;
use crate::statement::{self, Output};
use crate::value::{LIST_DEPTH_MAX, Value};

/// A summary function: checked, compiled, immutable, and cheap to clone.
#[derive(Debug, Clone)]
pub struct Function {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    sql: String,
    /// The columns read; expressions name them by index.
    columns: Vec<Name>,
    outputs: Vec<Output>,
    filter: Option<Expr>,
    group: Option<Expr>,
    bounds: Vec<Bound>,
}

/// An output that says something of every host's attribute, at every level of the tree.
///
/// That takes a function without `WHERE` and `GROUP BY` whose output feeds on itself at the next
/// level: `MIN(load) AS load`, or `MIN(COALESCE(minload, load)) AS minload`. It holds of hosts
/// which leave `output` to the function (or, under one name, have the attribute in it), and of
/// zones in which the function ran to its end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Bound {
    /// The summary's attribute.
    pub output: Name,
    /// The hosts' attribute.
    pub input: Name,
    /// What the one says of the other.
    pub kind: BoundKind,
}

/// What an output says of the hosts' values. Hosts without the attribute may be there as well.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BoundKind {
    /// None is less.
    Min,
    /// None is greater.
    Max,
    /// Whether one is true.
    Any,
    /// Whether none is false.
    All,
    /// 0 if there is none.
    Count,
    /// They are all in this list, or in its items.
    Union,
    /// They are all in this Bloom filter.
    Bloom,
}

/// What came of a function.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Evaluation {
    /// The outputs that have a value.
    pub row: Row,
    /// The outputs that have none, or an unknown one, and why.
    pub errors: Vec<(Name, EvalError)>,
    /// Steps taken.
    pub steps: u32,
}

impl Function {
    /// The longest text, in bytes.
    pub const SQL_BYTES_MAX: usize = 4096;

    /// Checks and compiles a text.
    ///
    /// # Errors
    /// The text is no function: what is wrong, where, and what to do.
    pub fn parse(sql: &str) -> Result<Self, SqlError> {
        let text = statement::function(sql)?;
        let is_whole = text.filter.is_none() && text.group.is_none();
        let bound = |output| bound_of(output, &text.columns).filter(|_| is_whole);
        Ok(Self {
            inner: Arc::new(Inner {
                sql: String::from(sql),
                bounds: text.outputs.iter().filter_map(bound).collect(),
                columns: text.columns,
                outputs: text.outputs,
                filter: text.filter,
                group: text.group,
            }),
        })
    }

    /// The text.
    #[must_use]
    pub fn sql(&self) -> &str {
        &self.inner.sql
    }

    /// The columns that it makes, as they are written.
    pub fn outputs(&self) -> impl Iterator<Item = &Name> {
        self.inner.outputs.iter().map(|output| &output.name)
    }

    /// The columns that it reads.
    pub fn inputs(&self) -> impl Iterator<Item = &Name> {
        self.inner.columns.iter()
    }

    /// Steps that a row costs, about: long texts cost more, rows that `WHERE` drops cost less.
    #[must_use]
    pub fn steps_per_row(&self) -> u32 {
        let columns = u32::try_from(self.inner.columns.len()).unwrap_or(u32::MAX);
        let clauses = [&self.inner.filter, &self.inner.group].into_iter().flatten();
        let aggregates = self.inner.outputs.iter().flat_map(|output| &output.aggregates);
        clauses
            .map(Expr::steps)
            .chain(aggregates.map(Aggregate::steps))
            .fold(columns.saturating_add(1), u32::saturating_add)
    }

    /// The outputs that say something of every host below a zone.
    pub fn bounds(&self) -> impl Iterator<Item = &Bound> {
        self.inner.bounds.iter()
    }

    /// Makes one row of a zone's rows, each given with the name of the child zone that it tells
    /// of. The names' order is that of `FIRST`; the order of the slice is nothing.
    ///
    /// Outputs share the budget evenly, and what one leaves is the next ones': so one that fails
    /// takes no other with it.
    #[must_use]
    pub fn evaluate(&self, rows: &[(&str, &Row)], budget: Budget) -> Evaluation {
        let mut meter = Meter::new(budget);
        let mut outcome = Outcome::new(budget.output_bytes as usize);
        match self.groups(rows, &mut meter) {
            Err(error) => {
                outcome.errors = self.outputs().map(|name| (name.clone(), error)).collect();
            }
            Ok(groups) => {
                let outputs = &self.inner.outputs;
                for (index, output) in outputs.iter().enumerate() {
                    let share = meter.share(outputs.len() - index);
                    let mut left = share;
                    let value = self.output(output, &groups, &mut left);
                    meter.settle(share, left);
                    outcome.put(&output.name, value);
                }
            }
        }
        let steps = budget.steps - meter.steps;
        Evaluation { row: outcome.row.build(), errors: outcome.errors, steps }
    }

    /// The rows that `WHERE` keeps, by group; one group, without a key, if there are none.
    fn groups<'a>(
        &self,
        rows: &[(&str, &'a Row)],
        meter: &mut Meter,
    ) -> Result<Vec<(Value, Table<'a>)>, EvalError> {
        let Inner { columns, filter, group, .. } = &*self.inner;
        let rows = sorted(rows, meter)?;
        meter.allocate(rows.len() * columns.len() * size_of::<Option<&Value>>())?;
        let mut groups = Vec::new();
        if group.is_none() {
            groups.push((Value::Null, Table::with_capacity(columns.len(), rows.len())));
        }
        let mut group_of_key: BTreeMap<Value, usize> = BTreeMap::new();
        let mut hints = vec![0; columns.len()];
        let mut cells = Vec::with_capacity(columns.len());
        for (_, row) in rows.iter() {
            meter.step(1 + columns.len())?;
            cells.clear();
            cells.extend(columns.iter().zip(&mut hints).map(|(name, hint)| cell(row, name, hint)));
            let frame = Frame { columns: &cells, aggregates: &[] };
            if let Some(filter) = filter
                && filter.truth(frame, meter)? != Some(true)
            {
                continue;
            }
            let mut index = 0;
            if let Some(group) = group {
                let key = group.evaluate(frame, meter)?;
                meter.read(&key)?;
                meter.step(8)?;
                let key = order::canonical(&key);
                index = group_of_key.get(&key).copied().unwrap_or(groups.len());
                if index == GROUPS_MAX {
                    return Err(EvalError::Groups { max: GROUPS_MAX });
                }
                if index == groups.len() {
                    group_of_key.insert(key.clone(), index);
                    groups.push((key, Table::with_capacity(columns.len(), 1)));
                }
            }
            if let Some((_, table)) = groups.get_mut(index) {
                table.push(&cells);
            }
        }
        Ok(groups)
    }

    /// One output's value: with `GROUP BY`, a map from the groups' keys.
    fn output(
        &self,
        output: &Output,
        groups: &[(Value, Table<'_>)],
        meter: &mut Meter,
    ) -> Result<Value, EvalError> {
        if self.inner.group.is_none() {
            let [(_, table)] = groups else { return Ok(Value::Null) };
            return column(output, table, meter);
        }
        meter.allocate(groups.len() * 4 * size_of::<Value>())?;
        if output.is_group {
            let mut keys: Vec<Value> = groups.iter().map(|(key, _)| key.clone()).collect();
            keys.sort_by(order::total);
            return Ok(if keys.is_empty() { Value::Null } else { Value::list(keys) });
        }
        let mut pairs = Vec::with_capacity(groups.len());
        for (key, table) in groups {
            pairs.push((key.clone(), column(output, table, meter)?));
        }
        Ok(map(pairs.into_iter()))
    }
}

/// One output's value over one table.
fn column(output: &Output, table: &Table<'_>, meter: &mut Meter) -> Result<Value, EvalError> {
    if let (Expr::Aggregate(0), [aggregate]) = (&output.expr, &*output.aggregates) {
        return aggregate.evaluate(table, meter);
    }
    let aggregates: Result<Vec<Value>, _> =
        output.aggregates.iter().map(|aggregate| aggregate.evaluate(table, meter)).collect();
    let frame = Frame { columns: &[], aggregates: &aggregates? };
    output.expr.evaluate(frame, meter).map(Cow::into_owned)
}

/// A cell of a row. NaN is no number, so it is null.
#[inline]
pub(crate) fn cell<'a>(row: &'a Row, name: &Name, hint: &mut usize) -> Option<&'a Value> {
    row.find(name, hint).filter(|value| match value {
        Value::Float(number) => !number.get().is_nan(),
        _ => true,
    })
}

/// Rows by their keys; rows of one key, which no table has, by what they hold.
fn sorted<'r, 'a>(
    rows: &'r [(&'r str, &'a Row)],
    meter: &mut Meter,
) -> Result<Cow<'r, [(&'r str, &'a Row)]>, EvalError> {
    meter.step(rows.len())?;
    // Charged whether or not it is used: what comes of a function must not depend on the order.
    meter.allocate(size_of_val(rows))?;
    if rows.is_sorted_by(|(left, _), (right, _)| left < right) {
        return Ok(Cow::Borrowed(rows));
    }
    let mut sorted = rows.to_vec();
    sorted.sort_by(|(left, left_row), (right, right_row)| {
        left.cmp(right).then_with(|| left_row.iter().cmp(right_row.iter()))
    });
    Ok(Cow::Owned(sorted))
}

/// The row that comes out, and the bytes that it may still have.
struct Outcome {
    row: RowBuilder,
    errors: Vec<(Name, EvalError)>,
    bytes_left: usize,
}

impl Outcome {
    fn new(output_bytes: usize) -> Self {
        // One byte says how many attributes there are.
        let bytes_left = output_bytes.saturating_sub(1);
        Self { row: RowBuilder::default(), errors: Vec::new(), bytes_left }
    }

    fn put(&mut self, name: &Name, value: Result<Value, EvalError>) {
        let value = match value {
            Ok(value) => value,
            Err(error) => {
                self.errors.push((name.clone(), error));
                // A set of unknown values: above, it makes every set that it meets unknown too.
                match error {
                    EvalError::Union { .. } => Value::list([Value::Null]),
                    _ => return,
                }
            }
        };
        if value == Value::Null {
            return;
        }
        if value.depth() > LIST_DEPTH_MAX {
            self.errors.push((name.clone(), EvalError::Depth { max: LIST_DEPTH_MAX }));
            return;
        }
        let needed = 1 + name.as_str().len() + value.encoded_bytes();
        match self.bytes_left.checked_sub(needed) {
            Some(left) => {
                self.bytes_left = left;
                self.row.set(name.clone(), value);
            }
            None => {
                let error = EvalError::Output { needed, left: self.bytes_left };
                self.errors.push((name.clone(), error));
            }
        }
    }
}

/// What an output of a function without `WHERE` and `GROUP BY` says of the hosts' values.
fn bound_of(output: &Output, columns: &[Name]) -> Option<Bound> {
    let (Expr::Aggregate(0), [Aggregate { fold, input }]) = (&output.expr, &*output.aggregates)
    else {
        return None;
    };
    let kind = match fold {
        Fold::Min => BoundKind::Min,
        Fold::Max => BoundKind::Max,
        Fold::Any => BoundKind::Any,
        Fold::All => BoundKind::All,
        Fold::Count => BoundKind::Count,
        Fold::Union { .. } => BoundKind::Union,
        Fold::Bloom { .. } => BoundKind::Bloom,
        _ => return None,
    };
    let name = |expr: &Expr| match expr {
        Expr::Column(slot) => columns.get(*slot),
        _ => None,
    };
    let input = match input {
        Expr::Call(Scalar::Coalesce, arguments) => match &**arguments {
            [own, input] if name(own) == Some(&output.name) => name(input)?,
            _ => return None,
        },
        _ => name(input).filter(|input| **input == output.name)?,
    };
    Some(Bound { output: output.name.clone(), input: input.clone(), kind })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::SqlErrorKind;
    use std::string::ToString;

    fn row(attributes: &[(&str, Value)]) -> Row {
        let named = |(name, value): &(&str, Value)| (Name::new(name).unwrap(), value.clone());
        attributes.iter().map(named).collect()
    }

    /// The one output of a function over rows with one attribute, `x`.
    fn over(aggregate: &str, values: &[Value]) -> Value {
        let sql = "SELECT ".to_string() + aggregate + " AS y FROM zone";
        let rows: Vec<(String, Row)> = values
            .iter()
            .enumerate()
            .map(|(index, value)| (std::format!("{index:03}"), row(&[("x", value.clone())])))
            .collect();
        let rows: Vec<(&str, &Row)> = rows.iter().map(|(key, row)| (&**key, row)).collect();
        let function = Function::parse(&sql).unwrap();
        function.evaluate(&rows, Budget::default()).row.get("y").cloned().unwrap_or_default()
    }

    fn ints(numbers: &[i64]) -> Vec<Value> {
        numbers.iter().copied().map(Value::Int).collect()
    }

    fn list(numbers: &[i64]) -> Value {
        Value::list(ints(numbers))
    }

    #[test]
    fn aggregates_fold_rows() {
        let values = ints(&[3, 1, 2, 2]);
        assert_eq!(over("MIN(x)", &values), Value::Int(1));
        assert_eq!(over("MAX(x)", &values), Value::Int(3));
        assert_eq!(over("SUM(x)", &values), Value::Int(8));
        assert_eq!(over("AVG(x)", &values), Value::float(2.0));
        assert_eq!(over("AVG(x, x)", &values), Value::float(18.0 / 8.0));
        assert_eq!(over("STDDEV(x)", &values), Value::float(0.5_f64.sqrt()));
        assert_eq!(over("COUNT(DISTINCT x)", &values), Value::Int(3));
        assert_eq!(over("FIRST(2, x)", &values), list(&[3, 1]));
        assert_eq!(over("FIRST(9, x ORDER BY x)", &values), list(&[1, 2, 3]));
        assert_eq!(over("TOP(1, x BY x % 3)", &values), list(&[2]));
        assert_eq!(over("UNION(x)", &values), list(&[1, 2, 3]));
        assert_eq!(over("ANY(x > 2)", &values), Value::Bool(true));
        assert_eq!(over("ALL(x > 2)", &values), Value::Bool(false));
        assert_eq!(over("HISTOGRAM(x, 0, 4, 2)", &values), list(&[1, 3]));
        assert_eq!(over("APPROX_DISTINCT(x)", &values), Value::Int(3));
        assert_eq!(over("SUM(x) / COUNT(*)", &values), Value::Int(2));
    }

    #[test]
    fn nothing_is_null_and_counts_zero() {
        for aggregate in [
            "MIN(x)",
            "SUM(x)",
            "AVG(x)",
            "STDDEV(x)",
            "ANY(x)",
            "UNION(x)",
            "FIRST(1, x)",
            "HISTOGRAM(x, 0, 1, 1)",
            "BLOOM(x)",
            "DISTINCT_SKETCH(x)",
            "MAP_SUM(x)",
        ] {
            assert_eq!(over(aggregate, &[]), Value::Null, "{aggregate}");
            assert_eq!(over(aggregate, &[Value::Null]), Value::Null, "{aggregate}");
        }
        for aggregate in ["COUNT(*)", "COUNT(x)", "COUNT(DISTINCT x)", "APPROX_DISTINCT(x)"] {
            assert_eq!(over(aggregate, &[]), Value::Int(0), "{aggregate}");
        }
    }

    #[test]
    fn a_hostile_value_spoils_nobody_elses() {
        let values = [Value::Int(2), Value::text("x"), Value::float(f64::NAN), Value::Int(1)];
        assert_eq!(over("MIN(x)", &values), Value::Int(1));
        assert_eq!(over("SUM(x)", &values), Value::Int(3));
        assert_eq!(over("AVG(x)", &values), Value::float(1.5));
        assert_eq!(over("COUNT(x)", &values), Value::Int(3));
    }

    #[test]
    fn summaries_compose_upwards() {
        assert_eq!(over("FIRST(3, x)", &[list(&[1, 2]), list(&[2, 3, 4])]), list(&[1, 2, 3]));
        assert_eq!(over("UNION(x)", &[list(&[3, 1]), Value::Int(2)]), list(&[1, 2, 3]));
        assert_eq!(over("HISTOGRAM(x, 0, 2, 2)", &[list(&[1, 2]), Value::Int(0)]), list(&[2, 2]));
        let pairs = |pairs: &[[i64; 2]]| Value::list(pairs.iter().map(|pair| list(pair)));
        let maps = [pairs(&[[1, 10], [2, 20]]), pairs(&[[2, 5]]), list(&[7])];
        assert_eq!(over("MAP_SUM(x)", &maps), pairs(&[[1, 10], [2, 25]]));
        assert_eq!(over("MAP_MIN(x)", &maps), pairs(&[[1, 10], [2, 5]]));
        assert_eq!(over("MAP_MAX(x)", &maps), pairs(&[[1, 10], [2, 20]]));
        let halves = [&ints(&[1, 2, 3])[..], &ints(&[3, 4])[..]];
        for sketch in ["BLOOM(x)", "BLOOM(x, 64)", "DISTINCT_SKETCH(x)"] {
            let below = halves.map(|half| over(sketch, half));
            assert_eq!(over(sketch, &below), over(sketch, &ints(&[1, 2, 3, 4])), "{sketch}");
        }
    }

    #[test]
    fn a_set_that_overflowed_makes_every_set_above_unknown() {
        let overflowed = over("UNION(x, 2)", &ints(&[1, 2, 3]));
        assert_eq!(overflowed, Value::list([Value::Null]));
        assert_eq!(over("UNION(x, 2)", &[overflowed.clone(), Value::Int(1)]), overflowed);
    }

    #[test]
    fn groups_are_maps_from_their_keys() {
        let sql = "SELECT v, COUNT(*) AS n, MAX(x) AS m FROM zone WHERE x > 0 GROUP BY v";
        let rows = [("b", 1), ("a", 2), ("b", 3), ("c", 0)]
            .map(|(v, x)| row(&[("v", Value::text(v)), ("x", Value::Int(x))]));
        let keyed: Vec<(&str, &Row)> = ["1", "2", "3", "4"].into_iter().zip(&rows).collect();
        let made = Function::parse(sql).unwrap().evaluate(&keyed, Budget::default()).row;
        assert_eq!(made.get("v").unwrap().to_string(), "['a', 'b']");
        assert_eq!(made.get("n").unwrap().to_string(), "[['a', 1], ['b', 2]]");
        assert_eq!(made.get("m").unwrap().to_string(), "[['a', 2], ['b', 3]]");
    }

    #[test]
    fn an_output_that_fails_takes_no_other_with_it() {
        let sql = "SELECT MIN(x) AS a, FIRST(64, x || x || x) AS b, COUNT(*) AS c FROM zone";
        let long = row(&[("x", Value::text(&"y".repeat(1000)))]);
        let function = Function::parse(sql).unwrap();
        let budget = Budget { memory_bytes: 9000, output_bytes: 1100, ..Budget::default() };
        let made = function.evaluate(&[("1", &long), ("2", &long)], budget);
        assert_eq!(made.errors, [(Name::new("b").unwrap(), EvalError::Memory)]);
        assert_eq!(made.row.len(), 2);
        assert!(made.row.encoded_bytes() <= 1100);
        let budget = Budget { output_bytes: 100, ..Budget::default() };
        let made = function.evaluate(&[("1", &long)], budget);
        assert_eq!(made.errors.len(), 2);
        assert_eq!(made.row.get("c"), Some(&Value::Int(1)));
    }

    #[test]
    fn the_order_of_the_rows_costs_nothing() {
        let rows = [1, 2, 3].map(|x| row(&[("x", Value::Int(x))]));
        let sorted: Vec<(&str, &Row)> = ["1", "2", "3"].into_iter().zip(&rows).collect();
        let reversed: Vec<(&str, &Row)> = sorted.iter().rev().copied().collect();
        let function = Function::parse("SELECT FIRST(2, x) AS y FROM zone").unwrap();
        for steps in 0..40 {
            let budget = Budget { steps, ..Budget::default() };
            assert_eq!(function.evaluate(&sorted, budget), function.evaluate(&reversed, budget));
        }
    }

    #[test]
    fn bounds_feed_on_themselves() {
        let bounds = |sql: &str| -> Vec<String> {
            let function = Function::parse(sql).unwrap();
            let told =
                |bound: &Bound| std::format!("{:?} {} {}", bound.kind, bound.output, bound.input);
            function.bounds().map(told).collect()
        };
        assert_eq!(bounds("SELECT MIN(load) AS load FROM zone"), ["Min load load"]);
        assert_eq!(bounds("SELECT MAX(COALESCE(m, x)) AS m FROM zone"), ["Max m x"]);
        assert_eq!(bounds("SELECT MIN(load) AS minload FROM zone"), [""; 0]);
        assert_eq!(bounds("SELECT MIN(COALESCE(load, m)) AS m FROM zone"), [""; 0]);
        assert_eq!(bounds("SELECT MIN(load) AS load FROM zone WHERE up"), [""; 0]);
        assert_eq!(bounds("SELECT MIN(load) AS load FROM zone GROUP BY up"), [""; 0]);
        assert_eq!(bounds("SELECT MIN(load) + 1 AS load FROM zone"), [""; 0]);
    }

    #[test]
    fn errors_name_the_cause_and_the_remedy() {
        let error = |sql: &str| Function::parse(sql).unwrap_err();
        let wrong = error("SELECT\n  MINN(load) AS load FROM zone");
        assert_eq!(wrong.kind, SqlErrorKind::UnknownFunction);
        assert_eq!(
            wrong.to_string(),
            "line 2, column 3: there is no function MINN: did you mean MIN?"
        );
        let wrong = error("SELECT load FROM zone");
        assert_eq!(wrong.kind, SqlErrorKind::BareColumn);
        assert!(wrong.to_string().contains("write MIN(load)"));
    }
}
