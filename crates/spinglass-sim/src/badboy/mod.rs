//! A certified member that turned hostile: a real core, whose host changes what it sends and adds
//! to it [RELIABILITY 2, T-10 to T-16].
//!
//! It has what an insider has: its own certificate, identity and link keys, and everything that its
//! core has heard. So its datagrams open, and what it signs is signed by a member; what others
//! sign it can repeat, hold back or damage, and not make. Everything that it sends is sealed anew
//! under its own link key with counters of its own.

mod forge;

use std::collections::{BTreeSet, VecDeque};
use std::fmt;
use std::net::SocketAddr;

use spinglass_core::crypto::{Crypto, Domain, Epoch, LinkKey, Salt, TAG_BYTES};
use spinglass_core::frame::{self, Frame, PacketKind};
use spinglass_core::link::{Boot, Header, HeaderBoot};
use spinglass_core::multicast::{Digest, PacketRef, Sample, sign_burst};
use spinglass_core::wire::Reader;
use spinglass_core::{Destinations, MemberId, Node, Prng, Transmit};

/// A way to harm the others.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Way {
    /// Passes on nothing of others: neither packets nor repairs nor rows (T-10).
    Drop,
    /// Passes packets of others on, 3 s late (T-10).
    Delay,
    /// Says in digests that it has everything, and more (T-10).
    Boast,
    /// Sends packets, rows, records, accusations and proofs in others' names (T-11).
    Forge,
    /// Signs two packets of one number (T-12).
    TwoPackets,
    /// Signs two rows of one version (T-12).
    TwoRows,
    /// Accuses everybody in its region, in every round (T-13).
    Accuse,
    /// Signs rows of far-future times and of the highest versions (T-14).
    FarFuture,
    /// Asks for everything, sends digests of strange streams, and junk (T-15).
    Abuse,
    /// Speaks falsely for its region (T-16).
    Mislead,
    /// Holds each packet of others with a bit turned in its content, after it verified it. Not
    /// hostile, but broken.
    BrokenPackets,
    /// The same of rows.
    BrokenRows,
}

impl Way {
    /// All of T-10 to T-15, but for equivocation, which is found out and ends the rest.
    pub const LASTING: [Self; 6] =
        [Self::Drop, Self::Boast, Self::Forge, Self::Accuse, Self::FarFuture, Self::Abuse];
}

/// Nanoseconds between two attacks: a round of the multicast.
const ROUND_NANOS: u64 = 100_000_000;
/// How late what is delayed leaves.
const DELAY_NANOS: u64 = 3_000_000_000;
/// Datagrams delayed at once at most; further ones are dropped.
const DELAYED_MAX: usize = 4096;
/// Members attacked in one round.
const TARGETS: usize = 4;
/// Packets of others remembered, to be damaged.
const SEEN_MAX: usize = 64;

/// A hostile member's host: it stands between its core and the network, a simulated one or a real.
pub struct Badboy {
    ways: BTreeSet<Way>,
    boot: Boot,
    key: LinkKey,
    counter: u64,
    crypto: Box<dyn Crypto>,
    rng: Prng,
    /// Everybody: names by place, and where they receive.
    others: Vec<(MemberId, SocketAddr)>,
    /// Frames that tell who it is: its certificates and its record.
    introduction: Vec<u8>,
    /// Whole packets of others.
    seen: VecDeque<Vec<u8>>,
    /// Records of others.
    records: VecDeque<Vec<u8>>,
    delayed: VecDeque<(u64, Transmit, Vec<u8>)>,
    /// Rows of the far future: made once, or they would prove two things under one number.
    far: Vec<Vec<u8>>,
    next_attack: u64,
    turn: u64,
}

/// A run of datagrams, as a host gets it.
pub type Sent = (Transmit, Vec<u8>);

impl fmt::Debug for Badboy {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Badboy").field("ways", &self.ways).finish_non_exhaustive()
    }
}

impl Badboy {
    /// One whose core began its life with this salt, and that has the same keys as its core.
    ///
    /// # Panics
    /// There is no key for the first epoch: a group's key is to be given from the start.
    pub fn new(
        salt: Salt,
        ways: BTreeSet<Way>,
        mut crypto: Box<dyn Crypto>,
        others: Vec<(MemberId, SocketAddr)>,
        seed: u64,
    ) -> Self {
        let own = crypto.public_key();
        let sender = MemberId::from_hash(crypto.hash(Domain::Member, &own.0));
        let boot = Boot { sender, salt, generation: 0 };
        let key = crypto.link_key(Epoch(0), &sender, &salt, 0).expect("there is a key");
        let mut rng = Prng::new(seed).fork("badboy");
        let next_attack = rng.below(ROUND_NANOS);
        Self {
            ways,
            boot,
            key,
            // Above whatever its core has sealed before it turned.
            counter: 1 << 40,
            crypto,
            rng,
            others,
            introduction: Vec::new(),
            seen: VecDeque::new(),
            records: VecDeque::new(),
            delayed: VecDeque::new(),
            far: Vec::new(),
            next_attack,
            turn: 0,
        }
    }

