//! Whom of its region an agent hears nothing from, though all others say that it runs: the path
//! from there to here is blocked. It is said in the own row, so that anybody sees who does not get
//! through to whom.
//!
//! Agents compare tables with one another by chance, once a round: of a region's n agents each
//! hears from each of the others every n / 2 rounds on average.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::{Arc, Weak};
use std::time::Duration;

use spinglass::{Node, RowKind, TableError, Value};
use tokio::time::{MissedTickBehavior, interval};

use super::facts::Claimed;

/// The attribute.
pub(super) const UNHEARD: &str = "unheard";
/// Names that it holds.
const NAMES_MAX: usize = 8;
/// How often it is looked at.
const EVERY: Duration = Duration::from_secs(10);
/// Of one path in a region of n, silence for so many times n rounds of 1 s happens by chance with a
/// probability of exp(-30).
const SECONDS_PER_AGENT: u64 = 15;
/// The least silence that counts: a member may sleep, and packets are lost.
const SILENCE_MIN: Duration = Duration::from_secs(30);

/// Says whom the agent does not hear, until the node is gone.
pub(super) async fn keep_telling(node: Weak<Node>, claimed: Arc<Claimed>) {
    let mut said = Value::Null;
    let mut ticks = interval(EVERY);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        let Some(node) = node.upgrade() else { return };
        let Ok(now) = unheard(&node).await else { return };
        if now != said && !claimed.has(UNHEARD) {
            // A rule may forbid the name: then it is not told.
            if let Err(error) = node.table().set(UNHEARD, now.clone()).await {
                tracing::debug!(name = UNHEARD, %error, "not told");
            }
            said = now;
        }
    }
}

async fn unheard(node: &Node) -> Result<Value, TableError> {
    let table = node.table();
    let zone = table.zone(&table.region().await?).await?;
    let agents = zone.rows.iter().map(|row| &row.row).filter(|row| row.kind() == RowKind::Agent);
    let agents = agents.filter_map(|row| Some((row.name(), *row.contacts().first()?)));
    let agents: Vec<(&str, SocketAddr)> = agents.collect();
    let traffic = node.traffic().await.into_iter();
    let paths = traffic.map(|it| (it.address, Path { sent: it.since, heard: it.heard })).collect();
    let names = silent(&agents, &paths).into_iter().map(Value::text);
    let names: Vec<Value> = names.collect();
    Ok(if names.is_empty() { Value::Null } else { Value::list(names) })
}

/// How long ago an address was first sent something, and last heard.
#[derive(Debug)]
struct Path {
    sent: Duration,
    heard: Option<Duration>,
}

/// Agents of a region that have been sent something for so long that they would have been heard.
fn silent<'a>(
    agents: &[(&'a str, SocketAddr)],
    paths: &BTreeMap<SocketAddr, Path>,
) -> Vec<&'a str> {
    let silence = silence(agents.len());
    let is_silent =
        |path: &Path| path.sent >= silence && path.heard.is_none_or(|heard| heard >= silence);
    // Nobody sends itself anything.
    let silent = agents.iter().filter(|(_, at)| paths.get(at).is_some_and(is_silent));
    silent.map(|(name, _)| *name).take(NAMES_MAX).collect()
}

fn silence(agents: usize) -> Duration {
    let seconds = SECONDS_PER_AGENT.saturating_mul(agents as u64);
    Duration::from_secs(seconds).max(SILENCE_MIN)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn larger_regions_are_given_more_time() {
        assert_eq!(silence(2), SILENCE_MIN);
        assert_eq!(silence(64), Duration::from_secs(960));
    }

    #[test]
    fn whoever_is_sent_something_and_never_heard_is_told_of() {
        let at = |port: u16| SocketAddr::from(([127, 0, 0, 1], port));
        let agents: [(&str, SocketAddr); 6] = [
            ("own", at(1)),
            ("heard", at(2)),
            ("never", at(3)),
            ("no more", at(4)),
            ("new", at(5)),
            ("busy", at(6)),
        ];
        let seconds = Duration::from_secs;
        let long = silence(agents.len());
        let path = |sent, heard| Path { sent, heard };
        let paths = BTreeMap::from([
            (at(2), path(long * 2, Some(seconds(1)))),
            (at(3), path(long, None)),
            (at(4), path(long * 3, Some(long))),
            (at(5), path(seconds(1), None)),
            (at(6), path(long * 3, Some(long - seconds(1)))),
        ]);
        assert_eq!(silent(&agents, &paths), ["never", "no more"]);
    }
}
