//! A system in two halves for ten minutes, each of which goes on by itself, and how soon it is one
//! again.
//!
//! ```text
//!    0 s            100 s                                  700 s
//!    joined ───────▶ cut in half ────────────────────────▶ healed ──▶ looked at every second
//!                     │ attributes change in both halves      │
//!                     │ in one an agent leaves or crashes     ├─ whole: every table is the truth
//!                     │ one removes a function, one installs  └─ nothing removed is held again
//! ```
//!
//! The cut goes along the regions' borders or through their middle, by the seed. An agent that is
//! gone is gone early enough for both halves to have dropped it: in a half of a region that is too
//! small for a quorum that takes 240 rounds of silence.

use std::collections::BTreeSet;
use std::time::Duration;

use serde::Serialize;
use spinglass_core::table::{Kind, Value, ZonePath};
use spinglass_core::{Config, Prng, TableConfig};

use crate::check::Violation;
use crate::network::Network;
use crate::setup::Setup;
use crate::table_check::TableChecker;
use crate::table_truth::{Difference, differences};
use crate::world::World;

/// Seconds that the halves don't hear of each other.
pub const CUT_SECONDS: u64 = 600;
/// Seconds after healing in which it must be one again.
pub const WHOLE_SECONDS_MAX: u64 = 30;
/// Seconds for which healing is watched at most.
const WATCH_SECONDS: u64 = 300;
/// Seconds for which it must stay whole to count.
const STAY_SECONDS: u64 = 20;
/// Seconds in which all find each other, and in which they hear of the first function.
const JOIN_SECONDS: u64 = 60;
const WARM_UP_SECONDS: u64 = 40;
/// Within so many seconds of the cut an agent is gone.
const GONE_SECONDS: u64 = 240;
/// Seconds of the cut between two changes of attributes.
const CHANGE_SECONDS: u64 = 15;
/// Differences told of a system that did not become whole.
const DIFFERENCES_MAX: usize = 4;
const ROUND: Duration = Duration::from_secs(1);
/// The function that is there from the start, and is removed.
const REMOVED: (&str, &str) = ("load", "SELECT MIN(load) AS load, MAX(load) AS most FROM zone");
/// The function that is installed during the cut.
const INSTALLED: (&str, &str) = ("sum", "SELECT SUM(load) AS total, COUNT(*) AS rows FROM zone");

/// Where the cut goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Cut {
    /// Between regions, so that each is whole in one half.
    Along,
    /// Anywhere: regions are torn, evenly or with a few agents on one side.
    Through,
}

/// What a run showed.
#[derive(Debug, Clone, Serialize)]
pub struct Report {
    /// The seed.
    pub seed: u64,
    /// Agents.
    pub agents: usize,
    /// Where the cut went.
    pub cut: Cut,
    /// How the rest was drawn.
    pub knobs: String,
    /// Seconds from healing until every table was whole and true, and stayed so.
    pub whole_seconds: Option<u64>,
    /// Removed rows and functions that somebody took in again, who had dropped them.
    pub returned: usize,
    /// Protocol events handled.
    pub events: u64,
    /// Hash of everything handled.
    pub trace: u64,
    /// What must not happen and did.
    pub violations: Vec<Violation>,
    /// What was still different in the end, if it did not become whole.
    pub differences: Vec<String>,
    /// The command that runs this seed again.
    pub replay: String,
}

impl Report {
    /// Whether it was one system again in time, and nothing removed came back.
    #[must_use]
    pub fn is_good(&self) -> bool {
        let in_time = self.whole_seconds.is_some_and(|seconds| seconds <= WHOLE_SECONDS_MAX);
        in_time && self.returned == 0 && self.violations.is_empty()
    }
}

/// What the seed draws.
#[derive(Debug, Clone)]
struct Knobs {
    region_members: usize,
    zone_children: usize,
    cut: Cut,
    /// Who goes, when, and whether it says good-bye.
    gone: usize,
    gone_at: u64,
    says_goodbye: bool,
    /// Who removes a function, and who installs one, and when.
    remover: usize,
    removed_at: u64,
    installer: usize,
    installed_at: u64,
    /// The zone for which it is installed: so many levels above the installer's region.
    installed_above: usize,
}

