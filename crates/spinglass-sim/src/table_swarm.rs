//! Swarm runs of the table: every knob drawn from the seed, all faults at once, then healing.
//!
//! First phase: the network and the hosts do all that they can, attributes are set, functions come
//! and go; whatever happens, [`TableChecker`] holds (safety). Second phase: the network heals,
//! clocks are right again, the crashed are back, and within stated bounds every table says what
//! [`table_truth`](crate::table_truth) computes: after healing, after a change, after a crash.

use std::collections::BTreeSet;
use std::time::Duration;

use serde::Serialize;
use spinglass_core::table::{Value, ZonePath};
use spinglass_core::{Config, DetectorConfig, Pattern, Prng, Rating, Start, TableConfig, TopicId};

use crate::check::Violation;
use crate::network::{Burst, Network};
use crate::setup::Setup;
use crate::table_check::TableChecker;
use crate::table_truth::differences;
use crate::world::World;

/// A round of the table.
const ROUND: Duration = Duration::from_secs(1);
/// Rounds for all to find each other at first.
const WARM_UP_ROUNDS: u32 = 40;
/// Steps of the first phase; knobs turn between them.
const STEPS: u32 = 24;
const ROUNDS_PER_STEP: u32 = 3;
/// Rounds from healing until all is well. What takes longest: a removed agent stays away for as
/// long as it was ill, 30 rounds, and 10 more; a row from a clock that was ahead is issued anew
/// after 60; the dead who left for good are dropped from the tables above after 40 per level.
const HEAL_ROUNDS: u32 = 180;
/// Rounds from a crash until nobody has the dead: a region too small for a quorum drops it when an
/// observer has accused it for 40 rounds; then the zones above must hear of it.
const CRASH_ROUNDS: u32 = 80;
/// Agents of a region before one of them goes for good: with fewer nobody can tell its silence from
/// the network's, and its row goes only when it has been silent for 240 rounds.
const WITNESSES_MIN: usize = 4;
/// Differences told of one look; the first tells most.
const DIFFERENCES_MAX: usize = 4;
/// Patterns that agents take topics by.
const PATTERNS: [&str; 3] = ["grid/#", "grid/+/hz", "#"];
/// Functions that come and go.
const FUNCTIONS: [(&str, &str); 4] = [
    ("load", "SELECT MIN(load) AS load, MAX(most) AS most FROM zone"),
    ("sum", "SELECT SUM(load) AS total, COUNT(*) AS rows FROM zone"),
    ("few", "SELECT FIRST(2, contacts) AS few FROM zone WHERE load > 20"),
    (
        "core",
        "SELECT SUM(nmembers) AS nmembers, FIRST(2, contacts) AS contacts, MAX(depth) + 1 AS depth \
         FROM zone",
    ),
];

/// What a run showed.
#[derive(Debug, Clone, Serialize)]
pub struct TableSwarmReport {
    /// The seed.
    pub seed: u64,
    /// How the knobs stood.
    pub knobs: String,
    /// Protocol events handled.
    pub events: u64,
    /// Hash of everything handled.
    pub trace: u64,
    /// Rows looked at as news at some agent.
    pub rows: u64,
    /// Agents that a quorum of observers removed, counted at each one that did.
    pub removed: u64,
    /// Datagrams and rows refused: replayed, forged, and misplaced or from the future.
    pub refused: [u64; 3],
    /// What must not happen and did.
    pub violations: Vec<Violation>,
    /// The command that runs this seed again.
    pub replay: String,
}

/// The knobs of one run.
#[derive(Debug, Clone)]
struct Knobs {
    agents: usize,
    region_members: usize,
    zone_children: usize,
    /// Only what must not harm an agent that nothing ails: then none of those may be dropped.
    mild: bool,
    network: Network,
    sleep_ppm: u32,
    tamper_ppm: u32,
    crash_ppm: u32,
    leave_ppm: u32,
    clocks: bool,
    partitions: bool,
    blocked_paths: usize,
    /// All crash at once, as healing begins.
    outage: bool,
    detector: bool,
    bytes_per_round: usize,
    real_crypto: bool,
}

