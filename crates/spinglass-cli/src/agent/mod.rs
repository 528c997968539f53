//! `spinglass agent`: an agent in the foreground, which answers `spinglass table`, `query`,
//! `summary`, `members` and `leave` on a socket of this machine, and programs by HTTP.

mod access;
mod control;
mod doctor;
mod facts;
mod lifetime;
mod object;
mod orders;
mod protocol;
mod query;
mod reach;
mod reload;
mod server;
mod settings;
mod sources;
mod summary;
mod table;
mod tree;
mod values;

pub(crate) use doctor::{Doctor, doctor};
pub(crate) use orders::{KeysCommand, RespondCommand, keys, parse_rotation, respond};
pub(crate) use query::{QueryCommand, query};
pub(crate) use settings::{Completed, complete, is_named_in, told, with_variables};
pub(crate) use summary::{SummaryCommand, summary};
pub(crate) use table::{TableCommand, table, zone_of};
pub(crate) use values::{assignment, shown};

use std::net::SocketAddr;
use std::num::NonZeroU32;
use std::path::PathBuf;
use std::sync::{Arc, Weak};
use std::time::Duration;

use anyhow::Result;
use clap::{Args, CommandFactory as _};
use sd_notify::NotifyState;
use serde::Serialize;
use spinglass::{Node, Value};
use spinglass_doors::traces::{self, Collector};
use spinglass_doors::{Claims, events, http, sql};
use tokio::net::TcpListener;
use tokio::task::JoinSet;

use crate::allocator;
use crate::join::Join;
use crate::logs::Logging;
use crate::output::{Format, Verdict};
use crate::ports;
use access::{Board, Keys};
use control::Socket;
use facts::Claimed;
use protocol::{Answer, Request, Started};
use reload::Reload;
use server::Server;
use settings::Told;

/// Options of `agent`.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  spinglass agent --region /usa/ithaca --name web1          the first agent on this machine, and
  spinglass agent --region /usa/boston --name web2 --socket /tmp/web2.sock        a second one
  spinglass table                                           what the first one knows, and
  spinglass table --socket /tmp/web2.sock                   what the second one does
  spinglass agent --seeds agents.example.org --bind 10.0.0.5:7710 --group-key group.key
  spinglass agent --interface 10.0.0.5 --group-key group.key     no seeds: who is on this network
  spinglass agent --print-config > agent.toml               all settings, explained, to edit, and
  spinglass agent --config agent.toml                       an agent by them
  http://127.0.0.1:7780                                     its console, in a browser
  curl 'http://127.0.0.1:7780/v1/query?sql=SELECT+id,load+FROM+hosts'       also /metrics, /healthz
  psql -h 127.0.0.1 -p 7754 -c 'SELECT zone, count(*) FROM hosts GROUP BY zone'

The agent runs until Ctrl-C or `spinglass leave`, and says good-bye in either case. Other commands
find it by its socket: --socket, or else $SPINGLASS_SOCKET, or else one per user.

