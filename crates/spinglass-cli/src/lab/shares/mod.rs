//! `spinglass lab shares`: what members get of topics of which they take shares, and what they pay.

mod real;
mod topics;

use anyhow::{Result, bail};
use clap::Args;
use serde::Serialize;
use spinglass::Rating;
use spinglass_sim::scenario::shares::{OfRating, Parameters, Report, run};

use crate::output::{Format, Verdict, table};
use crate::plan::{group_size, share};

/// Farther off than this a share is none any more [GG-1].
const OFF_MAX: f64 = 0.01;

/// Members, if it isn't said how many.
const SIMULATED: usize = 1000;
/// Topics, likewise.
const TOPICS: usize = 50;

/// Options of `lab shares`.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  spinglass lab shares                                  1,000 members, 50 topics
  spinglass lab shares --loss 0.2 --region 64
  spinglass lab shares --real                           32 processes on loopback, one topic
  spinglass lab shares --real --topics 1000 --each 20 --rate 1 --ratings 1    64 processes
  spinglass lab shares --topics 10000 --each 20 --rate 0.5 --ratings 1 --loss 0 --beside-one
  spinglass lab shares --topics 1 --each 1 --ratings 0.1,0.1,0.1,1 --loss 0.05 --beside-whole")]
pub(crate) struct Shares {
    /// Group size; 1,000, or 32 processes
    #[arg(long, value_parser = group_size)]
    members: Option<usize>,
    /// Members are processes on loopback that share one topic by turns, or with --each take some
    /// of many; otherwise simulated
    #[arg(long, conflicts_with_all = ["region", "most", "seed"])]
    real: bool,
    /// Members per region; 0: all are in one
    #[arg(long, default_value_t = 0)]
    region: usize,
    /// Topics, each with one sender [default: 50]
    #[arg(long)]
    topics: Option<usize>,
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
    /// Compare what a member pays with the same traffic on one topic
    #[arg(long, requires = "each", conflicts_with = "real")]
    beside_one: bool,
    /// Compare how soon those who take everything have it with a group where everybody does
    #[arg(long, conflicts_with = "real")]
    beside_whole: bool,
    /// The seed
    #[arg(long, default_value_t = 1)]
    seed: u64,
}

/// All runs.
#[derive(Debug, Serialize)]
struct Reports {
    runs: Vec<Report>,
    /// Bytes of a member, over those with the same traffic on one topic.
    over_one_topic: Option<f64>,
    /// Until 99 in 100 messages are there at who takes everything, over the same where all do; and
    /// the median.
    p99_over_whole: Option<f64>,
    p50_over_whole: Option<f64>,
}

/// Runs it at each loss.
///
/// # Errors
/// Standard output can't be written.
pub(super) async fn shares(options: &Shares, format: Format) -> Result<Verdict> {
    match options.each {
        Some(each) if options.real => topics::run(options, each, format).await,
        None if options.real && options.topics.is_some() => {
            bail!("--real has many topics with --each: say how many of them a process takes")
        }
        None if options.real => real::run(options, format).await,
        _ => simulated(options, format),
    }
}

impl Shares {
    /// Whether its members are processes.
    pub(super) const fn is_real(&self) -> bool {
        self.real
    }
}

fn simulated(options: &Shares, format: Format) -> Result<Verdict> {
    let beside = u64::from(options.beside_one) + u64::from(options.beside_whole);
    let bar = format.bar((options.loss.len() as u64 + beside) * 100);
    let mut done = 0;
    let mut one_run = |parameters: &Parameters| {
        let report = run(parameters, &mut |part| bar.set_position(done + (part * 100.0) as u64));
        done += 100;
        report
    };
    let runs: Vec<Report> =
        options.loss.iter().map(|loss| one_run(&options.parameters(*loss))).collect();
    let mut reports =
        Reports { runs, over_one_topic: None, p99_over_whole: None, p50_over_whole: None };
    if let Some(first) = reports.runs.first() {
        if options.beside_one {
            let one = one_run(&on_one_topic(&first.parameters));
            reports.over_one_topic = Some(first.bytes_per_second / one.bytes_per_second);
        }
        if options.beside_whole {
            let whole = one_run(&Parameters { ratings: vec![1.0], ..first.parameters.clone() });
            let ratio = |get: fn(&OfRating) -> f64| {
                Some(get(first.ratings.last()?) / get(whole.ratings.last()?))
            };
            reports.p99_over_whole = ratio(|of| of.p99_ms);
            reports.p50_over_whole = ratio(|of| of.p50_ms);
        }
    }
    bar.finish_and_clear();
    format.print(&reports, text)?;
    let is_good =
        |report: &Report| report.worst_off <= OFF_MAX && report.lost == 0 && report.unasked == 0;
    Ok(reports.runs.iter().all(is_good).into())
}

impl Shares {
    fn topics(&self) -> usize {
        self.topics.unwrap_or(TOPICS)
    }

    fn parameters(&self, loss: f64) -> Parameters {
        Parameters {
            members: self.members.unwrap_or(SIMULATED),
            region_members: self.region,
            topics: self.topics(),
            ratings: self.ratings.iter().map(|rating| rating.share()).collect(),
            most_topics: self.each.unwrap_or(self.most),
            all_as_many: self.each.is_some(),
            rate: self.rate,
            bytes: self.bytes,
            seconds: self.seconds,
            loss,
            seed: self.seed,
        }
    }
}

/// As much for each member, all of it on one topic.
fn on_one_topic(of: &Parameters) -> Parameters {
    let rate = of.rate * of.most_topics as f64;
    Parameters { topics: 1, most_topics: 1, rate, ..of.clone() }
}

fn text(reports: &Reports) -> String {
    let mut text = reports.runs.iter().map(of_loss).collect::<Vec<String>>().join("\n");
    if let Some(ratio) = reports.over_one_topic {
        text += &format!("\na member pays {ratio:.3} times what it pays on one topic\n");
    }
    if let (Some(p50), Some(p99)) = (reports.p50_over_whole, reports.p99_over_whole) {
        text += &format!(
            "\nwho takes everything has it after {p50:.3} (half) and {p99:.3} times (99 in 100) \
             what it takes where all do\n"
        );
    }
    text
}

fn of_loss(report: &Report) -> String {
    let header =
        ["rating", "subscriptions", "share", "worst off by", "variation", "p50 ms", "p99 ms"];
    let rows = report.ratings.iter().map(|of| {
        vec![
            of.rating.to_string(),
            of.subscriptions.to_string(),
            format!("{:.4}", of.share),
            format!("{:.4}", of.worst_off),
            format!("{:.3}", of.worst_variation),
            format!("{:.1}", of.p50_ms),
            format!("{:.1}", of.p99_ms),
        ]
    });
    let load = &report.load;
    format!(
        "{} % lost: {} messages, {} packets told as lost, {} messages nobody asked for, {} packets \
         that went astray\n{}\nbytes a second, in and out: {:.0} and {:.0} for each topic taken \
         whole (R2 {:.4}); {:.0} at most who takes nothing; {:.0} who sends; {:.0} on average\n",
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
        report.bytes_per_second,
    )
}
