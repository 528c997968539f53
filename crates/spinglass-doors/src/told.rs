//! What an agent tells of itself and of the table, in the form in which programs are told: the same
//! by HTTP, by the agent's socket, and by `--json`.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value as Json};
use spinglass::{
    ATTRIBUTE_BYTES_MAX, Budget, Function, Hosts, Member, NewFunction, Node, PathError, RowKind,
    SqlError, SummaryFunction, TableError, TableRow, Topic, Traffic, Zone, ZonePath,
};

use crate::json::{row_to_json, to_json};

/// Why an agent does not tell, or not do, what it is asked.
#[derive(Debug, Clone, thiserror::Error)]
pub enum Refused {
    /// The table refuses.
    #[error(transparent)]
    Table(#[from] TableError),
    /// The zone's path is none.
    #[error(transparent)]
    Path(#[from] PathError),
    /// The text is no summary function.
    #[error("this is no summary function: {0}")]
    Sql(#[from] SqlError),
}

/// A zone.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct ZoneTold {
    /// Its path.
    pub path: String,
    /// Whether its rows are agents, and not zones.
    pub region: bool,
    /// Its agents or child zones, by name.
    pub rows: Vec<RowTold>,
    /// What the functions in force make of them.
    pub summary: Map<String, Json>,
    /// What has no value in the summary, and why.
    pub errors: Vec<String>,
    /// Whether all its rows are there: an answer from afar has a limit.
    pub whole: bool,
}

/// A row.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct RowTold {
    /// What people call it.
    pub name: String,
    /// Whether it is the agent itself, or the child zone that it is in.
    pub own: bool,
    /// Seconds since news of it came.
    pub age: f64,
    /// What it says.
    pub attributes: Map<String, Json>,
}

/// What a query found, and how far it reached.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct HostsTold {
    /// The columns, as the query writes them.
    pub columns: Vec<String>,
    /// The rows; what is NULL is not in them.
    pub rows: Vec<Map<String, Json>>,
    /// Whether nothing is missing.
    pub whole: bool,
    /// Seconds since the oldest row was heard from its host, at most.
    pub age: f64,
    /// Zones that another agent was asked about.
    pub asked: u32,
    /// Those of them that answered.
    pub answered: u32,
    /// Those that did not.
    pub silent: u32,
    /// Zones that their summaries ruled out.
    pub ruled_out: u32,
    /// Whether something did not fit into an answer.
    pub cut: bool,
}

/// A function that holds.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct SummaryTold {
    /// Its name.
    pub name: String,
    /// The zone from which downwards it holds; none: it is built in.
    pub zone: Option<String>,
    /// Its text.
    pub sql: String,
    /// Steps that a row costs it.
    pub steps_per_row: u32,
    /// Seconds for which it still holds; none: until it is removed.
    pub seconds_left: Option<u64>,
}

/// What a function is and does.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Explained {
    /// The zone on whose rows it was tried.
    pub zone: String,
    /// Its text.
    pub sql: String,
    /// Attributes that it reads.
    pub inputs: Vec<String>,
    /// Attributes that it makes.
    pub outputs: Vec<String>,
    /// Steps that a row costs it.
    pub steps_per_row: u32,
    /// Rows that the zone has.
    pub rows: usize,
    /// Steps that these took.
    pub steps: u32,
    /// Steps that it may take.
    pub steps_max: u32,
    /// Bytes of the zone's row that the outputs take.
    pub bytes: usize,
    /// Bytes that all functions share.
    pub bytes_max: usize,
    /// What it makes of the rows.
    pub yields: Map<String, Json>,
    /// What it can't make, and why.
    pub errors: Vec<String>,
}

/// A member.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct MemberTold {
    /// Its id.
    pub id: String,
    /// Where others reach it.
    pub address: String,
    /// Its region.
    pub region: String,
    /// Bytes that this agent has sent it, since it met it.
    #[serde(default)]
    pub sent_bytes: u64,
    /// Bytes that came from it.
    #[serde(default)]
    pub received_bytes: u64,
    /// Seconds since something came from it; none: nothing has, directly.
    #[serde(default)]
    pub heard: Option<f64>,
}

