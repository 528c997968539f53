//! Forward error correction (paper, section 3, "Other approaches"): the redundancy that a stream
//! needs grows with the group. Run with requests for more, computed for groups of any size, and
//! what a member of ours gets more than once.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use spinglass_core::{Config, Dissemination, Start, Stats};
use spinglass_sim::{Blind, Network, Setup, World};

use super::{
    Experiment, Job, Measured, Point, Results, SettingError, jobs, named, slope, some, within,
};
use crate::models::parity;
use crate::opponents::fec::{Fec as Member, Settings};
use crate::report::{Bar, Plot, Report, Series};
use crate::stage::{Costs, Nobody, Stage, Wires};

const HYBRID: &str = "parities on request";
const OURS: &str = "Spinglass";

/// Time before it is measured, in ours: members learn how far others are.
const WARM_UP: Duration = Duration::from_secs(10);
/// The share of blocks that may not be whole somewhere, if all parities go ahead.
const AHEAD_TARGET: f64 = 1.0 - 1e-6;

/// How it is run.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Fec {
    /// Group sizes that are run.
    pub members: Vec<usize>,
    /// Further ones, for which it is computed.
    pub computed_members: Vec<usize>,
    /// Messages of a block.
    pub block: u64,
    /// Blocks of a run.
    pub blocks: u64,
    /// The share of datagrams that is lost.
    pub loss: f64,
    /// Seeds.
    pub seeds: Vec<u64>,
    /// Messages per second.
    pub rate: u64,
    /// Bytes per message.
    pub bytes: usize,
}

impl Fec {
    fn loss_ppm(&self) -> u32 {
        (self.loss * 1e6) as u32
    }

    fn hybrid(&self, job: &Job) -> Measured {
        let settings = Settings { block: self.block, ahead: 0 };
        let members = (0..job.members).map(|_| Member::new(settings, self.bytes)).collect();
        let (least, most) = (Duration::from_micros(50), Duration::from_micros(250));
        let wires = Wires::Flat { least, most, loss_ppm: self.loss_ppm() };
        let mut stage = Stage::new(members, wires, Costs::default(), job.seed);
        let gap = Duration::from_nanos(1_000_000_000 / self.rate);
        let messages = self.blocks * self.block;
        for _ in 0..messages {
            stage.publish(0, self.bytes, &mut Nobody);
            stage.run(gap, &mut Nobody);
        }
        stage.run(Duration::from_secs(5), &mut Nobody);
        let receivers = (job.members - 1) as f64;
        let asked: u64 = (1..job.members).map(|member| stage.sent(member).requests).sum();
        let whole = (1..job.members).map(|member| stage.member(member).whole()).min();
        named(&[
            ("redundancy", stage.member(0).parities() as f64 / messages as f64),
            ("requests_per_member_and_block", asked as f64 / receivers / self.blocks as f64),
            // The last block's end is not told if it is lost.
            ("whole_least", whole.unwrap_or(0) as f64 / self.blocks as f64),
        ])
    }

    fn ours(&self, job: &Job) -> Measured {
        let mut config = Config::lan();
        config.multicast.dissemination = Dissemination::Multicast;
        let network = Network { loss_ppm: self.loss_ppm(), ..Network::default() };
        let mut world = World::new(Setup::new(job.members, config, job.seed), network);
        let topic = world.topic("fec");
        (0..job.members).for_each(|member| world.subscribe(member, topic, Start::Live));
        let gap = Duration::from_nanos(1_000_000_000 / self.rate);
        let mut stream = |messages: u64| {
            for _ in 0..messages {
                // The queue never fills: the pace is far above the rate.
                let _ = world.publish(0, topic, vec![7_u8; self.bytes], &mut Blind);
                world.run(gap, &mut Blind);
            }
            (1..job.members).map(|at| world.stats(at)).collect::<Vec<Stats>>()
        };
        let before = stream(WARM_UP.as_secs() * self.rate);
        let messages = self.blocks * self.block;
        let after = stream(messages);
        let total = |get: fn(&Stats) -> u64| {
            let sum = |stats: &[Stats]| stats.iter().map(get).sum::<u64>();
            sum(&after) - sum(&before)
        };
        let more = total(|stats| stats.repairs_received + stats.repairs_surplus);
        let packets = total(|stats| stats.packets_received);
        let lost = total(|stats| stats.packets_lost);
        named(&[
            ("redundancy", more as f64 / packets as f64),
            ("lost", lost as f64 / packets as f64),
        ])
    }

