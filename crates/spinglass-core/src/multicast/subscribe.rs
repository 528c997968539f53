//! What the application takes part in: topics, from where on, and which share of them.

use alloc::vec::Vec;

use super::framing::Assembler;
use super::keep::{NOTHING, TAIL_ROUNDS};
use super::packet::{PacketHeader, PacketRef};
use super::sender::RECENT_ROUNDS;
use super::stream::Stream;
use super::{Cx, DISCOVER_ROUNDS, Multicast};
use crate::config::Start;
use crate::event::Event;
use crate::id::{Sequence, StreamId, TopicId};
use crate::interest::Interest;
use crate::rating::{Rating, Share, Sieve};
use crate::timer::Timer;

impl Multicast {
    /// Delivers a topic's messages from now on, or from what is still held; also if it has
    /// delivered that before.
    pub(crate) fn subscribe(&mut self, topic: TopicId, start: Start, cx: &mut Cx<'_>) {
        let topic = topic.plain();
        let known = self.subscriptions.entry(topic).or_default();
        if start == Start::Buffered {
            *known = start;
        }
        self.meet_anew(Some(topic));
        self.rate_streams(Some(topic), cx);
        if start == Start::Buffered {
            self.tell_again(topic, cx);
        }
        self.begin_topic(topic, start, cx);
    }

    /// Has what is kept of a topic's streams told once more, of which the application has had
    /// something already.
    fn tell_again(&mut self, topic: TopicId, cx: &mut Cx<'_>) {
        for id in self.streams_of_others(Some(topic)) {
            let Some(stream) = self.streams.get_mut(&id) else { continue };
            let Some(assembler) = &stream.assembler else { continue };
            let (held, until) = (stream.low(false), stream.next());
            let from = stream.kept_from(self.round).min(held);
            // A message that has come in part is to come whole.
            let open = assembler.open_since().map_or(until, |first| first.0);
            if from < until && open >= held {
                (stream.assembler, stream.told_from) = (None, until);
                stream.rewind(from.min(open), cx.now, self.round);
            }
        }
    }

    /// Tells the application of a topic's streams that it has had nothing of: from what is kept, or
    /// from where it is to be told of each on.
    pub(super) fn begin_topic(&mut self, topic: TopicId, start: Start, cx: &mut Cx<'_>) {
        for id in self.streams_of_others(Some(topic)) {
            let Some(stream) = self.streams.get_mut(&id) else { continue };
            if stream.assembler.is_some() {
                continue;
            }
            let live = stream.told_from.max(stream.low(false));
            if start == Start::Buffered {
                let until = Sequence(live.min(stream.high()));
                cx.events.push_back(Event::Kept { stream: id, until });
                (stream.told_from, stream.begins) = (0, true);
                let kept = stream.kept_from(self.round).min(stream.low(false));
                stream.rewind(kept, cx.now, self.round);
                cx.timers.set_earlier(Timer::Solicit, cx.now);
            } else {
                stream.rewind(live, cx.now, self.round);
            }
            stream.assembler = Some(Assembler::default());
            self.deliver(id, cx);
        }
    }

    /// Takes part in a topic of the node's own, of which no stream has been met.
    pub(crate) fn expect(&mut self, topic: TopicId) {
        self.subscriptions.insert(topic, Start::Live);
    }

    /// Makes ready for a new subscription to a topic, or to some of all. Streams that this member
    /// has taken nothing of so far are forgotten: as a subscriber it begins them like anybody who
    /// came just now. Of those that it carries for others the application is told from now on,
    /// unless they wait for it already, or all that came of them is old.
    pub(super) fn meet_anew(&mut self, only: Option<TopicId>) {
        for id in self.streams_of_others(only) {
            let waits = self.is_unresolved(id.topic);
            let Some(stream) = self.streams.get_mut(&id) else { continue };
            if stream.assembler.is_some() {
                continue;
            }
            if !waits && stream.told_from != NOTHING {
                stream.told_from = stream.next();
            }
            if stream.sieve().rating() == Rating::NONE {
                let held = stream.all_held();
                self.buffered.packets -= held.packets;
                self.buffered.bytes -= held.bytes;
                self.streams.remove(&id);
            }
        }
    }

