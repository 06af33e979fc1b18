//! One failing system call at a time: nothing is acknowledged that is not durable, and the log recovers by itself.

use std::io::ErrorKind;
use std::path::Path;

use segment_log::testing::Operation;
use segment_log::{AppendError, RetentionLimits, Start, StoreOptions};

use crate::rig::{Rig, append, assert_balanced, entry, options, positions, read_from, send, settle, times, try_append};

#[test]
fn a_failed_sync_acknowledges_nothing_and_a_new_segment_starts() {
    let mut rig = Rig::new(options());
    let log = rig.log();
    append(&log, 0, "before");
    rig.storage.fail(Operation::Sync, 0, ErrorKind::Other);
    assert!(matches!(try_append(&log, entry(0, "failed")), Err(AppendError::Io(_))));
    assert_eq!(log.head(), 1);
    assert_eq!(append(&log, 0, "after"), 1, "the position of what was not acknowledged is given to the next");
    assert_eq!(rig.segments().len(), 2);
    drop(log);
    // What was not synced then is gone for good, although later syncs succeed.
    for seed in 0..20 {
        rig.power_cut(seed);
        let (records, gaps) = read_from(&rig.log(), 0);
        assert_eq!(records, [(0, "before".into()), (1, "after".into())]);
        assert_eq!(gaps, []);
    }
}

#[test]
fn what_is_settled_after_a_failed_switch_of_the_cursor_files_survives_a_kill() {
    for (operation, settles) in
        [Operation::Write, Operation::Sync].into_iter().flat_map(|it| (1..16).map(move |n| (it, n)))
    {
        let mut rig = Rig::new(options());
        let cursor = rig.log().cursor("c", Start::Oldest).unwrap();
        for position in 0..=settles {
            append(&rig.log(), 0, "record");
            if position == settles {
                rig.storage.fail(operation, 0, ErrorKind::Other);
                // Whether this is a sync or a switch depends on how much was written.
                rig.store().tick(0);
                rig.storage.clear_faults();
            }
            cursor.settle(&[(position, [1, 10, 100])], &mut |_, books| books.resize(8_000, 0)).unwrap();
        }
        drop(cursor);
        rig.kill();
        let cursor = rig.log().cursor("c", Start::Oldest).unwrap();
        assert_eq!((cursor.low(), rig.log().head()), (settles + 1, settles + 1), "{operation:?} fails at {settles}");
        assert_balanced(&cursor);
    }
}

#[test]
fn all_appends_of_a_failed_commit_are_refused() {
    let rig = Rig::new(StoreOptions { segment_bytes: 1 << 20..=1 << 20, ..options() });
    let log = rig.log();
    append(&log, 0, "before");
    let (sender, receiver) = std::sync::mpsc::channel::<()>();
    let (started, start) = std::sync::mpsc::channel();
    log.append(
        entry(0, "holds"),
        Box::new(move |_| {
            started.send(()).unwrap();
            receiver.recv().unwrap_or_default();
        }),
    );
    start.recv().unwrap();
    let waiting: Vec<_> = (0..10).map(|_| send(&log, entry(0, "failed"))).collect();
    rig.storage.fail(Operation::Sync, 0, ErrorKind::Other);
    drop(sender);
    assert!(waiting.iter().all(|answer| answer.recv().unwrap().is_err()));
    assert_eq!((log.head(), log.totals()), (2, times(2)));
}

#[test]
fn any_failing_call_of_an_append_loses_nothing_that_was_acknowledged() {
    let operations = [
        Operation::Write,
        Operation::Sync,
        Operation::Create,
        Operation::Rename,
        Operation::SyncDir,
        Operation::Remove,
    ];
    for operation in operations {
        for after in 0..6 {
            for kind in [ErrorKind::Other, ErrorKind::StorageFull] {
                let mut rig = Rig::new(StoreOptions { segment_bytes: 512..=512, ..options() });
                let log = rig.log();
                rig.storage.fail(operation, after, kind);
                let mut acknowledged = Vec::new();
                for i in 0..20u8 {
                    if let Ok(position) = try_append(&log, entry(0, vec![i; 100])) {
                        acknowledged.push((position, vec![i; 100].into()));
                    }
                    rig.store().tick(0);
                }
                assert!(acknowledged.len() >= 18, "{operation:?} {after} {kind}: it goes on by itself");
                assert_eq!(read_from(&log, 0), (acknowledged.clone(), vec![]), "{operation:?} {after} {kind}");
                drop(log);
                rig.power_cut(after);
                assert_eq!(read_from(&rig.log(), 0), (acknowledged, vec![]), "{operation:?} {after} {kind}");
            }
        }
    }
}

#[test]
fn a_full_disk_refuses_appends_but_no_settle_and_recovers_when_there_is_space() {
    let mut rig = Rig::new(options());
    let log = rig.log();
    let cursors: Vec<_> = (0..3).map(|i| log.cursor(&format!("c{i}"), Start::Oldest).unwrap()).collect();
    for _ in 0..400 {
        append(&log, 0, "");
    }
    rig.storage.set_capacity(Some(rig.storage.used()));
    assert!(matches!(try_append(&log, entry(0, "no")), Err(AppendError::NoSpace)));
    assert!(matches!(try_append(&log, entry(0, "no, at once")), Err(AppendError::NoSpace)));
    // Enough to fill the reserved space many times over.
    for position in 0..400 {
        for cursor in &cursors {
            let book = &mut |_: &[bool], books: &mut Vec<u8>| books.resize(segment_log::MAX_BOOKS, position as u8);
            cursor.settle(&[(400 - 1 - position, [1, 10, 100])], book).unwrap();
        }
        if position % 50 == 0 {
            assert_eq!(rig.store().tick(0).errors.len(), 0);
        }
    }
    rig.storage.set_capacity(None);
    rig.store().tick(0);
    assert_eq!(append(&log, 0, "yes"), 400);
    drop((log, cursors));
    rig.kill();
    let cursor = rig.log().find_cursor("c2").unwrap();
    assert_eq!((cursor.low(), cursor.pending()), (400, times(1)));
    assert_balanced(&cursor);
}

