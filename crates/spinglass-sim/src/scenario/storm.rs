//! A storm: all events come many times as often at once, and members have capped what they receive.

use std::collections::BTreeMap;
use std::ops::Range;
use std::time::Duration;

use serde::Serialize;
use spinglass_core::{Config, Event, Instant, Prng, Rating, Start, TopicId};

use super::{Summary, variation};
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
    /// Topics that every member takes.
    pub each: usize,
    /// How much of a topic is taken, by turns.
    pub ratings: Vec<f64>,
    /// What members may be sent, in bytes per second, by turns; 0: whatever there is.
    pub caps: Vec<u64>,
    /// Messages per second and topic while all is calm.
    pub rate: f64,
    /// How many times as many there are in the storm.
    pub times: f64,
    /// Bytes of a message.
    pub bytes: usize,
    /// Seconds of calm before the storm, and after it.
    pub calm_seconds: u32,
    /// Seconds of storm.
    pub storm_seconds: u32,
    /// The probability that a datagram is lost.
    pub loss: f64,
    /// The seed.
    pub seed: u64,
}

/// What was seen of members with one cap.
#[derive(Debug, Clone, Serialize)]
pub struct OfCap {
    /// Bytes per second; 0: none.
    pub cap: u64,
    /// Members.
    pub members: usize,
    /// The most that any of them received in any second, over the cap.
    pub worst_over_cap: f64,
    /// Bytes per second that one of them received in the storm, on average.
    pub bytes_per_second: f64,
    /// The share of what they take that they got, in the storm.
    pub storm_share: f64,
    /// The same while all was calm: the worst of them.
    pub worst_calm_share: f64,
    /// Of those who take a topic whole, the standard deviation of the gaps between the numbers they
    /// got in the storm, over their mean; on average.
    pub variation: f64,
    /// Packets of topics taken whole that neither came nor were told as gaps.
    pub untold: u64,
    /// Packets that were lost, not thinned.
    pub lost: u64,
}

/// What was seen.
#[derive(Debug, Clone, Serialize)]
pub struct Report {
    /// What was run.
    pub parameters: Parameters,
    /// Messages that were sent.
    pub published: u64,
    /// By cap.
    pub caps: Vec<OfCap>,
    /// The worst of [`OfCap::worst_over_cap`].
    pub worst_over_cap: f64,
    /// Of members without a cap: packets told as gaps, or not told.
    pub uncapped_lost: u64,
    /// The least share of what it can carry that a cap is used to, by members that are thinned.
    pub least_used: f64,
    /// All of [`OfCap::untold`].
    pub untold: u64,
}

/// One subscription.
#[derive(Default)]
struct Got {
    numbers: Vec<u64>,
    told: u64,
}

/// Who takes how much of which topic, by its place.
type Taken = BTreeMap<(usize, usize), Rating>;

/// What was seen of one subscription: see [`OfCap`].
struct OfSubscription {
    storm_share: f64,
    calm_share: f64,
    /// Of a topic that is taken whole.
    variation: Option<f64>,
    untold: u64,
}

struct Watch {
    got: BTreeMap<(usize, TopicId), Got>,
}

impl Observer for Watch {
    fn event(&mut self, _at: Instant, member: usize, _life: u64, event: &Event) {
        match event {
            Event::Message(message) => {
                let got = self.got.entry((member, message.stream.topic)).or_default();
                got.numbers.extend(read_payload(&message.payload).map(|(_, _, number)| number));
            }
            Event::Gap(gap) => {
                self.got.entry((member, gap.stream.topic)).or_default().told += gap.packets;
            }
            _ => (),
        }
    }
}

/// Before anything is sent: what members take is known from the start.
const WARM_UP: Duration = Duration::from_secs(5);
/// Longer than any repair takes.
const SETTLE: Duration = Duration::from_secs(8);
/// Parts of a second into which sending is cut.
const STEPS: u32 = 50;
const STEP: Duration = Duration::from_millis(20);

