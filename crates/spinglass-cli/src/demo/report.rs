//! What the demo found: each member's outcome, the throughput, and whether the promises held.

use std::path::Path;
use std::time::Duration;

use anyhow::Result;
use serde::Serialize;

use super::plot::{Throughput, for_terminal};
use super::table::Seen;
use super::{Demo, Stream};
use crate::member::protocol::Tally;
use crate::network::Spread;
use crate::output::{Format, table};
use crate::statistics::{Histogram, coefficient_of_variation, mean};

/// One receiver's outcome.
#[derive(Debug, Serialize)]
struct Outcome {
    member: usize,
    sleeps: bool,
    messages: u64,
    whole: bool,
    gaps: u64,
    packets_lost: u64,
    missing: u64,
    missing_untold: u64,
    disordered: u64,
    repairs_received: u64,
    repairs_sent: u64,
    live_lines: u64,
    p50_ms: f64,
    p99_ms: f64,
    #[serde(skip)]
    bins: Vec<u32>,
}

impl Outcome {
    fn new(member: usize, sleeps: bool, tally: &Tally, pieces: u64) -> Self {
        let ages = Histogram::from_buckets(&tally.ages);
        // What never came after the last message must have been told, too.
        let tail = pieces.saturating_sub(tally.next);
        let tail_untold = if tally.gap_at_end { 0 } else { tail };
        Self {
            member,
            sleeps,
            messages: tally.messages,
            whole: tally.hash_matches == Some(true),
            gaps: tally.gaps,
            packets_lost: tally.packets_lost,
            missing: tally.missing + tail,
            missing_untold: tally.missing_untold + tail_untold,
            disordered: tally.disordered,
            repairs_received: tally.stats.repairs_received,
            repairs_sent: tally.stats.repairs_sent,
            live_lines: tally.lines,
            p50_ms: ages.quantile_ms(0.5),
            p99_ms: ages.quantile_ms(0.99),
            bins: tally.bins.clone(),
        }
    }

    /// Whether what is promised to it was kept.
    const fn kept(&self) -> bool {
        self.whole || (self.sleeps && self.missing_untold == 0 && self.disordered == 0)
    }

    fn verdict(&self) -> &'static str {
        match (self.whole, self.kept()) {
            (true, _) => "whole",
            (false, true) => "told",
            (false, false) => "BROKEN",
        }
    }
}

/// Everything that the demo found.
#[derive(Debug, Serialize)]
pub(crate) struct Report {
    file: String,
    file_bytes: u64,
    pieces: u64,
    offered_per_second: f64,
    mode: &'static str,
    members: usize,
    loss: f64,
    seed: u64,
    live_lines: u64,
    healthy: usize,
    verified: usize,
    sleepers: usize,
    sleepers_whole: usize,
    sleepers_told: usize,
    /// Per 500 ms, at healthy members: mean over offered, and the spread of the means over time.
    healthy_rate_share: f64,
    healthy_rate_variation: f64,
    bin_ms: u64,
    /// The table's part.
    table: Seen,
    outcomes: Vec<Outcome>,
}

impl Report {
    /// Draws conclusions from the tallies, of which the first one is the sender's, and from what
    /// was seen of the table.
    pub(crate) fn new(
        stream: &Stream,
        options: &Demo,
        spread: &Spread,
        sleeping: &[usize],
        (tallies, table): (&[Tally], Seen),
        live_lines: u64,
        bin_ns: u64,
    ) -> Self {
        let outcomes: Vec<Outcome> = tallies
            .iter()
            .enumerate()
            .skip(1)
            .map(|(index, tally)| {
                Outcome::new(index, sleeping.contains(&index), tally, stream.pieces)
            })
            .collect();
        let count =
            |wanted: &dyn Fn(&Outcome) -> bool| outcomes.iter().filter(|o| wanted(o)).count();
        let mut report = Self {
            file: stream.file.display().to_string(),
            file_bytes: stream.file_bytes,
            pieces: stream.pieces,
            offered_per_second: stream.rate,
            mode: spread.name(),
            members: tallies.len(),
            loss: options.loss,
            seed: options.seed,
            live_lines,
            healthy: count(&|o| !o.sleeps),
            verified: count(&|o| !o.sleeps && o.whole && o.live_lines == live_lines),
            sleepers: count(&|o| o.sleeps),
            sleepers_whole: count(&|o| o.sleeps && o.whole),
            sleepers_told: count(&|o| o.sleeps && !o.whole && o.kept()),
            healthy_rate_share: 0.0,
            healthy_rate_variation: 0.0,
            bin_ms: bin_ns / 1_000_000,
            table,
            outcomes,
        };
        let healthy = report.throughput().healthy;
        report.healthy_rate_share = mean(&healthy) / stream.rate;
        report.healthy_rate_variation = coefficient_of_variation(&healthy);
        report
    }

