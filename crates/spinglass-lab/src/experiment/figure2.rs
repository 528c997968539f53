//! Figure 2 of the paper: convoys. How uneven a stream has become when it has gone through some
//! levels of virtually synchronous groups, and through ours, where members are some hops of a
//! sender's tree away.
//!
//! What is measured is the coefficient of variation of the gaps between deliveries: 0 for a steady
//! stream, 1 for one whose messages come independently (Poisson).

use std::collections::BTreeMap;
use std::num::NonZeroU32;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use spinglass_core::{
    Config, Dissemination, Event, Instant, MemberId, Prng, Seen, Sighting, Start,
};
use spinglass_sim::{Network, Observer, Setup, World};

use super::classic::Load;
use super::{Experiment, Job, Measured, Results, SettingError, jobs, some, within};
use crate::gaps::Gaps;
use crate::opponents::hierarchy::{Hierarchy, Shape};
use crate::opponents::virtual_synchrony::Settings;
use crate::report::{Bar, Plot, Report, Series};
use crate::stage::{Audience, Stage, Wires};

const CLASSIC: &str = "groups in a hierarchy";
const OURS: &str = "Spinglass";
/// How messages come from the application, as it stands behind a protocol's name.
const STEADY: &str = ", steady source";
const RANDOM: &str = ", random source";

/// Time before it is measured.
const WARM_UP: Duration = Duration::from_secs(5);
/// Time for the last messages to arrive.
const SETTLE: Duration = Duration::from_secs(5);
/// Members between one and the source, at most: a tree that has changed may have a loop.
const LEVELS_MAX: u32 = 64;
/// One in so many of our messages is followed, for the trees' shape.
const FOLLOWED_ONE_IN: NonZeroU32 = NonZeroU32::new(16).unwrap();

/// How it is run.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Figure2 {
    /// Members of each group, its head not counted; ours has as many in all, and as many in each
    /// region.
    pub width: usize,
    /// Levels of groups.
    pub levels: u32,
    /// Seeds.
    pub seeds: Vec<u64>,
    /// Seconds of each run.
    pub seconds: u64,
    /// What is sent, and what that costs.
    pub load: Load,
    /// Datagrams that are lost, in parts per million.
    pub loss_ppm: u32,
    /// The share of 100 ms slots that one member of each group sleeps through.
    pub asleep: f64,
}

/// Watches everybody's stream.
struct Watch {
    gaps: Vec<Gaps>,
    /// From whom each member had how many packets that were followed.
    from: BTreeMap<usize, BTreeMap<MemberId, u64>>,
}

impl Watch {
    fn new(members: usize) -> Self {
        Self { gaps: vec![Gaps::default(); members], from: BTreeMap::new() }
    }
}

impl Audience for Watch {
    fn delivered(&mut self, at: u64, member: usize, _sender: usize, _sequence: u64) {
        self.gaps[member].add(at);
    }
}

impl Observer for Watch {
    fn event(&mut self, at: Instant, member: usize, _life: u64, event: &Event) {
        if matches!(event, Event::Message(_)) {
            self.gaps[member].add(at.as_nanos());
        }
    }

    fn sighted(&mut self, member: usize, sighting: &Sighting) {
        if let Seen::Received { from, repaired: false } = sighting.seen {
            *self.from.entry(member).or_default().entry(from).or_default() += 1;
        }
    }
}

/// When an application has something to say.
struct Source {
    mean: Duration,
    is_random: bool,
    rng: Prng,
}

impl Source {
    fn next_gap(&mut self) -> Duration {
        if !self.is_random {
            return self.mean;
        }
        let unit = (self.rng.below(1 << 53) + 1) as f64 / (1_u64 << 53) as f64;
        self.mean.mul_f64(-unit.ln())
    }
}

impl Figure2 {
    fn shape(&self) -> Shape {
        Shape { width: self.width, levels: self.levels }
    }

    fn source(&self, job: &Job) -> Source {
        let mean = Duration::from_nanos(1_000_000_000 / self.load.rate);
        let is_random = job.protocol.ends_with(RANDOM);
        Source { mean, is_random, rng: Prng::new(job.seed).fork("source") }
    }

    /// Who sleeps: the last member of each group.
    fn sleepers(&self) -> impl Iterator<Item = usize> {
        (1..self.shape().members()).filter(|member| self.sleeps(*member))
    }

    fn sleeps(&self, member: usize) -> bool {
        member > 0 && member.is_multiple_of(self.width)
    }

