//! docs/wire.md's test vectors: made here from the sources, compared with the document, and read
//! back from the document alone. `SPINGLASS_BLESS=1` writes them.

#![expect(clippy::unwrap_used, reason = "whatever fails here fails the test")]

use std::collections::BTreeMap;
use std::fs;
use std::num::NonZeroU16;
use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;
use spinglass_core::crypto::{Crypto, Domain, Epoch, Hash, Offer, PublicKey, Salt};
use spinglass_core::detector::{Verdict, accuse, is_genuine};
use spinglass_core::epochs::KeyAsk;
use spinglass_core::frame::{self, Frame, ReplyPort};
use spinglass_core::link::{Boot, BootName, Link, Sealer};
use spinglass_core::members::{MemberRecord, UnverifiedRecord};
use spinglass_core::multicast::{
    Assembler, Digest, Entry, Framer, LEAF_HEADER_BYTES, PacketHeader, PacketRef, Sample, Solicit,
    VerifiedBursts, sign_burst,
};
use spinglass_core::object::{self, ObjectName, PIECE_BYTES, PieceRef, Tree};
use spinglass_core::path::{PathAnswer, PathQuestion, Task};
use spinglass_core::quarantine::Proven;
use spinglass_core::query::{Ask, Found, Message, Reach, Report};
use spinglass_core::table::{
    CORE_SQL, Inventory, InventoryLine, Kind, Name, NewFunction, RowKey, TableDigest, TableRow,
    UnverifiedRow, Value, Version, Want, ZonePath,
};
use spinglass_core::wire::{Put as _, Reader};
use spinglass_core::{
    Config, Draft, Identity, Incarnation, Instant, Load, MemberId, Node, Now, Rating, Sequence,
    Share, StreamId, TopicId,
};
use spinglass_crypto::{GroupKeys, RealCrypto, SigningKey};

const DOCUMENT: &str = "../../docs/wire.md";
const FENCE: &str = "```";
const VECTOR: &str = "```vector ";
/// Hexadecimal digits on one line of the document.
const LINE_DIGITS: usize = 96;
/// Content bytes of the vectors' packets.
const ROOM: usize = 8;
const INCARNATION: Incarnation = Incarnation(3);
const PORT: ReplyPort = ReplyPort { port: NonZeroU16::new(40_123).unwrap(), has_met: true };
/// A probe's number.
const NUMBER: u64 = 0x0807_0605_0403_0201;

type Vectors = BTreeMap<&'static str, Vec<u8>>;

fn member(seed: u8) -> RealCrypto {
    RealCrypto::new(SigningKey::from_seed([seed; 32]), GroupKeys::from_key([7; 32]))
}

fn boot() -> Boot {
    let sender = SigningKey::from_seed([1; 32]).member_id();
    Boot { sender, salt: Salt([5; 16]), generation: 0 }
}

fn stream() -> StreamId {
    let topic = TopicId::from_hash(spinglass_crypto::hash(Domain::Topic, b"wire"));
    StreamId { topic, sender: boot().sender, incarnation: INCARNATION }
}

fn record() -> MemberRecord {
    let address = "127.0.0.1:7710".parse().unwrap();
    let region = ZonePath::parse("/usa/ithaca").unwrap();
    MemberRecord::sign(&boot(), INCARNATION, address, (region, None), &mut member(1))
}

/// The same of a member whose certificate has this hash.
fn certified_record() -> MemberRecord {
    let record = record();
    let said = (record.region.clone(), Some(Hash([6; 16])));
    MemberRecord::sign(&boot(), INCARNATION, record.address, said, &mut member(1))
}

fn proven() -> Proven {
    Proven { is_question: true, members: vec![boot().sender] }
}

fn digest() -> Digest {
    let packet = packets().remove(1);
    let leaf = PacketRef::parse(&packet).unwrap().leaf;
    let sample = Some(Sample::of(1, leaf, (boot().sender, 5), &mut member(1)));
    let (high, low, missing, quiet) = (14, 0, vec![12..13, 5..9], 30);
    let share = Share { rating: Rating::new(0.2).unwrap(), ceiling: Load(60) };
    let entry = Entry { stream: stream(), high, low, missing, sample, share, quiet };
    Digest { round: 5, entries: vec![entry] }
}

