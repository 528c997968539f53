//! `spinglass lab doors`: a real agent with all its doors open, among many: how soon it answers,
//! what it costs, and whether clients that misbehave delay it.

mod abuse;
mod client;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::Stdio;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use clap::Args;
use rustix::process::Pid;
use serde::Serialize;
use serde_json::Value as Json;
use spinglass::{Config, GroupKeys, Node};
use spinglass_core::Prng;
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::UnixStream;
use tokio::process::{Child, Command};
use tokio::time::timeout;

use super::fleet::allow_files;
use crate::herd::{processor_seconds, resident};
use crate::output::{Format, Verdict, table};
use client::Client;

/// Options of `lab doors`.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  spinglass lab doors                       1,000 agents in this process, and one of its own
  spinglass lab doors --agents 100 --seconds 5

The agent is a process of its own, as a user starts it, in a region of --zone; all others are in
this process. Hosts are asked for by SQL, all of them; zones are read from the agent's memory. Then
it is left alone, and then abused: 1,000 connections that say nothing, clients that take nothing or
ask what never ends, messages that are none. Meanwhile its socket is asked again and again: an
answer is as late as the agent's own rounds are.")]
pub(crate) struct Doors {
    /// How many agents
    #[arg(long, default_value_t = 1000, value_parser = clap::value_parser!(u32).range(2..=5000))]
    agents: u32,
    /// Agents of the agent's own region
    #[arg(long, default_value_t = 64, value_parser = clap::value_parser!(u32).range(2..=256))]
    zone: u32,
    /// Seconds of each measurement
    #[arg(long, default_value_t = 20.0)]
    seconds: f64,
    /// The seed of what is sent to the doors that is no message
    #[arg(long, default_value_t = 1)]
    seed: u64,
}

/// Agents that all others join by.
const SEEDS: usize = 3;
/// How long they may take to become one system.
const FORM_TIME: Duration = Duration::from_secs(600);
/// Times that all hosts are asked for.
const QUERIES: usize = 21;
/// Connections that do nothing.
const IDLE_CONNECTIONS: usize = 100;
/// How often the agent is asked whether it is late.
const PROBE_EVERY: Duration = Duration::from_millis(20);
/// Time between two questions for all hosts, and after the abuse until all clients are gone.
const BETWEEN_QUERIES: Duration = Duration::from_millis(200);
const AFTER: Duration = Duration::from_secs(3);
const HOSTS: &str = "SELECT zone, id, load FROM hosts";

/// How late answers were, in milliseconds.
#[derive(Debug, Serialize)]
struct Late {
    p50_ms: f64,
    p99_ms: f64,
    most_ms: f64,
    probes: usize,
}

/// What was seen.
#[derive(Debug, Serialize)]
struct Report {
    agents: usize,
    join_seconds: f64,
    #[serde(flatten)]
    answers: Answers,
    #[serde(flatten)]
    alone: Alone,
    #[serde(flatten)]
    abused: Abused,
    seed: u64,
}

/// How soon it answers.
#[derive(Debug, Serialize)]
struct Answers {
    /// Rows that a query of all hosts gave, and how long it took.
    hosts: usize,
    hosts_p50_ms: f64,
    hosts_most_ms: f64,
    /// Queries of a zone in memory: a second, by one client, and per second of the agent's
    /// processor time.
    local_per_second: f64,
    local_per_core_second: f64,
}

/// The agent, left alone with all doors open.
#[derive(Debug, Serialize)]
struct Alone {
    /// What so many connections that do nothing cost.
    connections: usize,
    connections_bytes: u64,
    resident_bytes: u64,
    private_bytes: u64,
    processor_percent: f64,
    quiet: Late,
}

/// The agent, while clients misbehave.
#[derive(Debug, Serialize)]
struct Abused {
    abused: Late,
    half_open: usize,
    malformed: usize,
    endless: usize,
    slow: usize,
    abused_resident_bytes: u64,
    /// What it holds when all have gone.
    after_resident_bytes: u64,
}

