//! What a topic's subscribers have been told and is kept still, for whoever comes next.
//!
//! The core tells an application what is kept once. Of two who subscribe from there, one after the
//! other, the second is given what the first was told.

use std::collections::{BTreeMap, VecDeque};

use spinglass_core::{Message, Sequence, StreamId};

use crate::event::Event;

/// Messages remembered of a topic: as many as packets are kept of a sender.
const MESSAGES_MAX: usize = 4_096;
/// Their bytes.
const BYTES_MAX: usize = 4 << 20;
/// How many more may come before those are looked for that are kept no longer.
const SLACK: usize = 64;

/// A topic's history, since somebody first subscribed to it from what is kept.
#[derive(Debug, Default)]
pub(crate) struct History {
    told: VecDeque<Message>,
    bytes: usize,
    /// How many there were when the rest was forgotten.
    left: usize,
    /// Streams told from what is kept, up to where: for those alone who subscribed so.
    kept: BTreeMap<StreamId, Sequence>,
}

impl History {
    /// A stream is told from what is kept, perhaps once more.
    pub(crate) fn begin_kept(&mut self, stream: StreamId, until: Sequence) {
        self.kept.insert(stream, until);
        self.retain(|message| message.stream != stream);
    }

    /// Whether an event is for those alone who asked for what is kept.
    pub(crate) fn is_kept(&self, event: &Event) -> bool {
        let (stream, end) = match event {
            Event::Message(message) => (message.stream, message.last),
            Event::Gap(gap) => (gap.stream, gap.from),
            _ => return false,
        };
        self.kept.get(&stream).is_some_and(|until| end < *until)
    }

    /// Remembers what was told.
    pub(crate) fn note(&mut self, events: &[Event]) {
        for event in events {
            let Event::Message(message) = event else { continue };
            if self.kept.get(&message.stream).is_some_and(|until| message.last >= *until) {
                self.kept.remove(&message.stream);
            }
            self.bytes += message.payload.len();
            self.told.push_back(message.clone());
        }
        while self.told.len() > MESSAGES_MAX || self.bytes > BYTES_MAX {
            let Some(oldest) = self.told.pop_front() else { break };
            self.bytes -= oldest.payload.len();
        }
    }

    /// Whether many have come since it was tidied.
    pub(crate) fn has_grown(&self) -> bool {
        self.told.len() > 2 * self.left + SLACK
    }

    /// Forgets what is kept no longer.
    pub(crate) fn tidy(&mut self, kept_from: impl Fn(&StreamId) -> Option<Sequence>) {
        let mut known = BTreeMap::new();
        self.retain(|message| {
            let from = known.entry(message.stream).or_insert_with(|| kept_from(&message.stream));
            from.is_some_and(|from| message.first >= from)
        });
        self.left = self.told.len();
    }

    /// What is kept still.
    pub(crate) fn told(&self) -> impl Iterator<Item = Event> + '_ {
        self.told.iter().cloned().map(Event::Message)
    }

    fn retain(&mut self, stays: impl FnMut(&Message) -> bool) {
        self.told.retain(stays);
        self.bytes = self.told.iter().map(|message| message.payload.len()).sum();
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use spinglass_core::table::Row;
    use spinglass_core::{Gap, MemberId};

    use super::*;

    fn stream(sender: u8) -> StreamId {
        StreamId { sender: MemberId([sender; 16]), ..StreamId::default() }
    }

    fn message(sender: u8, at: u64, bytes: usize) -> Event {
        let (stream, first, last) = (stream(sender), Sequence(at), Sequence(at));
        let payload = Bytes::from(vec![0; bytes]);
        Event::Message(Message { stream, first, last, headers: Row::empty(), payload })
    }

    #[test]
    fn what_is_kept_no_longer_is_forgotten_and_all_is_bounded() {
        let mut history = History::default();
        for at in 0..200 {
            history.note(&[message(1, at, 10), message(2, at, 10)]);
        }
        assert!(history.has_grown());
        history.tidy(|stream| (stream.sender.0[0] == 1).then_some(Sequence(190)));
        assert!(history.told().eq((190..200).map(|at| message(1, at, 10))));
        assert_eq!(history.bytes, 100);
        (0..10_000).for_each(|at| history.note(&[message(1, at, 0)]));
        assert_eq!(history.told.len(), MESSAGES_MAX);
        (0..20).for_each(|at| history.note(&[message(1, at, 1 << 20)]));
        assert_eq!((history.told.len(), history.bytes), (4, BYTES_MAX));
    }

    #[test]
    fn what_is_told_from_what_is_kept_is_known_until_it_is_past() {
        let mut history = History::default();
        history.note(&[message(1, 7, 1), message(2, 7, 1)]);
        history.begin_kept(stream(1), Sequence(8));
        assert!(history.told().eq([message(2, 7, 1)]), "it comes again");
        let gap = |from| Event::Gap(Gap { stream: stream(1), from: Sequence(from), packets: 9 });
        assert!(history.is_kept(&message(1, 7, 1)) && history.is_kept(&gap(7)));
        let others = [message(1, 8, 1), message(2, 7, 1), gap(8)];
        assert!(!others.iter().any(|event| history.is_kept(event)));
        history.note(&[message(1, 7, 1), message(1, 8, 1)]);
        assert!(history.kept.is_empty() && history.told().count() == 3);
    }
}
