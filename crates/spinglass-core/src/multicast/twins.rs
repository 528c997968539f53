//! Two packets of one number: how they are noticed, and what becomes of their sender's streams.
//!
//! A packet that is held already is compared with the one held, byte by byte, which costs some 30
//! ns; only one that differs is hashed and verified. Since nobody is sent what it says it has,
//! digests tell prints of packets, too: see [`Sample`].

use bytes::Bytes;

use super::digest::{Digest, Entry, SAMPLED_PACKETS, Sample};
use super::packet::PacketRef;
use super::stream::Stream;
use super::{Cx, Multicast};
use crate::crypto::{Crypto, Domain};
use crate::event::Reject;
use crate::id::{MemberId, StreamId};
use crate::outbox::Control;
use crate::quarantine::{Exhibit, Proof};
use core::net::SocketAddr;

/// Proofs kept until they are asked for: a batch of datagrams brings few.
const PROOFS_MAX: usize = 16;

/// Whether another packet of this one's number is held.
pub(super) fn is_twin(stream: &Stream, packet: &PacketRef<'_>) -> bool {
    stream.held(packet.header.sequence.0).is_some_and(|held| held.leaf() != packet.leaf)
}

impl Multicast {
    /// Notes a verified packet if another of its number is held. Returns whether one is.
    pub(super) fn take_twin(&mut self, packet: &PacketRef<'_>, bytes: &Bytes) -> bool {
        let held = self.exhibit(&packet.header.stream, packet.header.sequence.0);
        let other = Exhibit::of_packet(packet, bytes.clone());
        let Some(proof) = held.and_then(|held| Proof::of(held, other)) else { return false };
        if self.proofs.len() < PROOFS_MAX {
            self.proofs.push(proof);
        }
        true
    }

    /// Proofs that were met since this was asked last.
    pub(crate) fn take_proofs(&mut self) -> alloc::vec::Vec<Proof> {
        core::mem::take(&mut self.proofs)
    }

    /// A packet that is held, as half of a proof.
    pub(crate) fn exhibit(&self, stream: &StreamId, sequence: u64) -> Option<Exhibit> {
        let held = self.streams.get(stream)?.held(sequence)?;
        let (stream, bytes) = (*stream, held.packet.clone());
        Some(Exhibit::Packet { stream, sequence, leaf: held.leaf().len(), bytes })
    }

    /// Verifies a packet that is shown as half of a proof.
    ///
    /// # Errors
    /// Its sender is not known, or did not sign it.
    pub(crate) fn verify(
        &mut self,
        packet: &PacketRef<'_>,
        cx: &mut Cx<'_>,
    ) -> Result<Exhibit, Reject> {
        let sender = packet.header.stream.sender;
        let (key, _) = cx.members.key_of(sender).ok_or(Reject::UnknownSender)?;
        let leaf = cx.crypto.hash(Domain::Leaf, packet.leaf);
        let checks = &mut cx.stats.signatures_checked;
        let genuine = self.bursts.verify(packet, leaf, &key, checks, cx.crypto);
        let exhibit = || Exhibit::of_packet(packet, Bytes::copy_from_slice(packet.bytes));
        if genuine { Ok(exhibit()) } else { Err(Reject::Forged) }
    }

    /// The sample that an entry of a digest tells: of a quiet stream its newest packet, of others
    /// one of the last, another one each round.
    pub(super) fn sample(&self, stream: &Stream, crypto: &mut dyn Crypto) -> Option<Sample> {
        let newest = stream.high().checked_sub(1)?;
        let span = SAMPLED_PACKETS.min(stream.high());
        let [turn, ..] = self.own.0;
        let turn = u64::from(self.round).wrapping_mul(29).wrapping_add(turn.into());
        let is_quiet = stream.tails_told > 0;
        let back = if is_quiet { 0 } else { turn % span };
        let (sequence, held) = [newest - back, newest]
            .into_iter()
            .find_map(|sequence| stream.held(sequence).map(|held| (sequence, held)))?;
        Some(Sample::of(sequence, held.leaf(), (self.own, self.round), crypto))
    }

    /// Compares a digest's samples with what is held, and shows its sender the packets that look
    /// otherwise.
    pub(super) fn compare_samples(
        &mut self,
        (from, to): (MemberId, SocketAddr),
        digest: &Digest,
        cx: &mut Cx<'_>,
    ) {
        for Entry { stream, sample, .. } in &digest.entries {
            let Some(sample) = sample else { continue };
            let held = self.streams.get(stream).and_then(|stream| stream.held(sample.sequence));
            let Some(held) = held else { continue };
            let own = Sample::of(sample.sequence, held.leaf(), (from, digest.round), cx.crypto);
            if own == *sample {
                continue;
            }
            if !cx.quarantine.may_show() {
                cx.stats.exhibits_over_budget += 1;
                return;
            }
            let exhibits = self.exhibit(stream, sample.sequence).into_iter().collect();
            cx.outbox.control(Control::Exhibits { to, exhibits, introduced: false });
        }
    }

    /// Drops everything of a sender: a liar, of whom nothing more is relayed, kept or delivered.
    pub(crate) fn expel(&mut self, sender: MemberId) {
        let buffered = &mut self.buffered;
        self.streams.retain(|id, stream| {
            let is_its = id.sender == sender;
            if is_its {
                let held = stream.all_held();
                buffered.packets -= held.packets;
                buffered.bytes -= held.bytes;
            }
            !is_its
        });
        self.claims.forget(sender);
        self.peers.forget(sender);
    }
}
