//! One measured step of a herd: a sender publishes numbered messages, and everything is counted.

use std::time::Duration;

use anyhow::Result;
use tokio::time::Instant;

use crate::clock::monotonic_ns;
use crate::herd::Herd;
use crate::member::protocol::{Order, Tally};
use crate::statistics::Histogram;

/// What the sender publishes.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Load {
    /// Messages.
    pub(crate) count: u64,
    /// Bytes of each.
    pub(crate) bytes: usize,
    /// Messages per second.
    pub(crate) rate: f64,
    /// Time between the batches that it hands over; zero: each message at its own time.
    pub(crate) tick: Duration,
}

impl Load {
    /// Messages of `bytes` at `rate` for so many seconds.
    pub(crate) fn for_seconds(seconds: f64, bytes: usize, rate: f64) -> Self {
        // In range: a rate times a short time.
        let count = (seconds * rate).round().max(1.0) as u64;
        Self { count, bytes, rate, tick: Duration::ZERO }
    }

    /// How long it takes at its rate.
    pub(crate) fn seconds(&self) -> f64 {
        self.count as f64 / self.rate
    }
}

/// What became of a step.
#[derive(Debug)]
pub(crate) struct Measured {
    /// What was published.
    pub(crate) load: Load,
    /// How long the sender took, in seconds.
    pub(crate) published_seconds: f64,
    /// Until the slowest watched receiver had its last message, in seconds.
    pub(crate) delivered_seconds: f64,
    /// Processor seconds of all members.
    pub(crate) processor_seconds: f64,
    /// Bytes that all members handed to the network.
    pub(crate) wire_bytes: u64,
    /// The receivers' counts.
    pub(crate) receivers: Vec<Tally>,
}

impl Measured {
    /// Messages delivered, by all receivers.
    pub(crate) fn deliveries(&self) -> u64 {
        self.receivers.iter().map(|tally| tally.messages).sum()
    }

    /// Whether every receiver got every message, in order, with no gap.
    pub(crate) fn is_whole(&self) -> bool {
        self.receivers.iter().all(|tally| {
            tally.messages == self.load.count && tally.gaps == 0 && tally.disordered == 0
        })
    }

    /// Whether the group kept up: everything whole, and delivered as soon as it was published.
    pub(crate) fn is_sustained(&self) -> bool {
        self.is_whole() && self.delivered_seconds <= self.published_seconds + LAG_MAX
    }

    /// Whether the sender published less than it was offered: more offers will not help.
    pub(crate) fn is_saturated(&self) -> bool {
        self.published_seconds > self.load.seconds() * LATENESS
    }

    /// Messages per second at the slowest receiver.
    pub(crate) fn rate(&self) -> f64 {
        let slowest = self.receivers.iter().map(|tally| tally.messages).min().unwrap_or(0);
        slowest as f64 / self.delivered_seconds.max(1e-9)
    }

    /// Processor microseconds per delivery, over all processes.
    pub(crate) fn processor_us_per_delivery(&self) -> f64 {
        self.processor_seconds * 1e6 / self.deliveries().max(1) as f64
    }

    /// Bytes on the wire per delivery.
    pub(crate) fn wire_bytes_per_delivery(&self) -> f64 {
        self.wire_bytes as f64 / self.deliveries().max(1) as f64
    }

    /// Ages of all messages at all receivers.
    pub(crate) fn ages(&self) -> Histogram {
        let mut ages = Histogram::default();
        for tally in &self.receivers {
            ages.merge(&Histogram::from_buckets(&tally.ages));
        }
        ages
    }
}

/// How much longer than planned a sender may take that is not held up: scheduling.
const LATENESS: f64 = 1.1;
/// How far, in seconds, the slowest receiver of a group that keeps up is behind the sender.
const LAG_MAX: f64 = 0.25;
/// How much longer than planned the sender may take before the step is given up.
const SENDER_GRACE: Duration = Duration::from_secs(30);

/// Lets the first member publish `load`, and waits until the `watched` receivers have it all, or
/// for `settle` after the sender finished.
///
/// # Errors
/// A member ended or does not answer.
pub(crate) async fn run(
    herd: &mut Herd,
    load: Load,
    bin: Duration,
    settle: Duration,
    watched: &[usize],
) -> Result<Measured> {
    run_while(herd, load, bin, (settle, watched), |_| ()).await
}

/// As [`run`], while something goes on: `begin` starts it, and what `begin` returned is dropped,
/// which ends it, once the watched members have everything; then all tell what they counted.
///
/// # Errors
/// A member ended or does not answer.
pub(crate) async fn run_while<G>(
    herd: &mut Herd,
    load: Load,
    bin: Duration,
    (settle, watched): (Duration, &[usize]),
    begin: impl FnOnce(&Herd) -> G,
) -> Result<Measured> {
    let bytes_before = wire_bytes(&herd.tallies().await?);
    herd.begin_step(bin).await?;
    let guard = begin(herd);
    let processor_before = herd.processor_seconds();
    let begin_ns = monotonic_ns();
    let Load { count, bytes, rate, tick } = load;
    let tick_us = u64::try_from(tick.as_micros()).unwrap_or(0);
    herd.order(0, &Order::Emit { count, bytes, rate, tick_us }).await?;
    let limit = Duration::from_secs_f64(load.seconds() * 4.0) + SENDER_GRACE;
    let (_, published_seconds) = herd.await_published(limit).await?;
    let end = Instant::now() + settle;
    loop {
        let tallies = herd.tallies_of(watched).await?;
        if tallies.iter().all(|tally| tally.next >= count) || Instant::now() > end {
            break;
        }
        tokio::time::sleep(POLL_INTERVAL).await;
    }
    let processor_seconds = herd.processor_seconds() - processor_before;
    drop(guard);
    let mut receivers = herd.tallies().await?;
    let wire_bytes = wire_bytes(&receivers).saturating_sub(bytes_before);
    let last_ns = watched.iter().filter_map(|index| receivers.get(*index)).map(|t| t.last_ns).max();
    receivers.remove(0);
    let delivered_ns = last_ns.unwrap_or(0).saturating_sub(begin_ns);
    Ok(Measured {
        load,
        published_seconds,
        delivered_seconds: delivered_ns as f64 / 1e9,
        processor_seconds,
        wire_bytes,
        receivers,
    })
}

/// How often receivers are asked whether they have everything.
const POLL_INTERVAL: Duration = Duration::from_millis(50);

fn wire_bytes(tallies: &[Tally]) -> u64 {
    tallies.iter().map(|tally| tally.stats.bytes_sent).sum()
}
