//! Repair: what to answer, what to tell of unasked, and when to look.

use alloc::vec::Vec;
use core::net::SocketAddr;
use core::ops::Range;

use super::claims::{Ask, Source};
use super::digest::{Digest, ENTRY_BYTES_MAX, Entry, RANGES_MAX, Solicit, ranges_of};
use super::keep::TAIL_ROUNDS;
use super::peers::{SILENT_AFTER, Verdict, rounds_later};
use super::slot::{Held, Hole};
use super::solicit::SOLICIT_PACKETS_MAX;
use super::stream::Stream;
use super::{Cx, Multicast};
use crate::config::Dissemination;
use crate::crypto::Crypto;
use crate::event::Reject;
use crate::id::{MemberId, StreamId};
use crate::load::Load;
use crate::members::Members;
use crate::outbox::{Control, Way};
use crate::rating::{PacketKey, Rating};
use crate::time::Instant;
use crate::timer::Timer;

/// Packets that one digest makes its receiver ask for, or push.
const DIGEST_PACKETS_MAX: usize = 64;
/// Entries of a digest that surely names all streams that its sender follows: many more fit one.
const DIGEST_WHOLE: usize = 12;
/// How often a stream's newest packet is announced once it has gone quiet, if much is lost, or it
/// is not known how much.
const TAILS_PER_PACKET: u8 = 4;
/// The same where little is: one member alone that loses a fifth still hears of 99 in 100 packets
/// by then, since it must miss the packet and both.
const TAILS_PER_PACKET_MIN: u8 = 2;
/// Packets below the newest that others tell of, among which those that are taken are looked for.
const CLAIMED_MAX: usize = 4096;
/// Rounds after which a member that lacks a packet is told of it: by then it is no more on its way.
const HINT_ROUNDS: u32 = 2;

/// Why a digest's sender may lack more than others do.
#[derive(Debug, Clone, Copy, Default)]
struct Lacking {
    /// The region holds it for dead, and nobody sends it anything unasked.
    is_cut_off: bool,
    /// It may be flooded where digests go, and waits for answers at another port.
    waits: bool,
}

impl Multicast {
    // --- answering

    /// Serves a solicitation, the newest packets first, within the round's budget.
    pub(crate) fn on_solicit(
        &mut self,
        (from, address): (MemberId, SocketAddr),
        solicit: &Solicit,
        cx: &mut Cx<'_>,
    ) {
        cx.stats.solicits_received += 1;
        let current = self.round;
        // Current or previous round, and one ahead for a clock that was guessed.
        let timely = solicit.round == 0 || solicit.round.abs_diff(current) <= 1;
        #[cfg(not(spinglass_bug = "late_served"))]
        if !timely {
            cx.stats.solicits_late += 1;
            return;
        }
        let _ = timely;
        // Whoever can't say which round this is gets the smaller half.
        let reserve = if solicit.round == 0 { self.config.repair_bytes_per_round / 2 } else { 0 };
        let wanted = solicit.wanted.iter().cloned().flat_map(Range::rev);
        for sequence in wanted.take(RANGES_MAX * SOLICIT_PACKETS_MAX) {
            self.repair((from, address), solicit.stream, sequence, reserve, cx);
        }
    }

    /// Sends one packet to one who lacks it, if it is held and the budget allows.
    fn repair(
        &mut self,
        (to, address): (MemberId, SocketAddr),
        id: StreamId,
        sequence: u64,
        reserve: usize,
        cx: &mut Cx<'_>,
    ) {
        let round = self.round;
        let Some(stream) = self.streams.get_mut(&id) else { return };
        // Others would take it for news.
        let is_old = stream.newest.quiet_rounds(round) > TAIL_ROUNDS;
        let Some(held) = stream.held_mut(sequence) else { return };
        let (bytes, load) = (held.packet.len(), held.load());
        let has_multicast =
            matches!(self.config.dissemination, Dissemination::Multicast | Dissemination::Both);
        let key = PacketKey { stream: id, sequence, load };
        let can_multicast =
            has_multicast && !is_old && cx.members.is_near(to) && cx.members.is_widely_taken(&key);
        let multicast_from = can_multicast.then_some(self.multicast_from);
        match self.ledger.book(to, (id, sequence), bytes, reserve, multicast_from) {
            Verdict::Unicast => {
                held.asked_round = round;
                cx.outbox.packets(id, Way::Repair(address), sequence, sequence + 1);
            }
            Verdict::Multicast => {
                held.asked_round = round;
                cx.stats.repairs_multicast += 1;
                cx.outbox.packets(id, Way::RepairMulticast, sequence, sequence + 1);
            }
            Verdict::Repeated => cx.stats.solicits_repeated += 1,
            Verdict::OverBudget => cx.stats.repairs_over_budget += 1,
        }
    }