impl Knobs {
    fn draw(rng: &mut Prng) -> Self {
        // Each fault is at work in about half of the runs, at a dose drawn evenly.
        let dose = |rng: &mut Prng, most: u64| {
            if rng.chance_ppm(500_000) { u32::try_from(rng.below(most)).unwrap_or(0) } else { 0 }
        };
        let mild = rng.chance_ppm(400_000);
        let real_crypto = rng.chance_ppm(50_000);
        let burst = Burst {
            slot: Duration::from_millis(50 + rng.below(450)),
            bad_ppm: dose(rng, 100_000),
            loss_ppm: 800_000,
        };
        let least = rng.below(5_000);
        Self {
            agents: 4 + rng.index(if real_crypto { 6 } else { 20 }),
            region_members: if mild { 6 + rng.index(10) } else { 2 + rng.index(8) },
            zone_children: [0, 2, 3].get(rng.index(3)).copied().unwrap_or(0),
            mild,
            network: Network {
                delay_min: Duration::from_micros(least),
                delay_max: Duration::from_micros(least + u64::from(dose(rng, 60_000)) + 100),
                loss_ppm: dose(rng, if mild { 50_000 } else { 300_000 }),
                burst: Some(burst).filter(|_| !mild),
                duplicate_ppm: dose(rng, 300_000),
                corrupt_ppm: dose(rng, 100_000),
                replay_ppm: dose(rng, 300_000),
                ..Network::default()
            },
            sleep_ppm: dose(rng, if mild { 300_000 } else { 900_000 }),
            tamper_ppm: if real_crypto || mild { 0 } else { dose(rng, 200_000) },
            crash_ppm: if mild { 0 } else { dose(rng, 60_000) },
            leave_ppm: if mild { 0 } else { dose(rng, 10_000) },
            clocks: rng.chance_ppm(400_000),
            partitions: !mild && rng.chance_ppm(400_000),
            blocked_paths: if mild { rng.index(2) } else { rng.index(6) },
            outage: rng.chance_ppm(150_000),
            detector: mild || rng.chance_ppm(800_000),
            bytes_per_round: if rng.chance_ppm(300_000) { 4 << 10 } else { 16 << 10 },
            real_crypto,
        }
    }

    fn setup(&self, seed: u64) -> Setup {
        let mut config = Config::lan();
        // Multicast nearly rests: its rounds tell only who is there.
        config.multicast.round = ROUND;
        if !self.detector {
            config.detector = DetectorConfig::off();
        }
        let mut setup = Setup::new(self.agents, config, seed);
        setup.config.table =
            TableConfig { bytes_per_round: self.bytes_per_round, ..TableConfig::default() };
        (setup.acquainted, setup.real_crypto) = (false, self.real_crypto);
        setup.tamper_ppm = self.tamper_ppm;
        (setup.region_members, setup.zone_children) = (self.region_members, self.zone_children);
        setup
    }
}

/// A run as it goes.
struct Swarm {
    world: World,
    checker: TableChecker,
    knobs: Knobs,
    rng: Prng,
    /// Agents that have left, and don't come back.
    left: BTreeSet<usize>,
}

/// One run of everything at once.
#[must_use]
pub fn table_swarm(seed: u64) -> TableSwarmReport {
    let mut rng = Prng::new(seed).fork("table swarm");
    let knobs = Knobs::draw(&mut rng);
    let world = World::new(knobs.setup(seed), Network::default());
    let mut checker = TableChecker::new(!knobs.real_crypto);
    if knobs.tamper_ppm > 0 {
        checker.tampered = (0..knobs.agents).filter(|agent| World::is_tamperer(*agent)).collect();
    }
    let mut swarm = Swarm { world, checker, knobs, rng, left: BTreeSet::new() };
    swarm.run(WARM_UP_ROUNDS);
    swarm.begin_faults();
    for _ in 0..STEPS {
        swarm.turn();
        swarm.change();
        swarm.run(ROUNDS_PER_STEP);
    }
    swarm.heal();
    swarm.run(HEAL_ROUNDS);
    swarm.settle("healing");
    swarm.change();
    swarm.run(swarm.spread_rounds());
    swarm.settle("a change");
    swarm.bury();
    swarm.run(CRASH_ROUNDS);
    swarm.settle("a crash");
    swarm.report(seed)
}

