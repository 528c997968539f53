//! The bars of the doors: a newcomer's ten minutes, clients out of the box, what an agent with open
//! doors costs, and whether clients that misbehave delay it.

use std::fs;
use std::process::Command;
use std::time::Instant;

use anyhow::{Context as _, Result};

use super::Program::Spinglass;
use super::figure::Line;
use super::table::{at_least, at_most, report};
use super::{Bar, Run};
use crate::clients;
use crate::shell::{cargo, root, run_quietly};

/// Megabytes, in bytes.
const MB: f64 = 1e6;

/// Every one of them.
pub(super) const BARS: &[Bar] = &[Bar {
    name: "doors.agent",
    about: "1,000 hosts by SQL, an idle agent with all doors open, and the same while it is abused",
    runs: &[Run {
        label: "",
        full: Spinglass("lab doors"),
        quick: Some(Spinglass("lab doors --agents 100 --seconds 3")),
        figures: &[
            at_most("hosts_p50_ms", "/hosts_p50_ms", 1000.0),
            report("hosts_most_ms", "/hosts_most_ms"),
            at_least("local_per_core_second", "/local_per_core_second", 2000.0),
            report("local_per_second", "/local_per_second"),
            at_most("connections_bytes", "/connections_bytes", 20.0 * MB),
            at_most("idle_bytes", "/resident_bytes", 20.0 * MB),
            at_most("idle_processor_percent", "/processor_percent", 0.5),
            report("quiet_most_ms", "/quiet/most_ms"),
            at_most("abused_late_ms", "/abused/most_ms", 10.0),
            report("abused_p99_ms", "/abused/p99_ms"),
            at_most("abused_bytes", "/abused_resident_bytes", 200.0 * MB),
            report("after_bytes", "/after_resident_bytes"),
        ],
        context: &["/agents", "/hosts", "/half_open", "/malformed", "/endless", "/slow"],
    }],
}];

/// Clients of PostgreSQL's, and a newcomer's first minutes: tests, each of which holds or does not.
const CLIENTS: [&str; 7] = [
    "psql_reads_changes_and_describes",
    "psycopg_is_a_client",
    "asyncpg_sqlalchemy_and_odbc_are_clients",
    "jdbc_and_isql_are_clients",
    "who_comes_in_by_a_password_does_what_the_file_says",
    "sql_from_afar_takes_tls_and_a_password",
    "the_tutorial_runs_as_printed",
];
/// The test that measures the console, what it tells, and the most of each.
const CONSOLE: (&str, [(&str, f64); 3]) = (
    "a_browser_shows_the_console",
    // 60 frames a second are 16.7 ms each; a timer's tick more is none.
    [("first_row_ms", 300.0), ("page_bytes", 300e3), ("frame_ms", 17.0)],
);
/// The most that the program may have, in bytes, and that a clean build may take, in seconds.
const PROGRAM_BYTES_MAX: f64 = 25e6;
const BUILD_SECONDS_MAX: f64 = 360.0;

/// Runs a test of clients; returns whether it passed, and what it said.
fn test(name: &str) -> Result<(bool, String)> {
    let environment = clients::python()?.context("Python's clients can't be had")?;
    let words = [
        "test",
        "--quiet",
        "--package",
        "spinglass-cli",
        "--test",
        "clients",
        name,
        "--",
        "--exact",
    ];
    let mut command = cargo(&words);
    command.arg("--nocapture").env("SPINGLASS_CLIENTS", environment);
    let ran = run_quietly(&mut command)?;
    Ok((ran.success, ran.stdout.join("\n")))
}

/// Each client against live agents.
pub(super) fn run_clients(bar: &str) -> Result<bool> {
    clients::install()?;
    let mut good = true;
    for name in CLIENTS {
        let (passes, _) = test(name)?;
        let verdict = if passes { "passes" } else { "fails" };
        println!("{}", Line::yes_or_no(format!("{bar}.{name}"), verdict, "passes", String::new()));
        good &= passes;
    }
    Ok(good)
}

/// The console in a browser.
pub(super) fn run_console(bar: &str) -> Result<bool> {
    clients::install()?;
    let (name, figures) = CONSOLE;
    let (passes, said) = test(name)?;
    let verdict = if passes { "passes" } else { "fails" };
    println!("{}", Line::yes_or_no(format!("{bar}.pages"), verdict, "passes", String::new()));
    let mut good = passes;
    for (name, most) in figures {
        let told = said.lines().filter_map(|line| line.split_once(&format!("MEASURED {name} ")));
        let found = told.filter_map(|(_, value)| value.trim().parse::<f64>().ok()).next();
        let line = match found {
            Some(found) => Line::at_most(format!("{bar}.{name}"), found, most, String::new()),
            None => Line::missing(&format!("{bar}.{name}"), "the test did not say"),
        };
        println!("{line}");
        good &= line.passes;
    }
    Ok(good)
}

/// How large the program is, and how long a clean build takes.
pub(super) fn run_program(bar: &str) -> Result<bool> {
    let folder = root().join("target/clean");
    fs::remove_dir_all(&folder).ok();
    let begin = Instant::now();
    let words = ["build", "--release", "--quiet", "--package", "spinglass-cli", "--target-dir"];
    let built = run_quietly(cargo(&words).arg(&folder))?;
    let seconds = begin.elapsed().as_secs_f64();
    let (program, stripped) = (folder.join("release/spinglass"), folder.join("stripped"));
    let strip = run_quietly(Command::new("strip").arg("-o").arg(&stripped).arg(program))?;
    let bytes = fs::metadata(&stripped).context("there is no program")?.len() as f64;
    fs::remove_dir_all(&folder).ok();
    let size = Line::at_most(format!("{bar}.bytes"), bytes, PROGRAM_BYTES_MAX, String::new());
    let build =
        Line::at_most(format!("{bar}.build_seconds"), seconds, BUILD_SECONDS_MAX, String::new());
    println!("{size}\n{build}");
    Ok(built.success && strip.success && size.passes && build.passes)
}
