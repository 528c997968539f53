//! A node's part in proving members liars, and in hearing them no more.

use alloc::vec::Vec;
use core::net::SocketAddr;

use super::Node;
use crate::crypto::PublicKey;
use crate::event::{Event, Offence, Reject, Transmit};
use crate::frame;
use crate::id::MemberId;
use crate::multicast::Cx;
use crate::outbox::Control;
use crate::quarantine::{Exhibit, ExhibitRef, PROOF_FANOUT, Proof, Proven};
use crate::table::TableCx;
use crate::time::Now;

impl Node {
    /// Who is in quarantine here, and what for.
    pub fn quarantined(&self) -> impl Iterator<Item = (MemberId, Offence)> + '_ {
        self.quarantine.members()
    }

    /// Whether a member may be heard.
    pub(super) fn check_quarantine(&self, member: MemberId) -> Result<(), Reject> {
        if self.quarantine.holds(member) { Err(Reject::Quarantined) } else { Ok(()) }
    }

    /// The same of whoever has this key. Costs nothing while nobody is in quarantine.
    pub(super) fn check_quarantine_of(&mut self, key: &PublicKey) -> Result<(), Reject> {
        if self.quarantine.is_empty() {
            return Ok(());
        }
        let member = MemberId::of_key(key, &mut *self.crypto);
        self.check_quarantine(member)
    }

    /// Takes in half of a proof, whoever sent it.
    pub(super) fn on_exhibit(
        &mut self,
        exhibit: &ExhibitRef<'_>,
        from: MemberId,
        now: Now,
    ) -> Result<(), Reject> {
        self.stats.exhibits_received += 1;
        let member = match exhibit {
            ExhibitRef::Packet(packet) => packet.header.stream.sender,
            ExhibitRef::Row(row) => MemberId::of_key(row.issuer(), &mut *self.crypto),
        };
        if self.quarantine.holds(member) {
            return Ok(());
        }
        // Whoever is not met can do no harm here yet.
        if self.members.find(member).is_none() {
            self.ask_who_is(from, alloc::vec![member]);
            return Err(Reject::UnknownSender);
        }
        if let Some(trust) = &mut self.trust {
            trust.check(member, now.wall_s())?;
        }
        if !self.quarantine.may_check() {
            self.stats.exhibits_over_budget += 1;
            return Ok(());
        }
        let (half, held) = match exhibit {
            ExhibitRef::Packet(packet) => {
                let half = self.multicast.verify(packet, &mut cx!(self, now.monotonic))?;
                let sequence = packet.header.sequence.0;
                (half, self.multicast.exhibit(&packet.header.stream, sequence))
            }
            ExhibitRef::Row(row) => {
                let cx = &mut table_cx!(self, now.wall_ms);
                let row = self.table.verify(row.clone(), cx)?;
                let held = self.table.exhibit(row.key(), row.version());
                (Exhibit::Row(row), held)
            }
        };
        let by_own = held.and_then(|held| Proof::of(held, half.clone()));
        if let Some(proof) = by_own.or_else(|| self.quarantine.on_half(from, half)) {
            self.convict(proof, now);
        }
        Ok(())
    }

    /// Acts on what multicast and table have met since the last time.
    pub(super) fn act_on_proofs(&mut self, now: Now) {
        for proof in self.multicast.take_proofs().into_iter().chain(self.table.take_proofs()) {
            self.convict(proof, now);
        }
    }

    /// Puts a proven liar in quarantine, and tells others why.
    fn convict(&mut self, proof: Proof, now: Now) {
        let (id, offence) = (proof.member(), proof.offence());
        if id == self.own.id() {
            if self.quarantine.accuse_self() {
                self.events.push_back(Event::Quarantined { id, offence });
            }
            return;
        }
        let (is_new, _) = self.quarantine.keep(proof);
        if !is_new {
            return;
        }
        self.stats.quarantined += 1;
        self.multicast.expel(id);
        self.table.expel(id);
        self.events.push_back(Event::Quarantined { id, offence });
        self.after_table(now.monotonic);
        self.pass_proofs_on();
    }

    /// Passes proofs on to a few, each once.
    pub(super) fn pass_proofs_on(&mut self) {
        while let Some(proof) = self.quarantine.take_news() {
            self.members.look(&self.table);
            let draws = (0..PROOF_FANOUT).filter_map(|_| self.members.choose_partner(None));
            let mut partners: Vec<SocketAddr> = draws.collect();
            partners.sort_unstable();
            partners.dedup();
            for to in partners {
                let exhibits = proof.halves.to_vec();
                self.outbox.control(Control::Exhibits { to, exhibits, introduced: false });
            }
        }
    }

    /// Somebody tells of whom it holds proofs, or asks for some.
    pub(super) fn on_proven(&mut self, to: SocketAddr, proven: &Proven) {
        let Proven { is_question, members } = proven;
        if *is_question {
            for member in members {
                let Some(proof) = self.quarantine.proof(*member).cloned() else { continue };
                if !self.quarantine.may_show() {
                    self.stats.exhibits_over_budget += 1;
                    return;
                }
                let exhibits = Vec::from(proof.halves);
                self.outbox.control(Control::Exhibits { to, exhibits, introduced: false });
            }
            return;
        }
        let is_news = |member: &&MemberId| {
            let known = self.members.find(**member).is_some() && **member != self.own.id();
            known && !self.quarantine.holds(**member)
        };
        let members: Vec<MemberId> = members.iter().filter(is_news).copied().collect();
        if !members.is_empty() && self.quarantine.may_ask() {
            self.outbox.control(Control::Prove { to, members });
        }
    }

    /// Writes as many exhibits as fit one datagram, `long` if it must say who sends it; the rest
    /// goes back to the front of the queue. A packet of the largest size has no room beside that,
    /// and goes alone after it.
    pub(super) fn write_exhibits(
        &mut self,
        to: SocketAddr,
        mut exhibits: Vec<Exhibit>,
        long: bool,
        buffer: &mut Vec<u8>,
    ) -> Transmit {
        let begun = self.link.begin(long, buffer);
        if long {
            let own = self.own.clone();
            frame::put_record(|buffer| own.encode(buffer), buffer);
        }
        let limit = self.config.get().link.datagram_bytes - crate::crypto::TAG_BYTES;
        let mut written = 0;
        for exhibit in &exhibits {
            if buffer.len() + exhibit.frame_bytes() > limit {
                break;
            }
            exhibit.put(buffer);
            written += 1;
        }
        self.stats.exhibits_sent += written as u64;
        exhibits.drain(..written);
        if !exhibits.is_empty() && (written > 0 || long) {
            self.outbox.unpop_control(Control::Exhibits { to, exhibits, introduced: true });
        }
        self.link.seal(&begun, buffer, &mut *self.crypto);
        super::transmit::single(to, buffer.len())
    }
}
