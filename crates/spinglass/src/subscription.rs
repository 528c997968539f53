//! A subscriber's bounded queue, and the stream that reads it.

use std::collections::{BTreeMap, VecDeque};
use std::fmt;
use std::future::poll_fn;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

use bytes::Bytes;
use futures_core::Stream;
use spinglass_core::{MemberId, StreamId};

use crate::event::{Event, Lagged};
use crate::wanted::Wanted;

/// How much may wait for a subscriber.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Limits {
    /// Events.
    pub(crate) events: usize,
    /// Bytes of their messages. One message always fits.
    pub(crate) bytes: usize,
}

/// A queue, as its subscriber and the task share it.
pub(crate) type SharedQueue = Arc<Queue>;

/// Events on their way to one subscriber.
///
/// When it is full, messages are dropped and counted per stream; the count is told as a
/// [`Lagged`] before the stream's next message that finds room, or when the queue has been emptied.
/// Of members' comings and goings the latest per member is kept. So nothing is lost silently,
/// and what a slow subscriber costs is bounded.
pub(crate) struct Queue {
    limits: Limits,
    wanted: Wanted,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    events: VecDeque<Event>,
    bytes: usize,
    lagged: BTreeMap<StreamId, Lagged>,
    members: BTreeMap<MemberId, Event>,
    /// Where each key's message waits.
    latest: BTreeMap<Bytes, usize>,
    reader: Option<Waker>,
    closed: bool,
}

impl Queue {
    pub(crate) fn new(limits: Limits, wanted: Wanted) -> Self {
        Self { limits, wanted, state: Mutex::new(State::default()) }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Adds events and wakes the reader, once. Returns how many messages were dropped; `None` if
    /// the reader is gone.
    pub(crate) fn extend(&self, events: impl Iterator<Item = Event>) -> Option<u64> {
        let mut state = self.lock();
        if state.closed {
            return None;
        }
        let events = events.filter(|event| self.wanted.has(event));
        let push = |event| u64::from(!state.push(event, self.limits, &self.wanted));
        let dropped = events.map(push).sum();
        let reader = state.reader.take();
        drop(state);
        reader.into_iter().for_each(Waker::wake);
        Some(dropped)
    }

    /// Whether it is read no more.
    pub(crate) fn is_closed(&self) -> bool {
        self.lock().closed
    }

    /// Ends the stream once it has been read to here.
    pub(crate) fn close(&self) {
        let mut state = self.lock();
        state.closed = true;
        let reader = state.reader.take();
        drop(state);
        reader.into_iter().for_each(Waker::wake);
    }

    /// Moves everything that waits to the end of `events`.
    fn poll_take(&self, events: &mut VecDeque<Event>, cx: &Context<'_>) -> Poll<bool> {
        let mut state = self.lock();
        state.tell_dropped();
        if state.events.is_empty() {
            if state.closed {
                return Poll::Ready(false);
            }
            if !state.reader.as_ref().is_some_and(|reader| reader.will_wake(cx.waker())) {
                state.reader = Some(cx.waker().clone());
            }
            return Poll::Pending;
        }
        state.bytes = 0;
        state.latest.clear();
        if events.is_empty() {
            std::mem::swap(&mut state.events, events);
        } else {
            events.append(&mut state.events);
        }
        Poll::Ready(true)
    }
}

impl State {
    /// Adds an event, or notes that there was no room. Returns false if it was a message that was
    /// dropped.
    fn push(&mut self, event: Event, limits: Limits, wanted: &Wanted) -> bool {
        let key = wanted.key(&event);
        let Some(event) = self.replace(event, key.as_ref()) else { return true };
        let (stream, bytes) = match &event {
            Event::Message(message) => (Some(message.stream), message.payload.len()),
            Event::Gap(gap) => (Some(gap.stream), 0),
            Event::Lagged(lagged) => (Some(lagged.stream), 0),
            Event::MemberUp(_)
            | Event::MemberDown { .. }
            | Event::Quarantined { .. }
            | Event::FalseSummary { .. } => (None, 0),
        };
        let full = self.events.len() >= limits.events
            || !self.events.is_empty() && self.bytes + bytes > limits.bytes;
        if full {
            return self.drop_event(event);
        }
        if !self.lagged.is_empty()
            && let Some(lagged) = stream.and_then(|stream| self.lagged.remove(&stream))
        {
            self.events.push_back(Event::Lagged(lagged));
        }
        self.bytes += bytes;
        if let Some(key) = key {
            // It outlives the message that it is a part of.
            self.latest.insert(Bytes::copy_from_slice(&key), self.events.len());
        }
        self.events.push_back(event);
        true
    }

