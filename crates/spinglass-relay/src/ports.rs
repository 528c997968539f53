//! The UDP ports that a relay has given to members.
//!
//! A port belongs to a member's key: a newer connection of the same member takes it over, and ends
//! the older one; when the last has ended it is kept for a while, so that a member that connects
//! again is where it was.

use std::collections::BTreeMap;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::ops::RangeInclusive;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use socket2::{Domain, Protocol, Socket, Type};
use tokio::net::UdpSocket;
use tokio::sync::Notify;

use crate::limits::{PORT_KEPT_TIME, RECEIVE_BUFFER_BYTES};

/// Ports tried before there counts as being none: as many as may be taken by others in a range of
/// which a quarter is free, all but once in 10^4 times.
const TRIES_MAX: usize = 32;
/// The lowest port that is given to a member that wishes for it: below are those of services.
const WISHED_PORT_MIN: u16 = 1024;

/// All of them.
#[derive(Debug)]
pub(crate) struct Ports {
    bind: IpAddr,
    public: IpAddr,
    range: Option<RangeInclusive<u16>>,
    ports_max: usize,
    given: Arc<Mutex<Given>>,
}

#[derive(Debug, Default)]
struct Given {
    by_member: BTreeMap<[u8; 32], Entry>,
    /// Numbers the connections.
    next: u64,
}

#[derive(Debug)]
struct Entry {
    socket: Arc<UdpSocket>,
    address: SocketAddr,
    /// Which connection has it, and how it is told that another took it over; or since when nobody
    /// has.
    held: Result<(u64, Arc<Notify>), Instant>,
}

/// A member's port for the time of one connection.
#[derive(Debug)]
pub(crate) struct Port {
    given: Arc<Mutex<Given>>,
    member: [u8; 32],
    number: u64,
    address: SocketAddr,
    pub(crate) socket: Arc<UdpSocket>,
    /// Told when another connection takes the port over.
    pub(crate) taken: Arc<Notify>,
}

fn lock(given: &Mutex<Given>) -> MutexGuard<'_, Given> {
    given.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Ports {
    pub(crate) fn new(
        bind: IpAddr,
        public: IpAddr,
        range: Option<RangeInclusive<u16>>,
        ports_max: usize,
    ) -> Self {
        Self { bind, public, range, ports_max, given: Arc::default() }
    }

    /// Whether the relay is one for its own machine.
    pub(crate) const fn is_loopback(&self) -> bool {
        self.public.is_loopback()
    }

    /// Gives a member its port: the one it has, the one it wishes for, or any. `None`: there is
    /// none.
    pub(crate) fn open(&self, member: [u8; 32], wished: u16) -> Option<Port> {
        let mut given = lock(&self.given);
        given.next += 1;
        let (number, taken) = (given.next, Arc::new(Notify::new()));
        let held = Ok((number, Arc::clone(&taken)));
        let (socket, address) = if let Some(entry) = given.by_member.get_mut(&member) {
            if let Ok((_, before)) = &entry.held {
                // It may not have begun to wait for this yet: it is told all the same.
                before.notify_one();
            }
            entry.held = held;
            (Arc::clone(&entry.socket), entry.address)
        } else {
            self.make_room(&mut given)?;
            let socket = Arc::new(self.bind(wished)?);
            let address = SocketAddr::new(self.public, socket.local_addr().ok()?.port());
            let entry = Entry { socket: Arc::clone(&socket), address, held };
            given.by_member.insert(member, entry);
            (socket, address)
        };
        Some(Port { given: Arc::clone(&self.given), member, number, address, socket, taken })
    }

    /// Makes room for one more: whoever is gone for longest loses its port.
    fn make_room(&self, given: &mut Given) -> Option<()> {
        if given.by_member.len() < self.ports_max {
            return Some(());
        }
        let kept = given.by_member.iter();
        let kept = kept.filter_map(|(member, entry)| Some((entry.held.as_ref().err()?, *member)));
        let (_, member) = kept.min()?;
        given.by_member.remove(&member);
        Some(())
    }

    fn bind(&self, wished: u16) -> Option<UdpSocket> {
        let allowed = self.range.clone().unwrap_or(WISHED_PORT_MIN..=u16::MAX);
        if allowed.contains(&wished)
            && let Ok(socket) = self.bind_to(wished)
        {
            return Some(socket);
        }
        let Some(range) = &self.range else { return self.bind_to(0).ok() };
        let size = u32::from(range.end().checked_sub(*range.start())?) + 1;
        let start = u32::from_le_bytes(spinglass_crypto::random()) % size;
        let tries = (0..size).take(TRIES_MAX).map(|step| (start + step) % size);
        let mut ports = tries.filter_map(|offset| u16::try_from(offset).ok());
        ports.find_map(|offset| self.bind_to(range.start().checked_add(offset)?).ok())
    }

    fn bind_to(&self, port: u16) -> io::Result<UdpSocket> {
        let address = SocketAddr::new(self.bind, port);
        let domain = Domain::for_address(address);
        let socket = Socket::new(domain, Type::DGRAM, Some(Protocol::UDP))?;
        socket.set_nonblocking(true)?;
        socket.set_recv_buffer_size(RECEIVE_BUFFER_BYTES)?;
        socket.bind(&address.into())?;
        UdpSocket::from_std(socket.into())
    }

    /// Gives up ports that were kept for long enough.
    pub(crate) fn sweep(&self) {
        let kept = |entry: &Entry| entry.held.as_ref().err().copied();
        lock(&self.given)
            .by_member
            .retain(|_, entry| kept(entry).is_none_or(|since| since.elapsed() < PORT_KEPT_TIME));
    }
}

