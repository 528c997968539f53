//! Certified members that turn hostile, in every way at once [RELIABILITY 0, G7; 2, T-10 to T-15].
//!
//! Links take 25 ms, give or take 10 %, as in the measurements of gossipsub v1.1 [RELIABILITY 6.3].
//! All members are certified. Some then pass nothing on, boast in digests, forge, accuse everybody,
//! sign rows of the far future, and ask for everything; of ten of them one also signs two packets
//! of each number, and another one two rows of each version. Honest members publish in turn; how
//! many of their messages reach how many honest members, and how soon, is held against a run in
//! which nobody is hostile. An oracle knows what each honest member said.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use serde::Serialize;
use spinglass_core::crypto::{Crypto as _, Signature};
use spinglass_core::table::{Kind, TableRow};
use spinglass_core::{Config, Event, Instant, MemberId, Prng, Start, StreamId, TopicId};

use super::quantile;
use crate::badboy::Way;
use crate::check::{payload, read_payload};
use crate::crypto::SimCrypto;
use crate::network::Network;
use crate::papers::Papers;
use crate::setup::Setup;
use crate::world::{Blind, Observer, World};

/// What to run.
#[derive(Debug, Clone, Serialize)]
pub struct Parameters {
    /// The group's size.
    pub members: usize,
    /// How many of a hundred members turn hostile.
    pub hostile_percent: usize,
    /// Messages, 250 ms apart.
    pub messages: usize,
    /// Bytes per message.
    pub bytes: usize,
    /// The seed.
    pub seed: u64,
}

/// What was seen.
#[derive(Debug, Clone, Serialize)]
pub struct Report {
    /// What was run.
    pub parameters: Parameters,
    /// Members that turned hostile.
    pub hostile: usize,
    /// Messages times honest members that were to hear them.
    pub expected: usize,
    /// Of these, what was heard.
    pub heard: usize,
    /// The same, in per cent.
    pub heard_percent: f64,
    /// Messages that some honest member did not hear.
    pub incomplete: usize,
    /// Milliseconds from publishing to delivery.
    pub p50_ms: f64,
    /// The same.
    pub p99_ms: f64,
    /// The same.
    pub max_ms: f64,
    /// Messages delivered in an honest member's name that it did not publish, or twice.
    pub forged_messages: usize,
    /// Rows held in somebody's name who did not sign them, or that are not their issuer's.
    pub forged_rows: usize,
    /// Honest members that some honest member has in quarantine.
    pub honest_quarantined: usize,
    /// Things that were taken for somebody's word and are not: the sum of these three.
    pub forged: usize,
    /// Members that signed two things under one number, and those of them that all honest members
    /// have in quarantine.
    pub equivocators: usize,
    /// The same.
    pub equivocators_known: usize,
    /// Honest agents that are missing in the tables of honest agents of their region, of a million.
    pub honest_absent_ppm: f64,
    /// Bytes sent per honest member and second, in the time of the messages.
    pub bytes_per_second: f64,
    /// Inputs handled.
    pub events: u64,
    /// The run's hash.
    pub trace: u64,
}

/// Until those who meet from the start have shown each other their certificates.
const JOIN: Duration = Duration::from_secs(30);
/// From turning hostile to the first message: what is to settle, settles.
const TURN: Duration = Duration::from_secs(5);
const BETWEEN: Duration = Duration::from_millis(250);
/// After the last message.
const REST: Duration = Duration::from_secs(12);
/// Of so many hostile members one signs two packets, and another one two rows, of one number.
const EQUIVOCATORS_ONE_IN: usize = 10;
/// Senders that take turns.
const SENDERS: usize = 20;

struct Watch {
    honest: Vec<bool>,
    ids: Vec<MemberId>,
    /// When each message was published: by sender and index.
    sent: BTreeMap<(usize, u64), u64>,
    heard: BTreeMap<(usize, u64), usize>,
    delays: Vec<f64>,
    last: BTreeMap<(usize, StreamId), u64>,
    forged: usize,
}

