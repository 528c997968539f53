//! Signatures, seals and hashes: what stands behind the trait that the core declares.
//!
//! | what | algorithm | by |
//! |---|---|---|
//! | signatures | Ed25519, strict | aws-lc-rs; of busy senders, curve25519-dalek |
//! | link keys | HKDF-SHA256(epoch key; salt = boot salt; info = sender, epoch, generation) | aws-lc-rs |
//! | seals | AES-256-GCM; nonce = 32 zero bits, counter (big-endian); header authenticated | aws-lc-rs |
//! | hashes | BLAKE3, keyed by domain, 16 bytes, side by side | blake3 |
//! | epochs' keys on their way | HPKE: X25519, HKDF-SHA256, AES-256-GCM | hpke |
//! | certificates | X.509, Ed25519 | rustls-webpki, x509-cert |
//!
//! One algorithm each, fixed by the wire version: nothing is negotiated.

pub mod certificates;
mod exchange;
mod hash;
mod keys;
mod marks;
mod relay_keys;
mod signers;

use std::fmt;

use aws_lc_rs::aead::{AES_256_GCM, Aad, LessSafeKey, Nonce, UnboundKey};
use aws_lc_rs::hkdf::{HKDF_SHA256, KeyType, Salt as HkdfSalt};
use aws_lc_rs::signature::{ED25519, ParsedPublicKey};
use spinglass_core::MemberId;
use spinglass_core::crypto::{
    Crypto, Domain, Epoch, Hash, LinkKey, Offer, PublicKey, Salt, SealedKey, Signature, TAG_BYTES,
};
use spinglass_core::identity::{Chain, Claims, Refusal, VerifyChain as _};
use zeroize::Zeroizing;

use certificates::{Certificate, Revocations, Verifier};
use exchange::Exchange;
pub use hash::{hash, hash_many};
pub use keys::{GroupKeys, KeyError, SigningKey, random};
pub use marks::Marks;
pub use relay_keys::RelayKeys;
use signers::Signers;

/// What keeps a link key from being derived for anything else.
const LINK_INFO: &[u8] = b"spinglass link v1";

/// A build without members' signatures, to measure what they cost (the bar `security.cost`). Its
/// members can't talk to others', and no release is built so: it is no feature of the package.
const UNSIGNED: bool = cfg!(spinglass_unsigned);

/// What stands in a signature's place then: bursts are told apart by theirs.
fn mark(message: &[u8]) -> Signature {
    let mut mark = [0; 64];
    for part in message.chunks(mark.len()) {
        mark.iter_mut().zip(part).for_each(|(to, from)| *to ^= from);
    }
    Signature(mark)
}

/// A member's cryptography: its private key and the group's.
pub struct RealCrypto {
    own: SigningKey,
    group: GroupKeys,
    links: Vec<Option<LessSafeKey>>,
    free: Vec<u32>,
    signers: Signers,
    verifier: Option<Verifier>,
    /// The private half of the last offer.
    exchange: Option<Exchange>,
}

impl RealCrypto {
    /// With these keys.
    #[must_use]
    pub fn new(own: SigningKey, group: GroupKeys) -> Self {
        let (links, free, signers) = (Vec::new(), Vec::new(), Signers::default());
        Self { own, group, links, free, signers, verifier: None, exchange: None }
    }

    /// With what this verifier accepts for other members' certificates; without one none is
    /// accepted.
    #[must_use]
    pub fn trusting(self, verifier: Verifier) -> Self {
        Self { verifier: Some(verifier), ..self }
    }

    fn link(&self, key: LinkKey) -> Option<&LessSafeKey> {
        self.links.get(key.0 as usize)?.as_ref()
    }
}

/// Whether this key signed this message.
#[must_use]
pub fn verify(signer: &PublicKey, message: &[u8], signature: &Signature) -> bool {
    let key = ParsedPublicKey::new(&ED25519, signer.0);
    key.is_ok_and(|key| key.verify_sig(message, &signature.0).is_ok())
}

impl fmt::Debug for RealCrypto {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("RealCrypto").field("own", &self.own).finish_non_exhaustive()
    }
}

fn nonce(counter: u64) -> Nonce {
    let mut nonce = [0; 12];
    nonce.iter_mut().skip(4).zip(counter.to_be_bytes()).for_each(|(to, from)| *to = from);
    Nonce::assume_unique_for_key(nonce)
}

/// An output of HKDF of this many bytes.
struct Bytes(usize);

impl KeyType for Bytes {
    fn len(&self) -> usize {
        self.0
    }
}

fn derive(epoch_key: &[u8; 32], parts: [&[u8]; 4], salt: &Salt) -> Option<LessSafeKey> {
    let secret = HkdfSalt::new(HKDF_SHA256, &salt.0).extract(epoch_key);
    let mut key = Zeroizing::new([0; 32]);
    secret.expand(&parts, Bytes(32)).ok()?.fill(&mut *key).ok()?;
    Some(LessSafeKey::new(UnboundKey::new(&AES_256_GCM, &*key).ok()?))
}

