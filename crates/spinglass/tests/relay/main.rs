//! Members that reach others through a relay alone, on real sockets.

mod evil;
mod papers;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

use spinglass::{
    Builder, Event, GroupKeys, MemberId, Node, PathChoice, PolicyFile, RelayError, SigningKey,
    StartError, Value, ZonePath,
};
use spinglass_core::Reject;
use spinglass_core::record::Entry;
use spinglass_relay::{Door, Doorkeeper, Guard, Limits, Refusal, Relay, Settings, Watch};
use spinglass_sim::replay::replay;
use tokio::task::JoinSet;

use papers::{Papers, Tls};

/// A test that takes longer has failed.
const PATIENCE: Duration = Duration::from_secs(60);
/// The group's key.
const GROUP: [u8; 32] = [7; 32];

async fn patiently<T>(what: &str, future: impl Future<Output = T>) -> T {
    match tokio::time::timeout(PATIENCE, future).await {
        Ok(done) => done,
        Err(_) => panic!("{what}: it should not take this long"),
    }
}

/// A relay on loopback; stopped with it.
struct Running {
    url: String,
    watch: Watch,
    keeper: Doorkeeper,
    task: JoinSet<()>,
}

impl Running {
    async fn start(listen: &str, tls: &Tls, guard: Guard, limits: Limits) -> Self {
        let listen = listen.parse().expect("an address");
        let settings = Settings {
            listen,
            public: None,
            ports: None,
            door: Door { tls: tls.server(), guard },
            limits,
        };
        let (relay, keeper) = Relay::bind(settings).await.expect("it listens");
        let (url, watch) = (format!("wss://{}", relay.local_addr()), relay.watch());
        let mut task = JoinSet::new();
        task.spawn(async { relay.run().await.expect("it runs") });
        Self { url, watch, keeper, task }
    }

    async fn for_group(tls: &Tls) -> Self {
        let guard = Guard::Keys(GroupKeys::from_key(GROUP).relay_keys());
        Self::start("127.0.0.1:0", tls, guard, Limits::default()).await
    }

    /// Stops it, and starts another one in its place, which knows of no member.
    async fn replace(mut self, tls: &Tls) -> Self {
        self.task.shutdown().await;
        let guard = Guard::Keys(GroupKeys::from_key(GROUP).relay_keys());
        let listen = self.url.trim_start_matches("wss://");
        Self::start(listen, tls, guard, Limits::default()).await
    }
}

fn member() -> Builder {
    let builder = Node::builder().group_key(GroupKeys::from_key(GROUP)).region("/usa");
    builder.datagram_bytes(1200)
}

fn relayed(relay: &Running, tls: &Tls) -> Builder {
    auto(relay, tls).path(PathChoice::Relay)
}

fn auto(relay: &Running, tls: &Tls) -> Builder {
    member().relay(&relay.url).relay_trust_file(tls.certificate())
}

