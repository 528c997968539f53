//! Certificates in the simulator: checksums of the real sizes, with the real outcomes.
//!
//! A chain is a member's certificate and its certifier's, of 430 bytes each, as Ed25519 ones take,
//! unless a world says otherwise.
//! An authority's checksum follows from the world's secret and the authority's number; only an
//! [`Authority`] makes one. What a verifier trusts is such a number.

use std::collections::BTreeMap;

use spinglass_core::crypto::{Hash, PublicKey};
use spinglass_core::identity::{Chain, Claims, Refusal, Scope, SpiffeId};
use spinglass_core::rules::Policy;
use spinglass_core::wire::{Malformed, Put as _, Reader};

use crate::crypto::{Oracle, mix};

/// Bytes of each certificate by default.
const CERTIFICATE_BYTES: usize = 430;
/// The authority that a world's members trust.
pub const TRUSTED: u64 = 1;
/// Another one.
pub const FOREIGN: u64 = 2;
/// The trust domain of a world.
pub const DOMAIN: &str = "sim.example";

/// What a certificate says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Paper {
    /// The member's name.
    pub name: SpiffeId,
    /// The member's key.
    pub public_key: PublicKey,
    /// From when on it holds, in seconds of the wall clock.
    pub not_before: u64,
    /// Until when.
    pub not_after: u64,
    /// The zone that its certifier is bound to.
    pub scope: Scope,
}

/// What a member has in the place of a good certificate.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Odd {
    /// None, and it asks nobody for one.
    Uncertified,
    /// One of another authority.
    Foreign,
    /// One that ends at this second of the virtual time.
    EndsAt(u64),
    /// One of a certifier that is bound to another zone.
    OutsideZone,
    /// That of the first member of its region, letter by letter.
    Stolen,
    /// A good one, but the rules of all others keep it out; its own do not.
    Denied,
}

/// How a world's members are certified.
#[derive(Debug, Clone)]
pub struct Papers {
    /// Bytes of each certificate, of which a chain has two.
    pub certificate_bytes: usize,
    /// What everybody may do.
    pub policy: Option<Policy>,
    /// Who has something else than a good certificate.
    pub odd: BTreeMap<usize, Odd>,
    /// Whether each member starts with a link key that it drew itself, and has its certificate
    /// alone to get the group's.
    pub keyless: bool,
}

impl Default for Papers {
    fn default() -> Self {
        Self {
            certificate_bytes: CERTIFICATE_BYTES,
            policy: None,
            odd: BTreeMap::new(),
            keyless: false,
        }
    }
}

/// Issues certificates.
#[derive(Debug, Clone, Copy)]
pub struct Authority {
    number: u64,
    secret: u64,
}

impl Authority {
    /// The authority of this number in a world.
    #[must_use]
    pub fn new(oracle: &Oracle, number: u64) -> Self {
        Self { number, secret: oracle.authority(number) }
    }

    /// A chain that says so, of certificates of so many bytes.
    #[must_use]
    pub fn issue(&self, paper: &Paper, certificate_bytes: usize) -> Chain {
        let mut leaf = Vec::with_capacity(certificate_bytes);
        leaf.put_u64(self.number);
        leaf.put(&paper.public_key.0);
        leaf.put_u64(paper.not_before);
        leaf.put_u64(paper.not_after);
        leaf.put_text(&paper.name.to_string());
        leaf.put_text(&paper.scope.to_string());
        leaf.resize(certificate_bytes - 8, 0);
        leaf.put_u64(mix(self.secret, &leaf));
        let certifier = vec![self.number as u8; certificate_bytes];
        Chain::new(vec![leaf, certifier]).expect("two certificates of ordinary size")
    }

    /// A list that revokes the chains with these hashes of their members' own certificates.
    #[must_use]
    pub fn revoke(&self, hashes: &[Hash]) -> Vec<u8> {
        let mut list = Vec::new();
        list.put_u64(self.number);
        hashes.iter().for_each(|hash| list.put(&hash.0));
        list.put_u64(mix(self.secret, &list));
        list
    }
}

/// What a list revokes, if its issuer made it.
pub(crate) fn revoked(oracle: &Oracle, list: &[u8]) -> Result<Vec<Hash>, Refusal> {
    let (said, sum) = list.split_last_chunk::<8>().ok_or(Refusal::BadRevocations)?;
    let (number, hashes) = said.split_first_chunk::<8>().ok_or(Refusal::BadRevocations)?;
    let secret = oracle.authority(u64::from_le_bytes(*number));
    if mix(secret, said) != u64::from_le_bytes(*sum) {
        return Err(Refusal::BadRevocations);
    }
    Ok(hashes.as_chunks::<16>().0.iter().map(|hash| Hash(*hash)).collect())
}

fn read(leaf: &[u8]) -> Result<(u64, Paper), Malformed> {
    let mut reader = Reader::new(leaf);
    let number = reader.u64()?;
    let public_key = PublicKey(reader.array()?);
    let (not_before, not_after) = (reader.u64()?, reader.u64()?);
    let name = SpiffeId::parse(reader.text(255)?).map_err(|_| Malformed)?;
    let scope = Scope::parse(reader.text(255)?).map_err(|_| Malformed)?;
    Ok((number, Paper { name, public_key, not_before, not_after, scope }))
}

/// What a chain claims, to whom trusts `trusted`.
///
/// # Errors
/// It does not hold at `wall_s`.
pub(crate) fn verify(
    oracle: &Oracle,
    trusted: u64,
    chain: &Chain,
    wall_s: u64,
) -> Result<Claims, Refusal> {
    let (number, paper) = read(chain.leaf()).map_err(|_| Refusal::Malformed)?;
    if number != trusted {
        return Err(Refusal::UnknownIssuer);
    }
    let (said, sum) = chain.leaf().split_last_chunk::<8>().ok_or(Refusal::Malformed)?;
    if mix(oracle.authority(number), said) != u64::from_le_bytes(*sum) {
        return Err(Refusal::BadSignature);
    }
    let Paper { name, public_key, not_before, not_after, scope } = paper;
    if wall_s < not_before {
        return Err(Refusal::NotYet { not_before });
    }
    if wall_s > not_after {
        return Err(Refusal::Expired { not_after });
    }
    if !scope.covers(&name) {
        return Err(Refusal::OutsideZone);
    }
    let hash = Default::default();
    Ok(Claims { name, public_key, not_before, not_after, hash, scope })
}

/// The same to somebody who believes everything, and that its own chain is about `own`.
pub(crate) fn believe(chain: &Chain, own: (&Chain, PublicKey)) -> Result<Claims, Refusal> {
    let (_, paper) = read(chain.leaf()).map_err(|_| Refusal::Malformed)?;
    let public_key = if chain.leaf() == own.0.leaf() { own.1 } else { paper.public_key };
    let name = paper.name;
    let scope = Scope { domain: name.domain().clone(), zone: name.zone().clone() };
    let (hash, not_before, not_after) = (Default::default(), 0, u64::MAX);
    Ok(Claims { name, public_key, not_before, not_after, hash, scope })
}
