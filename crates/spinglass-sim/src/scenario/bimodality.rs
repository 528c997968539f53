//! All or nothing: how many members a message reaches when its sender may crash while sending.
//!
//! 50 members listen to a few senders, one after the other; every datagram is lost with 5 %
//! probability; and with 0.1 % probability a sender crashes while it sends, so that its message
//! reaches some random part of the group and nobody can ask it again. A message that reaches more
//! than 10 % but less than 90 % would break the bimodal guarantee [RELIABILITY 0, G3].

use std::collections::BTreeMap;
use std::time::Duration;

use serde::Serialize;
use spinglass_core::{Config, Dissemination, Event, Instant, Prng, Start, TopicId};

use crate::check::{payload, read_payload};
use crate::network::Network;
use crate::setup::Setup;
use crate::world::{Observer, World};

/// What to run.
#[derive(Debug, Clone, Serialize)]
pub struct Parameters {
    /// Members that listen.
    pub members: usize,
    /// Messages.
    pub messages: u64,
    /// The probability that a datagram is lost.
    pub loss: f64,
    /// The probability that a sender crashes while it sends.
    pub crash: f64,
    /// The seed.
    pub seed: u64,
}

/// What was seen.
#[derive(Debug, Clone, Serialize)]
pub struct Report {
    /// What was run.
    pub parameters: Parameters,
    /// How many messages reached how many tenths of the group: none, up to a tenth, and so on; the
    /// last counts those that reached everybody.
    pub tenths: Vec<u64>,
    /// Messages that reached more than a tenth and less than nine tenths.
    pub between: u64,
    /// Messages whose sender crashed while sending.
    pub crashes: u64,
    /// Messages that a member missed although it heard a later one of the same sender's life, and
    /// was told no gap in their place.
    pub silent: u64,
    /// Gaps told.
    pub gaps: u64,
    /// With 95 % confidence the probability of a message between is below this.
    pub bound: f64,
}

/// Members that publish; while one is down, another goes on.
const SENDERS: usize = 4;
/// Messages followed at once; each is long settled when it leaves the window.
const BETWEEN_MESSAGES: Duration = Duration::from_micros(400);

struct Watch {
    members: usize,
    /// Members reached, by message.
    reached: Vec<u8>,
    /// What was published before a message in the same life of its sender.
    previous: Vec<u64>,
    /// The last message heard, by member, sender and life; and whether a gap was told since.
    last: BTreeMap<(usize, usize, u64), u64>,
    gap: Vec<bool>,
    gaps: u64,
    silent: u64,
}

/// In `previous`: the first of its sender's life.
const FIRST: u64 = u64::MAX;

impl Observer for Watch {
    fn event(&mut self, _at: Instant, member: usize, _life: u64, event: &Event) {
        if member >= self.members {
            return;
        }
        match event {
            Event::Message(message) => {
                let Some((sender, life, number)) = read_payload(&message.payload) else { return };
                if let Some(reached) = self.reached.get_mut(number as usize) {
                    *reached += 1;
                }
                let before = self.previous.get(number as usize).copied().unwrap_or(FIRST);
                let last = self.last.insert((member, sender, life), number);
                let told = self.gap.get_mut(member).is_some_and(std::mem::take);
                self.silent += u64::from(last.is_some_and(|last| last != before) && !told);
            }
            Event::Gap(_) => {
                self.gaps += 1;
                self.gap.iter_mut().skip(member).take(1).for_each(|gap| *gap = true);
            }
            _ => (),
        }
    }
}

/// Runs it.
pub fn run(parameters: &Parameters, progress: &mut dyn FnMut(f64)) -> Report {
    let Parameters { members, messages, seed, .. } = *parameters;
    let mut config = Config::lan();
    config.multicast.dissemination = Dissemination::Multicast;
    config.multicast.buffer_bytes_max = 8 << 20;
    let network = Network { loss_ppm: (parameters.loss * 1e6) as u32, ..Network::default() };
    let mut world = World::new(Setup::new(members + SENDERS, config, seed), network);
    let topic = world.topic("bimodality");
    (0..members).for_each(|member| world.subscribe(member, topic, Start::Live));
    let mut rng = Prng::new(seed).fork("crashes");
    let mut watch = Watch {
        members,
        reached: vec![0; messages as usize],
        previous: Vec::with_capacity(messages as usize),
        last: BTreeMap::new(),
        gap: vec![false; members],
        gaps: 0,
        silent: 0,
    };
    world.run(Duration::from_secs(2), &mut watch);
    let (mut sender, mut crashes) = (members, 0);
    let mut latest = BTreeMap::new();
    for number in 0..messages {
        let life = (sender, world.life(sender));
        watch.previous.push(latest.insert(life, number).unwrap_or(FIRST));
        let crash = rng.below(1_000_000) < (parameters.crash * 1e6) as u64;
        if crash {
            crash_while_sending((&mut world, topic), sender, number, &mut rng, &mut watch);
            crashes += 1;
            sender = members + (sender - members + 1) % SENDERS;
        } else {
            let text = payload(sender, world.life(sender), number, 60);
            world.publish(sender, topic, text, &mut watch).expect("one message fits");
        }
        world.run(BETWEEN_MESSAGES, &mut watch);
        if number % 1024 == 0 {
            progress(number as f64 / messages as f64);
        }
    }
    world.network.loss_ppm = 0;
    world.run(Duration::from_secs(12), &mut watch);
    summarise(parameters, &watch, crashes)
}

/// Sends a message to a random part of the group, and crashes; the sender is back some time later.
fn crash_while_sending(
    (world, topic): (&mut World, TopicId),
    sender: usize,
    number: u64,
    rng: &mut Prng,
    watch: &mut Watch,
) {
    let share = rng.below(1_000_001);
    let missed = (0..world.len()).filter(|_| rng.below(1_000_000) >= share);
    world.network.blocked = missed.map(|to| (sender, to)).collect();
    let text = payload(sender, world.life(sender), number, 60);
    world.publish(sender, topic, text, watch).expect("one message fits");
    world.crash(sender);
    world.network.blocked.clear();
    world.restart(sender);
}

fn summarise(parameters: &Parameters, watch: &Watch, crashes: u64) -> Report {
    let members = parameters.members as u64;
    let mut tenths = vec![0; 12];
    let mut between = 0;
    for reached in &watch.reached {
        let reached = u64::from(*reached);
        let tenth = match reached {
            0 => 0,
            all if all >= members => 11,
            some => 1 + some * 10 / members,
        };
        if let Some(count) = tenths.get_mut(tenth as usize) {
            *count += 1;
        }
        between += u64::from(reached * 10 > members && reached * 10 < members * 9);
    }
    let messages = parameters.messages as f64;
    // No hit in n trials: 3/n. Otherwise a rough bound is enough to fail by.
    let bound = (between as f64 + 3.0) / messages;
    let (gaps, silent) = (watch.gaps, watch.silent);
    Report { parameters: parameters.clone(), tenths, between, crashes, silent, gaps, bound }
}
