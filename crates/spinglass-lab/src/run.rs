//! Runs an experiment's jobs, some at a time, and keeps what is done in a file, so that it need not
//! be done again.

use std::io::{self, Read, Write};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc;
use std::thread;

use serde::{Deserialize, Serialize};

use crate::experiment::{Experiment, Job, Measured, Results};

/// A line of the file: one measure of one run.
#[derive(Debug, Serialize, Deserialize)]
struct Line {
    protocol: String,
    members: usize,
    x: f64,
    seed: u64,
    measure: String,
    value: f64,
}

/// Runs what of an experiment is not done yet, on so many threads; tells of each run that is done,
/// in the order in which they end. An error that it returns ends it.
///
/// # Errors
/// What `done` returns.
pub fn run(
    experiment: &dyn Experiment,
    mut results: Results,
    threads: usize,
    mut done: impl FnMut(&Job, &Measured) -> io::Result<()>,
) -> io::Result<Results> {
    let jobs: Vec<Job> =
        experiment.jobs().into_iter().filter(|job| results.of(job).is_none()).collect();
    let next = AtomicUsize::new(0);
    thread::scope(|scope| {
        let (sender, ended) = mpsc::channel();
        for _ in 0..threads.max(1) {
            let (sender, jobs, next) = (sender.clone(), &jobs, &next);
            scope.spawn(move || {
                while let Some(job) = jobs.get(next.fetch_add(1, Ordering::Relaxed)) {
                    // Nobody listens any more if a run could not be kept.
                    if sender.send((job, experiment.run(job))).is_err() {
                        return;
                    }
                }
            });
        }
        drop(sender);
        for (job, measured) in ended {
            done(job, &measured)?;
            results.add(job.clone(), measured);
        }
        Ok(results)
    })
}

/// What ends a run in the file: how many measures it has. A run that does not end was cut off.
const END: &str = "measures";

/// Writes a run's measures.
///
/// # Errors
/// What the writer says.
pub fn write(to: &mut impl Write, job: &Job, measured: &Measured) -> io::Result<()> {
    let mut lines = csv::WriterBuilder::new().has_headers(false).from_writer(Vec::new());
    let count = (END.to_owned(), measured.len() as f64);
    let all = measured.iter().map(|(measure, value)| (measure.clone(), *value)).chain([count]);
    for (measure, value) in all {
        let Job { protocol, members, x, seed } = job.clone();
        let line = Line { protocol, members, x, seed, measure, value };
        lines.serialize(line).map_err(io::Error::other)?;
    }
    to.write_all(&lines.into_inner().map_err(|error| io::Error::other(error.to_string()))?)?;
    to.flush()
}

/// The first line of a file.
pub const HEADER: &str = "protocol,members,x,seed,measure,value\n";

/// Reads the runs of a file, as [`write()`] wrote them. One that was cut off is left out.
///
/// # Errors
/// It can't be read.
pub fn read(from: impl Read) -> io::Result<Results> {
    let mut results = Results::default();
    let mut open: Option<(Job, Measured)> = None;
    for line in csv::ReaderBuilder::new().flexible(true).from_reader(from).deserialize() {
        let Ok(Line { protocol, members, x, seed, measure, value }) = line else { continue };
        let job = Job { protocol, members, x, seed };
        let (_, mut measured) = open.take_if(|(it, _)| *it == job).unwrap_or_default();
        if measure != END {
            measured.insert(measure, value);
            open = Some((job, measured));
        } else if value == measured.len() as f64 {
            results.add(job, measured);
        }
    }
    Ok(results)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::experiment::SettingError;
    use crate::report::Report;

    /// Measures its x, doubled.
    struct Doubles;

    impl Experiment for Doubles {
        fn check(&self) -> Result<(), SettingError> {
            Ok(())
        }

        fn jobs(&self) -> Vec<Job> {
            let job = |x: u32| Job { protocol: "a, b".into(), members: 2, x: x.into(), seed: 1 };
            (0..20).map(job).collect()
        }

        fn run(&self, job: &Job) -> Measured {
            [("double", job.x * 2.0), ("third", job.x / 3.0)]
                .map(|(name, value)| (name.to_owned(), value))
                .into()
        }

        fn report(&self, _: &Results) -> Report {
            let (plots, notes, bars) = (Vec::new(), Vec::new(), Vec::new());
            Report { title: String::new(), about: String::new(), plots, notes, bars }
        }
    }

    #[test]
    fn runs_that_are_done_are_not_done_again() {
        let mut file = HEADER.as_bytes().to_vec();
        let first =
            run(&Doubles, Results::default(), 2, |job, measured| write(&mut file, job, measured));
        assert_eq!(first.unwrap().along_members("a, b", "double")[0].seeds, 20);
        let kept = read(file.as_slice()).unwrap();
        let job = &Doubles.jobs()[7];
        assert_eq!(kept.of(job), Some(&Doubles.run(job)), "values are kept to the last bit");
        let again = |kept| {
            let mut again = 0;
            let count = |_: &Job, _: &Measured| {
                again += 1;
                Ok(())
            };
            run(&Doubles, kept, 2, count).unwrap();
            again
        };
        assert_eq!(again(kept), 0);
        // The last line is cut off: its run is done again.
        let kept = read(&file[..file.len() - 9]).unwrap();
        assert_eq!(again(kept), 1);
    }

    #[test]
    fn what_cannot_be_kept_ends_it() {
        let full = run(&Doubles, Results::default(), 2, |_, _| Err(io::Error::other("full")));
        assert!(full.is_err());
    }
}
