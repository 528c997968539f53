//! What a hostile member makes up.

use std::net::SocketAddr;

use spinglass_core::crypto::PublicKey;
use spinglass_core::detector::{Verdict, accuse};
use spinglass_core::frame::{self, PacketKind};
use spinglass_core::multicast::{
    Digest, Entry, NO_FIRST, PacketHeader, PacketRef, Solicit, sign_burst,
};
use spinglass_core::quarantine::Proven;
use spinglass_core::table::{Kind, Name, Row, RowBuilder, RowKey, Value, Version, ZonePath};
use spinglass_core::wire::Put as _;
use spinglass_core::{
    Destinations, Incarnation, Load, MemberId, Node, Sequence, Share, StreamId, TopicId,
};

use super::{Badboy, Sent, TARGETS, Way};

/// 100 years, in milliseconds.
const FAR_MS: u64 = 100 * 365 * 86_400_000;
/// Accusations told in one round at most.
const ACCUSED_PER_ROUND: usize = 8;

impl Badboy {
    /// One round's attacks.
    pub(super) fn attack(&mut self, node: &Node, out: &mut Vec<Sent>) {
        let targets: Vec<SocketAddr> =
            (0..TARGETS).filter_map(|_| self.anybody()).map(|(_, to)| to).collect();
        let mut loads: Vec<Vec<u8>> = Vec::new();
        if self.does(Way::Forge) {
            loads.extend(self.forged_packets());
            loads.extend(self.forged_rows(node));
            loads.extend(self.forged_words(node));
        }
        if self.does(Way::FarFuture) {
            loads.extend(self.far_rows(node));
        }
        if self.does(Way::Abuse) {
            loads.extend(self.abuse());
        }
        if self.does(Way::TwoRows) {
            loads.extend(self.second_row(node));
        }
        if self.does(Way::Mislead) {
            loads.extend(self.false_summary(node));
        }
        if loads.is_empty() && !self.does(Way::Accuse) {
            return;
        }
        for to in targets {
            self.introduce(to, node, out);
            for load in &loads {
                self.send(Destinations::Members(vec![to]), false, load, out);
            }
        }
        if self.does(Way::Accuse) {
            self.accuse_everybody(node, out);
        }
    }

    fn anybody(&mut self) -> Option<(MemberId, SocketAddr)> {
        let other = self.others.get(self.rng.index(self.others.len())).copied();
        other.filter(|(id, _)| *id != self.boot.sender)
    }

    /// Says who it is, so that what follows opens.
    fn introduce(&mut self, to: SocketAddr, node: &Node, out: &mut Vec<Sent>) {
        let mut frames = self.introduction.clone();
        let record = node.own_record();
        frame::put_record(|buffer| record.encode(buffer), &mut frames);
        self.send(Destinations::Members(vec![to]), true, &frames, out);
    }

    /// A packet of another's with a bit turned, and the next one of its stream, signed by oneself.
    fn forged_packets(&mut self) -> Vec<Vec<u8>> {
        let mut loads = Vec::new();
        let seen = self.seen.get(self.rng.index(self.seen.len())).cloned();
        if let Some(mut packet) = seen {
            let at = self.rng.index(packet.len());
            packet.iter_mut().skip(at).take(1).for_each(|byte| *byte ^= 1);
            let kind = if at.is_multiple_of(2) { PacketKind::Spread } else { PacketKind::Repair };
            let mut load = Vec::new();
            frame::put_packet(kind, &packet, &mut load);
            loads.push(load.clone());
            load.clear();
            frame::put_exhibit(&mut load, |buffer| buffer.put(&packet));
            loads.push(load);
        }
        if let Some((victim, _)) = self.anybody() {
            let topic = self.streams().next().map_or(TopicId([7; 8]), |stream| stream.topic);
            let incarnation =
                Incarnation(if self.turn.is_multiple_of(2) { u64::MAX } else { 1002 });
            let stream = StreamId { topic, sender: victim, incarnation };
            let sequence = Sequence(self.rng.below(1 << 10));
            let load = Load(self.rng.below(256) as u8);
            let (recent, first, kept) = (0, NO_FIRST, 0);
            let header = PacketHeader { stream, sequence, recent, first, kept, load };
            let mut packet = Vec::new();
            header.encode(&mut packet);
            packet.put(b"what this member never said");
            let mut burst = [packet];
            sign_burst(&mut burst, &mut *self.crypto);
            let mut load = Vec::new();
            frame::put_packet(PacketKind::Spread, &burst[0], &mut load);
            loads.push(load);
        }
        loads
    }

