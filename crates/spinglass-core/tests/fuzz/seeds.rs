//! The corpus: small, real encodings, one or a few for each target. The files under `fuzz/corpus`
//! are these bytes; a test says so, and writes them when `SPINGLASS_BLESS` is set.

use std::borrow::Cow;
use std::net::SocketAddr;
use std::num::NonZeroU16;
use std::time::Duration;

use bytes::Bytes;
use spinglass_core::crypto::{
    Crypto, Domain, Epoch, Hash, Offer, PublicKey, SEALED_KEY_BYTES, Salt, SealedKey, Signature,
};
use spinglass_core::detector::{Accusation, Verdict};
use spinglass_core::epochs::{KeyAsk, KeyGive};
use spinglass_core::frame::{self, Frame, PacketKind, ReplyPort};
use spinglass_core::identity::{Chain, Refusal};
use spinglass_core::knock::{Nonce, Petition, Rank, Strange, Welcome};
use spinglass_core::link::{BootName, Header, HeaderBoot};
use spinglass_core::members::MemberRecord;
use spinglass_core::multicast::{
    Digest, Entry as DigestEntry, Framer, LEAF_HEADER_BYTES, PacketHeader, Sample, Solicit,
    sign_burst,
};
use spinglass_core::object::{Ask as AskPieces, ObjectName, PIECE_BYTES, Tree};
use spinglass_core::orders::NewOrder;
use spinglass_core::path::{PathAnswer, PathQuestion, Task};
use spinglass_core::quarantine::Proven;
use spinglass_core::query::{
    Ask, Fetch, Found, Message as About, Piece, Question, QuestionId, Reach, Report,
};
use spinglass_core::record::{Beginnings, Entry};
use spinglass_core::rules::{ActionPattern, Effect, NamePattern, Policy, Rule};
use spinglass_core::table::{
    Inventory, InventoryLine, RowKey, TableDigest, Version, Want, ZonePath,
};
use spinglass_core::wire::Put;
use spinglass_core::{
    Config, Destinations, DownReason, Draft, Event, Gap, Identity, Incarnation, Instant, Keep,
    Load, Member, MemberId, Message, Now, Offence, Rating, Sequence, Share, Start, StreamId,
    TopicId, Transmit,
};

use spinglass_summary::{Name, RowBuilder, Time, Value};

use super::member::{FRAMES, Gullible, LEAVE, PUBLISH, SUBSCRIBE, peer_boot, peer_record};

/// A seed: its target, its name, its bytes.
pub(crate) type Seed = (&'static str, &'static str, Vec<u8>);

fn bytes(write: impl FnOnce(&mut Vec<u8>)) -> Vec<u8> {
    let mut buffer = Vec::new();
    write(&mut buffer);
    buffer
}

fn stream() -> StreamId {
    let topic = TopicId::from_hash(Gullible(1).hash(Domain::Topic, b"fuzz"));
    StreamId { topic, sender: peer_boot().sender, incarnation: Incarnation(1) }
}

/// A message of so many bytes; an empty one has headers.
fn draft(length: usize) -> Draft {
    let draft = Draft::from(vec![b'm'; length]);
    if length > 0 { draft } else { draft.header("price", 12.5).expect("a name") }
}

/// A burst of packets that carry a few messages.
fn burst() -> Vec<Vec<u8>> {
    let mut framer = Framer::default();
    for length in [0, 5, 300, 1] {
        framer.push(draft(length), Instant::START);
    }
    let mut packets = Vec::new();
    while framer.bytes() > 0 {
        let mut content = Vec::new();
        let (first, _) = framer.fill(100, &mut content);
        let sequence = packets.len() as u64;
        let recent = u32::try_from(sequence).expect("a small burst");
        let (stream, sequence, load) = (stream(), Sequence(sequence), Load(40));
        let kept = recent as u16;
        let header = PacketHeader { stream, sequence, recent, first, kept, load };
        let mut packet = bytes(|buffer| header.encode(buffer));
        assert_eq!(packet.len(), LEAF_HEADER_BYTES);
        packet.put(&content);
        packets.push(packet);
    }
    sign_burst(&mut packets, &mut Gullible(2));
    packets
}

