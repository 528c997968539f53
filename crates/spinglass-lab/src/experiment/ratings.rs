//! Gravitational gossip's mechanism (section 6 of the paper; Jenkins, Hopkinson, Birman, 2001): a
//! class of members is to receive a share of all messages, and is gossiped to in proportion to
//! -ln(1 - share) [FACTS 5].

use std::time::Duration;

use serde::{Deserialize, Serialize};
use spinglass_core::{Config, Event, Instant, Rating, Start};
use spinglass_sim::{Network, Observer, Setup, World};

use super::{Experiment, Job, Measured, Point, Results, SettingError, jobs, some, within};
use crate::gaps::Gaps;
use crate::models::ratings::{self, Class};
use crate::report::{Bar, Plot, Report, Series};

const DRAWN: &str = "gravitational gossip";
/// The same with a controller (Adaptive Gravitational Gossip).
const ADAPTIVE: &str = "adaptive gravitational gossip";
/// The core, where a packet's number decides.
const OURS: &str = "Spinglass";
/// The time between two messages of ours: each then has a packet of its own.
const GAP: Duration = Duration::from_millis(5);
/// What classes received, and what they did when more was lost.
const RECEIVED: &str = "received";
const LATER: &str = "later";
/// Longer than any repair takes.
const SETTLE: Duration = Duration::from_secs(5);
/// The class that gossip is fitted for: the second one, as the first is to receive nearly all.
const FITTED: usize = 1;

/// How it is run.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Ratings {
    /// What each class is to receive, as shares below one, falling.
    pub ratings: Vec<f64>,
    /// Members of each class.
    pub members_each: usize,
    /// Rounds of gossip about a message.
    pub rounds: u32,
    /// Messages by which gossip is fitted.
    pub fit_messages: u32,
    /// Messages that are followed then.
    pub messages: u32,
    /// Messages of ours.
    pub ours_messages: u32,
    /// The share of datagrams that is lost, in ours.
    pub loss: f64,
    /// What is lost of gossip and of datagrams later.
    pub later_loss: f64,
    /// Messages after which the controller corrects.
    pub window_messages: u32,
    /// How often it does so in all.
    pub windows: u32,
    /// The part of what is missing that one correction makes up for.
    pub gain: f64,
    /// Seeds.
    pub seeds: Vec<u64>,
}

/// What each member of ours got.
struct Got {
    messages: Vec<u32>,
    gaps: Vec<Gaps>,
    untold: u64,
}

impl Observer for Got {
    fn event(&mut self, _at: Instant, member: usize, _life: u64, event: &Event) {
        match event {
            Event::Message(message) => {
                self.messages[member] += 1;
                self.gaps[member].add(message.first.0);
            }
            Event::Gap(gap) => self.untold += gap.packets,
            _ => (),
        }
    }
}

impl Ratings {
    /// The same classes in the core: member 0 sends, and takes no part otherwise.
    fn ours(&self, job: &Job) -> Measured {
        let members = job.members + 1;
        let network = Network { loss_ppm: (self.loss * 1e6) as u32, ..Network::default() };
        let mut world = World::new(Setup::new(members, Config::lan(), job.seed), network);
        let topic = world.topic("ratings");
        let class_of = |member: usize| (member - 1) / self.members_each;
        for member in 1..members {
            // It was checked.
            let rating = Rating::new(self.ratings[class_of(member)]).unwrap_or_default();
            world.rate(member, topic, rating);
            world.subscribe(member, topic, Start::Live);
        }
        let gaps = vec![Gaps::default(); members];
        let mut got = Got { messages: vec![0; members], gaps, untold: 0 };
        let mut measured = Measured::new();
        for (name, loss) in [(RECEIVED, self.loss), (LATER, self.later_loss)] {
            world.network.loss_ppm = (loss * 1e6) as u32;
            got.messages.fill(0);
            for _ in 0..self.ours_messages {
                // The queue never fills: the pace is far above the rate.
                let _ = world.publish(0, topic, vec![7_u8; 100], &mut got);
                world.run(GAP, &mut got);
            }
            world.run(SETTLE, &mut got);
            for class in 0..self.ratings.len() {
                let all = (1..members).filter(|member| class_of(*member) == class);
                let messages: u32 = all.map(|member| got.messages[member]).sum();
                let sent = f64::from(self.ours_messages) * self.members_each as f64;
                measured.insert(format!("{name}{class}"), f64::from(messages) / sent);
            }
        }
        for class in 0..self.ratings.len() {
            let all = (1..members).filter(|member| class_of(*member) == class);
            let variation: f64 = all.map(|member| got.gaps[member].variation()).sum();
            measured.insert(format!("variation{class}"), variation / self.members_each as f64);
        }
        measured.insert("gaps".into(), got.untold as f64);
        measured
    }

