//! Certified mode, from files: this member's certificates, whom it trusts, and who may do what.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use spinglass_core::identity::{Refusal, SpiffeId, VerifyChain as _};
use spinglass_core::rules::{Action, Policy};
use spinglass_core::{Denied, Security};
use spinglass_crypto::Marks;
use spinglass_crypto::certificates::{
    Certificate, CertificateError, Verifier, chain_of, date, load_chain, load_revocations,
};

use crate::clock::wall;
use crate::inbox::Command;
use crate::node::Shared;
use crate::policy::{PolicyError, PolicyFile};

/// A certificate is to be renewed before this part of its time is left.
const RENEWAL_PARTS: u64 = 4;

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
#[derive(Debug, Clone, Default)]
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
    /// From when until when the member's own certificate holds, in seconds since 1970.
    pub(crate) holds: (u64, u64),
    /// The files' before they were read: what is written after that is read again.
    pub(crate) marks: Marks,
    pub(crate) security: Security,
    /// Roots, in DER.
    roots: Vec<Vec<u8>>,
    pub(crate) verifier: Verifier,
}

/// What this member may do, by the policy that it has.
#[derive(Debug)]
pub(crate) struct Rules {
    name: SpiffeId,
    policy: Policy,
}

/// The rules as handles ask them; they may change while the node runs.
#[derive(Debug, Default)]
pub(crate) struct Rulebook {
    /// Counts changes; 0: there have never been any rules.
    revision: AtomicU64,
    rules: Mutex<Option<Rules>>,
}

/// What the files say after they have changed.
#[derive(Debug)]
pub(crate) struct Renewal {
    pub(crate) security: Security,
    /// Roots, in DER.
    pub(crate) roots: Vec<Vec<u8>>,
    /// Lists of revocations, in DER.
    pub(crate) revocations: Vec<Vec<u8>>,
    /// Whose certificate it is, and until when it holds.
    pub(crate) said: String,
}

impl Rulebook {
    pub(crate) fn new(rules: Option<Rules>) -> Self {
        let revision = AtomicU64::new(u64::from(rules.is_some()));
        Self { revision, rules: Mutex::new(rules) }
    }

    /// A number that changes with the rules; 0 for none.
    pub(crate) fn revision(&self) -> u64 {
        self.revision.load(Ordering::Acquire)
    }

    pub(crate) fn set(&self, rules: Option<Rules>) {
        *self.lock() = rules;
        self.revision.fetch_add(1, Ordering::Release);
    }

    /// Whether this member may do it.
    pub(crate) fn check(&self, action: &Action<'_>) -> Result<(), Denied> {
        self.lock().as_ref().map_or(Ok(()), |rules| rules.check(action))
    }

    fn lock(&self) -> MutexGuard<'_, Option<Rules>> {
        self.rules.lock().unwrap_or_else(PoisonError::into_inner)
    }
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
        let marks = self.marks();
        let own = load_chain(path)?;
        let leaf = own.first().ok_or_else(|| refused(Refusal::Malformed))?;
        let name = leaf.member().map_err(refused)?;
        let holds = (leaf.not_before(), leaf.not_after());
        let anchors = self.trust.iter().map(|path| load_chain(path));
        let anchors = anchors.collect::<Result<Vec<_>, _>>()?.concat();
        let roots = anchors.iter().map(|root| root.der().to_vec()).collect();
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
        Ok(Some(Loaded {
            name,
            holds,
            marks,
            security: Security { chain, policy },
            roots,
            verifier,
        }))
    }
}

impl Papers {
    /// Whether there is a certificate, and so certified mode.
    pub(crate) const fn is_certified(&self) -> bool {
        self.certificate.is_some()
    }

    /// The files.
    fn files(&self) -> impl Iterator<Item = &PathBuf> {
        let lists = self.trust.iter().chain(&self.revoked);
        self.certificate.iter().chain(lists).chain(&self.policy)
    }

    fn marks(&self) -> Marks {
        Marks::of(self.files().map(PathBuf::as_path))
    }

    /// Reads the files again.
    fn renewal(&self) -> Result<(Renewal, (u64, u64)), SecurityError> {
        let loaded = self.load(true)?.ok_or(SecurityError::NoCertificate)?;
        let lists = self.revoked.iter().map(|path| load_revocations(path));
        let lists: Result<Vec<_>, _> = lists.collect();
        // Roots that leave this member without any are told before they are heeded.
        let verified = loaded.verifier.verify_chain(&loaded.security.chain, wall().as_secs());
        let path = || self.certificate.clone().unwrap_or_default();
        verified.map_err(|refusal| SecurityError::Refused { path: path(), refusal })?;
        let said = format!("{} until {}", loaded.name, date(loaded.holds.1));
        let revocations = lists?.iter().map(|list| list.der().to_vec()).collect();
        let Loaded { security, roots, holds, .. } = loaded;
        Ok((Renewal { security, roots, revocations, said }, holds))
    }
}

/// Looks at the files now and then, and tells the node when they have changed; warns when the
/// certificate nears its end. Ends with the node.
pub(crate) async fn watch(
    papers: Papers,
    mut marks: Marks,
    holds: (u64, u64),
    shared: Arc<Shared>,
) {
    let (mut holds, mut is_warned) = (holds, false);
    loop {
        tokio::time::sleep(Marks::LOOK_EVERY).await;
        let new = papers.marks();
        if new != marks {
            marks = new;
            match papers.renewal() {
                Ok((renewal, new)) => {
                    (holds, is_warned) = (new, false);
                    if shared.inbox.command(Command::Renew(Box::new(renewal))).is_err() {
                        return;
                    }
                }
                Err(error) => tracing::warn!(
                    error = &error as &dyn std::error::Error,
                    "a file of certificates, roots, rules or revocations has changed, and is not \
                     heeded: mend it, and it is read again"
                ),
            }
        }
        let (from, until) = holds;
        let left = until.saturating_sub(wall().as_secs());
        if !is_warned && left < until.saturating_sub(from) / RENEWAL_PARTS {
            is_warned = true;
            tracing::warn!(
                until = date(until),
                "this member's certificate ends soon, and then nobody hears it: write a new one \
                 into its file, which is read while the member runs"
            );
        }
    }
}

fn load_policy(path: &Path) -> Result<Policy, PolicyError> {
    PolicyFile::load(path).map(|file| file.policy().clone())
}

impl Loaded {
    /// The rules, if there are any, as handles ask them.
    pub(crate) fn rules(&self) -> Option<Rules> {
        Some(Rules::new(&self.name, self.security.policy.as_ref()?))
    }
}

impl Rules {
    pub(crate) fn new(name: &SpiffeId, policy: &Policy) -> Self {
        Self { name: name.clone(), policy: policy.clone() }
    }

    /// Whether this member may do it.
    fn check(&self, action: &Action<'_>) -> Result<(), Denied> {
        let decision = self.policy.decide(&self.name, action);
        if decision.allowed { Ok(()) } else { Err(Denied { rule: decision.rule }) }
    }
}
