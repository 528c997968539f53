//! Reliable multicast for very many machines: publish to a group, and every healthy member gets
//! every message, whole and in its sender's order, at a steady rate, however many others are slow.
//!
//! ```no_run
//! use spinglass::{Event, Node};
//!
//! # async fn example() -> Result<(), Box<dyn std::error::Error>> {
//! let node = Node::builder().seed_names(["127.0.0.1:7710"]).start().await?;
//! let group = node.group("news");
//! let mut news = group.subscribe();
//! group.publish("hello, everybody").await?;
//! while let Some(event) = news.next().await {
//!     match event {
//!         Event::Message(message) => println!("{:?}", message.payload),
//!         Event::Gap(gap) => println!("lost: {gap:?}"),
//!         Event::Lagged(lagged) => println!("too slow: {lagged:?}"),
//!         Event::MemberUp(member) => println!("{} is here", member.id),
//!         Event::MemberDown { id, .. } => println!("{id} is gone"),
//!         Event::Quarantined { id, .. } => println!("{id} signed two things under one number"),
//!         Event::FalseSummary { zone, issuer } => println!("{issuer} speaks falsely for {zone}"),
//!     }
//! }
//! # Ok(())
//! # }
//! ```
//!
//! What is behind a [`Node`]: one task that owns the protocol's core (`spinglass-core`), its
//! sockets and its clock. Everything else talks to that task through bounded queues; nothing waits
//! for a subscriber, and nothing that a receiver does slows a sender.
//!
//! ```text
//!  Group::publish ─▶ Inbox ─▶ ┌──────┐ ─▶ sockets (batched, segments offloaded)
//!  Group::subscribe ────────▶ │ task │ ◀─ sockets
//!  Subscription ◀── Queue ◀── └──────┘ ─▶ recording, if wished for
//! ```

mod builder;
mod clock;
mod error;
mod event;
mod faults;
mod files;
mod group;
mod groups;
mod history;
mod host;
mod hub;
mod inbox;
mod incarnation;
mod memory;
mod node;
mod orders;
mod paths;
mod policy;
mod record;
mod relay;
mod replies;
mod resolver;
mod security;
mod seed;
mod sightings;
mod socket;
mod stats;
mod subscription;
mod table;
mod task;
mod topics;
mod traffic;
mod wanted;

pub use builder::{Builder, DATAGRAM_BYTES_LOOPBACK, DATAGRAM_BYTES_PATH, MULTICAST_GROUP};
pub use error::{
    Closed, OrderError, PublishError, SeedError, StartError, TableError, TryPublishError, Unsent,
};
pub use event::{Event, Lagged};
pub use group::Group;
pub use groups::Groups;
pub use node::Node;
pub use orders::{Orders, StandingOrder};
pub use paths::PathChoice;
pub use policy::{PolicyError, PolicyFile};
pub use record::RecordingCrypto;
pub use replies::ReplyPorts;
pub use security::SecurityError;
pub use seed::{HostPort, PORT, Seed};
pub use sightings::{Sighting, Sightings};
pub use spinglass_core::multicast::TopicTally;
pub use spinglass_core::object::{Failure, OBJECT_BYTES_MAX, ObjectError, ObjectName, ObjectState};
pub use spinglass_core::orders::{Body, NewOrder, Order};
pub use spinglass_core::query::{AskError, Reach};
pub use spinglass_core::rules::NamePattern;
pub use spinglass_core::table::{
    ATTRIBUTE_BYTES_MAX, Budget, Filter, Function, Kind as RowKind, Name, NewFunction, PathError,
    Query, Row, SetError, SqlError, Summary, SummaryError, TableRow, Time, Value, ZonePath,
};
pub use spinglass_core::{
    BadHeader, Config, ConfigError, Denied, Dissemination, DownReason, Draft, Gap,
    HEADERS_BYTES_MAX, Incarnation, Keep, MESSAGE_BYTES_MAX, Member, MemberId, Message, NodeError,
    Offence, PATTERNS_MAX, Pattern, PatternError, Rating, Reject, Reliability, Seen, Sequence,
    Start, StreamId, TooLarge, TopicId,
};
pub use spinglass_crypto::{GroupKeys, KeyError, SigningKey};
pub use spinglass_relay::{RelayError, RelayUrl, TunnelStats, UrlError};
pub use stats::{RuntimeStats, Stats};
pub use subscription::Subscription;
pub use table::{Hosts, SummaryFunction, Table, Zone, ZoneRow};
pub use topics::Topic;
pub use traffic::Traffic;
pub use wanted::Wanted;
