//! The failure detector, simulated: who is removed, how soon, and who never is.

use std::time::Duration;

use spinglass_core::Config;
use spinglass_sim::{Blind, Lossy, Network, Setup, World};

/// One region of agents that hold its whole table.
fn region(agents: usize, seed: u64, network: Network) -> World {
    let mut config = Config::lan();
    config.multicast.round = Duration::from_secs(60);
    let mut setup = Setup::new(agents, config, seed);
    setup.region_members = 0;
    let mut world = World::new(setup, network);
    run(&mut world, 5);
    world
}

fn run(world: &mut World, seconds: u64) {
    world.run(Duration::from_secs(seconds), &mut Blind);
}

/// Whether `agent` holds a row of `other`.
fn holds(world: &World, agent: usize, other: usize) -> bool {
    let table = world.node(agent).expect("it lives").table();
    table.row(table.region(), &format!("n{other:07}")).is_some()
}

/// How many of the living and well hold no row of `other`.
fn missing(world: &World, other: usize) -> usize {
    let is_well =
        |agent: &usize| world.node(*agent).is_some() && !world.network.lossy.contains_key(agent);
    let others = (0..world.len()).filter(is_well).filter(|agent| *agent != other);
    others.filter(|agent| !holds(world, *agent, other)).count()
}

/// Everybody that somebody living and well has removed.
fn removed(world: &World) -> Vec<usize> {
    (0..world.len()).filter(|other| missing(world, *other) > 0).collect()
}

#[test]
fn a_crash_is_known_to_all_within_seconds() {
    for seed in 0..20 {
        let mut world = region(64, seed, Network { loss_ppm: 50_000, ..Network::default() });
        let dead = [7, 19, 40];
        dead.iter().for_each(|agent| world.crash(*agent));
        run(&mut world, 15);
        for agent in dead {
            assert_eq!(missing(&world, agent), 61, "agent {agent} of seed {seed}");
        }
        run(&mut world, 60);
        assert_eq!(removed(&world), dead, "seed {seed}");
    }
}

#[test]
fn loss_that_strikes_all_removes_nobody() {
    for (seed, loss_ppm) in [(0, 50_000), (1, 200_000), (2, 300_000)] {
        let mut world = region(64, seed, Network { loss_ppm, ..Network::default() });
        run(&mut world, 300);
        assert_eq!(removed(&world), [], "seed {seed}");
    }
}

#[test]
fn whoever_is_cut_off_accuses_nobody_when_it_is_back() {
    for seed in 0..8 {
        let mut world = region(64, seed, Network::default());
        for _ in 0..6 {
            (0..16).for_each(|agent| world.block(agent, Duration::from_millis(8192)));
            run(&mut world, 10);
        }
        let healthy: Vec<_> = removed(&world).into_iter().filter(|other| *other >= 16).collect();
        assert_eq!(healthy, [], "seed {seed}");
        // And they come back by themselves.
        run(&mut world, 100);
        assert_eq!(removed(&world), [], "seed {seed}");
    }
}

#[test]
fn a_path_that_carries_nothing_removes_nobody() {
    let mut world = region(32, 1, Network::default());
    world.network.blocked = (0..3).flat_map(|to| [(4, to), (to, 4)]).collect();
    run(&mut world, 200);
    assert_eq!(removed(&world), []);
}

#[test]
fn one_that_hears_nobody_half_the_time_goes_and_stays_away() {
    for seed in 0..4 {
        let mut world = region(64, seed, Network::default());
        let mut returns = 0;
        for _ in 0..8 {
            let was_out = missing(&world, 9) == 63;
            world.network.lossy.insert(9, Lossy { in_ppm: 1_000_000, out_ppm: 0 });
            run(&mut world, 20);
            assert_eq!(missing(&world, 9), 63, "seed {seed}");
            world.network.lossy.clear();
            run(&mut world, 20);
            returns += usize::from(was_out && missing(&world, 9) == 0);
        }
        assert_eq!((returns, removed(&world)), (0, vec![9]), "seed {seed}");
        run(&mut world, 100);
        assert_eq!(removed(&world), [], "seed {seed}");
    }
}

#[test]
fn one_that_loses_most_is_removed() {
    for seed in 0..4 {
        for lossy in [Lossy { in_ppm: 800_000, out_ppm: 0 }, Lossy { in_ppm: 0, out_ppm: 800_000 }]
        {
            let mut world = region(64, seed, Network::default());
            world.network.lossy.insert(9, lossy);
            run(&mut world, 60);
            assert_eq!(removed(&world), [9], "seed {seed}, {lossy:?}");
        }
    }
}
