//! Agents that nobody told of one another: they find each other by their announcements, and the
//! larger system does not announce more.

use std::time::Duration;

use spinglass_core::table::ZonePath;
use spinglass_core::{Config, TableConfig};
use spinglass_sim::{Blind, Network, Setup, World};

/// Agents in regions of five, three regions to a zone, in islands that know nothing of each other.
fn islands(agents: usize, island_members: usize, seed: u64, announces: bool) -> World {
    let mut config = Config::lan();
    // Multicast rests: what happens is the table's doing.
    config.multicast.round = Duration::from_secs(3600);
    config.discovery.turn = Duration::from_secs(u64::from(announces));
    let mut setup = Setup::new(agents, config, seed);
    setup.config.table = TableConfig::default();
    setup.acquainted = false;
    (setup.region_members, setup.zone_children) = (5, 3);
    setup.island_members = island_members;
    World::new(setup, Network::default())
}

fn run(world: &mut World, seconds: u64) {
    world.run(Duration::from_secs(seconds), &mut Blind);
}

/// What an agent believes to be the number of agents.
fn count(world: &World, agent: usize) -> i64 {
    let table = world.node(agent).map(spinglass_core::Node::table);
    let summary = table.and_then(|table| table.summary(&ZonePath::root()));
    summary.and_then(|summary| summary.attributes.get("nmembers")?.as_int()).unwrap_or(0)
}

fn counts(world: &World) -> Vec<i64> {
    (0..world.len()).map(|agent| count(world, agent)).collect()
}

#[test]
fn two_halves_with_no_common_seed_become_one() {
    for seed in 0..20 {
        // The halves meet in the middle of a zone, and of a region.
        let mut world = islands(46, 23, seed, true);
        world.network.parts = (0..46).map(|agent| u8::from(agent >= 23)).collect();
        run(&mut world, 60);
        assert_eq!((count(&world, 0), count(&world, 45)), (23, 23), "seed {seed}");
        world.network.parts.clear();
        world.network.loss_ppm = 50_000;
        run(&mut world, 90);
        assert_eq!(counts(&world), [46; 46], "seed {seed}");
    }
}

#[test]
fn without_announcements_they_never_hear_of_each_other() {
    let mut world = islands(46, 23, 1, false);
    run(&mut world, 150);
    assert_eq!(counts(&world), [23; 46]);
}

#[test]
fn agents_that_know_nobody_at_all_become_one() {
    for seed in 0..10 {
        let mut world = islands(45, 1, seed, true);
        run(&mut world, 120);
        assert_eq!(counts(&world), [45; 45], "seed {seed}");
    }
}

#[test]
fn the_first_announces_itself_within_seconds() {
    for seed in 0..20 {
        let mut world = islands(2, 1, seed, true);
        run(&mut world, 10);
        assert!(world.stats(0).announcements_sent + world.stats(1).announcements_sent > 0);
        assert_eq!(counts(&world), [2; 2], "seed {seed}");
    }
}

#[test]
fn a_larger_system_does_not_announce_more() {
    for agents in [5, 45, 405] {
        let mut world = islands(agents, 0, 7, true);
        run(&mut world, 60);
        let sent = |world: &World| -> u64 {
            (0..agents).map(|agent| world.stats(agent).announcements_sent).sum()
        };
        let before = sent(&world);
        run(&mut world, 600);
        let announcements = sent(&world) - before;
        assert!((40..=120).contains(&announcements), "{agents} agents: {announcements} in 600 s");
    }
}

#[test]
fn nobody_answers_an_announcement() {
    // Both know each other: what is sent in the seconds around an announcement is what is sent
    // without one, and the announcement.
    let quiet = |announces| {
        let mut world = islands(2, 0, 3, announces);
        run(&mut world, 60);
        let total = |world: &World, pick: fn(&spinglass_core::Stats) -> u64| {
            pick(&world.stats(0)) + pick(&world.stats(1))
        };
        let digests = total(&world, |stats| stats.table_digests_sent);
        let announcements = total(&world, |stats| stats.announcements_sent);
        (total(&world, |stats| stats.datagrams_sent) - announcements, digests, announcements)
    };
    let (with, without) = (quiet(true), quiet(false));
    assert!(with.2 > 2 && without.2 == 0);
    assert_eq!((with.0, with.1), (without.0, without.1));
}
