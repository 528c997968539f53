//! Who somebody is: names, certificates, and the witness that one was verified.
//!
//! A member's name is a SPIFFE ID, and a chain of X.509 certificates says that a key is that
//! member's. The core parses no certificate and checks no signature in one: it holds a chain as
//! bytes ([`Chain`]), hands it to a [`VerifyChain`] that the host has made, and keeps what comes
//! back ([`Certified`]).
//!
//! ```text
//!  bytes ──▶ Chain::parse ──▶ Certified::verify(&chain, now, &verifier) ──▶ Certified
//!            bounded          signatures, dates, names, zones, revocation   name, key, scope
//! ```
//!
//! Invariants:
//! - A [`Certified`] exists only for a chain that a verifier accepted: there is no other way to
//!   make one. Its name lies in its scope, and it was in force when it was made.
//! - A chain has at most [`CHAIN_CERTIFICATES_MAX`] certificates and [`CHAIN_BYTES_MAX`] bytes.
//!
//! What a member may do with its name is said by [`rules`](crate::rules).

mod name;
mod refusal;

use alloc::vec::Vec;
use core::fmt;

use crate::crypto::{Crypto, Hash, PublicKey};
use crate::wire::{Malformed, Put, Reader};

pub(crate) use name::is_segment;
pub use name::{DOMAIN_BYTES_MAX, NameError, SPIFFE_BYTES_MAX, Scope, SpiffeId, TrustDomain};
pub use refusal::Refusal;

/// The most certificates in a chain: the member's, and certifiers up to but without the root.
pub const CHAIN_CERTIFICATES_MAX: usize = 5;
/// The most bytes of a chain: some five times what an Ed25519 chain of three takes.
pub const CHAIN_BYTES_MAX: usize = 8192;
/// How far, in seconds, a member's clock may be from its certifier's: as far as rows may come from
/// the future.
pub const CLOCK_SKEW_S: u64 = 60;

/// A chain of certificates, in DER, that nobody has verified: the member's first, then certifiers
/// in any order. The root may be among them and counts for nothing.
///
/// Encoded as `length u16 | DER` for each.
#[derive(Clone, PartialEq, Eq)]
pub struct Chain {
    certificates: Vec<Vec<u8>>,
}

impl Chain {
    /// A chain of these.
    ///
    /// # Errors
    /// There is none, one is empty, or they exceed a bound.
    pub fn new(certificates: Vec<Vec<u8>>) -> Result<Self, Malformed> {
        let bytes: usize = certificates.iter().map(|der| der.len().saturating_add(2)).sum();
        let is_bounded = (1..=CHAIN_CERTIFICATES_MAX).contains(&certificates.len());
        let is_full = certificates.iter().all(|der| !der.is_empty());
        if is_bounded && is_full && bytes <= CHAIN_BYTES_MAX {
            Ok(Self { certificates })
        } else {
            Err(Malformed)
        }
    }

    /// The chain that `bytes` are, all of them.
    ///
    /// # Errors
    /// They are none.
    pub fn parse(bytes: &[u8]) -> Result<Self, Malformed> {
        if bytes.len() > CHAIN_BYTES_MAX {
            return Err(Malformed);
        }
        let (mut reader, mut certificates) = (Reader::new(bytes), Vec::new());
        while !reader.is_empty() {
            if certificates.len() == CHAIN_CERTIFICATES_MAX {
                return Err(Malformed);
            }
            certificates.push(reader.sized()?.to_vec());
        }
        Self::new(certificates)
    }

    /// The chain at the reader, behind its length.
    ///
    /// # Errors
    /// There is none.
    pub(crate) fn read(reader: &mut Reader<'_>) -> Result<Self, Malformed> {
        Self::parse(reader.sized()?)
    }

    /// Appends the chain.
    pub fn encode(&self, buffer: &mut Vec<u8>) {
        for der in &self.certificates {
            buffer.put_sized(der);
        }
    }

    /// The chain as it travels.
    #[must_use]
    pub fn bytes(&self) -> Vec<u8> {
        let mut bytes = Vec::new();
        self.encode(&mut bytes);
        bytes
    }

    /// The member's own certificate.
    #[must_use]
    pub fn leaf(&self) -> &[u8] {
        self.certificates.first().map_or(&[], Vec::as_slice)
    }

    /// The others.
    pub fn certifiers(&self) -> impl Iterator<Item = &[u8]> {
        self.certificates.iter().skip(1).map(Vec::as_slice)
    }
}

impl fmt::Debug for Chain {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_list().entries(self.certificates.iter().map(Vec::len)).finish()
    }
}

/// What a verifier read in a chain that it accepted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Claims {
    /// The member's name.
    pub name: SpiffeId,
    /// The member's key, which signs what the member says.
    pub public_key: PublicKey,
    /// From when on the whole chain holds, in seconds of the wall clock since 1970, inclusive.
    pub not_before: u64,
    /// Until when the whole chain holds, in the same seconds, inclusive: the end of whichever
    /// certificate ends first.
    pub not_after: u64,
    /// The member's own certificate's hash, by which it is asked for and told.
    pub hash: Hash,
    /// The narrowest zone that a certifier of the chain is bound to.
    pub scope: Scope,
}

/// Verifies chains of certificates.
///
/// An implementation must check, before it says yes: every signature up to a root that the host
/// trusts; that every certificate holds at `wall_s`; that certifiers are certifiers and the member
/// is none; that each names something at or below what its issuer names; that none is revoked.
pub trait VerifyChain: Send {
    /// What the chain claims, if all of it is true at `wall_s`, in seconds of the wall clock.
    ///
    /// # Errors
    /// It is not, for the first reason found.
    fn verify_chain(&self, chain: &Chain, wall_s: u64) -> Result<Claims, Refusal>;
}

