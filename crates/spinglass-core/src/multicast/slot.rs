//! What a stream knows of each packet: held, missing, or neither.

use core::net::SocketAddr;
use core::time::Duration;

use bytes::Bytes;

use super::packet::{LEAF_HEADER_BYTES, load_of};
use crate::load::Load;
use crate::time::Instant;

/// What is known of one number.
#[derive(Debug)]
pub(super) enum Slot {
    /// It has not come, and is asked for.
    Missing,
    /// It is here.
    Held(Held),
    /// Delivered, and left to its long-term bufferers.
    Released,
    /// Given up.
    Lost,
    /// Not asked for: the rating does not take it.
    PassedOver,
    /// Not asked for: the stream was busier than is borne.
    Thinned,
}

/// A packet that is held for repair.
#[derive(Debug, Clone)]
pub(super) struct Held {
    /// The whole packet, as it is sent on.
    pub(super) packet: Bytes,
    pub(super) content_end: u16,
    pub(super) first: u16,
    /// The round in which it came.
    pub(super) round: u32,
    /// The round in which it was last asked for.
    pub(super) asked_round: u32,
}

impl Held {
    /// The part of the packet that carries messages.
    pub(super) fn content(&self) -> Bytes {
        self.packet.slice(LEAF_HEADER_BYTES..usize::from(self.content_end))
    }

    /// What of the packet its sender signed.
    pub(super) fn leaf(&self) -> &[u8] {
        self.packet.get(..usize::from(self.content_end)).unwrap_or(&self.packet)
    }

    /// How busy the stream was.
    pub(super) fn load(&self) -> Load {
        load_of(&self.packet)
    }

    /// Where in the content the first message starts.
    pub(super) const fn first(&self) -> u16 {
        self.first
    }
}

/// A packet that is missing.
#[derive(Debug, Clone, Copy)]
pub(super) struct Hole {
    /// When it was noticed.
    pub(super) since: Instant,
    /// In which round that was.
    pub(super) since_round: u32,
    /// When it was last asked for.
    pub(super) asked: Option<Instant>,
    /// Who was asked first, and when; no time if it was asked again, since an answer may then be to
    /// either request.
    pub(super) first: Option<(SocketAddr, Option<Instant>)>,
    /// How long the answer of whoever was asked last may take.
    pub(super) answer_within: Duration,
    /// How often it was asked for.
    pub(super) tries: u16,
    /// How busy the stream was, as far as one can tell.
    pub(super) load: Load,
    /// It was sent long before it was noticed: only those who keep it for long have it.
    pub(super) is_kept: bool,
}

impl Hole {
    /// Noticed just now, and not asked for.
    pub(super) const fn new(since: Instant, since_round: u32, load: Load) -> Self {
        let answer_within = Duration::ZERO;
        let (asked, first, tries, is_kept) = (None, None, 0, false);
        Self { since, since_round, asked, first, answer_within, tries, load, is_kept }
    }
}

/// What a new packet was to its stream.
#[derive(Debug, Clone, Copy)]
pub(super) struct Accepted {
    /// The hole it filled, if it was missing.
    pub(super) filled: Option<Hole>,
    /// How many numbers that are taken it ran ahead of what was known, itself included.
    pub(super) advance: u64,
}

/// The next thing to tell the application.
#[derive(Debug)]
pub(super) enum Next {
    /// A packet.
    Packet(u64, Held),
    /// A run of packets given up: the first, and how many.
    Lost {
        from: u64,
        packets: u64,
        /// Those of them that were not asked for: the stream was busier than is borne.
        thinned: u64,
    },
    /// Packets that the rating does not take.
    PassedOver,
}

/// What a round released.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Released {
    /// Packets.
    pub(super) packets: usize,
    /// Their bytes.
    pub(super) bytes: usize,
}

impl Released {
    pub(super) fn add(&mut self, held: &Held) {
        self.packets += 1;
        self.bytes += held.packet.len();
    }
}
