//! Epochs: how the group moves from one link key to the next while traffic flows.
//!
//! An order ([`Order::Rekey`](crate::orders::Order)) tells the new key's number and hash. Whoever
//! hears of it asks whoever told it for the key, and gets it sealed to an offer made for this once;
//! only members whose certificates hold at that moment get it. Some rounds later each member seals
//! under the new key; from then on it still opens what comes under the old one for a grace time.
//!
//! ```text
//!   order ──► wanted ──key──► held ──SWITCH──► sealing ──next order's switch + GRACE──► forgotten
//! ```
//!
//! Invariants: one seals under no key whose hash was not ordered, but for the first; numbers only
//! grow; a key that was given for an evicted member's use does not exist, since keys are sealed to
//! one who proves to be certified, and to nobody else.

use alloc::vec::Vec;
use core::net::SocketAddr;

use crate::budget::take_one;
use crate::crypto::{Crypto, Epoch, Hash, Offer, PublicKey, SealedKey, Signature};
use crate::id::MemberId;
use crate::knock::Rank;
use crate::link::Link;
use crate::wire::{Malformed, Put, Reader};

/// Rounds between having a key and sealing under it: whoever lacks the key meanwhile misses what is
/// said until it has that, and repairs; and whoever is to be kept out reads on.
const SWITCH_ROUNDS: u32 = 1;
/// One more for each time that the group is eight times as large: about what an order takes to
/// reach nearly everybody.
const SWITCH_DOUBLINGS_PER_ROUND: u32 = 3;
/// Rounds for which one opens what is sealed under the key before: what is on its way, and those
/// that were late to hear of the new one. 5 s.
const GRACE_ROUNDS: u32 = 50;
/// Members that wait for a key which one awaits oneself; further ones ask again.
const WAITING_MAX: usize = 64;
/// Keys given to those who asked, in a round: a signature to check and a key to seal each, some
/// 10 ms in all.
const GIVEN_PER_ROUND: u32 = 64;

/// What keeps a request's signature from passing for one over anything else.
const ASK_DOMAIN: &[u8] = b"spinglass key ask v1";

/// A request for an epoch's key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeyAsk {
    /// The epoch's number.
    pub epoch: u32,
    /// What the key is to be sealed to.
    pub offer: Offer,
    /// The asker's signature: who holds the group's key can seal in others' names.
    pub signature: Signature,
}

/// The answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeyGive {
    /// The epoch's number.
    pub epoch: u32,
    /// The key.
    pub sealed: SealedKey,
}

/// What is signed of a request, and authenticated of its answer.
fn context(epoch: u32, offer: &Offer, asker: MemberId) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(ASK_DOMAIN.len() + 52);
    bytes.put(ASK_DOMAIN);
    bytes.put_u32(epoch);
    bytes.put(&offer.0);
    bytes.put(&asker.0);
    bytes
}

impl KeyAsk {
    /// Signs a request of this member.
    pub fn sign(epoch: u32, offer: Offer, own: MemberId, crypto: &mut dyn Crypto) -> Self {
        let signature = crypto.sign(&context(epoch, &offer, own));
        Self { epoch, offer, signature }
    }

    /// Reads a request.
    ///
    /// # Errors
    /// It is none.
    pub fn parse(body: &[u8]) -> Result<Self, Malformed> {
        let mut reader = Reader::new(body);
        let (epoch, offer) = (reader.u32()?, Offer(reader.array()?));
        let signature = Signature(reader.array()?);
        if reader.is_empty() { Ok(Self { epoch, offer, signature }) } else { Err(Malformed) }
    }

    /// Appends the request.
    pub fn encode(&self, buffer: &mut Vec<u8>) {
        buffer.put_u32(self.epoch);
        buffer.put(&self.offer.0);
        buffer.put(&self.signature.0);
    }

    /// Whether this member made it.
    pub(crate) fn is_of(&self, (id, key): (MemberId, &PublicKey), crypto: &mut dyn Crypto) -> bool {
        crypto.verify(key, &context(self.epoch, &self.offer, id), &self.signature)
    }
}

impl KeyGive {
    /// Reads an answer.
    ///
    /// # Errors
    /// It is none.
    pub fn parse(body: &[u8]) -> Result<Self, Malformed> {
        let mut reader = Reader::new(body);
        let (epoch, sealed) = (reader.u32()?, SealedKey(reader.array()?));
        if reader.is_empty() { Ok(Self { epoch, sealed }) } else { Err(Malformed) }
    }

    /// Appends the answer.
    pub fn encode(&self, buffer: &mut Vec<u8>) {
        buffer.put_u32(self.epoch);
        buffer.put(&self.sealed.0);
    }
}

