//! `spinglass lab insiders`: certified members turn hostile, in every way at once.

mod real;

use anyhow::Result;
use clap::Args;
use serde::Serialize;
use spinglass_sim::scenario::insiders::{Parameters, Report as Run, run};

use crate::output::{Format, Verdict, table};

/// Options of `lab insiders`.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  spinglass lab insiders                                   1,000 members; 0, 10, 20, 30 % hostile
  spinglass lab insiders --members 128 --hostile 0,20      some seconds
  spinglass lab insiders --real                            32 processes, 3 of them hostile

All members are certified, 25 ms apart. The hostile ones pass nothing on or do so late, boast in
their digests, forge packets, rows, records, accusations and proofs, accuse everybody in every
round, sign rows of the far future, ask for everything, and send junk; of ten of them one signs two
packets of each number, and another one two rows of each version. Honest members publish in turn. An
oracle knows what each of them said.

It fails if anything forged is accepted, or if at 20 % hostile or less an honest member misses an
honest message.")]
pub(crate) struct Insiders {
    /// Members; by default 1,000, or 32 real ones
    #[arg(long, value_parser = clap::value_parser!(u16).range(4..=10_000))]
    members: Option<u16>,
    /// Processes on loopback, with certificates, keys and sockets as they are
    #[arg(long)]
    pub(super) real: bool,
    /// How many of the processes turn hostile
    #[arg(long, default_value_t = 3, requires = "real",
          value_parser = clap::value_parser!(u16).range(0..=100))]
    badboys: u16,
    /// How long the processes run, in seconds
    #[arg(long, default_value_t = 60, requires = "real",
          value_parser = clap::value_parser!(u64).range(1..=3600))]
    seconds: u64,
    /// Per cent of them that turn hostile, run by run
    #[arg(long, value_delimiter = ',', default_values_t = [0, 10, 20, 30],
          value_parser = clap::value_parser!(u8).range(0..=90))]
    hostile: Vec<u8>,
    /// Messages, 250 ms apart
    #[arg(long, default_value_t = 100, value_parser = clap::value_parser!(u16).range(1..=10_000))]
    messages: u16,
    /// Bytes per message
    #[arg(long, default_value_t = 500, value_parser = clap::value_parser!(u16).range(20..=60_000))]
    size: u16,
    /// The seed
    #[arg(long, default_value_t = 1)]
    seed: u64,
}

/// What was found.
#[derive(Debug, Serialize)]
struct Report {
    members: usize,
    messages: usize,
    seed: u64,
    runs: Vec<Run>,
}

/// The most of a hundred members that may be hostile for all honest messages to arrive.
const REACHED_AT_MOST: usize = 20;

/// Runs each share.
///
/// # Errors
/// Standard output can't be written.
pub(super) async fn insiders(options: &Insiders, format: Format) -> Result<Verdict> {
    let Insiders { members, messages, size, seed, .. } = *options;
    let members = members.map_or(if options.real { 32 } else { 1000 }, usize::from);
    let (messages, bytes) = (messages.into(), size.into());
    if options.real {
        let Insiders { badboys, seconds, .. } = *options;
        let experiment = real::Experiment { members, badboys: badboys.into(), seconds, bytes };
        return real::run(&experiment, format).await;
    }
    let bar = format.bar(options.hostile.len() as u64 * 100);
    let mut report = Report { members, messages, seed, runs: Vec::new() };
    for (done, share) in (0_u64..).zip(&options.hostile) {
        let hostile_percent = usize::from(*share);
        let parameters = Parameters { members, hostile_percent, messages, bytes, seed };
        let progress = &mut |part: f64| bar.set_position(done * 100 + (part * 100.0) as u64);
        report.runs.push(run(&parameters, progress));
    }
    bar.finish_and_clear();
    format.print(&report, text)?;
    Ok(report.runs.iter().all(is_good).into())
}

fn is_good(run: &Run) -> bool {
    let reaches_all = run.heard == run.expected;
    run.forged == 0 && (reaches_all || run.parameters.hostile_percent > REACHED_AT_MOST)
}

fn text(report: &Report) -> String {
    let header = ["hostile", "heard", "p50 ms", "p99 ms", "max ms", "forged", "liars known", "B/s"];
    let row = |run: &Run| {
        vec![
            format!("{} %", run.parameters.hostile_percent),
            format!("{:.4} %", run.heard_percent),
            format!("{:.0}", run.p50_ms),
            format!("{:.0}", run.p99_ms),
            format!("{:.0}", run.max_ms),
            run.forged.to_string(),
            format!("{} of {}", run.equivocators_known, run.equivocators),
            format!("{:.0}", run.bytes_per_second),
        ]
    };
    table(&header, &report.runs.iter().map(row).collect::<Vec<_>>())
}
