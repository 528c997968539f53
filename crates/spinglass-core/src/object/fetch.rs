//! One object on its way: which pieces came, which were asked for, and whom one asks.

use alloc::collections::{BTreeMap, BTreeSet, VecDeque};
use alloc::vec::Vec;
use core::net::SocketAddr;

use bytes::{Bytes, BytesMut};

use super::messages::Ask;
use super::name::ObjectName;
use super::{ASK_PIECES_MAX, Failure, Intent, ObjectCx};
use crate::outbox::Control;

/// Pieces asked for and not come at most: what a few rounds' budget asks for, so that a distant
/// source is kept busy.
const WINDOW_PIECES: usize = 256;
/// Rounds after which a piece that did not come is asked for again: beyond a round trip of 200 ms
/// at the default round.
const RETRY_ROUNDS: u64 = 3;
/// Rounds in a row in which pieces of a source came late, and none in time, after which it is not
/// asked any more, unless it says anew that it has the object.
const SILENT_ROUNDS_MAX: u32 = 3;
/// Sources asked at once at most: further ones that answer are not needed.
const SOURCES_MAX: usize = 8;
/// Sources with which one seeks no more.
const SOURCES_WANTED: usize = 3;
/// Rounds between two searches for sources.
const SEEK_ROUNDS: u64 = 5;
/// Agents whose answer to a search is waited for. When full, the one asked first is forgotten.
const SOUGHT_MAX: usize = 32;
/// Agents that sent forged pieces and are remembered; when there are more, the fetch is given up.
const FORGERS_MAX: usize = 64;
/// Rounds without any new piece after which the fetch is given up: half a minute by default.
const GIVE_UP_ROUNDS: u32 = 300;

/// What may still be asked for in a round.
#[derive(Debug, Clone, Copy)]
pub(super) struct Allowance {
    pub(super) round: u64,
    /// Bytes of all fetches together.
    pub(super) bytes_left: usize,
    /// Bytes of one source of one fetch, per round.
    pub(super) source_bytes: usize,
}

#[derive(Debug)]
pub(super) struct Fetch {
    name: ObjectName,
    pieces: BTreeMap<u32, Bytes>,
    asked: BTreeMap<u32, Asked>,
    /// Pieces that were asked for and did not come.
    again: BTreeSet<u32>,
    /// All pieces from here on were not asked for yet.
    next: u32,
    sources: Vec<Source>,
    sought: VecDeque<SocketAddr>,
    forgers: BTreeSet<SocketAddr>,
    last_seek: Option<u64>,
    /// Own rounds without a new piece: those that the agent slept through do not count.
    idle_rounds: u32,
    /// Whether anybody ever said that it has the object.
    is_met: bool,
}

#[derive(Debug, Clone, Copy)]
struct Asked {
    whom: SocketAddr,
    round: u64,
}

#[derive(Debug)]
struct Source {
    address: SocketAddr,
    silent_rounds: u32,
    bytes_left: usize,
}

impl Fetch {
    pub(super) const fn new(name: ObjectName) -> Self {
        Self {
            name,
            pieces: BTreeMap::new(),
            asked: BTreeMap::new(),
            again: BTreeSet::new(),
            next: 0,
            sources: Vec::new(),
            sought: VecDeque::new(),
            forgers: BTreeSet::new(),
            last_seek: None,
            idle_rounds: 0,
            is_met: false,
        }
    }

    pub(super) fn pieces_come(&self) -> u32 {
        u32::try_from(self.pieces.len()).unwrap_or(u32::MAX)
    }

    pub(super) fn is_whole(&self) -> bool {
        self.pieces_come() == self.name.pieces()
    }

    /// Why nothing more is to be hoped for, if so.
    pub(super) fn failure(&self) -> Option<Failure> {
        if self.idle_rounds <= GIVE_UP_ROUNDS && self.forgers.len() <= FORGERS_MAX {
            return None;
        }
        Some(if self.is_met { Failure::NoAnswer } else { Failure::NotFound })
    }

    /// Begins a round: late pieces are asked for anew, of others, and sources are sought.
    pub(super) fn on_round(&mut self, allowance: &mut Allowance, cx: &mut ObjectCx<'_>) {
        self.idle_rounds += 1;
        self.expire(allowance.round);
        // Whoever was first in the last round is last in this one: a retry finds another source.
        let first = usize::from(self.sources.len() > 1);
        self.sources.rotate_left(first);
        self.sources.iter_mut().for_each(|source| source.bytes_left = allowance.source_bytes);
        self.seek(allowance, cx);
        self.ask(allowance, cx);
    }

    fn expire(&mut self, round: u64) {
        let is_late = |asked: &Asked| round >= asked.round + RETRY_ROUNDS;
        let late: Vec<(u32, SocketAddr)> = self
            .asked
            .iter()
            .filter(|(_, asked)| is_late(asked))
            .map(|(piece, asked)| (*piece, asked.whom))
            .collect();
        for (piece, _) in &late {
            self.asked.remove(piece);
            self.again.insert(*piece);
        }
        for source in &mut self.sources {
            let is_silent = late.iter().any(|(_, whom)| *whom == source.address);
            source.silent_rounds += u32::from(is_silent);
        }
        self.sources.retain(|source| source.silent_rounds < SILENT_ROUNDS_MAX);
    }

