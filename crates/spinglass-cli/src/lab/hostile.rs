//! Damaged copies of real datagrams: none may be accepted, none may be answered.
//!
//! Two members with real keys exchange real traffic, in memory. Everything that one sends is kept;
//! then damaged copies of it are given to the other, again and again, at an instant at which the
//! other has nothing of its own to say.

use core::ops::ControlFlow;
use std::net::SocketAddr;
use std::time::Duration;

use anyhow::{Context as _, Result};
use clap::Args;
use serde::Serialize;
use spinglass_core::crypto::Salt;
use spinglass_core::table::ZonePath;
use spinglass_core::{
    Config, Datagram, Driver, Event, Host, Identity, Incarnation, Instant, Node, Now, Prng, Start,
    Transmit,
};
use spinglass_crypto::{GroupKeys, RealCrypto, SigningKey};

use crate::output::{Format, Verdict};

/// Options of `lab hostile`.
#[derive(Debug, Args)]
#[command(after_help = "\
Example:
  spinglass lab hostile --datagrams 10000000")]
pub(crate) struct Hostile {
    /// How many damaged datagrams
    #[arg(long, default_value_t = 1_000_000)]
    datagrams: u64,
    /// The seed of the damage
    #[arg(long, default_value_t = 1)]
    seed: u64,
}

/// What came of it.
#[derive(Debug, Serialize)]
struct Report {
    datagrams: u64,
    /// Different real datagrams that were damaged.
    originals: usize,
    accepted: u64,
    answered: u64,
    events: usize,
    seed: u64,
    seconds: f64,
}

/// Where a member's outputs go.
#[derive(Debug, Default)]
struct Outside {
    sent: Vec<Vec<u8>>,
    events: Vec<Event>,
}

impl Host for Outside {
    fn transmit(&mut self, transmit: &Transmit, segments: &[u8]) -> ControlFlow<()> {
        self.sent.extend(segments.chunks(transmit.segment_bytes.max(1)).map(<[u8]>::to_vec));
        ControlFlow::Continue(())
    }

    fn deliver(&mut self, event: Event) {
        self.events.push(event);
    }

    fn segments_max(&self) -> usize {
        16
    }
}

/// Messages of real traffic.
const MESSAGES: usize = 400;
/// Between two of them.
const MESSAGE_INTERVAL: Duration = Duration::from_millis(5);
/// A wall clock, so that records are not from the future.
const WALL_MS: u64 = 1_800_000_000_000;
/// Damaged datagrams given at once, as sockets do.
const BATCH: usize = 32;

/// Runs it.
///
/// # Errors
/// The two members can't be made.
pub(super) fn run(options: &Hostile, format: Format) -> Result<Verdict> {
    let (mut victim, originals, now) = real_traffic(options.seed)?;
    let mut rng = Prng::new(options.seed).fork("damage");
    let mut outside = Outside::default();
    let before = victim.node().stats();
    let began = std::time::Instant::now();
    let mut left = options.datagrams;
    while left > 0 {
        let count = usize::try_from(left).unwrap_or(BATCH).min(BATCH);
        let mut batch: Vec<Vec<u8>> = (0..count).map(|_| damaged(&originals, &mut rng)).collect();
        let from = address(0);
        let mut datagrams: Vec<Datagram<'_>> =
            batch.iter_mut().map(|bytes| Datagram { from, bytes }).collect();
        victim.handle_datagrams(now, &mut datagrams);
        victim.drain(now, &mut outside);
        left -= count as u64;
    }
    let after = victim.node().stats();
    let refused = after.rejected.iter().sum::<u64>() - before.rejected.iter().sum::<u64>();
    let report = Report {
        datagrams: after.datagrams_received - before.datagrams_received,
        originals: originals.len(),
        accepted: after.datagrams_received - before.datagrams_received - refused,
        answered: outside.sent.len() as u64,
        events: outside.events.len(),
        seed: options.seed,
        seconds: began.elapsed().as_secs_f64(),
    };
    format.print(&report, |report| {
        format!(
            "{} damaged copies of {} real datagrams in {:.1} s: {} accepted, {} answered, {} \
             events\n",
            report.datagrams,
            report.originals,
            report.seconds,
            report.accepted,
            report.answered,
            report.events
        )
    })?;
    Ok((report.accepted == 0 && report.answered == 0 && report.events == 0).into())
}

