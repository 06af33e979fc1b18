//! What a durable append costs beside a bare `fdatasync` on the same disk, and how long a log of many segments takes to open.
//! Set `TMPDIR` to the disk that is to be measured.
#![expect(clippy::unwrap_used, reason = "a benchmark that cannot run shall stop")]

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::mpsc::channel;
use std::sync::{Arc, Barrier};
use std::time::{Duration, Instant};

use bytes::Bytes;
use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use segment_log::{Entry, FileStorage, Log, RetentionLimits, Store, StoreOptions};

const RECORD: usize = 64 << 10;

fn open(root: &Path, segment: u64) -> Store {
    // Records are kept for a moment only, as behind cursors that keep up: files are recycled.
    let limits = RetentionLimits { retain_ms: -1, max_size: 1 << 30, ..RetentionLimits::default() };
    let options = StoreOptions { limits, segment_bytes: 256 << 10..=segment, ..StoreOptions::new(root) };
    Store::open(options, Arc::new(FileStorage)).unwrap().0
}

fn append(log: &Arc<Log>, body: &Bytes) {
    let (sender, receiver) = channel();
    let entry = Entry { received_ms: 0, counts: [1000, 0, 0], meta: Bytes::new(), body: body.clone() };
    log.append(entry, Box::new(move |result| sender.send(result).unwrap_or_default()));
    receiver.recv().unwrap().unwrap();
}

/// The time for `records` appends by so many threads that each wait for their answer.
fn append_by(store: &Store, log: &Arc<Log>, threads: u64, records: u64) -> Duration {
    let body = Bytes::from((0..RECORD).map(|i| (i * 31) as u8).collect::<Vec<_>>());
    let start = Barrier::new(threads as usize + 1);
    std::thread::scope(|scope| {
        let workers: Vec<_> = (0..threads)
            .map(|thread| {
                let (start, body) = (&start, &body);
                scope.spawn(move || {
                    start.wait();
                    for _ in 0..(records + thread) / threads {
                        append(log, body);
                    }
                })
            })
            .collect();
        start.wait();
        let began = Instant::now();
        while workers.iter().any(|worker| !worker.is_finished()) {
            store.tick(1);
            std::thread::park_timeout(Duration::from_millis(20));
        }
        began.elapsed()
    })
}

fn appends(c: &mut Criterion) {
    let dir = tempfile::tempdir().unwrap();
    let mut group = c.benchmark_group("append of 64 KiB");
    group.throughput(Throughput::Bytes(RECORD as u64)).sample_size(10).measurement_time(Duration::from_secs(3));

    group.bench_function("bare write and fdatasync, written ahead", |b| {
        let file = File::create(dir.path().join("bare")).unwrap();
        file.write_all_at(&vec![0; 64 << 20], 0).unwrap();
        file.sync_all().unwrap();
        let body = vec![7; RECORD];
        let mut at = 0;
        b.iter(|| {
            file.write_all_at(&body, at).unwrap();
            file.sync_data().unwrap();
            at = (at + RECORD as u64) % (64 << 20);
        });
    });
    group.bench_function("bare write and fdatasync, growing", |b| {
        let file = File::create(dir.path().join("growing")).unwrap();
        let body = vec![7; RECORD];
        let mut at = 0;
        b.iter(|| {
            file.write_all_at(&body, at).unwrap();
            file.sync_data().unwrap();
            at += RECORD as u64;
        });
    });
    for (name, segment, threads) in [
        ("log, small segments, alone", 4 << 20, 1),
        ("log, written ahead, alone", 64 << 20, 1),
        ("log, written ahead, 16 at once", 64 << 20, 16),
        ("log, written ahead, 64 at once", 64 << 20, 64),
    ] {
        let store = open(&dir.path().join(name), segment);
        let log = store.log("bench").unwrap();
        // Until segments have grown to their size.
        append_by(&store, &log, 16, 4000);
        group.bench_function(name, |b| b.iter_custom(|records| append_by(&store, &log, threads, records)));
    }
    group.finish();
}

fn opens(c: &mut Criterion) {
    let dir = tempfile::tempdir().unwrap();
    let mut group = c.benchmark_group("open");
    group.sample_size(10).measurement_time(Duration::from_secs(2));
    for (name, segment, records) in
        [("320 segments of 256 KiB", 256 << 10, 960), ("one segment of 64 MiB", 64 << 20, 1010)]
    {
        let root = dir.path().join(name);
        let options =
            StoreOptions { segment_bytes: segment..=segment, write_ahead_from: u64::MAX, ..StoreOptions::new(&root) };
        let store = Store::open(options.clone(), Arc::new(FileStorage)).unwrap().0;
        let log = store.log("bench").unwrap();
        let body = Bytes::from(vec![7; RECORD]);
        for _ in 0..records {
            append(&log, &body);
        }
        store.close().unwrap();
        group.bench_function(name, |b| {
            b.iter(|| Store::open(options.clone(), Arc::new(FileStorage)).unwrap().0.close().unwrap());
        });
    }
    group.finish();
}

criterion_group!(benches, appends, opens);
criterion_main!(benches);
