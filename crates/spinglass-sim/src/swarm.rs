//! Swarm runs: every knob drawn from the seed, all faults at once, then healing.
//!
//! First phase: everything that the network and the hosts can do, together; whatever happens, the
//! checkers hold (safety). Second phase: the network heals, everybody is awake and in one part, the
//! crashed are back; within a bound, what is published then reaches everybody (liveness).

use std::time::Duration;

use serde::Serialize;
use spinglass_core::{Config, Dissemination, Prng, Start, TopicId};

use crate::check::{Checker, Violation};
use crate::network::{Burst, Network};
use crate::setup::Setup;
use crate::world::World;

/// Virtual time of the first phase.
const FAULTS: Duration = Duration::from_secs(8);
/// Steps that it is cut into; knobs turn between them.
const STEPS: u32 = 40;
/// Virtual time for everybody to find everybody again: who was removed comes back once it has been
/// well for as long as it was not, and broken relays go on breaking.
const HEAL: Duration = Duration::from_secs(45);
/// Virtual time for what is published then to reach everybody: what is missing before it is given
/// up after at most 100 rounds.
const LIVENESS: Duration = Duration::from_secs(12);
/// Messages published by each publisher after healing.
const LIVE_MESSAGES: usize = 20;

/// What a swarm run showed.
#[derive(Debug, Clone, Serialize)]
pub struct SwarmReport {
    /// The seed.
    pub seed: u64,
    /// How the knobs stood.
    pub knobs: String,
    /// Protocol events handled.
    pub events: u64,
    /// Hash of everything handled.
    pub trace: u64,
    /// Messages delivered.
    pub messages: u64,
    /// Gaps told.
    pub gaps: u64,
    /// Requests refused because they came too late: shows that the rule is at work.
    pub late: u64,
    /// Datagrams refused as replayed, unsealed, forged.
    pub refused: [u64; 3],
    /// What must not happen and did.
    pub violations: Vec<Violation>,
    /// The command that runs this seed again.
    pub replay: String,
}

/// The knobs of one run.
#[derive(Debug, Clone)]
struct Knobs {
    members: usize,
    publishers: usize,
    dissemination: Dissemination,
    datagram_bytes: usize,
    message_bytes_max: u64,
    network: Network,
    sleep_ppm: u32,
    tamper_ppm: u32,
    crash_ppm: u32,
    partitions: bool,
    one_way: bool,
    slow: bool,
    buffer_bytes_max: usize,
    region_members: usize,
    repair_bytes_per_round: usize,
    real_crypto: bool,
}

impl Knobs {
    fn draw(rng: &mut Prng) -> Self {
        // Each fault is at work in about half of the runs, at a dose drawn evenly.
        let dose = |rng: &mut Prng, most: u64| {
            if rng.chance_ppm(500_000) { u32::try_from(rng.below(most)).unwrap_or(0) } else { 0 }
        };
        let micros = |micros| Duration::from_micros(micros);
        let least = rng.below(5_000);
        let real_crypto = rng.chance_ppm(100_000);
        let burst = Burst {
            slot: Duration::from_millis(50 + rng.below(450)),
            bad_ppm: dose(rng, 100_000),
            loss_ppm: 800_000,
        };
        let ways = [Dissemination::Trees, Dissemination::Multicast, Dissemination::Both];
        let pick = rng.index(3);
        Self {
            members: 3 + rng.index(if real_crypto { 8 } else { 30 }),
            publishers: 1 + rng.index(3),
            dissemination: ways.get(pick).copied().unwrap_or_default(),
            datagram_bytes: if rng.chance_ppm(500_000) { 1200 } else { 9000 },
            message_bytes_max: [64, 2_000, 40_000].get(rng.index(3)).copied().unwrap_or(64),
            network: Network {
                delay_min: micros(least),
                delay_max: micros(least + u64::from(dose(rng, 60_000)) + 100),
                loss_ppm: dose(rng, 300_000),
                burst: Some(burst),
                duplicate_ppm: dose(rng, 300_000),
                corrupt_ppm: dose(rng, 100_000),
                replay_ppm: dose(rng, 300_000),
                ..Network::default()
            },
            sleep_ppm: dose(rng, 900_000),
            tamper_ppm: if real_crypto { 0 } else { dose(rng, 200_000) },
            crash_ppm: dose(rng, 20_000),
            partitions: rng.chance_ppm(300_000),
            one_way: rng.chance_ppm(300_000),
            slow: rng.chance_ppm(300_000),
            buffer_bytes_max: if rng.chance_ppm(300_000) { 1 << 19 } else { 32 << 20 },
            region_members: if rng.chance_ppm(300_000) { 5 } else { 0 },
            repair_bytes_per_round: if rng.chance_ppm(300_000) { 16 << 10 } else { 256 << 10 },
            real_crypto,
        }
    }

