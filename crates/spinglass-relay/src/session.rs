//! A member's connection, once it is let in: datagrams one way and the other, as fast as the slower
//! side, within the member's bounds.

use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, Instant};

use futures_util::stream::{SplitSink, SplitStream};
use futures_util::{SinkExt as _, StreamExt as _};
use spinglass_core::knock::Strange;
use spinglass_core::link::{Header, OVERHEAD_BYTES};
use tokio::net::UdpSocket;
use tokio::time::{sleep, timeout};
use tokio_tungstenite::tungstenite::Message;

use crate::counters::add;
use crate::limits::{IDLE_TIME, Pace, WRITE_TIME};
use crate::message::{Outgoing, RUN_BYTES_MAX, incoming};
use crate::ports::Port;
use crate::proof::wall_s;
use crate::server::{ServerSocket, Shared, Standing};

/// Datagrams taken from a UDP socket before what was made of them is written.
const DATAGRAMS_PER_TURN: usize = 256;
/// The longest that a connection goes on without a new proof, where nothing else says when: a
/// month. Timers are not made for all eternity.
const SESSION_TIME_MAX: Duration = Duration::from_secs(30 * 86_400);

/// Why a connection ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum End {
    /// The member went, or the network between.
    Gone,
    /// Nothing came for too long, or nothing could be written.
    Silent,
    /// It sent something that no member sends.
    Misbehaved,
    /// The member connected anew.
    TakenOver,
    /// Its certificate ended: it must prove itself again.
    Expired,
    /// It would not be let in any more.
    PutOut,
    /// The UDP socket failed.
    Broken,
}

/// Serves a member until something ends it.
pub(crate) async fn run(
    socket: ServerSocket,
    port: &Port,
    mut standing: Standing,
    shared: &Shared,
) -> End {
    let (sink, stream) = socket.split();
    let left = standing.until.saturating_sub(wall_s());
    let left = Duration::from_secs(left).min(SESSION_TIME_MAX);
    tokio::select! {
        end = outgoing(stream, &port.socket, shared) => end,
        end = bring(sink, &port.socket, shared) => end,
        () = port.taken.notified() => End::TakenOver,
        () = standing.ended() => End::PutOut,
        () = sleep(left) => End::Expired,
    }
}

/// What the member sends leaves from its port.
async fn outgoing(
    mut stream: SplitStream<ServerSocket>,
    socket: &UdpSocket,
    shared: &Shared,
) -> End {
    let mut pace = Pace::new(shared.limits.bytes_per_second, Instant::now());
    loop {
        let message = match timeout(IDLE_TIME, stream.next()).await {
            Ok(Some(Ok(message))) => message,
            Ok(_) => return End::Gone,
            Err(_) => return End::Silent,
        };
        match message {
            Message::Binary(message) => {
                let Ok(run) = Outgoing::parse(&message) else { return End::Misbehaved };
                let bytes = send(&run, socket, shared).await;
                let wait = pace.spend(bytes, Instant::now());
                if !wait.is_zero() {
                    sleep(wait).await;
                }
            }
            Message::Ping(_) | Message::Pong(_) => (),
            Message::Close(_) => return End::Gone,
            Message::Text(_) | Message::Frame(_) => return End::Misbehaved,
        }
    }
}

/// Sends a run to all of its addresses; returns how many bytes that were.
async fn send(run: &Outgoing<'_>, socket: &UdpSocket, shared: &Shared) -> usize {
    let tally = &shared.tally;
    let mut sent = 0;
    for to in &run.to {
        let to = SocketAddr::new(to.ip().to_canonical(), to.port());
        if !may_be_sent_to(to, shared.ports.is_loopback()) {
            add(&tally.barred, run.datagrams().count());
            continue;
        }
        for datagram in run.datagrams() {
            if !is_sealed(datagram) {
                add(&tally.foreign, 1);
                continue;
            }
            // An address that can't be reached is the member's affair, which gossips with others.
            if socket.send_to(datagram, to).await.is_ok() {
                add(&tally.datagrams_out, 1);
                add(&tally.bytes_out, datagram.len());
            }
            sent += datagram.len();
        }
    }
    sent
}