    /// The mechanism, fitted where nothing is lost; then where something is, with the controller
    /// or without.
    fn drawn(&self, job: &Job) -> Measured {
        let class = |rating: &f64| Class { members: self.members_each, rating: *rating };
        let classes = self.ratings.iter().map(class).collect();
        let group = ratings::Ratings::new(classes, self.rounds);
        let group = group.fitted(FITTED, self.fit_messages, job.seed);
        let mut measured = Measured::from([("gossip".to_owned(), group.gossip)]);
        for (class, seen) in group.drawn(self.messages, job.seed + 1_000).iter().enumerate() {
            measured.insert(format!("{RECEIVED}{class}"), seen.received);
            measured.insert(format!("heard{class}"), seen.heard);
            measured.insert(format!("sent{class}"), seen.sent);
            measured.insert(format!("variation{class}"), seen.variation);
        }
        let mut group = ratings::Ratings { loss: self.later_loss, ..group };
        let windows = if job.protocol == ADAPTIVE { self.windows } else { 0 };
        for window in 0..windows {
            let seed = job.seed + 2_000 + u64::from(window);
            let seen = group.drawn(self.window_messages, seed);
            group = group.corrected(&seen, self.window_messages, self.gain);
        }
        measured.insert("later_gossip".into(), group.gossip);
        for (class, seen) in group.drawn(self.messages, job.seed + 3_000).iter().enumerate() {
            measured.insert(format!("{LATER}{class}"), seen.received);
        }
        measured
    }

    fn along_rating(&self, results: &Results, protocol: &str, measure: &str) -> Vec<Point> {
        let members = self.members_each * self.ratings.len();
        let at = |(class, rating): (usize, &f64)| {
            let points = results.along_x(protocol, members, &format!("{measure}{class}"));
            points.first().map(|point| Point { x: *rating, ..*point })
        };
        let mut points: Vec<Point> = self.ratings.iter().enumerate().filter_map(at).collect();
        points.sort_by(|a, b| a.x.total_cmp(&b.x));
        points
    }
}

impl Experiment for Ratings {
    fn check(&self) -> Result<(), SettingError> {
        some("ratings", &self.ratings)?;
        some("seeds", &self.seeds)?;
        within("ratings", [self.ratings.len() as f64], 2.0, 20.0)?;
        within("ratings", self.ratings.iter().copied(), 0.01, 0.999_9)?;
        within("members_each", [self.members_each as f64], 2.0, 10_000.0)?;
        within("rounds", [self.rounds.into()], 1.0, 100.0)?;
        within("fit_messages", [self.fit_messages.into()], 10.0, 1e6)?;
        within("messages", [self.messages.into()], 10.0, 1e7)?;
        within("ours_messages", [self.ours_messages.into()], 10.0, 1e6)?;
        within("loss", [self.loss, self.later_loss], 0.0, 0.5)?;
        within("window_messages", [self.window_messages.into()], 10.0, 1e6)?;
        within("windows", [self.windows.into()], 1.0, 1_000.0)?;
        within("gain", [self.gain], 0.01, 1.0)
    }

    fn jobs(&self) -> Vec<Job> {
        jobs(
            &[DRAWN, ADAPTIVE, OURS],
            &[self.members_each * self.ratings.len()],
            &[0.0],
            &self.seeds,
        )
    }

