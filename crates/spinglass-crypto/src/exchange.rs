//! Epochs' keys on their way to a member: HPKE in its base mode, with DHKEM(X25519, HKDF-SHA256),
//! HKDF-SHA256 and AES-256-GCM (RFC 9180), one message under each encapsulated key.
//!
//! Whoever wants a key makes an offer: a key pair for this once. What was sealed to it can't be
//! opened any more once the pair is gone, whatever else of the member's is stolen later.

use std::fmt;

use hpke::aead::AesGcm256;
use hpke::kdf::HkdfSha256;
use hpke::kem::X25519HkdfSha256;
use hpke::{
    Deserializable as _, Kem, OpModeR, OpModeS, Serializable as _, single_shot_open,
    single_shot_seal,
};
use spinglass_core::crypto::{Offer, SEALED_KEY_BYTES, SealedKey};
use zeroize::Zeroizing;

/// What keeps a key that is sealed for one thing from being opened for another.
const INFO: &[u8] = b"spinglass epoch key v1";
/// Bytes that encapsulate a key.
const ENCAPSULATED_BYTES: usize = 32;

/// The private half of an offer; the library erases it when it is dropped.
pub(crate) struct Exchange(<X25519HkdfSha256 as Kem>::PrivateKey);

impl Exchange {
    /// A new pair, from the operating system's randomness.
    pub(crate) fn new() -> (Self, Offer) {
        let (private, public) = X25519HkdfSha256::gen_keypair();
        (Self(private), Offer(public.to_bytes().into()))
    }

    /// Opens a key that was sealed to this offer.
    pub(crate) fn open(&self, sealed: &SealedKey, context: &[u8]) -> Option<Zeroizing<[u8; 32]>> {
        let (encapsulated, sealed) = sealed.0.split_at(ENCAPSULATED_BYTES);
        let encapsulated = <X25519HkdfSha256 as Kem>::EncappedKey::from_bytes(encapsulated).ok()?;
        let opened = single_shot_open::<AesGcm256, HkdfSha256, X25519HkdfSha256>(
            &OpModeR::Base,
            &self.0,
            &encapsulated,
            INFO,
            sealed,
            context,
        );
        let opened = Zeroizing::new(opened.ok()?);
        let mut key = Zeroizing::new([0; 32]);
        key.iter_mut().zip(opened.iter()).for_each(|(to, from)| *to = *from);
        Some(key)
    }
}

/// Seals a key to whoever made an offer. `None`: it is no key.
pub(crate) fn seal(key: &[u8; 32], to: &Offer, context: &[u8]) -> Option<SealedKey> {
    let to = <X25519HkdfSha256 as Kem>::PublicKey::from_bytes(&to.0).ok()?;
    let (encapsulated, sealed) = single_shot_seal::<AesGcm256, HkdfSha256, X25519HkdfSha256>(
        &OpModeS::Base,
        &to,
        INFO,
        key,
        context,
    )
    .ok()?;
    let mut whole = [0; SEALED_KEY_BYTES];
    let parts = encapsulated.to_bytes().into_iter().chain(sealed);
    whole.iter_mut().zip(parts).for_each(|(to, from)| *to = from);
    Some(SealedKey(whole))
}

impl fmt::Debug for Exchange {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("Exchange(..)")
    }
}
