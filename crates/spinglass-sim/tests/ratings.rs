//! Ratings: whoever asks for a share of a topic gets that share, evenly, and lacks nothing else.

#![expect(clippy::unwrap_used, reason = "whatever fails here fails the test")]

use std::time::Duration;

use spinglass_core::{Config, Dissemination, Event, Instant, Rating, Start, TopicId};
use spinglass_sim::scenario::shares::{Parameters, run};
use spinglass_sim::{Network, Observer, Setup, World};

/// What members take, in turn.
const SHARES: [f64; 6] = [1.0, 0.01, 0.1, 0.2, 0.5, 0.75];
const MEMBERS: usize = 24;

/// The numbers of the messages that each member got, and the packets that it was told it lacks.
#[derive(Default)]
struct Got {
    numbers: Vec<Vec<u32>>,
    lost: u64,
}

impl Observer for Got {
    fn event(&mut self, _at: Instant, member: usize, _life: u64, event: &Event) {
        match event {
            Event::Message(message) => {
                let number = message.payload.first_chunk().map(|bytes| u32::from_le_bytes(*bytes));
                self.numbers[member].extend(number);
            }
            Event::Gap(gap) => self.lost += gap.packets,
            _ => (),
        }
    }
}

/// A region whose members take shares in turn.
struct Group {
    world: World,
    topic: TopicId,
    got: Got,
    sent: u32,
}

impl Group {
    fn new(dissemination: Dissemination, loss_ppm: u32, seed: u64) -> Self {
        let mut config = Config::lan();
        config.multicast.dissemination = dissemination;
        let network = Network { loss_ppm, ..Network::default() };
        let mut world = World::new(Setup::new(MEMBERS, config, seed), network);
        let topic = world.topic("readings");
        for member in 0..MEMBERS {
            world.rate(member, topic, rating(SHARES[member % SHARES.len()]));
            world.subscribe(member, topic, Start::Live);
        }
        let got = Got { numbers: vec![Vec::new(); MEMBERS], lost: 0 };
        Self { world, topic, got, sent: 0 }
    }

    /// Member 0 sends so many messages, 5 ms apart.
    fn send(&mut self, messages: u32, bytes: impl Fn(u32) -> usize) {
        for _ in 0..messages {
            let mut message = vec![7; bytes(self.sent)];
            message[..4].copy_from_slice(&self.sent.to_le_bytes());
            self.sent += 1;
            self.world.publish(0, self.topic, message, &mut self.got).unwrap();
            self.world.run(Duration::from_millis(5), &mut self.got);
        }
    }

    fn settle(&mut self) {
        self.world.run(Duration::from_secs(5), &mut self.got);
    }

    /// All but the sender: what each takes and got.
    fn members(&self) -> impl Iterator<Item = (f64, &Vec<u32>)> {
        let all = self.got.numbers.iter().enumerate().skip(1);
        all.map(|(member, numbers)| (SHARES[member % SHARES.len()], numbers))
    }
}

fn rating(share: f64) -> Rating {
    Rating::new(share).unwrap()
}

/// The standard deviation of gaps over their mean.
fn variation(numbers: &[u32]) -> f64 {
    let gaps: Vec<f64> = numbers.windows(2).map(|pair| f64::from(pair[1] - pair[0])).collect();
    let mean = gaps.iter().sum::<f64>() / gaps.len() as f64;
    let squares = gaps.iter().map(|gap| (gap - mean).powi(2)).sum::<f64>();
    (squares / gaps.len() as f64).sqrt() / mean
}

#[test]
fn everybody_gets_its_share_evenly_whatever_is_lost() {
    for dissemination in [Dissemination::Multicast, Dissemination::Trees] {
        for loss_ppm in [0, 50_000, 200_000] {
            let mut group = Group::new(dissemination, loss_ppm, 1);
            group.send(2_000, |_| 40);
            group.settle();
            for (share, numbers) in group.members() {
                let got = numbers.len() as f64 / f64::from(group.sent);
                let what = format!("{share} by {dissemination:?}, {loss_ppm} lost");
                assert!((got - share).abs() < 0.001, "{got} of {what}");
                let most = if [0.01, 0.1, 0.2, 1.0].contains(&share) { 0.001 } else { 0.6 };
                let variation = variation(numbers);
                assert!(variation < most, "variation {variation} of {what}");
            }
            assert_eq!(group.got.lost, 0, "what was passed over is no gap");
            // Nor is it loss: who takes a tenth would else plan for nine in ten lost.
            for member in 1..MEMBERS {
                let measured = group.world.stats(member).loss_ppm;
                assert!(measured <= loss_ppm * 2 + 20_000, "{measured} measured of {loss_ppm}");
            }
        }
    }
}

