//! PostgreSQL's SQL in SQLite's words: what drivers and people write, as tokens in and out.
//!
//! | PostgreSQL | SQLite |
//! |---|---|
//! | `x::int4`, `x::text`, `x::regclass` | `CAST(x AS INTEGER)`, .. or a function of the type's name |
//! | `x ~ 'a'`, `x !~* 'a'`, `OPERATOR(pg_catalog.~)` | `x REGEXP 'a'`, `x NOT REGEXP '(?i)' \|\| 'a'` |
//! | `x ILIKE 'a'` | `x MATCH 'a'`, a function of ours |
//! | `x = ANY (y)`, `x <> ALL (y)` | `x IN (SELECT value FROM json_each(pg_array(y)))`, `NOT IN` |
//! | `ARRAY[a, b]`, `ARRAY(SELECT ..)` | `json_array(a, b)`, `json_group_array` of the query |
//! | `FROM unnest(x) AS y` | `FROM (SELECT value AS y FROM json_each(pg_array(x))) y` |
//! | `pg_catalog.f(x)` | `f(x)` |
//! | `$1` | `?1` |
//! | `COLLATE pg_catalog.default`, `FOR UPDATE` | nothing |

use super::lexer::{Kind, Token, joined};

/// Types that a cast gives by SQLite's own means.
const CASTS: [(&str, &str); 26] = [
    ("bigint", "INTEGER"),
    ("bpchar", "TEXT"),
    ("char", "TEXT"),
    ("character", "TEXT"),
    ("character varying", "TEXT"),
    ("date", "TEXT"),
    ("decimal", "REAL"),
    ("double precision", "REAL"),
    ("float4", "REAL"),
    ("float8", "REAL"),
    ("int", "INTEGER"),
    ("int2", "INTEGER"),
    ("int4", "INTEGER"),
    ("int8", "INTEGER"),
    ("integer", "INTEGER"),
    ("name", "TEXT"),
    ("numeric", "REAL"),
    ("oid", "INTEGER"),
    ("real", "REAL"),
    ("smallint", "INTEGER"),
    ("text", "TEXT"),
    ("timestamp", "TEXT"),
    ("timestamptz", "TEXT"),
    ("unknown", "TEXT"),
    ("varchar", "TEXT"),
    ("xid", "INTEGER"),
];
/// Types that a cast gives by a function of ours, called `pg_` and this.
const FUNCTIONS: [&str; 8] =
    ["bool", "boolean", "bytea", "regclass", "regnamespace", "regproc", "regrole", "regtype"];
/// What means nothing here.
const LEFT_OUT: [&[&str]; 3] = [&["for", "update"], &["for", "share"], &["limit", "all"]];
/// Functions that SQLite has under other names.
const RENAMED: [(&str, &str); 5] = [
    ("array_agg", "json_group_array"),
    ("json_agg", "json_group_array"),
    ("json_build_array", "json_array"),
    ("json_build_object", "json_object"),
    ("jsonb_agg", "json_group_array"),
];
/// Words that are followed by a parenthesis without calling anything.
const NOT_CALLED: [&str; 16] = [
    "in", "and", "or", "not", "where", "on", "select", "when", "then", "else", "values", "as",
    "using", "by", "having", "from",
];

/// Writes a statement for SQLite.
pub(super) fn translated(statement: &[Token]) -> String {
    let mut translator = Translator { rest: statement, out: Vec::new() };
    while translator.step() {}
    joined(&translator.out)
}

struct Translator<'a> {
    rest: &'a [Token],
    out: Vec<Token>,
}

