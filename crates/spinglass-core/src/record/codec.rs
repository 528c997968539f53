//! A recording's entries as bytes: `length u32 | kind u8 | body`.

use alloc::borrow::Cow;
use alloc::boxed::Box;
use alloc::string::String;
use alloc::vec::Vec;
use core::net::SocketAddr;
use core::time::Duration;

use bytes::Bytes;
use spinglass_summary::{Name, Row, Value};

use super::papers::{put_security, security};
use super::settings::{NUMBERS, config, numbers};
use super::{Beginnings, Entry};
use crate::config::{Config, Keep, MESSAGE_BYTES_MAX, REGION_BYTES_MAX, Start};
use crate::crypto::{Hash, PublicKey, Salt};
use crate::draft::Draft;
use crate::event::{
    DESTINATIONS_MAX, Destinations, DownReason, Event, Gap, Member, Message, Offence, Transmit,
};
use crate::id::{Incarnation, MemberId, Sequence, StreamId, TopicId};
use crate::knock::clear_bytes;
use crate::node::{Identity, NAME_BYTES_MAX};
use crate::query::{Question, QuestionId, Reach};
use crate::rating::Rating;
use crate::table::ZonePath;
use crate::time::{Instant, Now};
use crate::wire::{Malformed, Put, Reader};

/// Bytes of the longest entry: a message of the largest size, and what is told beside it.
const ENTRY_BYTES_MAX: usize = MESSAGE_BYTES_MAX + (1 << 20);

impl<'a> Entry<'a> {
    /// Appends the entry.
    pub fn encode(&self, buffer: &mut Vec<u8>) {
        let start = buffer.len();
        buffer.put_u32(0);
        self.encode_body(buffer);
        let length = u32::try_from(buffer.len() - start - 4).unwrap_or(u32::MAX);
        for (byte, value) in buffer.iter_mut().skip(start).zip(length.to_le_bytes()) {
            *byte = value;
        }
    }

    fn encode_body(&self, buffer: &mut Vec<u8>) {
        match self {
            Self::Beginnings(beginnings) => {
                buffer.put_u8(0);
                put_beginnings(beginnings, buffer);
            }
            Self::Datagrams { now, datagrams } => {
                buffer.put_u8(1);
                put_now(*now, buffer);
                for (from, header, bytes) in datagrams {
                    buffer.put_address(*from);
                    buffer.put_varint(*bytes as u64);
                    buffer.put(header);
                }
            }
            Self::Timeout { now } => {
                buffer.put_u8(2);
                put_now(*now, buffer);
            }
            Self::Publish { now, topic, draft: Draft { headers, payload } } => {
                buffer.put_u8(3);
                put_now(*now, buffer);
                buffer.put(&topic.0);
                headers.encode(buffer);
                buffer.put(payload);
            }
            Self::Subscribe { now, topic, start } => {
                buffer.put_u8(4);
                put_now(*now, buffer);
                buffer.put(&topic.0);
                buffer.put_u8(u8::from(*start == Start::Buffered));
            }
            Self::Rate { now, topic, rating } => {
                buffer.put_u8(41);
                put_now(*now, buffer);
                buffer.put(&topic.0);
                buffer.put_u32(rating.millionths());
            }
            Self::SubscribePattern { now, pattern, start, rating } => {
                buffer.put_u8(43);
                put_now(*now, buffer);
                buffer.put_u8(u8::from(*start == Start::Buffered));
                buffer.put_u32(rating.millionths());
                buffer.put(pattern.as_bytes());
            }
            Self::Keep { now, topic, keep } => {
                buffer.put_u8(42);
                put_now(*now, buffer);
                buffer.put(&topic.0);
                put_keep(*keep, buffer);
            }
            Self::Leave { now } => {
                buffer.put_u8(5);
                put_now(*now, buffer);
            }
            Self::Transmit { now, segments_max, transmit, bytes } => {
                buffer.put_u8(6);
                put_now(*now, buffer);
                buffer.put_varint(*segments_max as u64);
                buffer.put_varint(*bytes as u64);
                put_transmit(transmit.as_ref(), buffer);
            }
            Self::Event { event } => {
                buffer.put_u8(7);
                put_event(event, buffer);
            }
            _ => self.encode_answer(buffer),
        }
    }

