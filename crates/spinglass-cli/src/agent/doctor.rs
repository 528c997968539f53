//! `spinglass doctor`: what is wrong with this machine or its agent, and what to do about it.

use std::collections::BTreeMap;
use std::fs;
use std::net::{Ipv4Addr, SocketAddr, TcpListener, UdpSocket};
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use anyhow::Result;
use clap::Args;
use quinn_udp::UdpSocketState;
use rustix::process::{Resource, getrlimit};
use serde::Serialize;
use serde_json::Value as Json;
use spinglass::PORT;
use spinglass_crypto::certificates::load_chain;
use spinglass_crypto::{GroupKeys, SigningKey};
use spinglass_doors::told::ZoneTold;

use super::At;
use super::protocol::{Answer, Request};
use super::reach::UNHEARD;
use crate::output::{Format, Verdict};
use crate::ports;

/// What the runtime asks the system for, for bursts of packets: less loses some of them.
const RECEIVE_BUFFER_BYTES: u64 = 4 << 20;
/// Files that an agent with its doors may have open.
const FILES: u64 = 1024;
/// The least that an interface must carry in one piece: a datagram of 1,200 bytes and its headers.
const MTU_MIN: u64 = 1280;
/// A certificate that ends sooner is to be renewed.
const DAYS_LEFT: u64 = 7;
/// Seconds without news of an agent after which it is told of.
const SILENT_SECONDS: f64 = 30.0;
/// Agents in a matrix of who hears whom: as many as a terminal has room for.
const MATRIX_MAX: usize = 24;
/// Counters that stand still where all is well: what it means that one does not, and what helps.
const TROUBLES: [(&str, &str, &str); 6] = [
    (
        "packets_lost",
        "packets were lost for good",
        "a lower --pace, or --nines 12; docs/OPERATING.md has more",
    ),
    (
        "messages_lagged",
        "a subscriber here is too slow and misses messages",
        "read faster: `recv` into a file, or a larger queue",
    ),
    (
        "send_errors",
        "the system refuses datagrams",
        "a firewall on this machine, or a larger send buffer: sysctl net.core.wmem_max",
    ),
    (
        "table_over_budget",
        "the table's bytes per round do not suffice",
        "fewer or smaller attributes, or smaller regions",
    ),
    (
        "rejected.forged",
        "datagrams came that nobody of the group sent",
        "another group on this port, another key, or an attacker: docs/security.md",
    ),
    (
        "rejected.misplaced",
        "rows came from clocks that are wrong, or from where they do not belong",
        "set the clocks by NTP, here and there",
    ),
];

/// Options of `doctor`.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  spinglass doctor                                     this machine, and its agent if it has one
  spinglass doctor --certificate me.crt --group-key group.key     its files, too
  spinglass doctor --json                              for scripts; the exit code is 1 if
                                                       something is wrong")]
pub(crate) struct Doctor {
    /// A member's certificates: how long they hold
    #[arg(long, value_name = "FILE")]
    certificate: Option<PathBuf>,
    /// A group's key: whether it can be read, and by nobody else
    #[arg(long, value_name = "FILE")]
    group_key: Option<PathBuf>,
    /// An identity key: the same
    #[arg(long, value_name = "FILE")]
    identity: Option<PathBuf>,
    #[command(flatten)]
    at: At,
}

/// How a thing is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
enum State {
    Good,
    /// It works, and could be better.
    Weak,
    Bad,
}

/// What was looked at.
#[derive(Debug, Serialize)]
struct Finding {
    what: &'static str,
    state: State,
    says: String,
    /// What helps.
    #[serde(skip_serializing_if = "Option::is_none")]
    advice: Option<String>,
    /// What does not fit into a line.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    more: Vec<String>,
}

impl Finding {
    fn good(what: &'static str, says: impl Into<String>) -> Self {
        Self { what, state: State::Good, says: says.into(), advice: None, more: Vec::new() }
    }

    fn weak(what: &'static str, says: impl Into<String>, advice: impl Into<String>) -> Self {
        Self { state: State::Weak, advice: Some(advice.into()), ..Self::good(what, says) }
    }

    fn bad(what: &'static str, says: impl Into<String>, advice: impl Into<String>) -> Self {
        Self { state: State::Bad, advice: Some(advice.into()), ..Self::good(what, says) }
    }
}

