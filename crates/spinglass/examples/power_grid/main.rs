//! The paper's power grid: producers follow the load of their contracts, relays take a part of what
//! happens around them, the market a trickle; then a storm brings fifty times as many readings.
//!
//! ```sh
//! cargo run --release -p spinglass --example power_grid                       # on loopback
//! cargo run --release -p spinglass --example power_grid -- --simulate 10000   # in virtual time
//! ```

mod live;
mod model;
mod simulated;

use std::error::Error;

/// What may go wrong.
type Outcome<T = ()> = Result<T, Box<dyn Error + Send + Sync>>;

/// Seconds of calm before and after the storm, and of the storm.
const PHASES: [u32; 3] = [6, 6, 6];

#[tokio::main]
async fn main() -> Outcome {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match &arguments.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        [] => live::run(PHASES).await.map(|seen| print!("{seen}")),
        ["--simulate", members] if members.parse::<usize>().is_ok() => {
            simulated::run(members.parse()?, PHASES).map(|seen| print!("{seen}"))
        }
        _ => Err("usage: power_grid [--simulate MEMBERS], a number of at least 128".into()),
    }
}
