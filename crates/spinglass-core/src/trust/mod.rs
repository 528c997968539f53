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
use crate::id::{MemberId, StreamId, TopicId};
use crate::identity::{Certified, Chain, Refusal, SpiffeId};
use crate::knock::WELCOME_CHAIN_BYTES_MAX;
use crate::link::LONG_HEADER_BYTES;
use crate::members::MemberRecord;
use crate::orders;
use crate::rules::{Action, Decision, NamePattern, Policy};
use crate::table::{Kind, RESERVED, UnverifiedRow};
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

    /// Goes by these rules from now on; with none, by those of the configuration.
    pub(crate) fn go_by(&mut self, ordered: Option<Policy>, crypto: &mut dyn Crypto) {
        if self.ordered != ordered {
            self.ordered = ordered;
            self.note_rules(crypto);
        }
    }

    fn note_rules(&mut self, crypto: &mut dyn Crypto) {
        self.rules_changes = self.rules_changes.wrapping_add(1);
        self.topics.heed(rules(&self.policy, &self.ordered), crypto);
    }

    /// The rules that hold, and for whom this member is taken by them.
    pub(crate) fn rules(&self) -> Option<(&SpiffeId, &Policy)> {
        let policy = rules(&self.policy, &self.ordered)?;
        Some((self.holder(self.own)?.certified.name(), policy))
    }

    /// A number that changes when they do.
    pub(crate) const fn rules_changes(&self) -> u32 {
        self.rules_changes
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
        let mut bytes = Vec::new();
        chain.encode(&mut bytes);
        let whole = crypto.hash(Domain::Certificate, &bytes);
        if self.refused.contains(&whole) || !take_one(&mut self.checks_left) {
            return Err(Reject::BadCertificate);
        }
        let verified = match Certified::verify_by(crypto, &chain, wall_s) {
            // What its member did while it held still counts: see `check`.
            Err(Refusal::Expired { not_after }) => Certified::verify_by(crypto, &chain, not_after),
            verified => verified,
        };
        let certified = match verified {
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

    // --- what may be done

    /// Whether a further stranger may be talked to in this round.
    pub(crate) const fn may_face_stranger(&mut self) -> bool {
        take_one(&mut self.strangers_left)
    }

    /// What the rules say; without any, everything certified is allowed.
    fn decide(&self, holder: &Holder, action: &Action<'_>) -> Decision {
        let whatever = Decision { allowed: true, rule: None };
        let name = holder.certified.name();
        let rules = match action {
            // Rules that came by order must not decide who gives the next.
            Action::Govern => self.policy.as_ref(),
            _ => rules(&self.policy, &self.ordered),
        };
        match rules {
            Some(policy) => policy.decide(name, action),
            None if *action == Action::Govern => Decision { allowed: false, rule: None },
            None => whatever,
        }
    }

    /// Whether the configuration has rules, by which alone others may come by order.
    pub(crate) const fn has_rules(&self) -> bool {
        self.policy.is_some()
    }

    /// Whether a member may give the group a new link key.
    pub(crate) fn may_rotate(&self, holder: &Holder) -> bool {
        self.decide(holder, &Action::Rotate).allowed
    }

    /// Members that may, of those whose certificates are held.
    pub(crate) fn rotators(&self) -> impl Iterator<Item = MemberId> {
        let may =
            self.held.iter().filter(|(_, held)| !held.is_shunned && self.may_rotate(&held.holder));
        may.map(|(id, _)| *id)
    }

    /// Whether this member may do something itself.
    ///
    /// # Errors
    /// It may not: the rule that says so.
    pub(crate) fn decide_own(&self, action: &Action<'_>) -> Result<(), Denied> {
        let Some(own) = self.holder(self.own) else { return Err(Denied { rule: None }) };
        let Decision { allowed, rule } = self.decide(own, action);
        if allowed { Ok(()) } else { Err(Denied { rule }) }
    }

    /// Whether a record whose signature verified may be kept: its member is certified, for its
    /// region, and may join.
    ///
    /// # Errors
    /// Why not.
    pub(crate) fn check_record(
        &mut self,
        record: &MemberRecord,
        wall_s: u64,
    ) -> Result<(), Reject> {
        if record.certificate.is_none() {
            return Err(Reject::Uncertified);
        }
        let holder = self.check(record.id(), wall_s)?;
        let certified = &holder.certified;
        if *certified.public_key() != record.public_key || *certified.name().zone() != record.region
        {
            return Err(Reject::Misnamed);
        }
        let join = Action::Join(record.region.clone());
        if self.decide(&holder, &join).allowed { Ok(()) } else { Err(Reject::Denied) }
    }

    /// Whether packets of a stream may be taken in: their sender is certified, and may publish on
    /// the topic.
    ///
    /// # Errors
    /// Why not.
    pub(crate) fn check_origin(&mut self, stream: &StreamId, wall_s: u64) -> Result<(), Reject> {
        let StreamId { sender, topic, .. } = *stream;
        let holder = self.check(sender, wall_s)?;
        let Some(policy) = rules(&self.policy, &self.ordered) else { return Ok(()) };
        let who = (sender, holder.certified.name());
        if self.topics.may_publish(policy, who, topic) { Ok(()) } else { Err(Reject::Denied) }
    }

    /// Whether this member may publish on a topic. Of one whose text it was never told it says what
    /// a relay would.
    ///
    /// # Errors
    /// It may not.
    pub(crate) fn check_publish(&mut self, topic: TopicId) -> Result<(), Denied> {
        let rules = rules(&self.policy, &self.ordered);
        let (Some(policy), Some(held)) = (rules, self.held.get(&self.own)) else {
            return Ok(());
        };
        let who = (self.own, held.holder.certified.name());
        if self.topics.may_publish(policy, who, topic) {
            return Ok(());
        }
        let text = self.topics.text(topic);
        text.map_or(Err(Denied { rule: None }), |text| self.decide_own(&Action::Publish(text)))
    }

    /// Whether this member may subscribe to a topic. Without its text, only if there is no policy.
    ///
    /// # Errors
    /// It may not.
    pub(crate) fn check_subscribe(&self, topic: TopicId) -> Result<(), Denied> {
        match self.topics.text(topic) {
            Some(text) => self.decide_own(&Action::Subscribe(text)),
            None if rules(&self.policy, &self.ordered).is_none() => Ok(()),
            None => Err(Denied { rule: None }),
        }
    }

    /// Learns a topic's text.
    pub(crate) fn learn_topic(&mut self, topic: TopicId, text: &str) {
        self.topics.learn(topic, text);
    }

    /// Whether a row may be taken in, as far as its issuer's certificate and the rules go.
    ///
    /// # Errors
    /// Why not.
    pub(crate) fn check_row(
        &mut self,
        row: &UnverifiedRow<'_>,
        issuer: MemberId,
        wall_s: u64,
    ) -> Result<(), Reject> {
        let at = match row.kind() {
            // Installed once, and for all who come later: whoever installed it may be gone.
            Kind::Function | Kind::Order => row.issued_ms() / 1000,
            Kind::Agent | Kind::Zone => wall_s,
        };
        let holder = self.check(issuer, at)?;
        let name = holder.certified.name();
        let is_of_issuer = match row.kind() {
            Kind::Agent => name.zone() == row.zone() && name.node() == row.name(),
            Kind::Zone => {
                let zone = row.zone().child(row.name()).map_err(|_| Reject::Misplaced)?;
                name.zone().is_within(&zone)
            }
            Kind::Function | Kind::Order => name.zone().is_within(row.zone()),
        };
        if !is_of_issuer {
            return Err(Reject::Misnamed);
        }
        let allowed = match row.kind() {
            Kind::Zone => true,
            Kind::Order => self.decide(&holder, &orders::right(row.name())).allowed,
            Kind::Function => {
                let zone = row.zone().clone();
                let install = Action::Install { function: row.name(), zone };
                self.decide(&holder, &install).allowed || cfg!(spinglass_bug = "install_unchecked")
            }
            Kind::Agent => {
                let set = row.attributes().iter().map(|(name, _)| name.as_str());
                set.filter(|name| !RESERVED.contains(name)).all(|attribute| {
                    let zone = row.zone().clone();
                    self.decide(&holder, &Action::Write { attribute, zone }).allowed
                })
            }
        };
        if allowed { Ok(()) } else { Err(Reject::Denied) }
    }

    pub(crate) fn check_invariants(&self) {
        assert!(self.held.len() <= self.held_max);
        assert!(self.held.len() == self.by_hash.len(), "a chain held twice, or not found");
        assert!(self.refused.len() <= REFUSED_MAX);
    }
}

/// The rules that hold.
fn rules<'a>(own: &'a Option<Policy>, ordered: &'a Option<Policy>) -> Option<&'a Policy> {
    ordered.as_ref().or(own.as_ref())
}

/// Something that the policy denies.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Denied {
    /// The rule that says so, counted from 0; none is about it.
    pub rule: Option<usize>,
}

impl core::fmt::Display for Denied {
    fn fmt(&self, formatter: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        match self.rule {
            Some(rule) => write!(formatter, "rule {} of the policy denies it", rule + 1),
            None => formatter.write_str("no rule of the policy allows it"),
        }
    }
}

impl core::error::Error for Denied {}

/// Bytes of the longest own chain: with header, frame and tag it fits a datagram of so many, and a
/// welcome.
pub(crate) const fn chain_bytes_max(datagram_bytes: usize) -> usize {
    let fits = datagram_bytes - LONG_HEADER_BYTES - FRAME_HEADER_BYTES - crate::crypto::TAG_BYTES;
    if fits < WELCOME_CHAIN_BYTES_MAX { fits } else { WELCOME_CHAIN_BYTES_MAX }
}
