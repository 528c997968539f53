//! What multicast asks of the membership: partners, trees, bufferers.
//!
//! Everything here is arithmetic on the tables of the own path, the same at every agent that holds
//! the same tables, so trees and bufferers need no messages and change with the membership by
//! themselves. Of a topic that not all take all of, whoever does not take a packet is in no tree
//! that it goes along, is told nothing of it, and holds it for nobody.

use alloc::collections::BTreeMap;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::cell::OnceCell;
use core::net::SocketAddr;

use smallvec::SmallVec;

use super::takers::{Cut, Takers};
use super::tree::Tree;
use super::{MemberRecord, Members};
use crate::config::TreeShape;
use crate::id::{MemberId, TopicId};
use crate::interest;
use crate::load::Load;
use crate::pattern::Matching;
use crate::rating::{PacketKey, Rating, Share, too_small};
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
/// Bufferers that need no memory of their own.
const BUFFERERS_FEW: usize = 8;
/// The fewest long-term bufferers of a packet in each of many regions: one may be asleep.
const BUFFERERS_MIN: u16 = 2;
/// Trees remembered, one per sender and cut. When full, all are computed anew as they are needed.
const TREES_MAX: usize = 1024;
/// Topics remembered, the same way.
const TOPICS_MAX: usize = 256;

/// Who is there, as the table told last.
#[derive(Debug, Default)]
pub(super) struct View {
    /// The table's count of changes when this was made.
    revision: u64,
    region: ZonePath,
    address: Option<SocketAddr>,
    /// The region's agents, this one included, by key.
    agents: Vec<Agent>,
    /// This agent's place among them.
    own: usize,
    /// The tables above the region, root first.
    zones: Vec<ZoneTable>,
    /// How often the members of all regions are twice those of the own one.
    doublings: u16,
    /// Whether anybody takes topics by patterns.
    has_patterns: bool,
    trees: BTreeMap<(MemberId, Option<Cut>), Arc<Tree>>,
    topics: BTreeMap<(TopicId, Load), Arc<Takers>>,
    /// Places by address, once somebody asked.
    by_address: OnceCell<Vec<(SocketAddr, u32)>>,
}

#[derive(Debug)]
struct Agent {
    key: RowKey,
    address: SocketAddr,
    /// What its row says of topics.
    interest: Option<Arc<[u8]>>,
}

/// A zone's child zones, by key, and the place of the one on the own path.
#[derive(Debug)]
pub(super) struct ZoneTable {
    children: Vec<Arc<TableRow>>,
    pub(super) own: Option<usize>,
}

impl View {
    pub(super) const fn is_older_than(&self, table: &Table) -> bool {
        self.revision != table.peers_revision()
    }

    pub(super) fn of(table: &Table) -> Self {
        let (own_key, address) = table.own();
        let agent = |row: &Arc<TableRow>| {
            let (key, address) = (row.key(), *row.contacts().first()?);
            Some(Agent { key, address, interest: interest::said(row.attributes()).cloned() })
        };
        // As many as there are, and no more room: a flat region has thousands.
        let mut agents = Vec::with_capacity(table.agents().count() + 1);
        agents.extend(table.agents().filter(|row| row.key() != own_key).filter_map(agent));
        let own = agents.partition_point(|agent| agent.key < own_key);
        let own_row = table.agent(own_key);
        let interest = own_row.and_then(|row| interest::said(row.attributes())).cloned();
        agents.insert(own, Agent { key: own_key, address, interest });
        let zones = table.zones_above().map(|(children, own_key)| {
            let children: Vec<_> = children.collect();
            let own = children.binary_search_by_key(&own_key, |row| row.key()).ok();
            ZoneTable { children, own }
        });
        let zones: Vec<ZoneTable> = zones.collect();
        let of_agents = agents.iter().map(|agent| agent.interest.as_deref());
        let rows = zones.iter().flat_map(|table| &table.children);
        let of_zones = rows.map(|row| interest::said(row.attributes()).map(AsRef::as_ref));
        let has_patterns = of_agents.chain(of_zones).any(interest::has_patterns);
        let regions = table.agents_in_all().saturating_add(agents.len() / 2) / agents.len().max(1);
        Self {
            revision: table.peers_revision(),
            region: table.region().clone(),
            address: Some(address),
            agents,
            own,
            zones,
            has_patterns,
            doublings: regions.checked_ilog2().unwrap_or(0) as u16,
            ..Self::default()
        }
    }

    pub(super) const fn revision(&self) -> u64 {
        self.revision
    }

