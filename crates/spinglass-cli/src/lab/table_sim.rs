//! `spinglass lab table-sim`: the table under everything at once, a run per seed.

use anyhow::Result;
use clap::Args;
use serde::Serialize;
use spinglass_sim::table_swarm::{TableSwarmReport, table_swarm};

use super::seeds::{Chosen, failure};
use crate::output::{Format, Verdict};

/// Options of `lab table-sim`.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  spinglass lab table-sim --seeds 200    seeds 1 to 200
  spinglass lab table-sim --seed 1234    one of them again

A run draws its agents, zones, network, clocks and hosts from the seed; attributes are set and
functions come and go while it goes wrong. Then it heals, and every table must say the truth.")]
pub(crate) struct TableSim {
    /// How many seeds to run, from --first on
    #[arg(long, default_value_t = 50)]
    seeds: u64,
    #[command(flatten)]
    chosen: Chosen,
}

/// What was found.
#[derive(Debug, Serialize)]
struct Report {
    seeds: u64,
    first: u64,
    events: u64,
    rows: u64,
    removed: u64,
    failed: usize,
    failures: Vec<TableSwarmReport>,
}

/// Failing seeds after which it stops: one is enough to begin with, a few show a pattern.
const FAILURES_MAX: usize = 3;

/// Runs the seeds.
///
/// # Errors
/// There is no seed to run, or standard output can't be written.
pub(super) fn table_sim(options: &TableSim, format: Format) -> Result<Verdict> {
    let seeds = options.chosen.range(options.seeds)?;
    let (events, rows, removed) = (0, 0, 0);
    let failures = Vec::new();
    let mut report =
        Report { seeds: 0, first: seeds.start, events, rows, removed, failed: 0, failures };
    for seed in seeds {
        let run = table_swarm(seed);
        report.seeds += 1;
        report.events += run.events;
        report.rows += run.rows;
        report.removed += run.removed;
        if options.chosen.is_single() {
            format.say(&format!("seed {seed}: {} (trace {:016x})", run.knobs, run.trace));
        }
        if !run.violations.is_empty() {
            report.failed += 1;
            report.failures.push(run);
            if report.failed >= FAILURES_MAX {
                break;
            }
        }
    }
    format.print(&report, text)?;
    Ok((report.failed == 0).into())
}

fn text(report: &Report) -> String {
    let mut text = String::new();
    for run in &report.failures {
        text += &failure(run.seed, &run.knobs, &run.violations, &run.replay);
    }
    text + &format!(
        "{} seeds from {}: {} failed; {} protocol events, {} rows looked at, {} removals\n",
        report.seeds, report.first, report.failed, report.events, report.rows, report.removed
    )
}
