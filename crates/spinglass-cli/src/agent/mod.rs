//! `spinglass join`: an agent in the foreground, which answers `spinglass table`, `query`,
//! `summary`, `members` and `leave` on a socket of this machine.

mod control;
mod lifetime;
mod object;
mod orders;
mod protocol;
mod query;
mod server;
mod summary;
mod table;
mod tree;
mod values;

pub(crate) use orders::{KeysCommand, RespondCommand, keys, parse_rotation, respond};
pub(crate) use query::{QueryCommand, query};
pub(crate) use summary::{SummaryCommand, summary};
pub(crate) use table::{TableCommand, table};

use std::path::PathBuf;
use std::time::Duration;

use anyhow::Result;
use clap::Args;
use serde::Serialize;

use crate::join::Join;
use crate::output::{Format, Verdict};
use control::Socket;
use protocol::{Answer, Request, Started};
use server::Server;

/// Options of `join`.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  spinglass join --region /usa/ithaca --name web1           the first agent on this machine, and
  spinglass join --region /usa/boston --name web2 --socket /tmp/web2.sock         a second one
  spinglass table                                           what the first one knows, and
  spinglass table --socket /tmp/web2.sock                   what the second one does
  spinglass join --seeds agents.example.org --bind 10.0.0.5:7710 --group-key group.key
  spinglass join --interface 10.0.0.5 --group-key group.key      no seeds: who is on this network

The agent runs until Ctrl-C or `spinglass leave`, and says good-bye in either case. Other commands
find it by its socket: --socket, or else $SPINGLASS_SOCKET, or else one per user.")]
pub(crate) struct Agent {
    /// Attributes to begin with, such as load=0.5
    #[arg(long = "set", value_name = "NAME=VALUE", value_parser = values::assignment)]
    attributes: Vec<(String, spinglass::Value)>,
    #[command(flatten)]
    join: Join,
    #[command(flatten)]
    at: At,
}

/// Where an agent of this machine listens to commands.
#[derive(Debug, Clone, Args)]
pub(crate) struct At {
    /// The agent's socket [default: $SPINGLASS_SOCKET, or one per user]
    #[arg(long, value_name = "FILE", env = "SPINGLASS_SOCKET", hide_env = true)]
    socket: Option<PathBuf>,
}

/// Options of a command that only says where the agent is.
#[derive(Debug, Args)]
pub(crate) struct Ask {
    #[command(flatten)]
    at: At,
}

/// What `leave --json` prints.
#[derive(Debug, Serialize)]
struct Left {
    left: bool,
}

impl At {
    fn socket(&self) -> Result<Socket> {
        Socket::at(self.socket.clone())
    }

    async fn ask(&self, request: &Request) -> Result<Answer> {
        self.socket()?.ask(request).await
    }
}

/// Runs an agent.
///
/// # Errors
/// The node does not start, or its socket can't be made.
pub(crate) async fn join(options: &Agent, format: Format) -> Result<Verdict> {
    let socket = options.at.socket()?;
    let listener = socket.listen().await?;
    let node = options.join.start().await?;
    let table = node.table();
    for (name, value) in &options.attributes {
        table.set(name, value.clone()).await?;
    }
    let started = Started {
        id: node.id().to_string(),
        address: node.local_addr().to_string(),
        region: table.region().await?.to_string(),
        socket: socket.path().display().to_string(),
    };
    format.print(&started, |started| {
        let Started { id, address, region, socket } = started;
        format!("agent {id} at {address} in {region}; commands at {socket}\n")
    })?;
    let server = Server::new(node, listener);
    server.run().await?;
    Ok(Verdict::Good)
}

/// Asks an agent to leave.
///
/// # Errors
/// There is none, or it does not answer.
pub(crate) async fn leave(options: &Ask, format: Format) -> Result<Verdict> {
    options.at.ask(&Request::Leave).await?;
    // The socket goes when the agent has said good-bye.
    let gone = options.at.socket()?.wait_until_gone(Duration::from_secs(10)).await;
    format.print(&Left { left: gone }, |left| {
        String::from(if left.left { "it has left\n" } else { "it is still leaving\n" })
    })?;
    Ok(Verdict::from(gone))
}

/// Lists the members that an agent knows.
///
/// # Errors
/// There is no agent, or it does not answer.
pub(crate) async fn members(options: &Ask, format: Format) -> Result<Verdict> {
    let Answer::Members(members) = options.at.ask(&Request::Members).await? else {
        return Err(control::unexpected());
    };
    format.print(&members, |members| {
        let rows: Vec<Vec<String>> = members
            .iter()
            .map(|member| vec![member.id.clone(), member.address.clone(), member.region.clone()])
            .collect();
        crate::output::table(&["member", "address", "region"], &rows)
    })?;
    Ok(Verdict::Good)
}
