//! A socket with bounds: no message larger than a client needs, no reader so slow that its rows
//! stay for ever.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Instant, Sleep, sleep};

/// Bytes of a message from a client: a statement and its parameters.
pub(super) const MESSAGE_BYTES_MAX: usize = 1 << 20;
/// Bytes of the first one.
const STARTUP_BYTES_MAX: usize = 10_000;
/// How long a client may take to take what is sent.
const TAKEN_WITHIN: Duration = Duration::from_secs(30);

/// The length of the messages in a stream of bytes, as it passes by.
#[derive(Debug)]
struct Lengths {
    /// The message's type, if it has one, and its length, as far as they have come.
    head: [u8; 5],
    have: usize,
    /// Bytes of the message that are still to come.
    body: usize,
    /// The first message of a connection has no type.
    is_first: bool,
}

impl Lengths {
    const fn new() -> Self {
        Self { head: [0; 5], have: 0, body: 0, is_first: true }
    }

    /// Looks at bytes. `false`: a message is too long.
    fn admit(&mut self, mut bytes: &[u8]) -> bool {
        while let Some((byte, rest)) = bytes.split_first() {
            if self.body > 0 {
                let passed = self.body.min(bytes.len());
                self.body -= passed;
                bytes = bytes.get(passed..).unwrap_or(&[]);
                continue;
            }
            if self.have == 0 && self.is_first {
                self.have = 1;
            }
            if let Some(at) = self.head.get_mut(self.have) {
                *at = *byte;
            }
            self.have += 1;
            bytes = rest;
            if self.have == self.head.len() {
                let [_, a, b, c, d] = self.head;
                let length = u32::from_be_bytes([a, b, c, d]) as usize;
                let most = if self.is_first { STARTUP_BYTES_MAX } else { MESSAGE_BYTES_MAX };
                if length > most {
                    return false;
                }
                // A request for encryption or the end of a query comes before the first message.
                let is_request = self.is_first && length == 8;
                (self.body, self.have) = (length.saturating_sub(4), 0);
                self.is_first &= is_request;
            }
        }
        true
    }
}

/// The socket.
pub(super) struct Bounded<S> {
    inner: S,
    lengths: Lengths,
    /// Since when the other side has taken nothing.
    stuck: Option<Pin<Box<Sleep>>>,
}

impl<S> Bounded<S> {
    /// Bounds a socket of which some bytes have been read already.
    ///
    /// # Errors
    /// They are too many.
    pub(super) fn new(inner: S, read: &[u8]) -> io::Result<Self> {
        let mut lengths = Lengths::new();
        if !lengths.admit(read) {
            return Err(too_long());
        }
        Ok(Self { inner, lengths, stuck: None })
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

fn too_long() -> io::Error {
    io::Error::other(format!("a message has {} KiB at most", MESSAGE_BYTES_MAX >> 10))
}

impl<S: AsyncRead + Unpin> AsyncRead for Bounded<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        ready!(Pin::new(&mut self.inner).poll_read(cx, buffer))?;
        let read = buffer.filled().get(before..).unwrap_or(&[]);
        Poll::Ready(if self.lengths.admit(read) { Ok(()) } else { Err(too_long()) })
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

    /// A message of a type, whose length is told as `length`.
    fn message(length: u32, body: usize) -> Vec<u8> {
        [b"Q".as_slice(), &length.to_be_bytes(), &vec![0; body]].concat()
    }

    #[test]
    fn messages_are_measured_however_they_come_apart() {
        let mut all = [8_u32.to_be_bytes(), [4, 210, 22, 47]].concat();
        all.extend([9_u32.to_be_bytes().as_slice(), &[0; 5]].concat());
        all.extend(message(104, 100));
        all.extend(message(4, 0));
        let long = message(1 << 21, 0);
        for step in 1..20 {
            let mut lengths = Lengths::new();
            assert!(all.chunks(step).all(|part| lengths.admit(part)), "{step}");
            assert!(!long.chunks(step).all(|part| lengths.admit(part)), "{step}");
        }
        assert!(!Lengths::new().admit(&20_000_u32.to_be_bytes()));
    }
}
