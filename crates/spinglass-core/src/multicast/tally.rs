//! What passes on each topic, counted per stream and added up when somebody asks.
//!
//! Invariant: of streams that are over at most [`TOPICS_MAX`] topics are remembered.

use alloc::collections::BTreeMap;

use super::Multicast;
use super::framing::Whole;
use crate::id::TopicId;
use crate::rating::Rating;

/// Topics of ended streams that are remembered.
const TOPICS_MAX: usize = 1024;

/// What a member has seen of one topic since it started. Counters only grow, but for those of
/// topics that more than a thousand others have followed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TopicTally {
    /// Whether messages are delivered to the application.
    pub subscribed: bool,
    /// The share of them that is taken; nothing if none are delivered.
    pub rating: Rating,
    /// Streams of other members that go on now.
    pub streams: usize,
    /// Messages published here.
    pub messages_published: u64,
    /// Bytes of those.
    pub bytes_published: u64,
    /// Packets of others taken in, to deliver or to pass on.
    pub packets_received: u64,
    /// Bytes of those.
    pub bytes_received: u64,
    /// Messages delivered here.
    pub messages_delivered: u64,
    /// Bytes of those.
    pub bytes_delivered: u64,
    /// Packets given up.
    pub packets_lost: u64,
}

impl Default for TopicTally {
    fn default() -> Self {
        Self {
            subscribed: false,
            rating: Rating::NONE,
            streams: 0,
            messages_published: 0,
            bytes_published: 0,
            packets_received: 0,
            bytes_received: 0,
            messages_delivered: 0,
            bytes_delivered: 0,
            packets_lost: 0,
        }
    }
}

impl TopicTally {
    pub(super) fn published(&mut self, bytes: usize) {
        self.messages_published += 1;
        self.bytes_published += bytes as u64;
    }

    pub(super) fn received(&mut self, bytes: usize) {
        self.packets_received += 1;
        self.bytes_received += bytes as u64;
    }

    pub(super) fn delivered(&mut self, whole: &Whole) {
        self.messages_delivered += 1;
        self.bytes_delivered += whole.draft.payload.len() as u64;
    }

    fn add(&mut self, other: &Self) {
        self.messages_published += other.messages_published;
        self.bytes_published += other.bytes_published;
        self.packets_received += other.packets_received;
        self.bytes_received += other.bytes_received;
        self.messages_delivered += other.messages_delivered;
        self.bytes_delivered += other.bytes_delivered;
        self.packets_lost += other.packets_lost;
    }
}

/// What was counted of streams that are over.
#[derive(Debug, Default)]
pub(super) struct Past(BTreeMap<TopicId, TopicTally>);

impl Past {
    pub(super) fn add(&mut self, topic: TopicId, tally: &TopicTally) {
        let topic = topic.plain();
        if self.0.len() >= TOPICS_MAX && !self.0.contains_key(&topic) {
            let least = self.0.iter().min_by_key(|(_, tally)| tally.packets_received);
            if let Some(least) = least.map(|(topic, _)| *topic) {
                self.0.remove(&least);
            }
        }
        self.0.entry(topic).or_default().add(tally);
    }
}

impl Multicast {
    /// What this member has seen of each topic, by its name on the wire.
    pub(crate) fn topics(&self) -> BTreeMap<TopicId, TopicTally> {
        let mut topics = self.past.0.clone();
        for stream in self.streams.values().filter(|stream| stream.id.sender != self.own) {
            let topic = topics.entry(stream.id.topic.plain()).or_default();
            topic.add(&stream.tally);
            topic.streams += 1;
        }
        for (topic, sender) in &self.senders {
            topics.entry(topic.plain()).or_default().add(sender.tally());
        }
        for topic in self.subscriptions.keys().copied().chain(self.topics_matched()) {
            let tally = topics.entry(topic).or_default();
            tally.rating = self.rating(topic);
            tally.subscribed = tally.rating > Rating::NONE;
        }
        topics
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_what_is_over_the_least_is_forgotten() {
        let mut past = Past::default();
        let topic = |at: usize| TopicId((at as u64).to_le_bytes());
        for at in 0..=TOPICS_MAX {
            let packets_received = if at == 7 { 1 } else { 5 };
            past.add(topic(at), &TopicTally { packets_received, ..TopicTally::default() });
        }
        assert_eq!(past.0.len(), TOPICS_MAX);
        assert!(!past.0.contains_key(&topic(7)) && past.0.contains_key(&topic(TOPICS_MAX)));
    }
}
