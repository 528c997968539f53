//! `spinglass top`: the table of all machines in a terminal, live: drill down with the arrow keys.

mod screen;

use std::io::{self, IsTerminal as _};
use std::time::Duration;

use anyhow::{Result, ensure};
use clap::Args;
use ratatui::crossterm::event::{self, Event, KeyEventKind};
use tokio::sync::mpsc;
use tokio::time::{MissedTickBehavior, interval};

use crate::agent::{At, zone_of};
use crate::output::Verdict;
use screen::{Screen, Wish};

/// How often the agent is asked.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// How often the thread that waits for keys looks whether it is still wanted.
const KEYS_EVERY: Duration = Duration::from_millis(200);

/// Options of `top`.
#[derive(Debug, Args)]
#[command(after_help = "\
Keys:
  Up, Down, PageUp, PageDown, Home, End    choose a row
  Right or Enter, Left or Backspace        into the zone chosen, and out again
  s, S                                     sort by the next column, by the one before
  r                                        the other way round
  <, >                                     show columns further left, further right
  q, Esc, Ctrl-C                           stop

Any zone can be entered: agents there are asked for those that this agent does not hold. For
scripts there is `spinglass table show ZONE --json`.")]
pub(crate) struct Top {
    /// The zone to begin with [default: the root]
    #[arg(default_value = "/", hide_default_value = true)]
    zone: String,
    #[command(flatten)]
    at: At,
}

/// Runs `top`.
///
/// # Errors
/// There is no terminal, or no agent.
pub(crate) async fn top(options: &Top) -> Result<Verdict> {
    ensure!(
        io::stdout().is_terminal() && io::stdin().is_terminal(),
        "spinglass top draws on a terminal: for scripts there is `spinglass table show --json`"
    );
    // An agent that is not there is told as an error, not as an empty screen.
    let first = zone_of(&options.at, &options.zone).await?;
    let mut screen = Screen::new(&options.zone);
    screen.show(Ok(first));
    let (sender, mut keys) = mpsc::channel(64);
    std::thread::spawn(move || read_keys(&sender));
    let mut terminal = ratatui::try_init()?;
    let outcome = run(options, &mut screen, &mut terminal, &mut keys).await;
    ratatui::restore();
    outcome
}

async fn run(
    options: &Top,
    screen: &mut Screen,
    terminal: &mut ratatui::DefaultTerminal,
    keys: &mut mpsc::Receiver<Event>,
) -> Result<Verdict> {
    let mut ticks = interval(LOOK_EVERY);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        terminal.draw(|frame| screen.draw(frame))?;
        let wish = tokio::select! {
            key = keys.recv() => match key {
                Some(Event::Key(key)) if key.kind != KeyEventKind::Release => screen.key(key),
                Some(_) => Wish::Nothing,
                None => Wish::Stop,
            },
            _ = ticks.tick() => Wish::Look,
        };
        match wish {
            Wish::Nothing => (),
            Wish::Look => screen.show(zone_of(&options.at, screen.zone()).await),
            Wish::Stop => return Ok(Verdict::Good),
        }
    }
}

/// Hands keys on until nobody takes them: waiting for a key blocks.
fn read_keys(sender: &mpsc::Sender<Event>) {
    while !sender.is_closed() {
        match event::poll(KEYS_EVERY) {
            Ok(false) => continue,
            Ok(true) => (),
            Err(_) => return,
        }
        let Ok(key) = event::read() else { return };
        if sender.blocking_send(key).is_err() {
            return;
        }
    }
}
