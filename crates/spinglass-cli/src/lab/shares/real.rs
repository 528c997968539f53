//! Shares taken by processes: each drops packets on its own, and says what it got.

use anyhow::Result;
use serde::Serialize;

use super::{OFF_MAX, Shares};
use crate::herd::Herd;
use crate::lab::loss::{BIN, SETTLE_TIME};
use crate::measure::{self, Load};
use crate::member::protocol::Setup;
use crate::network::{Mode, Spread};
use crate::output::{Format, Verdict, table};

/// Processes, if it isn't said how many.
const PROCESSES: usize = 32;
/// Messages are far enough apart for each to have a packet of its own.
const RATE_MAX: f64 = 200.0;

/// What the members of one rating got.
#[derive(Debug, Clone, Serialize)]
struct OfRating {
    rating: f64,
    members: usize,
    share: f64,
    worst_off: f64,
}

/// What was seen at one loss.
#[derive(Debug, Serialize)]
struct Run {
    loss: f64,
    published: u64,
    ratings: Vec<OfRating>,
    worst_off: f64,
    gaps: u64,
    disordered: u64,
}

/// All of it.
#[derive(Debug, Serialize)]
struct Report {
    members: usize,
    rate: f64,
    bytes: usize,
    seconds: f64,
    mode: &'static str,
    runs: Vec<Run>,
    worst_off: f64,
    gaps: u64,
}

/// Runs it at each loss.
///
/// # Errors
/// The processes can't be run.
pub(super) async fn run(options: &Shares, format: Format) -> Result<Verdict> {
    let members = options.members.unwrap_or(PROCESSES);
    let spread = Spread::choose(Mode::Auto)?;
    let ratings: Vec<f64> = options.ratings.iter().map(|rating| rating.share()).collect();
    let rate = RATE_MAX.min(options.rate);
    let mut runs = Vec::new();
    for loss in &options.loss {
        format.say(&format!(
            "{members} processes on loopback by {}, {rate} messages a second for {} s, {:.0} % \
             dropped",
            spread.name(),
            options.seconds,
            loss * 100.0
        ));
        let setup =
            Setup { drop_probability: *loss, ratings: ratings.clone(), ..spread.setup(None) };
        let mut herd = Herd::start(members, &setup).await?;
        let load = Load::for_seconds(options.seconds, options.bytes, rate);
        // Not all take the last message: nobody is waited for.
        let all: Vec<usize> = (1..members).collect();
        let measured = measure::run(&mut herd, load, BIN, SETTLE_TIME, &all).await?;
        herd.end().await;
        runs.push(conclude(*loss, &ratings, &measured));
    }
    let worst_off = runs.iter().map(|run| run.worst_off).fold(0.0, f64::max);
    let gaps = runs.iter().map(|run| run.gaps).sum();
    let (bytes, seconds, mode) = (options.bytes, options.seconds, spread.name());
    let report = Report { members, rate, bytes, seconds, mode, runs, worst_off, gaps };
    format.print(&report, text)?;
    Ok((report.worst_off <= OFF_MAX && report.gaps == 0).into())
}

fn conclude(loss: f64, ratings: &[f64], measured: &measure::Measured) -> Run {
    let published = measured.load.count;
    // The first member sends; the receivers are the others, in order.
    let got = measured.receivers.iter().enumerate().map(|(place, tally)| {
        let turn = (place + 1) % ratings.len().max(1);
        (turn, tally.messages as f64 / published as f64)
    });
    let got: Vec<(usize, f64)> = got.collect();
    let of_rating = |(turn, rating): (usize, &f64)| {
        let shares = got.iter().filter(|(own, _)| *own == turn).map(|(_, share)| *share);
        let shares: Vec<f64> = shares.collect();
        let off = shares.iter().map(|share| (share - rating).abs());
        OfRating {
            rating: *rating,
            members: shares.len(),
            share: shares.iter().sum::<f64>() / shares.len().max(1) as f64,
            worst_off: off.fold(0.0, f64::max),
        }
    };
    let ratings: Vec<OfRating> = ratings.iter().enumerate().map(of_rating).collect();
    Run {
        loss,
        published,
        worst_off: ratings.iter().map(|of| of.worst_off).fold(0.0, f64::max),
        ratings,
        gaps: measured.receivers.iter().map(|tally| tally.gaps).sum(),
        disordered: measured.receivers.iter().map(|tally| tally.disordered).sum(),
    }
}

fn text(report: &Report) -> String {
    let header = ["lost", "rating", "members", "share", "worst off by", "gaps"];
    let rows = report.runs.iter().flat_map(|run| {
        run.ratings.iter().map(|of| {
            vec![
                format!("{:.0} %", run.loss * 100.0),
                of.rating.to_string(),
                of.members.to_string(),
                format!("{:.4}", of.share),
                format!("{:.4}", of.worst_off),
                run.gaps.to_string(),
            ]
        })
    });
    table(&header, &rows.collect::<Vec<_>>())
}
