//! What an agent costs in memory, all told: a simulator holds a million of them.

use std::time::Duration;

use allocation_counter::measure;
use spinglass_sim::scenario::rounds::{Parameters, fabric};
use spinglass_sim::{Blind, World};

/// A million agents, each of which holds 300 rows, are to fit 20 GiB: 21,474 bytes each. Of these
/// 16 go for each row held and 92 for each member met; here an agent holds 30 rows, and has met
/// some 20 members.
const AGENT_BYTES_MAX: usize = 10_700;
/// Another level on top, of ten zones: a level's head, its lines, a longer path.
const LEVEL_BYTES_MAX: usize = 500;
/// Rounds after which most agents of a region of ten have met each other.
const ROUNDS: u32 = 20;

/// A settled tree with ten children in every zone, and its bytes per agent.
fn tree(levels: u32, rounds: u32) -> (World, usize) {
    let parameters = Parameters {
        agents: 10_usize.pow(levels),
        branching: 10,
        representatives: 3,
        loss: 0.0,
        crash: 0.0,
        updates: 1,
        seed: 1,
    };
    let mut made = None;
    // The bytes that were asked for are counted, so a run has one result.
    let taken = measure(|| {
        let world = made.insert(fabric(&parameters));
        world.run(Duration::from_secs(rounds.into()), &mut Blind);
    });
    let world = made.expect("it was made just now");
    let bytes = usize::try_from(taken.bytes_current).expect("a world takes memory");
    let agents = world.len();
    (world, bytes / agents)
}

#[test]
fn an_agent_takes_little_memory_and_little_more_in_a_larger_tree() {
    let (_, settled) = tree(3, 0);
    let (_, larger) = tree(4, 0);
    assert!(larger <= settled + LEVEL_BYTES_MAX, "{settled} bytes, then {larger}");
    let (world, running) = tree(3, ROUNDS);
    assert!(running <= AGENT_BYTES_MAX, "{running} bytes per agent of {}", world.len());
}
