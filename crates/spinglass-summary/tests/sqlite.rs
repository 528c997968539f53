//! What SQLite defines comes out as SQLite has it: random functions and queries over random
//! tables, in both.
//!
//! `SPINGLASS_QUERIES` sets how many; 10,000 by default. The report is one line of JSON.

mod common;

use common::{Random, keyed, keys, row};
use rusqlite::Connection;
use rusqlite::types::Value as Theirs;
use spinglass_summary::{Budget, Function, Query, Row, Value};

/// A generator of SQL that means the same in both dialects.
struct Generator {
    random: Random,
}

impl Generator {
    fn int_literal(&mut self) -> String {
        match self.random.below(8) {
            0 => "9223372036854775807".into(),
            1 => "(-9223372036854775808)".into(),
            2 => "0".into(),
            _ => format!("({})", self.random.below(21) as i64 - 10),
        }
    }

    /// A place in a text, or a length. From the least int on, SQLite's SUBSTR loses the last
    /// character: it takes the greatest int for the end of the text.
    fn place(&mut self) -> String {
        match self.random.below(8) {
            0 => self.int_literal().replace("808)", "807)"),
            _ => format!("({})", self.random.below(11) as i64 - 5),
        }
    }

    fn float_literal(&mut self) -> String {
        match self.random.below(6) {
            0 => "1e308".into(),
            1 => "0.0".into(),
            _ => format!("({:?})", (self.random.below(4001) as f64 - 2000.0) / 8.0),
        }
    }

    fn text_literal(&mut self) -> String {
        let texts = ["''", "'a'", "'Ab'", "'abc'", "'12x'", "' b '", "'é'", "'a%b'", "'it''s'"];
        self.random.pick(&texts).into()
    }

    fn number(&mut self, depth: usize) -> String {
        let depth = depth.saturating_sub(1);
        if depth == 0 || self.random.one_in(4) {
            return match self.random.below(6) {
                0 => self.int_literal(),
                1 => self.float_literal(),
                2 | 3 => "i".into(),
                4 => "f".into(),
                _ => "n".into(),
            };
        }
        let (a, b) = (self.number(depth), self.number(depth));
        match self.random.below(17) {
            0 | 1 => format!("({a} + {b})"),
            2 | 3 => format!("({a} - {b})"),
            4 | 5 => format!("({a} * {b})"),
            6 => format!("({a} / {b})"),
            7 => format!("({a} % {b})"),
            8 => format!("(- {a})"),
            9 => format!("ABS({a})"),
            10 => format!("COALESCE({a}, {b})"),
            11 => format!("NULLIF({a}, {b})"),
            12 => format!("{}({a}, {b})", self.random.pick(&["LEAST", "GREATEST"])),
            13 => format!("LENGTH({})", self.text(depth)),
            14 => {
                format!("CAST({} AS {})", self.text(depth), self.random.pick(&["INTEGER", "REAL"]))
            }
            15 => format!("CAST({a} AS {})", self.random.pick(&["INTEGER", "REAL"])),
            _ => self.case(depth, a, b),
        }
    }

    fn case(&mut self, depth: usize, a: String, b: String) -> String {
        match self.random.below(3) {
            0 => format!("CASE WHEN {} THEN {a} ELSE {b} END", self.truth(depth)),
            1 => format!("CASE WHEN {} THEN {a} END", self.truth(depth)),
            _ => {
                let (x, y) = (self.number(depth), self.number(depth));
                format!("CASE {x} WHEN {y} THEN {a} ELSE {b} END")
            }
        }
    }

    fn text(&mut self, depth: usize) -> String {
        let depth = depth.saturating_sub(1);
        if depth == 0 || self.random.one_in(3) {
            return if self.random.one_in(3) { self.text_literal() } else { "t".into() };
        }
        let (a, b) = (self.text(depth), self.text(depth));
        match self.random.below(9) {
            0 => format!("({a} || {b})"),
            1 => format!("({a} || i)"),
            2 => format!("LOWER({a})"),
            3 => format!("UPPER({a})"),
            4 => format!("SUBSTR({a}, {})", self.place()),
            5 => format!("SUBSTR({a}, {}, {})", self.place(), self.place()),
            6 => self.random.pick(&["TRIM(t)", "TRIM(t, 'ab')", "CAST(i AS TEXT)"]).into(),
            7 => format!("REPLACE({a}, {}, {b})", self.text_literal()),
            _ => self.case(depth, a, b),
        }
    }

