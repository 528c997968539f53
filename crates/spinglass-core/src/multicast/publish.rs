//! Publishing: messages become packets of one's own, in bursts that share a signature, at a pace.

use alloc::vec::Vec;

use super::sender::Sender;
use super::stream::Stream;
use super::{Cx, LEAF_HEADER_BYTES, Multicast, proof_bytes};
use crate::config::Dissemination;
use crate::draft::Draft;
use crate::id::{StreamId, TopicId};
use crate::outbox::Way;
use crate::time::Instant;
use crate::timer::Timer;

/// Packets of a stream that leave room for an introduction.
const INTRODUCED_PACKETS: u64 = 4;
impl Multicast {
    /// Takes a message to publish.
    pub(crate) fn publish(&mut self, topic: TopicId, draft: Draft, now: Instant) {
        self.sender(topic).push(draft, now);
    }

    /// What this member sends on a topic.
    pub(super) fn sender(&mut self, topic: TopicId) -> &mut Sender {
        let stream = StreamId { topic, sender: self.own, incarnation: self.incarnation };
        self.senders.entry(topic).or_insert_with(|| Sender::new(stream))
    }

    /// Which topic is next. They take turns: the one that waits longest is the one sent least. What
    /// is for all goes first.
    fn whose_turn(&mut self) -> Option<TopicId> {
        let waiting = self.senders.iter().filter(|(_, sender)| sender.waiting() > 0);
        let topics = waiting.map(|(topic, _)| *topic);
        let any_for_all = topics.clone().any(TopicId::is_for_all);
        let mut next = topics.filter(|topic| topic.is_for_all() == any_for_all);
        next.nth(self.rng.index(next.clone().count()))
    }

    /// Bytes of messages waiting to be sent.
    pub(crate) fn waiting(&self) -> usize {
        self.senders.values().map(Sender::waiting).sum()
    }

    /// Whether anything may be published at `now`; if so, makes the next burst. Sets the timer for
    /// when more may be.
    pub(crate) fn make_burst(&mut self, cx: &mut Cx<'_>) -> bool {
        if self.waiting() == 0 {
            return false;
        }
        let available = self.pacer.available(cx.now);
        // A backlog leaves in bursts worth their signature; a message alone leaves at once.
        let waiting_bytes = self.waiting() + LEAF_HEADER_BYTES + proof_bytes(1);
        let packet = self.packet_bytes.max(self.burst_bytes).min(waiting_bytes);
        if available < packet.min(self.config.send_burst_bytes) {
            cx.timers.set_earlier(Timer::Pace, cx.now + self.pacer.wait(packet));
            return false;
        }
        let next = self.whose_turn();
        let Some(sender) = next.and_then(|topic| self.senders.get_mut(&topic)) else {
            return false;
        };
        // A stream's first packets leave room for who signed them, whom nobody may know yet.
        let is_new = sender.packets_made() < INTRODUCED_PACKETS;
        let packet_bytes = self.packet_bytes - if is_new { self.introduction_bytes } else { 0 };
        let (start, packets) = sender.next_burst(self.round, packet_bytes, available, cx);
        cx.stats.signatures_made += 1;
        cx.stats.packets_published += packets.len() as u64;
        let topic = sender.stream().topic;
        let id = StreamId { topic, sender: self.own, incarnation: self.incarnation };
        self.keep_own(id, start, packets, cx);
        true
    }

    /// Holds a burst of one's own for repair, and sends it on its way.
    fn keep_own(&mut self, id: StreamId, start: u64, packets: Vec<Vec<u8>>, cx: &mut Cx<'_>) {
        let until = start + packets.len() as u64;
        let proof = proof_bytes(packets.len());
        let (now, round) = (cx.now, self.round);
        let stream = self.streams.entry(id).or_insert_with(|| Stream::new(id, start, now, round));
        for (sequence, packet) in (start..).zip(packets) {
            self.pacer.spend(packet.len());
            self.buffered.packets += 1;
            self.buffered.bytes += packet.len();
            stream.accept_own(sequence, packet.into(), proof, now, round);
        }
        while stream.pop_next().is_some() {}
        match self.config.dissemination {
            Dissemination::Gossip => (),
            Dissemination::Multicast => cx.outbox.packets(id, Way::Multicast, start, until),
            Dissemination::Trees => {
                cx.outbox.packets(id, Way::Tree { zones_only: false }, start, until);
            }
            Dissemination::Both => {
                cx.outbox.packets(id, Way::Multicast, start, until);
                cx.outbox.packets(id, Way::Tree { zones_only: true }, start, until);
            }
        }
        self.watch_tail(id, cx);
        self.make_room(id);
    }
}
