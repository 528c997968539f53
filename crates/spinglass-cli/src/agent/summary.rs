//! `spinglass summary`: the functions that make one row of a zone's many.

use std::time::Duration;

use anyhow::{Context as _, Result};
use clap::Subcommand;
use serde_json::{Map, Value as Json};

use spinglass_doors::told::{Explained, SummaryTold};

use super::At;
use super::control::unexpected;
use super::lifetime;
use super::protocol::{Answer, Request};
use super::values::shown;
use crate::output::{Format, Verdict};

/// What to do with summary functions.
#[derive(Debug, Subcommand)]
#[command(after_help = "\
Examples:
  spinglass summary install load 'SELECT MIN(load) AS load FROM zone'
  spinglass summary install rush 'SELECT MAX(load) AS peak FROM zone' --for 30d
  spinglass summary list
  spinglass summary explain load
  spinglass summary explain 'SELECT TOP(3, id BY load) AS busy FROM zone WHERE up'
  spinglass summary remove load

A function holds in the zone where it is installed and in every zone below it, on every machine,
within a few rounds. A zone's value of an attribute feeds the same function one level higher, so
MIN(load) AS load is the least load of all hosts at the root.

A text has up to 4,096 bytes; a long one is fetched by each machine, and holds there from then.")]
pub(crate) enum SummaryCommand {
    /// Install a function, or replace the one of this name
    Install {
        /// Its name
        name: String,
        /// Its text: SELECT ... AS name, ... FROM zone [WHERE ...]
        sql: String,
        /// The zone from which downwards it holds
        #[arg(long, default_value = "/")]
        zone: String,
        /// For how long it holds, such as 90s, 12h or 30d [default: until it is removed]
        #[arg(long = "for", value_name = "TIME", value_parser = lifetime::parse)]
        lasts: Option<Duration>,
        #[command(flatten)]
        at: At,
    },
    /// List the functions that hold
    List {
        /// In this zone [default: the agent's region]
        #[arg(long)]
        zone: Option<String>,
        #[command(flatten)]
        at: At,
    },
    /// Remove a function where it was installed
    Remove {
        /// Its name
        name: String,
        /// The zone where it was installed
        #[arg(long, default_value = "/")]
        zone: String,
        #[command(flatten)]
        at: At,
    },
    /// Say what a function costs, and what it yields on a zone's rows as they are
    Explain {
        /// The name of one that holds, or the text of one that may
        function: String,
        /// On this zone's rows [default: the agent's region]
        #[arg(long)]
        zone: Option<String>,
        #[command(flatten)]
        at: At,
    },
}

/// Runs `summary`.
///
/// # Errors
/// There is no agent, or it refuses.
pub(crate) async fn summary(command: &SummaryCommand, format: Format) -> Result<Verdict> {
    match command {
        SummaryCommand::Install { name, sql, zone, lasts, at } => {
            let (zone, name, sql) = (zone.clone(), name.clone(), sql.clone());
            let lasts_ms = lasts.map(|lasts| u64::try_from(lasts.as_millis()).unwrap_or(u64::MAX));
            let done = at.ask(&Request::Install { zone, name, sql, lasts_ms }).await?;
            format.print(&done, |_| String::from("installed; gossip spreads it\n"))?;
        }
        SummaryCommand::List { zone, at } => {
            format.print(&list(at, zone.clone()).await?, |summaries| listed(summaries))?;
        }
        SummaryCommand::Remove { name, zone, at } => {
            let (zone, name) = (zone.clone(), name.clone());
            let done = at.ask(&Request::Remove { zone, name }).await?;
            format.print(&done, |_| String::from("removed; gossip spreads it\n"))?;
        }
        SummaryCommand::Explain { function, zone, at } => {
            let explained = explain(at, function, zone.clone()).await?;
            format.print(&explained, explained_text)?;
        }
    }
    Ok(Verdict::Good)
}

async fn list(at: &At, zone: Option<String>) -> Result<Vec<SummaryTold>> {
    match at.ask(&Request::Summaries { zone }).await? {
        Answer::Summaries(summaries) => Ok(summaries),
        _ => Err(unexpected()),
    }
}

fn listed(summaries: &[SummaryTold]) -> String {
    let mut text = String::new();
    for summary in summaries {
        let zone = summary.zone.as_deref().unwrap_or("built in");
        let left = summary.seconds_left.map(Duration::from_secs);
        let left =
            left.map_or_else(String::new, |left| format!(", {} left", lifetime::shown(left)));
        text += &format!("{} ({zone}{left})\n    {}\n", summary.name, summary.sql);
    }
    text
}

async fn explain(at: &At, function: &str, zone: Option<String>) -> Result<Explained> {
    let is_text = function.trim_start().to_ascii_lowercase().starts_with("select");
    let sql = if is_text {
        function.to_owned()
    } else {
        let summaries = list(at, zone.clone()).await?;
        let found = summaries.into_iter().find(|summary| summary.name == function);
        found.with_context(|| format!("no summary is called {function:?} here"))?.sql
    };
    let zone = match zone {
        Some(zone) => zone,
        None => region(at).await?,
    };
    match at.ask(&Request::Explain { zone, sql }).await? {
        Answer::Explained(explained) => Ok(explained),
        _ => Err(unexpected()),
    }
}

async fn region(at: &At) -> Result<String> {
    match at.ask(&Request::Zones { zone: None }).await? {
        Answer::Zones(zones) => Ok(zones.last().map(|zone| zone.path.clone()).unwrap_or_default()),
        _ => Err(unexpected()),
    }
}

fn explained_text(explained: &Explained) -> String {
    let Explained { zone, sql, inputs, outputs, rows, .. } = explained;
    let mut text =
        format!("{sql}\n  reads    {}\n  gives    {}\n", inputs.join(", "), outputs.join(", "));
    text += &format!(
        "  costs    {} steps a row; {} steps of {} for the {rows} rows of {zone}\n",
        explained.steps_per_row, explained.steps, explained.steps_max
    );
    text += &format!(
        "  takes    {} bytes of {} in the zone's row\n",
        explained.bytes, explained.bytes_max
    );
    text += &format!("  yields   {}\n", pairs(&explained.yields));
    for error in &explained.errors {
        text += &format!("  no value {error}\n");
    }
    text
}

fn pairs(row: &Map<String, Json>) -> String {
    row.iter()
        .map(|(name, value)| format!("{name} {}", shown(value)))
        .collect::<Vec<_>>()
        .join("  ")
}
