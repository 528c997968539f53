//! What is kept: a message reaches whoever subscribed before it was sent, though nobody knew yet;
//! and a topic's last messages wait for whoever comes later.

#![expect(clippy::unwrap_used, reason = "whatever fails here fails the test")]

use std::collections::BTreeMap;
use std::time::Duration;

use spinglass_core::{Config, Event, Instant, Keep, Rating, Sequence, Start, StreamId, TopicId};
use spinglass_sim::{Network, Observer, Setup, World};

const MEMBERS: usize = 48;
const SENDER: usize = MEMBERS - 1;

/// The numbers of the messages that each member got, and of those that were for whoever asked for
/// what is kept; and the gaps that it was told.
struct Got {
    numbers: Vec<Vec<u32>>,
    kept: Vec<Vec<u32>>,
    until: BTreeMap<(usize, StreamId), Sequence>,
    gaps: Vec<u64>,
}

impl Observer for Got {
    fn event(&mut self, _at: Instant, member: usize, _life: u64, event: &Event) {
        match event {
            Event::Message(message) => {
                let number = message.payload.first_chunk().map(|bytes| u32::from_le_bytes(*bytes));
                self.numbers[member].extend(number);
                let until = self.until.get(&(member, message.stream));
                let is_kept = until.is_some_and(|until| message.last < *until);
                self.kept[member].extend(number.filter(|_| is_kept));
            }
            Event::Gap(gap) => self.gaps[member] += gap.packets,
            Event::Kept { stream, until } => {
                self.until.insert((member, *stream), *until);
            }
            _ => (),
        }
    }
}

/// Six regions in two zones, that have come to know each other.
struct Fleet {
    world: World,
    topic: TopicId,
    got: Got,
    sent: u32,
}

impl Fleet {
    fn new(config: Config, loss_ppm: u32, seed: u64) -> Self {
        let mut setup = Setup::new(MEMBERS, config, seed);
        (setup.region_members, setup.zone_children) = (8, 3);
        let mut world = World::new(setup, Network { loss_ppm, ..Network::default() });
        let topic = world.topic("readings");
        let numbers = vec![Vec::new(); MEMBERS];
        let (kept, until) = (numbers.clone(), BTreeMap::new());
        let got = Got { numbers, kept, until, gaps: vec![0; MEMBERS] };
        let mut fleet = Self { world, topic, got, sent: 0 };
        fleet.run(15);
        fleet
    }

    fn run(&mut self, seconds: u64) {
        self.world.run(Duration::from_secs(seconds), &mut self.got);
    }

    /// So many messages of so many bytes, a few milliseconds apart.
    fn send(&mut self, messages: u32, bytes: usize) {
        for _ in 0..messages {
            let mut message = vec![7; bytes];
            message[..4].copy_from_slice(&self.sent.to_le_bytes());
            self.sent += 1;
            self.world.publish(SENDER, self.topic, message, &mut self.got).unwrap();
            self.world.run(Duration::from_millis(3), &mut self.got);
        }
    }

    fn subscribe(&mut self, member: usize, start: Start) {
        self.world.subscribe(member, self.topic, start);
    }
}

#[test]
fn who_subscribed_before_gets_what_is_sent_before_anybody_knew() {
    for (seed, loss_ppm) in (0..20).map(|seed| (seed, if seed < 10 { 0 } else { 200_000 })) {
        let mut fleet = Fleet::new(Config::lan(), loss_ppm, seed);
        // One beside the sender, some in other regions, near and far.
        let takers = [SENDER - 1, 1, 9, 10, 30];
        takers.iter().for_each(|member| fleet.subscribe(*member, Start::Live));
        fleet.send(1, 40);
        fleet.run(20);
        for taker in takers {
            assert_eq!(fleet.got.numbers[taker], [0], "{taker}, seed {seed}, {loss_ppm} lost");
        }
        assert_eq!(fleet.got.gaps, [0; MEMBERS], "seed {seed}");
    }
}

