//! What the fuzz target `sql` asserts: any text is refused with a cause, or is evaluated within its
//! budget to the same bytes whatever the rows' order; and no zone is passed by that has an answer.

use std::sync::OnceLock;

use spinglass_summary::{
    Budget, Function, LIST_DEPTH_MAX, Name, Query, Row, SqlError, Time, Value,
};

/// The bytes as a text, and as choices in a grammar that writes one.
pub fn sql(bytes: &[u8]) {
    if let Ok(text) = str::from_utf8(bytes) {
        check(text);
    }
    check(&written(bytes));
}

/// Reads a text as a function and as a query, and runs what it is.
pub fn check(sql: &str) {
    match Function::parse(sql) {
        Ok(function) => check_function(&function),
        Err(error) => check_error(&error),
    }
    match Query::parse(sql) {
        Ok(query) => check_query(&query),
        Err(error) => check_error(&error),
    }
}

fn check_error(error: &SqlError) {
    assert!(!error.message().is_empty() && error.line > 0 && error.column > 0);
    assert!(error.message().len() < 400, "an error for people: {error}");
}

/// Room for almost nothing: most evaluations end at one of these bounds.
const TIGHT: Budget = Budget { steps: 600, memory_bytes: 4000, output_bytes: 80 };

fn check_function(function: &Function) {
    assert!(function.steps_per_row() > 0);
    let rows = keyed();
    let (_, sorted) = rows.split_last().expect("there are rows");
    for (rows, budget) in [(sorted, Budget::default()), (&*rows, TIGHT)] {
        let made = function.evaluate(rows, budget);
        assert!(made.steps <= budget.steps);
        assert!(made.row.encoded_bytes() <= budget.output_bytes as usize);
        assert!(made.row.iter().all(|(_, value)| value.depth() <= LIST_DEPTH_MAX));
        let bytes = |row: &Row| {
            let mut bytes = Vec::new();
            row.encode(&mut bytes);
            bytes
        };
        let decoded = Row::decode(&mut &*bytes(&made.row)).expect("it was encoded just now");
        assert_eq!(decoded, made.row);
        let reversed: Vec<(&str, &Row)> = rows.iter().rev().copied().collect();
        let again = function.evaluate(&reversed, budget);
        assert_eq!(bytes(&made.row), bytes(&again.row), "the rows' order is nothing");
        assert_eq!(made, again, "the rows' order is nothing");
    }
    assert!(function.evaluate(&[], Budget::default()).row.len() <= function.outputs().count());
}

fn check_query(query: &Query) {
    let rows = keyed();
    let tell = |(_, row): &(&str, &Row)| (query.sort_key(row), query.project(row));
    let mut told: Vec<(Value, Row)> =
        rows.iter().filter(|(_, row)| query.matches(row)).map(tell).collect();
    let (bounds, summary) = summary();
    let may_match = query.may_match(summary, &[bounds], &[]);
    assert!(may_match || told.is_empty(), "a zone with an answer was passed by");
    let finished = query.finish(told.clone());
    let selected = query.select(rows.iter().map(|(_, row)| *row), u32::MAX);
    if !selected.is_cut {
        let found = selected.found.into_iter().map(|(_, key, row)| (key, row)).collect::<Vec<_>>();
        assert_eq!(found, told, "all at once is one by one");
    }
    let tight = query.select(rows.iter().map(|(_, row)| *row), TIGHT.steps);
    assert!(tight.steps <= TIGHT.steps && tight.found.len() <= told.len());
    // The first of the firsts of two halves are the first of all.
    let (front, back) = told.split_at(told.len() / 2);
    let halves = [front, back].map(|half| query.leading(half.to_vec())).concat();
    assert_eq!(query.finish(halves), finished, "leading answers lead wherever they are merged");
    told.reverse();
    assert_eq!(query.finish(told), finished, "the answers' order is nothing");
}

