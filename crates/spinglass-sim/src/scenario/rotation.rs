//! Link keys that change while traffic flows: is a message lost for want of a key, how soon does
//! everybody have the next one, and for how long does an evicted member read on?
//!
//! Everybody is certified; some publish all the time. The key rotates again and again; one member
//! hears nothing over three rotations and comes back; at the last rotation another one has just
//! been revoked. IP multicast brings the evicted one every datagram, whoever it is meant for.

use std::time::Duration;

use bytes::Bytes;
use serde::Serialize;
use spinglass_core::orders::NewOrder;
use spinglass_core::{Config, Dissemination, Event, Instant, Prng, Start, TopicId};

use crate::network::Network;
use crate::papers::Papers;
use crate::setup::Setup;
use crate::world::{Blind, Observer, World};

/// What to run.
#[derive(Debug, Clone, Serialize)]
pub struct Parameters {
    /// Members.
    pub members: usize,
    /// Members per region.
    pub region: usize,
    /// The share of datagrams lost, in per cent.
    pub loss_percent: u32,
    /// Seconds between two rotations.
    pub every_seconds: u64,
    /// Rotations, the last of which evicts somebody.
    pub rotations: u32,
    /// The seed.
    pub seed: u64,
}

/// What was seen.
#[derive(Debug, Clone, Serialize)]
pub struct Report {
    /// What was run.
    pub parameters: Parameters,
    /// Messages published while keys rotated.
    pub published: u64,
    /// Of those, at each member that should have had all, how many it had not; over all of them.
    pub lost: u64,
    /// The same of those published after the one that was away was back.
    pub lost_after_return: u64,
    /// Members that should seal under the last key, and do not.
    pub left_behind: usize,
    /// Seconds from an order until the last member had the key: the worst of all rotations.
    pub spread_seconds: f64,
    /// Seconds from the last order until the evicted member read its last datagram.
    pub evicted_read_seconds: f64,
    /// Seconds from the last order until the last member had its key.
    pub last_spread_seconds: f64,
}

/// Members that publish.
const SENDERS: usize = 3;
/// Each publishes so often in a second.
const RATE: u64 = 10;
/// How often members are looked at.
const LOOK: Duration = Duration::from_millis(100);
/// Quiet before the first rotation.
const WARM_UP: Duration = Duration::from_secs(30);
/// Time for repairs at the end.
const COOL_DOWN: Duration = Duration::from_secs(15);
/// Seconds that the one who was away is given: one that others removed comes back only after as
/// long again as it was silent, and ten probes.
const RETURN_SECONDS: u64 = 60;

/// Messages by receiver.
struct Heard(Vec<u64>);

impl Observer for Heard {
    fn event(&mut self, _: Instant, member: usize, _: u64, event: &Event) {
        if let (Event::Message(_), Some(count)) = (event, self.0.get_mut(member)) {
            *count += 1;
        }
    }
}

struct Run {
    world: World,
    topic: TopicId,
    parameters: Parameters,
    heard: Heard,
    away: usize,
    evicted: usize,
    published: u64,
    /// Packets that the evicted one had opened, and when the last of them was.
    read: (u64, Instant),
}

/// Runs it.
#[must_use]
pub fn run(parameters: &Parameters) -> Report {
    let Parameters { members, region, loss_percent, seed, .. } = *parameters;
    let mut setup = Setup::new(members, Config::lan(), seed);
    (setup.region_members, setup.zone_children) = (region, 8);
    setup.config.multicast.dissemination = Dissemination::Multicast;
    setup.papers = Some(Papers::default());
    let loss_ppm = loss_percent * 10_000;
    let mut world = World::new(setup, Network { loss_ppm, ..Network::default() });
    let topic = world.topic("news");
    (0..members).for_each(|member| world.subscribe(member, topic, Start::Live));
    world.run(WARM_UP, &mut Blind);
    let mut rng = Prng::new(seed).fork("rotation");
    let mut draw = || SENDERS + rng.index(members - SENDERS);
    let away = draw();
    let evicted = core::iter::repeat_with(draw).take(1000).find(|one| *one != away);
    let evicted = evicted.unwrap_or(SENDERS);
    let mut run = Run {
        world,
        topic,
        parameters: parameters.clone(),
        heard: Heard(vec![0; members]),
        away,
        evicted,
        published: 0,
        read: (0, Instant::default()),
    };
    run.go()
}

