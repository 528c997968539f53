//! Lifeguard's measurement of failure detectors (DSN 2018, section V): some agents of a group
//! neither send nor receive for a while, again and again. How often is somebody declared failed
//! who was not one of them, and how soon is one of them who stays away for long?
//!
//! The same troubles meet Spinglass's core, SWIM, and SWIM with Lifeguard.

use std::collections::BTreeSet;
use std::time::Duration;

use serde::Serialize;
use spinglass_core::{Config, Prng};

use crate::network::Network;
use crate::setup::Setup;
use crate::swim::{Settings, Swim};
use crate::world::{Blind, World};

/// Whose failure detector.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Detector {
    /// Ours.
    Spinglass,
    /// SWIM, as memberlist builds it.
    Swim,
    /// The same with Lifeguard.
    Lifeguard,
}

/// What to run.
#[derive(Debug, Clone, Serialize)]
pub struct Parameters {
    /// Whose.
    pub detector: Detector,
    /// Agents.
    pub agents: usize,
    /// Of these, in trouble at the same time.
    pub troubled: usize,
    /// How long each trouble lasts, in milliseconds.
    pub trouble_ms: u64,
    /// What passes between two, in milliseconds.
    pub pause_ms: u64,
    /// How long it goes on, in seconds; at least one trouble is waited for.
    pub seconds: u64,
    /// The seed.
    pub seed: u64,
}

/// What was seen.
#[derive(Debug, Clone, Default, Serialize)]
pub struct Report {
    /// Agents not in trouble declared failed by somebody: (who, whom) pairs.
    pub false_positives: u64,
    /// Of these, declared by agents not in trouble.
    pub false_at_healthy: u64,
    /// Seconds until the first healthy agent had declared one in trouble failed.
    pub first_seconds: Vec<f64>,
    /// Seconds until all healthy agents had.
    pub full_seconds: Vec<f64>,
    /// Bytes sent by all agents.
    pub bytes: u64,
    /// Seconds of virtual time, over all agents.
    pub agent_seconds: f64,
}

impl Report {
    /// Adds another run's.
    pub fn add(&mut self, other: Self) {
        self.false_positives += other.false_positives;
        self.false_at_healthy += other.false_at_healthy;
        self.first_seconds.extend(other.first_seconds);
        self.full_seconds.extend(other.full_seconds);
        self.bytes += other.bytes;
        self.agent_seconds += other.agent_seconds;
    }
}

/// Time before the first trouble.
const WARM_UP: Duration = Duration::from_secs(15);
/// How often the agents are looked at.
const LOOK: Duration = Duration::from_millis(250);
/// SWIM's and Lifeguard's shortest timeout of a suspicion, over the logarithm of the group's size:
/// memberlist's setting for local networks in Lifeguard's measurements.
const ALPHA: u64 = 5;

/// A group under test.
trait Group {
    fn block(&mut self, agent: usize, span: Duration);
    fn run(&mut self, span: Duration);
    /// Failures declared since the last look: who, whom.
    fn declared(&mut self) -> Vec<(usize, usize)>;
    fn holds_failed(&self, agent: usize, about: usize) -> bool;
    fn bytes(&self) -> u64;
}

impl Group for Swim {
    fn block(&mut self, agent: usize, span: Duration) {
        Self::block(self, agent, span);
    }

    fn run(&mut self, span: Duration) {
        Self::run(self, span);
    }

    fn declared(&mut self) -> Vec<(usize, usize)> {
        self.failures.drain(..).map(|failure| (failure.by, failure.about)).collect()
    }

    fn holds_failed(&self, agent: usize, about: usize) -> bool {
        Self::holds_failed(self, agent, about)
    }

    fn bytes(&self) -> u64 {
        self.bytes
    }
}

/// One region of Spinglass's agents, and whom each holds a row of.
struct Region {
    world: World,
    revisions: Vec<u64>,
    held: Vec<Vec<bool>>,
}

impl Region {
    fn new(agents: usize, seed: u64) -> Self {
        let mut config = Config::lan();
        // Multicast rests: nobody publishes.
        config.multicast.round = Duration::from_secs(3600);
        let mut setup = Setup::new(agents, config, seed);
        setup.region_members = 0;
        let world = World::new(setup, Network::default());
        Self { world, revisions: vec![0; agents], held: vec![vec![true; agents]; agents] }
    }
}

