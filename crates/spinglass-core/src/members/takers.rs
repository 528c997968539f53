//! Who takes how much of a topic, as the rows of the own path say it; who speaks for a zone carries
//! for it what anybody in it takes.
//!
//! Of a packet all follows from its number: its rank parts those who take it from those who don't.
//! Packets between two ratings that there are go to the same members: they are of one *class*.

use alloc::vec::Vec;

use super::view::View;
use crate::id::TopicId;
use crate::interest;
use crate::load::Load;
use crate::pattern::Matching;
use crate::rating::{PacketKey, Rating, Share, too_small};
use crate::rng::mix;

/// Packets in a row that go the same way where members take turns at forwarding: so many share
/// system calls.
pub(super) const TURN_PACKETS: u64 = 8;
/// What a turn is counted in.
const TURNS: u64 = 1 << 16;
/// The golden ratio's fraction, in 64 bits: its multiples are spread evenly (Weyl), whichever few
/// of them somebody has to do with.
const GOLDEN: u64 = 0x9e37_79b9_7f4a_7c15;

/// Who takes a topic, where its streams are so busy.
#[derive(Debug)]
pub(super) struct Takers {
    /// The region's agents that take something, by rising place. `None`: all take everything.
    near: Option<Vec<(u32, Rating)>>,
    /// What child zones take, by the table above the region and their place in it. `None`: all of
    /// them everything.
    far: Option<Vec<Vec<Rating>>>,
    /// The ratings that there are, rising, and how many near take as much or more.
    ratings: Vec<(Rating, usize)>,
    /// What this agent carries for zones that it speaks for.
    carried: Share,
    /// How busy the streams are.
    load: Load,
    /// The load that all of them bear.
    borne: Load,
}

/// Which members packets go to, and in which order: the same for all of one cut.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Cut {
    topic: TopicId,
    load: Load,
    /// The place, among the ratings that there are, of the smallest that takes the packet.
    class: usize,
    /// Whose turn it is to forward in the region: the part of its takers that are skipped.
    turn: u64,
}

impl Takers {
    pub(super) fn of(view: &View, topic: TopicId, load: Load, matching: &Matching) -> Self {
        let carriers = view.carriers(topic, matching);
        let speaks = |address| {
            let zones = carriers.iter().filter(|(row, _)| row.contacts().contains(&address));
            zones.map(|(_, share)| *share).fold(Share::NONE, Share::or)
        };
        let mut borne = Load::ANY;
        let mut left = |share: Share| {
            if share.rating > Rating::NONE {
                borne = borne.min(share.ceiling);
            }
            share.under(load)
        };
        let near = view.agents().map(|(address, said)| {
            let own = interest::share_in(said, topic, matching);
            left(if carriers.is_empty() { own } else { own.or(speaks(address)) })
        });
        let near: Vec<Rating> = near.collect();
        let far: Vec<Vec<Rating>> = view
            .zones()
            .map(|rows| {
                let said = rows.map(|row| interest::said(row.attributes()).map(AsRef::as_ref));
                said.map(|said| left(interest::share_in(said, topic, matching))).collect()
            })
            .collect();
        let mut ratings: Vec<_> = near.iter().chain(far.iter().flatten()).copied().collect();
        ratings.sort_unstable();
        ratings.dedup();
        ratings.retain(|rating| *rating > Rating::NONE);
        let is_all = |rating: &Rating| *rating == Rating::ALL;
        let takers = (0..).zip(near.iter().copied()).filter(|(_, rating)| *rating > Rating::NONE);
        Self {
            carried: view.address().map_or(Share::NONE, speaks),
            load,
            borne,
            near: (!near.iter().all(is_all)).then(|| takers.collect()),
            far: (!far.iter().flatten().all(is_all)).then_some(far),
            ratings: ratings
                .into_iter()
                .map(|rating| (rating, near.iter().filter(|own| **own >= rating).count()))
                .collect(),
        }
    }

    /// Those at these places of a larger region.
    #[cfg(test)]
    pub(super) fn some(near: impl Iterator<Item = (u32, Rating)>) -> Self {
        let near: Vec<_> = near.collect();
        let ratings = alloc::vec![(Rating::ALL, near.len())];
        let (load, borne, carried) = (Load::NONE, Load::ANY, Share::NONE);
        Self { near: Some(near), far: None, ratings, carried, load, borne }
    }

