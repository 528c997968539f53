//! `spinglass lab shares`: what members get of topics of which they take shares, and what they pay.

mod real;

use anyhow::Result;
use clap::Args;
use spinglass::Rating;
use spinglass_sim::scenario::shares::{Parameters, Report, run};

use crate::output::{Format, Verdict, table};
use crate::plan::share;

/// Farther off than this a share is none any more [GG-1].
const OFF_MAX: f64 = 0.01;

/// Members, if it isn't said how many.
const SIMULATED: usize = 1000;

/// Options of `lab shares`.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  spinglass lab shares                                  1,000 members, 50 topics
  spinglass lab shares --loss 0.2 --region 64
  spinglass lab shares --real                           32 processes on loopback, one topic
  spinglass lab shares --topics 10000 --each 20 --rate 0.5 --ratings 1")]
pub(crate) struct Shares {
    /// Group size; 1,000, or 32 processes
    #[arg(long)]
    members: Option<usize>,
    /// Members are processes on loopback that take shares of one topic by turns; otherwise simulated
    #[arg(long, conflicts_with_all = ["topics", "region", "each", "most", "seed"])]
    real: bool,
    /// Members per region; 0: all are in one
    #[arg(long, default_value_t = 0)]
    region: usize,
    /// Topics, each with one sender
    #[arg(long, default_value_t = 50)]
    topics: usize,
    /// What is taken, drawn for each subscription
    #[arg(long, value_delimiter = ',', default_value = "0,0.01,0.1,0.2,0.5,0.75,1")]
    ratings: Vec<Rating>,
    /// Subscriptions of a member at most; how many is drawn
    #[arg(long, default_value_t = 10)]
    most: usize,
    /// Subscriptions of every member
    #[arg(long, conflicts_with = "most")]
    each: Option<usize>,
    /// Messages per second and topic
    #[arg(long, default_value_t = 20.0)]
    rate: f64,
    /// Bytes of a message; every third has four times as many
    #[arg(long, default_value_t = 200)]
    bytes: usize,
    /// Seconds of sending
    #[arg(long, default_value_t = 30.0)]
    seconds: f64,
    /// Shares of datagrams that are lost, one run each
    #[arg(long, value_delimiter = ',', default_value = "0,0.05,0.2", value_parser = share)]
    loss: Vec<f64>,
    /// The seed
    #[arg(long, default_value_t = 1)]
    seed: u64,
}

/// Runs it at each loss.
///
/// # Errors
/// Standard output can't be written.
pub(super) async fn shares(options: &Shares, format: Format) -> Result<Verdict> {
    if options.real {
        return real::run(options, format).await;
    }
    simulated(options, format)
}

impl Shares {
    /// Whether its members are processes.
    pub(super) const fn is_real(&self) -> bool {
        self.real
    }
}

fn simulated(options: &Shares, format: Format) -> Result<Verdict> {
    let bar = format.bar(options.loss.len() as u64 * 100);
    let mut reports = Vec::new();
    for (number, loss) in options.loss.iter().enumerate() {
        let parameters = Parameters {
            members: options.members.unwrap_or(SIMULATED),
            region_members: options.region,
            topics: options.topics,
            ratings: options.ratings.iter().map(|rating| rating.share()).collect(),
            most_topics: options.each.unwrap_or(options.most),
            all_as_many: options.each.is_some(),
            rate: options.rate,
            bytes: options.bytes,
            seconds: options.seconds,
            loss: *loss,
            seed: options.seed,
        };
        let place = number as f64;
        reports.push(run(&parameters, &mut |done| {
            bar.set_position(((place + done) * 100.0) as u64);
        }));
    }
    bar.finish_and_clear();
    format.print(&reports, |reports| text(reports))?;
    let is_good =
        |report: &Report| report.worst_off <= OFF_MAX && report.lost == 0 && report.unasked == 0;
    Ok(reports.iter().all(is_good).into())
}

fn text(reports: &[Report]) -> String {
    reports.iter().map(of_loss).collect::<Vec<String>>().join("\n")
}

fn of_loss(report: &Report) -> String {
    let header = ["rating", "subscriptions", "share", "worst off by", "variation of gaps"];
    let rows = report.ratings.iter().map(|of| {
        vec![
            of.rating.to_string(),
            of.subscriptions.to_string(),
            format!("{:.4}", of.share),
            format!("{:.4}", of.worst_off),
            format!("{:.3}", of.worst_variation),
        ]
    });
    let load = &report.load;
    format!(
        "{} % lost: {} messages, {} packets told as lost, {} messages nobody asked for, {} packets \
         that went astray\n{}\nbytes a second, in and out: {:.0} and {:.0} for each topic taken \
         whole (R2 {:.4}); {:.0} at most who takes nothing; {:.0} who sends\nthere after {:.1} ms, \
         99 in 100 after {:.1} ms\n",
        report.parameters.loss * 100.0,
        report.published,
        report.lost,
        report.unasked,
        report.untaken,
        table(&header, &rows.collect::<Vec<_>>()),
        load.constant,
        load.slope,
        load.r_squared,
        load.of_nothing_most,
        report.sender_bytes_per_second,
        report.p50_ms,
        report.p99_ms,
    )
}
