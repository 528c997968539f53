//! Bimodal Multicast (Birman, Hayden, Ozkasap, Xiao, Budiu, Minsky, TOCS 1999): best-effort
//! dissemination, then repair by gossip, at a cost per member that does not grow with the group.
//!
//! ```text
//!  sender ──packets──▶ everybody, by IP multicast or down a tree            (best effort)
//!  a ──digest: "5-11 and 13, my round is 7"──▶ b                            (each round, to one)
//!  a ◀──solicit(round 7): 12──────────────── b   b lacks what a has: pull
//!  a ──packet 12────────────────────────────▶ b   if the round is still 7 or 8, within the budget
//!  a ◀──packet 5───────────────────────────── b   a lacks what is old by now: push
//! ```
//!
//! Departures from the paper, each with its reason:
//! - A gap is solicited as soon as it is seen, from a partner heard of late, whose present round
//!   follows from when it was heard; the digest is the safety net. Rounds are 100 ms: waiting for
//!   one would cost more than all else.
//! - A solicitation is served in the current or the previous round, since a round trip may straddle
//!   two; later ones are refused, which keeps a slow member from costing others anything.
//! - A stream that goes quiet is announced, a few times, to members that its newest packet names so
//!   that a lost last packet need not wait for a round; and a packet that came by repair is
//!   announced to the children that would have had it from here.
//!
//! Invariants: delivery is in order per stream, each packet that the rating takes delivered or
//! inside exactly one gap; per round a member sends at most `digest_fanout` digests and 16 tails,
//! `repair_bytes_per_round` of repairs, and each packet to each member once; nothing is relayed,
//! held or delivered before its sender's signature was verified.

mod cap;
mod claims;
mod deliver;
mod digest;
mod framing;
mod keep;
mod lesser;
mod loss;
mod packet;
mod patterns;
mod peers;
mod publish;
mod repair;
mod sender;
mod slot;
mod solicit;
mod stream;
mod subscribe;
mod tally;
mod twins;

use alloc::boxed::Box;
use alloc::collections::{BTreeMap, VecDeque};
use alloc::vec::Vec;
use core::time::Duration;

use bytes::Bytes;

pub use digest::{Digest, Entry, RANGES_MAX, Sample, Solicit};
pub use framing::{Assembler, Framer, Misframed, Whole};
pub use keep::KEPT_PACKETS_MAX;
pub use packet::{
    BURST_PACKETS_MAX, LEAF_HEADER_BYTES, NO_FIRST, PacketHeader, PacketRef, VerifiedBursts,
    proof_bytes, sign_burst,
};
pub use tally::TopicTally;

use self::cap::Cap;
use self::claims::Claims;
use self::keep::TAIL_ROUNDS;
use self::loss::LossMeter;
use self::patterns::Patterns;
use self::peers::{Ledger, MULTICAST_REQUESTS_MIN, Peers};
pub(crate) use self::sender::ENVELOPE_BYTES;
use self::sender::{Pacer, Sender};
use self::slot::{Accepted, Released};
use self::stream::Stream;
use self::tally::Past;
use self::twins::is_twin;
use crate::config::{Dissemination, MulticastConfig, Start};
use crate::crypto::{Crypto, Hash};
use crate::event::{Event, Reject};
use crate::id::{Incarnation, MemberId, StreamId, TopicId};
use crate::load::Load;
use crate::members::Members;
use crate::outbox::{Control, Outbox, Way};
use crate::plan;
use crate::quarantine::{Proof, Quarantine};
use crate::rating::{PacketKey, Rating};
use crate::rng::Prng;
use crate::stats::Stats;
use crate::time::Instant;
use crate::timer::Timers;
use crate::trace::{Seen, Tracer};

/// Tail announcements per round at most, so that many slow streams cost no more than a few: the
/// others wait.
const TAILS_PER_ROUND: u32 = 16;
/// Rounds between two looks at how many rounds the target takes.
const PLAN_ROUNDS: u32 = 10;
/// Bytes that a sender with a backlog gathers for one signature, which costs each receiver as much
/// as the rest of some 40 messages of 1 KB.
const BACKLOG_BURST_BYTES: usize = 256 << 10;
/// Rounds for which a new subscriber that wants what is buffered lets its partners tell of it.
const DISCOVER_ROUNDS: u32 = 3;

/// What a sub-protocol may touch while it handles one input.
pub(crate) struct Cx<'a> {
    pub(crate) now: Instant,
    pub(crate) members: &'a mut Members,
    pub(crate) crypto: &'a mut dyn Crypto,
    pub(crate) outbox: &'a mut Outbox,
    pub(crate) timers: &'a mut Timers,
    pub(crate) events: &'a mut VecDeque<Event>,
    pub(crate) stats: &'a mut Stats,
    pub(crate) quarantine: &'a mut Quarantine,
    pub(crate) tracer: &'a mut Tracer,
}

