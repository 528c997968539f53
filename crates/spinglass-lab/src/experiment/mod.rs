//! Experiments: what is to be run, what was measured, and what it shows.
//!
//! An experiment is a list of runs, each a function of what it says (protocol, group, x, seed) and
//! nothing else. So runs go side by side, and those that are done need not be done again.

pub mod astrolabe;
pub mod bimodality;
pub mod buffers;
mod classic;
pub mod detector;
pub mod fec;
pub mod figure1;
pub mod figure2;
pub mod figure3;
pub mod micropartitions;
pub mod ratings;
pub mod scaling;
pub mod troubles;

use std::collections::BTreeMap;

use crate::report::Report;

/// One run of an experiment.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Job {
    /// The protocol, and how it is set.
    pub protocol: String,
    /// The group's size.
    pub members: usize,
    /// Where on the figure's axis.
    pub x: f64,
    /// The seed.
    pub seed: u64,
}

/// What runs measured: for each measure, a value.
pub type Measured = BTreeMap<String, f64>;

/// Measures by their names.
fn named(all: &[(&str, f64)]) -> Measured {
    all.iter().map(|(name, value)| ((*name).to_owned(), *value)).collect()
}

/// All runs that are done.
#[derive(Debug, Default)]
pub struct Results {
    runs: Vec<(Job, Measured)>,
}

impl Results {
    /// Takes in a run.
    pub fn add(&mut self, job: Job, measured: Measured) {
        self.runs.push((job, measured));
    }

    /// The runs.
    pub fn runs(&self) -> impl Iterator<Item = &(Job, Measured)> {
        self.runs.iter()
    }

    /// What a run measured, if it is done.
    #[must_use]
    pub fn of(&self, job: &Job) -> Option<&Measured> {
        self.runs.iter().find(|(done, _)| done == job).map(|(_, measured)| measured)
    }

    /// A measure of one protocol in groups of one size, along x, over all seeds.
    #[must_use]
    pub fn along_x(&self, protocol: &str, members: usize, measure: &str) -> Vec<Point> {
        let is_it = |job: &Job| job.protocol == protocol && job.members == members;
        self.points(is_it, |job| job.x, measure)
    }

    /// A measure of one protocol, along the group's size, over all seeds.
    #[must_use]
    pub fn along_members(&self, protocol: &str, measure: &str) -> Vec<Point> {
        self.points(|job| job.protocol == protocol, |job| job.members as f64, measure)
    }

    fn points(
        &self,
        is_it: impl Fn(&Job) -> bool,
        at: impl Fn(&Job) -> f64,
        measure: &str,
    ) -> Vec<Point> {
        let mut values: Vec<(f64, f64)> = Vec::new();
        for (job, measured) in self.runs.iter().filter(|(job, _)| is_it(job)) {
            values.extend(measured.get(measure).map(|value| (at(job), *value)));
        }
        values.sort_by(|a, b| a.0.total_cmp(&b.0).then(a.1.total_cmp(&b.1)));
        values.chunk_by(|a, b| a.0 == b.0).filter_map(Point::of).collect()
    }
}

/// A place on a figure: the mean over seeds, and how far it may be off.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Point {
    /// Where.
    pub x: f64,
    /// The mean over all seeds.
    pub mean: f64,
    /// The least and the greatest of them.
    pub range: (f64, f64),
    /// How many seeds.
    pub seeds: usize,
}

impl Point {
    /// A place that is computed.
    #[must_use]
    pub const fn exact(x: f64, mean: f64) -> Self {
        Self { x, mean, range: (mean, mean), seeds: 1 }
    }

    fn of(values: &[(f64, f64)]) -> Option<Self> {
        let x = values.first()?.0;
        let ys = values.iter().map(|(_, y)| *y);
        let least = ys.clone().fold(f64::INFINITY, f64::min);
        let most = ys.clone().fold(f64::NEG_INFINITY, f64::max);
        let mean = ys.sum::<f64>() / values.len() as f64;
        Some(Self { x, mean, range: (least, most), seeds: values.len() })
    }
}

/// A setting that makes no sense.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum SettingError {
    /// It is a list without values.
    #[error("{0} is empty: give at least one value")]
    Empty(&'static str),
    /// A value of it is too small or too large.
    #[error("{name} is {value}: it must be from {least} to {most}")]
    OutOfBounds {
        /// Which setting.
        name: &'static str,
        /// What it is.
        value: f64,
        /// The least that it may be.
        least: f64,
        /// The greatest.
        most: f64,
    },
}

/// Whether all values of a setting are within bounds.
fn within(
    name: &'static str,
    values: impl IntoIterator<Item = f64>,
    least: f64,
    most: f64,
) -> Result<(), SettingError> {
    let out = values.into_iter().find(|value| !(least..=most).contains(value));
    out.map_or(Ok(()), |value| Err(SettingError::OutOfBounds { name, value, least, most }))
}

/// Whether a list has values.
const fn some<T>(name: &'static str, values: &[T]) -> Result<(), SettingError> {
    if values.is_empty() { Err(SettingError::Empty(name)) } else { Ok(()) }
}

/// An experiment, set.
pub trait Experiment: Sync {
    /// Whether its settings make sense.
    ///
    /// # Errors
    /// The first that does not, and what it may be.
    fn check(&self) -> Result<(), SettingError>;

    /// Everything to be run.
    fn jobs(&self) -> Vec<Job>;

    /// Runs one.
    fn run(&self, job: &Job) -> Measured;

    /// What the runs show.
    fn report(&self, results: &Results) -> Report;
}

/// All combinations, in the order in which they are best run: the small ones first.
fn jobs(protocols: &[&str], members: &[usize], xs: &[f64], seeds: &[u64]) -> Vec<Job> {
    let mut jobs = Vec::new();
    for members in members {
        for protocol in protocols {
            for x in xs {
                for seed in seeds {
                    let protocol = (*protocol).to_owned();
                    jobs.push(Job { protocol, members: *members, x: *x, seed: *seed });
                }
            }
        }
    }
    jobs
}

/// The slope of the line that fits best, least squares.
#[must_use]
pub fn slope(points: &[(f64, f64)]) -> f64 {
    let count = points.len().max(1) as f64;
    let (x, y) = points.iter().fold((0.0, 0.0), |(x, y), point| (x + point.0, y + point.1));
    let (x, y) = (x / count, y / count);
    let both = points.iter().map(|point| (point.0 - x) * (point.1 - y)).sum::<f64>();
    let squares = points.iter().map(|point| (point.0 - x).powi(2)).sum::<f64>();
    if squares == 0.0 { 0.0 } else { both / squares }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn points_are_means_over_seeds_in_order() {
        let mut results = Results::default();
        for (x, seed, value) in [(0.5, 1, 3.0), (0.1, 1, 1.0), (0.5, 2, 5.0)] {
            let job = Job { protocol: "a".into(), members: 4, x, seed };
            results.add(job, Measured::from([("rate".to_owned(), value)]));
        }
        let points = results.along_x("a", 4, "rate");
        let told: Vec<_> = points.iter().map(|it| (it.x, it.mean, it.range, it.seeds)).collect();
        assert_eq!(told, [(0.1, 1.0, (1.0, 1.0), 1), (0.5, 4.0, (3.0, 5.0), 2)]);
        assert!(results.along_x("b", 4, "rate").is_empty());
    }

    #[test]
    fn a_line_has_its_slope() {
        assert!((slope(&[(1.0, 5.0), (2.0, 7.0), (4.0, 11.0)]) - 2.0).abs() < 1e-12);
        assert_eq!(slope(&[(1.0, 5.0)]), 0.0);
    }
}
