//! Issuing and revoking: a root, or a certifier of one zone.

use std::time::Duration;

use der::asn1::{Any, Ia5String, OctetString, UtcTime, Utf8StringRef};
use der::flagset::FlagSet;
use der::{Decode as _, Encode as _, Sequence};
use spinglass_core::crypto::{Domain, PublicKey};
use spinglass_core::identity::{Scope, SpiffeId, TrustDomain};
use spinglass_core::table::ZonePath;
use x509_cert::Version;
use x509_cert::attr::AttributeTypeAndValue;
use x509_cert::crl::{RevokedCert, TbsCertList};
use x509_cert::ext::pkix::name::GeneralName;
use x509_cert::ext::pkix::{
    AuthorityKeyIdentifier, BasicConstraints, CrlNumber, ExtendedKeyUsage, KeyUsage, KeyUsages,
    SubjectAltName, SubjectKeyIdentifier,
};
use x509_cert::ext::{Extension, Extensions, ToExtension};
use x509_cert::name::{Name, RdnSequence, RelativeDistinguishedName};
use x509_cert::serial_number::SerialNumber;
use x509_cert::spki::{AlgorithmIdentifierOwned, ObjectIdentifier, SubjectPublicKeyInfoOwned};
use x509_cert::time::{Time, Validity};

use super::certificate::{ED25519, spki};
use super::revocations::{REVOCATIONS_BYTES_MAX, assemble};
use super::{Certificate, CertificateError, Revocations};
use crate::keys::{SigningKey, random};

/// How long before it is issued a certificate begins to hold, in seconds: clocks differ.
pub const BACKDATED_S: u64 = 300;
/// When the next list of revocations is promised at the latest, in seconds: a year. Ours heed a
/// list until there is a newer one.
const NEXT_UPDATE_S: u64 = 365 * 86_400;

const COMMON_NAME: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.5.4.3");
const SERVER_AUTH: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.6.1.5.5.7.3.1");
const CLIENT_AUTH: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.6.1.5.5.7.3.2");
/// Bytes of a name that its holder shows itself by, of at most 64 in X.520.
const LABEL_BYTES_MAX: usize = 40;

/// When a certificate is to hold, in seconds since 1970.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Lifetime {
    /// The time at which it is issued.
    pub now: u64,
    /// For how long it holds; at most as long as its issuer's certificate.
    pub seconds: u64,
}

/// A key that issues certificates, and the certificate that says so.
#[derive(Debug)]
pub struct Authority {
    key: SigningKey,
    certificate: Certificate,
    /// The certifiers between it and the root.
    above: Vec<Certificate>,
}

/// What a certificate says, in X.509's order [RFC 5280 §4.1].
#[derive(Sequence)]
struct Content {
    #[asn1(context_specific = "0", default = "Default::default")]
    version: Version,
    serial: SerialNumber,
    signature: AlgorithmIdentifierOwned,
    issuer: Name,
    validity: Validity,
    subject: Name,
    key: SubjectPublicKeyInfoOwned,
    #[asn1(context_specific = "3", tag_mode = "EXPLICIT")]
    extensions: Extensions,
}

/// Whom a certificate is for.
struct Subject<'a> {
    label: &'a str,
    uri: String,
    key: PublicKey,
    is_certifier: bool,
}

impl Authority {
    /// A new root for a trust domain.
    ///
    /// # Errors
    /// The lifetime is empty, or can't be written.
    pub fn root(
        domain: &TrustDomain,
        key: SigningKey,
        lifetime: Lifetime,
    ) -> Result<Self, CertificateError> {
        let scope = Scope { domain: domain.clone(), zone: ZonePath::root() };
        let subject = Subject {
            label: &format!("{} root", short(domain.as_str())),
            uri: scope.to_string(),
            key: key.public_key(),
            is_certifier: true,
        };
        let certificate = sign(&subject, &key, None, lifetime)?;
        Ok(Self { key, certificate, above: Vec::new() })
    }

    /// The authority of a chain of certificates, its own first, and its key.
    ///
    /// # Errors
    /// The key is not the first certificate's, or that one may not issue.
    pub fn new(chain: Vec<Certificate>, key: SigningKey) -> Result<Self, CertificateError> {
        let mut chain = chain.into_iter();
        let certificate = chain.next().ok_or(CertificateError::NoAnchor)?;
        if certificate.public_key() != key.public_key() {
            return Err(CertificateError::OtherKey);
        }
        if certificate.scope().is_err() {
            return Err(CertificateError::NotAnAuthority);
        }
        let above = chain.filter(|certificate| !certificate.is_root()).collect();
        Ok(Self { key, certificate, above })
    }

    /// Its own certificate.
    #[must_use]
    pub const fn certificate(&self) -> &Certificate {
        &self.certificate
    }

    /// Its private key.
    #[must_use]
    pub const fn key(&self) -> &SigningKey {
        &self.key
    }

