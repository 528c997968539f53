//! What a relay counts.

use std::sync::atomic::{AtomicU64, Ordering};

/// Counts that several tasks add to.
#[derive(Debug, Default)]
pub(crate) struct Tally {
    pub(crate) connections: AtomicU64,
    pub(crate) turned_away: AtomicU64,
    pub(crate) failed: AtomicU64,
    pub(crate) refused: AtomicU64,
    pub(crate) admitted: AtomicU64,
    pub(crate) ended: AtomicU64,
    pub(crate) datagrams_out: AtomicU64,
    pub(crate) bytes_out: AtomicU64,
    pub(crate) datagrams_in: AtomicU64,
    pub(crate) bytes_in: AtomicU64,
    pub(crate) barred: AtomicU64,
    pub(crate) foreign: AtomicU64,
}

/// Everything that a relay counted since its start.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counters {
    /// TCP connections accepted.
    pub connections: u64,
    /// Of them, those closed at once, since there were too many strangers.
    pub turned_away: u64,
    /// Those that did not get as far as a proof in time: TLS or the WebSocket failed.
    pub failed: u64,
    /// Those whose proof was not believed, or for whom there was no room.
    pub refused: u64,
    /// Those of members that were let in.
    pub admitted: u64,
    /// Of them, those that are over.
    pub ended: u64,
    /// Datagrams sent for members.
    pub datagrams_out: u64,
    /// Their bytes.
    pub bytes_out: u64,
    /// Datagrams brought to members.
    pub datagrams_in: u64,
    /// Their bytes.
    pub bytes_in: u64,
    /// Datagrams not sent, because nothing is sent to such an address.
    pub barred: u64,
    /// Datagrams dropped, either way, that are none of this system's by their form.
    pub foreign: u64,
}

pub(crate) fn add(count: &AtomicU64, by: usize) {
    count.fetch_add(by as u64, Ordering::Relaxed);
}

impl Tally {
    pub(crate) fn read(&self) -> Counters {
        let read = |count: &AtomicU64| count.load(Ordering::Relaxed);
        Counters {
            connections: read(&self.connections),
            turned_away: read(&self.turned_away),
            failed: read(&self.failed),
            refused: read(&self.refused),
            admitted: read(&self.admitted),
            ended: read(&self.ended),
            datagrams_out: read(&self.datagrams_out),
            bytes_out: read(&self.bytes_out),
            datagrams_in: read(&self.datagrams_in),
            bytes_in: read(&self.bytes_in),
            barred: read(&self.barred),
            foreign: read(&self.foreign),
        }
    }
}
