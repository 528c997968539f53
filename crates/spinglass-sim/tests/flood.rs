//! Denial of service: members flooded at the port that all know [RELIABILITY T-02, G6].

use std::time::Duration;

use spinglass_core::{Config, Prng, Start};
use spinglass_sim::papers::Papers;
use spinglass_sim::scenario::flood::{Parameters, ROUNDS_MAX, Report, Variant, run};
use spinglass_sim::world::Intake;
use spinglass_sim::{Checker, Network, Setup, World};

const SEEDS: std::ops::Range<u64> = 1..5;
/// Most come in within half a minute; but the one by which all join is flooded, and loses 97 of 100
/// datagrams: now and then somebody asks it for three minutes.
const JOIN_SECONDS_MAX: u64 = 300;
/// Two regions and some, of which a tenth is attacked.
const MEMBERS: usize = 150;

fn flooded(variant: Variant, fabricated: u32, seed: u64) -> Report {
    let drum = Parameters::drum(variant, fabricated, seed);
    run(&Parameters { members: MEMBERS, seconds: 3, ..drum }, &mut |_| ())
}

#[test]
fn a_flood_costs_a_round_and_a_larger_one_no_more() {
    for seed in SEEDS {
        for fabricated in [128, 512, 100_000] {
            let report = flooded(Variant::Whole, fabricated, seed);
            let seen = format!("seed {seed}: {report:?}");
            assert!(report.rounds <= 2.5 && report.never == 0, "{seen}");
            assert!(report.delivered.iter().all(|share| *share == 1.0), "{seen}");
            assert_eq!(report.removed, 0, "who is flooded is not dead; {seen}");
        }
    }
}

#[test]
fn gossip_alone_is_bounded_too() {
    for seed in SEEDS {
        // Rounds that are begun, as the bar has them: a tenth of one more is no growth.
        let [some, many] =
            [128, 512].map(|fabricated| flooded(Variant::Gossip, fabricated, seed).rounds_begun);
        assert!(many <= 1.3 * some && many < 4.0, "seed {seed}: {some} rounds, then {many}");
    }
}

#[test]
fn whoever_goes_without_one_of_the_three_measures_fails() {
    for variant in [Variant::PushOnly, Variant::PullOnly, Variant::FixedPort] {
        for seed in SEEDS {
            let [none, many] = [0, 512].map(|fabricated| flooded(variant, fabricated, seed).rounds);
            let seen = format!("{variant:?}, seed {seed}: {none} rounds, then {many}");
            assert!(none < f64::from(ROUNDS_MAX) / 4.0, "it works when nobody is flooded; {seen}");
            assert!(many > 3.0 * none.max(1.0), "and it must not under a flood; {seen}");
        }
    }
}

#[test]
fn nothing_that_must_hold_breaks_where_answers_go_elsewhere() {
    for seed in SEEDS {
        let mut setup = Setup::new(24, Config::lan(), seed);
        // Every second time they are certified.
        setup.papers = (seed % 2 == 0).then(Papers::default);
        // They join through the first one.
        setup.acquainted = false;
        let network = Network { loss_ppm: 50_000, ..Network::default() };
        let mut world = World::new(setup, network);
        let mut intake = Intake::new(64, Duration::from_millis(100), seed);
        // Two that are both flooded can't show each other certificates, so one must be reached.
        let first = usize::from(seed % 2 == 0);
        (intake.fabricated, intake.attacked) = (2000, (first..3).collect());
        world.limit_intake(intake);
        let (mut draw, mut checker) = (Prng::new(seed), Checker::new(true));
        let topic = world.topic("flood");
        for member in 0..24 {
            world.tell_topic(member, "flood");
        }
        (0..24).for_each(|member| world.subscribe(member, topic, Start::Live));
        let (mut second, mut published) = (0, 0);
        while published < 30 {
            assert!(second < JOIN_SECONDS_MAX, "seed {seed}: everybody comes in");
            if second % 5 == 0 {
                world.renew_reply_ports(&mut draw);
            }
            let is_in = |member| world.node(member).is_some_and(|it| it.member_count() == 24);
            if published > 0 || second >= 30 && (0..24).all(is_in) {
                published += 1;
                let payload = checker.publish(0, 1, 400);
                let taken = world.publish(0, topic, payload, &mut checker);
                taken.expect("the pace is far above the rate");
            }
            world.run(Duration::from_secs(1), &mut checker);
            second += 1;
        }
        checker.check_bounds(&world);
        assert_eq!(checker.violations(), [], "seed {seed}");
        for member in 1..24 {
            let delivered = checker.delivered.get(&(member, 1, 0, 1)).copied();
            assert_eq!(delivered, Some(30), "seed {seed}, member {member}");
        }
        assert_eq!(world.intake().map(Intake::lost).filter(|lost| *lost == 0), None);
    }
}

#[test]
fn a_run_is_a_function_of_its_seed() {
    let [first, second, other] = [7, 7, 8].map(|seed| flooded(Variant::Whole, 512, seed).trace);
    assert_eq!(first, second);
    assert_ne!(first, other);
}
