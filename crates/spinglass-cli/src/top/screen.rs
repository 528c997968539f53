//! What `top` shows: one zone's rows, which of them is chosen, and what keys do.

use std::cmp::Ordering;
use std::collections::BTreeSet;

use anyhow::Result;
use ratatui::Frame;
use ratatui::crossterm::event::{KeyCode, KeyEvent, KeyModifiers};
use ratatui::layout::{Constraint, Layout, Rect};
use ratatui::style::{Modifier, Style, Stylize as _};
use ratatui::text::Line;
use ratatui::widgets::{Cell, Paragraph, Row, Table, TableState};
use serde_json::Value as Json;
use spinglass_doors::told::{RowTold, ZoneTold};

use crate::agent::shown;

/// The widest column, in characters.
const COLUMN_MAX: u16 = 28;
/// Characters between two columns.
const SPACING: u16 = 2;
/// Rows that PageUp and PageDown pass over.
const PAGE: usize = 10;
/// Seconds after which a row without news is shown faintly.
const STALE_SECONDS: f64 = 30.0;
/// Attributes that say little to people come last.
const LAST: [&str; 8] =
    ["contacts", "depth", "agent", "arch", "kernel", "os", "hostname", "booted"];

/// What a key wants of whoever has the agent.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Wish {
    Nothing,
    /// To ask for the zone, which may be another one now.
    Look,
    Stop,
}

/// The screen.
#[derive(Debug)]
pub(super) struct Screen {
    zone: String,
    told: Option<ZoneTold>,
    /// Why there is nothing newer.
    error: Option<String>,
    columns: Vec<String>,
    chosen: usize,
    sort: usize,
    is_reversed: bool,
    /// Columns after the first that are out of sight on the left.
    skipped: usize,
}

impl Screen {
    pub(super) fn new(zone: &str) -> Self {
        Self {
            zone: zone.to_owned(),
            told: None,
            error: None,
            columns: Vec::new(),
            chosen: 0,
            sort: 0,
            is_reversed: false,
            skipped: 0,
        }
    }

    pub(super) fn zone(&self) -> &str {
        &self.zone
    }

    /// Takes in what the agent told. An error leaves what was there before.
    pub(super) fn show(&mut self, told: Result<ZoneTold>) {
        match told {
            Ok(told) => {
                self.columns = columns(&told.rows);
                self.sort = self.sort.min(self.columns.len().saturating_sub(1));
                self.chosen = self.chosen.min(told.rows.len().saturating_sub(1));
                (self.told, self.error) = (Some(told), None);
            }
            Err(error) => self.error = Some(format!("{error:#}")),
        }
    }

    /// Does what a key says.
    pub(super) fn key(&mut self, key: KeyEvent) -> Wish {
        let rows = self.told.as_ref().map_or(0, |told| told.rows.len());
        let last = rows.saturating_sub(1);
        let columns = self.columns.len().max(1);
        let is_control = key.modifiers.contains(KeyModifiers::CONTROL);
        match key.code {
            KeyCode::Char('c') if is_control => return Wish::Stop,
            KeyCode::Char('q') | KeyCode::Esc => return Wish::Stop,
            KeyCode::Up | KeyCode::Char('k') => self.chosen = self.chosen.saturating_sub(1),
            KeyCode::Down | KeyCode::Char('j') => self.chosen = (self.chosen + 1).min(last),
            KeyCode::PageUp => self.chosen = self.chosen.saturating_sub(PAGE),
            KeyCode::PageDown => self.chosen = (self.chosen + PAGE).min(last),
            KeyCode::Home => self.chosen = 0,
            KeyCode::End => self.chosen = last,
            KeyCode::Right | KeyCode::Enter => return self.enter(),
            KeyCode::Left | KeyCode::Backspace => return self.leave(),
            KeyCode::Char('s') => self.sort = (self.sort + 1) % columns,
            KeyCode::Char('S') => self.sort = (self.sort + columns - 1) % columns,
            KeyCode::Char('r') => self.is_reversed = !self.is_reversed,
            KeyCode::Char('>') => self.skipped = (self.skipped + 1).min(columns - 1),
            KeyCode::Char('<') => self.skipped = self.skipped.saturating_sub(1),
            _ => (),
        }
        Wish::Nothing
    }

    fn enter(&mut self) -> Wish {
        let is_region = self.told.as_ref().is_none_or(|told| told.region);
        let name = self.sorted().get(self.chosen).map(|row| row.name.clone());
        let Some(name) = name.filter(|_| !is_region) else { return Wish::Nothing };
        let above = self.zone.trim_end_matches('/');
        self.go(format!("{above}/{name}"))
    }

