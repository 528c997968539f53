//! One certificate, and files of them.

use std::fmt;
use std::path::Path;

use der::asn1::{Any, BitString};
use der::pem::LineEnding;
use der::{Decode as _, Encode as _};
use rustls_pki_types::{CertificateDer, SubjectPublicKeyInfoDer, pem::PemObject as _};
use spinglass_core::crypto::{Domain, Hash, PublicKey};
use spinglass_core::identity::{
    CHAIN_BYTES_MAX, CHAIN_CERTIFICATES_MAX, Chain, Refusal, Scope, SpiffeId,
};
use x509_cert::ext::pkix::name::GeneralName;
use x509_cert::ext::pkix::{BasicConstraints, KeyUsage, SubjectAltName};
use x509_cert::spki::{ObjectIdentifier, SubjectPublicKeyInfo};

use super::{CertificateError, read_file};
use crate::hash;

/// Ed25519, as a key's and as a signature's algorithm [RFC 8410].
pub(super) const ED25519: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.101.112");

/// A certificate that was read; whether it is true is another question.
#[derive(Clone)]
pub struct Certificate {
    der: Vec<u8>,
    pub(super) inner: x509_cert::Certificate,
    public_key: PublicKey,
    uris: Vec<String>,
    is_certifier: bool,
    usage: Option<KeyUsage>,
}

impl Certificate {
    /// Reads a certificate.
    ///
    /// # Errors
    /// It is none, or its key or its signature is not Ed25519.
    pub fn parse(der: Vec<u8>) -> Result<Self, Refusal> {
        let inner = x509_cert::Certificate::from_der(&der).map_err(|_| Refusal::Malformed)?;
        let content = inner.tbs_certificate();
        let public_key = ed25519_key(content.subject_public_key_info())?;
        let signature = inner.signature_algorithm();
        if signature.oid != ED25519 || signature.parameters.is_some() {
            return Err(Refusal::NotEd25519);
        }
        let malformed = |_| Refusal::Malformed;
        let names = content.get_extension::<SubjectAltName>().map_err(malformed)?;
        let uris = names.into_iter().flat_map(|(_, SubjectAltName(names))| names);
        let uris = uris.filter_map(|name| match name {
            GeneralName::UniformResourceIdentifier(uri) => Some(uri.as_str().to_owned()),
            _ => None,
        });
        let uris = uris.collect();
        let basics = content.get_extension::<BasicConstraints>().map_err(malformed)?;
        let is_certifier = basics.is_some_and(|(_, basics)| basics.ca);
        let usage = content.get_extension::<KeyUsage>().map_err(malformed)?;
        let usage = usage.map(|(_, usage)| usage);
        Ok(Self { der, public_key, uris, is_certifier, usage, inner })
    }

    /// The certificate in DER.
    #[must_use]
    pub fn der(&self) -> &[u8] {
        &self.der
    }

    /// The certificate in PEM.
    #[must_use]
    pub fn pem(&self) -> String {
        pem("CERTIFICATE", &self.der)
    }

    /// The hash by which it is told.
    #[must_use]
    pub fn hash(&self) -> Hash {
        hash(Domain::Certificate, &self.der)
    }

    /// The key that it is about.
    #[must_use]
    pub const fn public_key(&self) -> PublicKey {
        self.public_key
    }

    /// Its serial number, big-endian.
    #[must_use]
    pub fn serial(&self) -> &[u8] {
        self.inner.tbs_certificate().serial_number().as_bytes()
    }

    /// Its subject's name in X.500's manner.
    #[must_use]
    pub fn subject(&self) -> String {
        self.inner.tbs_certificate().subject().to_string()
    }

    /// Its issuer's name in X.500's manner.
    #[must_use]
    pub fn issuer(&self) -> String {
        self.inner.tbs_certificate().issuer().to_string()
    }

    /// From when on it holds, in seconds since 1970.
    #[must_use]
    pub fn not_before(&self) -> u64 {
        self.inner.tbs_certificate().validity().not_before.to_unix_duration().as_secs()
    }

    /// Until when it holds, in seconds since 1970, inclusive.
    #[must_use]
    pub fn not_after(&self) -> u64 {
        self.inner.tbs_certificate().validity().not_after.to_unix_duration().as_secs()
    }

    /// Whether it holds then.
    ///
    /// # Errors
    /// It does not.
    pub fn check_time(&self, wall_s: u64) -> Result<(), Refusal> {
        let (not_before, not_after) = (self.not_before(), self.not_after());
        match wall_s {
            early if early < not_before => Err(Refusal::NotYet { not_before }),
            late if late > not_after => Err(Refusal::Expired { not_after }),
            _ => Ok(()),
        }
    }

    /// Whether it says that its key issues certificates.
    #[must_use]
    pub const fn is_certifier(&self) -> bool {
        self.is_certifier
    }

    /// Whether it is its own issuer, by name.
    #[must_use]
    pub fn is_root(&self) -> bool {
        let content = self.inner.tbs_certificate();
        self.is_certifier && content.subject() == content.issuer()
    }

    /// The URIs among its alternative names.
    #[must_use]
    pub fn uris(&self) -> &[String] {
        &self.uris
    }

