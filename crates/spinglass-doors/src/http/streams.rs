//! What the door tells as it happens: by server-sent events, and by WebSocket.
//!
//! A client that is too slow slows nobody: what does not fit into its subscription's queue is told
//! as missed. So many streams at once as [`STREAMS_MAX`]: the other connections stay free.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use axum::extract::rejection::QueryRejection;
use axum::extract::{Path, Query, Request, State};
use axum::http::{StatusCode, header};
use axum::response::sse::{Event as Told, KeepAlive, Sse};
use axum::response::{IntoResponse as _, Response};
use futures_util::stream::{self, Stream};
use futures_util::{SinkExt as _, StreamExt as _};
use hyper_util::rt::TokioIo;
use serde::Deserialize;
use serde_json::{Value as Json, json};
use spinglass::{Event, Filter, Group, Node, Pattern, PatternError, Subscription, Table, Wanted};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;
use tokio_tungstenite::tungstenite::protocol::{Role, WebSocketConfig};

use super::changing::Trusted;
use super::{Door, Problem};
use crate::events::{self, MemberEvent};
use crate::json::row_to_json;

/// Streams at once.
pub(super) const STREAMS_MAX: usize = 48;
/// How often a client is told at most that the table has changed.
const CHANGES_EVERY: Duration = Duration::from_millis(500);
/// Bytes of a message that a WebSocket's client publishes.
const MESSAGE_BYTES_MAX: usize = 1 << 20;

/// Room for a stream.
fn room(streams: &Arc<Semaphore>) -> Result<OwnedSemaphorePermit, Problem> {
    let full = "too many streams are open: close some";
    let permit = Arc::clone(streams).try_acquire_owned();
    permit.map_err(|_| Problem::new(StatusCode::TOO_MANY_REQUESTS, full))
}

/// What one client of `/v1/events` is told from.
struct Changes {
    table: Table,
    members: Subscription,
    _room: OwnedSemaphorePermit,
}

/// That the table has changed, and what becomes of members.
pub(super) async fn changes(
    State(door): State<Door>,
) -> Result<Sse<impl Stream<Item = Result<Told, Infallible>>>, Problem> {
    let node = door.node()?;
    let members = events::subscribe(&node);
    let state = Changes { table: node.table(), members, _room: room(&door.streams)? };
    let told = stream::unfold(state, |mut state| async move {
        loop {
            let told = tokio::select! {
                changed = state.table.changed() => {
                    changed.ok()?;
                    tokio::time::sleep(CHANGES_EVERY).await;
                    Some(Told::default().event("table").data("changed"))
                }
                event = state.members.next() => MemberEvent::of(&event?).map(|event| {
                    let MemberEvent { at, kind, member, detail } = event;
                    let data =
                        json!({"at": at, "kind": kind, "member": member, "detail": detail});
                    Told::default().event("member").data(data.to_string())
                }),
            };
            if let Some(told) = told {
                return Some((Ok(told), state));
            }
        }
    });
    Ok(Sse::new(told).keep_alive(KeepAlive::default()))
}

/// What of a topic is told.
#[derive(Debug, Deserialize)]
pub(super) struct Asked {
    #[serde(default)]
    buffered: bool,
    /// A condition on headers.
    #[serde(rename = "where")]
    only: Option<String>,
    /// Each message as an object that tells its topic, its sender and its headers, too.
    #[serde(default)]
    json: bool,
}

impl Asked {
    fn wanted(&self) -> Result<Wanted, Problem> {
        let wanted = if self.buffered { Wanted::buffered() } else { Wanted::live() };
        let Some(only) = &self.only else { return Ok(wanted) };
        let bad = |error| Problem::new(StatusCode::BAD_REQUEST, format!("where: {error}"));
        Ok(wanted.only(Filter::parse(only).map_err(bad)?))
    }
}

/// A topic, if it is one, and not a pattern.
pub(super) fn one(node: &Node, topic: &str) -> Result<Group, Problem> {
    if Pattern::has_wildcards(topic) {
        let detail =
            "this is a pattern: name one topic; what matches is read by GET, as server-sent events";
        return Err(Problem::new(StatusCode::BAD_REQUEST, detail));
    }
    Ok(node.group(topic))
}

fn subscribed(group: &Group, wanted: Wanted) -> Result<Subscription, Problem> {
    let allowed = group.may_subscribe();
    allowed.map_err(|error| Problem::new(StatusCode::FORBIDDEN, error.to_string()))?;
    Ok(group.subscribe_to(wanted))
}

