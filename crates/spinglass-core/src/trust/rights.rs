//! What members may do: the rules of the configuration, or those that came by order.

use alloc::collections::BTreeMap;
use alloc::sync::Arc;

use super::{Holder, Trust};
use crate::crypto::Crypto;
use crate::event::Reject;
use crate::id::{MemberId, StreamId, TopicId};
use crate::identity::SpiffeId;
use crate::members::{MemberRecord, Members};
use crate::orders;
use crate::rules::{Action, Decision, Policy};
use crate::table::{Kind, RESERVED, UnverifiedRow};

impl Trust {
    /// Goes by these rules from now on; with none, by those of the configuration.
    pub(crate) fn go_by(&mut self, ordered: Option<Policy>, crypto: &mut dyn Crypto) {
        if self.ordered != ordered {
            self.ordered = ordered;
            self.note_rules(crypto);
        }
    }

    /// Takes note that the rules have changed.
    pub(super) fn note_rules(&mut self, crypto: &mut dyn Crypto) {
        self.rules_changes = self.rules_changes.wrapping_add(1);
        self.topics.heed(rules(&self.policy, &self.ordered), crypto);
    }

    /// The rules that hold, and for whom this member is taken by them.
    pub(crate) fn rules(&self) -> Option<(&SpiffeId, &Policy)> {
        let policy = rules(&self.policy, &self.ordered)?;
        Some((self.holder(self.own)?.certified.name(), policy))
    }

    /// A number that changes when they do.
    pub(crate) const fn rules_changes(&self) -> u32 {
        self.rules_changes
    }

    /// What the rules say; without any, everything certified is allowed.
    pub(super) fn decide(&self, holder: &Holder, action: &Action<'_>) -> Decision {
        let whatever = Decision { allowed: true, rule: None };
        let name = holder.certified.name();
        let rules = match action {
            // Rules that came by order must not decide who gives the next.
            Action::Govern => self.policy.as_ref(),
            _ => rules(&self.policy, &self.ordered),
        };
        match rules {
            Some(policy) => policy.decide(name, action),
            None if *action == Action::Govern => Decision { allowed: false, rule: None },
            None => whatever,
        }
    }

    /// Whether the configuration has rules, by which alone others may come by order.
    pub(crate) const fn has_rules(&self) -> bool {
        self.policy.is_some()
    }

    /// Whether a member may give the group a new link key.
    pub(crate) fn may_rotate(&self, holder: &Holder) -> bool {
        self.decide(holder, &Action::Rotate).allowed
    }

    /// Members that may, of those whose certificates are held.
    pub(crate) fn rotators(&self) -> impl Iterator<Item = MemberId> {
        let may =
            self.held.iter().filter(|(_, held)| !held.is_shunned && self.may_rotate(&held.holder));
        may.map(|(id, _)| *id)
    }

    /// Whether this member may do something itself.
    ///
    /// # Errors
    /// It may not: the rule that says so.
    pub(crate) fn decide_own(&self, action: &Action<'_>) -> Result<(), Denied> {
        let Some(own) = self.holder(self.own) else { return Err(Denied { rule: None }) };
        let Decision { allowed, rule } = self.decide(own, action);
        if allowed { Ok(()) } else { Err(Denied { rule }) }
    }

    /// Whether a record whose signature verified may be kept: its member is certified, for its
    /// region, and may join.
    ///
    /// # Errors
    /// Why not.
    pub(crate) fn check_record(
        &mut self,
        record: &MemberRecord,
        wall_s: u64,
    ) -> Result<(), Reject> {
        if record.certificate.is_none() {
            return Err(Reject::Uncertified);
        }
        let holder = self.check(record.id(), wall_s)?;
        let certified = &holder.certified;
        if *certified.public_key() != record.public_key || *certified.name().zone() != record.region
        {
            return Err(Reject::Misnamed);
        }
        let join = Action::Join(record.region.clone());
        if self.decide(&holder, &join).allowed { Ok(()) } else { Err(Reject::Denied) }
    }

    /// Whether packets of a stream may be taken in: their sender is certified, and may publish on
    /// the topic.
    ///
    /// # Errors
    /// Why not.
    pub(crate) fn check_origin(
        &mut self,
        stream: &StreamId,
        members: &Members,
        wall_s: u64,
    ) -> Result<(), Reject> {
        let StreamId { sender, topic, .. } = *stream;
        let holder = self.check(sender, wall_s)?;
        let Some(policy) = rules(&self.policy, &self.ordered) else { return Ok(()) };
        let who = (sender, holder.certified.name());
        let text = || members.text(topic).cloned();
        if self.topics.may_publish(policy, who, topic, text) { Ok(()) } else { Err(Reject::Denied) }
    }

