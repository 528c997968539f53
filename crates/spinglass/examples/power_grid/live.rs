//! The grid on loopback: seventeen nodes, real sockets, a plot.

use std::fmt::Write as _;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use spinglass::{Config, Event, Group, Node, Rating, Subscription, Value, ZonePath};
use tokio::time::{Instant, MissedTickBehavior, interval, sleep};

use super::Outcome;
use super::model::{Grid, NOMINAL_HZ, wanted};

const REGIONS: [&str; 4] = ["ny", "nj", "pa", "ct"];
/// Readings per second of each sensor and contract, and how many times as many a storm brings.
const READINGS: u64 = 10;
const STORM_TIMES: u64 = 50;
/// What relays and the market take of each topic.
const RELAY_SHARE: f64 = 0.2;
const MARKET_SHARE: f64 = 0.02;
/// What a relay is to be sent at most, in bytes per second.
const RELAY_CAP: u64 = 60_000;
/// Between two steps of the model.
const STEP: Duration = Duration::from_millis(10);

/// How far from the nominal frequency a plot goes.
const PLOTTED_HZ: f64 = 0.03;

/// The physical grid, which sensors read and producers act upon.
#[derive(Clone)]
struct Plant {
    grid: Arc<Mutex<Grid>>,
    is_storm: Arc<AtomicBool>,
}

/// What those of one kind heard.
#[derive(Default)]
struct Heard {
    readings: AtomicU64,
    gaps: AtomicU64,
}

impl Plant {
    fn with<T>(&self, act: impl FnOnce(&mut Grid) -> T) -> T {
        act(&mut self.grid.lock().unwrap_or_else(PoisonError::into_inner))
    }

    async fn live(self) {
        let mut ticks = interval(STEP);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Burst);
        loop {
            ticks.tick().await;
            let is_storm = self.is_storm.load(Ordering::Relaxed);
            self.with(|grid| grid.step(STEP.as_secs_f64(), is_storm));
        }
    }

    /// Publishes readings, as often as the weather has it.
    async fn sense(self, topic: Group, read: impl Fn(&Grid) -> f64) {
        let mut due = Instant::now();
        loop {
            let reading = self.with(|grid| read(grid));
            if topic.publish(format!("{reading:.4}")).await.is_err() {
                return;
            }
            let times = if self.is_storm.load(Ordering::Relaxed) { STORM_TIMES } else { 1 };
            due += Duration::from_secs(1) / (READINGS * times) as u32;
            due = due.max(Instant::now() - Duration::from_millis(100));
            tokio::time::sleep_until(due).await;
        }
    }

    /// A producer: hears its region's frequency and its contract's load, and acts upon them.
    async fn produce(
        self,
        at: usize,
        mut hz: Subscription,
        mut load: Subscription,
        heard: Arc<Heard>,
    ) {
        let (mut last_hz, mut last_load) = (NOMINAL_HZ, 0.8);
        loop {
            let event = tokio::select! {
                Some(event) = hz.next() => (event, &mut last_hz),
                Some(event) = load.next() => (event, &mut last_load),
                else => return,
            };
            if let Some(reading) = note(&event.0, &heard) {
                *event.1 = reading;
                self.with(|grid| grid.regions[at].wanted = wanted(last_load, last_hz));
            }
        }
    }
}

/// Counts what was heard; the reading, if it is one.
fn note(event: &Event, heard: &Heard) -> Option<f64> {
    match event {
        Event::Message(message) => {
            heard.readings.fetch_add(1, Ordering::Relaxed);
            std::str::from_utf8(&message.payload).ok()?.parse().ok()
        }
        Event::Gap(gap) => {
            heard.gaps.fetch_add(gap.packets, Ordering::Relaxed);
            None
        }
        _ => None,
    }
}

async fn listen(mut topic: Subscription, heard: Arc<Heard>) {
    while let Some(event) = topic.next().await {
        note(&event, &heard);
    }
}

/// Whoever takes part, and what was heard.
struct Cast {
    nodes: Vec<Arc<Node>>,
    producers: Arc<Heard>,
    relays: Arc<Heard>,
    market: Arc<Heard>,
}

impl Cast {
    async fn start(&mut self, name: &str, region: &str, cap: u64) -> Outcome<Arc<Node>> {
        let mut config = Config::lan();
        config.table.round = Duration::from_millis(200);
        let builder = Node::builder().config(config).name(name).region(region);
        let seeds = self.nodes.first().map(|node| node.local_addr());
        let node = Arc::new(builder.receive_rate_max(cap).seeds(seeds).start().await?);
        self.nodes.push(Arc::clone(&node));
        Ok(node)
    }

    fn share(node: &Node, topic: &str, share: f64) -> Outcome<Subscription> {
        let group = node.group(topic);
        group.set_rating(Rating::new(share)?);
        Ok(group.subscribe())
    }
}

