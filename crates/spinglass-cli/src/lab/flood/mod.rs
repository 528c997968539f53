//! `spinglass lab flood`: what it costs a group that some of its members are flooded.

mod garbage;
mod real;

use anyhow::Result;
use clap::Args;
use serde::Serialize;
use spinglass_sim::scenario::flood::{Parameters, Report, Variant, run};

use crate::output::{Format, Verdict, table};
use crate::plan::{group_size, share};
use crate::statistics::mean;

/// Options of `lab flood`.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  spinglass lab flood                                   Drum's setup, some minutes
  spinglass lab flood --members 150 --seconds 2 --fabricated 0,128,512
  spinglass lab flood --real                            32 processes, 3 of them flooded
  spinglass lab flood --real --fixed-port               the same without reply ports

A tenth of the members, the source among them, are sent fabricated datagrams at the port that all
know (Badishi, Keidar, Sasson, DSN 2004). Of each port a host reads so many datagrams in a round, at
random. Shown is after how many rounds 99 % of the members have a message: with all of the protocol,
with gossip alone, and with a measure left out, which must fail.")]
pub(crate) struct Flood {
    /// Members are processes on loopback; otherwise simulated
    #[arg(long)]
    pub(super) real: bool,
    /// Group size [default: 1000, with --real 32]
    #[arg(long, value_parser = group_size)]
    members: Option<usize>,
    /// Fabricated datagrams that come to each attacked member in a round, in the simulator
    #[arg(long, value_delimiter = ',', default_value = "0,32,64,128,256,512")]
    fabricated: Vec<u32>,
    /// Datagrams that a host reads of each port in a round, in the simulator
    #[arg(long, default_value_t = 24)]
    intake: u32,
    /// The share of datagrams that is lost, in the simulator
    #[arg(long, default_value_t = 0.01, value_parser = share)]
    loss: f64,
    /// Seconds for which messages are published, 40 a second [default: 5, with --real 20]
    #[arg(long)]
    seconds: Option<u64>,
    /// Runs of each kind, in the simulator
    #[arg(long, default_value_t = 1)]
    seeds: u64,
    /// The first run's seed
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Members that are flooded, with --real
    #[arg(long, default_value_t = 3)]
    flooded: usize,
    /// Fabricated datagrams per second to each of them, with --real
    #[arg(long, default_value_t = 50_000)]
    flood: u32,
    /// Have answers come where everything else does, with --real
    #[arg(long)]
    fixed_port: bool,
}

/// One variant under one flood, over all seeds.
#[derive(Debug, Serialize)]
struct Cell {
    variant: Variant,
    fabricated: u32,
    rounds: f64,
    rounds_begun: f64,
    rounds_p99: f64,
    published: usize,
    never: usize,
    delivered: f64,
    delivered_attacked: f64,
    removed: u64,
}

/// A variant's rounds under the largest flood over those under a smaller one.
#[derive(Debug, Serialize)]
struct Growth {
    variant: Variant,
    /// Over those under a quarter of it, if that was run: counted in rounds begun, and exactly.
    over_quarter: Option<f64>,
    over_quarter_exact: Option<f64>,
    /// Over those under the smallest, in rounds begun.
    over_least: f64,
}

/// Everything.
#[derive(Debug, Serialize)]
struct Found {
    members: usize,
    intake: u32,
    loss: f64,
    seconds: u64,
    seeds: u64,
    seed: u64,
    /// Members that were taken for dead, over all observers, where nothing is left out.
    removed: u64,
    growth: Vec<Growth>,
    cells: Vec<Cell>,
}

/// The bar: as many times the rounds under a quarter of the flood, at most.
const GROWTH_MAX: f64 = 1.2;

/// Runs it.
///
/// # Errors
/// The processes can't be run, or standard output can't be written.
pub(super) async fn flood(options: &Flood, format: Format) -> Result<Verdict> {
    if options.real {
        let experiment = real::Experiment {
            members: options.members.unwrap_or(32),
            flooded: options.flooded,
            flood: options.flood,
            seconds: options.seconds.unwrap_or(20),
            fixed_port: options.fixed_port,
            seed: options.seed,
        };
        return real::run(&experiment, format).await;
    }
    simulated(options, format)
}

