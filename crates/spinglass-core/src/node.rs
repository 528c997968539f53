//! A member: link, membership and multicast, composed, with nothing of their logic in it.
//!
//! Input: [`Node::handle_datagrams`], [`Node::handle_timeout`], and verbs ([`Node::publish`],
//! [`Node::subscribe`], [`Node::leave`]). Output, to be asked for after every input:
//! [`Node::poll_transmit`], then [`Node::poll_event`] and [`Node::poll_answer`], then
//! [`Node::poll_timeout`]. Hosts do not call these themselves: [`Driver`](crate::Driver) does.

use alloc::boxed::Box;
use alloc::collections::VecDeque;
use alloc::string::String;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::net::SocketAddr;
use core::num::{NonZeroU16, NonZeroU32};

use smallvec::SmallVec;

use crate::config::{Checked, Config, ConfigError};
use crate::crypto::{Crypto, Epoch, Hash, Salt};
use crate::detector::Detector;
use crate::discovery::Discovery;
use crate::draft::Draft;
use crate::error::{NodeError, PublishError};
use crate::event::{Datagram, Event, Reject};
use crate::frame::Frame;
use crate::id::{Incarnation, MemberId, TopicId};
use crate::knock::Knocks;
use crate::link::{Boot, Link, Opened, Sealer};
use crate::members::{MemberRecord, Members};
use crate::multicast::{Candidate, Cx, Digest, Multicast, Via};
use crate::object::Objects;
use crate::outbox::Outbox;
use crate::path::Paths;
use crate::quarantine::Quarantine;
use crate::query::Queries;
use crate::record::{Beginnings, Entry};
use crate::rng::Prng;
use crate::stats::Stats;
use crate::table::{RowKey, Table, ZonePath};
use crate::time::{Instant, Now};
use crate::timer::{Timer, Timers};
use crate::trace::{Sighting, Tracer};
use crate::trust::Trust;
use crate::wire::Reader;
use orders::Orders;

/// The bundle that sub-protocols work with, borrowed from a node field by field.
macro_rules! cx {
    ($node:ident, $now:expr) => {{
        $node.members.look(&$node.table);
        Cx {
            now: $now,
            members: &mut $node.members,
            crypto: &mut *$node.crypto,
            outbox: &mut $node.outbox,
            timers: &mut $node.timers,
            events: &mut $node.events,
            stats: &mut $node.stats,
            quarantine: &mut $node.quarantine,
            tracer: &mut $node.tracer,
        }
    }};
}

/// The bundle that the table works with, borrowed from a node field by field.
macro_rules! table_cx {
    ($node:ident, $wall_ms:expr) => {
        TableCx {
            wall_ms: $wall_ms,
            crypto: &mut *$node.crypto,
            outbox: &mut $node.outbox,
            stats: &mut $node.stats,
        }
    };
}

mod detector;
mod discovery;
mod doubts;
mod getters;
mod knock;
mod object;
mod orders;
mod packets;
mod path;
mod quarantine;
mod query;
mod records;
mod reply;
mod table;
mod topics;
mod transmit;
mod trust;

pub use orders::ORDERS_TOPIC;
pub use reply::REPLY_PORT_LIFE;

/// Datagrams and packets of a batch that need no memory of their own: most batches are small.
const FEW: usize = 4;
/// Requests for records sent in one round at most.
const WHO_IS_PER_ROUND: u32 = 16;

/// What the host knows of this member before it starts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Identity {
    /// This life's number: `max(persisted, wall-clock seconds) + 1`.
    pub incarnation: Incarnation,
    /// 128 bits from the operating system, drawn anew at every start.
    pub salt: Salt,
    /// Where other members reach this one.
    pub address: SocketAddr,
    /// Its region, such as `/usa/ithaca`: the zone in whose table its row stands.
    pub region: ZonePath,
    /// What people call it, at most [`NAME_BYTES_MAX`] bytes; its row's `id`. Empty: the beginning
    /// of its member's name.
    pub name: String,
}

/// Bytes of the longest name of a member, or of a summary function.
pub const NAME_BYTES_MAX: usize = 64;

