//! What each fuzz target asserts about the bytes it is given: one function per decoder.
//!
//! They are shared by path: `fuzz/` hands them what libFuzzer invents, `main.rs` beside this file
//! hands them the corpus and mutations of it. Every body asserts that nothing panics and that what
//! parses encodes back to the very same bytes.

use bytes::Bytes;
use spinglass_core::frame::Frame;
use spinglass_core::identity::{Chain, Scope, SpiffeId};
use spinglass_core::knock::Strange;
use spinglass_core::link::Header;
use spinglass_core::members::UnverifiedRecord;
use spinglass_core::multicast::{Assembler, Digest, Framer, PacketRef, Solicit};
use spinglass_core::object::{Ask, ObjectName, PIECE_BYTES, PieceRef, Tree, verify};
use spinglass_core::query::{Message, Report};
use spinglass_core::record::Entry;
use spinglass_core::rules::{Action, ActionPattern, Policy};
use spinglass_core::table::UnverifiedRow;
use spinglass_core::wire::{Put, Reader};
use spinglass_core::{Instant, Sequence};

pub use super::member::member;

use super::member::Gullible;

/// A datagram's clear header.
pub fn header(bytes: &[u8]) {
    let Ok((header, length)) = Header::parse(bytes) else { return };
    let mut again = Vec::new();
    header.encode(&mut again);
    assert_eq!(again, bytes[..length]);
}

/// An opened datagram's frames.
pub fn frames(bytes: &[u8]) {
    let mut reader = Reader::new(bytes);
    loop {
        let rest = reader.rest();
        let Some(Ok(frame)) = Frame::next(&mut reader) else { return };
        let taken = &rest[..rest.len() - reader.rest().len()];
        let mut again = Vec::new();
        frame.encode(&mut again);
        assert!(matches!(frame, Frame::Unknown) || again == taken, "{frame:?}");
    }
}

/// A packet with its proof.
pub fn packet(bytes: &[u8]) {
    let Ok(packet) = PacketRef::parse(bytes) else { return };
    assert_eq!(packet.bytes, bytes);
    assert!(bytes.starts_with(packet.leaf));
    let mut header = Vec::new();
    packet.header.encode(&mut header);
    assert!(packet.leaf.starts_with(&header));
    assert!(header.len() < packet.content_end(), "no packet is empty");
}

/// A digest.
pub fn digest(bytes: &[u8]) {
    let Ok(digest) = Digest::parse(bytes) else { return };
    let mut again = Vec::new();
    digest.encode(&mut again);
    assert_eq!(again, bytes);
    for entry in &digest.entries {
        assert!(entry.low <= entry.high);
        check_ranges(entry.high, &entry.missing);
    }
}

/// A solicitation.
pub fn solicit(bytes: &[u8]) {
    let Ok(solicit) = Solicit::parse(bytes) else { return };
    let mut again = Vec::new();
    solicit.encode(&mut again);
    assert_eq!(again, bytes);
    check_ranges(u64::MAX, &solicit.wanted);
}

/// Ranges fall, are not empty, and do not touch.
fn check_ranges(high: u64, ranges: &[std::ops::Range<u64>]) {
    let mut above = None;
    for range in ranges {
        assert!(range.start < range.end && range.end <= high);
        assert!(above.is_none_or(|above| range.end < above));
        above = Some(range.start);
    }
}

/// A member's record.
pub fn record(bytes: &[u8]) {
    let mut reader = Reader::new(bytes);
    let Ok(record) = UnverifiedRecord::parse(&mut reader) else { return };
    let mut again = Vec::new();
    record.encode(&mut again);
    assert_eq!(again, bytes[..bytes.len() - reader.rest().len()]);
}

/// A row of the table.
pub fn row(bytes: &[u8]) {
    let Ok(row) = UnverifiedRow::parse(bytes) else { return };
    let mut again = Vec::new();
    row.encode(&mut again);
    assert_eq!(again, bytes);
}

/// What a stranger says, or is told.
pub fn strange(bytes: &[u8]) {
    let Ok(message) = Strange::parse(bytes) else { return };
    let mut again = Vec::new();
    message.encode(&mut again);
    assert_eq!(again, bytes);
}

/// Something said about a question: the frame's type, then its body.
pub fn question(bytes: &[u8]) {
    let Some((kind, body)) = bytes.split_first() else { return };
    let Ok(message) = Message::parse(*kind, body) else { return };
    let mut again = Vec::new();
    message.encode(&mut again);
    assert_eq!(again, body);
}

/// An answer, put together from its pieces.
pub fn report(bytes: &[u8]) {
    let Ok(report) = Report::parse(bytes) else { return };
    let mut again = Vec::new();
    report.encode(&mut again);
    assert_eq!(again, bytes);
    assert!(report.reach.answered + report.reach.silent() == report.reach.asked);
}