Each option is a key of --config's file, too (rotate_every), and a variable
(SPINGLASS_ROTATE_EVERY). The command line goes before the environment, that before the file.")]
pub(crate) struct Agent {
    /// A file of settings, in TOML
    #[arg(long, value_name = "FILE", env = "SPINGLASS_CONFIG", hide_env = true)]
    config: Option<PathBuf>,
    /// Print a file with all settings, explained, and stop
    #[arg(long)]
    print_config: bool,
    /// Say whether the settings can be read, and stop; files that they name are not looked at
    #[arg(long, conflicts_with = "print_config")]
    check_config: bool,
    /// Attributes to begin with, such as load=0.5
    #[arg(long = "set", value_name = "NAME=VALUE", value_parser = values::assignment)]
    attributes: Vec<(String, Value)>,
    /// Where to serve /healthz, /readyz, /metrics and /v1 by HTTP: an address of loopback [default:
    /// 127.0.0.1:7780, or any port if that is taken]
    #[arg(long, value_name = "ADDRESS:PORT", conflicts_with = "no_http")]
    http: Option<SocketAddr>,
    /// Serve nothing by HTTP
    #[arg(long)]
    no_http: bool,
    /// The file whose first line whoever would change something by HTTP has to know [default: under
    /// the development key nothing has to be known; else nothing can be changed]
    #[arg(long, value_name = "FILE", conflicts_with = "no_http")]
    http_token: Option<PathBuf>,
    /// Where to serve SQL by PostgreSQL's protocol: at an address of loopback, or, with --sql-users
    /// and --sql-tls-cert, at any [default: 127.0.0.1:7754, or any port if that is taken]
    #[arg(long, value_name = "ADDRESS:PORT", conflicts_with = "no_sql")]
    sql: Option<SocketAddr>,
    /// Serve no SQL
    #[arg(long)]
    no_sql: bool,
    /// Who may come in by SQL, and by which passwords, as `spinglass keygen --sql-password` writes
    /// them [default: everybody on this machine, to read; under the development key to change, too]
    #[arg(long, value_name = "FILE", conflicts_with = "no_sql")]
    sql_users: Option<PathBuf>,
    /// The certificate by which SQL's clients may speak TLS, and those of its certifiers, in PEM
    #[arg(long, value_name = "FILE", requires = "sql_tls_key")]
    sql_tls_cert: Option<PathBuf>,
    /// That certificate's key, in PEM
    #[arg(long, value_name = "FILE", requires = "sql_tls_cert")]
    sql_tls_key: Option<PathBuf>,
    /// Certifiers of clients, in PEM: a client that shows a certificate of theirs needs no password
    /// if it bears the name of a user in --sql-users
    #[arg(long, value_name = "FILE", requires_all = ["sql_tls_cert", "sql_users"])]
    sql_tls_clients: Option<PathBuf>,
    /// How often to look at the machine's load and memory, and say so in the own row
    #[arg(long, value_name = "TIME", default_value = "10s", conflicts_with = "no_facts",
          value_parser = lifetime::parse)]
    facts: Duration,
    /// Say nothing of the machine: neither what it is, nor how busy
    #[arg(long)]
    no_facts: bool,
    /// A folder of attributes: each file of it that ends in .json is read, and each that may be run
    /// is run, and gives them as a JSON object
    #[arg(long, value_name = "FOLDER")]
    attributes_from: Option<PathBuf>,
    /// How often that folder is looked at
    #[arg(long, value_name = "TIME", default_value = "10s", value_parser = lifetime::parse)]
    attributes_every: Duration,
    /// A collector of OpenTelemetry traces, such as http://127.0.0.1:4318, to tell by OTLP over
    /// HTTP what becomes of messages, from member to member [default: none is told]
    #[arg(long, value_name = "URL")]
    otlp: Option<Collector>,
    /// Trace one in so many messages; it should be the same number at all agents
    #[arg(long, value_name = "N", default_value = "1", requires = "otlp")]
    otlp_one_in: NonZeroU32,
    #[command(flatten)]
    logging: Logging,
    #[command(flatten)]
    join: Join,
    #[command(flatten)]
    at: At,
    /// What all options were told.
    #[arg(skip)]
    told: Told,
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

impl Agent {
    /// Whether there is a file of settings, to be read again when the agent is told to.
    pub(crate) const fn has_file(&self) -> bool {
        self.config.is_some()
    }

    /// Takes in what all options were told, and a file's attributes. Of one name the last holds:
    /// that of the command line.
    pub(crate) fn complete(&mut self, attributes: Vec<(String, Value)>, told: Told) {
        self.attributes.splice(..0, attributes);
        self.told = told;
    }