#[test]
fn who_takes_less_gets_a_part_of_what_one_gets_who_takes_more() {
    let mut group = Group::new(Dissemination::Trees, 50_000, 2);
    group.send(1_000, |_| 40);
    group.settle();
    let of = |wanted: f64| group.members().filter(move |(share, _)| *share == wanted);
    for (_, less) in of(0.1) {
        for (_, more) in of(0.5) {
            assert!(less.iter().all(|number| more.contains(number)));
        }
    }
}

#[test]
fn long_messages_are_taken_whole_and_as_often_as_short_ones() {
    // Every third message spans some packets.
    let long = |number: u32| number.is_multiple_of(3);
    let mut group = Group::new(Dissemination::Trees, 100_000, 3);
    group.send(3_000, |number| if long(number) { 5_000 } else { 40 });
    group.settle();
    for (share, numbers) in group.members() {
        let got = |wanted: bool| {
            let got = numbers.iter().filter(|number| long(**number) == wanted).count();
            got as f64 / f64::from(if wanted { group.sent / 3 } else { group.sent / 3 * 2 })
        };
        // Messages start at packets' numbers as they come: the share of each kind is one by chance.
        let off = |wanted| (got(wanted) - share).abs();
        let [short, long] = [got(false), got(true)];
        assert!(off(false) < 0.03 && off(true) < 0.03, "{short} and {long} of {share}");
    }
    assert_eq!(group.got.lost, 0);
}

/// Of messages numbered so every tenth is for all.
const ONE_FOR_ALL_IN: u32 = 10;

/// Whoever takes anything takes what is for all, as rows tell no more than before; who takes
/// nothing is sent none of it; and what is not for all is shared as ever.
#[test]
fn what_is_for_all_comes_to_all_who_take_anything() {
    let is_for_all = |number: &u32| number.is_multiple_of(ONE_FOR_ALL_IN);
    for dissemination in [Dissemination::Multicast, Dissemination::Trees] {
        for (seed, loss_ppm) in [(5, 0), (6, 50_000), (7, 200_000)] {
            let mut group = Group::new(dissemination, loss_ppm, seed);
            let nothing = 7;
            group.world.rate(nothing, group.topic, Rating::NONE);
            group.world.run(Duration::from_secs(2), &mut group.got);
            for number in 0..2_000_u32 {
                let (plain, for_all) = (group.topic, group.topic.for_all());
                let topic = if is_for_all(&number) { for_all } else { plain };
                let message = number.to_le_bytes().to_vec();
                group.world.publish(0, topic, message, &mut group.got).unwrap();
                group.world.run(Duration::from_millis(5), &mut group.got);
            }
            group.settle();
            let what = format!("by {dissemination:?}, {loss_ppm} lost");
            for (member, (share, numbers)) in (1..).zip(group.members()) {
                let got = numbers.iter().filter(|number| is_for_all(number)).count();
                assert_eq!(got, if member == nothing { 0 } else { 200 }, "of {share} {what}");
                let others = (numbers.len() - got) as f64 / 1_800.0;
                let share = if member == nothing { 0.0 } else { share };
                assert!((others - share).abs() < 0.001, "{others} of {share} {what}");
            }
            let untaken = group.world.stats(nothing).packets_received;
            assert!(dissemination == Dissemination::Multicast || untaken == 0, "{untaken} {what}");
            assert_eq!(group.got.lost, 0, "{what}");
        }
    }
}

/// Of thirty topics that have much to send one is drawn each time, but what is for all is next.
#[test]
fn what_is_for_all_leaves_before_what_waits() {
    (0..6).for_each(next_in_turn);
}

fn next_in_turn(seed: u64) {
    let mut group = Group::new(Dissemination::Trees, 0, seed);
    let topics: Vec<TopicId> =
        (0..30).map(|at| group.world.topic(&format!("readings/{at}"))).collect();
    topics.iter().for_each(|topic| group.world.subscribe(1, *topic, Start::Live));
    group.world.run(Duration::from_secs(2), &mut group.got);
    let plain = (0..20).flat_map(|_| topics.iter().copied()).map(|topic| (1, topic));
    for (number, topic) in plain.chain([(1_000_u32, group.topic.for_all())]) {
        let mut message = vec![7; 8_000];
        message[..4].copy_from_slice(&number.to_le_bytes());
        group.world.publish(0, topic, message, &mut group.got).unwrap();
    }
    group.settle();
    let numbers = &group.got.numbers[1];
    let place = numbers.iter().position(|number| *number == 1_000).unwrap();
    assert!(numbers.len() == 601 && place < 24, "{place} of {}", numbers.len());
}

