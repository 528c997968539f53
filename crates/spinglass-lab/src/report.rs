//! What an experiment shows: plots, sentences and bars, as Markdown with drawings beside it, and as
//! one page that needs nothing else.

use std::fmt::Write as _;

use plotters::prelude::*;
use plotters::style::text_anchor::{HPos, Pos, VPos};
use serde::Serialize;

use crate::experiment::Point;

/// The size of a drawing, in pixels.
const SIZE: (u32, u32) = (760, 460);
/// A letter's width in the names of lines, what stands before a name, and a name's height, in
/// pixels, on the large side.
const NAME_WIDTH: usize = 8;
const NAME_INDENT: usize = 60;
const NAME_HEIGHT: usize = 26;
/// Places looked at on each piece of a line.
const PLACES_PER_PIECE: u32 = 16;
/// Colours that people with any colour vision tell apart (Okabe and Ito), and from light and dark.
const COLOURS: [RGBColor; 8] = [
    RGBColor(0, 114, 178),
    RGBColor(213, 94, 0),
    RGBColor(0, 158, 115),
    RGBColor(204, 121, 167),
    RGBColor(230, 159, 0),
    RGBColor(86, 180, 233),
    RGBColor(120, 120, 120),
    RGBColor(150, 75, 0),
];

/// What an experiment shows.
#[derive(Debug, Clone)]
pub struct Report {
    /// What it is called.
    pub title: String,
    /// What was run.
    pub about: String,
    /// The figures.
    pub plots: Vec<Plot>,
    /// What else is to be said.
    pub notes: Vec<String>,
    /// What was to be reached.
    pub bars: Vec<Bar>,
}

/// A figure.
#[derive(Debug, Clone)]
pub struct Plot {
    /// What stands above it.
    pub title: String,
    /// The horizontal axis.
    pub x: String,
    /// The vertical axis.
    pub y: String,
    /// Its top; none: what there is to see.
    pub y_most: Option<f64>,
    /// Which axes are logarithmic: the horizontal one, the vertical one.
    pub logarithmic: (bool, bool),
    /// The lines.
    pub series: Vec<Series>,
}

/// A line.
#[derive(Debug, Clone)]
pub struct Series {
    /// What it is.
    pub name: String,
    /// Its places, in order.
    pub points: Vec<Point>,
}

/// Something that was to be reached.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Bar {
    /// Its name.
    pub name: String,
    /// What was measured.
    pub value: f64,
    /// What it was to be: at least, or at most, this.
    pub bound: f64,
    /// Whether it was to be at least that.
    pub at_least: bool,
}

impl Bar {
    /// It was to be at least so much.
    #[must_use]
    pub fn at_least(name: &str, value: f64, bound: f64) -> Self {
        Self { name: name.into(), value, bound, at_least: true }
    }

    /// It was to be at most so much.
    #[must_use]
    pub fn at_most(name: &str, value: f64, bound: f64) -> Self {
        Self { name: name.into(), value, bound, at_least: false }
    }

    /// What it was to be, such as `>= 0.98`.
    #[must_use]
    pub fn wanted(&self) -> String {
        format!("{} {}", if self.at_least { ">=" } else { "<=" }, self.bound)
    }

    /// Whether it was reached.
    #[must_use]
    pub fn holds(&self) -> bool {
        if self.at_least { self.value >= self.bound } else { self.value <= self.bound }
    }
}

impl Plot {
    /// A figure without lines.
    #[must_use]
    pub fn new(title: &str, x: &str, y: &str) -> Self {
        let (title, x, y) = (title.into(), x.into(), y.into());
        Self { title, x, y, y_most: None, logarithmic: (false, false), series: Vec::new() }
    }

    /// The same with logarithmic axes: the horizontal one, the vertical one. What is not above zero
    /// has no place on them.
    #[must_use]
    pub fn logarithmic(mut self, x: bool, y: bool) -> Self {
        self.logarithmic = (x, y);
        self
    }