    /// Puts a message in the place of the one of its key that waits. Gives back what has none.
    fn replace(&mut self, event: Event, key: Option<&Bytes>) -> Option<Event> {
        let place = key.and_then(|key| self.latest.get(key)).copied();
        let Some(waiting) = place.and_then(|place| self.events.get_mut(place)) else {
            return Some(event);
        };
        let payload = |event: &Event| match event {
            Event::Message(message) => message.payload.len(),
            _ => 0,
        };
        self.bytes = self.bytes + payload(&event) - payload(waiting);
        *waiting = event;
        None
    }

    fn drop_event(&mut self, event: Event) -> bool {
        let mut note = |stream, messages, bytes, gap_packets| {
            let nothing = Lagged { stream, messages: 0, bytes: 0, gap_packets: 0 };
            let lagged = self.lagged.entry(stream).or_insert(nothing);
            lagged.messages += messages;
            lagged.bytes += bytes;
            lagged.gap_packets += gap_packets;
        };
        match event {
            Event::Message(message) => {
                note(message.stream, 1, message.payload.len() as u64, 0);
                return false;
            }
            Event::Gap(gap) => note(gap.stream, 0, 0, gap.packets),
            Event::Lagged(lagged) => {
                note(lagged.stream, lagged.messages, lagged.bytes, lagged.gap_packets);
            }
            Event::MemberUp(ref member) => {
                self.members.insert(member.id, event);
            }
            Event::MemberDown { id, .. }
            | Event::Quarantined { id, .. }
            | Event::FalseSummary { issuer: id, .. } => {
                self.members.insert(id, event);
            }
        }
        true
    }

    /// Puts what was dropped, and is not told yet, after everything that was not.
    fn tell_dropped(&mut self) {
        let lagged = std::mem::take(&mut self.lagged);
        self.events.extend(lagged.into_values().map(Event::Lagged));
        let members = std::mem::take(&mut self.members);
        self.events.extend(members.into_values());
    }
}

impl fmt::Debug for Queue {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Queue").field("limits", &self.limits).finish_non_exhaustive()
    }
}

/// The events of one topic: its messages and gaps, and members' comings and goings.
///
/// It is a [`Stream`], and ends when the node does. Whoever reads too slowly slows nobody: what
/// does not fit into the queue is dropped and told as [`Event::Lagged`] in its place. Up to twice
/// the queue's bounds may be held: what waits, and the batch being read.
#[derive(Debug)]
pub struct Subscription {
    queue: SharedQueue,
    taken: VecDeque<Event>,
}

impl Subscription {
    pub(crate) fn new(queue: SharedQueue) -> Self {
        Self { queue, taken: VecDeque::new() }
    }

    /// The next event; `None` once the node is gone and everything was read.
    pub async fn next(&mut self) -> Option<Event> {
        poll_fn(|cx| self.poll_event(cx)).await
    }

    /// Appends everything that waits to `events`, at least one event; returns how many. Zero: the
    /// node is gone and everything was read. For many small messages this is much cheaper than
    /// [`next`](Self::next).
    pub async fn next_batch(&mut self, events: &mut Vec<Event>) -> usize {
        let before = events.len();
        if self.taken.is_empty() {
            poll_fn(|cx| self.queue.poll_take(&mut self.taken, cx)).await;
        }
        events.extend(self.taken.drain(..));
        events.len() - before
    }

    fn poll_event(&mut self, cx: &Context<'_>) -> Poll<Option<Event>> {
        if let Some(event) = self.taken.pop_front() {
            return Poll::Ready(Some(event));
        }
        self.queue.poll_take(&mut self.taken, cx).map(|_| self.taken.pop_front())
    }
}

impl Stream for Subscription {
    type Item = Event;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Event>> {
        self.poll_event(cx)
    }
}

/// The task forgets the queue when it next has something for it.
impl Drop for Subscription {
    fn drop(&mut self) {
        self.queue.close();
    }
}

#[cfg(test)]
mod tests {
    use spinglass_core::table::{Filter, Row};
    use spinglass_core::{Draft, Gap, Message, Sequence};

    use super::*;

    const LIMITS: Limits = Limits { events: 4, bytes: 100 };

