//! `spinglass plan`: what a reliability costs, by the analysis in the core.

use anyhow::Result;
use clap::Args;
use serde::Serialize;
use spinglass_core::MulticastConfig;
use spinglass_core::plan::{Load, Plan, Question, gossip_once, plan};

use crate::output::{Format, Verdict};

/// Options of `plan`.
#[derive(Debug, Args)]
#[command(after_help = "\
Example:
  spinglass plan --members 1000 --loss 0.05 --reliability 1e-9
  spinglass plan --members 32 --loss 0.2 --reliability 1e-12 --rate 1000 --size 1024

The reliability is the probability that a given member misses a given message; whatever is missed
is told to the application as a gap. The model is pull repair: of the members that lack a message,
a share exp(-F (1-u) (1-loss)^3) still lacks it a round later. It counts rounds only, and leaves
out the solicitations that are sent at once when a gap is seen, so it is a pessimist's plan.")]
pub(crate) struct PlanOptions {
    /// How many members the group has
    #[arg(long, value_parser = clap::value_parser!(u32).range(2..=10_000_000))]
    members: u32,
    /// The share of packets that is lost on the way, such as 0.05
    #[arg(long, value_parser = share)]
    loss: f64,
    /// The probability of a miss per message and member, such as 1e-9
    #[arg(long, value_parser = probability)]
    reliability: f64,
    /// Messages per second in the whole group
    #[arg(long, default_value_t = 200.0)]
    rate: f64,
    /// Bytes per message
    #[arg(long, default_value_t = 1024.0)]
    size: f64,
    /// Digests per member and round
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u8).range(1..=16))]
    fanout: u8,
}

/// A share of all there is, below the whole.
pub(crate) fn share(text: &str) -> Result<f64, String> {
    let share: f64 = text.parse().map_err(|error| format!("{error}"))?;
    if (0.0..1.0).contains(&share) { Ok(share) } else { Err("a share lies from 0 up to 1".into()) }
}

/// How many there are in a group.
pub(crate) fn group_size(text: &str) -> Result<usize, String> {
    let members: usize = text.parse().map_err(|error| format!("{error}"))?;
    if members >= 2 { Ok(members) } else { Err("a group has at least two members".into()) }
}

fn probability(text: &str) -> Result<f64, String> {
    let miss: f64 = text.parse().map_err(|error| format!("{error}"))?;
    let ok = (1e-15..=0.1).contains(&miss);
    if ok { Ok(miss) } else { Err("a miss must be between 1e-15 and 0.1".into()) }
}

/// What `plan` prints.
#[derive(Debug, Serialize)]
struct Answer {
    members: u32,
    loss: f64,
    reliability: f64,
    fanout: u8,
    round_ms: f64,
    rounds: u32,
    give_up_seconds: f64,
    miss: f64,
    mean_repair_ms: f64,
    digests_per_second: f64,
    solicits_per_second: f64,
    repair_bytes_per_second: f64,
    buffer_bytes: f64,
    bufferers: u32,
    /// The paper's other model, for groups in which it can be computed soon.
    gossip_once_reaches_all: Option<f64>,
}

/// Members up to which the distribution of the other model is computed: its cost grows with the
/// cube.
const DISTRIBUTION_MEMBERS_MAX: u32 = 80;
/// Rounds of the other model: it saturates by the eighth.
const DISTRIBUTION_ROUNDS: u32 = 10;

/// Computes and prints the plan.
///
/// # Errors
/// Standard output can't be written.
pub(crate) fn run(options: &PlanOptions, format: Format) -> Result<Verdict> {
    let settings = MulticastConfig::lan();
    let round_seconds = settings.round.as_secs_f64();
    // In range: clap and the parsers above have checked both.
    let nines = (-options.reliability.log10()).round().clamp(1.0, 15.0) as u8;
    let loss_percent = (options.loss * 100.0).ceil().clamp(1.0, 99.0) as u32;
    let members = options.members as usize;
    let question = Question { members, loss_percent, nines, fanout: options.fanout };
    let load = Load {
        messages_per_second: options.rate,
        message_bytes: options.size,
        round_seconds,
        idle_rounds: settings.idle_rounds.into(),
        bufferers: settings.long_term_bufferers.into(),
    };
    let answer = answer(options, &plan(&question, &load), round_seconds);
    format.print(&answer, describe)?;
    Ok(Verdict::Good)
}

fn answer(options: &PlanOptions, plan: &Plan, round_seconds: f64) -> Answer {
    let members = options.members as usize;
    let small = options.members <= DISTRIBUTION_MEMBERS_MAX;
    let reaches_all = || {
        let fanout = f64::from(options.fanout);
        let counts = gossip_once(members, fanout, options.loss, 0.0, DISTRIBUTION_ROUNDS);
        counts.last().copied().unwrap_or(0.0)
    };
    Answer {
        members: options.members,
        loss: options.loss,
        reliability: options.reliability,
        fanout: options.fanout,
        round_ms: round_seconds * 1e3,
        rounds: plan.rounds,
        give_up_seconds: f64::from(plan.rounds) * round_seconds,
        miss: plan.miss,
        mean_repair_ms: plan.mean_repair_rounds * round_seconds * 1e3,
        digests_per_second: plan.digests_per_second,
        solicits_per_second: plan.solicits_per_second,
        repair_bytes_per_second: plan.repair_bytes_per_second,
        buffer_bytes: plan.buffer_bytes,
        bufferers: plan.bufferers,
        gossip_once_reaches_all: small.then(reaches_all),
    }
}

fn describe(answer: &Answer) -> String {
    let Answer { members, loss, reliability, fanout, .. } = answer;
    let mut text = format!(
        "{members} members, {:.1} % loss, a miss at most {reliability:.0e}, {fanout} digest(s) a \
         round of {:.0} ms:\n\n",
        loss * 100.0,
        answer.round_ms
    );
    let rows = [
        (
            "a missing message is given up after",
            format!("{} rounds, {:.1} s", answer.rounds, answer.give_up_seconds),
        ),
        ("then the model's miss is", format!("{:.1e}", answer.miss)),
        ("a repair takes, on average", format!("{:.0} ms", answer.mean_repair_ms)),
        ("each member sends digests", format!("{:.0} a second", answer.digests_per_second)),
        ("... and solicitations", format!("{:.1} a second", answer.solicits_per_second)),
        ("... and repairs", format!("{:.1} KB a second", answer.repair_bytes_per_second / 1e3)),
        ("each member buffers", format!("{:.2} MB", answer.buffer_bytes / 1e6)),
        ("long-term bufferers per message", answer.bufferers.to_string()),
    ];
    for (what, figure) in rows {
        text += &format!("  {what:<38}{figure}\n");
    }
    if let Some(all) = answer.gossip_once_reaches_all {
        text += &format!("  {:<38}{all:.3}\n", "gossip alone, once each, reaches all");
    }
    text
}
