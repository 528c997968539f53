//! What a member did on real sockets happens again in the simulator, byte for byte.

use std::error::Error;
use std::path::PathBuf;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use spinglass::{Config, Event, NewFunction, Node, ReplyPorts, SigningKey, ZonePath};
use spinglass_core::identity::{SpiffeId, TrustDomain};
use spinglass_core::record::Entry;
use spinglass_crypto::certificates::{Authority, Lifetime};
use spinglass_sim::replay::{ReplayError, replay};

/// Attributes, functions and objects: every verb of the table, at the recorded member.
async fn use_table(recorded: &Node, other: &Node) -> Result<(), Box<dyn Error>> {
    let (table, others) = (recorded.table(), other.table());
    table.set("load", 0.5).await?;
    let lasts = Some(Duration::from_secs(3600));
    let long = format!("SELECT MAX(load) AS load FROM zone{}", " ".repeat(3000));
    let function = NewFunction { sql: &long, lasts };
    table.install(&ZonePath::root(), "load", function).await?;
    table.put_object("mine", vec![1; 5000]).await?;
    let theirs = others.put_object("theirs", vec![2; 50_000]).await?;
    assert_eq!(table.object(&theirs.to_value()).await?, vec![2; 50_000]);
    table.remove(&ZonePath::root(), "load").await?;
    Ok(())
}

/// Records a member that hears and publishes over a lossy path.
async fn record(path: PathBuf) -> Result<(), Box<dyn Error>> {
    let mut config = Config::lan();
    config.table.round = Duration::from_millis(100);
    let node = |region| {
        let builder = Node::builder().config(config.clone()).region(region);
        builder.drop_probability(0.1, 7).reply_ports(ReplyPorts::Always)
    };
    let other = node("/eu").start().await?;
    let seed = format!("localhost:{}", other.local_addr().port());
    let recorded = node("/usa").seed_names([seed.as_str()]).record(&path).start().await?;
    let mut heard = recorded.group("news").subscribe();
    recorded.wait_for_members(2).await?;
    other.wait_for_members(2).await?;
    for number in 0..300_u32 {
        other.group("news").publish(vec![number as u8; 700]).await?;
        recorded.group("replies").publish(number.to_le_bytes().to_vec()).await?;
    }
    use_table(&recorded, &other).await?;
    let mut messages = 0;
    while messages < 300 {
        let event = heard.next().await.expect("the node is alive");
        messages += u32::from(matches!(event, Event::Message(_)));
    }
    question(&recorded).await?;
    recorded.close().await?;
    drop(other);
    Ok(())
}

/// Asks until an answer has the other's region in it.
async fn question(node: &Node) -> Result<(), Box<dyn Error>> {
    let mut table = node.table();
    table.set("load", 3).await?;
    table.install(&ZonePath::root(), "load", "SELECT MIN(load) AS load FROM zone").await?;
    while table.query("SELECT id, zone FROM hosts").await?.rows.len() < 2 {
        table.changed().await?;
    }
    let zone = table.zone(&ZonePath::parse("/eu")?).await?;
    assert_eq!(zone.rows.len(), 1);
    Ok(())
}

#[test]
fn a_recording_from_sockets_replays_byte_for_byte() {
    let path = std::env::temp_dir().join(format!("spinglass-replay-{}.rec", std::process::id()));
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let run = async { tokio::time::timeout(Duration::from_secs(30), record(path.clone())).await };
    runtime.block_on(run).expect("the group is done within 30 s").unwrap();
    let recording = std::fs::read(&path).unwrap();
    std::fs::remove_file(&path).unwrap();

    let mut verbs = (0, 0, 0, 0);
    let mut rest = recording.as_slice();
    while let Ok((entry, length)) = Entry::decode(rest) {
        match entry {
            Entry::AddSeeds { .. } => verbs.0 += 1,
            Entry::SetAttributes { .. } => verbs.1 += 1,
            Entry::SetSummary { .. } => verbs.2 += 1,
            Entry::SetReplyPort { .. } => verbs.3 += 1,
            _ => (),
        }
        rest = &rest[length..];
    }
    assert!(verbs.0 >= 1 && verbs.1 >= 1 && verbs.2 >= 1 && verbs.3 >= 1, "{verbs:?}");
    let report = replay(&recording).unwrap();
    assert!(report.messages >= 300 && report.datagrams > 0, "{report:?}");

    // And it would notice: one flipped bit in what was sealed, opened or told.
    let mut noticed = 0;
    let places = (1..10).map(|tenth| recording.len() * tenth / 10);
    for place in places {
        let mut bent = recording.clone();
        bent[place] ^= 1;
        noticed += u32::from(replay(&bent).is_err());
    }
    assert!(noticed >= 7, "{noticed} of 9 changes were noticed");
    assert_eq!(replay(b"no recording at all"), Err(ReplayError::Damaged(0)));
    assert_eq!(replay(&[]), Err(ReplayError::NoBeginnings));
}

/// Two certified members under rules, one of them recorded; and what the other published without
/// being allowed to is heard nowhere.
async fn record_certified(folder: PathBuf, path: PathBuf) -> Result<(), Box<dyn Error>> {
    let now = SystemTime::now().duration_since(UNIX_EPOCH)?.as_secs();
    let lifetime = Lifetime { now, seconds: 3600 };
    let domain = TrustDomain::parse("example.org")?;
    let root = Authority::root(&domain, SigningKey::generate(), lifetime)?;
    let (anchor, policy) = (folder.join("root.crt"), folder.join("policy.toml"));
    std::fs::write(&anchor, root.certificate().pem())?;
    let rules = "[[rule]]\nwho = \"spiffe://example.org/**\"\n\
                 allow = [\"join /**\", \"publish news/*\", \"subscribe **\"]\n";
    std::fs::write(&policy, rules)?;
    let member = |name: &str| -> Result<_, Box<dyn Error>> {
        let key = SigningKey::generate();
        let file = folder.join(name);
        let spiffe = SpiffeId::parse(&format!("spiffe://example.org/usa/{name}"))?;
        let issued = root.issue(&spiffe, &key.public_key(), lifetime)?;
        std::fs::write(&file, root.chain_pem(&issued))?;
        let builder = Node::builder().signing_key(key).certificate_file(file);
        Ok(builder.trust_file(&anchor).policy_file(&policy))
    };
    let other = member("n1")?.start().await?;
    let recorded = member("n2")?.seeds([other.local_addr()]).record(&path).start().await?;
    let mut heard = recorded.group("news/x").subscribe();
    recorded.wait_for_members(2).await?;
    other.wait_for_members(2).await?;
    assert!(other.group("olds").publish("x").await.is_err());
    recorded.group("news/y").publish("y").await?;
    loop {
        other.group("news/x").publish("x").await?;
        let next = tokio::time::timeout(Duration::from_millis(50), heard.next()).await;
        if let Ok(Some(Event::Message(_))) = next {
            break;
        }
    }
    recorded.close().await?;
    Ok(())
}

#[test]
fn a_recording_of_a_certified_member_replays_without_its_roots() {
    let folder = std::env::temp_dir().join(format!("spinglass-papers-{}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    let path = folder.join("recording");
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let run = record_certified(folder.clone(), path.clone());
    let run = async { tokio::time::timeout(Duration::from_secs(30), run).await };
    runtime.block_on(run).expect("the group is done within 30 s").unwrap();
    let recording = std::fs::read(&path).unwrap();
    std::fs::remove_dir_all(&folder).unwrap();
    let report = replay(&recording).unwrap();
    assert!(report.messages >= 1 && report.datagrams > 0, "{report:?}");
}
