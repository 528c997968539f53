//! Sets of kinds: what an expression may give, as far as its text tells.
//!
//! Rows have no schema, so a column may give anything, and a value of the wrong kind counts as
//! null when it is met. What is refused when a text is parsed is what can never work: `'a' + 1`.

use alloc::string::String;

use crate::value::Value;

/// A set of kinds of value. Null is in every set.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Kinds(u8);

impl Kinds {
    pub(crate) const NONE: Self = Self(0);
    pub(crate) const BOOL: Self = Self(1);
    pub(crate) const INT: Self = Self(2);
    pub(crate) const FLOAT: Self = Self(4);
    pub(crate) const TIME: Self = Self(8);
    pub(crate) const TEXT: Self = Self(16);
    pub(crate) const BYTES: Self = Self(32);
    pub(crate) const LIST: Self = Self(64);
    pub(crate) const ANY: Self = Self(127);
    /// What arithmetic takes.
    pub(crate) const NUMBER: Self = Self::INT.or(Self::FLOAT);
    /// What is true or false: numbers are true unless zero.
    pub(crate) const TRUTH: Self = Self::BOOL.or(Self::NUMBER);
    /// What is searched.
    pub(crate) const RUN: Self = Self::TEXT.or(Self::LIST);
    /// What has a length.
    pub(crate) const LONG: Self = Self::RUN.or(Self::BYTES);
    /// What `||` joins.
    pub(crate) const JOINABLE: Self = Self::TEXT.or(Self::NUMBER);

    /// What is in either.
    pub(crate) const fn or(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// What is in both.
    pub(crate) const fn and(self, other: Self) -> Self {
        Self(self.0 & other.0)
    }

    /// Whether a value of this set can be one of the other: null alone can be anything.
    pub(crate) const fn can_be(self, other: Self) -> bool {
        self.0 == 0 || self.0 & other.0 != 0
    }

    /// Whether a value of one can compare with one of the other.
    pub(crate) const fn compare_with(self, other: Self) -> bool {
        let numbers = self.and(Self::NUMBER).0 != 0 && other.and(Self::NUMBER).0 != 0;
        self.can_be(other) || other.0 == 0 || numbers
    }

    /// The kinds' names: "int or float".
    pub(crate) fn names(self) -> String {
        const NAMES: [&str; 7] = ["bool", "int", "float", "time", "text", "bytes", "list"];
        if self.0 == Self::NUMBER.0 {
            return String::from("number");
        }
        let mut names = String::new();
        for (bit, name) in NAMES.iter().enumerate().filter(|(bit, _)| self.0 >> bit & 1 == 1) {
            let is_last = self.0 >> bit == 1;
            names.push_str(match (names.is_empty(), is_last) {
                (true, _) => "",
                (false, true) => " or ",
                (false, false) => ", ",
            });
            names.push_str(name);
        }
        names
    }

    /// The kind of one value.
    pub(crate) const fn of(value: &Value) -> Self {
        match value {
            Value::Null => Self::NONE,
            Value::Bool(_) => Self::BOOL,
            Value::Int(_) => Self::INT,
            Value::Float(_) => Self::FLOAT,
            Value::Time(_) => Self::TIME,
            Value::Text(_) => Self::TEXT,
            Value::Bytes(_) => Self::BYTES,
            Value::List(_) => Self::LIST,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn null_can_be_anything() {
        assert!(Kinds::NONE.can_be(Kinds::TEXT));
        assert!(Kinds::NONE.compare_with(Kinds::TEXT) && Kinds::TEXT.compare_with(Kinds::NONE));
        assert!(!Kinds::TEXT.compare_with(Kinds::INT));
        assert!(Kinds::FLOAT.compare_with(Kinds::INT));
    }

    #[test]
    fn sets_are_told_in_words() {
        assert_eq!(Kinds::NUMBER.names(), "number");
        assert_eq!(Kinds::LONG.names(), "text, bytes or list");
        assert_eq!(Kinds::TIME.names(), "time");
    }
}
