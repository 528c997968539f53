//! The bars of the laboratory: what the papers say of older protocols and of these, run again.

use super::Program::Spinglass;
use super::table::{at_least, at_most};
use super::{Bar, Run};

/// A scenario of the laboratory, and what it is to show. A small run has too few steps and losses
/// for such bounds, so there is none that is quick.
macro_rules! scenario {
    ($name:literal, $about:literal, $($kind:ident($bar:literal, $bound:literal),)+) => {
        Bar {
            name: concat!("lab.", $name),
            about: $about,
            runs: &[Run {
                label: "",
                full: Spinglass(concat!(
                    "lab run ",
                    $name,
                    " --again --output target/lab/",
                    $name
                )),
                quick: None,
                figures: &[$($kind($bar, concat!("/bars/", $bar, "/value"), $bound)),+],
                context: &["/runs"],
            }],
        }
    };
}

/// A run of processes in network namespaces.
macro_rules! real {
    ($scenario:literal) => {
        Run {
            label: $scenario,
            full: Spinglass(concat!("lab real ", $scenario)),
            quick: None,
            figures: &[at_least("ours_worst", "/ours_worst", 0.98)],
            context: &["/runs"],
        }
    };
}

/// The bars.
pub(super) const BARS: &[Bar] = &[
    scenario!(
        "figure1",
        "others sleep: a classic group falls behind, sooner the larger it is; ours does not",
        at_least("ours_worst_share", 0.98),
        at_most("classic_falls_to", 0.9),
        at_most("classic_larger_over_smaller", 0.99),
        at_least("classic_knee_moves_left_by", 0.1),
    ),
    scenario!(
        "troubles",
        "the same with several sleepers, delays, losses",
        at_least("ours_worst_share_sleepers", 0.98),
        at_least("ours_worst_share_delays", 0.98),
        at_least("ours_worst_share_losses", 0.98),
        at_most("classic_falls_to_sleepers", 0.9),
        at_most("classic_falls_to_delays", 0.9),
        at_most("classic_falls_to_losses", 0.9),
    ),
    scenario!(
        "micropartitions",
        "failure detection ever more aggressive: views change without end, and nothing is won",
        at_least("ours_worst_share", 0.98),
        at_most("classic_best_share_of_largest", 0.98),
        at_least("classic_views_per_minute_most_aggressive", 10.0),
    ),
    scenario!(
        "figure2",
        "convoys: streams grow uneven level by level in a hierarchy of groups, in ours they do not",
        at_most("ours_lowest_level_over_source", 1.1),
        at_least("classic_lowest_level_over_source", 1.1),
    ),
    scenario!(
        "figure3",
        "links lose: SRM's requests grow with the group, ours do not",
        at_least("srm_requests_per_link_least", 0.1),
        at_least("srm_growth_exponent", 0.75),
        at_most("ours_requests_grow_to", 1.2),
        at_most("ours_repairs_per_loss_most", 1.1),
    ),
    scenario!(
        "fec",
        "redundancy grows with the group where errors are corrected ahead, in ours it does not",
        at_most("counted_off_computed_most", 0.1),
        at_least("fec_grows_to", 2.0),
        at_most("ours_growth_exponent", 0.05),
    ),
    scenario!(
        "scaling",
        "what a member pays as the group grows: the same in ours, whatever it is in others",
        at_most("ours_bytes_exponent", 0.05),
        at_most("ours_messages_exponent", 0.05),
    ),
    scenario!(
        "bimodality",
        "almost all or almost none: computed, drawn, and the core",
        at_most("gossip_once_off_in_standard_errors", 4.5),
        at_least("pull_repair_rounds_agree", 1.0),
        at_most("ours_between", 0.0),
        at_most("ours_missed_untold", 0.0),
    ),
    scenario!(
        "buffers",
        "few hold a message for long, and always as many; what a member holds does not grow",
        at_most("counted_off_computed_in_standard_errors", 4.0),
        at_least("ours_holders_least", 6.0),
        at_most("ours_buffered_bytes_fall_to", 1.0),
    ),
    scenario!(
        "astrolabe",
        "rounds until all know: the paper's simulator, and the core under loss and crashes",
        at_most("model_off_known_rounds_most", 1.5),
        at_most("ours_never_heard", 0.0),
        at_most("ours_loss_multiplies_rounds_by", 2.0),
        at_most("ours_crashes_multiply_rounds_by", 2.0),
    ),
    scenario!(
        "detector",
        "failure detectors: closed forms drawn, and who is gone found sooner than by SWIM",
        at_most("first_ping_off", 0.05),
        at_most("first_broadcast_off", 0.05),
        at_most("counters_late_off", 0.2),
        at_most("ours_full_detection_over_swim_most", 0.6),
    ),
    scenario!(
        "ratings",
        "classes receive what they are rated, by gravitational gossip's mechanism and by ours",
        at_most("received_off_rating_most", 0.02),
        at_most("held_off_rating_most", 0.02),
        at_most("ours_off_rating_most", 0.01),
        at_most("ours_later_off_rating_most", 0.01),
        at_most("ours_gaps", 0.0),
    ),
    Bar {
        name: "lab.real",
        about: "32 processes in network namespaces, by IP multicast and without: sleep, losses on \
                links, latency (takes root, iproute2 and nftables)",
        runs: &[real!("figure1"), real!("loss"), real!("latency")],
    },
];
