//! Aggregates: many rows into one value.
//!
//! Each is independent of the rows' order to the byte. Those of numbers sum exactly and round once
//! ([`sum`]); those of sets sort ([`set`]); sketches are made of maxima and of bits ([`sketch`]);
//! `FIRST` sees the rows in the order of their keys. Null counts for nothing, and so does a value
//! of a kind that the aggregate has no use for: one hostile row can't spoil the others' result.

mod set;
mod sketch;
mod sum;

use alloc::vec::Vec;

use crate::arithmetic::{Number, truth};
use crate::error::EvalError;
use crate::eval::Frame;
use crate::expr::Expr;
use crate::meter::Meter;
use crate::order;
use crate::value::Value;

pub(crate) use set::{GROUPS_MAX, map};
pub(crate) use sketch::{BLOOM_BITS_MAX, bloom_has, is_bloom};
use sum::Sum;

/// What aggregates are called.
pub(crate) const NAMES: [&str; 20] = [
    "ALL",
    "ANY",
    "APPROX_DISTINCT",
    "AVG",
    "BLOOM",
    "BOOL_AND",
    "BOOL_OR",
    "COUNT",
    "DISTINCT_SKETCH",
    "FIRST",
    "HISTOGRAM",
    "MAP_MAX",
    "MAP_MIN",
    "MAP_SUM",
    "MAX",
    "MIN",
    "STDDEV",
    "SUM",
    "TOP",
    "UNION",
];

/// One aggregate of a function.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Aggregate {
    pub(crate) fold: Fold,
    /// What it reads in each row.
    pub(crate) input: Expr,
}

/// How an aggregate makes one value of many.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Fold {
    CountRows,
    Count,
    CountDistinct,
    Min,
    Max,
    Sum,
    Average,
    /// With the weight.
    WeightedAverage(Expr),
    Deviation,
    First {
        count: usize,
        order: Option<Order>,
    },
    Any,
    All,
    Union {
        max: usize,
    },
    Histogram {
        low: f64,
        high: f64,
        buckets: usize,
    },
    ApproxDistinct,
    Sketch,
    Bloom {
        bits: usize,
    },
    MapSum,
    MapMin,
    MapMax,
}

/// What `FIRST` orders rows by, before their keys.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Order {
    pub(crate) key: Expr,
    pub(crate) is_descending: bool,
}

/// Rows as their cells: a function's columns are slots.
#[derive(Debug, Default)]
pub(crate) struct Table<'a> {
    cells: Vec<Option<&'a Value>>,
    width: usize,
    row_count: usize,
}

impl<'a> Table<'a> {
    pub(crate) fn with_capacity(width: usize, row_count: usize) -> Self {
        Self { cells: Vec::with_capacity(width * row_count), width, row_count: 0 }
    }

    pub(crate) fn push(&mut self, cells: &[Option<&'a Value>]) {
        debug_assert_eq!(cells.len(), self.width);
        self.cells.extend_from_slice(cells);
        self.row_count += 1;
    }

    /// Every row.
    pub(crate) fn frames(&self) -> impl Iterator<Item = Frame<'_>> {
        (0..self.row_count).map(|index| {
            let start = index * self.width;
            let columns = self.cells.get(start..start + self.width).unwrap_or_default();
            Frame { columns, aggregates: &[] }
        })
    }

    /// One column of every row.
    fn column(&self, slot: usize) -> impl Iterator<Item = Option<&'a Value>> {
        let rows = self.cells.chunks_exact(self.width.max(1));
        rows.map(move |cells| cells.get(slot).copied().flatten())
    }

    pub(crate) const fn row_count(&self) -> usize {
        self.row_count
    }
}

impl Aggregate {
    pub(crate) const fn new(fold: Fold, input: Expr) -> Self {
        Self { fold, input }
    }

    /// Steps per row, about.
    pub(crate) fn steps(&self) -> u32 {
        let own = match &self.fold {
            Fold::WeightedAverage(weight) => weight.steps(),
            Fold::First { order: Some(order), .. } => order.key.steps().saturating_add(8),
            Fold::First { .. } | Fold::Union { .. } | Fold::CountDistinct => 8,
            Fold::ApproxDistinct | Fold::Sketch | Fold::Bloom { .. } => 4,
            Fold::MapSum | Fold::MapMin | Fold::MapMax => 8,
            _ => 0,
        };
        own.saturating_add(self.input.steps())
    }

