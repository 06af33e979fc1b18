//! A file of the log with other bytes in it: opened, read, appended to, and opened again.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::mpsc::channel;

use bytes::Bytes;
use segment_log::testing::SimulatedStorage;
use segment_log::{Entry, Log, OpenError, Read, RetentionLimits, Start, Store, StoreOptions};

/// Which file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Damaged {
    Segment,
    Cursors,
}

/// The first byte says which of the files; two more say where the rest goes, or that it is the whole file.
pub(crate) fn run(damaged: Damaged, data: &[u8]) {
    let [which, low, high, bytes @ ..] = data else { return };
    let storage = SimulatedStorage::new();
    let store = open(&storage).expect("a new store");
    let log = store.log("a").expect("a new log");
    let cursor = log.cursor("c", Start::Oldest).expect("a new cursor");
    for number in 0..12_u8 {
        append(&store, &log, number);
    }
    cursor
        .settle(&[(0, [1, 2, 3]), (2, [1, 2, 3])], &mut |_, books| books.extend_from_slice(b"books"))
        .expect("settled");
    drop((cursor, log));
    store.close().expect("closed");
    drop(store);

    let is_it = |path: &&PathBuf| path.extension().is_some_and(|it| it == "seg") == (damaged == Damaged::Segment);
    let files = storage.files(Path::new("/data/tenants"));
    let files: Vec<_> = files.iter().filter(is_it).collect();
    let Some(path) = files.get(usize::from(*which) % files.len().max(1)) else { return };
    let at = usize::from(u16::from_le_bytes([*low, *high]));
    storage.edit(path, |file| {
        if at == usize::from(u16::MAX) {
            *file = bytes.to_vec();
        } else {
            let at = at % (file.len() + 1);
            let end = (at + bytes.len()).max(file.len());
            file.resize(end, 0);
            file[at..at + bytes.len()].copy_from_slice(bytes);
        }
    });

    for round in 0..2 {
        let store = match open(&storage) {
            Ok(store) => store,
            // A later version's file is refused by name, and what cannot be a log is left alone.
            Err(OpenError::NewerVersion { .. }) => return,
            Err(error) => panic!("{error}"),
        };
        let Some(log) = store.find_log("a") else { return };
        read_all(&log);
        let before = log.head();
        append(&store, &log, 100 + round);
        assert_eq!(log.head(), before + 1);
        let last = read_all(&log);
        assert_eq!(last, Some(before), "what was appended after the damage is read");
        if let Some(cursor) = log.find_cursor("c") {
            let balance = cursor.balance();
            for kind in 0..3 {
                assert!(balance.settled[kind] + balance.expired[kind] <= balance.accepted[kind], "{balance:?}");
            }
        }
        // Ends as a kill does.
    }
}

fn open(storage: &SimulatedStorage) -> Result<Store, OpenError> {
    let options = StoreOptions {
        writers: 0,
        tail_bytes: 0,
        limits: RetentionLimits { min_free: 0, ..RetentionLimits::default() },
        segment_bytes: 1024..=1024,
        write_ahead_from: u64::MAX,
        ..StoreOptions::new("/data")
    };
    Store::open(options, Arc::new(storage.clone())).map(|(store, _)| store)
}

fn append(store: &Store, log: &Arc<Log>, number: u8) {
    let body = Bytes::from(vec![number; 100 + usize::from(number)]);
    let entry = Entry { received_ms: i64::from(number), counts: [1, 2, 3], meta: Bytes::from_static(b"meta"), body };
    let (done, told) = channel();
    log.append(entry, Box::new(move |result| done.send(result).unwrap_or_default()));
    while store.work() {}
    told.try_recv().expect("an answer").expect("an append");
}

/// Reads to the end; gives the last record's position.
fn read_all(log: &Arc<Log>) -> Option<u64> {
    let (mut reader, mut last, mut read) = (log.reader(0), None, Vec::new());
    while reader.position() < log.head() {
        let from = reader.position();
        reader.read(4096, 8, &mut read).expect("a disk that is well");
        for read in read.drain(..) {
            match read {
                Read::Record(record) => last = Some(record.position),
                Read::Gap { from, to, .. } => assert!(from < to),
            }
        }
        assert!(reader.position() > from, "reading goes on");
    }
    last
}
