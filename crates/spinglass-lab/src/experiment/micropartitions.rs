//! Micropartitions (paper, section 3): what it does to a virtually synchronous group that failure
//! detection is made ever more aggressive, so that a slow member does not hold up the others, while
//! all members are slow now and then.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use spinglass_sim::scenario::perturb::{self, SAMPLE, Trouble};

use super::classic::{Classic, Load};
use super::figure1::measured;
use super::{Experiment, Job, Measured, Results, SettingError, jobs, some, within};
use crate::opponents::virtual_synchrony::Settings;
use crate::report::{Bar, Plot, Report, Series};

const CLASSIC: &str = "virtual synchrony";
const OURS: &str = "Spinglass";
/// Pings that must be missing for somebody to be suspected.
const MISSING_PINGS: u32 = 3;

/// How it is run.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Micropartitions {
    /// Group sizes.
    pub members: Vec<usize>,
    /// After how many seconds of silence somebody is suspected.
    pub patience: Vec<f64>,
    /// The share of 100 ms slots that one member sleeps through.
    pub slow_asleep: f64,
    /// The same of all others, but the sender and the one that is looked at.
    pub others_asleep: f64,
    /// Seeds.
    pub seeds: Vec<u64>,
    /// Samples of 500 ms.
    pub samples: usize,
    /// What is sent, and what that costs.
    pub load: Load,
}

impl Micropartitions {
    fn classic(&self, job: &Job) -> Measured {
        let ping_every = Duration::from_secs_f64(job.x) / MISSING_PINGS;
        let settings =
            Settings { ping_every, suspect_after: MISSING_PINGS, ..Settings::ensemble() };
        let others = (2..job.members - 1).map(|member| (member, self.others_asleep));
        let classic = Classic {
            members: job.members,
            settings,
            costs: self.load.costs(1),
            sleepers: std::iter::once((1, self.slow_asleep)).chain(others).collect(),
            loss: 0.0,
            delay: Duration::ZERO,
            rate: self.load.rate,
            bytes: self.load.bytes,
            samples: self.samples,
            seed: job.seed,
        };
        let seen = classic.run();
        let minutes = SAMPLE.as_secs_f64() * self.samples as f64 / 60.0;
        let views = seen.views as f64 / minutes;
        measured(&seen.throughput, &[("views_per_minute", views), ("outside", seen.outside)])
    }

    fn ours(&self, job: &Job) -> Measured {
        let trouble = Trouble { others_asleep: self.others_asleep, ..Trouble::default() };
        let parameters = perturb::Parameters {
            members: job.members,
            sleeping_percent: 0,
            probability: self.slow_asleep,
            samples: self.samples,
            rate: self.load.rate,
            bytes: self.load.bytes,
            multicast: true,
            trouble,
            seed: job.seed,
        };
        let report = perturb::run(&parameters, &mut |_| ());
        measured(&report.throughput, &[("views_per_minute", 0.0), ("outside", 0.0)])
    }

    fn bars(&self, results: &Results) -> Vec<Bar> {
        let rate = self.load.rate as f64;
        let of_all = |protocol: &str, measure: &str| {
            let points = self.members.iter().map(|it| results.along_x(protocol, *it, measure));
            points.flatten().collect::<Vec<_>>()
        };
        let ours = of_all(OURS, "throughput");
        let worst = ours.iter().map(|point| point.range.0 / rate).fold(1.0, f64::min);
        // The largest group, at the best patience that there is.
        let largest = self.members.iter().max().copied().unwrap_or(0);
        let best = results.along_x(CLASSIC, largest, "throughput");
        let best = best.iter().map(|point| point.mean / rate).fold(0.0, f64::max);
        let views = |patience: f64| {
            let points = results.along_x(CLASSIC, largest, "views_per_minute");
            points.iter().find(|point| point.x == patience).map_or(0.0, |point| point.mean)
        };
        let hasty = self.patience.iter().copied().fold(f64::INFINITY, f64::min);
        vec![
            Bar::at_least("ours_worst_share", worst, 0.98),
            Bar::at_most("classic_best_share_of_largest", best, 0.98),
            Bar::at_least("classic_views_per_minute_most_aggressive", views(hasty), 10.0),
        ]
    }
}

impl Experiment for Micropartitions {
    fn check(&self) -> Result<(), SettingError> {
        some("members", &self.members)?;
        some("patience", &self.patience)?;
        some("seeds", &self.seeds)?;
        within("members", self.members.iter().map(|it| *it as f64), 4.0, 2_000.0)?;
        within("patience", self.patience.iter().copied(), 0.05, 60.0)?;
        within("slow_asleep", [self.slow_asleep], 0.0, 0.99)?;
        within("others_asleep", [self.others_asleep], 0.0, 0.99)?;
        within("samples", [self.samples as f64], 1.0, 10_000.0)?;
        self.load.check(40_000)
    }

    fn jobs(&self) -> Vec<Job> {
        let classic = jobs(&[CLASSIC], &self.members, &self.patience, &self.seeds);
        // Ours has one detector, which no multicast waits for.
        let ours = jobs(&[OURS], &self.members, &self.patience[..1], &self.seeds);
        classic.into_iter().chain(ours).collect()
    }

    fn run(&self, job: &Job) -> Measured {
        if job.protocol == CLASSIC { self.classic(job) } else { self.ours(job) }
    }

    fn report(&self, results: &Results) -> Report {
        let plot = |title: &str, y: &str, measure: &str| {
            let x = "seconds of silence after which a member is suspected";
            let mut plot = Plot::new(title, x, y).logarithmic(true, false);
            for members in &self.members {
                let points = results.along_x(CLASSIC, *members, measure);
                plot.series.push(Series::new(&format!("{CLASSIC}, {members}"), points));
            }
            plot
        };
        let mut throughput = plot("Throughput at a healthy member", "messages/s", "throughput");
        for members in &self.members {
            let mut points = results.along_x(OURS, *members, "throughput");
            // The same at any patience: a line from end to end.
            if let Some(point) = points.first().copied() {
                let ends = self.patience.iter().copied();
                points = [ends.clone().fold(f64::INFINITY, f64::min), ends.fold(0.0, f64::max)]
                    .map(|x| super::Point { x, ..point })
                    .to_vec();
            }
            throughput.series.push(Series::new(&format!("{OURS}, {members}"), points));
        }
        throughput.y_most = Some(self.load.rate as f64 * 1.25);
        let Self { slow_asleep, others_asleep, .. } = self;
        let Load { rate, bytes, .. } = self.load;
        Report {
            title: "Micropartitions: impatience is no remedy".into(),
            about: format!(
                "As figure 1, at {rate} messages of {bytes} bytes a second: one member sleeps \
                 through {:.0} % of all 100 ms slots, and every other one but the sender and the \
                 one that is looked at through {:.1} %, as any host does now and then. A member \
                 is suspected after {MISSING_PINGS} silent pings, which are sent ever more often. \
                 Who is put out of a view asks to be let in again; either is a change of view, for \
                 which all stop sending until all have what was sent. Ours has no view that \
                 multicast waits for.",
                slow_asleep * 100.0,
                others_asleep * 100.0
            ),
            plots: vec![
                throughput,
                plot("Changes of view", "views per minute", "views_per_minute"),
                plot("Members outside their group", "share of members", "outside"),
            ],
            notes: Vec::new(),
            bars: self.bars(results),
        }
    }
}
