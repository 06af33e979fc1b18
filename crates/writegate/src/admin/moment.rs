//! Points in time as people write them: RFC 3339, a duration back, seconds since 1970, `now`, `earliest`. Milliseconds since
//! 1970 inside. Asks no clock.

use std::fmt;

/// A text that is no point in time.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum InvalidMoment {
    #[error("{0:?} is no time: write 2h (back from now), 2026-01-31T18:00:00Z, seconds since 1970, earliest or now")]
    Form(String),
    #[error("{0:?} has no time zone: append Z for UTC, or an offset as in +02:00")]
    Zone(String),
    #[error("{0} is too large for seconds since 1970; milliseconds?")]
    Seconds(String),
}

/// The beginning of everything: what `earliest` means.
pub(crate) const EARLIEST_MS: i64 = 0;
/// The year 5138; beyond, somebody counts milliseconds.
const MOST_SECONDS: f64 = 1e11;
const DAY_SECONDS: i64 = 86_400;

/// Reads a point in time.
///
/// # Errors
/// When it is none.
pub(crate) fn parse(text: &str, now_ms: i64) -> Result<i64, InvalidMoment> {
    match text {
        "now" => return Ok(now_ms),
        "earliest" => return Ok(EARLIEST_MS),
        _ => {}
    }
    if text.starts_with(|first: char| first.is_ascii_digit()) {
        if text.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.') {
            let seconds = text.parse().map_err(|_not_a_number| InvalidMoment::Form(text.to_owned()))?;
            return from_seconds(seconds);
        }
        if let Ok(back) = writegate_config::parse_duration(text) {
            return Ok(now_ms.saturating_sub(i64::try_from(back.as_millis()).unwrap_or(i64::MAX)));
        }
    }
    rfc3339(text)
}

/// A number of seconds since 1970.
///
/// # Errors
/// When that is no time anybody means.
pub(crate) fn from_seconds(seconds: f64) -> Result<i64, InvalidMoment> {
    if !(0.0..MOST_SECONDS).contains(&seconds) {
        return Err(InvalidMoment::Seconds(seconds.to_string()));
    }
    #[expect(clippy::cast_possible_truncation, reason = "below 1e14")]
    Ok((seconds * 1e3).round() as i64)
}

/// RFC 3339, section 5.6; a space may stand for the `T`.
fn rfc3339(text: &str) -> Result<i64, InvalidMoment> {
    let bad = || InvalidMoment::Form(text.to_owned());
    let (date_time, rest) = text.split_at_checked(19).ok_or_else(bad)?;
    let bytes = date_time.as_bytes();
    let marks = [(4, b"--"), (7, b"--"), (13, b"::"), (16, b"::")];
    let separates = |at: usize| b"Tt ".contains(&bytes[at]);
    if !separates(10) || marks.into_iter().any(|(at, mark)| !mark.contains(&bytes[at])) {
        return Err(bad());
    }
    let number = |from: usize, to: usize, range: std::ops::RangeInclusive<i64>| {
        let digits = date_time.get(from..to).filter(|digits| digits.bytes().all(|byte| byte.is_ascii_digit()));
        digits.and_then(|digits| digits.parse().ok()).filter(|number| range.contains(number)).ok_or_else(bad)
    };
    let (year, month) = (number(0, 4, 1970..=9999)?, number(5, 7, 1..=12)?);
    let day = number(8, 10, 1..=days_of(year, month))?;
    // A leap second counts as the one before it.
    let (hour, minute, second) = (number(11, 13, 0..=23)?, number(14, 16, 0..=59)?, number(17, 19, 0..=60)?.min(59));
    let (millis, zone) = fraction(rest).ok_or_else(bad)?;
    if zone.is_empty() {
        return Err(InvalidMoment::Zone(text.to_owned()));
    }
    let offset = offset_seconds(zone).ok_or_else(bad)?;
    let seconds = days_before(year, month, day) * DAY_SECONDS + hour * 3600 + minute * 60 + second - offset;
    Ok(seconds * 1000 + millis)
}

/// Milliseconds from `.678…`, and what follows.
fn fraction(rest: &str) -> Option<(i64, &str)> {
    let Some(rest) = rest.strip_prefix('.') else { return Some((0, rest)) };
    let end = rest.find(|digit: char| !digit.is_ascii_digit()).unwrap_or(rest.len());
    let (digits, zone) = rest.split_at(end);
    let millis = digits.bytes().chain(*b"000").take(3).fold(0, |sum, digit| sum * 10 + i64::from(digit - b'0'));
    (!digits.is_empty()).then_some((millis, zone))
}

