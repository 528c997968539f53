//! The loss experiment with real processes: every receiver drops packets on its own.

use std::time::Duration;

use anyhow::Result;
use serde::Serialize;

use crate::herd::Herd;
use crate::measure::{self, Load, Measured};
use crate::member::protocol::{Setup, Tally};
use crate::network::{Mode, Spread};
use crate::output::{Format, Verdict, table};

/// What to run.
#[derive(Debug)]
pub(super) struct Experiment {
    /// Members, the sender included.
    pub(super) members: usize,
    /// Messages per second.
    pub(super) rate: f64,
    /// Bytes per message.
    pub(super) size: usize,
    /// Shares of packets that every receiver drops.
    pub(super) losses: Vec<f64>,
    /// Length of each run.
    pub(super) seconds: f64,
    /// How packets are spread.
    pub(super) mode: Mode,
}

/// The width of the bins, which nothing here reads.
pub(super) const BIN: Duration = Duration::from_secs(1);
/// Within this time a message must have come or been told as a gap: the most rounds before a
/// packet is given up (100), of 100 ms, and some slack.
pub(super) const SETTLE_TIME: Duration = Duration::from_secs(12);

/// One run.
#[derive(Debug, Serialize)]
pub(super) struct Run {
    pub(super) loss: f64,
    pub(super) published: u64,
    pub(super) deliveries: u64,
    pub(super) gaps: u64,
    pub(super) missing: u64,
    pub(super) missing_untold: u64,
    pub(super) disordered: u64,
    pub(super) p50_ms: f64,
    pub(super) p99_ms: f64,
    pub(super) max_ms: f64,
    pub(super) repairs: u64,
    pub(super) measured_loss: f64,
    pub(super) settle_seconds: f64,
}

/// All runs.
#[derive(Debug, Serialize)]
struct Report {
    members: usize,
    rate: f64,
    size: usize,
    seconds: f64,
    datagram_bytes: usize,
    mode: &'static str,
    runs: Vec<Run>,
}

/// Runs all of it. The verdict is good when no miss is untold, and when at no more than 20 % loss
/// there is no miss at all.
///
/// # Errors
/// The processes can't be run.
pub(super) async fn run(experiment: &Experiment, format: Format) -> Result<Verdict> {
    let spread = Spread::choose(experiment.mode)?;
    let mut report = Report {
        members: experiment.members,
        rate: experiment.rate,
        size: experiment.size,
        seconds: experiment.seconds,
        datagram_bytes: 0,
        mode: spread.name(),
        runs: Vec::new(),
    };
    for loss in &experiment.losses {
        format.say(&format!(
            "{} processes on loopback by {}, {} B messages at {}/s for {} s, {:.0} % dropped",
            experiment.members,
            spread.name(),
            experiment.size,
            experiment.rate,
            experiment.seconds,
            loss * 100.0
        ));
        let setup = Setup { drop_probability: *loss, ..spread.setup(None) };
        let mut herd = Herd::start(experiment.members, &setup).await?;
        report.datagram_bytes = herd.datagram_bytes();
        let load = Load::for_seconds(experiment.seconds, experiment.size, experiment.rate);
        let watched: Vec<usize> = (1..experiment.members).collect();
        let measured = measure::run(&mut herd, load, BIN, SETTLE_TIME, &watched).await?;
        herd.end().await;
        report.runs.push(conclude(*loss, &measured));
    }
    format.print(&report, as_table)?;
    let told = report.runs.iter().all(|run| run.missing_untold == 0 && run.disordered == 0);
    let whole = report.runs.iter().all(|run| run.missing == 0 || run.loss > WHOLE_UP_TO);
    Ok((told && whole).into())
}

/// The loss up to which nothing may be missing at all.
const WHOLE_UP_TO: f64 = 0.2;

/// What became of a run with such a loss.
pub(super) fn conclude(loss: f64, measured: &Measured) -> Run {
    let ages = measured.ages();
    let sum = |figure: fn(&Tally) -> u64| measured.receivers.iter().map(figure).sum::<u64>();
    let count = measured.load.count;
    let tails = measured.receivers.iter().map(|tally| (count.saturating_sub(tally.next), tally));
    let tail: u64 = tails.clone().map(|(missing, _)| missing).sum();
    let tail_untold: u64 = tails.filter(|(_, t)| !t.gap_at_end).map(|(missing, _)| missing).sum();
    let losses = measured.receivers.iter().map(|tally| f64::from(tally.stats.loss_ppm) / 1e6);
    Run {
        loss,
        published: count,
        deliveries: measured.deliveries(),
        gaps: sum(|tally| tally.gaps),
        missing: sum(|tally| tally.missing) + tail,
        missing_untold: sum(|tally| tally.missing_untold) + tail_untold,
        disordered: sum(|tally| tally.disordered),
        p50_ms: ages.quantile_ms(0.5),
        p99_ms: ages.quantile_ms(0.99),
        max_ms: ages.quantile_ms(1.0),
        repairs: sum(|tally| tally.stats.repairs_received),
        measured_loss: losses.sum::<f64>() / measured.receivers.len().max(1) as f64,
        settle_seconds: (measured.delivered_seconds - measured.published_seconds).max(0.0),
    }
}

fn as_table(report: &Report) -> String {
    let header = [
        "loss",
        "published",
        "deliveries",
        "gaps",
        "missing",
        "untold",
        "p50 ms",
        "p99 ms",
        "max ms",
        "repairs",
        "loss seen",
    ];
    let row = |run: &Run| {
        vec![
            format!("{:.0} %", run.loss * 100.0),
            run.published.to_string(),
            run.deliveries.to_string(),
            run.gaps.to_string(),
            run.missing.to_string(),
            run.missing_untold.to_string(),
            format!("{:.1}", run.p50_ms),
            format!("{:.1}", run.p99_ms),
            format!("{:.1}", run.max_ms),
            run.repairs.to_string(),
            format!("{:.1} %", run.measured_loss * 100.0),
        ]
    };
    let rows: Vec<Vec<String>> = report.runs.iter().map(row).collect();
    table(&header, &rows)
}
