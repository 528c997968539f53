//! Every scenario, at its small setting.

use spinglass_lab::experiment::{Job, Measured, Results};
use spinglass_lab::run::run;
use spinglass_lab::scenario::{BUILT_IN, Extent, parse};

#[test]
fn every_scenario_runs_and_the_same_seeds_give_the_same_numbers() {
    for (name, text) in BUILT_IN {
        let experiment = parse(text, Extent::Small).unwrap_or_else(|it| panic!("{name}: {it}"));
        let results = run(&*experiment, Results::default(), 2, |_, _| Ok(()));
        let results = results.unwrap_or_else(|it| panic!("{name}: {it}"));
        let jobs = experiment.jobs();
        assert_eq!(results.runs().count(), jobs.len());
        // The smallest of each protocol, again.
        let again: Vec<&Job> = jobs.iter().filter(|job| job.members == jobs[0].members).collect();
        for job in again {
            let measured: Measured = experiment.run(job);
            assert_eq!(results.of(job), Some(&measured), "{name}: {job:?}");
            assert!(measured.values().all(|value| value.is_finite()), "{name}: {measured:?}");
        }
        let report = experiment.report(&results);
        assert!(report.plots.iter().all(|plot| !plot.series.is_empty()));
        let page = report.page(name, "by a test").unwrap_or_else(|it| panic!("{name}: {it}"));
        assert!(page.contains("<svg") && !report.bars.is_empty());
    }
}
