//! Reading beyond one's own path: drill-down to any zone, and queries over all hosts (Astrolabe,
//! TOCS 2003, section 2: a resource is located by descending where the summaries point).
//!
//! An agent holds the tables of its own path. About any other zone it asks a contact of the zone
//! that leads there; that one answers from its own table, or asks on. A query goes to a contact of
//! each child zone that the summaries can't rule out; what comes back is put in order, cut to the
//! query's `LIMIT`, and passed up.
//!
//! ```text
//!  asker              a contact of /eu        a contact of /eu/paris
//!    | - ask: hosts -----> |  /eu/lyon ruled out       |
//!    | <---------- heard - | - ask: hosts -----------> |
//!    |                     | <- piece 1 of 1 --------- |  its region's rows
//!    |                     | - fetch: nothing more --> |
//!    | <--- piece 1 of 9 - |
//!    | - fetch: 8 .. ----> |        what was lost, and what was not sent unasked
//! ```
//!
//! Invariants: each hop shares more of the zone's path than the one before, so a question makes at
//! most as many hops as the path has names; an answer is taken from the address that was asked,
//! and no other; a zone's rows are verified by everybody who passes them on or shows them, and
//! whoever shows them has seen their issuers' certificates, which travel with them; every
//! zone that is looked for is ruled out, answers, or is counted as silent, and whatever does not
//! fit is told to be missing. Questions, tries, pieces, bytes and steps are bounded: see the
//! constants; whoever is asked too much refuses, and whoever asks too much is refused.
//!
//! What it leaves to others: whether a summary proves anything is `spinglass-summary`'s matter,
//! and which functions made a row is the table's.

mod errand;
mod kept;
mod messages;
mod question;
mod report;
mod search;

use alloc::collections::{BTreeMap, VecDeque};
use alloc::string::String;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::net::SocketAddr;
use core::time::Duration;

use spinglass_summary::Query;

pub use messages::{
    ANSWER_BYTES_MAX, Ask, FETCH_MAX, Fetch, Message, PIECE_BYTES_MAX, PIECES_MAX, Piece,
    SQL_BYTES_MAX, WITHIN_MAX,
};
pub use question::{Answer, AskError, Outcome, Question, QuestionId};
pub use report::{Found, Reach, Report};

use crate::crypto::Crypto;
use crate::event::Reject;
use crate::id::MemberId;
use crate::identity::Chain;
use crate::outbox::{Control, Outbox};
use crate::rng::Prng;
use crate::stats::Stats;
use crate::table::{AgedRow, Route, Table, TableCx, UnverifiedRow, ZonePath};
use crate::time::{Instant, Now};
use crate::trust::Trust;
use errand::{Errand, Next, SIGN_WAIT, Taken};
use kept::Kept;
pub(crate) use messages::{ASK, FETCH};
use search::{Asker, Failure, Search};

/// Questions of this agent's own user under way at once; further ones are refused.
const OWN_MAX: usize = 64;
/// Questions of others worked on at once; further ones are refused.
const OTHERS_MAX: usize = 64;
/// Questions of one other agent that are worked on, or whose answers it may still fetch; further
/// ones are refused.
const PER_ASKER_MAX: usize = 32;
/// Zones asked at once for one question; the others wait for their turn.
const ERRANDS_MAX: usize = 32;
/// Bytes of pieces that wait for the rest of their answers; when full, a piece is dropped, and will
/// be asked for again.
const ASSEMBLY_BYTES_MAX: usize = 8 << 20;
/// Chains of certificates looked at in one answer: rows of further strangers are left out.
const CHAINS_MAX: usize = 256;
/// Pieces of an answer that are sent unasked: what a small answer needs.
const FIRST_PIECES: u16 = 8;
/// Bytes of pieces sent in a second; what is beyond is not sent, and will be asked for again.
const BYTES_PER_SECOND: usize = 512 << 10;
/// Steps that the rows held here may take for one question: at most 40 ms on a slow machine.
const STEPS_MAX: u32 = 1_000_000;
/// The same for all questions of others in a second: when spent, questions are refused.
const STEPS_PER_SECOND: u32 = 5_000_000;
/// The share of its own time that an agent gives to whom it asks, in quarters: the rest is for the
/// way back, and for telling what came in time.
const QUARTERS_GIVEN: u32 = 3;

