//! What of the table concerns objects: who may have one, which ones are in use, and the texts of
//! functions that are objects.

use alloc::collections::BTreeSet;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::net::SocketAddr;

use spinglass_summary::{Function, Value};

use super::Table;
use super::gossip::GONE_MAX;
use super::level::Level;
use super::row::{RowKey, TableRow, Version};
use crate::object::ObjectName;
use crate::rng::Prng;

impl Table {
    /// A few agents that may have an object, drawn anew each time: one whose row names it, or who
    /// speaks for a zone whose row does; one of the own region; one beside the path.
    pub(crate) fn choose_holders(&self, name: &ObjectName, rng: &mut Prng) -> Vec<SocketAddr> {
        let rows = || self.levels.iter().flat_map(Level::children).map(|line| &line.row);
        let naming = rows().filter(|row| names(row, name)).flat_map(|row| row.contacts());
        let region = self.agents().flat_map(|row| row.contacts());
        let beside = rows().flat_map(|row| row.contacts());
        let mut drawn = BTreeSet::new();
        drawn.extend(self.choose_other(naming, rng));
        drawn.extend(self.choose_other(region, rng));
        drawn.extend(self.choose_other(beside, rng));
        drawn.into_iter().collect()
    }

    fn choose_other<'a>(
        &self,
        from: impl Iterator<Item = &'a SocketAddr>,
        rng: &mut Prng,
    ) -> Option<SocketAddr> {
        let others: Vec<_> = from.filter(|address| **address != self.address).collect();
        others.get(rng.index(others.len())).map(|address| **address)
    }

    /// Objects that the own row or a function names: they are kept.
    pub(crate) fn objects_in_use(&self) -> BTreeSet<ObjectName> {
        let own = self.attributes.iter().flat_map(|(_, value)| named_by(value));
        let functions = self.function_rows().filter_map(|row| row.object());
        let before = self.summaries.texts().objects_before();
        let orders = self.order_objects().map(|(_, object)| object);
        own.chain(functions).chain(before).chain(orders).collect()
    }

    /// Texts of functions that are not here.
    pub(crate) fn texts_awaited(&self) -> BTreeSet<ObjectName> {
        let awaited = self.function_rows().filter(|row| self.summaries.texts().awaits(row));
        awaited.filter_map(|row| row.object()).collect()
    }

    /// Takes in an object that may be the text of a function.
    pub(crate) fn on_object(&mut self, name: ObjectName, bytes: &[u8]) {
        let is_awaited = name.bytes() <= Function::SQL_BYTES_MAX
            && self.function_rows().any(|row| row.object() == Some(name));
        if is_awaited {
            let sql = core::str::from_utf8(bytes).ok();
            let function = sql.and_then(|sql| Function::parse(sql).ok());
            self.summaries.texts_mut().learn(name, function);
            self.revision += 1;
        }
    }

    /// Drops the functions whose time is over: they hold no longer, and are not passed on.
    pub(super) fn drop_lapsed(&mut self, wall_ms: u64) {
        let forget = self.round.saturating_add(self.config.gone_rounds);
        for level in &mut self.levels {
            let lapsed = level.functions().filter(|row| row.has_lapsed(wall_ms));
            let lapsed: Vec<(RowKey, Version)> =
                lapsed.map(|row| (row.key(), row.version())).collect();
            self.revision += lapsed.len() as u64;
            for (key, last) in lapsed {
                level.remove(key, last, forget, GONE_MAX);
            }
        }
        let rows = self.levels.iter().flat_map(Level::functions);
        self.summaries.texts_mut().prune(rows, wall_ms);
    }

    fn function_rows(&self) -> impl Iterator<Item = &Arc<TableRow>> {
        self.levels.iter().flat_map(Level::functions)
    }
}

fn names(row: &TableRow, object: &ObjectName) -> bool {
    row.attributes().iter().flat_map(|(_, value)| named_by(value)).any(|name| name == *object)
}

/// The objects that a value names: itself, or the items of a list.
fn named_by(value: &Value) -> impl Iterator<Item = ObjectName> {
    let items = value.as_list().unwrap_or(&[]).iter().filter_map(ObjectName::of_value);
    ObjectName::of_value(value).into_iter().chain(items)
}
