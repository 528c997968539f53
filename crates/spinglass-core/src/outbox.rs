//! What a node wants to send: intents, not bytes. They become datagrams at the last moment, so a
//! digest is as fresh as the packet that carries it, and a repair whose packet is gone is not sent.

use alloc::boxed::Box;
use alloc::collections::VecDeque;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::net::SocketAddr;

use crate::crypto::Epoch;
use crate::detector::Verdict;
use crate::epochs::{KeyAsk, KeyGive};
use crate::event::Destinations;
use crate::frame::ReplyPort;
use crate::id::{MemberId, StreamId, TopicId};
use crate::knock::Strange;
use crate::members::MemberRecord;
use crate::multicast::Solicit;
use crate::object;
use crate::path;
use crate::quarantine::Exhibit;
use crate::query::Message;
use crate::table::{Inventory, RowKey, TableRow, Want};

/// Control intents that may wait. When full, the oldest is dropped: gossip repeats itself.
const CONTROL_MAX: usize = 4096;
/// Runs of packets that may wait. When full, the oldest repair is dropped: it will be asked for
/// again.
const PACKETS_MAX: usize = 16_384;

/// Something to tell one member.
#[derive(Debug, Clone)]
pub(crate) enum Control {
    /// Announce oneself to whoever hears the group's IP multicast.
    Announce,
    /// A digest of everything active.
    Digest { to: SocketAddr },
    /// A digest of one stream that went quiet.
    Tail { to: SocketAddr, stream: StreamId },
    /// Ask for packets.
    Solicit { to: SocketAddr, solicit: Solicit },
    /// Records for one who asked.
    Records { to: SocketAddr, records: Vec<Arc<MemberRecord>> },
    /// Ask for members' records.
    WhoIs { to: SocketAddr, members: Vec<MemberId> },
    /// Ask for topics' texts.
    WhatTopic { to: SocketAddr, topics: Vec<TopicId> },
    /// Topics' texts for one who asked.
    Topics { to: SocketAddr, texts: Vec<Arc<str>> },
    /// Compare tables.
    TableDigest { to: SocketAddr },
    /// Tell what one holds of parts of levels.
    TableInventories { to: SocketAddr, inventories: Vec<Inventory> },
    /// Ask for rows.
    TableWant { to: SocketAddr, want: Want },
    /// Rows that another lacks.
    TableRows { to: SocketAddr, rows: Vec<Arc<TableRow>> },
    /// Ask whether one is alive.
    Probe { to: SocketAddr, number: u64 },
    /// Say so.
    Answer { to: SocketAddr, number: u64 },
    /// Ask another observer of an agent to look at it.
    Doubt { to: SocketAddr, subject: RowKey },
    /// Accusations of one agent.
    Accusations { to: SocketAddr, verdict: Arc<Verdict> },
    /// Something about a question.
    Query { to: SocketAddr, message: Message },
    /// A member's certificates; to the IP multicast group if to no address.
    Certificate { to: Option<SocketAddr>, member: MemberId },
    /// Ask for members' certificates.
    Whose { to: SocketAddr, members: Vec<MemberId> },
    /// Something else, under the key of an epoch that is not the newest.
    Under { epoch: Epoch, control: Box<Self> },
    /// What is not sealed: to a stranger, or as one.
    Strange { to: SocketAddr, message: Box<Strange> },
    /// Ask for an epoch's key.
    KeyAsk { to: SocketAddr, ask: KeyAsk },
    /// Give it.
    KeyGive { to: SocketAddr, give: KeyGive },
    /// Something about the way to a member.
    Path { to: SocketAddr, intent: path::Intent },
    /// Halves of proofs; `introduced`: whoever sends them has just said who it is.
    Exhibits { to: SocketAddr, exhibits: Vec<Exhibit>, introduced: bool },
    /// Ask for proofs.
    Prove { to: SocketAddr, members: Vec<MemberId> },
    /// Something about an object.
    Object { to: SocketAddr, intent: object::Intent },
    /// Tell where answers are wanted.
    ReplyPort { to: SocketAddr },
}

impl Control {
    /// Whether it may be answered, so that it is worth saying where to. What fills its datagram has
    /// no room for that.
    pub(crate) const fn is_question(&self) -> bool {
        matches!(
            self,
            Self::Digest { .. }
                | Self::Tail { .. }
                | Self::Solicit { .. }
                | Self::WhoIs { .. }
                | Self::WhatTopic { .. }
                | Self::Whose { .. }
                | Self::TableDigest { .. }
                | Self::TableInventories { .. }
                | Self::TableWant { .. }
                | Self::Probe { .. }
                | Self::ReplyPort { .. }
        )
    }
}

