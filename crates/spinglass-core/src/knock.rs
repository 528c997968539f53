//! Knocking: how somebody without the group's link key gets it, by its certificate alone: a member
//! that was away while the key changed, or one that never had any.
//!
//! ```text
//!   stranger                                       member
//!      │ knock: a number                              │
//!      ├─────────────────────────────────────────────►│ keeps nothing
//!      │ cookie: the number, and a keyed hash         │
//!      │◄─────────────────────────────────────────────┤ of address and number
//!      │ petition: cookie, offer, chain, signature    │
//!      ├─────────────────────────────────────────────►│ looks at the cookie, then at the chain
//!      │ welcome: the key, sealed; chain, signature   │
//!      │◄─────────────────────────────────────────────┤
//! ```
//!
//! These four datagrams alone are not sealed. Whoever can't receive at the address that it sends
//! from gets a cookie at most, shorter than what it sent; and a welcome is never longer than its
//! petition, which is filled up with zeros for that. Nothing is kept of a stranger before its
//! cookie, its certificates and its signature have been checked, in that order, each within a
//! budget (RFC 9000, section 8; Perrig et al. on cookies).
//!
//! Which of two keys stands above the other, where a group was cut in two and both parts moved on,
//! or two members began one each: one under which somebody was ever heard, then the one of the
//! higher epoch, then of the higher hash ([`Rank`]). Whoever is petitioned by one whose key stands
//! above its own knocks there in turn.

use alloc::vec::Vec;
use core::net::SocketAddr;

use crate::budget::take_one;
use crate::crypto::{Crypto, Domain, Hash, Offer, SealedKey, Signature};
use crate::identity::Chain;
use crate::link::VERSION;
use crate::rng::Prng;
use crate::wire::{Malformed, Put, Reader};

/// Marks, in the version byte, a datagram that is not sealed.
const STRANGER: u8 = 0x40;
/// Bytes of a knock: more than its answer has.
const KNOCK_BYTES: usize = 64;
/// Bytes of the longest of these datagrams, which every path carries; a petition's always.
pub const STRANGER_BYTES_MAX: usize = 1200;
/// Bytes of the longest chain that has room in a welcome, beside its 184 others.
pub(crate) const WELCOME_CHAIN_BYTES_MAX: usize = STRANGER_BYTES_MAX - 185;

/// Rounds without a datagram that could be opened after which a member knocks. 2 s.
const LOCKED_ROUNDS: u32 = 20;
/// Rounds from its start in which a keyless member takes any certified member's key of the first
/// epoch in the place of its own, though others share that: both were drawn by chance, by members
/// that began at the same moment, and no order stands behind either. A minute: later on, whoever
/// could have a group move to a key of its own must have the right to.
const YOUNG_ROUNDS: u32 = 600;
/// Rounds between two knocks at most.
const KNOCK_ROUNDS: u32 = 5;
/// Rounds after which a member's cookies change; the ones before are accepted as long again.
const COOKIE_ROUNDS: u32 = 100;
/// Knocks answered in a round: 64 datagrams of 34 bytes.
const COOKIES_PER_ROUND: u32 = 64;
/// Petitions whose chain and signature are looked at in a round: some 5 ms.
const PETITIONS_PER_ROUND: u32 = 16;

const PETITION_DOMAIN: &[u8] = b"spinglass petition v1";
const WELCOME_DOMAIN: &[u8] = b"spinglass welcome v1";

/// A number drawn by who knocks, by which it knows the answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Nonce(pub [u8; 16]);

/// Which of two keys stands above the other.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Rank {
    /// Whether whoever says so has ever heard anybody under it.
    pub is_shared: bool,
    /// The epoch's number.
    pub epoch: u32,
    /// The key's hash.
    pub hash: Hash,
}

/// A datagram of a stranger's, or to one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Strange {
    /// Is anybody there?
    Knock(Nonce),
    /// Come back with this, if you get it.
    Cookie(Nonce, Hash),
    /// Here I am, certified: what is the key?
    Petition(Petition),
    /// It is this.
    Welcome(Welcome),
}

/// A request for the group's key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Petition {
    /// The same as in the knock.
    pub nonce: Nonce,
    /// What the knock was answered by.
    pub cookie: Hash,
    /// The key that the stranger has.
    pub rank: Rank,
    /// What the key is to be sealed to.
    pub offer: Offer,
    /// Who it is.
    pub chain: Chain,
    /// Its signature.
    pub signature: Signature,
}

/// The group's key, for one who asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Welcome {
    /// The same as in the petition.
    pub nonce: Nonce,
    /// Which key it is.
    pub rank: Rank,
    /// The key.
    pub sealed: SealedKey,
    /// Who gives it.
    pub chain: Chain,
    /// That one's signature.
    pub signature: Signature,
}

/// Whether a datagram that begins so is one of these.
pub(crate) const fn is_strange(first: u8) -> bool {
    first == VERSION | STRANGER
}

