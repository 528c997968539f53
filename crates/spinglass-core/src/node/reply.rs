//! Reply ports: where a member that may be flooded wants what it waits for (Badishi, Keidar and
//! Sasson, "Exposing and eliminating vulnerabilities to denial of service attacks in secure
//! gossip-based multicast", DSN 2004).
//!
//! Whoever floods a member knows the address that all know. What the member asks for comes to a
//! port that only those know whom it told, since it is told inside the seal, and that is soon
//! another one. So what it asks for comes, however much arrives where it is expected to be.
//!
//! ```text
//!  a ── (my port is 40123) digest ──────────▶ b:7710      to where all know b to be
//!  a:40123 ◀── (my port is 51777) tail ────── b           there is more than you say
//!  a ── (my port is 40123) solicit ─────────▶ b:51777
//!  a:40123 ◀── packets ────────────────────── b
//! ```
//!
//! Two things that a member did not ask for it waits for, too: packets from those who hand it a
//! tree's, and probes of those who would else take it for dead. Both are told each new port.
//!
//! Invariants: only answers, packets of trees and probes go to the port that a member named, at the
//! address that it signed; the latter two for [`REPLY_PORT_LIFE`] after it was named.

use alloc::collections::BTreeMap;
use alloc::vec::Vec;
use core::net::SocketAddr;
use core::num::NonZeroU16;
use core::time::Duration;

use super::Node;
use crate::event::Destinations;
use crate::frame::{self, ReplyPort};
use crate::multicast::Cx;
use crate::outbox::Control;
use crate::time::{Instant, Now};

/// How long a port is good for after it was told: hosts read it for at least so long after the last
/// time that they tell it. A guess: long enough for whatever is under way, too short for an
/// attacker who looks for it by trying all.
pub const REPLY_PORT_LIFE: Duration = Duration::from_secs(5);
/// Members whose ports are remembered: more than hand each other packets and probes. When full, the
/// one told longest ago is forgotten.
const PORTS_MAX: usize = 256;
/// Senders of whose trees those above are told a new port: the ones heard last.
const SENDERS_MAX: usize = 16;

/// Where other members want what they wait for, by the address that they signed.
#[derive(Debug, Default)]
pub(super) struct ReplyPorts {
    told: BTreeMap<SocketAddr, (ReplyPort, Instant)>,
}

impl ReplyPorts {
    fn tell(&mut self, address: SocketAddr, port: ReplyPort, now: Instant) {
        if self.told.len() >= PORTS_MAX && !self.told.contains_key(&address) {
            let oldest = self.told.iter().min_by_key(|(_, (_, told))| *told);
            if let Some(oldest) = oldest.map(|(address, _)| *address) {
                self.told.remove(&oldest);
            }
        }
        self.told.insert(address, (port, now));
    }

    fn of(&self, address: SocketAddr, now: Instant) -> Option<ReplyPort> {
        let (port, told) = self.told.get(&address)?;
        (now.since(*told) < REPLY_PORT_LIFE).then_some(*port)
    }

    /// A member has begun a new life.
    pub(super) fn forget(&mut self, address: SocketAddr) {
        self.told.remove(&address);
    }
}

impl Node {
    /// Has answers sent to another port of this host from now on, where the host listens too; with
    /// none, to where everything else goes. A host takes a new one every [`REPLY_PORT_LIFE`], and
    /// reads the one before for as long again.
    pub fn set_reply_port(&mut self, now: Now, port: Option<NonZeroU16>) {
        self.stats.inputs += 1;
        self.reply_port = port;
        if port.is_none() || self.has_left {
            return;
        }
        let mut whom = self.detector.own_observers(&self.table);
        let shape = self.config.get().multicast.tree_shape();
        let cx = cx!(self, now.monotonic);
        for newest in self.multicast.streams_of_late(SENDERS_MAX) {
            whom.extend(&cx.members.tree(&newest, shape).parents);
        }
        whom.sort_unstable();
        whom.dedup();
        whom.into_iter().for_each(|to| cx.outbox.control(Control::ReplyPort { to }));
    }

    /// Where this member wants answers, if not where it receives everything else.
    #[must_use]
    pub const fn reply_port(&self) -> Option<NonZeroU16> {
        self.reply_port
    }

    /// Says where the answers to a question are wanted.
    pub(super) fn write_reply_port(&self, question: &Control, buffer: &mut Vec<u8>) {
        let is_asked = question.is_question() && !cfg!(spinglass_bug = "port_untold");
        let port = self.reply_port.filter(|_| is_asked);
        if let (Some(port), Some(to)) = (port, question.to()) {
            frame::put_reply_port(ReplyPort { port, has_met: self.members.has_met(to) }, buffer);
        }
    }

    /// A member says where it wants the answers to what follows. If it does not know this member,
    /// they introduce it, every one: what did before may have drowned where it was sent.
    pub(super) fn on_reply_port(&mut self, address: SocketAddr, port: ReplyPort, now: Instant) {
        self.outbox.answer(Some((address, port)));
        self.reply_ports.tell(address, port, now);
    }

    /// Has a probe go to where its receiver waits for it.
    pub(super) fn aim_probe(&mut self, control: &Control, now: Instant) {
        if let Control::Probe { to, .. } = control {
            self.outbox.answer(self.reply_ports.of(*to, now).map(|port| (*to, port)));
        }
    }

    /// Has packets of a tree go to where their receivers wait for them. Returns whether any of
    /// these does not know this member; it counts as told then.
    pub(super) fn aim_packets(&mut self, to: &mut Destinations, now: Instant) -> bool {
        let Destinations::Members(members) = to else { return false };
        let mut are_strangers = false;
        for member in members {
            if let Some(port) = self.reply_ports.of(*member, now) {
                are_strangers |= !port.has_met;
                let met = ReplyPort { has_met: true, ..port };
                self.reply_ports.told.entry(*member).and_modify(|(told, _)| *told = met);
                member.set_port(port.port.get());
            }
        }
        are_strangers
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ports_are_forgotten_in_time_and_the_oldest_when_there_are_too_many() {
        let address = |host: usize| SocketAddr::from(([127, 0, 0, 1], 1000 + host as u16));
        let port = ReplyPort { port: NonZeroU16::MAX, has_met: true };
        let (mut ports, start) = (ReplyPorts::default(), Instant::START);
        for host in 0..=PORTS_MAX {
            ports.tell(address(host), port, start + Duration::from_nanos(host as u64));
        }
        assert_eq!(ports.told.len(), PORTS_MAX);
        assert_eq!(ports.of(address(0), start), None);
        assert_eq!(ports.of(address(1), start + REPLY_PORT_LIFE), Some(port));
        assert_eq!(ports.of(address(1), start + REPLY_PORT_LIFE * 2), None);
    }
}
