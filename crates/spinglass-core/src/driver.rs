//! The one way to drive a node, shared by the simulator and the runtime, so that both empty it in
//! the same order and a recording of one replays in the other.

use alloc::borrow::Cow;
use alloc::boxed::Box;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::net::SocketAddr;
use core::num::{NonZeroU16, NonZeroU32};
use core::ops::ControlFlow;

use bytes::Bytes;
use spinglass_summary::{Name, Value};

use crate::config::{Keep, Security, Start};
use crate::draft::Draft;
use crate::error::{NodeError, PublishError};
use crate::event::{Datagram, Event, Transmit};
use crate::id::TopicId;
use crate::node::Node;
use crate::object::{ObjectError, ObjectName};
use crate::orders::{NewOrder, OrderError};
use crate::path::PathQuestion;
use crate::pattern::{Pattern, PatternError};
use crate::query::{Answer, AskError, Question, QuestionId};
use crate::rating::Rating;
use crate::record::{Entry, Recorder};
use crate::table::{NewFunction, SetError, ZonePath};
use crate::time::{Instant, Now};
use crate::trace::Sighting;
use crate::trust::Denied;

/// The outside world, as a node's outputs meet it.
pub trait Host {
    /// Sends a run of datagrams: `segments` cut every `transmit.segment_bytes`. `Break` means that
    /// the socket is full: the run is kept and offered again at the next drain.
    fn transmit(&mut self, transmit: &Transmit, segments: &[u8]) -> ControlFlow<()>;

    /// Hands one event to the application.
    fn deliver(&mut self, event: Event);

    /// Hears of a topic that a pattern matches, before its first message: see
    /// [`Node::poll_matched`]. It is no part of a recording.
    fn matched(&mut self, _topic: TopicId, _text: &Arc<str>) {}

    /// Hands over the answer to a question. Hosts that ask none hear none.
    fn answer(&mut self, _question: QuestionId, _answer: Answer) {}

    /// Hears what was seen of messages that are followed: see [`Node::follow_messages`]. It is no
    /// part of a recording.
    fn sight(&mut self, _sighting: Sighting) {}

    /// Datagrams that one transmit may carry: what the socket's segmentation offload takes.
    fn segments_max(&self) -> usize;
}

/// A node with its outputs' queue discipline, and the recorder if there is one.
///
/// After every call, or every batch of calls made at one instant, empty it with
/// [`drain`](Self::drain).
#[derive(Debug)]
pub struct Driver {
    node: Node,
    /// The run of datagrams last made, kept while the host refuses it.
    segments: Vec<u8>,
    refused: Option<Transmit>,
    recorder: Option<Box<dyn Recorder>>,
}

impl Driver {
    /// Drives `node`.
    #[must_use]
    pub fn new(node: Node) -> Self {
        Self { node, segments: Vec::new(), refused: None, recorder: None }
    }

    /// Drives `node` and records every call. The recording starts with the node's own beginnings,
    /// so the node must not have been used before.
    #[must_use]
    pub fn recorded(node: Node, mut recorder: Box<dyn Recorder>) -> Self {
        recorder.record(&node.beginnings());
        Self { recorder: Some(recorder), ..Self::new(node) }
    }

    /// The node, to read from.
    #[must_use]
    pub const fn node(&self) -> &Node {
        &self.node
    }

    /// The node, to set up before its first input. Changes made here are not recorded.
    #[must_use]
    pub const fn node_mut(&mut self) -> &mut Node {
        &mut self.node
    }