    /// Whether everybody takes everything.
    pub(super) const fn are_all(&self) -> bool {
        self.near.is_none() && self.far.is_none()
    }

    /// The smallest rating that takes anything; `None`: nobody takes anything.
    pub(super) fn least(&self) -> Option<Rating> {
        self.ratings.first().map(|(rating, _)| *rating)
    }

    pub(super) const fn carried(&self) -> Share {
        self.carried
    }

    /// Whether all is the same under another load.
    pub(super) fn holds_under(&self, load: Load) -> bool {
        load == self.load || load.max(self.load) <= self.borne
    }

    /// Of which cut a packet is; `None`: everybody takes everything.
    pub(super) fn cut(&self, packet: &PacketKey, arity: usize) -> Option<Cut> {
        if self.are_all() {
            return None;
        }
        let PacketKey { stream, sequence, .. } = packet;
        let rank = too_small(packet);
        let (class, count) = self.class(rank);
        let turns = turns(count, arity) as u64;
        let first = mix(u128::from_le_bytes(stream.sender.0), 0);
        let drawn = first.wrapping_add((sequence / TURN_PACKETS).wrapping_mul(GOLDEN)) >> 48;
        Some(Cut {
            topic: stream.topic,
            load: self.load,
            class,
            turn: (drawn * turns / TURNS * TURNS).div_ceil(turns),
        })
    }

    /// The place of the smallest rating larger than this one, and how many near take that or more.
    fn class(&self, rank: Rating) -> (usize, usize) {
        let class = self.ratings.partition_point(|(rating, _)| *rating <= rank);
        (class, self.ratings.get(class).map_or(0, |(_, count)| *count))
    }

    /// How many of the region's agents take more than that.
    pub(super) fn count_above(&self, rank: Rating) -> usize {
        self.class(rank).1
    }

    /// The smallest rating that takes a cut's packets; `None`: nobody's does.
    pub(super) fn floor(&self, cut: &Cut) -> Option<Rating> {
        self.ratings.get(cut.class).map(|(rating, _)| *rating)
    }

    /// Places of the region's agents whose rating is at least that, rising; of `count` in all.
    pub(super) fn near(
        &self,
        floor: Option<Rating>,
        count: usize,
    ) -> impl Iterator<Item = usize> + '_ {
        let all = if self.near.is_none() && floor.is_some() { 0..count } else { 0..0 };
        let takers = self.near.iter().flatten();
        let taking = takers.filter(move |(_, rating)| floor.is_some_and(|floor| *rating >= floor));
        all.chain(taking.map(|(place, _)| *place as usize))
    }

    /// What the agent at a place of the region takes.
    pub(super) fn at(&self, place: usize) -> Rating {
        let Some(near) = &self.near else { return Rating::ALL };
        let found = near.binary_search_by_key(&place, |(place, _)| *place as usize);
        let taker = found.ok().and_then(|at| near.get(at));
        taker.map_or(Rating::NONE, |(_, rating)| *rating)
    }

    /// What a child zone takes, of the table at `depth`.
    pub(super) fn of_zone(&self, depth: usize, child: usize) -> Rating {
        let Some(far) = &self.far else { return Rating::ALL };
        let rating = far.get(depth).and_then(|table| table.get(child));
        rating.copied().unwrap_or(Rating::ALL)
    }
}

impl Cut {
    pub(super) const fn topic(&self) -> TopicId {
        self.topic
    }

    /// How many of so many members are skipped before the first that forwards.
    pub(super) const fn skips(&self, members: usize) -> usize {
        (members as u64 * self.turn / TURNS) as usize
    }
}

/// How many turns there are, so that over all of them each of so many forwards as often. Of many
/// there are fewer than members: whoever forwards does so to the same few.
fn turns(members: usize, arity: usize) -> usize {
    // The root hands it to all of a few.
    if members <= arity { 1 } else { members.min(arity * arity).max(1) }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Once somebody is thinned, another load leaves others.
    #[test]
    fn who_takes_what_is_the_same_up_to_the_load_that_all_bear() {
        let at = |load| Takers {
            load: Load(load),
            borne: Load(50),
            ..Takers::some(core::iter::once((0, Rating::ALL)))
        };
        let holds = |load: u8, other: u8| at(load).holds_under(Load(other));
        assert!(holds(0, 0) && holds(0, 50) && !holds(0, 51));
        assert!(holds(60, 60) && !holds(60, 61) && !holds(60, 55) && !holds(60, 50));
    }
}
