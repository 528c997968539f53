//! `spinglass table`: the table as an agent of this machine holds it.

use std::io::{self, IsTerminal as _, Write as _};
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Result, bail};
use clap::{Args, Subcommand};
use serde_json::Value as Json;

use spinglass_doors::told::{RowTold, ZoneTold};

use super::At;
use super::control::unexpected;
use super::object;
use super::protocol::{Answer, Request, Wire};
use super::tree::tree;
use super::values::{parse, shown};
use crate::output::{Format, Verdict};

/// How often `watch` looks: a tenth of a screen's patience, and a local call.
const LOOK_EVERY: Duration = Duration::from_millis(250);
/// Moves the cursor to the top left and clears what is below.
const CLEAR: &str = "\x1b[H\x1b[2J";

/// Options of `table`.
#[derive(Debug, Args)]
#[command(
    args_conflicts_with_subcommands = true,
    after_help = "\
Examples:
  spinglass table                       the whole tree: this agent's path, and what lies beside it
  spinglass table show /usa             one zone, its rows and their summary
  spinglass table show /eu/paris        the same of any other zone: agents there are asked
  spinglass table watch                 the tree, live
  spinglass table set load 0.5          an attribute of this agent's row
  spinglass table get load --zone /     one value, for scripts
  spinglass table set doc --file a.xml  a file of up to 16 MiB: the row names it by hash and size
  spinglass table get doc --of web1 --to a.xml     fetches it, from whoever has it

The zones of the agent's own path are in its memory. Any other is asked for, from agents that lead
there, and its rows come with their signatures and are verified. `spinglass query` finds hosts in
all zones at once."
)]
pub(crate) struct TableCommand {
    #[command(subcommand)]
    action: Option<Action>,
    #[command(flatten)]
    at: At,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// Show the tree, or one zone
    Show {
        /// Any zone, such as /usa [default: the whole tree]
        zone: Option<String>,
        #[command(flatten)]
        at: At,
    },
    /// Show the tree, and again whenever it changes, until Ctrl-C
    Watch {
        #[command(flatten)]
        at: At,
    },
    /// Set an attribute of the agent's own row; null removes it
    Set {
        /// Its name: a-z, 0-9, '_', '.' and '&'
        name: String,
        /// null, true, false, a number, a JSON list, or else text
        #[arg(allow_hyphen_values = true, required_unless_present = "file")]
        value: Option<String>,
        /// Put this file, of up to 16 MiB, as an object that others can fetch
        #[arg(long, conflicts_with = "value")]
        file: Option<PathBuf>,
        #[command(flatten)]
        at: At,
    },
    /// Print one attribute, of the agent's own row, of another's or of a zone
    Get {
        /// Its name
        name: String,
        /// The zone whose summary has it
        #[arg(long)]
        zone: Option<String>,
        /// The agent of the region, or the child of --zone, whose row has it
        #[arg(long, value_name = "ROW")]
        of: Option<String>,
        /// Fetch the object that it names into this file
        #[arg(long, value_name = "FILE")]
        to: Option<PathBuf>,
        #[command(flatten)]
        at: At,
    },
}

/// Runs `table`.
///
/// # Errors
/// There is no agent, or it refuses.
pub(crate) async fn table(command: &TableCommand, format: Format) -> Result<Verdict> {
    match &command.action {
        None => show(&command.at, None, format).await?,
        Some(Action::Show { zone, at }) => show(at, zone.as_deref(), format).await?,
        Some(Action::Watch { at }) => watch(at, format).await?,
        Some(Action::Set { name, file: Some(file), at, .. }) => {
            object::put(at, name, file, format).await?;
        }
        Some(Action::Set { name, value, at, .. }) => {
            let value = Wire::of(&parse(value.as_deref().unwrap_or("null"))?);
            at.ask(&Request::Set { name: name.clone(), value }).await?;
            format.print(&Answer::Done, |_| String::new())?;
        }
        Some(Action::Get { name, zone, of, to, at }) => {
            let value = get(at, name, zone.as_deref(), of.as_deref()).await?;
            match to {
                Some(to) => object::fetch(at, &shown(&value), to, format).await?,
                None => format.print(&value, |value| shown(value) + "\n")?,
            }
        }
    }
    Ok(Verdict::Good)
}

async fn zones(at: &At, zone: Option<&str>) -> Result<Vec<ZoneTold>> {
    match at.ask(&Request::Zones { zone: zone.map(Into::into) }).await? {
        Answer::Zones(zones) => Ok(zones),
        _ => Err(unexpected()),
    }
}

/// One zone, as an agent of this machine holds it or is told.
///
/// # Errors
/// There is no agent, no such zone, or nobody there answers.
pub(crate) async fn zone_of(at: &At, zone: &str) -> Result<ZoneTold> {
    zones(at, Some(zone)).await?.pop().ok_or_else(unexpected)
}

async fn show(at: &At, zone: Option<&str>, format: Format) -> Result<()> {
    let zones = zones(at, zone).await?;
    if let Some(cut) = zones.iter().find(|zone| !zone.whole) {
        eprintln!("spinglass: {} has more rows than one answer holds: some are missing", cut.path);
    }
    format.print(&zones, |zones| tree_of(zones, zone))
}

fn tree_of(zones: &[ZoneTold], zone: Option<&str>) -> String {
    let text = tree(zones);
    match (zone, zones.first()) {
        // The first line names the zone that was asked for.
        (Some(_), Some(zone)) if zone.path != "/" => text.replacen('/', &zone.path, 1),
        _ => text,
    }
}

async fn watch(at: &At, format: Format) -> Result<()> {
    let mut last = String::new();
    loop {
        let zones = zones(at, None).await?;
        let text = match format {
            Format::Text => tree(&zones),
            Format::Json => serde_json::to_string(&zones)? + "\n",
        };
        if text != last {
            let mut out = io::stdout().lock();
            let clear = format == Format::Text && out.is_terminal();
            write!(out, "{}{text}", if clear { CLEAR } else { "" })?;
            out.flush()?;
            last = text;
        }
        tokio::time::sleep(LOOK_EVERY).await;
    }
}

async fn get(at: &At, name: &str, zone: Option<&str>, of: Option<&str>) -> Result<Json> {
    let zones = zones(at, zone).await?;
    let found = zones.last().and_then(|last| match (zone, of) {
        (Some(_), None) => last.summary.get(name),
        (_, of) => {
            let is_it = |row: &&RowTold| of.map_or(row.own, |of| row.name == of);
            last.rows.iter().find(is_it).and_then(|row| row.attributes.get(name))
        }
    });
    match found {
        Some(value) => Ok(value.clone()),
        None => {
            bail!("there is no attribute {name} in {}", of.or(zone).unwrap_or("this agent's row"))
        }
    }
}
