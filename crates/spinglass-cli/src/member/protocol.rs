//! What a conductor (`demo`, `bench`, `lab --real`) and a member's process say to one another:
//! JSON, one object a line, orders on the member's standard input, reports on its standard output.
//!
//! ```text
//!  conductor ── Setup ─────────────▶ member       how to make the node
//!            ◀─ Bound ──────────────              where it receives
//!            ── Await ─────────────▶
//!            ◀─ Ready ──────────────              so many members are known
//!            ── Step ──────────────▶              everybody: count afresh from here
//!            ── Emit / Stream / Line ▶            the sender alone
//!            ◀─ Published ──────────
//!            ◀─ Progress ...                      every while, if asked for
//!            ── Load / Install ────▶              the table's part: see the demo
//!            ◀─ Changed / Root ...
//!            ── Watch ─────────────▶              until the root says so
//!            ◀─ Reached ────────────
//!            ── Tell ──────────────▶
//!            ◀─ Tally ──────────────              everything counted in this step
//! ```
//!
//! A closed standard input ends the member. docs/opponents.md says what of it other systems'
//! members need.

use std::net::SocketAddr;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

/// How a member's node is made. The first line on its standard input.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub(crate) struct Setup {
    /// Members to join by; none for the first one.
    pub(crate) seeds: Vec<SocketAddr>,
    /// The group's key, which never stands on a command line.
    pub(crate) group_key: [u8; 32],
    /// The largest datagram, or the path's largest.
    pub(crate) datagram_bytes: Option<usize>,
    /// The group's IP multicast address, if packets go by it.
    pub(crate) multicast: Option<SocketAddr>,
    /// The share of datagrams' packets to drop on arrival, 0 to 1.
    pub(crate) drop_probability: f64,
    /// Nines of reliability, or the default.
    pub(crate) nines: Option<u8>,
    /// No node at all: count what arrives on a socket, or flood.
    pub(crate) raw: bool,
    /// Report progress so often, in milliseconds; 0: never.
    pub(crate) progress_ms: u64,
    /// Record the node's inputs to this file.
    pub(crate) record: Option<PathBuf>,
    /// Regions of the table, which members take by turns; none: all are in the root's.
    pub(crate) regions: Vec<String>,
    /// Which turn this member has.
    pub(crate) index: usize,
    /// The table's round, in milliseconds; 0: the default.
    pub(crate) table_round_ms: u64,
    /// Where to receive; none: on loopback, at any port.
    pub(crate) bind: Option<SocketAddr>,
    /// The file that remembers the member's life, and whom it knew.
    pub(crate) state: Option<PathBuf>,
    /// Have answers come where everything else does, also under a flood.
    pub(crate) fixed_port: bool,
    /// The folder with each member's certificate, by its turn.
    pub(crate) papers: Option<PathBuf>,
    /// No key of the group: whoever has a certificate is given one.
    pub(crate) keyless: bool,
    /// Turn hostile with the first step.
    pub(crate) hostile: bool,
    /// Shares of the messages that members take, by turns; none: all take all.
    #[serde(default)]
    pub(crate) ratings: Vec<f64>,
    /// Take many topics, and send some of them, and not the one that all measure.
    #[serde(default)]
    pub(crate) topics: Option<Topics>,
}

/// Many topics: each one's sender is the member whose turn it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Topics {
    /// How many.
    pub(crate) count: usize,
    /// How many of them each member takes.
    pub(crate) each: usize,
    /// How many members there are.
    pub(crate) members: usize,
}

/// A run of messages that is counted by itself.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Step {
    /// Its number; messages of other steps are not counted.
    pub(crate) number: u32,
    /// When its first bin begins, on the machine's monotonic clock.
    pub(crate) begin_ns: u64,
    /// The width of its bins.
    pub(crate) bin_ns: u64,
}

/// What a conductor tells a member.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) enum Order {
    /// Report once so many members are known.
    Await {
        /// How many, the member itself included.
        members: usize,
        /// Where they receive, for those that don't find one another.
        #[serde(default)]
        peers: Vec<SocketAddr>,
    },
    /// Count afresh.
    Step(Step),
    /// Publish numbered messages.
    Emit {
        /// How many.
        count: u64,
        /// Bytes of each, header included.
        bytes: usize,
        /// Messages per second; 0 publishes as fast as the node takes them.
        rate: f64,
        /// Hand them over in batches, so many microseconds apart; 0: one by one.
        tick_us: u64,
    },
    /// Publish a file in pieces, then its length and hash.
    Stream {
        /// Which.
        file: PathBuf,
        /// Bytes of each piece.
        piece_bytes: usize,
        /// Pieces per second.
        rate: f64,
    },
    /// Publish one line of text.
    Line {
        /// It.
        text: String,
    },
    /// Without a protocol alone: send as fast as possible.
    Flood {
        /// To each of these.
        to: Vec<SocketAddr>,
        /// Bytes per datagram.
        segment_bytes: usize,
        /// For how long.
        seconds: f64,
    },
    /// Send a [`Tally`].
    Tell,
    /// Set the load in the own row of the table.
    Load {
        /// To this.
        load: f64,
    },
    /// Install a summary at the table's root.
    Install {
        /// Its name.
        name: String,
        /// Its text.
        sql: String,
    },
    /// Drop this share of the packets that arrive, from now on.
    Drop {
        /// From 0 to 1.
        share: f64,
    },
    /// Report the table's root whenever it changes.
    WatchRoot,
    /// Report once the root's summary says so.
    Watch(Watch),
}