/// What questions may touch while one input is handled.
pub(crate) struct QueryCx<'a> {
    pub(crate) now: Now,
    pub(crate) own: SocketAddr,
    pub(crate) table: &'a mut Table,
    /// Whom it believes, in certified mode.
    pub(crate) trust: Option<&'a mut Trust>,
    pub(crate) crypto: &'a mut dyn Crypto,
    pub(crate) outbox: &'a mut Outbox,
    pub(crate) stats: &'a mut Stats,
}

/// Questions, one's own and those of others.
#[derive(Debug)]
pub struct Queries {
    /// The next number for a question: its start is drawn, so that a restart repeats none.
    next: u64,
    searches: BTreeMap<u64, Search>,
    answers: VecDeque<(QuestionId, Answer)>,
    kept: Kept,
    /// Bytes of a datagram that a message about questions may fill.
    room: usize,
    /// When the present second's budgets began.
    second: Instant,
    bytes_left: usize,
    steps_left: u32,
    rng: Prng,
}

impl Queries {
    /// `room`: bytes of a frame's body that fit a datagram beside its sender's record.
    pub(crate) fn new(room: usize, mut rng: Prng, now: Instant) -> Self {
        Self {
            next: rng.next_u64(),
            searches: BTreeMap::new(),
            answers: VecDeque::new(),
            kept: Kept::default(),
            room,
            second: now,
            bytes_left: BYTES_PER_SECOND,
            steps_left: STEPS_PER_SECOND,
            rng,
        }
    }

    // --- what the application asks

    /// Begins to find something out.
    ///
    /// # Errors
    /// The SQL is no query or too long, or too many questions are under way.
    pub(crate) fn ask(
        &mut self,
        question: &Question,
        cx: &mut QueryCx<'_>,
    ) -> Result<QuestionId, AskError> {
        let is_own = |search: &&Search| matches!(search.asker, Asker::Own(_));
        let under_way = self.searches.values().filter(is_own).count() + self.answers.len();
        if under_way >= OWN_MAX {
            return Err(AskError::Busy { limit: OWN_MAX });
        }
        let sql = question.sql.as_deref();
        let limit = self.sql_bytes_max();
        if let Some(got) = sql.map(str::len).filter(|got| *got > limit) {
            return Err(AskError::TooLong { limit, got });
        }
        let query = sql.map(Query::parse).transpose().map_err(AskError::Sql)?;
        let id = QuestionId(self.next_number());
        let began = cx.now.monotonic;
        let due = began + question.within.min(WITHIN_MAX);
        cx.stats.questions_asked += 1;
        let search = Search::new(Asker::Own(id), question.zone.clone(), query, began, due);
        self.begin(search, STEPS_MAX, cx);
        Ok(id)
    }

    /// The next answer that has come.
    pub(crate) fn poll_answer(&mut self) -> Option<(QuestionId, Answer)> {
        self.answers.pop_front()
    }

    /// When [`on_due`](Self::on_due) is next wanted.
    pub(crate) fn next_due(&self) -> Option<Instant> {
        let due = |search: &Search| {
            let errands = search.errands.iter().map(|errand| errand.due);
            errands.fold(search.due, Instant::min)
        };
        self.searches.values().map(due).min()
    }

    /// Does whatever the time has come for.
    pub(crate) fn on_due(&mut self, cx: &mut QueryCx<'_>) {
        let now = cx.now.monotonic;
        let ids: Vec<u64> = self.searches.keys().copied().collect();
        for id in ids {
            if self.searches.get(&id).is_some_and(|search| search.due <= now) {
                self.finish(id, cx);
            } else {
                self.advance(id, cx);
            }
        }
    }

