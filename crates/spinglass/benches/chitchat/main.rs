//! The bar `table.chitchat`: chitchat, which spreads keys by Scuttlebutt reconciliation, and the
//! table, one after the other in this process, on loopback, with a round of a second each. With
//! `--json` the report is one line of JSON.
//!
//! In each cell `n` nodes of one system become one; nothing happens for a while, which is what an
//! idle node costs; then one node after the other sets a key, each after the one before is
//! everywhere: what is seen is when each other node has it. Starts and updates are scattered over
//! the round, and both systems are told by themselves what they hear: nobody polls.

mod ours;
mod theirs;

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail, ensure};
use rustix::time::{ClockId, clock_gettime};
use serde::Serialize;
use spinglass_core::Prng;
use tokio::sync::mpsc::{self, UnboundedReceiver, UnboundedSender};

use ours::Ours;
use theirs::Theirs;

/// Both systems' round.
pub(crate) const ROUND: Duration = Duration::from_secs(1);
/// The key that is set.
pub(crate) const KEY: &str = "load";
/// Nodes that the others join by.
pub(crate) const SEEDS: usize = 3;
/// How long nodes may take to become one system, and an update to be everywhere.
const PATIENCE: Duration = Duration::from_secs(120);
/// How long a system that is whole is left alone, until its traffic is even.
const SETTLE: Duration = Duration::from_secs(15);

/// What is run: `--nodes 64,128 --updates 10 --idle-seconds 60`.
#[derive(Debug, Clone)]
struct Plan {
    nodes: Vec<usize>,
    updates: usize,
    idle: Duration,
    json: bool,
}

/// A node heard of an update.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Heard {
    pub(crate) node: usize,
    pub(crate) value: i64,
    pub(crate) at: Instant,
}

/// Where nodes tell what they hear.
pub(crate) type Ears = UnboundedSender<Heard>;

/// Nodes of one system, running.
trait Peers {
    /// Waits until every node knows every other one, or counts them.
    async fn form(&self) -> Result<()>;
    /// Tells of each value of the key that a node hears.
    async fn listen(&self, ears: &Ears) -> Result<()>;
    async fn set(&self, node: usize, value: i64) -> Result<()>;
    /// Bytes of UDP payload that all nodes have sent.
    async fn bytes_sent(&self) -> u64;
    async fn stop(self);
}

/// How a system's nodes are arranged, and what it cost.
#[derive(Debug, Serialize)]
struct Cell {
    system: &'static str,
    nodes: usize,
    /// Nodes of a region; 0: the system has none.
    region: usize,
    form_seconds: f64,
    updates: usize,
    /// Milliseconds from the setting until a node has it: over all nodes and updates.
    heard_p50_ms: f64,
    heard_p99_ms: f64,
    /// Until the last node has it, on average.
    last_ms: f64,
    idle: Cost,
    /// The same while keys are set.
    updating: Cost,
}

/// Per node.
#[derive(Debug, Clone, Copy, Serialize)]
struct Cost {
    bytes_per_second: f64,
    /// Microseconds of processor time per second.
    processor_us_per_second: f64,
}

/// What stood on the meters at a moment.
#[derive(Debug, Clone, Copy)]
struct Mark {
    at: Instant,
    processor: Duration,
    bytes: u64,
}

#[derive(Debug, Serialize)]
struct Report {
    round_ms: u128,
    idle_seconds: f64,
    settle_seconds: u64,
    seed: u64,
    chitchat: Vec<Cell>,
    flat: Vec<Cell>,
    zoned: Vec<Cell>,
    /// Ours over theirs, size by size.
    flat_over_chitchat: Vec<Ratios>,
    zoned_over_chitchat: Vec<Ratios>,
    growth: Growth,
}

/// One system's figures over another's.
#[derive(Debug, Serialize)]
struct Ratios {
    nodes: usize,
    heard_p50: f64,
    heard_p99: f64,
    idle_bytes: f64,
    updating_bytes: f64,
    idle_processor: f64,
}

/// By how much more an idle node sends among the most nodes than among the fewest.
#[derive(Debug, Default, Serialize)]
struct Growth {
    chitchat: f64,
    flat: f64,
    zoned: f64,
    /// The numbers' logarithms, one over the other.
    logarithm: f64,
}

