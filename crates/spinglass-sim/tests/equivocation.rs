//! Whoever signs two things under one number is proven to, by anybody who meets both, and is heard
//! no more; whoever does not is not, whatever happens to it.

#![expect(clippy::unwrap_used, reason = "whatever fails here fails the test")]

use std::collections::BTreeMap;
use std::time::Duration;

use bytes::Bytes;
use spinglass_core::table::Value;
use spinglass_core::{Config, Event, Instant, MemberId, Offence, Reject, Start, StreamId};
use spinglass_sim::badboy::Way;
use spinglass_sim::papers::Papers;
use spinglass_sim::{Blind, Network, Observer, Setup, World};

const LIAR: usize = 5;
const ROUND: Duration = Duration::from_millis(100);

/// What each member delivered in each of its lives, by stream and number, and what it was told of
/// others.
#[derive(Default)]
struct Heard {
    payloads: BTreeMap<(usize, u64, StreamId, u64), Bytes>,
    twice: usize,
    told: Vec<(usize, MemberId, Offence)>,
    /// Messages of members that the receiver was told are liars.
    late: usize,
}

impl Observer for Heard {
    fn event(&mut self, _: Instant, member: usize, life: u64, event: &Event) {
        match event {
            Event::Message(message) => {
                let key = (member, life, message.stream, message.first.0);
                let before = self.payloads.insert(key, message.payload.clone());
                self.twice += usize::from(before.is_some());
                let is_its = |(to, liar, _): &&(usize, MemberId, Offence)| {
                    *to == member && *liar == message.stream.sender
                };
                self.late += usize::from(self.told.iter().any(|told| is_its(&told)));
            }
            Event::Quarantined { id, offence } => self.told.push((member, *id, *offence)),
            _ => (),
        }
    }
}

fn world(members: usize, seed: u64, is_certified: bool, loss_ppm: u32) -> World {
    let mut setup = Setup::new(members, Config::lan(), seed);
    setup.region_members = 16;
    if is_certified {
        (setup.acquainted, setup.papers) = (false, Some(Papers::default()));
    }
    let mut world = World::new(setup, Network { loss_ppm, ..Network::default() });
    let topic = world.topic("news");
    (0..members).for_each(|member| world.subscribe(member, topic, Start::Live));
    world.run(Duration::from_secs(if is_certified { 40 } else { 3 }), &mut Blind);
    world
}

fn say(world: &mut World, member: usize, text: &str, heard: &mut Heard) {
    let topic = world.topic("news");
    let _ = world.publish(member, topic, Bytes::copy_from_slice(text.as_bytes()), heard);
}

fn id(world: &World, member: usize) -> MemberId {
    world.node(member).unwrap().id()
}

/// How many honest members have the liar in quarantine.
fn convinced(world: &World, liar: usize) -> usize {
    let id = id(world, liar);
    let honest = (0..world.len()).filter(|member| *member != liar);
    let holds = |member: &usize| {
        let node = world.node(*member);
        node.is_some_and(|node| node.quarantined().any(|(proven, _)| proven == id))
    };
    honest.filter(holds).count()
}

/// Rounds until all honest members have the liar in quarantine.
fn rounds_until_all_know(world: &mut World, liar: usize, heard: &mut Heard) -> u32 {
    let mut rounds = 0;
    while convinced(world, liar) < world.len() - 1 && rounds < 200 {
        world.run(ROUND, heard);
        rounds += 1;
    }
    rounds
}

#[test]
fn two_packets_of_one_number_put_their_sender_in_quarantine() {
    for seed in 0..6 {
        let is_certified = seed % 2 == 1;
        let members = if is_certified { 32 } else { 64 };
        let loss_ppm = [0, 0, 50_000][usize::try_from(seed % 3).unwrap()];
        let mut world = world(members, seed, is_certified, loss_ppm);
        let mut heard = Heard::default();
        // Before it lies it is heard.
        say(&mut world, LIAR, "the truth", &mut heard);
        world.run(Duration::from_secs(2), &mut heard);
        let all = world.len() - 1;
        assert_eq!(heard.payloads.len(), all, "seed {seed}");
        world.corrupt(LIAR, [Way::TwoPackets]);
        say(&mut world, LIAR, "a lie", &mut heard);
        let rounds = rounds_until_all_know(&mut world, LIAR, &mut heard);
        let bound = 2 * members.ilog2();
        assert!(rounds <= bound, "seed {seed}: {rounds} rounds, not {bound}");
        let texts: Vec<_> = heard.payloads.values().filter(|text| *text != "the truth").collect();
        assert!(texts.iter().any(|text| *text == "a lie"), "seed {seed}: one half heard this");
        assert!(texts.iter().any(|text| *text != "a lie"), "seed {seed}: the other that");
        assert_eq!(heard.twice, 0, "seed {seed}: nobody delivers two payloads of one number");
        let liar = id(&world, LIAR);
        let proven = (liar, Offence::TwoPackets);
        assert!(heard.told.iter().all(|(_, id, offence)| (*id, *offence) == proven));
        // Each is told once; the liar, too, if anybody still tells it anything.
        let told = heard.told.iter().filter(|(member, ..)| *member != LIAR).count();
        assert_eq!(told, all, "seed {seed}");
        let messages = heard.payloads.len();
        say(&mut world, LIAR, "whatever", &mut heard);
        say(&mut world, 0, "honest", &mut heard);
        world.run(Duration::from_secs(5), &mut heard);
        // All but the liar, whom nobody passes anything on to, hear who is honest.
        let hears = |(member, ..): &&(usize, u64, StreamId, u64)| *member != LIAR;
        let after = heard.payloads.keys().filter(hears).count();
        assert_eq!((after - messages, heard.late), (all - 1, 0), "seed {seed}");
        let refused: u64 =
            (0..members).map(|member| world.stats(member).rejected(Reject::Quarantined)).sum();
        assert!(refused > 0, "seed {seed}");
        for member in (0..members).filter(|member| *member != LIAR) {
            let node = world.node(member).unwrap();
            node.check_invariants();
            let rows = node.table().held().filter(|row| row.member() == liar).count();
            assert_eq!(rows, 0, "seed {seed}: no row of the liar is held");
        }
    }
}

