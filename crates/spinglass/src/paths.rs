//! The choice of the way to a member that has a relay: direct, or through NAT, if others get
//! through to it; else the relay.
//!
//! It begins at the relay, where it is reached for certain, and asks others beside its loop, by its
//! own socket: *look*, which address is this seen from; then *try*, have somebody that I never sent
//! to send there. If that comes, the address is advertised. It is tried again when nothing has come
//! by it for a while, and left when that fails; from the relay it is tried more and more seldom.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use spinglass_core::path::{PathAnswer, PathQuestion, Task};
use spinglass_core::{Node as CoreNode, Prng};
use tokio::sync::oneshot;
use tokio::time::{Instant, sleep};

use crate::inbox::Command;
use crate::node::Shared;

/// Members that are asked at each attempt: each may be behind something itself.
const ASKED_MAX: usize = 3;
/// How often each is asked the same: datagrams are lost.
const TIMES: usize = 2;
/// How long an answer may take: some round trips of a bad network.
const ANSWER_TIME: Duration = Duration::from_millis(700);
/// How often it is seen whether an answer has come.
const LOOK_TIME: Duration = Duration::from_millis(20);
/// A direct way by which nothing has come for so long is tried again. Members hear something every
/// round of the table, which is 1 s.
const QUIET_TIME: Duration = Duration::from_secs(5);
/// Until a direct way is tried after the relay's was chosen, at first: somebody must be met.
const AGAIN_MIN: Duration = Duration::from_millis(500);
/// The same at most; it doubles each time. A member behind a firewall sends a dozen datagrams every
/// five minutes for this.
const AGAIN_MAX: Duration = Duration::from_secs(300);

/// By which way a member with a relay is reached.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum PathChoice {
    /// Direct, or through NAT, while others are seen to get through; else through the relay.
    #[default]
    Auto,
    /// Direct: the relay is not used.
    Direct,
    /// Through the relay, always.
    Relay,
}

/// Chooses, and chooses again, until the node is gone.
pub(crate) async fn choose(shared: Arc<Shared>) {
    // What is drawn here need not be repeated: it is recorded as what the core was asked.
    let mut rng = Prng::new(u64::from_le_bytes(spinglass_crypto::random()));
    let mut again = AGAIN_MIN;
    loop {
        sleep(again).await;
        let Some(found) = attempt(&shared, &mut rng).await else { return };
        // Also while it is there already: it may have had to begin without.
        if found.is_none() && shared.inbox.command(Command::UsePath(None)).is_err() {
            return;
        }
        if let Some(address) = found {
            tracing::info!(%address, "others get through without the relay");
            if shared.inbox.command(Command::UsePath(Some(address))).is_err() {
                return;
            }
            if keep(&shared, address, &mut rng).await.is_none() {
                return;
            }
            tracing::info!(%address, "nobody gets through any more: back to the relay");
            if shared.inbox.command(Command::UsePath(None)).is_err() {
                return;
            }
            again = AGAIN_MIN;
        }
        again = AGAIN_MAX.min(again * 2);
    }
}

/// Returns when a direct way is of no use any more. `None`: the node is gone.
async fn keep(shared: &Shared, address: SocketAddr, rng: &mut Prng) -> Option<()> {
    let (mut heard, mut since) = (received(shared).await?, Instant::now());
    loop {
        sleep(QUIET_TIME / 4).await;
        let now_heard = received(shared).await?;
        if now_heard != heard {
            (heard, since) = (now_heard, Instant::now());
        } else if since.elapsed() >= QUIET_TIME {
            if attempt(shared, rng).await? != Some(address) {
                return Some(());
            }
            since = Instant::now();
        }
    }
}

/// Datagrams that have come by the own socket. `None`: the node is gone.
async fn received(shared: &Shared) -> Option<u64> {
    let (answer, stats) = oneshot::channel();
    shared.inbox.command(Command::Stats(answer)).ok()?;
    Some(stats.await.ok()?.runtime.datagrams_direct)
}

/// The address at which strangers get through to this member, if there is one. The outer `None`:
/// the node is gone.
async fn attempt(shared: &Shared, rng: &mut Prng) -> Option<Option<SocketAddr>> {
    let mut others = shared
        .look(|node| {
            let own = node.id();
            let others = node.members().filter(|member| member.id != own);
            others.map(|member| member.address).chain(node.acquaintances()).collect::<Vec<_>>()
        })
        .await?;
    others.sort_unstable();
    others.dedup();
    for _ in 0..ASKED_MAX {
        if others.is_empty() {
            break;
        }
        let whom = others.swap_remove(rng.index(others.len()));
        let Some(seen) = ask(shared, whom, Task::Look, rng).await? else { continue };
        let tried = ask(shared, whom, Task::Try, rng).await?;
        if tried.is_some_and(|tried| tried.address == seen.address) {
            return Some(Some(seen.address));
        }
    }
    Some(None)
}

/// Asks somebody something; the answer, if it comes. The outer `None`: the node is gone.
async fn ask(
    shared: &Shared,
    whom: SocketAddr,
    task: Task,
    rng: &mut Prng,
) -> Option<Option<PathAnswer>> {
    for _ in 0..TIMES {
        let question = PathQuestion { number: rng.next_u64(), task };
        shared.inbox.command(Command::AskPath { whom, question }).ok()?;
        let until = Instant::now() + ANSWER_TIME;
        while Instant::now() < until {
            sleep(LOOK_TIME).await;
            let answer = shared.look(CoreNode::path_answer).await?;
            if let Some(answer) = answer.filter(|answer| answer.number == question.number) {
                return Some(Some(answer));
            }
        }
    }
    Some(None)
}