/// How a packet came.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Via {
    Spread,
    Repair,
}

/// The multicast of one member, over all topics.
#[derive(Debug)]
pub(crate) struct Multicast {
    config: MulticastConfig,
    /// How packets are spread unless an order says otherwise.
    configured: Dissemination,
    own: MemberId,
    incarnation: Incarnation,
    /// The largest packet, proof included.
    packet_bytes: usize,
    /// What an introduction takes of it; none where datagrams are so small that it goes alone.
    introduction_bytes: usize,
    round: u32,
    streams: BTreeMap<StreamId, Stream>,
    senders: BTreeMap<TopicId, Sender>,
    subscriptions: BTreeMap<TopicId, Start>,
    cap: Cap,
    /// What is taken of topics of which not everything is.
    ratings: BTreeMap<TopicId, Rating>,
    /// Topics are seldom taken by patterns.
    patterns: Option<Box<Patterns>>,
    /// Who was there when this was last told of what is kept.
    told_revision: u64,
    bursts: VerifiedBursts,
    peers: Peers,
    ledger: Ledger,
    pacer: Pacer,
    quiet: VecDeque<StreamId>,
    claims: Claims,
    tails_left: u32,
    loss: LossMeter,
    /// What a backlog waits for, so that its packets share a signature.
    burst_bytes: usize,
    give_up_rounds: u32,
    /// How many must ask for a packet in one round for it to be multicast.
    multicast_from: u32,
    planned_for: Option<(usize, u32)>,
    gap_wait: Duration,
    buffered: Released,
    /// What was counted of streams that are over.
    past: Past,
    /// What proves a sender a liar, met since this was asked last.
    proofs: Vec<Proof>,
    rng: Prng,
}

/// A packet that parsed, waiting for its batch to be hashed.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Candidate<'a> {
    pub(crate) packet: PacketRef<'a>,
    pub(crate) via: Via,
    pub(crate) from: MemberId,
}

impl Multicast {
    pub(crate) fn new(
        config: MulticastConfig,
        (own, incarnation): (MemberId, Incarnation),
        (packet_bytes, introduction_bytes): (usize, usize),
        now: Instant,
        rng: Prng,
    ) -> Self {
        let pacer = Pacer::new(config.send_rate, config.send_burst_bytes, now);
        let mut ledger = Ledger::default();
        ledger.begin_round(config.repair_bytes_per_round, config.solicit_bytes_per_round);
        Self {
            own,
            incarnation,
            packet_bytes,
            introduction_bytes: if packet_bytes > 2 * introduction_bytes {
                introduction_bytes
            } else {
                0
            },
            round: 1,
            streams: BTreeMap::new(),
            senders: BTreeMap::new(),
            subscriptions: BTreeMap::new(),
            cap: Cap::new(config.receive_rate_max),
            ratings: BTreeMap::new(),
            patterns: None,
            told_revision: 0,
            bursts: VerifiedBursts::default(),
            peers: Peers::default(),
            ledger,
            pacer,
            quiet: VecDeque::new(),
            claims: Claims::default(),
            tails_left: TAILS_PER_ROUND,
            loss: LossMeter::default(),
            burst_bytes: BACKLOG_BURST_BYTES.min(config.send_burst_bytes / 4),
            give_up_rounds: config.give_up_rounds_min.into(),
            multicast_from: MULTICAST_REQUESTS_MIN,
            planned_for: None,
            gap_wait: config.gap_wait,
            buffered: Released::default(),
            past: Past::default(),
            proofs: Vec::new(),
            rng,
            configured: config.dissemination,
            config,
        }
    }

    pub(crate) const fn round(&self) -> u32 {
        self.round
    }

    /// Whether a packet deserves to be hashed: a cheap look before any cryptography.
    pub(crate) fn wants(
        &mut self,
        candidate: &Candidate<'_>,
        cx: &mut Cx<'_>,
    ) -> Result<bool, Reject> {
        let header = candidate.packet.header;
        if header.stream.sender == self.own {
            return Err(Reject::Own);
        }
        if let Some(stream) = self.streams.get(&header.stream) {
            if self.is_nothing_to_us(stream.sieve().rating(), &header, cx) {
                return Ok(false);
            }
            if stream.wants(header.sequence.0) || is_twin(stream, &candidate.packet) {
                return Ok(true);
            }
            match candidate.via {
                Via::Spread => cx.stats.spread_surplus += 1,
                Via::Repair => {
                    cx.stats.repairs_surplus += 1;
                    self.note_answer(candidate.from, cx);
                }
            }
            return Ok(false);
        }
        let StreamId { topic, sender, incarnation } = header.stream;
        let rating = self.share_in_all(topic, cx).rating;
        if self.is_nothing_to_us(rating, &header, cx) {
            return Ok(false);
        }
        cx.members.key_in_life(sender, incarnation)?;
        Ok(self.streams.len() < self.config.streams_max)
    }