/// Looks at everything.
///
/// # Errors
/// Standard output can't be written.
pub(crate) async fn doctor(options: &Doctor, format: Format) -> Result<Verdict> {
    let mut findings = vec![buffers(), files(), mtu(), offload()];
    let answer = options.at.ask(&Request::Counters).await;
    match answer {
        Ok(Answer::Counters(counters)) => {
            findings.push(Finding::good("agent", "it runs, and answers"));
            findings.extend(troubles(&counters));
            findings.extend(company(&options.at).await);
        }
        Ok(_) => findings.push(Finding::bad("agent", "it is of another version", "restart it")),
        Err(error) => {
            findings.push(Finding::weak(
                "agent",
                format!("{error:#}"),
                "`spinglass agent --region /somewhere` starts one",
            ));
            findings.extend(free_ports());
        }
    }
    findings.extend(options.papers());
    let is_good = findings.iter().all(|finding| finding.state != State::Bad);
    format.print(&findings, |findings| findings.iter().map(line).collect())?;
    Ok(Verdict::from(is_good))
}

fn line(finding: &Finding) -> String {
    let Finding { what, state, says, advice, more } = finding;
    let mark = match state {
        State::Good => "ok  ",
        State::Weak => "weak",
        State::Bad => "BAD ",
    };
    let advice = advice.as_ref().map(|advice| format!("{:18}{advice}\n", "")).unwrap_or_default();
    let more: String = more.iter().map(|line| format!("{:18}{line}\n", "")).collect();
    format!("{mark}  {what:12}{says}\n{advice}{more}")
}

/// A number that the system tells in a file.
fn number(path: impl AsRef<Path>) -> Option<u64> {
    fs::read_to_string(path).ok()?.trim().parse().ok()
}

fn buffers() -> Finding {
    let most = number("/proc/sys/net/core/rmem_max");
    match most {
        Some(bytes) if bytes < RECEIVE_BUFFER_BYTES => Finding::weak(
            "buffers",
            format!("the system gives a socket {} KiB at most", bytes >> 10),
            format!("sysctl -w net.core.rmem_max={RECEIVE_BUFFER_BYTES}: bursts are lost else"),
        ),
        _ => Finding::good("buffers", "a socket may buffer 4 MiB"),
    }
}

fn files() -> Finding {
    match getrlimit(Resource::Nofile).current {
        Some(limit) if limit < FILES => Finding::weak(
            "files",
            format!("this user's processes may open {limit}"),
            format!("ulimit -n {FILES}, or LimitNOFILE= in the unit"),
        ),
        limit => {
            let limit = limit.map_or_else(|| "any number of".into(), |limit| limit.to_string());
            Finding::good("files", format!("a process may open {limit}"))
        }
    }
}

fn mtu() -> Finding {
    let entries = fs::read_dir("/sys/class/net").into_iter().flatten().flatten();
    let mtus = entries.filter_map(|entry| {
        let name = entry.file_name().to_string_lossy().into_owned();
        Some((name, number(entry.path().join("mtu"))?))
    });
    let mut mtus: Vec<(String, u64)> = mtus.collect();
    mtus.sort();
    let all: Vec<String> = mtus.iter().map(|(name, mtu)| format!("{name} {mtu}")).collect();
    match mtus.iter().find(|(_, mtu)| *mtu < MTU_MIN) {
        Some((name, mtu)) => Finding::bad(
            "mtu",
            format!("{name} carries {mtu} bytes in one piece: datagrams of 1,200 do not fit"),
            format!("ip link set {name} mtu 1500, or --datagram {}", mtu.saturating_sub(80)),
        ),
        None => Finding::good("mtu", all.join(", ")),
    }
}

fn offload() -> Finding {
    let segments = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0))
        .and_then(|socket| UdpSocketState::new((&socket).into()))
        .map(|state| state.max_gso_segments());
    match segments {
        Ok(segments) if segments > 1 => {
            Finding::good("offload", format!("{segments} datagrams in one call"))
        }
        Ok(_) => Finding::weak(
            "offload",
            "the system takes one datagram a call",
            "a newer kernel (Linux 4.18 and later) sends many times as fast",
        ),
        Err(error) => {
            Finding::bad("offload", format!("no UDP socket: {error}"), "is there a network?")
        }
    }
}

