//! Figure 1 with other troubles: several sleepers, packet delays, losses (paper, section 3,
//! footnote 2: "the throughput graphs differ but the trend is unchanged").

use std::time::Duration;

use serde::{Deserialize, Serialize};
use spinglass_sim::scenario::perturb::{self, Trouble};

use super::classic::{Classic, Load};
use super::figure1::measured;
use super::{Experiment, Job, Measured, Results, SettingError, jobs, some, within};
use crate::opponents::virtual_synchrony::Settings;
use crate::report::{Bar, Plot, Report, Series};

const CLASSIC: &str = "virtual synchrony";
const OURS: &str = "Spinglass";
/// What troubles the group, as it stands behind a protocol's name.
const SLEEPERS: &str = ", a quarter sleeps";
const DELAYS: &str = ", delays";
const LOSSES: &str = ", losses";
const TROUBLES: [&str; 3] = [SLEEPERS, DELAYS, LOSSES];

/// How it is run.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Troubles {
    /// Group sizes.
    pub members: Vec<usize>,
    /// Shares of 100 ms slots that a quarter of the members sleep through.
    pub asleep: Vec<f64>,
    /// How much longer than usual each datagram takes at most, in milliseconds.
    pub delay_ms: Vec<f64>,
    /// Shares of datagrams that are lost.
    pub loss: Vec<f64>,
    /// Seeds.
    pub seeds: Vec<u64>,
    /// Samples of 500 ms.
    pub samples: usize,
    /// What is sent, and what that costs.
    pub load: Load,
}

impl Troubles {
    fn xs(&self, trouble: &str) -> &[f64] {
        match trouble {
            SLEEPERS => &self.asleep,
            DELAYS => &self.delay_ms,
            _ => &self.loss,
        }
    }

    /// What a job's x is: sleep, delay, loss.
    fn of(job: &Job) -> (f64, f64, f64) {
        if job.protocol.ends_with(SLEEPERS) {
            (job.x, 0.0, 0.0)
        } else if job.protocol.ends_with(DELAYS) {
            (0.0, job.x, 0.0)
        } else {
            (0.0, 0.0, job.x)
        }
    }

    fn classic(&self, job: &Job) -> Measured {
        let (asleep, delay_ms, loss) = Self::of(job);
        let classic = Classic {
            members: job.members,
            settings: Settings::ensemble(),
            costs: self.load.costs(1),
            sleepers: (1..=job.members / 4).map(|member| (member, asleep)).collect(),
            loss,
            delay: Duration::from_secs_f64(delay_ms / 1e3),
            rate: self.load.rate,
            bytes: self.load.bytes,
            samples: self.samples,
            seed: job.seed,
        };
        let seen = classic.run();
        measured(&seen.throughput, &[("views", seen.views as f64)])
    }

    fn ours(&self, job: &Job) -> Measured {
        let (asleep, delay_ms, loss) = Self::of(job);
        let parameters = perturb::Parameters {
            members: job.members,
            sleeping_percent: 25,
            probability: asleep,
            samples: self.samples,
            rate: self.load.rate,
            bytes: self.load.bytes,
            multicast: true,
            trouble: Trouble { others_asleep: 0.0, loss, delay_ms: delay_ms as u64 },
            seed: job.seed,
        };
        let report = perturb::run(&parameters, &mut |_| ());
        measured(&report.throughput, &[("gaps", report.healthy_gaps as f64)])
    }

    fn bars(&self, results: &Results) -> Vec<Bar> {
        let rate = self.load.rate as f64;
        let mut bars = Vec::new();
        for (trouble, name) in TROUBLES.into_iter().zip(["sleepers", "delays", "losses"]) {
            let of = |protocol: &str, members: usize| {
                results.along_x(&format!("{protocol}{trouble}"), members, "throughput")
            };
            let ours = self.members.iter().flat_map(|members| of(OURS, *members));
            let worst = ours.map(|point| point.range.0 / rate).fold(1.0, f64::min);
            bars.push(Bar::at_least(&format!("ours_worst_share_{name}"), worst, 0.98));
            // The trend: from the least trouble to the most, in the largest group.
            let largest = self.members.iter().max().copied().unwrap_or(0);
            let classic = of(CLASSIC, largest);
            let ends = classic.first().zip(classic.last());
            let falls = ends.map_or(1.0, |(first, last)| last.mean / first.mean);
            bars.push(Bar::at_most(&format!("classic_falls_to_{name}"), falls, 0.9));
        }
        bars
    }
}

impl Experiment for Troubles {
    fn check(&self) -> Result<(), SettingError> {
        some("members", &self.members)?;
        some("seeds", &self.seeds)?;
        within("members", self.members.iter().map(|it| *it as f64), 8.0, 2_000.0)?;
        within("asleep", self.asleep.iter().copied(), 0.0, 0.99)?;
        within("delay_ms", self.delay_ms.iter().copied(), 0.0, 10_000.0)?;
        within("loss", self.loss.iter().copied(), 0.0, 0.9)?;
        within("samples", [self.samples as f64], 1.0, 10_000.0)?;
        self.load.check(40_000)
    }

    fn jobs(&self) -> Vec<Job> {
        let of = |trouble: &str| {
            let [classic, ours] = [CLASSIC, OURS].map(|protocol| format!("{protocol}{trouble}"));
            jobs(&[&classic, &ours], &self.members, self.xs(trouble), &self.seeds)
        };
        TROUBLES.into_iter().flat_map(of).collect()
    }

    fn run(&self, job: &Job) -> Measured {
        if job.protocol.starts_with(CLASSIC) { self.classic(job) } else { self.ours(job) }
    }

    fn report(&self, results: &Results) -> Report {
        let plot = |title: &str, x: &str, trouble: &str| {
            let mut plot = Plot::new(title, x, "messages/s at a healthy member");
            plot.y_most = Some(self.load.rate as f64 * 1.25);
            for protocol in [CLASSIC, OURS] {
                for members in &self.members {
                    let of = format!("{protocol}{trouble}");
                    let points = results.along_x(&of, *members, "throughput");
                    plot.series.push(Series::new(&format!("{protocol}, {members}"), points));
                }
            }
            plot
        };
        Report {
            title: "Figure 1, with other troubles".into(),
            about: "As figure 1, but that a quarter of all members sleep; that every datagram \
                    takes up to so much longer, so that they overtake; that so many are lost, each \
                    by itself."
                .into(),
            plots: vec![
                plot("A quarter of the members sleep", "share of time asleep", SLEEPERS),
                plot("Datagrams are delayed", "up to so many ms", DELAYS),
                plot("Datagrams are lost", "share lost", LOSSES),
            ],
            notes: Vec::new(),
            bars: self.bars(results),
        }
    }
}
