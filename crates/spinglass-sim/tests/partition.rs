//! Halves that lived apart for ten minutes become one within seconds, and nothing removed returns.

use spinglass_sim::scenario::partition::{Cut, Report, run};

const AGENTS: usize = 40;

fn assert_good(report: &Report) {
    let Report { whole_seconds, returned, violations, differences, knobs, replay, .. } = report;
    assert!(
        report.is_good(),
        "whole after {whole_seconds:?} s, {returned} back, {violations:?}, {differences:#?}\n\
         {knobs}\nagain with: {replay}"
    );
}

#[test]
fn halves_become_one_within_half_a_minute_along_regions_and_through_them() {
    let mut cuts = Vec::new();
    for seed in 1..=4 {
        let report = run(AGENTS, seed, false);
        assert_good(&report);
        cuts.push(report.cut);
    }
    assert!(cuts.contains(&Cut::Along) && cuts.contains(&Cut::Through), "{cuts:?}");
}

/// Here an agent is alone in its half of a region for all of the ten minutes.
#[test]
fn who_was_alone_of_its_region_is_back_as_soon_as_all_others() {
    for seed in [14, 16] {
        assert_good(&run(AGENTS, seed, false));
    }
}

/// The last other agent of its half says good-bye (29); or one that is alone in its half removes
/// another, of which nobody else thinks so (133, 498, 717).
#[test]
fn whom_one_alone_removed_is_back_as_soon_as_all_others() {
    for seed in [29, 133, 498, 717] {
        assert_good(&run(AGENTS, seed, false));
    }
}

/// Cuts through every region, so that no zone falls silent: what is left to call on are the agents
/// that each part of a region lost.
#[test]
fn halves_find_each_other_though_their_only_seed_is_gone() {
    for seed in [93, 109] {
        assert_good(&run(AGENTS, seed, true));
    }
}

#[test]
fn a_seed_is_a_run() {
    assert_eq!(run(AGENTS, 3, false).trace, run(AGENTS, 3, false).trace);
}
