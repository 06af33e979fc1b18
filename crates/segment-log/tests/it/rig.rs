//! A store over a simulated disk, with small segments and calls that wait for their answer.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, channel};

use bytes::Bytes;
use segment_log::testing::SimulatedStorage;
use segment_log::{
    AppendError, Counts, Cursor, Entry, GapCause, Log, OnFull, Position, Read, RecoveryReport, RetentionLimits, Store,
    StoreOptions,
};

pub(crate) const ROOT: &str = "/data";

pub(crate) fn options() -> StoreOptions {
    StoreOptions {
        tail_bytes: 0,
        limits: RetentionLimits {
            retain_ms: i64::MAX,
            max_size: u64::MAX,
            max_total: u64::MAX,
            min_free: 0,
            on_full: OnFull::DropOldest,
        },
        segment_bytes: 4096..=4096,
        write_ahead_from: u64::MAX,
        ..StoreOptions::new(ROOT)
    }
}

pub(crate) struct Rig {
    pub(crate) storage: SimulatedStorage,
    pub(crate) options: StoreOptions,
    pub(crate) store: Option<Store>,
}

impl Rig {
    pub(crate) fn new(options: StoreOptions) -> Self {
        let mut rig = Self { storage: SimulatedStorage::new(), options, store: None };
        rig.open();
        rig
    }

    pub(crate) fn open(&mut self) -> RecoveryReport {
        let (store, report) = Store::open(self.options.clone(), Arc::new(self.storage.clone())).unwrap();
        self.store = Some(store);
        report
    }

    pub(crate) fn store(&self) -> &Store {
        self.store.as_ref().unwrap()
    }

    pub(crate) fn log(&self) -> Arc<Log> {
        self.store().log("a").unwrap()
    }

    /// As `kill -9` does: what was written stays, synced or not.
    pub(crate) fn kill(&mut self) -> RecoveryReport {
        self.store = None;
        self.open()
    }

    pub(crate) fn power_cut(&mut self, seed: u64) -> RecoveryReport {
        self.store = None;
        self.storage.power_cut(seed);
        self.open()
    }

    pub(crate) fn reopen(&mut self) -> RecoveryReport {
        self.store.take().unwrap().close().unwrap();
        self.open()
    }

    /// The files of log `a` that are segments.
    pub(crate) fn segments(&self) -> Vec<PathBuf> {
        let mut files = self.storage.files(Path::new("/data/tenants/a"));
        files.retain(|path| path.extension().is_some_and(|extension| extension == "seg"));
        files
    }
}

pub(crate) fn entry(received_ms: i64, body: impl Into<Bytes>) -> Entry {
    Entry { received_ms, counts: [1, 10, 100], meta: Bytes::from_static(b"meta"), body: body.into() }
}

pub(crate) fn send(log: &Arc<Log>, entry: Entry) -> Receiver<Result<Position, AppendError>> {
    let (sender, receiver) = channel();
    log.append(entry, Box::new(move |result| sender.send(result).unwrap_or_default()));
    receiver
}

pub(crate) fn try_append(log: &Arc<Log>, entry: Entry) -> Result<Position, AppendError> {
    send(log, entry).recv().unwrap()
}

pub(crate) fn append(log: &Arc<Log>, received_ms: i64, body: impl Into<Bytes>) -> Position {
    try_append(log, entry(received_ms, body)).unwrap()
}

/// Everything from a position on: positions with bodies, and gaps as (from, to, counts, cause).
pub(crate) type Seen = (Vec<(Position, Bytes)>, Vec<(Position, Position, Counts, GapCause)>);

pub(crate) fn read_from(log: &Arc<Log>, from: Position) -> Seen {
    let mut reader = log.reader(from);
    let (mut records, mut gaps, mut out) = (Vec::new(), Vec::new(), Vec::new());
    while reader.position() < log.head() {
        reader.read(1000, 3, &mut out).unwrap();
        for read in out.drain(..) {
            match read {
                Read::Record(record) => records.push((record.position, record.body.clone())),
                Read::Gap { from, to, counts, cause } => gaps.push((from, to, counts, cause)),
            }
        }
    }
    (records, gaps)
}

pub(crate) fn positions(log: &Arc<Log>) -> Vec<Position> {
    read_from(log, log.oldest()).0.into_iter().map(|(position, _)| position).collect()
}

/// Settles one record of [`entry`]'s counts.
pub(crate) fn settle(cursor: &Cursor, position: Position) -> bool {
    let mut newly = false;
    let book = &mut |flags: &[bool], books: &mut Vec<u8>| {
        newly = flags[0];
        books.push(position as u8);
    };
    cursor.settle(&[(position, [1, 10, 100])], book).unwrap();
    newly
}

pub(crate) fn times(n: u64) -> Counts {
    [n, 10 * n, 100 * n]
}

#[track_caller]
pub(crate) fn assert_balanced(cursor: &Cursor) {
    let balance = cursor.balance();
    for i in 0..3 {
        assert_eq!(balance.accepted[i], balance.settled[i] + balance.expired[i] + balance.pending[i], "{balance:?}");
    }
}