/// Where a message goes to one or two, and the next is sent some seconds later, nobody else may
/// know of the first, or of the last, when that is lost. All topics send at once: more have gone
/// quiet than a round may tell of.
#[test]
fn nobody_misses_the_first_or_last_message_of_a_slow_stream() {
    const TOPICS: usize = 30;
    for seed in 0..12 {
        let mut fleet = Fleet::new(Config::lan(), 200_000, seed);
        let topics: Vec<TopicId> =
            (0..TOPICS).map(|at| fleet.world.topic(&format!("slow/{at}"))).collect();
        for (at, topic) in topics.iter().enumerate() {
            for taker in [at, at + 10] {
                fleet.world.subscribe(taker, *topic, Start::Live);
            }
        }
        fleet.run(10);
        for number in 0..6_u32 {
            for (at, topic) in topics.iter().enumerate() {
                let message = (at as u32 * 100 + number).to_le_bytes().to_vec();
                fleet.world.publish(MEMBERS - 1 - at % 7, *topic, message, &mut fleet.got).unwrap();
            }
            fleet.run(if seed % 2 == 0 { 7 } else { 1 });
        }
        fleet.run(20);
        for at in 0..TOPICS {
            for taker in [at, at + 10] {
                let of_topic = |it: &&u32| **it / 100 == at as u32;
                let got = fleet.got.numbers[taker].iter().filter(of_topic).map(|it| it % 100);
                assert!(got.eq(0..6), "{taker}, seed {seed}: {:?}", fleet.got.numbers[taker]);
            }
        }
        assert_eq!(fleet.got.gaps, [0; MEMBERS], "seed {seed}");
    }
}

#[test]
fn who_comes_later_gets_the_last_messages_and_only_if_it_asks_for_them() {
    for (seed, bytes) in [(1, 40), (2, 40), (3, 900), (4, 3_000), (5, 900)] {
        let loss_ppm = if seed % 2 == 0 { 100_000 } else { 0 };
        let mut fleet = Fleet::new(Config::lan(), loss_ppm, seed);
        fleet.subscribe(9, Start::Live);
        fleet.world.keep(SENDER, fleet.topic, Keep::Last(20));
        fleet.send(300, bytes);
        fleet.run(120);
        // In a region where the topic is taken already, where it is not, and at the sender's.
        let (late, live) = ([10, 33, SENDER - 1], [11, 34]);
        late.iter().for_each(|member| fleet.subscribe(*member, Start::Buffered));
        live.iter().for_each(|member| fleet.subscribe(*member, Start::Live));
        fleet.run(30);
        let last: Vec<u32> = (280..300).collect();
        let what = format!("seed {seed}, {bytes} bytes");
        late.iter().for_each(|it| assert_eq!(fleet.got.numbers[*it], last, "{it}, {what}"));
        late.iter().for_each(|it| assert_eq!(fleet.got.kept[*it], last, "{it}, {what}"));
        live.iter().for_each(|it| assert_eq!(fleet.got.numbers[*it], [0; 0], "{it}, {what}"));
        fleet.send(50, bytes);
        fleet.run(10);
        let whole: Vec<u32> = (280..350).collect();
        late.iter().for_each(|it| assert_eq!(fleet.got.numbers[*it], whole, "{it}, {what}"));
        live.iter().for_each(|it| assert_eq!(fleet.got.numbers[*it], whole[20..], "{it}, {what}"));
        assert_eq!(fleet.got.gaps, [0; MEMBERS], "{what}");
    }
}

/// Whoever takes a topic asks for what is kept all the same: it is told that, once more, and said
/// so before. Whatever it holds itself, and in the middle of what comes.
#[test]
fn what_is_kept_is_told_once_more_to_whoever_asks_again() {
    for (seed, bytes) in [(1, 40), (2, 900), (3, 3_000), (4, 900)] {
        let loss_ppm = if seed % 2 == 0 { 100_000 } else { 0 };
        let mut fleet = Fleet::new(Config::lan(), loss_ppm, seed);
        let takers = [9, 10, 12, SENDER - 1];
        takers.iter().for_each(|member| fleet.subscribe(*member, Start::Live));
        fleet.run(5);
        fleet.world.keep(SENDER, fleet.topic, Keep::Last(20));
        fleet.send(100, bytes);
        fleet.run(120);
        takers.iter().for_each(|member| fleet.subscribe(*member, Start::Buffered));
        fleet.run(30);
        let once_more: Vec<u32> = (0..100).chain(80..100).collect();
        let what = format!("seed {seed}, {bytes} bytes");
        for taker in takers {
            assert_eq!(fleet.got.numbers[taker], once_more, "{taker}, {what}");
            assert_eq!(fleet.got.kept[taker], once_more[100..], "{taker}, {what}");
        }
        // While it comes: some are held for repair besides.
        fleet.send(50, bytes);
        fleet.subscribe(9, Start::Buffered);
        fleet.send(50, bytes);
        fleet.run(10);
        let mut then = fleet.got.numbers[9].split_off(once_more.len());
        assert!(!then.is_sorted(), "some are told once more, {what}");
        then.sort_unstable();
        then.dedup();
        assert!(then.into_iter().filter(|number| *number >= 100).eq(100..200), "{what}");
        assert_eq!(fleet.got.gaps, [0; MEMBERS], "{what}");
    }
}

