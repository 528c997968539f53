//! SQLite, boxed in, in front of the live table.
//!
//! Statements run on threads that may block, on a few connections that all clients share: a client
//! that asks nothing costs no SQLite. A connection has no data but the catalogue; it reads only,
//! and for no longer than the statement may take.
//!
//! Rows that wait to be sent are held against a bound for all clients together; so are those of
//! cursors, against one of their own, since a client may leave them for as long as it likes.
//!
//! Invariants: so many statements at once as [`STATEMENTS_MAX`], others wait; none takes more than
//! its time, [`RESULT_BYTES_MAX`] and SQLite's limits set here. A statement that is given up is
//! interrupted.

use std::cell;
use std::mem::size_of;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use pgwire::api::Type;
use rusqlite::config::DbConfig;
use rusqlite::ffi::ErrorCode;
use rusqlite::hooks::{AuthAction, AuthContext, Authorization};
use rusqlite::limits::Limit;
use rusqlite::types::Value as Cell;
use rusqlite::{Connection, InterruptHandle, Statement, params_from_iter};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::task::spawn_blocking;
use tokio::time::timeout;

use super::fault::{Fault, Remark};
use super::lexer::{Kind, Token, quoted_name};
use super::live::{Live, Shape};
use super::translate::translated;
use super::types::{seen, typed};
use super::vtab::{self, Desk, Run};
use super::{catalogue, functions, infer};

/// Statements that run at once.
const STATEMENTS_MAX: usize = 4;
/// Bytes of a statement's rows.
const RESULT_BYTES_MAX: usize = 16 << 20;
/// Bytes of the rows of all clients that wait to be sent, and of all cursors.
const SENT_BYTES_MAX: usize = 48 << 20;
const KEPT_BYTES_MAX: usize = 32 << 20;
/// The unit in which they are counted.
const PIECE_BYTES: usize = 1024;
/// How long a statement waits until other clients have taken their rows.
const ROOM_WITHIN: Duration = Duration::from_secs(30);
/// Parentheses within each other.
const NESTING_MAX: usize = 100;
/// Tries of one statement: each but the last found a column or a table that was not known.
const TRIES_MAX: usize = 12;
/// Time beyond that for waiting, in which rows are put together.
const GRACE: Duration = Duration::from_secs(2);
/// Operations of SQLite's machine between two looks at the clock: a fraction of a millisecond.
const OPERATIONS_PER_LOOK: i32 = 2000;
/// By how much threads that run statements are nicer than the node's.
const NICE: i32 = 10;
/// SQLite's memory in all, in bytes.
const HEAP_BYTES_MAX: usize = 64 << 20;
/// SQLite's limits: lengths in bytes, the rest as SQLite counts them.
const LIMITS: [(Limit, i32); 9] = [
    (Limit::SQLITE_LIMIT_LENGTH, 1 << 20),
    (Limit::SQLITE_LIMIT_SQL_LENGTH, 1 << 20),
    (Limit::SQLITE_LIMIT_COLUMN, 1000),
    (Limit::SQLITE_LIMIT_EXPR_DEPTH, 200),
    (Limit::SQLITE_LIMIT_COMPOUND_SELECT, 50),
    (Limit::SQLITE_LIMIT_VDBE_OP, 1 << 18),
    (Limit::SQLITE_LIMIT_ATTACHED, 4),
    (Limit::SQLITE_LIMIT_LIKE_PATTERN_LENGTH, 1000),
    (Limit::SQLITE_LIMIT_VARIABLE_NUMBER, super::PARAMETERS_MAX as i32),
];
/// Functions of SQLite that nobody needs here.
const NO_FUNCTIONS: [&str; 4] =
    ["load_extension", "sqlite_compileoption_get", "sqlite_log", "fts3_tokenizer"];

