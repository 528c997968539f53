//! What can be wrong with a function's text, and what can end an evaluation.

use alloc::string::String;
use core::fmt;

/// What is wrong with a text, for programs; the [`SqlError`]'s message is for people.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum SqlErrorKind {
    /// More bytes, tokens, nesting, columns or list items than the limits allow.
    TooLarge,
    /// A character that starts nothing, or a quote that nothing ends.
    Character,
    /// A literal that says no value: a number with letters in it, a time of no calendar.
    Literal,
    /// Something stands where something else must.
    Syntax,
    /// SQL that exists elsewhere: joins, subqueries, set operations, windows.
    Unsupported,
    /// No function has this name.
    UnknownFunction,
    /// A function was given too many or too few arguments, or one out of range.
    Arguments,
    /// An operand that can only be of a kind for which its operator has no result.
    Kind,
    /// An aggregate within an aggregate.
    NestedAggregate,
    /// An aggregate where there is one row only: in `WHERE`, in `GROUP BY`, in a query.
    MisplacedAggregate,
    /// A column outside of an aggregate, where there are many rows.
    BareColumn,
    /// An output without a name.
    MissingName,
    /// A name that no attribute can have.
    InvalidName,
    /// Two outputs of one name.
    DuplicateOutput,
}

/// A text that is no function or query: what is wrong, where, and what to do about it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SqlError {
    /// What is wrong.
    pub kind: SqlErrorKind,
    /// The line, from 1.
    pub line: u32,
    /// The character within the line, from 1.
    pub column: u32,
    message: String,
}

impl SqlError {
    /// An error at a byte of `sql`.
    pub(crate) fn new(kind: SqlErrorKind, sql: &str, at: usize, message: String) -> Self {
        let before = sql.get(..at).unwrap_or(sql);
        let line_start = before.rfind('\n').map_or(0, |newline| newline + 1);
        let column = before.get(line_start..).unwrap_or_default().chars().count();
        let saturated = |count: usize| u32::try_from(count).unwrap_or(u32::MAX);
        Self {
            kind,
            line: saturated(before.bytes().filter(|byte| *byte == b'\n').count() + 1),
            column: saturated(column + 1),
            message,
        }
    }

    /// What is wrong and what to do about it, without the place.
    #[must_use]
    pub fn message(&self) -> &str {
        &self.message
    }
}

impl fmt::Display for SqlError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "line {}, column {}: {}", self.line, self.column, self.message)
    }
}

impl core::error::Error for SqlError {}

/// Why an output has no value, or (for `UNION`) an unknown one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum EvalError {
    /// The column's share of the steps was used up.
    Steps,
    /// The column's share of the memory was used up.
    Memory,
    /// The row is full: earlier outputs left fewer bytes than this one needs.
    Output {
        /// Bytes this column needs.
        needed: usize,
        /// Bytes that were left.
        left: usize,
    },
    /// `GROUP BY` found more groups, or `MAP_..` more keys, than the most that a row may hold.
    Groups {
        /// The most.
        max: usize,
    },
    /// `UNION` found more values than its most: the column is `[NULL]`, "anything".
    Union {
        /// The most.
        max: usize,
    },
    /// `COUNT(DISTINCT ..)` found more values than it counts.
    Distinct {
        /// The most.
        max: usize,
    },
    /// A list nested deeper than a value may be.
    Depth {
        /// The deepest.
        max: usize,
    },
}

impl fmt::Display for EvalError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Steps => formatter.write_str("took more steps than its share of the budget"),
            Self::Memory => formatter.write_str("made more text or lists than its share of memory"),
            Self::Output { needed, left } => {
                write!(formatter, "needs {needed} bytes, but the row has {left} bytes left")
            }
            Self::Groups { max } => write!(formatter, "has more than {max} groups"),
            Self::Union { max } => {
                write!(formatter, "has more than {max} values: anything may match")
            }
            Self::Distinct { max } => {
                write!(formatter, "has more than {max} distinct values: use APPROX_DISTINCT")
            }
            Self::Depth { max } => write!(formatter, "nests lists more than {max} deep"),
        }
    }
}

impl core::error::Error for EvalError {}