    /// Issues a member's certificate.
    ///
    /// # Errors
    /// The name lies outside the authority's zone, or the lifetime is empty.
    pub fn issue(
        &self,
        name: &SpiffeId,
        key: &PublicKey,
        lifetime: Lifetime,
    ) -> Result<Certificate, CertificateError> {
        self.check_scope(|scope| scope.covers(name), name)?;
        let (label, uri) = (name.node(), name.to_string());
        let subject = Subject { label, uri, key: *key, is_certifier: false };
        sign(&subject, &self.key, Some(&self.certificate), lifetime)
    }

    /// Issues the certificate of a zone's certifier.
    ///
    /// # Errors
    /// The zone lies outside the authority's own, or the lifetime is empty.
    pub fn certify_zone(
        &self,
        scope: &Scope,
        key: &PublicKey,
        lifetime: Lifetime,
    ) -> Result<Certificate, CertificateError> {
        self.check_scope(|own| own.covers_scope(scope), scope)?;
        let label = match scope.zone.last_name() {
            "" => format!("{} certifier", short(scope.domain.as_str())),
            name => format!("{} certifier", short(name)),
        };
        let subject =
            Subject { label: &label, uri: scope.to_string(), key: *key, is_certifier: true };
        sign(&subject, &self.key, Some(&self.certificate), lifetime)
    }

    fn check_scope(
        &self,
        covers: impl Fn(&Scope) -> bool,
        name: &impl ToString,
    ) -> Result<(), CertificateError> {
        let scope = self.certificate.scope().map_err(|_| CertificateError::NotAnAuthority)?;
        match scope {
            Some(scope) if !covers(&scope) => {
                Err(CertificateError::OutsideScope { name: name.to_string(), scope })
            }
            _ => Ok(()),
        }
    }

    /// A chain's file: a certificate that this authority issued, then the certifiers above it, up
    /// to but without the root.
    #[must_use]
    pub fn chain_pem(&self, issued: &Certificate) -> String {
        let own = Some(&self.certificate).filter(|own| !own.is_root());
        let chain = core::iter::once(issued).chain(own).chain(&self.above);
        chain.map(Certificate::pem).collect()
    }

    /// A list of what it has revoked: what `before` lists, and these serial numbers.
    ///
    /// # Errors
    /// `before` is another authority's, or the list is full.
    pub fn revoke(
        &self,
        before: Option<&Revocations>,
        serials: &[&[u8]],
        now: u64,
    ) -> Result<Revocations, CertificateError> {
        if let Some(before) = before.filter(|before| !before.is_signed_by(&self.certificate)) {
            return Err(CertificateError::OtherIssuer { issuer: before.issuer() });
        }
        let content = before.map(|before| &before.inner.tbs_cert_list);
        let mut revoked: Vec<RevokedCert> =
            content.and_then(|content| content.revoked_certificates.clone()).unwrap_or_default();
        for serial in serials {
            let serial_number = SerialNumber::new(serial)?;
            if revoked.iter().all(|one| one.serial_number != serial_number) {
                let revocation_date = time(now)?;
                revoked.push(RevokedCert {
                    serial_number,
                    revocation_date,
                    crl_entry_extensions: None,
                });
            }
        }
        // Numbers grow with time, also if a list was lost.
        let last = before.map_or(0, Revocations::this_update);
        let number = now.max(last.saturating_add(1));
        let list = TbsCertList {
            version: Version::V2,
            signature: ed25519(),
            issuer: self.certificate.inner.tbs_certificate().subject().clone(),
            this_update: time(number)?,
            next_update: Some(time(number.saturating_add(NEXT_UPDATE_S))?),
            revoked_certificates: Some(revoked).filter(|revoked| !revoked.is_empty()),
            crl_extensions: Some(vec![
                extension(&authority_key(Some(&self.certificate), &self.key.public_key())?)?,
                extension(&CrlNumber(der::asn1::Uint::new(&number.to_be_bytes())?))?,
            ]),
        };
        let der = signed(&list.to_der()?, &self.key)?;
        if der.len() > REVOCATIONS_BYTES_MAX {
            return Err(CertificateError::RevocationsFull);
        }
        Revocations::parse(der)
    }
}

/// The beginning of a name, in whole characters: names are ASCII.
fn short(name: &str) -> &str {
    name.get(..LABEL_BYTES_MAX).unwrap_or(name)
}

fn ed25519() -> AlgorithmIdentifierOwned {
    AlgorithmIdentifierOwned { oid: ED25519, parameters: None }
}

fn signed(content: &[u8], key: &SigningKey) -> Result<Vec<u8>, CertificateError> {
    let signature = key.sign(content);
    Ok(assemble(content, &ed25519().to_der()?, &signature.0)?)
}

