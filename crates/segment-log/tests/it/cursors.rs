//! Cursors and books: one act, kept over restarts and crashes, balanced at all times.

use segment_log::{SettleError, Start, StoreOptions};

use crate::rig::{Rig, append, assert_balanced, entry, options, settle, times, try_append};

#[test]
fn a_cursor_begins_where_it_is_told_to() {
    let rig = Rig::new(options());
    let log = rig.log();
    assert_eq!(log.cursor("born before", Start::Head).unwrap().start(), 0);
    for i in 0..100 {
        append(&log, i * 10, vec![0; 300]);
    }
    let cases = [
        ("oldest", Start::Oldest, 0),
        ("head", Start::Head, 100),
        ("since ever", Start::Since(-1), 0),
        ("since", Start::Since(555), 56),
        ("since exactly", Start::Since(550), 55),
        ("since the future", Start::Since(991), 100),
    ];
    for (name, start, expected) in cases {
        let cursor = log.cursor(name, start).unwrap();
        assert_eq!((cursor.start(), cursor.low()), (expected, expected), "{name}");
        assert_eq!((cursor.start_totals(), cursor.pending()), (times(expected), times(100 - expected)), "{name}");
        // The start is applied once.
        assert_eq!(log.cursor(name, Start::Oldest).unwrap().start(), expected, "{name}");
    }
    assert_eq!(log.cursors().len(), 7);
    for name in ["", "x".repeat(256).as_str()] {
        assert!(log.cursor(name, Start::Head).is_err());
    }
}

#[test]
fn settling_moves_the_low_water_mark_over_what_is_settled() {
    let rig = Rig::new(options());
    let log = rig.log();
    let cursor = log.cursor("c", Start::Oldest).unwrap();
    for _ in 0..10 {
        append(&log, 0, "x");
    }
    for (position, low) in [(3, 0), (1, 0), (0, 2), (2, 4), (9, 4)] {
        assert!(settle(&cursor, position));
        assert_eq!(cursor.low(), low);
        assert_balanced(&cursor);
    }
    assert!(cursor.is_settled(9) && !cursor.is_settled(8));
    assert_eq!(cursor.pending(), times(5));
}

#[test]
fn a_sample_is_booked_once() {
    let rig = Rig::new(options());
    let log = rig.log();
    let cursor = log.cursor("c", Start::Oldest).unwrap();
    for _ in 0..4 {
        append(&log, 0, "x");
    }
    assert!(settle(&cursor, 1));
    let mut told = Vec::new();
    let again: Vec<_> = [0, 1, 2, 2].iter().map(|position| (*position, [1, 10, 100])).collect();
    cursor.settle(&again, &mut |newly, _| told = newly.to_vec()).unwrap();
    assert_eq!(told, [true, false, true, false]);
    assert_eq!((cursor.balance().settled, cursor.pending()), (times(3), times(1)));
}

#[test]
fn books_and_cursor_survive_a_kill_without_close_and_the_last_second_at_most_is_lost_by_a_power_cut() {
    let mut rig = Rig::new(options());
    let log = rig.log();
    let cursor = log.cursor("c", Start::Oldest).unwrap();
    for _ in 0..300 {
        append(&log, 0, "x");
    }
    for position in 0..100 {
        settle(&cursor, position);
    }
    drop((log, cursor));
    rig.kill();
    let cursor = rig.log().cursor("c", Start::Head).unwrap();
    assert_eq!((cursor.low(), cursor.books()), (100, (0..100).collect()));
    for position in 100..150 {
        settle(&cursor, position);
    }
    rig.store().tick(0);
    for position in 150..200 {
        settle(&cursor, position);
    }
    drop(cursor);
    for seed in 0..5 {
        rig.power_cut(seed);
        let cursor = rig.log().cursor("c", Start::Head).unwrap();
        let low = cursor.low();
        assert!((150..=200).contains(&low), "{low}");
        assert_eq!(cursor.books(), (0..low as u8).collect::<Vec<_>>(), "cursor and books are of one moment");
        assert_eq!(cursor.pending(), times(300 - low));
    }
}

#[test]
fn any_torn_or_decayed_settle_leaves_an_earlier_state() {
    let mut rig = Rig::new(options());
    let log = rig.log();
    let cursor = log.cursor("c", Start::Oldest).unwrap();
    for _ in 0..20 {
        append(&log, 0, "x");
    }
    for position in 0..10 {
        settle(&cursor, position);
    }
    drop((log, cursor));
    rig.store = None;
    let path = std::path::Path::new("/data/tenants/a/cursors.0");
    let whole = rig.storage.contents(path).unwrap();
    // Behind the header and the snapshot, which are synced before any settle goes into the file.
    let settles = 64 + 56;
    let end = whole.iter().rposition(|byte| *byte != 0).unwrap() + 1;
    assert!(end > settles + 500);
    for byte in (settles..end).step_by(3) {
        for tear in [false, true] {
            rig.storage.edit(path, |bytes| if tear { bytes[byte..].fill(0) } else { bytes[byte] ^= 0x55 });
            let report = rig.open();
            assert!(!report.logs[0].cursors_lost, "{byte}");
            if let Some(cursor) = rig.log().find_cursor("c") {
                assert_eq!(cursor.books(), (0..cursor.low() as u8).collect::<Vec<_>>(), "{byte}");
                assert!(tear || cursor.low() >= 9, "what decays is one settle");
                assert_balanced(&cursor);
            }
            rig.store = None;
            rig.storage.edit(path, |bytes| bytes.clone_from(&whole));
        }
    }
}

