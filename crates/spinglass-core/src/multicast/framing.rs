//! Messages into packets and back: the only place that knows messages.
//!
//! A stream is one run of bytes: each message is its length (varint) and its bytes, one after the
//! other, cut into packets wherever they fill up. So small messages share a packet and large ones
//! span several, and no byte is padding. Each packet says where its first message starts, so that a
//! reader that lost packets finds its feet again.

use alloc::collections::VecDeque;
use alloc::vec::Vec;

use bytes::{Buf, Bytes};

use super::packet::NO_FIRST;
use crate::config::MESSAGE_BYTES_MAX;
use crate::id::Sequence;
use crate::time::Instant;
use crate::wire::{Put, Reader};

/// Bytes set aside for a message at most when only its length is known.
const RESERVE_BYTES_MAX: usize = 64 << 10;

/// Messages waiting to be cut into packets.
#[derive(Debug, Default)]
pub struct Framer {
    waiting: VecDeque<Piece>,
    bytes: usize,
    /// Messages of which nothing has left.
    unstarted: usize,
}

#[derive(Debug)]
struct Piece {
    bytes: Bytes,
    /// If a message starts at the front of `bytes`: since when it waits.
    starts: Option<Instant>,
}

impl Framer {
    /// Appends a message that was published at `now`.
    pub fn push(&mut self, payload: Bytes, now: Instant) {
        let mut length = Vec::with_capacity(4);
        length.put_varint(payload.len() as u64);
        self.bytes += length.len() + payload.len();
        self.waiting.push_back(Piece { bytes: length.into(), starts: Some(now) });
        self.unstarted += 1;
        if !payload.is_empty() {
            self.waiting.push_back(Piece { bytes: payload, starts: None });
        }
    }

    /// Bytes that wait, lengths included.
    #[must_use]
    pub const fn bytes(&self) -> usize {
        self.bytes
    }

    /// Messages of which nothing has been moved to packets.
    #[must_use]
    pub const fn unstarted(&self) -> usize {
        self.unstarted
    }

    /// Moves up to `room` bytes to the end of `packet`; returns where in them the first message
    /// starts, or [`NO_FIRST`], and since when that message has waited.
    pub fn fill(&mut self, room: usize, packet: &mut Vec<u8>) -> (u16, Option<Instant>) {
        let start = packet.len();
        let (mut first, mut since) = (NO_FIRST, None);
        while let Some(piece) = self.waiting.front_mut() {
            let filled = packet.len() - start;
            if filled >= room {
                break;
            }
            let starts = piece.starts.take();
            self.unstarted -= usize::from(starts.is_some());
            if starts.is_some() && since.is_none() {
                first = u16::try_from(filled).unwrap_or(NO_FIRST);
                since = starts;
            }
            let take = piece.bytes.len().min(room - filled);
            packet.put(piece.bytes.split_at(take).0);
            piece.bytes.advance(take);
            self.bytes -= take;
            if piece.bytes.is_empty() {
                self.waiting.pop_front();
            }
        }
        (first, since)
    }
}

/// Puts messages together again, packet by packet, in order.
#[derive(Debug, Default)]
pub struct Assembler {
    state: State,
}

#[derive(Debug, Default)]
enum State {
    /// After a loss, or at the start: skip to the next message's start.
    #[default]
    Lost,
    /// Between two messages, or inside a length that a packet's end cut in two.
    Length { first: Sequence, bytes: Vec<u8> },
    /// Inside a message.
    Message { first: Sequence, left: usize, bytes: Vec<u8> },
}

/// A message that came whole: the packets in which it starts and ends, and its bytes.
pub type Whole = (Sequence, Sequence, Bytes);

/// The sender announced a message larger than any may be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Oversized;

impl Assembler {
    /// An assembler at the very start of a stream, where a message starts.
    #[must_use]
    pub fn at_start() -> Self {
        Self { state: State::Length { first: Sequence(0), bytes: Vec::new() } }
    }

    /// The packet in which a message starts of which more is to come.
    #[must_use]
    pub const fn open_since(&self) -> Option<Sequence> {
        match &self.state {
            State::Message { first, .. } => Some(*first),
            State::Length { first, bytes } if !bytes.is_empty() => Some(*first),
            State::Length { .. } | State::Lost => None,
        }
    }

    /// Forgets a message that was cut off by a loss.
    pub fn cut(&mut self) {
        self.state = State::Lost;
    }

    /// Takes the next packet's content and hands out every message that it completes.
    ///
    /// # Errors
    /// A length that no message may have; the rest of the packet is skipped, as after a loss.
    pub fn push(
        &mut self,
        sequence: Sequence,
        first: u16,
        content: &Bytes,
        mut whole: impl FnMut(Whole),
    ) -> Result<(), Oversized> {
        let mut rest = content.clone();
        if matches!(self.state, State::Lost) {
            if first == NO_FIRST || usize::from(first) > rest.len() {
                return Ok(());
            }
            rest.advance(first.into());
            self.state = State::Length { first: sequence, bytes: Vec::new() };
        }
        while !rest.is_empty() {
            self.state = match core::mem::take(&mut self.state) {
                State::Lost => return Ok(()),
                State::Length { first, bytes } => {
                    Self::read_length(sequence, first, bytes, &mut rest, &mut whole)?
                }
                State::Message { first, left, mut bytes } => {
                    let take = left.min(rest.len());
                    bytes.put(&rest.split_to(take));
                    if take == left {
                        whole((first, sequence, bytes.into()));
                        State::Length { first: sequence, bytes: Vec::new() }
                    } else {
                        State::Message { first, left: left - take, bytes }
                    }
                }
            };
        }
        Ok(())
    }

