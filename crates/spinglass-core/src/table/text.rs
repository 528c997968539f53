//! Texts of functions, and for how long they hold.
//!
//! A function's row has its text, if there is room; a longer one travels as an object that the row
//! names. Until that is here, the version before it stays in force. A row may also say for how long
//! it holds from its issue on: then it lapses, everywhere, by each agent's own clock, and only ever
//! that way: no clock makes a function hold for longer.

use alloc::collections::{BTreeMap, BTreeSet};
use alloc::sync::Arc;
use core::time::Duration;

use spinglass_summary::{Function, Name, Row, RowBuilder, Value};

use super::functions::name_id;
use super::row::{RowKey, TableRow};
use crate::object::ObjectName;

/// Its text.
const SQL: &str = "sql";
/// The object that is its text.
const OBJECT: &str = "object";
/// Milliseconds for which it holds from its issue on.
const LASTS_MS: &str = "lasts_ms";

/// A function to install.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NewFunction<'a> {
    /// Its text, at most [`Function::SQL_BYTES_MAX`] bytes.
    pub sql: &'a str,
    /// For how long it holds, in whole milliseconds; `None`: until it is removed or replaced.
    pub lasts: Option<Duration>,
}

impl<'a> From<&'a str> for NewFunction<'a> {
    /// The function of this text, which holds until it is removed.
    fn from(sql: &'a str) -> Self {
        Self { sql, lasts: None }
    }
}

impl NewFunction<'_> {
    /// The attributes of its row, with its text in them, or else the object that is its text.
    pub(super) fn attributes(&self, name: &str, object: Option<ObjectName>) -> Row {
        let mut builder = RowBuilder::default();
        let legal = |name| Name::new(name).expect("a legal name");
        builder.set(name_id(), Value::text(name));
        match object {
            Some(object) => builder.set(legal(OBJECT), object.to_value()),
            None => builder.set(legal(SQL), Value::text(self.sql)),
        }
        if let Some(lasts) = self.lasts {
            let lasts = i64::try_from(lasts.as_millis()).unwrap_or(i64::MAX);
            builder.set(legal(LASTS_MS), Value::Int(lasts));
        }
        builder.build()
    }
}

/// What a function's row says: its text, or where that is, and until when it holds.
#[derive(Debug, Clone, Default)]
pub(super) struct Terms {
    /// The function, if its text is in the row and this build understands it.
    pub(super) function: Option<Function>,
    pub(super) object: Option<ObjectName>,
    /// By the wall clock.
    pub(super) lapses_ms: Option<u64>,
}

impl Terms {
    pub(super) fn of(attributes: &Row, issued_ms: u64) -> Self {
        let sql = attributes.get(SQL).and_then(Value::as_text);
        let object = attributes.get(OBJECT).and_then(ObjectName::of_value);
        Self {
            function: sql.and_then(|sql| Function::parse(sql).ok()),
            object: object.filter(|object| object.bytes() <= Function::SQL_BYTES_MAX),
            lapses_ms: lapses_ms(attributes, issued_ms),
        }
    }
}

impl Terms {
    /// An order has no text, but may lapse.
    pub(super) fn of_order(attributes: &Row, issued_ms: u64) -> Self {
        Self { lapses_ms: lapses_ms(attributes, issued_ms), ..Self::default() }
    }
}

/// When a function or an order lapses; what is no length of time lapses at once.
pub(super) fn lapses_ms(attributes: &Row, issued_ms: u64) -> Option<u64> {
    let lasts = attributes.get(LASTS_MS)?.as_int().and_then(|lasts| u64::try_from(lasts).ok());
    Some(issued_ms.saturating_add(lasts.unwrap_or(0)))
}

/// The texts that came as objects, and what holds until they come.
#[derive(Debug, Default)]
pub(super) struct Texts {
    /// By object; none: it is no function.
    known: BTreeMap<ObjectName, Option<Function>>,
    /// Of lines whose newest text is not here yet, the newest row whose text is.
    before: BTreeMap<RowKey, Arc<TableRow>>,
}

impl Texts {
    /// The row and the function that hold for a line whose newest row is `row`.
    pub(super) fn in_force<'a>(
        &'a self,
        row: &'a Arc<TableRow>,
    ) -> Option<(&'a Arc<TableRow>, &'a Function)> {
        let row = if self.awaits(row) { self.before.get(&row.key())? } else { row };
        Some((row, self.function(row)?))
    }

    fn function<'a>(&'a self, row: &'a TableRow) -> Option<&'a Function> {
        row.function().or_else(|| self.known.get(&row.object()?)?.as_ref())
    }

    /// Whether a row's text is not here yet.
    pub(super) fn awaits(&self, row: &TableRow) -> bool {
        !row.is_removed() && row.object().is_some_and(|object| !self.known.contains_key(&object))
    }

    /// A function's row took another's place.
    pub(super) fn on_replaced(&mut self, older: Arc<TableRow>, newer: &TableRow) {
        if !self.awaits(newer) {
            self.before.remove(&newer.key());
        } else if self.function(&older).is_some() {
            self.before.insert(newer.key(), older);
        }
    }

    pub(super) fn learn(&mut self, object: ObjectName, function: Option<Function>) {
        self.known.insert(object, function);
    }

    /// Forgets whatever no row in `rows`, those of all functions held, has a use for.
    pub(super) fn prune<'a>(
        &mut self,
        rows: impl Iterator<Item = &'a Arc<TableRow>>,
        wall_ms: u64,
    ) {
        let (mut lines, mut objects) = (BTreeSet::new(), BTreeSet::new());
        for row in rows {
            objects.extend(row.object());
            if self.awaits(row) {
                lines.insert(row.key());
            }
        }
        self.before.retain(|key, row| lines.contains(key) && !row.has_lapsed(wall_ms));
        objects.extend(self.before.values().filter_map(|row| row.object()));
        self.known.retain(|object, _| objects.contains(object));
    }

    /// Objects of rows that are in force only because the newer ones' are not here.
    pub(super) fn objects_before(&self) -> impl Iterator<Item = ObjectName> {
        self.before.values().filter_map(|row| row.object())
    }
}
