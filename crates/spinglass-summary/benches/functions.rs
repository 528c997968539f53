//! The bar `table.functions`: what an evaluation takes beside SQLite, and the most that any hostile
//! statement takes. With `--json` the report is one line of JSON.

#[expect(unreachable_pub, reason = "the tests include the same file in another module")]
#[path = "../tests/common/hostile.rs"]
mod hostile;
mod zone;

use std::hint::black_box;
use std::time::{Duration, Instant};

use allocation_counter::measure;
use rusqlite::types::Value as Theirs;
use rusqlite::{Connection, Statement};
use serde_json::{Value as Json, json};
use spinglass_summary::{Budget, Function, Row, Value};

const OURS: &str = "SELECT MIN(load) AS load, SUM(nmembers) AS nmembers, \
                    FIRST(3, contacts) AS contacts FROM zone WHERE up";
/// The same: the first row's contacts are three, so the first three are that row's.
const THEIRS: &str = "SELECT MIN(load), SUM(nmembers), \
                      (SELECT contacts FROM zone WHERE up ORDER BY key LIMIT 1) \
                      FROM zone WHERE up";

/// Evaluations of one sample: enough for the clock.
const EVALUATIONS: u32 = 20;
/// Samples of each, taken by turns.
const SAMPLES: usize = 2000;
/// A hostile statement's time is the best of so many: on a busy machine others come in between.
const TRIALS: usize = 3;

fn main() {
    let is_asked = |option: &str| std::env::args().any(|own| own == option);
    // Without `--bench` it is a test run, which asks only whether this works.
    let samples = if is_asked("--bench") { SAMPLES } else { 1 };
    let report = json!({"zone": evaluations(samples), "hostile": hostilities()});
    if is_asked("--json") {
        println!("{report}");
    } else {
        println!("{report:#}");
    }
}

/// Medians of the same function, here and in SQLite.
fn evaluations(samples: usize) -> Json {
    let rows = zone::zone();
    let keyed = zone::keyed(&rows);
    let function = Function::parse(OURS).expect("a function");
    let connection = filled(&rows);
    let mut statement = connection.prepare(THEIRS).expect("a statement");
    check_same(&function.evaluate(&keyed, Budget::default()).row, &ask(&mut statement));

    let (mut ours, mut theirs) = (Vec::new(), Vec::new());
    for _ in 0..samples {
        ours.push(microseconds(|| {
            black_box(function.evaluate(black_box(&keyed), Budget::default()));
        }));
        theirs.push(microseconds(|| {
            black_box(ask(&mut statement));
        }));
    }
    json!({
        "rows": zone::ROW_COUNT,
        "attributes": rows.iter().map(|(_, row)| row.len()).max(),
        "samples": samples,
        "evaluations_per_sample": EVALUATIONS,
        "median_us": median(ours),
        "sqlite_median_us": median(theirs),
        "sqlite_version": rusqlite::version(),
    })
}

/// The zone in SQLite: lists as texts, and the key in the order in which rows are read.
fn filled(rows: &[(String, Row)]) -> Connection {
    let connection = Connection::open_in_memory().expect("a database in memory");
    let (_, first) = rows.first().expect("a row");
    let names: Vec<&str> = first.iter().map(|(name, _)| name.as_str()).collect();
    let create =
        format!("CREATE TABLE zone (key TEXT PRIMARY KEY, {}) WITHOUT ROWID", names.join(", "));
    connection.execute(&create, []).expect("a table");
    let insert = format!("INSERT INTO zone VALUES (?{})", ", ?".repeat(names.len()));
    let mut insert = connection.prepare(&insert).expect("a statement");
    for (key, row) in rows {
        let cells = row.iter().map(|(_, value)| match value {
            Value::Bool(truth) => Theirs::Integer(i64::from(*truth)),
            Value::Int(int) => Theirs::Integer(*int),
            Value::Float(float) => Theirs::Real(float.get()),
            other => Theirs::Text(other.to_string()),
        });
        let cells = [Theirs::Text(key.clone())].into_iter().chain(cells);
        insert.execute(rusqlite::params_from_iter(cells)).expect("a row");
    }
    drop(insert);
    connection
}

fn ask(statement: &mut Statement<'_>) -> (f64, i64, String) {
    let told = statement.query_row([], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)));
    told.expect("one row")
}

/// Both must say the same, or their times say nothing.
fn check_same(ours: &Row, (load, nmembers, contacts): &(f64, i64, String)) {
    assert_eq!(ours.get("load"), Some(&Value::float(*load)));
    assert_eq!(ours.get("nmembers"), Some(&Value::Int(*nmembers)));
    assert_eq!(ours.get("contacts").map(Value::to_string).as_ref(), Some(contacts));
}

/// What one of [`EVALUATIONS`] takes.
fn microseconds(mut evaluate: impl FnMut()) -> f64 {
    let start = Instant::now();
    for _ in 0..EVALUATIONS {
        evaluate();
    }
    start.elapsed().as_secs_f64() * 1e6 / f64::from(EVALUATIONS)
}

fn median(mut samples: Vec<f64>) -> f64 {
    samples.sort_by(f64::total_cmp);
    samples[samples.len() / 2]
}

/// The slowest and the largest of the hostile statements.
fn hostilities() -> Json {
    let rows = hostile::zone();
    let keys: Vec<String> = (0..rows.len()).map(|index| format!("{index:05}")).collect();
    let keyed: Vec<(&str, &Row)> = keys.iter().map(String::as_str).zip(&rows).collect();
    let statements = hostile::statements();
    assert!(statements.len() >= hostile::STATEMENTS_MIN);
    let (mut slowest, mut largest) = ((Duration::ZERO, ""), (0, ""));
    for (_, sql) in &statements {
        let trials: Vec<_> = (0..TRIALS).map(|_| trial(sql, &keyed)).collect();
        let time = trials.iter().map(|(time, _)| *time).min().unwrap_or_default();
        let bytes = trials.iter().map(|(_, bytes)| *bytes).max().unwrap_or_default();
        slowest = slowest.max((time, sql));
        largest = largest.max((bytes, sql));
    }
    let shown = |sql: &str| -> String { sql.chars().take(80).collect() };
    json!({
        "statements": statements.len(),
        "trials": TRIALS,
        "max_ms": slowest.0.as_secs_f64() * 1e3,
        "slowest": shown(slowest.1),
        "max_bytes": largest.0,
        "largest": shown(largest.1),
    })
}

/// How long it takes to read and run a statement, and the most memory held meanwhile.
fn trial(sql: &str, rows: &[(&str, &Row)]) -> (Duration, u64) {
    let mut time = Duration::ZERO;
    let taken = measure(|| {
        let start = Instant::now();
        let made = Function::parse(sql).map(|function| function.evaluate(rows, Budget::default()));
        time = start.elapsed();
        drop(black_box(made));
    });
    (time, taken.bytes_max)
}
