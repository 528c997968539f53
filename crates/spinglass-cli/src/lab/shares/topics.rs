//! Many topics at once, at processes: each takes some, sends some, and says what it got.

use std::time::Duration;

use anyhow::Result;
use serde::Serialize;
use tokio::time::sleep;

use super::{OFF_MAX, Shares};
use crate::herd::Herd;
use crate::lab::loss::{BIN, SETTLE_TIME};
use crate::member::protocol::{Order, Setup, Tally, Topics};
use crate::network::{Mode, Spread};
use crate::output::{Format, Verdict, table};

/// Processes, if it isn't said how many.
const PROCESSES: usize = 64;
/// Until everybody has heard what everybody takes.
const TELL_TIME: Duration = Duration::from_secs(10);

/// What was seen at one loss.
#[derive(Debug, Serialize)]
struct Run {
    loss: f64,
    published: u64,
    /// Messages that all members got.
    delivered: u64,
    /// By how much the share of a topic that is farthest off is off.
    worst_off: f64,
    gaps: u64,
    /// Packets that came to members which take nothing of their topic.
    untaken: u64,
    /// Bytes that a member handed to the network, from its start, for each message that it got.
    bytes_per_delivery: f64,
}

/// All of it.
#[derive(Debug, Serialize)]
struct Report {
    members: usize,
    topics: usize,
    each: usize,
    rate: f64,
    bytes: usize,
    seconds: f64,
    runs: Vec<Run>,
    worst_off: f64,
    gaps: u64,
    untaken: u64,
}

/// Runs it at each loss.
///
/// # Errors
/// The processes can't be run.
pub(super) async fn run(options: &Shares, each: usize, format: Format) -> Result<Verdict> {
    let members = options.members.unwrap_or(PROCESSES);
    let topics = Topics { count: options.topics(), each, members };
    let mut runs = Vec::new();
    for loss in &options.loss {
        format.say(&format!(
            "{members} processes on loopback, {} topics with {} messages a second each for {} s, \
             of which everybody takes {each}; {:.0} % dropped",
            topics.count,
            options.rate,
            options.seconds,
            loss * 100.0
        ));
        runs.push(one(options, topics, *loss).await?);
    }
    let worst_off = runs.iter().map(|run| run.worst_off).fold(0.0, f64::max);
    let sum = |get: fn(&Run) -> u64| runs.iter().map(get).sum();
    let (gaps, untaken) = (sum(|run| run.gaps), sum(|run| run.untaken));
    let Shares { rate, bytes, seconds, .. } = *options;
    let topics = topics.count;
    let report =
        Report { members, topics, each, rate, bytes, seconds, runs, worst_off, gaps, untaken };
    format.print(&report, text)?;
    Ok((report.worst_off <= OFF_MAX && report.gaps == 0).into())
}

async fn one(options: &Shares, topics: Topics, loss: f64) -> Result<Run> {
    let ratings = options.ratings.iter().map(|rating| rating.share()).collect();
    // By IP multicast each packet would reach everybody.
    let spread = Spread::choose(Mode::Trees)?;
    let setup =
        Setup { drop_probability: loss, ratings, topics: Some(topics), ..spread.setup(None) };
    let mut herd = Herd::start(topics.members, &setup).await?;
    sleep(TELL_TIME).await;
    let before: u64 = herd.tallies().await?.iter().map(|tally| tally.stats.untaken).sum();
    herd.begin_step(BIN).await?;
    let count = (options.seconds * options.rate).round().max(1.0) as u64;
    let Shares { bytes, rate, .. } = *options;
    herd.order_all(&Order::Emit { count, bytes, rate, tick_us: 0 }).await?;
    sleep(Duration::from_secs_f64(options.seconds) + SETTLE_TIME).await;
    let tallies = herd.tallies().await?;
    herd.end().await;
    let sum = |get: fn(&Tally) -> u64| -> u64 { tallies.iter().map(get).sum() };
    let delivered = sum(|tally| tally.messages);
    Ok(Run {
        loss,
        published: count * topics.count as u64,
        delivered,
        worst_off: tallies.iter().map(|tally| tally.worst_off).fold(0.0, f64::max),
        gaps: sum(|tally| tally.gaps),
        untaken: sum(|tally| tally.stats.untaken) - before,
        bytes_per_delivery: sum(|tally| tally.stats.bytes_sent) as f64 / delivered.max(1) as f64,
    })
}

fn text(report: &Report) -> String {
    let header = ["lost", "published", "delivered", "worst off by", "gaps", "astray", "B/delivery"];
    let rows = report.runs.iter().map(|run| {
        vec![
            format!("{:.0} %", run.loss * 100.0),
            run.published.to_string(),
            run.delivered.to_string(),
            format!("{:.4}", run.worst_off),
            run.gaps.to_string(),
            run.untaken.to_string(),
            format!("{:.0}", run.bytes_per_delivery),
        ]
    });
    table(&header, &rows.collect::<Vec<_>>())
}
