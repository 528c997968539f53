//! Objects and the texts of functions, simulated: fetched whole over bad networks, from whoever has
//! them, within budgets, whatever sources do.

#![expect(clippy::unwrap_used, reason = "whatever fails here fails the test")]

use std::collections::BTreeMap;
use std::time::Duration;

use bytes::Bytes;
use spinglass_core::link::Header;
use spinglass_core::object::{ObjectName, ObjectState, PIECE_BYTES};
use spinglass_core::table::{Function, NewFunction, Value, ZonePath};
use spinglass_core::{
    Config, DetectorConfig, Event, Instant, Node, Prng, Reject, TableConfig, Transmit,
};
use spinglass_sim::{Blind, Network, Observer, Setup, World};

/// Agents in regions of five.
const AGENTS: usize = 15;
/// A fifth of all datagrams is lost.
const LOSSY: u32 = 200_000;
/// Seeds of each test.
const SEEDS: u64 = 50;

fn fabric(seed: u64, tamper_ppm: u32) -> World {
    let mut config = Config::lan();
    // Multicast rests, so that the table and its objects are most of what happens.
    config.multicast.round = Duration::from_secs(60);
    let mut setup = Setup::new(AGENTS, config, seed);
    setup.config.table = TableConfig::default();
    // At this loss it takes a live agent out of its region now and then: that is its own tests'
    // matter.
    setup.config.detector = DetectorConfig::off();
    (setup.region_members, setup.zone_children) = (5, 3);
    setup.tamper_ppm = tamper_ppm;
    World::new(setup, Network { loss_ppm: LOSSY, ..Network::default() })
}

fn run(world: &mut World, seconds: u64, observer: &mut impl Observer) {
    world.run(Duration::from_secs(seconds), observer);
}

fn content(seed: u64, bytes: usize) -> Bytes {
    let mut rng = Prng::new(seed);
    (0..bytes).map(|_| rng.next_u64() as u8).collect()
}

fn has(world: &World, agent: usize, name: &ObjectName, bytes: &Bytes) -> bool {
    world.node(agent).unwrap().objects().state(name) == ObjectState::Held(bytes.clone())
}

/// Runs until some agents have an object.
fn run_until_held(
    world: &mut World,
    agents: &[usize],
    (name, bytes): (&ObjectName, &Bytes),
    observer: &mut impl Observer,
) {
    for _ in 0..60 {
        if agents.iter().all(|agent| has(world, *agent, name, bytes)) {
            agents.iter().for_each(|agent| world.node(*agent).unwrap().check_invariants());
            return;
        }
        run(world, 1, observer);
    }
    let states = agents.iter().map(|agent| world.node(*agent).unwrap().objects().state(name));
    let states: Vec<_> = states
        .map(|state| match state {
            ObjectState::Held(_) => "held".into(),
            other => format!("{other:?}"),
        })
        .collect();
    panic!("seed {}: after a minute: {states:?}", world.setup().seed);
}

/// Adds up the bytes of pieces and of requests for them, by agent and round of objects.
#[derive(Default)]
struct Budgets {
    served: BTreeMap<(usize, u64), usize>,
    asked: BTreeMap<(usize, u64), u64>,
}

const RECORD: u8 = 6;
const ASK: u8 = 26;
const PIECE: u8 = 27;

impl Observer for Budgets {
    fn event(&mut self, _: Instant, _: usize, _: u64, _: &Event) {}

    fn sent(&mut self, at: Instant, agent: usize, node: &Node, _: &Transmit, segments: &[u8]) {
        let round = at.as_nanos() / 100_000_000;
        // The simulated seal hides nothing. A long header is followed by the sender's record.
        let (_, header) = Header::parse(segments).unwrap();
        let record = usize::from(u16::from_le_bytes([segments[header + 1], segments[header + 2]]));
        let frame = if segments[header] == RECORD { header + 3 + record } else { header };
        match segments[frame] {
            PIECE => {
                assert!(segments.len() <= 1200, "{} bytes", segments.len());
                *self.served.entry((agent, round)).or_default() += segments.len();
            }
            // A cumulative count: the last one of a round stands.
            ASK => {
                self.asked.insert((agent, round), node.stats().object_pieces_asked);
            }
            _ => (),
        }
    }
}