    /// Does it harm in this way?
    fn does(&self, way: Way) -> bool {
        self.ways.contains(&way)
    }

    /// What leaves in place of what its core sends, and beside it.
    pub fn rewrite(&mut self, now: u64, node: &Node, sent: Vec<Sent>) -> Vec<Sent> {
        let mut out = Vec::new();
        for (transmit, bytes) in sent {
            for datagram in bytes.chunks(transmit.segment_bytes.max(1)) {
                self.rewrite_datagram(now, &transmit.to, datagram, &mut out);
            }
        }
        while self.delayed.front().is_some_and(|(due, ..)| *due <= now) {
            out.extend(self.delayed.pop_front().map(|(_, transmit, bytes)| (transmit, bytes)));
        }
        if now >= self.next_attack {
            self.next_attack = now + ROUND_NANOS;
            self.turn += 1;
            self.attack(node, &mut out);
        }
        out
    }

    fn rewrite_datagram(
        &mut self,
        now: u64,
        to: &Destinations,
        datagram: &[u8],
        out: &mut Vec<Sent>,
    ) {
        let Ok((header, length)) = Header::parse(datagram) else { return };
        let Some(frames) = self.open(&header, datagram, length) else { return };
        let (mut kept, mut twin, mut late) = (Vec::new(), None, Vec::new());
        let mut reader = Reader::new(&frames);
        while let Some(Ok(frame)) = Frame::next(&mut reader) {
            match frame {
                Frame::Spread(packet) | Frame::Repair(packet)
                    if packet.header.stream.sender != self.boot.sender =>
                {
                    self.remember(packet.bytes);
                    if self.does(Way::BrokenPackets) {
                        let is_spread = matches!(frame, Frame::Spread(_));
                        let kind = if is_spread { PacketKind::Spread } else { PacketKind::Repair };
                        let broken = broken(packet.bytes, packet.content_end() - 1);
                        frame::put_packet(kind, &broken, &mut kept);
                    } else if self.does(Way::Delay) {
                        frame.encode(&mut late);
                    } else if !self.does(Way::Drop) {
                        frame.encode(&mut kept);
                    }
                }
                Frame::Spread(packet) | Frame::Repair(packet) if self.does(Way::TwoPackets) => {
                    let is_spread = matches!(frame, Frame::Spread(_));
                    let kind = if is_spread { PacketKind::Spread } else { PacketKind::Repair };
                    let mut bytes = kept.clone();
                    frame::put_packet(kind, &self.another(&packet), &mut bytes);
                    twin = Some(bytes);
                    frame.encode(&mut kept);
                }
                Frame::Row(ref row) if self.does(Way::Drop) && !self.is_own(row.bytes()) => (),
                Frame::Row(ref row) if self.does(Way::BrokenRows) && !self.is_own(row.bytes()) => {
                    // Before the signature stand the attributes.
                    let broken = broken(row.bytes(), row.bytes().len() - 65);
                    frame::put_row(&broken, &mut kept);
                }
                Frame::Digest(digest) if self.does(Way::Boast) => {
                    let digest = self.boast(digest);
                    frame::put_digest(false, &mut kept, |buffer| digest.encode(buffer));
                }
                Frame::Tail(digest) if self.does(Way::Boast) => {
                    let digest = self.boast(digest);
                    frame::put_digest(true, &mut kept, |buffer| digest.encode(buffer));
                }
                // What tells of other liars is no use to it.
                Frame::Exhibit(_) | Frame::Proven(_) => (),
                Frame::Record(ref record) => {
                    let before = kept.len();
                    frame.encode(&mut kept);
                    let bytes = kept.split_at(before).1.to_vec();
                    let id = record.clone().name(&mut *self.crypto);
                    self.note_record(id, bytes);
                }
                Frame::Certificate(_) => self.note_certificate(&frame, &mut kept),
                frame => frame.encode(&mut kept),
            }
        }
        let long = matches!(header.boot, HeaderBoot::Long(_));
        if !late.is_empty() && self.delayed.len() < DELAYED_MAX {
            let sealed = self.seal(long, &late);
            let transmit = Transmit { to: to.clone(), segment_bytes: sealed.len() };
            self.delayed.push_back((now + DELAY_NANOS, transmit, sealed));
        }
        if kept.is_empty() {
            return;
        }
        match twin {
            None => self.send(to.clone(), long, &kept, out),
            Some(twin) => self.send_halves(to, long, [&kept, &twin], out),
        }
    }

