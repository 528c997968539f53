//! A member described, and started.

use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4};
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use spinglass_core::crypto::{Crypto, Salt};
use spinglass_core::table::ZonePath;
use spinglass_core::{
    Config, Dissemination, Driver, Identity, Incarnation, MulticastConfig, Node as CoreNode,
    Reliability,
};
use spinglass_crypto::certificates::Verifier;
use spinglass_crypto::{GroupKeys, KeyError, RealCrypto, SigningKey, random};
use tokio::task::JoinSet;

use crate::clock::{self, Clock};
use crate::error::{SeedError, StartError};
use crate::faults::Dropper;
use crate::host::Outside;
use crate::inbox::Inbox;
use crate::incarnation;
use crate::memory::Memory;
use crate::node::{Known, Node, Shared};
use crate::paths;
use crate::record::{Log, RecordingCrypto};
use crate::relay::{Begun, RelayPlan};
use crate::replies::{Replies, ReplyPorts};
use crate::resolver;
use crate::security::{self, Loaded, Papers, Rulebook, SecurityError};
use crate::seed::{HostPort, Seed};
use crate::socket::{BatchedSocket, MulticastPath, route_to};
use crate::subscription::Limits;
use crate::task::Task;
use crate::topics::Texts;

/// The IP multicast group by default: of the addresses for an organisation's own use (RFC 2365).
pub const MULTICAST_GROUP: SocketAddrV4 = SocketAddrV4::new(Ipv4Addr::new(239, 192, 77, 10), 7711);
/// The largest datagram by default: what every path carries.
pub const DATAGRAM_BYTES_PATH: usize = 1200;
/// The largest datagram by default on loopback, whose packets may have 64 KiB: fewer, larger
/// datagrams cost less per byte.
pub const DATAGRAM_BYTES_LOOPBACK: usize = 60_000;

/// A turn at announcing oneself where IP multicast works: somebody does every 10 s or so
/// [van Renesse et al. 1998, section 6].
const ANNOUNCE_TURN: Duration = Duration::from_secs(1);
/// Events that may wait for a subscriber by default: a third of a second at 400,000 a second.
const SUBSCRIPTION_EVENTS_MAX: usize = 1 << 17;
/// Bytes of messages that may wait for a subscriber by default.
const SUBSCRIPTION_BYTES_MAX: usize = 64 << 20;

/// A key, or the file to read it from.
#[derive(Debug)]
enum Source<K> {
    Value(K),
    File(PathBuf),
}

/// Describes a member; made by [`Node::builder`].
#[derive(Debug)]
#[must_use = "nothing happens until it is started"]
pub struct Builder {
    bind: SocketAddr,
    advertise: Option<SocketAddr>,
    seeds: Vec<Seed>,
    bad_seed: Option<SeedError>,
    region: String,
    name: String,
    group_key: Option<Source<GroupKeys>>,
    signing_key: Option<Source<SigningKey>>,
    state: Option<PathBuf>,
    config: Config,
    datagram_bytes: Option<usize>,
    dissemination: Option<Dissemination>,
    multicast: Option<MulticastPath>,
    limits: Limits,
    record: Option<PathBuf>,
    drops: Option<(f64, u64)>,
    reply_ports: ReplyPorts,
    papers: Papers,
    pub(crate) relay: RelayPlan,
}

impl Default for Builder {
    fn default() -> Self {
        let limits = Limits { events: SUBSCRIPTION_EVENTS_MAX, bytes: SUBSCRIPTION_BYTES_MAX };
        Self {
            bind: (Ipv4Addr::LOCALHOST, 0).into(),
            advertise: None,
            seeds: Vec::new(),
            bad_seed: None,
            region: String::new(),
            name: String::new(),
            group_key: None,
            signing_key: None,
            state: None,
            config: Config::default(),
            datagram_bytes: None,
            dissemination: None,
            multicast: None,
            limits,
            record: None,
            drops: None,
            reply_ports: ReplyPorts::default(),
            papers: Papers::default(),
            relay: RelayPlan::default(),
        }
    }
}

impl Builder {
    // --- where

    /// The address to receive on. Default: 127.0.0.1, any port.
    pub const fn bind(mut self, address: SocketAddr) -> Self {
        self.bind = address;
        self
    }

    /// The address by which others reach this member, where that is not the one it is bound to.
    pub const fn advertise(mut self, address: SocketAddr) -> Self {
        self.advertise = Some(address);
        self
    }

