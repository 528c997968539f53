//! Certified mode on real sockets: that files reach the core, and that nobody is heard by the
//! group's key alone.

use std::fs;
use std::path::PathBuf;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use spinglass::{
    Builder, Event, GroupKeys, NamePattern, NewOrder, Node, PolicyFile, PublishError, SigningKey,
    StartError,
};
use spinglass_core::NodeError;
use spinglass_core::identity::{Refusal, Scope, SpiffeId, TrustDomain};
use spinglass_core::table::ZonePath;
use spinglass_crypto::certificates::{Authority, Lifetime};

/// A test that takes longer has failed.
const PATIENCE: Duration = Duration::from_secs(20);

/// The key of groups that have one in a file.
const GROUP_KEY: [u8; 32] = [7; 32];

/// A folder with what an authority issued; gone with it.
struct Papers {
    folder: PathBuf,
    authority: Authority,
}

fn lifetime() -> Lifetime {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970").as_secs();
    Lifetime { now, seconds: 3600 }
}

impl Papers {
    /// A root, and its certifier of `/usa`.
    fn new(name: &str) -> Self {
        let folder = std::env::temp_dir().join(format!("spinglass-{name}-{}", std::process::id()));
        fs::create_dir_all(&folder).expect("a folder");
        let domain = TrustDomain::parse("example.org").expect("a domain");
        let root = Authority::root(&domain, SigningKey::generate(), lifetime()).expect("a root");
        fs::write(folder.join("root.crt"), root.certificate().pem()).expect("a file");
        let (key, zone) = (SigningKey::generate(), ZonePath::parse("/usa").expect("a path"));
        let certified = root.certify_zone(&Scope { domain, zone }, &key.public_key(), lifetime());
        let chain = vec![certified.expect("it lies within")];
        Self { folder, authority: Authority::new(chain, key).expect("a certifier") }
    }

    /// A member of this name with its own certificate, and the group's key.
    fn member(&self, name: &str) -> Builder {
        self.keyless(name).group_key(GroupKeys::from_key(GROUP_KEY))
    }

    /// The same, with its certificate alone.
    fn keyless(&self, name: &str) -> Builder {
        let key = SigningKey::generate();
        let path = self.folder.join(name.replace('/', "-"));
        let name = SpiffeId::parse(&format!("spiffe://example.org{name}")).expect("a name");
        let issued = self.authority.issue(&name, &key.public_key(), lifetime()).expect("within");
        fs::write(&path, self.authority.chain_pem(&issued)).expect("a file");
        Node::builder()
            .signing_key(key)
            .certificate_file(path)
            .trust_file(self.folder.join("root.crt"))
    }
}

impl Drop for Papers {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.folder);
    }
}

