//! Finds the machine with the most free memory by descending from the root, zone by zone, where the
//! summaries point; and then by one query, which does the same for the asker.

mod common;

use common::{Outcome, number, root_until, start};
use spinglass::{Node, RowKind, Table, ZonePath};

/// Machines, their regions, and gigabytes free.
const MACHINES: [(&str, &str, i64); 6] = [
    ("ada", "/usa/ithaca", 12),
    ("bob", "/usa/ithaca", 3),
    ("cid", "/usa/boston", 48),
    ("dan", "/usa/boston", 7),
    ("eve", "/eu/paris", 31),
    ("fay", "/eu/lyon", 20),
];

#[tokio::main(flavor = "current_thread")]
pub(crate) async fn main() -> Outcome {
    let nodes = start(&MACHINES.map(|(name, region, _)| (name, region))).await?;
    // Every zone has the most that any machine below it has: that is what points the way.
    let sql = "SELECT MAX(free) AS free FROM zone";
    nodes[0].table().install(&ZonePath::root(), "free", sql).await?;
    for (node, (.., free)) in nodes.iter().zip(MACHINES) {
        node.table().set("free", free).await?;
    }
    // Fay looks for it, from elsewhere.
    let asker: &Node = &nodes[5];
    root_until(asker, |root| number(root, "free") == 48).await?;

    let descended = descend(&asker.table()).await?;
    println!("by descending: {} in {}", descended.0, descended.1);

    let sql = "SELECT id, zone, free FROM hosts WHERE free >= 30 ORDER BY free DESC LIMIT 1";
    let hosts = asker.table().query(sql).await?;
    let found = hosts.rows.first().ok_or("nobody has so much")?;
    println!("by a query: {:?}; whole: {}", found, hosts.reach.is_whole());

    assert_eq!(descended, ("cid".into(), ZonePath::parse("/usa/boston")?));
    assert_eq!(found.get("id").and_then(|id| id.as_text()), Some("cid"));
    Ok(())
}

/// Goes from the root to the machine: at each zone into the child that has the most.
async fn descend(table: &Table) -> Outcome<(String, ZonePath)> {
    let mut zone = ZonePath::root();
    loop {
        // Zones of the own path are in memory; for others somebody there is asked.
        let here = table.zone(&zone).await?;
        let rows = here.rows.iter().map(|row| &row.row);
        let best = rows.max_by_key(|row| number(row.attributes(), "free"));
        let best = best.ok_or("the zone is empty")?;
        println!("{zone}: {} has {}", best.name(), number(best.attributes(), "free"));
        if best.kind() == RowKind::Agent {
            return Ok((best.name().to_owned(), zone));
        }
        zone = zone.child(best.name())?;
    }
}
