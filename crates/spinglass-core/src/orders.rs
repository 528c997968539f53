//! Orders: what somebody with the right to do so tells everybody to do, at once: move to a new link
//! key, hear some members no longer, go by other rules, forget old state, spread packets another
//! way.
//!
//! That is the reaction the paper asks for (Birman, van Renesse, Vogels, section 7): "rapidly and
//! consistently notifying participants, which can then switch to a backup network, rekey, or take
//! other actions to repel the aggression". An order is a row of the root's table, signed by who
//! gave it, so it spreads as rows do, reaches whoever comes later, and is replaced or lifted as a
//! summary function is. It also goes out as a message, so that neither table nor multicast alone
//! can hold it up.
//!
//! Invariants: an order counts only if the certificate of who signed it held when it was given, and
//! the rules let that member give it; of an order with rules the rules of each member's own
//! configuration decide, so that none can lock out who gave it; an epoch's number never goes back.

use alloc::format;
use alloc::string::{String, ToString as _};
use core::fmt;
use core::time::Duration;

use bytes::Bytes;
use spinglass_summary::{Name, Row, RowBuilder, Value};

use crate::crypto::Hash;
use crate::identity::Refusal;
use crate::object::ObjectName;
use crate::rules::{Action, NamePattern, Policy};
use crate::table::SetError;
use crate::trust::Denied;

/// Orders held at most, lifted ones included: beyond it, none with a new name is taken in.
pub const ORDERS_MAX: usize = 64;
/// Bytes of a list or of rules that have room in an order's row; longer ones go as an object.
pub(crate) const BODY_BYTES_MAX: usize = 560;

/// Name of the order that gives the group a new link key.
pub(crate) const KEY: &str = "key";
/// Name of the order about how packets are spread.
pub(crate) const PATH: &str = "path";
/// Name of the order with rules.
pub(crate) const RULES: &str = "rules";
/// Name of the order to forget what was signed before it.
pub(crate) const CLEAR: &str = "clear";
/// What names of orders with lists of revocations begin with.
const REVOKED: &str = "revoked-";
/// What names of orders about members begin with.
const QUARANTINE: &str = "quarantine-";

const ID: &str = "id";
const EPOCH: &str = "epoch";
const HASH: &str = "hash";
const LIST: &str = "list";
const POLICY: &str = "policy";
const OBJECT: &str = "object";
const WHO: &str = "who";
const LASTS_MS: &str = "lasts_ms";

/// An order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Order {
    /// Seal under the key of this epoch, of which this is the hash.
    Rekey {
        /// The epoch's number. Datagrams tell its lowest byte.
        epoch: u32,
        /// The key's hash.
        hash: Hash,
    },
    /// Heed a list of revocations (an X.509 CRL in DER).
    Revoke(Body),
    /// Hear nothing of these members, until the order is lifted or lapses.
    Quarantine(NamePattern),
    /// Spread packets along trees alone, whatever the settings say: IP multicast is not to be
    /// relied on.
    Trees,
    /// Go by these rules (a [`Policy`] in its one form), and not by those of the configuration.
    Rules(Body),
    /// Forget every row of the table that was signed before this order was, and take none in any
    /// more; agents and those who speak for zones sign theirs anew. Orders stay.
    Clear,
}

/// Where a list of revocations, or rules, are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Body {
    /// In the order.
    Here(Bytes),
    /// It has no room there, and is an object.
    Object(ObjectName),
}

/// An order to give.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum NewOrder {
    /// Draw a new link key, and have everybody move to it.
    Rotate,
    /// Have everybody heed a list of revocations: an X.509 CRL in DER.
    Revoke(Bytes),
    /// Have everybody hear nothing of these members, for so long, or until it is lifted.
    Quarantine {
        /// Whose names it is about.
        who: NamePattern,
        /// In whole milliseconds.
        lasts: Option<Duration>,
    },
    /// Lift a quarantine.
    Release(NamePattern),
    /// Have everybody spread packets along trees alone; or, with `false`, as they are set to.
    Trees(bool),
    /// Have everybody go by these rules; or, with none, by those of the configuration again.
    Rules(Option<Policy>),
    /// Have everybody forget every row of the table that was signed until now.
    Clear,
}

/// Why an order was not given. Nothing changed.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum OrderError {
    /// This member is in no certified mode: nobody could tell who may give orders.
    NotCertified,
    /// The rules do not let this member give it.
    Denied(Denied),
    /// The group moves to a new key at this moment.
    UnderWay,
    /// The list of revocations is none, or its issuer is unknown.
    List(Refusal),
    /// The configuration has no rules that say who may give others.
    NoRules,
    /// There is nothing to lift.
    NoSuchOrder,
    /// This member's cryptography draws no keys.
    NoKey,
    /// The table does not take it.
    Table(SetError),
}

