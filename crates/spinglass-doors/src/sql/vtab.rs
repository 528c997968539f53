//! SQLite's way to the live table: virtual tables whose rows are fetched when a query wants them.
//!
//! The unsafe code is two words: SQLite reads the structs here by their first field, so their
//! layout is a promise that `rusqlite` can't check. Without virtual tables SQLite could not say
//! which conditions and columns a query needs, and every query would fetch all that all hosts say.
//! Measured with two agents: an answer with all that a host says of itself takes 305 bytes, one
//! with its `id` 56; and an answer has room for 256 KiB, which is some 900 whole hosts.
#![expect(unsafe_code, reason = "rusqlite's traits for virtual tables promise a layout")]

use std::borrow::Cow;
use std::ffi::{CStr, CString, c_int};
use std::fmt::Write as _;
use std::marker::PhantomData;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use rusqlite::types::{FromSql as _, Value as Cell};
use rusqlite::vtab::{
    Context, CreateVTab, Filters, IndexConstraintOp, IndexInfo, Module, VTab, VTabConnection,
    VTabCursor, sqlite3_vtab, sqlite3_vtab_cursor,
};
use rusqlite::{Connection, Error, Result};

use super::fault::Remark;
use super::lexer::quoted_name;
use super::live::{Condition, Live, Shape, Source};

/// What a fetch of rows elsewhere is taken to cost, in SQLite's units: more than anything at home.
const COST_ELSEWHERE: f64 = 1e6;
/// What reading a table at home is taken to cost.
const COST_HERE: f64 = 100.0;
/// Columns that SQLite tells apart when it says which are used; the last stands for all others.
const COLUMNS_TOLD: usize = 64;

/// One SQLite connection's way to the table: which tables there are, and what the statement that
/// runs just now may take and has found.
#[derive(Debug)]
pub(super) struct Desk {
    pub(super) live: Arc<Live>,
    pub(super) run: Mutex<Run>,
}

/// The statement that runs.
#[derive(Debug)]
pub(super) struct Run {
    /// Until when others may be waited for.
    pub(super) deadline: Instant,
    /// What is to be said beside the rows.
    pub(super) remarks: Vec<Remark>,
    /// Whether functions may change something: the user may, and the statement is not only
    /// described.
    pub(super) may_change: bool,
    /// Whether a function has changed something: it is not run again then.
    pub(super) has_changed: bool,
    /// The shapes that the connection has tables for.
    pub(super) shapes: Arc<Vec<Shape>>,
    /// What has been fetched for it: a statement sees one state of each table, and a join asks
    /// others no more than [`QUESTIONS_MAX`] questions.
    pub(super) fetched: Vec<Fetched>,
}

/// A table's rows as they were fetched.
#[derive(Debug)]
pub(super) struct Fetched {
    table: String,
    plan: u64,
    conditions: Vec<Condition>,
    rows: Arc<Vec<Vec<Cell>>>,
}

/// Questions that go down the tree for one statement, each with other conditions. One more asks for
/// everything, and is the last.
const QUESTIONS_MAX: usize = 4;

impl Desk {
    pub(super) fn run(&self) -> std::sync::MutexGuard<'_, Run> {
        self.run.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Makes the module known by which tables are made.
pub(super) fn load(connection: &Connection, desk: Arc<Desk>) -> Result<()> {
    const MODULE: Module<'_, LiveTable> = Module::read_only_module();
    connection.create_module(c"spinglass", &MODULE, Some(desk))
}

/// The statement that makes a table of this shape.
pub(super) fn creation(shape: &Shape) -> String {
    format!("CREATE VIRTUAL TABLE public.{} USING spinglass", quoted_name(&shape.name))
}

#[repr(C)]
#[derive(Debug)]
struct LiveTable {
    /// SQLite's part; it must come first.
    base: sqlite3_vtab,
    desk: Arc<Desk>,
    shape: Arc<Shape>,
}

// SAFETY: the struct has C's layout, and SQLite's part comes first.
unsafe impl<'vtab> VTab<'vtab> for LiveTable {
    type Aux = Arc<Desk>;
    type Cursor = LiveCursor<'vtab>;

    fn connect(
        _: &mut VTabConnection,
        desk: Option<&Arc<Desk>>,
        _: &[u8],
        _: &[u8],
        table: &[u8],
        _: &[&[u8]],
    ) -> Result<(Cow<'static, CStr>, Self)> {
        let desk = desk.ok_or_else(|| failed("a table without an agent"))?;
        let name = String::from_utf8_lossy(table);
        let shape = desk.run().shapes.iter().find(|shape| shape.name == name).cloned();
        let shape = shape.ok_or_else(|| failed("there is no such table"))?;
        let mut text = String::from("CREATE TABLE x(");
        for (at, (name, holds)) in shape.columns.iter().enumerate() {
            let comma = if at == 0 { "" } else { ", " };
            let _ = write!(text, "{comma}{} {}", quoted_name(name), holds.declared());
        }
        let text = CString::new(text + ")").map_err(|_| failed("a name with a zero byte"))?;
        let base = sqlite3_vtab::default();
        Ok((Cow::Owned(text), Self { base, desk: Arc::clone(desk), shape: Arc::new(shape) }))
    }

