//! What a relay and a member say to each other: each a binary message of a WebSocket.
//!
//! ```text
//!  challenge 1 | version u8 | nonce 32                                   relay ▶ member, first
//!  proof     2 | port u16 | public key 32 | signature 64                 member ▶ relay
//!              | flags u8 | 1: epoch u8, MAC 32 | 2: chain length u16, chain
//!  welcome   3 | address                                                 relay ▶ member
//!  refusal   4 | reason u8                                               relay ▶ member, last
//!  outgoing  5 | count u8 | addresses | segment u16 | datagrams          member ▶ relay
//!  incoming  6 | address | segment u16 | datagrams                       relay ▶ member
//! ```
//!
//! Datagrams of equal size go together, one after the other; the last may be shorter. Numbers and
//! addresses are written as in datagrams (docs/wire.md). Parsers are total.

use std::net::SocketAddr;

use bytes::{Bytes, BytesMut};
use spinglass_core::DESTINATIONS_MAX;
use spinglass_core::crypto::{Epoch, PublicKey, Signature};
use spinglass_core::identity::CHAIN_BYTES_MAX;
use spinglass_core::wire::{Malformed, Put, Reader};

/// The version of these messages that this build speaks.
pub const VERSION: u8 = 1;
/// Bytes of the datagrams of one message at most: one run of segments.
pub const RUN_BYTES_MAX: usize = 1 << 16;
/// Bytes of an address on the wire at most.
const ADDRESS_BYTES_MAX: usize = 19;
/// Bytes of the longest message: a run, and where it goes.
pub const MESSAGE_BYTES_MAX: usize = RUN_BYTES_MAX + DESTINATIONS_MAX * ADDRESS_BYTES_MAX + 4;

const CHALLENGE: u8 = 1;
const PROOF: u8 = 2;
const WELCOME: u8 = 3;
const REFUSAL: u8 = 4;
const OUTGOING: u8 = 5;
const INCOMING: u8 = 6;

const HAS_MAC: u8 = 1;
const HAS_CHAIN: u8 = 2;

/// Random bytes of a relay's, new for each connection.
pub type Nonce = [u8; 32];
/// Proof that somebody knows a relay key.
pub type Mac = [u8; 32];

/// What a member says to be let in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Proof {
    /// The UDP port that it wishes for; 0: any.
    pub port: u16,
    /// Its key.
    pub public_key: PublicKey,
    /// What that key signed.
    pub signature: Signature,
    /// By which key of the group, and the proof that it has it.
    pub mac: Option<(Epoch, Mac)>,
    /// The chain of its certificates, as it travels.
    pub chain: Option<Vec<u8>>,
}

/// Why a member is not let in, as it is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// It speaks another version of these messages, or does not speak them at all.
    #[error("it does not speak this version")]
    Version,
    /// It proved neither that it has the group's key nor who it is.
    #[error("it did not believe this member's proof: see that its key, or its roots, fit")]
    Unproven,
    /// No rule lets it use this door.
    #[error("its rules do not let this member in (`door relay`)")]
    Denied,
    /// There are as many members as the relay has room for, or no port is left.
    #[error("it has no room left")]
    Full,
}

impl Refusal {
    const ALL: [Self; 4] = [Self::Version, Self::Unproven, Self::Denied, Self::Full];
}

/// What a relay says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum FromRelay {
    /// Prove yourself.
    Challenge {
        /// Its version.
        version: u8,
        /// What the proof must be about.
        nonce: Nonce,
    },
    /// You are let in, and others reach you here.
    Welcome(SocketAddr),
    /// You are not.
    Refusal(Refusal),
}

/// A run of datagrams that arrived for a member.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Incoming {
    /// The address they came from.
    pub from: SocketAddr,
    /// Bytes of each; the last may be shorter. At least 1.
    pub segment_bytes: usize,
    /// The datagrams, one after the other.
    pub bytes: BytesMut,
}

/// A run of datagrams that a member sends.
#[derive(Debug, PartialEq, Eq)]
pub struct Outgoing<'a> {
    /// Where all of them go.
    pub to: Vec<SocketAddr>,
    /// Bytes of each; the last may be shorter. At least 1.
    pub segment_bytes: usize,
    /// The datagrams, one after the other.
    pub bytes: &'a [u8],
}

