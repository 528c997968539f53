//! The clock that the core is given: monotonic since the node's start, and the wall's.

use std::time::{Duration, Instant as HostInstant, SystemTime, UNIX_EPOCH};

use spinglass_core::{Instant, Now};

/// A node's clock; it starts at zero.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Clock {
    start: HostInstant,
}

impl Clock {
    /// A clock that starts now.
    pub(crate) fn start() -> Self {
        Self { start: HostInstant::now() }
    }

    /// What the core is handed with every call.
    pub(crate) fn now(&self) -> Now {
        let wall_ms = u64::try_from(wall().as_millis()).unwrap_or(u64::MAX);
        Now { monotonic: self.monotonic(), wall_ms }
    }

    /// The monotonic part of it alone.
    pub(crate) fn monotonic(&self) -> Instant {
        Instant::START + self.start.elapsed()
    }

    /// The wall's time at `instant`, as of now.
    pub(crate) fn wall_at(&self, instant: Instant) -> SystemTime {
        let ago = self.monotonic().since(instant);
        SystemTime::now().checked_sub(ago).unwrap_or(UNIX_EPOCH)
    }

    /// When tokio should wake the task for `instant`.
    pub(crate) fn deadline(&self, instant: Instant) -> tokio::time::Instant {
        (self.start + instant.since(Instant::START)).into()
    }
}

/// Time since the Unix epoch; zero for a clock that is set before it.
pub(crate) fn wall() -> Duration {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default()
}
