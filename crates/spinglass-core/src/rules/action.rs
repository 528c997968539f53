//! What may be done, and patterns over it: `publish grid/ny`, `install load* in /usa/** below 1`.
//!
//! ```text
//!  join ZONE                          be a member of the region ZONE
//!  write ATTRIBUTE in ZONE            set the attribute in one's own row, in the region ZONE
//!  publish TOPIC                      send to the topic
//!  subscribe TOPIC                    receive it
//!  install FUNCTION in ZONE [below N] install or remove a summary function there; with `below`
//!                                     only in zones of more than N names
//!  rotate                             give the group a new link key
//!  respond                            give other orders (the command `respond`)
//!  govern                             have everybody go by other rules
//!  door NAME                          use a door, such as http or postgres
//! ```

use core::fmt;

use crate::rules::RuleError;
use crate::rules::pattern::{TopicPattern, WordPattern, ZonePattern};
use crate::table::{DEPTH_MAX, ZonePath};

/// Something that somebody wants to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Action<'a> {
    /// Be a member of a region.
    Join(ZonePath),
    /// Set an attribute of the own row.
    Write {
        /// Which.
        attribute: &'a str,
        /// The region that the row is in.
        zone: ZonePath,
    },
    /// Send to a topic.
    Publish(&'a str),
    /// Receive a topic.
    Subscribe(&'a str),
    /// Install, replace or remove a summary function.
    Install {
        /// Its name.
        function: &'a str,
        /// Where; it is evaluated there and in every zone below.
        zone: ZonePath,
    },
    /// Give the group a new link key.
    Rotate,
    /// Give other orders.
    Respond,
    /// Have everybody go by other rules.
    Govern,
    /// Use a door.
    Door(&'a str),
}

/// Which actions a rule is about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ActionPattern {
    /// Being a member of these regions.
    Join(ZonePattern),
    /// Setting these attributes in rows of these regions.
    Write {
        /// Which attributes.
        attribute: WordPattern,
        /// Rows of which regions.
        zone: ZonePattern,
    },
    /// Sending to these topics.
    Publish(TopicPattern),
    /// Receiving these topics.
    Subscribe(TopicPattern),
    /// Installing, replacing and removing these functions in these zones.
    Install {
        /// Which functions.
        function: WordPattern,
        /// In which zones.
        zone: ZonePattern,
        /// Only in zones of more names than this; at most [`DEPTH_MAX`].
        below: Option<u8>,
    },
    /// Giving the group a new link key.
    Rotate,
    /// Giving other orders.
    Respond,
    /// Having everybody go by other rules.
    Govern,
    /// Using these doors.
    Door(WordPattern),
}

/// A verb, and what stands behind it.
fn split(text: &str) -> (&str, &str) {
    let text = text.trim();
    text.split_once(char::is_whitespace).map_or((text, ""), |(verb, rest)| (verb, rest.trim()))
}

/// `WORD in ZONE`.
fn split_in(text: &str) -> Result<(&str, &str), RuleError> {
    let mut words = text.split_whitespace();
    match (words.next(), words.next(), words.next(), words.next()) {
        (Some(word), Some("in"), Some(zone), None) => Ok((word, zone)),
        _ => Err(RuleError::In),
    }
}

/// `ZONE [below LEVEL]` off the end of what `install` is about.
fn split_below(text: &str) -> Result<(&str, Option<u8>), RuleError> {
    let Some((front, level)) = text.rsplit_once(" below ") else { return Ok((text, None)) };
    let level = level.trim().parse().map_err(|_| RuleError::Level)?;
    if usize::from(level) > DEPTH_MAX { Err(RuleError::Level) } else { Ok((front, Some(level))) }
}

fn zone(text: &str) -> Result<ZonePath, RuleError> {
    let zone = ZonePath::parse(text).map_err(|_| RuleError::Zone)?;
    if text.starts_with('/') { Ok(zone) } else { Err(RuleError::Zone) }
}

fn nothing(rest: &str) -> Result<(), RuleError> {
    if rest.is_empty() { Ok(()) } else { Err(RuleError::Rest) }
}

impl<'a> Action<'a> {
    /// The action that `text` names.
    ///
    /// # Errors
    /// It names none.
    pub fn parse(text: &'a str) -> Result<Self, RuleError> {
        let (verb, rest) = split(text);
        let word = |text: &'a str| {
            WordPattern::parse(text)?;
            if text.contains('*') { Err(RuleError::Word) } else { Ok(text) }
        };
        let topic = |text: &'a str| if text.is_empty() { Err(RuleError::Topic) } else { Ok(text) };
        Ok(match verb {
            "join" => Self::Join(zone(rest)?),
            "write" => {
                let (attribute, text) = split_in(rest)?;
                Self::Write { attribute: word(attribute)?, zone: zone(text)? }
            }
            "publish" => Self::Publish(topic(rest)?),
            "subscribe" => Self::Subscribe(topic(rest)?),
            "install" => {
                let (function, text) = split_in(rest)?;
                Self::Install { function: word(function)?, zone: zone(text)? }
            }
            "rotate" => nothing(rest).map(|()| Self::Rotate)?,
            "respond" => nothing(rest).map(|()| Self::Respond)?,
            "govern" => nothing(rest).map(|()| Self::Govern)?,
            "door" => Self::Door(word(rest)?),
            _ => return Err(RuleError::Verb),
        })
    }
}

