//! A cap on what a member receives: how busy a stream it bears, so that all of them together, and
//! what else it is sent, stay below.
//!
//! What each stream may bring follows from what is sure, not from what is: if all of them grew
//! together, each would have its part of the cap. So a storm needs no word from anybody
//! ([`Load`]). While some are thinned and others need not all of theirs, those get more, step by
//! step ("adaptive", as Hopkinson et al. have it, TPDS 2009, for Gravitational Gossip).

use alloc::vec::Vec;

use super::{Cx, Multicast};
use crate::load::Load;

/// What one stream brings to this member: the share that is taken of it, in millionths, and its
/// load.
pub(super) type Brought = (u32, Load);

/// Rounds between two looks.
const LOOK_ROUNDS: u32 = 10;
/// Rounds after which another ceiling is told at the earliest, and up to one more for each agent of
/// the region, or one for every four if it is lower: each of them tells everybody, and they may all
/// be thinned at once.
const RISE_ROUNDS: u32 = 100;
const FALL_ROUNDS: u32 = 20;
/// Steps that a ceiling rises by at least, for the same reason.
const RISE_STEPS: u8 = 2;
/// In per cent of the cap: what streams may bring until they are seen to keep to it. A storm of 50
/// times brings a third more than that in its first second, before its senders know, and digests
/// and introductions besides.
const SURE: u64 = 50;
/// What is aimed at while some are thinned and others leave room; where more comes, less is borne.
const AIM: u64 = 70;
const TOO_MUCH: u64 = 95;
/// Per cent by which what is borne is changed then.
const STEP: u64 = 10;
/// Looks at a storm that tell nothing yet: streams were busier than they were known to be, and
/// everybody hears of everybody's new ceiling.
const ONSET_LOOKS: u32 = 4;
const TRIM_MIN: u64 = 25;
/// Rounds after which a stream that is silent brings nothing for now.
const QUIET_ROUNDS: u32 = 20;
/// Rounds after which it is not counted on any more.
const IDLE_ROUNDS: u32 = 600;

/// The cap of one member.
#[derive(Debug)]
pub(super) struct Cap {
    /// Bytes per second; 0: none.
    limit: u64,
    ceiling: Load,
    /// Received when this was looked at last: in all, and of that the packets.
    counted: (u64, u64),
    /// Bytes per second that are no packets, on average while nothing is thinned.
    other: u64,
    /// Looks in a row at which streams were thinned.
    thinned_looks: u32,
    /// What streams bring of what they were thought to, in per cent.
    trim: u64,
    /// When a higher, and when a lower ceiling may be told.
    rises_from: u32,
    falls_from: u32,
}

impl Cap {
    pub(super) const fn new(limit: u64) -> Self {
        Self {
            limit,
            ceiling: Load::ANY,
            counted: (0, 0),
            other: 0,
            thinned_looks: 0,
            trim: 100,
            rises_from: 0,
            falls_from: 0,
        }
    }

    /// The busiest stream that is borne in full.
    pub(super) const fn ceiling(&self) -> Load {
        self.ceiling
    }

    /// Whether it is time to look.
    pub(super) const fn is_due(&self, round: u32) -> bool {
        self.limit > 0 && round.is_multiple_of(LOOK_ROUNDS)
    }

    /// Looks at what came: `received` in all so far, `packets` of it packets; `streams` tells what
    /// each one brings; `turn` is drawn among those of the region's agents. Returns whether the
    /// ceiling is another one now.
    pub(super) fn look(
        &mut self,
        (round, turn): (u32, u32),
        (received, packets): (u64, u64),
        streams: &[Brought],
    ) -> bool {
        let (before, packets_before) = core::mem::replace(&mut self.counted, (received, packets));
        let came = received.saturating_sub(before);
        let of_packets = packets.saturating_sub(packets_before);
        let is_thinned = streams.iter().any(|(share, load)| *share > 0 && *load > self.ceiling);
        self.thinned_looks = if is_thinned { self.thinned_looks + 1 } else { 0 };
        if self.thinned_looks == 1 {
            self.rises_from = self.rises_from.max(round.saturating_add(turn));
        }
        if !is_thinned {
            self.other = (self.other * 15 + came.saturating_sub(of_packets)) / 16;
        }
        self.trim = self.trimmed(came, is_thinned);
        let part = |percent: u64| self.limit.saturating_sub(self.other) / 100 * percent;
        let sure = fair(part(SURE) / 100 * self.trim, streams);
        let wanted = match self.thinned_looks {
            0..ONSET_LOOKS => sure,
            _ => sure.max(fitting(part(AIM) / 100 * self.trim, streams)),
        };
        let rises = wanted >= self.ceiling.more(RISE_STEPS) && round >= self.rises_from;
        let falls = wanted < self.ceiling && round >= self.falls_from;
        if rises || falls {
            self.ceiling = wanted;
            self.rises_from = round.saturating_add(RISE_ROUNDS).saturating_add(turn);
            self.falls_from = round.saturating_add(FALL_ROUNDS).saturating_add(turn / 4);
        }
        rises || falls
    }

