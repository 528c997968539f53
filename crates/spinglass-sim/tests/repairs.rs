//! What repair costs a group, simulated: it must not grow with it.

#![expect(clippy::unwrap_used, reason = "whatever fails here fails the test")]

use std::sync::Arc;
use std::time::Duration;

use spinglass_core::{Config, Dissemination, Start, Stats, TopicId};
use spinglass_sim::{Blind, Link, Network, Setup, Topology, World};

/// Members of one region, all subscribed, to whom packets go by IP multicast.
fn group(members: usize, loss_ppm: u32, seed: u64) -> (World, TopicId) {
    let mut config = Config::lan();
    config.multicast.dissemination = Dissemination::Multicast;
    let network = Network { loss_ppm, ..Network::default() };
    let mut world = World::new(Setup::new(members, config, seed), network);
    let topic = world.topic("repairs");
    (0..members).for_each(|member| world.subscribe(member, topic, Start::Live));
    world.run(Duration::from_secs(1), &mut Blind);
    (world, topic)
}

/// Repairs by multicast for each message, once members know what is lost.
fn multicast_repairs(members: usize, messages: u64) -> f64 {
    let (mut world, topic) = group(members, 200_000, 5);
    let mut count = |messages: u64| {
        for _ in 0..messages {
            world.publish(0, topic, vec![7_u8; 300], &mut Blind).unwrap();
            world.run(Duration::from_millis(5), &mut Blind);
        }
        (0..members).map(|member| world.stats(member).repairs_multicast).sum::<u64>()
    };
    let before = count(messages);
    (count(messages) - before) as f64 / messages as f64
}

#[test]
fn repairs_by_multicast_stay_rare_however_many_may_ask_by_chance() {
    // Three ask one member by chance for 0.6 of all packets where 512 lose 20 %, each of which
    // would reach all of them.
    let each = multicast_repairs(512, 200);
    assert!(each < 0.3, "{each} of each message");
}

#[test]
fn as_many_of_a_region_hold_a_packet_for_long_as_are_to() {
    for seed in 0..20 {
        let (mut world, topic) = group(64, 0, seed);
        let sender = seed as usize;
        world.publish(sender, topic, vec![7_u8; 300], &mut Blind).unwrap();
        // Longer than all hold it, and not so long that its holders let it go.
        world.run(Duration::from_secs(1), &mut Blind);
        let holds = |member: &usize| world.stats(*member).buffered_bytes > 0;
        let holders = (0..64).filter(|member| *member != sender).filter(holds).count();
        // The sender keeps the tail of its stream, too, whether it is one of them or not.
        assert!(holds(&sender));
        let bufferers = usize::from(Config::lan().multicast.long_term_bufferers);
        assert!((bufferers - 1..=bufferers).contains(&holders), "{holders}, seed {seed}");
    }
}

/// Announcements that a member makes of each of some messages, which are 100 ms apart, once it
/// knows what is lost.
fn tails_each(loss_ppm: u32) -> f64 {
    let members = 32;
    let (mut world, topic) = group(members, loss_ppm, 3);
    let mut count = |messages: u64| {
        for _ in 0..messages {
            world.publish(0, topic, vec![7_u8; 300], &mut Blind).unwrap();
            world.run(Duration::from_millis(100), &mut Blind);
        }
        (0..members).map(|member| world.stats(member).tails_sent).sum::<u64>()
    };
    let (before, messages) = (count(80), 50);
    (count(messages) - before) as f64 / (members as u64 * messages) as f64
}

#[test]
fn a_quiet_stream_is_announced_more_often_where_much_is_lost() {
    let (little, much) = (tails_each(1_000), tails_each(200_000));
    assert!(little < 2.5, "{little} where little is lost");
    assert!(much > 3.5, "{much} where much is lost");
}

/// Requests that come too late, of all requests, in half a minute once trips are known.
fn late_far_away(seed: u64) -> (u64, u64) {
    let (members, far) = (48, Link { delay: Duration::from_millis(10), loss_ppm: 1_000 });
    let mut config = Config::wan();
    config.multicast.dissemination = Dissemination::Multicast;
    let topology = Some(Arc::new(Topology::tree(members, 4, far)));
    let mut world =
        World::new(Setup::new(members, config, seed), Network { topology, ..Network::default() });
    let topic = world.topic("repairs");
    (0..members).for_each(|member| world.subscribe(member, topic, Start::Live));
    let mut stream = |seconds: u64| {
        for _ in 0..seconds * 100 {
            world.publish(0, topic, vec![7_u8; 210], &mut Blind).unwrap();
            world.run(Duration::from_millis(10), &mut Blind);
        }
        (0..members).map(|member| world.stats(member)).collect::<Vec<Stats>>()
    };
    let (before, after) = (stream(60), stream(30));
    let more = |get: fn(&Stats) -> u64| {
        after.iter().map(get).sum::<u64>() - before.iter().map(get).sum::<u64>()
    };
    assert_eq!(more(|stats| stats.gaps), 0);
    (more(|stats| stats.solicits_late), more(|stats| stats.solicits_sent))
}

#[test]
fn nobody_that_is_far_away_asks_too_late_again_and_again() {
    // Whoever believes that a trip takes longer than it does guesses others' rounds so wrong that
    // they refuse what it asks. In the first of these worlds somebody does if the answer to a
    // second request counts, in the other if what others push after half a second passes for one.
    for seed in [1, 13] {
        let (late, asked) = late_far_away(seed);
        assert!(late * 50 < asked, "seed {seed}: {late} of {asked} requests came too late");
    }
}
