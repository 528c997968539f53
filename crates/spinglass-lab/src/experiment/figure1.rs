//! Figure 1 of the paper: throughput at a healthy member against the share of time that others
//! sleep, in a virtually synchronous group and in ours [FACTS 1].

use std::time::Duration;

use serde::{Deserialize, Serialize};
use spinglass_sim::scenario::Summary;
use spinglass_sim::scenario::perturb::{self, Trouble};

use super::classic::{Classic, Load};
use super::{Experiment, Job, Measured, Results, SettingError, jobs, named, some, within};
use crate::opponents::virtual_synchrony::Settings;
use crate::report::{Bar, Plot, Report, Series};
use crate::stage::Costs;

/// The classic protocol, ours, and ours with a quarter of the members asleep.
const CLASSIC: &str = "virtual synchrony";
const CLASSIC_FAST: &str = "virtual synchrony, ten times the processor";
const OURS: &str = "Spinglass";
const OURS_QUARTER: &str = "Spinglass, a quarter sleeps";

/// The least share of the offered rate at which a curve has not fallen.
const HOLDS: f64 = 0.98;

/// How it is run.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Figure1 {
    /// Group sizes of both.
    pub members: Vec<usize>,
    /// Shares of 100 ms slots that a sleeper sleeps through.
    pub asleep: Vec<f64>,
    /// Further sizes, of ours alone, for the first seed.
    pub more: Vec<More>,
    /// Seeds.
    pub seeds: Vec<u64>,
    /// Samples of 500 ms.
    pub samples: usize,
    /// What is sent, and what that costs.
    pub load: Load,
}

/// A further group size.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct More {
    /// The size.
    pub members: usize,
    /// Shares of slots that a sleeper sleeps through.
    pub asleep: Vec<f64>,
    /// Samples of 500 ms.
    pub samples: usize,
}

impl Figure1 {
    /// The group sizes of ours, or those of both.
    fn sizes(&self, is_ours: bool) -> Vec<usize> {
        let more = self.more.iter().filter(|_| is_ours).map(|more| more.members);
        self.members.iter().copied().chain(more).collect()
    }

    fn classic(&self, job: &Job, costs: Costs) -> Measured {
        let classic = Classic {
            members: job.members,
            settings: Settings::ensemble(),
            costs,
            sleepers: vec![(1, job.x)],
            loss: 0.0,
            delay: Duration::ZERO,
            rate: self.load.rate,
            bytes: self.load.bytes,
            samples: self.samples,
            seed: job.seed,
        };
        let seen = classic.run();
        measured(&seen.throughput, &[("views", seen.views as f64)])
    }

    fn ours(&self, job: &Job, sleeping_percent: usize) -> Measured {
        let of_job = |more: &&More| more.members == job.members;
        let parameters = perturb::Parameters {
            members: job.members,
            sleeping_percent,
            probability: job.x,
            samples: self.more.iter().find(of_job).map_or(self.samples, |more| more.samples),
            rate: self.load.rate,
            bytes: self.load.bytes,
            multicast: true,
            trouble: Trouble::default(),
            seed: job.seed,
        };
        let report = perturb::run(&parameters, &mut |_| ());
        let repairs = [("repairs", report.repairs), ("gaps", report.healthy_gaps as f64)];
        measured(&report.throughput, &repairs)
    }

    /// The first share of sleep at which a group no longer keeps up.
    fn knee(&self, results: &Results, protocol: &str, members: usize) -> Option<f64> {
        let points = results.along_x(protocol, members, "throughput");
        let falls = |mean: f64| mean < HOLDS * self.load.rate as f64;
        points.iter().find(|point| falls(point.mean)).map(|point| point.x)
    }

    fn about(&self) -> String {
        let samples = self.samples;
        let Load { rate, bytes, datagram_us, kibibyte_us } = self.load;
        format!(
            "One member sends {rate} messages of {bytes} bytes a second; one other sleeps through \
             a share of all slots of 100 ms. The throughput is that at a healthy member, over \
             {samples} samples of 500 ms (fewer in the largest groups). The classic protocol is a \
             virtually synchronous FIFO multicast with Ensemble's window (50,000 bytes \
             unacknowledged by anybody), acknowledgements (each 25,000 bytes) and failure detector \
             (15 s); its hosts take {datagram_us} us for each datagram and {kibibyte_us} us for \
             each KiB. An application that was blocked makes up for at most a second."
        )
    }

