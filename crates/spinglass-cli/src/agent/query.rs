//! `spinglass query`: hosts anywhere, by SQL.

use std::time::Duration;

use anyhow::{Result, ensure};
use clap::Args;

use spinglass_doors::told::HostsTold;

use super::At;
use super::control::unexpected;
use super::protocol::{Answer, Request};
use super::values::shown;
use crate::output::{Format, Verdict};

/// The longest that a question waits.
const WITHIN_SECONDS_MAX: f64 = 60.0;

/// Options of `query`.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  spinglass query \"SELECT id, zone, load FROM hosts ORDER BY load DESC LIMIT 10\"
  spinglass query \"SELECT id, zone FROM hosts WHERE licence = 'x'\"
  spinglass query \"SELECT * FROM hosts WHERE load > 2\" --zone /usa
  spinglass query \"SELECT id FROM hosts WHERE zone = '/eu/paris'\" --json

The table is `hosts`: a row per agent, with its attributes and `zone`, its region. The question goes
down the tree, to one agent of each zone whose summary does not prove that nothing is there. What
proves something is a summary such as

  spinglass summary install load 'SELECT MIN(load) AS load FROM zone'
  spinglass summary install licences 'SELECT UNION(licence) AS licence FROM zone'

after which `load < 0.1` and `licence = 'x'` go only where they may be true. Without one every zone
is asked. If something is missing, because a zone does not answer or an answer does not fit, the
rows that came are printed, a warning goes to standard error, and the exit code is 1.")]
pub(crate) struct QueryCommand {
    /// SELECT * | expression AS name, ..  FROM hosts [WHERE ..] [ORDER BY ..] [LIMIT ..]
    sql: String,
    /// Only hosts in this zone, at any depth
    #[arg(long, default_value = "/")]
    zone: String,
    /// Seconds to wait for zones that do not answer, at most 60
    #[arg(long, value_name = "SECONDS", default_value_t = 8.0)]
    within: f64,
    #[command(flatten)]
    at: At,
}

/// Runs `query`.
///
/// # Errors
/// There is no agent, or it refuses the query.
pub(crate) async fn query(command: &QueryCommand, format: Format) -> Result<Verdict> {
    let QueryCommand { sql, zone, within, at } = command;
    let is_wait = (0.0..=WITHIN_SECONDS_MAX).contains(within);
    ensure!(is_wait, "--within takes 0 to {WITHIN_SECONDS_MAX} seconds");
    let within = Duration::from_secs_f64(*within);
    let within_ms = u64::try_from(within.as_millis())?;
    let request = Request::Query { sql: sql.clone(), zone: zone.clone(), within_ms };
    let Answer::Hosts(hosts) = at.ask(&request).await? else { return Err(unexpected()) };
    format.print(&hosts, listed)?;
    lacks(&hosts).into_iter().for_each(|lack| eprintln!("spinglass: {lack}"));
    Ok(Verdict::from(hosts.whole))
}

/// What to warn of.
fn lacks(hosts: &HostsTold) -> Vec<String> {
    let HostsTold { asked, silent, cut, .. } = hosts;
    let mut lacks = Vec::new();
    if *silent > 0 {
        lacks.push(format!(
            "rows are missing: {silent} of the {asked} zones asked did not answer in time"
        ));
    }
    if *cut {
        lacks.push(
            "rows are missing: they did not fit an answer; narrow WHERE, or add LIMIT".to_owned(),
        );
    }
    lacks
}

fn listed(hosts: &HostsTold) -> String {
    let cell = |row: &serde_json::Map<String, _>, name: &String| {
        row.get(name).map_or_else(|| "-".into(), shown)
    };
    let line = |row| hosts.columns.iter().map(|name| cell(row, name)).collect::<Vec<String>>();
    let rows: Vec<Vec<String>> = hosts.rows.iter().map(line).collect();
    let columns: Vec<&str> = hosts.columns.iter().map(String::as_str).collect();
    let mut text =
        if rows.is_empty() { String::new() } else { crate::output::table(&columns, &rows) };
    let HostsTold { answered, asked, ruled_out, age, .. } = hosts;
    let count = match rows.len() {
        1 => "1 row".to_owned(),
        count => format!("{count} rows"),
    };
    text += &format!(
        "{count}, at most {age:.1} s old; {answered} of {asked} zones asked answered, {ruled_out} \
         ruled out by their summaries\n"
    );
    text
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn told() -> HostsTold {
        let row = json!({ "id": "a", "load": 0.5 }).as_object().expect("one").clone();
        let columns = ["id", "load", "os"].map(String::from).to_vec();
        let (whole, cut) = (false, true);
        let rows = vec![row];
        HostsTold {
            columns,
            rows,
            whole,
            age: 1.25,
            asked: 3,
            answered: 2,
            silent: 1,
            ruled_out: 4,
            cut,
        }
    }

    #[test]
    fn rows_are_lined_up_under_their_columns() {
        let want = "  id  load  os\n  a    0.5   -\n1 row, at most 1.2 s old; 2 of 3 zones asked \
                    answered, 4 ruled out by their summaries\n";
        assert_eq!(listed(&told()), want);
    }

    #[test]
    fn what_is_missing_is_said() {
        let lacks = lacks(&told());
        assert!(lacks[0].contains("1 of the 3 zones asked"), "{lacks:?}");
        assert!(lacks[1].contains("did not fit"), "{lacks:?}");
    }
}
