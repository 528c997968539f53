//! Settings, a section per sub-protocol, and the one place where they are checked.
//!
//! Every default says where it comes from. [`Config::check`] returns [`Checked`], which alone makes
//! a [`Node`](crate::Node), so no limit is looked at twice.

use alloc::boxed::Box;
use alloc::sync::Arc;
use core::fmt;
use core::time::Duration;

use crate::crypto::Epoch;
use crate::identity::Chain;
use crate::rules::Policy;

/// The smallest datagram that a member may be told to use: below it, a packet's proof and seal
/// leave too little room for content.
pub const DATAGRAM_BYTES_MIN: usize = 576;
/// The largest datagram: UDP's payload limit over IPv4.
pub const DATAGRAM_BYTES_MAX: usize = 65_507;
/// The largest message: 16 MiB.
pub const MESSAGE_BYTES_MAX: usize = 16 << 20;
/// The shortest time between rotations of the link key, in nanoseconds: an order takes a second or
/// two to reach everybody, and the key before is accepted for some more.
const ROTATE_EVERY_MIN_NS: u64 = 10_000_000_000;
/// The longest region path, in bytes.
pub const REGION_BYTES_MAX: usize = 64;

/// A node's settings.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Config {
    /// The sealed datagrams.
    pub link: LinkConfig,
    /// Who is there.
    pub members: MembersConfig,
    /// Streams, repair and buffers.
    pub multicast: MulticastConfig,
    /// The hierarchical table.
    pub table: TableConfig,
    /// The failure detector of the region.
    pub detector: DetectorConfig,
    /// Announcements on the local network.
    pub discovery: DiscoveryConfig,
    /// What is too large for a row.
    pub objects: ObjectsConfig,
    /// Certified mode: only members with certificates are heard. Default: none.
    pub security: Option<Box<Security>>,
}

/// Settings of a member in certified mode. Whom it trusts is known to its
/// [`Crypto`](crate::crypto::Crypto) alone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Security {
    /// This member's own certificates.
    pub chain: Chain,
    /// What members may do. None: everything, if they are certified.
    pub policy: Option<Policy>,
}

/// Settings of the link.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LinkConfig {
    /// The whole UDP payload of the largest datagram this member makes, proof and tag included.
    ///
    /// Every member must be able to receive it, since packets are repaired as they were made.
    /// Default: 1,200, which every path carries. Loopback takes up to 65,507.
    pub datagram_bytes: usize,
    /// The epoch that this member first seals under. Default: 0.
    pub epoch: Epoch,
    /// In certified mode, a member that the rules let rotate gives the group a new key when nobody
    /// has for so long. Default: zero, never. At least 10 s: a group moves one step at a time.
    pub rotate_every: Duration,
    /// In certified mode: the first epoch's key was drawn by this member itself, so it asks for the
    /// group's at once. Default: no; it asks when it hears nothing that it can open.
    pub keyless: bool,
}

/// Settings of the membership.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MembersConfig {
    /// The most records of members met that are kept, some 500 bytes each. When full, the member
    /// heard of least recently is forgotten, and introduced again when it matters.
    /// Default: 8,192, twice as many as streams are followed.
    pub records_max: usize,
}

/// Observers of an agent at most: a verdict, with the word of each, fits a datagram.
pub const OBSERVERS_MAX: u32 = 10;

/// Settings of the failure detector.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DetectorConfig {
    /// How long an answer to a probe may take, and half of what passes between two regular probes.
    /// Default: 500 ms, as in SWIM's and Lifeguard's measurements; zero: no detector.
    pub probe_timeout: Duration,
    /// Observers of each agent. Default: 10, of which 7 must agree (Rapid, section 4.1).
    pub observers: u32,
    /// How long an agent must be well before it comes back, when it was removed while its own
    /// probes went unanswered, beyond the time for which they were: in regular probes. Default: 10.
    pub return_rounds: u32,
}

/// Settings of the announcements by which agents on one network find each other.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct DiscoveryConfig {
    /// How long a turn at announcing oneself is. In a system of any size somebody speaks every ten
    /// turns or so, and everybody hears it. Default: zero, no announcements; a host that has IP
    /// multicast takes 1 s, as in van Renesse et al., Middleware 1998.
    pub turn: Duration,
}