    /// Asks a few agents that may have the object whether they do.
    fn seek(&mut self, allowance: &mut Allowance, cx: &mut ObjectCx<'_>) {
        let round = allowance.round;
        let is_early = self.last_seek.is_some_and(|last| round < last + SEEK_ROUNDS);
        if is_early || self.sources.len() >= SOURCES_WANTED {
            return;
        }
        self.last_seek = Some(round);
        for to in cx.table.choose_holders(&self.name, cx.rng) {
            let is_source = self.sources.iter().any(|source| source.address == to);
            let cost = super::SEEK_BYTES_MAX;
            if is_source || self.forgers.contains(&to) || allowance.bytes_left < cost {
                continue;
            }
            allowance.bytes_left -= cost;
            if self.sought.len() >= SOUGHT_MAX {
                self.sought.pop_front();
            }
            self.sought.push_back(to);
            cx.stats.object_seeks_sent += 1;
            cx.outbox.control(Control::Object { to, intent: Intent::Seek(self.name) });
        }
    }

    /// Somebody says that it has the object. Only who was asked is heard.
    pub(super) fn on_have(
        &mut self,
        from: SocketAddr,
        allowance: &mut Allowance,
        cx: &mut ObjectCx<'_>,
    ) {
        let Some(at) = self.sought.iter().position(|sought| *sought == from) else { return };
        self.sought.remove(at);
        let is_known = self.sources.iter().any(|source| source.address == from);
        if is_known || self.sources.len() >= SOURCES_MAX || self.forgers.contains(&from) {
            return;
        }
        self.is_met = true;
        let bytes_left = allowance.source_bytes;
        self.sources.push(Source { address: from, silent_rounds: 0, bytes_left });
        self.ask(allowance, cx);
    }

    /// Asks every source for pieces, as far as the round's budget goes.
    fn ask(&mut self, allowance: &mut Allowance, cx: &mut ObjectCx<'_>) {
        let cost = super::piece_datagram_bytes(&self.name);
        let mut sources = core::mem::take(&mut self.sources);
        for source in &mut sources {
            let mut pieces = Vec::new();
            while pieces.len() < ASK_PIECES_MAX
                && self.asked.len() < WINDOW_PIECES
                && source.bytes_left.min(allowance.bytes_left) >= cost
                && let Some(piece) = self.next_missing()
            {
                source.bytes_left -= cost;
                allowance.bytes_left -= cost;
                self.asked.insert(piece, Asked { whom: source.address, round: allowance.round });
                pieces.push(piece);
            }
            if !pieces.is_empty() {
                cx.stats.object_pieces_asked += pieces.len() as u64;
                let intent = Intent::Ask(Ask { name: self.name, pieces });
                cx.outbox.control(Control::Object { to: source.address, intent });
            }
        }
        self.sources = sources;
    }

    /// The lowest piece that is neither here nor asked for.
    fn next_missing(&mut self) -> Option<u32> {
        if let Some(piece) = self.again.pop_first() {
            return Some(piece);
        }
        let piece = self.next;
        let exists = piece < self.name.pieces();
        self.next += u32::from(exists);
        exists.then_some(piece)
    }

    /// Whether a piece was asked of `from` and is still waited for.
    pub(super) fn awaits(&self, from: SocketAddr, index: u32) -> bool {
        self.asked.get(&index).is_some_and(|asked| asked.whom == from)
    }

    /// Takes in a piece that was verified.
    pub(super) fn take(&mut self, from: SocketAddr, index: u32, content: &[u8]) {
        self.asked.remove(&index);
        self.pieces.insert(index, Bytes::copy_from_slice(content));
        self.idle_rounds = 0;
        let source = self.sources.iter_mut().find(|source| source.address == from);
        source.into_iter().for_each(|source| source.silent_rounds = 0);
    }

    /// Never asks `from` again: it sent a forged piece.
    pub(super) fn refuse(&mut self, from: SocketAddr) {
        self.forgers.insert(from);
        self.sources.retain(|source| source.address != from);
        let theirs = self.asked.iter().filter(|(_, asked)| asked.whom == from);
        let theirs: Vec<u32> = theirs.map(|(piece, _)| *piece).collect();
        for piece in theirs {
            self.asked.remove(&piece);
            self.again.insert(piece);
        }
    }

    /// The object, of which every piece has come.
    pub(super) fn into_bytes(self) -> Bytes {
        let mut whole = BytesMut::with_capacity(self.name.bytes());
        self.pieces.values().for_each(|piece| whole.extend_from_slice(piece));
        whole.freeze()
    }

    pub(super) fn check_invariants(&self) {
        assert!(self.asked.len() <= WINDOW_PIECES && self.sources.len() <= SOURCES_MAX);
        assert!(self.sought.len() <= SOUGHT_MAX && self.forgers.len() <= FORGERS_MAX + 1);
        let is_once = |piece: &u32| !self.asked.contains_key(piece) && !self.again.contains(piece);
        assert!(self.pieces.keys().all(is_once), "a piece that came is asked for");
        let known = self.pieces.len() + self.asked.len() + self.again.len();
        assert!(known == self.next as usize, "a piece that nobody thinks of");
    }
}
