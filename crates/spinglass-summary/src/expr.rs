//! Expressions, compiled: columns are slots of a table, and aggregates are indices of a list.
//!
//! A tree is at most [`DEPTH_MAX`] deep, so that evaluating, copying and dropping it recurse no
//! deeper. Operators of one precedence are one node with many operands: a sum of two hundred terms
//! is flat.

use alloc::boxed::Box;
use alloc::vec::Vec;

use crate::scalar::Scalar;
use crate::value::Value;

/// The deepest nesting of expressions.
pub(crate) const DEPTH_MAX: u32 = 32;

/// One expression.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Expr {
    Literal(Value),
    /// The slot of a column in the row.
    Column(usize),
    /// The result of the function's aggregate with this index.
    Aggregate(usize),
    Negate(Box<Self>),
    Not(Box<Self>),
    /// `AND`: false if one is, else unknown if one is.
    And(Vec<Self>),
    /// `OR`: true if one is, else unknown if one is.
    Or(Vec<Self>),
    /// Operators of one precedence, from left to right.
    Chain(Box<Self>, Vec<(Operator, Self)>),
    Is {
        operand: Box<Self>,
        what: Is,
        negated: bool,
    },
    In {
        operand: Box<Self>,
        items: Vec<Self>,
        negated: bool,
    },
    /// Operand, low, high.
    Between {
        parts: Box<[Self; 3]>,
        negated: bool,
    },
    /// Text, pattern.
    Like {
        parts: Box<[Self; 2]>,
        escape: Option<char>,
        negated: bool,
    },
    Case {
        operand: Option<Box<Self>>,
        arms: Vec<(Self, Self)>,
        otherwise: Option<Box<Self>>,
    },
    Call(Scalar, Vec<Self>),
    Cast(Box<Self>, Cast),
    Extract(Part, Box<Self>),
    List(Vec<Self>),
}

/// An operator between two operands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Operator {
    Add,
    Subtract,
    Multiply,
    Divide,
    Remainder,
    Join,
    Compare(Comparison),
}

/// How two values compare.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Comparison {
    Equal,
    NotEqual,
    Less,
    LessOrEqual,
    Greater,
    GreaterOrEqual,
}

/// What follows `IS`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Is {
    Null,
    True,
    False,
}

/// What `CAST` makes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Cast {
    Integer,
    Real,
    Text,
}

/// What `EXTRACT` takes out of a time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Part {
    Year,
    Month,
    Day,
    Hour,
    Minute,
    Second,
    Epoch,
}

impl Comparison {
    /// Whether two values that compare so satisfy it.
    pub(crate) const fn holds(self, ordering: core::cmp::Ordering) -> bool {
        match self {
            Self::Equal => ordering.is_eq(),
            Self::NotEqual => ordering.is_ne(),
            Self::Less => ordering.is_lt(),
            Self::LessOrEqual => ordering.is_le(),
            Self::Greater => ordering.is_gt(),
            Self::GreaterOrEqual => ordering.is_ge(),
        }
    }

    /// The comparison that holds where this one does not.
    pub(crate) const fn negated(self) -> Self {
        match self {
            Self::Equal => Self::NotEqual,
            Self::NotEqual => Self::Equal,
            Self::Less => Self::GreaterOrEqual,
            Self::LessOrEqual => Self::Greater,
            Self::Greater => Self::LessOrEqual,
            Self::GreaterOrEqual => Self::Less,
        }
    }

    /// The comparison that holds with the operands exchanged.
    pub(crate) const fn mirrored(self) -> Self {
        match self {
            Self::Equal => Self::Equal,
            Self::NotEqual => Self::NotEqual,
            Self::Less => Self::Greater,
            Self::LessOrEqual => Self::GreaterOrEqual,
            Self::Greater => Self::Less,
            Self::GreaterOrEqual => Self::LessOrEqual,
        }
    }
}

impl Expr {
    /// Steps that an evaluation takes at least, if no branch is left out: an estimate, since
    /// long texts cost more.
    pub(crate) fn steps(&self) -> u32 {
        let all = |parts: &[Self]| parts.iter().map(Self::steps).fold(0, u32::saturating_add);
        let inner = match self {
            Self::Literal(_) | Self::Column(_) | Self::Aggregate(_) => 0,
            Self::Negate(operand)
            | Self::Not(operand)
            | Self::Is { operand, .. }
            | Self::Cast(operand, _)
            | Self::Extract(_, operand) => operand.steps(),
            Self::And(parts) | Self::Or(parts) | Self::List(parts) => all(parts),
            Self::Call(scalar, parts) => scalar.steps().saturating_add(all(parts)),
            Self::Chain(first, rest) => {
                rest.iter().fold(first.steps(), |sum, (_, next)| sum.saturating_add(next.steps()))
            }
            Self::In { operand, items, .. } => operand.steps().saturating_add(all(items)),
            Self::Between { parts, .. } => all(&**parts),
            Self::Like { parts, .. } => all(&**parts),
            Self::Case { operand, arms, otherwise } => {
                let ends = [operand, otherwise].into_iter().flatten().map(|end| end.steps());
                let arms = arms.iter().flat_map(|(when, then)| [when.steps(), then.steps()]);
                ends.chain(arms).fold(0, u32::saturating_add)
            }
        };
        inner.saturating_add(1)
    }
}