    /// Takes in a packet whose leaf has been hashed; `bytes` are the packet's own.
    pub(crate) fn on_packet(
        &mut self,
        candidate: &Candidate<'_>,
        leaf: Hash,
        bytes: Bytes,
        cx: &mut Cx<'_>,
    ) -> Result<(), Reject> {
        let Candidate { packet, via, .. } = candidate;
        let id = packet.header.stream;
        // Again: an earlier packet of the batch may have been the same.
        if !self.wants(candidate, cx)? {
            return Ok(());
        }
        let Some((key, _)) = cx.members.key_of(id.sender) else {
            return Err(Reject::UnknownSender);
        };
        let checks = &mut cx.stats.signatures_checked;
        if !self.bursts.verify(packet, leaf, &key, checks, cx.crypto) {
            return Err(Reject::Forged);
        }
        if self.take_twin(packet, &bytes) {
            return Ok(());
        }
        let round = self.round;
        let age = if *via == Via::Repair { self.age_repaired(&id) } else { 0 };
        if !self.streams.contains_key(&id) {
            let stream = self.begin_stream(packet, age, cx);
            self.streams.insert(id, stream);
        }
        let Some(stream) = self.streams.get_mut(&id) else { return Ok(()) };
        let accepted = stream.accept(packet, (bytes, age), cx.now, round);
        self.buffered.packets += 1;
        self.buffered.bytes += packet.bytes.len();
        cx.stats.packets_received += 1;
        if packet.header.first != NO_FIRST {
            let seen = Seen::Received { from: candidate.from, repaired: *via == Via::Repair };
            cx.tracer.note(cx.now, id, packet.header.sequence.0, || seen);
        }
        self.note_arrival(*via, accepted, candidate.from, cx);
        if *via == Via::Repair {
            self.note_answer(candidate.from, cx);
        }
        let is_kept = age > TAIL_ROUNDS || accepted.filled.is_some_and(|hole| hole.is_kept);
        if *via == Via::Repair && !is_kept {
            self.repaired(id, packet.header.sequence.0, candidate.from, cx);
        }
        self.forward(&packet.header, *via, cx);
        if let Some(hole) = self.streams.get(&id).filter(|stream| !stream.holes().is_empty()) {
            self.watch_holes(accepted.advance, hole.id, cx);
        }
        self.watch_tail(id, cx);
        self.make_room(id);
        Ok(())
    }

    /// Spreads packets along trees alone from now on, or again as the settings say.
    pub(crate) fn use_trees_alone(&mut self, alone: bool) {
        self.config.dissemination = if alone { Dissemination::Trees } else { self.configured };
    }

    /// A packet came by repair: whoever would have had it from here lacks it too, perhaps; and the
    /// whole region, if it came from afar.
    fn repaired(&mut self, id: StreamId, sequence: u64, from: MemberId, cx: &mut Cx<'_>) {
        let is_from_afar = !cx.members.is_near(from) && !cx.members.is_near(id.sender);
        if is_from_afar && self.config.dissemination == Dissemination::Trees {
            cx.outbox.packets(id, Way::Crown, sequence, sequence + 1);
        } else {
            self.announce_to_children(id, sequence, cx);
        }
    }

    /// Measures loss, reordering and round trips from what a packet turned out to be.
    fn note_arrival(&mut self, via: Via, accepted: Accepted, from: MemberId, cx: &mut Cx<'_>) {
        self.loss.expected = self.loss.expected.saturating_add(accepted.advance);
        if via == Via::Repair {
            cx.stats.repairs_received += u64::from(accepted.filled.is_some());
            self.loss.missed += u64::from(accepted.advance > 0);
        }
        self.loss.missed = self.loss.missed.saturating_add(accepted.advance.saturating_sub(1));
        let Some(hole) = accepted.filled else { return };
        if via == Via::Spread {
            self.loss.missed = self.loss.missed.saturating_sub(1);
            if hole.asked.is_some() {
                // It was only late: have more patience from now on.
                self.gap_wait = (self.gap_wait * 5 / 4).min(self.config.round);
            }
        } else if let Some((whom, Some(asked))) = hole.first
            && cx.members.address_of(from) == Some(whom)
        {
            self.note_trip(whom, cx.now.since(asked));
        }
    }