    fn read_length(
        sequence: Sequence,
        first: Sequence,
        mut bytes: Vec<u8>,
        rest: &mut Bytes,
        whole: &mut impl FnMut(Whole),
    ) -> Result<State, Oversized> {
        let first = if bytes.is_empty() { sequence } else { first };
        let length = if bytes.is_empty() && rest.first().is_some_and(|byte| byte & 0x80 == 0) {
            u64::from(rest.get_u8())
        } else {
            // At most five bytes: 16 MiB and its continuation take four.
            while bytes.len() < 5 && bytes.last().is_none_or(|byte| byte & 0x80 != 0) {
                if rest.is_empty() {
                    return Ok(State::Length { first, bytes });
                }
                bytes.put_u8(rest.get_u8());
            }
            Reader::new(&bytes).varint().map_err(|_| Oversized)?
        };
        let length = usize::try_from(length).map_err(|_| Oversized)?;
        if length > MESSAGE_BYTES_MAX {
            return Err(Oversized);
        }
        if length <= rest.len() {
            whole((first, sequence, rest.split_to(length)));
            return Ok(State::Length { first: sequence, bytes: Vec::new() });
        }
        // A length alone allocates little: beyond that, the message grows as its bytes arrive.
        let mut bytes = Vec::with_capacity(length.min(RESERVE_BYTES_MAX));
        bytes.put(&core::mem::take(rest));
        Ok(State::Message { first, left: length - bytes.len(), bytes })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn packets(messages: &[Vec<u8>], room: usize) -> Vec<(u16, Bytes)> {
        let mut framer = Framer::default();
        messages
            .iter()
            .for_each(|message| framer.push(Bytes::copy_from_slice(message), Instant::START));
        let mut packets = Vec::new();
        while framer.bytes() > 0 {
            let mut content = Vec::new();
            let (first, _) = framer.fill(room, &mut content);
            packets.push((first, content.into()));
        }
        packets
    }

    proptest! {
        #[test]
        fn messages_come_back(
            sizes in prop::collection::vec(0_usize..700, 0..40),
            room in 1_usize..300,
        ) {
            let messages: Vec<Vec<u8>> =
                (0_u8..).zip(&sizes).map(|(tag, size)| alloc::vec![tag; *size]).collect();
            let mut assembler = Assembler::at_start();
            let mut got = Vec::new();
            for (sequence, (first, content)) in packets(&messages, room).into_iter().enumerate() {
                let push = assembler.push(Sequence(sequence as u64), first, &content, |whole| {
                    got.push(whole.2.to_vec());
                });
                prop_assert_eq!(push, Ok(()));
            }
            prop_assert_eq!(got, messages);
        }

        #[test]
        fn after_a_loss_only_whole_messages_come(
            sizes in prop::collection::vec(0_usize..700, 1..40),
            room in 1_usize..300,
            lost in prop::collection::btree_set(0_usize..60, 0..20),
        ) {
            let messages: Vec<Vec<u8>> =
                (0_u8..).zip(&sizes).map(|(tag, size)| alloc::vec![tag; *size]).collect();
            let mut assembler = Assembler::at_start();
            let mut got = Vec::new();
            let mut touched = alloc::vec![false; messages.len()];
            let mut place = 0;
            let starts: Vec<usize> = messages.iter().map(|message| {
                let start = place;
                place += message.len() + crate::wire::varint_bytes(message.len() as u64);
                start
            }).chain([usize::MAX]).collect();
            let mut at = 0;
            for (sequence, (first, content)) in packets(&messages, room).into_iter().enumerate() {
                if lost.contains(&sequence) {
                    assembler.cut();
                    for (message, window) in starts.windows(2).enumerate() {
                        let end = window[0] + messages[message].len()
                            + crate::wire::varint_bytes(messages[message].len() as u64);
                        touched[message] |= window[0] < at + content.len() && end > at;
                    }
                } else {
                    assembler.push(Sequence(sequence as u64), first, &content, |whole| {
                        got.push(whole.2.to_vec());
                    }).unwrap();
                }
                at += content.len();
            }
            let wanted: Vec<Vec<u8>> = messages.into_iter().zip(touched)
                .filter(|(_, touched)| !touched).map(|(message, _)| message).collect();
            prop_assert_eq!(got, wanted);
        }
    }

    #[test]
    fn a_length_beyond_the_limit_is_refused() {
        let mut content = Vec::new();
        content.put_varint(MESSAGE_BYTES_MAX as u64 + 1);
        let pushed = Assembler::at_start().push(Sequence(0), 0, &content.into(), |_| ());
        assert_eq!(pushed, Err(Oversized));
    }
}
