//! The table on real sockets, by the library: that the wiring holds.

use std::time::Duration;

use spinglass::{AskError, Config, Node, ObjectError, SetError, TableError, Value, ZonePath};

/// A test that takes longer has failed.
const PATIENCE: Duration = Duration::from_secs(60);

async fn agent(name: &str, region: &str, seed: Option<&Node>) -> Node {
    let mut config = Config::lan();
    config.table.round = Duration::from_millis(100);
    let builder = Node::builder().config(config).name(name).region(region);
    builder.seeds(seed.map(Node::local_addr)).start().await.expect("it starts")
}

/// Waits until an agent believes so of the root.
async fn root_says(node: &Node, name: &str, value: Value) {
    let mut table = node.table();
    let reached = async {
        loop {
            let root = table.zone(&ZonePath::root()).await.expect("it runs");
            if root.summary.attributes.get(name) == Some(&value) {
                return;
            }
            table.changed().await.expect("it runs");
        }
    };
    tokio::time::timeout(PATIENCE, reached).await.expect("it should not take this long");
}

#[tokio::test]
async fn what_one_sets_all_see_summarised() {
    let first = agent("a", "/usa/ithaca", None).await;
    let second = agent("b", "/usa/boston", Some(&first)).await;
    let third = agent("c", "/eu", Some(&first)).await;
    let sql = "SELECT MAX(load) AS load FROM zone";
    second.table().install(&ZonePath::root(), "load", sql).await.unwrap();
    for (node, load) in [(&first, 0.5), (&second, 0.25), (&third, 7.0)] {
        node.table().set("load", load).await.unwrap();
    }
    for node in [&first, &second, &third] {
        root_says(node, "load", Value::float(7.0)).await;
        root_says(node, "nmembers", Value::Int(3)).await;
    }
    // Each sees the others' regions too, and hosts wherever they are.
    let eu = first.table().zone(&ZonePath::parse("/eu").unwrap()).await.unwrap();
    assert_eq!(eu.rows[0].row.attributes().get("load"), Some(&Value::float(7.0)));
    assert_eq!(eu.summary.attributes.get("load"), Some(&Value::float(7.0)));
    let sql = "SELECT id, zone FROM hosts WHERE load < 5 ORDER BY load";
    let hosts = third.table().query(sql).await.unwrap();
    let zones: Vec<_> = hosts.rows.iter().map(|row| row.get("zone").cloned()).collect();
    assert_eq!(zones, ["/usa/boston", "/usa/ithaca"].map(|zone| Some(Value::text(zone))));
    assert!(hosts.reach.is_whole(), "{:?}", hosts.reach);
    third.close().await.unwrap();
    for node in [&first, &second] {
        root_says(node, "load", Value::float(0.5)).await;
    }
    let usa = first.table().zone(&ZonePath::parse("/usa").unwrap()).await.unwrap();
    let names: Vec<_> = usa.rows.iter().map(|row| row.row.name().to_owned()).collect();
    assert_eq!(names, ["boston", "ithaca"]);
    let functions = first.table().functions(&ZonePath::root()).await.unwrap();
    assert_eq!(functions.iter().map(|f| f.name.as_str()).collect::<Vec<_>>(), ["core", "load"]);
}

#[tokio::test]
async fn an_object_is_fetched_from_its_owner() {
    let owner = agent("a", "/usa", None).await;
    let other = agent("b", "/usa", Some(&owner)).await;
    let content: Vec<u8> = (0..70_000_u32).map(|at| (at / 5) as u8).collect();
    let name = owner.table().put_object("doc", content.clone()).await.unwrap();
    let mut table = other.table();
    let region = ZonePath::parse("/usa").unwrap();
    let named = async {
        loop {
            let zone = table.zone(&region).await.expect("it runs");
            let mut values = zone.rows.iter().filter_map(|row| row.row.attributes().get("doc"));
            if let Some(value) = values.next() {
                return value.clone();
            }
            table.changed().await.expect("it runs");
        }
    };
    let value = tokio::time::timeout(PATIENCE, named).await.expect("it should not take so long");
    assert_eq!(value, name.to_value());
    let fetched = tokio::time::timeout(PATIENCE, other.table().object(&value)).await;
    assert!(fetched.expect("it should not take so long").unwrap() == content);
    let none = other.table().object(&Value::text("no object")).await;
    assert!(matches!(none, Err(TableError::NoObject(_))));
    let error = owner.table().put_object("doc", vec![0; (16 << 20) + 1]).await;
    assert!(matches!(error, Err(TableError::Set(SetError::Object(ObjectError::TooLarge { .. })))));
    other.close().await.unwrap();
    owner.close().await.unwrap();
}

#[tokio::test]
async fn an_agent_knows_whether_it_is_meant() {
    let node = agent("a", "/usa/ithaca", None).await;
    let table = node.table();
    table.set("load", 0.5).await.unwrap();
    let [usa, ithaca, eu] =
        ["/usa", "/usa/ithaca", "/eu"].map(|zone| ZonePath::parse(zone).unwrap());
    root_says(&node, "nmembers", Value::Int(1)).await;
    let mut changes = node.table();
    while !table.meets(&usa, "load < 1").await.unwrap() {
        changes.changed().await.unwrap();
    }
    assert!(table.meets(&ithaca, "id = 'a' AND zone = '/usa/ithaca'").await.unwrap());
    assert!(!table.meets(&eu, "load < 1").await.unwrap());
    assert!(!table.meets(&usa, "load > 1").await.unwrap());
    assert!(!table.meets(&usa, "nothing > 1").await.unwrap());
    let misspelt = table.meets(&usa, "load <").await;
    assert!(matches!(misspelt, Err(TableError::Ask(AskError::Sql(_)))));
    let long = table.meets(&usa, &format!("id = '{}'", "x".repeat(800))).await;
    assert!(matches!(long, Err(TableError::Ask(AskError::TooLong { .. }))));
}

#[tokio::test]
async fn what_cannot_be_is_refused() {
    let node = agent("a", "/usa", None).await;
    let table = node.table();
    let elsewhere = ZonePath::parse("/eu").unwrap();
    assert_eq!(
        table.zone(&elsewhere).await.unwrap_err(),
        TableError::NoSuchZone(elsewhere.clone())
    );
    let misspelt = table.query("SELECT id FROM host").await;
    assert!(matches!(misspelt, Err(TableError::Ask(AskError::Sql(_)))));
    let long = format!("SELECT id FROM hosts WHERE id = '{}'", "x".repeat(800));
    assert!(matches!(table.query(&long).await, Err(TableError::Ask(AskError::TooLong { .. }))));
    root_says(&node, "nmembers", Value::Int(1)).await;
    let own = table.query("SELECT id, zone FROM hosts").await.unwrap();
    assert!(own.reach.is_whole() && own.reach.asked == 0);
    assert_eq!(own.rows[0].get("zone"), Some(&Value::text("/usa")));
    assert!(matches!(table.set("A B", 1).await, Err(TableError::BadName(_))));
    assert!(matches!(table.set("id", "me").await, Err(TableError::Set(_))));
    assert!(matches!(table.install(&elsewhere, "x", "SELECT").await, Err(TableError::Set(_))));
    node.close().await.unwrap();
    assert!(matches!(table.set("load", 1).await, Err(TableError::Closed)));
}
