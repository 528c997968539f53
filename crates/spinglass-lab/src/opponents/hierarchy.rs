//! Virtually synchronous groups in a tree: whoever receives in one group sends in the next one
//! below, as large systems of such groups are built (Kalantar; paper, section 3, "Convoys").
//!
//! Every member but the lowest heads a group of `width` members. Groups know nothing of each other:
//! each has its own window, acknowledgements and views. What a head can't send yet waits with it.

use std::sync::Arc;

use crate::opponents::virtual_synchrony::{self, Settings, VirtualSynchrony};
use crate::stage::{Cx, Kind, Out, Protocol};

/// How groups hang together: member 0 heads the first one, of members 1 to `width`, and so on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Shape {
    /// Members of a group, its head not counted.
    pub width: usize,
    /// Levels of groups.
    pub levels: u32,
}

impl Shape {
    /// All members.
    #[must_use]
    pub fn members(self) -> usize {
        (0..=self.levels).map(|level| self.width.pow(level)).sum()
    }

    /// How many groups lie between a member and the source.
    #[must_use]
    pub fn level(self, member: usize) -> u32 {
        let (mut level, mut at) = (0, member);
        while at > 0 {
            at = (at - 1) / self.width;
            level += 1;
        }
        level
    }

    fn head(self, member: usize) -> Option<usize> {
        (member > 0).then(|| (member - 1) / self.width)
    }

    /// A member's number in the group of a head, who is 0 there.
    const fn local(self, head: usize, member: usize) -> usize {
        if member == head { 0 } else { member - head * self.width }
    }

    const fn global(self, head: usize, local: usize) -> usize {
        if local == 0 { head } else { head * self.width + local }
    }

    fn group(self, head: usize) -> Arc<[usize]> {
        (0..=self.width).map(|local| self.global(head, local)).collect()
    }
}

/// One group's part of a member.
#[derive(Debug)]
struct Part {
    head: usize,
    local: usize,
    group: Arc<[usize]>,
    protocol: VirtualSynchrony,
}

/// A member: of the group above, and head of the one below.
#[derive(Debug)]
pub struct Hierarchy {
    shape: Shape,
    bytes: usize,
    above: Option<Part>,
    below: Option<Part>,
    waiting: usize,
    waiting_most: usize,
}

/// What a group's members say, and which group: its head's number.
pub type Message = (usize, virtual_synchrony::Message);

/// A group's timer, and whether it is the group below.
pub type Timer = (bool, virtual_synchrony::Timer);

impl Hierarchy {
    /// A member of such a tree, in which messages have so many bytes.
    #[must_use]
    pub fn new(own: usize, shape: Shape, settings: Settings, bytes: usize) -> Self {
        let part = |head: usize| {
            let local = shape.local(head, own);
            let protocol = VirtualSynchrony::new(local, shape.width + 1, settings);
            Part { head, local, group: shape.group(head), protocol }
        };
        let above = shape.head(own).map(part);
        let below = (shape.level(own) < shape.levels).then(|| part(own));
        Self { shape, bytes, above, below, waiting: 0, waiting_most: 0 }
    }

    /// The most messages that have waited to be sent on.
    #[must_use]
    pub const fn waiting_most(&self) -> usize {
        self.waiting_most
    }

