//! The zone that benchmarks evaluate functions over: 64 rows with 20 attributes each.

use spinglass_summary::{Name, Row, Value};

/// Rows of the zone.
pub(crate) const ROW_COUNT: usize = 64;

/// Child zones as they come in: similar rows, sorted by their names.
pub(crate) fn zone() -> Vec<(String, Row)> {
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

/// The rows with their keys, as functions take them.
pub(crate) fn keyed(zone: &[(String, Row)]) -> Vec<(&str, &Row)> {
    zone.iter().map(|(key, row)| (&**key, row)).collect()
}
