//! Shares of topics: what each member gets of what it asked for, how evenly, and what it pays.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::Serialize;
use spinglass_core::{Config, Event, Instant, Prng, Rating, Start, TopicId};

use super::{quantile, variation};
use crate::check::{payload, read_payload};
use crate::network::Network;
use crate::setup::Setup;
use crate::world::{Observer, World};

/// What to run.
#[derive(Debug, Clone, Serialize)]
pub struct Parameters {
    /// The group's size.
    pub members: usize,
    /// Members per region; 0: all are in one.
    pub region_members: usize,
    /// Topics; as many members, the first ones, send one each.
    pub topics: usize,
    /// What is taken, drawn for each subscription.
    pub ratings: Vec<f64>,
    /// The most topics that a member subscribes to; how many is drawn.
    pub most_topics: usize,
    /// Whether everybody subscribes to that many.
    pub all_as_many: bool,
    /// Messages per second and topic.
    pub rate: f64,
    /// Bytes of the shortest message; the longest has four times as many.
    pub bytes: usize,
    /// Seconds of sending.
    pub seconds: f64,
    /// The probability that a datagram is lost.
    pub loss: f64,
    /// The seed.
    pub seed: u64,
}

/// What was seen of the subscriptions of one rating.
#[derive(Debug, Clone, Serialize)]
pub struct OfRating {
    /// The rating.
    pub rating: f64,
    /// Subscriptions.
    pub subscriptions: usize,
    /// The share of all messages that they got.
    pub share: f64,
    /// By how much the one farthest off was off.
    pub worst_off: f64,
    /// The largest standard deviation of the gaps between received numbers, over their mean.
    pub worst_variation: f64,
    /// Milliseconds until a message was there: half of all, and 99 in 100.
    pub p50_ms: f64,
    /// See [`p50_ms`](Self::p50_ms).
    pub p99_ms: f64,
}

/// What members pay, as a straight line over the sum of what they take.
#[derive(Debug, Clone, Copy, Serialize)]
pub struct Load {
    /// Bytes per second, in and out, of one that takes nothing.
    pub constant: f64,
    /// What one more topic, of which everything is taken, adds.
    pub slope: f64,
    /// How much of the difference between members the line explains.
    pub r_squared: f64,
    /// The most that one pays who takes nothing.
    pub of_nothing_most: f64,
}

/// What was seen.
#[derive(Debug, Clone, Serialize)]
pub struct Report {
    /// What was run.
    pub parameters: Parameters,
    /// Messages that were sent.
    pub published: u64,
    /// By rating.
    pub ratings: Vec<OfRating>,
    /// The worst of [`OfRating::worst_off`].
    pub worst_off: f64,
    /// The worst difference between what is got of short and of long messages.
    pub worst_size_bias: f64,
    /// Members that send nothing.
    pub load: Load,
    /// Bytes per second, in and out, of a member, on average over all.
    pub bytes_per_second: f64,
    /// The same of one that sends.
    pub sender_bytes_per_second: f64,
    /// Packets told as lost.
    pub lost: u64,
    /// Messages of a topic that whoever got them had not asked for.
    pub unasked: u64,
    /// Packets that came to members that neither take anything of their topic nor pass it on.
    pub untaken: u64,
}

/// One subscription: what came.
#[derive(Default)]
struct Got {
    numbers: Vec<u64>,
    long: u64,
    /// Milliseconds that each took.
    delays: Vec<f64>,
}

struct Watch {
    topics: Vec<TopicId>,
    got: BTreeMap<(usize, TopicId), Got>,
    sent: BTreeMap<(TopicId, u64), u64>,
    lost: u64,
    unasked: u64,
}

impl Observer for Watch {
    fn event(&mut self, at: Instant, member: usize, _life: u64, event: &Event) {
        match event {
            Event::Message(message) => {
                let topic = message.stream.topic;
                let Some(got) = self.got.get_mut(&(member, topic)) else {
                    self.unasked += 1;
                    return;
                };
                let Some((_, _, number)) = read_payload(&message.payload) else { return };
                got.numbers.push(number);
                got.long += u64::from(is_long(number));
                let sent = self.sent.get(&(topic, number)).copied().unwrap_or(0);
                got.delays.push(at.as_nanos().saturating_sub(sent) as f64 / 1e6);
            }
            Event::Gap(gap) => self.lost += gap.packets,
            _ => (),
        }
    }
}

