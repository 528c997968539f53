//! The world: members, the network between them, virtual time, one seed.
//!
//! Everything that happens is an entry of one queue: a datagram arrives, a member's timer is due. A
//! member is the very core that runs on sockets, driven by the very same driver. The world adds
//! what hosts do: they sleep in slots of 100 ms, are slow, crash, and come back in a new life.
//!
//! A run is a function of its seed: [`World::trace`] is a hash of everything that was handled.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use spinglass_core::crypto::{Crypto, Salt};
use spinglass_core::query::{Answer, AskError, Question, QuestionId};
use spinglass_core::{
    Checked, Datagram, Draft, Driver, Event, Identity, Incarnation, Instant, Keep, Node, Now,
    Pattern, PatternError, Prng, PublishError, Rating, Sighting, Start, Stats, TopicId, Transmit,
};
use spinglass_crypto::{GroupKeys, RealCrypto, SigningKey};

use crate::badboy::Badboy;
use crate::crypto::{Oracle, SimCrypto, mix};
use crate::host::{Outside, add, address};
use crate::network::{Captured, Network};
use crate::pool::{SharedRecords, SharedRows};
use crate::queue::Queue;
use crate::setup::Setup;

mod carriage;
mod doors;
mod faults;
mod insiders;
mod intake;
mod papers;
mod table;

pub use intake::Intake;
use intake::Ports;

/// The length of the slots that members sleep in [seed paper, section 2].
pub const SLEEP_SLOT: Duration = Duration::from_millis(100);
/// What a sleeping member's socket holds; what comes beyond is lost, as in a kernel.
const SOCKET_BYTES_MAX: usize = 4 << 20;
const SLOT_NANOS: u64 = 100_000_000;
const SECOND_NANOS: u64 = 1_000_000_000;

/// What people call a member.
fn name(index: usize) -> String {
    format!("n{index:07}")
}

/// Sees everything that members tell their applications, and what they send.
pub trait Observer {
    /// A member's event.
    fn event(&mut self, at: Instant, member: usize, life: u64, event: &Event);

    /// A member has handled something, and nothing of it has left yet. Most observers don't care.
    fn handled(&mut self, _at: Now, _member: usize, _life: u64, _node: &Node) {}

    /// A member saw a message that is followed.
    fn sighted(&mut self, _member: usize, _sighting: &Sighting) {}

    /// A run of sealed datagrams leaves a member. Most observers don't care.
    fn sent(
        &mut self,
        _at: Instant,
        _member: usize,
        _node: &Node,
        _transmit: &Transmit,
        _segments: &[u8],
    ) {
    }
}

/// Sees nothing.
#[derive(Debug, Clone, Copy, Default)]
pub struct Blind;

impl Observer for Blind {
    fn event(&mut self, _at: Instant, _member: usize, _life: u64, _event: &Event) {}
}

/// A member and its host.
#[derive(Debug)]
struct Member {
    driver: Option<Driver>,
    /// When its next timer entry in the queue is due.
    timer: u64,
    life: u64,
    /// The share of slots it sleeps in, in parts per million.
    sleep_ppm: u32,
    /// How long it takes to handle one input.
    service: u64,
    busy_until: u64,
    /// Until when its sockets neither send nor receive.
    blocked_until: u64,
    backlog_bytes: usize,
    /// How far its wall clock is ahead, in milliseconds.
    clock_ms: i64,
    /// Counters of its earlier lives, if it had any.
    past: Option<Box<Stats>>,
}

#[derive(Debug)]
enum Entry {
    Arrives { to: u32, from: Source, port: u16, held: bool, bytes: Arc<[u8]> },
    Timer { member: u32 },
}

/// Who sent a datagram, and from which port as its receiver sees it.
#[derive(Debug, Clone, Copy)]
struct Source {
    member: u32,
    port: u16,
}

