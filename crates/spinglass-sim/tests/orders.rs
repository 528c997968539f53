//! Orders: new link keys while traffic flows, revocations, quarantines.

#![expect(clippy::unwrap_used, reason = "whatever fails here fails the test")]

use std::collections::BTreeMap;
use std::time::Duration;

use bytes::Bytes;
use spinglass_core::orders::{NewOrder, OrderError};
use spinglass_core::rules::{ActionPattern, Effect, NamePattern, Policy, Rule};
use spinglass_core::table::{Kind, ZonePath};
use spinglass_core::{Config, Dissemination, Event, Instant, Reject, Start, TopicId};
use spinglass_sim::papers::{Odd, Papers};
use spinglass_sim::{Blind, Network, Observer, Setup, World};

const AGENTS: usize = 18;
const ALL: &str = "spiffe://sim.example/**";
const EVERYTHING: &[&str] = &[
    "join /**",
    "write * in /**",
    "publish **",
    "subscribe **",
    "install * in /**",
    "rotate",
    "respond",
];

fn rule(effect: Effect, who: &str, what: &[&str]) -> Rule {
    Rule {
        effect,
        who: vec![NamePattern::parse(who).unwrap()],
        what: what.iter().map(|what| ActionPattern::parse(what).unwrap()).collect(),
    }
}

fn setup(seed: u64) -> Setup {
    let mut setup = Setup::new(AGENTS, Config::lan(), seed);
    (setup.region_members, setup.zone_children) = (6, 2);
    setup.papers = Some(Papers::default());
    if seed % 2 == 1 {
        // Then everybody gets every datagram, whoever it is meant for.
        setup.config.multicast.dissemination = Dissemination::Multicast;
    }
    setup
}

fn world(seed: u64, loss_ppm: u32) -> World {
    World::new(setup(seed), Network { loss_ppm, ..Network::default() })
}

/// One in which everybody has met and subscribed.
fn listening(seed: u64, loss_ppm: u32) -> (World, TopicId) {
    let mut world = world(seed, loss_ppm);
    let topic = world.topic("news");
    (0..AGENTS).for_each(|agent| world.subscribe(agent, topic, Start::Live));
    world.run(Duration::from_secs(20), &mut Blind);
    (world, topic)
}

/// What came: messages by receiver and sender, and gaps by receiver.
#[derive(Default)]
struct Heard {
    messages: BTreeMap<(usize, u8), u64>,
    gaps: BTreeMap<usize, u64>,
}

impl Observer for Heard {
    fn event(&mut self, _: Instant, member: usize, _: u64, event: &Event) {
        match event {
            Event::Message(message) => {
                *self.messages.entry((member, message.payload[0])).or_default() += 1;
            }
            Event::Gap(gap) => *self.gaps.entry(member).or_default() += gap.packets,
            _ => (),
        }
    }
}

impl Heard {
    fn count(&self, receiver: usize, sender: usize) -> u64 {
        let sender = u8::try_from(sender).unwrap();
        self.messages.get(&(receiver, sender)).copied().unwrap_or(0)
    }
}

/// Some publish, ten times a second.
fn talk(world: &mut World, topic: TopicId, senders: &[usize], seconds: u64, heard: &mut Heard) {
    for _ in 0..seconds * 10 {
        for sender in senders {
            let payload = Bytes::from(vec![u8::try_from(*sender).unwrap(); 100]);
            world.publish(*sender, topic, payload, heard).unwrap();
        }
        world.run(Duration::from_millis(100), heard);
    }
}

fn epochs(world: &World) -> Vec<u32> {
    (0..world.len()).filter_map(|agent| Some(world.node(agent)?.epoch())).collect()
}

#[test]
fn the_key_rotates_while_traffic_flows() {
    for seed in 0..6 {
        let (mut world, topic) = listening(seed, [0, 100_000][usize::try_from(seed % 2).unwrap()]);
        let mut heard = Heard::default();
        let senders = [0, 7, 13];
        talk(&mut world, topic, &senders, 3, &mut heard);
        for epoch in 1..=3 {
            world.give_order(epoch as usize, NewOrder::Rotate, &mut heard).unwrap();
            talk(&mut world, topic, &senders, 10, &mut heard);
            assert_eq!(epochs(&world), vec![epoch; AGENTS], "seed {seed}");
        }
        talk(&mut world, topic, &senders, 1, &mut heard);
        world.run(Duration::from_secs(10), &mut heard);
        assert_eq!(heard.gaps, BTreeMap::new(), "seed {seed}");
        for receiver in 0..AGENTS {
            for sender in senders.into_iter().filter(|sender| *sender != receiver) {
                assert_eq!(heard.count(receiver, sender), 340, "seed {seed}: {receiver} {sender}");
            }
            world.node(receiver).unwrap().check_invariants();
        }
    }
}