    /// Others' streams, of one topic or of all.
    fn streams_of_others(&self, only: Option<TopicId>) -> Vec<StreamId> {
        let others = |id: &StreamId| id.sender != self.own;
        let Some(topic) = only else {
            return self.streams.keys().copied().filter(others).collect();
        };
        let of_name = |topic| {
            let streams = self.streams.range(StreamId { topic, ..StreamId::default() }..);
            streams.map(|(id, _)| *id).take_while(move |id| id.topic == topic)
        };
        [topic.plain(), topic.for_all()].into_iter().flat_map(of_name).filter(others).collect()
    }

    /// What this member takes of a topic for itself.
    pub(super) fn rating(&self, topic: TopicId) -> Rating {
        let plain = topic.plain();
        let named = match self.subscriptions.contains_key(&plain) {
            true => self.ratings.get(&plain).copied().unwrap_or_default(),
            false => Rating::NONE,
        };
        let matched = self.matched(topic).map(|(_, rating)| rating);
        matched.map_or(named, |rating| named.max(rating)).of_topic(topic)
    }

    /// The same, and how busy its streams may be.
    fn share(&self, topic: TopicId) -> Share {
        Share { rating: self.rating(topic), ceiling: self.cap.ceiling() }
    }

    /// From where on it takes a topic for itself; `None`: it takes nothing.
    pub(super) fn start(&self, topic: TopicId) -> Option<Start> {
        let matched = self.matched(topic).map(|(start, _)| start);
        self.subscriptions.get(&topic.plain()).copied().or(matched)
    }

    /// What it takes in all: for itself, and for zones that it speaks for.
    pub(super) fn share_in_all(&self, topic: TopicId, cx: &mut Cx<'_>) -> Share {
        let perhaps = self.perhaps(topic, cx).map_or(Rating::NONE, |(_, rating)| rating);
        let perhaps = perhaps.of_topic(topic);
        let share = self.share(topic);
        let own = Share { rating: share.rating.max(perhaps), ..share };
        own.or(cx.members.carried(topic))
    }

    /// What this member takes, as its row is to tell it.
    pub(crate) fn interest(&self) -> Interest {
        let taken = self.subscriptions.keys().map(|topic| (*topic, self.rating(*topic)));
        let topics = Interest::of(taken, self.cap.ceiling());
        self.patterns().fold(topics, |all, (pattern, rating)| all.and(pattern, rating))
    }

    /// Has streams take what they are to take now: of one topic, or of all.
    pub(super) fn rate_streams(&mut self, only: Option<TopicId>, cx: &mut Cx<'_>) {
        for id in self.streams_of_others(only) {
            let (taken, told) = (self.share_in_all(id.topic, cx), self.share(id.topic));
            let Some(stream) = self.streams.get_mut(&id) else { continue };
            stream.told = Sieve::new(told, &id);
            if stream.sieve().share() != taken {
                stream.rate(taken, cx.now, self.round);
                self.deliver(id, cx);
                // What is taken from now on may be missing already.
                cx.timers.set_earlier(Timer::Solicit, cx.now + self.gap_wait);
            }
        }
    }

    /// Whether nobody here, nor below in the packet's tree, takes anything of its topic.
    /// Counts it if so.
    pub(super) fn is_nothing_to_us(
        &self,
        rating: Rating,
        header: &PacketHeader,
        cx: &mut Cx<'_>,
    ) -> bool {
        let shape = self.config.tree_shape();
        let mut hands_on = || cx.members.tree(&header.key(), shape).hands_on();
        let is_nothing = rating == Rating::NONE && !hands_on();
        cx.stats.packets_untaken += u64::from(is_nothing);
        is_nothing
    }

