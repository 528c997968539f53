//! A node's part in packets: those of a batch are looked at together.

use core::net::SocketAddr;

use bytes::BytesMut;
use smallvec::SmallVec;

use super::{FEW, Node};
use crate::crypto::Domain;
use crate::event::Reject;
use crate::id::{MemberId, StreamId};
use crate::multicast::{Candidate, Cx, ENVELOPE_BYTES};
use crate::time::Now;

impl Node {
    /// Packets of a batch: a cheap look, then all their leaves hashed side by side, then each its
    /// proof, and at last what became deliverable.
    pub(super) fn on_packets(
        &mut self,
        candidates: &[Candidate<'_>],
        sources: &[SocketAddr],
        now: Now,
    ) {
        let mut wanted = SmallVec::<[_; FEW]>::new();
        let (at, now) = (now, now.monotonic);
        for (candidate, source) in candidates.iter().zip(sources) {
            let bytes = candidate.packet.bytes.len() + ENVELOPE_BYTES;
            self.stats.packet_bytes_received += bytes as u64;
            let checked = self.check_origin(&candidate.packet.header.stream, at);
            match checked.and_then(|()| self.multicast.wants(candidate, &mut cx!(self, now))) {
                Ok(true) => wanted.push((candidate, *source)),
                Ok(false) => (),
                Err(reject) => self.refuse_packet(candidate, reject),
            }
        }
        let leaves: SmallVec<[&[u8]; FEW]> =
            wanted.iter().map(|(candidate, _)| candidate.packet.leaf).collect();
        let mut hashes = core::mem::take(&mut self.hashes);
        hashes.clear();
        self.crypto.hash_many(Domain::Leaf, &leaves, &mut hashes);
        // One allocation holds the batch's packets: they come and go together.
        let total = wanted.iter().map(|(candidate, _)| candidate.packet.bytes.len()).sum();
        let mut batch = BytesMut::with_capacity(total);
        // Streams, and whom a packet of each came from.
        let mut touched = SmallVec::<[(StreamId, MemberId); FEW]>::new();
        for ((candidate, source), leaf) in wanted.into_iter().zip(hashes.iter().copied()) {
            if !self.doubts.admits(source) {
                self.stats.reject(Reject::Forged);
                continue;
            }
            batch.extend_from_slice(candidate.packet.bytes);
            let bytes = batch.split().freeze();
            match self.multicast.on_packet(candidate, leaf, bytes, &mut cx!(self, now)) {
                Ok(()) => {
                    let stream = candidate.packet.header.stream;
                    if touched.last().is_none_or(|(last, _)| *last != stream) {
                        touched.push((stream, candidate.from));
                    }
                }
                Err(reject) => {
                    self.doubts.note(source, reject);
                    self.refuse_packet(candidate, reject);
                }
            }
        }
        self.hashes = hashes;
        touched.sort_unstable();
        touched.dedup_by_key(|(stream, _)| *stream);
        let is_about_orders = |topic| Some(topic) == self.orders_topic();
        let brings_orders = touched.iter().any(|(stream, _)| is_about_orders(stream.topic));
        for (stream, from) in touched {
            self.name_topic(stream.topic, (from, stream.sender), now);
            self.multicast.deliver(stream, &mut cx!(self, now));
        }
        if brings_orders {
            for (from, payload) in self.take_order_messages() {
                self.on_order_message(&payload, from, at);
            }
        }
    }

    fn refuse_packet(&mut self, candidate: &Candidate<'_>, reject: Reject) {
        self.stats.reject(reject);
        if reject == Reject::UnknownSender {
            let StreamId { sender, .. } = candidate.packet.header.stream;
            self.ask_who_is(candidate.from, alloc::vec![sender]);
        }
    }
}