    /// Members to join by; any that is there will do. Default: none, for the first of a group, and
    /// for one that remembers others ([`state_file`](Self::state_file)) or finds them on its
    /// network ([`multicast`](Self::multicast)).
    ///
    /// A name is looked up once the node runs, and again while nobody answers at its addresses.
    pub fn seeds<S: Into<Seed>>(mut self, seeds: impl IntoIterator<Item = S>) -> Self {
        self.seeds.extend(seeds.into_iter().map(Into::into));
        self
    }

    /// The same as text, such as `agents.example.org:7710`; one that is neither an address nor a
    /// name is found out at the start.
    pub fn seed_names<'a>(mut self, seeds: impl IntoIterator<Item = &'a str>) -> Self {
        for seed in seeds {
            match seed.parse() {
                Ok(seed) => self.seeds.push(seed),
                Err(error) => self.bad_seed = Some(error),
            }
        }
        self
    }

    /// What people call this member: its row's `id` in the table. Default: the first eight digits
    /// of its member's name; with a [`certificate_file`](Self::certificate_file), what that calls
    /// it, and then it can't be called anything else.
    pub fn name(mut self, name: impl Into<String>) -> Self {
        self.name = name.into();
        self
    }

    /// The region, such as `/usa/ithaca`: members of one are near each other, and its table has
    /// their rows. Default: `/`, one region for all; with a certificate, the one that it is for,
    /// and then it can't be another.
    pub fn region(mut self, region: impl Into<String>) -> Self {
        self.region = region.into();
        self
    }

    // --- who

    /// The group's link keys. Default on loopback: a key that everybody knows; elsewhere: none.
    pub fn group_key(mut self, keys: GroupKeys) -> Self {
        self.group_key = Some(Source::Value(keys));
        self
    }

    /// The file that holds the group's link keys.
    pub fn group_key_file(mut self, path: impl Into<PathBuf>) -> Self {
        self.group_key = Some(Source::File(path.into()));
        self
    }

    /// This member's private key. Default: a new one, and so a new member, at every start.
    pub fn signing_key(mut self, key: SigningKey) -> Self {
        self.signing_key = Some(Source::Value(key));
        self
    }

    /// The file that holds this member's private key.
    pub fn signing_key_file(mut self, path: impl Into<PathBuf>) -> Self {
        self.signing_key = Some(Source::File(path.into()));
        self
    }

    /// The file with this member's certificates, in PEM: its own first, then the certifiers between
    /// it and a root. It takes the key that they are about
    /// ([`signing_key_file`](Self::signing_key_file)) and roots to check others by
    /// ([`trust_file`](Self::trust_file)).
    ///
    /// The member is then in *certified mode*: it hears only members whose certificates hold, and
    /// does not start if its own does not. Default: none; whoever holds the group's key is heard.
    pub fn certificate_file(mut self, path: impl Into<PathBuf>) -> Self {
        self.papers.certificate = Some(path.into());
        self
    }

    /// A file with certificates of roots that this member trusts, in PEM; may be called again.
    pub fn trust_file(mut self, path: impl Into<PathBuf>) -> Self {
        self.papers.trust.push(path.into());
        self
    }

    /// A file with a list of revoked certificates, an X.509 CRL in PEM, read at the start; may be
    /// called again.
    pub fn revocations_file(mut self, path: impl Into<PathBuf>) -> Self {
        self.papers.revoked.push(path.into());
        self
    }

    /// The file that says what certified members may do: see [`PolicyFile`](crate::PolicyFile).
    /// Default: everything.
    pub fn policy_file(mut self, path: impl Into<PathBuf>) -> Self {
        self.papers.policy = Some(path.into());
        self
    }

    /// The file that remembers which life of this member was the last; made if it is not there. In
    /// a folder, it is the file `state` there.
    ///
    /// Beside it, with `.peers` behind its name, stands whom the member knew: agents of its region
    /// and those who speak for other zones, at most 576 addresses. They serve as seeds, so that a
    /// system of which everything was down forms again by itself.
    ///
    /// Without it, a member with a key of its own waits at its start until the next second of the
    /// wall clock begins, so that two lives never get the same number.
    pub fn state_file(mut self, path: impl Into<PathBuf>) -> Self {
        let path = path.into();
        self.state = Some(if path.is_dir() { path.join("state") } else { path });
        self
    }

    // --- how

    /// Settings for members a millisecond apart; the default.
    pub const fn lan(mut self) -> Self {
        self.config.multicast = MulticastConfig::lan();
        self
    }

    /// Settings for members tens of milliseconds apart.
    pub const fn wan(mut self) -> Self {
        self.config.multicast = MulticastConfig::wan();
        self
    }

    /// Every setting of the protocols. The size of datagrams and the dissemination in it are
    /// overridden by what this builder is told of them, or chooses.
    pub fn config(mut self, config: Config) -> Self {
        self.config = config;
        self
    }

    /// The largest datagram this member makes. Default: [`DATAGRAM_BYTES_LOOPBACK`] if it is bound
    /// to loopback and there is no relay, else [`DATAGRAM_BYTES_PATH`].
    pub const fn datagram_bytes(mut self, bytes: usize) -> Self {
        self.datagram_bytes = Some(bytes);
        self
    }

    /// How new packets are spread. Default: IP multicast if [`multicast`](Self::multicast) is set,
    /// else trees.
    pub const fn dissemination(mut self, dissemination: Dissemination) -> Self {
        self.dissemination = Some(dissemination);
        self
    }

    /// The IP multicast group, and the address of the interface it is sent and heard by;
    /// [`MULTICAST_GROUP`] is the usual one. Members on one network find each other by it, without
    /// seeds.
    pub const fn multicast(mut self, group: SocketAddrV4, interface: Ipv4Addr) -> Self {
        self.multicast = Some(MulticastPath { group, interface });
        self
    }

    /// The pace of publishing: bytes per second, and bytes at once after a quiet time. The burst
    /// should cover two milliseconds at that rate, or the clock's ticks are what sets the pace.
    pub const fn pace(mut self, bytes_per_second: u64, burst_bytes: usize) -> Self {
        self.config.multicast.send_rate = bytes_per_second;
        self.config.multicast.send_burst_bytes = burst_bytes;
        self
    }

    /// What this member is to be sent at most, in bytes per second, everything counted; zero, the
    /// default: whatever there is. Streams busier than it bears are thinned evenly, and what is
    /// left out is told as gaps. Several times what a quiet day brings leaves room for repairs.
    pub const fn receive_rate_max(mut self, bytes_per_second: u64) -> Self {
        self.config.multicast.receive_rate_max = bytes_per_second;
        self
    }

    /// The probability that a given member misses a given message: `10^-nines`.
    pub const fn reliability(mut self, nines: u8) -> Self {
        self.config.multicast.reliability = Reliability { nines };
        self
    }

    /// How much may wait for each subscriber; what is beyond is dropped and told as
    /// [`Event::Lagged`](crate::Event::Lagged). Default: 131,072 events, 64 MiB of messages.
    pub const fn subscription_limits(mut self, events: usize, bytes: usize) -> Self {
        self.limits = Limits { events, bytes };
        self
    }

    /// Records everything the member does to a file, from which it can be replayed. It holds
    /// messages in the clear, and no keys.
    pub fn record(mut self, path: impl Into<PathBuf>) -> Self {
        self.record = Some(path.into());
        self
    }

    /// In certified mode, and if the rules let this member rotate: gives the group a new link key
    /// when nobody has for so long, at least 10 s. Default: never.
    pub const fn rotate_every(mut self, time: Duration) -> Self {
        self.config.link.rotate_every = time;
        self
    }

    /// Drops received datagrams on purpose, each with this probability: for demonstrations. See
    /// [`Node::drop_packets`], which changes it.
    pub const fn drop_probability(mut self, probability: f64, seed: u64) -> Self {
        self.drops = Some((probability, seed));
        self
    }

    /// When this member wants what it asks for at ports of their own, drawn by the system and
    /// changed every few seconds. Default: while somebody floods it. They must be reachable from
    /// wherever members are, as its own port is; where a firewall drops what comes there, the
    /// member notices and does without every other time. Behind an address that is translated
    /// ([`advertise`](Self::advertise)) there are none.
    pub const fn reply_ports(mut self, reply_ports: ReplyPorts) -> Self {
        self.reply_ports = reply_ports;
        self
    }

    /// Starts the member, on the tokio runtime that this is called in.
    ///
    /// # Errors
    /// Something about the description or the machine makes it impossible: see [`StartError`].
    pub async fn start(mut self) -> Result<Node, StartError> {
        if let Some(error) = self.bad_seed.take() {
            return Err(error.into());
        }
        let development = self.group_key.is_none() && !self.papers.is_certified();
        let lives_untold = self.signing_key.is_some() && self.state.is_none();
        let dropper = self.dropper()?;
        self.choose_path()?;
        let loaded = self.load_papers()?;
        let watched = loaded.as_ref().map(|loaded| (loaded.marks.clone(), loaded.holds));
        let rules = Rulebook::new(loaded.as_ref().and_then(Loaded::rules));
        let config = std::mem::take(&mut self.config).check()?;
        let (group_keys, signing_key) = self.load_keys()?;
        let way = self.relay.way(config.get(), &signing_key, &group_keys)?;
        let own = BatchedSocket::bind(self.bind, self.multicast)?;
        let relay = match way {
            Some(way) => Some(Begun::new(way, self.relay.is_auto()).await?),
            None => None,
        };
        let relays = relay.as_ref().and_then(Begun::address);
        let address = relays.map_or_else(|| self.choose_address(&own), Ok)?;
        let multicast = match self.multicast {
            Some(path) => Some((BatchedSocket::join(path)?, SocketAddr::from(path.group))),
            None => None,
        };
        let incarnation = self.choose_incarnation()?;
        if lives_untold {
            next_second().await;
        }
        let verifier = loaded.map(|loaded| loaded.verifier);
        let (crypto, log) = self.crypto(signing_key, group_keys, verifier)?;
        let salt = Salt(random());
        let region = ZonePath::parse(&self.region)?;
        let name = std::mem::take(&mut self.name);
        let identity = Identity { incarnation, salt, address, region, name };
        let (seed, clock) = (u64::from_le_bytes(random()), Clock::start());
        let (memory, remembered) =
            self.state.as_deref().map(|path| Memory::open(path, clock.monotonic())).unzip();
        let (mut seeds, names) = self.split_seeds();
        seeds.extend(remembered.into_iter().flatten());
        seeds.retain(|seed| *seed != address);
        let core = CoreNode::new(config, identity, crypto, seed, seeds, clock.now())?;
        let known = Known { id: core.id(), incarnation, development };
        let driver = match log {
            Some(log) => Driver::recorded(core, Box::new(log)),
            None => Driver::new(core),
        };
        let inbox = Inbox::default();
        let (limits, last) = (self.limits, OnceLock::new());
        let shared = Arc::new(Shared { inbox, limits, last, rules, texts: Texts::new() });
        let mut outside = Outside::new(own, multicast, self.replies(address));
        let mut beside = JoinSet::new();
        outside.by_relay = relays.is_some();
        outside.tunnel = relay.map(|relay| relay.keep(&mut beside));
        let (task, pulse) = Task::new(driver, outside, clock, Arc::clone(&shared), dropper);
        for name in names {
            beside.spawn(resolver::resolve(name, address, Arc::clone(&shared)));
        }
        if self.relay.is_auto() {
            beside.spawn(paths::choose(Arc::clone(&shared)));
        }
        if let Some((marks, holds)) = watched {
            let papers = self.papers.clone();
            beside.spawn(security::watch(papers, marks, holds, Arc::clone(&shared)));
        }
        tokio::spawn(task.with(memory, beside).run());
        Ok(Node::new(shared, pulse, known))
    }

    // --- steps of a start

    /// Where answers may come, for a member that is reached at `address`.
    fn replies(&self, address: SocketAddr) -> Replies {
        let bound = self.bind.ip();
        let is_translated = !bound.is_unspecified() && bound != address.ip();
        let mode = if is_translated { ReplyPorts::Never } else { self.reply_ports };
        Replies::new(mode, bound)
    }

    fn dropper(&self) -> Result<Option<Dropper>, StartError> {
        let Some((probability, seed)) = self.drops else { return Ok(None) };
        Dropper::new(probability, seed).map(Some)
    }

    /// Settles how packets are spread and how large they are, and that no key-less member is
    /// reachable from beyond this machine.
    fn choose_path(&mut self) -> Result<(), StartError> {
        let by_default = match self.multicast {
            Some(_) => Dissemination::Multicast,
            None => Dissemination::Trees,
        };
        let dissemination = self.dissemination.unwrap_or(by_default);
        match (dissemination, self.multicast, self.bind.ip()) {
            // What is there serves to find others, however packets go.
            (_, Some(_), _) | (Dissemination::Trees, ..) => (),
            (_, None, std::net::IpAddr::V4(interface)) if !interface.is_unspecified() => {
                self.multicast = Some(MulticastPath { group: MULTICAST_GROUP, interface });
            }
            (_, None, _) => return Err(StartError::NoMulticastInterface),
        }
        let loopback = self.bind.ip().is_loopback();
        let multicast_loopback =
            self.multicast.is_none_or(|multicast| multicast.interface.is_loopback());
        if self.group_key.is_none() && !self.papers.is_certified() {
            let is_held = !cfg!(spinglass_bug = "key_optional");
            if is_held && (!loopback || !multicast_loopback) {
                return Err(StartError::NoGroupKey(self.bind));
            }
            if !self.relay.is_here() {
                return Err(StartError::NoGroupKeyForRelay);
            }
            tracing::warn!(
                "DEVELOPMENT MODE: no group key was given, so a key that everybody knows keeps \
                 nothing secret and nobody out; run `spinglass keygen` for a real one"
            );
        }
        let is_short = loopback && !self.relay.is_some();
        let by_default = if is_short { DATAGRAM_BYTES_LOOPBACK } else { DATAGRAM_BYTES_PATH };
        self.config.link.datagram_bytes = self.datagram_bytes.unwrap_or(by_default);
        self.config.multicast.dissemination = dissemination;
        if self.multicast.is_some() && self.config.discovery.turn.is_zero() {
            self.config.discovery.turn = ANNOUNCE_TURN;
        }
        Ok(())
    }

    /// Reads certificates, anchors and rules, if there are any; settles region by them.
    fn load_papers(&mut self) -> Result<Option<Loaded>, SecurityError> {
        let loaded = self.papers.load(self.signing_key.is_some())?;
        let Some(loaded) = loaded else { return Ok(None) };
        if self.region.is_empty() {
            self.region = loaded.name.zone().as_str().into();
        }
        self.config.security = Some(Box::new(loaded.security.clone()));
        // The group's key is to be had by the certificate.
        self.config.link.keyless = self.group_key.is_none();
        Ok(Some(loaded))
    }

    fn load_keys(&mut self) -> Result<(GroupKeys, SigningKey), KeyError> {
        let group = match self.group_key.take() {
            Some(Source::Value(keys)) => keys,
            Some(Source::File(path)) => GroupKeys::load(&path)?,
            None if self.papers.is_certified() => GroupKeys::generate(),
            None => GroupKeys::development(),
        };
        let signing = match self.signing_key.take() {
            Some(Source::Value(key)) => key,
            Some(Source::File(path)) => SigningKey::load(&path)?,
            None => SigningKey::generate(),
        };
        Ok((group, signing))
    }

    /// Seeds that are addresses, and names that lead to others.
    fn split_seeds(&self) -> (Vec<SocketAddr>, Vec<HostPort>) {
        let (mut addresses, mut names) = (Vec::new(), Vec::new());
        for seed in &self.seeds {
            match seed {
                Seed::Address(address) => addresses.push(*address),
                Seed::Name(name) => names.push(name.clone()),
            }
        }
        (addresses, names)
    }

    /// The address that others are told: a socket bound to all of them is reached by the one of
    /// the interface for IP multicast, or else by the one that leads to the first seed.
    fn choose_address(&self, own: &BatchedSocket) -> Result<SocketAddr, StartError> {
        if let Some(address) = self.advertise {
            return Ok(address);
        }
        let io = |source| StartError::Socket { address: self.bind, source };
        let bound = own.local_addr().map_err(io)?;
        if !bound.ip().is_unspecified() {
            return Ok(bound);
        }
        if let Some(path) = self.multicast {
            return Ok((path.interface, bound.port()).into());
        }
        let (addresses, _) = self.split_seeds();
        let seed = addresses.first().ok_or(StartError::NothingToAdvertise(bound))?;
        let route = route_to(*seed).map_err(|_| StartError::NothingToAdvertise(bound))?;
        Ok(SocketAddr::new(route.ip(), bound.port()))
    }

    fn choose_incarnation(&self) -> Result<Incarnation, StartError> {
        let path = self.state.as_deref();
        let state = |source| StartError::State {
            path: path.unwrap_or_else(|| Path::new("")).into(),
            source,
        };
        incarnation::next(path).map_err(state)
    }

    fn crypto(
        &self,
        signing_key: SigningKey,
        group_keys: GroupKeys,
        verifier: Option<Verifier>,
    ) -> Result<(Box<dyn Crypto>, Option<Log>), StartError> {
        let mut crypto = RealCrypto::new(signing_key, group_keys);
        if let Some(verifier) = verifier {
            crypto = crypto.trusting(verifier);
        }
        let Some(path) = &self.record else { return Ok((Box::new(crypto), None)) };
        let log = Log::create(path)
            .map_err(|source| StartError::Record { path: path.clone(), source })?;
        Ok((Box::new(RecordingCrypto::new(crypto, log.clone())), Some(log)))
    }
}

/// Waits until the wall clock's next second: whoever starts after that, however soon, chooses a
/// later life than whoever chose before.
async fn next_second() {
    let into_second = Duration::from_nanos(clock::wall().subsec_nanos().into());
    tokio::time::sleep(Duration::from_secs(1).saturating_sub(into_second)).await;
}
