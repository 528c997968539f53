//! The agent's side of its socket.

use std::sync::Arc;
use std::time::Duration;

use anyhow::Result;
use spinglass::{NewFunction, Node};
use spinglass_doors::http::counters;
use spinglass_doors::told;
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::{Semaphore, mpsc};

use super::control::LINE_BYTES_MAX;
use super::facts::Claimed;
use super::object;
use super::orders;
use super::protocol::{Answer, Request};

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

async fn answer(request: Request, node: &Node) -> Result<Answer> {
    let table = node.table();
    Ok(match request {
        Request::Zones { zone } => Answer::Zones(told::zones(node, zone.as_deref()).await?),
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
            Answer::Summaries(told::summaries(node, zone.as_deref()).await?)
        }
        Request::Install { zone, name, sql, lasts_ms } => {
            let function = NewFunction { sql: &sql, lasts: lasts_ms.map(Duration::from_millis) };
            told::install(node, &zone, &name, function).await?;
            Answer::Done
        }
        Request::Remove { zone, name } => {
            told::remove(node, &zone, &name).await?;
            Answer::Done
        }
        Request::Explain { zone, sql } => {
            Answer::Explained(told::explain(node, &zone, &sql).await?)
        }
        Request::Query { sql, zone, within_ms } => {
            let within = Duration::from_millis(within_ms);
            Answer::Hosts(told::hosts(node, &zone, &sql, within).await?)
        }
        Request::Members => Answer::Members(told::members(node).await),
        Request::Counters => Answer::Counters(counters(&node.stats().await)),
        Request::Leave => Answer::Done,
    })
}