impl Translator<'_> {
    fn take(&mut self, count: usize) {
        self.rest = self.rest.get(count..).unwrap_or(&[]);
    }

    /// Whether the tokens that come next are these words and signs.
    fn sees(&self, words: &[&str]) -> bool {
        let mut rest = self.rest.iter();
        words.iter().all(|word| rest.next().is_some_and(|it| it.text.eq_ignore_ascii_case(word)))
    }

    fn say(&mut self, kind: Kind, text: &str) {
        self.out.push(Token::new(kind, text));
    }

    fn step(&mut self) -> bool {
        let Some(token) = self.rest.first() else { return false };
        let token = token.clone();
        match token.kind {
            Kind::Parameter => {
                self.take(1);
                self.say(Kind::Parameter, &token.text.replacen('$', "?", 1));
            }
            Kind::Operator => self.operator(&token),
            Kind::Word => self.word(token),
            // What is called, and not a table, has no schema before it in SQLite.
            Kind::Quoted if token.text == "\"pg_catalog\"" && self.calls(2) => self.take(2),
            Kind::Open if token.text == "[" => self.subscript(),
            _ => {
                self.take(1);
                self.out.push(token);
            }
        }
        true
    }

    /// Whether the token `at` is called.
    fn calls(&self, at: usize) -> bool {
        let mut ahead = self.rest.iter().skip(1);
        at == 2
            && ahead.next().is_some_and(|it| it.kind == Kind::Dot)
            && ahead.next().is_some_and(Token::is_name)
            && ahead.next().is_some_and(|it| it.text == "(")
    }

    fn word(&mut self, token: Token) {
        let after_point = self.out.last().is_some_and(|it| it.kind == Kind::Dot);
        if after_point {
            self.take(1);
            self.out.push(token);
        } else if token.is("pg_catalog") && self.calls(2) {
            self.take(2);
        } else if self.sees(&["operator", "(", "pg_catalog", "."]) {
            let operator = self.rest.get(4).cloned();
            self.take(6);
            if let Some(operator) = operator {
                self.matches(&operator.text);
            }
        } else if self.sees(&["collate", "pg_catalog", ".", "default"])
            || self.sees(&["collate", "pg_catalog", ".", "\"default\""])
        {
            self.take(4);
        } else if self.sees(&["collate", "\"default\""]) || self.sees(&["collate", "\"c\""]) {
            self.take(2);
        } else if self.sees(&["array", "["]) {
            self.array();
        } else if self.sees(&["array", "(", "select"]) {
            self.take(1);
            let (inside, length) = self.parenthesis();
            self.take(length);
            let query = translated(&inside);
            let array = format!("(WITH q(v) AS ({query}) SELECT json_group_array(v) FROM q)");
            self.say(Kind::Word, &array);
        } else if self.sees(&["unnest", "("]) {
            self.unnest();
        } else if let Some((_, ours)) = RENAMED.iter().find(|(theirs, _)| token.is(theirs)) {
            self.take(1);
            self.say(Kind::Word, ours);
        } else if self.sees(&["ilike"]) {
            self.take(1);
            self.say(Kind::Word, "MATCH");
        } else if LEFT_OUT.iter().any(|words| self.sees(words)) {
            self.take(2);
        } else if ["current_user", "session_user", "current_catalog", "current_schema", "user"]
            .iter()
            .any(|word| token.is(word))
            && self.rest.get(1).is_none_or(|it| it.text != "(" && it.kind != Kind::Dot)
            && !self.out.last().is_some_and(|it| it.is("as"))
        {
            self.take(1);
            let name = if token.is("user") { "current_user".into() } else { token.bare() };
            self.say(Kind::Word, &(name + "()"));
        } else {
            self.take(1);
            self.out.push(token);
        }
    }

    fn operator(&mut self, token: &Token) {
        match token.text.as_str() {
            "::" => self.cast(),
            "~" | "~*" | "!~" | "!~*" => {
                self.take(1);
                self.matches(&token.text);
            }
            "=" | "<>" | "!=" => {
                let any = self.rest.get(1).is_some_and(|it| it.is("any") || it.is("some"));
                let all = self.rest.get(1).is_some_and(|it| it.is("all"));
                let open = self.rest.get(2).is_some_and(|it| it.text == "(");
                if open && any && token.text == "=" {
                    self.membership("IN");
                } else if open && all && token.text != "=" {
                    self.membership("NOT IN");
                } else {
                    self.take(1);
                    self.out.push(token.clone());
                }
            }
            _ => {
                self.take(1);
                self.out.push(token.clone());
            }
        }
    }

    /// A regular expression's operator, or any other by its long name.
    fn matches(&mut self, operator: &str) {
        let (negated, rest) = operator.strip_prefix('!').map_or((false, operator), |it| (true, it));
        match rest {
            "~" | "~*" => {
                let not = if negated { "NOT " } else { "" };
                let fold = if rest == "~*" { " '(?i)' ||" } else { "" };
                self.say(Kind::Word, &format!("{not}REGEXP{fold}"));
            }
            _ => self.say(Kind::Operator, operator),
        }
    }

    /// `= ANY (..)`: a list of values, or one value that is an array, or a query.
    fn membership(&mut self, operator: &str) {
        self.take(2);
        let (inside, length) = self.parenthesis();
        self.say(Kind::Word, operator);
        let is_query = inside.first().is_some_and(|it| it.is("select"));
        let inside = Token::word(&translated(&inside));
        self.say(Kind::Open, "(");
        if !is_query {
            self.say(Kind::Word, "SELECT value FROM json_each(pg_array(");
        }
        self.out.push(inside);
        self.say(Kind::Close, if is_query { ")" } else { ")))" });
        self.take(length);
    }

    /// What stands inside the parenthesis that comes next, and how long it is with its ends.
    fn parenthesis(&self) -> (Vec<Token>, usize) {
        let mut depth = 0_usize;
        for (at, token) in self.rest.iter().enumerate() {
            match token.kind {
                Kind::Open => depth += 1,
                Kind::Close if depth <= 1 => {
                    return (self.rest.get(1..at).unwrap_or(&[]).to_vec(), at + 1);
                }
                Kind::Close => depth -= 1,
                _ => {}
            }
        }
        (self.rest.get(1..).unwrap_or(&[]).to_vec(), self.rest.len())
    }

    fn array(&mut self) {
        self.take(1);
        let (inside, length) = self.parenthesis();
        self.take(length);
        self.say(Kind::Word, "json_array");
        self.say(Kind::Open, "(");
        self.say(Kind::Word, &translated(&inside));
        self.say(Kind::Close, ")");
    }

    /// `unnest(array) AS name`: a table of one column of that name.
    fn unnest(&mut self) {
        self.take(1);
        let (inside, length) = self.parenthesis();
        self.take(length + usize::from(self.rest.get(length).is_some_and(|it| it.is("as"))));
        let array = translated(&inside);
        let name = self
            .rest
            .first()
            .filter(|it| it.is_name())
            .map_or_else(|| "unnest".into(), Token::bare);
        let name = super::lexer::quoted_name(&name);
        let text = format!("(SELECT value AS {name} FROM json_each(pg_array({array})))");
        self.say(Kind::Word, &text);
    }

    /// `x[1]`: an item of an array.
    fn subscript(&mut self) {
        let (inside, length) = self.parenthesis();
        self.take(length);
        let start = operand(&self.out);
        let array: Vec<Token> = self.out.drain(start..).collect();
        let item = translated(&inside);
        let text = format!("pg_item({}, {item})", joined(&array));
        self.say(Kind::Word, &text);
    }

    /// `x::type`.
    fn cast(&mut self) {
        self.take(1);
        let name = self.type_name();
        let start = operand(&self.out);
        let operand: Vec<Token> = self.out.drain(start..).collect();
        let operand = joined(&operand);
        let text = if name.ends_with("[]") {
            format!("pg_array({operand})")
        } else if let Some((_, to)) = CASTS.iter().find(|(from, _)| *from == name) {
            format!("CAST({operand} AS {to})")
        } else if FUNCTIONS.contains(&name.as_str()) {
            format!("pg_{name}({operand})")
        } else {
            format!("({operand})")
        };
        self.say(Kind::Word, &text);
    }

    /// A type's name after `::`, without its schema and its length, in small letters.
    fn type_name(&mut self) -> String {
        if self.rest.get(1).is_some_and(|it| it.kind == Kind::Dot) {
            self.take(2);
        }
        let mut name = self.rest.first().map(Token::bare).unwrap_or_default();
        self.take(1);
        for more in ["precision", "varying"] {
            if self.sees(&[more]) {
                self.take(1);
                name = format!("{name} {more}");
            }
        }
        if self.sees(&["("]) {
            let (_, length) = self.parenthesis();
            self.take(length);
        }
        for zone in [["with", "time", "zone"], ["without", "time", "zone"]] {
            if self.sees(&zone) {
                self.take(3);
            }
        }
        while self.rest.first().is_some_and(|it| it.text == "[") {
            let (_, length) = self.parenthesis();
            self.take(length);
            name += "[]";
        }
        name
    }
}

