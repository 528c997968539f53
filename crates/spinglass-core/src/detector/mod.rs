//! Failure detection in a region: who is removed from its table before its row falls silent.
//!
//! Every agent is observed by up to ten others, its successors in as many `rings`. An observer
//! probes one of its subjects a round. When one doesn't answer it is watched: probed every half
//! round, together with some agent that is not in doubt. Only a pair of which the other one
//! answered counts against the subject, so an observer that is cut off, overloaded or was asleep
//! learns of its own trouble and accuses nobody (the lesson of Lifeguard, DSN 2018), and loss that
//! strikes all alike cancels out. An answer weighs twice as much as a silence.
//!
//! ```text
//!  in order ── no answer ──▶ watched ── 2 silences ─▶ doubt: all observers watch
//!      ▲                       │  ▲                          │
//!      └────── answers ────────┘  └─── answers ── accused ◀──┘ 4 silences
//!                                                    │ in 7 of 10 rings at once
//!                                                    ▼
//!                                                 removed, in that life
//! ```
//!
//! One accuser removes nobody: it takes a quorum of signed [`Accusation`]s, in 7 of 10 rings, that
//! stand at the same time ([`Verdict`]; the cut detector of Rapid, ATC 2018, section 4). Whoever
//! holds a verdict shows it to those who still hold the row, and to the removed agent, which comes
//! back in a new life once it has been well for a while: one that flaps stays away.
//!
//! Invariants: an accusation counts only with the signature of one of the subject's observers, as
//! this agent's own table gives them; it names the subject's life and the version of its row that
//! the observer held, so accusations of different times don't add up; what is held is bounded by
//! the rings and `VERDICTS_MAX`.

mod health;
mod messages;
mod rings;

use alloc::collections::{BTreeMap, VecDeque};
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::net::SocketAddr;

pub use messages::{ACCUSATIONS_MAX, Accusation, Verdict, accuse, is_genuine};

use crate::config::DetectorConfig;
use crate::crypto::Crypto;
use crate::event::Reject;
use crate::outbox::{Control, Outbox};
use crate::rng::Prng;
use crate::stats::Stats;
use crate::table::{Inventory, RowKey, Table};
use crate::time::Instant;
use health::{CUT_OFF_TICKS, Health};

/// Half rounds between two regular probes.
const REGULAR_TICKS: u32 = 2;
/// Half rounds for which an answer that is too late still speaks for its subject.
const LATE_TICKS: u32 = 20;
/// Half rounds for which a subject is watched at least: its score needs some to settle.
const WATCH_TICKS: u32 = 8;
/// The score at which the subject's other observers are asked to look too: after two silences in a
/// well network. One is the network's, in a loss of 5 % once in a hundred probes.
const DOUBT_SCORE: i32 = 400;
/// The score at which the subject is accused: an observer is wrong once in exp(8.5) = 5,000 times,
/// and seven must be at the same time. In a well network it takes four silences.
const ACCUSE_SCORE: i32 = 850;
/// The highest score: some answers clear anybody.
const SCORE_MAX: i32 = 1200;
/// Half rounds between two tellings of an accusation that stands.
const REPEAT_TICKS: u32 = 4;
/// Half rounds for which an accusation stands unless it is repeated.
const STAND_TICKS: u32 = 10;
/// Versions of the accused's row that the accusations of a verdict may be apart: they were made at
/// about the same time, but news of the row travels beside them.
const VERSIONS_APART: u64 = 2;
/// Half rounds between two verdicts on this agent that it takes another's word for.
const LIFE_TICKS: u32 = 20;
/// Agents that are shown a verdict by each one that it is new to.
const VERDICT_FANOUT: usize = 4;
/// Verdicts kept, to be shown to those who missed them; the oldest is forgotten first.
const VERDICTS_MAX: usize = 256;

/// What the detector may touch while it handles one input.
pub(crate) struct DetectorCx<'a> {
    pub(crate) now: Instant,
    pub(crate) table: &'a mut Table,
    pub(crate) crypto: &'a mut dyn Crypto,
    pub(crate) outbox: &'a mut Outbox,
    pub(crate) stats: &'a mut Stats,
}

