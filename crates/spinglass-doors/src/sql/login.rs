//! Who may come in, and what they may do.
//!
//! Without a file of users everybody on this machine may read; only an agent under the development
//! key, which keeps nothing secret, lets them change something, too. With one, users have
//! passwords, of which the file holds what suffices to check them (SCRAM-SHA-256, RFC 7677), or
//! certificates, by a certifier whom the agent was told, that bear their names.

use std::collections::BTreeMap;
use std::fmt::Debug;
use std::hash::{BuildHasher as _, RandomState};
use std::path::Path;
use std::sync::Arc;

use async_trait::async_trait;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use futures_util::Sink;
use pgwire::api::auth::sasl::SASLAuthStartupHandler;
use pgwire::api::auth::sasl::scram::{ScramAuth, ScramSecret, gen_salted_password};
use pgwire::api::auth::{
    AuthSource, DefaultServerParameterProvider, LoginInfo, Password, StartupHandler,
    finish_authentication, protocol_negotiation, save_startup_parameters_to_metadata,
};
use pgwire::api::{
    ClientInfo, ConnectionGuard, ConnectionHandle, ConnectionManager, METADATA_USER,
    PidSecretKeyGenerator as _, RandomPidSecretKeyGenerator,
};
use pgwire::error::{PgWireError, PgWireResult};
use pgwire::messages::{PgWireBackendMessage, PgWireFrontendMessage};
use serde::Deserialize;
use x509_cert::Certificate;
use x509_cert::der::Decode as _;
use x509_cert::der::oid::ObjectIdentifier;

use super::fault::Fault;
use super::functions::SERVER_VERSION;

/// Rounds of hashing that a password takes, as PostgreSQL has it.
const ITERATIONS: usize = 4096;
const SALT_BYTES: usize = 16;
/// Of SHA-256.
const KEY_BYTES: usize = 32;
/// What a certificate calls its subject (X.520).
const COMMON_NAME: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.5.4.3");
/// Users of a file.
const USERS_MAX: usize = 1000;

/// A file of users can't be used.
#[derive(Debug, thiserror::Error)]
pub enum UsersError {
    /// It can't be read.
    #[error("cannot read {0}")]
    Unreadable(String, #[source] std::io::Error),
    /// It is no such file.
    #[error("{0}: {1}")]
    Malformed(String, String),
}

/// Who may come in by SQL.
#[derive(Debug, Clone, Default)]
pub struct Users {
    named: BTreeMap<String, User>,
    /// Makes up what others would be asked by.
    strangers: RandomState,
}

#[derive(Debug, Clone)]
struct User {
    /// None: it comes in by a certificate only.
    verifier: Option<Verifier>,
    may_change: bool,
}

/// What suffices to check a password, and not to log in.
#[derive(Debug, Clone)]
struct Verifier {
    iterations: usize,
    salt: Vec<u8>,
    stored_key: Vec<u8>,
    server_key: Vec<u8>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    users: BTreeMap<String, Entry>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Entry {
    password: Option<String>,
    #[serde(default)]
    changes: bool,
}

impl Users {
    /// Reads a file of users: for each a table `[users.NAME]` with `password`, as [`verifier`]
    /// makes it, and `changes = true` for those who may change something. Without `password` it
    /// takes a certificate.
    ///
    /// # Errors
    /// It can't be read, or is no such file; the text says which line.
    pub fn load(path: &Path) -> Result<Self, UsersError> {
        let shown = path.display().to_string();
        let text = std::fs::read_to_string(path)
            .map_err(|error| UsersError::Unreadable(shown.clone(), error))?;
        let wrong = |what: String| UsersError::Malformed(shown.clone(), what);
        let file: File = toml::from_str(&text).map_err(|error| wrong(error.to_string()))?;
        if file.users.len() > USERS_MAX {
            return Err(wrong(format!("more than {USERS_MAX} users")));
        }
        let user = |(name, entry): (String, Entry)| {
            let read = |password: &String| {
                Verifier::parse(password).ok_or_else(|| {
                    wrong(format!(
                        "the password of {name} is not as `spinglass keygen --sql-password` \
                         writes it"
                    ))
                })
            };
            let verifier = entry.password.as_ref().map(read).transpose()?;
            Ok((name, User { verifier, may_change: entry.changes }))
        };
        let named = file.users.into_iter().map(user).collect::<Result<_, _>>()?;
        Ok(Self { named, strangers: RandomState::new() })
    }

