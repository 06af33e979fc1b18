//! Appending and reading without faults.

use std::sync::mpsc::channel;
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use segment_log::testing::Operation;
use segment_log::{AppendError, Read, StoreOptions};

use crate::rig::{Rig, append, entry, options, positions, read_from, send, times, try_append};

#[test]
fn records_are_read_back_in_order_from_memory_and_from_disk() {
    for tail_bytes in [0, 500, 1 << 20] {
        let rig = Rig::new(StoreOptions { tail_bytes, ..options() });
        let log = rig.log();
        let bodies: Vec<Bytes> = (0..100u8).map(|i| vec![i; 37 * usize::from(i)].into()).collect();
        for (i, body) in bodies.iter().enumerate() {
            assert_eq!(append(&log, i as i64, body.clone()), i as u64);
        }
        let (records, gaps) = read_from(&log, 0);
        assert_eq!(records, (0..).zip(bodies).collect::<Vec<_>>());
        assert_eq!(gaps, []);
        assert_eq!((log.head(), log.oldest(), log.totals()), (100, 0, times(100)));
        assert_eq!(positions(&log).len(), 100);
        assert_eq!(log.totals_at(63).unwrap(), times(63));
        assert!(log.totals_at(101).is_err());
    }
}

#[test]
fn every_field_of_a_record_survives_a_restart() {
    let mut rig = Rig::new(options());
    let mut written = entry(-77, "body");
    written.counts = [u64::MAX / 4, 0, 1];
    try_append(&rig.log(), written).unwrap();
    rig.reopen();
    let mut out = Vec::new();
    rig.log().reader(0).read(100, 100, &mut out).unwrap();
    let [Read::Record(record)] = out.as_slice() else { panic!("{out:?}") };
    assert_eq!((record.position, record.received_ms, record.counts), (0, -77, [u64::MAX / 4, 0, 1]));
    assert_eq!((record.meta.as_ref(), record.body.as_ref()), (&b"meta"[..], &b"body"[..]));
}

#[test]
fn reading_keeps_to_its_bounds_and_takes_at_least_one_record() {
    let rig = Rig::new(StoreOptions { tail_bytes: 1 << 20, ..options() });
    let log = rig.log();
    for _ in 0..10 {
        append(&log, 0, vec![7; 96]);
    }
    let cases = [(1, 9, 1), (100, 9, 1), (101, 9, 2), (9999, 4, 4), (9999, 99, 10)];
    for (max_bytes, max_records, expected) in cases {
        let mut out = Vec::new();
        assert!(log.reader(0).cached(max_bytes, max_records, &mut out));
        assert_eq!(out.len(), expected, "cached {max_bytes} bytes, {max_records} records");
    }
    drop(log);
    let rig = Rig { options: options(), ..rig };
    let mut rig = rig;
    rig.reopen();
    for (max_bytes, max_records, expected) in cases {
        let mut out = Vec::new();
        let mut reader = rig.log().reader(0);
        assert!(!reader.cached(max_bytes, max_records, &mut out));
        reader.read(max_bytes, max_records, &mut out).unwrap();
        assert_eq!(out.len(), expected, "read {max_bytes} bytes, {max_records} records");
    }
}

#[test]
fn a_live_reader_never_touches_the_disk() {
    let rig = Rig::new(StoreOptions { tail_bytes: 1 << 20, ..options() });
    let log = rig.log();
    let mut readers = [log.reader(0), log.reader(0)];
    let mut out = Vec::new();
    for i in 0..50 {
        append(&log, 0, vec![1; 200]);
        for reader in &mut readers {
            assert!(reader.cached(usize::MAX, 100, &mut out));
            assert_eq!(reader.position(), i + 1);
        }
    }
    // Both readers share one copy.
    let [Read::Record(first), Read::Record(second), ..] = out.as_slice() else { panic!("two records") };
    assert!(Arc::ptr_eq(first, second));
    assert!(readers[0].cached(1, 1, &mut Vec::new()), "at the head there is nothing to fetch");
}

