//! Sketches: sets in a fixed number of bytes, which merge without counting anything twice.
//!
//! ```text
//! distinct sketch   'H', 256 registers of a byte           257 bytes, 6.5 % standard error
//! Bloom filter      'B', bits / 8 bytes                    4 bits are set per value
//! ```
//!
//! The hash of a value is FNV-1a, 64 bits, of its bytes as [`Value::encode`] has them (a whole
//! float as the int of the same number), finished by the mixer of SplitMix64. It is no secret:
//! whoever may write rows may choose values that collide.

use alloc::boxed::Box;
use alloc::vec;
use alloc::vec::Vec;

use crate::aggregate::{Aggregate, Table, spliced};
use crate::error::EvalError;
use crate::meter::{Meter, weight};
use crate::order::canonical;
use crate::value::Value;

/// The most bits of a Bloom filter.
pub(crate) const BLOOM_BITS_MAX: usize = 4096;

const REGISTERS: usize = 256;
const SKETCH_TAG: u8 = b'H';
const BLOOM_TAG: u8 = b'B';
const BLOOM_HASHES: u64 = 4;

/// A value's hash, the same everywhere; `buffer` is cleared.
fn hash(value: &Value, buffer: &mut Vec<u8>) -> u64 {
    buffer.clear();
    canonical(value).encode(buffer);
    let fnv = buffer.iter().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
        (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3)
    });
    let mixed = (fnv ^ (fnv >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^ (mixed >> 31)
}

/// How many distinct values were seen, about (HyperLogLog).
#[derive(Debug)]
pub(super) struct Sketch {
    registers: Box<[u8; REGISTERS]>,
}

impl Sketch {
    /// The most that a register can hold: the bits of a hash that do not choose it, and one.
    const REGISTER_MAX: u8 = 57;

    fn add(&mut self, hash: u64) {
        let index = (hash >> 56) as usize;
        let rank = (hash << 8 | 0x80).leading_zeros() as u8 + 1;
        if let Some(register) = self.registers.get_mut(index) {
            *register = (*register).max(rank);
        }
    }

    /// The registers of a value that is a sketch.
    fn registers(value: &Value) -> Option<&[u8]> {
        let Value::Bytes(bytes) = value else { return None };
        let (tag, registers) = bytes.split_first()?;
        let is_sketch = *tag == SKETCH_TAG
            && registers.len() == REGISTERS
            && registers.iter().all(|register| *register <= Self::REGISTER_MAX);
        is_sketch.then_some(registers)
    }

    fn merge(&mut self, registers: &[u8]) {
        for (own, other) in self.registers.iter_mut().zip(registers) {
            *own = (*own).max(*other);
        }
    }

    pub(super) fn estimate(&self) -> i64 {
        let count = REGISTERS as f64;
        let bias = 0.7213 / (1.0 + 1.079 / count);
        let sum: f64 =
            self.registers.iter().map(|register| libm::ldexp(1.0, -i32::from(*register))).sum();
        let raw = bias * count * count / sum;
        let empty = self.registers.iter().filter(|register| **register == 0).count();
        let is_small = raw <= 2.5 * count && empty > 0;
        libm::round(if is_small { count * libm::log(count / empty as f64) } else { raw }) as i64
    }

    pub(super) fn value(&self) -> Value {
        let mut bytes = vec![SKETCH_TAG];
        bytes.extend_from_slice(&*self.registers);
        Value::bytes(&bytes)
    }
}

/// The sketch of an aggregate's input; `None` if there is none.
pub(super) fn distinct(
    aggregate: &Aggregate,
    table: &Table<'_>,
    meter: &mut Meter,
) -> Result<Option<Sketch>, EvalError> {
    let mut sketch: Option<Sketch> = None;
    let mut buffer = Vec::new();
    aggregate.each(table, meter, |value, meter| {
        meter.step(4 + 4 * weight(value))?;
        if sketch.is_none() {
            meter.allocate(REGISTERS)?;
        }
        let sketch = sketch.get_or_insert_with(|| Sketch { registers: Box::new([0; REGISTERS]) });
        match Sketch::registers(value) {
            Some(registers) => {
                meter.step(16)?;
                sketch.merge(registers);
            }
            None => sketch.add(hash(value, &mut buffer)),
        }
        Ok(())
    })?;
    Ok(sketch)
}

/// The Bloom filter of an aggregate's input. A filter of another size is a set that can't be
/// merged: then every bit is set, "anything may be in it".
pub(super) fn bloom(
    aggregate: &Aggregate,
    bits: usize,
    table: &Table<'_>,
    meter: &mut Meter,
) -> Result<Value, EvalError> {
    let mut filter: Option<Vec<u8>> = None;
    let mut buffer = Vec::new();
    aggregate.each(table, meter, |value, meter| {
        meter.step(4 + 4 * weight(value))?;
        if filter.is_none() {
            meter.allocate(bits / 8)?;
        }
        let filter = filter.get_or_insert_with(|| {
            let mut filter = vec![0; bits / 8 + 1];
            filter.iter_mut().take(1).for_each(|tag| *tag = BLOOM_TAG);
            filter
        });
        if let Value::Bytes(bytes) = value
            && is_bloom(bytes)
        {
            meter.step(bits / 64)?;
            let is_same = bytes.len() == filter.len();
            for (index, own) in filter.iter_mut().enumerate().skip(1) {
                let other = if is_same { bytes.get(index).copied() } else { None };
                *own |= other.unwrap_or(u8::MAX);
            }
            return Ok(());
        }
        for item in spliced(value) {
            for bit in bloom_bits(hash(item, &mut buffer), bits as u64) {
                if let Some(byte) = filter.get_mut(1 + bit / 8) {
                    *byte |= 1 << (bit % 8);
                }
            }
        }
        Ok(())
    })?;
    Ok(filter.map_or(Value::Null, |filter| Value::bytes(&filter)))
}

/// Which bits stand for a hash.
fn bloom_bits(hash: u64, bits: u64) -> impl Iterator<Item = usize> {
    let (start, stride) = (hash & 0xffff_ffff, hash >> 32 | 1);
    (0..BLOOM_HASHES).map(move |index| ((start + index * stride) % bits) as usize)
}

/// Whether bytes have the form of a Bloom filter.
pub(crate) fn is_bloom(bytes: &[u8]) -> bool {
    bytes.first() == Some(&BLOOM_TAG) && (9..=BLOOM_BITS_MAX / 8 + 1).contains(&bytes.len())
}

/// Whether a value may be in a Bloom filter; `None` if the bytes are none.
pub(crate) fn bloom_has(filter: &[u8], value: &Value) -> Option<bool> {
    if !is_bloom(filter) {
        return None;
    }
    let bits = (filter.len() - 1) as u64 * 8;
    let is_set =
        |bit: usize| filter.get(1 + bit / 8).is_some_and(|byte| byte >> (bit % 8) & 1 == 1);
    Some(bloom_bits(hash(value, &mut Vec::new()), bits).all(is_set))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sketch(values: core::ops::Range<i64>) -> Sketch {
        let mut sketch = Sketch { registers: Box::new([0; REGISTERS]) };
        values.for_each(|value| sketch.add(hash(&Value::Int(value), &mut Vec::new())));
        sketch
    }

    #[test]
    fn estimates_are_within_three_standard_errors() {
        for count in [1, 10, 100, 1000, 10_000, 100_000] {
            let estimate = sketch(0..count).estimate();
            let error = (estimate - count).abs() as f64 / count as f64;
            assert!(error < 0.2, "{count} values are estimated as {estimate}");
        }
    }

    #[test]
    fn merged_sketches_are_the_sketch_of_all() {
        let mut left = sketch(0..60);
        let right = sketch(40..100).value();
        left.merge(Sketch::registers(&right).unwrap());
        assert_eq!(left.value(), sketch(0..100).value());
    }

    #[test]
    fn bytes_that_are_no_sketch_are_none() {
        let mut bytes = vec![SKETCH_TAG; 257];
        assert!(Sketch::registers(&Value::bytes(&bytes)).is_none());
        bytes[1..].fill(57);
        assert!(Sketch::registers(&Value::bytes(&bytes)).is_some());
        assert_eq!(bloom_has(b"B", &Value::Int(1)), None);
    }

    #[test]
    fn hashes_are_the_same_everywhere() {
        assert_eq!(
            hash(&Value::Int(1), &mut Vec::new()),
            hash(&Value::float(1.0), &mut Vec::new())
        );
        assert_eq!(hash(&Value::text("a"), &mut Vec::new()), 0xa3de_9442_86bd_23e6);
    }
}
