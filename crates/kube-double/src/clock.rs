//! The wall clock as Kubernetes writes it: RFC 3339 in UTC, whole seconds.

use std::time::{SystemTime, UNIX_EPOCH};

/// The current time, such as `2026-11-20T08:00:00Z`.
pub(crate) fn now() -> String {
    let seconds = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
    written(seconds)
}

/// Seconds since 1970 as a date, by the calendar arithmetic of Howard Hinnant's `civil_from_days`.
fn written(seconds: u64) -> String {
    let (days, rest) = (seconds / 86_400 + 719_468, seconds % 86_400);
    let (era, day_of_era) = (days / 146_097, days % 146_097);
    let year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * shifted + 2) / 5 + 1;
    let month = if shifted < 10 { shifted + 3 } else { shifted - 9 };
    let year = era * 400 + year_of_era + u64::from(month <= 2);
    let (hour, minute, second) = (rest / 3600, rest / 60 % 60, rest % 60);
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}Z")
}

/// Whether this is a date and time of RFC 3339, with a fraction or without.
pub(crate) fn is_date_time(text: &str) -> bool {
    let digits = |from: usize, to: usize| {
        text.get(from..to).filter(|part| part.bytes().all(|b| b.is_ascii_digit())).and_then(|part| part.parse().ok())
    };
    let within = |value: Option<u32>, low: u32, high: u32| value.is_some_and(|value| (low..=high).contains(&value));
    let separators = [(4, b'-'), (7, b'-'), (10, b'T'), (13, b':'), (16, b':')];
    let date = digits(0, 4).is_some()
        && within(digits(5, 7), 1, 12)
        && within(digits(8, 10), 1, 31)
        && within(digits(11, 13), 0, 23)
        && within(digits(14, 16), 0, 59)
        && within(digits(17, 19), 0, 60)
        && separators.iter().all(|(at, byte)| text.as_bytes().get(*at) == Some(byte));
    let Some(rest) = text.get(19..).filter(|_| date) else { return false };
    let zone = match rest.strip_prefix('.') {
        Some(fraction) => {
            let zone = fraction.trim_start_matches(|c: char| c.is_ascii_digit());
            if zone.len() == fraction.len() {
                return false;
            }
            zone
        }
        None => rest,
    };
    let offset = |zone: &str| {
        zone.len() == 6 && zone.starts_with(['+', '-']) && zone.bytes().skip(1).all(|b| b.is_ascii_digit() || b == b':')
    };
    zone == "Z" || offset(zone)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn seconds_are_written_as_dates() {
        for (seconds, date) in [
            (0, "1970-01-01T00:00:00Z"),
            (951_782_400, "2000-02-29T00:00:00Z"),
            (1_795_680_000, "2026-11-26T08:00:00Z"),
            (4_107_542_399, "2100-02-28T23:59:59Z"),
        ] {
            assert_eq!(written(seconds), date);
            assert!(is_date_time(date), "{date}");
        }
    }

    #[test]
    fn dates_are_told_from_what_is_none() {
        for date in ["2026-11-26T08:00:00.000000Z", "2026-11-26T08:00:00+01:00"] {
            assert!(is_date_time(date), "{date}");
        }
        for none in ["", "2026-11-26", "2026-13-26T08:00:00Z", "2026-11-26T08:00:00", "2026-11-26T08:00:00.Z", "soon"] {
            assert!(!is_date_time(none), "{none}");
        }
    }
}