impl Group for Region {
    fn block(&mut self, agent: usize, span: Duration) {
        self.world.block(agent, span);
    }

    fn run(&mut self, span: Duration) {
        self.world.run(span, &mut Blind);
    }

    fn declared(&mut self) -> Vec<(usize, usize)> {
        let mut declared = Vec::new();
        for agent in 0..self.world.len() {
            let Some(node) = self.world.node(agent) else { continue };
            let table = node.table();
            if self.revisions[agent] == table.revision() {
                continue;
            }
            self.revisions[agent] = table.revision();
            let rows = table.rows(table.region()).unwrap_or_default();
            let mut held = vec![false; self.world.len()];
            let numbers = rows.iter().filter_map(|row| row.name().strip_prefix('n')?.parse().ok());
            numbers.for_each(|other: usize| held[other] = true);
            let gone = (0..held.len()).filter(|other| self.held[agent][*other] && !held[*other]);
            declared.extend(gone.map(|other| (agent, other)));
            self.held[agent] = held;
        }
        declared
    }

    fn holds_failed(&self, agent: usize, about: usize) -> bool {
        !self.held[agent][about]
    }

    fn bytes(&self) -> u64 {
        (0..self.world.len()).map(|agent| self.world.stats(agent).bytes_sent).sum()
    }
}

/// Runs it.
#[must_use]
pub fn run(parameters: &Parameters) -> Report {
    let Parameters { detector, agents, seed, .. } = *parameters;
    let lifeguard = detector == Detector::Lifeguard;
    match detector {
        Detector::Spinglass => trouble(&mut Region::new(agents, seed), parameters),
        Detector::Swim | Detector::Lifeguard => {
            let settings = Settings { agents, alpha: ALPHA, lifeguard, seed };
            trouble(&mut Swim::new(settings), parameters)
        }
    }
}

fn trouble(group: &mut impl Group, parameters: &Parameters) -> Report {
    let Parameters { agents, troubled, trouble_ms, pause_ms, seconds, seed, .. } = *parameters;
    let mut rng = Prng::new(seed).fork("trouble");
    let mut chosen = BTreeSet::new();
    while chosen.len() < troubled.min(agents) {
        chosen.insert(rng.index(agents));
    }
    let healthy: Vec<usize> = (0..agents).filter(|agent| !chosen.contains(agent)).collect();
    group.run(WARM_UP);
    group.declared();
    let (before, mut report) = (group.bytes(), Report::default());
    let (span, pause) = (Duration::from_millis(trouble_ms), Duration::from_millis(pause_ms));
    let (mut passed, all) = (Duration::ZERO, Duration::from_secs(seconds).max(span + pause));
    while passed < all {
        chosen.iter().for_each(|agent| group.block(*agent, span));
        let mut waiting: Vec<(usize, bool)> = chosen.iter().map(|agent| (*agent, false)).collect();
        // Only those who were held for well at the beginning can be found.
        waiting.retain(|(about, _)| healthy.iter().all(|by| !group.holds_failed(*by, *about)));
        let mut within = Duration::ZERO;
        while within < span {
            let step = LOOK.min(span - within);
            group.run(step);
            within += step;
            count(group.declared(), &chosen, &mut report);
            waiting.retain_mut(|(about, is_first_known)| {
                let mut knowing = healthy.iter().filter(|by| group.holds_failed(**by, *about));
                if !*is_first_known && knowing.next().is_some() {
                    *is_first_known = true;
                    report.first_seconds.push(within.as_secs_f64());
                }
                let all_know = healthy.iter().all(|by| group.holds_failed(*by, *about));
                if all_know {
                    report.full_seconds.push(within.as_secs_f64());
                }
                !all_know
            });
        }
        group.run(pause);
        count(group.declared(), &chosen, &mut report);
        passed += span + pause;
    }
    report.bytes = group.bytes() - before;
    report.agent_seconds = passed.as_secs_f64() * agents as f64;
    report
}

fn count(declared: Vec<(usize, usize)>, troubled: &BTreeSet<usize>, report: &mut Report) {
    for (by, about) in declared {
        if !troubled.contains(&about) {
            report.false_positives += 1;
            report.false_at_healthy += u64::from(!troubled.contains(&by));
        }
    }
}