    /// What came while streams were thinned says how much more they bring than they say: what is
    /// repaired, and comes twice.
    fn trimmed(&self, came: u64, is_thinned: bool) -> u64 {
        let is_too_much = came.saturating_mul(100) >= self.limit.saturating_mul(TOO_MUCH);
        if !is_thinned {
            // What was learnt is forgotten slowly.
            (self.trim + 1).min(100)
        } else if is_too_much && self.thinned_looks >= ONSET_LOOKS {
            self.trim.saturating_sub(STEP).max(TRIM_MIN)
        } else {
            self.trim
        }
    }
}

impl Multicast {
    /// A look at what comes, and what is borne of it.
    pub(super) fn look_at_cap(&mut self, cx: &mut Cx<'_>) {
        if !self.cap.is_due(self.round) {
            return;
        }
        let (quiet, idle) = (self.round.saturating_sub(QUIET_ROUNDS), IDLE_ROUNDS);
        let taken = self.streams.values().filter(|stream| {
            stream.id.sender != self.own && self.round.saturating_sub(stream.active_round) < idle
        });
        let brought = taken.map(|stream| {
            let is_quiet = stream.active_round < quiet;
            let load = if is_quiet { Load::NONE } else { stream.load() };
            (stream.sieve().rating().millionths(), load)
        });
        let brought: Vec<_> = brought.collect();
        let counted = (cx.stats.bytes_received, cx.stats.packet_bytes_received);
        let turn = self.rng.below(cx.members.near_count().into()) as u32;
        if self.cap.look((self.round, turn), counted, &brought) {
            self.rate_streams(None, cx);
        }
    }
}

const WHOLE: u64 = 1_000_000;

/// What each stream may bring if all grow alike.
fn fair(bytes: u64, streams: &[Brought]) -> Load {
    let shares: u64 = streams.iter().map(|(share, _)| u64::from(*share)).sum();
    let each = u128::from(bytes) * u128::from(WHOLE) / u128::from(shares.max(WHOLE));
    Load::of(u64::try_from(each).unwrap_or(u64::MAX))
}

/// The highest ceiling under which the streams, as busy as they are, bring no more than that.
fn fitting(bytes: u64, streams: &[Brought]) -> Load {
    let brought = |ceiling: Load| -> u64 {
        let of = |(share, load): &Brought| {
            load.min(&ceiling).bytes_per_second().saturating_mul((*share).into()) / WHOLE
        };
        streams.iter().map(of).fold(0, u64::saturating_add)
    };
    let (mut fits, mut beyond) = (0, u8::MAX);
    while fits + 1 < beyond {
        let middle = fits + (beyond - fits) / 2;
        if brought(Load(middle)) <= bytes { fits = middle } else { beyond = middle }
    }
    Load(fits)
}

#[cfg(test)]
mod tests {
    use super::*;

    const ALL: u32 = 1_000_000;

    /// A member of which each second so much comes of streams that all have this load.
    fn after(looks: u32, streams: &[Brought], bytes: impl Fn(Load) -> u64) -> Vec<Load> {
        let mut cap = Cap::new(100_000);
        let mut came = 0;
        let look = |look: u32| {
            came += bytes(cap.ceiling());
            cap.look((look * LOOK_ROUNDS, 10), (came, came), streams);
            cap.ceiling()
        };
        (1..=looks).map(look).collect()
    }

    #[test]
    fn all_streams_together_stay_well_below_the_cap_whatever_they_do() {
        let streams = [(ALL, Load::of(1_000)); 10];
        let ceilings = after(20, &streams, |_| 10_000);
        assert!(ceilings.iter().all(|ceiling| *ceiling == Load::of(5_000)), "{ceilings:?}");
        let tenths = [(ALL / 10, Load::of(1_000)); 100];
        assert_eq!(after(3, &tenths, |_| 10_000), [Load::of(5_000); 3]);
        assert_eq!(after(1, &[], |_| 0), [Load::of(50_000)], "one may use all");
    }

    #[test]
    fn one_that_storms_alone_gets_what_the_others_leave() {
        let storm = Load::of(1_000_000);
        let mut streams = alloc::vec![(ALL, Load::of(1_000)); 9];
        streams.push((ALL, storm));
        let brings = |ceiling: Load| 9_000 + storm.min(ceiling).bytes_per_second();
        let ceilings = after(60, &streams, brings);
        assert_eq!(ceilings.first(), Some(&Load::of(5_000)));
        let last = brings(*ceilings.last().unwrap());
        assert!((60_000..95_000).contains(&last), "{last} of 100,000");
    }

    #[test]
    fn less_is_borne_at_once_where_more_comes_than_was_said() {
        let streams = [(ALL, Load::of(50_000)); 10];
        let doubled = |ceiling: Load| 10 * ceiling.min(Load::of(50_000)).bytes_per_second() * 2;
        let ceilings = after(60, &streams, doubled);
        let late = ceilings.iter().skip(30).map(|ceiling| doubled(*ceiling));
        assert!(late.clone().all(|bytes| bytes <= 100_000), "{:?}", late.max());
    }
}
