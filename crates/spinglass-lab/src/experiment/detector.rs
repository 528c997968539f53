//! Failure detectors: the papers' closed forms beside what is drawn, and how soon ours, SWIM and
//! SWIM with Lifeguard find an agent that is gone, against the group's size (Middleware 1998; DSN
//! 2002; DSN 2018).

use serde::{Deserialize, Serialize};
use spinglass_sim::scenario::suspicion::{self, Detector as Whose};

use super::{Experiment, Job, Measured, Point, Results, SettingError, jobs, named, some, within};
use crate::models::detection::{
    Gossip, broadcast_exponent, first_broadcast, first_broadcast_drawn, first_ping,
    first_ping_drawn,
};
use crate::report::{Bar, Plot, Report, Series};

const PING: &str = "first ping, drawn";
const BROADCAST: &str = "first broadcast, drawn";
const COUNTERS: &str = "gossiped counters, drawn";
const OURS: &str = "Spinglass";
const SWIM: &str = "SWIM";
const LIFEGUARD: &str = "SWIM with Lifeguard";

/// Bytes that each may send a second in Middleware 1998.
const BYTES_PER_SECOND: f64 = 250.0;
/// The share of runs in which counters that are drawn may be late: enough of them to be counted.
const LATE: f64 = 0.02;
/// How long an agent is gone: longer than any detector takes.
const GONE_MS: u64 = 60_000;

/// How it is run.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Detector {
    /// Group sizes for closed forms.
    pub computed_members: Vec<usize>,
    /// Runs drawn for each.
    pub runs: u32,
    /// Group sizes of detectors that are run.
    pub members: Vec<usize>,
    /// Seeds.
    pub seeds: Vec<u64>,
}

impl Detector {
    fn counters(members: usize) -> Gossip {
        // The recurrence asks for a bound on all members' mistakes together.
        let mistake = LATE * (members - 1) as f64;
        Gossip { members, failed: 1, arrives: 0.95, mistake }
    }

    fn detect(&self, job: &Job, detector: Whose) -> Measured {
        let report = suspicion::run(&suspicion::Parameters {
            detector,
            agents: job.members,
            troubled: 1,
            trouble_ms: GONE_MS,
            pause_ms: 0,
            seconds: 0,
            seed: job.seed,
        });
        let mean = |all: &[f64]| all.iter().sum::<f64>() / all.len().max(1) as f64;
        let found = report.full_seconds.len() as f64;
        named(&[
            ("first", mean(&report.first_seconds)),
            ("full", mean(&report.full_seconds)),
            ("found", found),
            ("false_positives", report.false_positives as f64),
            ("bytes", report.bytes as f64 / report.agent_seconds),
        ])
    }

    /// How far what is drawn is from what is computed, at worst, as a share of it.
    fn off(&self, results: &Results, protocol: &str, computed: impl Fn(usize) -> f64) -> f64 {
        let points = results.along_members(protocol, "drawn");
        let off = |point: &Point| (point.mean / computed(point.x as usize) - 1.0).abs();
        points.iter().map(off).fold(0.0, f64::max)
    }

    fn bars(&self, results: &Results) -> Vec<Bar> {
        let broadcast = |members| first_broadcast(members, broadcast_exponent(members));
        let (ours, swim) =
            (results.along_members(OURS, "full"), results.along_members(SWIM, "full"));
        let over_swim = ours.iter().zip(&swim).map(|(ours, swim)| ours.mean / swim.mean);
        let found = results.along_members(OURS, "found");
        let found = found.iter().map(|point| point.range.0).fold(1.0, f64::min);
        let wrong = results.along_members(OURS, "false_positives");
        let wrong: f64 = wrong.iter().map(|point| point.range.1).sum();
        vec![
            Bar::at_most("first_ping_off", self.off(results, PING, first_ping), 0.05),
            Bar::at_most("first_broadcast_off", self.off(results, BROADCAST, broadcast), 0.05),
            Bar::at_most("counters_late_off", self.off(results, COUNTERS, |_| LATE), 0.2),
            Bar::at_least("ours_found", found, 1.0),
            Bar::at_most("ours_false_positives", wrong, 0.0),
            Bar::at_most("ours_full_detection_over_swim_most", over_swim.fold(0.0, f64::max), 0.6),
        ]
    }
}

