//! The flood with real processes: three of 32 members are sent 50,000 fabricated datagrams a second
//! each, while the first one publishes.

use std::time::Duration;

use anyhow::Result;
use serde::Serialize;

use super::garbage::Flooding;
use crate::herd::Herd;
use crate::measure::{self, Load};
use crate::member::protocol::{Setup, Tally};
use crate::network::{Mode, Spread};
use crate::output::{Format, Verdict, table};
use crate::statistics::mean;

/// What to run.
#[derive(Debug)]
pub(super) struct Experiment {
    /// Members, the sender included.
    pub(super) members: usize,
    /// How many of them are flooded: the last ones.
    pub(super) flooded: usize,
    /// Datagrams per second to each.
    pub(super) flood: u32,
    /// How long.
    pub(super) seconds: u64,
    /// Without reply ports.
    pub(super) fixed_port: bool,
    /// The seed of what is sent.
    pub(super) seed: u64,
}

/// Messages per second, as in Drum's measurements ...
const RATE: f64 = 40.0;
/// ... and bytes of each.
const BYTES: usize = 1024;
const BIN: Duration = Duration::from_millis(500);
/// What is published before the first bin that counts: members notice the flood meanwhile.
const LEAD_BINS: usize = 4;
/// What members may lag behind the sender at the end.
const SETTLE_TIME: Duration = Duration::from_secs(3);
/// The bars: this share of the offered rate at healthy members, and at flooded ones.
const HEALTHY_MIN: f64 = 0.99;
const FLOODED_MIN: f64 = 0.95;

/// One side's figures.
#[derive(Debug, Serialize)]
struct Side {
    members: usize,
    worst_rate_share: f64,
    mean_rate_share: f64,
    p99_ms: f64,
    gaps: u64,
    refused: u64,
    reply_datagrams: u64,
}

/// Everything.
#[derive(Debug, Serialize)]
struct Report {
    members: usize,
    rate: f64,
    size: usize,
    seconds: u64,
    fixed_port: bool,
    /// Fabricated datagrams that left a second, for each flooded member.
    flood_per_second: f64,
    healthy: Side,
    flooded: Side,
    /// Members taken for dead, over all observers.
    removed: u64,
    processor_seconds: f64,
}

/// Runs it.
///
/// # Errors
/// The processes can't be run.
pub(super) async fn run(experiment: &Experiment, format: Format) -> Result<Verdict> {
    let Experiment { members, flooded, flood, seconds, fixed_port, seed } = *experiment;
    anyhow::ensure!(
        flooded > 0 && flooded + 1 < members,
        "--flooded must leave a sender and a healthy member: at most {}",
        members.saturating_sub(2)
    );
    format.say(&format!(
        "{members} processes on loopback by unicast trees, {BYTES} B messages at {RATE}/s for \
         {seconds} s; {flooded} of them flooded with {flood} datagrams/s each"
    ));
    let setup = Setup { fixed_port, ..Spread::choose(Mode::Trees)?.setup(None) };
    let mut herd = Herd::start(members, &setup).await?;
    let victims = herd.addresses().split_off(members - flooded);
    let flooding = Flooding::start(victims, flood, seed)?;
    let load = Load::for_seconds(seconds as f64, BYTES, RATE);
    let all: Vec<usize> = (1..members).collect();
    let measured = measure::run(&mut herd, load, BIN, SETTLE_TIME, &all).await?;
    let flood_per_second = flooding.per_second() / flooded as f64;
    drop(flooding);
    herd.end().await;
    let (healthy, victims) = measured.receivers.split_at(members - 1 - flooded);
    let bins = (seconds as usize * 2).saturating_sub(LEAD_BINS + 1);
    let report = Report {
        members,
        rate: RATE,
        size: BYTES,
        seconds,
        fixed_port,
        flood_per_second,
        healthy: side(healthy, bins),
        flooded: side(victims, bins),
        removed: measured.receivers.iter().map(|tally| tally.stats.removed).sum(),
        processor_seconds: measured.processor_seconds,
    };
    format.print(&report, text)?;
    let good = report.healthy.worst_rate_share >= HEALTHY_MIN
        && report.flooded.worst_rate_share >= FLOODED_MIN
        && report.removed == 0;
    Ok(good.into())
}

fn side(tallies: &[Tally], bins: usize) -> Side {
    let share = |tally: &Tally| {
        let counted = tally.bins.iter().skip(LEAD_BINS).take(bins);
        counted.map(|count| f64::from(*count)).sum::<f64>()
            / (RATE * BIN.as_secs_f64() * bins as f64)
    };
    let shares: Vec<f64> = tallies.iter().map(share).collect();
    let mut ages = crate::statistics::Histogram::default();
    for tally in tallies {
        ages.merge(&crate::statistics::Histogram::from_buckets(&tally.ages));
    }
    let sum = |figure: fn(&Tally) -> u64| tallies.iter().map(figure).sum();
    Side {
        members: tallies.len(),
        worst_rate_share: shares.iter().copied().fold(f64::MAX, f64::min),
        mean_rate_share: mean(&shares),
        p99_ms: ages.quantile_ms(0.99),
        gaps: sum(|tally| tally.gaps),
        refused: sum(|tally| tally.stats.refused),
        reply_datagrams: sum(|tally| tally.stats.reply_datagrams),
    }
}

fn text(report: &Report) -> String {
    let header = ["members", "mean", "worst", "p99 ms", "gaps", "refused", "to reply ports"];
    let row = |name: &str, side: &Side| {
        vec![
            format!("{} {name}", side.members),
            format!("{:.2} %", side.mean_rate_share * 100.0),
            format!("{:.2} %", side.worst_rate_share * 100.0),
            format!("{:.1}", side.p99_ms),
            side.gaps.to_string(),
            side.refused.to_string(),
            side.reply_datagrams.to_string(),
        ]
    };
    let rows = [row("healthy", &report.healthy), row("flooded", &report.flooded)];
    let Report { flood_per_second, removed, processor_seconds, .. } = report;
    table(&header, &rows)
        + &format!(
            "{flood_per_second:.0} fabricated datagrams/s went to each flooded member; {removed} \
             taken for dead; {processor_seconds:.1} s of processor time\n"
        )
}