    /// The value over all rows of a table.
    pub(crate) fn evaluate(
        &self,
        table: &Table<'_>,
        meter: &mut Meter,
    ) -> Result<Value, EvalError> {
        match &self.fold {
            Fold::CountRows => {
                meter.step(1)?;
                Ok(count(table.row_count()))
            }
            Fold::Count => {
                let mut counted = 0;
                self.each(table, meter, |_, _| {
                    counted += 1;
                    Ok(())
                })?;
                Ok(count(counted))
            }
            Fold::CountDistinct => set::count_distinct(self, table, meter),
            Fold::Min => self.extreme(table, meter, core::cmp::Ordering::is_lt),
            Fold::Max => self.extreme(table, meter, core::cmp::Ordering::is_gt),
            Fold::Sum => Ok(self.sum(table, meter)?.0.value()),
            Fold::Average => {
                let (sum, counted) = self.sum(table, meter)?;
                Ok(sum.average(counted as f64))
            }
            Fold::WeightedAverage(weight) => self.weighted(weight, table, meter),
            Fold::Deviation => self.deviation(table, meter),
            Fold::First { count, order } => {
                set::first(&self.input, *count, order.as_ref(), table, meter)
            }
            Fold::Any => self.decide(true, table, meter),
            Fold::All => self.decide(false, table, meter),
            Fold::Union { max } => set::union(self, *max, table, meter),
            Fold::Histogram { low, high, buckets } => {
                set::histogram(self, (*low, *high, *buckets), table, meter)
            }
            Fold::ApproxDistinct => sketch::distinct(self, table, meter)
                .map(|sketch| Value::Int(sketch.map_or(0, |sketch| sketch.estimate()))),
            Fold::Sketch => sketch::distinct(self, table, meter)
                .map(|sketch| sketch.map_or(Value::Null, |sketch| sketch.value())),
            Fold::Bloom { bits } => sketch::bloom(self, *bits, table, meter),
            Fold::MapSum => set::map_sum(self, table, meter),
            Fold::MapMin => set::map_extreme(self, core::cmp::Ordering::is_lt, table, meter),
            Fold::MapMax => set::map_extreme(self, core::cmp::Ordering::is_gt, table, meter),
        }
    }

    /// Hands out the input of every row in which it is not null.
    #[inline]
    fn each(
        &self,
        table: &Table<'_>,
        meter: &mut Meter,
        mut take: impl FnMut(&Value, &mut Meter) -> Result<(), EvalError>,
    ) -> Result<(), EvalError> {
        if let Expr::Column(slot) = &self.input {
            // Most inputs are plain columns: no expression to evaluate, row by row.
            meter.step(table.row_count())?;
            for value in table.column(*slot).flatten().filter(|value| !matches!(value, Value::Null))
            {
                take(value, meter)?;
            }
            return Ok(());
        }
        for frame in table.frames() {
            self.input.with(frame, meter, |value, meter| match value {
                Value::Null => Ok(()),
                value => take(value, meter),
            })?;
        }
        Ok(())
    }

    fn extreme(
        &self,
        table: &Table<'_>,
        meter: &mut Meter,
        is_better: fn(core::cmp::Ordering) -> bool,
    ) -> Result<Value, EvalError> {
        let mut best: Option<Value> = None;
        self.each(table, meter, |value, meter| {
            meter.read(value)?;
            if best.as_ref().is_none_or(|best| is_better(order::total(value, best))) {
                best = Some(value.clone());
            }
            Ok(())
        })?;
        Ok(best.unwrap_or_default())
    }

    fn sum(&self, table: &Table<'_>, meter: &mut Meter) -> Result<(Sum, usize), EvalError> {
        let (mut sum, mut counted) = (Sum::default(), 0);
        self.each(table, meter, |value, _| {
            if let Some(number) = Number::of(value) {
                sum.add(number);
                counted += 1;
            }
            Ok(())
        })?;
        Ok((sum, counted))
    }

    /// A weight below zero counts as null: it could turn the average into anything.
    fn weighted(
        &self,
        weight: &Expr,
        table: &Table<'_>,
        meter: &mut Meter,
    ) -> Result<Value, EvalError> {
        let (mut sum, mut weights) = (Sum::default(), Sum::default());
        for frame in table.frames() {
            let number = self.input.with(frame, meter, |value, _| Ok(Number::of(value)))?;
            let weight = weight.with(frame, meter, |value, _| Ok(Number::of(value)))?;
            let (Some(number), Some(weight)) = (number, weight) else { continue };
            if weight.to_float() >= 0.0 {
                sum.add_product(number, weight);
                weights.add(weight);
            }
        }
        Ok(sum.average(weights.to_float()))
    }

    /// The population's standard deviation.
    fn deviation(&self, table: &Table<'_>, meter: &mut Meter) -> Result<Value, EvalError> {
        meter.allocate(table.row_count() * size_of::<f64>())?;
        let (mut sum, mut numbers) = (Sum::default(), Vec::new());
        self.each(table, meter, |value, _| {
            if let Some(number) = Number::of(value) {
                sum.add(number);
                numbers.push(number.to_float());
            }
            Ok(())
        })?;
        let counted = numbers.len() as f64;
        let mean = sum.to_float() / counted;
        let mut squares = Sum::default();
        for number in numbers {
            let distance = number - mean;
            squares.add(Number::Float(distance * distance));
        }
        Ok(match Number::of(&squares.average(counted)) {
            Some(variance) => crate::arithmetic::float(libm::sqrt(variance.to_float())),
            None => Value::Null,
        })
    }

    /// `ANY` looks for true, `ALL` for false.
    fn decide(
        &self,
        decides: bool,
        table: &Table<'_>,
        meter: &mut Meter,
    ) -> Result<Value, EvalError> {
        let mut result = Value::Null;
        self.each(table, meter, |value, _| {
            match truth(value) {
                Some(truth) if truth == decides => result = Value::Bool(decides),
                Some(_) if result == Value::Null => result = Value::Bool(!decides),
                _ => (),
            }
            Ok(())
        })?;
        Ok(result)
    }
}

/// The items of a list, or the value alone.
pub(crate) fn spliced(value: &Value) -> &[Value] {
    match value {
        Value::List(items) => items,
        value => core::slice::from_ref(value),
    }
}

fn count(count: usize) -> Value {
    Value::Int(i64::try_from(count).unwrap_or(i64::MAX))
}