    /// What its core sealed.
    fn open(&mut self, header: &Header, datagram: &[u8], length: usize) -> Option<Vec<u8>> {
        if let HeaderBoot::Long(boot) = header.boot
            && boot != self.boot
        {
            self.key =
                self.crypto.link_key(header.epoch, &boot.sender, &boot.salt, boot.generation)?;
            self.boot = boot;
        }
        let (head, sealed) = datagram.split_at_checked(length)?;
        let mut sealed = sealed.to_vec();
        if !self.crypto.open(self.key, header.counter, head, &mut sealed) {
            return None;
        }
        sealed.truncate(sealed.len().saturating_sub(TAG_BYTES));
        Some(sealed)
    }

    /// One half of the group hears this, the other that.
    fn send_halves(
        &mut self,
        to: &Destinations,
        long: bool,
        halves: [&[u8]; 2],
        out: &mut Vec<Sent>,
    ) {
        let Destinations::Members(members) = to else { return };
        for (half, frames) in halves.into_iter().enumerate() {
            let place = |to: &SocketAddr| self.others.iter().position(|(_, other)| other == to);
            let of_half = |to: &&SocketAddr| place(to).unwrap_or(0) / 2 % 2 == half;
            let some: Vec<SocketAddr> = members.iter().filter(of_half).copied().collect();
            if !some.is_empty() {
                self.send(Destinations::Members(some), long, frames, out);
            }
        }
    }

    fn is_own(&self, row: &[u8]) -> bool {
        let key = self.crypto.public_key().0;
        row.windows(key.len()).any(|window| window == key)
    }

    fn remember(&mut self, packet: &[u8]) {
        if self.seen.len() >= SEEN_MAX {
            self.seen.pop_front();
        }
        self.seen.push_back(packet.to_vec());
    }

    /// Its own goes first wherever it is new.
    fn note_certificate(&mut self, frame: &Frame<'_>, kept: &mut Vec<u8>) {
        let before = kept.len();
        frame.encode(kept);
        if self.introduction.is_empty() {
            self.introduction = kept.split_at(before).1.to_vec();
        }
    }

    fn note_record(&mut self, id: MemberId, frame: Vec<u8>) {
        if id != self.boot.sender {
            if self.records.len() >= SEEN_MAX {
                self.records.pop_front();
            }
            self.records.push_back(frame);
        }
    }

    /// Another packet of the same number, as well signed.
    fn another(&mut self, packet: &PacketRef<'_>) -> Vec<u8> {
        let mut leaf = packet.leaf.to_vec();
        leaf.last_mut().into_iter().for_each(|byte| *byte ^= 1);
        let mut burst = [leaf];
        sign_burst(&mut burst, &mut *self.crypto);
        let [packet] = burst;
        packet
    }

    /// A digest that says that everything is here, and now and then more than there is.
    fn boast(&mut self, digest: Digest) -> Digest {
        let mut digest = digest;
        let own = self.boot.sender;
        for entry in digest.entries.iter_mut().filter(|entry| entry.stream.sender != own) {
            let more = if self.turn.is_multiple_of(4) { 1 + self.rng.below(100) } else { 0 };
            (entry.low, entry.high) = (0, entry.high.saturating_add(more));
            entry.missing.clear();
            let sequence = entry.high.saturating_sub(1 + more);
            let print = (self.rng.next_u64() as u32).to_le_bytes();
            entry.sample = (entry.high > 0).then_some(Sample { sequence, print });
        }
        digest
    }

    fn seal(&mut self, long: bool, frames: &[u8]) -> Vec<u8> {
        let name = self.boot.name(&mut *self.crypto);
        let boot = if long { HeaderBoot::Long(self.boot) } else { HeaderBoot::Short(name) };
        let mut datagram = Vec::with_capacity(frames.len() + 60);
        Header { epoch: Epoch(0), boot, counter: self.counter }.encode(&mut datagram);
        let mut sealed = frames.to_vec();
        let tag = self.crypto.seal(self.key, self.counter, &datagram, &mut sealed);
        self.counter += 1;
        datagram.extend_from_slice(&sealed);
        datagram.extend_from_slice(&tag);
        datagram
    }

    fn send(&mut self, to: Destinations, long: bool, frames: &[u8], out: &mut Vec<Sent>) {
        let sealed = self.seal(long, frames);
        out.push((Transmit { to, segment_bytes: sealed.len() }, sealed));
    }
}

/// The same bytes with a bit turned.
fn broken(bytes: &[u8], at: usize) -> Vec<u8> {
    let mut bytes = bytes.to_vec();
    bytes.iter_mut().skip(at).take(1).for_each(|byte| *byte ^= 4);
    bytes
}
