//! What a sender publishes: numbered messages, a file in pieces, lines.

use std::future::Future;
use std::io::Read as _;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context as _, Result};
use spinglass::Group;
use tokio::time::{Instant, sleep_until};

use super::payload::{HEADER_BYTES, Header, Kind};
use super::protocol::Report;
use super::tell;
use crate::clock::monotonic_ns;

/// A run of numbered messages.
#[derive(Debug, Clone, Copy)]
pub(super) struct Emission {
    /// The step that they belong to.
    pub(super) step: u32,
    /// How many.
    pub(super) count: u64,
    /// Bytes of each, header included.
    pub(super) bytes: usize,
    /// Messages per second; 0 publishes as fast as the node takes them.
    pub(super) rate: f64,
    /// Time between batches; zero: each message at its own time.
    pub(super) tick: Duration,
}

/// Publishes beside the event loop and reports when it is done.
pub(super) fn in_background(publishing: impl Future<Output = Result<u64>> + Send + 'static) {
    tokio::spawn(async move {
        let began = Instant::now();
        let outcome = publishing.await;
        let seconds = began.elapsed().as_secs_f64();
        let report = match outcome {
            Ok(count) => Report::Published { count, seconds },
            Err(error) => Report::Trouble(format!("{error:#}")),
        };
        // If the conductor is gone, so will this process be.
        let _ = tell(&report);
    });
}

/// Publishes so many numbered messages on each topic, at their rate on each, by turns.
///
/// # Errors
/// The node is gone.
pub(super) async fn numbered(topics: Vec<Group>, emission: Emission) -> Result<u64> {
    let content = vec![0x5a; emission.bytes.saturating_sub(HEADER_BYTES)];
    let pace = Pace::new(emission.rate * topics.len() as f64, emission.tick);
    let mut published = 0;
    for number in 0..emission.count {
        for topic in &topics {
            pace.await_turn(published).await;
            let header = Header {
                kind: Kind::Counted,
                step: emission.step,
                number,
                sent_ns: monotonic_ns(),
            };
            topic.publish(header.with(&content)).await?;
            published += 1;
        }
    }
    for topic in &topics {
        topic.flush().await?;
    }
    Ok(published)
}

/// Publishes a file in pieces, then its hash.
///
/// # Errors
/// The file can't be read, or the node is gone.
pub(super) async fn file(
    group: Group,
    step: u32,
    path: PathBuf,
    piece_bytes: usize,
    rate: f64,
) -> Result<u64> {
    let unreadable = || format!("cannot read {}", path.display());
    let mut file = std::fs::File::open(&path).with_context(unreadable)?;
    let mut hasher = blake3::Hasher::new();
    let pace = Pace::new(rate, Duration::ZERO);
    let mut number = 0;
    loop {
        let mut piece = Vec::with_capacity(piece_bytes);
        let limit = u64::try_from(piece_bytes).unwrap_or(u64::MAX);
        file.by_ref().take(limit).read_to_end(&mut piece).with_context(unreadable)?;
        if piece.is_empty() {
            break;
        }
        hasher.update(&piece);
        pace.await_turn(number).await;
        let header = Header { kind: Kind::Piece, step, number, sent_ns: monotonic_ns() };
        group.publish(header.with(&piece)).await?;
        number += 1;
    }
    let end = Header { kind: Kind::End, step, number, sent_ns: monotonic_ns() };
    group.publish(end.with(hasher.finalize().as_bytes())).await?;
    group.flush().await?;
    Ok(number)
}

/// Publishes a line of text.
///
/// # Errors
/// The node is gone.
pub(super) async fn line(group: &Group, step: u32, text: &str) -> Result<()> {
    let header = Header { kind: Kind::Line, step, number: 0, sent_ns: monotonic_ns() };
    group.publish(header.with(text.as_bytes())).await?;
    Ok(())
}

/// Says when each message is due. One that is late goes at once, so the rate holds on average.
struct Pace {
    began: Instant,
    interval: Option<Duration>,
    tick: Duration,
}

/// Messages after which a sender without a pace lets the node work.
const YIELD_AFTER: u64 = 1024;

impl Pace {
    fn new(rate: f64, tick: Duration) -> Self {
        let interval = (rate > 0.0).then(|| Duration::from_secs_f64(1.0 / rate));
        Self { began: Instant::now(), interval, tick }
    }

    async fn await_turn(&self, number: u64) {
        let Some(interval) = self.interval else {
            if number.is_multiple_of(YIELD_AFTER) {
                tokio::task::yield_now().await;
            }
            return;
        };
        let mut after = interval.mul_f64(number as f64);
        if !self.tick.is_zero() {
            let ticks = (after.as_secs_f64() / self.tick.as_secs_f64()).ceil();
            after = self.tick.mul_f64(ticks);
        }
        let due = self.began + after;
        if due > Instant::now() {
            sleep_until(due).await;
        } else if number.is_multiple_of(YIELD_AFTER) {
            tokio::task::yield_now().await;
        }
    }
}
