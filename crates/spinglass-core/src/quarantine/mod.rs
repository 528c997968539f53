//! Members that said two things under one number, and what proves it.
//!
//! A stream and sequence name one packet, a life and counter one row of an agent. Who signs two
//! that differ lies to somebody, and the two together prove it to anybody, with nobody's word:
//!
//! ```text
//!  a ── digest: 12 looks like this ─▶ b      b holds another packet 12 of that stream, or is
//!  a ◀── exhibit: its packet 12 ───── b      sent one (a packet, a row) while it holds another
//!  a ── both ───────────────────────▶ few    who verify them and pass them on, once
//!  c ── proven: these members ──────▶ d      with each round's digest, so that newcomers learn it
//!  c ◀── prove it: these ──────────── d      and c sends both
//! ```
//!
//! Whoever holds a proof keeps its member in quarantine: takes nothing in that it sealed or signed,
//! passes nothing of it on, and drops what it has. That lasts for as long as the proof is kept; a
//! key is its member's for good, so who gets a new one is another member.
//!
//! Only what an honest member can't do proves anything. Its lives differ in incarnation, after
//! whatever restart, and within a life it numbers once. Rows of zones and functions have no
//! incarnation, and whoever restarts may number one again: two of them prove nothing.
//!
//! Invariants: a proof holds two things that were verified; what is checked, sent and asked for in
//! a round is bounded, and so is everything kept; where nobody lies nothing is sent.

mod exhibit;

use alloc::collections::{BTreeMap, VecDeque};
use alloc::vec::Vec;

pub(crate) use exhibit::{Body, Exhibit, PROVEN_BYTES_MAX};
pub use exhibit::{ExhibitRef, PROVEN_MAX, Proven};

use crate::budget::take_one;
use crate::event::Offence;
use crate::id::MemberId;

/// Proofs kept, each of at most two datagrams. When full, the oldest is forgotten, and its member
/// heard again until it is shown anew: room for a third of a group of 3,000, in 2.5 MB at 1,200
/// bytes a datagram.
pub const PROOFS_MAX: usize = 1024;
/// Halves of proofs kept until the other one comes, which is sent at once. When full, the oldest is
/// forgotten.
const HALVES_MAX: usize = 256;
/// Of one member that sends any, so that a liar pushes out its own.
const HALVES_OF_ONE: usize = 16;
/// Signatures of exhibits checked per round of the multicast: some 3 ms of work.
const CHECKS_PER_ROUND: u32 = 32;
/// Exhibits sent per round to those who asked, or whose packet differs: 64 datagrams.
const SHOWN_PER_ROUND: u32 = 64;
/// Proofs that are passed on in one round; further ones wait for the next.
const NEWS_PER_ROUND: u32 = 8;
/// Members that each proof is passed on to by each one that it is new to: of n who pass it on to 4,
/// n/55 are missed, and asked by digests.
pub(crate) const PROOF_FANOUT: usize = 4;
/// Requests for proofs sent per round.
const ASKED_PER_ROUND: u32 = 4;

/// Two things that one member signed under one number.
#[derive(Debug, Clone)]
pub(crate) struct Proof {
    pub(crate) halves: [Exhibit; 2],
}

/// The proofs that a member holds, and what it may still do about them in this round.
#[derive(Debug, Default)]
pub(crate) struct Quarantine {
    proofs: BTreeMap<MemberId, Proof>,
    /// In the order in which they came.
    order: VecDeque<MemberId>,
    /// Verified halves, and who sent them.
    halves: VecDeque<(MemberId, Exhibit)>,
    /// Members whose proofs were not passed on yet.
    news: VecDeque<MemberId>,
    /// Whether this member was shown a proof against itself.
    is_accused: bool,
    checks_left: u32,
    shown_left: u32,
    news_left: u32,
    asked_left: u32,
    /// After which member the next digest goes on to tell.
    told: MemberId,
}

impl Quarantine {
    pub(crate) fn on_round(&mut self) {
        (self.checks_left, self.shown_left) = (CHECKS_PER_ROUND, SHOWN_PER_ROUND);
        (self.news_left, self.asked_left) = (NEWS_PER_ROUND, ASKED_PER_ROUND);
    }

    /// Whether a member is in quarantine.
    pub(crate) fn holds(&self, member: MemberId) -> bool {
        self.proofs.contains_key(&member)
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.proofs.is_empty()
    }

