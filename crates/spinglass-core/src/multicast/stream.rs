//! One packet stream at one member: what is held, what is missing, what was delivered.
//!
//! ```text
//!   released │ kept by long-term bufferers │ kept by everybody │ arrived, waiting for a hole
//!            base                          idle               next                        high
//! ```
//!
//! Invariants: `base <= idle <= next <= high`; every number in `base..high` has one slot; a number
//! has a hole exactly if its slot is `Missing`; what is given up or delivered never changes back;
//! what the rating does not take is held if it comes, and no hole if it does not;
//! `next` and `base` only grow, until an application has had anything of it.

use alloc::collections::{BTreeMap, VecDeque};
use core::ops::Range;

use bytes::Bytes;

use super::framing::Assembler;
use super::keep::{KEPT_GIVE_UP_ROUNDS, NOTHING, Newest, TAIL_ROUNDS};
use super::lesser::Lesser;
use super::packet::{PacketHeader, PacketRef, header_of};
use super::slot::{Accepted, Held, Hole, Next, Released, Slot};
use super::tally::TopicTally;
use crate::id::StreamId;
use crate::load::Load;
use crate::rating::{PacketKey, Share, Sieve};
use crate::time::Instant;

/// Packets that one stream follows at once, missing or held. A sender that gets farther ahead
/// pushes the oldest out.
const WINDOW_PACKETS: usize = 1 << 18;
/// Holes that one packet may open. What lies farther back is given up at once.
const HOLES_PER_PACKET_MAX: u64 = 1 << 16;

/// A stream as one member has it.
#[derive(Debug)]
pub(super) struct Stream {
    /// Its name.
    pub(super) id: StreamId,
    base: u64,
    slots: VecDeque<Slot>,
    next: u64,
    idle: u64,
    trim: u64,
    holes: BTreeMap<u64, Hole>,
    /// Whether its messages go to the application, and how far they are put together.
    pub(super) assembler: Option<Assembler>,
    /// While this lasts, nothing is delivered: partners may still tell of older packets.
    pub(super) discover_until_round: Option<u32>,
    /// When the last new packet came.
    pub(super) arrived: Instant,
    /// The round in which the last new packet came, or a hole was open.
    pub(super) active_round: u32,
    /// Whether it waits in the queue of streams that may have gone quiet.
    pub(super) tail_pending: bool,
    /// How often its tail was announced since the last new packet.
    pub(super) tails_told: u8,
    packet_bytes: usize,
    /// How busy it is, as its newest packet says.
    load: Load,
    /// What its newest packet says of what is kept.
    pub(super) newest: Newest,
    /// Where what is kept began when this was looked at last.
    kept_from: u64,
    /// Who took the topic when this was looked at last, as a print.
    pub(super) takers: Option<u64>,
    /// Which packets are taken, for the application or for others.
    sieve: Sieve,
    /// What was taken before more was.
    lesser: Option<Lesser>,
    /// Which messages the application is told, and from which packet on: none, as long as all that
    /// came was sent long before.
    pub(super) told: Sieve,
    pub(super) told_from: u64,
    /// It begins with what is kept, and nothing has been delivered yet.
    pub(super) begins: bool,
    /// What was counted of it.
    pub(super) tally: TopicTally,
    /// A gap that delivery has not told yet, before `next`.
    skipped: Option<(u64, u64)>,
    /// Bytes of packets that a jump dropped, not yet taken off the node's account.
    dropped: Released,
}

impl Stream {
    /// A stream of which nothing is known below `start`.
    pub(super) fn new(id: StreamId, start: u64, now: Instant, round: u32) -> Self {
        Self {
            id,
            base: start,
            slots: VecDeque::new(),
            next: start,
            idle: start,
            trim: start,
            holes: BTreeMap::new(),
            assembler: None,
            discover_until_round: None,
            arrived: now,
            active_round: round,
            tail_pending: false,
            tails_told: 0,
            packet_bytes: 0,
            load: Load::NONE,
            newest: Newest::unknown(round),
            kept_from: start,
            takers: None,
            sieve: Sieve::new(Share::ALL, &id),
            lesser: None,
            told: Sieve::new(Share::ALL, &id),
            told_from: 0,
            begins: false,
            tally: TopicTally::default(),
            skipped: None,
            dropped: Released::default(),
        }
    }

    /// One above the highest number known to exist.
    pub(super) fn high(&self) -> u64 {
        self.base.saturating_add(self.slots.len() as u64)
    }