    fn classic(&self, job: &Job) -> Measured {
        let shape = self.shape();
        let member = |own| Hierarchy::new(own, shape, Settings::ensemble(), self.load.bytes);
        let members = (0..shape.members()).map(member).collect();
        let (least, most) = (Duration::from_micros(50), Duration::from_micros(250));
        let wires = Wires::Flat { least, most, loss_ppm: self.loss_ppm };
        let costs = self.load.costs(1);
        let mut stage = Stage::new(members, wires, costs, job.seed);
        self.sleepers().for_each(|it| stage.set_sleep(it, (self.asleep * 1e6) as u32));
        let mut source = self.source(job);
        let mut watch = Watch::new(shape.members());
        let mut waiting = 0;
        for span in [WARM_UP, Duration::from_secs(self.seconds)] {
            watch = Watch::new(shape.members());
            let until = stage.now() + span.as_nanos() as u64;
            while stage.now() < until {
                stage.run(source.next_gap(), &mut watch);
                watch.gaps[0].add(stage.now());
                waiting += 1;
                while waiting > 0 && stage.publish(0, self.load.bytes, &mut watch) {
                    waiting -= 1;
                }
            }
        }
        stage.run(SETTLE, &mut watch);
        let waited = (0..shape.members()).map(|it| stage.member(it).waiting_most()).max();
        let head = |member: usize| (member > 0).then(|| (member - 1) / self.width);
        let mut measured = self.by_level(&watch, head);
        measured.insert("waiting_most".into(), waited.unwrap_or(0) as f64);
        measured
    }

    fn ours(&self, job: &Job) -> Measured {
        let members = self.shape().members();
        let mut config = Config::lan();
        config.multicast.dissemination = Dissemination::Trees;
        config.link.datagram_bytes = 9000;
        config.multicast.buffer_bytes_max = 4 << 20;
        let mut setup = Setup::new(members, config, job.seed);
        setup.region_members = self.width + 1;
        setup.zone_children = self.width + 1;
        setup.followed_one_in = Some(FOLLOWED_ONE_IN);
        let network = Network { loss_ppm: self.loss_ppm, ..Network::default() };
        let mut world = World::new(setup, network);
        let topic = world.topic("figure2");
        (0..members).for_each(|member| world.subscribe(member, topic, Start::Live));
        let service = Duration::from_micros(self.load.datagram_us);
        (0..members).for_each(|member| world.set_service(member, service));
        let sleepers: Vec<usize> = self.sleepers().collect();
        sleepers.iter().for_each(|it| world.set_sleep(*it, (self.asleep * 1e6) as u32));
        let mut source = self.source(job);
        let mut watch = Watch::new(members);
        for span in [WARM_UP, Duration::from_secs(self.seconds)] {
            watch = Watch::new(members);
            let until = world.now().monotonic.as_nanos() + span.as_nanos() as u64;
            while world.now().monotonic.as_nanos() < until {
                world.run(source.next_gap(), &mut watch);
                watch.gaps[0].add(world.now().monotonic.as_nanos());
                // The queue never fills: the pace is far above the rate.
                let message = vec![7_u8; self.load.bytes];
                let _ = world.publish(0, topic, message, &mut watch);
            }
        }
        world.run(SETTLE, &mut watch);
        let above = above(&world, &watch);
        self.by_level(&watch, |member| above.get(&member).copied())
    }

    /// The mean of the members' variations by how many others lie between them and the source: of
    /// those that neither sleep nor hear from anybody who does, and of all that do not sleep.
    fn by_level(&self, watch: &Watch, above: impl Fn(usize) -> Option<usize>) -> Measured {
        let mut sums: BTreeMap<String, (f64, f64)> = BTreeMap::new();
        for (member, gaps) in watch.gaps.iter().enumerate().filter(|(it, _)| !self.sleeps(*it)) {
            let (mut at, mut level, mut is_well) = (member, 0, true);
            while at > 0 && level <= LEVELS_MAX {
                let Some(next) = above(at) else { break };
                is_well &= !self.sleeps(next);
                (at, level) = (next, level + 1);
            }
            let mut names = vec![format!("awake{level}")];
            names.extend(is_well.then(|| format!("level{level}")));
            for name in names.into_iter().filter(|_| at == 0) {
                let (sum, count) = sums.entry(name).or_default();
                *sum += gaps.variation();
                *count += 1.0;
            }
        }
        sums.into_iter().map(|(name, (sum, count))| (name, sum / count)).collect()
    }

