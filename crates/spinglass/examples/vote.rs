//! A vote: each agent's row holds its ballot, the root the sums. Decided is what more than half of
//! those entitled have voted for; whoever sees a decision sees the same one, whenever it looks.

mod common;

use common::{Outcome, number, root_until, start};
use spinglass::{Node, Row, ZonePath};

/// Who may vote, and what they vote.
const ELECTORATE: [(&str, &str, &str); 5] = [
    ("ada", "/usa/ithaca", "yes"),
    ("bob", "/usa/boston", "no"),
    ("cid", "/usa/boston", "yes"),
    ("dan", "/eu/paris", "no"),
    ("eve", "/eu/paris", "yes"),
];

/// In a region a row has a ballot, above it a zone has sums.
const TALLY: &str = "\
    SELECT SUM(COALESCE(yes, CASE WHEN ballot = 'yes' THEN 1 ELSE 0 END)) AS yes, \
           SUM(COALESCE(votes, CASE WHEN ballot IS NULL THEN 0 ELSE 1 END)) AS votes \
    FROM zone";

#[derive(Debug, PartialEq, Eq)]
enum Decision {
    Accepted,
    Rejected,
}

#[tokio::main(flavor = "current_thread")]
pub(crate) async fn main() -> Outcome {
    let nodes = start(&ELECTORATE.map(|(name, region, _)| (name, region))).await?;
    nodes[0].table().install(&ZonePath::root(), "tally", TALLY).await?;
    for (node, (name, _, ballot)) in nodes.iter().zip(ELECTORATE) {
        // Once, and for good: who could take a vote back could have two decisions seen.
        node.table().set("ballot", ballot).await?;
        println!("{name} votes {ballot}");
    }
    for (node, (name, ..)) in nodes.iter().zip(ELECTORATE) {
        let decision = await_decision(node).await?;
        println!("{name} sees: {decision:?}");
        assert_eq!(decision, Decision::Accepted);
    }
    // All have voted once as many votes are in as there are members.
    let root = root_until(&nodes[0], |root| number(root, "votes") == number(root, "nmembers"));
    let root = root.await?;
    println!("{} of {} said yes", number(&root, "yes"), number(&root, "votes"));
    assert_eq!((number(&root, "yes"), number(&root, "votes")), (3, 5));
    Ok(())
}

async fn await_decision(node: &Node) -> Outcome<Decision> {
    let root = root_until(node, |root| decided(root).is_some()).await?;
    Ok(decided(&root).ok_or("it was decided a moment ago")?)
}

/// More than half of the electorate, and not of those who are seen just now: in a split network
/// each part would see a majority of its own.
fn decided(root: &Row) -> Option<Decision> {
    let (yes, votes) = (number(root, "yes"), number(root, "votes"));
    let is_majority = |votes: i64| votes * 2 > ELECTORATE.len() as i64;
    if is_majority(yes) {
        Some(Decision::Accepted)
    } else if is_majority(votes - yes) {
        Some(Decision::Rejected)
    } else {
        None
    }
}
