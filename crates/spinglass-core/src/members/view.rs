//! What multicast asks of the membership: partners, trees, bufferers. The hierarchical table will
//! answer the same questions.
//!
//! Everything here is arithmetic on the sorted list, the same at every member that knows the same
//! members, so trees and bufferers need no messages and change with the membership by themselves.

use alloc::vec::Vec;
use core::net::SocketAddr;
use core::ops::Range;

use super::{MemberList, Members, PAST_LIFE_ROUNDS};
use crate::crypto::PublicKey;
use crate::event::{DESTINATIONS_MAX, Member, Reject};
use crate::id::{Incarnation, MemberId, StreamId};
use crate::link::{Boot, BootName};

/// One in this many digests goes to another region, if there are several: mostly near, seldom far.
const FAR_ONE_IN: u64 = 4;

impl Members {
    /// The list itself.
    #[must_use]
    pub fn list(&self) -> &MemberList {
        &self.list
    }

    /// How many members, the own one included.
    #[must_use]
    pub fn count(&self) -> usize {
        self.list.len()
    }

    /// Every member, the own one included, in order.
    pub fn iter(&self) -> impl Iterator<Item = Member> + '_ {
        self.list.records().map(|record| record.member())
    }

    /// A member's key, and the latest life known of it; also of one that is gone, whose last
    /// packets may still be under repair.
    #[must_use]
    pub fn key_of(&self, id: MemberId) -> Option<(PublicKey, Incarnation)> {
        let present = self.list.find(id).map(|record| (record.public_key, record.incarnation));
        let departed = || self.departed.get(&id).map(|gone| (gone.public_key, gone.incarnation));
        present.or_else(departed)
    }

    /// The key of a member of whose life packets are taken in: its latest known one, or one that
    /// a restart has ended just now.
    ///
    /// # Errors
    /// The member or this life of it is unknown, or the life is over.
    pub fn key_in_life(
        &self,
        id: MemberId,
        incarnation: Incarnation,
        round: u32,
    ) -> Result<PublicKey, Reject> {
        let (key, latest) = self.key_of(id).ok_or(Reject::UnknownSender)?;
        if incarnation > latest {
            return Err(Reject::UnknownSender);
        }
        let is_recent = |(since, before): &(u32, Incarnation)| {
            incarnation >= *before && round.saturating_sub(*since) <= PAST_LIFE_ROUNDS
        };
        if incarnation == latest || self.restarted.get(&id).is_some_and(is_recent) {
            Ok(key)
        } else {
            Err(Reject::StaleIncarnation)
        }
    }

    /// Where a member receives.
    #[must_use]
    pub fn address_of(&self, id: MemberId) -> Option<SocketAddr> {
        self.list.find(id).map(|record| record.address)
    }

    /// The boot that goes by `name`.
    #[must_use]
    pub fn boot_named(&self, name: BootName) -> Option<Boot> {
        self.list.place_of_boot(name).and_then(|place| self.list.at(place)).map(|at| at.boot())
    }

    /// A random gossip partner: mostly from the own region.
    pub fn choose_partner(&mut self) -> Option<MemberId> {
        let own = self.list.place(self.own)?;
        let near = self.list.region(self.list.region_of(own));
        let far = near.len() < 2 || self.rng.below(FAR_ONE_IN) == 0;
        let range = if far { 0..self.list.len() } else { near };
        let others = range.len().checked_sub(1).filter(|others| *others > 0)?;
        let drawn = range.start + self.rng.index(others);
        let place = if drawn >= own { drawn + 1 } else { drawn };
        self.list.at(place).map(|record| record.id())
    }

    /// Whom to announce a packet to, the `turn`-th time: the member of the own region that is a
    /// certain distance away, which follows from the packet. Each has one who announces to it.
    #[must_use]
    pub fn rotation(&self, stream: &StreamId, sequence: u64, turn: u64) -> Option<SocketAddr> {
        let own = self.list.place(self.own)?;
        let near = self.list.region(self.list.region_of(own));
        let range = if near.len() < 2 { 0..self.list.len() } else { near };
        let others = (range.len() as u64).checked_sub(1).filter(|others| *others > 0)?;
        let packet = mix(u128::from_le_bytes(stream.sender.0), sequence);
        let distance = 1 + (mix(u128::from(packet), turn) % others) as usize;
        let place = range.start + (own - range.start + distance) % range.len();
        self.list.at(place).map(|record| record.address)
    }

    /// Whether two members are in one region.
    #[must_use]
    pub fn is_near(&self, id: MemberId) -> bool {
        let region = |id| self.list.place(id).map(|place| self.list.region_of(place));
        region(id) == region(self.own)
    }

    /// The members that this one forwards `sender`'s packets to.
    ///
    /// Two k-ary heaps, both rooted by the sender [GCAST, FACTS 2.3]: one over the regions, in
    /// which each region is stood for by a member that depends on the sender, and one inside each
    /// region. With `regions_only` the second one is left out: IP multicast serves the regions.
    #[must_use]
    pub fn children(&self, sender: MemberId, arity: usize, regions_only: bool) -> Vec<SocketAddr> {
        let (Some(own), Some(root)) = (self.list.place(self.own), self.list.place(sender)) else {
            return Vec::new();
        };
        let root_region = self.list.region_of(root);
        let own_region = self.list.region_of(own);
        let range = self.list.region(own_region);
        let head = self.head(sender, root, own_region);
        let mut children = Vec::new();
        if head == own {
            let regions = 0..self.list.region_count();
            for region in heap_children(&regions, root_region, own_region, arity) {
                children.push(self.head(sender, root, region));
            }
        }
        if !regions_only {
            children.extend(heap_children(&range, head, own, arity));
        }
        children.truncate(DESTINATIONS_MAX);
        let address = |place: usize| self.list.at(place).map(|record| record.address);
        children.into_iter().filter_map(address).collect()
    }

    /// Whether this member stands for its region in `sender`'s tree.
    #[must_use]
    pub fn is_region_head(&self, sender: MemberId) -> bool {
        let (Some(own), Some(root)) = (self.list.place(self.own), self.list.place(sender)) else {
            return false;
        };
        self.head(sender, root, self.list.region_of(own)) == own
    }

    /// The place of the member that stands for a region in a sender's tree.
    fn head(&self, sender: MemberId, root: usize, region: usize) -> usize {
        let range = self.list.region(region);
        if range.contains(&root) {
            return root;
        }
        let spread = mix(u128::from_le_bytes(sender.0), region as u64);
        range.start + (spread % range.len().max(1) as u64) as usize
    }

    /// The long-term bufferers of a packet: `count` members of the own region, named by a hash of
    /// (packet, member) [Ozkasap et al. 1999]. Each of `count` points on the ring of names, drawn
    /// from the packet, falls to the next member, so that a change of membership moves few packets.
    pub fn bufferers(
        &self,
        stream: &StreamId,
        sequence: u64,
        count: u16,
    ) -> impl Iterator<Item = MemberId> + '_ {
        let own = self.list.place(self.own).unwrap_or(0);
        let range = self.list.region(self.list.region_of(own));
        let packet = mix(u128::from_le_bytes(stream.sender.0), stream.incarnation.0)
            ^ u64::from_le_bytes(stream.topic.0);
        (0..count).filter_map(move |point| {
            let place = mix(u128::from(packet) << 64 | u128::from(sequence), u64::from(point));
            self.successor(&range, place)
        })
    }

    /// Whether this member is a long-term bufferer of a packet.
    #[must_use]
    pub fn is_bufferer(&self, stream: &StreamId, sequence: u64, count: u16) -> bool {
        count == 0 || self.bufferers(stream, sequence, count).any(|id| id == self.own)
    }

    /// The first member of a region at or after a point on the ring of names.
    fn successor(&self, region: &Range<usize>, point: u64) -> Option<MemberId> {
        let mut low = region.start;
        let mut high = region.end;
        while low < high {
            let middle = low + (high - low) / 2;
            let id = self.list.at(middle)?.id();
            let [a, b, c, d, e, f, g, h, ..] = id.0;
            if u64::from_be_bytes([a, b, c, d, e, f, g, h]) < point {
                low = middle + 1;
            } else {
                high = middle;
            }
        }
        let place = if low == region.end { region.start } else { low };
        self.list.at(place).map(|record| record.id())
    }
}

