//! An authority's folder, and the files that are written.

use std::fs::{self, OpenOptions};
use std::io::{ErrorKind, Write as _};
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, bail, ensure};
use spinglass_crypto::SigningKey;
use spinglass_crypto::certificates::{Authority, Revocations, load_chain, load_revocations};

/// A folder with `ca.crt`, `ca.key` and, once something is revoked, `revoked.crl`.
#[derive(Debug)]
pub(super) struct Folder(PathBuf);

impl Folder {
    pub(super) fn new(path: &Path) -> Self {
        Self(path.to_owned())
    }

    pub(super) fn certificate(&self) -> PathBuf {
        self.0.join("ca.crt")
    }

    pub(super) fn key(&self) -> PathBuf {
        self.0.join("ca.key")
    }

    pub(super) fn revoked(&self) -> PathBuf {
        self.0.join("revoked.crl")
    }

    /// The authority in it.
    pub(super) fn load(&self) -> Result<Authority> {
        let advice = || {
            format!(
                "{} holds no authority: make one with `spinglass ca init` or `spinglass ca \
                 certify-zone`, or put another one's certificate and key there as ca.crt and \
                 ca.key",
                self.0.display()
            )
        };
        let chain = load_chain(&self.certificate()).with_context(advice)?;
        let key = SigningKey::load(&self.key()).with_context(advice)?;
        Authority::new(chain, key).with_context(advice)
    }

    /// The list of revocations in it, if there is one.
    pub(super) fn load_revocations(&self) -> Result<Option<Revocations>> {
        let path = self.revoked();
        if path.exists() { Ok(Some(load_revocations(&path)?)) } else { Ok(None) }
    }

    /// Makes it, for its owner alone.
    pub(super) fn create(&self) -> Result<()> {
        use std::os::unix::fs::DirBuilderExt as _;
        let made = fs::DirBuilder::new().recursive(true).mode(0o700).create(&self.0);
        made.with_context(|| format!("cannot make the folder {}", self.0.display()))
    }
}

/// Refuses to go on if one of these is there and must not be overwritten: before anything is
/// written, so that no half of a pair is left.
pub(crate) fn check_new(paths: &[&Path], force: bool) -> Result<()> {
    for path in paths {
        ensure!(
            force || !path.exists(),
            "{} exists: choose another name, or overwrite it with --force",
            path.display()
        );
    }
    Ok(())
}

/// Writes a file that everybody may read.
pub(crate) fn write(path: &Path, text: &str, force: bool) -> Result<()> {
    let mut options = OpenOptions::new();
    options.write(true);
    if force {
        options.create(true).truncate(true);
    } else {
        options.create_new(true);
    }
    let written = options.open(path).and_then(|mut file| {
        file.write_all(text.as_bytes())?;
        file.sync_all()
    });
    match written {
        Err(error) if error.kind() == ErrorKind::AlreadyExists => {
            bail!("{} exists: choose another name, or overwrite it with --force", path.display())
        }
        other => other.with_context(|| format!("cannot write {}", path.display())),
    }
}

/// Replaces a file by way of another one beside it: a crash leaves the old one or the new one.
pub(super) fn replace(path: &Path, text: &str) -> Result<()> {
    let new = path.with_extension("new");
    write(&new, text, true)?;
    fs::rename(&new, path).with_context(|| format!("cannot replace {}", path.display()))
}
