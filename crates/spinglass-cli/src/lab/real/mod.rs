//! `spinglass lab real`: members as processes in network namespaces of their own, beside those of
//! other systems in the same network and under the same load.

mod fabric;

use std::path::PathBuf;

use anyhow::{Context as _, Result};
use clap::{Args, ValueEnum};
use serde::Serialize;

use crate::herd::{Herd, Launcher};
use crate::lab::{loss, perturb};
use crate::measure::{self, Load};
use crate::member::protocol::Setup;
use crate::network::Mode;
use crate::output::{Format, Verdict, table};
use crate::plan::{group_size, share};
use fabric::Fabric;

/// Options of `lab real`.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  spinglass lab real figure1
  spinglass lab real loss --loss 0.05,0.2 --against ./gossipsub-member
  spinglass lab real latency --members 16 --seconds 5

It takes root, and the packages iproute2 and nftables: each member is in a network namespace, all
are on one bridge, and each link loses by itself. A member of another system is a program that takes
orders on its standard input: docs/opponents.md says which.")]
pub(crate) struct Real {
    /// What is run
    #[arg(value_enum)]
    scenario: Scenario,
    /// Group size
    #[arg(long, default_value_t = 32, value_parser = group_size)]
    members: usize,
    /// Programs whose members are run after ours
    #[arg(long, value_name = "PROGRAM")]
    against: Vec<PathBuf>,
    /// Shares of the 100 ms slots in which one member is stopped, in figure1
    #[arg(long, value_delimiter = ',', value_parser = share, default_value = "0,0.3,0.6,0.9")]
    asleep: Vec<f64>,
    /// Shares of packets that each link loses, in loss
    #[arg(long, value_delimiter = ',', value_parser = share, default_value = "0.01,0.05,0.2")]
    loss: Vec<f64>,
    /// Seconds of each run
    #[arg(long, default_value_t = 20.0)]
    seconds: f64,
    /// Messages per second [default: 200 in figure1, else 100]
    #[arg(long)]
    rate: Option<f64>,
    /// Bytes per message [default: 7168 in figure1, else 1024]
    #[arg(long)]
    size: Option<usize>,
}

/// What is run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum, Serialize)]
#[serde(rename_all = "lowercase")]
enum Scenario {
    /// One member is stopped now and then; what do the others get?
    Figure1,
    /// Every link loses packets; does everything arrive, and when?
    Loss,
    /// How old are messages when they arrive, and what do they cost?
    Latency,
}

/// One run.
#[derive(Debug, Clone, Default, Serialize)]
struct Run {
    who: String,
    /// The share of slots slept through, or of packets lost.
    x: f64,
    /// Messages that members who are not stopped got, over those that they should have.
    delivered: f64,
    /// The same at the worst of them: of the offered rate, in figure 1.
    worst: f64,
    /// How uneven the worst one's samples are, in figure 1.
    variation: f64,
    /// Messages' ages on arrival; not in figure 1.
    p50_ms: f64,
    p99_ms: f64,
    max_ms: f64,
    /// Bytes that all members handed to the network, and processor time, for each delivery.
    wire_bytes: f64,
    processor_us: f64,
}

#[derive(Debug, Serialize)]
struct Report {
    scenario: Scenario,
    members: usize,
    rate: f64,
    size: usize,
    /// Ours, the worst of all runs.
    ours_worst: f64,
    runs: Vec<Run>,
}

/// The share that ours must get.
const SHARE_MIN: f64 = 0.98;
/// The samples of figure 1 are half a second long.
const SAMPLES_PER_SECOND: f64 = 2.0;
/// The largest UDP payload of an Ethernet frame.
const DATAGRAM_BYTES: usize = 1472;
const OURS: &str = "Spinglass";
/// Ours without IP multicast, as other systems are.
const OURS_UNICAST: &str = "Spinglass, unicast";

impl Real {
    fn rate(&self) -> f64 {
        self.rate.unwrap_or(if self.scenario == Scenario::Figure1 { 200.0 } else { 100.0 })
    }

    fn size(&self) -> usize {
        self.size.unwrap_or(if self.scenario == Scenario::Figure1 { 7168 } else { 1024 })
    }

    fn xs(&self) -> &[f64] {
        match self.scenario {
            Scenario::Figure1 => &self.asleep,
            Scenario::Loss => &self.loss,
            Scenario::Latency => &[0.0],
        }
    }
}

/// Runs it; Ctrl-C takes the network down again.
///
/// # Errors
/// The network or a member can't be made.
pub(super) async fn run(options: &Real, format: Format) -> Result<Verdict> {
    let fabric = Fabric::build(options.members)?;
    tokio::select! {
        outcome = run_all(options, &fabric, format) => outcome,
        stopped = tokio::signal::ctrl_c() => {
            stopped?;
            format.say("stopped");
            Ok(Verdict::Bad)
        }
    }
}

