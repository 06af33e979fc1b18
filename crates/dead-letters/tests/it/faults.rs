//! One failing operation at a time: nothing is acknowledged that is not durable, a failed call changes nothing, and the store
//! goes on by itself.

use std::io::ErrorKind;
use std::path::Path;
use std::sync::Arc;

use dead_letters::testing::Operation;
use dead_letters::{Leaving, Letter, OpenError, Store, StoreError};

use crate::rig::{PATH, Rig, letter};

const FAILING: [Operation; 4] = [Operation::Read, Operation::Write, Operation::Sync, Operation::SetSize];

#[test]
fn any_failing_operation_of_a_put_loses_nothing_that_was_acknowledged_and_keeps_nothing_that_was_not() {
    let mut failed = 0;
    for operation in FAILING {
        for after in (0..12).chain([20, 40, 80]) {
            for kind in [ErrorKind::Other, ErrorKind::StorageFull] {
                let mut rig = Rig::new();
                let mut kept: Vec<(u64, Letter)> = Vec::new();
                rig.storage.fail(operation, after, 1, kind);
                for n in 0..8 {
                    let letter = letter(n, "a", "x", 9000);
                    match rig.store().put(std::slice::from_ref(&letter)) {
                        Ok(ids) => kept.push((ids[0], letter)),
                        Err(error) => {
                            assert_eq!(error.is_no_space(), kind == ErrorKind::StorageFull, "{operation:?} {error}");
                            failed += 1;
                        }
                    }
                }
                assert!(kept.len() >= 7, "{operation:?} {after}: it goes on by itself");
                for cut in [false, true] {
                    if cut {
                        rig.power_cut(after);
                    }
                    assert_eq!(rig.ids(), kept.iter().map(|(id, _)| *id).collect::<Vec<_>>(), "{operation:?} {after}");
                    for (id, letter) in &kept {
                        assert!(rig.store().get(*id).unwrap().as_ref() == Some(letter), "{operation:?} {after}");
                    }
                    rig.assert_summed_up();
                }
            }
        }
    }
    assert!(failed > 50, "{failed}");
}

#[test]
fn a_failed_mark_is_not_there_and_the_next_call_marks() {
    for operation in FAILING {
        for after in 0..10 {
            let mut rig = Rig::new();
            rig.store().put(&[letter(0, "a", "x", 10), letter(1, "a", "x", 10)]).unwrap();
            rig.storage.fail(operation, after, 1, ErrorKind::Other);
            if rig.store().begin_leaving(&[2], Leaving::Dropped).is_err() {
                assert_eq!((rig.ids(), rig.marked()), (vec![1, 2], vec![]), "{operation:?} {after}");
                assert_eq!(rig.store().begin_leaving(&[2], Leaving::Dropped).unwrap().len(), 1);
            }
            rig.power_cut(after);
            assert_eq!((rig.ids(), rig.marked()), (vec![1], vec![(2, Leaving::Dropped)]), "{operation:?} {after}");
            rig.assert_summed_up();
        }
    }
}

#[test]
fn power_cuts_at_any_operation_lose_nothing_that_was_acknowledged() {
    for after in 0..160 {
        let mut rig = Rig::new();
        rig.storage.cut_power_after(after);
        let mut kept = Vec::new();
        for n in 0..6 {
            match rig.store().put(&[letter(n, "a", "x", 9000)]) {
                Ok(ids) => kept.extend(ids),
                Err(_) => break,
            }
        }
        let report = rig.power_cut(after);
        assert_eq!(report.set_aside, None, "{after}");
        let found = rig.ids();
        assert_eq!(found[..kept.len()], kept, "{after}");
        assert!(found.len() <= kept.len() + 1);
        rig.assert_summed_up();
        let next = rig.store().put(&[letter(9, "a", "x", 1)]).unwrap()[0];
        assert!(found.iter().all(|id| *id < next), "{after}");
    }
}

