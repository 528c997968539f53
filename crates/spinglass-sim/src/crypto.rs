//! Cryptography in the simulator: checksums of the real sizes, at a tiny part of the cost.
//!
//! A signature is a keyed checksum under a secret that follows from the world's secret and the
//! signer's public key; only the signer's own [`SimCrypto`] makes one, so what verifies was signed.
//! A seal is a keyed checksum too, and hides nothing, so that checkers can look inside. Sealing two
//! different datagrams under one (key, counter) is noticed.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use spinglass_core::crypto::{
    Crypto, Domain, Epoch, Hash, LinkKey, Offer, PublicKey, SEALED_KEY_BYTES, Salt, SealedKey,
    Signature, TAG_BYTES,
};
use spinglass_core::identity::{Chain, Claims, Refusal};
use spinglass_core::{MemberId, Prng};

use crate::papers;

/// What all members of a world share.
#[derive(Debug, Clone, Default)]
pub struct Oracle {
    secret: u64,
    /// How often a (key, counter) pair was used twice.
    reused: Arc<AtomicU64>,
}

impl Oracle {
    /// The oracle of a world.
    #[must_use]
    pub fn new(secret: u64) -> Self {
        Self { secret, reused: Arc::default() }
    }

    /// The secret of a certificates' authority.
    pub(crate) fn authority(&self, number: u64) -> u64 {
        mix(self.secret ^ K, &number.to_le_bytes())
    }

    /// How often a (key, counter) pair was used twice. It must never happen.
    #[must_use]
    pub fn reused(&self) -> u64 {
        self.reused.load(Ordering::Relaxed)
    }
}

/// One member's checksums.
#[derive(Debug)]
pub struct SimCrypto {
    oracle: Oracle,
    own: PublicKey,
    /// Keys that sealed, one per generation, and one above the highest counter of each.
    sealed: Vec<(LinkKey, u64)>,
    /// A broken relay: damages this share of what it seals, in parts per million, after it checked
    /// it.
    tamper_ppm: u32,
    trust: Option<Box<Trust>>,
    /// None, until something happens to a key.
    epochs: Option<Box<Epochs>>,
    rng: Prng,
}

/// What a member knows of epochs' keys.
#[derive(Debug, Default)]
struct Epochs {
    /// Those drawn since the world began, which knows the first one's.
    drawn: BTreeMap<Epoch, u64>,
    /// Epochs whose keys were forgotten.
    forgotten: BTreeSet<Epoch>,
    /// The private half of the last offer.
    exchange: Option<u64>,
    /// Who was revoked, by the hash of the member's own certificate.
    revoked: BTreeSet<Hash>,
}

/// Whose certificates a member accepts.
#[derive(Debug, Clone)]
pub enum Trust {
    /// Those of the authority with this number.
    Authority(u64),
    /// Everybody's: a liar whose own chain is this one.
    Everybody(Chain),
}

/// Frame type, length, and a packet's header: what damage leaves alone, to go undetected for
/// longer.
const TAMPER_FROM: usize = 3 + 46;

impl SimCrypto {
    /// The cryptography of the member whose key is derived from `name`.
    #[must_use]
    pub fn new(oracle: &Oracle, name: u64, tamper_ppm: u32) -> Self {
        let mut own = [0; 32];
        for (index, chunk) in (0_u64..).zip(own.as_chunks_mut::<8>().0) {
            *chunk = mix(oracle.secret ^ index, &name.to_le_bytes()).to_le_bytes();
        }
        let rng = Prng::new(mix(oracle.secret, &own));
        let (oracle, own, sealed, trust) = (oracle.clone(), PublicKey(own), Vec::new(), None);
        Self { oracle, own, sealed, tamper_ppm, trust, epochs: None, rng }
    }

    /// The same, of one who has drawn its first epoch's key itself, anew in each life.
    #[must_use]
    pub fn keyless(mut self, life: u64) -> Self {
        let key = mix(self.rng.next_u64(), &life.to_le_bytes());
        self.keep_epoch(Epoch(0), key);
        self
    }

    /// The same, in certified mode.
    #[must_use]
    pub fn trusting(self, trust: Trust) -> Self {
        Self { trust: Some(Box::new(trust)), ..self }
    }

    /// Everybody knows the keys that nobody has drawn, so that a group can begin.
    fn epoch_key(&self, epoch: Epoch) -> Option<u64> {
        let drawn = self.epochs.as_ref().and_then(|epochs| epochs.drawn.get(&epoch).copied());
        let is_forgotten =
            self.epochs.as_ref().is_some_and(|epochs| epochs.forgotten.contains(&epoch));
        let is_first = !is_forgotten && epoch == Epoch(0);
        drawn.or_else(|| is_first.then_some(self.oracle.secret))
    }

