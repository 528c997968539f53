//! A sender's side: messages waiting, packets numbered, the pace.

use alloc::collections::VecDeque;
use alloc::vec::Vec;
use core::time::Duration;

use super::Cx;
use super::framing::Framer;
use super::keep::{Keeper, TAIL_ROUNDS};
use super::packet::{
    BURST_PACKETS_MAX, LEAF_HEADER_BYTES, NO_FIRST, PacketHeader, proof_bytes, sign_burst,
};
use super::tally::TopicTally;
use crate::draft::Draft;
use crate::frame::FRAME_HEADER_BYTES;
use crate::id::{Sequence, StreamId};
use crate::link::OVERHEAD_BYTES;
use crate::load::LoadMeter;
use crate::time::Instant;
use crate::trace::Seen;

/// Bytes of packets that one signature covers at most: enough to make it cheap, few enough to leave
/// soon when packets are large.
const BURST_BYTES_MAX: usize = 512 << 10;
/// Rounds that a packet's `recent` looks back: a member that was up for as long has no excuse to
/// begin the stream later.
pub(super) const RECENT_ROUNDS: u32 = 5;
/// The last packets of a slow stream are recent all the same, so many of them, if they are kept as
/// tails are: of a stream that sends one a second, whoever never hears of the first would else take
/// the second for its beginning.
const FEW_PACKETS: usize = 4;
/// Bytes of a datagram around its packet.
pub(crate) const ENVELOPE_BYTES: usize = OVERHEAD_BYTES + FRAME_HEADER_BYTES;

/// What this member publishes on one topic.
#[derive(Debug)]
pub(super) struct Sender {
    stream: StreamId,
    framer: Framer,
    tally: TopicTally,
    next: u64,
    load: LoadMeter,
    /// What is kept for whoever comes later.
    pub(super) keeper: Keeper,
    /// The number with which each of the last rounds began.
    round_starts: VecDeque<(u32, u64)>,
    /// In which rounds the last few packets were made.
    last: VecDeque<u32>,
}

impl Sender {
    /// A sender that has not sent.
    pub(super) fn new(stream: StreamId) -> Self {
        let (framer, tally) = (Framer::default(), TopicTally::default());
        let (load, keeper) = (LoadMeter::default(), Keeper::default());
        let (round_starts, last) = (VecDeque::new(), VecDeque::new());
        Self { stream, framer, tally, next: 0, load, keeper, round_starts, last }
    }

    /// The stream it sends.
    pub(super) const fn stream(&self) -> &StreamId {
        &self.stream
    }

    /// Takes a message to be cut into packets.
    pub(super) fn push(&mut self, draft: Draft, now: Instant) {
        self.tally.published(draft.payload.len());
        self.keeper.push(&draft.payload, self.framer.unstarted());
        self.framer.push(draft, now);
    }

    /// What was published.
    pub(super) const fn tally(&self) -> &TopicTally {
        &self.tally
    }

    /// Bytes of messages waiting.
    pub(super) const fn waiting(&self) -> usize {
        self.framer.bytes()
    }

    /// Cuts and signs the next burst, of at most `bytes_max` bytes or one packet; each packet has
    /// at most `packet_bytes`, proof included. Returns its first number and its packets.
    pub(super) fn next_burst(
        &mut self,
        round: u32,
        packet_bytes: usize,
        bytes_max: usize,
        cx: &mut Cx<'_>,
    ) -> (u64, Vec<Vec<u8>>) {
        let most = (bytes_max.min(BURST_BYTES_MAX) / packet_bytes).clamp(1, BURST_PACKETS_MAX);
        let (count, room) = self.burst_shape(most, packet_bytes);
        let recent = self.recent(round);
        let start = self.next;
        let mut packets = Vec::with_capacity(count);
        while packets.len() < count && self.framer.bytes() > 0 {
            let mut packet = Vec::with_capacity(packet_bytes.min(LEAF_HEADER_BYTES + room + 512));
            packet.resize(LEAF_HEADER_BYTES, 0);
            let unstarted = self.framer.unstarted();
            let (first, since) = self.framer.fill(room, &mut packet);
            let kept = self.keeper.note(self.next, (unstarted - self.framer.unstarted()) as u64);
            let (stream, sequence) = (self.stream, Sequence(self.next));
            let recent = u32::try_from(self.next - recent).unwrap_or(u32::MAX);
            let bytes = packet.len() + proof_bytes(count) + ENVELOPE_BYTES;
            let load = self.load.note(bytes, first == NO_FIRST, cx.now);
            let mut header = Vec::with_capacity(LEAF_HEADER_BYTES);
            PacketHeader { stream, sequence, recent, first, kept, load }.encode(&mut header);
            packet.iter_mut().zip(header).for_each(|(byte, head)| *byte = head);
            if let Some(since) = since {
                let made = || Seen::Made { waited: cx.now.since(since) };
                cx.tracer.note(cx.now, stream, sequence.0, made);
            }
            packets.push(packet);
            self.next += 1;
        }
        self.last.extend(packets.iter().map(|_| round));
        self.last.drain(..self.last.len().saturating_sub(FEW_PACKETS));
        sign_burst(&mut packets, cx.crypto);
        (start, packets)
    }

