//! After a kill, a power cut, and decay: what was acknowledged is read, or counted as damaged.

use std::path::Path;

use segment_log::{GapCause, OpenError, Start, Store, StoreOptions};

use crate::rig::{Rig, append, assert_balanced, entry, options, positions, read_from, send, settle, times};

/// A log of three records in one segment, the last two in one commit, and the size of the first two.
fn three_records() -> (Rig, usize) {
    let rig = Rig::new(StoreOptions { segment_bytes: 1 << 20..=1 << 20, ..options() });
    let log = rig.log();
    append(&log, 0, vec![1; 40]);
    (rig, 128 + 96 + 4 + 40 + 4)
}

#[test]
fn a_torn_tail_is_cut_at_any_byte_and_earlier_records_survive() {
    let (mut rig, first_end) = three_records();
    let log = rig.log();
    append(&log, 0, vec![2; 50]);
    append(&log, 0, vec![3; 60]);
    drop(log);
    rig.store = None;
    let path = rig.segments()[0].clone();
    let whole = rig.storage.contents(&path).unwrap();
    let ends = [first_end, first_end + 152, first_end + 152 + 160];
    assert_eq!(ends[2], whole.len());
    for len in ends[0]..=ends[2] {
        rig.storage.edit(&path, |bytes| bytes.truncate(len));
        let report = rig.open().logs.remove(0);
        let kept = ends.iter().filter(|end| **end <= len).count();
        let expected: Vec<_> = (0..kept as u64).collect();
        assert_eq!((positions(&rig.log()), rig.log().head()), (expected, kept as u64), "{len} bytes");
        assert_eq!(report.torn_bytes, (len - ends[kept - 1]) as u64, "{len} bytes");
        assert_eq!(report.damaged_records, 0, "{len} bytes");
        assert_eq!(append(&rig.log(), 0, "next"), kept as u64);
        assert_eq!(positions(&rig.log()).len(), kept + 1);
        rig.store = None;
        for segment in rig.segments() {
            if segment != path {
                rig.storage.edit(&segment, Vec::clear);
                segment_log::Storage::remove(&rig.storage, &segment).unwrap();
            }
        }
        rig.storage.edit(&path, |bytes| bytes.clone_from(&whole));
    }
}

#[test]
fn any_flipped_byte_costs_at_most_its_record_and_is_counted() {
    let (mut rig, _) = three_records();
    for i in 2..6 {
        append(&rig.log(), 0, vec![i; 40]);
    }
    rig.log().cursor("c", Start::Oldest).unwrap();
    rig.reopen();
    append(&rig.log(), 0, "in the next segment");
    rig.store = None;
    let path = rig.segments()[0].clone();
    for byte in 128..rig.storage.contents(&path).unwrap().len() {
        rig.storage.edit(&path, |bytes| bytes[byte] ^= 0x10);
        rig.open();
        let hit = ((byte - 128) / 144) as u64;
        let (records, gaps) = read_from(&rig.log(), 0);
        // The bytes that fill up a record to a multiple of 8 are not read.
        if (byte - 128) % 144 < 140 {
            assert_eq!(gaps, [(hit, hit + 1, times(1), GapCause::Damaged)], "byte {byte}");
            assert_eq!((records.len(), rig.log().damaged_records()), (5, 1), "byte {byte}");
        } else {
            assert_eq!((records.len(), gaps.len()), (6, 0));
        }
        rig.store = None;
        rig.storage.edit(&path, |bytes| bytes[byte] ^= 0x10);
    }
}

#[test]
fn a_cursor_books_a_damaged_gap_as_expired_whatever_it_had_settled_in_it() {
    for settled in [vec![], vec![3], vec![2, 3], vec![0, 2], vec![1, 4], vec![2, 3, 4]] {
        let (mut rig, _) = three_records();
        for i in 2..7 {
            append(&rig.log(), 0, vec![i; 40]);
        }
        let cursor = rig.log().cursor("c", Start::Oldest).unwrap();
        for position in &settled {
            settle(&cursor, *position);
        }
        drop(cursor);
        rig.reopen();
        append(&rig.log(), 0, "in the next segment");
        let path = rig.segments()[0].clone();
        // The headers of 2 and 3.
        rig.storage.edit(&path, |bytes| bytes[128 + 2 * 144..128 + 3 * 144 + 96].fill(0xee));
        let cursor = rig.log().cursor("c", Start::Oldest).unwrap();
        let (records, gaps) = read_from(&rig.log(), 0);
        assert_eq!(gaps, [(2, 4, times(2), GapCause::Damaged)]);
        let lost = 2 - settled.iter().filter(|position| [2, 3].contains(*position)).count() as u64;
        assert_eq!(cursor.expire(2, 4).unwrap(), times(lost), "{settled:?}");
        assert_eq!(cursor.expire(2, 4).unwrap(), times(0), "{settled:?}");
        assert_balanced(&cursor);
        for (position, _) in records {
            settle(&cursor, position);
            assert_balanced(&cursor);
        }
        assert_eq!((cursor.low(), cursor.pending(), cursor.expired()), (7, times(0), times(lost)), "{settled:?}");
    }
}

