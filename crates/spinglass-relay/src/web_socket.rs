//! WebSockets (RFC 6455) over TLS: only binary messages, of a bounded size, of one subprotocol.

use tokio::io::{AsyncRead, AsyncWrite};
use tokio_tungstenite::tungstenite::handshake::server::{ErrorResponse, Request, Response};
use tokio_tungstenite::tungstenite::http::header::SEC_WEBSOCKET_PROTOCOL;
use tokio_tungstenite::tungstenite::http::{HeaderValue, StatusCode};
use tokio_tungstenite::tungstenite::protocol::WebSocketConfig;
use tokio_tungstenite::{WebSocketStream, accept_hdr_async_with_config, client_async_with_config};

use crate::limits::WRITE_BUFFER_BYTES_MAX;
use crate::message::MESSAGE_BYTES_MAX;
use crate::url::RelayUrl;

/// The subprotocol's name, by which another server is found out at once.
const SUBPROTOCOL: HeaderValue = HeaderValue::from_static("spinglass-relay-1");
/// Bytes gathered before they are written.
const GATHERED_BYTES: usize = 64 << 10;

fn config() -> WebSocketConfig {
    WebSocketConfig::default()
        .read_buffer_size(16 << 10)
        .write_buffer_size(GATHERED_BYTES)
        .max_write_buffer_size(WRITE_BUFFER_BYTES_MAX)
        .max_message_size(Some(MESSAGE_BYTES_MAX))
        .max_frame_size(Some(MESSAGE_BYTES_MAX))
}

/// The server's side of the beginning. `None`: the other one wants something else.
pub(crate) async fn accept<S>(stream: S) -> Option<WebSocketStream<S>>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    #[expect(clippy::result_large_err, reason = "the callback's type is tungstenite's")]
    let choose = |request: &Request, mut response: Response| {
        let wished = request.headers().get_all(SEC_WEBSOCKET_PROTOCOL);
        if wished.iter().any(|wished| wished == SUBPROTOCOL) {
            response.headers_mut().insert(SEC_WEBSOCKET_PROTOCOL, SUBPROTOCOL);
            return Ok(response);
        }
        let mut error = ErrorResponse::new(None);
        *error.status_mut() = StatusCode::BAD_REQUEST;
        Err(error)
    };
    accept_hdr_async_with_config(stream, choose, Some(config())).await.ok()
}

/// The member's side.
///
/// # Errors
/// The other one is no relay, in words.
pub(crate) async fn begin<S>(stream: S, url: &RelayUrl) -> Result<WebSocketStream<S>, String>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    use tokio_tungstenite::tungstenite::client::IntoClientRequest as _;
    let request = format!("wss://{}/", url.authority()).into_client_request();
    let mut request = request.map_err(|error| error.to_string())?;
    request.headers_mut().insert(SEC_WEBSOCKET_PROTOCOL, SUBPROTOCOL);
    let begun = client_async_with_config(request, stream, Some(config())).await;
    let (socket, _) =
        begun.map_err(|error| format!("it does not speak as a relay does: {error}"))?;
    Ok(socket)
}
