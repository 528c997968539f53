//! What the application takes part in: topics, from where on, and which share of them.

use alloc::vec::Vec;

use super::framing::Assembler;
use super::packet::{PacketHeader, PacketRef};
use super::sender::RECENT_ROUNDS;
use super::stream::Stream;
use super::{Cx, DISCOVER_ROUNDS, Multicast, tell_message};
use crate::config::Start;
use crate::id::{Sequence, StreamId, TopicId};
use crate::rating::{Rating, Sieve};
use crate::timer::Timer;

impl Multicast {
    /// Delivers a topic's messages from now on, or from what is still held.
    pub(crate) fn subscribe(&mut self, topic: TopicId, start: Start, cx: &mut Cx<'_>) {
        self.subscriptions.insert(topic, start);
        let own = self.own;
        let streams = self.streams.values_mut();
        for stream in streams.filter(|stream| stream.id.topic == topic && stream.id.sender != own) {
            if stream.assembler.is_some() {
                continue;
            }
            let mut assembler = Assembler::default();
            if start == Start::Buffered {
                let held = stream.held_falling(stream.low()..stream.next());
                let mut replay: Vec<_> = held.map(|(at, held)| (at, held.clone())).collect();
                replay.reverse();
                for (at, held) in replay {
                    let (id, sieve, content) = (stream.id, *stream.sieve(), held.content());
                    let tally = &mut stream.tally;
                    let pushed = assembler.push(Sequence(at), held.first(), &content, |whole| {
                        tell_message(&sieve, id, whole, tally, cx);
                    });
                    if pushed.is_err() {
                        assembler.cut();
                    }
                }
            }
            stream.assembler = Some(assembler);
        }
    }

    /// Takes part in a topic of the node's own, of which no stream has been met.
    pub(crate) fn expect(&mut self, topic: TopicId) {
        self.subscriptions.insert(topic, Start::Live);
    }

    /// Takes a share of a topic's messages from now on.
    pub(crate) fn rate(&mut self, topic: TopicId, rating: Rating, cx: &mut Cx<'_>) {
        if rating == Rating::ALL {
            self.ratings.remove(&topic);
        } else {
            self.ratings.insert(topic, rating);
        }
        let own = self.own;
        let others = |stream: &&mut Stream| stream.id.topic == topic && stream.id.sender != own;
        for stream in self.streams.values_mut().filter(others) {
            stream.rate(rating, cx.now, self.round);
        }
        let ids = self.streams.keys().filter(|id| id.topic == topic).copied();
        ids.collect::<Vec<StreamId>>().into_iter().for_each(|id| self.deliver(id, cx));
        // What is taken from now on may be missing already.
        cx.timers.set_earlier(Timer::Solicit, cx.now + self.gap_wait);
    }

    /// Which packets of a stream are taken, met or not.
    pub(super) fn sieve(&self, id: &StreamId) -> Sieve {
        Sieve::new(self.ratings.get(&id.topic).copied().unwrap_or_default(), id)
    }

    /// A stream met for the first time: where it starts for this member.
    pub(super) fn begin_stream(&self, packet: &PacketRef<'_>, cx: &Cx<'_>) -> Stream {
        let PacketHeader { stream: id, sequence, recent, .. } = packet.header;
        let start = self.subscriptions.get(&id.topic);
        // Who was there when the recent packets were sent, or wants what is buffered, has missed
        // them; who came just now has not. A stream that is all recent is given whole to everybody:
        // better a few messages from just before than a beginning lost in silence.
        let was_there = self.round > RECENT_ROUNDS + 1 || u64::from(recent) == sequence.0;
        let buffered = start == Some(&Start::Buffered);
        let first = if was_there || buffered { sequence.0 - u64::from(recent) } else { sequence.0 };
        let mut stream = Stream::new(id, first, cx.now, self.round);
        if buffered && !was_there && first > 0 {
            stream.discover_until_round = Some(self.round + DISCOVER_ROUNDS);
        }
        let assembler = if first == 0 { Assembler::at_start() } else { Assembler::default() };
        stream.assembler = start.map(|_| assembler);
        if let Some(rating) = self.ratings.get(&id.topic) {
            stream.rate(*rating, cx.now, self.round);
        }
        stream
    }
}
