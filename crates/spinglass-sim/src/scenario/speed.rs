//! The simulator itself: how fast it is, and that a seed is a run.

use std::time::{Duration, Instant};

use serde::Serialize;
use spinglass_core::{Config, Dissemination, Start};

use crate::check::payload;
use crate::network::Network;
use crate::setup::Setup;
use crate::swarm::swarm;
use crate::world::{Blind, World};

/// How fast the simulator is.
#[derive(Debug, Clone, Serialize)]
pub struct Report {
    /// Members.
    pub members: usize,
    /// The seed.
    pub seed: u64,
    /// Protocol events handled: inputs of cores.
    pub events: u64,
    /// Seconds that took, on one core.
    pub seconds: f64,
    /// Events per second.
    pub events_per_second: f64,
}

/// Runs a group that streams 400 messages/s of 200 B with 1 % loss for some virtual seconds.
pub fn run(members: usize, seconds: u64, seed: u64, progress: &mut dyn FnMut(f64)) -> Report {
    let mut config = Config::lan();
    config.multicast.dissemination = Dissemination::Multicast;
    let network = Network { loss_ppm: 10_000, ..Network::default() };
    let mut world = World::new(Setup::new(members, config, seed), network);
    let topic = world.topic("speed");
    (0..members).for_each(|member| world.subscribe(member, topic, Start::Live));
    world.run(Duration::from_secs(1), &mut Blind);
    let (start, before) = (Instant::now(), world.handled());
    let total = seconds * 400;
    for index in 0..total {
        let text = payload(0, 1, index, 200);
        world.publish(0, topic, text, &mut Blind).expect("the pace is far above the rate");
        world.run(Duration::from_micros(2500), &mut Blind);
        progress(index as f64 / total as f64);
    }
    let (events, took) = (world.handled() - before, start.elapsed().as_secs_f64());
    Report { members, seed, events, seconds: took, events_per_second: events as f64 / took }
}

/// Whether one seed always gives one run.
#[derive(Debug, Clone, Serialize)]
pub struct Determinism {
    /// The seed.
    pub seed: u64,
    /// How often it was run.
    pub runs: usize,
    /// How often the trace hash was that of the first run.
    pub equal: usize,
    /// That hash.
    pub trace: u64,
}

/// Runs one swarm seed many times.
pub fn determinism(seed: u64, runs: usize, progress: &mut dyn FnMut(f64)) -> Determinism {
    let trace = swarm(seed).trace;
    let mut equal = 1;
    for run in 1..runs {
        equal += usize::from(swarm(seed).trace == trace);
        progress(run as f64 / runs as f64);
    }
    Determinism { seed, runs, equal, trace }
}