/// The failure detector of one agent.
#[derive(Debug)]
pub(crate) struct Detector {
    config: DetectorConfig,
    own: RowKey,
    /// Half rounds so far.
    tick: u32,
    /// When the next half round is due: one that comes late was slept through.
    due: Instant,
    /// When the region last removed this agent.
    life_begun: u32,
    /// Which agents the subjects were chosen from, and the table's count of changes by then.
    stamp: u64,
    revision: u64,
    subjects: Vec<RowKey>,
    /// The subject to probe next.
    next: usize,
    probes: VecDeque<Probe>,
    watched: BTreeMap<RowKey, Watch>,
    cases: BTreeMap<RowKey, Vec<Standing>>,
    verdicts: BTreeMap<RowKey, Removal>,
    health: Health,
    rng: Prng,
}

/// A probe that was sent.
#[derive(Debug)]
struct Probe {
    number: u64,
    to: RowKey,
    tick: u32,
    answered: bool,
    /// Whether its target was in doubt when it was sent.
    in_doubt: bool,
}

/// A subject in doubt.
#[derive(Debug)]
struct Watch {
    since: u32,
    /// For how much longer it seems dead than alive: [`Health::weights`].
    score: i32,
    doubt_told: bool,
    /// Since when it is accused.
    accused: Option<u32>,
}

/// An agent that was removed.
#[derive(Debug)]
struct Removal {
    /// In which half round.
    since: u32,
    verdict: Arc<Verdict>,
    /// Where it was reached.
    address: Option<SocketAddr>,
}

/// An accusation that stands.
#[derive(Debug)]
struct Standing {
    accusation: Accusation,
    heard: u32,
}

impl Detector {
    pub(crate) fn new(config: DetectorConfig, own: RowKey, first: Instant, rng: Prng) -> Self {
        Self {
            config,
            own,
            tick: 0,
            life_begun: 0,
            due: first,
            stamp: 0,
            revision: 0,
            subjects: Vec::new(),
            next: 0,
            probes: VecDeque::new(),
            watched: BTreeMap::new(),
            cases: BTreeMap::new(),
            verdicts: BTreeMap::new(),
            health: Health::default(),
            rng,
        }
    }

    // --- half rounds

    /// Judges the last half round's probes and sends this one's. Returns when the next is due.
    pub(crate) fn on_tick(&mut self, cx: &mut DetectorCx<'_>) -> Instant {
        let interval = self.config.probe_timeout;
        let late = cx.now.since(self.due) > interval / 2;
        self.due = if late { cx.now + interval } else { self.due + interval };
        self.choose_subjects(cx.table);
        if late {
            // Whoever slept can't tell who else did.
            self.probes.clear();
        } else {
            self.judge();
            cx.table.note_loss(self.health.lost_ppm());
        }
        self.tick += 1;
        let tick = self.tick;
        self.cases.retain(|_, case| {
            case.retain(|standing| tick.saturating_sub(standing.heard) <= STAND_TICKS);
            !case.is_empty()
        });
        self.tell_doubts(cx);
        self.send_probes(cx);
        self.health.on_tick(cx.table, self.config.return_rounds);
        self.due
    }

    /// Finds the own subjects anew if the region's agents are others than before.
    fn choose_subjects(&mut self, table: &Table) {
        if table.peers_revision() == self.revision {
            return;
        }
        self.revision = table.peers_revision();
        let stamp = table.agents().fold(0_u64, |sum, row| sum.wrapping_add(row.key().0 | 1));
        if stamp == self.stamp {
            return;
        }
        self.stamp = stamp;
        self.subjects = rings::subjects(self.own, keys(table), self.config.observers);
        for last in (1..self.subjects.len()).rev() {
            self.subjects.swap(last, self.rng.index(last + 1));
        }
        let subjects = &self.subjects;
        self.watched.retain(|subject, _| subjects.contains(subject));
    }

    fn judge(&mut self) {
        let tick = self.tick;
        let of_this = |probe: &&Probe| probe.tick == tick;
        let sent = self.probes.iter().filter(of_this).count();
        let answered = self.probes.iter().filter(of_this).filter(|probe| probe.answered).count();
        let any_answered = answered > 0;
        let (lost, _) = self.health.weights();
        let mut silent = Vec::new();
        for probe in self.probes.iter().filter(of_this) {
            if any_answered && !probe.in_doubt {
                self.health.weigh(probe.answered);
            }
            if !probe.answered && self.subjects.contains(&probe.to) {
                silent.push(probe.to);
            }
        }
        self.health.judge(sent, answered);
        for subject in silent {
            let watch = self.watch(subject);
            watch.score = (watch.score + if any_answered { lost } else { 0 }).min(SCORE_MAX);
        }
        self.probes.retain(|probe| tick.saturating_sub(probe.tick) < LATE_TICKS);
        self.watched.retain(|_, watch| watch.score > 0 || tick < watch.since + WATCH_TICKS);
    }

