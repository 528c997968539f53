//! Figures: where a report holds them, what they must reach, and the line that says so.

use std::fmt;

use serde_json::Value;

/// One figure of a report.
#[derive(Debug)]
pub(crate) struct Figure {
    /// Its name, after the bar's.
    pub(crate) name: &'static str,
    /// Its JSON pointer; `*` stands for every element of an array, and the worst one counts.
    pub(crate) at: &'static str,
    /// What it must reach.
    pub(crate) target: Target,
}

/// What a figure must reach.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Target {
    /// At least this.
    AtLeast(f64),
    /// At most this.
    AtMost(f64),
    /// Exactly what another pointer of the same report holds.
    SameAs(&'static str),
    /// At most this many times what another pointer holds.
    AtMostTimes(f64, &'static str),
    /// The largest may exceed the smallest by at most this share.
    SpreadAtMost(f64),
    /// Each must be smaller than the one before; shown is the last one over the first.
    Falls,
    /// Nothing: it is only reported.
    Report,
}

/// What is printed about one figure.
#[derive(Debug)]
pub(crate) struct Line {
    name: String,
    measured: String,
    target: String,
    /// Whether the figure reaches its target.
    pub(crate) passes: bool,
    context: String,
}

impl Line {
    /// A figure that could not be measured.
    pub(crate) fn missing(name: &str, why: &str) -> Self {
        Self {
            name: name.to_owned(),
            measured: "-".to_owned(),
            target: "-".to_owned(),
            passes: false,
            context: why.to_owned(),
        }
    }

    fn nothing_at(name: &str, pointer: &str) -> Self {
        Self::missing(name, &format!("the report has nothing at {pointer}"))
    }

    /// A figure that must reach `least`.
    pub(crate) fn at_least(name: String, measured: f64, least: f64, context: String) -> Self {
        let target = format!(">={least}");
        Self { name, measured: shown(measured), target, passes: measured >= least, context }
    }

    /// A figure that must not exceed `most`.
    pub(crate) fn at_most(name: String, measured: f64, most: f64, context: String) -> Self {
        let target = format!("<={most}");
        Self { name, measured: shown(measured), target, passes: measured <= most, context }
    }

    /// A figure that holds or does not.
    pub(crate) fn yes_or_no(name: String, measured: &str, target: &str, context: String) -> Self {
        let passes = measured == target;
        Self { name, measured: measured.to_owned(), target: target.to_owned(), passes, context }
    }
}

impl fmt::Display for Line {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { name, measured, target, passes, context } = self;
        let verdict = if *passes { "PASS" } else { "SHORT" };
        write!(formatter, "BAR {name} {measured} {target} {verdict}")?;
        if context.is_empty() { Ok(()) } else { write!(formatter, " ({context})") }
    }
}

impl Figure {
    /// Reads the figure from a report and judges it.
    pub(crate) fn measure(&self, bar: &str, report: &Value, context: &str) -> Line {
        let name = format!("{bar}.{}", self.name);
        let found = numbers(report, self.at);
        let largest = found.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        let smallest = found.iter().copied().fold(f64::INFINITY, f64::min);
        if found.is_empty() {
            return Line::nothing_at(&name, self.at);
        }
        let other = |pointer: &str| numbers(report, pointer).first().copied();
        let (worst, target, passes) = match self.target {
            Target::AtLeast(least) => (smallest, format!(">={least}"), smallest >= least),
            Target::AtMost(most) => (largest, format!("<={most}"), largest <= most),
            Target::Report => (largest, "-".to_owned(), true),
            Target::SpreadAtMost(most) => {
                let spread = largest / smallest - 1.0;
                (spread, format!("<={most}"), spread <= most)
            }
            Target::Falls => {
                let ratio = found.last().unwrap_or(&0.0) / found.first().unwrap_or(&1.0);
                (ratio, "falling".to_owned(), found.is_sorted_by(|a, b| a > b))
            }
            Target::SameAs(pointer) => match other(pointer) {
                Some(wanted) => (smallest, format!("={wanted}"), smallest == wanted),
                None => return Line::nothing_at(&name, pointer),
            },
            Target::AtMostTimes(times, pointer) => match other(pointer) {
                Some(unit) => (largest / unit, format!("<={times}"), largest <= times * unit),
                None => return Line::nothing_at(&name, pointer),
            },
        };
        Line { name, measured: shown(worst), target, passes, context: context.to_owned() }
    }
}

