//! What an answer says, as it travels: how far it reaches, and what was found.
//!
//! ```text
//! report  age ms varint | asked varint | answered varint | ruled out varint | cut u8 | kind u8
//! kind    0 rows: count varint, (age ms varint, length u16, signed row) each,
//!           then chains of certificates of who signed them: (length u16, chain) to the end
//!         1 hosts: (place in the order, row) to the end, values as in rows
//!         2 no such zone: its path      3 refused      4 not understood
//! ```

use alloc::vec::Vec;

use spinglass_summary::{Row, Value};

use super::messages::ANSWER_BYTES_MAX;
use crate::identity::Chain;
use crate::table::{ROW_BYTES_MAX, UnverifiedRow, ZonePath};
use crate::wire::{Malformed, Put, Reader};

/// Bytes of a report beside what was found, at most: four numbers of 5 bytes or one of 10, two
/// bytes, and a path.
const HEAD_BYTES_MAX: usize = 128;
/// Bytes of all that was found, in one report.
pub(super) const FOUND_BYTES_MAX: usize = ANSWER_BYTES_MAX - HEAD_BYTES_MAX;

/// How far an answer reaches: which zones have a part in it, and how old it is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Reach {
    /// The greatest age of a row that went into it, in milliseconds: since its holder had news of
    /// it, and on its way from there; no less than it really is.
    pub age_ms: u64,
    /// Zones about which another agent was asked, at all levels.
    pub asked: u32,
    /// Those of them that answered.
    pub answered: u32,
    /// Zones that were not asked because their summaries prove that nothing is there.
    pub ruled_out: u32,
    /// Whether something was left out because it did not fit, or because rows took too many steps.
    pub is_cut: bool,
}

impl Reach {
    /// Zones that were asked and did not answer, or not in time.
    #[must_use]
    pub const fn silent(&self) -> u32 {
        self.asked.saturating_sub(self.answered)
    }

    /// Whether everything that was to be found is there.
    #[must_use]
    pub const fn is_whole(&self) -> bool {
        self.silent() == 0 && !self.is_cut
    }

    /// Adds what another agent's answer reached, but for its age.
    pub(super) const fn add(&mut self, other: &Self) {
        self.asked = self.asked.saturating_add(other.asked);
        self.answered = self.answered.saturating_add(other.answered);
        self.ruled_out = self.ruled_out.saturating_add(other.ruled_out);
        self.is_cut |= other.is_cut;
    }
}

/// An answer as it travels; nothing in it is verified.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Report {
    /// How far it reaches.
    pub reach: Reach,
    /// What was found.
    pub found: Found,
}

/// What was found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Found {
    /// A zone's rows and functions.
    Rows {
        /// Each one's age in milliseconds, and its bytes as signed.
        rows: Vec<(u64, Vec<u8>)>,
        /// In certified mode, the chains of those who signed them.
        chains: Vec<Chain>,
    },
    /// What a query tells of hosts: each one's place in its order, and its row.
    Hosts(Vec<(Value, Row)>),
    /// There is no such zone: the first one on the way that is not there.
    NoSuchZone(ZonePath),
    /// Whoever was asked has too much to do, or is not where it was thought to be.
    Refused,
    /// The query is none to whoever was asked.
    NotUnderstood,
}

impl Report {
    /// Reads a report.
    ///
    /// # Errors
    /// It is none.
    pub fn parse(bytes: &[u8]) -> Result<Self, Malformed> {
        if bytes.len() > ANSWER_BYTES_MAX {
            return Err(Malformed);
        }
        let mut reader = Reader::new(bytes);
        let age_ms = reader.varint()?;
        let mut count = || u32::try_from(reader.varint()?).map_err(|_| Malformed);
        let (asked, answered, ruled_out) = (count()?, count()?, count()?);
        let is_cut = match reader.u8()? {
            0 => false,
            1 => true,
            _ => return Err(Malformed),
        };
        if answered > asked {
            return Err(Malformed);
        }
        let found = match reader.u8()? {
            0 => Found::Rows { rows: read_rows(&mut reader)?, chains: read_chains(&mut reader)? },
            1 => Found::Hosts(read_hosts(reader.bytes(reader.rest().len())?)?),
            2 => Found::NoSuchZone(ZonePath::read(&mut reader)?),
            3 => Found::Refused,
            4 => Found::NotUnderstood,
            _ => return Err(Malformed),
        };
        if !reader.is_empty() {
            return Err(Malformed);
        }
        Ok(Self { reach: Reach { age_ms, asked, answered, ruled_out, is_cut }, found })
    }

    /// Appends the report.
    pub fn encode(&self, buffer: &mut Vec<u8>) {
        let Reach { age_ms, asked, answered, ruled_out, is_cut } = self.reach;
        buffer.put_varint(age_ms);
        [asked, answered, ruled_out].iter().for_each(|count| buffer.put_varint((*count).into()));
        buffer.put_u8(is_cut.into());
        match &self.found {
            Found::Rows { rows, chains } => {
                buffer.put_u8(0);
                buffer.put_varint(rows.len() as u64);
                for (age_ms, row) in rows {
                    buffer.put_varint(*age_ms);
                    buffer.put_sized(row);
                }
                chains.iter().for_each(|chain| buffer.put_sized(&chain.bytes()));
            }
            Found::Hosts(hosts) => {
                buffer.put_u8(1);
                for (key, row) in hosts {
                    key.encode(buffer);
                    row.encode(buffer);
                }
            }
            Found::NoSuchZone(zone) => {
                buffer.put_u8(2);
                buffer.put_text(zone.as_str());
            }
            Found::Refused => buffer.put_u8(3),
            Found::NotUnderstood => buffer.put_u8(4),
        }
    }

    /// The report's bytes.
    pub(super) fn bytes(&self) -> Vec<u8> {
        let mut bytes = Vec::new();
        self.encode(&mut bytes);
        bytes
    }
}

fn read_chains(reader: &mut Reader<'_>) -> Result<Vec<Chain>, Malformed> {
    let mut chains = Vec::new();
    while !reader.is_empty() {
        chains.push(Chain::read(reader)?);
    }
    Ok(chains)
}

fn read_rows(reader: &mut Reader<'_>) -> Result<Vec<(u64, Vec<u8>)>, Malformed> {
    let mut rows = Vec::new();
    for _ in 0..reader.varint()? {
        let (age_ms, length) = (reader.varint()?, usize::from(reader.u16()?));
        if length > ROW_BYTES_MAX {
            return Err(Malformed);
        }
        let bytes = reader.bytes(length)?;
        UnverifiedRow::parse(bytes)?;
        rows.push((age_ms, bytes.to_vec()));
    }
    Ok(rows)
}

fn read_hosts(mut bytes: &[u8]) -> Result<Vec<(Value, Row)>, Malformed> {
    let mut hosts = Vec::new();
    while !bytes.is_empty() {
        let key = Value::decode(&mut bytes).map_err(|_| Malformed)?;
        hosts.push((key, Row::decode(&mut bytes).map_err(|_| Malformed)?));
    }
    Ok(hosts)
}