    // --- digests

    /// Takes in a member's digest of a round.
    ///
    /// `is_cut_off`: the region holds its sender for dead, and nobody sends it anything unasked.
    pub(crate) fn on_digest(
        &mut self,
        from: (MemberId, SocketAddr),
        digest: &Digest,
        is_cut_off: bool,
        cx: &mut Cx<'_>,
    ) {
        self.compare(from, digest, self.config.pull_offered, cx);
        // Whoever names a port for answers may be flooded where everything else goes.
        let waits = self.config.push_old && cx.outbox.reply_port(from.1).is_some();
        self.hint(from.1, digest, Lacking { is_cut_off, waits }, cx);
    }

    /// Takes in what a member says of one stream that went quiet.
    pub(crate) fn on_tail(
        &mut self,
        from: (MemberId, SocketAddr),
        digest: &Digest,
        cx: &mut Cx<'_>,
    ) {
        self.compare(from, digest, true, cx);
        self.hint(from.1, digest, Lacking::default(), cx);
    }

    /// Compares a digest with what is held: pulls what is young, if it `pulls`; pushes what is old.
    fn compare(
        &mut self,
        (from, address): (MemberId, SocketAddr),
        digest: &Digest,
        pulls: bool,
        cx: &mut Cx<'_>,
    ) {
        cx.stats.digests_received += 1;
        self.peers.heard(from, address, digest.round, cx.now);
        self.compare_samples((from, address), digest, cx);
        for entry in &digest.entries {
            if pulls {
                self.pull(address, digest.round, entry, cx);
            }
            if self.config.push_old {
                self.push((from, address), entry, cx);
            }
        }
    }

    /// Announces to the digest's sender what it should have had by now: those who were to hand it
    /// on may be hostile, and so may be the next ones that it hears of it from. What is old is
    /// pushed.
    fn hint(&mut self, to: SocketAddr, digest: &Digest, lacking: Lacking, cx: &mut Cx<'_>) {
        let Lacking { is_cut_off, waits } = lacking;
        // Without tails nobody is told anything that it did not ask for.
        if self.config.tail_wait.is_zero() && !waits {
            return;
        }
        let (round, idle) = (self.round, u32::from(self.config.idle_rounds));
        let ages = if waits { 0 } else { HINT_ROUNDS }..idle;
        let is_due = |held: &Held| ages.contains(&round.saturating_sub(held.round));
        let lags = |entry: &&Entry| {
            let Some(stream) = self.streams.get(&entry.stream) else { return false };
            let beyond = core::iter::once(entry.high..stream.high());
            let lacking = beyond.chain(entry.missing.iter().cloned());
            let (held, sieve) =
                (lacking.flat_map(|range| stream.held_falling(range)), entry.sieve());
            let held = held.take(DIGEST_PACKETS_MAX);
            let mut meant = held.filter(|(sequence, held)| sieve.bears(*sequence, held.load()));
            meant.any(|(_, held)| is_due(held))
        };
        let lagging = digest.entries.iter().filter(lags).map(|entry| entry.stream);
        let mut streams: Vec<StreamId> = lagging.collect();
        // Of streams that a digest does not name one says nothing unless they are unknown to it.
        let misses_all = waits && digest.entries.len() < DIGEST_WHOLE;
        let recent = round.saturating_sub(self.give_up_rounds);
        let is_told = |id| digest.entries.iter().any(|entry| entry.stream == id);
        let is_news = |stream: &&Stream| {
            let is_active = is_cut_off && stream.active_round >= recent;
            let mut all = stream.held_falling(0..stream.high());
            let is_young = misses_all && all.any(|(_, held)| is_due(held));
            (is_active || is_young) && !is_told(stream.id)
        };
        if is_cut_off || misses_all {
            let news = self.streams.values().filter(is_news).map(|stream| stream.id);
            streams.extend(news.filter(|id| cx.members.may_take(to, id.topic)));
        }
        for stream in streams {
            self.announce(to, stream, cx);
        }
    }

