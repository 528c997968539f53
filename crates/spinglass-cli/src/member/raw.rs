//! A member without a protocol: it counts the bytes that arrive, or sends as fast as it can. What
//! that gives is the limit beside which the protocol's figures are printed.

use std::io::{self, IoSliceMut};
use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use anyhow::{Context as _, Result};
use quinn_udp::{RecvMeta, Transmit, UdpSocketState};
use socket2::{Domain, Protocol, Socket, Type};
use tokio::io::Interest;
use tokio::net::UdpSocket;
use tokio::time::Instant;

use super::protocol::{Counters, Order, Report, Tally};
use super::{Orders, tell};
use crate::clock::monotonic_ns;

/// Bytes that a socket may hold for a receiver that is not scheduled just then; the kernel caps it.
const SOCKET_BUFFER_BYTES: usize = 8 << 20;
/// The most bytes of one offloaded send: a UDP datagram's largest.
const SEND_BYTES_MAX: usize = 65_507;
/// Buffers of one offloaded receive.
const RECEIVE_BUFFERS: usize = quinn_udp::BATCH_SIZE;
/// Bytes of each: what receive offload merges at most.
const RECEIVE_BYTES: usize = 65_535;

/// Runs until the orders end.
///
/// # Errors
/// The socket can't be made or used.
pub(super) async fn run(multicast: Option<SocketAddr>, orders: &mut Orders) -> Result<()> {
    let socket = bind(multicast).context("cannot make a UDP socket")?;
    let state = UdpSocketState::new((&socket).into())?;
    let address = socket.local_addr()?;
    tell(&Report::Bound { address, datagram_bytes: SEND_BYTES_MAX })?;
    let mut receiver = Receiver::new();
    loop {
        tokio::select! {
            order = orders.next() => match order? {
                None => return Ok(()),
                Some(Order::Await { .. }) => tell(&Report::Ready)?,
                Some(Order::Step(step)) => {
                    receiver.tally = Tally { step: step.number, ..Tally::default() };
                }
                Some(Order::Tell) => tell(&Report::Tally(Box::new(receiver.tally.clone())))?,
                Some(Order::Flood { to, segment_bytes, seconds }) => {
                    let sent = flood(&socket, &state, &to, segment_bytes, seconds).await?;
                    receiver.tally.stats = sent;
                    tell(&Report::Published { count: sent.datagrams_sent, seconds })?;
                }
                Some(_) => (),
            },
            ready = socket.readable() => {
                ready?;
                receiver.receive(&socket, &state)?;
            }
        }
    }
}

fn bind(multicast: Option<SocketAddr>) -> io::Result<UdpSocket> {
    let socket = Socket::new(Domain::IPV4, Type::DGRAM, Some(Protocol::UDP))?;
    let mut address = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
    if let Some(SocketAddr::V4(group)) = multicast {
        socket.set_reuse_address(true)?;
        socket.join_multicast_v4(group.ip(), &Ipv4Addr::LOCALHOST)?;
        socket.set_multicast_if_v4(&Ipv4Addr::LOCALHOST)?;
        address = SocketAddr::V4(group);
    }
    // Less than was asked for is what the kernel allows.
    let _ = socket.set_recv_buffer_size(SOCKET_BUFFER_BYTES);
    let _ = socket.set_send_buffer_size(SOCKET_BUFFER_BYTES);
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    UdpSocket::from_std(socket.into())
}

/// Sends flat out, each run of datagrams to every destination.
async fn flood(
    socket: &UdpSocket,
    state: &UdpSocketState,
    to: &[SocketAddr],
    segment_bytes: usize,
    seconds: f64,
) -> Result<Counters> {
    let segments = (SEND_BYTES_MAX / segment_bytes).clamp(1, state.max_gso_segments());
    let contents = vec![0x5a; segments * segment_bytes];
    let segment_size = (segments > 1).then_some(segment_bytes);
    let mut sent = Counters::default();
    let end = Instant::now() + Duration::from_secs_f64(seconds);
    while Instant::now() < end {
        for destination in to {
            let transmit = Transmit {
                destination: *destination,
                ecn: None,
                contents: &contents,
                segment_size,
                src_ip: None,
            };
            socket.writable().await?;
            let send = || state.try_send(socket.into(), &transmit);
            if socket.try_io(Interest::WRITABLE, send).is_ok() {
                sent.datagrams_sent += segments as u64;
                sent.bytes_sent += contents.len() as u64;
            }
        }
    }
    Ok(sent)
}

/// Buffers, and the count.
struct Receiver {
    buffers: Vec<Vec<u8>>,
    tally: Tally,
}

impl Receiver {
    fn new() -> Self {
        Self { buffers: vec![vec![0; RECEIVE_BYTES]; RECEIVE_BUFFERS], tally: Tally::default() }
    }

    fn receive(&mut self, socket: &UdpSocket, state: &UdpSocketState) -> Result<()> {
        let mut slices: Vec<IoSliceMut<'_>> =
            self.buffers.iter_mut().map(|buffer| IoSliceMut::new(buffer)).collect();
        let mut metas = [RecvMeta::default(); RECEIVE_BUFFERS];
        let receive = || state.recv(socket.into(), &mut slices, &mut metas);
        let count = match socket.try_io(Interest::READABLE, receive) {
            Ok(count) => count,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
            Err(error) => return Err(error.into()),
        };
        let now = monotonic_ns();
        if self.tally.first_ns == 0 {
            self.tally.first_ns = now;
        }
        self.tally.last_ns = now;
        for meta in metas.iter().take(count) {
            self.tally.bytes += meta.len as u64;
            self.tally.messages += meta.len.div_ceil(meta.stride.max(1)) as u64;
        }
        Ok(())
    }
}
