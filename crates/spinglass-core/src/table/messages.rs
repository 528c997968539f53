//! What two agents tell each other about their tables.
//!
//! ```text
//!  a ── digest: eight numbers per level, root first ▶ b     once a round
//!  a ◀── inventory of each part that differs ─────── b      keys and versions
//!  a ── rows that b lacks, and a want for the rest ─▶ b
//!  a ◀── rows ─────────────────────────────────────── b
//! ```
//!
//! Two agents that agree exchange one small datagram and no answer.

use alloc::vec::Vec;

use super::path::DEPTH_MAX;
use super::row::{RowKey, Version};
use crate::id::Incarnation;
use crate::wire::{Malformed, Put, Reader, varint_bytes};

/// Lines that an inventory or a want names at most.
pub const LINES_MAX: usize = 110;
/// Bytes of an inventory's lines at most: they fit a datagram of 1,200 bytes beside its sender's
/// record.
pub(crate) const LINES_BYTES_MAX: usize = 880;

/// Bytes of a line of an inventory at least.
pub(crate) const LINE_BYTES_MIN: usize = 12;
/// Bytes of an inventory before its lines, and of its frame's header.
const HEAD_BYTES: usize = 17 + 3;
/// Parts of a level, by key, of which each has a number of its own in a digest: of a table in which
/// a few rows are news, the rest need not be compared.
pub(crate) const PARTS: usize = 8;
/// Bits of a key below those that name its part.
const PART_SHIFT: u32 = 64 - PARTS.ilog2();

/// Numbers per level that both share, root first: equal numbers, equal rows.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct TableDigest {
    /// The levels' parts.
    pub levels: Vec<[u32; PARTS]>,
}

/// The part that a key lies in.
pub(crate) const fn part_of(key: RowKey) -> usize {
    (key.0 >> PART_SHIFT) as usize
}

/// The first and the last key of a part.
pub(crate) const fn keys_of(part: usize) -> (RowKey, RowKey) {
    let first = (part as u64) << PART_SHIFT;
    (RowKey(first), RowKey(first | (u64::MAX >> PARTS.ilog2())))
}

/// What the sender holds of one level, between two keys.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Inventory {
    /// Names in the path of the level's zone.
    pub depth: u8,
    /// The first key spoken of.
    pub from: RowKey,
    /// The last key spoken of: a row between the two that is not named is not held.
    pub to: RowKey,
    /// The lines, by key.
    pub lines: Vec<InventoryLine>,
}

/// A line of an inventory.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct InventoryLine {
    /// Which line.
    pub key: RowKey,
    /// The version held.
    pub version: Version,
    /// A piece of the row's hash, which tells rows of one version apart.
    pub hash: u16,
}

/// A request for rows of one level.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Want {
    /// Names in the path of the level's zone.
    pub depth: u8,
    /// Their keys, rising.
    pub keys: Vec<RowKey>,
}

impl TableDigest {
    /// Reads a digest.
    ///
    /// # Errors
    /// It is none.
    pub fn parse(body: &[u8]) -> Result<Self, Malformed> {
        let mut reader = Reader::new(body);
        let mut levels = Vec::new();
        while !reader.is_empty() {
            let mut parts = [0; PARTS];
            for part in &mut parts {
                *part = reader.u32()?;
            }
            levels.push(parts);
        }
        if levels.is_empty() || levels.len() > DEPTH_MAX + 1 {
            return Err(Malformed);
        }
        Ok(Self { levels })
    }

    /// Appends the digest.
    pub fn encode(&self, buffer: &mut Vec<u8>) {
        self.levels.iter().flatten().for_each(|part| buffer.put_u32(*part));
    }
}

impl InventoryLine {
    /// Bytes that the line takes.
    pub(crate) const fn encoded_bytes(&self) -> usize {
        10 + varint_bytes(self.version.incarnation.0) + varint_bytes(self.version.counter)
    }
}

impl Inventory {
    /// Bytes that the inventory takes, its frame's header included.
    pub(crate) fn encoded_bytes(&self) -> usize {
        let lines = self.lines.iter().map(InventoryLine::encoded_bytes).sum::<usize>();
        HEAD_BYTES + lines
    }

    /// Reads an inventory.
    ///
    /// # Errors
    /// It is none.
    pub fn parse(body: &[u8]) -> Result<Self, Malformed> {
        let mut reader = Reader::new(body);
        let depth = parse_depth(&mut reader)?;
        let (from, to) = (RowKey(reader.u64()?), RowKey(reader.u64()?));
        let mut lines = Vec::<InventoryLine>::new();
        while !reader.is_empty() {
            let key = RowKey(reader.u64()?);
            let incarnation = Incarnation(reader.varint()?);
            let version = Version { incarnation, counter: reader.varint()? };
            let rises = lines.last().is_none_or(|last| last.key < key);
            if !rises || key < from || key > to || lines.len() == LINES_MAX {
                return Err(Malformed);
            }
            lines.push(InventoryLine { key, version, hash: reader.u16()? });
        }
        Ok(Self { depth, from, to, lines })
    }

    /// Appends the inventory.
    pub fn encode(&self, buffer: &mut Vec<u8>) {
        buffer.put_u8(self.depth);
        buffer.put_u64(self.from.0);
        buffer.put_u64(self.to.0);
        for line in &self.lines {
            buffer.put_u64(line.key.0);
            buffer.put_varint(line.version.incarnation.0);
            buffer.put_varint(line.version.counter);
            buffer.put_u16(line.hash);
        }
    }
}

impl Want {
    /// Reads a request.
    ///
    /// # Errors
    /// It is none.
    pub fn parse(body: &[u8]) -> Result<Self, Malformed> {
        let mut reader = Reader::new(body);
        let depth = parse_depth(&mut reader)?;
        let mut keys = Vec::new();
        while !reader.is_empty() {
            let key = RowKey(reader.u64()?);
            if keys.last().is_some_and(|last| *last >= key) || keys.len() == LINES_MAX {
                return Err(Malformed);
            }
            keys.push(key);
        }
        Ok(Self { depth, keys })
    }

    /// Appends the request.
    pub fn encode(&self, buffer: &mut Vec<u8>) {
        buffer.put_u8(self.depth);
        self.keys.iter().for_each(|key| buffer.put_u64(key.0));
    }
}

fn parse_depth(reader: &mut Reader<'_>) -> Result<u8, Malformed> {
    let depth = reader.u8()?;
    if usize::from(depth) > DEPTH_MAX { Err(Malformed) } else { Ok(depth) }
}
