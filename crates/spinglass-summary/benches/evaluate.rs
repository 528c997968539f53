//! What an evaluation costs: a zone of 64 rows with 20 attributes each. The bar is 5 us, for one
//! evaluation of a function over the whole zone.

use divan::Bencher;
use spinglass_summary::{Budget, Function, Name, Query, Row, Value};

fn main() {
    divan::main();
}

const ROW_COUNT: usize = 64;

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

/// Child zones as they come in: similar rows, sorted by their names.
fn zone() -> Vec<(String, Row)> {
    let name = |name: &str| Name::new(name).expect("a legal name");
    let row = |index: usize| {
        let number = index as i64;
        let contact = |port: i64| Value::text(&format!("10.1.{index}.1:{port}"));
        let mut row: Vec<(Name, Value)> = vec![
            (name("load"), Value::float((number * 37 % 64) as f64 / 64.0)),
            (name("nmembers"), Value::Int(number * 13 % 25 + 1)),
            (name("depth"), Value::Int(number % 3)),
            (name("up"), Value::Bool(number % 8 != 0)),
            (name("contacts"), Value::list([7001, 7002, 7003].map(contact))),
        ];
        let other = |other: i64| (name(&format!("attribute{other}")), Value::Int(number * other));
        row.extend((0..15).map(other));
        (format!("zone{index:02}"), row.into_iter().collect())
    };
    (0..ROW_COUNT).map(row).collect()
}

fn keyed(zone: &[(String, Row)]) -> Vec<(&str, &Row)> {
    zone.iter().map(|(key, row)| (&**key, row)).collect()
}

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
