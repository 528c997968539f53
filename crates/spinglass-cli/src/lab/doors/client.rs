//! A client of PostgreSQL's protocol, as far as measuring needs one: it asks, and counts rows.

use std::net::SocketAddr;
use std::time::Duration;

use anyhow::{Context as _, Result, bail, ensure};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::TcpStream;
use tokio::time::timeout;

/// Version 3.0 of the protocol.
const PROTOCOL: u32 = 3 << 16;
/// How long an answer may take.
const ANSWER_WITHIN: Duration = Duration::from_secs(60);
/// The longest message that makes sense here.
const MESSAGE_BYTES_MAX: usize = 64 << 20;

/// A connection.
#[derive(Debug)]
pub(super) struct Client(BufReader<TcpStream>);

impl Client {
    pub(super) async fn connect(door: SocketAddr) -> Result<Self> {
        let stream = TcpStream::connect(door).await.context("no door for SQL")?;
        stream.set_nodelay(true)?;
        let mut client = Self(BufReader::new(stream));
        let body = b"user\0lab\0database\0spinglass\0\0";
        let length = u32::try_from(body.len() + 8)?;
        let hello = [&length.to_be_bytes()[..], &PROTOCOL.to_be_bytes()[..], body].concat();
        client.0.get_mut().write_all(&hello).await?;
        client.rows().await?;
        Ok(client)
    }

    /// Sends a statement.
    pub(super) async fn send(&mut self, sql: &str) -> Result<()> {
        let length = u32::try_from(sql.len() + 5)?;
        let message = [b"Q", &length.to_be_bytes()[..], sql.as_bytes(), b"\0"].concat();
        Ok(self.0.get_mut().write_all(&message).await?)
    }

    /// Asks; returns how many rows came.
    pub(super) async fn ask(&mut self, sql: &str) -> Result<usize> {
        self.send(sql).await?;
        timeout(ANSWER_WITHIN, self.rows()).await.context("no answer within a minute")?
    }

    /// Reads until the server is ready for the next statement.
    async fn rows(&mut self) -> Result<usize> {
        let (mut rows, mut error) = (0, None);
        loop {
            let kind = self.0.read_u8().await?;
            let length = usize::try_from(self.0.read_u32().await?)?;
            ensure!((4..MESSAGE_BYTES_MAX).contains(&length), "a message of {length} bytes");
            let mut body = vec![0; length - 4];
            self.0.read_exact(&mut body).await?;
            match kind {
                b'D' => rows += 1,
                b'E' => error = Some(String::from_utf8_lossy(&body).replace('\0', " ")),
                b'Z' => break,
                _ => (),
            }
        }
        match error {
            Some(error) => bail!("{error}"),
            None => Ok(rows),
        }
    }
}
