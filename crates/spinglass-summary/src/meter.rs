//! What an evaluation may cost, and how much of it is left.

use crate::error::EvalError;
use crate::value::Value;

/// What an evaluation may cost.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Budget {
    /// Steps: an expression's node in one row is one, and so are 32 bytes of text.
    pub steps: u32,
    /// Bytes of texts, lists and tables made, whether or not they are kept.
    pub memory_bytes: u32,
    /// Bytes of the row that comes out, as [`Row::encoded_bytes`](crate::Row::encoded_bytes)
    /// counts them.
    pub output_bytes: u32,
}

/// What a query or a filter may cost in one row: a guess, the steps of the longest text with room
/// to spare.
pub(crate) const ROW_BUDGET: Budget =
    Budget { steps: 20_000, memory_bytes: 64 << 10, output_bytes: 16 << 10 };

impl Default for Budget {
    /// 250,000 steps: a step takes at most some 40 ns on a slow machine, so 10 ms; 128 rows and 20
    /// outputs of 10 nodes each take a tenth. 1 MiB of memory. 16 KiB of output: a guess, several
    /// times what the rows of a zone hold.
    fn default() -> Self {
        Self { steps: 250_000, memory_bytes: 1 << 20, output_bytes: 16 << 10 }
    }
}

/// Steps and memory that are left.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Meter {
    pub(crate) steps: u32,
    pub(crate) memory_bytes: u32,
}

impl Meter {
    pub(crate) const fn new(budget: Budget) -> Self {
        Self { steps: budget.steps, memory_bytes: budget.memory_bytes }
    }

    /// Takes steps; an error leaves none.
    #[inline]
    pub(crate) fn step(&mut self, steps: usize) -> Result<(), EvalError> {
        let left = u32::try_from(steps).ok().and_then(|steps| self.steps.checked_sub(steps));
        self.steps = left.unwrap_or(0);
        if left.is_some() || cfg!(spinglass_bug = "steps_unbounded") {
            Ok(())
        } else {
            Err(EvalError::Steps)
        }
    }

    /// Takes memory, and the steps to fill it; an error leaves none.
    pub(crate) fn allocate(&mut self, bytes: usize) -> Result<(), EvalError> {
        self.step(bytes / 32)?;
        let left = u32::try_from(bytes).ok().and_then(|bytes| self.memory_bytes.checked_sub(bytes));
        self.memory_bytes = left.unwrap_or(0);
        if left.is_some() { Ok(()) } else { Err(EvalError::Memory) }
    }

    /// Takes memory for a text that is put together and then copied to be kept: for a moment both
    /// are there.
    pub(crate) fn compose(&mut self, bytes: usize) -> Result<(), EvalError> {
        self.allocate(bytes.saturating_mul(2))
    }

    /// Takes the steps to read a value to its end.
    #[inline]
    pub(crate) fn read(&mut self, value: &Value) -> Result<(), EvalError> {
        match value {
            Value::Text(_) | Value::Bytes(_) | Value::List(_) => self.step(weight(value)),
            _ => Ok(()),
        }
    }

    /// A share of what is left: one part of so many. What it leaves comes back with
    /// [`settle`](Self::settle).
    pub(crate) fn share(&self, parts: usize) -> Self {
        let parts = u32::try_from(parts).unwrap_or(u32::MAX).max(1);
        Self { steps: self.steps / parts, memory_bytes: self.memory_bytes / parts }
    }

    /// Takes what a share used of what it was.
    pub(crate) fn settle(&mut self, share: Self, left: Self) {
        self.steps -= share.steps - left.steps;
        self.memory_bytes -= share.memory_bytes - left.memory_bytes;
    }
}

/// Steps to read a value.
pub(crate) fn weight(value: &Value) -> usize {
    match value {
        Value::Text(text) => text.len() / 32,
        Value::Bytes(bytes) => bytes.len() / 32,
        Value::List(items) => items.iter().map(|item| 1 + weight(item)).sum(),
        _ => 0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_share_leaves_comes_back() {
        let mut meter = Meter::new(Budget { steps: 100, memory_bytes: 64, output_bytes: 0 });
        let share = meter.share(4);
        let mut left = share;
        left.step(10).unwrap();
        assert_eq!(left.step(16), Err(EvalError::Steps));
        assert_eq!(left.steps, 0);
        meter.settle(share, left);
        assert_eq!(meter.steps, 75);
        assert_eq!(meter.allocate(65), Err(EvalError::Memory));
    }
}
