//! The demo with a console: messages without end, while whoever looks on turns the knobs: who
//! sleeps, for how long, and what is lost. The conductor is a member of the group itself, so the
//! console's other pages show the group, too.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, Result};
use serde::Serialize;
use spinglass::Node;
use spinglass_doors::http;
use spinglass_doors::http::experiment::{Experiment, Knobs, Moment, Told};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::Instant;

use super::{BIN, Demo, PROGRESS_MS, table};
use crate::herd::Herd;
use crate::member::protocol::{Order, Progress, Setup};
use crate::member::{self, HEADER_BYTES};
use crate::network::Spread;
use crate::output::{Format, Verdict};
use crate::ports;
use crate::sleepers::Sleepers;
use crate::statistics::mean;

/// Messages per second, and bytes of each, as in the papers [Birman et al. 1999, figure 3].
const RATE: f64 = 200.0;
const MESSAGE_BYTES: usize = 7_168;
/// Moments that are shown: two minutes.
const MOMENTS_MAX: usize = 240;
/// Moments over which what sleepers deliver is averaged: they deliver when they wake.
const BURST_BINS: usize = 10;
/// Summaries that are installed, so that there is something to see.
const SUMMARY: (&str, &str) = ("load", "SELECT AVG(load) AS load, MAX(load) AS most FROM zone");

const _: () = assert!(MESSAGE_BYTES > HEADER_BYTES);

/// What `--json` prints.
#[derive(Debug, Serialize)]
struct Begun {
    console: String,
    members: usize,
}

/// Runs until it is interrupted.
///
/// # Errors
/// The members can't be run, one ends, or the door can't be opened.
pub(super) async fn run(
    options: &Demo,
    address: Option<SocketAddr>,
    format: Format,
) -> Result<Verdict> {
    let knobs = Knobs { sleepers: options.sleepers, asleep: options.asleep, loss: options.loss };
    let knobs = knobs.check().map_err(anyhow::Error::msg)?;
    let spread = Spread::choose(options.mode)?;
    let count = usize::from(options.members);
    let door = ports::HTTP.open(address, false, false).await?;
    let door = door.context("no port is free for the console")?;
    let at = format!("http://{}/#/experiment", door.local_addr()?);
    format.say(&format!(
        "starting {count} members as processes on loopback; packets go by {}",
        spread.name()
    ));
    let setup = Setup {
        drop_probability: options.loss,
        progress_ms: PROGRESS_MS,
        ..table::setup(spread.setup(None))
    };
    let mut herd = Herd::start(count, &setup).await?;
    let node = Arc::new(join(&herd, &setup).await?);
    let mut lab = Lab::begin(&mut herd, knobs, options.seed).await?;
    let (told, told_to) = watch::channel(lab.told(&herd));
    let (turn, mut turned) = watch::channel(knobs);
    // It ends with the command.
    let mut beside = JoinSet::new();
    beside.spawn(http::serve(door, Arc::downgrade(&node), settings(told_to, turn)));
    let begun = Begun { console: at, members: count };
    format.print(&begun, |begun| format!("look at {}\nCtrl-C ends it\n", begun.console))?;
    loop {
        herd.watch_until(Instant::now() + BIN).await?;
        if turned.has_changed()? {
            let knobs = *turned.borrow_and_update();
            lab.turn(&mut herd, knobs).await?;
        }
        lab.look(&herd);
        told.send_replace(lab.told(&herd));
    }
}

/// Takes part, to look on.
async fn join(herd: &Herd, setup: &Setup) -> Result<Node> {
    let setup = Setup { seeds: herd.addresses(), drop_probability: 0.0, ..setup.clone() };
    Ok(member::builder(&setup).name("console").start().await?)
}

/// The door of a demonstration: everybody on this machine may turn its knobs.
fn settings(told: watch::Receiver<Told>, knobs: watch::Sender<Knobs>) -> http::Settings {
    let (_, token) = watch::channel(None);
    let experiment = Some(Experiment { told, knobs });
    http::Settings { has_seeds: true, token, is_open: true, claims: Arc::new(|_| ()), experiment }
}

/// The experiment as it goes.
struct Lab {
    begun: Instant,
    knobs: Knobs,
    seed: u64,
    sleepers: Sleepers,
    sleeping: Vec<usize>,
    /// Each member's progress when it was last looked at, and when it had told it.
    before: Vec<(Progress, Instant)>,
    /// What the average sleeper delivered of late.
    bursts: VecDeque<f64>,
    moments: VecDeque<Moment>,
}

