//! What each function of one row gives.

use alloc::borrow::Cow;
use alloc::string::String;

use crate::aggregate::bloom_has;
use crate::arithmetic::{Number, float, round};
use crate::error::EvalError;
use crate::eval::{Evaluated, Frame, compare};
use crate::expr::Expr;
use crate::meter::Meter;
use crate::scalar::Scalar;
use crate::value::Value;

/// The value of a call. Null and values of the wrong kind give null, except where the function is
/// about them.
pub(crate) fn call<'a>(
    scalar: Scalar,
    arguments: &'a [Expr],
    frame: Frame<'a>,
    meter: &mut Meter,
) -> Evaluated<'a> {
    meter.step(scalar.steps() as usize)?;
    let at = |index: usize, meter: &mut Meter| match arguments.get(index) {
        Some(argument) => argument.evaluate(frame, meter),
        None => Ok(Cow::Owned(Value::Null)),
    };
    match scalar {
        Scalar::Coalesce => {
            for argument in arguments {
                let value = argument.evaluate(frame, meter)?;
                if *value != Value::Null {
                    return Ok(value);
                }
            }
            Ok(Cow::Owned(Value::Null))
        }
        Scalar::Least | Scalar::Greatest => extreme(scalar, arguments, frame, meter),
        Scalar::NullIf => {
            let (value, other) = (at(0, meter)?, at(1, meter)?);
            let is_equal = compare(&value, &other, meter)?.is_some_and(|ordering| ordering.is_eq());
            Ok(if is_equal { Cow::Owned(Value::Null) } else { value })
        }
        Scalar::Element => element(at(0, meter)?, &*at(1, meter)?),
        _ => {
            let first = at(0, meter)?;
            meter.read(&first)?;
            let second = at(1, meter)?;
            meter.read(&second)?;
            let made = match scalar {
                Scalar::Replace | Scalar::Substr | Scalar::Trim | Scalar::Lower | Scalar::Upper => {
                    let third = at(2, meter)?;
                    let has_third = arguments.len() > 2;
                    let has_second = arguments.len() > 1;
                    let second = has_second.then_some(&*second);
                    text(scalar, &first, second, has_third.then_some(&*third), meter)?
                }
                Scalar::Contains => contains(&first, &second, meter)?,
                Scalar::Round if arguments.len() > 1 && *second == Value::Null => Value::Null,
                _ => plain(scalar, &first, &second),
            };
            Ok(Cow::Owned(made))
        }
    }
}

/// `LEAST` and `GREATEST`: null if any value is null or of another kind. Of an int and a float
/// that are equal, `LEAST` takes the last and `GREATEST` the first, as SQLite does.
fn extreme<'a>(
    scalar: Scalar,
    arguments: &'a [Expr],
    frame: Frame<'a>,
    meter: &mut Meter,
) -> Evaluated<'a> {
    let mut best: Option<Cow<'a, Value>> = None;
    for argument in arguments {
        let value = argument.evaluate(frame, meter)?;
        let Some(held) = &best else {
            best = Some(value);
            continue;
        };
        let Some(ordering) = compare(&value, held, meter)? else {
            return Ok(Cow::Owned(Value::Null));
        };
        if if scalar == Scalar::Least { ordering.is_le() } else { ordering.is_gt() } {
            best = Some(value);
        }
    }
    Ok(best.unwrap_or(Cow::Owned(Value::Null)))
}

/// An item of a list, counted from 1, or from the end with -1.
fn element<'a>(list: Cow<'a, Value>, index: &Value) -> Evaluated<'a> {
    let item = |items: &[Value]| {
        let index = Number::of(index)?.to_int();
        let from_start = usize::try_from(index.checked_sub(1)?).ok();
        let from_end = || usize::try_from(index.checked_neg()?).ok().filter(|back| *back > 0);
        let from_end = || items.len().checked_sub(from_end()?);
        from_start.or_else(from_end).filter(|at| *at < items.len())
    };
    let at = list.as_list().and_then(item);
    let Some(at) = at else { return Ok(Cow::Owned(Value::Null)) };
    Ok(match list {
        Cow::Borrowed(Value::List(items)) => {
            items.get(at).map_or(Cow::Owned(Value::Null), Cow::Borrowed)
        }
        list => {
            Cow::Owned(list.as_list().and_then(|items| items.get(at)).cloned().unwrap_or_default())
        }
    })
}

