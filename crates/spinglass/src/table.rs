//! The handle to the hierarchical table.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use spinglass_core::Node as CoreNode;
use spinglass_core::object::{Failure, ObjectName, ObjectState};
use spinglass_core::query::{Answer, AskError, Outcome, Question, Reach, SQL_BYTES_MAX};
use spinglass_core::table::{
    AgedRow, Excerpt, InForce, Name, NewFunction, Query, Row, RowBuilder, SetError, Summary,
    TableRow, Value, ZonePath,
};
use tokio::sync::{oneshot, watch};

use crate::clock::wall;
use crate::error::{Closed, TableError};
use crate::inbox::Command;
use crate::node::{Pulse, Shared};

/// How long [`Table::zone`] and [`Table::query`] wait for others: some tries for each of the levels
/// that systems of a million have.
const WITHIN: Duration = Duration::from_secs(8);

/// One live table of every machine: this agent's row, its region's rows, and a summary of every
/// zone above (Astrolabe).
///
/// The zones of this agent's own path are in its memory: reading them costs no message and is as
/// fresh as gossip made it. Other zones are read, and hosts everywhere asked for, by questions that
/// go down the tree where the summaries lead; what comes back says how old it is, and what is
/// missing.
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
    /// Its agents, if it is a region, or its child zones; by name. All of them are verified.
    pub rows: Vec<ZoneRow>,
    /// What the summary functions make of them, as this agent evaluates them.
    pub summary: Summary,
    /// How old its rows are at most, and whether all are there.
    pub reach: Reach,
    functions: Vec<InForce>,
}

/// What a query found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hosts {
    /// The columns, as the query writes them; for `*` all that some row has, by name.
    pub columns: Vec<Name>,
    /// The rows, in the query's order. What is NULL is not in them.
    pub rows: Vec<Row>,
    /// How old they are at most, and which zones have no part in them.
    pub reach: Reach,
}

