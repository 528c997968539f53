//! What agents say to each other about objects: see [`object`](super).

use alloc::vec::Vec;

use super::ASK_PIECES_MAX;
use super::name::ObjectName;
use super::tree::HASH_BYTES;
use crate::wire::{Malformed, Put, Reader};

/// A request for pieces.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Ask {
    /// Of which object.
    pub name: ObjectName,
    /// Which, rising; 1 to [`ASK_PIECES_MAX`].
    pub pieces: Vec<u32>,
}

/// A piece on its way, unverified.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PieceRef<'a> {
    /// Of which object.
    pub name: ObjectName,
    /// Which one, from 0.
    pub index: u32,
    /// The siblings on its way to the top of the tree.
    pub path: &'a [u8],
    /// Its bytes.
    pub content: &'a [u8],
}

/// Reads a name alone: what one seeks, or has.
///
/// # Errors
/// It is none.
pub fn parse_name(body: &[u8]) -> Result<ObjectName, Malformed> {
    let mut reader = Reader::new(body);
    let name = ObjectName::read(&mut reader)?;
    if reader.is_empty() { Ok(name) } else { Err(Malformed) }
}

impl Ask {
    /// Reads a request.
    ///
    /// # Errors
    /// It is none.
    pub fn parse(body: &[u8]) -> Result<Self, Malformed> {
        let mut reader = Reader::new(body);
        let name = ObjectName::read(&mut reader)?;
        let mut pieces = Vec::new();
        let mut next = 0_u32;
        while !reader.is_empty() {
            let skip = u32::try_from(reader.varint()?).map_err(|_| Malformed)?;
            let piece = next.checked_add(skip).ok_or(Malformed)?;
            if piece >= name.pieces() || pieces.len() == ASK_PIECES_MAX {
                return Err(Malformed);
            }
            pieces.push(piece);
            next = piece + 1;
        }
        if pieces.is_empty() { Err(Malformed) } else { Ok(Self { name, pieces }) }
    }

    /// Appends the request.
    pub fn encode(&self, buffer: &mut Vec<u8>) {
        self.name.encode(buffer);
        let mut next = 0;
        for piece in &self.pieces {
            buffer.put_varint(piece.saturating_sub(next).into());
            next = piece + 1;
        }
    }
}

impl<'a> PieceRef<'a> {
    /// Reads a piece: its path and content have the lengths that its name and index demand.
    ///
    /// # Errors
    /// It is none.
    pub fn parse(body: &'a [u8]) -> Result<Self, Malformed> {
        let mut reader = Reader::new(body);
        let name = ObjectName::read(&mut reader)?;
        let index = u32::try_from(reader.varint()?).map_err(|_| Malformed)?;
        let bytes = name.piece_bytes(index).ok_or(Malformed)?;
        let path = reader.bytes(name.depth() * HASH_BYTES)?;
        let content = reader.bytes(bytes)?;
        if reader.is_empty() { Ok(Self { name, index, path, content }) } else { Err(Malformed) }
    }

    /// Appends the piece as it was read.
    pub fn encode(&self, buffer: &mut Vec<u8>) {
        self.name.encode(buffer);
        buffer.put_varint(self.index.into());
        buffer.put(self.path);
        buffer.put(self.content);
    }
}
