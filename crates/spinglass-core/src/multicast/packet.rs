//! A packet: the unit of dissemination, repair and trust.
//!
//! ```text
//!  leaf   topic 8 | sender 16 | incarnation u64 | sequence u64 | recent u32 | first u16 |
//!         kept u16 | load u8 | content
//!  proof  path 16 × depth | signature 64 | index u8 | count u8
//! ```
//!
//! A burst of up to 128 packets is signed once: their leaves are hashed into a binary tree (padded
//! with zero hashes to a power of two) and the root is signed. Each packet carries the siblings on
//! its way to the root, so that any relay can verify any one packet alone [DESIGN 5].

use alloc::collections::VecDeque;
use alloc::vec::Vec;

use crate::crypto::{Crypto, Domain, Hash, PublicKey, Signature};
use crate::id::{Incarnation, MemberId, Sequence, StreamId, TopicId};
use crate::load::Load;
use crate::rating::PacketKey;
use crate::wire::{Malformed, Put, Reader};

/// Bytes of a packet before its content.
pub const LEAF_HEADER_BYTES: usize = 49;
/// Packets that one signature covers at most.
pub const BURST_PACKETS_MAX: usize = 128;
/// In a packet's `first`: no message starts in it.
pub const NO_FIRST: u16 = u16::MAX;

const SIGNATURE_BYTES: usize = 64;
const HASH_BYTES: usize = 16;
/// What keeps a burst's signature from passing for one over anything else.
const SIGNING_DOMAIN: &[u8] = b"spinglass burst v1";
/// Verified bursts remembered. When full, the one used first is forgotten: its packets then cost
/// one more signature check.
const BURSTS_MAX: usize = 32;

/// Bytes that a proof adds to a packet of a burst of `count`.
#[must_use]
pub const fn proof_bytes(count: usize) -> usize {
    depth(count) * HASH_BYTES + SIGNATURE_BYTES + 2
}

/// Levels of the hash tree over `count` leaves.
const fn depth(count: usize) -> usize {
    count.next_power_of_two().trailing_zeros() as usize
}

/// What a packet says before its content.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PacketHeader {
    /// The stream it belongs to.
    pub stream: StreamId,
    /// Its number.
    pub sequence: Sequence,
    /// How many packets before it were first sent within the last few rounds: where somebody who
    /// was there all along, yet missed them all, begins.
    pub recent: u32,
    /// Where in the content the first message starts, or [`NO_FIRST`].
    pub first: u16,
    /// How many packets are kept for whoever comes later: the last ones, this one included.
    pub kept: u16,
    /// How busy the stream is.
    pub load: Load,
}

/// The header of a whole packet.
pub(super) fn header_of(packet: &[u8]) -> Option<PacketHeader> {
    PacketHeader::parse(&mut Reader::new(packet)).ok()
}

/// How busy the stream was, as a whole packet's header says it: its last byte.
pub(super) fn load_of(packet: &[u8]) -> Load {
    Load(packet.get(LEAF_HEADER_BYTES - 1).copied().unwrap_or_default())
}

impl PacketHeader {
    /// What decides who takes the packet.
    pub(crate) const fn key(&self) -> PacketKey {
        PacketKey { stream: self.stream, sequence: self.sequence.0, load: self.load }
    }

    /// Appends the header.
    pub fn encode(&self, buffer: &mut Vec<u8>) {
        buffer.put(&self.stream.topic.0);
        buffer.put(&self.stream.sender.0);
        buffer.put_u64(self.stream.incarnation.0);
        buffer.put_u64(self.sequence.0);
        buffer.put_u32(self.recent);
        buffer.put_u16(self.first);
        buffer.put_u16(self.kept);
        buffer.put_u8(self.load.0);
    }

    fn parse(reader: &mut Reader<'_>) -> Result<Self, Malformed> {
        let topic = TopicId(reader.array()?);
        let sender = MemberId(reader.array()?);
        let incarnation = Incarnation(reader.u64()?);
        let sequence = Sequence(reader.u64()?);
        let (recent, first) = (reader.u32()?, reader.u16()?);
        let (kept, load) = (reader.u16()?, Load(reader.u8()?));
        let is_before_all = |packets: u64| packets > sequence.0;
        if sequence.0 == u64::MAX
            || is_before_all(recent.into())
            || is_before_all(u64::from(kept).saturating_sub(1))
        {
            return Err(Malformed);
        }
        let stream = StreamId { topic, sender, incarnation };
        Ok(Self { stream, sequence, recent, first, kept, load })
    }
}