    /// The table's entries, and those of cryptography's answers.
    fn encode_answer(&self, buffer: &mut Vec<u8>) {
        match self {
            Self::Signed(signature) => {
                buffer.put_u8(8);
                buffer.put(signature);
            }
            Self::Verified(good) => buffer.put(&[9, u8::from(*good)]),
            Self::LinkKey(None) => buffer.put_u8(10),
            Self::LinkKey(Some(key)) => {
                buffer.put_u8(11);
                buffer.put_u32(*key);
            }
            Self::Sealed { frames, bytes } => {
                buffer.put_u8(12);
                buffer.put(&frames.0);
                buffer.put_varint(*bytes as u64);
            }
            Self::SetAttributes { now, attributes } => {
                buffer.put_u8(15);
                put_now(*now, buffer);
                for (name, value) in attributes.iter() {
                    buffer.put_text(name.as_str());
                    value.encode(buffer);
                }
            }
            Self::SetSummary { now, zone, name, sql, lasts } => {
                buffer.put_u8(16);
                put_now(*now, buffer);
                buffer.put_text(zone.as_str());
                buffer.put_text(name.get(..NAME_BYTES_MAX.min(name.len())).unwrap_or(""));
                put_millis(*lasts, buffer);
                buffer.put_u8(u8::from(sql.is_some()));
                buffer.put(sql.as_deref().unwrap_or("").as_bytes());
            }
            Self::AddSeeds { now, seeds } => {
                buffer.put_u8(28);
                put_now(*now, buffer);
                seeds.iter().for_each(|seed| buffer.put_address(*seed));
            }
            Self::SetAddress { now, address } => {
                buffer.put_u8(38);
                put_now(*now, buffer);
                buffer.put_address(*address);
            }
            Self::AskPath { now, whom, question } => {
                buffer.put_u8(39);
                put_now(*now, buffer);
                buffer.put_address(*whom);
                question.encode(buffer);
            }
            Self::Ask { now, question } => {
                buffer.put_u8(17);
                put_now(*now, buffer);
                buffer.put_text(question.zone.as_str());
                buffer.put_u64(u64::try_from(question.within.as_nanos()).unwrap_or(u64::MAX));
                buffer.put_u8(u8::from(question.sql.is_some()));
                buffer.put(question.sql.as_deref().unwrap_or("").as_bytes());
            }
            Self::Answered { question, reach, found } => {
                buffer.put_u8(18);
                buffer.put_u64(question.0);
                put_reach(reach, buffer);
                found.iter().for_each(|number| buffer.put_u64(*number));
            }
            _ => self.encode_late(buffer),
        }
    }

    /// Reads the entry at the front of `bytes`; also returns how many bytes it took.
    ///
    /// # Errors
    /// There is none, or it is cut off.
    pub fn decode(bytes: &'a [u8]) -> Result<(Self, usize), Malformed> {
        let mut reader = Reader::new(bytes);
        let length = usize::try_from(reader.u32()?).map_err(|_| Malformed)?;
        if length > ENTRY_BYTES_MAX {
            return Err(Malformed);
        }
        let mut body = Reader::new(reader.bytes(length)?);
        let entry = Self::decode_body(&mut body)?;
        if body.is_empty() { Ok((entry, length + 4)) } else { Err(Malformed) }
    }