impl ActionPattern {
    /// The pattern that `text` is.
    ///
    /// # Errors
    /// It is none.
    pub fn parse(text: &str) -> Result<Self, RuleError> {
        let (verb, rest) = split(text);
        Ok(match verb {
            "join" => Self::Join(ZonePattern::parse(rest)?),
            "write" => {
                let (attribute, zone) = split_in(rest)?;
                Self::Write {
                    attribute: WordPattern::parse(attribute)?,
                    zone: ZonePattern::parse(zone)?,
                }
            }
            "publish" => Self::Publish(TopicPattern::parse(rest)?),
            "subscribe" => Self::Subscribe(TopicPattern::parse(rest)?),
            "install" => {
                let (rest, below) = split_below(rest)?;
                let (function, zone) = split_in(rest)?;
                Self::Install {
                    function: WordPattern::parse(function)?,
                    zone: ZonePattern::parse(zone)?,
                    below,
                }
            }
            "rotate" => nothing(rest).map(|()| Self::Rotate)?,
            "respond" => nothing(rest).map(|()| Self::Respond)?,
            "govern" => nothing(rest).map(|()| Self::Govern)?,
            "door" => Self::Door(WordPattern::parse(rest)?),
            _ => return Err(RuleError::Verb),
        })
    }

    /// Whether it is a pattern for this action.
    #[must_use]
    pub fn matches(&self, action: &Action<'_>) -> bool {
        match (self, action) {
            (Self::Join(pattern), Action::Join(zone)) => pattern.matches(zone),
            (Self::Write { attribute, zone }, Action::Write { attribute: word, zone: path }) => {
                attribute.matches(word) && zone.matches(path)
            }
            (Self::Publish(pattern), Action::Publish(topic))
            | (Self::Subscribe(pattern), Action::Subscribe(topic)) => pattern.matches(topic),
            (
                Self::Install { function, zone, below },
                Action::Install { function: word, zone: path },
            ) => {
                let is_deep_enough = below.is_none_or(|level| path.depth() > usize::from(level));
                is_deep_enough && function.matches(word) && zone.matches(path)
            }
            (Self::Rotate, Action::Rotate)
            | (Self::Respond, Action::Respond)
            | (Self::Govern, Action::Govern) => true,
            (Self::Door(pattern), Action::Door(name)) => pattern.matches(name),
            _ => false,
        }
    }
}

