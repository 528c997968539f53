//! One row: what its issuer says of itself, of its zone, or of a summary function; or an order.
//!
//! ```text
//! kind u8 | zone text | public key 32 | incarnation varint | counter varint | issued ms u64 |
//! flags u8 | attributes | signature 64
//! ```
//!
//! A row is immutable once issued and is shared, never copied. Its key says which line of its
//! zone's table it is; its version, which of two rows of one line is newer. Versions are counters:
//! no machine's clock is compared with another's.

use alloc::boxed::Box;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::net::SocketAddr;

use spinglass_summary::{Function, Row, Value};

use super::path::ZonePath;
use super::text::{self, Terms};
use crate::crypto::{Crypto, Domain, Hash, PublicKey, Signature};
use crate::id::{Incarnation, MemberId};
use crate::object::ObjectName;
use crate::wire::{Malformed, Put, Reader};

/// Bytes of the longest row, signature and all: with its frame, seal and its sender's record it
/// fits a datagram of 1,200 bytes.
pub const ROW_BYTES_MAX: usize = 900;
/// Bytes that a row's attributes take at most, whatever its zone and version are: kind 1, zone 65,
/// key 32, version 20, time 8, flags 1, the attributes' count 2, signature 64.
pub const ATTRIBUTE_BYTES_MAX: usize = ROW_BYTES_MAX - 193;

/// What keeps a row's signature from passing for one over anything else.
const SIGNING_DOMAIN: &[u8] = b"spinglass row v1";
const SIGNATURE_BYTES: usize = 64;
/// The row is its line's last word: a good-bye, or a function's removal.
const FLAG_REMOVED: u8 = 1;

/// What a row describes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// An agent, in its region's table; issued by the agent.
    Agent,
    /// A child zone, in its parent's table; issued by a representative of the child.
    Zone,
    /// A summary function, in the table of the zone where it begins to hold.
    Function,
    /// An [`Order`](crate::orders::Order), in the root's table.
    Order,
}

impl Kind {
    /// Whether it stands for agents: what is summarised, and falls silent.
    pub(crate) const fn is_child(self) -> bool {
        matches!(self, Self::Agent | Self::Zone)
    }
}

/// Which line of a table a row is: 64 bits of a hash that its issuer can't choose.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RowKey(pub u64);

/// Which of two rows of one line is newer.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Version {
    /// The agent's life. 0 for zones, functions and orders, which have several issuers.
    pub incarnation: Incarnation,
    /// An agent's own counter; otherwise one more than the highest its issuer had met.
    pub counter: u64,
}

/// What goes into a row, before it is signed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Draft {
    pub(crate) kind: Kind,
    pub(crate) zone: ZonePath,
    pub(crate) version: Version,
    pub(crate) issued_ms: u64,
    pub(crate) is_removed: bool,
    pub(crate) attributes: Row,
}

/// A row whose signature has been checked: nothing else is merged, relayed or shown.
#[derive(Debug, Clone)]
pub struct TableRow {
    draft: Draft,
    issuer: PublicKey,
    key: RowKey,
    /// The name of who signed it.
    member: MemberId,
    /// Of all its bytes: tells rows of one version apart, and is their share of a level's digest.
    hash: Hash,
    encoded: Arc<[u8]>,
    /// Where the agent, or those who speak for the zone, are reached: read once, asked for always.
    contacts: Box<[SocketAddr]>,
    /// What a function's row says.
    terms: Terms,
}

/// A row off the wire whose signature nobody has looked at.
#[derive(Debug, Clone)]
pub struct UnverifiedRow<'a> {
    draft: Draft,
    issuer: PublicKey,
    bytes: &'a [u8],
}

