//! Text into tokens.
//!
//! ```text
//! word     letter or _, then letters, digits, _ and .        load  sys.load
//! quoted   "a name", with "" for a quote                      "&agents"
//! number   12  1.5  .5  1e-3
//! text     'it''s'            bytes  x'0aff'
//! symbol   ( ) [ ] , ; * + - / % = == <> != < <= > >= ||
//! comment  -- to the end of the line, /* to the next */
//! ```

use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;

use crate::error::{SqlError, SqlErrorKind};

/// The most tokens in a text: enough for any text that people write in
/// [`SQL_BYTES_MAX`](crate::Function::SQL_BYTES_MAX).
pub(crate) const TOKENS_MAX: usize = 1536;

/// A piece of the text.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Token<'a> {
    pub(crate) kind: TokenKind,
    /// As it is written.
    pub(crate) text: &'a str,
    /// Where, in bytes.
    pub(crate) at: usize,
}

/// What a piece is.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum TokenKind {
    Word,
    Quoted(String),
    Int(u64),
    Float(f64),
    Text(String),
    Bytes(Vec<u8>),
    Symbol,
    End,
}

/// Every token, and [`TokenKind::End`] last.
pub(crate) fn tokens(sql: &str) -> Result<Vec<Token<'_>>, SqlError> {
    let mut lexer = Lexer { sql, at: 0 };
    let mut tokens = Vec::new();
    loop {
        lexer.skip_blanks()?;
        let start = lexer.at;
        let kind = lexer.token()?;
        let text = sql.get(start..lexer.at).unwrap_or_default();
        let is_end = kind == TokenKind::End;
        tokens.push(Token { kind, text, at: start });
        if is_end {
            return Ok(tokens);
        }
        if tokens.len() > TOKENS_MAX {
            let message = format!("more than {TOKENS_MAX} words and symbols: shorten the text");
            return Err(SqlError::new(SqlErrorKind::TooLarge, sql, start, message));
        }
    }
}

struct Lexer<'a> {
    sql: &'a str,
    at: usize,
}

