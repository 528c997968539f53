//! Conditions on a row alone: which messages are wanted, by their headers.

use alloc::string::String;
use alloc::sync::Arc;
use alloc::vec::Vec;

use crate::error::{EvalError, SqlError};
use crate::eval::Frame;
use crate::expr::Expr;
use crate::function::cell;
use crate::meter::{Meter, ROW_BUDGET};
use crate::row::{Name, Row};
use crate::statement;
use crate::value::Value;

/// A condition such as `price > 10 AND symbol LIKE 'I%'`: what may stand behind `WHERE`. Checked,
/// compiled, immutable, and cheap to clone.
#[derive(Debug, Clone)]
pub struct Filter {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    sql: String,
    condition: Condition,
}

/// An expression that is true or false, and the columns that it names by index.
#[derive(Debug)]
pub(crate) struct Condition {
    pub(crate) columns: Vec<Name>,
    pub(crate) expr: Expr,
}

impl Filter {
    /// Checks and compiles a text of at most
    /// [`Function::SQL_BYTES_MAX`](crate::Function::SQL_BYTES_MAX) bytes.
    ///
    /// # Errors
    /// The text is no condition: what is wrong, where, and what to do.
    pub fn parse(sql: &str) -> Result<Self, SqlError> {
        let condition = statement::condition(sql)?;
        Ok(Self { inner: Arc::new(Inner { sql: String::from(sql), condition }) })
    }

    /// The text.
    #[must_use]
    pub fn sql(&self) -> &str {
        &self.inner.sql
    }

    /// Whether it is true of a row. What the row lacks is null, as in SQL. A row that takes too
    /// many steps does not match.
    #[must_use]
    pub fn matches(&self, row: &Row) -> bool {
        let Condition { columns, expr } = &self.inner.condition;
        holds(expr, columns, row, &mut Meter::new(ROW_BUDGET)) == Ok(true)
    }
}

/// A row's values in these columns.
pub(crate) fn cells<'a>(columns: &[Name], row: &'a Row) -> Vec<Option<&'a Value>> {
    columns.iter().map(|name| cell(row, name, &mut 0)).collect()
}

/// Whether a condition is true of a row.
pub(crate) fn holds(
    condition: &Expr,
    columns: &[Name],
    row: &Row,
    meter: &mut Meter,
) -> Result<bool, EvalError> {
    let cells = cells(columns, row);
    Ok(condition.truth(Frame { columns: &cells, aggregates: &[] }, meter)? == Some(true))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{RowBuilder, SqlErrorKind};

    fn trade(symbol: &str, price: f64) -> Row {
        let name = |text| Name::new(text).unwrap();
        let row = RowBuilder::default().with(name("price"), Value::float(price));
        row.with(name("symbol"), Value::text(symbol)).build()
    }

    #[test]
    fn a_filter_is_what_stands_behind_where() {
        let filter = Filter::parse("price > 10 AND symbol LIKE 'I%'").unwrap();
        assert_eq!(filter.sql(), "price > 10 AND symbol LIKE 'I%'");
        assert!(filter.matches(&trade("IBM", 12.5)));
        assert!(!filter.matches(&trade("IBM", 9.5)));
        assert!(!filter.matches(&trade("AT", 12.5)));
        assert!(!filter.matches(&Row::empty()), "what is absent is null");
        assert!(Filter::parse("price IS NULL").unwrap().matches(&Row::empty()));
    }

    #[test]
    fn what_is_no_condition_is_told_where() {
        for (text, kind) in [
            ("", SqlErrorKind::Syntax),
            ("'text'", SqlErrorKind::Kind),
            ("price > ", SqlErrorKind::Syntax),
            ("price > 1 ORDER BY price", SqlErrorKind::Syntax),
            ("WHERE price > 1", SqlErrorKind::Syntax),
            ("MAX(price) > 1", SqlErrorKind::MisplacedAggregate),
        ] {
            let error = Filter::parse(text).unwrap_err();
            assert_eq!(error.kind, kind, "{text:?}: {error}");
        }
    }
}