/// A simulated group.
#[derive(Debug)]
pub struct World {
    setup: Setup,
    config: Checked,
    /// What the network does; may be changed between two runs.
    pub network: Network,
    members: Vec<Member>,
    queue: Queue<Entry>,
    now: u64,
    rng: Prng,
    oracle: Oracle,
    rows: SharedRows,
    records: SharedRecords,
    captured: Captured,
    trace: u64,
    handled: u64,
    outside: Outside,
    scratch: Vec<u8>,
    /// Answers that nobody has taken yet, by member and question.
    answers: BTreeMap<(usize, QuestionId), Answer>,
    /// What members' hosts read of what arrives; none: everything.
    intake: Option<Box<Intake>>,
    /// Where members want answers, if anywhere else than where all else goes.
    ports: Ports,
    /// Hosts of members that turned hostile.
    badboys: BTreeMap<usize, Badboy>,
}

impl World {
    /// Makes a group, all of it awake, at time 0.
    ///
    /// # Panics
    /// If the settings make no sense: a scenario's own mistake.
    #[must_use]
    pub fn new(setup: Setup, network: Network) -> Self {
        let config = setup.config.clone().check().expect("a scenario's settings are good");
        let rng = Prng::new(setup.seed);
        let oracle = Oracle::new(mix(setup.seed, b"oracle"));
        let member = || Member {
            driver: None,
            timer: u64::MAX,
            life: 0,
            sleep_ppm: 0,
            service: 0,
            busy_until: 0,
            blocked_until: 0,
            backlog_bytes: 0,
            clock_ms: 0,
            past: None,
        };
        let members = (0..setup.members).map(|_| member()).collect();
        let mut world = Self {
            config,
            network,
            members,
            queue: Queue::default(),
            now: 0,
            rng: rng.fork("world"),
            oracle,
            rows: SharedRows::default(),
            records: SharedRecords::default(),
            captured: Captured::default(),
            trace: setup.seed,
            handled: 0,
            outside: Outside::default(),
            scratch: Vec::new(),
            answers: BTreeMap::new(),
            intake: None,
            ports: Ports::default(),
            badboys: BTreeMap::new(),
            setup,
        };
        for index in 0..world.setup.members {
            world.begin_life(index);
        }
        if world.setup.acquainted {
            world.settle(&[]);
        }
        world
    }

    fn crypto(&self, index: usize) -> Box<dyn Crypto> {
        if self.setup.real_crypto {
            let mut seed = [0; 32];
            for (word, chunk) in (0_u64..).zip(seed.as_chunks_mut::<8>().0) {
                *chunk = mix(self.setup.seed ^ word, &index.to_le_bytes()).to_le_bytes();
            }
            return Box::new(RealCrypto::new(
                SigningKey::from_seed(seed),
                GroupKeys::development(),
            ));
        }
        let tamper = if Self::is_tamperer(index) { self.setup.tamper_ppm } else { 0 };
        let crypto = SimCrypto::new(&self.oracle, index as u64 + 1, tamper);
        Box::new(self.trusting(index, crypto))
    }

    /// Starts a member's next life.
    fn begin_life(&mut self, index: usize) {
        let (config, crypto) = (self.config_of(index), self.crypto(index));
        let now = self.local_now(index);
        let Some(member) = self.members.get_mut(index) else { return };
        member.life += 1;
        // As hosts do: greater than any before, and by as much as time has passed, since a core may
        // have begun lives of its own.
        #[cfg(not(spinglass_bug = "sequence_reused"))]
        let incarnation = 1_000 + member.life + self.now / SECOND_NANOS;
        // The deliberate bug: a restart that forgets that it ever lived.
        #[cfg(spinglass_bug = "sequence_reused")]
        let incarnation = 1_001;
        let salt = mix(self.setup.seed ^ member.life, &index.to_le_bytes());
        let region = self.setup.region(index);
        let identity = Identity {
            incarnation: Incarnation(incarnation),
            salt: Salt(u128::from(salt).to_le_bytes()),
            address: address(index),
            region,
            name: if self.setup.papers.is_some() { String::new() } else { name(index) },
        };
        let seed = mix(self.setup.seed, &(index as u64 ^ member.life << 32).to_le_bytes());
        let seeds = self.setup.seed_of(index).map(address).into_iter().collect();
        let node = Node::new(config, identity, crypto, seed, seeds, now);
        let mut node = node.expect("a scenario's settings are good");
        node.share_rows(Box::new(self.rows.clone()));
        node.share_records(Box::new(self.records.clone()));
        node.follow_messages(self.setup.followed_one_in);
        member.driver = Some(Driver::new(node));
        (member.timer, member.busy_until) = (u64::MAX, 0);
        self.drain(index, &mut Blind);
    }

