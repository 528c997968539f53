//! A node's part in how it is reached: its address, its questions about that, and others'.

use alloc::vec::Vec;
use core::net::SocketAddr;

use super::Node;
use crate::event::{Destinations, Transmit};
use crate::frame;
use crate::id::MemberId;
use crate::outbox::Control;
use crate::path::{Intent, PathAnswer, PathQuestion, Task};
use crate::time::Now;

impl Node {
    /// Says that this member is reached elsewhere from now on.
    ///
    /// It moves to a new sealing key, so that its record is newer than the one before, tells
    /// everybody anew who it is, and issues its row. Until they have heard, others send to the
    /// address before.
    pub fn set_address(&mut self, now: Now, address: SocketAddr) {
        self.stats.inputs += 1;
        if self.has_left || self.identity.address == address {
            return;
        }
        self.identity.address = address;
        self.link.renew(&mut *self.crypto);
        self.renew_record();
        self.table.set_address(address);
        self.after_table(now.monotonic);
    }

    /// Asks somebody about the way to this member: which address its socket is seen from, or to
    /// have another one send there. The question leaves by the host's own socket, and its answer is
    /// [`path_answer`](Self::path_answer).
    pub fn ask_path(&mut self, _now: Now, whom: SocketAddr, question: PathQuestion) {
        self.stats.inputs += 1;
        self.paths.ask(question, whom);
        self.outbox.control(Control::Path { to: whom, intent: Intent::Ask(question) });
    }

    /// The answer to the last question about the way to this member, if it has come.
    #[must_use]
    pub const fn path_answer(&self) -> Option<PathAnswer> {
        self.paths.told()
    }

    pub(super) fn on_path_question(
        &mut self,
        from: MemberId,
        source: Option<SocketAddr>,
        question: PathQuestion,
    ) {
        let Some(source) = source.filter(|_| !self.has_left && self.paths.may_answer()) else {
            return;
        };
        let number = question.number;
        match question.task {
            Task::Look => {
                let answer = PathAnswer { number, is_try: false, address: source };
                self.outbox.control(Control::Path { to: source, intent: Intent::Answer(answer) });
            }
            Task::Try => {
                let own = self.own.id();
                let others = self.members().filter(|member| ![own, from].contains(&member.id));
                let others: Vec<_> = others.map(|member| member.address).collect();
                let question = PathQuestion { number, task: Task::Pass(source) };
                if let Some(to) = self.paths.choose(&others) {
                    self.outbox.control(Control::Path { to, intent: Intent::Ask(question) });
                }
            }
            Task::Pass(address) => {
                let answer = PathAnswer { number, is_try: true, address };
                self.outbox.control(Control::Path { to: address, intent: Intent::Answer(answer) });
            }
        }
    }

    pub(super) fn on_path_answer(&mut self, from: MemberId, answer: PathAnswer) {
        let by = self.members.address_of(from);
        self.paths.on_answer(answer, by);
    }

    /// Writes a question or an answer, and who says so. Certificates do not go with it: it would be
    /// larger than what it answers, and who lacks them asks for them.
    pub(super) fn write_path(
        &mut self,
        to: SocketAddr,
        intent: Intent,
        buffer: &mut Vec<u8>,
    ) -> Transmit {
        let begun = self.link.begin(true, buffer);
        frame::put_record(|buffer| self.own.encode(buffer), buffer);
        let to = match intent {
            Intent::Ask(question) => {
                frame::put_path_question(&question, buffer);
                // What one member passes on for another goes as everything does.
                match question.task {
                    Task::Look | Task::Try => Destinations::Own(to),
                    Task::Pass(_) => Destinations::Members(alloc::vec![to]),
                }
            }
            Intent::Answer(answer) => {
                frame::put_path_answer(&answer, buffer);
                if answer.is_try {
                    Destinations::Fresh(to)
                } else {
                    Destinations::Members(alloc::vec![to])
                }
            }
        };
        self.link.seal(&begun, buffer, &mut *self.crypto);
        Transmit { to, segment_bytes: buffer.len() }
    }
}