    pub(super) const fn has_patterns(&self) -> bool {
        self.has_patterns
    }

    /// Forgets who takes a topic: it is known by its text now.
    pub(super) fn forget_topic(&mut self, topic: TopicId) {
        self.topics.retain(|(known, _), _| known.plain() != topic);
        let is_other = |cut: &Option<Cut>| cut.is_none_or(|cut| cut.topic().plain() != topic);
        self.trees.retain(|(_, cut), _| is_other(cut));
    }

    pub(super) const fn own(&self) -> usize {
        self.own
    }

    pub(super) const fn address(&self) -> Option<SocketAddr> {
        self.address
    }

    pub(super) const fn region(&self) -> &ZonePath {
        &self.region
    }

    /// The region's agents by place: where each receives, and what it says of topics.
    pub(super) fn agents(&self) -> impl ExactSizeIterator<Item = (SocketAddr, Option<&[u8]>)> + '_ {
        self.agents.iter().map(|agent| (agent.address, agent.interest.as_deref()))
    }

    /// Their names, in the same order.
    pub(super) fn keys(&self) -> impl Iterator<Item = RowKey> + '_ {
        self.agents.iter().map(|agent| agent.key)
    }

    pub(super) fn zone_tables(&self) -> &[ZoneTable] {
        &self.zones
    }

    /// The rows of each table's child zones.
    pub(super) fn zones(&self) -> impl Iterator<Item = impl Iterator<Item = &TableRow>> {
        self.zones.iter().map(|table| table.children.iter().map(AsRef::as_ref))
    }

    /// The rows of the zones on the own path, and what each zone takes of a topic, if anything.
    pub(super) fn carriers(&self, topic: TopicId, matching: &Matching) -> Vec<(&TableRow, Share)> {
        let own = self.zones.iter().filter_map(|table| table.children.get(table.own?));
        let rated = own.map(|row| {
            let said = interest::said(row.attributes()).map(AsRef::as_ref);
            (row.as_ref(), interest::share_in(said, topic, matching))
        });
        rated.filter(|(_, share)| share.rating > Rating::NONE).collect()
    }

    pub(super) fn place(&self, key: RowKey) -> Option<usize> {
        self.agents.binary_search_by_key(&key, |agent| agent.key).ok()
    }

    /// Where the agent at a place receives.
    pub(super) fn at(&self, place: usize) -> Option<SocketAddr> {
        self.agents.get(place).map(|agent| agent.address)
    }

    pub(super) fn is_near(&self, member: &MemberRecord) -> bool {
        member.region == self.region
    }

    pub(super) fn is_own(&self, member: &MemberRecord) -> bool {
        self.is_near(member) && self.place(member.key()) == Some(self.own)
    }

    /// Places of the region's agents that take a cut's packets, rising.
    pub(super) fn near_takers<'a>(
        &self,
        cut: Option<&(&'a Takers, Cut)>,
    ) -> impl Iterator<Item = usize> + use<'a> {
        let count = self.agents.len();
        let all = if cut.is_none() { 0..count } else { 0..0 };
        let some = cut.map(|(takers, cut)| takers.near(takers.floor(cut), count));
        all.chain(some.into_iter().flatten())
    }

    /// Places of the child zones that do, in the table at `depth`.
    pub(super) fn far_takers<'a>(
        &self,
        cut: Option<&(&'a Takers, Cut)>,
        depth: usize,
    ) -> impl Iterator<Item = usize> + use<'a> {
        let count = self.zones.get(depth).map_or(0, |table| table.children.len());
        let cut = cut.copied();
        (0..count).filter(move |child| {
            let takes = |(takers, cut): (&Takers, Cut)| {
                takers.floor(&cut).is_some_and(|floor| takers.of_zone(depth, *child) >= floor)
            };
            cut.is_none_or(takes)
        })
    }

    /// The place of whoever receives there.
    fn place_at(&self, address: SocketAddr) -> Option<usize> {
        let by_address = self.by_address.get_or_init(|| {
            let mut places: Vec<_> =
                (0..).zip(&self.agents).map(|(place, agent)| (agent.address, place)).collect();
            places.sort_unstable();
            places
        });
        let at = by_address.binary_search_by_key(&address, |(own, _)| *own).ok()?;
        by_address.get(at).map(|(_, place)| *place as usize)
    }

    /// The address at a place of the region, counted from this agent.
    fn at_distance(&self, distance: usize) -> Option<SocketAddr> {
        self.at((self.own + distance) % self.agents.len().max(1))
    }

    /// A representative of a random zone beside the own path, of those that take a topic.
    fn choose_far(&self, topic: Option<&Takers>, rng: &mut Prng) -> Option<SocketAddr> {
        let takes = |depth, child| topic.is_none_or(|it| it.of_zone(depth, child) > Rating::NONE);
        let others = self.zones.iter().enumerate().map(|(depth, table)| {
            let all = 0..table.children.len();
            let others = all.filter(|child| Some(*child) != table.own && takes(depth, *child));
            (table, others.collect::<Vec<usize>>())
        });
        let tables: Vec<_> = others.filter(|(_, others)| !others.is_empty()).collect();
        let (table, others) = tables.get(rng.index(tables.len()))?;
        let child = table.children.get(*others.get(rng.index(others.len()))?)?;
        child.contacts().get(rng.index(child.contacts().len())).copied()
    }
}

