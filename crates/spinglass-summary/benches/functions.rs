//! The bar of the summary functions, as one line of JSON: a good one over a zone of 64 rows by 20
//! attributes, with SQLite beside it in the same run; and the hundred hostile ones.

use std::hint::black_box;
use std::time::Instant;

use peak_alloc::PeakAlloc;
use rusqlite::Connection;
use spinglass_summary::{Budget, Function, Name, Row, Value};

#[path = "../tests/common/mod.rs"]
mod common;

#[global_allocator]
static MEMORY: PeakAlloc = PeakAlloc;

const ROW_COUNT: usize = 64;
/// Attributes beside those that the query names.
const OTHER_COUNT: i64 = 16;
/// Timings of each; the median counts.
const SAMPLES: usize = 200;
/// Evaluations in a timing.
const EVALUATIONS: u32 = 50;
/// Times that each hostile one is tried: a try that the system interrupts says nothing of it.
const TRIES: usize = 3;

const QUERY: &str = "SELECT MIN(load) AS load, SUM(nmembers) AS nmembers, \
                     FIRST(3, contacts) AS contacts FROM zone WHERE up";
/// The same for SQLite, which has no FIRST of lists: the three smallest contacts' text.
const SQLITE_QUERY: &str = "SELECT MIN(load), SUM(nmembers), (SELECT GROUP_CONCAT(contacts) FROM \
                            (SELECT contacts FROM zone WHERE up LIMIT 3)) FROM zone WHERE up";

fn main() {
    let (ours, sqlite) = medians();
    let hostile = hostile();
    println!(
        "{{\"rows\":{ROW_COUNT},\"attributes\":{},\"samples\":{SAMPLES},\"median_us\":{ours:.3},\
         \"sqlite_us\":{sqlite:.3},\"hostile\":{},\"hostile_max_ms\":{:.3},\
         \"hostile_max_bytes\":{}}}",
        OTHER_COUNT + 4,
        hostile.count,
        hostile.max_ms,
        hostile.max_bytes
    );
}

fn zone() -> Vec<(String, Row)> {
    let name = |name: &str| Name::new(name).expect("a legal name");
    let row = |index: usize| {
        let number = index as i64;
        let mut row: Vec<(Name, Value)> = vec![
            (name("load"), Value::float(load(number))),
            (name("nmembers"), Value::Int(number * 13 % 25 + 1)),
            (name("up"), Value::Bool(number % 8 != 0)),
            (name("contacts"), Value::list([Value::text(&contact(number))])),
        ];
        let other = |other: i64| (name(&format!("attribute{other}")), Value::Int(number * other));
        row.extend((0..OTHER_COUNT).map(other));
        (format!("zone{index:02}"), row.into_iter().collect())
    };
    (0..ROW_COUNT).map(row).collect()
}

fn load(number: i64) -> f64 {
    (number * 37 % 64) as f64 / 64.0
}

fn contact(number: i64) -> String {
    format!("10.1.{number}.1:7001")
}

fn sqlite() -> Connection {
    let database = Connection::open_in_memory().expect("a database in memory");
    let others: String = (0..OTHER_COUNT).map(|other| format!(", attribute{other} INT")).collect();
    let create =
        format!("CREATE TABLE zone (load REAL, nmembers INT, up INT, contacts TEXT{others})");
    database.execute_batch(&create).expect("a table");
    for number in 0..ROW_COUNT as i64 {
        let others: String =
            (0..OTHER_COUNT).map(|other| format!(", {}", number * other)).collect();
        let (load, up) = (load(number), i64::from(number % 8 != 0));
        let insert = format!(
            "INSERT INTO zone VALUES ({load}, {}, {up}, '{}'{others})",
            number * 13 % 25 + 1,
            contact(number)
        );
        database.execute_batch(&insert).expect("a row");
    }
    database
}

/// Microseconds per evaluation: ours, and SQLite's with a prepared statement, by turns.
fn medians() -> (f64, f64) {
    let function = Function::parse(QUERY).expect("a function");
    let zone = zone();
    let rows: Vec<(&str, &Row)> = zone.iter().map(|(key, row)| (&**key, row)).collect();
    assert!(function.evaluate(&rows, Budget::default()).errors.is_empty());
    let database = sqlite();
    let mut statement = database.prepare(SQLITE_QUERY).expect("a statement");
    let (mut ours, mut theirs) = (Vec::new(), Vec::new());
    for _ in 0..SAMPLES {
        ours.push(timed(|| {
            black_box(function.evaluate(black_box(&rows), Budget::default()));
        }));
        theirs.push(timed(|| {
            let row = statement.query_row([], |row| {
                Ok((row.get::<_, f64>(0)?, row.get::<_, i64>(1)?, row.get::<_, String>(2)?))
            });
            black_box(row.expect("a row"));
        }));
    }
    (median(ours), median(theirs))
}

fn timed(mut evaluate: impl FnMut()) -> f64 {
    let start = Instant::now();
    (0..EVALUATIONS).for_each(|_| evaluate());
    start.elapsed().as_secs_f64() * 1e6 / f64::from(EVALUATIONS)
}

fn median(mut samples: Vec<f64>) -> f64 {
    samples.sort_by(f64::total_cmp);
    samples[samples.len() / 2]
}

struct Hostile {
    count: usize,
    max_ms: f64,
    max_bytes: usize,
}

/// Parses and evaluates each of them: what the worst takes.
fn hostile() -> Hostile {
    let rows = common::hostile::zone();
    let keys = common::keys(rows.len());
    let zone = common::keyed(&keys, &rows);
    let statements = common::hostile::statements();
    let mut worst = Hostile { count: statements.len(), max_ms: 0.0, max_bytes: 0 };
    for (_, sql) in &statements {
        let mut best = f64::INFINITY;
        for _ in 0..TRIES {
            let before = MEMORY.current_usage();
            MEMORY.reset_peak_usage();
            let start = Instant::now();
            let evaluation = Function::parse(sql).map(|it| it.evaluate(&zone, Budget::default()));
            best = best.min(start.elapsed().as_secs_f64() * 1e3);
            worst.max_bytes = worst.max_bytes.max(MEMORY.peak_usage().saturating_sub(before));
            drop(black_box(evaluation));
        }
        worst.max_ms = worst.max_ms.max(best);
    }
    worst
}