    fn setup(&self, seed: u64) -> Setup {
        let mut config = Config::lan();
        config.link.datagram_bytes = self.datagram_bytes;
        config.multicast.dissemination = self.dissemination;
        // Five times as hasty as usual: a run is short.
        config.table.round = Duration::from_millis(200);
        config.detector.probe_timeout = Duration::from_millis(100);
        config.multicast.buffer_bytes_max = self.buffer_bytes_max;
        config.multicast.repair_bytes_per_round = self.repair_bytes_per_round;
        Setup {
            acquainted: false,
            real_crypto: self.real_crypto,
            tamper_ppm: self.tamper_ppm,
            region_members: self.region_members,
            ..Setup::new(self.members, config, seed)
        }
    }
}

/// One run of everything at once.
#[must_use]
pub fn swarm(seed: u64) -> SwarmReport {
    let mut rng = Prng::new(seed).fork("swarm");
    let knobs = Knobs::draw(&mut rng);
    let mut world = World::new(knobs.setup(seed), Network::default());
    let mut checker = Checker::new(!knobs.real_crypto);
    if knobs.tamper_ppm > 0 {
        checker.tampered =
            (0..knobs.members).filter(|member| World::is_tamperer(*member)).collect();
    }
    let topic = world.topic("swarm");
    (0..knobs.members).for_each(|member| world.subscribe(member, topic, Start::Live));
    world.run(Duration::from_secs(2), &mut checker);
    world.network = knobs.network.clone();
    for _ in 0..STEPS {
        turn(&mut world, &knobs, &mut rng);
        revive(&mut world, topic, 300_000, &mut rng);
        publish(&mut world, &mut checker, topic, &knobs, &mut rng);
        world.run(FAULTS / STEPS, &mut checker);
        checker.check_bounds(&world);
    }
    heal(&mut world, topic, &mut rng);
    world.run(HEAL, &mut checker);
    live(&mut world, &mut checker, topic, &knobs);
    checker.check_bounds(&world);
    report(seed, &knobs, &world, &checker)
}

/// Turns the knobs that turn: who sleeps, who is slow, who is cut off, who crashes.
fn turn(world: &mut World, knobs: &Knobs, rng: &mut Prng) {
    for member in 0..knobs.members {
        let sleeps = member % 4 == 1;
        world.set_sleep(member, if sleeps { knobs.sleep_ppm } else { 0 });
        let slow = knobs.slow && member % 5 == 2;
        world.set_service(member, Duration::from_micros(if slow { 300 } else { 0 }));
        if knobs.crash_ppm > 0 && member > 0 && rng.chance_ppm(knobs.crash_ppm) {
            world.crash(member);
        }
    }
    if knobs.partitions && rng.chance_ppm(150_000) {
        let part = |rng: &mut Prng| u8::from(rng.chance_ppm(300_000));
        world.network.parts = (0..knobs.members).map(|_| part(rng)).collect();
    } else if rng.chance_ppm(300_000) {
        world.network.parts.clear();
    }
    if knobs.one_way && rng.chance_ppm(200_000) {
        let path = (rng.index(knobs.members), rng.index(knobs.members));
        world.network.blocked.insert(path);
    }
}

