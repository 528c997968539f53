//! Builds of the project's own crates with a `cfg` that no release has: deliberate bugs, defences
//! switched off, signatures left out.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context as _, Result};

use crate::shell::root;

/// A compiler's wrapper that switches something on. Cargo applies it to the workspace's own crates
/// alone, so the dependencies are built once; `RUSTFLAGS` would build them again for each.
#[derive(Debug)]
pub(crate) struct Switch(PathBuf);

impl Switch {
    /// The deliberate bug of this name.
    pub(crate) fn bug(name: &str) -> Result<Self> {
        Self::of(name, &format!("spinglass_bug=\"{name}\""))
    }

    /// This `cfg`, under a name for its file.
    pub(crate) fn of(name: &str, cfg: &str) -> Result<Self> {
        let folder = root().join("target/switches");
        fs::create_dir_all(&folder)?;
        let path = folder.join(format!("rustc-{name}"));
        let script = format!("#!/bin/sh\nexec \"$@\" --cfg '{cfg}'\n");
        fs::write(&path, script).with_context(|| format!("cannot write {}", path.display()))?;
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755))?;
        Ok(Self(path))
    }
}

/// The same command, with that switched on.
pub(crate) fn with(mut command: Command, switch: Option<&Switch>) -> Command {
    if let Some(Switch(wrapper)) = switch {
        command.env("RUSTC_WORKSPACE_WRAPPER", wrapper);
    }
    command
}
