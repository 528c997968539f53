//! Expressions into values, one row at a time.
//!
//! Values are borrowed from the row or the text where they can be, so that an evaluation without
//! texts to make allocates nothing. Every node costs a step, and what it reads or makes costs more.

use alloc::borrow::Cow;
use alloc::string::String;
use alloc::vec::Vec;
use core::cmp::Ordering;

use crate::apply;
use crate::arithmetic::{calculate, cast, negate, to_text, told, truth};
use crate::error::EvalError;
use crate::expr::{Cast, Expr, Is, Operator};
use crate::like;
use crate::meter::Meter;
use crate::order;
use crate::value::{LIST_DEPTH_MAX, Value};

/// What an expression reads: a row's columns, by slot, or a function's aggregates, by index.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Frame<'a> {
    pub(crate) columns: &'a [Option<&'a Value>],
    pub(crate) aggregates: &'a [Value],
}

/// A value or why there is none.
pub(crate) type Evaluated<'a> = Result<Cow<'a, Value>, EvalError>;

const fn made<'a>(value: Value) -> Evaluated<'a> {
    Ok(Cow::Owned(value))
}

fn known<'a>(truth: Option<bool>) -> Evaluated<'a> {
    made(truth.map_or(Value::Null, Value::Bool))
}

/// What a column without a value reads as.
static NULL: Value = Value::Null;

impl Expr {
    /// The value in a frame.
    #[inline]
    pub(crate) fn evaluate<'a>(&'a self, frame: Frame<'a>, meter: &mut Meter) -> Evaluated<'a> {
        match self.leaf(frame) {
            Some(value) => {
                meter.step(1)?;
                Ok(Cow::Borrowed(value))
            }
            None => self.evaluate_node(frame, meter),
        }
    }

    /// Hands the value in a frame to `take`. Most operands are columns and literals, and those
    /// are not moved about.
    #[inline]
    pub(crate) fn with<T>(
        &self,
        frame: Frame<'_>,
        meter: &mut Meter,
        take: impl FnOnce(&Value, &mut Meter) -> Result<T, EvalError>,
    ) -> Result<T, EvalError> {
        match self.leaf(frame) {
            Some(value) => {
                meter.step(1)?;
                take(value, meter)
            }
            None => {
                let value = self.evaluate_node(frame, meter)?;
                take(&value, meter)
            }
        }
    }

    /// The value of what need not be evaluated.
    #[inline]
    fn leaf<'a>(&'a self, frame: Frame<'a>) -> Option<&'a Value> {
        match self {
            Self::Column(slot) => {
                Some(frame.columns.get(*slot).copied().flatten().unwrap_or(&NULL))
            }
            Self::Aggregate(index) => Some(frame.aggregates.get(*index).unwrap_or(&NULL)),
            Self::Literal(value) => Some(value),
            _ => None,
        }
    }

    fn evaluate_node<'a>(&'a self, frame: Frame<'a>, meter: &mut Meter) -> Evaluated<'a> {
        match self {
            Self::Column(_) | Self::Aggregate(_) | Self::Literal(_) => self.evaluate(frame, meter),
            Self::Not(_)
            | Self::And(_)
            | Self::Or(_)
            | Self::Is { .. }
            | Self::In { .. }
            | Self::Between { .. }
            | Self::Like { .. } => known(self.truth(frame, meter)?),
            _ => {
                meter.step(1)?;
                self.compute(frame, meter)
            }
        }
    }

    /// The value of what has operands and is not only true or false.
    fn compute<'a>(&'a self, frame: Frame<'a>, meter: &mut Meter) -> Evaluated<'a> {
        match self {
            Self::Negate(operand) => operand.with(frame, meter, |value, _| made(negate(value))),
            Self::Chain(first, rest) => made(chain(first, rest, frame, meter)?),
            Self::Case { operand, arms, otherwise } => {
                case(operand.as_deref(), arms, otherwise.as_deref(), frame, meter)
            }
            Self::Call(scalar, arguments) => apply::call(*scalar, arguments, frame, meter),
            Self::Cast(operand, to) => operand.with(frame, meter, |value, meter| {
                meter.read(value)?;
                if *to != Cast::Text {
                    return made(cast(value, *to));
                }
                let Some(text) = told(value) else { return made(Value::Null) };
                meter.compose(text.len())?;
                made(Value::text(&text))
            }),
            Self::Extract(part, operand) => operand.with(frame, meter, |value, _| match value {
                Value::Time(time) => made(time.part(*part)),
                _ => made(Value::Null),
            }),
            Self::List(items) => list(items, frame, meter),
            _ => made(Value::Null),
        }
    }

