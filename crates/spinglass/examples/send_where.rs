//! Sends an order to all machines of a zone that meet a condition, and waits until each has carried
//! it out. The message says whom it is for; each subscriber asks its own row whether that is it.

mod common;

use common::{Outcome, number, root_until, start};
use spinglass::{Event, Node, Subscription, ZonePath};

/// Machines, their regions, and the versions that they run.
const MACHINES: [(&str, &str, i64); 5] = [
    ("ada", "/usa/ithaca", 1),
    ("bob", "/usa/ithaca", 2),
    ("cid", "/usa/boston", 1),
    ("dan", "/eu/paris", 1),
    ("eve", "/eu/paris", 2),
];
const ZONE: &str = "/usa";
const CONDITION: &str = "version < 2";

/// How many have carried out order 1.
const DONE: &str = "\
    SELECT SUM(COALESCE(ndone, CASE WHEN done = 1 THEN 1 ELSE 0 END)) AS ndone FROM zone";

#[tokio::main(flavor = "current_thread")]
pub(crate) async fn main() -> Outcome {
    let nodes = start(&MACHINES.map(|(name, region, _)| (name, region))).await?;
    nodes[0].table().install(&ZonePath::root(), "done", DONE).await?;
    let (commander, machines) = nodes.split_last().ok_or("there are machines")?;
    for (node, (.., version)) in nodes.iter().zip(MACHINES) {
        node.table().set("version", version).await?;
        node.table().set("ready", true).await?;
    }
    let subscribed = machines.iter().map(|node| (node.table(), node.group("orders").subscribe()));
    for (table, orders) in subscribed {
        tokio::spawn(obey(table, orders));
    }

    // Who is meant, as the table has it now. Every agent's row must have come as far as its region.
    let zone = ZonePath::parse(ZONE)?;
    let sql = format!("SELECT id, version FROM hosts WHERE ready AND {CONDITION}");
    let meant = loop {
        let ready = commander.table().query("SELECT id FROM hosts WHERE ready").await?;
        if ready.rows.len() == MACHINES.len() {
            let within = std::time::Duration::from_secs(5);
            break commander.table().query_in(&zone, &sql, within).await?;
        }
        tokio::time::sleep(std::time::Duration::from_millis(100)).await;
    };
    println!("{} machines of {ZONE} are meant", meant.rows.len());

    commander.group("orders").publish(format!("{ZONE}\n{CONDITION}\nupgrade")).await?;
    let root = root_until(commander, |root| number(root, "ndone") >= meant.rows.len() as i64);
    println!("{} have carried it out", number(&root.await?, "ndone"));

    let done = who_is_done(commander).await?;
    assert_eq!(done, ["ada", "cid"]);
    Ok(())
}

/// Carries out the orders that are for this machine.
async fn obey(table: spinglass::Table, mut orders: Subscription) -> Outcome {
    while let Some(event) = orders.next().await {
        let Event::Message(message) = event else { continue };
        let text = String::from_utf8_lossy(&message.payload).into_owned();
        let mut parts = text.splitn(3, '\n');
        let (Some(zone), Some(condition), Some(order)) = (parts.next(), parts.next(), parts.next())
        else {
            continue;
        };
        if table.meets(&ZonePath::parse(zone)?, condition).await? {
            println!("a machine of {}: {order}", table.region().await?);
            table.set("version", 2).await?;
            table.set("done", 1).await?;
        }
    }
    Ok(())
}

async fn who_is_done(node: &Node) -> Outcome<Vec<String>> {
    let hosts = node.table().query("SELECT id FROM hosts WHERE done = 1 ORDER BY id").await?;
    let names = hosts.rows.iter().filter_map(|row| row.get("id")?.as_text().map(str::to_owned));
    Ok(names.collect())
}