impl Swarm {
    fn run(&mut self, rounds: u32) {
        self.world.run(ROUND * rounds, &mut self.checker);
        (0..self.knobs.agents)
            .filter_map(|agent| self.world.node(agent))
            .for_each(spinglass_core::Node::check_invariants);
    }

    /// Rounds within which a change is everywhere: three times the logarithm and six more for each
    /// level [RELIABILITY 4.2], and six for representatives who wait for each other.
    fn spread_rounds(&self) -> u32 {
        let levels = self.world.setup().region(0).depth() as u32 + 1;
        let log = self.knobs.agents.next_power_of_two().ilog2();
        levels * (3 * log + 12)
    }

    fn begin_faults(&mut self) {
        self.world.network = self.knobs.network.clone();
        if self.knobs.mild {
            let ill = |agent: &usize| self.knobs.sleep_ppm > 0 && agent % 4 == 1;
            self.checker.well = (0..self.knobs.agents).filter(|agent| !ill(agent)).collect();
        }
        for _ in 0..self.knobs.blocked_paths {
            let (a, b) = (self.any(), self.any());
            self.world.network.blocked.insert((a, b));
            self.checker.parted.extend([(a, b), (b, a)]);
        }
    }

    fn any(&mut self) -> usize {
        self.rng.index(self.knobs.agents)
    }

    /// Turns the knobs that turn: who sleeps, who is cut off, whose clock is wrong, who crashes or
    /// leaves, who comes back.
    fn turn(&mut self) {
        for agent in 0..self.knobs.agents {
            self.world.set_sleep(agent, if agent % 4 == 1 { self.knobs.sleep_ppm } else { 0 });
            let (crash, leave) = (self.knobs.crash_ppm, self.knobs.leave_ppm);
            if self.left.contains(&agent) || self.rng.chance_ppm(crash) {
                self.world.crash(agent);
            } else if self.world.node(agent).is_none() {
                if self.rng.chance_ppm(300_000) {
                    self.world.restart(agent);
                }
            } else if agent > 0 && self.rng.chance_ppm(leave) && self.is_watched(agent) {
                self.checker.leaving.insert(agent);
                self.left.insert(agent);
                self.world.leave(agent, &mut self.checker);
            }
        }
        if self.knobs.partitions && self.rng.chance_ppm(250_000) {
            let share = [100_000, 500_000].get(self.rng.index(2)).copied().unwrap_or(0);
            let parts = (0..self.knobs.agents).map(|_| u8::from(self.rng.chance_ppm(share)));
            self.world.network.parts = parts.collect();
        } else if self.rng.chance_ppm(200_000) {
            self.world.network.parts.clear();
        }
        if self.knobs.clocks {
            let hour = 3_600_000;
            let ahead = [30_000, hour, 8_766 * hour, -24 * hour, 0];
            let ahead = ahead.get(self.rng.index(ahead.len())).copied().unwrap_or(0);
            let agent = self.any();
            self.world.set_clock(agent, ahead);
        }
    }

    /// Sets an attribute, and installs or removes a function, at random agents that run.
    fn change(&mut self) {
        let agent = self.any();
        let name = ["load", "most", "note"].get(self.rng.index(3)).copied().unwrap_or("load");
        let value = Value::Int(self.rng.below(100) as i64);
        // A crashed agent's table is closed.
        let _closed = self.world.set_attribute(agent, name, value);
        self.change_topics();
        let agent = self.any();
        // Others refuse a function from the future, and nobody ever issues it anew.
        let is_right = self.world.local_now(agent) == self.world.now();
        if is_right && self.rng.chance_ppm(400_000) {
            let region = self.world.setup().region(agent);
            let zone: ZonePath = region.ancestor(self.rng.index(region.depth() + 1));
            let (name, sql) = FUNCTIONS.get(self.rng.index(4)).copied().unwrap_or(("load", ""));
            let sql = Some(sql).filter(|_| self.rng.chance_ppm(700_000));
            // Nobody there, or no function of this name: there is nothing to change.
            let _nothing = self.world.set_summary(agent, &zone, name, sql);
        }
    }

