//! What can go wrong, whose fault it is, and what to do about it.

use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;

use spinglass_core::object::{Failure, ObjectError, ObjectName};
use spinglass_core::query::AskError;
use spinglass_core::table::{PathError, SetError, Value, ZonePath};
use spinglass_core::{ConfigError, Denied, Draft, NodeError, TooLarge};
use spinglass_crypto::KeyError;
use spinglass_relay::{RelayError, UrlError};

use crate::security::SecurityError;

/// A text that is neither an address nor a host's name.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "{0:?} is nobody to join by: say an address such as 10.1.2.3:7710, or a host's name such as \
     agents.example.org:7710"
)]
pub struct SeedError(pub String);

/// Why a node did not start. Nothing was sent.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StartError {
    /// A setting is out of its range.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// The core refuses it: most likely, its certificates do not let it take part.
    #[error(transparent)]
    Node(#[from] NodeError),
    /// A seed is neither an address nor a name.
    #[error(transparent)]
    Seed(#[from] SeedError),
    /// The region is no zone's path.
    #[error(transparent)]
    Region(#[from] PathError),
    /// It asked for certified mode, and can't have it.
    #[error(transparent)]
    Security(#[from] SecurityError),
    /// It is to use a relay, and can't.
    #[error(transparent)]
    Relay(#[from] RelayError),
    /// A relay's URL is none.
    #[error(transparent)]
    RelayUrl(#[from] UrlError),
    /// A key file can't be used.
    #[error(transparent)]
    Key(#[from] KeyError),
    /// It would listen beyond loopback under the key that everybody knows.
    #[error(
        "nothing listens beyond loopback without a key, and {0} is beyond: run \
         `spinglass keygen` and give every member the same group key"
    )]
    NoGroupKey(SocketAddr),
    /// What the key that everybody knows keeps from nobody would leave this machine.
    #[error(
        "nothing leaves this machine without a key, and a relay elsewhere is to be used: run \
         `spinglass keygen` and give every member the same group key"
    )]
    NoGroupKeyForRelay,
    /// Somebody else has the address.
    #[error("{0} is in use: stop what listens there, choose another port, or port 0 for any")]
    AddressInUse(SocketAddr),
    /// The machine does not have the address.
    #[error("{0} is not an address of this machine: bind to one that it has, or to 0.0.0.0")]
    AddressNotHere(SocketAddr),
    /// Others could not reach a member that listens on every address and tells none.
    #[error(
        "{0} is every address of this machine at once: say with `advertise` which of \
         them others reach it by"
    )]
    NothingToAdvertise(SocketAddr),
    /// IP multicast was asked for and there is no interface for it.
    #[error("IP multicast needs the address of an interface: say which with `multicast`")]
    NoMulticastInterface,
    /// The IP multicast group can't be joined.
    #[error("cannot join {group} on {interface}: {source}; use an interface that does multicast")]
    Multicast {
        /// The group.
        group: std::net::SocketAddrV4,
        /// The interface's address.
        interface: std::net::Ipv4Addr,
        /// What the system said.
        source: io::Error,
    },
    /// The share of datagrams to drop is no share.
    #[error("cannot drop a share of {0} of all datagrams: it must lie between 0 and 1")]
    DropProbability(f64),
    /// A socket can't be made.
    #[error("cannot make a socket on {address}: {source}")]
    Socket {
        /// The address it was to be bound to.
        address: SocketAddr,
        /// What the system said.
        source: io::Error,
    },
    /// The file that remembers this member's last life can't be used.
    #[error("{path}: {source}; without it a restart could not tell its lives apart")]
    State {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The recording can't be begun.
    #[error("cannot record to {path}: {source}")]
    Record {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
}

/// Why a message was not taken. It was not sent, and never will be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PublishError {
    /// It is larger than any message may be.
    #[error(transparent)]
    TooLarge(#[from] TooLarge),
    /// The rules do not let this member publish on the topic.
    #[error("this member may not publish here: {0}")]
    Denied(Denied),
    /// The node was closed or dropped.
    #[error("this member has left the group")]
    Closed,
}

/// Why a message was not taken at once.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum TryPublishError {
    /// The queue is full; here is the message back.
    #[error("the send queue is full: publish more slowly, or raise the pace")]
    Full(Draft),
    /// It will never be taken.
    #[error(transparent)]
    Refused(#[from] PublishError),
}

/// Why the table did not do what it was asked. Nothing changed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum TableError {
    /// An attribute's name is none.
    #[error("{0:?} can't be an attribute's name: use 1 to 64 of a-z, 0-9, '_', '.' and '&'")]
    BadName(String),
    /// It can't be set.
    #[error(transparent)]
    Set(#[from] SetError),
    /// There is no such zone: the first one on the way that is not there.
    #[error("there is no zone {0}: `spinglass table` shows which there are")]
    NoSuchZone(ZonePath),
    /// Nobody on the way to the zone answered in time.
    #[error("nobody who leads to {0} answered in time: it may be cut off, or all of it down")]
    Silence(ZonePath),
    /// The agents asked speak an older SQL.
    #[error(
        "the agents on the way to {0} do not understand this query: they are of an older version"
    )]
    NotUnderstood(ZonePath),
    /// It can't be asked.
    #[error(transparent)]
    Ask(#[from] AskError),
    /// A value names no object.
    #[error("{0} names no object: its text would begin with \"object:\"")]
    NoObject(Value),
    /// An object is not fetched: too many are, or there is no room.
    #[error(transparent)]
    Object(#[from] ObjectError),
    /// An object could not be fetched.
    #[error("{object}: {failure}")]
    NotFetched {
        /// Which.
        object: ObjectName,
        /// Why.
        failure: Failure,
    },
    /// The node was closed or dropped.
    #[error("this member has left the group")]
    Closed,
}

/// The node was closed or dropped.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("this member has left the group")]
pub struct Closed;

/// The node left before everything that was published could be sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{bytes} bytes were still waiting to be sent: allow more time, or raise the pace")]
pub struct Unsent {
    /// Bytes of messages that were not sent.
    pub bytes: usize,
}

/// Why an order was not given.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum OrderError {
    /// The core refused.
    #[error(transparent)]
    Refused(#[from] spinglass_core::orders::OrderError),
    /// The node is gone.
    #[error("this member has left the group")]
    Closed,
}