impl Draft {
    fn encode(&self, issuer: &PublicKey, buffer: &mut Vec<u8>) {
        buffer.put_u8(match self.kind {
            Kind::Agent => 0,
            Kind::Zone => 1,
            Kind::Function => 2,
            Kind::Order => 3,
        });
        buffer.put_text(self.zone.as_str());
        buffer.put(&issuer.0);
        buffer.put_varint(self.version.incarnation.0);
        buffer.put_varint(self.version.counter);
        buffer.put_u64(self.issued_ms);
        buffer.put_u8(if self.is_removed { FLAG_REMOVED } else { 0 });
        self.attributes.encode(buffer);
    }

    /// The line that the row is.
    fn key(&self, issuer: &PublicKey, crypto: &mut dyn Crypto) -> RowKey {
        match self.kind {
            Kind::Agent => RowKey::of_hash(crypto.hash(Domain::Member, &issuer.0)),
            Kind::Zone | Kind::Function | Kind::Order => {
                RowKey::of_name(self.kind, &self.zone, name_of(&self.attributes), crypto)
            }
        }
    }

    /// Signs the row. `None`: it is larger than [`ROW_BYTES_MAX`].
    pub(crate) fn sign(self, crypto: &mut dyn Crypto) -> Option<TableRow> {
        let issuer = crypto.public_key();
        let mut encoded = Vec::with_capacity(ROW_BYTES_MAX);
        self.encode(&issuer, &mut encoded);
        if encoded.len() + SIGNATURE_BYTES > ROW_BYTES_MAX {
            return None;
        }
        let signature = crypto.sign(&signed_bytes(&encoded));
        encoded.put(&signature.0);
        let key = self.key(&issuer, crypto);
        Some(TableRow::new(self, issuer, key, &encoded, crypto))
    }
}

impl TableRow {
    fn new(
        draft: Draft,
        issuer: PublicKey,
        key: RowKey,
        encoded: &[u8],
        crypto: &mut dyn Crypto,
    ) -> Self {
        let hash = crypto.hash(Domain::Row, encoded);
        let terms = match draft.kind {
            Kind::Function => Terms::of(&draft.attributes, draft.issued_ms),
            Kind::Order => Terms::of_order(&draft.attributes, draft.issued_ms),
            Kind::Agent | Kind::Zone => Terms::default(),
        };
        let contacts = contacts(&draft.attributes).collect();
        let member = MemberId::of_key(&issuer, crypto);
        Self { draft, issuer, key, member, hash, encoded: Arc::from(encoded), contacts, terms }
    }

    /// What it describes.
    #[must_use]
    pub const fn kind(&self) -> Kind {
        self.draft.kind
    }

    /// The zone in whose table it stands.
    #[must_use]
    pub const fn zone(&self) -> &ZonePath {
        &self.draft.zone
    }

    /// Its line.
    #[must_use]
    pub const fn key(&self) -> RowKey {
        self.key
    }

    /// Its version.
    #[must_use]
    pub const fn version(&self) -> Version {
        self.draft.version
    }

    /// Who signed it.
    #[must_use]
    pub const fn issuer(&self) -> &PublicKey {
        &self.issuer
    }

    /// The name of the member that signed it.
    #[must_use]
    pub const fn member(&self) -> MemberId {
        self.member
    }

    /// When, by its issuer's clock, in milliseconds since the Unix epoch: to be shown, not
    /// compared.
    #[must_use]
    pub const fn issued_ms(&self) -> u64 {
        self.draft.issued_ms
    }

    /// Whether it is its line's last word.
    #[must_use]
    pub const fn is_removed(&self) -> bool {
        self.draft.is_removed
    }

    /// What it says.
    #[must_use]
    pub const fn attributes(&self) -> &Row {
        &self.draft.attributes
    }

    /// The agent's, zone's, function's or order's name.
    #[must_use]
    pub fn name(&self) -> &str {
        name_of(self.attributes())
    }

    /// Where the agent, or those who speak for the zone, are reached.
    #[must_use]
    pub const fn contacts(&self) -> &[SocketAddr] {
        &self.contacts
    }

