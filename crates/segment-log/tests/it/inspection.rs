//! Looking at a data directory: it tells what a start would find, and changes nothing.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use segment_log::{
    Damage, DamageKind, Depth, Inspection, LogInspection, OpenError, Start, Storage, StoreOptions, inspect,
};

use crate::rig::{ROOT, Rig, append, options, settle, times};

fn look(rig: &Rig, depth: Depth) -> Inspection {
    let storage: Arc<dyn Storage> = Arc::new(rig.storage.clone());
    inspect(&storage, Path::new(ROOT), depth).unwrap()
}

fn look_at_one(rig: &Rig, depth: Depth) -> LogInspection {
    look(rig, depth).logs.remove(0)
}

/// Every file with what it holds.
fn disk(rig: &Rig) -> BTreeMap<PathBuf, Option<Vec<u8>>> {
    let files = rig.storage.files(Path::new(ROOT));
    files.into_iter().map(|path| (path.clone(), rig.storage.contents(&path))).collect()
}

#[test]
fn it_tells_what_the_next_start_finds_and_changes_nothing() {
    let mut rig = Rig::new(options());
    let log = rig.log();
    let (all, late) = (log.cursor("all", Start::Oldest).unwrap(), log.cursor("late", Start::Oldest).unwrap());
    for i in 0..40_u8 {
        append(&log, i64::from(i), vec![i; 300]);
        if i % 2 == 0 {
            settle(&all, u64::from(i));
        }
    }
    settle(&late, 0);
    log.detach_cursor("late").unwrap();
    rig.store().log("b").unwrap();
    drop((all, late, log));
    rig.store = None;

    for depth in [Depth::Ends, Depth::Records] {
        let (before, operations) = (disk(&rig), rig.storage.operations());
        let Inspection { logs, unreadable, in_use } = look(&rig, depth);
        assert!(disk(&rig) == before && rig.storage.operations() == operations, "something was changed");
        assert_eq!((unreadable.len(), in_use), (0, false));
        let names: Vec<_> = logs.iter().map(|log| log.name.as_str()).collect();
        assert_eq!(names, ["a", "b"]);
        let (a, b) = (&logs[0], &logs[1]);
        assert_eq!((a.head, a.totals, b.head, b.segments.len()), (40, times(40), 0, 0));
        assert_eq!((&a.damage[..], &a.set_aside[..]), (&[][..], &[][..]));
        assert!(a.segments.len() > 2);
        let ends = a.segments.iter().map(|segment| segment.positions.clone());
        assert!(ends.clone().zip(ends.skip(1)).all(|(one, next)| one.end == next.start), "{a:?}");
        let read: u64 = a.segments.iter().filter_map(|segment| segment.sound_records).sum();
        assert_eq!(read, if depth == Depth::Records { 40 } else { 0 });
        assert_eq!(a.segments.last().unwrap().last_received_ms, Some(39));
        let cursors = a.cursors.as_ref().unwrap().clone();
        rig.open();
        for (told, name) in cursors.iter().zip(["all", "late"]) {
            let cursor = rig.log().find_cursor(name).unwrap();
            let balance = cursor.balance();
            assert_eq!((told.name.as_str(), told.attached, told.low), (name, cursor.is_attached(), cursor.low()));
            assert_eq!((told.settled, told.expired, told.pending), (balance.settled, balance.expired, balance.pending));
        }
        rig.store = None;
    }
}