    /// Agents that this one has accused for so many rounds that it drops them by itself.
    pub(crate) fn lost(&self, rounds: u32) -> Vec<RowKey> {
        let patience = rounds.saturating_mul(REGULAR_TICKS);
        let is_lost = |watch: &Watch| {
            watch.accused.is_some_and(|since| self.tick.saturating_sub(since) > patience)
        };
        let lost = self.watched.iter().filter(|(_, watch)| is_lost(watch));
        lost.map(|(subject, _)| *subject).collect()
    }

    fn watch(&mut self, subject: RowKey) -> &mut Watch {
        let since = self.tick;
        let fresh = Watch { since, score: 0, doubt_told: false, accused: None };
        self.watched.entry(subject).or_insert(fresh)
    }

    /// Tells of those whom this agent has come to doubt, and accuses.
    fn tell_doubts(&mut self, cx: &mut DetectorCx<'_>) {
        let watched: Vec<RowKey> = self.watched.keys().copied().collect();
        for subject in watched {
            let Some(watch) = self.watched.get_mut(&subject) else { continue };
            let is_new = watch.score >= ACCUSE_SCORE && watch.accused.is_none();
            watch.accused =
                watch.accused.or_else(|| is_new.then_some(self.tick)).filter(|_| watch.score > 0);
            let repeats = (self.tick - watch.since).is_multiple_of(REPEAT_TICKS);
            let tells_doubt = watch.score >= DOUBT_SCORE && !watch.doubt_told;
            watch.doubt_told |= tells_doubt;
            if watch.accused.is_some() && (is_new || repeats) {
                self.accuse(subject, cx);
            } else if tells_doubt {
                for to in self.other_observers(subject, cx.table) {
                    cx.outbox.control(Control::Doubt { to, subject });
                }
            }
        }
    }

    fn send_probes(&mut self, cx: &mut DetectorCx<'_>) {
        let mut targets: Vec<RowKey> = self.watched.keys().copied().collect();
        let is_regular = self.tick.is_multiple_of(REGULAR_TICKS);
        if is_regular && !self.subjects.is_empty() {
            self.next = (self.next + 1) % self.subjects.len();
            targets.extend(self.subjects.get(self.next));
        }
        if !self.watched.is_empty() {
            let watched = &self.watched;
            let unsuspected = |agent: &RowKey| *agent != self.own && !watched.contains_key(agent);
            let others: Vec<RowKey> = keys(cx.table).filter(unsuspected).collect();
            targets.extend(others.get(self.rng.index(others.len())));
        }
        targets.sort_unstable();
        targets.dedup();
        for target in targets {
            let Some(to) = cx.table.address_of(target) else { continue };
            let number = self.rng.next_u64();
            let (tick, in_doubt) = (self.tick, self.watched.contains_key(&target));
            self.probes.push_back(Probe { number, to: target, tick, answered: false, in_doubt });
            cx.stats.probes_sent += 1;
            cx.outbox.control(Control::Probe { to, number });
        }
    }

    // --- what others say

    /// Where those who observe this agent are reached.
    pub(crate) fn own_observers(&self, table: &Table) -> Vec<SocketAddr> {
        if self.config.probe_timeout.is_zero() {
            return Vec::new();
        }
        self.other_observers(self.own, table)
    }

    /// An answer to a probe. Returns whether one was waited for.
    pub(crate) fn on_answer(&mut self, number: u64) -> bool {
        let found = self.probes.iter_mut().find(|probe| probe.number == number);
        let Some(probe) = found.filter(|probe| !probe.answered) else { return false };
        probe.answered = true;
        if let Some(watch) = self.watched.get_mut(&probe.to) {
            let (_, answered) = self.health.weights();
            watch.score = (watch.score - answered).max(0);
        }
        true
    }