    /// The function, if its text is here and this build understands it.
    #[must_use]
    pub const fn function(&self) -> Option<&Function> {
        self.terms.function.as_ref()
    }

    /// The object that is the function's text, if there was no room for that in the row.
    #[must_use]
    pub const fn object(&self) -> Option<ObjectName> {
        self.terms.object
    }

    /// Until when the function or order holds, in milliseconds since the Unix epoch. `None`: until
    /// it is removed.
    #[must_use]
    pub const fn lapses_ms(&self) -> Option<u64> {
        self.terms.lapses_ms
    }

    /// Whether this is a function or an order whose time is over.
    #[must_use]
    pub fn has_lapsed(&self, wall_ms: u64) -> bool {
        self.lapses_ms().is_some_and(|lapses| lapses <= wall_ms)
    }

    /// The hash of its bytes.
    #[must_use]
    pub const fn hash(&self) -> Hash {
        self.hash
    }

    /// The front of its hash: in the same order as the whole, so that an inventory's few bytes
    /// decide as the rows would.
    #[must_use]
    pub fn short_hash(&self) -> u16 {
        let [first, second, ..] = self.hash.0;
        u16::from_be_bytes([first, second])
    }

    /// Its bytes.
    #[must_use]
    pub fn encoded(&self) -> &[u8] {
        &self.encoded
    }

    /// Whether this row replaces `other`, of the same line. Two rows of one version are a broken
    /// promise of their issuer, or two representatives at once: the same one wins everywhere.
    #[must_use]
    pub fn supersedes(&self, other: &Self) -> bool {
        // The deliberate bug: of two rows of one version the later to come wins.
        #[cfg(spinglass_bug = "row_equal_version")]
        return self.version() >= other.version() && self.hash != other.hash;
        #[cfg(not(spinglass_bug = "row_equal_version"))]
        {
            (self.version(), self.hash) > (other.version(), other.hash)
        }
    }

    /// Whether this row says what `other`, of the same line, says.
    pub(crate) fn says_same(&self, other: &Self) -> bool {
        self.is_removed() == other.is_removed()
            && self.version().incarnation == other.version().incarnation
            && self.attributes() == other.attributes()
    }
}

impl<'a> UnverifiedRow<'a> {
    /// Reads a row that `bytes` hold, all of them.
    ///
    /// # Errors
    /// They hold none, or one that says something that no row says.
    pub fn parse(bytes: &'a [u8]) -> Result<Self, Malformed> {
        if bytes.len() > ROW_BYTES_MAX {
            return Err(Malformed);
        }
        let mut reader = Reader::new(bytes);
        let kind = match reader.u8()? {
            0 => Kind::Agent,
            1 => Kind::Zone,
            2 => Kind::Function,
            3 => Kind::Order,
            _ => return Err(Malformed),
        };
        let zone = ZonePath::read(&mut reader)?;
        let issuer = PublicKey(reader.array()?);
        let version =
            Version { incarnation: Incarnation(reader.varint()?), counter: reader.varint()? };
        let issued_ms = reader.u64()?;
        let flags = reader.u8()?;
        let mut rest = reader.rest();
        let attributes = Row::decode(&mut rest).map_err(|_| Malformed)?;
        let is_named = !name_of(&attributes).is_empty();
        let has_life = (kind == Kind::Agent) == (version.incarnation != Incarnation(0));
        let sound = flags & !FLAG_REMOVED == 0 && is_named && has_life;
        if !sound || rest.len() != SIGNATURE_BYTES {
            return Err(Malformed);
        }
        let is_removed = flags & FLAG_REMOVED != 0;
        let draft = Draft { kind, zone, version, issued_ms, is_removed, attributes };
        Ok(Self { draft, issuer, bytes })
    }

