//! Patterns over names, zones, topics and words.

use alloc::sync::Arc;
use core::fmt;

use crate::config::REGION_BYTES_MAX;
use crate::identity::{SpiffeId, TrustDomain, is_segment};
use crate::node::NAME_BYTES_MAX;
use crate::rules::RuleError;
use crate::table::{DEPTH_MAX, ZonePath};

/// The longest pattern, in bytes; it is encoded behind one byte of length.
pub const PATTERN_BYTES_MAX: usize = 255;

/// One segment, whatever it is.
const ONE: &str = "*";
/// Whatever follows.
const TAIL: &str = "**";

/// Whether `text` matches segment by segment; a tail takes `tail_min` segments or more.
fn matches<'a>(
    pattern: impl Iterator<Item = &'a str>,
    mut text: impl Iterator<Item = &'a str>,
    tail_min: usize,
) -> bool {
    for wanted in pattern {
        if wanted == TAIL {
            return text.count() >= tail_min;
        }
        let Some(got) = text.next() else { return false };
        if wanted != ONE && wanted != got {
            return false;
        }
    }
    text.next().is_none()
}

/// Whether stars stand alone, and a tail at the end; everything else must be `legal`.
fn check<'a>(
    segments: impl Iterator<Item = &'a str>,
    legal: impl Fn(&str) -> bool,
) -> Result<(), RuleError> {
    let mut segments = segments.peekable();
    while let Some(segment) = segments.next() {
        match segment {
            ONE => (),
            TAIL if segments.peek().is_none() => (),
            _ if segment.contains('*') => return Err(RuleError::Star),
            _ if legal(segment) => (),
            _ => return Err(RuleError::Segment),
        }
    }
    Ok(())
}

/// Members, by name: `spiffe://example.org/usa/*/n1`, `spiffe://example.org/usa/**`.
///
/// `*` is one segment; `**`, at the end, is one or more: every name ends with a node, so
/// `spiffe://example.org/usa/**` is everybody in `/usa`, and not a node `usa` of the root.
#[derive(Clone, PartialEq, Eq)]
pub struct NamePattern {
    text: Arc<str>,
    /// Where the path begins, behind the trust domain and its slash.
    path: usize,
}

impl NamePattern {
    /// The pattern that `text` is.
    ///
    /// # Errors
    /// It is none.
    pub fn parse(text: &str) -> Result<Self, RuleError> {
        if text.len() > PATTERN_BYTES_MAX {
            return Err(RuleError::TooLong);
        }
        let rest = text.strip_prefix("spiffe://").ok_or(RuleError::Who)?;
        let (domain, path) = rest.split_once('/').ok_or(RuleError::Who)?;
        TrustDomain::parse(domain).map_err(|_| RuleError::Who)?;
        check(path.split('/'), is_segment)?;
        Ok(Self { text: text.into(), path: text.len() - path.len() })
    }

    /// Whether it is a pattern for this member.
    #[must_use]
    pub fn matches(&self, name: &SpiffeId) -> bool {
        let (front, path) = self.text.split_at(self.path);
        let domain = front.strip_prefix("spiffe://").and_then(|rest| rest.strip_suffix('/'));
        domain == Some(name.domain().as_str()) && matches(path.split('/'), name.segments(), 1)
    }
}

/// Zones: `/`, `/usa`, `/usa/*`, `/usa/**`.
///
/// `*` is one name; `**`, at the end, is any number, none included: `/usa/**` is `/usa` and every
/// zone in it.
#[derive(Clone, PartialEq, Eq)]
pub struct ZonePattern(Arc<str>);

