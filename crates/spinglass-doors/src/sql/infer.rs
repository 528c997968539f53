//! What types a statement's columns and parameters have, as far as its text tells: SQLite knows
//! the types of values, and clients want to know those of columns before there are any.

use pgwire::api::Type;

use super::lexer::{Kind, Token};

/// Functions whose answers have one type.
const RESULTS: [(&str, Type); 31] = [
    ("array_agg", Type::JSON),
    ("array_length", Type::INT4),
    ("avg", Type::FLOAT8),
    ("count", Type::INT8),
    ("current_database", Type::NAME),
    ("current_schema", Type::NAME),
    ("current_setting", Type::TEXT),
    ("current_user", Type::NAME),
    ("dense_rank", Type::INT8),
    ("exists", Type::BOOL),
    ("format_type", Type::TEXT),
    ("group_concat", Type::TEXT),
    ("has_table_privilege", Type::BOOL),
    ("json_agg", Type::JSON),
    ("json_array", Type::JSON),
    ("json_build_array", Type::JSON),
    ("json_build_object", Type::JSON),
    ("json_object", Type::JSON),
    ("length", Type::INT8),
    ("lower", Type::TEXT),
    ("pg_backend_pid", Type::INT4),
    ("pg_is_in_recovery", Type::BOOL),
    ("pg_table_is_visible", Type::BOOL),
    ("pg_type_is_visible", Type::BOOL),
    ("quote_ident", Type::TEXT),
    ("rank", Type::INT8),
    ("row_number", Type::INT8),
    ("string_agg", Type::TEXT),
    ("strpos", Type::INT8),
    ("upper", Type::TEXT),
    ("version", Type::TEXT),
];
/// Words and signs that make a truth of what stands beside them.
const TRUTHS: [&str; 19] = [
    "=", "<>", "!=", "<", ">", "<=", ">=", "~", "~*", "!~", "like", "ilike", "in", "is", "not",
    "and", "or", "between", "exists",
];

/// The type that a name in a cast stands for.
fn named(name: &str) -> Option<Type> {
    Some(match name {
        "bool" | "boolean" => Type::BOOL,
        "int2" | "smallint" => Type::INT2,
        "int" | "int4" | "integer" => Type::INT4,
        "int8" | "bigint" => Type::INT8,
        "float4" | "real" | "float8" | "double" | "numeric" | "decimal" => Type::FLOAT8,
        "text" | "varchar" | "character" | "bpchar" => Type::TEXT,
        "name" => Type::NAME,
        "oid" | "regclass" | "regtype" => Type::OID,
        "bytea" => Type::BYTEA,
        "json" | "jsonb" => Type::JSON,
        "timestamptz" | "timestamp" => Type::TIMESTAMPTZ,
        _ => return None,
    })
}

/// The types of a query's columns; `None` where its text does not tell, and nothing at all if it
/// has `*` among its columns.
pub(super) fn columns(statement: &[Token]) -> Vec<Option<Type>> {
    let items = items(statement);
    let all = |item: &[Token]| item.last().is_some_and(|it| it.is_operator("*"));
    if items.iter().any(|item| all(item)) {
        return Vec::new();
    }
    items.into_iter().map(|item| of_item(item).0).collect()
}

/// The names of a query's columns, as far as its text tells.
pub(super) fn names(statement: &[Token]) -> Vec<String> {
    items(statement).into_iter().map(|item| of_item(item).1).collect()
}

/// What a `SELECT` lists.
fn items(statement: &[Token]) -> Vec<&[Token]> {
    let Some((first, rest)) = statement.split_first() else { return Vec::new() };
    if !first.is("select") {
        return Vec::new();
    }
    let rest = match rest.split_first() {
        Some((word, rest)) if word.is("distinct") || word.is("all") => rest,
        _ => rest,
    };
    let end = at_depth_0(rest)
        .find(|(_, token)| {
            ["from", "where", "union", "order", "limit"].iter().any(|it| token.is(it))
        })
        .map_or(rest.len(), |(at, _)| at);
    let list = rest.get(..end).unwrap_or(rest);
    let mut items = Vec::new();
    let mut from = 0;
    for (at, _) in at_depth_0(list).filter(|(_, token)| token.kind == Kind::Comma) {
        items.extend(list.get(from..at));
        from = at + 1;
    }
    items.extend(list.get(from..).filter(|last| !last.is_empty()));
    items
}

