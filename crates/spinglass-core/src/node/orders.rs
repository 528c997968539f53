//! A node's part in orders and epochs: what it gives, heeds, and asks others for.

use alloc::boxed::Box;
use alloc::collections::BTreeSet;
use alloc::string::{String, ToString as _};
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::net::SocketAddr;
use core::time::Duration;

use bytes::Bytes;
use spinglass_summary::Row;

use super::Node;
use crate::crypto::{Crypto, Domain, Epoch, Hash};
use crate::epochs::{Asker, Epochs, KeyAsk, KeyGive, byte};
use crate::event::{Event, Reject};
use crate::id::{MemberId, TopicId};
use crate::identity::Refusal;
use crate::knock::{Knocks, Rank};
use crate::members::Members;
use crate::multicast::Multicast;
use crate::object::{ObjectName, ObjectState};
use crate::orders::{self, BODY_BYTES_MAX, Body, NewOrder, Order, OrderError};
use crate::outbox::Control;
use crate::rules::{NamePattern, Policy};
use crate::table::{TableCx, TableRow, UnverifiedRow, row_name};
use crate::time::{Instant, Now};

/// The topic by which orders go out as messages, beside the table. Only what such a message holds
/// counts, so everybody may speak on it.
pub const ORDERS_TOPIC: &str = "spinglass/orders";
/// Members that rotate by themselves do so within this part of the time that they wait.
const ROTATION_SPREAD: u64 = 8;

/// What a node keeps of orders, beside their rows.
#[derive(Debug)]
pub(super) struct Orders {
    pub(super) epochs: Epochs,
    /// The topic by which they go out, too.
    pub(super) topic: TopicId,
    /// Lists and rules that came as objects, at most as many as there are orders.
    objects_heeded: BTreeSet<ObjectName>,
    /// Who has sent something under a key that this member does not have.
    behind: Option<SocketAddr>,
    /// The epoch that the datagram at hand is sealed under.
    pub(super) heard_under: Epoch,
    /// Strangers, and oneself as one.
    pub(super) knocks: Knocks,
    /// When this member rotates the link key by itself; none: it has not begun, or does not.
    next_rotation: Option<Instant>,
}

impl Orders {
    pub(super) fn new(
        (own, epoch): (MemberId, Epoch),
        (multicast, members): (&mut Multicast, &mut Members),
        knocks: Knocks,
        crypto: &mut dyn Crypto,
    ) -> Self {
        let topic = TopicId::of_text(ORDERS_TOPIC, crypto);
        multicast.expect(topic);
        members.name_text(topic, ORDERS_TOPIC);
        Self {
            epochs: Epochs::new(own, epoch),
            topic,
            objects_heeded: BTreeSet::new(),
            behind: None,
            heard_under: epoch,
            knocks,
            next_rotation: None,
        }
    }

    /// The newest key that this member has, as it stands among others.
    pub(super) fn rank(&self, crypto: &mut dyn Crypto) -> Rank {
        self.epochs.rank(self.knocks.is_shared(), crypto).unwrap_or_default()
    }
}

impl Node {
    pub(super) fn orders_topic(&self) -> Option<TopicId> {
        self.orders.as_ref().map(|orders| orders.topic)
    }

    /// Whether an event tells of what is missing on the orders' topic: nobody else's affair.
    pub(super) fn is_gap_in_orders(&self, event: &Event) -> bool {
        matches!(event, Event::Gap(gap) if Some(gap.stream.topic) == self.orders_topic())
    }

    // --- giving