const SEED: u64 = 1;

fn main() -> Result<()> {
    let Some(plan) = Plan::read()? else { return Ok(()) };
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let report = runtime.block_on(run(&plan))?;
    if plan.json {
        println!("{}", serde_json::to_string(&report)?);
    } else {
        println!("{}", serde_json::to_string_pretty(&report)?);
    }
    Ok(())
}

impl Plan {
    /// `None`: without `--bench` it is a test run, which asks only whether this builds.
    fn read() -> Result<Option<Self>> {
        let mut plan =
            Self { nodes: vec![64, 128, 256], updates: 10, idle: ROUND * 60, json: false };
        if !std::env::args().any(|word| word == "--bench") {
            return Ok(None);
        }
        let mut words = std::env::args().skip(1);
        while let Some(word) = words.next() {
            let mut value = || words.next().with_context(|| format!("{word} needs a value"));
            match word.as_str() {
                "--bench" => (),
                "--json" => plan.json = true,
                "--nodes" => {
                    let nodes: Result<_, _> = value()?.split(',').map(str::parse).collect();
                    plan.nodes = nodes?;
                }
                "--updates" => plan.updates = value()?.parse()?,
                "--idle-seconds" => plan.idle = Duration::from_secs(value()?.parse()?),
                _ => bail!("no option {word}"),
            }
        }
        ensure!(plan.updates > 0 && !plan.idle.is_zero(), "nothing to measure");
        ensure!(plan.nodes.iter().all(|nodes| *nodes > 1), "a system has two nodes at least");
        Ok(Some(plan))
    }
}

async fn run(plan: &Plan) -> Result<Report> {
    let mut report = Report {
        round_ms: ROUND.as_millis(),
        idle_seconds: plan.idle.as_secs_f64(),
        settle_seconds: SETTLE.as_secs(),
        seed: SEED,
        chitchat: Vec::new(),
        flat: Vec::new(),
        zoned: Vec::new(),
        flat_over_chitchat: Vec::new(),
        zoned_over_chitchat: Vec::new(),
        growth: Growth::default(),
    };
    for &nodes in &plan.nodes {
        let begin = Instant::now();
        let peers = Theirs::start(nodes).await?;
        report.chitchat.push(measure(plan, ("chitchat", nodes, 0), peers, begin).await?);
        let begin = Instant::now();
        let peers = Ours::start(nodes, nodes).await?;
        report.flat.push(measure(plan, ("flat", nodes, nodes), peers, begin).await?);
        let begin = Instant::now();
        let region = nodes.isqrt();
        let peers = Ours::start(nodes, region).await?;
        report.zoned.push(measure(plan, ("zoned", nodes, region), peers, begin).await?);
    }
    report.flat_over_chitchat = ratios(&report.flat, &report.chitchat);
    report.zoned_over_chitchat = ratios(&report.zoned, &report.chitchat);
    let idle = |cells| growth(cells, |cell| cell.idle.bytes_per_second);
    report.growth = Growth {
        chitchat: idle(&report.chitchat),
        flat: idle(&report.flat),
        zoned: idle(&report.zoned),
        logarithm: growth(&report.zoned, |cell| (cell.nodes as f64).ln()),
    };
    Ok(report)
}

fn ratios(ours: &[Cell], theirs: &[Cell]) -> Vec<Ratios> {
    let ratio = |(ours, theirs): (&Cell, &Cell)| Ratios {
        nodes: ours.nodes,
        heard_p50: ours.heard_p50_ms / theirs.heard_p50_ms,
        heard_p99: ours.heard_p99_ms / theirs.heard_p99_ms,
        idle_bytes: ours.idle.bytes_per_second / theirs.idle.bytes_per_second,
        updating_bytes: ours.updating.bytes_per_second / theirs.updating.bytes_per_second,
        idle_processor: ours.idle.processor_us_per_second / theirs.idle.processor_us_per_second,
    };
    ours.iter().zip(theirs).map(ratio).collect()
}

fn growth(cells: &[Cell], figure: impl Fn(&Cell) -> f64) -> f64 {
    let (first, last) = (cells.first().map(&figure), cells.last().map(&figure));
    last.unwrap_or(f64::NAN) / first.unwrap_or(f64::NAN)
}

