//! What members tell each other about packets: digests and solicitations.
//!
//! ```text
//!  digest   round u32 | entries…
//!  entry    topic 8 | sender 16 | incarnation u64 | high varint | kept varint | missing ranges |
//!           back varint | print 4, if back is not 0 | passed over varint | ceiling u8 |
//!           quiet u8
//!  solicit  round u32 | topic 8 | sender 16 | incarnation u64 | wanted ranges
//!  ranges   count u8 | (skip varint, length - 1 varint)…      downwards from `high`, or from the
//!                                                              number told first (a solicit)
//! ```
//!
//! An entry says: I lack the missing ranges below `high`, and can send any other packet of the last
//! `kept` ones; of all packets I pass over so many in a million, as my rating says, and more of
//! streams busier than the ceiling: I neither lack nor hold those ([`Sieve`]); the newest packet
//! was new `quiet` rounds ago, or longer if that is 255. Ranges ("5-11 and 13") are what the paper
//! describes; Ensemble's code told only prefixes [FACTS 2.1]. It also tells
//! a print of one packet held, `back` below `high`: two members whose packets of one number differ
//! notice it, though neither asks for what it has.

use alloc::vec::Vec;
use core::ops::Range;

use crate::crypto::{Crypto, Domain};
use crate::id::{Incarnation, MemberId, StreamId, TopicId};
use crate::load::Load;
use crate::rating::{Rating, Share, Sieve};
use crate::wire::{Malformed, Put, Reader};

/// Ranges in one entry or solicitation at most; further ones wait for the next.
pub const RANGES_MAX: usize = 64;
/// Bytes of the longest entry without ranges.
pub(super) const ENTRY_BYTES_MAX: usize = 32 + 10 + 10 + 1 + 1 + 4 + 3 + 1 + 1;
/// Packets below a stream's newest, one of which a digest tells a print of: a byte tells which.
pub(super) const SAMPLED_PACKETS: u64 = 64;

/// A gossip of what its sender holds.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Digest {
    /// Its sender's round: what a solicitation that answers it quotes.
    pub round: u32,
    /// A few streams, the ones active last first.
    pub entries: Vec<Entry>,
}

/// What a member holds of one stream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// The stream.
    pub stream: StreamId,
    /// It knows of the packets below this.
    pub high: u64,
    /// It can send packets from here on.
    pub low: u64,
    /// What it lacks below `high`, the highest first. May reach below `low`.
    pub missing: Vec<Range<u64>>,
    /// One of the packets that it holds.
    pub sample: Option<Sample>,
    /// What it takes: of other packets it says nothing.
    pub share: Share,
    /// How many rounds ago the newest packet was new; 255: as many, or more.
    pub quiet: u8,
}

impl Entry {
    /// Which packets its sender takes.
    #[must_use]
    pub fn sieve(&self) -> Sieve {
        Sieve::new(self.share, &self.stream)
    }
}

/// What a packet looks like to one member in one round: nobody can make two packets that look alike
/// to all.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Sample {
    /// The packet's number, below the entry's `high`.
    pub sequence: u64,
    /// The front of a hash of the packet's leaf and of the digest's round and sender.
    pub print: [u8; 4],
}

impl Sample {
    /// That of a packet, of this leaf, in the digest of `sender` in `round`.
    pub fn of(
        sequence: u64,
        leaf: &[u8],
        (sender, round): (MemberId, u32),
        crypto: &mut dyn Crypto,
    ) -> Self {
        let (leaf, round) = (crypto.hash(Domain::Leaf, leaf), round.to_le_bytes());
        let mut input = [0; 36];
        let parts = [&leaf.0[..], &sender.0, &round].into_iter().flatten();
        input.iter_mut().zip(parts).for_each(|(to, from)| *to = *from);
        let [a, b, c, d, ..] = crypto.hash(Domain::Sample, &input).0;
        Self { sequence, print: [a, b, c, d] }
    }
}

/// A request for packets.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Solicit {
    /// The round of the member asked, as far as its asker knows; 0: not known.
    pub round: u32,
    /// The stream.
    pub stream: StreamId,
    /// What is wanted, the highest first.
    pub wanted: Vec<Range<u64>>,
}

impl Digest {
    /// Appends the digest.
    pub fn encode(&self, buffer: &mut Vec<u8>) {
        buffer.put_u32(self.round);
        self.entries.iter().for_each(|entry| entry.encode(buffer));
    }

    /// Reads a digest to the end of the bytes.
    ///
    /// # Errors
    /// It is none.
    pub fn parse(bytes: &[u8]) -> Result<Self, Malformed> {
        let mut reader = Reader::new(bytes);
        let mut digest = Self { round: reader.u32()?, ..Self::default() };
        while !reader.is_empty() {
            digest.entries.push(Entry::parse(&mut reader)?);
        }
        Ok(digest)
    }
}

impl Entry {
    /// Appends the entry.
    pub fn encode(&self, buffer: &mut Vec<u8>) {
        put_stream(&self.stream, buffer);
        buffer.put_varint(self.high);
        buffer.put_varint(self.high - self.low);
        put_ranges(self.high, &self.missing, buffer);
        buffer.put_varint(self.sample.map_or(0, |sample| self.high - sample.sequence));
        self.sample.iter().for_each(|sample| buffer.put(&sample.print));
        buffer.put_varint((Rating::ALL.millionths() - self.share.rating.millionths()).into());
        buffer.put_u8(self.share.ceiling.0);
        buffer.put_u8(self.quiet);
    }

