//! Members on real sockets: that the wiring holds. What the protocols do is tested in the core and
//! in the simulator.

mod common;

use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4, UdpSocket};
use std::num::NonZeroU32;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use spinglass::{
    Builder, Config, Event, GroupKeys, Node, ReplyPorts, Seen, SigningKey, StartError, Subscription,
};
use spinglass_core::Reject;
use spinglass_core::record::Entry;

use self::common::{members, next_message, patiently, subscribe_to};

/// Subscribes, and waits until the node knows: its next answer comes after that.
async fn subscribe(node: &Node) -> Subscription {
    subscribe_to(node, "news").await
}

/// Every member publishes; every other one hears it.
async fn everybody_hears_everybody(nodes: &[Node]) {
    let mut subscriptions = Vec::new();
    for node in nodes {
        subscriptions.push(subscribe(node).await);
    }
    for (from, node) in nodes.iter().enumerate() {
        for number in 0..100 {
            node.group("news").publish(format!("{from}: {number}")).await.expect("it runs");
        }
        for (_, subscription) in
            subscriptions.iter_mut().enumerate().filter(|(index, _)| *index != from)
        {
            for number in 0..100 {
                assert_eq!(next_message(subscription).await, format!("{from}: {number}"));
            }
        }
    }
}

fn file(name: &str) -> PathBuf {
    std::env::temp_dir().join(format!("spinglass-members-{}-{name}", std::process::id()))
}

#[tokio::test]
async fn members_hear_one_another_by_trees() {
    let nodes = members(3, |_, builder| builder).await;
    everybody_hears_everybody(&nodes).await;
    assert_eq!(nodes[0].members().await.len(), 3);
    assert!(nodes[0].stats().await.protocol.messages_delivered >= 200);
}

/// Floods members with what no member sent, until it is dropped or has sent so many datagrams.
struct Flood(Arc<AtomicBool>);

impl Flood {
    fn of(members: &[Node]) -> Self {
        let ceases = Arc::new(AtomicBool::new(false));
        let flood = Self(Arc::clone(&ceases));
        let to: Vec<SocketAddr> = members.iter().map(Node::local_addr).collect();
        std::thread::spawn(move || {
            let socket = UdpSocket::bind("127.0.0.1:0").expect("there is a port");
            // A short header of a boot that nobody has, and nothing behind it that opens.
            let mut datagram = [0x5a; 200];
            datagram[..2].copy_from_slice(&[1, 0]);
            for number in 0..2_000_000_u32 {
                datagram[10..14].copy_from_slice(&number.to_le_bytes());
                if ceases.load(Ordering::Relaxed) {
                    break;
                }
                for to in &to {
                    // A full buffer is what a flood is for.
                    let _ = socket.send_to(&datagram, to);
                }
            }
        });
        flood
    }
}

