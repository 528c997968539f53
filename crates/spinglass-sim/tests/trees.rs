//! Senders' trees over zones, simulated, with no repair at all: who gets a packet at once.

#![expect(clippy::unwrap_used, reason = "whatever fails here fails the test")]

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use spinglass_core::{Config, Dissemination, Event, Instant, Start};
use spinglass_sim::{Link, Network, Observer, Setup, Topology, World};

/// Members of a region: so few that whoever heads it hands packets to all of it.
const REGION: usize = 8;
const MEMBERS: usize = 3 * REGION;

#[derive(Default)]
struct Heard(BTreeSet<usize>);

impl Observer for Heard {
    fn event(&mut self, _: Instant, member: usize, _: u64, event: &Event) {
        if matches!(event, Event::Message(_)) {
            self.0.insert(member);
        }
    }
}

/// Members of the second region that a packet from the first does not reach at once when the given
/// one of them is dead, and nobody has noticed yet.
fn waiting(dead: usize, spares: bool) -> Vec<usize> {
    let mut config = Config::wan();
    config.multicast.tree_spares = spares;
    config.multicast.tail_wait = Duration::ZERO;
    config.multicast.round = Duration::from_secs(60);
    let mut setup = Setup::new(MEMBERS, config, 7);
    setup.region_members = REGION;
    let mut world = World::new(setup, Network::default());
    let topic = world.topic("trees");
    (0..MEMBERS).for_each(|member| world.subscribe(member, topic, Start::Live));
    let mut heard = Heard::default();
    world.run(Duration::from_secs(1), &mut heard);
    world.crash(dead);
    world.publish(0, topic, b"at once".to_vec(), &mut heard).unwrap();
    world.run(Duration::from_secs(1), &mut heard);
    assert_eq!(heard.0.range(..REGION).count(), REGION - 1, "the sender's own region");
    let alive = (REGION..2 * REGION).filter(|member| *member != dead);
    alive.filter(|member| !heard.0.contains(member)).collect()
}

#[test]
fn a_spare_head_stands_in_for_one_that_is_dead() {
    let second = || REGION..2 * REGION;
    assert_eq!(second().flat_map(|dead| waiting(dead, true)).count(), 0);
    // Without it, whoever heads the region keeps all of it waiting.
    let without: Vec<usize> = second().map(|dead| waiting(dead, false).len()).collect();
    assert_eq!(without.iter().filter(|waiting| **waiting == REGION - 1).count(), 1, "{without:?}");
}

#[test]
fn what_is_multicast_over_links_stays_in_its_part_of_the_network() {
    let mut config = Config::lan();
    config.multicast.dissemination = Dissemination::Multicast;
    let link = Link { delay: Duration::from_millis(1), loss_ppm: 0 };
    let topology = Some(Arc::new(Topology::star(REGION, link)));
    let network = Network { topology, ..Network::default() };
    let mut world = World::new(Setup::new(REGION, config, 7), network);
    let topic = world.topic("parts");
    (0..REGION).for_each(|member| world.subscribe(member, topic, Start::Live));
    let mut heard = Heard::default();
    world.run(Duration::from_secs(1), &mut heard);
    world.network.parts = (0..REGION).map(|member| u8::from(member >= 4)).collect();
    world.publish(0, topic, b"here".to_vec(), &mut heard).unwrap();
    world.run(Duration::from_millis(150), &mut heard);
    assert!(heard.0.iter().eq(&[1, 2, 3]), "{:?}", heard.0);
    world.network.parts.clear();
    world.run(Duration::from_secs(10), &mut heard);
    assert_eq!(heard.0.len(), REGION - 1, "once they are one again");
}
