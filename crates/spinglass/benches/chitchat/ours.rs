//! Our nodes, with the default settings: in one region, where each has every other's row, or in
//! regions, where the root's summary brings the value.

use std::time::{Duration, Instant};

use anyhow::Result;
use spinglass::{Config, Node, Table, TableError, Value, ZonePath};

use crate::{Ears, Heard, KEY, Peers, ROUND, SEEDS};

/// How long nodes may take to leave.
const LEAVE: Duration = Duration::from_millis(200);
/// Updates rise, so the greatest is the newest.
const SUMMARY: &str = "SELECT MAX(load) AS load FROM zone";

#[derive(Debug)]
pub(crate) struct Ours {
    nodes: Vec<Node>,
    is_flat: bool,
}

impl Ours {
    pub(crate) async fn start(count: usize, region: usize) -> Result<Self> {
        let mut ours = Self { nodes: Vec::new(), is_flat: region >= count };
        for index in 0..count {
            let path = if ours.is_flat { "/".into() } else { format!("/r{:02}", index / region) };
            let mut config = Config::lan();
            config.table.round = ROUND;
            let seeds = ours.nodes.iter().take(SEEDS).map(Node::local_addr);
            let builder = Node::builder().config(config).region(path).seeds(seeds);
            ours.nodes.push(builder.name(format!("n{index:04}")).start().await?);
            tokio::time::sleep(ROUND / u32::try_from(count)?).await;
        }
        Ok(ours)
    }
}

impl Peers for Ours {
    async fn form(&self) -> Result<()> {
        let count = Value::Int(i64::try_from(self.nodes.len())?);
        for node in &self.nodes {
            let mut table = node.table();
            while newest(&table, "nmembers", false).await? != Some(count.clone()) {
                table.changed().await?;
            }
        }
        if let (Some(first), false) = (self.nodes.first(), self.is_flat) {
            first.table().install(&ZonePath::root(), KEY, SUMMARY).await?;
        }
        Ok(())
    }

    async fn listen(&self, ears: &Ears) -> Result<()> {
        for (node, handle) in self.nodes.iter().enumerate() {
            let (mut table, ears, is_flat) = (handle.table(), ears.clone(), self.is_flat);
            tokio::spawn(async move {
                let mut last = None;
                // It ends with its node.
                while let Ok(value) = newest(&table, KEY, is_flat).await {
                    if let (true, Some(Value::Int(value))) = (value != last, &value) {
                        let _ = ears.send(Heard { node, value: *value, at: Instant::now() });
                    }
                    last = value;
                    if table.changed().await.is_err() {
                        return;
                    }
                }
            });
        }
        Ok(())
    }

    async fn set(&self, node: usize, value: i64) -> Result<()> {
        Ok(self.nodes[node].table().set(KEY, value).await?)
    }

    async fn bytes_sent(&self) -> u64 {
        let mut sum = 0;
        for node in &self.nodes {
            sum += node.stats().await.protocol.bytes_sent;
        }
        sum
    }

    async fn stop(self) {
        for node in self.nodes {
            // It has nothing to say that would matter here.
            let _ = node.close_within(LEAVE).await;
        }
    }
}

/// What the root says: its summary, or, of the only region, the greatest that stands in a row.
async fn newest(table: &Table, name: &str, in_rows: bool) -> Result<Option<Value>, TableError> {
    let root = table.zone(&ZonePath::root()).await?;
    if !in_rows {
        return Ok(root.summary.attributes.get(name).cloned());
    }
    let rows = root.rows.iter().filter_map(|row| row.row.attributes().get(name));
    let numbers = rows.filter_map(|value| if let Value::Int(n) = value { Some(*n) } else { None });
    Ok(numbers.max().map(Value::Int))
}
