//! A node's part in certificates: what it refuses, whom it asks, and what it shows.

use alloc::vec::Vec;
use core::net::SocketAddr;

use super::{Identity, Node};
use crate::config::{Config, Security};
use crate::crypto::{Crypto, Hash};
use crate::error::NodeError;
use crate::event::{Destinations, Reject};
use crate::frame;
use crate::id::{MemberId, StreamId};
use crate::identity::{Certified, Chain, SpiffeId};
use crate::members::MemberRecord;
use crate::outbox::Control;
use crate::rules::{Action, Policy};
use crate::table::UnverifiedRow;
use crate::time::{Instant, Now};
use crate::trust::{Holder, Trust, chain_bytes_max};

impl Node {
    /// Whether whoever sealed a datagram is certified at this moment.
    pub(super) fn check_sealer(&mut self, from: MemberId, now: Now) -> Result<(), Reject> {
        self.check_quarantine(from)?;
        let Some(trust) = &mut self.trust else { return Ok(()) };
        let checked = trust.check(from, now.wall_s());
        if trust.is_wanting(&checked)
            && let Some(address) = self.members.address_of(from)
        {
            trust.want(address, from);
        }
        if cfg!(spinglass_bug = "uncertified_heard") {
            return Ok(());
        }
        checked.map(|_| ())
    }

    /// Whether a record whose signature verified may be kept. One whose certificate has not come is
    /// refused, and the certificate asked for.
    pub(super) fn check_record(
        &mut self,
        record: &MemberRecord,
        from: MemberId,
        now: Now,
    ) -> Result<(), Reject> {
        self.check_quarantine(record.id())?;
        let Some(trust) = &mut self.trust else { return Ok(()) };
        let checked = trust.check_record(record, now.wall_s());
        let is_missing = trust.is_wanting(&checked) || trust.is_behind(record);
        if is_missing && record.certificate.is_some() {
            let id = record.id();
            let of = if from == id { Some(record.address) } else { self.members.address_of(from) };
            of.into_iter().for_each(|of| trust.want(of, id));
        }
        if cfg!(spinglass_bug = "uncertified_heard") {
            return Ok(());
        }
        checked
    }

    /// Whether a row's issuer is certified for what it says.
    pub(super) fn check_row(
        &mut self,
        row: &UnverifiedRow<'_>,
        from: MemberId,
        now: Now,
    ) -> Result<(), Reject> {
        self.check_quarantine_of(row.issuer())?;
        let Some(trust) = &mut self.trust else { return Ok(()) };
        if !self.table.region().is_within(row.zone()) {
            return Err(Reject::Misplaced);
        }
        let issuer = MemberId::of_key(row.issuer(), &mut *self.crypto);
        let checked = trust.check_row(row, issuer, now.wall_s());
        if trust.is_wanting(&checked)
            && let Some(address) = self.members.address_of(from)
        {
            trust.want(address, issuer);
        }
        checked
    }

    /// Whether whoever signed a packet is certified at this moment.
    pub(super) fn check_origin(&mut self, stream: &StreamId, now: Now) -> Result<(), Reject> {
        let sender = stream.sender;
        self.check_quarantine(sender)?;
        let is_about_orders = Some(stream.topic) == self.orders_topic();
        match &mut self.trust {
            // A sender not met is asked for, as ever.
            Some(trust) if self.members.find(sender).is_some() => {
                if is_about_orders {
                    // What an order may say is decided by the row in it.
                    return trust.check(sender, now.wall_s()).map(|_| ());
                }
                trust.check_origin(stream, &self.members, now.wall_s())
            }
            _ => Ok(()),
        }
    }

    /// Takes in a chain of certificates; without trust anchors it is nothing to this member.
    pub(super) fn on_certificate(&mut self, chain: Chain, now: Now) -> Result<(), Reject> {
        let Some(trust) = &mut self.trust else {
            self.stats.frames_skipped += 1;
            return Ok(());
        };
        let is_new = trust.on_chain(chain, now.wall_s(), &mut *self.crypto)?;
        self.stats.certificates_taken += u64::from(is_new);
        Ok(())
    }

    /// Answers a request for certificates.
    pub(super) fn on_whose(&mut self, to: SocketAddr, members: &[MemberId]) {
        for member in members {
            let Some(trust) = &mut self.trust else { return };
            if trust.holder(*member).is_some() && trust.may_answer() {
                self.outbox.control(Control::Certificate { to: Some(to), member: *member });
            }
        }
    }

    /// Asks for the certificates that the last batch has shown to be missing. Whoever is asked for
    /// its own is a stranger, and is shown this member's before, or could not hear the question.
    pub(super) fn ask_for_certificates(&mut self) {
        let Some(trust) = &mut self.trust else { return };
        for (to, members) in trust.take_wanted() {
            if !self.members.has_met(to) {
                if !trust.may_face_stranger() {
                    continue;
                }
                self.outbox.control(Control::Certificate { to: Some(to), member: self.own.id() });
            }
            self.stats.certificates_asked += members.len() as u64;
            self.outbox.control(Control::Whose { to, members });
        }
    }

    /// Goes on with another certificate of its own, and other rules: a renewed one, before the one
    /// at hand ends.
    ///
    /// # Errors
    /// The chain does not hold, or is another member's; the rules keep this member out; or it is in
    /// no certified mode. Nothing changed.
    pub fn renew_security(&mut self, now: Now, security: &Security) -> Result<(), NodeError> {
        self.stats.inputs += 1;
        let Some(trust) = &mut self.trust else { return Err(NodeError::NotCertified) };
        let (config, identity) = (self.config.get(), &mut self.identity.clone());
        let holder = own_holder(config, &security.chain, identity, now, &mut *self.crypto)?;
        let hash = holder.certified.hash();
        let is_new = self.own.certificate != Some(hash);
        trust.renew(holder, security.policy.as_ref(), &mut *self.crypto)?;
        if is_new {
            // Others learn of it by a record that is newer.
            self.link.renew(&mut *self.crypto);
            self.sign_record(Some(hash));
        }
        Ok(())
    }

