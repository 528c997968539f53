//! More is taken of a stream than before: of what was sent until then no more is missing.

use crate::rating::Sieve;

/// Rounds within which others know what somebody takes.
const TOLD_ROUNDS: u32 = 20;

/// What was taken of packets that were sent before more was taken.
#[derive(Debug, Clone, Copy)]
pub(super) struct Lesser {
    sieve: Sieve,
    /// Those below this number; until one has come since, nobody knows which they are.
    until: u64,
    /// The round in which more was taken.
    since: u32,
}

impl Lesser {
    /// More than `sieve` takes is taken from this round on.
    pub(super) const fn new(sieve: Sieve, since: u32) -> Self {
        Self { sieve, until: u64::MAX, since }
    }

    /// Whether it is known which packets were sent before.
    pub(super) const fn is_over(&self) -> bool {
        self.until < u64::MAX
    }

    /// Whether a packet was sent after that, or was taken before, too.
    pub(super) fn takes(&self, sequence: u64) -> bool {
        sequence >= self.until || self.sieve.takes(sequence)
    }

    /// A packet came that is newer than all before, and some rounds ago `recent` was the next.
    /// Until others know that more is taken here, what comes is what they tell of, old or new.
    pub(super) fn advance(&mut self, sequence: u64, recent: u64, round: u32) {
        let is_early = round.saturating_sub(self.since) < TOLD_ROUNDS;
        self.until = match (is_early, self.until) {
            (true, _) => sequence + 1,
            (false, u64::MAX) => recent,
            (false, until) => until,
        };
    }
}
