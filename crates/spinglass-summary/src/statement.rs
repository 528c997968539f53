//! `SELECT`, its clauses, and plain words for all that is SQL elsewhere and not here.
//!
//! ```text
//! function  SELECT aggregates AS name, ..  FROM zone   [WHERE condition] [GROUP BY expression]
//! query     SELECT * | expression AS name, ..  FROM hosts  [WHERE condition]
//!           [ORDER BY expression [DESC], ..] [LIMIT count]
//! filter    condition
//! ```

use alloc::format;
use alloc::vec::Vec;

use crate::aggregate::Aggregate;
use crate::error::{SqlError, SqlErrorKind};
use crate::expr::Expr;
use crate::filter::Condition;
use crate::parser::{Node, Parser, Scope};
use crate::row::Name;
use crate::value::Value;

/// The most columns of a result, and of an `ORDER BY`.
const OUTPUTS_MAX: usize = 32;

/// One column of the result.
#[derive(Debug, Clone)]
pub(crate) struct Output {
    pub(crate) name: Name,
    pub(crate) expr: Expr,
    /// The aggregates that the expression names by index.
    pub(crate) aggregates: Vec<Aggregate>,
    /// Whether it is the `GROUP BY` expression itself.
    pub(crate) is_group: bool,
}

/// The text of a function, compiled.
#[derive(Debug)]
pub(crate) struct FunctionText {
    pub(crate) columns: Vec<Name>,
    pub(crate) outputs: Vec<Output>,
    pub(crate) filter: Option<Expr>,
    pub(crate) group: Option<Expr>,
}

/// The text of a query, compiled.
#[derive(Debug)]
pub(crate) struct QueryText {
    pub(crate) columns: Vec<Name>,
    /// `None` for `*`.
    pub(crate) outputs: Option<Vec<Output>>,
    pub(crate) filter: Option<Expr>,
    /// Expressions, and whether the largest comes first.
    pub(crate) order: Vec<(Expr, bool)>,
    pub(crate) limit: Option<usize>,
}

pub(crate) fn function(sql: &str) -> Result<FunctionText, SqlError> {
    let mut parser = Parser::new(sql)?;
    parser.select()?;
    if parser.is_symbol("*") {
        let message = "a summary makes one row of many: name what to make, as in MIN(load) AS load";
        return Err(parser.error(SqlErrorKind::BareColumn, parser.at(), message));
    }
    let (mut outputs, mut bare_columns) = (Vec::new(), Vec::new());
    loop {
        parser.bare = None;
        parser.scope = Scope::Output;
        let output = parser.output(&outputs)?;
        bare_columns.push(parser.bare.take());
        outputs.push(output);
        if !parser.take_symbol(",") {
            break;
        }
    }
    parser.from("zone")?;
    let filter = parser.filter()?;
    let group = if parser.take_word("GROUP") { Some(parser.group()?) } else { None };
    parser.end("a summary is one row")?;
    for (output, bare) in outputs.iter_mut().zip(bare_columns) {
        let Some((at, name)) = bare else { continue };
        output.is_group = group.as_ref() == Some(&output.expr);
        if !output.is_group {
            let message = format!(
                "{name} stands outside of an aggregate, and a zone has many rows: \
                 write MIN({name}), MAX({name}), FIRST(1, {name}) .."
            );
            return Err(parser.error(SqlErrorKind::BareColumn, at, message));
        }
    }
    Ok(FunctionText { columns: parser.columns, outputs, filter, group })
}

pub(crate) fn query(sql: &str) -> Result<QueryText, SqlError> {
    let mut parser = Parser::new(sql)?;
    parser.select()?;
    let outputs = if parser.take_symbol("*") {
        None
    } else {
        let mut outputs = Vec::new();
        loop {
            parser.scope = Scope::Row("a query");
            let output = parser.output(&outputs)?;
            outputs.push(output);
            if !parser.take_symbol(",") {
                break Some(outputs);
            }
        }
    };
    parser.from("hosts")?;
    let filter = parser.filter()?;
    let order = if parser.take_word("ORDER") {
        parser.order(outputs.as_deref().unwrap_or_default())?
    } else {
        Vec::new()
    };
    let limit = if parser.take_word("LIMIT") { Some(parser.limit()?) } else { None };
    parser.end("a query lists hosts")?;
    Ok(QueryText { columns: parser.columns, outputs, filter, order, limit })
}

pub(crate) fn condition(sql: &str) -> Result<Condition, SqlError> {
    let mut parser = Parser::new(sql)?;
    parser.scope = Scope::Row("a filter");
    if parser.is_word("WHERE") || parser.is_word("SELECT") {
        let message = "a filter is what stands behind WHERE, such as price > 10";
        return Err(parser.error(SqlErrorKind::Syntax, parser.at(), message));
    }
    let expr = parser.condition("a filter")?.expr;
    if !parser.is_end() {
        return Err(parser.expected("AND, OR or the end"));
    }
    Ok(Condition { columns: parser.columns, expr })
}

