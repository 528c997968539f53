//! What the door tells.

use std::collections::BTreeMap;
use std::time::Duration;

use axum::Json;
use axum::extract::rejection::{JsonRejection, QueryRejection};
use axum::extract::{Path, Query, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse as _, Response};
use serde::{Deserialize, Serialize};

use super::metrics::{counters, exposition};
use super::{Door, Problem};
use crate::told::{self, Explained, HostsTold, MemberTold, SummaryTold, TopicTold, ZoneTold};

/// Time for a query that says none.
const QUERY_WITHIN_MS: u64 = 3000;
/// The longest that a query may take.
const QUERY_WITHIN_MAX_MS: u64 = 60_000;
const EXPOSITION: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// What `/healthz` and `/readyz` say.
#[derive(Debug, Serialize)]
pub(super) struct Health {
    status: &'static str,
    members: usize,
}

/// What `/v1/agent` says.
#[derive(Debug, Serialize)]
pub(super) struct AgentTold {
    id: String,
    name: String,
    region: String,
    address: String,
    members: usize,
    version: &'static str,
    /// Whether this door lets whoever comes change something, without a token.
    open: bool,
    /// Whether there is an experiment to look at.
    experiment: bool,
}

pub(super) async fn health(State(door): State<Door>) -> Result<Json<Health>, Problem> {
    let node = door.node()?;
    // It takes an answer of the node's own task: one that hangs gives none.
    let answered = tokio::time::timeout(Duration::from_secs(1), node.stats()).await;
    match answered {
        Ok(_) => Ok(Json(Health { status: "ok", members: node.member_count() })),
        Err(_) => Err(Problem::new(StatusCode::SERVICE_UNAVAILABLE, "the agent does not answer")),
    }
}

pub(super) async fn readiness(State(door): State<Door>) -> Result<Json<Health>, Problem> {
    let Json(health) = health(State(door.clone())).await?;
    if door.settings.has_seeds && health.members < 2 {
        let alone = "it has not met anybody yet of those by whom it joins";
        return Err(Problem::new(StatusCode::SERVICE_UNAVAILABLE, alone));
    }
    Ok(Json(Health { status: "ready", ..health }))
}

pub(super) async fn metrics(State(door): State<Door>) -> Result<Response, Problem> {
    let node = door.node()?;
    let text = exposition(&node.stats().await, node.member_count());
    let text = text.map_err(|error| {
        Problem::new(StatusCode::INTERNAL_SERVER_ERROR, format!("no metrics: {error}"))
    })?;
    Ok(([(header::CONTENT_TYPE, EXPOSITION)], text).into_response())
}

/// The same counters for the console, which has no parser of expositions.
pub(super) async fn stats(
    State(door): State<Door>,
) -> Result<Json<BTreeMap<String, u64>>, Problem> {
    Ok(Json(counters(&door.node()?.stats().await)))
}

pub(super) async fn agent(State(door): State<Door>) -> Result<Json<AgentTold>, Problem> {
    let node = door.node()?;
    let table = node.table();
    let own = table.own().await?;
    Ok(Json(AgentTold {
        id: node.id().to_string(),
        name: own.get("id").and_then(|id| id.as_text()).unwrap_or_default().to_owned(),
        region: table.region().await?.to_string(),
        address: node.local_addr().to_string(),
        members: node.member_count(),
        version: env!("CARGO_PKG_VERSION"),
        open: door.settings.is_open,
        experiment: door.settings.experiment.is_some(),
    }))
}

pub(super) async fn members(State(door): State<Door>) -> Result<Json<Vec<MemberTold>>, Problem> {
    Ok(Json(told::members(&*door.node()?).await))
}

pub(super) async fn topics(State(door): State<Door>) -> Result<Json<Vec<TopicTold>>, Problem> {
    Ok(Json(told::topics(&*door.node()?).await))
}

pub(super) async fn own_zones(State(door): State<Door>) -> Result<Json<Vec<ZoneTold>>, Problem> {
    Ok(Json(told::zones(&*door.node()?, None).await?))
}

async fn one_zone(door: &Door, path: &str) -> Result<Json<ZoneTold>, Problem> {
    let found = told::zones(&*door.node()?, Some(path)).await?.pop();
    found.map(Json).ok_or_else(|| Problem::new(StatusCode::NOT_FOUND, "there is no such zone"))
}

pub(super) async fn root(State(door): State<Door>) -> Result<Json<ZoneTold>, Problem> {
    one_zone(&door, "/").await
}

pub(super) async fn zone(
    State(door): State<Door>,
    Path(path): Path<String>,
) -> Result<Json<ZoneTold>, Problem> {
    one_zone(&door, &format!("/{path}")).await
}

/// What a query says of itself.
#[derive(Debug, Deserialize)]
pub(super) struct Asked {
    sql: String,
    #[serde(default)]
    zone: Option<String>,
    #[serde(default)]
    within_ms: Option<u64>,
}

pub(super) async fn query(
    State(door): State<Door>,
    asked: Result<Query<Asked>, QueryRejection>,
) -> Result<Json<HostsTold>, Problem> {
    let Query(Asked { sql, zone, within_ms }) = asked?;
    let within = within_ms.unwrap_or(QUERY_WITHIN_MS).min(QUERY_WITHIN_MAX_MS);
    let zone = zone.as_deref().unwrap_or("/");
    let node = door.node()?;
    Ok(Json(told::hosts(&node, zone, &sql, Duration::from_millis(within)).await?))
}

/// Which zone's functions are asked for.
#[derive(Debug, Deserialize)]
pub(super) struct OfZone {
    #[serde(default)]
    zone: Option<String>,
}

pub(super) async fn summaries(
    State(door): State<Door>,
    zone: Result<Query<OfZone>, QueryRejection>,
) -> Result<Json<Vec<SummaryTold>>, Problem> {
    let Query(OfZone { zone }) = zone?;
    Ok(Json(told::summaries(&*door.node()?, zone.as_deref()).await?))
}

/// A function to try.
#[derive(Debug, Deserialize)]
pub(super) struct Tried {
    zone: String,
    sql: String,
}

pub(super) async fn explain(
    State(door): State<Door>,
    tried: Result<Json<Tried>, JsonRejection>,
) -> Result<Json<Explained>, Problem> {
    let Json(Tried { zone, sql }) = tried?;
    Ok(Json(told::explain(&*door.node()?, &zone, &sql).await?))
}
