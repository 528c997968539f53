//! A barrier: nobody begins a stage before everybody has finished the one before. Each worker's row
//! says which stage it has finished; the root says the least of them, and how many it speaks of.

mod common;

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use common::{Outcome, number, root_until, start};
use spinglass::{Node, ZonePath};

const WORKERS: [(&str, &str); 6] = [
    ("ada", "/usa/ithaca"),
    ("bob", "/usa/ithaca"),
    ("cid", "/usa/boston"),
    ("dan", "/eu/paris"),
    ("eve", "/eu/paris"),
    ("fay", "/eu/lyon"),
];
const STAGES: usize = 3;

#[tokio::main(flavor = "current_thread")]
pub(crate) async fn main() -> Outcome {
    let nodes = start(&WORKERS).await?;
    // Who has not said anything has finished nothing; without COALESCE it would not count.
    let sql = "SELECT MIN(COALESCE(stage, 0)) AS stage FROM zone";
    nodes[0].table().install(&ZonePath::root(), "barrier", sql).await?;

    // What no table knows: how many have really finished each stage.
    let finished: Arc<[AtomicUsize; STAGES]> = Arc::default();
    let workers: Vec<_> = (1..)
        .zip(nodes)
        .map(|(pace, node)| tokio::spawn(work(node, pace, Arc::clone(&finished))))
        .collect();
    // Whoever leaves is not counted any more, so all stay until all have passed.
    let mut passed = Vec::new();
    for worker in workers {
        passed.push(worker.await??);
    }
    println!("all {} workers have passed {STAGES} barriers", passed.len());
    Ok(())
}

async fn work(node: Node, pace: u64, finished: Arc<[AtomicUsize; STAGES]>) -> Outcome<Node> {
    for (stage, count) in (1_i64..).zip(finished.iter()) {
        // Some are slower than others.
        tokio::time::sleep(Duration::from_millis(40 * pace)).await;
        count.fetch_add(1, Ordering::Relaxed);
        node.table().set("stage", stage).await?;
        // The number of workers is known beforehand: half of a split network would count fewer.
        root_until(&node, |root| {
            number(root, "nmembers") == WORKERS.len() as i64 && number(root, "stage") >= stage
        })
        .await?;
        assert_eq!(count.load(Ordering::Relaxed), WORKERS.len(), "somebody had not finished");
        println!("worker {pace} has passed barrier {stage}");
    }
    Ok(node)
}