    fn truth(&mut self, depth: usize) -> String {
        let depth = depth.saturating_sub(1);
        let not = if self.random.one_in(3) { "NOT " } else { "" };
        let comparison = ["=", "==", "<>", "!=", "<", "<=", ">", ">="];
        match self.random.below(if depth == 0 { 6 } else { 10 }) {
            0..=2 => {
                let (a, b) = (self.number(depth), self.number(depth));
                format!("{a} {} {b}", self.random.pick(&comparison))
            }
            3 => {
                let (a, b) = (self.text(depth), self.text(depth));
                format!("{a} {} {b}", self.random.pick(&comparison))
            }
            4 => {
                let patterns = ["'%'", "'a%'", "'%B%'", "'_'", "'a!%b'", "'%a%_'", "''", "t"];
                let escape = if self.random.one_in(2) { " ESCAPE '!'" } else { "" };
                format!("{} {not}LIKE {}{escape}", self.text(depth), self.random.pick(&patterns))
            }
            5 => format!("{} IS {not}NULL", self.number(depth)),
            6 => {
                let (a, b, c) = (self.number(depth), self.number(depth), self.number(depth));
                match self.random.below(3) {
                    0 => format!("{a} {not}IN ({b}, {c}, NULL)"),
                    1 => format!("{a} {not}IN ({b}, 1, {c})"),
                    _ => format!("{a} {not}BETWEEN {b} AND {c}"),
                }
            }
            7 => format!("({} AND {})", self.truth(depth), self.truth(depth)),
            8 => format!("({} OR {})", self.truth(depth), self.truth(depth)),
            _ => match self.random.below(3) {
                0 => format!("NOT ({})", self.truth(depth)),
                1 => format!("({}) IS {not}TRUE", self.truth(depth)),
                _ => format!("({}) IS {not}FALSE", self.number(depth)),
            },
        }
    }

    fn value(&mut self, depth: usize) -> String {
        if self.random.one_in(3) { self.text(depth) } else { self.number(depth) }
    }

    fn cell(&mut self, column: &str) -> Value {
        if self.random.one_in(5) {
            return Value::Null;
        }
        match column {
            "i" if self.random.one_in(20) => Value::Int(i64::MAX - self.random.below(3) as i64),
            "i" => Value::Int(self.random.below(41) as i64 - 20),
            "f" if self.random.one_in(30) => Value::float(1e308),
            "f" if self.random.one_in(3) => Value::float(self.random.below(9) as f64 - 4.0),
            "f" => Value::float((self.random.next() as i64) as f64 / 1e17),
            "n" if self.random.one_in(2) => Value::Int(self.random.below(5) as i64),
            "n" => Value::float(self.random.below(10) as f64 / 2.0),
            "t" => {
                let texts = ["", "a", "b", "Ab", "aab", "12", "-3.5e1x", " ab ", "éa", "a%b"];
                Value::text(self.random.pick(&texts))
            }
            _ => Value::text(self.random.pick(&["x", "y", "z"])),
        }
    }
}

const COLUMNS: [&str; 5] = ["i", "f", "n", "t", "g"];

fn fill(connection: &Connection, rows: &[Row]) {
    connection.execute("DELETE FROM zone", []).expect("an empty table");
    let sql = "INSERT INTO zone (i, f, n, t, g) VALUES (?, ?, ?, ?, ?)";
    let mut insert = connection.prepare(sql).expect("a statement");
    for row in rows {
        let cells = COLUMNS.map(|column| match row.get(column) {
            None | Some(Value::Null) => Theirs::Null,
            Some(Value::Int(int)) => Theirs::Integer(*int),
            Some(Value::Float(float)) => Theirs::Real(float.get()),
            Some(Value::Text(text)) => Theirs::Text(text.to_string()),
            other => panic!("{other:?}"),
        });
        insert.execute(rusqlite::params_from_iter(cells)).expect("a row");
    }
}