    /// Whether it is true; `None` if that is unknown.
    pub(crate) fn truth(
        &self,
        frame: Frame<'_>,
        meter: &mut Meter,
    ) -> Result<Option<bool>, EvalError> {
        let (truth, is_negated) = match self {
            Self::Not(operand) => {
                meter.step(1)?;
                (operand.truth(frame, meter)?, true)
            }
            Self::And(parts) => (until(parts, false, frame, meter)?, false),
            Self::Or(parts) => (until(parts, true, frame, meter)?, false),
            Self::Chain(left, rest) => match &**rest {
                [(Operator::Compare(comparison), right)] => {
                    meter.step(1)?;
                    let ordering = compare_two(left, right, frame, meter)?;
                    (ordering.map(|ordering| comparison.holds(ordering)), false)
                }
                _ => (self.with(frame, meter, |value, _| Ok(truth(value)))?, false),
            },
            Self::Is { operand, what, negated } => {
                meter.step(1)?;
                let is = operand.with(frame, meter, |value, _| {
                    Ok(match what {
                        Is::Null => *value == Value::Null,
                        Is::True => truth(value) == Some(true),
                        Is::False => truth(value) == Some(false),
                    })
                })?;
                (Some(is), *negated)
            }
            Self::In { operand, items, negated } => {
                (is_in(operand, items, frame, meter)?, *negated)
            }
            Self::Between { parts, negated } => (is_between(parts, frame, meter)?, *negated),
            Self::Like { parts, escape, negated } => {
                (is_like(parts, *escape, frame, meter)?, *negated)
            }
            _ => (self.with(frame, meter, |value, _| Ok(truth(value)))?, false),
        };
        Ok(truth.map(|truth| truth != is_negated))
    }
}

/// `AND` and `OR`: ends at the first part that decides.
fn until(
    parts: &[Expr],
    decides: bool,
    frame: Frame<'_>,
    meter: &mut Meter,
) -> Result<Option<bool>, EvalError> {
    meter.step(1)?;
    let mut result = Some(!decides);
    for part in parts {
        match part.truth(frame, meter)? {
            Some(truth) if truth == decides => return Ok(Some(decides)),
            Some(_) => (),
            None => result = None,
        }
    }
    Ok(result)
}

/// Operators of one precedence, from left to right.
fn chain(
    first: &Expr,
    rest: &[(Operator, Expr)],
    frame: Frame<'_>,
    meter: &mut Meter,
) -> Result<Value, EvalError> {
    let Some(((operator, second), rest)) = rest.split_first() else {
        return first.with(frame, meter, |value, _| Ok(value.clone()));
    };
    let mut left = first.with(frame, meter, |left, meter| {
        second.with(frame, meter, |right, meter| binary(*operator, left, right, meter))
    })?;
    for (operator, next) in rest {
        left = next.with(frame, meter, |right, meter| binary(*operator, &left, right, meter))?;
    }
    Ok(left)
}

fn binary(
    operator: Operator,
    left: &Value,
    right: &Value,
    meter: &mut Meter,
) -> Result<Value, EvalError> {
    match operator {
        Operator::Compare(comparison) => {
            let ordering = compare(left, right, meter)?;
            let holds = ordering.map(|ordering| comparison.holds(ordering));
            Ok(holds.map_or(Value::Null, Value::Bool))
        }
        Operator::Join => join(left, right, meter),
        _ => Ok(calculate(operator, left, right)),
    }
}

/// SQL's comparison, with the steps to read what is compared.
#[inline]
pub(crate) fn compare(
    left: &Value,
    right: &Value,
    meter: &mut Meter,
) -> Result<Option<Ordering>, EvalError> {
    meter.read(left)?;
    Ok(order::sql(left, right))
}

