//! Sums that are exact until they are told: so no order of the rows gives another one.
//!
//! Ints add up in 128 bits. A float is a whole number of 2^-1074, the least float; such numbers
//! add up in an integer of 2176 bits, which holds every float and has room for 2^31 of the largest
//! ones. Rounding comes last, once, to the nearest, a tie to even.

use crate::arithmetic::{Number, float};
use crate::value::Value;

/// Digits of 32 bits.
const DIGITS: usize = 68;

/// The bit that is worth 1.
const ONE_BIT: usize = 1074;

/// An exact sum.
#[derive(Debug, Clone, Default)]
pub(super) struct Sum {
    ints: i128,
    floats: Option<Accumulator>,
    has_some: bool,
    has_infinity: bool,
    has_negative_infinity: bool,
}

impl Sum {
    #[inline]
    pub(super) fn add(&mut self, number: Number) {
        self.has_some = true;
        match number {
            Number::Int(int) => self.ints += i128::from(int),
            Number::Float(number) if number.is_finite() => {
                self.floats.get_or_insert_default().add(number);
            }
            Number::Float(number) if number > 0.0 => self.has_infinity = true,
            Number::Float(_) => self.has_negative_infinity = true,
        }
    }

    /// Adds a product, of which that of floats is rounded and that of ints only if it is large.
    pub(super) fn add_product(&mut self, left: Number, right: Number) {
        if let (Number::Int(left), Number::Int(right)) = (left, right)
            && let Some(product) = left.checked_mul(right)
        {
            return self.add(Number::Int(product));
        }
        let product = left.to_float() * right.to_float();
        if !product.is_nan() {
            self.add(Number::Float(product));
        }
    }

    /// The sum: an int if it is one of ints and fits, null if nothing was added.
    pub(super) fn value(&self) -> Value {
        if !self.has_some {
            return Value::Null;
        }
        let is_of_ints = self.floats.is_none() && !self.has_infinity && !self.has_negative_infinity;
        match i64::try_from(self.ints) {
            Ok(int) if is_of_ints => Value::Int(int),
            _ => float(self.to_float()),
        }
    }

    /// The sum, divided; null if nothing was added or the divisor is zero.
    pub(super) fn average(&self, divisor: f64) -> Value {
        if !self.has_some || divisor == 0.0 {
            return Value::Null;
        }
        float(self.to_float() / divisor)
    }

    /// The nearest float.
    pub(super) fn to_float(&self) -> f64 {
        match (self.has_infinity, self.has_negative_infinity) {
            (true, true) => f64::NAN,
            (true, false) => f64::INFINITY,
            (false, true) => f64::NEG_INFINITY,
            (false, false) => match &self.floats {
                None => self.ints as f64,
                Some(floats) => {
                    let mut all = floats.clone();
                    let magnitude = self.ints.unsigned_abs();
                    all.add_bits((magnitude & u128::from(u64::MAX)) as u64, ONE_BIT, self.ints < 0);
                    all.add_bits((magnitude >> 64) as u64, ONE_BIT + 64, self.ints < 0);
                    all.to_float()
                }
            },
        }
    }
}

/// A whole number of 2^-1074, in digits that may be negative or too large.
#[derive(Debug, Clone)]
struct Accumulator {
    digits: [i64; DIGITS],
}

impl Default for Accumulator {
    fn default() -> Self {
        Self { digits: [0; DIGITS] }
    }
}

impl Accumulator {
    fn add(&mut self, number: f64) {
        let bits = number.to_bits();
        let fraction = bits & ((1 << 52) - 1);
        let exponent = (bits >> 52 & 0x7ff) as usize;
        let (magnitude, shift) = match exponent {
            0 => (fraction, 0),
            _ => (fraction | 1 << 52, exponent - 1),
        };
        self.add_bits(magnitude, shift, number < 0.0);
    }

    fn add_bits(&mut self, magnitude: u64, shift: usize, is_negative: bool) {
        let mut shifted = u128::from(magnitude) << (shift % 32);
        for digit in self.digits.iter_mut().skip(shift / 32).take(3) {
            let part = (shifted & 0xffff_ffff) as i64;
            *digit += if is_negative { -part } else { part };
            shifted >>= 32;
        }
    }

    fn to_float(&self) -> f64 {
        let (digits, carry) = carried(self.digits);
        if carry >= 0 {
            return rounded(&digits);
        }
        let (digits, _) = carried(self.digits.map(|digit| -digit));
        -rounded(&digits)
    }
}

