//! The bars of security: a group that is flooded, or has hostile members, or whose key changes.

use super::Program::Spinglass;
use super::figure::{Figure, Target};
use super::table::{at_least, at_most, report};
use super::{Bar, Run};

/// Every one of them.
pub(super) const BARS: &[Bar] = &[
    Bar {
        name: "security.rotation",
        about: "a new link key every 10 s under loss: nothing lost, and the evicted read nothing",
        runs: &[Run {
            label: "",
            full: Spinglass("lab rotation"),
            quick: Some(Spinglass("lab rotation --members 50")),
            figures: &[
                at_most("lost", "/0/lost", 0.0),
                at_most("lost_after_return", "/0/lost_after_return", 0.0),
                at_most("left_behind", "/0/left_behind", 0.0),
                report("spread_s", "/0/spread_seconds"),
                Figure {
                    name: "evicted_read_s",
                    at: "/0/evicted_read_seconds",
                    target: Target::AtMostTimes(2.0, "/0/last_spread_seconds"),
                },
            ],
            context: &["/0/parameters/members", "/0/published", "/0/parameters/seed"],
        }],
    },
    Bar {
        name: "security.flood",
        about: "a tenth of 1,000 members flooded: the rounds do not grow with the flood (Drum)",
        runs: &[
            Run {
                label: "",
                full: Spinglass("lab flood"),
                quick: Some(Spinglass(
                    "lab flood --members 150 --seconds 2 --fabricated 0,128,512",
                )),
                figures: FLOOD,
                context: &["/members", "/intake", "/cells/0/published", "/seed"],
            },
            Run {
                label: "real32",
                full: Spinglass("lab flood --real"),
                quick: Some(Spinglass("lab flood --real --members 12 --flooded 2 --seconds 5")),
                figures: &[
                    at_least("healthy", "/healthy/worst_rate_share", 0.99),
                    at_least("flooded", "/flooded/worst_rate_share", 0.95),
                    at_most("removed", "/removed", 0.0),
                    report("flood_per_s", "/flood_per_second"),
                    report("refused", "/flooded/refused"),
                    report("flooded_p99_ms", "/flooded/p99_ms"),
                ],
                context: &["/members", "/flooded/members", "/rate", "/seconds"],
            },
        ],
    },
    Bar {
        name: "security.insiders",
        about: "10, 20, 30 % of certified members hostile: what arrives, how soon, what is forged",
        runs: &[
            Run {
                label: "",
                full: Spinglass("lab insiders"),
                quick: Some(Spinglass("lab insiders --members 128 --messages 40")),
                figures: &[
                    at_least("heard_at_10", "/runs/1/heard_percent", 100.0),
                    at_least("heard_at_20", "/runs/2/heard_percent", 100.0),
                    Figure {
                        name: "p99_at_20",
                        at: "/runs/2/p99_ms",
                        target: Target::AtMostTimes(2.0, "/runs/0/p99_ms"),
                    },
                    at_most("forged", "/runs/*/forged", 0.0),
                    report("heard_at_30", "/runs/3/heard_percent"),
                    report("p99_at_30", "/runs/3/p99_ms"),
                    report("equivocators", "/runs/3/equivocators"),
                    report("equivocators_known", "/runs/3/equivocators_known"),
                ],
                context: &["/members", "/messages", "/seed"],
            },
            Run {
                label: "real32",
                full: Spinglass("lab insiders --real"),
                quick: Some(Spinglass("lab insiders --real --members 12 --badboys 2 --seconds 5")),
                figures: &[
                    at_least("heard", "/heard_percent", 100.0),
                    at_most("forged", "/forged", 0.0),
                    at_most("gaps", "/gaps", 0.0),
                    report("p99_ms", "/p99_ms"),
                    report("refused", "/refused"),
                    report("removed", "/removed"),
                ],
                context: &["/members", "/badboys", "/rate", "/seconds"],
            },
        ],
    },
];

/// Variants in their order: whole, gossip alone, and the three that must fail.
const FLOOD: &[Figure] = &[
    at_most("whole", "/growth/0/over_quarter", 1.2),
    report("whole_exact", "/growth/0/over_quarter_exact"),
    at_most("gossip_exact", "/growth/1/over_quarter_exact", 1.2),
    at_least("push_only", "/growth/2/over_least", 2.0),
    at_least("pull_only", "/growth/3/over_least", 2.0),
    at_least("fixed_port", "/growth/4/over_least", 2.0),
    at_most("removed", "/removed", 0.0),
];
