//! Where in the hierarchy: `/`, `/usa`, `/usa/ithaca`.

use alloc::string::String;
use alloc::sync::Arc;
use core::fmt;

use crate::config::REGION_BYTES_MAX;
use crate::wire::{Malformed, Reader};

/// The most names in a path: so an agent's state has at most one level more.
pub const DEPTH_MAX: usize = 8;

/// A zone's path: names between slashes, the root being `/` alone.
///
/// A name is 1 or more of `a` to `z`, digits, `-`, `_` and `.`; a path has at most [`DEPTH_MAX`]
/// names and [`REGION_BYTES_MAX`] bytes.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ZonePath(Arc<str>);

/// A text that is no path, and why.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PathError {
    /// More than [`REGION_BYTES_MAX`] bytes.
    TooLong,
    /// More than [`DEPTH_MAX`] names.
    TooDeep,
    /// A name is empty, or holds something else than small letters, digits, `-`, `_` and `.`.
    BadName,
}

impl fmt::Display for PathError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TooLong => {
                write!(formatter, "a zone's path has at most {REGION_BYTES_MAX} bytes")
            }
            Self::TooDeep => write!(formatter, "a zone's path has at most {DEPTH_MAX} names"),
            Self::BadName => formatter.write_str(
                "a zone's path is names between slashes, such as /usa/ithaca; a name is made of \
                 a-z, 0-9, '-', '_' and '.'",
            ),
        }
    }
}

impl core::error::Error for PathError {}

/// The whole system.
impl Default for ZonePath {
    fn default() -> Self {
        Self::root()
    }
}

impl ZonePath {
    /// The whole system.
    #[must_use]
    pub fn root() -> Self {
        Self(Arc::from("/"))
    }

    /// A path. Capital letters become small ones; the slashes at both ends may be left out.
    ///
    /// # Errors
    /// It is none.
    pub fn parse(text: &str) -> Result<Self, PathError> {
        let text = text.strip_prefix('/').unwrap_or(text);
        let text = text.strip_suffix('/').unwrap_or(text);
        if text.is_empty() {
            return Ok(Self::root());
        }
        if text.len() >= REGION_BYTES_MAX {
            return Err(PathError::TooLong);
        }
        if text.split('/').count() > DEPTH_MAX {
            return Err(PathError::TooDeep);
        }
        let legal = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
        if !text.split('/').all(|name| !name.is_empty() && name.bytes().all(legal)) {
            return Err(PathError::BadName);
        }
        let mut path = String::with_capacity(text.len() + 1);
        path.push('/');
        path.push_str(&text.to_ascii_lowercase());
        Ok(Self(Arc::from(path)))
    }

    /// A path in its one form, as it stands on the wire.
    pub(crate) fn read(reader: &mut Reader<'_>) -> Result<Self, Malformed> {
        let text = reader.text(REGION_BYTES_MAX)?;
        let path = Self::parse(text).map_err(|_| Malformed)?;
        if path.as_str() == text { Ok(path) } else { Err(Malformed) }
    }

    /// The path as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The names in it, from the root's child down.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.0.split('/').filter(|name| !name.is_empty())
    }

    /// How many names: 0 for the root.
    #[must_use]
    pub fn depth(&self) -> usize {
        self.names().count()
    }

    /// The ancestor with `depth` names, or the path itself if it has no more.
    #[must_use]
    pub fn ancestor(&self, depth: usize) -> Self {
        if depth == 0 {
            return Self::root();
        }
        // The slash before the name after the last one kept.
        let cut = self.0.match_indices('/').nth(depth).map_or(self.0.len(), |(at, _)| at);
        Self(Arc::from(self.0.split_at(cut).0))
    }

    /// The zone `name` in this one.
    ///
    /// # Errors
    /// The path would be none.
    pub fn child(&self, name: &str) -> Result<Self, PathError> {
        let mut path = String::from(if self.depth() == 0 { "" } else { self.as_str() });
        path.push('/');
        path.push_str(name);
        Self::parse(&path)
    }

    /// The last name; empty for the root.
    #[must_use]
    pub fn last_name(&self) -> &str {
        self.names().last().unwrap_or("")
    }

    /// Whether this zone is `other` or lies in it.
    #[must_use]
    pub fn is_within(&self, other: &Self) -> bool {
        self.common_depth(other) == other.depth()
    }

    /// How many names both begin with.
    #[must_use]
    pub fn common_depth(&self, other: &Self) -> usize {
        self.names().zip(other.names()).take_while(|(a, b)| a == b).count()
    }
}

impl fmt::Display for ZonePath {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

impl fmt::Debug for ZonePath {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_has_one_form() {
        for text in ["usa/ithaca", "/usa/ithaca", "/USA/Ithaca/"] {
            assert_eq!(ZonePath::parse(text).unwrap().as_str(), "/usa/ithaca");
        }
        for text in ["", "/"] {
            assert_eq!(ZonePath::parse(text), Ok(ZonePath::root()));
        }
        assert_eq!(ZonePath::parse("/a//b"), Err(PathError::BadName));
        assert_eq!(ZonePath::parse("/a b"), Err(PathError::BadName));
        assert_eq!(ZonePath::parse("1/2/3/4/5/6/7/8/9"), Err(PathError::TooDeep));
        assert_eq!(ZonePath::parse(&"a".repeat(64)), Err(PathError::TooLong));
    }

    #[test]
    fn ancestors_and_children_are_inverse() {
        let path = ZonePath::parse("/usa/ithaca/cs").unwrap();
        assert_eq!(path.ancestor(0), ZonePath::root());
        assert_eq!(path.ancestor(2).as_str(), "/usa/ithaca");
        assert_eq!(path.ancestor(3), path);
        assert_eq!(path.ancestor(9), path);
        assert_eq!(path.ancestor(2).child("cs"), Ok(path.clone()));
        assert_eq!(ZonePath::root().child("usa").unwrap().as_str(), "/usa");
        assert_eq!(path.last_name(), "cs");
        assert_eq!(path.common_depth(&ZonePath::parse("/usa/boston/cs").unwrap()), 1);
        assert!(path.is_within(&path.ancestor(1)) && !path.ancestor(1).is_within(&path));
    }
}
