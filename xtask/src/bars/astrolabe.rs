//! The bars of the hierarchical table: which command, which figures, which targets.

use super::figure::{Figure, Target};
use super::table::{at_most, report};
use super::{Bar, Run};

/// Every one of them.
pub(crate) const BARS: &[Bar] = &[
    Bar {
        name: "table.rounds",
        about: "rounds until every agent has an update, against the model's and two more",
        runs: &[
            rounds("625x1", "lab rounds --levels 2 --representatives 1", true, LAST_625_1),
            rounds("625x3", "lab rounds --levels 2 --representatives 3", true, LAST_625_3),
            rounds("15625x1", "lab rounds --levels 3 --representatives 1", false, LAST_15625_1),
            rounds("15625x3", "lab rounds --levels 3 --representatives 3", false, LAST_15625_3),
            rounds(
                "390625x3",
                "lab rounds --levels 4 --representatives 3 --updates 1",
                false,
                LAST_390625_3,
            ),
        ],
    },
    Bar {
        name: "table.faults",
        about: "the same under loss, and after crashes: complete, at most half as long again",
        runs: &[Run {
            label: "",
            full: "lab rounds --levels 3 --loss 0,0.05,0.1,0.15",
            quick: Some("lab rounds --levels 2 --loss 0,0.15"),
            figures: &[
                Figure {
                    name: "last_over_clean",
                    at: "/*/last_rounds",
                    target: Target::AtMostTimes(1.5, "/0/last_rounds"),
                },
                at_most("never", "/*/never", 0.0),
            ],
            context: ROUNDS_CONTEXT,
        }],
    },
    Bar {
        name: "table.suspicion",
        about: "Lifeguard's troubles: who is wrongly declared failed, how soon who is rightly",
        runs: &[Run {
            label: "",
            full: "lab suspicion --grid",
            quick: Some("lab suspicion"),
            figures: &[
                at_most("false_positives", "/0/false_positives", 5193.0),
                at_most("false_at_healthy", "/0/false_at_healthy", 25.0),
                Figure {
                    name: "full_over_swim",
                    at: "/0/full_median_seconds",
                    target: Target::AtMostTimes(0.57, "/1/full_median_seconds"),
                },
                Figure {
                    name: "bytes_over_swim",
                    at: "/0/bytes_per_agent_second",
                    target: Target::AtMostTimes(1.0, "/1/bytes_per_agent_second"),
                },
                report("swim_false_positives", "/1/false_positives"),
                report("swim_false_at_healthy", "/1/false_at_healthy"),
                report("lifeguard_false_positives", "/2/false_positives"),
                report("lifeguard_false_at_healthy", "/2/false_at_healthy"),
            ],
            context: &["/0/agents", "/0/cells", "/0/seconds", "/0/found", "/0/seed"],
        }],
    },
    Bar {
        name: "table.unstable",
        about: "Rapid's troubles: the ten are removed and stay away, nobody else is removed",
        runs: &[
            unstable("regions", "lab unstable", Some("lab unstable --agents 200 --seconds 80")),
            unstable("flat", "lab unstable --region 0", None),
        ],
    },
    Bar {
        name: "table.functions",
        about: "what an evaluation takes, SQLite beside it, and a hundred hostile ones",
        runs: &[Run {
            label: "",
            full: "cargo bench --quiet -p spinglass-summary --bench functions",
            quick: None,
            figures: &[
                at_most("median_us", "/median_us", 5.0),
                report("sqlite_us", "/sqlite_us"),
                at_most("hostile_max_ms", "/hostile_max_ms", 10.0),
                at_most("hostile_max_bytes", "/hostile_max_bytes", 1_048_576.0),
            ],
            context: &["/rows", "/attributes", "/samples", "/hostile"],
        }],
    },
];

const ROUNDS_CONTEXT: &[&str] =
    &["/*/agents", "/*/parameters/loss", "/0/parameters/updates", "/0/parameters/seed"];

/// The model's rounds [FACTS of the papers' simulation, recomputed], and two.
const LAST_625_1: &[Figure] = &last(12.5 + 2.0);
const LAST_625_3: &[Figure] = &last(10.7 + 2.0);
const LAST_15625_1: &[Figure] = &last(21.4 + 2.0);
const LAST_15625_3: &[Figure] = &last(17.1 + 2.0);
const LAST_390625_3: &[Figure] = &last(23.9 + 2.0);

const fn last(most: f64) -> [Figure; 4] {
    [
        at_most("last", "/*/last_rounds", most),
        at_most("never", "/*/never", 0.0),
        report("bytes_per_round", "/*/bytes_per_round"),
        report("row_bytes", "/*/row_bytes"),
    ]
}

const fn rounds(
    label: &'static str,
    full: &'static str,
    is_quick: bool,
    figures: &'static [Figure],
) -> Run {
    let quick = if is_quick { Some(full) } else { None };
    Run { label, full, quick, figures, context: ROUNDS_CONTEXT }
}

const fn unstable(label: &'static str, full: &'static str, quick: Option<&'static str>) -> Run {
    Run {
        label,
        full,
        quick,
        figures: UNSTABLE,
        context: &["/0/parameters/agents", "/0/parameters/seconds", "/0/parameters/seed"],
    }
}

const UNSTABLE: &[Figure] = &[
    at_most("healthy_removed", "/*/healthy_removed", 0.0),
    at_most("returns", "/*/returns", 0.0),
    Figure { name: "removed", at: "/*/removed", target: Target::SameAs("/0/parameters/troubled") },
    report("last_s", "/*/last_seconds"),
    report("bytes_per_s", "/*/bytes_per_second"),
];
