//! `spinglass policy`: what a file of rules says, and who may do what by it.

use std::path::PathBuf;

use anyhow::{Context as _, Result};
use clap::{Args, Subcommand};
use serde::Serialize;
use spinglass::PolicyFile;
use spinglass_core::identity::SpiffeId;
use spinglass_core::rules::{Action, Rule};

use crate::output::{Format, Verdict};

/// What `policy` does.
#[derive(Debug, Subcommand)]
#[command(after_help = "\
A policy is a list of rules over members' names. The first rule that is about a member and an
action decides; what no rule is about is denied. In TOML:

  [[rule]]
  who = \"spiffe://example.org/usa/**\"
  allow = [\"join /usa/**\", \"publish grid/**\", \"write net.* in /usa/**\"]

Actions: join ZONE, write ATTRIBUTE in ZONE, publish TOPIC, subscribe TOPIC,
install FUNCTION in ZONE [below LEVEL], rotate, respond, govern, door NAME.
* is one name between slashes; ** at the end is any rest. docs/security.md explains each.")]
pub(crate) enum PolicyCommand {
    /// Say whether a member may do something, and which rule says so
    Check(Check),
    /// Show the rules as they are understood
    Show(Show),
}

/// Options of `policy check`.
#[derive(Debug, Args)]
#[command(after_help = "\
Exit code 0: allowed. Exit code 1: denied.

  spinglass policy check --policy policy.toml --who spiffe://example.org/usa/ithaca/n1 \\
      --action 'publish grid/ny'")]
pub(crate) struct Check {
    /// The file of rules
    #[arg(long, value_name = "FILE")]
    policy: PathBuf,
    /// The member's name
    #[arg(long, value_name = "SPIFFE-ID")]
    who: String,
    /// What it wants to do
    #[arg(long)]
    action: String,
}

/// Options of `policy show`.
#[derive(Debug, Args)]
pub(crate) struct Show {
    /// The file of rules
    #[arg(long, value_name = "FILE")]
    policy: PathBuf,
}

/// A rule as it is shown; numbers count from 1.
#[derive(Debug, Serialize)]
struct Shown {
    rule: usize,
    line: Option<usize>,
    effect: String,
    who: Vec<String>,
    what: Vec<String>,
}

#[derive(Debug, Serialize)]
struct Decided {
    who: String,
    action: String,
    allowed: bool,
    rule: Option<Shown>,
    rules: usize,
}

impl Shown {
    fn new(file: &PolicyFile, index: usize, rule: &Rule) -> Self {
        Self {
            rule: index + 1,
            line: file.line(index),
            effect: rule.effect.to_string(),
            who: rule.who.iter().map(ToString::to_string).collect(),
            what: rule.what.iter().map(ToString::to_string).collect(),
        }
    }

    fn text(&self) -> String {
        let line = self.line.map(|line| format!(" (line {line})")).unwrap_or_default();
        let lines = |label: &str, texts: &[String]| -> String {
            texts.iter().map(|text| format!("  {label:<6} {text}\n")).collect()
        };
        let head = format!("rule {}{line}\n", self.rule);
        head + &lines("who", &self.who) + &lines(&self.effect, &self.what)
    }
}

/// Does it.
///
/// # Errors
/// The file is no policy, or the question none.
pub(crate) fn run(command: &PolicyCommand, format: Format) -> Result<Verdict> {
    match command {
        PolicyCommand::Check(options) => check(options, format),
        PolicyCommand::Show(options) => show(options, format),
    }
}

fn check(options: &Check, format: Format) -> Result<Verdict> {
    let file = PolicyFile::load(&options.policy)?;
    let who = SpiffeId::parse(&options.who).with_context(|| format!("--who {:?}", options.who))?;
    let action =
        Action::parse(&options.action).with_context(|| format!("--action {:?}", options.action))?;
    let policy = file.policy();
    let decision = policy.decide(&who, &action);
    let rule = decision.rule.and_then(|index| Some((index, policy.rules().get(index)?)));
    let report = Decided {
        who: who.to_string(),
        action: action.to_string(),
        allowed: decision.allowed,
        rule: rule.map(|(index, rule)| Shown::new(&file, index, rule)),
        rules: policy.rules().len(),
    };
    format.print(&report, |report| {
        let verdict = if report.allowed { "allowed" } else { "denied" };
        let why = match &report.rule {
            Some(rule) => format!("The first rule about it decides:\n{}", rule.text()),
            None => format!("None of the {} rules is about it, so it is denied.\n", report.rules),
        };
        format!("{verdict}: {} {}\n{why}", report.who, report.action)
    })?;
    Ok(decision.allowed.into())
}

fn show(options: &Show, format: Format) -> Result<Verdict> {
    let file = PolicyFile::load(&options.policy)?;
    let rules = file.policy().rules().iter().enumerate();
    let rules: Vec<Shown> = rules.map(|(index, rule)| Shown::new(&file, index, rule)).collect();
    format.print(&rules, |rules| {
        let rules: String = rules.iter().map(Shown::text).collect();
        rules + "Whatever no rule is about is denied.\n"
    })?;
    Ok(Verdict::Good)
}
