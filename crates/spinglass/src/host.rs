//! Where the core's outputs go: datagrams to the sockets, events to the subscribers.

use std::io;
use std::net::SocketAddr;
use std::ops::ControlFlow;
use std::sync::Arc;
use std::task::{Context, Poll};

use spinglass_core::query::{Answer, QuestionId};
use spinglass_core::{Destinations, Event, Host, Sighting, TopicId, Transmit};

use spinglass_relay::Tunnel;
use tokio::sync::mpsc;
use tokio::sync::mpsc::error::TrySendError;

use crate::hub::Hub;
use crate::replies::Replies;
use crate::socket::BatchedSocket;
use crate::stats::{RuntimeStats, SocketError};
use crate::traffic::Ledger;

/// The outside world of one member.
#[derive(Debug)]
pub(crate) struct Outside {
    pub(crate) own: BatchedSocket,
    pub(crate) multicast: Option<BatchedSocket>,
    pub(crate) group: Option<SocketAddr>,
    /// The way through a relay, if there is one.
    pub(crate) tunnel: Option<Tunnel>,
    /// Whether what goes to members goes through the relay.
    pub(crate) by_relay: bool,
    pub(crate) replies: Replies,
    pub(crate) hub: Hub,
    /// Answers on their way to whoever asked.
    pub(crate) answers: Vec<(QuestionId, Answer)>,
    pub(crate) stats: RuntimeStats,
    pub(crate) traffic: Ledger,
    /// Who hears what is seen of messages that are followed.
    pub(crate) follower: Option<mpsc::Sender<Sighting>>,
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
        Self {
            own,
            multicast,
            group,
            tunnel: None,
            by_relay: false,
            replies,
            hub: Hub::default(),
            answers: Vec::new(),
            stats: RuntimeStats::default(),
            traffic: Ledger::default(),
            follower: None,
            reached: 0,
        }
    }

    /// Chooses the way: direct, by this address, or with none through the relay. Returns where the
    /// member is reached by it; none: there is no connection to the relay, and all stays as it is.
    pub(crate) fn use_path(&mut self, direct: Option<SocketAddr>) -> Option<SocketAddr> {
        let address = direct.or_else(|| self.tunnel.as_ref()?.address())?;
        self.by_relay = direct.is_none();
        Some(address)
    }

    /// Whether what was refused last may be tried again.
    pub(crate) fn poll_writable(&self, cx: &mut Context<'_>) -> Poll<()> {
        let own = self.own.poll_writable(cx).map(drop);
        // Some things leave by the own socket all the same.
        match self.tunnel.as_ref().filter(|_| self.by_relay) {
            Some(tunnel) if own.is_ready() => tunnel.poll_room(cx),
            _ => own,
        }
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
        match (&transmit.to, self.tunnel.as_ref().filter(|_| self.by_relay)) {
            (Destinations::Members(members), Some(tunnel)) => {
                self.stats.sends += 1;
                let sent = tunnel.send(members, bytes, segments);
                self.stats.sends_blocked += u64::from(sent.is_break());
                if sent.is_continue() {
                    members.iter().for_each(|to| self.traffic.sent(*to, segments.len()));
                }
                sent
            }
            (Destinations::Members(members), None) => {
                for (index, to) in members.iter().enumerate().skip(self.reached) {
                    if self.send(*to, bytes, segments).is_break() {
                        self.reached = index;
                        return ControlFlow::Break(());
                    }
                    self.traffic.sent(*to, segments.len());
                }
                self.reached = 0;
                ControlFlow::Continue(())
            }
            (Destinations::Own(to), _) => self.send(*to, bytes, segments),
            (Destinations::Fresh(to), _) => {
                self.stats.sends += 1;
                if let Err(error) = self.own.send_from_fresh(*to, segments) {
                    self.stats.count(SocketError::classify(&error), &error);
                }
                ControlFlow::Continue(())
            }
            // Whoever is behind the same firewall may hear it.
            (Destinations::Multicast, _) => match self.group {
                Some(group) => self.send(group, bytes, segments),
                None => ControlFlow::Continue(()),
            },
        }
    }

    fn deliver(&mut self, event: Event) {
        self.hub.gather(event);
    }

    fn matched(&mut self, topic: TopicId, text: &Arc<str>) {
        self.hub.meet(topic, text);
    }

    fn answer(&mut self, question: QuestionId, answer: Answer) {
        self.answers.push((question, answer));
    }

    fn sight(&mut self, sighting: Sighting) {
        let told = self.follower.as_ref().map(|follower| follower.try_send(sighting));
        if let Some(Err(TrySendError::Full(_))) = told {
            self.stats.sightings_missed += 1;
        }
    }

    fn segments_max(&self) -> usize {
        self.own.segments_max()
    }
}