/// Whether a member's row, or anything else that it issued, is held by somebody else.
fn is_held(world: &World, agent: usize) -> bool {
    let id = world.node(agent).unwrap().id();
    let others = (0..AGENTS).filter(|other| *other != agent);
    let tables = others.filter_map(|other| Some(world.node(other)?.table()));
    tables.into_iter().any(|table| table.held().any(|row| row.member() == id))
}

#[test]
fn whoever_is_revoked_is_heard_no_longer_and_reads_nothing_after_the_next_rotation() {
    for seed in 0..6 {
        let (mut world, topic) = listening(seed, [0, 100_000][usize::try_from(seed % 2).unwrap()]);
        let mut heard = Heard::default();
        talk(&mut world, topic, &[0, 4], 3, &mut heard);
        world.run(Duration::from_secs(3), &mut heard);
        assert!((0..AGENTS).all(|agent| agent == 4 || heard.count(agent, 4) == 30), "{seed}");
        let list = world.revocations(&[4]);
        world.give_order(0, NewOrder::Revoke(list), &mut heard).unwrap();
        // The order is everywhere within some seconds.
        world.run(Duration::from_secs(5), &mut heard);
        assert!(!is_held(&world, 4), "seed {seed}: its row is gone");
        world.give_order(0, NewOrder::Rotate, &mut heard).unwrap();
        talk(&mut world, topic, &[0, 4], 5, &mut heard);
        let mut late = Heard::default();
        talk(&mut world, topic, &[0, 4], 10, &mut late);
        world.run(Duration::from_secs(5), &mut late);
        for agent in (0..AGENTS).filter(|agent| *agent != 4) {
            assert_eq!(heard.count(agent, 4), 30, "seed {seed}: {agent} hears it no longer");
            assert_eq!(late.count(agent, 4), 0, "seed {seed}: {agent}");
            assert!(agent == 0 || late.count(agent, 0) == 100, "seed {seed}: {agent}");
            assert_eq!(world.node(agent).unwrap().epoch(), 1, "seed {seed}: {agent}");
        }
        assert_eq!(late.count(4, 0), 0, "seed {seed}: it reads nothing");
        assert_eq!(world.node(4).unwrap().epoch(), 0, "seed {seed}: nobody gave it the key");
        assert!(!is_held(&world, 4), "seed {seed}: its row does not come back");
    }
}

#[test]
fn a_quarantine_holds_until_it_is_lifted_or_lapses() {
    for seed in 0..4 {
        let (mut world, topic) = listening(seed, 50_000);
        let who = || NamePattern::parse("spiffe://sim.example/*/*/n0000004").unwrap();
        let lasts = (seed % 2 == 1).then_some(Duration::from_secs(20));
        let order = NewOrder::Quarantine { who: who(), lasts };
        world.give_order(9, order, &mut Blind).unwrap();
        world.run(Duration::from_secs(5), &mut Blind);
        assert!(!is_held(&world, 4), "seed {seed}");
        let mut heard = Heard::default();
        talk(&mut world, topic, &[4], 5, &mut heard);
        assert_eq!(heard.messages, BTreeMap::new(), "seed {seed}");
        if lasts.is_none() {
            world.give_order(9, NewOrder::Release(who()), &mut Blind).unwrap();
        }
        world.run(Duration::from_secs(40), &mut Blind);
        talk(&mut world, topic, &[4], 5, &mut heard);
        world.run(Duration::from_secs(5), &mut heard);
        let all = (0..AGENTS).filter(|agent| *agent != 4);
        all.for_each(|agent| assert_eq!(heard.count(agent, 4), 50, "seed {seed}: {agent}"));
        assert_eq!(
            world.give_order(9, NewOrder::Release(who()), &mut Blind).is_ok(),
            lasts.is_some(),
            "what was lifted is lifted once"
        );
    }
}

