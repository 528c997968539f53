//! The names of things: members, topics, streams, and the numbers inside them.

use core::fmt;

use crate::crypto::{Crypto, Domain, Hash, PublicKey};

/// A member's name: the hash of its public key, so that nobody can take another's.
#[derive(Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct MemberId(pub [u8; 16]);

/// A topic's name on the wire: the first 8 bytes of the hash of its text, without the last bit.
///
/// With that bit set it names what is [for all](Self::for_all) who take anything of the topic.
#[derive(Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TopicId(pub [u8; 8]);

/// The bit of a topic's name that is set for what is for all. Rows tell what a member takes by
/// other bits, so they say nothing of it.
const FOR_ALL: u8 = 0x80;

/// Which life of a member this is: `max(persisted, wall-clock seconds) + 1` at each start, signed
/// by the member, so that no restart can reuse a sequence number.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Incarnation(pub u64);

/// A packet's number in its stream, from 0.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Sequence(pub u64);

impl Sequence {
    /// The number after this one; the last number stays where it is.
    #[must_use]
    pub const fn next(self) -> Self {
        Self(self.0.saturating_add(1))
    }

    /// The number `count` later, or the last one.
    #[must_use]
    pub const fn plus(self, count: u64) -> Self {
        Self(self.0.saturating_add(count))
    }
}

/// A packet stream: what one life of one sender publishes on one topic.
#[derive(Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct StreamId {
    /// The topic.
    pub topic: TopicId,
    /// The sender.
    pub sender: MemberId,
    /// The sender's life.
    pub incarnation: Incarnation,
}

impl MemberId {
    /// The name that belongs to a public key's hash.
    #[must_use]
    pub const fn from_hash(hash: Hash) -> Self {
        Self(hash.0)
    }

    /// The name that belongs to a public key.
    pub fn of_key(key: &PublicKey, crypto: &mut dyn Crypto) -> Self {
        Self::from_hash(crypto.hash(Domain::Member, &key.0))
    }
}

impl TopicId {
    /// The name that belongs to the hash of a topic's text.
    #[must_use]
    pub fn from_hash(hash: Hash) -> Self {
        let [a, b, c, d, e, f, g, h, ..] = hash.0;
        Self([a, b, c, d, e, f, g, h]).plain()
    }

    /// The name that belongs to a topic's text.
    pub fn of_text(text: &str, crypto: &mut dyn Crypto) -> Self {
        Self::from_hash(crypto.hash(Domain::Topic, text.as_bytes()))
    }

    /// The name of what is for all who take anything of this topic, whatever their rating.
    #[must_use]
    pub const fn for_all(self) -> Self {
        let [a, b, c, d, e, f, g, h] = self.0;
        Self([a, b, c, d, e, f, g, h | FOR_ALL])
    }

    /// Whether it names what is for all.
    #[must_use]
    pub const fn is_for_all(self) -> bool {
        let [.., last] = self.0;
        last & FOR_ALL != 0
    }

    /// The name of the topic itself.
    #[must_use]
    pub const fn plain(self) -> Self {
        let [a, b, c, d, e, f, g, h] = self.0;
        Self([a, b, c, d, e, f, g, h & !FOR_ALL])
    }
}

fn write_hex(formatter: &mut fmt::Formatter<'_>, bytes: &[u8]) -> fmt::Result {
    bytes.iter().try_for_each(|byte| write!(formatter, "{byte:02x}"))
}

impl fmt::Display for MemberId {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_hex(formatter, &self.0)
    }
}

impl fmt::Debug for MemberId {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_hex(formatter, self.0.split_at(4).0)
    }
}

impl fmt::Display for TopicId {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_hex(formatter, &self.0)
    }
}

impl fmt::Debug for TopicId {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_hex(formatter, self.0.split_at(4).0)
    }
}

impl fmt::Debug for StreamId {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{:?}/{:?}@{}", self.topic, self.sender, self.incarnation.0)
    }
}