    /// Asks the digest's sender for what it has and this member lacks, the newest first.
    fn pull(&mut self, from: SocketAddr, round: u32, entry: &Entry, cx: &mut Cx<'_>) {
        let id = entry.stream;
        if id.sender == self.own || cx.quarantine.holds(id.sender) {
            return;
        }
        if self.share_in_all(id.topic, cx).rating == Rating::NONE {
            return;
        }
        let key = cx.members.key_in_life(id.sender, id.incarnation);
        // Whose key is not known yet is asked for; its packets are worth remembering until then.
        let is_over = key.is_err_and(|reject| reject == Reject::StaleIncarnation);
        if is_over && !self.streams.contains_key(&id) {
            return;
        }
        let theirs = entry.sieve();
        let is_missing = |sequence| entry.missing.iter().any(|range| range.contains(&sequence));
        let has = |sequence: u64, load| theirs.bears(sequence, load) && !is_missing(sequence);
        let (high, load) = self.reach_of(&id);
        let room = self.streams.contains_key(&id) || self.streams.len() < self.config.streams_max;
        if entry.high > high && room {
            // Whoever came after a stream fell silent need not hear its end, unless it wants that.
            let is_known = self.streams.contains_key(&id);
            let was_there = is_known || self.claims.contains(&id) || self.wants_kept(id.topic, cx);
            if u32::from(entry.quiet) > TAIL_ROUNDS && !was_there {
                return;
            }
            // Of a stream that is new in this region nobody here keeps anything: whoever tells of
            // it may.
            let may_keep = !is_known && self.rng.index(2) == 0;
            let holds = (entry.low < entry.high || may_keep) && has(entry.high - 1, load);
            let source = match holds {
                true => Source::Holder(from, cx.outbox.reply_port(from), round, cx.now),
                false => Source::Bufferer,
            };
            let told = (entry.high, entry.quiet);
            let due = self.claims.add(id, told, source, cx.now, self.gap_wait);
            cx.timers.set_earlier(Timer::Solicit, due);
        }
        // Others say what they have, too.
        if self.peers.is_silent(from) {
            return;
        }
        let Some(stream) = self.streams.get_mut(&id) else { return };
        stream.discover(entry.low, cx.now, self.round);
        let is_late = |hole: &Hole, asked| cx.now.since(asked) >= hole.answer_within;
        let due = |hole: &Hole| hole.asked.is_none_or(|asked| is_late(hole, asked));
        let bytes = stream.packet_bytes().max(1);
        let holes = stream.holes().range(..entry.high).rev();
        let holes = holes.filter(|(at, hole)| **at >= entry.low || hole.is_kept);
        let wanted: Vec<u64> = holes
            .filter(|(sequence, hole)| due(hole) && has(**sequence, hole.load))
            .map(|(sequence, _)| *sequence)
            .take(DIGEST_PACKETS_MAX.min(self.ledger.solicit_bytes() / bytes))
            .collect();
        self.ledger.spend_solicit(wanted.len() * bytes);
        for sequence in &wanted {
            self.note_asked(id, *sequence, Some(from), cx.now);
        }
        let round = rounds_later(round, self.peers.trip(from), self.config.round);
        self.solicit(from, round, id, &wanted, cx);
    }

    /// The highest number known of a stream, and how busy it was.
    pub(super) fn reach_of(&self, id: &StreamId) -> (u64, Load) {
        self.streams.get(id).map_or((0, Load::NONE), |stream| (stream.high(), stream.load()))
    }

