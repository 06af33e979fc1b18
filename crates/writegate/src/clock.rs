//! Wall-clock time: the only place the gateway asks what time it is.

use std::time::{SystemTime, UNIX_EPOCH};

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
