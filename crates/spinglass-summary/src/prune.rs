//! Which zones a query need not enter: what a zone's summary proves of the hosts below.
//!
//! A condition is weighed with what is known of each column: that no value is less than `MIN`,
//! that all are in `UNION`, and so on. The outcome says whether it can be true of some host, and
//! whether it can be false; null is always possible, for a host need not have the attribute. What
//! is not understood can be both. So an error here costs a detour and never an answer.

use alloc::sync::Arc;
use alloc::vec::Vec;
use core::cell::Cell;

use crate::aggregate::{bloom_has, is_bloom};
use crate::arithmetic::truth;
use crate::expr::{Comparison, Expr, Is, Operator};
use crate::function::{Bound, BoundKind, Function};
use crate::like;
use crate::meter::{Budget, Meter};
use crate::order;
use crate::row::{Name, Row};
use crate::scalar::Scalar;
use crate::value::Value;

/// What a condition can come to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Outcomes {
    pub(crate) can_be_true: bool,
    pub(crate) can_be_false: bool,
}

impl Outcomes {
    const UNKNOWN: Self = Self { can_be_true: true, can_be_false: true };

    const fn negated(self, is_negated: bool) -> Self {
        if is_negated {
            Self { can_be_true: self.can_be_false, can_be_false: self.can_be_true }
        } else {
            self
        }
    }
}

/// What is known of a column by other means than summaries: every host's value lies between the
/// two, both included. Summaries of an attribute of this name are not looked at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Range {
    /// The column.
    pub column: Name,
    /// No value is less.
    pub low: Value,
    /// No value is greater.
    pub high: Value,
}

/// What is known of a query's columns, by slot.
#[derive(Debug)]
pub(crate) struct Knowledge {
    columns: Vec<Known>,
    /// What all the patterns of a condition may cost together; what costs more can be anything.
    meter: Cell<Meter>,
}

/// What is known of a column's values in all hosts that have it.
#[derive(Debug, Default)]
struct Known {
    low: Option<Value>,
    high: Option<Value>,
    /// All values, or the items of those that are lists.
    set: Option<Arc<[Value]>>,
    bloom: Option<Arc<[u8]>>,
    is_absent: bool,
    is_never_true: bool,
    is_never_false: bool,
}

impl Knowledge {
    pub(crate) fn new(
        columns: &[Name],
        zone_row: &Row,
        functions: &[&Function],
        ranges: &[Range],
    ) -> Self {
        let known = |column: &Name| {
            let mut known = Known::default();
            if let Some(range) = ranges.iter().find(|range| range.column == *column) {
                known.low = Some(range.low.clone());
                known.high = Some(range.high.clone());
                return known;
            }
            let bounds = functions.iter().flat_map(|function| function.bounds());
            for bound in bounds.filter(|bound| bound.input == *column) {
                // Of two functions with one output, nobody knows which one made it.
                let makes = |function: &&&Function| function.outputs().any(|o| *o == bound.output);
                if functions.iter().filter(makes).count() == 1 {
                    known.learn(bound, zone_row);
                }
            }
            known
        };
        let meter = Cell::new(Meter::new(Budget::default()));
        Self { columns: columns.iter().map(known).collect(), meter }
    }

