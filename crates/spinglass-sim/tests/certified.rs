//! Certified mode: members with certificates work as others do, and whoever has none that holds is
//! never heard.

#![expect(clippy::unwrap_used, reason = "whatever fails here fails the test")]

use std::collections::BTreeSet;
use std::time::Duration;

use bytes::Bytes;
use spinglass_core::query::{Outcome, Question};
use spinglass_core::rules::{ActionPattern, Effect, NamePattern, Policy, Rule};
use spinglass_core::table::{Kind, SetError, Value, ZonePath};
use spinglass_core::{
    Config, Dissemination, Event, Instant, Pattern, PublishError, Rating, Reject, Start, TopicId,
};
use spinglass_sim::papers::{Odd, Papers};
use spinglass_sim::{Blind, Network, Observer, Setup, World};

const AGENTS: usize = 18;

/// Regions of six, two to a zone.
fn world(seed: u64, loss_ppm: u32, odd: &[(usize, Odd)], policy: Option<Policy>) -> World {
    let mut setup = Setup::new(AGENTS, Config::lan(), seed);
    setup.acquainted = false;
    (setup.region_members, setup.zone_children) = (6, 2);
    if seed % 2 == 1 {
        setup.config.multicast.dissemination = Dissemination::Multicast;
    }
    // Every third time no record has room beside a chain.
    let certificate_bytes = if seed % 3 == 2 { 500 } else { 430 };
    let odd = odd.iter().copied().collect();
    setup.papers = Some(Papers { certificate_bytes, policy, odd, ..Papers::default() });
    World::new(setup, Network { loss_ppm, ..Network::default() })
}

fn rule(effect: Effect, who: &str, what: &[&str]) -> Rule {
    Rule {
        effect,
        who: vec![NamePattern::parse(who).unwrap()],
        what: what.iter().map(|what| ActionPattern::parse(what).unwrap()).collect(),
    }
}

/// Who heard whom: receiver and sender.
#[derive(Default)]
struct Heard(BTreeSet<(usize, usize)>);

impl Observer for Heard {
    fn event(&mut self, _: Instant, member: usize, _: u64, event: &Event) {
        if let Event::Message(message) = event {
            self.0.insert((member, usize::from(message.payload[0])));
        }
    }
}

/// Everybody publishes, now and then: who ever hears whom.
///
/// One message alone may be lost to a whole region: it is sent once, and nothing after it shows
/// that it is missing there.
fn talk(world: &mut World, topic: TopicId) -> Heard {
    let mut heard = Heard::default();
    for _ in 0..5 {
        for sender in 0..AGENTS {
            let payload = Bytes::from(vec![u8::try_from(sender).unwrap(); 100]);
            let _ = world.publish(sender, topic, payload, &mut heard);
        }
        world.run(Duration::from_secs(4), &mut heard);
    }
    heard
}

fn count(world: &World, agent: usize) -> usize {
    world.node(agent).unwrap().member_count()
}

#[test]
fn certified_members_find_each_other_and_talk() {
    for seed in 0..9 {
        let loss_ppm = [0, 50_000, 200_000][usize::try_from(seed / 3).unwrap() % 3];
        let mut world = world(seed, loss_ppm, &[], None);
        let topic = world.topic("news");
        (0..AGENTS).for_each(|agent| world.subscribe(agent, topic, Start::Live));
        world.run(Duration::from_secs(40), &mut Blind);
        let heard = talk(&mut world, topic);
        assert_eq!(heard.0.len(), AGENTS * (AGENTS - 1), "seed {seed}: everybody hears everybody");
        for agent in 0..AGENTS {
            assert_eq!(count(&world, agent), AGENTS, "seed {seed}");
            world.node(agent).unwrap().check_invariants();
            let stats = world.stats(agent);
            assert!(stats.certificates_taken <= AGENTS as u64, "nothing is verified twice");
            for reject in [Reject::BadCertificate, Reject::Misnamed, Reject::Denied] {
                assert_eq!(stats.rejected(reject), 0, "seed {seed}: {reject}");
            }
        }
        let sent = |world: &World| -> u64 {
            (0..AGENTS).map(|agent| world.stats(agent).certificates_sent).sum()
        };
        let before = sent(&world);
        world.run(Duration::from_secs(60), &mut Blind);
        assert!(sent(&world) - before < AGENTS as u64, "who is known is not introduced again");
    }
}

