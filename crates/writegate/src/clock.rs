//! The only place the gateway asks what time it is.

use std::sync::LazyLock;
use std::time::{Instant, SystemTime, UNIX_EPOCH};

/// Milliseconds since the Unix epoch; negative before it.
pub(crate) fn now_ms() -> i64 {
    match now().duration_since(UNIX_EPOCH) {
        Ok(since) => i64::try_from(since.as_millis()).unwrap_or(i64::MAX),
        Err(before) => -i64::try_from(before.duration().as_millis()).unwrap_or(i64::MAX),
    }
}

/// The time of day. In a simulation it is the history's own.
pub(crate) fn now() -> SystemTime {
    #[cfg(test)]
    if let Some(now) = crate::simulation::now() {
        return now;
    }
    SystemTime::now()
}

/// Nanoseconds since this was asked first: a clock that nobody sets.
pub(crate) fn monotonic_ns() -> u64 {
    static FIRST: LazyLock<Instant> = LazyLock::new(Instant::now);
    #[cfg(test)]
    if let Some(uptime) = crate::simulation::uptime() {
        return u64::try_from(uptime.as_nanos()).unwrap_or(u64::MAX);
    }
    u64::try_from(FIRST.elapsed().as_nanos()).unwrap_or(u64::MAX)
}