/// The places below `own` in the k-ary heap over `range` whose root is at `root`.
fn heap_children(
    range: &Range<usize>,
    root: usize,
    own: usize,
    arity: usize,
) -> impl Iterator<Item = usize> + use<> {
    let (start, length) = (range.start, range.len());
    let shift = |place: usize| (place + length - start) % length.max(1);
    let position = (shift(own) + length - shift(root)) % length.max(1);
    let root = shift(root);
    let first = position.saturating_mul(arity).saturating_add(1);
    (first..first.saturating_add(arity))
        .take_while(move |child| *child < length)
        .map(move |child| start + (child + root) % length)
}

/// A well-spread function of two numbers; not for secrets.
fn mix(wide: u128, word: u64) -> u64 {
    let mut hash = word;
    for half in [wide as u64, (wide >> 64) as u64] {
        hash = (hash ^ half).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        hash ^= hash >> 32;
        hash = hash.wrapping_mul(0xd6e8_feb8_6659_fd93);
        hash ^= hash >> 32;
    }
    hash
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_heap_reaches_everybody_once() {
        for (length, root, arity) in [(1, 0, 2), (7, 3, 2), (32, 31, 8), (100, 5, 3)] {
            let range = 10..10 + length;
            let mut parents = alloc::vec![0; length];
            for own in range.clone() {
                for child in heap_children(&range, 10 + root, own, arity) {
                    parents[child - 10] += 1;
                }
            }
            assert_eq!(parents.remove(root), 0, "the root has no parent");
            assert!(parents.iter().all(|count| *count == 1));
        }
    }
}
