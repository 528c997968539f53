//! The hash tree over an object's pieces: each piece is verified alone, before it is kept.
//!
//! The leaves are the pieces' hashes, padded with zero hashes to a power of two; each node is the
//! hash of its two children; the root is the hash of the object's size and the topmost node, so
//! that no object passes for a part of another.

use alloc::vec::Vec;

use super::PIECE_BYTES;
use super::name::ObjectName;
use crate::crypto::{Crypto, Domain, Hash};
use crate::wire::Put as _;

pub(crate) const HASH_BYTES: usize = 16;

/// All hashes of an object.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tree {
    /// The leaves first; the last level is the topmost node.
    levels: Vec<Vec<Hash>>,
}

impl Tree {
    /// The tree over `bytes`.
    #[must_use]
    pub fn of(bytes: &[u8], crypto: &mut dyn Crypto) -> Self {
        let mut pieces: Vec<&[u8]> = bytes.chunks(PIECE_BYTES).collect();
        if pieces.is_empty() {
            pieces.push(&[]);
        }
        let size = pieces.len().next_power_of_two();
        let mut level = Vec::with_capacity(size);
        crypto.hash_many(Domain::Piece, &pieces, &mut level);
        level.resize(size, Hash::default());
        let mut levels = Vec::new();
        while level.len() > 1 {
            let above = hash_pairs(&level, crypto);
            levels.push(core::mem::replace(&mut level, above));
        }
        levels.push(level);
        Self { levels }
    }

    /// The root for an object of so many bytes.
    pub fn root(&self, bytes: u32, crypto: &mut dyn Crypto) -> Hash {
        let top = self.levels.last().and_then(|level| level.first());
        root(bytes, top.copied().unwrap_or_default(), crypto)
    }

    /// Appends the siblings on a piece's way to the top.
    pub fn put_path(&self, index: u32, buffer: &mut Vec<u8>) {
        let below_top = self.levels.len().saturating_sub(1);
        for (above, level) in self.levels.iter().take(below_top).enumerate() {
            let sibling = (index as usize) >> above ^ 1;
            buffer.put(&level.get(sibling).copied().unwrap_or_default().0);
        }
    }

    /// Bytes that its hashes take.
    pub(crate) fn held_bytes(&self) -> usize {
        self.levels.iter().map(|level| level.len() * HASH_BYTES).sum()
    }
}

/// Whether `content` is the piece `index` of an object, by its siblings' hashes in `path`.
pub fn verify(
    name: &ObjectName,
    index: u32,
    path: &[u8],
    content: &[u8],
    crypto: &mut dyn Crypto,
) -> bool {
    let (siblings, rest) = path.as_chunks::<HASH_BYTES>();
    let fits = name.piece_bytes(index) == Some(content.len());
    if !fits || !rest.is_empty() || siblings.len() != name.depth() {
        return false;
    }
    let mut hash = crypto.hash(Domain::Piece, content);
    for (above, sibling) in siblings.iter().enumerate() {
        let sibling = Hash(*sibling);
        let is_left = index >> above & 1 == 0;
        let (left, right) = if is_left { (hash, sibling) } else { (sibling, hash) };
        hash = crypto.hash(Domain::Object, &join(left, right));
    }
    let bytes = u32::try_from(name.bytes()).unwrap_or(u32::MAX);
    root(bytes, hash, crypto) == name.root() || cfg!(spinglass_bug = "piece_unchecked")
}

fn root(bytes: u32, top: Hash, crypto: &mut dyn Crypto) -> Hash {
    let mut sized = Vec::with_capacity(4 + HASH_BYTES);
    sized.put_u32(bytes);
    sized.put(&top.0);
    crypto.hash(Domain::Object, &sized)
}

fn hash_pairs(level: &[Hash], crypto: &mut dyn Crypto) -> Vec<Hash> {
    let (pairs, _) = level.as_chunks::<2>();
    let joined: Vec<_> = pairs.iter().map(|[left, right]| join(*left, *right)).collect();
    let inputs: Vec<&[u8]> = joined.iter().map(<[u8; 2 * HASH_BYTES]>::as_slice).collect();
    let mut above = Vec::with_capacity(inputs.len());
    crypto.hash_many(Domain::Object, &inputs, &mut above);
    above
}

fn join(left: Hash, right: Hash) -> [u8; 2 * HASH_BYTES] {
    let mut joined = [0; 2 * HASH_BYTES];
    let (low, high) = joined.split_at_mut(HASH_BYTES);
    low.copy_from_slice(&left.0);
    high.copy_from_slice(&right.0);
    joined
}
