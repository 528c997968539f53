//! Gravitational gossip's mechanism (section 6 of the paper; Jenkins, Hopkinson, Birman, 2001): a
//! class of members is to receive a share of all messages, and is gossiped to in proportion to
//! -ln(1 - share) [FACTS 5].

use serde::{Deserialize, Serialize};

use super::{Experiment, Job, Measured, Point, Results, SettingError, jobs, some, within};
use crate::models::ratings::{self, Class};
use crate::report::{Bar, Plot, Report, Series};

const DRAWN: &str = "gravitational gossip";
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
    /// Seeds.
    pub seeds: Vec<u64>,
}

impl Ratings {
    fn group(&self) -> ratings::Ratings {
        let class = |rating: &f64| Class { members: self.members_each, rating: *rating };
        let classes = self.ratings.iter().map(class).collect();
        ratings::Ratings { classes, rounds: self.rounds, gossip: 0.0 }
    }

    fn along_rating(&self, results: &Results, measure: &str) -> Vec<Point> {
        let members = self.members_each * self.ratings.len();
        let at = |(class, rating): (usize, &f64)| {
            let points = results.along_x(DRAWN, members, &format!("{measure}{class}"));
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
        within("messages", [self.messages.into()], 10.0, 1e7)
    }

    fn jobs(&self) -> Vec<Job> {
        jobs(&[DRAWN], &[self.members_each * self.ratings.len()], &[0.0], &self.seeds)
    }

    fn run(&self, job: &Job) -> Measured {
        let group = self.group().fitted(FITTED, self.fit_messages, job.seed);
        let seen = group.drawn(self.messages, job.seed + 1_000);
        let mut measured = Measured::from([("gossip".to_owned(), group.gossip)]);
        for (class, seen) in seen.iter().enumerate() {
            measured.insert(format!("received{class}"), seen.received);
            measured.insert(format!("heard{class}"), seen.heard);
            measured.insert(format!("sent{class}"), seen.sent);
        }
        measured
    }

    fn report(&self, results: &Results) -> Report {
        let received = self.along_rating(results, "received");
        let off = received.iter().map(|point| (point.mean - point.x).abs());
        let bars = vec![Bar::at_most("received_off_rating_most", off.fold(0.0, f64::max), 0.02)];
        let wanted = received.iter().map(|it| Point { mean: it.x, range: (it.x, it.x), ..*it });
        let mut shares = Plot::new("What classes receive", "rating", "share of messages");
        shares.series =
            vec![Series::new("as rated", wanted.collect()), Series::new("drawn", received.clone())];
        let mut load = Plot::new("What it costs them", "rating", "gossip per message");
        for (measure, name) in [("heard", "received"), ("sent", "sent")] {
            load.series.push(Series::new(name, self.along_rating(results, measure)));
        }
        let Self { members_each, rounds, .. } = self;
        let gossip = results.along_members(DRAWN, "gossip");
        let gossip = gossip.first().map_or(0.0, |point| point.mean);
        Report {
            title: "Gravitational gossip: classes receive what they are rated".into(),
            about: format!(
                "Classes of {members_each} members, of whom each is to receive a share of all \
                 messages by the end of {rounds} rounds. Whoever has one gossips about it in \
                 proportion to its rating, and is chosen in proportion to -ln(1 - rating). One \
                 number is fitted: how much a member of rating 1 gossips."
            ),
            plots: vec![shares, load],
            notes: vec![format!(
                "Fitted: {gossip:.2} gossips a round and member of rating 1 (0.94 expected for the \
                 five classes of 20)."
            )],
            bars,
        }
    }
}
