//! The SQL's fuzz target as an ordinary test: its body on the corpus, on mutations of it, and on
//! texts that the grammar writes.

#[expect(unreachable_pub, reason = "the crate in fuzz/ includes the same file and exports it")]
mod body;
#[path = "../common/mod.rs"]
mod common;

use std::fs;
use std::path::Path;

use common::Random;
use spinglass_summary::{Function, Query};

/// Mutations of each seed that one test run tries.
const MUTATIONS: usize = 500;
/// Texts from the grammar that one test run tries.
const TEXTS: usize = 20_000;
/// What mutations put into a text.
const PIECES: [&str; 12] =
    ["(", ")", ",", "'", "NOT ", "9", "e", " a ", "MAX(", "[", "\u{e9}", " AND "];

#[test]
fn no_statement_is_too_odd() {
    let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fuzz/corpus/sql");
    let mut random = Random(2026);
    let mut seeds = 0;
    for entry in fs::read_dir(corpus).expect("the target has a corpus") {
        let path = entry.expect("an entry").path();
        let file = fs::read(&path).expect("a file");
        body::sql(&file);
        // A fuzzer that ran here has left thousands of others.
        let is_seed =
            path.file_name().is_some_and(|name| name.as_encoded_bytes().starts_with(b"seed-"));
        if !is_seed {
            continue;
        }
        seeds += 1;
        for _ in 0..MUTATIONS {
            let mut bytes = file.clone();
            for _ in 0..=random.below(3) {
                let (at, other) = (random.below(bytes.len()), random.below(bytes.len()));
                match random.below(4) {
                    0 => bytes.swap(at, other),
                    1 => bytes[at] = random.next() as u8,
                    2 => drop(bytes.splice(at..at, random.pick(&PIECES).bytes())),
                    _ => drop(bytes.split_off(at.max(1))),
                }
            }
            body::sql(&bytes);
        }
    }
    assert!(seeds >= 10, "texts of every kind");
}

#[test]
fn the_grammar_writes_statements_that_can_be_read() {
    let mut random = Random(7);
    let (mut functions, mut queries) = (0, 0);
    for _ in 0..TEXTS {
        let length = random.below(60);
        let choices: Vec<u8> = (0..length).map(|_| random.next() as u8).collect();
        let sql = body::written(&choices);
        functions += usize::from(Function::parse(&sql).is_ok());
        queries += usize::from(Query::parse(&sql).is_ok());
        body::check(&sql);
    }
    assert!(functions > TEXTS / 20 && queries > TEXTS / 20, "{functions} and {queries}");
}
