//! Whether files have changed, so that keys and certificates can be read again while they are used.

use std::path::Path;
use std::time::{Duration, SystemTime};

/// When some files were written last, and how long they are. Whoever looks again and finds other
/// marks reads the files.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Marks(Vec<Option<(SystemTime, u64)>>);

impl Marks {
    /// How often to look: a certificate is renewed hours before it ends, and a list of revocations
    /// should not wait for long.
    pub const LOOK_EVERY: Duration = Duration::from_secs(2);

    /// Of these files, in this order; of one that is not there, too.
    pub fn of<'a>(files: impl IntoIterator<Item = &'a Path>) -> Self {
        let mark = |path: &Path| {
            let told = path.metadata().ok()?;
            Some((told.modified().ok()?, told.len()))
        };
        Self(files.into_iter().map(mark).collect())
    }
}
