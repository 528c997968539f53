//! Answers that others may still fetch pieces of.

use alloc::collections::VecDeque;
use alloc::vec::Vec;
use core::net::SocketAddr;
use core::time::Duration;

use super::messages::{PIECES_MAX, Piece};
use crate::id::MemberId;
use crate::time::Instant;

/// How long an answer is kept that nobody says is whole: twenty times what a lost piece takes to be
/// asked for again.
const KEPT_FOR: Duration = Duration::from_secs(8);
/// Answers kept at most, and bytes of them; when full, the oldest goes, and whoever misses it asks
/// anew.
const KEPT_MAX: usize = 256;
const KEPT_BYTES_MAX: usize = 4 << 20;

/// The answers.
#[derive(Debug, Default)]
pub(super) struct Kept {
    answers: VecDeque<Answer>,
    bytes: usize,
}

#[derive(Debug)]
struct Answer {
    asker: MemberId,
    number: u64,
    to: SocketAddr,
    until: Instant,
    bytes: Vec<u8>,
}

impl Kept {
    pub(super) fn keep(
        &mut self,
        (asker, to): (MemberId, SocketAddr),
        number: u64,
        bytes: Vec<u8>,
        now: Instant,
    ) {
        self.bytes += bytes.len();
        let until = now + KEPT_FOR;
        self.answers.push_back(Answer { asker, number, to, until, bytes });
        let is_over = |answer: &Answer| answer.until <= now;
        while self.answers.len() > KEPT_MAX
            || self.bytes > KEPT_BYTES_MAX
            || self.answers.front().is_some_and(is_over)
        {
            let Some(oldest) = self.answers.pop_front() else { break };
            self.bytes -= oldest.bytes.len();
        }
    }

    /// How many are kept for one asker.
    pub(super) fn count(&self, asker: MemberId, now: Instant) -> usize {
        let is_its = |answer: &&Answer| answer.asker == asker && answer.until > now;
        self.answers.iter().filter(is_its).count()
    }

    /// Forgets an answer that has arrived.
    pub(super) fn forget(&mut self, asker: MemberId, number: u64) {
        if let Some(at) = self.place(asker, number)
            && let Some(answer) = self.answers.remove(at)
        {
            self.bytes -= answer.bytes.len();
        }
    }

    /// Pieces of an answer, of `piece_bytes` each, and where they go. `None`: it is not kept.
    pub(super) fn pieces(
        &self,
        (asker, number): (MemberId, u64),
        indices: impl IntoIterator<Item = u16>,
        piece_bytes: usize,
    ) -> Option<(SocketAddr, Vec<Piece>)> {
        let answer = self.answers.get(self.place(asker, number)?)?;
        let count = pieces_of(answer.bytes.len(), piece_bytes);
        let piece = |index: u16| {
            let bytes = answer.bytes.chunks(piece_bytes).nth(index.into())?.to_vec();
            Some(Piece { number, index, count, bytes })
        };
        Some((answer.to, indices.into_iter().filter_map(piece).collect()))
    }

    fn place(&self, asker: MemberId, number: u64) -> Option<usize> {
        self.answers.iter().position(|answer| (answer.asker, answer.number) == (asker, number))
    }
}

fn pieces_of(bytes: usize, piece_bytes: usize) -> u16 {
    u16::try_from(bytes.div_ceil(piece_bytes)).unwrap_or(PIECES_MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    const ASKER: MemberId = MemberId([1; 16]);

    fn keep(kept: &mut Kept, number: u64, bytes: usize, now: Instant) {
        let to = SocketAddr::from(([127, 0, 0, 1], 1));
        kept.keep((ASKER, to), number, alloc::vec![0; bytes], now);
    }

    #[test]
    fn the_oldest_goes_when_there_is_no_room() {
        let mut kept = Kept::default();
        (0..20).for_each(|number| keep(&mut kept, number, KEPT_BYTES_MAX / 8, Instant::START));
        assert_eq!((kept.count(ASKER, Instant::START), kept.bytes), (8, KEPT_BYTES_MAX));
        assert!(kept.pieces((ASKER, 11), [0], 900).is_none());
        (0..300).for_each(|number| keep(&mut kept, 100 + number, 1, Instant::START));
        assert_eq!(kept.count(ASKER, Instant::START), KEPT_MAX);
    }

    #[test]
    fn what_has_arrived_or_is_old_is_forgotten() {
        let mut kept = Kept::default();
        keep(&mut kept, 1, 10, Instant::START);
        keep(&mut kept, 2, 10, Instant::START);
        kept.forget(ASKER, 1);
        assert_eq!((kept.count(ASKER, Instant::START), kept.bytes), (1, 10));
        let later = Instant::START + KEPT_FOR;
        assert_eq!(kept.count(ASKER, later), 0);
        keep(&mut kept, 3, 10, later);
        assert!(kept.pieces((ASKER, 2), [0], 900).is_none());
    }

    #[test]
    fn pieces_are_of_one_size_but_the_last() {
        let mut kept = Kept::default();
        keep(&mut kept, 1, 2000, Instant::START);
        let (_, pieces) = kept.pieces((ASKER, 1), 0..8, 900).unwrap();
        let sizes: Vec<_> = pieces.iter().map(|piece| (piece.count, piece.bytes.len())).collect();
        assert_eq!(sizes, [(3, 900), (3, 900), (3, 200)]);
    }
}