impl Proof {
    /// The message.
    #[must_use]
    pub fn encode(&self) -> Bytes {
        let mut message = Vec::with_capacity(256);
        message.put_u8(PROOF);
        message.put_u16(self.port);
        message.put(&self.public_key.0);
        message.put(&self.signature.0);
        let mac = if self.mac.is_some() { HAS_MAC } else { 0 };
        let chain = self.chain.as_ref().filter(|chain| chain.len() <= CHAIN_BYTES_MAX);
        message.put_u8(mac | if chain.is_some() { HAS_CHAIN } else { 0 });
        if let Some((epoch, mac)) = &self.mac {
            message.put_u8(epoch.0);
            message.put(mac);
        }
        if let Some(chain) = chain {
            message.put_sized(chain);
        }
        message.into()
    }

    /// Reads the message.
    ///
    /// # Errors
    /// It is no proof.
    pub fn parse(message: &[u8]) -> Result<Self, Malformed> {
        let mut reader = Reader::new(message);
        if reader.u8()? != PROOF {
            return Err(Malformed);
        }
        let port = reader.u16()?;
        let (public_key, signature) = (PublicKey(reader.array()?), Signature(reader.array()?));
        let flags = reader.u8()?;
        if flags & !(HAS_MAC | HAS_CHAIN) != 0 {
            return Err(Malformed);
        }
        let (mut mac, mut chain) = (None, None);
        if flags & HAS_MAC != 0 {
            mac = Some((Epoch(reader.u8()?), reader.array()?));
        }
        if flags & HAS_CHAIN != 0 {
            chain = Some(reader.sized()?.to_vec());
        }
        if reader.is_empty() {
            Ok(Self { port, public_key, signature, mac, chain })
        } else {
            Err(Malformed)
        }
    }
}

impl FromRelay {
    /// The message.
    #[must_use]
    pub fn encode(&self) -> Bytes {
        let mut message = Vec::with_capacity(34);
        match self {
            Self::Challenge { version, nonce } => {
                message.put(&[CHALLENGE, *version]);
                message.put(nonce);
            }
            Self::Welcome(address) => {
                message.put_u8(WELCOME);
                message.put_address(*address);
            }
            Self::Refusal(refusal) => {
                let reason = Refusal::ALL.iter().position(|one| one == refusal);
                message.put(&[REFUSAL, u8::try_from(reason.unwrap_or(0)).unwrap_or(0)]);
            }
        }
        message.into()
    }

    /// Reads the message. Of a challenge of another version only the beginning is looked at.
    ///
    /// # Errors
    /// It is none of these.
    pub fn parse(message: &[u8]) -> Result<Self, Malformed> {
        let mut reader = Reader::new(message);
        let said = match reader.u8()? {
            CHALLENGE => {
                let (version, nonce) = (reader.u8()?, reader.array()?);
                if version != VERSION {
                    return Ok(Self::Challenge { version, nonce });
                }
                Self::Challenge { version, nonce }
            }
            WELCOME => Self::Welcome(reader.address()?),
            REFUSAL => {
                let reason = usize::from(reader.u8()?);
                Self::Refusal(Refusal::ALL.get(reason).copied().ok_or(Malformed)?)
            }
            _ => return Err(Malformed),
        };
        if reader.is_empty() { Ok(said) } else { Err(Malformed) }
    }
}

/// The message with a run of datagrams for at most [`DESTINATIONS_MAX`] addresses; further ones are
/// left out.
#[must_use]
pub fn outgoing(to: &[SocketAddr], segment_bytes: usize, bytes: &[u8]) -> Bytes {
    let count = to.len().min(DESTINATIONS_MAX);
    let room = 4 + count * ADDRESS_BYTES_MAX + bytes.len();
    let mut message = Vec::with_capacity(room);
    message.put(&[OUTGOING, u8::try_from(count).unwrap_or(0)]);
    to.iter().take(count).for_each(|to| message.put_address(*to));
    message.put_u16(u16::try_from(segment_bytes).unwrap_or(u16::MAX));
    message.put(bytes);
    message.into()
}

impl<'a> Outgoing<'a> {
    /// Reads the message.
    ///
    /// # Errors
    /// It is none, goes nowhere, or has nothing in it.
    pub fn parse(message: &'a [u8]) -> Result<Self, Malformed> {
        let mut reader = Reader::new(message);
        if reader.u8()? != OUTGOING {
            return Err(Malformed);
        }
        let count = usize::from(reader.u8()?);
        if !(1..=DESTINATIONS_MAX).contains(&count) {
            return Err(Malformed);
        }
        let to = (0..count).map(|_| reader.address()).collect::<Result<_, _>>()?;
        let segment_bytes = usize::from(reader.u16()?);
        let bytes = reader.rest();
        if segment_bytes == 0 || bytes.is_empty() || bytes.len() > RUN_BYTES_MAX {
            return Err(Malformed);
        }
        Ok(Self { to, segment_bytes, bytes })
    }

