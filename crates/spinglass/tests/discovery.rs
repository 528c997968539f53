//! Finding others on real sockets: by name, by what was remembered, by announcements.

use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4, UdpSocket};
use std::path::PathBuf;
use std::time::Duration;

use spinglass::{Builder, Config, Node, Seed, StartError, Value, ZonePath};

/// A test that takes longer has failed.
const PATIENCE: Duration = Duration::from_secs(60);

fn agent(name: &str) -> Builder {
    let mut config = Config::lan();
    config.table.round = Duration::from_millis(100);
    Node::builder().config(config).name(name).region("/usa/ithaca")
}

/// Waits until an agent's root says that there are so many.
async fn counts(node: &Node, agents: i64) {
    let mut table = node.table();
    let reached = async {
        loop {
            let root = table.zone(&ZonePath::root()).await.expect("it runs");
            if root.summary.attributes.get("nmembers") == Some(&Value::Int(agents)) {
                return;
            }
            table.changed().await.expect("it runs");
        }
    };
    tokio::time::timeout(PATIENCE, reached).await.expect("it should not take this long");
}

/// A folder of this test's own, empty.
fn folder(name: &str) -> PathBuf {
    let path = std::env::temp_dir().join(format!("spinglass-{}-{name}", std::process::id()));
    std::fs::create_dir_all(&path).expect("a folder");
    path
}

#[tokio::test]
async fn a_name_leads_to_a_member() {
    let first = agent("a").start().await.unwrap();
    let name = format!("localhost:{}", first.local_addr().port());
    // One that leads nowhere is no trouble.
    let names = ["nowhere.invalid:1", name.as_str()];
    let second = agent("b").seed_names(names).start().await.unwrap();
    for node in [&first, &second] {
        counts(node, 2).await;
    }
    assert!(matches!(name.parse(), Ok(Seed::Name(_))));
}

#[tokio::test]
async fn what_is_no_name_is_refused() {
    let refused = agent("a").seed_names(["10.0.0.1:1", "no name:1"]).start().await.unwrap_err();
    assert!(matches!(refused, StartError::Seed(_)), "{refused}");
    assert!(refused.to_string().contains("\"no name:1\" is nobody to join by"), "{refused}");
}

#[tokio::test]
async fn agents_find_back_by_what_they_remember() {
    let memory = folder("memory");
    let state = |name: &str| agent(name).state_file(memory.join(name));
    let first = state("a").start().await.unwrap();
    let seed = first.local_addr();
    let second = state("b").seeds([seed]).start().await.unwrap();
    let third = state("c").seeds([seed]).start().await.unwrap();
    for node in [&first, &second, &third] {
        counts(node, 3).await;
    }
    let stays = third.local_addr();
    for node in [first, second, third] {
        node.close().await.unwrap();
    }
    // Of all addresses one is still good; the others, the first seed's too, are somebody else's.
    let third = state("c").bind(stays).start().await.unwrap();
    let second = state("b").start().await.unwrap();
    let first = state("a").start().await.unwrap();
    for node in [&first, &second, &third] {
        counts(node, 3).await;
    }
    std::fs::remove_dir_all(&memory).unwrap();
}

#[tokio::test]
async fn a_damaged_memory_is_as_good_as_none() {
    let memory = folder("damaged");
    let peers = memory.join("state.peers");
    let first = agent("a").start().await.unwrap();
    // In a folder the file is called `state`.
    let second = agent("b").state_file(&memory).seeds([first.local_addr()]).start().await.unwrap();
    counts(&second, 2).await;
    second.close().await.unwrap();
    let written = std::fs::read_to_string(&peers).unwrap();
    assert!(written.contains(&first.local_addr().to_string()), "{written}");
    assert!(memory.join("state").is_file());

    // The address is still good, and whoever has a seed writes to it in its first round.
    std::fs::write(&peers, format!("{written}10.0.0.1:1\n")).unwrap();
    let second = agent("b").state_file(&memory).start().await.unwrap();
    let stats = loop {
        let stats = second.stats().await.protocol;
        if stats.rounds >= 5 {
            break stats;
        }
        tokio::task::yield_now().await;
    };
    assert_eq!(stats.datagrams_sent, 0, "it knows nobody");
    second.close().await.unwrap();
    std::fs::write(&peers, written).unwrap();
    let second = agent("b").state_file(&memory).start().await.unwrap();
    counts(&second, 2).await;
    std::fs::remove_dir_all(&memory).unwrap();
}

#[tokio::test]
async fn agents_on_one_network_find_each_other_without_seeds() {
    // A port that nothing else has keeps this test's group to itself.
    let free = UdpSocket::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let group = SocketAddrV4::new(Ipv4Addr::new(239, 192, 77, 12), free);
    let mut nodes = Vec::new();
    for name in ["a", "b", "c"] {
        let builder = agent(name).multicast(group, Ipv4Addr::LOCALHOST);
        // Also where packets go by trees.
        let builder = builder.dissemination(spinglass::Dissemination::Trees);
        nodes.push(builder.seeds(Vec::<SocketAddr>::new()).start().await.unwrap());
    }
    for node in &nodes {
        counts(node, 3).await;
    }
    let mut announced = 0;
    for node in &nodes {
        announced += node.stats().await.protocol.announcements_sent;
    }
    assert!(announced > 0);
}
