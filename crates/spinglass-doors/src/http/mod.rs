//! The agent's HTTP door: health, metrics, the table, topics, and the console, which is a page that
//! uses nothing else.
//!
//! It serves programs of this machine alone: it listens on loopback, and answers only who calls it
//! by a name of loopback, so no web page can read it through a name of its own, nor send it
//! anything from another page. What is read needs no permission here: whoever has an account on
//! the machine may know what it knows. Who may change something is said in `changing`.
//!
//! Invariants: so many connections at once as `LIMITS` says, further ones wait to be accepted;
//! one that does not say what it wants in time is closed, and so makes room. All end with the door.

mod changing;
pub mod experiment;
mod metrics;
mod pages;
mod problem;
mod reading;
mod streams;

use std::fmt;
use std::net::IpAddr;
use std::sync::{Arc, Weak};
use std::time::Duration;

use axum::extract::{DefaultBodyLimit, Request as HttpRequest};
use axum::http::{HeaderMap, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use axum::routing::{get, patch, post};
use axum::{Router, middleware};
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use spinglass::Node;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, watch};

use crate::Claims;
use crate::accept::accept;
use experiment::Experiment;
pub use metrics::counters;
use problem::Problem;

/// What connections may take.
#[derive(Debug, Clone, Copy)]
struct Limits {
    /// Connections at once.
    connections: usize,
    /// How long one may take to say what it wants, at first and after each answer.
    request_within: Duration,
}

/// Dashboards, scripts and consoles of one machine need few.
const LIMITS: Limits = Limits { connections: 128, request_within: Duration::from_secs(30) };
/// Bytes of what a client sends: a message of a topic.
const BODY_BYTES_MAX: usize = 1 << 20;

/// How the door is to be.
pub struct Settings {
    /// Whether the agent joins by others: it is ready when it has met one.
    pub has_seeds: bool,
    /// What whoever would change something has to know; it may change while the door is open.
    pub token: watch::Receiver<Option<String>>,
    /// Without a token: whether everybody may change something.
    pub is_open: bool,
    /// Who hears which attributes clients set.
    pub claims: Claims,
    /// What the console shows beside the agent.
    pub experiment: Option<Experiment>,
}

impl fmt::Debug for Settings {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { has_seeds, is_open, .. } = self;
        let mut shown = formatter.debug_struct("Settings");
        shown.field("has_seeds", has_seeds).field("is_open", is_open).finish_non_exhaustive()
    }
}

/// What the door's handlers need.
#[derive(Debug, Clone)]
struct Door {
    node: Weak<Node>,
    settings: Arc<Settings>,
    streams: Arc<Semaphore>,
    /// Ends when the door does.
    closed: watch::Receiver<()>,
}

/// Serves until the task ends.
pub async fn serve(listener: TcpListener, node: Weak<Node>, settings: Settings) {
    let (_open, closed) = watch::channel(());
    let streams = Arc::new(Semaphore::new(streams::STREAMS_MAX));
    let door = Door { node, settings: Arc::new(settings), streams, closed };
    let summaries = get(reading::summaries).put(changing::install).delete(changing::remove);
    let router = Router::new()
        .route("/", get(pages::page))
        .route("/console.css", get(pages::style))
        .route("/console.js", get(pages::script))
        .route("/openapi.json", get(pages::openapi))
        .route("/healthz", get(reading::health))
        .route("/readyz", get(reading::readiness))
        .route("/metrics", get(reading::metrics))
        .route("/v1/agent", get(reading::agent))
        .route("/v1/stats", get(reading::stats))
        .route("/v1/members", get(reading::members))
        .route("/v1/zones", get(reading::own_zones))
        .route("/v1/zones/", get(reading::root))
        .route("/v1/zones/{*path}", get(reading::zone))
        .route("/v1/query", get(reading::query))
        .route("/v1/explain", post(reading::explain))
        .route("/v1/summaries", summaries)
        .route("/v1/self", patch(changing::own))
        .route("/v1/topics", get(reading::topics))
        .route("/v1/topics/{topic}", get(streams::topic).post(changing::publish))
        .route("/v1/topics/{topic}/ws", get(streams::web_socket))
        .route("/v1/events", get(streams::changes))
        .merge(experiment::routes())
        .fallback(nothing)
        .method_not_allowed_fallback(wrong_method)
        .layer(DefaultBodyLimit::max(BODY_BYTES_MAX))
        .layer(middleware::from_fn(called_by_loopback))
        .with_state(door);
    serve_within(LIMITS, listener, router).await;
}

async fn serve_within(limits: Limits, listener: TcpListener, router: Router) {
    let Limits { connections, request_within } = limits;
    accept(listener, connections, |stream| converse(stream, router.clone(), request_within)).await;
}