    /// Takes datagrams in, in the order they arrived.
    pub fn handle_datagrams(&mut self, now: Now, batch: &mut [Datagram<'_>]) {
        if let Some(recorder) = &mut self.recorder {
            recorder.record(&Entry::datagrams(now, batch));
        }
        self.node.handle_datagrams(now, batch);
    }

    /// Runs whatever is due.
    pub fn handle_timeout(&mut self, now: Now) {
        self.record(&Entry::Timeout { now });
        self.node.handle_timeout(now);
    }

    /// The name on the wire of a topic's text, which rules may be about: see [`Node::topic`].
    pub fn topic(&mut self, text: &str) -> TopicId {
        if self.recorder.is_some() {
            self.record(&Entry::Topic(text.into()));
        }
        self.node.topic(text)
    }

    /// Publishes a message: see [`Node::publish`].
    ///
    /// # Errors
    /// As [`Node::publish`]; nothing changed.
    pub fn publish(&mut self, now: Now, topic: TopicId, draft: Draft) -> Result<(), PublishError> {
        if self.recorder.is_some() {
            self.record(&Entry::Publish { now, topic, draft: draft.clone() });
        }
        self.node.publish(now, topic, draft)
    }

    /// Follows messages, or no longer: see [`Node::follow_messages`]. It changes nothing that the
    /// node does, and is no part of a recording.
    pub fn follow_messages(&mut self, one_in: Option<NonZeroU32>) {
        self.node.follow_messages(one_in);
    }

    /// Asks for a topic's messages: see [`Node::subscribe`].
    ///
    /// # Errors
    /// As [`Node::subscribe`]; nothing changed.
    pub fn subscribe(&mut self, now: Now, topic: TopicId, start: Start) -> Result<(), Denied> {
        self.record(&Entry::Subscribe { now, topic, start });
        self.node.subscribe(now, topic, start)
    }

    /// Takes a share of a topic's messages: see [`Node::rate`].
    pub fn rate(&mut self, now: Now, topic: TopicId, rating: Rating) {
        self.record(&Entry::Rate { now, topic, rating });
        self.node.rate(now, topic, rating);
    }

    /// Takes all topics that a pattern matches: see [`Node::subscribe_pattern`].
    ///
    /// # Errors
    /// As [`Node::subscribe_pattern`]; nothing changed.
    pub fn subscribe_pattern(
        &mut self,
        now: Now,
        pattern: &Pattern,
        start: Start,
        rating: Rating,
    ) -> Result<(), PatternError> {
        if self.recorder.is_some() {
            let pattern = Cow::Borrowed(pattern.as_str());
            self.record(&Entry::SubscribePattern { now, pattern, start, rating });
        }
        self.node.subscribe_pattern(now, pattern, start, rating)
    }

    /// Keeps messages of a topic: see [`Node::keep`].
    pub fn keep(&mut self, now: Now, topic: TopicId, keep: Keep) {
        self.record(&Entry::Keep { now, topic, keep });
        self.node.keep(now, topic, keep);
    }

    /// Sets attributes of the own row: see [`Node::set_attributes`].
    ///
    /// # Errors
    /// As [`Node::set_attributes`]; nothing changed.
    pub fn set_attributes(
        &mut self,
        now: Now,
        attributes: &[(Name, Value)],
    ) -> Result<(), SetError> {
        self.record(&Entry::SetAttributes { now, attributes: attributes.into() });
        self.node.set_attributes(now, attributes)
    }

    /// Puts an object under an attribute of the own row: see [`Node::put_object`].
    ///
    /// # Errors
    /// As [`Node::put_object`].
    pub fn put_object(
        &mut self,
        now: Now,
        name: Name,
        bytes: Bytes,
    ) -> Result<ObjectName, SetError> {
        if self.recorder.is_some() {
            self.record(&Entry::PutObject { now, name: name.clone(), bytes: bytes.clone() });
        }
        self.node.put_object(now, name, bytes)
    }

    /// Begins to fetch an object: see [`Node::fetch_object`].
    ///
    /// # Errors
    /// As [`Node::fetch_object`]; nothing changed.
    pub fn fetch_object(&mut self, now: Now, object: ObjectName) -> Result<(), ObjectError> {
        self.record(&Entry::FetchObject { now, object });
        self.node.fetch_object(now, object)
    }

    /// Installs a summary function, or with none removes it: see [`Node::set_summary`].
    ///
    /// # Errors
    /// As [`Node::set_summary`]; nothing changed.
    pub fn set_summary(
        &mut self,
        now: Now,
        zone: &ZonePath,
        name: &str,
        function: Option<NewFunction<'_>>,
    ) -> Result<(), SetError> {
        if self.recorder.is_some() {
            let (zone, name) = (zone.clone(), name.into());
            let sql = function.map(|function| function.sql.into());
            let lasts = function.and_then(|function| function.lasts);
            self.record(&Entry::SetSummary { now, zone, name, sql, lasts });
        }
        self.node.set_summary(now, zone, name, function)
    }

    /// Gives everybody an order: see [`Node::give_order`].
    ///
    /// # Errors
    /// As [`Node::give_order`]; nothing changed.
    pub fn give_order(&mut self, now: Now, order: NewOrder) -> Result<(), OrderError> {
        if self.recorder.is_some() {
            self.record(&Entry::Order { now, order: order.clone() });
        }
        self.node.give_order(now, order)
    }

    /// Goes on with another certificate, and other rules: see [`Node::renew_security`].
    ///
    /// # Errors
    /// As [`Node::renew_security`]; nothing changed.
    pub fn renew_security(&mut self, now: Now, security: &Security) -> Result<(), NodeError> {
        if self.recorder.is_some() {
            self.record(&Entry::Renew { now, security: security.clone() });
        }
        self.node.renew_security(now, security)
    }

    /// Trusts these roots and no others: see [`Node::trust_roots`].
    ///
    /// # Errors
    /// As [`Node::trust_roots`]; nothing changed.
    pub fn trust_roots(&mut self, now: Now, roots: &[Vec<u8>]) -> Result<(), NodeError> {
        if self.recorder.is_some() {
            self.record(&Entry::Roots { now, roots: Cow::Borrowed(roots) });
        }
        self.node.trust_roots(now, roots)
    }

    /// Heeds a list of revocations: see [`Node::heed_revocations`].
    ///
    /// # Errors
    /// As [`Node::heed_revocations`]; nothing changed.
    pub fn heed_revocations(&mut self, now: Now, list: &[u8]) -> Result<(), OrderError> {
        if self.recorder.is_some() {
            self.record(&Entry::Heed { now, list: Cow::Borrowed(list) });
        }
        self.node.heed_revocations(now, list)
    }

    /// Tells of further addresses to join by: see [`Node::add_seeds`].
    pub fn add_seeds(&mut self, now: Now, seeds: &[SocketAddr]) {
        if self.recorder.is_some() {
            self.record(&Entry::AddSeeds { now, seeds: seeds.into() });
        }
        self.node.add_seeds(now, seeds);
    }

    /// Says that this member is reached elsewhere from now on: see [`Node::set_address`].
    pub fn set_address(&mut self, now: Now, address: SocketAddr) {
        self.record(&Entry::SetAddress { now, address });
        self.node.set_address(now, address);
    }

    /// Asks about the way to this member: see [`Node::ask_path`].
    pub fn ask_path(&mut self, now: Now, whom: SocketAddr, question: PathQuestion) {
        self.record(&Entry::AskPath { now, whom, question });
        self.node.ask_path(now, whom, question);
    }

    /// Has answers sent to another port: see [`Node::set_reply_port`].
    pub fn set_reply_port(&mut self, now: Now, port: Option<NonZeroU16>) {
        self.record(&Entry::SetReplyPort { now, port });
        self.node.set_reply_port(now, port);
    }

    /// Asks something: see [`Node::ask`].
    ///
    /// # Errors
    /// As [`Node::ask`]; nothing changed.
    pub fn ask(&mut self, now: Now, question: &Question) -> Result<QuestionId, AskError> {
        if self.recorder.is_some() {
            self.record(&Entry::Ask { now, question: question.clone() });
        }
        self.node.ask(now, question)
    }

    /// Says good-bye: see [`Node::leave`].
    pub fn leave(&mut self, now: Now) {
        self.record(&Entry::Leave { now });
        self.node.leave(now);
    }

    /// Exchanges the memory that datagrams are made in for `buffer`: a host of many drivers lends
    /// one to each that it drains, and takes it back. While a run waits that the host refused,
    /// nothing is exchanged.
    pub const fn exchange_buffer(&mut self, buffer: &mut Vec<u8>) {
        if !self.is_blocked() {
            core::mem::swap(&mut self.segments, buffer);
        }
    }

    /// Moves everything the node wants out of it; returns when it next wants to be called.
    pub fn drain(&mut self, now: Now, host: &mut impl Host) -> Option<Instant> {
        while let Some(transmit) = self.next_transmit(now, host.segments_max()) {
            if host.transmit(&transmit, &self.segments).is_break() {
                self.refused = Some(transmit);
                break;
            }
        }
        while let Some((topic, text)) = self.node.poll_matched() {
            host.matched(topic, &text);
        }
        while let Some(event) = self.next_event() {
            host.deliver(event);
        }
        while let Some((question, answer)) = self.next_answer() {
            host.answer(question, answer);
        }
        while let Some(sighting) = self.node.poll_sighting() {
            host.sight(sighting);
        }
        self.node.poll_timeout()
    }

    /// Whether the host refused a run of datagrams that is still waiting.
    #[must_use]
    pub const fn is_blocked(&self) -> bool {
        self.refused.is_some()
    }

    fn next_transmit(&mut self, now: Now, segments_max: usize) -> Option<Transmit> {
        if let Some(refused) = self.refused.take() {
            return Some(refused);
        }
        self.segments.clear();
        let transmit = self.node.poll_transmit(now, segments_max, &mut self.segments);
        if let Some(recorder) = &mut self.recorder {
            recorder.record(&Entry::Transmit {
                now,
                segments_max,
                transmit: transmit.clone(),
                bytes: self.segments.len(),
            });
        }
        transmit
    }

    fn next_event(&mut self) -> Option<Event> {
        let event = self.node.poll_event();
        if let (Some(recorder), Some(event)) = (&mut self.recorder, &event) {
            recorder.record(&Entry::Event { event: event.clone() });
        }
        event
    }

    fn next_answer(&mut self) -> Option<(QuestionId, Answer)> {
        let (question, answer) = self.node.poll_answer()?;
        let (reach, found) = (answer.reach, answer.fingerprint());
        self.record(&Entry::Answered { question, reach, found });
        Some((question, answer))
    }

    fn record(&mut self, entry: &Entry<'_>) {
        if let Some(recorder) = &mut self.recorder {
            recorder.record(entry);
        }
    }
}