/// One member of the group.
#[derive(Debug)]
pub struct Node {
    config: Checked,
    identity: Identity,
    /// The seed of all its random numbers, and when it was made.
    seed: u64,
    made: Now,
    crypto: Box<dyn Crypto>,
    link: Link,
    own: Arc<MemberRecord>,
    members: Members,
    multicast: Multicast,
    table: Table,
    detector: Detector,
    discovery: Discovery,
    queries: Queries,
    objects: Objects,
    object_rng: Prng,
    /// In certified mode.
    trust: Option<Box<Trust>>,
    /// In certified mode.
    orders: Option<Box<Orders>>,
    quarantine: Quarantine,
    outbox: Outbox,
    timers: Timers,
    events: VecDeque<Event>,
    tracer: Tracer,
    /// Leaf hashes of a batch; empty between batches but for its memory.
    hashes: Vec<Hash>,
    stats: Stats,
    /// When the first round began; all others follow from it.
    first_round: Instant,
    /// The same of the table's rounds.
    first_table_round: Instant,
    who_is_left: u32,
    paths: Paths,
    /// Where the datagram that is being looked at came from.
    source: Option<SocketAddr>,
    /// Where this member wants answers, if not where it receives everything else.
    reply_port: Option<NonZeroU16>,
    reply_ports: reply::ReplyPorts,
    doubts: doubts::Doubts,
    has_left: bool,
}

impl Node {
    /// A member that will join the group through `seeds`.
    ///
    /// # Errors
    /// The name is too long; `crypto` has no key for the epoch; or its own certificates do not let
    /// it take part.
    pub fn new(
        config: Checked,
        mut identity: Identity,
        mut crypto: Box<dyn Crypto>,
        seed: u64,
        seeds: Vec<SocketAddr>,
        now: Now,
    ) -> Result<Self, NodeError> {
        let settings = config.get();
        check_name(&identity.name)?;
        let sender = MemberId::of_key(&crypto.public_key(), &mut *crypto);
        let boot = Boot { sender, salt: identity.salt, generation: 0 };
        let epoch = settings.link.epoch;
        let link = new_link(epoch, boot, &mut *crypto)?;
        let trust = trust::new_trust(settings, &mut identity, sender, now, &mut *crypto)?;
        let (trust, certificate) = trust.unzip();
        let Identity { incarnation, address, ref region, .. } = identity;
        let said = (region.clone(), certificate);
        let own = MemberRecord::sign(&boot, incarnation, address, said, &mut *crypto).into();
        let rng = Prng::new(seed);
        let mut members = Members::new(&settings.members, &own, rng.fork("members"));
        let mut multicast = Multicast::new(
            settings.multicast.clone(),
            (sender, incarnation),
            transmit::packet_room(settings),
            now.monotonic,
            rng.fork("multicast"),
        );
        let table = table::new_table(settings, &identity, sender, seeds, &rng, &mut *crypto);
        let (detector, first_probe) = detector::new_detector(settings, sender, now.monotonic, &rng);
        let queries = query::new_queries(settings, now.monotonic, &rng);
        let first_round = first_round(settings, now.monotonic, &mut rng.fork("phase"));
        let first_table_round = table::first_round(settings, now.monotonic, &rng);
        let discovery = Discovery::new(settings.discovery.clone(), rng.fork("discovery"));
        let mut timers = Timers::default();
        timers.set(Timer::Round, first_round);
        timers.set(Timer::Table, table::first_look(now.monotonic, first_table_round));
        timers.set_if(Timer::Probe, first_probe);
        timers.set_if(Timer::Announce, discovery::first_turn(&discovery, now.monotonic, &rng));
        let knocks = Knocks::new(settings.link.keyless, rng.fork("knocks"));
        let parts = (&mut multicast, &mut members);
        let orders = || Orders::new((sender, epoch), parts, knocks, &mut *crypto);
        let orders = trust.is_some().then(orders).map(Box::new);
        Ok(Self {
            identity,
            seed,
            made: now,
            link,
            own,
            members,
            multicast,
            table,
            detector,
            discovery,
            queries,
            objects: Objects::new(settings.objects.clone()),
            object_rng: rng.fork("objects"),
            crypto,
            trust: trust.map(Box::new),
            orders,
            quarantine: Quarantine::default(),
            outbox: Outbox::default(),
            timers,
            events: VecDeque::new(),
            tracer: Tracer::default(),
            hashes: Vec::new(),
            stats: Stats { signatures_made: 1, ..Stats::default() },
            first_round,
            first_table_round,
            who_is_left: WHO_IS_PER_ROUND,
            paths: Paths::new(rng.fork("paths")),
            source: None,
            reply_port: None,
            reply_ports: reply::ReplyPorts::default(),
            doubts: doubts::Doubts::new(rng.fork("doubts")),
            has_left: false,
            config,
        })
    }

