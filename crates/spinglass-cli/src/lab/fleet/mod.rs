//! `spinglass lab fleet`: agents on real sockets, in three levels: how soon all of them hear an
//! update, what an idle one costs, and whether the whole forms again after everything was down.

mod inside;
mod processes;

use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use clap::Args;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use serde::Serialize;
use spinglass_core::{Config, Prng};
use spinglass_sim::Setup as Shape;

use crate::output::{Format, Verdict, table};

/// Options of `lab fleet`.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  spinglass lab fleet --agents 300 --real             a process each
  spinglass lab fleet --agents 300 --real --zone 64
  spinglass lab fleet --agents 2000 --in-process      all in this process
  spinglass lab fleet --agents 300 --real --outage    all killed, and started again

An attribute is set at one agent, chosen by chance; it has arrived when the root's summary says so
at every agent. After an outage no agent has a seed: it has its --state file, and the first ones
come back at other addresses.")]
pub(crate) struct Fleet {
    /// How many agents
    #[arg(long, default_value_t = 300, value_parser = clap::value_parser!(u32).range(2..=5000))]
    agents: u32,
    /// Each agent is a process
    #[arg(long, required_unless_present = "in_process")]
    real: bool,
    /// All agents are in this process, on one thread; multicast rests
    #[arg(long, conflicts_with = "real")]
    in_process: bool,
    /// Kill all agents, start all again without seeds, and wait until they are one system
    #[arg(long, requires = "real")]
    outage: bool,
    /// Agents per region, and zones per zone
    #[arg(long, default_value_t = 7, value_parser = clap::value_parser!(u32).range(2..=256))]
    zone: u32,
    /// Updates, each at an agent chosen by chance
    #[arg(long, default_value_t = 5)]
    updates: usize,
    /// The table's round, in milliseconds
    #[arg(long, default_value_t = 1000, value_parser = clap::value_parser!(u64).range(50..=60_000))]
    round_ms: u64,
    /// Seconds for which idle agents are watched
    #[arg(long, default_value_t = 30.0)]
    idle_seconds: f64,
    /// The seed of who sets the attribute
    #[arg(long, default_value_t = 1)]
    seed: u64,
}

/// Agents that all others join by at first.
const SEEDS: usize = 3;
/// How long the agents may take to become one system, at first and after an outage: two thousand
/// that start alone at once take some five minutes.
const FORM_TIME: Duration = Duration::from_secs(900);
/// Rounds after which an update counts as never heard.
const ROUNDS_MAX: u32 = 120;
/// Rounds between the last change and the first look at idle agents: traffic is even by then.
const SETTLE_ROUNDS: u32 = 20;
/// The summary that is installed at the root, and its name: the update is a load.
const SUMMARY: (&str, &str) = ("load", "SELECT MAX(load) AS load FROM zone");
/// The attribute that says how many agents there are.
const COUNT: &str = "nmembers";
/// Files that each agent needs open at most, in this process: its pipes, or its socket.
const FILES_PER_AGENT: u64 = 4;

/// What an idle agent costs.
#[derive(Debug, Serialize)]
struct Idle {
    seconds: f64,
    /// Bytes of memory per agent.
    resident_bytes: f64,
    /// The same of the largest agent.
    resident_bytes_max: f64,
    /// Of the mean, what is not pages of the program's file, which all agents share.
    private_bytes: f64,
    /// Percent of one core.
    processor_percent: f64,
    bytes_per_second: f64,
    datagrams_per_second: f64,
}

/// What became of the outage.
#[derive(Debug, Serialize)]
struct Outage {
    /// From the first start until every agent receives.
    up_seconds: f64,
    /// From the first start until every agent's root counts all agents.
    whole_seconds: f64,
    /// Addresses that an agent remembered, on average.
    remembered: f64,
}

/// What was seen.
#[derive(Debug, Serialize)]
struct Report {
    agents: usize,
    zone: u32,
    levels: usize,
    round_ms: u64,
    mode: &'static str,
    /// Until all knew of all, from the first start.
    join_seconds: f64,
    /// Rounds until every agent had heard, update by update.
    rounds: Vec<f64>,
    rounds_median: Option<f64>,
    rounds_max: Option<f64>,
    idle: Option<Idle>,
    outage: Option<Outage>,
    seed: u64,
}