impl Port {
    /// Where others reach the member.
    pub(crate) const fn address(&self) -> SocketAddr {
        self.address
    }
}

impl Drop for Port {
    fn drop(&mut self) {
        let mut given = lock(&self.given);
        if let Some(entry) = given.by_member.get_mut(&self.member)
            && entry.held.as_ref().is_ok_and(|(number, _)| *number == self.number)
        {
            entry.held = Err(Instant::now());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ports(range: Option<RangeInclusive<u16>>, most: usize) -> Ports {
        let ip = IpAddr::from([127, 0, 0, 1]);
        Ports::new(ip, ip, range, most)
    }

    #[tokio::test]
    async fn a_member_gets_its_port_again_and_the_newer_connection_has_it() {
        let ports = ports(None, 2);
        let first = ports.open([1; 32], 0).expect("a port");
        let again = ports.open([1; 32], 0).expect("the port");
        assert_eq!(first.address(), again.address());
        first.taken.notified().await;
        let address = again.address();
        // The older connection ends last, and does not give away what is not its own any more.
        drop((first, ports.open([2; 32], 0).expect("a port")));
        let third = ports.open([3; 32], 0).expect("the place of the second, which is gone");
        assert!(ports.open([4; 32], 0).is_none(), "both are in use");
        drop(again);
        assert_eq!(ports.open([1; 32], 0).expect("it was kept").address(), address);
        drop(third);
        ports.sweep();
        assert_eq!(lock(&ports.given).by_member.len(), 2, "kept for a while");
    }

    #[tokio::test]
    async fn a_wish_is_heeded_within_the_range() {
        let free = ports(None, 1).open([1; 32], 0).expect("a port").address().port();
        let given = ports(None, 1).open([1; 32], free).expect("a port");
        assert_eq!(given.address().port(), free);
        assert_ne!(ports(None, 1).open([1; 32], free).expect("another").address().port(), free);
        assert!(ports(Some(free..=free), 1).open([1; 32], 0).is_none(), "it is taken");
        drop(given);
        let only = ports(Some(free..=free), 1).open([1; 32], 53).expect("the one in the range");
        assert_eq!(only.address().port(), free);
    }
}
