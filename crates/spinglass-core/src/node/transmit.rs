//! The one place where intents become datagrams: packed, sealed and counted at the last moment.

use alloc::boxed::Box;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::net::SocketAddr;

use super::Node;
use crate::config::{Config, Dissemination};
use crate::event::{DESTINATIONS_MAX, Destinations, Transmit};
use crate::frame::{self, FRAME_HEADER_BYTES, PacketKind};
use crate::id::{MemberId, StreamId};
use crate::link::{LONG_HEADER_BYTES, OVERHEAD_BYTES, SHORT_HEADER_BYTES};
use crate::members::{Introduction, Introductions, MemberRecord, RECORD_BYTES_MAX};
use crate::multicast::{Cx, Digest};
use crate::object::Intent;
use crate::outbox::{Control, Run, Way};
use crate::quarantine::{PROVEN_BYTES_MAX, Proven};
use crate::rating::PacketKey;
use crate::table::TableRow;
use crate::time::{Instant, Now};

/// Bytes of a control datagram at most, also where packets may be larger: gossip stays small.
pub(super) const CONTROL_BYTES_MAX: usize = 1200;
/// Bytes that an introduction adds to a packet's datagram at most: a long header, two records.
const INTRODUCTION_BYTES: usize =
    LONG_HEADER_BYTES - SHORT_HEADER_BYTES + 2 * (FRAME_HEADER_BYTES + RECORD_BYTES_MAX);
/// Bytes that one offloaded send carries at most: what UDP's length field allows, headers aside.
const RUN_BYTES_MAX: usize = 65_000;

impl Node {
    /// Appends the next run of datagrams to `buffer`, which must be empty: up to `segments_max` of
    /// equal size for the same destinations, the last one perhaps shorter. `None`: nothing to send.
    pub fn poll_transmit(
        &mut self,
        now: Now,
        segments_max: usize,
        buffer: &mut Vec<u8>,
    ) -> Option<Transmit> {
        loop {
            buffer.clear();
            let made = if let Some(control) = self.outbox.pop_control() {
                self.write_control(control, now.monotonic, buffer)
            } else if let Some(run) = self.outbox.pop_run() {
                self.write_run(run, segments_max.max(1), now.monotonic, buffer)
            } else if self.multicast.waiting() > 0
                && self.multicast.make_burst(&mut cx!(self, now.monotonic))
            {
                None
            } else {
                self.outbox.rest();
                return None;
            };
            if let Some(mut transmit) = made {
                self.outbox.aim(&mut transmit.to);
                self.outbox.answer(None);
                self.count_sent(&transmit, buffer.len());
                return Some(transmit);
            }
        }
    }

    fn count_sent(&mut self, transmit: &Transmit, bytes: usize) {
        let copies = match &transmit.to {
            Destinations::Members(members) => members.len() as u64,
            Destinations::Multicast | Destinations::Own(_) | Destinations::Fresh(_) => 1,
        };
        let datagrams = bytes.div_ceil(transmit.segment_bytes.max(1)) as u64;
        self.stats.datagrams_sent += datagrams * copies;
        self.stats.bytes_sent += bytes as u64 * copies;
    }

    // --- control

    fn write_control(
        &mut self,
        control: Control,
        now: Instant,
        buffer: &mut Vec<u8>,
    ) -> Option<Transmit> {
        let (epoch, control) = match control {
            Control::Under { epoch, control } => (epoch, *control),
            control => (self.link.epoch(), control),
        };
        let to = match &control {
            Control::Announce => return Some(self.write_announcement(buffer)),
            Control::Strange { to, message } => {
                message.encode(buffer);
                return Some(single(*to, buffer.len()));
            }
            Control::Certificate { to, member } => {
                return self.write_chain(*to, *member, now, buffer);
            }
            Control::Path { to, intent } => return Some(self.write_path(*to, *intent, buffer)),
            Control::Object { intent, .. } if !self.objects.is_due(intent) => return None,
            control => control.to()?,
        };
        self.aim_probe(&control, now);
        // Whoever is told something for the first time must learn from whom. A piece of an object
        // fills its datagram, and is sent to nobody but who has just introduced itself.
        let is_piece = matches!(control, Control::Object { intent: Intent::Piece { .. }, .. });
        let introduction =
            if is_piece { Introduction::Needless } else { self.members.introduces_itself(to, now) };
        if introduction == Introduction::First && self.trust.is_some() {
            // The chain by which this member is believed goes first.
            let control = Box::new(control);
            self.outbox.unpop_control(Control::Under { epoch, control });
            return self.write_chain(Some(to), self.own.id(), now, buffer);
        }
        // Whoever says that it knows nobody here may not have heard what was said before.
        let is_stranger = self.outbox.reply_port(to).is_some_and(|port| !port.has_met) && !is_piece;
        let long = introduction != Introduction::Needless || is_stranger;
        if let Control::Exhibits { to, exhibits, introduced } = control {
            return Some(self.write_exhibits(to, exhibits, long && !introduced, buffer));
        }
        let begun = self.link.begin_under(epoch, long, buffer, &mut *self.crypto)?;
        if long {
            let own = Arc::clone(&self.own);
            frame::put_record(|buffer| own.encode(buffer), buffer);
        }
        self.write_reply_port(&control, buffer);
        self.write_frames(control, buffer);
        self.link.seal(&begun, buffer, &mut *self.crypto);
        Some(single(to, buffer.len()))
    }