impl Knobs {
    fn draw(agents: usize, lose_seed: bool, rng: &mut Prng) -> Self {
        // Agent 0 is everybody's only seed.
        let gone = if lose_seed { 0 } else { rng.index(agents) };
        let mut other = || (gone + 1 + rng.index(agents - 1)) % agents;
        let (remover, installer) = (other(), other());
        Self {
            region_members: 4 + rng.index(6),
            zone_children: 2 + rng.index(2),
            cut: if rng.chance_ppm(500_000) { Cut::Along } else { Cut::Through },
            gone,
            gone_at: rng.below(GONE_SECONDS),
            says_goodbye: rng.chance_ppm(500_000),
            remover,
            removed_at: rng.below(CUT_SECONDS),
            installer,
            installed_at: rng.below(CUT_SECONDS),
            installed_above: rng.index(4),
        }
    }

    /// Which half each agent is in.
    fn halves(&self, setup: &Setup, rng: &mut Prng) -> Vec<u8> {
        let mut agents: Vec<usize> = (0..setup.members).collect();
        shuffle(&mut agents, rng);
        if self.cut == Cut::Along {
            let regions = setup.members.div_ceil(self.region_members);
            let mut order: Vec<usize> = (0..regions).collect();
            shuffle(&mut order, rng);
            agents.sort_by_key(|agent| order.get(agent / self.region_members).copied());
        }
        let mut halves = vec![0; setup.members];
        let mut half = agents.len() / 2;
        if self.cut == Cut::Along {
            // To the next border.
            let region = |at: usize| agents.get(at).map(|agent| agent / self.region_members);
            half = (half..agents.len()).find(|at| region(*at) != region(at - 1)).unwrap_or(half);
        }
        for agent in agents.into_iter().skip(half) {
            halves.iter_mut().skip(agent).take(1).for_each(|half| *half = 1);
        }
        halves
    }
}

fn shuffle(items: &mut [usize], rng: &mut Prng) {
    for last in (1..items.len()).rev() {
        items.swap(last, rng.index(last + 1));
    }
}

/// A run as it goes.
struct Run {
    world: World,
    checker: TableChecker,
    knobs: Knobs,
    rng: Prng,
    left: BTreeSet<usize>,
    lose_seed: bool,
    /// The name of the agent that goes.
    gone_name: String,
}

/// Runs a seed. With `lose_seed` the agent that goes is always the one by which all others joined,
/// so that what a half holds is all that it knows of the other.
///
/// # Panics
/// With fewer than 20 agents there is nothing to cut: a scenario's own mistake.
#[must_use]
pub fn run(agents: usize, seed: u64, lose_seed: bool) -> Report {
    assert!(agents >= 20, "there are regions to cut apart");
    let mut rng = Prng::new(seed).fork("partition");
    let knobs = Knobs::draw(agents, lose_seed, &mut rng);
    let mut config = Config::lan();
    // Multicast rests: nobody publishes.
    config.multicast.round = Duration::from_secs(3600);
    let mut setup = Setup::new(agents, config, seed);
    setup.config.table = TableConfig { round: ROUND, ..TableConfig::default() };
    setup.acquainted = false;
    (setup.region_members, setup.zone_children) = (knobs.region_members, knobs.zone_children);
    let halves = knobs.halves(&setup, &mut rng);
    let world = World::new(setup, Network::default());
    let (checker, left) = (TableChecker::new(true), BTreeSet::new());
    let mut run = Run { world, checker, knobs, rng, left, lose_seed, gone_name: String::new() };
    run.begin();
    run.world.network.parts = halves;
    run.live_apart();
    run.world.network.parts.clear();
    run.heal(seed)
}

impl Run {
    fn pass(&mut self, seconds: u64) {
        self.world.run(Duration::from_secs(seconds), &mut self.checker);
    }

    /// All join, and the function is installed that will be removed.
    fn begin(&mut self) {
        self.pass(JOIN_SECONDS);
        let (name, sql) = REMOVED;
        let installed = self.world.set_summary(0, &ZonePath::root(), name, Some(sql));
        installed.expect("it is a function, and there is room");
        self.change_all();
        self.pass(WARM_UP_SECONDS);
        let own = self.world.node(self.knobs.gone).and_then(|node| node.table().own_row());
        self.gone_name = own.expect("an agent holds its own row").name().to_owned();
        let at = self.world.now().monotonic;
        for found in differences(&self.world, &self.left).into_iter().take(DIFFERENCES_MAX) {
            let what = format!("before the cut: {}", found.what);
            self.checker.violate(found.invariant, found.agent, at, what);
        }
    }

    /// Sets an attribute of every agent.
    fn change_all(&mut self) {
        for agent in 0..self.world.len() {
            let value = Value::Int(agent as i64);
            self.world.set_attribute(agent, "load", value).expect("it runs, and there is room");
        }
    }

