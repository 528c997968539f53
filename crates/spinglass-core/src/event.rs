//! What a node tells its host, and what it asks the host to send.

use alloc::string::String;
use alloc::vec::Vec;
use core::fmt;
use core::net::SocketAddr;

use bytes::Bytes;
use spinglass_summary::Row;

use crate::id::{Incarnation, MemberId, Sequence, StreamId};

/// What the application hears about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// A whole message, in its sender's order.
    Message(Message),
    /// Packets of a stream that were given up, in their place in the stream. Every message that
    /// lies wholly or partly in them is lost; nothing of it is delivered later.
    Gap(Gap),
    /// From here on a stream is told from what is kept or still held, since somebody subscribed to
    /// its topic so, perhaps after others. What follows of it, as far as it ends before a packet,
    /// is for them alone: who subscribed to what comes has had it, or did not ask for it.
    Kept {
        /// The stream.
        stream: StreamId,
        /// The packet.
        until: Sequence,
    },
    /// A member appeared, or came back in a new life.
    MemberUp(Member),
    /// A member left, or was silent for too long.
    MemberDown {
        /// Who.
        id: MemberId,
        /// Which life of it.
        incarnation: Incarnation,
        /// Why.
        reason: DownReason,
    },
    /// A member has been proven to lie, and is heard no more: what it said is dropped, and what it
    /// says refused. If it is this member itself, somebody else signs with its key, or its disk and
    /// clock were set back at once: others refuse it, and it needs a new key.
    Quarantined {
        /// Who.
        id: MemberId,
        /// What of.
        offence: Offence,
    },
    /// The row that speaks for a zone of this member's path says for some rounds what the zone's
    /// rows, as they are held here, do not: its issuer is mistaken, or lies.
    FalseSummary {
        /// The zone, such as `/usa`.
        zone: String,
        /// Who issued its row.
        issuer: MemberId,
    },
}

/// What two things, signed by one member under one number, prove.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Offence {
    /// Two packets of one stream and sequence.
    TwoPackets,
    /// Two rows of one life and counter.
    TwoRows,
}

/// A delivered message.
#[derive(Clone, PartialEq, Eq)]
pub struct Message {
    /// The stream it came by.
    pub stream: StreamId,
    /// The packet in which it starts.
    pub first: Sequence,
    /// The packet in which it ends.
    pub last: Sequence,
    /// Named values, if its sender gave it any.
    pub headers: Row,
    /// Its bytes, 0 to 16 MiB.
    pub payload: Bytes,
}

/// A run of packets that this member will never deliver.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Gap {
    /// The stream.
    pub stream: StreamId,
    /// The first packet given up.
    pub from: Sequence,
    /// How many packets, at least 1.
    pub packets: u64,
}

/// A member, as its signed record describes it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Member {
    /// Its name.
    pub id: MemberId,
    /// Its life.
    pub incarnation: Incarnation,
    /// Where it receives.
    pub address: SocketAddr,
    /// Its region, such as `/usa/ithaca`.
    pub region: String,
}

/// Why a member is gone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DownReason {
    /// It said good-bye.
    Left,
    /// Nothing was heard of it for the configured while.
    Silent,
    /// A newer life of it appeared.
    Restarted,
}

/// Where a transmit goes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Destinations {
    /// To each of these addresses, the same bytes. At most [`DESTINATIONS_MAX`].
    Members(Vec<SocketAddr>),
    /// To the group's IP multicast address.
    Multicast,
    /// To this address, by the host's own socket, however else it sends: the question is how that
    /// is seen.
    Own(SocketAddr),
    /// To this address, from a port that nobody has sent to: the question is who gets through.
    Fresh(SocketAddr),
}

/// The most unicast destinations of one transmit: a bound on what one poll can make a host do.
pub const DESTINATIONS_MAX: usize = 64;

/// A run of sealed datagrams of equal size for the same destinations, made for one offloaded send.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Transmit {
    /// Where they go.
    pub to: Destinations,
    /// Bytes of each datagram; the last one may be shorter.
    pub segment_bytes: usize,
}

/// A datagram that arrived. It is opened in place.
#[derive(Debug)]
pub struct Datagram<'a> {
    /// The address it came from.
    pub from: SocketAddr,
    /// Its bytes.
    pub bytes: &'a mut [u8],
}

/// Why an input from the network was ignored. Nothing changed, nothing was answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Reject {
    /// Shorter than a header and a tag, or longer than any datagram.
    Length,
    /// A wire version that this build does not speak.
    Version,
    /// An epoch whose key this member does not hold.
    Epoch,
    /// Sealed by a boot that this member has not met.
    UnknownBoot,
    /// Seen before, or older than the replay window.
    Replayed,
    /// The tag does not match: damaged, forged, or another group's.
    Unsealed,
    /// Sealed by a group member, yet its frames do not parse.
    Malformed,
    /// A signature or a proof does not verify.
    Forged,
    /// A packet or record of a member that this one has not met.
    UnknownSender,
    /// A life of a member that is over.
    StaleIncarnation,
    /// This member's own datagram, come back (IP multicast does that).
    Own,
    /// A row that has no place in the tables held here, or says that it was issued in the future.
    Misplaced,
    /// Of a member without a certificate, or whose certificate has not come yet.
    Uncertified,
    /// A chain of certificates that does not hold.
    BadCertificate,
    /// Of a member whose certificate names another region or node, or a zone elsewhere.
    Misnamed,
    /// Of a member whose certificate holds no longer, or not yet.
    Expired,
    /// Something that the rules deny to who did it.
    Denied,
    /// Of a member whose certificate was revoked, or that an order has everybody shun.
    Revoked,
    /// Of a member that was proven to lie.
    Quarantined,
}

impl Reject {
    /// How many kinds there are.
    pub const COUNT: usize = 19;
    /// Every kind, in order.
    pub const ALL: [Self; Self::COUNT] = [
        Self::Length,
        Self::Version,
        Self::Epoch,
        Self::UnknownBoot,
        Self::Replayed,
        Self::Unsealed,
        Self::Malformed,
        Self::Forged,
        Self::UnknownSender,
        Self::StaleIncarnation,
        Self::Own,
        Self::Misplaced,
        Self::Uncertified,
        Self::BadCertificate,
        Self::Misnamed,
        Self::Expired,
        Self::Denied,
        Self::Revoked,
        Self::Quarantined,
    ];
}

impl fmt::Display for Reject {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Length => "length",
            Self::Version => "version",
            Self::Epoch => "epoch",
            Self::UnknownBoot => "unknown_boot",
            Self::Replayed => "replayed",
            Self::Unsealed => "unsealed",
            Self::Malformed => "malformed",
            Self::Forged => "forged",
            Self::UnknownSender => "unknown_sender",
            Self::StaleIncarnation => "stale_incarnation",
            Self::Own => "own",
            Self::Misplaced => "misplaced",
            Self::Uncertified => "uncertified",
            Self::BadCertificate => "bad_certificate",
            Self::Misnamed => "misnamed",
            Self::Expired => "expired",
            Self::Denied => "denied",
            Self::Revoked => "revoked",
            Self::Quarantined => "quarantined",
        })
    }
}

impl core::error::Error for Reject {}

impl fmt::Debug for Message {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { stream, first, last, payload, .. } = self;
        write!(formatter, "Message({stream:?} {}..={} {} B)", first.0, last.0, payload.len())
    }
}
