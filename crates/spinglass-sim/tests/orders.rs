//! Orders: new link keys while traffic flows, revocations, quarantines.

#![expect(clippy::unwrap_used, reason = "whatever fails here fails the test")]

use std::collections::BTreeMap;
use std::time::Duration;

use bytes::Bytes;
use spinglass_core::orders::NewOrder;
use spinglass_core::{Config, Event, Instant, Start, TopicId};
use spinglass_sim::papers::Papers;
use spinglass_sim::{Blind, Network, Observer, Setup, World};

const AGENTS: usize = 18;

fn world(seed: u64, loss_ppm: u32) -> World {
    let mut setup = Setup::new(AGENTS, Config::lan(), seed);
    (setup.region_members, setup.zone_children) = (6, 2);
    setup.papers = Some(Papers::default());
    World::new(setup, Network { loss_ppm, ..Network::default() })
}

/// What came: messages by receiver and sender, and gaps by receiver.
#[derive(Default)]
struct Heard {
    messages: BTreeMap<(usize, u8), u64>,
    gaps: BTreeMap<usize, u64>,
}

impl Observer for Heard {
    fn event(&mut self, _: Instant, member: usize, _: u64, event: &Event) {
        match event {
            Event::Message(message) => {
                *self.messages.entry((member, message.payload[0])).or_default() += 1;
            }
            Event::Gap(gap) => *self.gaps.entry(member).or_default() += gap.packets,
            _ => (),
        }
    }
}

impl Heard {
    fn count(&self, receiver: usize, sender: usize) -> u64 {
        let sender = u8::try_from(sender).unwrap();
        self.messages.get(&(receiver, sender)).copied().unwrap_or(0)
    }
}

/// Some publish, ten times a second.
fn talk(world: &mut World, topic: TopicId, senders: &[usize], seconds: u64, heard: &mut Heard) {
    for _ in 0..seconds * 10 {
        for sender in senders {
            let payload = Bytes::from(vec![u8::try_from(*sender).unwrap(); 100]);
            world.publish(*sender, topic, payload, heard).unwrap();
        }
        world.run(Duration::from_millis(100), heard);
    }
}

fn epochs(world: &World) -> Vec<u32> {
    (0..world.len()).filter_map(|agent| Some(world.node(agent)?.epoch())).collect()
}

#[test]
fn the_key_rotates_while_traffic_flows() {
    for seed in 0..6 {
        let mut world = world(seed, [0, 100_000][usize::try_from(seed % 2).unwrap()]);
        let topic = world.topic("news");
        (0..AGENTS).for_each(|agent| world.subscribe(agent, topic, Start::Live));
        world.run(Duration::from_secs(20), &mut Blind);
        let mut heard = Heard::default();
        let senders = [0, 7, 13];
        talk(&mut world, topic, &senders, 3, &mut heard);
        for epoch in 1..=3 {
            world.give_order(epoch as usize, NewOrder::Rotate, &mut heard).unwrap();
            talk(&mut world, topic, &senders, 10, &mut heard);
            assert_eq!(epochs(&world), vec![epoch; AGENTS], "seed {seed}");
        }
        talk(&mut world, topic, &senders, 1, &mut heard);
        world.run(Duration::from_secs(10), &mut heard);
        assert_eq!(heard.gaps, BTreeMap::new(), "seed {seed}");
        for receiver in 0..AGENTS {
            for sender in senders.into_iter().filter(|sender| *sender != receiver) {
                assert_eq!(heard.count(receiver, sender), 340, "seed {seed}: {receiver} {sender}");
            }
            world.node(receiver).unwrap().check_invariants();
        }
    }
}