/// Whether an agent could listen where it usually does.
fn free_ports() -> Vec<Finding> {
    let here = |port| SocketAddr::from((Ipv4Addr::LOCALHOST, port));
    let udp = UdpSocket::bind(here(PORT)).map(drop).map_err(|error| (PORT, error));
    let tcp = |port| TcpListener::bind(here(port)).map(drop).map_err(|error| (port, error));
    let taken = [udp, tcp(ports::HTTP.port()), tcp(ports::SQL.port())];
    let mut findings: Vec<Finding> = taken
        .into_iter()
        .filter_map(Result::err)
        .map(|(port, error)| {
            let says = format!("port {port} can't be had: {error}");
            Finding::weak("ports", says, "an agent takes any other; others then need to be told")
        })
        .collect();
    if findings.is_empty() {
        findings.push(Finding::good("ports", "7710, 7754 and 7780 are free"));
    }
    findings
}

fn troubles(counters: &BTreeMap<String, u64>) -> Vec<Finding> {
    let trouble = |(name, says, advice): (&str, &str, &str)| {
        let count = counters.get(name).copied().filter(|count| *count > 0)?;
        Some(Finding::weak("counters", format!("{says}: {count} ({name})"), advice))
    };
    let mut found: Vec<Finding> = TROUBLES.into_iter().filter_map(trouble).collect();
    if found.is_empty() {
        found.push(Finding::good("counters", "nothing that should stand still has moved"));
    }
    found
}

/// Whom the agent hears of, and whom it does not.
async fn company(at: &At) -> Vec<Finding> {
    let Ok(Answer::Zones(zones)) = at.ask(&Request::Zones { zone: None }).await else {
        return vec![Finding::bad("table", "the agent does not tell its table", "restart it")];
    };
    let others: usize = zones.iter().map(|zone| zone.rows.len().saturating_sub(1)).sum();
    if others == 0 {
        let advice = "seeds: --seeds HOST, and UDP 7710 open between them and this machine";
        return vec![Finding::weak("company", "the agent knows no other", advice)];
    }
    let mut findings = vec![Finding::good("company", told(&zones))];
    for zone in &zones {
        let silent = zone.rows.iter().filter(|row| !row.own && row.age > SILENT_SECONDS);
        findings.extend(silent.map(|row| {
            let says = format!("no news of {} in {} for {:.0} s", row.name, zone.path, row.age);
            Finding::weak("company", says, "does it run? does UDP 7710 get through both ways?")
        }));
        findings.extend(zone.errors.iter().map(|error| {
            let says = format!("a summary of {} has no value: {error}", zone.path);
            Finding::weak("summaries", says, "`spinglass summary explain` says what it costs")
        }));
        findings.extend(zone.region.then(|| reach(zone)));
    }
    findings
}

/// Who of the region hears whom, as each of them says.
fn reach(zone: &ZoneTold) -> Finding {
    let heard: Vec<(&str, Vec<&str>)> = zone
        .rows
        .iter()
        .map(|row| {
            let names = row.attributes.get(UNHEARD).and_then(Json::as_array);
            let names = names.into_iter().flatten().filter_map(Json::as_str).collect();
            (row.name.as_str(), names)
        })
        .collect();
    let blocked = heard.iter().map(|(_, unheard)| unheard.len()).sum::<usize>();
    if blocked == 0 {
        return Finding::good("reach", format!("nobody in {} misses anybody", zone.path));
    }
    let says = format!("{blocked} of {}'s paths carry nothing, each in one direction", zone.path);
    let advice = "a firewall between the two? UDP 7710 is to pass both ways; or --relay";
    Finding { more: matrix(&heard), ..Finding::weak("reach", says, advice) }
}

