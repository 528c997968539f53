//! The hierarchical table, simulated: what every agent sees in the end, whatever happens between.

use std::time::Duration;

use spinglass_core::Config;
use spinglass_core::TableConfig;
use spinglass_core::table::{Value, ZonePath};
use spinglass_sim::{Blind, Network, Setup, World};

const LOAD: &str = "SELECT MIN(load) AS load, MAX(most) AS most FROM zone";

/// Agents in regions of five, three regions to a zone; they join through agent 0.
fn fabric(agents: usize, seed: u64, network: Network) -> World {
    let mut config = Config::lan();
    // Multicast rests, so that a round of the table is most of what happens.
    config.multicast.round = Duration::from_secs(60);
    let mut setup = Setup::new(agents, config, seed);
    setup.config.table = TableConfig::default();
    setup.acquainted = false;
    (setup.region_members, setup.zone_children) = (5, 3);
    World::new(setup, network)
}

fn rounds(world: &mut World, rounds: u64) {
    world.run(Duration::from_secs(rounds), &mut Blind);
}

/// What an agent believes of the root.
fn root(world: &World, agent: usize, name: &str) -> Option<Value> {
    let summary = world.node(agent)?.table().summary(&ZonePath::root())?;
    summary.attributes.get(name).cloned()
}

fn count(world: &World, agent: usize) -> i64 {
    root(world, agent, "nmembers").and_then(|value| value.as_int()).unwrap_or(0)
}

#[test]
fn agents_that_join_by_one_seed_become_one_table() {
    let mut world = fabric(45, 1, Network::default());
    rounds(&mut world, 40);
    for agent in 0..45 {
        assert_eq!(count(&world, agent), 45, "agent {agent}");
        world.node(agent).unwrap().check_invariants();
    }
}

#[test]
fn an_attribute_set_anywhere_reaches_every_root() {
    let mut world = fabric(45, 2, Network { loss_ppm: 100_000, ..Network::default() });
    rounds(&mut world, 60);
    world.set_summary(17, &ZonePath::root(), "load", Some(LOAD)).unwrap();
    for agent in 0..45 {
        world.set_attribute(agent, "load", Value::Int(100 + agent as i64)).unwrap();
        world.set_attribute(agent, "most", Value::Int(agent as i64)).unwrap();
    }
    rounds(&mut world, 40);
    world.set_attribute(44, "load", Value::Int(-7)).unwrap();
    rounds(&mut world, 30);
    for agent in 0..45 {
        assert_eq!(root(&world, agent, "load"), Some(Value::Int(-7)), "agent {agent}");
        assert_eq!(root(&world, agent, "most"), Some(Value::Int(44)), "agent {agent}");
    }
}

#[test]
fn representatives_that_die_are_replaced() {
    let mut world = fabric(45, 3, Network::default());
    rounds(&mut world, 60);
    // Two of three who speak for each region; in one, all three.
    let dead: Vec<usize> = (0..45).filter(|agent| agent % 5 < 2 || *agent == 22).collect();
    dead.iter().for_each(|agent| world.crash(*agent));
    rounds(&mut world, 120);
    for agent in (0..45).filter(|agent| !dead.contains(agent)) {
        assert_eq!(count(&world, agent), 26, "agent {agent}");
    }
    dead.iter().for_each(|agent| world.restart(*agent));
    rounds(&mut world, 90);
    for agent in 0..45 {
        assert_eq!(count(&world, agent), 45, "agent {agent}");
    }
}

#[test]
fn halves_become_one_and_nothing_removed_comes_back() {
    for seed in 0..8 {
        let mut world = fabric(45, seed, Network::default());
        rounds(&mut world, 60);
        world.set_summary(1, &ZonePath::root(), "load", Some(LOAD)).unwrap();
        rounds(&mut world, 40);
        let functions = |world: &World, agent: usize| -> Vec<String> {
            let table = world.node(agent).unwrap().table();
            let functions = table.functions(&ZonePath::root()).unwrap();
            functions.into_iter().map(|function| function.name).collect()
        };
        // Through the middle of regions, too.
        world.network.parts = (0..45).map(|agent| u8::from(agent >= 22)).collect();
        rounds(&mut world, 60);
        world.set_summary(1, &ZonePath::root(), "load", None).unwrap();
        world.crash(44);
        rounds(&mut world, 540);
        assert_eq!((count(&world, 0), count(&world, 43)), (22, 22), "seed {seed}");
        assert_eq!(functions(&world, 43), ["core", "load"], "seed {seed}");
        world.network.parts.clear();
        rounds(&mut world, 30);
        for agent in 0..44 {
            assert_eq!(count(&world, agent), 44, "agent {agent} of seed {seed}");
            assert_eq!(functions(&world, agent), ["core"], "agent {agent} of seed {seed}");
        }
    }
}

#[test]
fn who_leaves_is_gone_within_rounds() {
    let mut world = fabric(45, 4, Network::default());
    rounds(&mut world, 60);
    world.leave(44, &mut Blind);
    rounds(&mut world, 20);
    for agent in 0..44 {
        assert_eq!(count(&world, agent), 44, "agent {agent}");
    }
    // A whole zone, its region's last agents included: nobody is left to take it out.
    for agent in 30..44 {
        world.leave(agent, &mut Blind);
        rounds(&mut world, 1);
        world.crash(agent);
    }
    rounds(&mut world, 20);
    for agent in 0..30 {
        assert_eq!(count(&world, agent), 30, "agent {agent}");
        let zones = world.node(agent).unwrap().table().rows(&ZonePath::root()).unwrap();
        assert_eq!(zones.len(), 2, "agent {agent}");
    }
}
