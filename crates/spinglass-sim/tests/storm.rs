//! Storms: whoever caps what it receives is sent no more, and is told what it lacks.

use spinglass_sim::scenario::storm::{OfCap, Parameters, Report, run};

/// A region in which calm brings some 10 KB/s to each, and a storm 180.
fn storm(caps: Vec<u64>, ratings: Vec<f64>, loss: f64, seed: u64) -> Report {
    let parameters = Parameters {
        members: 48,
        region_members: 0,
        topics: 12,
        each: 3,
        ratings,
        caps,
        rate: 2.0,
        times: 50.0,
        bytes: 700,
        calm_seconds: 6,
        storm_seconds: 8,
        loss,
        seed,
    };
    run(&parameters, &mut |_| ())
}

#[test]
fn a_storm_exceeds_no_cap_and_takes_nothing_from_who_has_room() {
    for (loss, seed) in [(0.0, 1), (0.0, 2), (0.02, 3)] {
        let report = storm(vec![0, 150_000, 1_000_000], vec![0.2, 1.0], loss, seed);
        let [free, capped, roomy] = &report.caps[..] else { panic!("three caps") };
        let (free, roomy): (&OfCap, &OfCap) = (free, roomy);
        assert!(free.bytes_per_second > 90_000.0, "a storm: {free:?}");
        assert!(report.worst_over_cap <= 1.0, "seed {seed}: {capped:?}");
        assert!((0.2..0.95).contains(&capped.storm_share), "seed {seed}: {capped:?}");
        assert!(capped.variation < 0.6, "thinned evenly: {capped:?}");
        assert_eq!(report.untold, 0, "all that is left out is told: {capped:?}");
        for of in [free, roomy] {
            assert_eq!((of.storm_share, of.lost), (1.0, 0), "{of:?}");
        }
    }
}

/// Where nobody caps anything a storm changes nothing.
#[test]
fn without_caps_all_is_delivered() {
    let report = storm(vec![0], vec![1.0], 0.0, 4);
    assert_eq!((report.uncapped_lost, report.caps[0].storm_share), (0, 1.0));
}
