//! Astrolabe's figures 6 to 9 (TOCS 2003): rounds until an update of one agent is known to all,
//! against their number, the zones' branching, representatives, loss and crashes; in the paper's
//! simulator, and by the core.

use serde::{Deserialize, Serialize};
use spinglass_sim::scenario::rounds;

use super::{Experiment, Job, Measured, Point, Results, SettingError, named, some, within};
use crate::models::zones::Tree;
use crate::report::{Bar, Plot, Report, Series};

const MODEL: &str = "the paper's model";
const OURS: &str = "Spinglass";

/// A tree in the paper's model, and what was found for it before: by the paper, or by this model
/// [FACTS 4.9].
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Known {
    /// Children per zone, by level.
    pub branching: Vec<usize>,
    /// Contacts per zone.
    pub contacts: usize,
    /// The share of messages that is lost.
    pub loss: f64,
    /// Rounds until the last agent knows.
    pub last: f64,
}

/// How it is run.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Astrolabe {
    /// Trees of the model.
    pub known: Vec<Known>,
    /// Agents of ours, against their number.
    pub agents: Vec<usize>,
    /// Children of each zone of ours, against this; with the last of `agents` but one.
    pub branching: Vec<usize>,
    /// Representatives of each zone of ours, against this.
    pub representatives: Vec<usize>,
    /// Shares of datagrams that are lost, against this.
    pub loss: Vec<f64>,
    /// Shares of agents that have crashed, against this.
    pub crash: Vec<f64>,
    /// Updates per run.
    pub updates: usize,
    /// Seeds.
    pub seeds: Vec<u64>,
}

/// Children of a zone and representatives, where something else is varied: the paper's.
const BRANCHING: usize = 25;
const REPRESENTATIVES: usize = 3;

/// What of ours is varied, as it stands behind the protocol's name.
const VARIED: [&str; 5] = [", agents", ", branching", ", representatives", ", loss", ", crashes"];

impl Astrolabe {
    fn name(known: &Known) -> String {
        let Known { branching, contacts, loss, .. } = known;
        let shape: Vec<String> = branching.iter().map(ToString::to_string).collect();
        format!("{MODEL}: {}, {contacts} contacts, {:.0} % lost", shape.join(" x "), loss * 100.0)
    }

    /// Agents where something else is varied.
    fn usual(&self) -> usize {
        self.agents.iter().rev().nth(1).or_else(|| self.agents.first()).copied().unwrap_or(0)
    }

    fn xs(&self, varied: &str) -> Vec<f64> {
        match varied {
            ", agents" => self.agents.iter().map(|it| *it as f64).collect(),
            ", branching" => self.branching.iter().map(|it| *it as f64).collect(),
            ", representatives" => self.representatives.iter().map(|it| *it as f64).collect(),
            ", loss" => self.loss.clone(),
            _ => self.crash.clone(),
        }
    }

    fn ours(&self, job: &Job) -> Measured {
        let varied = |what: &str| job.protocol.ends_with(what);
        let whole = |what: &str, usual: usize| if varied(what) { job.x as usize } else { usual };
        let parameters = rounds::Parameters {
            agents: job.members,
            branching: whole(", branching", BRANCHING),
            representatives: whole(", representatives", REPRESENTATIVES),
            loss: if varied(", loss") { job.x } else { 0.0 },
            crash: if varied(", crashes") { job.x } else { 0.0 },
            updates: self.updates,
            seed: job.seed,
        };
        let report = rounds::run(&parameters, &mut |_| ());
        named(&[
            ("last", report.last_rounds),
            ("mean", report.mean_rounds),
            ("never", report.never as f64),
            ("datagrams", report.datagrams_per_round),
            ("bytes", report.bytes_per_round),
        ])
    }

    fn model(&self, job: &Job) -> Measured {
        let Some(known) = self.known.iter().find(|it| Self::name(it) == job.protocol) else {
            return Measured::new();
        };
        let loss_ppm = (known.loss * 1e6) as u32;
        let tree = Tree { branching: known.branching.clone(), contacts: known.contacts, loss_ppm };
        let rounds = tree.update(job.seed);
        named(&[("last", rounds.last), ("mean", rounds.mean)])
    }

    fn bars(&self, results: &Results) -> Vec<Bar> {
        let off = self.known.iter().map(|known| {
            let points = results.along_members(&Self::name(known), "last");
            points.first().map_or(f64::INFINITY, |point| (point.mean - known.last).abs())
        });
        let ours = |varied: &str, measure: &str| {
            results.points(|job| job.protocol == format!("{OURS}{varied}"), |job| job.x, measure)
        };
        let never: f64 =
            VARIED.iter().flat_map(|varied| ours(varied, "never")).map(|point| point.range.1).sum();
        let grows = |varied: &str| {
            let points = ours(varied, "last");
            let most = points.iter().map(|point| point.mean).fold(0.0, f64::max);
            points.first().map_or(1.0, |first| most / first.mean.max(1.0))
        };
        vec![
            Bar::at_most("model_off_known_rounds_most", off.fold(0.0, f64::max), 1.5),
            Bar::at_most("ours_never_heard", never, 0.0),
            // "Only modestly": figures 8 and 9.
            Bar::at_most("ours_loss_multiplies_rounds_by", grows(", loss"), 2.0),
            Bar::at_most("ours_crashes_multiply_rounds_by", grows(", crashes"), 2.0),
        ]
    }
}