/// Where the operand at the end of what has been written begins.
fn operand(out: &[Token]) -> usize {
    let Some(last) = out.last() else { return 0 };
    let mut at = out.len() - 1;
    let earlier = |at: usize| at.checked_sub(1).and_then(|before| out.get(before));
    if last.kind == Kind::Close {
        let mut depth = 0_usize;
        for (index, token) in out.iter().enumerate().rev() {
            match token.kind {
                Kind::Close => depth += 1,
                Kind::Open => depth -= 1,
                _ => {}
            }
            at = index;
            if depth == 0 {
                break;
            }
        }
        let called = earlier(at).filter(|it| it.is_name());
        if called.is_some_and(|it| !NOT_CALLED.iter().any(|word| it.is(word))) {
            at -= 1;
        }
    } else if last.is("end") {
        let mut depth = 0_usize;
        for (index, token) in out.iter().enumerate().rev() {
            depth += usize::from(token.is("end"));
            depth -= usize::from(token.is("case"));
            at = index;
            if depth == 0 {
                break;
            }
        }
    }
    while earlier(at).is_some_and(|it| it.kind == Kind::Dot) && at >= 2 {
        at -= 2;
    }
    at
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::lexer::tokens;
    use super::*;

    fn sqlite(sql: &str) -> String {
        translated(&tokens(sql))
    }

    #[test]
    fn postgres_is_said_in_sqlite() {
        for (from, to) in [
            ("SELECT a::int4 + b.c::text", "SELECT CAST(a AS INTEGER) + CAST(b.c AS TEXT)"),
            ("SELECT 'hosts'::regclass::oid", "SELECT CAST(pg_regclass('hosts') AS INTEGER)"),
            ("SELECT f(x, y)::varchar(10)", "SELECT CAST(f (x, y) AS TEXT)"),
            ("WHERE (a)::double precision > 1", "WHERE CAST((a) AS REAL) > 1"),
            ("SELECT CASE WHEN a THEN 1 END::bool", "SELECT pg_bool(CASE WHEN a THEN 1 END)"),
            ("x OPERATOR(pg_catalog.~) '^(a)$' COLLATE pg_catalog.default", "x REGEXP '^(a)$'"),
            ("x !~* 'a'", "x NOT REGEXP '(?i)' || 'a'"),
            (
                "x = ANY(ARRAY['r','v'])",
                "x IN (SELECT value FROM json_each(pg_array(json_array ('r', 'v'))))",
            ),
            ("x = ANY($1)", "x IN (SELECT value FROM json_each(pg_array(?1)))"),
            ("x <> ALL (SELECT 1)", "x NOT IN (SELECT 1)"),
            ("pg_catalog.pg_get_userbyid(a.b)", "pg_get_userbyid (a.b)"),
            ("FROM pg_catalog.pg_class c", "FROM pg_catalog.pg_class c"),
            ("SELECT current_user", "SELECT current_user()"),
            ("a[1]", "pg_item(a, 1)"),
            ("'{1}'::oid[]", "pg_array('{1}')"),
        ] {
            assert_eq!(sqlite(from), to, "{from}");
        }
    }

    proptest! {
        #[test]
        fn any_statement_is_written(
            sql in "[-a:=~()\\[\\] .,$1'*]{0,60}|(case|end|any|::|=| |\\(|\\)){0,30}"
        ) {
            let _ = sqlite(&sql);
        }
    }
}
