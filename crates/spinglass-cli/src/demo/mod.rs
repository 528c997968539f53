//! `spinglass demo`: a real file to dozens of real processes, while some sleep and packets are
//! lost; and a table of three regions that follows what changes in one of them.

mod console;
mod display;
pub(crate) mod plot;
mod report;
mod table;

use std::io::{self, BufRead as _, IsTerminal as _};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::thread;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use clap::Args;
use tokio::sync::mpsc;
use tokio::time::{Instant, timeout_at};

use crate::herd::Herd;
use crate::member::protocol::{Order, Setup};
use crate::network::{Mode, Spread};
use crate::output::{Format, Verdict};
use crate::sleepers::Sleepers;
use display::Display;
use report::Report;
use table::Act;

/// Options of `demo`.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  spinglass demo                               32 processes, this program's own file
  spinglass demo --file big.iso --members 16
  tail -f /var/log/syslog | spinglass demo     the file, then what comes in live
  spinglass demo --loss 0.2 --asleep 0.5       worse weather
  spinglass demo --json | jq .verified
  spinglass demo --console                     a page with sliders, until Ctrl-C

One member sends; the others receive. A quarter of them are stopped and continued (SIGSTOP, SIGCONT)
in random slots of 100 ms; every member drops 5 % of the packets that reach it. Healthy members must
end with the file whole, by its BLAKE3 hash; a sleeper with the file whole or every gap told.

Meanwhile the members are agents of three regions. A summary is installed, one machine's load
changes, and the table's root, as another region's member sees it, follows.")]
pub(crate) struct Demo {
    /// How many members, each a process
    #[arg(long, default_value_t = 32, value_parser = clap::value_parser!(u16).range(2..=256))]
    members: u16,
    /// The file to stream [default: this program's own]
    #[arg(long)]
    file: Option<PathBuf>,
    /// How long the file takes, in seconds: it is paced accordingly
    #[arg(long, default_value_t = 12.0, value_parser = seconds)]
    seconds: f64,
    /// The share of packets that each member drops
    #[arg(long, default_value_t = 0.05, value_parser = crate::plan::share)]
    loss: f64,
    /// The share of members that are stopped and continued
    #[arg(long, default_value_t = 0.25, value_parser = crate::plan::share)]
    sleepers: f64,
    /// The share of slots in which a sleeper is stopped
    #[arg(long, default_value_t = 0.5, value_parser = crate::plan::share)]
    asleep: f64,
    /// Stream without end, and show it on a page: with sliders for who sleeps and what is lost
    #[arg(long, conflicts_with_all = ["file", "seconds", "svg", "live_seconds"])]
    console: bool,
    /// Where that page is, on this machine [default: 127.0.0.1:7780, or any port if that is taken]
    #[arg(long, value_name = "ADDRESS:PORT", requires = "console")]
    http: Option<SocketAddr>,
    /// How packets are spread
    #[arg(long, value_enum, default_value_t = Mode::Auto)]
    mode: Mode,
    /// Where the drawing goes [default: spinglass-demo.svg among the temporary files]
    #[arg(long)]
    svg: Option<PathBuf>,
    /// How long live lines are taken from standard input after the file, in seconds
    #[arg(long, default_value_t = 5.0, value_parser = seconds)]
    live_seconds: f64,
    /// The seed of who sleeps when
    #[arg(long, default_value_t = 1)]
    seed: u64,
}

fn seconds(text: &str) -> Result<f64, String> {
    let seconds: f64 = text.parse().map_err(|error| format!("{error}"))?;
    let ok = (0.0..=3600.0).contains(&seconds);
    if ok { Ok(seconds) } else { Err("seconds lie between 0 and 3600".into()) }
}

/// The width of a bin of the plot, as in the papers.
const BIN: Duration = Duration::from_millis(500);
/// How often members report progress, in milliseconds.
const PROGRESS_MS: u64 = 200;
/// Bytes of a piece of the file at most: four of the papers' messages of 7 KB.
const PIECE_BYTES_MAX: u64 = 28_672;
/// Pieces that the file is cut into at least, if it has so many bytes, for a smooth plot.
const PIECES_MIN: u64 = 1000;
/// How much longer than planned the sender may take before the demo gives up.
const SENDER_GRACE: Duration = Duration::from_secs(20);
/// How long members may take to have everything once the sender has finished.
const SETTLE_TIME: Duration = Duration::from_secs(6);
/// How long an input that is no terminal may be silent before it is taken for empty.
const SILENT_INPUT: Duration = Duration::from_secs(1);

/// What is streamed, how it is cut and how fast it goes.
#[derive(Debug)]
pub(crate) struct Stream {
    file: PathBuf,
    file_bytes: u64,
    piece_bytes: u64,
    pieces: u64,
    rate: f64,
}

impl Stream {
    fn plan(options: &Demo) -> Result<Self> {
        let file = match &options.file {
            Some(file) => file.clone(),
            None => std::env::current_exe().context("cannot find this program's own file")?,
        };
        let file_bytes = std::fs::metadata(&file)
            .with_context(|| format!("cannot read {}: name another with --file", file.display()))?
            .len();
        ensure!(file_bytes > 0, "{} is empty: name another with --file", file.display());
        let piece_bytes = (file_bytes / PIECES_MIN).clamp(1, PIECE_BYTES_MAX);
        let pieces = file_bytes.div_ceil(piece_bytes);
        let rate = pieces as f64 / options.seconds.max(0.1);
        Ok(Self { file, file_bytes, piece_bytes, pieces, rate })
    }
}

