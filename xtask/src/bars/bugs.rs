//! The bar `core.bugs`: a test that can't fail is worthless.
//!
//! Each `--cfg spinglass_bug="NAME"` in the sources switches one deliberate protocol bug on. For
//! each, the simulator is built with the bug, and its seeds must find it; if they don't, the tests
//! of the core may, and the line says so.

use std::collections::BTreeSet;
use std::fs;

use anyhow::{Result, bail};

use super::figure::Line;
use crate::shell::{cargo, root, run_quietly};
use crate::switches::{self, Switch};
use crate::threats::THREATS;

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
    let clean = passes(&SEEDS, None)?;
    let mut good = clean && names.len() >= BUGS_MIN;
    let verdict = if clean { "passes" } else { "fails" };
    let context = format!("bugs={}", names.len());
    println!("{}", Line::yes_or_no(format!("{bar}.none"), verdict, "passes", context));
    for name in &names {
        let finder = finder(name)?;
        let measured = if finder.is_some() { "caught" } else { "missed" };
        let context = format!("by={}", finder.unwrap_or("nothing"));
        let line = Line::yes_or_no(format!("{bar}.{name}"), measured, "caught", context);
        println!("{line}");
        good &= line.passes;
    }
    Ok(good)
}

/// What finds the bug first: the test of the threat whose defence it is, else the seeds, else the
/// core's tests.
fn finder(name: &str) -> Result<Option<&'static str>> {
    if let Some(threat) = THREATS.iter().find(|threat| threat.switch == name) {
        return Ok(threat.is_caught()?.then_some(threat.id));
    }
    let switch = Switch::bug(name)?;
    if !passes(&SEEDS, Some(&switch))? {
        return Ok(Some("seeds"));
    }
    Ok((!passes(&TESTS, Some(&switch))?).then_some("tests"))
}

/// Whether tests pass. A bug that does not build is no catch.
fn passes(tests: &[&str], switch: Option<&Switch>) -> Result<bool> {
    let build: Vec<&str> = tests.iter().copied().chain(["--quiet", "--no-run"]).collect();
    let built = run_quietly(&mut switches::with(cargo(&build), switch))?;
    if !built.success {
        bail!("the tests do not build:\n{}", built.stderr.join("\n"));
    }
    let run: Vec<&str> = tests.iter().copied().chain(["--quiet"]).collect();
    Ok(run_quietly(&mut switches::with(cargo(&run), switch))?.success)
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
