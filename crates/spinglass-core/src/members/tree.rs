//! This agent's part in the trees along which packets go: who hands them on to whom.
//!
//! ```text
//!   /              sender's zone ──▶ head of eu ──▶ head of asia       a tree over child zones
//!   /eu                                │ head of paris ──▶ head of rome        in each zone
//!   /eu/paris                          │      │ agents, a tree again
//! ```
//!
//! Of each zone one representative, another one for each sender, is the zone's *head*: it hands
//! packets to other zones' heads, and begins the tree inside its own. A second one, the *spare
//! head*, may do the same by a tree of its own ([`TreeShape::has_spares`]). Zones and agents that
//! take nothing of a packet's class are not in its tree.

use alloc::vec::Vec;
use core::net::SocketAddr;

use super::MemberRecord;
use super::takers::{Cut, Takers};
use super::view::View;
use crate::config::TreeShape;
use crate::event::DESTINATIONS_MAX;

/// Whose packets, of which cut.
pub(super) type Whose<'a> = (&'a MemberRecord, Option<(&'a Takers, Cut)>);

/// This agent's part in one sender's tree.
#[derive(Debug, Default)]
pub(crate) struct Tree {
    /// Heads of other zones that this agent, as its zone's head, hands packets to.
    heads: Vec<SocketAddr>,
    /// Agents of the region that it hands them to.
    pub(crate) agents: Vec<SocketAddr>,
    /// Depths of the tables in which this agent is the head of its child zone.
    pub(super) headed: Vec<usize>,
    /// Whether this agent stands for its region.
    pub(crate) is_region_head: bool,
    /// Those that hand packets to this agent.
    pub(crate) parents: Vec<SocketAddr>,
    /// The region's head, and those to whom it hands packets.
    pub(crate) crown: Vec<SocketAddr>,
    /// To whom else this agent hands them as a spare head: to other zones' spare heads, and to its
    /// region's crown.
    spares: Vec<SocketAddr>,
}

impl Tree {
    /// The members that this one hands packets to. With `zones_only` those of its region are left
    /// out: IP multicast serves the regions.
    pub(crate) fn children(&self, zones_only: bool) -> Vec<SocketAddr> {
        let (agents, spares) =
            if zones_only { (&[][..], &[][..]) } else { (&self.agents[..], &self.spares[..]) };
        self.heads.iter().chain(agents).chain(spares).take(DESTINATIONS_MAX).copied().collect()
    }

    /// Whether it hands them to anybody.
    pub(crate) const fn hands_on(&self) -> bool {
        !self.heads.is_empty() || !self.agents.is_empty() || !self.spares.is_empty()
    }
}

/// How a sender's packets come from zone to zone to this agent's region.
#[derive(Debug, Default)]
struct Chain {
    /// The head of the region; `None`: the sender is of the region.
    head: Option<SocketAddr>,
    heads: Vec<SocketAddr>,
    headed: Vec<usize>,
    parents: Vec<SocketAddr>,
}

/// Places in the order of a k-ary heap, the root first.
struct Heap {
    places: Vec<usize>,
    /// Children of the root.
    first: usize,
    /// Children of each other place.
    arity: usize,
    /// Whether the places of a level are dealt out to those of the one above, so that the last,
    /// which is seldom full, is not all below one that may miss a packet.
    is_dealt: bool,
}

impl Heap {
    /// `places` rise, and the root need not be among them. Of a cut others forward at other turns,
    /// and the root hands on to as few as leave the heap no deeper: who takes pays.
    fn new(
        root: usize,
        places: impl Iterator<Item = usize>,
        arity: usize,
        cut: Option<&Cut>,
    ) -> Self {
        let mut others: Vec<usize> = places.filter(|place| *place != root).collect();
        let after = others.partition_point(|place| *place < root);
        let skipped = cut.map_or(0, |cut| cut.skips(others.len()));
        let start = (after + skipped) % others.len().max(1);
        others.rotate_left(start);
        let first = if cut.is_some() { fewest(others.len(), arity) } else { arity };
        others.insert(0, root);
        Self { places: others, first, arity, is_dealt: cut.is_some() }
    }

    fn position(&self, place: usize) -> Option<usize> {
        self.places.iter().position(|own| *own == place)
    }

    /// Where the level of a position begins, and how many it has if it is full.
    fn level(&self, position: usize) -> (usize, usize) {
        let (mut start, mut count) = (0, 1);
        while position >= start + count {
            let below = if start == 0 { self.first } else { count.saturating_mul(self.arity) };
            (start, count) = (start + count, below.max(1));
        }
        (start, count)
    }

    fn below(&self, place: usize) -> impl Iterator<Item = usize> + '_ {
        let position = self.position(place).unwrap_or(self.places.len());
        let (start, count) = self.level(position);
        let children = if position == 0 { self.first } else { self.arity };
        let (first, apart) = if self.is_dealt {
            (start + count + (position - start), count)
        } else {
            let before = if position == 0 { 0 } else { self.first + (position - 1) * self.arity };
            (before + 1, 1)
        };
        let below = self.places.get(first..).into_iter().flatten();
        below.step_by(apart).take(children).copied()
    }

    /// The root has none.
    fn above(&self, place: usize) -> Option<usize> {
        let position = self.position(place)?.checked_sub(1)? + 1;
        let (start, _) = self.level(position);
        let (above, count) = self.level(start - 1);
        let above = if self.is_dealt {
            above + (position - start) % count
        } else {
            match position.checked_sub(self.first + 1) {
                None => 0,
                Some(beyond) => 1 + beyond / self.arity.max(1),
            }
        };
        self.places.get(above).copied()
    }
}

