//! A control: SWIM (DSN 2002) and SWIM with Lifeguard (DSN 2018), as memberlist builds them, in a
//! small simulator of their own. What Spinglass's failure detector is compared with, in the same
//! troubles.
//!
//! Modelled: probes in shuffled order, indirect probes, suspicion with refutation, piggybacked and
//! periodic gossip with a bounded number of sends, and full exchanges each half minute; with
//! Lifeguard the local health multiplier with nacks, suspicion timeouts that shrink with
//! confirmations, and the buddy system. A blocked agent's timers run on, but its probe and gossip
//! loops stand, since they wait for their sockets; the probe it stands in fails, since memberlist
//! counts its time from before the send. Not modelled: the fallback to TCP.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap};
use std::time::Duration;

use spinglass_core::Prng;

/// Microseconds.
type Time = u64;

const SECOND: Time = 1_000_000;
/// Time between two probes, and within which one must be answered, directly or not.
const PROBE_INTERVAL: Time = SECOND;
/// Time for the direct answer.
const PROBE_TIMEOUT: Time = SECOND / 2;
/// Agents asked to probe in one's stead.
const INDIRECT: usize = 3;
const GOSSIP_INTERVAL: Time = SECOND / 5;
const GOSSIP_FANOUT: usize = 3;
const EXCHANGE_INTERVAL: Time = 30 * SECOND;
/// An update is sent so many times the decimal logarithm of the group's size.
const RETRANSMIT: u32 = 4;
/// Updates in a datagram.
const UPDATES_MAX: usize = 25;
/// Confirmations that bring a suspicion's timeout down to its least.
const CONFIRMATIONS: usize = 3;
/// The longest timeout over the shortest.
const BETA: u64 = 6;
/// The highest local health multiplier, less one.
const HEALTH_MAX: u64 = 8;
/// Bytes of a message without updates: type, number, name, and memberlist's encryption.
const MESSAGE_BYTES: u64 = 60;
/// Bytes of an update: type, names, incarnation.
const UPDATE_BYTES: u64 = 45;

