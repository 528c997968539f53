//! Which subscribers hear what: events are gathered during a turn and handed over once per turn.

use std::collections::BTreeMap;

use spinglass_core::{Event as CoreEvent, Rating, TopicId};

use crate::event::Event;
use crate::subscription::SharedQueue;

/// All subscriptions, by topic.
#[derive(Debug, Default)]
pub(crate) struct Hub {
    topics: Vec<Topic>,
    /// The topic found last: most messages come in runs of one.
    last: usize,
    /// Whether anything was gathered since the last [`hand_over`](Self::hand_over).
    gathered: bool,
    /// Shares that the application asked for.
    ratings: BTreeMap<TopicId, Rating>,
    /// Topics whose last subscriber was found gone since this was asked last.
    deserted: Vec<TopicId>,
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
            Some(topic) => topic.queues.push(queue),
            None => self.topics.push(Topic { id, queues: vec![queue], events: Vec::new() }),
        }
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
            CoreEvent::Message(message) => message.stream.topic,
            CoreEvent::Gap(gap) => gap.stream.topic,
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
        for topic in self.topics.drain(..) {
            topic.queues.iter().for_each(|queue| queue.close());
        }
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