#[test]
fn a_disk_that_takes_few_bytes_at_once_gets_them_all() {
    let mut rig = Rig::new(options());
    rig.storage.set_short_writes(Some(7));
    for i in 0..20u8 {
        append(&rig.log(), 0, vec![i; 100]);
    }
    rig.power_cut(1);
    assert_eq!(positions(&rig.log()), (0..20).collect::<Vec<_>>());
}

#[test]
fn a_failed_settle_changes_nothing_and_the_next_succeeds() {
    for operation in [Operation::Write, Operation::Sync] {
        let mut rig = Rig::new(options());
        let log = rig.log();
        let cursor = log.cursor("c", Start::Oldest).unwrap();
        for _ in 0..3 {
            append(&log, 0, "x");
        }
        assert!(settle(&cursor, 0));
        rig.store().tick(0);
        rig.storage.fail(operation, 0, ErrorKind::Other);
        let first = cursor.settle(&[(1, [1, 10, 100])], &mut |_, books| books.push(1));
        let report = rig.store().tick(0);
        if operation == Operation::Write {
            assert!(first.is_err());
            assert_eq!((cursor.low(), cursor.books()), (1, vec![0]));
        } else {
            assert!(first.is_ok());
            assert_eq!(report.errors.len(), 1);
        }
        cursor.settle(&[(1, [1, 10, 100])], &mut |_, _| {}).unwrap();
        assert_eq!(rig.store().tick(0).errors.len(), 0);
        drop((log, cursor));
        rig.power_cut(3);
        assert_eq!(rig.log().find_cursor("c").unwrap().low(), 2, "{operation:?}");
    }
}

#[test]
fn a_log_that_a_full_disk_did_not_let_be_born_keeps_no_other_from_being_opened() {
    let mut rig = Rig::new(options());
    let log = rig.log();
    append(&log, 0, "kept");
    drop(log);
    // Room for one of the new log's cursor files and a half.
    rig.storage.set_capacity(Some(rig.storage.used() + 96 * 1024));
    assert!(rig.store().log("newborn").is_err());
    rig.kill();
    assert_eq!(positions(&rig.log()), [0]);
    rig.storage.set_capacity(None);
    rig.kill();
    let newborn = rig.store().log("newborn").unwrap();
    assert_eq!(append(&newborn, 0, "first"), 0);
}

#[test]
fn a_full_disk_without_a_reserve_lets_the_oldest_go_instead_of_refusing_for_ever() {
    let rig = Rig::new(options());
    let log = rig.log();
    let cursor = log.cursor("slow", Start::Oldest).unwrap();
    for _ in 0..40 {
        append(&log, 0, vec![0; 2000]);
    }
    rig.storage.set_capacity(Some(rig.storage.used()));
    // The janitor may look at the disk by itself before the tick does.
    let by_itself = try_append(&log, entry(1, vec![0; 6000]));
    assert!(matches!(by_itself, Ok(40) | Err(AppendError::NoSpace)), "{by_itself:?}");
    rig.store().tick(2);
    let position = append(&log, 3, vec![0; 6000]);
    assert_eq!(position, 40 + u64::from(by_itself.is_ok()));
    assert!(cursor.expired()[0] > 0);
    let balance = cursor.balance();
    assert_eq!(balance.accepted[0], balance.settled[0] + balance.expired[0] + balance.pending[0]);
}

#[test]
fn a_log_whose_records_are_all_gone_keeps_its_position_and_books_over_a_start_on_a_full_disk() {
    let mut rig = Rig::new(options());
    let cursor = rig.log().cursor("c", Start::Oldest).unwrap();
    for number in 0..5 {
        append(&rig.log(), number, vec![1; 300]);
    }
    (0..5).for_each(|position| assert!(settle(&cursor, position)));
    rig.store().set_limits(RetentionLimits { retain_ms: 100_000, ..rig.options.limits.clone() });
    [5_000, 70_000, 200_000, 200_001].into_iter().for_each(|now| drop(rig.store().tick(now)));
    assert_eq!(rig.segments(), [] as [std::path::PathBuf; 0]);
    let head = rig.log().head();
    assert_eq!((head, cursor.balance().settled), (5, times(5)));
    drop(cursor);

    rig.store = None;
    // The first is of the data directory, the second of the log's, and then whoever asks for it fails once more.
    rig.storage.fail(Operation::SyncDir, 1, ErrorKind::StorageFull);
    rig.storage.fail(Operation::SyncDir, 1, ErrorKind::StorageFull);
    let report = rig.open();
    assert_eq!(report.unreadable, [Path::new("/data/tenants/a")], "{report:?}");
    assert!(rig.store().log("a").is_err(), "there is no room still");
    let log = rig.log();
    assert_eq!(log.head(), head);
    let cursor = log.find_cursor("c").unwrap();
    assert_eq!((cursor.balance().settled, cursor.balance().accepted), (times(5), times(5)));
    assert_eq!(append(&log, 6, "more"), head);
}
