//! Settings that are read again while the agent runs: at a hang-up signal (`systemctl reload`).
//!
//! Invariants: all files are read and checked before anything of them holds, so that a mistake in
//! one changes nothing; what takes a restart is named.

use std::sync::{Arc, Weak};

use anyhow::{Result, bail, ensure};
use spinglass::{Node, Value};
use tokio::signal::unix::{Signal, SignalKind, signal};

use super::Agent;
use super::access::{Board, Keys};
use super::facts::Claimed;
use crate::logs::Logging;
use crate::{Cli, Command};

/// Keys whose settings hold from the moment they are read again.
const AT_ONCE: [&str; 6] =
    ["http_token", "log_level", "sql_tls_cert", "sql_tls_clients", "sql_tls_key", "sql_users"];

/// An agent's settings as they hold, and what they are put into.
#[derive(Debug)]
pub(super) struct Reload {
    node: Weak<Node>,
    claimed: Arc<Claimed>,
    board: Board,
    /// Whether other machines reach the door for SQL.
    is_afar: bool,
    attributes: Vec<(String, Value)>,
    told: super::Told,
    hang_up: Signal,
}

impl Reload {
    /// Of an agent that has just started.
    ///
    /// # Errors
    /// The signal can't be listened to.
    pub(super) fn new(
        settings: &Agent,
        node: &Arc<Node>,
        claimed: &Arc<Claimed>,
        board: Board,
    ) -> Result<Self> {
        Ok(Self {
            node: Arc::downgrade(node),
            claimed: Arc::clone(claimed),
            board,
            is_afar: settings.sql.is_some_and(|address| !address.ip().is_loopback()),
            attributes: settings.attributes.clone(),
            told: settings.told.clone(),
            hang_up: signal(SignalKind::hangup())?,
        })
    }

    /// Reads settings again whenever the signal comes.
    pub(super) async fn whenever_told(mut self) {
        while self.hang_up.recv().await.is_some() {
            match self.again().await {
                Ok(()) => tracing::info!("the settings were read again"),
                Err(error) => tracing::error!("the settings stay as they were: {error:#}"),
            }
        }
    }

    async fn again(&mut self) -> Result<()> {
        let Command::Agent(new) = Cli::read()?.command else { bail!("these are no agent's") };
        let keys = Keys::load(&new)?;
        ensure!(
            keys.are_strict() || !self.is_afar,
            "the door for SQL is open to other machines: it needs sql_users and sql_tls_cert"
        );
        let differences = self.told.differences(&new.told);
        let late: Vec<String> =
            differences.into_iter().filter(|key| !AT_ONCE.contains(&key.as_str())).collect();
        if !late.is_empty() {
            tracing::warn!(settings = late.join(", "), "these hold after a restart");
        }
        self.set(&new.attributes).await?;
        self.board.put(keys);
        Logging::turn(&new.logging);
        // What takes a restart is told of again until there was one.
        self.attributes = new.attributes;
        Ok(())
    }

    /// Sets the attributes that are others now, and takes those away that the file no longer has.
    async fn set(&self, new: &[(String, Value)]) -> Result<()> {
        let Some(node) = self.node.upgrade() else { return Ok(()) };
        let table = node.table();
        let is_new = |one: &&(String, Value)| !self.attributes.contains(one);
        let news = new.iter().filter(is_new).map(|(name, value)| (name.as_str(), value.clone()));
        let is_gone = |name: &String| !new.iter().any(|(kept, _)| kept == name);
        let gone = self.attributes.iter().filter(|(name, _)| is_gone(name));
        let gone = gone.map(|(name, _)| (name.as_str(), Value::Null));
        table.set_all(gone.chain(news)).await?;
        new.iter().for_each(|(name, _)| self.claimed.add(name));
        Ok(())
    }
}
