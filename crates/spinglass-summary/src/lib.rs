//! Values, rows, and the summary functions that fold a zone's rows into one.
//!
//! ```
//! use spinglass_summary::{Budget, Function, Name, Row, Value};
//!
//! let load = Name::new("load").expect("a legal name");
//! let host = |value: f64| -> Row { [(load.clone(), Value::float(value))].into_iter().collect() };
//! let (a, b) = (host(0.5), host(2.0));
//!
//! let function = Function::parse("SELECT MIN(load) AS load, COUNT(*) AS n FROM zone")?;
//! let made = function.evaluate(&[("a", &a), ("b", &b)], Budget::default());
//! assert_eq!(made.row.get("load"), Some(&Value::float(0.5)));
//! assert_eq!(made.row.get("n"), Some(&Value::Int(2)));
//! assert!(made.errors.is_empty());
//!
//! let error = Function::parse("SELECT load FROM zone").unwrap_err();
//! assert!(error.to_string().starts_with("line 1, column 8: load stands outside of an aggregate"));
//! # Ok::<(), spinglass_summary::SqlError>(())
//! ```
//!
//! The SQL is explained in `docs/sql.md`.

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
mod filter;
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
pub use filter::Filter;
pub use function::{Bound, BoundKind, Evaluation, Function};
pub use meter::Budget;
pub use prune::Range;
pub use query::{Query, Selection};
pub use row::{Name, Row, RowBuilder};
pub use value::{Float, LIST_DEPTH_MAX, Time, Value};