/// Runs it.
///
/// # Errors
/// The agents can't be run, or do not become one system.
pub(super) async fn run(options: &Doors, format: Format) -> Result<Verdict> {
    let agents = usize::try_from(options.agents)?;
    allow_files(u64::from(options.agents) + 4000).context("so many need more open files")?;
    let lasts = Duration::from_secs_f64(options.seconds.clamp(1.0, 600.0));
    let begin = Instant::now();
    format.say(&format!("starting {} agents in this process, and one of its own", agents - 1));
    let key = spinglass_crypto::random();
    let nodes = start(options, key).await?;
    let mut agent = Agent::start(&nodes, key).await?;
    let mut client = Client::connect(agent.sql).await?;
    wait_for_all(&mut client, agents).await?;
    let join_seconds = begin.elapsed().as_secs_f64();
    format.say(&format!("one system after {join_seconds:.0} s; asking"));
    let answers = answers(&agent, client, lasts).await?;
    format.say("leaving it alone");
    let alone = alone(&agent, lasts).await?;
    format.say("abusing its doors");
    let abused = abused(&agent, options.seed, lasts).await?;
    agent.process.kill().await?;
    let report = Report { agents, join_seconds, answers, alone, abused, seed: options.seed };
    format.print(&report, text)?;
    Ok(Verdict::Good)
}

async fn answers(agent: &Agent, mut client: Client, lasts: Duration) -> Result<Answers> {
    let mut taken = Vec::new();
    let mut hosts = 0;
    for _ in 0..QUERIES {
        // Zones keep their answers for a while, and this is about those that they compute.
        tokio::time::sleep(BETWEEN_QUERIES).await;
        let asked = Instant::now();
        hosts = client.ask(HOSTS).await?;
        taken.push(asked.elapsed().as_secs_f64() * 1e3);
    }
    taken.sort_by(f64::total_cmp);
    let (local_per_second, local_per_core_second) = local(agent, &mut client, lasts).await?;
    Ok(Answers {
        hosts,
        hosts_p50_ms: taken.get(taken.len() / 2).copied().unwrap_or(f64::NAN),
        hosts_most_ms: taken.last().copied().unwrap_or(f64::NAN),
        local_per_second,
        local_per_core_second,
    })
}

async fn alone(agent: &Agent, lasts: Duration) -> Result<Alone> {
    let before = agent.resident()?.bytes;
    let mut idle = Vec::new();
    for _ in 0..IDLE_CONNECTIONS {
        idle.push(Client::connect(agent.sql).await?);
    }
    let connections_bytes = agent.resident()?.bytes.saturating_sub(before);
    drop(idle);
    let (used, begin) = (agent.processor_seconds()?, Instant::now());
    tokio::time::sleep(lasts).await;
    let seconds = begin.elapsed().as_secs_f64();
    let processor_percent = (agent.processor_seconds()? - used) / seconds * 100.0;
    let resident = agent.resident()?;
    let (quiet, ()) = late(&agent.socket, tokio::time::sleep(lasts)).await?;
    Ok(Alone {
        connections: IDLE_CONNECTIONS,
        connections_bytes,
        resident_bytes: resident.bytes,
        private_bytes: resident.private_bytes,
        processor_percent,
        quiet,
    })
}