impl Parser<'_> {
    fn select(&mut self) -> Result<(), SqlError> {
        if self.is_word("WITH") {
            return Err(self.unsupported("common table expressions (WITH) are not supported"));
        }
        if !self.take_word("SELECT") {
            let message = "a summary or query begins with SELECT: nothing else is understood";
            return Err(self.error(SqlErrorKind::Syntax, self.at(), message));
        }
        if self.is_word("DISTINCT") || self.is_word("ALL") && !self.is_symbol_next("(") {
            return Err(self.unsupported("SELECT DISTINCT is not supported: use UNION(x)"));
        }
        Ok(())
    }

    fn unsupported(&self, message: &str) -> SqlError {
        let message = format!("a summary reads the zone's rows only: {message}");
        self.error(SqlErrorKind::Unsupported, self.at(), message)
    }

    /// An expression and its name.
    fn output(&mut self, others: &[Output]) -> Result<Output, SqlError> {
        if others.len() == OUTPUTS_MAX {
            let message = format!("more than {OUTPUTS_MAX} columns: split them over functions");
            return Err(self.error(SqlErrorKind::TooLarge, self.at(), message));
        }
        let Node { expr, at, .. } = self.expression()?;
        let aggregates = core::mem::take(&mut self.aggregates);
        let (name, at) = if self.take_word("AS") {
            self.name("a name")?
        } else {
            let name = match &expr {
                Expr::Column(slot) => self.columns.get(*slot).cloned(),
                _ => None,
            };
            let is_over = self.is_symbol(",") || self.is_word("FROM") || self.is_end();
            if !is_over {
                return Err(self.expected("AS and a name, a comma, or FROM"));
            }
            let name = name.ok_or_else(|| {
                let message = "this column needs a name: add AS and the name";
                self.error(SqlErrorKind::MissingName, at, message)
            })?;
            (name, at)
        };
        if others.iter().any(|other| other.name == name) {
            let message = format!("two columns are called {name}: rename one");
            return Err(self.error(SqlErrorKind::DuplicateOutput, at, message));
        }
        Ok(Output { name, expr, aggregates, is_group: false })
    }

    /// `FROM` and the one table.
    fn from(&mut self, table: &str) -> Result<(), SqlError> {
        const JOINS: [&str; 8] =
            ["JOIN", "CROSS", "INNER", "LEFT", "RIGHT", "FULL", "NATURAL", "OUTER"];
        if !self.take_word("FROM") {
            return Err(self.expected(&format!("FROM {table}")));
        }
        if self.is_symbol("(") {
            return Err(self.unsupported("subqueries are not supported"));
        }
        let at = self.at();
        let (name, _) = self.name(table)?;
        if name.as_str() != table {
            let message = format!("there is one table here: write FROM {table}");
            return Err(self.error(SqlErrorKind::Unsupported, at, message));
        }
        if self.is_symbol(",") || JOINS.iter().any(|join| self.is_word(join)) {
            return Err(self.unsupported("joins are not supported"));
        }
        Ok(())
    }

    fn filter(&mut self) -> Result<Option<Expr>, SqlError> {
        if !self.take_word("WHERE") {
            return Ok(None);
        }
        self.scope = Scope::Row("WHERE");
        Ok(Some(self.condition("WHERE")?.expr))
    }

    fn group(&mut self) -> Result<Expr, SqlError> {
        self.expect_word("BY")?;
        self.scope = Scope::Row("GROUP BY");
        let group = self.expression()?.expr;
        if self.is_symbol(",") {
            let message = "GROUP BY takes one expression: join several with ||, or make a list \
                           of them, [a, b]";
            return Err(self.error(SqlErrorKind::Unsupported, self.at(), message));
        }
        Ok(group)
    }

    /// What follows `ORDER`. The name of an output is that output.
    fn order(&mut self, outputs: &[Output]) -> Result<Vec<(Expr, bool)>, SqlError> {
        self.expect_word("BY")?;
        self.scope = Scope::Row("ORDER BY");
        let mut order = Vec::new();
        loop {
            if order.len() == OUTPUTS_MAX {
                let message = format!("ORDER BY takes at most {OUTPUTS_MAX} expressions");
                return Err(self.error(SqlErrorKind::TooLarge, self.at(), message));
            }
            let mut expr = self.expression()?.expr;
            if let Expr::Column(slot) = &expr {
                let name = self.columns.get(*slot);
                if let Some(output) = outputs.iter().find(|output| Some(&output.name) == name) {
                    expr = output.expr.clone();
                }
            }
            let is_descending = self.take_word("DESC");
            if !is_descending {
                self.take_word("ASC");
            }
            order.push((expr, is_descending));
            if !self.take_symbol(",") {
                return Ok(order);
            }
        }
    }

    fn limit(&mut self) -> Result<usize, SqlError> {
        let node = self.expression()?;
        let limit = match node.expr {
            Expr::Literal(Value::Int(limit)) => usize::try_from(limit).ok(),
            _ => None,
        };
        limit.ok_or_else(|| {
            let message = "LIMIT takes a whole number";
            self.error(SqlErrorKind::Arguments, node.at, message)
        })
    }

    /// The end of the text, after at most one semicolon.
    fn end(&mut self, what: &str) -> Result<(), SqlError> {
        if self.take_symbol(";") && !self.is_end() {
            let message = "one SELECT is one text: install others on their own";
            return Err(self.error(SqlErrorKind::Unsupported, self.at(), message));
        }
        if self.is_end() {
            return Ok(());
        }
        let is = |words: &[&str]| words.iter().any(|word| self.is_word(word));
        let message = if is(&["UNION", "EXCEPT", "INTERSECT"]) {
            format!("{what}: set operations are not supported")
        } else if is(&["HAVING"]) {
            format!("{what}: HAVING is not supported; WHERE filters rows")
        } else if is(&["GROUP"]) {
            format!("{what}: it has no groups")
        } else if is(&["ORDER", "LIMIT", "OFFSET"]) {
            format!("{what}: ORDER BY and LIMIT have no place here; FIRST(3, x ORDER BY y) has")
        } else if is(&["WINDOW"]) {
            format!("{what}: windows are not supported")
        } else {
            return Err(self.expected("the end, or WHERE or another clause,"));
        };
        Err(self.error(SqlErrorKind::Unsupported, self.at(), message))
    }
}
