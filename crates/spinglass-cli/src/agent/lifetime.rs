//! How long something lasts, as people write and read it.

use std::time::Duration;

use anyhow::{Context as _, Result, ensure};

/// The units, largest first, with their seconds.
const UNITS: [(char, u64); 4] = [('d', 86_400), ('h', 3600), ('m', 60), ('s', 1)];

/// Reads a whole number and its unit: `90s`, `15m`, `12h`, `30d`.
pub(super) fn parse(text: &str) -> Result<Duration> {
    let advice =
        || format!("{text:?} is no time: write a whole number and s, m, h or d, as in 30d");
    let (_, seconds) =
        UNITS.into_iter().find(|(unit, _)| text.ends_with(*unit)).with_context(advice)?;
    let number = text.split_at(text.len() - 1).0;
    let number: u64 = number.parse().ok().with_context(advice)?;
    ensure!(number > 0, "the shortest time is 1s");
    number.checked_mul(seconds).map(Duration::from_secs).context("nothing lasts for so long")
}

/// The two largest units of it: `29d 23h`.
pub(super) fn shown(time: Duration) -> String {
    let mut seconds = time.as_secs();
    let mut parts = Vec::new();
    for (unit, of) in UNITS {
        if seconds >= of || !parts.is_empty() {
            parts.push((seconds / of, unit));
            seconds %= of;
        }
    }
    parts.truncate(2);
    parts.retain(|(number, _)| *number > 0);
    let parts: Vec<String> =
        parts.into_iter().map(|(number, unit)| format!("{number}{unit}")).collect();
    if parts.is_empty() { "less than 1s".into() } else { parts.join(" ") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_read_and_shown() {
        assert_eq!(parse("30d").unwrap(), Duration::from_secs(30 * 86_400));
        assert_eq!(parse("90s").unwrap(), Duration::from_secs(90));
        for wrong in ["", "d", "30", "0s", "-1d", "1w", "1.5h", "99999999999999999999d"] {
            assert!(parse(wrong).is_err(), "{wrong}");
        }
        assert!(parse("999999999999999999d").is_err());
        let shown = |seconds| shown(Duration::from_secs(seconds));
        assert_eq!(shown(30 * 86_400 - 1), "29d 23h");
        assert_eq!(shown(3600), "1h");
        assert_eq!(shown(86_400 + 60), "1d");
        assert_eq!(shown(61), "1m 1s");
        assert_eq!(shown(0), "less than 1s");
    }
}
