//! The stage on which the older protocols play: virtual time, hosts that sleep and whose processors
//! take time, and the simulator's own networks.
//!
//! It is as little as they need. Spinglass's core does not play here but in `spinglass_sim::World`,
//! which has the same networks.
//!
//! One seed is one run. Times are in nanoseconds since the start.

use std::fmt::Debug;
use std::sync::Arc;
use std::time::Duration;

use spinglass_core::Prng;
use spinglass_sim::Topology;
use spinglass_sim::crypto::mix;
use spinglass_sim::queue::{Queue, nanos};

/// Slots in which a host sleeps, or does not [FACTS 1].
pub const SLEEP_SLOT: Duration = Duration::from_millis(100);
/// Bytes that a sleeping or busy host's socket keeps: Linux's usual `rmem_default`.
pub const SOCKET_BYTES_MAX: usize = 212_992;
/// Bytes of headers of an UDP datagram, by IP over Ethernet.
pub const HEADER_BYTES: usize = 42;

/// What a message is for, as the figures count.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// An application's message, the first time.
    Data,
    /// The same, again.
    Repair,
    /// Somebody asks for one again.
    Request,
    /// What else protocols say: acknowledgements, sessions, views.
    Control,
}

/// Messages of each kind.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counts {
    /// Applications' messages.
    pub data: u64,
    /// Repairs.
    pub repairs: u64,
    /// Requests.
    pub requests: u64,
    /// All else.
    pub control: u64,
    /// Bytes of all of them, with headers.
    pub bytes: u64,
}

impl Counts {
    /// All of them.
    #[must_use]
    pub const fn messages(&self) -> u64 {
        self.data + self.repairs + self.requests + self.control
    }

    fn add(&mut self, kind: Kind, bytes: usize) {
        let count = match kind {
            Kind::Data => &mut self.data,
            Kind::Repair => &mut self.repairs,
            Kind::Request => &mut self.requests,
            Kind::Control => &mut self.control,
        };
        *count += 1;
        self.bytes += (bytes + HEADER_BYTES) as u64;
    }
}

/// A protocol: one member's state, and what it does when something happens.
pub trait Protocol: Sized + Debug {
    /// What members send each other.
    type Message: Clone + Debug;
    /// What a timer is for.
    type Timer: Copy + Debug;

