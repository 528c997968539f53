//! How a member proves to a relay who it is, and how a relay checks it.
//!
//! The proof is about a secret of the TLS connection (RFC 5705) with the relay's nonce in it, so it
//! holds for this connection alone. The member's own key signs it; beside it stands the proof of a
//! relay key, or a chain of certificates for the member's key, or both. A relay that trusts roots
//! wants the certificates; another one wants the relay key.

use std::time::{SystemTime, UNIX_EPOCH};

use spinglass_core::crypto::Epoch;
use spinglass_core::identity::{Chain, VerifyChain as _};
use spinglass_core::rules::{Action, Policy};
use spinglass_crypto::certificates::Verifier;
use spinglass_crypto::{RelayKeys, SigningKey, verify};

use crate::message::{Proof, Refusal};

/// What keeps these signatures and MACs from passing for any others.
const DOMAIN: &[u8] = b"spinglass relay proof v1";
/// The door in the rules that this is.
const DOOR: &str = "relay";

/// What a member proves itself with.
#[derive(Debug, Clone)]
pub struct Credentials {
    /// Its own key.
    pub key: SigningKey,
    /// The group's relay keys, and the epoch whose key is shown.
    pub relay_keys: Option<(Epoch, RelayKeys)>,
    /// In certified mode, its chain of certificates.
    pub chain: Option<Chain>,
}

/// Whom a relay lets in.
#[derive(Debug)]
pub enum Guard {
    /// Whoever proves that it knows one of these keys.
    Keys(RelayKeys),
    /// Whoever has a certificate, if the rules say `door relay` of it; without rules, everybody
    /// certified.
    Certified {
        /// What certificates are checked by.
        verifier: Verifier,
        /// The rules.
        policy: Option<Policy>,
    },
}

fn message(binding: &[u8; 32], public_key: &[u8; 32]) -> Vec<u8> {
    [DOMAIN, binding, public_key].concat()
}

impl Credentials {
    pub(crate) fn prove(&self, binding: &[u8; 32], port: u16) -> Proof {
        let public_key = self.key.public_key();
        let message = message(binding, &public_key.0);
        let mac = self
            .relay_keys
            .as_ref()
            .and_then(|(epoch, keys)| keys.mac(*epoch, &message).map(|mac| (*epoch, mac)));
        let chain = self.chain.as_ref().map(Chain::bytes);
        Proof { port, public_key, signature: self.key.sign(&message), mac, chain }
    }
}

impl Guard {
    /// Whether a proof about this connection lets its member in; until when, in seconds of the wall
    /// clock.
    pub(crate) fn check(&self, binding: &[u8; 32], proof: &Proof) -> Result<u64, Refusal> {
        let message = message(binding, &proof.public_key.0);
        let until = match self {
            Self::Keys(keys) => {
                let (epoch, mac) = proof.mac.as_ref().ok_or(Refusal::Unproven)?;
                if !keys.proves(*epoch, &message, mac) {
                    return Err(Refusal::Unproven);
                }
                u64::MAX
            }
            Self::Certified { verifier, policy } => {
                let chain = proof.chain.as_deref().ok_or(Refusal::Unproven)?;
                let chain = Chain::parse(chain).map_err(|_| Refusal::Unproven)?;
                let claims = verifier.verify_chain(&chain, wall_s());
                let claims = claims.map_err(|_| Refusal::Unproven)?;
                if claims.public_key != proof.public_key {
                    return Err(Refusal::Unproven);
                }
                let denies =
                    |policy: &Policy| !policy.decide(&claims.name, &Action::Door(DOOR)).allowed;
                if policy.as_ref().is_some_and(denies) {
                    return Err(Refusal::Denied);
                }
                claims.not_after
            }
        };
        if verify(&proof.public_key, &message, &proof.signature) {
            Ok(until)
        } else {
            Err(Refusal::Unproven)
        }
    }
}

/// Seconds of the wall clock since 1970.
pub(crate) fn wall_s() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
}

#[cfg(test)]
mod tests {
    use spinglass_crypto::GroupKeys;

    use super::*;

    fn credentials(group: u8) -> Credentials {
        let keys = GroupKeys::from_key([group; 32]).relay_keys();
        Credentials {
            key: SigningKey::from_seed([group; 32]),
            relay_keys: Some((Epoch(0), keys)),
            chain: None,
        }
    }

    #[test]
    fn a_proof_holds_for_its_group_its_key_and_its_connection() {
        let guard = Guard::Keys(GroupKeys::from_key([1; 32]).relay_keys());
        let proof = credentials(1).prove(&[7; 32], 9);
        assert_eq!(guard.check(&[7; 32], &proof), Ok(u64::MAX));
        let unproven = Err(Refusal::Unproven);
        assert_eq!(guard.check(&[8; 32], &proof), unproven, "of another connection");
        assert_eq!(guard.check(&[7; 32], &credentials(2).prove(&[7; 32], 9)), unproven);
        let other = credentials(2).prove(&[7; 32], 9);
        let mixed = Proof { public_key: other.public_key, ..proof.clone() };
        assert_eq!(guard.check(&[7; 32], &mixed), unproven, "of another key");
        let unsigned = Proof { signature: other.signature, ..proof.clone() };
        assert_eq!(guard.check(&[7; 32], &unsigned), unproven, "signed by another key");
        assert_eq!(guard.check(&[7; 32], &Proof { mac: None, ..proof.clone() }), unproven);
        let mac = proof.mac.map(|(_, mac)| (Epoch(1), mac));
        assert_eq!(guard.check(&[7; 32], &Proof { mac, ..proof }), unproven, "of no known epoch");
    }
}