impl Budgets {
    /// The most bytes served in a round, and the most pieces asked for.
    fn most(&self) -> (usize, u64) {
        let mut last = BTreeMap::new();
        let mut most = 0;
        for ((agent, _), total) in &self.asked {
            let before = last.insert(*agent, *total).unwrap_or(0);
            most = most.max(total - before);
        }
        (self.served.values().copied().max().unwrap_or(0), most)
    }
}

#[test]
fn two_objects_reach_everybody_within_budgets() {
    let (mut most_served, mut most_asked) = (0, 0);
    for seed in 0..SEEDS {
        let mut world = fabric(seed, 0);
        run(&mut world, 25, &mut Blind);
        let (small, large) = (content(seed, 1 + seed as usize * 7), content(seed ^ 9, 300_000));
        let name = world.put_object(3, "small", small.clone()).unwrap();
        let other = world.put_object(7, "large", large.clone()).unwrap();
        run(&mut world, 8, &mut Blind);
        let mut budgets = Budgets::default();
        for agent in 0..AGENTS {
            world.fetch_object(agent, name, &mut budgets).unwrap();
            world.fetch_object(agent, other, &mut budgets).unwrap();
        }
        let all: Vec<usize> = (0..AGENTS).collect();
        run_until_held(&mut world, &all, (&name, &small), &mut budgets);
        run_until_held(&mut world, &all, (&other, &large), &mut budgets);
        let (served, asked) = budgets.most();
        (most_served, most_asked) = (served.max(most_served), asked.max(most_asked));
        let helpers = (0..AGENTS).filter(|agent| world.stats(*agent).object_pieces_sent > 0);
        assert!(helpers.count() > 2, "seed {seed}: only the owners served");
    }
    // 64 KiB a round, and no more pieces than they carry; and the budget is what binds.
    assert!((32 << 10..=64 << 10).contains(&most_served), "{most_served} bytes in a round");
    let pieces = (64 << 10) / PIECE_BYTES as u64;
    assert!((20..=pieces).contains(&most_asked), "{most_asked} pieces in a round");
}

#[test]
fn a_dead_source_does_not_stop_a_fetch() {
    let mut gave_up = 0;
    for seed in 0..SEEDS {
        let mut world = fabric(seed, 0);
        run(&mut world, 25, &mut Blind);
        let bytes = content(seed, 400_000);
        let name = world.put_object(0, "doc", bytes.clone()).unwrap();
        run(&mut world, 8, &mut Blind);
        // One copy more, then the owner dies while three others fetch.
        world.fetch_object(1, name, &mut Blind).unwrap();
        run_until_held(&mut world, &[1], (&name, &bytes), &mut Blind);
        let late = [2, 3, 12];
        late.iter().for_each(|agent| world.fetch_object(*agent, name, &mut Blind).unwrap());
        world.run(Duration::from_millis(700), &mut Blind);
        assert!(!late.iter().all(|agent| has(&world, *agent, &name, &bytes)), "seed {seed}");
        world.crash(0);
        run(&mut world, 40, &mut Blind);
        // A fetch that has asked none but the dead one and whoever lost its question gives up; the
        // next one finds the others.
        for agent in late {
            if !has(&world, agent, &name, &bytes) {
                gave_up += 1;
                world.fetch_object(agent, name, &mut Blind).unwrap();
            }
        }
        run_until_held(&mut world, &late, (&name, &bytes), &mut Blind);
    }
    assert!(gave_up <= SEEDS / 10, "{gave_up} fetches gave up");
}

#[test]
fn forged_pieces_are_refused_and_their_source_is_left() {
    let (mut forged, mut whole) = (0, 0);
    for seed in 0..SEEDS {
        // Every third agent damages most of what it sends, and holds the object like others.
        let mut world = fabric(seed, 600_000);
        run(&mut world, 60, &mut Blind);
        let bytes = content(seed, 100_000);
        // Whoever holds these bytes names them alike, and here both the forger and a good one do.
        let name = world.put_object(2, "doc", bytes.clone()).unwrap();
        assert_eq!(world.put_object(4, "doc", bytes.clone()), Ok(name));
        let honest = [0, 1, 3];
        run(&mut world, 20, &mut Blind);
        honest.iter().for_each(|agent| world.fetch_object(*agent, name, &mut Blind).unwrap());
        run_until_held(&mut world, &honest, (&name, &bytes), &mut Blind);
        whole += honest.len();
        for agent in honest {
            let stats = world.stats(agent);
            forged += stats.rejected(Reject::Forged);
            assert!(stats.object_pieces_received == u64::from(name.pieces()), "seed {seed}");
        }
    }
    assert_eq!(whole, 3 * SEEDS as usize);
    assert!(forged > 20, "only {forged} forgeries were met: the test shows nothing");
}

