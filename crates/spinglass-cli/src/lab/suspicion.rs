//! `spinglass lab suspicion`: who is declared failed, by us, by SWIM and by SWIM with Lifeguard.

use anyhow::Result;
use clap::Args;
use serde::Serialize;
use spinglass_sim::scenario::suspicion::{Detector, Parameters, Report, run};

use crate::output::{Format, Verdict, table};

/// Options of `lab suspicion`.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  spinglass lab suspicion                                   eight cells of the grid, a minute
  spinglass lab suspicion --troubled 32 --trouble 32768 --pause 16
  spinglass lab suspicion --grid                            Lifeguard's whole grid, 1,215 cells

Some agents neither send nor receive for a while, again and again, as in Lifeguard's measurements.
A false positive is an agent not in trouble that another declares failed.")]
pub(crate) struct Suspicion {
    /// Agents
    #[arg(long, default_value_t = 128)]
    agents: usize,
    /// How many are in trouble at the same time
    #[arg(long, value_delimiter = ',', default_value = "8,32")]
    troubled: Vec<usize>,
    /// How long a trouble lasts, in milliseconds
    #[arg(long, value_delimiter = ',', default_value = "4096,32768")]
    trouble: Vec<u64>,
    /// What passes between two, in milliseconds
    #[arg(long, value_delimiter = ',', default_value = "4,4096")]
    pause: Vec<u64>,
    /// Lifeguard's whole grid in place of these three
    #[arg(long)]
    grid: bool,
    /// How long each cell runs, in seconds
    #[arg(long, default_value_t = 60)]
    seconds: u64,
    /// The seed
    #[arg(long, default_value_t = 1)]
    seed: u64,
}

/// One detector's figures over all cells.
#[derive(Debug, Serialize)]
struct Total {
    detector: Detector,
    agents: usize,
    cells: usize,
    seconds: u64,
    seed: u64,
    false_positives: u64,
    false_at_healthy: u64,
    first_median_seconds: Option<f64>,
    full_median_seconds: Option<f64>,
    found: usize,
    bytes_per_agent_second: f64,
}

/// Runs every combination with each detector.
///
/// # Errors
/// Standard output can't be written.
pub(super) fn suspicion(options: &Suspicion, format: Format) -> Result<Verdict> {
    let cells = cells(options);
    let mut totals = Vec::new();
    for detector in [Detector::Spinglass, Detector::Swim, Detector::Lifeguard] {
        let bar = format.bar(cells.len() as u64);
        let mut report = Report::default();
        for (troubled, trouble_ms, pause_ms) in &cells {
            report.add(run(&Parameters {
                detector,
                agents: options.agents,
                troubled: *troubled,
                trouble_ms: *trouble_ms,
                pause_ms: *pause_ms,
                seconds: options.seconds,
                seed: options.seed,
            }));
            bar.inc(1);
        }
        bar.finish_and_clear();
        totals.push(total(detector, options, cells.len(), report));
    }
    format.print(&totals, |totals| text(totals))?;
    Ok(true.into())
}

/// The combinations: of troubled agents, of how long, and of how long between.
fn cells(options: &Suspicion) -> Vec<(usize, u64, u64)> {
    let doubled = |first: u64, count: u32| (0..count).map(move |step| first << step).collect();
    let (troubled, trouble, pause) = if options.grid {
        (vec![1, 4, 8, 12, 16, 20, 24, 28, 32], doubled(128, 9), doubled(1, 15))
    } else {
        (options.troubled.clone(), options.trouble.clone(), options.pause.clone())
    };
    let mut cells = Vec::new();
    for troubled in &troubled {
        for trouble in &trouble {
            cells.extend(pause.iter().map(|pause| (*troubled, *trouble, *pause)));
        }
    }
    cells
}

fn total(detector: Detector, options: &Suspicion, cells: usize, report: Report) -> Total {
    Total {
        detector,
        agents: options.agents,
        cells,
        seconds: options.seconds,
        seed: options.seed,
        false_positives: report.false_positives,
        false_at_healthy: report.false_at_healthy,
        found: report.full_seconds.len(),
        first_median_seconds: median(report.first_seconds),
        full_median_seconds: median(report.full_seconds),
        bytes_per_agent_second: report.bytes as f64 / report.agent_seconds.max(1.0),
    }
}

fn median(mut samples: Vec<f64>) -> Option<f64> {
    samples.sort_by(f64::total_cmp);
    samples.get(samples.len() / 2).copied()
}

fn text(totals: &[Total]) -> String {
    let header = ["detector", "false", "at healthy", "first s", "full s", "found", "B/s"];
    let seconds =
        |seconds: Option<f64>| seconds.map_or_else(|| "-".into(), |it| format!("{it:.1}"));
    let row = |total: &Total| {
        vec![
            format!("{:?}", total.detector).to_lowercase(),
            total.false_positives.to_string(),
            total.false_at_healthy.to_string(),
            seconds(total.first_median_seconds),
            seconds(total.full_median_seconds),
            total.found.to_string(),
            format!("{:.0}", total.bytes_per_agent_second),
        ]
    };
    let rows: Vec<Vec<String>> = totals.iter().map(row).collect();
    let first = totals.first();
    let (agents, cells) = first.map_or((0, 0), |total| (total.agents, total.cells));
    format!(
        "{agents} agents, {cells} cells; medians of those found before they were back:\n{}",
        table(&header, &rows)
    )
}