    /// The datagrams.
    pub fn datagrams(&self) -> impl Iterator<Item = &'a [u8]> + use<'a> {
        self.bytes.chunks(self.segment_bytes)
    }
}

/// The head of a message with datagrams from an address; what they are is appended to it.
#[must_use]
pub fn incoming(from: SocketAddr, segment_bytes: usize) -> Vec<u8> {
    let mut message = Vec::with_capacity(segment_bytes + ADDRESS_BYTES_MAX + 3);
    message.put_u8(INCOMING);
    message.put_address(from);
    message.put_u16(u16::try_from(segment_bytes).unwrap_or(u16::MAX));
    message
}

impl Incoming {
    /// Whether the message is one; if so, its address, the segments' size, and where they begin.
    pub(crate) fn check(message: &[u8]) -> Result<(SocketAddr, usize, usize), Malformed> {
        let mut reader = Reader::new(message);
        if reader.u8()? != INCOMING {
            return Err(Malformed);
        }
        let (from, segment_bytes) = (reader.address()?, usize::from(reader.u16()?));
        if segment_bytes == 0 || reader.is_empty() {
            return Err(Malformed);
        }
        Ok((from, segment_bytes, message.len() - reader.rest().len()))
    }

    /// Reads the message.
    ///
    /// # Errors
    /// It is none, or has nothing in it.
    pub fn parse(message: Bytes) -> Result<Self, Malformed> {
        let (from, segment_bytes, head) = Self::check(&message)?;
        // It is opened in place; nobody else has the message, so nothing is copied.
        let mut bytes = BytesMut::from(message);
        let _ = bytes.split_to(head);
        Ok(Self { from, segment_bytes, bytes })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn proof(mac: bool, chain: bool) -> Proof {
        Proof {
            port: 700,
            public_key: PublicKey([1; 32]),
            signature: Signature([2; 64]),
            mac: mac.then_some((Epoch(3), [4; 32])),
            chain: chain.then(|| vec![5; 700]),
        }
    }

    fn address(text: &str) -> SocketAddr {
        text.parse().expect("an address")
    }

    #[test]
    fn messages_come_back() {
        for (mac, chain) in [(false, false), (true, false), (false, true), (true, true)] {
            let proof = proof(mac, chain);
            assert_eq!(Proof::parse(&proof.encode()), Ok(proof));
        }
        let mut all = vec![
            FromRelay::Challenge { version: VERSION, nonce: [7; 32] },
            FromRelay::Welcome(address("[fd00::1]:5")),
        ];
        all.extend(Refusal::ALL.map(FromRelay::Refusal));
        for said in all {
            assert_eq!(FromRelay::parse(&said.encode()), Ok(said));
        }
        let to = [address("192.0.2.1:1"), address("[fd00::1]:2")];
        let message = outgoing(&to, 3, b"aaabbbc");
        let run = Outgoing::parse(&message).expect("a run");
        assert_eq!(run.to, to);
        assert_eq!(run.datagrams().collect::<Vec<_>>(), [&b"aaa"[..], b"bbb", b"c"]);
        let mut message = incoming(to[1], 3);
        message.extend_from_slice(b"aaab");
        let run = Incoming::parse(message.into()).expect("a run");
        assert_eq!((run.from, run.segment_bytes, &run.bytes[..]), (to[1], 3, &b"aaab"[..]));
    }

    #[test]
    fn what_is_cut_or_bent_is_refused_or_something_else_and_never_a_panic() {
        let whole = [
            proof(true, true).encode(),
            FromRelay::Welcome(address("192.0.2.1:1")).encode(),
            outgoing(&[address("192.0.2.1:1")], 3, b"aaab"),
        ];
        for message in &whole {
            for length in 0..message.len() {
                let cut = &message[..length];
                assert!(Proof::parse(cut).is_err() && FromRelay::parse(cut).is_err());
            }
            for at in 0..message.len() {
                for byte in [0, 1, 2, 5, 6, 255] {
                    let mut bent = message.to_vec();
                    bent[at] = byte;
                    let _ = (Proof::parse(&bent), FromRelay::parse(&bent), Outgoing::parse(&bent));
                    let _ = Incoming::parse(bent.into());
                }
            }
        }
        assert!(Outgoing::parse(&outgoing(&[], 3, b"a")).is_err(), "it goes nowhere");
        assert!(Outgoing::parse(&outgoing(&[address("192.0.2.1:1")], 0, b"a")).is_err());
        let many = vec![address("192.0.2.1:1"); 65];
        let message = outgoing(&many, 1, b"a");
        assert_eq!(Outgoing::parse(&message).expect("a run").to.len(), DESTINATIONS_MAX);
    }
}
