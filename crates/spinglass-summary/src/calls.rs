//! The parts of expressions with a syntax of their own: calls, aggregates, `CASE`, `CAST`,
//! `EXTRACT`, times and lists.

use alloc::boxed::Box;
use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;

use crate::aggregate::{self, Aggregate, BLOOM_BITS_MAX, Fold, Order};
use crate::error::{SqlError, SqlErrorKind};
use crate::expr::{Cast, Expr, Part};
use crate::kinds::Kinds;
use crate::lexer::TokenKind;
use crate::parser::{Node, Parser, Scope};
use crate::scalar::{self, Scalar, Signature};
use crate::value::{LIST_DEPTH_MAX, Time, Value};

/// The most items of `FIRST` and `TOP`, of a `UNION`, and buckets of a histogram.
const ITEMS_MAX: usize = 64;

impl Parser<'_> {
    /// What follows `CASE`.
    pub(crate) fn case(&mut self, at: usize) -> Result<Node, SqlError> {
        let operand = if self.is_word("WHEN") { None } else { Some(self.expression()?) };
        let mut depth = operand.as_ref().map_or(0, |operand| operand.depth);
        let (mut kinds, mut arms) = (Kinds::NONE, Vec::new());
        while self.take_word("WHEN") {
            let when = match &operand {
                None => self.condition("WHEN")?,
                Some(operand) => {
                    let when = self.expression()?;
                    self.check_comparable(operand.kinds, &when)?;
                    when
                }
            };
            self.expect_word("THEN")?;
            let then = self.expression()?;
            kinds = kinds.or(then.kinds);
            depth = depth.max(when.depth).max(then.depth);
            arms.push((when.expr, then.expr));
        }
        if arms.is_empty() {
            return Err(self.expected("WHEN"));
        }
        let otherwise = if self.take_word("ELSE") { Some(self.expression()?) } else { None };
        if let Some(otherwise) = &otherwise {
            kinds = kinds.or(otherwise.kinds);
            depth = depth.max(otherwise.depth);
        }
        self.expect_word("END")?;
        let boxed = |node: Option<Node>| node.map(|node| Box::new(node.expr));
        let expr = Expr::Case { operand: boxed(operand), arms, otherwise: boxed(otherwise) };
        self.node(at, kinds, depth, expr)
    }

    /// What follows `[`.
    pub(crate) fn list(&mut self, at: usize) -> Result<Node, SqlError> {
        let (mut depth, mut items) = (0, Vec::new());
        while !self.take_symbol("]") {
            if !items.is_empty() {
                self.expect_symbol(",")?;
            }
            let item = self.expression()?;
            depth = depth.max(item.depth);
            items.push(item.expr);
        }
        let literal = |item: &Expr| match item {
            Expr::Literal(value) => Some(value.clone()),
            _ => None,
        };
        if let Some(values) = items.iter().map(literal).collect::<Option<Vec<_>>>() {
            let list = Value::list(values);
            if list.depth() > LIST_DEPTH_MAX {
                let message = format!("lists nest at most {LIST_DEPTH_MAX} deep");
                return Err(self.error(SqlErrorKind::TooLarge, at, message));
            }
            return self.node(at, Kinds::LIST, depth, Expr::Literal(list));
        }
        self.node(at, Kinds::LIST, depth, Expr::List(items))
    }

    /// What follows `TIME`: a literal.
    pub(crate) fn time(&mut self, at: usize) -> Result<Node, SqlError> {
        let token = self.take();
        let time = token.and_then(|token| match token.kind {
            TokenKind::Text(text) => Time::parse(&text),
            _ => None,
        });
        let Some(time) = time else {
            let message = "a time reads TIME '2026-01-31T12:00:00Z' or TIME '2026-01-31'";
            return Err(self.error(SqlErrorKind::Literal, at, message));
        };
        self.literal(at, Value::Time(time))
    }

    /// What follows a name and `(`.
    pub(crate) fn call(&mut self, name: &str, at: usize) -> Result<Node, SqlError> {
        if name.eq_ignore_ascii_case("CAST") {
            return self.cast(at);
        }
        if name.eq_ignore_ascii_case("EXTRACT") {
            return self.extract(at);
        }
        if let Some(signature) = scalar::find(name) {
            return self.scalar(signature, at);
        }
        if let Some(aggregate) = aggregate::NAMES.iter().find(|own| own.eq_ignore_ascii_case(name))
        {
            return self.aggregate(aggregate, at);
        }
        let clocks = ["NOW", "CURRENT_TIMESTAMP", "DATE", "DATETIME", "RANDOM", "RAND", "UUID"];
        let message = if clocks.iter().any(|clock| clock.eq_ignore_ascii_case(name)) {
            format!("{name} differs from machine to machine: a summary has no clock and no dice")
        } else {
            let names = scalar::names().chain(aggregate::NAMES);
            let shown: String = name.chars().take(32).collect();
            match scalar::nearest(name, names) {
                Some(nearest) => format!("there is no function {shown}: did you mean {nearest}?"),
                None => format!("there is no function {shown}"),
            }
        };
        Err(self.error(SqlErrorKind::UnknownFunction, at, message))
    }

    fn scalar(&mut self, signature: &Signature, at: usize) -> Result<Node, SqlError> {
        let mut arguments: Vec<Node> = Vec::new();
        while !self.take_symbol(")") {
            if !arguments.is_empty() {
                self.expect_symbol(",")?;
            }
            let argument = self.expression()?;
            let last = signature.takes.last().copied().unwrap_or(Kinds::ANY);
            let takes = signature.takes.get(arguments.len()).copied().unwrap_or(last);
            self.check_kinds(&argument, takes, signature.name)?;
            arguments.push(argument);
        }
        let (min, max) = (signature.arguments_min, signature.arguments_max);
        if !(min..=max).contains(&arguments.len()) {
            let range = if min == max { format!("{min}") } else { format!("{min} to {max}") };
            let (name, count) = (signature.name, arguments.len());
            let message = format!("{name} takes {range} arguments, and here are {count}");
            return Err(self.error(SqlErrorKind::Arguments, at, message));
        }
        let of_arguments = || arguments.iter().fold(Kinds::NONE, |all, node| all.or(node.kinds));
        let kinds = match signature.scalar {
            Scalar::Coalesce | Scalar::Least | Scalar::Greatest => of_arguments(),
            Scalar::NullIf => arguments.first().map_or(Kinds::NONE, |node| node.kinds),
            _ => signature.gives,
        };
        if matches!(signature.scalar, Scalar::NullIf | Scalar::Least | Scalar::Greatest) {
            let first = arguments.first().map_or(Kinds::ANY, |node| node.kinds);
            arguments.iter().try_for_each(|node| self.check_comparable(first, node))?;
        }
        let depth = arguments.iter().map(|node| node.depth).max().unwrap_or(0);
        let arguments = arguments.into_iter().map(|node| node.expr).collect();
        self.node(at, kinds, depth, Expr::Call(signature.scalar, arguments))
    }

    fn cast(&mut self, at: usize) -> Result<Node, SqlError> {
        let operand = self.expression()?;
        self.expect_word("AS")?;
        let (cast, kinds) = if self.take_word("INTEGER") || self.take_word("INT") {
            (Cast::Integer, Kinds::INT)
        } else if self.take_word("REAL") || self.take_word("FLOAT") {
            (Cast::Real, Kinds::FLOAT)
        } else if self.take_word("TEXT") {
            (Cast::Text, Kinds::TEXT)
        } else {
            return Err(self.expected("INTEGER, REAL or TEXT"));
        };
        self.expect_symbol(")")?;
        let takes = Kinds::TRUTH.or(Kinds::TEXT);
        let takes = if cast == Cast::Text { takes.or(Kinds::TIME) } else { takes };
        self.check_kinds(&operand, takes, "CAST")?;
        self.node(at, kinds, operand.depth, Expr::Cast(Box::new(operand.expr), cast))
    }

    fn extract(&mut self, at: usize) -> Result<Node, SqlError> {
        const PARTS: [(&str, Part); 7] = [
            ("YEAR", Part::Year),
            ("MONTH", Part::Month),
            ("DAY", Part::Day),
            ("HOUR", Part::Hour),
            ("MINUTE", Part::Minute),
            ("SECOND", Part::Second),
            ("EPOCH", Part::Epoch),
        ];
        let Some((_, part)) = PARTS.iter().find(|(word, _)| self.take_word(word)) else {
            return Err(self.expected("YEAR, MONTH, DAY, HOUR, MINUTE, SECOND or EPOCH"));
        };
        self.expect_word("FROM")?;
        let operand = self.expression()?;
        self.expect_symbol(")")?;
        self.check_kinds(&operand, Kinds::TIME, "EXTRACT")?;
        let kinds = if *part == Part::Epoch { Kinds::FLOAT } else { Kinds::INT };
        self.node(at, kinds, operand.depth, Expr::Extract(*part, Box::new(operand.expr)))
    }

    /// What follows an aggregate's name and `(`.
    fn aggregate(&mut self, name: &'static str, at: usize) -> Result<Node, SqlError> {
        match self.scope {
            Scope::Output => (),
            Scope::Argument => {
                let message = format!("{name} within an aggregate: aggregates do not nest");
                return Err(self.error(SqlErrorKind::NestedAggregate, at, message));
            }
            Scope::Row(place) => {
                let message = format!(
                    "{name} in {place}, where there is one row: aggregates \
                                       stand in a function's outputs"
                );
                return Err(self.error(SqlErrorKind::MisplacedAggregate, at, message));
            }
        }
        self.scope = Scope::Argument;
        let aggregate = self.arguments(name, at);
        self.scope = Scope::Output;
        let (aggregate, kinds) = aggregate?;
        if self.is_word("OVER") || self.is_word("FILTER") {
            let message = "windows and FILTER are not supported: use CASE within the aggregate";
            return Err(self.error(SqlErrorKind::Unsupported, self.at(), message));
        }
        let index = self.aggregates.len();
        self.aggregates.push(aggregate);
        self.node(at, kinds, 0, Expr::Aggregate(index))
    }

    /// An aggregate's arguments and `)`.
    fn arguments(&mut self, name: &str, at: usize) -> Result<(Aggregate, Kinds), SqlError> {
        let simple = |takes, fold, gives| Some((takes, fold, gives));
        let parsed = match name {
            "FIRST" | "TOP" => return self.first(name),
            "COUNT" => return self.count(),
            "MIN" => simple(Kinds::ANY, Fold::Min, None),
            "MAX" => simple(Kinds::ANY, Fold::Max, None),
            "SUM" => simple(Kinds::NUMBER, Fold::Sum, Some(Kinds::NUMBER)),
            "AVG" => simple(Kinds::NUMBER, Fold::Average, Some(Kinds::FLOAT)),
            "STDDEV" => simple(Kinds::NUMBER, Fold::Deviation, Some(Kinds::FLOAT)),
            "ANY" | "BOOL_OR" => simple(Kinds::TRUTH, Fold::Any, Some(Kinds::BOOL)),
            "ALL" | "BOOL_AND" => simple(Kinds::TRUTH, Fold::All, Some(Kinds::BOOL)),
            "MAP_SUM" => simple(Kinds::LIST, Fold::MapSum, Some(Kinds::LIST)),
            "MAP_MIN" => simple(Kinds::LIST, Fold::MapMin, Some(Kinds::LIST)),
            "MAP_MAX" => simple(Kinds::LIST, Fold::MapMax, Some(Kinds::LIST)),
            "APPROX_DISTINCT" => simple(Kinds::ANY, Fold::ApproxDistinct, Some(Kinds::INT)),
            "DISTINCT_SKETCH" => simple(Kinds::ANY, Fold::Sketch, Some(Kinds::BYTES)),
            "UNION" => simple(Kinds::ANY, Fold::Union { max: ITEMS_MAX }, Some(Kinds::LIST)),
            "BLOOM" => simple(Kinds::ANY, Fold::Bloom { bits: 1024 }, Some(Kinds::BYTES)),
            _ => None,
        };
        let input = self.expression()?;
        let Some((takes, mut fold, gives)) = parsed else {
            let fold = self.histogram()?;
            self.check_kinds(&input, Kinds::NUMBER.or(Kinds::LIST), name)?;
            self.expect_symbol(")")?;
            return Ok((Aggregate::new(fold, input.expr), Kinds::LIST));
        };
        self.check_kinds(&input, takes, name)?;
        if self.is_symbol(",") {
            match &mut fold {
                Fold::Union { max } => *max = self.whole(1, ITEMS_MAX, "the most values")?,
                Fold::Bloom { bits } => {
                    *bits = self.whole(64, BLOOM_BITS_MAX, "the bits")?;
                    if !bits.is_multiple_of(8) {
                        let message = "a Bloom filter's bits are a multiple of 8";
                        return Err(self.error(SqlErrorKind::Arguments, at, message));
                    }
                }
                Fold::Average => {
                    self.expect_symbol(",")?;
                    let weight = self.expression()?;
                    self.check_kinds(&weight, Kinds::NUMBER, name)?;
                    fold = Fold::WeightedAverage(weight.expr);
                }
                Fold::Min | Fold::Max => {
                    let other = if matches!(fold, Fold::Min) { "LEAST" } else { "GREATEST" };
                    let message = format!(
                        "{name} takes 1 argument: the {name} of several values \
                                           of one row is {other}"
                    );
                    return Err(self.error(SqlErrorKind::Arguments, self.at(), message));
                }
                _ => {
                    let message = format!("{name} takes 1 argument");
                    return Err(self.error(SqlErrorKind::Arguments, self.at(), message));
                }
            }
        }
        self.expect_symbol(")")?;
        Ok((Aggregate::new(fold, input.expr), gives.unwrap_or(input.kinds)))
    }

    fn count(&mut self) -> Result<(Aggregate, Kinds), SqlError> {
        let (fold, input) = if self.take_symbol("*") {
            (Fold::CountRows, Expr::Literal(Value::Null))
        } else if self.take_word("DISTINCT") {
            (Fold::CountDistinct, self.expression()?.expr)
        } else {
            (Fold::Count, self.expression()?.expr)
        };
        self.expect_symbol(")")?;
        Ok((Aggregate::new(fold, input), Kinds::INT))
    }

    /// The arguments of `FIRST(n, x [ORDER BY y [DESC]])` and `TOP(n, x BY y)`.
    fn first(&mut self, name: &str) -> Result<(Aggregate, Kinds), SqlError> {
        let count = self.whole_number(1, ITEMS_MAX, "the number of items")?;
        self.expect_symbol(",")?;
        let input = self.expression()?;
        let order = if name == "TOP" {
            self.expect_word("BY")?;
            Some(Order { key: self.expression()?.expr, is_descending: true })
        } else if self.take_word("ORDER") {
            self.expect_word("BY")?;
            let key = self.expression()?.expr;
            let is_descending = self.take_word("DESC");
            if !is_descending {
                self.take_word("ASC");
            }
            Some(Order { key, is_descending })
        } else {
            None
        };
        self.expect_symbol(")")?;
        Ok((Aggregate::new(Fold::First { count, order }, input.expr), Kinds::LIST))
    }

    fn histogram(&mut self) -> Result<Fold, SqlError> {
        self.expect_symbol(",")?;
        let low_at = self.at();
        let low = self.number()?;
        self.expect_symbol(",")?;
        let high = self.number()?;
        let buckets = self.whole(1, ITEMS_MAX, "the number of buckets")?;
        if !(low < high && (high - low).is_finite()) {
            let message = "a histogram's low end is below its high end";
            return Err(self.error(SqlErrorKind::Arguments, low_at, message));
        }
        Ok(Fold::Histogram { low, high, buckets })
    }

    fn number(&mut self) -> Result<f64, SqlError> {
        let node = self.expression()?;
        match node.expr {
            Expr::Literal(Value::Int(int)) => Ok(int as f64),
            Expr::Literal(Value::Float(float)) => Ok(float.get()),
            _ => {
                let message = "a number is needed here, the same in every row";
                Err(self.error(SqlErrorKind::Arguments, node.at, message))
            }
        }
    }

    /// A comma and a whole number within bounds.
    fn whole(&mut self, min: usize, max: usize, what: &str) -> Result<usize, SqlError> {
        self.expect_symbol(",")?;
        self.whole_number(min, max, what)
    }

    fn whole_number(&mut self, min: usize, max: usize, what: &str) -> Result<usize, SqlError> {
        let at = self.at();
        let node = self.expression()?;
        let count = match node.expr {
            Expr::Literal(Value::Int(int)) => usize::try_from(int).ok(),
            _ => None,
        };
        count.filter(|count| (min..=max).contains(count)).ok_or_else(|| {
            let message = format!("{what} must be a number from {min} to {max}");
            self.error(SqlErrorKind::Arguments, at, message)
        })
    }
}
