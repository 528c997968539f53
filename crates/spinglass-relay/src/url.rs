//! Where a relay is: `wss://relay.example.org`.

use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

use rustls_pki_types::ServerName;

/// The port of a relay whose URL names none: what firewalls let out.
pub const RELAY_PORT: u16 = 443;

/// A relay's URL: `wss://HOST` or `wss://HOST:PORT`. There is no path: a relay is a server of its
/// own, since its proof is bound to the TLS connection that it ends.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RelayUrl {
    host: String,
    port: u16,
}

/// A text that is no relay's URL.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is no relay: say wss://HOST or wss://HOST:PORT, such as wss://relay.example.org")]
pub struct UrlError(pub String);

impl RelayUrl {
    /// The host's name or address, without brackets.
    #[must_use]
    pub fn host(&self) -> &str {
        &self.host
    }

    /// The port.
    #[must_use]
    pub const fn port(&self) -> u16 {
        self.port
    }

    /// Whether it names this machine.
    #[must_use]
    pub fn is_loopback(&self) -> bool {
        let ip = self.host.parse::<IpAddr>();
        self.host == "localhost" || ip.is_ok_and(|ip| ip.is_loopback())
    }

    /// The name that its certificate must be for.
    pub(crate) fn server_name(&self) -> Option<ServerName<'static>> {
        ServerName::try_from(self.host.clone()).ok()
    }

    /// Host and port as HTTP writes them.
    pub(crate) fn authority(&self) -> String {
        let Self { host, port } = self;
        if host.contains(':') { format!("[{host}]:{port}") } else { format!("{host}:{port}") }
    }
}

impl fmt::Display for RelayUrl {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "wss://{}", self.authority())
    }
}

/// Host and port of `HOST[:PORT][/]`.
pub(crate) fn host_and_port(text: &str, usual: u16) -> Option<(String, u16)> {
    let text = text.strip_suffix('/').unwrap_or(text);
    let (host, port) = match text.strip_prefix('[') {
        Some(rest) => {
            let (host, port) = rest.split_once(']')?;
            (host, if port.is_empty() { None } else { Some(port.strip_prefix(':')?) })
        }
        None => match text.split_once(':') {
            Some((host, port)) => (host, Some(port)),
            None => (text, None),
        },
    };
    let port = port.map_or(Some(usual), |port| port.parse().ok())?;
    let is_host = ServerName::try_from(host).is_ok();
    (is_host && port != 0).then(|| (host.to_owned(), port))
}

impl FromStr for RelayUrl {
    type Err = UrlError;

    fn from_str(text: &str) -> Result<Self, UrlError> {
        let rest = text.strip_prefix("wss://");
        let found = rest.and_then(|rest| host_and_port(rest, RELAY_PORT));
        let (host, port) = found.ok_or_else(|| UrlError(text.to_owned()))?;
        Ok(Self { host, port })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_and_other_texts_are_told_apart() {
        for (text, means) in [
            ("wss://relay.example.org", "wss://relay.example.org:443"),
            ("wss://relay.example.org/", "wss://relay.example.org:443"),
            ("wss://10.1.2.3:8443", "wss://10.1.2.3:8443"),
            ("wss://[fd00::1]", "wss://[fd00::1]:443"),
            ("wss://[fd00::1]:5", "wss://[fd00::1]:5"),
        ] {
            assert_eq!(text.parse::<RelayUrl>().map(|url| url.to_string()).as_deref(), Ok(means));
        }
        for text in [
            "",
            "relay",
            "https://relay",
            "ws://relay",
            "wss://",
            "wss://a b",
            "wss://a:0",
            "wss://a:99999",
            "wss://a/path",
            "wss://u@a",
            "wss://[::1",
            "wss://[::1]x",
        ] {
            assert_eq!(text.parse::<RelayUrl>(), Err(UrlError(text.to_owned())), "{text}");
        }
    }
}