    // --- what others say

    /// Takes in what another agent says of a question, its own or one of this agent's.
    ///
    /// # Errors
    /// It is an answer that is none, or holds a row that its issuer did not sign.
    pub(crate) fn on_message(
        &mut self,
        from: (MemberId, SocketAddr),
        message: Message,
        cx: &mut QueryCx<'_>,
    ) -> Result<(), Reject> {
        if cx.now.monotonic.since(self.second) >= Duration::from_secs(1) {
            self.second = cx.now.monotonic;
            (self.bytes_left, self.steps_left) = (BYTES_PER_SECOND, STEPS_PER_SECOND);
        }
        match message {
            Message::Ask(ask) => self.on_ask(from, &ask, cx),
            Message::Heard(number) => {
                if let Some((_, errand)) = self.errand(number, from.1) {
                    errand.on_heard(cx.now.monotonic);
                }
            }
            Message::Piece(piece) => return self.on_piece(from.1, piece, cx),
            Message::Fetch(fetch) if fetch.indices.is_empty() => {
                self.kept.forget(from.0, fetch.number);
            }
            Message::Fetch(fetch) => self.send_pieces((from.0, fetch.number), fetch.indices, cx),
        }
        Ok(())
    }

    fn on_ask(&mut self, (id, to): (MemberId, SocketAddr), ask: &Ask, cx: &mut QueryCx<'_>) {
        let number = ask.number;
        if self.kept.pieces((id, number), [], self.piece_bytes()).is_some() {
            return self.send_pieces((id, number), 0..FIRST_PIECES, cx);
        }
        let asker = Asker::Member { id, to, number };
        if self.searches.values().any(|search| search.asker == asker) {
            return tell(to, Message::Heard(number), cx);
        }
        let leads_there = cx.table.region().common_depth(&ask.zone) >= usize::from(ask.depth);
        let is_bounded = !cfg!(spinglass_bug = "questions_unbounded");
        if !leads_there || is_bounded && !self.has_room_for(id, cx.now.monotonic) {
            cx.stats.questions_refused += 1;
            return self.tell_at_once(to, number, Found::Refused, cx);
        }
        let Ok(query) = ask.sql.as_deref().map(Query::parse).transpose() else {
            return self.tell_at_once(to, number, Found::NotUnderstood, cx);
        };
        cx.stats.questions_taken += 1;
        let began = cx.now.monotonic;
        let due = began + Duration::from_millis(ask.within_ms.into());
        let search = Search::new(asker, ask.zone.clone(), query, began, due);
        let allowed = self.steps_left.min(STEPS_MAX);
        let (id, steps) = self.begin(search, allowed, cx);
        self.steps_left = self.steps_left.saturating_sub(steps.max(1));
        if self.searches.contains_key(&id) {
            tell(to, Message::Heard(number), cx);
        }
    }

    /// Whether an agent may ask one more.
    fn has_room_for(&self, asker: MemberId, now: Instant) -> bool {
        let askers = self.searches.values().filter_map(|search| match search.asker {
            Asker::Member { id, .. } => Some(id),
            Asker::Own(_) => None,
        });
        let (mut all, mut its) = (0, self.kept.count(asker, now));
        for id in askers {
            all += 1;
            its += usize::from(id == asker);
        }
        all < OTHERS_MAX && its < PER_ASKER_MAX && self.steps_left > 0
    }