fn a_digest() -> Digest {
    let missing = vec![8..9, 2..6];
    let sample = Some(Sample { sequence: 9, print: [1, 2, 3, 4] });
    let share = Share { rating: Rating::new(0.5).expect("a share"), ceiling: Load(60) };
    let (stream, high, low, quiet) = (stream(), 10, 1, 30);
    let entry = DigestEntry { stream, high, low, missing, sample, share, quiet };
    let bare = DigestEntry { sample: None, ..entry.clone() };
    Digest { round: 5, entries: vec![entry, bare] }
}

fn a_solicit() -> Solicit {
    Solicit { round: 1, stream: stream(), wanted: vec![3..4, 0..2] }
}

fn a_record(address: &str, region: &str) -> MemberRecord {
    let address: SocketAddr = address.parse().expect("an address");
    let region = ZonePath::parse(region).expect("a path");
    MemberRecord::sign(&peer_boot(), Incarnation(3), address, (region, None), &mut Gullible(2))
}

/// A row of any kind, with a value of every kind.
fn a_row(kind: u8, zone: &str, incarnation: u64) -> Vec<u8> {
    let name = |name| Name::new(name).expect("a legal name");
    let mut attributes = RowBuilder::default();
    attributes.set(name("id"), Value::text("n1"));
    attributes.set(name("contacts"), Value::list([Value::text("127.0.0.1:9")]));
    attributes.set(name("load"), Value::float(0.5));
    attributes.set(name("n"), Value::Int(-3));
    attributes.set(name("since"), Value::Time(Time(1)));
    attributes.set(name("sql"), Value::text("SELECT MIN(load) AS load FROM zone"));
    attributes.set(name("tag"), Value::bytes(b"x"));
    attributes.set(name("up"), Value::Bool(true));
    bytes(|buffer| {
        buffer.put_u8(kind);
        buffer.put_text(zone);
        buffer.put(&[2; 32]);
        buffer.put_varint(incarnation);
        buffer.put_varint(300);
        buffer.put_u64(6);
        buffer.put_u8(0);
        attributes.build().encode(buffer);
        buffer.put(&[0; 64]);
    })
}

fn table_frames(buffer: &mut Vec<u8>) {
    let line = |key| InventoryLine {
        key: RowKey(key),
        version: Version { incarnation: Incarnation(2), counter: 9 },
        hash: 77,
    };
    let (from, to) = (RowKey(1), RowKey(u64::MAX));
    let inventory = Inventory { depth: 0, from, to, lines: vec![line(5), line(6)] };
    frame::put_table_digest(&TableDigest { levels: vec![[1; 8], [2; 8]] }, buffer);
    frame::put_inventory(&inventory, buffer);
    frame::put_want(&Want { depth: 0, keys: vec![RowKey(5), RowKey(9)] }, buffer);
    frame::put_row(&a_row(0, "/", 3), buffer);
    frame::put_row(&a_row(2, "/", 0), buffer);
}

fn detector_frames(buffer: &mut Vec<u8>) {
    let word = |observer| Accusation {
        observer: RowKey(observer),
        counter: 300,
        signature: Signature([observer as u8; 64]),
    };
    let verdict = Verdict {
        zone: ZonePath::root(),
        subject: RowKey(4),
        incarnation: Incarnation(3),
        accusations: vec![word(5), word(6)],
    };
    frame::put_probe(1, buffer);
    frame::put_answer(1, buffer);
    frame::put_doubt(RowKey(4), buffer);
    frame::put_accusations(&verdict, buffer);
    frame::put_announce(buffer);
    let passed = "[::1]:1".parse().expect("an address");
    for task in [Task::Look, Task::Try, Task::Pass(passed)] {
        frame::put_path_question(&PathQuestion { number: 7, task }, buffer);
    }
    frame::put_path_answer(&PathAnswer { number: 7, is_try: true, address: passed }, buffer);
}

/// A report of every kind, by the name of its seed.
fn reports() -> Vec<(&'static str, Report)> {
    let reach = Reach { age_ms: 1500, asked: 3, answered: 2, ruled_out: 300, is_cut: true };
    let name = Name::new("load").expect("a legal name");
    let host = RowBuilder::default().with(name, Value::float(0.5)).build();
    let place = Value::list([Value::Int(1)]);
    let rows = vec![(0, a_row(1, "/usa", 0)), (700, a_row(2, "/", 0))];
    let chain = Chain::new(vec![vec![1; 40], vec![2; 30]]).expect("a small chain");
    vec![
        ("rows", Report { reach, found: Found::Rows { rows, chains: vec![chain] } }),
        ("hosts", Report { reach, found: Found::Hosts(vec![(place, host)]) }),
        ("no-such-zone", Report { reach, found: Found::NoSuchZone(ZonePath::root()) }),
        ("refused", Report { reach: Reach::default(), found: Found::Refused }),
        ("not-understood", Report { reach: Reach::default(), found: Found::NotUnderstood }),
    ]
}