#[test]
fn whoever_has_no_certificate_that_holds_is_never_heard() {
    let odd = [
        (3, Odd::Uncertified),
        (7, Odd::Foreign),
        (9, Odd::OutsideZone),
        (14, Odd::Stolen),
        (16, Odd::Denied),
    ];
    let is_odd = |agent: usize| odd.iter().any(|(index, _)| *index == agent);
    for seed in 0..6 {
        let loss_ppm = [0, 100_000][usize::try_from(seed / 3).unwrap() % 2];
        let setup = {
            let mut setup = Setup::new(AGENTS, Config::lan(), seed);
            (setup.region_members, setup.zone_children) = (6, 2);
            setup
        };
        let denied = format!("spiffe://sim.example{}/n0000016", setup.region(16));
        let all = "spiffe://sim.example/**";
        let policy = Policy::new(vec![
            rule(Effect::Deny, &denied, &["join /**"]),
            rule(Effect::Allow, all, &["join /**", "publish **", "subscribe **", "write * in /**"]),
        ]);
        let mut world = world(seed, loss_ppm, &odd, Some(policy.unwrap()));
        let topic = world.topic("news");
        for agent in 0..AGENTS {
            world.tell_topic(agent, "news");
            world.subscribe(agent, topic, Start::Live);
        }
        world.run(Duration::from_secs(40), &mut Blind);
        let heard = talk(&mut world, topic);
        let good: Vec<_> = (0..AGENTS).filter(|agent| !is_odd(*agent)).collect();
        for receiver in &good {
            for sender in (0..AGENTS).filter(|sender| sender != receiver) {
                let hears = heard.0.contains(&(*receiver, sender));
                assert_eq!(hears, !is_odd(sender), "seed {seed}: {receiver} hears {sender}");
            }
            assert_eq!(count(&world, *receiver), good.len(), "seed {seed}: in the table");
            let node = world.node(*receiver).unwrap();
            node.check_invariants();
            let ids: Vec<_> =
                odd.iter().map(|(index, _)| world.node(*index).unwrap().id()).collect();
            let issued = node.table().held().filter(|row| ids.contains(&row.member())).count();
            assert_eq!(issued, 0, "seed {seed}: no row of theirs is held");
        }
        let rejected = |reject| good.iter().map(|agent| world.stats(*agent).rejected(reject)).sum();
        let counts: [u64; 3] =
            [Reject::Uncertified, Reject::BadCertificate, Reject::Denied].map(rejected);
        assert!(counts.iter().all(|count| *count > 0), "seed {seed}: each is counted: {counts:?}");
    }
}

