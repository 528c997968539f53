//! What a command answers when it can't be carried out.

use alloc::string::String;
use core::fmt;

use crate::config::ConfigError;
use crate::draft::TooLarge;
use crate::identity::Refusal;
use crate::table::ZonePath;
use crate::trust::Denied;

/// Why a node can't be made.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum NodeError {
    /// A setting is out of its range.
    Config(ConfigError),
    /// Its own certificates do not hold.
    Certificate(Refusal),
    /// The roots that it is to trust are none.
    Roots(Refusal),
    /// Its certificates are too large to be shown to others.
    ChainTooLarge {
        /// Bytes that a chain may take.
        limit: usize,
        /// Bytes that it takes.
        got: usize,
    },
    /// Its certificate is about another key.
    OtherKey,
    /// Its certificate is for another region.
    OtherRegion {
        /// The one that it is for.
        certified: ZonePath,
    },
    /// Its certificate gives it another name.
    OtherName {
        /// The one that it gives.
        certified: String,
    },
    /// It is in no certified mode.
    NotCertified,
    /// The rules do not let it join its region.
    Denied(Denied),
}

impl fmt::Display for NodeError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Config(error) => error.fmt(formatter),
            Self::Certificate(refusal) => write!(formatter, "this member's certificate: {refusal}"),
            Self::Roots(refusal) => write!(
                formatter,
                "the roots to trust: {refusal}; give certificates of one to eight authorities"
            ),
            Self::ChainTooLarge { limit, got } => write!(
                formatter,
                "this member's certificates take {got} bytes, and only {limit} fit a datagram: \
                 leave the root out of the file, and have fewer certifiers between"
            ),
            Self::OtherKey => formatter.write_str(
                "this member's certificate is about another key: give the identity key that it \
                 was issued for",
            ),
            Self::OtherRegion { certified } => write!(
                formatter,
                "this member's certificate is for the region {certified}: join that one, or have \
                 another certificate issued"
            ),
            Self::OtherName { certified } => write!(
                formatter,
                "this member's certificate calls it {certified:?}: use that name, or none"
            ),
            Self::NotCertified => formatter.write_str(
                "this member was started without certificates, and can't begin to have some while \
                 it runs: restart it",
            ),
            Self::Denied(denied) => {
                write!(formatter, "this member may not join its region: {denied}")
            }
        }
    }
}

impl core::error::Error for NodeError {}

impl From<ConfigError> for NodeError {
    fn from(error: ConfigError) -> Self {
        Self::Config(error)
    }
}

/// Why a message was not taken. Nothing changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PublishError {
    /// The message is larger than any message may be.
    TooLarge(TooLarge),
    /// The send queue is full: the pace set for this member is slower than its application.
    Full {
        /// The queue's limit, in bytes.
        limit: usize,
    },
    /// The member has said good-bye.
    Left,
    /// The rules do not let this member publish on the topic.
    Denied(Denied),
}

impl fmt::Display for PublishError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TooLarge(error) => write!(formatter, "{error}"),
            Self::Full { limit } => write!(
                formatter,
                "{limit} bytes are waiting to be sent: publish more slowly, or raise the send rate"
            ),
            Self::Left => formatter.write_str("this member has left the group"),
            Self::Denied(denied) => write!(formatter, "this member may not publish: {denied}"),
        }
    }
}

impl core::error::Error for PublishError {}