    /// Writes what an intent says.
    fn write_frames(&mut self, control: Control, buffer: &mut Vec<u8>) {
        match control {
            Control::Announce
            | Control::Under { .. }
            | Control::Certificate { .. }
            | Control::Exhibits { .. }
            | Control::Path { .. }
            | Control::ReplyPort { .. }
            | Control::Strange { .. } => (),
            Control::Prove { members, .. } => {
                let proven = Proven { is_question: true, members };
                frame::put_proven(buffer, |buffer| proven.encode(buffer));
            }
            Control::Whose { members, .. } => frame::put_whose(&members, buffer),
            Control::Digest { to } => self.write_digest(to, None, buffer),
            Control::Tail { to, stream } => self.write_digest(to, Some(stream), buffer),
            Control::Solicit { solicit, .. } => frame::put_solicit(&solicit, buffer),
            Control::Records { records, .. } => self.write_records(&records, buffer),
            Control::WhoIs { members, .. } => frame::put_who_is(&members, buffer),
            Control::WhatTopic { topics, .. } => frame::put_what_topic(&topics, buffer),
            Control::Topics { texts, .. } => {
                texts.iter().for_each(|text| frame::put_topic(text, buffer));
            }
            Control::TableDigest { .. } => {
                self.stats.table_digests_sent += 1;
                frame::put_table_digest(&self.table.digest(), buffer);
            }
            Control::TableInventories { inventories, .. } => {
                inventories.iter().for_each(|inventory| frame::put_inventory(inventory, buffer));
            }
            Control::TableWant { want, .. } => frame::put_want(&want, buffer),
            Control::TableRows { to, rows } => self.write_rows(to, rows, buffer),
            Control::Probe { number, .. } => frame::put_probe(number, buffer),
            Control::Answer { number, .. } => frame::put_answer(number, buffer),
            Control::Doubt { subject, .. } => frame::put_doubt(subject, buffer),
            Control::Accusations { verdict, .. } => frame::put_accusations(&verdict, buffer),
            Control::KeyAsk { ask, .. } => frame::put_key_ask(&ask, buffer),
            Control::KeyGive { give, .. } => frame::put_key_give(&give, buffer),
            Control::Query { message, .. } => frame::put_query(&message, buffer),
            Control::Object { intent, .. } => self.write_object(&intent, buffer),
        }
    }

    /// Sends a member's chain; whoever is sent the own one thereby counts as told of this member.
    fn write_chain(
        &mut self,
        to: Option<SocketAddr>,
        member: MemberId,
        now: Instant,
        buffer: &mut Vec<u8>,
    ) -> Option<Transmit> {
        if let (Some(to), true) = (to, member == self.own.id()) {
            self.members.introduces_itself(to, now);
        }
        let multicast = |bytes| Transmit { to: Destinations::Multicast, segment_bytes: bytes };
        let written = self.write_certificate(to, member, buffer);
        let bytes = buffer.len();
        written.then(|| to.map_or_else(|| multicast(bytes), |to| single(to, bytes)))
    }

    fn write_announcement(&mut self, buffer: &mut Vec<u8>) -> Transmit {
        self.stats.announcements_sent += 1;
        let begun = self.link.begin(true, buffer);
        let own = Arc::clone(&self.own);
        frame::put_record(|buffer| own.encode(buffer), buffer);
        frame::put_announce(buffer);
        self.link.seal(&begun, buffer, &mut *self.crypto);
        Transmit { to: Destinations::Multicast, segment_bytes: buffer.len() }
    }

    pub(super) fn control_bytes_max(&self) -> usize {
        control_datagram(self.config.get()) - crate::crypto::TAG_BYTES
    }