/// Children of a root at least: of fewer copies all are lost too often, and with them the packet to
/// everybody.
const FIRST_MIN: usize = 3;

/// The fewest children of a root above so many places, so that the heap is no deeper than if it had
/// as many as the others.
fn fewest(places: usize, arity: usize) -> usize {
    let mut below_each: usize = 1;
    while below_each.saturating_mul(arity) < places {
        below_each = below_each.saturating_mul(arity).saturating_add(1);
    }
    places.div_ceil(below_each).max(FIRST_MIN.min(places))
}

impl View {
    pub(super) fn make_tree(&self, whose: Whose<'_>, shape: TreeShape) -> Tree {
        let (sender, cut) = whose;
        let mut tree = Tree::default();
        let chain = self.chain(whose, shape.arity, 0);
        let head = chain.head;
        (tree.heads, tree.headed, tree.parents) = (chain.heads, chain.headed, chain.parents);
        let place = match head {
            Some(head) => self.agents().position(|(address, _)| address == head),
            None => self.place(sender.key()).filter(|_| self.is_near(sender)),
        };
        let root = place.unwrap_or_else(|| self.own());
        tree.is_region_head = root == self.own();
        let takers = self.near_takers(cut.as_ref());
        let heap = Heap::new(root, takers, shape.arity, cut.as_ref().map(|(_, cut)| cut));
        let above = heap.above(self.own());
        tree.parents.extend(above.and_then(|place| self.at(place)));
        tree.agents.extend(heap.below(self.own()).filter_map(|place| self.at(place)));
        let crown = core::iter::once(root).chain(heap.below(root));
        let crown = crown.filter(|place| *place != self.own());
        tree.crown.extend(crown.filter_map(|place| self.at(place)));
        if shape.has_spares {
            let is_crowned = root == self.own() || above == Some(root);
            self.add_spare(&mut tree, self.chain(whose, shape.arity, 1), head, is_crowned);
        }
        tree
    }

    /// This agent's part in the chain of spare heads, which is in nobody's tree twice.
    fn add_spare(&self, tree: &mut Tree, chain: Chain, head: Option<SocketAddr>, is_crowned: bool) {
        let spare = chain.head.filter(|spare| Some(*spare) != head);
        let others = chain.heads.into_iter().filter(|other| !tree.heads.contains(other));
        tree.spares = others.collect();
        tree.parents.extend(chain.parents);
        if spare.is_some() && spare == self.address() {
            tree.spares.extend(tree.crown.iter().filter(|place| !tree.agents.contains(place)));
        } else if is_crowned {
            tree.parents.extend(spare);
        }
    }

