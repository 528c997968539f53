//! The table under everything at once, over many seeds; one seed twice.

use spinglass_sim::table_swarm::{TableSwarmReport, table_swarm};

/// Seeds run by every test; `spinglass lab table-sim` runs as many as one likes.
const SEEDS: u64 = 100;

fn assert_clean(report: &TableSwarmReport) {
    let TableSwarmReport { seed, knobs, violations, replay, .. } = report;
    let told: Vec<String> = violations.iter().map(ToString::to_string).collect();
    assert!(told.is_empty(), "seed {seed}: {told:#?}\n{knobs}\nagain with: {replay}");
}

#[test]
fn the_tables_invariants_hold_under_everything_at_once() {
    let (mut rows, mut removed, mut refused) = (0, 0, [0; 3]);
    for seed in 0..SEEDS {
        let report = table_swarm(seed);
        assert_clean(&report);
        rows += report.rows;
        removed += report.removed;
        refused.iter_mut().zip(report.refused).for_each(|(sum, count)| *sum += count);
    }
    // The faults were at work, and so were the rules against them.
    assert!(rows > 10_000 && removed > 0, "{rows} rows, {removed} removed");
    assert!(refused.iter().all(|count| *count > 0), "replayed, forged, misplaced: {refused:?}");
}

#[test]
fn a_seed_is_a_run_of_the_table() {
    for seed in [1, 2] {
        assert_eq!(table_swarm(seed).trace, table_swarm(seed).trace);
    }
    assert_ne!(table_swarm(1).trace, table_swarm(2).trace);
}