    /// What a condition can come to in some host.
    pub(crate) fn outcomes(&self, condition: &Expr) -> Outcomes {
        match condition {
            Expr::Literal(value) => {
                let truth = truth(value);
                Outcomes { can_be_true: truth == Some(true), can_be_false: truth == Some(false) }
            }
            Expr::Column(slot) => self.columns.get(*slot).map_or(Outcomes::UNKNOWN, Known::truth),
            Expr::Not(operand) => self.outcomes(operand).negated(true),
            Expr::And(parts) => self.every(parts),
            Expr::Or(parts) => self.some(parts),
            Expr::Chain(left, rest) => match &**rest {
                [(Operator::Compare(comparison), right)] => self.compare(left, *comparison, right),
                _ => Outcomes::UNKNOWN,
            },
            Expr::Between { parts, negated } => {
                let [operand, low, high] = &**parts;
                let above = self.compare(operand, Comparison::GreaterOrEqual, low);
                let below = self.compare(operand, Comparison::LessOrEqual, high);
                let outcomes = Outcomes {
                    can_be_true: above.can_be_true && below.can_be_true,
                    can_be_false: above.can_be_false || below.can_be_false,
                };
                outcomes.negated(*negated)
            }
            Expr::In { operand, items, negated } => {
                let equal = |item| self.compare(operand, Comparison::Equal, item).can_be_true;
                let can_be_true = items.iter().any(equal);
                Outcomes { can_be_true, can_be_false: true }.negated(*negated)
            }
            Expr::Is { operand, what, negated } => {
                let operand = self.outcomes(operand);
                let can_be_true = match what {
                    Is::Null => true,
                    Is::True => operand.can_be_true,
                    Is::False => operand.can_be_false,
                };
                Outcomes { can_be_true, can_be_false: true }.negated(*negated)
            }
            Expr::Like { parts, escape, negated } => {
                let [text, pattern] = &**parts;
                let outcomes = self.texts(text, pattern, |text, pattern| {
                    let mut meter = self.meter.get();
                    let matches = like::matches(text, pattern, *escape, &mut meter);
                    self.meter.set(meter);
                    matches.ok()
                });
                outcomes.negated(*negated)
            }
            Expr::Call(Scalar::StartsWith, arguments) => match &**arguments {
                [text, start] => {
                    self.texts(text, start, |text, start| Some(text.starts_with(start)))
                }
                _ => Outcomes::UNKNOWN,
            },
            Expr::Call(Scalar::Contains, arguments) => match &**arguments {
                [whole, Expr::Literal(part)] => self.contains(whole, part),
                _ => Outcomes::UNKNOWN,
            },
            _ => Outcomes::UNKNOWN,
        }
    }

    fn every(&self, parts: &[Expr]) -> Outcomes {
        let mut every = Outcomes { can_be_true: true, can_be_false: false };
        for part in parts {
            let part = self.outcomes(part);
            every.can_be_true &= part.can_be_true;
            every.can_be_false |= part.can_be_false;
        }
        every
    }

    /// Each part is weighed once: twice at each level would be 2^depth times.
    fn some(&self, parts: &[Expr]) -> Outcomes {
        let mut some = Outcomes { can_be_true: false, can_be_false: true };
        for part in parts {
            let part = self.outcomes(part);
            some.can_be_true |= part.can_be_true;
            some.can_be_false &= part.can_be_false;
        }
        some
    }

    fn known(&self, expr: &Expr) -> Option<&Known> {
        match expr {
            Expr::Column(slot) => self.columns.get(*slot),
            _ => None,
        }
    }

    fn compare(&self, left: &Expr, comparison: Comparison, right: &Expr) -> Outcomes {
        let (known, comparison, literal) = match (left, right) {
            (column, Expr::Literal(literal)) => (self.known(column), comparison, literal),
            (Expr::Literal(literal), column) => {
                (self.known(column), comparison.mirrored(), literal)
            }
            _ => return Outcomes::UNKNOWN,
        };
        let Some(known) = known else { return Outcomes::UNKNOWN };
        Outcomes {
            can_be_true: known.can_be(comparison, literal),
            can_be_false: known.can_be(comparison.negated(), literal),
        }
    }

    /// A test of a text column with a literal, tried with every value that there is.
    fn texts(
        &self,
        column: &Expr,
        literal: &Expr,
        test: impl Fn(&str, &str) -> Option<bool>,
    ) -> Outcomes {
        let set = self.known(column).and_then(|known| known.set.as_ref());
        let (Some(set), Expr::Literal(Value::Text(literal))) = (set, literal) else {
            return Outcomes::UNKNOWN;
        };
        let can_be = |wanted: bool| {
            let test = |text| test(text, literal).is_none_or(|is| is == wanted);
            set.iter().filter_map(Value::as_text).any(test)
        };
        Outcomes { can_be_true: can_be(true), can_be_false: can_be(false) }
    }

    /// `CONTAINS(column, literal)`: a set has the items of lists, and texts as they are.
    fn contains(&self, whole: &Expr, part: &Value) -> Outcomes {
        let Some(known) = self.known(whole) else { return Outcomes::UNKNOWN };
        let is_equal = |item: &Value| order::sql(item, part).is_some_and(|order| order.is_eq());
        let is_within = |item: &Value| match (item, part) {
            (Value::Text(text), Value::Text(part)) => text.contains(&**part),
            _ => false,
        };
        let is_in_set = match (&known.set, part) {
            (Some(set), _) => set.iter().any(|item| is_equal(item) || is_within(item)),
            (None, _) => true,
        };
        let is_in_bloom = match (&known.bloom, part) {
            (Some(_), Value::Text(_) | Value::Bytes(_) | Value::List(_)) | (None, _) => true,
            (Some(bloom), part) => bloom_has(bloom, part) != Some(false),
        };
        let can_be_true = !known.is_absent && is_in_set && is_in_bloom;
        Outcomes { can_be_true, can_be_false: true }
    }
}

