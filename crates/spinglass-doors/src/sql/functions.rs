//! Functions that PostgreSQL's clients call and SQLite lacks, and those that change something.

use std::sync::Arc;
use std::time::Duration;

use regex_lite::RegexBuilder;
use rusqlite::functions::{Context, FunctionFlags};
use rusqlite::types::{Value as Cell, ValueRef};
use rusqlite::{Connection, Error, Result};
use serde_json::Value as Json;
use spinglass::{NewFunction, ZonePath};

use super::catalogue::{self, oid_of_table, table_of_oid, type_name, type_oid};
use super::types::{is_true, items, unhex};
use super::vtab::Desk;

/// The version that clients are told: what they do depends on it.
pub(super) const SERVER_VERSION: &str = "16.6";
/// Bytes of a compiled regular expression.
const REGEX_BYTES_MAX: usize = 1 << 18;
/// The name of the database, and of the schema with the tables.
pub(super) const DATABASE: &str = "spinglass";
pub(super) const SCHEMA: &str = "public";

/// Functions that say the same whatever they are asked, or NULL.
const ANSWERS: [(&str, i32, Option<&str>); 35] = [
    ("current_catalog", 0, Some(DATABASE)),
    ("current_database", 0, Some(DATABASE)),
    ("current_schema", 0, Some(SCHEMA)),
    ("pg_encoding_to_char", 1, Some("UTF8")),
    ("pg_client_encoding", 0, Some("UTF8")),
    ("getdatabaseencoding", 0, Some("UTF8")),
    ("pg_get_userbyid", 1, Some(DATABASE)),
    ("pg_get_expr", 2, None),
    ("pg_get_expr", 3, None),
    ("pg_get_constraintdef", 1, None),
    ("pg_get_constraintdef", 2, None),
    ("pg_get_indexdef", 1, None),
    ("pg_get_indexdef", 3, None),
    ("pg_get_viewdef", 1, None),
    ("pg_get_viewdef", 2, None),
    ("pg_get_triggerdef", 1, None),
    ("pg_get_triggerdef", 2, None),
    ("pg_get_ruledef", 1, None),
    ("pg_get_ruledef", 2, None),
    ("pg_get_functiondef", 1, None),
    ("pg_get_function_result", 1, None),
    ("pg_get_function_arguments", 1, None),
    ("pg_get_function_identity_arguments", 1, None),
    ("pg_get_statisticsobjdef_columns", 1, None),
    ("pg_get_partkeydef", 1, None),
    ("pg_get_serial_sequence", 2, None),
    ("col_description", 2, None),
    ("obj_description", 1, None),
    ("obj_description", 2, None),
    ("shobj_description", 2, None),
    ("pg_tablespace_location", 1, Some("")),
    ("inet_server_addr", 0, None),
    ("inet_client_addr", 0, None),
    ("pg_my_temp_schema", 0, None),
    ("txid_current_if_assigned", 0, None),
];
/// Functions of which the answer is a number.
const NUMBERS: [(&str, i32, i64); 30] = [
    ("pg_table_is_visible", 1, 1),
    ("pg_type_is_visible", 1, 1),
    ("pg_function_is_visible", 1, 1),
    ("pg_operator_is_visible", 1, 1),
    ("pg_opclass_is_visible", 1, 1),
    ("pg_collation_is_visible", 1, 1),
    ("pg_conversion_is_visible", 1, 1),
    ("pg_statistics_obj_is_visible", 1, 1),
    ("pg_ts_config_is_visible", 1, 1),
    ("has_table_privilege", 2, 1),
    ("has_table_privilege", 3, 1),
    ("has_column_privilege", 3, 1),
    ("has_column_privilege", 4, 1),
    ("has_any_column_privilege", 2, 1),
    ("has_schema_privilege", 2, 1),
    ("has_schema_privilege", 3, 1),
    ("has_database_privilege", 2, 1),
    ("has_database_privilege", 3, 1),
    ("has_function_privilege", 2, 1),
    ("has_sequence_privilege", 2, 1),
    ("pg_has_role", 2, 1),
    ("pg_is_in_recovery", 0, 0),
    ("pg_is_other_temp_schema", 1, 0),
    ("pg_advisory_unlock_all", 0, 0),
    ("pg_relation_size", 1, 0),
    ("pg_table_size", 1, 0),
    ("pg_total_relation_size", 1, 0),
    ("pg_database_size", 1, 0),
    ("pg_relation_is_publishable", 1, 0),
    ("inet_server_port", 0, 0),
];