/// What a zone tells of the rows, to prune with.
fn summary() -> &'static (Function, Row) {
    static SUMMARY: OnceLock<(Function, Row)> = OnceLock::new();
    SUMMARY.get_or_init(|| {
        let outputs = COLUMNS.map(|name| {
            format!(
                "MIN(COALESCE(low_{name}, {name})) AS low_{name}, \
                 MAX(COALESCE(high_{name}, {name})) AS high_{name}, \
                 BLOOM(COALESCE(in_{name}, {name})) AS in_{name}"
            )
        });
        let sql = format!(
            "SELECT {}, UNION(COALESCE(set, c)) AS set, ANY(COALESCE(up, d)) AS up, \
             COUNT(none) AS none FROM zone",
            outputs.join(", ")
        );
        let function = Function::parse(&sql).expect("a function");
        let row = function.evaluate(&keyed(), Budget::default()).row;
        (function, row)
    })
}

/// The columns of the table; rows lack some of them.
const COLUMNS: [&str; 8] = ["a", "b", "c", "d", "e", "f", "g", "h"];

/// Rows with every kind of trouble in them. The last two have one key, which no table has.
fn keyed() -> Vec<(&'static str, &'static Row)> {
    static ROWS: OnceLock<Vec<(String, Row)>> = OnceLock::new();
    let rows = ROWS.get_or_init(|| {
        (0..24).map(|index: usize| (format!("{:02}", index - index / 23), trouble(index))).collect()
    });
    rows.iter().map(|(key, row)| (&**key, row)).collect()
}

fn trouble(index: usize) -> Row {
    let number = index as i64;
    let list = |value: Value| Value::list([value]);
    let pair = |key: Value, value: Value| Value::list([key, value]);
    let sketch: Vec<u8> = [b'H'].into_iter().chain([57; 256]).collect();
    let any = [
        Value::Int(i64::MIN),
        Value::Int(i64::MAX),
        Value::Int(0),
        Value::float(f64::NAN),
        Value::float(f64::INFINITY),
        Value::float(f64::NEG_INFINITY),
        Value::float(-0.0),
        Value::float(5e-324),
        Value::float(f64::MAX),
        Value::float(9_223_372_036_854_775_808.0),
        Value::text(""),
        Value::text("%_'\u{0}\u{1f980}"),
        Value::text(&"aé".repeat(500)),
        Value::Bool(true),
        Value::Time(Time(i64::MIN)),
        Value::Time(Time(i64::MAX)),
        Value::Time(Time(1_700_000_000_000_000)),
        Value::bytes(&sketch),
        Value::bytes(b"B12345678"),
        Value::list([]),
        Value::list([Value::Null, Value::float(f64::NAN), Value::float(1.0), Value::Int(1)]),
        Value::list([pair(Value::Int(1), Value::Int(i64::MAX)), pair(Value::Null, list(1.into()))]),
        list(list(list(list(Value::Int(number))))),
        Value::list((0..64).map(Value::Int)),
    ];
    let of = |stride: usize| any[(index * stride + stride) % any.len()].clone();
    let values = [
        of(1),
        Value::Int((number - 12) * 1_000_003),
        Value::text(["x", "y", "Z", ""][index % 4]),
        Value::Bool(index.is_multiple_of(3)),
        Value::float(number as f64 / 8.0 - 1.0),
        of(5),
        Value::list([number % 3, 2, number % 5].map(Value::Int)),
        if index.is_multiple_of(2) { Value::Null } else { of(7) },
    ];
    let named = |(name, value): (&str, Value)| (Name::new(name).expect("a legal name"), value);
    COLUMNS.into_iter().zip(values).map(named).collect()
}

/// A text that the grammar writes: each byte chooses a form, and no byte the first one.
pub fn written(choices: &[u8]) -> String {
    let mut writer = Writer { choices: choices.iter(), sql: String::new(), depth: 0 };
    writer.write("{statement}");
    writer.sql
}

/// The longest text written: some are just too long to be read.
const BYTES_MAX: usize = Function::SQL_BYTES_MAX + 50;
const DEPTH_MAX: u32 = 80;

