//! A data directory with one log per name: opening, creating, ticking, closing.

use std::collections::BTreeMap;
use std::io::{self, IoSlice};
use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;

use crate::cursor_files::CursorFiles;
use crate::cursors::{Cursors, Mark};
use crate::format::{NAME_FILE, TEMPORARY, parse_segment_name};
use crate::log::{Log, Prepared, State, lock};
use crate::names::{self, DirName};
use crate::ranges::Ranges;
use crate::record::AppendError;
use crate::recover::{LogRecovery, Recovered, recover};
use crate::retention::{self, RetentionLimits};
use crate::shared::{CommitStats, Queue, Shared, Tail, TickReport};
use crate::storage::{Access, At, DirLock, IoFailure, Storage, read_full, write_all};
use crate::{commit, janitor};

/// A log to which nothing was appended for this long keeps no file open and nothing written ahead.
const IDLE_MS: i64 = 60_000;
pub(crate) const LOCK_FILE: &str = "LOCK";
pub(crate) const LOGS_DIR: &str = "tenants";

/// Everything a [`Store`] is told at its start.
#[derive(Clone, Debug)]
pub struct StoreOptions {
    /// The data directory; created when absent.
    pub root: PathBuf,
    /// Threads that write and sync; each log has one of them. With none there is no other thread either, and somebody must
    /// call [`Store::work`].
    pub writers: usize,
    /// Bytes of the newest records, over all logs, that stay in memory for readers.
    pub tail_bytes: usize,
    /// See [`Store::set_limits`].
    pub limits: RetentionLimits,
    /// Smallest and largest size of a segment. They grow and shrink in between with a log's rate.
    pub segment_bytes: RangeInclusive<u64>,
    /// Segments of at least this size are written ahead.
    pub write_ahead_from: u64,
}

impl StoreOptions {
    /// Two writers, 8 MiB in memory, segments of 256 KiB to 64 MiB, written ahead from 8 MiB, default limits.
    pub fn new(root: impl Into<PathBuf>) -> Self {
        Self {
            root: root.into(),
            writers: 2,
            tail_bytes: 8 << 20,
            limits: RetentionLimits::default(),
            segment_bytes: 256 << 10..=64 << 20,
            write_ahead_from: 8 << 20,
        }
    }
}

/// What recovery found, an entry per log.
#[derive(Clone, Debug, Default)]
pub struct RecoveryReport {
    /// The logs.
    pub logs: Vec<LogRecovery>,
    /// Directories beside them that are no logs; left as they are.
    pub unreadable: Vec<PathBuf>,
}

/// Why a data directory was not opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The lock is held.
    #[error("open {}: another process is using it", .0.display())]
    Locked(PathBuf),
    /// Written by a program that knows a later format.
    #[error("read {}: it was written by a later version (format {found}, this program reads up to {known})", path.display())]
    NewerVersion {
        /// The file.
        path: PathBuf,
        /// Its version.
        found: u32,
        /// The latest this program reads.
        known: u32,
    },
    /// The storage failed.
    #[error(transparent)]
    Io(#[from] IoFailure),
}

