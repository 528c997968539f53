//! `cargo xtask bars`: runs the real thing and holds its figures against their targets.
//!
//! Each bar runs `spinglass ... --json`, or a benchmark or test by cargo, and reads
//! figures out of the report; which ones, and what they must reach, stands in [`table`],
//! [`astrolabe`] and [`security`]. Nothing here knows a protocol.

mod astrolabe;
mod bugs;
mod cost;
mod doors;
mod figure;
mod lab;
mod ratings;
mod security;
mod table;

use std::fmt;
use std::process::Command;

use anyhow::{Context as _, Result, bail};
use serde_json::Value;

use crate::shell::{cargo, root, run_quietly, run_shown};
use crate::threats::THREATS;
use figure::{Figure, Line};

/// The bars that are runs of a program.
fn all() -> impl Iterator<Item = &'static Bar> {
    table::BARS
        .iter()
        .chain(astrolabe::BARS)
        .chain(security::BARS)
        .chain(doors::BARS)
        .chain(lab::BARS)
        .chain(ratings::BARS)
}

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

/// One run of a program whose last line of JSON is its report.
#[derive(Debug)]
pub(crate) struct Run {
    /// What tells this run from the bar's others; empty if there is only one.
    pub(crate) label: &'static str,
    /// What is run.
    pub(crate) full: Program,
    /// The same in a few seconds, for every change; `None` if it can't be short.
    pub(crate) quick: Option<Program>,
    /// What is read from its report.
    pub(crate) figures: &'static [Figure],
    /// Pointers to sample sizes and seeds, printed behind every figure.
    pub(crate) context: &'static [&'static str],
}

/// Which program runs.
#[derive(Debug, Clone, Copy)]
enum Build {
    /// As people run it.
    Release,
    /// As tests run it, which have built it already: for bars that ask nothing of its speed.
    Tests,
}

impl Build {
    const fn program(self) -> &'static str {
        match self {
            Self::Release => "release/spinglass",
            Self::Tests => "debug/spinglass",
        }
    }

    fn make(self) -> Result<()> {
        let words: &[&str] = match self {
            Self::Release => &["build", "--release", "--quiet", "--bin", "spinglass"],
            Self::Tests => &["build", "--quiet", "--bin", "spinglass"],
        };
        if !run_shown(&mut cargo(words))?.success {
            bail!("the program does not build");
        }
        Ok(())
    }
}

/// What a run runs.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Program {
    /// The command, with these words and `--json`.
    Spinglass(&'static str),
    /// A benchmark, which knows `--json`.
    Bench {
        /// The package that it belongs to.
        package: &'static str,
        /// Its name.
        name: &'static str,
        /// What it is told besides.
        words: &'static str,
    },
    /// A test, which reads from the environment how much to try.
    Test {
        /// The package that it belongs to.
        package: &'static str,
        /// Its name.
        name: &'static str,
        /// A variable and its value.
        setting: (&'static str, &'static str),
    },
}

impl Program {
    fn command(self, build: Build) -> Command {
        match self {
            Self::Spinglass(words) => {
                let mut command = Command::new(root().join("target").join(build.program()));
                command.args(words.split_whitespace()).arg("--json").current_dir(root());
                command
            }
            Self::Bench { package, name, words } => {
                let bench =
                    ["bench", "--quiet", "--package", package, "--bench", name, "--", "--json"];
                let mut command = cargo(&bench);
                command.args(words.split_whitespace());
                command
            }
            Self::Test { package, name, setting: (variable, value) } => {
                let words =
                    ["test", "--quiet", "--package", package, "--test", name, "--", "--nocapture"];
                let mut command = cargo(&words);
                command.env(variable, value);
                command
            }
        }
    }
}

/// As a person would type it.
impl fmt::Display for Program {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Spinglass(words) => {
                let words: Vec<&str> = words.split_whitespace().collect();
                write!(formatter, "spinglass {} --json", words.join(" "))
            }
            Self::Bench { package, name, words } => {
                write!(formatter, "cargo bench -p {package} --bench {name} -- --json")?;
                if words.is_empty() { Ok(()) } else { write!(formatter, " {words}") }
            }
            Self::Test { package, name, setting: (variable, value) } => {
                write!(formatter, "{variable}={value} cargo test -p {package} --test {name}")
            }
        }
    }
}

impl Run {
    fn program(&self, quick: bool) -> Option<Program> {
        if quick { self.quick } else { Some(self.full) }
    }
}

/// A bar that is no run with a report, since it needs builds of its own.
struct Built {
    name: &'static str,
    about: &'static str,
    run: fn(&str) -> Result<bool>,
}

