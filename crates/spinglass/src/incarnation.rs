//! Which life of a member this is: a number that must rise with every start.
//!
//! `max(persisted, wall-clock seconds) + 1`, so that neither a clock set back nor a lost disk alone
//! makes a life look like an earlier one.

use std::fs;
use std::io;
use std::path::Path;

use spinglass_core::Incarnation;

use crate::clock;
use crate::files;

/// What the file's line starts with.
const TAG: &str = "spinglass-state v1 incarnation=";

/// Chooses the next life, and makes sure that it is remembered before it is used.
///
/// # Errors
/// The file can't be read, is not one of ours, or can't be written.
pub(crate) fn next(state: Option<&Path>) -> io::Result<Incarnation> {
    let last = state.map(load).transpose()?.unwrap_or(0);
    let last = if cfg!(spinglass_bug = "life_by_clock") { 0 } else { last };
    let next = last.max(clock::wall().as_secs()).saturating_add(1);
    if let Some(path) = state {
        store(path, next)?;
    }
    Ok(Incarnation(next))
}

fn load(path: &Path) -> io::Result<u64> {
    let text = match fs::read_to_string(path) {
        Ok(text) => text,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(0),
        Err(error) => return Err(error),
    };
    let number = text.trim_end().strip_prefix(TAG).and_then(|number| number.parse().ok());
    number.ok_or_else(|| io::Error::new(io::ErrorKind::InvalidData, "not a state file"))
}

fn store(path: &Path, incarnation: u64) -> io::Result<()> {
    files::replace(path, &format!("{TAG}{incarnation}\n"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lives_rise_also_when_the_clock_does_not() {
        let path = std::env::temp_dir().join(format!("spinglass-state-{}", std::process::id()));
        let first = next(Some(&path)).unwrap();
        let second = next(Some(&path)).unwrap();
        assert!(second > first);
        let future = first.0 + 1_000_000;
        store(&path, future).unwrap();
        assert_eq!(next(Some(&path)).unwrap().0, future + 1);
        fs::write(&path, "something else").unwrap();
        assert_eq!(next(Some(&path)).unwrap_err().kind(), io::ErrorKind::InvalidData);
        fs::remove_file(&path).unwrap();
    }
}