    /// Where points stand, on axes as they are.
    fn placed(&self) -> Vec<(&str, Vec<Point>)> {
        let (x_log, y_log) = self.logarithmic;
        let on = |log: bool, value: f64| if log { value.log10() } else { value };
        let place = |point: &Point| Point {
            x: on(x_log, point.x),
            mean: on(y_log, point.mean),
            range: (on(y_log, point.range.0.max(f64::MIN_POSITIVE)), on(y_log, point.range.1)),
            seeds: point.seeds,
        };
        let has_place = |point: &Point| point.x.is_finite() && point.mean.is_finite();
        let points = |series: &Series| series.points.iter().map(place).filter(has_place).collect();
        self.series.iter().map(|series| (series.name.as_str(), points(series))).collect()
    }

    /// Draws it.
    ///
    /// # Errors
    /// What the drawing's crate can't do; it says what.
    pub fn svg(&self) -> Result<String, String> {
        let mut text = String::new();
        self.draw(&mut text).map_err(|error| error.to_string())?;
        Ok(text)
    }

    /// The corner in which the names of lines hide the least of them.
    fn empty_corner(placed: &[(&str, Vec<Point>)], x: Axis, y: Axis) -> SeriesLabelPosition {
        let longest = placed.iter().map(|(name, _)| name.len()).max().unwrap_or(0);
        let wide = ((longest * NAME_WIDTH + NAME_INDENT) as f64 / f64::from(SIZE.0)).min(1.0);
        let high = ((placed.len() * NAME_HEIGHT) as f64 / f64::from(SIZE.1)).min(1.0);
        let hidden = |right: bool, upper: bool| {
            let is_within = |at: &(f64, f64)| {
                let (from_side, from_edge) =
                    (if right { 1.0 - at.0 } else { at.0 }, if upper { 1.0 - at.1 } else { at.1 });
                from_side < wide && from_edge < high
            };
            let lines = placed.iter().map(|(_, points)| along(points, x, y));
            lines.map(|line| line.iter().filter(|at| is_within(at)).count()).sum::<usize>()
        };
        let corners = [
            (hidden(false, true), SeriesLabelPosition::UpperLeft),
            (hidden(true, true), SeriesLabelPosition::UpperRight),
            (hidden(false, false), SeriesLabelPosition::LowerLeft),
            (hidden(true, false), SeriesLabelPosition::LowerRight),
        ];
        let least = corners.into_iter().min_by_key(|(hidden, _)| *hidden);
        least.map_or(SeriesLabelPosition::UpperLeft, |(_, corner)| corner)
    }

    fn draw(&self, text: &mut String) -> Result<(), Box<dyn std::error::Error>> {
        let placed = self.placed();
        let all = || placed.iter().flat_map(|(_, points)| points);
        let x = Axis::of(all().map(|point| point.x), self.logarithmic.0, 1.02);
        let mut y = Axis::of(all().map(|point| point.mean), self.logarithmic.1, 1.1);
        y.most = match self.y_most {
            Some(most) => most,
            None => all().map(|point| point.range.1 * 1.05).fold(y.most, f64::max),
        };
        let area = SVGBackend::with_string(text, SIZE).into_drawing_area();
        area.fill(&WHITE)?;
        let mut chart = ChartBuilder::on(&area)
            .caption(&self.title, ("sans-serif", 20))
            .margin(12)
            .x_label_area_size(44)
            .y_label_area_size(60)
            .build_cartesian_2d(x.least..x.most, y.least..y.most)?;
        let words = ("sans-serif", 14).into_text_style(&area);
        chart
            .configure_mesh()
            .light_line_style(TRANSPARENT)
            .x_desc(&self.x)
            .y_desc(&self.y)
            .x_label_formatter(&|value| x.label(*value))
            .y_label_formatter(&|value| y.label(*value))
            .label_style(words.clone())
            .draw()?;
        for ((name, points), colour) in placed.iter().zip(COLOURS.iter().cycle()) {
            let places = points.iter().map(|point| (point.x, point.mean));
            let line = LineSeries::new(places.clone(), colour.stroke_width(2));
            chart.draw_series(line)?.label(*name).legend(move |(x, y)| {
                PathElement::new(vec![(x, y), (x + 18, y)], colour.stroke_width(2))
            });
            chart.draw_series(places.map(|at| Circle::new(at, 3, colour.filled())))?;
            let ranges = points.iter().filter(|point| point.seeds > 1);
            chart.draw_series(ranges.map(|point| {
                let ends = [point.range.0.max(y.least), point.range.1];
                let ends = ends.map(|end| (point.x, end)).to_vec();
                PathElement::new(ends, colour.stroke_width(1))
            }))?;
        }
        chart
            .configure_series_labels()
            .label_font(words.pos(Pos::new(HPos::Left, VPos::Center)))
            .background_style(WHITE.mix(0.85))
            .border_style(BLACK.mix(0.2))
            .position(Self::empty_corner(&placed, x, y))
            .draw()?;
        area.present()?;
        Ok(())
    }
}