/// What is run.
#[derive(Debug, Clone, Copy)]
pub struct Settings {
    /// Agents.
    pub agents: usize,
    /// Suspicion's timeout over the decimal logarithm of the group's size, in probe intervals.
    pub alpha: u64,
    /// Whether Lifeguard's three parts are on.
    pub lifeguard: bool,
    /// The seed.
    pub seed: u64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Status {
    Alive,
    Suspect,
    Dead,
}

#[derive(Debug, Clone, Copy)]
struct Update {
    status: Status,
    about: usize,
    incarnation: u32,
    from: usize,
}

#[derive(Debug, Clone, Copy)]
enum Kind {
    Ping { number: u64 },
    PingFor { number: u64, target: usize },
    Ack { number: u64 },
    Nack { number: u64 },
    Gossip,
    Exchange { answers: bool },
}

#[derive(Debug, Clone)]
struct Message {
    kind: Kind,
    updates: Vec<Update>,
}

#[derive(Debug, Clone)]
enum Event {
    Arrives { to: usize, from: usize, message: Message },
    Probe { agent: usize },
    Indirect { agent: usize, number: u64 },
    ProbeEnds { agent: usize, number: u64 },
    NackDue { agent: usize, number: u64 },
    SuspicionEnds { agent: usize, about: usize, stamp: u64 },
    Gossip { agent: usize },
    Exchange { agent: usize },
}

#[derive(Debug, Clone)]
struct View {
    status: Status,
    incarnation: u32,
    since: Time,
    ends: Time,
    stamp: u64,
    accusers: Vec<usize>,
}

#[derive(Debug, Default)]
struct Probe {
    number: u64,
    target: usize,
    acked: bool,
    nacks_wanted: u64,
    nacks: u64,
}

#[derive(Debug, Default)]
struct Agent {
    blocked_until: Time,
    /// Whether its probe loop stands in the middle of a probe.
    stands: Option<usize>,
    views: Vec<View>,
    order: Vec<usize>,
    next: usize,
    probe: Option<Probe>,
    /// Probes made for others: number here, who asked, number there, whether it was answered.
    relayed: BTreeMap<u64, (usize, u64, bool)>,
    health: u64,
    incarnation: u32,
    queue: Vec<(Update, u32)>,
}

/// An agent declared another one failed.
#[derive(Debug, Clone, Copy)]
pub struct Failure {
    /// When, since the start.
    pub at: Duration,
    /// Which agent did.
    pub by: usize,
    /// Whom.
    pub about: usize,
}

/// A group of agents that run SWIM.
#[derive(Debug)]
pub struct Swim {
    settings: Settings,
    agents: Vec<Agent>,
    queue: BinaryHeap<Reverse<(Time, u64)>>,
    events: BTreeMap<u64, Event>,
    now: Time,
    stamp: u64,
    rng: Prng,
    /// Every failure declared since last looked at.
    pub failures: Vec<Failure>,
    /// Bytes sent.
    pub bytes: u64,
    /// Messages sent.
    pub messages: u64,
}

impl Swim {
    /// A group whose agents know each other.
    #[must_use]
    pub fn new(settings: Settings) -> Self {
        let view = View {
            status: Status::Alive,
            incarnation: 0,
            since: 0,
            ends: 0,
            stamp: 0,
            accusers: Vec::new(),
        };
        let agent = |_| Agent {
            views: vec![view.clone(); settings.agents],
            order: (0..settings.agents).collect(),
            // The order is shuffled before the first probe.
            next: settings.agents,
            ..Agent::default()
        };
        let mut swim = Self {
            settings,
            agents: (0..settings.agents).map(agent).collect(),
            queue: BinaryHeap::new(),
            events: BTreeMap::new(),
            now: 0,
            stamp: 0,
            rng: Prng::new(settings.seed).fork("swim"),
            failures: Vec::new(),
            bytes: 0,
            messages: 0,
        };
        for agent in 0..settings.agents {
            let (probe, gossip, exchange) = (
                swim.rng.below(PROBE_INTERVAL),
                swim.rng.below(GOSSIP_INTERVAL),
                swim.rng.below(EXCHANGE_INTERVAL),
            );
            swim.at(probe, Event::Probe { agent });
            swim.at(gossip, Event::Gossip { agent });
            swim.at(exchange, Event::Exchange { agent });
        }
        swim
    }

    /// The time since the start.
    #[must_use]
    pub const fn now(&self) -> Duration {
        Duration::from_micros(self.now)
    }

    /// Lets an agent neither send nor receive for a while.
    pub fn block(&mut self, agent: usize, span: Duration) {
        let until = self.now + u64::try_from(span.as_micros()).unwrap_or(u64::MAX);
        self.agents[agent].blocked_until = until;
    }

    /// Whether `agent` holds `about` for failed.
    #[must_use]
    pub fn holds_failed(&self, agent: usize, about: usize) -> bool {
        self.agents[agent].views[about].status == Status::Dead
    }

    /// Runs for a span of virtual time.
    pub fn run(&mut self, span: Duration) {
        let end = self.now + u64::try_from(span.as_micros()).unwrap_or(u64::MAX);
        while let Some(Reverse((at, stamp))) = self.queue.peek().copied() {
            if at > end {
                break;
            }
            self.queue.pop();
            self.now = at;
            if let Some(event) = self.events.remove(&stamp) {
                self.handle(event);
            }
        }
        self.now = end;
    }

    fn at(&mut self, after: Time, event: Event) {
        self.stamp += 1;
        self.queue.push(Reverse((self.now + after, self.stamp)));
        self.events.insert(self.stamp, event);
    }

