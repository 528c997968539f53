//! Figure 3 of the paper: requests and repairs that a member sees, against the group's size, in SRM
//! and in ours, where every link loses a packet in a thousand [FACTS 1].

use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use spinglass_core::{Config, Dissemination, Start, Stats};
use spinglass_sim::{Blind, Link, Network, Setup, Topology, World};

use super::{Experiment, Job, Measured, Results, SettingError, jobs, named, slope, some, within};
use crate::opponents::srm::{Srm, Timers};
use crate::report::{Bar, Plot, Report, Series};
use crate::stage::{Costs, Counts, Nobody, Stage, Wires};

const SRM: &str = "SRM";
const ADAPTIVE: &str = "adaptive SRM";
const OURS: &str = "Spinglass";
/// The same on a star instead of a tree.
const STAR: &str = ", star";

/// Time for everything to settle before it is measured: members learn how far others are.
const WARM_UP: Duration = Duration::from_secs(60);

/// A counter, by its name.
type Counted = (&'static str, fn(&Stats) -> u64);

/// How it is run.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Figure3 {
    /// Group sizes.
    pub members: Vec<usize>,
    /// Seeds.
    pub seeds: Vec<u64>,
    /// Seconds of each run.
    pub seconds: u64,
    /// Messages per second.
    pub rate: u64,
    /// Bytes per message.
    pub bytes: usize,
    /// Levels of links of the tree.
    pub levels: u32,
    /// What each link loses, in parts per million.
    pub loss_ppm: u32,
    /// What each link takes, in milliseconds.
    pub delay_ms: u64,
}

impl Figure3 {
    fn topology(&self, job: &Job) -> Arc<Topology> {
        let delay = Duration::from_millis(self.delay_ms);
        let link = Link { delay, loss_ppm: self.loss_ppm };
        Arc::new(match job.protocol.ends_with(STAR) {
            true => Topology::star(job.members, link),
            false => Topology::tree(job.members, self.levels, link),
        })
    }

    fn srm(&self, job: &Job, timers: Timers) -> Measured {
        let topology = self.topology(job);
        let member = |own| Srm::new(own, job.members, Arc::clone(&topology), timers);
        let members = (0..job.members).map(member).collect();
        let wires = Wires::Tree(Arc::clone(&topology));
        let mut stage = Stage::new(members, wires, Costs::default(), job.seed);
        let gap = Duration::from_nanos(1_000_000_000 / self.rate);
        let mut stream = |span: Duration| {
            for _ in 0..span.as_nanos() / gap.as_nanos() {
                stage.publish(0, self.bytes, &mut Nobody);
                stage.run(gap, &mut Nobody);
            }
            let seen = |member| (stage.heard(member), stage.sent(member));
            (1..job.members).map(seen).collect::<Vec<(Counts, Counts)>>()
        };
        let before = stream(WARM_UP);
        let after = stream(Duration::from_secs(self.seconds));
        let per_second = |get: fn(&Counts) -> u64| {
            let total = |seen: &[(Counts, Counts)]| {
                seen.iter().map(|(heard, sent)| get(heard) + get(sent)).sum::<u64>()
            };
            self.per_member(job, total(&after) - total(&before))
        };
        let delivered: Vec<u64> = (1..job.members).map(|at| stage.member(at).delivered()).collect();
        let sent = (WARM_UP.as_secs() + self.seconds) * self.rate;
        let least = delivered.iter().min().copied().unwrap_or(0) as f64 / sent as f64;
        self.measured(
            &topology,
            per_second(|counts| counts.requests),
            per_second(|counts| counts.repairs),
            least,
        )
    }

    /// Ours, where data are spread by IP multicast, as SRM's are. What a member sees of requests
    /// and repairs are those that it sends and those that come to it.
    fn ours(&self, job: &Job) -> Measured {
        let topology = self.topology(job);
        let mut config = Config::wan();
        config.multicast.dissemination = Dissemination::Multicast;
        let network = Network { topology: Some(Arc::clone(&topology)), ..Network::default() };
        let mut world = World::new(Setup::new(job.members, config, job.seed), network);
        let topic = world.topic("figure3");
        (0..job.members).for_each(|member| world.subscribe(member, topic, Start::Live));
        let gap = Duration::from_nanos(1_000_000_000 / self.rate);
        let mut stream = |span: Duration| {
            for _ in 0..span.as_nanos() / gap.as_nanos() {
                let message = vec![7_u8; self.bytes];
                // The queue never fills: the pace is far above the rate.
                let _ = world.publish(0, topic, message, &mut Blind);
                world.run(gap, &mut Blind);
            }
            (0..job.members).map(|at| world.stats(at)).collect::<Vec<Stats>>()
        };
        let before = stream(WARM_UP);
        let after = stream(Duration::from_secs(self.seconds));
        let total = |get: fn(&Stats) -> u64| {
            let sum = |stats: &[Stats]| stats.iter().map(get).sum::<u64>();
            sum(&after) - sum(&before)
        };
        let requests = total(|stats| stats.packets_solicited) * 2;
        let repairs = total(|stats| stats.repairs_sent);
        let received = total(|stats| stats.repairs_received + stats.repairs_surplus);
        let lost = total(|stats| stats.packets_lost);
        let all = self.seconds * self.rate * (job.members as u64 - 1);
        let share = 1.0 - lost as f64 / all as f64;
        let mut measured = self.measured(
            &topology,
            self.per_member(job, requests),
            self.per_member(job, repairs + received),
            share,
        );
        let per_loss = repairs as f64 / total(|stats| stats.repairs_received).max(1) as f64;
        measured.insert("repairs_per_loss".into(), per_loss);
        let more: [Counted; 4] = [
            ("solicited", |stats| stats.packets_solicited),
            ("late", |stats| stats.solicits_late),
            ("multicast_repairs", |stats| stats.repairs_multicast),
            ("tails", |stats| stats.tails_sent),
        ];
        for (name, get) in more {
            measured.insert(name.into(), self.per_member(job, total(get)));
        }
        measured
    }