    fn leave(&mut self) -> Wish {
        match self.zone.rsplit_once('/') {
            Some((_, "")) | None => Wish::Nothing,
            Some(("", _)) => self.go("/".into()),
            Some((above, _)) => self.go(above.to_owned()),
        }
    }

    fn go(&mut self, zone: String) -> Wish {
        *self = Self { sort: self.sort, is_reversed: self.is_reversed, ..Self::new(&zone) };
        Wish::Look
    }

    fn sorted(&self) -> Vec<&RowTold> {
        let mut rows: Vec<&RowTold> = self.told.iter().flat_map(|told| &told.rows).collect();
        if let Some(column) = self.columns.get(self.sort) {
            rows.sort_by(|a, b| compare(&value(a, column), &value(b, column)));
        }
        if self.is_reversed {
            rows.reverse();
        }
        rows
    }

    /// Draws it.
    pub(super) fn draw(&self, frame: &mut Frame<'_>) {
        let parts = [Constraint::Length(2), Constraint::Min(3), Constraint::Length(1)];
        let [head, body, foot] = Layout::vertical(parts).areas(frame.area());
        frame.render_widget(self.head(), head);
        self.draw_rows(frame, body);
        let foot_line = match &self.error {
            Some(error) => Line::from(error.as_str()).red(),
            None => {
                Line::from("arrows: choose, in, out   s/S r: sort   < >: columns   q: stop").dim()
            }
        };
        frame.render_widget(foot_line, foot);
    }

    fn head(&self) -> Paragraph<'_> {
        let rows = self.told.as_ref().map_or(0, |told| told.rows.len());
        let what = match &self.told {
            Some(told) if told.region => "agents",
            _ => "zones",
        };
        let first = Line::from(format!("{}   {rows} {what}", self.zone)).bold();
        let summary = self.told.iter().flat_map(|told| &told.summary);
        let said = summary.filter(|(name, _)| !name.starts_with('&') && !LAST.contains(&&***name));
        let said: Vec<String> =
            said.map(|(name, value)| format!("{name} {}", shown(value))).collect();
        Paragraph::new(vec![first, Line::from(said.join("   ")).dim()])
    }

    fn draw_rows(&self, frame: &mut Frame<'_>, area: Rect) {
        let rows = self.sorted();
        let mut columns: Vec<(usize, &String)> = self.columns.iter().enumerate().collect();
        columns.drain(1.min(columns.len())..(1 + self.skipped).min(columns.len()));
        let mark = if self.is_reversed { "▾" } else { "▴" };
        let titles: Vec<String> = columns
            .iter()
            .map(
                |(at, name)| {
                    if *at == self.sort { format!("{name}{mark}") } else { (*name).clone() }
                },
            )
            .collect();
        let texts: Vec<Vec<String>> = rows
            .iter()
            .map(|row| columns.iter().map(|(_, column)| shown_cell(row, column)).collect())
            .collect();
        let width = |at: usize, title: &String| {
            let cells = texts.iter().filter_map(|row| row.get(at)).map(|text| text.chars().count());
            let widest = cells.max().unwrap_or(0).max(title.chars().count());
            u16::try_from(widest).unwrap_or(COLUMN_MAX).min(COLUMN_MAX)
        };
        let mut left = area.width;
        // A column that is cut says less than none: `>` shows it.
        let fits = |width: &u16| {
            let fits = *width <= left;
            left = left.saturating_sub(*width + SPACING);
            fits
        };
        let widths = titles.iter().enumerate().map(|(at, title)| width(at, title));
        let widths: Vec<Constraint> = widths.take_while(fits).map(Constraint::Length).collect();
        let lines = rows.iter().zip(texts).map(|(row, texts)| {
            let mut style = Style::new();
            if row.own {
                style = style.add_modifier(Modifier::BOLD);
            }
            if row.age > STALE_SECONDS {
                style = style.add_modifier(Modifier::DIM);
            }
            Row::new(texts.into_iter().map(Cell::from)).style(style)
        });
        let table = Table::new(lines, widths)
            .header(Row::new(titles).bold().underlined())
            .column_spacing(SPACING)
            .row_highlight_style(Style::new().reversed());
        let mut state =
            TableState::new().with_selected(Some(self.chosen).filter(|_| !rows.is_empty()));
        frame.render_stateful_widget(table, area, &mut state);
    }
}

