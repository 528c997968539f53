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

mod codec;
mod row;
mod value;

pub use codec::Malformed;
pub use row::{Name, Row, RowBuilder};
pub use value::{Float, LIST_DEPTH_MAX, Time, Value};