/// How many bytes of a datagram are clear, of one that begins so and has `bytes` in all: what a
/// recording keeps.
pub(crate) fn clear_bytes(first: Option<u8>, bytes: usize) -> usize {
    let most = if first.is_some_and(is_strange) {
        STRANGER_BYTES_MAX
    } else {
        crate::link::HEADER_BYTES_MAX
    };
    bytes.min(most)
}

fn put_rank(rank: &Rank, buffer: &mut Vec<u8>) {
    buffer.put_u8(rank.is_shared.into());
    buffer.put_u32(rank.epoch);
    buffer.put(&rank.hash.0);
}

fn rank(reader: &mut Reader<'_>) -> Result<Rank, Malformed> {
    let is_shared = match reader.u8()? {
        0 => false,
        1 => true,
        _ => return Err(Malformed),
    };
    Ok(Rank { is_shared, epoch: reader.u32()?, hash: Hash(reader.array()?) })
}

impl Petition {
    fn put_signed(&self, buffer: &mut Vec<u8>) {
        buffer.put(&self.nonce.0);
        buffer.put(&self.cookie.0);
        put_rank(&self.rank, buffer);
        buffer.put(&self.offer.0);
    }

    /// What its signature is over; and what the welcome's key is bound to.
    pub(crate) fn signed(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(PETITION_DOMAIN.len() + 85);
        bytes.put(PETITION_DOMAIN);
        self.put_signed(&mut bytes);
        bytes
    }
}

impl Welcome {
    fn put_signed(&self, buffer: &mut Vec<u8>) {
        buffer.put(&self.nonce.0);
        put_rank(&self.rank, buffer);
        buffer.put(&self.sealed.0);
    }

    /// What its signature is over: itself, and the petition that it answers.
    pub(crate) fn signed(&self, petition: &[u8]) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(WELCOME_DOMAIN.len() + 117 + petition.len());
        bytes.put(WELCOME_DOMAIN);
        self.put_signed(&mut bytes);
        bytes.put(petition);
        bytes
    }
}

impl Strange {
    /// Reads a datagram.
    ///
    /// # Errors
    /// It is none of these.
    pub fn parse(datagram: &[u8]) -> Result<Self, Malformed> {
        let mut reader = Reader::new(datagram);
        if !is_strange(reader.u8()?) || datagram.len() > STRANGER_BYTES_MAX {
            return Err(Malformed);
        }
        let (kind, nonce) = (reader.u8()?, Nonce(reader.array()?));
        let is_filled = |reader: &Reader<'_>| reader.rest().iter().all(|byte| *byte == 0);
        Ok(match kind {
            0 if datagram.len() == KNOCK_BYTES && is_filled(&reader) => Self::Knock(nonce),
            1 => {
                let cookie = Hash(reader.array()?);
                if !reader.is_empty() {
                    return Err(Malformed);
                }
                Self::Cookie(nonce, cookie)
            }
            2 if datagram.len() == STRANGER_BYTES_MAX => {
                let (cookie, rank) = (Hash(reader.array()?), rank(&mut reader)?);
                let (offer, chain) = (Offer(reader.array()?), Chain::read(&mut reader)?);
                let signature = Signature(reader.array()?);
                if !is_filled(&reader) {
                    return Err(Malformed);
                }
                Self::Petition(Petition { nonce, cookie, rank, offer, chain, signature })
            }
            3 => {
                let rank = rank(&mut reader)?;
                let (sealed, chain) = (SealedKey(reader.array()?), Chain::read(&mut reader)?);
                let signature = Signature(reader.array()?);
                if !reader.is_empty() {
                    return Err(Malformed);
                }
                Self::Welcome(Welcome { nonce, rank, sealed, chain, signature })
            }
            _ => return Err(Malformed),
        })
    }

    /// Appends the datagram to an empty buffer.
    pub fn encode(&self, buffer: &mut Vec<u8>) {
        buffer.put_u8(VERSION | STRANGER);
        match self {
            Self::Knock(nonce) => {
                buffer.put_u8(0);
                buffer.put(&nonce.0);
                buffer.resize(KNOCK_BYTES, 0);
            }
            Self::Cookie(nonce, cookie) => {
                buffer.put_u8(1);
                buffer.put(&nonce.0);
                buffer.put(&cookie.0);
            }
            Self::Petition(petition) => {
                buffer.put_u8(2);
                petition.put_signed(buffer);
                buffer.put_sized(&petition.chain.bytes());
                buffer.put(&petition.signature.0);
                buffer.resize(STRANGER_BYTES_MAX, 0);
            }
            Self::Welcome(welcome) => {
                buffer.put_u8(3);
                welcome.put_signed(buffer);
                buffer.put_sized(&welcome.chain.bytes());
                buffer.put(&welcome.signature.0);
            }
        }
    }
}

/// A knock that was not answered by a welcome yet.
#[derive(Debug, Clone)]
pub(crate) struct Asked {
    pub(crate) to: SocketAddr,
    pub(crate) nonce: Nonce,
    /// What the petition said, once there is one.
    pub(crate) petition: Option<Vec<u8>>,
}