fn simulated(options: &Flood, format: Format) -> Result<Verdict> {
    let Flood { fabricated, intake, loss, seeds, seed, .. } = options;
    let (members, seconds) = (options.members.unwrap_or(1000), options.seconds.unwrap_or(5));
    let bar = format.bar(Variant::ALL.len() as u64 * fabricated.len() as u64 * seeds);
    let mut cells = Vec::new();
    for variant in Variant::ALL {
        for fabricated in fabricated {
            let reports: Vec<Report> = (0..*seeds)
                .map(|more| {
                    let drum = Parameters::drum(variant, *fabricated, seed.wrapping_add(more));
                    let (intake, loss) = (*intake, *loss);
                    let report =
                        run(&Parameters { members, intake, loss, seconds, ..drum }, &mut |_| ());
                    bar.inc(1);
                    report
                })
                .collect();
            cells.push(cell(variant, *fabricated, &reports));
        }
    }
    bar.finish_and_clear();
    let growth: Vec<Growth> = Variant::ALL.iter().map(|it| growth(*it, &cells)).collect();
    let (intake, loss, seeds, seed) = (*intake, *loss, *seeds, *seed);
    let whole = cells.iter().filter(|cell| cell.variant == Variant::Whole);
    let removed = whole.map(|cell| cell.removed).sum();
    let found = Found { members, intake, loss, seconds, seeds, seed, removed, growth, cells };
    format.print(&found, text)?;
    let whole = found.growth.first().and_then(|growth| growth.over_quarter);
    let controls = found.growth.iter().skip(2);
    let fail = controls.map(|growth| growth.over_least).fold(f64::MAX, f64::min) > GROWTH_MAX;
    let holds = whole.is_none_or(|growth| growth <= GROWTH_MAX) && found.removed == 0;
    Ok((holds && fail).into())
}

fn cell(variant: Variant, fabricated: u32, reports: &[Report]) -> Cell {
    let average =
        |figure: fn(&Report) -> f64| mean(&reports.iter().map(figure).collect::<Vec<_>>());
    Cell {
        variant,
        fabricated,
        rounds: average(|report| report.rounds),
        rounds_begun: average(|report| report.rounds_begun),
        rounds_p99: reports.iter().map(|report| report.rounds_p99).fold(0.0, f64::max),
        published: reports.iter().map(|report| report.published).sum(),
        never: reports.iter().map(|report| report.never).sum(),
        delivered: average(|report| report.delivered[0]),
        delivered_attacked: average(|report| report.delivered[1]),
        removed: reports.iter().map(|report| report.removed).sum(),
    }
}

fn growth(variant: Variant, cells: &[Cell]) -> Growth {
    let own = || cells.iter().filter(|cell| cell.variant == variant);
    let most = own().max_by_key(|cell| cell.fabricated);
    let least = own().min_by_key(|cell| cell.fabricated);
    let quarter = own().find(|cell| most.is_some_and(|it| cell.fabricated * 4 == it.fabricated));
    let over = |cell: Option<&Cell>, figure: fn(&Cell) -> f64| {
        Some(most.map(figure)? / cell.map(figure)?.max(f64::MIN_POSITIVE))
    };
    Growth {
        variant,
        over_quarter: over(quarter, |cell| cell.rounds_begun),
        over_quarter_exact: over(quarter, |cell| cell.rounds),
        over_least: over(least, |cell| cell.rounds_begun).unwrap_or(1.0),
    }
}

fn text(found: &Found) -> String {
    let header = [
        "variant",
        "flood",
        "rounds",
        "begun",
        "99 %",
        "never",
        "delivered",
        "attacked",
        "taken for dead",
    ];
    let row = |cell: &Cell| {
        vec![
            name(cell.variant).to_owned(),
            cell.fabricated.to_string(),
            format!("{:.2}", cell.rounds),
            format!("{:.2}", cell.rounds_begun),
            format!("{:.2}", cell.rounds_p99),
            format!("{} of {}", cell.never, cell.published),
            format!("{:.2} %", cell.delivered * 100.0),
            format!("{:.2} %", cell.delivered_attacked * 100.0),
            cell.removed.to_string(),
        ]
    };
    let mut text = table(&header, &found.cells.iter().map(row).collect::<Vec<_>>());
    for growth in &found.growth {
        let quarter = growth.over_quarter.map_or_else(|| "-".into(), |it| format!("{it:.2}"));
        let (name, least) = (name(growth.variant), growth.over_least);
        text += &format!(
            "{name}: under the largest flood {quarter} times the rounds under a quarter of it, \
             {least:.2} times those under the least\n"
        );
    }
    text
}

const fn name(variant: Variant) -> &'static str {
    match variant {
        Variant::Whole => "whole",
        Variant::Gossip => "gossip alone",
        Variant::PushOnly => "push only",
        Variant::PullOnly => "pull only",
        Variant::FixedPort => "fixed port",
    }
}
