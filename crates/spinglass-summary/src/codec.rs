//! Values and rows as bytes, in one form each: what decodes encodes back to the same bytes.
//!
//! ```text
//! row    = count (varint), then per attribute: name length (1), name, value
//! value  = tag (1), then  3 int: zigzag varint   4 float: 8 bytes   5 time: zigzag varint
//!                         6 text, 7 bytes: length (varint), bytes   8 list: count (varint), values
//!          tags 0, 1, 2 are null, false, true
//! ```
//!
//! Names rise strictly and no attribute is null. Decoding allocates no more than a fixed multiple
//! of the bytes given.

use alloc::sync::Arc;
use alloc::vec::Vec;
use core::fmt;

use crate::row::{Name, Row, RowBuilder};
use crate::value::{Float, LIST_DEPTH_MAX, Time, Value};

const NULL: u8 = 0;
const FALSE: u8 = 1;
const TRUE: u8 = 2;
const INT: u8 = 3;
const FLOAT: u8 = 4;
const TIME: u8 = 5;
const TEXT: u8 = 6;
const BYTES: u8 = 7;
const LIST: u8 = 8;

/// Bytes that are no value or row, or not in their one form.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Malformed;

impl fmt::Display for Malformed {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("malformed value")
    }
}

impl core::error::Error for Malformed {}

impl Value {
    /// Appends the value's bytes.
    pub fn encode(&self, buffer: &mut Vec<u8>) {
        match self {
            Self::Null => buffer.push(NULL),
            Self::Bool(false) => buffer.push(FALSE),
            Self::Bool(true) => buffer.push(TRUE),
            Self::Int(number) => {
                buffer.push(INT);
                put_varint(zigzag(*number), buffer);
            }
            Self::Float(number) => {
                buffer.push(FLOAT);
                buffer.extend_from_slice(&number.get().to_bits().to_le_bytes());
            }
            Self::Time(Time(micros)) => {
                buffer.push(TIME);
                put_varint(zigzag(*micros), buffer);
            }
            Self::Text(text) => put_run(TEXT, text.as_bytes(), buffer),
            Self::Bytes(bytes) => put_run(BYTES, bytes, buffer),
            Self::List(items) => {
                buffer.push(LIST);
                put_varint(items.len() as u64, buffer);
                items.iter().for_each(|item| item.encode(buffer));
            }
        }
    }

    /// Bytes that [`encode`](Self::encode) appends.
    #[must_use]
    pub fn encoded_bytes(&self) -> usize {
        let run = |length: usize| varint_bytes(length as u64) + length;
        1 + match self {
            Self::Null | Self::Bool(_) => 0,
            Self::Int(number) | Self::Time(Time(number)) => varint_bytes(zigzag(*number)),
            Self::Float(_) => 8,
            Self::Text(text) => run(text.len()),
            Self::Bytes(bytes) => run(bytes.len()),
            Self::List(items) => {
                varint_bytes(items.len() as u64)
                    + items.iter().map(Self::encoded_bytes).sum::<usize>()
            }
        }
    }

    /// Takes one value off the front of `bytes`.
    ///
    /// # Errors
    /// There is none in its one form; `bytes` is where it was found wanting.
    pub fn decode(bytes: &mut &[u8]) -> Result<Self, Malformed> {
        Self::decode_at(bytes, 0)
    }

    fn decode_at(bytes: &mut &[u8], depth: usize) -> Result<Self, Malformed> {
        Ok(match take_u8(bytes)? {
            NULL => Self::Null,
            FALSE => Self::Bool(false),
            TRUE => Self::Bool(true),
            INT => Self::Int(unzigzag(take_varint(bytes)?)),
            FLOAT => Self::Float(take_float(bytes)?),
            TIME => Self::Time(Time(unzigzag(take_varint(bytes)?))),
            TEXT => {
                let text = core::str::from_utf8(take_run(bytes)?).map_err(|_| Malformed)?;
                Self::text(text)
            }
            BYTES => Self::bytes(take_run(bytes)?),
            LIST if depth < LIST_DEPTH_MAX => {
                let count = take_count(bytes)?;
                let items: Result<Arc<[Self]>, _> =
                    (0..count).map(|_| Self::decode_at(bytes, depth + 1)).collect();
                Self::List(items?)
            }
            _ => return Err(Malformed),
        })
    }
}

impl Row {
    /// Appends the row's bytes.
    pub fn encode(&self, buffer: &mut Vec<u8>) {
        put_varint(self.len() as u64, buffer);
        for (name, value) in self.iter() {
            buffer.push(u8::try_from(name.as_str().len()).unwrap_or(u8::MAX));
            buffer.extend_from_slice(name.as_str().as_bytes());
            value.encode(buffer);
        }
    }

    /// Bytes that [`encode`](Self::encode) appends: what budgets count.
    #[must_use]
    pub fn encoded_bytes(&self) -> usize {
        let each = |(name, value): (&Name, &Value)| 1 + name.as_str().len() + value.encoded_bytes();
        varint_bytes(self.len() as u64) + self.iter().map(each).sum::<usize>()
    }