fn solicit() -> Solicit {
    Solicit { round: 5, stream: stream(), wanted: vec![12..13, 5..9] }
}

/// A's row, its region's, and a function's that it installed at the root: what A issues when it
/// is alone. They come in this order.
fn rows() -> Vec<TableRow> {
    let now = Now { monotonic: Instant::from_nanos(0), wall_ms: 1_700_000_000_000 };
    let region = ZonePath::parse("/usa/ithaca").unwrap();
    let identity = Identity {
        incarnation: INCARNATION,
        salt: Salt([5; 16]),
        address: "127.0.0.1:7710".parse().unwrap(),
        region: region.clone(),
        name: "a".into(),
    };
    let config = Config::lan().check().unwrap();
    let mut node = Node::new(config, identity, Box::new(member(1)), 1, Vec::new(), now).unwrap();
    let root = ZonePath::root();
    node.set_attributes(now, &[(Name::new("load").unwrap(), Value::Int(-7))]).unwrap();
    let core = NewFunction { sql: CORE_SQL, lasts: None };
    node.set_summary(now, &root, "core", Some(core)).unwrap();
    node.adopt_rows(now, &[]);
    node.issue_zones(now);
    let table = node.table();
    let usa = region.ancestor(1);
    let function = table.held().find(|row| row.kind() == Kind::Function).unwrap();
    let zone = table.row(&usa, "ithaca").unwrap();
    [table.own_row().unwrap(), zone, function].map(|row| TableRow::clone(row)).into()
}

/// A's request for an epoch's key.
fn key_ask() -> KeyAsk {
    KeyAsk::sign(258, Offer([7; 32]), boot().sender, &mut member(1))
}

/// The region's line of A, as an inventory names it.
fn inventory() -> Inventory {
    let agent = &rows()[0];
    let line =
        InventoryLine { key: agent.key(), version: agent.version(), hash: agent.short_hash() };
    Inventory { depth: 2, from: RowKey(0), to: RowKey(u64::MAX), lines: vec![line] }
}

fn table_digest() -> TableDigest {
    let mut region = [0; 8];
    let agent = &rows()[0];
    let [a, b, c, d, ..] = agent.hash().0;
    region[(agent.key().0 >> 61) as usize] = u32::from_le_bytes([a, b, c, d]);
    TableDigest { levels: vec![[0; 8], [0; 8], region] }
}

/// A's word that it can't reach B.
fn verdict() -> Verdict {
    let key = |seed| {
        let name = SigningKey::from_seed([seed; 32]).member_id();
        RowKey(u64::from_le_bytes(*name.0.first_chunk().unwrap()))
    };
    let zone = ZonePath::parse("/usa/ithaca").unwrap();
    let version = Version { incarnation: Incarnation(4), counter: 300 };
    let (subject, observer) = (key(2), key(1));
    let accusation = accuse(&zone, subject, version, observer, &mut member(1));
    Verdict { zone, subject, incarnation: version.incarnation, accusations: vec![accusation] }
}

/// The frames of the table and of the failure detector.
fn table_frames() -> Vectors {
    let want = Want { depth: 2, keys: vec![rows()[0].key(), RowKey(u64::MAX)] };
    let rows = rows().into_iter().map(|row| bytes(|buffer| frame::put_row(row.encoded(), buffer)));
    let [agent, zone, function] = rows.collect::<Vec<_>>().try_into().unwrap();
    let subject = verdict().subject;
    BTreeMap::from([
        ("frame-table-digest", bytes(|buffer| frame::put_table_digest(&table_digest(), buffer))),
        ("frame-inventory", bytes(|buffer| frame::put_inventory(&inventory(), buffer))),
        ("frame-want", bytes(|buffer| frame::put_want(&want, buffer))),
        ("frame-row-agent", agent),
        ("frame-row-zone", zone),
        ("frame-row-function", function),
        ("frame-probe", bytes(|buffer| frame::put_probe(NUMBER, buffer))),
        ("frame-answer", bytes(|buffer| frame::put_answer(NUMBER, buffer))),
        ("frame-doubt", bytes(|buffer| frame::put_doubt(subject, buffer))),
        ("frame-path-question", bytes(|buffer| frame::put_path_question(&question(), buffer))),
        ("frame-path-answer", bytes(|buffer| frame::put_path_answer(&answer(), buffer))),
        ("frame-accusations", bytes(|buffer| frame::put_accusations(&verdict(), buffer))),
    ])
}

