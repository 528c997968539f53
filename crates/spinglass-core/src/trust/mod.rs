//! Whom a member in certified mode believes: certificates held, asked for and checked at use.
//!
//! A member's record says the hash of its certificate. The chain itself goes to each new address
//! once, before the record, and to whoever asks:
//!
//! ```text
//!  a ── a's chain, a's record ──▶ b      before a's first word to b
//!  b ── b's chain; whose is a? ─▶ a      if that was lost
//!  b ── whose is c? ────────────▶ a      a sent b a row, a record or a packet of c's
//!  a ── c's chain, c's record ──▶ b
//! ```
//!
//! Invariants: only a chain that verified is held, one per member, shared and not verified again;
//! a chain that was refused is not verified again soon; what is held, asked, answered and verified
//! in a round is bounded; whoever's certificate does not hold at this moment is not heard.

mod rights;
mod topics;

use alloc::collections::{BTreeMap, BTreeSet, VecDeque};
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::net::SocketAddr;

use crate::budget::take_one;
use crate::crypto::{Crypto, Domain, Hash};
use crate::error::NodeError;
use crate::event::Reject;
use crate::frame::{FRAME_HEADER_BYTES, WHO_IS_MAX};
use crate::id::MemberId;
use crate::identity::{Certified, Chain, Refusal};
use crate::knock::WELCOME_CHAIN_BYTES_MAX;
use crate::link::LONG_HEADER_BYTES;
use crate::members::MemberRecord;
use crate::rules::{Action, Decision, NamePattern, Policy};
pub use rights::Denied;
use topics::Topics;

/// Chains verified in a round of the multicast at most: some 10 ms of work.
const CHECKS_PER_ROUND: u32 = 32;
/// Chains sent in a round to those who asked: 64 datagrams of a kilobyte.
const ANSWERS_PER_ROUND: u32 = 64;
/// Members whose certificates are asked for in a round at most.
const ASKED_PER_ROUND: usize = 128;
/// Strangers, of whom no certificate has been seen, that are asked and shown the own one in a round
/// at most: whoever has the group's key can make this member send so much.
const STRANGERS_PER_ROUND: u32 = 16;
/// Rounds between those in which renewed certificates are asked for: 3 s.
const RENEWAL_ROUNDS: u32 = 32;
/// Certificates of certifiers looked through for who signed a list of revocations.
const CERTIFIERS_MAX: usize = 4096;
/// Refused chains remembered. When full, the oldest is forgotten.
const REFUSED_MAX: usize = 256;

/// A member, and the chain that says so.
#[derive(Debug)]
pub(crate) struct Holder {
    pub(crate) certified: Certified,
    pub(crate) chain: Chain,
}

#[derive(Debug)]
struct Held {
    holder: Arc<Holder>,
    /// The round in which it was of use last.
    used: u32,
    /// Whether it was revoked, or is quarantined: then nothing of it counts.
    is_shunned: bool,
}

/// What a member in certified mode knows of others.
#[derive(Debug)]
pub(crate) struct Trust {
    own: MemberId,
    held: BTreeMap<MemberId, Held>,
    /// When full, the one of no use for longest is forgotten.
    held_max: usize,
    by_hash: BTreeMap<Hash, MemberId>,
    refused: VecDeque<Hash>,
    /// The rules of the configuration.
    policy: Option<Policy>,
    /// Those that hold in their stead, by order.
    ordered: Option<Policy>,
    /// Who is quarantined by order.
    quarantine: Vec<NamePattern>,
    topics: Topics,
    /// Counts changes of the rules that hold.
    rules_changes: u32,
    round: u32,
    checks_left: u32,
    answers_left: u32,
    strangers_left: u32,
    asked: BTreeSet<MemberId>,
    /// Whom to ask for whose certificate, once the batch at hand has been read.
    wanted: Vec<(SocketAddr, MemberId)>,
}

