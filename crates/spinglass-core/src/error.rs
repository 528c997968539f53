//! What a command answers when it can't be carried out.

use core::fmt;

/// Why a message was not taken. Nothing changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PublishError {
    /// The message is larger than any message may be.
    TooLarge {
        /// The limit, in bytes.
        limit: usize,
        /// The message's size.
        got: usize,
    },
    /// The send queue is full: the pace set for this member is slower than its application.
    Full {
        /// The queue's limit, in bytes.
        limit: usize,
    },
    /// The member has said good-bye.
    Left,
}

impl fmt::Display for PublishError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TooLarge { limit, got } => {
                write!(formatter, "the message has {got} bytes, the limit is {limit}: split it")
            }
            Self::Full { limit } => write!(
                formatter,
                "{limit} bytes are waiting to be sent: publish more slowly, or raise the send rate"
            ),
            Self::Left => formatter.write_str("this member has left the group"),
        }
    }
}

impl core::error::Error for PublishError {}
