//! The opponents, against what their sources say of them.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use spinglass_lab::opponents::srm::{Srm, Timers};
use spinglass_lab::opponents::virtual_synchrony::{Settings, VirtualSynchrony};
use spinglass_lab::stage::{Audience, Costs, Nobody, Stage, Wires};
use spinglass_sim::{Link, Topology};

const MS: fn(u64) -> Duration = Duration::from_millis;

/// What each member's application heard, in order.
#[derive(Default)]
struct Heard(BTreeMap<usize, Vec<u64>>);

impl Audience for Heard {
    fn delivered(&mut self, _: u64, member: usize, _: usize, sequence: u64) {
        self.0.entry(member).or_default().push(sequence);
    }
}

fn flat(loss_ppm: u32) -> Wires {
    Wires::Flat { least: Duration::from_micros(50), most: Duration::from_micros(250), loss_ppm }
}

fn virtually_synchronous(members: usize, settings: Settings, seed: u64) -> Stage<VirtualSynchrony> {
    let member = |own| VirtualSynchrony::new(own, members, settings);
    Stage::new((0..members).map(member).collect(), flat(0), Costs::default(), seed)
}

/// Publishes so many messages of 7 KB, 200 a second; returns how many were taken.
fn stream(stage: &mut Stage<VirtualSynchrony>, count: u64, heard: &mut impl Audience) -> u64 {
    let mut taken = 0;
    for _ in 0..count {
        taken += u64::from(stage.publish(0, 7_168, heard));
        stage.run(MS(5), heard);
    }
    taken
}

#[test]
fn a_group_delivers_everything_in_order_through_loss() {
    for seed in 0..5 {
        let mut stage = virtually_synchronous(16, Settings::ensemble(), seed);
        stage.rewire(flat(50_000));
        let mut heard = Heard::default();
        let taken = stream(&mut stage, 600, &mut heard);
        stage.run(MS(5_000), &mut heard);
        assert!(taken > 150, "{taken}");
        assert_eq!(heard.0.len(), 15);
        assert!(heard.0.values().all(|it| it.iter().copied().eq(0..taken)), "seed {seed}");
        assert_eq!(stage.member(3).views(), 0, "who loses a little is not suspected");
    }
}

#[test]
fn a_sender_waits_for_whoever_has_not_acknowledged() {
    let mut stage = virtually_synchronous(8, Settings::ensemble(), 1);
    stage.set_sleep(3, 1_000_000);
    let mut heard = Heard::default();
    stream(&mut stage, 400, &mut heard);
    let window = Settings::ensemble().window_bytes / (7_168 + Settings::ensemble().overhead_bytes);
    assert_eq!(heard.0[&5].len(), window, "no more than the window, though all others are there");
    assert!(stage.member(0).buffered() >= window);
}

#[test]
fn who_is_silent_is_left_out_and_comes_back() {
    for seed in 0..5 {
        let mut stage = virtually_synchronous(8, Settings::ensemble(), seed);
        let mut heard = Heard::default();
        stream(&mut stage, 100, &mut heard);
        stage.set_sleep(3, 1_000_000);
        stream(&mut stage, 200 * 20, &mut heard);
        assert!(!stage.member(5).view().members.contains(&3), "after 15 s of silence");
        let before = heard.0[&5].len();
        stream(&mut stage, 200, &mut heard);
        assert!(heard.0[&5].len() >= before + 195, "the others go on");
        stage.set_sleep(3, 0);
        stream(&mut stage, 600, &mut heard);
        for member in 0..8 {
            assert_eq!(stage.member(member).view().members.len(), 8, "seed {seed}: {member}");
        }
        stage.run(MS(3_000), &mut heard);
        let all: Vec<u64> = (0..heard.0[&5].last().copied().unwrap_or(0) + 1).collect();
        for member in [1, 2, 4, 5, 6, 7] {
            assert_eq!(heard.0[&member], all, "seed {seed}: all who stayed have all of it");
        }
        assert!(heard.0[&3].windows(2).all(|pair| pair[0] < pair[1]), "in order, with a gap");
    }
}