impl Trust {
    /// Of a member whose own chain verified.
    pub(crate) fn new(
        own: (MemberId, Holder),
        policy: Option<Policy>,
        held_max: usize,
        crypto: &mut dyn Crypto,
    ) -> Self {
        let (own, holder) = own;
        let topics = Topics::new(policy.as_ref(), crypto);
        let mut trust = Self {
            own,
            held: BTreeMap::new(),
            held_max,
            by_hash: BTreeMap::new(),
            refused: VecDeque::new(),
            policy,
            ordered: None,
            quarantine: Vec::new(),
            topics,
            rules_changes: 0,
            round: 1,
            checks_left: CHECKS_PER_ROUND,
            answers_left: ANSWERS_PER_ROUND,
            strangers_left: STRANGERS_PER_ROUND,
            asked: BTreeSet::new(),
            wanted: Vec::new(),
        };
        trust.hold(own, holder);
        trust
    }

    /// Goes on with another chain of its own, and other rules.
    ///
    /// # Errors
    /// The rules keep this member out; nothing changed.
    pub(crate) fn renew(
        &mut self,
        holder: Holder,
        policy: Option<&Policy>,
        crypto: &mut dyn Crypto,
    ) -> Result<(), NodeError> {
        let join = Action::Join(holder.certified.name().zone().clone());
        let decision = policy.map(|policy| policy.decide(holder.certified.name(), &join));
        if let Some(Decision { allowed: false, rule }) = decision {
            return Err(NodeError::Denied(Denied { rule }));
        }
        if self.policy.as_ref() != policy {
            self.policy = policy.cloned();
            self.note_rules(crypto);
        }
        let own = self.own;
        self.hold(own, holder);
        Ok(())
    }

    pub(crate) fn on_round(&mut self, round: u32) {
        self.round = round;
        (self.checks_left, self.answers_left) = (CHECKS_PER_ROUND, ANSWERS_PER_ROUND);
        self.strangers_left = STRANGERS_PER_ROUND;
        self.asked.clear();
    }

    // --- chains

    /// Takes in a chain, whoever sent it. Returns whether it is news.
    pub(crate) fn on_chain(
        &mut self,
        chain: Chain,
        wall_s: u64,
        crypto: &mut dyn Crypto,
    ) -> Result<bool, Reject> {
        let leaf = crypto.hash(Domain::Certificate, chain.leaf());
        if self.by_hash.contains_key(&leaf) {
            return Ok(false);
        }
        let whole = crypto.hash(Domain::Certificate, &chain.bytes());
        if self.refused.contains(&whole) || !take_one(&mut self.checks_left) {
            return Err(Reject::BadCertificate);
        }
        let certified = match verify_lately(&chain, wall_s, crypto) {
            Ok(certified) if certified.hash() == leaf => certified,
            // It may hold soon.
            Err(Refusal::NotYet { .. }) => return Err(Reject::BadCertificate),
            Ok(_) | Err(_) => {
                if self.refused.len() >= REFUSED_MAX {
                    self.refused.pop_front();
                }
                self.refused.push_back(whole);
                return Err(Reject::BadCertificate);
            }
        };
        let id = MemberId::of_key(certified.public_key(), crypto);
        let lasts = |held: &Held| held.holder.certified.not_after();
        let is_older = self.held.get(&id).is_some_and(|held| lasts(held) > certified.not_after());
        if is_older || id == self.own {
            return Ok(false);
        }
        self.hold(id, Holder { certified, chain });
        Ok(true)
    }