#[test]
fn damage_before_an_acknowledged_record_is_told_from_a_torn_write() {
    let (mut rig, first_end) = three_records();
    append(&rig.log(), 0, vec![2; 40]);
    append(&rig.log(), 0, vec![3; 40]);
    rig.store = None;
    let path = rig.segments()[0].clone();
    // The second record's body: the third says that it was durable.
    rig.storage.edit(&path, |bytes| bytes[first_end + 100] ^= 1);
    let report = rig.open().logs.remove(0);
    assert_eq!((report.damaged_records, report.torn_bytes, report.head), (1, 0, 3));
    assert_eq!(positions(&rig.log()), [0, 2]);
}

#[test]
fn an_acknowledged_record_at_the_very_end_is_known_to_be_damaged_by_what_was_settled() {
    let (mut rig, first_end) = three_records();
    append(&rig.log(), 0, vec![2; 40]);
    let cursor = rig.log().cursor("c", Start::Oldest).unwrap();
    settle(&cursor, 1);
    drop(cursor);
    rig.store = None;
    let path = rig.segments()[0].clone();
    rig.storage.edit(&path, |bytes| bytes[first_end + 100] ^= 1);
    let report = rig.open().logs.remove(0);
    assert_eq!((report.damaged_records, report.head), (1, 2));
    // The position is not given out a second time, or the cursor would take the new record for settled.
    assert_eq!(append(&rig.log(), 0, "new"), 2);
    let cursor = rig.log().cursor("c", Start::Oldest).unwrap();
    settle(&cursor, 0);
    settle(&cursor, 2);
    assert_eq!(cursor.low(), 3);
    assert_balanced(&cursor);
}

#[test]
fn what_a_killed_process_had_not_synced_is_written_again_before_anybody_sees_it() {
    let (mut rig, _) = three_records();
    append(&rig.log(), 0, "synced, but nobody knows");
    let before = rig.segments().len();
    let report = rig.kill();
    assert!(report.logs[0].is_clean());
    assert_eq!(rig.segments().len(), before + 1);
    for seed in 0..10 {
        rig.power_cut(seed);
        assert_eq!(positions(&rig.log()), [0, 1]);
    }
    // The second start has nothing to write: the segment's name says that its first commit is durable.
    assert_eq!(rig.segments().len(), before + 1);
}

#[test]
fn what_cannot_be_written_again_waits_for_the_disk_and_is_not_seen_until_then() {
    let (mut rig, _) = three_records();
    append(&rig.log(), 0, "carried");
    rig.store = None;
    rig.storage.set_capacity(Some(rig.storage.used()));
    let report = rig.open();
    assert_eq!((report.logs[0].head, positions(&rig.log())), (1, vec![0]));
    assert!(send(&rig.log(), entry(0, "refused")).recv().unwrap().is_err());
    rig.store().tick(0);
    rig.storage.set_capacity(None);
    rig.store().tick(0);
    assert_eq!(append(&rig.log(), 0, "next"), 2);
    let bodies: Vec<_> = read_from(&rig.log(), 1).0.into_iter().map(|(_, body)| body).collect();
    assert_eq!(bodies, ["carried", "next"]);
}

#[test]
fn a_segment_with_a_damaged_header_is_set_aside_and_its_counts_are_known() {
    let mut rig = Rig::new(options());
    for i in 0..30 {
        append(&rig.log(), i, vec![1; 700]);
    }
    let cursor = rig.log().cursor("c", Start::Oldest).unwrap();
    drop(cursor);
    rig.store = None;
    let segments = rig.segments();
    assert_eq!(segments.len(), 8);
    for (segment, bytes) in [(&segments[2], 0..8), (&segments[4], 24..32)] {
        rig.storage.edit(segment, |content| content[bytes].fill(9));
    }
    let report = rig.open().logs.remove(0);
    assert_eq!(report.damaged_segments.len(), 2);
    assert!(report.damaged_segments.iter().all(|path| rig.storage.contents(path).is_some()));
    let (records, gaps) = read_from(&rig.log(), 0);
    assert_eq!(records.len(), 22);
    assert_eq!(gaps, [(8, 12, times(4), GapCause::Damaged), (16, 20, times(4), GapCause::Damaged)]);
    let cursor = rig.log().cursor("c", Start::Oldest).unwrap();
    for (from, to, ..) in gaps {
        assert_eq!(cursor.expire(from, to).unwrap(), times(4));
    }
    for (position, _) in records {
        settle(&cursor, position);
    }
    assert_eq!((cursor.low(), cursor.pending()), (30, times(0)));
}