    /// Passes a packet on along its sender's tree, before it is delivered here.
    fn forward(&mut self, header: &PacketHeader, via: Via, cx: &mut Cx<'_>) {
        if via != Via::Spread {
            return;
        }
        let (id, from) = (header.stream, header.sequence.0);
        let shape = self.config.tree_shape();
        match self.config.dissemination {
            Dissemination::Gossip => (),
            Dissemination::Trees => {
                cx.outbox.packets(id, Way::Tree { zones_only: false }, from, from + 1);
            }
            Dissemination::Multicast => self.forward_if_few_take(header, cx),
            Dissemination::Both => {
                let remote = !cx.members.is_near(id.sender);
                if remote && cx.members.tree(&header.key(), shape).is_region_head {
                    cx.outbox.packets(id, Way::Tree { zones_only: true }, from, from + 1);
                    cx.outbox.packets(id, Way::Multicast, from, from + 1);
                } else {
                    self.forward_if_few_take(header, cx);
                }
            }
        }
    }

    /// What few of a region take goes along a tree there, not by IP multicast.
    fn forward_if_few_take(&self, header: &PacketHeader, cx: &mut Cx<'_>) {
        let key = header.key();
        if !cx.members.is_widely_taken(&key) {
            cx.outbox.packets(key.stream, Way::Multicast, key.sequence, key.sequence + 1);
        }
    }

    /// A gossip round.
    pub(crate) fn on_round(&mut self, round: u32, cx: &mut Cx<'_>) {
        self.round = round;
        self.tails_left = TAILS_PER_ROUND;
        self.ledger
            .begin_round(self.config.repair_bytes_per_round, self.config.solicit_bytes_per_round);
        self.loss.end_round();
        self.peers.on_round(round);
        cx.stats.loss_ppm = self.loss.ppm;
        // Patience that reordering has bought wears off.
        self.gap_wait = self.config.gap_wait.max(self.gap_wait * 31 / 32);
        if self.planned_for.is_none() || round.is_multiple_of(PLAN_ROUNDS) {
            self.plan(cx.members.count());
        }
        if round.is_multiple_of(PLAN_ROUNDS) {
            self.rate_streams(None, cx);
        }
        self.look_at_cap(cx);
        self.age(cx);
        self.look_at_kept(cx);
        // Who has nothing to say says so now and then: others may have lost sight of it.
        let speaks = self.has_any_part() || round.is_multiple_of(PLAN_ROUNDS);
        let digests = if speaks { self.config.digest_fanout } else { 0 };
        for _ in 0..digests {
            let topic = self.choose_topic(cx);
            if let Some(to) = cx.members.choose_partner(topic) {
                cx.outbox.control(Control::Digest { to });
            }
        }
    }

    /// How many rounds the target takes, at this loss and in this group [FACTS 2.7].
    fn plan(&mut self, count: usize) {
        // Whole per cents, rounded up: the same few questions again and again.
        let loss = self.loss.ppm.div_ceil(10_000).max(1);
        if self.planned_for == Some((count, loss)) {
            return;
        }
        self.planned_for = Some((count, loss));
        let rounds = plan::give_up_rounds(&plan::Question {
            members: count,
            loss_percent: loss,
            nines: self.config.reliability.nines,
            fanout: self.config.digest_fanout,
        });
        let (least, most) = (self.config.give_up_rounds_min, self.config.give_up_rounds_max);
        self.give_up_rounds = rounds.clamp(least.into(), most.into());
        self.multicast_from = plan::crowd(count, loss).max(MULTICAST_REQUESTS_MIN);
    }