#[test]
fn a_flipped_byte_is_told_with_its_place_and_its_record() {
    let mut rig = Rig::new(StoreOptions { segment_bytes: 1 << 20..=1 << 20, ..options() });
    for i in 0..6 {
        append(&rig.log(), 0, vec![i; 40]);
    }
    rig.reopen();
    append(&rig.log(), 0, "in the next segment");
    rig.store = None;
    let path = rig.segments()[0].clone();
    for byte in 128..rig.storage.contents(&path).unwrap().len() {
        rig.storage.edit(&path, |bytes| bytes[byte] ^= 0x10);
        let (hit, inside) = ((byte as u64 - 128) / 144, (byte - 128) % 144);
        let place = Damage {
            path: path.clone(),
            offset: 128 + hit * 144,
            bytes: 144,
            positions: hit..hit + 1,
            kind: DamageKind::Damaged,
        };
        // The bytes that fill up a record to a multiple of 8 are not read.
        let expected = if inside < 140 { vec![place] } else { Vec::new() };
        assert_eq!(look_at_one(&rig, Depth::Records).damage, expected, "byte {byte}");
        rig.storage.edit(&path, |bytes| bytes[byte] ^= 0x10);
    }
}

#[test]
fn a_write_that_was_not_completed_is_no_loss_and_what_was_settled_behind_the_end_is() {
    let mut rig = Rig::new(StoreOptions { segment_bytes: 1 << 20..=1 << 20, ..options() });
    let log = rig.log();
    let cursor = log.cursor("c", Start::Oldest).unwrap();
    for i in 0..3 {
        append(&log, 0, vec![i; 40]);
    }
    drop(log);
    let path = rig.segments()[0].clone();
    let cut = |rig: &Rig| rig.storage.edit(&path, |bytes| bytes.truncate(128 + 2 * 144 + 20));
    drop(cursor);
    rig.store = None;
    let whole = rig.storage.contents(&path).unwrap();
    cut(&rig);
    let log = look_at_one(&rig, Depth::Records);
    assert_eq!((log.damage, log.head), (Vec::new(), 2));
    rig.storage.edit(&path, |bytes| bytes.clone_from(&whole));
    rig.open();
    let cursor = rig.log().find_cursor("c").unwrap();
    for position in 0..3 {
        settle(&cursor, position);
    }
    drop(cursor);
    rig.store = None;
    let last = rig.segments().pop().unwrap();
    rig.storage.edit(&last, |bytes| bytes.truncate(140));
    let log = look_at_one(&rig, Depth::Records);
    assert_eq!(log.head, 3);
    let [lost] = &log.damage[..] else { panic!("{log:?}") };
    assert_eq!((&lost.path, &lost.positions, lost.kind), (&last, &(2..3), DamageKind::Damaged));
}

#[test]
fn damaged_headers_lost_cursors_strange_directories_and_later_versions_are_told() {
    let mut rig = Rig::new(options());
    for i in 0..20_u8 {
        append(&rig.log(), 0, vec![i; 300]);
    }
    rig.reopen();
    rig.store = None;
    let segments = rig.segments();
    rig.storage.edit(&segments[1], |bytes| bytes[40] ^= 1);
    rig.storage.create_dir(Path::new("/data/tenants/Not a log")).unwrap();
    let seen = look(&rig, Depth::Ends);
    assert_eq!(seen.unreadable, [Path::new("/data/tenants/Not a log")]);
    let header = |damage: &&Damage| damage.kind == DamageKind::Header;
    let damaged: Vec<_> = seen.logs[0].damage.iter().filter(header).map(|damage| &damage.path).collect();
    assert_eq!(damaged, [&segments[1]]);
    assert!(seen.logs[0].cursors.is_some());
    for name in ["cursors.0", "cursors.1"] {
        rig.storage.edit(&Path::new("/data/tenants/a").join(name), |bytes| bytes[60] ^= 1);
    }
    assert_eq!(look_at_one(&rig, Depth::Ends).cursors, None);
    let storage: Arc<dyn Storage> = Arc::new(rig.storage.clone());
    rig.storage.edit(&segments[0], |bytes| {
        bytes[8] = 2;
        let crc = crc32c::crc32c(&bytes[..124]).to_le_bytes();
        bytes[124..128].copy_from_slice(&crc);
    });
    let error = inspect(&storage, Path::new(ROOT), Depth::Ends).unwrap_err();
    assert!(matches!(error, OpenError::NewerVersion { found: 2, .. }), "{error}");
}