async fn measure(
    plan: &Plan,
    (system, nodes, region): (&'static str, usize, usize),
    peers: impl Peers,
    begin: Instant,
) -> Result<Cell> {
    let formed = tokio::time::timeout(PATIENCE, peers.form()).await;
    formed.with_context(|| format!("{system}: {nodes} nodes do not become one system"))??;
    let form_seconds = begin.elapsed().as_secs_f64();
    tokio::time::sleep(SETTLE).await;
    let from = Mark::now(&peers).await;
    tokio::time::sleep(plan.idle).await;
    let idle = Mark::now(&peers).await.since(from, nodes);
    let (ears, mut heard) = mpsc::unbounded_channel();
    peers.listen(&ears).await?;
    // What was there before is told at once.
    tokio::time::sleep(ROUND).await;
    let from = Mark::now(&peers).await;
    let mut rng = Prng::new(SEED).fork("updates");
    let (mut delays, mut lasts) = (Vec::new(), Vec::new());
    for value in (1..).take(plan.updates) {
        let pause = u32::try_from(rng.index(1000))?;
        tokio::time::sleep(ROUND + ROUND * pause / 1000).await;
        let source = rng.index(nodes);
        let set = Instant::now();
        peers.set(source, value).await?;
        let times = everywhere(&mut heard, nodes, source, value).await?;
        let times: Vec<_> = times.into_iter().map(|at| milliseconds(at, set)).collect();
        lasts.push(times.iter().copied().fold(0.0, f64::max));
        delays.extend(times);
    }
    let updating = Mark::now(&peers).await.since(from, nodes);
    peers.stop().await;
    delays.sort_by(f64::total_cmp);
    let cell = Cell {
        system,
        nodes,
        region,
        form_seconds,
        updates: plan.updates,
        heard_p50_ms: percentile(&delays, 50),
        heard_p99_ms: percentile(&delays, 99),
        last_ms: lasts.iter().sum::<f64>() / plan.updates as f64,
        idle,
        updating,
    };
    eprintln!("{}", serde_json::to_string(&cell)?);
    Ok(cell)
}

/// When each node but its source heard of an update.
async fn everywhere(
    heard: &mut UnboundedReceiver<Heard>,
    nodes: usize,
    source: usize,
    value: i64,
) -> Result<Vec<Instant>> {
    let (mut waiting, mut times): (BTreeSet<_>, _) = ((0..nodes).collect(), Vec::new());
    waiting.remove(&source);
    let all = async {
        while !waiting.is_empty() {
            let news = heard.recv().await.context("nobody listens")?;
            if news.value == value && waiting.remove(&news.node) {
                times.push(news.at);
            }
        }
        anyhow::Ok(())
    };
    let all = tokio::time::timeout(PATIENCE, all).await;
    all.with_context(|| format!("update {value} is not everywhere"))??;
    Ok(times)
}

impl Mark {
    async fn now(peers: &impl Peers) -> Self {
        let time = clock_gettime(ClockId::ProcessCPUTime);
        let seconds = u64::try_from(time.tv_sec).unwrap_or(0);
        let processor = Duration::new(seconds, u32::try_from(time.tv_nsec).unwrap_or(0));
        Self { at: Instant::now(), processor, bytes: peers.bytes_sent().await }
    }

    fn since(self, before: Self, nodes: usize) -> Cost {
        let seconds = (self.at - before.at).as_secs_f64() * nodes as f64;
        let processor = self.processor.saturating_sub(before.processor);
        Cost {
            bytes_per_second: (self.bytes - before.bytes) as f64 / seconds,
            processor_us_per_second: processor.as_secs_f64() * 1e6 / seconds,
        }
    }
}

fn milliseconds(at: Instant, since: Instant) -> f64 {
    at.saturating_duration_since(since).as_secs_f64() * 1000.0
}

/// Of what is sorted: the least that so many percent do not exceed.
fn percentile(sorted: &[f64], percent: usize) -> f64 {
    let rank = (sorted.len() * percent).div_ceil(100).max(1);
    sorted.get(rank - 1).copied().unwrap_or(f64::NAN)
}