    /// From here on, every packet that is not missing can be sent; a sender has all that is kept.
    pub(super) fn low(&self, is_own: bool) -> u64 {
        let kept = self.kept_from.max(self.trim).clamp(self.base, self.idle);
        if is_own { kept } else { self.idle }
    }

    /// Whether nothing of it is held or missing.
    pub(super) fn is_empty(&self) -> bool {
        self.slots.is_empty() && self.dropped.packets == 0
    }

    /// What a jump dropped and nobody has taken off the account yet.
    pub(super) const fn dropped(&self) -> Released {
        self.dropped
    }

    /// The first number that was neither delivered nor given up.
    pub(super) const fn next(&self) -> u64 {
        self.next
    }

    /// What is missing, by number.
    pub(super) const fn holes(&self) -> &BTreeMap<u64, Hole> {
        &self.holes
    }

    /// How busy it is, as its newest packet says.
    pub(super) const fn load(&self) -> Load {
        self.load
    }

    /// What decides who takes a packet, as far as it is known here.
    pub(super) fn key(&self, sequence: u64) -> PacketKey {
        let held = self.held(sequence).map(Held::load);
        let missing = || self.holes.get(&sequence).map(|hole| hole.load);
        let load = held.or_else(missing).unwrap_or(self.load);
        PacketKey { stream: self.id, sequence, load }
    }

    /// The bytes of its packets, roughly: those of the latest.
    pub(super) const fn packet_bytes(&self) -> usize {
        self.packet_bytes
    }

    /// A hole, to note that it was asked for.
    pub(super) fn hole_mut(&mut self, sequence: u64) -> Option<&mut Hole> {
        self.holes.get_mut(&sequence)
    }

    /// A packet that is held, to send it.
    pub(super) fn held_mut(&mut self, sequence: u64) -> Option<&mut Held> {
        match self.slot_mut(sequence) {
            Some(Slot::Held(held)) => Some(held),
            _ => None,
        }
    }

    /// A packet that is held.
    pub(super) fn held(&self, sequence: u64) -> Option<&Held> {
        match self.slot(sequence) {
            Some(Slot::Held(held)) => Some(held),
            _ => None,
        }
    }

    /// Whether a packet of this number would be new.
    pub(super) fn wants(&self, sequence: u64) -> bool {
        #[cfg(spinglass_bug = "gap_not_final")]
        if matches!(self.slot(sequence), Some(Slot::Lost)) {
            return true;
        }
        match self.slot(sequence) {
            None => sequence >= self.high(),
            // Others may lack it, as long as it would be kept like any other.
            Some(Slot::PassedOver | Slot::Thinned) => sequence >= self.idle,
            Some(slot) => matches!(slot, Slot::Missing),
        }
    }

    /// Takes in a new packet: one that [`wants`](Self::wants) asked for, and that was verified.
    /// `bytes` are the packet's own; it is `age` rounds old if nothing newer was known.
    pub(super) fn accept(
        &mut self,
        packet: &PacketRef<'_>,
        (bytes, age): (Bytes, u32),
        now: Instant,
        round: u32,
    ) -> Accepted {
        let header = packet.header;
        let sequence = header.sequence.0;
        let high = self.high();
        self.tally.received(bytes.len());
        let recent = if age > TAIL_ROUNDS { 0 } else { u64::from(header.recent) };
        let recent = sequence.saturating_sub(recent);
        // Of what lies between it and the newest before nothing else is known.
        let opened = self.open_holes(sequence, recent, self.load.max(header.load), (now, round));
        if sequence >= high {
            self.note_newest(&header, age, round);
        }
        self.hold(sequence, bytes, packet.content_end(), packet.header.first, round);
        let filled = self.holes.remove(&sequence);
        self.arrived = now;
        self.active_round = round;
        self.tails_told = 0;
        Accepted { filled, advance: if sequence < high { 0 } else { opened + 1 } }
    }

    fn note_newest(&mut self, header: &PacketHeader, age: u32, round: u32) {
        self.load = header.load;
        self.newest = Newest::of(header, age, round);
        if age <= TAIL_ROUNDS && self.told_from == NOTHING {
            self.told_from = header.sequence.0 - u64::from(header.recent);
        }
    }

    /// Takes in a packet of one's own, which ends with so many bytes of proof.
    pub(super) fn accept_own(
        &mut self,
        sequence: u64,
        packet: Bytes,
        proof_bytes: usize,
        now: Instant,
        round: u32,
    ) {
        if sequence == self.high() {
            self.slots.push_back(Slot::Missing);
            if let Some(header) = header_of(&packet) {
                self.note_newest(&header, 0, round);
            }
            let content_end = packet.len().saturating_sub(proof_bytes);
            self.hold(sequence, packet, content_end, 0, round);
            (self.arrived, self.active_round, self.tails_told) = (now, round, 0);
        }
    }