impl ZonePattern {
    /// The pattern that `text` is.
    ///
    /// # Errors
    /// It is none.
    pub fn parse(text: &str) -> Result<Self, RuleError> {
        if text.len() > REGION_BYTES_MAX {
            return Err(RuleError::TooLong);
        }
        let path = text.strip_prefix('/').ok_or(RuleError::Zone)?;
        if !path.is_empty() {
            let is_name = |name: &str| {
                !name.is_empty() && ZonePath::parse(name).is_ok_and(|zone| zone.last_name() == name)
            };
            check(path.split('/'), is_name)?;
            if path.split('/').filter(|name| *name != TAIL).count() > DEPTH_MAX {
                return Err(RuleError::TooLong);
            }
        }
        Ok(Self(text.into()))
    }

    /// Whether it is a pattern for this zone.
    #[must_use]
    pub fn matches(&self, zone: &ZonePath) -> bool {
        matches(self.0.split('/').filter(|name| !name.is_empty()), zone.names(), 0)
    }
}

/// Topics: `grid/ny`, `grid/*`, `grid/**`.
///
/// A topic is any text; what stands between its slashes are its segments. `*` is one of them;
/// `**`, at the end, is any number, none included: `grid/**` is `grid` and all below it.
#[derive(Clone, PartialEq, Eq)]
pub struct TopicPattern(Arc<str>);

impl TopicPattern {
    /// The pattern that `text` is.
    ///
    /// # Errors
    /// It is none.
    pub fn parse(text: &str) -> Result<Self, RuleError> {
        if text.is_empty() || text.trim() != text || text.chars().any(char::is_control) {
            return Err(RuleError::Topic);
        }
        if text.len() > PATTERN_BYTES_MAX {
            return Err(RuleError::TooLong);
        }
        check(text.split('/'), |_| true)?;
        Ok(Self(text.into()))
    }

    /// Whether it is a pattern for this topic.
    #[must_use]
    pub fn matches(&self, topic: &str) -> bool {
        matches(self.0.split('/'), topic.split('/'), 0)
    }
}

/// Single words, such as attributes, functions and doors: `load`, `net.*`, `*`.
///
/// A star at the end stands for any rest, an empty one included.
#[derive(Clone, PartialEq, Eq)]
pub struct WordPattern(Arc<str>);

impl WordPattern {
    /// The pattern that `text` is.
    ///
    /// # Errors
    /// It is none.
    pub fn parse(text: &str) -> Result<Self, RuleError> {
        let word = text.strip_suffix('*').unwrap_or(text);
        if text.is_empty() || word.contains(|c: char| c.is_whitespace() || c.is_control()) {
            return Err(RuleError::Word);
        }
        if word.contains('*') {
            return Err(RuleError::Star);
        }
        if text.len() > NAME_BYTES_MAX {
            return Err(RuleError::TooLong);
        }
        Ok(Self(text.into()))
    }

    /// Whether it is a pattern for this word.
    #[must_use]
    pub fn matches(&self, word: &str) -> bool {
        match self.0.strip_suffix('*') {
            Some(front) => word.starts_with(front),
            None => word == &*self.0,
        }
    }
}

macro_rules! shown_as_text {
    ($($pattern:ident: $text:tt),*) => {$(
        impl $pattern {
            /// The pattern as text.
            #[must_use]
            pub fn as_str(&self) -> &str {
                &self.$text
            }
        }

        impl fmt::Display for $pattern {
            fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.write_str(&self.$text)
            }
        }

        impl fmt::Debug for $pattern {
            fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.write_str(&self.$text)
            }
        }
    )*};
}

