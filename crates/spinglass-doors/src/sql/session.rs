//! A client's session: what it asks, what it listens to, where its cursors are.

use std::collections::HashMap;
use std::fmt::Debug;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use futures_util::stream;
use futures_util::{Sink, SinkExt as _};
use pgwire::api::portal::{Format, Portal};
use pgwire::api::query::{ExtendedQueryHandler, SimpleQueryHandler};
use pgwire::api::results::{
    CopyResponse, DescribePortalResponse, DescribeStatementResponse, FieldInfo, QueryResponse,
    Response, Tag,
};
use pgwire::api::stmt::{QueryParser, StoredStatement};
use pgwire::api::store::PortalStore;
use pgwire::api::{ClientInfo, ClientPortalStore, Type};
use pgwire::error::{PgWireError, PgWireResult};
use pgwire::messages::PgWireBackendMessage;
use pgwire::messages::response::TransactionStatus;
use rusqlite::types::Value as Cell;
use tokio::sync::OwnedSemaphorePermit;
use tokio::task::AbortHandle;

use super::engine::{Job, Outcome};
use super::fault::{Fault, Remark};
use super::lexer::{Token, statements, tokens};
use super::listen::{self, Heard};
use super::statement::{Parsed, Verb};
use super::types::{self, fields, parameter};
use super::{Door, catalogue, copy, infer};

/// Bytes of a statement's text.
const STATEMENT_BYTES_MAX: usize = 64 << 10;
/// How long others are waited for unless the client says otherwise, and the longest.
const WITHIN: Duration = Duration::from_secs(3);
const WITHIN_MAX: Duration = Duration::from_secs(60);
/// Cursors of a session.
const CURSORS_MAX: usize = 16;

/// What one client's connection has beside its socket.
#[derive(Debug)]
pub(super) struct Session {
    door: Arc<Door>,
    may_change: bool,
    mailbox: listen::Mailbox,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    within: Duration,
    cursors: HashMap<String, Cursor>,
    listens: HashMap<String, AbortHandle>,
}

#[derive(Debug)]
struct Cursor {
    columns: Vec<(String, Type)>,
    rows: std::vec::IntoIter<Vec<Cell>>,
    /// Whether it outlives its transaction.
    is_held: bool,
    _room: Option<OwnedSemaphorePermit>,
}