    /// Another observer doubts an agent.
    pub(crate) fn on_doubt(&mut self, subject: RowKey) {
        if self.subjects.contains(&subject) {
            self.watch(subject).doubt_told = true;
        }
    }

    /// Accusations of one agent: one as it is told among observers, or a quorum.
    ///
    /// # Errors
    /// One of them is not its observer's word.
    pub(crate) fn on_accusations(
        &mut self,
        verdict: Verdict,
        cx: &mut DetectorCx<'_>,
    ) -> Result<(), Reject> {
        let Some(held) = cx.table.agent(verdict.subject).map(|row| row.version()) else {
            return Ok(());
        };
        let known = self.verdicts.get(&verdict.subject);
        let is_known = known.is_some_and(|it| it.verdict.incarnation >= verdict.incarnation);
        if verdict.zone != *cx.table.region() || held.incarnation != verdict.incarnation || is_known
        {
            return Ok(());
        }
        if verdict.subject == self.own {
            // Observers tell their accusations to each other, and to the accused what it was
            // removed for: one accuser is a quorum where it was alone in its half of a region.
            self.on_own_verdict(cx.table);
            return Ok(());
        }
        self.on_doubt(verdict.subject);
        let observers = rings::observers(verdict.subject, keys(cx.table), self.config.observers);
        let mut standing = self.cases.remove(&verdict.subject).unwrap_or_default();
        for accusation in &verdict.accusations {
            if !observers.contains(&accusation.observer) {
                continue;
            }
            let by = |standing: &Standing| standing.accusation.observer == accusation.observer;
            let stands = standing.iter().position(by);
            let is_same = |at: usize| standing.get(at).map(|it| &it.accusation) == Some(accusation);
            if !stands.is_some_and(is_same) {
                let Some(observer) = cx.table.agent(accusation.observer) else { continue };
                let subject = (&verdict.zone, verdict.subject, verdict.incarnation);
                cx.stats.signatures_checked += 1;
                if !is_genuine(accusation, subject, observer.issuer(), cx.crypto) {
                    self.cases.insert(verdict.subject, standing);
                    return Err(Reject::Forged);
                }
            }
            stands.map(|at| standing.swap_remove(at));
            standing.push(Standing { accusation: accusation.clone(), heard: self.tick });
        }
        self.cases.insert(verdict.subject, standing);
        self.decide(verdict.subject, cx);
        Ok(())
    }

    /// Takes another's word for it that the region removed this agent: whoever shows a verdict
    /// refuses its rows, and a partition's other side may have had fewer observers, or other ones,
    /// than its own table says. A lie costs a new life now and then, and nothing else.
    fn on_own_verdict(&mut self, table: &mut Table) {
        let is_early = self.tick.saturating_sub(self.life_begun) < LIFE_TICKS;
        if !self.health.is_removed() && !is_early {
            self.life_begun = self.tick;
            self.health.on_removed();
            table.suspend();
        }
    }

    /// Whether the region has removed an agent that is not back.
    pub(crate) fn has_removed(&self, agent: RowKey, table: &Table) -> bool {
        self.verdicts.contains_key(&agent) && table.agent(agent).is_none()
    }

    /// Shows an agent that was removed why, when it speaks as if it were not.
    pub(crate) fn on_sign_of(&self, agent: RowKey, to: SocketAddr, cx: &mut DetectorCx<'_>) {
        if let Some(removal) = self.verdicts.get(&agent)
            && cx.table.agent(agent).is_none()
        {
            let verdict = Arc::clone(&removal.verdict);
            cx.outbox.control(Control::Accusations { to, verdict });
        }
    }

    /// Shows another who still holds rows of removed agents why they are gone. One that has been
    /// gone for long, and is there for somebody, was cut off, and might not come to speak with
    /// this agent for as long again: it is shown, too. Sooner it is not: one in trouble must not
    /// learn of its verdict before it feels sick.
    pub(crate) fn on_inventory(
        &self,
        to: SocketAddr,
        inventory: &Inventory,
        cx: &mut DetectorCx<'_>,
    ) {
        for line in &inventory.lines {
            if let Some(Removal { since, verdict, address }) = self.verdicts.get(&line.key)
                && verdict.incarnation == line.version.incarnation
            {
                let is_old = self.tick.saturating_sub(*since) > CUT_OFF_TICKS;
                for to in core::iter::once(to).chain(address.filter(|_| is_old)) {
                    cx.outbox.control(Control::Accusations { to, verdict: Arc::clone(verdict) });
                }
            }
        }
    }

