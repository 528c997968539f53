//! A node's part in who is who: records taken in, asked for and told.

use alloc::boxed::Box;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::net::SocketAddr;

use super::{Identity, Node};
use crate::budget::take_one;
use crate::crypto::Hash;
use crate::event::Reject;
use crate::frame::{Frame, WHO_IS_MAX};
use crate::id::MemberId;
use crate::link::{Boot, Opened};
use crate::members::{Learned, MemberRecord, RECORDS_PER_DATAGRAM, RecordPool, UnverifiedRecord};
use crate::outbox::Control;
use crate::time::Now;
use crate::wire::Reader;

impl Node {
    /// Takes in what a long datagram of a boot not met yet starts with: its record, and before it
    /// the chain by which it is believed. That may come alone, where there is no room for both:
    /// then there is nothing else to be read.
    pub(super) fn on_first_frames(
        &mut self,
        reader: &mut Reader<'_>,
        boot: Boot,
        opened: &Opened,
        now: Now,
    ) -> Result<bool, Reject> {
        let mut is_first = true;
        loop {
            match Frame::next(reader).transpose()? {
                Some(Frame::Record(record)) => {
                    self.on_introduction(record, boot, opened, now)?;
                    return Ok(true);
                }
                Some(Frame::Certificate(chain)) if is_first => self.on_certificate(chain, now)?,
                None if !is_first => return Ok(false),
                _ => return Err(Reject::UnknownBoot),
            }
            is_first = false;
        }
    }

    /// The record with which a boot not met yet introduces itself.
    fn on_introduction(
        &mut self,
        record: UnverifiedRecord,
        boot: Boot,
        opened: &Opened,
        now: Now,
    ) -> Result<(), Reject> {
        match self.on_record(record, boot.sender, now)? {
            Some(record) if record.boot() == boot => {
                self.link.admit(opened, &record, &mut *self.crypto);
                Ok(())
            }
            _ => Err(Reject::UnknownBoot),
        }
    }

    /// Takes in a record; returns the copy that is kept if it is the latest of its member.
    pub(super) fn on_record(
        &mut self,
        mut record: UnverifiedRecord,
        from: MemberId,
        now: Now,
    ) -> Result<Option<Arc<MemberRecord>>, Reject> {
        let id = record.name(&mut *self.crypto);
        if id == self.own.id() {
            return Ok(None);
        }
        if let Some(known) = self.members.find(id).filter(|known| record.equals(known)) {
            let known = Arc::clone(known);
            self.check_record(&known, from, now)?;
            let name = known.boot().name(&mut *self.crypto);
            // Also what is known already is heard: whoever is spoken of is not forgotten first.
            self.members.on_record(&known, name);
            return Ok(Some(known));
        }
        self.stats.signatures_checked += 1;
        let Some(record) = record.verify(&mut *self.crypto) else {
            return Err(Reject::Forged);
        };
        self.check_record(&record, from, now)?;
        let record = self.members.shared(Arc::new(record));
        let name = record.boot().name(&mut *self.crypto);
        match self.members.on_record(&record, name) {
            Learned::Newer => {
                self.link.forget(id, &mut *self.crypto);
                self.reply_ports.forget(record.address);
            }
            Learned::New | Learned::Known => (),
            Learned::Stale if from == id => return Err(Reject::StaleIncarnation),
            Learned::Stale => return Ok(None),
        }
        Ok(Some(record))
    }

    pub(super) fn ask_who_is(&mut self, whom: MemberId, members: Vec<MemberId>) {
        let Some(to) = self.members.address_of(whom) else { return };
        if take_one(&mut self.who_is_left) {
            self.outbox.control(Control::WhoIs { to, members });
        }
    }

    pub(super) fn on_who_is(&mut self, to: SocketAddr, members: &[MemberId]) {
        if self.trust.is_some() {
            // Whoever does not know the member has no certificate of it: its record goes with that.
            return self.on_whose(to, members);
        }
        let found = members.iter().filter_map(|id| self.members.find(*id));
        let records: Vec<_> = found.take(WHO_IS_MAX).cloned().collect();
        for records in records.chunks(RECORDS_PER_DATAGRAM) {
            self.outbox.control(Control::Records { to, records: records.to_vec() });
        }
    }

    /// Lets agents of one process share the memory of records that they verified.
    pub fn share_records(&mut self, pool: Box<dyn RecordPool>) {
        self.own = self.members.share_with(pool);
    }

    /// Signs the own record anew, after something in it changed.
    pub(super) fn renew_record(&mut self) {
        self.sign_record(self.own.certificate);
    }

    /// The same, with this certificate.
    pub(super) fn sign_record(&mut self, certificate: Option<Hash>) {
        let Identity { incarnation, address, region, .. } = &self.identity;
        let (boot, said) = (self.link.boot(), (region.clone(), certificate));
        let own = MemberRecord::sign(&boot, *incarnation, *address, said, &mut *self.crypto);
        self.stats.signatures_made += 1;
        self.own = Arc::new(own);
        self.members.renew_own(&self.own);
    }
}
