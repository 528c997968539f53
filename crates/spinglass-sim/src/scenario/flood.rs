//! Denial of service: a tenth of the members, the source among them, are flooded with fabricated
//! datagrams at the port that all know. Figures of Badishi, Keidar and Sasson, "Exposing and
//! eliminating vulnerabilities to denial of service attacks in secure gossip-based multicast"
//! (DSN 2004), with the real core.
//!
//! Of what arrives at a port in a round, genuine or not, a host reads so many datagrams, chosen at
//! random ([`Intake`]). Drum's claim is that propagation takes about as long however many are
//! fabricated, given three measures together: what is read of each port is bounded by itself,
//! answers come to random ports, and news are both pushed and pulled. Each [`Variant`] but the
//! first goes without one of them, and must fail.

use std::collections::BTreeSet;
use std::time::Duration;

use serde::Serialize;
use spinglass_core::{Config, Dissemination, Event, Instant, Prng, REPLY_PORT_LIFE, Start};

use super::quantile;
use crate::check::{payload, read_payload};
use crate::network::Network;
use crate::setup::Setup;
use crate::world::{Intake, Observer, World};

/// The protocol, or what is left of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Variant {
    /// All of it, as it is used.
    Whole,
    /// All of it but the trees: everything comes by gossip, as in Drum.
    Gossip,
    /// Members tell others what they have, and never ask by themselves for what they lack.
    PushOnly,
    /// Members ask for what they lack, and nobody is told of news who did not ask. No trees.
    PullOnly,
    /// Answers go where everything else goes.
    FixedPort,
}

impl Variant {
    /// Every one.
    pub const ALL: [Self; 5] =
        [Self::Whole, Self::Gossip, Self::PushOnly, Self::PullOnly, Self::FixedPort];

    fn config(self) -> Config {
        let mut config = Config::lan();
        let multicast = &mut config.multicast;
        match self {
            Self::Whole | Self::FixedPort => (),
            Self::Gossip => multicast.dissemination = Dissemination::Gossip,
            Self::PushOnly => {
                (multicast.push_old, multicast.solicit_on_arrival) = (false, false);
                // Whoever says what it lacks would be told of it.
                multicast.tail_wait = Duration::ZERO;
            }
            Self::PullOnly => {
                multicast.dissemination = Dissemination::Gossip;
                multicast.pull_offered = false;
                multicast.tail_wait = Duration::ZERO;
            }
        }
        config
    }
}

/// What to run.
#[derive(Debug, Clone, Serialize)]
pub struct Parameters {
    /// The group's size.
    pub members: usize,
    /// The share of members that are attacked, the source among them.
    pub attacked: f64,
    /// Fabricated datagrams that come to each attacked member in a round.
    pub fabricated: u32,
    /// Datagrams that a host reads of each of its ports in a round.
    pub intake: u32,
    /// The probability that a datagram is lost, at each receiver by itself.
    pub loss: f64,
    /// Messages per second.
    pub rate: u64,
    /// How long messages are published.
    pub seconds: u64,
    /// The protocol.
    pub variant: Variant,
    /// The seed.
    pub seed: u64,
}

impl Parameters {
    /// Drum's setup: 1,000 members, a tenth of them attacked, 1 % loss, 40 messages a second.
    #[must_use]
    pub const fn drum(variant: Variant, fabricated: u32, seed: u64) -> Self {
        Self {
            members: 1000,
            attacked: 0.1,
            fabricated,
            intake: 24,
            loss: 0.01,
            rate: 40,
            seconds: 5,
            variant,
            seed,
        }
    }
}

/// What was seen.
#[derive(Debug, Clone, Serialize)]
pub struct Report {
    /// What was run.
    pub parameters: Parameters,
    /// Messages published.
    pub published: usize,
    /// Rounds until 99 % of the members had delivered a message: the mean over the messages, of
    /// which one that never got so far counts with [`ROUNDS_MAX`].
    pub rounds: f64,
    /// The same, if a round that has begun counts as a whole one, as where all begin at once.
    pub rounds_begun: f64,
    /// The rounds of the slowest message but a hundredth.
    pub rounds_p99: f64,
    /// Messages that never got so far.
    pub never: usize,
    /// The share of all messages that members delivered: those not attacked, and those attacked.
    pub delivered: [f64; 2],
    /// Genuine datagrams that were not read, per member and round.
    pub lost: f64,
    /// Datagrams that a member sent, per round.
    pub sent: f64,
    /// Members that the region took for dead, over all observers.
    pub removed: u64,
    /// What the run came to.
    pub trace: u64,
}

/// Rounds after which a message counts as never heard of: as many as a packet is waited for at
/// most, and some.
pub const ROUNDS_MAX: u32 = 120;
const ROUND: Duration = Duration::from_millis(100);
/// How long members get to know each other, under attack already.
const WARM_UP: Duration = Duration::from_secs(10);

struct Watch {
    sent: Vec<u64>,
    /// By message: how many have delivered it, and after how many nanoseconds the last that
    /// counts did.
    delivered: Vec<(usize, Option<u64>)>,
    enough: usize,
    by_member: Vec<u64>,
}

