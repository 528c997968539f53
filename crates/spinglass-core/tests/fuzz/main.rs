//! The fuzz targets as ordinary tests: every file of the corpus, and thousands of mutations of
//! each, through the same bodies that `fuzz/` gives to libFuzzer.

#[expect(unreachable_pub, reason = "the crate in fuzz/ includes the same file and exports it")]
mod bodies;
#[expect(unreachable_pub, reason = "as above")]
mod member;
mod seeds;

use std::fs;
use std::path::{Path, PathBuf};

use spinglass_core::Prng;

/// Mutations of each file that one test run tries.
const MUTATIONS: usize = 20_000;
/// The same for a member's whole life, each of which takes a thousand times as long.
const LIVES: usize = 3000;

type Body = fn(&[u8]);

/// Every target that lives in this crate, with its body.
const TARGETS: [(&str, Body, usize); 17] = [
    ("header", bodies::header, MUTATIONS),
    ("frames", bodies::frames, MUTATIONS),
    ("packet", bodies::packet, MUTATIONS),
    ("digest", bodies::digest, MUTATIONS),
    ("solicit", bodies::solicit, MUTATIONS),
    ("record", bodies::record, MUTATIONS),
    ("row", bodies::row, MUTATIONS),
    ("strange", bodies::strange, MUTATIONS),
    ("question", bodies::question, MUTATIONS),
    ("report", bodies::report, MUTATIONS),
    ("object", bodies::object, MUTATIONS),
    ("values", bodies::values, MUTATIONS),
    ("messages", bodies::messages, MUTATIONS),
    ("recording", bodies::recording, MUTATIONS),
    ("identity", bodies::identity, MUTATIONS),
    ("policy", bodies::policy, MUTATIONS),
    ("member", bodies::member, LIVES),
];

fn corpus() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fuzz/corpus")
}

/// A target's corpus: names and bytes, in the order of the names. Those that start with `seed-` are
/// part of the repository; a fuzzer that ran here has left others.
fn files(target: &str) -> Vec<(String, Vec<u8>)> {
    let directory = fs::read_dir(corpus().join(target)).expect("each target has a corpus");
    let mut paths: Vec<PathBuf> = directory.map(|entry| entry.expect("an entry").path()).collect();
    paths.sort();
    let name = |path: &Path| path.file_name().unwrap_or_default().to_string_lossy().into_owned();
    paths.iter().map(|path| (name(path), fs::read(path).expect("a file"))).collect()
}

/// Bends some bytes in one of the ways in which bytes go wrong.
fn mutate(bytes: &mut Vec<u8>, rng: &mut Prng) {
    for _ in 0..=rng.index(4) {
        let at = rng.index(bytes.len());
        let byte = rng.next_u64() as u8;
        match (rng.index(7), bytes.is_empty()) {
            (0, false) => bytes[at] ^= 1 << (byte % 8),
            (1, false) => bytes[at] = byte,
            (2, false) => bytes[at] = [0, 1, 0x7f, 0x80, 0xff][usize::from(byte) % 5],
            (3, false) => bytes.truncate(at),
            (4, false) => {
                bytes.remove(at);
            }
            (5, false) => {
                let end = bytes.len().min(at + 1 + usize::from(byte % 16));
                let piece = bytes[at..end].to_vec();
                let to = rng.index(bytes.len());
                bytes.splice(to..to, piece);
            }
            _ => bytes.insert(at, byte),
        }
    }
}

#[test]
fn the_corpus_is_what_the_encoders_write() {
    let bless = std::env::var_os("SPINGLASS_BLESS").is_some();
    for (target, name, bytes) in seeds::seeds() {
        assert!(TARGETS.iter().any(|(known, ..)| *known == target), "{target}");
        let path = corpus().join(target).join(format!("seed-{name}"));
        if bless {
            fs::create_dir_all(corpus().join(target)).expect("a directory");
            fs::write(&path, &bytes).expect("a file");
        }
        let stored = fs::read(&path).expect("run once with SPINGLASS_BLESS=1 to write it");
        if target == "recording" {
            // It quotes the default settings, which may change while its layout stays.
            assert_eq!(stored.len(), bytes.len(), "SPINGLASS_BLESS=1 rewrites it");
            continue;
        }
        assert!(stored == bytes, "{target}/seed-{name} has changed: SPINGLASS_BLESS=1 rewrites it");
    }
}

#[test]
fn no_body_minds_the_corpus_or_its_mutations() {
    for (target, body, mutations) in TARGETS {
        let mut rng = Prng::new(2026).fork(target);
        for (name, file) in files(target) {
            body(&file);
            let mutations = if name.starts_with("seed-") { mutations } else { 0 };
            for _ in 0..mutations {
                let mut bytes = file.clone();
                mutate(&mut bytes, &mut rng);
                body(&bytes);
            }
        }
    }
}

#[test]
fn the_peer_of_a_life_is_heard() {
    let life = fs::read(corpus().join("member/seed-a-life")).expect("a seed");
    assert_eq!(member::member_messages(&life), 4, "the seed reaches behind every check");
}

#[test]
fn random_bytes_are_no_trouble_either() {
    let mut rng = Prng::new(11);
    for _ in 0..MUTATIONS {
        let bytes: Vec<u8> = (0..rng.index(200)).map(|_| rng.next_u64() as u8).collect();
        TARGETS.iter().filter(|(name, ..)| *name != "member").for_each(|(_, body, _)| body(&bytes));
    }
}
