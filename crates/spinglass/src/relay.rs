//! The way through a relay: how a member is told of one, and gets there.

use std::net::SocketAddr;
use std::path::PathBuf;

use spinglass_core::Config;
use spinglass_crypto::{GroupKeys, SigningKey};
use spinglass_relay::{
    ClientTls, Connection, Credentials, Incoming, Proxy, RelayError, RelayUrl, Tunnel, Way, connect,
};
use tokio::task::JoinSet;

use crate::builder::Builder;
use crate::error::StartError;
use crate::paths::PathChoice;

/// Runs of datagrams taken from a tunnel in one turn of the loop.
const RUNS_PER_TURN: usize = 64;

/// What a builder was told of relays.
#[derive(Debug, Default)]
pub(crate) struct RelayPlan {
    url: Option<String>,
    trust: Vec<PathBuf>,
    proxy: Option<String>,
    path: PathChoice,
}

impl Builder {
    /// A relay to be reached by, such as `wss://relay.example.org`, for a member that may open TCP
    /// connections and nothing else. It advertises the address that the relay gives it, unless
    /// [`path`](Self::path) says otherwise or finds a better one.
    pub fn relay(mut self, url: impl Into<String>) -> Self {
        self.relay.url = Some(url.into());
        self
    }

    /// A file with certificates of roots that the relay's is checked by, in PEM; may be called
    /// again. Default: the roots that the system trusts.
    pub fn relay_trust_file(mut self, path: impl Into<PathBuf>) -> Self {
        self.relay.trust.push(path.into());
        self
    }

    /// The HTTP proxy by which the relay is reached, such as `http://proxy.example.org:3128`.
    pub fn relay_proxy(mut self, proxy: impl Into<String>) -> Self {
        self.relay.proxy = Some(proxy.into());
        self
    }

    /// By which way this member is reached, if it has a relay. Default: [`PathChoice::Auto`].
    pub const fn path(mut self, path: PathChoice) -> Self {
        self.relay.path = path;
        self
    }
}

impl RelayPlan {
    /// Whether the way is chosen by what others see.
    pub(crate) fn is_auto(&self) -> bool {
        self.is_some() && self.path == PathChoice::Auto
    }

    /// Whether there is one.
    pub(crate) fn is_some(&self) -> bool {
        self.url.is_some() && self.path != PathChoice::Direct
    }

    /// Whether everything stays on this machine, as far as relays go.
    pub(crate) fn is_here(&self) -> bool {
        let is_here = |url: &String| url.parse().is_ok_and(|url: RelayUrl| url.is_loopback());
        !self.is_some() || self.url.as_ref().is_none_or(is_here)
    }

    /// How to get to the relay; `None`: there is none.
    ///
    /// # Errors
    /// What was told of it makes no sense, or its roots can't be read.
    pub(crate) fn way(
        &self,
        config: &Config,
        key: &SigningKey,
        group: &GroupKeys,
    ) -> Result<Option<Way>, StartError> {
        let Some(url) = self.url.as_ref().filter(|_| self.is_some()) else { return Ok(None) };
        let url: RelayUrl = url.parse()?;
        let tls = ClientTls::load(&self.trust)?;
        let proxy = self.proxy.as_deref().map(str::parse::<Proxy>).transpose()?;
        let credentials = Credentials {
            key: key.clone(),
            relay_keys: Some((config.link.epoch, group.relay_keys())),
            chain: config.security.as_ref().map(|security| security.chain.clone()),
        };
        Ok(Some(Way { url, tls, proxy, credentials }))
    }
}

/// A member's way through a relay, before its loop begins.
#[derive(Debug)]
pub(crate) struct Begun {
    way: Way,
    /// None: it can't be reached, and the member begins without.
    first: Option<Connection>,
}

impl Begun {
    /// Connects for the first time.
    ///
    /// # Errors
    /// It does not work: better found out now than later. If there may be another way it is no
    /// error that the relay can't be reached, since that passes.
    pub(crate) async fn new(way: Way, is_auto: bool) -> Result<Self, RelayError> {
        match connect(&way, 0).await {
            Ok(first) => Ok(Self { way, first: Some(first) }),
            Err(error @ RelayError::Unreachable { .. }) if is_auto => {
                tracing::warn!(%error, "beginning without the relay");
                Ok(Self { way, first: None })
            }
            Err(error) => Err(error),
        }
    }

    /// Where others reach the member through it, if there is a connection.
    pub(crate) fn address(&self) -> Option<SocketAddr> {
        self.first.as_ref().map(Connection::address)
    }

    /// Begins to keep it up, beside the loop.
    pub(crate) fn keep(self, beside: &mut JoinSet<()>) -> Tunnel {
        let tunnel = Tunnel::default();
        beside.spawn(tunnel.clone().run(self.way, self.first));
        tunnel
    }
}

/// What has arrived through a tunnel.
pub(crate) fn receive(tunnel: Option<&Tunnel>) -> Vec<Incoming> {
    let Some(tunnel) = tunnel else { return Vec::new() };
    std::iter::from_fn(|| tunnel.receive()).take(RUNS_PER_TURN).collect()
}

/// Where others reach the member through the tunnel, if that has changed.
pub(crate) fn new_address(tunnel: &Tunnel) -> Option<SocketAddr> {
    tunnel.take_change().flatten()
}
