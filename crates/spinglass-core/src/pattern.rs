//! Patterns of topics, as MQTT has them: `grid/ny/+/frequency`, `grid/#`.
//!
//! Nobody but who has named a topic knows more of it than a hash. So rows tell of a pattern a tag,
//! drawn from its text; and whoever knows a topic's text draws the tags of all patterns that match
//! it: with eight levels these are 511. Two patterns of one tag cost those who take one what is
//! sent of the other, and nobody a message.

use alloc::sync::Arc;
use alloc::vec::Vec;
use core::fmt;

use crate::rng::{FNV_BASIS, fnv1a, mix};

/// Patterns that one member takes topics by at most.
pub const PATTERNS_MAX: usize = 64;
/// Levels of a pattern at most.
const LEVELS_MAX: usize = 8;
/// Bytes of a pattern at most, and of a topic that one can match.
pub(crate) const TEXT_BYTES_MAX: usize = 255;

/// One level, whatever it is.
const ANY: &str = "+";
/// All levels that are left, if any.
const REST: &str = "#";
/// What inner topics begin with.
const INNER: char = '&';
/// What parts levels.
const SEPARATOR: char = '/';

/// What a row tells of a pattern.
pub(crate) type Tag = [u8; 4];

/// A pattern of topics' texts: levels parted by `/`, of which `+` stands for any one, and `#`, as
/// the last, for all that are left, none included. Without either it matches the topic of its own
/// text alone. A first level that begins with `&`, as those of the doors' own topics do, is matched
/// by nothing but itself.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Pattern(Arc<str>);

/// Why a text is no pattern.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum PatternError {
    /// It is empty, or longer than 255 bytes.
    Length,
    /// It has more than eight levels.
    TooManyLevels,
    /// A `+` or `#` is part of a level; each stands for a whole one.
    PartOfLevel,
    /// A `#` has something after it.
    NotLast,
    /// This member has as many patterns as it may.
    TooMany,
}

impl fmt::Display for PatternError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Length => "a pattern has 1 to 255 bytes",
            Self::TooManyLevels => "a pattern has at most 8 levels: end it with a # sooner",
            Self::PartOfLevel => "+ and # stand for whole levels, as in grid/+/hz and grid/#",
            Self::NotLast => "# stands for all levels that are left, so it is the last",
            Self::TooMany => "there are as many patterns as there may be: 64",
        })
    }
}

impl core::error::Error for PatternError {}

impl Pattern {
    /// Reads a pattern.
    ///
    /// # Errors
    /// It is none, and why.
    pub fn new(text: &str) -> Result<Self, PatternError> {
        if text.is_empty() || text.len() > TEXT_BYTES_MAX {
            return Err(PatternError::Length);
        }
        let levels: Vec<&str> = text.split(SEPARATOR).collect();
        if levels.len() > LEVELS_MAX {
            return Err(PatternError::TooManyLevels);
        }
        let is_part = |level: &&str| level.len() > 1 && level.contains([ANY, REST].map(first));
        if levels.iter().any(is_part) {
            return Err(PatternError::PartOfLevel);
        }
        if levels.iter().rev().skip(1).any(|level| *level == REST) {
            return Err(PatternError::NotLast);
        }
        Ok(Self(text.into()))
    }

    /// Whether a text, if it is a pattern, may match more than the topic of that text.
    #[must_use]
    pub fn has_wildcards(text: &str) -> bool {
        text.split(SEPARATOR).any(|level| level == ANY || level == REST)
    }

    /// Its text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether it matches the topic of this text.
    #[must_use]
    pub fn matches(&self, topic: &str) -> bool {
        let is_inner = topic.starts_with(INNER) && self.0.starts_with([ANY, REST].map(first));
        if topic.len() > TEXT_BYTES_MAX || is_inner {
            return false;
        }
        let mut levels = topic.split(SEPARATOR);
        for wanted in self.0.split(SEPARATOR) {
            if wanted == REST {
                return true;
            }
            if !levels.next().is_some_and(|level| wanted == ANY || wanted == level) {
                return false;
            }
        }
        levels.next().is_none()
    }

    /// What rows tell of it.
    pub(crate) fn tag(&self) -> Tag {
        let levels = self.0.split(SEPARATOR).enumerate();
        finish(levels.fold(FNV_BASIS, |print, (at, level)| extend(print, at, level)))
    }
}

fn first(text: &str) -> char {
    text.chars().next().unwrap_or_default()
}

/// Which patterns match a topic, for all that one knows.
#[derive(Debug, Clone)]
pub(crate) enum Matching {
    /// Its text is not known: any might.
    Any,
    /// Those of these tags, rising.
    Tags(Vec<Tag>),
}

impl Matching {
    /// Of a topic of this text.
    pub(crate) fn of(topic: &str) -> Self {
        let mut tags = Vec::new();
        if topic.len() <= TEXT_BYTES_MAX {
            let levels: Vec<&str> = topic.split(SEPARATOR).take(LEVELS_MAX + 1).collect();
            gather(FNV_BASIS, 0, &levels, &mut tags);
        }
        tags.sort_unstable();
        tags.dedup();
        Self::Tags(tags)
    }