/// Why a log was not created.
#[derive(Debug, thiserror::Error)]
pub enum OpenLogError {
    /// Names have 1 to 255 bytes.
    #[error("create a log with a name of {0} bytes (1 to 255 are allowed)")]
    Name(usize),
    /// The store is closing.
    #[error("create a log while the store is closing")]
    Closing,
    /// It is there and could not be opened.
    #[error(transparent)]
    Open(#[from] OpenError),
    /// The storage failed.
    #[error(transparent)]
    Io(#[from] IoFailure),
}

/// A data directory with one log per name. Dropping it without [`Store::close`] is like a crash: what is queued is
/// refused, and nothing more is synced.
pub struct Store {
    shared: Arc<Shared>,
    logs: Arc<Mutex<BTreeMap<String, Arc<Log>>>>,
    /// Logs without a record for whose cursors a full disk had no room when the store was opened, and their directories.
    unopened: Mutex<BTreeMap<String, PathBuf>>,
    threads: Mutex<Vec<JoinHandle<()>>>,
    closing: AtomicBool,
    /// Held as long as anything may be written.
    lock: Mutex<Option<Box<dyn DirLock>>>,
}

impl std::fmt::Debug for Store {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Store").field("root", &self.shared.root).finish_non_exhaustive()
    }
}

impl Store {
    /// Opens a data directory and recovers its logs.
    ///
    /// # Errors
    /// When another process has it, when a later version wrote it, or when the storage fails. Damage is not an error: it
    /// is in the report.
    pub fn open(options: StoreOptions, storage: Arc<dyn Storage>) -> Result<(Self, RecoveryReport), OpenError> {
        let tenants = options.root.join(LOGS_DIR);
        storage.create_dir(&tenants).at("create", &tenants)?;
        storage.sync_dir(&options.root).at("sync", &options.root)?;
        let lock_path = options.root.join(LOCK_FILE);
        let held = storage.lock(&lock_path).at("lock", &lock_path)?;
        let held = held.ok_or_else(|| OpenError::Locked(options.root.clone()))?;
        let shared = Arc::new(Shared {
            storage,
            root: options.root,
            segment_bytes: options.segment_bytes,
            write_ahead_from: options.write_ahead_from,
            limits: Mutex::new(options.limits),
            now_ms: AtomicI64::new(i64::MIN),
            bytes: AtomicU64::new(0),
            full: AtomicBool::new(false),
            bounds: Mutex::new(()),
            writers: (0..options.writers.max(1)).map(|_| Queue::new()).collect(),
            janitor: Queue::new(),
            tail: Tail::new(options.tail_bytes),
            stats: Mutex::new(CommitStats::default()),
            report: Mutex::new(TickReport::default()),
        });
        let mut report = RecoveryReport::default();
        let (mut logs, mut unopened) = (BTreeMap::new(), BTreeMap::new());
        for entry in shared.storage.list(&tenants).at("list", &tenants)? {
            let dir = tenants.join(&entry.name);
            let Some(name) = name_of(shared.storage.as_ref(), &dir, &entry.name).filter(|_| entry.is_dir) else {
                report.unreadable.push(dir);
                continue;
            };
            let recovered = match recover(&shared.storage, &dir, &name) {
                // Its birth ended half-way for want of space, or all its records are gone, and there is no space still: it
                // must not keep the others from being opened. Whoever asks for it next opens it.
                Err(OpenError::Io(failure)) if failure.is_no_space() && is_unused(shared.storage.as_ref(), &dir) => {
                    report.unreadable.push(dir.clone());
                    unopened.insert(name, dir);
                    continue;
                }
                recovered => recovered?,
            };
            report.logs.push(recovered.report.clone());
            logs.insert(name.clone(), adopt(&shared, logs.len(), name, dir, recovered));
        }
        for log in logs.values() {
            // What may not be durable is written again before anybody can see it. What fails is tried again by the next tick.
            commit::commit_carried(log);
        }
        for entry in &mut report.logs {
            entry.head = logs.get(&entry.name).map_or(entry.head, |log| log.head());
        }
        let logs = Arc::new(Mutex::new(logs));
        let threads = if options.writers == 0 { Ok(Vec::new()) } else { start_threads(&shared, &logs) };
        let threads = threads.at("start threads for", &shared.root)?;
        let (threads, lock, unopened) = (Mutex::new(threads), Mutex::new(Some(held)), Mutex::new(unopened));
        Ok((Self { shared, logs, unopened, threads, closing: AtomicBool::new(false), lock }, report))
    }