impl fmt::Debug for dyn VerifyChain {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("VerifyChain")
    }
}

/// A member whose certificates have been verified.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Certified(Claims);

impl Certified {
    /// Has a chain verified at `wall_s`, in seconds of the wall clock.
    ///
    /// # Errors
    /// The chain does not hold, or what its verifier says contradicts itself.
    pub fn verify(chain: &Chain, wall_s: u64, verifier: &dyn VerifyChain) -> Result<Self, Refusal> {
        Self::witness(verifier.verify_chain(chain, wall_s)?, wall_s)
    }

    /// The same by a member's own cryptography, whose clock may differ from the certifier's by
    /// [`CLOCK_SKEW_S`].
    ///
    /// # Errors
    /// As [`verify`](Self::verify).
    pub(crate) fn verify_by(
        crypto: &mut dyn Crypto,
        chain: &Chain,
        wall_s: u64,
    ) -> Result<Self, Refusal> {
        let at = match crypto.verify_certificate(chain, wall_s) {
            Ok(claims) => return Self::witness(claims, wall_s),
            Err(Refusal::NotYet { not_before })
                if not_before <= wall_s.saturating_add(CLOCK_SKEW_S) =>
            {
                not_before
            }
            Err(Refusal::Expired { not_after })
                if wall_s <= not_after.saturating_add(CLOCK_SKEW_S) =>
            {
                not_after
            }
            Err(refusal) => return Err(refusal),
        };
        Self::witness(crypto.verify_certificate(chain, at)?, at)
    }

    fn witness(claims: Claims, wall_s: u64) -> Result<Self, Refusal> {
        let certified = Self(claims);
        let claims = &certified.0;
        if !claims.scope.covers(&claims.name) {
            return Err(Refusal::OutsideZone);
        }
        certified.check_time(wall_s).map(|()| certified)
    }

    /// Whether it holds at `wall_s`, in seconds of the wall clock.
    ///
    /// # Errors
    /// It does not yet, or no longer.
    pub const fn check_time(&self, wall_s: u64) -> Result<(), Refusal> {
        if wall_s < self.0.not_before {
            return Err(Refusal::NotYet { not_before: self.0.not_before });
        }
        if wall_s > self.0.not_after {
            return Err(Refusal::Expired { not_after: self.0.not_after });
        }
        Ok(())
    }

    /// Whether it holds at `wall_s` by a clock that may differ by [`CLOCK_SKEW_S`].
    pub(crate) const fn holds(&self, wall_s: u64) -> bool {
        wall_s.saturating_add(CLOCK_SKEW_S) >= self.0.not_before
            && wall_s.saturating_sub(CLOCK_SKEW_S) <= self.0.not_after
    }

    /// The member's name.
    #[must_use]
    pub const fn name(&self) -> &SpiffeId {
        &self.0.name
    }

    /// The member's key.
    #[must_use]
    pub const fn public_key(&self) -> &PublicKey {
        &self.0.public_key
    }

    /// From when on it holds, in seconds of the wall clock since 1970.
    #[must_use]
    pub const fn not_before(&self) -> u64 {
        self.0.not_before
    }

    /// Until when it holds, in seconds of the wall clock since 1970.
    #[must_use]
    pub const fn not_after(&self) -> u64 {
        self.0.not_after
    }

    /// The member's own certificate's hash.
    #[must_use]
    pub const fn hash(&self) -> Hash {
        self.0.hash
    }

    /// The narrowest zone that a certifier of the chain is bound to.
    #[must_use]
    pub const fn scope(&self) -> &Scope {
        &self.0.scope
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::vec;

    struct Says(Claims);

    impl VerifyChain for Says {
        fn verify_chain(&self, _: &Chain, _: u64) -> Result<Claims, Refusal> {
            Ok(self.0.clone())
        }
    }

    fn claims(scope: &str) -> Claims {
        Claims {
            name: SpiffeId::parse("spiffe://example.org/usa/n1").unwrap(),
            public_key: PublicKey([1; 32]),
            not_before: 10,
            not_after: 20,
            hash: Hash([2; 16]),
            scope: Scope::parse(scope).unwrap(),
        }
    }

    #[test]
    fn what_contradicts_itself_is_not_certified() {
        let chain = Chain::new(vec![vec![1]]).unwrap();
        let verify = |scope, at| Certified::verify(&chain, at, &Says(claims(scope)));
        assert!(verify("spiffe://example.org/usa", 10).is_ok());
        assert!(verify("spiffe://example.org", 20).is_ok());
        assert_eq!(verify("spiffe://example.org/asia", 15), Err(Refusal::OutsideZone));
        assert_eq!(verify("spiffe://example.org", 9), Err(Refusal::NotYet { not_before: 10 }));
        assert_eq!(verify("spiffe://example.org", 21), Err(Refusal::Expired { not_after: 20 }));
    }

    #[test]
    fn chains_come_back_within_their_bounds() {
        let chain = Chain::new(vec![vec![1; 400], vec![2; 300]]).unwrap();
        let mut bytes = Vec::new();
        chain.encode(&mut bytes);
        assert_eq!(Chain::parse(&bytes), Ok(chain));
        assert_eq!(Chain::parse(&[]), Err(Malformed));
        assert_eq!(Chain::parse(&[0, 0]), Err(Malformed), "an empty certificate");
        assert_eq!(Chain::parse(&bytes[..bytes.len() - 1]), Err(Malformed));
        assert_eq!(Chain::new(vec![vec![1]; 6]), Err(Malformed));
        assert_eq!(Chain::new(vec![vec![1; 5000]; 2]), Err(Malformed));
    }
}