    // --- what scenarios do

    /// The virtual time.
    #[must_use]
    pub const fn now(&self) -> Now {
        Now { monotonic: Instant::from_nanos(self.now), wall_ms: self.now / 1_000_000 }
    }

    /// The same, by a member's own wall clock.
    #[must_use]
    pub fn local_now(&self, index: usize) -> Now {
        let Now { monotonic, wall_ms } = self.now();
        let ahead = self.members.get(index).map_or(0, |member| member.clock_ms);
        Now { monotonic, wall_ms: wall_ms.saturating_add_signed(ahead) }
    }

    /// How the members were made.
    #[must_use]
    pub const fn setup(&self) -> &Setup {
        &self.setup
    }

    /// How many members there are, crashed ones included.
    #[must_use]
    pub fn len(&self) -> usize {
        self.members.len()
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.members.is_empty()
    }

    /// A hash of everything handled so far.
    #[must_use]
    pub const fn trace(&self) -> u64 {
        self.trace
    }

    /// Protocol events so far: inputs that some core handled.
    #[must_use]
    pub const fn handled(&self) -> u64 {
        self.handled
    }

    /// What cryptography noticed.
    #[must_use]
    pub const fn oracle(&self) -> &Oracle {
        &self.oracle
    }

    /// A member's core, unless it has crashed.
    #[must_use]
    pub fn node(&self, index: usize) -> Option<&Node> {
        self.members.get(index)?.driver.as_ref().map(Driver::node)
    }

    /// Which life a member is in, from 1.
    #[must_use]
    pub fn life(&self, index: usize) -> u64 {
        self.members.get(index).map_or(0, |member| member.life)
    }

    /// A topic's name on the wire.
    pub fn topic(&mut self, name: &str) -> TopicId {
        let hash = self.crypto(0).hash(spinglass_core::crypto::Domain::Topic, name.as_bytes());
        TopicId::from_hash(hash)
    }

    /// Has a member take a share of a topic's messages.
    pub fn rate(&mut self, index: usize, topic: TopicId, rating: Rating) {
        let now = self.local_now(index);
        if let Some(driver) = self.driver(index) {
            driver.rate(now, topic, rating);
        }
    }

    /// Tells a member a topic's text, as whoever names one does.
    pub fn name_topic(&mut self, index: usize, text: &str) -> TopicId {
        if let Some(driver) = self.driver(index) {
            driver.topic(text);
        }
        self.topic(text)
    }

    /// Has a member take a share of all topics that a pattern matches.
    ///
    /// # Errors
    /// There are too many patterns.
    pub fn subscribe_pattern(
        &mut self,
        index: usize,
        pattern: &Pattern,
        start: Start,
        rating: Rating,
    ) -> Result<(), PatternError> {
        let now = self.local_now(index);
        self.driver(index).map_or(Ok(()), |it| it.subscribe_pattern(now, pattern, start, rating))
    }

    /// Has messages kept that a member sends on a topic.
    pub fn keep(&mut self, index: usize, topic: TopicId, keep: Keep) {
        let now = self.local_now(index);
        if let Some(driver) = self.driver(index) {
            driver.keep(now, topic, keep);
        }
    }

