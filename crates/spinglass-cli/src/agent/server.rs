//! The agent's side of its socket.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, Result};
use spinglass::{Hosts, NewFunction, Node, Zone, ZonePath};
use spinglass_core::table::{ATTRIBUTE_BYTES_MAX, Function};
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::{Semaphore, mpsc};

use super::control::LINE_BYTES_MAX;
use super::facts::Claimed;
use super::object;
use super::orders;
use super::protocol::{
    Answer, Explained, HostsTold, MemberTold, Request, RowTold, SummaryTold, ZoneTold,
};
use super::values::{row_to_json, to_json};

/// Commands that are answered at once; further ones wait.
const CONNECTIONS_MAX: usize = 64;

/// An agent and its socket.
#[derive(Debug)]
pub(super) struct Server {
    node: Arc<Node>,
    claimed: Arc<Claimed>,
    listener: UnixListener,
}

impl Server {
    pub(super) const fn new(
        node: Arc<Node>,
        claimed: Arc<Claimed>,
        listener: UnixListener,
    ) -> Self {
        Self { node, claimed, listener }
    }

    /// Answers until somebody asks the agent to leave; returns the node, which has yet to.
    pub(super) async fn run(self) -> Result<Arc<Node>> {
        let room = Arc::new(Semaphore::new(CONNECTIONS_MAX));
        let (leave, mut asked_to_leave) = mpsc::channel(1);
        loop {
            let accepted = tokio::select! {
                accepted = self.listener.accept() => accepted,
                _ = asked_to_leave.recv() => break,
            };
            // One that gave up while it waited is no reason to stop.
            let Ok((stream, _)) = accepted else { continue };
            let permit = Arc::clone(&room).acquire_owned().await?;
            let (node, leave) = (Arc::clone(&self.node), leave.clone());
            let claimed = Arc::clone(&self.claimed);
            tokio::spawn(async move {
                if serve(stream, &node, &claimed).await == After::Leave {
                    let _ = leave.send(()).await;
                }
                drop(permit);
            });
        }
        drop(self.listener);
        Ok(self.node)
    }
}

/// What follows an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum After {
    Nothing,
    Leave,
}

/// Answers one connection's requests, a line each.
async fn serve(stream: UnixStream, node: &Node, claimed: &Claimed) -> After {
    let mut stream = BufReader::new(stream);
    loop {
        let mut line = String::new();
        let read = (&mut stream).take(LINE_BYTES_MAX).read_line(&mut line).await;
        if !matches!(read, Ok(bytes) if bytes > 0) {
            return After::Nothing;
        }
        let request = serde_json::from_str::<Request>(&line);
        let leaves = matches!(request, Ok(Request::Leave));
        if let Ok(Request::Set { name, .. } | Request::PutObject { name, .. }) = &request {
            claimed.add(name);
        }
        let answer = match request {
            Ok(request) => answer(request, node)
                .await
                .unwrap_or_else(|error| Answer::Error(format!("{error:#}"))),
            Err(error) => Answer::Error(format!("this is no request: {error}")),
        };
        let Ok(text) = serde_json::to_string(&answer) else { return After::Nothing };
        let written = stream.get_mut().write_all((text + "\n").as_bytes()).await;
        if leaves {
            return After::Leave;
        }
        if written.is_err() {
            return After::Nothing;
        }
    }
}

