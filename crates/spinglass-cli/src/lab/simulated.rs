//! Experiments in the simulator: the same protocol code, virtual time, and one seed is one run.

use anyhow::Result;
use clap::Args;
use serde::Serialize;
use spinglass_core::plan::{PullRepair, gossip_once, neither_few_nor_most};
use spinglass_sim::scenario::{analysis, bimodality, flat, loss, perturb, speed, wan};
use spinglass_sim::swarm::{SwarmReport, swarm};

use super::perturb::{RATE_SHARE_MIN, VARIATION_MAX};
use super::seeds::{Chosen, failure};
use super::{Loss, Perturb};
use crate::network::Mode;
use crate::output::{Format, Verdict, table};
use crate::plan::group_size;

/// Progress is not shown: it would tell a person little and a program nothing.
fn silent(_: f64) {}

/// One simulated run of the perturbation.
#[derive(Debug, Serialize)]
struct PerturbRun {
    sleepers: usize,
    asleep: f64,
    rate_share: f64,
    variation: f64,
    healthy_gaps: u64,
    repairs: f64,
}

/// The perturbation of one group, simulated; named as in the report of the real one.
#[derive(Debug, Serialize)]
struct PerturbReport {
    members: usize,
    samples: usize,
    rate: f64,
    size: usize,
    mode: &'static str,
    seed: u64,
    worst_rate_share: f64,
    worst_variation: f64,
    runs: Vec<PerturbRun>,
}

/// The share of the group that sleeps in the second series.
const SLEEPING_PERCENT: usize = 25;

/// The perturbation, in the simulator.
///
/// # Errors
/// Standard output can't be written.
pub(super) fn perturb(options: &Perturb, members: usize, format: Format) -> Result<Verdict> {
    let mut runs = Vec::new();
    for sleeping_percent in [0, SLEEPING_PERCENT] {
        for probability in &options.asleep {
            let parameters = perturb::Parameters {
                members,
                sleeping_percent,
                probability: *probability,
                samples: options.samples,
                rate: whole(options.rate),
                bytes: options.size,
                multicast: options.mode != Mode::Trees,
                trouble: perturb::Trouble::default(),
                seed: options.seed,
            };
            let report = perturb::run(&parameters, &mut silent);
            let run = PerturbRun {
                sleepers: (members * sleeping_percent / 100).max(1),
                asleep: *probability,
                rate_share: report.share,
                variation: report.throughput.variation,
                healthy_gaps: report.healthy_gaps,
                repairs: report.repairs,
            };
            let (share, variation) = (run.rate_share * 100.0, run.variation * 100.0);
            format.say(&format!(
                "  {members} members, {:>4} asleep {probability:.1}: {share:.2} %, variation \
                 {variation:.2} %",
                run.sleepers
            ));
            runs.push(run);
        }
    }
    let report = PerturbReport {
        members,
        samples: options.samples,
        rate: options.rate,
        size: options.size,
        mode: if options.mode == Mode::Trees { "trees" } else { "multicast" },
        seed: options.seed,
        worst_rate_share: runs.iter().map(|run| run.rate_share).fold(f64::MAX, f64::min),
        worst_variation: runs.iter().map(|run| run.variation).fold(0.0, f64::max),
        runs,
    };
    format.print(&report, |report| {
        format!(
            "{} members: worst mean {:.2} % of the offered rate, worst variation {:.2} %\n",
            report.members,
            report.worst_rate_share * 100.0,
            report.worst_variation * 100.0
        )
    })?;
    let good = report.worst_rate_share >= RATE_SHARE_MIN && report.worst_variation <= VARIATION_MAX;
    Ok(good.into())
}

/// A rate or a time in whole units; the simulator's parameters are whole.
fn whole(value: f64) -> u64 {
    // In range: rates and times of experiments are small and positive.
    value.max(1.0).round() as u64
}