/// Settings of the hierarchical table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TableConfig {
    /// The table's gossip round. Default: 1 s, as Astrolabe's measurements had at the lowest level.
    pub round: Duration,
    /// Rounds after which representatives issue their zone's row anew though nothing in it changed,
    /// and an agent its own; six times as many for the latter where a failure detector tells who
    /// is alive. Default: 10.
    pub refresh_rounds: u32,
    /// Rounds of silence after which a row is dropped; six times as many for an agent's where there
    /// is a failure detector. Default: 40: four refreshes.
    pub silent_rounds: u32,
    /// Rounds for which the version of a row that is gone is remembered, so that no partition that
    /// heals within them brings it back. Default: 3,600, an hour.
    pub gone_rounds: u32,
    /// Rows and inventories sent per round, in bytes. Default: 16 KiB, some 50 rows.
    pub bytes_per_round: usize,
    /// Rows held per zone at most; further agents or zones are not taken in. Default: 1,024; zones
    /// of about 64 cost least.
    pub rows_max: usize,
}

/// Settings of objects: what is too large for a row, and is fetched in bulk.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ObjectsConfig {
    /// The round of fetching and serving, at whole multiples on the host's clock. Default: 100 ms,
    /// as the multicast's.
    pub round: Duration,
    /// Bytes that are asked for per round, by all fetches together; half of them of one source.
    /// Default: 64 KiB, a quarter of what the multicast may ask for; a guess.
    pub fetch_bytes_per_round: usize,
    /// Bytes that are served per round, half of them to one receiver. Default: 64 KiB, a quarter
    /// of what the multicast may repair; a guess.
    pub serve_bytes_per_round: usize,
    /// Bytes of objects held, hashes included. When full, fetched objects are dropped, the oldest
    /// first; those that the own row or a function in force names never are. Default: 64 MiB, four
    /// objects of the largest size less their hashes; a guess.
    pub store_bytes_max: usize,
}

/// How new packets are spread before repair begins.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Dissemination {
    /// Per-sender trees over unicast, computed from the membership.
    #[default]
    Trees,
    /// IP multicast to the whole group.
    Multicast,
    /// Both: IP multicast, and trees for those whom it does not reach.
    Both,
    /// Not at all: what gossip brings is all there is. For experiments.
    #[doc(hidden)]
    Gossip,
}

/// Where a new subscriber starts in a stream that has begun already.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Start {
    /// At what is sent from now on.
    #[default]
    Live,
    /// At the oldest message that this member or its gossip partners still buffer.
    Buffered,
}

/// What of the messages that a member sends on a topic is kept for whoever subscribes later.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Keep {
    /// The last ones, so many.
    Last(usize),
    /// The latest value of each key, and what was sent since the oldest of them. A message's key is
    /// what stands before the first such byte; all of it, if there is none.
    Latest(u8),
}

/// The wished-for probability that a given member misses a given message: `10^-nines`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Reliability {
    /// How many nines, 1 to 15.
    pub nines: u8,
}

