//! Bimodality (TOCS 1999, section 4): almost all members hear a message, or almost none. The
//! analysis, computed and drawn, and the core itself, whose senders crash while they send.

use serde::{Deserialize, Serialize};
use spinglass_core::plan::{gossip_once, neither_few_nor_most};
use spinglass_sim::scenario::{analysis, bimodality};

use super::{Experiment, Job, Measured, Point, Results, SettingError, jobs, some, within};
use crate::models::spread::GossipOnce;
use crate::report::{Bar, Plot, Report, Series};

const DRAWN: &str = "gossip once, drawn";
const PULL: &str = "pull repair, the core";
const CORE: &str = "the core";
/// The analysis' own settings: what is lost, who has failed, how many rounds there are.
const LOSS: f64 = 0.05;
const FAILURE: f64 = 0.001;
const ROUNDS: u32 = 10;
/// Below so many expected messages a count says nothing.
const EXPECTED_MIN: f64 = 5.0;

/// How it is run.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Bimodality {
    /// The group's size.
    pub members: usize,
    /// Fan-outs of the analysis.
    pub fanouts: Vec<f64>,
    /// Messages drawn for each.
    pub drawn_messages: u64,
    /// Group sizes for which it is computed how likely a message is to reach some but not most.
    pub computed_members: Vec<usize>,
    /// Messages of the core.
    pub messages: u64,
    /// Members of a group in which the core repairs by pulling alone.
    pub pull_members: usize,
    /// Such groups.
    pub pull_groups: usize,
    /// Rounds of it.
    pub pull_rounds: usize,
    /// Seeds.
    pub seeds: Vec<u64>,
}

impl Bimodality {
    fn computed(&self, members: usize, fanout: f64) -> Vec<f64> {
        gossip_once(members, fanout, LOSS, FAILURE, ROUNDS)
    }

    fn drawn(&self, job: &Job) -> Measured {
        let (members, fanout) = (job.members, job.x);
        let model = GossipOnce { members, fanout, loss: LOSS, failure: FAILURE, rounds: ROUNDS };
        let counts = model.drawn(self.drawn_messages, job.seed);
        let computed = self.computed(members, fanout);
        let all = self.drawn_messages as f64;
        // The worst deviation, in standard errors, of counts that say something.
        let off = counts.iter().zip(&computed).map(|(count, probability)| {
            let expected = probability * all;
            let error = (expected * (1.0 - probability)).sqrt();
            let off = (*count as f64 - expected).abs() / error;
            if expected < EXPECTED_MIN { 0.0 } else { off }
        });
        let mut measured = Measured::from([("off".to_owned(), off.fold(0.0, f64::max))]);
        for (reached, count) in counts.iter().enumerate().filter(|(_, count)| **count > 0) {
            measured.insert(format!("reached{reached}"), *count as f64 / all);
        }
        measured
    }

    fn pull(&self, job: &Job) -> Measured {
        let report = analysis::run(
            &analysis::Parameters {
                members: job.members,
                missing: job.x,
                loss: job.x,
                rounds: self.pull_rounds,
                groups: self.pull_groups,
                seed: job.seed * 1_000,
            },
            &mut |_| (),
        );
        let mut measured = Measured::new();
        for round in report.rounds {
            measured.insert(format!("model{}", round.round), round.model);
            measured.insert(format!("counted{}", round.round), round.counted);
            let agrees = f64::from(u8::from(round.agrees));
            measured.insert(format!("agrees{}", round.round), agrees);
        }
        measured
    }

    fn core(&self, job: &Job) -> Measured {
        let parameters = bimodality::Parameters {
            members: job.members,
            messages: self.messages,
            loss: LOSS,
            crash: FAILURE,
            seed: job.seed,
        };
        let report = bimodality::run(&parameters, &mut |_| ());
        let mut measured = Measured::new();
        for (tenth, count) in report.tenths.iter().enumerate() {
            measured.insert(format!("tenth{tenth}"), *count as f64 / self.messages as f64);
        }
        measured.insert("between".into(), report.between as f64);
        measured.insert("silent".into(), report.silent as f64);
        measured
    }

    fn histogram(&self, results: &Results) -> Plot {
        let title = format!("How many of {} a message reaches", self.members);
        let mut plot = Plot::new(&title, "members reached", "probability").logarithmic(false, true);
        for fanout in &self.fanouts {
            let computed = self.computed(self.members, *fanout);
            let points = computed.iter().enumerate().skip(1);
            let points = points.map(|(reached, p)| Point::exact(reached as f64, *p)).collect();
            plot.series.push(Series::new(&format!("fan-out {fanout}, computed"), points));
            let drawn = |reached: usize| {
                let points = results.along_x(DRAWN, self.members, &format!("reached{reached}"));
                let found = points.iter().find(|point| point.x == *fanout);
                found.map(|point| Point { x: reached as f64, ..*point })
            };
            let points = (1..=self.members).filter_map(drawn).collect();
            plot.series.push(Series::new(&format!("fan-out {fanout}, drawn"), points));
        }
        plot
    }

