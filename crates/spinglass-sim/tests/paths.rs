//! Ways to members behind NATs, firewalls and relays: what a member finds out, and that a change of
//! its address costs nobody a message.

use std::net::SocketAddr;
use std::time::Duration;

use bytes::Bytes;
use spinglass_core::path::{PathQuestion, QUESTION_BYTES, Task};
use spinglass_core::{Config, Event, Instant, Start};
use spinglass_sim::{Blind, Door, LetsIn, Network, Observer, Setup, World};

/// The member that is behind something.
const INSIDE: usize = 5;
/// Its port, as others see it.
const SEEN: u16 = 40_000;
/// A relay's port for it.
const RELAY: u16 = 50_000;

fn world(seed: u64, lets_in: LetsIn) -> World {
    let network = Network { loss_ppm: 50_000, ..Network::default() };
    let mut world = World::new(Setup::new(8, Config::lan(), seed), network);
    let (relay, known) = (Some(RELAY), Default::default());
    world.network.doors.insert(INSIDE, Door { port: SEEN, lets_in, relay, known });
    world.set_address(INSIDE, at(&world, INSIDE, RELAY));
    world.run(Duration::from_secs(5), &mut Blind);
    world
}

fn at(world: &World, member: usize, port: u16) -> SocketAddr {
    let mut address = world.node(member).expect("it lives").address();
    address.set_port(port);
    address
}

/// Asks until there is an answer, as hosts do; each time somebody else.
fn ask(world: &mut World, task: Task) -> Option<SocketAddr> {
    for number in 0..20 {
        let whom = [0, 1, 2][number as usize % 3];
        let whom = world.node(whom).expect("it lives").address();
        world.ask_path(INSIDE, whom, PathQuestion { number, task });
        world.run(Duration::from_millis(200), &mut Blind);
        let answer = world.node(INSIDE).expect("it lives").path_answer();
        if let Some(answer) = answer {
            assert_eq!((answer.number, answer.is_try), (number, task == Task::Try));
            return Some(answer.address);
        }
    }
    None
}

#[test]
fn a_member_finds_out_how_it_is_seen_and_whether_strangers_get_through() {
    for seed in 0..10 {
        for (lets_in, seen, reached) in [
            (LetsIn::Everybody, true, true),
            // Whoever it talked to gets through, and still it is not called reachable.
            (LetsIn::Known, true, false),
            (LetsIn::Nobody, false, false),
        ] {
            let mut world = world(seed, lets_in);
            let address = at(&world, INSIDE, SEEN);
            let looked = ask(&mut world, Task::Look);
            assert_eq!(looked, seen.then_some(address), "seed {seed}, {lets_in:?}");
            let tried = ask(&mut world, Task::Try);
            assert_eq!(tried, reached.then_some(address), "seed {seed}, {lets_in:?}");
        }
    }
}

#[test]
fn nobody_is_made_to_send_more_than_it_was_sent() {
    let mut world = world(1, LetsIn::Everybody);
    let (whom, own) = (at(&world, 0, 7710), at(&world, INSIDE, SEEN));
    struct Count {
        own: SocketAddr,
        answered: usize,
    }
    impl Observer for Count {
        fn event(&mut self, _: Instant, _: usize, _: u64, _: &Event) {}
        fn sent(
            &mut self,
            _: Instant,
            _: usize,
            _: &spinglass_core::Node,
            transmit: &spinglass_core::Transmit,
            bytes: &[u8],
        ) {
            use spinglass_core::Destinations::{Fresh, Members};
            match &transmit.to {
                Fresh(to) if *to == self.own => self.answered += bytes.len(),
                Members(to) if to.contains(&self.own) => self.answered += bytes.len(),
                _ => (),
            }
        }
    }
    let mut count = Count { own, answered: 0 };
    for number in 0..1000 {
        let task = if number % 2 == 0 { Task::Look } else { Task::Try };
        world.ask_path(INSIDE, whom, PathQuestion { number, task });
        world.run(Duration::from_millis(2), &mut count);
    }
    let asked = 1000 * QUESTION_BYTES;
    assert!(count.answered > 0, "some are answered");
    assert!(count.answered < asked / 4, "and of a flood few: {}", count.answered);
}

/// What each member heard of the one sender, in order.
struct Heard {
    next: Vec<u32>,
}

impl Observer for Heard {
    fn event(&mut self, _: Instant, member: usize, _: u64, event: &Event) {
        match event {
            Event::Message(message) => {
                let number = u32::from_le_bytes(message.payload[..].try_into().expect("a number"));
                assert_eq!(number, self.next[member], "at {member}");
                self.next[member] += 1;
            }
            Event::Gap(gap) => panic!("{gap:?} at {member}"),
            Event::MemberUp(_) | Event::MemberDown { .. } => (),
            lie => panic!("{lie:?} at {member}"),
        }
    }
}

#[test]
fn a_change_of_address_costs_nobody_a_message() {
    for seed in 0..10 {
        let mut world = world(seed, LetsIn::Everybody);
        let topic = world.topic("news");
        let mut heard = Heard { next: vec![0; 8] };
        (0..8).for_each(|member| world.subscribe(member, topic, Start::Live));
        world.run(Duration::from_secs(1), &mut heard);
        for number in 0..200_u32 {
            // The one that moves is the sender in every other seed.
            let sender = if seed % 2 == 0 { INSIDE } else { 0 };
            let payload = Bytes::copy_from_slice(&number.to_le_bytes());
            world.publish(sender, topic, payload, &mut heard).expect("there is room");
            heard.next[sender] += 1;
            if number % 50 == 25 {
                let port = if number % 100 == 25 { SEEN } else { RELAY };
                world.set_address(INSIDE, at(&world, INSIDE, port));
            }
            world.run(Duration::from_millis(20), &mut heard);
        }
        world.run(Duration::from_secs(10), &mut heard);
        assert_eq!(heard.next, [200; 8], "seed {seed}");
        let address = at(&world, INSIDE, RELAY);
        for member in 0..8 {
            let members = world.node(member).expect("it lives").members();
            let inside = members.into_iter().filter(|member| member.address == address);
            assert_eq!(inside.count(), 1, "member {member} of seed {seed} knows where it is");
        }
    }
}
