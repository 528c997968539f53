//! `spinglass bench multicast`: the highest rate that every member sustains, and its cost.

use std::time::Duration;

use anyhow::Result;
use serde::Serialize;

use super::udp::{self, Limit};
use super::{Datagram, Options};
use crate::herd::Herd;
use crate::measure::{self, Load, Measured};
use crate::member::HEADER_BYTES;
use crate::member::protocol::Setup;
use crate::network::Spread;
use crate::output::{Format, Verdict, table};
use crate::papers::Papers;

/// One row of the result.
#[derive(Debug, Serialize)]
struct Row {
    members: usize,
    size: usize,
    datagram_bytes: usize,
    mode: &'static str,
    certified: bool,
    messages_per_second: f64,
    cpu_us_per_delivery: f64,
    wire_bytes_per_delivery: f64,
    deliveries: u64,
    steps: usize,
    seconds: f64,
    p50_us: f64,
    p99_us: f64,
    latency_samples: u64,
    raw_udp: Limit,
}

/// The rate at which the search begins: what the slowest of the compared peers reach.
const FIRST_RATE: f64 = 4000.0;
/// Doublings, then halvings of the interval: the answer is exact to 2^(1/16), 4 %.
const DOUBLINGS_MAX: usize = 9;
const BISECTIONS: usize = 4;
/// A sender that is offered twice as much and does not publish so much more has reached its limit.
const GAIN_MIN: f64 = 1.1;
/// Tries to confirm a rate, each 5 % lower than the one before.
const CONFIRMATIONS_MAX: usize = 6;
/// How much lower the rate of each next try is.
const CONFIRMATION_STEP: f64 = 0.95;
/// What a member may lag behind the sender at the end of a step before it is given up.
const SETTLE_TIME: Duration = Duration::from_secs(2);
/// Between steps, so that what is left of one does not disturb the next.
const REST_TIME: Duration = Duration::from_millis(300);
/// The rate at which latency is measured.
const LATENCY_RATE: f64 = 200.0;
/// Width of the bins, which nothing here reads.
const BIN: Duration = Duration::from_secs(1);

/// Runs `bench multicast`.
///
/// # Errors
/// The processes can't be run.
pub(super) async fn run(options: &Options, format: Format) -> Result<Verdict> {
    let spread = Spread::choose(options.mode)?;
    format.say(&format!("members are processes on loopback; packets go by {}", spread.name()));
    let mut rows = Vec::new();
    for members in &options.members {
        for size in &options.size {
            for datagram in &options.datagram {
                let row = measure_row(*members, *size, *datagram, &spread, options, format).await?;
                format.say(&describe(&row));
                rows.push(row);
            }
        }
    }
    format.print(&rows, |rows| as_table(rows))?;
    Ok(Verdict::Good)
}

async fn measure_row(
    members: usize,
    size: usize,
    datagram: Datagram,
    spread: &Spread,
    options: &Options,
    format: Format,
) -> Result<Row> {
    let size = size.max(HEADER_BYTES);
    let papers = options.certified.then(|| Papers::issue(members)).transpose()?;
    let folder = papers.as_ref().map(|papers| papers.folder().to_owned());
    let setup = Setup { papers: folder, keyless: options.certified, ..spread.setup(datagram.0) };
    let mut herd = Herd::start(members, &setup).await?;
    let datagram_bytes = herd.datagram_bytes();
    let mut search = Search {
        herd: &mut herd,
        size,
        seconds: options.seconds,
        tick: Duration::from_millis(options.tick_ms),
        steps: 0,
        format,
    };
    let best = if options.latency_only { None } else { Some(search.run().await?) };
    let steps = search.steps;
    let ages = match options.latency_messages {
        0 => None,
        count => {
            tokio::time::sleep(REST_TIME).await;
            let load = Load { count, bytes: size, rate: LATENCY_RATE, tick: Duration::ZERO };
            let watched: Vec<usize> = (1..members).collect();
            Some(measure::run(&mut herd, load, BIN, SETTLE_TIME, &watched).await?.ages())
        }
    };
    herd.end().await;
    let raw_udp = udp::measure(members, size, datagram_bytes, spread, options.seconds).await?;
    let quantile = |share| ages.as_ref().map_or(0.0, |ages| ages.quantile(share) as f64 / 1e3);
    let best = best.as_ref();
    Ok(Row {
        members,
        size,
        datagram_bytes,
        mode: spread.name(),
        certified: options.certified,
        messages_per_second: best.map_or(0.0, Measured::rate),
        cpu_us_per_delivery: best.map_or(0.0, Measured::processor_us_per_delivery),
        wire_bytes_per_delivery: best.map_or(0.0, Measured::wire_bytes_per_delivery),
        deliveries: best.map_or(0, Measured::deliveries),
        steps,
        seconds: best.map_or(0.0, |best| best.load.seconds()),
        p50_us: quantile(0.5),
        p99_us: quantile(0.99),
        latency_samples: ages.as_ref().map_or(0, |ages| ages.count()),
        raw_udp,
    })
}

