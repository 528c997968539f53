//! The bars of the hierarchical table under faults: which command, which figures, which targets.

use super::Program::{self, Spinglass};
use super::figure::{Figure, Target};
use super::table::{at_most, report};
use super::{Bar, Run};

/// Every one of them.
pub(crate) const BARS: &[Bar] = &[
    Bar {
        name: "table.faults",
        about: "the same under loss and after crashes: complete, at most half as long again",
        runs: &[
            Run {
                label: "",
                full: Spinglass("lab rounds --levels 3 --loss 0,0.05,0.1,0.15"),
                quick: None,
                figures: &[
                    LAST_OVER_CLEAN,
                    at_most("last_rounds", "/*/last_rounds", 1.5 * MODEL_ROUNDS),
                    at_most("never", "/*/never", 0.0),
                ],
                context: ROUNDS_CONTEXT,
            },
            Run {
                label: "crash",
                full: Spinglass(CRASHES),
                quick: Some(Spinglass(CRASHES)),
                figures: &[
                    LAST_OVER_CLEAN,
                    report("last_rounds", "/*/last_rounds"),
                    at_most("dead_held", "/*/dead_held", 0.0),
                    at_most("never", "/*/never", 0.0),
                ],
                context: &[
                    "/*/agents",
                    "/*/parameters/crash",
                    "/0/parameters/updates",
                    "/0/parameters/seed",
                ],
            },
        ],
    },
    Bar {
        name: "table.partition",
        about: "halves apart for ten minutes are one within 30 s, and nothing removed is back",
        runs: &[Run {
            label: "",
            full: Spinglass("lab partition --seeds 1000"),
            quick: Some(Spinglass("lab partition --seeds 20")),
            figures: &[
                Figure { name: "whole", at: "/whole", target: Target::SameAs("/seeds") },
                at_most("whole_s", "/whole_seconds_max", 30.0),
                report("whole_s_median", "/whole_seconds_median"),
                at_most("returned", "/returned", 0.0),
                at_most("failed", "/failed", 0.0),
            ],
            context: &["/agents", "/seeds", "/first"],
        }],
    },
    Bar {
        name: "table.scale",
        about: "memory per agent grows no faster than the logarithm of their number",
        runs: &[Run {
            label: "",
            full: Spinglass("lab rounds --scale --updates 3"),
            quick: Some(Spinglass("lab rounds --scale --updates 1 --agents-max 11000")),
            figures: &[
                at_most("growth_over_log", "/*/growth_over_log", 1.0),
                at_most("resident_bytes", "/*/resident_bytes", 20.0 * 1_073_741_824.0),
                report("bytes_per_agent", "/*/bytes_per_agent"),
                report("bytes_per_round", "/*/bytes_per_round"),
                report("messages_per_round", "/*/datagrams_per_round"),
                report("last_rounds", "/*/last_rounds"),
                at_most("never", "/*/never", 0.0),
            ],
            context: &["/*/agents", "/0/parameters/updates", "/0/parameters/seed"],
        }],
    },
    Bar {
        name: "table.real",
        about: "300 agents as processes, 2,000 in one: rounds to everybody, what an idle one costs",
        runs: &[
            Run {
                label: "zones7",
                full: Spinglass("lab fleet --agents 300 --real"),
                quick: Some(Spinglass("lab fleet --agents 30 --real --updates 2 --idle-seconds 5")),
                figures: &[
                    at_most("rounds_median", "/rounds_median", 12.0),
                    report("rounds_max", "/rounds_max"),
                    at_most("resident_bytes", "/idle/resident_bytes", 8e6),
                    report("private_bytes", "/idle/private_bytes"),
                    at_most("cpu_percent", "/idle/processor_percent", 0.3),
                    at_most("bytes_per_s", "/idle/bytes_per_second", 3000.0),
                ],
                context: FLEET_CONTEXT,
            },
            Run {
                label: "zones64",
                full: Spinglass("lab fleet --agents 300 --real --zone 64"),
                quick: None,
                figures: FLEET_REPORTED,
                context: FLEET_CONTEXT,
            },
            Run {
                label: "inside",
                full: Spinglass("lab fleet --agents 2000 --in-process"),
                quick: None,
                figures: FLEET_REPORTED,
                context: FLEET_CONTEXT,
            },
        ],
    },
    Bar {
        name: "table.outage",
        about: "300 processes killed and started without seeds: one system again within a minute",
        runs: &[Run {
            label: "",
            full: Spinglass("lab fleet --agents 300 --real --outage"),
            quick: None,
            figures: &[
                at_most("whole_s", "/outage/whole_seconds", 60.0),
                report("up_s", "/outage/up_seconds"),
                report("remembered", "/outage/remembered"),
            ],
            context: FLEET_CONTEXT,
        }],
    },
    Bar {
        name: "table.suspicion",
        about: "Lifeguard's troubles: who is wrongly declared failed, how soon who is rightly",
        runs: &[Run {
            label: "",
            full: Spinglass("lab suspicion --grid"),
            quick: Some(Spinglass("lab suspicion")),
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
            unstable(
                "regions",
                Spinglass("lab unstable"),
                Some(Spinglass("lab unstable --agents 200 --seconds 80")),
            ),
            unstable("flat", Spinglass("lab unstable --region 0"), None),
        ],
    },
    Bar {
        name: "table.chitchat",
        about: "beside chitchat: when all have a key, bytes and processor time per node",
        runs: &[Run {
            label: "",
            full: chitchat("--nodes 64,128,256 --updates 10 --idle-seconds 60"),
            quick: Some(chitchat("--nodes 64 --updates 3 --idle-seconds 10")),
            figures: CHITCHAT,
            context: &["/zoned/*/nodes", "/zoned/*/region", "/zoned/*/updates", "/idle_seconds"],
        }],
    },
];

const fn chitchat(words: &'static str) -> Program {
    Program::Bench { package: "spinglass", name: "chitchat", words }
}

/// At every size: no slower, at most half as many bytes; and in regions they grow no faster than
/// the logarithm of the number of nodes.
const CHITCHAT: &[Figure] = &[
    at_most("flat_p99_over", "/flat_over_chitchat/*/heard_p99", 1.0),
    at_most("zoned_p99_over", "/zoned_over_chitchat/*/heard_p99", 1.0),
    at_most("flat_bytes_over", "/flat_over_chitchat/*/idle_bytes", 0.5),
    at_most("zoned_bytes_over", "/zoned_over_chitchat/*/idle_bytes", 0.5),
    at_most("zoned_updating_bytes_over", "/zoned_over_chitchat/*/updating_bytes", 0.5),
    Figure {
        name: "zoned_growth",
        at: "/growth/zoned",
        target: Target::AtMostTimes(1.0, "/growth/logarithm"),
    },
    report("growth_chitchat", "/growth/chitchat"),
    report("growth_flat", "/growth/flat"),
    report("flat_cpu_over", "/flat_over_chitchat/*/idle_processor"),
    report("zoned_cpu_over", "/zoned_over_chitchat/*/idle_processor"),
    report("chitchat_p99_ms", "/chitchat/*/heard_p99_ms"),
    report("flat_p99_ms", "/flat/*/heard_p99_ms"),
    report("zoned_p99_ms", "/zoned/*/heard_p99_ms"),
    report("chitchat_bytes_per_s", "/chitchat/*/idle/bytes_per_second"),
    report("flat_bytes_per_s", "/flat/*/idle/bytes_per_second"),
    report("zoned_bytes_per_s", "/zoned/*/idle/bytes_per_second"),
];

const FLEET_CONTEXT: &[&str] = &["/agents", "/zone", "/levels", "/round_ms", "/seed"];

const FLEET_REPORTED: &[Figure] = &[
    report("rounds_median", "/rounds_median"),
    report("rounds_max", "/rounds_max"),
    report("resident_bytes", "/idle/resident_bytes"),
    report("cpu_percent", "/idle/processor_percent"),
    report("bytes_per_s", "/idle/bytes_per_second"),
];

const CRASHES: &str = "lab rounds --levels 2 --crash 0,0.02,0.04,0.08";

/// The slowest against the clean run of the same report.
const LAST_OVER_CLEAN: Figure = Figure {
    name: "last_over_clean",
    at: "/*/last_rounds",
    target: Target::AtMostTimes(1.5, "/0/last_rounds"),
};

/// Rounds that the paper's model takes for 15,625 agents without loss [FACTS 4.9].
const MODEL_ROUNDS: f64 = 17.1;

const ROUNDS_CONTEXT: &[&str] =
    &["/*/agents", "/*/parameters/loss", "/0/parameters/updates", "/0/parameters/seed"];

const fn unstable(label: &'static str, full: Program, quick: Option<Program>) -> Run {
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
