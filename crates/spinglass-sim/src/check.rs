//! The checkers: what must hold in every run, whatever the faults [RELIABILITY 4.1].
//!
//! | | holds if |
//! |---|---|
//! | BM-1 | what is delivered was published, letter by letter |
//! | BM-2, BM-3 | a member's messages reach a receiver's life in order, each at most once |
//! | BM-4 | between two messages that are not neighbours there is a gap, in its place, and final |
//! | BM-6 | buffers stay within their bound |
//! | BM-7 | digests, tails and repairs stay within their bounds per round; no packet goes to the same member twice in one round; nothing is offered that is missing |
//! | BM-10 | a packet that a relay damaged is not delivered |
//! | BM-11 | no (stream, number) ever has two contents, restarts included |
//! | link | no (key, counter) is used twice |

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::net::SocketAddr;

use bytes::Bytes;
use spinglass_core::frame::Frame;
use spinglass_core::link::Header;
use spinglass_core::multicast::Entry;
use spinglass_core::table::{Name, Row, Value};
use spinglass_core::wire::Reader;
use spinglass_core::{
    Destinations, Draft, Event, Gap, Instant, Message, Node, Sequence, StreamId, Transmit,
};

use crate::crypto::mix;
use crate::world::{Observer, World};

/// Bytes of the shortest message: who, which life, which one.
pub const PAYLOAD_BYTES_MIN: usize = 20;
/// Numbers of a digest's entry that are looked at: its newest.
const ENTRY_LOOK_BACK: u64 = 64;
/// Violations kept; the first tells most.
pub(crate) const VIOLATIONS_MAX: usize = 16;

/// What a message has for headers: every other one has any.
fn headers(index: u64) -> Row {
    let number = if index % 2 == 1 { i64::try_from(index).ok() } else { None };
    Name::new("index").into_iter().zip(number.map(Value::Int)).collect()
}

/// A message that tells everything about itself.
#[must_use]
pub fn payload(member: usize, life: u64, index: u64, bytes: usize) -> Bytes {
    let mut payload = Vec::with_capacity(bytes.max(PAYLOAD_BYTES_MIN));
    payload.extend_from_slice(&u32::try_from(member).unwrap_or(u32::MAX).to_le_bytes());
    payload.extend_from_slice(&life.to_le_bytes());
    payload.extend_from_slice(&index.to_le_bytes());
    let filler = mix(life ^ index, &member.to_le_bytes()).to_le_bytes();
    payload.resize(bytes.max(PAYLOAD_BYTES_MIN), 0);
    for (byte, fill) in payload.iter_mut().skip(PAYLOAD_BYTES_MIN).zip(filler.iter().cycle()) {
        *byte = *fill;
    }
    payload.into()
}

/// Who published a message, in which life, as which one; `None` if nobody did.
#[must_use]
pub fn read_payload(bytes: &Bytes) -> Option<(usize, u64, u64)> {
    let (member, rest) = bytes.split_first_chunk::<4>()?;
    let (life, rest) = rest.split_first_chunk::<8>()?;
    let (index, _) = rest.split_first_chunk::<8>()?;
    let member = u32::from_le_bytes(*member) as usize;
    let (life, index) = (u64::from_le_bytes(*life), u64::from_le_bytes(*index));
    (payload(member, life, index, bytes.len()) == bytes).then_some((member, life, index))
}

/// Something that must never happen, and did.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct Violation {
    /// Which invariant.
    pub invariant: &'static str,
    /// At whom.
    pub member: usize,
    /// When, in nanoseconds of virtual time.
    pub at: u64,
    /// What.
    pub what: String,
}

impl fmt::Display for Violation {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { invariant, member, at, what } = self;
        write!(formatter, "{invariant} at member {member}, {} ms: {what}", at / 1_000_000)
    }
}

/// Watches a run.
#[derive(Debug, Default)]
pub struct Checker {
    /// What was published: how many messages by (member, life).
    published: BTreeMap<(usize, u64), u64>,
    heard: BTreeMap<(usize, u64, StreamId), Heard>,
    /// What was delivered, by (receiver, receiver's life, sender, sender's life): the indices.
    pub delivered: BTreeMap<(usize, u64, usize, u64), u64>,
    /// Messages delivered, and gaps told, in all.
    pub messages: u64,
    /// Gaps told, in all.
    pub gaps: u64,
    contents: BTreeMap<(StreamId, u64), u64>,
    repairs: BTreeMap<usize, Served>,
    /// Whether frames are looked into: only checksums leave them readable.
    look_inside: bool,
    /// Members whose datagrams are damaged on purpose: what they send is not what they said.
    pub tampered: BTreeSet<usize>,
    violations: Vec<Violation>,
}