#[test]
fn orders_count_only_from_those_who_may_give_them() {
    for seed in 0..4 {
        let policy = Policy::new(vec![
            rule(Effect::Deny, "spiffe://sim.example/*/*/n0000005", &["rotate", "respond"]),
            rule(Effect::Allow, "spiffe://sim.example/*/*/n0000000", &["rotate", "respond"]),
            rule(Effect::Allow, ALL, &["join /**", "publish **", "subscribe **"]),
        ]);
        let mut setup = setup(seed);
        // Its own rules let it do everything, and so does its faith in all certificates.
        let odd = BTreeMap::from([(5, Odd::Denied)]);
        setup.papers = Some(Papers { policy: Some(policy.unwrap()), odd, ..Papers::default() });
        let mut world = World::new(setup, Network::default());
        world.run(Duration::from_secs(20), &mut Blind);
        let denied = world.give_order(1, NewOrder::Rotate, &mut Blind);
        assert!(matches!(denied, Err(OrderError::Denied(_))), "seed {seed}: {denied:?}");
        world.give_order(5, NewOrder::Rotate, &mut Blind).unwrap();
        let who = NamePattern::parse("spiffe://sim.example/**").unwrap();
        world.give_order(5, NewOrder::Quarantine { who, lasts: None }, &mut Blind).unwrap();
        world.run(Duration::from_secs(10), &mut Blind);
        for agent in (0..AGENTS).filter(|agent| *agent != 5) {
            let node = world.node(agent).unwrap();
            assert_eq!((node.epoch(), node.table().orders().count()), (0, 0), "seed {seed}");
        }
        world.give_order(0, NewOrder::Rotate, &mut Blind).unwrap();
        world.run(Duration::from_secs(10), &mut Blind);
        let others = (0..AGENTS).filter(|agent| *agent != 5);
        others.for_each(|agent| assert_eq!(world.node(agent).unwrap().epoch(), 1, "seed {seed}"));
    }
}

/// The rules that members begin with: everything is allowed, but only agent 0 may give others.
fn one_governs() -> Policy {
    let zero = "spiffe://sim.example/*/*/n0000000";
    Policy::new(vec![rule(Effect::Allow, zero, &["govern"]), rule(Effect::Allow, ALL, EVERYTHING)])
        .unwrap()
}

/// Everything is allowed, but agent 4 may say nothing of news and agent 0 may not give rules;
/// so long, perhaps, that they have no room in an order.
fn against_four(are_long: bool) -> Policy {
    let four = "spiffe://sim.example/*/*/n0000004";
    let zero = "spiffe://sim.example/*/*/n0000000";
    let mut rules = vec![
        rule(Effect::Deny, four, &["publish news"]),
        rule(Effect::Deny, zero, &["govern", "rotate"]),
    ];
    let doors: Vec<String> =
        (0..if are_long { 60 } else { 0 }).map(|n| format!("door d{n}")).collect();
    rules.extend(doors.iter().map(|door| rule(Effect::Deny, four, &[door])));
    rules.push(rule(Effect::Allow, ALL, EVERYTHING));
    Policy::new(rules).unwrap()
}

/// Everybody subscribes to news, and knows what the topic is called.
fn news(world: &mut World) -> TopicId {
    let topic = world.topic("news");
    for agent in 0..AGENTS {
        assert_eq!(world.tell_topic(agent, "news"), Some(topic));
        world.subscribe(agent, topic, Start::Live);
    }
    topic
}

