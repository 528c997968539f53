//! A reliable multicast with repair servers in a tree, after RMTP (Lin and Paul, INFOCOM 1996):
//! data go to all by IP multicast; each receiver tells the server above it, again and again, what
//! it has; the server sends it what it lacks, by unicast, or by multicast to all that it serves if
//! several lack it. Servers are receivers, too, and served by those above them. The sender goes on
//! no further than a window beyond what those that it serves itself have.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use crate::stage::{Cx, Kind, Protocol};

/// Bytes of a status message, and of what goes before data.
const CONTROL_BYTES: usize = 40;
/// How often a receiver tells what it has.
pub const STATUS_EVERY: Duration = Duration::from_millis(100);
/// Receivers that must lack a message for it to be sent to all of a server's.
const MULTICAST_FROM: usize = 3;
/// Messages that the sender may be ahead of those it serves.
const WINDOW: u64 = 256;
/// Messages that one status tells of at most: a bitmap of as many bits.
const STATUS_SPAN: u64 = 256;

/// What members say.
#[derive(Debug, Clone)]
pub enum Message {
    /// A message of the sender's application.
    Data {
        /// Its number.
        sequence: u64,
        /// Its bytes.
        bytes: usize,
        /// Whether it is sent again.
        again: bool,
    },
    /// What a receiver has, and lacks.
    Status {
        /// All below are there.
        received: u64,
        /// These above are not.
        missing: Arc<[u64]>,
    },
    /// The newest number, from the sender while it is silent.
    Newest(u64),
}

/// A timer runs out.
#[derive(Debug, Clone, Copy)]
pub enum Timer {
    /// To tell what it has.
    Status,
    /// To repair what was asked for.
    Repair,
}

/// A member. Number 0 sends.
#[derive(Debug)]
pub struct RepairTree {
    own: usize,
    children: Arc<[usize]>,
    parent: usize,
    /// Bytes of messages held, by number, for those that it serves.
    held: BTreeMap<u64, usize>,
    received: u64,
    known: u64,
    /// What those that it serves have.
    served: BTreeMap<usize, u64>,
    /// Who lacks which message, since the last repair.
    asked: BTreeMap<u64, BTreeSet<usize>>,
}

impl RepairTree {
    /// A member of a tree in which each server serves so many.
    #[must_use]
    pub fn new(own: usize, members: usize, served_each: usize) -> Self {
        let first = own * served_each + 1;
        let children: Arc<[usize]> =
            (first.min(members)..(first + served_each).min(members)).collect();
        Self {
            own,
            parent: own.saturating_sub(1) / served_each,
            served: children.iter().map(|child| (*child, 0)).collect(),
            children,
            held: BTreeMap::new(),
            received: 0,
            known: 0,
            asked: BTreeMap::new(),
        }
    }

    /// Messages that it has handed to its application.
    #[must_use]
    pub const fn delivered(&self) -> u64 {
        self.received
    }

    /// Messages that it holds for those that it serves.
    #[must_use]
    pub fn buffered(&self) -> usize {
        self.held.len()
    }

    fn take(&mut self, sequence: u64, bytes: usize, cx: &mut Cx<'_, Self>) {
        self.known = self.known.max(sequence + 1);
        if sequence < self.received || self.held.contains_key(&sequence) {
            return;
        }
        self.held.insert(sequence, bytes);
        while self.held.contains_key(&self.received) {
            cx.deliver(0, self.received);
            self.received += 1;
        }
        self.forget();
    }

    /// Forgets what all that it serves have.
    fn forget(&mut self) {
        let least = self.served.values().min().copied().unwrap_or(u64::MAX).min(self.received);
        self.held = self.held.split_off(&least);
    }

    fn status(&self, cx: &mut Cx<'_, Self>) {
        let span = self.received..self.known.min(self.received + STATUS_SPAN);
        let missing = span.filter(|sequence| !self.held.contains_key(sequence)).collect();
        let status = Message::Status { received: self.received, missing };
        cx.send(self.parent, CONTROL_BYTES + STATUS_SPAN as usize / 8, status);
    }

    fn repair(&mut self, cx: &mut Cx<'_, Self>) {
        for (sequence, whom) in std::mem::take(&mut self.asked) {
            let Some(bytes) = self.held.get(&sequence).copied() else { continue };
            let data = Message::Data { sequence, bytes, again: true };
            if whom.len() >= MULTICAST_FROM {
                cx.multicast_among(Arc::clone(&self.children), CONTROL_BYTES + bytes, data);
                continue;
            }
            whom.iter().for_each(|to| cx.send(*to, CONTROL_BYTES + bytes, data.clone()));
        }
    }
}

impl Protocol for RepairTree {
    type Message = Message;
    type Timer = Timer;

