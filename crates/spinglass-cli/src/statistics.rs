//! Means, spreads and percentiles: the arithmetic behind every printed figure.

/// The mean of `samples`; 0 for none.
pub(crate) fn mean(samples: &[f64]) -> f64 {
    if samples.is_empty() { 0.0 } else { samples.iter().sum::<f64>() / samples.len() as f64 }
}

/// The standard deviation over the mean: how uneven `samples` are. 0 for none or a mean of 0.
pub(crate) fn coefficient_of_variation(samples: &[f64]) -> f64 {
    let mean = mean(samples);
    if mean == 0.0 {
        return 0.0;
    }
    let square = samples.iter().map(|sample| (sample - mean).powi(2)).sum::<f64>();
    (square / samples.len() as f64).sqrt() / mean
}

/// Bits of a value that a bucket keeps below its highest bit: buckets are at most 1/64 wide.
const FINE_BITS: u32 = 6;
/// Buckets that 64-bit values need.
const BUCKETS: u32 = (64 - FINE_BITS + 1) << FINE_BITS;

/// A histogram of durations in nanoseconds, exact to 1.6 %, in little space.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Histogram {
    buckets: Vec<u64>,
    count: u64,
}

impl Histogram {
    /// The histogram with these counts per bucket, as [`Self::buckets`] gave them.
    pub(crate) fn from_buckets(buckets: &[(u32, u64)]) -> Self {
        let mut histogram = Self::default();
        for (bucket, count) in buckets.iter().filter(|(bucket, _)| *bucket < BUCKETS) {
            histogram.add_to(*bucket, *count);
        }
        histogram
    }

    /// Counts per bucket, empty ones left out.
    pub(crate) fn buckets(&self) -> Vec<(u32, u64)> {
        let full = (0..).zip(&self.buckets).filter(|(_, count)| **count > 0);
        full.map(|(bucket, count)| (bucket, *count)).collect()
    }

    /// Adds one value.
    pub(crate) fn add(&mut self, nanoseconds: u64) {
        self.add_to(bucket_of(nanoseconds), 1);
    }

    /// Adds all of another's values.
    pub(crate) fn merge(&mut self, other: &Self) {
        for (bucket, count) in other.buckets() {
            self.add_to(bucket, count);
        }
    }

    /// How many values there are.
    pub(crate) const fn count(&self) -> u64 {
        self.count
    }

    /// The value, in nanoseconds, that a share of the values does not exceed; 0 for none.
    pub(crate) fn quantile(&self, share: f64) -> u64 {
        let rank = (self.count as f64 * share).ceil().max(1.0);
        let mut seen = 0;
        for (bucket, count) in (0..).zip(&self.buckets) {
            seen += count;
            if seen as f64 >= rank {
                return largest_in(bucket);
            }
        }
        0
    }

    fn add_to(&mut self, bucket: u32, count: u64) {
        let index = bucket as usize;
        if self.buckets.len() <= index {
            self.buckets.resize(index + 1, 0);
        }
        if let Some(sum) = self.buckets.get_mut(index) {
            *sum += count;
            self.count += count;
        }
    }

    /// A quantile in milliseconds.
    pub(crate) fn quantile_ms(&self, share: f64) -> f64 {
        self.quantile(share) as f64 / 1e6
    }
}

fn bucket_of(value: u64) -> u32 {
    let Some(highest) = value.checked_ilog2().filter(|bit| *bit > FINE_BITS) else {
        return u32::try_from(value).unwrap_or(u32::MAX);
    };
    let shift = highest - FINE_BITS;
    let fine = u32::try_from(value >> shift).unwrap_or(u32::MAX);
    (shift << FINE_BITS) + fine
}

fn largest_in(bucket: u32) -> u64 {
    let whole = 1_u32 << FINE_BITS;
    if bucket < 2 * whole {
        return bucket.into();
    }
    let shift = bucket / whole - 1;
    let fine = u64::from(bucket % whole + whole);
    ((fine + 1) << shift) - 1
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn means_and_spreads_worked_by_hand() {
        assert!((mean(&[1.0, 2.0, 6.0]) - 3.0).abs() < 1e-12);
        // Deviations -1, -1, 2: mean square 2, root 1.4142, over the mean 2.
        let spread = coefficient_of_variation(&[1.0, 1.0, 4.0]);
        assert!((spread - 2_f64.sqrt() / 2.0).abs() < 1e-12, "{spread}");
        assert!(coefficient_of_variation(&[]).abs() < 1e-12);
    }

    #[test]
    fn quantiles_are_within_a_bucket() {
        let mut histogram = Histogram::default();
        for value in 1..=100_000 {
            histogram.add(value);
        }
        for (share, exact) in [(0.5, 50_000.0), (0.99, 99_000.0), (1.0, 100_000.0)] {
            let got = histogram.quantile(share) as f64;
            assert!(got >= exact && got <= exact * 1.016, "{share}: {got}");
        }
        let again = Histogram::from_buckets(&histogram.buckets());
        assert_eq!(again, histogram);
    }

    #[test]
    fn every_value_lies_in_its_bucket() {
        for value in (0..64).flat_map(|bit| [(1_u64 << bit) - 1, 1 << bit, (1 << bit) + 1]) {
            let largest = largest_in(bucket_of(value));
            assert!(largest >= value, "{value} {largest}");
            assert!(largest as f64 <= value as f64 * 1.016 + 1.0, "{value} {largest}");
            if value > 0 {
                assert!(bucket_of(value) >= bucket_of(value - 1));
            }
        }
    }
}