impl ZoneTable {
    /// The child zone that an agent, by its address, speaks for.
    pub(super) fn child_of(&self, head: SocketAddr) -> Option<usize> {
        self.children.iter().position(|row| row.contacts().contains(&head))
    }

    pub(super) fn child_named(&self, name: &str) -> Option<usize> {
        self.children.iter().position(|row| row.name() == name)
    }

    /// The representative who is next in turn after the head, or (turn 0) the head.
    pub(super) fn deputy(&self, child: usize, sender: MemberId, turn: u64) -> Option<SocketAddr> {
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

    /// How many of them are in the region.
    pub(crate) fn near_count(&self) -> u32 {
        u32::try_from(self.view.agents.len()).unwrap_or(u32::MAX)
    }

    /// A random gossip partner: mostly from the own region; one that takes as much of a topic, if
    /// anybody does, else one that takes anything of it.
    pub(crate) fn choose_partner(
        &mut self,
        topic: Option<(TopicId, Rating)>,
    ) -> Option<SocketAddr> {
        let takers =
            topic.map(|(topic, _)| self.takers(topic, Load::NONE)).filter(|it| !it.are_all());
        let takers = takers.as_deref();
        let (own, agents) = (self.view.own, self.view.agents.len());
        let near = takers.map(|takers| {
            let at_least = |floor: Option<Rating>| -> Vec<usize> {
                takers.near(floor, agents).filter(|place| *place != own).collect()
            };
            let wanted = topic.map(|(_, rating)| rating).filter(|it| *it > Rating::NONE);
            let as_much = wanted.map_or_else(Vec::new, |rating| at_least(Some(rating)));
            if as_much.is_empty() { at_least(takers.least()) } else { as_much }
        });
        let all = self.view.agents.len().saturating_sub(1);
        let count = near.as_ref().map_or(all, Vec::len);
        let one_in = FAR_ONE_IN.max((count + 1) / FAR_PER_ROUND);
        let is_far = count == 0 || self.rng.index(one_in) == 0;
        let far = if is_far { self.view.choose_far(takers, &mut self.rng) } else { None };
        far.or_else(|| {
            let drawn = if count > 0 { self.rng.index(count) } else { return None };
            match near {
                None => self.view.at_distance(1 + drawn),
                Some(near) => self.view.at(*near.get(drawn)?),
            }
        })
    }

    /// Whom to announce a packet to, the `turn`-th time: the member of the own region that is a
    /// certain distance away, which follows from the packet. Each has one who announces to it.
    pub(crate) fn rotation(
        &mut self,
        packet: &PacketKey,
        turn: u64,
        shape: TreeShape,
    ) -> Option<SocketAddr> {
        let takers = self.takers_of(packet);
        let cut = takers.cut(packet, shape.arity);
        let cut = cut.map(|cut| (&*takers, cut));
        let view = &self.view;
        let others = view.near_takers(cut.as_ref()).filter(|place| *place != view.own);
        let others: Vec<usize> = others.collect();
        let packet = mix(u128::from_le_bytes(packet.stream.sender.0), packet.sequence);
        let count = u64::try_from(others.len()).ok().filter(|count| *count > 0)?;
        let distance = (mix(u128::from(packet), turn) % count) as usize;
        let after = others.partition_point(|place| *place < view.own);
        view.at(*others.get((after + distance) % others.len())?)
    }

    /// The same among zones: whom a zone's head announces a packet to, one in another zone for each
    /// table in which it is its zone's head. That is the other zone's head at first: if it has
    /// missed the packet, so have all behind it; then each other representative, since a head may
    /// have gone, or be hostile.
    pub(crate) fn far_rotation(
        &mut self,
        packet: &PacketKey,
        turn: u64,
        shape: TreeShape,
    ) -> Vec<SocketAddr> {
        let tree = self.tree(packet, shape);
        let takers = self.takers_of(packet);
        let cut = takers.cut(packet, shape.arity);
        let cut = cut.map(|cut| (&*takers, cut));
        let sender = packet.stream.sender;
        let drawn = mix(u128::from_le_bytes(sender.0), packet.sequence);
        let spread = mix(u128::from(drawn), turn);
        let headed = tree.headed.iter().filter_map(|depth| {
            let table = self.view.zones.get(*depth)?;
            let others = self.view.far_takers(cut.as_ref(), *depth);
            let others: Vec<usize> = others.filter(|child| Some(*child) != table.own).collect();
            let count = u64::try_from(others.len()).ok().filter(|count| *count > 0)?;
            let after = others.partition_point(|child| Some(*child) < table.own);
            let at = (after + (spread % count) as usize) % others.len();
            table.deputy(*others.get(at)?, sender, turn)
        });
        headed.collect()
    }

    /// Whether a member is of the own region.
    pub(crate) fn is_near(&self, id: MemberId) -> bool {
        self.find(id).is_some_and(|record| record.region == self.view.region)
    }

    /// This member's part in a packet's tree; none, if its sender is not known.
    ///
    /// In each zone a k-ary heap over its child zones, each stood for by its head; in the region
    /// one over its agents; the sender, or else the zone's head, is the root of each [GCAST, FACTS
    /// 2.3].
    pub(crate) fn tree(&mut self, packet: &PacketKey, shape: TreeShape) -> Arc<Tree> {
        let takers = self.takers_of(packet);
        let cut = takers.cut(packet, shape.arity);
        let key = (packet.stream.sender, cut);
        if let Some(tree) = self.view.trees.get(&key) {
            return Arc::clone(tree);
        }
        let Some(sender) = self.find(packet.stream.sender) else { return Arc::default() };
        let tree = self.view.make_tree((sender, cut.map(|cut| (&*takers, cut))), shape);
        let tree = Arc::new(tree);
        if self.view.trees.len() >= TREES_MAX {
            self.view.trees.clear();
        }
        self.view.trees.insert(key, Arc::clone(&tree));
        tree
    }

    // --- who takes what

    /// Who takes what of a topic where its streams are so busy.
    fn takers(&mut self, topic: TopicId, load: Load) -> Arc<Takers> {
        let borne = self.view.topics.range((topic, Load::NONE)..=(topic, load)).next_back();
        if let Some((_, takers)) = borne.filter(|(_, takers)| takers.holds_under(load)) {
            return Arc::clone(takers);
        }
        let takers = Arc::new(Takers::of(&self.view, topic, load, &self.matching(topic)));
        if self.view.topics.len() >= TOPICS_MAX {
            self.view.topics.clear();
        }
        self.view.topics.insert((topic, load), Arc::clone(&takers));
        takers
    }

    /// Which patterns match a topic, where there are any.
    fn matching(&self, topic: TopicId) -> Matching {
        let text = self.text(topic).filter(|_| self.view.has_patterns);
        text.map_or(Matching::Any, |text| Matching::of(text))
    }

    fn takers_of(&mut self, packet: &PacketKey) -> Arc<Takers> {
        self.takers(packet.stream.topic, packet.load)
    }

    /// Which way a packet goes; packets of one stream that go the same way have the same.
    pub(crate) fn cut(&mut self, packet: &PacketKey, arity: usize) -> Option<Cut> {
        self.takers_of(packet).cut(packet, arity)
    }

    /// What this member carries of a topic for zones that it speaks for.
    pub(crate) fn carried(&mut self, topic: TopicId) -> Share {
        self.takers(topic, Load::NONE).carried()
    }

    /// Whether at least half of the region takes a packet, so that IP multicast is no waste.
    pub(crate) fn is_widely_taken(&mut self, packet: &PacketKey) -> bool {
        let takers = self.takers_of(packet);
        takers.are_all() || takers.count_above(too_small(packet)) * 2 >= self.view.agents.len()
    }

    /// Who takes how much of a topic, as a print: others than before, or more, have another one.
    pub(crate) fn takers_print(&mut self, topic: TopicId) -> u64 {
        let takers = &*self.takers(topic, Load::NONE);
        let near = self.view.keys().enumerate().map(|(place, key)| (key, takers.at(place)));
        let far = self.view.zones().enumerate().flat_map(|(depth, rows)| {
            let rows = rows.map(TableRow::key).enumerate();
            rows.map(move |(child, key)| (key, takers.of_zone(depth, child)))
        });
        let taking = near.chain(far).filter(|(_, rating)| *rating > Rating::NONE);
        let prints = taking.map(|(key, rating)| mix(key.0.into(), rating.millionths().into()));
        prints.fold(0, u64::wrapping_add)
    }

    /// How many there are that may lack what one of a topic lacks.
    pub(crate) fn takers_count(&mut self, topic: TopicId) -> usize {
        let takers = self.takers(topic, Load::NONE);
        if takers.are_all() { self.count } else { takers.count_above(Rating::NONE) }
    }

    /// Whether everybody on the own path takes everything of a stream that is so busy.
    pub(crate) fn all_take_all(&mut self, topic: TopicId, load: Load) -> bool {
        self.takers(topic, load).are_all()
    }

    /// Whether whoever receives there takes anything of a topic, as far as one can tell.
    pub(crate) fn may_take(&mut self, address: SocketAddr, topic: TopicId) -> bool {
        let takers = self.takers(topic, Load::NONE);
        self.rating_at(address, &takers) > Rating::NONE
    }

    /// Whether it takes a packet, as far as one can tell.
    pub(crate) fn may_take_packet(&mut self, address: SocketAddr, packet: &PacketKey) -> bool {
        let takers = self.takers_of(packet);
        self.rating_at(address, &takers) > too_small(packet)
    }

    fn rating_at(&self, address: SocketAddr, takers: &Takers) -> Rating {
        if takers.are_all() {
            return Rating::ALL;
        }
        if let Some(place) = self.view.place_at(address) {
            return takers.at(place);
        }
        let tables = self.view.zones.iter().enumerate();
        let spoken_for =
            tables.filter_map(|(depth, table)| Some((depth, table.child_of(address)?)));
        let ratings = spoken_for.map(|(depth, child)| takers.of_zone(depth, child));
        ratings.max().unwrap_or(Rating::ALL)
    }

    // --- bufferers

    /// The long-term bufferers of a packet: members of the own region, named by a hash of (packet,
    /// member) [Ozkasap et al. 1999]. Each of some points on the ring of keys, drawn from the
    /// packet, falls to the next member that has none yet, so that a change of membership moves few
    /// packets, and as many hold a packet as are to.
    ///
    /// They are `count` in a group of one region. Where there are many, each has its own, and the
    /// more copies there are in all, the fewer each needs: every doubling of the group takes half a
    /// bufferer away. Only who takes a packet keeps it, and, if not all do, its sender: where few
    /// do, all of them may have missed it.
    pub(crate) fn bufferers(
        &mut self,
        packet: &PacketKey,
        count: u16,
    ) -> SmallVec<[SocketAddr; BUFFERERS_FEW]> {
        let takers = self.takers_of(packet);
        let rank = (!takers.are_all()).then(|| too_small(packet));
        let PacketKey { stream, sequence, .. } = *packet;
        let takes = |place| rank.is_none_or(|rank| takers.at(place) > rank);
        let packet = mix(u128::from_le_bytes(stream.sender.0), stream.incarnation.0)
            ^ u64::from_le_bytes(stream.topic.0);
        let agents = &self.view.agents;
        let wanted = bufferers_of(sequence, count, self.view.doublings) as usize;
        let mut places = SmallVec::<[usize; BUFFERERS_FEW]>::new();
        for point in 0..wanted.min(agents.len()).min(DISTINCT_MAX) {
            let key = mix(u128::from(packet) << 64 | u128::from(sequence), point as u64);
            let first = agents.partition_point(|agent| agent.key.0 < key);
            let ring = (first..agents.len()).chain(0..first);
            let mut free = ring.filter(|place| takes(*place) && !places.contains(place));
            let Some(place) = free.next() else { break };
            places.push(place);
        }
        let mut keepers: SmallVec<_> = places.iter().filter_map(|at| self.view.at(*at)).collect();
        if let Some(sender) = self.find(stream.sender).filter(|_| rank.is_some())
            && !keepers.contains(&sender.address)
        {
            keepers.push(sender.address);
        }
        keepers
    }

    /// Whether this member is a long-term bufferer of a packet.
    pub(crate) fn is_bufferer(&mut self, packet: &PacketKey, count: u16) -> bool {
        let own = self.view.address;
        count == 0 || self.bufferers(packet, count).iter().any(|it| Some(*it) == own)
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
}
