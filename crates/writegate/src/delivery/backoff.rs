//! How long to wait before an endpoint is tried again.

use std::time::{Duration, SystemTime};

/// The longest `Retry-After` that is obeyed. Prometheus obeys any; a receiver's mistake
/// (a date in the next century) must not stop a delivery for ever.
pub(super) const MAX_RETRY_AFTER: Duration = Duration::from_secs(300);

/// Doubling from `min` to `max`, with jitter that never leaves these bounds.
#[derive(Clone, Copy, Debug)]
pub(super) struct Backoff {
    min: Duration,
    max: Duration,
    current: Duration,
}

impl Backoff {
    pub(super) fn new(min: Duration, max: Duration) -> Self {
        let max = max.max(min);
        Self { min, max, current: min }
    }

    /// The next pause. `retry_after` (already capped) replaces the pause when longer, as the
    /// receiver asked not to be tried earlier.
    pub(super) fn pause(&mut self, retry_after: Option<Duration>) -> Duration {
        let base = self.current;
        self.current = (base * 2).min(self.max);
        if let Some(asked) = retry_after {
            // Up to a tenth later, so that many gateways do not come back in the same instant.
            return asked.max(base) + asked.mul_f64(fastrand::f64() / 10.0);
        }
        base.mul_f64(0.8 + fastrand::f64() * 0.4).clamp(self.min, self.max)
    }

    pub(super) fn reset(&mut self) {
        self.current = self.min;
    }
}

/// Reads a `Retry-After` header (RFC 9110 §10.2.3: seconds or an HTTP date). Past dates, zero and
/// garbage are ignored; huge values are capped at [`MAX_RETRY_AFTER`].
pub(super) fn retry_after(value: &[u8], now: SystemTime) -> Option<Duration> {
    let text = std::str::from_utf8(value).ok()?.trim();
    let asked = if !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit()) {
        text.parse::<u64>().map_or(MAX_RETRY_AFTER, Duration::from_secs)
    } else {
        httpdate::parse_http_date(text).ok()?.duration_since(now).ok()?
    };
    (!asked.is_zero()).then(|| asked.min(MAX_RETRY_AFTER))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_grow_and_stay_within_the_bounds() {
        let (min, max) = (Duration::from_millis(30), Duration::from_secs(5));
        let mut backoff = Backoff::new(min, max);
        let pauses: Vec<Duration> = (0..12).map(|_| backoff.pause(None)).collect();
        assert!(pauses.iter().all(|pause| (min..=max).contains(pause)), "{pauses:?}");
        // Jitter is ±20 %, a doubling is more: the first seven pauses grow strictly.
        assert!(pauses[..7].is_sorted(), "{pauses:?}");
        assert!(pauses[11] >= Duration::from_secs(4), "{pauses:?}");
        backoff.reset();
        assert!(backoff.pause(None) < Duration::from_millis(40));
    }

    #[test]
    fn retry_after_is_never_undercut() {
        let mut backoff = Backoff::new(Duration::from_millis(1), Duration::from_millis(10));
        let asked = Duration::from_secs(3);
        assert!((asked..asked * 2).contains(&backoff.pause(Some(asked))));
    }

    #[test]
    fn retry_after_reads_seconds_and_dates_and_ignores_the_rest() {
        let now = SystemTime::UNIX_EPOCH + Duration::from_secs(1_000_000);
        let date = httpdate::fmt_http_date(now + Duration::from_secs(90));
        let past = httpdate::fmt_http_date(now - Duration::from_secs(90));
        let check = |value: &str, expected: Option<u64>| {
            assert_eq!(retry_after(value.as_bytes(), now), expected.map(Duration::from_secs), "{value:?}");
        };
        check("7", Some(7));
        check(" 7 ", Some(7));
        check(&date, Some(90));
        check(&past, None);
        for garbage in ["", "0", "-5", "soon", "1.5", "7s"] {
            check(garbage, None);
        }
        check("86400", Some(300));
        check("99999999999999999999999999", Some(300));
        assert_eq!(retry_after(&[0xff], now), None);
    }
}
