//! What hosts do to members: they sleep, are slow, are cut off, crash, and come back.

use std::time::Duration;

use super::{Observer, World};
use crate::host::add;

impl World {
    /// Says good-bye for a member.
    pub fn leave(&mut self, index: usize, observer: &mut impl Observer) {
        let now = self.local_now(index);
        if let Some(driver) = self.driver(index) {
            driver.leave(now);
            self.drain(index, observer);
        }
    }

    /// Whether a member is one of the broken relays, in a world that has some.
    #[must_use]
    pub const fn is_tamperer(index: usize) -> bool {
        index % 3 == 2
    }

    /// Lets a member sleep in a share of all 100 ms slots; in less than all of them, or time stops.
    pub fn set_sleep(&mut self, index: usize, share_ppm: u32) {
        if let Some(member) = self.members.get_mut(index) {
            member.sleep_ppm = share_ppm;
        }
    }

    /// Makes a member slow: it takes this long to handle one input.
    pub fn set_service(&mut self, index: usize, service: Duration) {
        if let Some(member) = self.members.get_mut(index) {
            member.service = u64::try_from(service.as_nanos()).unwrap_or(u64::MAX);
        }
    }

    /// Puts a member's wall clock ahead, or behind, by so many milliseconds.
    pub fn set_clock(&mut self, index: usize, ahead_ms: i64) {
        if let Some(member) = self.members.get_mut(index) {
            member.clock_ms = ahead_ms;
        }
    }

    /// Ends a member's life, without a word to anybody.
    pub fn crash(&mut self, index: usize) {
        if let Some(member) = self.members.get_mut(index)
            && let Some(driver) = member.driver.take()
        {
            add(member.past.get_or_insert_default(), &driver.node().stats());
        }
    }

    /// Starts a crashed member's next life; it joins through its seed.
    pub fn restart(&mut self, index: usize) {
        if self.members.get(index).is_some_and(|member| member.driver.is_none()) {
            self.begin_life(index);
        }
    }

    /// Lets a member's sockets neither send nor receive for a while; it runs on, and what was to
    /// arrive or leave does so afterwards. Lifeguard's measurements were made like this.
    pub fn block(&mut self, index: usize, span: Duration) {
        let until = self.now + u64::try_from(span.as_nanos()).unwrap_or(u64::MAX);
        if let Some(member) = self.members.get_mut(index) {
            member.blocked_until = until;
            self.set_timer(index, until);
        }
    }

    pub(super) fn blocked_until(&self, index: usize) -> Option<u64> {
        let until = self.members.get(index)?.blocked_until;
        (until > self.now).then_some(until)
    }
}