async fn abused(agent: &Agent, seed: u64, lasts: Duration) -> Result<Abused> {
    let mut most = 0;
    let during = async {
        let watch = async {
            loop {
                most = most.max(agent.resident().map_or(0, |resident| resident.bytes));
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        };
        tokio::select! {
            done = abuse::abuse(agent.sql, agent.http, seed, lasts) => done,
            () = watch => abuse::Done::default(),
        }
    };
    let (abused, done) = late(&agent.socket, during).await?;
    tokio::time::sleep(AFTER).await;
    let abuse::Done { half_open, malformed, endless, slow } = done;
    let after_resident_bytes = agent.resident()?.bytes;
    let abused_resident_bytes = most;
    Ok(Abused {
        abused,
        half_open,
        malformed,
        endless,
        slow,
        abused_resident_bytes,
        after_resident_bytes,
    })
}

/// All agents but one: the first ones in the region of that one, all others in regions of a fourth
/// of its size.
async fn start(options: &Doors, key: [u8; 32]) -> Result<Vec<Node>> {
    let mut rng = Prng::new(options.seed).fork("seeds");
    let mut nodes: Vec<Node> = Vec::new();
    let others = (options.zone / 4).max(2);
    for agent in 1..options.agents {
        let region = match agent.checked_sub(options.zone) {
            None => "/here/region".to_owned(),
            Some(more) => format!("/there{}/region{}", more / (others * 8), more / others % 8),
        };
        let mut config = Config::lan();
        // Nobody publishes, and a thousand agents in one thread have enough to do.
        config.multicast.round = Duration::from_secs(3600);
        let chosen: [usize; SEEDS] = std::array::from_fn(|_| rng.index(nodes.len()));
        let seeds = chosen.iter().filter_map(|seed| nodes.get(*seed)).map(Node::local_addr);
        let builder = Node::builder()
            .config(config)
            .group_key(GroupKeys::from_key(key))
            .region(region)
            .name(format!("n{agent:04}"))
            .seeds(seeds);
        let node = builder.start().await.with_context(|| format!("agent {agent}"))?;
        node.table().set("load", i64::from(agent % 7)).await?;
        nodes.push(node);
    }
    Ok(nodes)
}

async fn wait_for_all(client: &mut Client, agents: usize) -> Result<()> {
    let whole = async {
        while client.ask(HOSTS).await.unwrap_or(0) < agents {
            tokio::time::sleep(Duration::from_millis(500)).await;
        }
    };
    timeout(FORM_TIME, whole).await.context("the agents do not become one system")
}

/// Queries of the own region, from memory.
async fn local(agent: &Agent, client: &mut Client, lasts: Duration) -> Result<(f64, f64)> {
    let sql = "SELECT name, load FROM \"/here/region\" WHERE load > 3";
    let (used, begin) = (agent.processor_seconds()?, Instant::now());
    let mut asked = 0_u32;
    while begin.elapsed() < lasts {
        client.ask(sql).await?;
        asked += 1;
    }
    let (seconds, used) = (begin.elapsed().as_secs_f64(), agent.processor_seconds()? - used);
    Ok((f64::from(asked) / seconds, f64::from(asked) / used))
}

/// How late the agent's answers are while something goes on: its socket is served by the thread
/// that its rounds run on.
async fn late<T>(socket: &PathBuf, during: impl Future<Output = T>) -> Result<(Late, T)> {
    let mut stream = BufReader::new(UnixStream::connect(socket).await?);
    let mut taken = Vec::new();
    let probe = async {
        loop {
            let asked = Instant::now();
            stream.get_mut().write_all(b"{\"request\":\"epoch\"}\n").await?;
            let mut answer = String::new();
            (&mut stream).take(1 << 20).read_line(&mut answer).await?;
            taken.push(asked.elapsed().as_secs_f64() * 1e3);
            tokio::time::sleep(PROBE_EVERY).await;
        }
    };
    let outcome = tokio::select! {
        outcome = during => outcome,
        ended = probe => {
            let ended: Result<T> = ended;
            ended?
        }
    };
    taken.sort_by(f64::total_cmp);
    let at = |share: f64| {
        let index = (taken.len() as f64 * share) as usize;
        taken.get(index.min(taken.len().saturating_sub(1))).copied().unwrap_or(f64::NAN)
    };
    let (p50_ms, p99_ms, most_ms) = (at(0.5), at(0.99), at(1.0));
    Ok((Late { p50_ms, p99_ms, most_ms, probes: taken.len() }, outcome))
}

/// The agent that is a process.
#[derive(Debug)]
struct Agent {
    process: Child,
    pid: Pid,
    sql: SocketAddr,
    http: SocketAddr,
    socket: PathBuf,
    folder: PathBuf,
}

impl Agent {
    async fn start(nodes: &[Node], key: [u8; 32]) -> Result<Self> {
        let folder = std::env::temp_dir().join(format!("spinglass-doors-{}", std::process::id()));
        std::fs::create_dir_all(&folder)?;
        let (socket, group) = (folder.join("agent.sock"), folder.join("group.key"));
        GroupKeys::from_key(key).store(&group, true)?;
        let seeds: Vec<String> =
            nodes.iter().take(SEEDS).map(|node| node.local_addr().to_string()).collect();
        let mut command = Command::new(std::env::current_exe()?);
        command.args(["agent", "--json", "--bind", "127.0.0.1:0", "--region", "/here/region"]);
        command.args(["--name", "here", "--sql", "127.0.0.1:0", "--http", "127.0.0.1:0"]);
        command.args(["--set", "load=5", "--seeds", &seeds.join(",")]);
        command.arg("--group-key").arg(&group).arg("--socket").arg(&socket);
        command.stdin(Stdio::null()).stdout(Stdio::piped()).kill_on_drop(true);
        let mut process = command.spawn().context("cannot start the agent")?;
        let out = process.stdout.take().context("it is piped")?;
        let mut line = String::new();
        BufReader::new(out).read_line(&mut line).await?;
        let started: Json = serde_json::from_str(&line).context("the agent did not start")?;
        let at = |door: &str| -> Result<SocketAddr> {
            Ok(started[door].as_str().context("the agent has no such door")?.parse()?)
        };
        let pid = process.id().and_then(|pid| Pid::from_raw(i32::try_from(pid).ok()?));
        let pid = pid.context("the agent is gone")?;
        Ok(Self { sql: at("sql")?, http: at("http")?, process, pid, socket, folder })
    }

    fn resident(&self) -> Result<crate::herd::Resident> {
        resident(self.pid).context("the agent can't be looked at")
    }

    fn processor_seconds(&self) -> Result<f64> {
        processor_seconds(self.pid).context("the agent can't be looked at")
    }
}

impl Drop for Agent {
    fn drop(&mut self) {
        // What stays behind is a few files among temporary ones.
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}

fn text(report: &Report) -> String {
    let megabytes = |bytes: u64| format!("{:.1} MB", bytes as f64 / 1e6);
    let late = |late: &Late| {
        format!("p50 {:.2} ms, p99 {:.2} ms, most {:.1} ms", late.p50_ms, late.p99_ms, late.most_ms)
    };
    let Report { answers, alone, abused, .. } = report;
    let abuse = format!(
        "{} silent, {} malformed, {} endless, {} slow",
        abused.half_open, abused.malformed, abused.endless, abused.slow
    );
    let rows = [
        ("agents", report.agents.to_string()),
        (
            "all hosts",
            format!(
                "{} rows, p50 {:.0} ms, most {:.0} ms",
                answers.hosts, answers.hosts_p50_ms, answers.hosts_most_ms
            ),
        ),
        (
            "a zone in memory",
            format!(
                "{:.0}/s, {:.0} per second of a core",
                answers.local_per_second, answers.local_per_core_second
            ),
        ),
        ("100 connections", megabytes(alone.connections_bytes)),
        ("memory, alone", megabytes(alone.resident_bytes)),
        ("processor, alone", format!("{:.2} % of a core", alone.processor_percent)),
        ("late, alone", late(&alone.quiet)),
        ("late, abused", late(&abused.abused)),
        ("abuse", abuse),
        ("memory, abused", megabytes(abused.abused_resident_bytes)),
        ("memory, after", megabytes(abused.after_resident_bytes)),
    ];
    let rows: Vec<Vec<String>> =
        rows.into_iter().map(|(name, value)| vec![name.to_owned(), value]).collect();
    table(&["doors", ""], &rows)
}