    /// Who is in quarantine.
    pub(crate) fn members(&self) -> impl Iterator<Item = (MemberId, Offence)> + '_ {
        self.proofs.iter().map(|(member, proof)| (*member, proof.offence()))
    }

    /// What proves it of a member.
    pub(crate) fn proof(&self, member: MemberId) -> Option<&Proof> {
        self.proofs.get(&member)
    }

    /// Whether a further signature may be checked in this round.
    pub(crate) const fn may_check(&mut self) -> bool {
        take_one(&mut self.checks_left)
    }

    /// Whether a further exhibit may be shown in this round.
    pub(crate) const fn may_show(&mut self) -> bool {
        take_one(&mut self.shown_left)
    }

    /// Whether proofs may be asked for once more in this round.
    pub(crate) const fn may_ask(&mut self) -> bool {
        take_one(&mut self.asked_left)
    }

    /// Takes in a verified half that `from` sent. Returns a proof if it sent the other one before.
    pub(crate) fn on_half(&mut self, from: MemberId, half: Exhibit) -> Option<Proof> {
        let of_one = |(sender, _): &&(MemberId, Exhibit)| *sender == from;
        let same = |(_, it): &&(MemberId, Exhibit)| it.number() == half.number();
        if let Some((_, other)) = self.halves.iter().filter(of_one).find(same) {
            return Proof::of(other.clone(), half);
        }
        let is_full = self.halves.len() >= HALVES_MAX;
        let has_many = self.halves.iter().filter(of_one).count() >= HALVES_OF_ONE;
        if is_full || has_many {
            let oldest = self.halves.iter().position(|half| !has_many || of_one(&half));
            oldest.map(|oldest| self.halves.remove(oldest));
        }
        self.halves.push_back((from, half));
        None
    }

    /// Keeps a proof, and has it passed on. Returns whether it is the first of its member, and of
    /// whom another one had to be forgotten.
    pub(crate) fn keep(&mut self, proof: Proof) -> (bool, Option<MemberId>) {
        let member = proof.member();
        if self.holds(member) || cfg!(spinglass_bug = "proof_ignored") {
            return (false, None);
        }
        let is_full = self.proofs.len() >= PROOFS_MAX;
        let forgotten = if is_full { self.order.pop_front() } else { None };
        if let Some(forgotten) = forgotten {
            self.proofs.remove(&forgotten);
            self.news.retain(|news| *news != forgotten);
        }
        self.proofs.insert(member, proof);
        self.order.push_back(member);
        self.news.push_back(member);
        (true, forgotten)
    }

    /// Notes a proof against this member. Returns whether it is the first.
    pub(crate) const fn accuse_self(&mut self) -> bool {
        !core::mem::replace(&mut self.is_accused, true)
    }

    /// The next proof to be passed on, unless there was enough of that in this round.
    pub(crate) fn take_news(&mut self) -> Option<Proof> {
        if self.news.is_empty() || !take_one(&mut self.news_left) {
            return None;
        }
        self.proofs.get(&self.news.pop_front()?).cloned()
    }

    /// Members of whom a digest tells that proofs are held: the next few in order.
    pub(crate) fn tell_some(&mut self) -> Proven {
        let after = (core::ops::Bound::Excluded(self.told), core::ops::Bound::Unbounded);
        let rest = self.proofs.range(after).map(|(member, _)| *member);
        let members: Vec<MemberId> =
            rest.chain(self.proofs.keys().copied()).take(PROVEN_MAX).collect();
        self.told = members.last().copied().unwrap_or_default();
        // Few members are told once each.
        let all = members.iter().take(self.proofs.len()).copied().collect();
        Proven { is_question: false, members: all }
    }

    pub(crate) fn check_invariants(&self) {
        assert!(self.proofs.len() <= PROOFS_MAX && self.proofs.len() == self.order.len());
        assert!(self.halves.len() <= HALVES_MAX && self.news.len() <= PROOFS_MAX);
        let differ = |proof: &Proof| Proof::of(proof.halves[0].clone(), proof.halves[1].clone());
        assert!(self.proofs.values().all(|proof| differ(proof).is_some()), "a proof of nothing");
    }
}

impl Proof {
    /// The proof that two verified halves make, if they do: of one member and number, and
    /// different.
    pub(crate) fn of(one: Exhibit, other: Exhibit) -> Option<Self> {
        let is_proof = one.number() == other.number() && one.said() != other.said();
        is_proof.then_some(Self { halves: [one, other] })
    }

    /// Whose it is.
    pub(crate) fn member(&self) -> MemberId {
        let [half, _] = &self.halves;
        half.member()
    }

    /// What it proves.
    pub(crate) const fn offence(&self) -> Offence {
        let [half, _] = &self.halves;
        half.offence()
    }
}
