//! The bar `core.bugs`: a test that can't fail is worthless.
//!
//! Each `--cfg spinglass_bug="NAME"` in the sources switches one deliberate protocol bug on. For
//! each, the simulator is built with the bug, and its seeds must find it; if they don't, the tests
//! of the core may, and the line says so.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result, bail};

use super::figure::Line;
use crate::shell::{cargo, root, run_quietly};

/// How the code names a bug.
const SWITCH: &str = "spinglass_bug = \"";
/// The fewest bugs that the issue asks for.
const BUGS_MIN: usize = 10;
/// The tests that run the simulator's seeds; without a bug, all of them pass.
const SEEDS: [&str; 7] =
    ["test", "--package", "spinglass-sim", "--test", "swarm", "--test", "table_swarm"];
/// The core's own tests.
const TESTS: [&str; 3] = ["test", "--package", "spinglass-core"];

/// Builds and tries every bug.
pub(crate) fn run(bar: &str) -> Result<bool> {
    let names = names()?;
    let wrappers = root().join("target/bugs");
    fs::create_dir_all(&wrappers)?;
    let clean = passes(&SEEDS, None)?;
    let mut good = clean && names.len() >= BUGS_MIN;
    let verdict = if clean { "passes" } else { "fails" };
    let context = format!("bugs={}", names.len());
    println!("{}", Line::yes_or_no(format!("{bar}.none"), verdict, "passes", context));
    for name in &names {
        let finder = finder(&wrappers, name)?;
        let measured = if finder.is_some() { "caught" } else { "missed" };
        let context = format!("by={}", finder.unwrap_or("nothing"));
        let line = Line::yes_or_no(format!("{bar}.{name}"), measured, "caught", context);
        println!("{line}");
        good &= line.passes;
    }
    Ok(good)
}

/// What finds the bug first.
fn finder(wrappers: &Path, name: &str) -> Result<Option<&'static str>> {
    let wrapper = wrapper(wrappers, name, &format!("spinglass_bug=\"{name}\""))?;
    if !passes(&SEEDS, Some(&wrapper))? {
        return Ok(Some("seeds"));
    }
    Ok((!passes(&TESTS, Some(&wrapper))?).then_some("tests"))
}

/// Whether tests pass. A bug that does not build is no catch.
fn passes(tests: &[&str], wrapper: Option<&PathBuf>) -> Result<bool> {
    let build: Vec<&str> = tests.iter().copied().chain(["--quiet", "--no-run"]).collect();
    let built = run_quietly(&mut switched(cargo(&build), wrapper))?;
    if !built.success {
        bail!("the tests do not build:\n{}", built.stderr.join("\n"));
    }
    let run: Vec<&str> = tests.iter().copied().chain(["--quiet"]).collect();
    Ok(run_quietly(&mut switched(cargo(&run), wrapper))?.success)
}

/// A compiler's wrapper that switches `cfg` on. Cargo applies it to the workspace's own crates
/// alone, so the dependencies are built once; `RUSTFLAGS` would build them again for each.
pub(super) fn wrapper(folder: &Path, name: &str, cfg: &str) -> Result<PathBuf> {
    let path = folder.join(format!("rustc-{name}"));
    let script = format!("#!/bin/sh\nexec \"$@\" --cfg '{cfg}'\n");
    fs::write(&path, script).with_context(|| format!("cannot write {}", path.display()))?;
    fs::set_permissions(&path, fs::Permissions::from_mode(0o755))?;
    Ok(path)
}

/// The same command by such a wrapper.
pub(super) fn switched(mut command: Command, wrapper: Option<&PathBuf>) -> Command {
    if let Some(wrapper) = wrapper {
        command.env("RUSTC_WORKSPACE_WRAPPER", wrapper);
    }
    command
}

/// Every bug that the sources name: the protocols' in the core, a forgetful host's in the
/// simulator.
fn names() -> Result<BTreeSet<String>> {
    let mut names = BTreeSet::new();
    let mut folders: Vec<_> =
        ["core", "sim"].map(|room| root().join(format!("crates/spinglass-{room}/src"))).into();
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder)? {
            let path = entry?.path();
            if path.is_dir() {
                folders.push(path);
            } else {
                names.extend(names_in(&fs::read_to_string(path)?));
            }
        }
    }
    Ok(names)
}

fn names_in(text: &str) -> impl Iterator<Item = String> {
    let after = text.split(SWITCH).skip(1);
    after.filter_map(|rest| rest.split_once('"')).map(|(name, _)| name.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bugs_are_found_in_the_sources() {
        let text = "#[cfg(spinglass_bug = \"a_b\")]\nif cfg!(spinglass_bug = \"c\") {";
        assert_eq!(names_in(text).collect::<Vec<_>>(), ["a_b", "c"]);
        assert!(names().unwrap().len() >= BUGS_MIN);
    }
}
