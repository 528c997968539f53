//! The grid in virtual time, with as many members as there is patience for: who gets what, and what
//! it costs, in calm and in the storm. What sensors read does not matter here.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::time::Duration;

use spinglass::{Config, Rating, Start, TopicId};
use spinglass_core::{Event, Instant};
use spinglass_sim::{Network, Observer, Setup, World};

use super::Outcome;

/// Readings per second of each sensor, and how many times as many a storm brings.
const READINGS: u64 = 4;
const STORM_TIMES: u64 = 50;
const REGION_MEMBERS: usize = 64;
/// What some relays are to be sent at most, in bytes per second.
const RELAY_CAP: u64 = 60_000;
/// Parts of a second into which sending is cut.
const STEPS: u64 = 100;

/// What a member does in its region.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Role {
    Sensor,
    Consumer,
    Producer,
    Relay,
    Market,
}

fn role(member: usize, members: usize) -> Role {
    match member % REGION_MEMBERS {
        // The last one of the last region that is full: it has no cap.
        _ if member + 1 == members / REGION_MEMBERS * REGION_MEMBERS => Role::Market,
        0 => Role::Sensor,
        1 => Role::Consumer,
        2 => Role::Producer,
        _ => Role::Relay,
    }
}

/// What each kind of member got.
#[derive(Default)]
struct Heard {
    roles: Vec<Role>,
    got: BTreeMap<Role, u64>,
    gaps: BTreeMap<Role, u64>,
}

impl Observer for Heard {
    fn event(&mut self, _at: Instant, member: usize, _life: u64, event: &Event) {
        let Some(role) = self.roles.get(member) else { return };
        match event {
            Event::Message(_) => *self.got.entry(*role).or_default() += 1,
            Event::Gap(gap) => *self.gaps.entry(*role).or_default() += gap.packets,
            _ => (),
        }
    }
}

/// Runs it.
///
/// # Errors
/// There are too few members, or who takes everything lacked something.
pub(crate) fn run(members: usize, phases: [u32; 3]) -> Outcome<String> {
    if members < 2 * REGION_MEMBERS {
        return Err(format!("a grid of at least {} members, please", 2 * REGION_MEMBERS).into());
    }
    let mut setup = Setup::new(members, Config::lan(), 1);
    // Every fourth member caps what it receives: a relay.
    let cap = |turn: usize| if turn % 4 == 3 && turn + 1 < REGION_MEMBERS { RELAY_CAP } else { 0 };
    setup.caps = (0..REGION_MEMBERS).map(cap).collect();
    let mut world = World::new(setup, Network::default());
    let regions = members / REGION_MEMBERS;
    let mut topics = Vec::new();
    for region in 0..regions {
        let name = |what: &str| format!("grid/{region}/{what}");
        topics.push((world.topic(&name("frequency")), world.topic(&name("contract"))));
    }
    let roles: Vec<Role> = (0..members).map(|member| role(member, members)).collect();
    subscribe(&mut world, &roles, &topics)?;
    world.settle(&[]);
    let mut heard = Heard { roles: roles.clone(), ..Heard::default() };
    world.run(Duration::from_secs(10), &mut heard);
    let mut seen = format!("{members} members in {regions} regions, {} topics\n", 2 * regions);
    let (mut due, mut sent) = (0, 0_u64);
    for (phase, seconds) in phases.into_iter().enumerate() {
        let times = if phase == 1 { STORM_TIMES } else { 1 };
        (heard.got, heard.gaps) = (BTreeMap::new(), BTreeMap::new());
        let before = paid(&world, &roles);
        for _ in 0..u64::from(seconds) * STEPS {
            due += READINGS * times;
            for _ in 0..due / STEPS {
                sent += 1;
                for (region, (frequency, contract)) in topics.iter().enumerate() {
                    let first = region * REGION_MEMBERS;
                    let text = |what: u64| format!("{:<200}", sent * 2 + what);
                    world.publish(first, *frequency, text(0), &mut heard)?;
                    world.publish(first + 1, *contract, text(1), &mut heard)?;
                }
            }
            due %= STEPS;
            world.run(Duration::from_secs(1) / STEPS as u32, &mut heard);
        }
        writeln!(seen, "{}, a second:", ["calm", "storm", "calm"][phase])?;
        for (role, bytes) in paid(&world, &roles) {
            let count = roles.iter().filter(|own| **own == role).count() as u64;
            let each = |what: u64| what as f64 / (count * u64::from(seconds)) as f64;
            let of = |map: &BTreeMap<Role, u64>| each(map.get(&role).copied().unwrap_or(0));
            writeln!(
                seen,
                "  {role:<8?} {count:>6}: {:>7.1} readings, {:>6.1} in gaps, {:>7.1} KB in, out",
                of(&heard.got),
                of(&heard.gaps),
                each(bytes - before.get(&role).copied().unwrap_or(0)) / 1e3,
            )?;
        }
        let lacked = heard.gaps.get(&Role::Producer).copied().unwrap_or(0);
        if lacked > 0 {
            return Err(format!("{seen}producers, who take everything, lacked {lacked}").into());
        }
    }
    Ok(seen)
}

/// Who takes what: all of it, a part, a trickle.
fn subscribe(world: &mut World, roles: &[Role], topics: &[(TopicId, TopicId)]) -> Outcome {
    for (member, role) in roles.iter().enumerate() {
        let region = (member / REGION_MEMBERS).min(topics.len() - 1);
        let ((frequency, _), (_, next)) = (topics[region], topics[(region + 1) % topics.len()]);
        let mut take = |topic: TopicId, share: f64| -> Outcome {
            world.rate(member, topic, Rating::new(share)?);
            world.subscribe(member, topic, Start::Live);
            Ok(())
        };
        match role {
            Role::Sensor => take(topics[region].1, 0.0)?,
            Role::Consumer => take(frequency, 0.0)?,
            Role::Producer => take(frequency, 1.0).and_then(|()| take(next, 1.0))?,
            Role::Relay => take(frequency, 0.2).and_then(|()| take(topics[region].1, 0.2))?,
            Role::Market => topics.iter().try_for_each(|(frequency, _)| take(*frequency, 0.02))?,
        }
    }
    Ok(())
}

/// Bytes in and out so far, by role.
fn paid(world: &World, roles: &[Role]) -> BTreeMap<Role, u64> {
    let mut paid = BTreeMap::new();
    for (member, role) in roles.iter().enumerate() {
        let stats = world.stats(member);
        *paid.entry(*role).or_default() += stats.bytes_sent + stats.bytes_received;
    }
    paid
}