    fn new() -> Queue {
        Queue::new(LIMITS, Wanted::live())
    }

    fn stream(topic: u8) -> StreamId {
        StreamId { topic: spinglass_core::TopicId([topic; 8]), ..StreamId::default() }
    }

    fn message(topic: u8, at: u64, bytes: usize) -> Event {
        let (first, last) = (Sequence(at), Sequence(at));
        let payload = Bytes::from(vec![0; bytes]);
        let headers = Row::empty();
        Event::Message(Message { stream: stream(topic), first, last, headers, payload })
    }

    fn lagged(topic: u8, messages: u64, bytes: u64, gap_packets: u64) -> Event {
        Event::Lagged(Lagged { stream: stream(topic), messages, bytes, gap_packets })
    }

    fn read(queue: &Queue) -> Vec<Event> {
        let mut events = VecDeque::new();
        let _ = queue.poll_take(&mut events, &Context::from_waker(Waker::noop()));
        events.into()
    }

    #[test]
    fn what_is_dropped_is_told_in_its_place() {
        let queue = new();
        let gap = Event::Gap(Gap { stream: stream(1), from: Sequence(9), packets: 3 });
        let sent = [message(1, 0, 60), message(1, 1, 60), message(2, 0, 1), message(1, 2, 60)];
        assert_eq!(queue.extend(sent.into_iter()), Some(2));
        let fits = message(1, 3, 10);
        assert_eq!(queue.extend([fits.clone()].into_iter()), Some(0));
        assert_eq!(queue.extend([gap].into_iter()), Some(0), "a gap is not a message");
        let expected =
            [message(1, 0, 60), message(2, 0, 1), lagged(1, 2, 120, 0), fits, lagged(1, 0, 0, 3)];
        assert_eq!(read(&queue), expected);
        assert_eq!(read(&queue), []);
    }

    #[test]
    fn a_message_of_any_size_fits_an_empty_queue() {
        let queue = new();
        assert_eq!(queue.extend([message(1, 0, 1000)].into_iter()), Some(0));
        assert_eq!(queue.extend([message(1, 1, 1)].into_iter()), Some(1));
    }

    #[test]
    fn of_each_key_only_the_newest_waits() {
        let by_length = |message: &Message| Bytes::from(vec![message.payload.len() as u8]);
        let queue = Queue::new(LIMITS, Wanted::live().latest(by_length));
        let sent = (0..1_000).map(|at| message(1, at, 1 + at as usize % 3));
        assert_eq!(queue.extend(sent), Some(0), "nothing is dropped");
        let gap = Event::Gap(Gap { stream: stream(1), from: Sequence(9), packets: 3 });
        queue.extend([gap.clone(), message(1, 1_000, 2)].into_iter());
        let newest = [message(1, 999, 1), message(1, 1_000, 2), message(1, 998, 3), gap];
        assert_eq!(read(&queue), newest);
        queue.extend([message(1, 1_001, 1)].into_iter());
        assert_eq!(read(&queue), [message(1, 1_001, 1)], "what was read is not replaced");
    }

    #[test]
    fn what_a_filter_is_not_true_of_takes_no_room() {
        let filter = Filter::parse("price > 97").expect("a condition");
        let queue = Queue::new(LIMITS, Wanted::live().only(filter));
        let priced = |at: u64| match message(1, at, 30) {
            Event::Message(message) => {
                let headers = Draft::default().header("price", at as i64).expect("a name").headers;
                Event::Message(Message { headers, ..message })
            }
            other => other,
        };
        let gap = Event::Gap(Gap { stream: stream(1), from: Sequence(9), packets: 3 });
        let sent = (0..100).map(priced).chain([message(1, 100, 30), gap.clone()]);
        assert_eq!(queue.extend(sent), Some(0), "nothing is dropped");
        assert_eq!(read(&queue), [priced(98), priced(99), gap]);
    }

    #[test]
    fn a_closed_queue_is_read_to_its_end_and_refuses_more() {
        let queue = new();
        queue.extend([message(1, 0, 1)].into_iter());
        queue.close();
        assert_eq!(queue.extend([message(1, 1, 1)].into_iter()), None);
        assert_eq!(read(&queue), [message(1, 0, 1)]);
        let ended = queue.poll_take(&mut VecDeque::new(), &Context::from_waker(Waker::noop()));
        assert_eq!(ended, Poll::Ready(false));
    }
}
