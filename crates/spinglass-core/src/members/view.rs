//! What multicast asks of the membership: partners, trees, bufferers.
//!
//! ```text
//!   /              sender's zone ──▶ head of eu ──▶ head of asia       a tree over child zones
//!   /eu                                │ head of paris ──▶ head of rome        in each zone
//!   /eu/paris                          │      │ agents, a tree again
//! ```
//!
//! Everything here is arithmetic on the tables of the own path, the same at every agent that holds
//! the same tables, so trees and bufferers need no messages and change with the membership by
//! themselves. Of each zone one representative, another one for each sender, is the zone's *head*:
//! it hands packets to other zones' heads, and begins the tree inside its own. A second one, the
//! *spare head*, may do the same by a tree of its own ([`TreeShape::has_spares`]).

use alloc::collections::BTreeMap;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::net::SocketAddr;

use super::{MemberRecord, Members};
use crate::config::TreeShape;
use crate::event::DESTINATIONS_MAX;
use crate::id::{MemberId, StreamId};
use crate::rng::{Prng, mix};
use crate::table::{RowKey, Table, TableRow, ZonePath};

/// Bufferers of a packet that are told apart: more than anybody sets; further ones may be the same.
const DISTINCT_MAX: usize = 32;

/// At most one in so many digests goes to another zone, if there are several: mostly near, seldom
/// far.
const FAR_ONE_IN: usize = 4;
/// Digests that all of a region together send to other zones per round: as many as it has
/// representatives, so that each one of those hears one (FACTS 8: the load on wide links does not
/// grow with what is behind them).
const FAR_PER_ROUND: usize = 3;
/// The fewest long-term bufferers of a packet in each of many regions: one may be asleep.
const BUFFERERS_MIN: u16 = 2;
/// Trees remembered, one per sender. When full, all are computed anew as they are needed.
const TREES_MAX: usize = 1024;

/// Who is there, as the table told last.
#[derive(Debug, Default)]
pub(super) struct View {
    /// The table's count of changes when this was made.
    revision: u64,
    region: ZonePath,
    address: Option<SocketAddr>,
    /// The region's agents, this one included, by key.
    agents: Vec<(RowKey, SocketAddr)>,
    /// This agent's place among them.
    own: usize,
    /// The tables above the region, root first.
    zones: Vec<ZoneTable>,
    /// How often the members of all regions are twice those of the own one.
    doublings: u16,
    trees: BTreeMap<MemberId, Arc<Tree>>,
}

/// A zone's child zones, by key, and the place of the one on the own path.
#[derive(Debug)]
struct ZoneTable {
    children: Vec<Arc<TableRow>>,
    own: Option<usize>,
}

/// This agent's part in one sender's tree.
#[derive(Debug, Default)]
struct Tree {
    /// Heads of other zones that this agent, as its zone's head, hands packets to.
    heads: Vec<SocketAddr>,
    /// Agents of the region that it hands them to.
    agents: Vec<SocketAddr>,
    /// Depths of the tables in which this agent is the head of its child zone.
    headed: Vec<usize>,
    is_region_head: bool,
    /// Those that hand packets to this agent.
    parents: Vec<SocketAddr>,
    /// The region's head, and those to whom it hands packets.
    crown: Vec<SocketAddr>,
    /// To whom else this agent hands them as a spare head: to other zones' spare heads, and to its
    /// region's crown.
    spares: Vec<SocketAddr>,
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

impl View {
    pub(super) const fn is_older_than(&self, table: &Table) -> bool {
        self.revision != table.peers_revision()
    }

    pub(super) fn of(table: &Table) -> Self {
        let (own_key, address) = table.own();
        let contact = |row: &Arc<TableRow>| Some((row.key(), *row.contacts().first()?));
        // As many as there are, and no more room: a flat region has thousands.
        let mut agents = Vec::with_capacity(table.agents().count() + 1);
        agents.extend(table.agents().filter(|row| row.key() != own_key).filter_map(contact));
        let own = agents.partition_point(|(key, _)| *key < own_key);
        agents.insert(own, (own_key, address));
        let zones = table.zones_above().map(|(children, own_key)| {
            let children: Vec<_> = children.collect();
            let own = children.binary_search_by_key(&own_key, |row| row.key()).ok();
            ZoneTable { children, own }
        });
        let regions = table.agents_in_all().saturating_add(agents.len() / 2) / agents.len().max(1);
        Self {
            revision: table.peers_revision(),
            region: table.region().clone(),
            address: Some(address),
            agents,
            own,
            zones: zones.collect(),
            doublings: regions.checked_ilog2().unwrap_or(0) as u16,
            trees: BTreeMap::new(),
        }
    }

    fn place(&self, key: RowKey) -> Option<usize> {
        self.agents.binary_search_by_key(&key, |(key, _)| *key).ok()
    }