    fn handle(&mut self, event: Event) {
        match event {
            Event::Arrives { to, from, message } => {
                let until = self.agents[to].blocked_until;
                if until > self.now {
                    return self.at(until - self.now, Event::Arrives { to, from, message });
                }
                self.on_message(to, from, message);
            }
            Event::Probe { agent } => self.on_probe(agent),
            Event::Indirect { agent, number } => self.on_indirect(agent, number),
            Event::ProbeEnds { agent, number } => self.on_probe_ends(agent, number),
            Event::NackDue { agent, number } => {
                let relayed = self.agents[agent].relayed.get(&number).copied();
                if let Some((asker, theirs, false)) = relayed {
                    self.send(agent, asker, Kind::Nack { number: theirs });
                }
            }
            Event::SuspicionEnds { agent, about, stamp } => {
                let view = &self.agents[agent].views[about];
                if view.status == Status::Suspect && view.stamp == stamp {
                    let incarnation = view.incarnation;
                    self.learn(
                        agent,
                        Update { status: Status::Dead, about, incarnation, from: agent },
                    );
                }
            }
            Event::Gossip { agent } => {
                if !self.stands(agent, &Event::Gossip { agent }) {
                    for _ in 0..GOSSIP_FANOUT {
                        let to = self.rng.index(self.settings.agents);
                        if to != agent && !self.agents[agent].queue.is_empty() {
                            self.send(agent, to, Kind::Gossip);
                        }
                    }
                    self.at(GOSSIP_INTERVAL, Event::Gossip { agent });
                }
            }
            Event::Exchange { agent } => {
                if !self.stands(agent, &Event::Exchange { agent }) {
                    let to = self.rng.index(self.settings.agents);
                    if to != agent {
                        self.send_all(agent, to, true);
                    }
                    self.at(EXCHANGE_INTERVAL, Event::Exchange { agent });
                }
            }
        }
    }

    /// Whether a loop stands because its socket does; it goes on afterwards.
    fn stands(&mut self, agent: usize, event: &Event) -> bool {
        let until = self.agents[agent].blocked_until;
        let stands = until > self.now;
        if stands {
            self.at(until - self.now, event.clone());
        }
        stands
    }

    // --- probes

    fn scale(&self, agent: usize) -> u64 {
        if self.settings.lifeguard { self.agents[agent].health + 1 } else { 1 }
    }

    fn on_probe(&mut self, agent: usize) {
        if self.agents[agent].blocked_until > self.now {
            // It waits inside the send, while the probe's own time runs out.
            if self.agents[agent].stands.is_none() {
                self.agents[agent].stands = self.next_target(agent);
            }
            self.stands(agent, &Event::Probe { agent });
            return;
        }
        if let Some(about) = self.agents[agent].stands.take() {
            let incarnation = self.agents[agent].views[about].incarnation;
            let update = Update { status: Status::Suspect, about, incarnation, from: agent };
            self.agents[agent].health = (self.agents[agent].health + 1).min(HEALTH_MAX);
            self.learn(agent, update);
        }
        let target = self.next_target(agent);
        let scale = self.scale(agent);
        self.at(PROBE_INTERVAL * scale, Event::Probe { agent });
        let Some(target) = target else { return };
        self.stamp += 1;
        let number = self.stamp;
        self.agents[agent].probe = Some(Probe { number, target, ..Probe::default() });
        self.at(PROBE_TIMEOUT * scale, Event::Indirect { agent, number });
        self.at(PROBE_INTERVAL * scale - 1, Event::ProbeEnds { agent, number });
        let view = &self.agents[agent].views[target];
        let buddy = (self.settings.lifeguard && view.status == Status::Suspect).then_some(Update {
            status: Status::Suspect,
            about: target,
            incarnation: view.incarnation,
            from: agent,
        });
        self.send_with(agent, target, Kind::Ping { number }, buddy);
    }

    fn next_target(&mut self, agent: usize) -> Option<usize> {
        for _ in 0..self.settings.agents {
            if self.agents[agent].next >= self.agents[agent].order.len() {
                for last in (1..self.settings.agents).rev() {
                    let other = self.rng.index(last + 1);
                    self.agents[agent].order.swap(last, other);
                }
                self.agents[agent].next = 0;
            }
            let it = &mut self.agents[agent];
            let target = it.order[it.next];
            it.next += 1;
            if target != agent && it.views[target].status != Status::Dead {
                return Some(target);
            }
        }
        None
    }

    fn on_indirect(&mut self, agent: usize, number: u64) {
        let Some(probe) = &self.agents[agent].probe else { return };
        if probe.number != number || probe.acked {
            return;
        }
        let target = probe.target;
        let mut asked = 0;
        for _ in 0..INDIRECT * 4 {
            let helper = self.rng.index(self.settings.agents);
            let is_well = self.agents[agent].views[helper].status == Status::Alive;
            if asked < INDIRECT && helper != agent && helper != target && is_well {
                asked += 1;
                self.send(agent, helper, Kind::PingFor { number, target });
            }
        }
        if let Some(probe) = &mut self.agents[agent].probe {
            probe.nacks_wanted = asked as u64;
        }
    }

