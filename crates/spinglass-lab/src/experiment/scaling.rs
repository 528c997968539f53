//! What a member pays as the group grows, in every protocol, with the exponent of the power that
//! fits best (paper, sections 2 to 5).

use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use spinglass_sim::scenario::flat;
use spinglass_sim::{Link, Topology};

use super::{Experiment, Job, Measured, Results, SettingError, jobs, named, slope, some, within};
use crate::opponents::fec::{self, Fec};
use crate::opponents::push_gossip::PushGossip;
use crate::opponents::repair_tree::RepairTree;
use crate::opponents::srm::{Srm, Timers};
use crate::opponents::virtual_synchrony::{Settings, VirtualSynchrony};
use crate::report::{Bar, Plot, Report, Series};
use crate::stage::{Costs, Nobody, Protocol, Stage, Wires};

const OURS: &str = "Spinglass";
const CLASSIC: &str = "virtual synchrony";
const SRM: &str = "SRM";
const TREE: &str = "repair servers in a tree";
const FEC: &str = "FEC, parities on request";
const PUSH: &str = "push gossip";

/// Time before others are measured, which know their members from the start.
const WARM_UP: Duration = Duration::from_secs(10);
/// Receivers that each repair server serves.
const SERVED_EACH: usize = 32;
/// Messages of a block of FEC.
const BLOCK: u64 = 20;
/// How sure it is that push gossip reaches everybody: e^(-e^-3), 95 % of messages.
const PUSH_CERTAINTY: f64 = 3.0;
/// The delay between two members, one way, in a network of links.
const LINK_DELAY: Duration = Duration::from_micros(100);

/// How it is run.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Scaling {
    /// Group sizes of ours.
    pub members: Vec<usize>,
    /// Those of opponents in which not everybody hears from everybody.
    pub tree_members: Vec<usize>,
    /// Those of opponents in which everybody does.
    pub classic_members: Vec<usize>,
    /// Seeds.
    pub seeds: Vec<u64>,
    /// Seconds of each run.
    pub seconds: u64,
    /// Messages per second.
    pub rate: u64,
    /// Bytes per message.
    pub bytes: usize,
    /// The share of datagrams that is lost.
    pub loss: f64,
}

impl Scaling {
    fn ours(&self, job: &Job) -> Measured {
        let report = flat::run(
            &flat::Parameters {
                members: job.members,
                rate: self.rate,
                bytes: self.bytes,
                loss: self.loss,
                warm_up_seconds: flat::WARM_UP_SECONDS,
                seconds: self.seconds,
                seed: job.seed,
            },
            &mut |_| (),
        );
        named(&[
            ("bytes", report.bytes_sent + report.bytes_received),
            ("messages", report.datagrams),
        ])
    }

    fn wires(&self) -> Wires {
        let (least, most) = (Duration::from_micros(50), Duration::from_micros(250));
        Wires::Flat { least, most, loss_ppm: (self.loss * 1e6) as u32 }
    }

    fn on_stage<P: Protocol>(&self, members: Vec<P>, wires: Wires, seed: u64) -> Measured {
        let count = members.len();
        let mut stage = Stage::new(members, wires, Costs::default(), seed);
        let gap = Duration::from_nanos(1_000_000_000 / self.rate);
        let handled = |stage: &Stage<P>| -> Vec<(u64, u64)> {
            let of = |member| {
                let (heard, sent) = (stage.heard(member), stage.sent(member));
                (heard.bytes + sent.bytes, heard.messages() + sent.messages())
            };
            (0..count).map(of).collect()
        };
        let mut before = Vec::new();
        for span in [WARM_UP, Duration::from_secs(self.seconds)] {
            before = handled(&stage);
            for _ in 0..span.as_nanos() / gap.as_nanos() {
                stage.publish(0, self.bytes, &mut Nobody);
                stage.run(gap, &mut Nobody);
            }
        }
        let after = handled(&stage);
        let pairs = || after.iter().zip(&before);
        let seconds = self.seconds as f64;
        let mean = |get: fn(&(u64, u64)) -> u64| {
            let total: u64 = pairs().skip(1).map(|(after, before)| get(after) - get(before)).sum();
            total as f64 / (count - 1) as f64 / seconds
        };
        let most = pairs().map(|(after, before)| after.1 - before.1).max().unwrap_or(0);
        named(&[
            ("bytes", mean(|it| it.0)),
            ("messages", mean(|it| it.1)),
            ("messages_most", most as f64 / seconds),
        ])
    }

    fn srm(&self, job: &Job) -> Measured {
        // Two links between any two.
        let loss_ppm = ((1.0 - (1.0 - self.loss).sqrt()) * 1e6) as u32;
        let link = Link { delay: LINK_DELAY, loss_ppm };
        let topology = Arc::new(Topology::star(job.members, link));
        let member = |own| Srm::new(own, job.members, Arc::clone(&topology), Timers::Plain);
        let members = (0..job.members).map(member).collect();
        self.on_stage(members, Wires::Tree(Arc::clone(&topology)), job.seed)
    }

    fn sizes(&self, protocol: &str) -> &[usize] {
        match protocol {
            OURS => &self.members,
            CLASSIC | SRM => &self.classic_members,
            _ => &self.tree_members,
        }
    }