/// Whether a list has an item, or a text has a part. Null within a list is an unknown item.
fn contains(whole: &Value, part: &Value, meter: &mut Meter) -> Result<Value, EvalError> {
    match (whole, part) {
        (_, Value::Null) => Ok(Value::Null),
        (Value::Text(text), Value::Text(part)) => Ok(Value::Bool(text.contains(&**part))),
        (Value::List(items), part) => {
            let mut missing = Value::Bool(false);
            for item in items.iter() {
                meter.step(1)?;
                if compare(part, item, meter)?.is_some_and(|ordering| ordering.is_eq()) {
                    return Ok(Value::Bool(true));
                }
                if *item == Value::Null {
                    missing = Value::Null;
                }
            }
            Ok(missing)
        }
        _ => Ok(Value::Null),
    }
}

/// Functions that make no text.
fn plain(scalar: Scalar, first: &Value, second: &Value) -> Value {
    let number = Number::of(first);
    let real = |function: fn(f64) -> f64| {
        number.map_or(Value::Null, |number| float(function(number.to_float())))
    };
    let whole = |function: fn(f64) -> f64| match number {
        Some(Number::Int(int)) => Value::Int(int),
        _ => real(function),
    };
    match scalar {
        Scalar::Abs => match number {
            Some(Number::Int(int)) => {
                int.checked_abs().map_or_else(|| Value::float((int as f64).abs()), Value::Int)
            }
            _ => real(f64::abs),
        },
        Scalar::Ceil => whole(libm::ceil),
        Scalar::Floor => whole(libm::floor),
        Scalar::Exp => real(libm::exp),
        Scalar::Ln => match number {
            Some(number) if number.to_float() > 0.0 => real(libm::log),
            _ => Value::Null,
        },
        Scalar::Sqrt => real(libm::sqrt),
        Scalar::Pow => match (number, Number::of(second)) {
            (Some(base), Some(exponent)) => float(libm::pow(base.to_float(), exponent.to_float())),
            _ => Value::Null,
        },
        Scalar::Round => number.map_or(Value::Null, |number| {
            let decimals = Number::of(second).map_or(0, Number::to_int);
            float(round(number.to_float(), decimals))
        }),
        Scalar::Length => match first {
            Value::Text(text) => count(text.chars().count()),
            Value::Bytes(bytes) => count(bytes.len()),
            Value::List(items) => count(items.len()),
            _ => Value::Null,
        },
        Scalar::StartsWith => match (first, second) {
            (Value::Text(text), Value::Text(start)) => Value::Bool(text.starts_with(&**start)),
            _ => Value::Null,
        },
        Scalar::TimeBucket => match second {
            Value::Time(time) => time.bucket(first).map_or(Value::Null, Value::Time),
            _ => Value::Null,
        },
        Scalar::TypeOf => Value::text(first.kind()),
        Scalar::BloomHas => match (first, second) {
            (_, Value::Null) => Value::Null,
            (Value::Bytes(filter), value) => {
                bloom_has(filter, value).map_or(Value::Null, Value::Bool)
            }
            _ => Value::Null,
        },
        _ => Value::Null,
    }
}

fn count(count: usize) -> Value {
    Value::Int(i64::try_from(count).unwrap_or(i64::MAX))
}

