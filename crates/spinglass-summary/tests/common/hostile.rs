//! Functions that want to hurt, and a zone that helps them.

use spinglass_summary::{Name, Row, Value};

/// How many there are at least.
pub const STATEMENTS_MIN: usize = 100;
/// Rows of the zone.
const ROW_COUNT: usize = 64;
/// Bytes of its long texts: far more than a row of the wire holds.
const LONG: usize = 32 << 10;

/// A text, and what comes of it: the kind of the error that refuses or stops it, or `fine`.
pub fn statements() -> Vec<(&'static str, String)> {
    let mut all: Vec<(&str, String)> = Vec::new();
    for list in [FOREIGN, BROKEN, WRONG, COSTLY, ODD] {
        all.extend(list.iter().map(|(outcome, sql)| (*outcome, (*sql).to_owned())));
    }
    all.extend(large());
    all
}

/// SQL of other places: more tables than one, recursion, side effects, clocks.
const FOREIGN: &[(&str, &str)] = &[
    ("Unsupported", "SELECT COUNT(*) AS n FROM zone, zone"),
    ("Unsupported", "SELECT COUNT(*) AS n FROM zone CROSS JOIN zone"),
    ("Unsupported", "SELECT COUNT(*) AS n FROM zone JOIN zone ON 1 = 1"),
    ("Unsupported", "SELECT COUNT(*) AS n FROM zone NATURAL JOIN zone"),
    ("Unsupported", "SELECT COUNT(*) AS n FROM zone LEFT JOIN hosts ON TRUE"),
    ("Unsupported", "SELECT COUNT(*) AS n FROM (SELECT a FROM zone)"),
    ("Unsupported", "SELECT (SELECT COUNT(*) FROM zone) AS n FROM zone"),
    ("UnknownFunction", "SELECT COUNT(*) AS n FROM zone WHERE EXISTS (SELECT a FROM zone)"),
    ("Unsupported", "SELECT COUNT(*) AS n FROM zone WHERE a IN (SELECT a FROM zone)"),
    ("Unsupported", "WITH RECURSIVE t(x) AS (SELECT 1 UNION ALL SELECT x FROM t) SELECT x FROM t"),
    ("Unsupported", "SELECT COUNT(*) AS n FROM zone UNION ALL SELECT COUNT(*) AS n FROM zone"),
    ("Unsupported", "SELECT COUNT(*) AS n FROM zone INTERSECT SELECT COUNT(*) AS n FROM zone"),
    ("Unsupported", "SELECT COUNT(*) OVER (PARTITION BY a) AS n FROM zone"),
    ("Unsupported", "SELECT SUM(a) FILTER (WHERE a > 1) AS n FROM zone"),
    ("Unsupported", "SELECT COUNT(*) AS n FROM zone HAVING COUNT(*) > 1"),
    ("Unsupported", "SELECT COUNT(*) AS n FROM zone LIMIT 1"),
    ("Unsupported", "SELECT COUNT(*) AS n FROM zone ORDER BY n"),
    ("Unsupported", "SELECT DISTINCT COUNT(*) AS n FROM zone"),
    ("Syntax", "INSERT INTO zone VALUES (1)"),
    ("Syntax", "UPDATE zone SET a = 1"),
    ("Syntax", "DELETE FROM zone"),
    ("Syntax", "DROP TABLE zone"),
    ("Syntax", "PRAGMA journal_mode = OFF"),
    ("Syntax", "ATTACH DATABASE '/etc/passwd' AS p"),
    ("Unsupported", "SELECT COUNT(*) AS n FROM zone; DROP TABLE zone"),
    ("UnknownFunction", "SELECT MAX(LOAD_EXTENSION('x')) AS n FROM zone"),
    ("UnknownFunction", "SELECT MAX(READFILE('/etc/passwd')) AS n FROM zone"),
    ("UnknownFunction", "SELECT MAX(RANDOM()) AS n FROM zone"),
    ("UnknownFunction", "SELECT MAX(NOW()) AS n FROM zone"),
    ("UnknownFunction", "SELECT MAX(SLEEP(10)) AS n FROM zone"),
    ("UnknownFunction", "SELECT MAX(REPEAT('x', 1000000000)) AS n FROM zone"),
    ("UnknownFunction", "SELECT MAX(RANDOMBLOB(1000000000)) AS n FROM zone"),
];

