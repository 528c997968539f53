//! Values on their way between the table, SQLite and PostgreSQL's clients.

use bytes::{BufMut as _, BytesMut};
use pgwire::api::Type;
use pgwire::api::portal::Format;
use pgwire::api::results::FieldInfo;
use pgwire::messages::data::DataRow;
use rusqlite::types::Value as Cell;
use serde_json::{Value as Json, json};
use spinglass::{Time, Value};

use crate::json::{of_json, to_json};

/// What a column holds, as clients are told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Holds {
    Bool,
    Int,
    Float,
    Text,
    Bytes,
    Time,
    List,
    /// Values of several kinds, or none that anybody has seen: told as text.
    Any,
}

const DAY_MICROS: i64 = 86_400_000_000;
/// Microseconds from 1970, the table's epoch, to 2000, PostgreSQL's.
const EPOCH_MICROS: i64 = 946_684_800_000_000;

impl Holds {
    /// What a value is; `None` for NULL, which is anything.
    pub(super) const fn of(value: &Value) -> Option<Self> {
        Some(match value {
            Value::Null => return None,
            Value::Bool(_) => Self::Bool,
            Value::Int(_) => Self::Int,
            Value::Float(_) => Self::Float,
            Value::Text(_) => Self::Text,
            Value::Bytes(_) => Self::Bytes,
            Value::Time(_) => Self::Time,
            Value::List(_) => Self::List,
        })
    }

    /// What holds both this and that.
    pub(super) fn or(self, other: Self) -> Self {
        match (self, other) {
            _ if self == other => self,
            (Self::Int, Self::Float) | (Self::Float, Self::Int) => Self::Float,
            _ => Self::Any,
        }
    }

    /// The type in SQLite's declaration: it says how values compare, and what [`typed`] makes of
    /// the column. Empty: nothing is converted.
    pub(super) const fn declared(self) -> &'static str {
        match self {
            Self::Bool => "BOOLEAN",
            Self::Int => "BIGINT",
            Self::Float => "DOUBLE",
            Self::Text => "TEXT",
            Self::Bytes => "BLOB",
            Self::Time => "TIMESTAMPTZ",
            Self::List => "JSON",
            Self::Any => "",
        }
    }
}

/// The type that clients are told of a column declared so.
pub(super) fn typed(declared: &str) -> Option<Type> {
    Some(match declared {
        "BOOLEAN" => Type::BOOL,
        "BIGINT" => Type::INT8,
        "DOUBLE" => Type::FLOAT8,
        "TEXT" => Type::TEXT,
        "BLOB" => Type::BYTEA,
        "TIMESTAMPTZ" => Type::TIMESTAMPTZ,
        "JSON" => Type::JSON,
        // The catalogue's.
        "OID" => Type::OID,
        "NAME" => Type::NAME,
        "INT2" => Type::INT2,
        "INT4" => Type::INT4,
        "INTEGER" => Type::INT8,
        "REAL" => Type::FLOAT8,
        "CHAR1" => Type::CHAR,
        _ => return None,
    })
}

/// A value as SQLite has it: times and lists are texts.
pub(super) fn cell(value: &Value) -> Cell {
    match value {
        Value::Null => Cell::Null,
        Value::Bool(truth) => Cell::Integer((*truth).into()),
        Value::Int(number) => Cell::Integer(*number),
        Value::Float(number) => Cell::Real(number.get()),
        Value::Text(text) => Cell::Text(text.as_ref().to_owned()),
        Value::Bytes(bytes) => Cell::Blob(bytes.to_vec()),
        Value::Time(time) => {
            Cell::Text(time.to_string().replacen('T', " ", 1).replacen('Z', "+00", 1))
        }
        Value::List(_) => Cell::Text(to_json(value).to_string()),
    }
}

