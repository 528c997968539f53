//! The agent's HTTP door, for reading: health, metrics, members, zones, queries.
//!
//! It serves programs of this machine alone: it listens on loopback, and answers only who calls it
//! by a name of loopback, so no web page can read it through a name of its own. What is read
//! needs no permission here: whoever has an account on the machine may know what it knows.
//!
//! Invariants: so many connections at once as [`LIMITS`] says, further ones wait to be accepted;
//! one that does not say what it wants in time is closed, and so makes room. All end with the door.

use std::net::IpAddr;
use std::sync::{Arc, Weak};
use std::time::Duration;

use axum::extract::rejection::QueryRejection;
use axum::extract::{Path, Query, Request as HttpRequest, State};
use axum::http::{StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Json, Router, middleware};
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use serde::{Deserialize, Serialize};
use spinglass::Node;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;

use super::metrics::exposition;
use super::protocol::{Answer, HostsTold, MemberTold, Request, ZoneTold};
use super::server::answer;

/// What connections may take.
#[derive(Debug, Clone, Copy)]
struct Limits {
    /// Connections at once.
    connections: usize,
    /// How long one may take to say what it wants, at first and after each answer.
    request_within: Duration,
}

/// Dashboards and scripts of one machine need few.
const LIMITS: Limits = Limits { connections: 64, request_within: Duration::from_secs(30) };
/// How long to wait when no connection can be accepted: for want of files, say.
const ACCEPT_AGAIN: Duration = Duration::from_secs(1);
/// Time for a query that says none.
const QUERY_WITHIN_MS: u64 = 3000;
/// The longest that a query may take.
const QUERY_WITHIN_MAX_MS: u64 = 60_000;
const EXPOSITION: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// What the door's handlers need: the node, while it lives, and whether it joins by others.
#[derive(Debug, Clone)]
struct Door {
    node: Weak<Node>,
    has_seeds: bool,
}

/// Something that can't be done, as RFC 9457 has it told.
#[derive(Debug, Serialize)]
struct Problem {
    status: u16,
    title: &'static str,
    detail: String,
}

impl Problem {
    fn new(status: StatusCode, detail: impl Into<String>) -> Self {
        let title = status.canonical_reason().unwrap_or("Error");
        Self { status: status.as_u16(), title, detail: detail.into() }
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let status = StatusCode::from_u16(self.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let kind = [(header::CONTENT_TYPE, "application/problem+json")];
        (status, kind, Json(self)).into_response()
    }
}

/// Serves until the task ends.
pub(super) async fn serve(listener: TcpListener, node: Weak<Node>, has_seeds: bool) {
    let door = Door { node, has_seeds };
    let router = Router::new()
        .route("/healthz", get(health))
        .route("/readyz", get(readiness))
        .route("/metrics", get(metrics))
        .route("/v1/members", get(members))
        .route("/v1/zones", get(own_zones))
        .route("/v1/zones/", get(root))
        .route("/v1/zones/{*path}", get(zone))
        .route("/v1/query", get(query))
        .fallback(nothing)
        .layer(middleware::from_fn(called_by_loopback))
        .with_state(door);
    accept(listener, router, LIMITS).await;
}

/// Answers connections until the task ends, and they with it.
async fn accept(listener: TcpListener, router: Router, limits: Limits) {
    let room = Arc::new(Semaphore::new(limits.connections));
    let mut connections = JoinSet::new();
    loop {
        let Ok(permit) = Arc::clone(&room).acquire_owned().await else { return };
        while connections.try_join_next().is_some() {}
        let Ok((stream, _)) = listener.accept().await else {
            tokio::time::sleep(ACCEPT_AGAIN).await;
            continue;
        };
        let router = router.clone();
        connections.spawn(async move {
            converse(stream, router, limits.request_within).await;
            drop(permit);
        });
    }
}

/// Answers one connection's requests.
async fn converse(stream: TcpStream, router: Router, request_within: Duration) {
    // Answers are small: they are not to wait for more to go with them.
    let _ = stream.set_nodelay(true);
    let mut server = http1::Builder::new();
    server.timer(TokioTimer::new()).header_read_timeout(request_within);
    let service = TowerToHyperService::new(router);
    if let Err(error) = server.serve_connection(TokioIo::new(stream), service).await {
        tracing::debug!(%error, "a connection to the HTTP door broke");
    }
}

impl Door {
    fn node(&self) -> Result<Arc<Node>, Problem> {
        let gone = || Problem::new(StatusCode::SERVICE_UNAVAILABLE, "the agent is leaving");
        self.node.upgrade().ok_or_else(gone)
    }

