//! Who is there, and who is who.
//!
//! Who is there is the table's business: `View` is what multicast asks of it (partners, trees,
//! bufferers), computed from the tables of the own path. So nobody holds a list of all members: an
//! agent knows those of its region, and who speaks for the zones beside its own path.
//!
//! Who is who is told by records, which each member signs once per life: key, life, salt, address,
//! region. They travel where they are needed, once: whoever sends to an address for the first time
//! in a while introduces itself there; whoever passes packets on introduces their sender too;
//! whoever still meets a name that it does not know asks the one it has it from.
//!
//! ```text
//!  a ── own record, sender's record ──▶ b        before the first packet, and now and then
//!  a ◀── who is(sender) ─────────────── b        if that was lost
//!  a ── sender's record ──────────────▶ b
//! ```
//!
//! Invariants: only a record signed by its own key is kept; a life that is over never returns;
//! every list is bounded by a named constant.

mod directory;
mod record;
mod takers;
mod texts;
mod told;
mod tree;
mod view;

use alloc::boxed::Box;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::fmt;
use core::net::SocketAddr;

pub use record::{MemberRecord, RECORD_BYTES_MAX, UnverifiedRecord};

pub(crate) use directory::Learned;

use crate::compact::make_room;
use crate::config::MembersConfig;
use crate::crypto::PublicKey;
use crate::event::{Destinations, Reject};
use crate::id::{Incarnation, MemberId, TopicId};
use crate::link::BootName;
use crate::rng::Prng;
use crate::table::{Table, ZonePath};
use crate::time::Instant;
use directory::Directory;
use texts::Texts;
use told::{TOLD_DOUBLINGS, TOLD_GROUP_DOUBLINGS, Told};
use view::View;

/// Records sent in one datagram, when somebody asks: they fit one of 1,200 bytes.
pub(crate) const RECORDS_PER_DATAGRAM: usize = 5;
/// Introductions remembered beside those of oneself to members met. When full, all are forgotten,
/// and made again as they are needed.
const TOLD_MAX: usize = 8192;

/// Whether whatever is sent somewhere must say who sends it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Introduction {
    /// It need not: that is known there.
    Needless,
    /// It must, since it may have been lost, or may be overtaken.
    Again,
    /// It must, for the first time.
    First,
}

/// Whom of a run's destinations somebody must be introduced to.
#[derive(Debug)]
pub(crate) struct Introductions {
    /// Those that must be told first.
    pub(crate) untold: Option<Destinations>,
    /// Whether some were told just now, so that what follows may overtake it.
    pub(crate) just_now: bool,
}

/// Whoever a datagram goes to: an address, or (none) the IP multicast group.
type To = Option<SocketAddr>;

/// Records that several agents of one process share, as they share the table's rows.
pub trait RecordPool: Send {
    /// The copy that all keep of a verified record.
    fn share(&mut self, record: Arc<MemberRecord>) -> Arc<MemberRecord>;
}

impl fmt::Debug for dyn RecordPool {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("RecordPool")
    }
}

/// The membership as one member sees it.
#[derive(Debug)]
pub(crate) struct Members {
    own: Arc<MemberRecord>,
    directory: Directory,
    view: View,
    /// Topics' texts, once one is named or asked for.
    texts: Option<Box<Texts>>,
    /// Whom one has told who somebody is, in order. Who was told of this member, and is met, has
    /// its note in the directory.
    told: Vec<((To, MemberId), Told)>,
    round: u32,
    /// How many agents there are in all.
    count: usize,
    pool: Option<Box<dyn RecordPool>>,
    rng: Prng,
}

impl Members {
    /// A membership of one.
    pub(crate) fn new(config: &MembersConfig, own: &Arc<MemberRecord>, rng: Prng) -> Self {
        Self {
            own: Arc::clone(own),
            directory: Directory::new(config.records_max),
            view: View::default(),
            texts: None,
            told: Vec::new(),
            round: 1,
            count: 1,
            pool: None,
            rng,
        }
    }

    /// Replaces the own record: its key is new, so everybody must be told.
    pub(crate) fn renew_own(&mut self, record: &Arc<MemberRecord>) {
        self.own = Arc::clone(record);
        self.told.clear();
        self.directory.forget_told(None);
    }

    /// Shares records with other agents from now on; returns the own one, shared.
    pub(crate) fn share_with(&mut self, pool: Box<dyn RecordPool>) -> Arc<MemberRecord> {
        self.pool = Some(pool);
        self.own = self.shared(Arc::clone(&self.own));
        Arc::clone(&self.own)
    }

