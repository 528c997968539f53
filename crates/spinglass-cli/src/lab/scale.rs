//! `spinglass lab rounds --scale`: what an agent costs in ever larger systems.

use std::time::Instant;

use anyhow::{Context as _, Result, bail};
use rustix::process::getpid;
use serde::Serialize;
use spinglass_sim::scenario::rounds::{Parameters, fabric, measure};

use super::rounds::Rounds;
use crate::herd::resident;
use crate::output::{Format, Verdict, table};

/// Agents of each system: the last fills three levels of zones, and four zones of the fourth.
const AGENTS: [usize; 4] = [1 << 10, 10 << 10, 100 << 10, 1 << 20];
/// Children of every zone: zones of 32 to 64 cost least (FACTS 4.9).
const ZONE: usize = 64;

/// A system of one size.
#[derive(Debug, Serialize)]
struct Size {
    parameters: Parameters,
    /// Of the process, with everything that the simulator needs, beyond what it held at first.
    resident_bytes: u64,
    /// The same per agent: once every agent holds its tables, and after the last update.
    built_bytes_per_agent: f64,
    bytes_per_agent: f64,
    /// By how much that is more than in the smallest system, over by how much the logarithm of the
    /// number of agents is: 1 is growth with the logarithm.
    growth_over_log: f64,
    /// Rows that an agent holds; one copy of each is in memory.
    rows: f64,
    bytes_per_round: f64,
    datagrams_per_round: f64,
    last_rounds: f64,
    mean_rounds: f64,
    never: usize,
    build_seconds: f64,
    run_seconds: f64,
}

/// Runs each size up to the largest allowed.
///
/// # Errors
/// No size is allowed, several values are given of what is no size, or standard output can't be
/// written.
pub(super) fn scale(options: &Rounds, format: Format) -> Result<Verdict> {
    let allowed = options.agents_min..=options.agents_max;
    let systems: Vec<usize> =
        AGENTS.into_iter().filter(|agents| allowed.contains(agents)).collect();
    if systems.is_empty() {
        bail!(
            "systems have {AGENTS:?} agents: none is within --agents-min {} and --agents-max {}",
            options.agents_min,
            options.agents_max
        );
    }
    let (&[representatives], &[loss], &[crash]) =
        (&*options.representatives, &*options.loss, &*options.crash)
    else {
        bail!("--scale compares sizes: give one value each of --representatives, --loss, --crash");
    };
    let before = resident_bytes()?;
    let mut sizes: Vec<Size> = Vec::new();
    for agents in systems {
        let Rounds { updates, seed, .. } = *options;
        let parameters =
            Parameters { agents, branching: ZONE, representatives, loss, crash, updates, seed };
        format.say(&format!("{agents} agents ..."));
        let size = one(parameters, before, sizes.first(), format)?;
        sizes.push(size);
    }
    format.print(&sizes, |sizes| text(sizes))?;
    Ok(sizes.iter().all(|size| size.never == 0).into())
}

fn one(
    parameters: Parameters,
    before: u64,
    smallest: Option<&Size>,
    format: Format,
) -> Result<Size> {
    let bar = format.bar(100);
    let started = Instant::now();
    let mut world = fabric(&parameters);
    let build_seconds = started.elapsed().as_secs_f64();
    let built = resident_bytes()?.saturating_sub(before);
    let started = Instant::now();
    let report = measure(&mut world, &parameters, &mut |share| {
        bar.set_position((share * 100.0) as u64);
    });
    let run_seconds = started.elapsed().as_secs_f64();
    let resident_bytes = resident_bytes()?.saturating_sub(before).max(built);
    bar.finish_and_clear();
    let agents = parameters.agents;
    let bytes_per_agent = resident_bytes as f64 / agents as f64;
    let growth = |smallest: &Size| {
        let logarithms = (agents as f64).ln() / (smallest.parameters.agents as f64).ln();
        bytes_per_agent / smallest.bytes_per_agent / logarithms
    };
    Ok(Size {
        resident_bytes,
        built_bytes_per_agent: built as f64 / agents as f64,
        bytes_per_agent,
        growth_over_log: smallest.map_or(1.0, growth),
        rows: report.rows,
        bytes_per_round: report.bytes_per_round,
        datagrams_per_round: report.datagrams_per_round,
        last_rounds: report.last_rounds,
        mean_rounds: report.mean_rounds,
        never: report.never,
        build_seconds,
        run_seconds,
        parameters,
    })
}

fn resident_bytes() -> Result<u64> {
    let resident =
        resident(getpid()).context("this system doesn't tell how much memory is used")?;
    Ok(resident.bytes)
}

fn text(sizes: &[Size]) -> String {
    let header = [
        "agents",
        "B/agent",
        "over log",
        "MB",
        "rows",
        "B/round",
        "msgs/round",
        "last",
        "mean",
        "never",
        "build s",
        "run s",
    ];
    let row = |size: &Size| {
        vec![
            size.parameters.agents.to_string(),
            format!("{:.0}", size.bytes_per_agent),
            format!("{:.2}", size.growth_over_log),
            format!("{:.0}", size.resident_bytes as f64 / 1e6),
            format!("{:.0}", size.rows),
            format!("{:.0}", size.bytes_per_round),
            format!("{:.1}", size.datagrams_per_round),
            format!("{:.2}", size.last_rounds),
            format!("{:.2}", size.mean_rounds),
            size.never.to_string(),
            format!("{:.1}", size.build_seconds),
            format!("{:.1}", size.run_seconds),
        ]
    };
    let rows: Vec<Vec<String>> = sizes.iter().map(row).collect();
    format!(
        "what an agent costs, and rounds until agents have heard an update:\n{}",
        table(&header, &rows)
    )
}
