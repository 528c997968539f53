//! What a node tells of itself.

use alloc::collections::BTreeMap;
use alloc::string::String;
use alloc::sync::Arc;
use core::net::SocketAddr;

use super::Node;
use crate::config::Config;
use crate::event::Member;
use crate::id::{Incarnation, MemberId, Sequence, StreamId, TopicId};
use crate::members::MemberRecord;
use crate::multicast::TopicTally;
use crate::object::Objects;
use crate::stats::Stats;
use crate::table::{Table, ZonePath, member};

impl Node {
    /// The name on the wire of a topic's text. The text is remembered, so that rules can be about
    /// it, and patterns match it: whoever publishes or subscribes must have said it.
    pub fn topic(&mut self, text: &str) -> TopicId {
        let topic = TopicId::of_text(text, &mut *self.crypto);
        if self.members.name_text(topic, text) {
            self.trust.iter_mut().for_each(|trust| trust.on_text());
        }
        topic
    }

    /// A topic's text, if it was named here or has been asked for, as patterns have it done.
    #[must_use]
    pub fn topic_text(&self, topic: TopicId) -> Option<&Arc<str>> {
        self.members.text(topic)
    }

    /// This member's name.
    #[must_use]
    pub fn id(&self) -> MemberId {
        self.own.id()
    }

    /// Where other members reach this one.
    #[must_use]
    pub const fn address(&self) -> SocketAddr {
        self.identity.address
    }

    /// This member's life.
    #[must_use]
    pub fn incarnation(&self) -> Incarnation {
        self.own.incarnation
    }

    /// The settings.
    #[must_use]
    pub fn config(&self) -> &Config {
        self.config.get()
    }

    /// The gossip round that this member is in, from 1.
    #[must_use]
    pub const fn round(&self) -> u32 {
        self.multicast.round()
    }

    /// The number of the epoch whose key this member seals under, from that in the settings on.
    #[must_use]
    pub fn epoch(&self) -> u32 {
        let first = self.link.epoch().0.into();
        self.orders.as_ref().map_or(first, |orders| orders.epochs.current())
    }

    /// The number of the newest epoch whose key this member has: it seals under it by now, or will
    /// soon.
    #[must_use]
    pub fn newest_key(&self) -> u32 {
        let first = self.link.epoch().0.into();
        self.orders.as_ref().map_or(first, |orders| orders.epochs.held())
    }

    /// Everything counted so far.
    #[must_use]
    pub fn stats(&self) -> Stats {
        let mut stats = self.stats.clone();
        self.multicast.fill_gauges(&mut stats);
        stats.sightings_missed = self.tracer.missed();
        stats
    }

    /// The agents of the region, this one first. Nobody holds a list of all.
    pub fn members(&self) -> impl Iterator<Item = Member> + '_ {
        let own = Member {
            id: self.id(),
            incarnation: self.own.incarnation,
            address: self.own.address,
            region: String::from(self.own.region.as_str()),
        };
        let others = self.table.agents().filter(|row| row.member() != self.own.id());
        core::iter::once(own).chain(others.filter_map(|row| member(row)))
    }

    /// The region of somebody met whose region lies within this member's, or around it: the one's
    /// row has no place in the other's tables, so they never hear each other.
    #[must_use]
    pub fn region_in_the_way(&self) -> Option<&ZonePath> {
        let own = self.table.region();
        let is_in_the_way =
            |other: &&ZonePath| **other != *own && (other.is_within(own) || own.is_within(other));
        self.members.regions_met().find(is_in_the_way)
    }

    /// How many agents there are in all: those of the region, and as many as the summaries of the
    /// zones beside its path say.
    #[must_use]
    pub fn member_count(&self) -> usize {
        self.table.agents_in_all()
    }

    /// What this member has seen of each topic since it started.
    #[must_use]
    pub fn topics(&self) -> BTreeMap<TopicId, TopicTally> {
        self.multicast.topics()
    }

    /// Bytes that were published and are not on their way yet.
    #[must_use]
    pub fn send_queue_bytes(&self) -> usize {
        self.multicast.waiting()
    }

    /// Whether a packet exists for all this member knows, and has not come. For checkers.
    #[must_use]
    pub fn is_missing(&self, stream: &StreamId, sequence: Sequence) -> bool {
        self.multicast.is_missing(stream, sequence.0)
    }

    /// The hierarchical table, as this member holds it.
    #[must_use]
    pub const fn table(&self) -> &Table {
        &self.table
    }

    /// The objects that this member holds or fetches.
    #[must_use]
    pub const fn objects(&self) -> &Objects {
        &self.objects
    }

    /// This member's signed record.
    #[must_use]
    pub fn own_record(&self) -> Arc<MemberRecord> {
        Arc::clone(&self.own)
    }

    /// Checks what must always hold. For tests and simulators.
    pub fn check_invariants(&self) {
        self.multicast.check_invariants();
        self.table.check_invariants();
        self.queries.check_invariants();
        self.objects.check_invariants();
        self.trust.iter().for_each(|trust| trust.check_invariants());
        self.orders.iter().for_each(|orders| orders.epochs.check_invariants());
        self.quarantine.check_invariants();
        self.members.check_invariants(&self.config.get().members);
    }
}
