//! How a member finds out where others reach it: by asking which address it is seen from, and by
//! having somebody else send there.
//!
//! ```text
//!  member ── look ──▶ any            member ── try ──▶ any ── pass ──▶ another
//!         ◀── seen ──                       ◀─────────── came ────────
//! ```
//!
//! - Only members are answered: whoever is asked has opened the question. An answer goes to the
//!   address that the question came from, and no question leads anywhere else, but for *pass*,
//!   which one member sends for another.
//! - `came` leaves from a port that nobody has sent to, so that it shows whether strangers get
//!   through; what came from the one that was asked would show nothing.
//! - A question is larger than what it makes others send, records included, and so many are
//!   answered in a round: nobody is made to send more than it was sent.

use alloc::vec::Vec;
use core::net::SocketAddr;

use crate::budget::take_one;
use crate::members::RECORD_BYTES_MAX;
use crate::rng::Prng;
use crate::wire::{Malformed, Put, Reader};

/// Bytes of a question's body, zeros at its end included.
pub const QUESTION_BYTES: usize = 320;
/// The same of one that is passed on: less, whoever passes it on.
const PASS_BYTES: usize = 200;
/// Bytes of the shortest record: an address of IPv4, the region `/`, no certificate.
const RECORD_BYTES_MIN: usize = 133;
/// Bytes of an answer's body at most: what it is, a number, an address.
const ANSWER_BYTES_MAX: usize = 1 + 8 + 19;
/// Questions answered or passed on in one round: a handful of members start at once.
const ANSWERS_PER_ROUND: u32 = 8;

// All go behind the record of whoever sends them, and each is larger than what comes of it.
const _: () = assert!(QUESTION_BYTES + RECORD_BYTES_MIN >= PASS_BYTES + RECORD_BYTES_MAX);
const _: () = assert!(PASS_BYTES + RECORD_BYTES_MIN >= ANSWER_BYTES_MAX + RECORD_BYTES_MAX);

/// What is to be done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Task {
    /// Say which address this comes from.
    Look,
    /// Have another member send to the address that this comes from.
    Try,
    /// Send to this address, for another member.
    Pass(SocketAddr),
}

/// A question.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PathQuestion {
    /// The asker's number for it.
    pub number: u64,
    /// What is asked.
    pub task: Task,
}

/// An answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PathAnswer {
    /// The question's number.
    pub number: u64,
    /// Whether it comes from a stranger's port, and is itself the proof.
    pub is_try: bool,
    /// The address that the question came from, as whoever was asked saw it.
    pub address: SocketAddr,
}

impl Task {
    /// Bytes of the question's body.
    const fn bytes(self) -> usize {
        match self {
            Self::Look | Self::Try => QUESTION_BYTES,
            Self::Pass(_) => PASS_BYTES,
        }
    }
}

impl PathQuestion {
    /// Reads a body.
    ///
    /// # Errors
    /// It is none.
    pub fn parse(body: &[u8]) -> Result<Self, Malformed> {
        let mut reader = Reader::new(body);
        let kind = reader.u8()?;
        let number = reader.u64()?;
        let task = match kind {
            0 => Task::Look,
            1 => Task::Try,
            2 => Task::Pass(reader.address()?),
            _ => return Err(Malformed),
        };
        let is_padded = reader.rest().iter().all(|byte| *byte == 0);
        let fits = is_padded && body.len() == task.bytes();
        if fits { Ok(Self { number, task }) } else { Err(Malformed) }
    }

    /// Appends the body.
    pub fn encode(&self, buffer: &mut Vec<u8>) {
        let end = buffer.len() + self.task.bytes();
        let kind = match self.task {
            Task::Look => 0,
            Task::Try => 1,
            Task::Pass(_) => 2,
        };
        buffer.put_u8(kind);
        buffer.put_u64(self.number);
        if let Task::Pass(address) = self.task {
            buffer.put_address(address);
        }
        buffer.resize(end, 0);
    }
}

