//! Expressions into values, one row at a time.
//!
//! Values are borrowed from the row or the text where they can be, so that an evaluation without
//! texts to make allocates nothing. Every node costs a step, and what it reads or makes costs more.

use alloc::borrow::Cow;
use alloc::string::String;
use alloc::vec::Vec;

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

impl Expr {
    /// The value in a frame.
    #[inline]
    pub(crate) fn evaluate<'a>(&'a self, frame: Frame<'a>, meter: &mut Meter) -> Evaluated<'a> {
        match self {
            Self::Column(slot) => {
                meter.step(1)?;
                let value = frame.columns.get(*slot).copied().flatten();
                Ok(value.map_or(Cow::Owned(Value::Null), Cow::Borrowed))
            }
            Self::Literal(value) => {
                meter.step(1)?;
                Ok(Cow::Borrowed(value))
            }
            _ => self.evaluate_node(frame, meter),
        }
    }

    /// Whether it is true; `None` if that is unknown.
    #[inline]
    pub(crate) fn truth(
        &self,
        frame: Frame<'_>,
        meter: &mut Meter,
    ) -> Result<Option<bool>, EvalError> {
        Ok(truth(&*self.evaluate(frame, meter)?))
    }

    fn evaluate_node<'a>(&'a self, frame: Frame<'a>, meter: &mut Meter) -> Evaluated<'a> {
        meter.step(1)?;
        match self {
            Self::Literal(value) => Ok(Cow::Borrowed(value)),
            Self::Column(_) => self.evaluate(frame, meter),
            Self::Aggregate(index) => {
                let value = frame.aggregates.get(*index);
                Ok(value.map_or(Cow::Owned(Value::Null), Cow::Borrowed))
            }
            Self::Negate(operand) => made(negate(&*operand.evaluate(frame, meter)?)),
            Self::Not(operand) => known(operand.truth(frame, meter)?.map(|truth| !truth)),
            Self::And(parts) => known(until(parts, false, frame, meter)?),
            Self::Or(parts) => known(until(parts, true, frame, meter)?),
            Self::Chain(first, rest) => chain(first, rest, frame, meter),
            Self::Is { operand, what, negated } => {
                let value = operand.evaluate(frame, meter)?;
                let is = match what {
                    Is::Null => *value == Value::Null,
                    Is::True => truth(&value) == Some(true),
                    Is::False => truth(&value) == Some(false),
                };
                made(Value::Bool(is != *negated))
            }
            Self::In { operand, items, negated } => {
                let found = is_in(operand, items, frame, meter)?;
                known(found.map(|found| found != *negated))
            }
            Self::Between { parts, negated } => {
                let between = is_between(parts, frame, meter)?;
                known(between.map(|between| between != *negated))
            }
            Self::Like { parts, escape, negated } => {
                let [text, pattern] = &**parts;
                let (text, pattern) =
                    (text.evaluate(frame, meter)?, pattern.evaluate(frame, meter)?);
                let (Value::Text(text), Value::Text(pattern)) = (&*text, &*pattern) else {
                    return made(Value::Null);
                };
                let is_like = like::matches(text, pattern, *escape, meter)?;
                made(Value::Bool(is_like != *negated))
            }
            Self::Case { operand, arms, otherwise } => {
                case(operand.as_deref(), arms, otherwise.as_deref(), frame, meter)
            }
            Self::Call(scalar, arguments) => apply::call(*scalar, arguments, frame, meter),
            Self::Cast(operand, to) => {
                let value = operand.evaluate(frame, meter)?;
                meter.read(&value)?;
                if *to != Cast::Text {
                    return made(cast(&value, *to));
                }
                let Some(text) = told(&value) else { return made(Value::Null) };
                meter.allocate(text.len())?;
                made(Value::text(&text))
            }
            Self::Extract(part, operand) => match &*operand.evaluate(frame, meter)? {
                Value::Time(time) => made(time.part(*part)),
                _ => made(Value::Null),
            },
            Self::List(items) => list(items, frame, meter),
        }
    }
}

/// `AND` and `OR`: ends at the first part that decides.
fn until(
    parts: &[Expr],
    decides: bool,
    frame: Frame<'_>,
    meter: &mut Meter,
) -> Result<Option<bool>, EvalError> {
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

fn chain<'a>(
    first: &'a Expr,
    rest: &'a [(Operator, Expr)],
    frame: Frame<'a>,
    meter: &mut Meter,
) -> Evaluated<'a> {
    let mut left = first.evaluate(frame, meter)?;
    for (operator, next) in rest {
        let right = next.evaluate(frame, meter)?;
        left = Cow::Owned(match operator {
            Operator::Compare(comparison) => {
                let ordering = compare(&left, &right, meter)?;
                let holds = ordering.map(|ordering| comparison.holds(ordering));
                holds.map_or(Value::Null, Value::Bool)
            }
            Operator::Join => join(&left, &right, meter)?,
            _ => calculate(*operator, &left, &right),
        });
    }
    Ok(left)
}

/// SQL's comparison, with the steps to read what is compared.
#[inline]
pub(crate) fn compare(
    left: &Value,
    right: &Value,
    meter: &mut Meter,
) -> Result<Option<core::cmp::Ordering>, EvalError> {
    meter.read(left)?;
    Ok(order::sql(left, right))
}

fn join(left: &Value, right: &Value, meter: &mut Meter) -> Result<Value, EvalError> {
    let (Some(left), Some(right)) = (to_text(left), to_text(right)) else {
        return Ok(Value::Null);
    };
    meter.allocate(left.len() + right.len())?;
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
    let value = operand.evaluate(frame, meter)?;
    let mut result = Some(false);
    for item in items {
        match compare(&value, &*item.evaluate(frame, meter)?, meter)? {
            Some(ordering) if ordering.is_eq() => return Ok(Some(true)),
            Some(_) => (),
            None => result = None,
        }
    }
    Ok(result)
}

fn is_between(
    parts: &[Expr; 3],
    frame: Frame<'_>,
    meter: &mut Meter,
) -> Result<Option<bool>, EvalError> {
    let [operand, low, high] = parts;
    let value = operand.evaluate(frame, meter)?;
    let above = compare(&value, &*low.evaluate(frame, meter)?, meter)?.map(|low| low.is_ge());
    let below = compare(&value, &*high.evaluate(frame, meter)?, meter)?.map(|high| high.is_le());
    Ok(match (above, below) {
        (Some(false), _) | (_, Some(false)) => Some(false),
        (Some(true), Some(true)) => Some(true),
        _ => None,
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
                let when = when.evaluate(frame, meter)?;
                compare(value, &when, meter)?.is_some_and(core::cmp::Ordering::is_eq)
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
