//! What the library has to say, on standard error: a name that leads nowhere, a memory that is
//! damaged. Commands show warnings, in a line as their own; an agent logs as it is told to.

use std::fmt;
use std::sync::OnceLock;

use clap::{Args, ValueEnum};
use tracing::level_filters::LevelFilter;
use tracing::{Event, Level, Subscriber};
use tracing_subscriber::filter::Targets;
use tracing_subscriber::fmt::format::{Format, Writer};
use tracing_subscriber::fmt::{FmtContext, FormatEvent, FormatFields, Layer};
use tracing_subscriber::layer::{Layer as _, SubscriberExt as _};
use tracing_subscriber::registry::LookupSpan;
use tracing_subscriber::util::SubscriberInitExt as _;
use tracing_subscriber::{Registry, reload};

/// Whose words are shown: the library's, the doors', the relay's, and the agent's.
const SOURCE: &str = "spinglass";
/// Except of these, which the commands tell in words of their own.
const TOLD_ALREADY: &str = "spinglass::builder";

/// How lines look.
#[derive(Debug, Clone, Copy, ValueEnum)]
enum LogFormat {
    /// Time, level, source and text
    Text,
    /// One JSON object a line
    Json,
}

/// How much is shown.
#[derive(Debug, Clone, Copy, ValueEnum)]
enum LogLevel {
    /// What failed
    Error,
    /// And what may harm
    Warn,
    /// And what has changed: members, certificates, settings
    Info,
    /// And what clients of the doors did wrong
    Debug,
    /// And everything
    Trace,
}

impl LogLevel {
    const fn filter(self) -> LevelFilter {
        match self {
            Self::Error => LevelFilter::ERROR,
            Self::Warn => LevelFilter::WARN,
            Self::Info => LevelFilter::INFO,
            Self::Debug => LevelFilter::DEBUG,
            Self::Trace => LevelFilter::TRACE,
        }
    }
}

/// What a command that keeps running logs.
#[derive(Debug, Clone, Args)]
pub(crate) struct Logging {
    /// How lines of the log look, on standard error
    #[arg(long, value_name = "FORMAT", default_value = "text")]
    log_format: LogFormat,
    /// How much is logged
    #[arg(long, value_name = "LEVEL", default_value = "info")]
    log_level: LogLevel,
}

/// What turns the level while an agent runs.
static LEVEL: OnceLock<reload::Handle<Targets, Registry>> = OnceLock::new();

/// Shows a command's warnings from here on; where something is shown already, it does nothing.
pub(crate) fn show_warnings() {
    let layer = Layer::new().with_writer(std::io::stderr).with_ansi(false).event_format(Line);
    let shown = layer.with_filter(from(LevelFilter::WARN));
    // Whoever else is set shows them already.
    let _ = tracing_subscriber::registry().with(shown).try_init();
}

impl Logging {
    /// Logs from here on.
    pub(crate) fn start(&self) {
        let (filter, handle) = reload::Layer::new(from(self.log_level.filter()));
        let layer = Layer::new().with_writer(std::io::stderr).with_ansi(false);
        let layer = match self.log_format {
            LogFormat::Text => layer.event_format(Format::default().compact()).boxed(),
            LogFormat::Json => layer.json().flatten_event(true).boxed(),
        };
        if tracing_subscriber::registry().with(layer.with_filter(filter)).try_init().is_ok() {
            let _ = LEVEL.set(handle);
        }
    }

    /// Logs as much as this says, from here on.
    pub(crate) fn turn(&self) {
        if let Some(handle) = LEVEL.get() {
            // It is gone only with the process.
            let _ = handle.reload(from(self.log_level.filter()));
        }
    }
}

fn from(level: LevelFilter) -> Targets {
    Targets::new().with_target(SOURCE, level).with_target(TOLD_ALREADY, LevelFilter::OFF)
}

/// A line as a command's own: `spinglass: what, and what it is about`.
#[derive(Debug)]
struct Line;

impl<S, N> FormatEvent<S, N> for Line
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
{
    fn format_event(
        &self,
        context: &FmtContext<'_, S, N>,
        mut writer: Writer<'_>,
        event: &Event<'_>,
    ) -> fmt::Result {
        let level = *event.metadata().level();
        write!(writer, "spinglass: {}", if level == Level::ERROR { "error: " } else { "" })?;
        context.field_format().format_fields(writer.by_ref(), event)?;
        writeln!(writer)
    }
}
