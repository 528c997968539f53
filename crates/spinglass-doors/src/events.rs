//! What becomes of members, for those who look on.

use std::time::SystemTime;

use spinglass::{Event, Node, Subscription, Time};

/// A topic on which nobody publishes: who subscribes hears what becomes of members.
const TOPIC: &str = "&events";

/// Something that became of a member.
#[derive(Debug, Clone)]
pub(crate) struct MemberEvent {
    /// When this agent heard of it, in ISO 8601.
    pub(crate) at: String,
    pub(crate) kind: &'static str,
    pub(crate) member: String,
    pub(crate) detail: String,
}

/// Subscribes to what becomes of members.
#[must_use]
pub fn subscribe(node: &Node) -> Subscription {
    node.group(TOPIC).subscribe()
}

/// Logs what becomes of members, until the node is gone.
pub async fn keep_logging(mut subscription: Subscription) {
    while let Some(event) = subscription.next().await {
        let Some(MemberEvent { kind, member, detail, .. }) = MemberEvent::of(&event) else {
            continue;
        };
        match event {
            Event::MemberUp(_) | Event::MemberDown { .. } => {
                tracing::info!(member, detail, "a member is {kind}");
            }
            _ => tracing::warn!(member, detail, "a member is accused: {kind}"),
        }
    }
}

impl MemberEvent {
    /// What an event says of a member, if it is about one.
    pub(crate) fn of(event: &Event) -> Option<Self> {
        let (kind, member, detail) = match event {
            Event::MemberUp(member) => ("up", member.id.to_string(), member.region.clone()),
            Event::MemberDown { id, reason, .. } => ("down", id.to_string(), format!("{reason:?}")),
            Event::Quarantined { id, offence } => {
                ("quarantined", id.to_string(), format!("{offence:?}"))
            }
            Event::FalseSummary { zone, issuer } => {
                ("false summary", issuer.to_string(), zone.clone())
            }
            Event::Message(_) | Event::Gap(_) | Event::Lagged(_) => return None,
        };
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        let at = Time(i64::try_from(now.as_micros()).unwrap_or(i64::MAX)).to_string();
        Some(Self { at, kind, member, detail })
    }
}