/// A time in the form that X.509 wants: two digits of the year until 2049, four from then on.
fn time(seconds: u64) -> der::Result<Time> {
    let since = Duration::from_secs(seconds);
    match UtcTime::from_unix_duration(since) {
        Ok(time) => Ok(Time::UtcTime(time)),
        Err(_) => der::asn1::GeneralizedTime::from_unix_duration(since).map(Time::GeneralTime),
    }
}

/// A name of a single part, the common name.
fn x500(label: &str) -> der::Result<Name> {
    let value = Any::encode_from(&Utf8StringRef::new(label)?)?;
    let mut part = RelativeDistinguishedName::default();
    part.insert(AttributeTypeAndValue { oid: COMMON_NAME, value })?;
    let mut parts = RdnSequence::default();
    parts.push(part);
    Name::from_der(&parts.to_der()?)
}

/// A key's short name: any that tells keys apart will do [RFC 5280 §4.2.1.2].
fn key_identifier(key: &PublicKey) -> der::Result<OctetString> {
    OctetString::new(crate::hash(Domain::Member, &key.0).0)
}

fn authority_key(
    issuer: Option<&Certificate>,
    own: &PublicKey,
) -> der::Result<AuthorityKeyIdentifier> {
    // An issuer that another program made has its own way of naming its key.
    let named = issuer.and_then(|issuer| {
        let found = issuer.inner.tbs_certificate().get_extension::<SubjectKeyIdentifier>();
        found.ok().flatten().map(|(_, SubjectKeyIdentifier(name))| name)
    });
    let name = match named {
        Some(name) => name,
        None => key_identifier(&issuer.map_or(*own, Certificate::public_key))?,
    };
    Ok(AuthorityKeyIdentifier { key_identifier: Some(name), ..Default::default() })
}

fn extension<E>(extension: E) -> der::Result<Extension>
where
    E: ToExtension<Error = der::Error>,
{
    extension.to_extension(&Name::default(), &[])
}

fn extensions(subject: &Subject<'_>, issuer: Option<&Certificate>) -> der::Result<Extensions> {
    let basics = BasicConstraints { ca: subject.is_certifier, path_len_constraint: None };
    let usage: FlagSet<KeyUsages> = if subject.is_certifier {
        KeyUsages::KeyCertSign | KeyUsages::CRLSign
    } else {
        KeyUsages::DigitalSignature.into()
    };
    let uri = GeneralName::UniformResourceIdentifier(Ia5String::new(&subject.uri)?);
    let mut all = vec![
        extension(&basics)?,
        extension((true, &KeyUsage(usage)))?,
        extension((false, &SubjectAltName(vec![uri])))?,
        extension((false, &SubjectKeyIdentifier(key_identifier(&subject.key)?)))?,
        extension(&authority_key(issuer, &subject.key)?)?,
    ];
    if !subject.is_certifier {
        let usages = ExtendedKeyUsage(vec![CLIENT_AUTH, SERVER_AUTH]);
        all.push(extension((false, &usages))?);
    }
    Ok(all)
}

/// Signs a certificate; without an issuer by its own key.
fn sign(
    subject: &Subject<'_>,
    key: &SigningKey,
    issuer: Option<&Certificate>,
    lifetime: Lifetime,
) -> Result<Certificate, CertificateError> {
    let limit = issuer.map_or(u64::MAX, Certificate::not_after);
    let floor = issuer.map_or(0, Certificate::not_before);
    let not_before = lifetime.now.saturating_sub(BACKDATED_S).max(floor);
    let not_after = lifetime.now.saturating_add(lifetime.seconds).min(limit);
    if not_after <= lifetime.now {
        return Err(CertificateError::EmptyLifetime);
    }
    // Certifiers of the same zone differ in their keys, and so in their names: paths are found,
    // and lists of revocations attributed, by name.
    let [a, b, c, d, ..] = crate::hash(Domain::Member, &subject.key.0).0;
    let label = match subject.is_certifier {
        true => format!("{} {a:02x}{b:02x}{c:02x}{d:02x}", subject.label),
        false => subject.label.to_owned(),
    };
    let subject_name = x500(&label)?;
    let issuer_name = issuer.map(|issuer| issuer.inner.tbs_certificate().subject().clone());
    // 127 random bits, positive, none of them a leading zero byte.
    let mut serial: [u8; 16] = random();
    serial[0] = serial[0] & 0x7f | 0x40;
    let content = Content {
        version: Version::V3,
        serial: SerialNumber::new(&serial)?,
        signature: ed25519(),
        issuer: issuer_name.unwrap_or_else(|| subject_name.clone()),
        validity: Validity::new(time(not_before)?, time(not_after)?),
        subject: subject_name,
        key: spki(&subject.key)?,
        extensions: extensions(subject, issuer)?,
    };
    let der = signed(&content.to_der()?, key)?;
    Ok(Certificate::parse(der).expect("what was written a moment ago can be read"))
}