    fn reliability(&self) -> Plot {
        let title = "Some, but not most: more than 10 %, fewer than 90 %";
        let mut plot = Plot::new(title, "members", "probability").logarithmic(false, true);
        for fanout in &self.fanouts {
            let point = |members: &usize| {
                let between = neither_few_nor_most(&self.computed(*members, *fanout));
                Point::exact(*members as f64, between)
            };
            let points = self.computed_members.iter().map(point).collect();
            plot.series.push(Series::new(&format!("fan-out {fanout}, computed"), points));
        }
        plot
    }

    fn repair(&self, results: &Results) -> Plot {
        let title = "Pull repair: who still lacks a message";
        let mut plot = Plot::new(title, "rounds", "share of members").logarithmic(false, true);
        for x in PULL_LOSSES {
            for (measure, name) in [("model", "computed"), ("counted", "the core")] {
                let at = |round: usize| {
                    let name = format!("{measure}{round}");
                    let points = results.along_x(PULL, self.pull_members, &name);
                    let found = points.iter().find(|point| point.x == x);
                    found.map(|point| Point { x: round as f64, ..*point })
                };
                let points = (1..=self.pull_rounds).filter_map(at).collect();
                let name = format!("{:.0} % lost, {name}", x * 100.0);
                plot.series.push(Series::new(&name, points));
            }
        }
        plot
    }

    fn of_core(&self, results: &Results) -> Plot {
        let title = format!("Ours: how many of {} a message reaches", self.members);
        let mut plot = Plot::new(&title, "tenths of the group", "share of messages");
        plot.logarithmic = (false, true);
        let at = |tenth: usize| {
            let points = results.along_x(CORE, self.members, &format!("tenth{tenth}"));
            points.first().map(|point| Point { x: tenth as f64, ..*point })
        };
        plot.series = vec![Series::new(CORE, (0..12).filter_map(at).collect())];
        plot
    }

    fn bars(&self, results: &Results) -> Vec<Bar> {
        let most = |protocol: &str, members: usize, measure: &str| {
            let points = results.along_x(protocol, members, measure);
            points.iter().map(|point| point.range.1).fold(0.0, f64::max)
        };
        let agree = (1..=self.pull_rounds)
            .flat_map(|round| results.along_x(PULL, self.pull_members, &format!("agrees{round}")));
        let agree = agree.map(|point| point.range.0).fold(1.0, f64::min);
        let off = most(DRAWN, self.members, "off");
        vec![
            // Of some hundred counts one may well be three off.
            Bar::at_most("gossip_once_off_in_standard_errors", off, 4.5),
            Bar::at_least("pull_repair_rounds_agree", agree, 1.0),
            Bar::at_most("ours_between", most(CORE, self.members, "between"), 0.0),
            Bar::at_most("ours_missed_untold", most(CORE, self.members, "silent"), 0.0),
        ]
    }
}

/// What is missed at first, and lost then, in groups that pull.
const PULL_LOSSES: [f64; 2] = [0.05, 0.2];

impl Experiment for Bimodality {
    fn check(&self) -> Result<(), SettingError> {
        some("fanouts", &self.fanouts)?;
        some("seeds", &self.seeds)?;
        within("members", [self.members as f64], 10.0, 100.0)?;
        within("fanouts", self.fanouts.iter().copied(), 1.0, 20.0)?;
        within("drawn_messages", [self.drawn_messages as f64], 100.0, 1e9)?;
        let sizes = self.computed_members.iter().map(|it| *it as f64);
        within("computed_members", sizes, 10.0, 120.0)?;
        within("messages", [self.messages as f64], 100.0, 1e8)?;
        within("pull_members", [self.pull_members as f64], 10.0, 10_000.0)?;
        within("pull_groups", [self.pull_groups as f64], 1.0, 10_000.0)?;
        within("pull_rounds", [self.pull_rounds as f64], 1.0, 20.0)
    }

    fn jobs(&self) -> Vec<Job> {
        let drawn = jobs(&[DRAWN], &[self.members], &self.fanouts, &self.seeds);
        let pull = jobs(&[PULL], &[self.pull_members], &PULL_LOSSES, &self.seeds);
        let core = jobs(&[CORE], &[self.members], &[0.0], &self.seeds);
        core.into_iter().chain(drawn).chain(pull).collect()
    }

    fn run(&self, job: &Job) -> Measured {
        match job.protocol.as_str() {
            DRAWN => self.drawn(job),
            PULL => self.pull(job),
            _ => self.core(job),
        }
    }

    fn report(&self, results: &Results) -> Report {
        let Self { members, messages, pull_members, .. } = self;
        Report {
            title: "Bimodality: almost all, or almost none".into(),
            about: format!(
                "The TOCS paper's analysis: nobody but its sender has a message, everybody who \
                 hears it gossips once, {:.0} % of messages are lost, {:.1} % of members have \
                 failed, {ROUNDS} rounds. Computed by its recurrence, and drawn. What is built \
                 repairs in every round instead, by pulling: computed for {pull_members} members, \
                 and counted in the core with nothing but that turned on. And the whole core: \
                 {messages} messages to {members} members for each seed, whose senders crash with \
                 probability {:.1} % while they send to a random part of the group; in the last \
                 figure 0 stands for nobody, 11 for everybody.",
                LOSS * 100.0,
                FAILURE * 100.0,
                FAILURE * 100.0
            ),
            plots: vec![
                self.histogram(results),
                self.reliability(),
                self.repair(results),
                self.of_core(results),
            ],
            notes: Vec::new(),
            bars: self.bars(results),
        }
    }
}
