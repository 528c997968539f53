//! What others say exists and no packet has proved yet: the newest packets of a stream, or a stream
//! not met at all.
//!
//! A claim opens no hole, since a digest is not signed by the stream's sender: it is asked for,
//! from whoever made it or keeps it for long, and the packet proves the rest. It is given the
//! patience of a gap first: most often the packet is on its way. Those who claim the same are
//! remembered, to be asked in turn.

use alloc::collections::{BTreeMap, VecDeque};
use alloc::vec::Vec;
use core::cmp::Reverse;
use core::net::SocketAddr;
use core::time::Duration;

use crate::frame::ReplyPort;
use crate::id::{MemberId, StreamId};
use crate::time::Instant;

/// Claims followed at once. When full, one is forgotten of whoever made most: the next digests
/// repeat what is true.
const CLAIMS_MAX: usize = 256;
/// Members remembered per claim. When full, the one that spoke first is forgotten.
const SOURCES_MAX: usize = 6;
/// Members asked at once when the first one's answer has not come: whoever waits for a second
/// answer is the last of many, and few wait for it.
const ASKED_AGAIN: usize = 2;
/// After so long it no longer matters how young a claim has called its packet.
const STALE_AFTER: Duration = Duration::from_secs(5);
/// Claims of the same that end the patience: where so many members have a packet, this one's copy
/// is lost and not on its way.
const CLAIMS_CERTAIN: usize = 2;

/// Streams whose newest packets are known by hearsay.
#[derive(Debug, Default)]
pub(super) struct Claims {
    claims: BTreeMap<StreamId, Claim>,
}

#[derive(Debug)]
struct Claim {
    /// When to ask next.
    due: Instant,
    /// When it was last made.
    heard: Instant,
    /// Who made it first.
    opener: Option<SocketAddr>,
    /// How many rounds ago the newest packet was new, as whoever says least says.
    quiet: u8,
    /// Whether anybody was asked, and has not answered.
    was_asked: bool,
    /// How far the stream was known by then.
    known: u64,
    /// Whom, the ones that spoke last first, and below which number each says that packets exist.
    /// One that claims more does not push others out: it may lie.
    sources: VecDeque<(u64, Source)>,
}

/// Whom to ask.
#[derive(Debug, Clone, Copy)]
pub(super) enum Source {
    /// Who made the claim and still has the packets: address, the port at which it wants to be
    /// asked if it has said so, round, and when it was heard.
    Holder(SocketAddr, Option<ReplyPort>, u32, Instant),
    /// Whoever keeps the newest packet for long: who made the claim has released it.
    Bufferer,
}

impl Source {
    const fn address(&self) -> Option<SocketAddr> {
        match self {
            Self::Holder(address, ..) => Some(*address),
            Self::Bufferer => None,
        }
    }
}

/// Ask this member for the stream's newest packets below `high`.
#[derive(Debug, Clone, Copy)]
pub(super) struct Ask {
    pub(super) stream: StreamId,
    pub(super) high: u64,
    pub(super) source: Source,
}

impl Claims {
    /// Forgets what is said of a sender's streams.
    pub(super) fn forget(&mut self, sender: MemberId) {
        self.claims.retain(|stream, _| stream.sender != sender);
    }

    /// Whether anybody claimed packets of this stream of late.
    pub(super) fn contains(&self, stream: &StreamId) -> bool {
        self.claims.contains_key(stream)
    }

    /// How many rounds ago a stream's newest packet was new, as others say.
    pub(super) fn quiet_of(&self, stream: &StreamId) -> Option<u8> {
        self.claims.get(stream).map(|claim| claim.quiet)
    }