    fn per_member(&self, job: &Job, total: u64) -> f64 {
        total as f64 / (job.members - 1) as f64 / self.seconds as f64
    }

    fn measured(&self, topology: &Topology, requests: f64, repairs: f64, share: f64) -> Measured {
        let links = topology.links() as f64;
        named(&[
            ("requests", requests),
            ("repairs", repairs),
            ("links", links),
            ("requests_per_link", requests / links),
            ("repairs_per_request", repairs / requests.max(f64::EPSILON)),
            ("delivered", share),
        ])
    }

    fn about(&self) -> String {
        let Self { rate, bytes, levels, loss_ppm, delay_ms, seconds, .. } = self;
        format!(
            "One member sends {rate} messages of {bytes} bytes a second down a tree of {levels} \
             levels of links, each of which loses {loss_ppm} packets in a million and takes \
             {delay_ms} ms; the other members are its leaves. Counted are requests and repairs \
             that an average member hears or sends, over {seconds} s. SRM's timers are ns-2's, and \
             its members know how far all are. On a star all members are two links from one \
             another. Ours spreads by IP multicast, as SRM does."
        )
    }

    fn bars(&self, results: &Results) -> Vec<Bar> {
        let mut bars = Vec::new();
        let requests = |protocol| results.along_members(protocol, "requests");
        for (protocol, name, exponent) in [(SRM, "srm", 0.75), (ADAPTIVE, "adaptive_srm", 0.5)] {
            let per_link = results.along_members(protocol, "requests_per_link");
            let least = per_link.iter().map(|point| point.mean).fold(f64::INFINITY, f64::min);
            bars.push(Bar::at_least(&format!("{name}_requests_per_link_least"), least, 0.1));
            let points = requests(protocol);
            let logs: Vec<_> = points.iter().map(|at| (at.x.ln(), at.mean.ln())).collect();
            bars.push(Bar::at_least(&format!("{name}_growth_exponent"), slope(&logs), exponent));
        }
        let ours = requests(OURS);
        let grows = ours.first().zip(ours.last()).map_or(1.0, |(a, b)| b.mean / a.mean);
        bars.push(Bar::at_most("ours_requests_grow_to", grows, 1.2));
        let per_loss = results.along_members(OURS, "repairs_per_loss");
        let most = per_loss.iter().map(|point| point.mean).fold(0.0, f64::max);
        bars.push(Bar::at_most("ours_repairs_per_loss_most", most, 1.1));
        let delivered = results.along_members(OURS, "delivered");
        let least = delivered.iter().map(|point| point.range.0).fold(1.0, f64::min);
        bars.push(Bar::at_least("ours_delivered_least", least, 1.0));
        bars
    }
}

impl Experiment for Figure3 {
    fn check(&self) -> Result<(), SettingError> {
        some("members", &self.members)?;
        some("seeds", &self.seeds)?;
        within("members", self.members.iter().map(|it| *it as f64), 3.0, 2_000.0)?;
        within("seconds", [self.seconds as f64], 1.0, 10_000.0)?;
        within("rate", [self.rate as f64], 1.0, 10_000.0)?;
        within("bytes", [self.bytes as f64], 1.0, 1_000.0)?;
        within("levels", [self.levels.into()], 1.0, 16.0)?;
        within("loss_ppm", [self.loss_ppm.into()], 0.0, 500_000.0)?;
        within("delay_ms", [self.delay_ms as f64], 1.0, 1_000.0)
    }

    fn jobs(&self) -> Vec<Job> {
        let star = [SRM, ADAPTIVE, OURS].map(|protocol| format!("{protocol}{STAR}"));
        let all: Vec<&str> =
            [SRM, ADAPTIVE, OURS].into_iter().chain(star.iter().map(String::as_str)).collect();
        jobs(&all, &self.members, &[0.0], &self.seeds)
    }

    fn run(&self, job: &Job) -> Measured {
        match job.protocol.trim_end_matches(STAR) {
            SRM => self.srm(job, Timers::Plain),
            ADAPTIVE => self.srm(job, Timers::Adaptive),
            _ => self.ours(job),
        }
    }

    fn report(&self, results: &Results) -> Report {
        let plot = |title: &str, y: &str, measure: &str, more: &str| {
            let mut plot = Plot::new(title, "members", y);
            for protocol in [SRM, ADAPTIVE, OURS] {
                let protocol = format!("{protocol}{more}");
                let points = results.along_members(&protocol, measure);
                plot.series.push(Series::new(&protocol, points));
            }
            plot
        };
        let (asked, repaired) = ("requests/s at a member", "repairs/s at a member");
        Report {
            title: "Figure 3: what loss costs, as the group grows".into(),
            about: self.about(),
            plots: vec![
                plot("Requests, on a tree", asked, "requests", ""),
                plot("Repairs, on a tree", repaired, "repairs", ""),
                plot("Requests, on a star", asked, "requests", STAR),
                plot("Repairs, on a star", repaired, "repairs", STAR),
            ],
            notes: Vec::new(),
            bars: self.bars(results),
        }
    }
}