/// Something of every kind that is said about questions, by the name of its seed.
fn about_questions() -> Vec<(&'static str, About)> {
    let zone = ZonePath::parse("/usa").expect("a path");
    let ask = |number, sql: Option<&str>| {
        let sql = sql.map(String::from);
        About::Ask(Ask { number, zone: zone.clone(), depth: 1, within_ms: 900, sql }.into())
    };
    let bytes = bytes(|buffer| {
        reports().first().expect("there are some").1.encode(buffer);
        buffer.truncate(100);
    });
    vec![
        ("ask-rows", ask(7, None)),
        ("ask-hosts", ask(8, Some("SELECT id FROM hosts WHERE load < 3 LIMIT 2"))),
        ("heard", About::Heard(7)),
        ("piece", About::Piece(Piece { number: 7, index: 0, count: 2, bytes })),
        ("fetch", About::Fetch(Fetch { number: 7, indices: vec![0, 1, 300] })),
        ("fetch-none", About::Fetch(Fetch { number: 7, indices: vec![] })),
    ]
}

/// The same as a frame's type and body.
fn about_bytes(message: &About) -> Vec<u8> {
    let framed = bytes(|buffer| frame::put_query(message, buffer));
    let (head, body) = framed.split_at(3);
    [&head[..1], body].concat()
}

/// An object of three pieces.
fn an_object() -> (ObjectName, Vec<u8>, Tree) {
    let content: Vec<u8> = (0..2 * PIECE_BYTES + 100).map(|at| at as u8).collect();
    let tree = Tree::of(&content, &mut Gullible(1));
    let size = u32::try_from(content.len()).expect("a small object");
    let name = ObjectName::new(tree.root(size, &mut Gullible(1)), size).expect("as above");
    (name, content, tree)
}

/// The body of its last piece.
fn a_piece() -> Vec<u8> {
    let (name, content, tree) = an_object();
    bytes(|buffer| {
        buffer.put(&name.root().0);
        buffer.put_varint(name.bytes() as u64);
        buffer.put_varint(2);
        tree.put_path(2, buffer);
        buffer.put(&content[2 * PIECE_BYTES..]);
    })
}

fn an_ask() -> AskPieces {
    AskPieces { name: an_object().0, pieces: vec![0, 2] }
}

fn object_frames(buffer: &mut Vec<u8>) {
    let (name, ..) = an_object();
    frame::put_seek(name, buffer);
    frame::put_have(name, buffer);
    frame::put_ask(&an_ask(), buffer);
    frame::put_piece(buffer, |buffer| buffer.put(&a_piece()));
}

/// Halves of proofs, and who is proven.
fn proof_frames(buffer: &mut Vec<u8>) {
    for packet in burst() {
        frame::put_exhibit(buffer, |buffer| buffer.put(&packet));
    }
    frame::put_proven(buffer, |buffer| {
        buffer.put_u8(0);
        buffer.put(&a_row(0, "/usa", 3));
    });
    for is_question in [false, true] {
        let proven = Proven { is_question, members: vec![peer_boot().sender, MemberId([9; 16])] };
        frame::put_proven(buffer, |buffer| proven.encode(buffer));
    }
}

