//! What an agent counts, in the form that Prometheus reads. Names and units follow its conventions;
//! docs/agent.md has the catalogue. No label tells members apart: there may be many.

use std::collections::BTreeMap;
use std::sync::atomic::AtomicU64;

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::encoding::text::encode;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;
use spinglass::{Reject, Stats};

/// A counter's name without its `_total`, what it counts, and where that is found.
type Counted = (&'static str, &'static str, fn(&Stats) -> u64);

/// A millionth: what the core tells shares in.
const PPM: f64 = 1e-6;

/// What is counted.
const COUNTERS: [Counted; 37] = [
    ("datagrams_received", "Datagrams taken in, refused ones included", |it| {
        it.protocol.datagrams_received
    }),
    ("datagrams_sent", "Datagrams sent, once per destination", |it| it.protocol.datagrams_sent),
    ("received_bytes", "Bytes of the datagrams taken in", |it| it.protocol.bytes_received),
    ("sent_bytes", "Bytes of the datagrams sent, once per destination", |it| {
        it.protocol.bytes_sent
    }),
    ("send_errors", "Sends that the system refused", |it| {
        let it = &it.runtime;
        it.errors_refused
            + it.errors_denied
            + it.errors_no_buffers
            + it.errors_too_large
            + it.errors_unreachable
            + it.errors_other
    }),
    ("gossip_rounds", "Rounds of gossip repair begun", |it| it.protocol.rounds),
    ("digests_sent", "Digests of streams sent", |it| it.protocol.digests_sent),
    ("messages_published", "Messages published here", |it| it.protocol.messages_published),
    ("messages_delivered", "Messages delivered to subscribers here", |it| {
        it.protocol.messages_delivered
    }),
    ("delivered_bytes", "Bytes of the messages delivered", |it| it.protocol.bytes_delivered),
    ("messages_lagged", "Messages that slow subscribers missed", |it| it.runtime.messages_lagged),
    ("packets_received", "Packets of streams taken in", |it| it.protocol.packets_received),
    ("packets_forwarded", "Packets passed on along trees", |it| it.protocol.packets_forwarded),
    ("packets_surplus", "Packets that came by trees though they were there", |it| {
        it.protocol.spread_surplus
    }),
    ("packets_untaken", "Packets that came though nobody here or below takes them", |it| {
        it.protocol.packets_untaken
    }),
    ("packets_lost", "Packets given up", |it| it.protocol.packets_lost),
    (
        "packets_thinned",
        "Packets left out: more was published than this agent is to be sent",
        |it| it.protocol.packets_thinned,
    ),
    ("gaps", "Gaps told to subscribers", |it| it.protocol.gaps),
    ("packets_solicited", "Packets asked for", |it| it.protocol.packets_solicited),
    ("repairs_sent", "Packets sent because others asked", |it| it.protocol.repairs_sent),
    ("repair_sent_bytes", "Bytes of those", |it| it.protocol.repair_bytes_sent),
    ("repairs_received", "Packets that came because they were asked for", |it| {
        it.protocol.repairs_received
    }),
    ("repairs_surplus", "Of these, those that were there by then", |it| {
        it.protocol.repairs_surplus
    }),
    ("table_digests_sent", "Digests of the table sent", |it| it.protocol.table_digests_sent),
    ("table_inventories_sent", "Inventories of parts of the table sent", |it| {
        it.protocol.table_inventories_sent
    }),
    ("table_rows_issued", "Rows that this agent signed", |it| it.protocol.rows_issued),
    ("table_rows_sent", "Rows of the table sent", |it| it.protocol.rows_sent),
    ("table_rows_merged", "Rows of the table taken in that were news", |it| {
        it.protocol.rows_merged
    }),
    ("table_over_budget", "Times that a round's bytes did not suffice for the table", |it| {
        it.protocol.table_over_budget
    }),
    ("probes_sent", "Probes of the failure detector sent", |it| it.protocol.probes_sent),
    ("accusations", "Accusations that this agent signed", |it| it.protocol.accusations_made),
    ("agents_removed", "Agents that a quorum removed, as seen here", |it| {
        it.protocol.agents_removed
    }),
    ("signatures_made", "Signatures made", |it| it.protocol.signatures_made),
    ("signatures_checked", "Signatures checked", |it| it.protocol.signatures_checked),
    ("members_quarantined", "Members put in quarantine", |it| it.protocol.quarantined),
    ("epochs_entered", "Link keys that this agent has moved to", |it| it.protocol.epochs_entered),
    ("sightings_missed", "Sightings of traced messages for which there was no room", |it| {
        it.protocol.sightings_missed + it.runtime.sightings_missed
    }),
];

