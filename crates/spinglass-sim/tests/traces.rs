//! Messages that are followed, simulated: what all members saw of one is its whole path.

#![expect(clippy::unwrap_used, reason = "whatever fails here fails the test")]

use std::collections::BTreeMap;
use std::num::NonZeroU32;
use std::time::Duration;

use spinglass_core::{
    Config, Dissemination, Event, Instant, MemberId, Seen, Sequence, Sighting, Start, StreamId,
};
use spinglass_sim::{Network, Observer, Setup, World};

/// Members, in regions: so many that senders' trees have several levels.
const MEMBERS: usize = 40;
const REGION: usize = 10;
/// Messages of each of two senders: some are alone in a packet, some span several.
const MESSAGES: usize = 40;
const SENDERS: [usize; 2] = [0, 17];
const SEEDS: u64 = 8;

/// What one member saw of one packet.
#[derive(Debug, Default)]
struct Stay {
    received: Vec<(Instant, MemberId, bool)>,
    delivered: Vec<Instant>,
    is_lost: bool,
}

/// All that was seen, by packet.
#[derive(Default)]
struct Seers {
    made: BTreeMap<(StreamId, Sequence), (Instant, Duration)>,
    stays: BTreeMap<(StreamId, Sequence), BTreeMap<usize, Stay>>,
    heard: u64,
}

impl Observer for Seers {
    fn event(&mut self, _: Instant, _: usize, _: u64, event: &Event) {
        self.heard += u64::from(matches!(event, Event::Message(_)));
    }

    fn sighted(&mut self, member: usize, sighting: &Sighting) {
        let Sighting { at, stream, sequence, seen } = *sighting;
        if let Seen::Made { waited } = seen {
            let before = self.made.insert((stream, sequence), (at, waited));
            assert_eq!(before, None, "a packet is made once");
            return;
        }
        let stay = self.stays.entry((stream, sequence)).or_default().entry(member).or_default();
        match seen {
            Seen::Received { from, repaired } => stay.received.push((at, from, repaired)),
            Seen::Delivered { .. } => stay.delivered.push(at),
            Seen::Lost | Seen::Made { .. } => stay.is_lost = true,
        }
    }
}

fn run(way: Dissemination, loss_ppm: u32, one_in: u32, seed: u64) -> (World, Seers) {
    let mut config = Config::lan();
    config.multicast.dissemination = way;
    config.link.datagram_bytes = 1200;
    let mut setup = Setup::new(MEMBERS, config, seed);
    setup.region_members = REGION;
    setup.followed_one_in = NonZeroU32::new(one_in);
    let network = Network { loss_ppm, ..Network::default() };
    let mut world = World::new(setup, network);
    let topic = world.topic("followed");
    (0..MEMBERS).for_each(|member| world.subscribe(member, topic, Start::Live));
    let mut seers = Seers::default();
    world.run(Duration::from_secs(1), &mut seers);
    for message in 0..MESSAGES {
        for sender in SENDERS {
            let bytes = if message % 8 == 3 { 5_000 } else { 40 };
            world.publish(sender, topic, vec![7_u8; bytes], &mut seers).unwrap();
        }
        world.run(Duration::from_millis(7), &mut seers);
    }
    world.run(Duration::from_secs(15), &mut seers);
    (world, seers)
}

/// How many hops are between a member and the sender, as those on the way saw it.
fn hops(seers: &Seers, world: &World, packet: &(StreamId, Sequence), member: usize) -> usize {
    let index = |id: MemberId| (0..MEMBERS).find(|at| world.node(*at).unwrap().id() == id).unwrap();
    let (mut at, mut hops) = (member, 0);
    loop {
        let (when, from, _) = seers.stays[packet][&at].received[0];
        hops += 1;
        assert!(hops < MEMBERS, "no way leads back to its beginning");
        if from == packet.0.sender {
            assert!(when > seers.made[packet].0);
            return hops;
        }
        let above = index(from);
        assert!(seers.stays[packet][&above].received[0].0 < when, "who passes it on had it before");
        at = above;
    }
}

