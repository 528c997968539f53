//! Ports of a member's own, beside the one that all know: what it asks for comes there, while
//! somebody floods the other (Drum, DSN 2004; see `set_reply_port` of the core's node).
//!
//! The system draws the port; a new one takes its place after [`REPLY_PORT_LIFE`], and is read
//! beside the one before for as long. Whether anybody floods this member shows in how many
//! datagrams it refuses before they are opened.

use std::net::{IpAddr, SocketAddr};
use std::num::NonZeroU16;
use std::time::Duration;

use spinglass_core::{Instant, Node as CoreNode, REPLY_PORT_LIFE, Reject};

use crate::socket::BatchedSocket;

/// When a member wants answers at a port of their own.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum ReplyPorts {
    /// Never.
    Never,
    /// While somebody floods it: from the moment that it refuses 1,000 datagrams in a second that
    /// no member can have sent, until it has not for half a minute.
    #[default]
    WhenFlooded,
    /// Always.
    Always,
}

/// Datagrams refused per second that are a flood: far more than strays, damage and members of other
/// groups amount to, and a hundredth of what a member can refuse.
const FLOOD_PER_SECOND: f64 = 1000.0;
/// How often they are counted.
const LOOK_EVERY: Duration = Duration::from_millis(500);
/// How long a flood is remembered that has ceased.
const CALM_AFTER: Duration = Duration::from_secs(30);
/// What a datagram is refused for that somebody made up: before its tag was checked, or by that.
const MADE_UP: [Reject; 6] = [
    Reject::Length,
    Reject::Version,
    Reject::Epoch,
    Reject::UnknownBoot,
    Reject::Replayed,
    Reject::Unsealed,
];

/// The sockets that answers come to.
#[derive(Debug)]
pub(crate) struct Replies {
    mode: ReplyPorts,
    host: IpAddr,
    /// The one that is told, and the one before.
    pub(crate) sockets: [Option<BatchedSocket>; 2],
    /// When the next one takes their place.
    renewed_at: Option<Instant>,
    /// Datagrams that came to either since then.
    pub(crate) heard: u64,
    looked: Option<(Instant, u64)>,
    flooded_at: Option<Instant>,
}

impl Replies {
    /// For a member that receives at an address of `host`.
    pub(crate) const fn new(mode: ReplyPorts, host: IpAddr) -> Self {
        let sockets = [const { None }; 2];
        Self { mode, host, sockets, renewed_at: None, heard: 0, looked: None, flooded_at: None }
    }

    /// Has a look at what goes on; the port to tell from now on, if that changes.
    pub(crate) fn on_turn(&mut self, node: &CoreNode, now: Instant) -> Option<Option<NonZeroU16>> {
        if self.mode == ReplyPorts::Never {
            return None;
        }
        if self.mode == ReplyPorts::WhenFlooded {
            self.look(node, now);
        }
        let is_old = self.renewed_at.is_none_or(|at| now.since(at) >= REPLY_PORT_LIFE);
        let wanted = self.mode == ReplyPorts::Always || self.flooded_at.is_some();
        let is_closed = self.sockets.iter().all(Option::is_none);
        if !is_old || !wanted && is_closed {
            return None;
        }
        let was_deaf = self.sockets.first().is_some_and(Option::is_some) && self.heard == 0;
        // Nothing came in all its life: something lies before it, such as a firewall. The known
        // port has its turn, then another one.
        let next = if wanted && !was_deaf { self.open() } else { None };
        let port = next.as_ref().and_then(|socket| socket.local_addr().ok());
        let [told, before] = &mut self.sockets;
        *before = std::mem::replace(told, next);
        (self.renewed_at, self.heard) = (Some(now), 0);
        Some(port.and_then(|address| NonZeroU16::new(address.port())))
    }

    fn open(&self) -> Option<BatchedSocket> {
        let address = SocketAddr::new(self.host, 0);
        BatchedSocket::bind(address, None)
            .inspect_err(|error| tracing::warn!(%error, "no port to be had for answers"))
            .ok()
    }

    /// Whether there is a flood.
    fn look(&mut self, node: &CoreNode, now: Instant) {
        if self.looked.is_some_and(|(at, _)| now.since(at) < LOOK_EVERY) {
            return;
        }
        let stats = node.stats();
        let refused = MADE_UP.iter().map(|reject| stats.rejected(*reject)).sum();
        let before = self.looked.replace((now, refused));
        let Some((at, before)) = before else { return };
        let per_second = (refused - before) as f64 / now.since(at).as_secs_f64();
        if per_second >= FLOOD_PER_SECOND {
            if self.flooded_at.replace(now).is_none() {
                tracing::warn!(
                    per_second,
                    "this member is flooded with datagrams that no member sent; what it asks for \
                     comes to another port meanwhile"
                );
            }
        } else if self.flooded_at.is_some_and(|at| now.since(at) >= CALM_AFTER) {
            self.flooded_at = None;
            tracing::info!("the flood has ceased");
        }
    }
}
