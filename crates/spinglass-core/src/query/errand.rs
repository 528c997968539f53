//! One zone asked: whom to ask next, and the pieces of the answer that have come.
//!
//! A contact that says nothing is left for the next one at once, and after the last comes the
//! first again; one that says that it has heard is given several chances, for it may be asking
//! others itself.

use alloc::collections::BTreeMap;
use alloc::vec::Vec;
use core::net::SocketAddr;
use core::time::Duration;

use super::messages::{FETCH_MAX, Piece};
use crate::table::ZonePath;
use crate::time::Instant;

/// How long a sign of life is waited for, and then another contact asked: a guess, longer than any
/// way round the world and back, and short beside the patience of whoever waits for the answer.
pub(super) const SIGN_WAIT: Duration = Duration::from_millis(400);
/// Questions without any sign in return after which a zone counts as silent: at 10 % loss each way
/// one in half a million of living ones does.
const MISSES_MAX: u32 = 8;
/// The same for one contact that has given some sign already.
const HEARD_MISSES_MAX: u32 = 3;

/// A zone to ask about, and who may know.
#[derive(Debug, Clone)]
pub(super) struct Target {
    /// The zone that the question is about.
    pub(super) zone: ZonePath,
    /// Names of its path that every contact shares.
    pub(super) depth: u8,
    /// Not empty.
    pub(super) contacts: Vec<SocketAddr>,
}

/// A zone that is being asked.
#[derive(Debug)]
pub(super) struct Errand {
    pub(super) target: Target,
    /// The number under which the present contact was asked.
    pub(super) number: u64,
    contact: usize,
    is_heard: bool,
    /// Sendings since the last sign of anybody.
    misses: u32,
    /// When the present contact was first asked: its answer is no older than this makes it.
    pub(super) since: Instant,
    /// When to do something about it.
    pub(super) due: Instant,
    pieces: BTreeMap<u16, Vec<u8>>,
    count: u16,
    /// One more than the last piece that was asked for.
    window: u16,
}

/// What became of a piece.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Taken {
    /// It was there already, or belongs to another answer.
    Surplus,
    /// More are to come by themselves.
    Kept,
    /// These should be asked for.
    Wants(Vec<u16>),
    /// All are there.
    Whole(Vec<u8>),
}

/// What to do about an errand that is due.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Next {
    /// Ask, or ask again.
    Ask,
    /// Ask for pieces.
    Fetch(Vec<u16>),
    /// Nobody answers.
    GiveUp,
}

impl Errand {
    pub(super) const fn new(target: Target, contact: usize, number: u64, now: Instant) -> Self {
        Self {
            target,
            number,
            contact,
            is_heard: false,
            misses: 0,
            since: now,
            due: now,
            pieces: BTreeMap::new(),
            count: 0,
            window: 0,
        }
    }

    /// Who is being asked.
    pub(super) fn contact(&self) -> Option<SocketAddr> {
        self.target.contacts.get(self.contact).copied()
    }

    /// Bytes of the pieces that wait for others.
    pub(super) fn bytes(&self) -> usize {
        self.pieces.values().map(Vec::len).sum()
    }

    /// Notes that the contact has the question.
    pub(super) fn on_heard(&mut self, now: Instant) {
        (self.is_heard, self.misses) = (true, 0);
        self.due = now + SIGN_WAIT;
    }

    /// Takes a piece in.
    pub(super) fn on_piece(&mut self, piece: Piece, first_window: u16, now: Instant) -> Taken {
        if self.count == 0 {
            (self.count, self.window) = (piece.count, first_window.min(piece.count));
        }
        if piece.count != self.count || self.pieces.contains_key(&piece.index) {
            return Taken::Surplus;
        }
        let index = piece.index;
        self.pieces.insert(index, piece.bytes);
        self.on_heard(now);
        if self.pieces.len() == usize::from(self.count) {
            return Taken::Whole(
                core::mem::take(&mut self.pieces).into_values().flatten().collect(),
            );
        }
        // The end of what was asked for: whatever of it has not come is asked for again.
        if index.saturating_add(1) >= self.window {
            return Taken::Wants(self.missing());
        }
        Taken::Kept
    }

