//! The live table by PostgreSQL's protocol: any client and driver of PostgreSQL's reads it with
//! ordinary SQL, changes the agent's own row, and publishes and subscribes.
//!
//! ```text
//!  psql ─▶ connection ─▶ session ─▶ engine ─▶ SQLite ─▶ vtab ─▶ live ─▶ spinglass::Table
//!           bounds,       verbs,     threads,  joins,     what     this region from memory,
//!           login,        cursors,   time,     grouping,  it       hosts elsewhere by a
//!           notices       LISTEN     limits    ordering   needs    question down the tree
//! ```
//!
//! A statement is text until `lexer` makes tokens of it; `statement` says what it wants, and
//! `translate` writes what is for SQLite in SQLite's words.
//!
//! Invariants: nothing that a client does delays the node's task, which never waits for one; every
//! queue, list, text and time has a bound with a name; no statement reaches anything but the tables
//! that are listed in `live`.

mod bounded;
mod catalogue;
mod connection;
mod copy;
mod engine;
mod fault;
mod form;
mod functions;
mod infer;
mod lexer;
mod listen;
mod live;
mod login;
mod session;
mod statement;
mod translate;
mod types;
mod vtab;

use std::fmt;
use std::sync::{Arc, Weak};

use pgwire::api::ConnectionManager;
use spinglass::Node;
use tokio::net::TcpListener;
use tokio::runtime::Handle;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio_rustls::TlsAcceptor;

use crate::accept::accept;
use crate::{Claims, events};
use engine::Engine;
use fault::Fault;
use live::Live;
pub use login::{Users, UsersError, verifier};

/// Clients at once; further ones wait to be accepted.
const CLIENTS_MAX: usize = 200;
/// Parameters of a statement.
const PARAMETERS_MAX: usize = 1000;
/// What a reader is told who would change something.
const READ_ONLY: &str = "permission denied: this login may read only (see --sql-users)";

/// Who may come in, and how.
#[derive(Clone, Default)]
pub struct Access {
    /// Who may come in; none: everybody who reaches it, as readers.
    pub users: Option<Users>,
    /// By which certificate clients may speak TLS; none: they can't. If it asks clients for theirs,
    /// whoever shows one comes in by it, without a password.
    pub tls: Option<TlsAcceptor>,
}

impl fmt::Debug for Access {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Access").field("users", &self.users).finish_non_exhaustive()
    }
}

/// How the door is to be.
pub struct Settings {
    /// Who may come in; it may change while the door is open, for those who come in from then on.
    pub access: watch::Receiver<Access>,
    /// Without users: whether everybody may change something, too.
    pub is_open: bool,
    /// Who hears which attributes users set.
    pub claims: Claims,
}

impl fmt::Debug for Settings {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Settings").field("is_open", &self.is_open).finish_non_exhaustive()
    }
}

/// What connections share.
struct Door {
    node: Weak<Node>,
    live: Arc<Live>,
    engine: Engine,
    access: watch::Receiver<Access>,
    is_open: bool,
    claims: Claims,
    connections: Arc<ConnectionManager>,
}

impl fmt::Debug for Door {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Door").field("engine", &self.engine).finish_non_exhaustive()
    }
}

impl Door {
    fn node(&self) -> Result<Arc<Node>, Fault> {
        self.node.upgrade().ok_or_else(Fault::gone)
    }
}

/// Serves clients until the task ends, and they with it.
pub async fn serve(listener: TcpListener, node: Weak<Node>, settings: Settings) {
    let live = Arc::new(Live::new(Weak::clone(&node), Handle::current()));
    let connections = Arc::new(ConnectionManager::new());
    let Settings { access, is_open, claims } = settings;
    let engine = Engine::new(Arc::clone(&live));
    let seen_by = Arc::clone(&live);
    let door = Door { node, live, engine, access, is_open, claims, connections };
    let door = Arc::new(door);
    // It ends with the door.
    let mut beside = JoinSet::new();
    if let Ok(node) = door.node() {
        let mut subscription = events::subscribe(&node);
        beside.spawn(async move {
            while let Some(event) = subscription.next().await {
                seen_by.tell(&event);
            }
        });
    }
    accept(listener, CLIENTS_MAX, |stream| {
        let door = Arc::clone(&door);
        async move {
            if let Err(error) = connection::converse(stream, door).await {
                tracing::debug!(%error, "a client of the SQL door is gone");
            }
        }
    })
    .await;
}
