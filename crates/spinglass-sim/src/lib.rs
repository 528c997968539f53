//! A deterministic world of thousands of Spinglass members in one process.
//!
//! The members are the cores of `spinglass-core`, byte for byte what runs on sockets; the world
//! gives them virtual time, a network that loses, delays, reorders, repeats, damages and replays,
//! and hosts that sleep, crash and come back. One seed is one run.

pub mod badboy;
pub mod check;
pub mod crypto;
mod host;
pub mod network;
pub mod papers;
mod pool;
pub mod queue;
pub mod replay;
pub mod scenario;
mod settle;
mod setup;
pub mod swarm;
pub mod swim;
pub mod table_check;
pub mod table_swarm;
pub mod table_truth;
pub mod topology;
pub mod world;

pub use check::{Checker, Violation};
pub use network::{Burst, Door, LetsIn, Lossy, Network};
pub use setup::Setup;
pub use table_check::TableChecker;
pub use topology::{Link, Topology};
pub use world::{Blind, Observer, World};
