//! The papers' experiments: older protocols beside ours, in the same networks, and the figures.
//!
//! ```text
//!  scenario (TOML) ─▶ experiment ─▶ jobs ─▶ run ─▶ results (CSV) ─▶ report (Markdown, HTML, SVG)
//!                         │
//!                         ├─ opponents on a stage of their own
//!                         └─ ours, in spinglass_sim's world
//! ```
//!
//! A job is a function of its protocol, group, place on the axis and seed: same seeds, same
//! numbers.

pub mod experiment;
mod gaps;
pub mod models;
pub mod opponents;
pub mod report;
pub mod run;
pub mod scenario;
pub mod stage;