/// Runs the demo.
///
/// # Errors
/// It could not be run; that members missed something is no error but a verdict.
pub(crate) async fn run(options: &Demo, format: Format) -> Result<Verdict> {
    if options.console {
        return console::run(options, options.http, format).await;
    }
    let stream = Stream::plan(options)?;
    let spread = Spread::choose(options.mode)?;
    let count = usize::from(options.members);
    let started = Instant::now();
    format.say(&format!(
        "starting {count} members as processes on loopback; packets go by {}",
        spread.name()
    ));
    let setup =
        Setup { drop_probability: options.loss, progress_ms: PROGRESS_MS, ..spread.setup(None) };
    let setup = table::setup(setup);
    let mut herd = Herd::start(count, &setup).await?;
    let sleeping = sleepers_of(&herd, options.sleepers);
    format.say(&format!(
        "streaming {} ({:.1} MB) at {:.0} messages/s; {} members sleep in random 100 ms slots; \
         every member drops {:.0} % of its packets",
        stream.file.display(),
        stream.file_bytes as f64 / 1e6,
        stream.rate,
        sleeping.len(),
        options.loss * 100.0
    ));
    let step = herd.begin_step(BIN).await?;
    let sleepers = {
        let pids = herd.pids();
        let pids = sleeping.iter().filter_map(|index| pids.get(*index).copied()).collect();
        Sleepers::start(pids, options.asleep, options.seed)
    };
    let act = stream_file(&mut herd, &stream, &sleeping, options, format).await?;
    let seen = act.finish(&mut herd).await?;
    let lines = stream_live(&mut herd, options, format).await?;
    drop(sleepers);
    let tallies = settle(&mut herd, &stream, lines).await?;
    herd.end().await;
    let found = (&tallies[..], seen);
    let report = Report::new(&stream, options, &spread, &sleeping, found, lines, step.bin_ns);
    let svg = options.svg.clone();
    let svg = svg.unwrap_or_else(|| std::env::temp_dir().join("spinglass-demo.svg"));
    std::fs::write(&svg, plot::as_svg(&report.throughput())).with_context(|| {
        format!("cannot write {}: name another place with --svg", svg.display())
    })?;
    report.print(&svg, started.elapsed(), format)?;
    Ok(report.is_good().into())
}

/// The last members of the herd sleep; the first one sends and never does.
fn sleepers_of(herd: &Herd, share: f64) -> Vec<usize> {
    let count = herd.count();
    // In range: a share of the count.
    let sleepers = ((count as f64 * share).round() as usize).min(count - 1);
    (count - sleepers..count).collect()
}

async fn stream_file(
    herd: &mut Herd,
    stream: &Stream,
    sleeping: &[usize],
    options: &Demo,
    format: Format,
) -> Result<Act> {
    let mut act = Act::begin(herd, sleeping, options.seconds).await?;
    let begun = Instant::now();
    let order = Order::Stream {
        file: stream.file.clone(),
        piece_bytes: stream.piece_bytes.try_into().unwrap_or(usize::MAX),
        rate: stream.rate,
    };
    herd.order(0, &order).await?;
    let mut display = Display::new(stream.pieces, herd.count(), sleeping, format);
    let end = Instant::now() + Duration::from_secs_f64(options.seconds) + SENDER_GRACE;
    loop {
        let tick = Instant::now() + Duration::from_millis(PROGRESS_MS);
        let published = herd.watch_until(tick).await?;
        act.go_on(herd, begun.elapsed()).await?;
        display.show(herd.progress(), &Act::line(herd));
        if published {
            display.finish();
            return Ok(act);
        }
        ensure!(Instant::now() < end, "the sender did not finish in time");
    }
}

/// Publishes what comes in on standard input, if it is no terminal; returns how many lines.
async fn stream_live(herd: &mut Herd, options: &Demo, format: Format) -> Result<u64> {
    if io::stdin().is_terminal() {
        return Ok(0);
    }
    let (sender, mut lines) = mpsc::channel(64);
    thread::spawn(move || {
        for line in io::stdin().lock().lines().map_while(Result::ok) {
            if sender.blocking_send(line).is_err() {
                return;
            }
        }
    });
    let end = Instant::now() + Duration::from_secs_f64(options.live_seconds);
    let mut count = 0;
    loop {
        let patience = if count == 0 { end.min(Instant::now() + SILENT_INPUT) } else { end };
        let Ok(Some(text)) = timeout_at(patience, lines.recv()).await else { break };
        herd.order(0, &Order::Line { text }).await?;
        count += 1;
    }
    if count > 0 {
        format.say(&format!("streamed {count} live lines from standard input"));
    }
    Ok(count)
}

/// Waits until every receiver has everything, or has been told what it will not get.
async fn settle(
    herd: &mut Herd,
    stream: &Stream,
    lines: u64,
) -> Result<Vec<crate::member::protocol::Tally>> {
    let end = Instant::now() + SETTLE_TIME;
    loop {
        let tallies = herd.tallies().await?;
        let settled = tallies.iter().skip(1).all(|tally| {
            tally.next >= stream.pieces && tally.announced.is_some() && tally.lines >= lines
        });
        if settled || Instant::now() > end {
            return Ok(tallies);
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}
