//! What a statement wants: most are for SQLite, some for the session, a few change something.

use std::sync::{Arc, OnceLock};

use pgwire::api::Type;

use super::fault::Fault;
use super::lexer::{Kind, Token};

/// A statement that has been read.
#[derive(Debug, Clone)]
pub(super) struct Parsed {
    pub(super) verb: Verb,
    /// The columns that a client was told it has: rows are sent as such.
    pub(super) described: Arc<OnceLock<Vec<(String, Type)>>>,
}

/// What is wanted.
#[derive(Debug, Clone)]
pub(super) enum Verb {
    /// Rows.
    Query(Arc<Vec<Token>>),
    /// `UPDATE self`: the attributes, and the query that gives their values.
    Update {
        names: Vec<String>,
        values: Arc<Vec<Token>>,
    },
    Begin,
    Commit,
    Rollback,
    /// Something that is done at once, and what it is called.
    Nothing(&'static str),
    Set {
        name: String,
        value: String,
    },
    Show(String),
    Listen(String),
    /// No name: all.
    Unlisten(Option<String>),
    /// No payload: an empty one.
    Notify {
        topic: String,
        payload: Option<Token>,
    },
    Declare {
        name: String,
        query: Arc<Vec<Token>>,
        is_held: bool,
    },
    /// No count: all that is left.
    Fetch {
        name: String,
        count: Option<usize>,
        moves: bool,
    },
    /// No name: all.
    Close(Option<String>),
    Copy {
        query: Arc<Vec<Token>>,
        form: Form,
    },
    /// Forgets prepared statements, or everything.
    Forget(&'static str),
}

/// How rows are copied.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Form {
    pub(super) csv: bool,
    pub(super) header: bool,
    pub(super) delimiter: char,
    pub(super) null: String,
}

impl Parsed {
    pub(super) fn new(verb: Verb) -> Self {
        Self { verb, described: Arc::default() }
    }

    /// Reads one statement.
    pub(super) fn read(tokens: Vec<Token>) -> Result<Self, Fault> {
        verb(tokens).map(Self::new)
    }

