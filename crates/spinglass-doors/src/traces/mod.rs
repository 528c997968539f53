//! Traces: what becomes of messages, from the member that sends one to all that it reaches, told to
//! a collector by OpenTelemetry's protocol (OTLP over HTTP, in protobuf).
//!
//! Invariant: what a collector does not take waits within a bound, and is then dropped and counted:
//! it never delays a message.

mod client;
mod path;

use std::fmt;
use std::num::NonZeroU32;
use std::str::FromStr;
use std::sync::Weak;
use std::time::{Duration, SystemTime};

use axum::http::Uri;
use axum::http::uri::Scheme;
use opentelemetry::KeyValue;
use opentelemetry_otlp::{Protocol, SpanExporter, WithExportConfig as _, WithHttpConfig as _};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::trace::{SpanData, SpanExporter as _};
use spinglass::{Node, Sightings, Value};
use tokio::sync::mpsc;
use tokio::time::MissedTickBehavior;

use client::Client;
use path::Paths;

/// How often spans are sent.
const SEND_EVERY: Duration = Duration::from_secs(2);
/// Spans of one request.
const BATCH_SPANS: usize = 512;
/// Batches that wait for the collector: a few megabytes.
const BATCHES_MAX: usize = 8;
/// How long a collector that has failed is left alone.
const PAUSE: Duration = Duration::from_secs(10);
/// Where collectors take traces, by the specification.
const TRACES_PATH: &str = "/v1/traces";

/// How messages are traced.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Who is told.
    pub collector: Collector,
    /// One in so many messages is followed; all members should have the same number.
    pub one_in: NonZeroU32,
}

/// A collector's URL: `http://HOST:4318` or `https://…`, with a path if it is not `/v1/traces`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Collector(Uri);

/// A text that is no collector's URL.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is no collector's URL: say http://HOST:PORT, such as http://127.0.0.1:4318")]
pub struct CollectorError(String);

impl FromStr for Collector {
    type Err = CollectorError;

    fn from_str(text: &str) -> Result<Self, CollectorError> {
        let bad = || CollectorError(text.to_owned());
        let mut parts = text.parse::<Uri>().map_err(|_| bad())?.into_parts();
        let is_http =
            parts.scheme.as_ref().is_some_and(|it| [Scheme::HTTP, Scheme::HTTPS].contains(it));
        if !is_http || parts.authority.as_ref().is_none_or(|it| it.host().is_empty()) {
            return Err(bad());
        }
        if parts.path_and_query.as_ref().is_none_or(|path| path == "/") {
            parts.path_and_query = Some(TRACES_PATH.parse().map_err(|_| bad())?);
        }
        Uri::from_parts(parts).map(Self).map_err(|_| bad())
    }
}

impl fmt::Display for Collector {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(formatter)
    }
}

/// Follows messages, and tells a collector, until the node is gone.
pub async fn keep_telling(node: Weak<Node>, settings: Settings) {
    let Some((sightings, paths, resource)) = begin(&node, settings.one_in).await else { return };
    let (batches, queue) = mpsc::channel(BATCHES_MAX);
    tokio::join!(gather(sightings, paths, batches), deliver(queue, settings.collector, resource));
}

async fn begin(node: &Weak<Node>, one_in: NonZeroU32) -> Option<(Sightings, Paths, Resource)> {
    let node = node.upgrade()?;
    let sightings = node.follow_messages(one_in).await.ok()?;
    let own = node.table().own().await.ok()?;
    let name = own.get("id").and_then(Value::as_text).unwrap_or_default().to_owned();
    let region = node.table().region().await.ok()?.to_string();
    // What stands in OTEL_RESOURCE_ATTRIBUTES is taken over.
    let resource = Resource::builder()
        .with_service_name("spinglass")
        .with_attribute(KeyValue::new("service.version", env!("CARGO_PKG_VERSION")))
        .with_attribute(KeyValue::new("service.instance.id", node.id().to_string()))
        .with_attribute(KeyValue::new("spinglass.name", name))
        .with_attribute(KeyValue::new("spinglass.region", region))
        .build();
    Some((sightings, Paths::new(node.id()), resource))
}

/// Makes batches of spans of what is seen, until the node is gone.
async fn gather(mut sightings: Sightings, mut paths: Paths, batches: mpsc::Sender<Vec<SpanData>>) {
    let mut tick = tokio::time::interval(SEND_EVERY);
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            sighting = sightings.next() => match sighting {
                Some(sighting) => paths.note(sighting),
                None => return,
            },
            _ = tick.tick() => {
                let spans = paths.take_settled(SystemTime::now());
                let refused = |batch: &[SpanData]| refused(&batches, batch);
                let dropped: usize = spans.chunks(BATCH_SPANS).map(refused).sum();
                if dropped > 0 {
                    tracing::warn!(dropped, "spans were dropped: the collector is slow, or gone");
                }
            }
        }
    }
}

/// How many spans there is no room for.
fn refused(batches: &mpsc::Sender<Vec<SpanData>>, batch: &[SpanData]) -> usize {
    if batches.try_send(batch.to_vec()).is_ok() { 0 } else { batch.len() }
}

/// Sends batches as long as there are any. One that can't be sent within the exporter's own retries
/// is lost; the others wait until the collector has had a pause.
async fn deliver(mut queue: mpsc::Receiver<Vec<SpanData>>, collector: Collector, of: Resource) {
    let (client, exporter) = match exporter(&collector, &of) {
        Ok(both) => both,
        Err(error) => {
            tracing::warn!(%error, "no traces are sent");
            return;
        }
    };
    let mut is_well = true;
    while let Some(batch) = queue.recv().await {
        let spans = batch.len();
        match exporter.export(batch).await {
            Ok(()) => {
                if !std::mem::replace(&mut is_well, true) {
                    tracing::info!(%collector, "traces are sent again");
                }
            }
            Err(error) => {
                let why = client.take_failure().unwrap_or_else(|| error.to_string());
                if std::mem::replace(&mut is_well, false) {
                    tracing::warn!(%collector, why, spans, "traces can't be sent");
                }
                tokio::time::sleep(PAUSE).await;
            }
        }
    }
}

fn exporter(collector: &Collector, of: &Resource) -> Result<(Client, SpanExporter), String> {
    let client = Client::new().map_err(|error| error.to_string())?;
    let mut exporter = SpanExporter::builder()
        .with_http()
        .with_http_client(client.clone())
        .with_protocol(Protocol::HttpBinary)
        .with_endpoint(collector.to_string())
        .build()
        .map_err(|error| error.to_string())?;
    exporter.set_resource(of);
    Ok((client, exporter))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_collector_is_named_as_by_the_specification() {
        for (text, url) in [
            ("http://127.0.0.1:4318", "http://127.0.0.1:4318/v1/traces"),
            ("https://collector.example.org/", "https://collector.example.org/v1/traces"),
            ("http://[::1]:4318/otlp/v1/traces", "http://[::1]:4318/otlp/v1/traces"),
        ] {
            assert_eq!(text.parse::<Collector>().map(|it| it.to_string()), Ok(url.to_owned()));
        }
        for text in ["", "collector:4318", "ftp://collector", "http://", "http:///x", "/v1/traces"]
        {
            assert!(text.parse::<Collector>().is_err(), "{text}");
        }
    }
}
