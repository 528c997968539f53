//! A member's side: a connection to a relay that is made anew whenever it is lost, and the queues
//! between it and the member's loop.

use std::fmt;
use std::net::SocketAddr;
use std::ops::ControlFlow;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use bytes::Bytes;
use futures_util::stream::{SplitSink, SplitStream};
use futures_util::{SinkExt as _, StreamExt as _};
use spinglass_core::identity::Chain;
use tokio::net::TcpStream;
use tokio::time::{interval, sleep, timeout};
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Message;

use crate::error::RelayError;
use crate::limits::{HANDSHAKE_TIME, IDLE_TIME, WRITE_TIME};
use crate::message::{FromRelay, Incoming, Refusal, VERSION, outgoing};
use crate::proof::Credentials;
use crate::proxy::{self, Proxy};
use crate::queue::Queue;
use crate::tls::{ClientTls, binding};
use crate::url::RelayUrl;
use crate::web_socket;

/// Bytes that wait for the connection at most; the member's loop then waits, as for a full socket.
const OUTGOING_BYTES_MAX: usize = 512 << 10;
/// Bytes that wait for the member's loop at most: as large as its UDP socket's buffer. Beyond, what
/// comes is dropped.
const INCOMING_BYTES_MAX: usize = 4 << 20;
/// Time between pings, which keep the ways through firewalls open, and without whose answers the
/// connection counts as lost.
const PING_TIME: Duration = Duration::from_secs(15);
/// Until a lost connection is made anew, at first. It doubles with each failure.
const AGAIN_MIN: Duration = Duration::from_millis(200);
/// The same at most: a relay that comes back is not stormed, and members are back in a minute.
const AGAIN_MAX: Duration = Duration::from_secs(30);
/// A connection that held for so long begins the doubling anew.
const STEADY_TIME: Duration = Duration::from_secs(30);

/// How to reach a relay.
#[derive(Debug, Clone)]
pub struct Way {
    /// Where it is.
    pub url: RelayUrl,
    /// Whom it may be certified by.
    pub tls: ClientTls,
    /// The HTTP proxy on the way, if there is one.
    pub proxy: Option<Proxy>,
    /// What the member proves itself with.
    pub credentials: Credentials,
}

/// What a tunnel counts. It only grows.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct TunnelStats {
    /// Connections that a relay let in.
    pub connections: u64,
    /// Attempts that failed.
    pub failures: u64,
    /// Datagrams dropped on the way out, as there was no connection.
    pub dropped_out: u64,
    /// Runs of datagrams dropped on the way in, as the member's loop was too slow.
    pub dropped_in: u64,
}

/// A member's end of a tunnel through a relay.
#[derive(Debug, Clone)]
pub struct Tunnel(Arc<Shared>);

struct Shared {
    outgoing: Queue,
    incoming: Queue,
    state: Mutex<State>,
    /// The chain of certificates to show from the next connection on, if it was renewed.
    renewed: Mutex<Option<Chain>>,
    failures: AtomicU64,
    connections: AtomicU64,
    dropped_out: AtomicU64,
    dropped_in: AtomicU64,
}

#[derive(Debug, Default)]
struct State {
    /// Where others reach the member; none: there is no connection.
    address: Option<SocketAddr>,
    /// Set when the address changes, until somebody looks.
    changed: bool,
    looker: Option<Waker>,
}

impl fmt::Debug for Shared {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Tunnel").field("state", &self.state).finish_non_exhaustive()
    }
}

type ClientSocket = WebSocketStream<TlsStream<TcpStream>>;

/// A connection that a relay has let in.
#[derive(Debug)]
pub struct Connection {
    socket: ClientSocket,
    address: SocketAddr,
}

impl Connection {
    /// Where others reach the member through it.
    #[must_use]
    pub const fn address(&self) -> SocketAddr {
        self.address
    }
}

impl Default for Tunnel {
    fn default() -> Self {
        Self(Arc::new(Shared {
            outgoing: Queue::new(OUTGOING_BYTES_MAX),
            incoming: Queue::new(INCOMING_BYTES_MAX),
            state: Mutex::default(),
            renewed: Mutex::default(),
            failures: AtomicU64::default(),
            connections: AtomicU64::default(),
            dropped_out: AtomicU64::default(),
            dropped_in: AtomicU64::default(),
        }))
    }
}

impl Tunnel {
    fn state(&self) -> MutexGuard<'_, State> {
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Where others reach the member through the relay, while there is a connection.
    #[must_use]
    pub fn address(&self) -> Option<SocketAddr> {
        self.state().address
    }

    /// The address, if it has changed since this was last asked: none, when the connection is lost.
    pub fn take_change(&self) -> Option<Option<SocketAddr>> {
        let mut state = self.state();
        std::mem::take(&mut state.changed).then_some(state.address)
    }

