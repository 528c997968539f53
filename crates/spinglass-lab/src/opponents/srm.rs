//! SRM, Scalable Reliable Multicast (Floyd, Jacobson, Liu, McCanne, Zhang, ToN 1997), plain and
//! adaptive, with the timers and defaults of ns-2 [FACTS 3].
//!
//! Whoever misses something asks everybody, after a random time that grows with its distance from
//! the source; whoever hears another ask for the same waits longer. Whoever has it answers to
//! everybody, after a random time that grows with its distance from who asked, unless another is
//! sooner. Distances are known: they need not be estimated from session messages, which is to SRM's
//! advantage.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use spinglass_sim::Topology;
use spinglass_sim::queue::nanos;

use crate::stage::{Cx, Kind, Protocol};

/// Bytes of a request, of a session message, and of what goes before data.
const CONTROL_BYTES: usize = 40;
/// How often there is a session message, within a tenth.
const SESSION_EVERY: Duration = Duration::from_secs(1);
/// How often a request's timer grows at most.
const BACKOFF_MAX: i32 = 5;
/// The weight of a new value in an average.
const EWMA: f64 = 0.25;
/// Somebody is farther away than oneself if by this factor.
const AFAR: f64 = 1.5;

/// How a member chooses its timers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Timers {
    /// C1 = C2 = 2, D1 = D2 = 1, always.
    Plain,
    /// They adapt to how many duplicates there are, and how late requests and repairs are.
    Adaptive,
}

/// What members say.
#[derive(Debug, Clone, Copy)]
pub enum Message {
    /// A message of the source, or the same again.
    Data {
        /// Its number.
        sequence: u64,
        /// Its bytes.
        bytes: usize,
        /// If it is a repair: how far who sends it is from who asked.
        repair: Option<Duration>,
    },
    /// Somebody asks for a message.
    Request {
        /// Its number.
        sequence: u64,
        /// How far who asks is from the source.
        distance: Duration,
    },
    /// What there is.
    Session {
        /// One above the newest number.
        next: u64,
    },
}

/// What a timer is for: a message, and which setting of its timer.
#[derive(Debug, Clone, Copy)]
pub enum Timer {
    /// The next session message.
    Session,
    /// To ask for a message.
    Request(u64, u64),
    /// To answer who asked for one.
    Repair(u64, u64),
}

/// A member. Member 0 is the source.
#[derive(Debug)]
pub struct Srm {
    own: usize,
    topology: Arc<Topology>,
    /// One above the newest number known.
    next: u64,
    /// Bytes of the messages that it has, by number.
    held: BTreeMap<u64, usize>,
    delivered: u64,
    wanted: BTreeMap<u64, Wanted>,
    answers: BTreeMap<u64, Answer>,
    requests: Pace,
    repairs: Pace,
    backoff_factor: f64,
}

/// A message that is missing.
#[derive(Debug, Default)]
struct Wanted {
    /// When it was missed.
    since: u64,
    /// The setting of its timer that holds.
    stamp: u64,
    /// How often it was asked for, by anybody.
    backoff: i32,
    /// Requests heard until then are those that its own answers to.
    ignore_until: u64,
    asked: bool,
    /// Requests of others for it.
    heard: u32,
}

/// A message that others want.
#[derive(Debug)]
struct Answer {
    since: u64,
    asker: usize,
    /// The setting of its timer that holds; none: it was answered, by anybody.
    stamp: Option<u64>,
    hold_until: u64,
    answered: bool,
    /// Repairs of others for it.
    heard: u32,
}

impl Srm {
    /// A member of a group in this network.
    #[must_use]
    pub fn new(own: usize, members: usize, topology: Arc<Topology>, timers: Timers) -> Self {
        let size = (members as f64).max(2.0);
        let adaptive = timers == Timers::Adaptive;
        let d = if adaptive { size.log10() } else { 1.0 };
        Self {
            own,
            topology,
            next: 0,
            held: BTreeMap::new(),
            delivered: 0,
            wanted: BTreeMap::new(),
            answers: BTreeMap::new(),
            requests: Pace::new(adaptive, (2.0, 2.0), (2.0, size)),
            repairs: Pace::new(adaptive, (d, d), (size.log10(), size)),
            backoff_factor: if adaptive { 3.0 } else { 2.0 },
        }
    }

    /// Messages delivered, in order.
    #[must_use]
    pub const fn delivered(&self) -> u64 {
        self.delivered
    }

    fn distance(&self, other: usize) -> Duration {
        self.topology.delay(self.own, other)
    }

