//! Messages into packets and back: the only place that knows messages.
//!
//! A stream is one run of bytes: each message is its length (varint), its headers if it has any,
//! and its bytes, one after the other, cut into packets wherever they fill up. So small messages
//! share a packet and large ones span several, and no byte is padding. Each packet says where its
//! first message starts, so that a reader that lost packets finds its feet again.

use alloc::collections::VecDeque;
use alloc::vec::Vec;

use bytes::{Buf, Bytes};
use spinglass_summary::Row;

use super::packet::NO_FIRST;
use crate::config::MESSAGE_BYTES_MAX;
use crate::draft::{Draft, HEADERS_BYTES_MAX};
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
    pub fn push(&mut self, draft: Draft, now: Instant) {
        let mut head = Vec::with_capacity(4 + draft.headers_bytes());
        let has_headers = !draft.headers.is_empty();
        head.put_varint((draft.bytes() as u64) << 1 | u64::from(has_headers));
        if has_headers {
            draft.headers.encode(&mut head);
        }
        let payload = draft.payload;
        self.bytes += head.len() + payload.len();
        self.waiting.push_back(Piece { bytes: head.into(), starts: Some(now) });
        self.unstarted += 1;
        if !payload.is_empty() {
            self.waiting.push_back(Piece { bytes: payload, starts: None });
        }
    }

    /// Bytes that wait, lengths and headers included.
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
    Message { first: Sequence, head: Head, left: usize, bytes: Vec<u8> },
}

/// What stands before a message.
#[derive(Debug, Clone, Copy)]
struct Head {
    has_headers: bool,
    /// Bytes of headers and payload.
    length: usize,
}

/// A message that came whole.
#[derive(Debug)]
pub struct Whole {
    /// The packet in which it starts.
    pub first: Sequence,
    /// The packet in which it ends.
    pub last: Sequence,
    /// What it says.
    pub draft: Draft,
}