    fn run(&self, job: &Job) -> Measured {
        if job.protocol == OURS { self.ours(job) } else { self.drawn(job) }
    }

    fn report(&self, results: &Results) -> Report {
        let of = |protocol: &str, measure: &str| self.along_rating(results, protocol, measure);
        let off = |protocol: &str, measure: &str| {
            let received = of(protocol, measure);
            received.iter().map(|point| (point.mean - point.x).abs()).fold(0.0, f64::max)
        };
        let members = self.members_each * self.ratings.len();
        let gaps = results.along_x(OURS, members, "gaps");
        let bars = vec![
            Bar::at_most("received_off_rating_most", off(DRAWN, RECEIVED), 0.02),
            Bar::at_most("held_off_rating_most", off(ADAPTIVE, LATER), 0.02),
            Bar::at_most("ours_off_rating_most", off(OURS, RECEIVED), 0.01),
            Bar::at_most("ours_later_off_rating_most", off(OURS, LATER), 0.01),
            Bar::at_most("ours_gaps", gaps.iter().map(|point| point.range.1).sum(), 0.0),
        ];
        let as_rated = |it: &Point| Point { mean: it.x, range: (it.x, it.x), ..*it };
        let plot = |title: &str, measure: &str, protocols: &[&str]| {
            let mut plot = Plot::new(title, "rating", "share of messages");
            let wanted = of(DRAWN, measure).iter().map(as_rated).collect();
            plot.series.push(Series::new("as rated", wanted));
            let each = protocols.iter().map(|it| Series::new(it, of(it, measure)));
            plot.series.extend(each);
            plot
        };
        let shares = plot("What classes receive", RECEIVED, &[DRAWN, OURS]);
        let later = plot("When more is lost", LATER, &[DRAWN, ADAPTIVE, OURS]);
        let about_gaps = "standard deviation over mean of the gaps between messages received";
        let mut evenness = Plot::new("How evenly", "rating", about_gaps);
        for protocol in [DRAWN, OURS] {
            evenness.series.push(Series::new(protocol, of(protocol, "variation")));
        }
        let mut load = Plot::new("What it costs them", "rating", "gossip per message");
        for (measure, name) in [("heard", "received"), ("sent", "sent")] {
            load.series.push(Series::new(name, of(DRAWN, measure)));
        }
        let Self { members_each, rounds, ours_messages, loss, later_loss, windows, .. } = self;
        let mean = |protocol: &str, measure: &str| {
            results.along_members(protocol, measure).first().map_or(0.0, |point| point.mean)
        };
        let (fitted, later_gossip) = (mean(DRAWN, "gossip"), mean(ADAPTIVE, "later_gossip"));
        Report {
            title: "Gravitational gossip: classes receive what they are rated".into(),
            about: format!(
                "Classes of {members_each} members, of whom each is to receive a share of all \
                 messages by the end of {rounds} rounds. Whoever has one gossips about it in \
                 proportion to its rating, and is chosen in proportion to -ln(1 - rating). One \
                 number is fitted: how much a member of rating 1 gossips. Of ours the same \
                 classes take their share of {ours_messages} messages, of which {:.0} % of \
                 datagrams are lost; a packet's number decides who takes it. Then {:.0} % of all \
                 is lost. The controller looks at what each class received of {} messages, and \
                 corrects {windows} times.",
                loss * 100.0,
                later_loss * 100.0,
                self.window_messages,
            ),
            plots: vec![shares, later, evenness, load],
            notes: vec![
                format!(
                    "Fitted: {fitted:.2} gossips a round and member of rating 1 (0.94 expected for \
                     the five classes of 20)."
                ),
                format!(
                    "When more is lost, shares are off by up to {:.3} without the controller; with \
                     it members of rating 1 gossip {later_gossip:.2} times a round. Ours has \
                     nothing to correct: what a rating takes is repaired.",
                    off(DRAWN, LATER)
                ),
            ],
            bars,
        }
    }
}
