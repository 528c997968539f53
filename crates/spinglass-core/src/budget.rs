//! What may still be done in a round: so much of each thing, set anew when the next begins.

/// Whether something may be done once more; it counts as done.
pub(crate) const fn take_one(left: &mut u32) -> bool {
    let may = *left > 0;
    *left = left.saturating_sub(1);
    may
}