/// Starts crashed members again, each with some probability.
fn revive(world: &mut World, topic: TopicId, ppm: u32, rng: &mut Prng) {
    for member in 0..world.len() {
        if world.node(member).is_none() && rng.chance_ppm(ppm) {
            world.restart(member);
            world.subscribe(member, topic, Start::Live);
        }
    }
}

fn publish(
    world: &mut World,
    checker: &mut Checker,
    topic: TopicId,
    knobs: &Knobs,
    rng: &mut Prng,
) {
    for member in 0..knobs.publishers {
        for _ in 0..rng.below(8) {
            let bytes = rng.below(knobs.message_bytes_max) as usize;
            say(world, checker, (member, topic), bytes);
        }
    }
}

fn say(world: &mut World, checker: &mut Checker, (member, topic): (usize, TopicId), bytes: usize) {
    if world.node(member).is_none() {
        return;
    }
    let life = world.life(member);
    let payload = checker.publish(member, life, bytes);
    if world.publish(member, topic, payload, checker).is_err() {
        checker.refuse(member, life);
    }
}

fn heal(world: &mut World, topic: TopicId, rng: &mut Prng) {
    world.network = Network::default();
    for member in 0..world.len() {
        world.set_sleep(member, 0);
        world.set_service(member, Duration::ZERO);
    }
    revive(world, topic, 1_000_000, rng);
}

/// After healing: everybody knows everybody, and hears everything.
fn live(world: &mut World, checker: &mut Checker, topic: TopicId, knobs: &Knobs) {
    let mut missing = Vec::new();
    for member in 0..knobs.members {
        let count = world.node(member).map_or(0, spinglass_core::Node::member_count);
        if count != knobs.members {
            missing.push(format!("member {member} knows {count} of {}", knobs.members));
        }
    }
    let delivered = |checker: &Checker, world: &World, to: usize, from: usize| {
        let key = (to, world.life(to), from, world.life(from));
        checker.delivered.get(&key).copied().unwrap_or(0)
    };
    let pairs: Vec<(usize, usize)> = (0..knobs.publishers)
        .flat_map(|from| (0..knobs.members).map(move |to| (to, from)))
        .filter(|(to, from)| to != from)
        .collect();
    let before: Vec<u64> =
        pairs.iter().map(|(to, from)| delivered(checker, world, *to, *from)).collect();
    for _ in 0..LIVE_MESSAGES {
        for member in 0..knobs.publishers {
            say(world, checker, (member, topic), 300);
        }
        world.run(Duration::from_millis(20), checker);
    }
    world.run(LIVENESS, checker);
    for ((to, from), before) in pairs.into_iter().zip(before) {
        let got = delivered(checker, world, to, from) - before;
        if got != LIVE_MESSAGES as u64 {
            missing.push(format!("{to} heard {got} of {LIVE_MESSAGES} messages of {from}"));
        }
    }
    for what in missing {
        checker.violate_liveness(world, what);
    }
}

fn report(seed: u64, knobs: &Knobs, world: &World, checker: &Checker) -> SwarmReport {
    let mut refused = [0; 3];
    let mut late = 0;
    for member in 0..world.len() {
        let stats = world.stats(member);
        late += stats.solicits_late;
        use spinglass_core::Reject::{Forged, Replayed, Unsealed};
        for (sum, reject) in refused.iter_mut().zip([Replayed, Unsealed, Forged]) {
            *sum += stats.rejected(reject);
        }
    }
    SwarmReport {
        seed,
        knobs: format!("{knobs:?}"),
        events: world.handled(),
        trace: world.trace(),
        messages: checker.messages,
        gaps: checker.gaps,
        late,
        refused,
        violations: checker.violations().to_vec(),
        replay: format!("spinglass lab sim --seed {seed}"),
    }
}
