//! A socket with bounds: no message larger than a client needs, none without its form, no reader so
//! slow that its rows stay for ever.

use std::io;
use std::mem::MaybeUninit;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::BytesMut;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Instant, Sleep, sleep};

use super::form::{self, First};

/// Bytes of a message from a client: a statement and its parameters.
pub(super) const MESSAGE_BYTES_MAX: usize = 1 << 20;
/// Bytes of the first one.
const STARTUP_BYTES_MAX: usize = 10_000;
/// Bytes read at once.
const READ_BYTES: usize = 8 << 10;
/// How long a client may take to take what is sent.
const TAKEN_WITHIN: Duration = Duration::from_secs(30);

/// What has been read and not handed on: whole messages, and behind them one that is not whole.
#[derive(Debug, Default)]
struct Messages {
    bytes: BytesMut,
    /// How many of the bytes are of messages that are whole and have their form.
    whole: usize,
    /// Whether the connection has begun: messages have types then.
    has_begun: bool,
    /// Whether a login has begun: how it goes on is a matter of its mechanism.
    has_login: bool,
}

impl Messages {
    /// Takes in bytes.
    ///
    /// # Errors
    /// A message is too long, or has no form that there is.
    fn admit(&mut self, read: &[u8]) -> io::Result<()> {
        self.bytes.extend_from_slice(read);
        while let Some(length) = self.next_length()? {
            self.whole += length;
        }
        Ok(())
    }

    /// How long the next message is, if it is there.
    fn next_length(&mut self) -> io::Result<Option<usize>> {
        let rest = self.bytes.get(self.whole..).unwrap_or(&[]);
        let typed = usize::from(self.has_begun);
        let Some(told) = rest.get(typed..).and_then(<[u8]>::first_chunk::<4>) else {
            return Ok(None);
        };
        let told = u32::from_be_bytes(*told) as usize;
        let most = if self.has_begun { MESSAGE_BYTES_MAX } else { STARTUP_BYTES_MAX };
        if told > most {
            return Err(io::Error::other(format!("a message has {most} bytes at most")));
        }
        let head = typed + size_of::<u32>();
        let Some(message) = rest.get(..typed + told) else { return Ok(None) };
        let body = message.get(head..).ok_or_else(malformed)?;
        let is_good = match message.first() {
            Some(kind) if self.has_begun => {
                let is_first_login = *kind == b'p' && !std::mem::replace(&mut self.has_login, true);
                if is_first_login { form::is_login(body) } else { form::is_good(*kind, body) }
            }
            _ => match form::first(body) {
                Some(first) => {
                    self.has_begun = first == First::Start;
                    true
                }
                None => false,
            },
        };
        if is_good { Ok(Some(message.len())) } else { Err(malformed()) }
    }

    /// Hands on what is whole, as much as there is room for. `false`: nothing is.
    fn hand_on(&mut self, buffer: &mut ReadBuf<'_>) -> bool {
        let bytes = self.whole.min(buffer.remaining());
        buffer.put_slice(&self.bytes.split_to(bytes));
        self.whole -= bytes;
        if self.bytes.is_empty() {
            // A long message's memory goes with it.
            self.bytes = BytesMut::new();
        }
        bytes > 0
    }
}

fn malformed() -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, "a message does not have the form of its type")
}

/// The socket.
pub(super) struct Bounded<S> {
    inner: S,
    messages: Messages,
    /// Since when the other side has taken nothing.
    stuck: Option<Pin<Box<Sleep>>>,
}

impl<S> Bounded<S> {
    /// Bounds a socket of which some bytes have been read already.
    ///
    /// # Errors
    /// They are no messages of a client's.
    pub(super) fn new(inner: S, read: &[u8]) -> io::Result<Self> {
        let mut messages = Messages::default();
        messages.admit(read)?;
        Ok(Self { inner, messages, stuck: None })
    }

    /// Notes whether the other side takes what is sent.
    fn progress<T>(
        &mut self,
        cx: &mut Context<'_>,
        poll: Poll<io::Result<T>>,
    ) -> Poll<io::Result<T>> {
        if poll.is_ready() {
            self.stuck = None;
            return poll;
        }
        let stuck = self.stuck.get_or_insert_with(|| Box::pin(sleep(TAKEN_WITHIN)));
        ready!(stuck.as_mut().poll(cx));
        stuck.as_mut().reset(Instant::now() + TAKEN_WITHIN);
        Poll::Ready(Err(io::ErrorKind::TimedOut.into()))
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Bounded<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let mut piece = [MaybeUninit::uninit(); READ_BYTES];
        while !self.messages.hand_on(buffer) {
            let mut read = ReadBuf::uninit(&mut piece);
            ready!(Pin::new(&mut self.inner).poll_read(cx, &mut read))?;
            if read.filled().is_empty() {
                break;
            }
            self.messages.admit(read.filled())?;
        }
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Bounded<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let poll = Pin::new(&mut self.inner).poll_write(cx, bytes);
        self.progress(cx, poll)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let poll = Pin::new(&mut self.inner).poll_flush(cx);
        self.progress(cx, poll)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(kind: u8, body: &[u8]) -> Vec<u8> {
        let length = u32::try_from(body.len() + 4).unwrap().to_be_bytes();
        [&[kind], &length[..], body].concat()
    }

    /// What is handed on of bytes that come in pieces.
    fn passed(bytes: &[u8], piece: usize) -> io::Result<Vec<u8>> {
        let (mut messages, mut all) = (Messages::default(), Vec::new());
        for piece in bytes.chunks(piece) {
            messages.admit(piece)?;
            let mut room = [0; 7];
            let mut buffer = ReadBuf::new(&mut room);
            while messages.hand_on(&mut buffer) {
                all.extend_from_slice(buffer.filled());
                buffer.clear();
            }
        }
        Ok(all)
    }

    #[test]
    fn whole_messages_pass_however_they_come_apart() {
        let mut all = [8_u32.to_be_bytes(), [4, 210, 22, 47]].concat();
        all.extend([9_u32.to_be_bytes().as_slice(), &[0, 3, 0, 0, 0]].concat());
        all.extend(message(b'Q', &[&[b'a'; 99][..], b"\0"].concat()));
        all.extend(message(b'S', b""));
        let long = [&all[..], b"Q", &(1_u32 << 21).to_be_bytes()].concat();
        let short = [&all[..], b"S\0\0\0\x03"].concat();
        let odd = [&all[..], &message(b'E', b"\0\0\0")].concat();
        for piece in 1..20 {
            assert_eq!(passed(&all, piece).unwrap(), all);
            let end = all.len() - 1;
            assert_eq!(passed(&all[..end], piece).unwrap(), all[..end - 4], "no part of one");
            for bad in [&long, &short, &odd] {
                assert!(passed(bad, piece).is_err());
            }
        }
        assert!(passed(&20_000_u32.to_be_bytes(), 4).is_err());
    }
}
