//! What is said on an agent's socket: one request, one answer, each a line of JSON.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use spinglass_doors::told::{Explained, HostsTold, MemberTold, SummaryTold, ZoneTold};

/// What a command asks.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "request")]
pub(super) enum Request {
    /// The zones of the agent's path, root first; or any one.
    Zones { zone: Option<String> },
    /// Set an attribute of the agent's row. The value is SQL: `3`, `'text'`, `[1, 2]`.
    Set { name: String, value: Wire },
    /// Put an object under an attribute of the agent's row.
    PutObject { name: String, bytes: Hex },
    /// Begin to fetch an object, unless it is here or on its way; say how far it is.
    FetchObject { object: String },
    /// How far an object is.
    ObjectState { object: String },
    /// The functions that hold in a zone, by default the agent's region.
    Summaries { zone: Option<String> },
    /// Install a function.
    Install { zone: String, name: String, sql: String, lasts_ms: Option<u64> },
    /// Remove one.
    Remove { zone: String, name: String },
    /// What a function costs, and what it yields on a zone's rows as they are.
    Explain { zone: String, sql: String },
    /// Find hosts in a zone.
    Query { sql: String, zone: String, within_ms: u64 },
    /// Give everybody an order.
    Order(Given),
    /// The orders in force.
    Orders,
    /// The epoch whose key the agent seals under.
    Epoch,
    /// Everybody the agent knows.
    Members,
    /// What it has counted.
    Counters,
    /// Say good-bye and stop.
    Leave,
}

/// An order to give.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "order", content = "with")]
pub(super) enum Given {
    Rekey,
    /// An X.509 CRL in DER.
    Revoke(Hex),
    Quarantine {
        who: String,
        lasts_ms: Option<u64>,
    },
    Release(String),
    Trees(bool),
    /// A policy in the form in which it travels; none lifts the order.
    Rules(Option<Hex>),
    Clear,
}

/// A value as the bytes that a row holds, in hex: nothing is lost on the way.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Wire(pub(super) String);

/// Bytes, two digits each.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Hex(pub(super) String);

/// What the agent answers.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Answer {
    Done,
    Zones(Vec<ZoneTold>),
    /// An object was put: its name.
    Put(String),
    /// An object is here.
    Object(Hex),
    /// An object is on its way.
    Fetching {
        come: u32,
        of: u32,
    },
    Summaries(Vec<SummaryTold>),
    Explained(Explained),
    Hosts(HostsTold),
    Orders(Vec<OrderTold>),
    Epoch(u32),
    Members(Vec<MemberTold>),
    Counters(BTreeMap<String, u64>),
    /// It can't be done, and why.
    Error(String),
}

/// What an agent says when it has started.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Started {
    pub(super) id: String,
    pub(super) address: String,
    pub(super) region: String,
    pub(super) socket: String,
    /// Where its HTTP door is, if it has one.
    pub(super) http: Option<String>,
    /// Where its door for SQL is, if it has one.
    pub(super) sql: Option<String>,
}

impl Started {
    pub(super) fn sentence(&self) -> String {
        let Self { id, address, region, socket, http, sql } = self;
        let http = http.as_ref().map(|http| format!(", http://{http}")).unwrap_or_default();
        let sql = sql.as_ref().map(|sql| format!(", postgresql://{sql}")).unwrap_or_default();
        format!("agent {id} at {address} in {region}; commands at {socket}{http}{sql}\n")
    }
}

/// An order in force.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct OrderTold {
    pub(super) name: String,
    pub(super) says: String,
    pub(super) given_by: String,
    pub(super) given: String,
    /// Seconds for which it still holds; none: until it is lifted or replaced.
    pub(super) seconds_left: Option<u64>,
}