/// A row of a zone's table.
#[derive(Debug, Clone)]
pub struct ZoneRow {
    /// The signed row.
    pub row: Arc<TableRow>,
    /// How long ago whoever holds it last heard news of it: this agent, or one in its zone. In
    /// whole rounds of the table, and its way here.
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
        self.set_all([(name, value.into())]).await
    }

    /// Sets attributes of this agent's row, all or none, as [`set`](Self::set) sets one. Of a name
    /// that is given twice, the last value holds.
    ///
    /// # Errors
    /// As [`set`](Self::set), of any of them; nothing changed.
    pub async fn set_all<'a>(
        &self,
        attributes: impl IntoIterator<Item = (&'a str, Value)>,
    ) -> Result<(), TableError> {
        let attribute = |(name, value): (&'a str, Value)| {
            let name = Name::new(name).ok_or_else(|| TableError::BadName(name.into()))?;
            Ok((name, value))
        };
        let attributes: Result<Vec<_>, TableError> =
            attributes.into_iter().map(attribute).collect();
        let attributes = attributes?;
        self.change(|answer| Command::SetAttributes { attributes, answer }).await
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

    /// A zone, root included: from memory if it is on this agent's path, else by asking whoever
    /// leads there, for 8 seconds at most. Its rows are verified in any case.
    ///
    /// # Errors
    /// There is no such zone, nobody answers, too many questions are under way, or the node is
    /// gone.
    pub async fn zone(&self, path: &ZonePath) -> Result<Zone, TableError> {
        let own = path.clone();
        let (excerpt, reach) = match self.look(move |node| node.table().excerpt(&own)).await? {
            Some(excerpt) => {
                let age_ms = excerpt.rows.iter().map(|aged| aged.age_ms).max().unwrap_or(0);
                (excerpt, Reach { age_ms, ..Reach::default() })
            }
            None => {
                let question = Question { zone: path.clone(), sql: None, within: WITHIN };
                let Answer { outcome, reach } = self.ask(question).await?;
                let Outcome::Zone(excerpt) = outcome else { return Err(failure(outcome, path)) };
                (excerpt, reach)
            }
        };
        let Excerpt { rows, functions, summary } = excerpt;
        let aged = |AgedRow { row, age_ms }| ZoneRow { row, age: Duration::from_millis(age_ms) };
        let rows = rows.into_iter().map(aged).collect();
        Ok(Zone { path: path.clone(), rows, summary, reach, functions })
    }

    /// The summary functions that hold in a zone, by name.
    ///
    /// # Errors
    /// As [`zone`](Self::zone).
    pub async fn functions(&self, zone: &ZonePath) -> Result<Vec<SummaryFunction>, TableError> {
        let functions = self.zone(zone).await?.functions.into_iter();
        let told = functions.map(|function| SummaryFunction {
            name: function.name,
            since: function.since,
            sql: function.function.sql().into(),
            steps_per_row: function.function.steps_per_row(),
            left: function
                .lapses_ms
                .map(|lapses| Duration::from_millis(lapses).saturating_sub(wall())),
        });
        Ok(told.collect())
    }

    /// Finds hosts anywhere: `SELECT id, load FROM hosts WHERE licence = 'x' ORDER BY load LIMIT
    /// 10`. Waits 8 seconds at most, and then tells what has come: see [`Reach::is_whole`].
    ///
    /// The column `zone` is a host's region. Zones whose summaries prove that no host there can
    /// match are not asked.
    ///
    /// # Errors
    /// The text is no query (and says where and why) or too long, too many questions are under
    /// way, or the node is gone.
    pub async fn query(&self, sql: &str) -> Result<Hosts, TableError> {
        self.query_in(&ZonePath::root(), sql, WITHIN).await
    }

    /// The same for the hosts of one zone, waiting for `within`, at most a minute.
    ///
    /// # Errors
    /// As [`query`](Self::query); or there is no such zone, or nobody on the way there answers.
    pub async fn query_in(
        &self,
        zone: &ZonePath,
        sql: &str,
        within: Duration,
    ) -> Result<Hosts, TableError> {
        let question = Question { zone: zone.clone(), sql: Some(sql.into()), within };
        let Answer { outcome, reach } = self.ask(question).await?;
        match outcome {
            Outcome::Hosts { columns, rows } => Ok(Hosts { columns, rows, reach }),
            outcome => Err(failure(outcome, zone)),
        }
    }

    /// Whether this agent is in a zone, and its own row meets a condition, as in the `WHERE` of a
    /// [query](Self::query). From memory.
    ///
    /// So a message to a group reaches those whom it concerns: it says whom, every subscriber
    /// asks this, and the others pass over it. What was set just now counts once the row is
    /// issued anew, a moment later.
    ///
    /// # Errors
    /// The condition is none (and says where and why) or too long, or the node is gone.
    pub async fn meets(&self, zone: &ZonePath, condition: &str) -> Result<bool, TableError> {
        let sql = format!("SELECT id FROM hosts WHERE {condition}");
        if sql.len() > SQL_BYTES_MAX {
            let (limit, got) = (SQL_BYTES_MAX, sql.len());
            return Err(AskError::TooLong { limit, got }.into());
        }
        let (query, zone) = (Query::parse(&sql).map_err(AskError::Sql)?, zone.clone());
        let column = Name::new("zone").ok_or_else(|| TableError::BadName("zone".into()))?;
        self.look(move |node| {
            let region = node.table().region();
            let Some(row) = node.table().own_row() else { return false };
            let row = RowBuilder::from(row.attributes());
            let row = row.with(column, Value::text(region.as_str())).build();
            region.is_within(&zone) && query.matches(&row)
        })
        .await
    }

    /// This agent's attributes, with those that were set just now and are not in its row yet.
    ///
    /// # Errors
    /// The node is gone.
    pub async fn own(&self) -> Result<Row, TableError> {
        self.look(|node| node.table().own_next()).await
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

    async fn ask(&self, question: Question) -> Result<Answer, TableError> {
        let (answer, outcome) = oneshot::channel();
        let asked = self.shared.inbox.command(Command::Ask { question, answer });
        asked.map_err(|_| TableError::Closed)?;
        Ok(outcome.await.map_err(|_| TableError::Closed)??)
    }

    async fn look<T: Send + 'static>(
        &self,
        look: impl FnOnce(&CoreNode) -> T + Send + 'static,
    ) -> Result<T, TableError> {
        self.shared.look(look).await.ok_or(TableError::Closed)
    }
}

/// Why an answer is none.
fn failure(outcome: Outcome, zone: &ZonePath) -> TableError {
    match outcome {
        Outcome::NoSuchZone(zone) => TableError::NoSuchZone(zone),
        Outcome::NotUnderstood => TableError::NotUnderstood(zone.clone()),
        // What is found is of the kind that was asked for.
        Outcome::Silence | Outcome::Zone(_) | Outcome::Hosts { .. } => {
            TableError::Silence(zone.clone())
        }
    }
}
