//! What an application asks, and what it is answered.

use alloc::string::String;
use alloc::vec::Vec;
use core::fmt;
use core::time::Duration;

use spinglass_summary::{Name, Row, SqlError};

use super::report::Reach;
use crate::table::{Excerpt, ZonePath};

/// This agent's name for a question of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct QuestionId(pub u64);

/// Something to find out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Question {
    /// The zone that it is about.
    pub zone: ZonePath,
    /// A query over the zone's hosts, however deep below; none: the zone's own rows.
    pub sql: Option<String>,
    /// How long the answer is waited for, at most [`WITHIN_MAX`](super::WITHIN_MAX). What has come
    /// by then is told.
    pub within: Duration,
}

/// What came of a question.
#[derive(Debug, Clone)]
pub struct Answer {
    /// What was found.
    pub outcome: Outcome,
    /// How far the answer reaches.
    pub reach: Reach,
}

impl Answer {
    /// Tells it from others without holding what it says: the kind of its outcome, and the rows
    /// and bytes in it. For recordings.
    #[must_use]
    pub fn fingerprint(&self) -> [u64; 3] {
        match &self.outcome {
            Outcome::Zone(Excerpt { rows, .. }) => {
                let bytes = rows.iter().map(|aged| aged.row.encoded().len() as u64).sum();
                [0, rows.len() as u64, bytes]
            }
            Outcome::Hosts { rows, .. } => {
                let bytes = rows.iter().map(|row| row.encoded_bytes() as u64).sum();
                [1, rows.len() as u64, bytes]
            }
            Outcome::NoSuchZone(_) => [2, 0, 0],
            Outcome::Silence => [3, 0, 0],
            Outcome::NotUnderstood => [4, 0, 0],
        }
    }
}

/// What was found.
#[derive(Debug, Clone)]
pub enum Outcome {
    /// A zone: its rows, verified, and what the functions there make of them.
    Zone(Excerpt),
    /// What a query tells of hosts.
    Hosts {
        /// The columns, as the query writes them; for `*` all that some row has, by name.
        columns: Vec<Name>,
        /// The rows, in the query's order.
        rows: Vec<Row>,
    },
    /// There is no such zone: the first one on the way that is not there.
    NoSuchZone(ZonePath),
    /// Nobody on the way to the zone answered in time.
    Silence,
    /// Whoever was asked speaks an older SQL.
    NotUnderstood,
}

/// Why a question can't be asked. Nothing changed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum AskError {
    /// The SQL is no query.
    Sql(SqlError),
    /// The SQL does not fit a datagram.
    TooLong {
        /// Bytes that it may have.
        limit: usize,
        /// Bytes that it has.
        got: usize,
    },
    /// Too many questions are under way.
    Busy {
        /// Questions at once.
        limit: usize,
    },
    /// The member has left, or has no table.
    Closed,
}

impl fmt::Display for AskError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Sql(error) => error.fmt(formatter),
            Self::TooLong { limit, got } => write!(
                formatter,
                "the query has {got} bytes of the {limit} that a question may have: shorten it"
            ),
            Self::Busy { limit } => write!(
                formatter,
                "{limit} questions are under way already: wait for one of them to be answered"
            ),
            Self::Closed => formatter.write_str("the agent has left, or has no table"),
        }
    }
}

impl core::error::Error for AskError {}