    /// Its own row in another's name: with the other's key, and with the other's name.
    fn forged_rows(&mut self, node: &Node) -> Vec<Vec<u8>> {
        let rows: Vec<_> = node.table().held().filter(|row| row.kind() == Kind::Agent).collect();
        let Some(victim) =
            rows.get(self.rng.index(rows.len())).filter(|row| row.member() != self.boot.sender)
        else {
            return Vec::new();
        };
        let version =
            Version { counter: victim.version().counter.saturating_add(1), ..victim.version() };
        let attributes = lying(victim.attributes());
        let (zone, issued) = (victim.zone().clone(), victim.issued_ms());
        let in_its_key =
            self.row(Kind::Agent, &zone, *victim.issuer(), version, issued, &attributes);
        let own = self.crypto.public_key();
        let in_its_name = self.row(Kind::Agent, &zone, own, version, issued, &attributes);
        [in_its_key, in_its_name].map(|row| row_frame(&row)).into()
    }

    /// A record moved elsewhere, accusations by others, and news of proofs that there are none of.
    fn forged_words(&mut self, node: &Node) -> Vec<Vec<u8>> {
        let mut loads = Vec::new();
        if let Some(mut record) = self.records.get(self.rng.index(self.records.len())).cloned() {
            // Frame header, key, life, salt, generation: then the address.
            record.iter_mut().skip(3 + 60 + 2).take(1).for_each(|byte| *byte ^= 1);
            loads.push(record);
        }
        let agents: Vec<_> = self.region_of(node).into_iter().take(8).collect();
        if let Some((subject, version)) = agents.get(self.rng.index(agents.len())).copied() {
            let zone = node.table().region().clone();
            let mut observers: Vec<RowKey> =
                agents.iter().map(|(key, _)| *key).filter(|key| *key != subject).collect();
            observers.sort_unstable();
            let word = |observer| accuse(&zone, subject, version, observer, &mut *self.crypto);
            let accusations: Vec<_> = observers.into_iter().map(word).collect();
            if !accusations.is_empty() {
                let incarnation = version.incarnation;
                let verdict = Verdict { zone: zone.clone(), subject, incarnation, accusations };
                let mut load = Vec::new();
                frame::put_accusations(&verdict, &mut load);
                loads.push(load);
            }
        }
        let members: Vec<MemberId> =
            (0..8).filter_map(|_| self.anybody()).map(|(id, _)| id).collect();
        if !members.is_empty() {
            let mut load = Vec::new();
            let proven = Proven { is_question: self.turn.is_multiple_of(2), members };
            frame::put_proven(&mut load, |buffer| proven.encode(buffer));
            loads.push(load);
        }
        loads
    }

    /// Rows of its own that are from the future, and versions as high as they go.
    fn far_rows(&mut self, node: &Node) -> Vec<Vec<u8>> {
        if !self.far.is_empty() {
            return self.far.clone();
        }
        let Some(own) = node.table().own_row().cloned() else { return Vec::new() };
        let key = self.crypto.public_key();
        let (zone, issued) = (own.zone().clone(), own.issued_ms());
        let highest = Version { incarnation: Incarnation(u64::MAX), counter: u64::MAX };
        let mut rows = vec![
            self.row(Kind::Agent, &zone, key, own.version(), issued + FAR_MS, own.attributes()),
            self.row(Kind::Agent, &zone, key, highest, issued, own.attributes()),
        ];
        if zone.depth() > 0 {
            let parent = zone.ancestor(zone.depth() - 1);
            let highest = Version { incarnation: Incarnation(0), counter: u64::MAX };
            let attributes = named(own.attributes(), zone.last_name());
            rows.push(self.row(Kind::Zone, &parent, key, highest, issued, &attributes));
            rows.push(self.row(Kind::Zone, &parent, key, highest, issued + FAR_MS, &attributes));
        }
        self.far = rows.iter().map(|row| row_frame(row)).collect();
        self.far.clone()
    }

    /// Its own row, once more: of the same version, and another.
    fn second_row(&mut self, node: &Node) -> Option<Vec<u8>> {
        let own = node.table().own_row()?;
        let (zone, version, issued) = (own.zone().clone(), own.version(), own.issued_ms());
        let attributes = lying(own.attributes());
        let key = self.crypto.public_key();
        let row = self.row(Kind::Agent, &zone, key, version, issued, &attributes);
        Some(row_frame(&row))
    }

    /// The row of its region, falsified.
    fn false_summary(&mut self, node: &Node) -> Option<Vec<u8>> {
        let region = node.table().region().clone();
        let parent = region.ancestor(region.depth().checked_sub(1)?);
        let held = node.table().row(&parent, region.last_name())?;
        let counter = held.version().counter.saturating_add(1);
        let version = Version { incarnation: Incarnation(0), counter };
        let attributes = lying(held.attributes());
        let (key, issued) = (self.crypto.public_key(), held.issued_ms());
        let is_own = held.issuer() == &key && held.attributes() == &attributes;
        let version = if is_own { held.version() } else { version };
        let row = self.row(Kind::Zone, &parent, key, version, issued, &attributes);
        (!is_own).then(|| row_frame(&row))
    }

