//! How values compare: in SQL, where different kinds do not, and for sorting, where all do.

use core::cmp::Ordering;

use crate::value::Value;

/// The least float that is above all ints; its negative is the least int.
const TWO_TO_63: f64 = 9_223_372_036_854_775_808.0;

/// The order of all values, for `MIN`, `MAX` and sorting: by kind as [`Value`] has it, except
/// that ints and floats are one kind and compare as numbers, exactly. An int comes before the
/// float of the same number.
#[inline]
pub(crate) fn total(left: &Value, right: &Value) -> Ordering {
    match (left, right) {
        (Value::Int(left), Value::Int(right)) => left.cmp(right),
        (Value::Float(left), Value::Float(right)) => left.cmp(right),
        (Value::Int(left), Value::Float(right)) => {
            int_with_float(*left, right.get()).then(Ordering::Less)
        }
        (Value::Float(left), Value::Int(right)) => {
            int_with_float(*right, left.get()).reverse().then(Ordering::Greater)
        }
        _ => left.cmp(right),
    }
}

/// The order of places in a result: as [`total`], but equal numbers tie whatever their kind.
pub(crate) fn by_place(left: &Value, right: &Value) -> Ordering {
    match (left, right) {
        (Value::Int(_), Value::Float(_)) | (Value::Float(_), Value::Int(_)) => {
            sql(left, right).unwrap_or_else(|| total(left, right))
        }
        _ => total(left, right),
    }
}

/// SQL's comparison: `None`, which is null, for null, NaN and values of different kinds.
#[inline]
pub(crate) fn sql(left: &Value, right: &Value) -> Option<Ordering> {
    match (left, right) {
        (Value::Int(left), Value::Int(right)) => Some(left.cmp(right)),
        (Value::Float(left), Value::Float(right)) => left.get().partial_cmp(&right.get()),
        (Value::Int(left), Value::Float(right)) if !right.get().is_nan() => {
            Some(int_with_float(*left, right.get()))
        }
        (Value::Float(left), Value::Int(right)) if !left.get().is_nan() => {
            Some(int_with_float(*right, left.get()).reverse())
        }
        (Value::Bool(left), Value::Bool(right)) => Some(left.cmp(right)),
        (Value::Time(left), Value::Time(right)) => Some(left.cmp(right)),
        (Value::Text(left), Value::Text(right)) => Some(left.as_bytes().cmp(right.as_bytes())),
        (Value::Bytes(left), Value::Bytes(right)) => Some(left.cmp(right)),
        (Value::List(left), Value::List(right)) => Some(left.cmp(right)),
        _ => None,
    }
}

/// Compares without rounding: 2^53 + 1 is above 2^53 as a float. NaN is above all.
fn int_with_float(int: i64, float: f64) -> Ordering {
    if float.is_nan() || float >= TWO_TO_63 {
        return Ordering::Less;
    }
    if float < -TWO_TO_63 {
        return Ordering::Greater;
    }
    let whole = libm::trunc(float);
    int.cmp(&(whole as i64))
        .then_with(|| 0.0_f64.partial_cmp(&(float - whole)).unwrap_or(Ordering::Equal))
}

/// A float that is a whole number as an int, so that 1 and 1.0 hash and group alike.
pub(crate) fn canonical(value: &Value) -> Value {
    match value {
        Value::Float(float) => {
            let number = float.get();
            let is_int = libm::trunc(number) == number && (-TWO_TO_63..TWO_TO_63).contains(&number);
            if is_int { Value::Int(number as i64) } else { value.clone() }
        }
        _ => value.clone(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_compare_exactly() {
        let large = (1_i64 << 53) + 1;
        assert_eq!(sql(&Value::Int(large), &Value::float(large as f64)), Some(Ordering::Greater));
        assert_eq!(sql(&Value::Int(1), &Value::float(1.0)), Some(Ordering::Equal));
        assert_eq!(sql(&Value::Int(-1), &Value::float(-1.5)), Some(Ordering::Greater));
        assert_eq!(sql(&Value::Int(i64::MAX), &Value::float(9.3e18)), Some(Ordering::Less));
        assert_eq!(
            sql(&Value::Int(i64::MIN), &Value::float(-f64::INFINITY)),
            Some(Ordering::Greater)
        );
    }

    #[test]
    fn different_kinds_and_nan_do_not_compare_but_sort() {
        assert_eq!(sql(&Value::Int(1), &Value::text("1")), None);
        assert_eq!(sql(&Value::float(f64::NAN), &Value::Int(1)), None);
        assert_eq!(sql(&Value::Null, &Value::Null), None);
        assert_eq!(total(&Value::float(9.0), &Value::text("1")), Ordering::Less);
        assert_eq!(total(&Value::Int(1), &Value::float(1.0)), Ordering::Less);
        assert_eq!(total(&Value::float(0.5), &Value::Int(1)), Ordering::Less);
    }

    #[test]
    fn whole_floats_are_ints() {
        assert_eq!(canonical(&Value::float(3.0)), Value::Int(3));
        assert_eq!(canonical(&Value::float(-TWO_TO_63)), Value::Int(i64::MIN));
        assert_eq!(canonical(&Value::float(TWO_TO_63)), Value::float(TWO_TO_63));
        assert_eq!(canonical(&Value::float(3.5)), Value::float(3.5));
        assert_eq!(canonical(&Value::float(f64::INFINITY)), Value::float(f64::INFINITY));
    }
}