/// A packet that was parsed, not verified.
#[derive(Debug, Clone, Copy)]
pub struct PacketRef<'a> {
    /// The header.
    pub header: PacketHeader,
    /// The whole packet, proof included: what a repair sends.
    pub bytes: &'a [u8],
    /// Header and content: what is hashed.
    pub leaf: &'a [u8],
    path: &'a [u8],
    signature: Signature,
    index: u8,
    count: u8,
}

impl<'a> PacketRef<'a> {
    /// Reads a whole packet.
    ///
    /// # Errors
    /// It is none.
    pub fn parse(bytes: &'a [u8]) -> Result<Self, Malformed> {
        let (&[index, count], body) = {
            let (body, tail) = bytes.split_last_chunk::<2>().ok_or(Malformed)?;
            (tail, body)
        };
        let packets = usize::from(count);
        if packets == 0 || packets > BURST_PACKETS_MAX || index >= count {
            return Err(Malformed);
        }
        let (body, signature) = body.split_last_chunk::<SIGNATURE_BYTES>().ok_or(Malformed)?;
        let path_bytes = depth(packets) * HASH_BYTES;
        let leaf_bytes = body.len().checked_sub(path_bytes).ok_or(Malformed)?;
        let (leaf, path) = body.split_at(leaf_bytes);
        let mut reader = Reader::new(leaf);
        let header = PacketHeader::parse(&mut reader)?;
        let content = reader.rest().len();
        if content == 0 || header.first != NO_FIRST && usize::from(header.first) >= content {
            return Err(Malformed);
        }
        Ok(Self { header, bytes, leaf, path, signature: Signature(*signature), index, count })
    }

    /// Where in the packet's bytes its content ends; it starts at [`LEAF_HEADER_BYTES`].
    #[must_use]
    pub const fn content_end(&self) -> usize {
        self.leaf.len()
    }
}

/// Signs a burst: given each packet's leaf, appends to each its proof.
pub fn sign_burst(packets: &mut [Vec<u8>], crypto: &mut dyn Crypto) {
    let count = packets.len().min(BURST_PACKETS_MAX);
    let leaves: Vec<&[u8]> = packets.iter().map(Vec::as_slice).collect();
    let mut level = Vec::with_capacity(count.next_power_of_two());
    crypto.hash_many(Domain::Leaf, &leaves, &mut level);
    let mut levels = Vec::with_capacity(depth(count) + 1);
    level.resize(count.next_power_of_two(), Hash::default());
    while level.len() > 1 {
        let above = hash_pairs(&level, crypto);
        levels.push(core::mem::replace(&mut level, above));
    }
    let root = level.first().copied().unwrap_or_default();
    let count = u8::try_from(count).unwrap_or(u8::MAX);
    let signature = crypto.sign(&signed_bytes(root, count));
    for (index, packet) in (0_u8..).zip(packets) {
        for (above, level) in levels.iter().enumerate() {
            let sibling = usize::from(index) >> above ^ 1;
            packet.put(&level.get(sibling).copied().unwrap_or_default().0);
        }
        packet.put(&signature.0);
        packet.put(&[index, count]);
    }
}

fn hash_pairs(level: &[Hash], crypto: &mut dyn Crypto) -> Vec<Hash> {
    let joined: Vec<[u8; 2 * HASH_BYTES]> = level
        .chunks_exact(2)
        .map(|pair| join(pair.first().copied(), pair.last().copied()))
        .collect();
    let inputs: Vec<&[u8]> = joined.iter().map(<[u8; 2 * HASH_BYTES]>::as_slice).collect();
    let mut above = Vec::with_capacity(inputs.len());
    crypto.hash_many(Domain::Node, &inputs, &mut above);
    above
}