#[test]
fn rules_that_came_by_order_hold_everywhere_until_they_are_lifted() {
    for seed in 0..4 {
        let mut setup = setup(seed);
        setup.papers = Some(Papers { policy: Some(one_governs()), ..Papers::default() });
        let mut world = World::new(setup, Network { loss_ppm: 50_000, ..Network::default() });
        let topic = news(&mut world);
        world.run(Duration::from_secs(20), &mut Blind);
        let order = || NewOrder::Rules(Some(against_four(seed >= 2)));
        let denied = world.give_order(5, order(), &mut Blind);
        assert!(matches!(denied, Err(OrderError::Denied(_))), "seed {seed}: {denied:?}");
        world.give_order(0, order(), &mut Blind).unwrap();
        world.run(Duration::from_secs(10), &mut Blind);
        assert!(world.publish(4, topic, Bytes::from_static(b"news"), &mut Blind).is_err());
        let denied = world.give_order(0, NewOrder::Rotate, &mut Blind);
        assert!(matches!(denied, Err(OrderError::Denied(_))), "seed {seed}: {denied:?}");
        // Whoever begins anew hears of them, too.
        world.crash(4);
        world.run(Duration::from_secs(20), &mut Blind);
        world.restart(4);
        assert_eq!(world.tell_topic(4, "news"), Some(topic));
        world.subscribe(4, topic, Start::Live);
        world.run(Duration::from_secs(30), &mut Blind);
        assert!(world.publish(4, topic, Bytes::from_static(b"news"), &mut Blind).is_err());
        // They say that it may not, but they don't decide about themselves.
        world.give_order(0, NewOrder::Rules(None), &mut Blind).unwrap();
        world.run(Duration::from_secs(10), &mut Blind);
        let mut heard = Heard::default();
        talk(&mut world, topic, &[4], 5, &mut heard);
        world.run(Duration::from_secs(5), &mut heard);
        let all = (0..AGENTS).filter(|agent| *agent != 4);
        all.for_each(|agent| assert_eq!(heard.count(agent, 4), 50, "seed {seed}: {agent}"));
    }
}

#[test]
fn whoever_does_not_heed_rules_that_came_by_order_is_not_heard() {
    for seed in 0..4 {
        let mut setup = setup(seed);
        // Its own rules let it do everything, and it takes no order in.
        let odd = BTreeMap::from([(4, Odd::Denied)]);
        let papers = Papers { policy: Some(one_governs()), odd, ..Papers::default() };
        setup.papers = Some(papers);
        let mut world = World::new(setup, Network::default());
        let topic = news(&mut world);
        world.run(Duration::from_secs(20), &mut Blind);
        let mut heard = Heard::default();
        talk(&mut world, topic, &[4], 2, &mut heard);
        world.run(Duration::from_secs(5), &mut heard);
        assert_eq!(heard.count(0, 4), 20, "seed {seed}");
        let rules = NewOrder::Rules(Some(against_four(false)));
        world.give_order(0, rules, &mut Blind).unwrap();
        world.run(Duration::from_secs(10), &mut Blind);
        let mut heard = Heard::default();
        talk(&mut world, topic, &[4], 2, &mut heard);
        world.run(Duration::from_secs(5), &mut heard);
        assert_eq!(heard.messages, BTreeMap::new(), "seed {seed}");
    }
}

#[test]
fn rules_by_order_need_rules_that_say_who_may_give_them() {
    let (mut world, _) = listening(0, 0);
    let given = world.give_order(0, NewOrder::Rules(Some(one_governs())), &mut Blind);
    assert_eq!(given, Err(OrderError::NoRules));
}

/// Rows that an agent holds of before a moment, orders aside, and functions.
fn held_of_before(world: &World, agent: usize, ms: u64) -> usize {
    let held = world.node(agent).unwrap().table().held();
    held.filter(|row| row.kind() != Kind::Order && row.issued_ms() <= ms).count()
}

fn functions(world: &World, agent: usize) -> usize {
    let table = world.node(agent).unwrap().table();
    table.functions(&ZonePath::root()).unwrap().iter().filter(|held| held.name == "odd").count()
}

#[test]
fn what_was_signed_before_a_clearing_is_gone_and_does_not_come_back() {
    for seed in 0..6 {
        let (mut world, _) = listening(seed, [0, 100_000][usize::try_from(seed % 2).unwrap()]);
        let odd = "SELECT MAX(odd) AS odd FROM zone";
        let install = |world: &mut World, agent| {
            world.set_summary(agent, &ZonePath::root(), "odd", Some(odd)).unwrap();
            world.run(Duration::from_secs(20), &mut Blind);
        };
        install(&mut world, 3);
        assert!((0..AGENTS).all(|agent| functions(&world, agent) == 1), "seed {seed}");
        // One is away while it happens, and another one's clock is behind.
        world.block(9, Duration::from_secs(15));
        world.set_clock(7, -20_000);
        world.give_order(1, NewOrder::Clear, &mut Blind).unwrap();
        let node = world.node(1).unwrap();
        let given = node.table().orders().next().unwrap().issued_ms();
        for second in 0..60 {
            world.run(Duration::from_secs(1), &mut Blind);
            // Nobody is lost over it.
            for agent in (0..AGENTS).filter(|agent| *agent != 9) {
                let members = world.node(agent).unwrap().member_count();
                assert!(members >= AGENTS - 1, "seed {seed}, {second} s: {members} at {agent}");
            }
        }
        for agent in 0..AGENTS {
            assert_eq!(held_of_before(&world, agent, given), 0, "seed {seed}: {agent}");
            assert_eq!(functions(&world, agent), 0, "seed {seed}: {agent}");
            assert_eq!(world.node(agent).unwrap().member_count(), AGENTS, "seed {seed}: {agent}");
        }
        install(&mut world, 7);
        assert!((0..AGENTS).all(|agent| functions(&world, agent) == 1), "seed {seed}");
    }
}

