//! The options by which a command takes part in a group, and the node that they make.

use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4};
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use clap::{Args, ValueEnum};
use spinglass::{
    Builder, MULTICAST_GROUP, Node, PORT, PathChoice, RelayUrl, ReplyPorts, Seed, StartError,
};

/// How to take part in a group.
#[derive(Debug, Args)]
pub(crate) struct Join {
    /// Where to receive [default: the --interface, or else 127.0.0.1, at port 7710, or at any port
    /// if that is taken]
    #[arg(long, value_name = "ADDRESS:PORT")]
    bind: Option<SocketAddr>,
    /// Where others reach this member, if not at the address it is bound to
    #[arg(long, value_name = "ADDRESS:PORT")]
    advertise: Option<SocketAddr>,
    /// Members to join by: addresses, or names to look up; without a port it is 7710 [default:
    /// 127.0.0.1:7710, whom --state remembers, and with --interface whoever is on the network]
    #[arg(long, value_name = "HOST[:PORT]", value_delimiter = ',')]
    seeds: Vec<Seed>,
    /// The file with the group's key [default: with a certificate, what the first member that is
    /// met gives; without, a key known to all, on loopback only]
    #[arg(long, value_name = "FILE")]
    group_key: Option<PathBuf>,
    /// The file with this member's identity key [default: a new identity at every start]
    #[arg(long, value_name = "FILE")]
    identity: Option<PathBuf>,
    /// The file, or folder, that remembers this member's last life and whom it knew; made if it is
    /// not there
    #[arg(long, value_name = "FILE")]
    state: Option<PathBuf>,
    /// This member's certificates, as `spinglass ca issue` writes them: only members with
    /// certificates are heard from then on
    #[arg(long, value_name = "FILE", requires_all = ["trust", "identity"])]
    certificate: Option<PathBuf>,
    /// Certificates of roots by which others' certificates are checked; may be given again
    #[arg(long, value_name = "FILE", requires = "certificate")]
    trust: Vec<PathBuf>,
    /// A list of revoked certificates; may be given again
    #[arg(long, value_name = "FILE", requires = "certificate")]
    revoked: Vec<PathBuf>,
    /// Who may do what, as `spinglass policy` reads it [default: everybody certified, everything]
    #[arg(long, value_name = "FILE", requires = "certificate")]
    policy: Option<PathBuf>,
    /// If the rules let this member: give the group a new link key when nobody has for so long,
    /// such as 12h or 1d [default: never]
    #[arg(long, value_name = "TIME", requires = "certificate",
          value_parser = crate::agent::parse_rotation)]
    rotate_every: Option<Duration>,
    /// The region, such as /usa/ithaca: members of one are near each other [default: the
    /// certificate's, or /]
    #[arg(long, default_value = "", hide_default_value = true, value_name = "PATH")]
    region: String,
    /// What people call this member in the table [default: what its certificate calls it, or the
    /// beginning of its id]
    #[arg(long, default_value = "", hide_default_value = true)]
    name: String,
    /// Use IP multicast by the interface with this address; members there find each other by it
    #[arg(long, value_name = "ADDRESS")]
    interface: Option<Ipv4Addr>,
    /// The IP multicast group
    #[arg(long, value_name = "ADDRESS:PORT", requires = "interface")]
    multicast: Option<SocketAddrV4>,
    /// Be reached through this relay, over TLS on TCP: for a member whose firewall lets out nothing
    /// else
    #[arg(long, value_name = "wss://HOST[:PORT]")]
    relay: Option<String>,
    /// By which way to be reached: `direct` and `relay` always; `auto` by the relay, until others
    /// are seen to get through to this member without it, be it through NAT
    #[arg(long, value_enum, default_value_t, requires = "relay", value_name = "WAY")]
    path: Way,
    /// Roots that the relay's TLS certificate is checked by; may be given again [default: those
    /// that the system trusts]
    #[arg(long, value_name = "FILE", requires = "relay")]
    relay_trust: Vec<PathBuf>,
    /// The HTTP proxy by which the relay is reached [default: $HTTPS_PROXY, unless the relay is on
    /// this machine]
    #[arg(long, value_name = "http://HOST:PORT", requires = "relay")]
    relay_proxy: Option<String>,
    /// The largest datagram to make, in bytes [default: 1200, more on loopback]
    #[arg(long, value_name = "BYTES")]
    datagram: Option<usize>,
    /// Publish at most so many bytes per second
    #[arg(long, value_name = "BYTES")]
    pace: Option<u64>,
    /// Be sent at most so many bytes per second: what is more is thinned, and told as gaps
    #[arg(long, value_name = "BYTES")]
    receive_max: Option<u64>,
    /// Members are tens of milliseconds apart, not one
    #[arg(long)]
    wan: bool,
    /// The probability that a member misses a message is 10 to the minus this
    #[arg(long, value_name = "NINES", value_parser = clap::value_parser!(u8).range(1..=15))]
    nines: Option<u8>,
    /// When what this member asks for comes to ports of its own that change every few seconds: a
    /// firewall must let UDP through to any port of it then
    #[arg(long, value_enum, value_name = "WHEN", default_value_t = When::Flooded)]
    reply_ports: When,
    /// Record everything this member does, messages in the clear, for `spinglass replay`
    #[arg(long, value_name = "FILE")]
    record: Option<PathBuf>,
}

