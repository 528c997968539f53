//! The bars of ratings: who takes a share of a topic gets that share, and pays for that share.

use super::Program::Spinglass;
use super::figure::{Figure, Target};
use super::table::{at_least, at_most, report};
use super::{Bar, Run};

/// Every one of them.
pub(super) const BARS: &[Bar] = &[
    Bar {
        name: "ratings.shares",
        about: "shares of topics at 0, 5, 20 % loss: exact, even, and paid for in proportion",
        runs: &[
            Run {
                label: "",
                full: Spinglass("lab shares"),
                quick: Some(Spinglass("lab shares --members 150 --topics 10 --seconds 10")),
                figures: SHARES,
                context: &["/runs/0/parameters/members", "/runs/0/published"],
            },
            Run {
                label: "load",
                full: Spinglass("lab shares --loss 0 --seconds 60"),
                quick: None,
                figures: &[
                    at_least("r_squared", "/runs/0/load/r_squared", 0.99),
                    Figure {
                        name: "nothing",
                        at: "/runs/0/load/of_nothing_most",
                        target: Target::AtMostTimes(1.0, "/runs/0/load/constant"),
                    },
                    report("per_topic", "/runs/0/load/slope"),
                    report("sender", "/runs/0/sender_bytes_per_second"),
                ],
                context: &["/runs/0/parameters/members", "/runs/0/published"],
            },
            Run {
                label: "real32",
                full: Spinglass("lab shares --real"),
                quick: Some(Spinglass("lab shares --real --members 12 --seconds 5 --loss 0.2")),
                figures: &[at_most("worst_off", "/worst_off", 0.01), at_most("gaps", "/gaps", 0.0)],
                context: &["/members", "/rate", "/seconds"],
            },
        ],
    },
    Bar {
        name: "ratings.whole",
        about: "nine in ten take a tenth: those who take everything have it as soon as ever",
        runs: &[Run {
            label: "",
            full: Spinglass(
                "lab shares --topics 1 --each 1 --ratings 0.1,0.1,0.1,0.1,0.1,0.1,0.1,0.1,0.1,1 \
                 --loss 0.05 --beside-whole",
            ),
            quick: None,
            figures: &[
                at_most("p50_over_whole", "/p50_over_whole", 1.05),
                at_most("p99_over_whole", "/p99_over_whole", 1.05),
                at_most("lost", "/runs/*/lost", 0.0),
                at_most("worst_off", "/runs/*/worst_off", 0.01),
            ],
            context: &["/runs/0/parameters/members", "/runs/0/published"],
        }],
    },
    Bar {
        name: "ratings.topics",
        about: "10,000 topics, 1,000 members, 20 topics each: as cheap as the same on one topic",
        runs: &[
            Run {
                label: "",
                full: Spinglass(
                    "lab shares --topics 10000 --each 20 --rate 0.5 --ratings 1 --loss 0 \
                     --beside-one",
                ),
                quick: Some(Spinglass(
                    "lab shares --members 100 --topics 1000 --each 20 --rate 0.5 --ratings 1 \
                     --loss 0 --seconds 10 --beside-one",
                )),
                figures: &[
                    at_most("over_one_topic", "/over_one_topic", 1.1),
                    at_most("worst_off", "/runs/*/worst_off", 0.0),
                    at_most("unasked", "/runs/*/unasked", 0.0),
                    at_most("untaken", "/runs/*/untaken", 0.0),
                    report("bytes_per_second", "/runs/0/bytes_per_second"),
                ],
                context: &["/runs/0/parameters/members", "/runs/0/published"],
            },
            Run {
                label: "real64",
                full: Spinglass(
                    "lab shares --real --topics 1000 --each 20 --rate 1 --ratings 1 --seconds 30 \
                     --loss 0,0.05",
                ),
                quick: Some(Spinglass(
                    "lab shares --real --members 12 --topics 100 --each 10 --rate 1 --ratings 1 \
                     --seconds 5 --loss 0",
                )),
                figures: &[
                    at_most("worst_off", "/worst_off", 0.0),
                    at_most("gaps", "/gaps", 0.0),
                    at_most("untaken", "/untaken", 0.0),
                ],
                context: &["/members", "/topics", "/each"],
            },
        ],
    },
    Bar {
        name: "ratings.storm",
        about: "fifty times as many events for a minute: caps hold, who has room loses nothing",
        runs: &[Run {
            label: "",
            full: Spinglass("lab storm"),
            quick: Some(Spinglass("lab storm --members 128 --topics 20 --seconds 10")),
            figures: &[
                at_most("worst_over_cap", "/worst_over_cap", 1.0),
                at_most("uncapped_lost", "/uncapped_lost", 0.0),
                at_most("untold", "/untold", 0.0),
                // The last cap is more than the storm brings.
                at_least("roomy_share", "/caps/3/storm_share", 1.0),
                at_most("variation", "/caps/*/variation", 0.5),
                report("least_used", "/least_used"),
            ],
            context: &["/parameters/members", "/published"],
        }],
    },
];

/// What must be right at every loss.
const SHARES: &[Figure] = &[
    at_most("worst_off", "/runs/*/worst_off", 0.01),
    at_most("lost", "/runs/*/lost", 0.0),
    at_most("unasked", "/runs/*/unasked", 0.0),
    at_most("untaken", "/runs/*/untaken", 0.0),
    // The fourth rating is a fifth.
    at_most("variation_of_fifth", "/runs/*/ratings/3/worst_variation", 0.1),
    report("size_bias", "/runs/*/worst_size_bias"),
];