shown_as_text!(NamePattern: text, ZonePattern: 0, TopicPattern: 0, WordPattern: 0);

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::format;
    use proptest::prelude::*;

    #[test]
    fn names_match_segment_by_segment() {
        let matches = |pattern: &str, name| {
            let pattern = NamePattern::parse(pattern).unwrap();
            pattern.matches(&SpiffeId::parse(name).unwrap())
        };
        let n1 = "spiffe://example.org/usa/ithaca/n1";
        for pattern in ["/usa/ithaca/n1", "/usa/*/n1", "/usa/ithaca/*", "/usa/**", "/**", "/*/*/*"]
        {
            assert!(matches(&format!("spiffe://example.org{pattern}"), n1), "{pattern}");
        }
        for pattern in ["/usa", "/usa/*", "/usa/ithaca", "/usa/ithaca/n1/**", "/USA/**", "/*/n1"] {
            assert!(!matches(&format!("spiffe://example.org{pattern}"), n1), "{pattern}");
        }
        assert!(!matches("spiffe://example.com/**", n1));
        assert!(!matches("spiffe://example.org/usa/**", "spiffe://example.org/usa"));
    }

    #[test]
    fn zones_and_topics_have_tails_that_may_be_empty() {
        let zone = |pattern: &str, zone| {
            ZonePattern::parse(pattern).unwrap().matches(&ZonePath::parse(zone).unwrap())
        };
        assert!(zone("/", "/") && !zone("/", "/usa"));
        assert!(zone("/**", "/") && zone("/**", "/usa/ithaca"));
        assert!(zone("/usa/**", "/usa") && zone("/usa/**", "/usa/ithaca") && !zone("/usa/**", "/"));
        assert!(zone("/*", "/usa") && !zone("/*", "/") && !zone("/*", "/usa/ithaca"));
        let topic = |pattern: &str, topic| TopicPattern::parse(pattern).unwrap().matches(topic);
        assert!(topic("grid/**", "grid") && topic("grid/**", "grid/ny/1"));
        assert!(!topic("grid/**", "grids") && !topic("grid/*", "grid"));
        assert!(topic("**", "anything at all") && topic("grid/*/1", "grid/ny/1"));
        let word = |pattern: &str, word| WordPattern::parse(pattern).unwrap().matches(word);
        assert!(word("net.*", "net.rx") && word("*", "x") && word("load", "load"));
        assert!(!word("load", "loads") && !word("net.*", "net"));
    }

    #[test]
    fn what_is_no_pattern_is_refused_for_its_reason() {
        let name = |text| NamePattern::parse(text).unwrap_err();
        assert_eq!(name("usa/**"), RuleError::Who);
        assert_eq!(name("spiffe://example.org"), RuleError::Who);
        assert_eq!(name("spiffe://*/**"), RuleError::Who);
        assert_eq!(name("spiffe://example.org/**/n1"), RuleError::Star);
        assert_eq!(name("spiffe://example.org/usa/n*"), RuleError::Star);
        assert_eq!(name("spiffe://example.org/usa//n1"), RuleError::Segment);
        assert_eq!(ZonePattern::parse("usa"), Err(RuleError::Zone));
        assert_eq!(ZonePattern::parse("/USA"), Err(RuleError::Segment));
        assert_eq!(ZonePattern::parse("/usa/"), Err(RuleError::Segment));
        assert_eq!(TopicPattern::parse(" grid"), Err(RuleError::Topic));
        assert_eq!(TopicPattern::parse("grid/n*"), Err(RuleError::Star));
        assert_eq!(WordPattern::parse("lo*ad"), Err(RuleError::Star));
        assert_eq!(WordPattern::parse("lo ad"), Err(RuleError::Word));
    }

    proptest! {
        #[test]
        fn a_name_matches_itself_and_its_tails(path in "([a-z]{1,3}/){0,4}[a-zA-Z0-9]{1,3}") {
            let text = format!("spiffe://example.org/{path}");
            let name = SpiffeId::parse(&text).unwrap();
            prop_assert!(NamePattern::parse(&text).unwrap().matches(&name));
            for (at, _) in text.match_indices('/').skip(2) {
                let tail = NamePattern::parse(&format!("{}/**", &text[..at])).unwrap();
                prop_assert!(tail.matches(&name));
                let below = NamePattern::parse(&format!("{text}/**")).unwrap();
                prop_assert!(!below.matches(&name));
            }
        }
    }
}