/// `good day`, and an empty message with a header.
fn messages() -> [Draft; 2] {
    ["good day".into(), Draft::default().header("n", 1).unwrap()]
}

/// A burst of two packets that carry them.
fn packets() -> Vec<Vec<u8>> {
    let mut framer = Framer::default();
    messages().into_iter().for_each(|message| framer.push(message, Instant::START));
    let mut packets = Vec::new();
    while framer.bytes() > 0 {
        let mut content = Vec::new();
        let (first, _) = framer.fill(ROOM, &mut content);
        let sequence = packets.len() as u64;
        let recent = sequence as u32;
        let (stream, sequence, kept, load) = (stream(), Sequence(sequence), 1, Load(40));
        let header = PacketHeader { stream, sequence, recent, first, kept, load };
        let mut packet = bytes(|buffer| header.encode(buffer));
        packet.put(&content);
        packets.push(packet);
    }
    sign_burst(&mut packets, &mut member(1));
    packets
}

fn bytes(write: impl FnOnce(&mut Vec<u8>)) -> Vec<u8> {
    let mut buffer = Vec::new();
    write(&mut buffer);
    buffer
}

/// The object of 1,000 times `a`.
fn an_object() -> (ObjectName, Tree) {
    let tree = Tree::of(&[b'a'; 1000], &mut member(1));
    (ObjectName::new(tree.root(1000, &mut member(1)), 1000).unwrap(), tree)
}

fn ask_pieces() -> object::Ask {
    object::Ask { name: an_object().0, pieces: vec![0, 1] }
}

/// Its second piece.
fn piece() -> Vec<u8> {
    let (name, tree) = an_object();
    let path = bytes(|buffer| tree.put_path(1, buffer));
    let content = &[b'a'; 1000 - PIECE_BYTES];
    bytes(|buffer| PieceRef { name, index: 1, path: &path, content }.encode(buffer))
}

/// The frame who-is that asks for nobody, sealed under the counters 1 and 2; the counter 0 is spent
/// before them.
fn datagrams() -> [Vec<u8>; 2] {
    let mut crypto = member(1);
    let mut link = Link::new(Epoch(0), boot(), &mut crypto).unwrap();
    let mut sealed = |long| {
        bytes(|buffer| {
            let begun = link.begin(long, buffer);
            frame::put_who_is(&[], buffer);
            link.seal(&begun, buffer, &mut crypto);
        })
    };
    let _first = sealed(false);
    [sealed(true), sealed(false)]
}

fn ask() -> Ask {
    let sql = Some("SELECT load FROM hosts ORDER BY load".into());
    let zone = ZonePath::parse("/usa").unwrap();
    Ask { number: 7, zone, depth: 1, within_ms: 900, sql }
}

fn report() -> Report {
    let load = Value::float(0.5);
    let host = [(Name::new("load").unwrap(), load.clone())].into_iter().collect();
    let reach = Reach { age_ms: 1500, asked: 3, answered: 2, ruled_out: 4, is_cut: false };
    Report { reach, found: Found::Hosts(vec![(Value::list([load]), host)]) }
}