    // --- accusing and removing

    fn accuse(&mut self, subject: RowKey, cx: &mut DetectorCx<'_>) {
        let Some(row) = cx.table.agent(subject) else { return };
        let (version, zone) = (row.version(), cx.table.region().clone());
        let by_me = |standing: &&Standing| standing.accusation.observer == self.own;
        let told = self.cases.get(&subject).and_then(|case| case.iter().find(by_me));
        let told = told.filter(|told| told.accusation.counter == version.counter);
        let accusation = told.map(|told| told.accusation.clone()).unwrap_or_else(|| {
            cx.stats.signatures_made += 1;
            accuse(&zone, subject, version, self.own, cx.crypto)
        });
        let case = self.cases.entry(subject).or_default();
        case.retain(|standing| standing.accusation.observer != self.own);
        case.push(Standing { accusation: accusation.clone(), heard: self.tick });
        cx.stats.accusations_made += 1;
        let incarnation = version.incarnation;
        let verdict =
            Arc::new(Verdict { zone, subject, incarnation, accusations: alloc::vec![accusation] });
        for to in self.other_observers(subject, cx.table) {
            cx.outbox.control(Control::Accusations { to, verdict: Arc::clone(&verdict) });
        }
        self.decide(subject, cx);
    }

    /// Where a subject's other observers are reached.
    fn other_observers(&self, subject: RowKey, table: &Table) -> Vec<SocketAddr> {
        let observers = rings::observers(subject, keys(table), self.config.observers);
        let others = observers.into_iter().filter(|observer| *observer != self.own);
        others.filter_map(|observer| table.address_of(observer)).collect()
    }

    /// Removes an agent that a quorum of its observers accuses.
    fn decide(&mut self, subject: RowKey, cx: &mut DetectorCx<'_>) {
        let Some(held) = cx.table.agent(subject).map(|row| row.version()) else { return };
        let Some(case) = self.cases.get(&subject) else { return };
        let words = case.iter().map(|standing| &standing.accusation);
        let newest = words.clone().map(|word| word.counter).max().unwrap_or(0);
        let together = |word: &&Accusation| word.counter.saturating_add(VERSIONS_APART) >= newest;
        let mut accusations: Vec<Accusation> = words.filter(together).cloned().collect();
        let accusers: Vec<RowKey> = accusations.iter().map(|word| word.observer).collect();
        if !rings::is_quorum(subject, &accusers, keys(cx.table), self.config.observers) {
            return;
        }
        accusations.sort_by_key(|accusation| accusation.observer);
        accusations.truncate(ACCUSATIONS_MAX);
        let (zone, incarnation) = (cx.table.region().clone(), held.incarnation);
        let verdict = Arc::new(Verdict { zone, subject, incarnation, accusations });
        self.cases.remove(&subject);
        self.watched.remove(&subject);
        cx.stats.agents_removed += 1;
        let address = cx.table.address_of(subject);
        cx.table.condemn(subject, held.incarnation);
        if self.verdicts.len() >= VERDICTS_MAX {
            let oldest = self.verdicts.iter().min_by_key(|(_, it)| it.since);
            if let Some(oldest) = oldest.map(|(key, _)| *key) {
                self.verdicts.remove(&oldest);
            }
        }
        let removal = Removal { since: self.tick, verdict: Arc::clone(&verdict), address };
        self.verdicts.insert(subject, removal);
        self.show(&verdict, cx);
    }

    /// Shows a verdict to a few agents.
    fn show(&mut self, verdict: &Arc<Verdict>, cx: &mut DetectorCx<'_>) {
        let others: Vec<RowKey> = keys(cx.table).filter(|agent| *agent != self.own).collect();
        for _ in 0..VERDICT_FANOUT.min(others.len()) {
            let to = others.get(self.rng.index(others.len()));
            if let Some(to) = to.and_then(|to| cx.table.address_of(*to)) {
                cx.outbox.control(Control::Accusations { to, verdict: Arc::clone(verdict) });
            }
        }
    }
}

fn keys(table: &Table) -> impl Iterator<Item = RowKey> + Clone {
    table.agents().map(|row| row.key())
}
