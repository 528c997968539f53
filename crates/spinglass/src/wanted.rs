//! What a subscription is to bring of what is taken: from where on, which messages, how many.

use std::fmt;

use bytes::Bytes;
use spinglass_core::table::Filter;
use spinglass_core::{Message, Start};

use crate::event::Event;

/// What a message is the value of.
type KeyOf = Box<dyn Fn(&Message) -> Bytes + Send + Sync>;

/// What a [`Group::subscribe_to`](crate::Group::subscribe_to) is to bring.
///
/// It chooses among the messages that come to this member, as its rating says: it saves reading
/// them, not sending them.
#[derive(Default)]
pub struct Wanted {
    pub(crate) start: Start,
    filter: Option<Filter>,
    key_of: Option<KeyOf>,
}

impl Wanted {
    /// Whatever comes from now on.
    #[must_use]
    pub fn live() -> Self {
        Self::from(Start::Live)
    }

    /// First what is [kept](crate::Group::keep), or still held for repair.
    #[must_use]
    pub fn buffered() -> Self {
        Self::from(Start::Buffered)
    }

    /// Only messages of whose [headers](Message::headers) a filter is true. A message lacks all
    /// headers that it was not given: they are null.
    #[must_use]
    pub fn only(self, filter: Filter) -> Self {
        Self { filter: Some(filter), ..self }
    }

    /// Of each key's messages only the newest that waits to be read: it takes the place of the one
    /// before. So who reads seldom reads the newest of each key, and lags behind nobody, as long as
    /// there is room for one message of every key. Messages of different keys may come in another
    /// order than they were published in.
    #[must_use]
    pub fn latest(self, key: impl Fn(&Message) -> Bytes + Send + Sync + 'static) -> Self {
        Self { key_of: Some(Box::new(key)), ..self }
    }

    /// Whether an event is told at all.
    pub(crate) fn has(&self, event: &Event) -> bool {
        match (event, &self.filter) {
            (Event::Message(message), Some(filter)) => filter.matches(&message.headers),
            _ => true,
        }
    }

    /// What an event is the value of, if an older one gives way to it.
    pub(crate) fn key(&self, event: &Event) -> Option<Bytes> {
        match (event, &self.key_of) {
            (Event::Message(message), Some(key_of)) => Some(key_of(message)),
            _ => None,
        }
    }
}

impl From<Start> for Wanted {
    fn from(start: Start) -> Self {
        Self { start, ..Self::default() }
    }
}

impl fmt::Debug for Wanted {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { start, filter, .. } = self;
        let mut wanted = formatter.debug_struct("Wanted");
        wanted.field("start", start).field("filter", filter).finish_non_exhaustive()
    }
}
