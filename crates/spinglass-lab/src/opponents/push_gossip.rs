//! Plain push gossip: whoever hears a message for the first time sends it to so many others, chosen
//! at random, and never again ("infect and die"; Demers and others, PODC 1987; Kermarrec and
//! others, TPDS 2003). Nothing is asked for, and nothing repaired.

use std::collections::BTreeSet;

use crate::stage::{Cx, Kind, Protocol};

/// Bytes before a message's own.
const HEADER_BYTES: usize = 24;

/// A member.
#[derive(Debug)]
pub struct PushGossip {
    members: usize,
    fanout: usize,
    /// Messages heard: all below `before`, and these.
    before: u64,
    heard: BTreeSet<u64>,
    sent: u64,
}

impl PushGossip {
    /// A member of a group of so many, who sends each message to so many.
    #[must_use]
    pub const fn new(members: usize, fanout: usize) -> Self {
        Self { members, fanout, before: 0, heard: BTreeSet::new(), sent: 0 }
    }

    /// The fan-out with which a message reaches everybody with probability e^(-e^-c), whatever the
    /// group's size: ln n + c (Kermarrec and others), where a share of datagrams is lost.
    #[must_use]
    pub fn fanout(members: usize, c: f64, loss: f64) -> usize {
        (((members as f64).ln() + c) / (1.0 - loss)).ceil() as usize
    }

    /// Messages that it has heard.
    #[must_use]
    pub fn delivered(&self) -> u64 {
        self.before + self.heard.len() as u64
    }

    fn spread(&self, sequence: u64, bytes: usize, cx: &mut Cx<'_, Self>) {
        let mut whom = BTreeSet::new();
        while whom.len() < self.fanout.min(self.members - 1) {
            let member = cx.rng.index(self.members);
            if member != cx.own && whom.insert(member) {
                cx.send(member, HEADER_BYTES + bytes, (sequence, bytes));
            }
        }
    }

    /// Notes a message; whether it was new.
    fn note(&mut self, sequence: u64) -> bool {
        let is_new = sequence >= self.before && self.heard.insert(sequence);
        while self.heard.remove(&self.before) {
            self.before += 1;
        }
        is_new
    }
}

impl Protocol for PushGossip {
    /// Its number, and its bytes.
    type Message = (u64, usize);
    type Timer = ();

    fn start(&mut self, _cx: &mut Cx<'_, Self>) {}

    fn publish(&mut self, bytes: usize, cx: &mut Cx<'_, Self>) -> bool {
        let sequence = self.sent;
        self.sent += 1;
        self.note(sequence);
        self.spread(sequence, bytes, cx);
        true
    }

    fn hear(&mut self, from: usize, (sequence, bytes): Self::Message, cx: &mut Cx<'_, Self>) {
        if self.note(sequence) {
            cx.deliver(from, sequence);
            self.spread(sequence, bytes, cx);
        }
    }

    fn wake(&mut self, (): (), _cx: &mut Cx<'_, Self>) {}

    fn kind(_message: &Self::Message) -> Kind {
        Kind::Data
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::stage::{Costs, Nobody, Stage, Wires};

    fn reached(members: usize, fanout: usize, messages: u64) -> Vec<u64> {
        let (least, most) = (Duration::from_micros(50), Duration::from_micros(250));
        let wires = Wires::Flat { least, most, loss_ppm: 0 };
        let all = (0..members).map(|_| PushGossip::new(members, fanout)).collect();
        let mut stage = Stage::new(all, wires, Costs::default(), 5);
        for _ in 0..messages {
            stage.publish(0, 100, &mut Nobody);
            stage.run(Duration::from_millis(10), &mut Nobody);
        }
        (0..members).map(|member| stage.member(member).delivered()).collect()
    }

    #[test]
    fn a_fanout_leaves_the_share_unreached_that_epidemics_leave() {
        // What is left over is the solution of s = e^(-f (1 - s)): 6 % at 3, 2 % at 4.
        for (fanout, left) in [(3, 0.0595), (4, 0.0198)] {
            let (members, messages) = (1_000, 100);
            let heard: u64 = reached(members, fanout, messages).iter().sum();
            let missed = 1.0 - heard as f64 / (members as u64 * messages) as f64;
            assert!((missed - left).abs() < 0.01, "{fanout}: {missed}");
        }
    }

    #[test]
    fn a_fanout_that_grows_with_the_logarithm_reaches_all_as_often_as_it_says() {
        let (members, c) = (200, 1.0_f64);
        let fanout = PushGossip::fanout(members, c, 0.0);
        let all = 200;
        let heard = reached(members, fanout, all);
        // Of 200 messages so many reach everybody; a fan-out rounded up does no worse.
        let missed: u64 = heard.iter().map(|it| all - it).sum();
        let expected = all as f64 * (1.0 - (-(-c).exp()).exp());
        assert!((missed as f64) < expected * 1.5, "{missed} of {expected}");
    }
}
