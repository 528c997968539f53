//! What an object is called: the root of its hash tree and its size, so that whoever has the name
//! can check every byte, whoever brings it.

use alloc::string::{String, ToString as _};
use alloc::vec::Vec;
use core::fmt;

use spinglass_summary::Value;

use super::{OBJECT_BYTES_MAX, PIECE_BYTES};
use crate::crypto::Hash;
use crate::wire::{Malformed, Put, Reader, varint_bytes};

/// What a text that names an object begins with.
const PREFIX: &str = "object:";
const HASH_DIGITS: usize = 32;

/// The name of an object.
///
/// In a row it is text: `object:<root, 32 hexadecimal digits>:<bytes>`. It has one form: small
/// letters, no leading zeros.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ObjectName {
    root: Hash,
    bytes: u32,
}

impl ObjectName {
    /// The object of `bytes` bytes whose tree has this root. `None`: no object is so large.
    #[must_use]
    pub const fn new(root: Hash, bytes: u32) -> Option<Self> {
        if bytes as usize > OBJECT_BYTES_MAX { None } else { Some(Self { root, bytes }) }
    }

    /// Reads a text.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let (digits, bytes) = text.strip_prefix(PREFIX)?.split_once(':')?;
        let (pairs, rest) = digits.as_bytes().as_chunks::<2>();
        if digits.len() != HASH_DIGITS || !rest.is_empty() {
            return None;
        }
        let mut root = Hash::default();
        for (byte, [high, low]) in root.0.iter_mut().zip(pairs) {
            *byte = hex_digit(*high)? << 4 | hex_digit(*low)?;
        }
        let is_number = bytes.bytes().all(|byte| byte.is_ascii_digit());
        let name = Self::new(root, bytes.parse().ok()?)?;
        // A sign or a leading zero would be another text for the same number.
        let has_one_form = is_number && (bytes == "0" || !bytes.starts_with('0'));
        has_one_form.then_some(name)
    }

    /// The object that a row's value names, if it names one.
    #[must_use]
    pub fn of_value(value: &Value) -> Option<Self> {
        value.as_text().and_then(Self::parse)
    }

    /// The value with which a row names it.
    #[must_use]
    pub fn to_value(self) -> Value {
        Value::text(&self.to_string())
    }

    /// The root of its hash tree, which covers its size.
    #[must_use]
    pub const fn root(&self) -> Hash {
        self.root
    }

    /// Its size.
    #[must_use]
    pub const fn bytes(&self) -> usize {
        self.bytes as usize
    }

    /// How many pieces it has: at least one, which of the empty object is empty.
    #[must_use]
    pub const fn pieces(&self) -> u32 {
        let pieces = self.bytes.div_ceil(PIECE_BYTES as u32);
        if pieces == 0 { 1 } else { pieces }
    }

    /// Levels of its tree above the pieces.
    #[must_use]
    pub const fn depth(&self) -> usize {
        self.pieces().next_power_of_two().trailing_zeros() as usize
    }

    /// Bytes of a piece. `None`: it has no such piece.
    #[must_use]
    pub fn piece_bytes(&self, index: u32) -> Option<usize> {
        let before = PIECE_BYTES * index as usize;
        (index < self.pieces()).then(|| self.bytes().saturating_sub(before).min(PIECE_BYTES))
    }

    /// Bytes that the name takes in a frame.
    #[must_use]
    pub const fn encoded_bytes(&self) -> usize {
        16 + varint_bytes(self.bytes as u64)
    }

    pub(crate) fn read(reader: &mut Reader<'_>) -> Result<Self, Malformed> {
        let root = Hash(reader.array()?);
        let bytes = u32::try_from(reader.varint()?).map_err(|_| Malformed)?;
        Self::new(root, bytes).ok_or(Malformed)
    }

    pub(crate) fn encode(&self, buffer: &mut Vec<u8>) {
        buffer.put(&self.root.0);
        buffer.put_varint(self.bytes.into());
    }
}

impl fmt::Display for ObjectName {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let digits: String = self.root.0.iter().map(|byte| alloc::format!("{byte:02x}")).collect();
        write!(formatter, "{PREFIX}{digits}:{}", self.bytes)
    }
}

const fn hex_digit(byte: u8) -> Option<u8> {
    match byte {
        b'0'..=b'9' => Some(byte - b'0'),
        b'a'..=b'f' => Some(byte - b'a' + 10),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn names_come_back(root: [u8; 16], bytes in 0..=OBJECT_BYTES_MAX as u32) {
            let name = ObjectName::new(Hash(root), bytes).unwrap();
            prop_assert_eq!(ObjectName::parse(&name.to_string()), Some(name));
            let whole: usize = (0..name.pieces()).filter_map(|at| name.piece_bytes(at)).sum();
            prop_assert_eq!(whole, name.bytes());
        }

        #[test]
        fn a_text_has_one_form(text in "(object:[0-9a-fA-F]{30,34}:[+0-9]{0,9}|.{0,60})") {
            if let Some(name) = ObjectName::parse(&text) {
                prop_assert_eq!(name.to_string(), text);
            }
        }
    }

    #[test]
    fn no_object_is_larger_than_any_may_be() {
        let limit = OBJECT_BYTES_MAX as u32;
        assert!(ObjectName::new(Hash::default(), limit + 1).is_none());
        let zeros = "0".repeat(32);
        assert!(ObjectName::parse(&alloc::format!("object:{zeros}:16777216")).is_some());
        assert!(ObjectName::parse(&alloc::format!("object:{zeros}:16777217")).is_none());
        assert!(ObjectName::parse(&alloc::format!("object:{zeros}:01")).is_none());
    }
}
