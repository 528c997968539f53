//! Forward error correction with top-up on request: hybrid ARQ of type II, as Nonnenmacher,
//! Biersack and Towsley describe it (IEEE/ACM ToN 6(4), 1998).
//!
//! Messages go in blocks of `k`; with each block go `ahead` parities, any of which stands for any
//! message that is lost. Who still lacks some when a block ends says how many, unless it has heard
//! another lack as many; the sender sends the most that anybody lacks, as further parities, which
//! all hear; and so on, until nobody asks.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use crate::stage::{Cx, Kind, Protocol};

/// Bytes of a request, and of what goes before data.
const CONTROL_BYTES: usize = 40;
/// How long a receiver waits before it asks: what is still under way comes first.
const ASK_AFTER: Duration = Duration::from_millis(5);
/// How much longer at most, so that others may ask first.
const ASK_WITHIN: Duration = Duration::from_millis(20);
/// How long the sender gathers requests before it answers.
const GATHER: Duration = Duration::from_millis(30);
/// How long a receiver that has asked waits before it does so again.
const ASK_AGAIN: Duration = Duration::from_millis(100);

/// How it is set.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Settings {
    /// Messages of a block.
    pub block: u64,
    /// Parities that go with a block before anybody asks.
    pub ahead: u64,
}

/// What members say.
#[derive(Debug, Clone, Copy)]
pub enum Message {
    /// A message, or a parity: number `index` of its block, which counts messages first.
    Part {
        /// The block.
        block: u64,
        /// The part.
        index: u64,
        /// Bytes.
        bytes: usize,
    },
    /// So many parts of a block are missing.
    Lacks {
        /// The block.
        block: u64,
        /// How many.
        parts: u64,
    },
    /// All parts of this block that were to be sent have been, and of all before it.
    Sent(u64),
}

/// What a timer is for.
#[derive(Debug, Clone, Copy)]
pub enum Timer {
    /// To ask for what lacks of a block.
    Ask(u64),
    /// To answer what was asked for a block.
    Answer(u64),
}

/// A block that is not whole.
#[derive(Debug, Default)]
struct Open {
    parts: BTreeSet<u64>,
    /// Whether a timer runs to ask.
    is_waiting: bool,
    /// The most that another was heard to lack since this member was last to ask.
    heard_lack: u64,
}

/// A member. Number 0 sends.
#[derive(Debug)]
pub struct Fec {
    settings: Settings,
    bytes: usize,
    /// Of the sender: messages sent; parts sent of each block.
    messages: u64,
    parts_sent: BTreeMap<u64, u64>,
    asked: BTreeMap<u64, u64>,
    parities: u64,
    /// Of a receiver: blocks that are not whole, and how many are.
    open: BTreeMap<u64, Open>,
    /// All blocks below are whole or known.
    next: u64,
    whole: u64,
}

impl Fec {
    /// A member.
    #[must_use]
    pub const fn new(settings: Settings, bytes: usize) -> Self {
        Self {
            settings,
            bytes,
            messages: 0,
            parts_sent: BTreeMap::new(),
            asked: BTreeMap::new(),
            parities: 0,
            open: BTreeMap::new(),
            next: 0,
            whole: 0,
        }
    }

    /// Blocks that are whole.
    #[must_use]
    pub const fn whole(&self) -> u64 {
        self.whole
    }

    /// Parities that the sender has sent.
    #[must_use]
    pub const fn parities(&self) -> u64 {
        self.parities
    }

    fn send_parities(&mut self, block: u64, count: u64, cx: &mut Cx<'_, Self>) {
        let parts = self.parts_sent.entry(block).or_insert(self.settings.block);
        for index in *parts..*parts + count {
            cx.multicast(
                CONTROL_BYTES + self.bytes,
                Message::Part { block, index, bytes: self.bytes },
            );
        }
        *parts += count;
        self.parities += count;
        cx.multicast(CONTROL_BYTES, Message::Sent(block));
    }

    /// How many parts of a block are missing.
    fn lacks(&self, block: u64) -> u64 {
        self.open.get(&block).map_or(0, |open| self.settings.block - open.parts.len() as u64)
    }

    fn take_part(&mut self, block: u64, index: u64, cx: &mut Cx<'_, Self>) {
        self.learn(block);
        let Some(open) = self.open.get_mut(&block) else { return };
        open.parts.insert(index);
        if open.parts.len() as u64 == self.settings.block {
            self.open.remove(&block);
            self.whole += 1;
            let first = block * self.settings.block;
            (first..first + self.settings.block).for_each(|sequence| cx.deliver(0, sequence));
        }
    }

    /// Learns that there is a block.
    fn learn(&mut self, block: u64) {
        while self.next <= block {
            self.open.insert(self.next, Open::default());
            self.next += 1;
        }
    }

