//! Throughput over time, drawn twice: in the terminal and as an SVG file.

use std::fmt::Write as _;

/// What is drawn: messages per second in successive bins.
#[derive(Debug, Clone)]
pub(crate) struct Throughput {
    /// Seconds per bin.
    pub(crate) bin_seconds: f64,
    /// What the sender offers.
    pub(crate) offered: f64,
    /// The mean of all healthy members.
    pub(crate) healthy: Vec<f64>,
    /// The slowest and the fastest healthy member in each bin.
    pub(crate) healthy_range: Vec<(f64, f64)>,
    /// The mean of all sleepers; empty if there are none.
    pub(crate) sleepers: Vec<f64>,
    /// What stands above the drawing.
    pub(crate) title: String,
}

impl Throughput {
    /// The top of the vertical axis.
    fn top(&self) -> f64 {
        let largest = self.healthy_range.iter().map(|(_, most)| *most);
        let largest = largest.chain(self.sleepers.iter().copied()).fold(self.offered, f64::max);
        largest.max(1.0) * 1.1
    }
}

/// Rows of the terminal's plot.
const ROWS: usize = 8;
/// Parts of a row that a block character can fill.
const EIGHTHS: [char; 8] = [' ', '▁', '▂', '▃', '▄', '▅', '▆', '▇'];

/// Draws the healthy members' mean as columns, two characters wide.
pub(crate) fn for_terminal(throughput: &Throughput) -> String {
    let top = throughput.top();
    let mut text = format!("  {}\n", throughput.title);
    for row in (0..ROWS).rev() {
        let label = top * (row + 1) as f64 / ROWS as f64;
        let _ = write!(text, "  {label:>8.0} ┤");
        for value in &throughput.healthy {
            let filled = value / top * ROWS as f64 - row as f64;
            let column = block(filled);
            text.extend([column, column]);
        }
        text.push('\n');
    }
    let width = throughput.healthy.len() * 2;
    let seconds = throughput.healthy.len() as f64 * throughput.bin_seconds;
    let _ = writeln!(text, "  {:>8} └{}", 0, "─".repeat(width));
    let _ = writeln!(
        text,
        "  {:>8}  0 s{:>width$}",
        "",
        format!("{seconds:.1} s"),
        width = width - 3.min(width)
    );
    text
}

/// A block filled to this share of its height.
fn block(filled: f64) -> char {
    if filled >= 1.0 {
        return '█';
    }
    // In range: the share is below 1.
    let eighths = (filled.max(0.0) * 8.0) as usize;
    EIGHTHS.get(eighths).copied().unwrap_or('█')
}

/// Pixels of the drawing.
const WIDTH: f64 = 860.0;
const HEIGHT: f64 = 360.0;
/// Pixels around the axes' box: left, top, right, bottom.
const MARGINS: (f64, f64, f64, f64) = (70.0, 48.0, 24.0, 56.0);

/// Draws everything as SVG.
pub(crate) fn as_svg(throughput: &Throughput) -> String {
    let frame = Frame { top: throughput.top(), bins: throughput.healthy.len().max(2) };
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {HEIGHT}\" \
         font-family=\"sans-serif\" font-size=\"13\">\n\
         <rect width=\"{WIDTH}\" height=\"{HEIGHT}\" fill=\"#ffffff\"/>\n\
         <text x=\"{}\" y=\"26\" font-size=\"15\" fill=\"#222222\">{}</text>\n",
        MARGINS.0,
        escape(&throughput.title),
    );
    draw_axes(&mut svg, &frame, throughput.bin_seconds);
    draw_range(&mut svg, &frame, &throughput.healthy_range);
    let offered = vec![throughput.offered; throughput.healthy.len()];
    draw_line(&mut svg, &frame, &offered, "#888888", "stroke-dasharray=\"5 4\"");
    draw_line(&mut svg, &frame, &throughput.sleepers, "#c2571a", "stroke-opacity=\"0.8\"");
    draw_line(&mut svg, &frame, &throughput.healthy, "#1b6ca8", "stroke-width=\"2.5\"");
    draw_legend(&mut svg, !throughput.sleepers.is_empty());
    svg.push_str("</svg>\n");
    svg
}

/// Where values lie on the drawing.
struct Frame {
    top: f64,
    bins: usize,
}

impl Frame {
    fn x(&self, bin: f64) -> f64 {
        MARGINS.0 + (WIDTH - MARGINS.0 - MARGINS.2) * bin / (self.bins - 1) as f64
    }

    fn y(&self, value: f64) -> f64 {
        HEIGHT - MARGINS.3 - (HEIGHT - MARGINS.1 - MARGINS.3) * value / self.top
    }
}

