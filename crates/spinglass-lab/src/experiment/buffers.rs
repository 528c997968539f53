//! Buffers (paper, section 4): "we don't actually buffer every message at every process; a hashing
//! scheme is used". Who holds a message for long, whether somebody does, and what a member holds
//! as the group grows [FACTS 7].

use std::time::Duration;

use serde::{Deserialize, Serialize};
use spinglass_core::{Config, Dissemination, Start};
use spinglass_sim::scenario::flat;
use spinglass_sim::{Blind, Network, Setup, World};

use super::{Experiment, Job, Measured, Point, Results, SettingError, jobs, named, some, within};
use crate::models::buffers::{nobody, nobody_counted, nobody_left};
use crate::report::{Bar, Plot, Report, Series};

/// A hash below `C / n`, drawn by lot.
const HASHED: &str = "by hash, drawn";
/// Ours: how many hold one message when all others have let it go.
const HOLDERS: &str = "Spinglass, holders";
/// Ours: what members hold under load.
const LOAD: &str = "Spinglass, load";
/// Members of the world in which holders are counted: one region.
const HOLDERS_MEMBERS: usize = 64;

/// How it is run.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Buffers {
    /// How many are to hold a message, on average.
    pub bufferers: Vec<f64>,
    /// The group's size where that is drawn.
    pub drawn_members: usize,
    /// Messages drawn.
    pub drawn_messages: u64,
    /// Messages of ours whose holders are counted: a seed each.
    pub counted_messages: u64,
    /// Group sizes under load.
    pub members: Vec<usize>,
    /// Seconds of load.
    pub seconds: u64,
    /// Messages per second.
    pub rate: u64,
    /// Bytes per message.
    pub bytes: usize,
    /// Seeds.
    pub seeds: Vec<u64>,
}

impl Buffers {
    /// Holders of one message, long after everybody has it.
    fn holders(&self, job: &Job) -> Measured {
        let mut config = Config::lan();
        config.multicast.dissemination = Dissemination::Multicast;
        let idle = config.multicast.round * u32::from(config.multicast.idle_rounds);
        let wanted = config.multicast.long_term_bufferers;
        let mut world = World::new(Setup::new(job.members, config, job.seed), Network::default());
        let topic = world.topic("buffers");
        (0..job.members).for_each(|member| world.subscribe(member, topic, Start::Live));
        world.run(Duration::from_secs(1), &mut Blind);
        let sender = job.seed as usize % job.members;
        // An empty queue takes it.
        let _ = world.publish(sender, topic, vec![7_u8; self.bytes], &mut Blind);
        // Longer than all hold it, and not so long that its holders let it go.
        world.run(idle * 2, &mut Blind);
        let holds = |member: &usize| world.stats(*member).buffered_bytes > 0;
        let holders = (0..job.members).filter(holds).count();
        named(&[("holders", holders as f64), ("wanted", wanted.into())])
    }

    fn load(&self, job: &Job) -> Measured {
        let parameters = flat::Parameters {
            members: job.members,
            rate: self.rate,
            bytes: self.bytes,
            loss: 0.01,
            warm_up_seconds: flat::WARM_UP_SECONDS,
            seconds: self.seconds,
            seed: job.seed,
        };
        let report = flat::run(&parameters, &mut |_| ());
        named(&[("buffered_bytes", report.buffered_bytes)])
    }

    fn bars(&self, results: &Results) -> Vec<Bar> {
        let drawn = results.along_x(HASHED, self.drawn_members, "nobody");
        let off = drawn.iter().map(|point| {
            let computed = nobody(self.drawn_members, point.x);
            let messages = (self.drawn_messages * point.seeds as u64) as f64;
            (point.mean - computed).abs() / (computed * (1.0 - computed) / messages).sqrt()
        });
        let holders = results.along_x(HOLDERS, HOLDERS_MEMBERS, "holders");
        let wanted = results.along_x(HOLDERS, HOLDERS_MEMBERS, "wanted");
        let least = holders.iter().map(|it| it.range.0).fold(f64::INFINITY, f64::min);
        let most = holders.iter().map(|it| it.range.1).fold(0.0, f64::max);
        let wanted = wanted.first().map_or(0.0, |point| point.mean);
        let load = results.along_members(LOAD, "buffered_bytes");
        let ends = load.first().zip(load.last());
        let falls = ends.map_or(1.0, |(first, last)| last.mean / first.mean);
        vec![
            Bar::at_most("counted_off_computed_in_standard_errors", off.fold(0.0, f64::max), 4.0),
            Bar::at_least("ours_holders_least", least, wanted),
            // Until records of who is new have gone round, two may differ in whom they name.
            Bar::at_most("ours_holders_most", most, wanted + 1.0),
            Bar::at_most("ours_buffered_bytes_fall_to", falls, 1.0),
        ]
    }
}

