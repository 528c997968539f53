//! How soon every agent hears an update of the table, and what loss adds to that.

use spinglass_sim::scenario::rounds::{Parameters, Report, run};

/// 400 agents in 20 regions; the mean of some updates.
fn measured(loss: f64, seed: u64) -> Report {
    let parameters = Parameters {
        agents: 400,
        branching: 20,
        representatives: 3,
        loss,
        crash: 0.0,
        updates: 15,
        seed,
    };
    run(&parameters, &mut |_| ())
}

#[test]
fn loss_makes_nobody_wait_for_more_than_half_as_many_rounds_again() {
    for seed in 1..=3 {
        let clean = measured(0.0, seed);
        for loss in [0.05, 0.15] {
            let lossy = measured(loss, seed);
            assert_eq!(lossy.never, 0, "seed {seed}, loss {loss}: everybody hears");
            let times = lossy.last_rounds / clean.last_rounds;
            assert!(times <= 1.5, "seed {seed}, loss {loss}: {times:.2} times the clean rounds");
        }
    }
}