/// Settings of Bimodal Multicast.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MulticastConfig {
    /// The gossip round. Default: 100 ms, Ensemble's PBCAST (`sweep`).
    pub round: Duration,
    /// Whether rounds begin at whole multiples of `round` on the host's clock, as in the papers'
    /// synchronous analysis. Default: no; each member's rounds have a phase of their own.
    pub rounds_aligned: bool,
    /// Digests sent per round. Default: 1, Ensemble's PBCAST (`fanout`).
    pub digest_fanout: u8,
    /// The reliability that rounds and buffer time are computed from. Default: nine nines.
    pub reliability: Reliability,
    /// The fewest rounds before a missing packet is given up. Default: 20, PBCAST's `stale`.
    pub give_up_rounds_min: u16,
    /// The most rounds before a missing packet is given up, whatever the loss. Default: 100.
    pub give_up_rounds_max: u16,
    /// Rounds without a request after which a packet that is held by everybody, as far as one can
    /// tell, is left to its long-term bufferers. Default: 5. Origin: a guess between one round trip
    /// (RRMP) and 20 rounds (ZBCAST's `idle`).
    pub idle_rounds: u16,
    /// How many members keep a packet for the long term. Default: 6, so that 0.25 % of packets
    /// would have none if each member drew alone [Ozkasap et al. 1999]; 0 keeps every packet
    /// everywhere. Each region has its own: so many in a group of one region, half a member fewer
    /// for every doubling of the group, never fewer than two.
    pub long_term_bufferers: u16,
    /// The most bytes of packets buffered; when full, the oldest is released. Default: 32 MiB.
    pub buffer_bytes_max: usize,
    /// The most bytes of repairs that this member sends per round. Default: 256 KiB, which carries
    /// 20 % loss of 1,000 messages/s of 1 KB ten times over.
    pub repair_bytes_per_round: usize,
    /// The most bytes of packets that this member asks for per round. Default: 256 KiB.
    pub solicit_bytes_per_round: usize,
    /// Whether a gap is solicited as soon as it is seen, not only when a digest shows it. Default:
    /// yes. The analysis' model of the paper has it off.
    pub solicit_on_arrival: bool,
    /// Whether old packets that a digest lacks are pushed to its sender. Default: yes.
    pub push_old: bool,
    /// Whether what a digest offers is asked for. Default: yes. Off only in experiments that show
    /// what that is good for.
    #[doc(hidden)]
    pub pull_offered: bool,
    /// How long a gap may be mere reordering before it is solicited, at first; it adapts.
    /// Default: 2 ms (LAN).
    pub gap_wait: Duration,
    /// The shortest time between two solicitations of one packet. Default: 10 ms (LAN).
    pub solicit_retry: Duration,
    /// How long a stream must be quiet before its newest packets are announced to a random member,
    /// so that a lost last packet is found before the next round. Default: 10 ms; zero: never.
    pub tail_wait: Duration,
    /// How new packets are spread. Default: trees.
    pub dissemination: Dissemination,
    /// Children per member in the trees. Default: 8: two levels for 64 members.
    pub tree_arity: u8,
    /// Whether a second representative of every zone, its spare head, gets packets by a tree of its
    /// own and hands them to those who begin its region's tree, so that one lost packet or sleeping
    /// member keeps no region waiting; where there are no regions it changes nothing. It costs
    /// about one more copy per eight members. Default: no (LAN), yes (WAN), where a repair takes
    /// a round trip of tens of milliseconds.
    pub tree_spares: bool,
    /// Bytes per second that this member publishes at most, packets' overhead included.
    /// Default: 64 MiB/s.
    pub send_rate: u64,
    /// Bytes that it may publish at once after a quiet time. Default: 1 MiB.
    pub send_burst_bytes: usize,
    /// Bytes of messages that may wait to be sent; beyond, publishing is refused.
    /// Default: 20 MiB, room for one message of the largest size and more.
    pub send_queue_bytes: usize,
    /// Bytes per second that this member is to be sent at most, all told. What others publish
    /// beyond that is thinned evenly, and told as gaps. Zero: whatever there is, the default.
    pub receive_rate_max: u64,
    /// The most streams that are followed at once; packets of further ones are refused.
    /// Default: 4,096.
    pub streams_max: usize,
}

impl Default for LinkConfig {
    fn default() -> Self {
        Self { datagram_bytes: 1200, epoch: Epoch(0), rotate_every: Duration::ZERO, keyless: false }
    }
}

impl Default for MembersConfig {
    fn default() -> Self {
        Self { records_max: 8192 }
    }
}

impl Default for DetectorConfig {
    fn default() -> Self {
        Self { probe_timeout: Duration::from_millis(500), observers: 10, return_rounds: 10 }
    }
}

impl DetectorConfig {
    /// No detector: agents are dropped only when their rows fall silent.
    #[must_use]
    pub fn off() -> Self {
        Self { probe_timeout: Duration::ZERO, ..Self::default() }
    }
}

