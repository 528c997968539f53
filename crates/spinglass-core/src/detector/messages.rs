//! What agents tell each other about who is alive.
//!
//! ```text
//!  a ── probe: a number ─────────▶ b      each round, and each half round while a is in doubt
//!  a ◀── answer: the number ────── b
//!  a ── doubt: b ────────────────▶ b's other observers
//!  a ── accusation: b, signed ───▶ b's other observers
//!  a ── verdict: a quorum of accusations ─▶ a few agents, who pass it on
//! ```

use alloc::vec::Vec;

use crate::config::OBSERVERS_MAX;
use crate::crypto::{Crypto, PublicKey, Signature};
use crate::id::Incarnation;
use crate::table::{RowKey, Version, ZonePath};
use crate::wire::{Malformed, Put, Reader};

/// Accusations in a verdict at most: one per ring.
pub const ACCUSATIONS_MAX: usize = OBSERVERS_MAX as usize;

/// Separates what is signed here from all else that an agent signs.
const SIGNING_DOMAIN: &[u8] = b"spinglass accusation 1";

/// An observer's word that it can't reach an agent.
///
/// It names the version of the agent's row, signed by the agent, that the observer holds: so those
/// of different times don't add up to a verdict.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Accusation {
    /// Who accuses.
    pub observer: RowKey,
    /// The counter of the accused row's version.
    pub counter: u64,
    /// The observer's signature.
    pub signature: Signature,
}

/// Accusations of one agent: one, or a quorum that removes it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Verdict {
    /// The region in which the accused's row stands.
    pub zone: ZonePath,
    /// The accused's line.
    pub subject: RowKey,
    /// The life that it is accused in.
    pub incarnation: Incarnation,
    /// Who says so, by rising key.
    pub accusations: Vec<Accusation>,
}

impl Verdict {
    /// Reads accusations; nobody has looked at their signatures.
    ///
    /// # Errors
    /// They are none, or too many.
    pub fn parse(body: &[u8]) -> Result<Self, Malformed> {
        let mut reader = Reader::new(body);
        let zone = ZonePath::read(&mut reader)?;
        let subject = RowKey(reader.u64()?);
        let incarnation = Incarnation(reader.varint()?);
        let mut accusations = Vec::<Accusation>::new();
        while !reader.is_empty() {
            let observer = RowKey(reader.u64()?);
            let counter = reader.varint()?;
            let signature = Signature(reader.array()?);
            let rises = accusations.last().is_none_or(|last| last.observer < observer);
            if !rises || accusations.len() == ACCUSATIONS_MAX {
                return Err(Malformed);
            }
            accusations.push(Accusation { observer, counter, signature });
        }
        if accusations.is_empty() {
            return Err(Malformed);
        }
        Ok(Self { zone, subject, incarnation, accusations })
    }

    /// Appends the accusations.
    pub fn encode(&self, buffer: &mut Vec<u8>) {
        buffer.put_text(self.zone.as_str());
        buffer.put_u64(self.subject.0);
        buffer.put_varint(self.incarnation.0);
        for accusation in &self.accusations {
            buffer.put_u64(accusation.observer.0);
            buffer.put_varint(accusation.counter);
            buffer.put(&accusation.signature.0);
        }
    }
}

/// Signs one observer's word.
pub fn accuse(
    zone: &ZonePath,
    subject: RowKey,
    version: Version,
    observer: RowKey,
    crypto: &mut dyn Crypto,
) -> Accusation {
    let signed = signed_bytes(zone, subject, version, observer);
    Accusation { observer, counter: version.counter, signature: crypto.sign(&signed) }
}

/// Whether `accusation` is the word of the agent with this public key.
pub fn is_genuine(
    accusation: &Accusation,
    (zone, subject, incarnation): (&ZonePath, RowKey, Incarnation),
    public_key: &PublicKey,
    crypto: &mut dyn Crypto,
) -> bool {
    let version = Version { incarnation, counter: accusation.counter };
    let signed = signed_bytes(zone, subject, version, accusation.observer);
    crypto.verify(public_key, &signed, &accusation.signature)
}

fn signed_bytes(zone: &ZonePath, subject: RowKey, version: Version, observer: RowKey) -> Vec<u8> {
    let mut signed = Vec::with_capacity(SIGNING_DOMAIN.len() + zone.as_str().len() + 40);
    signed.put(SIGNING_DOMAIN);
    signed.put_text(zone.as_str());
    signed.put_u64(subject.0);
    signed.put_varint(version.incarnation.0);
    signed.put_varint(version.counter);
    signed.put_u64(observer.0);
    signed
}