/// A topic's messages, or those of all topics that a pattern matches, each with its topic for an
/// id.
pub(super) async fn topic(
    State(door): State<Door>,
    Path(topic): Path<String>,
    asked: Result<Query<Asked>, QueryRejection>,
) -> Result<Sse<impl Stream<Item = Result<Told, Infallible>>>, Problem> {
    let (Query(asked), node) = (asked?, door.node()?);
    let wanted = asked.wanted()?;
    let is_pattern = Pattern::has_wildcards(&topic);
    let subscription = if is_pattern {
        let groups = node.groups(&topic);
        let bad = |error: PatternError| Problem::new(StatusCode::BAD_REQUEST, error.to_string());
        groups.map_err(bad)?.subscribe_to(wanted)
    } else {
        subscribed(&node.group(&topic), wanted)?
    };
    let state = (subscription, Arc::downgrade(&node), room(&door.streams)?);
    let told = stream::unfold(state, move |(mut subscription, node, room)| async move {
        loop {
            let event = subscription.next().await?;
            let Some(mut told) = of_event(&event) else { continue };
            if let Event::Message(message) = &event {
                let topic = node.upgrade()?.topic_text(message.stream.topic);
                if asked.json {
                    told = Told::default().data(as_json(message, topic.as_deref()).to_string());
                }
                if is_pattern {
                    // Whatever would end the line is in no id.
                    let topic = topic.filter(|text| !text.contains(['\n', '\r', '\0']));
                    told = told.id(topic.as_deref().unwrap_or_default());
                }
            }
            return Some((Ok(told), (subscription, node, room)));
        }
    });
    Ok(Sse::new(told).keep_alive(KeepAlive::default()))
}

/// A message and what is known of it; its bytes, if they are no text, in hex.
fn as_json(message: &spinglass::Message, topic: Option<&str>) -> Json {
    let (name, said) = match std::str::from_utf8(&message.payload) {
        Ok(text) => ("text", text.to_owned()),
        Err(_) => ("hex", hex(&message.payload)),
    };
    json!({
        "topic": topic,
        "from": message.stream.sender.to_string(),
        "for_all": message.stream.topic.is_for_all(),
        "headers": row_to_json(&message.headers),
        name: said,
    })
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn of_event(event: &Event) -> Option<Told> {
    Some(match event {
        Event::Message(message) => match std::str::from_utf8(&message.payload) {
            // A line's end of its own is not one in a stream of events.
            Ok(text) if !text.contains('\r') => Told::default().data(text),
            _ => Told::default().event("bytes").data(hex(&message.payload)),
        },
        Event::Lagged(lagged) => missed(&format!("{} messages", lagged.messages)),
        Event::Gap(gap) => missed(&format!("{} packets", gap.packets)),
        _ => return None,
    })
}

fn missed(what: &str) -> Told {
    Told::default().event("missed").data(what)
}

/// A topic's messages by WebSocket, both ways: what the client sends is published.
pub(super) async fn web_socket(
    State(door): State<Door>,
    trusted: Result<Trusted, Problem>,
    Path(topic): Path<String>,
    asked: Result<Query<Asked>, QueryRejection>,
    mut request: Request,
) -> Result<Response, Problem> {
    let key = request.headers().get(header::SEC_WEBSOCKET_KEY).cloned();
    let key = key.ok_or_else(|| {
        Problem::new(StatusCode::BAD_REQUEST, "this is for WebSockets; a GET of the topic streams")
    })?;
    let Query(asked) = asked?;
    let group = one(&*door.node()?, &topic)?;
    let subscription = subscribed(&group, asked.wanted()?)?;
    let topic = asked.json.then_some(topic);
    let room = room(&door.streams)?;
    let group = trusted.ok().map(|_| group);
    let upgrade = hyper::upgrade::on(&mut request);
    let task = async move {
        let Ok(upgraded) = upgrade.await else { return };
        let config = WebSocketConfig::default()
            .max_message_size(Some(MESSAGE_BYTES_MAX))
            .max_frame_size(Some(MESSAGE_BYTES_MAX));
        let io = TokioIo::new(upgraded);
        let socket = WebSocketStream::from_raw_socket(io, Role::Server, Some(config)).await;
        converse(socket, (subscription, topic), group).await;
        drop(room);
    };
    tokio::spawn(door.until_closed(task));
    let headers = [
        (header::CONNECTION, "Upgrade".to_owned()),
        (header::UPGRADE, "websocket".to_owned()),
        (header::SEC_WEBSOCKET_ACCEPT, derive_accept_key(key.as_bytes())),
    ];
    Ok((StatusCode::SWITCHING_PROTOCOLS, headers).into_response())
}

/// Tells what is heard, as JSON if a topic is given, and publishes what is said.
async fn converse<S>(
    mut socket: WebSocketStream<S>,
    (mut subscription, json): (Subscription, Option<String>),
    group: Option<Group>,
) where
    S: tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin,
{
    loop {
        tokio::select! {
            event = subscription.next() => {
                let Some(event) = event else { break };
                let Event::Message(message) = event else { continue };
                let message = match (&json, std::str::from_utf8(&message.payload)) {
                    (Some(_), _) => {
                        Message::text(as_json(&message, json.as_deref()).to_string())
                    }
                    (None, Ok(text)) => Message::text(text),
                    (None, Err(_)) => Message::binary(message.payload),
                };
                if socket.send(message).await.is_err() {
                    break;
                }
            }
            message = socket.next() => {
                let payload = match message {
                    Some(Ok(Message::Text(text))) => text.as_bytes().to_vec(),
                    Some(Ok(Message::Binary(bytes))) => bytes.to_vec(),
                    Some(Ok(Message::Close(_)) | Err(_)) | None => break,
                    Some(Ok(_)) => continue,
                };
                let Some(group) = &group else { break };
                if group.publish(payload).await.is_err() {
                    break;
                }
            }
        }
    }
    // A client that is gone needs no good-bye.
    let _gone = socket.close(None).await;
}