impl Default for ObjectsConfig {
    fn default() -> Self {
        Self {
            round: Duration::from_millis(100),
            fetch_bytes_per_round: 64 << 10,
            serve_bytes_per_round: 64 << 10,
            store_bytes_max: 64 << 20,
        }
    }
}

impl ObjectsConfig {
    /// Each setting, and the range that it must lie in.
    fn rules(&self) -> [(&'static str, u64, u64, u64); 4] {
        let round = u64::try_from(self.round.as_nanos()).unwrap_or(u64::MAX);
        let (fetch, serve) = (self.fetch_bytes_per_round, self.serve_bytes_per_round);
        // Half of a budget pays for two datagrams, so that a piece always has its turn.
        [
            ("objects.round", round, 1_000_000, 3_600_000_000_000),
            ("objects.fetch_bytes_per_round", fetch as u64, 1 << 12, 1 << 30),
            ("objects.serve_bytes_per_round", serve as u64, 1 << 12, 1 << 30),
            ("objects.store_bytes_max", self.store_bytes_max as u64, 1 << 13, 1 << 36),
        ]
    }
}

impl Default for TableConfig {
    fn default() -> Self {
        Self {
            round: Duration::from_secs(1),
            refresh_rounds: 10,
            silent_rounds: 40,
            gone_rounds: 3600,
            bytes_per_round: 16 << 10,
            rows_max: 1024,
        }
    }
}

impl Default for MulticastConfig {
    fn default() -> Self {
        Self::lan()
    }
}

impl MulticastConfig {
    /// Settings for members a millisecond apart.
    #[must_use]
    pub const fn lan() -> Self {
        Self {
            round: Duration::from_millis(100),
            rounds_aligned: false,
            digest_fanout: 1,
            reliability: Reliability { nines: 9 },
            give_up_rounds_min: 20,
            give_up_rounds_max: 100,
            idle_rounds: 5,
            long_term_bufferers: 6,
            buffer_bytes_max: 32 << 20,
            repair_bytes_per_round: 256 << 10,
            solicit_bytes_per_round: 256 << 10,
            solicit_on_arrival: true,
            push_old: true,
            pull_offered: true,
            gap_wait: Duration::from_millis(2),
            solicit_retry: Duration::from_millis(10),
            tail_wait: Duration::from_millis(10),
            dissemination: Dissemination::Trees,
            tree_arity: 8,
            tree_spares: false,
            send_rate: 64 << 20,
            send_burst_bytes: 1 << 20,
            send_queue_bytes: 20 << 20,
            receive_rate_max: 0,
            streams_max: 4096,
        }
    }

    /// Settings for members tens of milliseconds apart.
    #[must_use]
    pub const fn wan() -> Self {
        Self {
            // About one trip between members: before that a gap, or a claim, is most often a packet
            // on its way.
            gap_wait: Duration::from_millis(45),
            solicit_retry: Duration::from_millis(45),
            tail_wait: Duration::from_millis(8),
            tree_spares: true,
            ..Self::lan()
        }
    }

    pub(crate) const fn tree_shape(&self) -> TreeShape {
        TreeShape { arity: self.tree_arity as usize, has_spares: self.tree_spares }
    }
}

/// The shape of senders' trees.
#[derive(Debug, Clone, Copy)]
pub(crate) struct TreeShape {
    /// Children per member.
    pub(crate) arity: usize,
    /// Whether a second head of each zone hands packets on.
    pub(crate) has_spares: bool,
}

/// Settings that have been checked; the only kind that makes a node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Checked(Arc<Config>);

impl Config {
    /// Settings for members a millisecond apart.
    #[must_use]
    pub fn lan() -> Self {
        Self::default()
    }

    /// Settings for members tens of milliseconds apart.
    #[must_use]
    pub fn wan() -> Self {
        Self { multicast: MulticastConfig::wan(), ..Self::default() }
    }

