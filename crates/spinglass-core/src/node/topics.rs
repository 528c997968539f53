//! Topics: what the application takes of them, and how others come to know.

use alloc::sync::Arc;
use alloc::vec::Vec;
use core::net::SocketAddr;

use super::Node;
use crate::config::{Keep, Start};
use crate::id::{MemberId, Sequence, StreamId, TopicId};
use crate::multicast::Cx;
use crate::outbox::Control;
use crate::pattern::{Pattern, PatternError, TEXT_BYTES_MAX};
use crate::rating::Rating;
use crate::time::{Instant, Now};
use crate::trust::Denied;

/// Rounds between two looks at what the own row should tell of topics.
pub(super) const INTEREST_ROUNDS: u32 = 10;
/// Texts sent in one datagram, when somebody asks: they fit one of 1,200 bytes.
const TEXTS_PER_DATAGRAM: usize = 4;

impl Node {
    /// Delivers a topic's messages to the application from now on, or from what is still buffered,
    /// also if it has had that before: see [`Event::Kept`](crate::Event::Kept).
    ///
    /// # Errors
    /// The rules deny it, or this node was not told the topic's text ([`topic`](Self::topic)) and
    /// so can't look it up in them; nothing changed.
    pub fn subscribe(&mut self, now: Now, topic: TopicId, start: Start) -> Result<(), Denied> {
        self.stats.inputs += 1;
        if let Some(trust) = &self.trust {
            trust.check_subscribe(topic, &self.members)?;
        }
        self.multicast.subscribe(topic, start, &mut cx!(self, now.monotonic));
        self.tell_interest(now.monotonic);
        Ok(())
    }

    /// Takes a share of a topic's messages from now on; all of them, if this is never called. What
    /// is taken of a sender's messages is even in time, and the same at all of the same rating.
    pub fn rate(&mut self, now: Now, topic: TopicId, rating: Rating) {
        self.stats.inputs += 1;
        self.multicast.rate(topic, rating, &mut cx!(self, now.monotonic));
        self.tell_interest(now.monotonic);
    }

    /// Takes a share of all topics that a pattern matches, from now on or from what is kept; of
    /// nothing ([`Rating::NONE`]), no longer. Which topics these are is told by
    /// [`poll_matched`](Self::poll_matched). Those that rules deny are passed over.
    ///
    /// # Errors
    /// There are more than 64; nothing changed.
    pub fn subscribe_pattern(
        &mut self,
        now: Now,
        pattern: &Pattern,
        start: Start,
        rating: Rating,
    ) -> Result<(), PatternError> {
        self.stats.inputs += 1;
        let now = now.monotonic;
        self.multicast.subscribe_pattern(pattern, (start, rating), &mut cx!(self, now))?;
        for topic in self.multicast.topics_met() {
            self.resolve_topic(topic, now);
        }
        self.tell_interest(now);
        Ok(())
    }

    /// A topic that a pattern has turned out to match, and its text, before any of its messages. A
    /// topic may be told again.
    pub fn poll_matched(&mut self) -> Option<(TopicId, Arc<str>)> {
        self.multicast.take_matched()
    }

    /// The first packet of a stream that is kept for whoever comes later, if any is.
    #[must_use]
    pub fn kept_from(&self, stream: &StreamId) -> Option<Sequence> {
        self.multicast.kept_from(stream)
    }

    /// Looks for the texts of topics that patterns may match, if packets of them have come.
    pub(super) fn name_topics(&mut self, now: Instant) {
        for (topic, sender) in self.multicast.topics_active(self.members.know_patterns()) {
            self.name_topic(topic, (sender, sender), now);
        }
    }

    /// The same of one topic, of which whom a packet came `from` may know the text, and its sender
    /// does: they are asked in turn.
    pub(super) fn name_topic(
        &mut self,
        topic: TopicId,
        (from, sender): (MemberId, MemberId),
        now: Instant,
    ) {
        let topic = topic.plain();
        self.resolve_topic(topic, now);
        let matters = self.members.know_patterns() || self.multicast.is_unresolved(topic);
        if matters
            && let Some(times) = self.members.asks_text(topic)
            && let whom = if times.is_multiple_of(2) { from } else { sender }
            && let Some(to) = self.members.address_of(whom)
        {
            self.outbox.control(Control::WhatTopic { to, topics: alloc::vec![topic] });
        }
    }

    /// Has it turn out what patterns take of a topic, if its text is known and it has not.
    fn resolve_topic(&mut self, topic: TopicId, now: Instant) {
        if !self.multicast.is_unresolved(topic) {
            return;
        }
        let Some(text) = self.members.text(topic).cloned() else { return };
        let members = &self.members;
        let allowed = Some(topic) != self.orders_topic()
            && self.trust.as_ref().is_none_or(|it| it.check_subscribe(topic, members).is_ok());
        self.multicast.resolve(topic, (&text, allowed), &mut cx!(self, now));
    }

    pub(super) fn on_what_topic(&mut self, to: SocketAddr, topics: &[TopicId]) {
        let texts = topics.iter().filter_map(|topic| self.members.tell_text(*topic));
        let texts = texts.filter(|text| (1..=TEXT_BYTES_MAX).contains(&text.len()));
        let texts: Vec<_> = texts.collect();
        for texts in texts.chunks(TEXTS_PER_DATAGRAM) {
            self.outbox.control(Control::Topics { to, texts: texts.to_vec() });
        }
    }

    /// A text proves itself; those that nobody here has asked for are not remembered.
    pub(super) fn on_topic_text(&mut self, text: &str, now: Instant) {
        let topic = TopicId::of_text(text, &mut *self.crypto);
        if self.members.is_text_asked(topic) && self.members.learn_text(topic, text) {
            self.trust.iter_mut().for_each(|trust| trust.on_text());
            self.resolve_topic(topic, now);
        }
    }

    /// Has messages of a topic kept, of those that this node sends, for whoever subscribes later
    /// from [`Start::Buffered`], from its next message on; none, if this is never called. They are
    /// kept by this node and by some that take them, in at most
    /// [`KEPT_PACKETS_MAX`](crate::multicast::KEPT_PACKETS_MAX) packets of each sender and half of
    /// each one's buffers.
    pub fn keep(&mut self, _now: Now, topic: TopicId, keep: Keep) {
        self.stats.inputs += 1;
        self.multicast.keep(topic, keep);
    }

    /// Has the own row tell what this member takes of which topics, so that others send it that and
    /// no more. Until it has told so, it is sent everything.
    pub(super) fn tell_interest(&mut self, now: Instant) {
        if !self.has_left {
            self.table.set_interest(self.multicast.interest());
            self.after_table(now);
        }
    }
}
