//! The bars of security: a group in which somebody is hostile.

use super::Program::Spinglass;
use super::figure::{Figure, Target};
use super::table::{at_least, at_most, report};
use super::{Bar, Run};

/// Those that are runs of the binary.
pub(super) const BARS: &[Bar] = &[Bar {
    name: "security.insiders",
    about: "10, 20, 30 % of certified members hostile: what arrives, how soon, and nothing forged",
    runs: &[Run {
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
    }],
}];