/// What a seal covers besides what is sealed: the header.
fn authenticated(header: &[u8]) -> Aad<&[u8]> {
    Aad::from(if cfg!(spinglass_bug = "header_unauthenticated") { &[] } else { header })
}

impl Crypto for RealCrypto {
    fn public_key(&self) -> PublicKey {
        self.own.public_key()
    }

    fn sign(&mut self, message: &[u8]) -> Signature {
        if UNSIGNED { mark(message) } else { self.own.sign(message) }
    }

    fn verify(&mut self, signer: &PublicKey, message: &[u8], signature: &Signature) -> bool {
        if UNSIGNED {
            return *signature == mark(message);
        }
        self.signers.verify(signer, message, signature)
    }

    fn hash(&mut self, domain: Domain, message: &[u8]) -> Hash {
        hash(domain, message)
    }

    fn hash_many(&mut self, domain: Domain, messages: &[&[u8]], hashes: &mut Vec<Hash>) {
        hash_many(domain, messages, hashes);
    }

    fn link_key(
        &mut self,
        epoch: Epoch,
        sender: &MemberId,
        salt: &Salt,
        generation: u32,
    ) -> Option<LinkKey> {
        let epoch_key = self.group.get(epoch)?;
        let generation = generation.to_le_bytes();
        let parts = [LINK_INFO, &sender.0, &[epoch.0], &generation];
        let key = Some(derive(epoch_key, parts, salt)?);
        let handle = if let Some(free) = self.free.pop() {
            *self.links.get_mut(free as usize)? = key;
            free
        } else {
            self.links.push(key);
            u32::try_from(self.links.len() - 1).ok()?
        };
        Some(LinkKey(handle))
    }

    fn forget(&mut self, key: LinkKey) {
        if let Some(link) = self.links.get_mut(key.0 as usize)
            && link.take().is_some()
        {
            self.free.push(key.0);
        }
    }

    fn seal(
        &mut self,
        key: LinkKey,
        counter: u64,
        header: &[u8],
        frames: &mut [u8],
    ) -> [u8; TAG_BYTES] {
        let mut tag = [0; TAG_BYTES];
        let sealed = self.link(key).and_then(|key| {
            key.seal_in_place_separate_tag(nonce(counter), authenticated(header), frames).ok()
        });
        match sealed {
            Some(sealed) => {
                tag.iter_mut().zip(sealed.as_ref()).for_each(|(to, from)| *to = *from);
            }
            // Without a key nothing may leave readable.
            None => frames.fill(0),
        }
        tag
    }

    fn add_revocations(&mut self, list: &[u8], certifiers: &[&[u8]]) -> Result<Hash, Refusal> {
        let verifier = self.verifier.as_mut().ok_or(Refusal::BadRevocations)?;
        let list = Revocations::parse(list.to_vec()).map_err(|_| Refusal::BadRevocations)?;
        let issuer = hash(Domain::Line, list.issuer().as_bytes());
        verifier.heed(list, certifiers).map_err(|_| Refusal::BadRevocations)?;
        Ok(issuer)
    }

    fn trust_roots(&mut self, roots: &[Vec<u8>]) -> Result<(), Refusal> {
        let verifier = self.verifier.as_mut().ok_or(Refusal::UnknownIssuer)?;
        let parsed = roots.iter().map(|der| Certificate::parse(der.clone()));
        let anchors = parsed.collect::<Result<Vec<_>, _>>().map_err(|_| Refusal::Malformed)?;
        verifier.trust(anchors).map_err(|_| Refusal::NotACertifier)
    }

    fn is_revoked(&mut self, chain: &Chain, wall_s: u64) -> bool {
        self.verifier.as_ref().is_some_and(|verifier| verifier.is_revoked(chain, wall_s))
    }

    fn verify_certificate(&mut self, chain: &Chain, wall_s: u64) -> Result<Claims, Refusal> {
        self.verifier
            .as_ref()
            .map_or(Err(Refusal::UnknownIssuer), |verifier| verifier.verify_chain(chain, wall_s))
    }

    fn new_epoch(&mut self, epoch: Epoch) -> Option<Hash> {
        self.group.insert(epoch, Zeroizing::new(random()));
        self.epoch_hash(epoch)
    }

    fn epoch_hash(&mut self, epoch: Epoch) -> Option<Hash> {
        self.group.get(epoch).map(|key| hash(Domain::EpochKey, key))
    }

    fn offer(&mut self) -> Offer {
        let (exchange, offer) = Exchange::new();
        self.exchange = Some(exchange);
        offer
    }

    fn seal_epoch(&mut self, epoch: Epoch, to: &Offer, context: &[u8]) -> Option<SealedKey> {
        exchange::seal(self.group.get(epoch)?, to, context)
    }