    fn hold(&mut self, sequence: u64, packet: Bytes, content_end: usize, first: u16, round: u32) {
        self.packet_bytes = packet.len();
        let content_end = u16::try_from(content_end).unwrap_or(u16::MAX);
        let held = Held { packet, content_end, first, round, asked_round: round };
        if let Some(slot) = self.slot_mut(sequence) {
            *slot = Slot::Held(held);
        }
    }

    /// Makes slots for the numbers from the highest to `sequence`, all but the last ones missing,
    /// or not taken; returns how many are missing. Those below `recent` were sent some rounds ago.
    fn open_holes(
        &mut self,
        sequence: u64,
        recent: u64,
        load: Load,
        (now, round): (Instant, u32),
    ) -> u64 {
        let (high, mut opened) = (self.high(), 0);
        let lost_until = sequence.saturating_sub(HOLES_PER_PACKET_MAX).max(high);
        if lost_until > high {
            self.jump(lost_until);
        }
        for missing in lost_until.max(self.high())..=sequence {
            let is_meant = missing >= recent || self.took(missing);
            let slot = match missing == sequence {
                true => Slot::Missing,
                false if is_meant => self.unseen(missing, load),
                false => Slot::PassedOver,
            };
            if missing < sequence && matches!(slot, Slot::Missing) {
                opened += 1;
                let is_kept = missing < recent;
                self.holes.insert(missing, Hole { is_kept, ..Hole::new(now, round, load) });
            }
            self.slots.push_back(slot);
        }
        if let Some(lesser) = self.lesser.as_mut().filter(|_| sequence >= high) {
            lesser.advance(sequence, recent, round);
        }
        opened
    }

    /// What a packet is that has not come.
    fn unseen(&self, sequence: u64, load: Load) -> Slot {
        match (self.sieve.takes(sequence), self.sieve.bears(sequence, load)) {
            (false, _) => Slot::PassedOver,
            (true, false) => Slot::Thinned,
            (true, true) => Slot::Missing,
        }
    }

    /// Whether what is taken now was taken when the packet of this number was sent.
    pub(super) fn took(&self, sequence: u64) -> bool {
        self.lesser.is_none_or(|it| it.takes(sequence))
    }

    /// A jump too far to follow: the stream begins anew at `until`, and everything before it that
    /// was not delivered is one gap.
    fn jump(&mut self, until: u64) {
        self.skipped = Some((self.next, until - self.next));
        for slot in &self.slots {
            if let Slot::Held(held) = slot {
                self.dropped.add(held);
            }
        }
        self.holes.clear();
        self.slots.clear();
        (self.base, self.next, self.idle, self.trim) = (until, until, until, until);
    }

    /// Extends the stream downwards, to packets that a partner says it still has.
    pub(super) fn discover(&mut self, low: u64, now: Instant, round: u32) {
        let start = low.max(self.base.saturating_sub(HOLES_PER_PACKET_MAX));
        if self.discover_until_round.is_none() || start >= self.base || self.next != self.base {
            return;
        }
        for sequence in (start..self.base).rev() {
            let slot = self.unseen(sequence, self.load);
            if matches!(slot, Slot::Missing) {
                self.holes.insert(sequence, Hole::new(now, round, self.load));
            }
            self.slots.push_front(slot);
        }
        (self.base, self.next, self.idle, self.trim) = (start, start, start, start);
    }

    /// The next packet or gap in order, if there is one.
    pub(super) fn pop_next(&mut self) -> Option<Next> {
        if let Some((from, packets)) = self.skipped.take() {
            return Some(Next::Lost { from, packets, thinned: 0 });
        }
        match self.slot(self.next)? {
            Slot::Missing => None,
            Slot::Held(held) => {
                let held = held.clone();
                self.next += 1;
                Some(Next::Packet(self.next - 1, held))
            }
            Slot::PassedOver => {
                while matches!(self.slot(self.next), Some(Slot::PassedOver)) {
                    self.next += 1;
                }
                Some(Next::PassedOver)
            }
            Slot::Lost | Slot::Released | Slot::Thinned => {
                let (from, mut thinned) = (self.next, 0);
                while let Some(slot @ (Slot::Lost | Slot::Released | Slot::Thinned)) =
                    self.slot(self.next)
                {
                    thinned += u64::from(matches!(slot, Slot::Thinned));
                    self.next += 1;
                }
                Some(Next::Lost { from, packets: self.next - from, thinned })
            }
        }
    }