    fn exponent(results: &Results, protocol: &str, measure: &str) -> f64 {
        let points = results.along_members(protocol, measure);
        let logs: Vec<_> = points.iter().map(|at| (at.x.ln(), at.mean.ln())).collect();
        slope(&logs)
    }

    fn bars(results: &Results) -> Vec<Bar> {
        let of = |protocol: &str, measure: &str| Self::exponent(results, protocol, measure);
        vec![
            Bar::at_most("ours_bytes_exponent", of(OURS, "bytes"), 0.05),
            Bar::at_most("ours_messages_exponent", of(OURS, "messages"), 0.05),
            Bar::at_least("virtual_synchrony_messages_exponent", of(CLASSIC, "messages"), 0.3),
            Bar::at_least("srm_messages_exponent", of(SRM, "messages"), 0.3),
        ]
    }
}

const PROTOCOLS: [&str; 6] = [OURS, CLASSIC, SRM, TREE, FEC, PUSH];

impl Experiment for Scaling {
    fn check(&self) -> Result<(), SettingError> {
        some("members", &self.members)?;
        some("tree_members", &self.tree_members)?;
        some("classic_members", &self.classic_members)?;
        some("seeds", &self.seeds)?;
        let of = |sizes: &[usize]| sizes.iter().map(|it| *it as f64).collect::<Vec<_>>();
        within("members", of(&self.members), 4.0, 1e6)?;
        within("tree_members", of(&self.tree_members), 4.0, 1e5)?;
        within("classic_members", of(&self.classic_members), 4.0, 5_000.0)?;
        within("seconds", [self.seconds as f64], 1.0, 10_000.0)?;
        within("rate", [self.rate as f64], 1.0, 1_000.0)?;
        within("bytes", [self.bytes as f64], 1.0, 1_000.0)?;
        within("loss", [self.loss], 0.0, 0.5)
    }

    fn jobs(&self) -> Vec<Job> {
        let of = |protocol: &&str| {
            let sizes = self.sizes(protocol);
            // One seed is enough where averages are over tens of thousands.
            let seeds =
                |size: &usize| &self.seeds[..if *size > 2_000 { 1 } else { self.seeds.len() }];
            sizes
                .iter()
                .flat_map(|size| jobs(&[*protocol], &[*size], &[0.0], seeds(size)))
                .collect::<Vec<_>>()
        };
        let mut all: Vec<Job> = PROTOCOLS.iter().flat_map(of).collect();
        // The large ones first, so that none is left alone at the end.
        all.sort_by_key(|job| std::cmp::Reverse(job.members));
        all
    }

    fn run(&self, job: &Job) -> Measured {
        let n = job.members;
        match job.protocol.as_str() {
            OURS => self.ours(job),
            SRM => self.srm(job),
            CLASSIC => {
                let member = |own| VirtualSynchrony::new(own, n, Settings::ensemble());
                self.on_stage((0..n).map(member).collect(), self.wires(), job.seed)
            }
            TREE => {
                let member = |own| RepairTree::new(own, n, SERVED_EACH);
                self.on_stage((0..n).map(member).collect(), self.wires(), job.seed)
            }
            FEC => {
                let settings = fec::Settings { block: BLOCK, ahead: 0 };
                let member = |_| Fec::new(settings, self.bytes);
                self.on_stage((0..n).map(member).collect(), self.wires(), job.seed)
            }
            _ => {
                let fanout = PushGossip::fanout(n, PUSH_CERTAINTY, self.loss);
                let member = |_| PushGossip::new(n, fanout);
                self.on_stage((0..n).map(member).collect(), self.wires(), job.seed)
            }
        }
    }

    fn report(&self, results: &Results) -> Report {
        let plot = |title: &str, y: &str, measure: &str| {
            let mut plot = Plot::new(title, "members", y).logarithmic(true, true);
            for protocol in PROTOCOLS {
                let points = results.along_members(protocol, measure);
                plot.series.push(Series::new(protocol, points));
            }
            plot
        };
        let notes = PROTOCOLS.iter().map(|protocol| {
            let of = |measure| Self::exponent(results, protocol, measure);
            let (bytes, messages) = (of("bytes"), of("messages"));
            let most = match results.along_members(protocol, "messages_most").is_empty() {
                true => String::new(),
                false => format!(", the busiest member's {:.3}", of("messages_most")),
            };
            format!("{protocol}: bytes grow as n^{bytes:.3}, messages as n^{messages:.3}{most}.")
        });
        let Self { rate, bytes, loss, .. } = self;
        Report {
            title: "Scaling: what a member pays as the group grows".into(),
            about: format!(
                "One member sends {rate} messages of {bytes} bytes a second, {:.0} % of datagrams \
                 are lost. Counted is all that a member sends and hears: messages, repairs, \
                 requests, acknowledgements, sessions, failure detection; of ours also the table \
                 that says who is there. Data go by IP multicast but in push gossip, whose \
                 fan-out is the logarithm of the group's size and {PUSH_CERTAINTY}, so that it \
                 reaches everybody with 95 % of messages; it knows its members for free.",
                loss * 100.0
            ),
            plots: vec![
                plot("Bytes", "bytes/s at a member", "bytes"),
                plot("Messages", "messages/s at a member", "messages"),
                plot("Messages at the busiest member", "messages/s", "messages_most"),
            ],
            notes: notes.collect(),
            bars: Self::bars(results),
        }
    }
}