    /// The member that it names.
    ///
    /// # Errors
    /// It is a certifier's, may not sign messages, or does not have exactly one name.
    pub fn member(&self) -> Result<SpiffeId, Refusal> {
        let may_sign = self.usage.is_none_or(|usage| {
            usage.digital_signature() && !usage.key_cert_sign() && !usage.crl_sign()
        });
        if self.is_certifier || !may_sign {
            return Err(Refusal::NotAMember);
        }
        match self.uris.as_slice() {
            [uri] => SpiffeId::parse(uri).map_err(Refusal::BadName),
            _ => Err(Refusal::NotOneName),
        }
    }

    /// The zone that it may name members of; none is told: whatever its issuer may.
    ///
    /// # Errors
    /// It is no certifier, or has more than one name, or one that is none.
    pub fn scope(&self) -> Result<Option<Scope>, Refusal> {
        if !self.is_certifier || !self.usage.is_none_or(|usage| usage.key_cert_sign()) {
            return Err(Refusal::NotACertifier);
        }
        match self.uris.as_slice() {
            [] => Ok(None),
            [uri] => Scope::parse(uri).map(Some).map_err(Refusal::BadName),
            _ => Err(Refusal::NotOneName),
        }
    }
}

impl fmt::Debug for Certificate {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "Certificate({}, {:?})", self.subject(), self.uris)
    }
}

fn ed25519_key(key: &SubjectPublicKeyInfo<Any, BitString>) -> Result<PublicKey, Refusal> {
    let is_ed25519 = key.algorithm.oid == ED25519 && key.algorithm.parameters.is_none();
    let bytes = key.subject_public_key.as_bytes().filter(|_| is_ed25519);
    let bytes = bytes.and_then(|bytes| bytes.try_into().ok());
    bytes.map(PublicKey).ok_or(Refusal::NotEd25519)
}

/// Bytes in PEM, lines of 64 characters.
pub(crate) fn pem(label: &str, der: &[u8]) -> String {
    der::pem::encode_string(label, LineEnding::LF, der).expect("the label is legal, the size small")
}

/// Reads a file of certificates in PEM, the member's or the root's first.
///
/// # Errors
/// It can't be read, holds none, or more than a chain may; or one of them is refused.
pub fn load_chain(path: &Path) -> Result<Vec<Certificate>, CertificateError> {
    parse_chain(&read_file(path)?, path)
}

/// Reads certificates in PEM; errors name them by `path`. What is not PEM is passed over.
///
/// # Errors
/// There is none, or more than a chain may have; or one of them is refused.
pub fn parse_chain(text: &[u8], path: &Path) -> Result<Vec<Certificate>, CertificateError> {
    let refused = |refusal| CertificateError::Refused { path: path.into(), refusal };
    let (mut certificates, mut bytes) = (Vec::new(), 0);
    for der in CertificateDer::pem_slice_iter(text) {
        let der = der.map_err(|_| refused(Refusal::Malformed))?.to_vec();
        bytes += der.len() + 2;
        if certificates.len() == CHAIN_CERTIFICATES_MAX || bytes > CHAIN_BYTES_MAX {
            return Err(CertificateError::TooLong(path.into()));
        }
        certificates.push(Certificate::parse(der).map_err(refused)?);
    }
    if certificates.is_empty() {
        let (what, begin) = ("certificate", "-----BEGIN CERTIFICATE-----");
        return Err(CertificateError::Nothing { path: path.into(), what, begin });
    }
    Ok(certificates)
}

/// Certificates as an unverified chain for the core.
///
/// # Errors
/// There is none, or more than a chain may have.
pub fn chain_of(certificates: &[Certificate]) -> Result<Chain, Refusal> {
    let ders = certificates.iter().map(|certificate| certificate.der.clone());
    Chain::new(ders.collect()).map_err(|_| Refusal::Malformed)
}

/// Reads a file with an Ed25519 public key in PEM, as `openssl pkey -pubout` writes it.
///
/// # Errors
/// It can't be read, or holds none.
pub fn read_public_key(path: &Path) -> Result<PublicKey, CertificateError> {
    let text = read_file(path)?;
    let (what, begin) = ("public key", "-----BEGIN PUBLIC KEY-----");
    let nothing = || CertificateError::Nothing { path: path.into(), what, begin };
    let der = SubjectPublicKeyInfoDer::from_pem_slice(&text).map_err(|_| nothing())?;
    let key = SubjectPublicKeyInfo::from_der(&der).map_err(|_| nothing())?;
    ed25519_key(&key).map_err(|refusal| CertificateError::Refused { path: path.into(), refusal })
}

/// An Ed25519 public key in PEM.
pub(crate) fn public_key_pem(key: &PublicKey) -> String {
    let der = spki(key).and_then(|key| key.to_der()).expect("32 bytes are encoded");
    pem("PUBLIC KEY", &der)
}

/// An Ed25519 public key as certificates hold it.
pub(super) fn spki(key: &PublicKey) -> der::Result<SubjectPublicKeyInfo<Any, BitString>> {
    Ok(SubjectPublicKeyInfo {
        algorithm: x509_cert::spki::AlgorithmIdentifier { oid: ED25519, parameters: None },
        subject_public_key: BitString::from_bytes(&key.0)?,
    })
}
