//! Who may come in by the agent's doors: the files that say so, and what the doors go by, which is
//! changed while they are open when the files are read again.

use anyhow::{Context as _, Result, ensure};
use spinglass_doors::sql::{Access, Users};
use spinglass_relay::ServerTls;
use tokio::sync::watch;

use super::Agent;

/// The least length of a token: it can't be guessed.
const TOKEN_BYTES_MIN: usize = 16;
/// SQL's name among protocols inside TLS.
const ALPN: &[u8] = b"postgresql";

/// What the files say.
#[derive(Debug)]
pub(super) struct Keys {
    token: Option<String>,
    access: Access,
}

impl Keys {
    /// Reads the files that the settings name.
    ///
    /// # Errors
    /// One can't be read, or is no such file.
    pub(super) fn load(settings: &Agent) -> Result<Self> {
        let users = settings.sql_users.as_deref().map(Users::load).transpose()?;
        let files = settings.sql_tls_cert.as_ref().zip(settings.sql_tls_key.as_ref());
        let tls = files.map(|(certificate, key)| match &settings.sql_tls_clients {
            Some(certifiers) => ServerTls::load_asking(certificate, key, certifiers),
            None => ServerTls::load(certificate, key),
        });
        let tls = tls.transpose()?.map(|tls| tls.acceptor(ALPN));
        Ok(Self { token: token(settings)?, access: Access { users, tls } })
    }

    /// Whether nobody comes in by SQL without TLS and a password or a certificate.
    pub(super) const fn are_strict(&self) -> bool {
        self.access.users.is_some() && self.access.tls.is_some()
    }
}

/// What whoever would change something by HTTP has to know, if that was said.
fn token(settings: &Agent) -> Result<Option<String>> {
    let Some(path) = &settings.http_token else { return Ok(None) };
    let shown = path.display();
    let text = std::fs::read_to_string(path).with_context(|| format!("cannot read {shown}"))?;
    let token = text.lines().next().unwrap_or_default().trim();
    let is_token = token.len() >= TOKEN_BYTES_MIN && token.bytes().all(|it| it.is_ascii_graphic());
    ensure!(
        is_token,
        "{shown} is to have a token of {TOKEN_BYTES_MIN} letters or more in its first line, \
         such as `openssl rand -hex 16` makes"
    );
    Ok(Some(token.to_owned()))
}

/// Where the doors look.
#[derive(Debug)]
pub(super) struct Board {
    pub(super) token: watch::Sender<Option<String>>,
    pub(super) access: watch::Sender<Access>,
}

impl Board {
    pub(super) fn new(keys: Keys) -> Self {
        let Keys { token, access } = keys;
        Self { token: watch::Sender::new(token), access: watch::Sender::new(access) }
    }

    /// Lets those come in from now on whom these keys let in.
    pub(super) fn put(&self, keys: Keys) {
        let Keys { token, access } = keys;
        self.token.send_replace(token);
        self.access.send_replace(access);
    }
}
