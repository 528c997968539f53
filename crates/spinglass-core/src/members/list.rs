//! An immutable, sorted list of member records, with its indices: by name and by boot.
//!
//! Members of one region lie side by side, so a region is a range, and "the k-th member of a
//! region, counted from another" is arithmetic: trees and bufferers follow from the list with no
//! messages. A change makes a new list; thousands of simulated members share one.

use alloc::sync::Arc;
use alloc::vec::Vec;
use core::net::SocketAddr;
use core::ops::Range;

use super::record::MemberRecord;
use crate::crypto::{Crypto, Epoch};
use crate::id::MemberId;
use crate::link::BootName;

/// The members, sorted by region, then by name.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct MemberList {
    rows: Vec<Row>,
    by_id: Vec<(MemberId, u32)>,
    by_boot: Vec<(BootName, u32)>,
    /// Where each region starts, and the end.
    regions: Vec<usize>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Row {
    record: Arc<MemberRecord>,
    boot: BootName,
}

impl MemberList {
    /// A list of records that need no checking: verified before, or made by the same host.
    #[must_use]
    pub fn trusted(
        records: Vec<Arc<MemberRecord>>,
        epoch: Epoch,
        crypto: &mut dyn Crypto,
    ) -> Arc<Self> {
        Arc::new(Self::of(records.into_iter().map(|record| {
            let boot = record.boot().name(epoch, crypto);
            (record, boot)
        })))
    }

    pub(super) fn of(rows: impl IntoIterator<Item = (Arc<MemberRecord>, BootName)>) -> Self {
        let rows = rows.into_iter().map(|(record, boot)| Row { record, boot }).collect();
        Self::sorted(rows)
    }

    fn sorted(mut rows: Vec<Row>) -> Self {
        rows.sort_by(|a, b| {
            let (a, b) = (&a.record, &b.record);
            a.region.cmp(&b.region).then_with(|| a.id().cmp(&b.id()))
        });
        let places = || (0_u32..).zip(&rows);
        let mut by_id: Vec<_> = places().map(|(place, row)| (row.record.id(), place)).collect();
        let mut by_boot: Vec<_> = places().map(|(place, row)| (row.boot, place)).collect();
        by_id.sort_unstable();
        by_boot.sort_unstable();
        let pairs = rows.iter().zip(rows.iter().skip(1)).enumerate();
        let starts = pairs
            .filter(|(_, (a, b))| a.record.region != b.record.region)
            .map(|(place, _)| place + 1);
        let regions = core::iter::once(0).chain(starts).chain([rows.len()]).collect();
        Self { rows, by_id, by_boot, regions }
    }

    pub(super) fn with(&self, record: &Arc<MemberRecord>, boot: BootName) -> Self {
        let others = self.rows.iter().filter(|row| row.record.id() != record.id()).cloned();
        let row = Row { record: Arc::clone(record), boot };
        Self::sorted(others.chain([row]).collect())
    }

    pub(super) fn without(&self, id: MemberId) -> Self {
        Self::sorted(self.rows.iter().filter(|row| row.record.id() != id).cloned().collect())
    }

    /// How many members.
    #[must_use]
    pub fn len(&self) -> usize {
        self.rows.len()
    }

    /// Whether there is nobody.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    /// All records, in order.
    pub fn records(&self) -> impl Iterator<Item = &Arc<MemberRecord>> {
        self.rows.iter().map(|row| &row.record)
    }

    /// The record at a place.
    #[must_use]
    pub fn at(&self, place: usize) -> Option<&Arc<MemberRecord>> {
        self.rows.get(place).map(|row| &row.record)
    }

    /// The boot at a place.
    #[must_use]
    pub fn boot_at(&self, place: usize) -> Option<BootName> {
        self.rows.get(place).map(|row| row.boot)
    }

    /// A member's place.
    #[must_use]
    pub fn place(&self, id: MemberId) -> Option<usize> {
        let at = self.by_id.binary_search_by_key(&id, |(id, _)| *id).ok()?;
        self.by_id.get(at).map(|(_, place)| *place as usize)
    }

    /// A member's record.
    #[must_use]
    pub fn find(&self, id: MemberId) -> Option<&Arc<MemberRecord>> {
        self.place(id).and_then(|place| self.at(place))
    }

    /// The place of the member that a boot belongs to.
    #[must_use]
    pub fn place_of_boot(&self, boot: BootName) -> Option<usize> {
        let at = self.by_boot.binary_search_by_key(&boot, |(boot, _)| *boot).ok()?;
        self.by_boot.get(at).map(|(_, place)| *place as usize)
    }

    /// Whether some member receives at `address`.
    #[must_use]
    pub fn has_address(&self, address: SocketAddr) -> bool {
        self.rows.iter().any(|row| row.record.address == address)
    }

    /// How many regions.
    #[must_use]
    pub fn region_count(&self) -> usize {
        self.regions.len().saturating_sub(1)
    }

    /// The places of a region's members.
    #[must_use]
    pub fn region(&self, index: usize) -> Range<usize> {
        let start = self.regions.get(index).copied().unwrap_or(0);
        start..self.regions.get(index + 1).copied().unwrap_or(start)
    }

    /// The index of the region that a place lies in.
    #[must_use]
    pub fn region_of(&self, place: usize) -> usize {
        self.regions.partition_point(|start| *start <= place).saturating_sub(1)
    }
}
