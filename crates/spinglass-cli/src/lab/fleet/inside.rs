//! A fleet of which all agents are in this process, on one thread.

use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use rustix::process::{Pid, getpid};
use spinglass::{Config, GroupKeys, Node, ZonePath};
use spinglass_core::Prng;
use tokio::task::JoinSet;

use super::{COUNT, FORM_TIME, Idle, Plan, ROUNDS_MAX, Report, SEEDS, SETTLE_ROUNDS, SUMMARY};
use crate::clock::monotonic_ns;
use crate::herd::{processor_seconds, resident};
use crate::member::protocol::Watch;
use crate::member::reach;
use crate::output::Format;

/// Multicast rests: nobody publishes, and two thousand agents would compare what they don't have.
const MULTICAST_ROUND: Duration = Duration::from_secs(3600);

/// Measures how updates spread and what idle agents cost.
pub(super) async fn updates(plan: &Plan, report: &mut Report, format: Format) -> Result<()> {
    format.say(&format!("starting {} agents in this process", plan.agents));
    let begin = monotonic_ns();
    let nodes = start(plan).await?;
    let whole = await_root(&nodes, COUNT, plan.agents as f64, FORM_TIME).await?;
    report.join_seconds = whole.saturating_sub(begin) as f64 / 1e9;
    format.say(&format!("one system after {:.1} s", report.join_seconds));
    let first = nodes.first().context("a fleet has an agent")?;
    let (name, sql) = SUMMARY;
    first.table().install(&ZonePath::root(), name, sql).await?;
    tokio::time::sleep(plan.round * SETTLE_ROUNDS).await;
    for (number, source) in (1..).zip(plan.sources()) {
        let load = f64::from(number);
        let source = nodes.get(source).context("the source is one of them")?;
        let set = monotonic_ns();
        source.table().set(name, load).await?;
        let last = await_root(&nodes, name, load, plan.round * ROUNDS_MAX).await?;
        report.rounds.push(plan.rounds_between(set, last));
        format.say(&format!("update {number}: {:.1} rounds", plan.rounds_between(set, last)));
    }
    tokio::time::sleep(plan.round * SETTLE_ROUNDS).await;
    report.idle = Some(idle(plan, &nodes).await?);
    Ok(())
}

async fn start(plan: &Plan) -> Result<Vec<Node>> {
    let key = spinglass_crypto::random();
    let mut rng = Prng::new(plan.seed).fork("seeds");
    let mut nodes: Vec<Node> = Vec::with_capacity(plan.agents);
    for agent in 0..plan.agents {
        let mut config = Config::lan();
        config.table.round = plan.round;
        config.multicast.round = MULTICAST_ROUND;
        // Thousands that all ask the same few at once would wait for these few's budgets.
        let chosen: [usize; SEEDS] = std::array::from_fn(|_| rng.index(nodes.len()));
        let seeds = chosen.iter().filter_map(|seed| nodes.get(*seed)).map(Node::local_addr);
        let builder = Node::builder()
            .config(config)
            .group_key(GroupKeys::from_key(key))
            .region(plan.region(agent))
            .name(format!("n{agent:04}"))
            .seeds(seeds);
        nodes.push(builder.start().await.with_context(|| format!("agent {agent}"))?);
    }
    Ok(nodes)
}

/// Waits until every agent's root says so; returns when the last one's did.
async fn await_root(nodes: &[Node], name: &str, number: f64, limit: Duration) -> Result<u64> {
    let mut waiting = JoinSet::new();
    for node in nodes {
        let mut table = node.table();
        let watch = Watch { name: name.into(), number };
        waiting.spawn(async move { reach(&mut table, Some(&watch)).await });
    }
    let Ok(reached) = tokio::time::timeout(limit, waiting.join_all()).await else {
        bail!("not every agent's root said that {name} is {number} within {limit:?}");
    };
    let mut last = 0;
    for at_ns in reached {
        last = last.max(at_ns?);
    }
    Ok(last)
}

async fn idle(plan: &Plan, nodes: &[Node]) -> Result<Idle> {
    let own: Pid = getpid();
    let used = || processor_seconds(own).context("this process can't be looked at");
    let (before, seconds_before, begin) = (sent(nodes).await, used()?, monotonic_ns());
    tokio::time::sleep(plan.idle).await;
    let processor_seconds = used()? - seconds_before;
    let seconds = monotonic_ns().saturating_sub(begin) as f64 / 1e9;
    let after = sent(nodes).await;
    let agents = plan.agents as f64;
    let resident = resident(own).context("this process can't be looked at")?;
    let per_second = |after: u64, before: u64| (after - before) as f64 / seconds / agents;
    Ok(Idle {
        seconds,
        resident_bytes: resident.bytes as f64 / agents,
        resident_bytes_max: resident.bytes as f64 / agents,
        private_bytes: resident.private_bytes as f64 / agents,
        processor_percent: processor_seconds / seconds / agents * 100.0,
        bytes_per_second: per_second(after.0, before.0),
        datagrams_per_second: per_second(after.1, before.1),
    })
}

/// Bytes and datagrams that all agents sent so far.
async fn sent(nodes: &[Node]) -> (u64, u64) {
    let mut sum = (0, 0);
    for node in nodes {
        let stats = node.stats().await.protocol;
        sum = (sum.0 + stats.bytes_sent, sum.1 + stats.datagrams_sent);
    }
    sum
}
