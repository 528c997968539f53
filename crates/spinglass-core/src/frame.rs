//! Frames: what an opened datagram consists of.
//!
//! `type u8 | length u16 | body`, one after the other. A frame of an unknown type is skipped, so
//! that a group can be upgraded member by member; a known one that does not parse makes the rest of
//! its datagram malformed.

use alloc::vec::Vec;
use core::num::NonZeroU16;

use crate::detector::Verdict;
use crate::epochs::{KeyAsk, KeyGive};
use crate::event::Reject;
use crate::id::{MemberId, TopicId};
use crate::identity::Chain;
use crate::members::{RECORDS_PER_DATAGRAM, UnverifiedRecord};
use crate::multicast::{Digest, PacketRef, Solicit};
use crate::object::{self, Ask, ObjectName, PieceRef};
use crate::path::{PathAnswer, PathQuestion};
use crate::pattern::TEXT_BYTES_MAX;
use crate::quarantine::{Body, ExhibitRef, Proven};
use crate::query::{self, Message};
use crate::table::{Inventory, RowKey, TableDigest, UnverifiedRow, Want};
use crate::wire::{Malformed, Put, Reader};

/// Bytes before a frame's body.
pub const FRAME_HEADER_BYTES: usize = 3;
/// Topics that one request for texts names at most.
pub const WHAT_TOPIC_MAX: usize = 16;
/// Members that one request for records names at most.
pub const WHO_IS_MAX: usize = 16;

const SPREAD: u8 = 1;
const REPAIR: u8 = 2;
const DIGEST: u8 = 3;
const TAIL: u8 = 4;
const SOLICIT: u8 = 5;
const RECORD: u8 = 6;
const WHO_IS: u8 = 7;
const TABLE_DIGEST: u8 = 9;
const INVENTORY: u8 = 10;
const WANT: u8 = 11;
const ROW: u8 = 12;
const PROBE: u8 = 13;
const ANSWER: u8 = 14;
const DOUBT: u8 = 15;
const ACCUSATIONS: u8 = 16;
const SEEK: u8 = 24;
const HAVE: u8 = 25;
const ASK: u8 = 26;
const PIECE: u8 = 27;
const ANNOUNCE: u8 = 28;
const CERTIFICATE: u8 = 29;
const WHOSE: u8 = 30;
const KEY_ASK: u8 = 31;
const KEY_GIVE: u8 = 32;
const PATH_QUESTION: u8 = 38;
const PATH_ANSWER: u8 = 39;
const REPLY_PORT: u8 = 34;
const WHAT_TOPIC: u8 = 40;
const TOPIC: u8 = 41;
const EXHIBIT: u8 = 36;
const PROVEN: u8 = 37;