    /// Which packets it takes.
    pub(super) const fn sieve(&self) -> &Sieve {
        &self.sieve
    }

    /// Takes a share of a stream of which no packet has come.
    pub(super) fn take(&mut self, share: Share) {
        self.sieve = Sieve::new(share, &self.id);
    }

    /// Takes another share from now on, of what has not been delivered. Of whatever was sent before
    /// and is not known of, since less was taken, no more than that is missing.
    pub(super) fn rate(&mut self, share: Share, now: Instant, round: u32) {
        if share.rating > self.sieve.rating() && self.lesser.is_none_or(|it| it.is_over()) {
            self.lesser = Some(Lesser::new(self.sieve, round));
        }
        self.sieve = Sieve::new(share, &self.id);
        for sequence in self.next..self.high() {
            let load = self.holes.get(&sequence).map_or(self.load, |hole| hole.load);
            let unseen = self.unseen(sequence, load);
            let Some(slot) = self.slot_mut(sequence) else { break };
            match (&slot, unseen) {
                (Slot::Missing, unseen @ (Slot::PassedOver | Slot::Thinned)) => {
                    *slot = unseen;
                    self.holes.remove(&sequence);
                }
                (Slot::PassedOver, Slot::Missing) => self.want_unseen(sequence, now, round),
                _ => (),
            }
        }
    }

    /// The next packet was not asked for, or is not known of yet, and the message that it goes on
    /// with is one that was taken: it is missing after all. Returns whether that is so.
    pub(super) fn want_next(&mut self, now: Instant, round: u32) -> bool {
        let first = self.assembler.as_ref().and_then(Assembler::open_since);
        if !first.is_some_and(|first| self.told.takes(first.0)) {
            return false;
        }
        let is_unseen = match self.slot(self.next) {
            Some(slot) => matches!(slot, Slot::PassedOver | Slot::Thinned),
            // By the time something newer comes it may be too old for anybody to have.
            None => !self.sieve.bears(self.next, self.load),
        };
        if is_unseen {
            if self.next == self.high() {
                self.slots.push_back(Slot::Missing);
            }
            self.want_unseen(self.next, now, round);
        }
        is_unseen
    }

    fn want_unseen(&mut self, sequence: u64, now: Instant, round: u32) {
        let load = self.load;
        if let Some(slot) = self.slot_mut(sequence) {
            *slot = Slot::Missing;
            self.holes.insert(sequence, Hole::new(now, round, load));
        }
    }

    /// Gives up what has been missing for `rounds`; returns how many packets.
    pub(super) fn give_up(&mut self, round: u32, rounds: u32) -> u64 {
        let old = |hole: &Hole| {
            let patience = if hole.is_kept { rounds.max(KEPT_GIVE_UP_ROUNDS) } else { rounds };
            round.saturating_sub(hole.since_round) >= patience
        };
        let mut given_up = 0;
        while let Some((sequence, _)) = self.holes.first_key_value().filter(|(_, hole)| old(hole)) {
            let sequence = *sequence;
            self.lose(sequence);
            given_up += 1;
        }
        given_up
    }

    /// Gives up the lowest hole.
    pub(super) fn give_up_first(&mut self) -> bool {
        let first = self.holes.first_key_value().map(|(sequence, _)| *sequence);
        first.is_some_and(|sequence| {
            self.lose(sequence);
            true
        })
    }

    fn lose(&mut self, sequence: u64) {
        self.holes.remove(&sequence);
        if let Some(slot) = self.slot_mut(sequence) {
            *slot = Slot::Lost;
        }
    }

    /// Releases what has been idle for `idle_rounds` and is not this member's to keep
    /// (`is_bufferer`), and everything that came `keep_rounds` ago.
    pub(super) fn release(
        &mut self,
        round: u32,
        (idle_rounds, keep_rounds): (u32, u32),
        mut is_bufferer: impl FnMut(u64, Load) -> bool,
    ) -> Released {
        let mut released = core::mem::take(&mut self.dropped);
        self.kept_from = self.kept_from(round);
        while self.idle < self.next {
            let sequence = self.idle;
            let Some(slot) = self.slot_mut(sequence) else { break };
            if let Slot::Held(held) = slot {
                if round.saturating_sub(held.round) < idle_rounds {
                    break;
                }
                let asked = round.saturating_sub(held.asked_round) < idle_rounds;
                if asked || is_bufferer(sequence, held.load()) {
                    // It outlives its batch, whose memory it shared until here.
                    held.packet = Bytes::copy_from_slice(&held.packet);
                } else {
                    released.add(held);
                    *slot = Slot::Released;
                }
            }
            self.idle += 1;
        }
        while self.base < self.idle {
            let is_young = |held: &Held| round.saturating_sub(held.round) < keep_rounds;
            match self.slots.front() {
                Some(Slot::Held(held)) if self.base >= self.kept_from || is_young(held) => break,
                Some(Slot::Held(held)) => released.add(held),
                Some(Slot::Released | Slot::Lost | Slot::PassedOver | Slot::Thinned) => (),
                Some(Slot::Missing) | None => break,
            }
            self.slots.pop_front();
            self.base += 1;
        }
        self.trim = self.trim.max(self.base);
        released
    }

