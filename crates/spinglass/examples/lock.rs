//! A lock that at most one agent holds, by majority: who may vote is fixed, each gives one ballot
//! per term, and the holder of a term is who more than half have voted for. The next term begins
//! when the holder has released the lock, or when no majority can come about any more.

mod common;

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use common::{Outcome, number, start};
use spinglass::{Node, Row, Value, ZonePath};

/// Who may vote; the first three want the lock.
const AGENTS: [(&str, &str); 5] = [
    ("ada", "/usa/ithaca"),
    ("bob", "/usa/boston"),
    ("cid", "/eu/paris"),
    ("dan", "/eu/paris"),
    ("eve", "/eu/lyon"),
];
const WISHES: usize = 3;
/// A run that takes longer has failed.
const PATIENCE: Duration = Duration::from_secs(60);

/// A ballot is a text such as `3:ada`: one attribute, so that term and name change at once.
const LOCK: &str = "\
    SELECT MIN(wants) AS wants, MAX(released) AS released, \
           MAP_SUM(COALESCE(ballots, [[ballot, 1]])) AS ballots \
    FROM zone";

/// What no table knows: how many hold the lock just now, and how many have had it.
#[derive(Debug, Default)]
struct Truth {
    holders: AtomicUsize,
    served: AtomicUsize,
}

#[tokio::main(flavor = "current_thread")]
pub(crate) async fn main() -> Outcome {
    let nodes = start(&AGENTS).await?;
    nodes[0].table().install(&ZonePath::root(), "lock", LOCK).await?;
    let truth = Arc::new(Truth::default());
    let agents = nodes.into_iter().zip(AGENTS).enumerate();
    let agents = agents.map(|(index, (node, (name, _)))| {
        tokio::spawn(take_part(node, name, index < WISHES, Arc::clone(&truth)))
    });
    let agents: Vec<_> = agents.collect();
    let mut stayed = Vec::new();
    for agent in agents {
        stayed.push(tokio::time::timeout(PATIENCE, agent).await???);
    }
    println!("{} have had the lock, one at a time", truth.served.load(Ordering::Relaxed));
    Ok(())
}

/// Votes, term by term, and holds the lock when it is given, until all have had it who wanted it.
async fn take_part(node: Node, own: &str, mut wants: bool, truth: Arc<Truth>) -> Outcome<Node> {
    let mut table = node.table();
    if wants {
        table.set("wants", own).await?;
    }
    let (mut term, mut has_voted) = (1, false);
    while truth.served.load(Ordering::Relaxed) < WISHES {
        let root = table.zone(&ZonePath::root()).await?.summary.attributes;
        if is_over(&root, term) {
            (term, has_voted) = (newest_term(&root).max(term + 1), false);
        }
        if let (false, Some(candidate)) = (has_voted, root.get("wants").and_then(Value::as_text)) {
            // Once per term. Whoever may forget that by a restart must not vote after it.
            table.set("ballot", format!("{term}:{candidate}").as_str()).await?;
            has_voted = true;
        }
        if has_majority(&root, term, own) {
            if wants {
                hold(own, term, &truth).await;
                table.set("wants", Value::Null).await?;
                wants = false;
            }
            // Also who was voted for and does not want it any more: nobody else can have the term.
            table.set("released", term).await?;
        }
        // All have had it once the last has: of that nobody's table tells.
        let _ = tokio::time::timeout(Duration::from_millis(200), table.changed()).await;
    }
    Ok(node)
}

async fn hold(own: &str, term: i64, truth: &Truth) {
    assert_eq!(truth.holders.fetch_add(1, Ordering::SeqCst), 0, "somebody else holds the lock");
    println!("{own} holds the lock in term {term}");
    tokio::time::sleep(Duration::from_millis(100)).await;
    truth.holders.fetch_sub(1, Ordering::SeqCst);
    truth.served.fetch_add(1, Ordering::Relaxed);
}

/// Whether nobody can hold the lock in this term, now or later.
fn is_over(root: &Row, term: i64) -> bool {
    let votes = |term| ballots(root).filter(move |(of, ..)| *of == term).map(|(.., votes)| votes);
    let all_are_in = votes(term).sum::<i64>() == AGENTS.len() as i64;
    number(root, "released") >= term
        || newest_term(root) > term
        || all_are_in && !votes(term).any(is_majority)
}

fn has_majority(root: &Row, term: i64, own: &str) -> bool {
    ballots(root).any(|(of, name, votes)| of == term && name == own && is_majority(votes))
}

const fn is_majority(votes: i64) -> bool {
    votes * 2 > AGENTS.len() as i64
}

fn newest_term(root: &Row) -> i64 {
    ballots(root).map(|(term, ..)| term).max().unwrap_or(0)
}

/// Term, name, votes.
fn ballots(root: &Row) -> impl Iterator<Item = (i64, &str, i64)> {
    let items = root.get("ballots").and_then(Value::as_list).unwrap_or_default();
    items.iter().filter_map(|item| {
        let [ballot, votes] = item.as_list()? else { return None };
        let (term, name) = ballot.as_text()?.split_once(':')?;
        Some((term.parse().ok()?, name, votes.as_int()?))
    })
}