    fn is_own(&self, member: &MemberRecord) -> bool {
        member.region == self.region && self.place(member.key()) == Some(self.own)
    }

    /// The address at a place of the region, counted from this agent.
    fn at_distance(&self, distance: usize) -> Option<SocketAddr> {
        let place = (self.own + distance) % self.agents.len().max(1);
        self.agents.get(place).map(|(_, address)| *address)
    }

    /// A representative of a random zone beside the own path.
    fn choose_far(&self, rng: &mut Prng) -> Option<SocketAddr> {
        let tables: Vec<_> = self.zones.iter().filter(|table| table.others() > 0).collect();
        let table = tables.get(rng.index(tables.len()))?;
        let child = table.other(rng.index(table.others()))?;
        child.contacts().get(rng.index(child.contacts().len())).copied()
    }

    fn make_tree(&self, sender: &MemberRecord, shape: TreeShape) -> Tree {
        let mut tree = Tree::default();
        let place = self.place(sender.key()).filter(|_| sender.region == self.region);
        let chain = self.chain(sender, shape.arity, 0);
        let head = chain.head;
        (tree.heads, tree.headed, tree.parents) = (chain.heads, chain.headed, chain.parents);
        let of_head = || self.agents.iter().position(|(_, address)| Some(*address) == head);
        let root = if head.is_none() { place } else { of_head() }.unwrap_or(self.own);
        tree.is_region_head = root == self.own;
        let address = |place: usize| self.agents.get(place).map(|(_, address)| *address);
        let above = heap_parent(self.agents.len(), root, self.own, shape.arity);
        tree.parents.extend(above.and_then(address));
        let below = |place| heap_children(self.agents.len(), root, place, shape.arity);
        tree.agents.extend(below(self.own).filter_map(address));
        let crown = core::iter::once(root).chain(below(root)).filter(|place| *place != self.own);
        tree.crown.extend(crown.filter_map(address));
        if shape.has_spares {
            let is_crowned = root == self.own || above == Some(root);
            self.add_spare(&mut tree, self.chain(sender, shape.arity, 1), head, is_crowned);
        }
        tree
    }

    /// This agent's part in the chain of spare heads, which is in nobody's tree twice.
    fn add_spare(&self, tree: &mut Tree, chain: Chain, head: Option<SocketAddr>, is_crowned: bool) {
        let spare = chain.head.filter(|spare| Some(*spare) != head);
        let others = chain.heads.into_iter().filter(|other| !tree.heads.contains(other));
        tree.spares = others.collect();
        tree.parents.extend(chain.parents);
        if spare.is_some() && spare == self.address {
            tree.spares.extend(tree.crown.iter().filter(|place| !tree.agents.contains(place)));
        } else if is_crowned {
            tree.parents.extend(spare);
        }
    }

    /// How a sender's packets come down the zones to this agent's region, by the heads that are
    /// `turn`-th in turn.
    fn chain(&self, sender: &MemberRecord, arity: usize, turn: u64) -> Chain {
        let mut chain = Chain::default();
        let common = self.region.common_depth(&sender.region);
        let is_sender = self.is_own(sender);
        for (depth, table) in self.zones.iter().enumerate() {
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
            if chain.head == self.address || (chain.head.is_none() && is_sender) {
                chain.headed.push(depth);
                let children = heap_children(table.children.len(), root, own, arity);
                let heads = children.filter_map(|child| table.deputy(child, sender.id(), turn));
                chain.heads.extend(heads.filter(|head| Some(*head) != self.address));
                let parent = heap_parent(table.children.len(), root, own, arity);
                chain.parents.extend(parent.and_then(|above| match above == root {
                    true => handed.or_else(|| table.deputy(root, sender.id(), turn)),
                    false => table.deputy(above, sender.id(), turn),
                }));
            }
        }
        chain
    }
}

impl ZoneTable {
    /// Child zones beside the one on the own path.
    fn others(&self) -> usize {
        self.children.len() - usize::from(self.own.is_some())
    }

    /// The `index`-th of them.
    fn other(&self, index: usize) -> Option<&Arc<TableRow>> {
        let is_past = self.own.is_some_and(|own| index >= own);
        self.children.get(index + usize::from(is_past))
    }

    /// The child zone that an agent, by its address, speaks for.
    fn child_of(&self, head: SocketAddr) -> Option<usize> {
        self.children.iter().position(|row| row.contacts().contains(&head))
    }

    fn child_named(&self, name: &str) -> Option<usize> {
        self.children.iter().position(|row| row.name() == name)
    }

