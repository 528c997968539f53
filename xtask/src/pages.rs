//! The documents as they hang together: links lead to files, and the book has every page.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};

use crate::shell::root;

/// Where the book's pages are, and the list of them.
const BOOK: &str = "docs";
const CONTENTS: &str = "SUMMARY.md";

/// What is wrong.
///
/// # Errors
/// A folder or a page can't be read.
pub(crate) fn faults() -> Result<Vec<String>> {
    let book = root().join(BOOK);
    let mut pages = pages_in(&root())?;
    let in_book = pages_in(&book)?;
    pages.extend(in_book.iter().cloned());
    let mut faults = Vec::new();
    for page in &pages {
        let text = fs::read_to_string(page).with_context(|| format!("{}", page.display()))?;
        let folder = page.parent().unwrap_or(page);
        let lost = links(&text).filter(|link| !folder.join(link).exists());
        let shown = page.strip_prefix(root()).unwrap_or(page).display();
        faults.extend(lost.map(|link| format!("{shown}: {link} leads nowhere")));
    }
    let contents = fs::read_to_string(book.join(CONTENTS)).context("the book has no contents")?;
    for page in &in_book {
        let name = page.file_name().unwrap_or_default().to_string_lossy();
        if name != CONTENTS && !links(&contents).any(|link| link == name) {
            faults.push(format!("{BOOK}/{CONTENTS} does not list {name}"));
        }
    }
    Ok(faults)
}

fn pages_in(folder: &Path) -> Result<Vec<PathBuf>> {
    let mut pages = Vec::new();
    for entry in fs::read_dir(folder).with_context(|| format!("{}", folder.display()))? {
        let path = entry?.path();
        if path.extension().is_some_and(|extension| extension == "md") {
            pages.push(path);
        }
    }
    pages.sort();
    Ok(pages)
}

/// Files that a page links to, without the place within them.
fn links(text: &str) -> impl Iterator<Item = &str> {
    let targets = text.split("](").skip(1).filter_map(|rest| rest.split([')', '#']).next());
    targets.filter(|target| !target.is_empty() && !target.contains("://"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn links_are_files() {
        let text = "[a](a.md) [b](../b.md#part) [c](#part) [d](https://example.org/d)";
        assert_eq!(links(text).collect::<Vec<_>>(), ["a.md", "../b.md"]);
    }
}
