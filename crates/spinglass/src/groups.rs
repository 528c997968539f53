//! All topics that a pattern matches, as one member subscribes to them.

use std::fmt;
use std::sync::Arc;

use spinglass_core::{Pattern, Rating, Start};

use crate::inbox::Command;
use crate::node::Shared;
use crate::subscription::{Queue, Subscription};
use crate::wanted::Wanted;

/// A handle to all topics that a pattern matches, met already or not: of no use once its
/// [`Node`](crate::Node) is gone.
pub struct Groups {
    shared: Arc<Shared>,
    pattern: Pattern,
    rating: Rating,
}

impl Groups {
    pub(crate) const fn new(shared: Arc<Shared>, pattern: Pattern) -> Self {
        Self { shared, pattern, rating: Rating::ALL }
    }

    /// The pattern.
    #[must_use]
    pub const fn pattern(&self) -> &Pattern {
        &self.pattern
    }

    /// Takes a share of each topic's messages, from now on, in all of this member's subscriptions
    /// of this pattern: see [`Group::set_rating`](crate::Group::set_rating).
    pub fn set_rating(&mut self, rating: Rating) {
        self.rating = rating;
        let pattern = self.pattern.clone();
        // A node that is gone takes nothing.
        let _ = self.shared.inbox.command(Command::RatePattern { pattern, rating });
    }

    /// Subscribes to what is published from now on. [`Node::topic_text`](crate::Node::topic_text)
    /// tells which topic a message is of. Topics that the rules do not let this member subscribe to
    /// are passed over. The subscription ends at once if this member has 64 patterns already.
    #[must_use]
    pub fn subscribe(&self) -> Subscription {
        self.subscribe_from(Start::Live)
    }

    /// The same, from what is [kept](crate::Group::keep), of topics that this member does not take
    /// already.
    #[must_use]
    pub fn subscribe_from(&self, start: Start) -> Subscription {
        self.subscribe_to(start.into())
    }

    /// Subscribes to a choice of the messages.
    #[must_use]
    pub fn subscribe_to(&self, wanted: Wanted) -> Subscription {
        let start = wanted.start;
        let queue = Arc::new(Queue::new(self.shared.limits, wanted));
        let (pattern, rating) = (self.pattern.clone(), self.rating);
        let taken = Arc::clone(&queue);
        let command = Command::SubscribePattern { pattern, start, rating, queue: taken };
        if self.shared.inbox.command(command).is_err() {
            queue.close();
        }
        Subscription::new(queue)
    }
}

impl fmt::Debug for Groups {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Groups").field("pattern", &self.pattern).finish_non_exhaustive()
    }
}