/// One run, as it goes.
struct Run<'a> {
    parameters: &'a Parameters,
    world: World,
    watch: Watch,
    topics: Vec<TopicId>,
    /// The number of each topic's next message.
    next: Vec<u64>,
    /// How much of the next message is due, by topic.
    due: Vec<f64>,
    /// Bytes that each member had received when the last second ended.
    received: Vec<u64>,
    /// The most that each received in a second.
    most: Vec<u64>,
}

/// Runs it.
///
/// # Panics
/// Never: what is published fits the queues.
pub fn run(parameters: &Parameters, progress: &mut dyn FnMut(f64)) -> Report {
    let Parameters { members, topics, calm_seconds, storm_seconds, rate, .. } = *parameters;
    let network = Network { loss_ppm: (parameters.loss * 1e6) as u32, ..Network::default() };
    let mut setup = Setup::new(members, Config::lan(), parameters.seed);
    setup.region_members = parameters.region_members;
    setup.caps.clone_from(&parameters.caps);
    let mut world = World::new(setup, network);
    let names = (0..topics).map(|topic| world.topic(&format!("topic/{topic}"))).collect();
    let mut run = Run {
        parameters,
        world,
        watch: Watch { got: BTreeMap::new() },
        topics: names,
        next: vec![0; topics],
        due: (0..topics).map(|topic| topic as f64 / topics as f64).collect(),
        received: Vec::new(),
        most: vec![0; members],
    };
    let taken = run.subscribe();
    run.world.settle(&[]);
    run.world.run(WARM_UP, &mut run.watch);
    run.received = (0..members).map(|member| run.world.stats(member).bytes_received).collect();
    let seconds = f64::from(calm_seconds * 2 + storm_seconds);
    let mut done = 0.0;
    let mut phase = |run: &mut Run<'_>, seconds_of_it: u32, rate: f64| {
        let from = run.next.clone();
        let before = run.received.clone();
        for _ in 0..seconds_of_it {
            run.second(rate);
            done += 1.0 / seconds;
            progress(done);
        }
        (from, before)
    };
    phase(&mut run, calm_seconds, rate);
    let (storm_from, before) = phase(&mut run, storm_seconds, rate * parameters.times);
    let after = run.received.clone();
    let (storm_until, _) = phase(&mut run, calm_seconds, rate);
    let paid = after.iter().zip(&before).map(|(after, before)| after - before);
    let paid: Vec<f64> = paid.map(|bytes| bytes as f64 / f64::from(storm_seconds)).collect();
    run.world.run(SETTLE, &mut run.watch);
    let storm = storm_from.into_iter().zip(storm_until).map(|(from, until)| from..until);
    run.report(&taken, &paid, &storm.collect::<Vec<_>>())
}

