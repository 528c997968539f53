//! The model of bimodal multicast's analysis, drawn by lot: on first hearing a message, each member
//! gossips once, to each other one with probability `fanout / members` (TOCS 1999, section 4).
//! `spinglass_core::plan::gossip_once` computes the same.

use spinglass_core::Prng;

/// The model's settings.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct GossipOnce {
    /// Members.
    pub members: usize,
    /// How many a member gossips to, on average.
    pub fanout: f64,
    /// The probability that a message is lost.
    pub loss: f64,
    /// The probability that a member has failed.
    pub failure: f64,
    /// Rounds.
    pub rounds: u32,
}

impl GossipOnce {
    /// How often how many members heard a message, for each count from 0 to all: drawn.
    #[must_use]
    pub fn drawn(&self, messages: u64, seed: u64) -> Vec<u64> {
        let mut rng = Prng::new(seed).fork("gossip once");
        let mut counts = vec![0; self.members + 1];
        for _ in 0..messages {
            counts[self.message(&mut rng)] += 1;
        }
        counts
    }

    /// How many hear one message.
    fn message(&self, rng: &mut Prng) -> usize {
        let reach = self.fanout / self.members as f64 * (1.0 - self.loss) * (1.0 - self.failure);
        // A draw per pair costs more than one per member: who is hit by one of several at all.
        let (mut fresh, mut untouched) = (1, self.members - 1);
        for _ in 0..self.rounds {
            if fresh == 0 {
                break;
            }
            let hit_ppb = ((1.0 - (1.0 - reach).powi(fresh as i32)) * 1e9) as u64;
            fresh = (0..untouched).filter(|_| rng.below(1_000_000_000) < hit_ppb).count();
            untouched -= fresh;
        }
        self.members - untouched
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use spinglass_core::plan::gossip_once;

    #[test]
    fn drawn_as_computed() {
        let model = GossipOnce { members: 50, fanout: 3.0, loss: 0.05, failure: 0.001, rounds: 10 };
        let messages = 20_000;
        let drawn = model.drawn(messages, 4);
        let computed = gossip_once(50, 3.0, 0.05, 0.001, 10);
        for (count, probability) in computed.iter().enumerate() {
            let expected = probability * messages as f64;
            let error = (drawn[count] as f64 - expected).abs();
            assert!(error <= 4.5 * expected.sqrt() + 3.0, "{count}: {} {expected}", drawn[count]);
        }
    }
}