    fn on_probe_ends(&mut self, agent: usize, number: u64) {
        let Some(probe) = self.agents[agent].probe.take_if(|probe| probe.number == number) else {
            return;
        };
        if probe.acked {
            self.agents[agent].health = self.agents[agent].health.saturating_sub(1);
            return;
        }
        let missed = probe.nacks_wanted.saturating_sub(probe.nacks);
        let worse = if probe.nacks_wanted > 0 { missed } else { 1 };
        self.agents[agent].health = (self.agents[agent].health + worse).min(HEALTH_MAX);
        let (about, status) = (probe.target, Status::Suspect);
        let incarnation = self.agents[agent].views[about].incarnation;
        self.learn(agent, Update { status, about, incarnation, from: agent });
    }

    // --- messages

    fn send(&mut self, from: usize, to: usize, kind: Kind) {
        self.send_with(from, to, kind, None);
    }

    fn send_with(&mut self, from: usize, to: usize, kind: Kind, extra: Option<Update>) {
        let mut updates: Vec<Update> = extra.into_iter().collect();
        let queue = &mut self.agents[from].queue;
        queue.sort_by_key(|(_, left)| Reverse(*left));
        for (update, left) in queue.iter_mut().take(UPDATES_MAX) {
            updates.push(*update);
            *left -= 1;
        }
        queue.retain(|(_, left)| *left > 0);
        self.transmit(from, to, Message { kind, updates });
    }

    fn send_all(&mut self, from: usize, to: usize, answers: bool) {
        let views = self.agents[from].views.iter().enumerate();
        let all = views.map(|(about, view)| {
            let status = if view.status == Status::Dead { Status::Suspect } else { view.status };
            Update { status, about, incarnation: view.incarnation, from }
        });
        let updates = all.collect();
        self.transmit(from, to, Message { kind: Kind::Exchange { answers }, updates });
    }

    fn transmit(&mut self, from: usize, to: usize, message: Message) {
        self.messages += 1;
        self.bytes += MESSAGE_BYTES + UPDATE_BYTES * message.updates.len() as u64;
        let until = self.agents[from].blocked_until.max(self.now);
        let delay = 50 + self.rng.below(200);
        self.at(until - self.now + delay, Event::Arrives { to, from, message });
    }

    fn on_message(&mut self, to: usize, from: usize, message: Message) {
        let is_exchange = matches!(message.kind, Kind::Exchange { .. });
        for update in message.updates {
            // An exchange tells of the living too, which is no news.
            if !is_exchange || update.status != Status::Alive || update.incarnation > 0 {
                self.learn(to, update);
            }
        }
        match message.kind {
            Kind::Ping { number } => self.send(to, from, Kind::Ack { number }),
            Kind::PingFor { number: theirs, target } => {
                self.stamp += 1;
                let number = self.stamp;
                self.agents[to].relayed.insert(number, (from, theirs, false));
                while self.agents[to].relayed.len() > 64 {
                    self.agents[to].relayed.pop_first();
                }
                self.send(to, target, Kind::Ping { number });
                if self.settings.lifeguard {
                    self.at(PROBE_TIMEOUT * 4 / 5, Event::NackDue { agent: to, number });
                }
            }
            Kind::Ack { number } => {
                if let Some(probe) = &mut self.agents[to].probe
                    && probe.number == number
                {
                    probe.acked = true;
                } else if let Some((asker, theirs, answered)) =
                    self.agents[to].relayed.get_mut(&number)
                    && !*answered
                {
                    *answered = true;
                    let (asker, number) = (*asker, *theirs);
                    self.send(to, asker, Kind::Ack { number });
                }
            }
            Kind::Nack { number } => {
                if let Some(probe) = &mut self.agents[to].probe
                    && probe.number == number
                {
                    probe.nacks += 1;
                }
            }
            Kind::Exchange { answers: true } => self.send_all(to, from, false),
            Kind::Exchange { answers: false } | Kind::Gossip => (),
        }
    }