/// Texts that end too early, or never began.
const BROKEN: &[(&str, &str)] = &[
    ("Syntax", ""),
    ("Syntax", " \n\t "),
    ("Syntax", "-- nothing but this"),
    ("Syntax", "SELECT"),
    ("Syntax", "SELECT FROM zone"),
    ("Syntax", "SELECT COUNT(*) AS n"),
    ("Syntax", "SELECT COUNT( AS n FROM zone"),
    ("Syntax", "SELECT COUNT(*)) AS n FROM zone"),
    ("Syntax", "SELECT MIN(CASE END) AS n FROM zone"),
    ("Syntax", "SELECT COUNT(*) AS n FROM zone WHERE"),
    ("Syntax", "SELECT COUNT(*) AS n FROM zone zone zone"),
    ("Character", "SELECT 'no end AS n FROM zone"),
    ("Character", "SELECT MIN(\"no end) AS n FROM zone"),
    ("Character", "SELECT COUNT(*) AS n FROM zone /* no end"),
    ("Character", "SELECT MIN(a\u{0}) AS n FROM zone"),
    ("Character", "SELECT MIN(a) AS n FROM zone \u{202e}"),
    ("Literal", "SELECT MIN(12abc) AS n FROM zone"),
    ("Literal", "SELECT MIN(TIME '2026-13-45') AS n FROM zone"),
];

/// Texts that read well and mean nothing.
const WRONG: &[(&str, &str)] = &[
    ("NestedAggregate", "SELECT SUM(SUM(SUM(a))) AS n FROM zone"),
    ("MisplacedAggregate", "SELECT COUNT(*) AS n FROM zone WHERE SUM(a) > 1"),
    ("MisplacedAggregate", "SELECT COUNT(*) AS n FROM zone GROUP BY MAX(a)"),
    ("BareColumn", "SELECT a AS n FROM zone"),
    ("BareColumn", "SELECT * FROM zone"),
    ("MissingName", "SELECT SUM(a) + 1 FROM zone"),
    ("DuplicateOutput", "SELECT SUM(a) AS n, MIN(a) AS n FROM zone"),
    ("Arguments", "SELECT FIRST(1000000000, a) AS n FROM zone"),
    ("Arguments", "SELECT FIRST(-1, a) AS n FROM zone"),
    ("Arguments", "SELECT UNION(a, 1000000) AS n FROM zone"),
    ("Arguments", "SELECT BLOOM(a, 1000000000) AS n FROM zone"),
    ("Arguments", "SELECT HISTOGRAM(a, 0, 1, 1000000) AS n FROM zone"),
    ("Arguments", "SELECT HISTOGRAM(a, 1, 0, 4) AS n FROM zone"),
    ("Arguments", "SELECT MAX(ABS()) AS n FROM zone"),
    ("Arguments", "SELECT MAX(POW(1, 2, 3)) AS n FROM zone"),
    ("Kind", "SELECT SUM('x') AS n FROM zone"),
    ("Kind", "SELECT MAX(1 + 'x') AS n FROM zone"),
    ("Kind", "SELECT MAX(TIME '2026-01-01' < 3) AS n FROM zone"),
    ("Kind", "SELECT COUNT(*) AS n FROM zone WHERE 'x'"),
    ("UnknownFunction", "SELECT MEDIAN(a) AS n FROM zone"),
];

/// Texts that are legal, and ask for more than there is.
const COSTLY: &[(&str, &str)] = &[
    ("Memory", "SELECT MAX(REPLACE(long, 'a', 'aaaaaaaaaaaaaaaa')) AS n FROM zone"),
    ("Memory", "SELECT MAX(REPLACE(REPLACE(long, 'a', 'aaaa'), 'a', 'aaaa')) AS n FROM zone"),
    ("Memory", "SELECT MAX(UPPER(long)) AS n FROM zone"),
    ("Memory", "SELECT MAX(long || long || long || long) AS n FROM zone"),
    ("Memory", "SELECT FIRST(64, LOWER(long)) AS n FROM zone"),
    ("Memory", "SELECT MAX(LENGTH(TRIM(long || long, 'b'))) AS n FROM zone"),
    ("Memory", "SELECT MAX(LENGTH(CAST(long AS TEXT) || long)) AS n FROM zone"),
    ("Steps", "SELECT COUNT(*) AS n FROM zone WHERE long LIKE '%a%a%a%a%a%a%a%b'"),
    ("Steps", "SELECT SUM(CASE WHEN long LIKE '%_%_%_%_%b%' THEN 1 END) AS n FROM zone"),
    ("Output", "SELECT MAX(long) AS n FROM zone"),
    ("Output", "SELECT FIRST(64, long) AS n FROM zone"),
    ("Output", "SELECT FIRST(64, list) AS n, FIRST(64, long) AS m FROM zone"),
    ("Union", "SELECT UNION(i, 3) AS n FROM zone"),
    ("Depth", "SELECT FIRST(3, [deep]) AS n FROM zone"),
    ("fine", "SELECT COUNT(*) AS n FROM zone GROUP BY i"),
    ("fine", "SELECT COUNT(DISTINCT long) AS n FROM zone"),
    ("Steps", "SELECT APPROX_DISTINCT(long) AS n FROM zone"),
    ("Arguments", "SELECT LENGTH(BLOOM(long, 8192)) AS n FROM zone"),
];