/// The sender announced a message larger than any may be, or headers that are none.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Misframed;

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
    /// A message that nobody may send; the rest of the packet is skipped, as after a loss.
    pub fn push(
        &mut self,
        sequence: Sequence,
        first: u16,
        content: &Bytes,
        mut whole: impl FnMut(Whole),
    ) -> Result<(), Misframed> {
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
                State::Message { first, head, left, mut bytes } => {
                    let take = left.min(rest.len());
                    bytes.put(&rest.split_to(take));
                    if take == left {
                        let draft = head.draft(bytes.into())?;
                        whole(Whole { first, last: sequence, draft });
                        State::Length { first: sequence, bytes: Vec::new() }
                    } else {
                        State::Message { first, head, left: left - take, bytes }
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
    ) -> Result<State, Misframed> {
        let first = if bytes.is_empty() { sequence } else { first };
        let said = if bytes.is_empty() && rest.first().is_some_and(|byte| byte & 0x80 == 0) {
            u64::from(rest.get_u8())
        } else {
            // At most five bytes: 16 MiB and its continuation take four.
            while bytes.len() < 5 && bytes.last().is_none_or(|byte| byte & 0x80 != 0) {
                if rest.is_empty() {
                    return Ok(State::Length { first, bytes });
                }
                bytes.put_u8(rest.get_u8());
            }
            Reader::new(&bytes).varint().map_err(|_| Misframed)?
        };
        let head = Head::read(said)?;
        let length = head.length;
        if length <= rest.len() {
            let draft = head.draft(rest.split_to(length))?;
            whole(Whole { first, last: sequence, draft });
            return Ok(State::Length { first: sequence, bytes: Vec::new() });
        }
        // A length alone allocates little: beyond that, the message grows as its bytes arrive.
        let mut bytes = Vec::with_capacity(length.min(RESERVE_BYTES_MAX));
        bytes.put(&core::mem::take(rest));
        Ok(State::Message { first, head, left: length - bytes.len(), bytes })
    }
}

impl Head {
    /// What a message's first number says.
    fn read(said: u64) -> Result<Self, Misframed> {
        let has_headers = said & 1 != 0;
        let length = usize::try_from(said >> 1).map_err(|_| Misframed)?;
        let most = MESSAGE_BYTES_MAX + if has_headers { HEADERS_BYTES_MAX } else { 0 };
        if length <= most { Ok(Self { has_headers, length }) } else { Err(Misframed) }
    }

    /// The message, of all that stands behind its head.
    fn draft(self, mut bytes: Bytes) -> Result<Draft, Misframed> {
        if !self.has_headers {
            return Ok(bytes.into());
        }
        let mut rest = &bytes[..];
        let headers = Row::decode(&mut rest).map_err(|_| Misframed)?;
        let taken = bytes.len() - rest.len();
        if headers.is_empty() || taken > HEADERS_BYTES_MAX {
            return Err(Misframed);
        }
        bytes.advance(taken);
        Ok(Draft { headers, payload: bytes })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn packets(messages: &[Draft], room: usize) -> Vec<(u16, Bytes)> {
        let mut framer = Framer::default();
        messages.iter().for_each(|message| framer.push(message.clone(), Instant::START));
        let mut packets = Vec::new();
        while framer.bytes() > 0 {
            let mut content = Vec::new();
            let (first, _) = framer.fill(room, &mut content);
            packets.push((first, content.into()));
        }
        packets
    }

    /// Messages of these sizes; every third has headers.
    fn drafts(sizes: &[usize]) -> Vec<Draft> {
        let draft = |(at, size): (usize, &usize)| {
            let draft = Draft::from(alloc::vec![at as u8; *size]);
            let with = |draft: Draft| draft.header("number", at as i64).unwrap();
            if at % 3 == 0 { with(draft) } else { draft }
        };
        sizes.iter().enumerate().map(draft).collect()
    }

    fn framed_bytes(draft: &Draft) -> usize {
        draft.bytes() + crate::wire::varint_bytes(draft.bytes() as u64 * 2)
    }

    proptest! {
        #[test]
        fn messages_come_back(
            sizes in prop::collection::vec(0_usize..700, 0..40),
            room in 1_usize..300,
        ) {
            let messages = drafts(&sizes);
            let mut assembler = Assembler::at_start();
            let mut got = Vec::new();
            for (sequence, (first, content)) in packets(&messages, room).into_iter().enumerate() {
                let push = assembler.push(Sequence(sequence as u64), first, &content, |whole| {
                    got.push(whole.draft);
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
            let messages = drafts(&sizes);
            let mut assembler = Assembler::at_start();
            let mut got = Vec::new();
            let mut touched = alloc::vec![false; messages.len()];
            let mut place = 0;
            let starts: Vec<usize> = messages.iter().map(|message| {
                let start = place;
                place += framed_bytes(message);
                start
            }).chain([usize::MAX]).collect();
            let mut at = 0;
            for (sequence, (first, content)) in packets(&messages, room).into_iter().enumerate() {
                if lost.contains(&sequence) {
                    assembler.cut();
                    for (message, window) in starts.windows(2).enumerate() {
                        let end = window[0] + framed_bytes(&messages[message]);
                        touched[message] |= window[0] < at + content.len() && end > at;
                    }
                } else {
                    assembler.push(Sequence(sequence as u64), first, &content, |whole| {
                        got.push(whole.draft);
                    }).unwrap();
                }
                at += content.len();
            }
            let wanted: Vec<Draft> = messages.into_iter().zip(touched)
                .filter(|(_, touched)| !touched).map(|(message, _)| message).collect();
            prop_assert_eq!(got, wanted);
        }
    }

    #[test]
    fn a_length_beyond_the_limit_is_refused() {
        let mut content = Vec::new();
        content.put_varint((MESSAGE_BYTES_MAX as u64 + 1) << 1);
        let pushed = Assembler::at_start().push(Sequence(0), 0, &content.into(), |_| ());
        assert_eq!(pushed, Err(Misframed));
    }

    #[test]
    fn headers_that_nobody_sends_are_refused() {
        let row = Draft::default().header("name", "x".repeat(HEADERS_BYTES_MAX).as_str()).unwrap();
        let mut large = Vec::new();
        row.headers.encode(&mut large);
        for headers in [&[][..], &[0], &[1, 200], &large] {
            let mut content = Vec::new();
            content.put_varint((headers.len() as u64) << 1 | 1);
            content.put(headers);
            // What comes behind is skipped, as after a loss.
            content.put(&[2, 7]);
            let (mut assembler, mut got) = (Assembler::at_start(), 0);
            let pushed = assembler.push(Sequence(0), 0, &content.into(), |_| got += 1);
            assert_eq!((pushed, got), (Err(Misframed), 0), "{headers:?}");
            let next = assembler.push(Sequence(1), 0, &Bytes::from_static(&[2, 7]), |_| got += 1);
            assert_eq!((next, got), (Ok(()), 1), "{headers:?}");
        }
    }
}