    /// Asks for the newest packets of streams that others say have more.
    pub(super) fn solicit_claims(&mut self, cx: &mut Cx<'_>) -> Option<Instant> {
        let known = |id: &StreamId| self.streams.get(id).map_or(0, Stream::high);
        let life = self.config.round * self.give_up_rounds;
        let silent = |address| self.peers.owes(address) / SILENT_AFTER;
        let retry = (self.peers.usual_trip() / 4 * 5).max(self.config.solicit_retry);
        let (asks, next) = self.claims.due(cx.now, (retry, life), known, silent);
        for Ask { stream, high, source } in asks {
            let (known, load) = self.reach_of(&stream);
            let sieve = self.sieve(&stream, cx);
            // Who takes little looks far back for as many.
            let newest = (known..high).rev().take(CLAIMED_MAX);
            let newest = newest.filter(|number| sieve.bears(*number, load));
            // Of a quiet stream the newest alone says how much is kept.
            let quiet = self.claims.quiet_of(&stream).map_or(0, u16::from);
            let is_quiet = quiet > self.config.idle_rounds || self.wants_kept(stream.topic, cx);
            let begins = known == 0 && is_quiet;
            let most = if begins { 1 } else { SOLICIT_PACKETS_MAX };
            let newest: Vec<u64> = newest.take(most).collect();
            match source {
                Source::Holder(from, port, round, heard) => {
                    let ago = cx.now.since(heard) + self.peers.trip(from);
                    let round = rounds_later(round, ago, self.config.round);
                    cx.outbox.answer(port.map(|port| (from, port)));
                    self.solicit(from, round, stream, &newest, cx);
                    cx.outbox.answer(None);
                }
                // Each packet has keepers of its own; the newest proves that the others exist.
                Source::Bufferer => {
                    if let Some(newest) = newest.first() {
                        self.solicit_bufferer(stream, *newest, cx);
                    }
                }
            }
        }
        next
    }

    /// Sends the digest's sender what it lacks, if that is old by now: the young it will pull.
    fn push(&mut self, to: (MemberId, SocketAddr), entry: &Entry, cx: &mut Cx<'_>) {
        let Some(stream) = self.streams.get(&entry.stream) else { return };
        let (round, idle) = (self.round, u32::from(self.config.idle_rounds));
        // Beyond what it knows, then below: the newest first.
        let beyond = core::iter::once(entry.high..stream.high()).filter(|range| !range.is_empty());
        let sieve = entry.sieve();
        let old: Vec<u64> = beyond
            .chain(entry.missing.iter().cloned())
            .flat_map(|range| stream.held_falling(range))
            .filter(|(sequence, held)| {
                let is_old = round.saturating_sub(held.round) >= idle;
                is_old && sieve.bears(*sequence, held.load())
            })
            .map(|(sequence, _)| sequence)
            .take(DIGEST_PACKETS_MAX)
            .collect();
        for sequence in old {
            self.repair(to, entry.stream, sequence, 0, cx);
        }
    }

    /// Entries for a digest of at most `bytes_max` bytes: the streams active last, first, of those
    /// that both this member and the one at `to` have a part in.
    pub(crate) fn digest_entries(
        &self,
        to: SocketAddr,
        only: Option<StreamId>,
        bytes_max: usize,
        (members, crypto): (&mut Members, &mut dyn Crypto),
    ) -> Vec<Entry> {
        let recent = self.round.saturating_sub(self.give_up_rounds);
        let mut active: Vec<&Stream> = match only {
            Some(id) => self.streams.get(&id).into_iter().collect(),
            None => self
                .streams
                .values()
                .filter(|stream| stream.active_round >= recent || !stream.holes().is_empty())
                .filter(|stream| self.has_part(stream) && members.may_take(to, stream.id.topic))
                .collect(),
        };
        active.sort_by_key(|stream| core::cmp::Reverse(stream.arrived));
        let mut entries = Vec::new();
        let mut left = bytes_max;
        for stream in active {
            // Two varints of up to three bytes each tell any range of a window.
            let Some(room) = left.checked_sub(ENTRY_BYTES_MAX) else { break };
            #[cfg(not(spinglass_bug = "digest_claims_all"))]
            let mut missing = ranges_of(stream.missing_falling());
            #[cfg(spinglass_bug = "digest_claims_all")]
            let mut missing: Vec<Range<u64>> = ranges_of([]);
            missing.truncate(room / 6);
            // What is missing below the last range told is not told: it can't be offered either.
            let told = missing.last().filter(|_| missing.len() >= RANGES_MAX.min(room / 6));
            let low =
                stream.low(stream.id.sender == self.own).max(told.map_or(0, |range| range.end));
            let sample = self.sample(stream, crypto);
            let share = stream.sieve().share();
            let quiet = u8::try_from(stream.newest.quiet_rounds(self.round)).unwrap_or(u8::MAX);
            let (stream, high) = (stream.id, stream.high());
            left = room.saturating_sub(missing.len() * 6);
            entries.push(Entry { stream, high, low: low.min(high), missing, sample, share, quiet });
        }
        entries
    }

