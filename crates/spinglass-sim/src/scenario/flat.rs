//! Flat cost: what one member sends, asks and buffers, as the group grows.

use std::time::Duration;

use serde::Serialize;
use spinglass_core::{Config, Dissemination, Start, Stats};

use crate::check::payload;
use crate::network::Network;
use crate::setup::Setup;
use crate::world::{Blind, World};

/// What to run.
#[derive(Debug, Clone, Serialize)]
pub struct Parameters {
    /// The group's size.
    pub members: usize,
    /// Messages per second in the whole group.
    pub rate: u64,
    /// Bytes per message.
    pub bytes: usize,
    /// The probability that a datagram is lost.
    pub loss: f64,
    /// How long to wait before. [`WARM_UP_SECONDS`] is longer than any packet is buffered, and than
    /// a new system's tables take to settle: what is measured then is the cost of being there, not
    /// of having just begun.
    pub warm_up_seconds: u64,
    /// How long to measure.
    pub seconds: u64,
    /// The seed.
    pub seed: u64,
}

/// What one member does per second, on average over all.
#[derive(Debug, Clone, Serialize)]
pub struct Report {
    /// What was run.
    pub parameters: Parameters,
    /// Digests sent, tail announcements not counted.
    pub digests: f64,
    /// Packets asked for.
    pub requests: f64,
    /// Packets sent as repairs.
    pub repairs: f64,
    /// Bytes of gossip and repair received: everything but the stream itself.
    pub overhead_bytes: f64,
    /// Bytes received in all.
    pub bytes_received: f64,
    /// Bytes sent in all; what is multicast counts once.
    pub bytes_sent: f64,
    /// Datagrams sent and received.
    pub datagrams: f64,
    /// Bytes buffered at the end.
    pub buffered_bytes: f64,
    /// The largest share of a member in all repairs sent, over its fair share.
    pub repair_imbalance: f64,
}

/// The usual time before measuring.
pub const WARM_UP_SECONDS: u64 = 30;
/// Regions per zone above them: 32 to 64 cost least (FACTS 4.9), so 8,192 members have two levels.
const ZONE_CHILDREN: usize = 64;

/// Runs it.
pub fn run(parameters: &Parameters, progress: &mut dyn FnMut(f64)) -> Report {
    let Parameters { members, rate, bytes, seconds, seed, .. } = *parameters;
    let mut config = Config::lan();
    config.multicast.dissemination = Dissemination::Multicast;
    let network = Network { loss_ppm: (parameters.loss * 1e6) as u32, ..Network::default() };
    let mut setup = Setup::new(members, config, seed);
    setup.zone_children = ZONE_CHILDREN;
    let mut world = World::new(setup, network);
    let topic = world.topic("flat");
    (0..members).for_each(|member| world.subscribe(member, topic, Start::Live));
    let gap = Duration::from_nanos(1_000_000_000 / rate);
    let mut index = 0;
    let mut stream = |world: &mut World, span: Duration, progress: &mut dyn FnMut(f64)| {
        let messages = span.as_nanos() / gap.as_nanos();
        for message in 0..messages {
            let text = payload(0, 1, index, bytes);
            index += 1;
            world.publish(0, topic, text, &mut Blind).expect("the pace is far above the rate");
            world.run(gap, &mut Blind);
            progress(message as f64 / messages as f64);
        }
    };
    stream(&mut world, Duration::from_secs(parameters.warm_up_seconds), &mut |_| ());
    let all = |world: &World| -> Vec<Stats> { (1..members).map(|at| world.stats(at)).collect() };
    let before = all(&world);
    stream(&mut world, Duration::from_secs(seconds), progress);
    let after = all(&world);
    let per_second = |get: fn(&Stats) -> u64| {
        let total = |stats: &[Stats]| stats.iter().map(get).sum::<u64>();
        (total(&after) - total(&before)) as f64 / (members - 1) as f64 / seconds as f64
    };
    let repairs = per_second(|stats| stats.repairs_sent);
    let most = after.iter().zip(&before).map(|(b, a)| b.repairs_sent - a.repairs_sent).max();
    let spread = per_second(|stats| stats.packets_received - stats.repairs_received);
    let packet = bytes as f64 + 250.0;
    let bytes_received = per_second(|stats| stats.bytes_received);
    let buffered: u64 = after.iter().map(|stats| stats.buffered_bytes).sum();
    Report {
        digests: per_second(|stats| stats.digests_sent - stats.tails_sent),
        requests: per_second(|stats| stats.packets_solicited),
        repairs,
        overhead_bytes: bytes_received - spread * packet,
        bytes_received,
        bytes_sent: per_second(|stats| stats.bytes_sent),
        datagrams: per_second(|stats| stats.datagrams_received + stats.datagrams_sent),
        buffered_bytes: buffered as f64 / (members - 1) as f64,
        repair_imbalance: most.unwrap_or(0) as f64 / seconds as f64 / repairs.max(f64::EPSILON),
        parameters: parameters.clone(),
    }
}
