//! Where doors are, an agent's and a demo's: on loopback, at the usual port or at any other.

use std::net::{Ipv4Addr, SocketAddr};

use anyhow::{Context as _, Result, ensure};
use tokio::net::TcpListener;

/// A door's usual place.
#[derive(Debug)]
pub(crate) struct Door {
    option: &'static str,
    port: u16,
    /// What it takes to serve other machines, too.
    beyond: &'static str,
}

/// Health, metrics and the table, for programs that speak HTTP.
pub(crate) const HTTP: Door = Door {
    option: "http",
    port: 7780,
    beyond: "and let a proxy with TLS and a password stand before it",
};
/// The table, for programs that speak PostgreSQL's protocol.
pub(crate) const SQL: Door = Door {
    option: "sql",
    port: 7754,
    beyond: "or say who may come in by --sql-users, and by which certificate by --sql-tls-cert",
};

impl Door {
    /// Its usual port.
    pub(crate) const fn port(&self) -> u16 {
        self.port
    }

    /// Opens the door where somebody asked for it, beyond loopback only if it is guarded; else at
    /// its usual port, or, if that is taken, at any. An agent does its work without one, too: that
    /// there is none is said, and no error.
    ///
    /// # Errors
    /// The address asked for is not of loopback, or can't be had.
    pub(crate) async fn open(
        &self,
        asked: Option<SocketAddr>,
        is_shut: bool,
        is_guarded: bool,
    ) -> Result<Option<TcpListener>> {
        if let Some(address) = asked {
            return self.open_at(address, is_guarded).await.map(Some);
        }
        if is_shut {
            return Ok(None);
        }
        let mut opened = TcpListener::bind((Ipv4Addr::LOCALHOST, self.port)).await;
        if opened.is_err() {
            opened = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await;
        }
        Ok(opened.inspect_err(|error| tracing::warn!(%error, "no door for {}", self.option)).ok())
    }

    async fn open_at(&self, address: SocketAddr, is_guarded: bool) -> Result<TcpListener> {
        let Self { option, beyond, .. } = self;
        ensure!(
            is_guarded || address.ip().is_loopback(),
            "--{option} serves this machine alone: give an address of loopback, {beyond}"
        );
        TcpListener::bind(address).await.with_context(|| format!("--{option} can't have {address}"))
    }
}
