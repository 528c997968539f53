//! What the door lets clients change, if they may: an agent under the development key, which keeps
//! nothing secret, lets everybody on the machine; any other whoever knows its token.

use std::fmt::Display;
use std::time::Duration;

use axum::Json;
use axum::body::Bytes;
use axum::extract::rejection::{BytesRejection, JsonRejection, QueryRejection};
use axum::extract::{FromRequestParts, Path, Query, State};
use axum::http::request::Parts;
use axum::http::{HeaderMap, StatusCode, header};
use serde::Deserialize;
use serde_json::{Map, Value as Json_};
use spinglass::{Draft, Keep, NewFunction};

use super::streams::one;
use super::{Door, Problem};
use crate::json::of_json;
use crate::told;

/// Whoever may change something.
#[derive(Debug)]
pub(super) struct Trusted;

impl FromRequestParts<Door> for Trusted {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, door: &Door) -> Result<Self, Problem> {
        let told = parts.headers.get(header::AUTHORIZATION).and_then(|it| it.to_str().ok());
        let told = told.and_then(|it| it.strip_prefix("Bearer "));
        match (door.settings.token.borrow().as_deref(), told) {
            (None, _) if door.settings.is_open => Ok(Self),
            (Some(token), Some(told)) if is_same(token, told) => Ok(Self),
            (Some(_), _) => Err(Problem::new(
                StatusCode::UNAUTHORIZED,
                "this needs the agent's token: Authorization: Bearer TOKEN",
            )),
            (None, _) => Err(Problem::new(
                StatusCode::FORBIDDEN,
                "this agent is only read by HTTP: start it with --http-token FILE",
            )),
        }
    }
}

/// Compares in a time that does not tell how much is right.
fn is_same(token: &str, told: &str) -> bool {
    let differs = token.bytes().zip(told.bytes()).fold(0, |sum, (a, b)| sum | (a ^ b));
    token.len() == told.len() && differs == 0
}

/// Attributes of the agent's own row, all or none; null removes one.
pub(super) async fn own(
    State(door): State<Door>,
    _: Trusted,
    attributes: Result<Json<Map<String, Json_>>, JsonRejection>,
) -> Result<StatusCode, Problem> {
    let Json(attributes) = attributes?;
    let table = door.node()?.table();
    let mut set = Vec::new();
    for (name, json) in &attributes {
        let value = of_json(json)
            .map_err(|error| Problem::new(StatusCode::BAD_REQUEST, format!("{name}: {error}")))?;
        set.push((name.as_str(), value));
    }
    table.set_all(set).await?;
    attributes.keys().for_each(|name| (door.settings.claims)(name));
    Ok(StatusCode::NO_CONTENT)
}

/// A function to install.
#[derive(Debug, Deserialize)]
pub(super) struct Installed {
    zone: String,
    name: String,
    sql: String,
    #[serde(default)]
    seconds: Option<u64>,
}

pub(super) async fn install(
    State(door): State<Door>,
    _: Trusted,
    installed: Result<Json<Installed>, JsonRejection>,
) -> Result<StatusCode, Problem> {
    let Json(Installed { zone, name, sql, seconds }) = installed?;
    let function = NewFunction { sql: &sql, lasts: seconds.map(Duration::from_secs) };
    told::install(&*door.node()?, &zone, &name, function).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// A function to remove.
#[derive(Debug, Deserialize)]
pub(super) struct Removed {
    zone: String,
    name: String,
}

pub(super) async fn remove(
    State(door): State<Door>,
    _: Trusted,
    removed: Result<Query<Removed>, QueryRejection>,
) -> Result<StatusCode, Problem> {
    let Query(Removed { zone, name }) = removed?;
    told::remove(&*door.node()?, &zone, &name).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Where a message's headers are told: HTTP's own are about the request.
const HEADERS: &str = "spinglass-headers";

/// How a message is published.
#[derive(Debug, Deserialize)]
pub(super) struct Published {
    keep: Option<usize>,
    #[serde(default)]
    for_all: bool,
}

/// The message, with the headers that it is given, a JSON object.
fn draft(message: Bytes, told: &HeaderMap) -> Result<Draft, Problem> {
    let bad =
        |error: &dyn Display| Problem::new(StatusCode::BAD_REQUEST, format!("{HEADERS}: {error}"));
    let Some(told) = told.get(HEADERS) else { return Ok(message.into()) };
    let headers: Map<String, Json_> =
        serde_json::from_slice(told.as_bytes()).map_err(|error| bad(&error))?;
    let draft = headers.iter().try_fold(Draft::from(message), |draft, (name, json)| {
        let value = of_json(json).map_err(|error| bad(&error))?;
        draft.header(name, value).map_err(|error| bad(&error))
    })?;
    draft.check().map_err(|error| bad(&error))?;
    Ok(draft)
}

/// The body is the message, whatever it is.
pub(super) async fn publish(
    State(door): State<Door>,
    _: Trusted,
    Path(topic): Path<String>,
    published: Result<Query<Published>, QueryRejection>,
    told: HeaderMap,
    message: Result<Bytes, BytesRejection>,
) -> Result<StatusCode, Problem> {
    let Query(Published { keep, for_all }) = published?;
    let draft = draft(message?, &told)?;
    let mut group = one(&*door.node()?, &topic)?;
    keep.into_iter().for_each(|messages| group.keep(Keep::Last(messages)));
    if for_all {
        group = group.for_all();
    }
    let sent = group.publish(draft).await;
    sent.map_err(|error| Problem::new(StatusCode::FORBIDDEN, error.to_string()))?;
    Ok(StatusCode::ACCEPTED)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_are_compared_whole() {
        assert!(is_same("abc", "abc"));
        assert!(!is_same("abc", "abd") && !is_same("abc", "ab") && !is_same("abc", "abcd"));
    }
}
