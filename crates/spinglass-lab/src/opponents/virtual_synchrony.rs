//! A virtually synchronous, FIFO multicast, as Ensemble's stack for it is put together, with its
//! parameters [FACTS 3]: the sender may have a window of bytes unacknowledged by any member of the
//! view; gaps are asked of it; who is silent for too long is suspected by all; a view changes when
//! all who stay have flushed, and until then nothing is sent. Member 0 sends.
//!
//! What is sent in one view is delivered by all who go on to the next, before it: who lacks
//! something at a change asks whoever has it.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use spinglass_sim::queue::nanos;

use crate::stage::{Cx, Kind, Protocol};

/// The member that sends.
const SENDER: usize = 0;
/// Bytes of what is no data.
const CONTROL_BYTES: usize = 60;
/// How long who misses something waits before it asks again.
const NAK_EVERY: Duration = Duration::from_millis(50);
/// How long who has acknowledged waits for more before it does so again, and how often.
const ACK_EVERY: Duration = Duration::from_millis(50);
const ACKS_AGAIN: u32 = 10;
/// How often who is outside asks to be let in, and a flush is called for again.
const AGAIN_EVERY: Duration = Duration::from_millis(500);
/// The most messages that one answer brings.
const REPAIRS_MAX: u64 = 32;

/// How members are set.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Settings {
    /// Bytes that may be unacknowledged by any member.
    pub window_bytes: usize,
    /// Bytes after which a receiver acknowledges.
    pub ack_bytes: usize,
    /// Bytes that each message counts besides its own.
    pub overhead_bytes: usize,
    /// Bytes that the sender's application may have waiting.
    pub buffer_bytes: usize,
    /// How often everybody tells what it has, so that what is stable can go, and the last of a run
    /// is missed where it was lost.
    pub stability_every: Duration,
    /// How often everybody says that it is there.
    pub ping_every: Duration,
    /// Who was silent for so many of these is suspected.
    pub suspect_after: u32,
}

impl Settings {
    /// Ensemble's.
    #[must_use]
    pub const fn ensemble() -> Self {
        Self {
            window_bytes: 50_000,
            ack_bytes: 25_000,
            overhead_bytes: 100,
            buffer_bytes: 50_000,
            stability_every: Duration::from_secs(1),
            ping_every: Duration::from_secs(1),
            suspect_after: 15,
        }
    }
}

/// A view: who is in it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct View {
    /// Which one.
    pub number: u64,
    /// Its members, in order; the first one coordinates.
    pub members: Arc<[usize]>,
    /// Messages that all of them have when it begins.
    cut: u64,
    /// Who has them all.
    holder: usize,
}

/// What members say.
#[derive(Debug, Clone)]
pub enum Message {
    /// A message of the sender's application.
    Data {
        /// The view it is sent in.
        view: u64,
        /// Its number, over all views.
        sequence: u64,
        /// Its bytes.
        bytes: usize,
        /// Whether it was asked for.
        again: bool,
    },
    /// So many bytes have been consumed.
    Ack {
        /// In this view.
        view: u64,
        /// Since it began.
        bytes: u64,
    },
    /// Messages are missing.
    Nak {
        /// The first.
        from: u64,
        /// One above the last.
        until: u64,
    },
    /// What a member has: all messages below this.
    Stable {
        /// In this view.
        view: u64,
        /// The number.
        received: u64,
    },
    /// It is there.
    Ping {
        /// In this view.
        view: u64,
    },
    /// These are suspected.
    Suspect {
        /// In this view.
        view: u64,
        /// Who.
        whom: Arc<[usize]>,
    },
    /// Stop sending: the view is to change.
    Flush {
        /// The view that ends.
        view: u64,
    },
    /// Stopped.
    Flushed {
        /// The view that ends.
        view: u64,
        /// All messages below this are there.
        received: u64,
    },
    /// The next view.
    Next(View),
    /// Somebody outside wants in.
    Join,
}

