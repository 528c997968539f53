//! What others say exists and no packet has proved yet: the newest packets of a stream, or a stream
//! not met at all.
//!
//! A claim opens no hole, since a digest is not signed by the stream's sender: it is asked for,
//! from whoever made it or keeps it for long, and the packet proves the rest. It is given the
//! patience of a gap first: most often the packet is on its way. Those who claim the same are
//! remembered, to be asked in turn.

use alloc::collections::{BTreeMap, VecDeque};
use alloc::vec::Vec;
use core::net::SocketAddr;
use core::time::Duration;

use crate::id::{MemberId, StreamId};
use crate::time::Instant;

/// Claims followed at once. When full, all are forgotten: the next digests repeat them.
const CLAIMS_MAX: usize = 256;
/// Members remembered per claim. When full, further ones are not needed.
const SOURCES_MAX: usize = 4;
/// Members asked at once when the first one's answer has not come: whoever waits for a second
/// answer is the last of many, and few wait for it.
const ASKED_AGAIN: usize = 2;

/// Streams whose newest packets are known by hearsay.
#[derive(Debug, Default)]
pub(super) struct Claims {
    claims: BTreeMap<StreamId, Claim>,
}

#[derive(Debug)]
struct Claim {
    /// Packets below this are said to exist.
    high: u64,
    /// When to ask next.
    due: Instant,
    /// When it was last made.
    heard: Instant,
    /// Whether anybody was asked, and has not answered.
    was_asked: bool,
    /// Whom, the ones that spoke last first.
    sources: VecDeque<Source>,
}

/// Whom to ask.
#[derive(Debug, Clone, Copy)]
pub(super) enum Source {
    /// Who made the claim and still has the packets: address, round, and when it was heard.
    Holder(SocketAddr, u32, Instant),
    /// Whoever keeps the newest packet for long: who made the claim has released it.
    Bufferer,
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

    /// Somebody says at `now` that packets below `high` exist; returns when to look at it: after
    /// `patience`.
    pub(super) fn add(
        &mut self,
        stream: StreamId,
        high: u64,
        source: Source,
        now: Instant,
        patience: Duration,
    ) -> Instant {
        if self.claims.len() >= CLAIMS_MAX && !self.claims.contains_key(&stream) {
            self.claims.clear();
        }
        let due = now + patience;
        let fresh = || Claim { high, due, heard: now, was_asked: false, sources: VecDeque::new() };
        let claim = self.claims.entry(stream).or_insert_with(fresh);
        claim.heard = now;
        if high > claim.high {
            // Who knew of less can't help any more.
            claim.sources.clear();
            (claim.high, claim.due, claim.was_asked) = (high, due, false);
        }
        if high == claim.high && claim.sources.len() < SOURCES_MAX {
            claim.sources.push_front(source);
        }
        claim.due
    }

    /// Whom to ask now. `known` tells how far a stream is known by now; what it covers is
    /// forgotten, and so is a claim that nobody has made for `life`. Returns when to look again,
    /// too.
    pub(super) fn due(
        &mut self,
        now: Instant,
        (retry, life): (Duration, Duration),
        known: impl Fn(&StreamId) -> u64,
    ) -> (Vec<Ask>, Option<Instant>) {
        let mut asks = Vec::new();
        self.claims.retain(|stream, claim| {
            if known(stream) >= claim.high || now.since(claim.heard) >= life {
                return false;
            }
            if claim.due <= now && !claim.sources.is_empty() {
                let many = if claim.was_asked { ASKED_AGAIN } else { 1 }.min(claim.sources.len());
                let ask = |source| Ask { stream: *stream, high: claim.high, source };
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

    #[test]
    fn one_is_asked_at_first_and_two_when_no_answer_came() {
        let (stream, wait) = (StreamId::default(), Duration::from_millis(60));
        let (mut claims, mut now) = (Claims::default(), Instant::START);
        for port in 1..=4 {
            let source = Source::Holder(SocketAddr::from(([127, 0, 0, 1], port)), 1, now);
            claims.add(stream, 1, source, now, Duration::ZERO);
        }
        let mut asked = || {
            let (asks, _) = claims.due(now, (wait, wait * 10), |_| 0);
            now = now + wait;
            asks.len()
        };
        assert_eq!([asked(), asked(), asked(), asked()], [1, 2, 1, 0]);
    }
}