/// What a statement's answer is.
enum Answer {
    Rows(Outcome),
    /// Rows of a cursor.
    Fetched(Outcome),
    Done(Tag),
    Begin,
    End(&'static str),
    Copy(Outcome, super::statement::Form),
}

impl Session {
    pub(super) fn new(door: Arc<Door>, may_change: bool, mailbox: listen::Mailbox) -> Self {
        let state = State { within: WITHIN, cursors: HashMap::new(), listens: HashMap::new() };
        Self { door, may_change, mailbox, state: Mutex::new(state) }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn job(&self, query: &Arc<Vec<Token>>, parameters: Vec<Cell>) -> Job {
        let within = self.state().within;
        let (statement, may_change) = (Arc::clone(query), self.may_change);
        Job { statement, parameters, within, may_change, describes: false }
    }

    async fn run(&self, query: &Arc<Vec<Token>>, parameters: Vec<Cell>) -> Result<Outcome, Fault> {
        self.door.engine.run(self.job(query, parameters)).await
    }

    /// The columns that a statement will have.
    async fn columns(&self, query: &Arc<Vec<Token>>) -> Result<Vec<(String, Type)>, Fault> {
        let job = Job { describes: true, ..self.job(query, Vec::new()) };
        Ok(self.door.engine.run(job).await?.columns)
    }

    /// Does what a statement wants.
    ///
    /// `is_partly` says that the client takes rows as it likes.
    async fn perform(
        &self,
        verb: &Verb,
        parameters: Vec<Cell>,
        is_partly: bool,
    ) -> Result<Answer, Fault> {
        let done = |tag: &str| Ok(Answer::Done(Tag::new(tag)));
        match verb {
            Verb::Query(query) if is_partly => {
                let job = self.job(query, parameters);
                self.door.engine.run_to_keep(job).await.map(Answer::Rows)
            }
            Verb::Query(query) => self.run(query, parameters).await.map(Answer::Rows),
            Verb::Copy { query, form } => {
                Ok(Answer::Copy(self.run(query, parameters).await?, form.clone()))
            }
            Verb::Update { names, values } => self.update(names, values, parameters).await,
            Verb::Begin => Ok(Answer::Begin),
            Verb::Commit => Ok(Answer::End("COMMIT")),
            Verb::Rollback => Ok(Answer::End("ROLLBACK")),
            Verb::Nothing(tag) => done(tag),
            Verb::Forget(tag) => {
                if *tag == "DISCARD ALL" {
                    self.unlisten(None);
                    self.state().cursors.clear();
                }
                done(tag)
            }
            Verb::Set { name, value } => self.set(name, value),
            Verb::Show(name) => show(name).map(Answer::Rows),
            Verb::Listen(topic) => self.listen(topic),
            Verb::Unlisten(topic) => {
                self.unlisten(topic.as_deref());
                done("UNLISTEN")
            }
            Verb::Notify { topic, payload } => {
                self.notify(topic, payload.as_ref()).await?;
                done("NOTIFY")
            }
            Verb::Declare { name, query, is_held } => {
                let outcome = self.door.engine.run_to_keep(self.job(query, parameters)).await?;
                self.declare(name, *is_held, outcome)
            }
            Verb::Fetch { name, count, moves } => self.fetch(name, *count, *moves),
            Verb::Close(name) => {
                let mut state = self.state();
                match name {
                    Some(name) => drop(state.cursors.remove(name)),
                    None => state.cursors.clear(),
                }
                done("CLOSE CURSOR")
            }
        }
    }

    async fn update(
        &self,
        names: &[String],
        values: &Arc<Vec<Token>>,
        parameters: Vec<Cell>,
    ) -> Result<Answer, Fault> {
        if !self.may_change {
            return Err(Fault::new("42501", super::READ_ONLY));
        }
        let outcome = self.run(values, parameters).await?;
        let table = self.door.node()?.table();
        for row in &outcome.rows {
            let cells = names.iter().zip(row).zip(&outcome.columns);
            let set = table.set_all(
                cells.map(|((name, cell), (_, of))| (name.as_str(), types::value(cell, of))),
            );
            set.await.map_err(|error| Fault::new("22023", &error.to_string()))?;
            names.iter().for_each(|name| (self.door.claims)(name));
        }
        let door = Arc::clone(&self.door);
        // A column of this name may not have been there before.
        let _seen = tokio::task::spawn_blocking(move || door.live.see_own()).await;
        Ok(Answer::Done(Tag::new("UPDATE").with_rows(outcome.rows.len())))
    }

    fn set(&self, name: &str, value: &str) -> Result<Answer, Fault> {
        if name == "statement_timeout" {
            let within =
                if value == "default" || value == "0" { Some(WITHIN) } else { time(value) };
            let within = within.ok_or_else(|| {
                Fault::new("22023", "statement_timeout is a time, such as '5s' or 5000")
            })?;
            self.state().within = within.min(WITHIN_MAX);
        }
        Ok(Answer::Done(Tag::new("SET")))
    }

    fn listen(&self, topic: &str) -> Result<Answer, Fault> {
        let node = self.door.node()?;
        let mut state = self.state();
        if !state.listens.contains_key(topic) {
            if state.listens.len() == listen::TOPICS_MAX {
                return Err(Fault::new("54000", "a session listens to 64 topics at most"));
            }
            let heard = Heard::of(&node, topic)?;
            let task = heard.tell(self.door.live.notices(), self.mailbox.clone());
            state.listens.insert(topic.to_owned(), task);
        }
        Ok(Answer::Done(Tag::new("LISTEN")))
    }

    fn unlisten(&self, topic: Option<&str>) {
        self.state().listens.retain(|name, task| {
            let goes = topic.is_none_or(|topic| topic == name);
            if goes {
                task.abort();
            }
            !goes
        });
    }

    async fn notify(&self, topic: &str, payload: Option<&Token>) -> Result<(), Fault> {
        if !self.may_change {
            return Err(Fault::new("42501", super::READ_ONLY));
        }
        let payload = payload.map(Token::bare).unwrap_or_default();
        let sent = self.door.live.publish(topic, payload).await;
        sent.map_err(|error| Fault::new("42501", &error))
    }

    fn declare(&self, name: &str, is_held: bool, outcome: Outcome) -> Result<Answer, Fault> {
        let Outcome { columns, rows, room, .. } = outcome;
        let cursor = Cursor { columns, rows: rows.into_iter(), is_held, _room: room };
        let mut state = self.state();
        if state.cursors.len() == CURSORS_MAX {
            return Err(Fault::new("54000", "a session has 16 cursors at most: CLOSE one"));
        }
        state.cursors.insert(name.to_owned(), cursor);
        Ok(Answer::Done(Tag::new("DECLARE CURSOR")))
    }

    /// Cursors end with their transaction, but for those that were declared to stay.
    fn end_transaction(&self) {
        self.state().cursors.retain(|_, cursor| cursor.is_held);
    }

    fn fetch(&self, name: &str, count: Option<usize>, moves: bool) -> Result<Answer, Fault> {
        let mut state = self.state();
        let cursor = state.cursors.get_mut(name);
        let cursor = cursor
            .ok_or_else(|| Fault::new("34000", &format!("cursor \"{name}\" does not exist")))?;
        let rows: Vec<_> = cursor.rows.by_ref().take(count.unwrap_or(usize::MAX)).collect();
        if moves {
            return Ok(Answer::Done(Tag::new("MOVE").with_rows(rows.len())));
        }
        let columns = cursor.columns.clone();
        Ok(Answer::Fetched(Outcome { columns, rows, ..Outcome::default() }))
    }

    fn cursor_columns(&self, name: &str) -> Option<Vec<(String, Type)>> {
        self.state().cursors.get(name).map(|cursor| cursor.columns.clone())
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        self.unlisten(None);
    }
}

fn show(name: &str) -> Result<Outcome, Fault> {
    let text = |name: &str| (name.to_owned(), Type::TEXT);
    if name == "all" {
        let row = |(name, value): (&str, &str)| {
            [name, value, ""].map(|text| Cell::Text(text.into())).into()
        };
        return Ok(Outcome {
            columns: ["name", "setting", "description"].map(text).into(),
            rows: catalogue::settings().map(row).collect(),
            ..Outcome::default()
        });
    }
    let name = if name == "transaction_isolation_level" { "transaction_isolation" } else { name };
    let value = catalogue::setting(name).ok_or_else(|| {
        Fault::new("42704", &format!("unrecognized configuration parameter \"{name}\""))
    })?;
    let rows = vec![vec![Cell::Text(value.into())]];
    Ok(Outcome { columns: vec![text(name)], rows, ..Outcome::default() })
}

/// `5s`, `500ms`, `1min`, or milliseconds.
fn time(text: &str) -> Option<Duration> {
    let digits = text.trim_end_matches(|it: char| it.is_ascii_alphabetic() || it == ' ');
    let number: u64 = digits.parse().ok()?;
    Some(match text.get(digits.len()..)?.trim() {
        "" | "ms" => Duration::from_millis(number),
        "s" => Duration::from_secs(number),
        "min" => Duration::from_secs(number.checked_mul(60)?),
        _ => return None,
    })
}

/// The handlers that the protocol calls; the session is found with the client.
#[derive(Debug)]
pub(super) struct Handlers;

fn session<C: ClientInfo>(client: &C) -> PgWireResult<Arc<Session>> {
    let session = client.session_extensions().get::<Session>();
    session.ok_or_else(|| Fault::gone().into())
}

/// Tells what is to be said beside the rows.
async fn remark<C>(client: &mut C, remarks: &mut Vec<Remark>) -> PgWireResult<()>
where
    C: Sink<PgWireBackendMessage> + Unpin,
    PgWireError: From<C::Error>,
{
    for remark in remarks.drain(..) {
        client.feed(remark.into()).await?;
    }
    Ok(())
}

/// In a transaction that has failed, nothing is done but to end it.
fn check_transaction(status: TransactionStatus, verb: &Verb) -> Result<bool, Fault> {
    let has_failed = status == TransactionStatus::Error;
    match verb {
        Verb::Commit | Verb::Rollback => Ok(has_failed),
        Verb::Nothing("ROLLBACK") => Ok(false),
        _ if has_failed => Err(Fault::new(
            "25P02",
            "current transaction is aborted, commands ignored until end of transaction block",
        )),
        _ => Ok(false),
    }
}

/// An answer as the protocol sends it.
fn response(answer: Answer, told: Option<&[(String, Type)]>, format: &Format) -> Response {
    let tag = if matches!(answer, Answer::Fetched(_)) { "FETCH" } else { "SELECT" };
    match answer {
        Answer::Rows(Outcome { columns, rows, room, .. })
        | Answer::Fetched(Outcome { columns, rows, room, .. }) => {
            let schema = Arc::new(fields(told.unwrap_or(&columns), format));
            let sent = Arc::clone(&schema);
            let rows = rows.into_iter().map(move |row| {
                let _until_the_last = &room;
                Ok(types::row(&row, &sent))
            });
            let mut response = QueryResponse::new(schema, stream::iter(rows));
            response.set_command_tag(tag);
            Response::Query(response)
        }
        Answer::Done(tag) => Response::Execution(tag),
        Answer::Begin => Response::TransactionStart(Tag::new("BEGIN")),
        Answer::End(tag) => Response::TransactionEnd(Tag::new(tag)),
        Answer::Copy(outcome, form) => {
            let columns = outcome.columns.len();
            let lines = copy::lines(outcome, &form).map(Ok);
            Response::CopyOut(CopyResponse::new(0, columns, stream::iter(lines)))
        }
    }
}

fn check_length(sql: &str) -> Result<(), Fault> {
    if sql.len() <= STATEMENT_BYTES_MAX {
        return Ok(());
    }
    let text = format!("a statement has {} KiB at most", STATEMENT_BYTES_MAX >> 10);
    Err(Fault::new("54000", &text))
}

#[async_trait]
impl SimpleQueryHandler for Handlers {
    async fn do_query<C>(&self, client: &mut C, sql: &str) -> PgWireResult<Vec<Response>>
    where
        C: ClientInfo + ClientPortalStore + Sink<PgWireBackendMessage> + Unpin + Send + Sync,
        C::PortalStore: PortalStore,
        C::Error: Debug,
        PgWireError: From<<C as Sink<PgWireBackendMessage>>::Error>,
    {
        check_length(sql)?;
        let session = session(client)?;
        let mut responses = Vec::new();
        let mut status = client.transaction_status();
        for statement in statements(tokens(sql)) {
            let verb = Parsed::read(statement)?.verb;
            let undone = check_transaction(status, &verb)?;
            let mut answer = match session.perform(&verb, Vec::new(), false).await {
                Ok(answer) => answer,
                // What was done before is told, and then what failed.
                Err(fault) if !responses.is_empty() => {
                    let PgWireError::UserError(info) = fault.into() else { break };
                    responses.push(Response::Error(info));
                    break;
                }
                Err(fault) => return Err(fault.into()),
            };
            match &mut answer {
                Answer::Begin => status = TransactionStatus::Transaction,
                Answer::End(tag) => {
                    status = TransactionStatus::Idle;
                    session.end_transaction();
                    *tag = if undone { "ROLLBACK" } else { tag };
                }
                Answer::Rows(outcome) | Answer::Copy(outcome, _) => {
                    remark(client, &mut outcome.remarks).await?;
                }
                Answer::Fetched(_) | Answer::Done(_) => {}
            }
            responses.push(response(answer, None, &Format::UnifiedText));
        }
        if responses.is_empty() {
            responses.push(Response::EmptyQuery);
        }
        Ok(responses)
    }
}

#[async_trait]
impl QueryParser for Handlers {
    type Statement = Parsed;

