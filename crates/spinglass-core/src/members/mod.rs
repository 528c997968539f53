//! Who is there: the provisional membership, behind the questions that the hierarchical table will
//! answer later.
//!
//! Each member signs one [`MemberRecord`] per life. Records spread by gossip: a new one rides on
//! the next few digests of everyone who hears of it (as in SWIM), a joiner is sent some by its
//! seed, and a member seen in a heartbeat but not known is asked for. Liveness is gossip-style
//! failure detection (van Renesse et al., Middleware 1998): a member's heartbeat is its round
//! number; a few random ones ride on every digest, so the cost does not depend on the group's size;
//! a member whose heartbeat stands still for long is dropped.
//!
//! ```text
//!  joiner ── Join + own record ──▶ seed          (every few rounds until somebody is known)
//!  joiner ◀── records ─────────── seed           (in steps, a few datagrams a round)
//!  a      ── digest, own record, news, heartbeats ──▶ b
//!  a      ◀── WhoIs(unknown boots) ────────────────── b
//! ```
//!
//! Invariants: only a record signed by its own key is kept; a life that is over never returns on
//! hearsay; every list is bounded by a named constant.

mod list;
mod record;
mod view;

use alloc::collections::{BTreeMap, VecDeque};
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::net::SocketAddr;
use core::time::Duration;

pub use list::MemberList;
pub use record::{MemberRecord, RECORD_BYTES_MAX, UnverifiedRecord};

use crate::config::MembersConfig;
use crate::crypto::PublicKey;
use crate::discovery::Seeds;
use crate::event::{DownReason, Event};
use crate::id::{Incarnation, MemberId};
use crate::link::BootName;
use crate::rng::Prng;

/// Heartbeats of others that ride on a digest.
pub const HEARTBEATS_MAX: usize = 8;
/// Records that ride on a digest, besides the sender's own.
pub const NEWS_MAX: usize = 3;
/// Times that a member passes a new record on, per doubling of the group: SWIM's 3 log n.
const NEWS_COPIES: u32 = 3;
/// Records waiting to be passed on. When full, the oldest is dropped: it has been passed on most.
const NEWS_QUEUE_MAX: usize = 1024;
/// Lives remembered after they ended. When full, the one that ended first is forgotten.
const DEPARTED_MAX: usize = 4096;
/// Rounds for which the lives that a restart ended may still be heard: their last packets are under
/// repair, and a life may have been so short that its first ones are, too. Default rounds: 5 s.
pub(crate) const PAST_LIFE_ROUNDS: u32 = 50;
/// Rounds by which a member may seem ahead of one's own clock: those that news may take.
const HEARTBEAT_SLACK: u32 = 50;
/// Heartbeat checks per round, so that dropping the silent costs the same in every group.
const SILENCE_CHECKS: usize = 64;
/// How many times longer than the average interval between two pieces of news of one member its
/// silence must be before it is dropped: e^-20 is 2e-9.
const SILENCE_FACTOR: u32 = 20;
/// Rounds between two attempts to reach a seed, or a member dropped for silence, once others are
/// known: what mends a partition that outlasted everybody's patience.
const REJOIN_ROUNDS: u64 = 10;
/// Records that a joiner is sent in one datagram's place.
pub(crate) const WELCOME_RECORDS: usize = 5;
/// Records that a joiner is sent in all; it learns the rest by gossip.
const WELCOME_RECORDS_MAX: usize = 256;
/// Joiners being welcomed at once. When full, further ones wait for their next attempt.
const WELCOMES_MAX: usize = 64;

/// The membership as one member sees it.
#[derive(Debug)]
pub struct Members {
    own: MemberId,
    config: MembersConfig,
    list: Arc<MemberList>,
    /// What was heard of the record at the same place in `list`. Empty until something was.
    heard: Vec<Heard>,
    news: VecDeque<(Arc<MemberRecord>, u32)>,
    departed: BTreeMap<MemberId, Departed>,
    departed_order: VecDeque<MemberId>,
    /// Members that began a new life of late: since when, and the latest life known before.
    restarted: BTreeMap<MemberId, (u32, Incarnation)>,
    welcomes: VecDeque<Welcome>,
    seeds: Seeds,
    silence_cursor: usize,
    rng: Prng,
    has_left: bool,
}

