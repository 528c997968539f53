//! `spinglass relay`: carries sealed datagrams for members behind firewalls.

use std::net::{IpAddr, SocketAddr};
use std::ops::RangeInclusive;
use std::path::PathBuf;

use anyhow::{Context as _, Result, anyhow, bail};
use clap::Args;
use rustix::process::{Resource, getrlimit, setrlimit};
use serde::Serialize;
use spinglass::PolicyFile;
use spinglass_core::identity::TrustDomain;
use spinglass_crypto::certificates::{Certificate, Verifier, load_chain, load_revocations};
use spinglass_crypto::{GroupKeys, Marks, RelayKeys};
use spinglass_relay::{
    Door, Doorkeeper, Guard, Limits, Relay as Server, ServerTls, Settings, Watch,
};

use crate::logs::Logging;
use crate::output::{Format, Verdict};

/// Options of `relay`.
#[derive(Debug, Args)]
#[command(after_help = "\
A member whose firewall lets out nothing but TCP connections to port 443 is reached through a relay:
it connects to the relay over TLS, and gets a UDP port of the relay's as its own address. All other
members send there, and know nothing of relays.

  spinglass keygen --relay relay.key --of group.key       where the group's key is
  spinglass relay --tls-cert tls.crt --tls-key tls.key --relay-key relay.key --public 203.0.113.7
  spinglass join --relay wss://relay.example.org --group-key group.key --seeds agents.example.org

The relay can neither read nor alter what it carries: it has no key to it. It lets in whoever
proves that it belongs to the group: by the relay key, or, with --trust, by a certificate that the
rules say `door relay` of. Let in from outside TCP to --listen and UDP to --ports; let out UDP.

Files that change are read again while it runs: TLS certificates that are renewed, roots, rules,
lists of revocations, relay keys. Who would not be let in any more is put out, nobody else notices.

It runs until Ctrl-C, and then prints what it counted. `docs/relay.md` says more.")]
pub(crate) struct Relay {
    /// Where to listen for TLS
    #[arg(long, default_value = "0.0.0.0:443", value_name = "ADDRESS:PORT")]
    listen: SocketAddr,
    /// The address by which members are reached, if not the one it listens on
    #[arg(long, value_name = "ADDRESS")]
    public: Option<IpAddr>,
    /// The UDP ports that members get [default: any]
    #[arg(long, value_name = "FROM-TO", value_parser = parse_ports)]
    ports: Option<RangeInclusive<u16>>,
    /// Its TLS certificate and those of its certifiers, in PEM
    #[arg(long, value_name = "FILE")]
    tls_cert: PathBuf,
    /// The certificate's key, in PEM
    #[arg(long, value_name = "FILE")]
    tls_key: PathBuf,
    /// Let in whoever has the group's key that this relay key follows from [default on loopback:
    /// the group of those who have none]
    #[arg(long, value_name = "FILE", conflicts_with = "trust")]
    relay_key: Option<PathBuf>,
    /// Let in whoever has a certificate of this root's; may be given again
    #[arg(long, value_name = "FILE")]
    trust: Vec<PathBuf>,
    /// The trust domain of members [default: what the root's certificate says]
    #[arg(long, value_name = "DOMAIN", requires = "trust")]
    domain: Option<String>,
    /// A list of revoked certificates; may be given again
    #[arg(long, value_name = "FILE", requires = "trust")]
    revoked: Vec<PathBuf>,
    /// Rules that say `door relay` of whom to let in [default: everybody certified]
    #[arg(long, value_name = "FILE", requires = "trust")]
    policy: Option<PathBuf>,
    /// Serve so many members at once
    #[arg(long, value_name = "COUNT", default_value_t = Limits::default().members_max)]
    members: usize,
    /// Carry so many bytes of datagrams per second for one member, each way
    #[arg(long, value_name = "BYTES", default_value_t = Limits::default().bytes_per_second)]
    rate: u64,
    #[command(flatten)]
    logging: Logging,
}

/// Files that a relay needs open for each member: its connection and its port.
const FILES_PER_MEMBER: u64 = 2;
/// Files beside those: strangers, standard streams.
const FILES_BESIDE: u64 = 256;

fn parse_ports(text: &str) -> Result<RangeInclusive<u16>> {
    let bounds = text.split_once('-').and_then(|(from, to)| {
        let (from, to): (u16, u16) = (from.parse().ok()?, to.parse().ok()?);
        (0 < from && from <= to).then_some(from..=to)
    });
    bounds.ok_or_else(|| anyhow!("{text:?} is no range of ports: write it as 40000-41000"))
}

/// What is told when it listens.
#[derive(Debug, Serialize)]
struct Listening {
    listening: SocketAddr,
    public: IpAddr,
}

/// What is told at the end.
#[derive(Debug, Serialize)]
struct Counted {
    connections: u64,
    turned_away: u64,
    failed: u64,
    refused: u64,
    admitted: u64,
    ended: u64,
    datagrams_out: u64,
    bytes_out: u64,
    datagrams_in: u64,
    bytes_in: u64,
    barred: u64,
    foreign: u64,
}

/// Prints what was counted when the command ends, however it does.
struct Farewell {
    watch: Watch,
    format: Format,
}