    async fn parse_sql<C>(
        &self,
        _: &C,
        sql: &str,
        _: &[Option<Type>],
    ) -> PgWireResult<Option<Parsed>>
    where
        C: ClientInfo + Unpin + Send + Sync,
    {
        check_length(sql)?;
        let mut found = statements(tokens(sql));
        match (found.pop(), found.pop()) {
            (None, _) => Ok(None),
            (Some(statement), None) => Ok(Some(Parsed::read(statement)?)),
            (Some(_), Some(_)) => {
                let text = "cannot insert multiple commands into a prepared statement";
                Err(Fault::new("42601", text).into())
            }
        }
    }

    fn get_parameter_types(&self, _: &Parsed) -> PgWireResult<Vec<Type>> {
        Ok(Vec::new())
    }

    fn get_result_schema(&self, _: &Parsed, _: Option<&Format>) -> PgWireResult<Vec<FieldInfo>> {
        Ok(Vec::new())
    }
}

impl Handlers {
    /// The columns that a statement has, told once and then kept to.
    async fn described(session: &Session, parsed: &Parsed) -> PgWireResult<Vec<(String, Type)>> {
        if let Some(columns) = parsed.described.get() {
            return Ok(columns.clone());
        }
        let columns = match &parsed.verb {
            Verb::Query(query) => session.columns(query).await?,
            Verb::Fetch { name, moves: false, .. } => {
                session.cursor_columns(name).unwrap_or_default()
            }
            Verb::Show(name) => show(name)?.columns,
            _ => Vec::new(),
        };
        Ok(parsed.described.get_or_init(|| columns).clone())
    }