#[test]
fn two_rows_of_one_version_do_too() {
    for seed in 0..4 {
        let is_certified = seed % 2 == 1;
        let mut world = world(32, seed, is_certified, 0);
        let mut heard = Heard::default();
        // Who has never heard of somebody can't be told of it: everybody meets the liar.
        say(&mut world, LIAR, "the truth", &mut heard);
        world.run(Duration::from_secs(2), &mut heard);
        world.corrupt(LIAR, [Way::TwoRows]);
        let rounds = rounds_until_all_know(&mut world, LIAR, &mut heard);
        assert!(rounds <= 2 * 32_u32.ilog2(), "seed {seed}: {rounds} rounds");
        let proven = (id(&world, LIAR), Offence::TwoRows);
        assert!(heard.told.iter().all(|(_, id, offence)| (*id, *offence) == proven));
        for member in (0..32).filter(|member| *member != LIAR) {
            let node = world.node(member).unwrap();
            node.check_invariants();
            assert!(node.table().held().all(|row| row.member() != proven.0), "seed {seed}");
        }
    }
}

#[test]
fn newcomers_are_shown_the_proof() {
    for seed in 0..3 {
        let mut world = world(24, seed, seed % 2 == 1, 0);
        let mut heard = Heard::default();
        world.crash(9);
        world.corrupt(LIAR, [Way::TwoPackets]);
        say(&mut world, LIAR, "a lie", &mut heard);
        world.run(Duration::from_secs(5), &mut heard);
        assert_eq!(convinced(&world, LIAR), 22, "seed {seed}: all but the one that is gone");
        world.restart(9);
        let topic = world.topic("news");
        world.subscribe(9, topic, Start::Live);
        // The liar goes on: whoever has not met it is told once it does.
        for _ in 0..20 {
            say(&mut world, LIAR, "another lie", &mut heard);
            world.run(Duration::from_secs(1), &mut heard);
        }
        assert_eq!(convinced(&world, LIAR), 23, "seed {seed}");
    }
}

/// Restarts, lost disks, partitions, false accusations, clocks that jump, relays that damage what
/// they pass on, and replayed datagrams: none of it makes an honest member look like a liar.
#[test]
fn nobody_honest_is_ever_put_in_quarantine() {
    for seed in 0..4 {
        let mut setup = Setup::new(24, Config::lan(), seed);
        setup.region_members = 8;
        setup.tamper_ppm = if seed % 2 == 0 { 100_000 } else { 0 };
        let network = Network {
            loss_ppm: 50_000,
            duplicate_ppm: 100_000,
            corrupt_ppm: 20_000,
            replay_ppm: 100_000,
            ..Network::default()
        };
        let mut world = World::new(setup, network);
        let topic = world.topic("news");
        (0..24).for_each(|member| world.subscribe(member, topic, Start::Live));
        world.corrupt(3, [Way::Forge, Way::Accuse, Way::FarFuture]);
        let mut heard = Heard::default();
        for turn in 0..30_usize {
            for member in 0..24 {
                say(&mut world, member, &format!("{member} in turn {turn}"), &mut heard);
                let load = i64::try_from(turn * member).unwrap();
                let _ = world.set_attribute(member, "load", Value::Int(load));
            }
            let victim = 4 + (turn * 7) % 20;
            match turn % 5 {
                0 => world.crash(victim),
                1 => (0..24).for_each(|member| {
                    world.restart(member);
                    world.subscribe(member, topic, Start::Live);
                }),
                2 => world.network.parts = (0..24).map(|member| u8::from(member < 12)).collect(),
                3 => world.network.parts.clear(),
                _ => world.set_clock(victim, if turn % 2 == 0 { -50_000 } else { 50_000 }),
            }
            world.run(Duration::from_secs(2), &mut heard);
        }
        // The forger is: one of the rows that it makes up has the version of its own.
        let forger = id(&world, 3);
        assert!(heard.told.iter().all(|(_, liar, _)| *liar == forger), "seed {seed}");
        assert_eq!(heard.twice, 0, "seed {seed}");
        let shown: u64 = (0..24).map(|member| world.stats(member).exhibits_received).sum();
        assert!(shown > 0, "seed {seed}: the forger did show false proofs");
    }
}
