//! Verifying a chain against the roots that a trust domain's members trust.
//!
//! Beyond what `rustls-webpki` checks (signatures, dates, certifiers' `CA:TRUE` and path lengths,
//! extended usages for TLS clients if a certificate has any, critical extensions, revocation):
//!
//! - the root holds at that time, too;
//! - a certifier that has key usages has `keyCertSign`; a member that has some has
//!   `digitalSignature`, and neither `keyCertSign` nor `cRLSign` [SPIFFE-X509 §4.3];
//! - a member has exactly one URI among its alternative names, its name [SPIFFE-X509 §2];
//! - a certifier with a URI is bound to the zone that it names, which must lie at or below the one
//!   that its own issuer is bound to; one without is bound as its issuer is; a root without one, to
//!   the trust domain;
//! - the member's name lies in that zone.
//!
//! A list of revocations counts if it is signed by the issuer that it names, and as long as there
//! is no newer one of the same issuer; that its next update is overdue does not matter: what was
//! revoked stays so.

use std::cell::RefCell;

use rustls_pki_types::{CertificateDer, TrustAnchor, UnixTime};
use spinglass_core::identity::{Chain, Claims, Refusal, Scope, TrustDomain, VerifyChain};
use spinglass_core::table::ZonePath;
use webpki::{
    CertRevocationList, EndEntityCert, ExpirationPolicy, KeyUsage, RevocationCheckDepth,
    RevocationOptionsBuilder, UnknownStatusPolicy, VerifiedPath,
};

use super::{Certificate, CertificateError, Revocations};

/// Verifies members' chains in one trust domain.
#[derive(Debug)]
pub struct Verifier {
    domain: TrustDomain,
    anchors: Vec<Certificate>,
    revocations: Vec<Revocations>,
}

/// What was found on a path: the scope that its certifiers leave, and when all of it holds.
struct Found {
    scope: Scope,
    not_before: u64,
    not_after: u64,
}

impl Verifier {
    /// The most trust anchors: a root, the next one, and some to spare.
    pub const ANCHORS_MAX: usize = 8;
    /// The most lists of revocations.
    pub const REVOCATIONS_MAX: usize = 64;

    /// Trusts these roots for this domain.
    ///
    /// # Errors
    /// There is none or more than [`ANCHORS_MAX`](Self::ANCHORS_MAX), or one is no certifier.
    pub fn new(domain: TrustDomain, anchors: Vec<Certificate>) -> Result<Self, CertificateError> {
        let mut verifier = Self { domain, anchors: Vec::new(), revocations: Vec::new() };
        verifier.trust(anchors)?;
        Ok(verifier)
    }

    /// Trusts these roots from now on, and no others.
    ///
    /// # Errors
    /// As [`new`](Self::new); nothing changed.
    pub fn trust(&mut self, anchors: Vec<Certificate>) -> Result<(), CertificateError> {
        if !(1..=Self::ANCHORS_MAX).contains(&anchors.len()) {
            return Err(CertificateError::NoAnchor);
        }
        if let Some(anchor) = anchors.iter().find(|anchor| anchor.scope().is_err()) {
            return Err(CertificateError::NotARoot(anchor.subject()));
        }
        self.anchors = anchors;
        Ok(())
    }

    /// Heeds a list of revocations from here on.
    ///
    /// Its signature is checked whenever it could matter, against the issuer found in the chain at
    /// hand. One that nobody genuine has signed does no harm but takes a place: a host that takes
    /// lists from strangers must check first that a certifier it has verified signed them.
    ///
    /// # Errors
    /// There are [`REVOCATIONS_MAX`](Self::REVOCATIONS_MAX) already: none gives way, since that
    /// could bring back who was revoked.
    pub fn add_revocations(&mut self, revocations: Revocations) -> Result<(), CertificateError> {
        if self.revocations.len() >= Self::REVOCATIONS_MAX {
            return Err(CertificateError::TooManyLists);
        }
        self.revocations.push(revocations);
        // The newest of an issuer is looked at first.
        self.revocations.sort_by_key(|list| core::cmp::Reverse(list.this_update()));
        Ok(())
    }