#[test]
fn a_reader_that_falls_behind_goes_on_from_disk_and_catches_up() {
    let rig = Rig::new(StoreOptions { tail_bytes: 1200, ..options() });
    let log = rig.log();
    let mut reader = log.reader(0);
    let mut seen = Vec::new();
    for round in 0..40u64 {
        append(&log, 0, vec![round as u8; 150]);
        if round % 7 == 0 {
            reader.read(usize::MAX, usize::MAX, &mut seen).unwrap();
        }
    }
    reader.read(usize::MAX, usize::MAX, &mut seen).unwrap();
    let bodies = seen.iter().map(|read| match read {
        Read::Record(record) => record.body[0],
        gap @ Read::Gap { .. } => panic!("{gap:?}"),
    });
    assert_eq!(bodies.collect::<Vec<_>>(), (0..40).collect::<Vec<u8>>());
}

#[test]
fn appends_gather_while_a_commit_is_under_way() {
    let rig = Rig::new(StoreOptions { segment_bytes: 1 << 20..=1 << 20, ..options() });
    let log = rig.log();
    append(&log, 0, "first");
    // The first commit's answer is held, so that the others must wait in the queue.
    let (hold, held) = channel::<()>();
    let (started, start) = channel();
    log.append(
        entry(0, "holds"),
        Box::new(move |_| {
            started.send(()).unwrap();
            held.recv().unwrap_or_default();
        }),
    );
    start.recv().unwrap();
    let before = rig.store().commit_stats().commits;
    let waiting: Vec<_> = (0..100).map(|_| send(&log, entry(0, "gathered"))).collect();
    drop(hold);
    let answers: Vec<_> = waiting.iter().map(|answer| answer.recv().unwrap().unwrap()).collect();
    assert_eq!(answers, (2..102).collect::<Vec<_>>());
    let stats = rig.store().commit_stats();
    assert_eq!((stats.commits - before, stats.records, stats.failures), (1, 102, 0));
    assert_eq!(*stats.sync_buckets.last().unwrap(), stats.commits);
}

#[test]
fn listeners_hear_of_each_commit_after_it_is_visible() {
    let rig = Rig::new(options());
    let log = rig.log();
    let heard = Arc::new(Mutex::new(Vec::new()));
    let (weak, into) = (Arc::downgrade(&log), Arc::clone(&heard));
    let (sender, receiver) = channel();
    log.on_commit(Box::new(move |head| {
        assert!(weak.upgrade().is_none_or(|log| log.head() >= head));
        into.lock().unwrap().push(head);
        sender.send(()).unwrap();
    }));
    for _ in 0..3 {
        append(&log, 0, "x");
        receiver.recv().unwrap();
    }
    assert_eq!(*heard.lock().unwrap(), [1, 2, 3]);
}

#[test]
fn a_record_larger_than_a_segment_gets_a_segment_of_its_own() {
    let mut rig = Rig::new(options());
    let log = rig.log();
    append(&log, 0, "small");
    append(&log, 0, vec![5; 100_000]);
    append(&log, 0, "small again");
    assert_eq!(rig.segments().len(), 3);
    drop(log);
    rig.kill();
    let (records, gaps) = read_from(&rig.log(), 0);
    assert_eq!(records.iter().map(|(_, body)| body.len()).collect::<Vec<_>>(), [5, 100_000, 11]);
    assert_eq!(gaps, []);
}

#[test]
fn a_record_beyond_all_measure_is_refused_at_once() {
    let rig = Rig::new(options());
    let body = Bytes::from(vec![0; (1 << 30) + 1]);
    assert!(matches!(try_append(&rig.log(), entry(0, body)), Err(AppendError::TooLarge { limit: 0x4000_0000, .. })));
}

