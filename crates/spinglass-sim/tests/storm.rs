//! Storms: whoever caps what it receives is sent no more, and is told what it lacks.

use std::time::Duration;

use spinglass_core::table::Kind;
use spinglass_core::{Config, Start};
use spinglass_sim::scenario::storm::{OfCap, Parameters, Report, run};
use spinglass_sim::{Blind, Network, Setup, World};

/// A region in which calm brings some 10 KB/s to each, and a storm 180.
fn storm(caps: Vec<u64>, ratings: Vec<f64>, loss: f64, seed: u64) -> Report {
    let parameters = Parameters {
        members: 48,
        region_members: 0,
        topics: 12,
        each: 3,
        ratings,
        caps,
        rate: 2.0,
        times: 50.0,
        bytes: 700,
        calm_seconds: 6,
        storm_seconds: 8,
        loss,
        seed,
    };
    run(&parameters, &mut |_| ())
}

#[test]
fn a_storm_exceeds_no_cap_and_takes_nothing_from_who_has_room() {
    for (loss, seed) in [(0.0, 1), (0.0, 2), (0.02, 3)] {
        let report = storm(vec![0, 150_000, 1_000_000], vec![0.2, 1.0], loss, seed);
        let [free, capped, roomy] = &report.caps[..] else { panic!("three caps") };
        let (free, roomy): (&OfCap, &OfCap) = (free, roomy);
        assert!(free.bytes_per_second > 90_000.0, "a storm: {free:?}");
        assert!(report.worst_over_cap <= 1.0, "seed {seed}: {capped:?}");
        assert!((0.2..0.95).contains(&capped.storm_share), "seed {seed}: {capped:?}");
        assert!(capped.variation < 0.6, "thinned evenly: {capped:?}");
        assert_eq!(report.untold, 0, "all that is left out is told: {capped:?}");
        for of in [free, roomy] {
            assert_eq!((of.storm_share, of.lost), (1.0, 0), "{of:?}");
        }
    }
}

/// Where nobody caps anything a storm changes nothing.
#[test]
fn without_caps_all_is_delivered() {
    let report = storm(vec![0], vec![1.0], 0.0, 4);
    assert_eq!((report.uncapped_lost, report.caps[0].storm_share), (0, 1.0));
}

/// Representatives carry for their zone whatever is taken there: who caps what it receives is none
/// as long as there are others.
#[test]
fn who_caps_what_it_receives_speaks_for_no_zone_while_others_can() {
    let mut setup = Setup::new(64, Config::lan(), 1);
    setup.region_members = 16;
    // Of each region's sixteen three have no cap.
    setup.caps = (0..16).map(|turn| if turn >= 13 { 0 } else { 100_000 }).collect();
    let mut world = World::new(setup, Network::default());
    world.settle(&[]);
    world.run(Duration::from_secs(20), &mut Blind);
    let zones = world.node(0).unwrap().table().held().filter(|row| row.kind() == Kind::Zone);
    let contacts: Vec<_> = zones.flat_map(|row| row.contacts().to_vec()).collect();
    assert_eq!(contacts.len(), 4 * 3, "three of each region");
    let is_free = |member: &usize| member % 16 >= 13;
    let free = (0..64).filter(is_free).map(|member| world.node(member).unwrap().address());
    let free: Vec<_> = free.collect();
    assert!(contacts.iter().all(|contact| free.contains(contact)), "{contacts:?}");
}

/// Who takes nothing tells of nothing ten times a second.
#[test]
fn who_takes_nothing_sends_a_digest_a_second() {
    let mut world = World::new(Setup::new(8, Config::lan(), 1), Network::default());
    let topic = world.topic("readings");
    world.subscribe(1, topic, Start::Live);
    world.run(Duration::from_secs(20), &mut Blind);
    let sent = |member: usize| world.stats(member).digests_sent;
    assert!((15..=25).contains(&sent(0)), "{} by who takes nothing", sent(0));
    assert!(sent(1) > 150, "{} by who takes something", sent(1));
}
