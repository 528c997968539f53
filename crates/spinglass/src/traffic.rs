//! What goes to each address, and what comes from it: for whoever wants to know who does not get
//! through to whom.
//!
//! Invariant: an address is followed once something was sent there as to a member's, so strangers
//! take no room, whatever they send or are answered; at most [`ADDRESSES_MAX`] are.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::time::Duration;

use spinglass_core::{Datagram, Instant};

/// Addresses that are followed: far more than a member gossips with.
const ADDRESSES_MAX: usize = 4096;

/// What went to a member's address, and came from it, since it was first sent something. Whether
/// what came was genuine is not looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct Traffic {
    /// The address.
    pub address: SocketAddr,
    /// Bytes of UDP's payload sent there.
    pub sent_bytes: u64,
    /// The same that came from there.
    pub received_bytes: u64,
    /// How long ago it was first sent something.
    pub since: Duration,
    /// How long ago something came from there; none: nothing ever did.
    pub heard: Option<Duration>,
}

/// All addresses that are followed.
#[derive(Debug, Default)]
pub(crate) struct Ledger {
    entries: HashMap<SocketAddr, Entry>,
    now: Instant,
}

#[derive(Debug)]
struct Entry {
    sent_bytes: u64,
    received_bytes: u64,
    since: Instant,
    sent: Instant,
    heard: Option<Instant>,
}

impl Ledger {
    /// What is noted from here on happens now.
    pub(crate) const fn turn(&mut self, now: Instant) {
        self.now = now;
    }

    pub(crate) fn sent(&mut self, to: SocketAddr, bytes: usize) {
        let now = self.now;
        if let Some(entry) = self.entries.get_mut(&to) {
            entry.sent_bytes += bytes as u64;
            entry.sent = now;
            return;
        }
        if self.entries.len() >= ADDRESSES_MAX {
            let oldest = self.entries.iter().min_by_key(|(_, entry)| entry.sent);
            if let Some(oldest) = oldest.map(|(address, _)| *address) {
                self.entries.remove(&oldest);
            }
        }
        let (sent_bytes, received_bytes) = (bytes as u64, 0);
        let entry = Entry { sent_bytes, received_bytes, since: now, sent: now, heard: None };
        self.entries.insert(to, entry);
    }

    /// Notes datagrams, run by run of one source.
    pub(crate) fn received(&mut self, datagrams: &[Datagram<'_>]) {
        for run in datagrams.chunk_by(|a, b| a.from == b.from) {
            let from = run.first().and_then(|first| self.entries.get_mut(&first.from));
            if let Some(entry) = from {
                entry.received_bytes += run.iter().map(|it| it.bytes.len() as u64).sum::<u64>();
                entry.heard = Some(self.now);
            }
        }
    }

    pub(crate) fn told(&self) -> Vec<Traffic> {
        let ago = |at: Instant| self.now.since(at);
        let told = |(address, entry): (&SocketAddr, &Entry)| Traffic {
            address: *address,
            sent_bytes: entry.sent_bytes,
            received_bytes: entry.received_bytes,
            since: ago(entry.since),
            heard: entry.heard.map(ago),
        };
        self.entries.iter().map(told).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(port: u16) -> SocketAddr {
        SocketAddr::from(([127, 0, 0, 1], port))
    }

    #[test]
    fn who_was_sent_something_is_followed_and_nobody_else() {
        let mut ledger = Ledger::default();
        ledger.turn(Instant::from_nanos(1_000));
        ledger.sent(at(1), 10);
        ledger.sent(at(2), 20);
        ledger.turn(Instant::from_nanos(3_000));
        let (mut a, mut b, mut c) = ([0; 7], [0; 5], [0; 9]);
        let datagram = |port, bytes| Datagram { from: at(port), bytes };
        ledger.received(&[datagram(1, &mut a), datagram(1, &mut b), datagram(3, &mut c)]);
        ledger.sent(at(1), 1);
        ledger.turn(Instant::from_nanos(4_000));
        let mut told = ledger.told();
        told.sort_by_key(|traffic| traffic.address);
        let ago = Duration::from_nanos;
        let (address, since) = (at(1), ago(3_000));
        let first =
            Traffic { address, sent_bytes: 11, received_bytes: 12, since, heard: Some(ago(1_000)) };
        let second =
            Traffic { address: at(2), sent_bytes: 20, received_bytes: 0, since, heard: None };
        assert_eq!(told, [first, second]);
    }

    #[test]
    fn the_one_left_alone_longest_is_forgotten() {
        let mut ledger = Ledger::default();
        for (turn, port) in (1..).zip(0..=u16::try_from(ADDRESSES_MAX).unwrap()) {
            ledger.turn(Instant::from_nanos(turn));
            ledger.sent(at(port), 1);
        }
        let told = ledger.told();
        assert_eq!(told.len(), ADDRESSES_MAX);
        assert!(told.iter().all(|traffic| traffic.address != at(0)));
    }
}
