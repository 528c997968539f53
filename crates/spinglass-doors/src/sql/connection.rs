//! One client's connection: its socket, its bounds, and notifications in between.

use std::collections::BTreeSet;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use futures_util::{SinkExt as _, StreamExt as _};
use pgwire::api::cancel::DefaultCancelHandler;
use pgwire::api::{ClientInfo, NoopHandler, PgWireConnectionState as At};
use pgwire::error::PgWireError;
use pgwire::messages::extendedquery::{Close, TARGET_TYPE_BYTE_STATEMENT};
use pgwire::messages::response::NotificationResponse;
use pgwire::messages::{PgWireBackendMessage, PgWireFrontendMessage};
use pgwire::tokio::server::{
    MaybeTls, PgWireMessageServerCodec, negotiate_tls, process_error, process_message,
};
use tokio::net::TcpStream;
use tokio::sync::mpsc;
use tokio::time::timeout;
use tokio_util::codec::{Framed, FramedParts};

use super::bounded::Bounded;
use super::fault::{Fault, Remark};
use super::listen::{Notice, WAITING_MAX};
use super::login::{self, Login};
use super::session::{Handlers, Session};
use super::statement::Parsed;
use super::{Access, Door};

/// How long a client may take to come in.
const LOGIN_WITHIN: Duration = Duration::from_secs(10);
/// Prepared statements and portals with a name that a client may have.
const NAMED_MAX: usize = 256;
/// Rows of one answer to a client that asks for them in parts: it asks for more.
const ROWS_AT_ONCE_MAX: i32 = 10_000;
/// Bytes of a name.
const NAME_BYTES_MAX: usize = 1024;

type Socket = Framed<Bounded<MaybeTls>, PgWireMessageServerCodec<Parsed>>;

/// A client that has come in.
struct Client {
    socket: Socket,
    login: Arc<Login>,
    may_change: bool,
}

/// Names of prepared statements and portals: a client that makes more and more is told so.
#[derive(Debug, Default)]
struct Named(BTreeSet<(u8, String)>);

impl Named {
    fn admit(&mut self, message: &PgWireFrontendMessage) -> Result<(), Fault> {
        let name = match message {
            PgWireFrontendMessage::Parse(parse) => {
                parse.name.as_ref().map(|name| (TARGET_TYPE_BYTE_STATEMENT, name))
            }
            PgWireFrontendMessage::Bind(bind) => bind.portal_name.as_ref().map(|name| (b'P', name)),
            PgWireFrontendMessage::Close(Close { target_type, name: Some(name), .. }) => {
                self.0.remove(&(*target_type, name.clone()));
                None
            }
            _ => None,
        };
        let Some((kind, name)) = name.filter(|(_, name)| !name.is_empty()) else { return Ok(()) };
        if name.len() > NAME_BYTES_MAX || self.0.len() >= NAMED_MAX {
            let text = format!("a client has {NAMED_MAX} prepared statements and portals at most");
            return Err(Fault::new("54000", &text));
        }
        self.0.insert((kind, name.clone()));
        Ok(())
    }
}

/// Serves a client until it leaves.
///
/// # Errors
/// The connection broke.
pub(super) async fn converse(stream: TcpStream, door: Arc<Door>) -> io::Result<()> {
    let (mailbox, mut notices) = mpsc::channel(WAITING_MAX);
    let Ok(client) = timeout(LOGIN_WITHIN, come_in(stream, &door)).await else { return Ok(()) };
    let Some(Client { mut socket, login, may_change }) = client? else { return Ok(()) };
    let session = Session::new(Arc::clone(&door), may_change, mailbox);
    socket.session_extensions().insert(session);
    let mut named = Named::default();
    loop {
        let is_idle = matches!(socket.state(), At::ReadyForQuery);
        let message = tokio::select! {
            message = socket.next() => message,
            Some(notice) = notices.recv(), if is_idle => {
                tell(&mut socket, notice).await?;
                continue;
            }
        };
        match message {
            Some(Ok(message)) => {
                if !step(&mut socket, &door, &login, message, &mut named).await? {
                    return Ok(());
                }
            }
            Some(Err(error)) => {
                // What was sent can't be read, so neither can what follows.
                let text = error.to_string();
                process_error(&mut socket, Fault::new("08P01", &text).into(), false).await?;
                return Ok(());
            }
            None => return Ok(()),
        }
    }
}