/// A frame.
#[derive(Debug, Clone)]
pub enum Frame<'a> {
    /// A packet on its way to everybody.
    Spread(PacketRef<'a>),
    /// A packet that its receiver lacked.
    Repair(PacketRef<'a>),
    /// What the sender of the datagram holds.
    Digest(Digest),
    /// The same, of streams that went quiet.
    Tail(Digest),
    /// A request for packets.
    Solicit(Solicit),
    /// A member's record.
    Record(UnverifiedRecord),
    /// A request for these members' records.
    WhoIs(Vec<MemberId>),
    /// A number per level of the sender's table.
    TableDigest(TableDigest),
    /// What the sender holds of one level.
    Inventory(Inventory),
    /// A request for rows.
    Want(Want),
    /// A row.
    Row(UnverifiedRow<'a>),
    /// The question whether one is alive, by a number of the asker's.
    Probe(u64),
    /// Its answer.
    Answer(u64),
    /// A request to look at an agent.
    Doubt(RowKey),
    /// Accusations of one agent, unverified.
    Accusations(Verdict),
    /// The question whether one has an object.
    Seek(ObjectName),
    /// Its answer: yes.
    Have(ObjectName),
    /// A request for pieces of an object.
    Ask(Ask),
    /// A piece of an object, unverified.
    Piece(PieceRef<'a>),
    /// News that the sender is there, to whom it may concern; never answered.
    Announce,
    /// A member's certificates, unverified.
    Certificate(Chain),
    /// A request for these members' certificates.
    Whose(Vec<MemberId>),
    /// A request for an epoch's key, unverified.
    KeyAsk(KeyAsk),
    /// Its answer.
    KeyGive(KeyGive),
    /// A question about the way to its sender.
    PathQuestion(PathQuestion),
    /// Its answer.
    PathAnswer(PathAnswer),
    /// Something about a question.
    Query(Message),
    /// Where the answers to what follows in the datagram are wanted.
    ReplyPort(ReplyPort),
    /// One of two things that prove a member a liar.
    Exhibit(ExhibitRef<'a>),
    /// Members that are proven liars, or are to be.
    Proven(Proven),
    /// A request for these topics' texts.
    WhatTopic(Vec<TopicId>),
    /// A topic's text.
    Topic(&'a str),
    /// A frame of a later version.
    Unknown,
}

impl<'a> Frame<'a> {
    /// Reads the next frame; `None` at the end.
    ///
    /// # Errors
    /// The frame does not parse.
    pub fn next(reader: &mut Reader<'a>) -> Option<Result<Self, Reject>> {
        if reader.is_empty() {
            return None;
        }
        Some(Self::parse(reader).map_err(|_| Reject::Malformed))
    }

    fn parse(reader: &mut Reader<'a>) -> Result<Self, Malformed> {
        let kind = reader.u8()?;
        let length = reader.u16()?;
        let body = reader.bytes(length.into())?;
        Ok(match kind {
            SPREAD => Self::Spread(PacketRef::parse(body)?),
            REPAIR => Self::Repair(PacketRef::parse(body)?),
            DIGEST => Self::Digest(Digest::parse(body)?),
            TAIL => Self::Tail(Digest::parse(body)?),
            SOLICIT => Self::Solicit(Solicit::parse(body)?),
            RECORD => {
                let mut reader = Reader::new(body);
                let record = UnverifiedRecord::parse(&mut reader)?;
                if !reader.is_empty() {
                    return Err(Malformed);
                }
                Self::Record(record)
            }
            WHO_IS => Self::WhoIs(parse_names(body, WHO_IS_MAX, MemberId)?),
            CERTIFICATE => Self::Certificate(Chain::parse(body)?),
            WHOSE => Self::Whose(parse_names(body, WHO_IS_MAX, MemberId)?),
            KEY_ASK => Self::KeyAsk(KeyAsk::parse(body)?),
            KEY_GIVE => Self::KeyGive(KeyGive::parse(body)?),
            TABLE_DIGEST => Self::TableDigest(TableDigest::parse(body)?),
            INVENTORY => Self::Inventory(Inventory::parse(body)?),
            WANT => Self::Want(Want::parse(body)?),
            ROW => Self::Row(UnverifiedRow::parse(body)?),
            PROBE => Self::Probe(parse_number(body)?),
            ANSWER => Self::Answer(parse_number(body)?),
            DOUBT => Self::Doubt(RowKey(parse_number(body)?)),
            ACCUSATIONS => Self::Accusations(Verdict::parse(body)?),
            SEEK => Self::Seek(object::parse_name(body)?),
            HAVE => Self::Have(object::parse_name(body)?),
            ASK => Self::Ask(Ask::parse(body)?),
            PIECE => Self::Piece(PieceRef::parse(body)?),
            ANNOUNCE if body.is_empty() => Self::Announce,
            ANNOUNCE => return Err(Malformed),
            PATH_QUESTION => Self::PathQuestion(PathQuestion::parse(body)?),
            PATH_ANSWER => Self::PathAnswer(PathAnswer::parse(body)?),
            REPLY_PORT => Self::ReplyPort(ReplyPort::parse(body)?),
            query::ASK..=query::FETCH => Self::Query(Message::parse(kind, body)?),
            EXHIBIT => Self::Exhibit(ExhibitRef::Packet(PacketRef::parse(body)?)),
            PROVEN => match Body::parse(body)? {
                Body::Exhibit(exhibit) => Self::Exhibit(exhibit),
                Body::Proven(proven) => Self::Proven(proven),
            },
            WHAT_TOPIC => Self::WhatTopic(parse_names(body, WHAT_TOPIC_MAX, TopicId)?),
            TOPIC => Self::Topic(parse_topic(body)?),
            _ => Self::Unknown,
        })
    }

    /// Appends the frame as it was read; nothing for an unknown one.
    pub fn encode(&self, buffer: &mut Vec<u8>) {
        match self {
            Self::Spread(packet) => put_packet(PacketKind::Spread, packet.bytes, buffer),
            Self::Repair(packet) => put_packet(PacketKind::Repair, packet.bytes, buffer),
            Self::Digest(digest) => put_frame(DIGEST, buffer, |buffer| digest.encode(buffer)),
            Self::Tail(digest) => put_frame(TAIL, buffer, |buffer| digest.encode(buffer)),
            Self::Solicit(solicit) => put_solicit(solicit, buffer),
            Self::Record(record) => put_record(|buffer| record.encode(buffer), buffer),
            Self::WhoIs(members) => put_who_is(members, buffer),
            Self::TableDigest(digest) => put_table_digest(digest, buffer),
            Self::Inventory(inventory) => put_inventory(inventory, buffer),
            Self::Want(want) => put_want(want, buffer),
            Self::Row(row) => put_frame(ROW, buffer, |buffer| row.encode(buffer)),
            Self::Probe(number) => put_probe(*number, buffer),
            Self::Answer(number) => put_answer(*number, buffer),
            Self::Doubt(subject) => put_doubt(*subject, buffer),
            Self::Accusations(verdict) => put_accusations(verdict, buffer),
            Self::Seek(name) => put_seek(*name, buffer),
            Self::Have(name) => put_have(*name, buffer),
            Self::Ask(ask) => put_ask(ask, buffer),
            Self::Piece(piece) => put_piece(buffer, |buffer| piece.encode(buffer)),
            Self::Announce => put_announce(buffer),
            Self::Certificate(chain) => put_certificate(chain, buffer),
            Self::Whose(members) => put_whose(members, buffer),
            Self::KeyAsk(ask) => put_key_ask(ask, buffer),
            Self::KeyGive(give) => put_key_give(give, buffer),
            Self::PathQuestion(question) => put_path_question(question, buffer),
            Self::PathAnswer(answer) => put_path_answer(answer, buffer),
            Self::Query(message) => put_query(message, buffer),
            Self::ReplyPort(port) => put_reply_port(*port, buffer),
            Self::Exhibit(exhibit @ ExhibitRef::Packet(_)) => {
                put_exhibit(buffer, |buffer| exhibit.encode(buffer));
            }
            Self::Exhibit(exhibit @ ExhibitRef::Row(_)) => {
                put_proven(buffer, |buffer| exhibit.encode(buffer));
            }
            Self::Proven(proven) => put_proven(buffer, |buffer| proven.encode(buffer)),
            Self::WhatTopic(topics) => put_what_topic(topics, buffer),
            Self::Topic(text) => put_topic(text, buffer),
            Self::Unknown => (),
        }
    }
}

/// A member's request that the answers to what follows be sent to another port of its own host
/// (Badishi, Keidar and Sasson, DSN 2004): one that whoever floods the port that all know can't
/// flood, since it is told inside the seal and is soon another one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ReplyPort {
    /// The port.
    pub port: NonZeroU16,
    /// Whether the member knows who it is writing to; if not, the answers must say so.
    pub has_met: bool,
}

impl ReplyPort {
    fn parse(body: &[u8]) -> Result<Self, Malformed> {
        let mut reader = Reader::new(body);
        let port = NonZeroU16::new(reader.u16()?).ok_or(Malformed)?;
        let has_met = match reader.u8()? {
            0 => false,
            1 => true,
            _ => return Err(Malformed),
        };
        if reader.is_empty() { Ok(Self { port, has_met }) } else { Err(Malformed) }
    }
}

/// What a packet frame is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PacketKind {
    /// Dissemination.
    Spread,
    /// Repair.
    Repair,
}

/// Appends a packet frame.
pub fn put_packet(kind: PacketKind, packet: &[u8], buffer: &mut Vec<u8>) {
    let kind = match kind {
        PacketKind::Spread => SPREAD,
        PacketKind::Repair => REPAIR,
    };
    put_frame(kind, buffer, |buffer| buffer.put(packet));
}

/// Appends a digest frame, or a tail's, whose body `body` writes.
pub fn put_digest(is_tail: bool, buffer: &mut Vec<u8>, body: impl FnOnce(&mut Vec<u8>)) {
    put_frame(if is_tail { TAIL } else { DIGEST }, buffer, body);
}

/// Appends a solicitation frame.
pub fn put_solicit(solicit: &Solicit, buffer: &mut Vec<u8>) {
    put_frame(SOLICIT, buffer, |buffer| solicit.encode(buffer));
}

/// Appends a record frame, whose body `record` writes.
pub fn put_record(record: impl FnOnce(&mut Vec<u8>), buffer: &mut Vec<u8>) {
    put_frame(RECORD, buffer, record);
}

/// Appends a request for records, of at most [`WHO_IS_MAX`] members.
pub fn put_who_is(members: &[MemberId], buffer: &mut Vec<u8>) {
    put_frame(WHO_IS, buffer, |buffer| {
        members.iter().take(WHO_IS_MAX).for_each(|member| buffer.put(&member.0));
    });
}

/// Appends a request for texts, of at most [`WHAT_TOPIC_MAX`] topics.
pub fn put_what_topic(topics: &[TopicId], buffer: &mut Vec<u8>) {
    put_frame(WHAT_TOPIC, buffer, |buffer| {
        topics.iter().take(WHAT_TOPIC_MAX).for_each(|topic| buffer.put(&topic.0));
    });
}

/// Appends a topic's text, which has at most 255 bytes.
pub fn put_topic(text: &str, buffer: &mut Vec<u8>) {
    put_frame(TOPIC, buffer, |buffer| buffer.put(text.as_bytes()));
}

/// Appends a table's digest.
pub fn put_table_digest(digest: &TableDigest, buffer: &mut Vec<u8>) {
    put_frame(TABLE_DIGEST, buffer, |buffer| digest.encode(buffer));
}

/// Appends an inventory.
pub fn put_inventory(inventory: &Inventory, buffer: &mut Vec<u8>) {
    put_frame(INVENTORY, buffer, |buffer| inventory.encode(buffer));
}

/// Appends a request for rows.
pub fn put_want(want: &Want, buffer: &mut Vec<u8>) {
    put_frame(WANT, buffer, |buffer| want.encode(buffer));
}

/// Appends a row, as its issuer signed it.
pub fn put_row(row: &[u8], buffer: &mut Vec<u8>) {
    put_frame(ROW, buffer, |buffer| buffer.put(row));
}

/// Appends a probe.
pub fn put_probe(number: u64, buffer: &mut Vec<u8>) {
    put_frame(PROBE, buffer, |buffer| buffer.put_u64(number));
}

/// Appends the answer to a probe.
pub fn put_answer(number: u64, buffer: &mut Vec<u8>) {
    put_frame(ANSWER, buffer, |buffer| buffer.put_u64(number));
}

/// Appends a request to look at an agent.
pub fn put_doubt(subject: RowKey, buffer: &mut Vec<u8>) {
    put_frame(DOUBT, buffer, |buffer| buffer.put_u64(subject.0));
}

/// Appends accusations of one agent.
pub fn put_accusations(verdict: &Verdict, buffer: &mut Vec<u8>) {
    put_frame(ACCUSATIONS, buffer, |buffer| verdict.encode(buffer));
}

/// Appends an announcement.
pub fn put_announce(buffer: &mut Vec<u8>) {
    put_frame(ANNOUNCE, buffer, |_| ());
}

/// Appends a member's certificates.
pub fn put_certificate(chain: &Chain, buffer: &mut Vec<u8>) {
    put_frame(CERTIFICATE, buffer, |buffer| chain.encode(buffer));
}

/// Appends a request for the certificates of at most [`WHO_IS_MAX`] members.
pub fn put_whose(members: &[MemberId], buffer: &mut Vec<u8>) {
    put_frame(WHOSE, buffer, |buffer| {
        members.iter().take(WHO_IS_MAX).for_each(|member| buffer.put(&member.0));
    });
}

/// Appends a request for an epoch's key.
pub fn put_key_ask(ask: &KeyAsk, buffer: &mut Vec<u8>) {
    put_frame(KEY_ASK, buffer, |buffer| ask.encode(buffer));
}

/// Appends its answer.
pub fn put_key_give(give: &KeyGive, buffer: &mut Vec<u8>) {
    put_frame(KEY_GIVE, buffer, |buffer| give.encode(buffer));
}

/// Appends a question about the way to a member.
pub fn put_path_question(question: &PathQuestion, buffer: &mut Vec<u8>) {
    put_frame(PATH_QUESTION, buffer, |buffer| question.encode(buffer));
}

/// Appends its answer.
pub fn put_path_answer(answer: &PathAnswer, buffer: &mut Vec<u8>) {
    put_frame(PATH_ANSWER, buffer, |buffer| answer.encode(buffer));
}

/// Appends something about a question.
pub fn put_query(message: &Message, buffer: &mut Vec<u8>) {
    put_frame(message.kind(), buffer, |buffer| message.encode(buffer));
}

/// Appends where answers are wanted.
pub fn put_reply_port(port: ReplyPort, buffer: &mut Vec<u8>) {
    put_frame(REPLY_PORT, buffer, |buffer| {
        buffer.put_u16(port.port.get());
        buffer.put_u8(u8::from(port.has_met));
    });
}

/// Appends the question whether one has an object.
pub fn put_seek(name: ObjectName, buffer: &mut Vec<u8>) {
    put_frame(SEEK, buffer, |buffer| name.encode(buffer));
}

/// Appends its answer: yes.
pub fn put_have(name: ObjectName, buffer: &mut Vec<u8>) {
    put_frame(HAVE, buffer, |buffer| name.encode(buffer));
}

/// Appends a request for pieces of an object.
pub fn put_ask(ask: &Ask, buffer: &mut Vec<u8>) {
    put_frame(ASK, buffer, |buffer| ask.encode(buffer));
}

/// Appends a piece of an object, which `body` writes.
pub fn put_piece(buffer: &mut Vec<u8>, body: impl FnOnce(&mut Vec<u8>)) {
    put_frame(PIECE, buffer, body);
}

/// Appends a packet that is half of a proof, which `body` writes.
pub fn put_exhibit(buffer: &mut Vec<u8>, body: impl FnOnce(&mut Vec<u8>)) {
    put_frame(EXHIBIT, buffer, body);
}

/// Appends a row that is half of a proof, or names of members, which `body` writes.
pub fn put_proven(buffer: &mut Vec<u8>, body: impl FnOnce(&mut Vec<u8>)) {
    put_frame(PROVEN, buffer, body);
}

/// Names to the end, at most so many.
fn parse_names<const N: usize, T>(
    body: &[u8],
    most: usize,
    name: impl Fn([u8; N]) -> T,
) -> Result<Vec<T>, Malformed> {
    let mut reader = Reader::new(body);
    let mut names = Vec::new();
    while !reader.is_empty() {
        names.push(name(reader.array()?));
    }
    if names.len() > most { Err(Malformed) } else { Ok(names) }
}

fn parse_topic(body: &[u8]) -> Result<&str, Malformed> {
    let text = core::str::from_utf8(body).map_err(|_| Malformed)?;
    if text.is_empty() || text.len() > TEXT_BYTES_MAX { Err(Malformed) } else { Ok(text) }
}

fn parse_number(body: &[u8]) -> Result<u64, Malformed> {
    let mut reader = Reader::new(body);
    let number = reader.u64()?;
    if reader.is_empty() { Ok(number) } else { Err(Malformed) }
}

fn put_frame(kind: u8, buffer: &mut Vec<u8>, body: impl FnOnce(&mut Vec<u8>)) {
    buffer.put_u8(kind);
    let length_at = buffer.len();
    buffer.put_u16(0);
    body(buffer);
    let length = buffer.len() - length_at - 2;
    let length = u16::try_from(length).expect("no frame is longer than a datagram");
    for (byte, value) in buffer.iter_mut().skip(length_at).zip(length.to_le_bytes()) {
        *byte = value;
    }
}

/// Records fit a datagram of the smallest size one by one; five fit the default one.
const _: () = assert!(RECORDS_PER_DATAGRAM * (crate::members::RECORD_BYTES_MAX + 3) <= 1200 - 60);