impl Observer for Watch {
    fn event(&mut self, at: Instant, member: usize, _life: u64, event: &Event) {
        let is_honest = |member: usize| self.honest.get(member).is_some_and(|honest| *honest);
        let Event::Message(message) = event else { return };
        if !is_honest(member) {
            return;
        }
        let last = self.last.insert((member, message.stream), message.first.0);
        let is_again = last.is_some_and(|last| last >= message.first.0);
        let sender = self.ids.iter().position(|id| *id == message.stream.sender);
        if sender.is_some_and(|sender| !is_honest(sender)) {
            self.forged += usize::from(is_again);
            return;
        }
        let said = read_payload(&message.payload).filter(|(from, ..)| Some(*from) == sender);
        let said = said.map(|(from, _, index)| (from, index));
        let sent = said.and_then(|said| Some((said, *self.sent.get(&said)?)));
        match sent.filter(|_| !is_again) {
            None => self.forged += 1,
            Some((said, sent)) => {
                *self.heard.entry(said).or_default() += 1;
                self.delays.push((at.as_nanos() - sent) as f64 / 1e6);
            }
        }
    }
}

/// Runs it.
pub fn run(parameters: &Parameters, progress: &mut dyn FnMut(f64)) -> Report {
    let Parameters { members, messages, bytes, seed, .. } = *parameters;
    let (mut world, topic) = group(members, seed);
    let hostile = turn_hostile(&mut world, parameters);
    let honest: Vec<bool> = (0..members).map(|member| !hostile.contains_key(&member)).collect();
    let id = |member| world.node(member).expect("nobody crashes").id();
    let mut watch = Watch {
        ids: (0..members).map(id).collect(),
        honest,
        sent: BTreeMap::new(),
        heard: BTreeMap::new(),
        delays: Vec::new(),
        last: BTreeMap::new(),
        forged: 0,
    };
    world.run(TURN, &mut watch);
    let sent = |world: &World| -> u64 {
        let honest = (0..members).filter(|member| !world.is_hostile(*member));
        honest.map(|member| world.stats(member).bytes_sent).sum()
    };
    let before = sent(&world);
    let good: Vec<usize> = (0..members).filter(|member| !hostile.contains_key(member)).collect();
    let equivocators: Vec<usize> =
        hostile.iter().filter(|(_, lies)| **lies).map(|(member, _)| *member).collect();
    for message in 0..messages {
        let (turn, index) = (message % SENDERS, (message / SENDERS) as u64);
        let sender = good.get(turn * good.len() / SENDERS).copied().unwrap_or(0);
        watch.sent.insert((sender, index), world.now().monotonic.as_nanos());
        let text = payload(sender, 1, index, bytes);
        world.publish(sender, topic, text, &mut watch).expect("one message fits the queue");
        if let Some(liar) = equivocators.get(message % equivocators.len().max(1)) {
            let text = payload(*liar, 1, message as u64, bytes);
            let _ = world.publish(*liar, topic, text, &mut watch);
        }
        world.run(BETWEEN, &mut watch);
        progress((message + 1) as f64 / messages as f64);
    }
    let span = BETWEEN.as_secs_f64() * messages as f64;
    let bytes_per_second = (sent(&world) - before) as f64 / good.len() as f64 / span;
    world.run(REST, &mut watch);
    report(parameters, &world, watch, (&good, &equivocators), bytes_per_second)
}

/// A group of certified members that know each other.
fn group(members: usize, seed: u64) -> (World, TopicId) {
    let network = Network {
        delay_min: Duration::from_micros(22_500),
        delay_max: Duration::from_micros(27_500),
        ..Network::default()
    };
    let mut setup = Setup::new(members, Config::wan(), seed);
    setup.papers = Some(Papers::default());
    if members <= 256 {
        setup.region_members = members.div_ceil(4);
    }
    let mut world = World::new(setup, network);
    let topic = world.topic("insiders");
    (0..members).for_each(|member| world.subscribe(member, topic, Start::Live));
    world.run(JOIN, &mut Blind);
    (world, topic)
}

/// Turns some members hostile, by chance; tells which of them equivocate.
fn turn_hostile(world: &mut World, parameters: &Parameters) -> BTreeMap<usize, bool> {
    let members = world.len();
    let mut rng = Prng::new(parameters.seed).fork("insiders");
    let mut order: Vec<usize> = (0..members).collect();
    for last in (1..members).rev() {
        order.swap(last, rng.index(last + 1));
    }
    order.truncate(members * parameters.hostile_percent / 100);
    let mut hostile = BTreeMap::new();
    for (at, member) in order.into_iter().enumerate() {
        let mut ways: BTreeSet<Way> = Way::LASTING.into();
        match at % EQUIVOCATORS_ONE_IN {
            0 => ways.extend([Way::TwoPackets]),
            1 => ways.extend([Way::TwoRows]),
            2..=4 => {
                ways.remove(&Way::Drop);
                ways.insert(Way::Delay);
            }
            _ => (),
        }
        hostile.insert(member, at % EQUIVOCATORS_ONE_IN == 0);
        world.corrupt(member, ways);
    }
    hostile
}

