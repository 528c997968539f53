//! What the core asks of cryptography, and nothing about how it is done.
//!
//! Private and link keys live behind this trait and never enter the core: it holds handles. That
//! also makes a recording of a run free of keys, since a recording is made at this boundary.

use alloc::vec::Vec;
use core::fmt;

use crate::id::MemberId;
use crate::identity::{Chain, Claims, Refusal};

/// Bytes of the authentication tag that closes every sealed datagram.
pub const TAG_BYTES: usize = 16;

/// An Ed25519 public key.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PublicKey(pub [u8; 32]);

/// An Ed25519 signature.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Signature(pub [u8; 64]);

/// A hash, truncated to 16 bytes: 128 bits against a second preimage.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Hash(pub [u8; 16]);

/// A boot's random salt, drawn by the host from the operating system once per start.
#[derive(Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Salt(pub [u8; 16]);

/// Which of the group's link keys a datagram is sealed under.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Epoch(pub u8);

/// What somebody who wants an epoch's key has to show: an X25519 public key, drawn for this once,
/// so that nobody who gets hold of a member's own key later can open what was sealed to it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Offer(pub [u8; 32]);

/// An epoch's key, sealed to an [`Offer`] by HPKE (RFC 9180, base mode): what is encapsulated, the
/// sealed key, and its tag.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct SealedKey(pub [u8; SEALED_KEY_BYTES]);

/// Bytes of a [`SealedKey`]: 32 each for what is encapsulated and for the key, 16 for the tag.
pub const SEALED_KEY_BYTES: usize = 80;

/// A handle to a sealing key that the implementation of [`Crypto`] keeps.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct LinkKey(pub u32);

/// What is being hashed. Each domain has a key of its own, so a leaf can't pass for a node.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Domain {
    /// A packet, as a leaf of its burst's hash tree.
    Leaf,
    /// Two hashes of a burst's tree, side by side (32 bytes).
    Node,
    /// A public key, giving a [`MemberId`].
    Member,
    /// A topic's text, giving a [`TopicId`](crate::TopicId).
    Topic,
    /// A boot's (sender, salt, generation), giving the short name in datagram headers.
    Boot,
    /// A row of the table, signature and all: its share of a digest.
    Row,
    /// A zone's or function's name, giving the line of its row.
    Line,
    /// A piece of an object, as a leaf of the object's hash tree.
    Piece,
    /// Two hashes of an object's tree, side by side (32 bytes), or its size and topmost node (20).
    Object,
    /// A member's own certificate, in DER.
    Certificate,
    /// An epoch's key, by which whoever gives the group a new one is bound to it. Only
    /// implementations of [`Crypto`] hash in this domain.
    EpochKey,
    /// What proves that somebody receives at the address that it sends from.
    Cookie,
    /// A packet's leaf hash, who tells of it, and its round (36 bytes): what a digest samples.
    Sample,
}

/// Signatures, hashes and seals.
///
/// Hashes are keyed by domain only and must be the same everywhere: docs/wire.md defines them.
pub trait Crypto: Send {
    /// This member's public key.
    fn public_key(&self) -> PublicKey;

    /// Signs with this member's private key.
    fn sign(&mut self, message: &[u8]) -> Signature;

    /// Whether `signature` is `signer`'s, strictly.
    fn verify(&mut self, signer: &PublicKey, message: &[u8], signature: &Signature) -> bool;

    /// Hashes one message.
    fn hash(&mut self, domain: Domain, message: &[u8]) -> Hash;

    /// Hashes messages side by side, appending one hash each to `hashes`, in order.
    fn hash_many(&mut self, domain: Domain, messages: &[&[u8]], hashes: &mut Vec<Hash>);

    /// Derives the sealing key of a boot: HKDF(epoch key, sender, salt, generation). `None` if
    /// there is no key for this epoch.
    fn link_key(
        &mut self,
        epoch: Epoch,
        sender: &MemberId,
        salt: &Salt,
        generation: u32,
    ) -> Option<LinkKey>;

