//! From what members saw of messages to spans.
//!
//! The same message has one trace at all members, and each member one span in it, whose parent is
//! the span of whoever it had the message from: names of both follow from the message's own, so
//! nothing of a trace travels with a message. A collector that gets all members' spans shows the
//! tree that the message went along.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use opentelemetry::trace::{
    SpanContext, SpanId, SpanKind, Status, TraceFlags, TraceId, TraceState,
};
use opentelemetry::{InstrumentationScope, KeyValue};
use opentelemetry_sdk::trace::{SpanData, SpanEvents, SpanLinks};
use spinglass::{MemberId, Seen, Sequence, Sighting, StreamId};

/// How long a span waits for more messages that start in the same packet.
const MORE_WITHIN: Duration = Duration::from_secs(2);
/// How long it waits for a message to be delivered, which what was lost before it may hold up.
const DELIVERED_WITHIN: Duration = Duration::from_secs(15);
/// Spans that wait at most; the oldest is told as it is.
const OPEN_MAX: usize = 4096;

/// A message, as followed: its stream, and the packet in which it starts.
type Followed = (StreamId, Sequence);

/// What this member saw of messages of late, and has not told.
#[derive(Debug)]
pub(super) struct Paths {
    own: MemberId,
    scope: InstrumentationScope,
    open: BTreeMap<Followed, Stay>,
    ready: Vec<SpanData>,
}

/// What this member saw of one message.
#[derive(Debug)]
struct Stay {
    topic: Option<Arc<str>>,
    began: SystemTime,
    ended: SystemTime,
    from: Option<(MemberId, bool)>,
    /// Messages delivered that start in the same packet, and their bytes.
    messages: i64,
    bytes: usize,
    is_lost: bool,
}

impl Paths {
    pub(super) fn new(own: MemberId) -> Self {
        let scope = InstrumentationScope::builder("spinglass")
            .with_version(env!("CARGO_PKG_VERSION"))
            .build();
        Self { own, scope, open: BTreeMap::new(), ready: Vec::new() }
    }

    /// Takes in what was seen.
    pub(super) fn note(&mut self, sighting: Sighting) {
        let Sighting { time, stream, first, topic, seen } = sighting;
        if let Seen::Made { waited } = seen {
            let span = self.sent((stream, first), topic.as_deref(), time, waited);
            self.ready.push(span);
            return;
        }
        if self.open.len() >= OPEN_MAX && !self.open.contains_key(&(stream, first)) {
            let oldest = self.open.iter().min_by_key(|(_, stay)| stay.began).map(|(it, _)| *it);
            oldest.into_iter().for_each(|oldest| self.close(oldest));
        }
        let stay = self.open.entry((stream, first)).or_insert_with(|| Stay::new(time));
        stay.topic = topic;
        stay.ended = stay.ended.max(time);
        match seen {
            Seen::Made { .. } => (),
            Seen::Received { from, repaired } => stay.from = Some((from, repaired)),
            Seen::Delivered { bytes, .. } => {
                stay.messages += 1;
                stay.bytes += bytes;
            }
            Seen::Lost => stay.is_lost = true,
        }
    }

    /// Spans of which nothing more is to be seen.
    pub(super) fn take_settled(&mut self, now: SystemTime) -> Vec<SpanData> {
        let settled = self.open.iter().filter(|(_, stay)| stay.is_settled(now));
        let settled: Vec<Followed> = settled.map(|(followed, _)| *followed).collect();
        settled.into_iter().for_each(|followed| self.close(followed));
        std::mem::take(&mut self.ready)
    }

    fn close(&mut self, followed: Followed) {
        let Some(stay) = self.open.remove(&followed) else { return };
        let span = self.came(followed, &stay);
        self.ready.push(span);
    }

    /// The span of whoever sent a message: from when it was published to when it left.
    fn sent(
        &self,
        followed: Followed,
        topic: Option<&str>,
        left: SystemTime,
        waited: Duration,
    ) -> SpanData {
        let topic = topic_of(&followed, topic);
        let mut span = self.span(followed, "send", &topic, SpanKind::Producer);
        span.start_time = left.checked_sub(waited).unwrap_or(left);
        span.end_time = left;
        span
    }