    /// Somebody says at `now` that packets below `high` exist, the newest so many rounds old;
    /// returns when to look at it: after `patience`, or at once if others have said so, too.
    pub(super) fn add(
        &mut self,
        stream: StreamId,
        (high, quiet): (u64, u8),
        source: Source,
        now: Instant,
        patience: Duration,
    ) -> Instant {
        if self.claims.len() >= CLAIMS_MAX && !self.claims.contains_key(&stream) {
            self.drop_one();
        }
        let (due, opener) = (now + patience, source.address());
        let fresh = || {
            let sources = VecDeque::new();
            Claim { due, heard: now, opener, quiet, was_asked: false, known: 0, sources }
        };
        let claim = self.claims.entry(stream).or_insert_with(fresh);
        // Nobody can make news look old by saying so; but what was news then is none now.
        let is_stale = now.since(claim.heard) >= STALE_AFTER;
        claim.quiet = if is_stale { quiet } else { claim.quiet.min(quiet) };
        claim.heard = now;
        if claim.sources.is_empty() && !claim.was_asked {
            claim.due = due;
        }
        // Each has one say.
        claim.sources.retain(|(_, held)| held.address() != source.address());
        claim.sources.push_front((high, source));
        claim.sources.truncate(SOURCES_MAX);
        if claim.sources.len() >= CLAIMS_CERTAIN && !claim.was_asked {
            claim.due = claim.due.min(now);
        }
        claim.due
    }

    fn drop_one(&mut self) {
        let mut opened = BTreeMap::new();
        self.claims.values().for_each(|claim| *opened.entry(claim.opener).or_insert(0_u32) += 1);
        let most = opened.into_iter().max_by_key(|(_, count)| *count).map(|(opener, _)| opener);
        let of_most = self.claims.iter().find(|(_, claim)| Some(claim.opener) == most);
        if let Some(stream) = of_most.map(|(stream, _)| *stream) {
            self.claims.remove(&stream);
        }
    }

    /// Whom to ask now. `known` tells how far a stream is known by now; what it covers is
    /// forgotten, and so is a claim that nobody has made for `life`. `silent` tells how often a
    /// member was asked in vain: those go last. Returns when to look again, too.
    pub(super) fn due(
        &mut self,
        now: Instant,
        (retry, life): (Duration, Duration),
        known: impl Fn(&StreamId) -> u64,
        silent: impl Fn(SocketAddr) -> u32,
    ) -> (Vec<Ask>, Option<Instant>) {
        let mut asks = Vec::new();
        self.claims.retain(|stream, claim| {
            let known = known(stream);
            if known > claim.known {
                (claim.known, claim.was_asked) = (known, false);
            }
            claim.sources.retain(|(high, _)| *high > known);
            let is_settled = claim.sources.is_empty() && !claim.was_asked;
            if is_settled || now.since(claim.heard) >= life {
                return false;
            }
            if claim.due <= now && !claim.sources.is_empty() {
                let many = if claim.was_asked { ASKED_AGAIN } else { 1 }.min(claim.sources.len());
                let ask = |(high, source)| Ask { stream: *stream, high, source };
                // Who says most and is not known to be silent, first.
                let order = |(high, source): &(u64, Source)| {
                    (source.address().map_or(0, &silent), Reverse(*high))
                };
                claim.sources.make_contiguous().sort_by_key(order);
                asks.extend(claim.sources.drain(..many).map(ask));
                (claim.due, claim.was_asked) = (now + retry, true);
            }
            true
        });
        let waiting = self.claims.values().filter(|claim| !claim.sources.is_empty());
        (asks, waiting.map(|claim| claim.due).min())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn source(port: u16, now: Instant) -> Source {
        Source::Holder(SocketAddr::from(([127, 0, 0, 1], port)), None, 1, now)
    }

    #[test]
    fn a_second_claim_ends_the_patience_and_the_first_ones_repeated_does_not() {
        let (stream, wait) = (StreamId::default(), Duration::from_millis(45));
        let (mut claims, now) = (Claims::default(), Instant::START);
        let mut due = |port| claims.add(stream, (1, 0), source(port, now), now, wait);
        assert_eq!([due(1), due(1), due(2)], [now + wait, now + wait, now]);
    }

    #[test]
    fn one_is_asked_at_first_and_two_when_no_answer_came() {
        let (stream, wait) = (StreamId::default(), Duration::from_millis(60));
        let (mut claims, mut now) = (Claims::default(), Instant::START);
        for port in 1..=4 {
            claims.add(stream, (1, 0), source(port, now), now, Duration::ZERO);
        }
        let mut asked = || {
            let (asks, _) = claims.due(now, (wait, wait * 10), |_| 0, |_| 0);
            now = now + wait;
            asks.len()
        };
        assert_eq!([asked(), asked(), asked(), asked()], [1, 2, 1, 0]);
    }
}