    fn epochs(&mut self) -> &mut Epochs {
        self.epochs.get_or_insert_default()
    }

    fn keep_epoch(&mut self, epoch: Epoch, key: u64) -> Hash {
        self.epochs().drawn.insert(epoch, key);
        self.hash(Domain::EpochKey, &key.to_le_bytes())
    }

    fn signature(&self, signer: &PublicKey, message: &[u8]) -> Signature {
        let secret = mix(self.oracle.secret, &signer.0);
        let mut signature = [0; 64];
        for (index, chunk) in (0_u64..).zip(signature.as_chunks_mut::<8>().0) {
            let word = if index == 0 { mix(secret, message) } else { secret.rotate_left(7) };
            *chunk = (word ^ index).to_le_bytes();
        }
        Signature(signature)
    }

    pub(crate) fn tag(key: LinkKey, counter: u64, header: &[u8], frames: &[u8]) -> [u8; TAG_BYTES] {
        let word = mix(mix(u64::from(key.0) << 32 ^ counter, header), frames);
        let mut tag = [0; TAG_BYTES];
        let (low, high) = tag.split_at_mut(8);
        low.copy_from_slice(&word.to_le_bytes());
        high.copy_from_slice(&word.rotate_left(31).wrapping_mul(K).to_le_bytes());
        tag
    }
}

const K: u64 = 0x9e37_79b9_7f4a_7c15;

/// A keyed checksum, eight bytes at a time.
#[must_use]
pub fn mix(seed: u64, bytes: &[u8]) -> u64 {
    let mut hash = seed.wrapping_add(K) ^ (bytes.len() as u64).wrapping_mul(K);
    let (words, rest) = bytes.as_chunks::<8>();
    for word in words {
        hash = (hash ^ u64::from_le_bytes(*word)).wrapping_mul(K);
        hash ^= hash >> 29;
    }
    for byte in rest {
        hash = (hash ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01b3);
    }
    hash ^= hash >> 32;
    hash = hash.wrapping_mul(0xd6e8_feb8_6659_fd93);
    hash ^ hash >> 32
}

/// What a simulated offer shows.
fn public_half(private: u64) -> [u8; 32] {
    let mut public = [0; 32];
    public
        .as_chunks_mut::<8>()
        .0
        .iter_mut()
        .for_each(|word| *word = mix(private, b"offer").to_le_bytes());
    public
}

impl Crypto for SimCrypto {
    fn public_key(&self) -> PublicKey {
        self.own
    }

    fn sign(&mut self, message: &[u8]) -> Signature {
        self.signature(&self.own, message)
    }

    fn verify(&mut self, signer: &PublicKey, message: &[u8], signature: &Signature) -> bool {
        self.signature(signer, message) == *signature
    }

    fn hash(&mut self, domain: Domain, message: &[u8]) -> Hash {
        let word = mix(domain as u64 + 1, message);
        let mut hash = [0; 16];
        let (low, high) = hash.split_at_mut(8);
        low.copy_from_slice(&word.to_be_bytes());
        high.copy_from_slice(&word.wrapping_mul(K).rotate_left(17).to_be_bytes());
        Hash(hash)
    }

    fn hash_many(&mut self, domain: Domain, messages: &[&[u8]], hashes: &mut Vec<Hash>) {
        hashes.extend(messages.iter().map(|message| self.hash(domain, message)));
    }

    fn link_key(
        &mut self,
        epoch: Epoch,
        sender: &MemberId,
        salt: &Salt,
        generation: u32,
    ) -> Option<LinkKey> {
        let words = u64::from(epoch.0) << 32 | u64::from(generation);
        let secret = mix(mix(self.epoch_key(epoch)? ^ words, &sender.0), &salt.0);
        // The secret is its own handle: a world of a million agents keeps some 100 million of them.
        Some(LinkKey((secret >> 33) as u32))
    }

    fn forget(&mut self, key: LinkKey) {
        self.sealed.retain(|(sealed, _)| *sealed != key);
    }

    fn seal(
        &mut self,
        key: LinkKey,
        counter: u64,
        header: &[u8],
        frames: &mut [u8],
    ) -> [u8; TAG_BYTES] {
        if self.tamper_ppm > 0 && self.rng.chance_ppm(self.tamper_ppm) && frames.len() > TAMPER_FROM
        {
            let at = TAMPER_FROM + self.rng.index(frames.len() - TAMPER_FROM);
            frames.iter_mut().skip(at).take(1).for_each(|byte| *byte ^= 0x10);
        }
        let tag = Self::tag(key, counter, header, frames);
        let is_again = match self.sealed.iter_mut().find(|(sealed, _)| *sealed == key) {
            Some((_, sealed)) => counter < std::mem::replace(sealed, counter + 1),
            None => {
                self.sealed.push((key, counter + 1));
                false
            }
        };
        if is_again {
            self.oracle.reused.fetch_add(1, Ordering::Relaxed);
        }
        tag
    }