/// Loss, in the simulator. The verdict is good when no miss is untold.
///
/// # Errors
/// Standard output can't be written.
pub(super) fn loss(options: &Loss, format: Format) -> Result<Verdict> {
    let run = |share: &f64| {
        let parameters = loss::Parameters {
            members: options.members,
            loss: *share,
            rate: whole(options.rate),
            bytes: options.size,
            seconds: whole(options.seconds),
            multicast: options.mode != Mode::Trees,
            seed: options.seed,
        };
        loss::run(&parameters, &mut silent)
    };
    let reports: Vec<loss::Report> = options.loss.iter().map(run).collect();
    format.print(&reports, |reports| {
        let header =
            ["loss", "published", "delivered", "gaps", "untold", "p50 ms", "p99 ms", "max ms"];
        let row = |report: &loss::Report| {
            vec![
                format!("{:.0} %", report.parameters.loss * 100.0),
                report.published.to_string(),
                report.delivered.to_string(),
                report.gaps.to_string(),
                report.silent.to_string(),
                format!("{:.1}", report.p50_ms),
                format!("{:.1}", report.p99_ms),
                format!("{:.1}", report.max_ms),
            ]
        };
        table(&header, &reports.iter().map(row).collect::<Vec<_>>())
    })?;
    Ok(reports.iter().all(|report| report.silent == 0).into())
}

/// Options of `lab analysis`.
#[derive(Debug, Args)]
pub(crate) struct Analysis {
    /// Simulated groups per table row; each follows 16 messages
    #[arg(long, default_value_t = 16)]
    groups: usize,
    /// Members per group
    #[arg(long, default_value_t = 200, value_parser = group_size)]
    members: usize,
    /// The first group's seed
    #[arg(long, default_value_t = 1)]
    seed: u64,
}

/// One figure of the printed tables, and what the code gives.
#[derive(Debug, Serialize)]
struct Check {
    what: String,
    printed: f64,
    computed: f64,
    agrees: bool,
}

impl Check {
    /// The two agree in the digits that are printed: two of them.
    fn new(what: String, printed: f64, computed: f64) -> Self {
        let agrees = (computed / printed - 1.0).abs() <= 0.05;
        Self { what, printed, computed, agrees }
    }
}

/// The analysis against its tables, and against the real core.
#[derive(Debug, Serialize)]
struct AnalysisReport {
    good: bool,
    seed: u64,
    messages: usize,
    tables: Vec<Check>,
    simulated: Vec<analysis::Report>,
}

/// Initial miss and loss of the simulated rows.
const SIMULATED: [(f64, f64); 4] = [(0.01, 0.0), (0.05, 0.05), (0.2, 0.2), (0.5, 0.2)];
/// Messages that a simulated group follows.
const MESSAGES_PER_GROUP: usize = 16;

/// The analysis: printed tables, the model, and pull repair by the real core.
///
/// # Errors
/// Standard output can't be written.
pub(super) fn analysis(options: &Analysis, format: Format) -> Result<Verdict> {
    let tables = tables();
    let run = |(missing, loss): &(f64, f64)| {
        let parameters = analysis::Parameters {
            members: options.members,
            missing: *missing,
            loss: *loss,
            rounds: 10,
            groups: options.groups,
            seed: options.seed,
        };
        analysis::run(&parameters, &mut silent)
    };
    let simulated: Vec<analysis::Report> = SIMULATED.iter().map(run).collect();
    let agrees = |report: &analysis::Report| report.rounds.iter().all(round_agrees);
    let good = tables.iter().all(|check| check.agrees) && simulated.iter().all(agrees);
    let messages = options.groups * MESSAGES_PER_GROUP;
    let report = AnalysisReport { good, seed: options.seed, messages, tables, simulated };
    format.print(&report, describe_analysis)?;
    Ok(good.into())
}

/// A round of which fewer pairs than this are expected to be missing is not judged: their misses
/// come in clusters, a message at a time.
const EXPECTED_MIN: f64 = 20.0;

/// Whether a round agrees with the model, as far as its sample can tell.
fn round_agrees(round: &analysis::Round) -> bool {
    round.agrees || round.model * (round.samples as f64) < EXPECTED_MIN
}

