//! The event loop: one task per member, which owns the core and everything the core needs.
//!
//! A turn takes in whatever is there (datagrams of each socket up to a bound, commands, messages
//! to publish), runs what is due, and drains the core once. So many messages cost one system call,
//! one lock and one wake each way. The bound is each socket's own: however much comes to the port
//! that all know, answers to what this member asked are read in the same turn, and first.

use std::collections::{BTreeMap, VecDeque};
use std::future::poll_fn;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use spinglass_core::query::{Answer, AskError, QuestionId};
use spinglass_core::table::NewFunction;
use spinglass_core::{
    Datagram, Draft, Driver, Instant, Now, PublishError, Rating, Start, StreamId, TopicId,
};
use spinglass_relay::{Incoming, Tunnel};
use tokio::sync::{oneshot, watch};
use tokio::task::JoinSet;
use tokio::time::Sleep;

use crate::clock::Clock;
use crate::faults::Dropper;
use crate::host::Outside;
use crate::hub::Reader;
use crate::inbox::{Command, Room};
use crate::memory::Memory;
use crate::node::{Pulse, Shared};
use crate::relay;
use crate::replies::Replies;
use crate::security::{Renewal, Rules};
use crate::socket::BatchedSocket;
use crate::stats::{RuntimeStats, SocketError, Stats};
use crate::table::Look;

/// Rounds that a member which has published stays on when it is closed, so that it can repair what
/// was lost of its last messages.
const LINGER_ROUNDS: u32 = 3;
/// Datagrams per turn for which room is made at once: as many as one run of segments has.
const DATAGRAMS_PER_TURN: usize = 64;

/// A member's event loop.
#[derive(Debug)]
pub(crate) struct Task {
    driver: Driver,
    outside: Outside,
    clock: Clock,
    shared: Arc<Shared>,
    pulse: watch::Sender<Pulse>,
    dropper: Option<Dropper>,
    /// Whom to know after a restart.
    memory: Option<Memory>,
    /// What goes on beside the loop, and ends with it.
    _beside: JoinSet<()>,
    round: Duration,
    send_queue_bytes: usize,
    /// When the core next wants to be called.
    due: Option<Instant>,
    /// Wakes the task.
    alarm: Pin<Box<Sleep>>,
    alarm_at: Option<Instant>,
    /// Whether subscribers were woken that have not had their turn yet.
    owes_yield: bool,
    /// Messages on their way from the inbox to the core.
    messages: VecDeque<(TopicId, Draft)>,
    commands: Vec<Command>,
    flushes: Vec<oneshot::Sender<()>>,
    /// The rules that handles ask are those of so many changes.
    rules_changes: u32,
    /// Who waits for the answers to the core's questions.
    asking: BTreeMap<QuestionId, oneshot::Sender<Result<Answer, AskError>>>,
    closing: Option<Closing>,
}

/// A good-bye under way.
#[derive(Debug)]
struct Closing {
    deadline: Instant,
    /// Set once everything has been sent.
    linger_until: Option<Instant>,
    /// Bytes of messages that were not sent, once that is settled.
    unsent: usize,
    done: oneshot::Sender<usize>,
}

/// What woke the task.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
struct Ready {
    replies: bool,
    own: bool,
    multicast: bool,
    relay: bool,
    inbox: bool,
    due: bool,
    writable: bool,
}

/// Whether the loop goes on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Turn {
    Again,
    Stop,
}

impl Task {
    pub(crate) fn new(
        driver: Driver,
        outside: Outside,
        clock: Clock,
        shared: Arc<Shared>,
        dropper: Option<Dropper>,
    ) -> (Self, watch::Receiver<Pulse>) {
        let config = &driver.node().config().multicast;
        let (round, send_queue_bytes) = (config.round, config.send_queue_bytes);
        let (pulse, watched) = watch::channel(Pulse::of(driver.node()));
        let due = driver.node().poll_timeout();
        let task = Self {
            driver,
            outside,
            clock,
            shared,
            pulse,
            dropper,
            memory: None,
            _beside: JoinSet::new(),
            round,
            send_queue_bytes,
            due,
            alarm: Box::pin(tokio::time::sleep(Duration::ZERO)),
            alarm_at: None,
            owes_yield: false,
            messages: VecDeque::new(),
            commands: Vec::new(),
            flushes: Vec::new(),
            asking: BTreeMap::new(),
            rules_changes: 0,
            closing: None,
        };
        (task, watched)
    }

