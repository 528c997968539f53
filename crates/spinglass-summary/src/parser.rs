//! Tokens into expressions, by recursive descent, checked as they are made.
//!
//! ```text
//! expression = and { OR and }            and   = not { AND not }
//! not        = NOT not | equality
//! equality   = chain { = <> IS IN BETWEEN LIKE .. }
//! chain      = operands joined by  < <= > >=,  then + -,  then * / %,  then ||
//! operand    = - operand | literal | column | call | CASE .. END | ( expression ) | [ list ]
//! ```
//!
//! These are SQLite's precedences. Every level of parentheses counts against
//! [`DEPTH_MAX`], and so does every level of the tree.

use alloc::boxed::Box;
use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec;
use alloc::vec::Vec;

use crate::aggregate::Aggregate;
use crate::error::{SqlError, SqlErrorKind};
use crate::expr::{Comparison, DEPTH_MAX, Expr, Is, Operator};
use crate::kinds::Kinds;
use crate::lexer::{self, Token, TokenKind};
use crate::row::Name;
use crate::value::Value;

/// Words that are columns' names only in quotes.
const RESERVED: [&str; 27] = [
    "ALL", "AND", "AS", "ASC", "BETWEEN", "BY", "CASE", "DESC", "DISTINCT", "ELSE", "END", "FROM",
    "GROUP", "HAVING", "IN", "IS", "JOIN", "LIKE", "LIMIT", "NOT", "OR", "ORDER", "SELECT", "THEN",
    "UNION", "WHEN", "WHERE",
];

/// An expression with what is known of it.
#[derive(Debug)]
pub(crate) struct Node {
    pub(crate) expr: Expr,
    pub(crate) kinds: Kinds,
    /// How deep its tree is: 1 for a literal.
    pub(crate) depth: u32,
    /// Where it begins.
    pub(crate) at: usize,
}

/// Where an expression stands, which says what it may hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Scope {
    /// An output of a function: aggregates.
    Output,
    /// Within an aggregate: columns.
    Argument,
    /// One row: columns. The text says where, for errors.
    Row(&'static str),
}

/// The state of parsing.
#[derive(Debug)]
pub(crate) struct Parser<'a> {
    pub(crate) sql: &'a str,
    tokens: Vec<Token<'a>>,
    next: usize,
    nesting: u32,
    pub(crate) scope: Scope,
    /// The columns read: an expression names them by index.
    pub(crate) columns: Vec<Name>,
    pub(crate) aggregates: Vec<Aggregate>,
    /// Where the first column outside of an aggregate is, in this output.
    pub(crate) bare: Option<(usize, Name)>,
}

impl<'a> Parser<'a> {
    pub(crate) fn new(sql: &'a str) -> Result<Self, SqlError> {
        let max = crate::Function::SQL_BYTES_MAX;
        if sql.len() > max {
            let message = format!("{} bytes of SQL: at most {max} are read", sql.len());
            return Err(SqlError::new(SqlErrorKind::TooLarge, "", 0, message));
        }
        Ok(Self {
            sql,
            tokens: lexer::tokens(sql)?,
            next: 0,
            nesting: 0,
            scope: Scope::Output,
            columns: Vec::new(),
            aggregates: Vec::new(),
            bare: None,
        })
    }

    pub(crate) fn error(
        &self,
        kind: SqlErrorKind,
        at: usize,
        message: impl Into<String>,
    ) -> SqlError {
        SqlError::new(kind, self.sql, at, message.into())
    }

