//! The bars: which command, which figures of its report, which targets. docs/benchmarks.md explains
//! each.

use super::Program::{self, Bench, Spinglass, Test};
use super::figure::{Figure, Target};
use super::{Bar, Run};

/// A figure of a report.
const fn figure(name: &'static str, at: &'static str, target: Target) -> Figure {
    Figure { name, at, target }
}

pub(super) const fn at_least(name: &'static str, at: &'static str, least: f64) -> Figure {
    figure(name, at, Target::AtLeast(least))
}

pub(super) const fn at_most(name: &'static str, at: &'static str, most: f64) -> Figure {
    figure(name, at, Target::AtMost(most))
}

pub(super) const fn report(name: &'static str, at: &'static str) -> Figure {
    figure(name, at, Target::Report)
}

/// Every bar whose figures are read from a report.
pub(crate) const BARS: &[Bar] = &[
    Bar {
        name: "core.demo",
        about: "32 processes, 5 % loss, a quarter asleep: every healthy copy is verified",
        runs: &[Run {
            label: "",
            full: Spinglass("demo"),
            quick: Some(Spinglass("demo --members 12 --seconds 4")),
            figures: &[
                figure("verified", "/verified", Target::SameAs("/healthy")),
                at_most("untold", "/outcomes/*/missing_untold", 0.0),
                report("rate_share", "/healthy_rate_share"),
                report("rate_variation", "/healthy_rate_variation"),
            ],
            context: &["/members", "/pieces", "/loss", "/seed"],
        }],
    },
    Bar {
        name: "core.perturb",
        about: "steady throughput at healthy members while others are stopped and continued",
        runs: &[
            Run {
                label: "real32",
                full: Spinglass("lab perturb --members 32 --real"),
                quick: Some(Spinglass("lab perturb --members 12 --real --samples 8 --asleep 0.5")),
                figures: PERTURB_REAL,
                context: PERTURB_CONTEXT,
            },
            simulated_perturb("sim32", Spinglass("lab perturb --members 32"), Some(QUICK_PERTURB)),
            simulated_perturb("sim96", Spinglass("lab perturb --members 96"), None),
            simulated_perturb("sim512", Spinglass("lab perturb --members 512"), None),
            simulated_perturb("sim4096", Spinglass("lab perturb --members 4096"), None),
        ],
    },
    Bar {
        name: "core.loss",
        about: "20 % loss: no gap, p99 within 5 rounds; 50 %: every miss is told",
        runs: &[
            Run {
                label: "20",
                full: Spinglass("lab loss --members 32 --real --loss 0.2"),
                quick: Some(Spinglass("lab loss --members 12 --real --loss 0.2 --seconds 4")),
                figures: &[
                    at_most("gaps", "/runs/*/gaps", 0.0),
                    at_most("missing", "/runs/*/missing", 0.0),
                    at_most("p99_ms", "/runs/*/p99_ms", 500.0),
                    report("max_ms", "/runs/*/max_ms"),
                ],
                context: LOSS_CONTEXT,
            },
            Run {
                label: "50",
                full: Spinglass("lab loss --members 32 --real --loss 0.5"),
                quick: None,
                figures: &[
                    at_most("untold", "/runs/*/missing_untold", 0.0),
                    at_most("disordered", "/runs/*/disordered", 0.0),
                    report("missing", "/runs/*/missing"),
                    report("p99_ms", "/runs/*/p99_ms"),
                ],
                context: LOSS_CONTEXT,
            },
        ],
    },
    Bar {
        name: "core.throughput",
        about: "messages/s at the slowest member, and processor time, raw UDP beside them",
        runs: &[
            Run {
                label: "32x1KB",
                full: Spinglass("bench multicast --members 32 --size 1024 --latency-messages 0"),
                quick: Some(Spinglass(
                    "bench multicast --members 8 --size 1024 --seconds 0.5 --latency-messages 0",
                )),
                figures: &[
                    at_least("msgs_per_s", "/*/messages_per_second", 25_000.0),
                    at_most("cpu_us", "/*/cpu_us_per_delivery", 2.5),
                    report("raw_udp_msgs_per_s", "/*/raw_udp/messages_per_second"),
                    report("raw_udp_cpu_us", "/*/raw_udp/cpu_us_per_delivery"),
                ],
                context: BENCH_CONTEXT,
            },
            Run {
                label: "16x100B",
                full: Spinglass("bench multicast --members 16 --size 100 --latency-messages 0"),
                quick: None,
                figures: &[
                    at_least("msgs_per_s", "/*/messages_per_second", 100_000.0),
                    report("cpu_us", "/*/cpu_us_per_delivery"),
                    report("raw_udp_msgs_per_s", "/*/raw_udp/messages_per_second"),
                ],
                context: BENCH_CONTEXT,
            },
        ],
    },
    Bar {
        name: "core.latency",
        about: "time from publish to delivery at 200 messages/s, 32 members",
        runs: &[Run {
            label: "",
            full: Spinglass("bench multicast --members 32 --size 1024 --latency-only"),
            quick: None,
            figures: &[
                at_most("p50_us", "/*/p50_us", 600.0),
                at_most("p99_us", "/*/p99_us", 2000.0),
            ],
            context: &["/*/members", "/*/size", "/*/datagram_bytes", "/*/latency_samples"],
        }],
    },
    Bar {
        name: "core.bytes",
        about: "bytes on the wire per 1 KB delivery, by trees and by IP multicast",
        runs: &[
            Run {
                label: "trees",
                full: Spinglass(
                    "bench multicast --members 32 --size 1024 --mode trees --latency-messages 0",
                ),
                quick: None,
                figures: &[at_most("per_delivery", "/*/wire_bytes_per_delivery", 1150.0)],
                context: BENCH_CONTEXT,
            },
            Run {
                label: "trees1200",
                full: Spinglass(
                    "bench multicast --members 32 --size 1024 --mode trees --datagram 1200 \
                       --latency-messages 0",
                ),
                quick: None,
                figures: &[at_most("per_delivery", "/*/wire_bytes_per_delivery", 1331.0)],
                context: BENCH_CONTEXT,
            },
            Run {
                label: "multicast",
                full: Spinglass(
                    "bench multicast --members 32 --size 1024 --mode multicast \
                       --latency-messages 0",
                ),
                quick: None,
                figures: &[at_most("per_delivery", "/*/wire_bytes_per_delivery", 45.0)],
                context: BENCH_CONTEXT,
            },
        ],
    },
    Bar {
        name: "core.analysis",
        about: "the papers' tables: the recurrence, pull repair with the real core, the U shape",
        runs: &[passes(Spinglass("lab analysis"), Some(Spinglass("lab analysis")))],
    },
    Bar {
        name: "core.bimodality",
        about: "almost all or almost none: no message reaches between 10 % and 90 %",
        runs: &[Run {
            label: "",
            full: Spinglass("lab bimodality --messages 3000000"),
            quick: Some(Spinglass("lab bimodality --messages 20000")),
            figures: &[at_most("between", "/between", 0.0), report("bound", "/bound")],
            context: PARAMETERS,
        }],
    },
    Bar {
        name: "core.wan",
        about: "broadcast over wide links: the last delivery, and surplus copies",
        runs: &[
            wan(
                "1000",
                Spinglass("lab wan --members 1000"),
                Some(Spinglass("lab wan --members 200")),
                WAN_1000,
            ),
            wan("10000", Spinglass("lab wan --members 10000"), None, WAN_10000),
        ],
    },
    Bar {
        name: "core.flat",
        about: "the cost of each member does not grow with the group",
        runs: &[Run {
            label: "",
            full: Spinglass("lab flat"),
            quick: None,
            figures: &[
                figure("digests", "/*/digests", Target::SpreadAtMost(0.1)),
                figure("requests", "/*/requests", Target::SpreadAtMost(0.1)),
                figure("repairs", "/*/repairs", Target::SpreadAtMost(0.1)),
                figure("bytes", "/*/bytes_received", Target::SpreadAtMost(0.1)),
                figure("buffered", "/*/buffered_bytes", Target::Falls),
            ],
            context: &["/*/parameters/members", "/*/parameters/seconds", "/*/parameters/seed"],
        }],
    },
    Bar {
        name: "core.speed",
        about: "protocol events per second that the simulator handles on one core",
        runs: &[
            Run {
                label: "100",
                full: Spinglass("lab speed --members 100"),
                quick: Some(Spinglass("lab speed --members 100")),
                figures: &[at_least("events_per_s", "/events_per_second", 1_000_000.0)],
                context: &["/members", "/events", "/seed"],
            },
            Run {
                label: "1000",
                full: Spinglass("lab speed --members 1000"),
                quick: None,
                figures: &[report("events_per_s", "/events_per_second")],
                context: &["/members", "/events", "/seed"],
            },
        ],
    },
    Bar {
        name: "core.determinism",
        about: "one seed is one run, bit for bit",
        runs: &[Run {
            label: "",
            full: Spinglass("lab determinism --runs 200"),
            quick: Some(Spinglass("lab determinism --runs 10")),
            figures: &[figure("same_hash", "/equal", Target::SameAs("/runs"))],
            context: &["/runs", "/seed"],
        }],
    },
    Bar {
        name: "core.hostile",
        about: "damaged copies of real datagrams: none accepted, none answered, no panic",
        runs: &[Run {
            label: "",
            full: Spinglass("lab hostile --datagrams 10000000"),
            quick: Some(Spinglass("lab hostile --datagrams 200000")),
            figures: &[
                at_most("accepted", "/accepted", 0.0),
                at_most("answered", "/answered", 0.0),
                report("datagrams", "/datagrams"),
            ],
            context: &["/seed"],
        }],
    },
    Bar {
        name: "table.functions",
        about: "an evaluation over 64 rows beside SQLite, and the most that hostile ones take",
        runs: &[Run {
            label: "",
            full: FUNCTIONS,
            quick: Some(FUNCTIONS),
            figures: &[
                at_most("median_us", "/zone/median_us", 5.0),
                report("sqlite_us", "/zone/sqlite_median_us"),
                at_least("hostile", "/hostile/statements", 100.0),
                at_most("hostile_ms", "/hostile/max_ms", 10.0),
                at_most("hostile_bytes", "/hostile/max_bytes", 1_048_576.0),
            ],
            context: &["/zone/rows", "/zone/attributes", "/zone/samples", "/zone/sqlite_version"],
        }],
    },
    Bar {
        name: "table.sqlite",
        about: "random functions and queries mean what SQLite means by them",
        runs: &[Run {
            label: "",
            full: sqlite("100000"),
            quick: Some(sqlite("5000")),
            figures: &[
                at_least("share", "/agreeing_share", 0.8),
                report("agreeing", "/agreeing"),
                report("overflowed", "/overflowed_in_sqlite"),
            ],
            context: &["/queries", "/sqlite_version"],
        }],
    },
    Bar {
        name: "table.rounds",
        about: "rounds until every agent has heard an update, in trees of 25 children per zone",
        runs: &[
            Run {
                label: "625",
                full: Spinglass("lab rounds --levels 2 --representatives 1,3"),
                quick: Some(Spinglass("lab rounds --levels 2 --representatives 1,3")),
                figures: &[
                    at_most("one_representative", "/0/last_rounds", 12.5 + ROUNDS_MORE),
                    at_most("three_representatives", "/1/last_rounds", 10.7 + ROUNDS_MORE),
                    at_most("never", "/*/never", 0.0),
                ],
                context: ROUNDS_CONTEXT,
            },
            Run {
                label: "15625",
                full: Spinglass("lab rounds --levels 3 --representatives 1,3"),
                quick: None,
                figures: &[
                    at_most("one_representative", "/0/last_rounds", 21.4 + ROUNDS_MORE),
                    at_most("three_representatives", "/1/last_rounds", 17.1 + ROUNDS_MORE),
                    at_most("never", "/*/never", 0.0),
                ],
                context: ROUNDS_CONTEXT,
            },
            Run {
                label: "390625",
                full: Spinglass("lab rounds --levels 4 --representatives 3 --updates 3"),
                quick: None,
                figures: &[
                    at_most("three_representatives", "/0/last_rounds", 23.9 + ROUNDS_MORE),
                    at_most("never", "/*/never", 0.0),
                ],
                context: ROUNDS_CONTEXT,
            },
        ],
    },
];