pub(super) async fn answer(request: Request, node: &Node) -> Result<Answer> {
    let table = node.table();
    Ok(match request {
        Request::Zones { zone } => Answer::Zones(zones(node, zone.as_deref()).await?),
        Request::Set { name, value } => {
            table.set(&name, value.value()?).await?;
            Answer::Done
        }
        Request::PutObject { name, bytes } => {
            Answer::Put(table.put_object(&name, bytes.bytes()?).await?.to_string())
        }
        Request::FetchObject { object } => {
            let object = object::named(&object)?;
            table.fetch_object(&object).await?;
            object::tell(&table, &object).await?
        }
        Request::ObjectState { object } => object::tell(&table, &object::named(&object)?).await?,
        Request::Order(order) => {
            orders::give_at(node, order).await?;
            Answer::Done
        }
        Request::Orders => Answer::Orders(orders::tell(node).await?),
        Request::Epoch => Answer::Epoch(node.orders().epoch().await?),
        Request::Summaries { zone } => {
            let zone = match zone {
                Some(zone) => ZonePath::parse(&zone)?,
                None => table.region().await?,
            };
            let told = |function: spinglass::SummaryFunction| SummaryTold {
                name: function.name,
                zone: function.since.map(|zone| zone.to_string()),
                sql: function.sql,
                steps_per_row: function.steps_per_row,
                seconds_left: function.left.map(|left| left.as_secs()),
            };
            Answer::Summaries(table.functions(&zone).await?.into_iter().map(told).collect())
        }
        Request::Install { zone, name, sql, lasts_ms } => {
            let function = NewFunction { sql: &sql, lasts: lasts_ms.map(Duration::from_millis) };
            table.install(&ZonePath::parse(&zone)?, &name, function).await?;
            Answer::Done
        }
        Request::Remove { zone, name } => {
            table.remove(&ZonePath::parse(&zone)?, &name).await?;
            Answer::Done
        }
        Request::Explain { zone, sql } => {
            let zone = table.zone(&ZonePath::parse(&zone)?).await?;
            Answer::Explained(explain(&zone, &sql)?)
        }
        Request::Query { sql, zone, within_ms } => {
            let within = Duration::from_millis(within_ms);
            let hosts = table.query_in(&ZonePath::parse(&zone)?, &sql, within).await?;
            Answer::Hosts(hosts_told(&hosts))
        }
        Request::Members => Answer::Members(members(node).await),
        Request::Leave => Answer::Done,
    })
}

async fn zones(node: &Node, zone: Option<&str>) -> Result<Vec<ZoneTold>> {
    let table = node.table();
    let region = table.region().await?;
    let paths = match zone {
        Some(zone) => vec![ZonePath::parse(zone)?],
        None => (0..=region.depth()).map(|depth| region.ancestor(depth)).collect(),
    };
    let mut told = Vec::new();
    for path in paths {
        told.push(tell(&table.zone(&path).await?, &region, node));
    }
    Ok(told)
}

fn tell(zone: &Zone, region: &ZonePath, node: &Node) -> ZoneTold {
    let on_path = region.is_within(&zone.path);
    let own_child = region.ancestor(zone.path.depth() + 1);
    let is_region = zone.path == *region;
    let own_address = node.local_addr().to_string();
    let rows = zone.rows.iter().map(|row| {
        let attributes = row_to_json(row.row.attributes());
        let is_own_agent =
            || attributes.get("contacts").is_some_and(|contacts| contacts[0] == *own_address);
        RowTold {
            name: row.row.name().into(),
            own: if is_region {
                is_own_agent()
            } else {
                on_path && row.row.name() == own_child.last_name()
            },
            age: row.age.as_secs_f64(),
            attributes,
        }
    });
    let errors = zone.summary.errors.iter();
    ZoneTold {
        path: zone.path.to_string(),
        rows: rows.collect(),
        summary: row_to_json(&zone.summary.attributes),
        errors: errors
            .map(|(function, attribute, error)| format!("{function}: {attribute} {error}"))
            .collect(),
        whole: zone.reach.is_whole(),
    }
}

fn hosts_told(hosts: &Hosts) -> HostsTold {
    let Hosts { columns, rows, reach } = hosts;
    HostsTold {
        columns: columns.iter().map(|name| name.as_str().to_owned()).collect(),
        rows: rows.iter().map(row_to_json).collect(),
        whole: reach.is_whole(),
        age: Duration::from_millis(reach.age_ms).as_secs_f64(),
        asked: reach.asked,
        answered: reach.answered,
        silent: reach.silent(),
        ruled_out: reach.ruled_out,
        cut: reach.is_cut,
    }
}

fn explain(zone: &Zone, sql: &str) -> Result<Explained> {
    let function = Function::parse(sql).context("this is no summary function")?;
    let rows: Vec<_> = zone.rows.iter().map(|row| (row.row.name(), row.row.attributes())).collect();
    let budget = spinglass_core::table::Budget::default();
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

async fn members(node: &Node) -> Vec<MemberTold> {
    let told = |member: spinglass::Member| MemberTold {
        id: member.id.to_string(),
        address: member.address.to_string(),
        region: member.region,
    };
    let mut members: Vec<_> = node.members().await.into_iter().map(told).collect();
    members.sort_by(|a, b| (&a.region, &a.id).cmp(&(&b.region, &b.id)));
    members
}
