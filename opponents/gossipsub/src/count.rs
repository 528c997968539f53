//! What a member counts of a step: messages, in bins of time, and their ages.

use std::collections::BTreeSet;

use rustix::time::{ClockId, clock_gettime};
use serde::{Deserialize, Serialize};

use crate::HEADER_BYTES;

/// The most bins that are kept: 10 minutes of 500 ms.
const BINS_MAX: usize = 1200;
/// Bits of a value that a histogram's buckets tell apart.
const FINE_BITS: u32 = 6;

/// A run of messages that is counted by itself.
#[derive(Debug, Clone, Copy, Default, Deserialize)]
pub struct Step {
    /// Its number; messages of other steps are not counted.
    pub number: u32,
    /// When its first bin begins, on the machine's monotonic clock.
    pub begin_ns: u64,
    /// The width of its bins.
    pub bin_ns: u64,
}

/// What is reported.
#[derive(Debug, Clone, Default, Serialize)]
pub struct Tally {
    step: u32,
    messages: u64,
    bytes: u64,
    next: u64,
    missing: u64,
    missing_untold: u64,
    disordered: u64,
    first_ns: u64,
    last_ns: u64,
    bins: Vec<u32>,
    ages: Vec<(u32, u64)>,
}

/// Counts a step.
#[derive(Debug, Default)]
pub struct Counting {
    step: Step,
    tally: Tally,
    /// Numbers that came, above all of which came.
    early: BTreeSet<u64>,
    before: u64,
    ages: Vec<u64>,
}

/// Nanoseconds of the machine's monotonic clock, which all its processes share.
pub fn monotonic_ns() -> u64 {
    let time = clock_gettime(ClockId::Monotonic);
    time.tv_sec as u64 * 1_000_000_000 + time.tv_nsec as u64
}

/// The bucket of a value: exact to 1.6 %, as the conductor's are.
fn bucket_of(value: u64) -> usize {
    let Some(highest) = value.checked_ilog2().filter(|bit| *bit > FINE_BITS) else {
        return value as usize;
    };
    let shift = highest - FINE_BITS;
    (u64::from(shift << FINE_BITS) + (value >> shift)) as usize
}

impl Counting {
    /// An empty count.
    pub fn new(step: Step) -> Self {
        Self { step, ..Self::default() }
    }

    /// The step.
    pub fn step(&self) -> Step {
        self.step
    }

    /// Counts a message.
    pub fn on_message(&mut self, message: &[u8]) {
        if message.len() < HEADER_BYTES {
            return;
        }
        let number = |at: usize| {
            let bytes = message[at..at + 8].try_into().unwrap_or_default();
            u64::from_le_bytes(bytes)
        };
        let step = u32::from_le_bytes(message[..4].try_into().unwrap_or_default());
        let (sequence, sent_ns) = (number(4), number(12));
        if step != self.step.number || sequence < self.before || !self.early.insert(sequence) {
            return;
        }
        while self.early.remove(&self.before) {
            self.before += 1;
        }
        let now_ns = monotonic_ns();
        let tally = &mut self.tally;
        tally.disordered += u64::from(sequence < tally.next);
        tally.next = tally.next.max(sequence + 1);
        tally.messages += 1;
        tally.bytes += message.len() as u64;
        if tally.first_ns == 0 {
            tally.first_ns = now_ns;
        }
        tally.last_ns = now_ns;
        let bucket = bucket_of(now_ns.saturating_sub(sent_ns));
        if self.ages.len() <= bucket {
            self.ages.resize(bucket + 1, 0);
        }
        self.ages[bucket] += 1;
        let bin = (now_ns.saturating_sub(self.step.begin_ns) / self.step.bin_ns.max(1)) as usize;
        if bin < BINS_MAX {
            tally.bins.resize(tally.bins.len().max(bin + 1), 0);
            tally.bins[bin] += 1;
        }
    }

    /// What was counted. Nobody tells of what is missing.
    pub fn tally(&self) -> Tally {
        let missing = self.tally.next - self.tally.messages;
        let full = (0..).zip(&self.ages).filter(|(_, count)| **count > 0);
        Tally {
            step: self.step.number,
            missing,
            missing_untold: missing,
            ages: full.map(|(bucket, count)| (bucket, *count)).collect(),
            ..self.tally.clone()
        }
    }
}