    /// Conditions on hosts go down the tree; what is here is read whole.
    fn best_index(&self, info: &mut IndexInfo) -> Result<bool> {
        if self.shape.source != Source::Hosts {
            info.set_estimated_cost(COST_HERE);
            return Ok(true);
        }
        let mut plan = Plan { used: info.col_used(), conditions: Vec::new() };
        for (constraint, mut usage) in info.constraints_and_usages() {
            let operator = match constraint.operator() {
                IndexConstraintOp::SQLITE_INDEX_CONSTRAINT_EQ => "=",
                IndexConstraintOp::SQLITE_INDEX_CONSTRAINT_GT => ">",
                IndexConstraintOp::SQLITE_INDEX_CONSTRAINT_GE => ">=",
                IndexConstraintOp::SQLITE_INDEX_CONSTRAINT_LT => "<",
                IndexConstraintOp::SQLITE_INDEX_CONSTRAINT_LE => "<=",
                _ => continue,
            };
            let Ok(column) = usize::try_from(constraint.column()) else { continue };
            if constraint.is_usable() {
                plan.conditions.push((column, operator));
                usage.set_argv_index(plan.conditions.len() as c_int);
            }
        }
        info.set_estimated_cost(COST_ELSEWHERE / (1 + plan.conditions.len()) as f64);
        info.set_idx_str(&plan.written());
        Ok(true)
    }

    fn open(&'vtab mut self) -> Result<LiveCursor<'vtab>> {
        Ok(LiveCursor {
            base: sqlite3_vtab_cursor::default(),
            desk: Arc::clone(&self.desk),
            shape: Arc::clone(&self.shape),
            rows: Arc::default(),
            at: 0,
            table: PhantomData,
        })
    }
}

impl CreateVTab<'_> for LiveTable {
    const KIND: rusqlite::vtab::VTabKind = rusqlite::vtab::VTabKind::Default;
}

#[repr(C)]
#[derive(Debug)]
struct LiveCursor<'vtab> {
    /// SQLite's part; it must come first.
    base: sqlite3_vtab_cursor,
    desk: Arc<Desk>,
    shape: Arc<Shape>,
    rows: Arc<Vec<Vec<Cell>>>,
    at: usize,
    table: PhantomData<&'vtab LiveTable>,
}

// SAFETY: the struct has C's layout, and SQLite's part comes first.
unsafe impl VTabCursor for LiveCursor<'_> {
    fn filter(&mut self, _: c_int, plan: Option<&str>, values: &Filters<'_>) -> Result<()> {
        let plan = Plan::read(plan.unwrap_or_default());
        let mut conditions = Vec::new();
        for (value, (column, operator)) in values.iter().zip(plan.conditions) {
            conditions.push(Condition { column, operator, value: Cell::column_result(value)? });
        }
        (self.rows, self.at) = (self.fetch(plan.used, conditions)?, 0);
        Ok(())
    }

    fn next(&mut self) -> Result<()> {
        self.at += 1;
        Ok(())
    }

    fn eof(&self) -> bool {
        self.at >= self.rows.len()
    }

    fn column(&self, context: &mut Context, column: c_int) -> Result<()> {
        let row = self.rows.get(self.at);
        let cell = usize::try_from(column).ok().and_then(|column| row?.get(column));
        context.set_result(cell.unwrap_or(&Cell::Null))
    }

    fn rowid(&self) -> Result<i64> {
        Ok(self.at as i64)
    }
}

impl LiveCursor<'_> {
    fn fetch(&self, used: u64, mut conditions: Vec<Condition>) -> Result<Arc<Vec<Vec<Cell>>>> {
        let mut run = self.desk.run();
        if run.fetched.iter().filter(|it| it.table == self.shape.name).count() >= QUESTIONS_MAX {
            conditions.clear();
        }
        let is_this = |it: &&Fetched| {
            it.table == self.shape.name && it.plan == used && it.conditions == conditions
        };
        if let Some(before) = run.fetched.iter().find(is_this) {
            return Ok(Arc::clone(&before.rows));
        }
        let within = run.deadline.saturating_duration_since(Instant::now()).max(LEAST);
        drop(run);
        let columns: Vec<usize> = (0..self.shape.columns.len())
            .filter(|at| used & (1 << (*at).min(COLUMNS_TOLD - 1)) != 0)
            .collect();
        let found = self.desk.live.rows(&self.shape, &conditions, &columns, within);
        let found = found.map_err(|error| failed(&error))?;
        run = self.desk.run();
        let missing = found.warning.map(Remark::Warning);
        if let Some(missing) = missing.filter(|it| !run.remarks.contains(it)) {
            run.remarks.push(missing);
        }
        let rows = Arc::new(found.rows);
        let (table, kept) = (self.shape.name.clone(), Arc::clone(&rows));
        run.fetched.push(Fetched { table, plan: used, conditions, rows: kept });
        Ok(rows)
    }
}

/// A fetch whose time is up is answered from what is here.
const LEAST: Duration = Duration::from_millis(1);

fn failed(what: &str) -> Error {
    Error::ModuleError(what.to_owned())
}

/// What SQLite decided, on its way from the planner to the cursor.
struct Plan {
    used: u64,
    conditions: Vec<(usize, &'static str)>,
}

impl Plan {
    fn written(&self) -> String {
        let mut text = self.used.to_string();
        for (column, operator) in &self.conditions {
            let _ = write!(text, ";{column} {operator}");
        }
        text
    }

    fn read(text: &str) -> Self {
        let mut parts = text.split(';');
        let used = parts.next().and_then(|it| it.parse().ok()).unwrap_or(u64::MAX);
        let condition = |part: &str| {
            let (column, operator) = part.split_once(' ')?;
            let known = ["=", ">", ">=", "<", "<="].into_iter().find(|it| *it == operator)?;
            Some((column.parse().ok()?, known))
        };
        Self { used, conditions: parts.filter_map(condition).collect() }
    }
}
