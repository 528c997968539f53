//! Why a relay, or the way to one, can't be had.

use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;

use crate::message::Refusal;
use crate::url::RelayUrl;

/// Why a relay can't be used, or can't be run.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RelayError {
    /// A file of certificates or keys can't be used.
    #[error("{path}: {what}")]
    File {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        what: String,
    },
    /// The system trusts nobody.
    #[error("this system has no trusted roots: say by a file which root the relay is certified by")]
    NoRoots,
    /// TLS can't be set up.
    #[error("TLS can't be set up: {0}")]
    Tls(String),
    /// A proxy's address is none.
    #[error("{0:?} is no proxy: say http://HOST:PORT")]
    Proxy(String),
    /// The relay can't be reached.
    #[error("cannot reach {url}: {what}")]
    Unreachable {
        /// Which relay.
        url: RelayUrl,
        /// What went wrong.
        what: String,
    },
    /// Somebody was reached, who is no relay that this member trusts.
    #[error("{url} was reached, but {what}")]
    NoRelay {
        /// Where.
        url: RelayUrl,
        /// What was wrong.
        what: String,
    },
    /// The relay was reached and does not let this member in.
    #[error("{url} was reached, but {refusal}")]
    Refused {
        /// Which relay.
        url: RelayUrl,
        /// Why.
        refusal: Refusal,
    },
    /// It can't listen there.
    #[error("cannot listen on {address}: {source}")]
    Listen {
        /// Where.
        address: SocketAddr,
        /// What the system said.
        source: io::Error,
    },
    /// Nobody could reach the members' addresses.
    #[error("{0} is every address at once: say with --public by which one members are reached")]
    NoPublicAddress(SocketAddr),
}