    fn act(
        &mut self,
        is_below: bool,
        cx: &mut Cx<'_, Self>,
        what: impl FnOnce(&mut VirtualSynchrony, &mut Cx<'_, VirtualSynchrony>),
    ) {
        let shape = self.shape;
        let part = if is_below { &mut self.below } else { &mut self.above };
        let Some(part) = part else { return };
        let (head, group, local) = (part.head, Arc::clone(&part.group), part.local);
        let done = cx.part(local, |inner| what(&mut part.protocol, inner));
        for out in done {
            match out {
                Out::Send { to, bytes, message } => {
                    cx.send(shape.global(head, to), bytes, (head, message));
                }
                Out::Multicast { bytes, message, .. } => {
                    cx.multicast_among(Arc::clone(&group), bytes, (head, message));
                }
                Out::Timer { at, timer } => cx.set_timer_at(at, (is_below, timer)),
                Out::Deliver { sequence, .. } => {
                    cx.deliver(0, sequence);
                    self.waiting += usize::from(self.below.is_some());
                }
            }
        }
    }

    /// Sends on what waits, as far as the group below takes it.
    fn send_on(&mut self, cx: &mut Cx<'_, Self>) {
        let bytes = self.bytes;
        let mut taken = true;
        while self.waiting > 0 && taken {
            self.act(true, cx, |protocol, inner| taken = protocol.publish(bytes, inner));
            self.waiting -= usize::from(taken);
        }
        self.waiting_most = self.waiting_most.max(self.waiting);
    }
}

impl Protocol for Hierarchy {
    type Message = Message;
    type Timer = Timer;

    fn start(&mut self, cx: &mut Cx<'_, Self>) {
        for is_below in [false, true] {
            self.act(is_below, cx, Protocol::start);
        }
    }

    fn publish(&mut self, bytes: usize, cx: &mut Cx<'_, Self>) -> bool {
        let mut taken = false;
        self.act(true, cx, |protocol, inner| taken = protocol.publish(bytes, inner));
        taken
    }

    fn hear(&mut self, from: usize, (head, message): Message, cx: &mut Cx<'_, Self>) {
        let is_below = head == cx.own;
        let from = self.shape.local(head, from);
        self.act(is_below, cx, |protocol, inner| protocol.hear(from, message, inner));
        self.send_on(cx);
    }

    fn wake(&mut self, (is_below, timer): Timer, cx: &mut Cx<'_, Self>) {
        self.act(is_below, cx, |protocol, inner| protocol.wake(timer, inner));
        self.send_on(cx);
    }

    fn kind((_, message): &Message) -> Kind {
        VirtualSynchrony::kind(message)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::time::Duration;

    use super::*;
    use crate::stage::{Audience, Costs, Stage, Wires};

    const SHAPE: Shape = Shape { width: 3, levels: 3 };

    #[derive(Default)]
    struct Heard(BTreeMap<usize, Vec<u64>>);

    impl Audience for Heard {
        fn delivered(&mut self, _at: u64, member: usize, _sender: usize, sequence: u64) {
            self.0.entry(member).or_default().push(sequence);
        }
    }

    #[test]
    fn members_have_their_places() {
        assert_eq!(SHAPE.members(), 1 + 3 + 9 + 27);
        let levels = [0, 1, 3, 4, 12, 13, 39].map(|member| SHAPE.level(member));
        assert_eq!(levels, [0, 1, 1, 2, 2, 3, 3]);
        assert_eq!(*SHAPE.group(2), [2, 7, 8, 9]);
        assert!(SHAPE.group(2).iter().skip(1).all(|member| SHAPE.head(*member) == Some(2)));
    }

    #[test]
    fn everybody_gets_everything_in_order_though_much_is_lost() {
        let (least, most) = (Duration::from_micros(50), Duration::from_micros(250));
        let wires = Wires::Flat { least, most, loss_ppm: 50_000 };
        let member = |own| Hierarchy::new(own, SHAPE, Settings::ensemble(), 1_000);
        let members = (0..SHAPE.members()).map(member).collect();
        let (mut stage, mut heard) =
            (Stage::new(members, wires, Costs::default(), 3), Heard::default());
        let mut sent = 0;
        for _ in 0..500 {
            sent += u64::from(stage.publish(0, 1_000, &mut heard));
            stage.run(Duration::from_millis(10), &mut heard);
        }
        stage.run(Duration::from_secs(20), &mut heard);
        assert!(sent > 450, "{sent}");
        assert_eq!(heard.0.len(), SHAPE.members() - 1);
        assert!(heard.0.values().all(|it| it.iter().copied().eq(0..sent)));
    }
}
