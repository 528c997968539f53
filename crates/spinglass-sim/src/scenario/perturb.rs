//! Stable throughput: the papers' perturbation experiment [seed paper, figure 1; FACTS 1].
//!
//! One member publishes 7 KB messages at 200 a second; one other member, or a quarter of them,
//! sleep in random 100 ms slots. What is measured is the rate at a healthy member, over samples of
//! 500 ms.

use std::time::Duration;

use serde::Serialize;
use spinglass_core::{Config, Dissemination, Event, Instant, Start};

use super::Summary;
use crate::check::payload;
use crate::network::Network;
use crate::setup::Setup;
use crate::world::{Observer, World};

/// What to run.
#[derive(Debug, Clone, Serialize)]
pub struct Parameters {
    /// The group's size.
    pub members: usize,
    /// The share of the group that sleeps; 0: one member.
    pub sleeping_percent: usize,
    /// The probability that a sleeper sleeps through a slot.
    pub probability: f64,
    /// Samples of 500 ms.
    pub samples: usize,
    /// Messages per second.
    pub rate: u64,
    /// Bytes per message.
    pub bytes: usize,
    /// IP multicast, or trees.
    pub multicast: bool,
    /// What else troubles the group.
    pub trouble: Trouble,
    /// The seed.
    pub seed: u64,
}

/// What troubles everybody.
#[derive(Debug, Clone, Default, Serialize)]
pub struct Trouble {
    /// The probability that a member sleeps through a slot who is none of the sleepers, and neither
    /// the sender nor the one that is looked at.
    pub others_asleep: f64,
    /// The probability that a datagram is lost.
    pub loss: f64,
    /// How much longer than usual a datagram takes at most, in milliseconds.
    pub delay_ms: u64,
}

/// What was seen.
#[derive(Debug, Clone, Serialize)]
pub struct Report {
    /// What was run.
    pub parameters: Parameters,
    /// Messages per second at a healthy member, per sample.
    pub throughput: Summary,
    /// The mean over the offered rate.
    pub share: f64,
    /// Gaps told to healthy members.
    pub healthy_gaps: u64,
    /// Repairs per member and second.
    pub repairs: f64,
    /// Protocol events.
    pub events: u64,
}

/// How long a sample is [FACTS 1].
pub const SAMPLE: Duration = Duration::from_millis(500);
/// Time for the stream to get going, before the first sample.
pub const WARM_UP: Duration = Duration::from_secs(2);

struct Watch {
    healthy: usize,
    sleepers: usize,
    heard: u64,
    gaps: u64,
}

impl Observer for Watch {
    fn event(&mut self, _at: Instant, member: usize, _life: u64, event: &Event) {
        match event {
            Event::Message(_) if member == self.healthy => self.heard += 1,
            Event::Gap(_) if member == 0 || member > self.sleepers => self.gaps += 1,
            _ => (),
        }
    }
}

/// Runs it.
pub fn run(parameters: &Parameters, progress: &mut dyn FnMut(f64)) -> Report {
    let Parameters { members, rate, bytes, seed, .. } = *parameters;
    let mut config = Config::lan();
    config.link.datagram_bytes = 9000;
    // A bound for the simulator's memory: every member has buffers of its own.
    config.multicast.buffer_bytes_max = 4 << 20;
    if parameters.multicast {
        config.multicast.dissemination = Dissemination::Multicast;
    }
    let Trouble { others_asleep, loss, delay_ms } = parameters.trouble;
    let mut network = Network { loss_ppm: (loss * 1e6) as u32, ..Network::default() };
    network.delay_max += Duration::from_millis(delay_ms);
    let mut world = World::new(Setup::new(members, config, seed), network);
    let topic = world.topic("perturb");
    (0..members).for_each(|member| world.subscribe(member, topic, Start::Live));
    let sleepers = (members * parameters.sleeping_percent / 100).max(1);
    for member in 1..=sleepers {
        world.set_sleep(member, (parameters.probability * 1e6) as u32);
    }
    for member in sleepers + 1..members - 1 {
        world.set_sleep(member, (others_asleep * 1e6) as u32);
    }
    let mut watch = Watch { healthy: members - 1, sleepers, heard: 0, gaps: 0 };
    let gap = Duration::from_nanos(1_000_000_000 / rate);
    let per_sample = SAMPLE.as_nanos() / gap.as_nanos();
    let warm_up = WARM_UP.as_nanos() / SAMPLE.as_nanos();
    let (mut samples, mut index) = (Vec::new(), 0);
    for sample in 0..warm_up as usize + parameters.samples {
        watch.heard = 0;
        for _ in 0..per_sample {
            // The queue never fills: the pace is far above the rate.
            let message = payload(0, 1, index, bytes);
            if world.publish(0, topic, message, &mut watch).is_ok() {
                index += 1;
            }
            world.run(gap, &mut watch);
        }
        if sample >= warm_up as usize {
            samples.push(watch.heard as f64 / SAMPLE.as_secs_f64());
            progress((sample + 1 - warm_up as usize) as f64 / parameters.samples as f64);
        }
    }
    let throughput = Summary::of(&samples);
    let repairs: u64 = (0..members).map(|member| world.stats(member).repairs_sent).sum();
    let seconds = world.now().monotonic.as_nanos() as f64 / 1e9;
    Report {
        share: throughput.mean / rate as f64,
        throughput,
        healthy_gaps: watch.gaps,
        repairs: repairs as f64 / members as f64 / seconds,
        events: world.handled(),
        parameters: parameters.clone(),
    }
}
