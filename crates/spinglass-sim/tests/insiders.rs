//! Certified members that turn hostile, in every way at once.

use spinglass_sim::scenario::insiders::{Parameters, Report, run};

fn runs(members: usize, seed: u64, percents: [usize; 3]) -> [Report; 3] {
    percents.map(|hostile_percent| {
        let messages = 30;
        let parameters = Parameters { members, hostile_percent, messages, bytes: 500, seed };
        run(&parameters, &mut |_| ())
    })
}

/// G7 at a small size: at 20 % every honest message reaches every honest member, in at most twice
/// the time; at 30 % nothing forged is accepted; and whoever signs two things is found out.
#[test]
fn insiders_neither_forge_nor_cut_anybody_off() {
    for seed in 1..3 {
        let [clean, fifth, third] = runs(96, seed, [0, 20, 30]);
        assert_eq!(clean.heard, clean.expected, "seed {seed}");
        assert_eq!(fifth.heard, fifth.expected, "seed {seed}");
        let (slow, allowed) = (fifth.p99_ms, 2.0 * clean.p99_ms);
        assert!(slow <= allowed, "seed {seed}: p99 {slow} ms, not {allowed}");
        for report in [&clean, &fifth, &third] {
            assert_eq!(report.forged, 0, "seed {seed}: {report:?}");
            assert_eq!(report.equivocators_known, report.equivocators, "seed {seed}");
        }
        assert!(fifth.equivocators > 0 && third.equivocators > 0);
    }
}
