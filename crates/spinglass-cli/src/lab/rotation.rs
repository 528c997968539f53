//! `spinglass lab rotation`: link keys that change while traffic flows.

use anyhow::{Result, ensure};
use clap::Args;
use spinglass_sim::scenario::rotation::{Parameters, Report, run};

use super::seeds::Chosen;
use crate::output::{Format, Verdict, table};
use crate::plan::group_size;

/// Options of `lab rotation`.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  spinglass lab rotation                     1,000 members, 10 % loss, a new key every 10 s
  spinglass lab rotation --members 100 --seeds 5

Somebody is away over three rotations, and comes back. At the last rotation somebody else has been
revoked, and gets every datagram by IP multicast: for how long can it open them?")]
pub(crate) struct Rotation {
    /// Members
    #[arg(long, default_value_t = 1000, value_parser = group_size)]
    members: usize,
    /// Members per region
    #[arg(long, default_value_t = 25)]
    region: usize,
    /// Datagrams lost, in per cent
    #[arg(long, default_value_t = 10, value_parser = clap::value_parser!(u32).range(0..=50))]
    loss: u32,
    /// Seconds between two rotations
    #[arg(long, default_value_t = 10, value_parser = clap::value_parser!(u64).range(5..=3600))]
    every: u64,
    /// Rotations
    #[arg(long, default_value_t = 6, value_parser = clap::value_parser!(u32).range(5..=1000))]
    rotations: u32,
    /// Seeds to run
    #[arg(long, default_value_t = 1)]
    seeds: u64,
    #[command(flatten)]
    chosen: Chosen,
}

/// Runs each seed.
///
/// # Errors
/// There are too few members, or standard output can't be written.
pub(super) fn rotation(options: &Rotation, format: Format) -> Result<Verdict> {
    ensure!(options.members >= 10, "it takes 10 members or more");
    let Rotation { members, region, loss: loss_percent, every, rotations, .. } = *options;
    let seeds = options.chosen.range(options.seeds)?;
    let bar = format.bar(seeds.end - seeds.start);
    let mut reports = Vec::new();
    for seed in seeds {
        let every_seconds = every;
        let parameters =
            Parameters { members, region, loss_percent, every_seconds, rotations, seed };
        reports.push(run(&parameters));
        bar.inc(1);
    }
    bar.finish_and_clear();
    format.print(&reports, |reports| text(reports))?;
    Ok(reports.iter().all(is_good).into())
}

fn is_good(report: &Report) -> bool {
    let left = report.lost + report.lost_after_return + report.left_behind as u64;
    left == 0 && report.evicted_read_seconds <= 2.0 * report.last_spread_seconds
}

fn text(reports: &[Report]) -> String {
    let header =
        ["seed", "published", "lost", "lost later", "left behind", "spread s", "evicted reads s"];
    let row = |report: &Report| {
        vec![
            report.parameters.seed.to_string(),
            report.published.to_string(),
            report.lost.to_string(),
            report.lost_after_return.to_string(),
            report.left_behind.to_string(),
            format!("{:.1}, last {:.1}", report.spread_seconds, report.last_spread_seconds),
            format!("{:.1}", report.evicted_read_seconds),
        ]
    };
    let rows: Vec<Vec<String>> = reports.iter().map(row).collect();
    table(&header, &rows)
}
