//! Key files: one's own identity, and the group's link keys.
//!
//! Both are text, a line each, mode 0600; an identity may also be a PKCS#8 key in PEM, as `openssl`
//! and `spinglass ca` write it. Loading refuses a file that others can read, and says
//! what to do about it.

use std::collections::BTreeMap;
use std::fmt;
use std::fs::{self, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use aws_lc_rs::encoding::{AsBigEndian as _, Curve25519SeedBin};
use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair};
use rustls_pki_types::PrivatePkcs8KeyDer;
use rustls_pki_types::pem::PemObject as _;
use spinglass_core::MemberId;
use spinglass_core::crypto::{Domain, Epoch, PublicKey, Signature};
use zeroize::Zeroizing;

use crate::certificates::{pem, public_key_pem};
use crate::hash;
use crate::relay_keys::RelayKeys;

/// What a group key file's lines start with.
const GROUP_TAG: &str = "spinglass-group-key v1";
/// What an identity file's line starts with.
const IDENTITY_TAG: &str = "spinglass-identity-key v1";
/// Bytes of a group key file's longest line: tag, epoch, 64 digits.
const FILE_LINE_BYTES: usize = 112;
/// An Ed25519 key in PKCS#8, up to the seed [RFC 8410 §7].
const PKCS8: [u8; 16] = *b"\x30\x2e\x02\x01\x00\x30\x05\x06\x03\x2b\x65\x70\x04\x22\x04\x20";
/// Permission bits of everybody but the owner.
const OTHERS: u32 = 0o077;

/// Why a key file can't be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum KeyError {
    /// It can't be read or written.
    #[error("cannot use {path}")]
    Io {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// Others may read it.
    #[error(
        "{path} can be read by others (mode {mode:o}): run `chmod 600 {path}`, and if \
         anybody else had access, make a new key"
    )]
    Exposed {
        /// The file.
        path: PathBuf,
        /// Its permission bits.
        mode: u32,
    },
    /// It exists already.
    #[error("{0} exists: choose another name, or overwrite it with --force")]
    Exists(PathBuf),
    /// A line is not a key.
    #[error("{path}, line {line}: {what}; `spinglass keygen` makes a good one")]
    Line {
        /// The file.
        path: PathBuf,
        /// Counted from 1.
        line: usize,
        /// What is wrong.
        what: &'static str,
    },
    /// It has no key at all.
    #[error("{0} holds no key: make one with `spinglass keygen`")]
    Empty(PathBuf),
}

/// A member's private key.
pub struct SigningKey {
    seed: Zeroizing<[u8; 32]>,
    pair: Ed25519KeyPair,
}

impl SigningKey {
    /// A new key from the operating system's randomness.
    ///
    /// # Panics
    /// If the operating system has no randomness to give: nothing safe can be done without.
    #[must_use]
    pub fn generate() -> Self {
        Self::from_seed(random())
    }

    /// The key that belongs to a seed.
    ///
    /// # Panics
    /// Never: every 32 bytes are a seed.
    #[must_use]
    pub fn from_seed(seed: [u8; 32]) -> Self {
        let pair = Ed25519KeyPair::from_seed_unchecked(&seed).expect("every seed makes a key");
        Self { seed: Zeroizing::new(seed), pair }
    }

    /// Reads an identity file.
    ///
    /// # Errors
    /// It can't be read, others can read it, or it is not one.
    pub fn load(path: &Path) -> Result<Self, KeyError> {
        Self::parse(&read_private(path)?, path)
    }

    /// Reads an identity file's text; errors name it by `path`.
    ///
    /// # Errors
    /// It is none.
    pub fn parse(text: &str, path: &Path) -> Result<Self, KeyError> {
        let line = |what| KeyError::Line { path: path.into(), line: 1, what };
        if text.contains("-----BEGIN PRIVATE KEY-----") {
            return Self::parse_pem(text).ok_or_else(|| {
                line("not an Ed25519 key in PKCS#8, as `openssl genpkey -algorithm ed25519` makes")
            });
        }
        if text.contains("-----BEGIN ENCRYPTED PRIVATE KEY-----") {
            return Err(line("the key is encrypted: `openssl pkey -in FILE -out NEW` decrypts it"));
        }
        let first = text.lines().next().ok_or_else(|| KeyError::Empty(path.into()))?;
        let hex = first.strip_prefix(IDENTITY_TAG).ok_or_else(|| line("not an identity key"))?;
        let seed = parse_hex(hex.trim()).ok_or_else(|| line("the key is not 64 hex digits"))?;
        Ok(Self::from_seed(seed))
    }

