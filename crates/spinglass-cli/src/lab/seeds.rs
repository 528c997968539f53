//! Which seeds a command of the laboratory runs, and how one that failed is told.

use std::fmt::Display;
use std::ops::Range;

use anyhow::{Result, bail};
use clap::Args;

/// The first of several seeds, or a single one.
#[derive(Debug, Args)]
pub(crate) struct Chosen {
    /// The first seed
    #[arg(long, default_value_t = 1)]
    first: u64,
    /// This seed alone
    #[arg(long)]
    seed: Option<u64>,
}

impl Chosen {
    /// Whether it is a single one, of which all is told.
    pub(super) const fn is_single(&self) -> bool {
        self.seed.is_some()
    }

    /// The seeds to run: so many, if it is not a single one.
    ///
    /// # Errors
    /// There is none.
    pub(super) fn range(&self, seeds: u64) -> Result<Range<u64>> {
        let (first, seeds) = self.seed.map_or((self.first, seeds), |seed| (seed, 1));
        match first.checked_add(seeds).filter(|_| seeds > 0) {
            Some(end) => Ok(first..end),
            None => bail!(
                "there is no seed to run: give --seeds 1 or more, and a --first that leaves room \
                 for so many"
            ),
        }
    }
}

/// A seed that failed: how it was drawn, what was found, and the command that runs it again.
pub(super) fn failure(
    seed: u64,
    knobs: &str,
    found: impl IntoIterator<Item = impl Display>,
    replay: &str,
) -> String {
    let mut text = format!("seed {seed} FAILED ({knobs}):\n");
    for what in found {
        text += &format!("  {what}\n");
    }
    text + &format!("  again: {replay}\n")
}