    /// Shows this chain of certificates from the next connection on.
    pub fn renew(&self, chain: Chain) {
        *self.renewed() = Some(chain);
    }

    fn renewed(&self) -> MutexGuard<'_, Option<Chain>> {
        self.0.renewed.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What was counted.
    #[must_use]
    pub fn stats(&self) -> TunnelStats {
        let read = |count: &AtomicU64| count.load(Ordering::Relaxed);
        TunnelStats {
            connections: read(&self.0.connections),
            failures: read(&self.0.failures),
            dropped_out: read(&self.0.dropped_out),
            dropped_in: read(&self.0.dropped_in),
        }
    }

    /// Sends a run of datagrams to each of these addresses; `Break`: there is no room, and
    /// [`poll_room`](Self::poll_room) tells when there is. Without a connection it is dropped.
    pub fn send(&self, to: &[SocketAddr], segment_bytes: usize, bytes: &[u8]) -> ControlFlow<()> {
        if self.address().is_none() {
            self.0.dropped_out.fetch_add(1, Ordering::Relaxed);
            return ControlFlow::Continue(());
        }
        if self.0.outgoing.push(outgoing(to, segment_bytes, bytes)) {
            ControlFlow::Continue(())
        } else {
            ControlFlow::Break(())
        }
    }

    /// Ready when something has arrived, or the address has changed.
    pub fn poll_readable(&self, cx: &mut Context<'_>) -> Poll<()> {
        let mut state = self.state();
        if state.changed {
            return Poll::Ready(());
        }
        state.looker = Some(cx.waker().clone());
        drop(state);
        self.0.incoming.poll_filled(cx)
    }

    /// Ready when there is room to send.
    pub fn poll_room(&self, cx: &mut Context<'_>) -> Poll<()> {
        self.0.outgoing.poll_room(cx)
    }

    /// The next run of datagrams that has arrived.
    #[must_use]
    pub fn receive(&self) -> Option<Incoming> {
        // Only what parses is put there.
        self.0.incoming.pop().and_then(|message| Incoming::parse(message).ok())
    }

    /// Keeps the tunnel connected, for ever: `first`, if there is one, and then whatever
    /// [`connect`] makes. To be run beside the member's loop, and dropped with it.
    pub async fn run(self, mut way: Way, first: Option<Connection>) {
        let mut next = first;
        let (mut again, mut port) = (AGAIN_MIN, 0);
        loop {
            let connected = match next.take() {
                Some(connection) => Ok(connection),
                None => {
                    way.credentials.chain = self.renewed().take().or(way.credentials.chain);
                    connect(&way, port).await
                }
            };
            match connected {
                Ok(connection) => {
                    port = connection.address.port();
                    let since = tokio::time::Instant::now();
                    self.0.connections.fetch_add(1, Ordering::Relaxed);
                    self.set_address(Some(connection.address));
                    let end = self.pump(connection.socket).await;
                    self.set_address(None);
                    self.0.outgoing.clear();
                    tracing::warn!(url = %way.url, end, "lost the relay; connecting again");
                    if since.elapsed() >= STEADY_TIME {
                        again = AGAIN_MIN;
                    }
                }
                Err(error) => {
                    if self.0.failures.fetch_add(1, Ordering::Relaxed) == 0 {
                        tracing::warn!(%error, "no relay; trying again");
                    }
                }
            }
            sleep(jittered(again)).await;
            again = AGAIN_MAX.min(again * 2);
        }
    }

    fn set_address(&self, address: Option<SocketAddr>) {
        let mut state = self.state();
        (state.address, state.changed) = (address, true);
        let looker = state.looker.take();
        drop(state);
        looker.into_iter().for_each(Waker::wake);
    }

    /// Moves datagrams until the connection is lost; returns how.
    async fn pump(&self, socket: ClientSocket) -> &'static str {
        let (sink, stream) = socket.split();
        tokio::select! {
            end = self.write(sink) => end,
            end = self.read(stream) => end,
        }
    }

    async fn write(&self, mut sink: SplitSink<ClientSocket, Message>) -> &'static str {
        let mut pings = interval(PING_TIME);
        loop {
            let filled = std::future::poll_fn(|cx| self.0.outgoing.poll_filled(cx));
            let is_ping = tokio::select! {
                () = filled => false,
                _ = pings.tick() => true,
            };
            let written = async {
                if is_ping {
                    sink.feed(Message::Ping(Bytes::new())).await?;
                }
                while let Some(message) = self.0.outgoing.pop() {
                    sink.feed(Message::Binary(message)).await?;
                }
                sink.flush().await
            };
            match timeout(WRITE_TIME, written).await {
                Ok(Ok(())) => (),
                Ok(Err(_)) => return "the connection broke",
                Err(_) => return "nothing could be written",
            }
        }
    }

    async fn read(&self, mut stream: SplitStream<ClientSocket>) -> &'static str {
        loop {
            match timeout(IDLE_TIME, stream.next()).await {
                Ok(Some(Ok(Message::Binary(message)))) => {
                    if Incoming::check(&message).is_err() {
                        return "the relay sent something that no relay sends";
                    }
                    if !self.0.incoming.push(message) {
                        self.0.dropped_in.fetch_add(1, Ordering::Relaxed);
                    }
                }
                Ok(Some(Ok(Message::Ping(_) | Message::Pong(_)))) => (),
                Ok(Some(Ok(_)) | None) => return "the relay closed it",
                Ok(Some(Err(_))) => return "the connection broke",
                Err(_) => return "nothing came for too long",
            }
        }
    }
}