    /// The cut, second by second.
    fn live_apart(&mut self) {
        for second in 0..CUT_SECONDS {
            if second == self.knobs.gone_at {
                self.lose_agent();
            }
            if second == self.knobs.removed_at {
                let removed =
                    self.world.set_summary(self.knobs.remover, &ZonePath::root(), REMOVED.0, None);
                removed.expect("it was there from the start");
            }
            if second == self.knobs.installed_at {
                let (name, sql) = INSTALLED;
                let region = self.world.setup().region(self.knobs.installer);
                let above = self.knobs.installed_above.min(region.depth());
                let zone = region.ancestor(region.depth() - above);
                let installed =
                    self.world.set_summary(self.knobs.installer, &zone, name, Some(sql));
                installed.expect("it is a function, and there is room");
            }
            if second.is_multiple_of(CHANGE_SECONDS) {
                self.change();
            }
            self.pass(1);
        }
    }

    fn lose_agent(&mut self) {
        let gone = self.knobs.gone;
        if self.knobs.says_goodbye {
            self.checker.leaving.insert(gone);
            self.world.leave(gone, &mut self.checker);
            self.pass(1);
        }
        self.left.insert(gone);
        self.world.crash(gone);
    }

    /// Sets an attribute in each half.
    fn change(&mut self) {
        for half in 0..2 {
            let is_here = |agent: &usize| {
                let part = self.world.network.parts.get(*agent).copied();
                part == Some(half) && !self.left.contains(agent)
            };
            let here: Vec<usize> = (0..self.world.len()).filter(is_here).collect();
            let Some(agent) = here.get(self.rng.index(here.len())) else { continue };
            let value = Value::Int(self.rng.below(1000) as i64);
            self.world.set_attribute(*agent, "load", value).expect("it runs, and there is room");
        }
    }

    /// Looks at every second how far it is, until it has been whole for a while.
    fn heal(mut self, seed: u64) -> Report {
        let ridden: Vec<(usize, Gone)> = self
            .living()
            .flat_map(|agent| Gone::ALL.map(|what| (agent, what)))
            .filter(|(agent, what)| !self.holds(*agent, *what))
            .collect();
        let (mut whole, mut returned) = (None, BTreeSet::<(usize, Gone)>::new());
        let mut found = Vec::new();
        for second in 0..=WATCH_SECONDS {
            found = differences(&self.world, &self.left);
            whole = if found.is_empty() { whole.or(Some(second)) } else { None };
            let back = ridden.iter().filter(|(agent, what)| self.holds(*agent, *what));
            returned.extend(back);
            if whole.is_some_and(|whole| second >= whole + STAY_SECONDS) {
                break;
            }
            self.pass(1);
        }
        self.report(seed, whole, returned.len(), &found)
    }

    fn living(&self) -> impl Iterator<Item = usize> {
        (0..self.world.len()).filter(|agent| !self.left.contains(agent))
    }

    /// Whether an agent holds what was removed.
    fn holds(&self, agent: usize, what: Gone) -> bool {
        let rows = self.world.node(agent).into_iter().flat_map(|node| node.table().held());
        let (kind, name) = match what {
            Gone::Agent => (Kind::Agent, self.gone_name.as_str()),
            Gone::Function => (Kind::Function, REMOVED.0),
        };
        rows.into_iter().any(|row| row.kind() == kind && !row.is_removed() && row.name() == name)
    }

    fn report(
        self,
        seed: u64,
        whole_seconds: Option<u64>,
        returned: usize,
        found: &[Difference],
    ) -> Report {
        let agents = self.world.len();
        let lose_seed = if self.lose_seed { " --lose-seed" } else { "" };
        let told =
            |found: &Difference| format!("{} at {}: {}", found.invariant, found.agent, found.what);
        Report {
            seed,
            agents,
            cut: self.knobs.cut,
            knobs: format!("{:?}", self.knobs),
            whole_seconds,
            returned,
            events: self.world.handled(),
            trace: self.world.trace(),
            violations: self.checker.violations().to_vec(),
            differences: found.iter().take(DIFFERENCES_MAX).map(told).collect(),
            replay: format!("spinglass lab partition --agents {agents} --seed {seed}{lose_seed}"),
        }
    }
}

/// What is removed during the cut.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Gone {
    /// An agent that left or crashed.
    Agent,
    /// A function.
    Function,
}

impl Gone {
    const ALL: [Self; 2] = [Self::Agent, Self::Function];
}