#[test]
fn a_member_whose_certificate_ends_is_heard_until_then() {
    for seed in 0..3 {
        let mut world = world(seed, 50_000, &[(4, Odd::EndsAt(30))], None);
        let topic = world.topic("news");
        (0..AGENTS).for_each(|agent| world.subscribe(agent, topic, Start::Live));
        let (root, sql) = (ZonePath::root(), "SELECT COUNT(*) AS n FROM zone");
        world.run(Duration::from_secs(20), &mut Blind);
        world.set_summary(4, &root, "early", Some(sql)).unwrap();
        world.run(Duration::from_secs(10), &mut Blind);
        let heard = talk(&mut world, topic);
        assert!((0..AGENTS).all(|agent| agent == 4 || heard.0.contains(&(agent, 4))), "{seed}");
        // A minute for clocks that differ, and some rounds to notice that it is gone.
        world.run(Duration::from_secs(60), &mut Blind);
        let heard = talk(&mut world, topic);
        assert!(!heard.0.iter().any(|(_, sender)| *sender == 4), "{seed}");
        let others = (0..AGENTS).filter(|agent| *agent != 4);
        others.for_each(|agent| assert_eq!(count(&world, agent), AGENTS - 1, "{seed}: {agent}"));
        assert!(world.stats(0).rejected(Reject::Expired) > 0);
        // What it installed in its time stays, for newcomers, too; what it installs now does not.
        world.set_summary(4, &root, "late", Some(sql)).unwrap();
        world.crash(12);
        world.restart(12);
        world.run(Duration::from_secs(40), &mut Blind);
        for agent in (0..AGENTS).filter(|agent| *agent != 4) {
            let functions = world.node(agent).unwrap().table().functions(&root).unwrap();
            let has = |name: &str| functions.iter().any(|function| function.name == name);
            assert!(has("early") && !has("late"), "{seed}: {agent}");
        }
    }
}

#[test]
fn rules_hold_at_the_origin_and_at_every_hop() {
    for seed in 0..3 {
        let all = "spiffe://sim.example/**";
        let first = "spiffe://sim.example/*/*/n0000000";
        let liar = "spiffe://sim.example/*/*/n0000005";
        let everybody = ["join /**", "write load in /**", "publish news", "subscribe **"];
        let policy = Policy::new(vec![
            rule(Effect::Deny, liar, &["publish **", "write * in /**", "install * in /**"]),
            rule(Effect::Allow, first, &["install * in /**", "publish **"]),
            rule(Effect::Allow, all, &everybody),
        ]);
        // The liar's own rules let it do all.
        let mut world = world(seed, 50_000, &[(5, Odd::Denied)], Some(policy.unwrap()));
        let (news, other) = (world.topic("news"), world.topic("other"));
        for agent in 0..AGENTS {
            for (topic, text) in [(news, "news"), (other, "other")] {
                world.tell_topic(agent, text);
                world.subscribe(agent, topic, Start::Live);
            }
        }
        world.run(Duration::from_secs(40), &mut Blind);
        let denied = world.publish(1, other, Bytes::from_static(b"x"), &mut Blind);
        assert!(matches!(denied, Err(PublishError::Denied(denied)) if denied.rule.is_none()));
        let heard = talk(&mut world, news);
        for receiver in (0..AGENTS).filter(|agent| *agent != 5) {
            for sender in (0..AGENTS).filter(|sender| *sender != receiver) {
                let hears = heard.0.contains(&(receiver, sender));
                assert_eq!(hears, sender != 5, "seed {seed}: {receiver} hears {sender}");
            }
        }
        let (root, sql) = (ZonePath::root(), Some("SELECT MAX(load) AS load FROM zone"));
        let set = world.set_attribute(1, "color", Value::Int(1));
        assert!(matches!(set, Err(SetError::Denied(_))), "{set:?}");
        let installed = world.set_summary(1, &root, "load", sql);
        assert!(matches!(installed, Err(SetError::Denied(_))), "{installed:?}");
        world.set_summary(5, &root, "forged", sql).unwrap();
        world.set_summary(0, &root, "load", sql).unwrap();
        world.set_attribute(1, "load", Value::Int(7)).unwrap();
        world.run(Duration::from_secs(30), &mut Blind);
        for agent in (0..AGENTS).filter(|agent| *agent != 5) {
            let table = world.node(agent).unwrap().table();
            let functions = table.functions(&root).unwrap();
            let has = |name: &str| functions.iter().any(|function| function.name == name);
            assert!(has("load") && !has("forged"), "seed {seed}: {agent}");
            let load = table.summary(&root).unwrap().attributes.get("load").cloned();
            assert_eq!(load, Some(Value::Int(7)), "seed {seed}: {agent}");
        }
    }
}

