//! Which subscribers hear what: events are gathered during a turn and handed over once per turn.

use std::collections::BTreeMap;
use std::sync::Arc;

use spinglass_core::{Event as CoreEvent, Pattern, Rating, Sequence, Start, StreamId, TopicId};

use crate::event::Event;
use crate::history::History;
use crate::subscription::SharedQueue;

/// All subscriptions, by topic.
#[derive(Debug, Default)]
pub(crate) struct Hub {
    topics: Vec<Topic>,
    patterns: Vec<Patterned>,
    /// Topics that patterns have matched since this was asked last.
    met: Vec<(TopicId, Arc<str>)>,
    /// The topic found last: most messages come in runs of one.
    last: usize,
    /// Whether anything was gathered since the last [`hand_over`](Self::hand_over), and messages
    /// that were dropped since.
    gathered: bool,
    dropped: u64,
    /// Shares that the application asked for.
    ratings: BTreeMap<TopicId, Rating>,
    /// Topics whose last subscriber was found gone since this was asked last.
    deserted: Vec<TopicId>,
}

/// Who takes topics by one pattern.
#[derive(Debug)]
struct Patterned {
    pattern: Pattern,
    readers: Vec<Reader>,
}

#[derive(Debug)]
struct Topic {
    id: TopicId,
    readers: Vec<Reader>,
    events: Vec<Event>,
    /// What was told, once somebody subscribed from what is kept.
    history: Option<History>,
}

/// A subscription.
#[derive(Debug, Clone)]
pub(crate) struct Reader {
    pub(crate) queue: SharedQueue,
    /// From where on it reads.
    pub(crate) start: Start,
}

impl Hub {
    /// Gives a reader the events of a topic from now on, or first what others were told that is
    /// kept still: see [`has_history`](Self::has_history).
    pub(crate) fn add(&mut self, id: TopicId, reader: Reader) {
        if let Some(topic) = self.topics.iter_mut().find(|topic| topic.id == id) {
            return topic.add(reader);
        }
        let mut topic = Topic { id, readers: Vec::new(), events: Vec::new(), history: None };
        topic.add(reader);
        self.topics.push(topic);
    }

    /// Whether what was told of a topic is remembered, for whoever wants what is kept; else the
    /// core is to tell it.
    pub(crate) fn has_history(&self, id: TopicId) -> bool {
        self.topics.iter().any(|topic| topic.id == id && topic.history.is_some())
    }

    /// Forgets what is kept no longer.
    pub(crate) fn tidy(&mut self, kept_from: impl Fn(&StreamId) -> Option<Sequence>) {
        let histories = self.topics.iter_mut().filter_map(|topic| topic.history.as_mut());
        histories.for_each(|history| history.tidy(&kept_from));
    }

    /// Gives a reader the events of all topics that a pattern matches, as they are met: the core
    /// tells those that it has met already when it is told of the pattern.
    pub(crate) fn add_pattern(&mut self, pattern: Pattern, reader: Reader) {
        match self.patterns.iter_mut().find(|known| known.pattern == pattern) {
            Some(known) => known.readers.push(reader),
            None => self.patterns.push(Patterned { pattern, readers: vec![reader] }),
        }
    }

    /// From where on a pattern's topics are taken, if it is subscribed to.
    pub(crate) fn start_of(&self, pattern: &Pattern) -> Option<Start> {
        let known = self.patterns.iter().find(|known| known.pattern == *pattern)?;
        let is_buffered = |reader: &Reader| reader.start == Start::Buffered;
        let any_buffered = known.readers.iter().any(is_buffered);
        Some(if any_buffered { Start::Buffered } else { Start::Live })
    }

    /// A topic of this text is one that patterns match.
    pub(crate) fn meet(&mut self, id: TopicId, text: &Arc<str>) {
        self.met.push((id, Arc::clone(text)));
        let matching = self.patterns.iter().filter(|known| known.pattern.matches(text));
        let readers: Vec<Reader> = matching.flat_map(|known| &known.readers).cloned().collect();
        readers.into_iter().for_each(|reader| self.add(id, reader));
    }

    /// Topics that patterns have matched since this was asked last.
    pub(crate) fn take_met(&mut self) -> Vec<(TopicId, Arc<str>)> {
        std::mem::take(&mut self.met)
    }

    /// Patterns to which nobody here subscribes any more.
    pub(crate) fn take_deserted_patterns(&mut self) -> Vec<Pattern> {
        let mut deserted = Vec::new();
        self.patterns.retain_mut(|known| {
            known.readers.retain(|reader| !reader.queue.is_closed());
            let has_any = !known.readers.is_empty();
            deserted.extend((!has_any).then(|| known.pattern.clone()));
            has_any
        });
        deserted
    }

