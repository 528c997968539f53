//! The relay: whoever proves that it belongs to the group gets a UDP port of the relay's, as with
//! TURN (RFC 8656). What arrives there goes to the member, and what the member sends leaves from
//! there. So to all others the member is at the relay's address, and they need not know of relays.
//!
//! A relay holds no key of what it carries: it can drop, delay and repeat datagrams, as any network
//! can, and neither read nor alter them. Nothing of size is sent to a connection before its proof.

use std::net::{IpAddr, SocketAddr};
use std::ops::RangeInclusive;
use std::sync::Arc;

use bytes::Bytes;
use futures_util::{SinkExt as _, StreamExt as _};
use spinglass_core::crypto::PublicKey;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tokio::time::timeout;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Message;

use crate::counters::{Counters, Tally, add};
use crate::error::RelayError;
use crate::limits::{Gate, HANDSHAKE_TIME, Limits, Place};
use crate::message::{FromRelay, Proof, Refusal, VERSION};
use crate::ports::{Port, Ports};
use crate::proof::Guard;
use crate::session;
use crate::tls::{ServerTls, binding};
use crate::web_socket;

/// How a relay is to be run.
#[derive(Debug)]
pub struct Settings {
    /// Where it listens for TLS.
    pub listen: SocketAddr,
    /// By which address members are reached, if not the one it listens on.
    pub public: Option<IpAddr>,
    /// Which UDP ports members get; none: any.
    pub ports: Option<RangeInclusive<u16>>,
    /// Its certificate and key.
    pub tls: ServerTls,
    /// Whom it lets in.
    pub guard: Guard,
    /// What it gives.
    pub limits: Limits,
}

/// A relay that listens.
#[derive(Debug)]
pub struct Relay {
    listener: TcpListener,
    tls: ServerTls,
    address: SocketAddr,
    shared: Arc<Shared>,
}

/// What all connections share.
#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) guard: Guard,
    pub(crate) limits: Limits,
    pub(crate) ports: Ports,
    pub(crate) tally: Arc<Tally>,
    gate: Arc<Gate>,
}

/// Reads a relay's counters, also once it has stopped.
#[derive(Debug, Clone)]
pub struct Watch(Arc<Tally>);

impl Watch {
    /// Everything counted so far.
    #[must_use]
    pub fn counters(&self) -> Counters {
        self.0.read()
    }
}

pub(crate) type ServerSocket = WebSocketStream<TlsStream<TcpStream>>;

impl Relay {
    /// Begins to listen.
    ///
    /// # Errors
    /// It can't listen there, or nobody could tell by which address members are reached.
    pub async fn bind(settings: Settings) -> Result<Self, RelayError> {
        let Settings { listen, public, ports, tls, guard, limits } = settings;
        let public = public.unwrap_or_else(|| listen.ip());
        if public.is_unspecified() {
            return Err(RelayError::NoPublicAddress(listen));
        }
        let failed = |source| RelayError::Listen { address: listen, source };
        let listener = TcpListener::bind(listen).await.map_err(failed)?;
        let address = listener.local_addr().map_err(failed)?;
        // A public address that is not the machine's is some router's that passes everything on.
        let bind = if listen.is_ipv4() == public.is_ipv4() {
            listen.ip()
        } else if public.is_ipv4() {
            IpAddr::from([0; 4])
        } else {
            IpAddr::from([0_u16; 8])
        };
        let ports = Ports::new(bind, public, ports, limits.members_max);
        let (tally, gate) = <(Arc<Tally>, Arc<Gate>)>::default();
        let shared = Arc::new(Shared { guard, limits, ports, tally, gate });
        Ok(Self { listener, tls, address, shared })
    }

    /// Where it listens.
    #[must_use]
    pub const fn local_addr(&self) -> SocketAddr {
        self.address
    }

    /// A view of its counters.
    #[must_use]
    pub fn watch(&self) -> Watch {
        Watch(Arc::clone(&self.shared.tally))
    }