    fn parameter_types(session: &Session, statement: &StoredStatement<Parsed>) -> Vec<Type> {
        let column = |name: &str| session.door.engine.type_of(name);
        let query = match &statement.statement.verb {
            Verb::Declare { query, .. } | Verb::Copy { query, .. } => Some(query),
            _ => statement.statement.query(),
        };
        let mut inferred = query.map_or_else(Vec::new, |query| infer::parameters(query, &column));
        inferred.resize(inferred.len().max(statement.parameter_types.len()), None);
        let told = statement.parameter_types.iter().cloned().chain(std::iter::repeat(None));
        let known = |of: &Type| *of != Type::UNKNOWN;
        let both = inferred.into_iter().zip(told);
        both.map(|(inferred, told)| told.filter(known).or(inferred).unwrap_or(Type::TEXT)).collect()
    }
}

#[async_trait]
impl ExtendedQueryHandler for Handlers {
    type Statement = Parsed;
    type QueryParser = Self;

    fn query_parser(&self) -> Arc<Self> {
        Arc::new(Self)
    }

    async fn do_describe_statement<C>(
        &self,
        client: &mut C,
        target: &StoredStatement<Parsed>,
    ) -> PgWireResult<DescribeStatementResponse>
    where
        C: ClientInfo + ClientPortalStore + Sink<PgWireBackendMessage> + Unpin + Send + Sync,
        C::PortalStore: PortalStore<Statement = Parsed>,
        C::Error: Debug,
        PgWireError: From<<C as Sink<PgWireBackendMessage>>::Error>,
    {
        let session = session(client)?;
        let columns = Self::described(&session, &target.statement).await?;
        let types = Self::parameter_types(&session, target);
        Ok(DescribeStatementResponse::new(types, fields(&columns, &Format::UnifiedText)))
    }

