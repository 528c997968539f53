//! Messages that are followed: what this member saw of them, for whoever gathers it from all.

use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::SystemTime;

use spinglass_core::{Seen, Sequence, StreamId};
use tokio::sync::{mpsc, oneshot};

use crate::clock::Clock;
use crate::error::Closed;
use crate::inbox::Command;
use crate::node::Shared;

/// Sightings that wait for whoever asked for them.
const SIGHTINGS_MAX: usize = 4096;

/// What this member saw of a message that is followed: see
/// [`Node::follow_messages`](crate::Node::follow_messages).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sighting {
    /// When, by this member's wall clock.
    pub time: SystemTime,
    /// The stream it came by.
    pub stream: StreamId,
    /// The packet in which it starts. Small messages that start in the same one are followed as
    /// one.
    pub first: Sequence,
    /// The topic's text, if anybody here has named it.
    pub topic: Option<Arc<str>>,
    /// What happened.
    pub seen: Seen,
}

/// What is seen of messages that are followed, in order.
#[derive(Debug)]
pub struct Sightings {
    queue: mpsc::Receiver<spinglass_core::Sighting>,
    clock: Clock,
    shared: Arc<Shared>,
}

impl Sightings {
    pub(crate) async fn begin(shared: Arc<Shared>, one_in: NonZeroU32) -> Result<Self, Closed> {
        let (sender, queue) = mpsc::channel(SIGHTINGS_MAX);
        let (answer, clock) = oneshot::channel();
        let follow = Command::Follow { one_in, queue: sender, answer };
        shared.inbox.command(follow).map_err(|_| Closed)?;
        let clock = clock.await.map_err(|_| Closed)?;
        Ok(Self { queue, clock, shared })
    }

    /// The next one; `None` once the node is gone and everything was read. Some thousand wait; what
    /// there is no room for is counted as missed.
    pub async fn next(&mut self) -> Option<Sighting> {
        let spinglass_core::Sighting { at, stream, sequence, seen } = self.queue.recv().await?;
        let topic = self.shared.texts.of(stream.topic);
        Some(Sighting { time: self.clock.wall_at(at), stream, first: sequence, topic, seen })
    }
}