fn compare_two(
    left: &Expr,
    right: &Expr,
    frame: Frame<'_>,
    meter: &mut Meter,
) -> Result<Option<Ordering>, EvalError> {
    left.with(frame, meter, |left, meter| {
        right.with(frame, meter, |right, meter| compare(left, right, meter))
    })
}

fn join(left: &Value, right: &Value, meter: &mut Meter) -> Result<Value, EvalError> {
    let (Some(left), Some(right)) = (to_text(left), to_text(right)) else {
        return Ok(Value::Null);
    };
    meter.compose(left.len() + right.len())?;
    let mut text = String::with_capacity(left.len() + right.len());
    text.push_str(&left);
    text.push_str(&right);
    Ok(Value::text(&text))
}

fn is_in(
    operand: &Expr,
    items: &[Expr],
    frame: Frame<'_>,
    meter: &mut Meter,
) -> Result<Option<bool>, EvalError> {
    meter.step(1)?;
    operand.with(frame, meter, |value, meter| {
        let mut result = Some(false);
        for item in items {
            let ordering = item.with(frame, meter, |item, meter| compare(value, item, meter))?;
            match ordering {
                Some(ordering) if ordering.is_eq() => return Ok(Some(true)),
                Some(_) => (),
                None => result = None,
            }
        }
        Ok(result)
    })
}

fn is_between(
    parts: &[Expr; 3],
    frame: Frame<'_>,
    meter: &mut Meter,
) -> Result<Option<bool>, EvalError> {
    let [operand, low, high] = parts;
    meter.step(1)?;
    let (low, high) = operand.with(frame, meter, |value, meter| {
        let low = low.with(frame, meter, |low, meter| compare(value, low, meter))?;
        let high = high.with(frame, meter, |high, meter| compare(value, high, meter))?;
        Ok((low, high))
    })?;
    Ok(match (low.map(Ordering::is_ge), high.map(Ordering::is_le)) {
        (Some(false), _) | (_, Some(false)) => Some(false),
        (Some(true), Some(true)) => Some(true),
        _ => None,
    })
}

fn is_like(
    parts: &[Expr; 2],
    escape: Option<char>,
    frame: Frame<'_>,
    meter: &mut Meter,
) -> Result<Option<bool>, EvalError> {
    let [text, pattern] = parts;
    meter.step(1)?;
    text.with(frame, meter, |text, meter| {
        pattern.with(frame, meter, |pattern, meter| match (text, pattern) {
            (Value::Text(text), Value::Text(pattern)) => {
                like::matches(text, pattern, escape, meter).map(Some)
            }
            _ => Ok(None),
        })
    })
}

fn case<'a>(
    operand: Option<&'a Expr>,
    arms: &'a [(Expr, Expr)],
    otherwise: Option<&'a Expr>,
    frame: Frame<'a>,
    meter: &mut Meter,
) -> Evaluated<'a> {
    let value = operand.map(|operand| operand.evaluate(frame, meter)).transpose()?;
    for (when, then) in arms {
        let is_met = match &value {
            None => when.truth(frame, meter)? == Some(true),
            Some(value) => {
                let ordering =
                    when.with(frame, meter, |when, meter| compare(value, when, meter))?;
                ordering.is_some_and(Ordering::is_eq)
            }
        };
        if is_met {
            return then.evaluate(frame, meter);
        }
    }
    otherwise.map_or_else(|| made(Value::Null), |otherwise| otherwise.evaluate(frame, meter))
}

fn list<'a>(items: &'a [Expr], frame: Frame<'a>, meter: &mut Meter) -> Evaluated<'a> {
    meter.allocate(items.len() * size_of::<Value>())?;
    let mut values = Vec::with_capacity(items.len());
    for item in items {
        let value = item.evaluate(frame, meter)?;
        meter.read(&value)?;
        if value.depth() >= LIST_DEPTH_MAX {
            return Err(EvalError::Depth { max: LIST_DEPTH_MAX });
        }
        values.push(value.into_owned());
    }
    made(Value::list(values))
}
