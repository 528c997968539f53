//! The command `spinglass`: the demo, an agent and its table, a pipe into and out of a group, a
//! relay, keys, certificates, rules, plans, benchmarks and experiments.
//!
//! Exit codes: 0 all is well; 1 it failed, or what it checks does not hold; 2 wrong usage; 130
//! interrupted.

mod agent;
mod allocator;
mod bench;
mod ca;
mod clock;
mod demo;
mod herd;
mod join;
mod keygen;
mod lab;
mod logs;
mod measure;
mod member;
mod network;
mod output;
mod papers;
mod pipe;
mod plan;
mod policy;
mod ports;
mod relay;
mod replay;
mod shell;
mod sleepers;
mod statistics;
mod top;

use std::ffi::OsString;
use std::process::ExitCode;

use anyhow::Result;
use clap::{CommandFactory as _, FromArgMatches as _, Parser, Subcommand};
use tokio::runtime::Handle;
use tokio::signal::unix::{SignalKind, signal};

use output::{Format, Verdict};

/// Talks to very many machines at once, and stays steady where others melt
#[derive(Debug, Parser)]
#[command(name = "spinglass", version, propagate_version = true)]
#[command(after_help = "\
Start here:
  spinglass demo                         32 processes, a real file, loss and sleepers: 20 seconds
  spinglass recv logs                    in one terminal, and in another:
  tail -f log | spinglass send logs
  spinglass agent --region /usa/ithaca   an agent; `spinglass table` shows what it knows

Every command explains itself with --help and speaks JSON with --json.")]
struct Cli {
    #[command(subcommand)]
    command: Command,
    /// Print one JSON object instead of text
    #[arg(long, global = true)]
    json: bool,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Stream a real file to 32 processes while some sleep and packets are lost
    Demo(demo::Demo),
    /// Send standard input to a topic, a message a line
    Send(pipe::Send),
    /// Print a topic's messages
    #[command(visible_alias = "sub")]
    Recv(pipe::Recv),
    /// Run an agent: take part in the table of all machines until Ctrl-C or `spinglass leave`
    #[command(visible_alias = "join")]
    Agent(Box<agent::Agent>),
    /// Show the table of all machines as this machine's agent holds it, and set what it says
    Table(agent::TableCommand),
    /// Show the table in a terminal, live, a zone at a time
    Top(top::Top),
    /// Find hosts anywhere, by SQL
    Query(agent::QueryCommand),
    /// Install, list, remove and explain the functions that summarise zones
    #[command(subcommand)]
    Summary(agent::SummaryCommand),
    /// Say what is wrong with this machine or its agent, and what to do
    Doctor(agent::Doctor),
    /// List the members that this machine's agent knows
    Members(agent::Ask),
    /// Ask this machine's agent to say good-bye and stop
    Leave(agent::Ask),
    /// Give the group a new link key, or say which it has
    #[command(subcommand)]
    Keys(agent::KeysCommand),
    /// Answer an attack: revoke, rekey, quarantine, change the way that packets go
    #[command(subcommand)]
    Respond(agent::RespondCommand),
    /// Carry sealed datagrams for members that may only open TCP connections
    Relay(relay::Relay),
    /// Make a group key or an identity key
    Keygen(keygen::Keygen),
    /// Issue, revoke, show and verify certificates
    #[command(subcommand)]
    Ca(ca::Ca),
    /// Say who may do what by a file of rules
    #[command(subcommand)]
    Policy(policy::PolicyCommand),
    /// Say what a reliability costs
    Plan(plan::PlanOptions),
    /// Run a recording through the same protocol code again, and compare
    Replay(replay::Replay),
    /// Measure rates and costs with members as processes
    #[command(subcommand)]
    Bench(bench::Bench),
    /// Repeat the papers' experiments, in the simulator or with real processes
    #[command(subcommand)]
    Lab(lab::Lab),
    /// Print what completes these commands in a shell
    Completions(shell::Completions),
    /// Write the manual's pages
    Man(shell::Man),
    /// A member's process, conducted by another command
    #[command(hide = true)]
    Member,
}

/// Exit code of a command that was told what it can't be told.
const WRONG_USAGE: u8 = 2;
/// Exit code of an interrupted command, by the shells' custom: 128 and the signal's number.
const INTERRUPTED: u8 = 130;

