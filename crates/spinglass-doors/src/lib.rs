//! What others talk to when they talk to an agent: HTTP, with a console for people, and SQL;
//! and whom an agent tells by itself: a collector of traces.
//!
//! A door knows the library, and nothing of the protocols behind it; it holds no node alive, and
//! ends with the task that serves it.

mod accept;
pub mod events;
pub mod http;
pub mod json;
pub mod sql;
pub mod told;
pub mod traces;

use std::sync::Arc;

/// Who hears that the user has taken a name of the agent's row for their own.
pub type Claims = Arc<dyn Fn(&str) + Send + Sync>;
