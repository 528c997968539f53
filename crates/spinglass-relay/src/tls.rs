//! TLS 1.3 and nothing older, on both sides, and what ties a proof to one connection.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls_pki_types::pem::PemObject as _;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::crypto::aws_lc_rs;
use tokio_rustls::rustls::server::WebPkiClientVerifier;
use tokio_rustls::rustls::server::danger::ClientCertVerifier;
use tokio_rustls::rustls::version::TLS13;
use tokio_rustls::rustls::{ClientConfig, ConnectionCommon, RootCertStore, ServerConfig};

use crate::error::RelayError;
use crate::message::Nonce;

/// What keeps the exported secret from being one for anything else (RFC 5705, section 4).
const EXPORTER_LABEL: &[u8] = b"EXPORTER-spinglass-relay-v1";
/// The protocol that is spoken inside: WebSockets begin as HTTP/1.1.
const ALPN: &[u8] = b"http/1.1";

/// A relay's side of TLS.
#[derive(Debug, Clone)]
pub struct ServerTls(pub(crate) Arc<ServerConfig>);

impl ServerTls {
    /// What accepts TLS with this certificate for another protocol, by its name in ALPN.
    #[must_use]
    pub fn acceptor(&self, protocol: &[u8]) -> TlsAcceptor {
        let mut config = ServerConfig::clone(&self.0);
        config.alpn_protocols = vec![protocol.to_vec()];
        TlsAcceptor::from(Arc::new(config))
    }

    /// With the certificates in one file, the server's first, and its key in another, in PEM.
    ///
    /// # Errors
    /// A file can't be read or holds none, or the two do not belong together.
    pub fn load(certificate: &Path, key: &Path) -> Result<Self, RelayError> {
        Self::with_clients(certificate, key, WebPkiClientVerifier::no_client_auth())
    }

    /// The same, and asks clients for a certificate that one of the certifiers in a file, in PEM,
    /// has given. Whoever has none is let in, too; one by anybody else is refused.
    ///
    /// # Errors
    /// As [`load`](Self::load).
    pub fn load_asking(
        certificate: &Path,
        key: &Path,
        certifiers: &Path,
    ) -> Result<Self, RelayError> {
        let bad = |what: String| RelayError::File { path: certifiers.into(), what };
        let provider = Arc::new(aws_lc_rs::default_provider());
        let roots = Arc::new(roots(&[certifiers.into()])?);
        let verifier = WebPkiClientVerifier::builder_with_provider(roots, provider)
            .allow_unauthenticated()
            .build()
            .map_err(|error| bad(error.to_string()))?;
        Self::with_clients(certificate, key, verifier)
    }

    fn with_clients(
        certificate: &Path,
        key: &Path,
        clients: Arc<dyn ClientCertVerifier>,
    ) -> Result<Self, RelayError> {
        let chain = certificates(certificate)?;
        let bad = |what: String| RelayError::File { path: key.into(), what };
        let key = PrivateKeyDer::from_pem_file(key).map_err(|error| bad(error.to_string()))?;
        let config = ServerConfig::builder_with_provider(aws_lc_rs::default_provider().into())
            .with_protocol_versions(&[&TLS13])
            .and_then(|builder| {
                builder.with_client_cert_verifier(clients).with_single_cert(chain, key)
            });
        let mut config = config.map_err(|error| bad(error.to_string()))?;
        config.alpn_protocols = vec![ALPN.to_vec()];
        Ok(Self(Arc::new(config)))
    }
}

/// A member's side of TLS.
#[derive(Debug, Clone)]
pub struct ClientTls(pub(crate) Arc<ClientConfig>);

impl ClientTls {
    /// Trusts the roots in these files, in PEM; with none, those that the system trusts.
    ///
    /// # Errors
    /// A file can't be read or holds none, or the system has none.
    pub fn load(roots: &[PathBuf]) -> Result<Self, RelayError> {
        let mut store = self::roots(roots)?;
        if roots.is_empty() {
            store.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
        }
        if store.is_empty() {
            return Err(RelayError::NoRoots);
        }
        let config = ClientConfig::builder_with_provider(aws_lc_rs::default_provider().into())
            .with_protocol_versions(&[&TLS13])
            .map_err(|error| RelayError::Tls(error.to_string()))?;
        let mut config = config.with_root_certificates(store).with_no_client_auth();
        config.alpn_protocols = vec![ALPN.to_vec()];
        Ok(Self(Arc::new(config)))
    }
}

fn roots(files: &[PathBuf]) -> Result<RootCertStore, RelayError> {
    let mut store = RootCertStore::empty();
    for path in files {
        let bad = |what: String| RelayError::File { path: path.clone(), what };
        for root in certificates(path)? {
            store.add(root).map_err(|error| bad(error.to_string()))?;
        }
    }
    Ok(store)
}

fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, RelayError> {
    let bad = |what: String| RelayError::File { path: path.into(), what };
    let found = CertificateDer::pem_file_iter(path).and_then(Iterator::collect);
    let found: Vec<_> = found.map_err(|error| bad(error.to_string()))?;
    if found.is_empty() { Err(bad("it holds no certificate".into())) } else { Ok(found) }
}

/// A secret that only the two ends of this very connection know: a proof about it is of no use on
/// any other, so that whoever is in between can't pass it on.
pub(crate) fn binding<Data>(
    connection: &ConnectionCommon<Data>,
    nonce: &Nonce,
) -> Option<[u8; 32]> {
    connection.export_keying_material([0; 32], EXPORTER_LABEL, Some(nonce)).ok()
}