    /// Serves until it is dropped; then every connection ends.
    ///
    /// # Errors
    /// The system will not let it accept connections any more.
    pub async fn run(self) -> Result<(), RelayError> {
        let Self { listener, tls, address, shared } = self;
        let acceptor = TlsAcceptor::from(tls.0);
        let mut connections = JoinSet::new();
        let mut sweep = tokio::time::interval(crate::limits::PORT_KEPT_TIME / 4);
        loop {
            let (stream, from) = tokio::select! {
                accepted = listener.accept() => match accepted {
                    Ok(accepted) => accepted,
                    Err(source) if is_of_one(&source) => continue,
                    Err(source) => return Err(RelayError::Listen { address, source }),
                },
                Some(_) = connections.join_next() => continue,
                _ = sweep.tick() => {
                    shared.ports.sweep();
                    continue;
                }
            };
            add(&shared.tally.connections, 1);
            let Some(place) = shared.gate.enter(from.ip()) else {
                add(&shared.tally.turned_away, 1);
                continue;
            };
            connections.spawn(serve(stream, acceptor.clone(), Arc::clone(&shared), place));
        }
    }
}

/// Whether an error of `accept` is that of the connection that was about to come, or one that
/// passes.
fn is_of_one(error: &std::io::Error) -> bool {
    use std::io::ErrorKind;
    let passes = matches!(
        error.kind(),
        ErrorKind::ConnectionAborted
            | ErrorKind::ConnectionReset
            | ErrorKind::ConnectionRefused
            | ErrorKind::Interrupted
    );
    if !passes {
        tracing::warn!(%error, "a connection can't be accepted");
    }
    // Files or memory of the process: others end, and there is some again.
    passes || matches!(error.raw_os_error(), Some(23 | 24 | 105 | 12))
}

/// One connection from its beginning to its end.
async fn serve(stream: TcpStream, acceptor: TlsAcceptor, shared: Arc<Shared>, place: Place) {
    let from = stream.peer_addr();
    let admitted = timeout(HANDSHAKE_TIME, admit(stream, acceptor, &shared)).await;
    drop(place);
    match admitted {
        Ok(Some(Ok((socket, port, until)))) => {
            add(&shared.tally.admitted, 1);
            tracing::debug!(?from, address = %port.address(), "a member is let in");
            let end = session::run(socket, &port, until, &shared).await;
            tracing::debug!(?from, address = %port.address(), ?end, "a member's connection ended");
            add(&shared.tally.ended, 1);
        }
        Ok(Some(Err(refusal))) => {
            add(&shared.tally.refused, 1);
            tracing::debug!(?from, %refusal, "not let in");
        }
        Ok(None) | Err(_) => add(&shared.tally.failed, 1),
    }
}

type Admitted = (ServerSocket, Port, u64);

/// TLS, WebSocket, challenge, proof. `None`: it did not get as far as a proof.
async fn admit(
    stream: TcpStream,
    acceptor: TlsAcceptor,
    shared: &Shared,
) -> Option<Result<Admitted, Refusal>> {
    stream.set_nodelay(true).ok()?;
    let stream = acceptor.accept(stream).await.ok()?;
    let nonce = spinglass_crypto::random();
    let binding = binding(stream.get_ref().1, &nonce)?;
    let mut socket = web_socket::accept(stream).await?;
    let challenge = FromRelay::Challenge { version: VERSION, nonce };
    say(&mut socket, &challenge).await?;
    let proof = match socket.next().await?.ok()? {
        Message::Binary(message) => Proof::parse(&message).map_err(|_| Refusal::Version),
        _ => Err(Refusal::Version),
    };
    let checked = proof.and_then(|proof| {
        let until = shared.guard.check(&binding, &proof)?;
        let PublicKey(key) = proof.public_key;
        Ok((shared.ports.open(key, proof.port).ok_or(Refusal::Full)?, until))
    });
    match checked {
        Ok((port, until)) => {
            say(&mut socket, &FromRelay::Welcome(port.address())).await?;
            Some(Ok((socket, port, until)))
        }
        Err(refusal) => {
            say(&mut socket, &FromRelay::Refusal(refusal)).await?;
            let _ = socket.close(None).await;
            Some(Err(refusal))
        }
    }
}

async fn say(socket: &mut ServerSocket, said: &FromRelay) -> Option<()> {
    let message: Bytes = said.encode();
    socket.send(Message::Binary(message)).await.ok()
}
