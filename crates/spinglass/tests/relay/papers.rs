//! A relay's certificate, and members' certificates, made for one test.

use std::fs;
use std::path::PathBuf;
use std::time::{SystemTime, UNIX_EPOCH};

use rcgen::{CertifiedKey, generate_simple_self_signed};
use spinglass::{Builder, Node, SigningKey};
use spinglass_core::identity::{SpiffeId, TrustDomain};
use spinglass_crypto::certificates::{Authority, Lifetime, Revocations, Verifier, load_chain};
use spinglass_relay::ServerTls;

/// A folder with a certificate for 127.0.0.1 and its key; gone with it.
pub(crate) struct Tls(PathBuf);

impl Tls {
    pub(crate) fn new(name: &str) -> Self {
        let name = format!("spinglass-relay-{name}-{}", std::process::id());
        let tls = Self(std::env::temp_dir().join(name));
        fs::create_dir_all(&tls.0).expect("a folder");
        let names = ["127.0.0.1".to_owned(), "localhost".to_owned()];
        let CertifiedKey { cert, signing_key } =
            generate_simple_self_signed(names).expect("a certificate");
        fs::write(tls.certificate(), cert.pem()).expect("a file");
        fs::write(tls.key(), signing_key.serialize_pem()).expect("a file");
        tls
    }

    pub(crate) fn certificate(&self) -> PathBuf {
        self.0.join("tls.crt")
    }

    pub(crate) fn key(&self) -> PathBuf {
        self.0.join("tls.key")
    }

    pub(crate) fn server(&self) -> ServerTls {
        ServerTls::load(&self.certificate(), &self.key()).expect("its own files")
    }
}

impl Drop for Tls {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// A root, and a folder with what it issued; gone with it.
pub(crate) struct Papers {
    folder: PathBuf,
    root: Authority,
    domain: TrustDomain,
}

fn lifetime() -> Lifetime {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970").as_secs();
    Lifetime { now, seconds: 3600 }
}

impl Papers {
    pub(crate) fn new(name: &str) -> Self {
        let folder = std::env::temp_dir().join(format!("spinglass-{name}-{}", std::process::id()));
        fs::create_dir_all(&folder).expect("a folder");
        let domain = TrustDomain::parse("example.org").expect("a domain");
        let root = Authority::root(&domain, SigningKey::generate(), lifetime()).expect("a root");
        fs::write(folder.join("root.crt"), root.certificate().pem()).expect("a file");
        Self { folder, root, domain }
    }

    pub(crate) fn verifier(&self) -> Verifier {
        let anchors = vec![self.root.certificate().clone()];
        Verifier::new(self.domain.clone(), anchors).expect("a root")
    }

    fn certificate(&self, name: &str) -> PathBuf {
        self.folder.join(name.replace('/', "-"))
    }

    /// A list with the certificate that a member of this name has now.
    pub(crate) fn revoke(&self, name: &str) -> Revocations {
        let chain = load_chain(&self.certificate(name)).expect("it was written");
        let serial = chain.first().expect("a certificate").serial();
        self.root.revoke(None, &[serial], lifetime().now).expect("it is the root's")
    }

    /// A member of this name with its own certificate.
    pub(crate) fn member(&self, name: &str) -> Builder {
        self.member_with(name, &SigningKey::generate())
    }

    /// The same with this key; its certificate is written anew.
    pub(crate) fn member_with(&self, name: &str, key: &SigningKey) -> Builder {
        let path = self.certificate(name);
        let name = SpiffeId::parse(&format!("spiffe://example.org{name}")).expect("a name");
        let issued = self.root.issue(&name, &key.public_key(), lifetime()).expect("within");
        fs::write(&path, self.root.chain_pem(&issued)).expect("a file");
        Node::builder()
            .signing_key(key.clone())
            .certificate_file(path)
            .trust_file(self.folder.join("root.crt"))
    }
}

impl Drop for Papers {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.folder);
    }
}