fn all_frames() -> Vec<u8> {
    bytes(|buffer| {
        frame::put_record(|buffer| peer_record().encode(buffer), buffer);
        let port = NonZeroU16::new(40_123).expect("it is not zero");
        frame::put_reply_port(ReplyPort { port, has_met: true }, buffer);
        for packet in burst() {
            frame::put_packet(PacketKind::Spread, &packet, buffer);
            frame::put_packet(PacketKind::Repair, &packet, buffer);
        }
        frame::put_digest(false, buffer, |buffer| a_digest().encode(buffer));
        frame::put_digest(true, buffer, |buffer| a_digest().encode(buffer));
        frame::put_solicit(&a_solicit(), buffer);
        frame::put_who_is(&[MemberId([9; 16])], buffer);
        frame::put_what_topic(&[TopicId([1; 8]), TopicId([2; 8])], buffer);
        frame::put_topic("grid/ny/hz", buffer);
        frame::put_whose(&[MemberId([9; 16]), peer_boot().sender], buffer);
        let chain = Chain::new(vec![vec![1; 40], vec![2; 30]]).expect("a small chain");
        frame::put_certificate(&chain, buffer);
        let (offer, signature) = (Offer([7; 32]), Signature([8; 64]));
        frame::put_key_ask(&KeyAsk { epoch: 258, offer, signature }, buffer);
        let sealed = SealedKey([9; SEALED_KEY_BYTES]);
        frame::put_key_give(&KeyGive { epoch: 258, sealed }, buffer);
        table_frames(buffer);
        detector_frames(buffer);
        about_questions().iter().for_each(|(_, message)| frame::put_query(message, buffer));
        object_frames(buffer);
        buffer.put(&[200, 2, 0, 1, 2]);
    })
}

/// A life: what arrives, what the application does, and time between them.
fn a_life() -> Vec<u8> {
    let frames = |frames: &[u8], buffer: &mut Vec<u8>| {
        buffer.put_u8(FRAMES);
        buffer.put_u16(u16::try_from(frames.len()).expect("a datagram's worth"));
        buffer.put(frames);
    };
    let one = |frame: Frame<'_>| bytes(|buffer| frame.encode(buffer));
    bytes(|buffer| {
        buffer.put(&[SUBSCRIBE, 100]);
        frames(&all_frames(), buffer);
        buffer.put(&[100, PUBLISH, 0, 4, 10, 100]);
        frames(&one(Frame::Digest(a_digest())), buffer);
        buffer.put(&[20, 100, 100]);
        frames(&one(Frame::Solicit(a_solicit())), buffer);
        buffer.put(&[100, LEAVE, 100, 100]);
    })
}

/// What is done to the table, and asked of it.
fn table_entries() -> Vec<Entry<'static>> {
    let now = Now { monotonic: Instant::from_nanos(5), wall_ms: 6 };
    vec![
        Entry::SetAttributes {
            now,
            attributes: vec![(Name::new("load").expect("a legal name"), Value::Int(7))].into(),
        },
        Entry::SetSummary {
            now,
            zone: ZonePath::root(),
            name: "x".into(),
            sql: Some("y".into()),
            lasts: Some(Duration::from_secs(3)),
        },
        Entry::SetSummary { now, zone: ZonePath::root(), name: "x".into(), sql: None, lasts: None },
        Entry::PutObject {
            now,
            name: Name::new("doc").expect("a legal name"),
            bytes: Bytes::from_static(b"x"),
        },
        Entry::FetchObject { now, object: an_object().0 },
        Entry::Heed { now, list: Cow::Borrowed(b"list") },
        Entry::Roots { now, roots: Cow::Owned(vec![b"root".to_vec(), Vec::new()]) },
        Entry::Exchanged(None),
        Entry::Exchanged(Some(Cow::Borrowed(b"sealed"))),
        Entry::Order { now, order: NewOrder::Rotate },
        Entry::Order {
            now,
            order: NewOrder::Quarantine {
                who: NamePattern::parse("spiffe://example.org/usa/*").expect("a pattern"),
                lasts: Some(Duration::from_secs(3)),
            },
        },
        Entry::Order { now, order: NewOrder::Revoke(Bytes::from_static(b"list")) },
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
    ]
}

