//! A system of any size as it is after a long quiet time, without the long time: every agent holds
//! the rows that gossip would have brought it, one copy of each in memory.

use std::collections::BTreeMap;
use std::sync::Arc;

use spinglass_core::table::{Kind, TableRow, ZonePath};

use crate::world::World;

type Tables = BTreeMap<ZonePath, Vec<Arc<TableRow>>>;

impl World {
    /// Installs functions at the root and gives every agent its tables.
    ///
    /// # Panics
    /// If a function is none, or a member has crashed: a scenario's own mistake.
    pub fn settle(&mut self, functions: &[(&str, String)]) {
        let root = ZonePath::root();
        for (name, sql) in functions {
            self.set_summary(0, &root, name, Some(sql)).expect("a scenario's functions are good");
        }
        let first = self.node(0).expect("nobody has crashed").table();
        let functions: Vec<_> =
            first.held().filter(|row| row.kind() == Kind::Function).cloned().collect();
        let mut tables = Tables::new();
        let regions: Vec<ZonePath> =
            (0..self.len()).map(|agent| self.setup().region(agent)).collect();
        for (agent, region) in regions.iter().enumerate() {
            self.adopt_rows(agent, &functions);
            let own = self.node(agent).and_then(|node| node.table().own_row().cloned());
            tables.entry(region.clone()).or_default().extend(own);
        }
        let depth = regions.first().map_or(0, ZonePath::depth);
        for depth in (1..=depth).rev() {
            self.speak_for_all(depth, &regions, &mut tables);
        }
        // An agent keeps its rows by key: whoever is given them in this order moves none.
        tables.values_mut().for_each(|rows| rows.sort_by_key(|row| row.key()));
        for (agent, region) in regions.iter().enumerate() {
            for depth in 0..=region.depth() {
                let rows = tables.get(&region.ancestor(depth)).map_or(&[][..], Vec::as_slice);
                self.adopt_rows(agent, rows);
            }
        }
    }

    /// Lets the first agent of each zone of a depth issue the zone's row.
    fn speak_for_all(&mut self, depth: usize, regions: &[ZonePath], tables: &mut Tables) {
        let mut firsts = BTreeMap::new();
        for (agent, region) in regions.iter().enumerate() {
            firsts.entry(region.ancestor(depth)).or_insert(agent);
        }
        for (zone, agent) in firsts {
            let rows = tables.get(&zone).cloned().unwrap_or_default();
            self.adopt_rows(agent, &rows);
            let now = self.local_now(agent);
            if let Some(driver) = self.driver(agent) {
                driver.node_mut().issue_zones(now);
            }
            let parent = zone.ancestor(depth - 1);
            let table = self.node(agent).map(|node| node.table());
            let row = table.and_then(|table| table.row(&parent, zone.last_name()).cloned());
            tables.entry(parent).or_default().extend(row);
        }
    }

    fn adopt_rows(&mut self, agent: usize, rows: &[Arc<TableRow>]) {
        let now = self.local_now(agent);
        if let Some(driver) = self.driver(agent) {
            driver.node_mut().adopt_rows(now, rows);
        }
    }
}