    /// Takes one row off the front of `bytes`.
    ///
    /// # Errors
    /// There is none in its one form; `bytes` is where it was found wanting.
    pub fn decode(bytes: &mut &[u8]) -> Result<Self, Malformed> {
        let count = take_count(bytes)?;
        let mut builder = RowBuilder::default();
        let mut last: Option<Name> = None;
        for _ in 0..count {
            let length = usize::from(take_u8(bytes)?);
            let text = core::str::from_utf8(take(bytes, length)?).map_err(|_| Malformed)?;
            let name = Name::new(text).filter(|name| name.as_str() == text).ok_or(Malformed)?;
            if last.as_ref().is_some_and(|last| *last >= name) {
                return Err(Malformed);
            }
            let value = Value::decode(bytes)?;
            if value == Value::Null {
                return Err(Malformed);
            }
            builder.set(name.clone(), value);
            last = Some(name);
        }
        Ok(builder.build())
    }
}

fn put_run(tag: u8, bytes: &[u8], buffer: &mut Vec<u8>) {
    buffer.push(tag);
    put_varint(bytes.len() as u64, buffer);
    buffer.extend_from_slice(bytes);
}

const fn zigzag(number: i64) -> u64 {
    (number.cast_unsigned() << 1) ^ (number >> 63).cast_unsigned()
}

const fn unzigzag(number: u64) -> i64 {
    (number >> 1).cast_signed() ^ -(number & 1).cast_signed()
}

fn put_varint(mut number: u64, buffer: &mut Vec<u8>) {
    while number >= 0x80 {
        buffer.push((number & 0x7f) as u8 | 0x80);
        number >>= 7;
    }
    buffer.push((number & 0x7f) as u8);
}

const fn varint_bytes(number: u64) -> usize {
    match number.checked_ilog2() {
        Some(bits) => bits as usize / 7 + 1,
        None => 1,
    }
}

fn take<'a>(bytes: &mut &'a [u8], length: usize) -> Result<&'a [u8], Malformed> {
    let (taken, rest) = bytes.split_at_checked(length).ok_or(Malformed)?;
    *bytes = rest;
    Ok(taken)
}

fn take_u8(bytes: &mut &[u8]) -> Result<u8, Malformed> {
    let (first, rest) = bytes.split_first().ok_or(Malformed)?;
    *bytes = rest;
    Ok(*first)
}

fn take_varint(bytes: &mut &[u8]) -> Result<u64, Malformed> {
    let mut number = 0;
    for shift in (0..64).step_by(7) {
        let byte = take_u8(bytes)?;
        let bits = u64::from(byte & 0x7f);
        if shift == 63 && bits > 1 {
            return Err(Malformed);
        }
        number |= bits << shift;
        if byte & 0x80 == 0 {
            return if byte == 0 && shift > 0 { Err(Malformed) } else { Ok(number) };
        }
    }
    Err(Malformed)
}

/// A count of things of at least one byte each: so there can't be more than bytes.
fn take_count(bytes: &mut &[u8]) -> Result<usize, Malformed> {
    let count = usize::try_from(take_varint(bytes)?).map_err(|_| Malformed)?;
    if count > bytes.len() { Err(Malformed) } else { Ok(count) }
}

fn take_run<'a>(bytes: &mut &'a [u8]) -> Result<&'a [u8], Malformed> {
    let length = take_count(bytes)?;
    take(bytes, length)
}

fn take_float(bytes: &mut &[u8]) -> Result<Float, Malformed> {
    let (first, rest) = bytes.split_first_chunk::<8>().ok_or(Malformed)?;
    *bytes = rest;
    let bits = u64::from_le_bytes(*first);
    let float = Float::new(f64::from_bits(bits));
    if float.get().to_bits() == bits { Ok(float) } else { Err(Malformed) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn any_value() -> impl Strategy<Value = Value> {
        let scalar = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::Bool),
            any::<i64>().prop_map(Value::Int),
            any::<f64>().prop_map(Value::float),
            any::<i64>().prop_map(|micros| Value::Time(Time(micros))),
            ".{0,12}".prop_map(|text| Value::text(&text)),
            proptest::collection::vec(any::<u8>(), 0..12).prop_map(|bytes| Value::bytes(&bytes)),
        ];
        scalar.prop_recursive(3, 32, 6, |inner| {
            proptest::collection::vec(inner, 0..6).prop_map(Value::list)
        })
    }

    proptest! {
        #[test]
        fn rows_come_back(
            values in proptest::collection::btree_map("[a-z_&.]{1,8}", any_value(), 0..8),
        ) {
            let row: Row = values
                .into_iter()
                .map(|(name, value)| (Name::new(&name).unwrap(), value))
                .collect();
            let mut bytes = Vec::new();
            row.encode(&mut bytes);
            prop_assert_eq!(bytes.len(), row.encoded_bytes());
            let mut rest = &bytes[..];
            prop_assert_eq!(Row::decode(&mut rest), Ok(row));
            prop_assert!(rest.is_empty());
        }

        #[test]
        fn bytes_have_one_row(bytes in proptest::collection::vec(any::<u8>(), 0..64)) {
            let mut rest = &bytes[..];
            if let Ok(row) = Row::decode(&mut rest) {
                let mut again = Vec::new();
                row.encode(&mut again);
                prop_assert_eq!(&again[..], &bytes[..bytes.len() - rest.len()]);
            }
        }
    }

    #[test]
    fn lists_do_not_nest_for_ever() {
        let mut bytes = Vec::new();
        for _ in 0..=LIST_DEPTH_MAX {
            bytes.extend_from_slice(&[LIST, 1]);
        }
        bytes.push(NULL);
        assert_eq!(Value::decode(&mut &bytes[..]), Err(Malformed));
        assert!(Value::decode(&mut &bytes[2..]).is_ok());
    }
}