    async fn do_describe_portal<C>(
        &self,
        client: &mut C,
        target: &Portal<Parsed>,
    ) -> PgWireResult<DescribePortalResponse>
    where
        C: ClientInfo + ClientPortalStore + Sink<PgWireBackendMessage> + Unpin + Send + Sync,
        C::PortalStore: PortalStore<Statement = Parsed>,
        C::Error: Debug,
        PgWireError: From<<C as Sink<PgWireBackendMessage>>::Error>,
    {
        let session = session(client)?;
        let columns = Self::described(&session, &target.statement.statement).await?;
        Ok(DescribePortalResponse::new(fields(&columns, &target.result_column_format)))
    }

    async fn do_query<C>(
        &self,
        client: &mut C,
        portal: &Portal<Parsed>,
        max_rows: usize,
    ) -> PgWireResult<Response>
    where
        C: ClientInfo + ClientPortalStore + Sink<PgWireBackendMessage> + Unpin + Send + Sync,
        C::PortalStore: PortalStore<Statement = Parsed>,
        C::Error: Debug,
        PgWireError: From<<C as Sink<PgWireBackendMessage>>::Error>,
    {
        let session = session(client)?;
        let parsed = &portal.statement.statement;
        let undone = check_transaction(client.transaction_status(), &parsed.verb)?;
        let types = Self::parameter_types(&session, &portal.statement);
        let parameters = parameters(portal, &types)?;
        let mut answer = session.perform(&parsed.verb, parameters, max_rows > 0).await?;
        match &mut answer {
            Answer::Rows(outcome) | Answer::Copy(outcome, _) => {
                remark(client, &mut outcome.remarks).await?;
            }
            Answer::End(tag) => {
                session.end_transaction();
                *tag = if undone { "ROLLBACK" } else { tag };
            }
            Answer::Begin | Answer::Fetched(_) | Answer::Done(_) => {}
        }
        if let Verb::Declare { name, .. } = &parsed.verb {
            // A client may ask for the cursor's columns by its name.
            let columns = session.cursor_columns(name).unwrap_or_default();
            let fetch = Verb::Fetch { name: name.clone(), count: None, moves: false };
            let fetch = Parsed::new(fetch);
            let _first = fetch.described.set(columns);
            let statement = Arc::new(StoredStatement::new(name.clone(), fetch, Vec::new()));
            client.portal_store().put_portal(Arc::new(Portal::new_cursor(name.clone(), statement)));
        }
        let told = parsed.described.get().map(Vec::as_slice).filter(|told| !told.is_empty());
        Ok(response(answer, told, &portal.result_column_format))
    }
}

fn parameters(portal: &Portal<Parsed>, types: &[Type]) -> Result<Vec<Cell>, Fault> {
    if portal.parameters.len() > super::PARAMETERS_MAX {
        return Err(Fault::new("54000", "a statement has 1,000 parameters at most"));
    }
    let read = |(at, bytes): (usize, &Option<bytes::Bytes>)| {
        let Some(bytes) = bytes else { return Ok(Cell::Null) };
        let of = types.get(at).unwrap_or(&Type::TEXT);
        let binary = match &portal.parameter_format {
            Format::UnifiedText => false,
            Format::UnifiedBinary => true,
            Format::Individual(codes) => codes.get(at).is_some_and(|code| *code != 0),
        };
        parameter(bytes, of, binary).ok_or_else(|| {
            Fault::new("22P03", &format!("parameter ${} is no {}", at + 1, of.name()))
        })
    };
    portal.parameters.iter().enumerate().map(read).collect()
}
