//! Asking for what is missing: whom, how many, and when again.

use alloc::collections::BTreeMap;
use alloc::vec::Vec;
use core::net::SocketAddr;
use core::time::Duration;

use super::digest::{Solicit, ranges_of};
use super::peers::{Peer, TRIP_MAX};
use super::slot::Hole;
use super::stream::Stream;
use super::{Cx, Multicast};
use crate::id::{MemberId, StreamId};
use crate::outbox::Control;
use crate::rating::too_small;
use crate::time::Instant;
use crate::timer::Timer;

/// Packets that one solicitation asks for; further ones go to another member.
pub(super) const SOLICIT_PACKETS_MAX: usize = 32;
/// A stream's holes looked at in one go, the newest first.
const HOLES_LOOKED_AT: usize = 4096;
/// How many of a group ask a packet's sender, on average, if all of them lack it and have asked
/// others for nothing.
const SENDER_ASKED_BY: u64 = 4;

/// How often one alone is asked for a packet again where little is lost.
const TRIES_ALONE: u16 = 2;
/// How many times what is usual somebody's first answer is thought to have taken at most, if it may
/// have been pushed.
const DOUBTFUL_TIMES: u32 = 2;

impl Multicast {
    /// Whether a packet exists for all this member knows, and has not come.
    pub(crate) fn is_missing(&self, stream: &StreamId, sequence: u64) -> bool {
        self.streams.get(stream).is_some_and(|stream| stream.holes().contains_key(&sequence))
    }

    /// A gap was seen: have a look at it before long.
    pub(super) fn watch_holes(&mut self, advance: u64, id: StreamId, cx: &mut Cx<'_>) {
        if self.config.solicit_on_arrival && advance > 1 && self.streams.contains_key(&id) {
            cx.timers.set_earlier(Timer::Solicit, cx.now + self.gap_wait);
        }
    }

    /// How long a member's answer may take: a quarter longer than usual.
    fn answer_within(&self, address: SocketAddr) -> Duration {
        (self.peers.trip(address) / 4 * 5).max(self.config.solicit_retry)
    }

    /// How long an answer is waited for before another member is asked: a little more each time,
    /// never more than a round, unless answers take that long.
    fn retry_after(&self, hole: &Hole) -> Duration {
        let first = hole.answer_within;
        let more = first / 4 * u32::from(hole.tries.saturating_sub(1));
        (first + more).min(self.config.round.max(first))
    }

    /// Asks for what has been missing long enough, the newest first, each time somebody else.
    pub(crate) fn on_solicit_due(&mut self, cx: &mut Cx<'_>) {
        let mut next = self.solicit_claims(cx);
        if !self.config.solicit_on_arrival {
            next.into_iter().for_each(|next| cx.timers.set_earlier(Timer::Solicit, next));
            return;
        }
        let holed = |stream: &&Stream| !stream.holes().is_empty();
        let ids: Vec<StreamId> =
            self.streams.values().filter(holed).map(|stream| stream.id).collect();
        for id in ids {
            let due = self.solicit_holes(id, cx);
            next = [next, due].into_iter().flatten().min();
        }
        if let Some(next) = next {
            cx.timers.set_earlier(Timer::Solicit, next);
        }
    }