    async fn ask(&self, request: Request) -> Result<Answer, Problem> {
        let node = self.node()?;
        let told = answer(request, &node).await;
        told.map_err(|error| Problem::new(StatusCode::BAD_REQUEST, format!("{error:#}")))
    }
}

/// Refuses whoever calls this door by a name that is not loopback's: a web page whose own name was
/// made to lead here.
async fn called_by_loopback(request: HttpRequest, next: Next) -> Response {
    let host = request.headers().get(header::HOST).and_then(|host| host.to_str().ok());
    if host.is_some_and(is_loopback) {
        return next.run(request).await;
    }
    Problem::new(StatusCode::FORBIDDEN, "call it 127.0.0.1, [::1] or localhost").into_response()
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
    let there = "there are /healthz, /readyz, /metrics, /v1/members, /v1/zones, /v1/zones/PATH and \
                 /v1/query?sql=SELECT";
    Problem::new(StatusCode::NOT_FOUND, there)
}

/// What `/healthz` and `/readyz` say.
#[derive(Debug, Serialize)]
struct Health {
    status: &'static str,
    members: usize,
}

async fn health(State(door): State<Door>) -> Result<Json<Health>, Problem> {
    let node = door.node()?;
    // It takes an answer of the node's own task: one that hangs gives none.
    let answered = tokio::time::timeout(Duration::from_secs(1), node.stats()).await;
    match answered {
        Ok(_) => Ok(Json(Health { status: "ok", members: node.member_count() })),
        Err(_) => Err(Problem::new(StatusCode::SERVICE_UNAVAILABLE, "the agent does not answer")),
    }
}

async fn readiness(State(door): State<Door>) -> Result<Json<Health>, Problem> {
    let Json(health) = health(State(door.clone())).await?;
    if door.has_seeds && health.members < 2 {
        let alone = "it has not met anybody yet of those by whom it joins";
        return Err(Problem::new(StatusCode::SERVICE_UNAVAILABLE, alone));
    }
    Ok(Json(Health { status: "ready", ..health }))
}

async fn metrics(State(door): State<Door>) -> Result<Response, Problem> {
    let node = door.node()?;
    let text = exposition(&node.stats().await, node.member_count());
    let text = text.map_err(|error| {
        Problem::new(StatusCode::INTERNAL_SERVER_ERROR, format!("no metrics: {error}"))
    })?;
    Ok(([(header::CONTENT_TYPE, EXPOSITION)], text).into_response())
}

async fn members(State(door): State<Door>) -> Result<Json<Vec<MemberTold>>, Problem> {
    let Answer::Members(members) = door.ask(Request::Members).await? else { return Err(odd()) };
    Ok(Json(members))
}

async fn zones(door: &Door, zone: Option<String>) -> Result<Vec<ZoneTold>, Problem> {
    let Answer::Zones(zones) = door.ask(Request::Zones { zone }).await? else { return Err(odd()) };
    Ok(zones)
}

async fn own_zones(State(door): State<Door>) -> Result<Json<Vec<ZoneTold>>, Problem> {
    zones(&door, None).await.map(Json)
}

async fn one_zone(door: &Door, path: String) -> Result<Json<ZoneTold>, Problem> {
    zones(door, Some(path)).await?.pop().map(Json).ok_or_else(odd)
}

async fn root(State(door): State<Door>) -> Result<Json<ZoneTold>, Problem> {
    one_zone(&door, "/".into()).await
}

async fn zone(
    State(door): State<Door>,
    Path(path): Path<String>,
) -> Result<Json<ZoneTold>, Problem> {
    one_zone(&door, format!("/{path}")).await
}

/// What a query says of itself.
#[derive(Debug, Deserialize)]
struct Asked {
    sql: String,
    #[serde(default)]
    zone: Option<String>,
    #[serde(default)]
    within_ms: Option<u64>,
}

async fn query(
    State(door): State<Door>,
    asked: Result<Query<Asked>, QueryRejection>,
) -> Result<Json<HostsTold>, Problem> {
    let asked = asked.map_err(|error| Problem::new(StatusCode::BAD_REQUEST, error.body_text()))?;
    let Query(Asked { sql, zone, within_ms }) = asked;
    let within_ms = within_ms.unwrap_or(QUERY_WITHIN_MS).min(QUERY_WITHIN_MAX_MS);
    let zone = zone.unwrap_or_else(|| "/".into());
    let Answer::Hosts(hosts) = door.ask(Request::Query { sql, zone, within_ms }).await? else {
        return Err(odd());
    };
    Ok(Json(hosts))
}

fn odd() -> Problem {
    Problem::new(StatusCode::INTERNAL_SERVER_ERROR, "the agent answered something else")
}

#[cfg(test)]
mod tests {
    use std::io::ErrorKind;
    use std::net::Ipv4Addr;

    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

    use super::*;

    /// With room for two, two that say nothing keep a third waiting until they are closed.
    #[tokio::test]
    async fn connections_that_say_nothing_take_room_for_a_while_only() {
        let limits = Limits { connections: 2, request_within: Duration::from_millis(300) };
        let router = Router::new().route("/", get(|| async { "here" }));
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let door = listener.local_addr().unwrap();
        let mut task = JoinSet::new();
        task.spawn(accept(listener, router, limits));
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
