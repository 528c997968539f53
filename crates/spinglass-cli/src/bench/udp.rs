//! The limit: one sender, flat out, to as many receiving processes, with nothing in between.

use std::net::SocketAddr;
use std::time::Duration;

use anyhow::{Context as _, Result};
use serde::Serialize;

use super::Options;
use crate::herd::Herd;
use crate::member::protocol::{Order, Setup};
use crate::network::Spread;
use crate::output::{Format, Verdict, table};

/// What raw UDP gave.
#[derive(Debug, Clone, Serialize)]
pub(super) struct Limit {
    /// Processes, the sender included.
    pub(super) members: usize,
    /// Bytes per message.
    pub(super) size: usize,
    /// Bytes per datagram.
    pub(super) datagram_bytes: usize,
    /// How it was sent.
    pub(super) mode: &'static str,
    /// Messages per second that arrived at the slowest receiver.
    pub(super) messages_per_second: f64,
    /// Processor microseconds per arrived message, over all processes.
    pub(super) cpu_us_per_delivery: f64,
    /// The share of what was sent that arrived.
    pub(super) arrived_share: f64,
    /// Length of the run.
    pub(super) seconds: f64,
}

/// After the last datagram was sent, until it must have arrived.
const SETTLE_TIME: Duration = Duration::from_millis(200);

/// Measures one size of group and message.
///
/// # Errors
/// The processes can't be run.
pub(super) async fn measure(
    members: usize,
    size: usize,
    datagram_bytes: usize,
    spread: &Spread,
    seconds: f64,
) -> Result<Limit> {
    let setup = Setup { raw: true, ..spread.setup(None) };
    let mut herd = Herd::start(members, &setup).await?;
    let to: Vec<SocketAddr> = match spread.multicast() {
        Some(group) => vec![group],
        None => herd.addresses().into_iter().skip(1).collect(),
    };
    // Whole messages fill a datagram as far as they go; a larger message takes several.
    let segment_bytes =
        if size <= datagram_bytes { datagram_bytes / size * size } else { datagram_bytes };
    herd.begin_step(Duration::from_secs(1)).await?;
    let processor_before = herd.processor_seconds();
    herd.order(0, &Order::Flood { to: to.clone(), segment_bytes, seconds }).await?;
    herd.await_published(Duration::from_secs_f64(seconds * 4.0 + 10.0)).await?;
    tokio::time::sleep(SETTLE_TIME).await;
    let processor_seconds = herd.processor_seconds() - processor_before;
    let tallies = herd.tallies().await?;
    herd.end().await;
    let (sender, receivers) = tallies.split_first().context("a herd has a sender")?;
    let rate = |bytes: u64| bytes as f64 / size as f64 / seconds;
    let arrived: u64 = receivers.iter().map(|tally| tally.bytes).sum();
    let slowest = receivers.iter().map(|tally| tally.bytes).min().unwrap_or(0);
    let copies = if spread.multicast().is_some() { receivers.len() } else { 1 };
    Ok(Limit {
        members,
        size,
        datagram_bytes: segment_bytes,
        mode: spread.name(),
        messages_per_second: rate(slowest),
        cpu_us_per_delivery: processor_seconds * 1e6 / (arrived as f64 / size as f64).max(1.0),
        arrived_share: arrived as f64 / (sender.stats.bytes_sent as f64 * copies as f64).max(1.0),
        seconds,
    })
}

/// Runs `bench udp`.
///
/// # Errors
/// The processes can't be run.
pub(super) async fn run(options: &Options, format: Format) -> Result<Verdict> {
    let spread = Spread::choose(options.mode)?;
    let mut limits = Vec::new();
    for members in &options.members {
        for size in &options.size {
            for datagram in &options.datagram {
                let bytes = datagram.0.unwrap_or(spinglass_core::DATAGRAM_BYTES_MAX);
                limits.push(measure(*members, *size, bytes, &spread, options.seconds).await?);
            }
        }
    }
    format.print(&limits, |limits| {
        let header = ["members", "size", "datagram", "messages/s", "CPU us/delivery", "arrived"];
        let row = |limit: &Limit| {
            vec![
                limit.members.to_string(),
                limit.size.to_string(),
                limit.datagram_bytes.to_string(),
                format!("{:.0}", limit.messages_per_second),
                format!("{:.2}", limit.cpu_us_per_delivery),
                format!("{:.0} %", limit.arrived_share * 100.0),
            ]
        };
        let rows: Vec<Vec<String>> = limits.iter().map(row).collect();
        format!("raw UDP by {}, no protocol:\n{}", spread.name(), table(&header, &rows))
    })?;
    Ok(Verdict::Good)
}