    /// Who these chains are of, as far as they hold, or held: looked at once, and not kept. Those
    /// that are held are left out.
    pub(crate) fn witness<'a>(
        &self,
        chains: impl Iterator<Item = &'a Chain>,
        wall_s: u64,
        crypto: &mut dyn Crypto,
    ) -> BTreeMap<MemberId, Arc<Holder>> {
        let mut told = BTreeMap::new();
        for chain in chains {
            if self.by_hash.contains_key(&crypto.hash(Domain::Certificate, chain.leaf())) {
                continue;
            }
            let Ok(certified) = verify_lately(chain, wall_s, crypto) else { continue };
            let id = MemberId::of_key(certified.public_key(), crypto);
            let holder = Holder { certified, chain: chain.clone() };
            if !self.is_quarantined(&holder) {
                told.insert(id, Arc::new(holder));
            }
        }
        told
    }

    /// A stranger's chain: who it is, if it may join.
    ///
    /// # Errors
    /// It does not hold at this moment, or its member may not join, or is shunned.
    pub(crate) fn admit(
        &mut self,
        chain: Chain,
        wall_s: u64,
        crypto: &mut dyn Crypto,
    ) -> Result<Arc<Holder>, Reject> {
        let certified = Certified::verify_by(crypto, &chain, wall_s);
        let certified = certified.map_err(|_| Reject::BadCertificate)?;
        let join = Action::Join(certified.name().zone().clone());
        let holder = Holder { certified, chain };
        if self.is_quarantined(&holder) {
            return Err(Reject::Revoked);
        }
        if !self.decide(&holder, &join).allowed {
            return Err(Reject::Denied);
        }
        Ok(Arc::new(holder))
    }

    fn hold(&mut self, id: MemberId, holder: Holder) {
        self.forget(id);
        if self.held.len() >= self.held_max {
            let others = self.held.iter().filter(|(id, _)| **id != self.own);
            let oldest = others.min_by_key(|(id, held)| (held.used, **id)).map(|(id, _)| *id);
            oldest.into_iter().for_each(|oldest| self.forget(oldest));
        }
        self.by_hash.insert(holder.certified.hash(), id);
        let is_shunned = self.is_quarantined(&holder);
        self.held.insert(id, Held { holder: Arc::new(holder), used: self.round, is_shunned });
        self.topics.forget_decisions();
    }

    fn forget(&mut self, id: MemberId) {
        if let Some(held) = self.held.remove(&id) {
            self.by_hash.remove(&held.holder.certified.hash());
        }
    }

    /// A member whose certificate holds at `wall_s`: now, or when something was signed that stays,
    /// and nobody signs anew.
    ///
    /// # Errors
    /// There is none, or its time had not come or was over.
    pub(crate) fn check(&mut self, id: MemberId, wall_s: u64) -> Result<Arc<Holder>, Reject> {
        let held = self.held.get_mut(&id).ok_or(Reject::Uncertified)?;
        if held.is_shunned {
            return Err(Reject::Revoked);
        }
        if !held.holder.certified.holds(wall_s) {
            return Err(Reject::Expired);
        }
        held.used = self.round;
        Ok(Arc::clone(&held.holder))
    }

    // --- who is heard no longer

    fn is_quarantined(&self, holder: &Holder) -> bool {
        self.quarantine.iter().any(|who| who.matches(holder.certified.name()))
    }

    /// Hears nothing of members of these names from now on, and of no others whom only an order
    /// kept out. Returns those who were heard until now.
    pub(crate) fn quarantine(&mut self, who: Vec<NamePattern>) -> Vec<MemberId> {
        if self.quarantine == who {
            return Vec::new();
        }
        self.quarantine = who;
        self.topics.forget_decisions();
        let mut shunned = Vec::new();
        let ids: Vec<MemberId> = self.held.keys().copied().collect();
        for id in ids {
            let Some(held) = self.held.get(&id) else { continue };
            let is_shunned = self.is_quarantined(&held.holder);
            if is_shunned && !held.is_shunned {
                shunned.push(id);
            }
            // One that was revoked is not held any more.
            if let Some(held) = self.held.get_mut(&id) {
                held.is_shunned = is_shunned;
            }
        }
        shunned
    }

    /// Heeds a list of revocations. Returns its issuer's tag, and who was heard until now.
    ///
    /// # Errors
    /// It is none.
    pub(crate) fn heed_list(
        &mut self,
        list: &[u8],
        wall_s: u64,
        crypto: &mut dyn Crypto,
    ) -> Result<(Hash, Vec<MemberId>), Refusal> {
        let holders: Vec<Arc<Holder>> =
            self.held.values().map(|held| Arc::clone(&held.holder)).collect();
        let certifiers = holders.iter().flat_map(|holder| holder.chain.certifiers());
        let certifiers: BTreeSet<&[u8]> = certifiers.take(CERTIFIERS_MAX).collect();
        let certifiers: Vec<&[u8]> = certifiers.into_iter().collect();
        let issuer = crypto.add_revocations(list, &certifiers)?;
        let mut shunned = Vec::new();
        for (id, held) in &self.held {
            // What has ended is refused anyway, and would be told to have ended.
            let at = wall_s.min(held.holder.certified.not_after());
            let counts = !cfg!(spinglass_bug = "revoked_heard");
            if counts && *id != self.own && crypto.is_revoked(&held.holder.chain, at) {
                shunned.push(*id);
            }
        }
        shunned.iter().for_each(|id| self.forget(*id));
        self.topics.forget_decisions();
        Ok((issuer, shunned))
    }

    /// Looks at every chain anew, since other roots are trusted than before. Returns who was heard
    /// until now.
    pub(crate) fn recheck(&mut self, wall_s: u64, crypto: &mut dyn Crypto) -> Vec<MemberId> {
        // What was refused may be good now.
        self.refused.clear();
        let mut shunned = Vec::new();
        for (id, held) in &self.held {
            let at = wall_s.min(held.holder.certified.not_after());
            let verified = Certified::verify_by(crypto, &held.holder.chain, at);
            if *id != self.own && verified.is_err() {
                shunned.push(*id);
            }
        }
        shunned.iter().for_each(|id| self.forget(*id));
        self.topics.forget_decisions();
        shunned
    }

    /// A member's chain, if it is held.
    pub(crate) fn holder(&self, id: MemberId) -> Option<&Arc<Holder>> {
        self.held.get(&id).map(|held| &held.holder)
    }

    // --- asking

    /// Whether a refusal may be for want of a certificate, and it is time to ask for that: for a
    /// renewed one now and then, for one that never came at once.
    pub(crate) const fn is_wanting<T>(&self, checked: &Result<T, Reject>) -> bool {
        match checked {
            Err(Reject::Uncertified) => true,
            Err(Reject::Expired) => self.round.is_multiple_of(RENEWAL_ROUNDS),
            _ => false,
        }
    }

    /// Whether a record speaks of another certificate than is held of its member, and it is time
    /// to ask for that.
    pub(crate) fn is_behind(&self, record: &MemberRecord) -> bool {
        let held = self.holder(record.id()).map(|holder| holder.certified.hash());
        held.is_some() && held != record.certificate && self.round.is_multiple_of(RENEWAL_ROUNDS)
    }

    /// Notes that somebody is to be asked for a member's certificate.
    pub(crate) fn want(&mut self, of: SocketAddr, id: MemberId) {
        if id != self.own && self.asked.len() < ASKED_PER_ROUND && self.asked.insert(id) {
            self.wanted.push((of, id));
        }
    }

    /// Whom to ask for what, at most [`WHO_IS_MAX`] at once.
    pub(crate) fn take_wanted(&mut self) -> Vec<(SocketAddr, Vec<MemberId>)> {
        let mut wanted = core::mem::take(&mut self.wanted);
        wanted.sort_unstable();
        let of_one = wanted.chunk_by(|(one, _), (next, _)| one == next);
        let asks = of_one.flat_map(|asks| asks.chunks(WHO_IS_MAX));
        let ask = |asks: &[(SocketAddr, MemberId)]| {
            let (of, _) = asks.first()?;
            Some((*of, asks.iter().map(|(_, id)| *id).collect()))
        };
        asks.filter_map(ask).collect()
    }

    /// Whether a further chain may be sent in this round to somebody who asked.
    pub(crate) const fn may_answer(&mut self) -> bool {
        take_one(&mut self.answers_left)
    }

    /// Whether a further stranger may be talked to in this round.
    pub(crate) const fn may_face_stranger(&mut self) -> bool {
        take_one(&mut self.strangers_left)
    }

    pub(crate) fn check_invariants(&self) {
        assert!(self.held.len() <= self.held_max);
        assert!(self.held.len() == self.by_hash.len(), "a chain held twice, or not found");
        assert!(self.refused.len() <= REFUSED_MAX);
    }
}

/// What a chain claims; of one that has ended, what it did: what its member said while it held
/// still counts. See [`Trust::check`].
fn verify_lately(
    chain: &Chain,
    wall_s: u64,
    crypto: &mut dyn Crypto,
) -> Result<Certified, Refusal> {
    match Certified::verify_by(crypto, chain, wall_s) {
        Err(Refusal::Expired { not_after }) => Certified::verify_by(crypto, chain, not_after),
        verified => verified,
    }
}

/// Bytes of the longest own chain: with header, frame and tag it fits a datagram of so many, and a
/// welcome.
pub(crate) const fn chain_bytes_max(datagram_bytes: usize) -> usize {
    let fits = datagram_bytes - LONG_HEADER_BYTES - FRAME_HEADER_BYTES - crate::crypto::TAG_BYTES;
    if fits < WELCOME_CHAIN_BYTES_MAX { fits } else { WELCOME_CHAIN_BYTES_MAX }
}