/// A round of a member: of which life, and which.
type Round = (u64, u32);

/// What a member served in one round: whom what, and how many bytes of packets.
#[derive(Debug, Default)]
struct Served {
    round: Round,
    packets: BTreeSet<Repaired>,
    bytes: usize,
}

/// A packet that was sent to somebody as a repair.
type Repaired = (SocketAddr, StreamId, u64);

#[derive(Debug, Default)]
struct Heard {
    index: Option<u64>,
    /// Packets below this are behind: delivered or given up.
    covered: u64,
    /// Whether a gap was told since the last message.
    gap: bool,
}

impl Checker {
    /// A checker that also looks into datagrams, for worlds without real cryptography.
    #[must_use]
    pub fn new(look_inside: bool) -> Self {
        Self { look_inside, ..Self::default() }
    }

    /// What went wrong.
    #[must_use]
    pub fn violations(&self) -> &[Violation] {
        &self.violations
    }

    /// The next message of a member's present life.
    pub fn publish(&mut self, member: usize, life: u64, bytes: usize) -> Draft {
        let count = self.published.entry((member, life)).or_default();
        let index = *count;
        *count += 1;
        Draft { headers: headers(index), payload: payload(member, life, index, bytes) }
    }

    /// Takes back a message that the core refused.
    pub fn refuse(&mut self, member: usize, life: u64) {
        if let Some(count) = self.published.get_mut(&(member, life)) {
            *count -= 1;
        }
    }

    /// How many messages a member has published in a life.
    #[must_use]
    pub fn published(&self, member: usize, life: u64) -> u64 {
        self.published.get(&(member, life)).copied().unwrap_or(0)
    }

    fn violate(&mut self, invariant: &'static str, member: usize, at: Instant, what: String) {
        if self.violations.len() < VIOLATIONS_MAX {
            self.violations.push(Violation { invariant, member, at: at.as_nanos(), what });
        }
    }

    /// Notes that something did not happen that had to.
    pub fn violate_liveness(&mut self, world: &World, what: String) {
        self.violate("liveness", 0, world.now().monotonic, what);
    }

    fn on_message(&mut self, at: Instant, member: usize, life: u64, message: &Message) {
        self.messages += 1;
        let Some((sender, sender_life, index)) = read_payload(&message.payload) else {
            let what = format!("{message:?} was never published");
            return self.violate("BM-1/BM-10", member, at, what);
        };
        if message.headers != headers(index) {
            let what = format!("{message:?} has {:?}", message.headers);
            return self.violate("BM-1/BM-10", member, at, what);
        }
        if index >= self.published(sender, sender_life) {
            let what = format!("message {index} of {sender}/{sender_life} is not published yet");
            self.violate("BM-1", member, at, what);
        }
        *self.delivered.entry((member, life, sender, sender_life)).or_default() += 1;
        let heard = self.heard.entry((member, life, message.stream)).or_default();
        let (last, covered, gap) = (heard.index, heard.covered, heard.gap);
        heard.index = Some(index);
        heard.covered = covered.max(message.last.0);
        heard.gap = false;
        if last.is_some_and(|last| index <= last) {
            let what = format!("message {index} after {last:?} of {:?}", message.stream);
            self.violate("BM-2/BM-3", member, at, what);
        } else if last.is_some_and(|last| index > last + 1) && !gap {
            let what = format!("message {index} after {last:?}, no gap between");
            self.violate("BM-4", member, at, what);
        }
        if message.first.0 < covered {
            let what = format!("{message:?} starts before packet {covered}, which is behind");
            self.violate("BM-4", member, at, what);
        }
    }

    fn on_gap(&mut self, at: Instant, member: usize, life: u64, gap: &Gap) {
        self.gaps += 1;
        let heard = self.heard.entry((member, life, gap.stream)).or_default();
        let covered = heard.covered;
        heard.gap = true;
        heard.covered = covered.max(gap.from.0 + gap.packets);
        if gap.packets == 0 || gap.from.0 < covered {
            self.violate("BM-4", member, at, format!("{gap:?} while {covered} is behind"));
        }
    }