    fn bars(&self, results: &Results) -> Vec<Bar> {
        let at = |protocol: &str, level: u32| {
            let measure = format!("level{level}");
            let points = results.along_x(protocol, self.shape().members(), &measure);
            points.first().map_or(0.0, |point| point.mean)
        };
        let grows = |protocol: &str, level: u32| at(protocol, level) / at(protocol, 0);
        let (ours, classic) = (format!("{OURS}{RANDOM}"), format!("{CLASSIC}{RANDOM}"));
        vec![
            Bar::at_most("ours_lowest_level_over_source", grows(&ours, self.levels), 1.1),
            Bar::at_least("classic_lowest_level_over_source", grows(&classic, self.levels), 1.1),
        ]
    }
}

/// Whom each member mostly had packets from.
fn above(world: &World, watch: &Watch) -> BTreeMap<usize, usize> {
    let id = |member: usize| world.node(member).map(spinglass_core::Node::id);
    let index: BTreeMap<MemberId, usize> =
        (0..world.len()).filter_map(|member| Some((id(member)?, member))).collect();
    let above = |(member, from): (&usize, &BTreeMap<MemberId, u64>)| {
        let (most, _) = from.iter().max_by_key(|(_, count)| **count)?;
        Some((*member, *index.get(most)?))
    };
    watch.from.iter().filter_map(above).collect()
}

impl Experiment for Figure2 {
    fn check(&self) -> Result<(), SettingError> {
        some("seeds", &self.seeds)?;
        within("width", [self.width as f64], 2.0, 32.0)?;
        within("levels", [self.levels.into()], 1.0, 4.0)?;
        within("seconds", [self.seconds as f64], 1.0, 10_000.0)?;
        within("loss_ppm", [self.loss_ppm.into()], 0.0, 500_000.0)?;
        within("asleep", [self.asleep], 0.0, 0.99)?;
        self.load.check(8_000)
    }

    fn jobs(&self) -> Vec<Job> {
        let all = [STEADY, RANDOM].map(|source| [CLASSIC, OURS].map(|it| format!("{it}{source}")));
        let all: Vec<&str> = all.iter().flatten().map(String::as_str).collect();
        jobs(&all, &[self.shape().members()], &[0.0], &self.seeds)
    }

    fn run(&self, job: &Job) -> Measured {
        if job.protocol.starts_with(CLASSIC) { self.classic(job) } else { self.ours(job) }
    }

    fn report(&self, results: &Results) -> Report {
        let members = self.shape().members();
        let mut plot =
            Plot::new("How uneven a stream is", "levels below the source", "variation of gaps");
        for source in [STEADY, RANDOM] {
            for protocol in [CLASSIC, OURS] {
                let protocol = format!("{protocol}{source}");
                let at = |level: u32| {
                    let points = results.along_x(&protocol, members, &format!("level{level}"));
                    points.first().map(|point| super::Point { x: level.into(), ..*point })
                };
                let points = (0..=self.levels).filter_map(at).collect();
                plot.series.push(Series::new(&protocol, points));
            }
        }
        let notes = [STEADY, RANDOM].into_iter().flat_map(|source| {
            [CLASSIC, OURS].map(|protocol| {
                let protocol = format!("{protocol}{source}");
                let points = results.along_x(&protocol, members, &format!("awake{}", self.levels));
                let all = points.first().map_or(0.0, |point| point.mean);
                format!("{protocol}: {all:.2} at the lowest level, behind sleepers, too.")
            })
        });
        let notes = notes.collect();
        let Self { width, levels, loss_ppm, asleep, .. } = self;
        let Load { rate, bytes, .. } = self.load;
        Report {
            title: "Figure 2: convoys".into(),
            about: format!(
                "{members} members: a virtually synchronous group of a head and {width} members, \
                 each of whom heads another, {levels} levels deep. {rate} messages of {bytes} \
                 bytes a second enter at the top, one after the other at a steady pace or at \
                 random (Poisson). {loss_ppm} datagrams in a million are lost, and one member of \
                 each group sleeps through {:.0} % of all 100 ms slots. Ours is one group of as \
                 many, with the same losses and the same members asleep; a level is a hop of the \
                 sender's tree. What is shown is the standard deviation of the gaps between \
                 deliveries over their mean, averaged over the members of a level who neither \
                 sleep nor have what they get from somebody who does.",
                asleep * 100.0
            ),
            plots: vec![plot],
            notes,
            bars: self.bars(results),
        }
    }
}
