//! Rapid's troubles (ATC 2018, section 7): ten agents of a thousand crash, or hear nobody for 20 of
//! every 40 seconds, or lose 80 % of what they send or receive. Who is removed, how soon, does
//! anybody oscillate, and is any healthy agent removed?

use std::collections::BTreeSet;
use std::time::Duration;

use serde::Serialize;
use spinglass_core::{Config, Prng};

use crate::network::{Lossy, Network};
use crate::setup::Setup;
use crate::world::{Blind, World};

/// What befalls the ten.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Trouble {
    /// They crash.
    Crash,
    /// They lose all that comes in, 20 s on and 20 s off.
    FlipFlop,
    /// They lose 80 % of what comes in.
    LossyIn,
    /// They lose 80 % of what they send.
    LossyOut,
}

impl Trouble {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Crash, Self::FlipFlop, Self::LossyIn, Self::LossyOut];
}

/// What to run.
#[derive(Debug, Clone, Serialize)]
pub struct Parameters {
    /// What befalls some.
    pub trouble: Trouble,
    /// Agents.
    pub agents: usize,
    /// Agents per region; 0: all are in one.
    pub region: usize,
    /// How many are in trouble.
    pub troubled: usize,
    /// How long it lasts, in seconds.
    pub seconds: u64,
    /// The seed.
    pub seed: u64,
}

/// What was seen.
#[derive(Debug, Clone, Serialize)]
pub struct Report {
    /// What was run.
    pub parameters: Parameters,
    /// Healthy agents that some healthy one removed.
    pub healthy_removed: usize,
    /// Agents in trouble that all healthy ones of their region had removed in the end.
    pub removed: usize,
    /// Returns of removed agents while they were in trouble.
    pub returns: usize,
    /// Seconds until the last of them was removed by all for the first time.
    pub last_seconds: Option<f64>,
    /// Bytes that an agent sent per second.
    pub bytes_per_second: f64,
}

/// Quiet before the trouble.
const WARM_UP: Duration = Duration::from_secs(20);
/// How often the agents are looked at.
const LOOK: Duration = Duration::from_millis(500);
/// How long a flip, and a flop, lasts.
const FLIP_SECONDS: u64 = 20;
const LOSSY_PPM: u32 = 800_000;

/// Runs it.
#[must_use]
pub fn run(parameters: &Parameters) -> Report {
    let Parameters { trouble, agents, region, troubled, seconds, seed } = *parameters;
    let mut config = Config::lan();
    // Multicast rests: nobody publishes.
    config.multicast.round = Duration::from_secs(3600);
    let mut setup = Setup::new(agents, config, seed);
    setup.region_members = region;
    let mut world = World::new(setup, Network::default());
    world.run(WARM_UP, &mut Blind);
    let mut rng = Prng::new(seed).fork("unstable");
    let mut ill = BTreeSet::new();
    while ill.len() < troubled.min(agents) {
        ill.insert(rng.index(agents));
    }
    if trouble == Trouble::Crash {
        ill.iter().for_each(|agent| world.crash(*agent));
    }
    let sent = |world: &World| -> u64 {
        (0..world.len()).map(|agent| world.stats(agent).bytes_sent).sum()
    };
    let before = sent(&world);
    let mut watch = Watch { ill, out: BTreeSet::new(), first: BTreeSet::new(), returns: 0 };
    let (mut healthy_removed, mut last_seconds) = (BTreeSet::new(), None);
    let looks = u128::from(seconds) * 1000 / LOOK.as_millis();
    for look in 1..=u32::try_from(looks).unwrap_or(u32::MAX) {
        let now = LOOK * (look - 1);
        afflict(&mut world, trouble, &watch.ill, now);
        world.run(LOOK, &mut Blind);
        healthy_removed.extend(watch.look(&world));
        if watch.first.len() == watch.ill.len() && last_seconds.is_none() {
            last_seconds = Some((now + LOOK).as_secs_f64());
        }
    }
    Report {
        healthy_removed: healthy_removed.len(),
        removed: watch.out.len(),
        returns: watch.returns,
        last_seconds,
        bytes_per_second: (sent(&world) - before) as f64 / agents as f64 / seconds.max(1) as f64,
        parameters: parameters.clone(),
    }
}

fn afflict(world: &mut World, trouble: Trouble, ill: &BTreeSet<usize>, now: Duration) {
    let flips = (now.as_secs() / FLIP_SECONDS).is_multiple_of(2);
    let lossy = match trouble {
        Trouble::Crash => return,
        Trouble::FlipFlop => Lossy { in_ppm: if flips { 1_000_000 } else { 0 }, out_ppm: 0 },
        Trouble::LossyIn => Lossy { in_ppm: LOSSY_PPM, out_ppm: 0 },
        Trouble::LossyOut => Lossy { in_ppm: 0, out_ppm: LOSSY_PPM },
    };
    world.network.lossy = ill.iter().map(|agent| (*agent, lossy)).collect();
}

/// Who has been removed so far.
struct Watch {
    ill: BTreeSet<usize>,
    /// Those of the ill whom all have removed now.
    out: BTreeSet<usize>,
    /// Those whom all had removed at some time.
    first: BTreeSet<usize>,
    returns: usize,
}

impl Watch {
    /// Looks at all healthy agents' tables; returns the healthy agents that somebody lacks.
    fn look(&mut self, world: &World) -> Vec<usize> {
        let mut lacking = vec![0; world.len()];
        let mut sizes = vec![0; world.len()];
        let mut regions = std::collections::BTreeMap::<_, Vec<usize>>::new();
        for agent in 0..world.len() {
            regions.entry(world.setup().region(agent)).or_default().push(agent);
        }
        for members in regions.values() {
            for agent in members.iter().filter(|agent| !self.ill.contains(agent)) {
                let Some(node) = world.node(*agent) else { continue };
                let rows = node.table().rows(node.table().region()).unwrap_or_default();
                let names: BTreeSet<usize> = rows
                    .iter()
                    .filter_map(|row| row.name().strip_prefix('n')?.parse().ok())
                    .collect();
                for other in members.iter().filter(|other| *other != agent) {
                    sizes[*other] += 1;
                    lacking[*other] += usize::from(!names.contains(other));
                }
            }
        }
        for agent in &self.ill {
            if lacking[*agent] == sizes[*agent] {
                self.out.insert(*agent);
                self.first.insert(*agent);
            } else if lacking[*agent] == 0 && self.out.remove(agent) {
                self.returns += 1;
            }
        }
        let is_lost = |agent: &usize| !self.ill.contains(agent) && lacking[*agent] > 0;
        (0..world.len()).filter(is_lost).collect()
    }
}