    /// Whether this member may publish on a topic. Of one whose text it was never told it says what
    /// a relay would.
    ///
    /// # Errors
    /// It may not.
    pub(crate) fn check_publish(
        &mut self,
        topic: TopicId,
        members: &Members,
    ) -> Result<(), Denied> {
        let rules = rules(&self.policy, &self.ordered);
        let (Some(policy), Some(held)) = (rules, self.held.get(&self.own)) else {
            return Ok(());
        };
        let who = (self.own, held.holder.certified.name());
        let text = members.text(topic);
        if self.topics.may_publish(policy, who, topic, || text.cloned()) {
            return Ok(());
        }
        text.map_or(Err(Denied { rule: None }), |text| self.decide_own(&Action::Publish(text)))
    }

    /// Whether this member may subscribe to a topic. Without its text, only if there is no policy.
    ///
    /// # Errors
    /// It may not.
    pub(crate) fn check_subscribe(&self, topic: TopicId, members: &Members) -> Result<(), Denied> {
        match members.text(topic) {
            Some(text) => self.decide_own(&Action::Subscribe(text)),
            None if rules(&self.policy, &self.ordered).is_none() => Ok(()),
            None => Err(Denied { rule: None }),
        }
    }

    /// A topic's text has become known.
    pub(crate) fn on_text(&mut self) {
        self.topics.forget_decisions();
    }

    /// Whether a row may be taken in, as far as its issuer's certificate and the rules go.
    ///
    /// # Errors
    /// Why not.
    pub(crate) fn check_row(
        &mut self,
        row: &UnverifiedRow<'_>,
        issuer: MemberId,
        wall_s: u64,
    ) -> Result<(), Reject> {
        let holder = self.check(issuer, counts_at(row, wall_s))?;
        self.check_row_of(&holder, row)
    }

    /// The same of a row that somebody showed, by a certificate that is held or in `told`.
    ///
    /// # Errors
    /// Why not.
    pub(crate) fn check_told_row(
        &mut self,
        row: &UnverifiedRow<'_>,
        issuer: MemberId,
        told: &BTreeMap<MemberId, Arc<Holder>>,
        wall_s: u64,
    ) -> Result<(), Reject> {
        let at = counts_at(row, wall_s);
        let holder = match (self.holder(issuer), told.get(&issuer)) {
            (None, Some(told)) if told.certified.holds(at) => Arc::clone(told),
            (None, Some(_)) => return Err(Reject::Expired),
            _ => self.check(issuer, at)?,
        };
        self.check_row_of(&holder, row)
    }

    fn check_row_of(&self, holder: &Holder, row: &UnverifiedRow<'_>) -> Result<(), Reject> {
        let name = holder.certified.name();
        let is_of_issuer = match row.kind() {
            Kind::Agent => name.zone() == row.zone() && name.node() == row.name(),
            Kind::Zone => {
                let zone = row.zone().child(row.name()).map_err(|_| Reject::Misplaced)?;
                name.zone().is_within(&zone)
            }
            Kind::Function | Kind::Order => name.zone().is_within(row.zone()),
        };
        if !is_of_issuer {
            return Err(Reject::Misnamed);
        }
        let allowed = match row.kind() {
            Kind::Zone => true,
            Kind::Order => self.decide(holder, &orders::right(row.name())).allowed,
            Kind::Function => {
                let zone = row.zone().clone();
                let install = Action::Install { function: row.name(), zone };
                self.decide(holder, &install).allowed || cfg!(spinglass_bug = "install_unchecked")
            }
            Kind::Agent => {
                let set = row.attributes().iter().map(|(name, _)| name.as_str());
                set.filter(|name| !RESERVED.contains(name)).all(|attribute| {
                    let zone = row.zone().clone();
                    self.decide(holder, &Action::Write { attribute, zone }).allowed
                })
            }
        };
        if allowed { Ok(()) } else { Err(Reject::Denied) }
    }
}

/// When a row's issuer must have been certified, for the row to count.
fn counts_at(row: &UnverifiedRow<'_>, wall_s: u64) -> u64 {
    match row.kind() {
        // Installed once, and for all who come later: whoever installed it may be gone.
        Kind::Function | Kind::Order => row.issued_ms() / 1000,
        Kind::Agent | Kind::Zone => wall_s,
    }
}

/// The rules that hold.
fn rules<'a>(own: &'a Option<Policy>, ordered: &'a Option<Policy>) -> Option<&'a Policy> {
    ordered.as_ref().or(own.as_ref())
}

/// Something that the policy denies.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Denied {
    /// The rule that says so, counted from 0; none is about it.
    pub rule: Option<usize>,
}

impl core::fmt::Display for Denied {
    fn fmt(&self, formatter: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        match self.rule {
            Some(rule) => write!(formatter, "rule {} of the policy denies it", rule + 1),
            None => formatter.write_str("no rule of the policy allows it"),
        }
    }
}

impl core::error::Error for Denied {}
