//! What all logs of a store share: storage, limits, the writers' and the janitor's queues, the bound on cached records,
//! and the figures of the group commit.

use std::collections::VecDeque;
use std::fmt;
use std::ops::RangeInclusive;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::Duration;

use crate::Counts;
use crate::log::{Log, lock};
use crate::record::Record;
use crate::retention::RetentionLimits;
use crate::storage::{IoFailure, Storage};

/// Upper bounds in seconds of [`CommitStats::sync_buckets`].
pub const SYNC_BUCKETS: [f64; 12] = [0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.5, 2.0];

/// Cumulative figures of the group commit since the store was opened.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct CommitStats {
    /// Commits that became durable: one write and one sync each.
    pub commits: u64,
    /// Commits that failed.
    pub failures: u64,
    /// Records made durable.
    pub records: u64,
    /// Bytes of their meta and bodies.
    pub bytes: u64,
    /// Sum of the syncs' durations in seconds.
    pub sync_seconds: f64,
    /// How many syncs took at most [`SYNC_BUCKETS`]`[i]` seconds; each includes those before it.
    pub sync_buckets: [u64; SYNC_BUCKETS.len()],
}

/// Records that went before a cursor had settled them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Expired {
    /// The log's name.
    pub log: String,
    /// The cursor's name.
    pub cursor: String,
    /// What they held.
    pub counts: Counts,
}

/// Something that could not be done beside the appends, and is tried again by the next tick.
#[derive(Clone, Debug)]
pub struct TickError {
    /// The log's name.
    pub log: String,
    /// What failed.
    pub error: IoFailure,
}

/// What [`crate::Store::tick`] did, and what writers did on their own since the one before.
#[derive(Clone, Debug, Default)]
pub struct TickReport {
    /// What retention took from cursors that still needed it.
    pub expired: Vec<Expired>,
    /// Segments deleted.
    pub deleted_segments: u64,
    /// Of them, those whose file is used again.
    pub recycled_segments: u64,
    /// What failed.
    pub errors: Vec<TickError>,
}

pub(crate) struct Shared {
    pub(crate) storage: Arc<dyn Storage>,
    pub(crate) root: PathBuf,
    pub(crate) segment_bytes: RangeInclusive<u64>,
    pub(crate) write_ahead_from: u64,
    pub(crate) limits: Mutex<RetentionLimits>,
    /// The time at the last tick, in milliseconds since 1970.
    pub(crate) now_ms: AtomicI64,
    /// Bytes of all logs.
    pub(crate) bytes: AtomicU64,
    /// All logs together are over their bound, and nothing may be dropped: appends are refused.
    pub(crate) full: AtomicBool,
    /// Held by whoever measures how much is over the bounds of all logs together, until it is freed.
    pub(crate) bounds: Mutex<()>,
    pub(crate) writers: Vec<Queue<Arc<Log>>>,
    pub(crate) janitor: Queue<Job>,
    pub(crate) tail: Tail,
    pub(crate) stats: Mutex<CommitStats>,
    /// What happened since the last tick.
    pub(crate) report: Mutex<TickReport>,
}

/// Work beside the appends, done by the janitor's thread.
pub(crate) enum Job {
    /// Write the next segment ahead, with so many bytes.
    Prepare(Arc<Log>, u64),
    /// Look at the bounds of all logs together.
    Bounds,
}

impl fmt::Debug for Shared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Shared").field("root", &self.root).finish_non_exhaustive()
    }
}

impl Shared {
    pub(crate) fn limits(&self) -> RetentionLimits {
        lock(&self.limits).clone()
    }

    pub(crate) fn count_commit(&self, took: Duration, records: &[Arc<Record>]) {
        let mut stats = lock(&self.stats);
        stats.commits += 1;
        stats.records += records.len() as u64;
        stats.bytes += records.iter().map(|record| (record.meta.len() + record.body.len()) as u64).sum::<u64>();
        let seconds = took.as_secs_f64();
        stats.sync_seconds += seconds;
        for (bucket, bound) in stats.sync_buckets.iter_mut().zip(SYNC_BUCKETS) {
            *bucket += u64::from(seconds <= bound);
        }
    }

    pub(crate) fn report_error(&self, log: &Log, error: IoFailure) {
        lock(&self.report).errors.push(TickError { log: log.name.clone(), error });
    }
}

/// Things handed from many threads to one.
pub(crate) struct Queue<T> {
    inner: Mutex<(VecDeque<T>, bool)>,
    wake: Condvar,
}

impl<T> Queue<T> {
    pub(crate) fn new() -> Self {
        Self { inner: Mutex::new((VecDeque::new(), false)), wake: Condvar::new() }
    }

    pub(crate) fn push(&self, item: T) {
        lock(&self.inner).0.push_back(item);
        self.wake.notify_one();
    }

    /// Everything that is there, without waiting.
    pub(crate) fn drain(&self) -> VecDeque<T> {
        std::mem::take(&mut lock(&self.inner).0)
    }

    /// Waits for something; `None` once the queue is stopped and empty.
    pub(crate) fn wait(&self) -> Option<VecDeque<T>> {
        let inner = lock(&self.inner);
        let waiting = |(items, stopped): &mut (VecDeque<T>, bool)| items.is_empty() && !*stopped;
        let mut inner = self.wake.wait_while(inner, waiting).unwrap_or_else(PoisonError::into_inner);
        let items = std::mem::take(&mut inner.0);
        (!items.is_empty()).then_some(items)
    }

    /// Lets the thread end when it has done everything.
    pub(crate) fn stop(&self) {
        lock(&self.inner).1 = true;
        self.wake.notify_all();
    }
}

/// Bounds the records that all logs keep in memory: the oldest go first, whosever they are.
pub(crate) struct Tail {
    limit: usize,
    inner: Mutex<TailEntries>,
}

#[derive(Default)]
struct TailEntries {
    bytes: usize,
    /// Per commit: its log, how many records, their bytes.
    commits: VecDeque<(std::sync::Weak<Log>, usize, usize)>,
}

impl Tail {
    pub(crate) fn new(limit: usize) -> Self {
        Self { limit, inner: Mutex::new(TailEntries::default()) }
    }

    /// Notes that a commit's records are in a log's tail, and takes the oldest out of theirs.
    pub(crate) fn add(&self, log: &Arc<Log>, records: usize, bytes: usize) {
        let mut evicted = Vec::new();
        {
            let mut inner = lock(&self.inner);
            inner.bytes += bytes;
            inner.commits.push_back((Arc::downgrade(log), records, bytes));
            while inner.bytes > self.limit {
                let Some((log, records, bytes)) = inner.commits.pop_front() else { break };
                inner.bytes = inner.bytes.saturating_sub(bytes);
                evicted.push((log, records));
            }
        }
        for (log, records) in evicted {
            if let Some(log) = log.upgrade() {
                let gone: Vec<_> = {
                    let mut state = lock(&log.state);
                    let count = records.min(state.tail.len());
                    state.tail.drain(..count).collect()
                };
                // Freed outside the lock: bodies may be large.
                drop(gone);
            }
        }
    }
}