/// The figures of the papers' models, as computed when the tables were first made.
fn tables() -> Vec<Check> {
    let pull = [
        (0.01, 0.0, 3, 5.1e-4),
        (0.05, 0.05, 10, 1.0e-5),
        (0.2, 0.2, 20, 9.5e-6),
        (0.5, 0.2, 15, 5.5e-4),
        (0.99, 0.05, 15, 1.6e-3),
    ];
    let mut checks: Vec<Check> = pull
        .into_iter()
        .map(|(missing, loss, rounds, printed)| {
            let mut model = PullRepair::new(missing, loss, 1.0);
            for _ in 0..rounds {
                model.next_round();
            }
            let what = format!("pull repair, {missing} missing, loss {loss}, round {rounds}");
            Check::new(what, printed, model.missing())
        })
        .collect();
    for (fanout, printed) in [(3.0, 1.6e-1), (5.0, 3.3e-5), (7.0, 5.9e-10), (10.0, 1.0e-17)] {
        let counts = gossip_once(50, fanout, 0.05, 0.001, 10);
        let what = format!("gossip once, 50 members, fan-out {fanout}: 10 % to 90 %");
        checks.push(Check::new(what, printed, neither_few_nor_most(&counts)));
    }
    let counts = gossip_once(50, 5.0, 0.05, 0.001, 10);
    for (count, printed) in [(1, 7.6e-3), (15, 2.5e-12), (48, 5.2e-2), (50, 0.68)] {
        let computed = counts.get(count).copied().unwrap_or(0.0);
        checks.push(Check::new(format!("the U: {count} of 50 reached"), printed, computed));
    }
    checks
}

fn describe_analysis(report: &AnalysisReport) -> String {
    let mark = |agrees: bool| (if agrees { "" } else { "DIFFERS" }).to_owned();
    let rows: Vec<Vec<String>> = report
        .tables
        .iter()
        .map(|check| {
            let [printed, computed] = [check.printed, check.computed].map(|x| format!("{x:.2e}"));
            vec![check.what.clone(), printed, computed, mark(check.agrees)]
        })
        .collect();
    let mut text = table(&["model", "printed", "computed", ""], &rows);
    for simulated in &report.simulated {
        let parameters = &simulated.parameters;
        text += &format!(
            "\n  pull repair by the real core, {} members, {:.0} % missing at first, {:.0} % \
             loss\n",
            parameters.members,
            parameters.missing * 100.0,
            parameters.loss * 100.0
        );
        let rows: Vec<Vec<String>> = simulated
            .rounds
            .iter()
            .map(|round| {
                vec![
                    round.round.to_string(),
                    format!("{:.2e}", round.model),
                    format!("{:.2e}", round.counted),
                    format!("{:.1e}", round.error),
                    mark(round_agrees(round)),
                ]
            })
            .collect();
        text += &table(&["round", "model", "counted", "error", ""], &rows);
    }
    text
}

/// Options of `lab bimodality`.
#[derive(Debug, Args)]
#[command(after_help = "\
Example:
  spinglass lab bimodality --messages 3000000     no hit in n trials: p < 3/n at 95 %")]
pub(crate) struct Bimodality {
    /// Members that listen
    #[arg(long, default_value_t = 50, value_parser = group_size)]
    members: usize,
    /// Messages
    #[arg(long, default_value_t = 100_000)]
    messages: u64,
    /// The share of datagrams that is lost
    #[arg(long, default_value_t = 0.05)]
    loss: f64,
    /// The probability that a sender crashes while it sends
    #[arg(long, default_value_t = 0.001)]
    crash: f64,
    /// The seed
    #[arg(long, default_value_t = 1)]
    seed: u64,
}

