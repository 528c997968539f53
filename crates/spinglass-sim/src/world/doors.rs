//! Members behind NATs, firewalls and relays: what they ask about it, and what gets through.

use std::net::SocketAddr;
use std::sync::Arc;

use spinglass_core::path::PathQuestion;

use super::{Blind, World};
use crate::host::{PORT, member_at};

impl World {
    /// Asks about the way to a member: see the core's `Node::ask_path`.
    pub fn ask_path(&mut self, index: usize, whom: SocketAddr, question: PathQuestion) {
        let now = self.local_now(index);
        if let Some(driver) = self.driver(index) {
            driver.ask_path(now, whom, question);
            self.drain(index, &mut Blind);
        }
    }

    /// Says that a member is reached elsewhere: see the core's `Node::set_address`.
    pub fn set_address(&mut self, index: usize, address: SocketAddr) {
        let now = self.local_now(index);
        if let Some(driver) = self.driver(index) {
            driver.set_address(now, address);
            self.drain(index, &mut Blind);
        }
    }

    /// What a member sends as it usually does: from the port that it says it is at.
    pub(super) fn carry_from_member(&mut self, from: usize, to: SocketAddr, bytes: &Arc<[u8]>) {
        let port = self.node(from).map_or(PORT, |node| node.address().port());
        let by_relay = self.network.doors.get(&from).is_some_and(|door| door.relay == Some(port));
        if by_relay {
            self.carry_to((from, port), to, false, bytes);
        } else {
            self.carry_from_socket(from, to, bytes);
        }
    }

    /// What it sends by its own socket.
    pub(super) fn carry_from_socket(&mut self, from: usize, to: SocketAddr, bytes: &Arc<[u8]>) {
        let port = self.network.leaves(from, member_at(to)).unwrap_or(PORT);
        self.carry_to((from, port), to, false, bytes);
    }

    /// What it sends from a port that nobody knows.
    pub(super) fn carry_from_fresh(&mut self, from: usize, to: SocketAddr, bytes: &Arc<[u8]>) {
        self.carry_to((from, PORT + 1), to, true, bytes);
    }

    fn carry_to(&mut self, source: (usize, u16), to: SocketAddr, fresh: bool, bytes: &Arc<[u8]>) {
        if self.network.opens(source.0, to, fresh) {
            let member = member_at(to);
            // Whatever its door's port is, the member itself receives where all do.
            let port = if self.network.doors.contains_key(&member) { PORT } else { to.port() };
            self.carry(source, (member, port), bytes);
        }
    }
}