    /// The copy to keep of a verified record.
    pub(crate) fn shared(&mut self, record: Arc<MemberRecord>) -> Arc<MemberRecord> {
        match &mut self.pool {
            Some(pool) => pool.share(record),
            None => record,
        }
    }

    /// Begins a round. `count` agents are said to be there in all.
    pub(crate) const fn on_round(&mut self, round: u32, count: usize) {
        (self.round, self.count) = (round, count);
    }

    // --- who is who

    /// Takes in a record whose signature has been checked.
    pub(crate) fn on_record(&mut self, record: &Arc<MemberRecord>, boot: BootName) -> Learned {
        let learned = self.directory.learn(record, boot, self.round);
        if matches!(learned, Learned::New | Learned::Newer) {
            self.directory.forget_told(Some(record.address));
            self.told.retain(|((to, _), _)| *to != Some(record.address));
            // The directory has the note from now on.
            self.told.shrink_to_fit();
        }
        learned
    }

    /// A newcomer receives at this address and hears the group, and knows nobody.
    pub(crate) fn forget_told(&mut self, address: SocketAddr) {
        self.directory.forget_told(Some(address));
        self.told.retain(|((to, _), _)| *to != Some(address) && to.is_some());
    }

    /// A member's record.
    pub(crate) fn find(&self, id: MemberId) -> Option<&Arc<MemberRecord>> {
        if id == self.own.id() { Some(&self.own) } else { self.directory.find(id) }
    }

    /// Where a member receives.
    pub(crate) fn address_of(&self, id: MemberId) -> Option<SocketAddr> {
        self.find(id).map(|record| record.address)
    }

    /// Whoever's boot goes by `name`, but for a rare mistake.
    pub(crate) fn boot_named(&self, name: BootName) -> Option<&Arc<MemberRecord>> {
        self.directory.named(name)
    }

    /// A member's key, and the latest life known of it; also of one that is gone, whose last
    /// packets may still be under repair.
    pub(crate) fn key_of(&self, id: MemberId) -> Option<(PublicKey, Incarnation)> {
        self.find(id).map(|record| (record.public_key, record.incarnation))
    }

    /// The key of a member of whose life packets are taken in: its latest known one, or one that
    /// a restart has ended just now.
    ///
    /// # Errors
    /// The member or this life of it is unknown, or the life is over.
    pub(crate) fn key_in_life(
        &self,
        id: MemberId,
        incarnation: Incarnation,
    ) -> Result<PublicKey, Reject> {
        let (key, latest) = self.key_of(id).ok_or(Reject::UnknownSender)?;
        if incarnation > latest {
            return Err(Reject::UnknownSender);
        }
        if incarnation == latest || self.directory.is_past_life(id, incarnation, self.round) {
            Ok(key)
        } else {
            Err(Reject::StaleIncarnation)
        }
    }

    /// Where this member receives.
    pub(crate) fn own_address(&self) -> SocketAddr {
        self.own.address
    }

    // --- introductions

    /// Whether `to` must be told now who this member is, before or with whatever is sent there. It
    /// then counts as told. An address from which nobody has introduced itself is told each time.
    pub(crate) fn introduces_itself(&mut self, to: SocketAddr, now: Instant) -> Introduction {
        let is_stranger = !self.has_met(to);
        let (is_due, told) = self.tell(Some(to), self.own.id(), now);
        if is_due && told.is_first(now) {
            Introduction::First
        } else if is_due || is_stranger || told.is_fresh(now) {
            // Of what goes there at once the last may arrive first.
            Introduction::Again
        } else {
            Introduction::Needless
        }
    }

    /// Whoever is at this address has answered: it could open what this member sealed, so it knows
    /// who that is.
    pub(crate) fn note_answer(&mut self, from: SocketAddr) {
        if let Some(told) = self.directory.told_mut(from) {
            told.confirm();
        }
    }

    /// Whether anybody at this address has been met.
    pub(crate) fn has_met(&self, address: SocketAddr) -> bool {
        self.directory.told(address).is_some()
    }

    /// Whether `to` was told at this moment, for the first time, who `id` is.
    pub(crate) fn is_first_told(&self, to: To, id: MemberId, now: Instant) -> bool {
        let of_met = to.filter(|_| id == self.own.id()).and_then(|to| self.directory.told(to));
        let of_others = || self.told.get(self.told_place(to, id).ok()?).map(|(_, told)| told);
        of_met.or_else(of_others).is_some_and(|told| told.is_first(now))
    }