impl Drop for Flood {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

#[tokio::test]
async fn members_hear_one_another_while_they_are_flooded() {
    let nodes = members(3, |_, builder| builder).await;
    let flood = Flood::of(&nodes);
    // Each notices by itself, and has answers come elsewhere.
    for node in &nodes {
        patiently(async {
            while node.stats().await.runtime.reply_datagrams == 0 {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        })
        .await;
    }
    everybody_hears_everybody(&nodes).await;
    drop(flood);
    let refused = nodes[0].stats().await.protocol.rejected(Reject::UnknownBoot);
    assert!(refused > 1000, "{refused} datagrams of a flood were refused");
}

#[tokio::test]
async fn answers_come_to_ports_of_their_own_if_that_is_asked_for() {
    let ports = |index| if index == 0 { ReplyPorts::Always } else { ReplyPorts::Never };
    let nodes = members(3, |index, builder| builder.reply_ports(ports(index))).await;
    everybody_hears_everybody(&nodes).await;
    patiently(async {
        while nodes[0].stats().await.runtime.reply_datagrams == 0 {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    })
    .await;
    assert_eq!(nodes[1].stats().await.runtime.reply_datagrams, 0);
}

#[tokio::test]
async fn members_hear_one_another_by_ip_multicast() {
    // A port that nothing else has keeps this test's group to itself.
    let free = UdpSocket::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let group = SocketAddrV4::new(Ipv4Addr::new(239, 192, 77, 11), free);
    let nodes = members(3, |_, builder| builder.multicast(group, Ipv4Addr::LOCALHOST)).await;
    everybody_hears_everybody(&nodes).await;
    assert!(nodes[0].stats().await.runtime.receives > 0);
}

#[tokio::test]
async fn members_hear_one_another_through_loss() {
    let lossy = |index, builder: Builder| builder.drop_probability(0.2, index as u64);
    let nodes = members(3, lossy).await;
    everybody_hears_everybody(&nodes).await;
    assert!(nodes[1].stats().await.runtime.dropped_on_purpose > 0);
}

#[tokio::test]
async fn a_member_tells_what_passes_on_each_topic() {
    let nodes = members(3, |_, builder| builder).await;
    let mut subscription = subscribe(&nodes[2]).await;
    for _ in 0..5 {
        nodes[0].group("news").publish(vec![7; 100]).await.unwrap();
        next_message(&mut subscription).await;
    }
    let sent = nodes[0].topics().await;
    let sent = sent.iter().find(|topic| topic.text.as_deref() == Some("news")).unwrap();
    assert_eq!((sent.tally.messages_published, sent.tally.bytes_published), (5, 500));
    let heard = nodes[2].topics().await;
    let heard = heard.iter().find(|topic| topic.id == sent.id).unwrap().tally;
    assert!(heard.subscribed && heard.streams == 1 && heard.packets_lost == 0, "{heard:?}");
    assert_eq!((heard.messages_delivered, heard.bytes_delivered), (5, 500));
    assert!(heard.packets_received > 0 && heard.bytes_received > 500);
}

#[tokio::test]
async fn a_member_that_is_asked_to_follows_messages_for_whoever_asked_last() {
    let nodes = members(3, |_, builder| builder).await;
    let mut subscription = subscribe(&nodes[2]).await;
    let mut before = nodes[2].follow_messages(NonZeroU32::MIN).await.unwrap();
    let mut sightings = nodes[2].follow_messages(NonZeroU32::MIN).await.unwrap();
    assert_eq!(before.next().await, None, "another has asked");
    let started = SystemTime::now();
    nodes[0].group("news").publish(vec![7; 100]).await.unwrap();
    next_message(&mut subscription).await;
    let (came, delivered) = (sightings.next().await.unwrap(), sightings.next().await.unwrap());
    assert!(matches!(came.seen, Seen::Received { .. }), "{came:?}");
    assert!(matches!(delivered.seen, Seen::Delivered { bytes: 100, .. }), "{delivered:?}");
    assert_eq!((came.stream.sender, came.topic.as_deref()), (nodes[0].id(), Some("news")));
    let late = came.time.duration_since(started).unwrap_or_default();
    assert!(late < Duration::from_secs(60) && came.time >= started - Duration::from_secs(1));
    // More than anybody takes is counted, and nobody waits for it.
    for _ in 0..6_000 {
        nodes[0].group("news").publish(vec![7; 1_000]).await.unwrap();
        next_message(&mut subscription).await;
    }
    assert!(nodes[2].stats().await.runtime.sightings_missed > 0);
    drop(sightings);
    let missed = nodes[2].stats().await.runtime.sightings_missed;
    for _ in 0..100 {
        nodes[0].group("news").publish(vec![7; 1_000]).await.unwrap();
        next_message(&mut subscription).await;
    }
    assert_eq!(nodes[2].stats().await.runtime.sightings_missed, missed, "nobody asks any more");
}

#[tokio::test]
async fn a_message_of_the_largest_size_arrives_whole() {
    let nodes = members(3, |_, builder| builder).await;
    let mut subscription = subscribe(&nodes[2]).await;
    let message: Bytes = (0..16_u32 << 20).map(|at| (at ^ at >> 8 ^ at >> 16) as u8).collect();
    nodes[0].group("news").publish(message.clone()).await.unwrap();
    assert!(next_message(&mut subscription).await == message);
    let too_large = nodes[0].group("news").publish(vec![0; (16 << 20) + 1]).await;
    assert!(too_large.unwrap_err().to_string().contains("split it"));
}

#[tokio::test]
async fn a_sender_faster_than_its_pace_waits_and_loses_nothing() {
    let mut config = Config::lan();
    config.multicast.send_queue_bytes = 10_000;
    let paced = |_, builder: Builder| builder.config(config.clone()).pace(1_000_000, 10_000);
    let nodes = members(2, paced).await;
    let mut subscription = subscribe(&nodes[1]).await;
    let group = nodes[0].group("news");
    let publish = async {
        for number in 0..20_000_u32 {
            group.publish(number.to_string()).await.expect("it runs");
        }
        group.flush().await.expect("it runs");
    };
    let hear = async {
        for number in 0..20_000_u32 {
            assert_eq!(next_message(&mut subscription).await, number.to_string());
        }
    };
    tokio::join!(publish, hear);
}

#[tokio::test]
async fn a_slow_subscriber_hears_of_its_gap_and_others_hear_everything() {
    let few = |index, builder: Builder| match index {
        1 => builder.subscription_limits(10, 1 << 20),
        _ => builder,
    };
    let nodes = members(3, few).await;
    let (mut slow, mut healthy) = (subscribe(&nodes[1]).await, subscribe(&nodes[2]).await);
    for number in 0..1000_u32 {
        nodes[0].group("news").publish(number.to_string()).await.unwrap();
    }
    for number in 0..1000_u32 {
        assert_eq!(next_message(&mut healthy).await, number.to_string());
    }
    // The slow one's node has heard everything too; only its subscriber has not looked.
    patiently(async {
        while nodes[1].stats().await.protocol.messages_delivered < 1000 {
            tokio::task::yield_now().await;
        }
    })
    .await;
    let (mut heard, mut missed) = (0, 0);
    while heard + missed < 1000 {
        match patiently(slow.next()).await.unwrap() {
            Event::Message(message) => {
                assert_eq!(message.payload, (heard + missed).to_string());
                heard += 1;
            }
            Event::Lagged(lagged) => missed += lagged.messages,
            Event::MemberUp(_) | Event::MemberDown { .. } => (),
            event => panic!("{event:?}"),
        }
    }
    assert!(missed > 0, "it was slow");
    assert_eq!(nodes[1].stats().await.runtime.messages_lagged, missed);
}

#[tokio::test]
async fn a_restart_is_a_new_life() {
    let state = file("state");
    let key = || SigningKey::from_seed([7; 32]);
    let start = || Node::builder().signing_key(key()).state_file(&state).start();
    let first = start().await.unwrap();
    let (id, life) = (first.id(), first.incarnation());
    first.close().await.unwrap();
    let second = start().await.unwrap();
    assert_eq!(second.id(), id);
    assert!(second.incarnation() > life);
    std::fs::remove_file(&state).unwrap();
}

#[tokio::test]
async fn what_was_published_is_sent_before_the_node_is_gone() {
    let mut nodes = members(2, |_, builder| builder).await;
    let mut subscription = subscribe(&nodes[1]).await;
    let sender = nodes.remove(0);
    let (id, group) = (sender.id(), sender.group("news"));
    for number in 0..1000 {
        group.publish(number.to_string()).await.unwrap();
    }
    patiently(sender.close()).await.unwrap();
    for number in 0..1000 {
        assert_eq!(next_message(&mut subscription).await, number.to_string());
    }
    let gone = loop {
        if let Event::MemberDown { id, .. } = patiently(subscription.next()).await.unwrap() {
            break id;
        }
    };
    assert_eq!(gone, id);
    assert!(group.publish("too late").await.is_err());
    assert_eq!(group.subscribe().next().await, None);
}

#[tokio::test]
async fn a_stranger_is_not_heard_and_gets_no_answer() {
    let nodes = members(2, |_, builder| builder).await;
    let seeds = [nodes[0].local_addr()];
    let foreign = Node::builder().group_key(GroupKeys::generate()).seeds(seeds).start();
    let foreign = foreign.await.unwrap();
    let stranger = UdpSocket::bind("127.0.0.1:0").unwrap();
    stranger.set_nonblocking(true).unwrap();
    for length in [0, 1, 16, 60, 100, 1200] {
        stranger.send_to(&vec![1; length], seeds[0]).unwrap();
    }
    // Long enough for the foreign member to have asked, and for any answer: it has asked in vain
    // once all of this was refused.
    patiently(async {
        while nodes[0].stats().await.protocol.rejected.iter().sum::<u64>() < 7 {
            tokio::task::yield_now().await;
        }
    })
    .await;
    assert_eq!(nodes[0].member_count(), 2);
    assert_eq!(foreign.member_count(), 1);
    let answer = stranger.recv_from(&mut [0; 2000]).unwrap_err();
    assert_eq!(answer.kind(), std::io::ErrorKind::WouldBlock);
    assert_eq!(foreign.stats().await.protocol.datagrams_received, 0);
}

#[tokio::test]
async fn a_recording_holds_the_whole_run() {
    let path = file("recording");
    let record = |index, builder: Builder| match index {
        0 => builder.record(&path),
        _ => builder,
    };
    let mut nodes = members(2, record).await;
    let mut subscription = subscribe(&nodes[0]).await;
    nodes[1].group("news").publish("to be remembered").await.unwrap();
    next_message(&mut subscription).await;
    nodes.remove(0).close().await.unwrap();
    let bytes = std::fs::read(&path).unwrap();
    let mut rest = bytes.as_slice();
    let mut entries = Vec::new();
    while !rest.is_empty() {
        let (entry, length) = Entry::decode(rest).unwrap();
        entries.push(entry);
        rest = &rest[length..];
    }
    assert!(entries.iter().any(|entry| matches!(entry, Entry::Beginnings(_))));
    assert!(entries.iter().any(|entry| matches!(entry, Entry::Leave { .. })));
    let told = |entry: &Entry<'_>| match entry {
        Entry::Event { event: spinglass_core::Event::Message(message) } => {
            message.payload == "to be remembered"
        }
        _ => false,
    };
    assert!(entries.iter().any(told));
    std::fs::remove_file(&path).unwrap();
}

#[tokio::test]
async fn what_cannot_work_does_not_start() {
    let any: SocketAddr = "0.0.0.0:0".parse().unwrap();
    let refused = Node::builder().bind(any).start().await.unwrap_err();
    assert!(matches!(refused, StartError::NoGroupKey(_)), "{refused}");
    assert!(refused.to_string().contains("spinglass keygen"));
    let keyed = || Node::builder().group_key(GroupKeys::generate());
    let refused = keyed().bind(any).start().await.unwrap_err();
    assert!(matches!(refused, StartError::NothingToAdvertise(_)), "{refused}");
    let node = Node::builder().start().await.unwrap();
    let refused = Node::builder().bind(node.local_addr()).start().await.unwrap_err();
    assert!(matches!(refused, StartError::AddressInUse(_)), "{refused}");
    let refused = Node::builder().datagram_bytes(70_000).start().await.unwrap_err();
    assert!(matches!(refused, StartError::Config(_)), "{refused}");
    let refused = Node::builder().drop_probability(2.0, 0).start().await.unwrap_err();
    assert!(matches!(refused, StartError::DropProbability(_)), "{refused}");
}

/// A member knows what goes to another and comes from it; and who drops all that comes is deaf,
/// until it drops nothing again.
#[tokio::test]
async fn a_member_knows_whom_it_hears() {
    let nodes = members(2, |_, builder| builder).await;
    let [first, second] = &nodes[..] else { panic!("two") };
    let to_first = async || {
        let traffic = second.traffic().await.into_iter();
        let mut there = traffic.filter(|traffic| traffic.address == first.local_addr());
        there.next().expect("they have met")
    };
    assert!(to_first().await.sent_bytes > 0 && to_first().await.heard.is_some());
    assert!(matches!(second.drop_packets(1.5, 1), Err(StartError::DropProbability(_))));
    second.drop_packets(1.0, 1).expect("a probability");
    let deaf = to_first().await.received_bytes;
    tokio::time::sleep(Duration::from_millis(500)).await;
    assert_eq!(to_first().await.received_bytes, deaf, "what is dropped is not heard");
    second.drop_packets(0.0, 1).expect("a probability");
    patiently(async {
        while to_first().await.received_bytes == deaf {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    })
    .await;
}