/// The table's value of what a query computed for a column of this type. Texts that are JSON's
/// lists are lists.
pub(super) fn value(cell: &Cell, of: &Type) -> Value {
    match cell {
        Cell::Null => Value::Null,
        Cell::Integer(number) if *of == Type::BOOL => Value::Bool(*number != 0),
        Cell::Integer(number) => Value::Int(*number),
        Cell::Real(number) => Value::float(*number),
        Cell::Blob(bytes) => Value::bytes(bytes),
        Cell::Text(text) => match serde_json::from_str(text) {
            Ok(list @ Json::Array(_)) => of_json(&list).unwrap_or_else(|_| Value::text(text)),
            _ => Value::text(text),
        },
    }
}

/// The type of a column of which nothing is declared, by what is in it.
pub(super) fn seen<'a>(cells: impl Iterator<Item = &'a Cell>) -> Option<Type> {
    let mut found = None;
    for cell in cells {
        let this = match cell {
            Cell::Null => continue,
            Cell::Integer(_) => Type::INT8,
            Cell::Real(_) => Type::FLOAT8,
            Cell::Text(_) => Type::TEXT,
            Cell::Blob(_) => Type::BYTEA,
        };
        found = match found {
            None => Some(this),
            Some(before) if before == this => Some(this),
            Some(Type::INT8 | Type::FLOAT8) if matches!(this, Type::INT8 | Type::FLOAT8) => {
                Some(Type::FLOAT8)
            }
            Some(_) => return Some(Type::TEXT),
        };
    }
    found
}

/// A row as it is sent.
pub(super) fn row(cells: &[Cell], fields: &[FieldInfo]) -> DataRow {
    let mut data = BytesMut::new();
    for (cell, field) in cells.iter().zip(fields) {
        let binary = field.format().value() != 0;
        match bytes_of(cell, field.datatype(), binary) {
            None => data.put_i32(-1),
            Some(bytes) => {
                data.put_i32(i32::try_from(bytes.len()).unwrap_or(i32::MAX));
                data.extend_from_slice(&bytes);
            }
        }
    }
    DataRow::new(data, i16::try_from(fields.len()).unwrap_or(i16::MAX))
}

/// A text for a cell, as PostgreSQL writes it. What is not of the column's type is told as it is.
pub(super) fn text_of(cell: &Cell, of: &Type) -> Option<String> {
    Some(match cell {
        Cell::Null => return None,
        Cell::Integer(number) if *of == Type::BOOL => {
            if *number == 0 {
                "f".into()
            } else {
                "t".into()
            }
        }
        Cell::Integer(number) => number.to_string(),
        Cell::Real(number) if number.is_infinite() => {
            if *number > 0.0 {
                "Infinity".into()
            } else {
                "-Infinity".into()
            }
        }
        Cell::Real(number) if number.is_nan() => "NaN".into(),
        Cell::Real(number) => number.to_string(),
        Cell::Text(text) => text.clone(),
        Cell::Blob(bytes) => {
            let hex: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
            format!("\\x{hex}")
        }
    })
}

fn bytes_of(cell: &Cell, of: &Type, binary: bool) -> Option<Vec<u8>> {
    if !binary {
        return text_of(cell, of).map(String::into_bytes);
    }
    let int = match cell {
        Cell::Null => return None,
        Cell::Integer(number) => *number,
        Cell::Real(number) => *number as i64,
        Cell::Text(text) => text.parse().unwrap_or(0),
        Cell::Blob(_) => 0,
    };
    Some(match *of {
        Type::BOOL => vec![u8::from(int != 0)],
        Type::INT2 => (int as i16).to_be_bytes().to_vec(),
        Type::INT4 => (int as i32).to_be_bytes().to_vec(),
        Type::OID => (int as u32).to_be_bytes().to_vec(),
        Type::INT8 => int.to_be_bytes().to_vec(),
        Type::FLOAT8 => match cell {
            Cell::Real(number) => number.to_be_bytes().to_vec(),
            Cell::Text(text) => text.parse().unwrap_or(f64::NAN).to_be_bytes().to_vec(),
            _ => (int as f64).to_be_bytes().to_vec(),
        },
        Type::TIMESTAMPTZ => (micros(&text_of(cell, of)?) - EPOCH_MICROS).to_be_bytes().to_vec(),
        Type::BYTEA => match cell {
            Cell::Blob(bytes) => bytes.clone(),
            _ => text_of(cell, of)?.into_bytes(),
        },
        _ => text_of(cell, of)?.into_bytes(),
    })
}