impl Drop for Farewell {
    fn drop(&mut self) {
        let counters = self.watch.counters();
        let counted = Counted {
            connections: counters.connections,
            turned_away: counters.turned_away,
            failed: counters.failed,
            refused: counters.refused,
            admitted: counters.admitted,
            ended: counters.ended,
            datagrams_out: counters.datagrams_out,
            bytes_out: counters.bytes_out,
            datagrams_in: counters.datagrams_in,
            bytes_in: counters.bytes_in,
            barred: counters.barred,
            foreign: counters.foreign,
        };
        // There is nobody left to tell if that fails.
        let _ = self.format.print(&counted, |it| {
            format!(
                "connections: {}; let in: {}; refused: {}; failed: {}; turned away: {}\n\
                 to members: {} datagrams, {} bytes; from members: {} datagrams, {} bytes\n\
                 not carried: {} for addresses that nothing is sent to, {} that are no datagrams \
                 of ours\n",
                it.connections,
                it.admitted,
                it.refused,
                it.failed,
                it.turned_away,
                it.datagrams_in,
                it.bytes_in,
                it.datagrams_out,
                it.bytes_out,
                it.barred,
                it.foreign
            )
        });
    }
}

/// Runs a relay until it is interrupted.
///
/// # Errors
/// A file can't be used, or it can't listen.
pub(crate) async fn run(options: &Relay, format: Format) -> Result<Verdict> {
    options.logging.start();
    let marks = options.marks();
    let door = options.door()?;
    let limits = Limits { members_max: options.members.max(1), bytes_per_second: options.rate };
    let wanted = limits.members_max as u64 * FILES_PER_MEMBER + FILES_BESIDE;
    if let Some(most) = allow_files(wanted) {
        tracing::warn!("this process may have {most} files open, and {wanted} are wanted");
    }
    let settings = Settings {
        listen: options.listen,
        public: options.public,
        ports: options.ports.clone(),
        door,
        limits,
    };
    let (relay, keeper) = Server::bind(settings).await?;
    let public = options.public.unwrap_or_else(|| options.listen.ip());
    let listening = Listening { listening: relay.local_addr(), public };
    format.print(&listening, |it| {
        format!("relay on {}; its members are reached at {}\n", it.listening, it.public)
    })?;
    let _farewell = Farewell { watch: relay.watch(), format };
    tokio::select! {
        ended = relay.run() => ended?,
        () = keep(options, &keeper, marks) => (),
    }
    Ok(Verdict::Good)
}

/// Looks at the files now and then, for ever, and changes the door when they have changed.
async fn keep(options: &Relay, keeper: &Doorkeeper, mut marks: Marks) {
    loop {
        tokio::time::sleep(Marks::LOOK_EVERY).await;
        let new = options.marks();
        if new == marks {
            continue;
        }
        marks = new;
        match options.door() {
            Ok(door) => {
                keeper.change(door);
                tracing::info!("the relay's files were read again");
            }
            Err(error) => {
                let error = format!("{error:#}");
                tracing::warn!(
                    error,
                    "a file has changed, and is not heeded: mend it, and it is read"
                );
            }
        }
    }
}

impl Relay {
    /// What its files say.
    fn door(&self) -> Result<Door> {
        let tls = ServerTls::load(&self.tls_cert, &self.tls_key)?;
        Ok(Door { tls, guard: self.guard()? })
    }

    fn marks(&self) -> Marks {
        let files = [&self.tls_cert, &self.tls_key].into_iter().chain(&self.relay_key);
        let files = files.chain(&self.trust).chain(&self.revoked).chain(&self.policy);
        Marks::of(files.map(PathBuf::as_path))
    }

    fn guard(&self) -> Result<Guard> {
        if let Some(path) = &self.relay_key {
            return Ok(Guard::Keys(RelayKeys::load(path)?));
        }
        if self.trust.is_empty() {
            if !self.listen.ip().is_loopback() {
                bail!(
                    "say whom to let in: with --relay-key (`spinglass keygen --relay FILE --of \
                     GROUP-KEY` makes one), or with --trust"
                );
            }
            eprintln!(
                "spinglass: no --relay-key and no --trust: loopback only, for the group whose key \
                 everybody knows"
            );
            return Ok(Guard::Keys(GroupKeys::development().relay_keys()));
        }
        let anchors = self.trust.iter().map(|path| load_chain(path));
        let anchors = anchors.collect::<Result<Vec<_>, _>>()?.concat();
        let mut verifier = Verifier::new(self.trust_domain(&anchors)?, anchors)?;
        for path in &self.revoked {
            verifier.add_revocations(load_revocations(path)?)?;
        }
        let policy = self.policy.as_deref().map(PolicyFile::load).transpose()?;
        Ok(Guard::Certified { verifier, policy: policy.map(|file| file.policy().clone()) })
    }

    fn trust_domain(&self, anchors: &[Certificate]) -> Result<TrustDomain> {
        if let Some(domain) = &self.domain {
            return TrustDomain::parse(domain).map_err(|_| anyhow!("{domain:?} is no domain"));
        }
        let scopes = anchors.iter().filter_map(|anchor| anchor.scope().ok().flatten());
        let domain = scopes.map(|scope| scope.domain).next();
        domain.context("the root's certificate names no trust domain: say it with --domain")
    }
}

/// Lets this process open so many files; if it may not, returns how many it may.
fn allow_files(wanted: u64) -> Option<u64> {
    let mut limit = getrlimit(Resource::Nofile);
    if limit.current.is_none_or(|current| current >= wanted) {
        return None;
    }
    limit.current = Some(limit.maximum.map_or(wanted, |most| most.min(wanted)));
    let current = limit.current;
    let is_set = setrlimit(Resource::Nofile, limit).is_ok();
    current.filter(|current| !is_set || *current < wanted)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_of_ports_are_read() {
        assert_eq!(parse_ports("40000-41000").unwrap(), 40_000..=41_000);
        assert_eq!(parse_ports("7-7").unwrap(), 7..=7);
        for wrong in ["", "7", "0-7", "8-7", "1-70000", "a-b"] {
            assert!(parse_ports(wrong).is_err(), "{wrong}");
        }
    }
}