    fn parse_pem(text: &str) -> Option<Self> {
        let der = PrivatePkcs8KeyDer::from_pem_slice(text.as_bytes()).ok()?;
        let pair = Ed25519KeyPair::from_pkcs8_maybe_unchecked(der.secret_pkcs8_der()).ok()?;
        let seed: Curve25519SeedBin<'_> = pair.seed().ok()?.as_be_bytes().ok()?;
        Some(Self::from_seed(seed.as_ref().try_into().ok()?))
    }

    /// The private key in PKCS#8 and PEM, as other programs read it.
    #[must_use]
    pub fn pem(&self) -> Zeroizing<String> {
        let der: Zeroizing<Vec<u8>> = Zeroizing::new([&PKCS8[..], &self.seed[..]].concat());
        Zeroizing::new(pem("PRIVATE KEY", &der))
    }

    /// The public key in PEM, as `openssl pkey -pubout` writes it.
    #[must_use]
    pub fn public_pem(&self) -> String {
        public_key_pem(&self.public_key())
    }

    /// Writes the private key in PKCS#8 and PEM to a file that only its owner can read.
    ///
    /// # Errors
    /// It can't be written, or exists and `overwrite` is false.
    pub fn store_pem(&self, path: &Path, overwrite: bool) -> Result<(), KeyError> {
        write_private(path, &self.pem(), overwrite)
    }

    /// An identity file's text. It holds the private key.
    #[must_use]
    pub fn text(&self) -> Zeroizing<String> {
        Zeroizing::new(format!("{IDENTITY_TAG} {}\n", *hex(&*self.seed)))
    }

    /// Writes an identity file that only its owner can read.
    ///
    /// # Errors
    /// It can't be written, or exists and `overwrite` is false.
    pub fn store(&self, path: &Path, overwrite: bool) -> Result<(), KeyError> {
        write_private(path, &self.text(), overwrite)
    }

    /// The public half.
    #[must_use]
    pub fn public_key(&self) -> PublicKey {
        let mut key = [0; 32];
        key.iter_mut().zip(self.pair.public_key().as_ref()).for_each(|(to, from)| *to = *from);
        PublicKey(key)
    }

    /// The member's name that the key gives.
    #[must_use]
    pub fn member_id(&self) -> MemberId {
        MemberId::from_hash(hash(Domain::Member, &self.public_key().0))
    }

    /// Signs a message.
    #[must_use]
    pub fn sign(&self, message: &[u8]) -> Signature {
        let signed = self.pair.sign(message);
        let mut signature = [0; 64];
        signature.iter_mut().zip(signed.as_ref()).for_each(|(to, from)| *to = *from);
        Signature(signature)
    }
}

impl Clone for SigningKey {
    fn clone(&self) -> Self {
        Self::from_seed(*self.seed)
    }
}

impl fmt::Debug for SigningKey {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "SigningKey({})", self.member_id())
    }
}

/// The link keys of a group, by epoch.
#[derive(Clone)]
pub struct GroupKeys {
    keys: EpochKeys,
}

impl GroupKeys {
    /// A new key for epoch 0, from the operating system's randomness.
    ///
    /// # Panics
    /// If the operating system has no randomness to give.
    #[must_use]
    pub fn generate() -> Self {
        Self::from_key(random())
    }

    /// This key for epoch 0.
    #[must_use]
    pub fn from_key(key: [u8; 32]) -> Self {
        Self { keys: BTreeMap::from([(Epoch(0), Zeroizing::new(key))]) }
    }

    /// A key that everybody knows: it keeps groups apart and nothing secret. For loopback alone.
    #[must_use]
    pub fn development() -> Self {
        Self::from_key(blake3::derive_key("spinglass 2026-11 development group key", &[]))
    }

    /// Reads a group key file: a line `spinglass-group-key v1 epoch=N HEX` for each epoch; empty
    /// lines and lines that start with `#` are passed over.
    ///
    /// # Errors
    /// It can't be read, others can read it, or a line is wrong.
    pub fn load(path: &Path) -> Result<Self, KeyError> {
        Self::parse(&read_private(path)?, path)
    }