    fn open_epoch(
        &mut self,
        epoch: Epoch,
        sealed: &SealedKey,
        context: &[u8],
        expected: &Hash,
    ) -> bool {
        let opened = self.exchange.as_ref().and_then(|exchange| exchange.open(sealed, context));
        let is_it = |key: &Zeroizing<[u8; 32]>| hash(Domain::EpochKey, &**key) == *expected;
        let Some(key) = opened.filter(is_it) else { return false };
        self.group.insert(epoch, key);
        self.exchange = None;
        true
    }

    fn forget_epoch(&mut self, epoch: Epoch) {
        self.group.remove(epoch);
    }

    fn open(&mut self, key: LinkKey, counter: u64, header: &[u8], sealed: &mut [u8]) -> bool {
        self.link(key).is_some_and(|key| {
            key.open_in_place(nonce(counter), authenticated(header), sealed).is_ok()
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn crypto(seed: u8, group: u8) -> RealCrypto {
        RealCrypto::new(SigningKey::from_seed([seed; 32]), GroupKeys::from_key([group; 32]))
    }

    #[test]
    fn signs_as_rfc_8032_says() {
        // RFC 8032, 7.1, test 1: the empty message.
        let seed = "9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60";
        let public = "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a";
        let signature = "e5564300c360ac729086e2cc806e828a84877f1eb8e5d974d873e06522490155\
                         5fb8821590a33bacc61e39701cf9b46bd25bf5f0595bbe24655141438e7a100b";
        let bytes = |hex: &str| -> Vec<u8> {
            (0..hex.len() / 2)
                .map(|at| u8::from_str_radix(&hex[2 * at..2 * at + 2], 16).unwrap())
                .collect()
        };
        let own = SigningKey::from_seed(bytes(seed).try_into().unwrap());
        let mut crypto = RealCrypto::new(own, GroupKeys::development());
        assert_eq!(crypto.public_key().0.to_vec(), bytes(public));
        assert_eq!(crypto.sign(&[]).0.to_vec(), bytes(signature));
    }

    #[test]
    fn only_the_right_key_over_the_right_bytes_verifies() {
        let (mut a, b) = (crypto(1, 1), crypto(2, 1));
        let signature = a.sign(b"message");
        let (own, other) = (a.public_key(), b.public_key());
        assert!(a.verify(&own, b"message", &signature));
        assert!(!a.verify(&own, b"messagf", &signature));
        assert!(!a.verify(&other, b"message", &signature));
        for bit in 0..512 {
            let mut bent = signature;
            bent.0[bit / 8] ^= 1 << (bit % 8);
            assert!(!a.verify(&own, b"message", &bent), "bit {bit}");
        }
        assert!(!a.verify(&PublicKey([0xff; 32]), b"message", &signature), "not a point");
    }

    #[test]
    fn a_seal_opens_only_as_it_was_made() {
        let (mut a, mut b, mut stranger) = (crypto(1, 1), crypto(2, 1), crypto(3, 2));
        let (id, salt) = (MemberId([9; 16]), Salt([8; 16]));
        let key = a.link_key(Epoch(0), &id, &salt, 0).unwrap();
        let mut sealed = b"frames".to_vec();
        let tag = a.seal(key, 5, b"header", &mut sealed);
        assert_ne!(sealed, b"frames");
        sealed.extend(tag);
        let theirs = b.link_key(Epoch(0), &id, &salt, 0).unwrap();
        let later = b.link_key(Epoch(0), &id, &salt, 1).unwrap();
        let resalted = b.link_key(Epoch(0), &id, &Salt([7; 16]), 0).unwrap();
        let renamed = b.link_key(Epoch(0), &MemberId([1; 16]), &salt, 0).unwrap();
        let foreign = stranger.link_key(Epoch(0), &id, &salt, 0).unwrap();
        assert!(b.link_key(Epoch(1), &id, &salt, 0).is_none(), "no key for that epoch");
        assert!(b.open(theirs, 5, b"header", &mut sealed.clone()));
        assert!(!b.open(theirs, 6, b"header", &mut sealed.clone()));
        assert!(!b.open(theirs, 5, b"heades", &mut sealed.clone()));
        for other in [later, resalted, renamed] {
            assert!(!b.open(other, 5, b"header", &mut sealed.clone()));
        }
        assert!(!stranger.open(foreign, 5, b"header", &mut sealed.clone()));
        for bit in 0..sealed.len() * 8 {
            let mut bent = sealed.clone();
            bent[bit / 8] ^= 1 << (bit % 8);
            assert!(!b.open(theirs, 5, b"header", &mut bent), "bit {bit}");
        }
        assert!(!b.open(theirs, 5, b"header", &mut sealed[..15].to_vec()));
    }

    #[test]
    fn a_forgotten_handle_opens_nothing_and_is_used_again() {
        let mut crypto = crypto(1, 1);
        let (id, salt) = (MemberId([9; 16]), Salt([8; 16]));
        let key = crypto.link_key(Epoch(0), &id, &salt, 0).unwrap();
        crypto.forget(key);
        assert!(!crypto.open(key, 0, b"", &mut [0; 16]));
        assert_eq!(crypto.link_key(Epoch(0), &id, &salt, 1), Some(key));
    }
}
