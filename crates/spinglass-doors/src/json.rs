//! Values of the table as JSON has them.

use serde_json::{Map, Value as Json};
use spinglass::{Row, Value};

/// What JSON has and a value can't be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a value is null, true, false, a number, text or a list of these")]
pub struct NoValue;

/// A value for programs. Times are ISO 8601, bytes hexadecimal, numbers that JSON lacks text.
#[must_use]
pub fn to_json(value: &Value) -> Json {
    match value {
        Value::Null => Json::Null,
        Value::Bool(truth) => Json::Bool(*truth),
        Value::Int(number) => Json::from(*number),
        Value::Float(number) => {
            let number = number.get();
            serde_json::Number::from_f64(number)
                .map_or_else(|| Json::String(number.to_string()), Json::Number)
        }
        Value::Text(text) => Json::from(&**text),
        Value::List(items) => Json::Array(items.iter().map(to_json).collect()),
        Value::Time(_) | Value::Bytes(_) => Json::String(value.to_string()),
    }
}

/// A row's attributes, by name.
#[must_use]
pub fn row_to_json(row: &Row) -> Map<String, Json> {
    row.iter().map(|(name, value)| (name.as_str().to_owned(), to_json(value))).collect()
}

/// The value that JSON tells.
///
/// # Errors
/// It is an object, or has one in it, or a number too large for any.
pub fn of_json(json: &Json) -> Result<Value, NoValue> {
    Ok(match json {
        Json::Null => Value::Null,
        Json::Bool(truth) => Value::Bool(*truth),
        Json::Number(number) => match (number.as_i64(), number.as_f64()) {
            (Some(number), _) => Value::Int(number),
            (None, Some(number)) => Value::float(number),
            (None, None) => return Err(NoValue),
        },
        Json::String(text) => Value::text(text),
        Json::Array(items) => {
            Value::list(items.iter().map(of_json).collect::<Result<Vec<_>, _>>()?)
        }
        Json::Object(_) => return Err(NoValue),
    })
}