    /// Notes which share of a topic is asked for. Returns whether that matters now: it is
    /// subscribed to, or never was.
    pub(crate) fn rate(&mut self, id: TopicId, rating: Rating) -> bool {
        let was_known = self.ratings.insert(id, rating).is_some();
        !was_known || self.topics.iter().any(|topic| topic.id == id)
    }

    /// The share of a topic that whoever subscribes to it gets.
    pub(crate) fn rating(&self, id: TopicId) -> Rating {
        self.ratings.get(&id).copied().unwrap_or_default()
    }

    /// Topics to which nobody here subscribes any more.
    pub(crate) fn take_deserted(&mut self) -> Vec<TopicId> {
        std::mem::take(&mut self.deserted)
    }

    /// Notes an event for whoever it is meant for: a topic's subscribers, or all of them.
    pub(crate) fn gather(&mut self, event: CoreEvent) {
        self.gathered = true;
        let id = match &event {
            CoreEvent::Message(message) => message.stream.topic.plain(),
            CoreEvent::Gap(gap) => gap.stream.topic.plain(),
            CoreEvent::Kept { stream, until } => return self.begin_kept(*stream, *until),
            CoreEvent::MemberUp(_)
            | CoreEvent::MemberDown { .. }
            | CoreEvent::Quarantined { .. }
            | CoreEvent::FalseSummary { .. } => {
                for topic in &mut self.topics {
                    topic.events.extend(Event::of(event.clone()));
                }
                return;
            }
        };
        if self.topics.get(self.last).is_none_or(|topic| topic.id != id) {
            match self.topics.iter().position(|topic| topic.id == id) {
                Some(index) => self.last = index,
                // The last subscriber is gone; the core still delivers.
                None => return,
            }
        }
        if let Some(topic) = self.topics.get_mut(self.last) {
            topic.events.extend(Event::of(event));
        }
    }

    /// A stream is told from what is kept. What was gathered before is none of that.
    fn begin_kept(&mut self, stream: StreamId, until: Sequence) {
        let id = stream.topic.plain();
        for topic in self.topics.iter_mut().filter(|topic| topic.id == id) {
            self.dropped += topic.hand_over();
            topic.history.get_or_insert_default().begin_kept(stream, until);
        }
    }

    /// Hands what was gathered to the subscribers, each woken once. Returns whether there was
    /// anything, and how many messages were dropped because a subscriber is slow.
    pub(crate) fn hand_over(
        &mut self,
        kept_from: impl Fn(&StreamId) -> Option<Sequence>,
    ) -> (bool, u64) {
        if !std::mem::take(&mut self.gathered) {
            return (false, 0);
        }
        let mut dropped = std::mem::take(&mut self.dropped);
        for topic in &mut self.topics {
            dropped += topic.hand_over();
            let grown = topic.history.iter_mut().filter(|history| history.has_grown());
            grown.for_each(|history| history.tidy(&kept_from));
        }
        let deserted = &mut self.deserted;
        self.topics.retain(|topic| {
            let has_any = !topic.readers.is_empty();
            deserted.extend((!has_any).then_some(topic.id));
            has_any
        });
        (true, dropped)
    }

    /// Ends all subscriptions.
    pub(crate) fn close(&mut self) {
        self.hand_over(|_| None);
        let readers = self.topics.drain(..).flat_map(|topic| topic.readers);
        let patterned = self.patterns.drain(..).flat_map(|patterned| patterned.readers);
        readers.chain(patterned).for_each(|reader| reader.queue.close());
    }
}

impl Topic {
    fn add(&mut self, reader: Reader) {
        if self.readers.iter().any(|known| Arc::ptr_eq(&known.queue, &reader.queue)) {
            return;
        }
        if reader.start == Start::Buffered {
            let history = self.history.get_or_insert_default();
            // One that is read no more is found out when something is next handed over.
            let _ = reader.queue.extend(history.told());
        }
        self.readers.push(reader);
    }

    fn hand_over(&mut self) -> u64 {
        if self.events.is_empty() {
            return 0;
        }
        let mut dropped = 0;
        let Self { readers, events, history, .. } = self;
        let mut left = readers.len();
        readers.retain(|Reader { queue, start }| {
            left -= 1;
            let lost = match history {
                Some(history) => {
                    let is_meant =
                        |event: &&Event| *start == Start::Buffered || !history.is_kept(event);
                    queue.extend(events.iter().filter(is_meant).cloned())
                }
                // The last one gets the events themselves.
                None if left == 0 => queue.extend(events.drain(..)),
                None => queue.extend(events.iter().cloned()),
            };
            dropped += lost.unwrap_or(0);
            lost.is_some()
        });
        history.iter_mut().for_each(|history| history.note(events));
        events.clear();
        dropped
    }
}