#[test]
fn lost_cursor_files_are_reported_and_the_log_goes_on() {
    let mut rig = Rig::new(options());
    append(&rig.log(), 0, "x");
    rig.log().cursor("c", Start::Head).unwrap();
    rig.store = None;
    for file in ["/data/tenants/a/cursors.0", "/data/tenants/a/cursors.1"] {
        assert!(rig.storage.edit(std::path::Path::new(file), |bytes| bytes[0] ^= 1));
    }
    let report = rig.open();
    assert!(report.logs[0].cursors_lost);
    assert_eq!(rig.log().cursors().len(), 0);
    assert_eq!(rig.log().cursor("c", Start::Oldest).unwrap().pending(), times(1));
    assert!(!rig.kill().logs[0].cursors_lost);
}

#[test]
fn at_1024_ranges_the_cursor_says_so_and_what_is_in_flight_may_still_be_settled() {
    let mut rig = Rig::new(StoreOptions { segment_bytes: 1 << 20..=1 << 20, ..options() });
    let log = rig.log();
    let cursor = log.cursor("c", Start::Oldest).unwrap();
    for _ in 0..2200 {
        append(&log, 0, "");
    }
    let pairs = |from: u64, to: u64| (from..to).map(|i| (2 * i + 1, [1, 10, 100])).collect::<Vec<_>>();
    cursor.settle(&pairs(0, 1023), &mut |_, _| {}).unwrap();
    assert!(!cursor.ranges_full());
    cursor.settle(&pairs(1023, 1024), &mut |_, _| {}).unwrap();
    assert!(cursor.ranges_full());
    cursor.settle(&pairs(1024, 1100), &mut |_, _| {}).unwrap();
    drop((log, cursor));
    rig.kill();
    let cursor = rig.log().find_cursor("c").unwrap();
    assert!(cursor.ranges_full() && cursor.is_settled(2199) && !cursor.is_settled(2198));
    assert_eq!(cursor.pending(), times(1100));
    for i in 0..1100 {
        settle(&cursor, 2 * i);
    }
    assert_eq!((cursor.low(), cursor.ranges_full(), cursor.pending()), (2200, false, times(0)));
}

#[test]
fn books_have_a_bound_and_nothing_is_settled_beyond_it() {
    let rig = Rig::new(options());
    append(&rig.log(), 0, "x");
    let cursor = rig.log().cursor("c", Start::Oldest).unwrap();
    let refused = cursor.settle(&[(0, [1, 10, 100])], &mut |_, books| books.resize(segment_log::MAX_BOOKS + 1, 0));
    assert!(matches!(refused, Err(SettleError::BooksTooLarge { bytes: 8193 })));
    assert_eq!((cursor.low(), cursor.books().len()), (0, 0));
    cursor.settle(&[(0, [1, 10, 100])], &mut |_, books| books.resize(segment_log::MAX_BOOKS, 0)).unwrap();
    assert_eq!(cursor.low(), 1);
}

#[test]
fn a_detached_cursor_is_kept_and_a_forgotten_one_is_not() {
    let mut rig = Rig::new(options());
    for _ in 0..3 {
        append(&rig.log(), 0, "x");
    }
    for name in ["kept", "gone"] {
        settle(&rig.log().cursor(name, Start::Oldest).unwrap(), 0);
    }
    rig.log().detach_cursor("kept").unwrap();
    rig.log().forget_cursor("gone").unwrap();
    for name in ["kept", "gone", "never there"] {
        rig.log().detach_cursor(name).unwrap();
    }
    rig.kill();
    let kept = rig.log().find_cursor("kept").unwrap();
    assert!(!kept.is_attached());
    assert!(rig.log().find_cursor("gone").is_none());
    let kept = rig.log().cursor("kept", Start::Head).unwrap();
    assert_eq!((kept.is_attached(), kept.low(), kept.books()), (true, 1, vec![0]));
    let gone = rig.log().cursor("gone", Start::Head).unwrap();
    rig.log().forget_cursor("gone").unwrap();
    assert!(matches!(gone.settle(&[], &mut |_, _| {}), Err(SettleError::Forgotten)));
}

#[test]
fn space_for_settles_is_reserved_for_as_many_cursors_as_there_are() {
    let mut rig = Rig::new(options());
    let log = rig.log();
    try_append(&log, entry(0, "x")).unwrap();
    for i in 0..20 {
        let cursor = log.cursor(&format!("c{i}"), Start::Oldest).unwrap();
        cursor.settle(&[(0, [1, 10, 100])], &mut |_, books| books.resize(segment_log::MAX_BOOKS, i)).unwrap();
    }
    drop(log);
    rig.power_cut(0);
    assert!(rig.log().cursors().iter().all(|cursor| cursor.start() == 0));
    assert_eq!(rig.log().cursors().len(), 20);
}
