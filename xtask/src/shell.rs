//! Running other programs from the workspace's root.

use std::io::{BufRead as _, BufReader, Read};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::thread;

use anyhow::{Context as _, Result};

/// The workspace's root.
pub(crate) fn root() -> PathBuf {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    here.parent().unwrap_or(here).to_path_buf()
}

/// The cargo that runs this program, from the root.
pub(crate) fn cargo(arguments: &[&str]) -> Command {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut command = Command::new(cargo);
    command.args(arguments).current_dir(root()).stdin(Stdio::null());
    command
}

/// Whether `program` can be run at all.
pub(crate) fn is_there(program: &str, question: &str) -> bool {
    let quiet = Stdio::null;
    let mut command = Command::new(program);
    command.arg(question).stdin(quiet()).stdout(quiet()).stderr(quiet());
    command.status().is_ok_and(|status| status.success())
}

/// What a program printed, on both streams, and whether it succeeded.
#[derive(Debug)]
pub(crate) struct Finished {
    /// Standard output, as lines.
    pub(crate) stdout: Vec<String>,
    /// Standard error, as lines.
    pub(crate) stderr: Vec<String>,
    /// Exit code 0.
    pub(crate) success: bool,
}

/// Runs a program to its end, showing what it prints while it runs.
pub(crate) fn run_shown(command: &mut Command) -> Result<Finished> {
    let mut child = command
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .with_context(|| format!("cannot run {}", command.get_program().display()))?;
    let errors = child.stderr.take().context("the child's standard error is piped")?;
    let output = child.stdout.take().context("the child's standard output is piped")?;
    let errors = thread::spawn(move || show_lines(errors, |line| eprintln!("{line}")));
    let stdout = show_lines(output, |line| println!("{line}"));
    let stderr = errors.join().unwrap_or_default();
    Ok(Finished { stdout, stderr, success: child.wait()?.success() })
}

fn show_lines(from: impl Read, show: impl Fn(&str)) -> Vec<String> {
    let lines = BufReader::new(from).lines().map_while(Result::ok);
    lines.inspect(|line| show(line)).collect()
}

/// Runs a program to its end and shows nothing.
pub(crate) fn run_quietly(command: &mut Command) -> Result<Finished> {
    let output = command
        .stdin(Stdio::null())
        .output()
        .with_context(|| format!("cannot run {}", command.get_program().display()))?;
    let lines = |bytes: &[u8]| String::from_utf8_lossy(bytes).lines().map(str::to_owned).collect();
    Ok(Finished {
        stdout: lines(&output.stdout),
        stderr: lines(&output.stderr),
        success: output.status.success(),
    })
}
