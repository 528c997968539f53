//! Values, rows, and the summary functions that fold a zone's rows into one.

#![no_std]
#![forbid(unsafe_code)]
#![cfg_attr(
    not(test),
    deny(clippy::indexing_slicing, clippy::unwrap_used, clippy::panic, clippy::todo)
)]

extern crate alloc;
#[cfg(test)]
extern crate std;

mod aggregate;
mod apply;
mod arithmetic;
mod calls;
mod codec;
mod error;
mod eval;
mod expr;
mod function;
mod kinds;
mod lexer;
mod like;
mod meter;
mod order;
mod parser;
mod prune;
mod query;
mod row;
mod scalar;
mod statement;
mod time;
mod value;

pub use codec::Malformed;
pub use error::{EvalError, SqlError, SqlErrorKind};
pub use function::{Bound, BoundKind, Evaluation, Function};
pub use meter::Budget;
pub use query::Query;
pub use row::{Name, Row, RowBuilder};
pub use value::{Float, LIST_DEPTH_MAX, Time, Value};
