//! Operators on numbers, as SQLite has them: what overflows is a float, what is no number is null.

use alloc::borrow::Cow;
use alloc::format;
use alloc::string::String;

use crate::expr::{Cast, Operator};
use crate::value::{Time, Value};

/// A number of either kind.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Number {
    Int(i64),
    Float(f64),
}

impl Number {
    /// The value's number, if it is one. NaN is none.
    #[inline]
    pub(crate) fn of(value: &Value) -> Option<Self> {
        match value {
            Value::Int(int) => Some(Self::Int(*int)),
            Value::Float(float) if !float.get().is_nan() => Some(Self::Float(float.get())),
            _ => None,
        }
    }

    pub(crate) const fn to_float(self) -> f64 {
        match self {
            Self::Int(int) => int as f64,
            Self::Float(float) => float,
        }
    }

    /// Without what follows the point; ends at the ends of the range.
    pub(crate) const fn to_int(self) -> i64 {
        match self {
            Self::Int(int) => int,
            Self::Float(float) => float as i64,
        }
    }
}

/// A float as a value; NaN is null.
pub(crate) const fn float(number: f64) -> Value {
    if number.is_nan() { Value::Null } else { Value::float(number) }
}

/// Whether a value is true: numbers are unless zero, and other kinds are neither true nor false.
#[inline]
pub(crate) fn truth(value: &Value) -> Option<bool> {
    match value {
        Value::Bool(truth) => Some(*truth),
        _ => Number::of(value).map(|number| match number {
            Number::Int(int) => int != 0,
            Number::Float(float) => float != 0.0,
        }),
    }
}

/// `left operator right`, except for comparisons and `||`.
pub(crate) fn calculate(operator: Operator, left: &Value, right: &Value) -> Value {
    let time = |time: Option<Time>| time.map_or(Value::Null, Value::Time);
    match (operator, left, right) {
        (Operator::Add, Value::Time(moment), seconds) => time(moment.later(seconds)),
        (Operator::Add, seconds, Value::Time(moment)) => time(moment.later(seconds)),
        (Operator::Subtract, Value::Time(left), Value::Time(right)) => {
            left.since(*right).map_or(Value::Null, Value::Float)
        }
        (Operator::Subtract, Value::Time(moment), seconds) => time(moment.earlier(seconds)),
        _ => match (Number::of(left), Number::of(right)) {
            (Some(left), Some(right)) => numbers(operator, left, right),
            _ => Value::Null,
        },
    }
}

fn numbers(operator: Operator, left: Number, right: Number) -> Value {
    if let (Number::Int(left), Number::Int(right)) = (left, right) {
        let exact = match operator {
            Operator::Add => left.checked_add(right),
            Operator::Subtract => left.checked_sub(right),
            Operator::Multiply => left.checked_mul(right),
            Operator::Divide => left.checked_div(right),
            _ => left.checked_rem(right).or_else(|| (right == -1).then_some(0)),
        };
        if let Some(int) = exact {
            return Value::Int(int);
        }
    }
    if operator == Operator::Remainder {
        let remainder = match (left.to_int(), right.to_int()) {
            (_, 0) => return Value::Null,
            (_, -1) => 0,
            (left, right) => left % right,
        };
        return Value::float(remainder as f64);
    }
    let (left, right) = (left.to_float(), right.to_float());
    match operator {
        Operator::Add => float(left + right),
        Operator::Subtract => float(left - right),
        Operator::Multiply => float(left * right),
        _ if right == 0.0 => Value::Null,
        _ => float(left / right),
    }
}

/// `-value`.
pub(crate) fn negate(value: &Value) -> Value {
    match Number::of(value) {
        Some(Number::Int(int)) => {
            int.checked_neg().map_or_else(|| Value::float(-(int as f64)), Value::Int)
        }
        Some(Number::Float(number)) => Value::float(-number),
        None => Value::Null,
    }
}

/// To so many decimals; a half goes away from zero.
pub(crate) fn round(number: f64, decimals: i64) -> f64 {
    let decimals = usize::try_from(decimals.clamp(0, 30)).unwrap_or(0);
    if number.abs() >= 4_503_599_627_370_496.0 || !number.is_finite() {
        return number;
    }
    if decimals == 0 {
        return libm::round(number);
    }
    // A tie has one decimal more, and so at most that many binary places: then the text below is
    // exact. Rust rounds a tie to even; the next number away from zero is no tie.
    let scaled = libm::ldexp(number, i32::try_from(decimals).unwrap_or(0) + 1);
    let is_dyadic = libm::trunc(scaled) == scaled;
    let exact = format!("{number:.*}", decimals + 1);
    let away = if number < 0.0 { number.next_down() } else { number.next_up() };
    let number = if is_dyadic && exact.ends_with('5') { away } else { number };
    format!("{number:.decimals$}").parse().unwrap_or(number)
}

/// A number or text as text, for `||` and `CAST`.
pub(crate) fn to_text(value: &Value) -> Option<Cow<'_, str>> {
    match value {
        Value::Text(text) => Some(Cow::Borrowed(text)),
        _ => match Number::of(value)? {
            Number::Int(int) => Some(Cow::Owned(format!("{int}"))),
            Number::Float(float) => Some(Cow::Owned(format!("{float:?}"))),
        },
    }
}