impl fmt::Display for Action<'_> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Join(zone) => write!(formatter, "join {zone}"),
            Self::Write { attribute, zone } => write!(formatter, "write {attribute} in {zone}"),
            Self::Publish(topic) => write!(formatter, "publish {topic}"),
            Self::Subscribe(topic) => write!(formatter, "subscribe {topic}"),
            Self::Install { function, zone } => write!(formatter, "install {function} in {zone}"),
            Self::Rotate => formatter.write_str("rotate"),
            Self::Respond => formatter.write_str("respond"),
            Self::Govern => formatter.write_str("govern"),
            Self::Door(name) => write!(formatter, "door {name}"),
        }
    }
}

impl fmt::Display for ActionPattern {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Join(zone) => write!(formatter, "join {zone}"),
            Self::Write { attribute, zone } => write!(formatter, "write {attribute} in {zone}"),
            Self::Publish(topic) => write!(formatter, "publish {topic}"),
            Self::Subscribe(topic) => write!(formatter, "subscribe {topic}"),
            Self::Install { function, zone, below: None } => {
                write!(formatter, "install {function} in {zone}")
            }
            Self::Install { function, zone, below: Some(level) } => {
                write!(formatter, "install {function} in {zone} below {level}")
            }
            Self::Rotate => formatter.write_str("rotate"),
            Self::Respond => formatter.write_str("respond"),
            Self::Govern => formatter.write_str("govern"),
            Self::Door(name) => write!(formatter, "door {name}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::string::ToString;

    #[test]
    fn every_action_matches_its_pattern_and_no_other() {
        let cases = [
            ("join /usa/**", "join /usa/ithaca", "join /asia"),
            ("write load in /usa/*", "write load in /usa/ithaca", "write cpu in /usa/ithaca"),
            ("write net.* in /**", "write net.rx in /", "write load in /"),
            ("publish grid/**", "publish grid/ny", "publish grids"),
            ("subscribe *", "subscribe news", "subscribe news/local"),
            ("install load* in /usa/**", "install load5 in /usa", "install load5 in /"),
            ("install * in /** below 1", "install x in /usa/ithaca", "install x in /usa"),
            ("install * in /** below 0", "install x in /usa", "install x in /"),
            ("door http", "door http", "door postgres"),
        ];
        for (pattern, yes, no) in cases {
            let text = pattern;
            let pattern = ActionPattern::parse(pattern).unwrap();
            assert_eq!(pattern.to_string(), text);
            assert!(pattern.matches(&Action::parse(yes).unwrap()), "{text}: {yes}");
            assert!(!pattern.matches(&Action::parse(no).unwrap()), "{text}: {no}");
            for (other, action, _) in cases {
                let is_own = ActionPattern::parse(other).unwrap() == pattern;
                let action = Action::parse(action).unwrap();
                let kind = |text: &str| text.split(' ').next().map(str::to_string);
                let same_kind = kind(text) == kind(other);
                assert!(is_own || same_kind || !pattern.matches(&action), "{text}: {action}");
            }
        }
        for word in ["rotate", "respond", "govern"] {
            let pattern = ActionPattern::parse(word).unwrap();
            assert!(pattern.matches(&Action::parse(word).unwrap()));
        }
    }

    #[test]
    fn what_is_no_action_is_refused_for_its_reason() {
        let check = |text, error| {
            assert_eq!(ActionPattern::parse(text), Err(error), "{text}");
            assert_eq!(Action::parse(text), Err(error), "{text}");
        };
        check("", RuleError::Verb);
        check("dance", RuleError::Verb);
        check("join usa", RuleError::Zone);
        check("write load", RuleError::In);
        check("write load in /usa now", RuleError::In);
        check("rotate keys", RuleError::Rest);
        check("door", RuleError::Word);
        check("publish", RuleError::Topic);
        assert_eq!(ActionPattern::parse("install x in / below 9"), Err(RuleError::Level));
        assert_eq!(ActionPattern::parse("install x in / below it"), Err(RuleError::Level));
        assert_eq!(Action::parse("door *"), Err(RuleError::Word), "patterns do nothing");
    }
}