    /// The first pieces that have not come; they count as asked for.
    fn missing(&mut self) -> Vec<u16> {
        let is_missing = |index: &u16| !self.pieces.contains_key(index);
        let missing: Vec<_> = (0..self.count).filter(is_missing).take(FETCH_MAX).collect();
        self.window = missing.last().map_or(self.count, |last| last.saturating_add(1));
        missing
    }

    /// Decides what comes next, the wait for a sign being over. `next_number` is for a new contact.
    pub(super) fn on_due(&mut self, next_number: u64, now: Instant) -> Next {
        self.due = now + SIGN_WAIT;
        if self.misses >= MISSES_MAX {
            return Next::GiveUp;
        }
        let patience = if self.is_heard { HEARD_MISSES_MAX } else { 1 };
        if self.misses >= patience {
            self.turn_to_next(next_number, now);
        }
        self.misses += 1;
        if self.pieces.is_empty() { Next::Ask } else { Next::Fetch(self.missing()) }
    }

    /// Turns away from a contact that refused, or whose answer is not to be believed, at the next
    /// due time.
    pub(super) fn on_refused(&mut self) {
        self.is_heard = false;
        self.pieces.clear();
        self.misses = self.misses.max(1);
    }

    fn turn_to_next(&mut self, number: u64, now: Instant) {
        self.contact = (self.contact + 1) % self.target.contacts.len().max(1);
        (self.number, self.since, self.is_heard) = (number, now, false);
        (self.count, self.window) = (0, 0);
        self.pieces.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn errand(contacts: u16) -> Errand {
        let contacts = (0..contacts).map(|port| SocketAddr::from(([127, 0, 0, 1], port)));
        let contacts = contacts.collect();
        let target = Target { zone: ZonePath::root(), depth: 1, contacts };
        Errand::new(target, 0, 7, Instant::START)
    }

    fn piece(index: u16, count: u16) -> Piece {
        Piece { number: 7, index, count, bytes: alloc::vec![index as u8] }
    }

    #[test]
    fn the_silent_are_left_for_the_next_and_all_in_the_end() {
        let mut errand = errand(3);
        let mut asked = Vec::new();
        for number in 8.. {
            match errand.on_due(number, Instant::START) {
                Next::Ask => asked.push(errand.contact().unwrap().port()),
                Next::GiveUp => break,
                Next::Fetch(_) => panic!("there is nothing to fetch"),
            }
        }
        assert_eq!(asked, [0, 1, 2, 0, 1, 2, 0, 1]);
    }

    #[test]
    fn whoever_has_heard_is_given_several_chances() {
        let mut errand = errand(2);
        assert_eq!(errand.on_due(8, Instant::START), Next::Ask);
        errand.on_heard(Instant::START);
        for _ in 0..HEARD_MISSES_MAX {
            assert_eq!(errand.on_due(9, Instant::START), Next::Ask);
            assert_eq!((errand.contact().unwrap().port(), errand.number), (0, 7));
        }
        assert_eq!(errand.on_due(10, Instant::START), Next::Ask);
        assert_eq!((errand.contact().unwrap().port(), errand.number), (1, 10));
    }

    #[test]
    fn an_answer_comes_together_whatever_is_lost() {
        let mut errand = errand(1);
        for index in [0, 1, 3] {
            assert_eq!(errand.on_piece(piece(index, 20), 5, Instant::START), Taken::Kept);
        }
        assert_eq!(errand.on_piece(piece(3, 20), 5, Instant::START), Taken::Surplus);
        assert_eq!(errand.on_piece(piece(3, 21), 5, Instant::START), Taken::Surplus);
        // The window's last one: its hole is asked for again, and what follows.
        let Taken::Wants(wanted) = errand.on_piece(piece(4, 20), 5, Instant::START) else {
            panic!("the window is over");
        };
        assert_eq!(wanted[..3], [2, 5, 6]);
        // Nothing comes: the same again, of the same contact.
        assert_eq!(errand.on_due(8, Instant::START), Next::Fetch(wanted.clone()));
        assert_eq!(errand.bytes(), 4);
        for index in &wanted[..wanted.len() - 1] {
            assert_eq!(errand.on_piece(piece(*index, 20), 5, Instant::START), Taken::Kept);
        }
        let last = *wanted.last().unwrap();
        let whole = Taken::Whole((0..20).collect());
        assert_eq!(errand.on_piece(piece(last, 20), 5, Instant::START), whole);
        assert_eq!(errand.bytes(), 0);
    }
}