    fn decode_body(reader: &mut Reader<'a>) -> Result<Self, Malformed> {
        Ok(match reader.u8()? {
            0 => Self::Beginnings(Box::new(beginnings(reader)?)),
            1 => Self::Datagrams { now: now(reader)?, datagrams: datagrams(reader)? },
            2 => Self::Timeout { now: now(reader)? },
            3 => Self::Publish {
                now: now(reader)?,
                topic: TopicId(reader.array()?),
                draft: Draft { headers: row(reader)?, payload: rest(reader)? },
            },
            4 => Self::Subscribe {
                now: now(reader)?,
                topic: TopicId(reader.array()?),
                start: if flag(reader)? { Start::Buffered } else { Start::Live },
            },
            41 => Self::Rate {
                now: now(reader)?,
                topic: TopicId(reader.array()?),
                rating: Rating::from_millionths(reader.u32()?).map_err(|_| Malformed)?,
            },
            43 => Self::SubscribePattern {
                now: now(reader)?,
                start: if flag(reader)? { Start::Buffered } else { Start::Live },
                rating: Rating::from_millionths(reader.u32()?).map_err(|_| Malformed)?,
                pattern: text(reader)?.into(),
            },
            42 => Self::Keep {
                now: now(reader)?,
                topic: TopicId(reader.array()?),
                keep: keep(reader)?,
            },
            5 => Self::Leave { now: now(reader)? },
            6 => {
                let now = now(reader)?;
                let (segments_max, bytes) = (size(reader)?, size(reader)?);
                Self::Transmit { now, segments_max, transmit: transmit(reader)?, bytes }
            }
            7 => Self::Event { event: event(reader)? },
            8 => Self::Signed(reader.array()?),
            9 => Self::Verified(flag(reader)?),
            10 => Self::LinkKey(None),
            11 => Self::LinkKey(Some(reader.u32()?)),
            12 => Self::Sealed { frames: Hash(reader.array()?), bytes: size(reader)? },
            13 => Self::Opened(None),
            14 => Self::Opened(Some(Cow::Borrowed(reader.bytes(reader.rest().len())?))),
            15 => Self::SetAttributes { now: now(reader)?, attributes: attributes(reader)? },
            16 => Self::SetSummary {
                now: now(reader)?,
                zone: ZonePath::read(reader)?,
                name: String::from(reader.text(NAME_BYTES_MAX)?),
                lasts: millis(reader)?,
                sql: if flag(reader)? { Some(text(reader)?) } else { None },
            },
            28 => Self::AddSeeds { now: now(reader)?, seeds: addresses(reader)? },
            17 => Self::Ask { now: now(reader)?, question: question(reader)? },
            18 => Self::Answered {
                question: QuestionId(reader.u64()?),
                reach: reach(reader)?,
                found: [reader.u64()?, reader.u64()?, reader.u64()?],
            },
            kind => Self::decode_late(kind, reader)?,
        })
    }
}

/// A flag, and then a length of time in milliseconds, if there is one.
fn put_millis(duration: Option<Duration>, buffer: &mut Vec<u8>) {
    buffer.put_u8(u8::from(duration.is_some()));
    if let Some(duration) = duration {
        buffer.put_u64(u64::try_from(duration.as_millis()).unwrap_or(u64::MAX));
    }
}

fn millis(reader: &mut Reader<'_>) -> Result<Option<Duration>, Malformed> {
    if flag(reader)? { Ok(Some(Duration::from_millis(reader.u64()?))) } else { Ok(None) }
}

pub(super) fn put_now(now: Now, buffer: &mut Vec<u8>) {
    buffer.put_u64(now.monotonic.as_nanos());
    buffer.put_u64(now.wall_ms);
}

pub(super) fn now(reader: &mut Reader<'_>) -> Result<Now, Malformed> {
    let monotonic = Instant::from_nanos(reader.u64()?);
    Ok(Now { monotonic, wall_ms: reader.u64()? })
}

fn size(reader: &mut Reader<'_>) -> Result<usize, Malformed> {
    usize::try_from(reader.varint()?).map_err(|_| Malformed)
}

pub(super) fn flag(reader: &mut Reader<'_>) -> Result<bool, Malformed> {
    match reader.u8()? {
        0 => Ok(false),
        1 => Ok(true),
        _ => Err(Malformed),
    }
}

pub(super) fn name(reader: &mut Reader<'_>) -> Result<Name, Malformed> {
    let text = reader.text(NAME_BYTES_MAX)?;
    Name::new(text).filter(|name| name.as_str() == text).ok_or(Malformed)
}