/// Almost all or almost none.
///
/// # Errors
/// Standard output can't be written.
pub(super) fn bimodality(options: &Bimodality, format: Format) -> Result<Verdict> {
    let Bimodality { members, messages, loss, crash, seed } = *options;
    let parameters = bimodality::Parameters { members, messages, loss, crash, seed };
    let report = bimodality::run(&parameters, &mut silent);
    format.print(&report, |report| {
        format!(
            "{} messages to {} members: {} reached between 10 % and 90 % (p < {:.1e} at 95 %), \
             {} misses untold\nby tenths of the group: {:?}\n",
            report.parameters.messages,
            report.parameters.members,
            report.between,
            report.bound,
            report.silent,
            report.tenths
        )
    })?;
    Ok((report.between == 0 && report.silent == 0).into())
}

/// Options of `lab wan`.
#[derive(Debug, Args)]
pub(crate) struct Wan {
    /// Members
    #[arg(long, default_value_t = 1000, value_parser = group_size)]
    members: usize,
    /// Messages, each by another sender
    #[arg(long, default_value_t = 20)]
    messages: usize,
    /// Bytes per message
    #[arg(long, default_value_t = 1024)]
    size: usize,
    /// The seed
    #[arg(long, default_value_t = 1)]
    seed: u64,
}

/// Loss and sleepers of the second run.
const WAN_TROUBLE: (f64, usize) = (0.05, 5);

/// Broadcast over wide links: without trouble, and with loss and sleepers.
///
/// # Errors
/// Standard output can't be written.
pub(super) fn wan(options: &Wan, format: Format) -> Result<Verdict> {
    let run = |(loss, sleeping_percent): (f64, usize)| {
        let Wan { members, messages, size, seed } = *options;
        let bytes = size;
        let parameters = wan::Parameters { members, messages, loss, sleeping_percent, bytes, seed };
        wan::run(&parameters, &mut silent)
    };
    let reports = [(0.0, 0), WAN_TROUBLE].map(run);
    format.print(&reports, |reports| {
        let row = |report: &wan::Report| {
            vec![
                format!("{:.0} %", report.parameters.loss * 100.0),
                format!("{} %", report.parameters.sleeping_percent),
                format!("{:.0}", report.last_ms.mean),
                format!("{:.0}", report.last_ms.max),
                format!("{:.3}", report.surplus),
                report.incomplete.to_string(),
            ]
        };
        let header = ["loss", "asleep", "last ms", "worst last ms", "surplus", "incomplete"];
        table(&header, &reports.iter().map(row).collect::<Vec<_>>())
    })?;
    Ok(reports.iter().all(|report| report.incomplete == 0).into())
}

/// Options of `lab flat`.
#[derive(Debug, Args)]
pub(crate) struct Flat {
    /// Group sizes
    #[arg(long, value_delimiter = ',', value_parser = group_size)]
    #[arg(default_value = "32,128,512,2048,8192")]
    members: Vec<usize>,
    /// Messages per second in the whole group
    #[arg(long, default_value_t = 100)]
    rate: u64,
    /// Bytes per message
    #[arg(long, default_value_t = 210)]
    size: usize,
    /// The share of datagrams that is lost
    #[arg(long, default_value_t = 0.01)]
    loss: f64,
    /// Seconds that are measured
    #[arg(long, default_value_t = 10)]
    seconds: u64,
    /// The seed
    #[arg(long, default_value_t = 1)]
    seed: u64,
}

/// What a member costs in groups of several sizes.
///
/// # Errors
/// Standard output can't be written.
pub(super) fn flat(options: &Flat, format: Format) -> Result<Verdict> {
    let run = |members: &usize| {
        let Flat { rate, loss, seconds, seed, .. } = *options;
        let parameters = flat::Parameters {
            members: *members,
            rate,
            bytes: options.size,
            loss,
            warm_up_seconds: flat::WARM_UP_SECONDS,
            seconds,
            seed,
        };
        flat::run(&parameters, &mut silent)
    };
    let reports: Vec<flat::Report> = options.members.iter().map(run).collect();
    format.print(&reports, |reports| {
        let header =
            ["members", "digests", "requests", "repairs", "overhead B", "bytes", "buffered"];
        let row = |report: &flat::Report| {
            vec![
                report.parameters.members.to_string(),
                format!("{:.2}", report.digests),
                format!("{:.2}", report.requests),
                format!("{:.2}", report.repairs),
                format!("{:.0}", report.overhead_bytes),
                format!("{:.0}", report.bytes_received),
                format!("{:.0}", report.buffered_bytes),
            ]
        };
        let rows: Vec<Vec<String>> = reports.iter().map(row).collect();
        format!("per member and second:\n{}", table(&header, &rows))
    })?;
    Ok(Verdict::Good)
}