impl fmt::Display for OrderError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotCertified => formatter.write_str(
                "orders need certificates, by which everybody can tell who gave them: start this \
                 member with --certificate and --trust",
            ),
            Self::Denied(denied) => write!(formatter, "this member may not give it: {denied}"),
            Self::UnderWay => formatter.write_str(
                "the group is moving to a new key at this moment: wait some seconds, and try again",
            ),
            Self::List(refusal) => write!(formatter, "the list of revocations: {refusal}"),
            Self::NoRules => formatter.write_str(
                "rules by order need rules in every member's configuration that say who may give \
                 them: start members with --policy, and allow somebody to `govern`",
            ),
            Self::NoSuchOrder => formatter.write_str("there is no such order to lift"),
            Self::NoKey => formatter.write_str("this member can't draw a key"),
            Self::Table(error) => error.fmt(formatter),
        }
    }
}

impl core::error::Error for OrderError {}

fn name(text: &str) -> Name {
    Name::new(text).expect("a legal name")
}

/// A name for an order about something that has no short one.
fn tagged(prefix: &str, tag: &Hash) -> String {
    let digits = tag.0.iter().take(8).map(|byte| format!("{byte:02x}"));
    core::iter::once(prefix.to_string()).chain(digits).collect()
}

/// The name of the order about these members; `tag` is a hash of the pattern.
pub(crate) fn quarantine_name(tag: &Hash) -> String {
    tagged(QUARANTINE, tag)
}

/// The name of the order with the list of this issuer; `tag` is a hash of its name.
pub(crate) fn list_name(tag: &Hash) -> String {
    tagged(REVOKED, tag)
}

impl Order {
    /// What the row called `id` orders; none, if this build does not understand it.
    #[must_use]
    pub fn of(row: &Row) -> Option<Self> {
        let text = |name: &str| row.get(name).and_then(Value::as_text);
        let bytes = |name: &str| match row.get(name) {
            Some(Value::Bytes(bytes)) => Some(bytes),
            _ => None,
        };
        let body = |name: &str| match bytes(name) {
            Some(bytes) => Some(Body::Here(Bytes::copy_from_slice(bytes))),
            None => row.get(OBJECT).and_then(ObjectName::of_value).map(Body::Object),
        };
        match text(ID)? {
            KEY => Some(Self::Rekey {
                epoch: u32::try_from(row.get(EPOCH)?.as_int()?).ok()?,
                hash: Hash(<[u8; 16]>::try_from(&bytes(HASH)?[..]).ok()?),
            }),
            PATH => Some(Self::Trees),
            id if id.starts_with(QUARANTINE) => {
                NamePattern::parse(text(WHO)?).ok().map(Self::Quarantine)
            }
            id if id.starts_with(REVOKED) => body(LIST).map(Self::Revoke),
            RULES => body(POLICY).map(Self::Rules),
            CLEAR => Some(Self::Clear),
            _ => None,
        }
    }

    /// The attributes of its row; `tag` names it among others of its kind.
    pub(crate) fn attributes(&self, tag: &Hash, lasts: Option<Duration>) -> Row {
        let mut builder = RowBuilder::default();
        let id = match self {
            Self::Rekey { epoch, hash } => {
                builder.set(name(EPOCH), Value::Int(i64::from(*epoch)));
                builder.set(name(HASH), Value::bytes(&hash.0));
                KEY.to_string()
            }
            Self::Revoke(list) => {
                set_body(&mut builder, LIST, list);
                list_name(tag)
            }
            Self::Rules(rules) => {
                set_body(&mut builder, POLICY, rules);
                RULES.to_string()
            }
            Self::Clear => CLEAR.to_string(),
            Self::Quarantine(who) => {
                builder.set(name(WHO), Value::text(&who.to_string()));
                quarantine_name(tag)
            }
            Self::Trees => PATH.to_string(),
        };
        builder.set(name(ID), Value::text(&id));
        if let Some(lasts) = lasts {
            let lasts = i64::try_from(lasts.as_millis()).unwrap_or(i64::MAX);
            builder.set(name(LASTS_MS), Value::Int(lasts));
        }
        builder.build()
    }
}

fn set_body(builder: &mut RowBuilder, here: &str, body: &Body) {
    match body {
        Body::Here(bytes) => builder.set(name(here), Value::bytes(bytes)),
        Body::Object(object) => builder.set(name(OBJECT), object.to_value()),
    }
}

/// What one must be allowed to do to give, replace or lift the order of this name.
pub(crate) fn right(id: &str) -> Action<'static> {
    match id {
        KEY => Action::Rotate,
        RULES => Action::Govern,
        _ => Action::Respond,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn orders_come_back_from_their_rows() {
        let who = NamePattern::parse("spiffe://example.org/usa/**").unwrap();
        let orders = [
            Order::Rekey { epoch: 70_000, hash: Hash([7; 16]) },
            Order::Revoke(Body::Here(Bytes::from_static(b"list"))),
            Order::Rules(Body::Here(Bytes::from_static(b"rules"))),
            Order::Clear,
            Order::Quarantine(who),
            Order::Trees,
        ];
        for order in orders {
            let row = order.attributes(&Hash([9; 16]), Some(Duration::from_secs(1)));
            assert_eq!(Order::of(&row), Some(order));
        }
        assert_eq!(Order::of(&Row::empty()), None);
    }
}
