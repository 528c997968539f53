//! Topics taken by patterns. Which these are shows as packets come: until a topic's text is known
//! any pattern may match it, so its packets are held, and told to nobody.

use alloc::collections::{BTreeMap, BTreeSet, VecDeque};
use alloc::sync::Arc;
use alloc::vec::Vec;

use super::{Cx, Multicast};
use crate::config::Start;
use crate::id::{MemberId, TopicId};
use crate::pattern::{PATTERNS_MAX, Pattern, PatternError};
use crate::rating::Rating;

/// What is taken of a topic that patterns match.
pub(super) type Taken = (Start, Rating);

/// The patterns that topics are taken by.
#[derive(Debug, Default)]
pub(super) struct Patterns {
    /// What is taken of whatever each matches.
    taken: BTreeMap<Pattern, Taken>,
    /// What has turned out to be taken of each topic met.
    matched: BTreeMap<TopicId, Option<Taken>>,
    /// Topics of which something is, and the application has not been told.
    told: VecDeque<(TopicId, Arc<str>)>,
}

impl Patterns {
    /// Whether it has not turned out what is taken of a topic.
    pub(super) fn leave_open(&self, topic: TopicId) -> bool {
        !self.matched.contains_key(&topic.plain())
    }

    fn has_room_for(&self, pattern: &Pattern) -> bool {
        self.taken.len() < PATTERNS_MAX || self.taken.contains_key(pattern)
    }

    /// Takes what a pattern matches, or nothing of it.
    fn take(&mut self, pattern: &Pattern, taken: Taken) {
        if taken.1 > Rating::NONE {
            self.taken.insert(pattern.clone(), taken);
        } else {
            self.taken.remove(pattern);
        }
        self.matched.clear();
    }

    /// The most that is taken by patterns that match.
    fn most(&self, matches: impl Fn(&Pattern) -> bool) -> Option<Taken> {
        let matching = self.taken.iter().filter(|(pattern, _)| matches(pattern));
        matching.map(|(_, taken)| *taken).reduce(|one, other| {
            let buffered = [one.0, other.0].contains(&Start::Buffered);
            (if buffered { Start::Buffered } else { Start::Live }, one.1.max(other.1))
        })
    }
}

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
        if self.patterns.as_ref().is_some_and(|patterns| !patterns.has_room_for(pattern)) {
            return Err(PatternError::TooMany);
        }
        self.meet_anew(None);
        let mut patterns = self.patterns.take().unwrap_or_default();
        patterns.take(pattern, taken);
        self.patterns = Some(patterns).filter(|patterns| !patterns.taken.is_empty());
        self.rate_streams(None, cx);
        Ok(())
    }

    /// The patterns, and how much is taken of what each matches.
    pub(super) fn patterns(&self) -> impl Iterator<Item = (&Pattern, Rating)> {
        let all = self.patterns.iter().flat_map(|patterns| &patterns.taken);
        all.map(|(pattern, (_, rating))| (pattern, *rating))
    }

    /// Topics of which something is taken by patterns.
    pub(super) fn topics_matched(&self) -> impl Iterator<Item = TopicId> {
        let all = self.patterns.iter().flat_map(|patterns| &patterns.matched);
        all.filter(|(_, taken)| taken.is_some()).map(|(topic, _)| *topic)
    }

    /// What is taken of a topic by patterns, as far as it has turned out.
    pub(super) fn matched(&self, topic: TopicId) -> Option<Taken> {
        self.patterns.as_ref()?.matched.get(&topic.plain()).copied().flatten()
    }

    /// Whether patterns may match a topic, and it has not turned out.
    pub(crate) fn is_unresolved(&self, topic: TopicId) -> bool {
        self.patterns.as_ref().is_some_and(|patterns| patterns.leave_open(topic))
    }

    /// What may be taken of a topic of which it has not turned out.
    pub(super) fn perhaps(&self, topic: TopicId, cx: &Cx<'_>) -> Option<Taken> {
        let patterns = self.patterns.as_ref().filter(|patterns| patterns.leave_open(topic))?;
        let text = cx.members.text(topic);
        patterns.most(|pattern| text.is_none_or(|text| pattern.matches(text)))
    }

    /// Turns out what is taken of a topic whose text is known now: nothing, if it is not `allowed`.
    pub(crate) fn resolve(
        &mut self,
        topic: TopicId,
        (text, allowed): (&Arc<str>, bool),
        cx: &mut Cx<'_>,
    ) {
        let Some(patterns) = &mut self.patterns else { return };
        let taken = patterns.most(|pattern| pattern.matches(text)).filter(|_| allowed);
        patterns.matched.insert(topic, taken);
        patterns.told.extend(taken.map(|_| (topic, Arc::clone(text))));
        self.rate_streams(Some(topic), cx);
        if let Some((start, _)) = taken {
            self.begin_topic(topic, start, cx);
        }
    }

    /// A topic that has turned out to be taken, and its text.
    pub(crate) fn take_matched(&mut self) -> Option<(TopicId, Arc<str>)> {
        self.patterns.as_mut()?.told.pop_front()
    }

    /// Forgets what has turned out of topics of which no stream is left.
    pub(super) fn forget_matched(&mut self) {
        if self.patterns.is_some() {
            let met: BTreeSet<TopicId> = self.topics_met().into_iter().collect();
            let patterns = self.patterns.iter_mut();
            patterns.for_each(|it| it.matched.retain(|topic, _| met.contains(topic)));
        }
    }

    /// Topics of streams that are kept or told of, which patterns may be about; and one who sends
    /// each.
    pub(crate) fn topics_active(&self, know_patterns: bool) -> Vec<(TopicId, MemberId)> {
        if !know_patterns && self.patterns.is_none() {
            return Vec::new();
        }
        let others = self.streams.values().filter(|stream| stream.id.sender != self.own);
        let active = others.filter(|stream| stream.newest.kept(self.round) > 0);
        let mut topics: Vec<_> = active.map(|it| (it.id.topic.plain(), it.id.sender)).collect();
        topics.dedup_by_key(|(topic, _)| *topic);
        topics
    }

    /// The topics of others' streams.
    pub(crate) fn topics_met(&self) -> Vec<TopicId> {
        let others = self.streams.keys().filter(|id| id.sender != self.own);
        let mut topics: Vec<TopicId> = others.map(|id| id.topic.plain()).collect();
        topics.dedup();
        topics
    }
}
