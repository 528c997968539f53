//! What the library warns of, on standard error: a name that leads nowhere, a memory that is
//! damaged.

use std::fmt::{Debug, Write as _};

use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id, Record};
use tracing::{Event, Level, Metadata, Subscriber};

/// Whose warnings are shown.
const SOURCE: &str = "spinglass::";
/// Except of these, which the commands tell in words of their own.
const TOLD_ALREADY: &str = "spinglass::builder";

/// Shows warnings from here on; the second time it does nothing.
pub(crate) fn show() {
    // Whoever else is set shows them already.
    let _ = tracing::subscriber::set_global_default(Warnings);
}

#[derive(Debug)]
struct Warnings;

/// A warning's text, and behind it what it is about.
#[derive(Debug, Default)]
struct Line {
    message: String,
    fields: String,
}

impl Visit for Line {
    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        // Writing to memory does not fail.
        let _ = match field.name() {
            "message" => write!(self.message, "{value:?}"),
            name => write!(self.fields, " {name}={value:?}"),
        };
    }
}

impl Subscriber for Warnings {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        let target = metadata.target();
        *metadata.level() <= Level::WARN && target.starts_with(SOURCE) && target != TOLD_ALREADY
    }

    fn event(&self, event: &Event<'_>) {
        let mut line = Line::default();
        event.record(&mut line);
        eprintln!("spinglass: {}:{}", line.message, line.fields);
    }

    // The library has no spans.
    fn new_span(&self, _span: &Attributes<'_>) -> Id {
        Id::from_u64(1)
    }

    fn record(&self, _span: &Id, _values: &Record<'_>) {}

    fn record_follows_from(&self, _span: &Id, _follows: &Id) {}

    fn enter(&self, _span: &Id) {}

    fn exit(&self, _span: &Id) {}
}
