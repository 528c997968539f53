//! `spinglass lab rounds`: how soon every agent hears an update, in trees of every shape and flat.

use anyhow::Result;
use clap::Args;
use spinglass_sim::scenario::rounds::{Parameters, Report, run};

use super::scale;
use crate::output::{Format, Verdict, table};
use crate::plan::share;

/// Options of `lab rounds`.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  spinglass lab rounds                                      625 agents, a moment
  spinglass lab rounds --branching 25 --levels 3 --representatives 1,3
  spinglass lab rounds --branching 25 --levels 4 --loss 0.15 --crash 0.08
  spinglass lab rounds --flat 64,1000,10000                 one zone, beside the paper's model
  spinglass lab rounds --scale --updates 3                  memory and traffic, up to 102,400 agents

Each agent compares tables once a round with a random agent of its region and, for each zone that
it speaks for, with a representative of a random sibling zone; rounds are 1 s, at a phase of each
agent's own. What is new is also passed on at once, to three others per level. All of it stays
within a budget of 16 KiB of rows and inventories per agent and round. --crash crashes agents 200
rounds before the update, so that the dead have been dropped and representatives elected anew.

--flat has one level: each agent compares with one of all others a round, and passes news on to
three, in a zone of more than 682 to as many as log2 of its agents. Beside it stands the paper's
model: all rounds begin at once, one exchange each, both ways, no news in between.")]
pub(crate) struct Rounds {
    /// Children of every zone
    #[arg(long, default_value_t = 25)]
    branching: usize,
    /// Levels of zones: there are branching to the power of levels agents
    #[arg(long, value_delimiter = ',', default_value = "2")]
    levels: Vec<u32>,
    /// Agents of one flat zone, in place of a tree; memory grows with their square
    #[arg(long, value_delimiter = ',', conflicts_with_all = ["branching", "levels", "scale"])]
    #[arg(value_parser = clap::value_parser!(u16).range(2..=10_000))]
    flat: Vec<u16>,
    /// What an agent costs among 1,024 agents, 10,240, 102,400 and 1,048,576, in zones of 64
    #[arg(long, conflicts_with_all = ["branching", "levels"])]
    scale: bool,
    /// The smallest system of --scale
    #[arg(long, default_value_t = 0, requires = "scale")]
    pub(super) agents_min: usize,
    /// The largest system of --scale
    #[arg(long, default_value_t = 110_000, requires = "scale")]
    pub(super) agents_max: usize,
    /// Representatives of each zone
    #[arg(long, value_delimiter = ',', default_value = "3")]
    pub(super) representatives: Vec<usize>,
    /// Shares of datagrams lost
    #[arg(long, value_delimiter = ',', default_value = "0", value_parser = share)]
    pub(super) loss: Vec<f64>,
    /// Shares of agents that crash
    #[arg(long, value_delimiter = ',', default_value = "0", value_parser = share)]
    pub(super) crash: Vec<f64>,
    /// Updates, each by a random agent
    #[arg(long, default_value_t = 10)]
    pub(super) updates: usize,
    /// The seed
    #[arg(long, default_value_t = 1)]
    pub(super) seed: u64,
}

/// Runs every combination.
///
/// # Errors
/// Standard output can't be written.
pub(super) fn rounds(options: &Rounds, format: Format) -> Result<Verdict> {
    if options.scale {
        return scale::scale(options, format);
    }
    let mut reports = Vec::new();
    for (agents, branching) in options.shapes() {
        for representatives in &options.representatives {
            for loss in &options.loss {
                for crash in &options.crash {
                    let parameters = Parameters {
                        agents,
                        branching,
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

impl Rounds {
    /// Agents, and children of every zone.
    fn shapes(&self) -> Vec<(usize, usize)> {
        let Self { branching, levels, flat, .. } = self;
        let flat = flat.iter().map(|agents| (usize::from(*agents), usize::from(*agents)));
        let trees = levels.iter().map(|levels| (branching.saturating_pow(*levels), *branching));
        if self.flat.is_empty() { trees.collect() } else { flat.collect() }
    }
}

fn one(parameters: &Parameters, format: Format) -> Report {
    let bar = format.bar(100);
    let report = run(parameters, &mut |share| bar.set_position((share * 100.0) as u64));
    bar.finish_and_clear();
    report
}

fn text(reports: &[Report]) -> String {
    let header = [
        "agents",
        "zone",
        "reps",
        "loss",
        "crash",
        "last",
        "mean",
        "model",
        "never",
        "dead",
        "rows",
        "row bytes",
        "B/round",
        "msgs/round",
        "most",
    ];
    let row = |report: &Report| {
        let Parameters { agents, branching, representatives, loss, crash, .. } = report.parameters;
        vec![
            agents.to_string(),
            if agents <= branching { "flat".into() } else { branching.to_string() },
            representatives.to_string(),
            format!("{loss}"),
            format!("{crash}"),
            format!("{:.1}", report.last_rounds),
            format!("{:.1}", report.mean_rounds),
            report.model_rounds.map_or_else(|| "-".into(), |rounds| format!("{rounds:.1}")),
            report.never.to_string(),
            report.dead_held.to_string(),
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