/// Tokens outside all parentheses and CASEs.
fn at_depth_0(tokens: &[Token]) -> impl Iterator<Item = (usize, &Token)> {
    let mut depth = 0_usize;
    tokens.iter().enumerate().filter(move |(_, token)| {
        let closes = token.kind == Kind::Close || token.is("end");
        let opens = token.kind == Kind::Open || token.is("case");
        depth = depth.saturating_sub(closes.into());
        let outside = depth == 0 && !opens && !closes;
        depth += usize::from(opens);
        outside
    })
}

/// An item's type, if its text tells, and its name.
fn of_item(item: &[Token]) -> (Option<Type>, String) {
    let (expression, alias) = match item {
        [expression @ .., word, alias] if word.is("as") => (expression, Some(alias)),
        [expression @ .., before, alias]
            if alias.is_name() && !alias.is("end") && ends_expression(before) =>
        {
            (&item[..=expression.len()], Some(alias))
        }
        _ => (item, None),
    };
    let name = alias.or_else(|| named_by(expression)).map(Token::bare);
    (of_expression(expression), name.unwrap_or_else(|| "?column?".into()))
}

/// Whether an expression may end with a token, so that a name after it is the column's.
fn ends_expression(token: &Token) -> bool {
    let is_value = matches!(token.kind, Kind::Text | Kind::Number | Kind::Parameter | Kind::Close);
    is_value || token.is_name() && !token.is("not")
}

fn named_by(expression: &[Token]) -> Option<&Token> {
    match expression {
        [name, open, ..] if open.text == "(" && name.is_name() => Some(name),
        [schema, point, name, open, ..]
            if point.kind == Kind::Dot && schema.is_name() && open.text == "(" =>
        {
            Some(name)
        }
        [.., name] if name.is_name() => Some(name),
        _ => None,
    }
}

fn of_expression(expression: &[Token]) -> Option<Type> {
    if let [.., cast, name] = expression
        && cast.is_operator("::")
    {
        return named(&name.bare());
    }
    if let [open, query @ .., close] = expression
        && open.text == "("
        && close.text == ")"
    {
        // A query gives its first column; anything else is in parentheses for order's sake.
        let is_query = query.first().is_some_and(|it| it.is("select"));
        return if is_query { columns(query).into_iter().next()? } else { of_expression(query) };
    }
    if let [case, .., end] = expression
        && case.is("case")
        && end.is("end")
    {
        let then = expression.iter().position(|it| it.is("then"))?;
        let rest = expression.get(then + 1..)?;
        let ends = |it: &Token| it.is("when") || it.is("else") || it.is("end");
        let end = at_depth_0(rest).find(|(_, it)| ends(it)).map_or(rest.len() - 1, |(at, _)| at);
        return of_expression(rest.get(..end)?);
    }
    let mut outside = at_depth_0(expression);
    let is_truth = |token: &Token| {
        let known = TRUTHS.iter().any(|it| token.text.eq_ignore_ascii_case(it));
        known && matches!(token.kind, Kind::Word | Kind::Operator)
    };
    if outside.any(|(_, token)| is_truth(token)) {
        return Some(Type::BOOL);
    }
    let unqualified = match expression {
        [schema, point, rest @ ..] if schema.is("pg_catalog") && point.kind == Kind::Dot => rest,
        other => other,
    };
    match unqualified {
        [literal] => match literal.kind {
            Kind::Text => Some(Type::TEXT),
            Kind::Number if literal.text.bytes().all(|it| it.is_ascii_digit()) => Some(Type::INT8),
            Kind::Number => Some(Type::FLOAT8),
            _ if literal.is("true") || literal.is("false") => Some(Type::BOOL),
            _ => None,
        },
        [function, open, .., close]
            if open.text == "(" && close.text == ")" && function.is_name() =>
        {
            let name = function.bare();
            RESULTS.iter().find(|(known, _)| *known == name).map(|(_, of)| of.clone())
        }
        _ => None,
    }
}