/// What was last heard of a member.
#[derive(Debug, Clone, Copy)]
struct Heard {
    /// Its highest round number heard of.
    heartbeat: u32,
    /// When that rose, in rounds of one's own.
    at_round: u32,
}

/// A life that is over.
#[derive(Debug, Clone, Copy)]
struct Departed {
    incarnation: Incarnation,
    reason: DownReason,
    address: SocketAddr,
    /// Its last packets may still be under repair.
    public_key: PublicKey,
}

/// A joiner that is being sent records.
#[derive(Debug, Clone, Copy)]
struct Welcome {
    to: SocketAddr,
    next: usize,
    left: usize,
}

/// What a record that arrived turned out to be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Learned {
    /// It changed the membership.
    New,
    /// It was known, letter by letter.
    Known,
    /// It describes a life that is over.
    Stale,
    /// There is no room for it.
    Full,
}

impl Members {
    /// A membership of one.
    #[must_use]
    pub fn new(
        config: MembersConfig,
        own: &Arc<MemberRecord>,
        boot: BootName,
        seeds: Vec<SocketAddr>,
        rng: Prng,
    ) -> Self {
        Self {
            own: own.id(),
            config,
            list: Arc::new(MemberList::of([(Arc::clone(own), boot)])),
            heard: Vec::new(),
            news: VecDeque::new(),
            departed: BTreeMap::new(),
            departed_order: VecDeque::new(),
            restarted: BTreeMap::new(),
            welcomes: VecDeque::new(),
            seeds: Seeds::new(seeds),
            silence_cursor: 0,
            rng,
            has_left: false,
        }
    }

    /// Takes over a list that needs no checking, such as a simulator's. It must hold the own
    /// record.
    pub fn adopt(&mut self, list: &Arc<MemberList>) {
        if list.find(self.own).is_some() {
            self.list = Arc::clone(list);
            self.heard = Vec::new();
        }
    }

    /// Adds an address to join by.
    pub(crate) fn add_seed(&mut self, seed: SocketAddr) {
        self.seeds.add(seed);
    }

    /// Replaces the own record: a new key generation, or good-bye.
    pub fn renew_own(&mut self, record: &Arc<MemberRecord>, boot: BootName) {
        self.has_left |= record.has_left();
        self.replace(record, boot, u32::MAX);
        self.spread(record);
    }

    /// Takes in a record whose signature has been checked. `direct`: it came from its own member,
    /// which therefore lives.
    pub fn on_record(
        &mut self,
        record: &Arc<MemberRecord>,
        boot: BootName,
        direct: bool,
        round: u32,
        events: &mut VecDeque<Event>,
    ) -> Learned {
        let id = record.id();
        let said_before = self.departed.get(&id).is_some_and(|departed| {
            departed.incarnation == record.incarnation && departed.reason == DownReason::Left
        });
        if said_before && record.has_left() {
            // A good-bye is said in several datagrams; what else they carry is heard, too.
            return Learned::Known;
        }
        let over = self.departed.get(&id).is_some_and(|departed| {
            departed.incarnation > record.incarnation
                || departed.incarnation == record.incarnation
                    && (!direct || departed.reason == DownReason::Left)
        });
        if over {
            return Learned::Stale;
        }
        match self.list.find(id) {
            Some(known) if known.supersedes(record) => return Learned::Stale,
            Some(known) if **known == **record => return Learned::Known,
            Some(known) => {
                let known = Arc::clone(known);
                self.on_newer(&known, record, boot, round, events);
            }
            None if record.has_left() => return Learned::Stale,
            None if self.list.len() >= self.config.members_max => return Learned::Full,
            None => {
                self.departed.remove(&id);
                self.replace(record, boot, round);
                events.push_back(Event::MemberUp(record.member()));
            }
        }
        self.spread(record);
        Learned::New
    }