impl Experiment for Buffers {
    fn check(&self) -> Result<(), SettingError> {
        some("bufferers", &self.bufferers)?;
        some("members", &self.members)?;
        some("seeds", &self.seeds)?;
        within("bufferers", self.bufferers.iter().copied(), 0.5, 50.0)?;
        within("drawn_members", [self.drawn_members as f64], 50.0, 1e6)?;
        within("drawn_messages", [self.drawn_messages as f64], 1.0, 1e9)?;
        within("counted_messages", [self.counted_messages as f64], 1.0, 1e5)?;
        within("members", self.members.iter().map(|it| *it as f64), 8.0, 1e6)?;
        within("seconds", [self.seconds as f64], 1.0, 10_000.0)?;
        within("rate", [self.rate as f64], 1.0, 10_000.0)?;
        within("bytes", [self.bytes as f64], 1.0, 1_000.0)
    }

    fn jobs(&self) -> Vec<Job> {
        let counted: Vec<u64> = (1..=self.counted_messages).collect();
        let drawn = jobs(&[HASHED], &[self.drawn_members], &self.bufferers, &self.seeds);
        let holders = jobs(&[HOLDERS], &[HOLDERS_MEMBERS], &[0.0], &counted);
        let load = jobs(&[LOAD], &self.members, &[0.0], &self.seeds[..1]);
        drawn.into_iter().chain(holders).chain(load).collect()
    }

    fn run(&self, job: &Job) -> Measured {
        match job.protocol.as_str() {
            HASHED => {
                let counted = nobody_counted(job.members, job.x, self.drawn_messages, job.seed);
                named(&[("nobody", counted)])
            }
            HOLDERS => self.holders(job),
            _ => self.load(job),
        }
    }

    fn report(&self, results: &Results) -> Report {
        let computed =
            self.bufferers.iter().map(|c| Point::exact(*c, nobody(self.drawn_members, *c)));
        let limit = self.bufferers.iter().map(|c| Point::exact(*c, (-c).exp()));
        let title = "Nobody holds a message any more";
        let mut plot = Plot::new(title, "C: how many are to, on average", "probability");
        plot.logarithmic = (false, true);
        plot.series = vec![
            Series::new("e^-C", limit.collect()),
            Series::new("(1 - C/n)^n", computed.collect()),
            Series::new(HASHED, results.along_x(HASHED, self.drawn_members, "nobody")),
        ];
        let gone = [0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9];
        let left = |of: fn((f64, f64)) -> f64| {
            let point =
                |gone: &f64| Point::exact(*gone, of(nobody_left(HOLDERS_MEMBERS, 6, *gone)));
            gone.iter().map(point).collect()
        };
        let title = "Six are to hold it, and so many members are gone";
        let mut ours = Plot::new(title, "share of members gone", "probability that nobody has it");
        ours.logarithmic = (false, true);
        ours.series = vec![
            Series::new("each by its hash", left(|(hashed, _)| hashed)),
            Series::new("the six highest hashes (Spinglass)", left(|(_, ranked)| ranked)),
        ];
        let title = "What a member of ours holds";
        let mut load = Plot::new(title, "members", "bytes").logarithmic(true, false);
        load.series = vec![Series::new(LOAD, results.along_members(LOAD, "buffered_bytes"))];
        let Self { drawn_members, rate, bytes, .. } = self;
        Report {
            title: "Buffers: few hold a message for long".into(),
            about: format!(
                "Each of {drawn_members} members keeps a message if its hash is below C/n: the \
                 probability that nobody does, computed and drawn. Ours keeps it where hashes are \
                 highest in a region, so that as many do as are to; counted in the simulator for \
                 {} messages in a region of {HOLDERS_MEMBERS}. Under load: {rate} messages of \
                 {bytes} bytes a second, 1 % lost, groups in regions of up to 64.",
                self.counted_messages
            ),
            plots: vec![plot, ours, load],
            notes: Vec::new(),
            bars: self.bars(results),
        }
    }
}