    /// Subscribes a member.
    pub fn subscribe(&mut self, index: usize, topic: TopicId, start: Start) {
        let now = self.local_now(index);
        if let Some(driver) = self.driver(index) {
            // What the rules deny is nothing that a scenario hears.
            let _ = driver.subscribe(now, topic, start);
        }
    }

    /// Publishes a message.
    ///
    /// # Errors
    /// As the core's; a crashed member has left.
    pub fn publish(
        &mut self,
        index: usize,
        topic: TopicId,
        draft: impl Into<Draft>,
        observer: &mut impl Observer,
    ) -> Result<(), PublishError> {
        let now = self.local_now(index);
        self.handled += 1;
        let driver = self.driver(index).ok_or(PublishError::Left)?;
        let published = driver.publish(now, topic, draft.into());
        if !self.is_asleep(index) {
            self.drain(index, observer);
        } else if published.is_ok() {
            self.set_timer(index, self.now);
        }
        published
    }

    /// Asks something through a member; the answer is for [`take_answer`](Self::take_answer).
    ///
    /// # Errors
    /// As the core's; a crashed member has left.
    pub fn ask(&mut self, index: usize, question: &Question) -> Result<QuestionId, AskError> {
        let now = self.now();
        let id = self.driver(index).ok_or(AskError::Closed)?.ask(now, question)?;
        self.drain(index, &mut Blind);
        Ok(id)
    }

    /// A member's answer, if it has come.
    pub fn take_answer(&mut self, index: usize, question: QuestionId) -> Option<Answer> {
        self.answers.remove(&(index, question))
    }

    /// A member's counters over all its lives.
    #[must_use]
    pub fn stats(&self, index: usize) -> Stats {
        let Some(member) = self.members.get(index) else { return Stats::default() };
        let mut stats = member.past.as_deref().cloned().unwrap_or_default();
        if let Some(driver) = &member.driver {
            add(&mut stats, &driver.node().stats());
        }
        stats
    }

    /// Runs for a span of virtual time.
    pub fn run(&mut self, span: Duration, observer: &mut impl Observer) {
        let end = self.now + u64::try_from(span.as_nanos()).unwrap_or(u64::MAX);
        while let Some((at, entry)) = self.queue.pop_before(end) {
            self.now = at;
            match entry {
                Entry::Timer { member } => self.on_timer(member as usize, observer),
                Entry::Arrives { to, from, port, held, bytes } => {
                    if held || self.is_read(to as usize, port) {
                        self.on_arrival((to, from, port), held, bytes, observer);
                    }
                }
            }
        }
        self.now = end;
    }

    // --- what happens

    pub(crate) fn driver(&mut self, index: usize) -> Option<&mut Driver> {
        self.members.get_mut(index)?.driver.as_mut()
    }

    fn is_asleep(&self, index: usize) -> bool {
        self.asleep_until(index).is_some()
    }

    /// When a member that sleeps or is busy at this moment can go on.
    fn asleep_until(&self, index: usize) -> Option<u64> {
        let member = self.members.get(index)?;
        if member.sleep_ppm > 0 {
            let asleep = |slot: u64| {
                let drawn = mix(self.setup.seed ^ index as u64, &slot.to_le_bytes());
                drawn % 1_000_000 < u64::from(member.sleep_ppm)
            };
            let slot = self.now / SLOT_NANOS;
            if asleep(slot) {
                let wakes = (slot + 1..).find(|slot| !asleep(*slot));
                return wakes.map(|slot| slot * SLOT_NANOS);
            }
        }
        (member.busy_until > self.now).then_some(member.busy_until)
    }

    fn note(&mut self, index: usize, what: u64) {
        self.handled += 1;
        self.trace = (self.trace ^ self.now ^ (index as u64) << 48 ^ what)
            .wrapping_mul(0x9e37_79b9_7f4a_7c15)
            .rotate_left(31);
        let now = self.now;
        if let Some(member) = self.members.get_mut(index)
            && member.service > 0
        {
            member.busy_until = now + member.service;
        }
    }

