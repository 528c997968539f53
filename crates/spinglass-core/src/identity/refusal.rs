//! Why a chain of certificates was refused.

use core::fmt;

use crate::identity::name::NameError;

/// Why a chain was refused: a reason each, so that it can be counted, and told with advice.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Refusal {
    /// It is no chain of certificates, or something in it is not understood.
    Malformed,
    /// A key or a signature in it is not Ed25519.
    NotEd25519,
    /// No trusted root issued it, or a certifier between is missing.
    UnknownIssuer,
    /// A signature in it is not its issuer's.
    BadSignature,
    /// It does not hold yet.
    NotYet {
        /// From when on it does, in seconds of the wall clock since 1970.
        not_before: u64,
    },
    /// It holds no longer.
    Expired {
        /// Until when it did, in seconds of the wall clock since 1970.
        not_after: u64,
    },
    /// The first certificate is a certifier's, or may not sign.
    NotAMember,
    /// A certificate that issued another one must not issue any.
    NotACertifier,
    /// The member's certificate has no URI, or more than one; or a certifier's has more than one.
    NotOneName,
    /// A URI in it is no name.
    BadName(NameError),
    /// It is of another trust domain.
    ForeignDomain,
    /// It names something outside its certifier's zone.
    OutsideZone,
    /// It, or a certifier of it, was revoked.
    Revoked,
    /// The list of what its issuer revoked is too old, or not its issuer's.
    BadRevocations,
}

impl fmt::Display for Refusal {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = match self {
            Self::NotYet { not_before } => {
                return write!(
                    formatter,
                    "it holds only from {not_before} on (seconds since 1970): look at this \
                     machine's clock, or at the one it was issued by"
                );
            }
            Self::Expired { not_after } => {
                return write!(
                    formatter,
                    "it, or a certifier of it, has expired at {not_after} (seconds since 1970): \
                     have it issued again"
                );
            }
            Self::BadName(error) => {
                return write!(formatter, "a URI in it is no name: {error}");
            }
            Self::Malformed => {
                "it is no chain of X.509 v3 certificates, the member's first, or has something \
                 critical in it that is not understood"
            }
            Self::NotEd25519 => {
                "a key or signature in it is not Ed25519: have all of the chain issued with \
                 Ed25519 keys"
            }
            Self::UnknownIssuer => {
                "no trusted root issued it: add the missing certifiers behind it in its file, or \
                 its root to the trust anchors"
            }
            Self::BadSignature => "a signature in it is not its issuer's",
            Self::NotAMember => {
                "the first certificate is a certifier's, or its key must not sign: a member's \
                 comes first"
            }
            Self::NotACertifier => {
                "a certificate in it was issued by one that must not issue: certifiers need \
                 CA:TRUE, and keyCertSign, and a path length that allows what is below"
            }
            Self::NotOneName => {
                "a member's certificate has exactly one URI among its alternative names, its \
                 spiffe:// name, and a certifier's has at most one"
            }
            Self::ForeignDomain => "it is of another trust domain",
            Self::OutsideZone => {
                "it names something outside its certifier's zone: have a certifier of its own \
                 zone issue it, or one above"
            }
            Self::Revoked => "it, or a certifier of it, was revoked: have it issued with a new key",
            Self::BadRevocations => {
                "its issuer's list of revocations has expired or is not its issuer's: fetch a \
                 newer one"
            }
        };
        formatter.write_str(text)
    }
}

impl core::error::Error for Refusal {}
