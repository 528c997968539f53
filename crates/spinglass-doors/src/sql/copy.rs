//! Rows as `COPY .. TO STDOUT` writes them.

use pgwire::messages::copy::CopyData;

use super::engine::Outcome;
use super::statement::Form;
use super::types::text_of;

/// A line for each row, and one for the header, if it is wished for.
pub(super) fn lines(
    outcome: Outcome,
    form: &Form,
) -> impl Iterator<Item = CopyData> + Send + 'static {
    let Outcome { columns, rows, room, .. } = outcome;
    let form = form.clone();
    let header = form.header.then(|| {
        let names = columns.iter().map(|(name, _)| Some(name.clone()));
        line(names, &form)
    });
    let rows = rows.into_iter().map(move |row| {
        let _until_the_last = &room;
        let cells = row.iter().zip(&columns).map(|(cell, (_, of))| text_of(cell, of));
        line(cells, &form)
    });
    header.into_iter().chain(rows)
}

fn line(cells: impl Iterator<Item = Option<String>>, form: &Form) -> CopyData {
    let mut text = String::new();
    for (at, cell) in cells.enumerate() {
        if at > 0 {
            text.push(form.delimiter);
        }
        match cell {
            None => text += &form.null,
            Some(cell) if form.csv => text += &csv(&cell, form),
            Some(cell) => cell.chars().for_each(|it| escaped(it, form.delimiter, &mut text)),
        }
    }
    text.push('\n');
    CopyData::new(text.into_bytes().into())
}

fn csv(cell: &str, form: &Form) -> String {
    let special = |it: char| it == form.delimiter || matches!(it, '"' | '\n' | '\r');
    if cell.contains(special) || cell == form.null {
        format!("\"{}\"", cell.replace('"', "\"\""))
    } else {
        cell.to_owned()
    }
}

fn escaped(it: char, delimiter: char, text: &mut String) {
    match it {
        '\\' => text.push_str("\\\\"),
        '\n' => text.push_str("\\n"),
        '\r' => text.push_str("\\r"),
        '\t' => text.push_str("\\t"),
        it if it == delimiter => text.extend(['\\', it]),
        it => text.push(it),
    }
}

#[cfg(test)]
mod tests {
    use pgwire::api::Type;
    use rusqlite::types::Value as Cell;

    use super::*;

    fn copied(form: &Form) -> Vec<String> {
        let text = |text: &str| Cell::Text(text.into());
        let outcome = Outcome {
            columns: vec![("a".into(), Type::TEXT), ("b".into(), Type::BOOL)],
            rows: vec![vec![text("x\ty, \"z\""), Cell::Integer(1)], vec![Cell::Null, Cell::Null]],
            ..Outcome::default()
        };
        let lines = lines(outcome, form);
        lines.map(|line| String::from_utf8(line.data.to_vec()).unwrap()).collect()
    }

    #[test]
    fn rows_are_written_in_both_forms() {
        let csv = Form { csv: true, header: true, delimiter: ',', null: String::new() };
        assert_eq!(copied(&csv), ["a,b\n", "\"x\ty, \"\"z\"\"\",t\n", ",\n"]);
        let text = Form { csv: false, header: false, delimiter: '\t', null: "\\N".into() };
        assert_eq!(copied(&text), ["x\\ty, \"z\"\tt\n", "\\N\t\\N\n"]);
    }
}
