//! Insiders with real processes: some of 32 certified members turn hostile while the first one
//! publishes.

use std::time::Duration;

use anyhow::{Result, ensure};
use serde::Serialize;

use crate::herd::Herd;
use crate::measure::{self, Load};
use crate::member::protocol::{Setup, Tally};
use crate::network::{Mode, Spread};
use crate::output::{Format, Verdict, table};
use crate::papers::Papers;

/// Messages per second: as often as in Drum's measurements.
const RATE: f64 = 40.0;
const BIN: Duration = Duration::from_millis(500);
/// What members may lag behind the sender at the end.
const SETTLE_TIME: Duration = Duration::from_secs(5);

/// What to run.
#[derive(Debug)]
pub(super) struct Experiment {
    /// Members, the sender included.
    pub(super) members: usize,
    /// How many of them turn hostile: the last ones.
    pub(super) badboys: usize,
    /// How long, in seconds.
    pub(super) seconds: u64,
    /// Bytes per message.
    pub(super) bytes: usize,
}

/// What the honest members have seen.
#[derive(Debug, Serialize)]
struct Report {
    members: usize,
    badboys: usize,
    rate: f64,
    size: usize,
    seconds: u64,
    /// Messages times honest receivers.
    expected: u64,
    /// Of these, what was heard.
    heard: u64,
    heard_percent: f64,
    /// Messages in the sender's name that it did not send there, or not once: none may be.
    forged: u64,
    gaps: u64,
    p50_ms: f64,
    p99_ms: f64,
    /// Datagrams, packets, rows and words that honest members refused.
    refused: u64,
    /// Members that some honest member took for dead, over all of these.
    removed: u64,
}

/// Runs it.
///
/// # Errors
/// The processes can't be run.
pub(super) async fn run(experiment: &Experiment, format: Format) -> Result<Verdict> {
    let Experiment { members, badboys, seconds, bytes } = *experiment;
    ensure!(badboys + 1 < members, "--badboys must leave a sender and an honest receiver");
    format.say(&format!(
        "{members} certified processes on loopback by unicast trees, {bytes} B messages at \
         {RATE}/s for {seconds} s; {badboys} of them turn hostile"
    ));
    let papers = Papers::issue(members)?;
    let folder = Some(papers.folder().to_owned());
    let setup = Setup { papers: folder, ..Spread::choose(Mode::Trees)?.setup(None) };
    let mut herd = Herd::start_with(members, badboys, &setup).await?;
    let load = Load::for_seconds(seconds as f64, bytes, RATE);
    let honest: Vec<usize> = (1..members - badboys).collect();
    let measured = measure::run(&mut herd, load, BIN, SETTLE_TIME, &honest).await?;
    herd.end().await;
    let receivers = measured.receivers.get(..honest.len()).unwrap_or_default();
    let report = report(experiment, load.count, receivers);
    format.print(&report, text)?;
    let is_good = report.heard == report.expected && report.forged == 0 && report.gaps == 0;
    Ok(is_good.into())
}

fn report(experiment: &Experiment, count: u64, receivers: &[Tally]) -> Report {
    let sum = |figure: fn(&Tally) -> u64| receivers.iter().map(figure).sum::<u64>();
    let mut ages = crate::statistics::Histogram::default();
    for tally in receivers {
        ages.merge(&crate::statistics::Histogram::from_buckets(&tally.ages));
    }
    let expected = count * receivers.len() as u64;
    let heard = sum(|tally| tally.messages);
    let Experiment { members, badboys, seconds, bytes } = *experiment;
    Report {
        members,
        badboys,
        rate: RATE,
        size: bytes,
        seconds,
        expected,
        heard,
        heard_percent: 100.0 * heard as f64 / expected.max(1) as f64,
        forged: sum(|tally| tally.disordered),
        gaps: sum(|tally| tally.gaps),
        p50_ms: ages.quantile_ms(0.5),
        p99_ms: ages.quantile_ms(0.99),
        refused: sum(|tally| tally.stats.refused),
        removed: sum(|tally| tally.stats.removed),
    }
}

fn text(report: &Report) -> String {
    let header =
        ["members", "hostile", "heard", "forged", "p50 ms", "p99 ms", "refused", "removed"];
    let row = vec![
        report.members.to_string(),
        report.badboys.to_string(),
        format!("{} of {}", report.heard, report.expected),
        report.forged.to_string(),
        format!("{:.1}", report.p50_ms),
        format!("{:.1}", report.p99_ms),
        report.refused.to_string(),
        report.removed.to_string(),
    ];
    table(&header, &[row])
}
