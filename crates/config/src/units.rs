//! Durations and sizes in Prometheus' spelling.

use std::fmt;
use std::time::Duration;

/// A text is no duration or size.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidUnit {
    /// Not numbers with units from long to short.
    #[error("expected a duration such as 30s, 5m or 1h30m")]
    Duration,
    /// A bare number other than 0.
    #[error("a duration needs a unit: ms, s, m, h, d, w or y")]
    DurationWithoutUnit,
    /// Not a number with a unit.
    #[error("expected a size such as 64MiB, 5GiB or a number of bytes")]
    Size,
    /// Beyond what can be represented.
    #[error("the value is too large")]
    TooLarge,
}

/// Units from long to short, as a duration must name them; each at most once.
const DURATION_UNITS: [(&str, u64); 7] = [
    ("y", 365 * 24 * 3_600_000),
    ("w", 7 * 24 * 3_600_000),
    ("d", 24 * 3_600_000),
    ("h", 3_600_000),
    ("m", 60_000),
    ("s", 1_000),
    ("ms", 1),
];

/// Size units. Prometheus counts `KB` by 1,024 too.
const SIZE_UNITS: [(&str, u32); 7] =
    [("EiB", 60), ("PiB", 50), ("TiB", 40), ("GiB", 30), ("MiB", 20), ("KiB", 10), ("B", 0)];

/// Prometheus' `model.ParseDuration`: numbers with units from long to short, or `0`; up to 2^63 − 1 ns.
///
/// # Errors
/// If `text` is not such a duration.
pub fn parse_duration(text: &str) -> Result<Duration, InvalidUnit> {
    if text == "0" {
        return Ok(Duration::ZERO);
    }
    if text.is_empty() {
        return Err(InvalidUnit::Duration);
    }
    let mut units = DURATION_UNITS.iter();
    let mut rest = text;
    let mut millis: u64 = 0;
    while !rest.is_empty() {
        let (number, after) = split_number(rest).ok_or(InvalidUnit::Duration)?;
        let unit_len = after.find(|c: char| c.is_ascii_digit()).unwrap_or(after.len());
        let (unit, after) = after.split_at(unit_len);
        if unit.is_empty() {
            return Err(InvalidUnit::DurationWithoutUnit);
        }
        let (_, unit_millis) = units.find(|(name, _)| *name == unit).ok_or(InvalidUnit::Duration)?;
        let number: u64 = number.parse().or(Err(InvalidUnit::TooLarge))?;
        millis =
            number.checked_mul(*unit_millis).and_then(|part| millis.checked_add(part)).ok_or(InvalidUnit::TooLarge)?;
        rest = after;
    }
    if millis > i64::MAX as u64 / 1_000_000 {
        return Err(InvalidUnit::TooLarge);
    }
    Ok(Duration::from_millis(millis))
}

/// A number of bytes, or a whole number with `B`, `KB`, `KiB` … `EB`, `EiB`; case does not matter.
pub(crate) fn parse_size(text: &str) -> Result<u64, InvalidUnit> {
    let (number, unit) = split_number(text).ok_or(InvalidUnit::Size)?;
    let number: u64 = number.parse().or(Err(InvalidUnit::TooLarge))?;
    let unit = unit.trim_start();
    if unit.is_empty() {
        return Ok(number);
    }
    let same = |name: &str| name.eq_ignore_ascii_case(unit) || name.replace('i', "").eq_ignore_ascii_case(unit);
    let (_, shift) = SIZE_UNITS.iter().find(|(name, _)| same(name)).ok_or(InvalidUnit::Size)?;
    number.checked_mul(1 << shift).ok_or(InvalidUnit::TooLarge)
}

/// A duration as [`parse_duration`] reads it, in whole milliseconds.
pub(crate) struct ShowDuration(pub(crate) Duration);

impl fmt::Display for ShowDuration {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut millis = self.0.as_millis();
        if millis == 0 {
            return f.write_str("0s");
        }
        for (unit, unit_millis) in DURATION_UNITS.iter().skip(2) {
            let count = millis / u128::from(*unit_millis);
            millis %= u128::from(*unit_millis);
            if count > 0 {
                write!(f, "{count}{unit}")?;
            }
        }
        Ok(())
    }
}

/// A size as [`parse_size`] reads it, in the largest unit that is exact.
pub(crate) struct ShowSize(pub(crate) u64);

impl fmt::Display for ShowSize {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let exact = |shift: u32| shift > 0 && self.0 > 0 && self.0.trailing_zeros() >= shift;
        match SIZE_UNITS.iter().find(|(_, shift)| exact(*shift)) {
            Some((unit, shift)) => write!(f, "{}{unit}", self.0 >> shift),
            None => write!(f, "{}", self.0),
        }
    }
}

fn split_number(text: &str) -> Option<(&str, &str)> {
    let digits = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    (digits > 0).then(|| text.split_at(digits))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_read_as_prometheus_reads_them() {
        for (text, expected) in [
            ("0", Ok(0)),
            ("0s", Ok(0)),
            ("30ms", Ok(30)),
            ("1h30m", Ok(5_400_000)),
            ("1y1w1d1h1m1s1ms", Ok(32_230_861_001)),
            ("1m1ms", Ok(60_001)),
            ("", Err(InvalidUnit::Duration)),
            ("30", Err(InvalidUnit::DurationWithoutUnit)),
            ("1m30", Err(InvalidUnit::DurationWithoutUnit)),
            ("1s1m", Err(InvalidUnit::Duration)),
            ("1m1m", Err(InvalidUnit::Duration)),
            ("-1s", Err(InvalidUnit::Duration)),
            ("1.5h", Err(InvalidUnit::Duration)),
            ("1 h", Err(InvalidUnit::Duration)),
            ("300y", Err(InvalidUnit::TooLarge)),
            ("99999999999999999999s", Err(InvalidUnit::TooLarge)),
        ] {
            assert_eq!(parse_duration(text), expected.map(Duration::from_millis), "{text}");
        }
    }

    #[test]
    fn sizes_are_powers_of_1024_in_both_spellings() {
        for (text, expected) in [
            ("0", Ok(0)),
            ("123", Ok(123)),
            ("1B", Ok(1)),
            ("64MiB", Ok(64 << 20)),
            ("64MB", Ok(64 << 20)),
            ("20gb", Ok(20 << 30)),
            ("5 GiB", Ok(5 << 30)),
            ("16EiB", Err(InvalidUnit::TooLarge)),
            ("5GiBs", Err(InvalidUnit::Size)),
            ("GiB", Err(InvalidUnit::Size)),
            ("-1", Err(InvalidUnit::Size)),
            ("1.5GiB", Err(InvalidUnit::Size)),
        ] {
            assert_eq!(parse_size(text), expected, "{text}");
        }
    }

    proptest::proptest! {
        #[test]
        fn what_is_shown_reads_back_the_same(millis in 0..i64::MAX as u64 / 1_000_000, shift in 0u32..60, bytes in 0u64..16) {
            let duration = Duration::from_millis(millis);
            proptest::prop_assert_eq!(parse_duration(&ShowDuration(duration).to_string()), Ok(duration));
            let size = bytes << shift;
            proptest::prop_assert_eq!(parse_size(&ShowSize(size).to_string()), Ok(size));
        }
    }
}