fn report(
    parameters: &Parameters,
    world: &World,
    mut watch: Watch,
    (good, equivocators): (&[usize], &[usize]),
    bytes_per_second: f64,
) -> Report {
    let receivers = good.len() - 1;
    let incomplete = watch.sent.keys().filter(|said| watch.heard.get(said) != Some(&receivers));
    let incomplete = incomplete.count();
    let honest: BTreeSet<MemberId> = ids(world, good);
    let mut accused: BTreeSet<MemberId> = BTreeSet::new();
    let mut known: BTreeMap<MemberId, usize> = BTreeMap::new();
    for node in good.iter().filter_map(|member| world.node(*member)) {
        node.check_invariants();
        for (proven, _) in node.quarantined() {
            accused.extend(honest.get(&proven));
            *known.entry(proven).or_default() += 1;
        }
    }
    let liars = ids(world, equivocators);
    let known = liars.iter().filter(|liar| known.get(liar) == Some(&good.len())).count();
    let (forged_messages, forged_rows) = (watch.forged, forged_rows(world, good));
    let (expected, heard) = (watch.sent.len() * receivers, watch.heard.values().sum());
    Report {
        parameters: parameters.clone(),
        hostile: world.len() - good.len(),
        expected,
        heard,
        heard_percent: 100.0 * heard as f64 / expected.max(1) as f64,
        incomplete,
        p50_ms: quantile(&mut watch.delays, 0.5),
        p99_ms: quantile(&mut watch.delays, 0.99),
        max_ms: quantile(&mut watch.delays, 1.0),
        forged_messages,
        forged_rows,
        honest_quarantined: accused.len(),
        forged: forged_messages + forged_rows + accused.len(),
        equivocators: equivocators.len(),
        equivocators_known: known,
        honest_absent_ppm: absent(world, good, &honest),
        bytes_per_second,
        events: world.handled(),
        trace: world.trace(),
    }
}

fn ids(world: &World, members: &[usize]) -> BTreeSet<MemberId> {
    members.iter().filter_map(|member| world.node(*member)).map(|node| node.id()).collect()
}

/// Rows that honest members hold and whose signature, name or place is not their issuer's.
fn forged_rows(world: &World, good: &[usize]) -> usize {
    let mut crypto = SimCrypto::new(world.oracle(), 0, 0);
    let names: BTreeMap<MemberId, (usize, String)> = (0..world.len())
        .filter_map(|member| Some((world.node(member)?.id(), (member, format!("n{member:07}")))))
        .collect();
    let mut is_genuine = |row: &TableRow| {
        let Some((body, signature)) = row.encoded().split_last_chunk::<64>() else { return false };
        let signed = [b"spinglass row v1".as_slice(), body].concat();
        let Some((member, name)) = names.get(&row.member()) else { return false };
        let region = world.setup().region(*member);
        let is_its = match row.kind() {
            Kind::Agent => *row.zone() == region && row.name() == name,
            Kind::Zone => row.zone().child(row.name()).is_ok_and(|zone| region.is_within(&zone)),
            Kind::Function | Kind::Order => false,
        };
        is_its && crypto.verify(row.issuer(), &signed, &Signature(*signature))
    };
    let mut seen = BTreeMap::new();
    for node in good.iter().filter_map(|member| world.node(*member)) {
        for row in node.table().held() {
            seen.entry(row.hash()).or_insert_with(|| is_genuine(row));
        }
    }
    seen.values().filter(|genuine| !**genuine).count()
}

/// Of honest agents, as honest agents of their region see them: those missing, of a million.
fn absent(world: &World, good: &[usize], honest: &BTreeSet<MemberId>) -> f64 {
    let (mut pairs, mut missing) = (0, 0);
    for member in good {
        let Some(node) = world.node(*member) else { continue };
        let region = world.setup().region(*member);
        let near = good.iter().filter(|other| world.setup().region(**other) == region).count();
        let there = node.members().filter(|member| honest.contains(&member.id)).count();
        pairs += near;
        missing += near.saturating_sub(there);
    }
    missing as f64 * 1e6 / f64::from(u32::try_from(pairs.max(1)).unwrap_or(u32::MAX))
}
