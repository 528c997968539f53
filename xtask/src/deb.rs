//! `cargo xtask deb`: a package for Debian, with the manual's pages and completions in it.

use std::fs;
use std::process::Command;

use anyhow::{Context as _, Result, bail, ensure};

use crate::shell::{is_there, root, run_shown};

/// Shells, and what each calls the file that completes a command.
const COMPLETIONS: [(&str, &str); 3] =
    [("bash", "spinglass"), ("zsh", "_spinglass"), ("fish", "spinglass.fish")];

/// Builds the program, lets it write what is beside it, and packs all of it.
///
/// # Errors
/// There is no `cargo deb`, a file can't be written, or a command does not run.
pub(crate) fn deb() -> Result<bool> {
    if !is_there("cargo-deb", "--version") {
        bail!("there is no cargo-deb: cargo install cargo-deb");
    }
    let (root, folder) = (root(), root().join("target/deb"));
    let build = ["build", "--release", "--locked", "-p", "spinglass-cli"];
    if !run_shown(Command::new("cargo").args(build).current_dir(&root))?.success {
        return Ok(false);
    }
    let program = root.join("target/release/spinglass");
    // Of an earlier build there may be pages for commands that are gone.
    fs::remove_dir_all(&folder).ok();
    fs::create_dir_all(folder.join("completions"))?;
    let man = Command::new(&program).arg("man").arg(folder.join("man")).output()?;
    ensure!(man.status.success(), "the manual's pages can't be written");
    for (shell, file) in COMPLETIONS {
        let script = Command::new(&program).args(["completions", shell]).output()?;
        ensure!(script.status.success(), "there are no completions for {shell}");
        fs::write(folder.join("completions").join(file), script.stdout)
            .with_context(|| format!("{file} can't be written"))?;
    }
    let pack = ["deb", "--no-build", "--strip", "-p", "spinglass-cli"];
    Ok(run_shown(Command::new("cargo").args(pack).current_dir(&root))?.success)
}