/// A line for each agent that some are not heard by, or all as far as they fit: `x` is who it does
/// not hear. Columns are agents by their numbers.
fn matrix(heard: &[(&str, Vec<&str>)]) -> Vec<String> {
    let is_concerned = |name: &str, unheard: &[&str]| {
        !unheard.is_empty() || heard.iter().any(|(_, others)| others.contains(&name))
    };
    let concerned: Vec<&(&str, Vec<&str>)> = heard
        .iter()
        .filter(|(name, unheard)| heard.len() <= MATRIX_MAX || is_concerned(name, unheard))
        .take(MATRIX_MAX)
        .collect();
    let widest = concerned.iter().map(|(name, _)| name.len()).max().unwrap_or(0);
    let head: String = (1..=concerned.len()).map(|number| format!("{number:>3}")).collect();
    let head = format!("{:widest$}     {head}  (a row hears what a column sends)", "");
    let line = |(number, (name, unheard)): (usize, &&(&str, Vec<&str>))| {
        let cells: String = concerned
            .iter()
            .map(|(other, _)| match *other {
                other if other == *name => "  -",
                other if unheard.contains(&other) => "  x",
                _ => "  .",
            })
            .collect();
        format!("{:>3} {name:widest$} {cells}", number + 1)
    };
    std::iter::once(head).chain(concerned.iter().enumerate().map(line)).collect()
}

fn told(zones: &[ZoneTold]) -> String {
    let count = |zone: &ZoneTold| {
        let what = if zone.region { "agents" } else { "zones" };
        format!("{} {what} in {}", zone.rows.len(), zone.path)
    };
    zones.iter().map(count).collect::<Vec<_>>().join(", ")
}

impl Doctor {
    /// Keys and certificates.
    fn papers(&self) -> Vec<Finding> {
        let mut findings = Vec::new();
        let key = |what, loaded: Result<(), String>| match loaded {
            Ok(()) => Finding::good(what, "it can be read, and by its owner alone"),
            Err(error) => {
                Finding::bad(what, error, "`spinglass keygen --help` says how to make one")
            }
        };
        if let Some(path) = &self.group_key {
            let loaded = GroupKeys::load(path).map(drop).map_err(|error| error.to_string());
            findings.push(key("group key", loaded));
        }
        if let Some(path) = &self.identity {
            let loaded = SigningKey::load(path).map(drop).map_err(|error| error.to_string());
            findings.push(key("identity", loaded));
        }
        findings.extend(self.certificate.as_deref().map(certificate));
        findings
    }
}

fn certificate(path: &Path) -> Finding {
    const WHAT: &str = "certificate";
    let renew = "`spinglass ca issue` makes a new one; the agent reads the file again by itself";
    let chain = match load_chain(path) {
        Ok(chain) => chain,
        Err(error) => return Finding::bad(WHAT, error.to_string(), renew),
    };
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
    let until = chain.iter().map(|certificate| certificate.not_after()).min().unwrap_or(0);
    match until.checked_sub(now).map(|left| left / 86_400) {
        None => Finding::bad(WHAT, "it holds no more", renew),
        Some(days) if days < DAYS_LEFT => {
            Finding::weak(WHAT, format!("it holds {days} more days"), renew)
        }
        Some(days) => Finding::good(WHAT, format!("it holds {days} more days")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_moved_is_told_with_what_helps() {
        let counters = BTreeMap::from([("packets_lost".to_owned(), 3), ("x".to_owned(), 1)]);
        let found = troubles(&counters);
        assert_eq!((found.len(), found[0].state), (1, State::Weak));
        assert!(line(&found[0]).contains("lost for good: 3") && found[0].advice.is_some());
        assert_eq!(troubles(&BTreeMap::new())[0].state, State::Good);
    }

    #[test]
    fn who_does_not_hear_whom_is_a_matrix() {
        let lines = matrix(&[("a", vec![]), ("bb", vec!["a", "c"]), ("c", vec!["bb"])]);
        let expected = [
            "         1  2  3  (a row hears what a column sends)",
            "  1 a    -  .  .",
            "  2 bb   x  -  x",
            "  3 c    .  x  -",
        ];
        assert_eq!(lines, expected);
        // Of many, only those concerned.
        let many: Vec<String> = (0..40).map(|number| format!("n{number:02}")).collect();
        let silent = |name: &String| if name == "n07" { vec!["n30"] } else { vec![] };
        let heard: Vec<(&str, Vec<&str>)> =
            many.iter().map(|name| (name.as_str(), silent(name))).collect();
        let lines = matrix(&heard);
        assert!(lines.len() == 3 && lines[1].contains("n07") && lines[2].contains("n30"));
    }
}
