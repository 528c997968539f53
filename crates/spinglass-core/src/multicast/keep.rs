//! What of a stream is kept longer than repair needs it: its tail, until everybody knows who takes
//! the topic; and as many of its last messages as its sender wishes, for whoever comes later.
//!
//! Each packet says how many of the last packets are kept, itself included. Those who keep them are
//! the packets' long-term bufferers, chosen by hash, and their sender. Nobody tells of a stream
//! that has gone quiet, until those who take its topic are others than before: then everybody does,
//! for some seconds.

use alloc::collections::VecDeque;
use alloc::vec::Vec;

use super::packet::PacketHeader;
use super::slot::Released;
use super::stream::Stream;
use super::{Cx, Multicast, PLAN_ROUNDS};
use crate::config::Start;
use crate::id::{StreamId, TopicId};
use crate::rating::Rating;

/// Packets of one stream that are kept at most: whoever comes late can ask for so many, of 1,200
/// bytes each, before it must give them up.
pub const KEPT_PACKETS_MAX: usize = 4096;
/// Rounds for which a stream's tail is kept and told of: ten seconds, in which what somebody has
/// begun to take is known three levels up and down.
pub(super) const TAIL_ROUNDS: u32 = 100;
/// Rounds for which a stream is told of when others have begun to take it, beyond those for which
/// it is when a packet has come: who is to carry it for a zone may come to know last.
const TOLD_MORE_ROUNDS: u32 = 40;
/// Rounds after which what was kept is given up, if nobody has it any more: as long as those who
/// may have it tell of it.
pub(super) const KEPT_GIVE_UP_ROUNDS: u32 = 60;
/// As old as anything that nobody knows the age of.
const UNKNOWN_ROUNDS: u32 = u8::MAX as u32;
/// The share of the buffers that quiet streams may fill is one in so many.
const QUIET_ONE_IN: usize = 2;

/// What a stream's newest packet says of what is kept.
#[derive(Debug)]
pub(super) struct Newest {
    /// The round in which it came.
    round: u32,
    /// How old it was by then, in rounds.
    age: u32,
    /// How many of the last packets are kept for whoever comes later.
    kept: u64,
    /// How many are until everybody knows who takes the topic.
    tail: u64,
}

impl Newest {
    /// None is known in this round.
    pub(super) const fn unknown(round: u32) -> Self {
        Self { round, age: 0, kept: 0, tail: 0 }
    }

    pub(super) fn of(header: &PacketHeader, age: u32, round: u32) -> Self {
        Self { round, age, kept: header.kept.into(), tail: u64::from(header.recent) + 1 }
    }

    /// How many rounds ago it was new.
    pub(super) const fn quiet_rounds(&self, round: u32) -> u32 {
        round.saturating_sub(self.round).saturating_add(self.age)
    }

    /// How old whatever comes after it by repair is, unless somebody has said: as old as this was,
    /// with which it comes; or nobody knows, since nothing has come for long.
    pub(super) const fn age_of_next(&self, round: u32) -> u32 {
        let is_late = round.saturating_sub(self.round) >= KEPT_GIVE_UP_ROUNDS;
        if is_late { UNKNOWN_ROUNDS } else { self.age }
    }

    /// How many of the last packets are kept.
    pub(super) fn kept(&self, round: u32) -> u64 {
        let tail = if self.quiet_rounds(round) <= TAIL_ROUNDS { self.tail } else { 0 };
        self.kept.max(tail)
    }

    pub(super) const fn keep_nothing(&mut self) {
        (self.kept, self.tail) = (0, 0);
    }
}

/// How many messages a sender wishes to be kept, and which packets they are in.
#[derive(Debug, Default)]
pub(super) struct Keep {
    messages: u64,
    /// Messages that have started so far.
    started: u64,
    /// The packets in which the last ones start, and how many had started by each one's end.
    starts: VecDeque<(u64, u64)>,
}

impl Keep {
    /// Keeps so many from the next packet on.
    pub(super) fn set(&mut self, messages: usize) {
        self.messages = messages as u64;
    }

