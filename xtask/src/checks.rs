//! `cargo xtask test`: every check, in the order in which they are cheap to fail.

use std::path::Path;
use std::process::Command;

use anyhow::Result;

use crate::shell::{Finished, cargo, is_there, run_shown};
use crate::{clients, tidy};

/// Tests and checks counted so far.
#[derive(Debug, Default)]
struct Count {
    passed: u64,
    failed: u64,
    skipped: u64,
}

impl Count {
    fn one(&mut self, name: &str, success: bool) {
        if success {
            self.passed += 1;
        } else {
            self.failed += 1;
            eprintln!("xtask: {name} failed");
        }
    }

    /// Adds what a test runner counted; one that failed without counting is one failure.
    fn add_run(&mut self, name: &str, finished: &Finished) {
        let before = self.failed;
        for line in finished.stdout.iter().chain(&finished.stderr) {
            if let Some(counts) = closing_line(line) {
                self.passed += counts.passed;
                self.failed += counts.failed;
                self.skipped += counts.skipped;
            }
        }
        if !finished.success && self.failed == before {
            self.one(name, false);
        }
    }
}

/// Reads a test runner's closing line: nextest's or the standard harness's.
fn closing_line(line: &str) -> Option<Count> {
    let line = line.trim();
    let is_closing = line.starts_with("test result:")
        || (line.starts_with("Summary [") && line.contains("tests run:"));
    if !is_closing {
        return None;
    }
    let words: Vec<&str> =
        line.split(|c: char| !c.is_alphanumeric()).filter(|w| !w.is_empty()).collect();
    let number_before = |word: &str| {
        let place = words.iter().position(|w| *w == word)?;
        words.get(place.checked_sub(1)?)?.parse::<u64>().ok()
    };
    Some(Count {
        passed: number_before("passed").unwrap_or(0),
        failed: number_before("failed").unwrap_or(0),
        skipped: number_before("skipped").or_else(|| number_before("ignored")).unwrap_or(0),
    })
}

/// Runs every check and prints `N passed, N failed, N skipped`.
///
/// Of the system the tests need `openssl`, whose certificates must hold with ours and the other way
/// round, and clients of PostgreSQL's; they are installed if they are missing and that is possible.
/// The C compiler, which cargo needs before this program exists, is installed by `.ci/run`.
pub(crate) fn test() -> Result<bool> {
    let mut count = Count::default();
    let missing = clients::install()?;
    let name = match missing.as_slice() {
        [] => "programs that tests run".into(),
        missing => format!("programs that tests run: apt-get install {}", missing.join(" ")),
    };
    count.one(&name, missing.is_empty());
    let python = clients::python()?;
    count.one("Python with its clients of PostgreSQL's", python.is_some());
    let steps: [(&str, &[&str]); 3] = [
        ("formatting", &["fmt", "--all", "--check"]),
        ("lints", &["clippy", "--workspace", "--all-targets", "--", "-D", "warnings"]),
        ("documentation", &["doc", "--workspace", "--no-deps"]),
    ];
    for (name, arguments) in steps {
        let mut command = cargo(arguments);
        command.env("RUSTDOCFLAGS", "-D warnings");
        announce(name, &command);
        count.one(name, run_shown(&mut command)?.success);
    }
    tidy_into(&mut count)?;
    run_tests(&mut count, python.as_deref())?;
    println!("{} passed, {} failed, {} skipped", count.passed, count.failed, count.skipped);
    Ok(count.failed == 0)
}

fn run_tests(count: &mut Count, clients: Option<&Path>) -> Result<()> {
    let nextest = is_there("cargo-nextest", "--version");
    let runner: &[&str] = if nextest {
        &["nextest", "run", "--workspace", "--no-fail-fast"]
    } else {
        &["test", "--workspace", "--all-targets", "--no-fail-fast"]
    };
    for (name, arguments) in [("tests", runner), ("documentation tests", DOC_TESTS)] {
        let mut command = cargo(arguments);
        command.envs(clients.map(|clients| ("SPINGLASS_CLIENTS", clients)));
        announce(name, &command);
        count.add_run(name, &run_shown(&mut command)?);
    }
    Ok(())
}

const DOC_TESTS: &[&str] = &["test", "--workspace", "--doc", "--no-fail-fast"];

fn announce(name: &str, command: &Command) {
    let words = command.get_args().map(|word| word.to_string_lossy());
    println!("xtask: {name}: cargo {}", words.collect::<Vec<_>>().join(" "));
}

/// `cargo xtask tidy`.
pub(crate) fn tidy_alone() -> Result<bool> {
    let mut count = Count::default();
    tidy_into(&mut count)?;
    println!("{} passed, {} failed, {} skipped", count.passed, count.failed, count.skipped);
    Ok(count.failed == 0)
}

fn tidy_into(count: &mut Count) -> Result<()> {
    for (name, faults) in tidy::all()? {
        println!("xtask: tidy: {name}");
        for fault in &faults {
            eprintln!("  {fault}");
        }
        count.one(name, faults.is_empty());
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn closing_lines_are_read() {
        let read = |line| closing_line(line).map(|c| (c.passed, c.failed, c.skipped));
        let nextest =
            "     Summary [   1.20s] 12 tests run: 10 passed (1 slow), 2 failed, 3 skipped";
        assert_eq!(read(nextest), Some((10, 2, 3)));
        let harness = "test result: ok. 7 passed; 0 failed; 1 ignored; 0 measured; 0 filtered out";
        assert_eq!(read(harness), Some((7, 0, 1)));
        assert_eq!(read("3 passed"), None);
    }
}