    /// What the agent says by itself: of its machine, of what the user's programs find, and, in the
    /// log, of other members.
    fn keep_telling(&self, node: &Arc<Node>, claimed: &Arc<Claimed>, beside: &mut JoinSet<()>) {
        if !self.no_facts {
            let (node, claimed) = (Arc::downgrade(node), Arc::clone(claimed));
            beside.spawn(facts::keep_telling(Weak::clone(&node), Arc::clone(&claimed), self.facts));
            beside.spawn(reach::keep_telling(node, claimed));
        }
        if let Some(folder) = self.attributes_from.clone() {
            let (node, claimed) = (Arc::downgrade(node), Arc::clone(claimed));
            beside.spawn(sources::keep_reading(node, claimed, folder, self.attributes_every));
        }
        if let Some(collector) = self.otlp.clone() {
            let settings = traces::Settings { collector, one_in: self.otlp_one_in };
            beside.spawn(traces::keep_telling(Arc::downgrade(node), settings));
        }
        beside.spawn(events::keep_logging(events::subscribe(node)));
        beside.spawn(allocator::keep_giving_back());
    }
}

/// What `agent --check-config --json` prints.
#[derive(Debug, Serialize)]
struct Checked {
    good: bool,
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
pub(crate) async fn agent(options: &Agent, format: Format) -> Result<Verdict> {
    if options.print_config {
        crate::output::write(settings::template(&crate::Cli::command()).as_bytes())?;
        return Ok(Verdict::Good);
    }
    if options.check_config {
        format.print(&Checked { good: true }, |_| String::from("the settings can be read\n"))?;
        return Ok(Verdict::Good);
    }
    options.logging.start();
    let socket = options.at.socket()?;
    let listener = socket.listen().await?;
    let keys = Keys::load(options)?;
    let is_strict = keys.are_strict();
    let door = ports::HTTP.open(options.http, options.no_http, false).await?;
    let sql_door = ports::SQL.open(options.sql, options.no_sql, is_strict).await?;
    let board = Board::new(keys);
    let node = Arc::new(options.join.start().await?);
    let table = node.table();
    let claimed = Arc::new(Claimed::default());
    options.attributes.iter().for_each(|(name, _)| claimed.add(name));
    table.set_all(options.attributes.iter().map(|(name, it)| (name.as_str(), it.clone()))).await?;
    let at = |door: &Option<TcpListener>| {
        let address = door.as_ref().and_then(|door| door.local_addr().ok());
        address.map(|address| address.to_string())
    };
    let started = Started {
        id: node.id().to_string(),
        address: node.local_addr().to_string(),
        region: table.region().await?.to_string(),
        socket: socket.path().display().to_string(),
        http: at(&door),
        sql: at(&sql_door),
    };
    // They end with the command.
    let mut beside = JoinSet::new();
    let is_open = node.is_development();
    let claims: Claims = {
        let claimed = Arc::clone(&claimed);
        Arc::new(move |name: &str| claimed.add(name))
    };
    if let Some(door) = door {
        let (has_seeds, claims) = (options.join.has_seeds(), Arc::clone(&claims));
        let token = board.token.subscribe();
        let settings = http::Settings { has_seeds, token, is_open, claims, experiment: None };
        beside.spawn(http::serve(door, Arc::downgrade(&node), settings));
    }
    if let Some(door) = sql_door {
        let access = board.access.subscribe();
        let settings = sql::Settings { access, is_open, claims };
        beside.spawn(sql::serve(door, Arc::downgrade(&node), settings));
    }
    options.keep_telling(&node, &claimed, &mut beside);
    if options.has_file() {
        let reload = Reload::new(options, &node, &claimed, board)?;
        beside.spawn(reload.whenever_told());
    }
    format.print(&started, Started::sentence)?;
    // A supervisor that waits for it learns that the agent is there; others hear nothing.
    if let Err(error) = sd_notify::notify(&[NotifyState::Ready]) {
        tracing::warn!(%error, "the supervisor can't be told that the agent is there");
    }
    let node = Server::new(node, claimed, listener).run().await?;
    // Whoever is still being answered holds the node, which is to say good-bye.
    beside.shutdown().await;
    if let Ok(node) = Arc::try_unwrap(node) {
        node.close().await?;
    }
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
