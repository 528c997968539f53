//! Objects: files that a row names, put and fetched.

use std::fs;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context as _, Result, bail, ensure};
use serde::Serialize;
use spinglass::{OBJECT_BYTES_MAX, ObjectName, ObjectState, Table};

use super::At;
use super::control::unexpected;
use super::protocol::{Answer, Hex, Request};
use crate::output::Format;

/// How often a fetch is looked at: a local call.
const LOOK_EVERY: Duration = Duration::from_millis(100);

/// What `table set --file` and `table get --to` print.
#[derive(Debug, Serialize)]
struct Moved {
    object: String,
    bytes: usize,
    file: String,
}

impl Hex {
    pub(super) fn of(bytes: &[u8]) -> Self {
        let digit = |value: u8| char::from_digit(value.into(), 16).unwrap_or('0');
        Self(bytes.iter().flat_map(|byte| [digit(byte >> 4), digit(byte & 15)]).collect())
    }

    pub(super) fn bytes(&self) -> Result<Vec<u8>> {
        let (pairs, rest) = self.0.as_bytes().as_chunks::<2>();
        ensure!(rest.is_empty(), "bytes in hex have two digits each");
        let digit = |digit: u8| char::from(digit).to_digit(16).context("this is no hex digit");
        let byte = |[high, low]: &[u8; 2]| Ok((digit(*high)? << 4 | digit(*low)?) as u8);
        pairs.iter().map(byte).collect()
    }
}

/// The object of this name.
pub(super) fn named(text: &str) -> Result<ObjectName> {
    ObjectName::parse(text)
        .with_context(|| format!("{text:?} names no object: it would begin with \"object:\""))
}

/// How far an object is.
pub(super) async fn tell(table: &Table, object: &ObjectName) -> Result<Answer> {
    Ok(match table.object_state(object).await? {
        ObjectState::Held(bytes) => Answer::Object(Hex::of(&bytes)),
        ObjectState::Fetching { come, of } => Answer::Fetching { come, of },
        ObjectState::Failed(failure) => bail!("{object}: {failure}"),
        ObjectState::Absent => bail!("{object} is not here any more: fetch it again"),
    })
}

/// Puts a file under an attribute.
pub(super) async fn put(at: &At, name: &str, file: &Path, format: Format) -> Result<()> {
    let unreadable = || format!("cannot read {}", file.display());
    let size = fs::metadata(file).with_context(unreadable)?.len();
    ensure!(
        size <= OBJECT_BYTES_MAX as u64,
        "{} has {size} bytes, the limit is {OBJECT_BYTES_MAX}: split it",
        file.display()
    );
    let bytes = fs::read(file).with_context(unreadable)?;
    let request = Request::PutObject { name: name.into(), bytes: Hex::of(&bytes) };
    let Answer::Put(object) = at.ask(&request).await? else { return Err(unexpected()) };
    let moved = Moved { object, bytes: bytes.len(), file: file.display().to_string() };
    format.print(&moved, |moved| format!("{}\n", moved.object))
}

/// Fetches an object into a file, and shows how far it is.
pub(super) async fn fetch(at: &At, object: &str, to: &Path, format: Format) -> Result<()> {
    let object = named(object)?.to_string();
    let bar = format.bar(0);
    let mut request = Request::FetchObject { object: object.clone() };
    let bytes = loop {
        match at.ask(&request).await? {
            Answer::Object(bytes) => break bytes.bytes()?,
            Answer::Fetching { come, of } => {
                bar.set_length(of.into());
                bar.set_position(come.into());
            }
            _ => return Err(unexpected()),
        }
        tokio::time::sleep(LOOK_EVERY).await;
        request = Request::ObjectState { object: object.clone() };
    };
    bar.finish_and_clear();
    fs::write(to, &bytes).with_context(|| format!("cannot write {}", to.display()))?;
    let moved = Moved { object, bytes: bytes.len(), file: to.display().to_string() };
    format.print(&moved, |moved| format!("{} bytes in {}\n", moved.bytes, moved.file))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_cross_the_socket_whole() {
        let bytes: Vec<u8> = (0..=255).collect();
        assert_eq!(Hex::of(&bytes).bytes().unwrap(), bytes);
        assert!(Hex("0".into()).bytes().is_err() && Hex("zz".into()).bytes().is_err());
    }
}