    /// Lets the member remember whom it knows, and things go on beside the loop that end with it.
    pub(crate) fn with(mut self, memory: Option<Memory>, beside: JoinSet<()>) -> Self {
        (self.memory, self._beside) = (memory, beside);
        self
    }

    /// Runs until the node is closed or dropped.
    pub(crate) async fn run(mut self) {
        loop {
            let ready = poll_fn(|cx| self.poll_ready(cx)).await;
            if self.turn(ready) == Turn::Stop {
                break;
            }
        }
        if let Some(memory) = self.memory.take() {
            memory.finish(self.driver.node().acquaintances()).await;
        }
        if let Some(Closing { done, unsent, .. }) = self.closing.take() {
            // Whoever closed it may have stopped waiting.
            let _ = done.send(unsent);
        }
    }

    // --- waiting

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Ready> {
        let readable = |socket: &BatchedSocket, cx: &mut Context<'_>| {
            // An error is found again, and counted, by whoever reads.
            socket.poll_readable(cx).is_ready()
        };
        let replies = &self.outside.replies.sockets;
        let ready = Ready {
            // Each is asked, since each must wake this task.
            replies: replies.iter().flatten().fold(false, |any, it| readable(it, cx) | any),
            own: readable(&self.outside.own, cx),
            multicast: self.outside.multicast.as_ref().is_some_and(|socket| readable(socket, cx)),
            relay: self.outside.tunnel.as_ref().is_some_and(|it| it.poll_readable(cx).is_ready()),
            inbox: self.shared.inbox.poll(self.room(), cx),
            due: self.poll_due(cx),
            writable: self.driver.is_blocked() && self.outside.poll_writable(cx).is_ready(),
        };
        if ready == Ready::default() {
            self.owes_yield = false;
            return Poll::Pending;
        }
        if std::mem::take(&mut self.owes_yield) {
            // Subscribers on the same thread would else wait for a lull.
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        Poll::Ready(ready)
    }

    /// Whether something is due; if not, the alarm is set for when it will be.
    fn poll_due(&mut self, cx: &mut Context<'_>) -> bool {
        let Some(due) = self.next_due() else { return false };
        if due <= self.clock.monotonic() {
            return true;
        }
        if self.alarm_at != Some(due) {
            self.alarm.as_mut().reset(self.clock.deadline(due));
            self.alarm_at = Some(due);
        }
        let rang = self.alarm.as_mut().poll(cx).is_ready();
        if rang {
            self.alarm_at = None;
        }
        rang
    }

    fn next_due(&self) -> Option<Instant> {
        let closing =
            self.closing.as_ref().map(|closing| closing.linger_until.unwrap_or(closing.deadline));
        let memory = self.memory.as_ref().map(Memory::due);
        [self.due, closing, memory].into_iter().flatten().min()
    }

    fn room(&self) -> Room {
        if !self.messages.is_empty() {
            return Room { bytes: 0, empty: false };
        }
        let waiting = self.driver.node().send_queue_bytes();
        Room { bytes: self.send_queue_bytes.saturating_sub(waiting), empty: waiting == 0 }
    }

    // --- a turn

    fn turn(&mut self, ready: Ready) -> Turn {
        self.outside.stats.turns += 1;
        let now = self.clock.now();
        self.outside.traffic.turn(now.monotonic);
        self.receive(ready, now);
        let inbox = ready.inbox || !self.messages.is_empty();
        if inbox && self.take_inbox(now) == Turn::Stop {
            self.stop(now);
            return Turn::Stop;
        }
        if self.due.is_some_and(|due| due <= now.monotonic) {
            self.driver.handle_timeout(now);
            // Of a pattern that matches nothing no message would tell.
            for pattern in self.outside.hub.take_deserted_patterns() {
                let _ = self.driver.subscribe_pattern(now, &pattern, Start::Live, Rating::NONE);
            }
        }
        if let Some(port) = self.outside.replies.on_turn(self.driver.node(), now.monotonic) {
            self.driver.set_reply_port(now, port);
        }
        // What nobody here reads any more need not come.
        for topic in self.outside.hub.take_deserted() {
            self.driver.rate(now, topic, Rating::NONE);
        }
        self.drain(now);
        self.tell_rules();
        if let Some(memory) = &mut self.memory {
            memory.on_turn(self.driver.node(), now.monotonic);
        }
        self.tell_progress(now)
    }