impl Run<'_> {
    /// Draws who takes which topics.
    fn subscribe(&mut self) -> Taken {
        let parameters = self.parameters;
        let mut rng = Prng::new(parameters.seed).fork("subscriptions");
        let mut taken = BTreeMap::new();
        for member in 0..parameters.members {
            let mut drawn = 0;
            while drawn < parameters.each.min(self.topics.len().saturating_sub(1)) {
                let topic = rng.index(self.topics.len());
                let Some(name) = self.topics.get(topic).copied() else { continue };
                if topic % parameters.members == member || taken.contains_key(&(member, topic)) {
                    continue;
                }
                let share = parameters.ratings.get(rng.index(parameters.ratings.len()));
                let rating = share.and_then(|share| Rating::new(*share).ok()).unwrap_or_default();
                taken.insert((member, topic), rating);
                drawn += 1;
                self.world.rate(member, name, rating);
                self.world.subscribe(member, name, Start::Live);
            }
        }
        taken
    }

    /// A second in which each topic has so many messages.
    fn second(&mut self, rate: f64) {
        for _ in 0..STEPS {
            for topic in 0..self.topics.len() {
                self.due[topic] += rate / f64::from(STEPS);
                while self.due[topic] >= 1.0 {
                    self.due[topic] -= 1.0;
                    let sender = topic % self.parameters.members;
                    let text = payload(sender, 1, self.next[topic], self.parameters.bytes);
                    self.next[topic] += 1;
                    let (name, watch) = (self.topics[topic], &mut self.watch);
                    self.world.publish(sender, name, text, watch).expect("it fits the queue");
                }
            }
            self.world.run(STEP, &mut self.watch);
        }
        for member in 0..self.parameters.members {
            let received = self.world.stats(member).bytes_received;
            self.most[member] = self.most[member].max(received - self.received[member]);
            self.received[member] = received;
        }
    }

    fn report(&self, taken: &Taken, paid: &[f64], storm: &[Range<u64>]) -> Report {
        let parameters = self.parameters;
        let turns = parameters.caps.len().max(1);
        let caps = (0..turns).map(|turn| self.of_cap(turn, turns, (taken, paid, storm)));
        let caps: Vec<OfCap> = caps.collect();
        let uncapped = caps.iter().filter(|of| of.cap == 0);
        let is_thinned = |of: &&OfCap| of.cap > 0 && of.storm_share < 0.99;
        let used = |of: &OfCap| of.bytes_per_second / of.cap as f64;
        Report {
            parameters: parameters.clone(),
            published: self.next.iter().sum(),
            worst_over_cap: caps.iter().map(|of| of.worst_over_cap).fold(0.0, f64::max),
            uncapped_lost: uncapped.map(|of| of.lost + of.untold).sum(),
            least_used: caps.iter().filter(is_thinned).map(used).fold(1.0, f64::min),
            untold: caps.iter().map(|of| of.untold).sum(),
            caps,
        }
    }

    /// What was seen of the members whose turn has this cap.
    fn of_cap(
        &self,
        turn: usize,
        turns: usize,
        (taken, paid, storm): (&Taken, &[f64], &[Range<u64>]),
    ) -> OfCap {
        let own = |member: &usize| member % turns == turn;
        let members: Vec<usize> = (0..self.parameters.members).filter(own).collect();
        let subscriptions = taken.iter().filter(|((member, _), _)| own(member));
        let seen = subscriptions.map(|((member, topic), rating)| {
            self.of_subscription(*member, *topic, *rating, storm[*topic].clone())
        });
        let seen: Vec<OfSubscription> = seen.collect();
        let mean = |of: &[f64]| Summary::of(of).mean;
        let shares: Vec<f64> = seen.iter().map(|of| of.storm_share).collect();
        let variations: Vec<f64> = seen.iter().filter_map(|of| of.variation).collect();
        let spent: Vec<f64> = members.iter().map(|member| paid[*member]).collect();
        let most = members.iter().map(|member| self.most[*member]).max().unwrap_or(0);
        let lost = members.iter().map(|member| self.world.stats(*member).packets_lost);
        let cap = self.world.setup().cap(turn);
        OfCap {
            cap,
            members: members.len(),
            worst_over_cap: if cap > 0 { most as f64 / cap as f64 } else { 0.0 },
            bytes_per_second: mean(&spent),
            storm_share: mean(&shares),
            worst_calm_share: seen.iter().map(|of| of.calm_share).fold(1.0, f64::min),
            variation: mean(&variations),
            untold: seen.iter().map(|of| of.untold).sum(),
            lost: lost.sum(),
        }
    }

    fn of_subscription(
        &self,
        member: usize,
        topic: usize,
        rating: Rating,
        storm: Range<u64>,
    ) -> OfSubscription {
        let nothing = Got::default();
        let got = self.watch.got.get(&(member, self.topics[topic])).unwrap_or(&nothing);
        let (sent, of_storm) = (self.next[topic], storm.end - storm.start);
        let in_storm = got.numbers.iter().copied().filter(|number| storm.contains(number));
        let in_storm: Vec<u64> = in_storm.collect();
        let in_calm = got.numbers.len() - in_storm.len();
        let share = |got: usize, of: u64| got as f64 / (of as f64 * rating.share()).max(1.0);
        let is_whole = rating == Rating::ALL;
        let heard = got.numbers.len() as u64 + got.told;
        OfSubscription {
            storm_share: share(in_storm.len(), of_storm),
            calm_share: share(in_calm, sent - of_storm),
            variation: is_whole.then(|| variation(&in_storm)),
            untold: if is_whole { sent.saturating_sub(heard) } else { 0 },
        }
    }
}