    /// Gives everybody an order.
    ///
    /// # Errors
    /// This member has no right to, or the order makes no sense just now; nothing changed.
    pub fn give_order(&mut self, now: Now, order: NewOrder) -> Result<(), OrderError> {
        self.stats.inputs += 1;
        if self.trust.is_none() {
            return Err(OrderError::NotCertified);
        }
        let (order, tag, lasts) = match order {
            NewOrder::Rotate => return self.rotate(now),
            NewOrder::Revoke(list) => return self.revoke(list, now),
            NewOrder::Quarantine { who, lasts } => {
                let tag = self.tag(&who);
                (Order::Quarantine(who), tag, lasts)
            }
            NewOrder::Release(who) => {
                let id = orders::quarantine_name(&self.tag(&who));
                return self.lift(&id, now);
            }
            NewOrder::Trees(true) => (Order::Trees, Hash::default(), None),
            NewOrder::Trees(false) => return self.lift(orders::PATH, now),
            NewOrder::Rules(Some(policy)) => return self.govern(&policy, now),
            NewOrder::Rules(None) => return self.lift(orders::RULES, now),
            NewOrder::Clear => (Order::Clear, Hash::default(), None),
        };
        self.issue_order(&order, &tag, lasts, now)
    }

    /// Heeds a list of revocations, an X.509 CRL in DER, that this member's host has: here alone.
    ///
    /// # Errors
    /// It is none; or this member is in no certified mode. Nothing changed.
    pub fn heed_revocations(&mut self, now: Now, list: &[u8]) -> Result<(), OrderError> {
        self.stats.inputs += 1;
        if self.trust.is_none() {
            return Err(OrderError::NotCertified);
        }
        self.heed_list(list, now).map(|_| ()).map_err(OrderError::List)
    }

    fn tag(&mut self, who: &NamePattern) -> Hash {
        let who = who.to_string();
        self.crypto.hash(Domain::Line, who.as_bytes())
    }

    fn check_right(&self, id: &str) -> Result<(), OrderError> {
        let trust = self.trust.as_ref().ok_or(OrderError::NotCertified)?;
        trust.decide_own(&orders::right(id)).map_err(OrderError::Denied)
    }

    fn issue_order(
        &mut self,
        order: &Order,
        tag: &Hash,
        lasts: Option<Duration>,
        now: Now,
    ) -> Result<(), OrderError> {
        let attributes = order.attributes(tag, lasts);
        let id = String::from(row_name(&attributes));
        self.check_right(&id)?;
        self.put_order(&id, Some(attributes), now)
    }

    fn lift(&mut self, id: &str, now: Now) -> Result<(), OrderError> {
        self.check_right(id)?;
        let is_it = |row: &&Arc<TableRow>| row.name() == id && !row.is_removed();
        if self.table.orders().find(is_it).is_none() {
            return Err(OrderError::NoSuchOrder);
        }
        self.put_order(id, None, now)
    }

    fn put_order(&mut self, id: &str, attributes: Option<Row>, now: Now) -> Result<(), OrderError> {
        let cx = &mut table_cx!(self, now.wall_ms);
        let row = self.table.issue_order(id, attributes, cx).map_err(OrderError::Table)?;
        self.stats.orders_given += 1;
        if let Some(topic) = self.orders_topic() {
            let payload = Bytes::copy_from_slice(row.encoded());
            self.multicast.publish(topic, payload.into(), now.monotonic);
        }
        self.after_table(now.monotonic);
        self.heed_orders(None, now);
        Ok(())
    }

    /// Draws a new link key, and has everybody move to it.
    fn rotate(&mut self, now: Now) -> Result<(), OrderError> {
        let orders = self.orders.as_ref().ok_or(OrderError::NotCertified)?;
        let (epoch, is_moving) =
            (orders.epochs.newest().saturating_add(1), orders.epochs.is_moving());
        self.check_right(orders::KEY)?;
        if is_moving {
            return Err(OrderError::UnderWay);
        }
        let hash = self.crypto.new_epoch(byte(epoch)).ok_or(OrderError::NoKey)?;
        self.issue_order(&Order::Rekey { epoch, hash }, &Hash::default(), None, now)
    }

    fn revoke(&mut self, list: Bytes, now: Now) -> Result<(), OrderError> {
        self.check_right(&orders::list_name(&Hash::default()))?;
        let issuer = self.heed_list(&list, now).map_err(OrderError::List)?;
        let list = self.body(list)?;
        self.issue_order(&Order::Revoke(list), &issuer, None, now)
    }