/// What a root's summary is to say.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Watch {
    /// The attribute.
    pub(crate) name: String,
    /// Its value.
    pub(crate) number: f64,
}

/// What a member reports.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) enum Report {
    /// The node is up.
    Bound {
        /// Where it receives.
        address: SocketAddr,
        /// The largest datagram it makes, in bytes.
        datagram_bytes: usize,
    },
    /// As many members as were asked for are known.
    Ready,
    /// Everything that was ordered has been accepted by the node.
    Published {
        /// Messages.
        count: u64,
        /// How long that took.
        seconds: f64,
    },
    /// Where the member stands.
    Progress(Progress),
    /// Everything counted in this step.
    Tally(Box<Tally>),
    /// A load was set, at this time.
    Changed {
        /// On the machine's monotonic clock.
        at_ns: u64,
    },
    /// The table's root changed.
    Root(Root),
    /// The root's summary says what was asked for.
    Reached {
        /// Since when, on the machine's monotonic clock.
        at_ns: u64,
    },
    /// Something failed; the member ends.
    Trouble(String),
}

/// The table's root, as a member sees it.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub(crate) struct Root {
    /// When, on the machine's monotonic clock.
    pub(crate) at_ns: u64,
    /// A row per child zone.
    pub(crate) zones: Vec<RootZone>,
}

/// A zone in the root's table.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct RootZone {
    /// Its name.
    pub(crate) name: String,
    /// Agents in it.
    pub(crate) members: i64,
    /// What the demo's summary says of their loads, once it is installed.
    pub(crate) load: Option<f64>,
}

/// A few figures for a display.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub(crate) struct Progress {
    /// Messages received in this step.
    pub(crate) messages: u64,
    /// Gaps told in this step.
    pub(crate) gaps: u64,
    /// Repairs sent since the start.
    pub(crate) repairs_sent: u64,
    /// Repairs received since the start.
    pub(crate) repairs_received: u64,
}

/// Everything that a receiver counted in a step; what an opponent does not count is zero.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct Tally {
    /// The step.
    pub(crate) step: u32,
    /// Messages received.
    pub(crate) messages: u64,
    /// Bytes of these.
    pub(crate) bytes: u64,
    /// Live lines received.
    pub(crate) lines: u64,
    /// The number that the next message in order would have.
    pub(crate) next: u64,
    /// Messages missing below `next`.
    pub(crate) missing: u64,
    /// Those of them that no gap announced.
    pub(crate) missing_untold: u64,
    /// Messages that came twice or out of order.
    pub(crate) disordered: u64,
    /// Gaps told.
    pub(crate) gaps: u64,
    /// Packets in these.
    pub(crate) packets_lost: u64,
    /// Whether a gap was told after the last message.
    pub(crate) gap_at_end: bool,
    /// How many messages the sender said there are, once it has.
    pub(crate) announced: Option<u64>,
    /// Whether the content's hash is the one that the sender told.
    pub(crate) hash_matches: Option<bool>,
    /// Of many topics: by how much the share that came of one is off, the one farthest off.
    pub(crate) worst_off: f64,
    /// When the first message came.
    pub(crate) first_ns: u64,
    /// When the last one came.
    pub(crate) last_ns: u64,
    /// Messages per bin.
    pub(crate) bins: Vec<u32>,
    /// Ages of messages on arrival, as a histogram's buckets.
    pub(crate) ages: Vec<(u32, u64)>,
    /// The node's counters since its start.
    pub(crate) stats: Counters,
}

/// The node's counters that reports use.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Counters {
    /// Bytes handed to the network, once per destination.
    pub(crate) bytes_sent: u64,
    /// Datagrams, likewise.
    pub(crate) datagrams_sent: u64,
    /// Packets sent as repairs.
    pub(crate) repairs_sent: u64,
    /// Repairs received that filled a hole.
    pub(crate) repairs_received: u64,
    /// Packets received for nothing.
    pub(crate) surplus: u64,
    /// Signatures checked.
    pub(crate) signatures_checked: u64,
    /// Datagrams refused.
    pub(crate) refused: u64,
    /// Datagrams that came to the ports where the member wants answers.
    pub(crate) reply_datagrams: u64,
    /// Members that it has taken for dead.
    pub(crate) removed: u64,
    /// The loss that the member measured, in parts per million.
    pub(crate) loss_ppm: u32,
    /// Packets that came of topics of which neither it nor whoever it hands them on to takes any.
    #[serde(default)]
    pub(crate) untaken: u64,
}