/// How far this member is with the newest order.
#[derive(Debug, Clone, Copy)]
enum Next {
    /// It does not have the key.
    Wanted { hash: Hash, offer: Offer },
    /// It has, and seals under it from this round on.
    Held { from: u32 },
}

/// Somebody who waits for a key.
#[derive(Debug)]
struct Waiting {
    to: Asker,
    offer: Offer,
}

/// Somebody who asks for a key.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Asker {
    pub(crate) id: MemberId,
    pub(crate) at: SocketAddr,
    /// The epoch that it sealed its request under: it may not have a newer one's key.
    pub(crate) under: Epoch,
}

/// The epochs as one member knows them.
#[derive(Debug)]
pub(crate) struct Epochs {
    own: MemberId,
    /// The number of the epoch that this member seals under.
    current: u32,
    /// The number of a later one that was ordered.
    next: Option<(u32, Next)>,
    /// Epochs whose keys are still held, and the round in which each is forgotten.
    old: Vec<(u32, u32)>,
    waiting: Vec<Waiting>,
    given_left: u32,
    round: u32,
}

/// The byte by which datagrams tell an epoch.
pub(crate) const fn byte(number: u32) -> Epoch {
    let [low, ..] = number.to_le_bytes();
    Epoch(low)
}

impl Epochs {
    pub(crate) const fn new(own: MemberId, first: Epoch) -> Self {
        Self {
            own,
            current: first.0 as u32,
            next: None,
            old: Vec::new(),
            waiting: Vec::new(),
            given_left: GIVEN_PER_ROUND,
            round: 1,
        }
    }

    /// The number of the epoch that this member seals under.
    pub(crate) const fn current(&self) -> u32 {
        self.current
    }

    /// The highest number that it knows of.
    pub(crate) fn newest(&self) -> u32 {
        self.next.map_or(self.current, |(number, _)| number)
    }

    /// The highest number whose key it has.
    pub(crate) const fn held(&self) -> u32 {
        match self.next {
            Some((number, Next::Held { .. })) => number,
            _ => self.current,
        }
    }

    /// Whether this member is on its way to a key that it has. One that it waits for may never
    /// come, if whoever drew it has gone; the next rotation overtakes it.
    pub(crate) const fn is_moving(&self) -> bool {
        matches!(self.next, Some((_, Next::Held { .. })))
    }

    /// Whether a key was ordered that this member has not got.
    pub(crate) const fn is_wanting(&self) -> bool {
        matches!(self.next, Some((_, Next::Wanted { .. })))
    }

    /// Hears of an order. Returns whether its key is to be asked for.
    pub(crate) fn on_order(
        &mut self,
        (number, hash): (u32, Hash),
        agents: usize,
        link: &mut Link,
        crypto: &mut dyn Crypto,
    ) -> bool {
        if number <= self.newest() {
            return false;
        }
        // What was on its way is overtaken. Others may seal under it by now.
        if let Some((_, Next::Held { .. })) = self.next {
            self.switch(link, crypto);
        }
        if crypto.epoch_hash(byte(number)) == Some(hash) {
            self.next = Some((number, Next::Held { from: self.switch_round(agents) }));
            return false;
        }
        self.next = Some((number, Next::Wanted { hash, offer: crypto.offer() }));
        true
    }

    fn switch_round(&self, agents: usize) -> u32 {
        let doublings = agents.max(2).ilog2();
        let wait = SWITCH_ROUNDS + doublings / SWITCH_DOUBLINGS_PER_ROUND;
        self.round.saturating_add(wait)
    }

    /// The request for the key that was ordered; or, if none was that this member knows of, one
    /// that whoever knows of a newer one answers by the order.
    pub(crate) fn ask(&mut self, crypto: &mut dyn Crypto) -> KeyAsk {
        match &mut self.next {
            Some((number, Next::Wanted { offer, .. })) => {
                if *offer == Offer([0; 32]) {
                    *offer = crypto.offer();
                }
                KeyAsk::sign(*number, *offer, self.own, crypto)
            }
            _ => KeyAsk::sign(self.newest(), Offer([0; 32]), self.own, crypto),
        }
    }

    /// Whether a further request may be looked at in this round.
    pub(crate) const fn may_give(&mut self) -> bool {
        take_one(&mut self.given_left)
    }