    /// From which number on packets are kept, however old they are.
    pub(super) fn kept_from(&self, round: u32) -> u64 {
        self.high().saturating_sub(self.newest.kept(round))
    }

    /// Goes back to a number, to deliver what follows to an application that has had nothing of it.
    /// What is not there any more is missing.
    pub(super) fn rewind(&mut self, from: u64, now: Instant, round: u32) {
        let from = from.min(self.next);
        let hole = Hole { is_kept: true, ..Hole::new(now, round, self.load) };
        (from..self.base).for_each(|_| self.slots.push_front(Slot::Released));
        self.base = self.base.min(from);
        for sequence in from..self.next {
            if let Some(slot @ Slot::Released) = self.slot_mut(sequence) {
                *slot = Slot::Missing;
                self.holes.insert(sequence, hole);
            }
        }
        self.next = from;
        (self.idle, self.trim) = (self.idle.min(from), self.trim.min(from));
    }

    /// Releases the oldest delivered packet before its time, to make room.
    pub(super) fn release_oldest(&mut self) -> Released {
        let mut released = Released::default();
        while self.trim < self.next && released.packets == 0 {
            let sequence = self.trim;
            if let Some(slot) = self.slot_mut(sequence)
                && let Slot::Held(held) = slot
            {
                released.add(held);
                *slot = Slot::Released;
            }
            self.trim += 1;
        }
        self.idle = self.idle.max(self.trim.min(self.next));
        released
    }

    /// Whether the window is full, so that the oldest has to go.
    pub(super) fn is_over_window(&self) -> bool {
        self.slots.len() > WINDOW_PACKETS
    }

    /// Everything that is held, or was dropped and is still on the node's account.
    pub(super) fn all_held(&self) -> Released {
        let mut all = self.dropped;
        self.held_falling(0..u64::MAX).for_each(|(_, held)| all.add(held));
        all
    }

    /// What this member lacks, the highest first.
    pub(super) fn missing_falling(&self) -> impl Iterator<Item = u64> + '_ {
        self.holes.keys().rev().copied()
    }

    /// The numbers of `range` that it holds, the highest first.
    pub(super) fn held_falling(
        &self,
        range: Range<u64>,
    ) -> impl Iterator<Item = (u64, &Held)> + '_ {
        let range = range.start.max(self.base)..range.end.min(self.high());
        range.rev().filter_map(|sequence| self.held(sequence).map(|held| (sequence, held)))
    }

    /// Checks what must always hold; nothing is held for more than `keep_rounds`.
    pub(super) fn check_invariants(&self, round: u32, keep_rounds: u32) {
        let is_old = |held: &Held| round.saturating_sub(held.round) > keep_rounds;
        let mut unkept = (self.base..self.kept_from).zip(&self.slots).map(|(_, slot)| slot);
        let is_late = unkept.any(|slot| matches!(slot, Slot::Held(held) if is_old(held)));
        assert!(!is_late, "a packet is held for more than {keep_rounds} rounds");
        assert!(self.base <= self.idle && self.idle <= self.next && self.next <= self.high());
        let missing = self.slots.iter().filter(|slot| matches!(slot, Slot::Missing)).count();
        assert_eq!(missing, self.holes.len(), "a hole for every missing slot, and no other");
        assert!(self.holes.keys().all(|sequence| *sequence >= self.next));
    }

    fn slot(&self, sequence: u64) -> Option<&Slot> {
        self.slots.get(usize::try_from(sequence.checked_sub(self.base)?).ok()?)
    }

    fn slot_mut(&mut self, sequence: u64) -> Option<&mut Slot> {
        self.slots.get_mut(usize::try_from(sequence.checked_sub(self.base)?).ok()?)
    }
}
