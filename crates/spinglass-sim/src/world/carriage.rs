//! How datagrams get from member to member, or do not.

use std::sync::Arc;

use spinglass_core::Destinations;

use super::{Entry, Source, World};
use crate::host::PORT;
use crate::network::{Network, damage};
use crate::queue::nanos;

impl World {
    pub(super) fn send(&mut self, from: usize, to: &Destinations, bytes: Arc<[u8]>) {
        if self.network.replay_ppm > 0 {
            self.captured.keep(&bytes, &mut self.rng);
        }
        match to {
            Destinations::Members(members) => {
                members.iter().for_each(|member| self.carry_from_member(from, *member, &bytes));
            }
            Destinations::Own(to) => self.carry_from_socket(from, *to, &bytes),
            Destinations::Fresh(to) => self.carry_from_fresh(from, *to, &bytes),
            Destinations::Multicast if self.network.topology.is_some() => {
                self.multicast(from, &bytes);
            }
            Destinations::Multicast => {
                for member in 0..self.members.len() {
                    self.carry((from, PORT), (member, PORT), &bytes);
                }
            }
        }
    }

    pub(super) fn carry(
        &mut self,
        from: (usize, u16),
        (to, port): (usize, u16),
        bytes: &Arc<[u8]>,
    ) {
        // Nothing but ourselves knows our name: a member never hears its own multicast.
        if to == from.0 || !self.network.carries(from.0, to, self.now, &mut self.rng) {
            return;
        }
        if let Some(topology) = self.network.topology.clone() {
            if let Some(delay) = topology.send(from.0, to, &mut self.rng) {
                self.arrive(from, (to, port), nanos(delay), Arc::clone(bytes));
            }
            return;
        }
        let delay = self.network.delay(&mut self.rng);
        self.arrive(from, (to, port), delay, Arc::clone(bytes));
        self.trouble(from, (to, port), bytes);
    }

    /// Sends something over each link of the topology once.
    fn multicast(&mut self, from: usize, bytes: &Arc<[u8]>) {
        let Some(topology) = self.network.topology.clone() else { return };
        let mut reached = Vec::new();
        topology.multicast(from, &mut self.rng, |member, delay| reached.push((member, delay)));
        for (member, delay) in reached {
            if !self.network.carries(from, member, self.now, &mut self.rng) {
                continue;
            }
            self.arrive((from, PORT), (member, PORT), nanos(delay), Arc::clone(bytes));
        }
    }

    /// Repeats, damages and replays, as the network does.
    fn trouble(&mut self, from: (usize, u16), (to, port): (usize, u16), bytes: &Arc<[u8]>) {
        let delay = |world: &mut Self| world.network.delay(&mut world.rng);
        let Network { duplicate_ppm, corrupt_ppm, replay_ppm, .. } = self.network;
        if duplicate_ppm > 0 && self.rng.chance_ppm(duplicate_ppm) {
            let delay = delay(self);
            self.arrive(from, (to, port), delay, Arc::clone(bytes));
        }
        if corrupt_ppm > 0 && self.rng.chance_ppm(corrupt_ppm) {
            let other = self.captured.draw(&mut self.rng);
            let damaged = damage(bytes, other.as_deref(), &mut self.rng);
            let delay = delay(self);
            self.arrive(from, (to, port), delay, damaged.into());
        }
        if replay_ppm > 0
            && self.rng.chance_ppm(replay_ppm)
            && let Some(old) = self.captured.draw(&mut self.rng)
        {
            let anybody = self.rng.index(self.members.len());
            let delay = delay(self);
            self.arrive(from, (anybody, PORT), delay, old);
        }
    }

    fn arrive(
        &mut self,
        from: (usize, u16),
        (to, port): (usize, u16),
        delay: u64,
        bytes: Arc<[u8]>,
    ) {
        let at = self.now + delay;
        let narrow = |index| u32::try_from(index).unwrap_or(u32::MAX);
        let (to, from) = (narrow(to), Source { member: narrow(from.0), port: from.1 });
        self.queue.push(at, Entry::Arrives { to, from, port, held: false, bytes });
    }
}