    pub(crate) fn has(&self, tag: Tag) -> bool {
        match self {
            Self::Any => true,
            Self::Tags(tags) => tags.binary_search(&tag).is_ok(),
        }
    }
}

/// The tags of all patterns that begin as `print` does and match the levels from `at` on.
fn gather(print: u64, at: usize, levels: &[&str], tags: &mut Vec<Tag>) {
    let is_inner = at == 0 && levels.first().is_some_and(|level| level.starts_with(INNER));
    if at < LEVELS_MAX && !is_inner {
        tags.push(finish(extend(print, at, REST)));
    }
    let Some(level) = levels.get(at) else {
        tags.push(finish(print));
        return;
    };
    if at < LEVELS_MAX {
        gather(extend(print, at, level), at + 1, levels, tags);
        if !is_inner {
            gather(extend(print, at, ANY), at + 1, levels, tags);
        }
    }
}

/// Each level is hashed once for all patterns that go on from there.
fn extend(print: u64, at: usize, level: &str) -> u64 {
    let separator = if at > 0 { "/" } else { "" };
    fnv1a(print, separator.bytes().chain(level.bytes()))
}

fn finish(print: u64) -> Tag {
    (mix(print.into(), 0) as u32).to_le_bytes()
}

#[cfg(test)]
mod tests {
    use alloc::string::String;

    use proptest::prelude::*;

    use super::*;

    fn matches(pattern: &str, topic: &str) -> bool {
        Pattern::new(pattern).unwrap().matches(topic)
    }

    #[test]
    fn a_plus_is_one_level_and_a_hash_all_that_are_left() {
        assert!(matches("grid/ny/+/hz", "grid/ny/7/hz") && matches("grid/ny/+/hz", "grid/ny//hz"));
        assert!(!matches("grid/ny/+/hz", "grid/ny/hz") && !matches("grid/ny/+/hz", "grid/ny/7/mw"));
        assert!(matches("grid/#", "grid/ny/7/hz") && matches("grid/#", "grid"));
        assert!(!matches("grid/#", "gridlock") && !matches("grid/+", "grid"));
        assert!(matches("#", "") && matches("#", "a/b") && matches("+/+", "/"));
        assert!(matches("a/b", "a/b") && !matches("a/b", "a/b/c"));
        assert!(!matches("#", "&a/b") && !matches("+/b", "&a/b") && matches("&a/#", "&a/b"));
        let deep = "a/b/c/d/e/f/g/h/i/j";
        assert!(matches("a/#", deep) && matches("a/b/c/d/e/f/g/#", deep));
    }

    #[test]
    fn what_is_no_pattern_says_why() {
        let why = |text: &str| Pattern::new(text).unwrap_err();
        assert_eq!(why(""), PatternError::Length);
        assert_eq!(why(&"x".repeat(256)), PatternError::Length);
        assert_eq!(why("a/b/c/d/e/f/g/h/#"), PatternError::TooManyLevels);
        assert_eq!([why("a/b+"), why("a#")], [PatternError::PartOfLevel; 2]);
        assert_eq!([why("#/a"), why("a/#/b")], [PatternError::NotLast; 2]);
        assert!(Pattern::has_wildcards("a/+") && Pattern::has_wildcards("#"));
        assert!(!Pattern::has_wildcards("c++/a#"));
    }

    fn level() -> impl Strategy<Value = String> {
        prop_oneof!["[abc]", Just(String::new()), "[a-d]{2}", Just("&".into())]
    }

    proptest! {
        /// Who tells tags and who draws them mean the same by them.
        #[test]
        fn a_topic_has_the_tags_of_just_the_patterns_that_match_it(
            topic in prop::collection::vec(level(), 1..11),
            wild in prop::collection::vec(0..4_u8, 8),
            cut in 1..9_usize,
            rest: bool,
        ) {
            let mut levels: Vec<&str> = topic.iter().map(String::as_str).collect();
            levels.truncate(cut);
            let mut levels: Vec<&str> = levels
                .into_iter()
                .zip(&wild)
                .map(|(level, wild)| match wild { 0 => ANY, 1 => "a", _ => level })
                .collect();
            if rest {
                levels.truncate(LEVELS_MAX - 1);
                levels.push(REST);
            }
            let text = levels.join("/");
            prop_assume!(!text.is_empty());
            let pattern = Pattern::new(&text).unwrap();
            let topic = topic.join("/");
            let matching = Matching::of(&topic);
            let (has, matches) = (matching.has(pattern.tag()), pattern.matches(&topic));
            prop_assert_eq!(has, matches, "{} {}", text, topic);
            let Matching::Tags(tags) = &matching else { unreachable!() };
            prop_assert!(tags.len() <= 511);
        }
    }
}