impl Observer for Watch {
    fn event(&mut self, at: Instant, member: usize, _life: u64, event: &Event) {
        let Event::Message(message) = event else { return };
        let Some((_, _, index)) = read_payload(&message.payload) else { return };
        let sent = self.sent.get(index as usize).copied().unwrap_or(0);
        if let Some((count, last)) = self.delivered.get_mut(index as usize) {
            *count += 1;
            if *count == self.enough {
                *last = Some(at.as_nanos() - sent);
            }
        }
        self.by_member.iter_mut().skip(member).take(1).for_each(|count| *count += 1);
    }
}

/// Runs it.
///
/// # Panics
/// If the parameters make no sense: a scenario's own mistake.
pub fn run(parameters: &Parameters, progress: &mut dyn FnMut(f64)) -> Report {
    let Parameters { members, rate, seconds, seed, variant, .. } = *parameters;
    let network = Network { loss_ppm: (parameters.loss * 1e6) as u32, ..Network::default() };
    let mut world = World::new(Setup::new(members, variant.config(), seed), network);
    let mut draw = Prng::new(seed).fork("flood");
    let attacked = attack(&mut world, parameters, &mut draw);
    let topic = world.topic("flood");
    (0..members).for_each(|member| world.subscribe(member, topic, Start::Live));
    let total = (rate * seconds) as usize;
    let mut watch = Watch {
        sent: Vec::new(),
        delivered: vec![(0, None); total],
        enough: ((members as f64 * 0.99).ceil() as usize).saturating_sub(1).max(1),
        by_member: vec![0; members],
    };
    let mut renew = Duration::ZERO;
    let mut pass = |world: &mut World, watch: &mut Watch, span: Duration| {
        let mut left = span;
        while !left.is_zero() {
            if renew.is_zero() && variant != Variant::FixedPort {
                world.renew_reply_ports(&mut draw);
                renew = REPLY_PORT_LIFE;
            }
            let step = if renew.is_zero() { left } else { left.min(renew) };
            world.run(step, watch);
            (left, renew) = (left - step, renew.saturating_sub(step));
        }
    };
    pass(&mut world, &mut watch, WARM_UP);
    for index in 0..total {
        watch.sent.push(world.now().monotonic.as_nanos());
        let message = payload(0, 1, index as u64, 100);
        world.publish(0, topic, message, &mut watch).expect("the pace is far above the rate");
        pass(&mut world, &mut watch, Duration::from_nanos(1_000_000_000 / rate));
        progress(index as f64 / total as f64);
    }
    pass(&mut world, &mut watch, ROUND * ROUNDS_MAX);
    report(parameters, &world, &watch, &attacked)
}

/// Limits what all hosts read, and begins the attack.
fn attack(world: &mut World, parameters: &Parameters, draw: &mut Prng) -> BTreeSet<usize> {
    let Parameters { members, fabricated, seed, .. } = *parameters;
    let mut intake = Intake::new(parameters.intake, ROUND, seed);
    intake.fabricated = fabricated;
    // Whom nobody floods is not counted as attacked, yet drawn, so that it is the same everywhere.
    let wanted = (members as f64 * parameters.attacked).round() as usize;
    intake.attacked.insert(0);
    while intake.attacked.len() < wanted {
        intake.attacked.insert(draw.index(members));
    }
    let attacked = intake.attacked.clone();
    world.limit_intake(intake);
    attacked
}

fn mean(samples: &[f64]) -> f64 {
    samples.iter().sum::<f64>() / samples.len().max(1) as f64
}

fn report(
    parameters: &Parameters,
    world: &World,
    watch: &Watch,
    attacked: &BTreeSet<usize>,
) -> Report {
    let members = parameters.members;
    let total = watch.delivered.len();
    let in_rounds = |nanos: u64| nanos as f64 / ROUND.as_nanos() as f64;
    let rounds = watch.delivered.iter().map(|(_, last)| last.map(in_rounds));
    let rounds = rounds.map(|rounds| rounds.unwrap_or_else(|| ROUNDS_MAX.into()));
    let mut rounds: Vec<f64> = rounds.collect();
    let share = |are_attacked: bool| {
        let counts = watch.by_member.iter().enumerate().skip(1);
        let counts = counts.filter(|(member, _)| attacked.contains(member) == are_attacked);
        let counts: Vec<u64> = counts.map(|(_, count)| *count).collect();
        counts.iter().sum::<u64>() as f64 / (counts.len().max(1) * total) as f64
    };
    let stats: Vec<_> = (0..members).map(|member| world.stats(member)).collect();
    let member_rounds = stats.iter().map(|stats| stats.rounds).sum::<u64>().max(1) as f64;
    let sent = stats.iter().map(|stats| stats.datagrams_sent).sum::<u64>() as f64;
    Report {
        published: total,
        rounds: mean(&rounds),
        rounds_begun: mean(&rounds.iter().map(|rounds| rounds.ceil()).collect::<Vec<_>>()),
        rounds_p99: quantile(&mut rounds, 0.99),
        never: watch.delivered.iter().filter(|(_, last)| last.is_none()).count(),
        delivered: [share(false), share(true)],
        lost: world.intake().map_or(0, Intake::lost) as f64 / member_rounds,
        sent: sent / member_rounds,
        removed: stats.iter().map(|stats| stats.agents_removed).sum(),
        trace: world.trace(),
        parameters: parameters.clone(),
    }
}