const FUNCTIONS: Program = Bench { package: "spinglass-summary", name: "functions", words: "" };

/// So many random statements.
const fn sqlite(queries: &'static str) -> Program {
    let setting = ("SPINGLASS_QUERIES", queries);
    Test { package: "spinglass-summary", name: "sqlite", setting }
}

/// By how many rounds the real protocol may miss what the paper's model computes.
const ROUNDS_MORE: f64 = 2.0;

const ROUNDS_CONTEXT: &[&str] =
    &["/*/agents", "/*/parameters/representatives", "/0/parameters/updates", "/0/parameters/seed"];

const QUICK_PERTURB: Program = Spinglass("lab perturb --members 32 --samples 8 --asleep 0.5");

const PERTURB_REAL: &[Figure] = &[
    at_least("rate_share", "/worst_rate_share", 0.99),
    at_most("variation", "/worst_variation", 0.05),
    report("healthy_gaps", "/runs/*/healthy_gaps"),
];

const PERTURB_CONTEXT: &[&str] = &["/members", "/samples", "/datagram_bytes", "/mode", "/seed"];

const LOSS_CONTEXT: &[&str] =
    &["/members", "/seconds", "/runs/*/published", "/datagram_bytes", "/mode"];

const BENCH_CONTEXT: &[&str] =
    &["/*/members", "/*/size", "/*/datagram_bytes", "/*/mode", "/*/deliveries"];

