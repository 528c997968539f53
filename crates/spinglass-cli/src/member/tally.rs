//! A receiver's count of a step: what came, what did not, and whether each miss was told.

use super::payload::{Header, Kind};
use super::protocol::{Counters, Progress, Step, Tally};
use crate::statistics::Histogram;

/// The most bins that are kept, so that a forgotten step cannot grow: 10 minutes of 500 ms.
const BINS_MAX: usize = 1200;

/// Counts one step.
#[derive(Debug)]
pub(crate) struct Counting {
    step: Step,
    tally: Tally,
    ages: Histogram,
    content: blake3::Hasher,
}

impl Counting {
    /// An empty count.
    pub(crate) fn new(step: Step) -> Self {
        let tally = Tally { step: step.number, ..Tally::default() };
        Self { step, tally, ages: Histogram::default(), content: blake3::Hasher::new() }
    }

    /// Counts a message that arrived at `now_ns`. One of another step, or of no step, is ignored.
    pub(crate) fn on_message(&mut self, message: &[u8], now_ns: u64) {
        let Some((header, content)) = Header::split(message) else { return };
        if header.step != self.step.number {
            return;
        }
        if header.kind == Kind::Line {
            self.tally.lines += 1;
            return;
        }
        self.skip_to(header.number);
        if header.kind == Kind::End {
            self.on_end(header.number, content);
            return;
        }
        if header.number < self.tally.next {
            self.tally.disordered += 1;
            return;
        }
        self.tally.next = header.number + 1;
        self.tally.messages += 1;
        self.tally.bytes += message.len() as u64;
        if header.kind == Kind::Piece {
            self.content.update(content);
        }
        if self.tally.first_ns == 0 {
            self.tally.first_ns = now_ns;
        }
        self.tally.last_ns = now_ns;
        self.ages.add(now_ns.saturating_sub(header.sent_ns));
        self.count_in_bin(now_ns);
    }

    /// Counts a gap.
    pub(crate) const fn on_gap(&mut self, packets: u64) {
        self.tally.gaps += 1;
        self.tally.packets_lost += packets;
        self.tally.gap_at_end = true;
    }

    /// The count so far.
    pub(crate) fn tally(&self, stats: Counters) -> Tally {
        Tally { ages: self.ages.buckets(), stats, ..self.tally.clone() }
    }

    /// The few figures of a display.
    pub(crate) const fn progress(&self, stats: &Counters) -> Progress {
        Progress {
            messages: self.tally.messages,
            gaps: self.tally.gaps,
            repairs_sent: stats.repairs_sent,
            repairs_received: stats.repairs_received,
        }
    }

    /// The step that is being counted.
    pub(crate) const fn step(&self) -> Step {
        self.step
    }

    /// Every message between the last one and this one is missing; a gap must have said so.
    const fn skip_to(&mut self, number: u64) {
        let missing = number.saturating_sub(self.tally.next);
        self.tally.missing += missing;
        if !self.tally.gap_at_end {
            self.tally.missing_untold += missing;
        }
        self.tally.gap_at_end = false;
    }

    fn on_end(&mut self, count: u64, hash: &[u8]) {
        self.tally.next = self.tally.next.max(count);
        self.tally.announced = Some(count);
        self.tally.hash_matches = Some(self.content.finalize().as_bytes() == hash);
    }

    fn count_in_bin(&mut self, now_ns: u64) {
        let since = now_ns.saturating_sub(self.step.begin_ns);
        let bin = usize::try_from(since / self.step.bin_ns.max(1)).unwrap_or(usize::MAX);
        if bin >= BINS_MAX {
            return;
        }
        if self.tally.bins.len() <= bin {
            self.tally.bins.resize(bin + 1, 0);
        }
        if let Some(count) = self.tally.bins.get_mut(bin) {
            *count += 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(kind: Kind, number: u64, content: &[u8]) -> Vec<u8> {
        Header { kind, step: 1, number, sent_ns: 10 }.with(content)
    }

    fn counting() -> Counting {
        Counting::new(Step { number: 1, begin_ns: 0, bin_ns: 100 })
    }

    #[test]
    fn a_whole_file_is_verified() {
        let mut counting = counting();
        counting.on_message(&message(Kind::Piece, 0, b"one "), 20);
        counting.on_message(&message(Kind::Piece, 1, b"two"), 130);
        let hash = blake3::hash(b"one two");
        counting.on_message(&message(Kind::End, 2, hash.as_bytes()), 140);
        let tally = counting.tally(Counters::default());
        assert_eq!((tally.messages, tally.missing, tally.hash_matches), (2, 0, Some(true)));
        assert_eq!(tally.bins, [1, 1]);
    }

    #[test]
    fn a_told_miss_differs_from_an_untold_one() {
        let mut counting = counting();
        counting.on_message(&message(Kind::Counted, 0, b""), 20);
        counting.on_gap(3);
        counting.on_message(&message(Kind::Counted, 3, b""), 30);
        counting.on_message(&message(Kind::Counted, 5, b""), 40);
        counting.on_message(&message(Kind::Counted, 5, b""), 50);
        let tally = counting.tally(Counters::default());
        assert_eq!((tally.missing, tally.missing_untold, tally.disordered), (3, 1, 1));
        assert_eq!((tally.gaps, tally.packets_lost), (1, 3));
    }

    #[test]
    fn other_steps_are_not_counted() {
        let mut counting = counting();
        let other = Header { kind: Kind::Counted, step: 2, number: 9, sent_ns: 0 }.with(b"");
        counting.on_message(&other, 20);
        counting.on_message(b"not ours", 20);
        assert_eq!(counting.tally(Counters::default()).messages, 0);
    }
}