    fn on_piece(
        &mut self,
        from: SocketAddr,
        piece: Piece,
        cx: &mut QueryCx<'_>,
    ) -> Result<(), Reject> {
        let now = cx.now.monotonic;
        let number = piece.number;
        let waiting = self.searches.values().flat_map(|search| &search.errands);
        let held: usize = waiting.map(Errand::bytes).sum();
        if held + piece.bytes.len() > ASSEMBLY_BYTES_MAX {
            cx.stats.pieces_over_budget += 1;
            return Ok(());
        }
        let Some((id, errand)) = self.errand(number, from) else {
            // Its answer is whole, or came too late; its sender need not keep it.
            tell(from, Message::Fetch(Fetch { number, indices: Vec::new() }), cx);
            return Ok(());
        };
        match errand.on_piece(piece, FIRST_PIECES, now) {
            Taken::Surplus | Taken::Kept => Ok(()),
            Taken::Wants(indices) => {
                tell(from, Message::Fetch(Fetch { number, indices }), cx);
                Ok(())
            }
            Taken::Whole(bytes) => {
                tell(from, Message::Fetch(Fetch { number, indices: Vec::new() }), cx);
                let taken = self.on_report(id, number, &bytes, cx);
                self.advance(id, cx);
                taken
            }
        }
    }

    /// Takes a whole answer over. One that is not to be believed is as good as none.
    fn on_report(
        &mut self,
        id: u64,
        number: u64,
        bytes: &[u8],
        cx: &mut QueryCx<'_>,
    ) -> Result<(), Reject> {
        let Some(search) = self.searches.get_mut(&id) else { return Ok(()) };
        let place = search.errands.iter().position(|errand| errand.number == number);
        let Some(errand) = place.and_then(|at| search.errands.get_mut(at)) else { return Ok(()) };
        let now = cx.now.monotonic;
        let (since, is_below) = (errand.since, errand.target.zone != search.zone);
        let checked = Report::parse(bytes).map_err(|_| Reject::Malformed).and_then(|report| {
            let rows = match &report.found {
                Found::Rows { rows, chains } => {
                    let is_shown = matches!(search.asker, Asker::Own(_));
                    checked_rows((rows, chains), &search.zone, is_shown, cx)?
                }
                _ => Vec::new(),
            };
            Ok((report, rows))
        });
        let (Report { reach, found }, rows) = match checked {
            Ok(checked) => checked,
            Err(reject) => {
                errand.on_refused();
                return Err(reject);
            }
        };
        match (found, search.query.is_some()) {
            (Found::Rows { rows: told, chains }, false) => {
                if rows.len() < told.len() {
                    search.cut();
                }
                search.add_rows((rows, chains), (since, now));
            }
            (Found::Hosts(hosts), true) => search.add_hosts(hosts, reach.age_ms, (since, now)),
            (Found::NoSuchZone(zone), _) if !is_below => {
                search.failure = Some(Failure::NoSuchZone(zone));
            }
            (Found::NotUnderstood, true) if !is_below => {
                search.failure = Some(Failure::NotUnderstood);
            }
            (Found::Refused | Found::NotUnderstood | Found::NoSuchZone(_), _) => {
                errand.on_refused();
                return Ok(());
            }
            (Found::Rows { .. }, true) | (Found::Hosts(_), false) => {
                errand.on_refused();
                return Err(Reject::Malformed);
            }
        }
        search.on_answer(&reach);
        search.errands.retain(|errand| errand.number != number);
        Ok(())
    }

    // --- a question's way

    /// Looks for an answer here, and asks on for what is not here. Returns the search's number,
    /// which may be done already, and the steps that it took.
    fn begin(&mut self, mut search: Search, steps: u32, cx: &mut QueryCx<'_>) -> (u64, u32) {
        let mut taken = 0;
        match cx.table.route(&search.zone) {
            Route::Here => taken = search.look(cx.table, cx.own, steps),
            Route::Toward(row) => search.go_toward(&row, cx.own),
            Route::Nowhere(zone) => search.failure = Some(Failure::NoSuchZone(zone)),
        }
        let id = self.next_number();
        self.searches.insert(id, search);
        self.advance(id, cx);
        (id, taken)
    }