fn entries() -> Vec<Entry<'static>> {
    let now = Now { monotonic: Instant::from_nanos(5), wall_ms: 6 };
    let address: SocketAddr = "127.0.0.1:7710".parse().expect("an address");
    let (id, incarnation, rating) = (MemberId([5; 16]), Incarnation(3), Rating::NONE);
    let message = Message {
        stream: stream(),
        first: Sequence(1),
        last: Sequence(2),
        headers: draft(0).headers,
        payload: Bytes::from_static(b"hello"),
    };
    let to = Destinations::Members(vec![address; 3]);
    let member = Member { id, incarnation, address, region: "/usa".into() };
    vec![
        Entry::Beginnings(Box::new(Beginnings {
            config: Config::lan(),
            identity: Identity {
                incarnation,
                salt: Salt([1; 16]),
                address,
                region: ZonePath::parse("/a").expect("a path"),
                name: "n1".into(),
            },
            public_key: PublicKey([2; 32]),
            seed: 7,
            seeds: vec![address, "[::1]:1".parse().expect("an address")],
            now,
        })),
        Entry::Datagrams { now, datagrams: vec![(address, (&[7; 44][..]).into(), 900)] },
        Entry::Timeout { now },
        Entry::Publish { now, topic: TopicId([1; 8]), draft: draft(0) },
        Entry::Subscribe { now, topic: TopicId([1; 8]), start: Start::Buffered },
        Entry::AddSeeds { now, seeds: vec![address; 2] },
        Entry::SetAddress { now, address },
        Entry::AskPath {
            now,
            whom: address,
            question: PathQuestion { number: 7, task: Task::Look },
        },
        Entry::SetReplyPort { now, port: NonZeroU16::new(40_123) },
        Entry::SetReplyPort { now, port: None },
        Entry::Rate { now, topic: TopicId([1; 8]), rating },
        Entry::Keep { now, topic: TopicId([1; 8]), keep: Keep::Last(300) },
        Entry::SubscribePattern { now, pattern: "#".into(), start: Start::Live, rating },
        Entry::Leave { now },
        Entry::Transmit {
            now,
            segments_max: 64,
            transmit: Some(Transmit { to, segment_bytes: 1200 }),
            bytes: 2400,
        },
        Entry::Transmit { now, segments_max: 1, transmit: None, bytes: 0 },
        Entry::Event { event: Event::Message(message) },
        Entry::Event { event: Event::Gap(Gap { stream: stream(), from: Sequence(3), packets: 4 }) },
        Entry::Event { event: Event::MemberUp(member) },
        Entry::Event { event: Event::MemberDown { id, incarnation, reason: DownReason::Silent } },
        Entry::Event { event: Event::Quarantined { id, offence: Offence::TwoPackets } },
        Entry::Event { event: Event::Quarantined { id, offence: Offence::TwoRows } },
        Entry::Event { event: Event::Kept { stream: stream(), until: Sequence(9) } },
        Entry::Event { event: Event::FalseSummary { zone: "/usa".into(), issuer: id } },
        Entry::Signed([3; 64]),
        Entry::Verified(true),
        Entry::Certified(Err(Refusal::Expired { not_after: 7 })),
        Entry::Topic("fuzz".into()),
        Entry::LinkKey(Some(3)),
        Entry::LinkKey(None),
        Entry::Sealed { frames: Hash([4; 16]), bytes: 100 },
        Entry::Opened(Some((&b"frames"[..]).into())),
        Entry::Opened(None),
    ]
}

fn contents() -> Vec<u8> {
    bytes(|buffer| {
        let mut framer = Framer::default();
        for length in [3, 0, 200, 40] {
            framer.push(draft(length), Instant::START);
        }
        for lost in (0..).map(|packet| packet == 3) {
            let mut content = Vec::new();
            let (first, _) = framer.fill(50, &mut content);
            if content.is_empty() {
                break;
            }
            buffer.put_u16(first);
            buffer.put_u8(if lost { 255 } else { content.len() as u8 });
            if !lost {
                buffer.put(&content);
            }
        }
    })
}

/// A policy with a rule of every kind.
fn a_policy() -> Policy {
    let rule = |effect, who: &[&str], what: &[&str]| Rule {
        effect,
        who: who.iter().map(|who| NamePattern::parse(who).expect("a pattern")).collect(),
        what: what.iter().map(|what| ActionPattern::parse(what).expect("a pattern")).collect(),
    };
    let usa = ["spiffe://example.org/usa/**", "spiffe://example.org/*/ops"];
    let does = ["join /usa/**", "write net.* in /usa/*", "publish grid/ny", "door http"];
    let rules = vec![
        rule(Effect::Deny, &["spiffe://example.org/usa/ithaca/n1"], &["rotate", "respond"]),
        rule(Effect::Allow, &usa, &does),
        rule(Effect::Allow, &usa[1..], &["install load* in /usa/** below 1", "subscribe **"]),
    ];
    Policy::new(rules).expect("within bounds")
}

fn strange(message: &Strange) -> Vec<u8> {
    bytes(|to| message.encode(to))
}