#[test]
fn a_power_cut_while_a_store_begins_leaves_nothing_that_is_taken_for_damage() {
    for after in 0..40 {
        let rig = Rig::new();
        let storage = rig.storage.clone();
        drop(rig);
        let path = Path::new("/data/other");
        storage.cut_power_after(after);
        let begun = Store::open_on(Arc::new(storage.clone()), path, u64::MAX).map(drop);
        storage.power_cut(after);
        let (store, report) = Store::open_on(Arc::new(storage), path, u64::MAX).unwrap();
        assert_eq!((report.set_aside, store.len()), (None, 0), "{after} {begun:?}");
    }
}

#[test]
fn a_full_disk_refuses_puts_and_says_so_while_reading_goes_on_and_a_restart_changes_nothing() {
    let mut rig = Rig::new();
    rig.store().put(&[letter(0, "a", "x", 50_000)]).unwrap();
    rig.storage.set_capacity(Some(rig.storage.used()));
    let big = letter(1, "a", "x", 400_000);
    for restarted in [false, true] {
        for _ in 0..3 {
            assert!(rig.store().put(std::slice::from_ref(&big)).unwrap_err().is_no_space());
            assert!(rig.store().get(1).unwrap() == Some(letter(0, "a", "x", 50_000)));
            assert_eq!(rig.ids(), [1]);
            rig.assert_summed_up();
        }
        if !restarted {
            rig.power_cut(1);
        }
    }
    rig.storage.set_capacity(None);
    assert_eq!(rig.store().put(std::slice::from_ref(&big)).unwrap(), [2]);
    rig.power_cut(2);
    assert!(rig.store().get(2).unwrap() == Some(big));
}

#[test]
fn a_disk_that_takes_no_write_for_long_can_be_read_and_written_again_later() {
    let mut rig = Rig::new();
    rig.store().put(&[letter(0, "a", "x", 50_000)]).unwrap();
    rig.storage.fail(Operation::Write, 0, u64::MAX, ErrorKind::Other);
    rig.storage.fail(Operation::Sync, 0, u64::MAX, ErrorKind::Other);
    for _ in 0..5 {
        assert!(matches!(rig.store().begin_leaving(&[1], Leaving::Dropped), Err(StoreError::Io { .. })));
        assert!(rig.store().get(1).unwrap() == Some(letter(0, "a", "x", 50_000)));
        assert_eq!((rig.ids(), rig.marked()), (vec![1], vec![]));
    }
    rig.storage.clear_faults();
    assert_eq!(rig.store().put(&[letter(1, "a", "x", 10)]).unwrap(), [2]);
    rig.power_cut(7);
    assert_eq!(rig.ids(), [1, 2]);
}

#[test]
fn a_file_that_is_damaged_beyond_repair_is_set_aside_whole_and_ids_go_on_above() {
    let mut rig = Rig::new();
    rig.store().put(&[letter(0, "a", "x", 10)]).unwrap();
    rig.reopen();
    for number in 1..3u64 {
        rig.reopen();
        rig.storage.cut_power_after(0);
        rig.storage.edit(Path::new(PATH), |bytes| bytes[..64].fill(0xa5));
        let damaged = rig.storage.contents(Path::new(PATH)).unwrap();
        let report = rig.power_cut(0);
        let aside = report.set_aside.unwrap();
        assert_eq!(aside.to, Path::new(PATH).with_extension(format!("damaged-{number}")));
        assert_eq!(rig.storage.contents(&aside.to).unwrap(), damaged);
        assert_eq!(rig.store().len(), 0);
        assert_eq!(rig.store().put(&[letter(1, "a", "x", 10)]).unwrap(), [number << 40]);
    }
}

#[test]
fn a_file_that_was_cut_is_set_aside() {
    for left in [1, 300, 4096, 20_000, 60_000] {
        let mut rig = Rig::new();
        rig.store().put(&[letter(0, "a", "x", 100_000)]).unwrap();
        rig.reopen();
        rig.storage.cut_power_after(0);
        rig.storage.edit(Path::new(PATH), |bytes| bytes.truncate(left));
        let report = rig.power_cut(0);
        let found = rig.store().get(1).unwrap();
        let aside = report.set_aside.into_iter().chain(rig.store().take_set_aside()).count();
        assert_eq!((aside, found.is_none()), (1, true), "{left}");
        assert_eq!(rig.store().put(&[letter(1, "a", "x", 10)]).unwrap(), [1 << 40]);
    }
}

