//! The pull recurrence against the real core, by Monte Carlo [FACTS 2.7].
//!
//! The model knows synchronous rounds, one digest per member and round, and nothing else; so the
//! core runs with aligned rounds, without solicitation on arrival, pushes, tails or released
//! packets. A share of members misses a message at first; then every packet is lost with some
//! probability, and the share that still lacks it is counted after each round.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::Serialize;
use spinglass_core::plan::PullRepair;
use spinglass_core::{Config, Dissemination, Event, Instant, Start};

use super::Summary;
use crate::check::{payload, read_payload};
use crate::network::Network;
use crate::setup::Setup;
use crate::world::{Observer, World};

/// What to run.
#[derive(Debug, Clone, Serialize)]
pub struct Parameters {
    /// The group's size.
    pub members: usize,
    /// The probability that a member misses a message at first.
    pub missing: f64,
    /// The probability that a datagram is lost after that.
    pub loss: f64,
    /// Rounds to follow.
    pub rounds: usize,
    /// Groups to simulate; each follows 16 messages.
    pub groups: usize,
    /// The first group's seed; the others follow.
    pub seed: u64,
}

/// What was seen after one round.
#[derive(Debug, Clone, Serialize)]
pub struct Round {
    /// Which, from 1.
    pub round: usize,
    /// The share that lacks a message, by the recurrence.
    pub model: f64,
    /// The same, counted.
    pub counted: f64,
    /// Its standard error, over messages.
    pub error: f64,
    /// Pairs of message and member that were counted.
    pub samples: u64,
    /// Whether the two agree within four standard errors, or 5 % of the model's value, which is
    /// what a group of this size leaves of a mean-field model.
    pub agrees: bool,
}

/// What was seen.
#[derive(Debug, Clone, Serialize)]
pub struct Report {
    /// What was run.
    pub parameters: Parameters,
    /// Round by round.
    pub rounds: Vec<Round>,
}

/// Messages per group: as many streams as one digest tells of.
const MESSAGES: usize = 16;
const ROUND: Duration = Duration::from_millis(100);

#[derive(Default)]
struct Watch {
    heard: BTreeMap<usize, u64>,
}

impl Observer for Watch {
    fn event(&mut self, _at: Instant, _member: usize, _life: u64, event: &Event) {
        if let Event::Message(message) = event
            && let Some((sender, _, _)) = read_payload(&message.payload)
        {
            *self.heard.entry(sender).or_default() += 1;
        }
    }
}

/// Runs it.
pub fn run(parameters: &Parameters, progress: &mut dyn FnMut(f64)) -> Report {
    let mut shares = vec![Vec::new(); parameters.rounds];
    for group in 0..parameters.groups {
        follow(parameters, parameters.seed + group as u64, &mut shares);
        progress((group + 1) as f64 / parameters.groups as f64);
    }
    let mut model = PullRepair::new(parameters.missing, parameters.loss, 1.0);
    let rounds = (1..).zip(shares).map(|(round, shares)| {
        let model = model.next_round();
        let counted = Summary::of(&shares);
        let error = counted.variation * counted.mean / (shares.len() as f64).sqrt();
        let samples = shares.len() as u64 * (parameters.members as u64 - 1);
        // What few messages counted says little about its own error: the model's is the floor, as
        // if those who lack one message did so together.
        let floor = (model * (1.0 - model) / shares.len() as f64 * 0.02).sqrt();
        let tolerance = (4.0 * error.max(floor)).max(0.05 * model).max(3.0 / samples as f64);
        let agrees = (counted.mean - model).abs() <= tolerance;
        Round { round, model, counted: counted.mean, error, samples, agrees }
    });
    Report { rounds: rounds.collect(), parameters: parameters.clone() }
}

fn follow(parameters: &Parameters, seed: u64, shares: &mut [Vec<f64>]) {
    let members = parameters.members;
    let mut config = Config::lan();
    let multicast = &mut config.multicast;
    multicast.dissemination = Dissemination::Multicast;
    multicast.rounds_aligned = true;
    multicast.solicit_on_arrival = false;
    multicast.push_old = false;
    multicast.tail_wait = Duration::ZERO;
    multicast.long_term_bufferers = 0;
    multicast.idle_rounds = 1000;
    multicast.give_up_rounds_min = 1000;
    multicast.give_up_rounds_max = 1000;
    // One region: the model draws partners from all.
    let setup = Setup { region_members: 0, ..Setup::new(members, config, seed) };
    let mut world = World::new(setup, Network::default());
    let topic = world.topic("analysis");
    (0..members).for_each(|member| world.subscribe(member, topic, Start::Live));
    let mut watch = Watch::default();
    // The model's members know whose packets they get: the senders are heard once before.
    let before = world.topic("before");
    for sender in 0..MESSAGES {
        let text = payload(sender, 1, 0, 20);
        world.publish(sender, before, text, &mut watch).expect("one message fits");
    }
    // Publish in the middle of a round, so that the next one is the first.
    world.run(ROUND * 7 + ROUND / 2, &mut watch);
    world.network.loss_ppm = (parameters.missing * 1e6) as u32;
    for sender in 0..MESSAGES {
        let text = payload(sender, 1, 0, 20);
        world.publish(sender, topic, text, &mut watch).expect("one message fits");
    }
    world.run(ROUND / 10, &mut watch);
    world.network.loss_ppm = (parameters.loss * 1e6) as u32;
    world.run(ROUND * 4 / 10, &mut watch);
    for shares in shares {
        // Past the round's beginning and everything that follows from it.
        world.run(ROUND, &mut watch);
        for sender in 0..MESSAGES {
            let heard = watch.heard.get(&sender).copied().unwrap_or(0);
            shares.push(1.0 - heard as f64 / (members - 1) as f64);
        }
    }
}