fn made() -> Vectors {
    let name = boot().name(&mut member(1));
    let [long, short] = datagrams();
    let [first, second] = packets().try_into().unwrap();
    let mut messages = Vec::new();
    messages.put(&[8 << 1]);
    messages.put(b"good day");
    // One header: the name's length, the name, a whole number, twice 1.
    messages.put(&[5 << 1 | 1, 1, 1, b'n', 3, 2]);
    let mut vectors = table_frames();
    vectors.extend([
        ("member-a-public-key", member(1).public_key().0.to_vec()),
        ("member-a-name", boot().sender.0.to_vec()),
        ("topic", stream().topic.0.to_vec()),
        ("boot", name.0.to_vec()),
        ("datagram-long", long),
        ("datagram-short", short),
        ("frame-reply-port", bytes(|buffer| frame::put_reply_port(PORT, buffer))),
        (
            "frame-proven",
            bytes(|buffer| frame::put_proven(buffer, |buffer| proven().encode(buffer))),
        ),
        ("frame-whose", bytes(|buffer| frame::put_whose(&[boot().sender], buffer))),
        ("frame-key-ask", bytes(|buffer| frame::put_key_ask(&key_ask(), buffer))),
        ("record-certified", bytes(|buffer| certified_record().encode(buffer))),
        ("frame-what-topic", bytes(|buffer| frame::put_what_topic(&[stream().topic], buffer))),
        ("frame-topic", bytes(|buffer| frame::put_topic("wire", buffer))),
        ("frame-who-is", bytes(|buffer| frame::put_who_is(&[boot().sender], buffer))),
        ("record", bytes(|buffer| record().encode(buffer))),
        ("packet-0", first),
        ("packet-1", second),
        ("messages", messages),
        ("digest", bytes(|buffer| digest().encode(buffer))),
        ("solicit", bytes(|buffer| solicit().encode(buffer))),
        ("ask", bytes(|buffer| Message::Ask(ask().into()).encode(buffer))),
        ("report", bytes(|buffer| report().encode(buffer))),
        ("object-name", an_object().0.to_string().into_bytes()),
        ("object-ask", bytes(|buffer| ask_pieces().encode(buffer))),
        ("object-piece", piece()),
    ]);
    vectors
}

fn document() -> String {
    fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(DOCUMENT)).unwrap()
}

/// The document's vectors.
fn written(text: &str) -> BTreeMap<String, Vec<u8>> {
    let mut vectors = BTreeMap::new();
    let mut lines = text.lines();
    while let Some(line) = lines.next() {
        let Some(name) = line.strip_prefix(VECTOR) else { continue };
        let digits: String = lines.by_ref().take_while(|line| *line != FENCE).collect();
        let pairs = digits.as_bytes().chunks(2).map(|pair| std::str::from_utf8(pair).unwrap());
        let bytes = pairs.map(|pair| u8::from_str_radix(pair, 16).unwrap()).collect();
        assert!(vectors.insert(name.to_owned(), bytes).is_none(), "{name} stands there twice");
    }
    vectors
}

/// The document with these vectors in it.
fn blessed(text: &str, vectors: &Vectors) -> String {
    let mut out = String::new();
    let mut lines = text.lines();
    while let Some(line) = lines.next() {
        out += line;
        out.push('\n');
        let Some(name) = line.strip_prefix(VECTOR) else { continue };
        let digits: String = vectors[name].iter().map(|byte| format!("{byte:02x}")).collect();
        for chunk in digits.as_bytes().chunks(LINE_DIGITS) {
            out += std::str::from_utf8(chunk).unwrap();
            out.push('\n');
        }
        lines.by_ref().take_while(|line| *line != FENCE).for_each(drop);
        out += FENCE;
        out.push('\n');
    }
    out
}

fn vector(name: &str) -> Vec<u8> {
    written(&document()).remove(name).unwrap()
}

#[test]
fn the_sources_make_the_documents_vectors() {
    let vectors = made();
    if std::env::var_os("SPINGLASS_BLESS").is_some() {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(DOCUMENT);
        fs::write(path, blessed(&document(), &vectors)).unwrap();
    }
    let written = written(&document());
    assert_eq!(written.len(), vectors.len(), "vectors that only one side has");
    for (name, bytes) in vectors {
        assert_eq!(written[name], bytes, "vector {name}");
    }
}