#[test]
fn whoever_was_away_over_rotations_comes_back_by_its_certificate_alone() {
    for seed in 0..6 {
        let (mut world, topic) = listening(seed, 100_000);
        // One hears and says nothing for a while, another one forgets everything.
        world.block(4, Duration::from_secs(45));
        world.crash(11);
        let mut heard = Heard::default();
        for rotator in [0, 8, 17] {
            world.give_order(rotator, NewOrder::Rotate, &mut heard).unwrap();
            talk(&mut world, topic, &[0], 15, &mut heard);
        }
        world.restart(11);
        world.subscribe(11, topic, Start::Live);
        // Whoever was silent that long comes back only after as long a time again.
        world.run(Duration::from_secs(90), &mut Blind);
        assert_eq!(epochs(&world), vec![3; AGENTS], "seed {seed}");
        let mut heard = Heard::default();
        talk(&mut world, topic, &[0, 4, 11], 5, &mut heard);
        world.run(Duration::from_secs(5), &mut heard);
        for receiver in 0..AGENTS {
            for sender in [0, 4, 11].into_iter().filter(|sender| *sender != receiver) {
                assert_eq!(heard.count(receiver, sender), 50, "seed {seed}: {receiver} {sender}");
            }
            assert_eq!(world.node(receiver).unwrap().member_count(), AGENTS, "seed {seed}");
        }
    }
}

#[test]
fn members_without_any_key_find_one() {
    for seed in 0..6 {
        let mut setup = setup(seed);
        setup.acquainted = false;
        setup.papers = Some(Papers { keyless: true, ..Papers::default() });
        let loss_ppm = [0, 100_000][usize::try_from(seed / 3).unwrap()];
        let mut world = World::new(setup, Network { loss_ppm, ..Network::default() });
        world.run(Duration::from_secs(60), &mut Blind);
        let counts: Vec<_> =
            (0..AGENTS).map(|agent| world.node(agent).unwrap().member_count()).collect();
        assert_eq!(counts, vec![AGENTS; AGENTS], "seed {seed}");
        world.crash(6);
        world.run(Duration::from_secs(30), &mut Blind);
        world.restart(6);
        world.run(Duration::from_secs(30), &mut Blind);
        let all = (0..AGENTS).map(|agent| world.node(agent).unwrap().member_count());
        assert_eq!(all.collect::<Vec<_>>(), vec![AGENTS; AGENTS], "seed {seed}");
    }
}

/// Nor need anybody have the right to give one: those who were alone take the one that is shared.
#[test]
fn members_without_any_key_or_right_find_one() {
    for seed in 0..24 {
        let mut setup = Setup::new(32, Config::lan(), seed);
        setup.acquainted = false;
        setup.papers =
            Some(Papers { keyless: true, policy: Some(no_rotation()), ..Papers::default() });
        let mut world = World::new(setup, Network { loss_ppm: 50_000, ..Network::default() });
        // Half of them are alone with keys that they drew.
        world.network.parts = (0..32).map(|agent| u8::from(agent % 2 == 1)).collect();
        world.run(Duration::from_secs(5), &mut Blind);
        world.network.parts.clear();
        world.run(Duration::from_secs(30), &mut Blind);
        let counts = (0..32).map(|agent| world.node(agent).unwrap().member_count());
        assert_eq!(counts.collect::<Vec<_>>(), vec![32; 32], "seed {seed}");
    }
}

