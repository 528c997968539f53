//! A node's part in finding others: seeds that the host tells it, announcements, and whom to
//! remember.

use alloc::vec::Vec;
use core::net::SocketAddr;
use core::time::Duration;

use super::Node;
use crate::crypto::Hash;
use crate::discovery::Discovery;
use crate::id::MemberId;
use crate::outbox::Control;
use crate::rng::Prng;
use crate::table::RowKey;
use crate::time::{Instant, Now};
use crate::timer::Timer;

impl Node {
    /// Tells the node of further addresses to join by: a name's that was resolved, for instance.
    ///
    /// Those it was made with stay; of the others the latest [`SEEDS_MAX`](crate::SEEDS_MAX) are
    /// kept.
    pub fn add_seeds(&mut self, _now: Now, seeds: &[SocketAddr]) {
        self.stats.inputs += 1;
        let own = self.identity.address;
        for seed in seeds.iter().filter(|seed| **seed != own) {
            self.table.add_seed(*seed);
        }
    }

    /// Addresses by which this node would find its way back after everybody was gone: agents of its
    /// region, and those who speak for the zones beside its path, at most
    /// [`ACQUAINTANCES_MAX`](crate::table::ACQUAINTANCES_MAX). In the order of the addresses.
    #[must_use]
    pub fn acquaintances(&self) -> Vec<SocketAddr> {
        let mut known = self.table.acquaintances();
        known.sort_unstable();
        known.dedup();
        known
    }

    /// Takes a turn at announcing oneself.
    pub(super) fn on_announce_due(&mut self, now: Instant) {
        let Some(turn) = self.discovery.turn() else { return };
        self.timers.set(Timer::Announce, now + turn);
        if !self.has_left && self.discovery.on_turn(self.table.agents_in_all() as u64) {
            self.outbox.control(Control::Announce);
        }
    }

    /// Hears another announce itself. Nothing is answered; its address may be tried later.
    pub(super) fn on_announcement(&mut self, from: MemberId, address: SocketAddr) {
        self.stats.announcements_received += 1;
        let key = RowKey::of_hash(Hash(from.0));
        let record = self.members.find(from);
        let is_known = record.is_some_and(|record| self.table.knows(key, &record.region));
        if self.discovery.on_announcement(self.table.agents_in_all() as u64, is_known) {
            self.table.meet(address);
        }
    }
}

/// When the first turn comes: at a random moment of the first one, so that agents which start
/// together do not speak together.
fn first_of(turn: Duration, now: Instant, rng: &mut Prng) -> Instant {
    let nanos = u64::try_from(turn.as_nanos()).unwrap_or(u64::MAX);
    now + Duration::from_nanos(rng.below(nanos.max(1)))
}

/// When the first turn at announcing oneself is, if there are turns.
pub(super) fn first_turn(discovery: &Discovery, now: Instant, rng: &Prng) -> Option<Instant> {
    Some(first_of(discovery.turn()?, now, &mut rng.fork("announcing phase")))
}
