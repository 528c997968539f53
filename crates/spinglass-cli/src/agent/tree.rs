//! An agent's zones as a tree for people: its own path unfolded, everything else a row.

use serde_json::{Map, Value as Json};

use spinglass_doors::told::{RowTold, ZoneTold};

use super::values::shown;

/// What is not worth a column: the name is the row's beginning, contacts and what proves a summary
/// are for agents.
const LEFT_OUT: [&str; 4] = ["id", "contacts", "depth", "&functions"];
/// Characters of a value that are shown.
const CELL_MAX: usize = 24;

/// The tree of all zones that an agent holds, root first.
pub(super) fn tree(zones: &[ZoneTold]) -> String {
    let mut lines = vec![Line { indent: String::new(), name: "/".into(), cells: Vec::new() }];
    if let Some(root) = zones.first() {
        lines[0].cells = cells(&root.summary, None);
    }
    grow(zones, "", &mut lines);
    let mut text = aligned(&lines);
    for error in zones.iter().flat_map(|zone| &zone.errors) {
        text += &format!("no value: {error}\n");
    }
    text
}

/// A row of the tree.
struct Line {
    indent: String,
    name: String,
    cells: Vec<String>,
}

fn grow(zones: &[ZoneTold], indent: &str, lines: &mut Vec<Line>) {
    let Some((zone, below)) = zones.split_first() else { return };
    for (index, row) in zone.rows.iter().enumerate() {
        let is_last = index + 1 == zone.rows.len();
        let (branch, trunk) = if is_last { ("└─ ", "   ") } else { ("├─ ", "│  ") };
        lines.push(Line {
            indent: format!("{indent}{branch}"),
            name: named(row),
            cells: cells(&row.attributes, Some(row.age)),
        });
        if row.own {
            grow(below, &format!("{indent}{trunk}"), lines);
        }
    }
}

fn named(row: &RowTold) -> String {
    let mark = if row.own && is_agent(&row.attributes) { " *" } else { "" };
    format!("{}{mark}", row.name)
}

/// An agent has no zones below it.
fn is_agent(attributes: &Map<String, Json>) -> bool {
    attributes.get("depth").is_some_and(|depth| *depth == 0)
}

fn cells(attributes: &Map<String, Json>, age: Option<f64>) -> Vec<String> {
    let shown = attributes
        .iter()
        .filter(|(name, _)| !LEFT_OUT.contains(&name.as_str()))
        // Every agent is one.
        .filter(|(name, _)| *name != "nmembers" || !is_agent(attributes))
        .map(|(name, value)| format!("{name} {}", cut(&shown(value))));
    let age = age.filter(|age| *age >= 15.0).map(|age| format!("silent for {age} s"));
    shown.chain(age).collect()
}

fn cut(text: &str) -> String {
    if text.chars().count() <= CELL_MAX {
        return text.to_owned();
    }
    text.chars().take(CELL_MAX - 1).chain(['…']).collect()
}

fn aligned(lines: &[Line]) -> String {
    let width = |line: &Line| line.indent.chars().count() + line.name.chars().count();
    let widest = lines.iter().map(width).max().unwrap_or(0);
    let mut text = String::new();
    for line in lines {
        let pad = " ".repeat(widest - width(line));
        let row = format!("{}{}{pad}  {}", line.indent, line.name, line.cells.join("  "));
        text += row.trim_end();
        text.push('\n');
    }
    text
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn zone(path: &str, rows: &[(&str, bool, i64)]) -> ZoneTold {
        let row = |(name, own, load): &(&str, bool, i64)| RowTold {
            name: (*name).into(),
            own: *own,
            age: 0.0,
            attributes:
                json!({ "id": name, "load": load, "depth": i64::from(!name.starts_with('n')) })
                    .as_object()
                    .expect("one")
                    .clone(),
        };
        let rows = rows.iter().map(row).collect();
        ZoneTold {
            path: path.into(),
            region: true,
            rows,
            summary: Map::new(),
            errors: Vec::new(),
            whole: true,
        }
    }

    #[test]
    fn the_own_path_is_unfolded() {
        let root = zone("/", &[("eu", false, 3), ("usa", true, 1)]);
        let usa = zone("/usa", &[("n1", true, 1), ("n2", false, 2)]);
        let want =
            "/\n├─ eu       load 3\n└─ usa      load 1\n   ├─ n1 *  load 1\n   └─ n2    load 2\n";
        assert_eq!(tree(&[root, usa]), want);
    }
}