impl Control {
    /// To whom it goes; to the IP multicast group if to nobody.
    pub(crate) fn to(&self) -> Option<SocketAddr> {
        match self {
            Self::Announce => None,
            Self::Under { control, .. } => control.to(),
            Self::Certificate { to, .. } => *to,
            Self::Digest { to }
            | Self::Tail { to, .. }
            | Self::Solicit { to, .. }
            | Self::Records { to, .. }
            | Self::WhoIs { to, .. }
            | Self::WhatTopic { to, .. }
            | Self::Topics { to, .. }
            | Self::TableDigest { to }
            | Self::TableInventories { to, .. }
            | Self::TableWant { to, .. }
            | Self::TableRows { to, .. }
            | Self::Probe { to, .. }
            | Self::Answer { to, .. }
            | Self::Doubt { to, .. }
            | Self::Accusations { to, .. }
            | Self::Whose { to, .. }
            | Self::Strange { to, .. }
            | Self::KeyAsk { to, .. }
            | Self::KeyGive { to, .. }
            | Self::Path { to, .. }
            | Self::Query { to, .. }
            | Self::ReplyPort { to }
            | Self::Exhibits { to, .. }
            | Self::Prove { to, .. }
            | Self::Object { to, .. } => Some(*to),
        }
    }
}

/// Where a run of packets goes; resolved when it is sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Way {
    /// To the group, by IP multicast.
    Multicast,
    /// Down the sender's tree. `zones_only`: IP multicast serves the regions.
    Tree { zones_only: bool },
    /// To the top of the region's tree, whose head has missed them.
    Crown,
    /// To one member, as a repair.
    Repair(SocketAddr),
    /// To the region by IP multicast, as a repair.
    RepairMulticast,
}

/// A run of packets to send.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Run {
    pub(crate) stream: StreamId,
    pub(crate) way: Way,
    pub(crate) from: u64,
    pub(crate) until: u64,
    /// At which port its one destination wants it, if not at its own.
    pub(crate) port: Option<ReplyPort>,
}

/// A member whose question is being answered, and the port at which it wants the answers.
type Asker = (SocketAddr, ReplyPort);

/// The intents that wait, each with the port of its destination's at which it is wanted, if that is
/// not its own.
#[derive(Debug, Default)]
pub(crate) struct Outbox {
    control: VecDeque<(Control, Option<ReplyPort>)>,
    runs: VecDeque<Run>,
    /// Whatever is meant for this member now goes to this port.
    asker: Option<Asker>,
}

impl Outbox {
    /// From now on, what is meant for the member at this address answers it, and goes to the port
    /// that it named; with none, to where everybody else's goes.
    pub(crate) const fn answer(&mut self, asker: Option<Asker>) {
        self.asker = asker;
    }

    /// The port at which the one at this address wants the answers to what is being handled.
    pub(crate) fn reply_port(&self, to: SocketAddr) -> Option<ReplyPort> {
        self.asker.filter(|(asker, _)| *asker == to).map(|(_, port)| port)
    }

    pub(crate) fn control(&mut self, control: Control) {
        if self.control.len() >= CONTROL_MAX {
            self.control.pop_front();
        }
        let port = control.to().and_then(|to| self.reply_port(to));
        self.control.push_back((control, port));
    }

    /// Adds packets to send, joined to the last run if they continue it.
    pub(crate) fn packets(&mut self, stream: StreamId, way: Way, from: u64, until: u64) {
        let port = if let Way::Repair(to) = way { self.reply_port(to) } else { None };
        if let Some(last) = self.runs.back_mut()
            && (last.stream, last.way, last.port) == (stream, way, port)
        {
            if last.until == from {
                last.until = until;
                return;
            }
            // Repairs are asked for newest first.
            if last.from == until {
                last.from = from;
                return;
            }
        }
        if self.runs.len() >= PACKETS_MAX {
            self.drop_one();
        }
        self.runs.push_back(Run { stream, way, from, until, port });
    }

    fn drop_one(&mut self) {
        let repair = |run: &Run| matches!(run.way, Way::Repair(_) | Way::RepairMulticast);
        let oldest = self.runs.iter().position(repair).unwrap_or(0);
        self.runs.remove(oldest);
    }

    /// What is to be sent next; until the next call, whatever is meant for the same member goes to
    /// the same port.
    pub(crate) fn pop_control(&mut self) -> Option<Control> {
        let (control, port) = self.control.pop_front()?;
        self.asker = control.to().zip(port);
        Some(control)
    }

    /// Gives back the memory of what has left: an agent sends for a moment, and then waits.
    pub(crate) fn rest(&mut self) {
        if self.control.is_empty() {
            self.control = VecDeque::new();
        }
        if self.runs.is_empty() {
            self.runs = VecDeque::new();
        }
    }

    /// Puts back what is left of an intent.
    pub(crate) fn unpop_control(&mut self, control: Control) {
        let port = control.to().and_then(|to| self.reply_port(to));
        self.control.push_front((control, port));
    }

    /// The packets to send next; as [`pop_control`](Self::pop_control).
    pub(crate) fn pop_run(&mut self) -> Option<Run> {
        let run = self.runs.pop_front()?;
        self.asker = if let Way::Repair(to) = run.way { Some(to).zip(run.port) } else { None };
        Some(run)
    }

    /// Puts back what is left of a run.
    pub(crate) fn unpop_run(&mut self, run: Run) {
        self.runs.push_front(run);
    }

    /// Has a transmit go to the port at which its destination wants it.
    pub(crate) fn aim(&self, to: &mut Destinations) {
        if let (Some((asker, port)), Destinations::Members(members)) = (self.asker, to) {
            let meant = members.iter_mut().filter(|member| **member == asker);
            meant.for_each(|member| member.set_port(port.port.get()));
        }
    }
}