/// What SQLite says; `None` if it gives up on an overflow, where we give a float.
fn ask(connection: &Connection, sql: &str) -> Option<Vec<Vec<Theirs>>> {
    let sql = sql.replace("LEAST(", "MIN(").replace("GREATEST(", "MAX(").replace("hosts", "zone");
    let mut statement = connection.prepare(&sql).unwrap_or_else(|error| panic!("{sql}: {error}"));
    let width = statement.column_count();
    let rows = statement.query_map([], |row| (0..width).map(|index| row.get(index)).collect());
    match rows.expect("a statement without parameters").collect() {
        Ok(rows) => Some(rows),
        Err(error) if error.to_string().contains("integer overflow") => None,
        Err(error) => panic!("{sql}: {error}"),
    }
}

/// Whether two results are the same: floats within `tolerance`, or one place of the last digit.
fn agree(theirs: &Theirs, ours: &Value, tolerance: f64) -> bool {
    match (theirs, ours) {
        (Theirs::Null, Value::Null) => true,
        (Theirs::Integer(theirs), Value::Int(ours)) => theirs == ours,
        (Theirs::Integer(theirs), Value::Bool(ours)) => *theirs == i64::from(*ours),
        (Theirs::Text(theirs), Value::Text(ours)) => **theirs == **ours,
        (Theirs::Real(theirs), Value::Float(ours)) => {
            let ours = ours.get();
            *theirs == ours
                || (theirs - ours).abs() <= tolerance
                || theirs.next_up() == ours
                || theirs.next_down() == ours
        }
        _ => false,
    }
}

fn are_equal_numbers(theirs: &Theirs, ours: &Value) -> bool {
    let is = |int: i64, float: f64| {
        float < i64::MAX as f64 && float as i64 == int && float.trunc() == float
    };
    match (theirs, ours) {
        (Theirs::Integer(theirs), Value::Float(ours)) => is(*theirs, ours.get()),
        (Theirs::Real(theirs), Value::Int(ours)) => is(*ours, *theirs),
        _ => false,
    }
}

fn table(generator: &mut Generator) -> Vec<Row> {
    let count = generator.random.below(9);
    (0..count).map(|_| row(&COLUMNS.map(|column| (column, generator.cell(column))))).collect()
}

/// A function of random aggregates. Sums come with the sum of what they sum, without signs: that
/// says how much SQLite may have rounded.
fn check_function(generator: &mut Generator, connection: &Connection, rows: &[Row]) -> bool {
    let group_by = if generator.random.one_in(2) { "g".to_string() } else { generator.value(2) };
    let is_grouped = generator.random.one_in(3);
    let input = generator.value(3);
    let number = generator.number(3);
    let aggregates = [
        format!("MIN({input})"),
        format!("MAX({input})"),
        format!("COUNT({input})"),
        format!("COUNT(DISTINCT {input})"),
        "COUNT(*)".to_string(),
        format!("SUM({number})"),
        format!("AVG({number})"),
        format!("SUM(ABS({number}))"),
        format!("COALESCE(MAX({number}), 0) + COUNT(*)"),
    ];
    let named: Vec<String> =
        aggregates.iter().enumerate().map(|(index, sql)| format!("{sql} AS c{index}")).collect();
    let mut clauses = String::from(" FROM zone");
    if generator.random.one_in(2) {
        clauses += &format!(" WHERE {}", generator.truth(3));
    }
    let mut theirs = format!("SELECT {}, {group_by} AS key{clauses}", named.join(", "));
    if is_grouped {
        clauses += &format!(" GROUP BY {group_by}");
        // A name, since SQLite takes a number here for the place of a column.
        theirs += " GROUP BY key";
    }
    let ours = format!("SELECT {}{clauses}", named.join(", "));
    let Some(answer) = ask(connection, &theirs) else { return false };

    let function = Function::parse(&ours).unwrap_or_else(|error| panic!("{ours}: {error}"));
    let keys = keys(rows.len());
    let made = function.evaluate(&keyed(&keys, rows), Budget::default());
    assert_eq!(made.errors, [], "{ours}");
    let cell = |name: &str, group: &Theirs| -> Value {
        let value = made.row.get(name).cloned().unwrap_or_default();
        if !is_grouped {
            return value;
        }
        let pairs = value.as_list().unwrap_or_default().iter().filter_map(Value::as_list);
        let is_key = |own: &Value| agree(group, own, 0.0) || are_equal_numbers(group, own);
        let own = pairs.into_iter().find(|pair| is_key(&pair[0]));
        own.map_or(Value::Null, |pair| pair[1].clone())
    };
    for row in &answer {
        let group = row.last().expect("the group comes last");
        let magnitude = match &row[7] {
            Theirs::Integer(sum) => *sum as f64,
            Theirs::Real(sum) => *sum,
            _ => 0.0,
        };
        for (index, theirs) in row.iter().take(aggregates.len()).enumerate() {
            let is_sum = (5..=7).contains(&index);
            if is_sum && (magnitude.is_nan() || magnitude >= 1e300) {
                continue;
            }
            let tolerance = if is_sum { magnitude * 1e-15 } else { 0.0 };
            let own = cell(&format!("c{index}"), group);
            let sql = &aggregates[index];
            // Of an int and a float that are equal, SQLite's MIN and MAX take the first.
            let is_tie = [0, 1, 8].contains(&index) && are_equal_numbers(theirs, &own);
            assert!(
                is_tie || agree(theirs, &own, tolerance),
                "{sql} is {theirs:?} in SQLite and {own} here (group {group:?})\n{ours}\n{rows:?}"
            );
        }
    }
    true
}