/// Connects to a relay, once; wishes for `port` there, unless it is 0.
///
/// # Errors
/// It can't be reached, is none, or does not let this member in.
pub async fn connect(way: &Way, port: u16) -> Result<Connection, RelayError> {
    let url = || way.url.clone();
    let unreachable = |what: String| RelayError::Unreachable { url: url(), what };
    match timeout(HANDSHAKE_TIME, attempt(way, port)).await {
        Ok(Ok(connection)) => Ok(connection),
        Ok(Err(Failure::Unreachable(what))) => Err(unreachable(what)),
        Ok(Err(Failure::NoRelay(what))) => Err(RelayError::NoRelay { url: url(), what }),
        Ok(Err(Failure::Refused(refusal))) => Err(RelayError::Refused { url: url(), refusal }),
        Err(_) => Err(unreachable("it does not answer".into())),
    }
}

/// Why there is no connection.
enum Failure {
    /// Nobody is there, or nothing gets there.
    Unreachable(String),
    /// Whoever is there is no relay that this member trusts, as far as it can tell.
    NoRelay(String),
    /// The relay has said so.
    Refused(Refusal),
}

async fn attempt(way: &Way, port: u16) -> Result<Connection, Failure> {
    let no_relay = |what: &str| Failure::NoRelay(what.to_owned());
    let stream = proxy::reach(&way.url, way.proxy.as_ref()).await.map_err(Failure::Unreachable)?;
    // Without it things are slower, and work.
    let _ = stream.set_nodelay(true);
    let name = way.url.server_name();
    let name = name.ok_or_else(|| no_relay("its name is none that a certificate can be for"))?;
    let connector = TlsConnector::from(Arc::clone(&way.tls.0));
    let stream = connector.connect(name, stream).await.map_err(|error| {
        let what = format!("TLS failed: {error}");
        // An end in the middle may be anything.
        let is_end = error.kind() == std::io::ErrorKind::UnexpectedEof;
        if is_end { Failure::Unreachable(what) } else { Failure::NoRelay(what) }
    })?;
    let mut socket = web_socket::begin(stream, &way.url).await.map_err(Failure::NoRelay)?;
    let nonce = match hear(&mut socket).await? {
        FromRelay::Challenge { version: VERSION, nonce } => nonce,
        FromRelay::Challenge { version, .. } => {
            return Err(no_relay(&format!("it speaks version {version}, and this is {VERSION}")));
        }
        FromRelay::Refusal(refusal) => return Err(Failure::Refused(refusal)),
        FromRelay::Welcome(_) => return Err(no_relay("it welcomes whom it has not asked")),
    };
    let binding = binding(socket.get_ref().get_ref().1, &nonce);
    let binding = binding.ok_or_else(|| no_relay("TLS gives no secret"))?;
    let proof = way.credentials.prove(&binding, port).encode();
    let sent = socket.send(Message::Binary(proof)).await;
    sent.map_err(|error| Failure::Unreachable(error.to_string()))?;
    match hear(&mut socket).await? {
        FromRelay::Welcome(address) => Ok(Connection { socket, address }),
        FromRelay::Refusal(refusal) => Err(Failure::Refused(refusal)),
        FromRelay::Challenge { .. } => Err(no_relay("it asks again and again")),
    }
}

async fn hear(socket: &mut ClientSocket) -> Result<FromRelay, Failure> {
    let no_relay = || Failure::NoRelay("it does not speak as a relay does".into());
    match socket.next().await {
        Some(Ok(Message::Binary(message))) => FromRelay::parse(&message).map_err(|_| no_relay()),
        Some(Ok(_)) => Err(no_relay()),
        Some(Err(error)) => Err(Failure::Unreachable(error.to_string())),
        None => Err(Failure::Unreachable("it closed the connection".into())),
    }
}

/// Between half of it and all of it, so that members that lost a relay together don't come back
/// together.
fn jittered(wait: Duration) -> Duration {
    let share = f64::from(u32::from_le_bytes(spinglass_crypto::random())) / f64::from(u32::MAX);
    wait.mul_f64(0.5 + share / 2.0)
}