    /// Checks every bound.
    ///
    /// # Errors
    /// The first setting that makes no sense, and the range it must lie in.
    pub fn check(self) -> Result<Checked, ConfigError> {
        let multicast = &self.multicast;
        let nanos = |duration: Duration| u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX);
        let ms = 1_000_000;
        let (table, detector) = (&self.table, &self.detector);
        // Never is as good as any time.
        let rotate_every = match nanos(self.link.rotate_every) {
            0 => u64::MAX,
            nanos => nanos,
        };
        let rules: [(&'static str, u64, u64, u64); 26] = [
            (
                "link.datagram_bytes",
                self.link.datagram_bytes as u64,
                DATAGRAM_BYTES_MIN as u64,
                DATAGRAM_BYTES_MAX as u64,
            ),
            ("link.rotate_every", rotate_every, ROTATE_EVERY_MIN_NS, u64::MAX),
            ("members.records_max", self.members.records_max as u64, 16, 1 << 20),
            ("multicast.round", nanos(multicast.round), ms, 3_600_000 * ms),
            ("multicast.digest_fanout", multicast.digest_fanout.into(), 1, 16),
            ("multicast.reliability", multicast.reliability.nines.into(), 1, 15),
            (
                "multicast.give_up_rounds_min",
                multicast.give_up_rounds_min.into(),
                2,
                multicast.give_up_rounds_max.into(),
            ),
            ("multicast.give_up_rounds_max", multicast.give_up_rounds_max.into(), 2, 10_000),
            ("multicast.idle_rounds", multicast.idle_rounds.into(), 2, 10_000),
            ("multicast.buffer_bytes_max", multicast.buffer_bytes_max as u64, 1 << 16, 1 << 36),
            (
                "multicast.repair_bytes_per_round",
                multicast.repair_bytes_per_round as u64,
                self.link.datagram_bytes as u64,
                1 << 30,
            ),
            ("multicast.tree_arity", multicast.tree_arity.into(), 1, 64),
            ("multicast.send_rate", multicast.send_rate, 1, 1 << 40),
            ("multicast.send_queue_bytes", multicast.send_queue_bytes as u64, 1 << 10, 1 << 32),
            ("multicast.receive_rate_max", multicast.receive_rate_max, 0, 1 << 40),
            ("multicast.streams_max", multicast.streams_max as u64, 1, 1 << 20),
            ("table.round", nanos(table.round), ms, 3_600_000 * ms),
            ("table.refresh_rounds", table.refresh_rounds.into(), 1, 10_000),
            (
                "table.silent_rounds",
                table.silent_rounds.into(),
                u64::from(table.refresh_rounds) * 2,
                1_000_000,
            ),
            (
                "table.gone_rounds",
                table.gone_rounds.into(),
                table.silent_rounds.into(),
                u32::MAX.into(),
            ),
            ("table.bytes_per_round", table.bytes_per_round as u64, 1 << 11, 1 << 30),
            ("table.rows_max", table.rows_max as u64, 2, 1 << 20),
            ("detector.probe_timeout", nanos(detector.probe_timeout), 0, 3_600_000 * ms),
            ("detector.observers", detector.observers.into(), 2, OBSERVERS_MAX.into()),
            ("detector.return_rounds", detector.return_rounds.into(), 0, 1_000_000),
            ("discovery.turn", nanos(self.discovery.turn), 0, 3_600_000 * ms),
        ];
        let mut rules = rules.into_iter().chain(self.objects.rules());
        match rules.find(|(_, value, low, high)| value < low || value > high) {
            Some((setting, value, low, high)) => Err(ConfigError { setting, value, low, high }),
            None => Ok(Checked(Arc::new(self))),
        }
    }
}

impl Checked {
    /// The settings.
    #[must_use]
    pub fn get(&self) -> &Config {
        &self.0
    }
}

/// A setting out of its range. Durations are in nanoseconds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConfigError {
    /// Its path, such as `multicast.round`.
    pub setting: &'static str,
    /// What it was set to.
    pub value: u64,
    /// The least it may be.
    pub low: u64,
    /// The most it may be.
    pub high: u64,
}

impl fmt::Display for ConfigError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { setting, value, low, high } = self;
        write!(formatter, "{setting} is {value}; it must lie between {low} and {high}")
    }
}

impl core::error::Error for ConfigError {}