    /// The log of that name; created when absent, durably.
    ///
    /// # Errors
    /// When its directory cannot be created, which needs space for its cursors.
    pub fn log(&self, name: &str) -> Result<Arc<Log>, OpenLogError> {
        if !names::is_allowed(name) {
            return Err(OpenLogError::Name(name.len()));
        }
        let mut logs = lock(&self.logs);
        if let Some(log) = logs.get(name) {
            return Ok(Arc::clone(log));
        }
        if self.closing.load(Ordering::Relaxed) {
            return Err(OpenLogError::Closing);
        }
        let mut unopened = lock(&self.unopened);
        let log = match unopened.get(name) {
            Some(dir) => {
                let recovered = recover(&self.shared.storage, dir, name)?;
                adopt(&self.shared, logs.len(), name.to_owned(), dir.clone(), recovered)
            }
            None => create(&self.shared, name, logs.len())?,
        };
        unopened.remove(name);
        logs.insert(name.to_owned(), Arc::clone(&log));
        Ok(log)
    }

    /// The log of that name, if there is one.
    pub fn find_log(&self, name: &str) -> Option<Arc<Log>> {
        lock(&self.logs).get(name).cloned()
    }

    /// All logs, by name.
    pub fn logs(&self) -> Vec<Arc<Log>> {
        lock(&self.logs).values().cloned().collect()
    }

    /// Replaces the limits; the next tick and the next commits follow them.
    pub fn set_limits(&self, limits: RetentionLimits) {
        *lock(&self.shared.limits) = limits;
    }

    /// The limits that hold.
    pub fn limits(&self) -> RetentionLimits {
        self.shared.limits()
    }

    /// Bytes that are left on the file system, as [`RetentionLimits::min_free`] compares them. Asks the storage.
    ///
    /// # Errors
    /// When the file system cannot be examined.
    pub fn free_space(&self) -> Result<u64, IoFailure> {
        self.shared.storage.free_space(&self.shared.root).at("measure the free space of", &self.shared.root)
    }

    /// What has to be done at least once a second: syncs settles, enforces limits, lets appends try again that were refused
    /// for want of space, closes the files of idle logs. Blocks on the disk.
    pub fn tick(&self, now_ms: i64) -> TickReport {
        self.shared.now_ms.store(now_ms, Ordering::Relaxed);
        let logs = self.logs();
        for log in &logs {
            if let Err(failure) = tick_log(log, now_ms) {
                self.shared.report_error(log, failure);
            }
        }
        if let Err(failure) = retention::enforce_total(&self.shared, &logs)
            && let Some(log) = logs.first()
        {
            self.shared.report_error(log, failure);
        }
        std::mem::take(&mut lock(&self.shared.report))
    }

    /// Does at once what waits for the threads: commits what was appended, writes segments ahead. For a store without
    /// threads. Returns whether there was anything.
    pub fn work(&self) -> bool {
        let mut worked = false;
        for queue in &self.shared.writers {
            let ready = queue.drain();
            worked |= !ready.is_empty();
            commit::commit_all(queue, ready.into());
        }
        let jobs = self.shared.janitor.drain();
        worked |= !jobs.is_empty();
        janitor::work(&self.shared, jobs, &|| self.logs());
        worked
    }

    /// Bytes of all segment files, those written ahead included.
    pub fn disk_bytes(&self) -> u64 {
        self.shared.bytes.load(Ordering::Relaxed)
    }

    /// Figures of the group commit since the store was opened.
    pub fn commit_stats(&self) -> CommitStats {
        lock(&self.shared.stats).clone()
    }

    /// Refuses new appends, commits what is queued, syncs the cursors, ends the threads and gives the directory free. Logs
    /// and cursors that are still held refuse every change.
    ///
    /// # Errors
    /// The first failure; the rest is done all the same.
    pub fn close(&self) -> Result<(), IoFailure> {
        self.closing.store(true, Ordering::Relaxed);
        let logs = self.logs();
        for log in &logs {
            lock(&log.state).closed = true;
        }
        self.join();
        while self.work() {}
        let mut result = Ok(());
        for log in &logs {
            retention::drop_prepared(log);
            let mut cursors = lock(&log.cursors);
            let closed = rest(log, &mut cursors);
            cursors.closed = true;
            result = result.and(closed);
        }
        lock(&self.lock).take();
        result
    }