    pub(super) fn may_change(&self, name: &str) -> bool {
        self.named.get(name).is_some_and(|user| user.may_change)
    }

    fn verifier(&self, name: &str) -> Verifier {
        let known = self.named.get(name).and_then(|user| user.verifier.clone());
        known.unwrap_or_else(|| self.made_up(name))
    }

    /// What no password proves, always the same for a name: whoever asks does not learn by it who
    /// is a user [RFC 5802, section 9; PostgreSQL's mock authentication].
    fn made_up(&self, name: &str) -> Verifier {
        let words = (0_u64..).map(|place| self.strangers.hash_one((name, place)).to_be_bytes());
        let mut bytes = words.flatten();
        let mut take = |count| bytes.by_ref().take(count).collect();
        Verifier {
            iterations: ITERATIONS,
            salt: take(SALT_BYTES),
            stored_key: take(KEY_BYTES),
            server_key: take(KEY_BYTES),
        }
    }
}

/// What a file of users holds of a password: `SCRAM-SHA-256$4096:salt$stored:server`, as in
/// PostgreSQL's `pg_authid`.
///
/// # Errors
/// The system has no randomness.
pub fn verifier(password: &str) -> Result<String, getrandom::Error> {
    let mut salt = [0; SALT_BYTES];
    getrandom::fill(&mut salt)?;
    Ok(salted(password, salt))
}

fn salted(password: &str, salt: [u8; SALT_BYTES]) -> String {
    let salted = gen_salted_password(password, &salt, ITERATIONS);
    let secret = ScramSecret::verifier_from_salted_password(salt.to_vec(), salted, ITERATIONS);
    match secret {
        ScramSecret::Verifier { salt, iterations, stored_key, server_key } => format!(
            "SCRAM-SHA-256${iterations}:{}${}:{}",
            BASE64.encode(&salt),
            BASE64.encode(&stored_key),
            BASE64.encode(&server_key)
        ),
        ScramSecret::SaltedPassword { .. } => String::new(),
    }
}

impl Verifier {
    fn parse(text: &str) -> Option<Self> {
        let mut parts = text.strip_prefix("SCRAM-SHA-256$")?.split('$');
        let (iterations, salt) = parts.next()?.split_once(':')?;
        let (stored, server) = parts.next()?.split_once(':')?;
        let (stored_key, server_key) = (BASE64.decode(stored).ok()?, BASE64.decode(server).ok()?);
        let iterations = iterations.parse().ok().filter(|count| (1..=1_000_000).contains(count))?;
        let sized = stored_key.len() == KEY_BYTES
            && server_key.len() == KEY_BYTES
            && parts.next().is_none();
        sized.then_some(Self {
            iterations,
            salt: BASE64.decode(salt).ok()?,
            stored_key,
            server_key,
        })
    }
}

#[async_trait]
#[expect(elided_lifetimes_in_paths, reason = "the trait's methods are declared so")]
impl AuthSource for Users {
    async fn get_password(&self, login: &LoginInfo) -> PgWireResult<Password> {
        Err(PgWireError::InvalidPassword(login.user().unwrap_or_default().to_owned()))
    }

