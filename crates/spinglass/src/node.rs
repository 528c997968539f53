//! The handle to a running member.

use std::net::SocketAddr;
use std::num::NonZeroU32;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use spinglass_core::{
    Incarnation, Member, MemberId, Node as CoreNode, Pattern, PatternError, TopicId,
};
use tokio::sync::{oneshot, watch};

use crate::builder::Builder;
use crate::error::{Closed, StartError, Unsent};
use crate::faults::Dropper;
use crate::group::Group;
use crate::groups::Groups;
use crate::inbox::{Command, Inbox};
use crate::orders::Orders;
use crate::security::Rulebook;
use crate::sightings::Sightings;
use crate::stats::Stats;
use crate::subscription::Limits;
use crate::table::{Look, Table};
use crate::topics::{Texts, Topic};
use crate::traffic::Traffic;

/// How long [`Node::close`] lets what is queued leave.
const CLOSE_DEADLINE: Duration = Duration::from_secs(5);

/// What handles and task share.
#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) inbox: Inbox,
    pub(crate) limits: Limits,
    /// The counters as the task left them.
    pub(crate) last: OnceLock<Stats>,
    /// What this member may do.
    pub(crate) rules: Rulebook,
    /// The texts of topics.
    pub(crate) texts: Texts,
}

impl Shared {
    /// What somebody sees who looks at the core; `None`: the node is gone.
    pub(crate) async fn look<T: Send + 'static>(
        &self,
        see: impl FnOnce(&CoreNode) -> T + Send + 'static,
    ) -> Option<T> {
        let (answer, seen) = oneshot::channel();
        // Whoever asked may be gone.
        let look = move |node: &CoreNode| drop(answer.send(see(node)));
        self.inbox.command(Command::Look(Look(Box::new(look)))).ok()?;
        seen.await.ok()
    }
}

/// What others may wait for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Pulse {
    /// How many members are known.
    pub(crate) members: usize,
    /// The table's revision.
    pub(crate) table: u64,
    /// The objects' revision.
    pub(crate) objects: u64,
    /// Where others reach this member.
    pub(crate) address: SocketAddr,
}

impl Pulse {
    pub(crate) fn of(node: &CoreNode) -> Self {
        Self {
            members: node.member_count(),
            table: node.table().revision(),
            objects: node.objects().revision(),
            address: node.address(),
        }
    }
}

/// What is known of a member before its task begins.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Known {
    pub(crate) id: MemberId,
    pub(crate) incarnation: Incarnation,
    pub(crate) development: bool,
}

/// A running member of the group.
///
/// Dropping it stops it at once, with a good-bye but without sending what waits;
/// [`close`](Self::close) does it in good order. Its groups and subscriptions end with it.
#[derive(Debug)]
pub struct Node {
    shared: Arc<Shared>,
    pulse: watch::Receiver<Pulse>,
    known: Known,
}

impl Node {
    /// Begins to describe a member.
    pub fn builder() -> Builder {
        Builder::default()
    }

    pub(crate) const fn new(
        shared: Arc<Shared>,
        pulse: watch::Receiver<Pulse>,
        known: Known,
    ) -> Self {
        Self { shared, pulse, known }
    }

    /// A topic to publish and subscribe to.
    #[must_use]
    pub fn group(&self, topic: &str) -> Group {
        Group::new(Arc::clone(&self.shared), topic)
    }

    /// The hierarchical table: this agent's row, its region's, and a summary of every zone above.
    #[must_use]
    pub fn table(&self) -> Table {
        Table::new(Arc::clone(&self.shared), self.pulse.clone())
    }

    /// Orders: new link keys, revocations, quarantines.
    #[must_use]
    pub fn orders(&self) -> Orders {
        Orders::new(Arc::clone(&self.shared))
    }

    /// This member's name.
    #[must_use]
    pub const fn id(&self) -> MemberId {
        self.known.id
    }

    /// This member's life.
    #[must_use]
    pub const fn incarnation(&self) -> Incarnation {
        self.known.incarnation
    }

    /// Where other members reach this one: a seed for them. It changes when this member comes by
    /// another way, such as another port of a relay's.
    #[must_use]
    pub fn local_addr(&self) -> SocketAddr {
        self.pulse.borrow().address
    }

    /// Whether it runs under the development key, which keeps nothing secret.
    #[must_use]
    pub const fn is_development(&self) -> bool {
        self.known.development
    }

    /// Everybody known to be there, this member included; nobody once it is closed.
    pub async fn members(&self) -> Vec<Member> {
        let (answer, members) = oneshot::channel();
        if self.shared.inbox.command(Command::Members(answer)).is_err() {
            return Vec::new();
        }
        members.await.unwrap_or_default()
    }

