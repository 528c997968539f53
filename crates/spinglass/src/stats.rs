//! Counters of a node: the protocol's, and those of the sockets and queues around it.

use std::io;

use rustix::io::Errno;
use spinglass_relay::TunnelStats;

/// Everything that a node counted since its start.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Stats {
    /// What the protocol did and refused.
    pub protocol: spinglass_core::Stats,
    /// What became of it at the sockets and queues.
    pub runtime: RuntimeStats,
    /// What became of it on the way through a relay.
    pub relay: TunnelStats,
}

/// Counters of the event loop, its sockets and its subscribers' queues. They only grow.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct RuntimeStats {
    /// Turns of the event loop.
    pub turns: u64,
    /// Calls that sent datagrams, each up to 64 segments to one destination.
    pub sends: u64,
    /// Sends that had to wait because the socket's buffer was full.
    pub sends_blocked: u64,
    /// Calls that received datagrams.
    pub receives: u64,
    /// Datagrams that came by this member's own sockets, and not through a relay.
    pub datagrams_direct: u64,
    /// Datagrams that came to the ports where this member wants answers, if it has any.
    pub reply_datagrams: u64,
    /// Datagrams dropped on purpose, as a test asked for.
    pub dropped_on_purpose: u64,
    /// Messages that slow subscribers missed.
    pub messages_lagged: u64,
    /// Sightings of messages for which nobody had room.
    pub sightings_missed: u64,
    /// Sends to an address where nobody listens.
    pub errors_refused: u64,
    /// Sends that a firewall or the system's rules forbade.
    pub errors_denied: u64,
    /// Sends for which the system had no memory.
    pub errors_no_buffers: u64,
    /// Sends of datagrams larger than the path carries: set `datagram_bytes` lower.
    pub errors_too_large: u64,
    /// Sends to a host or network that no route leads to, or to no address at all.
    pub errors_unreachable: u64,
    /// Any other socket error.
    pub errors_other: u64,
}

/// What kind of trouble a socket reported. None of it is fatal: gossip repairs what did not arrive.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum SocketError {
    Refused,
    Denied,
    NoBuffers,
    TooLarge,
    Unreachable,
    Unclassified,
}

impl SocketError {
    /// The one place where socket errors are told apart.
    pub(crate) fn classify(error: &io::Error) -> Self {
        match Errno::from_io_error(error) {
            Some(Errno::CONNREFUSED) => Self::Refused,
            Some(Errno::PERM | Errno::ACCESS) => Self::Denied,
            Some(Errno::NOBUFS | Errno::NOMEM) => Self::NoBuffers,
            Some(Errno::MSGSIZE) => Self::TooLarge,
            Some(
                Errno::HOSTUNREACH
                | Errno::NETUNREACH
                | Errno::HOSTDOWN
                | Errno::NETDOWN
                | Errno::ADDRNOTAVAIL
                | Errno::AFNOSUPPORT
                | Errno::INVAL,
            ) => Self::Unreachable,
            _ => Self::Unclassified,
        }
    }
}

impl RuntimeStats {
    /// Counts a socket error, and logs the first of its kind.
    pub(crate) fn count(&mut self, kind: SocketError, error: &dyn std::fmt::Display) {
        let counter = match kind {
            SocketError::Refused => &mut self.errors_refused,
            SocketError::Denied => &mut self.errors_denied,
            SocketError::NoBuffers => &mut self.errors_no_buffers,
            SocketError::TooLarge => &mut self.errors_too_large,
            SocketError::Unreachable => &mut self.errors_unreachable,
            SocketError::Unclassified => &mut self.errors_other,
        };
        *counter += 1;
        if *counter == 1 {
            tracing::warn!(?kind, %error, "a socket refused; gossip repairs what is lost by it");
        }
    }
}

#[cfg(test)]
mod tests {
    use std::net::UdpSocket;

    use super::*;

    #[test]
    fn errors_are_told_apart() {
        let cases = [
            (Errno::CONNREFUSED, SocketError::Refused),
            (Errno::PERM, SocketError::Denied),
            (Errno::ACCESS, SocketError::Denied),
            (Errno::NOBUFS, SocketError::NoBuffers),
            (Errno::MSGSIZE, SocketError::TooLarge),
            (Errno::HOSTUNREACH, SocketError::Unreachable),
            (Errno::NETUNREACH, SocketError::Unreachable),
            (Errno::IO, SocketError::Unclassified),
        ];
        for (errno, kind) in cases {
            assert_eq!(SocketError::classify(&errno.into()), kind, "{errno}");
        }
    }

    #[test]
    fn a_real_socket_refuses_what_is_too_large() {
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        let to = socket.local_addr().unwrap();
        let error = socket.send_to(&[0; 65_508], to).unwrap_err();
        assert_eq!(SocketError::classify(&error), SocketError::TooLarge);
        let mut stats = RuntimeStats::default();
        stats.count(SocketError::classify(&error), &error);
        assert_eq!(stats.errors_too_large, 1);
    }
}