    fn computed(&self, of: impl Fn(usize) -> f64) -> Vec<Point> {
        let mut sizes: Vec<usize> =
            self.members.iter().chain(&self.computed_members).copied().collect();
        sizes.sort_unstable();
        let point = |members: usize| Point::exact(members as f64, of(members - 1));
        sizes.into_iter().map(point).collect()
    }

    fn needed(&self) -> Vec<Point> {
        self.computed(|receivers| parity::needed(receivers, self.block, self.loss))
    }

    fn bars(&self, results: &Results) -> Vec<Bar> {
        let run = results.along_members(HYBRID, "redundancy");
        let off = run.iter().map(|point| {
            let receivers = point.x as usize - 1;
            (point.mean / parity::needed(receivers, self.block, self.loss) - 1.0).abs()
        });
        let logs = |points: &[Point]| -> Vec<(f64, f64)> {
            points.iter().map(|point| (point.x.ln(), point.mean.ln())).collect()
        };
        let ours = results.along_members(OURS, "redundancy");
        let grown = |points: &[Point]| match (points.first(), points.last()) {
            (Some(first), Some(last)) => last.mean / first.mean,
            _ => 1.0,
        };
        vec![
            Bar::at_most("counted_off_computed_most", off.fold(0.0, f64::max), 0.1),
            Bar::at_least("fec_grows_to", grown(&self.needed()), 2.0),
            Bar::at_most("ours_growth_exponent", slope(&logs(&ours)), 0.05),
        ]
    }
}

impl Experiment for Fec {
    fn check(&self) -> Result<(), SettingError> {
        some("members", &self.members)?;
        some("seeds", &self.seeds)?;
        let all = self.members.iter().chain(&self.computed_members);
        within("members", all.map(|it| *it as f64), 2.0, 10_000_000.0)?;
        within("block", [self.block as f64], 1.0, 200.0)?;
        within("blocks", [self.blocks as f64], 1.0, 1e6)?;
        within("loss", [self.loss], 0.000_1, 0.5)?;
        within("rate", [self.rate as f64], 1.0, 10_000.0)?;
        within("bytes", [self.bytes as f64], 1.0, 1_000.0)
    }

    fn jobs(&self) -> Vec<Job> {
        jobs(&[HYBRID, OURS], &self.members, &[0.0], &self.seeds)
    }

    fn run(&self, job: &Job) -> Measured {
        if job.protocol == HYBRID { self.hybrid(job) } else { self.ours(job) }
    }

    fn report(&self, results: &Results) -> Report {
        let again = self.computed(|receivers| parity::needed_again(receivers, self.loss));
        let ahead = self.computed(|receivers| {
            parity::needed_ahead(receivers, self.block, self.loss, AHEAD_TARGET)
        });
        let title = "Redundancy against the group's size";
        let mut plot = Plot::new(title, "members", "sent more than once, per message");
        plot.logarithmic = (true, false);
        plot.series = vec![
            Series::new("again to all, computed", again),
            Series::new("parities ahead, computed", ahead),
            Series::new("parities on request, computed", self.needed()),
            Series::new("parities on request, run", results.along_members(HYBRID, "redundancy")),
            Series::new("Spinglass, at a member", results.along_members(OURS, "redundancy")),
        ];
        let Self { block, loss, .. } = self;
        Report {
            title: "Forward error correction: redundancy and the group's size".into(),
            about: format!(
                "Every datagram is lost to each receiver with probability {:.0} %, by itself. \
                 Messages go in blocks of {block}; with parities on request, whoever lacks some \
                 asks, and as many go to all as anybody lacks. Computed (Nonnenmacher, Biersack \
                 and Towsley, 1998) are what that takes; what must go ahead so that only one \
                 block in a million is not whole somewhere without any request; and what it takes \
                 to send lost messages to all again, without parities. Of ours it is what a member \
                 gets by repair, over what it gets: its own losses, whatever the group's size.",
                loss * 100.0
            ),
            plots: vec![plot],
            notes: vec![
                "Redundancy grows as the logarithm of the group's size where losses are \
                 independent, not in proportion to it, as the paper says (section 3)."
                    .into(),
            ],
            bars: self.bars(results),
        }
    }
}