/// Both sides of it, as one member sees them.
#[derive(Debug)]
pub(crate) struct Knocks {
    /// By which cookies are made and known again.
    secret: [u8; 16],
    rng: Prng,
    /// Whether it began with a key that it drew itself.
    keyless: bool,
    round: u32,
    /// The round in which something could last be opened; none, if never under this key.
    heard: Option<u32>,
    /// Rounds without it after which this member knocks.
    patience: u32,
    /// The round of the last knock.
    knocked: u32,
    /// The round of the last knock at one who had petitioned.
    turned: u32,
    asked: Option<Asked>,
    cookies_left: u32,
    petitions_left: u32,
}

impl Knocks {
    /// Of a member that begins with a key of its own, if it is keyless.
    pub(crate) fn new(keyless: bool, mut rng: Prng) -> Self {
        let mut secret = [0; 16];
        for word in secret.as_chunks_mut::<8>().0 {
            *word = rng.next_u64().to_le_bytes();
        }
        Self {
            secret,
            rng,
            keyless,
            round: 1,
            heard: None,
            patience: if keyless { 0 } else { LOCKED_ROUNDS },
            knocked: 0,
            turned: 0,
            asked: None,
            cookies_left: COOKIES_PER_ROUND,
            petitions_left: PETITIONS_PER_ROUND,
        }
    }

    pub(crate) const fn on_round(&mut self, round: u32) {
        self.round = round;
        (self.cookies_left, self.petitions_left) = (COOKIES_PER_ROUND, PETITIONS_PER_ROUND);
    }

    /// Something could be opened.
    pub(crate) const fn on_heard(&mut self) {
        (self.heard, self.patience) = (Some(self.round), LOCKED_ROUNDS);
    }

    /// The key at hand was given to somebody: it is no longer this member's alone, though nobody
    /// was heard yet.
    pub(crate) const fn on_given(&mut self) {
        if self.heard.is_none() {
            self.on_heard();
        }
    }

    /// Whether others are heard under the key at hand, or were until just now.
    pub(crate) const fn is_shared(&self) -> bool {
        self.heard.is_some() && !self.is_locked_out()
    }

    /// Whether the key at hand is one that somebody drew by chance a moment ago.
    pub(crate) const fn is_young(&self) -> bool {
        self.keyless && self.round < YOUNG_ROUNDS
    }

    /// A key was taken over: whoever has it is still to be heard.
    pub(crate) fn on_new_key(&mut self) {
        self.on_heard();
        (self.knocked, self.asked) = (self.round, None);
    }

    /// Whether nothing could be opened for so long that it is time to knock.
    pub(crate) const fn is_locked_out(&self) -> bool {
        let since = match self.heard {
            Some(heard) => heard,
            None => 0,
        };
        self.round.saturating_sub(since) >= self.patience
    }

    /// Knocks at somebody's, if not too often; at most once in a round `in_turn`, at one who has
    /// just petitioned.
    pub(crate) fn knock(&mut self, to: SocketAddr, in_turn: bool) -> Option<Strange> {
        let (last, wait) =
            if in_turn { (&mut self.turned, 1) } else { (&mut self.knocked, KNOCK_ROUNDS) };
        if self.round.saturating_sub(*last) < wait {
            return None;
        }
        *last = self.round;
        let mut nonce = Nonce([0; 16]);
        for word in nonce.0.as_chunks_mut::<8>().0 {
            *word = self.rng.next_u64().to_le_bytes();
        }
        self.asked = Some(Asked { to, nonce, petition: None });
        Some(Strange::Knock(nonce))
    }

    fn cookie(
        &self,
        (from, nonce): (SocketAddr, Nonce),
        age: u32,
        crypto: &mut dyn Crypto,
    ) -> Hash {
        let mut input = Vec::with_capacity(56);
        input.put(&self.secret);
        input.put_u32((self.round / COOKIE_ROUNDS).saturating_sub(age));
        input.put(&nonce.0);
        input.put_address(from);
        crypto.hash(Domain::Cookie, &input)
    }

    /// What a knock is answered by.
    pub(crate) fn on_knock(
        &mut self,
        from: SocketAddr,
        nonce: Nonce,
        crypto: &mut dyn Crypto,
    ) -> Option<Strange> {
        let may = take_one(&mut self.cookies_left) || cfg!(spinglass_bug = "cookies_unbounded");
        may.then(|| Strange::Cookie(nonce, self.cookie((from, nonce), 0, crypto)))
    }

    /// Whether a petition comes from where it says, and there is time to look at it.
    pub(crate) fn may_look(
        &mut self,
        from: SocketAddr,
        petition: &Petition,
        crypto: &mut dyn Crypto,
    ) -> bool {
        let who = (from, petition.nonce);
        let is_it = |age| self.cookie(who, age, crypto) == petition.cookie;
        let is_its = [0, 1].into_iter().any(is_it) || cfg!(spinglass_bug = "cookie_unchecked");
        is_its && take_one(&mut self.petitions_left)
    }

    /// What was asked of somebody, if this is the answer.
    pub(crate) fn asked(&mut self, from: SocketAddr, nonce: Nonce) -> Option<&mut Asked> {
        self.asked.as_mut().filter(|asked| asked.to == from && asked.nonce == nonce)
    }
}
