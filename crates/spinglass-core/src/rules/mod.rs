//! Who may do what: an ordered list of rules over members' names.
//!
//! The first rule that is about a member and an action decides; what no rule is about is denied.
//! A [`Policy`] is asked by whoever is about to act, and again by everybody who is told of it: at
//! each hop, before something is relayed, held or delivered. So a decision is a function of the
//! policy, the name and the action alone: no clock, no state.
//!
//! A policy is written as a file, or spread as a row that its author signed. [`Policy::encode`] is
//! the form of such a row: canonical, of at most [`POLICY_BYTES_MAX`] bytes.
//!
//! ```text
//!  policy = version u8 (1) | rule*
//!  rule   = effect u8 (0 deny, 1 allow) | count u8 | who text* | count u8 | what text*
//!  text   = length u8 | UTF-8
//! ```

mod action;
mod pattern;

use alloc::string::ToString as _;
use alloc::vec::Vec;
use core::fmt;

use crate::identity::SpiffeId;
use crate::wire::{Malformed, Put, Reader};

pub use action::{Action, ActionPattern};
pub use pattern::{NamePattern, PATTERN_BYTES_MAX, TopicPattern, WordPattern, ZonePattern};

/// The most rules in a policy.
pub const RULES_MAX: usize = 256;
/// The most names, and the most actions, in a rule.
pub const PATTERNS_MAX: usize = 32;
/// The most bytes of an encoded policy.
pub const POLICY_BYTES_MAX: usize = 16_384;

/// The encoding's version.
const VERSION: u8 = 1;

/// A text that is no rule, or rules that are no policy, and why.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum RuleError {
    /// The action's first word is none of the verbs.
    Verb,
    /// Who is not written `spiffe://DOMAIN/...`.
    Who,
    /// A star inside a segment, or `**` not at the end.
    Star,
    /// A segment is empty or has characters that no name has.
    Segment,
    /// A zone does not begin with a slash.
    Zone,
    /// There is no topic.
    Topic,
    /// A word is missing, or has blanks in it.
    Word,
    /// It is not `WORD in ZONE`.
    In,
    /// The level is no number from 0 to 8.
    Level,
    /// Something follows that does not belong there.
    Rest,
    /// A pattern is longer than names get.
    TooLong,
    /// A rule is about nobody or about nothing.
    Empty,
    /// Too many rules, or too many patterns in one, or too many bytes in all.
    TooMany,
}

impl fmt::Display for RuleError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = match self {
            Self::Verb => {
                "an action is one of: join ZONE, write ATTRIBUTE in ZONE, publish TOPIC, subscribe \
                 TOPIC, install FUNCTION in ZONE [below LEVEL], rotate, respond, \
                 govern, door NAME"
            }
            Self::Who => {
                "members are written spiffe://DOMAIN/ZONE/NODE, with * for one name and ** for any \
                 rest, such as spiffe://example.org/usa/**"
            }
            Self::Star => {
                "* stands alone between slashes, ** at the end; only words such as attributes may \
                 end with a star, as in net.*"
            }
            Self::Segment => "a name between slashes is empty, or has characters that no name has",
            Self::Zone => "a zone is written with a slash in front, such as /usa/ithaca",
            Self::Topic => "a topic is missing, or has blanks at its ends",
            Self::Word => "a name is missing, or has blanks or stars in it",
            Self::In => "say where: NAME in ZONE, such as write load in /usa/**",
            Self::Level => "below takes a level from 0 (the root) to 8",
            Self::Rest => "something follows that does not belong there",
            Self::TooLong => "it is longer than any name",
            Self::Empty => "a rule says who, and what they may do or not",
            Self::TooMany => {
                return write!(
                    formatter,
                    "a policy has at most {RULES_MAX} rules, each of at most {PATTERNS_MAX} names \
                     and as many actions, and {POLICY_BYTES_MAX} bytes in all"
                );
            }
        };
        formatter.write_str(text)
    }
}

impl core::error::Error for RuleError {}

/// What a rule says about what it is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Effect {
    /// It must not be done.
    Deny,
    /// It may be done.
    Allow,
}

/// A rule: these members may, or must not, do this.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rule {
    /// May, or must not.
    pub effect: Effect,
    /// Who: any of these; 1 to [`PATTERNS_MAX`].
    pub who: Vec<NamePattern>,
    /// What: any of these; 1 to [`PATTERNS_MAX`].
    pub what: Vec<ActionPattern>,
}

impl Rule {
    /// Whether the rule is about this member and this action.
    #[must_use]
    pub fn is_about(&self, who: &SpiffeId, action: &Action<'_>) -> bool {
        self.what.iter().any(|what| what.matches(action))
            && self.who.iter().any(|pattern| pattern.matches(who))
    }

