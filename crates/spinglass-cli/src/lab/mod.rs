//! `spinglass lab`: the papers' experiments, in the simulator and with real processes.

mod doors;
mod figures;
mod fleet;
mod flood;
mod hostile;
mod insiders;
mod loss;
mod partition;
mod perturb;
mod real;
mod rotation;
mod rounds;
mod scale;
mod seeds;
mod shares;
mod simulated;
mod storm;
mod suspicion;
mod table_sim;
mod unstable;

use anyhow::Result;
use clap::{Args, Subcommand};

use crate::network::Mode;
use crate::output::{Format, Verdict};
use crate::plan::{group_size, share};

/// The experiments.
#[derive(Debug, Subcommand)]
pub(crate) enum Lab {
    /// Run a scenario: one of the papers' figures, older protocols beside ours
    Run(figures::Run),
    /// Figure 1, loss and latency with processes in network namespaces, other systems beside ours
    Real(real::Real),
    /// How steady are healthy members while others are stopped and continued?
    Perturb(Perturb),
    /// Does everything arrive when every receiver drops packets, and is every miss told?
    Loss(Loss),
    /// Do the models give the printed tables, and does the real core behave as they say?
    Analysis(simulated::Analysis),
    /// Does a message reach almost all members or almost none?
    Bimodality(simulated::Bimodality),
    /// How soon does a broadcast over wide links reach the last member?
    Wan(simulated::Wan),
    /// Does a member's cost stay the same as the group grows?
    Flat(simulated::Flat),
    /// How soon does every agent hear an update of the hierarchical table?
    Rounds(rounds::Rounds),
    /// How soon is a system that was in two halves for ten minutes one again?
    Partition(partition::Partition),
    /// How soon does a fleet of real agents hear an update, what does each cost, does it heal?
    Fleet(fleet::Fleet),
    /// How soon does an agent answer by SQL, what do its doors cost, do bad clients delay it?
    Doors(doors::Doors),
    /// Who is declared failed while agents are in trouble, by us and by SWIM?
    Suspicion(suspicion::Suspicion),
    /// Who is removed while agents crash, flap or lose most datagrams?
    Unstable(unstable::Unstable),
    /// Change link keys while traffic flows: is a message lost, what does an evicted member read?
    Rotation(rotation::Rotation),
    /// What does a member get of topics of which it takes a share, and what does it pay?
    Shares(shares::Shares),
    /// All events come fifty times as often: do caps hold, and what do members lose?
    Storm(storm::Storm),
    /// How fast is the simulator?
    Speed(simulated::Speed),
    /// Is one seed one run?
    Determinism(simulated::Determinism),
    /// Every fault at once, a run per seed, every invariant checked
    Sim(simulated::Sim),
    /// Every fault at once for the table, a run per seed, every table compared with the truth
    TableSim(table_sim::TableSim),
    /// What does it cost a group that some of its members are flooded?
    Flood(flood::Flood),
    /// Is any damaged datagram accepted, or answered?
    Hostile(hostile::Hostile),
    /// Do all honest messages arrive while certified members are hostile?
    Insiders(insiders::Insiders),
}

/// Options of `lab perturb`.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  spinglass lab perturb --members 32 --real
  spinglass lab perturb --members 32 --real --samples 20 --asleep 0,0.5,0.9
  spinglass lab perturb --members 32,96,512,4096")]
pub(crate) struct Perturb {
    /// Group sizes
    #[arg(long, value_delimiter = ',', default_value = "32", value_parser = group_size)]
    members: Vec<usize>,
    /// Members are processes on loopback, stopped by SIGSTOP; otherwise simulated
    #[arg(long)]
    real: bool,
    /// Shares of the 100 ms slots in which a sleeper is stopped
    #[arg(long, value_delimiter = ',', value_parser = share)]
    #[arg(default_value = "0,0.1,0.2,0.3,0.4,0.5,0.6,0.7,0.8,0.9")]
    asleep: Vec<f64>,
    /// Samples of 500 ms per run
    #[arg(long, default_value_t = 80)]
    samples: usize,
    /// Messages per second
    #[arg(long, default_value_t = 200.0)]
    rate: f64,
    /// Bytes per message
    #[arg(long, default_value_t = 7168)]
    size: usize,
    /// How packets are spread, with --real
    #[arg(long, value_enum, default_value_t = Mode::Auto)]
    mode: Mode,
    /// The seed of who sleeps when
    #[arg(long, default_value_t = 1)]
    seed: u64,
}