    /// Answers a genuine request, at once if this member has the key, else once it has.
    pub(crate) fn on_ask(
        &mut self,
        asker: Asker,
        ask: &KeyAsk,
        crypto: &mut dyn Crypto,
    ) -> Option<KeyGive> {
        if ask.epoch != self.newest() {
            return None;
        }
        if self.is_wanting() {
            self.waiting.retain(|waiting| waiting.to.id != asker.id);
            if self.waiting.len() < WAITING_MAX {
                self.waiting.push(Waiting { to: asker, offer: ask.offer });
            }
            return None;
        }
        seal(ask.epoch, &ask.offer, asker.id, crypto)
    }

    /// Takes a key in. Returns whether it is the one that was ordered.
    pub(crate) fn on_give(
        &mut self,
        give: &KeyGive,
        agents: usize,
        crypto: &mut dyn Crypto,
    ) -> bool {
        let Some((number, Next::Wanted { hash, offer })) = self.next else { return false };
        let context = context(number, &offer, self.own);
        if give.epoch != number || !crypto.open_epoch(byte(number), &give.sealed, &context, &hash) {
            return false;
        }
        self.next = Some((number, Next::Held { from: self.switch_round(agents) }));
        true
    }

    /// The answers to those who waited for a key that is here now.
    pub(crate) fn take_waiting(&mut self, crypto: &mut dyn Crypto) -> Vec<(Asker, KeyGive)> {
        let number = self.newest();
        let waiting = core::mem::take(&mut self.waiting);
        let give =
            |Waiting { to, offer }: Waiting| Some((to, seal(number, &offer, to.id, crypto)?));
        waiting.into_iter().filter_map(give).collect()
    }

    /// Moves on to the next key, and forgets those whose time is over. Returns whether it moved.
    pub(crate) fn on_round(
        &mut self,
        round: u32,
        link: &mut Link,
        crypto: &mut dyn Crypto,
    ) -> bool {
        self.round = round;
        self.given_left = GIVEN_PER_ROUND;
        let is_over = |(_, until): &(u32, u32)| *until <= round;
        while let Some(at) = self.old.iter().position(is_over) {
            let (number, _) = self.old.swap_remove(at);
            link.forget_epoch(byte(number), crypto);
            crypto.forget_epoch(byte(number));
        }
        match self.next {
            Some((_, Next::Held { from })) if from <= round => self.switch(link, crypto),
            _ => false,
        }
    }

    fn switch(&mut self, link: &mut Link, crypto: &mut dyn Crypto) -> bool {
        let Some((number, Next::Held { .. })) = self.next else { return false };
        self.next = None;
        if !link.switch(byte(number), crypto) {
            return false;
        }
        self.old.push((self.current, self.round.saturating_add(GRACE_ROUNDS)));
        self.current = number;
        true
    }

    /// The offer was replaced by one to somebody else: what was ordered needs another.
    pub(crate) const fn lose_offer(&mut self) {
        if let Some((number, Next::Wanted { hash, .. })) = self.next {
            let offer = Offer([0; 32]);
            self.next = Some((number, Next::Wanted { hash, offer }));
        }
    }

    /// The newest key that this member has, for a stranger.
    pub(crate) fn rank(&self, is_shared: bool, crypto: &mut dyn Crypto) -> Option<Rank> {
        let epoch = self.held();
        Some(Rank { is_shared, epoch, hash: crypto.epoch_hash(byte(epoch))? })
    }

    /// Takes over a key that a member of the group gave to this one as to a stranger, and seals
    /// under it at once.
    pub(crate) fn adopt(&mut self, rank: Rank, link: &mut Link, crypto: &mut dyn Crypto) {
        let replaces = byte(self.current) == byte(rank.epoch);
        // What was derived from another key of this byte is of no use.
        link.forget_epoch(byte(rank.epoch), crypto);
        if !link.switch(byte(rank.epoch), crypto) {
            return;
        }
        if !replaces {
            self.old.retain(|(number, _)| byte(*number) != byte(rank.epoch));
            self.old.push((self.current, self.round.saturating_add(GRACE_ROUNDS)));
        }
        self.current = rank.epoch;
        self.next = self.next.filter(|(number, _)| *number > rank.epoch);
    }

    pub(crate) fn check_invariants(&self) {
        assert!(self.waiting.len() <= WAITING_MAX);
        assert!(self.next.is_none_or(|(number, _)| number > self.current));
        assert!(self.old.iter().all(|(number, _)| byte(*number) != byte(self.current)));
    }
}

fn seal(number: u32, offer: &Offer, asker: MemberId, crypto: &mut dyn Crypto) -> Option<KeyGive> {
    let context = context(number, offer, asker);
    let sealed = crypto.seal_epoch(byte(number), offer, &context)?;
    Some(KeyGive { epoch: number, sealed })
}
