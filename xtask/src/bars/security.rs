//! The bars of security: which command, which figures, which targets.

use super::Program::Spinglass;
use super::figure::Figure;
use super::table::{at_least, at_most, report};
use super::{Bar, Run};

/// Every one of them.
pub(crate) const BARS: &[Bar] = &[Bar {
    name: "security.flood",
    about: "a tenth of 1,000 members flooded: the rounds do not grow with the flood (Drum)",
    runs: &[
        Run {
            label: "",
            full: Spinglass("lab flood"),
            quick: Some(Spinglass("lab flood --members 150 --seconds 2 --fabricated 0,128,512")),
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
}];

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
