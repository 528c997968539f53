//! Records of members met: whoever introduced itself, or was introduced.

use alloc::collections::BTreeMap;
use alloc::sync::Arc;
use core::net::{IpAddr, SocketAddr};

use super::MemberRecord;
use super::told::Told;
use crate::compact::{Index, Pieces};
use crate::id::{Incarnation, MemberId};
use crate::link::BootName;

/// Rounds for which the lives that a restart ended may still be heard: their last packets are under
/// repair, and a life may have been so short that its first ones are, too. Default rounds: 5 s.
const PAST_LIFE_ROUNDS: u32 = 50;

/// What a record that arrived turned out to be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Learned {
    /// It is of a member not met before.
    New,
    /// It is of a life or a key not met before, or of a member that may have been forgotten.
    Newer,
    /// It was known, letter by letter.
    Known,
    /// It describes a life that is over, or a key that was left.
    Stale,
}

/// The records, to be found by name, by boot and by address.
#[derive(Debug)]
pub(super) struct Directory {
    /// In no order.
    met: Pieces<Met>,
    places: Places,
    /// Of members that began a new life of late: when, and the latest life known before.
    restarted: BTreeMap<MemberId, (u32, Incarnation)>,
    /// When full, the member heard of least recently is forgotten.
    records_max: usize,
}

/// Where in the list a record is.
#[derive(Debug)]
struct Places {
    by_id: Index,
    by_boot: Index,
    by_address: Index,
}

#[derive(Debug)]
struct Met {
    record: Arc<MemberRecord>,
    /// How it was told who this member is.
    told: Told,
    /// The back of its boot's name; the front is what it is looked for by.
    boot: u32,
    /// The own round in which it was last introduced.
    heard: u32,
}

impl Directory {
    pub(super) const fn new(records_max: usize) -> Self {
        Self {
            met: Pieces::new(),
            places: Places { by_id: Index::new(), by_boot: Index::new(), by_address: Index::new() },
            restarted: BTreeMap::new(),
            records_max,
        }
    }

    pub(super) fn records(&self) -> impl Iterator<Item = &Arc<MemberRecord>> {
        self.met.iter().map(|met| &met.record)
    }

    pub(super) fn find(&self, id: MemberId) -> Option<&Arc<MemberRecord>> {
        self.met.get(self.place_of(id)?).map(|met| &met.record)
    }

    /// Whoever's boot goes by this name. Parts of names are compared: the next of some trillions
    /// may be mistaken for it.
    pub(super) fn named(&self, boot: BootName) -> Option<&Arc<MemberRecord>> {
        let [front, back] = halves(boot);
        let mut met = self.places.by_boot.places(front).filter_map(|at| self.met.get(at));
        met.find(|met| met.boot == back).map(|met| &met.record)
    }

    /// Whether a life has ended so recently that it is still heard.
    pub(super) fn is_past_life(&self, id: MemberId, incarnation: Incarnation, round: u32) -> bool {
        self.restarted.get(&id).is_some_and(|(since, before)| {
            incarnation >= *before && round.saturating_sub(*since) <= PAST_LIFE_ROUNDS
        })
    }

    pub(super) fn learn(
        &mut self,
        record: &Arc<MemberRecord>,
        boot: BootName,
        round: u32,
    ) -> Learned {
        let id = record.id();
        let (mut learned, mut restarted) = (Learned::Newer, None);
        if let Some(met) = self.place_of(id).and_then(|place| self.met.get_mut(place)) {
            if met.record.supersedes(record) {
                return Learned::Stale;
            }
            met.heard = round;
            if *met.record == **record {
                return Learned::Known;
            }
            restarted = self.restarted.get(&id).copied().filter(|(since, _)| {
                // Of several restarts in a row the first says which lives were never heard of.
                round.saturating_sub(*since) <= PAST_LIFE_ROUNDS
            });
            if met.record.incarnation != record.incarnation {
                let before = restarted.map_or(met.record.incarnation, |(_, before)| before);
                restarted = Some((round, before));
            }
            self.forget(id);
        } else if self.met.len() >= self.records_max {
            let oldest = self.met.iter().min_by_key(|met| (met.heard, met.record.id()));
            let oldest = oldest.map(|met| met.record.id());
            oldest.into_iter().for_each(|oldest| self.forget(oldest));
        } else {
            learned = Learned::New;
        }
        self.restarted.extend(restarted.map(|restarted| (id, restarted)));
        let [front, back] = halves(boot);
        let record = Arc::clone(record);
        self.insert(front, Met { record, told: Told::default(), boot: back, heard: round });
        learned
    }

