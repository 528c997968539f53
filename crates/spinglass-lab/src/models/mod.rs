//! What the papers compute, and the same drawn by lot: closed forms and recurrences, each beside a
//! Monte Carlo run of the process that it describes [FACTS 12].
//!
//! The recurrences of bimodal multicast are in `spinglass_core::plan`, which sizes buffers by them.

pub mod buffers;
pub mod detection;
pub mod parity;
pub mod ratings;
pub mod spread;
pub mod zones;

/// `ln(n!)` for all up to `most`.
fn log_factorials(most: u64) -> Vec<f64> {
    let mut logs = vec![0.0];
    let mut sum = 0.0;
    for number in 1..=most {
        sum += (number as f64).ln();
        logs.push(sum);
    }
    logs
}

/// The probability of so many hits in so many trials.
fn binomial(trials: u64, hits: u64, probability: f64, logs: &[f64]) -> f64 {
    let ways = logs[trials as usize] - logs[hits as usize] - logs[(trials - hits) as usize];
    let power = |count: u64, base: f64| if count == 0 { 0.0 } else { count as f64 * base };
    (ways + power(hits, probability.ln()) + power(trials - hits, (-probability).ln_1p())).exp()
}
