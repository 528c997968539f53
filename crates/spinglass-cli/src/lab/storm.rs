//! `spinglass lab storm`: fifty times as many events at once, at members that cap what they
//! receive.

use anyhow::Result;
use clap::Args;
use spinglass::Rating;
use spinglass_sim::scenario::storm::{Parameters, Report, run};

use crate::output::{Format, Verdict, table};
use crate::plan::{group_size, share};

/// Options of `lab storm`.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  spinglass lab storm                             1,000 members in regions of 64, a minute of storm
  spinglass lab storm --members 100 --seconds 10 --loss 0.05
  spinglass lab storm --caps 0,100000 --times 10")]
pub(crate) struct Storm {
    /// Group size
    #[arg(long, default_value_t = 1000, value_parser = group_size)]
    members: usize,
    /// Members per region; 0: all are in one
    #[arg(long, default_value_t = 64)]
    region: usize,
    /// Topics, each with one sender
    #[arg(long, default_value_t = 50, value_parser = clap::value_parser!(u32).range(1..=100_000))]
    topics: u32,
    /// Topics that each member takes
    #[arg(long, default_value_t = 4)]
    each: usize,
    /// What is taken, drawn for each subscription
    #[arg(long, value_delimiter = ',', default_value = "0.2,1")]
    ratings: Vec<Rating>,
    /// What members may be sent, in bytes per second, by turns; 0: whatever there is
    #[arg(long, value_delimiter = ',', default_value = "0,100000,200000,1000000")]
    caps: Vec<u64>,
    /// Messages per second and topic while all is calm
    #[arg(long, default_value_t = 4.0)]
    rate: f64,
    /// How many times as many there are in the storm
    #[arg(long, default_value_t = 50.0)]
    times: f64,
    /// Bytes of a message
    #[arg(long, default_value_t = 400)]
    bytes: usize,
    /// Seconds before the storm, and after it
    #[arg(long, default_value_t = 10, value_parser = clap::value_parser!(u32).range(1..=3600))]
    calm: u32,
    /// Seconds of storm
    #[arg(long, default_value_t = 60, value_parser = clap::value_parser!(u32).range(1..=3600))]
    seconds: u32,
    /// The share of datagrams that is lost
    #[arg(long, default_value = "0", value_parser = share)]
    loss: f64,
    /// The seed
    #[arg(long, default_value_t = 1)]
    seed: u64,
}

/// Runs it.
///
/// # Errors
/// Standard output can't be written.
pub(super) fn storm(options: &Storm, format: Format) -> Result<Verdict> {
    let parameters = Parameters {
        members: options.members,
        region_members: options.region,
        topics: options.topics as usize,
        each: options.each,
        ratings: options.ratings.iter().map(|rating| rating.share()).collect(),
        caps: options.caps.clone(),
        rate: options.rate,
        times: options.times,
        bytes: options.bytes,
        calm_seconds: options.calm,
        storm_seconds: options.seconds,
        loss: options.loss,
        seed: options.seed,
    };
    let bar = format.bar(100);
    let report = run(&parameters, &mut |part| bar.set_position((part * 100.0) as u64));
    bar.finish_and_clear();
    format.print(&report, text)?;
    let holds = report.worst_over_cap <= 1.0 && report.uncapped_lost == 0 && report.untold == 0;
    Ok(holds.into())
}

fn text(report: &Report) -> String {
    let header = [
        "cap KB/s",
        "members",
        "worst second",
        "KB/s in storm",
        "got in storm",
        "got in calm",
        "variation",
        "lost",
        "untold",
    ];
    let rows = report.caps.iter().map(|of| {
        let cap = |value: String| if of.cap > 0 { value } else { "none".to_owned() };
        vec![
            cap(format!("{:.0}", of.cap as f64 / 1e3)),
            of.members.to_string(),
            cap(format!("{:.2} of it", of.worst_over_cap)),
            format!("{:.1}", of.bytes_per_second / 1e3),
            format!("{:.3}", of.storm_share),
            format!("{:.3} at worst", of.worst_calm_share),
            format!("{:.2}", of.variation),
            of.lost.to_string(),
            of.untold.to_string(),
        ]
    });
    format!(
        "{} messages; {} times as many for {} s\n{}\nwhoever is thinned uses {:.2} of its cap at \
         least\n",
        report.published,
        report.parameters.times,
        report.parameters.storm_seconds,
        table(&header, &rows.collect::<Vec<_>>()),
        report.least_used,
    )
}
