//! A member with a node: what it hears is counted, what it is ordered to publish is published.

use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use spinglass::{
    Builder, Config, Event, Group, GroupKeys, Node, Rating, ReplyPorts, Table, Value, ZonePath,
};
use tokio::task::JoinSet;
use tokio::time::{Interval, MissedTickBehavior, interval};

use super::emit;
use super::protocol::{Counters, Order, Report, Root, RootZone, Setup, Watch};
use super::tally::Counting;
use super::{Orders, tell};
use crate::allocator;
use crate::clock::monotonic_ns;
use crate::papers;

/// The topic of everything that is measured.
const TOPIC: &str = "measured";
/// The pace of a measured sender, in bytes per second and at once. Far above what a machine of
/// today can do: the orders set the rate.
const PACE: (u64, usize) = (2 << 30, 4 << 20);
/// Events that may wait while the process is stopped or not scheduled: seconds of the fastest
/// streams, so that a bar measures the network and not this queue.
const WAITING_EVENTS_MAX: usize = 1 << 20;
/// Bytes of their messages.
const WAITING_BYTES_MAX: usize = 512 << 20;

/// Runs until the orders end.
///
/// # Errors
/// The node does not start, or an order can't be carried out.
pub(super) async fn run(setup: &Setup, orders: &mut Orders) -> Result<()> {
    let node = start(setup).await?;
    let group = node.group(TOPIC);
    if let Some(share) = setup.ratings.get(setup.index % setup.ratings.len().max(1)) {
        group.set_rating(Rating::new(*share)?);
    }
    let mut heard = group.subscribe();
    // As an agent does.
    let mut beside = JoinSet::new();
    beside.spawn(allocator::keep_giving_back());
    let mut events = Vec::new();
    let mut counting = Counting::new(super::protocol::Step::default());
    let mut progress = ticks(setup.progress_ms);
    let (mut table, mut watches_root, mut last) = (node.table(), false, Vec::new());
    let mut watched = node.table();
    let mut watch: Option<Watch> = None;
    loop {
        tokio::select! {
            order = orders.next() => match order? {
                Some(Order::WatchRoot) => watches_root = true,
                Some(Order::Watch(asked)) => watch = Some(asked),
                Some(order) => obey(order, &node, &group, &mut counting).await?,
                None => break,
            },
            count = heard.next_batch(&mut events) => {
                if count == 0 {
                    bail!("the node has stopped");
                }
                count_events(&mut counting, &mut events);
            }
            changed = table.changed(), if watches_root => {
                changed?;
                let zones = root_zones(&table).await?;
                if zones != last {
                    last.clone_from(&zones);
                    tell(&Report::Root(Root { at_ns: monotonic_ns(), zones }))?;
                }
            }
            reached = reach(&mut watched, watch.as_ref()), if watch.is_some() => {
                watch = None;
                tell(&Report::Reached { at_ns: reached? })?;
            }
            _ = progress.tick(), if setup.progress_ms > 0 => {
                tell(&Report::Progress(counting.progress(&counters(&node).await)))?;
            }
        }
    }
    // The conductor does not wait: whatever is still unsent no longer matters.
    let _ = node.close_within(CLOSE_TIME).await;
    Ok(())
}

/// Waits until the root's summary says what is asked for; returns since when, at least, on the
/// machine's monotonic clock. May be cancelled.
///
/// # Errors
/// The node has stopped.
pub(crate) async fn reach(table: &mut Table, watch: Option<&Watch>) -> Result<u64> {
    let Some(Watch { name, number }) = watch else { return std::future::pending().await };
    loop {
        let root = table.zone(&ZonePath::root()).await?;
        let says = match root.summary.attributes.get(name) {
            Some(Value::Int(says)) => *says as f64 == *number,
            Some(Value::Float(says)) => says.get() == *number,
            _ => false,
        };
        if says {
            return Ok(monotonic_ns());
        }
        table.changed().await?;
    }
}

/// How long a member whose orders have ended goes on sending.
const CLOSE_TIME: Duration = Duration::from_millis(100);

pub(super) async fn start(setup: &Setup) -> Result<Node> {
    let node = builder(setup).start().await?;
    let largest = spinglass::DATAGRAM_BYTES_LOOPBACK;
    let datagram_bytes = setup.datagram_bytes.unwrap_or(largest);
    tell(&Report::Bound { address: node.local_addr(), datagram_bytes })?;
    Ok(node)
}

