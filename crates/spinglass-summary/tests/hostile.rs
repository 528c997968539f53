//! A hundred functions that want to hurt: each is refused with the cause, or stopped by its
//! budget, and never takes another with it.

mod common;

use common::{hostile, keyed, keys};
use spinglass_summary::{Budget, Evaluation, Function, Name, Query, Row, Value};

/// What came of a text, in the words of the list.
fn outcome(sql: &str, evaluate: impl Fn(&Function) -> Evaluation) -> String {
    let function = match Function::parse(sql) {
        Err(error) => {
            assert!(!error.message().is_empty() && error.line > 0 && error.column > 0);
            assert!(error.message().len() < 200, "an error for people: {error}");
            return format!("{:?}", error.kind);
        }
        Ok(function) => function,
    };
    let evaluation = evaluate(&function);
    assert!(evaluation.steps <= Budget::default().steps);
    assert!(evaluation.row.encoded_bytes() <= Budget::default().output_bytes as usize);
    let first = evaluation.errors.first();
    let word = |debug: String| debug.split([' ', '{']).next().unwrap_or_default().to_owned();
    first.map_or_else(|| "fine".to_owned(), |(_, error)| word(format!("{error:?}")))
}

#[test]
fn each_ends_with_an_error_that_names_the_cause() {
    let rows = hostile::zone();
    let keys = keys(rows.len());
    let zone = keyed(&keys, &rows);
    let statements = hostile::statements();
    assert!(statements.len() >= hostile::STATEMENTS_MIN);
    let mut wrong = Vec::new();
    for (expected, sql) in &statements {
        let seen = outcome(sql, |function| function.evaluate(&zone, Budget::default()));
        if seen != *expected {
            let shown: String = sql.chars().take(100).collect();
            wrong.push(format!("{shown}: {seen}, not {expected}"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn an_output_that_fails_takes_no_other_with_it() {
    let rows = hostile::zone();
    let keys = keys(rows.len());
    let sql = "SELECT MAX(REPLACE(long, 'a', 'aaaaaaaaaaaaaaaa')) AS memory, \
               SUM(CASE WHEN long LIKE '%a%a%a%a%b' THEN 1 END) AS steps, \
               MAX(long) AS output, COUNT(*) AS n FROM zone";
    let function = Function::parse(sql).expect("a function");
    let evaluation = function.evaluate(&keyed(&keys, &rows), Budget::default());
    assert_eq!(evaluation.errors.len(), 3, "{:?}", evaluation.errors);
    assert_eq!(evaluation.row.get("n"), Some(&Value::Int(rows.len() as i64)));
}

/// A zone is passed by, or is not, in no more time than a query's row takes: here a query whose
/// every level doubled the work, and one that matches long patterns with long texts.
#[test]
fn a_zone_is_weighed_in_little_time() {
    let function = Function::parse("SELECT UNION(os) AS os FROM zone").expect("a function");
    let nested = (0..26).fold("os = 'x'".to_owned(), |inner, _| format!("({inner} OR os = 'y')"));
    let pattern = format!("os LIKE '{}b'", "%a".repeat(15));
    let patterns = vec![pattern; 80].join(" OR ");
    let long = (0..64).map(|index: usize| Value::text(&"a".repeat(3000 + index)));
    let os = Name::new("os").expect("a legal name");
    let zone: Row = [(os, Value::list(long))].into_iter().collect();
    for (condition, may_match) in [(nested, false), (patterns, true)] {
        let query = Query::parse(&format!("SELECT * FROM hosts WHERE {condition}"));
        assert_eq!(query.expect("a query").may_match(&zone, &[&function], &[]), may_match);
    }
}