/// What was heard, by topic.
#[derive(Default)]
struct Topics(BTreeSet<TopicId>);

impl Observer for Topics {
    fn event(&mut self, _: Instant, _: usize, _: u64, event: &Event) {
        if let Event::Message(message) = event {
            self.0.insert(message.stream.topic);
        }
    }
}

#[test]
fn a_pattern_brings_no_topic_that_the_rules_deny() {
    for seed in 0..4 {
        let all = "spiffe://sim.example/**";
        let policy = Policy::new(vec![
            rule(Effect::Deny, all, &["subscribe secret/**"]),
            rule(Effect::Allow, all, &["join /**", "write * in /**", "publish **", "subscribe **"]),
        ]);
        let mut world = world(seed, 50_000, &[], Some(policy.unwrap()));
        let everything = Pattern::new("#").unwrap();
        world.subscribe_pattern(7, &everything, Start::Buffered, Rating::ALL).unwrap();
        world.run(Duration::from_secs(40), &mut Blind);
        let mut heard = Topics::default();
        let [news, secret] = ["news/a", "secret/a"].map(|text| world.name_topic(16, text));
        for _ in 0..20 {
            for topic in [news, news.for_all(), secret, secret.for_all()] {
                world.publish(16, topic, "text", &mut heard).unwrap();
            }
            world.run(Duration::from_secs(1), &mut heard);
        }
        assert_eq!(heard.0, BTreeSet::from([news, news.for_all()]), "seed {seed}");
    }
}

/// The agents whose rows one is shown of another region, and whether that is all.
fn shown(world: &mut World, asker: usize, of: usize) -> (Vec<String>, bool) {
    let zone = world.setup().region(of);
    let question = Question { zone, sql: None, within: Duration::from_secs(8) };
    let id = world.ask(asker, &question).unwrap();
    world.run(Duration::from_secs(9), &mut Blind);
    let answer = world.take_answer(asker, id).unwrap();
    let Outcome::Zone(excerpt) = answer.outcome else { panic!("{:?}", answer.outcome) };
    let agents = excerpt.rows.iter().filter(|aged| aged.row.kind() == Kind::Agent);
    (agents.map(|aged| aged.row.name().into()).collect(), answer.reach.is_whole())
}

#[test]
fn rows_of_strangers_are_shown_by_certificates_that_come_with_them() {
    for seed in 0..4 {
        let bad = "spiffe://sim.example/*/*/n0000016";
        let all = "spiffe://sim.example/**";
        let actions = ["join /**", "write * in /**", "publish **", "subscribe **"];
        let policy = Policy::new(vec![
            rule(Effect::Deny, bad, &["write load in /**"]),
            rule(Effect::Allow, all, &actions),
        ]);
        // A whole region that goes by no rules: there everybody's row is held.
        let odd: Vec<_> = (12..AGENTS).map(|agent| (agent, Odd::Denied)).collect();
        let mut world = world(seed, [0, 50_000][seed as usize % 2], &odd, Some(policy.unwrap()));
        world.run(Duration::from_secs(40), &mut Blind);
        let (names, is_whole) = shown(&mut world, 0, 17);
        assert_eq!((names.len(), is_whole), (6, true), "seed {seed}: {names:?}");
        for agent in 12..AGENTS {
            world.set_attribute(agent, "load", Value::Int(1)).unwrap();
        }
        world.run(Duration::from_secs(10), &mut Blind);
        assert_eq!(shown(&mut world, 14, 17).0.len(), 6, "seed {seed}: it is held there");
        let (names, is_whole) = shown(&mut world, 0, 17);
        assert_eq!((names.len(), is_whole), (5, false), "seed {seed}: {names:?}");
        assert!(!names.iter().any(|name| name == "n0000016"), "seed {seed}: {names:?}");
    }
}