    fn insert(&mut self, boot_front: u32, met: Met) {
        let (place, record) = (self.met.len(), &met.record);
        self.places.by_id.insert(id_bits(record.id()), place);
        self.places.by_boot.insert(boot_front, place);
        self.places.by_address.insert(address_bits(record.address), place);
        self.met.push(met);
    }

    fn forget(&mut self, id: MemberId) {
        let Some(place) = self.place_of(id) else { return };
        // The last one takes its place, unless it is the last itself.
        self.met.swap_remove(place);
        self.places.swap_remove(place, self.met.len());
        self.restarted.remove(&id);
    }

    fn place_of(&self, id: MemberId) -> Option<usize> {
        let is_it = |at: &usize| self.met.get(*at).is_some_and(|met| met.record.id() == id);
        self.places.by_id.places(id_bits(id)).find(is_it)
    }

    // --- introductions

    /// How whoever was met at this address was told who this member is.
    pub(super) fn told(&self, address: SocketAddr) -> Option<&Told> {
        self.met.get(self.first_at(address)?).map(|met| &met.told)
    }

    /// The same, to note another telling.
    pub(super) fn told_mut(&mut self, address: SocketAddr) -> Option<&mut Told> {
        let place = self.first_at(address)?;
        self.met.get_mut(place).map(|met| &mut met.told)
    }

    /// Whoever is at this address, or (none) everybody, has not been told.
    pub(super) fn forget_told(&mut self, address: Option<SocketAddr>) {
        let is_there = |met: &&mut Met| address.is_none_or(|it| it == met.record.address);
        self.met.iter_mut().filter(is_there).for_each(|met| met.told.forget());
    }

    fn first_at(&self, address: SocketAddr) -> Option<usize> {
        let is_it = |at: &usize| self.met.get(*at).is_some_and(|met| met.record.address == address);
        self.places.by_address.places(address_bits(address)).find(is_it)
    }

    pub(super) fn check_invariants(&self, records_max: usize) {
        assert!(self.met.len() <= records_max);
        let Places { by_id, by_boot, by_address } = &self.places;
        assert!([by_id, by_boot, by_address].iter().all(|index| index.len() == self.met.len()));
        for (place, met) in self.met.iter().enumerate() {
            assert!(self.place_of(met.record.id()) == Some(place), "a record that is not found");
        }
    }
}

impl Places {
    fn swap_remove(&mut self, place: usize, last: usize) {
        for index in [&mut self.by_id, &mut self.by_boot, &mut self.by_address] {
            index.swap_remove(place, last);
        }
    }
}

fn id_bits(id: MemberId) -> u32 {
    let [a, b, c, d, ..] = id.0;
    u32::from_le_bytes([a, b, c, d])
}

fn halves(boot: BootName) -> [u32; 2] {
    let [a, b, c, d, e, f, g, h] = boot.0;
    [u32::from_le_bytes([a, b, c, d]), u32::from_le_bytes([e, f, g, h])]
}

/// What differs between addresses near each other: the last bytes, and the port.
fn address_bits(address: SocketAddr) -> u32 {
    let low = match address.ip() {
        IpAddr::V4(ip) => ip.to_bits(),
        IpAddr::V6(ip) => (ip.to_bits() ^ ip.to_bits() >> 64) as u32,
    };
    low ^ u32::from(address.port()) << 16
}
