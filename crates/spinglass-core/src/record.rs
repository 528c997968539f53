//! Recording a run, so that it replays bit for bit: the calls made to a node and what cryptography
//! answered it, never a key.
//!
//! A recording is a sequence of entries. Those of [`Driver`](crate::Driver) say which call was made
//! with what, and what came out; those of the [`Crypto`](crate::crypto::Crypto) wrapper that the
//! host installs follow the call during which they happened. Replay makes the same calls, feeds the
//! recorded answers back, and compares every output: frames before they are sealed, destinations,
//! events.
//!
//! Each entry is `length u32 | kind u8 | body`, little-endian. A recording is a file of one's own:
//! it is parsed totally, as everything is, but it is not a way for strangers to reach a node.

mod codec;
mod late;
mod papers;
mod settings;

use alloc::borrow::Cow;
use alloc::boxed::Box;
use alloc::string::String;
use alloc::vec::Vec;
use core::net::SocketAddr;
use core::num::NonZeroU16;
use core::time::Duration;

use bytes::Bytes;
use spinglass_summary::{Name, Value};

use crate::config::{Keep, Security, Start};
use crate::crypto::{Hash, PublicKey};
use crate::draft::Draft;
use crate::event::{Datagram, Event, Transmit};
use crate::id::TopicId;
use crate::identity::{Claims, Refusal};
use crate::object::ObjectName;
use crate::orders::NewOrder;
use crate::path::PathQuestion;
use crate::query::{Question, QuestionId, Reach};
use crate::rating::Rating;
use crate::table::ZonePath;
use crate::time::Now;