/// Options of `lab speed`.
#[derive(Debug, Args)]
pub(crate) struct Speed {
    /// Members
    #[arg(long, default_value_t = 1000, value_parser = group_size)]
    members: usize,
    /// Simulated seconds
    #[arg(long, default_value_t = 10)]
    seconds: u64,
    /// The seed
    #[arg(long, default_value_t = 1)]
    seed: u64,
}

/// How fast the simulator is.
///
/// # Errors
/// Standard output can't be written.
pub(super) fn speed(options: &Speed, format: Format) -> Result<Verdict> {
    let report = speed::run(options.members, options.seconds, options.seed, &mut silent);
    format.print(&report, |report| {
        format!(
            "{:.0} protocol events/s on one core ({} events, {} members)\n",
            report.events_per_second, report.events, report.members
        )
    })?;
    Ok(Verdict::Good)
}

/// Options of `lab determinism`.
#[derive(Debug, Args)]
pub(crate) struct Determinism {
    /// How often the seed is run
    #[arg(long, default_value_t = 20)]
    runs: usize,
    /// The seed
    #[arg(long, default_value_t = 1)]
    seed: u64,
}

/// One seed, many times.
///
/// # Errors
/// Standard output can't be written.
pub(super) fn determinism(options: &Determinism, format: Format) -> Result<Verdict> {
    let report = speed::determinism(options.seed, options.runs, &mut silent);
    format.print(&report, |report| {
        format!(
            "seed {}: the same trace {:016x} in {} of {} runs\n",
            report.seed, report.trace, report.equal, report.runs
        )
    })?;
    Ok((report.equal == report.runs).into())
}

/// Options of `lab sim`.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  spinglass lab sim --seeds 200          seeds 1 to 200
  spinglass lab sim --seed 1234          one of them again")]
pub(crate) struct Sim {
    /// How many seeds to run, from --first on
    #[arg(long, default_value_t = 50)]
    seeds: u64,
    #[command(flatten)]
    chosen: Chosen,
}

/// What `lab sim` found.
#[derive(Debug, Serialize)]
struct SimReport {
    seeds: u64,
    first: u64,
    events: u64,
    messages: u64,
    gaps: u64,
    failed: usize,
    failures: Vec<SwarmReport>,
}

/// Failing seeds after which `lab sim` stops: one is enough to begin with, a few show a pattern.
const FAILURES_MAX: usize = 3;

/// Everything at once, a run per seed.
///
/// # Errors
/// There is no seed to run, or standard output can't be written.
pub(super) fn sim(options: &Sim, format: Format) -> Result<Verdict> {
    let seeds = options.chosen.range(options.seeds)?;
    let (events, messages, gaps) = (0, 0, 0);
    let failures = Vec::new();
    let mut report =
        SimReport { seeds: 0, first: seeds.start, events, messages, gaps, failed: 0, failures };
    for seed in seeds {
        let run = swarm(seed);
        report.seeds += 1;
        report.events += run.events;
        report.messages += run.messages;
        report.gaps += run.gaps;
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
    format.print(&report, describe_sim)?;
    Ok((report.failed == 0).into())
}

fn describe_sim(report: &SimReport) -> String {
    let mut text = String::new();
    for run in &report.failures {
        text += &failure(run.seed, &run.knobs, &run.violations, &run.replay);
    }
    text + &format!(
        "{} seeds from {}: {} failed; {} protocol events, {} messages, {} gaps told\n",
        report.seeds, report.first, report.failed, report.events, report.messages, report.gaps
    )
}