/// What is said of objects, an object's name as text, and the bytes as an object.
pub fn object(bytes: &[u8]) {
    if let Ok(ask) = Ask::parse(bytes) {
        let mut again = Vec::new();
        ask.encode(&mut again);
        assert_eq!(again, bytes);
        assert!(ask.pieces.is_sorted() && ask.pieces.iter().all(|at| *at < ask.name.pieces()));
    }
    if let Ok(piece) = PieceRef::parse(bytes) {
        let mut again = Vec::new();
        piece.encode(&mut again);
        assert_eq!(again, bytes);
        assert_eq!(piece.name.piece_bytes(piece.index), Some(piece.content.len()));
        let _ = verify(&piece.name, piece.index, piece.path, piece.content, &mut Gullible(1));
    }
    if let Ok(text) = core::str::from_utf8(bytes)
        && let Some(name) = ObjectName::parse(text)
    {
        assert_eq!(name.to_string(), text);
    }
    // Every piece of any object verifies by its path.
    let tree = Tree::of(bytes, &mut Gullible(1));
    let size = u32::try_from(bytes.len()).unwrap_or(u32::MAX);
    let name = ObjectName::new(tree.root(size, &mut Gullible(1)), size);
    let Some(name) = name else { return };
    for index in 0..name.pieces() {
        let mut path = Vec::new();
        tree.put_path(index, &mut path);
        let from = PIECE_BYTES * index as usize;
        let content = &bytes[from..bytes.len().min(from + PIECE_BYTES)];
        assert!(verify(&name, index, &path, content, &mut Gullible(1)));
    }
}

/// The values that everything else consists of.
pub fn values(bytes: &[u8]) {
    let again = |put: &dyn Fn(&mut Vec<u8>), reader: &Reader<'_>| {
        let mut again = Vec::new();
        put(&mut again);
        assert_eq!(again, bytes[..bytes.len() - reader.rest().len()]);
    };
    let mut reader = Reader::new(bytes);
    if let Ok(value) = reader.varint() {
        again(&|buffer| buffer.put_varint(value), &reader);
    }
    let mut reader = Reader::new(bytes);
    if let Ok(value) = reader.address() {
        again(&|buffer| buffer.put_address(value), &reader);
    }
    let mut reader = Reader::new(bytes);
    if let Ok(value) = reader.text(64) {
        again(&|buffer| buffer.put_text(value), &reader);
    }
}

/// Packets' contents put together to messages: `first u16 | length u8 | content`, one after the
/// other; a length of 255 stands for a lost packet.
pub fn messages(bytes: &[u8]) {
    let mut reader = Reader::new(bytes);
    let (mut assembler, mut given, mut got) = (Assembler::at_start(), 0, Vec::new());
    for sequence in (0..).map(Sequence) {
        let (Ok(first), Ok(length)) = (reader.u16(), reader.u8()) else { break };
        if length == u8::MAX {
            assembler.cut();
            continue;
        }
        let Ok(content) = reader.bytes(length.into()) else { break };
        given += content.len();
        let content = Bytes::copy_from_slice(content);
        // An impossible length is an error of the sender's; the stream goes on.
        let _ = assembler.push(sequence, first, &content, |whole| {
            assert!(whole.first <= whole.last && whole.last == sequence);
            got.push(whole.draft);
        });
    }
    assert!(got.iter().map(|draft| draft.bytes() + 1).sum::<usize>() <= given);
    // Framed again, in packets of another size, they are the same.
    let mut framer = Framer::default();
    got.iter().for_each(|draft| framer.push(draft.clone(), Instant::START));
    let (mut assembler, mut again) = (Assembler::at_start(), Vec::new());
    for sequence in (0..).map(Sequence) {
        let mut content = Vec::new();
        let (first, _) = framer.fill(61, &mut content);
        if content.is_empty() {
            break;
        }
        let content = content.into();
        let pushed = assembler.push(sequence, first, &content, |whole| again.push(whole.draft));
        assert_eq!(pushed, Ok(()));
    }
    assert_eq!(again, got);
}

/// A recording's entries, one after the other.
pub fn recording(mut bytes: &[u8]) {
    while let Ok((entry, length)) = Entry::decode(bytes) {
        let (taken, rest) = bytes.split_at(length);
        let mut again = Vec::new();
        entry.encode(&mut again);
        assert_eq!(again, taken, "{entry:?}");
        assert_eq!(Entry::decode(&again), Ok((entry, length)));
        bytes = rest;
    }
}

/// A chain of certificates, and the bytes as a name.
pub fn identity(bytes: &[u8]) {
    if let Ok(chain) = Chain::parse(bytes) {
        let mut again = Vec::new();
        chain.encode(&mut again);
        assert_eq!(again, bytes);
    }
    let Ok(text) = core::str::from_utf8(bytes) else { return };
    if let Ok(name) = SpiffeId::parse(text) {
        assert_eq!(name.to_string(), text);
    }
    if let Ok(scope) = Scope::parse(text) {
        assert_eq!(scope.to_string(), text);
    }
}

/// A policy, and the bytes as an action and as a pattern of one.
pub fn policy(bytes: &[u8]) {
    let me = SpiffeId::parse("spiffe://example.org/usa/ithaca/n1").expect("a name");
    if let Ok(policy) = Policy::parse(bytes) {
        let mut again = Vec::new();
        policy.encode(&mut again);
        assert_eq!(again, bytes);
        assert_eq!(Policy::new(policy.rules().to_vec()), Ok(policy.clone()));
        let decision = policy.decide(&me, &Action::Publish("grid/ny"));
        assert!(decision.rule.is_some() || !decision.allowed);
    }
    let Ok(text) = core::str::from_utf8(bytes) else { return };
    if let Ok(pattern) = ActionPattern::parse(text) {
        assert_eq!(ActionPattern::parse(&pattern.to_string()), Ok(pattern.clone()));
        // What is an action too is one that its own pattern is about, but for empty segments.
        if let Ok(action) = Action::parse(text) {
            assert!(pattern.matches(&action) || text.contains('*'), "{text}");
        }
    }
}
