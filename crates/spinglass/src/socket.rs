//! A member's UDP sockets: its own, and one for the group's IP multicast if there is any.
//!
//! Both use segmentation offload: on loopback a send of many segments costs what a send of one does
//! (MEASURED 1: a factor of 14).

use std::array;
use std::io::{self, IoSliceMut};
use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4};
use std::task::{Context, Poll};

use quinn_udp::{RecvMeta, Transmit, UdpSocketState};
use socket2::{Domain, Protocol, SockRef, Socket, Type};
use tokio::io::Interest;
use tokio::net::UdpSocket;

use crate::error::StartError;

/// Receive buffer that is asked of the system, which gives what its administrator allows: a burst
/// from many members at once, while this one does something else.
const RECEIVE_BUFFER_BYTES: usize = 4 << 20;
/// Send buffer that is asked for: the largest burst that the default pace lets out.
const SEND_BUFFER_BYTES: usize = 1 << 20;
/// Routers that IP multicast may cross: none. Trees join what lies further apart.
const MULTICAST_TTL: u32 = 1;
/// Runs of datagrams taken from a socket in one call.
const RUNS_MAX: usize = 8;
/// Bytes of the longest run of datagrams that the system joins.
const RUN_BYTES_MAX: usize = 1 << 16;

/// Where IP multicast goes and by which interface.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct MulticastPath {
    /// The group's address and port.
    pub(crate) group: SocketAddrV4,
    /// The address of the interface.
    pub(crate) interface: Ipv4Addr,
}

/// A socket with offload in both directions, and its receive buffers.
#[derive(Debug)]
pub(crate) struct BatchedSocket {
    socket: UdpSocket,
    state: UdpSocketState,
    buffer: Box<[u8]>,
    metas: [RecvMeta; RUNS_MAX],
    /// How many of `metas` describe something received and not yet read.
    received: usize,
}

/// A run of datagrams of equal size from one address; the last may be shorter.
#[derive(Debug)]
pub(crate) struct Run<'a> {
    pub(crate) from: SocketAddr,
    pub(crate) segment_bytes: usize,
    pub(crate) bytes: &'a mut [u8],
}

impl BatchedSocket {
    fn new(socket: Socket) -> io::Result<Self> {
        let state = UdpSocketState::new((&socket).into())?;
        let socket = UdpSocket::from_std(socket.into())?;
        let buffer = vec![0; RUNS_MAX * RUN_BYTES_MAX].into_boxed_slice();
        Ok(Self { socket, state, buffer, metas: [RecvMeta::default(); RUNS_MAX], received: 0 })
    }

    /// The member's own socket.
    ///
    /// # Errors
    /// The address can't be had.
    pub(crate) fn bind(
        address: SocketAddr,
        multicast: Option<MulticastPath>,
    ) -> Result<Self, StartError> {
        let make = || {
            let socket =
                Socket::new(Domain::for_address(address), Type::DGRAM, Some(Protocol::UDP))?;
            set_buffers(&socket)?;
            if let Some(path) = multicast {
                socket.set_multicast_if_v4(&path.interface)?;
                socket.set_multicast_loop_v4(true)?;
                socket.set_multicast_ttl_v4(MULTICAST_TTL)?;
            }
            socket.bind(&address.into())?;
            Self::new(socket)
        };
        make().map_err(|source| match source.kind() {
            io::ErrorKind::AddrInUse => StartError::AddressInUse(address),
            io::ErrorKind::AddrNotAvailable => StartError::AddressNotHere(address),
            _ => StartError::Socket { address, source },
        })
    }

    /// A socket that hears the group's IP multicast; any number may on one machine.
    ///
    /// # Errors
    /// The group can't be joined on that interface.
    pub(crate) fn join(path: MulticastPath) -> Result<Self, StartError> {
        let MulticastPath { group, interface } = path;
        let make = || {
            let socket = Socket::new(Domain::IPV4, Type::DGRAM, Some(Protocol::UDP))?;
            set_buffers(&socket)?;
            socket.set_reuse_address(true)?;
            // Bound to the group's address: it hears that group and nothing else.
            socket.bind(&SocketAddr::from(group).into())?;
            socket.set_multicast_all_v4(false)?;
            socket.join_multicast_v4(group.ip(), &interface)?;
            Self::new(socket)
        };
        make().map_err(|source| StartError::Multicast { group, interface, source })
    }

