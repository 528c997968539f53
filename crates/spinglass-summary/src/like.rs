//! `LIKE`: `%` is any run, `_` is any character, and capitals are small letters in ASCII.
//!
//! A pattern is matched with one place to go back to, the last `%`: whatever an earlier `%` could
//! take, the last one can take as well. So the work is at most text times pattern, and metered.

use core::str::Chars;

use crate::error::EvalError;
use crate::meter::Meter;

/// Whether a text matches. A pattern that ends in its escape matches nothing.
pub(crate) fn matches(
    text: &str,
    pattern: &str,
    escape: Option<char>,
    meter: &mut Meter,
) -> Result<bool, EvalError> {
    let (mut text, mut pattern) = (text.chars(), pattern.chars());
    let mut last_run: Option<(Chars<'_>, Chars<'_>)> = None;
    loop {
        meter.step(1)?;
        let text_before = text.clone();
        let piece = Piece::take(&mut pattern, escape);
        let is_match = match piece {
            Piece::Run => {
                last_run = Some((text_before, pattern.clone()));
                continue;
            }
            Piece::End if text.as_str().is_empty() => return Ok(true),
            Piece::End | Piece::Never => false,
            Piece::One => text.next().is_some(),
            Piece::Exactly(own) => {
                text.next().is_some_and(|other| own.eq_ignore_ascii_case(&other))
            }
        };
        if is_match {
            continue;
        }
        // The last run takes one character more.
        let Some((run_text, run_pattern)) = &mut last_run else { return Ok(false) };
        if run_text.next().is_none() {
            return Ok(false);
        }
        text = run_text.clone();
        pattern = run_pattern.clone();
    }
}

enum Piece {
    Run,
    One,
    Exactly(char),
    Never,
    End,
}

impl Piece {
    fn take(pattern: &mut Chars<'_>, escape: Option<char>) -> Self {
        match pattern.next() {
            None => Self::End,
            next if next == escape => pattern.next().map_or(Self::Never, Self::Exactly),
            Some('%') => Self::Run,
            Some('_') => Self::One,
            Some(other) => Self::Exactly(other),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::meter::Budget;

    fn like(text: &str, pattern: &str) -> bool {
        matches(text, pattern, Some('!'), &mut Meter::new(Budget::default())).unwrap()
    }

    #[test]
    fn runs_and_single_characters_match() {
        assert!(like("Linux", "l%X"));
        assert!(like("", "%"));
        assert!(like("é", "_"));
        assert!(like("abcabd", "%ab_"));
        assert!(like("aXbXc", "a%b%c"));
        assert!(!like("abc", "a_"));
        assert!(!like("abc", "abcd%"));
        assert!(!like("É", "é"));
    }

    #[test]
    fn an_escaped_wildcard_is_itself() {
        assert!(like("50%", "50!%"));
        assert!(!like("500", "50!%"));
        assert!(!like("a", "a!"));
    }

    #[test]
    fn work_is_bounded_by_text_times_pattern() {
        let text = "a".repeat(1000);
        let pattern = "%a".repeat(50) + "b";
        let mut meter = Meter::new(Budget { steps: 200_000, memory_bytes: 0, output_bytes: 0 });
        assert_eq!(matches(&text, &pattern, None, &mut meter), Ok(false));
        let mut meter = Meter::new(Budget { steps: 900, memory_bytes: 0, output_bytes: 0 });
        assert_eq!(matches(&text, &pattern, None, &mut meter), Err(EvalError::Steps));
    }
}