#[test]
fn what_is_taken_changes_while_it_runs() {
    let mut group = Group::new(Dissemination::Trees, 50_000, 4);
    let (member, sent) = (7, 500);
    let mut got = Vec::new();
    for share in [0.01, 1.0, 0.2, 0.0] {
        group.world.rate(member, group.topic, rating(share));
        let before = group.got.numbers[member].len();
        group.send(sent, |_| 40);
        group.settle();
        got.push((share, (group.got.numbers[member].len() - before) as f64 / f64::from(sent)));
    }
    // Whoever takes more asks for the newest of what it has not heard of, too.
    assert!(got.iter().all(|(share, got)| (-0.01..0.05).contains(&(got - share))), "{got:?}");
    assert_eq!(group.got.lost, 0);
}

/// A world of which some take a topic, and what they got of messages that the last member sent.
struct Few {
    world: World,
    topic: TopicId,
    got: Got,
}

impl Few {
    fn new(setup: Setup, takers: &[usize], loss_ppm: u32) -> Self {
        let members = setup.members;
        let mut world = World::new(setup, Network { loss_ppm, ..Network::default() });
        let topic = world.topic("readings");
        takers.iter().for_each(|member| world.subscribe(*member, topic, Start::Live));
        let mut got = Got { numbers: vec![Vec::new(); members], lost: 0 };
        world.run(Duration::from_secs(10), &mut got);
        Self { world, topic, got }
    }

    fn send(&mut self, numbers: std::ops::Range<u32>) {
        let sender = self.got.numbers.len() - 1;
        for number in numbers {
            let mut message = vec![7; 200];
            message[..4].copy_from_slice(&number.to_le_bytes());
            self.world.publish(sender, self.topic, message, &mut self.got).unwrap();
            self.world.run(Duration::from_millis(5), &mut self.got);
        }
        self.world.run(Duration::from_secs(5), &mut self.got);
    }

    /// Packets that came to a member, wanted or not.
    fn packets_at(&self, member: usize) -> u64 {
        let stats = self.world.stats(member);
        stats.packets_received + stats.packets_untaken + stats.spread_surplus
    }
}

#[test]
fn who_takes_nothing_of_a_topic_is_sent_nothing_of_it() {
    let takers = [3, 5, 11, 17];
    for dissemination in [Dissemination::Trees, Dissemination::Multicast, Dissemination::Both] {
        for loss_ppm in [0, 200_000] {
            let mut config = Config::lan();
            config.multicast.dissemination = dissemination;
            let mut few = Few::new(Setup::new(MEMBERS, config, 5), &takers, loss_ppm);
            few.send(0..500);
            let what = format!("{dissemination:?}, {loss_ppm} lost");
            for member in 0..MEMBERS - 1 {
                let is_taker = takers.contains(&member);
                let got = few.got.numbers[member].len();
                assert_eq!(got, if is_taker { 500 } else { 0 }, "{member}, {what}");
                assert!(is_taker || few.packets_at(member) == 0, "{member}, {what}");
            }
            assert_eq!(few.got.lost, 0, "{what}");
        }
    }
}

/// In regions those who speak for a zone carry for it what anybody there takes, and nobody else
/// does; nothing goes to zones in which nobody takes anything.
#[test]
fn a_topic_goes_to_the_zones_in_which_it_is_taken() {
    for (seed, loss_ppm) in [(0, 0), (1, 0), (2, 200_000), (3, 200_000)] {
        let mut setup = Setup::new(64, Config::lan(), seed);
        (setup.region_members, setup.zone_children) = (8, 2);
        // Two of the first region, one of the third; the sender is of the last.
        let takers = [6, 7, 21];
        let mut few = Few::new(setup, &takers, loss_ppm);
        few.send(0..300);
        for taker in takers {
            assert_eq!(few.got.numbers[taker].len(), 300, "{taker}, seed {seed}");
        }
        let had = |member: &usize| few.packets_at(*member) > 0 && !takers.contains(member);
        let carriers: Vec<usize> = (0..63).filter(had).collect();
        // Three speak for each region, and some of them for what is above it.
        let of_region = |region| carriers.iter().filter(|it| **it / 8 == region).count();
        assert!((0..8).all(|region| of_region(region) <= 3), "seed {seed}: {carriers:?}");
        assert!(carriers.len() <= 12, "seed {seed}: {carriers:?}");
        assert_eq!(few.got.lost, 0, "seed {seed}");
    }
}