/// The rest, as names and values.
fn attributes<'a>(reader: &mut Reader<'_>) -> Result<Cow<'a, [(Name, Value)]>, Malformed> {
    let mut attributes = Vec::new();
    while !reader.rest().is_empty() {
        let name = name(reader)?;
        let mut rest = reader.rest();
        let before = rest.len();
        let value = Value::decode(&mut rest).map_err(|_| Malformed)?;
        reader.bytes(before - rest.len())?;
        attributes.push((name, value));
    }
    Ok(attributes.into())
}

/// The rest, as text.
fn put_keep(keep: Keep, buffer: &mut Vec<u8>) {
    let (is_latest, number) = match keep {
        Keep::Last(messages) => (0, messages as u64),
        Keep::Latest(separator) => (1, separator.into()),
    };
    buffer.put_u8(is_latest);
    buffer.put_varint(number);
}

fn keep(reader: &mut Reader<'_>) -> Result<Keep, Malformed> {
    Ok(match flag(reader)? {
        false => Keep::Last(size(reader)?),
        true => Keep::Latest(u8::try_from(size(reader)?).map_err(|_| Malformed)?),
    })
}

pub(super) fn text(reader: &mut Reader<'_>) -> Result<String, Malformed> {
    let bytes = reader.bytes(reader.rest().len())?;
    String::from_utf8(bytes.to_vec()).map_err(|_| Malformed)
}

/// The rest, as addresses.
fn addresses(reader: &mut Reader<'_>) -> Result<Vec<SocketAddr>, Malformed> {
    let mut addresses = Vec::new();
    while !reader.is_empty() {
        addresses.push(reader.address()?);
    }
    Ok(addresses)
}

fn row(reader: &mut Reader<'_>) -> Result<Row, Malformed> {
    let mut rest = reader.rest();
    let row = Row::decode(&mut rest).map_err(|_| Malformed)?;
    reader.bytes(reader.rest().len() - rest.len())?;
    Ok(row)
}

pub(super) fn rest(reader: &mut Reader<'_>) -> Result<Bytes, Malformed> {
    Ok(Bytes::copy_from_slice(reader.bytes(reader.rest().len())?))
}

fn question(reader: &mut Reader<'_>) -> Result<Question, Malformed> {
    Ok(Question {
        zone: ZonePath::read(reader)?,
        within: Duration::from_nanos(reader.u64()?),
        sql: if flag(reader)? { Some(text(reader)?) } else { None },
    })
}

fn put_reach(reach: &Reach, buffer: &mut Vec<u8>) {
    let Reach { age_ms, asked, answered, ruled_out, is_cut } = reach;
    buffer.put_u64(*age_ms);
    [asked, answered, ruled_out].iter().for_each(|count| buffer.put_u32(**count));
    buffer.put_u8(u8::from(*is_cut));
}

fn reach(reader: &mut Reader<'_>) -> Result<Reach, Malformed> {
    Ok(Reach {
        age_ms: reader.u64()?,
        asked: reader.u32()?,
        answered: reader.u32()?,
        ruled_out: reader.u32()?,
        is_cut: flag(reader)?,
    })
}

type Clear<'a> = Vec<(SocketAddr, Cow<'a, [u8]>, usize)>;

fn datagrams<'a>(reader: &mut Reader<'a>) -> Result<Clear<'a>, Malformed> {
    let mut datagrams = Vec::new();
    while !reader.is_empty() {
        let (from, bytes) = (reader.address()?, size(reader)?);
        let first = reader.rest().first().copied();
        let header = reader.bytes(clear_bytes(first, bytes))?;
        datagrams.push((from, Cow::Borrowed(header), bytes));
    }
    Ok(datagrams)
}

fn put_transmit(transmit: Option<&Transmit>, buffer: &mut Vec<u8>) {
    match transmit {
        None => buffer.put_u8(0),
        Some(Transmit { to: Destinations::Multicast, segment_bytes }) => {
            buffer.put_u8(1);
            buffer.put_varint(*segment_bytes as u64);
        }
        Some(Transmit { to: Destinations::Own(to), segment_bytes }) => {
            buffer.put_u8(3);
            buffer.put_varint(*segment_bytes as u64);
            buffer.put_address(*to);
        }
        Some(Transmit { to: Destinations::Fresh(to), segment_bytes }) => {
            buffer.put_u8(4);
            buffer.put_varint(*segment_bytes as u64);
            buffer.put_address(*to);
        }
        Some(Transmit { to: Destinations::Members(members), segment_bytes }) => {
            buffer.put_u8(2);
            buffer.put_varint(*segment_bytes as u64);
            buffer.put_varint(members.len() as u64);
            members.iter().for_each(|member| buffer.put_address(*member));
        }
    }
}