/// Runs it.
///
/// # Errors
/// The agents can't be run, or do not become one system.
pub(super) async fn run(options: &Fleet, format: Format) -> Result<Verdict> {
    let agents = usize::try_from(options.agents)?;
    let files = u64::from(options.agents) * FILES_PER_AGENT;
    allow_files(files + 64).context("so many agents need more open files")?;
    let plan = Plan::new(options, agents);
    let mut report = Report {
        agents,
        zone: options.zone,
        levels: plan.region(0).split('/').count(),
        round_ms: options.round_ms,
        mode: if options.real { "processes" } else { "one process" },
        join_seconds: 0.0,
        rounds: Vec::new(),
        rounds_median: None,
        rounds_max: None,
        idle: None,
        outage: None,
        seed: options.seed,
    };
    if options.outage {
        processes::outage(&plan, &mut report, format).await?;
    } else if options.real {
        processes::updates(&plan, &mut report, format).await?;
    } else {
        inside::updates(&plan, &mut report, format).await?;
    }
    report.rounds.sort_by(f64::total_cmp);
    report.rounds_median = report.rounds.get(report.rounds.len() / 2).copied();
    report.rounds_max = report.rounds.last().copied();
    format.print(&report, text)?;
    Ok(Verdict::Good)
}

/// Lets this process hold so many files open.
pub(super) fn allow_files(files: u64) -> Result<()> {
    let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
    if current.is_none_or(|current| current >= files) {
        return Ok(());
    }
    ensure!(
        maximum.is_none_or(|maximum| maximum >= files),
        "the system allows {maximum:?} at most"
    );
    setrlimit(Resource::Nofile, Rlimit { current: Some(files), maximum })?;
    Ok(())
}

/// What to run, in the form that both ways of running it need.
#[derive(Debug)]
struct Plan {
    agents: usize,
    shape: Shape,
    updates: usize,
    round: Duration,
    idle: Duration,
    seed: u64,
    /// Where agents remember, among the temporary files; removed with the plan.
    memory: PathBuf,
}

impl Plan {
    fn new(options: &Fleet, agents: usize) -> Self {
        let mut shape = Shape::new(agents, Config::lan(), options.seed);
        let zone = usize::try_from(options.zone).unwrap_or(usize::MAX);
        (shape.region_members, shape.zone_children) = (zone, zone);
        let memory = format!("spinglass-fleet-{}", std::process::id());
        Self {
            agents,
            shape,
            updates: options.updates,
            round: Duration::from_millis(options.round_ms),
            idle: Duration::from_secs_f64(options.idle_seconds.clamp(1.0, 3600.0)),
            seed: options.seed,
            memory: std::env::temp_dir().join(memory),
        }
    }

    fn region(&self, agent: usize) -> String {
        self.shape.region(agent).as_str().to_owned()
    }

    /// Who sets the attribute, update by update.
    fn sources(&self) -> Vec<usize> {
        let mut rng = Prng::new(self.seed).fork("fleet");
        (0..self.updates).map(|_| rng.index(self.agents)).collect()
    }

    /// Rounds between two moments of the machine's monotonic clock.
    fn rounds_between(&self, from_ns: u64, to_ns: u64) -> f64 {
        to_ns.saturating_sub(from_ns) as f64 / 1e9 / self.round.as_secs_f64()
    }
}

impl Drop for Plan {
    fn drop(&mut self) {
        // It is there only after an outage; what stays behind is a few files among temporary ones.
        let _ = std::fs::remove_dir_all(&self.memory);
    }
}

fn text(report: &Report) -> String {
    let mut rows = vec![
        vec!["agents".to_owned(), format!("{} as {}", report.agents, report.mode)],
        vec!["zones of about".to_owned(), report.zone.to_string()],
        vec!["one system after".to_owned(), format!("{:.1} s", report.join_seconds)],
    ];
    let mut row = |name: &str, value: String| rows.push(vec![name.to_owned(), value]);
    if let (Some(median), Some(most)) = (report.rounds_median, report.rounds_max) {
        row("rounds to everybody", format!("median {median:.1}, at most {most:.1}"));
    }
    if let Some(idle) = &report.idle {
        let (mean, most) = (idle.resident_bytes / 1e6, idle.resident_bytes_max / 1e6);
        let private = idle.private_bytes / 1e6;
        row(
            "memory per agent",
            format!(
                "{mean:.2} MB, at most {most:.2} MB; without the program's file {private:.2} MB"
            ),
        );
        row("processor per agent", format!("{:.3} % of a core", idle.processor_percent));
        let (bytes, datagrams) = (idle.bytes_per_second, idle.datagrams_per_second);
        row("sent per agent", format!("{bytes:.0} B/s in {datagrams:.1} datagrams/s"));
    }
    if let Some(outage) = &report.outage {
        row("all up again after", format!("{:.1} s", outage.up_seconds));
        row("one system again after", format!("{:.1} s", outage.whole_seconds));
        row("addresses remembered", format!("{:.0}", outage.remembered));
    }
    table(&["fleet", ""], &rows)
}