/// A function of exactly this many bytes.
fn text(bytes: usize, column: &str) -> String {
    let mut sql = format!("SELECT MIN(load) AS {column} FROM zone WHERE load IS NOT NULL");
    while sql.len() + 20 < bytes {
        sql += " AND load < 99999999";
    }
    let missing = bytes - sql.len();
    sql + &" ".repeat(missing)
}

fn root(world: &World, agent: usize, column: &str) -> Option<Value> {
    let summary = world.node(agent)?.table().summary(&ZonePath::root())?;
    summary.attributes.get(column).cloned()
}

/// Whether a function of this text holds at an agent.
fn in_force(world: &World, agent: usize, sql: &str) -> bool {
    let functions = world.node(agent).unwrap().table().functions(&ZonePath::root()).unwrap();
    functions.iter().any(|function| function.function.sql() == sql)
}

#[test]
fn long_functions_hold_everywhere_and_lapse_everywhere() {
    let long = text(Function::SQL_BYTES_MAX, "load");
    for seed in 0..SEEDS {
        let mut world = fabric(seed, 0);
        run(&mut world, 25, &mut Blind);
        for agent in 0..AGENTS {
            world.set_attribute(agent, "load", Value::Int(agent as i64 + 5)).unwrap();
        }
        let short = NewFunction::from("SELECT MIN(load) AS load FROM zone");
        world.set_function(4, &ZonePath::root(), "least", Some(short)).unwrap();
        run(&mut world, 30, &mut Blind);
        let lasting = NewFunction { sql: &long, lasts: Some(Duration::from_secs(60)) };
        world.set_function(11, &ZonePath::root(), "least", Some(lasting)).unwrap();
        // Whoever has heard of the new text but not fetched it goes on with the old one.
        for _ in 0..40 {
            run(&mut world, 1, &mut Blind);
            for agent in 0..AGENTS {
                let holds = in_force(&world, agent, short.sql) || in_force(&world, agent, &long);
                assert!(holds, "agent {agent} of seed {seed} has neither");
            }
        }
        for agent in 0..AGENTS {
            assert!(in_force(&world, agent, &long), "agent {agent} of seed {seed}");
            assert_eq!(root(&world, agent, "load"), Some(Value::Int(5)), "{agent} of {seed}");
        }
        run(&mut world, 30, &mut Blind);
        for agent in 0..AGENTS {
            let table = world.node(agent).unwrap().table();
            assert_eq!(table.functions(&ZonePath::root()).unwrap().len(), 1, "{agent} of {seed}");
            let is_passed_on = table.held().any(|row| row.name() == "least");
            assert!(!is_passed_on, "agent {agent} of seed {seed} still holds its row");
        }
    }
}

#[test]
fn a_lapsed_function_is_installed_anew_and_one_without_a_lifetime_stays() {
    let mut world = fabric(1, 0);
    run(&mut world, 25, &mut Blind);
    let sql = "SELECT COUNT(*) AS n FROM zone";
    let brief = NewFunction { sql, lasts: Some(Duration::from_secs(20)) };
    world.set_function(2, &ZonePath::root(), "n", Some(brief)).unwrap();
    run(&mut world, 15, &mut Blind);
    assert!((0..AGENTS).all(|agent| in_force(&world, agent, sql)));
    // An agent that was away while it lapsed does not bring it back.
    world.crash(9);
    run(&mut world, 15, &mut Blind);
    world.restart(9);
    run(&mut world, 30, &mut Blind);
    assert!(!(0..AGENTS).any(|agent| in_force(&world, agent, sql)));
    world.set_function(13, &ZonePath::root(), "n", Some(sql.into())).unwrap();
    run(&mut world, 200, &mut Blind);
    assert!((0..AGENTS).all(|agent| in_force(&world, agent, sql)));
}

#[test]
fn an_object_that_nobody_has_is_given_up() {
    let mut world = fabric(1, 0);
    run(&mut world, 20, &mut Blind);
    let name = ObjectName::parse("object:00000000000000000000000000000007:5000").unwrap();
    world.fetch_object(3, name, &mut Blind).unwrap();
    run(&mut world, 40, &mut Blind);
    let state = world.node(3).unwrap().objects().state(&name);
    assert_eq!(state, ObjectState::Failed(spinglass_core::object::Failure::NotFound));
}
