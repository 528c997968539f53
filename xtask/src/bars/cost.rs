//! The bar `security.cost`: throughput and processor time with everything on, against a build whose
//! members sign and check nothing.
//!
//! The other build is this one with `--cfg spinglass_unsigned`, which leaves out members'
//! signatures; its members have no certificates and no rules, and a common key. Both run in turn,
//! so that what else the machine does meets both, and medians are compared.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result, bail};
use serde_json::Value;

use super::figure::Line;
use crate::shell::{cargo, root, run_quietly};
use crate::switches::{self, Switch};

/// The share of what a build without signatures does that must be left.
const SHARE_MIN: f64 = 0.8;
/// Runs of each, in turn: the median of an odd number is one of them.
const PAIRS: usize = 3;
/// The run, and what makes it one with everything on.
const BENCH: &str = "bench multicast --members 32 --size 1024 --latency-messages 0 --json";
const CERTIFIED: &str = "--certified";

/// What one run measured.
#[derive(Debug, Clone, Copy)]
struct Measured {
    messages_per_second: f64,
    cpu_us_per_delivery: f64,
}

/// Builds both, runs both in turn, and compares.
pub(crate) fn run(bar: &str) -> Result<bool> {
    let (signed, unsigned) = build()?;
    let (mut with, mut without) = (Vec::new(), Vec::new());
    for pair in 1..=PAIRS {
        eprintln!("xtask: {bar}: {BENCH}, with signatures and without: {pair} of {PAIRS}");
        without.push(measure(&unsigned, "")?);
        with.push(measure(&signed, CERTIFIED)?);
    }
    let rate = |runs: &[Measured]| median(runs, |run| run.messages_per_second);
    let cpu = |runs: &[Measured]| median(runs, |run| run.cpu_us_per_delivery);
    let mut good = true;
    for (name, share, context) in [
        ("rate_share", rate(&with) / rate(&without), ("messages/s", rate(&with), rate(&without))),
        ("cpu_share", cpu(&without) / cpu(&with), ("us/delivery", cpu(&with), cpu(&without))),
    ] {
        let (unit, with, without) = context;
        let context = format!("{unit}: signed={with:.2} unsigned={without:.2} pairs={PAIRS}");
        let line = Line::at_least(format!("{bar}.{name}"), share, SHARE_MIN, context);
        println!("{line}");
        good &= line.passes;
    }
    Ok(good)
}

/// The binary as it is, and the one that signs nothing.
fn build() -> Result<(PathBuf, PathBuf)> {
    let folder = root().join("target/unsigned");
    fs::create_dir_all(&folder)?;
    let switch = Switch::of("unsigned", "spinglass_unsigned")?;
    let words = ["build", "--release", "--quiet", "--bin", "spinglass"];
    let built = root().join("target/release/spinglass");
    let unsigned = folder.join("spinglass");
    build_with(&mut switches::with(cargo(&words), Some(&switch)))?;
    fs::copy(&built, &unsigned).context("cannot keep the build without signatures")?;
    build_with(&mut cargo(&words))?;
    let signed = folder.join("spinglass-signed");
    fs::copy(&built, &signed).context("cannot keep the build with signatures")?;
    Ok((signed, unsigned))
}

fn build_with(command: &mut Command) -> Result<()> {
    let built = run_quietly(command)?;
    if !built.success {
        bail!("the binary does not build:\n{}", built.stderr.join("\n"));
    }
    Ok(())
}

fn measure(binary: &Path, option: &str) -> Result<Measured> {
    let mut command = Command::new(binary);
    command.args(BENCH.split_whitespace()).args(option.split_whitespace()).current_dir(root());
    let finished = run_quietly(&mut command)?;
    let report = finished.stdout.iter().rev().find(|line| line.starts_with('['));
    let report = report.with_context(|| finished.stderr.join("\n"))?;
    let report: Value = serde_json::from_str(report).context("the report is not JSON")?;
    let number = |pointer| report.pointer(pointer).and_then(Value::as_f64);
    Ok(Measured {
        messages_per_second: number("/0/messages_per_second").context("no rate")?,
        cpu_us_per_delivery: number("/0/cpu_us_per_delivery").context("no processor time")?,
    })
}

fn median(runs: &[Measured], figure: impl Fn(&Measured) -> f64) -> f64 {
    let mut figures: Vec<f64> = runs.iter().map(figure).collect();
    figures.sort_by(f64::total_cmp);
    figures.get(figures.len() / 2).copied().unwrap_or(f64::NAN)
}
