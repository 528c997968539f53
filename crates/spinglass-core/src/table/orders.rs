//! The table's part in orders: rows of the root's table that tell everybody what to do.

use alloc::sync::Arc;
use alloc::vec::Vec;

use spinglass_summary::Row;

use super::level::Level;
use super::path::ZonePath;
use super::row::{Kind, TableRow};
use super::{SetError, Table, TableCx};
use crate::id::MemberId;
use crate::object::ObjectName;
use crate::orders::{List, ORDERS_MAX, Order};

impl Table {
    /// Every order held, lifted and lapsed ones included.
    pub fn orders(&self) -> impl Iterator<Item = &Arc<TableRow>> {
        self.levels.iter().take(1).flat_map(Level::orders)
    }

    /// Lists of revocations that orders name, and that have no room in them.
    pub(crate) fn lists(&self) -> impl Iterator<Item = ObjectName> {
        let orders = self.orders().filter(|row| !row.is_removed());
        orders.filter_map(|row| match Order::of(row.attributes()) {
            Some(Order::Revoke(List::Object(object))) => Some(object),
            _ => None,
        })
    }

    /// Orders that came since the last time.
    pub(crate) fn take_orders(&mut self) -> Vec<Arc<TableRow>> {
        core::mem::take(&mut self.orders)
    }

    /// Whether an order of this name may be taken in: there are few kinds of them.
    pub(super) fn has_room_for_order(&self, name: &str) -> bool {
        self.orders().count() < ORDERS_MAX || self.orders().any(|row| row.name() == name)
    }

    /// Issues an order's row; with no attributes, its last one.
    ///
    /// # Errors
    /// The row is too large, or the table full.
    pub(crate) fn issue_order(
        &mut self,
        name: &str,
        attributes: Option<Row>,
        cx: &mut TableCx<'_>,
    ) -> Result<Arc<TableRow>, SetError> {
        if !self.has_room_for_order(name) {
            return Err(SetError::Closed);
        }
        self.issue_named(Kind::Order, &ZonePath::root(), name, attributes, cx)
    }

    /// Drops whatever these members issued.
    pub(crate) fn shun(&mut self, members: &[MemberId]) {
        let levels = self.levels.iter_mut();
        let dropped: Vec<_> = levels.flat_map(|level| level.take_issued_by(members)).collect();
        self.note_gone(&dropped);
    }
}
