//! A message as it is published: its bytes, and headers beside them that subscribers can choose by.

use alloc::boxed::Box;
use alloc::string::String;
use alloc::vec::Vec;
use core::fmt;

use bytes::{Bytes, BytesMut};
use spinglass_summary::{Name, Row, RowBuilder, Value};

use crate::config::MESSAGE_BYTES_MAX;

/// Bytes that a message's headers may have, as [`Row::encoded_bytes`] counts them: a guess, room
/// for some tens of values in a packet of 1,200 bytes.
pub const HEADERS_BYTES_MAX: usize = 1_024;

/// A message to publish. Whatever makes [`Bytes`] makes one without headers.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Draft {
    /// Named values, which [`Filter`](spinglass_summary::Filter)s are about.
    pub headers: Row,
    /// The message's bytes, 0 to 16 MiB.
    pub payload: Bytes,
}

/// A header's name that is none: names have 1 to 63 letters, digits, `_` and `.`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BadHeader(pub String);

/// A message that is larger than any may be, or whose headers are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TooLarge {
    /// Whether it is the headers.
    pub is_headers: bool,
    /// How many bytes they have, or the message without them has.
    pub got: usize,
}

impl Draft {
    /// The same with a header; null removes it.
    ///
    /// # Errors
    /// The name is none.
    pub fn header(self, name: &str, value: impl Into<Value>) -> Result<Self, BadHeader> {
        let name = Name::new(name).ok_or_else(|| BadHeader(name.into()))?;
        let headers = RowBuilder::from(&self.headers).with(name, value.into()).build();
        Ok(Self { headers, ..self })
    }

    /// Whether it may be sent, as far as its size goes.
    ///
    /// # Errors
    /// It is too large, or its headers are.
    pub fn check(&self) -> Result<(), TooLarge> {
        let payload = TooLarge { is_headers: false, got: self.payload.len() };
        let headers = TooLarge { is_headers: true, got: self.headers_bytes() };
        let over = [payload, headers].into_iter().find(|part| part.got > part.limit());
        over.map_or(Ok(()), Err)
    }

    /// Bytes of its headers as they are sent.
    pub(crate) fn headers_bytes(&self) -> usize {
        if self.headers.is_empty() { 0 } else { self.headers.encoded_bytes() }
    }

    /// Bytes of all of it as they are sent, behind its length.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.headers_bytes() + self.payload.len()
    }
}

impl From<Bytes> for Draft {
    fn from(payload: Bytes) -> Self {
        Self { headers: Row::empty(), payload }
    }
}

/// Drafts of what else makes bytes.
macro_rules! drafts_of {
    ($($made:ty),*) => {
        $(impl From<$made> for Draft {
            fn from(payload: $made) -> Self {
                Bytes::from(payload).into()
            }
        })*
    };
}

drafts_of!(BytesMut, Vec<u8>, Box<[u8]>, String, &'static str, &'static [u8]);

impl TooLarge {
    /// How many bytes there may be.
    #[must_use]
    pub const fn limit(&self) -> usize {
        if self.is_headers { HEADERS_BYTES_MAX } else { MESSAGE_BYTES_MAX }
    }
}

impl fmt::Display for TooLarge {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (got, limit) = (self.got, self.limit());
        if self.is_headers {
            let rest = "put what nobody chooses by into the message";
            return write!(formatter, "the headers have {got} bytes, the limit is {limit}: {rest}");
        }
        write!(formatter, "the message has {got} bytes, the limit is {limit}: split it")
    }
}

impl core::error::Error for TooLarge {}

impl fmt::Display for BadHeader {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self(name) = self;
        write!(formatter, "{name:?} is no header's name: 1 to 63 letters, digits, `_` and `.` are")
    }
}

impl core::error::Error for BadHeader {}
