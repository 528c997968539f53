//! PostgreSQL's SQL as a run of tokens: enough to tell statements apart and to rewrite them, and
//! total: any text has tokens.

/// What a token is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// A keyword or a name without quotes.
    Word,
    /// A name in double quotes, which are still there.
    Quoted,
    /// A text in single quotes, in the one form that SQLite has: quotes doubled, no escapes.
    Text,
    Number,
    /// `$1`.
    Parameter,
    Operator,
    Open,
    Close,
    Comma,
    Semicolon,
    Dot,
}

/// A token, as it is to be written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Token {
    pub(super) kind: Kind,
    pub(super) text: String,
}

impl Token {
    pub(super) fn new(kind: Kind, text: impl Into<String>) -> Self {
        Self { kind, text: text.into() }
    }

    pub(super) fn word(text: &str) -> Self {
        Self::new(Kind::Word, text)
    }

    /// Whether it is this keyword, whatever its case.
    pub(super) fn is(&self, word: &str) -> bool {
        self.kind == Kind::Word && self.text.eq_ignore_ascii_case(word)
    }

    pub(super) fn is_operator(&self, operator: &str) -> bool {
        self.kind == Kind::Operator && self.text == operator
    }

    pub(super) const fn is_name(&self) -> bool {
        matches!(self.kind, Kind::Word | Kind::Quoted)
    }

    /// The name, without quotes, or the text's contents; anything else as it is.
    pub(super) fn bare(&self) -> String {
        let inside = |quote: char, doubled: &str| {
            let inner = self.text.strip_prefix(quote).and_then(|text| text.strip_suffix(quote));
            inner.unwrap_or(&self.text).replace(doubled, &quote.to_string())
        };
        match self.kind {
            Kind::Quoted => inside('"', "\"\""),
            Kind::Text => inside('\'', "''"),
            Kind::Word => self.text.to_ascii_lowercase(),
            _ => self.text.clone(),
        }
    }
}

/// Characters of which operators are made.
const OPERATOR: &str = "+-*/<>=~!@#%^&|`?:";

/// Splits a text into tokens. What is no token at all becomes an operator, which SQLite refuses.
pub(super) fn tokens(sql: &str) -> Vec<Token> {
    let mut lexer = Lexer { rest: sql, tokens: Vec::new() };
    while lexer.step() {}
    lexer.tokens
}

/// Splits tokens into statements; empty ones are left out.
pub(super) fn statements(tokens: Vec<Token>) -> Vec<Vec<Token>> {
    let mut statements = vec![Vec::new()];
    for token in tokens {
        match (token.kind, statements.last_mut()) {
            (Kind::Semicolon, _) => statements.push(Vec::new()),
            (_, Some(last)) => last.push(token),
            (_, None) => {}
        }
    }
    statements.retain(|statement| !statement.is_empty());
    statements
}

/// Puts quotes around a text.
pub(super) fn quoted(text: &str) -> String {
    format!("'{}'", text.replace('\'', "''"))
}

/// Puts quotes around a name.
pub(super) fn quoted_name(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

/// Tokens as a text.
pub(super) fn joined(tokens: &[Token]) -> String {
    let mut text = String::new();
    for token in tokens {
        let tight = matches!(token.kind, Kind::Dot | Kind::Comma | Kind::Close);
        let joins = text.ends_with('(') || text.ends_with('.') && token.kind != Kind::Number;
        if !tight && !text.is_empty() && !joins {
            text.push(' ');
        }
        text.push_str(&token.text);
    }
    text
}

struct Lexer<'a> {
    rest: &'a str,
    tokens: Vec<Token>,
}