    // --- tails

    /// A packet came: if none follows for a while, the stream's tail is announced.
    pub(super) fn watch_tail(&mut self, id: StreamId, cx: &mut Cx<'_>) {
        let wait = self.config.tail_wait;
        if wait.is_zero() {
            return;
        }
        let Some(stream) = self.streams.get_mut(&id) else { return };
        if !stream.tail_pending {
            stream.tail_pending = true;
            self.quiet.push_back(id);
            cx.timers.set_earlier(Timer::Tail, cx.now + wait);
        } else if self.quiet.len() == 1 {
            // The only one there is: a steady stream need not wake its receivers for nothing.
            cx.timers.set(Timer::Tail, cx.now + wait);
        }
    }

    /// Announces the streams that went quiet, each to the member that the packet's rotation names:
    /// so everybody is told once each time, not most twice and some never.
    pub(crate) fn on_tail_due(&mut self, cx: &mut Cx<'_>) {
        let wait = self.config.tail_wait;
        let tails = if self.loss.is_little() { TAILS_PER_PACKET_MIN } else { TAILS_PER_PACKET };
        let shape = self.config.tree_shape();
        for _ in 0..self.quiet.len() {
            let Some(id) = self.quiet.pop_front() else { break };
            let Some(stream) = self.streams.get_mut(&id) else { continue };
            let due = stream.arrived + wait * (u32::from(stream.tails_told) + 1);
            if due > cx.now || self.tails_left == 0 {
                self.quiet.push_back(id);
                let next = if due > cx.now { due } else { cx.now + wait };
                cx.timers.set_earlier(Timer::Tail, next);
                continue;
            }
            let told = stream.tails_told;
            let newest = stream.key(stream.high().saturating_sub(1));
            let near = cx.members.rotation(&newest, told.into(), shape);
            let far = cx.members.far_rotation(&newest, told.into(), shape);
            let all: Vec<SocketAddr> = near.into_iter().chain(far).collect();
            // What this round has no room for is told in the next.
            let has_room = all.len() <= self.tails_left as usize;
            if has_room {
                stream.tails_told = told.saturating_add(1);
                stream.tail_pending = stream.tails_told < tails;
            }
            if stream.tail_pending {
                self.quiet.push_back(id);
                let next = if has_room { due } else { cx.now } + wait;
                cx.timers.set_earlier(Timer::Tail, next);
            }
            if has_room {
                all.into_iter().for_each(|to| self.announce(to, id, cx));
            }
        }
    }

    /// A packet came late, by repair: those who would have had it from here lack it too, perhaps.
    pub(super) fn announce_to_children(&mut self, id: StreamId, sequence: u64, cx: &mut Cx<'_>) {
        let shape = self.config.tree_shape();
        let zones_only = match self.config.dissemination {
            Dissemination::Multicast | Dissemination::Gossip => return,
            Dissemination::Trees => false,
            Dissemination::Both => true,
        };
        for to in cx.members.tree(&self.key(&id, sequence), shape).children(zones_only) {
            self.announce(to, id, cx);
        }
    }

    fn announce(&mut self, to: SocketAddr, stream: StreamId, cx: &mut Cx<'_>) {
        if self.tails_left > 0 {
            self.tails_left -= 1;
            cx.outbox.control(Control::Tail { to, stream });
        }
    }
}