    /// A record newer than the known one: good-bye, a restart, or only a new key.
    fn on_newer(
        &mut self,
        known: &MemberRecord,
        record: &Arc<MemberRecord>,
        boot: BootName,
        round: u32,
        events: &mut VecDeque<Event>,
    ) {
        if record.has_left() {
            events.push_back(self.remove(known, DownReason::Left));
            return;
        }
        self.replace(record, boot, round);
        if record.incarnation != known.incarnation {
            self.restarted.retain(|_, (since, _)| round.saturating_sub(*since) <= PAST_LIFE_ROUNDS);
            if self.restarted.len() < DEPARTED_MAX {
                // Of several restarts in a row the first says which lives were never heard of.
                let first = (round, known.incarnation);
                self.restarted.entry(known.id()).or_insert(first).0 = round;
            }
            let (id, incarnation) = (known.id(), known.incarnation);
            let reason = DownReason::Restarted;
            events.push_back(Event::MemberDown { id, incarnation, reason });
            events.push_back(Event::MemberUp(record.member()));
        }
    }

    /// Notes a sign of life from the member itself: its round number.
    pub fn on_own_heartbeat(&mut self, index: usize, heartbeat: u32, round: u32) {
        self.touch();
        if let Some(heard) = self.heard.get_mut(index) {
            *heard = Heard { heartbeat, at_round: round };
        }
    }

    /// Notes a sign of life by hearsay. Nobody signed it, so it may not run ahead of what the clock
    /// allows: one damaged number would make all later ones look old, and drop a living member.
    pub fn on_heartbeat(&mut self, index: usize, heartbeat: u32, round: u32) {
        self.touch();
        let Some(heard) = self.heard.get_mut(index) else { return };
        let passed = round.saturating_sub(heard.at_round).saturating_add(HEARTBEAT_SLACK);
        let fresh = heartbeat > heard.heartbeat;
        let plausible = heard.heartbeat == 0 || heartbeat.saturating_sub(heard.heartbeat) <= passed;
        if fresh && plausible {
            *heard = Heard { heartbeat, at_round: round };
        }
    }

    /// Welcomes a member that asked to join.
    pub fn on_join(&mut self, from: SocketAddr) {
        let known = self.welcomes.iter().any(|welcome| welcome.to == from);
        if !known && self.welcomes.len() < WELCOMES_MAX {
            let left = self.list.len().min(WELCOME_RECORDS_MAX);
            let next = if left == self.list.len() { 0 } else { self.rng.index(self.list.len()) };
            self.welcomes.push_back(Welcome { to: from, next, left });
        }
    }

    /// Drops members that were silent for too long, looking at a few per round.
    pub fn on_round(&mut self, round: u32, interval: Duration, events: &mut VecDeque<Event>) {
        if self.heard.is_empty() {
            return;
        }
        let patience = self.patience(interval);
        for _ in 0..SILENCE_CHECKS.min(self.heard.len()) {
            self.silence_cursor = (self.silence_cursor + 1) % self.heard.len();
            let Some(heard) = self.heard.get_mut(self.silence_cursor) else { break };
            if self.list.at(self.silence_cursor).is_none_or(|record| record.id() == self.own) {
                heard.at_round = round;
                continue;
            }
            if round.saturating_sub(heard.at_round) > patience
                && let Some(record) = self.list.at(self.silence_cursor).cloned()
            {
                events.push_back(self.remove(&record, DownReason::Silent));
                return;
            }
        }
    }

    /// Rounds of silence after which a member is dropped.
    fn patience(&self, interval: Duration) -> u32 {
        let least = self.config.silent_after.as_nanos() / interval.as_nanos().max(1);
        let average = self.list.len() as u128 / (HEARTBEATS_MAX as u128 + 1);
        u32::try_from(least.max(average * u128::from(SILENCE_FACTOR))).unwrap_or(u32::MAX)
    }

    /// Whom to ask to join in this round, if anybody.
    pub fn choose_join(&mut self, round: u64) -> Option<SocketAddr> {
        let alone = self.list.len() <= 1;
        if self.has_left || !alone && !round.is_multiple_of(REJOIN_ROUNDS) {
            return None;
        }
        let lost: Vec<SocketAddr> = self
            .departed
            .values()
            .filter(|departed| departed.reason == DownReason::Silent)
            .map(|departed| departed.address)
            .chain(self.seeds.iter())
            .filter(|address| !self.list.has_address(*address))
            .collect();
        lost.get(self.rng.index(lost.len())).copied()
    }

