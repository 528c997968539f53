//! What agents say to each other about questions.
//!
//! ```text
//! ask    number u64 | zone text | depth u8 | within ms varint | SQL to the end; none: its rows
//! heard  number u64
//! piece  number u64 | index u16 | count u16 | bytes to the end
//! fetch  number u64 | indices u16, rising; none: the answer is whole, or nobody waits for it
//! ```

use alloc::string::String;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::time::Duration;

use crate::table::ZonePath;
use crate::wire::{Malformed, Put, Reader};

/// Bytes of a question's SQL at most: with its asker's record it fits a datagram of 1,200 bytes.
pub const SQL_BYTES_MAX: usize = 768;
/// The longest that anybody waits for an answer; who says longer means this.
pub const WITHIN_MAX: Duration = Duration::from_secs(60);
/// Bytes of an answer at most, over all its pieces: what does not fit is left out, and that is
/// said.
pub const ANSWER_BYTES_MAX: usize = 256 << 10;
/// Bytes of a piece at most: with its sender's record it fits a datagram of 1,200 bytes.
pub const PIECE_BYTES_MAX: usize = 900;
/// Pieces of an answer at most: those of the longest one, and as many where datagrams are small.
pub const PIECES_MAX: u16 = 1024;
/// Pieces that are asked for at once.
pub const FETCH_MAX: usize = 16;

/// The frames' types.
pub(crate) const ASK: u8 = 20;
pub(crate) const HEARD: u8 = 21;
pub(crate) const PIECE: u8 = 22;
pub(crate) const FETCH: u8 = 23;

/// Something said about a question.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Message {
    /// A question.
    Ask(Arc<Ask>),
    /// It has come, and others are being asked.
    Heard(u64),
    /// A piece of its answer.
    Piece(Piece),
    /// Which pieces to send.
    Fetch(Fetch),
}

/// A question.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ask {
    /// The asker's number for it.
    pub number: u64,
    /// The zone that it is about.
    pub zone: ZonePath,
    /// Names of the zone's path that the path of whoever is asked shares at least, from 1: more
    /// with each hop, so that no question goes in circles.
    pub depth: u8,
    /// How long the asker waits, at most [`WITHIN_MAX`].
    pub within_ms: u32,
    /// A query over the zone's hosts; none: the zone's own rows.
    pub sql: Option<String>,
}

/// A piece of an answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Piece {
    /// The question's number.
    pub number: u64,
    /// Which piece, from 0.
    pub index: u16,
    /// Pieces that there are.
    pub count: u16,
    /// It: 1 to [`PIECE_BYTES_MAX`] bytes.
    pub bytes: Vec<u8>,
}

/// A request for pieces.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fetch {
    /// The question's number.
    pub number: u64,
    /// Which pieces, rising; at most [`FETCH_MAX`].
    pub indices: Vec<u16>,
}

impl Message {
    /// The frame's type.
    #[must_use]
    pub(crate) const fn kind(&self) -> u8 {
        match self {
            Self::Ask(_) => ASK,
            Self::Heard(_) => HEARD,
            Self::Piece(_) => PIECE,
            Self::Fetch(_) => FETCH,
        }
    }

    /// Reads the body of a frame of one of the four types.
    ///
    /// # Errors
    /// It is none.
    pub fn parse(kind: u8, body: &[u8]) -> Result<Self, Malformed> {
        let mut reader = Reader::new(body);
        let number = reader.u64()?;
        let message = match kind {
            ASK => Self::Ask(Arc::new(Ask::read(number, &mut reader)?)),
            HEARD => Self::Heard(number),
            PIECE => Self::Piece(Piece::read(number, &mut reader)?),
            FETCH => Self::Fetch(Fetch::read(number, &mut reader)?),
            _ => return Err(Malformed),
        };
        if reader.is_empty() { Ok(message) } else { Err(Malformed) }
    }

    /// Appends the frame's body.
    pub fn encode(&self, buffer: &mut Vec<u8>) {
        match self {
            Self::Ask(ask) => {
                buffer.put_u64(ask.number);
                buffer.put_text(ask.zone.as_str());
                buffer.put_u8(ask.depth);
                buffer.put_varint(ask.within_ms.into());
                buffer.put(ask.sql.as_deref().unwrap_or("").as_bytes());
            }
            Self::Heard(number) => buffer.put_u64(*number),
            Self::Piece(piece) => {
                buffer.put_u64(piece.number);
                buffer.put_u16(piece.index);
                buffer.put_u16(piece.count);
                buffer.put(&piece.bytes);
            }
            Self::Fetch(fetch) => {
                buffer.put_u64(fetch.number);
                fetch.indices.iter().for_each(|index| buffer.put_u16(*index));
            }
        }
    }
}

impl Ask {
    fn read(number: u64, reader: &mut Reader<'_>) -> Result<Self, Malformed> {
        let zone = ZonePath::read(reader)?;
        let depth = reader.u8()?;
        let within_ms = u32::try_from(reader.varint()?).map_err(|_| Malformed)?;
        let sql = reader.bytes(reader.rest().len())?;
        let sql = core::str::from_utf8(sql).map_err(|_| Malformed)?;
        let is_deep = (1..=zone.depth()).contains(&usize::from(depth));
        let is_patient = Duration::from_millis(within_ms.into()) <= WITHIN_MAX;
        if !is_deep || !is_patient || sql.len() > SQL_BYTES_MAX {
            return Err(Malformed);
        }
        let sql = if sql.is_empty() { None } else { Some(sql.into()) };
        Ok(Self { number, zone, depth, within_ms, sql })
    }
}

impl Piece {
    fn read(number: u64, reader: &mut Reader<'_>) -> Result<Self, Malformed> {
        let (index, count) = (reader.u16()?, reader.u16()?);
        let bytes = reader.bytes(reader.rest().len())?;
        let fits = (1..=PIECE_BYTES_MAX).contains(&bytes.len());
        if index >= count || count > PIECES_MAX || !fits {
            return Err(Malformed);
        }
        Ok(Self { number, index, count, bytes: bytes.to_vec() })
    }
}

impl Fetch {
    fn read(number: u64, reader: &mut Reader<'_>) -> Result<Self, Malformed> {
        let mut indices = Vec::new();
        while !reader.is_empty() {
            let index = reader.u16()?;
            let rises = indices.last().is_none_or(|last| *last < index);
            if !rises || indices.len() == FETCH_MAX {
                return Err(Malformed);
            }
            indices.push(index);
        }
        Ok(Self { number, indices })
    }
}