    /// There is a message of this number: whatever is not held of those up to it is missed.
    fn learn(&mut self, sequence: u64, cx: &mut Cx<'_, Self>) {
        let known = self.next;
        self.next = known.max(sequence + 1);
        for missing in known..=sequence {
            if !self.held.contains_key(&missing) {
                self.wanted.insert(missing, Wanted { since: cx.now, ..Wanted::default() });
                self.requests.begin();
                self.set_request(missing, cx);
            }
        }
    }

    /// Sets a missing message's timer, by how often it was put off.
    fn set_request(&mut self, sequence: u64, cx: &mut Cx<'_, Self>) {
        let distance = self.distance(0);
        let Some(wanted) = self.wanted.get_mut(&sequence) else { return };
        let backoff = self.backoff_factor.powi(wanted.backoff.min(BACKOFF_MAX));
        let delay = self.requests.draw(distance, cx).mul_f64(backoff);
        wanted.stamp += 1;
        if wanted.backoff > 0 {
            wanted.ignore_until = cx.now + nanos(delay) / 2;
        }
        cx.set_timer(delay, Timer::Request(sequence, wanted.stamp));
    }

    fn ask(&mut self, sequence: u64, stamp: u64, cx: &mut Cx<'_, Self>) {
        let distance = self.distance(0);
        let Some(wanted) = self.wanted.get_mut(&sequence) else { return };
        if wanted.stamp != stamp {
            return;
        }
        if !wanted.asked {
            self.requests.note(wanted.heard, wanted.since, distance, cx.now);
        }
        wanted.asked = true;
        wanted.backoff += 1;
        self.requests.sent();
        cx.multicast(CONTROL_BYTES, Message::Request { sequence, distance });
        self.set_request(sequence, cx);
    }

    fn hear_request(
        &mut self,
        from: usize,
        (sequence, theirs): (u64, Duration),
        cx: &mut Cx<'_, Self>,
    ) {
        if self.held.contains_key(&sequence) {
            self.prepare_answer(from, sequence, cx);
            return;
        }
        self.learn(sequence, cx);
        let own = self.distance(0);
        let Some(wanted) = self.wanted.get_mut(&sequence) else { return };
        if wanted.asked && theirs > own.mul_f64(AFAR) {
            self.requests.repeated_from_afar();
        }
        wanted.heard += 1;
        if cx.now >= wanted.ignore_until {
            self.requests.note(wanted.heard - 1, wanted.since, own, cx.now);
            wanted.backoff += 1;
            self.set_request(sequence, cx);
        }
    }

    /// Sets a timer to answer, unless somebody has answered just now, or is about to.
    fn prepare_answer(&mut self, from: usize, sequence: u64, cx: &mut Cx<'_, Self>) {
        let busy = |answer: &Answer| answer.stamp.is_some() || cx.now < answer.hold_until;
        if self.answers.get(&sequence).is_some_and(busy) {
            return;
        }
        self.repairs.begin();
        let delay = self.repairs.draw(self.distance(from), cx);
        let (since, stamp) = (cx.now, Some(cx.now));
        let answer = Answer { since, asker: from, stamp, hold_until: 0, answered: false, heard: 0 };
        self.answers.insert(sequence, answer);
        cx.set_timer(delay, Timer::Repair(sequence, since));
    }

    fn answer(&mut self, sequence: u64, stamp: u64, cx: &mut Cx<'_, Self>) {
        let Some(answer) = self.answers.get_mut(&sequence) else { return };
        if answer.stamp != Some(stamp) {
            return;
        }
        let distance = self.topology.delay(self.own, answer.asker);
        (answer.stamp, answer.answered) = (None, true);
        answer.hold_until = cx.now + nanos(distance) * 3;
        self.repairs.note(answer.heard, answer.since, distance, cx.now);
        self.repairs.sent();
        let bytes = self.held.get(&sequence).copied().unwrap_or(0);
        let repair = Some(distance);
        cx.multicast(CONTROL_BYTES + bytes, Message::Data { sequence, bytes, repair });
    }

    /// Another has answered.
    fn hear_repair(&mut self, sequence: u64, theirs: Duration, cx: &Cx<'_, Self>) {
        // If nobody asked here before, this one's request was not heard.
        let Some(answer) = self.answers.get_mut(&sequence) else { return };
        let distance = self.topology.delay(self.own, answer.asker);
        if answer.answered && theirs > distance.mul_f64(AFAR) {
            self.repairs.repeated_from_afar();
        }
        answer.heard += 1;
        if answer.stamp.take().is_some() || answer.heard > 1 {
            self.repairs.note(answer.heard - 1, answer.since, distance, cx.now);
        }
        answer.hold_until = cx.now + nanos(distance) * 3;
    }

    /// Holds a message that came, and delivers what is whole.
    fn hold(&mut self, sequence: u64, bytes: usize, cx: &mut Cx<'_, Self>) {
        self.held.insert(sequence, bytes);
        self.wanted.remove(&sequence);
        while self.held.contains_key(&self.delivered) {
            cx.deliver(0, self.delivered);
            self.delivered += 1;
        }
    }
}

