//! What the compiler does not check: which crate may use which, and the shape of the source text.

use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;

use anyhow::{Context as _, Result};
use serde_json::Value;

use crate::shell::{cargo, root};
use crate::{pages, supply};

/// A check's name and what it found wrong.
pub(crate) type Checked = (&'static str, Vec<String>);

/// Which of the project's crates each may use. Tests may use more: see [`TEST_EDGES`].
const EDGES: &[(&str, &[&str])] = &[
    ("spinglass-summary", &[]),
    ("spinglass-core", &["spinglass-summary"]),
    ("spinglass-crypto", &["spinglass-core"]),
    ("spinglass-sim", &["spinglass-core", "spinglass-crypto"]),
    ("spinglass-lab", &["spinglass-core", "spinglass-sim"]),
    ("spinglass-relay", &["spinglass-core", "spinglass-crypto"]),
    ("spinglass", &["spinglass-core", "spinglass-crypto", "spinglass-relay"]),
    ("spinglass-doors", &["spinglass"]),
    (
        "spinglass-cli",
        &[
            "spinglass-core",
            "spinglass-crypto",
            "spinglass-sim",
            "spinglass-lab",
            "spinglass-relay",
            "spinglass",
            "spinglass-doors",
        ],
    ),
    ("xtask", &[]),
];

/// Edges for tests alone: the replay of a recording needs both worlds.
const TEST_EDGES: &[(&str, &str)] = &[
    ("spinglass", "spinglass-sim"),
    ("spinglass-sim", "spinglass"),
    ("spinglass-core", "spinglass-crypto"),
    ("spinglass-doors", "spinglass-core"),
    ("spinglass-core", "spinglass-sim"),
];

/// The widest line of source, in columns.
const COLUMNS_MAX: usize = 100;
/// The longest file, in lines, tests at its end not counted.
const LINES_MAX: usize = 600;

/// Words that say that something is unfinished, or that a lint is silenced without a reason. Built
/// from pieces, so that this file passes too.
const FORBIDDEN: [&str; 5] = [
    concat!("TO", "DO"),
    concat!("FIX", "ME"),
    concat!("XX", "X"),
    concat!("#[al", "low("),
    "dbg!(",
];

/// Parts of names that say nothing.
const FORBIDDEN_IN_FILE_NAMES: [&str; 3] = ["util", "helper", "manager"];

/// Words for the outside world, which the core must not know.
const FORBIDDEN_IN_CORE: [&str; 5] = ["::now()", "random()", "thread::", "std::time", "std::net"];

/// Every check.
pub(crate) fn all() -> Result<Vec<Checked>> {
    let files = source_files()?;
    Ok(vec![
        ("crates use only what they may", edges()?),
        ("every module says what it is", each(&files, opens_with_docs)),
        ("no line is too wide", each(&files, wide_lines)),
        ("no file is too long", each(&files, long_file)),
        ("no unfinished business", each(&files, forbidden_words)),
        ("names say something", each(&files, empty_names)),
        ("the core knows no outside world", each(&files, core_is_pure)),
        ("every setting is explained", settings_in_operating()?),
        ("dependencies are known", supply::faults()?),
        ("documents hang together", pages::faults()?),
    ])
}

/// One source file: its path from the root, and its text.
#[derive(Debug)]
struct Source {
    path: PathBuf,
    text: String,
}

impl Source {
    fn fault(&self, line: usize, what: &str) -> String {
        format!("{}:{}: {what}", self.path.display(), line + 1)
    }

    /// The lines before the tests at the file's end.
    fn production_lines(&self) -> impl Iterator<Item = (usize, &str)> {
        self.text.lines().take_while(|line| *line != "#[cfg(test)]").enumerate()
    }

    fn is_in(&self, folder: &str) -> bool {
        self.path.starts_with(folder)
    }
}

fn source_files() -> Result<Vec<Source>> {
    let root = root();
    let mut files = Vec::new();
    let mut folders = vec![root.join("crates"), root.join("xtask"), root.join("fuzz")];
    while let Some(folder) = folders.pop() {
        let Ok(entries) = fs::read_dir(&folder) else { continue };
        for entry in entries {
            let path = entry?.path();
            if path.is_dir() && !path.ends_with("target") {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                let text = fs::read_to_string(&path)
                    .with_context(|| format!("cannot read {}", path.display()))?;
                let path = path.strip_prefix(&root).unwrap_or(&path).to_path_buf();
                files.push(Source { path, text });
            }
        }
    }
    files.sort_by(|a, b| a.path.cmp(&b.path));
    Ok(files)
}

fn each(files: &[Source], check: fn(&Source) -> Vec<String>) -> Vec<String> {
    files.iter().flat_map(check).collect()
}

fn opens_with_docs(source: &Source) -> Vec<String> {
    let first = source.text.lines().find(|line| !line.starts_with("#![")).unwrap_or("");
    if first.starts_with("//!") {
        return Vec::new();
    }
    vec![source.fault(0, "does not open with //!")]
}

fn wide_lines(source: &Source) -> Vec<String> {
    // A row of a table in a comment can't be broken.
    let is_row = |line: &str| line.trim_start().starts_with("//! |");
    let is_wide = |line: &str| line.chars().count() > COLUMNS_MAX && !is_row(line);
    let wide = source.text.lines().enumerate().filter(|(_, line)| is_wide(line));
    wide.map(|(line, _)| source.fault(line, "is wider than 100 columns")).collect()
}

fn long_file(source: &Source) -> Vec<String> {
    let lines = source.production_lines().count();
    if lines <= LINES_MAX {
        return Vec::new();
    }
    vec![source.fault(lines, &format!("has {lines} lines before its tests, more than {LINES_MAX}"))]
}

fn forbidden_words(source: &Source) -> Vec<String> {
    let has = |line: &str| FORBIDDEN.into_iter().find(|word| line.contains(word));
    let found = source.text.lines().enumerate().filter_map(|(line, text)| Some((line, has(text)?)));
    let found = found.filter(|_| !source.path.ends_with("tidy.rs"));
    found.map(|(line, word)| source.fault(line, &format!("says {word}"))).collect()
}

fn empty_names(source: &Source) -> Vec<String> {
    let name = source.path.file_stem().unwrap_or_default().to_string_lossy();
    let empty = FORBIDDEN_IN_FILE_NAMES.into_iter().filter(|word| name.contains(word));
    empty.map(|word| source.fault(0, &format!("a file's name must not contain {word:?}"))).collect()
}

fn core_is_pure(source: &Source) -> Vec<String> {
    if !source.is_in("crates/spinglass-core/src") {
        return Vec::new();
    }
    let code = source.production_lines().filter(|(_, text)| !text.trim_start().starts_with("//"));
    let impure = code.filter_map(|(line, text)| {
        let word = FORBIDDEN_IN_CORE.into_iter().find(|word| text.contains(word))?;
        Some(source.fault(line, &format!("uses {word} in the core")))
    });
    impure.collect()
}

/// Every public setting of the core's configuration must stand in docs/OPERATING.md.
fn settings_in_operating() -> Result<Vec<String>> {
    let config = fs::read_to_string(root().join("crates/spinglass-core/src/config.rs"))?;
    let manual = fs::read_to_string(root().join("docs/OPERATING.md")).unwrap_or_default();
    let sections = [
        ("pub struct LinkConfig {", "link"),
        ("pub struct MembersConfig {", "members"),
        ("pub struct MulticastConfig {", "multicast"),
        ("pub struct TableConfig {", "table"),
        ("pub struct ObjectsConfig {", "objects"),
    ];
    let mut section = None;
    let mut faults = Vec::new();
    for line in config.lines() {
        if let Some((_, name)) = sections.iter().find(|(opening, _)| line == *opening) {
            section = Some(*name);
        } else if line == "}" {
            section = None;
        }
        let field = line.trim().strip_prefix("pub ").and_then(|rest| rest.split_once(':'));
        if let (Some(section), Some((field, _))) = (section, field) {
            let setting = format!("{section}.{field}");
            if !manual.contains(&format!("`{setting}`")) {
                faults.push(format!("docs/OPERATING.md does not explain `{setting}`"));
            }
        }
    }
    Ok(faults)
}

fn edges() -> Result<Vec<String>> {
    let mut command = cargo(&["metadata", "--format-version", "1", "--no-deps"]);
    let output = command.output().context("cannot run cargo metadata")?;
    let metadata: Value = serde_json::from_slice(&output.stdout)?;
    let empty = Vec::new();
    let packages = metadata["packages"].as_array().unwrap_or(&empty);
    let allowed: BTreeMap<&str, &[&str]> = EDGES.iter().copied().collect();
    let mut faults = Vec::new();
    for package in packages {
        let name = package["name"].as_str().unwrap_or_default();
        let Some(may_use) = allowed.get(name) else {
            faults.push(format!("crate {name} is not in xtask's list of crates"));
            continue;
        };
        for dependency in package["dependencies"].as_array().unwrap_or(&empty) {
            let used = dependency["name"].as_str().unwrap_or_default();
            let for_tests = dependency["kind"] == "dev" && TEST_EDGES.contains(&(name, used));
            let is_ours = allowed.contains_key(used);
            if is_ours && !may_use.contains(&used) && used != name && !for_tests {
                faults.push(format!("crate {name} must not use {used}"));
            }
        }
    }
    Ok(faults)
}

/// A path's text, relative to the root; used by tests alone.
#[cfg(test)]
fn sample(path: &str, text: &str) -> Source {
    Source { path: PathBuf::from(path), text: text.to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn faults_are_found_and_good_files_pass() {
        let good = sample("crates/a/src/lib.rs", "//! A.\nfn a() {}\n");
        let bad = sample("crates/a/src/util.rs", "fn a() {}\n// TO\u{44}O later\n");
        let checks: [fn(&Source) -> Vec<String>; 4] =
            [opens_with_docs, forbidden_words, empty_names, wide_lines];
        assert!(checks.iter().all(|check| check(&good).is_empty()));
        assert_eq!(checks.map(|check| check(&bad).len()), [1, 1, 1, 0]);
        let wide = sample("crates/a/src/lib.rs", &"x".repeat(101));
        assert_eq!(wide_lines(&wide).len(), 1);
        let long = sample("crates/a/src/lib.rs", &"x\n".repeat(601));
        assert_eq!(long_file(&long).len(), 1);
    }

    #[test]
    fn a_clock_in_the_core_is_found() {
        let text = "//! A.\n// Instant::now() is not for us.\nlet t = Instant::now();\n";
        assert_eq!(core_is_pure(&sample("crates/spinglass-core/src/a.rs", text)).len(), 1);
        assert_eq!(core_is_pure(&sample("crates/spinglass/src/a.rs", text)).len(), 0);
    }
}