    fn write_digest(&mut self, to: SocketAddr, only: Option<StreamId>, buffer: &mut Vec<u8>) {
        self.members.look(&self.table);
        self.stats.digests_sent += 1;
        self.stats.tails_sent += u64::from(only.is_some());
        let tells = only.is_none() && !self.quarantine.is_empty();
        let limit = self.control_bytes_max() - if tells { PROVEN_BYTES_MAX } else { 0 };
        let (round, multicast) = (self.multicast.round(), &self.multicast);
        let (members, crypto) = (&mut self.members, &mut *self.crypto);
        frame::put_digest(only.is_some(), buffer, |buffer| {
            let room = limit.saturating_sub(buffer.len() + size_of_val(&round));
            let entries = multicast.digest_entries(to, only, room, (members, crypto));
            Digest { round, entries }.encode(buffer);
        });
        if tells {
            let proven = self.quarantine.tell_some();
            frame::put_proven(buffer, |buffer| proven.encode(buffer));
        }
    }

    fn write_records(&self, records: &[Arc<MemberRecord>], buffer: &mut Vec<u8>) {
        let limit = self.control_bytes_max();
        for record in records {
            if buffer.len() + RECORD_BYTES_MAX + FRAME_HEADER_BYTES <= limit {
                frame::put_record(|buffer| record.encode(buffer), buffer);
            }
        }
    }

    /// Writes as many rows as fit one datagram; the rest goes back to the front of the queue.
    fn write_rows(&mut self, to: SocketAddr, mut rows: Vec<Arc<TableRow>>, buffer: &mut Vec<u8>) {
        let limit = self.control_bytes_max();
        let mut written = 0;
        for row in &rows {
            if buffer.len() + FRAME_HEADER_BYTES + row.encoded().len() > limit {
                break;
            }
            frame::put_row(row.encoded(), buffer);
            written += 1;
        }
        rows.drain(..written);
        if written > 0 && !rows.is_empty() {
            self.outbox.unpop_control(Control::TableRows { to, rows });
        }
    }

    // --- packets

    /// Writes as much of a run as fits one send; the rest goes back to the front of the queue.
    fn write_run(
        &mut self,
        mut run: Run,
        segments_max: usize,
        now: Instant,
        buffer: &mut Vec<u8>,
    ) -> Option<Transmit> {
        self.members.look(&self.table);
        let first = self.multicast.key(&run.stream, run.from);
        self.part(&mut run, &first);
        let (mut to, kind) = self.resolve(&run, &first)?;
        let sender = run.stream.sender;
        let Introductions { untold, just_now } = self.members.introduces(&to, sender, now);
        if untold.as_ref().is_some_and(|untold| self.owe_certificates(untold, sender, now)) {
            self.outbox.unpop_run(run);
            return None;
        }
        let mut is_stranger = run.port.is_some_and(|port| !port.has_met);
        if matches!(run.way, Way::Tree { .. } | Way::Crown) {
            is_stranger |= self.aim_packets(&mut to, now);
        }
        if untold.is_some() || just_now || is_stranger {
            let packet = self.multicast.packet(&run.stream, run.from).cloned();
            let room = self.config.get().link.datagram_bytes - OVERHEAD_BYTES - INTRODUCTION_BYTES;
            if let Some(packet) = packet.filter(|it| FRAME_HEADER_BYTES + it.len() <= room) {
                run.from += 1;
                if run.from < run.until {
                    self.outbox.unpop_run(run);
                }
                return Some(self.write_introduction(to, sender, Some((kind, &packet)), buffer));
            }
        }
        if let Some(untold) = untold {
            self.outbox.unpop_run(run);
            return Some(self.write_introduction(untold, sender, None, buffer));
        }
        let mut segment_bytes = 0;
        let mut packets = 0;
        while run.from < run.until && packets < segments_max {
            let Some(packet) = self.multicast.packet(&run.stream, run.from) else {
                // Released meanwhile: not sent.
                run.from += 1;
                continue;
            };
            let bytes = OVERHEAD_BYTES + FRAME_HEADER_BYTES + packet.len();
            let fits =
                packets == 0 || bytes <= segment_bytes && buffer.len() + bytes <= RUN_BYTES_MAX;
            if !fits {
                break;
            }
            let packet = packet.clone();
            let begun = self.link.begin(false, buffer);
            frame::put_packet(kind, &packet, buffer);
            self.link.seal(&begun, buffer, &mut *self.crypto);
            if packets == 0 {
                segment_bytes = bytes;
            }
            packets += 1;
            run.from += 1;
            if bytes < segment_bytes {
                break;
            }
        }
        let own = run.stream.sender == self.own.id();
        if run.from < run.until {
            self.outbox.unpop_run(run);
        }
        if packets == 0 {
            return None;
        }
        self.count_packets(kind, own, packets as u64, buffer.len() as u64, &to);
        Some(Transmit { to, segment_bytes })
    }