/// The members that an agent knows, by region.
pub async fn members(node: &Node) -> Vec<MemberTold> {
    let traffic = node.traffic().await.into_iter();
    let traffic: BTreeMap<SocketAddr, Traffic> = traffic.map(|it| (it.address, it)).collect();
    let told = |member: Member| {
        let traffic = traffic.get(&member.address);
        MemberTold {
            id: member.id.to_string(),
            address: member.address.to_string(),
            region: member.region,
            sent_bytes: traffic.map_or(0, |it| it.sent_bytes),
            received_bytes: traffic.map_or(0, |it| it.received_bytes),
            heard: traffic.and_then(|it| it.heard).map(|heard| heard.as_secs_f64()),
        }
    };
    let mut members: Vec<_> = node.members().await.into_iter().map(told).collect();
    members.sort_by(|a, b| (&a.region, &a.id).cmp(&(&b.region, &b.id)));
    members
}

/// A topic, as an agent sees it.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct TopicTold {
    /// Its text, or, if nobody here has named it, its name on the wire.
    pub topic: String,
    /// Whether the agent delivers its messages to somebody here.
    pub subscribed: bool,
    /// The share of them that it takes, from 0 (nothing) to 1 (everything).
    #[serde(default)]
    pub rating: f64,
    /// Members whose messages on it come here, of late.
    pub senders: usize,
    /// Messages published here since the agent started.
    pub messages_published: u64,
    /// Bytes of those.
    pub bytes_published: u64,
    /// Messages delivered here.
    pub messages_delivered: u64,
    /// Bytes of those.
    pub bytes_delivered: u64,
    /// Packets of others that came, to deliver or to pass on.
    pub packets_received: u64,
    /// Bytes of those.
    pub bytes_received: u64,
    /// Packets given up.
    pub packets_lost: u64,
}

/// The topics that an agent has met, by name.
pub async fn topics(node: &Node) -> Vec<TopicTold> {
    let told = |Topic { id, text, tally }: Topic| TopicTold {
        topic: text.map_or_else(|| id.to_string(), |text| text.to_string()),
        subscribed: tally.subscribed,
        rating: tally.rating.share(),
        senders: tally.streams,
        messages_published: tally.messages_published,
        bytes_published: tally.bytes_published,
        messages_delivered: tally.messages_delivered,
        bytes_delivered: tally.bytes_delivered,
        packets_received: tally.packets_received,
        bytes_received: tally.bytes_received,
        packets_lost: tally.packets_lost,
    };
    // Those are the doors' own.
    let is_inner = |topic: &Topic| topic.text.as_deref().is_some_and(|it| it.starts_with('&'));
    let topics = node.topics().await.into_iter().filter(|topic| !is_inner(topic));
    let mut topics: Vec<_> = topics.map(told).collect();
    topics.sort_by(|a, b| a.topic.cmp(&b.topic));
    topics
}

/// The zones of the agent's path, root first; or any one.
///
/// # Errors
/// There is no such zone, or nobody there answers.
pub async fn zones(node: &Node, zone: Option<&str>) -> Result<Vec<ZoneTold>, Refused> {
    let table = node.table();
    let region = table.region().await?;
    let paths = match zone {
        Some(zone) => vec![ZonePath::parse(zone)?],
        None => (0..=region.depth()).map(|depth| region.ancestor(depth)).collect(),
    };
    let mut told = Vec::new();
    for path in paths {
        told.push(zone_told(&table.zone(&path).await?, &region, node));
    }
    Ok(told)
}

/// Whether a row is that of the agent at this address and in this region, or of a zone that it is
/// in.
pub(crate) fn is_own(row: &TableRow, region: &ZonePath, own: SocketAddr) -> bool {
    match row.kind() {
        RowKind::Agent => row.contacts().first() == Some(&own),
        _ => {
            let child = region.ancestor(row.zone().depth() + 1);
            region.is_within(row.zone()) && child.last_name() == row.name()
        }
    }
}