    /// Has everybody go by other rules.
    fn govern(&mut self, policy: &Policy, now: Now) -> Result<(), OrderError> {
        if !self.trust.as_ref().is_some_and(|trust| trust.has_rules()) {
            return Err(OrderError::NoRules);
        }
        self.check_right(orders::RULES)?;
        let mut bytes = Vec::new();
        policy.encode(&mut bytes);
        let rules = self.body(bytes.into())?;
        self.issue_order(&Order::Rules(rules), &Hash::default(), None, now)
    }

    /// Puts into an order, or beside it, what may be too long for its row.
    fn body(&mut self, bytes: Bytes) -> Result<Body, OrderError> {
        if bytes.len() <= BODY_BYTES_MAX {
            return Ok(Body::Here(bytes));
        }
        let object = self.objects.put(bytes, &mut *self.crypto);
        Ok(Body::Object(object.map_err(|error| OrderError::Table(error.into()))?))
    }

    // --- heeding

    /// Takes an order in that came as a message.
    pub(super) fn on_order_message(&mut self, payload: &[u8], from: MemberId, now: Now) {
        let row = UnverifiedRow::parse(payload).map_err(|_| Reject::Malformed);
        let taken = row.and_then(|row| {
            if row.is_order() { self.on_table_row(row, from, now) } else { Err(Reject::Misplaced) }
        });
        if let Err(reject) = taken {
            self.stats.reject(reject);
        }
    }

    /// Heeds orders that came since the last time; `from` told of them.
    pub(super) fn heed_orders(&mut self, from: Option<MemberId>, now: Now) {
        if self.trust.is_none() {
            return;
        }
        let mut is_standing = false;
        for row in self.table.take_orders() {
            match (Order::of(row.attributes()), row.is_removed()) {
                (Some(Order::Rekey { epoch, hash }), false) => {
                    self.heed_rekey((epoch, hash), from);
                }
                (Some(Order::Revoke(Body::Here(list))), false) => {
                    // Whoever gave it could not check it for all; what is wrong is nobody's loss.
                    let _ = self.heed_list(&list, now);
                }
                (Some(Order::Clear), false) => {
                    self.table.clear(row.issued_ms());
                    self.after_table(now.monotonic);
                }
                _ => is_standing = true,
            }
        }
        if is_standing {
            self.heed_standing(now);
        }
    }

    fn heed_rekey(&mut self, order: (u32, Hash), from: Option<MemberId>) {
        let agents = self.table.agents_in_all();
        let Some(orders) = &mut self.orders else { return };
        if orders.epochs.on_order(order, agents, &mut self.link, &mut *self.crypto) {
            let to = from.and_then(|from| self.members.address_of(from));
            let to = to.or_else(|| self.choose_partner());
            to.into_iter().for_each(|to| self.ask_for_key(to));
        }
    }

    /// Lets orders lapse whose time is over.
    pub(super) fn let_orders_lapse(&mut self, now: Now) {
        if self.trust.is_some() && self.table.orders().any(|row| row.lapses_ms().is_some()) {
            self.heed_standing(now);
        }
    }

    /// Heeds quarantines, rules, and the way that packets are to go, as the orders in force say.
    fn heed_standing(&mut self, now: Now) {
        let in_force = |row: &&Arc<TableRow>| !row.is_removed() && !row.has_lapsed(now.wall_ms);
        let orders = self.table.orders().filter(in_force);
        let orders: Vec<Order> = orders.filter_map(|row| Order::of(row.attributes())).collect();
        let trees_alone = orders.contains(&Order::Trees);
        let rules = orders.iter().find_map(|order| match order {
            Order::Rules(body) => Some(body),
            _ => None,
        });
        self.heed_rules(rules);
        let quarantined = orders.into_iter().filter_map(|order| match order {
            Order::Quarantine(who) => Some(who),
            _ => None,
        });
        if let Some(trust) = &mut self.trust {
            let shunned = trust.quarantine(quarantined.collect());
            self.shun(&shunned, now);
        }
        self.multicast.use_trees_alone(trees_alone);
    }