    // --- what agents believe

    fn log10(&self) -> f64 {
        (self.settings.agents as f64).log10().max(1.0)
    }

    fn learn(&mut self, agent: usize, update: Update) {
        let Update { status, about, incarnation, .. } = update;
        if about == agent {
            if status != Status::Alive && incarnation >= self.agents[agent].incarnation {
                self.refute(agent, incarnation);
            }
            return;
        }
        let now = self.now;
        let view = &mut self.agents[agent].views[about];
        let is_news = match status {
            Status::Alive => incarnation > view.incarnation,
            Status::Suspect => incarnation >= view.incarnation && view.status != Status::Dead,
            Status::Dead => incarnation >= view.incarnation && view.status != Status::Dead,
        };
        if !is_news {
            return;
        }
        if status == Status::Suspect && view.status == Status::Suspect {
            if incarnation == view.incarnation {
                return self.confirm(agent, update);
            }
            view.status = Status::Alive;
        }
        view.status = status;
        view.incarnation = incarnation;
        view.since = now;
        view.accusers.clear();
        if status == Status::Dead {
            self.failures.push(Failure { at: Duration::from_micros(now), by: agent, about });
        }
        if status == Status::Suspect {
            view.accusers.push(update.from);
            self.time_suspicion(agent, about);
        }
        self.broadcast(agent, update);
    }

    /// Another accuser of one that is suspected already.
    fn confirm(&mut self, agent: usize, update: Update) {
        let view = &mut self.agents[agent].views[update.about];
        let is_new = !view.accusers.contains(&update.from);
        if self.settings.lifeguard && is_new && view.accusers.len() <= CONFIRMATIONS {
            view.accusers.push(update.from);
            self.time_suspicion(agent, update.about);
            self.broadcast(agent, update);
        }
    }

    fn time_suspicion(&mut self, agent: usize, about: usize) {
        let least = (self.settings.alpha as f64 * self.log10() * PROBE_INTERVAL as f64) as Time;
        self.stamp += 1;
        let (stamp, now) = (self.stamp, self.now);
        let lifeguard = self.settings.lifeguard;
        let view = &mut self.agents[agent].views[about];
        let confirmations = view.accusers.len().saturating_sub(1) as f64;
        let most = least * BETA;
        let share = (confirmations + 1.0).ln() / (CONFIRMATIONS as f64 + 1.0).ln();
        let shrunk = most as f64 - (most - least) as f64 * share;
        let timeout = if lifeguard { (shrunk as Time).max(least) } else { least };
        view.stamp = stamp;
        view.ends = (view.since + timeout).max(now);
        let after = view.ends - now;
        self.at(after, Event::SuspicionEnds { agent, about, stamp });
    }

    fn refute(&mut self, agent: usize, incarnation: u32) {
        let it = &mut self.agents[agent];
        it.incarnation = incarnation + 1;
        it.health = (it.health + 1).min(HEALTH_MAX);
        let incarnation = it.incarnation;
        it.views[agent].incarnation = incarnation;
        let update = Update { status: Status::Alive, about: agent, incarnation, from: agent };
        self.broadcast(agent, update);
    }

    fn broadcast(&mut self, agent: usize, update: Update) {
        let sends = RETRANSMIT * ((self.settings.agents + 1) as f64).log10().ceil() as u32;
        let queue = &mut self.agents[agent].queue;
        queue.retain(|(other, _)| other.about != update.about);
        queue.push((update, sends));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_dead_are_found_and_the_living_left_alone() {
        for lifeguard in [false, true] {
            let settings = Settings { agents: 64, alpha: 5, lifeguard, seed: 1 };
            let mut swim = Swim::new(settings);
            swim.run(Duration::from_secs(30));
            assert!(swim.failures.is_empty());
            swim.block(7, Duration::from_secs(120));
            swim.run(Duration::from_secs(60));
            assert!((0..64).filter(|agent| *agent != 7).all(|agent| swim.holds_failed(agent, 7)));
            let healthy = |failure: &&Failure| failure.by != 7;
            assert!(swim.failures.iter().filter(healthy).all(|failure| failure.about == 7));
        }
    }
}