/// Numbers at their ends, division by nothing, and what is no number.
const ODD: &[(&str, &str)] = &[
    ("fine", "SELECT MAX(i / 0) AS n FROM zone"),
    ("fine", "SELECT MIN(1e999999999) AS n FROM zone"),
    ("fine", "SELECT MAX(i % 0) AS n FROM zone"),
    ("fine", "SELECT MAX(-9223372036854775807 - 1 / -1) AS n FROM zone"),
    ("fine", "SELECT SUM(huge) AS n FROM zone"),
    ("fine", "SELECT SUM(odd) AS n, AVG(odd) AS m, STDDEV(odd) AS s FROM zone"),
    ("fine", "SELECT MIN(odd) AS n, MAX(odd) AS m FROM zone"),
    ("fine", "SELECT AVG(odd, odd) AS n FROM zone"),
    ("fine", "SELECT HISTOGRAM(odd, -1, 1, 64) AS n FROM zone"),
    ("fine", "SELECT MAX(SQRT(-1)) AS n, MAX(LN(0)) AS m, MAX(LN(-1)) AS s FROM zone"),
    ("fine", "SELECT MAX(POW(odd, odd)) AS n, MAX(EXP(1e308)) AS m FROM zone"),
    ("fine", "SELECT MAX(CAST(odd AS INTEGER)) AS n FROM zone"),
    ("fine", "SELECT MAX(ABS(-9223372036854775807 - 1)) AS n FROM zone"),
    ("fine", "SELECT MAX(SUBSTR(long, -9223372036854775807, 1)) AS n FROM zone"),
    ("fine", "SELECT MAX(ELEMENT(list, 9223372036854775807)) AS n FROM zone"),
    ("fine", "SELECT MAX(ROUND(odd, 1000000)) AS n FROM zone"),
    ("fine", "SELECT MAP_SUM(list) AS n, MAP_MIN(deep) AS m FROM zone"),
    ("fine", "SELECT SUM(long) AS n, MAX(list) > 3 AS m FROM zone"),
    ("InvalidName", "SELECT MAX(\u{22}\u{22}) AS n FROM zone"),
];

/// Texts that are long, wide or deep.
fn large() -> Vec<(&'static str, String)> {
    let inner = |open: &str, count: usize, close: &str| {
        format!("SELECT MAX({}1{}) AS n FROM zone", open.repeat(count), close.repeat(count))
    };
    let columns = |count: usize| -> String {
        let column = |index| format!("SUM(a{index}) AS n{index}");
        let columns: Vec<String> = (0..count).map(column).collect();
        format!("SELECT {} FROM zone", columns.join(", "))
    };
    vec![
        ("TooLarge", format!("SELECT MAX('{}') AS n FROM zone", "x".repeat(1 << 20))),
        ("TooLarge", format!("SELECT COUNT(*) AS n FROM zone{}", " ".repeat(1 << 20))),
        ("TooLarge", "(".repeat(1 << 20)),
        ("TooLarge", "\u{1f980}".repeat(1 << 18)),
        ("TooLarge", inner("(", 1000, ")")),
        ("TooLarge", inner("ABS(", 500, ")")),
        ("TooLarge", inner("[", 500, "]")),
        ("TooLarge", inner("[", 6, "]")),
        ("TooLarge", inner("NOT ", 500, "")),
        ("TooLarge", inner("- ", 1000, "")),
        ("TooLarge", inner("CASE WHEN TRUE THEN ", 100, " END")),
        ("TooLarge", inner("1+", 1000, "")),
        ("TooLarge", columns(100)),
        ("InvalidName", format!("SELECT MAX({}) AS n FROM zone", "x".repeat(1000))),
        ("InvalidName", format!("SELECT COUNT(*) AS {} FROM zone", "x".repeat(1000))),
        ("fine", columns(32)),
    ]
}

/// Rows with every kind of trouble in them.
pub fn zone() -> Vec<Row> {
    (0..ROW_COUNT).map(trouble).collect()
}

fn trouble(index: usize) -> Row {
    let number = index as i64;
    let odd = [f64::NAN, f64::INFINITY, f64::NEG_INFINITY, -0.0, f64::MIN_POSITIVE, f64::MAX];
    let long = "a".repeat(LONG + index);
    let list = |value: Value| Value::list([value]);
    let attributes = [
        ("a", Value::Int(number)),
        ("i", Value::Int(number * 7919)),
        ("huge", Value::Int(if index.is_multiple_of(3) { i64::MIN + number } else { i64::MAX })),
        ("odd", Value::float(odd[index % odd.len()])),
        ("long", Value::text(&long)),
        ("list", Value::list((0..64).map(Value::Int))),
        ("deep", list(list(list(list(Value::Int(number)))))),
        ("up", Value::Bool(index.is_multiple_of(2))),
    ];
    let named = |(name, value)| (Name::new(name).expect("a legal name"), value);
    attributes.into_iter().map(named).collect()
}