async fn run_all(options: &Real, fabric: &Fabric, format: Format) -> Result<Verdict> {
    let mut runs = Vec::new();
    for (who, program, multicast) in contenders(options) {
        format.say(&format!(
            "{who}: {} processes in namespaces, {} B messages at {}/s",
            options.members,
            options.size(),
            options.rate()
        ));
        fabric.lose(0.0)?;
        let launcher = Launcher { program, places: fabric.places() };
        let setup = Setup {
            group_key: spinglass_crypto::random(),
            datagram_bytes: Some(DATAGRAM_BYTES),
            multicast: multicast.then(Fabric::multicast),
            ..Setup::default()
        };
        let mut herd = Herd::launch(&launcher, options.members, 0, &setup)
            .await
            .with_context(|| format!("cannot start {who}"))?;
        for x in options.xs() {
            let run = one(options, fabric, &mut herd, (&who, *x)).await?;
            format.say(&describe(options.scenario, &run));
            runs.push(run);
            tokio::time::sleep(perturb::REST_TIME).await;
        }
        herd.end().await;
    }
    let ours = runs.iter().filter(|run| run.who.starts_with(OURS));
    let report = Report {
        scenario: options.scenario,
        members: options.members,
        rate: options.rate(),
        size: options.size(),
        ours_worst: ours.map(|run| run.worst).fold(f64::MAX, f64::min),
        runs,
    };
    format.print(&report, as_table)?;
    Ok((report.ours_worst >= SHARE_MIN).into())
}

/// Whose members are run: their name, their program, and whether they have IP multicast.
fn contenders(options: &Real) -> Vec<(String, Option<PathBuf>, bool)> {
    let ours = [(OURS, true), (OURS_UNICAST, false)];
    let ours = ours.map(|(name, multicast)| (name.to_owned(), None, multicast));
    let other = |program: &PathBuf| {
        let name = program.file_stem().unwrap_or_default().to_string_lossy().into_owned();
        (name, Some(program.clone()), false)
    };
    ours.into_iter().chain(options.against.iter().map(other)).collect()
}

async fn one(
    options: &Real,
    fabric: &Fabric,
    herd: &mut Herd,
    (who, x): (&str, f64),
) -> Result<Run> {
    let (bytes_before, processor_before) = (fabric.bytes_sent()?, herd.processor_seconds());
    let mut run = match options.scenario {
        Scenario::Figure1 => sleeping(options, herd, x).await?,
        Scenario::Loss | Scenario::Latency => {
            fabric.lose(x)?;
            let run = losing(options, herd, x).await?;
            fabric.lose(0.0)?;
            run
        }
    };
    let messages = (options.seconds * options.rate()).round();
    let deliveries = (run.delivered * messages * (options.members - 1) as f64).max(1.0);
    run.wire_bytes = (fabric.bytes_sent()? - bytes_before) as f64 / deliveries;
    run.processor_us = (herd.processor_seconds() - processor_before) * 1e6 / deliveries;
    Ok(Run { who: who.to_owned(), x, ..run })
}

async fn sleeping(options: &Real, herd: &mut Herd, asleep: f64) -> Result<Run> {
    let experiment = perturb::Experiment {
        members: options.members,
        rate: options.rate(),
        size: options.size(),
        samples: (options.seconds * SAMPLES_PER_SECOND) as usize,
        asleep: Vec::new(),
        mode: Mode::Auto,
        seed: 1,
    };
    let run = perturb::perturb(herd, &experiment, 1, asleep).await?;
    Ok(Run {
        delivered: run.mean_rate_share,
        worst: run.worst_rate_share,
        variation: run.worst_variation,
        ..Run::default()
    })
}

async fn losing(options: &Real, herd: &mut Herd, share: f64) -> Result<Run> {
    let load = Load::for_seconds(options.seconds, options.size(), options.rate());
    let watched: Vec<usize> = (1..options.members).collect();
    let measured = measure::run(herd, load, loss::BIN, loss::SETTLE_TIME, &watched).await?;
    let run = loss::conclude(share, &measured);
    let got = |messages: u64| messages as f64 / run.published.max(1) as f64;
    let worst = measured.receivers.iter().map(|tally| tally.messages).min();
    Ok(Run {
        delivered: got(run.deliveries) / measured.receivers.len().max(1) as f64,
        worst: got(worst.unwrap_or(0)),
        p50_ms: run.p50_ms,
        p99_ms: run.p99_ms,
        max_ms: run.max_ms,
        ..Run::default()
    })
}

fn describe(scenario: Scenario, run: &Run) -> String {
    let Run { x, worst, p50_ms, p99_ms, variation, .. } = run;
    let (x, worst) = (x * 100.0, worst * 100.0);
    match scenario {
        Scenario::Figure1 => format!(
            "  {x:>3.0} % asleep: {worst:.2} % of the offered rate, variation {:.2} % (worst \
             healthy member)",
            variation * 100.0
        ),
        Scenario::Loss | Scenario::Latency => format!(
            "  {x:>3.0} % lost: {worst:.2} % delivered (worst member), p50 {p50_ms:.1} ms, p99 \
             {p99_ms:.1} ms"
        ),
    }
}

fn as_table(report: &Report) -> String {
    let header = [
        "members of",
        "x",
        "mean",
        "worst",
        "worst CV",
        "p50 ms",
        "p99 ms",
        "max ms",
        "bytes",
        "CPU us",
    ];
    let row = |run: &Run| {
        vec![
            run.who.clone(),
            format!("{:.2}", run.x),
            format!("{:.2} %", run.delivered * 100.0),
            format!("{:.2} %", run.worst * 100.0),
            format!("{:.2} %", run.variation * 100.0),
            format!("{:.1}", run.p50_ms),
            format!("{:.1}", run.p99_ms),
            format!("{:.1}", run.max_ms),
            format!("{:.0}", run.wire_bytes),
            format!("{:.0}", run.processor_us),
        ]
    };
    let rows: Vec<Vec<String>> = report.runs.iter().map(row).collect();
    let what = "Bytes on the network and processor time are for each delivery.";
    format!("{}{what}\n", table(&header, &rows))
}
