//! Faults made on purpose, for demonstrations and tests.

use spinglass_core::Prng;

use crate::error::StartError;

const PPM: f64 = 1e6;

/// Drops received datagrams, each independently of all others.
///
/// It stands behind the splitting of offloaded segments: a firewall that drops at random drops
/// whole runs of up to 64 datagrams at once, which is another kind of loss.
#[derive(Debug)]
pub(crate) struct Dropper {
    loss_ppm: u32,
    rng: Prng,
}

impl Dropper {
    /// Drops this share of datagrams, 0 to 1.
    ///
    /// # Errors
    /// It is no share.
    pub(crate) fn new(probability: f64, seed: u64) -> Result<Self, StartError> {
        if !(0.0..=1.0).contains(&probability) {
            return Err(StartError::DropProbability(probability));
        }
        // In range by the line above, so nothing is cut off.
        Ok(Self { loss_ppm: (probability * PPM).round() as u32, rng: Prng::new(seed) })
    }

    /// Whether the next datagram is to be dropped.
    pub(crate) fn drops(&mut self) -> bool {
        self.rng.chance_ppm(self.loss_ppm)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn drops_the_share_that_was_asked_for() {
        let mut dropper = Dropper::new(0.2, 7).unwrap();
        let dropped = (0..100_000).filter(|_| dropper.drops()).count();
        assert!((19_000..21_000).contains(&dropped), "{dropped}");
        assert!((0..1000).all(|_| !Dropper::new(0.0, 1).unwrap().drops()));
        assert!((0..1000).all(|_| Dropper::new(1.0, 1).unwrap().drops()));
        assert!(Dropper::new(1.01, 1).is_err() && Dropper::new(f64::NAN, 1).is_err());
    }
}
