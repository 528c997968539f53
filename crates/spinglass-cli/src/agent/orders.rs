//! `spinglass keys` and `spinglass respond`: what somebody who may has everybody do.

use std::path::PathBuf;
use std::time::{Duration, SystemTime};

use anyhow::{Context as _, Result, anyhow, bail};
use clap::{Subcommand, ValueEnum};
use serde::Serialize;
use spinglass::{Body, NamePattern, NewOrder, Node, Order, PolicyFile, StandingOrder};
use spinglass_core::rules::Policy;
use spinglass_crypto::certificates::{Revocations, date, load_revocations};

use super::At;
use super::control::unexpected;
use super::lifetime;
use super::protocol::{Answer, Given, Hex, OrderTold, Request};
use crate::output::{Format, Verdict};

/// What to do with link keys.
#[derive(Debug, Subcommand)]
#[command(after_help = "\
Examples:
  spinglass keys rotate          everybody moves to a new key, within seconds, while traffic flows
  spinglass keys show            which one this machine's agent seals under

The agent must run with a certificate, and the rules, if there are any, must let it `rotate`.
Members are given the new key one by one, sealed to each whose certificate holds. On a schedule:
`spinglass join --rotate-every 1d` at whoever may.")]
pub(crate) enum KeysCommand {
    /// Give the group a new link key
    Rotate {
        #[command(flatten)]
        at: At,
    },
    /// Say which epoch's key the agent seals under
    Show {
        #[command(flatten)]
        at: At,
    },
}

/// What to answer an attack by.
#[derive(Debug, Subcommand)]
#[command(after_help = "\
Examples:
  spinglass respond revoke usa/revoked.crl     what `spinglass ca revoke` wrote counts everywhere
  spinglass respond rekey                      and then whoever was revoked reads nothing more
  spinglass respond quarantine 'spiffe://example.org/usa/ithaca/**' --for 1h
  spinglass respond release 'spiffe://example.org/usa/ithaca/**'
  spinglass respond trees on                   IP multicast is not to be relied on
  spinglass respond rules strict.toml          everybody goes by these rules at once
  spinglass respond rules --lift               and again by those that each began with
  spinglass respond clear                      forget what was signed into the table until now
  spinglass respond list

An order is signed, goes out both as a message and by the table, is heeded by everybody within
seconds and by whoever comes later, and counts if the rules let who gave it `respond`, or `rotate`
for rekey, or `govern` for rules.")]
pub(crate) enum RespondCommand {
    /// Give the group a new link key: the same as `spinglass keys rotate`
    Rekey {
        #[command(flatten)]
        at: At,
    },
    /// Have everybody heed a list of revocations
    Revoke {
        /// The list, as `spinglass ca revoke` writes it: an X.509 CRL in PEM
        list: PathBuf,
        #[command(flatten)]
        at: At,
    },
    /// Have everybody hear nothing of some members
    Quarantine {
        /// Their names: one, or a pattern such as spiffe://example.org/usa/**
        who: String,
        /// For how long, such as 90s, 12h or 30d [default: until they are released]
        #[arg(long = "for", value_name = "TIME", value_parser = lifetime::parse)]
        lasts: Option<Duration>,
        #[command(flatten)]
        at: At,
    },
    /// Lift a quarantine
    Release {
        /// The names as the quarantine had them
        who: String,
        #[command(flatten)]
        at: At,
    },
    /// Have everybody spread packets along trees alone, or again as each is set to
    Trees {
        /// Whether
        state: Switch,
        #[command(flatten)]
        at: At,
    },
    /// Have everybody go by other rules than those that they began with
    #[command(after_help = "\
Who may give rules is decided by those that each member began with (--policy), never by rules that
came by order: no order can lock out who gave it. `spinglass policy check` explains a file.")]
    Rules {
        /// The file of rules
        #[arg(required_unless_present = "lift", conflicts_with = "lift")]
        file: Option<PathBuf>,
        /// Go by one's own again
        #[arg(long)]
        lift: bool,
        #[command(flatten)]
        at: At,
    },
    /// Have everybody forget whatever was signed into the table until now
    #[command(after_help = "\
Summary functions are gone at once: install anew those that are wanted. Whoever lives signs its own
row and its zones' anew, with the attributes that it set itself, so nobody is lost over it. Nothing
that was signed before is taken in any more, whoever kept it. Orders stay.")]
    Clear {
        #[command(flatten)]
        at: At,
    },
    /// List the orders in force
    List {
        #[command(flatten)]
        at: At,
    },
}

/// On or off.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Switch {
    /// From now on
    On,
    /// No longer
    Off,
}

/// The key that an agent seals under.
#[derive(Debug, Serialize)]
struct Epoch {
    epoch: u32,
}

/// Runs `keys`.
///
/// # Errors
/// There is no agent, or it refuses.
pub(crate) async fn keys(command: &KeysCommand, format: Format) -> Result<Verdict> {
    match command {
        KeysCommand::Rotate { at } => give(at, Given::Rekey, format).await,
        KeysCommand::Show { at } => {
            let Answer::Epoch(epoch) = at.ask(&Request::Epoch).await? else {
                return Err(unexpected());
            };
            format.print(&Epoch { epoch }, |Epoch { epoch }| format!("epoch {epoch}\n"))?;
            Ok(Verdict::Good)
        }
    }
}

