//! Effort: what a lossy network loses is told to more, and compared with more.
//!
//! A comparison is three or four datagrams, and does nothing if one of them is lost: at a loss of
//! 15 % every second one fails, and an update that news missed takes rounds to arrive. So whoever
//! learns by its failure detector's probes that some are lost tells news to more, and compares with
//! more, at most three times as many. Rows and inventories stay within the round's bytes all the
//! same: where loss is a sign of overload, there is an end to it.

use crate::rng::Prng;

/// A whole, in millionths.
const ONE_PPM: u64 = 1_000_000;
/// The most effort, in millionths of what is enough where nothing is lost.
const EFFORT_MAX_PPM: u64 = 3 * ONE_PPM;
/// Probes, each of which is two datagrams, that must all be answered as surely as an effort of one
/// is to succeed: two are a comparison, and one more brings what it found to the others. With two,
/// the last of 15,625 agents heard an update after 1.7 times the clean rounds at a loss of 15 %;
/// with three, after 1.1 times (`lab rounds`).
const PROBES: u32 = 3;
/// Half rounds over which what the detector sees is smoothed: it follows 8 probes, so it leaps.
const MEMORY: u64 = 16;

/// How often that is done which may fail.
#[derive(Debug)]
pub(super) struct Effort {
    /// Of a million probes, those that get no answer, smoothed.
    lost: u64,
}

impl Effort {
    pub(super) const fn new() -> Self {
        Self { lost: 0 }
    }

    /// Takes in which share of probes, in millionths, got no answer.
    pub(super) const fn note(&mut self, lost_ppm: u32) {
        self.lost = (self.lost * (MEMORY - 1) + lost_ppm as u64) / MEMORY;
    }

    /// How often to do what is done `times` times where nothing is lost: a share of one more is
    /// the chance of one more.
    pub(super) fn of(&self, times: usize, rng: &mut Prng) -> usize {
        let answered = ONE_PPM.saturating_sub(self.lost).max(1);
        let more = |effort: u64, _| (effort * ONE_PPM / answered).min(EFFORT_MAX_PPM);
        let effort = (0..PROBES).fold(ONE_PPM, more);
        let whole = times as u64 * effort;
        let one_more = rng.below(ONE_PPM) < whole % ONE_PPM;
        (whole / ONE_PPM) as usize + usize::from(one_more)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What is done on average of what would be done four times, where so many are lost.
    fn average(lost_ppm: u32) -> f64 {
        let (mut effort, mut rng) = (Effort::new(), Prng::new(1));
        (0..200).for_each(|_| effort.note(lost_ppm));
        let sum: usize = (0..1000).map(|_| effort.of(4, &mut rng)).sum();
        sum as f64 / 1000.0
    }

    #[test]
    fn effort_grows_with_loss_to_a_bound() {
        assert!((average(0) - 4.0).abs() < f64::EPSILON, "no more than is enough");
        let expected = 4.0 / (1.0_f64 - 0.2).powi(3);
        assert!((average(200_000) - expected).abs() < 0.1, "as many more as fail");
        assert!((average(1_000_000) - 12.0).abs() < f64::EPSILON, "three times at most");
    }
}
