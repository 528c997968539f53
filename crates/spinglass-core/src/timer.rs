//! A node's timers: a fixed table, each entry with its reason, and one deadline to sleep on.

use crate::time::Instant;

/// What may be due. When several are, they run in this order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Timer {
    /// The next gossip round.
    Round,
    /// The next look at what is missing.
    Solicit,
    /// The next look at streams that may have gone quiet.
    Tail,
    /// More may be published.
    Pace,
    /// The table's next round.
    Table,
    /// News of the table are passed on.
    News,
    /// The failure detector's next half round.
    Probe,
    /// The next turn at announcing oneself.
    Announce,
    /// Somebody asked has not answered, or a question's time is over.
    Query,
    /// The next round of fetching objects.
    Object,
}

impl Timer {
    pub(crate) const ALL: [Self; 10] = [
        Self::Round,
        Self::Solicit,
        Self::Tail,
        Self::Pace,
        Self::Table,
        Self::News,
        Self::Probe,
        Self::Announce,
        Self::Query,
        Self::Object,
    ];
}

/// A timer that is not set is due when the clock ends.
const NEVER: Instant = Instant::from_nanos(u64::MAX);

/// When each timer is due, if it is set.
#[derive(Debug)]
pub(crate) struct Timers {
    due: [Instant; Timer::ALL.len()],
}

impl Default for Timers {
    fn default() -> Self {
        Self { due: [NEVER; Timer::ALL.len()] }
    }
}

impl Timers {
    pub(crate) fn set(&mut self, timer: Timer, at: Instant) {
        *self.slot(timer) = at;
    }

    /// Sets a timer, if there is a time for it.
    pub(crate) fn set_if(&mut self, timer: Timer, at: Option<Instant>) {
        at.into_iter().for_each(|at| self.set(timer, at));
    }

    /// Sets a timer unless it is due earlier already.
    pub(crate) fn set_earlier(&mut self, timer: Timer, at: Instant) {
        let slot = self.slot(timer);
        *slot = at.min(*slot);
    }

    /// Whether a timer is due; if so, it is stopped.
    pub(crate) fn take_due(&mut self, timer: Timer, now: Instant) -> bool {
        let slot = self.slot(timer);
        let is_due = *slot != NEVER && *slot <= now;
        if is_due {
            *slot = NEVER;
        }
        is_due
    }

    pub(crate) fn next(&self) -> Option<Instant> {
        self.due.iter().copied().min().filter(|due| *due != NEVER)
    }

    fn slot(&mut self, timer: Timer) -> &mut Instant {
        let [round, solicit, tail, pace, table, news, probe, announce, query, object] =
            &mut self.due;
        match timer {
            Timer::Round => round,
            Timer::Solicit => solicit,
            Timer::Tail => tail,
            Timer::Pace => pace,
            Timer::Table => table,
            Timer::News => news,
            Timer::Probe => probe,
            Timer::Announce => announce,
            Timer::Query => query,
            Timer::Object => object,
        }
    }
}
