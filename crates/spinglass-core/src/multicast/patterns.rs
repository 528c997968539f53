//! Topics taken by patterns. Which these are shows as packets come: until a topic's text is known
//! any pattern may match it, so its packets are held, and told to nobody.

use alloc::collections::BTreeSet;
use alloc::sync::Arc;
use alloc::vec::Vec;

use super::{Cx, Multicast, PLAN_ROUNDS};
use crate::config::Start;
use crate::id::{MemberId, TopicId};
use crate::pattern::{Pattern, PatternError};
use crate::rating::Rating;

/// Patterns that one member takes topics by at most.
const PATTERNS_MAX: usize = 64;

/// What is taken of a topic that patterns match.
pub(super) type Taken = (Start, Rating);

impl Multicast {
    /// Takes a share of all topics that a pattern matches, or, of nothing, no longer takes any.
    ///
    /// # Errors
    /// There are too many; nothing changed.
    pub(crate) fn subscribe_pattern(
        &mut self,
        pattern: &Pattern,
        taken: Taken,
        cx: &mut Cx<'_>,
    ) -> Result<(), PatternError> {
        let is_taken = taken.1 > Rating::NONE;
        if is_taken && self.patterns.len() >= PATTERNS_MAX && !self.patterns.contains_key(pattern) {
            return Err(PatternError::TooMany);
        }
        self.meet_anew(None);
        if is_taken {
            self.patterns.insert(pattern.clone(), taken);
        } else {
            self.patterns.remove(pattern);
        }
        self.matched.clear();
        self.rate_streams(None, cx);
        Ok(())
    }

    /// The patterns, and how much is taken of what each matches.
    pub(super) fn patterns(&self) -> impl Iterator<Item = (&Pattern, Rating)> {
        self.patterns.iter().map(|(pattern, (_, rating))| (pattern, *rating))
    }

    /// What is taken of a topic by patterns, as far as it has turned out.
    pub(super) fn matched(&self, topic: TopicId) -> Option<Taken> {
        self.matched.get(&topic).copied().flatten()
    }

    /// Whether patterns may match a topic, and it has not turned out.
    pub(crate) fn is_unresolved(&self, topic: TopicId) -> bool {
        !self.patterns.is_empty() && !self.matched.contains_key(&topic)
    }

    /// What may be taken of a topic of which it has not turned out.
    pub(super) fn perhaps(&self, topic: TopicId, cx: &Cx<'_>) -> Option<Taken> {
        let is_open = self.is_unresolved(topic);
        let text = cx.members.text(topic).filter(|_| is_open);
        let may_match = |pattern: &Pattern| text.is_none_or(|text| pattern.matches(text));
        is_open.then(|| self.most(may_match)).flatten()
    }

    /// Turns out what is taken of a topic whose text is known now: nothing, if it is not `allowed`.
    pub(crate) fn resolve(
        &mut self,
        topic: TopicId,
        (text, allowed): (&Arc<str>, bool),
        cx: &mut Cx<'_>,
    ) {
        let taken = self.most(|pattern| pattern.matches(text)).filter(|_| allowed);
        self.matched.insert(topic, taken);
        self.rate_streams(Some(topic), cx);
        if let Some((start, _)) = taken {
            self.told.push_back((topic, Arc::clone(text)));
            self.begin_topic(topic, start, cx);
        }
    }

    /// A topic that has turned out to be taken, and its text.
    pub(crate) fn take_matched(&mut self) -> Option<(TopicId, Arc<str>)> {
        self.told.pop_front()
    }

    /// The most that is taken by patterns that match.
    fn most(&self, matches: impl Fn(&Pattern) -> bool) -> Option<Taken> {
        let matching = self.patterns.iter().filter(|(pattern, _)| matches(pattern));
        matching.map(|(_, taken)| *taken).reduce(|one, other| {
            let buffered = [one.0, other.0].contains(&Start::Buffered);
            (if buffered { Start::Buffered } else { Start::Live }, one.1.max(other.1))
        })
    }

    /// Topics of streams whose texts are to be known, and are not, or have not been heeded; and one
    /// who sends each.
    pub(crate) fn nameless(&mut self, know_patterns: bool) -> Vec<(TopicId, MemberId)> {
        if self.round.is_multiple_of(PLAN_ROUNDS) && !self.matched.is_empty() {
            let met: BTreeSet<TopicId> = self.topics_met().into_iter().collect();
            self.matched.retain(|topic, _| met.contains(topic));
        }
        if !know_patterns && self.patterns.is_empty() {
            return Vec::new();
        }
        let others = self.streams.values().filter(|stream| stream.id.sender != self.own);
        let active = others.filter(|stream| stream.newest.kept(self.round) > 0);
        let mut nameless: Vec<_> = active.map(|it| (it.id.topic, it.id.sender)).collect();
        nameless.dedup_by_key(|(topic, _)| *topic);
        nameless
    }

    /// The topics of others' streams.
    pub(crate) fn topics_met(&self) -> Vec<TopicId> {
        let others = self.streams.keys().filter(|id| id.sender != self.own);
        let mut topics: Vec<TopicId> = others.map(|id| id.topic).collect();
        topics.dedup();
        topics
    }
}