    /// The entry that a recording of this node needs to make it again.
    #[must_use]
    pub fn beginnings(&self) -> Entry<'static> {
        Entry::Beginnings(Box::new(Beginnings {
            config: self.config.get().clone(),
            identity: self.identity.clone(),
            public_key: self.own.public_key,
            seed: self.seed,
            seeds: self.table.seeds_given().into(),
            now: self.made,
        }))
    }

    // --- inputs

    /// Takes datagrams in, in the order they arrived. They are opened in place; what is refused is
    /// counted in [`Stats::rejected`] and changes nothing else.
    pub fn handle_datagrams(&mut self, now: Now, batch: &mut [Datagram<'_>]) {
        let mut opened = SmallVec::<[_; FEW]>::new();
        for (index, datagram) in batch.iter_mut().enumerate() {
            self.stats.inputs += 1;
            self.stats.datagrams_received += 1;
            self.stats.bytes_received += datagram.bytes.len() as u64;
            if self.is_strange(datagram.bytes) {
                self.on_strange(datagram.from, datagram.bytes, now);
                continue;
            }
            let find = |name| self.members.boot_named(name).cloned();
            match self.link.open(datagram.bytes, find, &mut *self.crypto) {
                Ok(open) => opened.push((index, open)),
                Err(reject) => {
                    self.on_unopened(datagram.from, reject);
                    self.stats.reject(reject);
                }
            }
        }
        if !opened.is_empty() {
            self.on_opened();
        }
        let batch: &[Datagram<'_>] = batch;
        let mut candidates = SmallVec::new();
        let mut sources = SmallVec::<[_; FEW]>::new();
        for (index, open) in opened {
            let Some(Datagram { from, bytes }) = batch.get(index) else { continue };
            if !self.doubts.admits(*from) {
                self.stats.reject(Reject::Forged);
                continue;
            }
            self.source = Some(*from);
            let bytes = bytes.get(open.frames.clone()).unwrap_or(&[]);
            if let Err(reject) = self.on_frames(&open, bytes, &mut candidates, now) {
                self.doubts.note(*from, reject);
                self.stats.reject(reject);
            }
            sources.resize(candidates.len(), *from);
            self.outbox.answer(None);
        }
        self.on_packets(&candidates, &sources, now);
        self.act_on_proofs(now);
        self.ask_for_certificates();
    }

    /// Runs whatever is due.
    pub fn handle_timeout(&mut self, now: Now) {
        self.stats.inputs += 1;
        let Now { monotonic, wall_ms } = now;
        for timer in Timer::ALL {
            if !self.timers.take_due(timer, monotonic) {
                continue;
            }
            match timer {
                Timer::Round => {
                    self.on_round(monotonic);
                    self.rotate_if_due(now);
                }
                Timer::Solicit => self.multicast.on_solicit_due(&mut cx!(self, monotonic)),
                Timer::Tail => self.multicast.on_tail_due(&mut cx!(self, monotonic)),
                // What may be published is asked for by `poll_transmit`.
                Timer::Pace => (),
                Timer::Table => self.on_table_round(now),
                Timer::News => self.on_table_news(monotonic, wall_ms),
                Timer::Probe => self.on_probe_due(monotonic),
                Timer::Announce => self.on_announce_due(monotonic),
                Timer::Query => self.on_query_due(now),
                Timer::Object => self.on_objects_due(monotonic),
            }
        }
    }

    /// Publishes a message: it waits for its turn at the pace that was set, then leaves. The member
    /// itself does not hear it.
    ///
    /// # Errors
    /// The message is too large, the queue is full, the member has left, or the rules deny it;
    /// nothing changed.
    pub fn publish(&mut self, now: Now, topic: TopicId, draft: Draft) -> Result<(), PublishError> {
        self.stats.inputs += 1;
        if self.has_left {
            return Err(PublishError::Left);
        }
        draft.check().map_err(PublishError::TooLarge)?;
        if let Some(trust) = &mut self.trust {
            trust.check_publish(topic, &self.members).map_err(PublishError::Denied)?;
        }
        let limit = self.config.get().multicast.send_queue_bytes;
        let waiting = self.multicast.waiting();
        if waiting > 0 && waiting + draft.bytes() > limit {
            return Err(PublishError::Full { limit });
        }
        self.stats.messages_published += 1;
        self.multicast.publish(topic, draft, now.monotonic);
        Ok(())
    }

    /// Says good-bye. What was published before still leaves, and repairs are still answered, for
    /// as long as the host goes on driving.
    pub fn leave(&mut self, now: Now) {
        self.stats.inputs += 1;
        if self.has_left {
            return;
        }
        self.has_left = true;
        self.leave_table(now);
    }

    // --- outputs

    /// What the application should hear next.
    pub fn poll_event(&mut self) -> Option<Event> {
        while let Some(event) = self.events.pop_front() {
            // What is missing of the orders' messages comes by the table.
            if !self.is_gap_in_orders(&event) {
                return Some(event);
            }
        }
        None
    }

    /// Follows one in so many packets in which messages start from now on, or with none no more:
    /// see [`poll_sighting`](Self::poll_sighting). All members choose the same ones.
    pub fn follow_messages(&mut self, one_in: Option<NonZeroU32>) {
        self.tracer.follow(one_in);
    }

    /// What was seen next of the packets that are followed. A thousand wait at most; others are
    /// counted as [`Stats::sightings_missed`].
    pub fn poll_sighting(&mut self) -> Option<Sighting> {
        self.tracer.poll()
    }

    /// When the node next wants [`handle_timeout`](Self::handle_timeout).
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Instant> {
        self.timers.next()
    }

    // --- frames

    /// Takes in an opened datagram's frames; packets are left in `candidates`, to be hashed
    /// together.
    fn on_frames<'a>(
        &mut self,
        opened: &Opened,
        frames: &'a [u8],
        candidates: &mut SmallVec<[Candidate<'a>; FEW]>,
        now: Now,
    ) -> Result<(), Reject> {
        let mut reader = Reader::new(frames);
        self.orders.iter_mut().for_each(|orders| orders.heard_under = opened.mark.0);
        let from = match opened.sealer {
            Sealer::Known(from) => {
                self.check_sealer(from, now)?;
                from
            }
            Sealer::Claimed(boot) => {
                if !self.on_first_frames(&mut reader, boot, opened, now)? {
                    return Ok(());
                }
                boot.sender
            }
        };
        while let Some(frame) = Frame::next(&mut reader) {
            self.on_frame(frame?, from, candidates, now)?;
        }
        Ok(())
    }

    fn on_frame<'a>(
        &mut self,
        frame: Frame<'a>,
        from: MemberId,
        candidates: &mut SmallVec<[Candidate<'a>; FEW]>,
        now: Now,
    ) -> Result<(), Reject> {
        // Answers go to the address that the member signed, not to where a datagram came from.
        let address = self.members.address_of(from);
        match (frame, address) {
            (Frame::Spread(packet), _) => {
                candidates.push(Candidate { packet, via: Via::Spread, from });
            }
            (Frame::Repair(packet), _) => {
                candidates.push(Candidate { packet, via: Via::Repair, from });
            }
            (Frame::Record(record), _) => {
                self.on_record(record, from, now)?;
            }
            (Frame::Certificate(chain), _) => self.on_certificate(chain, now)?,
            (Frame::Exhibit(exhibit), _) => return self.on_exhibit(&exhibit, from, now),
            (Frame::Unknown, _) => self.stats.frames_skipped += 1,
            (Frame::PathQuestion(it), _) => self.on_path_question(from, self.source, it),
            (Frame::PathAnswer(answer), _) => self.on_path_answer(from, answer),
            (Frame::Row(row), _) => return self.on_table_row(row, from, now),
            (_, None) => return Err(Reject::UnknownSender),
            (Frame::Digest(digest), Some(address)) => {
                self.on_digest((from, address), &digest, now.monotonic);
            }
            (Frame::Tail(digest), Some(address)) => {
                let (from, cx) = ((from, address), &mut cx!(self, now.monotonic));
                self.multicast.on_tail(from, &digest, cx);
            }
            (Frame::Solicit(solicit), Some(address)) => {
                self.multicast.on_solicit((from, address), &solicit, &mut cx!(self, now.monotonic));
            }
            (Frame::WhoIs(members), Some(to)) => self.on_who_is(to, &members),
            (Frame::WhatTopic(topics), Some(to)) => self.on_what_topic(to, &topics),
            (Frame::Topic(text), Some(_)) => self.on_topic_text(text, now.monotonic),
            (Frame::Whose(members), Some(to)) => self.on_whose(to, &members),
            (Frame::KeyAsk(ask), Some(address)) => {
                return self.on_key_ask((from, address), &ask, now);
            }
            (Frame::KeyGive(give), Some(_)) => self.on_key_give(&give, now),
            (Frame::ReplyPort(port), Some(address)) => {
                self.on_reply_port(address, port, now.monotonic);
            }
            (Frame::Proven(proven), Some(to)) => self.on_proven(to, &proven),
            (Frame::Announce, Some(address)) => self.on_announcement(from, address),
            (
                frame @ (Frame::Probe(_)
                | Frame::Answer(_)
                | Frame::Doubt(_)
                | Frame::Accusations(_)),
                Some(address),
            ) => return self.on_detector_frame(frame, address, now.monotonic),
            (Frame::Query(message), Some(to)) => return self.on_query((from, to), message, now),
            (
                frame @ (Frame::Seek(_) | Frame::Have(_) | Frame::Ask(_) | Frame::Piece(_)),
                Some(address),
            ) => return self.on_object_frame(&frame, address, now.monotonic),
            (frame, Some(address)) => return self.on_table_frame(frame, (from, address), now),
        }
        Ok(())
    }

    // --- membership

    fn on_digest(&mut self, from: (MemberId, SocketAddr), digest: &Digest, now: Instant) {
        let senders = digest.entries.iter().map(|entry| entry.stream.sender);
        let mut unknown: Vec<_> = senders.filter(|id| self.members.find(*id).is_none()).collect();
        unknown.dedup();
        if !unknown.is_empty() {
            self.ask_who_is(from.0, unknown);
        }
        let is_cut_off = self.detector.has_removed(RowKey::of_hash(Hash(from.0.0)), &self.table);
        self.multicast.on_digest(from, digest, is_cut_off, &mut cx!(self, now));
    }

    fn on_round(&mut self, now: Instant) {
        let interval = self.config.get().multicast.round;
        let passed = now.since(self.first_round).as_nanos() / interval.as_nanos().max(1);
        // Rounds are counted by the clock: a member that slept skips some, and does not catch up.
        // Number 1 is what lies before the first of them.
        let next = u32::try_from(passed).unwrap_or(u32::MAX).saturating_add(1);
        let round = next.saturating_add(1);
        self.timers.set(Timer::Round, self.first_round + interval * next);
        self.stats.rounds += 1;
        self.who_is_left = WHO_IS_PER_ROUND;
        self.paths.on_round();
        self.doubts.on_round();
        if self.link.is_spent() {
            self.link.renew(&mut *self.crypto);
            self.renew_record();
        }
        self.trust.iter_mut().for_each(|trust| trust.on_round(round));
        self.on_epoch_round(round, now);
        self.quarantine.on_round();
        self.pass_proofs_on();
        self.members.on_round(round, self.table.agents_in_all());
        self.multicast.on_round(round, &mut cx!(self, now));
        self.name_topics(now);
        // Whoever takes nothing says so, too, once it had time to begin.
        if round.is_multiple_of(topics::INTEREST_ROUNDS) {
            self.tell_interest(now);
        }
    }
}

fn new_link(epoch: Epoch, boot: Boot, crypto: &mut dyn Crypto) -> Result<Link, ConfigError> {
    let no_key = ConfigError { setting: "link.epoch", value: epoch.0.into(), low: 0, high: 255 };
    Link::new(epoch, boot, crypto).ok_or(no_key)
}

fn check_name(name: &str) -> Result<(), ConfigError> {
    let (value, high) = (name.len() as u64, NAME_BYTES_MAX as u64);
    if value > high {
        return Err(ConfigError { setting: "name (bytes)", value, low: 0, high });
    }
    Ok(())
}

/// When the first round begins: at a random phase, unless rounds are aligned to the clock.
fn first_round(config: &Config, now: Instant, rng: &mut Prng) -> Instant {
    let interval = config.multicast.round;
    let nanos = u64::try_from(interval.as_nanos()).unwrap_or(u64::MAX);
    let phase = if config.multicast.rounds_aligned {
        nanos - now.as_nanos() % nanos
    } else {
        rng.below(nanos)
    };
    now + core::time::Duration::from_nanos(phase)
}