/// One kind of timer: evenly between c1 and c1 + c2 distances; and how that has gone.
#[derive(Debug, Clone, Copy)]
struct Pace {
    adaptive: bool,
    c1: f64,
    c2: f64,
    c1_max: f64,
    c2_max: f64,
    /// Duplicates of late, and how late it was, in distances.
    duplicates: f64,
    delay: f64,
}

impl Pace {
    fn new(adaptive: bool, (c1, c2): (f64, f64), (c1_max, c2_max): (f64, f64)) -> Self {
        Self { adaptive, c1, c2, c1_max, c2_max, duplicates: 0.0, delay: 0.0 }
    }

    /// A time between c1 and c1 + c2 distances.
    fn draw(&self, distance: Duration, cx: &mut Cx<'_, Srm>) -> Duration {
        let share = cx.rng.below(1 << 20) as f64 / f64::from(1 << 20);
        distance.mul_f64(self.c1 + self.c2 * share)
    }

    /// Takes in how many duplicates there were, and how late it was.
    fn note(&mut self, duplicates: u32, since: u64, distance: Duration, now: u64) {
        let delay = (now - since) as f64 / nanos(distance).max(1) as f64;
        self.duplicates += EWMA * (f64::from(duplicates) - self.duplicates);
        self.delay += EWMA * (delay - self.delay);
    }

    /// Adapts before a new timer is set.
    fn begin(&mut self) {
        if self.duplicates >= 1.0 {
            self.change(0.1, 0.5);
        } else if self.duplicates < 0.9 {
            let c2 = if self.delay > 1.0 { -0.1 } else { 0.0 };
            self.change(if self.duplicates < 0.25 { -0.05 } else { 0.05 }, c2);
        } else {
            self.change(0.05, 0.0);
        }
    }

    /// After one's own request or repair: who is sooner than others is to stay so.
    fn sent(&mut self) {
        self.change(-0.1, 0.0);
    }

    /// Somebody farther away has sent the same: the nearer are to be surer.
    fn repeated_from_afar(&mut self) {
        self.change(0.0, -0.1);
    }

    fn change(&mut self, c1: f64, c2: f64) {
        if self.adaptive {
            self.c1 = (self.c1 + c1).clamp(0.5, self.c1_max.max(0.5));
            self.c2 = (self.c2 + c2).clamp(1.0, self.c2_max.max(1.0));
        }
    }
}

impl Protocol for Srm {
    type Message = Message;
    type Timer = Timer;

    fn start(&mut self, cx: &mut Cx<'_, Self>) {
        let phase = cx.rng.below(nanos(SESSION_EVERY));
        cx.set_timer(Duration::from_nanos(phase), Timer::Session);
    }

    fn publish(&mut self, bytes: usize, cx: &mut Cx<'_, Self>) -> bool {
        let sequence = self.next;
        self.next += 1;
        self.held.insert(sequence, bytes);
        cx.multicast(CONTROL_BYTES + bytes, Message::Data { sequence, bytes, repair: None });
        true
    }

    fn hear(&mut self, from: usize, message: Message, cx: &mut Cx<'_, Self>) {
        match message {
            Message::Data { sequence, bytes, repair } => {
                if !self.held.contains_key(&sequence) {
                    self.hold(sequence, bytes, cx);
                    self.learn(sequence, cx);
                }
                if let Some(theirs) = repair {
                    self.hear_repair(sequence, theirs, cx);
                }
            }
            Message::Request { sequence, distance } => {
                self.hear_request(from, (sequence, distance), cx);
            }
            Message::Session { next: 0 } => (),
            Message::Session { next } => self.learn(next - 1, cx),
        }
    }

    fn wake(&mut self, timer: Timer, cx: &mut Cx<'_, Self>) {
        match timer {
            Timer::Session => {
                cx.multicast(CONTROL_BYTES, Message::Session { next: self.next });
                let nanos = nanos(SESSION_EVERY);
                let next = nanos * 9 / 10 + cx.rng.below(nanos / 5);
                cx.set_timer(Duration::from_nanos(next), Timer::Session);
            }
            Timer::Request(sequence, stamp) => self.ask(sequence, stamp, cx),
            Timer::Repair(sequence, stamp) => self.answer(sequence, stamp, cx),
        }
    }

    fn kind(message: &Message) -> Kind {
        match message {
            Message::Data { repair: None, .. } => Kind::Data,
            Message::Data { .. } => Kind::Repair,
            Message::Request { .. } => Kind::Request,
            Message::Session { .. } => Kind::Control,
        }
    }
}