fn check_query(generator: &mut Generator, connection: &Connection, rows: &[Row]) -> bool {
    let condition = generator.truth(4);
    let (first, second) = (generator.value(4), generator.truth(3));
    let rounded = format!("ROUND({}, {})", generator.number(2), generator.random.below(4));
    let mut sql =
        format!("SELECT {first} AS a, {second} AS b, {rounded} AS c FROM hosts WHERE {condition}");
    // Rows that tie in the order may come in any: so one column is told, and it is the order.
    let is_ordered = generator.random.one_in(3);
    if is_ordered {
        let direction = generator.random.pick(&["", " ASC", " DESC"]);
        let limit = generator.random.below(9);
        sql = format!("SELECT {first} AS a FROM hosts WHERE {condition}");
        sql += &format!(" ORDER BY a{direction} LIMIT {limit}");
    }
    let Some(answer) = ask(connection, &sql) else { return false };
    let query = Query::parse(&sql).unwrap_or_else(|error| panic!("{sql}: {error}"));
    let matching = rows.iter().filter(|row| query.matches(row));
    let mut told: Vec<Row> = matching.clone().map(|row| query.project(row)).collect();
    if is_ordered {
        told = query.finish(matching.map(|row| query.sort_key(row)).zip(told).collect());
    }
    assert_eq!(told.len(), answer.len(), "{sql}\n{rows:?}");
    for (ours, theirs) in told.iter().zip(&answer) {
        for (name, theirs) in ["a", "b", "c"].iter().zip(theirs) {
            let own = ours.get(name).cloned().unwrap_or_default();
            let is_tie = is_ordered && are_equal_numbers(theirs, &own);
            assert!(
                is_tie || agree(theirs, &own, 0.0),
                "{name} is {theirs:?} in SQLite and {own} here\n{sql}\n{rows:?}"
            );
        }
    }
    true
}

#[test]
fn random_sql_means_what_sqlite_means_by_it() {
    let wanted = std::env::var("SPINGLASS_QUERIES").ok().and_then(|count| count.parse().ok());
    let wanted: u64 = wanted.unwrap_or(10_000);
    let connection = Connection::open_in_memory().unwrap();
    connection.execute("CREATE TABLE zone (i, f, n, t, g)", []).unwrap();
    let mut generator = Generator { random: Random(0) };
    let (mut compared, mut overflowed) = (0, 0);
    for case in 0..wanted {
        generator.random = Random(case);
        let rows = table(&mut generator);
        fill(&connection, &rows);
        let is_compared = if generator.random.one_in(2) {
            check_function(&mut generator, &connection, &rows)
        } else {
            check_query(&mut generator, &connection, &rows)
        };
        *(if is_compared { &mut compared } else { &mut overflowed }) += 1;
    }
    assert!(compared > wanted * 8 / 10, "{compared} of {wanted} were compared");
    // The first that differed would have ended the test.
    println!(
        "\n{}",
        serde_json::json!({
            "queries": wanted,
            "agreeing": compared,
            "agreeing_share": compared as f64 / wanted as f64,
            "overflowed_in_sqlite": overflowed,
            "sqlite_version": rusqlite::version(),
        })
    );
}