/// Runs it, plots each second, and tells what was seen.
///
/// # Errors
/// A node does not start, or who takes everything lacked something.
pub(crate) async fn run(phases: [u32; 3]) -> Outcome<String> {
    let plant =
        Plant { grid: Arc::new(Mutex::new(Grid::new(REGIONS.len()))), is_storm: Arc::default() };
    let mut cast = Cast {
        nodes: Vec::new(),
        producers: Arc::default(),
        relays: Arc::default(),
        market: Arc::default(),
    };
    let market = cast.start("market", "/market", 0).await?;
    let mut all = market.groups("grid/#")?;
    all.set_rating(Rating::new(MARKET_SHARE)?);
    tokio::spawn(listen(all.subscribe(), Arc::clone(&cast.market)));
    let mut sensors = Vec::new();
    for (at, region) in REGIONS.iter().enumerate() {
        let zone = format!("/grid/{region}");
        let frequency = format!("grid/{region}/frequency");
        // Consumers here, and the producer there, have a contract.
        let contract = format!("grid/contract/{region}");
        let sensor = cast.start("sensor", &zone, 0).await?;
        let consumer = cast.start("consumer", &zone, 0).await?;
        let producer = cast.start("producer", &zone, 0).await?;
        let relay = cast.start("relay", &zone, RELAY_CAP).await?;
        let own = format!("grid/contract/{}", REGIONS[(at + 1) % REGIONS.len()]);
        let (hz, load) = (producer.group(&frequency).subscribe(), producer.group(&own).subscribe());
        tokio::spawn(plant.clone().produce(at, hz, load, Arc::clone(&cast.producers)));
        for topic in [&frequency, &contract, &own] {
            let heard = Cast::share(&relay, topic, RELAY_SHARE)?;
            tokio::spawn(listen(heard, Arc::clone(&cast.relays)));
        }
        sensors.push((at, sensor, frequency, consumer, contract));
    }
    for node in &cast.nodes {
        node.wait_for_members(cast.nodes.len()).await?;
    }
    let sql = "SELECT AVG(hz) AS hz, MIN(hz) AS least_hz FROM zone";
    market.table().install(&ZonePath::root(), "frequency", sql).await?;
    tokio::spawn(plant.clone().live());
    let tables: Vec<Arc<Node>> = sensors.iter().map(|(_, sensor, ..)| Arc::clone(sensor)).collect();
    for (at, sensor, frequency, consumer, contract) in sensors {
        let hz = sensor.group(&frequency);
        tokio::spawn(plant.clone().sense(hz, move |grid| grid.regions[at].hz));
        let load = consumer.group(&contract);
        tokio::spawn(plant.clone().sense(load, move |grid| grid.regions[at].used));
    }
    let plots = watch(&plant, &cast, &tables, phases).await?;
    conclude(&cast, &plots).await
}

/// Lets the phases pass; returns each region's frequencies, one a second.
async fn watch(
    plant: &Plant,
    cast: &Cast,
    tables: &[Arc<Node>],
    phases: [u32; 3],
) -> Outcome<Vec<Vec<f64>>> {
    let mut plots = vec![Vec::new(); REGIONS.len()];
    for (phase, seconds) in phases.into_iter().enumerate() {
        plant.is_storm.store(phase == 1, Ordering::Relaxed);
        for _ in 0..seconds {
            let before = counts(cast);
            sleep(Duration::from_secs(1)).await;
            let after = counts(cast);
            let now = plant.with(|grid| grid.regions.clone());
            let mut line = String::from(if phase == 1 { "storm" } else { "calm " });
            for (at, region) in now.iter().enumerate() {
                plots[at].push(region.hz);
                tables[at].table().set("hz", region.hz).await?;
                write!(line, "  {} {:.3} {}", REGIONS[at], region.hz, plot(&[region.hz]))?;
            }
            let came = after.iter().zip(before).map(|(after, before)| after - before);
            let [producers, relays, market, gaps] = came.collect::<Vec<_>>()[..] else { continue };
            println!(
                "{line}  heard: producers {producers}, relays {relays} and {gaps} gaps, market \
                 {market}"
            );
        }
    }
    Ok(plots)
}

fn counts(cast: &Cast) -> [u64; 4] {
    let of = |heard: &Heard| heard.readings.load(Ordering::Relaxed);
    let gaps = cast.relays.gaps.load(Ordering::Relaxed);
    [of(&cast.producers), of(&cast.relays), of(&cast.market), gaps]
}

/// Within [`PLOTTED_HZ`] of what it ought to be.
fn plot(values: &[f64]) -> String {
    const BARS: [char; 8] = ['▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];
    let bar = |hz: &f64| {
        let at = ((hz - NOMINAL_HZ) / PLOTTED_HZ * 4.0 + 4.0).clamp(0.0, 7.0);
        BARS[at as usize]
    };
    values.iter().map(bar).collect()
}

async fn conclude(cast: &Cast, plots: &[Vec<f64>]) -> Outcome<String> {
    let mut seen = String::new();
    let farthest = plots.iter().flatten().map(|hz| (hz - NOMINAL_HZ).abs()).fold(0.0, f64::max);
    writeln!(seen, "\nfarthest from {NOMINAL_HZ} Hz: {farthest:.3}")?;
    for (region, values) in REGIONS.iter().zip(plots) {
        writeln!(seen, "{region} {}", plot(values))?;
    }
    let market = cast.nodes.first().ok_or("nobody")?;
    let grid = market.table().zone(&ZonePath::parse("/grid")?).await?;
    for row in &grid.rows {
        let attributes = row.row.attributes();
        if let Some(Value::Float(hz)) = attributes.get("hz") {
            writeln!(seen, "the table says of {}: {:.3} Hz", row.row.name(), hz.get())?;
        }
    }
    let lacked = cast.producers.gaps.load(Ordering::Relaxed);
    if lacked > 0 {
        return Err(format!("producers, who take everything, lacked {lacked} readings").into());
    }
    writeln!(seen, "producers lacked nothing")?;
    Ok(seen)
}