    /// Reads a group key file's text; errors name it by `path`.
    ///
    /// # Errors
    /// A line is wrong, or there is no key.
    pub fn parse(text: &str, path: &Path) -> Result<Self, KeyError> {
        let keys = parse_epoch_keys(text, path, (GROUP_TAG, "not a group key"))?;
        Ok(Self { keys })
    }

    /// A group key file's text. It holds the keys.
    #[must_use]
    pub fn text(&self) -> Zeroizing<String> {
        epoch_keys_text(&self.keys, GROUP_TAG)
    }

    /// What relays check members by; it opens nothing that the group says.
    #[must_use]
    pub fn relay_keys(&self) -> RelayKeys {
        RelayKeys::of(self.keys.iter().map(|(epoch, key)| (*epoch, &**key)))
    }

    /// The latest epoch that there is a key for.
    #[must_use]
    pub fn latest(&self) -> Option<Epoch> {
        self.keys.last_key_value().map(|(epoch, _)| *epoch)
    }

    /// Writes a group key file that only its owner can read.
    ///
    /// # Errors
    /// It can't be written, or exists and `overwrite` is false.
    pub fn store(&self, path: &Path, overwrite: bool) -> Result<(), KeyError> {
        write_private(path, &self.text(), overwrite)
    }

    pub(crate) fn insert(&mut self, epoch: Epoch, key: Zeroizing<[u8; 32]>) {
        self.keys.insert(epoch, key);
    }

    pub(crate) fn remove(&mut self, epoch: Epoch) {
        self.keys.remove(&epoch);
    }

    pub(crate) fn get(&self, epoch: Epoch) -> Option<&[u8; 32]> {
        self.keys.get(&epoch).map(|key| &**key)
    }
}

impl fmt::Debug for GroupKeys {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_set().entries(self.keys.keys()).finish()
    }
}

/// Bytes from the operating system.
///
/// # Panics
/// If it has none to give.
#[must_use]
pub fn random<const N: usize>() -> [u8; N] {
    let mut bytes = [0; N];
    // Not by way of aws-lc, whose own generator tests itself for 40 ms at a process's start.
    getrandom::fill(&mut bytes).expect("the operating system gives randomness");
    bytes
}

fn hex(bytes: &[u8]) -> Zeroizing<String> {
    let digit = |value: u8| char::from_digit(value.into(), 16);
    let mut text = Zeroizing::new(String::with_capacity(2 * bytes.len()));
    text.extend(bytes.iter().flat_map(|byte| [digit(byte >> 4), digit(byte & 15)]).flatten());
    text
}

fn parse_hex(text: &str) -> Option<[u8; 32]> {
    let (digits, rest) = text.as_bytes().as_chunks::<2>();
    if digits.len() != 32 || !rest.is_empty() {
        return None;
    }
    let mut key = [0; 32];
    for (byte, pair) in key.iter_mut().zip(digits) {
        let [high, low] = pair.map(|digit| char::from(digit).to_digit(16));
        *byte = u8::try_from(high? << 4 | low?).ok()?;
    }
    Some(key)
}

/// Keys by epoch.
pub(crate) type EpochKeys = BTreeMap<Epoch, Zeroizing<[u8; 32]>>;

