//! The handle to orders: what somebody with the right to do so has everybody do.

use std::sync::Arc;

use spinglass_core::MemberId;
use spinglass_core::orders::{NewOrder, Order};
use spinglass_core::table::TableRow;
use tokio::sync::oneshot;

use crate::clock::wall;
use crate::error::{Closed, OrderError};
use crate::inbox::Command;
use crate::node::Shared;

/// Orders to everybody: new link keys, revocations, quarantines, the way that packets go.
#[derive(Debug, Clone)]
pub struct Orders {
    shared: Arc<Shared>,
}

/// An order in force.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StandingOrder {
    /// Its name.
    pub name: String,
    /// What it says.
    pub order: Order,
    /// Who gave it.
    pub given_by: MemberId,
    /// When, by that member's clock, in milliseconds since 1970.
    pub given_ms: u64,
    /// When it lapses, in the same; none: when it is lifted or replaced.
    pub lapses_ms: Option<u64>,
}

impl StandingOrder {
    fn of(row: &TableRow, now_ms: u64) -> Option<Self> {
        if row.is_removed() || row.has_lapsed(now_ms) {
            return None;
        }
        Some(Self {
            name: row.name().into(),
            order: Order::of(row.attributes())?,
            given_by: row.member(),
            given_ms: row.issued_ms(),
            lapses_ms: row.lapses_ms(),
        })
    }
}

impl Orders {
    pub(crate) const fn new(shared: Arc<Shared>) -> Self {
        Self { shared }
    }

    /// Gives everybody an order. It is everywhere within some seconds.
    ///
    /// # Errors
    /// This member has no right to, the order makes no sense just now, or the node is gone; nothing
    /// changed.
    pub async fn give(&self, order: NewOrder) -> Result<(), OrderError> {
        let (answer, outcome) = oneshot::channel();
        let command = Command::Order { order, answer };
        self.shared.inbox.command(command).map_err(|_| OrderError::Closed)?;
        Ok(outcome.await.map_err(|_| OrderError::Closed)??)
    }

    /// The orders in force, as this member knows them, by name.
    ///
    /// # Errors
    /// The node is gone.
    pub async fn list(&self) -> Result<Vec<StandingOrder>, Closed> {
        let now_ms = u64::try_from(wall().as_millis()).unwrap_or(u64::MAX);
        self.look(move |node| {
            let rows = node.table().orders();
            let mut orders: Vec<_> =
                rows.filter_map(|row| StandingOrder::of(row, now_ms)).collect();
            orders.sort_by(|a, b| a.name.cmp(&b.name));
            orders
        })
        .await
    }

    /// The number of the epoch whose link key this member seals under.
    ///
    /// # Errors
    /// The node is gone.
    pub async fn epoch(&self) -> Result<u32, Closed> {
        self.look(spinglass_core::Node::epoch).await
    }

    async fn look<T: Send + 'static>(
        &self,
        look: impl FnOnce(&spinglass_core::Node) -> T + Send + 'static,
    ) -> Result<T, Closed> {
        self.shared.look(look).await.ok_or(Closed)
    }
}