/// Everything is allowed but giving the group a key.
fn no_rotation() -> Policy {
    let who = vec![NamePattern::parse("spiffe://sim.example/**").unwrap()];
    let allowed = ["join /**", "write * in /**", "publish **", "subscribe **", "install * in /**"];
    let what = allowed.map(|action| ActionPattern::parse(action).unwrap()).to_vec();
    Policy::new(vec![Rule { effect: Effect::Allow, who, what }]).unwrap()
}

#[test]
fn halves_that_moved_on_to_keys_of_their_own_become_one_again() {
    for seed in 0..6 {
        let mut world = world(seed, 20_000);
        world.run(Duration::from_secs(20), &mut Blind);
        // Whole zones on either side, or a region torn in two.
        let cut = [12, 8][usize::try_from(seed / 3).unwrap()];
        world.network.parts = (0..AGENTS).map(|agent| u8::from(agent >= cut)).collect();
        world.run(Duration::from_secs(5), &mut Blind);
        world.give_order(0, NewOrder::Rotate, &mut Blind).unwrap();
        world.give_order(17, NewOrder::Rotate, &mut Blind).unwrap();
        world.run(Duration::from_secs(15), &mut Blind);
        if seed % 2 == 0 {
            world.give_order(1, NewOrder::Rotate, &mut Blind).unwrap();
        }
        world.run(Duration::from_secs(40), &mut Blind);
        world.network.parts.clear();
        let mut seconds = 0;
        let whole = |world: &World| {
            let counts = (0..AGENTS).map(|agent| world.node(agent).unwrap().member_count());
            counts.into_iter().all(|count| count == AGENTS)
        };
        while !whole(&world) {
            assert!(seconds < 120, "seed {seed}: {:?}", epochs(&world));
            world.run(Duration::from_secs(1), &mut Blind);
            seconds += 1;
        }
        world.run(Duration::from_secs(10), &mut Blind);
        let epoch = if seed % 2 == 0 { 2 } else { 1 };
        assert_eq!(epochs(&world), vec![epoch; AGENTS], "seed {seed}");
        world.give_order(9, NewOrder::Rotate, &mut Blind).unwrap();
        world.run(Duration::from_secs(10), &mut Blind);
        assert_eq!(epochs(&world), vec![epoch + 1; AGENTS], "seed {seed}");
    }
}

#[test]
fn a_certificate_is_renewed_before_it_ends() {
    for seed in 0..3 {
        let mut setup = setup(seed);
        let odd = BTreeMap::from([(4, Odd::EndsAt(60))]);
        setup.papers = Some(Papers { odd, ..Papers::default() });
        let mut world = World::new(setup, Network { loss_ppm: 50_000, ..Network::default() });
        let topic = world.topic("news");
        (0..AGENTS).for_each(|agent| world.subscribe(agent, topic, Start::Live));
        world.run(Duration::from_secs(30), &mut Blind);
        world.renew(4, 3600, &mut Blind).unwrap();
        let mut heard = Heard::default();
        talk(&mut world, topic, &[4], 120, &mut heard);
        world.run(Duration::from_secs(10), &mut heard);
        for agent in (0..AGENTS).filter(|agent| *agent != 4) {
            assert_eq!(heard.count(agent, 4), 1200, "seed {seed}: {agent}");
            assert_eq!(world.stats(agent).rejected(Reject::Expired), 0, "seed {seed}: {agent}");
        }
    }
}

#[test]
fn a_key_that_nobody_was_given_is_overtaken_by_the_next() {
    for seed in 0..4 {
        let mut world = world(seed, 50_000);
        world.run(Duration::from_secs(20), &mut Blind);
        world.give_order(0, NewOrder::Rotate, &mut Blind).unwrap();
        let again = world.give_order(0, NewOrder::Rotate, &mut Blind);
        assert_eq!(again, Err(OrderError::UnderWay), "seed {seed}");
        // The order is on its way, and its key dies with whoever drew it.
        world.crash(0);
        world.run(Duration::from_secs(5), &mut Blind);
        assert!(epochs(&world).iter().all(|epoch| *epoch == 0), "seed {seed}");
        world.give_order(7, NewOrder::Rotate, &mut Blind).unwrap();
        world.run(Duration::from_secs(10), &mut Blind);
        assert_eq!(epochs(&world), vec![2; AGENTS - 1], "seed {seed}");
    }
}
