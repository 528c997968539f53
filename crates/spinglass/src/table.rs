//! The handle to the hierarchical table.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use spinglass_core::Node as CoreNode;
use spinglass_core::object::{Failure, ObjectName, ObjectState};
use spinglass_core::table::{Name, NewFunction, SetError, Summary, TableRow, Value, ZonePath};
use tokio::sync::{oneshot, watch};

use crate::clock::wall;
use crate::error::{Closed, TableError};
use crate::inbox::Command;
use crate::node::{Pulse, Shared};

/// One live table of every machine: this agent's row, its region's rows, and a summary of every
/// zone above (Astrolabe).
///
/// Everything that is read here is in this agent's own memory: reading costs no message and is as
/// fresh as gossip made it.
#[derive(Debug, Clone)]
pub struct Table {
    shared: Arc<Shared>,
    pulse: watch::Receiver<Pulse>,
    /// What [`changed`](Self::changed) last returned for.
    seen: u64,
}

/// A zone as this agent sees it.
#[derive(Debug, Clone)]
pub struct Zone {
    /// Its path.
    pub path: ZonePath,
    /// Its agents, if it is the region, or its child zones; by name.
    pub rows: Vec<ZoneRow>,
    /// What the summary functions make of them.
    pub summary: Summary,
}

/// A row of a zone's table.
#[derive(Debug, Clone)]
pub struct ZoneRow {
    /// The signed row.
    pub row: Arc<TableRow>,
    /// How long ago this agent last heard news of it, in whole rounds of the table.
    pub age: Duration,
}

/// A summary function that holds in a zone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SummaryFunction {
    /// Its name.
    pub name: String,
    /// The zone from which downwards it holds; `None`: it is built in.
    pub since: Option<ZonePath>,
    /// Its text.
    pub sql: String,
    /// Steps that a row costs it, of the 250,000 that an evaluation may take.
    pub steps_per_row: u32,
    /// For how long it still holds; `None`: until it is removed.
    pub left: Option<Duration>,
}

/// A look at the core, by the task that owns it.
pub(crate) struct Look(pub(crate) Box<dyn FnOnce(&CoreNode) + Send>);

impl fmt::Debug for Look {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("Look")
    }
}

impl Table {
    pub(crate) fn new(shared: Arc<Shared>, pulse: watch::Receiver<Pulse>) -> Self {
        let seen = pulse.borrow().table;
        Self { shared, pulse, seen }
    }

    /// Sets an attribute of this agent's row; null removes it. The region sees it within a few
    /// rounds, everybody else what the summary functions make of it.
    ///
    /// # Errors
    /// The name is none or is filled in by the agent itself, the row has no room, or the node is
    /// gone; nothing changed.
    pub async fn set(&self, name: &str, value: impl Into<Value>) -> Result<(), TableError> {
        let name = Name::new(name).ok_or_else(|| TableError::BadName(name.into()))?;
        let value = value.into();
        self.change(|answer| Command::SetAttribute { name, value, answer }).await
    }

    /// Puts an object, of up to 16 MiB, under an attribute of this agent's row. The row then names
    /// it by hash and size, and whoever wants it [fetches](Self::object) it from whoever has it. It
    /// is kept for as long as the attribute names it.
    ///
    /// # Errors
    /// The name is none, the object is too large, the store is full of objects in use, or the node
    /// is gone; the row has not changed.
    pub async fn put_object(
        &self,
        name: &str,
        bytes: impl Into<Bytes>,
    ) -> Result<ObjectName, TableError> {
        let name = Name::new(name).ok_or_else(|| TableError::BadName(name.into()))?;
        let bytes = bytes.into();
        let (answer, outcome) = oneshot::channel();
        let command = Command::PutObject { name, bytes, answer };
        self.shared.inbox.command(command).map_err(|_| TableError::Closed)?;
        Ok(outcome.await.map_err(|_| TableError::Closed)??)
    }

    /// The object that a value of a row names, fetched if it is not here and verified piece by
    /// piece. Dropping this call does not end the fetch.
    ///
    /// # Errors
    /// The value names none, too many are being fetched, nobody has it or sends it (after half a
    /// minute without any new piece), or the node is gone.
    pub async fn object(&self, value: &Value) -> Result<Bytes, TableError> {
        let object = ObjectName::of_value(value);
        let object = object.ok_or_else(|| TableError::NoObject(value.clone()))?;
        let mut pulse = self.pulse.clone();
        self.fetch_object(&object).await?;
        loop {
            let seen = pulse.borrow_and_update().objects;
            let failure = match self.object_state(&object).await? {
                ObjectState::Held(bytes) => return Ok(bytes),
                ObjectState::Fetching { .. } => {
                    let came = pulse.wait_for(|pulse| pulse.objects != seen).await;
                    came.map_err(|_| TableError::Closed)?;
                    continue;
                }
                ObjectState::Failed(failure) => failure,
                // It was here, and has made room for others since.
                ObjectState::Absent => Failure::StoreFull,
            };
            return Err(TableError::NotFetched { object, failure });
        }
    }

