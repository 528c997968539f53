//! What a relay knows members by: keys that follow from the group's, and from which the group's do
//! not follow. So a relay that is broken into gives away who may use relays, and nothing that is
//! said through it.

use std::collections::BTreeMap;
use std::fmt;
use std::path::Path;

use spinglass_core::crypto::Epoch;
use zeroize::Zeroizing;

use crate::keys::{EpochKeys, KeyError, epoch_keys_text, parse_epoch_keys};
use crate::keys::{read_private, write_private};

/// What a relay key file's lines start with.
const RELAY_TAG: &str = "spinglass-relay-key v1";
/// What the derived keys are for, and for nothing else.
const CONTEXT: &str = "spinglass 2026-11 relay key";

/// The relay keys of a group, by epoch.
#[derive(Clone)]
pub struct RelayKeys {
    keys: EpochKeys,
}

impl RelayKeys {
    pub(crate) fn of<'a>(group: impl Iterator<Item = (Epoch, &'a [u8; 32])>) -> Self {
        let derive = |key: &[u8; 32]| Zeroizing::new(blake3::derive_key(CONTEXT, key));
        Self { keys: group.map(|(epoch, key)| (epoch, derive(key))).collect::<BTreeMap<_, _>>() }
    }

    /// The proof that somebody knows an epoch's key, about this message. `None`: there is no such
    /// key.
    #[must_use]
    pub fn mac(&self, epoch: Epoch, message: &[u8]) -> Option<[u8; 32]> {
        let key = self.keys.get(&epoch)?;
        Some(*blake3::keyed_hash(key, message).as_bytes())
    }

    /// Whether that is the proof. It takes the same time whatever is wrong with it.
    #[must_use]
    pub fn proves(&self, epoch: Epoch, message: &[u8], mac: &[u8; 32]) -> bool {
        let key = self.keys.get(&epoch);
        key.is_some_and(|key| blake3::keyed_hash(key, message) == *mac)
    }

    /// Reads a relay key file: a line `spinglass-relay-key v1 epoch=N HEX` for each epoch; empty
    /// lines and lines that start with `#` are passed over.
    ///
    /// # Errors
    /// It can't be read, others can read it, or a line is wrong.
    pub fn load(path: &Path) -> Result<Self, KeyError> {
        let text = read_private(path)?;
        let keys = parse_epoch_keys(&text, path, (RELAY_TAG, "not a relay key"))?;
        Ok(Self { keys })
    }

    /// Writes a relay key file that only its owner can read.
    ///
    /// # Errors
    /// It can't be written, or exists and `overwrite` is false.
    pub fn store(&self, path: &Path, overwrite: bool) -> Result<(), KeyError> {
        write_private(path, &epoch_keys_text(&self.keys, RELAY_TAG), overwrite)
    }
}

impl fmt::Debug for RelayKeys {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_set().entries(self.keys.keys()).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::GroupKeys;

    #[test]
    fn they_prove_the_group_and_are_not_its_keys() {
        let group = GroupKeys::from_key([1; 32]);
        let (keys, others) = (group.relay_keys(), GroupKeys::from_key([2; 32]).relay_keys());
        let mac = keys.mac(Epoch(0), b"message").expect("there is a key");
        assert!(keys.proves(Epoch(0), b"message", &mac));
        assert!(!keys.proves(Epoch(0), b"messagf", &mac));
        assert!(!keys.proves(Epoch(1), b"message", &mac));
        assert!(!others.proves(Epoch(0), b"message", &mac));
        assert_ne!(blake3::keyed_hash(&[1; 32], b"message"), mac, "the group's own key");
        let path = std::env::temp_dir().join(format!("spinglass-relay-key-{}", std::process::id()));
        keys.store(&path, true).expect("a file");
        let loaded = RelayKeys::load(&path).expect("its own file");
        assert_eq!(loaded.mac(Epoch(0), b"message"), Some(mac));
        assert!(GroupKeys::load(&path).is_err(), "no group key");
        group.store(&path, true).expect("a file");
        let error = RelayKeys::load(&path).expect_err("a group key").to_string();
        assert!(error.contains("not a relay key"), "{error}");
        std::fs::remove_file(&path).expect("it was there");
    }
}