#[test]
fn hasty_suspicion_brings_views_that_others_pay_for() {
    let views = |suspect_after, ping_every| {
        let settings = Settings { suspect_after, ping_every, ..Settings::ensemble() };
        let mut stage = virtually_synchronous(16, settings, 2);
        (1..16).for_each(|member| stage.set_sleep(member, 50_000));
        let mut heard = Heard::default();
        let taken = stream(&mut stage, 200 * 30, &mut heard);
        (stage.member(0).views(), taken)
    };
    let (patient, much) = views(15, MS(1_000));
    let (hasty, little) = views(2, MS(50));
    assert_eq!(patient, 0);
    assert!(hasty > 20 && little < much, "{hasty} views; {little} of {much} messages taken");
}

fn srm(members: usize, timers: Timers, loss_ppm: u32, seed: u64) -> (Stage<Srm>, Arc<Topology>) {
    let tree = Arc::new(Topology::tree(members, 4, Link { delay: MS(10), loss_ppm }));
    let member = |own| Srm::new(own, members, Arc::clone(&tree), timers);
    let wires = Wires::Tree(Arc::clone(&tree));
    let stage = Stage::new((0..members).map(member).collect(), wires, Costs::default(), seed);
    (stage, tree)
}

/// Publishes so many messages of 210 bytes, 100 a second.
fn send(stage: &mut Stage<Srm>, count: u64, heard: &mut impl Audience) {
    for _ in 0..count {
        stage.publish(0, 210, heard);
        stage.run(MS(10), heard);
    }
}

#[test]
fn srm_repairs_everything_by_multicast() {
    for timers in [Timers::Plain, Timers::Adaptive] {
        for seed in 0..3 {
            let (mut stage, _) = srm(30, timers, 5_000, seed);
            let mut heard = Heard::default();
            send(&mut stage, 1_000, &mut heard);
            stage.run(MS(60_000), &mut heard);
            assert!((1..30).all(|member| stage.member(member).delivered() == 1_000), "{timers:?}");
            assert!(heard.0.values().all(|it| it.iter().copied().eq(0..1_000)));
            assert!(stage.heard(7).requests > 0 && stage.heard(7).repairs > 0);
        }
    }
}

#[test]
fn srm_is_silent_where_nothing_is_lost() {
    let (mut stage, tree) = srm(30, Timers::Plain, 0, 1);
    send(&mut stage, 500, &mut Nobody);
    stage.run(tree.delay(0, 1), &mut Nobody);
    let counts = stage.heard(9);
    assert_eq!((counts.data, counts.requests, counts.repairs), (500, 0, 0));
    // A session message a second of each of the others.
    assert!((100..200).contains(&counts.control), "{}", counts.control);
}

#[test]
fn one_loss_near_the_source_is_asked_for_by_some_and_answered_by_few() {
    // All lose the same packet, and are as far from the source: those ask that have not heard
    // another ask by then, which takes as long as their timers differ (ToN 1997, section 4).

    let (mut stage, _) = srm(82, Timers::Plain, 0, 4);
    send(&mut stage, 100, &mut Nobody);
    stage.run(MS(1_000), &mut Nobody);
    let link = Link { delay: MS(10), loss_ppm: 1_000_000 };
    stage.rewire(Wires::Tree(Arc::new(Topology::tree(82, 4, link))));
    stage.publish(0, 210, &mut Nobody);
    let link = Link { loss_ppm: 0, ..link };
    stage.rewire(Wires::Tree(Arc::new(Topology::tree(82, 4, link))));
    stage.publish(0, 210, &mut Nobody);
    stage.run(MS(5_000), &mut Nobody);
    let total = |get: fn(&spinglass_lab::stage::Counts) -> u64| {
        (0..82).map(|member| get(&stage.sent(member))).sum::<u64>()
    };
    let (requests, repairs) = (total(|it| it.requests), total(|it| it.repairs));
    assert!((2..=50).contains(&requests) && (1..=4).contains(&repairs), "{requests}, {repairs}");
    assert!((1..82).all(|member| stage.member(member).delivered() == 102));
}