    /// Trusts these roots (X.509 certificates in DER) from now on, and no others: whoever is
    /// certified by none of them is heard no longer. What it knows to be revoked stays so. Its own
    /// certificate is not looked at: [`renew_security`](Self::renew_security) does that.
    ///
    /// # Errors
    /// There are none or too many, or one is no root; or it is in no certified mode. Nothing
    /// changed.
    pub fn trust_roots(&mut self, now: Now, roots: &[Vec<u8>]) -> Result<(), NodeError> {
        self.stats.inputs += 1;
        let Some(trust) = &mut self.trust else { return Err(NodeError::NotCertified) };
        self.crypto.trust_roots(roots).map_err(NodeError::Roots)?;
        let shunned = trust.recheck(now.wall_s(), &mut *self.crypto);
        self.shun(&shunned, now);
        Ok(())
    }

    /// The rules that hold for this member, and its name in them; none, if it goes by none. They
    /// are those of its configuration, or came by order.
    #[must_use]
    pub fn rules(&self) -> Option<(&SpiffeId, &Policy)> {
        self.trust.as_ref()?.rules()
    }

    /// A number that changes when the rules that hold do.
    #[must_use]
    pub fn rules_changes(&self) -> u32 {
        self.trust.as_ref().map_or(0, |trust| trust.rules_changes())
    }

    /// Writes a member's chain, and its record if there is room for both.
    pub(super) fn write_certificate(
        &mut self,
        to: Option<SocketAddr>,
        member: MemberId,
        buffer: &mut Vec<u8>,
    ) -> bool {
        let Some(holder) = self.trust.as_ref().and_then(|trust| trust.holder(member)).cloned()
        else {
            return false;
        };
        self.stats.certificates_sent += 1;
        let is_own = member == self.own.id();
        let begun = self.link.begin(is_own, buffer);
        frame::put_certificate(&holder.chain, buffer);
        if let Some(record) = self.members.find(member).cloned() {
            let before = buffer.len();
            frame::put_record(|buffer| record.encode(buffer), buffer);
            if buffer.len() > self.control_bytes_max() {
                buffer.truncate(before);
                if let Some(to) = to {
                    // The chain came first; whoever is told this next can believe it.
                    let records = if is_own { Vec::new() } else { alloc::vec![record] };
                    self.outbox.unpop_control(Control::Records { to, records });
                }
            }
        }
        self.link.seal(&begun, buffer, &mut *self.crypto);
        true
    }

    /// Has the chains of this member and of a packet's sender sent to those who are told of them at
    /// this moment for the first time. Returns whether there are any.
    pub(super) fn owe_certificates(
        &mut self,
        untold: &Destinations,
        sender: MemberId,
        now: Instant,
    ) -> bool {
        if self.trust.is_none() {
            return false;
        }
        let to: Vec<Option<SocketAddr>> = match untold {
            Destinations::Multicast | Destinations::Own(_) | Destinations::Fresh(_) => {
                alloc::vec![None]
            }
            Destinations::Members(members) => members.iter().copied().map(Some).collect(),
        };
        let own = self.own.id();
        let others = Some(sender).filter(|sender| *sender != own);
        let mut owes = false;
        for to in to {
            // What is put back last goes first.
            for member in others.into_iter().chain([own]) {
                if self.members.is_first_told(to, member, now) {
                    self.outbox.unpop_control(Control::Certificate { to, member });
                    owes = true;
                }
            }
        }
        owes
    }
}

/// What a member in certified mode starts with; none, if it is in none.
///
/// # Errors
/// Its own chain does not hold, is another's, or is too large; or the rules keep it out.
pub(super) fn new_trust(
    config: &Config,
    identity: &mut Identity,
    id: MemberId,
    now: Now,
    crypto: &mut dyn Crypto,
) -> Result<Option<(Trust, Hash)>, NodeError> {
    let Some(security) = config.security.as_deref() else { return Ok(None) };
    let holder = own_holder(config, &security.chain, identity, now, crypto)?;
    let hash = holder.certified.hash();
    let held_max = config.members.records_max;
    let trust = Trust::new((id, holder), security.policy.clone(), held_max, crypto);
    let join = Action::Join(identity.region.clone());
    trust.decide_own(&join).map_err(NodeError::Denied)?;
    Ok(Some((trust, hash)))
}

/// This member's own chain, if it is fit to be shown.
fn own_holder(
    config: &Config,
    chain: &Chain,
    identity: &mut Identity,
    now: Now,
    crypto: &mut dyn Crypto,
) -> Result<Holder, NodeError> {
    let (got, limit) =
        (chain.bytes().len(), chain_bytes_max(super::transmit::control_datagram(config)));
    if got > limit {
        return Err(NodeError::ChainTooLarge { limit, got });
    }
    let certified =
        Certified::verify_by(crypto, chain, now.wall_s()).map_err(NodeError::Certificate)?;
    if *certified.public_key() != crypto.public_key() {
        return Err(NodeError::OtherKey);
    }
    if *certified.name().zone() != identity.region {
        return Err(NodeError::OtherRegion { certified: certified.name().zone().clone() });
    }
    if identity.name.is_empty() {
        identity.name = certified.name().node().into();
    }
    if identity.name != certified.name().node() {
        return Err(NodeError::OtherName { certified: certified.name().node().into() });
    }
    Ok(Holder { certified, chain: chain.clone() })
}