#[test]
fn what_members_saw_of_a_message_leads_from_each_of_them_to_its_sender() {
    let (mut repaired, mut farthest) = (0, 0);
    for seed in 0..SEEDS {
        let way = [Dissemination::Trees, Dissemination::Both][(seed % 2) as usize];
        let loss_ppm = if seed < 2 { 0 } else { 150_000 };
        let (world, seers) = run(way, loss_ppm, 1, seed);
        assert_eq!(seers.heard, (MEMBERS - 1) as u64 * 2 * MESSAGES as u64, "seed {seed}");
        assert!(seers.made.len() >= 2 * MESSAGES / 2, "{} packets made", seers.made.len());
        for packet in seers.made.keys() {
            let stays = &seers.stays[packet];
            assert_eq!(stays.len(), MEMBERS - 1, "seed {seed}: {packet:?}");
            for (member, stay) in stays {
                assert!(!stay.is_lost && stay.received.len() == 1, "seed {seed}: {stay:?}");
                let (when, _, by_repair) = stay.received[0];
                assert!(!stay.delivered.is_empty() && stay.delivered.iter().all(|at| *at >= when));
                repaired += usize::from(by_repair);
                farthest = farthest.max(hops(&seers, &world, packet, *member));
                assert!(
                    loss_ppm > 0 || !by_repair,
                    "seed {seed}: nothing is missed, all is spread"
                );
            }
        }
        let delivered: usize =
            seers.stays.values().flatten().map(|(_, stay)| stay.delivered.len()).sum();
        assert_eq!(delivered as u64, seers.heard, "each message is in the path of one packet");
    }
    assert!(repaired > 1000 && farthest >= 3, "{repaired} repaired, at most {farthest} hops");
}

#[test]
fn all_members_follow_the_same_messages() {
    let (_, all) = run(Dissemination::Trees, 50_000, 1, 1);
    let (_, few) = run(Dissemination::Trees, 50_000, 5, 1);
    let share = few.made.len() as f64 / all.made.len() as f64;
    assert!((0.05..0.5).contains(&share), "one in five, and not {share}");
    assert!(few.made.keys().all(|packet| all.made.contains_key(packet)));
    assert!(few.stays.keys().eq(few.made.keys()), "nobody saw what others do not follow");
    assert!(few.stays.values().all(|stays| stays.len() == MEMBERS - 1));
}

#[test]
fn a_message_tells_how_long_it_waited_and_a_lost_one_that_it_is_lost() {
    let mut config = Config::lan();
    config.multicast.send_rate = 10_000;
    config.multicast.send_burst_bytes = 2_000;
    config.multicast.give_up_rounds_min = 8;
    config.multicast.give_up_rounds_max = 8;
    let mut setup = Setup::new(2, config, 3);
    setup.followed_one_in = Some(NonZeroU32::MIN);
    let mut world = World::new(setup, Network::default());
    let topic = world.topic("followed");
    world.subscribe(1, topic, Start::Live);
    let mut seers = Seers::default();
    world.run(Duration::from_secs(1), &mut seers);
    for _ in 0..10 {
        world.publish(0, topic, vec![7_u8; 1_000], &mut seers).unwrap();
    }
    world.run(Duration::from_secs(3), &mut seers);
    let waited: Vec<Duration> = seers.made.values().map(|(_, waited)| *waited).collect();
    assert!(waited[0] < Duration::from_millis(1), "{waited:?}");
    assert!(waited.is_sorted() && *waited.last().unwrap() > Duration::from_millis(500));
    // What nobody hears until its sender holds it no longer is given up when the next one comes.
    world.network.loss_ppm = 1_000_000;
    world.publish(0, topic, b"lost".to_vec(), &mut seers).unwrap();
    world.run(Duration::from_secs(12), &mut seers);
    let (lost, _) = seers.made.last_key_value().unwrap();
    let lost = *lost;
    world.network.loss_ppm = 0;
    world.publish(0, topic, b"next".to_vec(), &mut seers).unwrap();
    world.run(Duration::from_secs(15), &mut seers);
    let stay = &seers.stays[&lost][&1];
    assert!(stay.is_lost && stay.received.is_empty() && stay.delivered.is_empty(), "{stay:?}");
}