/// Functions that make text of text.
fn text(
    scalar: Scalar,
    first: &Value,
    second: Option<&Value>,
    third: Option<&Value>,
    meter: &mut Meter,
) -> Result<Value, EvalError> {
    let Value::Text(text) = first else { return Ok(Value::Null) };
    let made = match (scalar, second, third) {
        (Scalar::Lower, ..) => {
            meter.compose(text.len())?;
            return Ok(Value::text(&text.to_ascii_lowercase()));
        }
        (Scalar::Upper, ..) => {
            meter.compose(text.len())?;
            return Ok(Value::text(&text.to_ascii_uppercase()));
        }
        // As SQLite has it: where nothing is to be replaced, it is nothing what by.
        (Scalar::Replace, Some(Value::Text(old)), _) if old.is_empty() => &**text,
        (Scalar::Replace, Some(Value::Text(old)), Some(Value::Text(new))) => {
            return replace(text, old, new, meter);
        }
        (Scalar::Trim, None, _) => text.trim_matches(' '),
        (Scalar::Trim, Some(Value::Text(set)), _) => {
            meter.step((text.len() + 1) * (set.len() / 8))?;
            text.trim_matches(|character| set.contains(character))
        }
        (Scalar::Substr, Some(start), length) => {
            let Some(start) = Number::of(start) else { return Ok(Value::Null) };
            let length = match length.map(Number::of) {
                None => None,
                Some(Some(length)) => Some(length.to_int()),
                Some(None) => return Ok(Value::Null),
            };
            substr(text, start.to_int(), length)
        }
        _ => return Ok(Value::Null),
    };
    meter.allocate(made.len())?;
    Ok(Value::text(made))
}

/// Makes room for the text before it makes the text.
fn replace(text: &str, old: &str, new: &str, meter: &mut Meter) -> Result<Value, EvalError> {
    let found = text.matches(old).count();
    meter.step(found)?;
    let kept = text.len().saturating_sub(found.saturating_mul(old.len()));
    let bytes = kept.saturating_add(found.saturating_mul(new.len()));
    meter.compose(bytes)?;
    let mut made = String::with_capacity(bytes);
    for (index, part) in text.split(old).enumerate() {
        if index > 0 {
            made.push_str(new);
        }
        made.push_str(part);
    }
    Ok(Value::text(&made))
}

/// SQLite's `substr`: characters from 1, or from the end if below 0; a length below 0 takes the
/// characters before, and without a length it is all to the end.
fn substr(text: &str, start: i64, length: Option<i64>) -> &str {
    // Farther than any sum of two ints, so that nothing overflows and none means the end.
    const END: i128 = 1 << 65;
    let (mut start, mut length) = (i128::from(start), length.map_or(END, i128::from));
    if start < 0 {
        start += text.chars().count() as i128;
        if start < 0 {
            length = if length < 0 { 0 } else { length + start };
            start = 0;
        }
    } else if start > 0 {
        start -= 1;
    } else if length > 0 {
        length -= 1;
    }
    if length < 0 {
        length = start.min(-length);
        start -= length;
    }
    let byte = |text: &str, characters: i128| {
        let characters = usize::try_from(characters).unwrap_or(usize::MAX);
        text.char_indices().nth(characters).map_or(text.len(), |(at, _)| at)
    };
    let rest = text.get(byte(text, start)..).unwrap_or_default();
    rest.get(..byte(rest, length)).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_of_texts_are_sqlites() {
        assert_eq!(substr("abcdef", 2, Some(3)), "bcd");
        assert_eq!(substr("abcdef", -2, Some(5)), "ef");
        assert_eq!(substr("abcdef", 0, Some(3)), "ab");
        assert_eq!(substr("abcdef", 4, Some(-2)), "bc");
        assert_eq!(substr("abcdef", -10, Some(6)), "ab");
        assert_eq!(substr("abcdef", i64::MIN, None), "abcdef");
        assert_eq!(substr("äöü", 2, Some(1)), "ö");
        assert_eq!(substr("abc", i64::MIN, Some(i64::MIN)), "");
        assert_eq!(substr("abc", i64::MAX, Some(3 - i64::MAX)), "c");
        assert_eq!(substr("abc", i64::MAX, Some(i64::MAX)), "");
    }

    #[test]
    fn items_count_from_either_end() {
        let list = Value::list([1, 2, 3].map(Value::Int));
        let item = |index| element(Cow::Borrowed(&list), &Value::Int(index)).unwrap().into_owned();
        assert_eq!(item(1), Value::Int(1));
        assert_eq!(item(-1), Value::Int(3));
        assert_eq!(item(0), Value::Null);
        assert_eq!(item(4), Value::Null);
        assert_eq!(item(-4), Value::Null);
        assert_eq!(item(i64::MIN), Value::Null);
    }
}