/// Runs `respond`.
///
/// # Errors
/// There is no agent, or it refuses.
pub(crate) async fn respond(command: &RespondCommand, format: Format) -> Result<Verdict> {
    match command {
        RespondCommand::Rekey { at } => give(at, Given::Rekey, format).await,
        RespondCommand::Revoke { list, at } => {
            let list = load_revocations(list)?;
            give(at, Given::Revoke(Hex::of(list.der())), format).await
        }
        RespondCommand::Quarantine { who, lasts, at } => {
            pattern(who)?;
            let lasts_ms = lasts.map(|lasts| u64::try_from(lasts.as_millis()).unwrap_or(u64::MAX));
            give(at, Given::Quarantine { who: who.clone(), lasts_ms }, format).await
        }
        RespondCommand::Release { who, at } => {
            pattern(who)?;
            give(at, Given::Release(who.clone()), format).await
        }
        RespondCommand::Trees { state, at } => {
            give(at, Given::Trees(*state == Switch::On), format).await
        }
        RespondCommand::Rules { file, at, .. } => {
            let policy = file.as_deref().map(PolicyFile::load).transpose()?;
            let encoded = policy.map(|file| {
                let mut bytes = Vec::new();
                file.policy().encode(&mut bytes);
                Hex::of(&bytes)
            });
            give(at, Given::Rules(encoded), format).await
        }
        RespondCommand::Clear { at } => give(at, Given::Clear, format).await,
        RespondCommand::List { at } => {
            let Answer::Orders(orders) = at.ask(&Request::Orders).await? else {
                return Err(unexpected());
            };
            format.print(&orders, |orders| listed(orders))?;
            Ok(Verdict::Good)
        }
    }
}

async fn give(at: &At, order: Given, format: Format) -> Result<Verdict> {
    let done = at.ask(&Request::Order(order)).await?;
    format.print(&done, |_| String::from("given; everybody heeds it within seconds\n"))?;
    Ok(Verdict::Good)
}

fn pattern(who: &str) -> Result<NamePattern> {
    NamePattern::parse(who).with_context(|| format!("{who:?} names nobody"))
}

fn listed(orders: &[OrderTold]) -> String {
    if orders.is_empty() {
        return "no order is in force\n".into();
    }
    let mut text = String::new();
    for order in orders {
        let left = order.seconds_left.map(Duration::from_secs);
        let left =
            left.map_or_else(String::new, |left| format!(", {} left", lifetime::shown(left)));
        text += &format!("{}\n    by {} at {}{left}\n", order.says, order.given_by, order.given);
    }
    text
}

/// The agent's side: gives an order.
pub(super) async fn give_at(node: &Node, given: Given) -> Result<()> {
    let order = match given {
        Given::Rekey => NewOrder::Rotate,
        Given::Revoke(list) => NewOrder::Revoke(list.bytes()?.into()),
        Given::Quarantine { who, lasts_ms } => {
            NewOrder::Quarantine { who: pattern(&who)?, lasts: lasts_ms.map(Duration::from_millis) }
        }
        Given::Release(who) => NewOrder::Release(pattern(&who)?),
        Given::Trees(alone) => NewOrder::Trees(alone),
        Given::Rules(None) => NewOrder::Rules(None),
        Given::Rules(Some(encoded)) => {
            let policy = Policy::parse(&encoded.bytes()?);
            NewOrder::Rules(Some(
                policy.map_err(|_| anyhow!("the rules are none to this agent, which is older"))?,
            ))
        }
        Given::Clear => NewOrder::Clear,
    };
    Ok(node.orders().give(order).await?)
}

/// The agent's side: the orders in force.
pub(super) async fn tell(node: &Node) -> Result<Vec<OrderTold>> {
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH)?;
    let told = |standing: StandingOrder| OrderTold {
        says: says(&standing.order),
        given_by: standing.given_by.to_string(),
        given: date(standing.given_ms / 1000),
        seconds_left: standing.lapses_ms.map(|at| (at / 1000).saturating_sub(now.as_secs())),
        name: standing.name,
    };
    Ok(node.orders().list().await?.into_iter().map(told).collect())
}

fn says(order: &Order) -> String {
    match order {
        Order::Rekey { epoch, .. } => format!("seal under the key of epoch {epoch}"),
        Order::Revoke(Body::Here(list)) => match Revocations::parse(list.to_vec()) {
            Ok(list) => {
                format!("heed {} revocations of {}", list.revoked().count(), list.issuer())
            }
            Err(error) => format!("heed a list of revocations that is none: {error}"),
        },
        Order::Revoke(Body::Object(object)) => format!("heed the list of revocations {object}"),
        Order::Quarantine(who) => format!("hear nothing of {who}"),
        Order::Trees => "spread packets along trees alone".into(),
        Order::Rules(Body::Here(rules)) => match Policy::parse(rules) {
            Ok(policy) => format!("go by {} rules that came with the order", policy.rules().len()),
            Err(_) => "go by rules that this agent can't read: it is older".into(),
        },
        Order::Rules(Body::Object(object)) => format!("go by the rules {object}"),
        Order::Clear => "forget what was signed before it".into(),
    }
}

/// How often a member rotates by itself: as a time, and at least ten seconds.
pub(crate) fn parse_rotation(text: &str) -> Result<Duration> {
    let time = lifetime::parse(text)?;
    if time < Duration::from_secs(10) {
        bail!("a group moves to a new key in some seconds: rotate every 10s at most");
    }
    Ok(time)
}