fn main() -> ExitCode {
    let cli = match Cli::read() {
        Ok(cli) => cli,
        Err(error) => {
            eprintln!("spinglass: {error:#}");
            return ExitCode::from(WRONG_USAGE);
        }
    };
    let format = if cli.json { Format::Json } else { Format::Text };
    // One thread: the kernel ties a child's end to the thread that started it.
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = match runtime {
        Ok(runtime) => runtime,
        Err(error) => {
            eprintln!("spinglass: cannot start: {error}");
            return ExitCode::FAILURE;
        }
    };
    let code = runtime.block_on(run_until_interrupted(cli.command, format));
    // A thread may be waiting for standard input, or compute on; nobody waits for it.
    runtime.shutdown_background();
    code
}

impl Cli {
    /// Reads the command line, and with an agent's its environment and its file.
    fn read() -> Result<Self> {
        let arguments: Vec<OsString> = std::env::args_os().collect();
        if !agent::is_named_in(&arguments) {
            return Ok(Self::parse_from(arguments));
        }
        let command = agent::with_variables(Self::command());
        let matches = command.clone().get_matches_from(&arguments);
        let agent::Completed { matches, attributes } =
            agent::complete(&command, matches, &arguments)?;
        let mut cli = Self::from_arg_matches(&matches)?;
        if let Command::Agent(agent) = &mut cli.command {
            agent.complete(attributes, agent::told(&command, &matches));
        }
        Ok(cli)
    }
}

impl Command {
    /// Whether it computes, and neither waits nor has children: it would not look up when it is
    /// interrupted.
    const fn computes(&self) -> bool {
        match self {
            Self::Lab(lab) => !lab.is_real(),
            Self::Replay(_) => true,
            _ => false,
        }
    }
}

async fn run_until_interrupted(command: Command, format: Format) -> ExitCode {
    let computes = command.computes();
    // What has a file of settings reads it again; for anything else the terminal is gone.
    let ends_at_hang_up = !matches!(&command, Command::Agent(agent) if agent.has_file());
    let mut task = if computes {
        let runtime = Handle::current();
        tokio::task::spawn_blocking(move || runtime.block_on(run(&command, format)))
    } else {
        // A task of its own: waking what `block_on` runs takes a system call each time.
        tokio::spawn(async move { run(&command, format).await })
    };
    let outcome = tokio::select! {
        outcome = &mut task => outcome.unwrap_or_else(|panic| Err(panic.into())),
        interrupted = interruption(ends_at_hang_up) => {
            if !computes {
                // Dropping the command ends its children.
                task.abort();
                let _ = task.await;
            }
            match interrupted {
                Ok(()) => return ExitCode::from(INTERRUPTED),
                Err(error) => Err(error),
            }
        }
    };
    match outcome {
        Ok(Verdict::Good) => ExitCode::SUCCESS,
        Ok(Verdict::Bad) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("spinglass: {error:#}");
            ExitCode::FAILURE
        }
    }
}

/// Returns when the process is asked to end.
async fn interruption(or_hang_up: bool) -> Result<()> {
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut terminate = signal(SignalKind::terminate())?;
    let mut hang_up = signal(SignalKind::hangup())?;
    tokio::select! {
        _ = interrupt.recv() => (),
        _ = terminate.recv() => (),
        _ = hang_up.recv(), if or_hang_up => (),
    }
    Ok(())
}

async fn run(command: &Command, format: Format) -> Result<Verdict> {
    match command {
        Command::Demo(options) => demo::run(options, format).await,
        Command::Send(options) => pipe::send(options, format).await,
        Command::Recv(options) => pipe::recv(options, format).await,
        Command::Agent(options) => agent::agent(options, format).await,
        Command::Table(command) => agent::table(command, format).await,
        Command::Top(options) => top::top(options).await,
        Command::Doctor(options) => agent::doctor(options, format).await,
        Command::Query(command) => agent::query(command, format).await,
        Command::Summary(command) => agent::summary(command, format).await,
        Command::Members(options) => agent::members(options, format).await,
        Command::Leave(options) => agent::leave(options, format).await,
        Command::Keys(command) => agent::keys(command, format).await,
        Command::Respond(command) => agent::respond(command, format).await,
        Command::Relay(options) => relay::run(options, format).await,
        Command::Replay(options) => replay::run(options, format),
        Command::Keygen(options) => keygen::run(options, format),
        Command::Ca(command) => ca::run(command, format),
        Command::Policy(command) => policy::run(command, format),
        Command::Plan(options) => plan::run(options, format),
        Command::Bench(bench) => bench::run(bench, format).await,
        Command::Lab(lab) => lab::run(lab, format).await,
        Command::Completions(options) => shell::completions(options),
        Command::Man(options) => shell::man(options, format),
        Command::Member => member::run().await.map(|()| Verdict::Good),
    }
}