    /// The span of a member to which a message came, or which gave it up.
    fn came(&self, followed: Followed, stay: &Stay) -> SpanData {
        let topic = topic_of(&followed, stay.topic.as_deref());
        let (what, kind) = match stay {
            Stay { is_lost: true, .. } => ("lose", SpanKind::Consumer),
            Stay { messages: 0, .. } => ("relay", SpanKind::Internal),
            _ => ("receive", SpanKind::Consumer),
        };
        let mut span = self.span(followed, what, &topic, kind);
        (span.start_time, span.end_time) = (stay.began, stay.ended);
        span.parent_span_is_remote = true;
        // Of what was lost nobody is known who had it but its sender.
        let from = stay.from.map_or(followed.0.sender, |(from, _)| from);
        span.parent_span_id = span_id(&followed, from);
        if let Some((from, repaired)) = stay.from {
            span.attributes.push(KeyValue::new("spinglass.from", from.to_string()));
            span.attributes.push(KeyValue::new("spinglass.repaired", repaired));
        }
        if stay.messages > 0 {
            let bytes = i64::try_from(stay.bytes).unwrap_or(i64::MAX);
            span.attributes.push(KeyValue::new("messaging.message.body.size", bytes));
            span.attributes.push(KeyValue::new("messaging.batch.message_count", stay.messages));
        }
        if stay.is_lost {
            let why = "it was given up, and told as a gap: nobody who was asked had it any more";
            span.status = Status::error(why);
        }
        span
    }

    /// A span of this member, by OpenTelemetry's conventions for messaging.
    fn span(
        &self,
        followed: Followed,
        what: &'static str,
        topic: &str,
        kind: SpanKind,
    ) -> SpanData {
        let (stream, first) = followed;
        let context = SpanContext::new(
            trace_id(&followed),
            span_id(&followed, self.own),
            TraceFlags::SAMPLED,
            false,
            TraceState::NONE,
        );
        let id = format!("{}@{}/{}", stream.sender, stream.incarnation.0, first.0);
        SpanData {
            span_context: context,
            parent_span_id: SpanId::INVALID,
            parent_span_is_remote: false,
            span_kind: kind,
            name: Cow::Owned(format!("{what} {topic}")),
            start_time: SystemTime::UNIX_EPOCH,
            end_time: SystemTime::UNIX_EPOCH,
            attributes: vec![
                KeyValue::new("messaging.system", "spinglass"),
                KeyValue::new("messaging.operation.name", what),
                KeyValue::new("messaging.destination.name", topic.to_owned()),
                KeyValue::new("messaging.message.id", id),
            ],
            dropped_attributes_count: 0,
            events: SpanEvents::default(),
            links: SpanLinks::default(),
            status: Status::Unset,
            instrumentation_scope: self.scope.clone(),
        }
    }
}

impl Stay {
    const fn new(began: SystemTime) -> Self {
        Self { topic: None, began, ended: began, from: None, messages: 0, bytes: 0, is_lost: false }
    }

    fn is_settled(&self, now: SystemTime) -> bool {
        let is_told = self.is_lost || self.messages > 0;
        let patience = if is_told { MORE_WITHIN } else { DELIVERED_WITHIN };
        // A clock that was set back must not keep it for ever.
        let age = now.duration_since(self.ended).unwrap_or_else(|ahead| ahead.duration());
        age >= patience
    }
}

/// A topic's text, or what stands for it on the wire.
fn topic_of<'a>((stream, _): &Followed, text: Option<&'a str>) -> Cow<'a, str> {
    text.map_or_else(|| Cow::Owned(stream.topic.to_string()), Cow::Borrowed)
}

fn trace_id(followed: &Followed) -> TraceId {
    let [bytes, _] = halves(hash(followed, b"trace"));
    TraceId::from_bytes(bytes)
}

/// The span of a member in a message's trace.
fn span_id(followed: &Followed, member: MemberId) -> SpanId {
    let [bytes, _] = halves(hash(followed, &member.0));
    let [a, b, c, d, e, f, g, h, ..] = bytes;
    SpanId::from_bytes([a, b, c, d, e, f, g, h])
}

fn hash((stream, first): &Followed, of: &[u8]) -> [u8; 32] {
    let mut hasher = blake3::Hasher::new_derive_key("spinglass 2026 traces of messages");
    hasher.update(&stream.topic.0).update(&stream.sender.0);
    hasher.update(&stream.incarnation.0.to_le_bytes()).update(&first.0.to_le_bytes());
    hasher.update(of);
    hasher.finalize().into()
}