/// The search for the highest sustained rate.
struct Search<'a> {
    herd: &'a mut Herd,
    size: usize,
    seconds: f64,
    tick: Duration,
    steps: usize,
    format: Format,
}

impl Search<'_> {
    /// The confirming run at the highest rate that one could confirm.
    async fn run(&mut self) -> Result<Measured> {
        let (mut low, mut high) = (FIRST_RATE, FIRST_RATE);
        let (mut saturated, mut best) = (false, 0.0_f64);
        for _ in 0..DOUBLINGS_MAX {
            high *= 2.0;
            let step = self.step_twice(high).await?;
            if !step.is_sustained() {
                break;
            }
            low = high;
            saturated = step.is_saturated() && step.rate() < best * GAIN_MIN;
            best = best.max(step.rate());
            if saturated {
                break;
            }
        }
        for _ in 0..BISECTIONS {
            if saturated {
                break;
            }
            let middle = (low * high).sqrt();
            if self.step_twice(middle).await?.is_sustained() {
                low = middle;
            } else {
                high = middle;
            }
        }
        let mut confirmed = self.step(low, self.seconds * 2.0).await?;
        for _ in 0..CONFIRMATIONS_MAX {
            if confirmed.is_sustained() {
                break;
            }
            low *= CONFIRMATION_STEP;
            confirmed = self.step(low, self.seconds * 2.0).await?;
        }
        Ok(confirmed)
    }

    /// One failure may be another program's doing, so a rate has two tries.
    async fn step_twice(&mut self, rate: f64) -> Result<Measured> {
        let first = self.step(rate, self.seconds).await?;
        if first.is_sustained() { Ok(first) } else { self.step(rate, self.seconds).await }
    }

    async fn step(&mut self, rate: f64, seconds: f64) -> Result<Measured> {
        self.steps += 1;
        let load = Load { tick: self.tick, ..Load::for_seconds(seconds, self.size, rate) };
        let watched: Vec<usize> = (1..self.herd.count()).collect();
        let measured = measure::run(self.herd, load, BIN, SETTLE_TIME, &watched).await?;
        let verdict = if measured.is_sustained() { "sustained" } else { "too much" };
        self.format.say(&format!(
            "    {rate:>9.0} messages/s offered, {:>9.0} at the slowest: {verdict} \
             (published in {:.2} s, delivered in {:.2} s, {:.2} us/delivery)",
            measured.rate(),
            measured.published_seconds,
            measured.delivered_seconds,
            measured.processor_us_per_delivery()
        ));
        tokio::time::sleep(REST_TIME).await;
        Ok(measured)
    }
}

fn describe(row: &Row) -> String {
    format!(
        "  {} members, {} B, datagrams of {} B: {:.0} messages/s, {:.2} us/delivery, p50 {:.0} us, \
         p99 {:.0} us; raw UDP {:.0} messages/s",
        row.members,
        row.size,
        row.datagram_bytes,
        row.messages_per_second,
        row.cpu_us_per_delivery,
        row.p50_us,
        row.p99_us,
        row.raw_udp.messages_per_second
    )
}

fn as_table(rows: &[Row]) -> String {
    let header = [
        "members",
        "size",
        "datagram",
        "messages/s",
        "CPU us/del.",
        "wire B/del.",
        "p50 us",
        "p99 us",
        "raw UDP/s",
        "raw us/del.",
    ];
    let cells = |row: &Row| {
        vec![
            row.members.to_string(),
            row.size.to_string(),
            row.datagram_bytes.to_string(),
            format!("{:.0}", row.messages_per_second),
            format!("{:.2}", row.cpu_us_per_delivery),
            format!("{:.0}", row.wire_bytes_per_delivery),
            format!("{:.0}", row.p50_us),
            format!("{:.0}", row.p99_us),
            format!("{:.0}", row.raw_udp.messages_per_second),
            format!("{:.2}", row.raw_udp.cpu_us_per_delivery),
        ]
    };
    let rows: Vec<Vec<String>> = rows.iter().map(cells).collect();
    table(&header, &rows)
}