/// Reads lines `TAG epoch=N HEX`; empty lines and lines that start with `#` are passed over.
pub(crate) fn parse_epoch_keys(
    text: &str,
    path: &Path,
    (tag, not_one): (&str, &'static str),
) -> Result<EpochKeys, KeyError> {
    let mut keys = BTreeMap::new();
    for (number, line) in (1..).zip(text.lines()) {
        let line = line.trim();
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        let bad = |what| KeyError::Line { path: path.into(), line: number, what };
        let rest = line.strip_prefix(tag).ok_or_else(|| bad(not_one))?;
        let mut words = rest.split_whitespace();
        let epoch = words.next().and_then(|word| word.strip_prefix("epoch="));
        let epoch = epoch.and_then(|number| number.parse().ok());
        let epoch = Epoch(epoch.ok_or_else(|| bad("no epoch=0..255"))?);
        let key = words.next().and_then(parse_hex);
        let key = key.ok_or_else(|| bad("the key is not 64 hex digits"))?;
        if words.next().is_some() {
            return Err(bad("something follows the key"));
        }
        if keys.insert(epoch, Zeroizing::new(key)).is_some() {
            return Err(bad("an epoch that has a key already"));
        }
    }
    if keys.is_empty() { Err(KeyError::Empty(path.into())) } else { Ok(keys) }
}

/// The lines that [`parse_epoch_keys`] reads.
pub(crate) fn epoch_keys_text(keys: &EpochKeys, tag: &str) -> Zeroizing<String> {
    let mut text = Zeroizing::new(String::with_capacity(FILE_LINE_BYTES * keys.len()));
    for (epoch, key) in keys {
        // In pieces, into room made before: nothing grows, so no copy is left behind.
        text.push_str(tag);
        text.push_str(&format!(" epoch={} ", epoch.0));
        text.push_str(&hex(&**key));
        text.push('\n');
    }
    text
}

pub(crate) fn read_private(path: &Path) -> Result<Zeroizing<String>, KeyError> {
    let io = |source| KeyError::Io { path: path.into(), source };
    let mode = fs::metadata(path).map_err(io)?.permissions().mode() & 0o777;
    if mode & OTHERS != 0 {
        return Err(KeyError::Exposed { path: path.into(), mode });
    }
    fs::read_to_string(path).map(Zeroizing::new).map_err(io)
}

pub(crate) fn write_private(path: &Path, text: &str, overwrite: bool) -> Result<(), KeyError> {
    let mut options = OpenOptions::new();
    options.write(true).mode(0o600);
    if overwrite {
        options.create(true).truncate(true);
    } else {
        options.create_new(true);
    }
    let result = options.open(path).and_then(|mut file| {
        file.set_permissions(fs::Permissions::from_mode(0o600))?;
        file.write_all(text.as_bytes())?;
        file.sync_all()
    });
    result.map_err(|source| match source.kind() {
        io::ErrorKind::AlreadyExists => KeyError::Exists(path.into()),
        _ => KeyError::Io { path: path.into(), source },
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(name: &str) -> PathBuf {
        std::env::temp_dir().join(format!("spinglass-keys-{}-{name}", std::process::id()))
    }

    #[test]
    fn keys_come_back_and_nothing_is_overwritten() {
        let (path, group) = (file("identity"), file("group"));
        let key = SigningKey::generate();
        key.store(&path, false).unwrap();
        assert_eq!(SigningKey::load(&path).unwrap().public_key(), key.public_key());
        assert!(matches!(key.store(&path, false), Err(KeyError::Exists(_))));
        let keys = GroupKeys::generate();
        keys.store(&group, false).unwrap();
        assert_eq!(GroupKeys::load(&group).unwrap().get(Epoch(0)), keys.get(Epoch(0)));
        fs::set_permissions(&group, fs::Permissions::from_mode(0o644)).unwrap();
        assert!(matches!(GroupKeys::load(&group), Err(KeyError::Exposed { mode: 0o644, .. })));
        [path, group].iter().for_each(|path| fs::remove_file(path).unwrap());
    }

    #[test]
    fn keys_of_other_programs_are_read() {
        // RFC 8410, 10.3: a key alone, and one with attributes and its public half.
        let alone = "-----BEGIN PRIVATE KEY-----\n\
            MC4CAQAwBQYDK2VwBCIEINTuctv5E1hK1bbY8fdp+K06/nwoy/HU++CXqI9EdVhC\n\
            -----END PRIVATE KEY-----\n";
        let path = Path::new("me.key");
        let key = SigningKey::parse(alone, path).unwrap();
        assert_eq!(key.pem().as_str(), alone);
        let public = "MCowBQYDK2VwAyEAGb9ECWmEzf6FQbrBZ9w7lshQhqowtrbLDFw4rXAxZuE=";
        assert!(key.public_pem().contains(public));
        let encrypted = alone.replace("PRIVATE", "ENCRYPTED PRIVATE");
        let error = SigningKey::parse(&encrypted, path).unwrap_err().to_string();
        assert!(error.contains("encrypted"), "{error}");
        let broken = alone.replace("MC4C", "MC4D");
        assert!(SigningKey::parse(&broken, path).is_err());
        assert!(!format!("{key:?}").contains("d4ee"), "no key is shown");
    }

    #[test]
    fn a_bad_line_is_named() {
        let path = file("bad");
        write_private(&path, "# ours\nspinglass-group-key v1 epoch=0 12\n", true).unwrap();
        let error = GroupKeys::load(&path).unwrap_err().to_string();
        assert!(error.contains("line 2") && error.contains("64 hex"), "{error}");
        fs::remove_file(&path).unwrap();
    }
}
