//! Members on real sockets that tell a collector, over real HTTP, what becomes of messages.

#![expect(clippy::unwrap_used, reason = "whatever fails here fails the test")]

use std::collections::{BTreeMap, BTreeSet};
use std::num::NonZeroU32;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::routing::post;
use opentelemetry_proto::tonic::collector::trace::v1::{
    ExportTraceServiceRequest, ExportTraceServiceResponse,
};
use opentelemetry_proto::tonic::trace::v1::Span;
use prost::Message as _;
use spinglass::{Event, Node};
use spinglass_doors::traces::{self, Settings};
use tokio::net::TcpListener;
use tokio::task::JoinSet;

const MEMBERS: usize = 5;
const MESSAGES: usize = 3;

/// What the collector got: spans, and the member that each is of.
type Collected = Arc<Mutex<Vec<(String, Span)>>>;

async fn collect(State(collected): State<Collected>, body: Bytes) -> Vec<u8> {
    let request = ExportTraceServiceRequest::decode(body).unwrap();
    for resource in request.resource_spans {
        let attributes = resource.resource.unwrap().attributes;
        let id = attributes.into_iter().find(|it| it.key == "service.instance.id").unwrap();
        let member = format!("{:?}", id.value.unwrap());
        for span in resource.scope_spans.into_iter().flat_map(|scope| scope.spans) {
            collected.lock().unwrap().push((member.clone(), span));
        }
    }
    ExportTraceServiceResponse::default().encode_to_vec()
}

/// Spans of each trace, once there are as many as given.
async fn traces_of(collected: &Collected, spans: usize) -> BTreeMap<Vec<u8>, Vec<(String, Span)>> {
    for _ in 0..150 {
        if collected.lock().unwrap().len() >= spans {
            break;
        }
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    let mut traces: BTreeMap<Vec<u8>, Vec<(String, Span)>> = BTreeMap::new();
    for (member, span) in collected.lock().unwrap().iter() {
        traces.entry(span.trace_id.clone()).or_default().push((member.clone(), span.clone()));
    }
    traces
}

#[tokio::test]
async fn a_collector_sees_the_path_of_each_message() {
    let collected = Collected::default();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let router = Router::new().route("/v1/traces", post(collect)).with_state(collected.clone());
    let mut beside = JoinSet::new();
    beside.spawn(async move { axum::serve(listener, router).await.unwrap() });
    let mut nodes: Vec<Arc<Node>> = Vec::new();
    for at in 0..MEMBERS {
        let seeds = nodes.first().map(|first| first.local_addr());
        let region = format!("/usa/{}", ["ithaca", "boston"][at % 2]);
        let builder = Node::builder().bind("127.0.0.1:0".parse().unwrap()).region(region);
        let node = Arc::new(builder.seeds(seeds).start().await.unwrap());
        let settings = Settings { collector: url.parse().unwrap(), one_in: NonZeroU32::MIN };
        beside.spawn(traces::keep_telling(Arc::downgrade(&node), settings));
        nodes.push(node);
    }
    for node in &nodes {
        node.wait_for_members(MEMBERS).await.unwrap();
    }
    let mut subscriptions = Vec::new();
    for node in &nodes[1..] {
        subscriptions.push(node.group("news").subscribe());
        // What is asked is answered in order: it has subscribed by now.
        node.stats().await;
    }
    for message in 0..MESSAGES {
        nodes[0].group("news").publish(vec![7; 100 * message]).await.unwrap();
        for subscription in &mut subscriptions {
            assert!(matches!(subscription.next().await, Some(Event::Message(_))));
        }
    }
    let traces = traces_of(&collected, MEMBERS * MESSAGES).await;
    assert_eq!(traces.len(), MESSAGES);
    for spans in traces.values() {
        let members: BTreeSet<&String> = spans.iter().map(|(member, _)| member).collect();
        assert_eq!((spans.len(), members.len()), (MEMBERS, MEMBERS), "one span of each member");
        let ids: BTreeSet<&Vec<u8>> = spans.iter().map(|(_, span)| &span.span_id).collect();
        let roots: Vec<_> = spans.iter().filter(|(_, it)| it.parent_span_id.is_empty()).collect();
        assert!(roots.len() == 1 && roots[0].1.name == "send news", "{roots:?}");
        for (_, span) in spans.iter().filter(|(_, it)| !it.parent_span_id.is_empty()) {
            assert!(ids.contains(&span.parent_span_id), "whoever it came from has told, too");
            assert_eq!(span.name, "receive news");
        }
    }
    for node in nodes {
        assert_eq!(node.stats().await.runtime.sightings_missed, 0);
    }
}