/// What one missed that takes a hundredth lies far below the newest when somebody tells of it.
#[test]
fn who_takes_little_asks_for_what_lies_far_back() {
    let mut config = Config::lan();
    // Nothing is announced when a stream goes quiet: digests alone tell.
    config.multicast.tail_wait = Duration::ZERO;
    let mut few = Few::new(Setup::new(6, config, 7), &[0, 1, 2, 3], 0);
    let little = 4;
    few.world.rate(little, few.topic, rating(0.01));
    few.world.subscribe(little, few.topic, Start::Live);
    few.world.run(Duration::from_secs(2), &mut few.got);
    few.send(0..200);
    let before = few.got.numbers[little].len();
    assert!((2..=4).contains(&before), "{before}");
    // It hears nothing for a while, and misses one packet, or two.
    few.world.network.blocked.extend([0, 1, 2, 3, 5].map(|other| (other, little)));
    for number in 200..350 {
        let message = u32::to_le_bytes(number).to_vec();
        few.world.publish(5, few.topic, message, &mut few.got).unwrap();
        few.world.run(Duration::from_millis(2), &mut few.got);
    }
    few.world.network.blocked.clear();
    few.world.run(Duration::from_secs(4), &mut few.got);
    let numbers: Vec<u32> = (0..350).filter(|it| few.got.numbers[little].contains(it)).collect();
    assert!(numbers.windows(2).all(|pair| pair[1] - pair[0] == 100), "{numbers:?}");
    assert!(numbers.last() > Some(&249), "{numbers:?}");
}

#[test]
fn who_subscribes_later_gets_what_is_sent_from_then_on() {
    for seed in 0..8 {
        let mut few = Few::new(Setup::new(MEMBERS, Config::lan(), seed), &[1, 2], 50_000);
        few.send(0..200);
        few.world.subscribe(9, few.topic, Start::Live);
        few.world.run(Duration::from_secs(2), &mut few.got);
        few.send(200..400);
        let numbers = &few.got.numbers[9];
        assert!((200..400).all(|number| numbers.contains(&number)), "seed {seed}: {numbers:?}");
        assert!(few.got.numbers[1].len() == 400 && few.got.lost == 0, "seed {seed}");
    }
}

/// Everybody may ask for more topics than there are but its own: it gets those that there are.
#[test]
fn shares_of_many_topics_are_taken_at_once() {
    for (region_members, loss) in [(0, 0.0), (0, 0.1), (16, 0.1)] {
        let report = run(
            &Parameters {
                members: 48,
                region_members,
                topics: 8,
                ratings: SHARES.to_vec(),
                most_topics: 20,
                all_as_many: true,
                rate: 20.0,
                bytes: 100,
                seconds: 10.0,
                loss,
                seed: 1,
            },
            &mut |_| (),
        );
        let what = format!("{loss} lost, {region_members} in a region");
        assert!(report.worst_off < 0.01, "{} off, {what}", report.worst_off);
        assert_eq!((report.lost, report.unasked, report.untaken), (0, 0, 0), "{what}");
        let subscriptions: usize = report.ratings.iter().map(|of| of.subscriptions).sum();
        assert_eq!(subscriptions, 48 * 8 - 8, "{what}");
    }
}

/// A message goes on in packets that are not taken, and the next one that is comes seconds later:
/// by then nobody has them any more.
#[test]
fn a_long_message_of_a_slow_stream_is_fetched_at_once() {
    let report = run(
        &Parameters {
            members: 24,
            region_members: 0,
            topics: 4,
            ratings: vec![0.2],
            most_topics: 3,
            all_as_many: true,
            rate: 1.0,
            bytes: 1_500,
            seconds: 30.0,
            loss: 0.02,
            seed: 1,
        },
        &mut |_| (),
    );
    let got: f64 = report.ratings.iter().map(|of| of.share).sum();
    assert!(report.lost == 0 && got > 0.1, "{} lost, {got} got", report.lost);
}