    /// A packet is made in which so many messages start; returns how many packets are kept, this
    /// one included.
    pub(super) fn note(&mut self, sequence: u64, starting: u64) -> u16 {
        self.started += starting;
        if starting > 0 {
            self.starts.push_back((sequence, self.started));
        }
        let enough = |until: u64| self.started - until >= self.messages;
        while self.starts.len() > KEPT_PACKETS_MAX
            || self.starts.front().is_some_and(|(_, until)| enough(*until))
        {
            self.starts.pop_front();
        }
        let first = self.starts.front().map_or(sequence + 1, |(first, _)| *first);
        let packets = (sequence + 1 - first).min(KEPT_PACKETS_MAX as u64);
        u16::try_from(packets).unwrap_or(u16::MAX)
    }
}

impl Multicast {
    /// Has a topic's last messages kept, of those that this member sends, from its next on.
    pub(crate) fn keep(&mut self, topic: TopicId, messages: usize) {
        self.sender(topic).keep.set(messages);
    }

    /// Whether this member asks for what is kept of a topic: for itself, or for those behind it.
    pub(super) fn wants_kept(&self, topic: TopicId, cx: &mut Cx<'_>) -> bool {
        let perhaps = self.perhaps(topic, cx).map(|(start, _)| start);
        [self.start(topic), perhaps].contains(&Some(Start::Buffered))
            || cx.members.carried(topic).rating > Rating::NONE
    }

    /// Tells of what is kept, if those who take it are others than before.
    pub(super) fn tell_kept(&mut self, cx: &mut Cx<'_>) {
        if !self.round.is_multiple_of(PLAN_ROUNDS) {
            return;
        }
        for stream in self.streams.values_mut().filter(|stream| stream.newest.kept(self.round) > 0)
        {
            let takers = cx.members.takers_print(stream.id.topic);
            if core::mem::replace(&mut stream.takers, takers) != takers {
                stream.active_round = self.round + TOLD_MORE_ROUNDS;
            }
        }
        self.let_go();
    }

    /// Keeps no more of quiet streams than there is room for: those that have been quiet for
    /// longest go first.
    fn let_go(&mut self) {
        let quiet = |stream: &&Stream| stream.newest.quiet_rounds(self.round) > self.give_up_rounds;
        let held = self.streams.values().filter(quiet).map(|stream| (stream, stream.all_held()));
        let held = held.filter(|(_, held)| held.packets > 0);
        let mut held: Vec<_> =
            held.map(|(stream, held): (_, Released)| (stream.arrived, stream.id, held)).collect();
        let mut bytes: usize = held.iter().map(|(_, _, held)| held.bytes).sum();
        let room = self.config.buffer_bytes_max / QUIET_ONE_IN;
        if bytes <= room {
            return;
        }
        held.sort_unstable_by_key(|(arrived, id, _)| (*arrived, *id));
        for (_, id, held) in held {
            if bytes <= room {
                break;
            }
            bytes -= held.bytes;
            if let Some(stream) = self.streams.get_mut(&id) {
                stream.newest.keep_nothing();
            }
        }
    }

    /// How many rounds old a packet is that came by repair, if it is a stream's newest: as others
    /// have said, or else as what came before it lets one think.
    pub(super) fn age_repaired(&self, id: &StreamId) -> u32 {
        let known = || self.streams.get(id).map(|stream| stream.newest.age_of_next(self.round));
        self.claims.quiet_of(id).map(u32::from).or_else(known).unwrap_or(0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn as_many_packets_are_kept_as_the_last_messages_are_in() {
        let mut keep = Keep::default();
        assert_eq!([keep.note(0, 1), keep.note(1, 5)], [0, 0], "nothing unless it is wished");
        keep.set(3);
        // A message of three packets, then two in one, then nine.
        let kept = [(2, 1), (3, 1), (4, 1), (5, 0), (6, 0), (7, 2), (8, 9)];
        let kept = kept.map(|(sequence, starting)| keep.note(sequence, starting));
        assert_eq!(kept, [1, 2, 3, 4, 5, 4, 1]);
    }

    #[test]
    fn no_more_is_kept_than_may_be() {
        let mut keep = Keep::default();
        keep.set(usize::MAX);
        let kept = (0..10_000).map(|sequence| keep.note(sequence, u64::from(sequence % 2 == 0)));
        assert_eq!(kept.max(), Some(KEPT_PACKETS_MAX as u16));
        assert!(keep.starts.len() <= KEPT_PACKETS_MAX);
    }
}
