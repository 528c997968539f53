//! Sealed datagrams over TLS WebSockets: for members whose firewall lets out nothing but TCP
//! connections to port 443.
//!
//! ```text
//!  member ══ TLS, WebSocket ══▶ relay ── UDP ──▶ other members, which know nothing of relays
//!         ◀══════════════════         ◀─ UDP ──  and reach the member at the relay's address
//! ```
//!
//! The datagrams are sealed by members for members (`spinglass_core::link`): the relay has no key
//! to them. It is no open proxy: [`proof`] says who is let in, [`Limits`] what they get, and
//! `session` where datagrams may go and what they must look like.

#![forbid(unsafe_code)]
#![cfg_attr(
    not(test),
    deny(clippy::indexing_slicing, clippy::unwrap_used, clippy::panic, clippy::todo)
)]

mod client;
mod counters;
mod error;
mod limits;
pub mod message;
mod ports;
pub mod proof;
mod proxy;
mod queue;
mod server;
mod session;
mod tls;
mod url;
mod web_socket;

pub use client::{Connection, Tunnel, TunnelStats, Way, connect};
pub use counters::Counters;
pub use error::RelayError;
pub use limits::Limits;
pub use message::{Incoming, Refusal};
pub use proof::{Credentials, Guard};
pub use proxy::Proxy;
pub use server::{Door, Doorkeeper, Relay, Settings, Watch};
pub use tls::{ClientTls, ServerTls};
pub use url::{RELAY_PORT, RelayUrl, UrlError};