impl Experiment for Astrolabe {
    fn check(&self) -> Result<(), SettingError> {
        some("agents", &self.agents)?;
        some("seeds", &self.seeds)?;
        for known in &self.known {
            some("branching", &known.branching)?;
            within("branching", known.branching.iter().map(|it| *it as f64), 2.0, 1e6)?;
            let agents = known.branching.iter().map(|it| *it as f64).product();
            within("agents", [agents], 4.0, 4e6)?;
            within("contacts", [known.contacts as f64], 1.0, 10.0)?;
            within("loss", [known.loss], 0.0, 0.9)?;
        }
        within("agents", self.agents.iter().map(|it| *it as f64), 4.0, 1e6)?;
        within("branching", self.branching.iter().map(|it| *it as f64), 2.0, 64.0)?;
        let representatives = self.representatives.iter().map(|it| *it as f64);
        within("representatives", representatives, 1.0, 10.0)?;
        within("loss", self.loss.iter().copied(), 0.0, 0.9)?;
        within("crash", self.crash.iter().copied(), 0.0, 0.5)?;
        within("updates", [self.updates as f64], 1.0, 1_000.0)
    }

    fn jobs(&self) -> Vec<Job> {
        let with_seeds =
            |job: Job| self.seeds.iter().map(move |seed| Job { seed: *seed, ..job.clone() });
        let model = self.known.iter().map(|known| {
            let members = known.branching.iter().product();
            Job { protocol: Self::name(known), members, x: 0.0, seed: 0 }
        });
        let ours = VARIED.iter().flat_map(|varied| {
            self.xs(varied).into_iter().map(move |x| {
                let members = if *varied == ", agents" { x as usize } else { self.usual() };
                Job { protocol: format!("{OURS}{varied}"), members, x, seed: 0 }
            })
        });
        let mut all: Vec<Job> = model.chain(ours).flat_map(with_seeds).collect();
        // The large ones first, so that none is left alone at the end.
        all.sort_by_key(|job| std::cmp::Reverse(job.members));
        all
    }

    fn run(&self, job: &Job) -> Measured {
        if job.protocol.starts_with(OURS) { self.ours(job) } else { self.model(job) }
    }

    fn report(&self, results: &Results) -> Report {
        let plot = |title: &str, x: &str, varied: &str| {
            let mut plot = Plot::new(title, x, "rounds");
            plot.logarithmic = (varied == ", agents", false);
            for (measure, name) in [("last", "the last knows"), ("mean", "on average")] {
                let of = format!("{OURS}{varied}");
                let points = results.points(|job| job.protocol == of, |job| job.x, measure);
                plot.series.push(Series::new(&format!("{OURS}: {name}"), points));
            }
            plot
        };
        let mut size = plot("Against the number of agents", "agents", ", agents");
        // Single zones, and trees of zones of 25, of the paper's model.
        for (name, one, contacts) in
            [("flat", true, 1), ("zones of 25, 1 contact", false, 1), ("zones of 25, 3", false, 3)]
        {
            let of = |known: &&Known| {
                let is_shape = (known.branching.len() == 1) == one
                    && (one || known.branching.iter().all(|it| *it == BRANCHING));
                is_shape && known.contacts == contacts && known.loss == 0.0
            };
            let found = self.known.iter().filter(of);
            let mut points: Vec<Point> =
                found.flat_map(|it| results.along_members(&Self::name(it), "last")).collect();
            points.sort_by(|a, b| a.x.total_cmp(&b.x));
            size.series.push(Series::new(&format!("{MODEL}: {name}"), points));
        }
        let notes = self.known.iter().map(|known| {
            let points = results.along_members(&Self::name(known), "last");
            let last = points.first().map_or(0.0, |point| point.mean);
            let (name, known) = (Self::name(known), known.last);
            format!("{name}: {last:.1} rounds until the last agent knows; known before: {known}.")
        });
        let usual = self.usual();
        Report {
            title: "Astrolabe: rounds until all know".into(),
            about: format!(
                "One agent changes an attribute; counted are rounds until all agents know of it. \
                 In the paper's model all rounds begin at once, and who compares knows what the \
                 other knew when the round began. Ours gossips once a round, each agent at a phase \
                 of its own, and passes news on at once, so that it takes fewer. Where something \
                 else is varied there are {usual} agents in zones of {BRANCHING} with \
                 {REPRESENTATIVES} representatives. Crashed agents have been dropped and replaced \
                 when the update comes."
            ),
            plots: vec![
                size,
                plot("Against the zones' size", "children of a zone", ", branching"),
                plot("Against representatives", "representatives", ", representatives"),
                plot("Against loss", "share of datagrams lost", ", loss"),
                plot("Against crashes", "share of agents crashed", ", crashes"),
            ],
            notes: notes.collect(),
            bars: self.bars(results),
        }
    }
}
