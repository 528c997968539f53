//! What an evaluation costs: a zone of 64 rows with 20 attributes each. The bar is 5 us, for one
//! evaluation of a function over the whole zone.

mod zone;

use divan::Bencher;
use spinglass_summary::{Budget, Function, Query, Row};

use zone::{ROW_COUNT, keyed, zone};

fn main() {
    divan::main();
}

/// What a zone says of itself to its parent: how many there are, whom to talk to, how deep it is.
const CORE: &str = "SELECT SUM(nmembers) AS nmembers, FIRST(3, contacts) AS contacts, \
                    MAX(depth) + 1 AS depth FROM zone";

/// The functions that are measured, by what they are about.
const FUNCTIONS: [(&str, &str); 3] = [
    (
        "filter",
        "SELECT MIN(load) AS load, SUM(nmembers) AS nmembers, COUNT(*) AS n, \
         FIRST(3, contacts) AS contacts FROM zone WHERE up",
    ),
    (
        "weights",
        "SELECT AVG(load, nmembers) AS load, MAX(depth) AS depth, \
         SUM(CASE WHEN load > 0.5 THEN nmembers ELSE 0 END) AS busy FROM zone",
    ),
    ("core", CORE),
];

#[divan::bench(args = FUNCTIONS.map(|(name, _)| name))]
fn evaluate(bencher: Bencher<'_, '_>, name: &str) {
    let (_, sql) = FUNCTIONS.iter().find(|(own, _)| *own == name).expect("its name is from there");
    let function = Function::parse(sql).expect("a function");
    let zone = zone();
    let rows = keyed(&zone);
    assert!(function.evaluate(&rows, Budget::default()).errors.is_empty());
    bencher.bench(|| function.evaluate(divan::black_box(&rows), Budget::default()));
}

/// Rows that nobody sorted, as a reader of a file might have them.
#[divan::bench]
fn evaluate_unsorted(bencher: Bencher<'_, '_>) {
    let function = Function::parse(CORE).expect("a function");
    let zone = zone();
    let mut rows = keyed(&zone);
    rows.rotate_left(ROW_COUNT / 2);
    bencher.bench(|| function.evaluate(divan::black_box(&rows), Budget::default()));
}

#[divan::bench]
fn match_one_row(bencher: Bencher<'_, '_>) {
    let sql = "SELECT load FROM hosts WHERE load < 0.5 AND nmembers >= 3";
    let query = Query::parse(sql).expect("a query");
    let zone = zone();
    let (_, row) = zone.last().expect("a row");
    bencher.bench(|| query.matches(divan::black_box(row)));
}

#[divan::bench]
fn parse() -> Function {
    Function::parse(divan::black_box(CORE)).expect("a function")
}

#[divan::bench]
fn encode_row(bencher: Bencher<'_, '_>) {
    let zone = zone();
    let (_, row) = zone.last().expect("a row");
    let mut bytes = Vec::new();
    bencher.bench_local(|| {
        bytes.clear();
        divan::black_box(row).encode(&mut bytes);
    });
}

#[divan::bench]
fn decode_row(bencher: Bencher<'_, '_>) {
    let zone = zone();
    let (_, row) = zone.last().expect("a row");
    let mut bytes = Vec::new();
    row.encode(&mut bytes);
    bencher.bench(|| Row::decode(&mut divan::black_box(&bytes[..])).expect("a row"));
}