    /// Looks at the packets of a datagram: contents by number, repairs by receiver and round.
    fn look(
        &mut self,
        (at, member): (Instant, usize),
        node: &Node,
        to: &Destinations,
        datagram: &[u8],
    ) {
        let Ok((_, header)) = Header::parse(datagram) else { return };
        let frames = datagram.get(header..datagram.len().saturating_sub(16));
        let mut reader = Reader::new(frames.unwrap_or(&[]));
        while let Some(Ok(frame)) = Frame::next(&mut reader) {
            match frame {
                Frame::Spread(packet)
                    if packet.header.stream.sender == node.id()
                        && !self.tampered.contains(&member) =>
                {
                    let key = (packet.header.stream, packet.header.sequence.0);
                    let content = mix(1, packet.leaf);
                    if *self.contents.entry(key).or_insert(content) != content {
                        self.violate("BM-11", member, at, format!("{key:?} has two contents"));
                    }
                }
                // Of a tamperer's packets others' numbers may have been made.
                Frame::Repair(packet) if !self.tampered.contains(&member) => {
                    let Destinations::Members(members) = to else { continue };
                    let (stream, number) = (packet.header.stream, packet.header.sequence.0);
                    let round = (node.incarnation().0, node.round());
                    let served = self.repairs.entry(member).or_default();
                    if served.round != round {
                        *served = Served { round, ..Served::default() };
                    }
                    served.bytes += packet.bytes.len();
                    let over = served.bytes > node.config().multicast.repair_bytes_per_round;
                    if members.iter().any(|to| !served.packets.insert((*to, stream, number))) {
                        let what =
                            format!("packet {number} of {stream:?} repaired twice in a round");
                        self.violate("BM-7", member, at, what);
                    }
                    if over {
                        let what = format!("more repairs in round {round:?} than it may send");
                        self.violate("BM-7", member, at, what);
                    }
                }
                Frame::Tail(digest) if !self.tampered.contains(&member) => {
                    for entry in &digest.entries {
                        self.check_entry((at, member), node, entry);
                    }
                }
                _ => (),
            }
        }
    }

    /// What a digest offers, its sender has.
    fn check_entry(&mut self, (at, member): (Instant, usize), node: &Node, entry: &Entry) {
        let newest = entry.low.max(entry.high.saturating_sub(ENTRY_LOOK_BACK))..entry.high;
        let told = |number: &u64| entry.missing.iter().any(|range| range.contains(number));
        let mut offered = newest.filter(|number| !told(number));
        if let Some(lacks) = offered.find(|it| node.is_missing(&entry.stream, Sequence(*it))) {
            self.violate("BM-7", member, at, format!("packet {lacks} is offered and missing"));
        }
    }

    /// Compares every member's counters and buffers with their bounds.
    pub fn check_bounds(&mut self, world: &World) {
        let at = world.now().monotonic;
        for member in 0..world.len() {
            let stats = world.stats(member);
            let Some(node) = world.node(member) else { continue };
            node.check_invariants();
            let config = &node.config().multicast;
            let rounds = stats.rounds + world.life(member);
            let digests = stats.digests_sent - stats.tails_sent;
            let bounds = [
                ("digests", digests, rounds * u64::from(config.digest_fanout) + 8),
                ("tails", stats.tails_sent, rounds * 16),
                (
                    "repair bytes",
                    stats.repair_bytes_sent,
                    // Seals and headers come on top of the packets that are counted.
                    rounds * config.repair_bytes_per_round as u64 * 5 / 4,
                ),
            ];
            for (what, got, bound) in bounds {
                if got > bound {
                    let what = format!("{got} {what} in {rounds} rounds, the bound is {bound}");
                    self.violate("BM-7", member, at, what);
                }
            }
            let buffered = node.stats().buffered_bytes;
            // One batch may overshoot before it is trimmed.
            if buffered > config.buffer_bytes_max as u64 + (2 << 20) {
                self.violate("BM-6", member, at, format!("{buffered} bytes buffered"));
            }
        }
        let reused = world.oracle().reused();
        if reused > 0 {
            self.violate("link", 0, at, format!("{reused} (key, counter) pairs used twice"));
        }
    }
}

impl Observer for Checker {
    fn event(&mut self, at: Instant, member: usize, life: u64, event: &Event) {
        match event {
            Event::Message(message) => self.on_message(at, member, life, message),
            Event::Gap(gap) => self.on_gap(at, member, life, gap),
            _ => (),
        }
    }

    fn sent(
        &mut self,
        at: Instant,
        member: usize,
        node: &Node,
        transmit: &Transmit,
        segments: &[u8],
    ) {
        if self.look_inside {
            for datagram in segments.chunks(transmit.segment_bytes.max(1)) {
                self.look((at, member), node, &transmit.to, datagram);
            }
        }
    }
}