    /// Waits a little, and asks then.
    fn ask_soon(&mut self, block: u64, cx: &mut Cx<'_, Self>) {
        if let Some(open) = self.open.get_mut(&block)
            && !open.is_waiting
        {
            open.is_waiting = true;
            open.heard_lack = 0;
            let more = Duration::from_nanos(cx.rng.below(ASK_WITHIN.as_nanos() as u64));
            cx.set_timer(ASK_AFTER + more, Timer::Ask(block));
        }
    }
}

impl Protocol for Fec {
    type Message = Message;
    type Timer = Timer;

    fn start(&mut self, _cx: &mut Cx<'_, Self>) {}

    fn publish(&mut self, bytes: usize, cx: &mut Cx<'_, Self>) -> bool {
        let (block, index) =
            (self.messages / self.settings.block, self.messages % self.settings.block);
        self.messages += 1;
        cx.multicast(CONTROL_BYTES + bytes, Message::Part { block, index, bytes });
        if index + 1 == self.settings.block {
            self.send_parities(block, self.settings.ahead, cx);
        }
        true
    }

    fn hear(&mut self, _from: usize, message: Message, cx: &mut Cx<'_, Self>) {
        match message {
            Message::Part { block, index, .. } => {
                self.take_part(block, index, cx);
                // A later block has begun, so this one's end was lost.
                let earlier: Vec<u64> = self.open.range(..block).map(|(at, _)| *at).collect();
                earlier.into_iter().for_each(|block| self.ask_soon(block, cx));
            }
            Message::Sent(block) => {
                self.learn(block);
                self.ask_soon(block, cx);
            }
            Message::Lacks { block, parts } if cx.own == 0 => {
                if !self.asked.contains_key(&block) {
                    cx.set_timer(GATHER, Timer::Answer(block));
                }
                let most = self.asked.entry(block).or_default();
                *most = parts.max(*most);
            }
            Message::Lacks { block, parts } => {
                if let Some(open) = self.open.get_mut(&block) {
                    open.heard_lack = open.heard_lack.max(parts);
                }
            }
        }
    }

    fn wake(&mut self, timer: Timer, cx: &mut Cx<'_, Self>) {
        match timer {
            Timer::Ask(block) => {
                let lacks = self.lacks(block);
                let Some(open) = self.open.get_mut(&block) else { return };
                if lacks > open.heard_lack {
                    cx.multicast(CONTROL_BYTES, Message::Lacks { block, parts: lacks });
                }
                open.heard_lack = 0;
                cx.set_timer(ASK_AGAIN, Timer::Ask(block));
            }
            Timer::Answer(block) => {
                let count = self.asked.remove(&block).unwrap_or(0);
                self.send_parities(block, count, cx);
            }
        }
    }

    fn kind(message: &Message) -> Kind {
        match message {
            Message::Part { .. } => Kind::Data,
            Message::Lacks { .. } => Kind::Request,
            Message::Sent(_) => Kind::Control,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::models::parity;
    use crate::stage::{Costs, Nobody, Stage, Wires};

    fn run(members: usize, ahead: u64, loss_ppm: u32, blocks: u64) -> Stage<Fec> {
        let settings = Settings { block: 20, ahead };
        let (least, most) = (Duration::from_millis(1), Duration::from_millis(2));
        let wires = Wires::Flat { least, most, loss_ppm };
        let all = (0..members).map(|_| Fec::new(settings, 500)).collect();
        let mut stage = Stage::new(all, wires, Costs::default(), 3);
        for _ in 0..blocks * settings.block {
            stage.publish(0, 500, &mut Nobody);
            stage.run(Duration::from_millis(5), &mut Nobody);
        }
        stage.run(Duration::from_secs(5), &mut Nobody);
        stage
    }

    #[test]
    fn all_get_whole_blocks_for_as_many_parities_as_theory_says() {
        for members in [2, 40] {
            let stage = run(members, 0, 50_000, 1_000);
            let whole: Vec<u64> = (1..members).map(|at| stage.member(at).whole()).collect();
            assert!(whole.iter().all(|whole| *whole >= 999), "{whole:?}");
            let per_message = stage.member(0).parities() as f64 / 20_000.0;
            let needed = parity::needed(members - 1, 20, 0.05);
            // Requests are lost, too, and then fewer are asked for at first: never more in the end.
            assert!((per_message / needed - 1.0).abs() < 0.1, "{per_message} {needed}");
        }
    }

    #[test]
    fn nobody_asks_where_enough_goes_ahead() {
        let stage = run(10, 10, 20_000, 100);
        let asked: u64 = (1..10).map(|member| stage.sent(member).requests).sum();
        assert!(asked <= 2, "{asked}");
        assert_eq!(stage.member(0).parities(), 1_000);
    }
}