    async fn get_scram_secret(&self, login: &LoginInfo) -> PgWireResult<(ScramSecret, Option<()>)> {
        let verifier = self.verifier(login.user().unwrap_or_default());
        let Verifier { iterations, salt, stored_key, server_key } = verifier;
        Ok((ScramSecret::Verifier { salt, iterations, stored_key, server_key }, None))
    }
}

/// How a client comes in.
pub(super) enum Login {
    /// As whoever it says.
    Open { connections: Arc<ConnectionManager> },
    /// As the user whom its certificate names.
    Certified { name: String, connections: Arc<ConnectionManager> },
    /// By a password.
    Password(Box<SASLAuthStartupHandler<DefaultServerParameterProvider>>),
}

impl Login {
    /// For a client that has shown this certificate, which TLS has checked, or none.
    pub(super) fn new(
        users: Option<&Users>,
        certificate: Option<&[u8]>,
        connections: &Arc<ConnectionManager>,
    ) -> Self {
        let connections = Arc::clone(connections);
        let Some(users) = users else { return Self::Open { connections } };
        let named = certificate.and_then(common_name).filter(|name| users.named.contains_key(name));
        if let Some(name) = named {
            return Self::Certified { name, connections };
        }
        let mut scram = ScramAuth::new(Arc::new(users.clone()));
        scram.set_iterations(ITERATIONS);
        let handler = SASLAuthStartupHandler::new(Arc::new(parameters())).with_scram(scram);
        Self::Password(Box::new(handler.with_connection_manager(connections)))
    }
}

fn parameters() -> DefaultServerParameterProvider {
    let mut parameters = DefaultServerParameterProvider::default();
    parameters.server_version = SERVER_VERSION.into();
    parameters.is_superuser = false;
    parameters.time_zone = "UTC".into();
    parameters
}

#[async_trait]
impl StartupHandler for Login {
    async fn on_startup<C>(
        &self,
        client: &mut C,
        message: PgWireFrontendMessage,
    ) -> PgWireResult<()>
    where
        C: ClientInfo + Sink<PgWireBackendMessage> + Unpin + Send + Sync,
        C::Error: Debug,
        PgWireError: From<<C as Sink<PgWireBackendMessage>>::Error>,
    {
        let (named, connections) = match self {
            Self::Password(handler) => return handler.on_startup(client, message).await,
            Self::Open { connections } => (None, connections),
            Self::Certified { name, connections } => (Some(name), connections),
        };
        if let PgWireFrontendMessage::Startup(startup) = &message {
            protocol_negotiation(client, startup).await?;
            save_startup_parameters_to_metadata(client, startup);
            if let Some(named) = named.filter(|named| *named != name(client)) {
                let text = format!("the certificate is of {named}, not of {}", name(client));
                return Err(Fault::new("28000", &text).into());
            }
            let (pid, secret) = RandomPidSecretKeyGenerator::default().generate(client);
            client.set_pid_and_secret_key(pid, secret.clone());
            let (handle, guard) = connections.register(pid, secret);
            client.session_extensions().insert::<Arc<ConnectionHandle>>(handle);
            client.session_extensions().insert::<ConnectionGuard>(guard);
            finish_authentication(client, &parameters()).await?;
        }
        Ok(())
    }
}

/// The name that a certificate bears.
fn common_name(certificate: &[u8]) -> Option<String> {
    let certificate = Certificate::from_der(certificate).ok()?;
    let subject = certificate.tbs_certificate().subject();
    let names = subject.iter().filter(|named| named.oid == COMMON_NAME);
    names.last().and_then(|named| {
        let value = &named.value;
        std::str::from_utf8(value.value()).ok().map(str::to_owned)
    })
}

/// The name that a client came in by.
pub(super) fn name<C: ClientInfo>(client: &C) -> &str {
    client.metadata().get(METADATA_USER).map_or("", String::as_str)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_verifier_is_read_as_it_is_written() {
        let text = salted("pencil", [7; SALT_BYTES]);
        let read = Verifier::parse(&text).unwrap();
        assert_eq!((read.iterations, read.salt.len(), read.server_key.len()), (4096, 16, 32));
        assert!(Verifier::parse("pencil").is_none());
        assert!(Verifier::parse(&text.replace("4096", "0")).is_none());
    }

    #[test]
    fn a_stranger_is_asked_as_a_user_is_and_always_by_the_same() {
        let users = Users::default();
        let (once, again) = (users.verifier("eve"), users.verifier("eve"));
        assert_eq!((once.iterations, once.salt.len()), (ITERATIONS, SALT_BYTES));
        assert_eq!((&once.salt, &once.stored_key), (&again.salt, &again.stored_key));
        assert_ne!(once.salt, users.verifier("mallory").salt);
        assert_ne!(once.stored_key, once.server_key);
    }
}