    /// The token that many places ahead. The last one is the end, and stays.
    fn ahead(&self, places: usize) -> Option<&Token<'a>> {
        self.tokens.get(self.next.saturating_add(places)).or_else(|| self.tokens.last())
    }

    pub(crate) fn at(&self) -> usize {
        self.ahead(0).map_or(0, |token| token.at)
    }

    pub(crate) fn take(&mut self) -> Option<Token<'a>> {
        let token = self.ahead(0).cloned();
        self.next += 1;
        token
    }

    pub(crate) fn is_word(&self, word: &str) -> bool {
        self.is_word_ahead(0, word)
    }

    pub(crate) fn is_word_ahead(&self, places: usize, word: &str) -> bool {
        self.ahead(places).is_some_and(|token| {
            token.kind == TokenKind::Word && token.text.eq_ignore_ascii_case(word)
        })
    }

    pub(crate) fn take_word(&mut self, word: &str) -> bool {
        let is_next = self.is_word(word);
        self.next += usize::from(is_next);
        is_next
    }

    pub(crate) fn is_symbol(&self, symbol: &str) -> bool {
        self.is_symbol_ahead(0, symbol)
    }

    pub(crate) fn is_symbol_next(&self, symbol: &str) -> bool {
        self.is_symbol_ahead(1, symbol)
    }

    fn is_symbol_ahead(&self, places: usize, symbol: &str) -> bool {
        self.ahead(places)
            .is_some_and(|token| token.kind == TokenKind::Symbol && token.text == symbol)
    }

    pub(crate) fn take_symbol(&mut self, symbol: &str) -> bool {
        let is_next = self.is_symbol(symbol);
        self.next += usize::from(is_next);
        is_next
    }

    pub(crate) fn is_end(&self) -> bool {
        self.ahead(0).is_none_or(|token| token.kind == TokenKind::End)
    }

    /// The error that something else must come next.
    pub(crate) fn expected(&self, what: &str) -> SqlError {
        let found = match self.ahead(0) {
            Some(token) if token.kind != TokenKind::End => {
                let shown: String = token.text.chars().take(24).collect();
                format!("{shown} was found")
            }
            _ => "the text ends".to_string(),
        };
        self.error(SqlErrorKind::Syntax, self.at(), format!("{what} is missing here: {found}"))
    }

    pub(crate) fn expect_symbol(&mut self, symbol: &str) -> Result<(), SqlError> {
        if self.take_symbol(symbol) { Ok(()) } else { Err(self.expected(symbol)) }
    }

    pub(crate) fn expect_word(&mut self, word: &str) -> Result<(), SqlError> {
        if self.take_word(word) { Ok(()) } else { Err(self.expected(word)) }
    }

    /// Parses one level deeper.
    pub(crate) fn nested<T>(
        &mut self,
        parse: impl FnOnce(&mut Self) -> Result<T, SqlError>,
    ) -> Result<T, SqlError> {
        if self.nesting >= DEPTH_MAX {
            return Err(self.too_deep(self.at()));
        }
        self.nesting += 1;
        let parsed = parse(self);
        self.nesting -= 1;
        parsed
    }

    fn too_deep(&self, at: usize) -> SqlError {
        let message = format!("nested more than {DEPTH_MAX} deep: split the expression");
        self.error(SqlErrorKind::TooLarge, at, message)
    }

    /// A node of the tree above its parts.
    pub(crate) fn node(
        &self,
        at: usize,
        kinds: Kinds,
        depth_below: u32,
        expr: Expr,
    ) -> Result<Node, SqlError> {
        if depth_below >= DEPTH_MAX {
            return Err(self.too_deep(at));
        }
        Ok(Node { expr, kinds, depth: depth_below + 1, at })
    }

    /// Refuses an operand that can only be of a kind that `what` never takes.
    pub(crate) fn check_kinds(
        &self,
        node: &Node,
        takes: Kinds,
        what: &str,
    ) -> Result<(), SqlError> {
        if node.kinds.can_be(takes) {
            return Ok(());
        }
        let (takes, given) = (takes.names(), node.kinds.names());
        let message = format!("{what} takes {takes}, and this is {given}");
        Err(self.error(SqlErrorKind::Kind, node.at, message))
    }

    /// Any expression.
    pub(crate) fn expression(&mut self) -> Result<Node, SqlError> {
        self.nested(|parser| {
            parser
                .logical("OR", Expr::Or, |parser| parser.logical("AND", Expr::And, Self::negation))
        })
    }

    /// An expression that is true or false.
    pub(crate) fn condition(&mut self, what: &str) -> Result<Node, SqlError> {
        let node = self.expression()?;
        self.check_kinds(&node, Kinds::TRUTH, what)?;
        Ok(node)
    }

    fn logical(
        &mut self,
        word: &str,
        make: impl FnOnce(Vec<Expr>) -> Expr,
        parse: impl Fn(&mut Self) -> Result<Node, SqlError>,
    ) -> Result<Node, SqlError> {
        let first = parse(self)?;
        if !self.is_word(word) {
            return Ok(first);
        }
        self.check_kinds(&first, Kinds::TRUTH, word)?;
        let (at, mut depth) = (first.at, first.depth);
        let mut parts = vec![first.expr];
        while self.take_word(word) {
            let part = parse(self)?;
            self.check_kinds(&part, Kinds::TRUTH, word)?;
            depth = depth.max(part.depth);
            parts.push(part.expr);
        }
        self.node(at, Kinds::BOOL, depth, make(parts))
    }

    fn negation(&mut self) -> Result<Node, SqlError> {
        let at = self.at();
        if !self.take_word("NOT") {
            return self.equality();
        }
        let operand = self.nested(Self::negation)?;
        self.check_kinds(&operand, Kinds::TRUTH, "NOT")?;
        self.node(at, Kinds::BOOL, operand.depth, Expr::Not(Box::new(operand.expr)))
    }

    fn equality(&mut self) -> Result<Node, SqlError> {
        let mut left = self.chain(0)?;
        loop {
            let is_negated = self.is_word("NOT");
            let suffix = usize::from(is_negated);
            left = if self.is_word_ahead(suffix, "IN") {
                self.next += suffix + 1;
                self.is_in(left, is_negated)?
            } else if self.is_word_ahead(suffix, "BETWEEN") {
                self.next += suffix + 1;
                self.between(left, is_negated)?
            } else if self.is_word_ahead(suffix, "LIKE") {
                self.next += suffix + 1;
                self.like(left, is_negated)?
            } else if self.take_word("IS") {
                self.is(left)?
            } else if let Some(operator) = self.take_operator(&EQUALITIES) {
                let right = self.chain(0)?;
                let kinds = self.check_operator(operator, left.kinds, &right)?;
                let depth = left.depth.max(right.depth);
                let chain = Expr::Chain(Box::new(left.expr), vec![(operator, right.expr)]);
                self.node(left.at, kinds, depth, chain)?
            } else {
                return Ok(left);
            };
        }
    }

    fn is(&mut self, left: Node) -> Result<Node, SqlError> {
        let negated = self.take_word("NOT");
        let what = if self.take_word("NULL") {
            Is::Null
        } else if self.take_word("TRUE") {
            Is::True
        } else if self.take_word("FALSE") {
            Is::False
        } else {
            return Err(self.expected("NULL, TRUE or FALSE"));
        };
        if what != Is::Null {
            self.check_kinds(&left, Kinds::TRUTH, "IS TRUE")?;
        }
        let operand = Box::new(left.expr);
        self.node(left.at, Kinds::BOOL, left.depth, Expr::Is { operand, what, negated })
    }

    fn is_in(&mut self, left: Node, negated: bool) -> Result<Node, SqlError> {
        if !self.is_symbol("(") {
            let message = "a list in parentheses is missing here; \
                           for a column that holds a list, write CONTAINS(list, x)";
            return Err(self.error(SqlErrorKind::Syntax, self.at(), message));
        }
        self.next += 1;
        let (mut depth, mut items) = (left.depth, Vec::new());
        while !self.take_symbol(")") {
            if !items.is_empty() {
                self.expect_symbol(",")?;
            }
            let item = self.expression()?;
            self.check_comparable(left.kinds, &item)?;
            depth = depth.max(item.depth);
            items.push(item.expr);
        }
        let operand = Box::new(left.expr);
        self.node(left.at, Kinds::BOOL, depth, Expr::In { operand, items, negated })
    }

    fn between(&mut self, left: Node, negated: bool) -> Result<Node, SqlError> {
        let low = self.chain(0)?;
        self.expect_word("AND")?;
        let high = self.chain(0)?;
        self.check_comparable(left.kinds, &low)?;
        self.check_comparable(left.kinds, &high)?;
        let depth = left.depth.max(low.depth).max(high.depth);
        let parts = Box::new([left.expr, low.expr, high.expr]);
        self.node(left.at, Kinds::BOOL, depth, Expr::Between { parts, negated })
    }

    fn like(&mut self, left: Node, negated: bool) -> Result<Node, SqlError> {
        let pattern = self.chain(0)?;
        self.check_kinds(&left, Kinds::TEXT, "LIKE")?;
        self.check_kinds(&pattern, Kinds::TEXT, "LIKE")?;
        let escape = if self.take_word("ESCAPE") { Some(self.escape()?) } else { None };
        let depth = left.depth.max(pattern.depth);
        let parts = Box::new([left.expr, pattern.expr]);
        self.node(left.at, Kinds::BOOL, depth, Expr::Like { parts, escape, negated })
    }

    fn escape(&mut self) -> Result<char, SqlError> {
        let at = self.at();
        if let Some(Token { kind: TokenKind::Text(text), .. }) = self.take() {
            let mut characters = text.chars();
            if let (Some(escape), None) = (characters.next(), characters.next()) {
                return Ok(escape);
            }
        }
        Err(self.error(SqlErrorKind::Literal, at, "ESCAPE takes one character in quotes: '!'"))
    }

    /// Operands joined by the operators of one precedence, or of a higher one.
    fn chain(&mut self, level: usize) -> Result<Node, SqlError> {
        let Some(operators) = LEVELS.get(level) else { return self.operand() };
        let first = self.chain(level + 1)?;
        let (at, mut depth, mut kinds) = (first.at, first.depth, first.kinds);
        let mut rest = Vec::new();
        while let Some(operator) = self.take_operator(operators) {
            let next = self.chain(level + 1)?;
            kinds = self.check_operator(operator, kinds, &next)?;
            depth = depth.max(next.depth);
            rest.push((operator, next.expr));
        }
        if rest.is_empty() {
            return Ok(Node { expr: first.expr, kinds, depth, at });
        }
        self.node(at, kinds, depth, Expr::Chain(Box::new(first.expr), rest))
    }

    fn take_operator(&mut self, operators: &[(&str, Operator)]) -> Option<Operator> {
        let is_next = |(symbol, _): &&(&str, Operator)| self.is_symbol(symbol);
        let operator = operators.iter().find(is_next).map(|(_, operator)| *operator)?;
        self.next += 1;
        Some(operator)
    }

    /// What an operator gives for such operands; an error if that is always null.
    fn check_operator(
        &self,
        operator: Operator,
        left: Kinds,
        right: &Node,
    ) -> Result<Kinds, SqlError> {
        let both = |kinds: Kinds| left.can_be(kinds) && right.kinds.can_be(kinds);
        let time_first = left.can_be(Kinds::TIME) && right.kinds.can_be(Kinds::NUMBER);
        let time_last = left.can_be(Kinds::NUMBER) && right.kinds.can_be(Kinds::TIME);
        let add = |is_given: bool, kinds: Kinds| if is_given { kinds } else { Kinds::NONE };
        let kinds = match operator {
            Operator::Compare(_) => {
                self.check_comparable(left, right)?;
                return Ok(Kinds::BOOL);
            }
            Operator::Add => add(both(Kinds::NUMBER), Kinds::NUMBER)
                .or(add(time_first || time_last, Kinds::TIME)),
            Operator::Subtract => add(both(Kinds::NUMBER), Kinds::NUMBER)
                .or(add(time_first, Kinds::TIME))
                .or(add(both(Kinds::TIME), Kinds::FLOAT)),
            Operator::Multiply | Operator::Divide | Operator::Remainder => {
                add(both(Kinds::NUMBER), Kinds::NUMBER)
            }
            Operator::Join => add(both(Kinds::JOINABLE), Kinds::TEXT),
        };
        if kinds != Kinds::NONE {
            return Ok(kinds);
        }
        let takes = match operator {
            Operator::Join => "|| joins text and numbers",
            Operator::Add => "+ adds numbers, or seconds to a time; text is joined with ||",
            Operator::Subtract => "- takes numbers, or times, or seconds from a time",
            _ => "*, / and % take numbers",
        };
        let message = format!("{takes}: these are {} and {}", left.names(), right.kinds.names());
        Err(self.error(SqlErrorKind::Kind, right.at, message))
    }

    pub(crate) fn check_comparable(&self, left: Kinds, right: &Node) -> Result<(), SqlError> {
        if left.compare_with(right.kinds) {
            return Ok(());
        }
        let (left, own) = (left.names(), right.kinds.names());
        let message = format!("{left} never compares with {own}: use CAST or another literal");
        Err(self.error(SqlErrorKind::Kind, right.at, message))
    }

    fn operand(&mut self) -> Result<Node, SqlError> {
        let at = self.at();
        if self.is_word("SELECT") || self.is_word("WITH") {
            let message = "a summary reads the zone's rows only: subqueries are not supported";
            return Err(self.error(SqlErrorKind::Unsupported, at, message));
        }
        if self.take_symbol("-") {
            if let Some(TokenKind::Int(int)) = self.ahead(0).map(|token| token.kind.clone())
                && int == i64::MIN.unsigned_abs()
            {
                self.next += 1;
                return self.literal(at, Value::Int(i64::MIN));
            }
            let operand = self.nested(Self::operand)?;
            self.check_kinds(&operand, Kinds::NUMBER, "-")?;
            let expr = match operand.expr {
                Expr::Literal(Value::Int(int)) if int != i64::MIN => {
                    Expr::Literal(Value::Int(-int))
                }
                Expr::Literal(Value::Float(float)) => Expr::Literal(Value::float(-float.get())),
                expr => Expr::Negate(Box::new(expr)),
            };
            return self.node(at, Kinds::NUMBER, operand.depth, expr);
        }
        if self.take_symbol("+") {
            return self.nested(Self::operand);
        }
        if self.take_symbol("(") {
            let node = self.expression()?;
            self.expect_symbol(")")?;
            return Ok(Node { at, ..node });
        }
        if self.take_symbol("[") {
            return self.list(at);
        }
        match self.ahead(0).map(|token| token.kind.clone()) {
            Some(TokenKind::Word) => self.word(),
            Some(TokenKind::Symbol | TokenKind::End) | None => Err(self.expected("a value")),
            Some(literal) => {
                self.next += 1;
                let value = match literal {
                    TokenKind::Quoted(name) => return self.column(at, &name),
                    TokenKind::Int(int) => {
                        i64::try_from(int).map_or_else(|_| Value::float(int as f64), Value::Int)
                    }
                    TokenKind::Float(float) => Value::float(float),
                    TokenKind::Text(text) => Value::text(&text),
                    TokenKind::Bytes(bytes) => Value::bytes(&bytes),
                    TokenKind::Word | TokenKind::Symbol | TokenKind::End => Value::Null,
                };
                self.literal(at, value)
            }
        }
    }

    pub(crate) fn literal(&self, at: usize, value: Value) -> Result<Node, SqlError> {
        self.node(at, Kinds::of(&value), 0, Expr::Literal(value))
    }

    /// A word that begins an operand.
    fn word(&mut self) -> Result<Node, SqlError> {
        let Some(Token { text, at, .. }) = self.take() else {
            return Err(self.expected("a value"));
        };
        let is = |word: &str| text.eq_ignore_ascii_case(word);
        if is("TRUE") || is("FALSE") {
            return self.literal(at, Value::Bool(is("TRUE")));
        }
        if is("NULL") {
            return self.literal(at, Value::Null);
        }
        if is("CASE") {
            return self.nested(|parser| parser.case(at));
        }
        if is("TIME") && matches!(self.ahead(0), Some(Token { kind: TokenKind::Text(_), .. })) {
            return self.time(at);
        }
        if self.take_symbol("(") {
            return self.nested(|parser| parser.call(text, at));
        }
        if RESERVED.iter().any(|reserved| is(reserved)) {
            self.next -= 1;
            let mut error = self.expected("a value");
            if !is("FROM") && !is("WHERE") {
                let message = format!("a column called {text} needs quotes: \"{text}\"");
                error = self.error(SqlErrorKind::Syntax, at, message);
            }
            return Err(error);
        }
        self.column(at, text)
    }

    /// A name, plain or in quotes.
    pub(crate) fn name(&mut self, what: &str) -> Result<(Name, usize), SqlError> {
        let at = self.at();
        let text = match self.ahead(0) {
            Some(Token { kind: TokenKind::Quoted(text), .. }) => text.clone(),
            Some(Token { kind: TokenKind::Word, text, .. }) => text.to_string(),
            _ => return Err(self.expected(what)),
        };
        let name = self.checked_name(at, &text)?;
        self.next += 1;
        Ok((name, at))
    }

    fn checked_name(&self, at: usize, text: &str) -> Result<Name, SqlError> {
        Name::new(text).ok_or_else(|| {
            let max = Name::BYTES_MAX;
            let message = format!("a name has 1 to {max} letters, digits, '_', '.' and '&'");
            self.error(SqlErrorKind::InvalidName, at, message)
        })
    }

    fn column(&mut self, at: usize, text: &str) -> Result<Node, SqlError> {
        let name = self.checked_name(at, text)?;
        if self.scope == Scope::Output && self.bare.is_none() {
            self.bare = Some((at, name.clone()));
        }
        let slot = self.slot(name);
        self.node(at, Kinds::ANY, 0, Expr::Column(slot))
    }

    /// The index of a column among those read.
    pub(crate) fn slot(&mut self, name: Name) -> usize {
        self.columns.iter().position(|column| *column == name).unwrap_or_else(|| {
            self.columns.push(name);
            self.columns.len() - 1
        })
    }
}

const fn compare(comparison: Comparison) -> Operator {
    Operator::Compare(comparison)
}

const EQUALITIES: [(&str, Operator); 4] = [
    ("=", compare(Comparison::Equal)),
    ("==", compare(Comparison::Equal)),
    ("<>", compare(Comparison::NotEqual)),
    ("!=", compare(Comparison::NotEqual)),
];

/// Operators by precedence, the loosest first.
const LEVELS: [&[(&str, Operator)]; 4] = [
    &[
        ("<", compare(Comparison::Less)),
        ("<=", compare(Comparison::LessOrEqual)),
        (">", compare(Comparison::Greater)),
        (">=", compare(Comparison::GreaterOrEqual)),
    ],
    &[("+", Operator::Add), ("-", Operator::Subtract)],
    &[("*", Operator::Multiply), ("/", Operator::Divide), ("%", Operator::Remainder)],
    &[("||", Operator::Join)],
];