/// Two members that know each other, what the first one sent, and a quiet instant of the second.
fn real_traffic(seed: u64) -> Result<(Driver, Vec<Vec<u8>>, Now)> {
    let mut sender = member(0, vec![], seed)?;
    let mut victim = member(1, vec![address(0)], seed)?;
    let topic = victim.node_mut().topic("real");
    let (mut out, mut heard) = (Outside::default(), Outside::default());
    let mut originals = Vec::new();
    let mut at = Duration::ZERO;
    victim.subscribe(now(at), topic, Start::Live)?;
    for number in 0..MESSAGES {
        at += MESSAGE_INTERVAL;
        let payload = vec![(number % 251) as u8; 64 + number * 3];
        sender.publish(now(at), topic, payload.into()).context("cannot publish")?;
        for driver in [(&mut sender, &mut out), (&mut victim, &mut heard)] {
            driver.0.handle_timeout(now(at));
            driver.0.drain(now(at), driver.1);
        }
        give(&mut victim, &mut out.sent, 0, at, &mut originals);
        give(&mut sender, &mut heard.sent, 1, at, &mut Vec::new());
    }
    victim.handle_timeout(now(at));
    victim.drain(now(at), &mut heard);
    let delivered = heard.events.iter().any(|event| matches!(event, Event::Message(_)));
    anyhow::ensure!(delivered, "the two members did not exchange anything");
    Ok((victim, originals, now(at)))
}

fn give(
    to: &mut Driver,
    sent: &mut Vec<Vec<u8>>,
    from: u16,
    at: Duration,
    kept: &mut Vec<Vec<u8>>,
) {
    for mut bytes in sent.drain(..) {
        kept.push(bytes.clone());
        let from = address(from);
        to.handle_datagrams(now(at), &mut [Datagram { from, bytes: &mut bytes }]);
    }
}

fn member(index: u16, seeds: Vec<SocketAddr>, seed: u64) -> Result<Driver> {
    let number = [index.to_le_bytes()[0] + 1; 32];
    let crypto = RealCrypto::new(SigningKey::from_seed(number), GroupKeys::from_key([7; 32]));
    let identity = Identity {
        incarnation: Incarnation(WALL_MS / 1000),
        salt: Salt([number[0]; 16]),
        address: address(index),
        region: ZonePath::root(),
        name: String::new(),
    };
    let config = Config::lan().check()?;
    let crypto = Box::new(crypto);
    let node = Node::new(config, identity, crypto, seed, seeds, now(Duration::ZERO))?;
    Ok(Driver::new(node))
}

fn address(index: u16) -> SocketAddr {
    ([127, 0, 0, 1], 7000 + index).into()
}

fn now(at: Duration) -> Now {
    let nanos = u64::try_from(at.as_nanos()).unwrap_or(u64::MAX);
    let wall_ms = WALL_MS + nanos / 1_000_000;
    Now { monotonic: Instant::from_nanos(nanos), wall_ms }
}

/// A copy of some datagram with at least one bit wrong.
fn damaged(originals: &[Vec<u8>], rng: &mut Prng) -> Vec<u8> {
    let Some(original) = originals.get(rng.index(originals.len().max(1))) else {
        return Vec::new();
    };
    let mut bytes = original.clone();
    match rng.below(4) {
        0 => flip(&mut bytes, 1, rng),
        1 => flip(&mut bytes, 8, rng),
        2 => bytes.truncate(rng.index(original.len().max(1))),
        _ => {
            let more = 1 + rng.index(64);
            bytes.extend((0..more).map(|_| rng.next_u64().to_le_bytes()[0]));
        }
    }
    bytes
}

/// Flips a bit in each of so many different bytes.
fn flip(bytes: &mut [u8], count: usize, rng: &mut Prng) {
    let stride = (bytes.len() / count.max(1)).max(1);
    for part in bytes.chunks_mut(stride).take(count) {
        let place = rng.index(part.len().max(1));
        if let Some(byte) = part.get_mut(place) {
            *byte ^= 1 << rng.below(8);
        }
    }
}
