//! Patterns: whoever takes topics by one gets the messages of all that match it, and of no other.

#![expect(clippy::unwrap_used, reason = "whatever fails here fails the test")]

use std::collections::BTreeMap;
use std::time::Duration;

use spinglass_core::{Config, Event, Instant, Keep, Pattern, Rating, Start, TopicId};
use spinglass_sim::{Network, Observer, Setup, World};

const MEMBERS: usize = 48;
/// The members that send.
const SENDERS: [usize; 3] = [7, 30, 47];
/// On these topics, each of them.
const TOPICS: [&str; 6] = [
    "grid/ny/1/frequency",
    "grid/ny/2/frequency",
    "grid/ny/2/load",
    "grid/nj/3/frequency",
    "grid",
    "market/ny",
];

/// What each member got: of each topic how many messages, and how many that were for all; and the
/// gaps it was told.
struct Got {
    topics: BTreeMap<TopicId, &'static str>,
    messages: Vec<BTreeMap<&'static str, u64>>,
    for_all: Vec<u64>,
    gaps: u64,
}

impl Observer for Got {
    fn event(&mut self, _at: Instant, member: usize, _life: u64, event: &Event) {
        match event {
            Event::Message(message) if message.stream.topic.is_for_all() => {
                self.for_all[member] += 1;
            }
            Event::Message(message) => {
                let topic = self.topics[&message.stream.topic];
                *self.messages[member].entry(topic).or_default() += 1;
            }
            Event::Gap(gap) => self.gaps += gap.packets,
            _ => (),
        }
    }
}

struct Fleet {
    world: World,
    got: Got,
}

impl Fleet {
    /// Six regions in two zones, that have come to know each other.
    fn new(loss_ppm: u32, seed: u64) -> Self {
        let mut setup = Setup::new(MEMBERS, Config::lan(), seed);
        (setup.region_members, setup.zone_children) = (8, 3);
        let mut world = World::new(setup, Network { loss_ppm, ..Network::default() });
        let topics = TOPICS.iter().map(|text| (world.topic(text), *text)).collect();
        let messages = vec![BTreeMap::new(); MEMBERS];
        let got = Got { topics, messages, for_all: vec![0; MEMBERS], gaps: 0 };
        let mut fleet = Self { world, got };
        fleet.run(15);
        fleet
    }

    fn run(&mut self, seconds: u64) {
        self.run_ms(1_000 * seconds);
    }

    fn run_ms(&mut self, ms: u64) {
        self.world.run(Duration::from_millis(ms), &mut self.got);
    }

    fn take(&mut self, member: usize, pattern: &str, start: Start, share: f64) {
        let (pattern, rating) = (Pattern::new(pattern).unwrap(), Rating::new(share).unwrap());
        self.world.subscribe_pattern(member, &pattern, start, rating).unwrap();
    }

    /// Each sender so many messages on each topic.
    fn send(&mut self, messages: u32) {
        for _ in 0..messages {
            for sender in SENDERS {
                for text in TOPICS {
                    let topic = self.world.name_topic(sender, text);
                    self.world.publish(sender, topic, vec![7_u8; 40], &mut self.got).unwrap();
                }
            }
            self.run_ms(20);
        }
    }

    /// Of each topic, how many messages a member got.
    fn got(&self, member: usize) -> Vec<u64> {
        let of = |text: &&str| self.got.messages[member].get(text).copied().unwrap_or(0);
        TOPICS.iter().map(of).collect()
    }

    /// Packets that came to a member, wanted or not.
    fn packets_at(&self, member: usize) -> u64 {
        let stats = self.world.stats(member);
        stats.packets_received + stats.packets_untaken + stats.spread_surplus
    }
}

/// As many of each sender, of the topics that match.
fn expected(pattern: &str, messages: u64) -> Vec<u64> {
    let pattern = Pattern::new(pattern).unwrap();
    let of = |text: &&str| if pattern.matches(text) { messages * SENDERS.len() as u64 } else { 0 };
    TOPICS.iter().map(of).collect()
}

#[test]
fn each_gets_what_its_pattern_matches_and_nothing_else() {
    for (seed, loss_ppm) in (0..12).map(|seed| (seed, [0, 50_000, 200_000][seed as usize % 3])) {
        let mut fleet = Fleet::new(loss_ppm, seed);
        let takers = [
            (0, "grid/ny/+/frequency"),
            (1, "grid/#"),
            (9, "grid/+/+/frequency"),
            (25, "market/+"),
            (41, "#"),
            (46, "other/#"),
        ];
        for (member, pattern) in takers {
            fleet.take(member, pattern, Start::Live, 1.0);
        }
        fleet.run(10);
        fleet.send(100);
        fleet.run(10);
        for (member, pattern) in takers {
            let what = format!("{member} by {pattern}, seed {seed}, {loss_ppm} lost");
            assert_eq!(fleet.got(member), expected(pattern, 100), "{what}");
        }
        assert_eq!(fleet.got.gaps, 0, "seed {seed}");
    }
}