/// Every third message is long.
const fn is_long(number: u64) -> bool {
    number.is_multiple_of(3)
}

/// Before anything is sent: what members take is known from the start.
const WARM_UP: Duration = Duration::from_secs(5);
/// Longer than any repair takes.
const SETTLE: Duration = Duration::from_secs(8);
/// Steps into which the time between two messages of a topic is cut, so that topics take turns.
const STEPS: usize = 16;

/// Runs it.
///
/// # Panics
/// Never: what is published fits the queues.
pub fn run(parameters: &Parameters, progress: &mut dyn FnMut(f64)) -> Report {
    let Parameters { members, topics, seconds, rate, bytes, .. } = *parameters;
    let network = Network { loss_ppm: (parameters.loss * 1e6) as u32, ..Network::default() };
    let mut setup = Setup::new(members, Config::lan(), parameters.seed);
    setup.region_members = parameters.region_members;
    let mut world = World::new(setup, network);
    let names = (0..topics).map(|topic| world.topic(&format!("topic/{topic}")));
    let names: Vec<TopicId> = names.collect();
    let taken = subscribe(&mut world, parameters, &names);
    world.settle(&[]);
    let mut watch = Watch {
        topics: names,
        got: taken.keys().map(|key| (*key, Got::default())).collect(),
        sent: BTreeMap::new(),
        lost: 0,
        unasked: 0,
    };
    world.run(WARM_UP, &mut watch);
    let before: Vec<u64> = (0..members).map(|member| bytes_of(&world, member)).collect();
    let started = world.now().monotonic;
    let messages = (seconds * rate).round() as u64;
    let step = Duration::from_secs_f64(1.0 / rate / STEPS as f64);
    for number in 0..messages {
        for turn in 0..STEPS {
            for topic in (turn..topics).step_by(STEPS) {
                let Some(name) = watch.topics.get(topic).copied() else { continue };
                let length = if is_long(number) { bytes * 4 } else { bytes };
                watch.sent.insert((name, number), world.now().monotonic.as_nanos());
                let sender = topic % members;
                let text = payload(sender, 1, number, length);
                world.publish(sender, name, text, &mut watch).expect("it fits the queue");
            }
            world.run(step, &mut watch);
        }
        progress((number + 1) as f64 / messages as f64);
    }
    let span = world.now().monotonic.since(started).as_secs_f64();
    let paid = |member: usize| {
        let before = before.get(member).copied().unwrap_or(0);
        (bytes_of(&world, member) - before) as f64 / span
    };
    let paid: Vec<f64> = (0..members).map(paid).collect();
    world.run(SETTLE, &mut watch);
    let untaken = (0..members).map(|member| world.stats(member).packets_untaken).sum();
    report(parameters, &taken, &paid, messages, (watch, untaken))
}

fn bytes_of(world: &World, member: usize) -> u64 {
    let stats = world.stats(member);
    stats.bytes_sent + stats.bytes_received
}

/// Draws who takes how much of what.
fn subscribe(
    world: &mut World,
    parameters: &Parameters,
    names: &[TopicId],
) -> BTreeMap<(usize, TopicId), Rating> {
    let mut rng = Prng::new(parameters.seed).fork("subscriptions");
    let mut taken = BTreeMap::new();
    for member in 0..parameters.members {
        // Whoever takes nothing says so, too.
        names.iter().take(1).for_each(|topic| world.rate(member, *topic, Rating::NONE));
        // Whoever sends a topic does not hear it.
        let is_sender = |topic: usize| topic % parameters.members == member;
        let heard = (0..names.len()).filter(|topic| !is_sender(*topic)).count();
        let most = parameters.most_topics.min(heard);
        let count = if parameters.all_as_many { most } else { rng.index(most + 1) };
        let mut drawn = 0;
        while drawn < count {
            let topic = rng.index(names.len());
            let share = parameters.ratings.get(rng.index(parameters.ratings.len()));
            let rating = share.and_then(|share| Rating::new(*share).ok()).unwrap_or_default();
            let Some(name) = names.get(topic).copied() else { continue };
            if is_sender(topic) || taken.contains_key(&(member, name)) {
                continue;
            }
            taken.insert((member, name), rating);
            drawn += 1;
            world.rate(member, name, rating);
            world.subscribe(member, name, Start::Live);
        }
    }
    taken
}