    /// Asks for one stream's holes; returns when the next of them is due.
    fn solicit_holes(&mut self, id: StreamId, cx: &mut Cx<'_>) -> Option<Instant> {
        let stream = self.streams.get(&id)?;
        let (load, packet_bytes) = (stream.load(), stream.packet_bytes().max(1));
        let room = self.ledger.solicit_bytes() / packet_bytes;
        let (due, mut next) = self.due_holes(stream, room, cx.now);
        let is_young = |hole: &Hole| {
            let rounds = self.round.saturating_sub(hole.since_round);
            !hole.is_kept && rounds < self.config.idle_rounds.into()
        };
        let (young, old): (Vec<_>, Vec<_>) = due.iter().partition(|(_, hole)| is_young(hole));
        // Whoever waits for another answer is the last of many: it asks two at once. Where little
        // is known to be lost it first asks two more in turn, since whoever was asked may have
        // lacked it, too, and both of two may answer.
        let is_patient = self.loss.ppm > 0 && self.loss.is_little();
        let alone = if is_patient { TRIES_ALONE } else { 0 };
        let is_late = |hole: &Hole| hole.tries > alone;
        let again: Vec<_> = young.iter().filter(|(_, hole)| is_late(hole)).copied().collect();
        self.ledger.spend_solicit((due.len() + again.len()) * packet_bytes);
        let mut whom = BTreeMap::new();
        for asked in [young, again] {
            let sequences: Vec<u64> = asked.iter().map(|(sequence, _)| *sequence).collect();
            // If nobody has it but its sender, some of all that lack it ask there.
            let retries = asked.iter().any(|(_, hole)| hole.tries > 0);
            let may_be_alone = is_patient || !cx.members.all_take_all(id.topic, load);
            let of_sender = may_be_alone && retries && {
                let members = cx.members.takers_count(id.topic) as u64;
                self.rng.below(members.max(1)) < SENDER_ASKED_BY
            };
            for chunk in sequences.chunks(SOLICIT_PACKETS_MAX) {
                let sender = of_sender.then(|| self.solicit_sender(id, chunk, cx)).flatten();
                let asked = sender.or_else(|| self.solicit_anybody(id, chunk, cx));
                whom.extend(chunk.iter().map(|sequence| (*sequence, asked)));
            }
        }
        for (sequence, _) in old {
            whom.insert(sequence, self.solicit_bufferer(id, sequence, cx));
        }
        for (sequence, whom) in whom {
            let retry = self.note_asked(id, sequence, whom, cx.now);
            next = Some(next.map_or(retry, |next| next.min(retry)));
        }
        next
    }

    /// A stream's holes that are to be asked for now, the newest first, at most so many; and when
    /// the next of the others is.
    fn due_holes(
        &self,
        stream: &Stream,
        room: usize,
        now: Instant,
    ) -> (Vec<(u64, Hole)>, Option<Instant>) {
        let mut due = Vec::new();
        let mut next: Option<Instant> = None;
        for (sequence, hole) in stream.holes().iter().rev().take(HOLES_LOOKED_AT) {
            let at = match hole.asked {
                None => hole.since + self.gap_wait,
                Some(asked) => asked + self.retry_after(hole),
            };
            if at > now {
                next = Some(next.map_or(at, |next| next.min(at)));
            } else if due.len() < room {
                due.push((*sequence, *hole));
            } else {
                // The rest waits for the next round's budget.
                let later = now + self.config.round;
                next = Some(next.map_or(later, |next| next.min(later)));
                break;
            }
        }
        (due, next)
    }

    /// Notes whom a packet was asked of, if of anybody; returns when another is asked.
    pub(super) fn note_asked(
        &mut self,
        id: StreamId,
        sequence: u64,
        whom: Option<SocketAddr>,
        now: Instant,
    ) -> Instant {
        let within = whom.map_or(self.config.round, |whom| self.answer_within(whom));
        let stream = self.streams.get_mut(&id);
        let Some(hole) = stream.and_then(|stream| stream.hole_mut(sequence)) else {
            return now + within;
        };
        hole.first = match (hole.first, whom) {
            (None, Some(whom)) => Some((whom, Some(now))),
            (Some((first, _)), Some(whom)) if first == whom => Some((first, None)),
            (first, _) => first,
        };
        (hole.asked, hole.answer_within) = (Some(now), within);
        hole.tries = hole.tries.saturating_add(1);
        let hole = *hole;
        now + self.retry_after(&hole)
    }