#[test]
fn where_nothing_matches_nothing_is_sent_once_texts_are_known() {
    let mut fleet = Fleet::new(0, 1);
    fleet.take(10, "market/#", Start::Live, 1.0);
    fleet.take(18, "weather/#", Start::Live, 1.0);
    fleet.run(10);
    fleet.send(100);
    // Whom a pattern might concern is sent some packets, until it has asked what they are about.
    let before: Vec<u64> = (0..MEMBERS).map(|member| fleet.packets_at(member)).collect();
    fleet.send(200);
    fleet.run(5);
    let astray = (16..24).map(|member| fleet.packets_at(member) - before[member]).sum::<u64>();
    assert_eq!(astray, 0, "in the region where nothing matches");
    assert_eq!(fleet.got(10), expected("market/#", 300));
    assert_eq!(fleet.got(18), [0; TOPICS.len()]);
}

#[test]
fn a_pattern_takes_a_share_and_ends_and_begins_with_what_is_kept() {
    (0..4).for_each(shared_ended_and_kept);
}

fn shared_ended_and_kept(seed: u64) {
    let mut fleet = Fleet::new(50_000, seed);
    for sender in SENDERS {
        for text in TOPICS {
            let topic = fleet.world.name_topic(sender, text);
            fleet.world.keep(sender, topic, Keep::Last(5));
        }
    }
    fleet.take(9, "grid/#", Start::Live, 0.2);
    fleet.run(5);
    fleet.send(200);
    fleet.run(60);
    let fifth = fleet.got(9);
    let all = expected("grid/#", 200);
    let is_fifth = |(got, all): (&u64, &u64)| got.abs_diff(all / 5) <= 3;
    assert!(fifth.iter().zip(&all).all(is_fifth), "{fifth:?}");
    // One that comes now gets the last five of each.
    fleet.take(12, "grid/ny/#", Start::Buffered, 1.0);
    fleet.run(20);
    assert_eq!(fleet.got(12), expected("grid/ny/#", 5));
    // Nothing more for whom it ends.
    fleet.take(9, "grid/#", Start::Live, 0.0);
    fleet.run(5);
    fleet.send(20);
    fleet.run(5);
    assert_eq!(fleet.got(9), fifth);
    assert_eq!(fleet.got(12), expected("grid/ny/#", 25));
    assert_eq!(fleet.got.gaps, 0);
}

/// In whatever region, and as soon as it turns out that the pattern matches.
#[test]
fn what_is_for_all_comes_to_whoever_takes_a_share_by_a_pattern() {
    for (seed, loss_ppm) in (0..6).map(|seed| (seed, [0, 50_000, 200_000][seed as usize % 3])) {
        let mut fleet = Fleet::new(loss_ppm, seed);
        let takers = [(9, "grid/#", 0.2), (25, "#", 0.01), (41, "market/+", 0.5)];
        for (member, pattern, share) in takers {
            fleet.take(member, pattern, Start::Live, share);
        }
        fleet.run(10);
        for _ in 0..100 {
            for sender in SENDERS {
                for text in TOPICS {
                    let topic = fleet.world.name_topic(sender, text).for_all();
                    fleet.world.publish(sender, topic, vec![7_u8; 40], &mut fleet.got).unwrap();
                }
            }
            fleet.run_ms(20);
        }
        fleet.run(10);
        for (member, pattern, _) in takers {
            let all: u64 = expected(pattern, 100).iter().sum();
            let what = format!("{member} by {pattern}, seed {seed}, {loss_ppm} lost");
            assert_eq!(fleet.got.for_all[member], all, "{what}");
        }
        assert_eq!(fleet.got.for_all.iter().filter(|got| **got > 0).count(), takers.len());
        assert_eq!(fleet.got.gaps, 0, "seed {seed}");
    }
}

/// Who carries a topic for its region holds some of what is kept, and is told of none of it unless
/// it asks for that.
#[test]
fn a_live_pattern_begins_with_what_comes_also_where_the_topic_was_carried() {
    const CARRIERS: [usize; 3] = [8, 9, 10];
    let mut fleet = Fleet::new(0, 1);
    let topic = fleet.world.topic(TOPICS[0]);
    fleet.world.subscribe(15, topic, Start::Live);
    for sender in SENDERS {
        let topic = fleet.world.name_topic(sender, TOPICS[0]);
        fleet.world.keep(sender, topic, Keep::Last(20));
    }
    fleet.run(5);
    fleet.send(100);
    // Just after, while all of it is held for repair, and when only what is kept is left.
    for (seconds, members) in [(0, [8, 9]), (60, [10, 11])] {
        fleet.run(seconds);
        members.into_iter().for_each(|member| fleet.take(member, "grid/#", Start::Live, 1.0));
        fleet.run(10);
        // Who carries nothing may be given the tail of what ended just now.
        for carrier in members.into_iter().filter(|member| CARRIERS.contains(member)) {
            assert_eq!(fleet.got(carrier)[0], 0, "{carrier} after {seconds} s");
        }
    }
    fleet.send(10);
    fleet.run(10);
    for member in 8..12 {
        let got = fleet.got(member);
        assert!(got[0] >= 30 && got[5] == 0, "{member}: {got:?}");
    }
}