impl Lexer<'_> {
    fn push(&mut self, kind: Kind, text: impl Into<String>, bytes: usize) {
        self.tokens.push(Token::new(kind, text));
        self.skip(bytes);
    }

    fn skip(&mut self, bytes: usize) {
        self.rest = self.rest.get(bytes..).unwrap_or("");
    }

    /// Bytes at the beginning for which something holds.
    fn run(&self, holds: impl Fn(char) -> bool) -> usize {
        self.rest.find(|it| !holds(it)).unwrap_or(self.rest.len())
    }

    /// Takes a token, or what stands between tokens; `false` at the end.
    fn step(&mut self) -> bool {
        let rest = self.rest;
        let Some(first) = rest.chars().next() else { return false };
        match first {
            it if it.is_whitespace() => self.skip(first.len_utf8()),
            '-' if rest.starts_with("--") => {
                self.skip(rest.find('\n').unwrap_or(rest.len()));
            }
            '/' if rest.starts_with("/*") => self.comment(),
            '\'' => self.text(0, false),
            'e' | 'E' if rest[1..].starts_with('\'') => self.text(1, true),
            '"' => self.quoted(),
            '$' => self.dollar(),
            '(' | '[' => self.push(Kind::Open, first, 1),
            ')' | ']' => self.push(Kind::Close, first, 1),
            ',' => self.push(Kind::Comma, first, 1),
            ';' => self.push(Kind::Semicolon, first, 1),
            '.' if !rest[1..].starts_with(|it: char| it.is_ascii_digit()) || self.after_name() => {
                self.push(Kind::Dot, first, 1);
            }
            '0'..='9' | '.' => self.number(),
            it if it.is_alphabetic() || it == '_' => {
                let bytes = self.run(|it| it.is_alphanumeric() || it == '_' || it == '$');
                self.push(Kind::Word, &rest[..bytes], bytes);
            }
            _ => self.operator(first),
        }
        true
    }

    /// Whether a point can only lead to a part of the name before it.
    fn after_name(&self) -> bool {
        self.tokens.last().is_some_and(Token::is_name)
    }

    /// Comments nest.
    fn comment(&mut self) {
        let (mut depth, mut at) = (0_usize, 0);
        while at < self.rest.len() {
            let here = self.rest.get(at..).unwrap_or("");
            if here.starts_with("/*") {
                (depth, at) = (depth + 1, at + 2);
            } else if here.starts_with("*/") {
                (depth, at) = (depth - 1, at + 2);
            } else {
                at += here.chars().next().map_or(1, char::len_utf8);
            }
            if depth == 0 {
                break;
            }
        }
        self.skip(at);
    }

    /// A text that begins after `prefix` bytes. One without an end ends with the statement.
    fn text(&mut self, prefix: usize, escapes: bool) {
        let mut text = String::new();
        let mut bytes = prefix + 1;
        let mut rest = self.rest.get(bytes..).unwrap_or("").chars().peekable();
        while let Some(it) = rest.next() {
            bytes += it.len_utf8();
            match it {
                '\'' if rest.peek() == Some(&'\'') => {
                    rest.next();
                    bytes += 1;
                    text.push('\'');
                }
                '\'' => break,
                '\\' if escapes => {
                    let escaped = rest.next().unwrap_or('\\');
                    bytes += escaped.len_utf8();
                    text.push(match escaped {
                        'n' => '\n',
                        't' => '\t',
                        'r' => '\r',
                        other => other,
                    });
                }
                other => text.push(other),
            }
        }
        self.push(Kind::Text, quoted(&text), bytes);
    }

    fn quoted(&mut self) {
        let mut bytes = 1;
        let mut rest = self.rest.get(1..).unwrap_or("").chars().peekable();
        while let Some(it) = rest.next() {
            bytes += it.len_utf8();
            if it == '"' && rest.next_if_eq(&'"').is_none() {
                break;
            } else if it == '"' {
                bytes += 1;
            }
        }
        let text = self.rest.get(..bytes).unwrap_or(self.rest).to_owned();
        self.push(Kind::Quoted, text, bytes);
    }

    /// `$1`, or `$tag$ a text $tag$`.
    fn dollar(&mut self) {
        let rest = self.rest;
        let digits = rest[1..].find(|it: char| !it.is_ascii_digit()).unwrap_or(rest.len() - 1);
        if digits > 0 {
            return self.push(Kind::Parameter, &rest[..=digits], digits + 1);
        }
        let tag = rest[1..].find('$').map(|end| &rest[..end + 2]);
        let tag = tag.filter(|tag| tag[1..tag.len() - 1].chars().all(char::is_alphanumeric));
        let body = tag.and_then(|tag| Some((tag, rest[tag.len()..].split_once(tag)?.0)));
        match body {
            Some((tag, text)) => {
                self.push(Kind::Text, quoted(text), text.len() + 2 * tag.len());
            }
            None => self.push(Kind::Operator, "$", 1),
        }
    }

    fn number(&mut self) {
        let mut bytes = self.run(|it| it.is_ascii_digit() || it == '.');
        let exponent = &self.rest[bytes..];
        if exponent.starts_with(['e', 'E']) {
            let sign = usize::from(exponent[1..].starts_with(['+', '-']));
            let digits = exponent[1 + sign..].chars().take_while(char::is_ascii_digit).count();
            bytes += if digits > 0 { 1 + sign + digits } else { 0 };
        }
        let text = self.rest[..bytes].to_owned();
        self.push(Kind::Number, text, bytes);
    }

    fn operator(&mut self, first: char) {
        let rest = self.rest;
        if !OPERATOR.contains(first) {
            return self.push(Kind::Operator, first, first.len_utf8());
        }
        let mut bytes = self.run(|it| OPERATOR.contains(it));
        // A comment or a sign ends one: `a<-1`, `*--`.
        let text = &rest[..bytes];
        if let Some(comment) = ["--", "/*"].iter().filter_map(|it| text.find(it)).min() {
            bytes = comment.max(1);
        }
        while bytes > 1 && rest[..bytes].ends_with(['+', '-']) {
            bytes -= 1;
        }
        if rest.starts_with("::") {
            bytes = 2;
        }
        self.push(Kind::Operator, &rest[..bytes], bytes);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn texts(sql: &str) -> Vec<String> {
        tokens(sql).into_iter().map(|token| token.text).collect()
    }

    #[test]
    fn statements_come_apart() {
        let sql = "SELECT a.b, \"c\"\"d\" FROM t -- a comment\n WHERE x::int4<-1.5e3 /* /* */ */;";
        let expected = [
            "SELECT",
            "a",
            ".",
            "b",
            ",",
            "\"c\"\"d\"",
            "FROM",
            "t",
            "WHERE",
            "x",
            "::",
            "int4",
            "<",
            "-",
            "1.5e3",
            ";",
        ];
        assert_eq!(texts(sql), expected);
        assert_eq!(statements(tokens(";; SELECT 1;SELECT ';' ;")).len(), 2);
    }

    #[test]
    fn texts_have_one_form() {
        assert_eq!(
            texts(r"E'it\'s' 'it''s' $$it's$$ $x$a$x$ $12"),
            ["'it''s'", "'it''s'", "'it''s'", "'a'", "$12"]
        );
        assert_eq!(texts("'no end"), ["'no end'"]);
    }

    proptest! {
        #[test]
        fn any_text_has_tokens(sql in ".{0,80}") {
            for token in tokens(&sql) {
                prop_assert!(!token.text.is_empty());
            }
        }

        #[test]
        fn any_sign_has_tokens(sql in "[-'\"$eE/*:.;\\\\a1é \\[\\]]{0,40}") {
            let again = joined(&tokens(&sql));
            prop_assert_eq!(&joined(&tokens(&again)), &again);
        }
    }
}