    fn new_epoch(&mut self, epoch: Epoch) -> Option<Hash> {
        let key = self.rng.next_u64();
        Some(self.keep_epoch(epoch, key))
    }

    fn epoch_hash(&mut self, epoch: Epoch) -> Option<Hash> {
        let key = self.epoch_key(epoch)?;
        Some(self.hash(Domain::EpochKey, &key.to_le_bytes()))
    }

    fn offer(&mut self) -> Offer {
        let private = self.rng.next_u64();
        self.epochs().exchange = Some(private);
        Offer(public_half(private))
    }

    fn seal_epoch(&mut self, epoch: Epoch, to: &Offer, context: &[u8]) -> Option<SealedKey> {
        let key = self.epoch_key(epoch)?;
        let mut sealed = [0; SEALED_KEY_BYTES];
        let words = [key, mix(mix(key, &to.0), context)];
        let places = sealed.as_chunks_mut::<8>().0.iter_mut();
        places.zip(words).for_each(|(to, word)| *to = word.to_le_bytes());
        Some(SealedKey(sealed))
    }

    fn open_epoch(
        &mut self,
        epoch: Epoch,
        sealed: &SealedKey,
        context: &[u8],
        expected: &Hash,
    ) -> bool {
        let Some(private) = self.epochs().exchange else { return false };
        let [key, sum, ..] = sealed.0.as_chunks::<8>().0 else { return false };
        let key = u64::from_le_bytes(*key);
        let is_genuine = mix(mix(key, &public_half(private)), context).to_le_bytes() == *sum;
        if !is_genuine || self.hash(Domain::EpochKey, &key.to_le_bytes()) != *expected {
            return false;
        }
        self.epochs().exchange = None;
        self.keep_epoch(epoch, key);
        true
    }

    fn forget_epoch(&mut self, epoch: Epoch) {
        self.epochs().drawn.remove(&epoch);
        self.epochs().forgotten.insert(epoch);
    }

    /// A list is the hashes of what is revoked, behind its issuer's number and before its sum.
    fn add_revocations(&mut self, list: &[u8], _certifiers: &[&[u8]]) -> Result<Hash, Refusal> {
        let revoked = papers::revoked(&self.oracle, list)?;
        self.epochs().revoked.extend(revoked);
        Ok(self.hash(Domain::Line, &list[..8]))
    }

    fn is_revoked(&mut self, chain: &Chain, _wall_s: u64) -> bool {
        if self.epochs.is_none() {
            return false;
        }
        let hash = self.hash(Domain::Certificate, chain.leaf());
        self.epochs().revoked.contains(&hash)
    }

    fn verify_certificate(&mut self, chain: &Chain, wall_s: u64) -> Result<Claims, Refusal> {
        let is_liar = matches!(self.trust.as_deref(), Some(Trust::Everybody(_)));
        if self.is_revoked(chain, wall_s) && !is_liar {
            return Err(Refusal::Revoked);
        }
        let claims = match self.trust.as_deref() {
            None => return Err(Refusal::UnknownIssuer),
            Some(Trust::Authority(trusted)) => {
                papers::verify(&self.oracle, *trusted, chain, wall_s)
            }
            Some(Trust::Everybody(own)) => papers::believe(chain, (own, self.own)),
        };
        claims.map(|claims| Claims { hash: self.hash(Domain::Certificate, chain.leaf()), ..claims })
    }

    fn open(&mut self, key: LinkKey, counter: u64, header: &[u8], sealed: &mut [u8]) -> bool {
        let Some((frames, tag)) = sealed.split_last_chunk::<TAG_BYTES>() else { return false };
        Self::tag(key, counter, header, frames) == *tag
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_signer_signs_and_every_bit_counts() {
        let oracle = Oracle::new(1);
        let (mut a, mut b) = (SimCrypto::new(&oracle, 1, 0), SimCrypto::new(&oracle, 2, 0));
        let signature = a.sign(b"message");
        let (own, other) = (a.public_key(), b.public_key());
        assert!(b.verify(&own, b"message", &signature));
        assert!(!b.verify(&own, b"messagf", &signature));
        assert!(!b.verify(&other, b"message", &signature));
    }

    #[test]
    fn a_counter_used_twice_is_noticed() {
        let oracle = Oracle::new(1);
        let mut crypto = SimCrypto::new(&oracle, 1, 0);
        let key = crypto.link_key(Epoch(0), &MemberId::default(), &Salt::default(), 0).unwrap();
        crypto.seal(key, 0, &[], &mut [1; 60]);
        assert_eq!(oracle.reused(), 0);
        crypto.seal(key, 0, &[], &mut [2; 60]);
        assert_eq!(oracle.reused(), 1);
    }
}
