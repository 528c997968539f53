//! What an agent says of its machine by itself: what it is, and how busy.
//!
//! Invariants: a name that the user has set, in the settings or later, is the user's from then on;
//! what hardly changed is not said again, so an idle machine costs the table nothing.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;

use spinglass::{Node, Value};
use sysinfo::System;
use tokio::time::{MissedTickBehavior, interval};

/// Names that are the user's.
#[derive(Debug, Default)]
pub(super) struct Claimed(Mutex<BTreeSet<String>>);

impl Claimed {
    pub(super) fn add(&self, name: &str) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).insert(name.to_owned());
    }

    pub(super) fn has(&self, name: &str) -> bool {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).contains(name)
    }
}

/// Parts into which the share of memory in use is rounded.
const MEMORY_PARTS: f64 = 50.0;
/// Parts of one into which the load is rounded, below [`LOAD_HIGH`].
const LOAD_PARTS: f64 = 10.0;
/// The load from which on it is rounded to a whole.
const LOAD_HIGH: f64 = 10.0;

/// Tells what there is to tell, until the node is gone.
pub(super) async fn keep_telling(node: Weak<Node>, claimed: Arc<Claimed>, every: Duration) {
    let mut system = System::new();
    let mut said: Vec<(&str, Value)> = Vec::new();
    let mut ticks = interval(every);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        system.refresh_memory();
        let facts = facts(&system);
        let Some(node) = node.upgrade() else { return };
        let table = node.table();
        for fact in facts.iter().filter(|fact| !said.contains(fact) && !claimed.has(fact.0)) {
            // A rule may forbid the name: then others tell it, or nobody.
            if let Err(error) = table.set(fact.0, fact.1.clone()).await {
                tracing::debug!(name = fact.0, %error, "not told");
            }
        }
        said = facts;
    }
}

fn facts(system: &System) -> Vec<(&'static str, Value)> {
    let text = |text: Option<String>| text.as_deref().map_or(Value::Null, Value::text);
    let cpus = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    let total = system.total_memory();
    let used = system.used_memory() as f64 / total.max(1) as f64;
    let load = System::load_average().one;
    let whole = |number: u64| Value::Int(i64::try_from(number).unwrap_or(i64::MAX));
    vec![
        ("hostname", text(System::host_name())),
        ("os", text(System::long_os_version())),
        ("kernel", text(System::kernel_version())),
        ("arch", Value::text(&System::cpu_arch())),
        ("cpus", whole(cpus as u64)),
        ("memory", whole(total)),
        ("memory_used", Value::float((used * MEMORY_PARTS).round() / MEMORY_PARTS)),
        ("load", Value::float(rounded(load))),
        ("booted", whole(System::boot_time())),
        ("agent", Value::text(concat!("spinglass ", env!("CARGO_PKG_VERSION")))),
    ]
}

/// To a tenth; from ten on, to a whole.
fn rounded(load: f64) -> f64 {
    if load < LOAD_HIGH { (load * LOAD_PARTS).round() / LOAD_PARTS } else { load.round() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_machine_says_what_it_is() {
        let mut system = System::new();
        system.refresh_memory();
        let facts = facts(&system);
        let fact = |name| facts.iter().find(|(it, _)| *it == name).map(|(_, value)| value.clone());
        assert!(fact("cpus").and_then(|value| value.as_int()).is_some_and(|cpus| cpus >= 1));
        assert!(fact("memory").and_then(|value| value.as_int()).is_some_and(|bytes| bytes > 0));
        assert!(matches!(fact("memory_used"), Some(Value::Float(_) | Value::Int(_))));
        assert_eq!(rounded(0.449), 0.4);
        assert_eq!(rounded(12.6), 13.0);
    }
}