/// Negotiates, bounds and authenticates. `None`: the client was not to stay.
async fn come_in(stream: TcpStream, door: &Arc<Door>) -> io::Result<Option<Client>> {
    let is_afar = !stream.peer_addr()?.ip().is_loopback();
    let Access { users, tls } = door.access.borrow().clone();
    let socket = negotiate_tls::<Parsed>(stream, tls).await?;
    let Some(socket) = socket else { return Ok(None) };
    let certificate = socket.client_certificates().and_then(<[_]>::first);
    let certificate = certificate.map(AsRef::as_ref);
    let login = Arc::new(Login::new(users.as_ref(), certificate, &door.connections));
    let in_the_clear = is_afar && !socket.is_secure();
    let parts = socket.into_parts();
    let inner = Bounded::new(parts.io, &parts.read_buf)?;
    let mut bounded = FramedParts::new::<PgWireBackendMessage>(inner, parts.codec);
    bounded.write_buf = parts.write_buf;
    let mut socket = Framed::from_parts(bounded);
    if in_the_clear {
        let fault = Fault::new("28000", "from another machine this door speaks TLS only");
        process_error(&mut socket, fault.into(), false).await?;
        return Ok(None);
    }
    let mut named = Named::default();
    while !matches!(socket.state(), At::ReadyForQuery) {
        let Some(Ok(message)) = socket.next().await else { return Ok(None) };
        if !step(&mut socket, door, &login, message, &mut named).await? {
            return Ok(None);
        }
    }
    let may_change = match users {
        Some(users) => users.may_change(login::name(&socket)),
        None => door.is_open,
    };
    Ok(Some(Client { socket, login, may_change }))
}

/// Answers a message. `false`: the connection is over.
async fn step(
    socket: &mut Socket,
    door: &Door,
    login: &Arc<Login>,
    mut message: PgWireFrontendMessage,
    named: &mut Named,
) -> io::Result<bool> {
    if let PgWireFrontendMessage::Execute(execute) = &mut message {
        // It makes room for as many rows as are asked for before there are any.
        execute.max_rows = execute.max_rows.clamp(0, ROWS_AT_ONCE_MAX);
    }
    if matches!(message, PgWireFrontendMessage::Terminate(_)) {
        return Ok(false);
    }
    let is_cancel = matches!(message, PgWireFrontendMessage::CancelRequest(_));
    let is_login = matches!(socket.state(), At::AwaitingStartup | At::AuthenticationInProgress);
    let is_extended = match socket.state() {
        At::CopyInProgress(is_extended) => is_extended,
        _ => message.is_extended_query(),
    };
    let done = match named.admit(&message) {
        Ok(()) => {
            let handlers = Arc::new(Handlers);
            let cancel = Arc::new(DefaultCancelHandler::new(Arc::clone(&door.connections)));
            let login = Arc::clone(login);
            let (simple, extended) = (Arc::clone(&handlers), handlers);
            let copy = Arc::new(NoopHandler);
            process_message(message, socket, login, simple, extended, copy, cancel).await
        }
        Err(fault) => Err(PgWireError::from(fault)),
    };
    if let Err(error) = done {
        let is_over = is_login || error.is_fatal();
        process_error(socket, error, is_extended).await?;
        return Ok(!is_over);
    }
    Ok(!is_cancel)
}

async fn tell(socket: &mut Socket, notice: Notice) -> io::Result<()> {
    let (pid, _) = socket.pid_and_secret_key();
    let message = match notice {
        Notice::Message { topic, payload } => PgWireBackendMessage::NotificationResponse(
            NotificationResponse::new(pid, topic.replace('\0', ""), payload.replace('\0', "")),
        ),
        Notice::Missed { topic, what } => {
            Remark::Warning(format!("{what} of {topic} did not get here")).into()
        }
    };
    socket.send(message).await
}
