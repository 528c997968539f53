//! How soon a flat region is whole in which everybody is new.

use std::time::Duration;

use spinglass_core::table::Table;
use spinglass_core::{Config, TableConfig};
use spinglass_sim::{Blind, Network, Setup, World};

const AGENTS: usize = 256;
const ROUND: Duration = Duration::from_secs(1);
/// All begin at once, with one seed for all, whose budget is what most wait for: 10 s at seed 1.
const SECONDS_MAX: u64 = 20;

#[test]
fn a_flat_region_of_newcomers_is_soon_whole_though_all_have_one_seed() {
    let mut config = Config::lan();
    // Multicast rests: nobody publishes.
    config.multicast.round = Duration::from_secs(3600);
    let mut setup = Setup::new(AGENTS, config, 1);
    setup.config.table = TableConfig { round: ROUND, ..TableConfig::default() };
    (setup.acquainted, setup.region_members) = (false, 0);
    let mut world = World::new(setup, Network::default());
    let is_whole = |table: &Table| table.rows(table.region()).is_some_and(|it| it.len() == AGENTS);
    let whole = (1..=SECONDS_MAX).find(|_| {
        world.run(ROUND, &mut Blind);
        (0..AGENTS).all(|agent| world.node(agent).is_some_and(|node| is_whole(node.table())))
    });
    assert!(whole.is_some(), "not whole within {SECONDS_MAX} s");
}