fn transmit(reader: &mut Reader<'_>) -> Result<Option<Transmit>, Malformed> {
    let kind = reader.u8()?;
    if kind == 0 {
        return Ok(None);
    }
    let segment_bytes = size(reader)?;
    let to = match kind {
        1 => Destinations::Multicast,
        2 => {
            let count = size(reader)?;
            if count > DESTINATIONS_MAX {
                return Err(Malformed);
            }
            let members: Result<_, _> = (0..count).map(|_| reader.address()).collect();
            Destinations::Members(members?)
        }
        3 => Destinations::Own(reader.address()?),
        4 => Destinations::Fresh(reader.address()?),
        _ => return Err(Malformed),
    };
    Ok(Some(Transmit { to, segment_bytes }))
}

fn put_stream(stream: &StreamId, buffer: &mut Vec<u8>) {
    buffer.put(&stream.topic.0);
    buffer.put(&stream.sender.0);
    buffer.put_u64(stream.incarnation.0);
}

fn stream(reader: &mut Reader<'_>) -> Result<StreamId, Malformed> {
    let (topic, sender) = (TopicId(reader.array()?), MemberId(reader.array()?));
    Ok(StreamId { topic, sender, incarnation: Incarnation(reader.u64()?) })
}

fn put_event(event: &Event, buffer: &mut Vec<u8>) {
    match event {
        Event::Message(Message { stream, first, last, headers, payload }) => {
            buffer.put_u8(0);
            put_stream(stream, buffer);
            buffer.put_u64(first.0);
            buffer.put_u64(last.0);
            headers.encode(buffer);
            buffer.put(payload);
        }
        Event::Gap(Gap { stream, from, packets }) => {
            buffer.put_u8(1);
            put_stream(stream, buffer);
            buffer.put_u64(from.0);
            buffer.put_u64(*packets);
        }
        Event::MemberUp(Member { id, incarnation, address, region }) => {
            buffer.put_u8(2);
            buffer.put(&id.0);
            buffer.put_u64(incarnation.0);
            buffer.put_address(*address);
            buffer.put_text(region);
        }
        Event::MemberDown { id, incarnation, reason } => {
            buffer.put_u8(match reason {
                DownReason::Left => 3,
                DownReason::Silent => 4,
                DownReason::Restarted => 5,
            });
            buffer.put(&id.0);
            buffer.put_u64(incarnation.0);
        }
        Event::Quarantined { id, offence } => {
            buffer.put_u8(match offence {
                Offence::TwoPackets => 6,
                Offence::TwoRows => 7,
            });
            buffer.put(&id.0);
        }
        Event::FalseSummary { zone, issuer } => {
            buffer.put_u8(8);
            buffer.put(&issuer.0);
            buffer.put_text(zone);
        }
        Event::Kept { stream, until } => {
            buffer.put_u8(9);
            put_stream(stream, buffer);
            buffer.put_u64(until.0);
        }
    }
}

fn event(reader: &mut Reader<'_>) -> Result<Event, Malformed> {
    let kind = reader.u8()?;
    Ok(match kind {
        0 => {
            let stream = stream(reader)?;
            let (first, last) = (Sequence(reader.u64()?), Sequence(reader.u64()?));
            let (headers, payload) = (row(reader)?, rest(reader)?);
            Event::Message(Message { stream, first, last, headers, payload })
        }
        1 => {
            let (stream, from) = (stream(reader)?, Sequence(reader.u64()?));
            Event::Gap(Gap { stream, from, packets: reader.u64()? })
        }
        2 => Event::MemberUp(Member {
            id: MemberId(reader.array()?),
            incarnation: Incarnation(reader.u64()?),
            address: reader.address()?,
            region: String::from(reader.text(REGION_BYTES_MAX)?),
        }),
        3..=5 => {
            let (id, incarnation) = (MemberId(reader.array()?), Incarnation(reader.u64()?));
            let reason = match kind {
                3 => DownReason::Left,
                4 => DownReason::Silent,
                _ => DownReason::Restarted,
            };
            Event::MemberDown { id, incarnation, reason }
        }
        6 | 7 => {
            let offence = if kind == 6 { Offence::TwoPackets } else { Offence::TwoRows };
            Event::Quarantined { id: MemberId(reader.array()?), offence }
        }
        9 => Event::Kept { stream: stream(reader)?, until: Sequence(reader.u64()?) },
        8 => {
            let issuer = MemberId(reader.array()?);
            Event::FalseSummary { zone: String::from(reader.text(REGION_BYTES_MAX)?), issuer }
        }
        _ => return Err(Malformed),
    })
}