    /// Which of a run's destinations must be told first who this member is, and who the packets'
    /// sender; they then count as told.
    pub(crate) fn introduces(
        &mut self,
        to: &Destinations,
        sender: MemberId,
        now: Instant,
    ) -> Introductions {
        let own = self.own.id();
        let mut just_now = false;
        let mut tells = |to: To| {
            let told = [self.tell(to, own, now), self.tell(to, sender, now)];
            just_now |= told.iter().any(|(_, told)| told.is_fresh(now));
            told.iter().any(|(is_due, _)| *is_due)
        };
        let untold = match to {
            // Packets go to nobody in particular but to members.
            Destinations::Own(_) | Destinations::Fresh(_) => None,
            Destinations::Multicast => tells(None).then_some(Destinations::Multicast),
            Destinations::Members(members) => {
                let untold: Vec<_> =
                    members.iter().copied().filter(|to| tells(Some(*to))).collect();
                (!untold.is_empty()).then_some(Destinations::Members(untold))
            }
        };
        Introductions { untold, just_now }
    }

    /// Whether `to` has not been told of late who `id` is; it is now. And what is noted of that.
    fn tell(&mut self, to: To, id: MemberId, now: Instant) -> (bool, Told) {
        let doublings_max = if to.is_some() { TOLD_DOUBLINGS } else { TOLD_GROUP_DOUBLINGS };
        let of_met = to.filter(|_| id == self.own.id());
        if let Some(told) = of_met.and_then(|to| self.directory.told_mut(to)) {
            return (told.tell(now, doublings_max), *told);
        }
        let mut place = self.told_place(to, id);
        if place.is_err() && self.told.len() >= TOLD_MAX {
            self.told.clear();
            place = Err(0);
        }
        let place = place.unwrap_or_else(|place| {
            make_room(&mut self.told);
            self.told.insert(place, ((to, id), Told::default()));
            place
        });
        let note = self.told.get_mut(place);
        note.map_or_else(Default::default, |(_, told)| (told.tell(now, doublings_max), *told))
    }

    /// Where the note of an introduction is, or (the error) would be.
    fn told_place(&self, to: To, id: MemberId) -> Result<usize, usize> {
        self.told.binary_search_by_key(&(to, id), |(whom, _)| *whom)
    }

    // --- who is there

    /// Looks at what the table has to say, if that is something new.
    pub(crate) fn look(&mut self, table: &Table) {
        if self.view.is_older_than(table) {
            self.view = View::of(table);
        }
    }

    /// A number that changes with who is there, and with what anybody takes.
    pub(crate) const fn revision(&self) -> u64 {
        self.view.revision()
    }

    // --- topics' texts

    /// The regions of members that were met, in no order.
    pub(crate) fn regions_met(&self) -> impl Iterator<Item = &ZonePath> {
        self.directory.records().map(|record| &record.region)
    }

    /// A topic's text, if it is known.
    pub(crate) fn text(&self, topic: TopicId) -> Option<&Arc<str>> {
        self.texts.as_ref()?.of(topic.plain())
    }

    /// A topic's text, if it is known and may be told in this round.
    pub(crate) fn tell_text(&mut self, topic: TopicId) -> Option<Arc<str>> {
        let texts = self.texts.as_mut()?;
        let text = Arc::clone(texts.of(topic.plain())?);
        texts.may_tell(self.round).then_some(text)
    }

    /// Learns the text of a topic that the application names. Returns whether that is news.
    pub(crate) fn name_text(&mut self, topic: TopicId, text: &str) -> bool {
        let is_new = self.texts.get_or_insert_default().name(topic, text);
        self.note_text(topic, is_new)
    }

    /// Learns one from somebody else. Returns whether that is news.
    pub(crate) fn learn_text(&mut self, topic: TopicId, text: &str) -> bool {
        let is_new = self.texts.get_or_insert_default().learn(topic, text);
        self.note_text(topic, is_new)
    }

    fn note_text(&mut self, topic: TopicId, is_new: bool) -> bool {
        if is_new {
            self.view.forget_topic(topic);
        }
        is_new
    }

    /// Whether a topic's text is to be asked for now, and how often it was before; it then counts
    /// as asked for.
    pub(crate) fn asks_text(&mut self, topic: TopicId) -> Option<u32> {
        self.texts.get_or_insert_default().ask(topic.plain(), self.round)
    }

    /// Whether it was, and is not known yet.
    pub(crate) fn is_text_asked(&self, topic: TopicId) -> bool {
        self.texts.as_ref().is_some_and(|texts| texts.is_asked(topic))
    }

    /// Whether anybody on the own path takes topics by patterns.
    pub(crate) const fn know_patterns(&self) -> bool {
        self.view.has_patterns()
    }

    pub(crate) fn check_invariants(&self, config: &MembersConfig) {
        self.texts.iter().for_each(|texts| texts.check_invariants());
        self.directory.check_invariants(config.records_max);
        assert!(self.told.len() <= TOLD_MAX);
    }
}
