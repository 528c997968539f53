//! Bits that turn inside a member, after it verified what they are of: nobody else takes the
//! damaged thing for good, everybody gets the good one elsewhere, and traffic does not rise
//! [RELIABILITY F05].

use std::time::Duration;

use spinglass_core::table::Value;
use spinglass_core::{Config, Event, Instant, Reject, Start};
use spinglass_sim::badboy::Way;
use spinglass_sim::check::{payload, read_payload};
use spinglass_sim::{Blind, Network, Observer, Setup, World};

const MEMBERS: usize = 64;
const MESSAGES: u64 = 100;

/// Messages heard, and those of them that nobody published.
#[derive(Default)]
struct Heard {
    good: u64,
    bad: u64,
}

impl Observer for Heard {
    fn event(&mut self, _: Instant, _: usize, _: u64, event: &Event) {
        if let Event::Message(message) = event {
            let is_good = read_payload(&message.payload).is_some();
            *(if is_good { &mut self.good } else { &mut self.bad }) += 1;
        }
    }
}

/// What one run did: what was heard, datagrams refused as forged, rows that are not as they should
/// be, and bytes sent by the members that are whole.
struct Run {
    heard: Heard,
    forged: u64,
    wrong: usize,
    bytes: u64,
}

fn run(seed: u64, broken: &[(usize, Way)]) -> Run {
    let mut setup = Setup::new(MEMBERS, Config::lan(), seed);
    setup.region_members = 16;
    let mut world = World::new(setup, Network::default());
    let topic = world.topic("news");
    (0..MEMBERS).for_each(|member| world.subscribe(member, topic, Start::Live));
    world.run(Duration::from_secs(5), &mut Blind);
    broken.iter().for_each(|(member, way)| world.corrupt(*member, [*way]));
    let is_whole = |member: &usize| !broken.iter().any(|(it, _)| it == member);
    let sent = |world: &World| -> u64 {
        (0..MEMBERS).filter(is_whole).map(|member| world.stats(member).bytes_sent).sum()
    };
    let (before, mut heard) = (sent(&world), Heard::default());
    for index in 0..MESSAGES {
        let turn = usize::try_from(index).expect("a small number");
        let (sender, nth) = (turn % 4, index / 4);
        world.publish(sender, topic, payload(sender, 1, nth, 700), &mut heard).expect("it fits");
        let load = Value::Int(i64::try_from(index).expect("a small number"));
        world.set_attribute(turn * 7 % MEMBERS, "load", load).expect("it fits");
        world.run(Duration::from_millis(200), &mut heard);
    }
    world.run(Duration::from_secs(20), &mut heard);
    let nodes = || (0..MEMBERS).filter(is_whole).filter_map(|member| world.node(member));
    let own = |member| world.node(member).and_then(|node| node.table().own_row().cloned());
    let truth: Vec<_> = (0..MEMBERS).filter_map(own).collect();
    let is_wrong = |held: &&std::sync::Arc<spinglass_core::table::TableRow>| {
        let same = truth.iter().find(|row| row.member() == held.member());
        same.is_some_and(|row| row.zone() == held.zone() && row.attributes() != held.attributes())
    };
    Run {
        forged: nodes().map(|node| node.stats().rejected(Reject::Forged)).sum(),
        wrong: nodes().map(|node| node.table().held().filter(is_wrong).count()).sum(),
        bytes: sent(&world) - before,
        heard,
    }
}

#[test]
fn what_breaks_inside_a_member_stays_there() {
    let each = MESSAGES * (MEMBERS as u64 - 1);
    for seed in 0..4 {
        let whole = run(seed, &[]);
        assert_eq!((whole.heard.good, whole.heard.bad, whole.forged, whole.wrong), (each, 0, 0, 0));
        for way in [Way::BrokenPackets, Way::BrokenRows] {
            // One that heads a region, speaks for it, and passes on to eight others; and a leaf.
            let broken = run(seed, &[(16, way), (60, way)]);
            let Heard { good, bad } = broken.heard;
            assert_eq!(
                (good, bad),
                (each, 0),
                "seed {seed}, {way:?}: heard by all, and nothing else"
            );
            assert!(broken.forged > 0, "seed {seed}, {way:?}: it was met");
            assert_eq!(broken.wrong, 0, "seed {seed}, {way:?}: every table says what is so");
            let allowed = whole.bytes + whole.bytes / 20;
            assert!(broken.bytes <= allowed, "{seed}, {way:?}: {} > {allowed} B", broken.bytes);
        }
    }
}
