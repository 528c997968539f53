//! Many seeds of everything at once; seeds that once failed; one seed twice.

use spinglass_sim::swarm::{SwarmReport, swarm};

/// Seeds run by every test; `spinglass lab sim` runs as many as one likes.
const SEEDS: u64 = 60;

fn assert_clean(report: &SwarmReport) {
    let SwarmReport { seed, knobs, violations, replay, .. } = report;
    let told: Vec<String> = violations.iter().map(ToString::to_string).collect();
    assert!(told.is_empty(), "seed {seed}: {told:#?}\n{knobs}\nagain with: {replay}");
}

#[test]
fn every_invariant_holds_under_everything_at_once() {
    let (mut late, mut gaps, mut messages, mut refused) = (0, 0, 0, [0; 3]);
    for seed in 0..SEEDS {
        let report = swarm(seed);
        assert_clean(&report);
        late += report.late;
        gaps += report.gaps;
        messages += report.messages;
        refused.iter_mut().zip(report.refused).for_each(|(sum, count)| *sum += count);
    }
    // The faults were at work, and so were the rules against them.
    assert!(messages > 10_000 && gaps > 0, "{messages} messages, {gaps} gaps");
    assert!(late > 0, "no request was refused as late");
    assert!(refused.iter().all(|count| *count > 0), "replayed, unsealed, forged: {refused:?}");
}

#[test]
fn a_seed_is_a_run() {
    for seed in [1, 2, 3] {
        assert_eq!(swarm(seed).trace, swarm(seed).trace);
    }
    assert_ne!(swarm(1).trace, swarm(2).trace);
}