/// Everybody says so many numbers to everybody, and hears all of them in order.
async fn talk(nodes: &[&Node], count: u32) {
    let mut heard: Vec<_> = nodes.iter().map(|node| node.group("news").subscribe()).collect();
    for node in nodes {
        node.stats().await;
    }
    let say = async {
        for number in 0..count {
            for node in nodes {
                let text = number.to_string();
                node.group("news").publish(text).await.expect("it runs");
            }
            if number % 16 == 0 {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
        }
    };
    let hear = async {
        for (node, heard) in nodes.iter().zip(&mut heard) {
            let mut next = BTreeMap::<MemberId, u32>::new();
            let mut left = (nodes.len() - 1) as u32 * count;
            while left > 0 {
                match heard.next().await {
                    Some(Event::Message(message)) => {
                        let next = next.entry(message.stream.sender).or_default();
                        assert_eq!(message.payload, next.to_string(), "at {}", node.id());
                        *next += 1;
                        left -= 1;
                    }
                    Some(Event::MemberUp(_) | Event::MemberDown { .. }) => (),
                    other => panic!("{other:?} at {}", node.id()),
                }
            }
        }
    };
    patiently("to hear everything", async { tokio::join!(say, hear) }).await;
}

/// Each sets an attribute, and sees that of all.
async fn set_and_see(nodes: &[&Node]) {
    let region = ZonePath::parse("/usa").expect("a path");
    for (number, node) in (0..).zip(nodes) {
        node.table().set("load", number).await.expect("it runs");
    }
    for node in nodes {
        let mut table = node.table();
        let seen = async {
            loop {
                let zone = table.zone(&region).await.expect("it runs");
                let loads = zone.rows.iter().filter_map(|row| row.row.attributes().get("load"));
                let mut loads: Vec<_> = loads.filter_map(Value::as_int).collect();
                loads.sort_unstable();
                if loads == (0..nodes.len() as i64).collect::<Vec<_>>() {
                    break;
                }
                table.changed().await.expect("it runs");
            }
        };
        patiently("to see all rows", seen).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_member_behind_a_relay_is_a_member_like_others() {
    let tls = Tls::new("like-others");
    let relay = Running::for_group(&tls).await;
    let loss = |builder: Builder, seed| builder.drop_probability(0.05, seed);
    let first = loss(member(), 1).start().await.expect("it starts");
    let seeds = [first.local_addr()];
    let mut direct = vec![first];
    for seed in 2..=4 {
        direct.push(loss(member().seeds(seeds), seed).start().await.expect("it starts"));
    }
    let inside = loss(relayed(&relay, &tls).seeds(seeds), 5).start().await.expect("it starts");
    let nodes: Vec<_> = direct.iter().chain([&inside]).collect();
    for node in &nodes {
        patiently("to meet", node.wait_for_members(5)).await.expect("it runs");
    }
    talk(&nodes, 200).await;
    set_and_see(&nodes).await;
    let seen = direct[0].members().await;
    let record = seen.iter().find(|member| member.id == inside.id()).expect("it is there");
    assert_eq!(record.address, inside.local_addr(), "which is the relay's port");
    let direct = inside.stats().await.runtime.datagrams_direct;
    assert_eq!(direct, 0, "nothing came to it but by the relay");
    let counters = relay.watch.counters();
    assert_eq!((counters.admitted, counters.ended, counters.refused), (1, 0, 0));
    assert!(counters.datagrams_in > 20 && counters.datagrams_out > 20, "{counters:?}");
    assert_eq!((counters.foreign, counters.barred), (0, 0), "{counters:?}");
}

/// Waits until a member is reached elsewhere, or again.
async fn is_at(node: &Node, fits: impl Fn(SocketAddr) -> bool) {
    let until = async {
        while !fits(node.local_addr()) {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    patiently("to be reached elsewhere", until).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_lost_its_relay_comes_back_to_its_place_or_says_where_it_is() {
    let tls = Tls::new("comes-back");
    let relay = Running::for_group(&tls).await;
    let first = member().start().await.expect("it starts");
    let seeds = [first.local_addr()];
    let second = member().seeds(seeds).start().await.expect("it starts");
    let inside = relayed(&relay, &tls).seeds(seeds).start().await.expect("it starts");
    let nodes = [&first, &second, &inside];
    for node in nodes {
        patiently("to meet", node.wait_for_members(3)).await.expect("it runs");
    }
    talk(&nodes, 20).await;
    let before = inside.local_addr();
    let relay = relay.replace(&tls).await;
    let connected = async {
        while relay.watch.counters().admitted == 0 {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    patiently("to connect again", connected).await;
    assert_eq!(inside.local_addr(), before, "it has its port again");
    talk(&nodes, 20).await;
    // Now the port is somebody else's by the time that it comes back.
    let mut relay = relay;
    relay.task.shutdown().await;
    let squat = async {
        loop {
            // Its tasks end one by one.
            match tokio::net::UdpSocket::bind(before).await {
                Ok(squatter) => break squatter,
                Err(_) => tokio::time::sleep(Duration::from_millis(5)).await,
            }
        }
    };
    let squatter = patiently("to take its port", squat).await;
    let relay = relay.replace(&tls).await;
    is_at(&inside, |address| address != before).await;
    talk(&nodes, 20).await;
    set_and_see(&nodes).await;
    for node in [&first, &second] {
        let seen = async {
            loop {
                let members = node.members().await;
                let there = members.iter().find(|member| member.id == inside.id());
                if there.is_some_and(|member| member.address == inside.local_addr()) {
                    break;
                }
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        };
        patiently("to hear of the new address", seen).await;
    }
    assert!(inside.stats().await.relay.connections >= 3);
    assert!(relay.watch.counters().admitted >= 1);
    drop(squatter);
}

#[tokio::test]
async fn certificates_and_rules_decide_who_may_use_a_relay() {
    let tls = Tls::new("rules");
    let papers = Papers::new("relay-rules");
    let policy = "[[rule]]\nwho = \"spiffe://example.org/usa/ithaca/n1\"\n\
                  allow = [\"door relay\"]\n";
    let policy = PolicyFile::parse(policy, Path::new("policy.toml")).expect("rules");
    let guard =
        Guard::Certified { verifier: papers.verifier(), policy: Some(policy.policy().clone()) };
    let relay = Running::start("127.0.0.1:0", &tls, guard, Limits::default()).await;
    let with_relay =
        |builder: Builder| builder.relay(&relay.url).relay_trust_file(tls.certificate()).start();
    let inside = with_relay(papers.member("/usa/ithaca/n1")).await.expect("a rule lets it in");
    let others = Papers::new("relay-others");
    let refused = |error: StartError| match error {
        StartError::Relay(RelayError::Refused { refusal, .. }) => refusal,
        other => panic!("{other}"),
    };
    let error = with_relay(papers.member("/usa/ithaca/n2")).await.expect_err("no rule");
    assert_eq!(refused(error), Refusal::Denied);
    let error = with_relay(others.member("/usa/ithaca/n1")).await.expect_err("of others");
    assert_eq!(refused(error), Refusal::Unproven);
    let error = with_relay(Node::builder()).await.expect_err("no certificate");
    assert_eq!(refused(error), Refusal::Unproven);
    let outside = papers.member("/usa/ithaca/n3").seeds([inside.local_addr()]);
    let outside = outside.start().await.expect("it starts");
    for node in [&inside, &outside] {
        patiently("to meet", node.wait_for_members(2)).await.expect("it runs");
    }
    talk(&[&inside, &outside], 10).await;
    assert_eq!(relay.watch.counters().refused, 3);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whoever_is_put_out_comes_back_with_its_renewed_certificate() {
    let tls = Tls::new("renewed");
    let papers = Papers::new("relay-renewed");
    let guard = Guard::Certified { verifier: papers.verifier(), policy: None };
    let relay = Running::start("127.0.0.1:0", &tls, guard, Limits::default()).await;
    let key = SigningKey::generate();
    let inside = papers.member_with("/usa/n1", &key);
    let inside = inside.relay(&relay.url).relay_trust_file(tls.certificate());
    let inside = inside.path(PathChoice::Relay).start().await.expect("it is let in");
    let address = inside.local_addr();
    let mut verifier = papers.verifier();
    verifier.add_revocations(papers.revoke("/usa/n1")).expect("there is room");
    let _ = papers.member_with("/usa/n1", &key);
    // It has read the new one by then.
    tokio::time::sleep(Duration::from_secs(4)).await;
    let guard = Guard::Certified { verifier, policy: None };
    relay.keeper.change(Door { tls: tls.server(), guard });
    let is_back = async {
        while relay.watch.counters().admitted < 2 {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    patiently("to come back", is_back).await;
    assert_eq!((relay.watch.counters().refused, inside.local_addr()), (0, address));
}

#[tokio::test]
async fn a_relay_that_is_not_there_or_is_not_trusted_is_found_out_at_the_start() {
    let tls = Tls::new("trust");
    let relay = Running::for_group(&tls).await;
    let start = |url: &str, trust: &Tls| member().relay(url).relay_trust_file(trust.certificate());
    let error = start("relay.example.org", &tls).start().await.expect_err("no URL");
    assert!(matches!(error, StartError::RelayUrl(_)), "{error}");
    let others = Tls::new("trust-others");
    let error = start(&relay.url, &others).start().await.expect_err("another root").to_string();
    assert!(error.contains("TLS failed"), "{error}");
    let error = Node::builder().relay("wss://192.0.2.1").start().await.expect_err("no key");
    assert!(matches!(error, StartError::NoGroupKeyForRelay), "{error}");
    let elsewhere = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let url = format!("wss://{}", elsewhere.local_addr().expect("bound"));
    drop(elsewhere);
    let always = start(&url, &tls).path(PathChoice::Relay).start().await;
    let error = always.expect_err("nobody there").to_string();
    assert!(error.contains("cannot reach"), "{error}");
    // Where there may be another way it begins with that.
    let auto = start(&url, &tls).start().await.expect("it starts");
    let late = Guard::Keys(GroupKeys::from_key(GROUP).relay_keys());
    let listen = url.trim_start_matches("wss://");
    let late = Running::start(listen, &tls, late, Limits::default()).await;
    // It is alone, so nobody can say that it is reached: it turns to the relay once that is there.
    let before = auto.local_addr();
    is_at(&auto, |address| address != before).await;
    assert_eq!(late.watch.counters().admitted, 1);
    let stranger = Node::builder().group_key(GroupKeys::from_key([8; 32]));
    let stranger = stranger.relay(&relay.url).relay_trust_file(tls.certificate());
    let error = stranger.start().await.expect_err("of another group").to_string();
    assert!(error.contains("did not believe"), "{error}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_relay_that_bends_repeats_and_makes_things_up_achieves_nothing() {
    let tls = Tls::new("evil");
    let evil = evil::Evil::start(&tls).await;
    let first = member().start().await.expect("it starts");
    let seeds = [first.local_addr()];
    let second = member().seeds(seeds).start().await.expect("it starts");
    let inside = member().relay(&evil.url).relay_trust_file(tls.certificate()).seeds(seeds);
    let inside = inside.path(PathChoice::Relay);
    let inside = inside.start().await.expect("the relay lets in everybody");
    let nodes = [&first, &second, &inside];
    for node in nodes {
        patiently("to meet", node.wait_for_members(3)).await.expect("it runs");
    }
    // Each message comes once, whole, in order, from who says so: that is what this looks at.
    talk(&nodes, 200).await;
    set_and_see(&nodes).await;
    for node in nodes {
        assert_eq!(node.member_count(), 3);
    }
    for node in [&first, &inside] {
        let stats = node.stats().await.protocol;
        for kind in [Reject::Unsealed, Reject::Replayed, Reject::UnknownBoot] {
            assert!(stats.rejected(kind) > 0, "{kind} at {}: {stats:?}", node.id());
        }
        assert_eq!(stats.rejected(Reject::Forged), 0, "no signature had to be the judge");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_member_to_which_others_get_through_leaves_its_relay() {
    let tls = Tls::new("leaves");
    let relay = Running::for_group(&tls).await;
    let first = member().start().await.expect("it starts");
    let seeds = [first.local_addr()];
    let second = member().seeds(seeds).start().await.expect("it starts");
    let recording = tls.certificate().with_extension("rec");
    let inside = auto(&relay, &tls).seeds(seeds).record(&recording);
    let inside = inside.start().await.expect("it starts");
    let by_relay = inside.local_addr();
    let nodes = [&first, &second, &inside];
    for node in nodes {
        patiently("to meet", node.wait_for_members(3)).await.expect("it runs");
    }
    talk(&nodes, 20).await;
    is_at(&inside, |address| address != by_relay).await;
    talk(&nodes, 20).await;
    // It needs the relay no more.
    drop(relay);
    talk(&nodes, 20).await;
    set_and_see(&nodes).await;
    inside.close().await.expect("everything is sent");
    let written = async {
        let mut before = 0;
        loop {
            // A thread of its own writes it.
            let recording = std::fs::read(&recording).expect("it was recorded");
            let has_left = entries(&recording).any(|entry| matches!(entry, Entry::Leave { .. }));
            if has_left && recording.len() == before {
                break recording;
            }
            before = recording.len();
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    replays(&patiently("to be written", written).await);
    // Whoever is told to be direct is.
    let relay = Running::for_group(&tls).await;
    let direct = auto(&relay, &tls).path(PathChoice::Direct).start().await.expect("it starts");
    assert_eq!(direct.stats().await.relay.connections, 0);
    assert_eq!(relay.watch.counters().connections, 0, "it is not even asked");
}

/// What a recording consists of, up to where it was written.
fn entries(mut rest: &[u8]) -> impl Iterator<Item = Entry<'_>> {
    std::iter::from_fn(move || {
        let (entry, length) = Entry::decode(rest).ok()?;
        rest = &rest[length..];
        Some(entry)
    })
}

/// What was done about ways is in the recording, and happens again.
fn replays(recording: &[u8]) {
    let asked = entries(recording).filter(|entry| matches!(entry, Entry::AskPath { .. })).count();
    let moves = |entry: &Entry<'_>| matches!(entry, Entry::SetAddress { .. });
    let moved = entries(recording).filter(moves).count();
    assert!(asked >= 2 && moved >= 1, "asked {asked} times, moved {moved} times");
    let report = replay(recording).expect("the same happens again");
    assert!(report.messages > 0, "{report:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn certified_members_find_their_ways_too() {
    let tls = Tls::new("certified");
    let papers = Papers::new("relay-certified");
    let guard = Guard::Certified { verifier: papers.verifier(), policy: None };
    let relay = Running::start("127.0.0.1:0", &tls, guard, Limits::default()).await;
    let first = papers.member("/usa/n1").start().await.expect("it starts");
    let seeds = [first.local_addr()];
    let second = papers.member("/usa/n2").seeds(seeds).start().await.expect("it starts");
    let inside = papers.member("/usa/n3").seeds(seeds);
    let inside = inside.relay(&relay.url).relay_trust_file(tls.certificate());
    let inside = inside.start().await.expect("it is let in by its certificate");
    let by_relay = inside.local_addr();
    let nodes = [&first, &second, &inside];
    for node in nodes {
        patiently("to meet", node.wait_for_members(3)).await.expect("it runs");
    }
    is_at(&inside, |address| address != by_relay).await;
    talk(&nodes, 20).await;
}