    /// Asks whoever is to be asked now, and ends the search if nobody is left.
    fn advance(&mut self, id: u64, cx: &mut QueryCx<'_>) {
        let now = cx.now.monotonic;
        while self.fill(id, now) {
            let Some(search) = self.searches.get_mut(&id) else { return };
            let mut given_up = 0;
            let mut next = self.next;
            let asking = Asking::of(search, now);
            search.errands.retain_mut(|errand| {
                if errand.due > now {
                    return true;
                }
                next = next.wrapping_add(1);
                let step = errand.on_due(next, now);
                given_up += usize::from(step == Next::GiveUp);
                asking.tell(errand, step, cx)
            });
            self.next = next;
            (0..given_up).for_each(|_| search.on_silent());
            if given_up == 0 {
                break;
            }
        }
        if self.searches.get(&id).is_some_and(Search::is_done) {
            self.finish(id, cx);
        }
    }

    /// Begins as many errands as may be under way. Returns whether any are.
    fn fill(&mut self, id: u64, now: Instant) -> bool {
        let Some(search) = self.searches.get_mut(&id) else { return false };
        while search.errands.len() < ERRANDS_MAX
            && let Some(target) = search.waiting.pop_front()
        {
            self.next = self.next.wrapping_add(1);
            let contact = self.rng.index(target.contacts.len());
            search.errands.push(Errand::new(target, contact, self.next, now));
        }
        !search.errands.is_empty()
    }

    fn finish(&mut self, id: u64, cx: &mut QueryCx<'_>) {
        let Some(search) = self.searches.remove(&id) else { return };
        let now = cx.now.monotonic;
        match search.asker {
            Asker::Own(question) => self.answers.push_back((question, search.into_answer(now))),
            Asker::Member { id, to, number } => {
                let report = search.into_report(now, cx.trust.as_deref());
                if report.found == Found::Refused {
                    return self.tell_at_once(to, number, Found::Refused, cx);
                }
                self.kept.keep((id, to), number, report.bytes(), now);
                self.send_pieces((id, number), 0..FIRST_PIECES, cx);
            }
        }
    }

    fn errand(&mut self, number: u64, from: SocketAddr) -> Option<(u64, &mut Errand)> {
        let errands = self
            .searches
            .iter_mut()
            .flat_map(|(id, search)| search.errands.iter_mut().map(|errand| (*id, errand)));
        let mut asked = errands.filter(|(_, errand)| errand.number == number);
        asked.next().filter(|(_, errand)| errand.contact() == Some(from))
    }

    const fn next_number(&mut self) -> u64 {
        self.next = self.next.wrapping_add(1);
        self.next
    }

    // --- sending

    fn send_pieces(
        &mut self,
        answer: (MemberId, u64),
        indices: impl IntoIterator<Item = u16>,
        cx: &mut QueryCx<'_>,
    ) {
        let Some((to, pieces)) = self.kept.pieces(answer, indices, self.piece_bytes()) else {
            return;
        };
        for piece in pieces {
            let Some(left) = self.bytes_left.checked_sub(piece.bytes.len()) else {
                cx.stats.pieces_over_budget += 1;
                break;
            };
            self.bytes_left = left;
            cx.stats.pieces_sent += 1;
            tell(to, Message::Piece(piece), cx);
        }
    }

    /// Sends an answer that says no more than why there is none, and keeps nothing.
    fn tell_at_once(&mut self, to: SocketAddr, number: u64, found: Found, cx: &mut QueryCx<'_>) {
        let bytes = Report { reach: Reach::default(), found }.bytes();
        let Some(left) = self.bytes_left.checked_sub(bytes.len()) else { return };
        self.bytes_left = left;
        tell(to, Message::Piece(Piece { number, index: 0, count: 1, bytes }), cx);
    }

    const fn piece_bytes(&self) -> usize {
        // Number, index, count.
        let room = self.room.saturating_sub(12);
        if room < PIECE_BYTES_MAX { room } else { PIECE_BYTES_MAX }
    }