    fn parse(reader: &mut Reader<'_>) -> Result<Self, Malformed> {
        let stream = stream(reader)?;
        let high = reader.varint()?;
        let low = high.checked_sub(reader.varint()?).ok_or(Malformed)?;
        let missing = ranges(high, reader)?;
        let back = reader.varint()?;
        let sequence = high.checked_sub(back).ok_or(Malformed)?;
        let print = if back == 0 { None } else { Some(reader.array()?) };
        let sample = print.map(|print| Sample { sequence, print });
        let passed_over = u32::try_from(reader.varint()?).map_err(|_| Malformed)?;
        let millionths = Rating::ALL.millionths().checked_sub(passed_over).ok_or(Malformed)?;
        let rating = Rating::from_millionths(millionths).map_err(|_| Malformed)?;
        let share = Share { rating, ceiling: Load(reader.u8()?) };
        let quiet = reader.u8()?;
        Ok(Self { stream, high, low, missing, sample, share, quiet })
    }
}

impl Solicit {
    /// Appends the solicitation.
    pub fn encode(&self, buffer: &mut Vec<u8>) {
        buffer.put_u32(self.round);
        put_stream(&self.stream, buffer);
        let high = self.wanted.first().map_or(0, |range| range.end);
        buffer.put_varint(high);
        put_ranges(high, &self.wanted, buffer);
    }

    /// Reads a solicitation to the end of the bytes.
    ///
    /// # Errors
    /// It is none.
    pub fn parse(bytes: &[u8]) -> Result<Self, Malformed> {
        let mut reader = Reader::new(bytes);
        let (round, stream) = (reader.u32()?, stream(&mut reader)?);
        let high = reader.varint()?;
        let wanted = ranges(high, &mut reader)?;
        let starts_at_high = wanted.first().map_or(high == 0, |range| range.end == high);
        if !starts_at_high || !reader.is_empty() {
            return Err(Malformed);
        }
        Ok(Self { round, stream, wanted })
    }
}

/// Numbers in falling order, as ranges, the highest first; at most [`RANGES_MAX`].
pub(super) fn ranges_of(falling: impl IntoIterator<Item = u64>) -> Vec<Range<u64>> {
    let mut ranges: Vec<Range<u64>> = Vec::new();
    for number in falling {
        let full = ranges.len() == RANGES_MAX;
        match ranges.last_mut() {
            Some(range) if number.saturating_add(1) == range.start => range.start = number,
            _ if full => break,
            _ => ranges.push(number..number.saturating_add(1)),
        }
    }
    ranges
}

fn put_stream(stream: &StreamId, buffer: &mut Vec<u8>) {
    buffer.put(&stream.topic.0);
    buffer.put(&stream.sender.0);
    buffer.put_u64(stream.incarnation.0);
}

fn stream(reader: &mut Reader<'_>) -> Result<StreamId, Malformed> {
    let (topic, sender) = (TopicId(reader.array()?), MemberId(reader.array()?));
    Ok(StreamId { topic, sender, incarnation: Incarnation(reader.u64()?) })
}

fn put_ranges(high: u64, ranges: &[Range<u64>], buffer: &mut Vec<u8>) {
    buffer.put_u8(u8::try_from(ranges.len().min(RANGES_MAX)).unwrap_or(0));
    let mut cursor = high;
    for range in ranges.iter().take(RANGES_MAX) {
        buffer.put_varint(cursor - range.end);
        buffer.put_varint(range.end - range.start - 1);
        cursor = range.start;
    }
}

fn ranges(high: u64, reader: &mut Reader<'_>) -> Result<Vec<Range<u64>>, Malformed> {
    let count = usize::from(reader.u8()?);
    if count > RANGES_MAX {
        return Err(Malformed);
    }
    let mut ranges: Vec<Range<u64>> = Vec::with_capacity(count);
    let mut cursor = high;
    for _ in 0..count {
        let skip = reader.varint()?;
        // Two ranges that touch are one.
        if skip == 0 && !ranges.is_empty() {
            return Err(Malformed);
        }
        let end = cursor.checked_sub(skip).ok_or(Malformed)?;
        let length = reader.varint()?.checked_add(1).ok_or(Malformed)?;
        let start = end.checked_sub(length).ok_or(Malformed)?;
        ranges.push(start..end);
        cursor = start;
    }
    Ok(ranges)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn digests_come_back(
            round: u32,
            missing in prop::collection::btree_set(0_u64..500, 0..40),
            kept in 0_u64..500,
        ) {
            let missing = ranges_of(missing.into_iter().rev());
            let (high, low, stream) = (500, 500 - kept, StreamId::default());
            let sample = Some(Sample { sequence: kept, print: round.to_le_bytes() });
            let (share, quiet) = (Share::ALL, kept as u8);
            let bare = Entry { stream, high, low, missing, sample: None, share, quiet };
            let rating = Rating::from_millionths(round % 1_000_000).unwrap();
            let share = Share { rating, ceiling: Load(kept as u8) };
            let entry = Entry { sample, share, ..bare.clone() };
            let wanted = entry.missing.clone();
            let digest = Digest { round, entries: alloc::vec![bare, entry] };
            let mut bytes = Vec::new();
            digest.encode(&mut bytes);
            prop_assert_eq!(Digest::parse(&bytes), Ok(digest));
            let solicit = Solicit { round, stream: StreamId::default(), wanted };
            bytes.clear();
            solicit.encode(&mut bytes);
            prop_assert_eq!(Solicit::parse(&bytes), Ok(solicit));
        }
    }

    #[test]
    fn falling_numbers_become_ranges() {
        assert_eq!(ranges_of([13, 11, 10, 9, 5]), [13..14, 9..12, 5..6]);
        assert_eq!(ranges_of([]), []);
    }
}
