//! Broadcast over wide links: how long until the last member has a message, and at what surplus.
//!
//! Delays are 10 to 50 ms one way, drawn for each datagram; there is no IP multicast; senders take
//! turns. The setting of iroh-gossip's own simulator, which has no loss.

use std::time::Duration;

use serde::Serialize;
use spinglass_core::{Config, Event, Instant, Start};

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
    /// Messages, each by another sender, 1.5 s apart.
    pub messages: usize,
    /// The probability that a datagram is lost.
    pub loss: f64,
    /// The share of members that sleep in half of all 100 ms slots.
    pub sleeping_percent: usize,
    /// Bytes per message.
    pub bytes: usize,
    /// The seed.
    pub seed: u64,
}

/// What was seen.
#[derive(Debug, Clone, Serialize)]
pub struct Report {
    /// What was run.
    pub parameters: Parameters,
    /// Milliseconds until the last member that does not sleep had the message, per message.
    pub last_ms: Summary,
    /// Messages that some awake member had not got after 1.5 s.
    pub incomplete: usize,
    /// Copies of a packet that a member got besides the first, per packet.
    pub surplus: f64,
    /// Bytes sent per member and second, gossip included.
    pub bytes_per_second: f64,
}

struct Watch {
    sleeper: Vec<bool>,
    heard: usize,
    last: u64,
}

impl Observer for Watch {
    fn event(&mut self, at: Instant, member: usize, _life: u64, event: &Event) {
        let awake = self.sleeper.get(member).is_some_and(|sleeper| !sleeper);
        if awake && matches!(event, Event::Message(_)) {
            self.heard += 1;
            self.last = at.as_nanos();
        }
    }
}

const BETWEEN: Duration = Duration::from_millis(1500);

/// Runs it.
pub fn run(parameters: &Parameters, progress: &mut dyn FnMut(f64)) -> Report {
    let Parameters { members, messages, bytes, sleeping_percent, seed, .. } = *parameters;
    let network = Network {
        delay_min: Duration::from_millis(10),
        delay_max: Duration::from_millis(50),
        loss_ppm: (parameters.loss * 1e6) as u32,
        ..Network::default()
    };
    let mut world = World::new(Setup::new(members, Config::wan(), seed), network);
    let topic = world.topic("wan");
    // Anywhere, as machines fall asleep: not all representatives of one region.
    let asleep = |member: usize| member * 61 % 100 >= 100 - sleeping_percent;
    let sleeper: Vec<bool> = (0..members).map(asleep).collect();
    for (member, asleep) in sleeper.iter().enumerate() {
        world.subscribe(member, topic, Start::Live);
        world.set_sleep(member, if *asleep { 500_000 } else { 0 });
    }
    let awake: Vec<usize> = (0..members).filter(|member| !asleep(*member)).collect();
    let mut watch = Watch { sleeper, heard: 0, last: 0 };
    world.run(Duration::from_secs(2), &mut watch);
    let sum = |world: &World, get: fn(&spinglass_core::Stats) -> u64| -> u64 {
        (0..members).map(|member| get(&world.stats(member))).sum()
    };
    let (bytes_before, start) = (sum(&world, |stats| stats.bytes_sent), world.now());
    let packets_before = sum(&world, |stats| stats.packets_received);
    let (mut last, mut incomplete) = (Vec::new(), 0);
    for message in 0..messages {
        let sender = awake.get(message * 131 % awake.len().max(1)).copied().unwrap_or(0);
        (watch.heard, watch.last) = (0, 0);
        let sent = world.now().monotonic.as_nanos();
        let text = payload(sender, 1, message as u64, bytes);
        world.publish(sender, topic, text, &mut watch).expect("one message fits the queue");
        world.run(BETWEEN, &mut watch);
        incomplete += usize::from(watch.heard != awake.len() - 1);
        last.push(watch.last.saturating_sub(sent) as f64 / 1e6);
        progress((message + 1) as f64 / messages as f64);
    }
    let surplus = sum(&world, |stats| stats.spread_surplus + stats.repairs_surplus);
    let packets = sum(&world, |stats| stats.packets_received) - packets_before;
    let span = world.now().monotonic.since(start.monotonic).as_secs_f64();
    let bytes_sent = sum(&world, |stats| stats.bytes_sent) - bytes_before;
    Report {
        last_ms: Summary::of(&last),
        incomplete,
        surplus: surplus as f64 / packets as f64,
        bytes_per_second: bytes_sent as f64 / members as f64 / span,
        parameters: parameters.clone(),
    }
}
