//! What handles ask of the task: messages to publish, and commands.
//!
//! Many messages cost one wake of the task: it takes whatever is there in one go. The queue is
//! short; what waits for its turn at the pace that was set waits in the core's send queue.

use std::collections::{BTreeMap, VecDeque};
use std::net::SocketAddr;
use std::num::NonZeroU32;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::task::{Context, Waker};
use std::time::Duration;

use bytes::Bytes;
use spinglass_core::multicast::TopicTally;
use spinglass_core::object::{ObjectError, ObjectName};
use spinglass_core::orders::{NewOrder, OrderError};
use spinglass_core::path::PathQuestion;
use spinglass_core::query::{Answer, AskError, Question};
use spinglass_core::table::{Name, SetError, Value, ZonePath};
use spinglass_core::{Draft, Keep, Member, Pattern, Rating, Sighting, Start, TopicId};
use tokio::sync::futures::Notified;
use tokio::sync::{Notify, mpsc, oneshot};

use crate::clock::Clock;
use crate::faults::Dropper;
use crate::security::Renewal;
use crate::stats::Stats;
use crate::subscription::SharedQueue;
use crate::table::Look;
use crate::traffic::Traffic;

/// Bytes of messages between the application and the task. When full, publishing waits; one message
/// always fits. A mebibyte is a few milliseconds' worth at the default pace.
const INBOX_BYTES_MAX: usize = 1 << 20;
/// Messages there: what 400,000 messages a second bring in some 10 ms.
const INBOX_MESSAGES_MAX: usize = 4096;
/// Bytes that the core's queue needs for a message beside its content: its length, as a varint.
const LENGTH_BYTES_MAX: usize = 10;

/// Something that a handle asks for.
#[derive(Debug)]
pub(crate) enum Command {
    /// A topic's text, which rules may be about.
    Topic(std::sync::Arc<str>),
    /// Give a queue a topic's events.
    Subscribe { topic: TopicId, start: Start, queue: SharedQueue },
    /// Take a share of a topic's messages.
    Rate { topic: TopicId, rating: Rating },
    /// Give a queue the events of all topics that a pattern matches.
    SubscribePattern { pattern: Pattern, start: Start, rating: Rating, queue: SharedQueue },
    /// Take a share of them.
    RatePattern { pattern: Pattern, rating: Rating },
    /// Keep messages that are published on a topic.
    Keep { topic: TopicId, keep: Keep },
    /// Say when everything published so far is sent.
    Flush(oneshot::Sender<()>),
    /// Tell what went to whom, and came from whom.
    Traffic(oneshot::Sender<Vec<Traffic>>),
    /// Tell what has passed on each topic.
    Topics(oneshot::Sender<BTreeMap<TopicId, TopicTally>>),
    /// Tell a queue what is seen of one in so many messages.
    Follow { one_in: NonZeroU32, queue: mpsc::Sender<Sighting>, answer: oneshot::Sender<Clock> },
    /// Drop packets on purpose.
    Drop(Dropper),
    /// Tell the counters.
    Stats(oneshot::Sender<Stats>),
    /// Tell who is there.
    Members(oneshot::Sender<Vec<Member>>),
    /// Let somebody look at the core.
    Look(Look),
    /// Set an attribute of the own row.
    SetAttributes { attributes: Vec<(Name, Value)>, answer: oneshot::Sender<Result<(), SetError>> },
    /// Install a summary function, or, with no text, remove it.
    SetSummary {
        zone: ZonePath,
        name: String,
        sql: Option<String>,
        /// For how long it holds; none: until it is removed.
        lasts: Option<Duration>,
        answer: oneshot::Sender<Result<(), SetError>>,
    },
    /// Join by these addresses, too.
    AddSeeds(Vec<SocketAddr>),
    /// Ask about the way to this member.
    AskPath { whom: SocketAddr, question: PathQuestion },
    /// Be reached at this address from now on, by the own socket; none: through the relay.
    UsePath(Option<SocketAddr>),
    /// Find something out.
    Ask { question: Question, answer: oneshot::Sender<Result<Answer, AskError>> },
    /// Give everybody an order.
    Order { order: NewOrder, answer: oneshot::Sender<Result<(), OrderError>> },
    /// Go on with what the files of certificates, rules and revocations say now.
    Renew(Box<Renewal>),
    /// Put an object under an attribute of the own row.
    PutObject { name: Name, bytes: Bytes, answer: oneshot::Sender<Result<ObjectName, SetError>> },
    /// Begin to fetch an object.
    FetchObject { object: ObjectName, answer: oneshot::Sender<Result<(), ObjectError>> },
    /// Say good-bye in good order; tell how many bytes were left unsent.
    Close { within: Duration, done: oneshot::Sender<usize> },
    /// Stop at once: the handle is gone.
    Stop,
}

/// Why a message was not taken.
#[derive(Debug)]
pub(crate) enum Refused {
    Full(Draft),
    Closed,
}

/// The queue between handles and task.
#[derive(Debug, Default)]
pub(crate) struct Inbox {
    state: Mutex<State>,
    space: Notify,
}

#[derive(Debug, Default)]
struct State {
    messages: VecDeque<(TopicId, Draft)>,
    bytes: usize,
    commands: Vec<Command>,
    /// The sleeping task.
    task: Option<Waker>,
    closed: bool,
}