fn micros(text: &str) -> i64 {
    Time::parse(&iso(text)).map_or(EPOCH_MICROS, |time| time.0)
}

/// `2026-11-28 08:00:00+00` in the form that the table reads.
fn iso(text: &str) -> String {
    text.trim_end_matches("+00").replacen(' ', "T", 1) + "Z"
}

/// A parameter as SQLite takes it. `None`: it can't be read.
pub(super) fn parameter(bytes: &[u8], of: &Type, binary: bool) -> Option<Cell> {
    if !binary {
        return Some(of_text(std::str::from_utf8(bytes).ok()?, of));
    }
    Some(match *of {
        Type::BOOL => Cell::Integer(i64::from(*bytes.first()?)),
        Type::INT2 => Cell::Integer(i16::from_be_bytes(bytes.try_into().ok()?).into()),
        Type::INT4 => Cell::Integer(i32::from_be_bytes(bytes.try_into().ok()?).into()),
        Type::OID => Cell::Integer(u32::from_be_bytes(bytes.try_into().ok()?).into()),
        Type::INT8 => Cell::Integer(i64::from_be_bytes(bytes.try_into().ok()?)),
        Type::FLOAT4 => Cell::Real(f32::from_be_bytes(bytes.try_into().ok()?).into()),
        Type::FLOAT8 => Cell::Real(f64::from_be_bytes(bytes.try_into().ok()?)),
        Type::BYTEA => Cell::Blob(bytes.to_vec()),
        Type::TIMESTAMPTZ | Type::TIMESTAMP => {
            let micros = i64::from_be_bytes(bytes.try_into().ok()?);
            cell(&Value::Time(Time(micros.saturating_add(EPOCH_MICROS))))
        }
        Type::DATE => {
            let days = i64::from(i32::from_be_bytes(bytes.try_into().ok()?));
            let at = Value::Time(Time(days * DAY_MICROS + EPOCH_MICROS));
            Cell::Text(text_of(&cell(&at), &Type::TEXT)?.get(..10)?.into())
        }
        Type::NUMERIC => Cell::Real(numeric(bytes)?),
        Type::JSONB => Cell::Text(std::str::from_utf8(bytes.get(1..)?).ok()?.into()),
        _ if is_array(of) => array(bytes)?,
        _ => Cell::Text(std::str::from_utf8(bytes).ok()?.into()),
    })
}

const fn is_array(of: &Type) -> bool {
    matches!(
        *of,
        Type::TEXT_ARRAY
            | Type::VARCHAR_ARRAY
            | Type::INT2_ARRAY
            | Type::INT4_ARRAY
            | Type::INT8_ARRAY
            | Type::FLOAT8_ARRAY
    )
}

fn of_text(text: &str, of: &Type) -> Cell {
    let as_text = || Cell::Text(text.to_owned());
    match *of {
        Type::BOOL => Cell::Integer(is_true(text).into()),
        Type::INT2 | Type::INT4 | Type::INT8 | Type::OID => {
            text.trim().parse().map_or_else(|_| as_text(), Cell::Integer)
        }
        Type::FLOAT4 | Type::FLOAT8 | Type::NUMERIC => {
            text.trim().parse().map_or_else(|_| as_text(), Cell::Real)
        }
        Type::BYTEA => unhex(text).map_or_else(as_text, Cell::Blob),
        _ if is_array(of) => Cell::Text(Json::Array(items(text)).to_string()),
        _ => as_text(),
    }
}