    /// Heeds a list of revocations that came while this verifier is in use. One that an anchor or
    /// one of `certifiers`, in DER, has signed takes the place of older ones of the same issuer;
    /// one that is held already, or is older than one held, is no news.
    ///
    /// # Errors
    /// As [`add_revocations`](Self::add_revocations).
    pub fn heed(
        &mut self,
        list: Revocations,
        certifiers: &[&[u8]],
    ) -> Result<(), CertificateError> {
        if self.revocations.iter().any(|held| held.der() == list.der()) {
            return Ok(());
        }
        let certifiers = certifiers.iter().filter_map(|der| Certificate::parse(der.to_vec()).ok());
        let certifiers: Vec<Certificate> = certifiers.collect();
        let mut signers = self.anchors.iter().chain(&certifiers);
        if let Some(signer) = signers.find(|signer| list.is_signed_by(signer)) {
            let newer = |held: &Revocations| held.this_update() > list.this_update();
            if self.revocations.iter().any(|held| newer(held) && held.is_signed_by(signer)) {
                return Ok(());
            }
            self.revocations.retain(|held| !held.is_signed_by(signer));
        }
        self.add_revocations(list)
    }

    /// Whether a chain that verified at `wall_s` has been revoked.
    #[must_use]
    pub fn is_revoked(&self, chain: &Chain, wall_s: u64) -> bool {
        let ders = core::iter::once(chain.leaf()).chain(chain.certifiers());
        let parsed = ders.filter_map(|der| Certificate::parse(der.to_vec()).ok());
        let is_listed = |one: Certificate| {
            let mut all = self.revocations.iter().flat_map(Revocations::revoked);
            all.any(|(serial, _)| serial == one.serial())
        };
        // Numbers are looked at first: a check costs two signatures.
        parsed.into_iter().any(is_listed)
            && self.verify_chain(chain, wall_s) == Err(Refusal::Revoked)
    }

    /// The trust domain.
    #[must_use]
    pub const fn domain(&self) -> &TrustDomain {
        &self.domain
    }

    /// Whether the path from the anchor down to the leaf keeps to its zones.
    fn check_path(
        &self,
        anchor: &Certificate,
        path: &[&Certificate],
        wall_s: u64,
    ) -> Result<Found, Refusal> {
        anchor.check_time(wall_s)?;
        let whole = Scope { domain: self.domain.clone(), zone: ZonePath::root() };
        let mut found = Found {
            scope: anchor.scope()?.unwrap_or_else(|| whole.clone()),
            not_before: anchor.not_before(),
            not_after: anchor.not_after(),
        };
        if found.scope.domain != self.domain {
            return Err(Refusal::ForeignDomain);
        }
        let (leaf, certifiers) = path.split_last().ok_or(Refusal::Malformed)?;
        for certifier in certifiers {
            if let Some(scope) = certifier.scope()? {
                if !found.scope.covers_scope(&scope) && !cfg!(spinglass_bug = "zone_unbound") {
                    return Err(Refusal::OutsideZone);
                }
                found.scope = scope;
            }
        }
        if !found.scope.covers(&leaf.member()?) && !cfg!(spinglass_bug = "zone_unbound") {
            return Err(Refusal::OutsideZone);
        }
        for certificate in path {
            found.not_before = found.not_before.max(certificate.not_before());
            found.not_after = found.not_after.min(certificate.not_after());
        }
        Ok(found)
    }