    /// Writes what those to whom packets go must know first: who seals, and who has signed them;
    /// with a packet if it has room, since what is sent after might arrive before.
    fn write_introduction(
        &mut self,
        to: Destinations,
        sender: MemberId,
        packet: Option<(PacketKind, &[u8])>,
        buffer: &mut Vec<u8>,
    ) -> Transmit {
        let begun = self.link.begin(true, buffer);
        let own = Arc::clone(&self.own);
        let of_sender = self.members.find(sender).filter(|record| record.id() != own.id());
        for record in core::iter::once(&own).chain(of_sender) {
            frame::put_record(|buffer| record.encode(buffer), buffer);
        }
        if let Some((kind, packet)) = packet {
            frame::put_packet(kind, packet, buffer);
        }
        self.link.seal(&begun, buffer, &mut *self.crypto);
        self.stats.introductions += 1;
        if let Some((kind, _)) = packet {
            let is_own = sender == own.id();
            self.count_packets(kind, is_own, 1, buffer.len() as u64, &to);
        }
        Transmit { to, segment_bytes: buffer.len() }
    }

    fn count_packets(
        &mut self,
        kind: PacketKind,
        own: bool,
        packets: u64,
        bytes: u64,
        to: &Destinations,
    ) {
        match (kind, to) {
            (PacketKind::Repair, _) => {
                self.stats.repairs_sent += packets;
                self.stats.repair_bytes_sent += bytes;
            }
            (PacketKind::Spread, Destinations::Members(members)) if !own => {
                self.stats.packets_forwarded += packets * members.len() as u64;
            }
            (PacketKind::Spread, _) => (),
        }
    }

    /// Leaves in a run those packets that go the same way as its first, and puts back the rest.
    fn part(&mut self, run: &mut Run, first: &PacketKey) {
        if matches!(run.way, Way::Repair(_) | Way::RepairMulticast) {
            return;
        }
        let arity = self.config.get().multicast.tree_shape().arity;
        let stream = run.stream;
        let (members, multicast) = (&mut self.members, &self.multicast);
        let first = members.cut(first, arity);
        // Where everybody takes everything there is but one way.
        if first.is_none() {
            return;
        }
        let mut cut = |number: u64| members.cut(&multicast.key(&stream, number), arity);
        let goes_elsewhere = |number: &u64| cut(*number) != first;
        if let Some(from) = (run.from..run.until).find(goes_elsewhere) {
            self.outbox.unpop_run(Run { from, ..run.clone() });
            run.until = from;
        }
    }

    /// Where a run goes just now, as its first packet does. `None`: nowhere.
    fn resolve(&mut self, run: &Run, packet: &PacketKey) -> Option<(Destinations, PacketKind)> {
        let multicast = &self.config.get().multicast;
        let (shape, has_trees) =
            (multicast.tree_shape(), multicast.dissemination != Dissemination::Multicast);
        let members = &mut self.members;
        let spread = |mut to: Vec<SocketAddr>| {
            to.truncate(DESTINATIONS_MAX);
            (!to.is_empty()).then_some((Destinations::Members(to), PacketKind::Spread))
        };
        match run.way {
            Way::Multicast if members.is_widely_taken(packet) => {
                Some((Destinations::Multicast, PacketKind::Spread))
            }
            // Of another region's heads somebody takes care, if anybody does.
            Way::Multicast if has_trees => spread(members.tree(packet, shape).agents.clone()),
            Way::Multicast => spread(members.tree(packet, shape).children(false)),
            Way::RepairMulticast => Some((Destinations::Multicast, PacketKind::Repair)),
            Way::Crown => spread(members.tree(packet, shape).crown.clone()),
            Way::Repair(to) => Some((Destinations::Members(alloc::vec![to]), PacketKind::Repair)),
            Way::Tree { zones_only } => spread(members.tree(packet, shape).children(zones_only)),
        }
    }
}

/// Bytes of the largest packet, and of what an introduction may take of them.
pub(super) const fn packet_room(config: &Config) -> (usize, usize) {
    (config.link.datagram_bytes - OVERHEAD_BYTES - FRAME_HEADER_BYTES, INTRODUCTION_BYTES)
}

/// Bytes of the largest control datagram.
pub(super) fn control_datagram(config: &Config) -> usize {
    config.link.datagram_bytes.min(CONTROL_BYTES_MAX)
}

pub(super) fn single(to: SocketAddr, bytes: usize) -> Transmit {
    Transmit { to: Destinations::Members(alloc::vec![to]), segment_bytes: bytes }
}
