//! The table's part in orders: rows of the root's table that tell everybody what to do.

use alloc::sync::Arc;
use alloc::vec::Vec;

use spinglass_summary::Row;

use super::level::{Level, Line};
use super::path::ZonePath;
use super::row::{Kind, TableRow};
use super::{SetError, Table, TableCx};
use crate::id::MemberId;
use crate::object::ObjectName;
use crate::orders::{Body, ORDERS_MAX, Order};

impl Table {
    /// Every order held, lifted and lapsed ones included.
    pub fn orders(&self) -> impl Iterator<Item = &Arc<TableRow>> {
        self.levels.iter().take(1).flat_map(Level::orders)
    }

    /// Orders with a list of revocations or rules that have no room in them, and what these are
    /// called.
    pub(crate) fn order_objects(&self) -> impl Iterator<Item = (Order, ObjectName)> {
        let orders = self.orders().filter(|row| !row.is_removed());
        orders.filter_map(|row| {
            let order = Order::of(row.attributes())?;
            let object = match &order {
                Order::Revoke(Body::Object(object)) | Order::Rules(Body::Object(object)) => *object,
                _ => return None,
            };
            Some((order, object))
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
        let is_theirs = |line: &Line| members.contains(&line.row.member());
        let dropped: Vec<_> = levels.flat_map(|level| level.take(is_theirs)).collect();
        self.note_gone(&dropped);
    }

    /// Forgets what was signed up to this moment, by the clocks of those who signed, and takes
    /// nothing of it in any more, but for orders.
    ///
    /// Functions go at once. Rows of agents and zones say who is there: they stay until those who
    /// live sign them anew, which they do now, or are dropped as silent.
    pub(crate) fn clear(&mut self, until_ms: u64) {
        if until_ms <= self.cleared_ms {
            return;
        }
        self.cleared_ms = until_ms;
        self.own_changed = true;
        let is_old =
            |line: &Line| line.row.kind() == Kind::Function && line.row.issued_ms() <= until_ms;
        let levels = self.levels.iter_mut();
        let dropped: Vec<_> = levels.flat_map(|level| level.take(is_old)).collect();
        self.note_gone(&dropped);
    }

    /// Whether a row is of before the last clearing, and no order.
    pub(super) fn is_cleared(&self, kind: Kind, issued_ms: u64) -> bool {
        kind != Kind::Order && issued_ms <= self.cleared_ms
    }

    /// What a row that is signed now says of its time: after the last clearing, even where the
    /// clock is behind.
    pub(super) fn issue_ms(&self, cx: &TableCx<'_>) -> u64 {
        cx.wall_ms.max(self.cleared_ms.saturating_add(1))
    }
}