/// What a timer is for.
#[derive(Debug, Clone, Copy)]
pub enum Timer {
    /// To say that it is there, and look who is not.
    Sweep,
    /// To tell what it has.
    Stability,
    /// To ask again for what is missing.
    Nak,
    /// To acknowledge again, if no more was acknowledged than this, so many times.
    Ack(u64, u32),
    /// To call again for a flush, or to be let in.
    Again,
}

/// A member.
#[derive(Debug)]
pub struct VirtualSynchrony {
    own: usize,
    settings: Settings,
    view: View,
    is_outside: bool,
    /// Since when there is a newer view, of which it has not been told.
    newer_since: Option<u64>,
    views: u64,
    heard: BTreeMap<usize, u64>,
    suspected: BTreeSet<usize>,
    joiners: BTreeSet<usize>,
    /// Whether nothing is sent until the view changes.
    is_blocked: bool,
    /// Who has flushed, and how far they were, if this member coordinates a change.
    flushed: Option<BTreeMap<usize, u64>>,
    /// The next view, while messages of this one are missing.
    coming: Option<View>,
    /// Bytes of messages held, by number.
    held: BTreeMap<u64, usize>,
    /// All messages below are there.
    received: u64,
    /// One above the newest that is known to exist.
    known: u64,
    is_asking: bool,
    consumed_bytes: u64,
    acked_bytes: u64,
    /// Of the sender: what waits, what was sent in this view, what each has acknowledged.
    waiting: VecDeque<usize>,
    sent_bytes: u64,
    acks: BTreeMap<usize, u64>,
    /// What each member has, as it told last.
    stable: BTreeMap<usize, u64>,
}

impl VirtualSynchrony {
    /// A member of a first view with all of them.
    #[must_use]
    pub fn new(own: usize, members: usize, settings: Settings) -> Self {
        let members: Arc<[usize]> = (0..members).collect();
        let mut member = Self {
            own,
            settings,
            view: View { number: 0, members: Arc::clone(&members), cut: 0, holder: SENDER },
            is_outside: false,
            newer_since: None,
            views: 0,
            heard: BTreeMap::new(),
            suspected: BTreeSet::new(),
            joiners: BTreeSet::new(),
            is_blocked: false,
            flushed: None,
            coming: None,
            held: BTreeMap::new(),
            received: 0,
            known: 0,
            is_asking: false,
            consumed_bytes: 0,
            acked_bytes: 0,
            waiting: VecDeque::new(),
            sent_bytes: 0,
            acks: BTreeMap::new(),
            stable: BTreeMap::new(),
        };
        member.heard = members.iter().map(|member| (*member, 0)).collect();
        member
    }

    /// The view it is in.
    #[must_use]
    pub const fn view(&self) -> &View {
        &self.view
    }

    /// How many times its view has changed.
    #[must_use]
    pub const fn views(&self) -> u64 {
        self.views
    }

    /// Whether it is in no view.
    #[must_use]
    pub const fn is_outside(&self) -> bool {
        self.is_outside
    }

    /// Messages that it holds until all have them.
    #[must_use]
    pub fn buffered(&self) -> usize {
        self.held.len()
    }