/// A statement to run.
#[derive(Debug, Clone)]
pub(super) struct Job {
    pub(super) statement: Arc<Vec<Token>>,
    pub(super) parameters: Vec<Cell>,
    /// How long others may be waited for.
    pub(super) within: Duration,
    /// Whether functions may change something.
    pub(super) may_change: bool,
    /// Only what columns there will be is asked for.
    pub(super) describes: bool,
}

/// What a statement gave.
#[derive(Debug, Default)]
pub(super) struct Outcome {
    pub(super) columns: Vec<(String, Type)>,
    pub(super) rows: Vec<Vec<Cell>>,
    pub(super) remarks: Vec<Remark>,
    /// The room that the rows take; it is free again when they are gone.
    pub(super) room: Option<OwnedSemaphorePermit>,
}

impl Outcome {
    /// Pieces of memory that the rows take.
    fn pieces(&self) -> u32 {
        let bytes: usize = self.rows.iter().flatten().map(bytes_of).sum();
        u32::try_from(bytes.div_ceil(PIECE_BYTES)).unwrap_or(u32::MAX)
    }
}

/// The connections, and what they read.
#[derive(Debug)]
pub(super) struct Engine {
    live: Arc<Live>,
    idle: Mutex<Vec<Worker>>,
    room: Arc<Semaphore>,
    sent: Arc<Semaphore>,
    kept: Arc<Semaphore>,
}

/// Interrupts a statement that nobody waits for any more.
struct Interrupt(Option<InterruptHandle>);

impl Drop for Interrupt {
    fn drop(&mut self) {
        if let Some(handle) = &self.0 {
            handle.interrupt();
        }
    }
}

impl Engine {
    pub(super) fn new(live: Arc<Live>) -> Self {
        let room = |pieces| Arc::new(Semaphore::new(pieces));
        let (sent, kept) = (SENT_BYTES_MAX / PIECE_BYTES, KEPT_BYTES_MAX / PIECE_BYTES);
        let (room, sent, kept) = (room(STATEMENTS_MAX), room(sent), room(kept));
        Self { live, idle: Mutex::default(), room, sent, kept }
    }

    /// The type of a column by its name, in whichever table it is.
    pub(super) fn type_of(&self, column: &str) -> Option<Type> {
        let shapes = self.live.known_shapes();
        let columns = shapes.iter().flat_map(|shape| &shape.columns);
        let mut named = columns.filter(|(name, _)| name == column);
        named.find_map(|(_, holds)| typed(holds.declared()))
    }

    /// Runs a statement whose rows are sent at once.
    pub(super) async fn run(&self, job: Job) -> Result<Outcome, Fault> {
        let mut outcome = self.execute(job).await?;
        let room = Arc::clone(&self.sent).acquire_many_owned(outcome.pieces());
        let full = || Fault::new("53200", "other clients do not take their rows: try again");
        outcome.room =
            Some(timeout(ROOM_WITHIN, room).await.map_err(|_| full())?.map_err(|_| full())?);
        Ok(outcome)
    }

    /// Runs a statement whose rows the client takes when it likes.
    pub(super) async fn run_to_keep(&self, job: Job) -> Result<Outcome, Fault> {
        let mut outcome = self.execute(job).await?;
        let room = Arc::clone(&self.kept).try_acquire_many_owned(outcome.pieces());
        outcome.room = Some(room.map_err(|_| {
            Fault::new("53200", "cursors hold too many rows").with_hint("CLOSE some, or add LIMIT")
        })?);
        Ok(outcome)
    }

    async fn execute(&self, job: Job) -> Result<Outcome, Fault> {
        let permit = Arc::clone(&self.room).acquire_owned().await;
        let permit = permit.map_err(|_| Fault::gone())?;
        let idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner).pop();
        let live = Arc::clone(&self.live);
        let worker = match idle {
            Some(worker) => worker,
            None => {
                spawn_blocking(move || Worker::new(live)).await.map_err(|_| Fault::gone())??
            }
        };
        let mut interrupt = Interrupt(Some(worker.connection.get_interrupt_handle()));
        let run = spawn_blocking(move || {
            give_way();
            let mut worker = worker;
            let outcome = worker.run(&job);
            drop(permit);
            (worker, outcome)
        });
        let (worker, outcome) = run.await.map_err(|_| Fault::gone())?;
        interrupt.0 = None;
        self.idle.lock().unwrap_or_else(PoisonError::into_inner).push(worker);
        outcome
    }
}

