//! One copy of each row of the table and of each member's record, however many agents hold it.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError, Weak};

use spinglass_core::MemberId;
use spinglass_core::members::{MemberRecord, RecordPool};
use spinglass_core::table::{RowPool, TableRow};

use crate::crypto::mix;

/// A world's rows. Clones share them.
#[derive(Debug, Clone, Default)]
pub(crate) struct SharedRows(Arc<Mutex<Rows>>);

#[derive(Debug, Default)]
struct Rows {
    /// By a hash of their bytes; rows that nobody holds any more are swept out in time.
    rows: BTreeMap<u64, Weak<TableRow>>,
    /// How many there may be before the next sweep.
    sweep_at: usize,
}

/// Rows before the first sweep.
const SWEEP_MIN: usize = 4096;

impl RowPool for SharedRows {
    fn find(&mut self, encoded: &[u8]) -> Option<Arc<TableRow>> {
        let rows = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let row = rows.rows.get(&mix(0, encoded))?.upgrade()?;
        Some(row).filter(|row| row.encoded() == encoded)
    }

    fn add(&mut self, row: &Arc<TableRow>) {
        let mut rows = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if rows.rows.len() >= rows.sweep_at.max(SWEEP_MIN) {
            rows.rows.retain(|_, row| row.strong_count() > 0);
            rows.sweep_at = rows.rows.len() / 4 * 5;
        }
        rows.rows.insert(mix(0, row.encoded()), Arc::downgrade(row));
    }
}

/// A world's records: the latest of each member. Clones share them.
#[derive(Debug, Clone, Default)]
pub(crate) struct SharedRecords(Arc<Mutex<BTreeMap<MemberId, Arc<MemberRecord>>>>);

impl RecordPool for SharedRecords {
    fn share(&mut self, record: Arc<MemberRecord>) -> Arc<MemberRecord> {
        let mut records = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let latest = records.entry(record.id()).or_insert_with(|| Arc::clone(&record));
        if record.supersedes(latest) {
            *latest = Arc::clone(&record);
        }
        if record == *latest { Arc::clone(latest) } else { record }
    }
}