    /// The representative who is next in turn after the head, or (turn 0) the head.
    fn deputy(&self, child: usize, sender: MemberId, turn: u64) -> Option<SocketAddr> {
        let row = self.children.get(child)?;
        let spread = mix(u128::from_le_bytes(sender.0), row.key().0);
        let contacts = row.contacts();
        let count = contacts.len().max(1) as u64;
        contacts.get(((spread % count + turn % count) % count) as usize).copied()
    }
}

impl Members {
    /// How many agents there are in all, as the summaries say.
    pub(crate) const fn count(&self) -> usize {
        self.count
    }

    /// A random gossip partner: mostly from the own region.
    pub(crate) fn choose_partner(&mut self) -> Option<SocketAddr> {
        let near = self.view.agents.len().saturating_sub(1);
        let one_in = FAR_ONE_IN.max(self.view.agents.len() / FAR_PER_ROUND);
        let is_far = near == 0 || self.rng.index(one_in) == 0;
        let far = if is_far { self.view.choose_far(&mut self.rng) } else { None };
        let choose_near = |rng: &mut Prng| self.view.at_distance(1 + rng.index(near));
        far.or_else(|| if near > 0 { choose_near(&mut self.rng) } else { None })
    }

    /// Whom to announce a packet to, the `turn`-th time: the member of the own region that is a
    /// certain distance away, which follows from the packet. Each has one who announces to it.
    pub(crate) fn rotation(
        &self,
        stream: &StreamId,
        sequence: u64,
        turn: u64,
    ) -> Option<SocketAddr> {
        let others = (self.view.agents.len() as u64).checked_sub(1).filter(|others| *others > 0)?;
        let packet = mix(u128::from_le_bytes(stream.sender.0), sequence);
        self.view.at_distance(1 + (mix(u128::from(packet), turn) % others) as usize)
    }

    /// The same among zones: whom a zone's head announces a packet to, one in another zone for each
    /// table in which it is its zone's head. That is the other zone's head at first: if it has
    /// missed the packet, so have all behind it; then each other representative, since a head may
    /// have gone, or be hostile.
    pub(crate) fn far_rotation(
        &mut self,
        stream: &StreamId,
        sequence: u64,
        turn: u64,
        shape: TreeShape,
    ) -> Vec<SocketAddr> {
        let Some(tree) = self.tree(stream.sender, shape) else { return Vec::new() };
        let packet = mix(u128::from_le_bytes(stream.sender.0), sequence);
        let spread = mix(u128::from(packet), turn);
        let headed = tree.headed.iter().filter_map(|depth| {
            let table = self.view.zones.get(*depth)?;
            let others = (table.children.len() as u64).checked_sub(1).filter(|it| *it > 0)?;
            let distance = 1 + (spread % others) as usize;
            let child = (table.own? + distance) % table.children.len();
            table.deputy(child, stream.sender, turn)
        });
        headed.collect()
    }

    /// Whether a member is of the own region.
    pub(crate) fn is_near(&self, id: MemberId) -> bool {
        self.find(id).is_some_and(|record| record.region == self.view.region)
    }

    /// The members that this one forwards `sender`'s packets to.
    ///
    /// In each zone a k-ary heap over its child zones, each stood for by its head; in the region
    /// one over its agents; the sender, or else the zone's head, is the root of each [GCAST, FACTS
    /// 2.3]. With `zones_only` the last one is left out: IP multicast serves the regions.
    pub(crate) fn children(
        &mut self,
        sender: MemberId,
        shape: TreeShape,
        zones_only: bool,
    ) -> Vec<SocketAddr> {
        let Some(tree) = self.tree(sender, shape) else { return Vec::new() };
        let (agents, spares) =
            if zones_only { (&[][..], &[][..]) } else { (&tree.agents[..], &tree.spares[..]) };
        tree.heads.iter().chain(agents).chain(spares).take(DESTINATIONS_MAX).copied().collect()
    }

    /// The members that hand `sender`'s packets to this one: as a member of its region, and as the
    /// head of zones.
    pub(crate) fn parents(&mut self, sender: MemberId, shape: TreeShape) -> Vec<SocketAddr> {
        self.tree(sender, shape).map_or_else(Vec::new, |tree| tree.parents.clone())
    }

    /// The region's head in `sender`'s tree and those to whom it hands packets: whoever gets a
    /// packet from afar that the head has missed begins the region's tree in its place.
    pub(crate) fn crown(&mut self, sender: MemberId, shape: TreeShape) -> Vec<SocketAddr> {
        self.tree(sender, shape).map_or_else(Vec::new, |tree| tree.crown.clone())
    }

    /// Whether this member stands for its region in `sender`'s tree.
    pub(crate) fn is_region_head(&mut self, sender: MemberId, shape: TreeShape) -> bool {
        self.tree(sender, shape).is_some_and(|tree| tree.is_region_head)
    }

