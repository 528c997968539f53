//! Every statement, aggregate and function in docs/sql.md does what it says there.
//!
//! The hosts are those of the document's table. Each statement is evaluated over the hosts of each
//! zone, and then over the zones' rows: `-- gives: name value` is what comes out at the top, and
//! `-- error: Kind` is why a statement is refused. A query is put to all hosts: `-- finds: name
//! value, ..` is a row of its answer.

use std::collections::BTreeMap;

use spinglass_summary::{Budget, Function, Name, Query, Row, RowBuilder, Value};

const TEXT: &str = include_str!("../../../docs/sql.md");

/// What every zone has besides what the statement makes.
const CORE: &str = "SELECT SUM(nmembers) AS nmembers FROM zone";

fn name(text: &str) -> Name {
    Name::new(text).expect("a legal name")
}

/// The cells of a table's line.
fn cells(line: &str) -> Option<Vec<&str>> {
    let inner = line.strip_prefix("| ")?.strip_suffix(" |")?;
    Some(inner.split(" | ").collect())
}

/// The hosts of each zone.
fn zones() -> BTreeMap<String, Vec<Row>> {
    let mut lines = TEXT.lines().skip_while(|line| !line.starts_with("| zone |"));
    let names = cells(lines.next().expect("the table of hosts")).expect("its names");
    let mut zones: BTreeMap<String, Vec<Row>> = BTreeMap::new();
    for line in lines.skip(1).take_while(|line| !line.is_empty()) {
        let values = cells(line).expect("a host");
        let mut host = RowBuilder::default().with(name("nmembers"), Value::Int(1));
        for (column, value) in names.iter().zip(&values).skip(1) {
            let value = match *column {
                "load" => Value::float(value.parse().expect("a load")),
                "up" => Value::Bool(*value == "true"),
                "users" => Value::Int(value.parse().expect("a number")),
                _ => Value::text(value),
            };
            host.set(name(column), value);
        }
        zones.entry(values[0].to_owned()).or_default().push(host.build());
    }
    zones
}

/// One row of many, as a representative makes it.
fn summarised(function: &Function, zone: &str, rows: &[Row]) -> Row {
    let keys: Vec<String> = (0..rows.len()).map(|index| format!("{index:03}")).collect();
    let keyed: Vec<(&str, &Row)> = keys.iter().map(String::as_str).zip(rows).collect();
    let mut made = RowBuilder::default().with(name("id"), Value::text(zone));
    for function in [&Function::parse(CORE).expect("a function"), function] {
        let evaluation = function.evaluate(&keyed, Budget::default());
        assert_eq!(evaluation.errors, [], "{}", function.sql());
        evaluation.row.iter().for_each(|(name, value)| made.set(name.clone(), value.clone()));
    }
    made.build()
}

fn statements() -> impl Iterator<Item = &'static str> {
    let blocks = TEXT.split("```sql\n").skip(1);
    blocks.map(|block| block.split("```").next().unwrap_or_default())
}

/// The values of a statement's comments of a kind.
fn comments<'a>(sql: &'a str, kind: &'a str) -> impl Iterator<Item = &'a str> {
    sql.lines().filter_map(move |line| Some(line.split_once(kind)?.1.trim()))
}

#[test]
fn statements_give_what_the_document_says() {
    let zones = zones();
    assert_eq!(zones.values().map(Vec::len).sum::<usize>(), 6);
    let (mut evaluated, mut refused) = (0, 0);
    for sql in statements() {
        if sql.contains("FROM hosts") {
            check_query(sql, &zones);
            continue;
        }
        if let Some(kind) = comments(sql, "-- error: ").next() {
            let error = Function::parse(sql).expect_err(sql);
            assert_eq!(format!("{:?}", error.kind), kind, "{sql}");
            refused += 1;
            continue;
        }
        let function = Function::parse(sql).unwrap_or_else(|error| panic!("{sql}: {error}"));
        let rows: Vec<Row> =
            zones.iter().map(|(zone, hosts)| summarised(&function, zone, hosts)).collect();
        for row in &rows {
            let missing = function.outputs().find(|output| row.get(output.as_str()).is_none());
            assert_eq!(missing, None, "{sql}");
        }
        let root = summarised(&function, "", &rows);
        for (name, value) in comments(sql, "-- gives: ").map(|gives| {
            gives.split_once(' ').unwrap_or_else(|| panic!("a name and a value: {gives}"))
        }) {
            let given = root.get(name).cloned().unwrap_or_default();
            assert_eq!(given.to_string(), value, "{name} of {sql}");
        }
        evaluated += 1;
    }
    assert!(evaluated >= 10 && refused >= 4, "{evaluated} and {refused}");
}

/// A query is refused, or finds, what the document says.
fn check_query(sql: &str, zones: &BTreeMap<String, Vec<Row>>) {
    if let Some(kind) = comments(sql, "-- error: ").next() {
        let error = Query::parse(sql).expect_err(sql);
        assert_eq!(format!("{:?}", error.kind), kind, "{sql}");
        return;
    }
    let query = Query::parse(sql).unwrap_or_else(|error| panic!("{sql}: {error}"));
    let mut answers = Vec::new();
    for (zone, hosts) in zones {
        let region = Value::text(&format!("/{zone}"));
        let host = |host: &Row| RowBuilder::from(host).with(name("zone"), region.clone()).build();
        let hosts: Vec<Row> = hosts.iter().map(host).collect();
        let selection = query.select(&hosts, u32::MAX);
        answers.extend(selection.found.into_iter().map(|(_, key, row)| (key, row)));
    }
    let told = |(name, value): (&Name, &Value)| format!("{name} {value}");
    let rows = query.finish(answers).into_iter();
    let found: Vec<String> =
        rows.map(|row| row.iter().map(told).collect::<Vec<_>>().join(", ")).collect();
    assert_eq!(found, comments(sql, "-- finds: ").collect::<Vec<_>>(), "{sql}");
}

/// The code in the first cells of a section's table.
fn forms(section: &str) -> Vec<&'static str> {
    let (_, rest) = TEXT.split_once(section).expect("the section");
    let lines = rest.lines().take_while(|line| !line.starts_with("## "));
    let first = lines
        .filter(|line| line.starts_with("| `"))
        .filter_map(|line| cells(line).and_then(|cells| cells.first().copied()));
    first.flat_map(|cell| cell.split('`').skip(1).step_by(2)).collect()
}

#[test]
fn every_form_in_the_tables_can_be_written_so() {
    let rows = [Row::empty(), [(name("x"), Value::Int(3))].into_iter().collect()];
    let keyed: Vec<(&str, &Row)> = ["1", "2"].into_iter().zip(&rows).collect();
    let (aggregates, functions) = (forms("## Aggregates"), forms("## Functions of one row"));
    assert!(aggregates.len() >= 20 && functions.len() >= 28);
    let within =
        functions.iter().filter(|form| form.contains('(')).map(|form| format!("MAX({form})"));
    for form in aggregates.into_iter().map(str::to_owned).chain(within) {
        let sql = format!("SELECT {form} AS z FROM zone");
        let function = Function::parse(&sql).unwrap_or_else(|error| panic!("{sql}: {error}"));
        assert_eq!(function.evaluate(&keyed, Budget::default()).errors, [], "{sql}");
    }
}
