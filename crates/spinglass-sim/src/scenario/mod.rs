//! Experiments: each a function from parameters to a report with its seeds and sample sizes.
//!
//! `spinglass lab NAME` runs them; docs/benchmarks.md says what each shows. Long ones tell how far
//! they are through `progress`, from 0 to 1.

pub mod analysis;
pub mod bimodality;
pub mod flat;
pub mod flood;
pub mod insiders;
pub mod loss;
pub mod partition;
pub mod perturb;
pub mod rotation;
pub mod rounds;
pub mod shares;
pub mod speed;
pub mod storm;
pub mod suspicion;
pub mod unstable;
pub mod wan;

use serde::Serialize;

/// Mean and spread of samples.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Summary {
    /// How many.
    pub samples: usize,
    /// Their mean.
    pub mean: f64,
    /// The least.
    pub min: f64,
    /// The greatest.
    pub max: f64,
    /// Standard deviation over mean; 0 if the mean is.
    pub variation: f64,
}

impl Summary {
    /// Summarises samples; all zero if there are none.
    #[must_use]
    pub fn of(samples: &[f64]) -> Self {
        let count = samples.len().max(1) as f64;
        let mean = samples.iter().sum::<f64>() / count;
        let squares = samples.iter().map(|sample| (sample - mean).powi(2)).sum::<f64>();
        let deviation = (squares / count).sqrt();
        let least = samples.iter().copied().fold(f64::INFINITY, f64::min);
        Self {
            samples: samples.len(),
            mean,
            min: if least.is_finite() { least } else { 0.0 },
            max: samples.iter().copied().fold(0.0, f64::max),
            variation: if mean == 0.0 { 0.0 } else { deviation / mean },
        }
    }
}

/// The standard deviation of the gaps between numbers, over their mean.
fn variation(numbers: &[u64]) -> f64 {
    let mut sorted = numbers.to_vec();
    sorted.sort_unstable();
    let gaps: Vec<f64> = sorted.windows(2).map(|pair| (pair[1] - pair[0]) as f64).collect();
    Summary::of(&gaps).variation
}

/// The sample below which a share of all samples lies; sorts them. 0 if there are none.
pub fn quantile(samples: &mut [f64], share: f64) -> f64 {
    samples.sort_by(f64::total_cmp);
    let place = (samples.len() as f64 * share).ceil() as usize;
    samples.get(place.clamp(1, samples.len().max(1)) - 1).copied().unwrap_or(0.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn statistics_by_hand() {
        let summary = Summary::of(&[2.0, 4.0, 4.0, 4.0, 5.0, 5.0, 7.0, 9.0]);
        assert_eq!((summary.mean, summary.min, summary.max), (5.0, 2.0, 9.0));
        assert!((summary.variation - 0.4).abs() < 1e-12);
        assert_eq!(quantile(&mut [3.0, 1.0, 2.0, 4.0], 0.5), 2.0);
        assert_eq!(quantile(&mut [3.0, 1.0, 2.0, 4.0], 0.99), 4.0);
        assert_eq!(quantile(&mut [], 0.5), 0.0);
    }
}