    fn receive(&mut self, ready: Ready, now: Now) {
        let Self { driver, outside, dropper, .. } = self;
        if !ready.replies && !ready.own && !ready.multicast && !ready.relay {
            return;
        }
        let Outside { own, multicast, tunnel, by_relay, stats, replies, traffic, .. } = outside;
        let tunnel = tunnel.as_ref().filter(|_| ready.relay);
        let mut relayed = relay::receive(tunnel);
        if let (Some(address), true) = (tunnel.and_then(relay::new_address), *by_relay) {
            driver.set_address(now, address);
        }
        let Replies { sockets, heard, .. } = replies;
        let mut datagrams = Vec::with_capacity(DATAGRAMS_PER_TURN);
        for socket in sockets.iter_mut().flatten().filter(|_| ready.replies) {
            read(socket, dropper.as_mut(), stats, &mut datagrams);
        }
        *heard += datagrams.len() as u64;
        stats.reply_datagrams += datagrams.len() as u64;
        let own = Some(own).filter(|_| ready.own);
        let multicast = multicast.as_mut().filter(|_| ready.multicast);
        for socket in own.into_iter().chain(multicast) {
            read(socket, dropper.as_mut(), stats, &mut datagrams);
        }
        for Incoming { from, segment_bytes, bytes } in &mut relayed {
            for bytes in bytes.chunks_mut(*segment_bytes) {
                if dropper.as_mut().is_some_and(Dropper::drops) {
                    stats.dropped_on_purpose += 1;
                } else {
                    datagrams.push(Datagram { from: *from, bytes });
                }
            }
        }
        if !datagrams.is_empty() {
            traffic.received(&datagrams);
            driver.handle_datagrams(now, &mut datagrams);
        }
    }

    fn take_inbox(&mut self, now: Now) -> Turn {
        let room = self.room();
        self.shared.inbox.take(room, &mut self.messages, &mut self.commands);
        for command in &self.commands {
            match command {
                // Before the messages: whether they may go is a question of the topic's text, and
                // how many are kept is one of what was said before they were published.
                Command::Topic(text) => drop(self.driver.topic(text)),
                Command::Keep { topic, keep } => self.driver.keep(now, *topic, *keep),
                _ => (),
            }
        }
        while let Some((topic, draft)) = self.messages.front() {
            // Sizes were checked before, and nothing comes after the good-bye: if the core will not
            // have it, it is for want of room, and it waits.
            let published = self.driver.publish(now, *topic, draft.clone());
            if matches!(published, Err(PublishError::Full { .. })) {
                break;
            }
            self.messages.pop_front();
        }
        let mut commands = std::mem::take(&mut self.commands);
        let stops = commands.drain(..).any(|command| self.on_command(command, now) == Turn::Stop);
        self.commands = commands;
        if stops { Turn::Stop } else { Turn::Again }
    }

    /// What is asked for of topics.
    fn on_topic_command(&mut self, command: Command, now: Now) {
        let Self { driver, outside, .. } = self;
        match command {
            Command::Subscribe { topic, start, queue } => {
                // What was told already is remembered.
                let known = outside.hub.has_history(topic);
                let untold = if known { Start::Live } else { start };
                match driver.subscribe(now, topic, untold) {
                    Ok(()) => {
                        driver.rate(now, topic, outside.hub.rating(topic));
                        outside.hub.tidy(|stream| driver.node().kept_from(stream));
                        outside.hub.add(topic, Reader { queue, start });
                    }
                    // The handle looked at the rules, too.
                    Err(_) => queue.close(),
                }
            }
            Command::SubscribePattern { pattern, start, rating, queue } => {
                let known = outside.hub.start_of(&pattern);
                let most = if known == Some(Start::Buffered) { Start::Buffered } else { start };
                match driver.subscribe_pattern(now, &pattern, most, rating) {
                    Ok(()) => {
                        outside.hub.tidy(|stream| driver.node().kept_from(stream));
                        outside.hub.add_pattern(pattern, Reader { queue, start });
                    }
                    Err(_) => queue.close(),
                }
            }
            Command::Rate { topic, rating } if outside.hub.rate(topic, rating) => {
                driver.rate(now, topic, rating);
            }
            Command::RatePattern { pattern, rating } => {
                if let Some(start) = outside.hub.start_of(&pattern) {
                    // It is one of those that there are: they are not too many.
                    let _ = driver.subscribe_pattern(now, &pattern, start, rating);
                }
            }
            _ => (),
        }
    }