    /// Forgets a key that [`link_key`](Self::link_key) gave out.
    fn forget(&mut self, key: LinkKey);

    /// Seals `frames` in place and returns the tag. `header` is authenticated, not hidden.
    fn seal(
        &mut self,
        key: LinkKey,
        counter: u64,
        header: &[u8],
        frames: &mut [u8],
    ) -> [u8; TAG_BYTES];

    /// Opens `sealed` (frames, then tag) in place. On `false` the content of `sealed` is undefined.
    fn open(&mut self, key: LinkKey, counter: u64, header: &[u8], sealed: &mut [u8]) -> bool;

    /// Draws an epoch's key, in the place of one that is held for it, and returns the key's hash
    /// ([`Domain::EpochKey`]). `None`: this implementation draws none.
    fn new_epoch(&mut self, _epoch: Epoch) -> Option<Hash> {
        None
    }

    /// The hash of an epoch's key, if one is held.
    fn epoch_hash(&mut self, _epoch: Epoch) -> Option<Hash> {
        None
    }

    /// Makes a new offer, the only one that [`open_epoch`](Self::open_epoch) opens things sealed to
    /// from now on.
    fn offer(&mut self) -> Offer {
        Offer([0; 32])
    }

    /// Seals an epoch's key to whoever made an offer. `context` is authenticated.
    fn seal_epoch(&mut self, _epoch: Epoch, _to: &Offer, _context: &[u8]) -> Option<SealedKey> {
        None
    }

    /// Opens a key that was sealed to the last offer, and keeps it as the epoch's if its hash is
    /// the one expected. Returns whether it is; else nothing changes.
    fn open_epoch(
        &mut self,
        _epoch: Epoch,
        _sealed: &SealedKey,
        _context: &[u8],
        _expected: &Hash,
    ) -> bool {
        false
    }

    /// Forgets an epoch's key.
    fn forget_epoch(&mut self, _epoch: Epoch) {}

    /// Heeds a list of revocations (an X.509 CRL in DER) from now on. One that a root or one of
    /// `certifiers` has signed takes the place of older ones of the same issuer; another one waits
    /// for chains by which it can be checked. Returns the hash of its issuer's name.
    ///
    /// # Errors
    /// It is none, or there are too many.
    fn add_revocations(&mut self, _list: &[u8], _certifiers: &[&[u8]]) -> Result<Hash, Refusal> {
        Err(Refusal::BadRevocations)
    }

    /// Trusts these roots (X.509 certificates in DER) from now on, and no others. What it knows to
    /// be revoked stays so.
    ///
    /// # Errors
    /// There are none or too many, or one is no root; nothing changed.
    fn trust_roots(&mut self, _roots: &[Vec<u8>]) -> Result<(), Refusal> {
        Err(Refusal::UnknownIssuer)
    }

    /// Whether a chain that verified at `wall_s` has been revoked.
    fn is_revoked(&mut self, _chain: &Chain, _wall_s: u64) -> bool {
        false
    }

    /// What a chain of certificates claims, if all of it is true at `wall_s`, in seconds of the
    /// wall clock: as [`VerifyChain`](crate::identity::VerifyChain) says. Whoever trusts no roots
    /// accepts none.
    ///
    /// # Errors
    /// It is not, for the first reason found.
    fn verify_certificate(&mut self, _chain: &Chain, _wall_s: u64) -> Result<Claims, Refusal> {
        Err(Refusal::UnknownIssuer)
    }
}

impl fmt::Debug for dyn Crypto {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("Crypto")
    }
}

impl fmt::Debug for PublicKey {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [a, b, c, d, ..] = self.0;
        write!(formatter, "PublicKey({a:02x}{b:02x}{c:02x}{d:02x}..)")
    }
}

impl fmt::Debug for Signature {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("Signature(..)")
    }
}

impl fmt::Debug for SealedKey {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("SealedKey(..)")
    }
}

impl fmt::Debug for Salt {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("Salt(..)")
    }
}
