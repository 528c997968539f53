//! `spinglass lab rounds`: how soon every agent hears an update, in trees of every shape.

use anyhow::Result;
use clap::Args;
use indicatif::ProgressBar;
use spinglass_sim::scenario::rounds::{Parameters, Report, run};

use crate::output::{Format, Verdict, table};
use crate::plan::share;

/// Options of `lab rounds`.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  spinglass lab rounds                                      625 agents, a moment
  spinglass lab rounds --branching 25 --levels 3 --representatives 1,3
  spinglass lab rounds --branching 25 --levels 4 --loss 0.15 --crash 0.08

Each agent gossips once a round with an agent of its region and, for each zone that it speaks for,
with a representative of a sibling zone. --crash crashes agents 200 rounds before the update.")]
pub(crate) struct Rounds {
    /// Children of every zone
    #[arg(long, default_value_t = 25)]
    branching: usize,
    /// Levels of zones: there are branching to the power of levels agents
    #[arg(long, value_delimiter = ',', default_value = "2")]
    levels: Vec<u32>,
    /// Representatives of each zone
    #[arg(long, value_delimiter = ',', default_value = "3")]
    representatives: Vec<usize>,
    /// Shares of datagrams lost
    #[arg(long, value_delimiter = ',', default_value = "0", value_parser = share)]
    loss: Vec<f64>,
    /// Shares of agents that crash
    #[arg(long, value_delimiter = ',', default_value = "0", value_parser = share)]
    crash: Vec<f64>,
    /// Updates, each by a random agent
    #[arg(long, default_value_t = 10)]
    updates: usize,
    /// The seed
    #[arg(long, default_value_t = 1)]
    seed: u64,
}

/// Runs every combination.
///
/// # Errors
/// Standard output can't be written.
pub(super) fn rounds(options: &Rounds, format: Format) -> Result<Verdict> {
    let mut reports = Vec::new();
    for levels in &options.levels {
        for representatives in &options.representatives {
            for loss in &options.loss {
                for crash in &options.crash {
                    let parameters = Parameters {
                        branching: options.branching,
                        levels: *levels,
                        representatives: *representatives,
                        loss: *loss,
                        crash: *crash,
                        updates: options.updates,
                        seed: options.seed,
                    };
                    reports.push(one(&parameters, format));
                }
            }
        }
    }
    format.print(&reports, |reports| text(reports))?;
    Ok(reports.iter().all(|report| report.never == 0).into())
}

fn one(parameters: &Parameters, format: Format) -> Report {
    let bar = match format {
        Format::Text => ProgressBar::new(100),
        Format::Json => ProgressBar::hidden(),
    };
    let report = run(parameters, &mut |share| bar.set_position((share * 100.0) as u64));
    bar.finish_and_clear();
    report
}

fn text(reports: &[Report]) -> String {
    let header = [
        "agents",
        "tree",
        "reps",
        "loss",
        "crash",
        "last",
        "mean",
        "never",
        "rows",
        "row bytes",
        "B/round",
        "msgs/round",
        "most",
    ];
    let row = |report: &Report| {
        let Parameters { branching, levels, representatives, loss, crash, .. } = report.parameters;
        vec![
            report.agents.to_string(),
            format!("{branching}^{levels}"),
            representatives.to_string(),
            format!("{loss}"),
            format!("{crash}"),
            format!("{:.1}", report.last_rounds),
            format!("{:.1}", report.mean_rounds),
            report.never.to_string(),
            format!("{:.0}", report.rows),
            format!("{:.0}", report.row_bytes),
            format!("{:.0}", report.bytes_per_round),
            format!("{:.1}", report.datagrams_per_round),
            format!("{:.1}", report.datagrams_per_round_most),
        ]
    };
    let rows: Vec<Vec<String>> = reports.iter().map(row).collect();
    format!("rounds until agents have heard an update:\n{}", table(&header, &rows))
}