thread_local! {
    /// Whether this thread gives way already.
    static GIVES_WAY: cell::Cell<bool> = const { cell::Cell::new(false) };
}

/// Has the thread that runs statements give way to the one that the node's rounds run on: four
/// endless statements on two processors delayed rounds by 14 ms, and by 6 since. Where the system
/// has no such thing, or not for a thread alone, all goes on as before.
fn give_way() {
    if cfg!(target_os = "linux") && !GIVES_WAY.replace(true) {
        let _as_before = rustix::process::nice(NICE);
    }
}

/// A connection.
#[derive(Debug)]
struct Worker {
    connection: Connection,
    desk: Arc<Desk>,
    /// The tables that it has.
    installed: Arc<Vec<Shape>>,
}

impl Worker {
    fn new(live: Arc<Live>) -> Result<Self, Fault> {
        let mut connection = Connection::open_in_memory()?;
        connection.execute_batch(&format!(
            "PRAGMA hard_heap_limit = {HEAP_BYTES_MAX}; PRAGMA temp_store = MEMORY; \
             PRAGMA case_sensitive_like = ON; PRAGMA trusted_schema = OFF; \
             ATTACH ':memory:' AS public; ATTACH ':memory:' AS pg_catalog; \
             ATTACH ':memory:' AS information_schema;"
        ))?;
        let run = Run {
            deadline: Instant::now(),
            remarks: Vec::new(),
            may_change: false,
            has_changed: false,
            shapes: Arc::default(),
            fetched: Vec::new(),
        };
        let desk = Arc::new(Desk { live, run: Mutex::new(run) });
        vtab::load(&connection, Arc::clone(&desk))?;
        rusqlite::vtab::series::load_module(&connection)?;
        functions::load(&connection, &desk)?;
        catalogue::create(&connection)?;
        connection.set_db_config(DbConfig::SQLITE_DBCONFIG_DEFENSIVE, true)?;
        connection.set_db_config(DbConfig::SQLITE_DBCONFIG_ENABLE_TRIGGER, false)?;
        for (limit, most) in LIMITS {
            connection.set_limit(limit, most)?;
        }
        let clock = Arc::clone(&desk);
        connection.progress_handler(
            OPERATIONS_PER_LOOK,
            Some(move || Instant::now() > clock.run().deadline + GRACE),
        )?;
        connection.authorizer(Some(authorize))?;
        Ok(Self { connection, desk, installed: Arc::default() })
    }

    fn run(&mut self, job: &Job) -> Result<Outcome, Fault> {
        check_nesting(&job.statement)?;
        let sql = translated(&job.statement);
        let mut notices = Vec::new();
        for tries in 1..=TRIES_MAX {
            self.begin(job)?;
            let outcome = self.attempt(&sql, job);
            self.desk.run().fetched.clear();
            match outcome {
                Ok(outcome) if tries < TRIES_MAX && self.has_learned(job) => drop(outcome),
                Ok(mut outcome) => {
                    outcome.remarks = std::mem::take(&mut self.desk.run().remarks);
                    outcome.remarks.extend(notices.into_iter().map(Remark::Notice));
                    return Ok(outcome);
                }
                Err(error) => match self.mend(&error, job) {
                    Some(notice) => notices.push(notice),
                    None if is_about_catalogue(&job.statement) && is_unknown(&error) => {
                        tracing::debug!(%error, sql, "the catalogue lacks something");
                        return Ok(nothing(job));
                    }
                    None => return Err(Fault::of(&error)),
                },
            }
        }
        Err(Fault::new("54001", "the statement names too many columns that nobody has"))
    }

