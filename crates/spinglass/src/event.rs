//! What a subscriber hears.

use spinglass_core::{DownReason, Gap, Incarnation, Member, MemberId, Message, Offence, StreamId};

/// What a [`Subscription`](crate::Subscription) gives.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// A whole message, in its sender's order.
    Message(Message),
    /// Packets that the network lost for good, in their place in the stream.
    Gap(Gap),
    /// Messages that this subscriber was too slow for, in their place in the stream.
    Lagged(Lagged),
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
    /// A member has been proven to lie, and is heard no more. If it is this node itself, somebody
    /// else signs with its key, or its disk and clock were set back: it needs a new key.
    Quarantined {
        /// Who.
        id: MemberId,
        /// What of.
        offence: Offence,
    },
    /// The row that speaks for a zone of this node's path says what the zone's rows do not.
    FalseSummary {
        /// The zone, such as `/usa`.
        zone: String,
        /// Who issued its row.
        issuer: MemberId,
    },
}

/// What was dropped of one stream because its subscriber's queue was full.
///
/// The member itself has had these messages and helps others to them; only this subscriber misses
/// them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Lagged {
    /// The stream.
    pub stream: StreamId,
    /// Messages dropped.
    pub messages: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Packets of [`Gap`]s that were among what was dropped.
    pub gap_packets: u64,
}

impl Event {
    /// What subscribers are told of an event of the core's.
    pub(crate) fn of(event: spinglass_core::Event) -> Option<Self> {
        Some(match event {
            spinglass_core::Event::Message(message) => Self::Message(message),
            spinglass_core::Event::Gap(gap) => Self::Gap(gap),
            spinglass_core::Event::MemberUp(member) => Self::MemberUp(member),
            spinglass_core::Event::MemberDown { id, incarnation, reason } => {
                Self::MemberDown { id, incarnation, reason }
            }
            spinglass_core::Event::Quarantined { id, offence } => Self::Quarantined { id, offence },
            spinglass_core::Event::FalseSummary { zone, issuer } => {
                Self::FalseSummary { zone, issuer }
            }
            spinglass_core::Event::Kept { .. } => return None,
        })
    }
}