impl Known {
    fn learn(&mut self, bound: &Bound, zone_row: &Row) {
        let Some(value) = zone_row.get(bound.output.as_str()) else {
            return self.learn_none(bound.kind);
        };
        match (bound.kind, value) {
            (_, Value::Float(number)) if number.get().is_nan() => (),
            (BoundKind::Min, low) => self.low = Some(low.clone()),
            (BoundKind::Max, high) => self.high = Some(high.clone()),
            (BoundKind::Any, Value::Bool(false)) => self.is_never_true = true,
            (BoundKind::All, Value::Bool(true)) => self.is_never_false = true,
            (BoundKind::Count, Value::Int(0)) => self.is_absent = true,
            (BoundKind::Union, Value::List(items)) => {
                let is_unknown = |item: &Value| matches!(item, Value::Null | Value::List(_));
                if !items.iter().any(is_unknown) {
                    self.set = Some(items.clone());
                }
            }
            (BoundKind::Bloom, Value::Bytes(bytes)) if is_bloom(bytes) => {
                self.bloom = Some(bytes.clone());
            }
            _ => (),
        }
    }

    /// A function that ran to its end and made nothing had nothing to make it of.
    fn learn_none(&mut self, kind: BoundKind) {
        match kind {
            BoundKind::Min | BoundKind::Max => self.is_absent = true,
            // There may be lists without items.
            BoundKind::Union => self.set = Some(Arc::from([])),
            BoundKind::Any | BoundKind::All | BoundKind::Count | BoundKind::Bloom => (),
        }
    }

    /// What the column can be where a truth is wanted.
    fn truth(&self) -> Outcomes {
        let above = |bound: Value| move |value: &Value| order::by_place(value, &bound).is_gt();
        let is_in_set = |wanted: bool| {
            self.set.as_ref().is_none_or(|set| set.iter().any(|value| truth(value) == Some(wanted)))
        };
        let may_reach_true = self.high.as_ref().is_none_or(above(Value::Bool(false)));
        let may_reach_zero = !self.low.as_ref().is_some_and(above(Value::Int(0)));
        Outcomes {
            can_be_true: !self.is_absent
                && !self.is_never_true
                && may_reach_true
                && is_in_set(true),
            can_be_false: !self.is_absent
                && !self.is_never_false
                && may_reach_zero
                && is_in_set(false),
        }
    }

    /// Whether some value can compare so with a literal.
    fn can_be(&self, comparison: Comparison, literal: &Value) -> bool {
        if self.is_absent || *literal == Value::Null {
            return false;
        }
        // Sets hold the items of lists, not lists.
        if let (Some(set), false) = (&self.set, matches!(literal, Value::List(_))) {
            let compares = |value: &Value| {
                order::sql(value, literal).is_some_and(|ordering| comparison.holds(ordering))
            };
            if !set.iter().any(compares) {
                return false;
            }
        }
        let low = self.low.as_ref().map(|low| order::by_place(low, literal));
        let high = self.high.as_ref().map(|high| order::by_place(high, literal));
        let may_be_below = low.is_none_or(core::cmp::Ordering::is_lt);
        let may_be_above = high.is_none_or(core::cmp::Ordering::is_gt);
        let may_be_equal = low.is_none_or(core::cmp::Ordering::is_le)
            && high.is_none_or(core::cmp::Ordering::is_ge)
            && self.may_be_in_bloom(literal);
        match comparison {
            Comparison::Equal => may_be_equal,
            Comparison::NotEqual => may_be_below || may_be_above,
            Comparison::Less => may_be_below,
            Comparison::LessOrEqual => may_be_below || may_be_equal,
            Comparison::Greater => may_be_above,
            Comparison::GreaterOrEqual => may_be_above || may_be_equal,
        }
    }

    /// Filters hold the items of lists, and what bytes they were merged with nobody knows.
    fn may_be_in_bloom(&self, value: &Value) -> bool {
        match (&self.bloom, value) {
            (None, _) | (_, Value::Bytes(_) | Value::List(_)) => true,
            (Some(bloom), value) => bloom_has(bloom, value) != Some(false),
        }
    }
}