/// `CAST`, except to text.
pub(crate) fn cast(value: &Value, cast: Cast) -> Value {
    let as_int = cast == Cast::Integer;
    match value {
        Value::Bool(truth) if as_int => Value::Int(i64::from(*truth)),
        Value::Bool(truth) => Value::float(f64::from(u8::from(*truth))),
        Value::Text(text) if as_int => Value::Int(int_at_start(text)),
        Value::Text(text) => Value::float(float_at_start(text)),
        _ => match Number::of(value) {
            Some(number) if as_int => Value::Int(number.to_int()),
            Some(number) => Value::float(number.to_float()),
            None => Value::Null,
        },
    }
}

/// What `CAST(x AS TEXT)` gives besides text.
pub(crate) fn told(value: &Value) -> Option<String> {
    match value {
        Value::Bool(truth) => Some(String::from(if *truth { "true" } else { "false" })),
        Value::Time(time) => Some(format!("{time}")),
        _ => to_text(value).map(Cow::into_owned),
    }
}

/// The whole number that a text begins with, or 0.
fn int_at_start(text: &str) -> i64 {
    let text = text.trim_start_matches(|blank: char| blank.is_ascii_whitespace());
    let (is_negative, digits) = match text.strip_prefix('-') {
        Some(digits) => (true, digits),
        None => (false, text.strip_prefix('+').unwrap_or(text)),
    };
    let digit = |byte: u8| byte.is_ascii_digit().then(|| i64::from(byte - b'0'));
    digits.bytes().map_while(digit).fold(0_i64, |int, digit| {
        let tens = int.saturating_mul(10);
        if is_negative { tens.saturating_sub(digit) } else { tens.saturating_add(digit) }
    })
}

/// The number that a text begins with, or 0.
fn float_at_start(text: &str) -> f64 {
    let text = text.trim_start_matches(|blank: char| blank.is_ascii_whitespace());
    let digits = |text: &str| text.bytes().take_while(u8::is_ascii_digit).count();
    let rest = |at: usize| text.get(at..).unwrap_or_default();
    let mut end = usize::from(text.starts_with(['+', '-']));
    let whole = digits(rest(end));
    end += whole;
    let decimals = rest(end).strip_prefix('.').map(digits);
    if whole + decimals.unwrap_or(0) == 0 {
        return 0.0;
    }
    end += decimals.map_or(0, |decimals| decimals + 1);
    if let Some(exponent) = rest(end).strip_prefix(['e', 'E']) {
        let sign = usize::from(exponent.starts_with(['+', '-']));
        let length = digits(exponent.get(sign..).unwrap_or_default());
        end += if length > 0 { 1 + sign + length } else { 0 };
    }
    text.get(..end).and_then(|text| text.parse().ok()).unwrap_or(0.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn overflow_gives_a_float_and_zero_divides_to_null() {
        let max = Value::Int(i64::MAX);
        assert_eq!(calculate(Operator::Add, &max, &Value::Int(1)), Value::float(2_f64.powi(63)));
        assert_eq!(calculate(Operator::Divide, &max, &Value::Int(0)), Value::Null);
        assert_eq!(calculate(Operator::Divide, &Value::float(1.0), &Value::Int(0)), Value::Null);
        assert_eq!(calculate(Operator::Remainder, &max, &Value::Int(0)), Value::Null);
        let min = Value::Int(i64::MIN);
        assert_eq!(
            calculate(Operator::Divide, &min, &Value::Int(-1)),
            Value::float(2_f64.powi(63))
        );
        assert_eq!(calculate(Operator::Remainder, &min, &Value::Int(-1)), Value::Int(0));
        assert_eq!(negate(&min), Value::float(2_f64.powi(63)));
    }

    #[test]
    fn infinities_that_cancel_are_null() {
        let infinite = Value::float(f64::INFINITY);
        assert_eq!(calculate(Operator::Subtract, &infinite, &infinite), Value::Null);
        assert_eq!(calculate(Operator::Add, &infinite, &infinite), infinite);
    }

    #[test]
    fn halves_round_away_from_zero() {
        assert_eq!(round(0.5, 0), 1.0);
        assert_eq!(round(-2.5, 0), -3.0);
        assert_eq!(round(0.125, 2), 0.13);
        assert_eq!(round(-0.125, 2), -0.13);
        assert_eq!(round(2.675, 2), 2.67);
        assert_eq!(round(1e300, 5), 1e300);
    }

    #[test]
    fn texts_are_numbers_as_far_as_they_go() {
        assert_eq!(int_at_start(" -12abc"), -12);
        assert_eq!(int_at_start("99999999999999999999"), i64::MAX);
        assert_eq!(float_at_start("1.5e2x"), 150.0);
        assert_eq!(float_at_start("1.5e"), 1.5);
        assert_eq!(float_at_start("."), 0.0);
        assert_eq!(float_at_start("-.5"), -0.5);
    }
}
