//! A member that takes many topics, and sends its part of them: what came is counted by topic.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use anyhow::{Result, bail};
use spinglass::{Event, Group, Node, Rating, Subscription};
use spinglass_core::Prng;

use super::emit::{self, Emission};
use super::node::{counters, start};
use super::payload::Header;
use super::protocol::{Order, Report, Setup, Step, Tally, Topics};
use super::{Orders, tell};

/// A topic that is taken.
struct Taken {
    rating: Rating,
    came: Arc<Came>,
}

/// What came of it.
#[derive(Default)]
struct Came {
    messages: AtomicU64,
    gaps: AtomicU64,
}

/// Runs until the orders end.
///
/// # Errors
/// The node does not start, or an order can't be carried out.
pub(super) async fn run(setup: &Setup, topics: Topics, orders: &mut Orders) -> Result<()> {
    let node = start(setup).await?;
    let taken = take(&node, setup, topics)?;
    let sent = (setup.index..topics.count).step_by(topics.members.max(1));
    let sent: Vec<Group> = sent.map(|topic| node.group(&name(topic))).collect();
    let (mut step, mut of_each) = (Step::default(), 0);
    while let Some(order) = orders.next().await? {
        match order {
            Order::Await { members, .. } => {
                node.wait_for_members(members).await?;
                tell(&Report::Ready)?;
            }
            Order::Step(begun) => step = begun,
            Order::Emit { count, bytes, rate, tick_us } => {
                of_each = count;
                let tick = Duration::from_micros(tick_us);
                let emission = Emission { step: step.number, count, bytes, rate, tick };
                emit::in_background(emit::numbered(sent.clone(), emission));
            }
            Order::Tell => {
                let stats = counters(&node).await;
                let tally = Tally { step: step.number, stats, ..tally(&taken, of_each) };
                tell(&Report::Tally(Box::new(tally)))?;
            }
            other => bail!("a member of many topics does not {other:?}"),
        }
    }
    Ok(())
}

fn name(topic: usize) -> String {
    format!("topic/{topic}")
}

/// Draws topics that others send, and takes them.
fn take(node: &Node, setup: &Setup, topics: Topics) -> Result<Vec<Taken>> {
    let mut rng = Prng::new(setup.index as u64).fork("topics");
    let others = (0..topics.count).filter(|topic| topic % topics.members.max(1) != setup.index);
    let mut others: Vec<usize> = others.collect();
    let mut taken = Vec::new();
    while taken.len() < topics.each && !others.is_empty() {
        let group = node.group(&name(others.swap_remove(rng.index(others.len()))));
        let share = setup.ratings.get(taken.len() % setup.ratings.len().max(1));
        let rating = Rating::new(share.copied().unwrap_or(1.0))?;
        group.set_rating(rating);
        let came = Arc::<Came>::default();
        tokio::spawn(count(group.subscribe(), Arc::clone(&came)));
        taken.push(Taken { rating, came });
    }
    Ok(taken)
}

async fn count(mut heard: Subscription, came: Arc<Came>) {
    while let Some(event) = heard.next().await {
        match event {
            Event::Message(message) if Header::split(&message.payload).is_some() => {
                came.messages.fetch_add(1, Ordering::Relaxed);
            }
            Event::Gap(_) | Event::Lagged(_) => {
                came.gaps.fetch_add(1, Ordering::Relaxed);
            }
            _ => (),
        }
    }
}

/// What came, where each topic had so many messages.
fn tally(taken: &[Taken], of_each: u64) -> Tally {
    let mut tally = Tally::default();
    for Taken { rating, came } in taken {
        let messages = came.messages.load(Ordering::Relaxed);
        let share = messages as f64 / of_each.max(1) as f64;
        tally.messages += messages;
        tally.gaps += came.gaps.load(Ordering::Relaxed);
        tally.worst_off = tally.worst_off.max((share - rating.share()).abs());
    }
    tally
}
