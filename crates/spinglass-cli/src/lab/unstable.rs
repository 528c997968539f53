//! `spinglass lab unstable`: who is removed while some agents crash, flap or lose most datagrams.

use anyhow::Result;
use clap::Args;
use spinglass_sim::scenario::unstable::{Parameters, Report, Trouble, run};

use crate::output::{Format, Verdict, table};

/// Options of `lab unstable`.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  spinglass lab unstable                            1,000 agents in regions of 50
  spinglass lab unstable --agents 1000 --region 0   all of them in one region

The troubles of Rapid's measurements: ten agents crash; hear nobody for 20 of every 40 seconds; lose
80 % of what comes in, or of what they send.")]
pub(crate) struct Unstable {
    /// Agents
    #[arg(long, default_value_t = 1000)]
    agents: usize,
    /// Agents per region; 0: all are in one
    #[arg(long, default_value_t = 50)]
    region: usize,
    /// How many are in trouble
    #[arg(long, default_value_t = 10)]
    troubled: usize,
    /// How long the trouble lasts, in seconds
    #[arg(long, default_value_t = 200)]
    seconds: u64,
    /// The seed
    #[arg(long, default_value_t = 1)]
    seed: u64,
}

/// Runs each trouble.
///
/// # Errors
/// Standard output can't be written.
pub(super) fn unstable(options: &Unstable, format: Format) -> Result<Verdict> {
    let bar = format.bar(Trouble::ALL.len() as u64);
    let mut reports = Vec::new();
    for trouble in Trouble::ALL {
        let Unstable { agents, region, troubled, seconds, seed } = *options;
        reports.push(run(&Parameters { trouble, agents, region, troubled, seconds, seed }));
        bar.inc(1);
    }
    bar.finish_and_clear();
    format.print(&reports, |reports| text(reports))?;
    Ok(reports.iter().all(|report| report.healthy_removed == 0).into())
}

fn text(reports: &[Report]) -> String {
    let header = ["trouble", "removed", "healthy removed", "returns", "last s", "B/s"];
    let row = |report: &Report| {
        vec![
            format!("{:?}", report.parameters.trouble),
            format!("{} of {}", report.removed, report.parameters.troubled),
            report.healthy_removed.to_string(),
            report.returns.to_string(),
            report.last_seconds.map_or_else(|| "-".into(), |seconds| format!("{seconds:.1}")),
            format!("{:.0}", report.bytes_per_second),
        ]
    };
    let rows: Vec<Vec<String>> = reports.iter().map(row).collect();
    table(&header, &rows)
}