/// By which way a member with a relay is reached.
#[derive(Debug, Clone, Copy, Default, ValueEnum)]
enum Way {
    #[default]
    Auto,
    Direct,
    Relay,
}

/// When answers come to ports of their own.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum When {
    /// Never
    Never,
    /// While the member is flooded with what no member sent
    Flooded,
    /// Always
    Always,
}

impl From<When> for ReplyPorts {
    fn from(when: When) -> Self {
        match when {
            When::Never => Self::Never,
            When::Flooded => Self::WhenFlooded,
            When::Always => Self::Always,
        }
    }
}

/// A burst of this share of a second's bytes: at least the clock's tick, by much.
const BURST_PER_SECOND: u64 = 50;
/// The least burst: a datagram of the largest size.
const BURST_MIN: u64 = 65_536;

impl Join {
    /// Starts the node.
    ///
    /// # Errors
    /// Something about the options or the machine makes it impossible.
    pub(crate) async fn start(&self) -> Result<Node> {
        crate::logs::show_warnings();
        let ip = self.interface.unwrap_or(Ipv4Addr::LOCALHOST);
        let usual = SocketAddr::from((ip, PORT));
        let node = match self.start_on(self.bind.unwrap_or(usual), &self.seeds).await {
            Err(StartError::AddressInUse(_)) if self.bind.is_none() => {
                let here = || vec![Seed::Address(usual)];
                let seeds = if self.seeds.is_empty() { here() } else { self.seeds.clone() };
                self.start_on((ip, 0).into(), &seeds).await
            }
            other => other,
        };
        let node = node.context("cannot take part in the group")?;
        if node.is_development() {
            tracing::warn!(
                "no --group-key: loopback only, under a key that everybody knows \
                 (make one with `spinglass keygen --group FILE`)"
            );
        }
        Ok(node)
    }

    /// Whether it joins by others.
    pub(crate) const fn has_seeds(&self) -> bool {
        !self.seeds.is_empty()
    }

    async fn start_on(&self, bind: SocketAddr, seeds: &[Seed]) -> Result<Node, StartError> {
        let mut builder = Node::builder()
            .bind(bind)
            .seeds(seeds.iter().cloned())
            .region(self.region.as_str())
            .name(self.name.as_str())
            .reply_ports(self.reply_ports.into());
        if self.wan {
            builder = builder.wan();
        }
        if let Some(address) = self.advertise {
            builder = builder.advertise(address);
        }
        if let Some(path) = &self.group_key {
            builder = builder.group_key_file(path);
        }
        if let Some(path) = &self.identity {
            builder = builder.signing_key_file(path);
        }
        if let Some(path) = &self.certificate {
            builder = builder.certificate_file(path);
        }
        builder = self.trust.iter().fold(builder, Builder::trust_file);
        builder = self.revoked.iter().fold(builder, Builder::revocations_file);
        if let Some(path) = &self.policy {
            builder = builder.policy_file(path);
        }
        if let Some(time) = self.rotate_every {
            builder = builder.rotate_every(time);
        }
        if let Some(path) = &self.state {
            builder = builder.state_file(path);
        }
        if let Some(interface) = self.interface {
            builder = builder.multicast(self.multicast.unwrap_or(MULTICAST_GROUP), interface);
        }
        if let Some(url) = &self.relay {
            builder = builder.path(match self.path {
                Way::Auto => PathChoice::Auto,
                Way::Direct => PathChoice::Direct,
                Way::Relay => PathChoice::Relay,
            });
            builder = self.relay_trust.iter().fold(builder.relay(url), Builder::relay_trust_file);
            let is_here = url.parse().is_ok_and(|url: RelayUrl| url.is_loopback());
            let usual = || std::env::var("HTTPS_PROXY").ok().filter(|_| !is_here);
            if let Some(proxy) = self.relay_proxy.clone().or_else(usual) {
                builder = builder.relay_proxy(proxy);
            }
        }
        if let Some(bytes) = self.datagram {
            builder = builder.datagram_bytes(bytes);
        }
        if let Some(bytes) = self.pace {
            let burst = (bytes / BURST_PER_SECOND).max(BURST_MIN);
            builder = builder.pace(bytes, usize::try_from(burst).unwrap_or(usize::MAX));
        }
        if let Some(bytes) = self.receive_max {
            builder = builder.receive_rate_max(bytes);
        }
        if let Some(nines) = self.nines {
            builder = builder.reliability(nines);
        }
        if let Some(path) = &self.record {
            builder = builder.record(path);
        }
        builder.start().await
    }
}

/// Looks for what keeps a member alone that others have answered.
///
/// # Errors
/// Their regions do.
pub(crate) async fn nothing_in_the_way(node: &Node) -> Result<()> {
    let region = node.region_in_the_way().await;
    match region.filter(|_| node.member_count() == 1) {
        Some(region) => bail!(
            "whoever answers is in the region {region}, and this member is not beside it: give \
             --region {region}"
        ),
        None => Ok(()),
    }
}

/// Waits until a member besides this one is known, but not for ever: a group may be that of one.
pub(crate) async fn meet(node: &Node, members: usize, patience: Duration) -> bool {
    matches!(tokio::time::timeout(patience, node.wait_for_members(members)).await, Ok(Ok(())))
}