    /// The row as it was read.
    #[must_use]
    pub const fn bytes(&self) -> &'a [u8] {
        self.bytes
    }

    /// Appends what was read, as it would be written.
    pub fn encode(&self, buffer: &mut Vec<u8>) {
        self.draft.encode(&self.issuer, buffer);
        let signature = self.bytes.last_chunk::<SIGNATURE_BYTES>();
        signature.into_iter().for_each(|signature| buffer.put(signature));
    }

    /// The line that it would be.
    pub fn key(&self, crypto: &mut dyn Crypto) -> RowKey {
        self.draft.key(&self.issuer, crypto)
    }

    /// Whose signature it would be.
    pub(crate) const fn issuer(&self) -> &PublicKey {
        &self.issuer
    }

    pub(crate) fn name(&self) -> &str {
        name_of(&self.draft.attributes)
    }

    pub(crate) const fn attributes(&self) -> &Row {
        &self.draft.attributes
    }

    pub(crate) const fn kind(&self) -> Kind {
        self.draft.kind
    }

    pub(crate) fn is_order(&self) -> bool {
        self.draft.kind == Kind::Order
    }

    pub(crate) const fn zone(&self) -> &ZonePath {
        &self.draft.zone
    }

    pub(crate) const fn version(&self) -> Version {
        self.draft.version
    }

    pub(crate) const fn issued_ms(&self) -> u64 {
        self.draft.issued_ms
    }

    /// Whether it says of itself that its time is over, as a function may.
    pub(crate) fn has_lapsed(&self, wall_ms: u64) -> bool {
        let lapses = text::lapses_ms(&self.draft.attributes, self.draft.issued_ms);
        self.draft.kind == Kind::Function && lapses.is_some_and(|lapses| lapses <= wall_ms)
    }

    /// The row of line `key`, if its issuer signed it.
    pub fn verify(self, key: RowKey, crypto: &mut dyn Crypto) -> Option<TableRow> {
        let (body, signature) = self.bytes.split_last_chunk::<SIGNATURE_BYTES>()?;
        let signed = signed_bytes(body);
        #[cfg(not(spinglass_bug = "row_signature_unchecked"))]
        let genuine = crypto.verify(&self.issuer, &signed, &Signature(*signature));
        #[cfg(spinglass_bug = "row_signature_unchecked")]
        let genuine = !signed.is_empty() && *signature != [0; SIGNATURE_BYTES];
        genuine.then(|| TableRow::new(self.draft, self.issuer, key, self.bytes, crypto))
    }
}

impl RowKey {
    pub(crate) fn of_hash(hash: Hash) -> Self {
        let (first, _) = hash.0.split_first_chunk::<8>().expect("a hash has 16 bytes");
        Self(u64::from_le_bytes(*first))
    }

    /// The line of a zone, function or order in its zone's table.
    pub(crate) fn of_name(
        kind: Kind,
        zone: &ZonePath,
        name: &str,
        crypto: &mut dyn Crypto,
    ) -> Self {
        let mut text = Vec::with_capacity(2 + zone.as_str().len() + name.len());
        text.put_u8(match kind {
            Kind::Agent | Kind::Zone => 0,
            Kind::Function => 1,
            Kind::Order => 2,
        });
        text.put_text(zone.as_str());
        text.put(name.as_bytes());
        Self::of_hash(crypto.hash(Domain::Line, &text))
    }
}

/// Where a zone's or an agent's row says that it is reached.
pub(super) fn contacts(attributes: &Row) -> impl Iterator<Item = SocketAddr> {
    let list = attributes.get("contacts").and_then(Value::as_list).unwrap_or(&[]);
    list.iter().filter_map(Value::as_text).filter_map(|text| text.parse().ok())
}

/// The name that a row of these attributes has.
pub(crate) fn name_of(attributes: &Row) -> &str {
    attributes.get("id").and_then(Value::as_text).unwrap_or("")
}

fn signed_bytes(body: &[u8]) -> Vec<u8> {
    let mut signed = Vec::with_capacity(SIGNING_DOMAIN.len() + body.len());
    signed.put(SIGNING_DOMAIN);
    signed.put(body);
    signed
}