fn zone_told(zone: &Zone, region: &ZonePath, node: &Node) -> ZoneTold {
    let own = node.local_addr();
    let rows = zone.rows.iter().map(|row| RowTold {
        name: row.row.name().into(),
        own: is_own(&row.row, region, own),
        age: row.age.as_secs_f64(),
        attributes: row_to_json(row.row.attributes()),
    });
    let errors = zone.summary.errors.iter();
    ZoneTold {
        path: zone.path.to_string(),
        region: zone.rows.iter().any(|row| row.row.kind() == RowKind::Agent),
        rows: rows.collect(),
        summary: row_to_json(&zone.summary.attributes),
        errors: errors
            .map(|(function, attribute, error)| format!("{function}: {attribute} {error}"))
            .collect(),
        whole: zone.reach.is_whole(),
    }
}

/// Hosts of a zone, by a query.
///
/// # Errors
/// The text is no query, there is no such zone, or nobody on the way there answers.
pub async fn hosts(
    node: &Node,
    zone: &str,
    sql: &str,
    within: Duration,
) -> Result<HostsTold, Refused> {
    let found = node.table().query_in(&ZonePath::parse(zone)?, sql, within).await?;
    let Hosts { columns, rows, reach } = found;
    Ok(HostsTold {
        columns: columns.iter().map(|name| name.as_str().to_owned()).collect(),
        rows: rows.iter().map(row_to_json).collect(),
        whole: reach.is_whole(),
        age: Duration::from_millis(reach.age_ms).as_secs_f64(),
        asked: reach.asked,
        answered: reach.answered,
        silent: reach.silent(),
        ruled_out: reach.ruled_out,
        cut: reach.is_cut,
    })
}

/// The functions that hold in a zone, by default the agent's region.
///
/// # Errors
/// There is no such zone, or nobody there answers.
pub async fn summaries(node: &Node, zone: Option<&str>) -> Result<Vec<SummaryTold>, Refused> {
    let table = node.table();
    let zone = match zone {
        Some(zone) => ZonePath::parse(zone)?,
        None => table.region().await?,
    };
    let told = |function: SummaryFunction| SummaryTold {
        name: function.name,
        zone: function.since.map(|zone| zone.to_string()),
        sql: function.sql,
        steps_per_row: function.steps_per_row,
        seconds_left: function.left.map(|left| left.as_secs()),
    };
    Ok(table.functions(&zone).await?.into_iter().map(told).collect())
}

/// Installs a function.
///
/// # Errors
/// The text is none, the zone is not on the agent's path, or the rules forbid it.
pub async fn install(
    node: &Node,
    zone: &str,
    name: &str,
    function: NewFunction<'_>,
) -> Result<(), Refused> {
    Ok(node.table().install(&ZonePath::parse(zone)?, name, function).await?)
}

/// Removes a function from the zone where it was installed.
///
/// # Errors
/// It is not there, or the rules forbid it.
pub async fn remove(node: &Node, zone: &str, name: &str) -> Result<(), Refused> {
    Ok(node.table().remove(&ZonePath::parse(zone)?, name).await?)
}

/// What a function costs, and what it yields on a zone's rows as they are.
///
/// # Errors
/// The text is none, or there is no such zone.
pub async fn explain(node: &Node, zone: &str, sql: &str) -> Result<Explained, Refused> {
    let function = Function::parse(sql)?;
    let zone = node.table().zone(&ZonePath::parse(zone)?).await?;
    let rows: Vec<_> = zone.rows.iter().map(|row| (row.row.name(), row.row.attributes())).collect();
    let budget = Budget::default();
    let evaluation = function.evaluate(&rows, budget);
    let yields = evaluation.row.iter();
    Ok(Explained {
        zone: zone.path.to_string(),
        sql: function.sql().into(),
        inputs: function.inputs().map(|name| name.as_str().to_owned()).collect(),
        outputs: function.outputs().map(|name| name.as_str().to_owned()).collect(),
        steps_per_row: function.steps_per_row(),
        rows: rows.len(),
        steps: evaluation.steps,
        steps_max: budget.steps,
        bytes: evaluation.row.encoded_bytes(),
        bytes_max: ATTRIBUTE_BYTES_MAX,
        yields: yields.map(|(name, value)| (name.as_str().to_owned(), to_json(value))).collect(),
        errors: evaluation.errors.iter().map(|(name, error)| format!("{name} {error}")).collect(),
    })
}