fn join(left: Option<Hash>, right: Option<Hash>) -> [u8; 2 * HASH_BYTES] {
    let mut joined = [0; 2 * HASH_BYTES];
    let (low, high) = joined.split_at_mut(HASH_BYTES);
    low.copy_from_slice(&left.unwrap_or_default().0);
    high.copy_from_slice(&right.unwrap_or_default().0);
    joined
}

fn signed_bytes(root: Hash, count: u8) -> Vec<u8> {
    let mut signed = Vec::with_capacity(SIGNING_DOMAIN.len() + HASH_BYTES + 1);
    signed.put(SIGNING_DOMAIN);
    signed.put_u8(count);
    signed.put(&root.0);
    signed
}

/// The trees of bursts seen of late, as far as they have been verified: a burst costs one signature
/// check, and most of its packets one or two node hashes.
#[derive(Debug, Default)]
pub struct VerifiedBursts {
    bursts: VecDeque<Burst>,
}

#[derive(Debug)]
struct Burst {
    stream: StreamId,
    signature: Signature,
    count: u8,
    /// Verified hashes as a heap: the root at 1, the children of k at 2k and 2k + 1.
    tree: Vec<Option<Hash>>,
}

impl VerifiedBursts {
    /// Whether a packet, whose leaf hashes to `leaf`, is its sender's. Counts a signature check in
    /// `checks` if it took one.
    pub fn verify(
        &mut self,
        packet: &PacketRef<'_>,
        leaf: Hash,
        key: &PublicKey,
        checks: &mut u64,
        crypto: &mut dyn Crypto,
    ) -> bool {
        // The newest first: packets of one burst come together.
        let at = self.bursts.iter().rposition(|burst| {
            burst.stream == packet.header.stream
                && burst.signature == packet.signature
                && burst.count == packet.count
        });
        let known: &[Option<Hash>] =
            at.and_then(|at| self.bursts.get(at)).map_or(&[], |burst| &burst.tree);
        let size = usize::from(packet.count).next_power_of_two();
        let mut place = size + usize::from(packet.index);
        let mut hash = leaf;
        let mut found = Found::default();
        let mut siblings = packet.path.as_chunks::<HASH_BYTES>().0.iter();
        loop {
            match known.get(place).copied().flatten() {
                Some(verified) if verified == hash => break,
                Some(_) => return false,
                None => found.push(place, hash),
            }
            let Some(sibling) = siblings.next().copied().map(Hash) else {
                *checks += 1;
                #[cfg(not(spinglass_bug = "signature_unchecked"))]
                if !crypto.verify(key, &signed_bytes(hash, packet.count), &packet.signature) {
                    return false;
                }
                #[cfg(spinglass_bug = "signature_unchecked")]
                let _ = key;
                break;
            };
            found.push(place ^ 1, sibling);
            let (left, right) = if place & 1 == 0 { (hash, sibling) } else { (sibling, hash) };
            hash = crypto.hash(Domain::Node, &join(Some(left), Some(right)));
            place >>= 1;
        }
        if packet.count > 1 {
            self.remember(at, packet, size, found);
        }
        true
    }

    fn remember(&mut self, at: Option<usize>, packet: &PacketRef<'_>, size: usize, found: Found) {
        if at.is_none() {
            if self.bursts.len() >= BURSTS_MAX {
                self.bursts.pop_front();
            }
            self.bursts.push_back(Burst {
                stream: packet.header.stream,
                signature: packet.signature,
                count: packet.count,
                tree: alloc::vec![None; 2 * size],
            });
        }
        let last = self.bursts.len().saturating_sub(1);
        let at = at.unwrap_or(last);
        let Some(burst) = self.bursts.get_mut(at) else { return };
        for (place, hash) in found.hashes.into_iter().take(found.count) {
            if let Some(slot) = burst.tree.get_mut(place) {
                *slot = Some(hash);
            }
        }
    }
}

/// The hashes that one verification has shown to belong to a tree: no allocation per packet.
#[derive(Debug, Default)]
struct Found {
    hashes: [(usize, Hash); 2 * depth(BURST_PACKETS_MAX) + 1],
    count: usize,
}

impl Found {
    fn push(&mut self, place: usize, hash: Hash) {
        if let Some(slot) = self.hashes.get_mut(self.count) {
            *slot = (place, hash);
            self.count += 1;
        }
    }
}
