//! What a relay gives to one member, and to all: every bound has its name here.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

/// Members that a relay serves at once by default: each has a UDP socket, a TLS connection and some
/// 100 KiB of buffers.
const MEMBERS_MAX: usize = 1024;
/// Bytes of datagrams per second, each way and for one member, by default: 128 Mbit/s.
const BYTES_PER_SECOND: u64 = 16 << 20;
/// Connections at once that have not proven who they are.
const STRANGERS_MAX: usize = 128;
/// How many of them may come from one host: several members behind one NAT that start together.
const STRANGERS_PER_HOST_MAX: usize = 16;
/// Until a stranger has proven who it is, TLS and all: some round trips of a bad network.
pub(crate) const HANDSHAKE_TIME: Duration = Duration::from_secs(10);
/// A connection by which nothing came for so long is over. Members send a ping four times as often.
pub(crate) const IDLE_TIME: Duration = Duration::from_secs(60);
/// How long a write may take: who takes nothing for so long is gone.
pub(crate) const WRITE_TIME: Duration = Duration::from_secs(30);
/// How long the UDP port of a member that is gone is kept for it.
pub(crate) const PORT_KEPT_TIME: Duration = Duration::from_secs(120);
/// Bytes that wait in memory for one member's connection at most, beside what its UDP socket holds:
/// beyond, the newest datagrams are dropped by the system, as for any slow reader.
pub(crate) const WRITE_BUFFER_BYTES_MAX: usize = 256 << 10;
/// The receive buffer that is asked for a member's UDP socket, in bytes.
pub(crate) const RECEIVE_BUFFER_BYTES: usize = 1 << 20;
/// The part of an IPv6 address that names the network (RFC 4291, section 2.5.4).
const NETWORK_BITS: u128 = !0 << 64;
/// How much of a second's bytes may go at once.
const BURST_SHARE: u64 = 4;

/// What a relay gives.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Members at once. Default: 1,024.
    pub members_max: usize,
    /// Bytes of datagrams per second, each way, for one member; who has more to send waits, and of
    /// what others send it the newest is dropped. Default: 16 MiB.
    pub bytes_per_second: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Self { members_max: MEMBERS_MAX, bytes_per_second: BYTES_PER_SECOND }
    }
}

/// So many bytes per second, and a quarter of a second's at once.
#[derive(Debug)]
pub(crate) struct Pace {
    per_second: u64,
    /// Bytes that may go now; below zero, so many were borrowed.
    left: i64,
    since: Instant,
}

impl Pace {
    pub(crate) fn new(per_second: u64, now: Instant) -> Self {
        let per_second = per_second.clamp(1, 1 << 40);
        Self { per_second, left: burst(per_second), since: now }
    }

    /// Spends bytes; returns how long to wait before the next may be spent.
    pub(crate) fn spend(&mut self, bytes: usize, now: Instant) -> Duration {
        let nanos = now.saturating_duration_since(self.since).as_nanos();
        let gained = u128::from(self.per_second) * nanos / 1_000_000_000;
        if gained > 0 {
            let gained = i64::try_from(gained).unwrap_or(i64::MAX);
            self.left = self.left.saturating_add(gained).min(burst(self.per_second));
            self.since = now;
        }
        self.left = self.left.saturating_sub(i64::try_from(bytes).unwrap_or(i64::MAX));
        let owed = u64::try_from(-self.left).unwrap_or(0);
        Duration::from_secs_f64(owed as f64 / self.per_second as f64)
    }
}

fn burst(per_second: u64) -> i64 {
    i64::try_from((per_second / BURST_SHARE).max(1)).unwrap_or(i64::MAX)
}

/// Counts those who have not proven who they are, by host.
#[derive(Debug, Default)]
pub(crate) struct Gate {
    hosts: Mutex<BTreeMap<IpAddr, usize>>,
}

/// A stranger's place; free again when it is dropped.
#[derive(Debug)]
pub(crate) struct Place {
    gate: Arc<Gate>,
    host: IpAddr,
}

impl Gate {
    /// A place for a stranger of this host, if there is one. With IPv6 a host is a network: it has
    /// as many addresses as it likes.
    pub(crate) fn enter(self: &Arc<Self>, host: IpAddr) -> Option<Place> {
        let host = match host.to_canonical() {
            IpAddr::V4(ip) => IpAddr::V4(ip),
            IpAddr::V6(ip) => IpAddr::V6(Ipv6Addr::from_bits(ip.to_bits() & NETWORK_BITS)),
        };
        let mut hosts = self.hosts.lock().unwrap_or_else(PoisonError::into_inner);
        let of_all: usize = hosts.values().sum();
        let of_host = hosts.get(&host).copied().unwrap_or(0);
        if of_all >= STRANGERS_MAX || of_host >= STRANGERS_PER_HOST_MAX {
            return None;
        }
        hosts.insert(host, of_host + 1);
        Some(Place { gate: Arc::clone(self), host })
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut hosts = self.gate.hosts.lock().unwrap_or_else(PoisonError::into_inner);
        match hosts.get_mut(&self.host) {
            Some(count) if *count > 1 => *count -= 1,
            _ => drop(hosts.remove(&self.host)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pace_lets_a_burst_go_and_then_so_many_bytes_per_second() {
        let start = Instant::now();
        let mut pace = Pace::new(1000, start);
        assert_eq!(pace.spend(250, start), Duration::ZERO);
        assert_eq!(pace.spend(500, start), Duration::from_millis(500));
        let later = start + Duration::from_millis(500);
        assert_eq!(pace.spend(100, later), Duration::from_millis(100));
        let much_later = start + Duration::from_secs(60);
        assert_eq!(pace.spend(250, much_later), Duration::ZERO, "no more than a burst is saved");
        assert_eq!(pace.spend(1, much_later), Duration::from_millis(1));
    }

    #[test]
    fn strangers_have_so_many_places_in_all_and_per_host() {
        let gate = Arc::new(Gate::default());
        let host = |last: u8| IpAddr::from([192, 0, 2, last]);
        let mut places: Vec<_> = (0..16).map(|_| gate.enter(host(1)).expect("room")).collect();
        assert!(gate.enter(host(1)).is_none());
        places.pop();
        assert!(gate.enter(host(1)).is_some());
        for other in 2..9 {
            places.extend((0..16).map_while(|_| gate.enter(host(other))));
        }
        assert_eq!(places.len(), 15 + 7 * 16);
        let last = gate.enter(host(100));
        assert!(last.is_some() && gate.enter(host(101)).is_none());
        let in_one_network =
            |last: u128| IpAddr::from((0x2001_0db8_u128 << 96 | last).to_be_bytes());
        places.clear();
        drop(last);
        let taken: Vec<_> = (0..20).map_while(|last| gate.enter(in_one_network(last))).collect();
        assert_eq!(taken.len(), 16);
        assert!(gate.enter(host(101)).is_some());
    }
}
