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
use tokio::sync::watch;
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
    /// By which door it lets in whom.
    pub door: Door,
    /// What it gives.
    pub limits: Limits,
}

/// What may change while a relay runs.
#[derive(Debug)]
pub struct Door {
    /// Its certificate and key.
    pub tls: ServerTls,
    /// Whom it lets in.
    pub guard: Guard,
}

/// Changes a relay's door while it runs.
#[derive(Debug)]
pub struct Doorkeeper(watch::Sender<Arc<Door>>);

impl Doorkeeper {
    /// Lets in by this door from now on. Members whose proof does not hold by it are put out; all
    /// others notice nothing.
    pub fn change(&self, door: Door) {
        self.0.send_replace(Arc::new(door));
    }
}

/// A relay that listens.
#[derive(Debug)]
pub struct Relay {
    listener: TcpListener,
    address: SocketAddr,
    shared: Arc<Shared>,
}

/// What all connections share.
#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) door: watch::Receiver<Arc<Door>>,
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
    pub async fn bind(settings: Settings) -> Result<(Self, Doorkeeper), RelayError> {
        let Settings { listen, public, ports, door, limits } = settings;
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
        let (keeper, door) = watch::channel(Arc::new(door));
        let shared = Arc::new(Shared { door, limits, ports, tally, gate });
        Ok((Self { listener, address, shared }, Doorkeeper(keeper)))
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
        let Self { listener, address, shared } = self;
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
            connections.spawn(serve(stream, Arc::clone(&shared), place));
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
async fn serve(stream: TcpStream, shared: Arc<Shared>, place: Place) {
    let from = stream.peer_addr();
    let admitted = timeout(HANDSHAKE_TIME, admit(stream, &shared)).await;
    drop(place);
    match admitted {
        Ok(Some(Ok((socket, port, standing)))) => {
            add(&shared.tally.admitted, 1);
            tracing::debug!(?from, address = %port.address(), "a member is let in");
            let end = session::run(socket, &port, standing, &shared).await;
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

type Admitted = (ServerSocket, Port, Standing);

/// By what a member was let in, and until when that holds.
#[derive(Debug)]
pub(crate) struct Standing {
    /// Changes of the door are seen here.
    door: watch::Receiver<Arc<Door>>,
    binding: [u8; 32],
    proof: Proof,
    /// In seconds of the wall clock.
    pub(crate) until: u64,
}

impl Standing {
    /// Waits until the member would not be let in any more.
    pub(crate) async fn ended(&mut self) {
        while self.door.changed().await.is_ok() {
            let door = Arc::clone(&self.door.borrow_and_update());
            if door.guard.check(&self.binding, &self.proof).is_err() {
                return;
            }
        }
        // Nobody is left to change it.
        std::future::pending::<()>().await;
    }
}

/// TLS, WebSocket, challenge, proof. `None`: it did not get as far as a proof.
async fn admit(stream: TcpStream, shared: &Shared) -> Option<Result<Admitted, Refusal>> {
    stream.set_nodelay(true).ok()?;
    let mut door = shared.door.clone();
    let current = Arc::clone(&door.borrow_and_update());
    let stream = TlsAcceptor::from(Arc::clone(&current.tls.0)).accept(stream).await.ok()?;
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
        let until = current.guard.check(&binding, &proof)?;
        let PublicKey(key) = proof.public_key;
        let port = shared.ports.open(key, proof.port).ok_or(Refusal::Full)?;
        Ok((port, Standing { door, binding, proof, until }))
    });
    match checked {
        Ok((port, standing)) => {
            say(&mut socket, &FromRelay::Welcome(port.address())).await?;
            Some(Ok((socket, port, standing)))
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