    /// The member begins.
    fn start(&mut self, cx: &mut Cx<'_, Self>);

    /// The application has a message. `false`: there is no room for it now.
    fn publish(&mut self, bytes: usize, cx: &mut Cx<'_, Self>) -> bool;

    /// A message came.
    fn hear(&mut self, from: usize, message: Self::Message, cx: &mut Cx<'_, Self>);

    /// A timer that was set has run out. None is ever taken back: whether it still counts is to be
    /// told from what it says.
    fn wake(&mut self, timer: Self::Timer, cx: &mut Cx<'_, Self>);

    /// What a message is for.
    fn kind(message: &Self::Message) -> Kind;
}

/// What a member can do while something happens to it.
#[derive(Debug)]
pub struct Cx<'a, P: Protocol> {
    /// The time.
    pub now: u64,
    /// Which member this is.
    pub own: usize,
    /// The member's random numbers.
    pub rng: &'a mut Prng,
    out: &'a mut Vec<Out<P>>,
}

/// What a member does.
#[derive(Debug)]
pub(crate) enum Out<P: Protocol> {
    Send {
        to: usize,
        bytes: usize,
        message: P::Message,
    },
    /// To these, or to everybody.
    Multicast {
        among: Option<Arc<[usize]>>,
        bytes: usize,
        message: P::Message,
    },
    Timer {
        at: u64,
        timer: P::Timer,
    },
    Deliver {
        sender: usize,
        sequence: u64,
    },
}

impl<P: Protocol> Cx<'_, P> {
    /// Sends to one member.
    pub fn send(&mut self, to: usize, bytes: usize, message: P::Message) {
        self.out.push(Out::Send { to, bytes, message });
    }

    /// Sends to all others, by IP multicast.
    pub fn multicast(&mut self, bytes: usize, message: P::Message) {
        self.out.push(Out::Multicast { among: None, bytes, message });
    }

    /// Sends to all others of these, by IP multicast to a group of their own.
    pub fn multicast_among(&mut self, among: Arc<[usize]>, bytes: usize, message: P::Message) {
        self.out.push(Out::Multicast { among: Some(among), bytes, message });
    }

    /// Asks to be woken.
    pub fn set_timer(&mut self, after: Duration, timer: P::Timer) {
        self.out.push(Out::Timer { at: self.now + nanos(after), timer });
    }

    /// Hands a message to the application.
    pub fn deliver(&mut self, sender: usize, sequence: u64) {
        self.out.push(Out::Deliver { sender, sequence });
    }

    /// Lets a protocol act that is part of this one, as another number; returns what it does.
    pub(crate) fn part<Q: Protocol>(
        &mut self,
        own: usize,
        act: impl FnOnce(&mut Cx<'_, Q>),
    ) -> Vec<Out<Q>> {
        let mut out = Vec::new();
        act(&mut Cx { now: self.now, own, rng: self.rng, out: &mut out });
        out
    }

    pub(crate) fn set_timer_at(&mut self, at: u64, timer: P::Timer) {
        self.out.push(Out::Timer { at, timer });
    }
}

/// What hosts' processors take.
#[derive(Debug, Clone, Copy, Default)]
pub struct Costs {
    /// For each datagram, to send or to take in.
    pub datagram: Duration,
    /// For each KiB of it, besides.
    pub kibibyte: Duration,
}

/// The network between members.
#[derive(Debug, Clone)]
pub enum Wires {
    /// Links.
    Tree(Arc<Topology>),
    /// All at the same distance, each datagram lost to each receiver by itself.
    Flat {
        /// The shortest delay.
        least: Duration,
        /// The longest.
        most: Duration,
        /// The loss, in parts per million.
        loss_ppm: u32,
    },
}

#[derive(Debug)]
struct Host<P> {
    protocol: P,
    rng: Prng,
    busy_until: u64,
    backlog_bytes: usize,
    sleep_ppm: u32,
    sent: Counts,
    heard: Counts,
}

#[derive(Debug)]
enum Event<P: Protocol> {
    Arrives { to: usize, from: usize, bytes: usize, waited: bool, message: P::Message },
    Timer { member: usize, timer: P::Timer },
}

/// Somebody who watches what is delivered.
pub trait Audience {
    /// A member's application gets a message.
    fn delivered(&mut self, at: u64, member: usize, sender: usize, sequence: u64);
}

/// Watches nothing.
#[derive(Debug, Clone, Copy, Default)]
pub struct Nobody;

impl Audience for Nobody {
    fn delivered(&mut self, _at: u64, _member: usize, _sender: usize, _sequence: u64) {}
}

/// A group on stage.
#[derive(Debug)]
pub struct Stage<P: Protocol> {
    hosts: Vec<Host<P>>,
    wires: Wires,
    costs: Costs,
    queue: Queue<Event<P>>,
    now: u64,
    seed: u64,
    rng: Prng,
    out: Vec<Out<P>>,
    /// Datagrams that sockets had no room for.
    overflowed: u64,
}

impl<P: Protocol> Stage<P> {
    /// Puts members on stage.
    pub fn new(members: Vec<P>, wires: Wires, costs: Costs, seed: u64) -> Self {
        let rng = Prng::new(seed);
        let host = |(at, protocol)| Host {
            protocol,
            rng: rng.fork(&format!("member {at}")),
            busy_until: 0,
            backlog_bytes: 0,
            sleep_ppm: 0,
            sent: Counts::default(),
            heard: Counts::default(),
        };
        let hosts: Vec<_> = members.into_iter().enumerate().map(host).collect();
        let (queue, out) = (Queue::default(), Vec::new());
        let rng = rng.fork("wires");
        let mut stage = Self { hosts, wires, costs, queue, now: 0, seed, rng, out, overflowed: 0 };
        for member in 0..stage.hosts.len() {
            stage.act(member, &mut Nobody, |protocol, cx| protocol.start(cx));
        }
        stage
    }

    /// The time.
    #[must_use]
    pub const fn now(&self) -> u64 {
        self.now
    }

    /// One member's state.
    #[must_use]
    pub fn member(&self, member: usize) -> &P {
        &self.hosts[member].protocol
    }

    /// What a member has sent; what is multicast counts once.
    #[must_use]
    pub fn sent(&self, member: usize) -> Counts {
        self.hosts[member].sent
    }

    /// What a member has heard.
    #[must_use]
    pub fn heard(&self, member: usize) -> Counts {
        self.hosts[member].heard
    }

    /// Datagrams that sockets had no room for.
    #[must_use]
    pub const fn overflowed(&self) -> u64 {
        self.overflowed
    }

    /// Has a member sleep in this share of slots from now on.
    pub fn set_sleep(&mut self, member: usize, ppm: u32) {
        self.hosts[member].sleep_ppm = ppm;
    }

    /// Changes the network.
    pub fn rewire(&mut self, wires: Wires) {
        self.wires = wires;
    }

    /// Gives a member's protocol a message of its application's; `false`: it has no room, or its
    /// host sleeps.
    pub fn publish(&mut self, member: usize, bytes: usize, audience: &mut impl Audience) -> bool {
        if self.wakes_at(member).is_some() {
            return false;
        }
        let mut taken = false;
        self.act(member, audience, |protocol, cx| taken = protocol.publish(bytes, cx));
        taken
    }

    /// Lets time pass.
    pub fn run(&mut self, span: Duration, audience: &mut impl Audience) {
        let until = self.now + nanos(span);
        while let Some((at, event)) = self.queue.pop_before(until) {
            self.now = self.now.max(at);
            self.happen(event, audience);
        }
        self.now = until;
    }

    fn happen(&mut self, event: Event<P>, audience: &mut impl Audience) {
        let member = match event {
            Event::Arrives { to, .. } => to,
            Event::Timer { member, .. } => member,
        };
        if let Some(wakes) = self.wakes_at(member) {
            self.wait(wakes, event);
            return;
        }
        match event {
            Event::Timer { member, timer } => {
                self.act(member, audience, |protocol, cx| protocol.wake(timer, cx));
            }
            Event::Arrives { to, from, bytes, waited, message } => {
                let host = &mut self.hosts[to];
                host.backlog_bytes -= if waited { bytes + HEADER_BYTES } else { 0 };
                host.heard.add(P::kind(&message), bytes);
                self.spend(to, bytes);
                self.act(to, audience, |protocol, cx| protocol.hear(from, message, cx));
            }
        }
    }

    /// Keeps something until its host can see to it; sockets keep only so much.
    fn wait(&mut self, wakes: u64, mut event: Event<P>) {
        if let Event::Arrives { to, bytes, waited, .. } = &mut event
            && !*waited
        {
            let host = &mut self.hosts[*to];
            let taken = *bytes + HEADER_BYTES;
            if host.backlog_bytes + taken > SOCKET_BYTES_MAX {
                self.overflowed += 1;
                return;
            }
            host.backlog_bytes += taken;
            *waited = true;
        }
        self.queue.push(wakes, event);
    }

    /// When a member that sleeps or is busy can see to something; none: now.
    fn wakes_at(&self, member: usize) -> Option<u64> {
        let host = &self.hosts[member];
        let slot = nanos(SLEEP_SLOT);
        let sleeps = |at: u64| {
            let drawn = mix(self.seed ^ (at / slot), &(member as u64).to_le_bytes()) % 1_000_000;
            drawn < u64::from(host.sleep_ppm)
        };
        let wakes = if host.sleep_ppm > 0 && sleeps(self.now) {
            (self.now / slot + 1) * slot
        } else {
            self.now
        };
        let wakes = wakes.max(host.busy_until);
        (wakes > self.now).then_some(wakes)
    }

    /// Has a member's processor work on a datagram.
    fn spend(&mut self, member: usize, bytes: usize) {
        let share = bytes as f64 / 1024.0;
        let cost = nanos(self.costs.datagram) + (nanos(self.costs.kibibyte) as f64 * share) as u64;
        let host = &mut self.hosts[member];
        host.busy_until = host.busy_until.max(self.now) + cost;
    }

    /// Lets a member act, and sends what it says on its way.
    fn act(
        &mut self,
        member: usize,
        audience: &mut impl Audience,
        what: impl FnOnce(&mut P, &mut Cx<'_, P>),
    ) {
        let mut out = std::mem::take(&mut self.out);
        let host = &mut self.hosts[member];
        let rng = &mut host.rng;
        what(&mut host.protocol, &mut Cx { now: self.now, own: member, rng, out: &mut out });
        for said in out.drain(..) {
            match said {
                Out::Deliver { sender, sequence } => {
                    audience.delivered(self.now, member, sender, sequence);
                }
                Out::Timer { at, timer } => self.queue.push(at, Event::Timer { member, timer }),
                Out::Send { to, bytes, message } => self.send(member, to, bytes, message),
                Out::Multicast { among, bytes, message } => {
                    self.multicast(member, among.as_deref(), bytes, &message);
                }
            }
        }
        self.out = out;
    }

    fn send(&mut self, from: usize, to: usize, bytes: usize, message: P::Message) {
        self.hosts[from].sent.add(P::kind(&message), bytes);
        self.spend(from, bytes);
        if let Some(delay) = self.delay(from, to) {
            let at = self.hosts[from].busy_until.max(self.now) + nanos(delay);
            let event = Event::Arrives { to, from, bytes, waited: false, message };
            self.queue.push(at, event);
        }
    }

    fn delay(&mut self, from: usize, to: usize) -> Option<Duration> {
        match &self.wires {
            Wires::Tree(topology) => topology.send(from, to, &mut self.rng),
            Wires::Flat { least, most, loss_ppm } => {
                let lost = *loss_ppm > 0 && self.rng.chance_ppm(*loss_ppm);
                let spread = self.rng.below(nanos(most.saturating_sub(*least)) + 1);
                (!lost).then(|| *least + Duration::from_nanos(spread))
            }
        }
    }

    fn multicast(
        &mut self,
        from: usize,
        among: Option<&[usize]>,
        bytes: usize,
        message: &P::Message,
    ) {
        self.hosts[from].sent.add(P::kind(message), bytes);
        self.spend(from, bytes);
        let leaves = self.hosts[from].busy_until.max(self.now);
        let mut reached = Vec::new();
        if let Wires::Tree(topology) = &self.wires {
            topology.multicast(from, &mut self.rng, |to, delay| reached.push((to, delay)));
            reached.retain(|(to, _)| among.is_none_or(|among| among.contains(to)));
        } else if let Some(among) = among {
            let others = among.iter().filter(|to| **to != from);
            reached.extend(others.filter_map(|to| Some((*to, self.delay(from, *to)?))));
        } else {
            let others = (0..self.hosts.len()).filter(|to| *to != from);
            reached.extend(others.filter_map(|to| Some((to, self.delay(from, to)?))));
        }
        for (to, delay) in reached {
            let message = message.clone();
            let event = Event::Arrives { to, from, bytes, waited: false, message };
            self.queue.push(leaves + nanos(delay), event);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Says what it is told, and delivers what it hears.
    #[derive(Debug, Default)]
    struct Parrot;

    impl Protocol for Parrot {
        type Message = u64;
        type Timer = u64;

        fn start(&mut self, cx: &mut Cx<'_, Self>) {
            cx.set_timer(Duration::from_secs(1), 7);
        }

        fn publish(&mut self, bytes: usize, cx: &mut Cx<'_, Self>) -> bool {
            cx.multicast(bytes, 1);
            true
        }

        fn hear(&mut self, from: usize, message: u64, cx: &mut Cx<'_, Self>) {
            cx.deliver(from, message);
        }

        fn wake(&mut self, timer: u64, cx: &mut Cx<'_, Self>) {
            cx.deliver(cx.own, timer);
        }

        fn kind(_: &u64) -> Kind {
            Kind::Data
        }
    }

    #[derive(Default)]
    struct Heard(Vec<(u64, usize, usize, u64)>);

    impl Audience for Heard {
        fn delivered(&mut self, at: u64, member: usize, sender: usize, sequence: u64) {
            self.0.push((at, member, sender, sequence));
        }
    }

    const FLAT: Wires = Wires::Flat {
        least: Duration::from_micros(50),
        most: Duration::from_micros(50),
        loss_ppm: 0,
    };

    fn stage(costs: Costs) -> Stage<Parrot> {
        Stage::new((0..3).map(|_| Parrot).collect(), FLAT, costs, 1)
    }

    #[test]
    fn processors_take_time_and_do_one_thing_after_the_other() {
        let costs = Costs { datagram: Duration::from_micros(100), ..Costs::default() };
        let (mut stage, mut heard) = (stage(costs), Heard::default());
        assert!(stage.publish(0, 100, &mut heard));
        assert!(!stage.publish(0, 100, &mut heard), "its processor is at work");
        assert!(stage.publish(1, 100, &mut heard));
        stage.run(Duration::from_millis(1), &mut heard);
        let at: Vec<u64> = heard.0.iter().filter(|it| it.1 == 2).map(|it| it.0).collect();
        assert_eq!(at, [150_000, 250_000]);
        assert_eq!((stage.sent(0).data, stage.heard(2).data), (1, 2));
    }

    #[test]
    fn sleepers_keep_what_their_sockets_hold_and_timers_wait() {
        let (mut stage, mut heard) = (stage(Costs::default()), Heard::default());
        stage.set_sleep(2, 1_000_000);
        for _ in 0..100 {
            stage.publish(0, 7_000, &mut heard);
        }
        stage.run(Duration::from_secs(2), &mut heard);
        assert!(heard.0.iter().all(|it| it.1 != 2));
        stage.set_sleep(2, 0);
        stage.run(Duration::from_secs(1), &mut heard);
        let late = heard.0.iter().filter(|it| it.1 == 2 && it.3 == 1).count();
        assert_eq!(late, SOCKET_BYTES_MAX / (7_000 + HEADER_BYTES));
        assert_eq!(stage.overflowed(), 100 - late as u64);
        assert!(heard.0.iter().any(|it| it.1 == 2 && it.3 == 7), "its timer ran out meanwhile");
    }

    #[test]
    fn a_share_of_slots_is_slept_through() {
        let mut stage = stage(Costs::default());
        stage.set_sleep(0, 300_000);
        let mut asleep = 0;
        for _ in 0..2_000 {
            asleep += usize::from(stage.wakes_at(0).is_some());
            stage.run(SLEEP_SLOT, &mut Nobody);
        }
        assert!((500..700).contains(&asleep), "{asleep} of 2000");
    }
}
