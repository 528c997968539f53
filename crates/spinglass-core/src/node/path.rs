//! A node's part in how it is reached.

use core::net::SocketAddr;

use super::Node;
use crate::time::Now;

impl Node {
    /// Says that this member is reached elsewhere from now on.
    ///
    /// It moves to a new sealing key, so that its record is newer than the one before, tells
    /// everybody anew who it is, and issues its row. Until they have heard, others send to the
    /// address before.
    pub fn set_address(&mut self, now: Now, address: SocketAddr) {
        self.stats.inputs += 1;
        if self.has_left || self.identity.address == address {
            return;
        }
        self.identity.address = address;
        self.link.renew(&mut *self.crypto);
        self.renew_record();
        self.table.set_address(address);
        self.after_table(now.monotonic);
    }
}
