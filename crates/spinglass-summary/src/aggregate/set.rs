//! Aggregates that hold several values: sets, lists, histograms and maps.

use alloc::collections::{BTreeMap, BTreeSet};
use alloc::vec;
use alloc::vec::Vec;
use core::cmp::Ordering;

use crate::aggregate::sum::Sum;
use crate::aggregate::{Aggregate, Order, Table, count, spliced};
use crate::arithmetic::Number;
use crate::error::EvalError;
use crate::expr::Expr;
use crate::meter::Meter;
use crate::order;
use crate::value::Value;

/// The most groups of a `GROUP BY`, and keys of a map.
pub(crate) const GROUPS_MAX: usize = 64;

/// The most values that `COUNT(DISTINCT ..)` counts.
const DISTINCT_MAX: usize = 4096;

/// Steps to find a value's place in a set of up to [`DISTINCT_MAX`].
const FIND_STEPS: usize = 8;

/// Bytes that a value takes in a set, besides what it holds.
const ITEM_BYTES: usize = 2 * size_of::<Value>();

pub(super) fn count_distinct(
    aggregate: &Aggregate,
    table: &Table<'_>,
    meter: &mut Meter,
) -> Result<Value, EvalError> {
    let mut seen = BTreeSet::new();
    aggregate.each(table, meter, |value, meter| {
        meter.step(FIND_STEPS)?;
        meter.read(value)?;
        if seen.insert(order::canonical(value)) {
            meter.allocate(ITEM_BYTES)?;
        }
        if seen.len() > DISTINCT_MAX {
            return Err(EvalError::Distinct { max: DISTINCT_MAX });
        }
        Ok(())
    })?;
    Ok(count(seen.len()))
}

/// The distinct items, sorted. A set that holds null or a list is one that overflowed below.
pub(super) fn union(
    aggregate: &Aggregate,
    max: usize,
    table: &Table<'_>,
    meter: &mut Meter,
) -> Result<Value, EvalError> {
    let mut set: Vec<Value> = Vec::new();
    aggregate.each(table, meter, |value, meter| {
        for item in spliced(value) {
            meter.step(FIND_STEPS)?;
            meter.read(item)?;
            if matches!(item, Value::Null | Value::List(_)) {
                return Err(EvalError::Union { max });
            }
            if let Err(at) = set.binary_search_by(|own| order::total(own, item)) {
                if set.len() == max {
                    return Err(EvalError::Union { max });
                }
                meter.allocate(ITEM_BYTES)?;
                set.insert(at, item.clone());
            }
        }
        Ok(())
    })?;
    Ok(if set.is_empty() { Value::Null } else { Value::list(set) })
}

/// The first distinct items, rows in order.
pub(super) fn first(
    input: &Expr,
    count_max: usize,
    order: Option<&Order>,
    table: &Table<'_>,
    meter: &mut Meter,
) -> Result<Value, EvalError> {
    let mut list: Vec<Value> = Vec::new();
    let mut take = |value: &Value, meter: &mut Meter| -> Result<bool, EvalError> {
        for item in spliced(value) {
            if list.len() == count_max {
                return Ok(true);
            }
            meter.step(1 + list.len() / 8)?;
            meter.read(item)?;
            let is_same = |own: &Value| match order::sql(own, item) {
                Some(ordering) => ordering.is_eq(),
                None => own == item,
            };
            if *item != Value::Null && !list.iter().any(is_same) {
                meter.allocate(ITEM_BYTES)?;
                list.push(item.clone());
            }
        }
        Ok(list.len() == count_max)
    };
    match order {
        None => {
            for frame in table.frames() {
                if input.with(frame, meter, &mut take)? {
                    break;
                }
            }
        }
        Some(order) => {
            meter.allocate(table.row_count() * 2 * ITEM_BYTES)?;
            let mut keyed = Vec::with_capacity(table.row_count());
            for frame in table.frames() {
                let key = order.key.evaluate(frame, meter)?;
                meter.read(&key)?;
                meter.step(FIND_STEPS)?;
                keyed.push((key, frame));
            }
            keyed.sort_by(|(left, _), (right, _)| by_key(left, right, order.is_descending));
            for (_, frame) in keyed {
                if input.with(frame, meter, &mut take)? {
                    break;
                }
            }
        }
    }
    Ok(if list.is_empty() { Value::Null } else { Value::list(list) })
}

