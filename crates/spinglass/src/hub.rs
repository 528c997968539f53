//! Which subscribers hear what: events are gathered during a turn and handed over once per turn.

use std::collections::BTreeMap;
use std::sync::Arc;

use spinglass_core::{Event as CoreEvent, Pattern, Rating, Start, TopicId};

use crate::event::Event;
use crate::subscription::SharedQueue;

/// All subscriptions, by topic.
#[derive(Debug, Default)]
pub(crate) struct Hub {
    topics: Vec<Topic>,
    patterns: Vec<Patterned>,
    /// Topics that patterns have matched since this was asked last.
    met: Vec<(TopicId, Arc<str>)>,
    /// The topic found last: most messages come in runs of one.
    last: usize,
    /// Whether anything was gathered since the last [`hand_over`](Self::hand_over).
    gathered: bool,
    /// Shares that the application asked for.
    ratings: BTreeMap<TopicId, Rating>,
    /// Topics whose last subscriber was found gone since this was asked last.
    deserted: Vec<TopicId>,
}

/// Who takes topics by one pattern.
#[derive(Debug)]
struct Patterned {
    pattern: Pattern,
    start: Start,
    queues: Vec<SharedQueue>,
}

#[derive(Debug)]
struct Topic {
    id: TopicId,
    queues: Vec<SharedQueue>,
    events: Vec<Event>,
}

impl Hub {
    /// Gives `queue` the events of a topic from now on.
    pub(crate) fn add(&mut self, id: TopicId, queue: SharedQueue) {
        match self.topics.iter_mut().find(|topic| topic.id == id) {
            Some(topic) if topic.queues.iter().any(|own| Arc::ptr_eq(own, &queue)) => (),
            Some(topic) => topic.queues.push(queue),
            None => self.topics.push(Topic { id, queues: vec![queue], events: Vec::new() }),
        }
    }

    /// Gives `queue` the events of all topics that a pattern matches, as they are met: the core
    /// tells those that it has met already when it is told of the pattern.
    pub(crate) fn add_pattern(&mut self, pattern: Pattern, start: Start, queue: SharedQueue) {
        match self.patterns.iter_mut().find(|known| known.pattern == pattern) {
            Some(known) => {
                known.start = start;
                known.queues.push(queue);
            }
            None => self.patterns.push(Patterned { pattern, start, queues: vec![queue] }),
        }
    }

    /// From where on a pattern's topics are taken, if it is subscribed to.
    pub(crate) fn start_of(&self, pattern: &Pattern) -> Option<Start> {
        self.patterns.iter().find(|known| known.pattern == *pattern).map(|known| known.start)
    }

    /// A topic of this text is one that patterns match.
    pub(crate) fn meet(&mut self, id: TopicId, text: &Arc<str>) {
        self.met.push((id, Arc::clone(text)));
        let matching = self.patterns.iter().filter(|known| known.pattern.matches(text));
        let queues: Vec<_> = matching.flat_map(|known| &known.queues).cloned().collect();
        queues.into_iter().for_each(|queue| self.add(id, queue));
    }

    /// Topics that patterns have matched since this was asked last.
    pub(crate) fn take_met(&mut self) -> Vec<(TopicId, Arc<str>)> {
        std::mem::take(&mut self.met)
    }

    /// Patterns to which nobody here subscribes any more.
    pub(crate) fn take_deserted_patterns(&mut self) -> Vec<Pattern> {
        let mut deserted = Vec::new();
        self.patterns.retain_mut(|known| {
            known.queues.retain(|queue| !queue.is_closed());
            let has_any = !known.queues.is_empty();
            deserted.extend((!has_any).then(|| known.pattern.clone()));
            has_any
        });
        deserted
    }

    /// Notes which share of a topic is asked for. Returns whether that matters now: it is
    /// subscribed to, or never was.
    pub(crate) fn rate(&mut self, id: TopicId, rating: Rating) -> bool {
        let was_known = self.ratings.insert(id, rating).is_some();
        !was_known || self.topics.iter().any(|topic| topic.id == id)
    }

    /// The share of a topic that whoever subscribes to it gets.
    pub(crate) fn rating(&self, id: TopicId) -> Rating {
        self.ratings.get(&id).copied().unwrap_or_default()
    }

    /// Topics to which nobody here subscribes any more.
    pub(crate) fn take_deserted(&mut self) -> Vec<TopicId> {
        std::mem::take(&mut self.deserted)
    }

    /// Notes an event for whoever it is meant for: a topic's subscribers, or all of them.
    pub(crate) fn gather(&mut self, event: CoreEvent) {
        self.gathered = true;
        let id = match &event {
            CoreEvent::Message(message) => message.stream.topic.plain(),
            CoreEvent::Gap(gap) => gap.stream.topic.plain(),
            CoreEvent::MemberUp(_)
            | CoreEvent::MemberDown { .. }
            | CoreEvent::Quarantined { .. }
            | CoreEvent::FalseSummary { .. } => {
                for topic in &mut self.topics {
                    topic.events.push(event.clone().into());
                }
                return;
            }
        };
        if self.topics.get(self.last).is_none_or(|topic| topic.id != id) {
            match self.topics.iter().position(|topic| topic.id == id) {
                Some(index) => self.last = index,
                // The last subscriber is gone; the core still delivers.
                None => return,
            }
        }
        if let Some(topic) = self.topics.get_mut(self.last) {
            topic.events.push(event.into());
        }
    }

    /// Hands what was gathered to the subscribers, each woken once. Returns whether there was
    /// anything, and how many messages were dropped because a subscriber is slow.
    pub(crate) fn hand_over(&mut self) -> (bool, u64) {
        if !std::mem::take(&mut self.gathered) {
            return (false, 0);
        }
        let dropped = self.topics.iter_mut().map(Topic::hand_over).sum();
        let deserted = &mut self.deserted;
        self.topics.retain(|topic| {
            let has_any = !topic.queues.is_empty();
            deserted.extend((!has_any).then_some(topic.id));
            has_any
        });
        (true, dropped)
    }

    /// Ends all subscriptions.
    pub(crate) fn close(&mut self) {
        self.hand_over();
        let named = self.topics.drain(..).flat_map(|topic| topic.queues);
        let patterned = self.patterns.drain(..).flat_map(|patterned| patterned.queues);
        named.chain(patterned).for_each(|queue| queue.close());
    }
}

impl Topic {
    fn hand_over(&mut self) -> u64 {
        if self.events.is_empty() {
            return 0;
        }
        let mut dropped = 0;
        let events = &mut self.events;
        let mut left = self.queues.len();
        self.queues.retain(|queue| {
            left -= 1;
            // The last one gets the events themselves.
            let lost = if left == 0 {
                queue.extend(events.drain(..))
            } else {
                queue.extend(events.iter().cloned())
            };
            dropped += lost.unwrap_or(0);
            lost.is_some()
        });
        self.events.clear();
        dropped
    }
}
