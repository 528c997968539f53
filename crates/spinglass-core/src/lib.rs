//! Spinglass's protocols, as state machines with no socket, clock, thread or operating-system
//! randomness in them.
//!
//! A host (the tokio runtime of the crate `spinglass`, or the simulator) owns a [`Driver`], feeds
//! it datagrams, timeouts and commands, each with the time, and gives its outputs a place to go
//! through [`Host`]. A whole run is a function of (seed, configuration, inputs).
//!
//! ```text
//!  datagrams ─▶ Driver ─▶ Node ─▶ link::open ─▶ frame::parse ─▶ members.on_* / multicast.on_*
//!  clock ─────▶ Driver ─▶ Node ─▶ whichever timers are due, in enum order
//!  verbs ─────▶ Driver ─▶ Node
//!  Driver ◀── poll_transmit (packed and sealed at the last moment), poll_event, poll_timeout
//! ```
//!
//! The parts, each with its paper: [`multicast`] (Birman et al., Bimodal Multicast, TOCS 1999),
//! [`table`] (van Renesse, Birman, Vogels, Astrolabe, TOCS 2003), [`link`], [`members`] (van
//! Renesse et al., gossip-style failure detection, Middleware 1998), and [`plan`], the analysis
//! that turns a wished-for reliability into rounds, fan-out and buffers.

#![no_std]
#![forbid(unsafe_code)]
#![cfg_attr(
    not(test),
    deny(clippy::indexing_slicing, clippy::unwrap_used, clippy::panic, clippy::todo)
)]

extern crate alloc;
#[cfg(test)]
extern crate std;

mod budget;
mod compact;
mod config;
pub mod crypto;
pub mod detector;
mod discovery;
mod draft;
mod driver;
pub mod epochs;
mod error;
mod event;
pub mod frame;
mod id;
pub mod identity;
mod interest;
pub mod knock;
pub mod link;
mod load;
pub mod members;
pub mod multicast;
mod node;
pub mod object;
pub mod orders;
mod outbox;
pub mod path;
mod pattern;
pub mod plan;
pub mod quarantine;
pub mod query;
mod rating;
pub mod record;
mod rng;
pub mod rules;
mod stats;
pub mod table;
mod time;
mod timer;
mod trace;
mod trust;
pub mod wire;

pub use config::{
    Checked, Config, ConfigError, DATAGRAM_BYTES_MAX, DATAGRAM_BYTES_MIN, DetectorConfig,
    DiscoveryConfig, Dissemination, Keep, LinkConfig, MESSAGE_BYTES_MAX, MembersConfig,
    MulticastConfig, OBSERVERS_MAX, ObjectsConfig, REGION_BYTES_MAX, Reliability, Security, Start,
    TableConfig,
};
pub use discovery::SEEDS_MAX;
pub use draft::{BadHeader, Draft, HEADERS_BYTES_MAX, TooLarge};
pub use driver::{Driver, Host};
pub use error::{NodeError, PublishError};
pub use event::{
    DESTINATIONS_MAX, Datagram, Destinations, DownReason, Event, Gap, Member, Message, Offence,
    Reject, Transmit,
};
pub use id::{Incarnation, MemberId, Sequence, StreamId, TopicId};
pub use load::Load;
pub use node::{Identity, NAME_BYTES_MAX, Node, ORDERS_TOPIC, REPLY_PORT_LIFE};
pub use pattern::{PATTERNS_MAX, Pattern, PatternError};
pub use rating::{NoShare, Rating, Share, Sieve};
pub use rng::Prng;
pub use stats::Stats;
pub use time::{Instant, Now};
pub use trace::{Seen, Sighting};
pub use trust::Denied;
