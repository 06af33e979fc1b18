//! From the configuration's words to the log's limits in bytes.

use std::io;

use segment_log::RetentionLimits;
use writegate_config::{Log, OnFull, Size};

/// The limits of a log configuration; the data directory must exist, since a size in percent is of its file system.
///
/// # Errors
/// When the file system cannot be examined.
pub(crate) fn limits(log: &Log) -> io::Result<RetentionLimits> {
    let max_total = match log.max_total_size {
        Size::Bytes(bytes) => bytes,
        Size::Percent(percent) => {
            let file_system = rustix::fs::statvfs(&log.path)?;
            let bytes = file_system.f_frsize.saturating_mul(file_system.f_blocks);
            bytes / 100 * u64::from(percent)
        }
    };
    Ok(RetentionLimits {
        retain_ms: i64::try_from(log.retain.as_millis()).unwrap_or(i64::MAX),
        max_size: log.max_size,
        max_total,
        min_free: log.min_free,
        on_full: on_full(log.on_full),
    })
}

/// What a full log does.
pub(crate) const fn on_full(configured: OnFull) -> segment_log::OnFull {
    match configured {
        OnFull::DropOldest => segment_log::OnFull::DropOldest,
        OnFull::Refuse => segment_log::OnFull::Refuse,
    }
}