/// Why something was refused.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Reason {
    reason: String,
}

/// The counters by name, those of what was refused as `rejected.REASON`.
#[must_use]
pub fn counters(stats: &Stats) -> BTreeMap<String, u64> {
    let counted = COUNTERS.into_iter().map(|(name, _, value)| (name.to_owned(), value(stats)));
    let rejected = Reject::ALL.into_iter().map(|reject| {
        let name = format!("rejected.{}", snake_case(&format!("{reject:?}")));
        (name, stats.protocol.rejected(reject))
    });
    counted.chain(rejected).collect()
}

/// The exposition, as of now.
pub(super) fn exposition(stats: &Stats, members: usize) -> Result<String, std::fmt::Error> {
    let mut registry = Registry::with_prefix("spinglass");
    for (name, help, value) in COUNTERS {
        let counter: Counter = Counter::default();
        counter.inc_by(value(stats));
        registry.register(name, help, counter);
    }
    let rejected = Family::<Reason, Counter>::default();
    for reject in Reject::ALL {
        let reason = Reason { reason: snake_case(&format!("{reject:?}")) };
        rejected.get_or_create(&reason).inc_by(stats.protocol.rejected(reject));
    }
    registry.register("rejected", "Things refused, by reason", rejected);
    let gauge = |value: f64| {
        let gauge = Gauge::<f64, AtomicU64>::default();
        gauge.set(value);
        gauge
    };
    let protocol = &stats.protocol;
    let loss = gauge(f64::from(protocol.loss_ppm) * PPM);
    registry.register("loss_ratio", "Share of packets that did not come by dissemination", loss);
    let buffered = gauge(protocol.buffered_bytes as f64);
    registry.register("buffered_bytes", "Bytes of packets kept for repair", buffered);
    registry.register("members", "Agents known to be there in all", gauge(members as f64));
    let mut text = String::new();
    encode(&mut text, &registry)?;
    Ok(text)
}

fn snake_case(name: &str) -> String {
    let mut snake = String::new();
    for letter in name.chars() {
        if letter.is_uppercase() && !snake.is_empty() {
            snake.push('_');
        }
        snake.extend(letter.to_lowercase());
    }
    snake
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn metrics_are_named_by_the_conventions() {
        let mut stats = Stats::default();
        stats.protocol.bytes_sent = 7;
        let text = exposition(&stats, 3).unwrap();
        assert!(text.contains("# TYPE spinglass_sent_bytes counter\n"), "{text}");
        assert!(text.contains("spinglass_sent_bytes_total 7\n"), "{text}");
        assert!(text.contains("spinglass_members 3.0\n"), "{text}");
        assert!(text.contains("spinglass_rejected_total{reason=\"unknown_boot\"} 0\n"), "{text}");
        assert!(text.ends_with("# EOF\n"));
    }

    /// The catalogue in the docs is this one.
    #[test]
    fn the_catalogue_is_what_is_exposed() {
        let docs = include_str!("../../../../docs/agent.md");
        let text = exposition(&Stats::default(), 1).unwrap();
        let told = |what: &'static str| {
            let lines = text.lines().filter_map(move |line| line.strip_prefix(what));
            lines.filter_map(|line| line.split_once(' '))
        };
        let mut rows = 0;
        for ((name, help), (_, kind)) in told("# HELP ").zip(told("# TYPE ")) {
            let total = if kind == "counter" { "_total" } else { "" };
            let row = format!("| `{name}{total}` | {kind} | {} |\n", help.trim_end_matches('.'));
            assert!(docs.contains(&row), "docs/agent.md lacks: {row}");
            rows += 1;
        }
        assert_eq!(docs.matches("\n| `spinglass_").count(), rows, "and has no others");
    }
}