    fn others(&self) -> impl Iterator<Item = usize> + '_ {
        self.view.members.iter().copied().filter(|member| *member != self.own)
    }

    // --- sending

    /// Sends what waits, as far as the window of every member goes.
    fn pump(&mut self, cx: &mut Cx<'_, Self>) {
        while let Some(bytes) = self.waiting.front().copied() {
            let counted = (bytes + self.settings.overhead_bytes) as u64;
            let least = self.others().map(|member| self.acks.get(&member).copied().unwrap_or(0));
            let unacknowledged = self.sent_bytes - least.min().unwrap_or(self.sent_bytes);
            if self.is_blocked || unacknowledged + counted > self.settings.window_bytes as u64 {
                return;
            }
            self.waiting.pop_front();
            self.sent_bytes += counted;
            let sequence = self.received;
            (self.received, self.known) = (sequence + 1, sequence + 1);
            self.held.insert(sequence, bytes);
            let data = Message::Data { view: self.view.number, sequence, bytes, again: false };
            cx.multicast(CONTROL_BYTES + bytes, data);
        }
    }

    fn repair(&self, to: usize, from: u64, until: u64, cx: &mut Cx<'_, Self>) {
        for (sequence, bytes) in self.held.range(from..until.min(from + REPAIRS_MAX)) {
            let (sequence, bytes, view) = (*sequence, *bytes, self.view.number);
            let data = Message::Data { view, sequence, bytes, again: true };
            cx.send(to, CONTROL_BYTES + bytes, data);
        }
    }

    // --- receiving

    fn take_data(&mut self, sequence: u64, bytes: usize, cx: &mut Cx<'_, Self>) {
        if sequence < self.received || self.held.contains_key(&sequence) {
            return;
        }
        self.held.insert(sequence, bytes);
        self.known = self.known.max(sequence + 1);
        while let Some(bytes) = self.held.get(&self.received) {
            self.consumed_bytes += (bytes + self.settings.overhead_bytes) as u64;
            cx.deliver(SENDER, self.received);
            self.received += 1;
        }
        if self.consumed_bytes >= self.acked_bytes + self.settings.ack_bytes as u64 {
            self.acked_bytes = self.consumed_bytes;
            self.acknowledge(ACKS_AGAIN, cx);
        }
        self.ask_for_missing(cx);
        self.install_if_whole(cx);
    }

    /// Acknowledges what was consumed; again, a few times, unless there is more to acknowledge.
    fn acknowledge(&self, again: u32, cx: &mut Cx<'_, Self>) {
        let (view, bytes) = (self.view.number, self.acked_bytes);
        cx.send(SENDER, CONTROL_BYTES, Message::Ack { view, bytes });
        if again > 0 {
            cx.set_timer(ACK_EVERY, Timer::Ack(bytes, again));
        }
    }

    /// Asks whoever has it for what is missing, now and again.
    fn ask_for_missing(&mut self, cx: &mut Cx<'_, Self>) {
        if self.received < self.known && !self.is_asking {
            self.is_asking = true;
            self.nak(cx);
        }
    }

    fn nak(&mut self, cx: &mut Cx<'_, Self>) {
        if self.received >= self.known || self.is_outside {
            self.is_asking = false;
            return;
        }
        let until = self.held.range(self.received..).next().map_or(self.known, |(at, _)| *at);
        let whom = self.coming.as_ref().map_or(SENDER, |view| view.holder);
        cx.send(whom, CONTROL_BYTES, Message::Nak { from: self.received, until });
        cx.set_timer(NAK_EVERY, Timer::Nak);
    }

    /// Forgets what all members have.
    fn forget_stable(&mut self) {
        let has = |member| self.stable.get(&member).copied().unwrap_or(0);
        let least = self.others().map(has).min().unwrap_or(u64::MAX).min(self.received);
        self.held = self.held.split_off(&least);
    }

    // --- who is there

    fn sweep(&mut self, cx: &mut Cx<'_, Self>) {
        cx.set_timer(self.settings.ping_every, Timer::Sweep);
        if self.is_outside {
            return;
        }
        cx.multicast(CONTROL_BYTES, Message::Ping { view: self.view.number });
        let patience = nanos(self.settings.ping_every) * u64::from(self.settings.suspect_after);
        let is_silent = |member: &usize| {
            self.heard.get(member).is_none_or(|heard| cx.now.saturating_sub(*heard) > patience)
        };
        let silent: Vec<usize> = self.others().filter(is_silent).collect();
        let is_news = silent.iter().any(|member| !self.suspected.contains(member));
        self.suspected.extend(silent);
        if is_news {
            let whom = self.suspected.iter().copied().collect();
            cx.multicast(CONTROL_BYTES, Message::Suspect { view: self.view.number, whom });
        }
        self.change_view(cx);
    }

    /// Begins to change the view, or goes on with it, if that is up to this member.
    fn change_view(&mut self, cx: &mut Cx<'_, Self>) {
        let is_due = !self.suspected.is_empty() || !self.joiners.is_empty();
        let first = self.view.members.iter().find(|member| !self.suspected.contains(member));
        if !is_due || self.is_outside || first != Some(&self.own) {
            return;
        }
        if self.flushed.is_none() {
            self.is_blocked = true;
            self.flushed = Some(BTreeMap::from([(self.own, self.received)]));
            cx.multicast(CONTROL_BYTES, Message::Flush { view: self.view.number });
            cx.set_timer(AGAIN_EVERY, Timer::Again);
        }
        self.finish_change(cx);
    }

    /// Makes the next view, if everybody who stays has flushed.
    fn finish_change(&mut self, cx: &mut Cx<'_, Self>) {
        let Some(flushed) = &self.flushed else { return };
        let stay = |member: &&usize| !self.suspected.contains(*member);
        let staying: Vec<usize> = self.view.members.iter().filter(stay).copied().collect();
        if !staying.iter().all(|member| flushed.contains_key(member)) {
            return;
        }
        let has = |member: &usize| flushed.get(member).copied().unwrap_or(0);
        let holder = staying.iter().copied().max_by_key(has).unwrap_or(self.own);
        let members: BTreeSet<usize> = staying.into_iter().chain(self.joiners.clone()).collect();
        let view = View {
            number: self.view.number + 1,
            members: members.into_iter().collect(),
            cut: has(&holder),
            holder,
        };
        self.flushed = None;
        cx.multicast(CONTROL_BYTES + 4 * view.members.len(), Message::Next(view.clone()));
        self.hear_view(view, cx);
    }

    fn hear_view(&mut self, view: View, cx: &mut Cx<'_, Self>) {
        if view.number <= self.view.number && !self.is_outside {
            return;
        }
        if !view.members.contains(&self.own) {
            self.leave(cx);
            return;
        }
        let was_in = !self.is_outside && self.view.number + 1 == view.number;
        if !was_in {
            // Whoever comes begins with what comes next.
            (self.received, self.known) = (view.cut, view.cut);
            self.held.clear();
        }
        self.known = self.known.max(view.cut);
        self.coming = Some(view);
        self.ask_for_missing(cx);
        self.install_if_whole(cx);
    }

    fn install_if_whole(&mut self, cx: &mut Cx<'_, Self>) {
        let Some(view) = self.coming.take_if(|view| self.received >= view.cut) else { return };
        self.view = view;
        self.views += 1;
        (self.is_outside, self.is_blocked, self.flushed) = (false, false, None);
        self.newer_since = None;
        self.heard = self.view.members.iter().map(|member| (*member, cx.now)).collect();
        self.suspected.clear();
        self.joiners.clear();
        self.acks.clear();
        self.stable.clear();
        (self.sent_bytes, self.consumed_bytes, self.acked_bytes) = (0, 0, 0);
        self.pump(cx);
    }

    fn leave(&mut self, cx: &mut Cx<'_, Self>) {
        if !self.is_outside {
            (self.is_outside, self.is_blocked, self.flushed, self.coming) =
                (true, true, None, None);
            cx.multicast(CONTROL_BYTES, Message::Join);
            cx.set_timer(AGAIN_EVERY, Timer::Again);
        }
    }

    /// Whether something is of this member's view; who is behind asks for the newer one.
    fn is_of_view(&mut self, view: u64, cx: &mut Cx<'_, Self>) -> bool {
        if view > self.view.number && self.coming.is_none() {
            // What is sent in a view may overtake what begins it.
            let since = *self.newer_since.get_or_insert(cx.now);
            if cx.now - since > nanos(AGAIN_EVERY) {
                self.leave(cx);
            }
        }
        !self.is_outside && view == self.view.number
    }

    fn hear_join(&mut self, from: usize, cx: &mut Cx<'_, Self>) {
        if self.is_outside {
            return;
        }
        if self.view.members.contains(&from) && self.view.members.first() == Some(&self.own) {
            // It has missed the view.
            cx.send(from, CONTROL_BYTES, Message::Next(self.view.clone()));
        } else if !self.view.members.contains(&from) {
            self.joiners.insert(from);
            self.change_view(cx);
        }
    }
}