/// Makes all functions known.
pub(super) fn load(connection: &Connection, desk: &Arc<Desk>) -> Result<()> {
    let flags = FunctionFlags::SQLITE_UTF8 | FunctionFlags::SQLITE_DETERMINISTIC;
    for (name, arguments, answer) in ANSWERS {
        connection.create_scalar_function(name, arguments, flags, move |_| Ok(answer))?;
    }
    for (name, arguments, answer) in NUMBERS {
        connection.create_scalar_function(name, arguments, flags, move |_| Ok(answer))?;
    }
    about_the_server(connection, flags)?;
    about_names(connection, flags, desk)?;
    about_texts(connection, flags)?;
    about_values(connection, flags)?;
    changes(connection, desk)
}

fn about_the_server(connection: &Connection, flags: FunctionFlags) -> Result<()> {
    connection.create_scalar_function("version", 0, flags, |_| {
        let version = env!("CARGO_PKG_VERSION");
        Ok(format!("PostgreSQL {SERVER_VERSION} (Spinglass {version})"))
    })?;
    for name in ["current_user", "session_user"] {
        connection.create_scalar_function(name, 0, flags, |_| Ok(DATABASE))?;
    }
    connection.create_scalar_function("pg_backend_pid", 0, flags, |_| {
        Ok(i64::from(std::process::id()))
    })?;
    connection.create_scalar_function("current_schemas", 1, flags, |_| {
        Ok(r#"["pg_catalog","public"]"#)
    })?;
    connection.create_scalar_function("current_setting", 1, flags, |context| {
        Ok(catalogue::setting(&context.get::<String>(0)?))
    })?;
    connection.create_scalar_function("current_setting", 2, flags, |context| {
        Ok(catalogue::setting(&context.get::<String>(0)?))
    })?;
    connection
        .create_scalar_function("set_config", 3, flags, |context| context.get::<Option<String>>(1))
}

/// Names and numbers of tables and types.
fn about_names(connection: &Connection, flags: FunctionFlags, desk: &Arc<Desk>) -> Result<()> {
    for (name, is_strict) in [("pg_regclass", true), ("to_regclass", false)] {
        let desk = Arc::clone(desk);
        connection.create_scalar_function(name, 1, flags, move |context| {
            let shapes = Arc::clone(&desk.run().shapes);
            Ok(match context.get_raw(0) {
                ValueRef::Integer(oid) => {
                    let table = table_of_oid(&shapes, oid);
                    Cell::Text(table.map_or_else(|| oid.to_string(), str::to_owned))
                }
                ValueRef::Text(text) => {
                    let text = String::from_utf8_lossy(text);
                    match oid_of_table(&shapes, &text) {
                        Some(oid) => Cell::Integer(oid),
                        None if is_strict => {
                            return Err(user(format!("relation \"{text}\" does not exist")));
                        }
                        None => Cell::Null,
                    }
                }
                _ => Cell::Null,
            })
        })?;
    }
    for name in ["pg_regtype", "to_regtype"] {
        connection.create_scalar_function(name, 1, flags, |context| {
            Ok(match context.get_raw(0) {
                ValueRef::Integer(oid) => Cell::Text(type_name(oid)),
                ValueRef::Text(text) => {
                    let text = String::from_utf8_lossy(text);
                    type_oid(&text).map_or(Cell::Null, Cell::Integer)
                }
                _ => Cell::Null,
            })
        })?;
    }
    connection.create_scalar_function("format_type", 2, flags, |context| {
        Ok(context.get::<Option<i64>>(0)?.map(type_name))
    })?;
    for name in ["pg_regproc", "pg_regnamespace", "pg_regrole"] {
        connection.create_scalar_function(name, 1, flags, |context| context.get::<Cell>(0))?;
    }
    Ok(())
}

fn about_texts(connection: &Connection, flags: FunctionFlags) -> Result<()> {
    connection.create_scalar_function("regexp", 2, flags, |context| {
        let (Some(pattern), Some(text)) = (text(context, 0), text(context, 1)) else {
            return Ok(None);
        };
        let regex = RegexBuilder::new(&pattern).size_limit(REGEX_BYTES_MAX).build();
        let regex = regex.map_err(|error| Error::UserFunctionError(error.into()))?;
        Ok(Some(regex.is_match(&text)))
    })?;
    // `x ILIKE y`: SQLite's LIKE pays no heed to case unless it is told to, as it has been here.
    connection.create_scalar_function("match", 2, flags, |context| {
        let (Some(pattern), Some(text)) = (text(context, 0), text(context, 1)) else {
            return Ok(None);
        };
        Ok(Some(is_like(&pattern.to_lowercase(), &text.to_lowercase())))
    })?;
    connection.create_scalar_function("quote_ident", 1, flags, |context| {
        let name = text(context, 0).unwrap_or_default();
        let plain = name.bytes().all(|it| it.is_ascii_lowercase() || it == b'_');
        Ok(if plain { name } else { super::lexer::quoted_name(&name) })
    })?;
    connection.create_scalar_function("quote_literal", 1, flags, |context| {
        Ok(text(context, 0).map(|text| super::lexer::quoted(&text)))
    })?;
    connection.create_scalar_function("split_part", 3, flags, |context| {
        let (text, by) = (text(context, 0).unwrap_or_default(), text(context, 1));
        let at = usize::try_from(context.get::<i64>(2)?).unwrap_or(0);
        let by = by.filter(|by| !by.is_empty());
        let part = by.and_then(|by| text.split(&by).nth(at.checked_sub(1)?).map(str::to_owned));
        Ok(part.unwrap_or_default())
    })?;
    connection.create_scalar_function("strpos", 2, flags, |context| {
        let (text, what) = (text(context, 0).unwrap_or_default(), text(context, 1));
        let found = what.and_then(|what| text.find(&what));
        Ok(found.map_or(0, |at| text.get(..at).map_or(0, |it| it.chars().count() as i64 + 1)))
    })?;
    connection.create_scalar_function("array_to_string", 2, flags, |context| {
        let items = items(&text(context, 0).unwrap_or_default());
        let texts: Vec<String> = items.iter().map(plain).collect();
        Ok(texts.join(&text(context, 1).unwrap_or_default()))
    })
}

fn about_values(connection: &Connection, flags: FunctionFlags) -> Result<()> {
    connection.create_scalar_function("pg_array", 1, flags, |context| {
        Ok(text(context, 0).map(|text| Json::Array(items(&text)).to_string()))
    })?;
    connection.create_scalar_function("pg_item", 2, flags, |context| {
        let items = items(&text(context, 0).unwrap_or_default());
        let at = usize::try_from(context.get::<i64>(1)?).ok().and_then(|at| at.checked_sub(1));
        Ok(at.and_then(|at| items.get(at)).map(plain))
    })?;
    for name in ["array_length", "array_upper", "cardinality"] {
        connection.create_scalar_function(name, -1, flags, |context| {
            let count = items(&text(context, 0).unwrap_or_default()).len();
            Ok(Some(count as i64).filter(|count| *count > 0))
        })?;
    }
    connection.create_scalar_function("array_lower", 2, flags, |_| Ok(1))?;
    for name in ["pg_bool", "pg_boolean"] {
        connection.create_scalar_function(name, 1, flags, |context| {
            Ok(match context.get_raw(0) {
                ValueRef::Null => None,
                ValueRef::Text(text) => Some(is_true(&String::from_utf8_lossy(text))),
                ValueRef::Real(number) => Some(number != 0.0),
                ValueRef::Integer(number) => Some(number != 0),
                ValueRef::Blob(_) => Some(false),
            })
        })?;
    }
    connection.create_scalar_function("pg_bytea", 1, flags, |context| {
        let cell: Cell = context.get(0)?;
        Ok(match &cell {
            Cell::Text(text) => Cell::Blob(unhex(text).unwrap_or_else(|| text.clone().into())),
            _ => cell,
        })
    })
}

/// Functions for administrators. They do nothing while a statement is only described.
fn changes(connection: &Connection, desk: &Arc<Desk>) -> Result<()> {
    let flags = FunctionFlags::SQLITE_UTF8 | FunctionFlags::SQLITE_DIRECTONLY;
    for arguments in [3, 4] {
        let desk = Arc::clone(desk);
        connection.create_scalar_function("summary_install", arguments, flags, move |context| {
            let texts = (text(context, 0), text(context, 1), text(context, 2));
            let (Some(zone), Some(name), Some(sql)) = texts else {
                return Err(user("summary_install(zone, name, sql [, seconds]) takes no NULL"));
            };
            let seconds = if arguments == 4 { context.get::<Option<i64>>(3)? } else { None };
            let seconds = seconds.map(|it| u64::try_from(it).unwrap_or(0));
            let lasts = seconds.map(Duration::from_secs);
            let table = changeable(&desk)?;
            let zone = ZonePath::parse(&zone).map_err(user)?;
            let function = NewFunction { sql: &sql, lasts };
            desk.live.wait(table.install(&zone, &name, function)).map_err(user)?;
            Ok("installed")
        })?;
    }
    let at = Arc::clone(desk);
    connection.create_scalar_function("summary_remove", 2, flags, move |context| {
        let (Some(zone), Some(name)) = (text(context, 0), text(context, 1)) else {
            return Err(user("summary_remove(zone, name) takes no NULL"));
        };
        let table = changeable(&at)?;
        let zone = ZonePath::parse(&zone).map_err(user)?;
        at.live.wait(table.remove(&zone, &name)).map_err(user)?;
        Ok("removed")
    })?;
    let at = Arc::clone(desk);
    connection.create_scalar_function("pg_notify", 2, flags, move |context| {
        let Some(topic) = text(context, 0) else {
            return Err(user("pg_notify(topic, payload) takes no NULL for a topic"));
        };
        changeable(&at)?;
        let payload = text(context, 1).unwrap_or_default();
        at.live.wait(at.live.publish(&topic, payload)).map_err(user)?;
        Ok("")
    })
}

fn changeable(desk: &Desk) -> Result<spinglass::Table> {
    let mut run = desk.run();
    if !run.may_change {
        return Err(user(super::READ_ONLY));
    }
    run.has_changed = true;
    drop(run);
    Ok(desk.live.node().map_err(user)?.table())
}

fn user(error: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Error {
    Error::UserFunctionError(error.into())
}

fn text(context: &Context<'_>, at: usize) -> Option<String> {
    Some(match context.get_raw(at) {
        ValueRef::Null => return None,
        ValueRef::Integer(number) => number.to_string(),
        ValueRef::Real(number) => number.to_string(),
        ValueRef::Text(text) | ValueRef::Blob(text) => String::from_utf8_lossy(text).into_owned(),
    })
}

fn plain(json: &Json) -> String {
    match json {
        Json::String(text) => text.clone(),
        Json::Null => String::new(),
        other => other.to_string(),
    }
}

/// LIKE, in steps that grow with the text's and the pattern's length only: `%` is tried again from
/// the next place.
fn is_like(pattern: &str, text: &str) -> bool {
    let (pattern, text): (Vec<char>, Vec<char>) =
        (pattern.chars().collect(), text.chars().collect());
    let (mut at, mut to, mut again) = (0, 0, None);
    while to < text.len() {
        let here = pattern.get(at);
        if here == Some(&'%') {
            again = Some((at, to));
            at += 1;
        } else if here.is_some_and(|it| *it == '_' || text.get(to) == Some(it)) {
            (at, to) = (at + 1, to + 1);
        } else if let Some((percent, from)) = again {
            (at, to) = (percent + 1, from + 1);
            again = Some((percent, from + 1));
        } else {
            return false;
        }
    }
    pattern.iter().skip(at).all(|it| *it == '%')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_match_as_in_sql() {
        assert!(is_like("a%c", "abbc") && is_like("%", "") && is_like("_b%", "abc"));
        assert!(!is_like("a%c", "abb") && !is_like("_", "") && !is_like("a", "ab"));
        let (pattern, text) = ("%a".repeat(40), "a".repeat(39) + "b");
        assert!(!is_like(&pattern, &text));
    }
}