impl Experiment for Detector {
    fn check(&self) -> Result<(), SettingError> {
        some("computed_members", &self.computed_members)?;
        some("members", &self.members)?;
        some("seeds", &self.seeds)?;
        let sizes = self.computed_members.iter().map(|it| *it as f64);
        within("computed_members", sizes, 10.0, 2_000.0)?;
        within("runs", [self.runs.into()], 10.0, 1e7)?;
        within("members", self.members.iter().map(|it| *it as f64), 8.0, 1_000.0)
    }

    fn jobs(&self) -> Vec<Job> {
        let drawn = [PING, BROADCAST, COUNTERS];
        let drawn = jobs(&drawn, &self.computed_members, &[0.0], &self.seeds[..1]);
        let run = jobs(&[OURS, SWIM, LIFEGUARD], &self.members, &[0.0], &self.seeds);
        run.into_iter().rev().chain(drawn).collect()
    }

    fn run(&self, job: &Job) -> Measured {
        let (members, runs, seed) = (job.members, self.runs, job.seed);
        let drawn = match job.protocol.as_str() {
            PING => first_ping_drawn(members, runs, seed),
            BROADCAST => first_broadcast_drawn(members, broadcast_exponent(members), runs, seed),
            COUNTERS => {
                let counters = Self::counters(members);
                counters.late_drawn(counters.rounds(), runs, seed)
            }
            OURS => return self.detect(job, Whose::Spinglass),
            SWIM => return self.detect(job, Whose::Swim),
            _ => return self.detect(job, Whose::Lifeguard),
        };
        named(&[("drawn", drawn)])
    }

    fn report(&self, results: &Results) -> Report {
        let computed = |of: &dyn Fn(usize) -> f64| {
            let point = |it: &usize| Point::exact(*it as f64, of(*it));
            self.computed_members.iter().map(point).collect::<Vec<Point>>()
        };
        let mut counters = Plot::new(
            "Gossiped counters: a failure is detected after",
            "members",
            "seconds, at 250 bytes a second each",
        );
        for mistake in [1e-3, 1e-6, 1e-9] {
            let seconds = |members| {
                let gossip = Gossip { members, failed: 1, arrives: 1.0, mistake };
                gossip.seconds(BYTES_PER_SECOND)
            };
            let name = format!("mistakes {mistake:.0e}");
            counters.series.push(Series::new(&name, computed(&seconds)));
        }
        let mut ping = Plot::new("Somebody first pings one that is gone", "members", "periods");
        ping.series = vec![
            Series::new("computed", computed(&first_ping)),
            Series::new(PING, results.along_members(PING, "drawn")),
        ];
        let mut found = Plot::new("An agent is gone: all know after", "agents", "seconds");
        let mut bytes = Plot::new("What it costs an agent", "agents", "bytes a second sent");
        for protocol in [OURS, SWIM, LIFEGUARD] {
            let full = results.along_members(protocol, "full");
            found.series.push(Series::new(protocol, full));
            bytes.series.push(Series::new(protocol, results.along_members(protocol, "bytes")));
        }
        let exponent = broadcast_exponent(1_000);
        Report {
            title: "Failure detectors".into(),
            about: format!(
                "Closed forms, and the same drawn {} times: rounds until a gossiped counter is \
                 known to all (at 5 % loss, late with {:.0} % probability); periods until one of \
                 SWIM's agents first pings one that is gone; seconds until somebody first \
                 broadcasts after a catastrophe, with the exponent that makes it ten on average. \
                 And detectors in their simulators: one agent neither sends nor receives for a \
                 minute; how soon do all others hold it for failed? All agents are of one region \
                 here; systems of more than 64 have several. Ours signs what it says, and its \
                 bytes are also the table's.",
                self.runs,
                LATE * 100.0
            ),
            plots: vec![counters, ping, found, bytes],
            notes: vec![format!(
                "The exponent of broadcasts for 1,000 members is {exponent:.2} (10.43 in the \
                 paper)."
            )],
            bars: self.bars(results),
        }
    }
}
