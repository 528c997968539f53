//! The power grid of the paper, in virtual time: producers, who take everything, lack nothing in a
//! storm; its model; and, on real sockets, a few seconds of each phase.

#[path = "../examples/power_grid/live.rs"]
mod live;
#[path = "../examples/power_grid/model.rs"]
mod model;
#[path = "../examples/power_grid/simulated.rs"]
mod simulated;

use std::error::Error;

type Outcome<T = ()> = Result<T, Box<dyn Error + Send + Sync>>;

#[test]
fn in_a_storm_producers_lack_nothing_and_relays_get_a_part() {
    let seen = simulated::run(128, [2, 3, 1]).unwrap();
    let storm = seen.split("storm").nth(1).unwrap();
    let line = |role: &str| storm.lines().find(|line| line.trim().starts_with(role)).unwrap();
    assert!(line("Producer").contains("400.0 readings,    0.0 in gaps"), "{seen}");
    assert!(!line("Relay").contains(" 0.0 in gaps"), "{seen}");
    assert!(simulated::run(7, [1, 1, 1]).is_err(), "too few");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_grid_runs_on_real_sockets() {
    let seen = live::run([1, 2, 1]).await.unwrap();
    assert!(seen.contains("producers lacked nothing"), "{seen}");
}