/// Places along a line, as shares of the axes: some on each piece of it.
fn along(points: &[Point], x: Axis, y: Axis) -> Vec<(f64, f64)> {
    let place = |at: &Point| (x.share(at.x), y.share(at.mean));
    let pieces = points.windows(2).flat_map(|ends| {
        let (from, to) = (place(&ends[0]), place(&ends[1]));
        (0..PLACES_PER_PIECE).map(move |step| {
            let share = f64::from(step) / f64::from(PLACES_PER_PIECE);
            (from.0 + (to.0 - from.0) * share, from.1 + (to.1 - from.1) * share)
        })
    });
    pieces.chain(points.last().map(place)).collect()
}

/// An axis: from where to where, in powers of ten if it is logarithmic.
#[derive(Debug, Clone, Copy)]
struct Axis {
    least: f64,
    most: f64,
    is_logarithmic: bool,
}

impl Axis {
    /// One for such values, and a little room.
    fn of(values: impl Iterator<Item = f64> + Clone, is_logarithmic: bool, room: f64) -> Self {
        let most = values.clone().fold(f64::NEG_INFINITY, f64::max);
        let least = values.fold(f64::INFINITY, f64::min);
        let (least, most) = match is_logarithmic {
            true => (least.floor(), most.ceil().max(least.floor() + 1.0)),
            false => (least.min(0.0) * room, most.max(f64::MIN_POSITIVE) * room),
        };
        match least.is_finite() && most.is_finite() {
            true => Self { least, most, is_logarithmic },
            // Nothing to see.
            false => Self { least: 0.0, most: 1.0, is_logarithmic },
        }
    }

    fn share(self, place: f64) -> f64 {
        (place - self.least) / (self.most - self.least)
    }

    fn label(self, place: f64) -> String {
        // Of powers of ten the whole ones.
        if self.is_logarithmic && (place - place.round()).abs() > 1e-6 {
            return String::new();
        }
        let value = if self.is_logarithmic { 10_f64.powf(place) } else { place };
        match value.abs() {
            1e-3..1e6 => {
                let text = format!("{value:.3}");
                text.trim_end_matches('0').trim_end_matches('.').to_owned()
            }
            0.0 => "0".into(),
            _ => format!("{value:.0e}"),
        }
    }
}

impl Series {
    /// A line.
    #[must_use]
    pub fn new(name: &str, points: Vec<Point>) -> Self {
        Self { name: name.into(), points }
    }
}

impl Report {
    /// The drawings, each with the name of its file.
    ///
    /// # Errors
    /// One can't be drawn.
    pub fn drawings(&self, name: &str) -> Result<Vec<(String, String)>, String> {
        let drawn =
            |(at, plot): (usize, &Plot)| Ok((format!("{name}-{}.svg", at + 1), plot.svg()?));
        self.plots.iter().enumerate().map(drawn).collect()
    }

    /// Markdown that shows the drawings, which stand beside it.
    #[must_use]
    pub fn markdown(&self, name: &str, how: &str) -> String {
        let mut text = format!("# {}\n\n{}\n", self.title, self.about);
        for (at, plot) in self.plots.iter().enumerate() {
            let _ = writeln!(text, "\n![{}]({name}-{}.svg)", plot.title, at + 1);
        }
        if !self.notes.is_empty() {
            text.push('\n');
            self.notes.iter().for_each(|note| text.push_str(&format!("- {note}\n")));
        }
        text.push_str("\n| what | measured | was to be | |\n|---|---|---|---|\n");
        for bar in &self.bars {
            let verdict = if bar.holds() { "holds" } else { "**does not hold**" };
            let (name, value, wanted) = (&bar.name, bar.value, bar.wanted());
            let _ = writeln!(text, "| {name} | {value:.4} | {wanted} | {verdict} |");
        }
        let _ = writeln!(text, "\n{how}");
        text
    }