    /// One of the topics in which something happens that this member has a part in, and how much of
    /// it a partner is to take. Every other time that is one of which it lacks something, with
    /// somebody who takes as much, and so may have it.
    pub(super) fn choose_topic(&mut self, cx: &mut Cx<'_>) -> Option<(TopicId, Rating)> {
        let recent = self.round.saturating_sub(self.give_up_rounds);
        let is_active = |stream: &&Stream| stream.active_round >= recent && self.has_part(stream);
        let lacks = |stream: &&Stream| !stream.holes().is_empty();
        let is_turn = self.round.is_multiple_of(2);
        let lacks_any = is_turn && self.streams.values().any(|it| lacks(&it));
        let active = self.streams.values().filter(is_active);
        let active = active.filter(|stream| !lacks_any || lacks(stream));
        // Streams are in the order of their topics.
        let mut topics: Vec<TopicId> = active.map(|stream| stream.id.topic).collect();
        topics.dedup();
        let drawn = if topics.len() > 1 { self.rng.index(topics.len()) } else { 0 };
        let topic = topics.get(drawn).copied()?;
        let wanted = if is_turn { self.share_in_all(topic, cx).rating } else { Rating::NONE };
        Some((topic, wanted))
    }

    /// Whether this member sends a stream, or takes something of it.
    pub(super) fn has_part(&self, stream: &Stream) -> bool {
        stream.id.sender == self.own || stream.sieve().rating() > Rating::NONE
    }

    /// Whether this member takes, carries or sends anything; else it has nothing to say of streams.
    pub(super) fn has_any_part(&self) -> bool {
        let is_taken = |topic: &TopicId| self.rating(*topic) > Rating::NONE;
        !self.senders.is_empty()
            || self.patterns.is_some()
            || self.subscriptions.keys().any(is_taken)
            || self.streams.values().any(|stream| self.has_part(stream))
    }

    /// Takes a share of a topic's messages from now on.
    pub(crate) fn rate(&mut self, topic: TopicId, rating: Rating, cx: &mut Cx<'_>) {
        let topic = topic.plain();
        if rating == Rating::NONE {
            // Who comes next says anew from where on.
            self.subscriptions.entry(topic).and_modify(|start| *start = Start::Live);
        }
        if rating == Rating::ALL {
            self.ratings.remove(&topic);
        } else {
            self.ratings.insert(topic, rating);
        }
        self.rate_streams(Some(topic), cx);
    }

    /// Which packets of a stream are taken, met or not.
    pub(super) fn sieve(&self, id: &StreamId, cx: &mut Cx<'_>) -> Sieve {
        Sieve::new(self.share_in_all(id.topic, cx), id)
    }

    /// A stream met for the first time, by a packet that is so many rounds old: where it starts for
    /// this member.
    pub(super) fn begin_stream(&self, packet: &PacketRef<'_>, age: u32, cx: &mut Cx<'_>) -> Stream {
        let PacketHeader { stream: id, sequence, recent, kept, .. } = packet.header;
        let start = self.start(id.topic);
        // Who was there when the recent packets were sent, or wants what is buffered, has missed
        // them; who came just now has not. A stream that is all recent is given whole to everybody:
        // better a few messages from just before than a beginning lost in silence.
        let was_there = self.round > RECENT_ROUNDS + 1 || u64::from(recent) == sequence.0;
        let buffered = start == Some(Start::Buffered);
        let kept =
            if self.wants_kept(id.topic, cx) { u64::from(kept).saturating_sub(1) } else { 0 };
        let is_old = age > TAIL_ROUNDS;
        let is_meant = (was_there || buffered) && !is_old;
        let recent = if is_meant { u64::from(recent) } else { 0 };
        let first = sequence.0 - kept.max(recent);
        let live_from = if is_old { NOTHING } else { sequence.0 - recent };
        let mut stream = Stream::new(id, first, cx.now, self.round);
        if buffered && !was_there && first > 0 {
            stream.discover_until_round = Some(self.round + DISCOVER_ROUNDS);
        }
        let assembler = if first == 0 { Assembler::at_start() } else { Assembler::default() };
        stream.assembler = start.map(|_| assembler);
        // What is fetched for those behind, the application may not want.
        stream.told_from = if buffered { first } else { live_from };
        if buffered {
            let until = Sequence(live_from.min(sequence.0 + 1));
            cx.events.push_back(Event::Kept { stream: id, until });
        }
        stream.begins = buffered;
        stream.told = Sieve::new(self.share(id.topic), &id);
        stream.take(self.share_in_all(id.topic, cx));
        stream
    }
}
