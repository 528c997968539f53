//! A topic, as one member publishes to it and subscribes to it.

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use spinglass_core::rules::Action;
use spinglass_core::{Denied, Draft, Keep, Rating, Start, TopicId};
use tokio::sync::oneshot;

use crate::error::{Closed, PublishError, TryPublishError};
use crate::inbox::{Command, Refused};
use crate::node::Shared;
use crate::subscription::{Queue, Subscription};
use crate::topics::id_of;
use crate::wanted::Wanted;

/// A handle to a topic: cheap to clone, and of no use once its [`Node`](crate::Node) is gone.
#[derive(Clone)]
pub struct Group {
    shared: Arc<Shared>,
    topic: TopicId,
    name: Arc<str>,
    /// What the rules said when they were asked last, and which they were: they are not asked for
    /// each message.
    publish: Arc<Mutex<(u64, Result<(), Denied>)>>,
}

impl Group {
    pub(crate) fn new(shared: Arc<Shared>, name: &str) -> Self {
        let topic = id_of(name);
        let name: Arc<str> = Arc::from(name);
        shared.texts.note(topic, &name);
        // Rules are about texts, and patterns. A task that is gone needs none.
        let _ = shared.inbox.command(Command::Topic(Arc::clone(&name)));
        Self { shared, topic, name, publish: Arc::new(Mutex::new((0, Ok(())))) }
    }

    /// The topic's text.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The topic's name on the wire.
    #[must_use]
    pub const fn topic(&self) -> TopicId {
        self.topic
    }

    /// The same topic, to publish what is for all who take anything of it, whatever their
    /// [ratings](Self::set_rating): an alarm among readings. Such messages are streams of their
    /// own, [named](TopicId::is_for_all) so, and leave before others; who publishes both gives up
    /// that they come in one order. Subscriptions and ratings are the topic's, as ever.
    #[must_use]
    pub fn for_all(&self) -> Self {
        Self { topic: self.topic.for_all(), ..self.clone() }
    }

    /// Whether the rules let this member publish here.
    ///
    /// # Errors
    /// They do not.
    pub fn may_publish(&self) -> Result<(), Denied> {
        let revision = self.shared.rules.revision();
        let mut known = self.publish.lock().unwrap_or_else(PoisonError::into_inner);
        if known.0 != revision {
            *known = (revision, self.shared.rules.check(&Action::Publish(&self.name)));
        }
        known.1
    }

    /// Whether the rules let this member subscribe.
    ///
    /// # Errors
    /// They do not.
    pub fn may_subscribe(&self) -> Result<(), Denied> {
        let subscribe = Action::Subscribe(&self.name);
        self.shared.rules.check(&subscribe)
    }

    /// Publishes a message to everybody but this member itself: bytes of any kind, or a [`Draft`]
    /// with headers. It returns when the message has been taken to wait for its turn, which is at
    /// once unless the application publishes faster than the pace that was set.
    ///
    /// # Errors
    /// The message is larger than 16 MiB, or has headers of more than 1 KiB; the rules deny it; or
    /// the node is gone.
    pub async fn publish(&self, message: impl Into<Draft>) -> Result<(), PublishError> {
        let mut draft = message.into();
        loop {
            // Made first, so that room which comes up in between is not missed.
            let space = self.shared.inbox.space();
            match self.try_publish(draft) {
                Ok(()) => return Ok(()),
                Err(TryPublishError::Refused(error)) => return Err(error),
                Err(TryPublishError::Full(back)) => draft = back,
            }
            space.await;
        }
    }

    /// Publishes a message if there is room for it just now.
    ///
    /// # Errors
    /// There is no room, and the message comes back; or as [`publish`](Self::publish).
    pub fn try_publish(&self, message: impl Into<Draft>) -> Result<(), TryPublishError> {
        let draft = message.into();
        draft.check().map_err(PublishError::from)?;
        self.may_publish().map_err(PublishError::Denied)?;
        self.shared.inbox.publish(self.topic, draft).map_err(|refused| match refused {
            Refused::Full(draft) => TryPublishError::Full(draft),
            Refused::Closed => PublishError::Closed.into(),
        })
    }

    /// Waits until everything that was published before is on the wire. While others go on
    /// publishing at this member faster than its pace, that does not come.
    ///
    /// # Errors
    /// The node is gone.
    pub async fn flush(&self) -> Result<(), Closed> {
        let (done, flushed) = oneshot::channel();
        self.shared.inbox.command(Command::Flush(done)).map_err(|_| Closed)?;
        flushed.await.map_err(|_| Closed)
    }

    /// Subscribes to what is published from now on. The subscription ends at once if the rules do
    /// not let this member subscribe: see [`may_subscribe`](Self::may_subscribe).
    #[must_use]
    pub fn subscribe(&self) -> Subscription {
        self.subscribe_from(Start::Live)
    }

    /// Subscribes. With `Start::Buffered` the subscription begins with what is
    /// [kept](Self::keep), or still held for repair.
    #[must_use]
    pub fn subscribe_from(&self, start: Start) -> Subscription {
        self.subscribe_to(start.into())
    }

    /// Subscribes to a choice of the messages: of those of whose headers a filter is true, or of
    /// the latest of each key.
    #[must_use]
    pub fn subscribe_to(&self, wanted: Wanted) -> Subscription {
        let start = wanted.start;
        let queue = Arc::new(Queue::new(self.shared.limits, wanted));
        let topic = self.topic.plain();
        let command = Command::Subscribe { topic, start, queue: Arc::clone(&queue) };
        if self.may_subscribe().is_err() || self.shared.inbox.command(command).is_err() {
            queue.close();
        }
        Subscription::new(queue)
    }

    /// Has messages kept, of those that this member publishes here, for whoever subscribes later
    /// from [`Start::Buffered`]: the last ones, or the latest value of each key; from its next
    /// message on, and none if this is never called.
    ///
    /// This member keeps them, and so do some, drawn by hash, of those who take the topic, in each
    /// region. There is a bound: 4,096 packets of each publisher, and half of each one's buffers.
    /// They outlive this member as long as others remember who it was.
    pub fn keep(&self, keep: Keep) {
        // A node that is gone keeps nothing.
        let _ = self.shared.inbox.command(Command::Keep { topic: self.topic, keep });
    }

    /// Takes a share of the topic's messages from now on, in all of this member's subscriptions of
    /// it; all of them if this is never called. Call it before subscribing, and again whenever
    /// another share is wanted.
    ///
    /// A fifth ([`Rating::new(0.2)`](Rating::new)) is every fifth packet of each sender, the same
    /// ones at all members of that rating. What is not taken is no gap. A message is taken whole or
    /// not at all; several that shared a packet are taken together.
    pub fn set_rating(&self, rating: Rating) {
        // A node that is gone takes nothing.
        let _ = self.shared.inbox.command(Command::Rate { topic: self.topic.plain(), rating });
    }
}

impl fmt::Debug for Group {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Group").field("name", &self.name).finish_non_exhaustive()
    }
}