impl<'a> Lexer<'a> {
    fn rest(&self) -> &'a str {
        self.sql.get(self.at..).unwrap_or_default()
    }

    fn peek(&self) -> Option<char> {
        self.rest().chars().next()
    }

    fn error(&self, kind: SqlErrorKind, at: usize, message: String) -> SqlError {
        SqlError::new(kind, self.sql, at, message)
    }

    /// Takes characters while they belong; returns them.
    fn take_while(&mut self, belongs: impl Fn(char) -> bool) -> &'a str {
        let rest = self.rest();
        let length = rest.find(|character| !belongs(character)).unwrap_or(rest.len());
        self.at += length;
        rest.get(..length).unwrap_or_default()
    }

    fn skip_blanks(&mut self) -> Result<(), SqlError> {
        loop {
            self.take_while(char::is_whitespace);
            let rest = self.rest();
            if rest.starts_with("--") {
                self.take_while(|character| character != '\n');
            } else if let Some(comment) = rest.strip_prefix("/*") {
                let Some(length) = comment.find("*/") else {
                    let message = String::from("nothing ends this comment: add */");
                    return Err(self.error(SqlErrorKind::Character, self.at, message));
                };
                self.at += length + 4;
            } else {
                return Ok(());
            }
        }
    }

    fn token(&mut self) -> Result<TokenKind, SqlError> {
        let Some(first) = self.peek() else { return Ok(TokenKind::End) };
        let next_is_digit = self.rest().chars().nth(1).is_some_and(|next| next.is_ascii_digit());
        match first {
            'x' | 'X' if self.rest().chars().nth(1) == Some('\'') => self.bytes(),
            '_' | 'a'..='z' | 'A'..='Z' => {
                self.take_while(|next| next.is_ascii_alphanumeric() || next == '_' || next == '.');
                Ok(TokenKind::Word)
            }
            '0'..='9' => self.number(),
            '.' if next_is_digit => self.number(),
            '\'' => Ok(TokenKind::Text(self.run('\'')?)),
            '"' => Ok(TokenKind::Quoted(self.run('"')?)),
            _ => self.symbol(first),
        }
    }

    /// A run in quotes, in which two quotes are one.
    fn run(&mut self, quote: char) -> Result<String, SqlError> {
        let start = self.at;
        let mut run = String::new();
        self.at += 1;
        loop {
            run.push_str(self.take_while(|next| next != quote));
            if self.peek().is_none() {
                let message = format!("nothing ends this text: add {quote}");
                return Err(self.error(SqlErrorKind::Character, start, message));
            }
            self.at += 1;
            if self.peek() != Some(quote) {
                return Ok(run);
            }
            run.push(quote);
            self.at += 1;
        }
    }

    fn bytes(&mut self) -> Result<TokenKind, SqlError> {
        let start = self.at;
        self.at += 1;
        let digits: Option<Vec<u8>> = self
            .run('\'')?
            .chars()
            .map(|digit| digit.to_digit(16).and_then(|digit| u8::try_from(digit).ok()))
            .collect();
        let digits = digits.filter(|digits| digits.len().is_multiple_of(2)).ok_or_else(|| {
            let message = String::from("bytes are pairs of hexadecimal digits: x'0aff'");
            self.error(SqlErrorKind::Literal, start, message)
        })?;
        let pair = |pair: &[u8]| pair.iter().fold(0, |byte, digit| byte << 4 | digit);
        Ok(TokenKind::Bytes(digits.chunks(2).map(pair).collect()))
    }

    fn number(&mut self) -> Result<TokenKind, SqlError> {
        let start = self.at;
        self.take_while(|next| next.is_ascii_digit());
        let mut is_int = true;
        if self.peek() == Some('.') {
            is_int = false;
            self.at += 1;
            self.take_while(|next| next.is_ascii_digit());
        }
        if matches!(self.peek(), Some('e' | 'E')) {
            is_int = false;
            self.at += 1;
            if matches!(self.peek(), Some('+' | '-')) {
                self.at += 1;
            }
            self.take_while(|next| next.is_ascii_digit());
        }
        let glued = self.take_while(|next| next.is_ascii_alphanumeric() || next == '_');
        let text = self.sql.get(start..self.at).unwrap_or_default();
        if glued.is_empty() {
            if let Some(int) = text.parse().ok().filter(|_| is_int) {
                return Ok(TokenKind::Int(int));
            }
            if let Ok(float) = text.parse() {
                return Ok(TokenKind::Float(float));
            }
        }
        let message =
            format!("'{text}' is no number; a name that begins with a digit needs quotes");
        Err(self.error(SqlErrorKind::Literal, start, message))
    }

    fn symbol(&mut self, first: char) -> Result<TokenKind, SqlError> {
        const SYMBOLS: [&str; 20] = [
            "==", "<>", "!=", "<=", ">=", "||", "(", ")", "[", "]", ",", ";", "*", "+", "-", "/",
            "%", "=", "<", ">",
        ];
        let rest = self.rest();
        let Some(symbol) = SYMBOLS.iter().find(|symbol| rest.starts_with(**symbol)) else {
            let message = match first {
                '&' => String::from("a name with & in it needs quotes: \"&name\""),
                _ => format!("the character {first:?} means nothing here"),
            };
            return Err(self.error(SqlErrorKind::Character, self.at, message));
        };
        self.at += symbol.len();
        Ok(TokenKind::Symbol)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kinds(sql: &str) -> Vec<TokenKind> {
        tokens(sql).unwrap().into_iter().map(|token| token.kind).collect()
    }

    #[test]
    fn quotes_are_doubled_inside_quotes() {
        let expected = [TokenKind::Text("it's".into()), TokenKind::End];
        assert_eq!(kinds("'it''s'"), expected);
        assert_eq!(tokens("'it''s").unwrap_err().kind, SqlErrorKind::Character);
    }

    #[test]
    fn numbers_are_whole_only_without_point_and_exponent() {
        assert_eq!(kinds("7"), [TokenKind::Int(7), TokenKind::End]);
        assert_eq!(kinds("7e0"), [TokenKind::Float(7.0), TokenKind::End]);
        assert_eq!(kinds("99999999999999999999"), [TokenKind::Float(1e20), TokenKind::End]);
        assert_eq!(tokens("7e").unwrap_err().kind, SqlErrorKind::Literal);
        assert_eq!(tokens("7up").unwrap_err().kind, SqlErrorKind::Literal);
    }

    #[test]
    fn bytes_are_pairs_of_digits() {
        assert_eq!(kinds("x'0aff'"), [TokenKind::Bytes([0x0a, 0xff].into()), TokenKind::End]);
        assert_eq!(tokens("x'0'").unwrap_err().kind, SqlErrorKind::Literal);
    }

    #[test]
    fn comments_and_blanks_are_nothing() {
        assert_eq!(kinds(" -- a\n/* b */ "), [TokenKind::End]);
        assert_eq!(tokens("/* b").unwrap_err().kind, SqlErrorKind::Character);
    }

    #[test]
    fn errors_say_where_in_characters() {
        let error = tokens("a\n 'é' #").unwrap_err();
        assert_eq!((error.line, error.column), (2, 6));
    }
}
