//! How agents find each other with nobody's help: announcements on the local network, and the
//! addresses to try.
//!
//! Where IP multicast works, an agent announces itself to the group's address: its signed record
//! and an empty frame. Nobody answers. Whoever hears an announcement of an agent that it does not
//! know may try its address at the next round of the table, as it tries a seed; the digest that it
//! then sends is what makes two halves one ("Catastrophe" in van Renesse et al., Middleware 1998;
//! Astrolabe, section 4.2).
//!
//! ```text
//!  a      ── Announce + own record ──▶ group      (whoever was silent the longest, by chance)
//!  b, c       know a: they wait longer themselves
//!  d      ── table digest ───────────▶ a          (did not know a: one of about three who try)
//! ```
//!
//! The probability that an agent speaks rises with the time since it last heard anybody do so:
//! `(t / 20)^e` in each second, where `e` grows with the logarithm of the system's size such that
//! somebody speaks every 10 s or so, however many agents there are.
//!
//! Departure: the exponent is a whole number, from the agent's own view of the system's size, so
//! that the decision is made in integers; the paper computes a real one from a size that is given.
//!
//! Invariants: an announcement is answered by nobody; each agent makes at most one a second; of
//! those who hear a stranger, about [`EAGER`] try it, each once; every list has a named bound.

mod seeds;

use crate::config::DiscoveryConfig;
use crate::rng::Prng;

pub use seeds::SEEDS_MAX;
pub(crate) use seeds::Seeds;

/// Turns without an announcement after which one is certain: 20 seconds, the paper's bound.
const TURNS_MAX: u64 = 20;
/// Turns that an agent counts as silent before its first one, so that it announces itself within
/// some three seconds of its start, unless it hears another by then.
const TURNS_AT_START: u64 = 12;
/// The exponent in a system of one agent.
const EXPONENT_MIN: u32 = 2;
/// The largest exponent, that of some 16,000 agents: 20 to the power of it still fits 64 bits.
const EXPONENT_MAX: u32 = 14;
/// How many of those who hear a stranger try it, on average: that all of them lose is one in
/// twenty, and then the next announcement is 10 s away.
const EAGER: u64 = 3;

/// When to announce oneself, and whether to try whom one heard.
#[derive(Debug)]
pub(crate) struct Discovery {
    config: DiscoveryConfig,
    /// Turns since an announcement was last heard or made.
    silent_turns: u64,
    rng: Prng,
}

impl Discovery {
    pub(crate) const fn new(config: DiscoveryConfig, rng: Prng) -> Self {
        Self { config, silent_turns: TURNS_AT_START, rng }
    }

    /// Takes a turn, in a system of about `population` agents: whether to announce oneself.
    pub(crate) fn on_turn(&mut self, population: u64) -> bool {
        self.silent_turns = (self.silent_turns + 1).min(TURNS_MAX);
        let exponent = exponent(population);
        let speaks = self.rng.below(TURNS_MAX.pow(exponent)) < self.silent_turns.pow(exponent);
        if speaks {
            self.silent_turns = 0;
        }
        speaks
    }

    /// Notes an announcement. Whether to try its sender, who is not known.
    pub(crate) fn on_announcement(&mut self, population: u64, is_known: bool) -> bool {
        self.silent_turns = 0;
        !is_known && self.rng.below(population.max(1)) < EAGER
    }

    /// How long a turn is, if there are any.
    pub(crate) fn turn(&self) -> Option<core::time::Duration> {
        Some(self.config.turn).filter(|turn| !turn.is_zero())
    }
}

/// The exponent for which the first of so many agents speaks 10 s after the last one, on average:
/// 4.8 for 10, 7.5 for 100, 10.4 for 1,000, 13.4 for 10,000, computed as the paper does; the
/// nearest line through these.
fn exponent(population: u64) -> u32 {
    let doublings = population.max(1).ilog2();
    (EXPONENT_MIN + doublings * 17 / 20).min(EXPONENT_MAX)
}

const _: () = assert!(TURNS_MAX.checked_pow(EXPONENT_MAX).is_some());

#[cfg(test)]
mod tests {
    use alloc::vec::Vec;
    use core::time::Duration;

    use super::*;

    /// Turns between two announcements that anybody makes, over a hundred of them.
    fn mean_turns(agents: u64, seed: u64) -> f64 {
        let config = DiscoveryConfig { turn: Duration::from_secs(1) };
        let rng = Prng::new(seed);
        let agent = |index| Discovery::new(config.clone(), rng.fork(&alloc::format!("{index}")));
        let mut all: Vec<Discovery> = (0..agents).map(agent).collect();
        let (mut turns, mut spoken) = (0, 0);
        while spoken < 100 {
            turns += 1;
            // Turns of different agents do not coincide: the others hear before theirs come.
            let speaker = all.iter_mut().position(|agent| agent.on_turn(agents));
            if let Some(speaker) = speaker {
                spoken += 1;
                for (_, agent) in all.iter_mut().enumerate().filter(|(index, _)| *index != speaker)
                {
                    assert!(!agent.on_announcement(agents, true), "whom one knows one tries never");
                }
            }
        }
        f64::from(turns) / f64::from(spoken)
    }

    #[test]
    fn somebody_speaks_every_ten_seconds_however_many_there_are() {
        for agents in [1, 10, 100, 1000] {
            let mean = mean_turns(agents, agents);
            assert!((5.0..14.0).contains(&mean), "{agents} agents: every {mean} turns");
        }
    }

    #[test]
    fn a_few_of_those_who_hear_a_stranger_try_it() {
        let config = DiscoveryConfig { turn: Duration::from_secs(1) };
        let mut agent = Discovery::new(config, Prng::new(1));
        let tries = (0..10_000).filter(|_| agent.on_announcement(100, false)).count();
        assert!((200..400).contains(&tries), "{tries} of 10,000 where 300 are expected");
        assert!(
            (0..100).all(|_| !agent.on_announcement(1, true)),
            "whom one knows one tries never"
        );
        assert!((0..100).all(|_| agent.on_announcement(1, false)), "whoever is alone tries all");
    }
}
