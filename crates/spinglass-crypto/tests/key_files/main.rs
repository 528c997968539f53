//! Key files, as text: the fuzz target's body on its corpus and mutations of it, and each error.

#[expect(unreachable_pub, reason = "the crate in fuzz/ includes the same file and exports it")]
mod body;

use std::fs;
use std::path::Path;

use spinglass_core::Prng;
use spinglass_crypto::{GroupKeys, SigningKey};

/// Mutations of each file that one test run tries.
const MUTATIONS: usize = 5000;

#[test]
fn no_key_file_is_too_odd() {
    let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fuzz/corpus/key_files");
    let mut rng = Prng::new(2026);
    let mut files = 0;
    for entry in fs::read_dir(corpus).expect("the target has a corpus") {
        let file = fs::read(entry.expect("an entry").path()).expect("a file");
        body::key_files(&file);
        files += 1;
        for _ in 0..MUTATIONS {
            let mut bytes = file.clone();
            for _ in 0..=rng.index(3) {
                let (at, other) = (rng.index(bytes.len()), rng.index(bytes.len()));
                match rng.index(4) {
                    0 => bytes.swap(at, other),
                    1 => bytes[at] = b"0 \n=#f5\xc3"[rng.index(8)],
                    2 => bytes.insert(at, b"0 \n=#f5\xc3"[rng.index(8)]),
                    _ => drop(bytes.split_off(at.max(1))),
                }
            }
            body::key_files(&bytes);
        }
    }
    assert!(files >= 2, "one seed of each kind");
}

#[test]
fn each_error_names_the_line_and_the_cure() {
    let key = "00".repeat(32);
    let line = |rest: &str| format!("# ours\n\nspinglass-group-key v1 {rest}\n");
    let cases = [
        ("# ours\n\nspinglass-key epoch=0".to_owned(), "not a group key"),
        (line(&key), "no epoch=0..255"),
        (line(&format!("epoch=256 {key}")), "no epoch=0..255"),
        (line("epoch=1"), "not 64 hex digits"),
        (line(&format!("epoch=1 {}", &key[1..])), "not 64 hex digits"),
        (line(&format!("epoch=1 {}g", &key[1..])), "not 64 hex digits"),
        (line(&format!("epoch=1 {key} epoch=2")), "something follows"),
    ];
    for (text, what) in cases {
        let error = GroupKeys::parse(&text, Path::new("our.key")).expect_err(what).to_string();
        assert!(error.contains("our.key, line 3") && error.contains(what), "{error}");
    }
    let twice = line(&format!("epoch=1 {key}")).repeat(2);
    let error = GroupKeys::parse(&twice, Path::new("our.key")).expect_err("twice").to_string();
    assert!(error.contains("line 6") && error.contains("already"), "{error}");
    assert!(GroupKeys::parse("# none\n", Path::new("our.key")).is_err());
    assert!(SigningKey::parse(&twice, Path::new("our.key")).is_err());
}

#[test]
fn no_key_is_shown() {
    let (own, group) = (SigningKey::from_seed([0xab; 32]), GroupKeys::from_key([0xcd; 32]));
    assert!(own.text().contains(&"ab".repeat(32)) && group.text().contains(&"cd".repeat(32)));
    let shown = format!("{own:?} {group:?}");
    assert!(!shown.contains("abab") && !shown.contains("cdcd"), "{shown}");
    assert!(!shown.contains("171") && !shown.contains("205"), "{shown}");
}