    /// Whether every promise was kept.
    pub(crate) const fn is_good(&self) -> bool {
        self.verified == self.healthy && self.sleepers_whole + self.sleepers_told == self.sleepers
    }

    /// What the plots show: only bins that the stream fills.
    pub(crate) fn throughput(&self) -> Throughput {
        let bin_seconds = self.bin_ms as f64 / 1e3;
        // In range: a demo has few bins.
        let full = (self.pieces as f64 / self.offered_per_second / bin_seconds) as usize;
        let rate = |outcome: &Outcome, bin: usize| {
            f64::from(outcome.bins.get(bin).copied().unwrap_or(0)) / bin_seconds
        };
        let rates = |bin: usize, sleeps: bool| -> Vec<f64> {
            let chosen = self.outcomes.iter().filter(|outcome| outcome.sleeps == sleeps);
            chosen.map(|outcome| rate(outcome, bin)).collect()
        };
        let range = |bin: usize| {
            let rates = rates(bin, false);
            (
                rates.iter().copied().fold(f64::MAX, f64::min),
                rates.iter().copied().fold(0.0, f64::max),
            )
        };
        let has_sleepers = self.sleepers > 0;
        Throughput {
            bin_seconds,
            offered: self.offered_per_second,
            healthy: (0..full).map(|bin| mean(&rates(bin, false))).collect(),
            healthy_range: (0..full).map(range).collect(),
            sleepers: (0..full)
                .filter(|_| has_sleepers)
                .map(|bin| mean(&rates(bin, true)))
                .collect(),
            title: format!(
                "Messages/s per 500 ms at {} healthy members; {} sleepers, {:.0} % loss",
                self.healthy,
                self.sleepers,
                self.loss * 100.0
            ),
        }
    }

    /// Prints the table, the plot and the closing line, or everything as JSON.
    pub(crate) fn print(&self, svg: &Path, took: Duration, format: Format) -> Result<()> {
        format.print(self, |report| {
            let plot = for_terminal(&report.throughput());
            let mut text = format!("\n{}\n{plot}\n", report.members_table());
            text += &format!("  drawn in {}\n", svg.display());
            text += &format!(
                "  healthy members: {:.1} % of the offered rate, coefficient of variation \
                 {:.1} %\n",
                report.healthy_rate_share * 100.0,
                report.healthy_rate_variation * 100.0
            );
            text += &format!(
                "  sleepers: {} whole, {} told each of their gaps, {} neither\n",
                report.sleepers_whole,
                report.sleepers_told,
                report.sleepers - report.sleepers_whole - report.sleepers_told
            );
            text += &report.table.text();
            text += &format!(
                "verified {} of {} healthy members ({:.1} s, {})\n",
                report.verified,
                report.healthy,
                took.as_secs_f64(),
                report.mode
            );
            text
        })
    }

    fn members_table(&self) -> String {
        let header = [
            "member", "messages", "copy", "gaps", "missing", "repaired", "helped", "p50 ms",
            "p99 ms",
        ];
        let row = |outcome: &Outcome| {
            let kind = if outcome.sleeps { " (sleeps)" } else { "" };
            vec![
                format!("{:>2}{kind}", outcome.member),
                outcome.messages.to_string(),
                outcome.verdict().to_owned(),
                outcome.gaps.to_string(),
                outcome.missing.to_string(),
                outcome.repairs_received.to_string(),
                outcome.repairs_sent.to_string(),
                format!("{:.1}", outcome.p50_ms),
                format!("{:.1}", outcome.p99_ms),
            ]
        };
        let rows: Vec<Vec<String>> = self.outcomes.iter().map(row).collect();
        table(&header, &rows)
    }
}
