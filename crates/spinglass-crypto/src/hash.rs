//! Hashes: BLAKE3, keyed by domain, truncated to 16 bytes, many inputs side by side.
//!
//! `hash(domain, m)` is the first 16 bytes of BLAKE3's keyed hash of `m`, a byte 0x80, and zeros up
//! to whole blocks of 64 bytes. No two messages are the same after that: a packet does not tell its
//! own length, so zeros alone would let a relay add some. Up to 1,023 bytes are one chunk, which
//! alone cannot use SIMD: 1.1 us. BLAKE3's own many-input kernel hashes 8 or 16 of them at once, at
//! about 0.2 us each; padding makes lengths equal that differ by a few bytes. The kernel is not
//! part of BLAKE3's stable interface, so its version is pinned, and a test compares every length
//! with the stable function.

use std::sync::LazyLock;

use blake3::IncrementCounter;
use blake3::platform::Platform;
use spinglass_core::crypto::{Domain, Hash};

const BLOCK_BYTES: usize = 64;
/// BLAKE3's chunk: what one SIMD lane can take.
const CHUNK_BYTES: usize = 1024;
/// Inputs handed to the kernel in one go: twice the widest lanes there are.
const SIDE_BY_SIDE: usize = 32;

/// What follows a message, before the zeros.
const END: u8 = 0x80;

// Flags of the BLAKE3 specification, section 2.2.
const CHUNK_START: u8 = 1;
const CHUNK_END: u8 = 2;
const ROOT: u8 = 8;
const KEYED_HASH: u8 = 16;

/// The keys of the domains.
static KEYS: LazyLock<[[u8; 32]; 13]> = LazyLock::new(|| {
    [
        "spinglass 2026-11 packet leaf",
        "spinglass 2026-11 burst node",
        "spinglass 2026-11 member name",
        "spinglass 2026-11 topic name",
        "spinglass 2026-11 boot name",
        "spinglass 2026-11 table row",
        "spinglass 2026-11 table line",
        "spinglass 2026-11 object piece",
        "spinglass 2026-11 object node",
        "spinglass 2026-11 certificate",
        "spinglass 2026-11 epoch key",
        "spinglass 2026-11 cookie",
        "spinglass 2026-11 packet sample",
    ]
    .map(|context| blake3::derive_key(context, &[]))
});
static PLATFORM: LazyLock<Platform> = LazyLock::new(Platform::detect);

fn key(domain: Domain) -> &'static [u8; 32] {
    let [leaf, node, member, topic, boot, row, line, piece, object, rest @ ..] = &*KEYS;
    let [certificate, epoch, cookie, sample] = rest;
    match domain {
        Domain::Leaf => leaf,
        Domain::Node => node,
        Domain::Member => member,
        Domain::Topic => topic,
        Domain::Boot => boot,
        Domain::Row => row,
        Domain::Line => line,
        Domain::Piece => piece,
        Domain::Object => object,
        Domain::Certificate => certificate,
        Domain::EpochKey => epoch,
        Domain::Cookie => cookie,
        Domain::Sample => sample,
    }
}

fn truncate(hash: &[u8]) -> Hash {
    let mut short = [0; 16];
    short.iter_mut().zip(hash).for_each(|(to, from)| *to = *from);
    Hash(short)
}

/// Hashes one message, with no key of anybody's.
#[must_use]
pub fn hash(domain: Domain, message: &[u8]) -> Hash {
    let mut padding = [0; BLOCK_BYTES];
    let (padding, _) = padding.split_at_mut(BLOCK_BYTES - message.len() % BLOCK_BYTES);
    padding.iter_mut().take(1).for_each(|byte| *byte = END);
    let mut hasher = blake3::Hasher::new_keyed(key(domain));
    hasher.update(message).update(padding);
    truncate(hasher.finalize().as_bytes())
}

/// Hashes messages, runs of equally many blocks side by side; appends to `hashes` in order.
pub fn hash_many(domain: Domain, messages: &[&[u8]], hashes: &mut Vec<Hash>) {
    let key = blake3::platform::words_from_le_bytes_32(key(domain));
    let blocks = |message: &[u8]| message.len() / BLOCK_BYTES + 1;
    let alike = |a: &&[u8], b: &&[u8]| blocks(a) == blocks(b);
    let runs = messages.chunk_by(alike).flat_map(|run| run.chunks(SIDE_BY_SIDE));
    for run in runs {
        let count = run.first().map_or(0, |message| blocks(message));
        if let ([message], 2..) = (run, count) {
            hashes.push(hash(domain, message));
            continue;
        }
        macro_rules! by_blocks {
            ($($blocks:literal)*) => {
                match count {
                    $($blocks => side_by_side::<{ $blocks * BLOCK_BYTES }>(&key, run, hashes),)*
                    _ => hashes.extend(run.iter().map(|message| hash(domain, message))),
                }
            };
        }
        by_blocks!(1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16);
    }
}

/// Hashes up to [`SIDE_BY_SIDE`] messages of fewer than `N` bytes, `N` a whole number of blocks.
fn side_by_side<const N: usize>(key: &[u32; 8], run: &[&[u8]], hashes: &mut Vec<Hash>) {
    const { assert!(N <= CHUNK_BYTES && N.is_multiple_of(BLOCK_BYTES)) };
    let mut padded = [[0; N]; SIDE_BY_SIDE];
    for (buffer, message) in padded.iter_mut().zip(run) {
        let (start, rest) = buffer.split_at_mut(message.len());
        start.copy_from_slice(message);
        rest.iter_mut().take(1).for_each(|byte| *byte = END);
    }
    let inputs: Vec<&[u8; N]> = padded.iter().take(run.len()).collect();
    let mut out = [0; 32 * SIDE_BY_SIDE];
    let (out, _) = out.split_at_mut(32 * run.len());
    let (start, end) = (CHUNK_START, CHUNK_END | ROOT);
    PLATFORM.hash_many(&inputs, key, 0, IncrementCounter::No, KEYED_HASH, start, end, out);
    hashes.extend(out.chunks_exact(32).map(truncate));
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The definition, by the stable interface alone.
    fn defined(domain: Domain, message: &[u8]) -> Hash {
        let mut padded = message.to_vec();
        padded.push(0x80);
        padded.resize(padded.len().next_multiple_of(64), 0);
        truncate(blake3::keyed_hash(key(domain), &padded).as_bytes())
    }

    #[test]
    fn many_equals_one_by_one_for_every_length() {
        let bytes: Vec<u8> = (0..3000_u32).map(|at| (at * 7 + at / 251) as u8).collect();
        let messages: Vec<&[u8]> = (0..3000).map(|length| &bytes[..length]).collect();
        let mut hashes = Vec::new();
        hash_many(Domain::Leaf, &messages, &mut hashes);
        for (message, hash) in messages.iter().zip(&hashes) {
            assert_eq!(*hash, defined(Domain::Leaf, message), "{} bytes", message.len());
            assert_eq!(*hash, super::hash(Domain::Leaf, message));
        }
    }

    #[test]
    fn no_zeros_can_be_added_or_cut() {
        let zeros = [0; 200];
        let mut seen: Vec<Hash> = (0..200).map(|n| hash(Domain::Leaf, &zeros[..n])).collect();
        seen.sort_unstable();
        seen.dedup();
        assert_eq!(seen.len(), 200);
    }

    #[test]
    fn domains_differ() {
        assert_ne!(hash(Domain::Leaf, b"x"), hash(Domain::Node, b"x"));
    }
}