    /// The next records for the joiner that has waited longest.
    pub fn next_welcome(&mut self) -> Option<(SocketAddr, Vec<Arc<MemberRecord>>)> {
        let mut welcome = self.welcomes.pop_front()?;
        let take = welcome.left.min(WELCOME_RECORDS);
        let places = (0..take).map(|step| (welcome.next + step) % self.list.len().max(1));
        let records = places.filter_map(|place| self.list.at(place).cloned()).collect();
        welcome.next += take;
        welcome.left -= take;
        if welcome.left > 0 {
            self.welcomes.push_back(welcome);
        }
        Some((welcome.to, records))
    }

    /// How many welcome datagrams are due in this round: one per joiner.
    #[must_use]
    pub fn welcomes(&self) -> usize {
        self.welcomes.len()
    }

    /// Records to ride on a digest: the newest news first.
    pub fn choose_news(&mut self) -> Vec<Arc<MemberRecord>> {
        let mut chosen = Vec::new();
        for _ in 0..NEWS_MAX.min(self.news.len()) {
            let Some((record, copies)) = self.news.pop_front() else { break };
            if copies > 1 {
                self.news.push_back((Arc::clone(&record), copies - 1));
            }
            chosen.push(record);
        }
        chosen
    }

    /// Heartbeats to ride on a digest: those of a few random members.
    pub fn choose_heartbeats(&mut self) -> Vec<(BootName, u32)> {
        if self.heard.is_empty() {
            return Vec::new();
        }
        let picks = HEARTBEATS_MAX.min(self.list.len());
        let mut chosen = Vec::with_capacity(picks);
        for _ in 0..picks {
            let index = self.rng.index(self.list.len());
            let own = self.list.at(index).is_none_or(|record| record.id() == self.own);
            if let (false, Some(heard), Some(boot)) =
                (own, self.heard.get(index), self.list.boot_at(index))
            {
                chosen.push((boot, heard.heartbeat));
            }
        }
        chosen
    }

    fn spread(&mut self, record: &Arc<MemberRecord>) {
        let doublings = usize::BITS - self.list.len().leading_zeros();
        self.news.retain(|(other, _)| other.id() != record.id());
        if self.news.len() >= NEWS_QUEUE_MAX {
            self.news.pop_back();
        }
        self.news.push_front((Arc::clone(record), NEWS_COPIES * doublings.max(1)));
    }

    fn remove(&mut self, record: &MemberRecord, reason: DownReason) -> Event {
        let (id, incarnation) = (record.id(), record.incarnation);
        if self.departed.len() >= DEPARTED_MAX
            && let Some(first) = self.departed_order.pop_front()
        {
            self.departed.remove(&first);
        }
        let (address, public_key) = (record.address, record.public_key);
        self.departed.insert(id, Departed { incarnation, reason, address, public_key });
        self.departed_order.push_back(id);
        self.change(|list| list.without(id));
        Event::MemberDown { id, incarnation, reason }
    }

    fn replace(&mut self, record: &Arc<MemberRecord>, boot: BootName, round: u32) {
        let id = record.id();
        self.change(|list| list.with(record, boot));
        self.touch();
        let place = self.list.place(id);
        if let Some(heard) = place.and_then(|place| self.heard.get_mut(place)) {
            *heard = Heard { heartbeat: 0, at_round: round };
        }
    }

    /// Changes the list and moves what was heard of each member along.
    fn change(&mut self, change: impl FnOnce(&MemberList) -> MemberList) {
        self.touch();
        let list = change(&self.list);
        let fresh = Heard { heartbeat: 0, at_round: 0 };
        self.heard = list
            .records()
            .map(|record| {
                let place = self.list.place(record.id());
                place.and_then(|place| self.heard.get(place)).copied().unwrap_or(fresh)
            })
            .collect();
        self.list = Arc::new(list);
    }

    fn touch(&mut self) {
        if self.heard.is_empty() {
            self.heard.resize(self.list.len(), Heard { heartbeat: 0, at_round: 0 });
        }
    }
}
