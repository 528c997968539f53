//! What the examples of the table share: agents in regions, and waiting for what a zone says.

use std::error::Error;
use std::time::Duration;

use spinglass::{Config, Node, Row, ZonePath};

pub(crate) type Outcome<T = ()> = Result<T, Box<dyn Error + Send + Sync>>;

/// An example that takes longer has failed.
const PATIENCE: Duration = Duration::from_secs(60);

/// Starts agents, each a name and a region, and waits until all of them count all.
pub(crate) async fn start(agents: &[(&str, &str)]) -> Outcome<Vec<Node>> {
    let mut nodes: Vec<Node> = Vec::new();
    for (name, region) in agents {
        let mut config = Config::lan();
        // Five times as often as by default, to be done soon.
        config.table.round = Duration::from_millis(200);
        let builder = Node::builder().config(config).name(*name).region(*region);
        nodes.push(builder.seeds(nodes.first().map(Node::local_addr)).start().await?);
    }
    for node in &nodes {
        root_until(node, |root| number(root, "nmembers") == agents.len() as i64).await?;
    }
    Ok(nodes)
}

/// Waits until what the root says, as this agent sees it, is so; and returns it.
pub(crate) async fn root_until(node: &Node, is_so: impl Fn(&Row) -> bool) -> Outcome<Row> {
    let mut table = node.table();
    let wait = async {
        loop {
            let root = table.zone(&ZonePath::root()).await?.summary.attributes;
            if is_so(&root) {
                return Ok(root);
            }
            table.changed().await?;
        }
    };
    tokio::time::timeout(PATIENCE, wait).await?
}

/// An attribute that counts something; what is not there is nothing.
pub(crate) fn number(row: &Row, name: &str) -> i64 {
    row.get(name).and_then(|value| value.as_int()).unwrap_or(0)
}