    /// Asks a random partner for young packets: almost everybody has them. At the very beginning,
    /// when no partner was heard yet, the sender.
    fn solicit_anybody(
        &mut self,
        id: StreamId,
        falling: &[u64],
        cx: &mut Cx<'_>,
    ) -> Option<SocketAddr> {
        // Whoever takes what is hardest to get of it takes all.
        let keys = falling.iter().map(|number| self.key(&id, *number));
        let hardest = keys.max_by_key(too_small);
        let hardest = hardest.filter(|key| !cx.members.all_take_all(id.topic, key.load));
        let members = &mut *cx.members;
        let may_have = |address| match hardest {
            Some(key) => members.may_take_packet(address, &key),
            None => true,
        };
        let peer = self.peers.choose(cx.now, self.config.round, may_have, &mut self.rng);
        let (to, round) = match peer {
            Some(peer) => (peer.address, self.round_there(&peer, cx.now)),
            None => match cx.members.address_of(id.sender) {
                Some(address) => (address, 0),
                None => return None,
            },
        };
        self.solicit(to, round, id, falling, cx);
        Some(to)
    }

    /// Asks a stream's sender for young packets, if it is known.
    fn solicit_sender(
        &mut self,
        id: StreamId,
        falling: &[u64],
        cx: &mut Cx<'_>,
    ) -> Option<SocketAddr> {
        let address = cx.members.address_of(id.sender)?;
        self.solicit(address, self.round_at(address, cx.now), id, falling, cx);
        Some(address)
    }

    /// Asks for an old packet: one of those who keep it for long, each time another one.
    pub(super) fn solicit_bufferer(
        &mut self,
        id: StreamId,
        sequence: u64,
        cx: &mut Cx<'_>,
    ) -> Option<SocketAddr> {
        let count = self.config.long_term_bufferers;
        let own = cx.members.own_address();
        let mut keepers = cx.members.bufferers(&self.key(&id, sequence), count);
        keepers.retain(|keeper| *keeper != own);
        let Some(drawn) = keepers.get(self.rng.index(keepers.len())).copied() else {
            return self.solicit_anybody(id, &[sequence], cx);
        };
        let others = || keepers.iter().find(|keeper| !self.peers.is_silent(**keeper));
        let is_silent = self.peers.is_silent(drawn);
        let address = if is_silent { others().copied().unwrap_or(drawn) } else { drawn };
        self.solicit(address, self.round_at(address, cx.now), id, &[sequence], cx);
        Some(address)
    }

    /// The round in which a partner will be asked, as far as one can tell: what it said of its
    /// round was under way, and so will be what it is asked.
    fn round_there(&self, peer: &Peer, now: Instant) -> u32 {
        peer.round_at(now + self.peers.trip(peer.address), self.config.round)
    }

    /// The same of whoever is at an address; 0: it is not known.
    fn round_at(&self, address: SocketAddr, now: Instant) -> u32 {
        self.peers.find(address).map_or(0, |peer| self.round_there(peer, now))
    }

    pub(super) fn solicit(
        &mut self,
        to: SocketAddr,
        round: u32,
        stream: StreamId,
        falling: &[u64],
        cx: &mut Cx<'_>,
    ) {
        let wanted = ranges_of(falling.iter().copied());
        if wanted.is_empty() || cfg!(spinglass_bug = "holes_unasked") {
            return;
        }
        cx.stats.solicits_sent += 1;
        self.peers.asked(to);
        cx.stats.packets_solicited += falling.len() as u64;
        cx.outbox.control(Control::Solicit { to, solicit: Solicit { round, stream, wanted } });
    }

    /// Notes how long a member took to send what it was asked for. If others may have begun to push
    /// the packet by then, unasked, that was no answer, perhaps: believed, it would have this
    /// member guess others' rounds so wrong that none answers any more, and nothing would mend
    /// that.
    pub(super) fn note_trip(&mut self, address: SocketAddr, trip: Duration) {
        let pushed_after = self.config.round * u32::from(self.config.idle_rounds).saturating_sub(1);
        let doubtful_max = self.peers.usual_trip().max(self.config.solicit_retry) * DOUBTFUL_TIMES;
        let first_max = if trip < pushed_after { TRIP_MAX } else { doubtful_max };
        self.peers.took(address, trip, first_max);
    }

    /// Notes that a member has sent a packet that was, or is, missing.
    pub(super) fn note_answer(&mut self, from: MemberId, cx: &Cx<'_>) {
        let address = cx.members.address_of(from);
        address.into_iter().for_each(|address| self.peers.answered(address));
    }
}