#[test]
fn another_member_opens_the_documents_datagrams() {
    let mut crypto = member(2);
    let sender = SigningKey::from_seed([2; 32]).member_id();
    let own = Boot { sender, ..boot() };
    let mut link = Link::new(Epoch(0), own, &mut crypto).unwrap();
    let mut long = vector("datagram-long");
    let opened = link.open(&mut long, |_| None, &mut crypto).unwrap();
    assert_eq!(opened.sealer, Sealer::Claimed(boot()));
    let mut short = vector("datagram-short");
    let found = |name: BootName| (vector("boot") == name.0).then(|| Arc::new(record()));
    let opened = link.open(&mut short, found, &mut crypto).unwrap();
    assert_eq!(opened.sealer, Sealer::Known(boot().sender));
    let mut frames = Reader::new(&short[opened.frames]);
    assert!(matches!(Frame::next(&mut frames), Some(Ok(Frame::WhoIs(_)))));
    assert!(Frame::next(&mut frames).is_none());
}

#[test]
fn anybody_verifies_the_documents_record_and_packets() {
    let mut crypto = member(2);
    let record = vector("record");
    let mut reader = Reader::new(&record);
    let record = UnverifiedRecord::parse(&mut reader).unwrap().verify(&mut crypto).unwrap();
    assert!(reader.is_empty());
    assert_eq!(record.id(), MemberId(vector("member-a-name").try_into().unwrap()));
    let key = PublicKey(vector("member-a-public-key").try_into().unwrap());
    let mut assembler = Assembler::at_start();
    let mut told = Vec::new();
    let mut content = Vec::new();
    for name in ["packet-0", "packet-1"] {
        let bytes = vector(name);
        let packet = PacketRef::parse(&bytes).unwrap();
        let leaf = crypto.hash(Domain::Leaf, packet.leaf);
        let mut alone = VerifiedBursts::default();
        assert!(alone.verify(&packet, leaf, &key, &mut 0, &mut crypto), "{name}, alone");
        let PacketHeader { sequence, first, .. } = packet.header;
        let part = Bytes::copy_from_slice(&packet.leaf[LEAF_HEADER_BYTES..]);
        content.put(&part);
        assembler.push(sequence, first, &part, |whole| told.push(whole.draft)).unwrap();
    }
    assert_eq!(told, messages());
    assert_eq!(content, vector("messages"));
}

#[test]
fn anybody_verifies_the_documents_piece() {
    let text = String::from_utf8(vector("object-name")).unwrap();
    let name = ObjectName::parse(&text).unwrap();
    assert_eq!((name.bytes(), name.pieces()), (1000, 2));
    assert_eq!(object::Ask::parse(&vector("object-ask")), Ok(ask_pieces()));
    let bytes = vector("object-piece");
    let PieceRef { index, path, content, .. } = PieceRef::parse(&bytes).unwrap();
    let mut crypto = member(2);
    assert!(object::verify(&name, index, path, content, &mut crypto));
    assert!(!object::verify(&name, 0, path, content, &mut crypto), "as another piece");
    let mut bent = content.to_vec();
    bent[50] ^= 1;
    assert!(!object::verify(&name, index, path, &bent, &mut crypto), "a bit flipped");
}

#[test]
fn the_documents_gossip_says_what_the_document_says() {
    assert_eq!(Digest::parse(&vector("digest")), Ok(digest()));
    assert_eq!(Solicit::parse(&vector("solicit")), Ok(solicit()));
    assert_eq!(Message::parse(20, &vector("ask")), Ok(Message::Ask(ask().into())));
    assert_eq!(Report::parse(&vector("report")), Ok(report()));
    let who_is = vector("frame-who-is");
    let mut reader = Reader::new(&who_is);
    let Some(Ok(Frame::WhoIs(members))) = Frame::next(&mut reader) else {
        panic!("not the frame who-is");
    };
    assert_eq!(members, [boot().sender]);
}