fn halves(hash: [u8; 32]) -> [[u8; 16]; 2] {
    let (first, second) = hash.split_at(16);
    [first, second].map(|half| half.try_into().unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use spinglass::{Incarnation, TopicId};

    use super::*;

    const SENDER: MemberId = MemberId([1; 16]);
    const RELAY: MemberId = MemberId([2; 16]);
    const OWN: MemberId = MemberId([3; 16]);

    fn at(ms: u64) -> SystemTime {
        SystemTime::UNIX_EPOCH + Duration::from_secs(1_000_000) + Duration::from_millis(ms)
    }

    fn sighting(first: u64, ms: u64, seen: Seen) -> Sighting {
        let (topic, incarnation) = (TopicId([7; 8]), Incarnation(9));
        let stream = StreamId { topic, sender: SENDER, incarnation };
        Sighting { time: at(ms), stream, first: Sequence(first), topic: None, seen }
    }

    fn spans(own: MemberId, seen: &[(u64, u64, Seen)], now_ms: u64) -> Vec<SpanData> {
        let mut paths = Paths::new(own);
        seen.iter().for_each(|(first, ms, seen)| paths.note(sighting(*first, *ms, *seen)));
        paths.take_settled(at(now_ms))
    }

    const CAME: Seen = Seen::Received { from: RELAY, repaired: true };
    const DELIVERED: Seen = Seen::Delivered { last: Sequence(4), bytes: 10 };

    #[test]
    fn a_message_has_one_trace_whose_spans_hang_together() {
        let sent =
            &spans(SENDER, &[(4, 50, Seen::Made { waited: Duration::from_millis(20) })], 50)[0];
        let relayed =
            &spans(RELAY, &[(4, 60, Seen::Received { from: SENDER, repaired: false })], 20_000)[0];
        let came = &spans(OWN, &[(4, 70, CAME), (4, 90, DELIVERED), (4, 90, DELIVERED)], 3_000)[0];
        let traces = [sent, relayed, came].map(|span| span.span_context.trace_id());
        assert!(traces.iter().all(|trace| *trace == traces[0] && *trace != TraceId::INVALID));
        assert_eq!(sent.parent_span_id, SpanId::INVALID);
        assert_eq!(relayed.parent_span_id, sent.span_context.span_id());
        assert_eq!(came.parent_span_id, relayed.span_context.span_id());
        assert_eq!((sent.start_time, sent.end_time), (at(30), at(50)));
        assert_eq!((came.start_time, came.end_time), (at(70), at(90)));
        let names =
            [sent, relayed, came].map(|span| span.name.split(' ').next().unwrap_or_default());
        assert_eq!(names, ["send", "relay", "receive"]);
        let has =
            |key: &'static str, value: i64| came.attributes.contains(&KeyValue::new(key, value));
        assert!(has("messaging.batch.message_count", 2) && has("messaging.message.body.size", 20));
        assert!(came.attributes.contains(&KeyValue::new("spinglass.repaired", true)));
        let other = &spans(OWN, &[(5, 70, CAME)], 20_000)[0];
        assert_ne!(other.span_context.trace_id(), traces[0]);
    }

    #[test]
    fn a_message_given_up_is_an_error() {
        let lost = &spans(OWN, &[(4, 70, Seen::Lost)], 3_000)[0];
        assert!(matches!(lost.status, Status::Error { .. }) && lost.name.starts_with("lose "));
    }

    #[test]
    fn a_span_is_told_once_its_message_is_delivered_or_hardly_will_be() {
        assert_eq!(spans(OWN, &[(4, 0, CAME)], 3_000).len(), 0, "it may wait for what was lost");
        assert_eq!(spans(OWN, &[(4, 0, CAME)], 16_000).len(), 1);
        assert_eq!(spans(OWN, &[(4, 0, CAME), (4, 10, DELIVERED)], 1_000).len(), 0);
        assert_eq!(spans(OWN, &[(4, 0, CAME), (4, 10, DELIVERED)], 3_000).len(), 1);
        assert_eq!(spans(OWN, &[(4, 60_000, CAME)], 0).len(), 1, "the clock was set back");
    }

    #[test]
    fn what_waits_is_bounded() {
        let many = u64::try_from(OPEN_MAX).unwrap_or(0) + 5;
        let seen: Vec<_> = (0..many).map(|first| (first, first, CAME)).collect();
        assert_eq!(spans(OWN, &seen, 0).len(), 5, "the oldest are told as they are");
    }
}