    fn on_command(&mut self, command: Command, now: Now) -> Turn {
        // Whoever asked may have stopped waiting for the answer; that is theirs to decide.
        match command {
            // They were told before the messages.
            Command::Topic(_) | Command::Keep { .. } => (),
            command @ (Command::Subscribe { .. }
            | Command::SubscribePattern { .. }
            | Command::Rate { .. }
            | Command::RatePattern { .. }) => self.on_topic_command(command, now),
            Command::Flush(done) => self.flushes.push(done),
            Command::Stats(answer) => drop(answer.send(self.stats())),
            Command::Members(answer) => {
                drop(answer.send(self.driver.node().members().collect()));
            }
            Command::Look(Look(look)) => look(self.driver.node()),
            Command::Drop(dropper) => self.dropper = Some(dropper),
            Command::Follow { one_in, queue, answer } => {
                self.driver.follow_messages(Some(one_in));
                self.outside.follower = Some(queue);
                let _ = answer.send(self.clock);
            }
            Command::Topics(answer) => drop(answer.send(self.driver.node().topics())),
            Command::Traffic(answer) => drop(answer.send(self.outside.traffic.told())),
            Command::SetAttributes { attributes, answer } => {
                drop(answer.send(self.driver.set_attributes(now, &attributes)));
            }
            Command::SetSummary { zone, name, sql, lasts, answer } => {
                let function = sql.as_deref().map(|sql| NewFunction { sql, lasts });
                drop(answer.send(self.driver.set_summary(now, &zone, &name, function)));
            }
            Command::PutObject { name, bytes, answer } => {
                drop(answer.send(self.driver.put_object(now, name, bytes)));
            }
            Command::FetchObject { object, answer } => {
                let _ = answer.send(self.driver.fetch_object(now, object));
            }
            Command::Order { order, answer } => {
                drop(answer.send(self.driver.give_order(now, order)));
            }
            Command::Renew(renewal) => self.renew(*renewal, now),
            Command::AddSeeds(seeds) => self.driver.add_seeds(now, &seeds),
            Command::AskPath { whom, question } => self.driver.ask_path(now, whom, question),
            Command::UsePath(direct) => {
                if let Some(address) = self.outside.use_path(direct) {
                    self.driver.set_address(now, address);
                }
            }
            Command::Ask { question, answer } => match self.driver.ask(now, &question) {
                Ok(id) => drop(self.asking.insert(id, answer)),
                Err(error) => drop(answer.send(Err(error))),
            },
            Command::Close { within, done } => {
                let deadline = now.monotonic + within;
                self.closing = Some(Closing { deadline, linger_until: None, unsent: 0, done });
            }
            // While it is closing the handle is gone too, and its good-bye goes on.
            Command::Stop if self.closing.is_some() => (),
            Command::Stop => return Turn::Stop,
        }
        Turn::Again
    }

    /// Goes on with what the files say now; what is wrong with them changes nothing.
    fn renew(&mut self, renewal: Renewal, now: Now) {
        let Renewal { security, roots, revocations, said } = renewal;
        let lists = revocations.iter().try_for_each(|list| {
            self.driver.heed_revocations(now, list).map_err(|error| error.to_string())
        });
        let trusted = self.driver.trust_roots(now, &roots);
        let renewed = trusted.and_then(|()| self.driver.renew_security(now, &security));
        if let (Ok(()), Some(tunnel)) = (&renewed, &self.outside.tunnel) {
            tunnel.renew(security.chain);
        }
        match lists.and_then(|()| renewed.map_err(|error| error.to_string())) {
            Ok(()) => {
                tracing::info!(said, "certificates, roots, rules and revocations were read again");
            }
            Err(error) => tracing::warn!(
                error,
                "certificates, roots, rules or revocations have changed, and are not heeded as \
                 they are: mend the file, which is then read again"
            ),
        }
    }

