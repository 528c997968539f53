//! The TCP connection to a relay, through an HTTP proxy if there is one (CONNECT, RFC 9110,
//! section 9.3.6).

use std::str::FromStr;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use crate::error::RelayError;
use crate::url::{RelayUrl, host_and_port};

/// The port of a proxy whose URL names none.
const PROXY_PORT: u16 = 8080;
/// Bytes of a proxy's answer at most, up to its empty line.
const ANSWER_BYTES_MAX: usize = 8192;

/// An HTTP proxy: `http://HOST:PORT`. It is asked without a password.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Proxy {
    host: String,
    port: u16,
}

impl FromStr for Proxy {
    type Err = RelayError;

    fn from_str(text: &str) -> Result<Self, RelayError> {
        let rest = text.strip_prefix("http://").unwrap_or(text);
        let (host, port) =
            host_and_port(rest, PROXY_PORT).ok_or_else(|| RelayError::Proxy(text.into()))?;
        Ok(Self { host, port })
    }
}

/// Connects to a relay.
///
/// # Errors
/// In words: who can't be reached, and why.
pub(crate) async fn reach(url: &RelayUrl, proxy: Option<&Proxy>) -> Result<TcpStream, String> {
    let Some(Proxy { host, port }) = proxy else {
        let stream = TcpStream::connect((url.host(), url.port())).await;
        return stream.map_err(|error| error.to_string());
    };
    let failed = |error: std::io::Error| format!("the proxy {host}:{port}: {error}");
    let mut stream = TcpStream::connect((host.as_str(), *port)).await.map_err(failed)?;
    let authority = url.authority();
    let request = format!("CONNECT {authority} HTTP/1.1\r\nHost: {authority}\r\n\r\n");
    stream.write_all(request.as_bytes()).await.map_err(failed)?;
    let mut answer = Vec::new();
    // One by one: what follows the empty line is not the proxy's.
    while !answer.ends_with(b"\r\n\r\n") {
        if answer.len() >= ANSWER_BYTES_MAX {
            return Err(format!("the proxy {host}:{port} answers at too great length"));
        }
        answer.push(stream.read_u8().await.map_err(failed)?);
    }
    let text = String::from_utf8_lossy(&answer);
    let first = text.lines().next().unwrap_or_default();
    let mut words = first.split(' ');
    let is_http = words.next().is_some_and(|word| word.starts_with("HTTP/1."));
    if is_http && words.next().is_some_and(|status| status.starts_with('2')) {
        Ok(stream)
    } else {
        Err(format!("the proxy {host}:{port} says {first:?}"))
    }
}