/// The one frame of a vector, which encodes back to the same bytes.
fn the_frame(name: &str, check: impl FnOnce(Frame<'_>)) {
    let written = vector(name);
    let mut reader = Reader::new(&written);
    let read = Frame::next(&mut reader).unwrap().unwrap();
    assert!(reader.is_empty(), "{name} holds more than a frame");
    assert_eq!(bytes(|buffer| read.encode(buffer)), written, "{name}, encoded again");
    check(read);
}

#[test]
fn anybody_verifies_the_documents_rows() {
    let key = PublicKey(vector("member-a-public-key").try_into().unwrap());
    let verified = |row: UnverifiedRow<'_>| {
        let key = row.key(&mut member(2));
        row.verify(key, &mut member(2)).unwrap()
    };
    let names = ["frame-row-agent", "frame-row-zone", "frame-row-function"];
    for (name, made) in names.into_iter().zip(rows()) {
        the_frame(name, |frame| {
            let Frame::Row(row) = frame else { panic!("{name} is no row") };
            let row = verified(row);
            assert_eq!((row.issuer(), row.key()), (&key, made.key()), "{name}");
            assert_eq!((row.kind(), row.zone(), row.version()), {
                (made.kind(), made.zone(), made.version())
            });
            assert_eq!(row.attributes(), made.attributes(), "{name}");
        });
    }
}

#[test]
fn the_documents_table_says_what_the_document_says() {
    let agent = RowKey(u64::from_le_bytes(*vector("member-a-name").first_chunk().unwrap()));
    the_frame("frame-table-digest", |frame| {
        let Frame::TableDigest(digest) = frame else { panic!("no table digest") };
        assert_eq!(digest, table_digest());
    });
    the_frame("frame-inventory", |frame| {
        let Frame::Inventory(read) = frame else { panic!("no inventory") };
        assert_eq!(read, inventory());
        assert_eq!(read.lines[0].key, agent);
    });
    the_frame("frame-want", |frame| {
        let Frame::Want(want) = frame else { panic!("no want") };
        assert_eq!((want.depth, want.keys), (2, vec![agent, RowKey(u64::MAX)]));
    });
}

fn an_address() -> std::net::SocketAddr {
    ([127, 0, 0, 1], 7710).into()
}

fn question() -> PathQuestion {
    PathQuestion { number: NUMBER, task: Task::Pass(an_address()) }
}

fn answer() -> PathAnswer {
    PathAnswer { number: NUMBER, is_try: true, address: an_address() }
}

#[test]
fn the_documents_question_about_a_way_and_its_answer_are_read() {
    the_frame("frame-path-question", |frame| {
        assert!(matches!(frame, Frame::PathQuestion(it) if it == question()));
    });
    the_frame("frame-path-answer", |frame| {
        assert!(matches!(frame, Frame::PathAnswer(it) if it == answer()));
    });
}

#[test]
fn the_documents_accusation_is_a_word_of_a() {
    the_frame("frame-probe", |frame| assert!(matches!(frame, Frame::Probe(NUMBER))));
    the_frame("frame-answer", |frame| assert!(matches!(frame, Frame::Answer(NUMBER))));
    let subject = verdict().subject;
    the_frame("frame-doubt", |frame| {
        assert!(matches!(frame, Frame::Doubt(doubted) if doubted == subject));
    });
    let key = PublicKey(vector("member-a-public-key").try_into().unwrap());
    the_frame("frame-accusations", |frame| {
        let Frame::Accusations(read) = frame else { panic!("no accusations") };
        assert_eq!(read, verdict());
        let accused = (&read.zone, read.subject, read.incarnation);
        let mut crypto = member(2);
        assert!(is_genuine(&read.accusations[0], accused, &key, &mut crypto));
        let other = (&read.zone, read.subject, Incarnation(5));
        assert!(!is_genuine(&read.accusations[0], other, &key, &mut crypto), "another life");
    });
}
