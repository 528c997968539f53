//! What tests on real sockets have in common.

use std::time::Duration;

use bytes::Bytes;
use spinglass::{Builder, Event, Node, Subscription};

/// A test that takes longer has failed.
const PATIENCE: Duration = Duration::from_secs(20);

pub(crate) async fn patiently<T>(future: impl Future<Output = T>) -> T {
    tokio::time::timeout(PATIENCE, future).await.expect("it should not take this long")
}

/// Members that know one another; `describe` says what is special about each.
pub(crate) async fn members(
    count: usize,
    describe: impl Fn(usize, Builder) -> Builder,
) -> Vec<Node> {
    let mut nodes: Vec<Node> = Vec::new();
    for index in 0..count {
        let seeds = nodes.first().map(Node::local_addr);
        let builder = Node::builder().seeds(seeds);
        nodes.push(describe(index, builder).start().await.expect("it starts"));
    }
    for node in &nodes {
        patiently(node.wait_for_members(count)).await.expect("it runs");
    }
    nodes
}

pub(crate) async fn next_message(subscription: &mut Subscription) -> Bytes {
    loop {
        match patiently(subscription.next()).await.expect("the node runs") {
            Event::Message(message) => return message.payload,
            Event::MemberUp(_) | Event::MemberDown { .. } => (),
            event => panic!("{event:?}"),
        }
    }
}

/// Subscribes, and waits until the node knows: its next answer comes after that.
pub(crate) async fn subscribe_to(node: &Node, topic: &str) -> Subscription {
    let subscription = node.group(topic).subscribe();
    node.stats().await;
    subscription
}