const fn simulated_perturb(label: &'static str, full: Program, quick: Option<Program>) -> Run {
    Run { label, full, quick, figures: PERTURB_REAL, context: PERTURB_CONTEXT }
}

/// A run whose report has one truth that counts.
const fn passes(full: Program, quick: Option<Program>) -> Run {
    Run { label: "", full, quick, figures: GOOD, context: &["/messages", "/seed"] }
}

const GOOD: &[Figure] = &[at_least("good", "/good", 1.0)];

/// A run over wide links.
const fn wan(
    label: &'static str,
    full: Program,
    quick: Option<Program>,
    figures: &'static [Figure],
) -> Run {
    Run { label, full, quick, figures, context: WAN_PARAMETERS }
}

/// The report is two: without trouble, and with loss and sleepers.
const WAN_1000: &[Figure] = &[
    at_most("last_ms", "/0/last_ms/mean", 450.0),
    at_most("surplus", "/0/surplus", 0.3),
    figure("lossy_over_clean", "/1/last_ms/mean", Target::AtMostTimes(2.0, "/0/last_ms/mean")),
    at_most("incomplete", "/*/incomplete", 0.0),
];

const WAN_10000: &[Figure] = &[
    at_most("last_ms", "/0/last_ms/mean", 1000.0),
    at_most("surplus", "/0/surplus", 0.3),
    figure("lossy_over_clean", "/1/last_ms/mean", Target::AtMostTimes(2.0, "/0/last_ms/mean")),
    at_most("incomplete", "/*/incomplete", 0.0),
];

const PARAMETERS: &[&str] = &["/parameters/members", "/parameters/messages", "/parameters/seed"];

const WAN_PARAMETERS: &[&str] = &[
    "/0/parameters/members",
    "/0/parameters/messages",
    "/*/parameters/loss",
    "/0/parameters/seed",
];