/// How a member's node is made.
pub(crate) fn builder(setup: &Setup) -> Builder {
    let mut builder = Node::builder()
        .seeds(setup.seeds.iter().copied())
        .subscription_limits(WAITING_EVENTS_MAX, WAITING_BYTES_MAX)
        .pace(PACE.0, PACE.1);
    if let Some(folder) = &setup.papers {
        builder = papers::member(builder, folder, setup.index);
    }
    if !setup.keyless {
        builder = builder.group_key(GroupKeys::from_key(setup.group_key));
    }
    if setup.table_round_ms > 0 {
        let mut config = Config::lan();
        config.table.round = Duration::from_millis(setup.table_round_ms);
        builder = builder.config(config).pace(PACE.0, PACE.1);
    }
    if !setup.regions.is_empty() {
        let region = setup.regions.get(setup.index % setup.regions.len());
        builder = builder.region(region.cloned().unwrap_or_default());
        builder = builder.name(format!("n{:02}", setup.index));
    }
    if let Some(address) = setup.bind {
        builder = builder.bind(address);
    }
    if let Some(path) = &setup.state {
        builder = builder.state_file(path);
    }
    if let Some(bytes) = setup.datagram_bytes {
        builder = builder.datagram_bytes(bytes);
    }
    if let Some(SocketAddr::V4(group)) = setup.multicast {
        let interface = match setup.bind {
            Some(SocketAddr::V4(bind)) => *bind.ip(),
            _ => Ipv4Addr::LOCALHOST,
        };
        builder = builder.multicast(group, interface);
    }
    if let Some(nines) = setup.nines {
        builder = builder.reliability(nines);
    }
    if setup.drop_probability > 0.0 {
        builder = builder.drop_probability(setup.drop_probability, std::process::id().into());
    }
    if let Some(path) = &setup.record {
        builder = builder.record(path);
    }
    if setup.fixed_port {
        builder = builder.reply_ports(ReplyPorts::Never);
    }
    builder
}

fn ticks(progress_ms: u64) -> Interval {
    let mut ticks = interval(Duration::from_millis(progress_ms.max(1)));
    // A stopped process must not catch up on reports.
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    ticks
}

async fn obey(order: Order, node: &Node, group: &Group, counting: &mut Counting) -> Result<()> {
    match order {
        Order::Await { members, .. } => {
            node.wait_for_members(members).await?;
            tell(&Report::Ready)?;
        }
        Order::Step(step) => *counting = Counting::new(step),
        Order::Tell => {
            tell(&Report::Tally(Box::new(counting.tally(counters(node).await))))?;
        }
        Order::Emit { count, bytes, rate, tick_us } => {
            let step = counting.step().number;
            let tick = Duration::from_micros(tick_us);
            let emission = emit::Emission { step, count, bytes, rate, tick };
            emit::in_background(emit::numbered(vec![group.clone()], emission));
        }
        Order::Stream { file, piece_bytes, rate } => {
            let step = counting.step().number;
            emit::in_background(emit::file(group.clone(), step, file, piece_bytes, rate));
        }
        Order::Line { text } => emit::line(group, counting.step().number, &text)
            .await
            .context("cannot publish a line")?,
        Order::Load { load } => {
            // Taken before: others may see it before this process hears that it is set.
            let at_ns = monotonic_ns();
            node.table().set("load", load).await?;
            tell(&Report::Changed { at_ns })?;
        }
        Order::Install { name, sql } => {
            node.table().install(&ZonePath::root(), &name, sql.as_str()).await?;
        }
        Order::Drop { share } => node.drop_packets(share, std::process::id().into())?,
        Order::WatchRoot | Order::Watch(_) => {
            bail!("the root is watched by whoever reads the orders")
        }
        Order::Flood { .. } => bail!("a member with a node does not flood"),
    }
    Ok(())
}

/// The rows of the table's root.
async fn root_zones(table: &Table) -> Result<Vec<RootZone>> {
    let zone = table.zone(&ZonePath::root()).await?;
    let rows = zone.rows.iter().map(|row| {
        let attributes = row.row.attributes();
        let members = attributes.get("nmembers").and_then(Value::as_int).unwrap_or(0);
        let load = match attributes.get("load") {
            Some(Value::Float(load)) => Some(load.get()),
            _ => None,
        };
        RootZone { name: row.row.name().to_owned(), members, load }
    });
    Ok(rows.collect())
}

fn count_events(counting: &mut Counting, events: &mut Vec<Event>) {
    let now = monotonic_ns();
    for event in events.drain(..) {
        match event {
            Event::Message(message) => counting.on_message(&message.payload, now),
            Event::Gap(gap) => counting.on_gap(gap.packets),
            // Told, though the network is not to blame: it counts as a loss all the same.
            Event::Lagged(lagged) => counting.on_gap(lagged.messages),
            Event::MemberUp(_)
            | Event::MemberDown { .. }
            | Event::Quarantined { .. }
            | Event::FalseSummary { .. } => (),
        }
    }
}

pub(super) async fn counters(node: &Node) -> Counters {
    let spinglass::Stats { protocol: stats, runtime, .. } = node.stats().await;
    Counters {
        bytes_sent: stats.bytes_sent,
        datagrams_sent: stats.datagrams_sent,
        repairs_sent: stats.repairs_sent,
        repairs_received: stats.repairs_received,
        surplus: stats.repairs_surplus + stats.spread_surplus,
        signatures_checked: stats.signatures_checked,
        refused: stats.rejected.iter().sum(),
        reply_datagrams: runtime.reply_datagrams,
        removed: stats.agents_removed,
        loss_ppm: stats.loss_ppm,
        untaken: stats.packets_untaken,
    }
}
