//! The demo's second act, while the file streams: the members are three regions' agents; a summary
//! is installed live, one machine's load changes, and the root, as a member of another region sees
//! it in its own memory, follows.

use std::time::Duration;

use anyhow::{Result, ensure};
use serde::Serialize;
use tokio::time::Instant;

use crate::herd::Herd;
use crate::member::protocol::{Order, Root, RootZone, Setup};

/// The regions; members take turns.
const REGIONS: [&str; 3] = ["/ithaca", "/paris", "/tokyo"];
/// The table's round in the demo, in milliseconds: a fifth of the default, since it is short.
const ROUND_MS: u64 = 200;
/// The summary that is installed, and its name.
const SUMMARY: (&str, &str) = ("hot", "SELECT MAX(load) AS load FROM zone");
/// What the one machine's load becomes, and when: shares of the stream's time. All other loads stay
/// below a half.
const CHANGES: [(f64, f64); 2] = [(0.4, 0.97), (0.7, 0.55)];
/// When the summary is installed, likewise.
const INSTALL_AT: f64 = 0.1;
/// How long the root may take to follow.
const PATIENCE: Duration = Duration::from_secs(15);

/// A change of the one machine's load.
#[derive(Debug, Clone, Serialize)]
struct Change {
    load: f64,
    /// Until the observer's root said so.
    seconds: Option<f64>,
    rounds: Option<f64>,
}

/// What was seen of the table.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Seen {
    round_ms: u64,
    summary: &'static str,
    observer: String,
    machine: String,
    changes: Vec<Change>,
    zones: Vec<RootZone>,
}

/// The act, as far as it has gone.
#[derive(Debug)]
pub(crate) struct Act {
    seconds: f64,
    installer: usize,
    machine: usize,
    installed: bool,
    /// When each change so far was made, on the machine's monotonic clock; `None`: not told yet.
    made: Vec<Option<u64>>,
}

/// The members' part of the setup.
pub(crate) fn setup(setup: Setup) -> Setup {
    let regions = REGIONS.map(str::to_owned).to_vec();
    Setup { regions, table_round_ms: ROUND_MS, ..setup }
}

/// The region of a member.
const fn region(member: usize) -> &'static str {
    REGIONS[member % REGIONS.len()]
}

impl Act {
    /// Begins: the first member observes; two others that don't sleep install and change.
    ///
    /// # Errors
    /// A member has ended.
    pub(crate) async fn begin(herd: &mut Herd, sleeping: &[usize], seconds: f64) -> Result<Self> {
        let awake: Vec<usize> =
            (0..herd.count()).filter(|member| !sleeping.contains(member)).collect();
        let nth = |nth: usize| awake.get(nth % awake.len().max(1)).copied().unwrap_or(0);
        for member in 0..herd.count() {
            let load = 0.1 + (member * 7 % 32) as f64 / 100.0;
            herd.order(member, &Order::Load { load }).await?;
        }
        herd.order(0, &Order::WatchRoot).await?;
        let (installer, machine) = (nth(1), nth(2));
        Ok(Self { seconds, installer, machine, installed: false, made: Vec::new() })
    }

    /// Does what is due after so long.
    ///
    /// # Errors
    /// A member has ended.
    pub(crate) async fn go_on(&mut self, herd: &mut Herd, elapsed: Duration) -> Result<()> {
        let share = elapsed.as_secs_f64() / self.seconds.max(0.1);
        if !self.installed && share >= INSTALL_AT {
            self.installed = true;
            let (name, sql) = SUMMARY;
            let order = Order::Install { name: name.into(), sql: sql.into() };
            herd.order(self.installer, &order).await?;
        }
        let next = CHANGES.get(self.made.len());
        if let Some((at, load)) = next.filter(|(at, _)| self.installed && share >= *at) {
            debug_assert!(*at > INSTALL_AT, "a change comes after the summary");
            herd.forget_changes();
            herd.order(self.machine, &Order::Load { load: *load }).await?;
            self.made.push(None);
        }
        if let (Some(made @ None), Some(at)) = (self.made.last_mut(), herd.change_of(self.machine))
        {
            *made = Some(at);
        }
        Ok(())
    }

    /// The root in a line, as the observer sees it.
    pub(crate) fn line(herd: &Herd) -> String {
        let zones = herd.roots().last().map_or(&[][..], |root| root.zones.as_slice());
        let zone = |zone: &RootZone| {
            let load = zone.load.map_or_else(|| "?".to_owned(), |load| format!("{load:.2}"));
            format!("{} {} up, load {load}", zone.name, zone.members)
        };
        let zones: Vec<String> = zones.iter().map(zone).collect();
        format!("/ as seen in {}: {}", region(0), zones.join("  "))
    }

    /// Does what is left, and waits until the root has followed.
    ///
    /// # Errors
    /// It does not; or a member has ended.
    pub(crate) async fn finish(mut self, herd: &mut Herd) -> Result<Seen> {
        let end = Instant::now() + PATIENCE;
        let all = Duration::from_secs_f64(self.seconds.max(0.1));
        loop {
            let seen = self.seen(herd);
            let followed = seen.changes.iter().filter(|change| change.seconds.is_some()).count();
            // One change after the other: two at once would show as one.
            if followed == self.made.len() {
                if followed == CHANGES.len() {
                    return Ok(seen);
                }
                self.go_on(herd, all).await?;
            }
            ensure!(
                Instant::now() < end,
                "the root did not follow a change within {PATIENCE:?}: {}",
                Self::line(herd)
            );
            herd.watch_until(Instant::now() + Duration::from_millis(ROUND_MS)).await?;
            self.go_on(herd, Duration::ZERO).await?;
        }
    }

    fn seen(&self, herd: &Herd) -> Seen {
        let follow = |(made, (_, load)): (&Option<u64>, &(f64, f64))| {
            let after = |root: &&Root| made.is_some_and(|made| root.at_ns >= made);
            let hottest =
                |root: &Root| root.zones.iter().filter_map(|zone| zone.load).fold(0.0, f64::max);
            let root = herd.roots().iter().filter(after).find(|root| hottest(root) == *load);
            let seconds = root.zip(*made).map(|(root, made)| (root.at_ns - made) as f64 / 1e9);
            let rounds = seconds.map(|seconds| seconds * 1e3 / ROUND_MS as f64);
            Change { load: *load, seconds, rounds }
        };
        Seen {
            round_ms: ROUND_MS,
            summary: SUMMARY.1,
            observer: format!("member 0 in {}", region(0)),
            machine: format!("member {} in {}", self.machine, region(self.machine)),
            changes: self.made.iter().zip(&CHANGES).map(follow).collect(),
            zones: herd.roots().last().map(|root| root.zones.clone()).unwrap_or_default(),
        }
    }
}

impl Seen {
    /// The report's lines.
    pub(crate) fn text(&self) -> String {
        let mut text = format!(
            "  table of {} regions, a round of {} ms; installed while it ran: {}\n",
            self.zones.len(),
            self.round_ms,
            self.summary
        );
        for change in &self.changes {
            let (seconds, rounds) = change.seconds.zip(change.rounds).unwrap_or_default();
            text += &format!(
                "  {}: load {:.2}; at the root, as {} sees it, after {seconds:.1} s ({rounds:.1} \
                 rounds)\n",
                self.machine, change.load, self.observer
            );
        }
        text
    }
}