struct Writer<'a> {
    choices: std::slice::Iter<'a, u8>,
    sql: String,
    depth: u32,
}

impl Writer<'_> {
    fn write(&mut self, form: &str) {
        let mut rest = form;
        while let Some((plain, after)) = rest.split_once('{') {
            let (symbol, after) = after.split_once('}').expect("the grammar's braces match");
            self.sql.push_str(plain);
            self.choose(symbol);
            rest = after;
        }
        self.sql.push_str(rest);
    }

    fn choose(&mut self, symbol: &str) {
        let forms = GRAMMAR.iter().find(|(name, _)| *name == symbol);
        let (_, forms) = forms.unwrap_or_else(|| panic!("the grammar has no {symbol}"));
        let is_full = self.depth >= DEPTH_MAX || self.sql.len() >= BYTES_MAX;
        let choice = if is_full { None } else { self.choices.next() };
        let choice = choice.map_or(0, |byte| usize::from(*byte) % forms.len());
        self.depth += 1;
        self.write(forms[choice]);
        self.depth -= 1;
    }
}

/// Symbols and their forms. The first form of each ends.
const GRAMMAR: &[(&str, &[&str])] = &[
    (
        "statement",
        &[
            "SELECT {outputs} FROM zone",
            "SELECT {outputs} FROM zone WHERE {row}",
            "SELECT {outputs} FROM zone GROUP BY {row}",
            "SELECT {outputs} FROM zone WHERE {row} GROUP BY {column}",
            "SELECT {column}, {outputs} FROM zone GROUP BY {column};",
            "SELECT * FROM hosts WHERE {condition}",
            "SELECT * FROM hosts WHERE {column} {compare} {literal}",
            "SELECT {row} AS x, {row} AS y FROM hosts WHERE {row} ORDER BY {row} DESC, x LIMIT 9",
        ],
    ),
    ("outputs", &["{over} AS {name}", "{over} AS {name}, {outputs}", "{aggregate} AS {name}"]),
    ("name", &["n", "a", "b", "low_a", "\"select\"", "\"&x\"", "_", "x.y", "\"9\"", "\"\"", "é"]),
    ("column", &["a", "b", "c", "d", "e", "f", "g", "h", "none", "\"A\"", "zone", "\"end\""]),
    (
        "over",
        &[
            "{aggregate}",
            "{over} {operator} {aggregate}",
            "COALESCE({over}, {literal})",
            "CASE WHEN {over} THEN {over} ELSE {over} END",
            "[{over}, {aggregate}]",
            "({over})",
            "{function}({over})",
            "{function}({over}, {over})",
            "CAST({over} AS {type})",
            "{over} IS NOT NULL",
        ],
    ),
    (
        "aggregate",
        &[
            "COUNT(*)",
            "COUNT({row})",
            "COUNT(DISTINCT {row})",
            "{one}({row})",
            "{one}({column})",
            "AVG({row}, {row})",
            "FIRST({count}, {row})",
            "FIRST({count}, {row} ORDER BY {row} {direction})",
            "TOP({count}, {row} BY {row})",
            "UNION({row}, {count})",
            "HISTOGRAM({row}, {literal}, {literal}, {count})",
            "HISTOGRAM({row}, -1e308, 1e307, 64)",
            "BLOOM({row}, {bits})",
        ],
    ),
    (
        "one",
        &[
            "MIN",
            "MAX",
            "SUM",
            "AVG",
            "STDDEV",
            "ANY",
            "ALL",
            "BOOL_AND",
            "UNION",
            "MAP_SUM",
            "MAP_MIN",
            "MAP_MAX",
            "APPROX_DISTINCT",
            "DISTINCT_SKETCH",
            "BLOOM",
            "MEDIAN",
        ],
    ),
    ("count", &["1", "3", "64", "65", "0", "-1", "1.0", "9223372036854775807", "a"]),
    ("bits", &["1024", "64", "4096", "72", "71", "4104", "-8"]),
    ("direction", &["", "ASC", "DESC"]),
    ("type", &["INTEGER", "REAL", "TEXT", "BLOB"]),
    ("compare", &["=", "<", "<=", ">", ">=", "<>"]),
    ("operator", &["+", "-", "*", "/", "%", "||", "=", "<", "<=", ">", ">=", "<>", "AND", "OR"]),
    (
        "literal",
        &[
            "1",
            "0",
            "-1",
            "2.5",
            "NULL",
            "TRUE",
            "'x'",
            "''",
            "'%_%_a%'",
            "'it''s'",
            "1e308",
            "-1e308",
            "5e-324",
            "1e-999",
            "1e999",
            "9223372036854775807",
            "9223372036854775808",
            "-9223372036854775808",
            "123456789012345678901234567890",
            ".5",
            "7.",
            "x''",
            "x'42ffffffffffffffff'",
            "[]",
            "[1, [2, [3, [4]]]]",
            "[NULL, 1.0]",
            "TIME '2026-01-31'",
            "TIME '9999-12-31T23:59:59.999999Z'",
            "12abc",
            "'no end",
            "'\u{1f980}\u{0}'",
            "/* */ 3",
            "1000000007",
        ],
    ),
    (
        "function",
        &[
            "ABS",
            "CEIL",
            "FLOOR",
            "EXP",
            "LN",
            "SQRT",
            "ROUND",
            "LENGTH",
            "LOWER",
            "UPPER",
            "TRIM",
            "TYPEOF",
            "SUBSTR",
            "CONTAINS",
            "ELEMENT",
            "STARTS_WITH",
            "BLOOM_HAS",
            "NULLIF",
            "IFNULL",
            "LEAST",
            "GREATEST",
            "POW",
            "TIME_BUCKET",
            "COALESCE",
            "RANDOM",
        ],
    ),
    (
        "condition",
        &[
            "{column} = {literal}",
            "{column} {compare} {literal}",
            "{literal} {compare} {column}",
            "NOT {condition}",
            "({condition} AND {condition})",
            "({condition} OR {condition})",
            "{column} IN ({literal}, {literal})",
            "{column} BETWEEN {literal} AND {literal}",
            "{column} NOT BETWEEN {literal} AND {literal}",
            "{column} LIKE {literal}",
            "CONTAINS({column}, {literal})",
            "STARTS_WITH({column}, {literal})",
            "({condition}) IS {truth}",
            "{column}",
            "{column} NOT IN ({literal}, {column})",
        ],
    ),
    ("truth", &["NULL", "TRUE", "FALSE", "NOT NULL", "NOT TRUE", "NOT FALSE"]),
    (
        "row",
        &[
            "{column}",
            "{literal}",
            "({row} {operator} {row})",
            "{row} {operator} {row}",
            "{function}({row})",
            "{function}({row}, {row})",
            "{function}({row}, {row}, {row})",
            "REPLACE({row}, {row}, {row})",
            "SUBSTR({column}, {literal}, {literal})",
            "CASE WHEN {row} THEN {row} ELSE {row} END",
            "CASE {row} WHEN {row} THEN {row} END",
            "CAST({row} AS {type})",
            "EXTRACT({part} FROM {row})",
            "{condition}",
            "NOT {row}",
            "- {row}",
            "[{row}, {row}]",
            "[[[{row}]]]",
            "(((((((({row}))))))))",
            "NOT NOT - - NOT {row}",
            "{row} IN ({row}, {row}, NULL)",
            "{row} LIKE {row} ESCAPE '!'",
            "{row} IS {truth}",
            "COALESCE({row}, {row}, {row})",
            "{aggregate}",
            "(SELECT a FROM zone)",
        ],
    ),
    ("part", &["YEAR", "MONTH", "DAY", "HOUR", "MINUTE", "SECOND", "EPOCH", "CENTURY"]),
];
