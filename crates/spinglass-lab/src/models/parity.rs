//! Forward error correction: what a group needs (Nonnenmacher, Biersack, Towsley, ToN 1998).
//! Losses are independent.

use super::{binomial, log_factorials};

/// Parities beyond which no group of any size that is asked about here needs more.
const PARITIES_MAX: u64 = 400;

/// The probability that one receiver needs at most so many parities, for each number of them.
fn enough(block: u64, loss: f64) -> Vec<f64> {
    let logs = log_factorials(block + PARITIES_MAX);
    // It needs exactly m if the part that makes it whole is number block + m: a negative binomial.
    let exactly = |more: u64| (1.0 - loss) * binomial(block + more - 1, more, loss, &logs);
    let mut sum = 0.0;
    (0..=PARITIES_MAX)
        .map(|more| {
            sum += exactly(more);
            sum.min(1.0)
        })
        .collect()
}

/// Parities per message that all of a group need on average, if just as many are sent as somebody
/// lacks.
#[must_use]
pub fn needed(receivers: usize, block: u64, loss: f64) -> f64 {
    let n = receivers as f64;
    enough(block, loss).iter().map(|one| 1.0 - one.powf(n)).sum::<f64>() / block as f64
}

/// Parities per message that must go ahead for a block to be whole everywhere with probability
/// `target`, nobody being asked.
#[must_use]
pub fn needed_ahead(receivers: usize, block: u64, loss: f64, target: f64) -> f64 {
    let n = receivers as f64;
    let enough = enough(block, loss);
    let count = enough.iter().take_while(|one| one.powf(n) < target).count();
    count as f64 / block as f64
}

/// How many times a message is sent more than once on average, if it is sent to all until the last
/// of a group has it: without any parity.
#[must_use]
pub fn needed_again(receivers: usize, loss: f64) -> f64 {
    let n = receivers as f64;
    let all_within = |times: i32| (1.0 - loss.powi(times)).powf(n);
    (1..200).map(|times| 1.0 - all_within(times)).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_receiver_needs_what_is_lost() {
        // Parts are lost with probability p until k came: k p / (1 - p) more on average.
        for loss in [0.01, 0.1, 0.3] {
            assert!((needed(1, 20, loss) - loss / (1.0 - loss)).abs() < 1e-9, "{loss}");
            assert!((needed_again(1, loss) - loss / (1.0 - loss)).abs() < 1e-9, "{loss}");
        }
    }

    #[test]
    fn more_receivers_need_more_and_blocks_help() {
        let all: Vec<f64> = [1, 10, 100, 10_000].map(|n| needed(n, 20, 0.05)).to_vec();
        assert!(all.is_sorted() && all[3] < needed_again(10_000, 0.05));
        assert!(needed_ahead(10_000, 20, 0.05, 1.0 - 1e-6) > all[3]);
    }
}