/// Digits of 32 bits each, and what is above them: below zero if the number is.
fn carried(digits: [i64; DIGITS]) -> ([u32; DIGITS], i64) {
    let mut carry = 0;
    let digits = digits.map(|digit| {
        let sum = digit + carry;
        carry = sum >> 32;
        (sum & 0xffff_ffff) as u32
    });
    (digits, carry)
}

/// The nearest float, a tie to even.
fn rounded(digits: &[u32; DIGITS]) -> f64 {
    let Some(top) = digits.iter().rposition(|digit| *digit != 0) else { return 0.0 };
    let digit = |at: usize| u128::from(digits.get(at).copied().unwrap_or(0));
    let top_bit = top * 32 + digit(top).checked_ilog2().unwrap_or(0) as usize;
    let low_bit = top_bit.saturating_sub(52);
    let at = low_bit / 32;
    let window = digit(at) | digit(at + 1) << 32 | digit(at + 2) << 64;
    let mut magnitude = (window >> (low_bit % 32) & ((1 << 53) - 1)) as u64;
    if let Some(half_bit) = low_bit.checked_sub(1) {
        let half = digit(half_bit / 32) >> (half_bit % 32) & 1 == 1;
        let below = digit(half_bit / 32) & ((1 << (half_bit % 32)) - 1) != 0
            || digits.iter().take(half_bit / 32).any(|digit| *digit != 0);
        if half && (below || magnitude & 1 == 1) {
            magnitude += 1;
        }
    }
    let exponent = i32::try_from(low_bit).unwrap_or(i32::MAX) - 1074;
    libm::ldexp(magnitude as f64, exponent)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::vec::Vec;

    fn sum(numbers: &[f64]) -> Value {
        let mut sum = Sum::default();
        numbers.iter().for_each(|number| sum.add(Number::Float(*number)));
        sum.value()
    }

    #[test]
    fn what_cancels_leaves_the_rest_exactly() {
        assert_eq!(sum(&[1e100, 1.0, -1e100]), Value::float(1.0));
        assert_eq!(sum(&[f64::MAX, f64::MAX, -f64::MAX]), Value::float(f64::MAX));
        assert_eq!(sum(&[f64::MAX, f64::MAX]), Value::float(f64::INFINITY));
        assert_eq!(sum(&[5e-324, 5e-324]), Value::float(1e-323));
        assert_eq!(sum(&[0.1; 10]), Value::float(1.0));
        assert_eq!(sum(&[-0.1; 10]), Value::float(-1.0));
    }

    #[test]
    fn ties_go_to_even() {
        let two_to_53 = 9_007_199_254_740_992.0;
        assert_eq!(sum(&[two_to_53, 1.0]), Value::float(two_to_53));
        assert_eq!(sum(&[two_to_53, 1.0, 5e-324]), Value::float(two_to_53 + 2.0));
        assert_eq!(sum(&[two_to_53 + 2.0, 1.0]), Value::float(two_to_53 + 4.0));
    }

    #[test]
    fn infinities_cancel_to_null() {
        assert_eq!(sum(&[f64::INFINITY, f64::NEG_INFINITY]), Value::Null);
        assert_eq!(sum(&[f64::INFINITY, 1.0]), Value::float(f64::INFINITY));
        assert_eq!(sum(&[]), Value::Null);
    }

    #[test]
    fn ints_are_exact_and_become_a_float_when_they_do_not_fit() {
        let mut sum = Sum::default();
        sum.add(Number::Int(i64::MAX));
        sum.add(Number::Int(1));
        assert_eq!(sum.value(), Value::float(2_f64.powi(63)));
        sum.add(Number::Int(-1));
        assert_eq!(sum.value(), Value::Int(i64::MAX));
        sum.add(Number::Float(0.5));
        sum.add(Number::Int(-i64::MAX));
        assert_eq!(sum.value(), Value::float(0.5));
    }

    proptest! {
        #[test]
        fn two_floats_sum_as_the_machine_does(left in any::<f64>(), right in any::<f64>()) {
            prop_assume!(left.is_finite() && right.is_finite());
            prop_assert_eq!(sum(&[left, right]), Value::float(left + right));
        }

        #[test]
        fn order_is_nothing(mut numbers in proptest::collection::vec(any::<f64>(), 0..20)) {
            numbers.retain(|number| !number.is_nan());
            let forward = sum(&numbers);
            let backward: Vec<f64> = numbers.iter().rev().copied().collect();
            prop_assert_eq!(forward, sum(&backward));
        }
    }
}