/// Takes entries, in order.
pub trait Recorder: Send {
    /// Appends one entry.
    fn record(&mut self, entry: &Entry<'_>);
}

/// One step of a run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Entry<'a> {
    /// How the node was made. What cryptography answered while it was made stands before it.
    Beginnings(Box<Beginnings>),
    /// Datagrams came in.
    Datagrams {
        /// When.
        now: Now,
        /// From where; the clear header; the length of the whole. The sealed rest is not kept:
        /// what it opened to follows as [`Entry::Opened`].
        datagrams: Vec<(SocketAddr, Cow<'a, [u8]>, usize)>,
    },
    /// Timers were run.
    Timeout {
        /// When.
        now: Now,
    },
    /// A message was published.
    Publish {
        /// When.
        now: Now,
        /// On which topic.
        topic: TopicId,
        /// The message.
        draft: Draft,
    },
    /// A topic was subscribed to.
    Subscribe {
        /// When.
        now: Now,
        /// Which.
        topic: TopicId,
        /// From where on.
        start: Start,
    },
    /// A share of a topic's messages was asked for.
    Rate {
        /// When.
        now: Now,
        /// Which topic.
        topic: TopicId,
        /// Which share.
        rating: Rating,
    },
    /// Topics were subscribed to by a pattern.
    SubscribePattern {
        /// When.
        now: Now,
        /// The pattern's text.
        pattern: Cow<'a, str>,
        /// From where on.
        start: Start,
        /// Which share; nothing: no longer.
        rating: Rating,
    },
    /// Messages of a topic are to be kept.
    Keep {
        /// When.
        now: Now,
        /// Of which topic.
        topic: TopicId,
        /// Which.
        keep: Keep,
    },
    /// Attributes of the own row were set.
    SetAttributes {
        /// When.
        now: Now,
        /// Which, to what.
        attributes: Cow<'a, [(Name, Value)]>,
    },
    /// A summary function was installed, or removed.
    SetSummary {
        /// When.
        now: Now,
        /// In which zone.
        zone: ZonePath,
        /// Its name.
        name: String,
        /// Its text; none: removed.
        sql: Option<String>,
        /// For how long it holds, in whole milliseconds; none: until it is removed.
        lasts: Option<Duration>,
    },
    /// An object was put under an attribute of the own row.
    PutObject {
        /// When.
        now: Now,
        /// Under which.
        name: Name,
        /// The object.
        bytes: Bytes,
    },
    /// An object was asked for.
    FetchObject {
        /// When.
        now: Now,
        /// Which.
        object: ObjectName,
    },
    /// Further addresses to join by were told.
    AddSeeds {
        /// When.
        now: Now,
        /// They.
        seeds: Vec<SocketAddr>,
    },
    /// The member is reached elsewhere.
    SetAddress {
        /// When it was said.
        now: Now,
        /// Where.
        address: SocketAddr,
    },
    /// A question about the way to this member was asked.
    AskPath {
        /// When.
        now: Now,
        /// Whom.
        whom: SocketAddr,
        /// What.
        question: PathQuestion,
    },
    /// Answers were wanted at another port from now on.
    SetReplyPort {
        /// When.
        now: Now,
        /// Which; none: where everything else is.
        port: Option<NonZeroU16>,
    },
    /// A question was asked.
    Ask {
        /// When.
        now: Now,
        /// Which.
        question: Question,
    },
    /// The node handed out an answer.
    Answered {
        /// To which question.
        question: QuestionId,
        /// How far it reaches.
        reach: Reach,
        /// What tells its content from others.
        found: [u64; 3],
    },
    /// The member said good-bye.
    Leave {
        /// When.
        now: Now,
    },
    /// The node was asked for datagrams, and answered.
    Transmit {
        /// When.
        now: Now,
        /// How many segments it was allowed.
        segments_max: usize,
        /// The answer.
        transmit: Option<Transmit>,
        /// Bytes of all its segments.
        bytes: usize,
    },
    /// The node handed out an event.
    Event {
        /// It.
        event: Event,
    },
    /// `Crypto::sign` answered.
    Signed([u8; 64]),
    /// `Crypto::verify` answered.
    Verified(bool),
    /// `Crypto::verify_certificate` answered. Of what is wrong with a name, not all is kept.
    Certified(Result<Box<Claims>, Refusal>),
    /// The text of a topic was told, whose rules may be about it.
    Topic(String),
    /// One of `Crypto`'s methods about epochs' keys and revocations answered, never with a key: a
    /// hash, an offer, something sealed; nothing, for yes; none, for no.
    Exchanged(Option<Cow<'a, [u8]>>),
    /// An order was given.
    Order {
        /// When.
        now: Now,
        /// Which.
        order: NewOrder,
    },
    /// A list of revocations was given to this member alone.
    Heed {
        /// When.
        now: Now,
        /// It.
        list: Cow<'a, [u8]>,
    },
    /// Other roots were given.
    Roots {
        /// When.
        now: Now,
        /// They, in DER.
        roots: Cow<'a, [Vec<u8>]>,
    },
    /// Another certificate and other rules were given.
    Renew {
        /// When.
        now: Now,
        /// They.
        security: Security,
    },
    /// `Crypto::link_key` answered.
    LinkKey(Option<u32>),
    /// `Crypto::seal` was given these frames, told by their hash (`Domain::Leaf`) and length.
    Sealed {
        /// The frames' hash.
        frames: Hash,
        /// Their length.
        bytes: usize,
    },
    /// `Crypto::open` answered; the frames it opened to, if it did.
    Opened(Option<Cow<'a, [u8]>>),
}

/// Everything a node is made from, keys excepted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Beginnings {
    /// The settings.
    pub config: crate::Config,
    /// What the host knew of the member.
    pub identity: crate::Identity,
    /// Its public key.
    pub public_key: PublicKey,
    /// The seed of all its choices.
    pub seed: u64,
    /// The addresses it first joins by.
    pub seeds: Vec<SocketAddr>,
    /// When it was made.
    pub now: Now,
}

impl<'a> Entry<'a> {
    /// The entry of a batch of datagrams.
    #[must_use]
    pub fn datagrams(now: Now, batch: &'a [Datagram<'_>]) -> Self {
        let clear = |datagram: &'a Datagram<'_>| {
            let first = datagram.bytes.first().copied();
            let header = crate::knock::clear_bytes(first, datagram.bytes.len());
            let (header, _) = datagram.bytes.split_at(header);
            (datagram.from, Cow::Borrowed(header), datagram.bytes.len())
        };
        Self::Datagrams { now, datagrams: batch.iter().map(clear).collect() }
    }
}

impl core::fmt::Debug for dyn Recorder {
    fn fmt(&self, formatter: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        formatter.write_str("Recorder")
    }
}
