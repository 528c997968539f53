//! Strange clients at live doors: the bodies of the fuzz targets on their corpus and mutations of
//! it.

#[expect(unreachable_pub, reason = "the crate in fuzz/ includes the same file and exports it")]
mod body;

use std::fs;
use std::path::{Path, PathBuf};

use body::query;
use spinglass_core::Prng;

/// Mutations of each file that one test run tries.
const MUTATIONS: usize = 1000;

/// What a target does with an input.
type Body = fn(&[u8]);
/// Inputs, with the names of their files.
type Inputs = Vec<(&'static str, Vec<u8>)>;

fn corpus(target: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fuzz/corpus").join(target)
}

/// A request, one of each kind.
fn requests() -> Inputs {
    let request = |text: &str| text.replace('\n', "\r\n").into_bytes();
    let upgrade = "GET /v1/topics/a HTTP/1.1\nHost: localhost\nConnection: Upgrade\nUpgrade: \
                   websocket\nSec-WebSocket-Version: 13\nSec-WebSocket-Key: \
                   dGhlIHNhbXBsZSBub25jZQ==\n\n";
    let chunks = "POST /v1/topics/a HTTP/1.1\nHost: localhost\nTransfer-Encoding: chunked\n\n\
                  2\nhi\n0\n\n";
    let frame = b"\x81\x85\x01\x02\x03\x04\x69\x67\x6f\x68\x6e";
    let json = "Host: localhost\nContent-Type: application/json\nContent-Length:";
    vec![
        ("seed-page", request("GET / HTTP/1.1\nHost: localhost\nAccept-Encoding: gzip\n\n")),
        ("seed-zone", request("GET /v1/zones/usa/ithaca HTTP/1.1\nHost: localhost\n\n")),
        ("seed-query", request("GET /v1/query?sql=SELECT+id+FROM+hosts HTTP/1.0\n\n")),
        ("seed-set", request(&format!("PATCH /v1/self HTTP/1.1\n{json} 8\n\n{{\"a\": 1}}"))),
        (
            "seed-explain",
            request(&format!("POST /v1/explain HTTP/1.1\n{json} 16\n\n{{\"sql\":\"SELECT\"}}")),
        ),
        ("seed-chunks", request(chunks)),
        ("seed-web-socket", [request(upgrade), frame.to_vec()].concat()),
    ]
}

/// A conversation with the door for SQL, one of each kind: see `body::sql`.
fn conversations() -> Inputs {
    let message = |kind: u8, body: &[u8]| {
        let length = u32::try_from(body.len() + 4).expect("a short one").to_be_bytes();
        [&[kind], &length[..], body].concat()
    };
    let prepared = [
        b"\x01".to_vec(),
        message(b'P', b"p\0SELECT $1::int4 + 1\0\0\x01\0\0\0\x17"),
        message(b'D', b"Sp\0"),
        message(b'B', b"\0p\0\0\x01\0\x01\0\x01\0\0\0\x04\0\0\0\x07\0\x01\0\x01"),
        message(b'E', b"\0\0\0\0\x05"),
        message(b'C', b"Sp\0"),
        message(b'S', b""),
        message(b'X', b""),
    ];
    let hello = b"SCRAM-SHA-256\0\0\0\0\x1cn,,n=,r=fyko+d2lbbFgONRv9qkx";
    let scram =
        [b"\x02".to_vec(), message(b'p', hello), message(b'p', b"c=biws,r=fyko,p=dGhl")].concat();
    let copied = [b"\x01".to_vec(), query("COPY (SELECT id FROM self) TO STDOUT")].concat();
    let listened = [b"\x01".to_vec(), query("LISTEN a; NOTIFY a, 'b'")].concat();
    vec![
        ("seed-login", [b"\0", body::LOGIN].concat()),
        ("seed-tls", b"\0\0\0\0\x08\x04\xd2\x16\x2f".to_vec()),
        ("seed-cancel", b"\0\0\0\0\x10\x04\xd2\x16\x2e\0\0\0\x01\0\0\0\x02".to_vec()),
        ("seed-prepared", prepared.concat()),
        ("seed-scram", scram),
        ("seed-copied", copied),
        ("seed-listened", listened),
    ]
}

/// Statements, one of each kind.
fn statements() -> Inputs {
    [
        (
            "seed-hosts",
            "SELECT id, load FROM hosts WHERE zone ~ '^/usa' ORDER BY load DESC LIMIT 3",
        ),
        (
            "seed-catalogue",
            "SELECT c.oid::regclass, x[1] FROM pg_catalog.pg_class c WHERE relname \
          OPERATOR(pg_catalog.~) '^(self)$' COLLATE pg_catalog.default",
        ),
        ("seed-any", "SELECT * FROM members WHERE id = ANY(ARRAY['a', 'b'])"),
        ("seed-update", "UPDATE self SET role = 'db', \"weight\" = 2.5"),
        (
            "seed-install",
            "SELECT summary_install('/', 'load', 'SELECT MIN(load) AS load FROM zone')",
        ),
        ("seed-cursor", "BEGIN; DECLARE c CURSOR FOR SELECT 1; FETCH 10 FROM c; CLOSE c; COMMIT"),
        ("seed-copy", "COPY (SELECT * FROM zones) TO STDOUT WITH (FORMAT csv, HEADER)"),
        ("seed-show", "SHOW server_version; SET application_name = 'a'; RESET ALL"),
        ("seed-quotes", "SELECT E'\\x41\\n', $tag$ ' $tag$, U&'a', 'it''s', 0x1F, 1e5 -- done"),
    ]
    .map(|(name, sql)| (name, sql.as_bytes().to_vec()))
    .to_vec()
}

fn targets() -> [(&'static str, Body, Inputs); 3] {
    [
        ("door_http", body::http, requests()),
        ("door_sql", body::sql, conversations()),
        ("door_statement", body::statement, statements()),
    ]
}

#[test]
fn the_corpus_has_one_input_of_each_kind() {
    for (target, _, seeds) in targets() {
        for (name, bytes) in seeds {
            let path = corpus(target).join(name);
            if std::env::var_os("SPINGLASS_BLESS").is_some() {
                fs::create_dir_all(corpus(target)).expect("a folder");
                fs::write(&path, &bytes).expect("a file");
            }
            let stored = fs::read(&path).expect("SPINGLASS_BLESS=1 writes it");
            assert_eq!(stored, bytes, "{name} is of before: SPINGLASS_BLESS=1 writes it anew");
        }
    }
}

#[test]
fn no_client_is_too_strange() {
    let mut rng = Prng::new(2026);
    for (target, body, _) in targets() {
        for entry in fs::read_dir(corpus(target)).expect("the target has a corpus") {
            let input = fs::read(entry.expect("an entry").path()).expect("a file");
            body(&input);
            for _ in 0..MUTATIONS {
                body(&mutated(&input, &mut rng));
            }
        }
    }
}

fn mutated(input: &[u8], rng: &mut Prng) -> Vec<u8> {
    const ODD: [u8; 12] = *b"\0\x01\x7f\xff'\"($;:Q\n";
    let mut bytes = input.to_vec();
    for _ in 0..=rng.index(3) {
        let (at, other) = (rng.index(bytes.len()), rng.index(bytes.len()));
        let odd = ODD[rng.index(ODD.len())];
        match rng.index(4) {
            0 => bytes.swap(at, other),
            1 => bytes[at] = odd,
            2 => bytes.insert(at, odd),
            _ => drop(bytes.split_off(at.max(1))),
        }
    }
    bytes
}
