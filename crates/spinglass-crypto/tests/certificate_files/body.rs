//! What the fuzz target `certificates` asserts: certificates, lists of revocations and files of
//! them are read totally, and what is read encodes to the same bytes.

use std::path::Path;
use std::sync::LazyLock;

use spinglass_core::identity::{Certified, TrustDomain};
use spinglass_crypto::certificates::{Certificate, Revocations, Verifier, chain_of, parse_chain};

/// When the corpus holds, in seconds since 1970.
pub const NOW: u64 = 1_800_000_000;

/// Trusts the root of the corpus.
static VERIFIER: LazyLock<Verifier> = LazyLock::new(|| {
    let root = include_bytes!("../../../../fuzz/corpus/certificates/seed-root.der").to_vec();
    let root = Certificate::parse(root).expect("a root");
    let domain = TrustDomain::parse("example.org").expect("a name");
    Verifier::new(domain, vec![root]).expect("one root")
});

/// Bytes as a certificate, as a list, and as a file of certificates.
pub fn certificates(bytes: &[u8]) {
    if let Ok(certificate) = Certificate::parse(bytes.to_vec()) {
        assert_eq!(certificate.der(), bytes);
        let pem = certificate.pem();
        let again = parse_chain(pem.as_bytes(), Path::new("again")).expect("written just now");
        assert_eq!(again.first().map(Certificate::der), Some(bytes));
        let _ = (certificate.member(), certificate.scope(), certificate.check_time(NOW));
        let _ = (certificate.subject(), certificate.issuer(), format!("{certificate:?}"));
    }
    if let Ok(list) = Revocations::parse(bytes.to_vec()) {
        assert_eq!(list.der(), bytes);
        let again = Revocations::parse_pem(list.pem().as_bytes(), Path::new("again"));
        assert_eq!(again.expect("written just now").der(), bytes);
        assert!(list.revoked().all(|(serial, _)| serial.len() <= 21));
    }
    if let Ok(chain) = parse_chain(bytes, Path::new("a chain")) {
        let chain = chain_of(&chain).expect("a file holds no more than a chain may");
        if let Ok(certified) = Certified::verify(&chain, NOW, &*VERIFIER) {
            assert_eq!(certified.name().to_string(), "spiffe://example.org/usa/ithaca/n1");
        }
    }
}
