//! The experiment of Figure 1 with real processes: how steady are healthy members while others are
//! stopped and continued?

use std::time::Duration;

use anyhow::Result;
use serde::Serialize;

use crate::herd::Herd;
use crate::measure::{self, Load};
use crate::member::protocol::Tally;
use crate::network::{Mode, Spread};
use crate::output::{Format, Verdict, table};
use crate::sleepers::Sleepers;
use crate::statistics::{coefficient_of_variation, mean};

/// What to run.
#[derive(Debug)]
pub(super) struct Experiment {
    /// Members, the sender included.
    pub(super) members: usize,
    /// Messages per second.
    pub(super) rate: f64,
    /// Bytes per message.
    pub(super) size: usize,
    /// Bins of 500 ms that are looked at.
    pub(super) samples: usize,
    /// Shares of slots in which a sleeper is stopped.
    pub(super) asleep: Vec<f64>,
    /// How packets are spread.
    pub(super) mode: Mode,
    /// The seed of who sleeps when.
    pub(super) seed: u64,
}

/// The papers' bins.
const BIN: Duration = Duration::from_millis(500);
/// What healthy members may lag behind the sender at the end.
const SETTLE_TIME: Duration = Duration::from_secs(2);
/// Between runs: what sleepers still lack is repaired meanwhile.
pub(super) const REST_TIME: Duration = Duration::from_secs(3);
/// The share of members that sleep in the second series.
const QUARTER: usize = 4;

/// One run.
#[derive(Debug, Serialize)]
pub(super) struct Run {
    pub(super) sleepers: usize,
    pub(super) asleep: f64,
    /// Mean over the offered rate: at the worst healthy member, and over all of them.
    pub(super) worst_rate_share: f64,
    pub(super) mean_rate_share: f64,
    /// Coefficient of variation of the samples: at the worst healthy member, and at the median one.
    pub(super) worst_variation: f64,
    pub(super) median_variation: f64,
    healthy_gaps: u64,
    sleeper_gaps: u64,
    sleeper_missing_untold: u64,
}

/// All runs, and the worst of each figure.
#[derive(Debug, Serialize)]
struct Report {
    members: usize,
    rate: f64,
    size: usize,
    samples: usize,
    datagram_bytes: usize,
    mode: &'static str,
    seed: u64,
    worst_rate_share: f64,
    worst_variation: f64,
    runs: Vec<Run>,
}

/// The bars: at least this share of the offered rate ...
pub(super) const RATE_SHARE_MIN: f64 = 0.99;
/// ... and at most this coefficient of variation.
pub(super) const VARIATION_MAX: f64 = 0.05;

/// Runs all of it.
///
/// # Errors
/// The processes can't be run.
pub(super) async fn run(experiment: &Experiment, format: Format) -> Result<Verdict> {
    let spread = Spread::choose(experiment.mode)?;
    format.say(&format!(
        "{} processes on loopback by {}, {} B messages at {}/s, {} samples of 500 ms each run",
        experiment.members,
        spread.name(),
        experiment.size,
        experiment.rate,
        experiment.samples
    ));
    let mut herd = Herd::start(experiment.members, &spread.setup(None)).await?;
    let datagram_bytes = herd.datagram_bytes();
    let mut runs = Vec::new();
    for sleepers in [1, experiment.members / QUARTER] {
        for asleep in &experiment.asleep {
            let run = perturb(&mut herd, experiment, sleepers, *asleep).await?;
            format.say(&describe(&run));
            runs.push(run);
            tokio::time::sleep(REST_TIME).await;
        }
    }
    herd.end().await;
    let report = Report {
        members: experiment.members,
        rate: experiment.rate,
        size: experiment.size,
        samples: experiment.samples,
        datagram_bytes,
        mode: spread.name(),
        seed: experiment.seed,
        worst_rate_share: runs.iter().map(|run| run.worst_rate_share).fold(f64::MAX, f64::min),
        worst_variation: runs.iter().map(|run| run.worst_variation).fold(0.0, f64::max),
        runs,
    };
    format.print(&report, as_table)?;
    let good = report.worst_rate_share >= RATE_SHARE_MIN && report.worst_variation <= VARIATION_MAX;
    Ok(good.into())
}

/// One run.
///
/// # Errors
/// A member does not answer.
pub(super) async fn perturb(
    herd: &mut Herd,
    experiment: &Experiment,
    sleepers: usize,
    asleep: f64,
) -> Result<Run> {
    let Experiment { members, rate, size, samples, seed, .. } = *experiment;
    // The first and the last bin are not looked at: the stream begins and ends in them.
    let seconds = (samples + 2) as f64 * BIN.as_secs_f64();
    let load = Load::for_seconds(seconds, size, rate);
    let healthy: Vec<usize> = (1..members - sleepers).collect();
    let stop =
        |herd: &Herd| Sleepers::start(herd.pids().split_off(members - sleepers), asleep, seed);
    let measured = measure::run_while(herd, load, BIN, (SETTLE_TIME, &healthy), stop).await?;
    let (awake, slept) = measured.receivers.split_at(members - sleepers - 1);
    let series: Vec<Vec<f64>> = awake.iter().map(|tally| rates(tally, samples)).collect();
    let shares: Vec<f64> = series.iter().map(|rates| mean(rates) / rate).collect();
    let mut variations: Vec<f64> =
        series.iter().map(|rates| coefficient_of_variation(rates)).collect();
    variations.sort_by(f64::total_cmp);
    Ok(Run {
        sleepers,
        asleep,
        worst_rate_share: shares.iter().copied().fold(f64::MAX, f64::min),
        mean_rate_share: mean(&shares),
        worst_variation: variations.last().copied().unwrap_or(0.0),
        median_variation: variations.get(variations.len() / 2).copied().unwrap_or(0.0),
        healthy_gaps: awake.iter().map(|tally| tally.gaps).sum(),
        sleeper_gaps: slept.iter().map(|tally| tally.gaps).sum(),
        sleeper_missing_untold: slept.iter().map(|tally| tally.missing_untold).sum(),
    })
}

/// Messages per second in each bin that is looked at.
fn rates(tally: &Tally, samples: usize) -> Vec<f64> {
    let count = |bin: usize| f64::from(tally.bins.get(bin).copied().unwrap_or(0));
    (1..=samples).map(|bin| count(bin) / BIN.as_secs_f64()).collect()
}

fn describe(run: &Run) -> String {
    format!(
        "  {:>2} asleep {:.1}: mean {:.2} % of the offered rate, variation {:.2} % (worst healthy \
         member)",
        run.sleepers,
        run.asleep,
        run.worst_rate_share * 100.0,
        run.worst_variation * 100.0
    )
}

fn as_table(report: &Report) -> String {
    let header = [
        "sleepers",
        "asleep",
        "mean",
        "worst mean",
        "CV",
        "worst CV",
        "gaps",
        "sleepers' gaps",
        "untold",
    ];
    let row = |run: &Run| {
        vec![
            run.sleepers.to_string(),
            format!("{:.1}", run.asleep),
            format!("{:.2} %", run.mean_rate_share * 100.0),
            format!("{:.2} %", run.worst_rate_share * 100.0),
            format!("{:.2} %", run.median_variation * 100.0),
            format!("{:.2} %", run.worst_variation * 100.0),
            run.healthy_gaps.to_string(),
            run.sleeper_gaps.to_string(),
            run.sleeper_missing_untold.to_string(),
        ]
    };
    let rows: Vec<Vec<String>> = report.runs.iter().map(row).collect();
    table(&header, &rows)
}
