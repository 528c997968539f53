//! How commands say what they found: text for people, or one JSON object for programs.

use std::io::{self, Write as _};

use anyhow::Result;
use indicatif::ProgressBar;
use serde::Serialize;

/// Whom the output is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Format {
    /// A person at a terminal.
    Text,
    /// A program: JSON on standard output and nothing else there.
    Json,
}

impl Format {
    /// Prints a report: as JSON, or as the text that `text` makes of it.
    ///
    /// # Errors
    /// Standard output can't be written.
    pub(crate) fn print<R: Serialize>(
        self,
        report: &R,
        text: impl FnOnce(&R) -> String,
    ) -> Result<()> {
        let line = match self {
            Self::Text => text(report),
            Self::Json => serde_json::to_string(report)? + "\n",
        };
        write(line.as_bytes())
    }

    /// A bar of progress, drawn on standard error, for a person at a terminal only.
    pub(crate) fn bar(self, length: u64) -> ProgressBar {
        match self {
            Self::Text => ProgressBar::new(length),
            Self::Json => ProgressBar::hidden(),
        }
    }

    /// Says what is going on, on standard error, to a person only.
    pub(crate) fn say(self, line: &str) {
        if self == Self::Text {
            eprintln!("{line}");
        }
    }
}

/// Writes to standard output; a reader that has gone away is an error, and no panic.
///
/// # Errors
/// Standard output can't be written.
pub(crate) fn write(bytes: &[u8]) -> Result<()> {
    let mut out = io::stdout().lock();
    out.write_all(bytes)?;
    out.flush()?;
    Ok(())
}

/// Whether a command reached what it set out to reach.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// Exit code 0.
    Good,
    /// It ran, but what it checks does not hold: exit code 1.
    Bad,
}

impl From<bool> for Verdict {
    fn from(good: bool) -> Self {
        if good { Self::Good } else { Self::Bad }
    }
}

/// Lays out rows in columns: the first one to the left, the others to the right.
pub(crate) fn table(header: &[&str], rows: &[Vec<String>]) -> String {
    let mut widths: Vec<usize> = header.iter().map(|cell| cell.chars().count()).collect();
    for row in rows {
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = (*width).max(cell.chars().count());
        }
    }
    let mut text = String::new();
    let header: Vec<String> = header.iter().map(|cell| (*cell).to_owned()).collect();
    for row in core::iter::once(&header).chain(rows) {
        let mut line = String::new();
        for (column, (cell, width)) in row.iter().zip(&widths).enumerate() {
            line += &if column == 0 {
                format!("  {cell:<width$}")
            } else {
                format!("  {cell:>width$}")
            };
        }
        text.push_str(line.trim_end());
        text.push('\n');
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_line_up() {
        let rows = [vec!["a".to_owned(), "10".to_owned()], vec!["long".to_owned(), "7".to_owned()]];
        assert_eq!(table(&["", "n"], &rows), "         n\n  a     10\n  long   7\n");
    }
}