/// Sample sizes and seeds, as `name=value`.
pub(crate) fn context(report: &Value, pointers: &[&str]) -> String {
    let one = |pointer: &&str| {
        let name = pointer.rsplit('/').find(|part| *part != "*").unwrap_or(pointer);
        let values: Vec<String> = at(report, pointer).into_iter().map(plain).collect();
        if values.is_empty() { None } else { Some(format!("{name}={}", values.join(","))) }
    };
    pointers.iter().filter_map(one).collect::<Vec<_>>().join(" ")
}

fn plain(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

/// Four significant places below a thousand, whole numbers above.
fn shown(value: f64) -> String {
    let places = if value == value.trunc() || value.abs() >= 1000.0 {
        0
    } else if value.abs() >= 1.0 {
        2
    } else {
        4
    };
    format!("{value:.places$}")
}

/// Everything at a pointer that is a number, or a truth as 0 or 1.
fn numbers(report: &Value, pointer: &str) -> Vec<f64> {
    let number = |value: &Value| value.as_f64().or_else(|| value.as_bool().map(f64::from));
    at(report, pointer).into_iter().filter_map(number).collect()
}

fn at<'a>(report: &'a Value, pointer: &str) -> Vec<&'a Value> {
    let mut found = vec![report];
    for part in pointer.split('/').skip(1) {
        let step = |value: &'a Value| -> Vec<&'a Value> {
            match (part, value) {
                ("*", Value::Array(elements)) => elements.iter().collect(),
                ("*", Value::Object(members)) => members.values().collect(),
                (name, Value::Object(members)) => members.get(name).into_iter().collect(),
                (index, Value::Array(elements)) => {
                    index.parse().ok().and_then(|i: usize| elements.get(i)).into_iter().collect()
                }
                _ => Vec::new(),
            }
        };
        found = found.into_iter().flat_map(step).collect();
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn line(at: &'static str, target: Target) -> String {
        let report = json!({"n": 3, "whole": true, "of": 3, "points": [{"p": 0.5}, {"p": 0.25}]});
        Figure { name: "x", at, target }.measure("core.y", &report, "n=3").to_string()
    }

    #[test]
    fn the_worst_element_is_held_against_the_target() {
        let least = line("/points/*/p", Target::AtLeast(0.3));
        assert_eq!(least, "BAR core.y.x 0.2500 >=0.3 SHORT (n=3)");
        let most = line("/points/*/p", Target::AtMost(0.5));
        assert_eq!(most, "BAR core.y.x 0.5000 <=0.5 PASS (n=3)");
        assert_eq!(line("/points/1/p", Target::Report), "BAR core.y.x 0.2500 - PASS (n=3)");
    }

    #[test]
    fn truths_and_other_pointers_count_too() {
        assert_eq!(line("/whole", Target::AtLeast(1.0)), "BAR core.y.x 1 >=1 PASS (n=3)");
        assert_eq!(line("/n", Target::SameAs("/of")), "BAR core.y.x 3 =3 PASS (n=3)");
    }

    #[test]
    fn figures_are_held_against_each_other() {
        assert_eq!(
            line("/points/0/p", Target::AtMostTimes(2.0, "/points/1/p")),
            "BAR core.y.x 2 <=2 PASS (n=3)"
        );
        let spread = line("/points/*/p", Target::SpreadAtMost(0.1));
        assert_eq!(spread, "BAR core.y.x 1 <=0.1 SHORT (n=3)");
        assert_eq!(line("/points/*/p", Target::Falls), "BAR core.y.x 0.5000 falling PASS (n=3)");
    }

    #[test]
    fn a_figure_that_is_not_there_falls_short() {
        assert!(line("/nowhere", Target::Report).contains(" SHORT (the report has nothing"));
        assert!(line("/n", Target::SameAs("/nowhere")).contains(" SHORT "));
    }

    #[test]
    fn sample_sizes_are_named_by_the_last_part_of_their_pointer() {
        let report = json!({"seed": 7, "points": [{"n": 1}, {"n": 2}]});
        assert_eq!(context(&report, &["/seed", "/points/*/n", "/none"]), "seed=7 n=1,2");
    }
}