#[test]
fn a_body_that_is_not_what_was_put_is_never_handed_out_and_its_file_is_set_aside() {
    let mut rig = Rig::new();
    rig.store().put(&[letter(0, "a", "x", 40_000)]).unwrap();
    rig.reopen();
    rig.storage.cut_power_after(0);
    let body = letter(0, "a", "x", 40_000).body;
    rig.storage.edit(Path::new(PATH), |bytes| {
        let at = bytes.windows(100).position(|window| window == &body[..100]).unwrap();
        bytes[at] ^= 1;
    });
    assert_eq!(rig.power_cut(0).letters, 1);
    assert!(rig.store().get(1).unwrap().is_none());
    assert_eq!(rig.store().take_set_aside().len(), 1);
    assert_eq!(rig.store().take_set_aside().len(), 0);
    assert_eq!(rig.storage.files().len(), 2);
    assert_eq!(rig.store().put(&[letter(1, "a", "x", 10)]).unwrap(), [1 << 40]);
    rig.assert_summed_up();
}

#[test]
fn a_damaged_file_is_set_aside_also_when_the_disk_fails_meanwhile_and_no_id_is_used_again() {
    for operation in [Operation::Rename, Operation::Open, Operation::Write, Operation::Sync] {
        for after in 0..2 {
            let mut rig = Rig::new();
            rig.store().put(&[letter(0, "a", "x", 10)]).unwrap();
            rig.reopen();
            rig.storage.cut_power_after(0);
            rig.storage.edit(Path::new(PATH), |bytes| bytes[..64].fill(0xa5));
            let storage = rig.storage.clone();
            drop(rig);
            storage.power_cut(0);
            storage.fail(operation, after, 1, ErrorKind::Other);
            let open = || Store::open_on(Arc::new(storage.clone()), Path::new(PATH), u64::MAX);
            let (store, _) = open().or_else(|_| open()).unwrap();
            assert_eq!(store.put(&[letter(1, "a", "x", 10)]).unwrap(), [1 << 40], "{operation:?} {after}");
            assert_eq!(storage.files().iter().filter(|file| **file != Path::new(PATH)).count(), 1);
        }
    }
}

#[test]
fn a_file_of_a_later_version_is_refused_and_not_a_byte_of_it_changes() {
    let mut rig = Rig::new();
    rig.store().put(&[letter(0, "a", "x", 10)]).unwrap();
    rig.reopen();
    rig.storage.cut_power_after(0);
    let path = Path::new(PATH);
    let storage = rig.storage.clone();
    drop(rig);
    storage.power_cut(0);
    set_version(&storage, 2);
    let before = storage.contents(path).unwrap();
    let refused = Store::open_on(Arc::new(storage.clone()), path, u64::MAX).unwrap_err();
    assert!(matches!(refused, OpenError::NewerVersion { version: 2, supported: 1, .. }), "{refused}");
    assert_eq!(storage.contents(path).unwrap(), before);
    assert_eq!(storage.files(), [path]);
}

/// Writes the file as a later version of the program would.
fn set_version(storage: &dead_letters::testing::SimulatedStorage, version: u64) {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("file");
    std::fs::write(&path, storage.contents(Path::new(PATH)).unwrap()).unwrap();
    let database = redb::Database::open(&path).unwrap();
    let transaction = database.begin_write().unwrap();
    let table: redb::TableDefinition<'_, &str, u64> = redb::TableDefinition::new("meta");
    transaction.open_table(table).unwrap().insert("version", version).unwrap();
    transaction.commit().unwrap();
    drop(database);
    let changed = std::fs::read(&path).unwrap();
    storage.edit(Path::new(PATH), |bytes| *bytes = changed);
}