    /// Goes by rules that came by order, once they are here; without an order, by the own ones.
    fn heed_rules(&mut self, rules: Option<&Body>) {
        let bytes = match rules {
            None => None,
            Some(Body::Here(bytes)) => Some(bytes.clone()),
            Some(Body::Object(object)) => match self.objects.state(object) {
                ObjectState::Held(bytes) => Some(bytes),
                // Until they come, what held holds.
                _ => return,
            },
        };
        let rules = bytes.and_then(|bytes| Policy::parse(&bytes).ok());
        let trust = self.trust.iter_mut();
        trust.for_each(|trust| trust.go_by(rules.clone(), &mut *self.crypto));
    }

    /// Heeds a list of revocations; returns its issuer's tag.
    fn heed_list(&mut self, list: &[u8], now: Now) -> Result<Hash, Refusal> {
        let Some(trust) = &mut self.trust else { return Ok(Hash::default()) };
        let (issuer, shunned) = trust.heed_list(list, now.wall_s(), &mut *self.crypto)?;
        self.shun(&shunned, now);
        Ok(issuer)
    }

    /// Forgets members that are heard no longer: their rows go at once, and their keys.
    pub(super) fn shun(&mut self, members: &[MemberId], now: Now) {
        for member in members {
            self.link.forget(*member, &mut *self.crypto);
            self.stats.members_shunned += 1;
        }
        if !members.is_empty() {
            self.table.shun(members);
            self.after_table(now.monotonic);
        }
    }

    // --- keys

    fn choose_partner(&mut self) -> Option<SocketAddr> {
        self.members.look(&self.table);
        self.members.choose_partner(None)
    }

    fn ask_for_key(&mut self, to: SocketAddr) {
        let Some(orders) = &mut self.orders else { return };
        let ask = orders.epochs.ask(&mut *self.crypto);
        self.stats.keys_asked += 1;
        self.outbox.control(Control::KeyAsk { to, ask });
    }

    /// Answers a request for an epoch's key: with the key, if it is genuine and this member has it;
    /// with the order, if the asker has not heard of it.
    pub(super) fn on_key_ask(
        &mut self,
        (from, to): (MemberId, SocketAddr),
        ask: &KeyAsk,
        now: Now,
    ) -> Result<(), Reject> {
        let (Some(trust), Some(orders)) = (&mut self.trust, &mut self.orders) else {
            return Ok(());
        };
        if !orders.epochs.may_give() {
            return Ok(());
        }
        let under = orders.heard_under;
        if ask.epoch < orders.epochs.newest() {
            let is_key = |row: &&Arc<TableRow>| {
                matches!(Order::of(row.attributes()), Some(Order::Rekey { .. }))
            };
            let rows: Vec<_> = self.table.orders().filter(is_key).cloned().collect();
            if !rows.is_empty() {
                let control = Box::new(Control::TableRows { to, rows });
                self.outbox.control(Control::Under { epoch: under, control });
            }
            return Ok(());
        }
        let holder = trust.check(from, now.wall_s())?;
        self.stats.signatures_checked += 1;
        let key = *holder.certified.public_key();
        if !ask.is_of((from, &key), &mut *self.crypto) {
            return Err(Reject::Forged);
        }
        let asker = Asker { id: from, at: to, under };
        if let Some(give) = orders.epochs.on_ask(asker, ask, &mut *self.crypto) {
            self.give_key(asker, give);
        }
        Ok(())
    }

    fn give_key(&mut self, asker: Asker, give: KeyGive) {
        self.stats.keys_given += 1;
        let Asker { at: to, under: epoch, .. } = asker;
        let control = Box::new(Control::KeyGive { to, give });
        self.outbox.control(Control::Under { epoch, control });
    }

    /// Takes an epoch's key in, and hands it on to those who waited for it.
    pub(super) fn on_key_give(&mut self, give: &KeyGive, now: Now) {
        let agents = self.table.agents_in_all();
        let Some(orders) = &mut self.orders else { return };
        if !orders.epochs.on_give(give, agents, &mut *self.crypto) {
            return;
        }
        for (asker, give) in orders.epochs.take_waiting(&mut *self.crypto) {
            let trust = self.trust.as_mut();
            if trust.is_some_and(|trust| trust.check(asker.id, now.wall_s()).is_ok()) {
                self.give_key(asker, give);
            }
        }
    }