    /// One page with everything in it.
    ///
    /// # Errors
    /// A drawing can't be made.
    pub fn page(&self, name: &str, how: &str) -> Result<String, String> {
        let mut body = format!("<h1>{}</h1><p>{}</p>", escaped(&self.title), escaped(&self.about));
        for (_, svg) in self.drawings(name)? {
            let _ = write!(body, "<figure>{svg}</figure>");
        }
        let notes = self.notes.iter().map(|note| format!("<li>{}</li>", escaped(note)));
        let _ = write!(body, "<ul>{}</ul>", notes.collect::<String>());
        body.push_str("<table><tr><th>what<th>measured<th>was to be<th></tr>");
        for bar in &self.bars {
            let verdict = if bar.holds() { "holds" } else { "<b>does not hold</b>" };
            let (name, value, wanted) = (escaped(&bar.name), bar.value, escaped(&bar.wanted()));
            let row = format!("<tr><td>{name}<td>{value:.4}<td>{wanted}<td>{verdict}</tr>");
            body.push_str(&row);
        }
        let _ = write!(body, "</table><p>{}</p>", escaped(how));
        let title = escaped(&self.title);
        Ok(format!(
            "<!doctype html><html lang=\"en\"><meta charset=\"utf-8\"><title>{title}</title>\
             <meta name=\"viewport\" content=\"width=device-width\"><style>{STYLE}</style>\
             <main>{body}</main></html>\n"
        ))
    }
}

const STYLE: &str = "body{font:16px/1.5 system-ui,sans-serif;margin:0;background:#fff;\
color:#1b1f23}main{max-width:60rem;margin:auto;padding:1rem}figure{margin:1rem 0}\
svg{max-width:100%;height:auto}table{border-collapse:collapse}\
td,th{padding:.2rem .8rem;border-bottom:1px solid #ddd;text-align:left}";

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn report() -> Report {
        let point = |x| Point { x, mean: 2.0 * x, range: (1.9 * x, 2.1 * x), seeds: 3 };
        let mut plot = Plot::new("a < b", "x", "y");
        plot.series.push(Series::new("one", vec![point(1.0), point(2.0)]));
        plot.series.push(Series::new("none", Vec::new()));
        let bars = vec![Bar::at_least("high", 1.0, 2.0), Bar::at_most("low", 1.0, 2.0)];
        let (title, about) = ("T & T".into(), "about".into());
        Report { title, about, plots: vec![plot], notes: vec!["note".into()], bars }
    }

    #[test]
    fn a_page_has_all_of_it_and_needs_nothing_else() {
        let page = report().page("name", "how").unwrap();
        for part in ["T &amp; T", "<svg", "note", "does not hold", "how"] {
            assert!(page.contains(part), "{part}");
        }
        assert!(!page.contains("src=") && !page.contains("href="), "it refers to nothing");
    }

    #[test]
    fn markdown_names_the_drawings_that_there_are() {
        let text = report().markdown("name", "how");
        let drawings = report().drawings("name").unwrap();
        assert!(drawings.iter().all(|(file, _)| text.contains(file.as_str())));
        assert!(text.contains("| high | 1.0000 | >= 2 | **does not hold** |"));
        assert!(text.contains("| low | 1.0000 | <= 2 | holds |"));
    }

    #[test]
    fn logarithmic_axes_tell_values_and_leave_out_what_has_none() {
        let point = |x, mean| Point { x, mean, range: (0.0, mean), seeds: 2 };
        let mut plot = Plot::new("log", "x", "y").logarithmic(true, true);
        plot.series.push(Series::new("one", vec![point(10.0, 1e-4), point(1e4, 0.0)]));
        assert_eq!(plot.placed()[0].1.len(), 1);
        let svg = plot.svg().unwrap();
        assert!(svg.contains("1e-4") && svg.contains("100"), "{svg}");
    }

    #[test]
    fn a_figure_without_anything_is_drawn() {
        assert!(Plot::new("empty", "x", "y").svg().unwrap().contains("<svg"));
    }
}