/// What arrives at the member's port goes to it. While its connection takes nothing, the socket's
/// buffer fills, and the system drops what comes then: nothing else waits for it.
async fn bring(
    mut sink: SplitSink<ServerSocket, Message>,
    socket: &UdpSocket,
    shared: &Shared,
) -> End {
    let mut pace = Pace::new(shared.limits.bytes_per_second, Instant::now());
    let mut buffer = vec![0; RUN_BYTES_MAX];
    loop {
        if socket.readable().await.is_err() {
            return End::Broken;
        }
        let (runs, bytes) = gather(socket, &mut buffer, shared);
        if runs.is_empty() {
            continue;
        }
        let written = async {
            for run in runs {
                sink.feed(Message::Binary(run.into())).await?;
            }
            sink.flush().await
        };
        match timeout(WRITE_TIME, written).await {
            Ok(Ok(())) => (),
            Ok(Err(_)) => return End::Gone,
            Err(_) => return End::Silent,
        }
        let wait = pace.spend(bytes, Instant::now());
        if !wait.is_zero() {
            sleep(wait).await;
        }
    }
}

/// Takes what is there and makes messages of it: datagrams of one size and address in a row go
/// together. Returns the messages, and how many bytes of datagrams are in them.
fn gather(socket: &UdpSocket, buffer: &mut [u8], shared: &Shared) -> (Vec<Vec<u8>>, usize) {
    let mut runs: Vec<Vec<u8>> = Vec::new();
    let mut open: Option<(SocketAddr, usize, usize)> = None;
    let mut total = 0;
    for _ in 0..DATAGRAMS_PER_TURN {
        let (length, from) = match socket.try_recv_from(buffer) {
            Ok(received) => received,
            Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => break,
            // An error of a datagram sent before: nobody listens where it went.
            Err(_) => continue,
        };
        let from = SocketAddr::new(from.ip().to_canonical(), from.port());
        let Some(datagram) = buffer.get(..length).filter(|datagram| is_sealed(datagram)) else {
            add(&shared.tally.foreign, 1);
            continue;
        };
        add(&shared.tally.datagrams_in, 1);
        add(&shared.tally.bytes_in, length);
        total += length;
        let joins = open.filter(|(whose, segment, bytes)| {
            *whose == from && length <= *segment && bytes + length <= RUN_BYTES_MAX
        });
        match (joins, runs.last_mut()) {
            (Some((_, segment, bytes)), Some(run)) => {
                run.extend_from_slice(datagram);
                // After a shorter one nothing can follow.
                open = (length == segment).then_some((from, segment, bytes + length));
            }
            _ => {
                let mut run = incoming(from, length);
                run.extend_from_slice(datagram);
                runs.push(run);
                open = Some((from, length, length));
            }
        }
    }
    (runs, total)
}

/// Whether something has the form of a sealed datagram, or of what strangers say before they have a
/// key. A relay is of no use for anything else, and brings its members nothing else.
fn is_sealed(datagram: &[u8]) -> bool {
    let has_header = datagram.len() >= OVERHEAD_BYTES && Header::parse(datagram).is_ok();
    has_header || Strange::parse(datagram).is_ok()
}

/// Whether a relay sends to this address: one host's, on a network; its own machine's and its
/// link's only if it is there for its own machine.
fn may_be_sent_to(to: SocketAddr, is_loopback: bool) -> bool {
    let is_near = match to.ip() {
        IpAddr::V4(ip) => ip.is_loopback() || ip.is_link_local(),
        IpAddr::V6(ip) => ip.is_loopback() || ip.is_unicast_link_local(),
    };
    let is_group = match to.ip() {
        IpAddr::V4(ip) => ip.is_multicast() || ip.is_broadcast() || ip.octets()[0] == 0,
        IpAddr::V6(ip) => ip.is_multicast() || ip.is_unspecified(),
    };
    to.port() != 0 && !is_group && (is_loopback || !is_near)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_goes_to_many_or_to_the_relays_own_machine() {
        let may = |text: &str, is_loopback| {
            may_be_sent_to(text.parse().expect("an address"), is_loopback)
        };
        for text in ["192.0.2.1:7710", "10.1.2.3:1", "[2001:db8::1]:7710"] {
            assert!(may(text, false) && may(text, true), "{text}");
        }
        for text in ["127.0.0.1:7710", "127.9.9.9:1", "[::1]:1", "169.254.1.1:1", "[fe80::1]:1"] {
            assert!(!may(text, false) && may(text, true), "{text}");
        }
        for text in [
            "224.0.0.1:1",
            "239.192.77.10:7711",
            "255.255.255.255:1",
            "0.0.0.0:1",
            "0.1.2.3:1",
            "192.0.2.1:0",
            "[ff02::1]:1",
            "[::]:1",
        ] {
            assert!(!may(text, false) && !may(text, true), "{text}");
        }
    }
}