/// Answers one connection's requests.
async fn converse(stream: TcpStream, router: Router, request_within: Duration) {
    // Answers are small: they are not to wait for more to go with them.
    let _ = stream.set_nodelay(true);
    let mut server = http1::Builder::new();
    server.timer(TokioTimer::new()).header_read_timeout(request_within);
    let service = TowerToHyperService::new(router);
    let served = server.serve_connection(TokioIo::new(stream), service).with_upgrades();
    if let Err(error) = served.await {
        tracing::debug!(%error, "a connection to the HTTP door broke");
    }
}

impl Door {
    fn node(&self) -> Result<Arc<Node>, Problem> {
        let gone = || Problem::new(StatusCode::SERVICE_UNAVAILABLE, "the agent is leaving");
        self.node.upgrade().ok_or_else(gone)
    }

    /// Does something that outlives its request, until the door is closed.
    fn until_closed<T: Future<Output = ()>>(&self, task: T) -> impl Future<Output = ()> + use<T> {
        let mut closed = self.closed.clone();
        async move {
            tokio::select! {
                () = task => (),
                _ = closed.changed() => (),
            }
        }
    }
}

/// Refuses whoever calls this door by a name that is not loopback's: a web page whose own name was
/// made to lead here; and what a page of another origin sends.
async fn called_by_loopback(request: HttpRequest, next: Next) -> Response {
    let host = text(request.headers(), header::HOST);
    if !host.is_some_and(is_loopback) {
        let name = "call it 127.0.0.1, [::1] or localhost";
        return Problem::new(StatusCode::FORBIDDEN, name).into_response();
    }
    let origin = text(request.headers(), header::ORIGIN);
    let own = |origin: &str| origin.split_once("://").map(|(_, name)| name) == host;
    if origin.is_some_and(|origin| !own(origin)) {
        let name = "pages of other origins have nothing to do here";
        return Problem::new(StatusCode::FORBIDDEN, name).into_response();
    }
    next.run(request).await
}

fn text(headers: &HeaderMap, name: header::HeaderName) -> Option<&str> {
    headers.get(name).and_then(|value| value.to_str().ok())
}

fn is_loopback(host: &str) -> bool {
    let name = match host.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => name,
        _ => host,
    };
    let bare = name.trim_start_matches('[').trim_end_matches(']');
    name.eq_ignore_ascii_case("localhost")
        || bare.parse().is_ok_and(|address: IpAddr| address.is_loopback())
}

async fn nothing() -> Problem {
    let there = "there are the console at /, /healthz, /readyz, /metrics, and /v1/zones, \
                 /v1/query?sql=SELECT and more: see /openapi.json";
    Problem::new(StatusCode::NOT_FOUND, there)
}

async fn wrong_method() -> Problem {
    Problem::new(StatusCode::METHOD_NOT_ALLOWED, "/openapi.json says what can be done with what")
}

#[cfg(test)]
mod tests {
    use std::io::ErrorKind;
    use std::net::Ipv4Addr;

    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio::task::JoinSet;

    use super::*;

    /// With room for two, two that say nothing keep a third waiting until they are closed.
    #[tokio::test]
    async fn connections_that_say_nothing_take_room_for_a_while_only() {
        let limits = Limits { connections: 2, request_within: Duration::from_millis(300) };
        let router = Router::new().route("/", get(|| async { "here" }));
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let door = listener.local_addr().unwrap();
        let mut task = JoinSet::new();
        task.spawn(serve_within(limits, listener, router));
        let mut silent = TcpStream::connect(door).await.unwrap();
        let _second = TcpStream::connect(door).await.unwrap();
        let mut third = TcpStream::connect(door).await.unwrap();
        third.write_all(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n").await.unwrap();
        let mut answer = [0; 12];
        third.read_exact(&mut answer).await.unwrap();
        assert_eq!(&answer, b"HTTP/1.1 200");
        let closed = silent.try_read(&mut [0; 1]).map_err(|error| error.kind());
        assert!(matches!(closed, Ok(0) | Err(ErrorKind::ConnectionReset)), "{closed:?}");
        // Connections end with the door.
        task.shutdown().await;
        assert_eq!(silent.read(&mut [0; 1]).await.unwrap_or(0), 0);
        assert!(third.read_to_end(&mut Vec::new()).await.is_ok());
    }

    #[test]
    fn names_of_loopback_are_told_from_others() {
        let here = ["127.0.0.1", "127.0.0.1:7780", "localhost:7780", "LOCALHOST", "[::1]:7780"];
        assert!(here.into_iter().all(is_loopback));
        let others = ["example.org", "example.org:7780", "10.0.0.1:7780", "127.0.0.1.example", ""];
        assert!(!others.into_iter().any(is_loopback));
    }
}