/// These bars; none of them is quick.
const BUILT: [Built; 6] = [
    Built {
        name: "core.bugs",
        about: "each deliberate protocol bug is caught by the simulator's seeds",
        run: bugs::run,
    },
    Built {
        name: "security.threats",
        about: "each attacker of the threat model meets a defence whose test fails without it",
        run: threats,
    },
    Built {
        name: "security.cost",
        about: "throughput with certificates, rules and signatures, beside a build without any",
        run: cost::run,
    },
    Built {
        name: "doors.clients",
        about: "psql, psycopg, asyncpg, SQLAlchemy, ODBC, JDBC; a newcomer's ten minutes",
        run: doors::run_clients,
    },
    Built {
        name: "doors.console",
        about: "the console in a browser: every page, its speed, accessibility",
        run: doors::run_console,
    },
    Built {
        name: "doors.program",
        about: "the size of the program, and the time of a clean build",
        run: doors::run_program,
    },
];

const OPTIONS: [&str; 3] = ["--list", "--quick", "--as-tests"];

/// Runs the bars that the words name, or lists them. `Ok(false)` if any falls short.
pub(crate) fn bars(words: &[&str]) -> Result<bool> {
    let (options, names): (Vec<&str>, Vec<&str>) = words.iter().partition(|w| w.starts_with('-'));
    if let Some(unknown) = options.iter().find(|word| !OPTIONS.contains(word)) {
        bail!("no option {unknown}: there are {}", OPTIONS.join(", "));
    }
    if options.contains(&"--list") {
        list();
        return Ok(true);
    }
    if let Some(unknown) = names.iter().find(|name| !is_a_bar(name)) {
        bail!("no bar {unknown}: see cargo xtask bars --list");
    }
    let quick = options.contains(&"--quick");
    let build = if options.contains(&"--as-tests") { Build::Tests } else { Build::Release };
    let chosen = |name: &str| names.is_empty() || names.iter().any(|wish| is_named(name, wish));
    let runs: Vec<(&Bar, &Run, Program)> = all()
        .filter(|bar| chosen(bar.name))
        .flat_map(|bar| bar.runs.iter().map(move |run| (bar, run)))
        .filter_map(|(bar, run)| Some((bar, run, run.program(quick)?)))
        .collect();
    if runs.iter().any(|(.., program)| matches!(program, Program::Spinglass(_))) {
        build.make()?;
    }
    let mut good = true;
    for (bar, run, program) in runs {
        good &= perform(bar, run, program, build)?;
    }
    for bar in BUILT.iter().filter(|bar| chosen(bar.name) && !quick) {
        good &= (bar.run)(bar.name)?;
    }
    Ok(good)
}

fn threats(bar: &str) -> Result<bool> {
    let mut good = true;
    for threat in &THREATS {
        let outcome = threat.outcome()?.to_string();
        let context = format!("switch={}", threat.switch);
        let line = Line::yes_or_no(format!("{bar}.{}", threat.id), &outcome, "pass", context);
        println!("{line}");
        good &= line.passes;
    }
    Ok(good)
}

fn list() {
    for bar in all() {
        let quick = if bar.runs.iter().any(|run| run.quick.is_some()) { "quick" } else { "" };
        println!("{:<18} {quick:<6} {}", bar.name, bar.about);
    }
    for Built { name, about, .. } in &BUILT {
        println!("{name:<18} {:<6} {about}", "");
    }
}

fn names() -> impl Iterator<Item = &'static str> {
    all().map(|bar| bar.name).chain(BUILT.iter().map(|bar| bar.name))
}

/// Whether `wish` is the name or the family (`core`) of the bar `name`.
fn is_named(name: &str, wish: &str) -> bool {
    name == wish || name.strip_prefix(wish).is_some_and(|rest| rest.starts_with('.'))
}

fn is_a_bar(wish: &str) -> bool {
    names().any(|name| is_named(name, wish))
}

/// Runs one run of a bar and prints its figures.
fn perform(bar: &Bar, run: &Run, program: Program, build: Build) -> Result<bool> {
    let name = if run.label.is_empty() {
        bar.name.to_owned()
    } else {
        format!("{}.{}", bar.name, run.label)
    };
    eprintln!("xtask: {name}: {program}");
    let finished = run_quietly(&mut program.command(build))?;
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
        assert!(is_a_bar("core") && is_a_bar("core.perturb") && is_a_bar("core.bugs"));
        assert!(!is_a_bar("core.per") && !is_a_bar("nothing"));
    }

    #[test]
    fn programs_are_told_as_they_are_typed() {
        let words = Program::Spinglass("lab  flat");
        assert_eq!(words.to_string(), "spinglass lab flat --json");
        let bench = Program::Bench { package: "a", name: "b", words: "--c 1" };
        assert_eq!(bench.to_string(), "cargo bench -p a --bench b -- --json --c 1");
        let test = Program::Test { package: "a", name: "b", setting: ("C", "1") };
        assert_eq!(test.to_string(), "C=1 cargo test -p a --test b");
        let command = test.command(Build::Release);
        let settings: Vec<_> = command.get_envs().collect();
        assert_eq!(settings, [("C".as_ref(), Some("1".as_ref()))]);
    }

    #[test]
    fn every_bar_is_explained() {
        let text = std::fs::read_to_string(root().join("docs/benchmarks.md")).unwrap();
        for name in names() {
            assert!(text.contains(&format!("`{name}`")), "docs/benchmarks.md lacks {name}");
        }
    }
}