/// Rows without a key come last, whichever the direction.
fn by_key(left: &Value, right: &Value, is_descending: bool) -> Ordering {
    let nulls = (*left == Value::Null).cmp(&(*right == Value::Null));
    let ordering = order::by_place(left, right);
    nulls.then(if is_descending { ordering.reverse() } else { ordering })
}

/// How many numbers fall into each bucket; what is outside falls into the first or the last.
pub(super) fn histogram(
    aggregate: &Aggregate,
    (low, high, buckets): (f64, f64, usize),
    table: &Table<'_>,
    meter: &mut Meter,
) -> Result<Value, EvalError> {
    let mut counts = vec![0_i64; buckets];
    let mut is_empty = true;
    meter.allocate(buckets * (size_of::<i64>() + size_of::<Value>()))?;
    aggregate.each(table, meter, |value, meter| {
        if let Some(number) = Number::of(value) {
            let share = (number.to_float() - low) / (high - low);
            let bucket = (share * buckets as f64) as usize;
            if let Some(counted) = counts.get_mut(bucket.min(buckets - 1)) {
                *counted = counted.saturating_add(1);
                is_empty = false;
            }
        } else if let Value::List(items) = value {
            meter.step(items.len())?;
            let below = |item: &Value| item.as_int().filter(|counted| *counted >= 0);
            let is_histogram =
                items.len() == buckets && items.iter().all(|item| below(item).is_some());
            if is_histogram {
                is_empty = false;
                for (counted, item) in counts.iter_mut().zip(items.iter()) {
                    *counted = counted.saturating_add(below(item).unwrap_or(0));
                }
            }
        }
        Ok(())
    })?;
    Ok(if is_empty { Value::Null } else { Value::list(counts.into_iter().map(Value::Int)) })
}

pub(super) fn map_sum(
    aggregate: &Aggregate,
    table: &Table<'_>,
    meter: &mut Meter,
) -> Result<Value, EvalError> {
    let sums = merged::<Sum>(aggregate, table, meter, |sum, value| {
        if let Some(number) = Number::of(value) {
            sum.add(number);
        }
    })?;
    Ok(map(sums.into_iter().map(|(key, sum)| (key, sum.value()))))
}

pub(super) fn map_extreme(
    aggregate: &Aggregate,
    is_better: fn(Ordering) -> bool,
    table: &Table<'_>,
    meter: &mut Meter,
) -> Result<Value, EvalError> {
    let best = merged::<Value>(aggregate, table, meter, |best, value| {
        if *best == Value::Null || is_better(order::total(value, best)) {
            *best = value.clone();
        }
    })?;
    Ok(map(best.into_iter()))
}

/// Merges maps key by key. What is no pair of a key and a value in a list counts for nothing.
fn merged<State: Default>(
    aggregate: &Aggregate,
    table: &Table<'_>,
    meter: &mut Meter,
    mut merge: impl FnMut(&mut State, &Value),
) -> Result<BTreeMap<Value, State>, EvalError> {
    let mut states: BTreeMap<Value, State> = BTreeMap::new();
    aggregate.each(table, meter, |map, meter| {
        for pair in map.as_list().unwrap_or_default() {
            meter.step(FIND_STEPS)?;
            let Some([key, value]) = pair.as_list() else { continue };
            meter.read(pair)?;
            if *value == Value::Null {
                continue;
            }
            let key = order::canonical(key);
            if !states.contains_key(&key) {
                meter.allocate(ITEM_BYTES + size_of::<State>())?;
                if states.len() == GROUPS_MAX {
                    return Err(EvalError::Groups { max: GROUPS_MAX });
                }
            }
            merge(states.entry(key).or_default(), value);
        }
        Ok(())
    })?;
    Ok(states)
}

/// Pairs as a list, sorted by key; null if there is none.
pub(crate) fn map(pairs: impl Iterator<Item = (Value, Value)>) -> Value {
    let mut pairs: Vec<(Value, Value)> = pairs.filter(|(_, value)| *value != Value::Null).collect();
    pairs.sort_by(|(left, _), (right, _)| order::total(left, right));
    if pairs.is_empty() {
        return Value::Null;
    }
    Value::list(pairs.into_iter().map(|(key, value)| Value::list([key, value])))
}