    /// Where it is bound.
    pub(crate) fn local_addr(&self) -> io::Result<SocketAddr> {
        self.socket.local_addr()
    }

    /// Sends one datagram from a port of its own, which nobody has ever sent to.
    ///
    /// # Errors
    /// There is no such port, or it is not sent.
    pub(crate) fn send_from_fresh(&self, to: SocketAddr, datagram: &[u8]) -> io::Result<()> {
        let ip = self.local_addr()?.ip();
        let socket = std::net::UdpSocket::bind(SocketAddr::new(ip, 0))?;
        socket.set_nonblocking(true)?;
        socket.send_to(datagram, to).map(drop)
    }

    /// How many segments one send may carry.
    pub(crate) fn segments_max(&self) -> usize {
        self.state.max_gso_segments()
    }

    /// Sends a run of datagrams to one address in one call.
    ///
    /// # Errors
    /// `WouldBlock`: the socket's buffer is full. Anything else is for the caller to classify.
    pub(crate) fn send(
        &self,
        to: SocketAddr,
        segment_bytes: usize,
        segments: &[u8],
    ) -> io::Result<()> {
        let transmit = Transmit {
            destination: to,
            ecn: None,
            contents: segments,
            segment_size: Some(segment_bytes),
            src_ip: None,
        };
        let send = || self.state.try_send((&self.socket).into(), &transmit);
        self.socket.try_io(Interest::WRITABLE, send)
    }

    /// Receives whatever is there, up to a bound; [`runs`](Self::runs) gives it.
    ///
    /// # Errors
    /// Never `WouldBlock`: then nothing was received. Anything else is for the caller to classify.
    pub(crate) fn receive(&mut self) -> io::Result<()> {
        let Self { socket, state, buffer, metas, received } = self;
        *received = 0;
        let mut buffers = buffer.chunks_exact_mut(RUN_BYTES_MAX);
        let mut slices: [IoSliceMut<'_>; RUNS_MAX] =
            array::from_fn(|_| IoSliceMut::new(buffers.next().unwrap_or_default()));
        let result = socket.try_io(Interest::READABLE, || {
            *received = state.recv((&*socket).into(), &mut slices, metas)?;
            // Fewer than asked for: the socket is empty, and saying so saves a call that would only
            // find that out.
            if *received < RUNS_MAX { Err(io::ErrorKind::WouldBlock.into()) } else { Ok(()) }
        });
        match result {
            Err(error) if error.kind() != io::ErrorKind::WouldBlock => Err(error),
            _ => Ok(()),
        }
    }

    /// What was received last.
    pub(crate) fn runs(&mut self) -> impl Iterator<Item = Run<'_>> {
        let buffers = self.buffer.chunks_exact_mut(RUN_BYTES_MAX);
        self.metas.iter().zip(buffers).take(self.received).map(|(meta, buffer)| {
            let bytes = buffer.get_mut(..meta.len).unwrap_or_default();
            Run { from: meta.addr, segment_bytes: meta.stride.max(1), bytes }
        })
    }

    pub(crate) fn poll_readable(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.socket.poll_recv_ready(cx)
    }

    pub(crate) fn poll_writable(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.socket.poll_send_ready(cx)
    }
}

fn set_buffers(socket: &Socket) -> io::Result<()> {
    let socket = SockRef::from(socket);
    socket.set_recv_buffer_size(RECEIVE_BUFFER_BYTES)?;
    socket.set_send_buffer_size(SEND_BUFFER_BYTES)
}

/// The address from which this machine reaches `peer`. Nothing is sent.
pub(crate) fn route_to(peer: SocketAddr) -> io::Result<SocketAddr> {
    let any: SocketAddr = match peer {
        SocketAddr::V4(_) => (Ipv4Addr::UNSPECIFIED, 0).into(),
        SocketAddr::V6(_) => (std::net::Ipv6Addr::UNSPECIFIED, 0).into(),
    };
    let socket = std::net::UdpSocket::bind(any)?;
    socket.connect(peer)?;
    socket.local_addr()
}
