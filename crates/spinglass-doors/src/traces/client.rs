//! How spans get to a collector: HTTP/1.1, with TLS where the collector's URL says https.

use std::error::Error;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use axum::http::{Request, Response};
use bytes::Bytes;
use http_body_util::{BodyExt as _, Full, Limited};
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::Client as HyperClient;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use opentelemetry_http::{HttpClient, HttpError};
use tokio_rustls::rustls::crypto::aws_lc_rs;
use tokio_rustls::rustls::version::TLS13;
use tokio_rustls::rustls::{ClientConfig, RootCertStore};

/// How long an answer may take.
const ANSWER_WITHIN: Duration = Duration::from_secs(10);
/// Bytes of an answer: it says how many spans were taken.
const ANSWER_BYTES_MAX: usize = 64 << 10;

/// A client that remembers why its last request failed, which the exporter keeps to itself.
#[derive(Debug, Clone)]
pub(super) struct Client {
    inner: HyperClient<HttpsConnector<HttpConnector>, Full<Bytes>>,
    failure: Arc<Mutex<Option<String>>>,
}

impl Client {
    /// A client that trusts whom the system trusts: nobody, where it has no certificates, which
    /// plain HTTP does not need.
    ///
    /// # Errors
    /// There is no TLS 1.3.
    pub(super) fn new() -> Result<Self, tokio_rustls::rustls::Error> {
        let mut roots = RootCertStore::empty();
        roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
        let tls = ClientConfig::builder_with_provider(aws_lc_rs::default_provider().into())
            .with_protocol_versions(&[&TLS13])?
            .with_root_certificates(roots)
            .with_no_client_auth();
        let connector = HttpsConnectorBuilder::new()
            .with_tls_config(tls)
            .https_or_http()
            .enable_http1()
            .build();
        let inner = HyperClient::builder(TokioExecutor::new()).build(connector);
        Ok(Self { inner, failure: Arc::default() })
    }

    /// Why the last request got no answer, if so.
    pub(super) fn take_failure(&self) -> Option<String> {
        self.failure.lock().unwrap_or_else(PoisonError::into_inner).take()
    }

    async fn answer(&self, request: Request<Bytes>) -> Result<Response<Bytes>, HttpError> {
        let response = self.inner.request(request.map(Full::from)).await?;
        let (parts, body) = response.into_parts();
        let body = Limited::new(body, ANSWER_BYTES_MAX).collect().await?;
        Ok(Response::from_parts(parts, body.to_bytes()))
    }
}

#[async_trait]
impl HttpClient for Client {
    async fn send_bytes(&self, request: Request<Bytes>) -> Result<Response<Bytes>, HttpError> {
        let answer = tokio::time::timeout(ANSWER_WITHIN, self.answer(request)).await;
        let answer = answer.unwrap_or_else(|_| Err("it does not answer".into()));
        let failure = answer.as_ref().err().map(|error| root_of(error.as_ref()).to_string());
        *self.failure.lock().unwrap_or_else(PoisonError::into_inner) = failure;
        answer
    }
}

/// What an error is about in the end.
fn root_of<'a>(error: &'a (dyn Error + 'static)) -> &'a (dyn Error + 'static) {
    let mut root = error;
    while let Some(source) = root.source() {
        root = source;
    }
    root
}