impl Lab {
    async fn begin(herd: &mut Herd, knobs: Knobs, seed: u64) -> Result<Self> {
        for member in 0..herd.count() {
            let load = 0.1 + (member * 7 % 32) as f64 / 100.0;
            herd.order(member, &Order::Load { load }).await?;
        }
        let (name, sql) = SUMMARY;
        herd.order(0, &Order::Install { name: name.into(), sql: sql.into() }).await?;
        herd.begin_step(BIN).await?;
        let count = u64::MAX;
        let emit = Order::Emit { count, bytes: MESSAGE_BYTES, rate: RATE, tick_us: 0 };
        herd.order(0, &emit).await?;
        let sleeping = super::sleepers_of(herd, knobs.sleepers);
        Ok(Self {
            begun: Instant::now(),
            knobs,
            seed,
            sleepers: put_to_sleep(herd, &sleeping, knobs, seed),
            sleeping,
            before: Vec::new(),
            bursts: VecDeque::new(),
            moments: VecDeque::new(),
        })
    }

    async fn turn(&mut self, herd: &mut Herd, knobs: Knobs) -> Result<()> {
        if knobs.loss != self.knobs.loss {
            herd.order_all(&Order::Drop { share: knobs.loss }).await?;
        }
        if (knobs.sleepers, knobs.asleep) != (self.knobs.sleepers, self.knobs.asleep) {
            self.sleeping = super::sleepers_of(herd, knobs.sleepers);
            self.seed += 1;
            // Those before wake first: what replaces them is made before they are dropped.
            self.sleepers.wake();
            self.sleepers = put_to_sleep(herd, &self.sleeping, knobs, self.seed);
        }
        self.knobs = knobs;
        Ok(())
    }

    /// Takes in what members have told since it last looked.
    fn look(&mut self, herd: &Herd) {
        let now: Vec<(Progress, Instant)> =
            herd.progress_told().map(|(progress, at)| (progress.clone(), at)).collect();
        let before = std::mem::replace(&mut self.before, now);
        if before.is_empty() {
            return;
        }
        let receivers = self.before.iter().zip(&before).enumerate().skip(1);
        let (sleepers, healthy): (Vec<_>, Vec<_>) =
            receivers.partition(|(member, _)| self.sleeping.contains(member));
        let grown = |of: fn(&Progress) -> u64| {
            let pairs = sleepers.iter().chain(&healthy);
            let grown = pairs.map(|(_, (now, before))| of(&now.0).saturating_sub(of(&before.0)));
            grown.sum::<u64>() as f64 / BIN.as_secs_f64()
        };
        let rates: Vec<f64> = healthy.iter().map(|(_, (now, before))| rate(now, before)).collect();
        let slept: u64 = sleepers.iter().map(|(_, (now, before))| delivered(now, before)).sum();
        let slept = slept as f64 / sleepers.len().max(1) as f64 / BIN.as_secs_f64();
        self.bursts.push_back(slept);
        if self.bursts.len() > BURST_BINS {
            self.bursts.pop_front();
        }
        if self.moments.len() == MOMENTS_MAX {
            self.moments.pop_front();
        }
        self.moments.push_back(Moment {
            at: self.begun.elapsed().as_secs_f64(),
            offered: RATE,
            healthy_least: rates.iter().copied().reduce(f64::min),
            healthy: (!rates.is_empty()).then(|| mean(&rates)),
            sleeping: (!sleepers.is_empty()).then(|| mean(self.bursts.make_contiguous())),
            repairs: grown(|progress| progress.repairs_received),
            gaps: grown(|progress| progress.gaps),
        });
    }

    fn told(&self, herd: &Herd) -> Told {
        Told {
            members: herd.count(),
            sleepers: self.sleeping.len(),
            knobs: self.knobs,
            most: Knobs::MOST,
            moments: self.moments.iter().copied().collect(),
        }
    }
}

fn put_to_sleep(herd: &Herd, sleeping: &[usize], knobs: Knobs, seed: u64) -> Sleepers {
    let pids = herd.pids();
    let pids = sleeping.iter().filter_map(|member| pids.get(*member).copied()).collect();
    Sleepers::start(pids, knobs.asleep, seed)
}

fn delivered((now, _): &(Progress, Instant), (before, _): &(Progress, Instant)) -> u64 {
    now.messages.saturating_sub(before.messages)
}

/// Messages that a healthy member delivered in a second, between what it told before and now.
fn rate(now: &(Progress, Instant), before: &(Progress, Instant)) -> f64 {
    // Reports that were held up come at once: what they tell took longer.
    let least = Duration::from_millis(PROGRESS_MS);
    let time = now.1.duration_since(before.1).max(least);
    delivered(now, before) as f64 / time.as_secs_f64()
}
