//! Loss: packets dropped independently at every receiver; who misses what, and how late the rest
//! is.

use std::time::Duration;

use serde::Serialize;
use spinglass_core::{Config, Dissemination, Event, Instant, Start};

use super::quantile;
use crate::check::{payload, read_payload};
use crate::network::Network;
use crate::setup::Setup;
use crate::world::{Observer, World};

/// What to run.
#[derive(Debug, Clone, Serialize)]
pub struct Parameters {
    /// The group's size.
    pub members: usize,
    /// The probability that a datagram is lost, at each receiver by itself.
    pub loss: f64,
    /// Messages per second.
    pub rate: u64,
    /// Bytes per message.
    pub bytes: usize,
    /// How long.
    pub seconds: u64,
    /// IP multicast, or trees.
    pub multicast: bool,
    /// The seed.
    pub seed: u64,
}

/// What was seen.
#[derive(Debug, Clone, Serialize)]
pub struct Report {
    /// What was run.
    pub parameters: Parameters,
    /// Messages published.
    pub published: u64,
    /// Messages delivered, over all members.
    pub delivered: u64,
    /// Messages that a member neither delivered nor was told a gap in place of.
    pub silent: u64,
    /// Gaps told.
    pub gaps: u64,
    /// Delays from publishing to delivery in order, in ms: median, 99 % and the longest.
    pub p50_ms: f64,
    /// 99 % are shorter.
    pub p99_ms: f64,
    /// The longest.
    pub max_ms: f64,
    /// Repairs received per packet that was missing.
    pub repairs_per_loss: f64,
}

struct Watch {
    sent: Vec<u64>,
    delays: Vec<f64>,
    last: Vec<Option<u64>>,
    gap: Vec<bool>,
    gaps: u64,
    silent: u64,
}

impl Observer for Watch {
    fn event(&mut self, at: Instant, member: usize, _life: u64, event: &Event) {
        let (Some(last), Some(gap)) = (self.last.get_mut(member), self.gap.get_mut(member)) else {
            return;
        };
        match event {
            Event::Message(message) => {
                let Some((_, _, index)) = read_payload(&message.payload) else { return };
                let skipped = index - last.map_or(0, |last| last + 1);
                self.silent += if *gap { 0 } else { skipped };
                (*last, *gap) = (Some(index), false);
                let sent = self.sent.get(index as usize).copied().unwrap_or(0);
                self.delays.push((at.as_nanos() - sent) as f64 / 1e6);
            }
            Event::Gap(_) => {
                *gap = true;
                self.gaps += 1;
            }
            _ => (),
        }
    }
}

/// Runs it.
pub fn run(parameters: &Parameters, progress: &mut dyn FnMut(f64)) -> Report {
    let Parameters { members, rate, bytes, seconds, seed, .. } = *parameters;
    let mut config = Config::lan();
    if parameters.multicast {
        config.multicast.dissemination = Dissemination::Multicast;
    }
    let loss_ppm = (parameters.loss * 1e6) as u32;
    let network = Network { loss_ppm, ..Network::default() };
    let mut world = World::new(Setup::new(members, config, seed), network);
    let topic = world.topic("loss");
    (0..members).for_each(|member| world.subscribe(member, topic, Start::Live));
    let mut watch = Watch {
        sent: Vec::new(),
        delays: Vec::new(),
        last: vec![None; members],
        gap: vec![false; members],
        gaps: 0,
        silent: 0,
    };
    world.run(Duration::from_secs(2), &mut watch);
    let total = rate * seconds;
    for index in 0..total {
        watch.sent.push(world.now().monotonic.as_nanos());
        let published = world.publish(0, topic, payload(0, 1, index, bytes), &mut watch);
        published.expect("the pace is far above the rate");
        world.run(Duration::from_nanos(1_000_000_000 / rate), &mut watch);
        progress(index as f64 / total as f64);
    }
    // Longer than anything is waited for.
    world.run(Duration::from_secs(12), &mut watch);
    let tail = |last: &Option<u64>| total - last.map_or(0, |last| last + 1);
    let ends = watch.last.iter().zip(&watch.gap).skip(1);
    watch.silent += ends.filter(|(_, gap)| !**gap).map(|(last, _)| tail(last)).sum::<u64>();
    let stats = |get: fn(&spinglass_core::Stats) -> u64| -> u64 {
        (0..members).map(|member| get(&world.stats(member))).sum()
    };
    let filled = stats(|stats| stats.repairs_received).max(1);
    let surplus = stats(|stats| stats.repairs_surplus);
    Report {
        published: total,
        delivered: watch.delays.len() as u64,
        silent: watch.silent,
        gaps: watch.gaps,
        p50_ms: quantile(&mut watch.delays, 0.5),
        p99_ms: quantile(&mut watch.delays, 0.99),
        max_ms: quantile(&mut watch.delays, 1.0),
        repairs_per_loss: (filled + surplus) as f64 / filled as f64,
        parameters: parameters.clone(),
    }
}
