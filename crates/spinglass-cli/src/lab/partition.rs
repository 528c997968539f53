//! `spinglass lab partition`: two halves live apart for ten minutes, and become one again.

use anyhow::Result;
use clap::Args;
use serde::Serialize;
use spinglass_sim::scenario::partition::{Cut, Report as SeedReport, WHOLE_SECONDS_MAX, run};
use spinglass_sim::scenario::quantile;

use super::seeds::{Chosen, failure};
use crate::output::{Format, Verdict};

/// Options of `lab partition`.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  spinglass lab partition                seeds 1 to 20
  spinglass lab partition --seeds 1000   some minutes
  spinglass lab partition --seed 1234    one of them again

Real cores in virtual time, rounds of 1 s. For 600 s the halves hear nothing of each other, cut by
the seed along regions or anywhere. In that time an agent leaves or crashes, a function is removed
and another installed, each in one half, and attributes change in both. Whole means: every agent's
tables hold what the living agents say of themselves, and the summaries of that. A seed fails if
this takes more than 30 s from healing, or if anything removed comes back.")]
pub(crate) struct Partition {
    /// How many seeds to run, from --first on
    #[arg(long, default_value_t = 20)]
    seeds: u64,
    #[command(flatten)]
    chosen: Chosen,
    /// Agents, in regions of 4 to 9
    #[arg(long, default_value_t = 40, value_parser = clap::value_parser!(u16).range(20..=1000))]
    agents: u16,
    /// The agent that goes is always the one by which all others joined: nobody has another seed
    #[arg(long)]
    lose_seed: bool,
}

/// What was found.
#[derive(Debug, Serialize)]
struct Report {
    agents: usize,
    first: u64,
    seeds: u64,
    /// Seeds by where the cut went: along regions, through them.
    cuts: [u64; 2],
    /// Seeds at which it became whole at all.
    whole: u64,
    /// Of those, from healing until it was.
    whole_seconds_median: f64,
    whole_seconds_max: f64,
    returned: usize,
    events: u64,
    failed: u64,
    runs: Vec<Line>,
    failures: Vec<SeedReport>,
}

/// One seed.
#[derive(Debug, Serialize)]
struct Line {
    seed: u64,
    cut: Cut,
    whole_seconds: Option<u64>,
    returned: usize,
}

/// Failing seeds that are told in full: a few show a pattern.
const FAILURES_MAX: usize = 5;

/// Runs the seeds.
///
/// # Errors
/// There is no seed to run, or standard output can't be written.
pub(super) fn partition(options: &Partition, format: Format) -> Result<Verdict> {
    let seeds = options.chosen.range(options.seeds)?;
    let agents = usize::from(options.agents);
    let count = seeds.end - seeds.start;
    let bar = format.bar(count);
    let mut report = Report::new(agents, seeds.start, count);
    for seed in seeds {
        let run = run(agents, seed, options.lose_seed);
        if options.chosen.is_single() {
            format.say(&format!("seed {seed}: {} (trace {:016x})", run.knobs, run.trace));
        }
        report.add(run);
        bar.inc(1);
    }
    bar.finish_and_clear();
    report.summarize();
    format.print(&report, text)?;
    Ok((report.failed == 0).into())
}

impl Report {
    const fn new(agents: usize, first: u64, seeds: u64) -> Self {
        Self {
            agents,
            first,
            seeds,
            cuts: [0; 2],
            whole: 0,
            whole_seconds_median: 0.0,
            whole_seconds_max: 0.0,
            returned: 0,
            events: 0,
            failed: 0,
            runs: Vec::new(),
            failures: Vec::new(),
        }
    }

    fn add(&mut self, run: SeedReport) {
        let SeedReport { seed, cut, whole_seconds, returned, .. } = run;
        let [along, through] = &mut self.cuts;
        *(if cut == Cut::Along { along } else { through }) += 1;
        self.whole += u64::from(whole_seconds.is_some());
        self.returned += returned;
        self.events += run.events;
        self.runs.push(Line { seed, cut, whole_seconds, returned });
        if !run.is_good() {
            self.failed += 1;
            if self.failures.len() < FAILURES_MAX {
                self.failures.push(run);
            }
        }
    }

    fn summarize(&mut self) {
        let seconds = self.runs.iter().filter_map(|run| run.whole_seconds);
        let mut seconds: Vec<f64> = seconds.map(|seconds| seconds as f64).collect();
        self.whole_seconds_median = quantile(&mut seconds, 0.5);
        self.whole_seconds_max = quantile(&mut seconds, 1.0);
    }
}

fn text(report: &Report) -> String {
    let mut text = String::new();
    for run in &report.runs {
        let cut = if run.cut == Cut::Along { "along" } else { "through" };
        let whole =
            run.whole_seconds.map_or_else(|| "never".into(), |seconds| format!("{seconds} s"));
        text += &format!("seed {} ({cut}): whole after {whole}, {} back\n", run.seed, run.returned);
    }
    for run in &report.failures {
        let violations = run.violations.iter().map(ToString::to_string);
        let found = violations.chain(run.differences.iter().cloned());
        text += &failure(run.seed, &run.knobs, found, &run.replay);
    }
    let [along, through] = report.cuts;
    text + &format!(
        "{} seeds from {}, {along} cut along regions and {through} through them: whole again \
         after {:.0} s (median), {:.0} s (most; {WHOLE_SECONDS_MAX} s allowed); never at {}; \
         {} came back; {} failed\n",
        report.seeds,
        report.first,
        report.whole_seconds_median,
        report.whole_seconds_max,
        report.seeds - report.whole,
        report.returned,
        report.failed
    )
}
