//! `cargo xtask bars`: runs the real thing and holds its figures against their targets.
//!
//! Each bar runs `target/release/spinglass ... --json`, or a benchmark, and reads figures out of the
//! report; which ones, and what they must reach, stands in [`table`] and [`astrolabe`]. Nothing
//! here knows a protocol.

mod astrolabe;
mod bugs;
mod figure;
mod table;

use std::process::Command;

use anyhow::{Context as _, Result, bail};
use serde_json::Value;

use crate::shell::{cargo, root, run_quietly, run_shown};
use figure::{Figure, Line};

/// A promise of the project, measured.
#[derive(Debug)]
pub(crate) struct Bar {
    /// Its name, such as `core.perturb`.
    pub(crate) name: &'static str,
    /// What it shows, in one line.
    pub(crate) about: &'static str,
    /// The runs behind it.
    pub(crate) runs: &'static [Run],
}

/// One run of the program.
#[derive(Debug)]
pub(crate) struct Run {
    /// What tells this run from the bar's others; empty if there is only one.
    pub(crate) label: &'static str,
    /// The command, after `spinglass`, without `--json`; or one of cargo's, from `cargo` on, that
    /// prints its report as JSON.
    pub(crate) full: &'static str,
    /// The same in a few seconds, for every change; `None` if it can't be short.
    pub(crate) quick: Option<&'static str>,
    /// What is read from its report.
    pub(crate) figures: &'static [Figure],
    /// Pointers to sample sizes and seeds, printed behind every figure.
    pub(crate) context: &'static [&'static str],
}

/// The bars that are runs of a program.
fn all() -> impl Iterator<Item = &'static Bar> {
    table::BARS.iter().chain(astrolabe::BARS)
}

/// The bar that is no run of the release binary: it builds one binary per deliberate bug.
const BUGS: &str = "core.bugs";
const BUGS_ABOUT: &str = "each deliberate protocol bug is caught by the simulator's seeds";

/// Runs the bars that the words name, or lists them. `Ok(false)` if any falls short.
pub(crate) fn bars(words: &[&str]) -> Result<bool> {
    let (options, names): (Vec<&str>, Vec<&str>) = words.iter().partition(|w| w.starts_with('-'));
    if let Some(unknown) = options.iter().find(|word| !["--list", "--quick"].contains(word)) {
        bail!("no option {unknown}: there are --list and --quick");
    }
    if options.contains(&"--list") {
        list();
        return Ok(true);
    }
    if let Some(unknown) = names.iter().find(|name| !is_a_bar(name)) {
        bail!("no bar {unknown}: see cargo xtask bars --list");
    }
    let quick = options.contains(&"--quick");
    let chosen = |name: &str| names.is_empty() || names.iter().any(|wish| is_named(name, wish));
    build_release()?;
    let mut good = true;
    for bar in all().filter(|bar| chosen(bar.name)) {
        for run in bar.runs {
            good &= perform(bar, run, quick)?;
        }
    }
    if chosen(BUGS) && !quick {
        good &= bugs::run(BUGS)?;
    }
    Ok(good)
}

fn list() {
    for bar in all() {
        let quick = if bar.runs.iter().any(|run| run.quick.is_some()) { "quick" } else { "" };
        println!("{:<18} {quick:<6} {}", bar.name, bar.about);
    }
    println!("{BUGS:<18} {:<6} {BUGS_ABOUT}", "");
}

/// Whether `wish` is the name or the family (`core`) of the bar `name`.
fn is_named(name: &str, wish: &str) -> bool {
    name == wish || name.strip_prefix(wish).is_some_and(|rest| rest.starts_with('.'))
}

fn is_a_bar(wish: &str) -> bool {
    all().any(|bar| is_named(bar.name, wish)) || is_named(BUGS, wish)
}

fn build_release() -> Result<()> {
    let built = run_shown(&mut cargo(&["build", "--release", "--quiet", "--bin", "spinglass"]))?;
    if !built.success {
        bail!("the release binary does not build");
    }
    Ok(())
}

/// Runs one run of a bar and prints its figures.
fn perform(bar: &Bar, run: &Run, quick: bool) -> Result<bool> {
    let arguments = match (quick, run.quick) {
        (true, None) => return Ok(true),
        (true, Some(quick)) => quick,
        (false, _) => run.full,
    };
    let name = if run.label.is_empty() {
        bar.name.to_owned()
    } else {
        format!("{}.{}", bar.name, run.label)
    };
    let mut command = match arguments.strip_prefix("cargo ") {
        Some(words) => cargo(&words.split_whitespace().collect::<Vec<_>>()),
        None => Command::new(root().join("target/release/spinglass")),
    };
    if arguments.starts_with("cargo ") {
        eprintln!("xtask: {name}: {arguments}");
    } else {
        eprintln!("xtask: {name}: spinglass {arguments} --json");
        command.args(arguments.split_whitespace()).arg("--json").current_dir(root());
    }
    let finished = run_quietly(&mut command)?;
    let report = finished.stdout.iter().rev().find(|line| line.starts_with(['{', '[']));
    let Some(report) = report else {
        for line in finished.stderr.iter().rev().take(3).rev() {
            eprintln!("  {line}");
        }
        println!("{}", Line::missing(&name, "no report"));
        return Ok(false);
    };
    let report: Value = serde_json::from_str(report).context("the report is not JSON")?;
    Ok(print_figures(&name, run, &report))
}

fn print_figures(name: &str, run: &Run, report: &Value) -> bool {
    let context = figure::context(report, run.context);
    let mut good = true;
    for figure in run.figures {
        let line = figure.measure(name, report, &context);
        println!("{line}");
        good &= line.passes;
    }
    good
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bars_are_found_by_name_and_by_family() {
        assert!(is_a_bar("core") && is_a_bar("core.perturb") && is_a_bar(BUGS));
        assert!(!is_a_bar("core.per") && !is_a_bar("nothing"));
    }

    #[test]
    fn every_bar_is_explained() {
        let text = std::fs::read_to_string(root().join("docs/benchmarks.md")).unwrap();
        for name in all().map(|bar| bar.name).chain([BUGS]) {
            assert!(text.contains(&format!("`{name}`")), "docs/benchmarks.md lacks {name}");
        }
    }
}