impl Run {
    fn go(&mut self) -> Report {
        let Parameters { members, every_seconds, rotations, .. } = self.parameters;
        let mut spread = Duration::ZERO;
        // Away over three rotations, from the second on.
        for rotation in 1..rotations {
            if rotation == 2 {
                let gone = Duration::from_secs(3 * every_seconds);
                self.world.block(self.away, gone);
            }
            spread = spread.max(self.rotate(rotation, every_seconds));
        }
        let missing = |run: &Self, but: &[usize]| -> u64 {
            let all = (0..members).filter(|member| !but.contains(member));
            let expected = |member: usize| {
                let own = if member < SENDERS { run.published / SENDERS as u64 } else { 0 };
                run.published - own
            };
            all.map(|member| expected(member).saturating_sub(run.heard.0[member])).sum()
        };
        self.world.run(Duration::from_secs(RETURN_SECONDS), &mut self.heard);
        let lost = missing(self, &[self.away]);
        let published = self.published;
        // The second act: whoever was away is back, and another one goes.
        (self.published, self.heard.0) = (0, vec![0; members]);
        let list = self.world.revocations(&[self.evicted]);
        let revoked = self.world.give_order(0, NewOrder::Revoke(list), &mut self.heard);
        debug_assert!(revoked.is_ok());
        self.talk(every_seconds);
        let ordered = self.world.now().monotonic;
        let last = self.rotate(rotations, every_seconds);
        self.world.run(COOL_DOWN, &mut self.heard);
        let evicted = self.evicted;
        let honest = (0..members).filter(|member| *member != evicted);
        let behind =
            |member: &usize| self.world.node(*member).is_none_or(|node| node.epoch() != rotations);
        Report {
            parameters: self.parameters.clone(),
            published: published + self.published,
            lost,
            lost_after_return: missing(self, &[evicted]),
            left_behind: honest.filter(behind).count(),
            spread_seconds: spread.max(last).as_secs_f64(),
            evicted_read_seconds: self.read.1.since(ordered).as_secs_f64(),
            last_spread_seconds: last.as_secs_f64(),
        }
    }

    /// Publishes for so long.
    fn talk(&mut self, seconds: u64) {
        for _ in 0..seconds * RATE {
            self.say();
        }
    }

    fn say(&mut self) {
        for sender in 0..SENDERS {
            let payload = Bytes::from(vec![1; 100]);
            let said = self.world.publish(sender, self.topic, payload, &mut self.heard);
            self.published += u64::from(said.is_ok());
        }
        self.look();
    }

    /// Lets time pass, and sees whether the evicted one could open something.
    fn look(&mut self) {
        self.world.run(LOOK, &mut self.heard);
        let opened = self.world.stats(self.evicted).packets_received;
        if opened > self.read.0 {
            self.read = (opened, self.world.now().monotonic);
        }
    }

    /// Has the first member rotate, and goes on talking; returns how long it took until everybody
    /// who is there had the key.
    fn rotate(&mut self, epoch: u32, seconds: u64) -> Duration {
        let ordered = self.world.now().monotonic;
        let given = self.world.give_order(0, NewOrder::Rotate, &mut self.heard);
        debug_assert!(given.is_ok());
        let mut had = None;
        for _ in 0..seconds * RATE {
            self.say();
            let but = [self.away, self.evicted];
            let mut others = (0..self.world.len()).filter(|member| !but.contains(member));
            let has =
                |member| self.world.node(member).is_some_and(|node| node.newest_key() >= epoch);
            if had.is_none() && others.all(has) {
                had = Some(self.world.now().monotonic.since(ordered));
            }
        }
        had.unwrap_or_else(|| Duration::from_secs(seconds))
    }
}