impl Protocol for VirtualSynchrony {
    type Message = Message;
    type Timer = Timer;

    fn start(&mut self, cx: &mut Cx<'_, Self>) {
        // Phases are spread, so that not all speak at once.
        let sweep = cx.rng.below(nanos(self.settings.ping_every).max(1));
        let stability = cx.rng.below(nanos(self.settings.stability_every).max(1));
        cx.set_timer(Duration::from_nanos(sweep), Timer::Sweep);
        cx.set_timer(Duration::from_nanos(stability), Timer::Stability);
    }

    fn publish(&mut self, bytes: usize, cx: &mut Cx<'_, Self>) -> bool {
        let waiting: usize = self.waiting.iter().sum();
        if waiting + bytes > self.settings.buffer_bytes {
            return false;
        }
        self.waiting.push_back(bytes);
        self.pump(cx);
        true
    }

    fn hear(&mut self, from: usize, message: Message, cx: &mut Cx<'_, Self>) {
        self.heard.entry(from).and_modify(|heard| *heard = cx.now);
        match message {
            Message::Data { view, sequence, bytes, again } => {
                if self.is_of_view(view, cx) || again && self.coming.is_some() {
                    self.take_data(sequence, bytes, cx);
                }
            }
            Message::Ack { view, bytes } if view == self.view.number => {
                let acked = self.acks.entry(from).or_default();
                *acked = bytes.max(*acked);
                self.pump(cx);
            }
            Message::Nak { from: first, until } => self.repair(from, first, until, cx),
            Message::Stable { view, received } => {
                if self.is_of_view(view, cx) {
                    self.stable.insert(from, received);
                    if from == SENDER {
                        self.known = self.known.max(received);
                        self.ask_for_missing(cx);
                    }
                }
            }
            Message::Ping { view } => drop(self.is_of_view(view, cx)),
            Message::Suspect { view, whom } if view == self.view.number => {
                self.suspected.extend(whom.iter().filter(|member| **member != self.own));
                self.change_view(cx);
            }
            Message::Flush { view } if view == self.view.number && !self.is_outside => {
                self.is_blocked = true;
                let flushed = Message::Flushed { view, received: self.received };
                cx.send(from, CONTROL_BYTES, flushed);
            }
            Message::Flushed { view, received } if view == self.view.number => {
                if let Some(flushed) = &mut self.flushed {
                    flushed.insert(from, received);
                }
                self.finish_change(cx);
            }
            Message::Next(view) => self.hear_view(view, cx),
            Message::Join => self.hear_join(from, cx),
            Message::Ack { .. }
            | Message::Suspect { .. }
            | Message::Flush { .. }
            | Message::Flushed { .. } => (),
        }
    }