    fn start(&mut self, cx: &mut Cx<'_, Self>) {
        let phase = cx.rng.below(STATUS_EVERY.as_nanos() as u64);
        cx.set_timer(Duration::from_nanos(phase), Timer::Status);
        if !self.children.is_empty() {
            cx.set_timer(Duration::from_nanos(phase), Timer::Repair);
        }
    }

    fn publish(&mut self, bytes: usize, cx: &mut Cx<'_, Self>) -> bool {
        let least = self.served.values().min().copied().unwrap_or(self.received);
        if self.received - least >= WINDOW {
            return false;
        }
        let sequence = self.received;
        (self.received, self.known) = (sequence + 1, sequence + 1);
        self.held.insert(sequence, bytes);
        cx.multicast(CONTROL_BYTES + bytes, Message::Data { sequence, bytes, again: false });
        true
    }

    fn hear(&mut self, from: usize, message: Message, cx: &mut Cx<'_, Self>) {
        match message {
            Message::Data { sequence, bytes, .. } => self.take(sequence, bytes, cx),
            Message::Newest(known) => self.known = self.known.max(known),
            Message::Status { received, missing } => {
                let Some(has) = self.served.get_mut(&from) else { return };
                *has = received.max(*has);
                for sequence in missing.iter() {
                    self.asked.entry(*sequence).or_default().insert(from);
                }
                self.forget();
            }
        }
    }

    fn wake(&mut self, timer: Timer, cx: &mut Cx<'_, Self>) {
        match timer {
            Timer::Status if self.own == 0 => {
                cx.multicast(CONTROL_BYTES, Message::Newest(self.known));
                cx.set_timer(STATUS_EVERY, timer);
            }
            Timer::Status => {
                self.status(cx);
                cx.set_timer(STATUS_EVERY, timer);
            }
            Timer::Repair => {
                self.repair(cx);
                cx.set_timer(STATUS_EVERY, timer);
            }
        }
    }

    fn kind(message: &Message) -> Kind {
        match message {
            Message::Data { again: false, .. } => Kind::Data,
            Message::Data { .. } => Kind::Repair,
            Message::Status { missing, .. } if !missing.is_empty() => Kind::Request,
            Message::Status { .. } | Message::Newest(_) => Kind::Control,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stage::{Costs, Nobody, Stage, Wires};

    const MEMBERS: usize = 40;

    fn stage(loss_ppm: u32) -> Stage<RepairTree> {
        let (least, most) = (Duration::from_micros(50), Duration::from_micros(250));
        let wires = Wires::Flat { least, most, loss_ppm };
        let members = (0..MEMBERS).map(|own| RepairTree::new(own, MEMBERS, 6)).collect();
        Stage::new(members, wires, Costs::default(), 8)
    }

    fn publish(stage: &mut Stage<RepairTree>, messages: u32) -> u64 {
        let mut taken = 0;
        for _ in 0..messages {
            taken += u64::from(stage.publish(0, 500, &mut Nobody));
            stage.run(Duration::from_millis(5), &mut Nobody);
        }
        taken
    }

    #[test]
    fn everybody_gets_everything_from_the_servers_above() {
        let mut stage = stage(50_000);
        let sent = publish(&mut stage, 1_000);
        stage.run(Duration::from_secs(5), &mut Nobody);
        assert_eq!(sent, 1_000);
        assert!((1..MEMBERS).all(|member| stage.member(member).delivered() == sent));
        // Only servers repair, and what all that they serve have is forgotten.
        assert!((7..MEMBERS).all(|leaf| stage.sent(leaf).repairs == 0));
        assert!((0..7).all(|server| stage.sent(server).repairs > 0));
        assert!((0..MEMBERS).all(|member| stage.member(member).buffered() == 0));
    }

    #[test]
    fn a_server_hears_from_those_that_it_serves_alone() {
        let mut stage = stage(0);
        publish(&mut stage, 200);
        // Six statuses each 100 ms, for a second; and the sender's tellings.
        let heard = stage.heard(1);
        assert!((66..=72).contains(&heard.control), "{heard:?}");
        assert_eq!((heard.requests, heard.repairs), (0, 0));
    }

    #[test]
    fn a_server_that_is_gone_takes_those_below_with_it() {
        let mut stage = stage(50_000);
        stage.set_sleep(1, 1_000_000);
        publish(&mut stage, 1_000);
        stage.run(Duration::from_secs(5), &mut Nobody);
        let below = RepairTree::new(1, MEMBERS, 6).children;
        assert!(below.iter().all(|member| stage.member(*member).delivered() < 200));
        assert_eq!(stage.member(8 + 6).delivered(), stage.member(0).delivered(), "another's");
    }
}