    /// A datagram came that did not open: if it is under a key that this member does not have,
    /// whoever sent it may tell.
    pub(super) fn on_unopened(&mut self, from: SocketAddr, reject: Reject) {
        if matches!(reject, Reject::Epoch | Reject::Unsealed)
            && let Some(orders) = &mut self.orders
            && self.members.has_met(from)
        {
            orders.behind = Some(from);
        }
    }

    /// What a round of the multicast brings: the next key, requests for one that is missing, and,
    /// if it is time for that, a rotation.
    pub(super) fn on_epoch_round(&mut self, round: u32, now: Instant) {
        let Some(orders) = &mut self.orders else { return };
        orders.knocks.on_round(round);
        let has_moved = orders.epochs.on_round(round, &mut self.link, &mut *self.crypto);
        self.stats.epochs_entered += u64::from(has_moved);
        let (is_wanting, behind) = (orders.epochs.is_wanting(), orders.behind.take());
        if has_moved || orders.next_rotation.is_none() {
            let next = self.draw_rotation(now);
            self.orders.iter_mut().for_each(|orders| orders.next_rotation = next);
        }
        let partner = if is_wanting { self.choose_partner() } else { None };
        partner.into_iter().chain(behind).for_each(|to| self.ask_for_key(to));
        self.knock_if_locked_out(behind);
    }

    /// When this member is to give the group a new key by itself: not all who may at once.
    fn draw_rotation(&mut self, now: Instant) -> Option<Instant> {
        let every = self.config.get().link.rotate_every;
        let nanos = u64::try_from(every.as_nanos()).unwrap_or(u64::MAX);
        if nanos == 0 {
            return None;
        }
        let spread = self.object_rng.below(nanos / ROTATION_SPREAD + 1);
        Some(now + every + Duration::from_nanos(spread))
    }

    /// Rotates, if it is time to and nobody else has.
    pub(super) fn rotate_if_due(&mut self, now: Now) {
        let due = self.orders.as_ref().and_then(|orders| orders.next_rotation);
        if due.is_some_and(|due| due <= now.monotonic) {
            let next = self.draw_rotation(now.monotonic);
            self.orders.iter_mut().for_each(|orders| orders.next_rotation = next);
            // Whoever may not leaves it to others.
            let _ = self.rotate(now);
        }
    }

    // --- what is too long for an order

    /// Heeds lists of revocations and rules that have come as objects; returns those that have not.
    pub(super) fn heed_objects(&mut self, now: Now) -> Vec<ObjectName> {
        let orders: Vec<(Order, ObjectName)> = self.table.order_objects().collect();
        let mut awaited = Vec::new();
        for (order, object) in &orders {
            let Some(own) = &mut self.orders else { break };
            match self.objects.state(object) {
                _ if own.objects_heeded.contains(object) => (),
                ObjectState::Held(bytes) => {
                    own.objects_heeded.insert(*object);
                    match order {
                        // As above: what is wrong is nobody's loss.
                        Order::Revoke(_) => drop(self.heed_list(&bytes, now)),
                        _ => self.heed_standing(now),
                    }
                }
                _ => awaited.push(*object),
            }
        }
        let is_named = |object: &ObjectName| orders.iter().any(|(_, named)| named == object);
        self.orders.iter_mut().for_each(|own| own.objects_heeded.retain(is_named));
        awaited
    }

    /// Takes messages of orders out of what the application is to hear.
    pub(super) fn take_order_messages(&mut self) -> Vec<(MemberId, Bytes)> {
        let Some(topic) = self.orders_topic() else { return Vec::new() };
        let mut messages = Vec::new();
        self.events.retain(|event| match event {
            Event::Message(message) if message.stream.topic == topic => {
                messages.push((message.stream.sender, message.payload.clone()));
                false
            }
            Event::Gap(gap) => gap.stream.topic != topic,
            _ => true,
        });
        messages
    }
}
