//! Certified mode, from files: this member's certificates, whom it trusts, and who may do what.

use std::path::{Path, PathBuf};

use spinglass_core::identity::{Refusal, SpiffeId};
use spinglass_core::rules::{Action, Policy};
use spinglass_core::{Denied, Security};
use spinglass_crypto::certificates::{
    Certificate, CertificateError, Verifier, chain_of, load_chain, load_revocations,
};

use crate::policy::{PolicyError, PolicyFile};

/// Why a member that asked for certified mode can't have it.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SecurityError {
    /// A file of certificates or revocations can't be used.
    #[error(transparent)]
    Certificate(#[from] CertificateError),
    /// The policy can't be used.
    #[error(transparent)]
    Policy(#[from] PolicyError),
    /// The member's own certificates are none.
    #[error("{path}: {refusal}")]
    Refused {
        /// Their file.
        path: PathBuf,
        /// Why.
        refusal: Refusal,
    },
    /// There is no certificate.
    #[error(
        "trust anchors, a policy or revocations are of no use without a certificate of one's own: \
         give it, too (`spinglass ca issue` makes one)"
    )]
    NoCertificate,
    /// There are no trust anchors.
    #[error(
        "a certificate is of no use without roots to check those of others by: give the trusted \
         root's certificate, too"
    )]
    NoTrust,
    /// There is no private key.
    #[error("a certificate is of no use without its key: give the identity key, too")]
    NoIdentity,
}

/// The files that a builder was told of.
#[derive(Debug, Default)]
pub(crate) struct Papers {
    pub(crate) certificate: Option<PathBuf>,
    pub(crate) trust: Vec<PathBuf>,
    pub(crate) revoked: Vec<PathBuf>,
    pub(crate) policy: Option<PathBuf>,
}

/// What they hold.
#[derive(Debug)]
pub(crate) struct Loaded {
    pub(crate) name: SpiffeId,
    pub(crate) security: Security,
    pub(crate) verifier: Verifier,
}

/// What this member may do, by the policy that it has.
#[derive(Debug)]
pub(crate) struct Rules {
    name: SpiffeId,
    policy: Policy,
}

impl Papers {
    /// Reads the files. `None`: there are none, and the member is in no certified mode.
    ///
    /// # Errors
    /// One can't be used, or one that belongs to it is missing.
    pub(crate) fn load(&self, has_identity: bool) -> Result<Option<Loaded>, SecurityError> {
        let Some(path) = &self.certificate else {
            let is_none = self.trust.is_empty() && self.revoked.is_empty() && self.policy.is_none();
            return if is_none { Ok(None) } else { Err(SecurityError::NoCertificate) };
        };
        if self.trust.is_empty() {
            return Err(SecurityError::NoTrust);
        }
        if !has_identity {
            return Err(SecurityError::NoIdentity);
        }
        let refused = |refusal| SecurityError::Refused { path: path.clone(), refusal };
        let own = load_chain(path)?;
        let leaf = own.first().ok_or_else(|| refused(Refusal::Malformed))?;
        let name = leaf.member().map_err(refused)?;
        let anchors = self.trust.iter().map(|path| load_chain(path));
        let anchors = anchors.collect::<Result<Vec<_>, _>>()?.concat();
        let mut verifier = Verifier::new(name.domain().clone(), anchors)?;
        for path in &self.revoked {
            verifier.add_revocations(load_revocations(path)?)?;
        }
        // A root in the file would be shown to others, who have it.
        let mut is_first = true;
        let is_sent = |one: &Certificate| std::mem::take(&mut is_first) || !one.is_root();
        let mut sent = own;
        sent.retain(is_sent);
        let chain = chain_of(&sent).map_err(refused)?;
        let policy = self.policy.as_deref().map(load_policy).transpose()?;
        Ok(Some(Loaded { name, security: Security { chain, policy }, verifier }))
    }
}

fn load_policy(path: &Path) -> Result<Policy, PolicyError> {
    PolicyFile::load(path).map(|file| file.policy().clone())
}

impl Loaded {
    /// The rules, if there are any, as handles ask them.
    pub(crate) fn rules(&self) -> Option<Rules> {
        let policy = self.security.policy.clone()?;
        Some(Rules { name: self.name.clone(), policy })
    }
}

impl Rules {
    /// Whether this member may do it.
    pub(crate) fn check(&self, action: &Action<'_>) -> Result<(), Denied> {
        let decision = self.policy.decide(&self.name, action);
        if decision.allowed { Ok(()) } else { Err(Denied { rule: decision.rule }) }
    }
}