    /// Requests for everything, digests of streams that there are none of, and bytes.
    fn abuse(&mut self) -> Vec<Vec<u8>> {
        let mut loads = Vec::new();
        for stream in self.streams().take(2) {
            let mut load = Vec::new();
            let wanted = (0..64).map(|at| 1_000 - 10 * at..1_009 - 10 * at).collect();
            frame::put_solicit(&Solicit { round: 0, stream, wanted }, &mut load);
            loads.push(load);
        }
        let mut digest = Digest { round: self.rng.next_u64() as u32, entries: Vec::new() };
        for _ in 0..16 {
            let sender = MemberId(u128::from(self.rng.next_u64()).to_le_bytes());
            let stream =
                StreamId { topic: TopicId([7; 8]), sender, incarnation: Incarnation(1_002) };
            let high = u64::MAX - 1;
            digest.entries.push(Entry {
                stream,
                high,
                low: 0,
                missing: Vec::new(),
                sample: None,
                share: Share::ALL,
                quiet: 0,
            });
        }
        let mut load = Vec::new();
        frame::put_digest(false, &mut load, |buffer| digest.encode(buffer));
        loads.push(load);
        let junk: Vec<u8> = (0..1_000).map(|_| self.rng.next_u64() as u8).collect();
        loads.push(junk);
        loads
    }

    /// Its own word against everybody in its region, to all who may count it.
    fn accuse_everybody(&mut self, node: &Node, out: &mut Vec<Sent>) {
        let (own, zone) = (own_key(self.boot.sender), node.table().region().clone());
        let agents = self.region_of(node);
        let members: Vec<SocketAddr> = node
            .table()
            .held()
            .filter(|row| row.kind() == Kind::Agent && row.member() != self.boot.sender)
            .filter_map(|row| row.contacts().first().copied())
            .take(64)
            .collect();
        let first = self.turn as usize * ACCUSED_PER_ROUND;
        let some = (0..ACCUSED_PER_ROUND.min(agents.len()))
            .filter_map(|at| agents.get((first + at) % agents.len().max(1)).copied());
        let mut frames = Vec::new();
        for (subject, version) in some {
            for version in [version, Version { counter: u64::MAX, ..version }] {
                let accusation = accuse(&zone, subject, version, own, &mut *self.crypto);
                let incarnation = version.incarnation;
                let accusations = vec![accusation];
                let verdict = Verdict { zone: zone.clone(), subject, incarnation, accusations };
                // The highest counter would make it the newest of all, and part it from the rest.
                if version.counter != u64::MAX || self.turn.is_multiple_of(16) {
                    frame::put_accusations(&verdict, &mut frames);
                }
            }
        }
        if !members.is_empty() && !frames.is_empty() && frames.len() < 1_100 {
            self.send(Destinations::Members(members), false, &frames, out);
        }
    }

    /// Streams of which packets were seen of late.
    fn streams(&self) -> impl Iterator<Item = StreamId> + use<'_> {
        let packets = self.seen.iter().rev().filter_map(|packet| PacketRef::parse(packet).ok());
        packets.map(|packet| packet.header.stream)
    }

    fn region_of(&self, node: &Node) -> Vec<(RowKey, Version)> {
        let agents = node.table().held().filter(|row| row.kind() == Kind::Agent);
        let others = agents.filter(|row| row.member() != self.boot.sender);
        others.map(|row| (row.key(), row.version())).collect()
    }

    /// A row that says what it likes, signed by itself, whatever key it names.
    fn row(
        &mut self,
        kind: Kind,
        zone: &ZonePath,
        issuer: PublicKey,
        version: Version,
        issued_ms: u64,
        attributes: &Row,
    ) -> Vec<u8> {
        let mut body = Vec::new();
        body.put_u8(match kind {
            Kind::Agent => 0,
            Kind::Zone => 1,
            Kind::Function => 2,
            Kind::Order => 3,
        });
        body.put_text(zone.as_str());
        body.put(&issuer.0);
        body.put_varint(version.incarnation.0);
        body.put_varint(version.counter);
        body.put_u64(issued_ms);
        body.put_u8(0);
        attributes.encode(&mut body);
        let signed = [b"spinglass row v1".as_slice(), &body].concat();
        let signature = self.crypto.sign(&signed);
        body.put(&signature.0);
        body
    }
}

fn row_frame(row: &[u8]) -> Vec<u8> {
    let mut load = Vec::new();
    frame::put_row(row, &mut load);
    load
}

/// The same attributes, and one more.
fn lying(attributes: &Row) -> Row {
    rebuilt(attributes, "lie", Value::Int(1))
}

/// The same attributes under another name.
fn named(attributes: &Row, name: &str) -> Row {
    rebuilt(attributes, "id", Value::text(name))
}

fn rebuilt(attributes: &Row, name: &str, value: Value) -> Row {
    let mut builder = RowBuilder::default();
    attributes.iter().for_each(|(name, value)| builder.set(name.clone(), value.clone()));
    builder.set(Name::new(name).expect("a legal name"), value);
    builder.build()
}

fn own_key(id: MemberId) -> RowKey {
    let [a, b, c, d, e, f, g, h, ..] = id.0;
    RowKey(u64::from_le_bytes([a, b, c, d, e, f, g, h]))
}
