//! Who keeps a message for long: members whose hash says so (Ozkasap, van Renesse, Birman, Xiao,
//! NGC 1999) [FACTS 7].

use spinglass_core::Prng;

/// The probability that nobody of a group keeps a message that each keeps with probability
/// `bufferers / members`, by itself: near e^-bufferers.
#[must_use]
pub fn nobody(members: usize, bufferers: f64) -> f64 {
    (1.0 - (bufferers / members as f64).min(1.0)).powf(members as f64)
}

/// The same, counted over so many messages.
#[must_use]
pub fn nobody_counted(members: usize, bufferers: f64, messages: u64, seed: u64) -> f64 {
    let mut rng = Prng::new(seed).fork("bufferers");
    let keeps_ppb = (bufferers / members as f64 * 1e9) as u64;
    let is_kept = |rng: &mut Prng| (0..members).any(|_| rng.below(1_000_000_000) < keeps_ppb);
    let lost = (0..messages).filter(|_| !is_kept(&mut rng)).count();
    lost as f64 / messages as f64
}

/// The probability that nobody is left who keeps a message, if a share of members are gone: of
/// independent ones as above, and of the `bufferers` whose hashes are the highest, which are always
/// as many.
#[must_use]
pub fn nobody_left(members: usize, bufferers: u32, gone: f64) -> (f64, f64) {
    let stay = f64::from(bufferers) * (1.0 - gone);
    (nobody(members, stay), gone.powi(bufferers as i32))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_papers_values() {
        let near = |value: f64, wanted: f64| (value / wanted - 1.0).abs() < 0.03;
        assert!(near(nobody(100, 6.0), 2.1e-3) && near(nobody(100, 10.0), 2.7e-5));
        assert!(near(nobody(1_000_000, 6.0), 2.5e-3) && near(nobody(1_000_000, 3.0), 5.0e-2));
    }

    #[test]
    fn counted_as_computed() {
        let (computed, counted) = (nobody(200, 3.0), nobody_counted(200, 3.0, 20_000, 1));
        assert!((computed - counted).abs() < 0.006, "{computed} {counted}");
    }
}
