//! Where the core's outputs go: datagrams to the sockets, events to the subscribers.

use std::io;
use std::net::SocketAddr;
use std::ops::ControlFlow;

use spinglass_core::query::{Answer, QuestionId};
use spinglass_core::{Destinations, Event, Host, Transmit};

use crate::hub::Hub;
use crate::replies::Replies;
use crate::socket::BatchedSocket;
use crate::stats::{RuntimeStats, SocketError};

/// The outside world of one member.
#[derive(Debug)]
pub(crate) struct Outside {
    pub(crate) own: BatchedSocket,
    pub(crate) multicast: Option<BatchedSocket>,
    pub(crate) group: Option<SocketAddr>,
    pub(crate) replies: Replies,
    pub(crate) hub: Hub,
    /// Answers on their way to whoever asked.
    pub(crate) answers: Vec<(QuestionId, Answer)>,
    pub(crate) stats: RuntimeStats,
    /// Destinations that the transmit which was refused last has reached already.
    reached: usize,
}

impl Outside {
    pub(crate) fn new(
        own: BatchedSocket,
        multicast: Option<(BatchedSocket, SocketAddr)>,
        replies: Replies,
    ) -> Self {
        let (multicast, group) = multicast.unzip();
        let (hub, stats) = (Hub::default(), RuntimeStats::default());
        Self { own, multicast, group, replies, hub, answers: Vec::new(), stats, reached: 0 }
    }

    /// Sends a run to one address; `Break` if the socket is full. Other errors are counted and the
    /// run counts as sent: to gossip it is one more loss.
    fn send(&mut self, to: SocketAddr, segment_bytes: usize, segments: &[u8]) -> ControlFlow<()> {
        // A member's record may claim any address; these would only upset the socket.
        if to.port() == 0 || to.ip().is_unspecified() {
            self.stats.count(SocketError::Unreachable, &"no address to send to");
            return ControlFlow::Continue(());
        }
        // The run was made for this many, unless the system has just refused to offload.
        let most = segment_bytes.saturating_mul(self.own.segments_max()).max(1);
        for part in segments.chunks(most) {
            self.stats.sends += 1;
            match self.own.send(to, segment_bytes, part) {
                Ok(()) => (),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    self.stats.sends_blocked += 1;
                    return ControlFlow::Break(());
                }
                Err(error) => self.stats.count(SocketError::classify(&error), &error),
            }
        }
        ControlFlow::Continue(())
    }
}

impl Host for Outside {
    fn transmit(&mut self, transmit: &Transmit, segments: &[u8]) -> ControlFlow<()> {
        let bytes = transmit.segment_bytes;
        match &transmit.to {
            Destinations::Members(members) => {
                for (index, to) in members.iter().enumerate().skip(self.reached) {
                    if self.send(*to, bytes, segments).is_break() {
                        self.reached = index;
                        return ControlFlow::Break(());
                    }
                }
                self.reached = 0;
                ControlFlow::Continue(())
            }
            Destinations::Multicast => match self.group {
                Some(group) => self.send(group, bytes, segments),
                None => ControlFlow::Continue(()),
            },
        }
    }

    fn deliver(&mut self, event: Event) {
        self.hub.gather(event);
    }

    fn answer(&mut self, question: QuestionId, answer: Answer) {
        self.answers.push((question, answer));
    }

    fn segments_max(&self) -> usize {
        self.own.segments_max()
    }
}