    /// Begins to fetch an object, unless it is here or on its way.
    ///
    /// # Errors
    /// Too many are being fetched, the store is full of objects in use, or the node is gone.
    pub async fn fetch_object(&self, object: &ObjectName) -> Result<(), TableError> {
        let (answer, outcome) = oneshot::channel();
        let command = Command::FetchObject { object: *object, answer };
        self.shared.inbox.command(command).map_err(|_| TableError::Closed)?;
        Ok(outcome.await.map_err(|_| TableError::Closed)??)
    }

    /// How far an object is.
    ///
    /// # Errors
    /// The node is gone.
    pub async fn object_state(&self, object: &ObjectName) -> Result<ObjectState, TableError> {
        let object = *object;
        self.look(move |node| node.objects().state(&object)).await
    }

    /// Installs a summary function in a zone of this agent's path, or replaces the one of this
    /// name: its text, or a [`NewFunction`] that says for how long it holds. It holds from there
    /// downwards, in every zone, and is heard of by gossip.
    ///
    /// # Errors
    /// The text is no function (and says where and why), the zone is not on this agent's path, or
    /// the node is gone; nothing changed.
    pub async fn install<'a>(
        &self,
        zone: &ZonePath,
        name: &str,
        function: impl Into<NewFunction<'a>>,
    ) -> Result<(), TableError> {
        let NewFunction { sql, lasts } = function.into();
        let (zone, name, sql) = (zone.clone(), name.into(), Some(sql.into()));
        self.change(|answer| Command::SetSummary { zone, name, sql, lasts, answer }).await
    }

    /// Removes a summary function from the zone where it was installed.
    ///
    /// # Errors
    /// It was not installed there, or the node is gone; nothing changed.
    pub async fn remove(&self, zone: &ZonePath, name: &str) -> Result<(), TableError> {
        let (zone, name) = (zone.clone(), name.into());
        let (sql, lasts) = (None, None);
        self.change(|answer| Command::SetSummary { zone, name, sql, lasts, answer }).await
    }

    /// A zone of this agent's path, root included, as it stands here and now.
    ///
    /// # Errors
    /// The zone is elsewhere, or the node is gone.
    pub async fn zone(&self, path: &ZonePath) -> Result<Zone, TableError> {
        let asked = path.clone();
        let zone = self.look(move |node| {
            let path = asked;
            let table = node.table();
            let round = node.config().table.round;
            let with_age = |row: Arc<TableRow>| {
                let age = round.saturating_mul(table.age(&row).unwrap_or(0));
                ZoneRow { row, age }
            };
            let rows = table.rows(&path)?.into_iter().map(with_age).collect();
            Some(Zone { rows, summary: table.summary(&path)?, path })
        });
        zone.await?.ok_or_else(|| TableError::Elsewhere(path.clone()))
    }

    /// The summary functions that hold in a zone of this agent's path, by name.
    ///
    /// # Errors
    /// The zone is elsewhere, or the node is gone.
    pub async fn functions(&self, zone: &ZonePath) -> Result<Vec<SummaryFunction>, TableError> {
        let asked = zone.clone();
        let functions = self.look(move |node| {
            let functions = node.table().functions(&asked)?.into_iter();
            let told = functions.map(|function| SummaryFunction {
                name: function.name,
                since: function.since,
                sql: function.function.sql().into(),
                steps_per_row: function.function.steps_per_row(),
                left: function
                    .lapses_ms
                    .map(|lapses| Duration::from_millis(lapses).saturating_sub(wall())),
            });
            Some(told.collect())
        });
        functions.await?.ok_or_else(|| TableError::Elsewhere(zone.clone()))
    }

    /// This agent's region.
    ///
    /// # Errors
    /// The node is gone.
    pub async fn region(&self) -> Result<ZonePath, TableError> {
        self.look(|node| node.table().region().clone()).await
    }

    /// Waits until something in the table has changed since this last returned on this handle, or
    /// since the handle was made. A call that is dropped before it returns misses nothing.
    ///
    /// # Errors
    /// The node is gone.
    pub async fn changed(&mut self) -> Result<(), Closed> {
        let seen = self.seen;
        let pulse = self.pulse.wait_for(|pulse| pulse.table != seen).await.map_err(|_| Closed)?;
        self.seen = pulse.table;
        Ok(())
    }

    async fn change(
        &self,
        command: impl FnOnce(oneshot::Sender<Result<(), SetError>>) -> Command,
    ) -> Result<(), TableError> {
        let (answer, outcome) = oneshot::channel();
        self.shared.inbox.command(command(answer)).map_err(|_| TableError::Closed)?;
        Ok(outcome.await.map_err(|_| TableError::Closed)??)
    }

    async fn look<T: Send + 'static>(
        &self,
        look: impl FnOnce(&CoreNode) -> T + Send + 'static,
    ) -> Result<T, TableError> {
        let (answer, seen) = oneshot::channel();
        let look = Look(Box::new(|node| drop(answer.send(look(node)))));
        self.shared.inbox.command(Command::Look(look)).map_err(|_| TableError::Closed)?;
        seen.await.map_err(|_| TableError::Closed)
    }
}
