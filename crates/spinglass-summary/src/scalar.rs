//! The functions of one row: what they are called, what they take and what they give.

use alloc::string::String;

use crate::kinds::Kinds;

/// A function of one row's values.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Scalar {
    Abs,
    BloomHas,
    Ceil,
    Coalesce,
    Contains,
    Element,
    Exp,
    Floor,
    Greatest,
    Least,
    Length,
    Ln,
    Lower,
    NullIf,
    Pow,
    Replace,
    Round,
    Sqrt,
    StartsWith,
    Substr,
    TimeBucket,
    Trim,
    TypeOf,
    Upper,
}

/// How a function is called.
#[derive(Debug)]
pub(crate) struct Signature {
    pub(crate) name: &'static str,
    pub(crate) scalar: Scalar,
    /// What each argument may be; the last one holds for all further ones.
    pub(crate) takes: &'static [Kinds],
    pub(crate) arguments_min: usize,
    pub(crate) arguments_max: usize,
    /// What it gives, besides null.
    pub(crate) gives: Kinds,
}

/// The most arguments of a function that takes any number of them.
const MANY: usize = 64;

const fn signature(
    name: &'static str,
    scalar: Scalar,
    takes: &'static [Kinds],
    arguments: (usize, usize),
    gives: Kinds,
) -> Signature {
    Signature { name, scalar, takes, arguments_min: arguments.0, arguments_max: arguments.1, gives }
}

const ANY: &[Kinds] = &[Kinds::ANY];
const NUMBER: &[Kinds] = &[Kinds::NUMBER];
const TEXT: &[Kinds] = &[Kinds::TEXT];

/// Every function, by name.
pub(crate) const SIGNATURES: [Signature; 26] = [
    signature("ABS", Scalar::Abs, NUMBER, (1, 1), Kinds::NUMBER),
    signature("BLOOM_HAS", Scalar::BloomHas, &[Kinds::BYTES, Kinds::ANY], (2, 2), Kinds::BOOL),
    signature("CEIL", Scalar::Ceil, NUMBER, (1, 1), Kinds::NUMBER),
    signature("COALESCE", Scalar::Coalesce, ANY, (2, MANY), Kinds::ANY),
    signature("CONTAINS", Scalar::Contains, &[Kinds::RUN, Kinds::ANY], (2, 2), Kinds::BOOL),
    signature("ELEMENT", Scalar::Element, &[Kinds::LIST, Kinds::NUMBER], (2, 2), Kinds::ANY),
    signature("EXP", Scalar::Exp, NUMBER, (1, 1), Kinds::FLOAT),
    signature("FLOOR", Scalar::Floor, NUMBER, (1, 1), Kinds::NUMBER),
    signature("GREATEST", Scalar::Greatest, ANY, (2, MANY), Kinds::ANY),
    signature("IFNULL", Scalar::Coalesce, ANY, (2, 2), Kinds::ANY),
    signature("LEAST", Scalar::Least, ANY, (2, MANY), Kinds::ANY),
    signature("LENGTH", Scalar::Length, &[Kinds::LONG], (1, 1), Kinds::INT),
    signature("LN", Scalar::Ln, NUMBER, (1, 1), Kinds::FLOAT),
    signature("LOWER", Scalar::Lower, TEXT, (1, 1), Kinds::TEXT),
    signature("NULLIF", Scalar::NullIf, ANY, (2, 2), Kinds::ANY),
    signature("POW", Scalar::Pow, NUMBER, (2, 2), Kinds::FLOAT),
    signature("POWER", Scalar::Pow, NUMBER, (2, 2), Kinds::FLOAT),
    signature("REPLACE", Scalar::Replace, TEXT, (3, 3), Kinds::TEXT),
    signature("ROUND", Scalar::Round, NUMBER, (1, 2), Kinds::FLOAT),
    signature("SQRT", Scalar::Sqrt, NUMBER, (1, 1), Kinds::FLOAT),
    signature("STARTS_WITH", Scalar::StartsWith, TEXT, (2, 2), Kinds::BOOL),
    signature("SUBSTR", Scalar::Substr, &[Kinds::TEXT, Kinds::NUMBER], (2, 3), Kinds::TEXT),
    signature(
        "TIME_BUCKET",
        Scalar::TimeBucket,
        &[Kinds::NUMBER, Kinds::TIME],
        (2, 2),
        Kinds::TIME,
    ),
    signature("TRIM", Scalar::Trim, TEXT, (1, 2), Kinds::TEXT),
    signature("TYPEOF", Scalar::TypeOf, ANY, (1, 1), Kinds::TEXT),
    signature("UPPER", Scalar::Upper, TEXT, (1, 1), Kinds::TEXT),
];

/// The function of a name, in capitals or not.
pub(crate) fn find(name: &str) -> Option<&'static Signature> {
    SIGNATURES.iter().find(|signature| signature.name.eq_ignore_ascii_case(name))
}

/// What each function is called, with the forms that have a syntax of their own.
pub(crate) fn names() -> impl Iterator<Item = &'static str> {
    SIGNATURES.iter().map(|signature| signature.name).chain(["CAST", "EXTRACT"])
}

impl Scalar {
    /// Steps of a call besides its arguments': transcendental functions take their time.
    pub(crate) const fn steps(self) -> u32 {
        match self {
            Self::Exp | Self::Ln | Self::Pow | Self::Round => 8,
            Self::BloomHas => 4,
            _ => 1,
        }
    }
}

/// The name that differs least from a misspelt one, if any is close.
pub(crate) fn nearest(
    misspelt: &str,
    names: impl Iterator<Item = &'static str>,
) -> Option<&'static str> {
    let misspelt: String = misspelt.chars().take(32).collect::<String>().to_ascii_uppercase();
    let tolerated = 1 + misspelt.len() / 4;
    names
        .map(|name| (distance(&misspelt, name), name))
        .filter(|(distance, _)| *distance <= tolerated)
        .min()
        .map(|(_, name)| name)
}

/// Characters to insert, delete or replace to make one word of the other.
fn distance(left: &str, right: &str) -> usize {
    let mut costs: alloc::vec::Vec<usize> = (0..=right.len()).collect();
    for (row, own) in left.bytes().enumerate() {
        let mut diagonal = row;
        let mut before = row + 1;
        let mut pairs = right.bytes().zip(costs.iter_mut().skip(1));
        for (other, cost) in &mut pairs {
            let replaced = diagonal + usize::from(own != other);
            diagonal = *cost;
            *cost = replaced.min(diagonal + 1).min(before + 1);
            before = *cost;
        }
    }
    costs.last().copied().unwrap_or(left.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn functions_are_sorted_by_name() {
        assert!(SIGNATURES.is_sorted_by_key(|signature| signature.name));
    }

    #[test]
    fn a_misspelt_name_finds_the_nearest() {
        assert_eq!(nearest("lenght", names()), Some("LENGTH"));
        assert_eq!(nearest("coalesc", names()), Some("COALESCE"));
        assert_eq!(nearest("zzzzz", names()), None);
    }

    #[test]
    fn distances_are_counted_by_hand() {
        assert_eq!(distance("", "ABC"), 3);
        assert_eq!(distance("KITTEN", "SITTING"), 3);
        assert_eq!(distance("ABC", "ABC"), 0);
    }
}
