//! Records of members met: whoever introduced itself, or was introduced.

use alloc::collections::BTreeMap;
use alloc::sync::Arc;
use core::net::SocketAddr;

use super::MemberRecord;
use crate::id::{Incarnation, MemberId};
use crate::link::BootName;

/// Rounds for which the lives that a restart ended may still be heard: their last packets are under
/// repair, and a life may have been so short that its first ones are, too. Default rounds: 5 s.
const PAST_LIFE_ROUNDS: u32 = 50;

/// What a record that arrived turned out to be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Learned {
    /// It is of a member, a life or a key not met before.
    New,
    /// It was known, letter by letter.
    Known,
    /// It describes a life that is over, or a key that was left.
    Stale,
}

/// The records, by name, by boot and by address.
#[derive(Debug)]
pub(super) struct Directory {
    met: BTreeMap<MemberId, Met>,
    by_boot: BTreeMap<BootName, MemberId>,
    by_address: BTreeMap<SocketAddr, MemberId>,
    /// When full, the member heard of least recently is forgotten.
    records_max: usize,
}

#[derive(Debug)]
struct Met {
    record: Arc<MemberRecord>,
    boot: BootName,
    /// The own round in which it was last introduced.
    heard: u32,
    /// When it began a new life of late, and the latest life known before.
    restarted: Option<(u32, Incarnation)>,
}

impl Directory {
    pub(super) const fn new(records_max: usize) -> Self {
        Self {
            met: BTreeMap::new(),
            by_boot: BTreeMap::new(),
            by_address: BTreeMap::new(),
            records_max,
        }
    }

    pub(super) fn find(&self, id: MemberId) -> Option<&Arc<MemberRecord>> {
        self.met.get(&id).map(|met| &met.record)
    }

    pub(super) fn named(&self, boot: BootName) -> Option<&Arc<MemberRecord>> {
        self.find(*self.by_boot.get(&boot)?)
    }

    pub(super) fn has_address(&self, address: SocketAddr) -> bool {
        self.by_address.contains_key(&address)
    }

    /// Whether a life has ended so recently that it is still heard.
    pub(super) fn is_past_life(&self, id: MemberId, incarnation: Incarnation, round: u32) -> bool {
        let restarted = self.met.get(&id).and_then(|met| met.restarted);
        restarted.is_some_and(|(since, before)| {
            incarnation >= before && round.saturating_sub(since) <= PAST_LIFE_ROUNDS
        })
    }

    pub(super) fn learn(
        &mut self,
        record: &Arc<MemberRecord>,
        boot: BootName,
        round: u32,
    ) -> Learned {
        let id = record.id();
        let mut restarted = None;
        if let Some(met) = self.met.get_mut(&id) {
            if met.record.supersedes(record) {
                return Learned::Stale;
            }
            met.heard = round;
            if *met.record == **record {
                return Learned::Known;
            }
            restarted = met.restarted.filter(|(since, _)| {
                // Of several restarts in a row the first says which lives were never heard of.
                round.saturating_sub(*since) <= PAST_LIFE_ROUNDS
            });
            if met.record.incarnation != record.incarnation {
                let before = restarted.map_or(met.record.incarnation, |(_, before)| before);
                restarted = Some((round, before));
            }
            self.forget(id);
        } else if self.met.len() >= self.records_max {
            let oldest = self.met.iter().min_by_key(|(_, met)| met.heard).map(|(id, _)| *id);
            oldest.into_iter().for_each(|oldest| self.forget(oldest));
        }
        self.by_boot.insert(boot, id);
        self.by_address.insert(record.address, id);
        self.met.insert(id, Met { record: Arc::clone(record), boot, heard: round, restarted });
        Learned::New
    }

    fn forget(&mut self, id: MemberId) {
        let Some(met) = self.met.remove(&id) else { return };
        // What another one has taken over meanwhile is its own.
        if self.by_boot.get(&met.boot) == Some(&id) {
            self.by_boot.remove(&met.boot);
        }
        if self.by_address.get(&met.record.address) == Some(&id) {
            self.by_address.remove(&met.record.address);
        }
    }

    pub(super) fn check_invariants(&self, records_max: usize) {
        assert!(self.met.len() <= records_max);
        assert!(self.by_boot.len() <= self.met.len() && self.by_address.len() <= self.met.len());
    }
}
