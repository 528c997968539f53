//! What other programs talk to when they talk to an agent.
//!
//! A door knows the library, and nothing of the protocols behind it; it holds no node alive, and
//! ends with the task that serves it.

pub mod sql;
