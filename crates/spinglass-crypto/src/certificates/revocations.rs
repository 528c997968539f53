//! Lists of revocations: X.509 CRLs, as any ordinary authority makes them.

use std::fmt;
use std::path::Path;

use aws_lc_rs::signature::{ED25519, UnparsedPublicKey};
use der::asn1::{AnyRef, BitStringRef};
use der::{Decode as _, Encode as _, Sequence};
use rustls_pki_types::{CertificateRevocationListDer, pem::PemObject as _};
use webpki::{CertRevocationList, OwnedCertRevocationList};
use x509_cert::crl::CertificateList;

use super::certificate::pem;
use super::{Certificate, CertificateError, read_file};

/// The largest list, in bytes: room for more than a thousand revocations.
pub const REVOCATIONS_BYTES_MAX: usize = 65_536;

/// What an authority has revoked. Whether it was that authority is another question.
pub struct Revocations {
    der: Vec<u8>,
    list: CertRevocationList<'static>,
    pub(super) inner: CertificateList,
}

/// A signed thing's three parts, the first as it was signed.
#[derive(Sequence)]
struct Signed<'a> {
    content: AnyRef<'a>,
    algorithm: AnyRef<'a>,
    signature: BitStringRef<'a>,
}

impl Revocations {
    /// Reads a list.
    ///
    /// # Errors
    /// It is none, is too large, or of a kind that is not understood.
    pub fn parse(der: Vec<u8>) -> Result<Self, CertificateError> {
        if der.len() > REVOCATIONS_BYTES_MAX {
            return Err(CertificateError::NoRevocations);
        }
        let list = OwnedCertRevocationList::from_der(&der);
        let list = list.map_err(|_| CertificateError::NoRevocations)?.into();
        let inner = CertificateList::from_der(&der).map_err(|_| CertificateError::NoRevocations)?;
        Ok(Self { der, list, inner })
    }

    /// Reads a list in PEM; errors name it by `path`.
    ///
    /// # Errors
    /// There is none, or it is none.
    pub fn parse_pem(text: &[u8], path: &Path) -> Result<Self, CertificateError> {
        let (what, begin) = ("list of revocations", "-----BEGIN X509 CRL-----");
        let der = CertificateRevocationListDer::from_pem_slice(text)
            .map_err(|_| CertificateError::Nothing { path: path.into(), what, begin })?;
        Self::parse(der.to_vec())
            .map_err(|source| CertificateError::InFile { path: path.into(), source: source.into() })
    }

    /// The list in DER.
    #[must_use]
    pub fn der(&self) -> &[u8] {
        &self.der
    }

    /// The list in PEM.
    #[must_use]
    pub fn pem(&self) -> String {
        pem("X509 CRL", &self.der)
    }

    /// Whose it says it is.
    #[must_use]
    pub fn issuer(&self) -> String {
        self.inner.tbs_cert_list.issuer.to_string()
    }

    /// When it was made, in seconds since 1970.
    #[must_use]
    pub fn this_update(&self) -> u64 {
        self.inner.tbs_cert_list.this_update.to_unix_duration().as_secs()
    }

    /// What is revoked: serial numbers, big-endian, and when, in seconds since 1970.
    pub fn revoked(&self) -> impl Iterator<Item = (&[u8], u64)> {
        let revoked = self.inner.tbs_cert_list.revoked_certificates.iter().flatten();
        revoked.map(|one| {
            (one.serial_number.as_bytes(), one.revocation_date.to_unix_duration().as_secs())
        })
    }

    /// Whether this certificate's key signed it, and its issuer has this certificate's name.
    pub(super) fn is_signed_by(&self, certificate: &Certificate) -> bool {
        let subject = certificate.inner.tbs_certificate().subject();
        if *subject != self.inner.tbs_cert_list.issuer {
            return false;
        }
        let Ok(signed) = Signed::from_der(&self.der) else { return false };
        let (Ok(content), Some(signature)) = (signed.content.to_der(), signed.signature.as_bytes())
        else {
            return false;
        };
        let key = UnparsedPublicKey::new(&ED25519, certificate.public_key().0);
        key.verify(&content, signature).is_ok()
    }

    pub(super) const fn list(&self) -> &CertRevocationList<'static> {
        &self.list
    }
}

impl fmt::Debug for Revocations {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "Revocations({}, {})", self.issuer(), self.revoked().count())
    }
}

/// Content and signature put together. `algorithm` is an identifier in DER.
pub(super) fn assemble(content: &[u8], algorithm: &[u8], signature: &[u8]) -> der::Result<Vec<u8>> {
    Signed {
        content: AnyRef::from_der(content)?,
        algorithm: AnyRef::from_der(algorithm)?,
        signature: BitStringRef::from_bytes(signature)?,
    }
    .to_der()
}

/// Reads a file with a list in PEM.
///
/// # Errors
/// It can't be read, or holds none.
pub fn load_revocations(path: &Path) -> Result<Revocations, CertificateError> {
    Revocations::parse_pem(&read_file(path)?, path)
}