async fn patiently<T>(future: impl Future<Output = T>) -> T {
    tokio::time::timeout(PATIENCE, future).await.expect("it should not take this long")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn certified_members_talk_and_the_groups_key_alone_is_not_heard() {
    let papers = Papers::new("talk");
    let first = papers.member("/usa/ithaca/n1").start().await.expect("it starts");
    let seeds = [first.local_addr()];
    let second = papers.member("/usa/ithaca/n2").seeds(seeds).start().await.expect("it starts");
    let third = papers.member("/usa/boston/n3").seeds(seeds).start().await.expect("it starts");
    let stranger = Node::builder().region("/usa/ithaca").seeds(seeds);
    let stranger = stranger.group_key(GroupKeys::from_key(GROUP_KEY)).start().await;
    let stranger = stranger.expect("it starts: it has the group's key");
    let nodes = [&first, &second, &third];
    for node in nodes {
        patiently(node.wait_for_members(3)).await.expect("it runs");
    }
    let mut heard: Vec<_> = nodes.map(|node| node.group("news").subscribe()).into();
    for node in nodes {
        node.stats().await;
    }
    let done = async {
        // Until each has heard both others, however much of the beginning is lost.
        for (at, heard) in heard.iter_mut().enumerate() {
            let mut from = std::collections::BTreeSet::new();
            while from.len() < 2 {
                let Some(event) = heard.next().await else { panic!("{at} has stopped") };
                if let Event::Message(message) = event {
                    let sender = message.stream.sender;
                    assert_ne!(sender, stranger.id(), "the stranger is heard by {at}");
                    from.insert(sender);
                }
            }
        }
    };
    let talk = async {
        loop {
            for node in nodes.into_iter().chain([&stranger]) {
                node.group("news").publish("hello").await.expect("it runs");
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    tokio::select! {
        () = patiently(done) => (),
        () = talk => (),
    }
    for node in nodes {
        assert_eq!(node.member_count(), 3, "the stranger is in no table");
        let members = node.members().await;
        assert!(members.iter().all(|member| member.id != stranger.id()));
    }
    let region = ZonePath::parse("/usa/ithaca").expect("a path");
    let zone = first.table().zone(&region).await.expect("it runs");
    let names: Vec<_> = zone.rows.iter().map(|row| row.row.name()).collect();
    assert_eq!(names, ["n1", "n2"], "the certified names");
}

#[tokio::test]
async fn whoever_asks_for_certified_mode_has_it_or_does_not_start() {
    let papers = Papers::new("start");
    let member = || papers.member("/usa/ithaca/n1");
    let error = member().region("/usa").start().await.expect_err("another region");
    assert!(matches!(error, StartError::Node(NodeError::OtherRegion { .. })), "{error}");
    let error = member().name("n2").start().await.expect_err("another name");
    assert!(matches!(error, StartError::Node(NodeError::OtherName { .. })), "{error}");
    let error = member().signing_key(SigningKey::generate()).start().await.expect_err("key");
    assert!(matches!(error, StartError::Node(NodeError::OtherKey)), "{error}");
    let others = Papers::new("others");
    let chain = papers.folder.join("-usa-ithaca-n1");
    let foreign = Node::builder()
        .signing_key(SigningKey::generate())
        .certificate_file(&chain)
        .trust_file(others.folder.join("root.crt"));
    let error = foreign.start().await.expect_err("another authority's");
    let unknown = NodeError::Certificate(Refusal::UnknownIssuer);
    assert!(matches!(&error, StartError::Node(node) if *node == unknown), "{error}");
    let key = SigningKey::generate();
    let zone = ZonePath::parse("/usa/ithaca").expect("a path");
    let scope = Scope { domain: TrustDomain::parse("example.org").expect("a domain"), zone };
    let certified = papers.authority.certify_zone(&scope, &key.public_key(), lifetime());
    let chain_of_two = vec![certified.expect("within"), papers.authority.certificate().clone()];
    let deep = Authority::new(chain_of_two, key).expect("a certifier");
    let deep = Papers { folder: papers.folder.clone(), authority: deep };
    let error = deep.member("/usa/ithaca/n3").start().await.expect_err("three certificates");
    assert!(matches!(error, StartError::Node(NodeError::ChainTooLarge { .. })), "{error}");
    println!("{error}");
    let half = [
        Node::builder().trust_file(papers.folder.join("root.crt")),
        Node::builder().certificate_file(&chain),
        Node::builder().certificate_file(&chain).trust_file(papers.folder.join("root.crt")),
    ];
    for builder in half {
        let error = builder.start().await.expect_err("something is missing");
        assert!(matches!(error, StartError::Security(_)), "{error}");
    }
}

#[tokio::test]
async fn rules_are_asked_before_anything_leaves() {
    let papers = Papers::new("rules");
    let policy = papers.folder.join("policy.toml");
    let text = "[[rule]]\nwho = \"spiffe://example.org/**\"\n\
                allow = [\"join /usa/**\", \"publish news/**\", \"write load in /**\"]\n";
    fs::write(&policy, text).expect("a file");
    let node = papers.member("/usa/ithaca/n1").policy_file(&policy).start().await;
    let node = node.expect("it starts");
    node.group("news/ithaca").publish("x").await.expect("a rule allows it");
    let denied = node.group("gossip").publish("x").await.expect_err("no rule allows it");
    assert!(matches!(denied, PublishError::Denied(_)), "{denied}");
    assert!(node.group("news/ithaca").may_subscribe().is_err());
    assert_eq!(node.group("news/ithaca").subscribe().next().await, None);
    let table = node.table();
    table.set("load", 3).await.expect("a rule allows it");
    table.set("color", 3).await.expect_err("no rule allows it");
    let sql = "SELECT MIN(load) AS load FROM zone";
    table.install(&ZonePath::root(), "load", sql).await.expect_err("no rule allows it");
    fs::write(&policy, text.replace("/usa/**", "/eu/**")).expect("a file");
    let error = papers.member("/usa/ithaca/n1").policy_file(&policy).start().await;
    let error = error.expect_err("its own rules keep it out");
    assert!(matches!(error, StartError::Node(NodeError::Denied(_))), "{error}");
}

/// Waits until every node seals under this epoch's key.
async fn wait_for_epoch(nodes: &[&Node], epoch: u32) {
    for node in nodes {
        let orders = node.orders();
        let reached = async {
            while orders.epoch().await.expect("it runs") != epoch {
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        };
        patiently(reached).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn certificates_alone_make_a_group_whose_key_rotates_and_keeps_out_whom_it_should() {
    let papers = Papers::new("rotate");
    let first = papers.keyless("/usa/n1").start().await.expect("it starts");
    let seeds = [first.local_addr()];
    let second = papers.keyless("/usa/n2").seeds(seeds).start().await.expect("it starts");
    let third = papers.keyless("/usa/n3").seeds(seeds).start().await.expect("it starts");
    let nodes = [&first, &second, &third];
    for node in nodes {
        patiently(node.wait_for_members(3)).await.expect("it runs");
    }
    let mut heard = second.group("news").subscribe();
    let (mut shunned, news) = (third.group("news").subscribe(), first.group("news"));
    for node in nodes {
        // What was asked for before has then been done.
        node.stats().await;
    }
    let mut number = 0_u32;
    for epoch in 1..=2 {
        second.orders().give(NewOrder::Rotate).await.expect("everybody may");
        // Messages go on while the group moves.
        for _ in 0..40 {
            news.publish(number.to_le_bytes().to_vec()).await.expect("it runs");
            number += 1;
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        wait_for_epoch(&nodes, epoch).await;
    }
    for expected in 0..number {
        for queue in [&mut heard, &mut shunned] {
            let message = loop {
                match patiently(queue.next()).await {
                    Some(Event::Message(message)) => break message,
                    Some(Event::MemberUp(_)) => (),
                    other => panic!("no message, but {other:?}"),
                }
            };
            assert_eq!(message.payload[..], expected.to_le_bytes());
        }
    }
    let who = NamePattern::parse("spiffe://example.org/usa/n3").expect("a pattern");
    first.orders().give(NewOrder::Quarantine { who, lasts: None }).await.expect("it may");
    first.orders().give(NewOrder::Rotate).await.expect("it may");
    wait_for_epoch(&nodes[..2], 3).await;
    assert_eq!(third.orders().epoch().await.expect("it runs"), 2, "nobody gave it the key");
    let standing = first.orders().list().await.expect("it runs");
    assert_eq!(standing.len(), 2, "{standing:?}");
}

#[tokio::test]
async fn handles_ask_the_rules_that_came_by_order() {
    let papers = Papers::new("govern");
    let policy = papers.folder.join("policy.toml");
    let text = "[[rule]]\nwho = \"spiffe://example.org/**\"\nallow = [\"join /**\", \"govern\"]\n";
    fs::write(&policy, text).expect("a file");
    let node = papers.member("/usa/n1").policy_file(&policy).start().await.expect("it starts");
    let group = node.group("news");
    group.publish("x").await.expect_err("no rule allows it");
    let wider = text.replace("govern", "publish **");
    let wider = PolicyFile::parse(&wider, &policy).expect("a policy").policy().clone();
    node.orders().give(NewOrder::Rules(Some(wider))).await.expect("it governs");
    patiently(async {
        while group.publish("x").await.is_err() {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    })
    .await;
    node.orders().give(NewOrder::Rules(None)).await.expect("the first rules decide about that");
    patiently(async {
        while group.publish("x").await.is_ok() {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn roots_change_while_members_run() {
    let (old, new) = (Papers::new("old-root"), Papers::new("new-root"));
    let root = |papers: &Papers| papers.folder.join("root.crt");
    let [old_root, new_root] =
        [&old, &new].map(|papers| fs::read_to_string(root(papers)).expect("a file"));
    let first = old.member("/usa/n1").start().await.expect("it starts");
    let seeds = [first.local_addr()];
    let second = old.member("/usa/n2").seeds(seeds).start().await.expect("it starts");
    let later = new.member("/usa/n3").trust_file(root(&old)).seeds(seeds);
    let later = later.start().await.expect("it starts: it trusts both");
    for node in [&first, &second] {
        patiently(node.wait_for_members(2)).await.expect("it runs");
    }
    assert!(first.members().await.iter().all(|member| member.id != later.id()));
    fs::write(root(&old), old_root.clone() + &new_root).expect("a file");
    for node in [&first, &second, &later] {
        patiently(node.wait_for_members(3)).await.expect("it runs");
    }
    // Roots by which nobody would believe this member itself are not heeded.
    fs::write(root(&old), &new_root).expect("a file");
    tokio::time::sleep(Duration::from_secs(3)).await;
    assert_eq!(first.member_count(), 3);
    fs::write(root(&old), &old_root).expect("a file");
    for node in [&first, &second] {
        let is_alone = async {
            while node.members().await.iter().any(|member| member.id == later.id()) {
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        };
        patiently(is_alone).await;
    }
}