    fn bars(&self, results: &Results) -> Vec<Bar> {
        let mut bars = Vec::new();
        let rate = self.load.rate as f64;
        let all = self.sizes(true);
        let ours = [OURS, OURS_QUARTER].into_iter();
        let points = ours.flat_map(|protocol| {
            all.iter().flat_map(move |members| results.along_x(protocol, *members, "throughput"))
        });
        let worst = points.map(|point| point.range.0 / rate).fold(1.0, f64::min);
        bars.push(Bar::at_least("ours_worst_share", worst, HOLDS));
        // Of the classic: a size's throughput over that of the next smaller one, on average over
        // all sleep, and how far it falls from no sleep to most; the worst of all sizes.
        let curves = self.members.iter().map(|it| results.along_x(CLASSIC, *it, "throughput"));
        let curves: Vec<_> = curves.filter(|points| !points.is_empty()).collect();
        let means: Vec<f64> = curves
            .iter()
            .map(|points| points.iter().map(|point| point.mean).sum::<f64>() / points.len() as f64)
            .collect();
        let ratios = means.windows(2).map(|pair| pair[1] / pair[0]);
        bars.push(Bar::at_most("classic_larger_over_smaller", ratios.fold(0.0, f64::max), 0.99));
        let falls = curves.iter().map(|points| {
            let ends = points.first().zip(points.last());
            ends.map_or(1.0, |(first, last)| last.mean / first.mean)
        });
        bars.push(Bar::at_most("classic_falls_to", falls.fold(0.0, f64::max), 0.9));
        let knees: Vec<f64> =
            self.members.iter().map(|it| self.knee(results, CLASSIC, *it).unwrap_or(1.0)).collect();
        let ends = knees.first().zip(knees.last());
        let moves = ends.map_or(0.0, |(smallest, largest)| smallest - largest);
        bars.push(Bar::at_least("classic_knee_moves_left_by", moves, 0.1));
        bars
    }
}

pub(super) fn measured(throughput: &Summary, more: &[(&str, f64)]) -> Measured {
    let fixed = [("throughput", throughput.mean), ("variation", throughput.variation)];
    named(&[&fixed[..], more].concat())
}

impl Experiment for Figure1 {
    fn check(&self) -> Result<(), SettingError> {
        some("members", &self.members)?;
        some("asleep", &self.asleep)?;
        some("seeds", &self.seeds)?;
        within("members", self.sizes(true).iter().map(|it| *it as f64), 3.0, 10_000.0)?;
        within("more.samples", self.more.iter().map(|it| it.samples as f64), 1.0, 10_000.0)?;
        let asleep = self.asleep.iter().chain(self.more.iter().flat_map(|more| &more.asleep));
        within("asleep", asleep.copied(), 0.0, 0.99)?;
        within("samples", [self.samples as f64], 1.0, 10_000.0)?;
        self.load.check(40_000)
    }

    fn jobs(&self) -> Vec<Job> {
        let all = jobs(
            &[CLASSIC, CLASSIC_FAST, OURS, OURS_QUARTER],
            &self.members,
            &self.asleep,
            &self.seeds,
        );
        let of_more = |more: &More| {
            jobs(&[OURS, OURS_QUARTER], &[more.members], &more.asleep, &self.seeds[..1])
        };
        // The large ones first, so that none is left alone at the end.
        self.more.iter().rev().flat_map(of_more).chain(all).collect()
    }

    fn run(&self, job: &Job) -> Measured {
        match job.protocol.as_str() {
            CLASSIC => self.classic(job, self.load.costs(1)),
            CLASSIC_FAST => self.classic(job, self.load.costs(10)),
            OURS => self.ours(job, 0),
            _ => self.ours(job, 25),
        }
    }

    fn report(&self, results: &Results) -> Report {
        let plot = |title: &str, protocols: &[&str], measure: &str| {
            let mut plot =
                Plot::new(title, "share of time asleep", "messages/s at a healthy member");
            for protocol in protocols {
                for members in self.sizes(protocol.starts_with(OURS)) {
                    let points = results.along_x(protocol, members, measure);
                    plot.series.push(Series::new(&format!("{protocol}, {members}"), points));
                }
            }
            plot
        };
        let mut one = plot("One member sleeps", &[CLASSIC, OURS], "throughput");
        one.y_most = Some(self.load.rate as f64 * 1.25);
        let mut fast = plot("The same, ten times the processor", &[CLASSIC_FAST], "throughput");
        fast.y_most = one.y_most;
        let mut quarter = plot("A quarter of the members sleep", &[OURS_QUARTER], "throughput");
        quarter.y_most = one.y_most;
        let mut variation = plot("How uneven it is", &[CLASSIC, OURS], "variation");
        variation.y = "standard deviation over mean of 500 ms samples".into();
        let knees = self.members.iter().map(|members| {
            let knee = self.knee(results, CLASSIC, *members);
            let knee = knee.map_or_else(|| "never".into(), |knee| format!("{:.0} %", knee * 100.0));
            format!("The classic group of {members} first falls behind at {knee} asleep.")
        });
        Report {
            title: "Figure 1: steady throughput, though others sleep".into(),
            about: self.about(),
            plots: vec![one, fast, quarter, variation],
            notes: knees.collect(),
            bars: self.bars(results),
        }
    }
}
