//! Wiring tests and chores.
fn main() {}