#[test]
fn many_logs_do_not_mix() {
    let mut rig = Rig::new(options());
    let names: Vec<String> = (0..60).map(|i| ["t", "T", "ä/", "..", "%"][i % 5].repeat(i + 1)).collect();
    let mut answers = Vec::new();
    for round in 0..3 {
        for name in &names {
            let log = rig.store().log(name).unwrap();
            answers.push(send(&log, entry(round, format!("{name} {round}"))));
        }
    }
    assert!(answers.iter().all(|answer| answer.recv().unwrap().is_ok()));
    let report = rig.kill();
    assert_eq!((report.logs.len(), report.unreadable.len()), (60, 0));
    for name in &names {
        let (records, _) = read_from(&rig.store().find_log(name).unwrap(), 0);
        let expected: Vec<_> = (0..3).map(|round| (round, Bytes::from(format!("{name} {round}")))).collect();
        assert_eq!(records, expected);
    }
}

#[test]
fn segments_grow_with_the_rate_and_shrink_again() {
    let rig = Rig::new(StoreOptions { segment_bytes: 1 << 10..=8 << 10, ..options() });
    let log = rig.log();
    // All at one moment: each segment doubles.
    for _ in 0..40 {
        append(&log, 1, vec![0; 750]);
    }
    let sizes = |rig: &Rig| -> Vec<usize> {
        rig.segments().iter().map(|path| rig.storage.contents(path).unwrap().len().next_power_of_two()).collect()
    };
    assert_eq!(sizes(&rig)[..4], [1 << 10, 2 << 10, 4 << 10, 8 << 10]);
    // One in 20 minutes.
    for i in 0..20 {
        append(&log, i * 1_200_000, vec![0; 750]);
    }
    assert_eq!(*sizes(&rig).last().unwrap(), 1 << 10);
}

#[test]
fn busy_logs_write_ahead_and_syncing_needs_no_new_space() {
    let options = StoreOptions { segment_bytes: 8 << 10..=8 << 10, write_ahead_from: 8 << 10, ..options() };
    let rig = Rig::new(options);
    let log = rig.log();
    let mut written_ahead = 0;
    for i in 0..200 {
        append(&log, 1, vec![i as u8; 700]);
        written_ahead =
            rig.segments().iter().filter(|path| rig.storage.contents(path).unwrap().len() == 8 << 10).count();
    }
    // Not each one need be: a log that is faster than the janitor appends plainly.
    assert!(written_ahead > 0);
    let bytes: usize = rig.segments().iter().map(|path| rig.storage.contents(path).unwrap().len()).sum();
    assert!((bytes as u64..=bytes as u64 + (8 << 10)).contains(&log.bytes()), "{} of {bytes}", log.bytes());
    assert_eq!(log.bytes(), rig.store().disk_bytes());
    assert_eq!(positions(&log), (0..200).collect::<Vec<_>>());
}

#[test]
fn closing_commits_what_is_queued_and_refuses_the_rest() {
    let mut rig = Rig::new(options());
    let log = rig.log();
    let cursor = log.cursor("c", segment_log::Start::Oldest).unwrap();
    let waiting: Vec<_> = (0..20).map(|_| send(&log, entry(0, "queued"))).collect();
    rig.store.take().unwrap().close().unwrap();
    assert!(waiting.iter().all(|answer| answer.recv().unwrap().is_ok()));
    assert!(matches!(try_append(&log, entry(0, "late")), Err(AppendError::Closing)));
    assert!(cursor.settle(&[], &mut |_, _| {}).is_err());
    // Everything is known to be durable, so nothing has to be written again.
    let before = rig.storage.operations();
    rig.storage.fail(Operation::Create, 0, std::io::ErrorKind::Other);
    let report = rig.open();
    assert!(report.logs[0].is_clean());
    assert_eq!((report.logs[0].head, rig.segments().len()), (20, 1));
    assert!(rig.storage.operations() <= before + 4);
}