fn draw_axes(svg: &mut String, frame: &Frame, bin_seconds: f64) {
    let (left, right) = (frame.x(0.0), frame.x((frame.bins - 1) as f64));
    for step in 0..=4 {
        let value = frame.top * f64::from(step) / 4.0;
        let y = frame.y(value);
        let _ = writeln!(
            svg,
            "<line x1=\"{left:.1}\" x2=\"{right:.1}\" y1=\"{y:.1}\" y2=\"{y:.1}\" \
             stroke=\"#e2e2e2\"/><text x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"end\" \
             fill=\"#555555\">{value:.0}</text>",
            left - 8.0,
            y + 4.0,
        );
    }
    let seconds = (frame.bins as f64 * bin_seconds).round().max(1.0);
    let apart = if seconds > 20.0 { 5.0 } else { 2.0 };
    let mut second = 0.0;
    while second < seconds {
        let x = frame.x((second / bin_seconds).min((frame.bins - 1) as f64));
        let y = HEIGHT - MARGINS.3 + 18.0;
        let _ = writeln!(
            svg,
            "<text x=\"{x:.1}\" y=\"{y:.1}\" text-anchor=\"middle\" \
             fill=\"#555555\">{second} s</text>"
        );
        second += apart;
    }
    let _ = writeln!(
        svg,
        "<text transform=\"translate(18 {:.1}) rotate(-90)\" text-anchor=\"middle\" \
         fill=\"#555555\">messages delivered per second</text>",
        (MARGINS.1 + HEIGHT - MARGINS.3) / 2.0
    );
}

fn draw_line(svg: &mut String, frame: &Frame, values: &[f64], colour: &str, more: &str) {
    if values.is_empty() {
        return;
    }
    let _ = write!(svg, "<polyline fill=\"none\" stroke=\"{colour}\" {more} points=\"");
    for (bin, value) in values.iter().enumerate() {
        let _ = write!(svg, "{:.1},{:.1} ", frame.x(bin as f64), frame.y(*value));
    }
    svg.push_str("\"/>\n");
}

fn draw_range(svg: &mut String, frame: &Frame, range: &[(f64, f64)]) {
    let _ = write!(svg, "<polygon fill=\"#1b6ca8\" fill-opacity=\"0.18\" points=\"");
    for (bin, (least, _)) in range.iter().enumerate() {
        let _ = write!(svg, "{:.1},{:.1} ", frame.x(bin as f64), frame.y(*least));
    }
    for (bin, (_, most)) in range.iter().enumerate().rev() {
        let _ = write!(svg, "{:.1},{:.1} ", frame.x(bin as f64), frame.y(*most));
    }
    svg.push_str("\"/>\n");
}

fn draw_legend(svg: &mut String, has_sleepers: bool) {
    let mut entries =
        vec![("#1b6ca8", "healthy members: mean, and range of all"), ("#888888", "offered")];
    if has_sleepers {
        entries.push(("#c2571a", "stopped and continued members: mean"));
    }
    let mut x = MARGINS.0;
    let y = HEIGHT - 14.0;
    for (colour, text) in entries {
        let _ = writeln!(
            svg,
            "<rect x=\"{x}\" y=\"{:.1}\" width=\"16\" height=\"4\" fill=\"{colour}\"/>\
             <text x=\"{:.1}\" y=\"{y}\" fill=\"#333333\">{text}</text>",
            y - 6.0,
            x + 22.0,
        );
        // A letter of this face is about 6.6 pixels wide.
        x += 22.0 + text.len() as f64 * 6.6 + 22.0;
    }
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn flat() -> Throughput {
        Throughput {
            bin_seconds: 0.5,
            offered: 100.0,
            healthy: vec![100.0; 6],
            healthy_range: vec![(98.0, 102.0); 6],
            sleepers: vec![40.0; 6],
            title: "a < b".to_owned(),
        }
    }

    #[test]
    fn a_flat_line_is_drawn_flat() {
        let text = for_terminal(&flat());
        let columns: Vec<&str> = text.lines().filter(|line| line.contains('┤')).collect();
        assert_eq!(columns.len(), ROWS);
        assert!(columns[ROWS - 1].ends_with("████████████"), "{text}");
        assert!(text.contains("3.0 s"), "{text}");
    }

    #[test]
    fn the_svg_holds_every_line_and_no_raw_text() {
        let svg = as_svg(&flat());
        assert_eq!(svg.matches("<polyline").count(), 3);
        assert!(svg.contains("a &lt; b"));
        let none = as_svg(&Throughput { healthy: vec![], healthy_range: vec![], ..flat() });
        assert!(none.ends_with("</svg>\n"));
    }
}
