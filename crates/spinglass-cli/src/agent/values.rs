//! Values as people write and read them, and as JSON.

use anyhow::{Context as _, Result, ensure};
use serde_json::Value as Json;
use spinglass::Value;
use spinglass_doors::json::of_json;

use super::protocol::Wire;

/// Reads `NAME=VALUE`.
pub(crate) fn assignment(text: &str) -> Result<(String, Value)> {
    let (name, value) = text.split_once('=').context("write NAME=VALUE")?;
    Ok((name.into(), parse(value)?))
}

/// A value as it is typed: `null`, `true`, a number, a JSON list of values; all else is text.
pub(super) fn parse(text: &str) -> Result<Value> {
    if text.starts_with('[') {
        let json = serde_json::from_str(text).context("a list is written as in JSON")?;
        return Ok(of_json(&json)?);
    }
    if let Ok(number) = text.parse::<i64>() {
        return Ok(Value::Int(number));
    }
    let is_number =
        text.chars().next().is_some_and(|first| first.is_ascii_digit() || "+-.".contains(first));
    match text.parse::<f64>() {
        Ok(number) if is_number => return Ok(Value::float(number)),
        _ => (),
    }
    Ok(match text.to_ascii_lowercase().as_str() {
        "null" => Value::Null,
        "true" => Value::Bool(true),
        "false" => Value::Bool(false),
        _ => Value::text(text),
    })
}

/// A value for people: text without quotes, lists by spaces.
pub(crate) fn shown(json: &Json) -> String {
    match json {
        Json::Null => "-".into(),
        Json::String(text) => text.clone(),
        Json::Array(items) => items.iter().map(shown).collect::<Vec<_>>().join(" "),
        other => other.to_string(),
    }
}

impl Wire {
    pub(super) fn of(value: &Value) -> Self {
        let mut bytes = Vec::new();
        value.encode(&mut bytes);
        Self(bytes.iter().map(|byte| format!("{byte:02x}")).collect())
    }

    pub(super) fn value(&self) -> Result<Value> {
        let (pairs, rest) = self.0.as_bytes().as_chunks::<2>();
        ensure!(rest.is_empty(), "a value in hex has two digits a byte");
        let byte = |pair: &[u8; 2]| -> Result<u8> {
            Ok(u8::from_str_radix(std::str::from_utf8(pair)?, 16)?)
        };
        let bytes = pairs.iter().map(byte).collect::<Result<Vec<u8>>>()?;
        let mut rest = bytes.as_slice();
        let value = Value::decode(&mut rest).ok().context("these bytes are no value")?;
        ensure!(rest.is_empty(), "these bytes are more than a value");
        Ok(value)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_read_as_they_are_meant() -> Result<()> {
        assert_eq!(parse("3")?, Value::Int(3));
        assert_eq!(parse("-0.5")?, Value::float(-0.5));
        assert_eq!(parse("TRUE")?, Value::Bool(true));
        assert_eq!(parse("null")?, Value::Null);
        assert_eq!(parse("nan")?, Value::text("nan"));
        assert_eq!(parse("ithaca, NY")?, Value::text("ithaca, NY"));
        assert_eq!(parse(r#"[1, "a"]"#)?, Value::list([Value::Int(1), Value::text("a")]));
        assert!(parse("[1, ").is_err());
        Ok(())
    }

    #[test]
    fn values_cross_the_socket_whole() -> Result<()> {
        for value in [Value::Null, Value::float(f64::NAN), Value::bytes(&[0, 255])] {
            assert_eq!(Wire::of(&value).value()?, value);
        }
        assert!(Wire("0".into()).value().is_err() && Wire("zz".into()).value().is_err());
        Ok(())
    }
}
