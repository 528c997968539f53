//! By whom to join: addresses, and names that lead to addresses.

use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::str::FromStr;

use crate::error::SeedError;

/// The port that members use unless they are told otherwise.
pub const PORT: u16 = 7710;
/// Bytes of the longest name (RFC 1035, section 2.3.4).
const NAME_BYTES_MAX: usize = 253;
/// Bytes of the longest part of a name between two dots.
const LABEL_BYTES_MAX: usize = 63;

/// Somebody to join by: an address, or a name that is looked up while the node runs.
///
/// As text: `10.1.2.3:7710`, `[fd00::1]:7710`, `agents.example.org:7710`; without a port it is
/// [`PORT`].
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Seed {
    /// Where it is.
    Address(SocketAddr),
    /// Who knows where it is: the system's resolver. Each address of the name is tried.
    Name(HostPort),
}

/// A host's name, which is one by its form, and a port.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct HostPort {
    host: String,
    port: u16,
}

impl HostPort {
    /// The name.
    #[must_use]
    pub fn host(&self) -> &str {
        &self.host
    }

    /// The port.
    #[must_use]
    pub const fn port(&self) -> u16 {
        self.port
    }
}

impl fmt::Display for HostPort {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}:{}", self.host, self.port)
    }
}

impl fmt::Display for Seed {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Address(address) => address.fmt(formatter),
            Self::Name(name) => name.fmt(formatter),
        }
    }
}

impl From<SocketAddr> for Seed {
    fn from(address: SocketAddr) -> Self {
        Self::Address(address)
    }
}

impl FromStr for Seed {
    type Err = SeedError;

    fn from_str(text: &str) -> Result<Self, SeedError> {
        let error = || SeedError(text.to_owned());
        if let Ok(address) = text.parse::<SocketAddr>() {
            let is_seed = address.port() != 0 && !address.ip().is_unspecified();
            return if is_seed { Ok(Self::Address(address)) } else { Err(error()) };
        }
        let bare = text.strip_prefix('[').and_then(|text| text.strip_suffix(']')).unwrap_or(text);
        if let Ok(ip) = bare.parse::<IpAddr>() {
            return Ok(Self::Address((ip, PORT).into()));
        }
        let (host, port) = match text.rsplit_once(':') {
            Some((host, port)) => (host, port.parse().map_err(|_| error())?),
            None => (text, PORT),
        };
        if port == 0 || !is_name(host) {
            return Err(error());
        }
        Ok(Self::Name(HostPort { host: host.to_owned(), port }))
    }
}

/// Whether a text has the form of a host's name: parts of letters, digits, `-` and `_` between
/// dots, the last of which is no number, since then it would be a mistyped address.
fn is_name(text: &str) -> bool {
    let text = text.strip_suffix('.').unwrap_or(text);
    let legal = |byte: u8| byte.is_ascii_alphanumeric() || b"-_".contains(&byte);
    let is_label = |label: &str| {
        (1..=LABEL_BYTES_MAX).contains(&label.len())
            && label.bytes().all(legal)
            && !label.starts_with('-')
            && !label.ends_with('-')
    };
    let is_number = |label: &str| label.bytes().all(|byte| byte.is_ascii_digit());
    text.len() <= NAME_BYTES_MAX
        && text.split('.').all(is_label)
        && !text.split('.').next_back().is_some_and(is_number)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_and_names_are_told_apart() {
        let seed = |text: &str| text.parse::<Seed>().map(|seed| seed.to_string());
        for (text, means) in [
            ("10.1.2.3:9", "10.1.2.3:9"),
            ("10.1.2.3", "10.1.2.3:7710"),
            ("[::1]:9", "[::1]:9"),
            ("[::1]", "[::1]:7710"),
            ("fd00::1", "[fd00::1]:7710"),
            ("localhost", "localhost:7710"),
            ("a-1.example.org.:80", "a-1.example.org.:80"),
        ] {
            assert_eq!(seed(text).as_deref(), Ok(means));
        }
        let long = format!("{}.org", "a".repeat(64));
        for text in
            ["", ":1", "a b", "a:0", "a:99999", "a..b", "-a", "10.1.2", "0.0.0.0:1", "::1:", &long]
        {
            assert_eq!(seed(text), Err(SeedError(text.to_owned())), "{text}");
        }
        assert!(matches!("::1".parse(), Ok(Seed::Address(_))));
    }
}