    fn tree(&mut self, sender: MemberId, shape: TreeShape) -> Option<Arc<Tree>> {
        if let Some(tree) = self.view.trees.get(&sender) {
            return Some(Arc::clone(tree));
        }
        let tree = Arc::new(self.view.make_tree(self.find(sender)?, shape));
        if self.view.trees.len() >= TREES_MAX {
            self.view.trees.clear();
        }
        self.view.trees.insert(sender, Arc::clone(&tree));
        Some(tree)
    }

    /// The long-term bufferers of a packet: members of the own region, named by a hash of (packet,
    /// member) [Ozkasap et al. 1999]. Each of some points on the ring of keys, drawn from the
    /// packet, falls to the next member that has none yet, so that a change of membership moves few
    /// packets, and as many hold a packet as are to.
    ///
    /// They are `count` in a group of one region. Where there are many, each has its own, and the
    /// more copies there are in all, the fewer each needs: every doubling of the group takes half a
    /// bufferer away.
    pub(crate) fn bufferers(
        &self,
        stream: &StreamId,
        sequence: u64,
        count: u16,
    ) -> impl Iterator<Item = SocketAddr> + '_ {
        let packet = mix(u128::from_le_bytes(stream.sender.0), stream.incarnation.0)
            ^ u64::from_le_bytes(stream.topic.0);
        let agents = &self.view.agents;
        let wanted = bufferers_of(sequence, count, self.view.doublings);
        let mut taken = [usize::MAX; DISTINCT_MAX];
        let points = (0..wanted).zip(0..agents.len());
        points.filter_map(move |(point, number)| {
            let key = mix(u128::from(packet) << 64 | u128::from(sequence), u64::from(point));
            let mut place = agents.partition_point(|(agent, _)| agent.0 < key) % agents.len();
            while taken.contains(&place) {
                place = (place + 1) % agents.len();
            }
            taken.iter_mut().skip(number).take(1).for_each(|slot| *slot = place);
            agents.get(place).map(|(_, address)| *address)
        })
    }

    /// Whether this member is a long-term bufferer of a packet.
    pub(crate) fn is_bufferer(&self, stream: &StreamId, sequence: u64, count: u16) -> bool {
        let own = self.view.address;
        count == 0 || self.bufferers(stream, sequence, count).any(|keeper| Some(keeper) == own)
    }
}

/// How many of `count` bufferers keep a packet in each region of a group that is its region's size
/// doubled so often.
fn bufferers_of(sequence: u64, count: u16, doublings: u16) -> u32 {
    let whole = u32::from(count) * 2;
    let halves = whole.saturating_sub(doublings.into());
    let halves = halves.max(u32::from(BUFFERERS_MIN) * 2).min(whole);
    // Half a bufferer is one for every other packet.
    (halves + u32::from(sequence.is_multiple_of(2))) / 2
}

/// The places below `own` in the k-ary heap over `length` places whose root is at `root`.
fn heap_children(
    length: usize,
    root: usize,
    own: usize,
    arity: usize,
) -> impl Iterator<Item = usize> + use<> {
    let position = (own + length - root) % length.max(1);
    let first = position.saturating_mul(arity).saturating_add(1);
    (first..first.saturating_add(arity))
        .take_while(move |child| *child < length)
        .map(move |child| (child + root) % length)
}

/// The place above `own` in that heap; the root has none.
fn heap_parent(length: usize, root: usize, own: usize, arity: usize) -> Option<usize> {
    let position = (own + length - root) % length.max(1);
    let above = position.checked_sub(1)? / arity.max(1);
    Some((above + root) % length)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn half_a_bufferer_goes_with_every_doubling_and_two_stay() {
        let in_two_packets =
            |count, doublings| (0..2).map(|packet| bufferers_of(packet, count, doublings)).sum();
        let all: Vec<u32> = (0..12).map(|doublings| in_two_packets(6, doublings)).collect();
        assert_eq!(all, [12, 11, 10, 9, 8, 7, 6, 5, 4, 4, 4, 4]);
        assert_eq!([in_two_packets(1, 9), in_two_packets(0, 9)], [2, 0], "never more than asked");
    }

    #[test]
    fn a_heap_reaches_everybody_once() {
        for (length, root, arity) in [(1, 0, 2), (7, 3, 2), (32, 31, 8), (100, 5, 3)] {
            let mut parents = alloc::vec![0; length];
            for own in 0..length {
                for child in heap_children(length, root, own, arity) {
                    parents[child] += 1;
                    assert_eq!(heap_parent(length, root, child, arity), Some(own));
                }
            }
            assert_eq!(heap_parent(length, root, root, arity), None);
            assert_eq!(parents.remove(root), 0, "the root has no parent");
            assert!(parents.iter().all(|count| *count == 1));
        }
    }
}