fn put_beginnings(beginnings: &Beginnings, buffer: &mut Vec<u8>) {
    let Beginnings { config, identity, public_key, seed, seeds, now } = beginnings;
    numbers(config).iter().for_each(|number| buffer.put_u64(*number));
    put_security(config.security.as_deref(), buffer);
    buffer.put_u64(identity.incarnation.0);
    buffer.put(&identity.salt.0);
    buffer.put_address(identity.address);
    buffer.put_text(identity.region.as_str());
    buffer.put_text(&identity.name);
    buffer.put(&public_key.0);
    buffer.put_u64(*seed);
    put_now(*now, buffer);
    seeds.iter().for_each(|seed| buffer.put_address(*seed));
}

fn beginnings(reader: &mut Reader<'_>) -> Result<Beginnings, Malformed> {
    let mut numbers = [0; NUMBERS];
    for number in &mut numbers {
        *number = reader.u64()?;
    }
    let config = Config { security: security(reader)?, ..config(&numbers)? };
    let identity = Identity {
        incarnation: Incarnation(reader.u64()?),
        salt: Salt(reader.array()?),
        address: reader.address()?,
        region: ZonePath::read(reader)?,
        name: String::from(reader.text(NAME_BYTES_MAX)?),
    };
    let public_key = PublicKey(reader.array()?);
    let (seed, now) = (reader.u64()?, now(reader)?);
    let seeds = addresses(reader)?;
    Ok(Beginnings { config, identity, public_key, seed, seeds, now })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::identity::Refusal;
    use crate::link::HEADER_BYTES_MAX;
    use crate::object;
    use crate::orders::NewOrder;
    use crate::path::PathQuestion;
    use crate::path::Task;
    use crate::rules::NamePattern;
    use crate::rules::Policy;

    #[test]
    fn questions_come_back() {
        let now = Now { monotonic: Instant::from_nanos(5), wall_ms: 6 };
        let address: SocketAddr = "127.0.0.1:7710".parse().unwrap();
        let sent = |to: fn(SocketAddr) -> Destinations| {
            Some(Transmit { to: to(address), segment_bytes: 5 })
        };
        come_back(&[
            Entry::AddSeeds { now, seeds: alloc::vec![address; 2] },
            Entry::SetAddress { now, address },
            Entry::AskPath {
                now,
                whom: address,
                question: PathQuestion { number: 7, task: Task::Look },
            },
            Entry::Transmit { now, segments_max: 1, transmit: sent(Destinations::Own), bytes: 5 },
            Entry::Transmit { now, segments_max: 1, transmit: sent(Destinations::Fresh), bytes: 5 },
            Entry::Ask {
                now,
                question: Question {
                    zone: ZonePath::root(),
                    sql: Some("SELECT * FROM hosts".into()),
                    within: Duration::from_secs(5),
                },
            },
            Entry::Answered {
                question: QuestionId(7),
                reach: Reach { age_ms: 1, asked: 2, answered: 1, ruled_out: 3, is_cut: true },
                found: [1, 2, 3],
            },
        ]);
    }

    #[test]
    fn entries_come_back() {
        let now = Now { monotonic: Instant::from_nanos(5), wall_ms: 6 };
        let address: SocketAddr = "127.0.0.1:7710".parse().unwrap();
        let stream = StreamId { incarnation: Incarnation(9), ..StreamId::default() };
        let message = Message {
            stream,
            first: Sequence(1),
            last: Sequence(2),
            headers: Draft::default().header("price", 12.5).unwrap().headers,
            payload: Bytes::from_static(b"hello"),
        };
        let to = Destinations::Members(alloc::vec![address; 3]);
        let entries = [
            Entry::Datagrams {
                now,
                datagrams: alloc::vec![(address, Cow::Borrowed(&[7; HEADER_BYTES_MAX][..]), 900)],
            },
            Entry::Timeout { now },
            Entry::Transmit {
                now,
                segments_max: 64,
                transmit: Some(Transmit { to, segment_bytes: 1200 }),
                bytes: 2400,
            },
            Entry::Event { event: Event::Message(message) },
            Entry::Event { event: Event::Gap(Gap { stream, from: Sequence(3), packets: 4 }) },
            Entry::SetAttributes {
                now,
                attributes: Cow::Owned(Vec::from([
                    (Name::new("load").unwrap(), Value::list([Value::Int(3), Value::text("x")])),
                    (Name::new("role").unwrap(), Value::Null),
                ])),
            },
            Entry::SetSummary {
                now,
                zone: ZonePath::parse("/usa").unwrap(),
                name: "load".into(),
                sql: Some("SELECT MIN(load) AS load FROM zone".into()),
                lasts: Some(Duration::from_millis(7)),
            },
            Entry::SetSummary {
                now,
                zone: ZonePath::root(),
                name: "load".into(),
                sql: None,
                lasts: None,
            },
            Entry::PutObject {
                now,
                name: Name::new("doc").unwrap(),
                bytes: Bytes::from_static(b"x"),
            },
            Entry::FetchObject {
                now,
                object: object::ObjectName::new(Hash([7; 16]), 300).unwrap(),
            },
            Entry::Signed([3; 64]),
            Entry::Verified(true),
            Entry::Certified(Err(Refusal::Revoked)),
            Entry::LinkKey(Some(3)),
            Entry::Exchanged(None),
            Entry::Exchanged(Some(Cow::Borrowed(b"sealed"))),
            Entry::Sealed { frames: Hash([4; 16]), bytes: 100 },
            Entry::Opened(Some(Cow::Borrowed(b"frames"))),
            Entry::Opened(None),
        ];
        come_back(&entries);
    }

    #[test]
    fn what_is_done_with_topics_comes_back() {
        let now = Now { monotonic: Instant::from_nanos(5), wall_ms: 6 };
        let (topic, start, rating) = (TopicId([1; 8]), Start::Buffered, Rating::NONE);
        come_back(&[
            Entry::Topic("news/ithaca".into()),
            Entry::Publish { now, topic, draft: "x".into() },
            Entry::Subscribe { now, topic, start },
            Entry::Rate { now, topic, rating },
            Entry::Keep { now, topic, keep: Keep::Last(300) },
            Entry::Keep { now, topic, keep: Keep::Latest(b' ') },
            Entry::SubscribePattern { now, pattern: "grid/#".into(), start, rating },
        ]);
    }

    #[test]
    fn orders_come_back() {
        let now = Now { monotonic: Instant::from_nanos(5), wall_ms: 9 };
        let who = NamePattern::parse("spiffe://example.org/usa/*").unwrap();
        let lasts = Some(Duration::from_millis(7));
        let orders = [
            NewOrder::Rotate,
            NewOrder::Revoke(Bytes::from_static(b"list")),
            NewOrder::Release(who.clone()),
            NewOrder::Trees(true),
            NewOrder::Rules(None),
            NewOrder::Rules(Some(Policy::default())),
            NewOrder::Clear,
            NewOrder::Quarantine { who, lasts },
        ];
        come_back(&orders.map(|order| Entry::Order { now, order }));
    }

    fn come_back(entries: &[Entry<'_>]) {
        let mut bytes = Vec::new();
        for entry in entries {
            bytes.clear();
            entry.encode(&mut bytes);
            assert_eq!(Entry::decode(&bytes), Ok((entry.clone(), bytes.len())));
        }
    }
}