    /// How many that are, as of the task's last turn.
    #[must_use]
    pub fn member_count(&self) -> usize {
        self.pulse.borrow().members
    }

    /// Waits until at least `count` members are known, this one included.
    ///
    /// # Errors
    /// The node is gone.
    pub async fn wait_for_members(&self, count: usize) -> Result<(), Closed> {
        let mut pulse = self.pulse.clone();
        pulse.wait_for(|pulse| pulse.members >= count).await.map(|_| ()).map_err(|_| Closed)
    }

    /// A handle to all topics that a pattern matches: levels parted by `/`, of which `+` stands for
    /// any one, and `#`, as the last, for all that are left.
    ///
    /// # Errors
    /// The text is no pattern, and why.
    pub fn groups(&self, pattern: &str) -> Result<Groups, PatternError> {
        Ok(Groups::new(Arc::clone(&self.shared), Pattern::new(pattern)?))
    }

    /// A topic's text, if anybody here has named it, or a pattern has matched it.
    #[must_use]
    pub fn topic_text(&self, topic: TopicId) -> Option<Arc<str>> {
        self.shared.texts.of(topic)
    }

    /// The region of somebody met whose region lies within this node's, or around it, such as
    /// `/usa` for one that is in `/`: such two never hear each other.
    pub async fn region_in_the_way(&self) -> Option<String> {
        let see = |node: &CoreNode| node.region_in_the_way().map(ToString::to_string);
        self.shared.look(see).await.flatten()
    }

    /// Everything counted so far.
    pub async fn stats(&self) -> Stats {
        let (answer, stats) = oneshot::channel();
        // A task that is gone has dropped the command or refused it, and left its counters.
        let _ = self.shared.inbox.command(Command::Stats(answer));
        match stats.await {
            Ok(stats) => stats,
            Err(_) => self.shared.last.get().cloned().unwrap_or_default(),
        }
    }

    /// What went to each address, and came from it: of the few thousand addresses that were sent
    /// something last, in no order.
    pub async fn traffic(&self) -> Vec<Traffic> {
        let (answer, traffic) = oneshot::channel();
        let _ = self.shared.inbox.command(Command::Traffic(answer));
        // A task that is gone has none any more.
        traffic.await.unwrap_or_default()
    }

    /// The topics that this member has met since it started, and what has passed on them: of its
    /// own, and of what it takes in for others.
    pub async fn topics(&self) -> Vec<Topic> {
        let (answer, topics) = oneshot::channel();
        let _ = self.shared.inbox.command(Command::Topics(answer));
        // A task that is gone has none any more.
        let topics = topics.await.unwrap_or_default().into_iter();
        let topic = |(id, tally)| Topic { id, text: self.shared.texts.of(id), tally };
        topics.map(topic).collect()
    }

    /// What is seen here, from now on, of one in so many messages: when they are sent, come, from
    /// whom, and are delivered. All members that are asked the same follow the same messages, so
    /// what they see together is each message's path. Whoever asked before hears no more.
    ///
    /// # Errors
    /// The node is gone.
    pub async fn follow_messages(&self, one_in: NonZeroU32) -> Result<Sightings, Closed> {
        Sightings::begin(Arc::clone(&self.shared), one_in).await
    }

    /// Drops received datagrams on purpose from now on, each with this probability: for
    /// demonstrations. `seed` is of what is dropped.
    ///
    /// # Errors
    /// It is no probability.
    pub fn drop_packets(&self, probability: f64, seed: u64) -> Result<(), StartError> {
        let dropper = Dropper::new(probability, seed)?;
        // A task that is gone receives nothing.
        let _ = self.shared.inbox.command(Command::Drop(dropper));
        Ok(())
    }

    /// Sends what was published, stays a few rounds to repair what was lost of it, says good-bye
    /// and stops.
    ///
    /// # Errors
    /// Not everything could be sent within five seconds; the node has stopped all the same.
    pub async fn close(self) -> Result<(), Unsent> {
        self.close_within(CLOSE_DEADLINE).await
    }

    /// As [`close`](Self::close), with another deadline.
    ///
    /// # Errors
    /// Not everything could be sent within that time; the node has stopped all the same.
    pub async fn close_within(self, within: Duration) -> Result<(), Unsent> {
        let (done, closed) = oneshot::channel();
        if self.shared.inbox.command(Command::Close { within, done }).is_err() {
            return Ok(());
        }
        match closed.await {
            Ok(bytes) if bytes > 0 => Err(Unsent { bytes }),
            _ => Ok(()),
        }
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        // After `close` there is nobody left to stop.
        let _ = self.shared.inbox.command(Command::Stop);
    }
}