/// The items of an array, be it JSON's or PostgreSQL's `{a,"b c",NULL}`; of anything else, its
/// words.
pub(super) fn items(array: &str) -> Vec<Json> {
    if let Ok(Json::Array(items)) = serde_json::from_str(array) {
        return items;
    }
    match array.strip_prefix('{').and_then(|it| it.strip_suffix('}')) {
        Some("") => Vec::new(),
        Some(inside) => parted(inside),
        None => array.split_whitespace().map(bare_item).collect(),
    }
}

fn parted(inside: &str) -> Vec<Json> {
    let (mut items, mut item) = (Vec::new(), String::new());
    let (mut in_quotes, mut was_quoted) = (false, false);
    let mut letters = inside.chars();
    while let Some(letter) = letters.next() {
        match letter {
            '\\' => item.extend(letters.next()),
            '"' => (in_quotes, was_quoted) = (!in_quotes, true),
            ',' if !in_quotes => {
                let text = std::mem::take(&mut item);
                items.push(if was_quoted { Json::from(text) } else { bare_item(&text) });
                was_quoted = false;
            }
            other => item.push(other),
        }
    }
    items.push(if was_quoted { Json::from(item) } else { bare_item(&item) });
    items
}

fn bare_item(text: &str) -> Json {
    let text = text.trim();
    if text.eq_ignore_ascii_case("null") {
        return Json::Null;
    }
    text.parse::<i64>().map_or_else(|_| Json::from(text), Json::from)
}

/// What PostgreSQL takes for true.
pub(super) fn is_true(text: &str) -> bool {
    ["t", "true", "y", "yes", "on", "1"].iter().any(|word| text.trim().eq_ignore_ascii_case(word))
}

/// The bytes of `\x00ff`.
pub(super) fn unhex(text: &str) -> Option<Vec<u8>> {
    let (pairs, rest) = text.strip_prefix("\\x")?.as_bytes().as_chunks::<2>();
    let byte = |pair: &[u8; 2]| u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok();
    rest.is_empty().then(|| pairs.iter().map(byte).collect())?
}

/// Digits to the base of 10,000, with a weight and a sign.
fn numeric(bytes: &[u8]) -> Option<f64> {
    let (words, _) = bytes.as_chunks::<2>();
    let mut words = words.iter().map(|word| i16::from_be_bytes(*word));
    let (digits, weight, sign) = (words.next()?, words.next()?, words.next()?);
    let _scale = words.next()?;
    let mut sum = 0.0;
    for (at, digit) in words.take(usize::try_from(digits).ok()?).enumerate() {
        sum += f64::from(digit) * 10_000_f64.powi(i32::from(weight) - at as i32);
    }
    Some(if sign == 0x4000 { -sum } else { sum })
}

/// A one-dimensional array of texts or numbers, as JSON.
fn array(bytes: &[u8]) -> Option<Cell> {
    let word = |at: usize| {
        let bytes: [u8; 4] = bytes.get(at..at.checked_add(4)?)?.try_into().ok()?;
        Some(i32::from_be_bytes(bytes))
    };
    let element = Type::from_oid(word(8)? as u32)?;
    let (mut items, mut at) = (Vec::new(), 20);
    let count = if word(0)? == 0 { 0 } else { word(12)? };
    for _ in 0..count {
        let length = usize::try_from(word(at)?).ok();
        at += 4;
        let Some(length) = length else {
            items.push(Json::Null);
            continue;
        };
        let item = parameter(bytes.get(at..at.checked_add(length)?)?, &element, true)?;
        at += length;
        items.push(match item {
            Cell::Integer(number) => json!(number),
            other => json!(text_of(&other, &element)?),
        });
    }
    Some(Cell::Text(Json::Array(items).to_string()))
}

