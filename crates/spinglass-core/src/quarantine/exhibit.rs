//! Halves of proofs, and what is said of whole ones.
//!
//! ```text
//!  exhibit of a packet   the packet, proof and all
//!  proven                kind u8: 0 | a row
//!                        kind u8: 1 these are proven, 2 prove it of these | members of 16, 1 to 8
//! ```

use alloc::sync::Arc;
use alloc::vec::Vec;

use bytes::Bytes;

use crate::event::Offence;
use crate::frame::{self, FRAME_HEADER_BYTES};
use crate::id::{MemberId, StreamId};
use crate::multicast::PacketRef;
use crate::table::{Kind, TableRow, UnverifiedRow, Version};
use crate::wire::{Malformed, Put, Reader};

/// Members that one frame speaks of at most: 128 bytes beside a digest.
pub const PROVEN_MAX: usize = 8;
/// Bytes of the longest frame that speaks of members.
pub(crate) const PROVEN_BYTES_MAX: usize = FRAME_HEADER_BYTES + 1 + 16 * PROVEN_MAX;

const ROW: u8 = 0;
const PROVEN: u8 = 1;
const PROVE: u8 = 2;
const SIGNATURE_BYTES: usize = 64;

/// Half of a proof off the wire, whose signature nobody has looked at.
#[derive(Debug, Clone)]
pub enum ExhibitRef<'a> {
    /// A packet.
    Packet(PacketRef<'a>),
    /// An agent's row.
    Row(UnverifiedRow<'a>),
}

/// Members of whom proofs are held, or asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Proven {
    /// Whether this is a request for the proofs.
    pub is_question: bool,
    /// Whom.
    pub members: Vec<MemberId>,
}

/// What the frame that is not a packet's holds.
#[derive(Debug, Clone)]
pub(crate) enum Body<'a> {
    Exhibit(ExhibitRef<'a>),
    Proven(Proven),
}

impl<'a> Body<'a> {
    pub(crate) fn parse(bytes: &'a [u8]) -> Result<Self, Malformed> {
        let mut reader = Reader::new(bytes);
        let kind = reader.u8()?;
        if kind == ROW {
            let row = UnverifiedRow::parse(reader.rest())?;
            let is_agent = row.kind() == Kind::Agent;
            return is_agent.then_some(Self::Exhibit(ExhibitRef::Row(row))).ok_or(Malformed);
        }
        let mut members = Vec::new();
        while !reader.is_empty() {
            members.push(MemberId(reader.array()?));
        }
        let is_question = match kind {
            PROVEN => false,
            PROVE => true,
            _ => return Err(Malformed),
        };
        let some = (1..=PROVEN_MAX).contains(&members.len());
        some.then_some(Self::Proven(Proven { is_question, members })).ok_or(Malformed)
    }
}

impl ExhibitRef<'_> {
    /// Appends what was read, as it was read, but for a packet's frame type.
    pub(crate) fn encode(&self, buffer: &mut Vec<u8>) {
        match self {
            Self::Packet(packet) => buffer.put(packet.bytes),
            Self::Row(row) => {
                buffer.put_u8(ROW);
                row.encode(buffer);
            }
        }
    }
}

impl Proven {
    /// Appends the members, and whether it is a request.
    pub fn encode(&self, buffer: &mut Vec<u8>) {
        buffer.put_u8(if self.is_question { PROVE } else { PROVEN });
        self.members.iter().take(PROVEN_MAX).for_each(|member| buffer.put(&member.0));
    }
}

/// A verified half of a proof.
#[derive(Debug, Clone)]
pub(crate) enum Exhibit {
    Packet { stream: StreamId, sequence: u64, leaf: usize, bytes: Bytes },
    Row(Arc<TableRow>),
}

/// What may be said once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Number {
    Packet(StreamId, u64),
    Row(MemberId, Version),
}

impl Exhibit {
    /// A packet that was verified, of these bytes.
    pub(crate) fn of_packet(packet: &PacketRef<'_>, bytes: Bytes) -> Self {
        let (stream, sequence) = (packet.header.stream, packet.header.sequence.0);
        Self::Packet { stream, sequence, leaf: packet.content_end(), bytes }
    }

    /// Whose it is.
    pub(crate) fn member(&self) -> MemberId {
        match self {
            Self::Packet { stream, .. } => stream.sender,
            Self::Row(row) => row.member(),
        }
    }

    pub(super) const fn offence(&self) -> Offence {
        match self {
            Self::Packet { .. } => Offence::TwoPackets,
            Self::Row(_) => Offence::TwoRows,
        }
    }

    pub(super) fn number(&self) -> Number {
        match self {
            Self::Packet { stream, sequence, .. } => Number::Packet(*stream, *sequence),
            Self::Row(row) => Number::Row(row.member(), row.version()),
        }
    }

    /// What was signed: signatures of one thing may differ.
    pub(super) fn said(&self) -> &[u8] {
        match self {
            Self::Packet { leaf, bytes, .. } => bytes.get(..*leaf).unwrap_or(bytes),
            Self::Row(row) => {
                let bytes = row.encoded();
                bytes.split_last_chunk::<SIGNATURE_BYTES>().map_or(bytes, |(body, _)| body)
            }
        }
    }

    /// Bytes of its frame.
    pub(crate) fn frame_bytes(&self) -> usize {
        FRAME_HEADER_BYTES
            + match self {
                Self::Packet { bytes, .. } => bytes.len(),
                Self::Row(row) => 1 + row.encoded().len(),
            }
    }

    /// Appends its frame.
    pub(crate) fn put(&self, buffer: &mut Vec<u8>) {
        match self {
            Self::Packet { bytes, .. } => frame::put_exhibit(buffer, |buffer| buffer.put(bytes)),
            Self::Row(row) => frame::put_proven(buffer, |buffer| {
                buffer.put_u8(ROW);
                buffer.put(row.encoded());
            }),
        }
    }
}