    /// Makes the tables that there are by now, and notes what the statement may take.
    fn begin(&mut self, job: &Job) -> Result<(), Fault> {
        let shapes = self.desk.live.shapes().map_err(|error| Fault::new("57P01", &error))?;
        if !Arc::ptr_eq(&shapes, &self.installed) {
            self.connection.authorizer(None::<fn(AuthContext<'_>) -> Authorization>)?;
            let made = self.install(&shapes);
            self.connection.authorizer(Some(authorize))?;
            made?;
            self.installed = shapes;
        }
        let mut run = self.desk.run();
        run.deadline = Instant::now() + job.within;
        run.may_change = job.may_change && !job.describes;
        run.has_changed = false;
        run.remarks.clear();
        run.fetched.clear();
        Ok(())
    }

    fn install(&self, shapes: &Arc<Vec<Shape>>) -> Result<(), Fault> {
        self.connection.flush_prepared_statement_cache();
        for gone in self.installed.iter().filter(|shape| !shapes.contains(shape)) {
            let name = quoted_name(&gone.name);
            self.connection.execute_batch(&format!("DROP TABLE IF EXISTS public.{name}"))?;
        }
        let mut run = self.desk.run();
        run.shapes = Arc::clone(shapes);
        run.deadline = Instant::now() + GRACE;
        drop(run);
        for new in shapes.iter().filter(|shape| !self.installed.contains(shape)) {
            self.connection.execute_batch(&vtab::creation(new))?;
        }
        Ok(catalogue::fill(&self.connection, shapes)?)
    }

    fn attempt(&self, sql: &str, job: &Job) -> rusqlite::Result<Outcome> {
        let mut statement = self.connection.prepare_cached(sql)?;
        let named: Vec<(String, Option<Type>)> = statement
            .columns()
            .map(|column| (column.name().to_owned(), column.decl_type().and_then(typed)))
            .collect();
        let rows = if job.describes { Vec::new() } else { rows(&mut statement, job)? };
        let told = infer::columns(&job.statement);
        let told = if told.len() == named.len() { told } else { Vec::new() };
        // PostgreSQL calls `count(*)` count, and SQLite as it is written.
        let names = infer::names(&job.statement);
        let called = |at: usize| names.get(at).filter(|_| names.len() == told.len()).cloned();
        let column = |(at, (name, declared)): (usize, (String, Option<Type>))| {
            let told = told.get(at).cloned().flatten();
            let told = told.filter(|_| declared.is_none());
            let seen = || seen(rows.iter().filter_map(|row| row.get(at)));
            let name = if declared.is_some() { name } else { called(at).unwrap_or(name) };
            (name, declared.or(told).or_else(seen).unwrap_or(Type::TEXT))
        };
        let columns = named.into_iter().enumerate().map(column).collect();
        Ok(Outcome { columns, rows, ..Outcome::default() })
    }

    /// Whether rows from elsewhere have attributes that are no columns yet, and the statement wants
    /// all there are, and may be run again.
    fn has_learned(&self, job: &Job) -> bool {
        let all = job.statement.iter().any(|token| token.is_operator("*"));
        let shapes = self.desk.live.known_shapes();
        let names = |shapes: &[Shape]| -> usize { shapes.iter().map(|it| it.columns.len()).sum() };
        all && !self.desk.run().has_changed && names(&shapes) > names(&self.installed)
    }

    /// Adds what a statement lacks: a column that no host here has, or a zone somewhere else.
    /// Returns what is to be said about it; `None`: it can't be mended.
    fn mend(&self, error: &rusqlite::Error, job: &Job) -> Option<String> {
        let text = error.to_string();
        let missing = |what: &str| {
            let (_, rest) = text.split_once(what)?;
            let end = rest.find([' ', '\n']).unwrap_or(rest.len());
            Some(rest.get(..end)?.trim_matches('"').to_owned())
        };
        if let Some(zone) = missing("no such table: ") {
            let zone = zone.trim_start_matches("public.");
            return self.desk.live.add_zone(zone).then(|| format!("{zone} was asked for its rows"));
        }
        let column = missing("no such column: ")?;
        let column = column.rsplit('.').next()?.trim_matches('"').to_ascii_lowercase();
        let is_column =
            !is_about_catalogue(&job.statement) && spinglass::Name::new(&column).is_some();
        (is_column && self.desk.live.add_attribute(&column)).then(|| {
            format!(
                "nobody in this region says {column:?}: it is NULL but where hosts elsewhere do"
            )
        })
    }
}

fn rows(statement: &mut Statement<'_>, job: &Job) -> rusqlite::Result<Vec<Vec<Cell>>> {
    let count = statement.column_count();
    let wanted = statement.parameter_count();
    let parameters = job.parameters.iter().take(wanted);
    let mut found = statement.query(params_from_iter(parameters))?;
    let (mut rows, mut bytes) = (Vec::new(), 0);
    while let Some(row) = found.next()? {
        let cells = (0..count).map(|at| row.get(at)).collect::<rusqlite::Result<Vec<Cell>>>()?;
        bytes += cells.iter().map(bytes_of).sum::<usize>();
        if bytes > RESULT_BYTES_MAX {
            let text = format!("more than {} MiB of rows: add LIMIT", RESULT_BYTES_MAX >> 20);
            return Err(rusqlite::Error::ModuleError(text));
        }
        rows.push(cells);
    }
    Ok(rows)
}

const fn bytes_of(cell: &Cell) -> usize {
    let more = match cell {
        Cell::Text(text) => text.len(),
        Cell::Blob(bytes) => bytes.len(),
        _ => 0,
    };
    size_of::<Cell>() + more
}

/// Reading is allowed, and nothing else.
fn authorize(context: AuthContext<'_>) -> Authorization {
    let allowed = match context.action {
        AuthAction::Select | AuthAction::Recursive => true,
        AuthAction::Read { table_name, .. } => !table_name.starts_with("sqlite_"),
        AuthAction::Function { function_name } => {
            !NO_FUNCTIONS.iter().any(|name| function_name.eq_ignore_ascii_case(name))
        }
        _ => false,
    };
    if allowed { Authorization::Allow } else { Authorization::Deny }
}

fn check_nesting(statement: &[Token]) -> Result<(), Fault> {
    let mut depth = 0_usize;
    for token in statement {
        match token.kind {
            Kind::Open => depth += 1,
            Kind::Close => depth = depth.saturating_sub(1),
            _ => {}
        }
        if depth > NESTING_MAX {
            let text = format!("more than {NESTING_MAX} parentheses within each other");
            return Err(Fault::new("54001", &text));
        }
    }
    Ok(())
}

/// Whether a statement asks what tables there are, and not for what is in them.
fn is_about_catalogue(statement: &[Token]) -> bool {
    let catalogue = |pair: &[Token]| {
        let [token, next] = pair else { return false };
        let name = token.bare();
        let is_table = token.is_name() && next.text != "(";
        is_table && (name.starts_with("pg_") || name == "information_schema")
    };
    let last = statement.last().is_some_and(|it| it.is_name() && it.bare().starts_with("pg_"));
    last || statement.windows(2).any(catalogue)
}

/// Whether SQLite or the catalogue lacks something that the statement uses.
fn is_unknown(error: &rusqlite::Error) -> bool {
    !matches!(error.sqlite_error_code(), Some(ErrorCode::OperationInterrupted | ErrorCode::TooBig))
}

/// No rows, under the names that the statement gives: the catalogue has more in PostgreSQL.
fn nothing(job: &Job) -> Outcome {
    let names = infer::names(&job.statement).into_iter();
    let types = infer::columns(&job.statement);
    let column = |(at, name): (usize, String)| {
        (name, types.get(at).cloned().flatten().unwrap_or(Type::TEXT))
    };
    let columns = names.enumerate().map(column).collect();
    Outcome { columns, ..Outcome::default() }
}