/// Fields as they are described.
pub(super) fn fields(columns: &[(String, Type)], format: &Format) -> Vec<FieldInfo> {
    let field = |(at, (name, of)): (usize, &(String, Type))| {
        let format = match format {
            Format::Individual(codes) if at >= codes.len() => Format::UnifiedText.format_for(at),
            format => format.format_for(at),
        };
        let size = match *of {
            Type::BOOL | Type::CHAR => 1,
            Type::INT2 => 2,
            Type::INT4 | Type::OID => 4,
            Type::INT8 | Type::FLOAT8 | Type::TIMESTAMPTZ => 8,
            Type::NAME => 64,
            _ => -1,
        };
        FieldInfo::new(name.clone(), None, None, of.clone(), format).with_type_size(size)
    };
    columns.iter().enumerate().map(field).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_cross_both_ways() {
        let list = Value::list([Value::Int(1), Value::text("a")]);
        assert_eq!(cell(&list), Cell::Text("[1,\"a\"]".into()));
        assert_eq!(value(&cell(&list), &Type::JSON), list);
        assert_eq!(value(&Cell::Integer(1), &Type::BOOL), Value::Bool(true));
        let time = Value::Time(Time(EPOCH_MICROS + 1));
        assert_eq!(cell(&time), Cell::Text("2000-01-01 00:00:00.000001+00".into()));
        let sent = bytes_of(&cell(&time), &Type::TIMESTAMPTZ, true);
        assert_eq!(sent, Some(1_i64.to_be_bytes().to_vec()));
        assert_eq!(parameter(&1_i64.to_be_bytes(), &Type::TIMESTAMPTZ, true), Some(cell(&time)));
    }

    #[test]
    fn parameters_are_read_in_every_form() {
        let int = |bytes: &[u8], of: Type| parameter(bytes, &of, true);
        assert_eq!(int(&[0, 7], Type::INT2), Some(Cell::Integer(7)));
        assert_eq!(int(&[0, 7], Type::INT4), None);
        assert_eq!(parameter(b"TRUE", &Type::BOOL, false), Some(Cell::Integer(1)));
        assert_eq!(parameter(b"7", &Type::INT8, false), Some(Cell::Integer(7)));
        assert_eq!(parameter(b"\\x00ff", &Type::BYTEA, false), Some(Cell::Blob(vec![0, 255])));
        // -12345.67: three digits, the first of weight 1.
        let numeric = [0, 3, 0, 1, 0x40, 0, 0, 2, 0, 1, 9, 41, 26, 44];
        assert_eq!(parameter(&numeric, &Type::NUMERIC, true), Some(Cell::Real(-12345.67)));
        assert_eq!(parameter(&[0xff], &Type::TEXT, false), None);
    }

    #[test]
    fn arrays_are_read_in_either_form() {
        let mixed = [Json::from(1), Json::from("b, c"), Json::Null, Json::from("null")];
        assert_eq!(items(r#"{1,"b, c",NULL,"null"}"#), mixed);
        assert_eq!(items("[1,\"b, c\",null,\"null\"]"), mixed);
        assert_eq!(items("1 2"), [Json::from(1), Json::from(2)]);
        assert!(items("{}").is_empty());
        let sent = parameter(b"{a,b}", &Type::TEXT_ARRAY, false);
        assert_eq!(sent, Some(Cell::Text("[\"a\",\"b\"]".into())));
    }

    #[test]
    fn columns_are_typed_by_what_is_in_them() {
        let int = Cell::Integer(1);
        let text = Cell::Text("a".into());
        assert_eq!(seen([&Cell::Null, &int].into_iter()), Some(Type::INT8));
        assert_eq!(seen([&Cell::Real(0.5), &int].into_iter()), Some(Type::FLOAT8));
        assert_eq!(seen([&text, &int].into_iter()), Some(Type::TEXT));
        assert_eq!(seen([&Cell::Null].into_iter()), None);
    }
}