    fn encode(&self, buffer: &mut Vec<u8>) {
        buffer.put_u8(u8::from(self.effect == Effect::Allow));
        buffer.put_u8(u8::try_from(self.who.len()).unwrap_or(u8::MAX));
        self.who.iter().for_each(|who| buffer.put_text(who.as_str()));
        buffer.put_u8(u8::try_from(self.what.len()).unwrap_or(u8::MAX));
        self.what.iter().for_each(|what| buffer.put_text(&what.to_string()));
    }

    fn read(reader: &mut Reader<'_>) -> Result<Self, Malformed> {
        let effect = match reader.u8()? {
            0 => Effect::Deny,
            1 => Effect::Allow,
            _ => return Err(Malformed),
        };
        let who = texts(reader, |text| NamePattern::parse(text).ok())?;
        let what = texts(reader, |text| {
            // Blanks between words have one form.
            ActionPattern::parse(text).ok().filter(|what| what.to_string() == text)
        })?;
        Ok(Self { effect, who, what })
    }
}

fn texts<T>(
    reader: &mut Reader<'_>,
    parse: impl Fn(&str) -> Option<T>,
) -> Result<Vec<T>, Malformed> {
    let count = usize::from(reader.u8()?);
    if !(1..=PATTERNS_MAX).contains(&count) {
        return Err(Malformed);
    }
    (0..count).map(|_| parse(reader.text(PATTERN_BYTES_MAX)?).ok_or(Malformed)).collect()
}

/// Rules in their order.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Policy {
    rules: Vec<Rule>,
}

/// What a policy says about an action.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Decision {
    /// Whether it may be done.
    pub allowed: bool,
    /// The rule that decided, counted from 0; none is about it: then it is denied.
    pub rule: Option<usize>,
}

impl Policy {
    /// A policy of these rules.
    ///
    /// # Errors
    /// A rule is about nobody or nothing, or a bound is exceeded.
    pub fn new(rules: Vec<Rule>) -> Result<Self, RuleError> {
        if rules.len() > RULES_MAX {
            return Err(RuleError::TooMany);
        }
        for rule in &rules {
            if rule.who.is_empty() || rule.what.is_empty() {
                return Err(RuleError::Empty);
            }
            if rule.who.len().max(rule.what.len()) > PATTERNS_MAX {
                return Err(RuleError::TooMany);
            }
            if rule.what.iter().any(|what| what.to_string().len() > PATTERN_BYTES_MAX) {
                return Err(RuleError::TooLong);
            }
        }
        let policy = Self { rules };
        let mut bytes = Vec::new();
        policy.encode(&mut bytes);
        if bytes.len() > POLICY_BYTES_MAX { Err(RuleError::TooMany) } else { Ok(policy) }
    }

    /// The rules.
    #[must_use]
    pub fn rules(&self) -> &[Rule] {
        &self.rules
    }

    /// Whether a member of this name may do this: as the first rule that is about it says.
    #[must_use]
    pub fn decide(&self, who: &SpiffeId, action: &Action<'_>) -> Decision {
        let first = self.rules.iter().enumerate().find(|(_, rule)| rule.is_about(who, action));
        Decision {
            allowed: first.is_some_and(|(_, rule)| rule.effect == Effect::Allow),
            rule: first.map(|(index, _)| index),
        }
    }

    /// Appends the policy in its one form.
    pub fn encode(&self, buffer: &mut Vec<u8>) {
        buffer.put_u8(VERSION);
        self.rules.iter().for_each(|rule| rule.encode(buffer));
    }

    /// The policy that `bytes` are, all of them.
    ///
    /// # Errors
    /// They are none, or not in its one form.
    pub fn parse(bytes: &[u8]) -> Result<Self, Malformed> {
        if bytes.len() > POLICY_BYTES_MAX {
            return Err(Malformed);
        }
        let mut reader = Reader::new(bytes);
        if reader.u8()? != VERSION {
            return Err(Malformed);
        }
        let mut rules = Vec::new();
        while !reader.is_empty() {
            if rules.len() == RULES_MAX {
                return Err(Malformed);
            }
            rules.push(Rule::read(&mut reader)?);
        }
        Ok(Self { rules })
    }
}

impl fmt::Display for Effect {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Deny => "deny",
            Self::Allow => "allow",
        })
    }
}

impl fmt::Display for Decision {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let verdict = if self.allowed { "allowed" } else { "denied" };
        match self.rule {
            Some(index) => write!(formatter, "{verdict} by rule {}", index + 1),
            None => write!(formatter, "{verdict}: no rule is about it"),
        }
    }
}

#[cfg(test)]
mod tests;