    /// Packets made so far.
    pub(super) const fn packets_made(&self) -> u64 {
        self.next
    }

    /// How many packets the next burst has, at most `most`, and each one's room for content: the
    /// more packets, the longer their proofs.
    fn burst_shape(&self, most: usize, packet_bytes: usize) -> (usize, usize) {
        let room = |count| packet_bytes.saturating_sub(LEAF_HEADER_BYTES + proof_bytes(count));
        let mut count = 1;
        while count < most && count * room(count) < self.framer.bytes() {
            count = (count * 2).min(most);
        }
        let count = self.framer.bytes().div_ceil(room(count).max(1)).clamp(1, count);
        (count, room(count))
    }

    /// The number with which the round [`RECENT_ROUNDS`] ago began, or that of the first of the
    /// last few packets.
    fn recent(&mut self, round: u32) -> u64 {
        if self.round_starts.back().is_none_or(|(last, _)| *last != round) {
            self.round_starts.push_back((round, self.next));
        }
        let old = round.saturating_sub(RECENT_ROUNDS);
        while self.round_starts.len() > 1
            && self.round_starts.front().is_some_and(|(first, _)| *first < old)
        {
            self.round_starts.pop_front();
        }
        let started = self.round_starts.front().map_or(self.next, |(_, start)| *start);
        let few = self.last.iter().filter(|made| round.saturating_sub(**made) <= TAIL_ROUNDS);
        started.min(self.next - few.count() as u64)
    }
}

/// A token bucket: bytes that may be published now.
#[derive(Debug)]
pub(super) struct Pacer {
    /// Bytes per second.
    rate: u64,
    burst: u64,
    /// Billionths of bytes, so that no rounding accumulates.
    tokens: u128,
    filled: Instant,
}

const NANO: u128 = 1_000_000_000;

impl Pacer {
    /// A full bucket.
    pub(super) fn new(rate: u64, burst_bytes: usize, now: Instant) -> Self {
        let burst = burst_bytes as u64;
        Self { rate, burst, tokens: u128::from(burst) * NANO, filled: now }
    }

    /// Bytes that may be sent at `now`.
    pub(super) fn available(&mut self, now: Instant) -> usize {
        let elapsed = now.since(self.filled).as_nanos();
        let full = u128::from(self.burst) * NANO;
        self.tokens = (self.tokens + elapsed * u128::from(self.rate)).min(full);
        self.filled = now;
        usize::try_from(self.tokens / NANO).unwrap_or(usize::MAX)
    }

    /// Takes bytes that were sent.
    pub(super) fn spend(&mut self, bytes: usize) {
        self.tokens = self.tokens.saturating_sub(bytes as u128 * NANO);
    }

    /// How long until `bytes` are available, or the whole burst if that is less.
    pub(super) fn wait(&self, bytes: usize) -> Duration {
        let wanted = (bytes as u128).min(u128::from(self.burst)) * NANO;
        let missing = wanted.saturating_sub(self.tokens);
        let nanos = missing.div_ceil(u128::from(self.rate.max(1)));
        Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_pace_is_kept_to_the_byte() {
        let mut pacer = Pacer::new(1000, 100, Instant::START);
        let mut sent = 0;
        for ms in 0..10_000_u64 {
            let now = Instant::from_nanos(ms * 1_000_000);
            let available = pacer.available(now);
            pacer.spend(available);
            sent += available;
        }
        assert_eq!(sent, 100 + 9_999);
    }

    #[test]
    fn a_wait_ends_when_the_bytes_are_there() {
        let mut pacer = Pacer::new(1000, 100, Instant::START);
        pacer.spend(100);
        assert_eq!(pacer.wait(50), Duration::from_millis(50));
        assert_eq!(pacer.available(Instant::START + pacer.wait(50)), 50);
    }
}