fn offset_seconds(zone: &str) -> Option<i64> {
    if zone.eq_ignore_ascii_case("z") {
        return Some(0);
    }
    let (sign, digits) = zone.split_at_checked(1)?;
    let (hours, minutes) = digits.split_once(':')?;
    let number = |text: &str, below: i64| {
        let two = text.len() == 2 && text.bytes().all(|byte| byte.is_ascii_digit());
        text.parse().ok().filter(|number: &i64| two && *number < below)
    };
    let seconds = number(hours, 24)? * 3600 + number(minutes, 60)? * 60;
    match sign {
        "+" => Some(seconds),
        "-" => Some(-seconds),
        _ => None,
    }
}

const fn is_leap(year: i64) -> bool {
    year % 4 == 0 && (year % 100 != 0 || year % 400 == 0)
}

const fn days_of(year: i64, month: i64) -> i64 {
    match month {
        2 if is_leap(year) => 29,
        2 => 28,
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    }
}

/// Days between 1970-01-01 and a date from then on.
fn days_before(year: i64, month: i64, day: i64) -> i64 {
    let last = year - 1;
    // Leap days until the end of the year before: 477 of them up to 1969.
    let leap_days = last / 4 - last / 100 + last / 400 - 477;
    let months: i64 = (1..month).map(|month| days_of(year, month)).sum();
    (year - 1970) * 365 + leap_days + months + day - 1
}

/// Shows milliseconds since 1970 as RFC 3339 in UTC; what is before 1970 as its first moment.
pub(crate) struct Utc(pub(crate) i64);

impl fmt::Display for Utc {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // The last moment with a year of four digits.
        let ms = self.0.clamp(0, 253_402_300_799_999);
        let (days, ms_of_day) = (ms / (DAY_SECONDS * 1000), ms % (DAY_SECONDS * 1000));
        let mut year = 1970 + days / 366;
        while days_before(year + 1, 1, 1) <= days {
            year += 1;
        }
        let mut month = 12;
        while days_before(year, month, 1) > days {
            month -= 1;
        }
        let day = days - days_before(year, month, 1) + 1;
        let (hour, minute) = (ms_of_day / 3_600_000, ms_of_day / 60_000 % 60);
        let (second, milli) = (ms_of_day / 1000 % 60, ms_of_day % 1000);
        write!(f, "{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{milli:03}Z")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: i64 = 1_800_000_000_000;

    #[test]
    fn every_form_that_is_documented_is_read() {
        for (text, ms) in [
            ("now", NOW),
            ("earliest", 0),
            ("2h", NOW - 7_200_000),
            ("1d12h", NOW - 129_600_000),
            ("0s", NOW),
            ("1700000000", 1_700_000_000_000),
            ("1700000000.25", 1_700_000_000_250),
            ("1970-01-01T00:00:00Z", 0),
            ("2000-02-29T23:59:60z", 951_868_799_000),
            ("2026-01-31 18:00:00.5+02:30", 1_769_873_400_500),
            ("2026-01-31T18:00:00.123456-01:00", 1_769_886_000_123),
        ] {
            assert_eq!(parse(text, NOW), Ok(ms), "{text}");
        }
    }

    #[test]
    fn what_is_no_time_is_told_with_what_to_write_instead() {
        for text in [
            "",
            "yesterday",
            "-2h",
            "2",
            "2026-02-29T00:00:00Z",
            "2026-13-01T00:00:00Z",
            "1969-12-31T00:00:00Z",
            "2026-01-01T24:00:00Z",
            "2026-01-01T00:00:00+25:00",
            "2026-01-01T00:00:00.Z",
            "2026-01-01T00:00:00 UTC",
            "2026-1-1T00:00:00Z",
            "1.2.3",
            "é026-01-01T00:00:00Z",
            "+026-01-01T00:00:00Z",
        ] {
            let parsed = parse(text, NOW);
            // A plain number is a time long ago.
            assert_eq!(parsed.is_err(), text != "2", "{text}: {parsed:?}");
        }
        assert!(matches!(parse("2026-01-01T00:00:00", NOW), Err(InvalidMoment::Zone(_))));
        assert!(matches!(parse("1700000000000", NOW), Err(InvalidMoment::Seconds(_))));
    }

    #[test]
    fn a_time_that_is_shown_is_read_as_itself() {
        for ms in [0, 1, 951_782_400_000, 951_868_799_999, 1_709_164_800_000, 1_735_689_599_999, 253_402_300_799_999] {
            assert_eq!(parse(&Utc(ms).to_string(), NOW), Ok(ms), "{}", Utc(ms));
        }
        assert_eq!(Utc(1_769_873_400_500).to_string(), "2026-01-31T15:30:00.500Z");
        assert_eq!(Utc(i64::MIN).to_string(), "1970-01-01T00:00:00.000Z");
    }
}