    fn wake(&mut self, timer: Timer, cx: &mut Cx<'_, Self>) {
        match timer {
            Timer::Sweep => self.sweep(cx),
            Timer::Nak => self.nak(cx),
            Timer::Ack(bytes, again) => {
                if self.acked_bytes == bytes && !self.is_outside {
                    self.acknowledge(again - 1, cx);
                }
            }
            Timer::Stability => {
                cx.set_timer(self.settings.stability_every, Timer::Stability);
                if !self.is_outside {
                    let (view, received) = (self.view.number, self.received);
                    cx.multicast(CONTROL_BYTES, Message::Stable { view, received });
                    self.forget_stable();
                }
            }
            Timer::Again if self.is_outside => {
                cx.multicast(CONTROL_BYTES, Message::Join);
                cx.set_timer(AGAIN_EVERY, Timer::Again);
            }
            Timer::Again if self.flushed.is_some() => {
                cx.multicast(CONTROL_BYTES, Message::Flush { view: self.view.number });
                cx.set_timer(AGAIN_EVERY, Timer::Again);
            }
            Timer::Again => (),
        }
    }

    fn kind(message: &Message) -> Kind {
        match message {
            Message::Data { again: false, .. } => Kind::Data,
            Message::Data { .. } => Kind::Repair,
            Message::Nak { .. } => Kind::Request,
            _ => Kind::Control,
        }
    }
}