    /// Has handles ask the rules that hold now.
    fn tell_rules(&mut self) {
        let node = self.driver.node();
        if self.rules_changes != node.rules_changes() {
            self.rules_changes = node.rules_changes();
            self.shared.rules.set(node.rules().map(|(name, policy)| Rules::new(name, policy)));
        }
    }

    fn drain(&mut self, now: Now) {
        self.due = self.driver.drain(now, &mut self.outside);
        if self.outside.follower.take_if(|follower| follower.is_closed()).is_some() {
            self.driver.follow_messages(None);
        }
        for (question, answer) in self.outside.answers.drain(..) {
            if let Some(asked) = self.asking.remove(&question) {
                let _ = asked.send(Ok(answer));
            }
        }
        for (topic, text) in self.outside.hub.take_met() {
            self.shared.texts.note(topic, &text);
        }
        let kept_from = |stream: &StreamId| self.driver.node().kept_from(stream);
        let (told, dropped) = self.outside.hub.hand_over(kept_from);
        self.owes_yield |= told;
        self.outside.stats.messages_lagged += dropped;
    }

    /// Tells those who wait for something that came about in this turn.
    fn tell_progress(&mut self, now: Now) -> Turn {
        let pulse = Pulse::of(self.driver.node());
        self.pulse.send_if_modified(|known| std::mem::replace(known, pulse) != pulse);
        if self.flushes.is_empty() && self.closing.is_none() {
            return Turn::Again;
        }
        let unsent = self.unsent();
        let flushed = unsent == 0 && !self.driver.is_blocked();
        if flushed {
            for done in self.flushes.drain(..) {
                let _ = done.send(());
            }
        }
        let Some(closing) = &mut self.closing else { return Turn::Again };
        let now_at = now.monotonic;
        if closing.linger_until.is_none() && (flushed || now_at >= closing.deadline) {
            let published = self.driver.node().stats().messages_published > 0;
            let linger =
                if published && flushed { self.round * LINGER_ROUNDS } else { Duration::ZERO };
            closing.linger_until = Some(now_at + linger);
        }
        if closing.linger_until.is_none_or(|until| now_at < until) {
            return Turn::Again;
        }
        closing.unsent = unsent;
        self.stop(now);
        Turn::Stop
    }

    /// Bytes of messages that are not on the wire. An empty message counts as one.
    fn unsent(&self) -> usize {
        let (bytes, any) = self.shared.inbox.waiting();
        let held: usize = self.messages.iter().map(|(_, draft)| draft.bytes() + 1).sum();
        self.driver.node().send_queue_bytes() + held + bytes.max(usize::from(any))
    }

    /// Says good-bye; what the sockets do not take at once stays unsaid.
    fn stop(&mut self, now: Now) {
        self.driver.leave(now);
        self.drain(now);
    }

    fn stats(&self) -> Stats {
        let relay = self.outside.tunnel.as_ref().map(Tunnel::stats).unwrap_or_default();
        Stats { protocol: self.driver.node().stats(), runtime: self.outside.stats, relay }
    }
}

/// Takes in what has come to a socket, up to a bound.
fn read<'a>(
    socket: &'a mut BatchedSocket,
    mut dropper: Option<&mut Dropper>,
    stats: &mut RuntimeStats,
    datagrams: &mut Vec<Datagram<'a>>,
) {
    stats.receives += 1;
    if let Err(error) = socket.receive() {
        stats.count(SocketError::classify(&error), &error);
    }
    for run in socket.runs() {
        for bytes in run.bytes.chunks_mut(run.segment_bytes) {
            if dropper.as_mut().is_some_and(|dropper| dropper.drops()) {
                stats.dropped_on_purpose += 1;
            } else {
                datagrams.push(Datagram { from: run.from, bytes });
            }
        }
    }
}

/// Also when the core has panicked: whoever waits for this member must hear that it is gone.
impl Drop for Task {
    fn drop(&mut self) {
        // There is but one task per node, so nobody has set it before.
        let _ = self.shared.last.set(self.stats());
        self.shared.inbox.close();
        self.outside.hub.close();
    }
}
