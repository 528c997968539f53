//! Certificates: reading, verifying, issuing and revoking them.
//!
//! Everything is plain X.509 with Ed25519 keys, in PEM files, so that any ordinary authority can
//! stand in for ours and ours for it. Paths, signatures, dates, path lengths and revocation are
//! checked by `rustls-webpki`; names and zones, of which it knows nothing, by [`Verifier`].
//!
//! | file | holds |
//! |---|---|
//! | a root's | its certificate, signed by itself: what members trust |
//! | a member's | its certificate, then the certifiers between it and the root |
//! | a list of revocations | an X.509 CRL, signed by the authority that issued what it lists |
//! | a key | PKCS#8, mode 0600 |

mod authority;
mod certificate;
mod revocations;
mod verifier;

use std::path::{Path, PathBuf};

use spinglass_core::identity::{NameError, Refusal, Scope};

pub use authority::{Authority, BACKDATED_S, Lifetime};
pub use certificate::{Certificate, chain_of, load_chain, parse_chain, read_public_key};
pub(crate) use certificate::{pem, public_key_pem};
pub use revocations::{REVOCATIONS_BYTES_MAX, Revocations, load_revocations};
pub use verifier::Verifier;

/// The largest file of certificates or revocations that is read, in bytes.
const FILE_BYTES_MAX: u64 = 1 << 20;

/// Why something can't be done with certificates.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CertificateError {
    /// A file can't be read.
    #[error("cannot read {path}")]
    Io {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// A file holds nothing of what it should.
    #[error("{path} holds no {what} in PEM: it should begin with {begin}")]
    Nothing {
        /// The file.
        path: PathBuf,
        /// What it should hold.
        what: &'static str,
        /// How that begins.
        begin: &'static str,
    },
    /// A certificate in a file is refused.
    #[error("{path}: {refusal}")]
    Refused {
        /// The file.
        path: PathBuf,
        /// Why.
        refusal: Refusal,
    },
    /// It holds more certificates than a chain may.
    #[error("{0} holds too much: a chain has at most 5 certificates and 8192 bytes")]
    TooLong(PathBuf),
    /// A list of revocations is none.
    #[error(
        "it is no list of revocations: an X.509 v2 CRL of at most {REVOCATIONS_BYTES_MAX} bytes, \
         with a CRL number and a next update (for openssl: `ca -gencrl -crlexts`)"
    )]
    NoRevocations,
    /// A file's list of revocations is none.
    #[error("{path}: {source}")]
    InFile {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        source: Box<Self>,
    },
    /// A trust anchor may not issue.
    #[error(
        "the trust anchor {0} is no certifier: it needs CA:TRUE, and keyCertSign if it has usages"
    )]
    NotARoot(String),
    /// There is no trust anchor.
    #[error("no trust anchor: give the root's certificate")]
    NoAnchor,
    /// A certificate's name is none.
    #[error("the certificate's name is none: {0}")]
    Name(#[from] NameError),
    /// The key is not the certificate's.
    #[error("the key is not the one that the certificate is about: they are of different pairs")]
    OtherKey,
    /// The authority's own certificate is a member's.
    #[error("a member's certificate issues nothing: use a root's or a zone certifier's")]
    NotAnAuthority,
    /// The name lies outside the authority's zone.
    #[error("{name} lies outside {scope}, all that this authority may name")]
    OutsideScope {
        /// What was to be named.
        name: String,
        /// What may be.
        scope: Scope,
    },
    /// The authority's certificate does not hold at this time, or the lifetime ends before it
    /// begins.
    #[error("the lifetime is empty: the authority's own certificate may have expired")]
    EmptyLifetime,
    /// The authority has revoked as much as a list holds.
    #[error(
        "the list of revocations is full ({REVOCATIONS_BYTES_MAX} bytes): make a new certifier"
    )]
    RevocationsFull,
    /// A verifier has as many lists of revocations as it may.
    #[error("too many lists of revocations: at most 64 are heeded")]
    TooManyLists,
    /// The certificate was issued by another authority.
    #[error("it was issued by {issuer}, and only that authority can revoke it")]
    OtherIssuer {
        /// The certificate's issuer.
        issuer: String,
    },
    /// Something that can't be encoded, such as a year after 9999.
    #[error("it cannot be encoded as X.509: {0}")]
    Encoding(#[from] der::Error),
}

/// A time as people write it, such as `2026-11-25T00:00:00Z`, from seconds since 1970.
#[must_use]
pub fn date(seconds: u64) -> String {
    let date = der::DateTime::from_unix_duration(core::time::Duration::from_secs(seconds));
    date.map_or_else(|_| format!("{seconds} s after 1970"), |date| date.to_string())
}

/// Reads a file, of which more than [`FILE_BYTES_MAX`] is passed over.
fn read_file(path: &Path) -> Result<Vec<u8>, CertificateError> {
    use std::io::Read as _;
    let io = |source| CertificateError::Io { path: path.into(), source };
    let file = std::fs::File::open(path).map_err(io)?;
    let mut bytes = Vec::new();
    file.take(FILE_BYTES_MAX).read_to_end(&mut bytes).map_err(io)?;
    Ok(bytes)
}
