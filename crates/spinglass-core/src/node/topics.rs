//! Topics: what the application takes of them, and how others come to know.

use super::Node;
use crate::config::Start;
use crate::id::TopicId;
use crate::multicast::Cx;
use crate::rating::Rating;
use crate::time::{Instant, Now};
use crate::trust::Denied;

/// Rounds between two looks at what the own row should tell of topics.
pub(super) const INTEREST_ROUNDS: u32 = 10;

impl Node {
    /// Delivers a topic's messages to the application from now on, or from what is still buffered.
    ///
    /// # Errors
    /// The rules deny it, or this node was not told the topic's text ([`topic`](Self::topic)) and
    /// so can't look it up in them; nothing changed.
    pub fn subscribe(&mut self, now: Now, topic: TopicId, start: Start) -> Result<(), Denied> {
        self.stats.inputs += 1;
        if let Some(trust) = &self.trust {
            trust.check_subscribe(topic)?;
        }
        self.multicast.subscribe(topic, start, &mut cx!(self, now.monotonic));
        self.tell_interest(now.monotonic);
        Ok(())
    }

    /// Takes a share of a topic's messages from now on; all of them, if this is never called. What
    /// is taken of a sender's messages is even in time, and the same at all of the same rating.
    pub fn rate(&mut self, now: Now, topic: TopicId, rating: Rating) {
        self.stats.inputs += 1;
        self.multicast.rate(topic, rating, &mut cx!(self, now.monotonic));
        self.tell_interest(now.monotonic);
    }

    /// Has the own row tell what this member takes of which topics, so that others send it that and
    /// no more. Until it has told so, it is sent everything.
    pub(super) fn tell_interest(&mut self, now: Instant) {
        if !self.has_left {
            self.table.set_interest(self.multicast.interest());
            self.after_table(now);
        }
    }
}
