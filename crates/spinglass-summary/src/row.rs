//! A row: named values, sorted by name, and immutable once built.

use alloc::sync::Arc;
use alloc::vec::Vec;
use core::fmt;

use crate::value::Value;

/// An attribute's name: 1 to [`Name::BYTES_MAX`] bytes of `a` to `z`, digits, `_`, `.` and `&`.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Name(Arc<str>);

impl Name {
    /// The longest name, in bytes.
    pub const BYTES_MAX: usize = 63;

    /// A name; `None` if it is empty, too long, or has other characters in it. Capital letters
    /// become small ones, as SQL has it.
    #[must_use]
    pub fn new(text: &str) -> Option<Self> {
        let is_legal = |byte: u8| byte.is_ascii_alphanumeric() || b"_.&".contains(&byte);
        if text.is_empty() || text.len() > Self::BYTES_MAX || !text.bytes().all(is_legal) {
            return None;
        }
        Some(Self(Arc::from(text.to_ascii_lowercase())))
    }

    /// The name.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether it is another, too: names are short, and comparing them here beats a call.
    #[inline]
    fn is(&self, other: &Self) -> bool {
        let (own, other) = (self.0.as_bytes(), other.0.as_bytes());
        own.len() == other.len() && own.iter().zip(other).all(|(own, other)| own == other)
    }
}

impl fmt::Debug for Name {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

impl fmt::Display for Name {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

/// Attributes by name. A null attribute is the same as none, so none is held.
#[derive(Clone, Default, PartialEq, Eq, Hash)]
pub struct Row {
    attributes: Vec<(Name, Value)>,
}

impl Row {
    /// A row without attributes.
    #[must_use]
    pub const fn empty() -> Self {
        Self { attributes: Vec::new() }
    }

    /// An attribute's value; `None` if it is absent.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&Value> {
        let at = self.attributes.binary_search_by(|(own, _)| own.as_str().cmp(name)).ok()?;
        self.attributes.get(at).map(|(_, value)| value)
    }

    /// An attribute's value. `hint` is where the row before had it, and becomes where this one
    /// has it: rows of one zone look alike, so it seldom moves.
    #[inline]
    pub(crate) fn find(&self, name: &Name, hint: &mut usize) -> Option<&Value> {
        if let Some((own, value)) = self.attributes.get(*hint)
            && own.is(name)
        {
            return Some(value);
        }
        let at = self.attributes.binary_search_by(|(own, _)| own.cmp(name)).ok()?;
        *hint = at;
        self.attributes.get(at).map(|(_, value)| value)
    }

    /// Every attribute, by name.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = (&Name, &Value)> {
        self.attributes.iter().map(|(name, value)| (name, value))
    }

    /// How many attributes there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.attributes.len()
    }

    /// Whether there is no attribute.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.attributes.is_empty()
    }
}

/// Builds a [`Row`]: the last value set for a name is the one that holds.
#[derive(Debug, Default)]
pub struct RowBuilder {
    attributes: Vec<(Name, Value)>,
}

impl RowBuilder {
    /// Sets an attribute; null removes it.
    #[must_use]
    pub fn with(mut self, name: Name, value: Value) -> Self {
        self.set(name, value);
        self
    }

    /// Sets an attribute; null removes it.
    pub fn set(&mut self, name: Name, value: Value) {
        match self.attributes.binary_search_by(|(own, _)| own.cmp(&name)) {
            Ok(at) if value == Value::Null => {
                self.attributes.remove(at);
            }
            Ok(at) => {
                if let Some((_, old)) = self.attributes.get_mut(at) {
                    *old = value;
                }
            }
            Err(_) if value == Value::Null => (),
            Err(at) => self.attributes.insert(at, (name, value)),
        }
    }

    /// The row.
    #[must_use]
    pub fn build(mut self) -> Row {
        self.attributes.shrink_to_fit();
        Row { attributes: self.attributes }
    }
}

impl From<&Row> for RowBuilder {
    fn from(row: &Row) -> Self {
        Self { attributes: row.attributes.clone() }
    }
}

impl FromIterator<(Name, Value)> for Row {
    fn from_iter<I: IntoIterator<Item = (Name, Value)>>(attributes: I) -> Self {
        let mut builder = RowBuilder::default();
        attributes.into_iter().for_each(|(name, value)| builder.set(name, value));
        builder.build()
    }
}

impl fmt::Debug for Row {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_map().entries(self.iter()).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(text: &str) -> Name {
        Name::new(text).unwrap()
    }

    #[test]
    fn the_last_value_holds_and_null_is_none() {
        let row: Row = [("b", 1), ("a", 2), ("b", 3)]
            .map(|(text, number)| (name(text), Value::Int(number)))
            .into_iter()
            .collect();
        assert_eq!(row.get("b"), Some(&Value::Int(3)));
        assert_eq!(row.len(), 2);
        let row = RowBuilder::from(&row).with(name("b"), Value::Null).build();
        assert_eq!(row.get("b"), None);
    }

    #[test]
    fn names_are_small_letters() {
        assert_eq!(name("Load").as_str(), "load");
        assert_eq!(Name::new(""), None);
        assert_eq!(Name::new("a b"), None);
        assert_eq!(Name::new(&"a".repeat(64)), None);
    }
}