    fn on_timer(&mut self, index: usize, observer: &mut impl Observer) {
        let now = self.now;
        let Some(member) = self.members.get_mut(index) else { return };
        if member.timer != now {
            // It was set anew since.
            return;
        }
        member.timer = u64::MAX;
        if let Some(wakes) = self.asleep_until(index) {
            return self.set_timer(index, wakes);
        }
        self.note(index, 1);
        let now = self.local_now(index);
        if let Some(driver) = self.driver(index) {
            driver.handle_timeout(now);
            self.drain(index, observer);
        }
    }

    fn set_timer(&mut self, index: usize, at: u64) {
        let at = at.max(self.now);
        let Some(member) = self.members.get_mut(index) else { return };
        if at < member.timer {
            member.timer = at;
            let member = u32::try_from(index).unwrap_or(u32::MAX);
            self.queue.push(at, Entry::Timer { member });
        }
    }

    fn on_arrival(
        &mut self,
        (to, from, port): (u32, Source, u16),
        held: bool,
        bytes: Arc<[u8]>,
        observer: &mut impl Observer,
    ) {
        let index = to as usize;
        let wakes = self.asleep_until(index).max(self.blocked_until(index));
        let Some(member) = self.members.get_mut(index) else { return };
        if member.driver.is_none() {
            member.backlog_bytes -= if held { bytes.len() } else { 0 };
            return;
        }
        if let Some(wakes) = wakes {
            if !held {
                if member.backlog_bytes + bytes.len() > SOCKET_BYTES_MAX {
                    return;
                }
                member.backlog_bytes += bytes.len();
            }
            self.queue.push(wakes, Entry::Arrives { to, from, port, held: true, bytes });
            return;
        }
        if held {
            member.backlog_bytes -= bytes.len();
        }
        let tail = bytes.last_chunk::<8>().map_or(0, |tail| u64::from_le_bytes(*tail));
        self.note(index, tail ^ bytes.len() as u64);
        let now = self.local_now(index);
        let mut scratch = std::mem::take(&mut self.scratch);
        scratch.clear();
        scratch.extend_from_slice(&bytes);
        if let Some(driver) = self.driver(index) {
            let from = SocketAddr::new(address(from.member as usize).ip(), from.port);
            let datagram = Datagram { from, bytes: &mut scratch };
            driver.handle_datagrams(now, &mut [datagram]);
        }
        self.scratch = scratch;
        self.drain(index, observer);
    }

    /// Takes a member's outputs, and sends them on their way.
    fn drain(&mut self, index: usize, observer: &mut impl Observer) {
        let now = self.local_now(index);
        let mut outside = std::mem::take(&mut self.outside);
        outside.refuses = self.blocked_until(index).is_some();
        let Some(member) = self.members.get_mut(index) else { return };
        let life = member.life;
        let mut due = None;
        if let Some(driver) = &mut member.driver {
            // The datagrams of all are made in the same memory.
            driver.exchange_buffer(&mut outside.segments);
            due = driver.drain(now, &mut outside);
            driver.exchange_buffer(&mut outside.segments);
            observer.handled(now, index, life, driver.node());
            for (transmit, bytes) in &outside.sent {
                observer.sent(now.monotonic, index, driver.node(), transmit, bytes);
            }
        }
        if let Some(due) = due {
            self.set_timer(index, due.as_nanos());
        }
        self.turn_hostile(index, &mut outside.sent);
        for (transmit, bytes) in outside.sent.drain(..) {
            for segment in bytes.chunks(transmit.segment_bytes.max(1)) {
                self.send(index, &transmit.to, segment.into());
            }
            outside.spare.push(bytes);
        }
        for (question, answer) in outside.answers.drain(..) {
            self.answers.insert((index, question), answer);
        }
        for sighting in outside.sightings.drain(..) {
            observer.sighted(index, &sighting);
        }
        for event in outside.events.drain(..) {
            self.trace = mix(self.trace, &[index as u8, 7]);
            observer.event(now.monotonic, index, life, &event);
        }
        self.outside = outside;
    }
}