/// Whoever took nothing any more, and comes back for what comes, did not ask for what is kept.
#[test]
fn who_has_ended_says_anew_from_where_on() {
    let mut fleet = Fleet::new(Config::lan(), 0, 1);
    fleet.subscribe(9, Start::Live);
    fleet.world.keep(SENDER, fleet.topic, Keep::Last(20));
    fleet.send(100, 40);
    fleet.run(120);
    fleet.subscribe(33, Start::Buffered);
    fleet.world.rate(33, fleet.topic, Rating::NONE);
    fleet.run(5);
    fleet.subscribe(33, Start::Live);
    fleet.world.rate(33, fleet.topic, Rating::ALL);
    fleet.run(30);
    assert_eq!(fleet.got.numbers[33], [0; 0]);
    fleet.send(5, 40);
    fleet.run(5);
    assert_eq!(fleet.got.numbers[33], [100, 101, 102, 103, 104]);
}

#[test]
fn what_is_kept_outlives_some_of_those_who_keep_it() {
    for seed in 0..6 {
        let mut fleet = Fleet::new(Config::lan(), 0, seed);
        (0..16).for_each(|member| fleet.subscribe(member, Start::Live));
        fleet.run(5);
        fleet.world.keep(SENDER, fleet.topic, Keep::Last(100));
        fleet.send(200, 900);
        fleet.run(60);
        // Of the region asked two of eight go, and the sender.
        for gone in [1, 4, SENDER] {
            fleet.world.crash(gone);
        }
        fleet.subscribe(17, Start::Buffered);
        fleet.run(30);
        let last: Vec<u32> = (100..200).collect();
        assert_eq!(fleet.got.numbers[17], last, "seed {seed}");
    }
}

#[test]
fn quiet_topics_fill_no_more_than_half_of_the_buffers() {
    let mut config = Config::lan();
    config.multicast.buffer_bytes_max = 256 << 10;
    let mut fleet = Fleet::new(config, 0, 1);
    let topics: Vec<TopicId> = (0..20).map(|at| fleet.world.topic(&format!("t{at}"))).collect();
    for topic in &topics {
        fleet.topic = *topic;
        fleet.subscribe(SENDER - 1, Start::Live);
        fleet.world.keep(SENDER, *topic, Keep::Last(1_000));
    }
    fleet.run(5);
    for topic in &topics {
        fleet.topic = *topic;
        fleet.send(40, 900);
        fleet.run(1);
    }
    assert_eq!(fleet.got.numbers[SENDER - 1].len(), 800);
    fleet.run(30);
    for member in [SENDER, SENDER - 1] {
        let buffered = fleet.world.stats(member).buffered_bytes;
        assert!((64 << 10..=128 << 10).contains(&buffered), "{buffered} bytes at {member}");
    }
    // The last ones are there, the first ones are not.
    for topic in [topics[0], topics[19]] {
        fleet.topic = topic;
        fleet.subscribe(SENDER - 2, Start::Buffered);
    }
    fleet.run(30);
    let numbers = &fleet.got.numbers[SENDER - 2];
    assert_eq!(*numbers, (760..800).collect::<Vec<u32>>());
}

/// Where much is lost, the end of a stream is told of once more: of a few who take it one may have
/// heard nobody who told of it at first.
#[test]
fn who_heard_nobody_at_first_hears_of_a_streams_end_where_much_is_lost() {
    for seed in 0..10 {
        let mut fleet = Fleet::new(Config::lan(), 200_000, seed);
        let deaf = 17;
        [deaf, 30].iter().for_each(|member| fleet.subscribe(*member, Start::Live));
        fleet.run(10);
        fleet.send(300, 40);
        let blocked = (0..MEMBERS).filter(|other| *other != deaf).map(|other| (other, deaf));
        fleet.world.network.blocked.extend(blocked);
        fleet.send(1, 40);
        fleet.world.run(Duration::from_millis(4_500), &mut fleet.got);
        fleet.world.network.blocked.clear();
        fleet.run(10);
        for taker in [deaf, 30] {
            assert_eq!(fleet.got.numbers[taker].last(), Some(&300), "{taker}, seed {seed}");
        }
    }
}