    fn join(&self) {
        for queue in &self.shared.writers {
            queue.stop();
        }
        self.shared.janitor.stop();
        let threads = std::mem::take(&mut *lock(&self.threads));
        for thread in threads {
            // A thread that panicked has nothing more to write.
            drop(thread.join());
        }
    }
}

impl Drop for Store {
    fn drop(&mut self) {
        for log in self.logs() {
            let queued = {
                let mut state = lock(&log.state);
                state.closed = true;
                std::mem::take(&mut state.queue)
            };
            for pending in queued {
                (pending.done)(Err(AppendError::Closing));
            }
            lock(&log.cursors).closed = true;
        }
        self.join();
    }
}

fn start_threads(
    shared: &Arc<Shared>,
    logs: &Arc<Mutex<BTreeMap<String, Arc<Log>>>>,
) -> io::Result<Vec<JoinHandle<()>>> {
    let mut threads = Vec::new();
    for writer in 0..shared.writers.len() {
        let shared = Arc::clone(shared);
        let thread = std::thread::Builder::new().name(format!("log-writer-{writer}"));
        threads.push(thread.spawn(move || commit::run(&shared, writer))?);
    }
    let (shared, logs) = (Arc::clone(shared), Arc::clone(logs));
    let thread = std::thread::Builder::new().name("log-janitor".to_owned());
    threads.push(thread.spawn(move || janitor::run(&shared, &|| lock(&logs).values().cloned().collect()))?);
    Ok(threads)
}

fn tick_log(log: &Arc<Log>, now_ms: i64) -> Result<(), IoFailure> {
    sync_cursors(log)?;
    retention::enforce(log, now_ms)?;
    let mut state = lock(&log.state);
    state.blocked = None;
    let head = state.head;
    let since = match state.ticked {
        Some((ticked, since)) if ticked == head => since,
        _ => now_ms,
    };
    state.ticked = Some((head, since));
    if !state.carried.is_empty() {
        log.schedule(state);
        return Ok(());
    }
    if now_ms.saturating_sub(since) <= IDLE_MS || state.committing || !state.queue.is_empty() {
        return Ok(());
    }
    // Nothing is coming: an active segment that would have gone by age goes too.
    let aged = now_ms.saturating_sub(lock(&log.shared.limits).retain_ms);
    if state.segments.back().is_some_and(|last| last.last_received_ms < aged) {
        commit::seal(&mut state);
    }
    state.active = None;
    drop(state);
    retention::drop_prepared(log);
    rest(log, &mut lock(&log.cursors))
}

/// Syncs the cursors of a log without keeping settles waiting, unless the file has to be changed.
fn sync_cursors(log: &Log) -> Result<(), IoFailure> {
    let mut cursors = lock(&log.cursors);
    let Some(files) = cursors.files_to_sync()? else { return Ok(()) };
    let file = files.start_sync()?;
    drop(cursors);
    let result = file.sync();
    lock(&log.cursors).files().synced(&file, result)
}

/// Writes down that everything is durable, so that nothing is written again at the next start, and closes the cursor file.
fn rest(log: &Log, cursors: &mut Cursors) -> Result<(), IoFailure> {
    let mark = {
        let state = lock(&log.state);
        Mark { durable: state.head, totals: state.totals }
    };
    if mark.durable > 0 {
        cursors.set_mark(mark)?;
    }
    cursors.sync()?;
    cursors.files().close();
    Ok(())
}

/// Makes a log of what was recovered.
fn adopt(shared: &Arc<Shared>, number: usize, name: String, dir: PathBuf, recovered: Recovered) -> Arc<Log> {
    let Recovered { segments, cursors, head, carried, .. } = recovered;
    let bytes = segments.iter().map(|segment| segment.len).sum();
    shared.bytes.fetch_add(bytes, Ordering::Relaxed);
    let target = segments.back().map_or(0, |last| last.len.next_power_of_two());
    let state = State {
        segments,
        head: head.durable,
        totals: head.totals,
        active: None,
        queue: std::collections::VecDeque::new(),
        carried,
        scheduled: false,
        committing: false,
        seal: false,
        closed: false,
        blocked: None,
        tail: std::collections::VecDeque::new(),
        prepared: Prepared::None,
        target: target.clamp(*shared.segment_bytes.start(), *shared.segment_bytes.end()),
        bytes,
        max_size: None,
        on_full: None,
        damaged: Ranges::new(0),
        ticked: None,
    };
    Arc::new(Log {
        name,
        dir,
        writer: number % shared.writers.len(),
        shared: Arc::clone(shared),
        cursors: Mutex::new(cursors),
        state: Mutex::new(state),
        listeners: Mutex::new(Vec::new()),
    })
}

/// Creates a log's directory with its cursor files.
fn create(shared: &Arc<Shared>, name: &str, number: usize) -> Result<Arc<Log>, IoFailure> {
    let storage = shared.storage.as_ref();
    let tenants = shared.root.join(LOGS_DIR);
    let dir = match names::encode(name) {
        DirName::Whole(dir_name) => tenants.join(dir_name),
        DirName::Prefix(prefix) => tenants.join(free_name(storage, &tenants, &prefix)?),
    };
    storage.create_dir(&dir).at("create", &dir)?;
    let cursors = give_birth(shared, &dir, name).inspect_err(|_failure| {
        // What a full disk let it write is given back; what cannot be removed is found and finished later.
        for entry in storage.list(&dir).unwrap_or_default() {
            storage.remove(&dir.join(entry.name)).unwrap_or_default();
        }
    })?;
    storage.sync_dir(&tenants).at("sync", &tenants)?;
    let recovered = Recovered {
        segments: std::collections::VecDeque::new(),
        cursors,
        head: Mark::default(),
        carried: Vec::new(),
        report: LogRecovery::default(),
    };
    Ok(adopt(shared, number, name.to_owned(), dir, recovered))
}

/// Whether a log's directory has no segment.
fn is_unused(storage: &dyn Storage, dir: &Path) -> bool {
    storage.list(dir).is_ok_and(|entries| entries.iter().all(|entry| parse_segment_name(&entry.name).is_none()))
}

/// Writes what a log needs before its first record.
fn give_birth(shared: &Arc<Shared>, dir: &Path, name: &str) -> Result<Cursors, IoFailure> {
    let storage = shared.storage.as_ref();
    if names::decode(&dir.file_name().unwrap_or_default().to_string_lossy()).is_none() {
        write_name(storage, dir, name)?;
    }
    let mut cursors = Cursors::new(CursorFiles::new(Arc::clone(&shared.storage), dir), None);
    cursors.create()?;
    storage.sync_dir(dir).at("sync", dir)?;
    Ok(cursors)
}

fn free_name(storage: &dyn Storage, tenants: &Path, prefix: &str) -> Result<String, IoFailure> {
    let taken: Vec<String> = storage.list(tenants).at("list", tenants)?.into_iter().map(|entry| entry.name).collect();
    let mut number = 0u64;
    loop {
        let name = format!("{prefix}{number}");
        if !taken.contains(&name) {
            return Ok(name);
        }
        number += 1;
    }
}

fn write_name(storage: &dyn Storage, dir: &Path, name: &str) -> Result<(), IoFailure> {
    let path = dir.join(NAME_FILE);
    let temporary = dir.join(format!("{NAME_FILE}{TEMPORARY}"));
    let file = storage.open(&temporary, Access::Create).at("create", &temporary)?;
    write_all(file.as_ref(), &mut [IoSlice::new(name.as_bytes())], 0).at("write", &temporary)?;
    file.sync().at("sync", &temporary)?;
    storage.rename(&temporary, &path).at("rename", &temporary)
}

/// The log's name by its directory's, or by the file in it.
pub(crate) fn name_of(storage: &dyn Storage, dir: &Path, dir_name: &str) -> Option<String> {
    if let Some(name) = names::decode(dir_name) {
        return Some(name);
    }
    let file = storage.open(&dir.join(NAME_FILE), Access::Read).ok()?;
    let mut bytes = vec![0; names::MAX_NAME];
    let read = read_full(file.as_ref(), &mut bytes, 0).ok()?;
    bytes.truncate(read);
    String::from_utf8(bytes).ok().filter(|name| names::is_allowed(name))
}