/// Options of `lab loss`.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  spinglass lab loss --real
  spinglass lab loss --real --loss 0.2 --seconds 10")]
pub(crate) struct Loss {
    /// Group size
    #[arg(long, default_value_t = 32, value_parser = group_size)]
    members: usize,
    /// Members are processes on loopback; otherwise simulated
    #[arg(long)]
    real: bool,
    /// Shares of packets that every receiver drops
    #[arg(long, value_delimiter = ',', default_value = "0.2,0.5", value_parser = share)]
    loss: Vec<f64>,
    /// Seconds of each run
    #[arg(long, default_value_t = 60.0)]
    seconds: f64,
    /// Messages per second
    #[arg(long, default_value_t = 1000.0)]
    rate: f64,
    /// Bytes per message
    #[arg(long, default_value_t = 1024)]
    size: usize,
    /// How packets are spread, with --real
    #[arg(long, value_enum, default_value_t = Mode::Auto)]
    mode: Mode,
    /// The seed, in the simulator
    #[arg(long, default_value_t = 1)]
    seed: u64,
}

impl Lab {
    /// Whether it has members as processes, or as nodes on sockets, and waits for them; all others
    /// compute.
    pub(crate) const fn is_real(&self) -> bool {
        match self {
            Self::Perturb(options) => options.real,
            Self::Loss(options) => options.real,
            Self::Insiders(options) => options.real,
            Self::Flood(options) => options.real,
            Self::Shares(options) => options.is_real(),
            Self::Real(_) | Self::Fleet(_) | Self::Doors(_) => true,
            _ => false,
        }
    }
}

/// Runs an experiment.
///
/// # Errors
/// It could not be run.
pub(crate) async fn run(lab: &Lab, format: Format) -> Result<Verdict> {
    match lab {
        Lab::Perturb(options) => run_perturb(options, format).await,
        Lab::Loss(options) if !options.real => simulated::loss(options, format),
        Lab::Loss(options) => {
            let experiment = loss::Experiment {
                members: options.members,
                rate: options.rate,
                size: options.size,
                losses: options.loss.clone(),
                seconds: options.seconds,
                mode: options.mode,
            };
            loss::run(&experiment, format).await
        }
        Lab::Run(options) => figures::run_scenario(options, format),
        Lab::Real(options) => real::run(options, format).await,
        Lab::Analysis(options) => simulated::analysis(options, format),
        Lab::Bimodality(options) => simulated::bimodality(options, format),
        Lab::Wan(options) => simulated::wan(options, format),
        Lab::Flat(options) => simulated::flat(options, format),
        Lab::Partition(options) => partition::partition(options, format),
        Lab::Rounds(options) => rounds::rounds(options, format),
        Lab::Fleet(options) => fleet::run(options, format).await,
        Lab::Doors(options) => doors::run(options, format).await,
        Lab::Unstable(options) => unstable::unstable(options, format),
        Lab::Rotation(options) => rotation::rotation(options, format),
        Lab::Insiders(options) => insiders::insiders(options, format).await,
        Lab::Suspicion(options) => suspicion::suspicion(options, format),
        Lab::Shares(options) => shares::shares(options, format).await,
        Lab::Storm(options) => storm::storm(options, format),
        Lab::Speed(options) => simulated::speed(options, format),
        Lab::Determinism(options) => simulated::determinism(options, format),
        Lab::Sim(options) => simulated::sim(options, format),
        Lab::TableSim(options) => table_sim::table_sim(options, format),
        Lab::Flood(options) => flood::flood(options, format).await,
        Lab::Hostile(options) => hostile::run(options, format),
    }
}

/// Group by group; the verdict is the worst one.
async fn run_perturb(options: &Perturb, format: Format) -> Result<Verdict> {
    let mut verdict = Verdict::Good;
    for members in &options.members {
        let group = if options.real {
            let experiment = perturb::Experiment {
                members: *members,
                rate: options.rate,
                size: options.size,
                samples: options.samples,
                asleep: options.asleep.clone(),
                mode: options.mode,
                seed: options.seed,
            };
            perturb::run(&experiment, format).await?
        } else {
            simulated::perturb(options, *members, format)?
        };
        if group == Verdict::Bad {
            verdict = Verdict::Bad;
        }
    }
    Ok(verdict)
}
