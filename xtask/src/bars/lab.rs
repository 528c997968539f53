//! The bars of the papers' figures: older protocols fall where the papers say, and ours does not.

use super::Program::Spinglass;
use super::table::{at_least, at_most};
use super::{Bar, Run};

/// The bars.
pub(super) const BARS: &[Bar] = &[
    Bar {
        name: "lab.figure1",
        about: "others sleep: a classic group falls behind, sooner the larger it is; ours does not",
        runs: &[Run {
            label: "",
            full: Spinglass("lab run figure1 --again --output target/lab/figure1"),
            // A small run has too few losses and too few steps for these bounds.
            quick: None,
            figures: &[
                at_least("ours_worst_share", "/bars/ours_worst_share/value", 0.98),
                at_most("classic_falls_to", "/bars/classic_falls_to/value", 0.9),
                at_most(
                    "classic_larger_over_smaller",
                    "/bars/classic_larger_over_smaller/value",
                    0.99,
                ),
                at_least(
                    "classic_knee_moves_left_by",
                    "/bars/classic_knee_moves_left_by/value",
                    0.1,
                ),
            ],
            context: &["/runs"],
        }],
    },
    Bar {
        name: "lab.figure3",
        about: "links lose: SRM's requests grow with the group, ours do not",
        runs: &[Run {
            label: "",
            full: Spinglass("lab run figure3 --again --output target/lab/figure3"),
            // A small run has too few losses and too few steps for these bounds.
            quick: None,
            figures: &[
                at_least(
                    "srm_requests_per_link_least",
                    "/bars/srm_requests_per_link_least/value",
                    0.1,
                ),
                at_least("srm_growth_exponent", "/bars/srm_growth_exponent/value", 0.75),
                at_most("ours_requests_grow_to", "/bars/ours_requests_grow_to/value", 1.2),
                at_most("ours_repairs_per_loss", "/bars/ours_repairs_per_loss_most/value", 1.1),
            ],
            context: &["/runs"],
        }],
    },
];