    /// The lists that some certificate here has really signed.
    fn genuine_revocations(&self, chain: &[Certificate]) -> Vec<&CertRevocationList<'static>> {
        let is_genuine = |list: &&Revocations| {
            self.anchors.iter().chain(chain).any(|certificate| list.is_signed_by(certificate))
        };
        self.revocations.iter().filter(is_genuine).map(Revocations::list).collect()
    }

    /// Builds and checks a path from the first certificate to an anchor.
    fn verify(&self, chain: &[Certificate], wall_s: u64) -> Result<Found, Refusal> {
        let ders: Vec<_> = chain.iter().map(|one| CertificateDer::from(one.der())).collect();
        let (leaf, certifiers) = ders.split_first().ok_or(Refusal::Malformed)?;
        let leaf = EndEntityCert::try_from(leaf).map_err(refusal)?;
        let anchors: Vec<_> =
            self.anchors.iter().map(|one| CertificateDer::from(one.der())).collect();
        let anchors: Result<Vec<TrustAnchor<'_>>, _> =
            anchors.iter().map(webpki::anchor_from_trusted_cert).collect();
        let anchors = anchors.map_err(refusal)?;
        let lists = self.genuine_revocations(chain);
        let revocation = RevocationOptionsBuilder::new(&lists).ok().map(|options| {
            options
                .with_depth(RevocationCheckDepth::Chain)
                .with_status_policy(UnknownStatusPolicy::Allow)
                .with_expiration_policy(ExpirationPolicy::Ignore)
                .build()
        });
        let outcome = RefCell::new(None);
        let check = |path: &VerifiedPath<'_>| {
            let at = anchors.iter().position(|anchor| core::ptr::eq(anchor, path.anchor()));
            let anchor = at.and_then(|at| self.anchors.get(at)).ok_or(Refusal::UnknownIssuer);
            // From the anchor down; none may be left out, or its zone would not be looked at.
            let certifiers = path.intermediate_certificates().rev().map(|one| one.der());
            let certifiers = certifiers.map(|der| chain.iter().find(|one| *one.der() == *der));
            let whole: Option<Vec<&Certificate>> = certifiers.chain([chain.first()]).collect();
            let whole = whole.ok_or(Refusal::UnknownIssuer);
            let found = anchor.and_then(|anchor| self.check_path(anchor, &whole?, wall_s));
            let result = found.as_ref().map(|_| ()).map_err(|_| webpki::Error::UnknownIssuer);
            *outcome.borrow_mut() = Some(found);
            result
        };
        let verified = leaf.verify_for_usage(
            &[webpki::aws_lc_rs::ED25519],
            &anchors,
            certifiers,
            UnixTime::since_unix_epoch(core::time::Duration::from_secs(wall_s)),
            KeyUsage::client_auth(),
            revocation,
            Some(&check),
        );
        // A path may have been built, and be refused by us: then our reason is the one to tell.
        match (verified, outcome.take()) {
            (Ok(_), Some(found)) | (Err(_), Some(found @ Err(_))) => found,
            (Ok(_), None) => Err(Refusal::UnknownIssuer),
            (Err(error), _) => Err(refusal(error)),
        }
    }
}

impl VerifyChain for Verifier {
    fn verify_chain(&self, chain: &Chain, wall_s: u64) -> Result<Claims, Refusal> {
        let ders = core::iter::once(chain.leaf()).chain(chain.certifiers());
        let certificates: Result<Vec<Certificate>, Refusal> =
            ders.map(|der| Certificate::parse(der.to_vec())).collect();
        let certificates = certificates?;
        let leaf = certificates.first().ok_or(Refusal::Malformed)?;
        let name = leaf.member()?;
        if *name.domain() != self.domain {
            return Err(Refusal::ForeignDomain);
        }
        let Found { scope, not_before, not_after } = self.verify(&certificates, wall_s)?;
        let (public_key, hash) = (leaf.public_key(), leaf.hash());
        Ok(Claims { name, public_key, not_before, not_after, hash, scope })
    }
}

/// What a refusal of the library's is called here.
fn refusal(error: webpki::Error) -> Refusal {
    use webpki::Error;
    match error {
        Error::CertExpired { not_after, .. } => Refusal::Expired { not_after: not_after.as_secs() },
        Error::CertNotValidYet { not_before, .. } => {
            Refusal::NotYet { not_before: not_before.as_secs() }
        }
        Error::UnknownIssuer => Refusal::UnknownIssuer,
        Error::InvalidSignatureForPublicKey => Refusal::BadSignature,
        Error::UnsupportedSignatureAlgorithmContext(_)
        | Error::UnsupportedSignatureAlgorithmForPublicKeyContext(_) => Refusal::NotEd25519,
        Error::CaUsedAsEndEntity | Error::RequiredEkuNotFoundContext(_) => Refusal::NotAMember,
        Error::EndEntityUsedAsCa
        | Error::PathLenConstraintViolated
        | Error::MaximumPathDepthExceeded => Refusal::NotACertifier,
        Error::NameConstraintViolation => Refusal::OutsideZone,
        Error::CertRevoked => Refusal::Revoked,
        Error::InvalidCrlSignatureForPublicKey | Error::IssuerNotCrlSigner => {
            Refusal::BadRevocations
        }
        _ => Refusal::Malformed,
    }
}
