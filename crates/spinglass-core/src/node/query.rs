//! A node's questions, and its answers to those of others.

use core::net::SocketAddr;

use super::Node;
use crate::config::Config;
use crate::crypto::TAG_BYTES;
use crate::event::Reject;
use crate::frame::FRAME_HEADER_BYTES;
use crate::id::MemberId;
use crate::link::LONG_HEADER_BYTES;
use crate::members::RECORD_BYTES_MAX;
use crate::query::{Answer, AskError, Message, Queries, QueryCx, Question, QuestionId};
use crate::rng::Prng;
use crate::time::{Instant, Now};
use crate::timer::Timer;

/// Bytes of a datagram about questions that its sender's record and other wrapping take.
const WRAPPING_BYTES: usize =
    LONG_HEADER_BYTES + RECORD_BYTES_MAX + 2 * FRAME_HEADER_BYTES + TAG_BYTES;

/// The bundle that questions work with, borrowed from a node field by field.
macro_rules! query_cx {
    ($node:ident, $now:expr) => {
        QueryCx {
            now: $now,
            own: $node.identity.address,
            table: &mut $node.table,
            trust: $node.trust.as_deref_mut(),
            crypto: &mut *$node.crypto,
            outbox: &mut $node.outbox,
            stats: &mut $node.stats,
        }
    };
}

impl Node {
    /// Asks for a zone's rows, or a query over its hosts. The answer comes out of
    /// [`poll_answer`](Self::poll_answer), when it is whole or its time is over.
    ///
    /// # Errors
    /// The SQL is no query, or too many questions are under way; nothing changed.
    pub fn ask(&mut self, now: Now, question: &Question) -> Result<QuestionId, AskError> {
        self.stats.inputs += 1;
        if self.has_left {
            return Err(AskError::Closed);
        }
        let asked = self.queries.ask(question, &mut query_cx!(self, now));
        self.set_query_timer();
        asked
    }

    /// The next answer to a question of this node's.
    pub fn poll_answer(&mut self) -> Option<(QuestionId, Answer)> {
        self.queries.poll_answer()
    }

    pub(super) fn on_query_due(&mut self, now: Now) {
        self.queries.on_due(&mut query_cx!(self, now));
        self.set_query_timer();
    }

    /// Takes in what another agent says of a question. Whoever has left answers none.
    pub(super) fn on_query(
        &mut self,
        from: (MemberId, SocketAddr),
        message: Message,
        now: Now,
    ) -> Result<(), Reject> {
        if self.has_left {
            self.stats.frames_skipped += 1;
            return Ok(());
        }
        let taken = self.queries.on_message(from, message, &mut query_cx!(self, now));
        self.set_query_timer();
        taken
    }

    fn set_query_timer(&mut self) {
        let due = self.queries.next_due();
        due.into_iter().for_each(|due| self.timers.set_earlier(Timer::Query, due));
    }
}

pub(super) fn new_queries(config: &Config, now: Instant, rng: &Prng) -> Queries {
    let room = config.link.datagram_bytes.min(super::transmit::CONTROL_BYTES_MAX) - WRAPPING_BYTES;
    Queries::new(room, rng.fork("query"), now)
}