    /// Gives up what is missing for too long, releases what is held for long enough.
    fn age(&mut self, cx: &mut Cx<'_>) {
        let (own, round, give_up) = (self.own, self.round, self.give_up_rounds);
        let (idle, count) = (self.config.idle_rounds, self.config.long_term_bufferers);
        let mut changed = Vec::new();
        let patterns = self.patterns.as_ref();
        let is_open = |topic| patterns.is_some_and(|patterns| patterns.leave_open(topic));
        for stream in self.streams.values_mut() {
            #[cfg(not(spinglass_bug = "never_gives_up"))]
            let lost = stream.give_up(round, give_up);
            #[cfg(spinglass_bug = "never_gives_up")]
            let lost = 0;
            let discovered = stream.discover_until_round.is_some_and(|until| round >= until);
            if lost > 0 || discovered {
                changed.push(stream.id);
            }
            #[cfg(not(spinglass_bug = "never_releases"))]
            {
                let id = stream.id;
                // What may turn out to be wanted waits for that.
                let idle = if is_open(id.topic) { TAIL_ROUNDS } else { idle.into() };
                let rounds = (idle, give_up);
                // What is kept its sender keeps.
                let own_from = if id.sender == own { stream.kept_from(round) } else { u64::MAX };
                let released = stream.release(round, rounds, |sequence, load| {
                    let key = PacketKey { stream: id, sequence, load };
                    sequence >= own_from || cx.members.is_bufferer(&key, count)
                });
                self.buffered.packets -= released.packets;
                self.buffered.bytes -= released.bytes;
            }
            #[cfg(spinglass_bug = "never_releases")]
            let _ = (idle, count);
        }
        for id in changed {
            self.deliver(id, cx);
        }
        self.drop_dead_streams(cx);
    }

    /// Forgets streams of lives that are over, once nothing of them is held or missing.
    fn drop_dead_streams(&mut self, cx: &Cx<'_>) {
        if !self.round.is_multiple_of(PLAN_ROUNDS) {
            return;
        }
        let (members, own, past) = (&cx.members, self.own, &mut self.past);
        self.streams.retain(|id, stream| {
            // While packets of a life are taken in, what was delivered of it must be remembered.
            let goes_on = members.key_in_life(id.sender, id.incarnation).is_ok();
            let stays = id.sender == own || goes_on || !stream.is_empty();
            if !stays {
                past.add(id.topic, &stream.tally);
            }
            stays
        });
        self.forget_matched();
    }

    /// Keeps the buffers within their bound: the stream that grew pays.
    fn make_room(&mut self, id: StreamId) {
        let Some(stream) = self.streams.get_mut(&id) else { return };
        #[cfg(not(spinglass_bug = "buffer_unbounded"))]
        while self.buffered.bytes > self.config.buffer_bytes_max || stream.is_over_window() {
            let released = stream.release_oldest();
            if released.packets == 0 {
                // Everything held waits for a hole: it is told as a gap when the batch is
                // delivered.
                stream.give_up_first();
                break;
            }
            self.buffered.packets -= released.packets;
            self.buffered.bytes -= released.bytes;
        }
        let _ = stream;
    }

    /// The newest packets of the streams whose packets came last, the latest first.
    pub(crate) fn streams_of_late(&self, most: usize) -> Vec<PacketKey> {
        let others = self.streams.values().filter(|stream| stream.id.sender != self.own);
        let mut streams: Vec<&Stream> = others.collect();
        streams.sort_by_key(|stream| core::cmp::Reverse(stream.arrived));
        let newest = |stream: &Stream| stream.key(stream.high().saturating_sub(1));
        streams.into_iter().take(most).map(newest).collect()
    }

    /// What decides who takes a packet, as far as it is known here.
    pub(crate) fn key(&self, id: &StreamId, sequence: u64) -> PacketKey {
        let unknown = PacketKey { stream: *id, sequence, load: Load::NONE };
        self.streams.get(id).map_or(unknown, |stream| stream.key(sequence))
    }

    /// Forgets a partner that is gone.
    pub(crate) fn on_member_down(&mut self, id: MemberId) {
        self.peers.forget(id);
    }

    /// The bytes of a packet that is held.
    pub(crate) fn packet(&self, stream: &StreamId, sequence: u64) -> Option<&Bytes> {
        self.streams.get(stream)?.held(sequence).map(|held| &held.packet)
    }

    pub(crate) fn fill_gauges(&self, stats: &mut Stats) {
        stats.buffered_bytes = self.buffered.bytes as u64;
        stats.buffered_packets = self.buffered.packets as u64;
        stats.give_up_rounds = self.give_up_rounds;
    }

    pub(crate) fn check_invariants(&self) {
        // An old packet goes when what is before it goes, which may have come a hole's life later.
        let keep = self.give_up_rounds + u32::from(self.config.give_up_rounds_max) + 1;
        let streams = self.streams.values();
        streams.for_each(|stream| stream.check_invariants(self.round, keep));
        let streams = self.streams.values();
        let held: usize = streams.map(|stream| stream.held_falling(0..u64::MAX).count()).sum();
        let dropped: usize = self.streams.values().map(|stream| stream.dropped().packets).sum();
        let account = self.buffered.packets;
        assert!(held + dropped == account, "{held} and {dropped} packets held, {account} counted");
        assert!(self.streams.len() <= self.config.streams_max + self.senders.len());
    }
}