    /// What SQLite is to run, if it is asked at all.
    pub(super) const fn query(&self) -> Option<&Arc<Vec<Token>>> {
        match &self.verb {
            Verb::Query(query) | Verb::Update { values: query, .. } => Some(query),
            _ => None,
        }
    }
}

/// Statements of SQL's that would change what is not this agent's to change.
const CHANGES: [&str; 14] = [
    "alter", "analyze", "call", "comment", "create", "delete", "drop", "execute", "grant",
    "insert", "lock", "merge", "revoke", "truncate",
];

fn verb(tokens: Vec<Token>) -> Result<Verb, Fault> {
    let word = |at: usize| tokens.get(at).map(Token::bare).unwrap_or_default();
    let name = |at: usize| tokens.get(at).map(Token::bare).ok_or_else(unfinished);
    Ok(match word(0).as_str() {
        "begin" | "start" => Verb::Begin,
        "commit" | "end" => Verb::Commit,
        "rollback" | "abort" if word(1) == "to" || word(2) == "to" => Verb::Nothing("ROLLBACK"),
        "rollback" | "abort" => Verb::Rollback,
        "savepoint" => Verb::Nothing("SAVEPOINT"),
        "release" => Verb::Nothing("RELEASE"),
        "set" => set(&tokens),
        "reset" => Verb::Set { name: word(1), value: "default".into() },
        "show" => Verb::Show(
            tokens.get(1..).unwrap_or(&[]).iter().map(Token::bare).collect::<Vec<_>>().join("_"),
        ),
        "listen" => Verb::Listen(name(1)?),
        "unlisten" => Verb::Unlisten(Some(name(1)?).filter(|name| name != "*")),
        "notify" => Verb::Notify { topic: name(1)?, payload: tokens.get(3).cloned() },
        "declare" => declare(tokens)?,
        "fetch" | "move" => fetch(&tokens)?,
        "close" => Verb::Close(Some(name(1)?).filter(|name| name != "all")),
        "copy" => copy(tokens)?,
        "deallocate" => Verb::Forget("DEALLOCATE"),
        "discard" => Verb::Forget("DISCARD ALL"),
        "update" => update(&tokens)?,
        "table" => {
            let rest = tokens.into_iter().skip(1);
            Verb::Query(Arc::new(words("SELECT * FROM").chain(rest).collect()))
        }
        "explain" => {
            let is_query =
                |token: &Token| ["select", "with", "values"].iter().any(|it| token.is(it));
            let from = tokens.iter().position(is_query).ok_or_else(unfinished)?;
            let query = tokens.into_iter().skip(from);
            Verb::Query(Arc::new(words("EXPLAIN QUERY PLAN").chain(query).collect()))
        }
        "select" | "with" | "values" | "(" => Verb::Query(Arc::new(tokens)),
        other if CHANGES.contains(&other) => {
            let text = format!("{} is not for these tables", other.to_uppercase());
            return Err(Fault::new("0A000", &text)
                .with_hint("what can be changed is: UPDATE self SET name = value"));
        }
        other => {
            return Err(Fault::new("42601", &format!("syntax error at or near \"{other}\"")));
        }
    })
}

fn words(text: &str) -> impl Iterator<Item = Token> {
    text.split(' ').map(|word| match word {
        "*" => Token::new(Kind::Operator, word),
        _ => Token::word(word),
    })
}

fn unfinished() -> Fault {
    Fault::new("42601", "the statement ends too soon")
}

/// `SET [SESSION | LOCAL] name {= | TO} value`; of its longer forms none has a meaning here.
fn set(tokens: &[Token]) -> Verb {
    let from = 1 + usize::from(tokens.get(1).is_some_and(|it| it.is("session") || it.is("local")));
    let is_setting = tokens.get(from + 1).is_some_and(|it| it.is("to") || it.is_operator("="));
    if !is_setting {
        return Verb::Nothing("SET");
    }
    let name = tokens.get(from).map(Token::bare).unwrap_or_default();
    let value: Vec<String> = tokens.iter().skip(from + 2).map(Token::bare).collect();
    Verb::Set { name, value: value.join(" ") }
}

/// `DECLARE name .. CURSOR [WITH HOLD] FOR query`.
fn declare(tokens: Vec<Token>) -> Result<Verb, Fault> {
    let name = tokens.get(1).map(Token::bare).ok_or_else(unfinished)?;
    let from = tokens.iter().position(|token| token.is("for")).ok_or_else(unfinished)?;
    let is_held = tokens
        .windows(2)
        .take(from)
        .any(|pair| matches!(pair, [with, hold] if with.is("with") && hold.is("hold")));
    let query = Arc::new(tokens.into_iter().skip(from + 1).collect());
    Ok(Verb::Declare { name, query, is_held })
}

/// `FETCH [NEXT | FORWARD] [count | ALL] [FROM | IN] name`.
fn fetch(tokens: &[Token]) -> Result<Verb, Fault> {
    let moves = tokens.first().is_some_and(|it| it.is("move"));
    let name =
        tokens.last().filter(|_| tokens.len() > 1).map(Token::bare).ok_or_else(unfinished)?;
    let middle = tokens.get(1..tokens.len() - 1).unwrap_or(&[]);
    let backward = ["prior", "backward", "first", "last", "absolute", "relative"];
    if middle.iter().any(|it| it.is_operator("-") || backward.iter().any(|word| it.is(word))) {
        return Err(Fault::new("55000", "cursors go forward only"));
    }
    let number = middle.iter().find(|it| it.kind == Kind::Number);
    let count = match number.map(|it| it.text.parse::<usize>()) {
        Some(Ok(count)) => Some(count),
        Some(Err(_)) => return Err(Fault::new("42601", "how many rows?")),
        None if middle.iter().any(|it| it.is("all")) => None,
        None => Some(1),
    };
    Ok(Verb::Fetch { name, count, moves })
}

/// `UPDATE self SET name = value, .. [WHERE condition]`, as the query
/// `SELECT value AS name, .. FROM self WHERE condition`.
fn update(tokens: &[Token]) -> Result<Verb, Fault> {
    let refused = |text: &str| {
        Err(Fault::new("0A000", text).with_hint("UPDATE self SET name = value, .. [WHERE ..]"))
    };
    let own = tokens.iter().position(|token| token.bare() == "self");
    let set = tokens.iter().position(|token| token.is("set"));
    let (Some(own @ 1..=3), Some(set)) = (own, set) else {
        return refused("an agent changes its own row alone");
    };
    if set != own + 1 {
        return refused("self has no other name here");
    }
    let (mut names, mut query) = (Vec::new(), vec![Token::word("SELECT")]);
    let mut rest = tokens.get(set + 1..).unwrap_or(&[]);
    while let [name, equals, more @ ..] = rest {
        if !name.is_name() || !equals.is_operator("=") {
            return refused("a name and a value, please");
        }
        let mut depth = 0_usize;
        let end = more.iter().position(|token| {
            match token.kind {
                Kind::Open => depth += 1,
                Kind::Close => depth = depth.saturating_sub(1),
                _ => {}
            }
            let ends = token.kind == Kind::Comma || token.is("where") || token.is("returning");
            depth == 0 && ends
        });
        let end = end.unwrap_or(more.len());
        if !names.is_empty() {
            query.push(Token::new(Kind::Comma, ","));
        }
        query.extend(more.get(..end).unwrap_or(&[]).iter().cloned());
        query.extend([
            Token::word("AS"),
            Token::new(Kind::Quoted, super::lexer::quoted_name(&name.bare())),
        ]);
        names.push(name.bare());
        rest = more.get(end..).unwrap_or(&[]);
        match rest.split_first() {
            Some((comma, more)) if comma.kind == Kind::Comma => rest = more,
            _ => break,
        }
    }
    if names.is_empty() || rest.iter().any(|token| token.is("returning")) {
        return refused("RETURNING is not for this table");
    }
    query.extend(words("FROM self"));
    query.extend(rest.iter().cloned());
    Ok(Verb::Update { names, values: Arc::new(query) })
}

/// `COPY table [(columns)] TO STDOUT options`, or of a query in parentheses.
fn copy(tokens: Vec<Token>) -> Result<Verb, Fault> {
    let to = tokens.iter().position(|token| token.is("to"));
    let Some(to) = to.filter(|to| tokens.get(to + 1).is_some_and(|it| it.is("stdout"))) else {
        return Err(Fault::new("0A000", "COPY goes TO STDOUT; nothing is copied in"));
    };
    let what = tokens.get(1..to).unwrap_or(&[]);
    let query: Vec<Token> = match what {
        [open, query @ .., _] if open.text == "(" => query.to_vec(),
        _ => {
            let open = what.iter().position(|token| token.text == "(").unwrap_or(what.len());
            let (table, columns) = what.split_at(open);
            let columns = columns.get(1..columns.len().saturating_sub(1)).unwrap_or(&[]);
            let all = words("*").filter(|_| columns.is_empty());
            let list = words("SELECT").chain(columns.iter().cloned()).chain(all);
            list.chain(words("FROM")).chain(table.iter().cloned()).collect()
        }
    };
    Ok(Verb::Copy { query: Arc::new(query), form: form(tokens.get(to + 2..).unwrap_or(&[]))? })
}

fn form(options: &[Token]) -> Result<Form, Fault> {
    let has = |word: &str| options.iter().any(|token| token.bare() == word);
    if has("binary") {
        return Err(Fault::new("0A000", "COPY writes text or csv"));
    }
    let after = |word: &str| {
        let at = options.iter().position(|token| token.is(word))?;
        options.iter().skip(at + 1).find(|token| token.kind == Kind::Text).map(Token::bare)
    };
    let is_off = |word: &str| {
        let at = options.iter().position(|token| token.is(word));
        at.and_then(|at| options.get(at + 1)).is_some_and(|it| it.is("false") || it.is("off"))
    };
    let csv = has("csv");
    let usual = if csv { ',' } else { '\t' };
    let delimiter = after("delimiter").and_then(|text| text.chars().next()).unwrap_or(usual);
    let null = after("null").unwrap_or_else(|| if csv { String::new() } else { "\\N".into() });
    Ok(Form { csv, header: has("header") && !is_off("header"), delimiter, null })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::lexer::{joined, tokens};
    use super::*;

    fn read(sql: &str) -> Result<Verb, Fault> {
        verb(tokens(sql))
    }

    #[test]
    fn an_update_is_a_query_and_names() {
        let sql = "UPDATE self SET role = 'db', \"n\" = (SELECT max(a, b)) WHERE up";
        let Ok(Verb::Update { names, values }) = read(sql) else { panic!("{sql}") };
        assert_eq!(names, ["role", "n"]);
        let query = "SELECT 'db' AS \"role\", (SELECT max (a, b)) AS \"n\" FROM self WHERE up";
        assert_eq!(joined(&values), query);
        for wrong in
            ["UPDATE hosts SET a = 1", "UPDATE self SET a", "UPDATE self SET a = 1 RETURNING a"]
        {
            assert!(read(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn copies_say_what_and_how() {
        let Ok(Verb::Copy { query, form }) = read("COPY hosts (id, load) TO STDOUT CSV HEADER")
        else {
            panic!("it is a copy")
        };
        assert_eq!(joined(&query), "SELECT id, load FROM hosts");
        assert_eq!(form, Form { csv: true, header: true, delimiter: ',', null: String::new() });
        let sql = "copy (select 1) to stdout with (format csv, header false, delimiter ';')";
        let Ok(Verb::Copy { query, form }) = read(sql) else { panic!("{sql}") };
        assert_eq!(joined(&query), "select 1");
        assert!(form.csv && !form.header && form.delimiter == ';');
        assert!(read("COPY hosts FROM STDIN").is_err());
    }

    #[test]
    fn cursors_go_forward() {
        let Ok(Verb::Fetch { name, count, .. }) = read("FETCH FORWARD 5 FROM \"a b\"") else {
            panic!("it fetches")
        };
        assert_eq!((name.as_str(), count), ("a b", Some(5)));
        assert!(matches!(read("FETCH ALL IN c"), Ok(Verb::Fetch { count: None, .. })));
        assert!(read("FETCH PRIOR FROM c").is_err() && read("FETCH").is_err());
    }

    proptest! {
        #[test]
        fn any_statement_is_read_or_refused(
            sql in "(update|self|set|copy|to|stdout|fetch|declare|for|=|,|\\(|\\)|a|1|'b'| ){0,24}"
        ) {
            let _ = read(&sql);
        }
    }
}
