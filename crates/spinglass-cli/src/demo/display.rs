//! The live display of the demo: a bar, rates, and a character per member.

use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use crate::member::protocol::Progress;
use crate::output::Format;

/// How often a display that is no terminal gets a line.
const PLAIN_INTERVAL: Duration = Duration::from_secs(3);

/// Shows how far the members are.
pub(crate) struct Display {
    bar: ProgressBar,
    pieces: u64,
    sleeping: Vec<bool>,
    last: Instant,
    last_delivered: u64,
    last_plain: Instant,
    format: Format,
}

impl Display {
    /// A display of `pieces` to deliver to each of `members`.
    pub(crate) fn new(pieces: u64, members: usize, sleeping: &[usize], format: Format) -> Self {
        let bar = ProgressBar::new(pieces);
        if format == Format::Json {
            bar.set_draw_target(ProgressDrawTarget::hidden());
        }
        let style = ProgressStyle::with_template(
            "  {bar:40.cyan/blue} {percent:>3} % of the file, {elapsed}\n  {msg}",
        );
        bar.set_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()));
        let sleeping = (0..members).map(|index| sleeping.contains(&index)).collect();
        let now = Instant::now();
        Self { bar, pieces, sleeping, last: now, last_delivered: 0, last_plain: now, format }
    }

    /// Shows the newest progress, in the members' order; the first one is the sender.
    /// `root` is the table's, in a line.
    pub(crate) fn show<'a>(&mut self, members: impl Iterator<Item = &'a Progress>, root: &str) {
        let members: Vec<&Progress> = members.collect();
        let receivers = members.get(1..).unwrap_or_default();
        let delivered: u64 = receivers.iter().map(|progress| progress.messages).sum();
        let repairs: u64 = receivers.iter().map(|progress| progress.repairs_received).sum();
        let gaps: u64 = receivers.iter().map(|progress| progress.gaps).sum();
        let seconds = self.last.elapsed().as_secs_f64().max(0.001);
        let rate = (delivered.saturating_sub(self.last_delivered)) as f64 / seconds;
        (self.last, self.last_delivered) = (Instant::now(), delivered);
        let healthy = receivers.iter().zip(self.sleeping.iter().skip(1));
        let slowest = healthy.filter(|(_, asleep)| !**asleep).map(|(p, _)| p.messages).min();
        let position = slowest.unwrap_or(0).min(self.pieces);
        self.bar.set_position(position);
        let marks: String =
            receivers.iter().zip(self.sleeping.iter().skip(1)).map(|(p, s)| mark(p, *s)).collect();
        let text = format!("{rate:>7.0} delivered/s  {repairs} repairs  {gaps} gaps  [{marks}]");
        self.bar.set_message(format!("{text}\n  {root}"));
        if self.bar.is_hidden() && self.last_plain.elapsed() >= PLAIN_INTERVAL {
            self.last_plain = Instant::now();
            self.format.say(&format!("  {:>3} %  {text}", position * 100 / self.pieces.max(1)));
            self.format.say(&format!("         {root}"));
        }
    }

    /// Ends the display.
    pub(crate) fn finish(&self) {
        self.bar.finish();
    }
}

/// One member in one character: `.` healthy, `z` a sleeper, a digit once it was told gaps.
fn mark(progress: &Progress, sleeps: bool) -> char {
    match progress.gaps {
        0 if sleeps => 'z',
        0 => '.',
        gaps => u32::try_from(gaps).ok().and_then(|gaps| char::from_digit(gaps, 10)).unwrap_or('+'),
    }
}