#[test]
fn a_last_segment_that_is_wholly_lost_does_not_bring_positions_back() {
    let mut rig = Rig::new(options());
    for i in 0..10 {
        append(&rig.log(), i, vec![1; 700]);
    }
    rig.reopen();
    rig.store = None;
    let last = rig.segments().pop().unwrap();
    rig.storage.edit(&last, |bytes| bytes.fill(0));
    let report = rig.open().logs.remove(0);
    assert_eq!((report.damaged_segments.len(), report.head), (1, 10));
    assert_eq!(append(&rig.log(), 0, "next"), 10);
    let (records, gaps) = read_from(&rig.log(), 0);
    assert_eq!((records.len(), gaps), (9, vec![(8, 10, times(2), GapCause::Damaged)]));
    assert_eq!(rig.log().totals(), times(11));
}

#[test]
fn a_log_of_a_later_version_is_refused_by_name_and_left_alone() {
    for (name, checksum) in [("00000000000000000000.seg", 124), ("cursors.0", 60)] {
        let mut rig = Rig::new(options());
        append(&rig.log(), 0, "x");
        rig.store = None;
        let path = Path::new("/data/tenants/a").join(name);
        rig.storage.edit(&path, |bytes| {
            bytes[8] = 7;
            let crc = crc32c::crc32c(&bytes[..checksum]);
            bytes[checksum..checksum + 4].copy_from_slice(&crc.to_le_bytes());
        });
        let refused = Store::open(rig.options.clone(), std::sync::Arc::new(rig.storage.clone()));
        let Err(OpenError::NewerVersion { path: named, found, known }) = refused else { panic!("{name} was read") };
        assert_eq!((named, found, known), (path.clone(), 7, 1));
        assert_eq!(rig.storage.contents(&path).unwrap()[8], 7);
    }
}

#[test]
fn leftovers_of_an_interrupted_roll_are_removed_and_strangers_are_left_alone() {
    let mut rig = Rig::new(options());
    append(&rig.log(), 0, "x");
    rig.store = None;
    let storage: &dyn segment_log::Storage = &rig.storage;
    for name in ["next.tmp", "prepared.tmp", "stranger.txt"] {
        storage.open(&Path::new("/data/tenants/a").join(name), segment_log::Access::Create).unwrap();
    }
    storage.create_dir(Path::new("/data/tenants/lost+found")).unwrap();
    let report = rig.open();
    assert_eq!(report.unreadable, [Path::new("/data/tenants/lost+found")]);
    let files = rig.storage.files(Path::new("/data/tenants/a"));
    let has = |name: &str| files.iter().any(|path| path.ends_with(name));
    assert_eq!((has("next.tmp"), has("prepared.tmp"), has("stranger.txt")), (false, false, true));
}

#[test]
fn the_earlier_life_of_a_recycled_segment_is_never_read() {
    let mut rig = Rig::new(StoreOptions {
        segment_bytes: 8 << 10..=8 << 10,
        write_ahead_from: 8 << 10,
        limits: segment_log::RetentionLimits { retain_ms: 0, ..options().limits },
        ..options()
    });
    let (mut recycled, mut head) = (0, 0);
    // When a file is free depends on how fast the janitor is.
    while recycled < 5 {
        head = append(&rig.log(), head, vec![head as u8; 300]).cast_signed() + 1;
        recycled += rig.store().tick(head).recycled_segments;
        assert!(head < 1_000_000);
    }
    append(&rig.log(), head, vec![head as u8; 300]);
    for seed in 0..10 {
        let report = rig.power_cut(seed).logs.remove(0);
        assert_eq!((report.head, report.damaged_records), (head.cast_unsigned() + 1, 0));
        let (records, gaps) = read_from(&rig.log(), report.oldest);
        assert_eq!(gaps, []);
        assert!(records.iter().all(|(position, body)| body == &vec![*position as u8; 300]));
    }
}