fn report(
    parameters: &Parameters,
    taken: &BTreeMap<(usize, TopicId), Rating>,
    paid: &[f64],
    messages: u64,
    (watch, untaken): (Watch, u64),
) -> Report {
    let long = (0..messages).filter(|number| is_long(*number)).count() as u64;
    let mut by_rating: BTreeMap<Rating, OfRating> = BTreeMap::new();
    let mut delays: BTreeMap<Rating, Vec<f64>> = BTreeMap::new();
    let mut worst_size_bias = 0.0_f64;
    for (key, rating) in taken {
        let Some(got) = watch.got.get(key) else { continue };
        let share = got.numbers.len() as f64 / messages as f64;
        let of = by_rating.entry(*rating).or_insert_with(|| OfRating {
            rating: rating.share(),
            subscriptions: 0,
            share: 0.0,
            worst_off: 0.0,
            worst_variation: 0.0,
            p50_ms: 0.0,
            p99_ms: 0.0,
        });
        delays.entry(*rating).or_default().extend(&got.delays);
        of.subscriptions += 1;
        of.share += share;
        of.worst_off = of.worst_off.max((share - rating.share()).abs());
        of.worst_variation = of.worst_variation.max(variation(&got.numbers));
        let short = got.numbers.len() as u64 - got.long;
        let [short, long] =
            [(short, messages - long), (got.long, long)].map(|(got, of)| got as f64 / of as f64);
        worst_size_bias = worst_size_bias.max((short - long).abs());
    }
    let ratings: Vec<OfRating> = by_rating
        .into_iter()
        .map(|(rating, of)| {
            let delays = delays.entry(rating).or_default();
            let (p50_ms, p99_ms) = (quantile(delays, 0.5), quantile(delays, 0.99));
            OfRating { share: of.share / of.subscriptions as f64, p50_ms, p99_ms, ..of }
        })
        .collect();
    let mut sums = vec![0.0; parameters.members];
    for ((member, _), rating) in taken {
        sums.iter_mut().skip(*member).take(1).for_each(|sum| *sum += rating.share());
    }
    let senders = parameters.topics.min(parameters.members);
    let mean = |paid: &[f64]| paid.iter().sum::<f64>() / paid.len().max(1) as f64;
    Report {
        published: messages * parameters.topics as u64,
        worst_off: ratings.iter().map(|of| of.worst_off).fold(0.0, f64::max),
        ratings,
        worst_size_bias,
        load: load(sums.iter().copied().zip(paid.iter().copied()).skip(senders)),
        bytes_per_second: mean(paid),
        sender_bytes_per_second: mean(paid.get(..senders).unwrap_or(&[])),
        lost: watch.lost,
        unasked: watch.unasked,
        untaken,
        parameters: parameters.clone(),
    }
}

/// The line of least squares through (what is taken, what is paid).
fn load(points: impl Iterator<Item = (f64, f64)> + Clone) -> Load {
    let count = points.clone().count().max(1) as f64;
    let mean_of = |get: fn((f64, f64)) -> f64| points.clone().map(get).sum::<f64>() / count;
    let (mean_x, mean_y) = (mean_of(|it| it.0), mean_of(|it| it.1));
    let (mut xx, mut xy, mut yy) = (0.0, 0.0, 0.0);
    for (x, y) in points.clone() {
        xx += (x - mean_x).powi(2);
        xy += (x - mean_x) * (y - mean_y);
        yy += (y - mean_y).powi(2);
    }
    let slope = if xx > 0.0 { xy / xx } else { 0.0 };
    let nothing = points.filter(|(taken, _)| *taken == 0.0).map(|(_, paid)| paid);
    Load {
        constant: mean_y - slope * mean_x,
        slope,
        r_squared: if xx * yy > 0.0 { xy * xy / (xx * yy) } else { 0.0 },
        of_nothing_most: nothing.fold(0.0, f64::max),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_found_again() {
        let points = [0.0, 1.0, 2.0, 5.0].map(|x| (x, 7.0 + 3.0 * x));
        let found = load(points.into_iter());
        assert!((found.constant - 7.0).abs() < 1e-9 && (found.slope - 3.0).abs() < 1e-9);
        assert!((found.r_squared - 1.0).abs() < 1e-9 && found.of_nothing_most == 7.0);
        let apart = load([(0.0, 1.0), (1.0, 9.0), (2.0, 1.0)].into_iter());
        assert!(apart.r_squared < 0.01);
    }
}
