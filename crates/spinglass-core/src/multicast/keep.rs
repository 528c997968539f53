//! What of a stream is kept longer than repair needs it: its tail, until everybody knows who takes
//! the topic; and as many of its last messages as its sender wishes, for whoever comes later.
//!
//! Each packet says how many of the last packets are kept, itself included. Those who keep them are
//! the packets' long-term bufferers, chosen by hash, and their sender. Nobody tells of a stream
//! that has gone quiet, until those who take its topic are others than before: then everybody does,
//! for some seconds.

use alloc::collections::{BTreeMap, BTreeSet, VecDeque};
use alloc::vec::Vec;
use core::ops::Range;

use super::packet::PacketHeader;
use super::slot::Released;
use super::stream::Stream;
use super::{Cx, Multicast, PLAN_ROUNDS};
use crate::config::{Keep, Start};
use crate::id::{Sequence, StreamId, TopicId};
use crate::rating::Rating;
use crate::rng::{FNV_BASIS, fnv1a};

/// Packets of one stream that are kept at most: whoever comes late can ask for so many, of 1,200
/// bytes each, before it must give them up.
pub const KEPT_PACKETS_MAX: usize = 4096;
/// Rounds for which a stream's tail is kept and told of: ten seconds, in which what somebody has
/// begun to take is known three levels up and down.
pub(super) const TAIL_ROUNDS: u32 = 100;
/// Rounds for which a stream is told of when others have begun to take it, beyond those for which
/// it is when a packet has come: who is to carry it for a zone may come to know last.
const TOLD_MORE_ROUNDS: u32 = 40;
/// Where much is lost, a stream that has gone quiet is told of once more when it has been for so
/// long: of a few who take it one may have missed its end, and all who told of it.
const AGAIN_ROUNDS: Range<u32> = 3 * PLAN_ROUNDS..4 * PLAN_ROUNDS;
/// Rounds after which what was kept is given up, if nobody has it any more: as long as those who
/// may have it tell of it.
pub(super) const KEPT_GIVE_UP_ROUNDS: u32 = 60;
/// As old as anything that nobody knows the age of.
const UNKNOWN_ROUNDS: u32 = u8::MAX as u32;
/// From where on a stream is told that began when all of it had been sent long before: nowhere yet.
pub(super) const NOTHING: u64 = u64::MAX;
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

/// What a sender wishes to be kept, and which packets it is in.
#[derive(Debug)]
pub(super) struct Keeper {
    keep: Keep,
    /// Messages that have started so far.
    started: u64,
    /// The packets in which the last ones start, and how many had started by each one's end.
    starts: VecDeque<(u64, u64)>,
    /// The keys of messages that wait to start.
    waiting: VecDeque<u64>,
    /// In which packet the latest value of each key starts; and the same by packet.
    latest: BTreeMap<u64, u64>,
    keys: BTreeSet<(u64, u64)>,
}

impl Default for Keeper {
    fn default() -> Self {
        Self {
            keep: Keep::Last(0),
            started: 0,
            starts: VecDeque::new(),
            waiting: VecDeque::new(),
            latest: BTreeMap::new(),
            keys: BTreeSet::new(),
        }
    }
}

impl Keeper {
    /// Keeps this from the next message on.
    pub(super) fn set(&mut self, keep: Keep) {
        if keep != self.keep {
            *self = Self { keep, ..Self::default() };
        }
    }

    /// A message waits for its packet; `before` do already.
    pub(super) fn push(&mut self, payload: &[u8], before: usize) {
        let Keep::Latest(separator) = self.keep else { return };
        // Those that waited when this was wished for have no keys that anybody asked for.
        self.waiting.resize(before, 0);
        let key = payload.split(|byte| *byte == separator).next().unwrap_or_default();
        self.waiting.push_back(fnv1a(FNV_BASIS, key.iter().copied()));
    }

    /// A packet is made in which so many messages start; returns how many packets are kept, this
    /// one included.
    pub(super) fn note(&mut self, sequence: u64, starting: u64) -> u16 {
        let first = match self.keep {
            Keep::Last(messages) => self.note_last(sequence, starting, messages as u64),
            Keep::Latest(_) => self.note_latest(sequence, starting),
        };
        let packets = (sequence + 1 - first).min(KEPT_PACKETS_MAX as u64);
        u16::try_from(packets).unwrap_or(u16::MAX)
    }

    fn note_last(&mut self, sequence: u64, starting: u64, messages: u64) -> u64 {
        self.started += starting;
        if starting > 0 {
            self.starts.push_back((sequence, self.started));
        }
        let enough = |until: u64| self.started - until >= messages;
        while self.starts.len() > KEPT_PACKETS_MAX
            || self.starts.front().is_some_and(|(_, until)| enough(*until))
        {
            self.starts.pop_front();
        }
        self.starts.front().map_or(sequence + 1, |(first, _)| *first)
    }