/// The name first, then what rows say, then how old that is.
fn columns(rows: &[RowTold]) -> Vec<String> {
    let names: BTreeSet<&String> = rows.iter().flat_map(|row| row.attributes.keys()).collect();
    let known = names.into_iter().filter(|name| !name.starts_with('&') && *name != "id");
    let (last, first): (Vec<&String>, Vec<&String>) =
        known.partition(|name| LAST.contains(&name.as_str()));
    let own = ["name".to_owned()].into_iter();
    let all = own.chain(first.into_iter().cloned()).chain(["age".to_owned()]);
    all.chain(last.into_iter().cloned()).collect()
}

fn value(row: &RowTold, column: &str) -> Json {
    match column {
        "name" => Json::from(row.name.as_str()),
        "age" => Json::from(row.age.round()),
        _ => row.attributes.get(column).cloned().unwrap_or(Json::Null),
    }
}

fn shown_cell(row: &RowTold, column: &str) -> String {
    match value(row, column) {
        Json::Null => String::new(),
        Json::Number(number) if column == "age" => format!("{number:.0} s").replace(".0 ", " "),
        value => shown(&value),
    }
}

/// Numbers by their size, all else by its text; nothing before something.
fn compare(a: &Json, b: &Json) -> Ordering {
    match (a.as_f64(), b.as_f64()) {
        (Some(a), Some(b)) => a.total_cmp(&b),
        _ => a.is_null().cmp(&b.is_null()).reverse().then_with(|| shown(a).cmp(&shown(b))),
    }
}

#[cfg(test)]
mod tests {
    use ratatui::Terminal;
    use ratatui::backend::TestBackend;
    use serde_json::{Map, json};

    use super::*;

    fn row(name: &str, load: f64) -> RowTold {
        let attributes: Map<String, Json> =
            json!({"load": load, "arch": "x", "&functions": []}).as_object().unwrap().clone();
        RowTold { name: name.into(), own: name == "b", age: 1.0, attributes }
    }

    fn zone(path: &str, region: bool) -> ZoneTold {
        let rows = vec![row("a", 2.0), row("b", 10.0), row("c", 0.5)];
        let summary = json!({"nmembers": 3}).as_object().unwrap().clone();
        ZoneTold { path: path.into(), region, rows, summary, errors: Vec::new(), whole: true }
    }

    fn press(screen: &mut Screen, code: KeyCode) -> Wish {
        screen.key(KeyEvent::new(code, KeyModifiers::NONE))
    }

    fn drawn(screen: &Screen) -> String {
        let mut terminal = Terminal::new(TestBackend::new(70, 8)).unwrap();
        terminal.draw(|frame| screen.draw(frame)).unwrap();
        terminal.backend().to_string()
    }

    #[test]
    fn rows_are_sorted_and_drawn() {
        let mut screen = Screen::new("/usa");
        screen.show(Ok(zone("/usa", true)));
        let text = drawn(&screen);
        assert!(text.contains("/usa   3 agents") && text.contains("nmembers 3"), "{text}");
        assert!(text.contains("name▴  load  age  arch"), "{text}");
        press(&mut screen, KeyCode::Char('s'));
        press(&mut screen, KeyCode::Char('r'));
        let names: Vec<_> = screen.sorted().iter().map(|row| row.name.clone()).collect();
        assert_eq!(names, ["b", "a", "c"], "by load, the other way round");
        press(&mut screen, KeyCode::Char('>'));
        assert!(!drawn(&screen).contains("load"), "{}", drawn(&screen));
    }

    #[test]
    fn arrows_lead_into_zones_and_out() {
        let mut screen = Screen::new("/");
        screen.show(Ok(zone("/", false)));
        press(&mut screen, KeyCode::Down);
        assert_eq!(press(&mut screen, KeyCode::Right), Wish::Look);
        assert_eq!(screen.zone(), "/b");
        screen.show(Ok(zone("/b", false)));
        press(&mut screen, KeyCode::End);
        press(&mut screen, KeyCode::Enter);
        assert_eq!(screen.zone(), "/b/c");
        screen.show(Ok(zone("/b/c", true)));
        assert_eq!(press(&mut screen, KeyCode::Right), Wish::Nothing, "agents are no zones");
        press(&mut screen, KeyCode::Left);
        press(&mut screen, KeyCode::Left);
        assert_eq!(screen.zone(), "/");
        assert_eq!(press(&mut screen, KeyCode::Left), Wish::Nothing);
        assert_eq!(press(&mut screen, KeyCode::Char('q')), Wish::Stop);
    }

    #[test]
    fn an_agent_that_is_gone_leaves_what_it_told() {
        let mut screen = Screen::new("/");
        screen.show(Ok(zone("/", true)));
        screen.show(Err(anyhow::anyhow!("no agent listens")));
        let text = drawn(&screen);
        assert!(text.contains("no agent listens") && text.contains("10"), "{text}");
    }
}