fn a_petition() -> Petition {
    Petition {
        nonce: Nonce([7; 16]),
        cookie: Hash([8; 16]),
        rank: Rank { is_shared: true, epoch: 258, hash: Hash([9; 16]) },
        offer: Offer([10; 32]),
        chain: Chain::new(vec![vec![1; 40], vec![2; 30]]).expect("a small chain"),
        signature: Signature([11; 64]),
    }
}

fn a_welcome() -> Welcome {
    let Petition { nonce, rank, chain, signature, .. } = a_petition();
    let sealed = SealedKey([12; SEALED_KEY_BYTES]);
    Welcome { nonce, rank, sealed, chain, signature }
}

/// Every seed.
pub(crate) fn seeds() -> Vec<Seed> {
    let header = |boot| Header { epoch: Epoch(1), boot, counter: 258 };
    let packets = burst();
    let first = packets.first().expect("a burst has a packet").clone();
    let mut single = vec![first[..LEAF_HEADER_BYTES + 20].to_vec()];
    sign_burst(&mut single, &mut Gullible(2));
    let long = "/a-region/that-is/as-long-as/any-region-may-be/which-is/64-bytes";
    assert_eq!(long.len(), 64);
    let mut recording = Vec::new();
    let all = entries().into_iter().chain(table_entries());
    all.for_each(|entry| entry.encode(&mut recording));
    let questions = about_questions().into_iter();
    let questions = questions.map(|(name, about)| ("question", name, about_bytes(&about)));
    let reports = reports().into_iter();
    let reports = reports.map(|(name, report)| ("report", name, bytes(|to| report.encode(to))));
    let mut seeds = vec![
        ("header", "short", bytes(|to| header(HeaderBoot::Short(BootName([9; 8]))).encode(to))),
        ("header", "long", bytes(|to| header(HeaderBoot::Long(peer_boot())).encode(to))),
        ("frames", "all", all_frames()),
        // Not in a life, whose peer is to be heard.
        ("frames", "proofs", bytes(proof_frames)),
        ("packet", "of-a-burst", packets.last().expect("as above").clone()),
        ("packet", "alone", single.remove(0)),
        ("digest", "ranges", bytes(|to| a_digest().encode(to))),
        ("digest", "empty", bytes(|to| Digest::default().encode(to))),
        ("solicit", "ranges", bytes(|to| a_solicit().encode(to))),
        ("record", "v4", bytes(|to| a_record("127.0.0.1:7710", "/").encode(to))),
        ("record", "v6", bytes(|to| a_record("[::1]:7710", long).encode(to))),
        ("row", "agent", a_row(0, "/usa/ithaca", 9)),
        ("row", "zone", a_row(1, "/usa", 0)),
        ("row", "function", a_row(2, "/", 0)),
        ("row", "order", a_row(3, "/", 0)),
        ("strange", "knock", strange(&Strange::Knock(Nonce([7; 16])))),
        ("strange", "cookie", strange(&Strange::Cookie(Nonce([7; 16]), Hash([8; 16])))),
        ("strange", "petition", strange(&Strange::Petition(a_petition()))),
        ("strange", "welcome", strange(&Strange::Welcome(a_welcome()))),
        ("object", "ask", bytes(|to| an_ask().encode(to))),
        ("object", "piece", a_piece()),
        ("object", "name", an_object().0.to_string().into_bytes()),
        ("values", "varint", bytes(|to| to.put_varint(1 << 40))),
        ("values", "address", bytes(|to| to.put_address("[::1]:7710".parse().expect("one")))),
        ("values", "text", bytes(|to| to.put_text("text"))),
        ("messages", "with-a-loss", contents()),
        ("recording", "every-entry", recording),
        ("identity", "chain", {
            let chain = Chain::new(vec![vec![48; 40], vec![49; 30]]).expect("within bounds");
            bytes(|to| chain.encode(to))
        }),
        ("identity", "name", b"spiffe://example.org/usa/ithaca/n1".to_vec()),
        ("policy", "every-kind", bytes(|to| a_policy().encode(to))),
        ("policy", "action", b"install load* in /usa/** below 1".to_vec()),
        ("member", "a-life", a_life()),
        ("member", "silence", vec![200; 60]),
    ];
    seeds.extend(questions.chain(reports));
    seeds
}
