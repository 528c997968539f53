//! The project's chores: `cargo xtask test`, `cargo xtask bars`, `cargo xtask threats`,
//! `cargo xtask tidy`, `cargo xtask deb`.
//!
//! Uses none of the project's crates: bars are measured by running the release binary with
//! `--json`, as a user would.

mod bars;
mod checks;
mod clients;
mod deb;
mod pages;
mod shell;
mod supply;
mod switches;
mod threats;
mod tidy;

use std::process::ExitCode;

const USAGE: &str = "\
usage: cargo xtask test              formatting, lints, documentation, every test, tidiness
       cargo xtask tidy              the tidiness checks alone
       cargo xtask bars --list       the bars there are
       cargo xtask bars [--quick] [--as-tests] [core | core.NAME ...]
                                     run bars, one line per figure:
                                     BAR name measured target PASS|SHORT;
                                     --as-tests: by the program that the tests build
       cargo xtask threats [--list] [T-01 ...]
                                     for each attacker the test of the defence, with and
                                     without it
       cargo xtask deb               a package for Debian, by cargo-deb: target/debian/";

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let outcome = match words.as_slice() {
        ["test"] => checks::test(),
        ["tidy"] => checks::tidy_alone(),
        ["deb"] => deb::deb(),
        ["threats", rest @ ..] => threats::threats(rest),
        ["bars", rest @ ..] => bars::bars(rest),
        _ => {
            eprintln!("{USAGE}");
            return ExitCode::from(2);
        }
    };
    match outcome {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("xtask: {error:#}");
            ExitCode::FAILURE
        }
    }
}
