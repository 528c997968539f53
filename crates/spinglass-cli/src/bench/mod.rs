//! `spinglass bench`: what the multicast can do here, and what the network can do without it.

mod multicast;
mod udp;

use anyhow::Result;
use clap::{Args, Subcommand};

use crate::network::Mode;
use crate::output::{Format, Verdict};

/// What to measure.
#[derive(Debug, Subcommand)]
pub(crate) enum Bench {
    /// Throughput, latency, processor time and bytes of the multicast, raw UDP beside it
    Multicast(Options),
    /// Raw UDP fan-out alone: no protocol, nothing signed, nothing repaired
    Udp(Options),
}

/// Options of every benchmark.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  spinglass bench multicast --members 32 --size 1024
  spinglass bench multicast --members 8,16,32,64 --size 100,1024,7168 --datagram 1200
  spinglass bench multicast --members 32 --certified
  spinglass bench udp --members 32 --size 1024 --json

Members are processes on loopback; the first one sends, everything signed and encrypted. The rate is
the highest one, found by a search of steps of 2 s and confirmed by a longer run, at which every
member got every message with no gap and was not behind. Processor time is of all processes.")]
pub(crate) struct Options {
    /// Members, one of which sends
    #[arg(long, value_delimiter = ',', default_value = "32")]
    members: Vec<usize>,
    /// Bytes per message
    #[arg(long, value_delimiter = ',', default_value = "1024")]
    size: Vec<usize>,
    /// The largest datagram in bytes, or `largest`: what the path takes
    #[arg(long, value_delimiter = ',', default_value = "largest", value_parser = datagram)]
    datagram: Vec<Datagram>,
    /// How packets are spread
    #[arg(long, value_enum, default_value_t = Mode::Auto)]
    mode: Mode,
    /// Seconds of a step of the search; the confirming run takes twice as long
    #[arg(long, default_value_t = 2.0)]
    seconds: f64,
    /// The sender hands messages over in batches so many milliseconds apart, which share a
    /// signature; not in the latency run
    #[arg(long, default_value_t = 10)]
    tick_ms: u64,
    /// Messages of the latency run, at 200 a second; 0 leaves it out
    #[arg(long, default_value_t = 2000)]
    latency_messages: u64,
    /// Members have certificates and rules, and link keys by knocking, in place of a common key
    #[arg(long)]
    certified: bool,
    /// Only measure the latency
    #[arg(long)]
    latency_only: bool,
}

/// The largest datagram, as an option.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Datagram(Option<usize>);

fn datagram(text: &str) -> Result<Datagram, String> {
    if text == "largest" {
        return Ok(Datagram(None));
    }
    let (low, high) = (spinglass_core::DATAGRAM_BYTES_MIN, spinglass_core::DATAGRAM_BYTES_MAX);
    let bytes = text.parse().map_err(|_| "give a number of bytes, or `largest`".to_owned())?;
    let ok = (low..=high).contains(&bytes);
    if ok { Ok(Datagram(Some(bytes))) } else { Err(format!("bytes lie between {low} and {high}")) }
}

/// Runs a benchmark.
///
/// # Errors
/// It could not be run.
pub(crate) async fn run(bench: &Bench, format: Format) -> Result<Verdict> {
    match bench {
        Bench::Multicast(options) => multicast::run(options, format).await,
        Bench::Udp(options) => udp::run(options, format).await,
    }
}
