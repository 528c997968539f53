//! Times in the proleptic Gregorian calendar, in UTC: no clock, no zones, no leap seconds.

use crate::expr::Part;
use crate::value::{Float, Time, Value, civil_from_days};

const MICROS_PER_SECOND: i64 = 1_000_000;
const SECONDS_PER_DAY: i64 = 86_400;

impl Time {
    /// The time that a text tells: `2026-01-31`, `2026-01-31T12:00:00Z`, with up to six digits
    /// after the second.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let (date, clock) = match text.split_once('T') {
            Some((date, clock)) => (date, clock.strip_suffix('Z')?),
            None => (text, "00:00:00"),
        };
        let mut date = date.split('-');
        let year = digits(date.next()?, 4)?;
        let month = digits(date.next()?, 2).filter(|month| (1..=12).contains(month))?;
        let day = digits(date.next()?, 2)?;
        let days = days_from_civil(year, month, day);
        if date.next().is_some() || civil_from_days(days) != (year, month, day) {
            return None;
        }
        let (clock, fraction) = clock.split_once('.').unwrap_or((clock, "0"));
        let mut clock = clock.split(':');
        let hour = digits(clock.next()?, 2).filter(|hour| *hour < 24)?;
        let minute = digits(clock.next()?, 2).filter(|minute| *minute < 60)?;
        let second = digits(clock.next()?, 2).filter(|second| *second < 60)?;
        if clock.next().is_some() || fraction.len() > 6 {
            return None;
        }
        let scale = 10_i64.checked_pow(u32::try_from(6 - fraction.len()).ok()?)?;
        let micros = digits(fraction, fraction.len())? * scale;
        let seconds = days * SECONDS_PER_DAY + hour * 3600 + minute * 60 + second;
        Some(Self(seconds * MICROS_PER_SECOND + micros))
    }

    /// A part of the time.
    pub(crate) fn part(self, part: Part) -> Value {
        let seconds = self.0.div_euclid(MICROS_PER_SECOND);
        let second = seconds.rem_euclid(SECONDS_PER_DAY);
        let (year, month, day) = civil_from_days(seconds.div_euclid(SECONDS_PER_DAY));
        Value::Int(match part {
            Part::Year => year,
            Part::Month => month,
            Part::Day => day,
            Part::Hour => second / 3600,
            Part::Minute => second / 60 % 60,
            Part::Second => second % 60,
            Part::Epoch => return Value::float(seconds_of(self.0)),
        })
    }

    /// The time so many seconds later; null out of range.
    pub(crate) fn later(self, seconds: &Value) -> Option<Self> {
        self.0.checked_add(micros_of(seconds)?).map(Self)
    }

    /// The time so many seconds earlier; null out of range.
    pub(crate) fn earlier(self, seconds: &Value) -> Option<Self> {
        self.0.checked_sub(micros_of(seconds)?).map(Self)
    }

    /// Seconds since another time.
    pub(crate) fn since(self, other: Self) -> Option<Float> {
        Some(Float::new(seconds_of(self.0.checked_sub(other.0)?)))
    }

    /// The beginning of the bucket of so many seconds that holds the time, counted from 1970.
    pub(crate) fn bucket(self, seconds: &Value) -> Option<Self> {
        let micros = micros_of(seconds).filter(|micros| *micros > 0)?;
        self.0.div_euclid(micros).checked_mul(micros).map(Self)
    }
}

fn seconds_of(micros: i64) -> f64 {
    micros as f64 / MICROS_PER_SECOND as f64
}

/// Seconds as microseconds, to the nearest.
fn micros_of(seconds: &Value) -> Option<i64> {
    match seconds {
        Value::Int(seconds) => seconds.checked_mul(MICROS_PER_SECOND),
        Value::Float(seconds) => {
            let micros = libm::rint(seconds.get() * MICROS_PER_SECOND as f64);
            (micros.abs() < i64::MAX as f64).then_some(micros as i64)
        }
        _ => None,
    }
}

fn digits(text: &str, count: usize) -> Option<i64> {
    let is_digits = text.len() == count && text.bytes().all(|byte| byte.is_ascii_digit());
    if is_digits { text.parse().ok() } else { None }
}

/// The day of a date, counted from 1970-01-01; the inverse of [`civil_from_days`].
const fn days_from_civil(year: i64, month: i64, day: i64) -> i64 {
    let march_year = if month <= 2 { year - 1 } else { year };
    let era = march_year.div_euclid(400);
    let year_of_era = march_year.rem_euclid(400);
    let march_month = (month + 9) % 12;
    let day_of_year = (153 * march_month + 2) / 5 + day - 1;
    let day_of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year;
    era * 146_097 + day_of_era - 719_468
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::string::ToString;

    #[test]
    fn what_is_told_is_read() {
        for text in ["1970-01-01T00:00:00Z", "2026-02-28T23:59:59.000001Z", "0001-03-01T12:00:00Z"]
        {
            assert_eq!(Time::parse(text).unwrap().to_string(), text);
        }
        assert_eq!(Time::parse("1970-01-02"), Some(Time(86_400_000_000)));
    }

    #[test]
    fn dates_of_no_calendar_are_refused() {
        for text in [
            "2026-02-29",
            "2026-13-01",
            "2026-00-10",
            "26-01-01",
            "2026-01-01T24:00:00Z",
            "2026-01-01T00:00:00",
            "2026-01-01T00:00:00.1234567Z",
            "2026-01-01-01",
            "x",
            "",
        ] {
            assert_eq!(Time::parse(text), None, "{text}");
        }
    }

    #[test]
    fn every_day_of_four_centuries_comes_back() {
        for days in -150_000..150_000 {
            let (year, month, day) = civil_from_days(days);
            assert_eq!(days_from_civil(year, month, day), days);
        }
    }

    #[test]
    fn buckets_begin_in_1970_and_go_down_before_it() {
        assert_eq!(Time(61_000_000).bucket(&Value::Int(60)), Some(Time(60_000_000)));
        assert_eq!(Time(-1).bucket(&Value::Int(60)), Some(Time(-60_000_000)));
        assert_eq!(Time(5).bucket(&Value::Int(0)), None);
        assert_eq!(Time(i64::MIN).bucket(&Value::Int(1_000_000)), None);
    }
}