    /// Has an agent take a share of a topic, or of those that a pattern matches.
    fn change_topics(&mut self) {
        let (agent, topic) = (self.any(), TopicId([self.rng.below(4) as u8; 8]));
        let share = [0, 10_000, 200_000, 1_000_000].get(self.rng.index(4)).copied();
        let rating = share.and_then(|share| Rating::from_millionths(share).ok());
        let rating = rating.unwrap_or_default();
        if self.rng.chance_ppm(500_000) {
            let text = PATTERNS.get(self.rng.index(PATTERNS.len())).copied().unwrap_or("#");
            let pattern = Pattern::new(text).expect("a pattern");
            // These few are never too many.
            let _ok = self.world.subscribe_pattern(agent, &pattern, Start::Live, rating);
            return;
        }
        self.world.subscribe(agent, topic, Start::Live);
        self.world.rate(agent, topic, rating);
    }

    /// Whether an agent's region has enough agents, running or to run again, to miss it.
    fn is_watched(&self, agent: usize) -> bool {
        let setup = self.world.setup();
        let region = setup.region(agent);
        let stays = |other: &usize| setup.region(*other) == region && !self.left.contains(other);
        (0..self.knobs.agents).filter(stays).count() >= WITNESSES_MIN
    }

    fn heal(&mut self) {
        self.world.network = Network::default();
        self.checker.well.clear();
        self.checker.parted.clear();
        for agent in 0..self.knobs.agents {
            self.world.set_sleep(agent, 0);
            self.world.set_clock(agent, 0);
            if self.knobs.outage {
                self.world.crash(agent);
            }
        }
        for agent in 0..self.knobs.agents {
            if self.left.contains(&agent) {
                self.world.crash(agent);
            } else {
                self.world.restart(agent);
            }
        }
    }

    /// Compares every table with the truth. From here on nothing ails those who run.
    fn settle(&mut self, after: &str) {
        let at = self.world.now().monotonic;
        for found in differences(&self.world, &self.left).into_iter().take(DIFFERENCES_MAX) {
            let what = format!("after {after}: {}", found.what);
            self.checker.violate(found.invariant, found.agent, at, what);
        }
        let runs = |agent: &usize| self.world.node(*agent).is_some();
        let tampers = |agent: &usize| self.checker.tampered.contains(agent);
        self.checker.well =
            (0..self.knobs.agents).filter(|agent| runs(agent) && !tampers(agent)).collect();
    }

    /// Crashes two agents for good, of regions in which enough are left to tell.
    fn bury(&mut self) {
        for _ in 0..2 {
            let agent = self.any();
            if self.knobs.detector && self.is_watched(agent) {
                self.checker.well.remove(&agent);
                self.left.insert(agent);
                self.world.crash(agent);
            }
        }
    }

    fn report(self, seed: u64) -> TableSwarmReport {
        use spinglass_core::Reject::{Forged, Misplaced, Replayed};
        let (mut refused, mut removed) = ([0; 3], 0);
        for agent in 0..self.world.len() {
            let stats = self.world.stats(agent);
            removed += stats.agents_removed;
            for (sum, reject) in refused.iter_mut().zip([Replayed, Forged, Misplaced]) {
                *sum += stats.rejected(reject);
            }
        }
        TableSwarmReport {
            seed,
            knobs: format!("{:?}", self.knobs),
            events: self.world.handled(),
            trace: self.world.trace(),
            rows: self.checker.rows,
            removed,
            refused,
            violations: self.checker.violations().to_vec(),
            replay: format!("spinglass lab table-sim --seed {seed}"),
        }
    }
}
