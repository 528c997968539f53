//! `spinglass replay`: what a member did on real sockets, done again by the same core, compared.

use std::path::PathBuf;

use anyhow::{Context as _, Result};
use clap::Args;

use crate::output::{Format, Verdict};

/// Options of `replay`.
#[derive(Debug, Args)]
#[command(after_help = "\
Example:
  spinglass recv --record run.rec logs
  spinglass replay run.rec

A recording holds every call made to the member and what cryptography answered it, and no key. The
replay makes the same calls and compares every datagram before sealing, every destination and every
event, byte for byte; it stops at the first difference and names it.")]
pub(crate) struct Replay {
    /// The recording
    file: PathBuf,
}

/// Replays a recording.
///
/// # Errors
/// It can't be read, is damaged, or the core did something else than it did then.
pub(crate) fn run(options: &Replay, format: Format) -> Result<Verdict> {
    let path = options.file.display();
    let recording = std::fs::read(&options.file).with_context(|| format!("cannot read {path}"))?;
    let report = spinglass_sim::replay::replay(&recording).with_context(|| path.to_string())?;
    format.print(&report, |report| {
        format!(
            "replayed {} entries, {:.1} s: {} inputs, {} datagrams, {} events, {} messages; every \
             output the same\n",
            report.entries,
            report.seconds,
            report.inputs,
            report.datagrams,
            report.events,
            report.messages
        )
    })?;
    Ok(Verdict::Good)
}
