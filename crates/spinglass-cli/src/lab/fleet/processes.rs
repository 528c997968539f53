//! A fleet of which every agent is a process.

use std::time::Duration;

use anyhow::{Context as _, Result};

use super::{
    COUNT, FORM_TIME, Idle, Outage, Plan, ROUNDS_MAX, Report, SEEDS, SETTLE_ROUNDS, SUMMARY,
};
use crate::clock::monotonic_ns;
use crate::herd::Herd;
use crate::member::protocol::{Counters, Order, Setup, Watch};
use crate::output::Format;

/// Rounds that the agents live on before an outage.
const ROUNDS_BEFORE_OUTAGE: u32 = 45;
/// How long that is at least: each has written down whom it knows by then, for the first time.
const BEFORE_OUTAGE_MIN: Duration = Duration::from_secs(6);

/// Measures how updates spread and what idle agents cost.
pub(super) async fn updates(plan: &Plan, report: &mut Report, format: Format) -> Result<()> {
    let mut herd = form(plan, &setups(plan), report, format).await?;
    let (name, sql) = SUMMARY;
    herd.order(0, &Order::Install { name: name.into(), sql: sql.into() }).await?;
    tokio::time::sleep(plan.round * SETTLE_ROUNDS).await;
    for (number, source) in (1..).zip(plan.sources()) {
        let load = f64::from(number);
        herd.forget_changes();
        herd.order_all(&watch(name, load)).await?;
        herd.order(source, &Order::Load { load }).await?;
        let last = herd.await_reached(plan.round * ROUNDS_MAX).await?;
        let set = herd.change_of(source).context("whoever sets the attribute says when")?;
        report.rounds.push(plan.rounds_between(set, last));
        format.say(&format!("update {number}: {:.1} rounds", plan.rounds_between(set, last)));
    }
    tokio::time::sleep(plan.round * SETTLE_ROUNDS).await;
    report.idle = Some(idle(plan, &mut herd).await?);
    herd.end().await;
    Ok(())
}

/// Kills everybody, starts everybody again without seeds, and waits until they are one system.
pub(super) async fn outage(plan: &Plan, report: &mut Report, format: Format) -> Result<()> {
    std::fs::create_dir_all(&plan.memory)
        .with_context(|| format!("cannot make {}", plan.memory.display()))?;
    let mut setups = setups(plan);
    for (agent, setup) in setups.iter_mut().enumerate() {
        setup.state = Some(plan.memory.join(agent.to_string()));
    }
    let herd = form(plan, &setups, report, format).await?;
    tokio::time::sleep(BEFORE_OUTAGE_MIN.max(plan.round * ROUNDS_BEFORE_OUTAGE)).await;
    let addresses = herd.addresses();
    herd.end().await;
    format.say("all are killed; starting them again, without seeds");
    for (agent, setup) in setups.iter_mut().enumerate() {
        // Those that the others once joined by come back somewhere else.
        setup.bind = addresses.get(agent).copied().filter(|_| agent >= SEEDS);
    }
    let remembered = remembered(plan)?;
    let begin = monotonic_ns();
    let since = |at_ns: u64| at_ns.saturating_sub(begin) as f64 / 1e9;
    let mut herd = Herd::raise(&setups, 0).await?;
    let up_seconds = since(monotonic_ns());
    herd.order_all(&watch(COUNT, plan.agents as f64)).await?;
    let whole = herd.await_reached(FORM_TIME).await?;
    report.outage = Some(Outage { up_seconds, whole_seconds: since(whole), remembered });
    herd.end().await;
    Ok(())
}

/// Addresses in an agent's memory, on average.
fn remembered(plan: &Plan) -> Result<f64> {
    let mut addresses = 0;
    for agent in 0..plan.agents {
        let path = plan.memory.join(format!("{agent}.peers"));
        let text = std::fs::read_to_string(&path);
        let text =
            text.with_context(|| format!("agent {agent} has not written down whom it knew"))?;
        addresses += text.lines().skip(1).count();
    }
    Ok(addresses as f64 / plan.agents as f64)
}

fn setups(plan: &Plan) -> Vec<Setup> {
    let group_key = spinglass_crypto::random();
    let round_ms = u64::try_from(plan.round.as_millis()).unwrap_or(u64::MAX);
    let setup = |index| Setup {
        group_key,
        index,
        regions: vec![plan.region(index)],
        table_round_ms: round_ms,
        ..Setup::default()
    };
    (0..plan.agents).map(setup).collect()
}

fn watch(name: &str, number: f64) -> Order {
    Order::Watch(Watch { name: name.into(), number })
}

/// Starts the agents, and waits until every one's root counts all of them.
async fn form(plan: &Plan, setups: &[Setup], report: &mut Report, format: Format) -> Result<Herd> {
    format.say(&format!("starting {} agents, each a process", plan.agents));
    let begin = monotonic_ns();
    let mut herd = Herd::raise(setups, SEEDS.min(setups.len())).await?;
    herd.order_all(&watch(COUNT, plan.agents as f64)).await?;
    let whole = herd.await_reached(FORM_TIME).await?;
    report.join_seconds = whole.saturating_sub(begin) as f64 / 1e9;
    format.say(&format!("one system after {:.1} s", report.join_seconds));
    Ok(herd)
}

async fn idle(plan: &Plan, herd: &mut Herd) -> Result<Idle> {
    let (before, used) = (counters(herd).await?, herd.processor_seconds());
    let begin = monotonic_ns();
    tokio::time::sleep(plan.idle).await;
    let processor_seconds = herd.processor_seconds() - used;
    let seconds = monotonic_ns().saturating_sub(begin) as f64 / 1e9;
    let after = counters(herd).await?;
    let agents = plan.agents as f64;
    let resident = herd.resident();
    let mean = |bytes: u64| bytes as f64 / resident.len().max(1) as f64;
    let per_second = |after: u64, before: u64| (after - before) as f64 / seconds / agents;
    Ok(Idle {
        seconds,
        resident_bytes: mean(resident.iter().map(|agent| agent.bytes).sum()),
        resident_bytes_max: resident.iter().map(|agent| agent.bytes).max().unwrap_or(0) as f64,
        private_bytes: mean(resident.iter().map(|agent| agent.private_bytes).sum()),
        processor_percent: processor_seconds / seconds / agents * 100.0,
        bytes_per_second: per_second(after.bytes_sent, before.bytes_sent),
        datagrams_per_second: per_second(after.datagrams_sent, before.datagrams_sent),
    })
}

/// What all agents sent so far.
async fn counters(herd: &mut Herd) -> Result<Counters> {
    let mut sum = Counters::default();
    for tally in herd.tallies().await? {
        sum.bytes_sent += tally.stats.bytes_sent;
        sum.datagrams_sent += tally.stats.datagrams_sent;
    }
    Ok(sum)
}
