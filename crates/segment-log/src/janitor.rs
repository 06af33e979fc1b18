//! The thread beside the writers: writes segments ahead, and looks at the bounds of all logs when one rolls, so that no append
//! waits for either.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use crate::format::PREPARED;
use crate::log::{Log, Prepared, lock};
use crate::retention;
use crate::shared::{Job, Shared};
use crate::storage::{Access, At, IoFailure, StorageFile, write_zeros};

/// The janitor thread's life. `logs` lists all logs there are.
pub(crate) fn run(shared: &Shared, logs: &dyn Fn() -> Vec<Arc<Log>>) {
    while let Some(jobs) = shared.janitor.wait() {
        work(shared, jobs, logs);
    }
}

/// Does these jobs.
pub(crate) fn work(shared: &Shared, jobs: VecDeque<Job>, logs: &dyn Fn() -> Vec<Arc<Log>>) {
    let mut bounds = false;
    for job in jobs {
        match job {
            Job::Prepare(log, size) => prepare(&log, size),
            Job::Bounds => bounds = true,
        }
    }
    if bounds {
        let logs = logs();
        if let Err(failure) = retention::enforce_total(shared, &logs)
            && let Some(log) = logs.first()
        {
            shared.report_error(log, failure);
        }
    }
}

fn prepare(log: &Log, size: u64) {
    let result = if lock(&log.state).closed { Ok(None) } else { write_ahead(log, size) };
    let mut state = lock(&log.state);
    match result {
        // A segment was recycled meanwhile, or there is no room for one.
        Ok(None) => {
            if matches!(state.prepared, Prepared::Requested) {
                state.prepared = Prepared::None;
            }
        }
        Ok(Some(file)) => {
            state.prepared = Prepared::Ready { file, size };
            state.bytes += size;
            log.shared.bytes.fetch_add(size, Ordering::Relaxed);
        }
        Err(failure) => {
            state.prepared = Prepared::None;
            drop(state);
            // Without it the next segment is appended to plainly; a disk without space is no news here.
            drop(log.shared.storage.remove(&log.dir.join(PREPARED)));
            if !failure.is_no_space() {
                log.shared.report_error(log, failure);
            }
        }
    }
}

fn write_ahead(log: &Log, size: u64) -> Result<Option<Arc<dyn StorageFile>>, IoFailure> {
    let recycled = retention::make_room_ahead(log, size)?;
    if recycled || matches!(lock(&log.state).prepared, Prepared::Ready { .. }) {
        return Ok(None);
    }
    let limits = log.shared.limits();
    let max_size = lock(&log.state).max_size.unwrap_or(limits.max_size);
    let free = log.shared.storage.free_space(&log.shared.root).at("measure the free space of", &log.shared.root)?;
    let total = log.shared.bytes.load(Ordering::Relaxed);
    let fits = log.bytes() + size <= max_size
        && total.saturating_add(size) <= limits.max_total
        && free >= limits.min_free.saturating_add(size);
    if !fits {
        return Ok(None);
    }
    let path = log.dir.join(PREPARED);
    let file = log.shared.storage.open(&path, Access::Create).at("create", &path)?;
    let written = file.write_zeros_uncached(size).at("write", &path)?;
    write_zeros(file.as_ref(), written, size).at("write", &path)?;
    file.sync().at("sync", &path)?;
    Ok(Some(file))
}
