//! Whom a member knew, on disk: so that a system of which everything was down forms again with
//! nobody's help (RELIABILITY MB-6, R-16).
//!
//! Beside the state file stands another, its name with `.peers`: a line with a checksum, then an
//! address a line. It is written aside and renamed, by a thread of its own, soon after the
//! start and then every minute if it would say something else, and once more at the end. At the
//! next start its addresses are seeds. A damaged one is told in a warning and is as good as none.

use std::fs;
use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use spinglass_core::crypto::{Domain, Hash};
use spinglass_core::table::ACQUAINTANCES_MAX;
use spinglass_core::{Instant, Node as CoreNode};
use tokio::task::JoinHandle;

use crate::files;

/// What the file's first line starts with; the checksum's 32 digits follow.
const TAG: &str = "spinglass-peers v1 blake3=";
/// Until the file is first written: an agent that crashes young should find back, too.
const FIRST_AFTER: Duration = Duration::from_secs(5);
/// Between two looks at whether it must be written, in the end; the first ones double up to this.
const LOOK_EVERY: Duration = Duration::from_secs(60);
/// Bytes of the largest file: the first line and as many addresses of IPv6 as are ever written.
const FILE_BYTES_MAX: u64 = 128 + 64 * ACQUAINTANCES_MAX as u64;

/// The file, and when it is due.
#[derive(Debug)]
pub(crate) struct Memory {
    path: PathBuf,
    /// What it says.
    written: Vec<SocketAddr>,
    due: Instant,
    pause: Duration,
    writing: Option<JoinHandle<()>>,
}

impl Memory {
    /// The memory beside a state file, and whom it remembers.
    pub(crate) fn open(state: &Path, now: Instant) -> (Self, Vec<SocketAddr>) {
        let path = files::beside(state, ".peers");
        let written = load(&path);
        let (due, pause) = (now + FIRST_AFTER, FIRST_AFTER);
        let memory = Self { path, written: written.clone(), due, pause, writing: None };
        (memory, written)
    }

    /// When it next wants to be looked at.
    pub(crate) const fn due(&self) -> Instant {
        self.due
    }

    /// Writes the file if it is due and would say something else.
    pub(crate) fn on_turn(&mut self, node: &CoreNode, now: Instant) {
        if now < self.due {
            return;
        }
        self.due = now + self.pause;
        self.pause = LOOK_EVERY.min(self.pause * 2);
        if self.writing.as_ref().is_none_or(JoinHandle::is_finished) {
            self.write(node.acquaintances());
        }
    }

    /// Writes the file a last time; returns when it is on disk.
    pub(crate) async fn finish(mut self, known: Vec<SocketAddr>) {
        if let Some(writing) = self.writing.take() {
            // Whatever became of it: it is written again.
            let _ = writing.await;
        }
        self.write(known);
        if let Some(writing) = self.writing.take() {
            let _ = writing.await;
        }
    }

    /// An agent that knows nobody keeps what it remembers: that is when it is needed.
    fn write(&mut self, known: Vec<SocketAddr>) {
        if known.is_empty() || known == self.written {
            return;
        }
        self.written.clone_from(&known);
        let path = self.path.clone();
        self.writing = Some(tokio::task::spawn_blocking(move || {
            if let Err(error) = files::replace(&path, &encode(&known)) {
                tracing::warn!(path = %path.display(), %error, "cannot remember whom one knows");
            }
        }));
    }
}

fn encode(addresses: &[SocketAddr]) -> String {
    let lines: String = addresses.iter().map(|address| format!("{address}\n")).collect();
    format!("{TAG}{}\n{lines}", checksum(&lines))
}

fn checksum(lines: &str) -> String {
    let Hash(bytes) = spinglass_crypto::hash(Domain::Line, lines.as_bytes());
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// What the file says; nothing, and a warning, if it is damaged.
fn load(path: &Path) -> Vec<SocketAddr> {
    match read(path) {
        Ok(addresses) => addresses,
        Err(error) if error.kind() == io::ErrorKind::NotFound => Vec::new(),
        Err(error) => {
            let path = path.display();
            tracing::warn!(%path, %error, "whom this member knew can't be read; going on without");
            Vec::new()
        }
    }
}

fn read(path: &Path) -> io::Result<Vec<SocketAddr>> {
    if fs::metadata(path)?.len() > FILE_BYTES_MAX {
        return Err(damaged());
    }
    decode(&fs::read_to_string(path)?).ok_or_else(damaged)
}

fn damaged() -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, "it is damaged, or no file of addresses")
}

fn decode(text: &str) -> Option<Vec<SocketAddr>> {
    let (first, lines) = text.split_once('\n')?;
    let is_whole = first.strip_prefix(TAG)? == checksum(lines);
    if !is_whole && !cfg!(spinglass_bug = "memory_unchecked") {
        return None;
    }
    let addresses: Result<Vec<SocketAddr>, _> = lines.lines().map(str::parse).collect();
    addresses.ok().filter(|addresses| addresses.len() <= ACQUAINTANCES_MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn addresses() -> Vec<SocketAddr> {
        vec!["10.0.0.1:7710".parse().unwrap(), "[fd00::1]:9".parse().unwrap()]
    }

    #[test]
    fn what_was_written_is_read_and_any_damage_is_seen() {
        let text = encode(&addresses());
        assert_eq!(decode(&text), Some(addresses()));
        assert_eq!(decode(&encode(&[])), Some(Vec::new()));
        for at in 0..text.len() {
            assert_eq!(decode(&text[..at]), None, "cut off at {at}");
            let mut bytes = text.clone().into_bytes();
            bytes[at] ^= 1;
            let bent = String::from_utf8(bytes).unwrap();
            assert_eq!(decode(&bent), None, "bent at {at}");
        }
        assert_eq!(decode(&(text + "x")), None);
    }

    #[test]
    fn the_largest_memory_fits_its_bound() {
        let longest = "[ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff]:65535".parse().unwrap();
        let text = encode(&vec![longest; ACQUAINTANCES_MAX]);
        assert!(text.len() as u64 <= FILE_BYTES_MAX);
        assert!(decode(&text).is_some());
    }
}