impl PathAnswer {
    /// Reads a body.
    ///
    /// # Errors
    /// It is none.
    pub fn parse(body: &[u8]) -> Result<Self, Malformed> {
        let mut reader = Reader::new(body);
        let kind = reader.u8()?;
        let (number, address) = (reader.u64()?, reader.address()?);
        if kind > 1 || !reader.is_empty() {
            return Err(Malformed);
        }
        Ok(Self { number, is_try: kind == 1, address })
    }

    /// Appends the body.
    pub fn encode(&self, buffer: &mut Vec<u8>) {
        buffer.put_u8(u8::from(self.is_try));
        buffer.put_u64(self.number);
        buffer.put_address(self.address);
    }
}

/// Something to say about the way to a member.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Intent {
    Ask(PathQuestion),
    Answer(PathAnswer),
}

/// A node's own questions, and its budget for others'.
#[derive(Debug)]
pub(crate) struct Paths {
    /// The last question, and whom it went to.
    asked: Option<(PathQuestion, SocketAddr)>,
    /// Its answer.
    told: Option<PathAnswer>,
    left: u32,
    rng: Prng,
}

impl Paths {
    pub(crate) const fn new(rng: Prng) -> Self {
        Self { asked: None, told: None, left: ANSWERS_PER_ROUND, rng }
    }

    pub(crate) const fn on_round(&mut self) {
        self.left = ANSWERS_PER_ROUND;
    }

    pub(crate) const fn ask(&mut self, question: PathQuestion, whom: SocketAddr) {
        (self.asked, self.told) = (Some((question, whom)), None);
    }

    /// Whether another question may be answered in this round; it counts as one.
    pub(crate) const fn may_answer(&mut self) -> bool {
        take_one(&mut self.left)
    }

    /// One of these, if there is any.
    pub(crate) fn choose(&mut self, others: &[SocketAddr]) -> Option<SocketAddr> {
        others.get(self.rng.index(others.len())).copied()
    }

    /// Takes in an answer; `by` is the address of the member who gave it. One to another question
    /// does not count, nor a proof by the very one that was asked.
    pub(crate) fn on_answer(&mut self, answer: PathAnswer, by: Option<SocketAddr>) {
        let Some((PathQuestion { number, task }, whom)) = self.asked else { return };
        let fits = match task {
            Task::Look => !answer.is_try && by.is_none_or(|by| by == whom),
            Task::Try => answer.is_try && by.is_none_or(|by| by != whom),
            Task::Pass(_) => false,
        };
        if fits && answer.number == number && self.told.is_none() {
            self.told = Some(answer);
        }
    }

    pub(crate) const fn told(&self) -> Option<PathAnswer> {
        self.told
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(text: &str) -> SocketAddr {
        text.parse().expect("an address")
    }

    #[test]
    fn only_the_answer_to_the_last_question_counts_and_a_proof_is_anothers() {
        let (seed, other) = (address("192.0.2.1:1"), address("192.0.2.2:2"));
        let answer = |number, is_try| PathAnswer { number, is_try, address: address("[::1]:3") };
        let mut paths = Paths::new(Prng::new(1));
        paths.on_answer(answer(7, false), Some(seed));
        assert_eq!(paths.told(), None, "nothing was asked");
        paths.ask(PathQuestion { number: 7, task: Task::Look }, seed);
        paths.on_answer(answer(8, false), Some(seed));
        paths.on_answer(answer(7, true), Some(other));
        paths.on_answer(answer(7, false), Some(other));
        assert_eq!(paths.told(), None);
        paths.on_answer(answer(7, false), Some(seed));
        assert_eq!(paths.told(), Some(answer(7, false)));
        paths.ask(PathQuestion { number: 9, task: Task::Try }, seed);
        paths.on_answer(answer(9, true), Some(seed));
        assert_eq!(paths.told(), None, "the one that was asked proves nothing");
        paths.on_answer(answer(9, true), Some(other));
        assert_eq!(paths.told(), Some(answer(9, true)));
    }
}