/// How much the core's send queue can take.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Room {
    /// Bytes that may still be added.
    pub(crate) bytes: usize,
    /// Whether nothing waits there: then a message of any size is taken.
    pub(crate) empty: bool,
}

impl Room {
    /// Whether a message may be taken.
    pub(crate) fn fits(self, draft: &Draft) -> bool {
        self.empty || draft.bytes() + LENGTH_BYTES_MAX <= self.bytes
    }

    /// What is left once it has been.
    fn without(self, draft: &Draft) -> Self {
        let bytes = self.bytes.saturating_sub(draft.bytes() + LENGTH_BYTES_MAX);
        Self { bytes, empty: false }
    }
}

impl Inbox {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Adds a message to publish.
    pub(crate) fn publish(&self, topic: TopicId, draft: Draft) -> Result<(), Refused> {
        let bytes = draft.bytes();
        let mut state = self.lock();
        if state.closed {
            return Err(Refused::Closed);
        }
        let count = state.messages.len();
        let full =
            count >= INBOX_MESSAGES_MAX || count > 0 && state.bytes + bytes > INBOX_BYTES_MAX;
        if full {
            return Err(Refused::Full(draft));
        }
        state.bytes += bytes;
        state.messages.push_back((topic, draft));
        let task = state.task.take();
        drop(state);
        task.into_iter().for_each(Waker::wake);
        Ok(())
    }

    /// Resolves when there may be room again. To be made before [`publish`](Self::publish) is
    /// tried.
    pub(crate) fn space(&self) -> Notified<'_> {
        self.space.notified()
    }

    /// Adds a command; gives it back if the task is gone.
    pub(crate) fn command(&self, command: Command) -> Result<(), Command> {
        let mut state = self.lock();
        if state.closed {
            return Err(command);
        }
        state.commands.push(command);
        let task = state.task.take();
        drop(state);
        task.into_iter().for_each(Waker::wake);
        Ok(())
    }

    /// Whether there is something for the task; if not, it is woken when there is.
    pub(crate) fn poll(&self, room: Room, cx: &Context<'_>) -> bool {
        let mut state = self.lock();
        let publishable = state.messages.front().is_some_and(|(_, draft)| room.fits(draft));
        let ready = publishable || !state.commands.is_empty();
        if !ready && !state.task.as_ref().is_some_and(|task| task.will_wake(cx.waker())) {
            state.task = Some(cx.waker().clone());
        }
        ready
    }

    /// Moves commands, and as many messages as there is room for, to the task.
    pub(crate) fn take(
        &self,
        mut room: Room,
        messages: &mut VecDeque<(TopicId, Draft)>,
        commands: &mut Vec<Command>,
    ) {
        let mut state = self.lock();
        commands.append(&mut state.commands);
        while let Some((topic, draft)) = state.messages.pop_front() {
            if !room.fits(&draft) {
                state.messages.push_front((topic, draft));
                break;
            }
            state.bytes -= draft.bytes();
            room = room.without(&draft);
            messages.push_back((topic, draft));
        }
        drop(state);
        if !messages.is_empty() {
            self.space.notify_waiters();
        }
    }

    /// Bytes of messages that wait here, and whether any do.
    pub(crate) fn waiting(&self) -> (usize, bool) {
        let state = self.lock();
        (state.bytes, !state.messages.is_empty())
    }

    /// Takes nothing more; what is here is dropped, and whoever waits is told.
    pub(crate) fn close(&self) {
        let mut state = self.lock();
        state.closed = true;
        state.messages.clear();
        state.bytes = 0;
        let commands = std::mem::take(&mut state.commands);
        drop(state);
        for command in commands {
            if let Command::Subscribe { queue, .. } | Command::SubscribePattern { queue, .. } =
                command
            {
                queue.close();
            }
        }
        self.space.notify_waiters();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TOPIC: TopicId = TopicId([0; 8]);

    fn taken(inbox: &Inbox, room: Room) -> usize {
        let (mut messages, mut commands) = (VecDeque::new(), Vec::new());
        inbox.take(room, &mut messages, &mut commands);
        messages.len()
    }

    #[test]
    fn is_bounded_in_bytes_and_messages_yet_takes_any_one() {
        let inbox = Inbox::default();
        let large = Draft::from(vec![0; 2 * INBOX_BYTES_MAX]);
        inbox.publish(TOPIC, large.clone()).unwrap();
        assert!(
            matches!(inbox.publish(TOPIC, large.clone()), Err(Refused::Full(back)) if back == large)
        );
        assert_eq!(taken(&inbox, Room { bytes: 10, empty: false }), 0, "no room in the core");
        assert_eq!(taken(&inbox, Room { bytes: 10, empty: true }), 1);
        for _ in 0..INBOX_MESSAGES_MAX {
            inbox.publish(TOPIC, Draft::default()).unwrap();
        }
        assert!(matches!(inbox.publish(TOPIC, Draft::default()), Err(Refused::Full(_))));
        assert_eq!(taken(&inbox, Room { bytes: 0, empty: false }), 0);
        let room = Room { bytes: 10 * LENGTH_BYTES_MAX, empty: false };
        assert_eq!(taken(&inbox, room), 10, "each counts, however small");
        inbox.close();
        assert!(matches!(inbox.publish(TOPIC, Draft::default()), Err(Refused::Closed)));
    }
}