    const fn sql_bytes_max(&self) -> usize {
        // Number, zone, depth, time.
        let room = self.room.saturating_sub(8 + 65 + 1 + 5);
        if room < SQL_BYTES_MAX { room } else { SQL_BYTES_MAX }
    }

    /// Checks what must always hold. For tests and simulators.
    pub fn check_invariants(&self) {
        assert!(self.searches.len() <= OWN_MAX + OTHERS_MAX);
        for search in self.searches.values() {
            assert!(search.errands.len() <= ERRANDS_MAX && !search.is_done());
        }
    }
}

/// What is said to everybody who is asked for one search.
struct Asking {
    within_ms: u32,
    sql: Option<String>,
}

impl Asking {
    fn of(search: &Search, now: Instant) -> Self {
        let within = search.due.since(now) / 4 * QUARTERS_GIVEN;
        let within_ms = u32::try_from(within.as_millis()).unwrap_or(u32::MAX);
        Self { within_ms, sql: search.query.as_ref().map(|query| query.sql().into()) }
    }

    /// Says what an errand wants said; returns whether it goes on.
    fn tell(&self, errand: &Errand, step: Next, cx: &mut QueryCx<'_>) -> bool {
        let Some(to) = errand.contact() else { return false };
        let number = errand.number;
        match step {
            Next::GiveUp => return false,
            Next::Fetch(indices) => tell(to, Message::Fetch(Fetch { number, indices }), cx),
            Next::Ask => {
                cx.stats.asks_sent += 1;
                let (zone, depth) = (errand.target.zone.clone(), errand.target.depth);
                let (within_ms, sql) = (self.within_ms, self.sql.clone());
                let ask = Ask { number, zone, depth, within_ms, sql };
                tell(to, Message::Ask(Arc::new(ask)), cx);
            }
        }
        true
    }
}

fn tell(to: SocketAddr, message: Message, cx: &mut QueryCx<'_>) {
    cx.outbox.control(Control::Query { to, message });
}

/// The rows of an answer, if their issuers signed all of them and they are of this zone. Whoever
/// shows them (`is_shown`), and goes by certificates, leaves out those whose issuers are not
/// certified, or may not say what they do: by what it holds, and by the chains that came along.
fn checked_rows(
    (rows, chains): (&[(u64, Vec<u8>)], &[Chain]),
    zone: &ZonePath,
    is_shown: bool,
    cx: &mut QueryCx<'_>,
) -> Result<Vec<AgedRow>, Reject> {
    let mut trust = cx.trust.as_deref_mut().filter(|_| is_shown);
    let wall_s = cx.now.wall_s();
    let chains = chains.iter().take(rows.len().min(CHAINS_MAX));
    let told = trust.as_mut().map(|trust| trust.witness(chains, wall_s, cx.crypto));
    let told = told.unwrap_or_default();
    let mut checked = Vec::with_capacity(rows.len());
    for (age_ms, bytes) in rows {
        let unverified = UnverifiedRow::parse(bytes).map_err(|_| Reject::Malformed)?;
        let table_cx = &mut TableCx {
            wall_ms: cx.now.wall_ms,
            crypto: &mut *cx.crypto,
            outbox: &mut *cx.outbox,
            stats: &mut *cx.stats,
        };
        let row = cx.table.check_told(unverified.clone(), zone, table_cx)?;
        let certified = trust
            .as_mut()
            .map_or(Ok(()), |trust| trust.check_told_row(&unverified, row.member(), &told, wall_s));
        match certified {
            Ok(()) => checked.push(AgedRow { row, age_ms: *age_ms }),
            Err(reject) => cx.stats.reject(reject),
        }
    }
    Ok(checked)
}

/// A zone's silence is noticed well before anybody's patience ends.
const _: () = assert!(SIGN_WAIT.as_millis() * 16 < WITHIN_MAX.as_millis());