/// The types of `$1`, `$2` and so on; `of_column` tells a column's.
pub(super) fn parameters(
    statement: &[Token],
    of_column: &dyn Fn(&str) -> Option<Type>,
) -> Vec<Option<Type>> {
    let mut types = Vec::new();
    for (at, token) in statement.iter().enumerate() {
        let number = token.text.strip_prefix('$').filter(|_| token.kind == Kind::Parameter);
        let Some(index) = number.and_then(|it| it.parse::<usize>().ok()?.checked_sub(1)) else {
            continue;
        };
        if index >= super::PARAMETERS_MAX {
            continue;
        }
        if types.len() <= index {
            types.resize(index + 1, None);
        }
        let found = beside(statement, at, of_column);
        if let Some(of) = types.get_mut(index).filter(|of| of.is_none()) {
            *of = found;
        }
    }
    types
}

/// What stands beside a parameter tells its type: a cast, a column that it is compared with.
fn beside(
    statement: &[Token],
    at: usize,
    of_column: &dyn Fn(&str) -> Option<Type>,
) -> Option<Type> {
    let after = |more: usize| statement.get(at + more);
    let before = |less: usize| at.checked_sub(less).and_then(|at| statement.get(at));
    if after(1).is_some_and(|it| it.is_operator("::")) {
        return named(&after(2)?.bare());
    }
    if before(1).is_some_and(|it| it.is("limit") || it.is("offset")) {
        return Some(Type::INT8);
    }
    let compares = |token: Option<&Token>| {
        token.is_some_and(|it| it.kind == Kind::Operator && it.text != "||")
    };
    // `x = ANY ($1)`.
    if before(1).is_some_and(|it| it.text == "(")
        && before(2).is_some_and(|it| it.is("any") || it.is("all"))
    {
        let of = before(4).and_then(|it| of_column(&it.bare()));
        return Some(match of {
            Some(Type::INT8) => Type::INT8_ARRAY,
            Some(Type::FLOAT8) => Type::FLOAT8_ARRAY,
            _ => Type::TEXT_ARRAY,
        });
    }
    if compares(before(1)) {
        return of_column(&before(2)?.bare());
    }
    if compares(after(1)) {
        return of_column(&after(2)?.bare());
    }
    // `x IN ($1, $2)`.
    let open = statement.get(..at)?.iter().rposition(|it| it.kind == Kind::Open)?;
    let is_in = open.checked_sub(1).and_then(|at| statement.get(at)).is_some_and(|it| it.is("in"));
    if is_in { of_column(&statement.get(open.checked_sub(2)?)?.bare()) } else { None }
}

#[cfg(test)]
mod tests {
    use super::super::lexer::tokens;
    use super::*;

    #[test]
    fn columns_are_typed_by_their_text() {
        let sql = "SELECT count(*), a.b, load > 1 AS hot, 'x' y, 1, 1.5, CAST(a AS int), \
                   b::float8, (SELECT 1 = 1), version() FROM t";
        let expected = [
            Some(Type::INT8),
            None,
            Some(Type::BOOL),
            Some(Type::TEXT),
            Some(Type::INT8),
            Some(Type::FLOAT8),
            None,
            Some(Type::FLOAT8),
            Some(Type::BOOL),
            Some(Type::TEXT),
        ];
        assert_eq!(columns(&tokens(sql)), expected);
        assert_eq!(names(&tokens(sql))[..4], ["count", "b", "hot", "y"]);
        assert_eq!(columns(&tokens("SELECT a.*, 1 FROM t")), []);
    }

    #[test]
    fn parameters_are_typed_by_what_stands_beside() {
        let sql = "SELECT 1 FROM t WHERE a = $1 AND $2::int4 < b AND c IN ($3, $4) LIMIT $5";
        let column = |name: &str| match name {
            "a" => Some(Type::TEXT),
            "c" => Some(Type::INT8),
            _ => None,
        };
        let any = parameters(&tokens("SELECT 1 FROM t WHERE c = ANY($1)"), &column);
        assert_eq!(any, [Some(Type::INT8_ARRAY)]);
        let int = || Some(Type::INT8);
        let expected = [Some(Type::TEXT), Some(Type::INT4), int(), int(), int()];
        assert_eq!(parameters(&tokens(sql), &column), expected);
        assert_eq!(parameters(&tokens("SELECT $99999999"), &column), []);
    }
}
