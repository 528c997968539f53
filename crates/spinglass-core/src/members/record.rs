//! What a member signs about itself.

use alloc::vec::Vec;
use core::net::SocketAddr;

use crate::config::REGION_BYTES_MAX;
use crate::crypto::{Crypto, Hash, PublicKey, Salt, Signature};
use crate::id::{Incarnation, MemberId};
use crate::link::Boot;
use crate::table::{RowKey, ZonePath};
use crate::wire::{Malformed, Put, Reader};

/// Bytes of the longest record: key 32, incarnation 8, salt 16, generation 4, address 19, region
/// 1 + 64, certificate 1 + 16, signature 64.
pub const RECORD_BYTES_MAX: usize = 161 + REGION_BYTES_MAX;

/// What keeps a record's signature from passing for one over anything else.
const SIGNING_DOMAIN: &[u8] = b"spinglass member v1";

/// A member's signed record of one of its lives. Immutable; shared, not copied.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MemberRecord {
    /// Its key, whose hash is its name.
    pub public_key: PublicKey,
    /// Its life.
    pub incarnation: Incarnation,
    /// The salt of this life's sealing keys.
    pub salt: Salt,
    /// Which of them is in use.
    pub generation: u32,
    /// Where it receives.
    pub address: SocketAddr,
    /// Its region.
    pub region: ZonePath,
    /// Its certificate's hash, if it has one.
    pub certificate: Option<Hash>,
    id: MemberId,
    signature: Signature,
}

/// A record off the wire whose signature nobody has looked at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UnverifiedRecord(MemberRecord);

impl MemberRecord {
    /// Signs a record of this member.
    pub fn sign(
        boot: &Boot,
        incarnation: Incarnation,
        address: SocketAddr,
        (region, certificate): (ZonePath, Option<Hash>),
        crypto: &mut dyn Crypto,
    ) -> Self {
        let mut record = Self {
            public_key: crypto.public_key(),
            incarnation,
            salt: boot.salt,
            generation: boot.generation,
            address,
            region,
            certificate,
            id: boot.sender,
            signature: Signature([0; 64]),
        };
        record.signature = crypto.sign(&record.signed_bytes());
        record
    }

    /// The member's name.
    #[must_use]
    pub const fn id(&self) -> MemberId {
        self.id
    }

    /// Its line in its region's table.
    pub(crate) fn key(&self) -> RowKey {
        RowKey::of_hash(Hash(self.id.0))
    }

    /// What its sealing key is derived from.
    #[must_use]
    pub const fn boot(&self) -> Boot {
        Boot { sender: self.id, salt: self.salt, generation: self.generation }
    }

    /// Whether this record is newer than `other`, of the same member.
    #[must_use]
    pub fn supersedes(&self, other: &Self) -> bool {
        (self.incarnation, self.generation) > (other.incarnation, other.generation)
    }

    /// Appends the record.
    pub fn encode(&self, buffer: &mut Vec<u8>) {
        self.encode_body(buffer);
        buffer.put(&self.signature.0);
    }

    fn encode_body(&self, buffer: &mut Vec<u8>) {
        buffer.put(&self.public_key.0);
        buffer.put_u64(self.incarnation.0);
        buffer.put(&self.salt.0);
        buffer.put_u32(self.generation);
        buffer.put_address(self.address);
        buffer.put_text(self.region.as_str());
        buffer.put_u8(u8::from(self.certificate.is_some()));
        self.certificate.iter().for_each(|hash| buffer.put(&hash.0));
    }

    fn signed_bytes(&self) -> Vec<u8> {
        let mut signed = Vec::with_capacity(SIGNING_DOMAIN.len() + RECORD_BYTES_MAX);
        signed.put(SIGNING_DOMAIN);
        self.encode_body(&mut signed);
        signed
    }
}

impl UnverifiedRecord {
    /// Reads a record.
    ///
    /// # Errors
    /// It is none, or says something that no member says.
    pub fn parse(reader: &mut Reader<'_>) -> Result<Self, Malformed> {
        let public_key = PublicKey(reader.array()?);
        let incarnation = Incarnation(reader.u64()?);
        let (salt, generation) = (Salt(reader.array()?), reader.u32()?);
        let address = reader.address()?;
        let region = ZonePath::read(reader)?;
        let certificate = match reader.u8()? {
            0 => None,
            1 => Some(Hash(reader.array()?)),
            _ => return Err(Malformed),
        };
        let signature = Signature(reader.array()?);
        let id = MemberId::default();
        Ok(Self(MemberRecord {
            public_key,
            incarnation,
            salt,
            generation,
            address,
            region,
            certificate,
            id,
            signature,
        }))
    }

    /// Appends the record as it was read.
    pub fn encode(&self, buffer: &mut Vec<u8>) {
        self.0.encode(buffer);
    }

    /// The name that the record's key gives.
    pub fn name(&mut self, crypto: &mut dyn Crypto) -> MemberId {
        self.0.id = MemberId::of_key(&self.0.public_key, crypto);
        self.0.id
    }

    /// Whether it is, letter by letter, a record that was verified before.
    #[must_use]
    pub fn equals(&self, known: &MemberRecord) -> bool {
        self.0 == *known
    }

    /// The record, if its own key signed it.
    pub fn verify(mut self, crypto: &mut dyn Crypto) -> Option<MemberRecord> {
        self.name(crypto);
        let Self(record) = self;
        let signed = record.signed_bytes();
        crypto.verify(&record.public_key, &signed, &record.signature).then_some(record)
    }
}