    fn note_latest(&mut self, sequence: u64, starting: u64) -> u64 {
        for _ in 0..starting {
            let key = self.waiting.pop_front().unwrap_or_default();
            if let Some(before) = self.latest.insert(key, sequence) {
                self.keys.remove(&(before, key));
            }
            self.keys.insert((sequence, key));
        }
        let too_old = |first: u64| sequence - first >= KEPT_PACKETS_MAX as u64;
        while let Some((first, key)) = self.keys.first().copied().filter(|it| too_old(it.0)) {
            self.keys.remove(&(first, key));
            self.latest.remove(&key);
        }
        self.keys.first().map_or(sequence + 1, |(first, _)| *first)
    }
}

impl Multicast {
    /// Has a topic's last messages kept, of those that this member sends, from its next on.
    pub(crate) fn keep(&mut self, topic: TopicId, keep: Keep) {
        for name in [topic.plain(), topic.for_all()] {
            self.sender(name).keeper.set(keep);
        }
    }

    /// Whether this member asks for what is kept of a topic: for itself, or for those behind it.
    pub(super) fn wants_kept(&self, topic: TopicId, cx: &mut Cx<'_>) -> bool {
        let perhaps = self.perhaps(topic, cx).map(|(start, _)| start);
        [self.start(topic), perhaps].contains(&Some(Start::Buffered))
            || cx.members.carried(topic).rating > Rating::NONE
    }

    /// The first packet of a stream that is kept, if any is.
    pub(crate) fn kept_from(&self, id: &StreamId) -> Option<Sequence> {
        let stream = self.streams.get(id)?;
        let from = stream.kept_from(self.round);
        (from < stream.high()).then_some(Sequence(from))
    }

    /// What is done now and then about what is kept.
    pub(super) fn look_at_kept(&mut self, cx: &mut Cx<'_>) {
        if self.round.is_multiple_of(PLAN_ROUNDS) {
            self.tell_to_others(cx);
            self.tell_ends_again();
            self.let_go();
        }
    }

    /// Tells of what is kept, if those who take it are others than before.
    fn tell_to_others(&mut self, cx: &mut Cx<'_>) {
        let (round, revision) = (self.round, cx.members.revision());
        let is_other = core::mem::replace(&mut self.told_revision, revision) != revision;
        let kept = self.streams.values_mut().filter(|stream| stream.newest.kept(round) > 0);
        for stream in kept.filter(|stream| is_other || stream.takers.is_none()) {
            let takers = Some(cx.members.takers_print(stream.id.topic));
            if core::mem::replace(&mut stream.takers, takers) != takers {
                stream.active_round = round + TOLD_MORE_ROUNDS;
            }
        }
    }

    /// Tells once more of streams that have gone quiet, where much is lost.
    fn tell_ends_again(&mut self) {
        if self.loss.is_little() {
            return;
        }
        let round = self.round;
        let has_ended =
            |stream: &&mut Stream| AGAIN_ROUNDS.contains(&stream.newest.quiet_rounds(round));
        let ended = self.streams.values_mut().filter(has_ended);
        ended.for_each(|stream| stream.active_round = stream.active_round.max(round));
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
        let mut keeper = Keeper::default();
        assert_eq!([keeper.note(0, 1), keeper.note(1, 5)], [0, 0], "nothing unless it is wished");
        keeper.set(Keep::Last(3));
        // A message of three packets, then two in one, then nine.
        let kept = [(2, 1), (3, 1), (4, 1), (5, 0), (6, 0), (7, 2), (8, 9)];
        let kept = kept.map(|(sequence, starting)| keeper.note(sequence, starting));
        assert_eq!(kept, [1, 2, 3, 4, 5, 4, 1]);
    }

    #[test]
    fn no_more_is_kept_than_may_be() {
        for keep in [Keep::Last(usize::MAX), Keep::Latest(b' ')] {
            let mut keeper = Keeper::default();
            keeper.set(keep);
            let kept = (0..10_000_u64).map(|sequence| {
                let starting = sequence % 2;
                (0..starting).for_each(|_| keeper.push(&sequence.to_le_bytes(), 0));
                keeper.note(sequence, starting)
            });
            assert_eq!(kept.max(), Some(KEPT_PACKETS_MAX as u16), "{keep:?}");
            let remembered = [keeper.starts.len(), keeper.latest.len(), keeper.keys.len()];
            assert!(remembered.iter().all(|it| *it <= KEPT_PACKETS_MAX), "{remembered:?}");
        }
    }

    #[test]
    fn what_is_kept_reaches_back_to_the_oldest_of_the_latest_values() {
        let mut keeper = Keeper::default();
        keeper.set(Keep::Latest(b'='));
        let mut kept = |sequence, messages: &[&str]| {
            for (before, message) in messages.iter().enumerate() {
                keeper.push(message.as_bytes(), before);
            }
            keeper.note(sequence, messages.len() as u64)
        };
        assert_eq!([kept(0, &["a=1", "b=1"]), kept(1, &["a=2"]), kept(2, &["b=2"])], [1, 2, 2]);
        // Without a separator all of it is the key.
        assert_eq!([kept(3, &["a"]), kept(4, &["b=3", "a=3"]), kept(5, &["c"])], [2, 1, 2]);
    }
}