    /// How a sender's packets come down the zones to this agent's region, by the heads that are
    /// `turn`-th in turn.
    fn chain(&self, (sender, cut): Whose<'_>, arity: usize, turn: u64) -> Chain {
        let mut chain = Chain::default();
        let common = self.region().common_depth(&sender.region);
        let is_sender = self.is_own(sender);
        for (depth, table) in self.zone_tables().iter().enumerate() {
            let root = match chain.head {
                Some(head) => table.child_of(head),
                None => sender.region.names().nth(depth).and_then(|name| table.child_named(name)),
            };
            let Some(own) = table.own else { continue };
            let root = root.unwrap_or(own);
            // Who holds the packets where this table's tree begins.
            let handed = chain.head.or_else(|| (depth == common).then_some(sender.address));
            if root != own || depth == common {
                chain.head = table.deputy(own, sender.id(), turn);
            }
            if chain.head == self.address() || (chain.head.is_none() && is_sender) {
                chain.headed.push(depth);
                let heap = Heap::new(root, self.far_takers(cut.as_ref(), depth), arity, None);
                let heads =
                    heap.below(own).filter_map(|child| table.deputy(child, sender.id(), turn));
                chain.heads.extend(heads.filter(|head| Some(*head) != self.address()));
                chain.parents.extend(heap.above(own).and_then(|above| match above == root {
                    true => handed.or_else(|| table.deputy(root, sender.id(), turn)),
                    false => table.deputy(above, sender.id(), turn),
                }));
            }
        }
        chain
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::id::StreamId;
    use crate::load::Load;
    use crate::members::takers::TURN_PACKETS;
    use crate::rating::{PacketKey, Rating};

    /// The cuts of packets that so many take, all of them everything, of a hundred more than that.
    fn cuts(members: u32, packets: u64, arity: usize) -> Vec<Cut> {
        let takers = Takers::some((0..members).map(|place| (place, Rating::ALL)));
        let key = |packet| PacketKey {
            stream: StreamId::default(),
            sequence: packet * TURN_PACKETS,
            load: Load::NONE,
        };
        let cut = |packet| takers.cut(&key(packet), arity).unwrap();
        (0..packets).map(cut).collect()
    }

    #[test]
    fn a_heap_reaches_everybody_once() {
        for (length, root, arity) in [(1, 0, 2), (7, 3, 2), (32, 31, 8), (100, 5, 3), (9, 2, 1)] {
            for cut in cuts(length as u32, 3, arity).iter().map(Some).chain([None]) {
                let heap = Heap::new(root, 0..length, arity, cut);
                let mut parents = alloc::vec![0; length];
                for own in 0..length {
                    for child in heap.below(own) {
                        parents[child] += 1;
                        assert_eq!(heap.above(child), Some(own));
                    }
                }
                assert_eq!(heap.above(root), None);
                assert_eq!(parents.remove(root), 0, "the root has no parent");
                assert!(parents.iter().all(|count| *count == 1));
            }
        }
    }

    #[test]
    fn a_root_that_takes_nothing_is_there_all_the_same() {
        let heap = Heap::new(4, [1, 3, 6, 9].into_iter(), 2, None);
        assert_eq!(heap.places, [4, 6, 9, 1, 3]);
        assert_eq!(heap.below(2).count(), 0, "nobody's who takes nothing");
    }

    #[test]
    fn a_root_hands_on_to_as_few_as_leave_the_heap_no_deeper() {
        let few: Vec<_> = [0, 1, 8, 9, 14, 72, 73, 100, 584].map(|it| fewest(it, 8)).into();
        assert_eq!(few, [0, 1, 8, 3, 3, 8, 3, 3, 8]);
        assert_eq!([fewest(2, 1), fewest(5, 1), fewest(500, 5)], [2, 3, 4]);
    }

    #[test]
    fn of_a_cut_no_place_has_much_more_below_it_than_others() {
        let cut = &cuts(88, 1, 8)[0];
        let heap = Heap::new(88, 0..88, 8, Some(cut));
        let mut below: Vec<usize> = heap.below(88).collect();
        for place in &mut below {
            let second: Vec<usize> = heap.below(*place).collect();
            *place = second.len() + second.iter().map(|it| heap.below(*it).count()).sum::<usize>();
        }
        assert_eq!(below, [29, 28, 28]);
    }

    #[test]
    fn over_all_turns_everybody_hands_on_as_much() {
        for members in [14, 60, 800] {
            let mut handed = alloc::vec![0; members + 1];
            let packets = 4_000;
            for cut in cuts(members as u32, packets, 8) {
                let heap = Heap::new(members, 0..members, 8, Some(&cut));
                (0..members).for_each(|place| handed[place] += heap.below(place).count());
            }
            handed.pop();
            let per_packet = |count: usize| count as f64 / packets as f64;
            // Of many, the few last positions that forward have the fewest below them.
            let off = handed.iter().filter(|count| !(0.7..1.2).contains(&per_packet(**count)));
            assert!(off.count() * 50 <= members, "of {members}: {handed:?}");
        }
    }
}
