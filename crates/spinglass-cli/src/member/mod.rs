//! One member as a process of its own, for `demo`, `bench` and `lab --real`.
//!
//! It takes orders as JSON lines on standard input, reports on standard output ([`protocol`]), and
//! ends with its input.

mod badboy;
mod emit;
mod node;
mod payload;
pub(crate) mod protocol;
mod raw;
mod tally;
mod topics;

use std::io::{self, BufRead as _, Write as _};
use std::thread;

use anyhow::{Context as _, Result};
use rustix::process::{Signal, set_parent_process_death_signal};
use tokio::sync::mpsc;

use protocol::{Order, Report, Setup};

pub(crate) use node::{builder, reach};
pub(crate) use payload::HEADER_BYTES;

/// Orders that may wait while the node is busy.
const ORDERS_MAX: usize = 1024;

/// Runs a member until its standard input ends.
///
/// # Errors
/// Something failed; the conductor has been told.
pub(crate) async fn run() -> Result<()> {
    // A member must not outlive its conductor, however that one ends.
    set_parent_process_death_signal(Some(Signal::KILL))?;
    let outcome = take_part().await;
    if let Err(error) = &outcome {
        tell(&Report::Trouble(format!("{error:#}")))?;
    }
    outcome
}

async fn take_part() -> Result<()> {
    let mut orders = Orders::start();
    let setup = orders.lines.recv().await.context("no setup on standard input")?;
    let setup: Setup = serde_json::from_str(&setup).context("the first line is no setup")?;
    if setup.raw {
        return raw::run(setup.multicast, &mut orders).await;
    }
    if setup.hostile {
        return badboy::run(&setup, &mut orders).await;
    }
    if let Some(topics) = setup.topics {
        return topics::run(&setup, topics, &mut orders).await;
    }
    node::run(&setup, &mut orders).await
}

/// Orders, read by a thread of their own: reading standard input cannot be cancelled.
#[derive(Debug)]
pub(crate) struct Orders {
    lines: mpsc::Receiver<String>,
}

impl Orders {
    fn start() -> Self {
        let (sender, lines) = mpsc::channel(ORDERS_MAX);
        thread::spawn(move || {
            for line in io::stdin().lock().lines().map_while(Result::ok) {
                if sender.blocking_send(line).is_err() {
                    return;
                }
            }
        });
        Self { lines }
    }

    /// The next order; `None` once the input has ended. May be cancelled.
    async fn next(&mut self) -> Result<Option<Order>> {
        let Some(line) = self.lines.recv().await else { return Ok(None) };
        serde_json::from_str(&line).with_context(|| format!("not an order: {line:?}")).map(Some)
    }
}

/// Reports to the conductor.
fn tell(report: &Report) -> Result<()> {
    let line = serde_json::to_string(report)? + "\n";
    let mut out = io::stdout().lock();
    out.write_all(line.as_bytes()).and_then(|()| out.flush()).context("the conductor is gone")
}
