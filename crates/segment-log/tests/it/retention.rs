//! What stays and what goes, and that what goes is counted.

use segment_log::testing::Operation;
use segment_log::{AppendError, GapCause, OnFull, RetentionLimits, Start, StoreOptions};

use crate::rig::{Rig, append, assert_balanced, entry, options, positions, read_from, settle, times, try_append};

fn limited(change: impl FnOnce(&mut RetentionLimits)) -> StoreOptions {
    let mut options = options();
    change(&mut options.limits);
    options
}

/// Ten records of nearly 1 KiB, five segments of two records.
fn fill(rig: &Rig, records: i64) {
    for i in 0..records {
        append(&rig.log(), i * 1000, vec![1; 1800]);
    }
}

#[test]
fn what_nobody_needs_goes_when_it_is_old_enough() {
    let rig = Rig::new(limited(|limits| limits.retain_ms = 5_000));
    fill(&rig, 10);
    assert_eq!(rig.store().tick(6_000).deleted_segments, 0);
    assert_eq!(rig.log().oldest(), 0);
    // Records 0 and 1 were received at 0 and 1 s.
    assert_eq!(rig.store().tick(6_001).deleted_segments, 1);
    assert_eq!((rig.log().oldest(), positions(&rig.log())), (2, (2..10).collect()));
    assert_eq!(rig.log().totals(), times(10));
    assert_eq!(read_from(&rig.log(), 0).1[0].3, GapCause::Expired);
}

#[test]
fn what_an_attached_cursor_needs_stays_however_old_and_a_detached_one_holds_nothing() {
    let rig = Rig::new(limited(|limits| limits.retain_ms = 0));
    let log = rig.log();
    let slow = log.cursor("slow", Start::Oldest).unwrap();
    let fast = log.cursor("fast", Start::Oldest).unwrap();
    fill(&rig, 10);
    for position in 0..10 {
        settle(&fast, position);
    }
    for position in [0, 1, 2, 4] {
        settle(&slow, position);
    }
    assert_eq!((rig.store().tick(1 << 40).deleted_segments, log.oldest()), (1, 2));
    log.detach_cursor("slow").unwrap();
    let report = rig.store().tick(1 << 40);
    assert_eq!((report.deleted_segments, log.oldest()), (3, 8));
    assert_eq!((slow.low(), slow.expired(), slow.pending()), (8, times(4), times(2)));
    assert_eq!(
        (report.expired[0].cursor.as_str(), report.expired.iter().map(|e| e.counts[0]).sum::<u64>()),
        ("slow", 4)
    );
    assert_balanced(&slow);
}

#[test]
fn over_its_size_a_log_gives_up_its_retain_window_first() {
    let rig = Rig::new(limited(|limits| limits.max_size = 12_000));
    let cursor = rig.log().cursor("c", Start::Oldest).unwrap();
    for i in 0..30 {
        settle(&cursor, append(&rig.log(), i, vec![1; 1800]));
        assert!(rig.log().bytes() <= 12_000);
    }
    assert!((20..=26).contains(&rig.log().oldest()), "{}", rig.log().oldest());
    assert_eq!((cursor.expired(), cursor.pending()), (times(0), times(0)));
}

#[test]
fn a_full_log_drops_the_oldest_and_each_cursor_counts_what_it_had_not_settled() {
    let mut rig = Rig::new(limited(|limits| limits.max_size = 12_000));
    let log = rig.log();
    let cursors = ["nothing", "some", "all"].map(|name| log.cursor(name, Start::Oldest).unwrap());
    // Without a tick: writers enforce the bound as they go.
    for i in 0..31u64 {
        append(&log, 0, vec![1; 1800]);
        assert!(log.bytes() <= 12_000, "{}", log.bytes());
        settle(&cursors[2], i);
        if i % 3 == 0 {
            settle(&cursors[1], i);
        }
        cursors.iter().for_each(|cursor| assert_balanced(cursor));
    }
    let oldest = log.oldest();
    let expired = [oldest, oldest - oldest.div_ceil(3), 0];
    let report = rig.store().tick(0);
    for (cursor, expired) in cursors.iter().zip(expired) {
        assert_eq!(cursor.expired(), times(expired), "{}", cursor.name());
        let told = report.expired.iter().filter(|e| e.cursor == cursor.name()).map(|e| e.counts[0]).sum::<u64>();
        assert_eq!(told, expired);
    }
    let before: Vec<_> = cursors.iter().map(|cursor| cursor.balance()).collect();
    drop((log, cursors));
    rig.power_cut(5);
    for (name, before) in ["nothing", "some", "all"].iter().zip(before) {
        let cursor = rig.log().cursor(name, Start::Oldest).unwrap();
        assert_eq!((cursor.expired(), cursor.accepted()), (before.expired, before.accepted));
        assert_balanced(&cursor);
    }
}

#[test]
fn a_settled_range_that_reaches_into_what_stays_is_counted_once() {
    let rig = Rig::new(options());
    let log = rig.log();
    let cursor = log.cursor("c", Start::Oldest).unwrap();
    fill(&rig, 10);
    for position in [1, 2, 3, 4, 7] {
        settle(&cursor, position);
    }
    // Room for all but the first segment: 0 expires, 1 to 4 are settled across its end.
    log.set_limits(Some(log.bytes() - 1), None);
    rig.store().tick(0);
    assert_eq!((log.oldest(), cursor.low(), cursor.expired()), (2, 5, times(1)));
    assert_balanced(&cursor);
    for position in [5, 6, 8, 9] {
        assert!(settle(&cursor, position));
    }
    assert_eq!((cursor.low(), cursor.pending()), (10, times(0)));
    assert!(!settle(&cursor, 0), "what has expired is not settled a second time");
}

#[test]
fn a_log_that_refuses_when_full_takes_appends_again_as_soon_as_there_is_room() {
    let by_log = |rig: &Rig| rig.log().set_limits(Some(12_000), Some(OnFull::Refuse));
    let by_cursor = |rig: &Rig| {
        rig.log().set_limits(Some(12_000), None);
        rig.log().cursor("c", Start::Oldest).unwrap().set_on_full(Some(OnFull::Refuse));
    };
    for refuse in [&by_log as &dyn Fn(&Rig), &by_cursor] {
        let rig = Rig::new(options());
        let log = rig.log();
        let cursor = log.cursor("c", Start::Oldest).unwrap();
        log.cursor("patient", Start::Head).unwrap();
        log.detach_cursor("patient").unwrap();
        refuse(&rig);
        let mut taken = 0;
        while let Ok(position) = try_append(&log, entry(0, vec![1; 1800])) {
            taken = position + 1;
            assert!(taken < 100);
        }
        assert!((4..=6).contains(&taken), "{taken}");
        assert!(log.bytes() <= 12_000);
        rig.store().tick(0);
        assert!(matches!(try_append(&log, entry(0, vec![1; 1800])), Err(AppendError::Full)));
        for position in 0..taken {
            settle(&cursor, position);
        }
        rig.store().tick(0);
        assert_eq!(append(&log, 0, vec![1; 1800]), taken, "nothing was written of what was refused");
        assert_eq!((cursor.expired(), cursor.pending()), (times(0), times(1)));
    }
}

#[test]
fn all_logs_together_stay_within_their_bound_and_the_largest_gives_way() {
    let rig = Rig::new(options());
    let [large, small] = ["large", "small"].map(|name| rig.store().log(name).unwrap());
    let cursors = [large.cursor("c", Start::Oldest).unwrap(), small.cursor("c", Start::Oldest).unwrap()];
    for i in 0..40 {
        append(&large, i, vec![1; 1800]);
        if i % 8 == 0 {
            append(&small, i, vec![1; 1800]);
        }
    }
    rig.store().set_limits(RetentionLimits { max_total: 40_000, ..rig.options.limits.clone() });
    rig.store().tick(0);
    assert!(rig.store().disk_bytes() <= 40_000);
    assert_eq!(cursors[1].expired(), times(0));
    assert!(cursors[0].expired()[0] >= 20);
    cursors.iter().for_each(|cursor| assert_balanced(cursor));
    assert_eq!(append(&small, 0, "goes on"), 5);
}

#[test]
fn looking_at_the_bounds_from_several_threads_at_once_frees_no_more_than_one_look() {
    let expired_after = |threads: usize| {
        let rig = Rig::new(options());
        let log = rig.log();
        let cursor = log.cursor("c", Start::Oldest).unwrap();
        fill(&rig, 40);
        rig.store().set_limits(RetentionLimits { max_total: 40_000, ..rig.options.limits.clone() });
        let start = std::sync::Barrier::new(threads);
        std::thread::scope(|scope| {
            for _ in 0..threads {
                scope.spawn(|| {
                    start.wait();
                    rig.store().tick(0);
                });
            }
        });
        assert_balanced(&cursor);
        cursor.expired()
    };
    let one_look = expired_after(1);
    assert!(one_look[0] > 0);
    for _ in 0..50 {
        assert_eq!(expired_after(4), one_look);
    }
}

#[test]
fn some_of_the_disk_stays_free_and_appends_are_refused_where_nothing_may_go() {
    let rig = Rig::new(limited(|limits| {
        limits.on_full = OnFull::Refuse;
        limits.min_free = 30_000;
    }));
    let log = rig.log();
    let cursor = log.cursor("c", Start::Oldest).unwrap();
    rig.storage.set_capacity(Some(rig.storage.used() + 60_000));
    for _ in 0..20 {
        if try_append(&log, entry(0, vec![1; 1800])).is_err() {
            break;
        }
        rig.store().tick(0);
    }
    assert!(matches!(try_append(&log, entry(0, "x")), Err(AppendError::NoSpace)));
    assert!((14..=17).contains(&log.head()), "{}", log.head());
    for position in 0..log.head() {
        settle(&cursor, position);
    }
    rig.store().tick(0);
    rig.store().tick(0);
    append(&log, 0, "x");
}

#[test]
fn a_quiet_log_gives_up_even_its_last_segment_and_goes_on_at_its_position() {
    let mut rig = Rig::new(limited(|limits| limits.retain_ms = 100_000));
    let cursor = rig.log().cursor("c", Start::Oldest).unwrap();
    fill(&rig, 3);
    for position in 0..3 {
        settle(&cursor, position);
    }
    for now in [5_000, 70_000, 200_000, 200_001] {
        rig.store().tick(now);
    }
    assert_eq!((rig.segments().len(), rig.log().bytes(), rig.log().oldest()), (0, 0, 3));
    drop(cursor);
    rig.power_cut(0);
    assert_eq!((rig.log().head(), rig.log().totals()), (3, times(3)));
    assert_eq!(append(&rig.log(), 300_000, "again"), 3);
    assert_eq!(rig.log().cursor("c", Start::Oldest).unwrap().pending(), times(1));
}

#[test]
fn a_crash_between_booking_and_deleting_books_once() {
    let mut rig = Rig::new(options());
    let cursor = rig.log().cursor("c", Start::Oldest).unwrap();
    fill(&rig, 10);
    rig.log().set_limits(Some(rig.log().bytes() - 1), None);
    rig.storage.fail(Operation::Remove, 0, std::io::ErrorKind::Other);
    let report = rig.store().tick(0);
    assert_eq!((report.errors.len(), report.deleted_segments, cursor.expired()), (1, 0, times(2)));
    drop(cursor);
    rig.power_cut(0);
    let cursor = rig.log().cursor("c", Start::Oldest).unwrap();
    assert_eq!((rig.log().oldest(), cursor.low(), cursor.expired()), (0, 2, times(2)));
    rig.log().set_limits(Some(rig.log().bytes() - 1), None);
    rig.store().tick(0);
    assert_eq!((rig.log().oldest(), cursor.expired()), (2, times(2)));
    assert_balanced(&cursor);
}

#[test]
fn what_cannot_be_booked_durably_has_not_expired() {
    for operation in [Operation::Write, Operation::Sync] {
        let mut rig = Rig::new(options());
        let log = rig.log();
        let cursors = ["one", "other"].map(|name| log.cursor(name, Start::Oldest).unwrap());
        fill(&rig, 10);
        log.set_limits(Some(log.bytes() - 1), None);
        rig.storage.fail(operation, 0, std::io::ErrorKind::Other);
        let report = rig.store().tick(0);
        assert_eq!((report.errors.len(), report.expired.len(), log.oldest()), (1, 0, 0), "{operation:?}");
        for cursor in &cursors {
            assert_eq!((cursor.low(), cursor.expired(), cursor.expired_until()), (0, [0; 3], 0));
            assert_balanced(cursor);
        }
        settle(&cursors[0], 0);
        assert_eq!(rig.store().tick(0).expired.len(), 2);
        assert_eq!(cursors.each_ref().map(|cursor| cursor.expired()), [times(1), times(2)]);
        assert_eq!(cursors.each_ref().map(|cursor| cursor.expired_until()), [2, 2]);
        drop((log, cursors));
        rig.power_cut(0);
        let (log, names) = (rig.log(), ["one", "other"]);
        let cursors = names.map(|name| log.cursor(name, Start::Oldest).unwrap());
        assert_eq!(cursors.each_ref().map(|cursor| (cursor.low(), cursor.expired())), [(2, times(1)), (2, times(2))]);
        cursors.iter().for_each(|cursor| assert_balanced(cursor));
    }
}

#[test]
fn a_reader_in_a_segment_that_goes_reads_it_to_its_end_or_meets_a_gap() {
    let rig = Rig::new(options());
    let log = rig.log();
    fill(&rig, 10);
    let mut reader = log.reader(0);
    let mut out = Vec::new();
    reader.read(1, 1, &mut out).unwrap();
    log.set_limits(Some(8_000), None);
    rig.store().tick(0);
    assert!(log.oldest() >= 4);
    reader.read(usize::MAX, usize::MAX, &mut out).unwrap();
    assert_eq!(reader.position(), 10);
    let segment_log::Read::Gap { from, to, counts, cause } = &out[1] else { panic!("{:?}", out[1]) };
    assert_eq!((*from, *to, *counts, *cause), (1, log.oldest(), times(log.oldest() - 1), GapCause::Expired));
}

#[test]
fn what_was_acknowledged_is_there_after_a_kill_though_the_log_is_full_and_must_keep_all() {
    for end in [Rig::kill as fn(&mut Rig) -> _, |rig: &mut Rig| rig.power_cut(7)] {
        let mut rig = Rig::new(options());
        rig.options.limits.max_size = 7_000;
        rig.options.limits.on_full = OnFull::Refuse;
        rig.reopen();
        let log = rig.log();
        log.cursor("c", Start::Oldest).unwrap();
        let mut acknowledged = 0;
        while try_append(&log, entry(0, vec![1; 300])).is_ok() {
            acknowledged += 1;
        }
        assert!(acknowledged > 10, "{acknowledged}");
        drop(log);
        let mut bytes = Vec::new();
        for _ in 0..4 {
            end(&mut rig);
            let log = rig.log();
            assert_eq!((log.head(), positions(&log).len() as u64), (acknowledged, acknowledged));
            assert_eq!(log.find_cursor("c").unwrap().pending(), times(acknowledged));
            assert!(try_append(&log, entry(0, vec![1; 300])).is_err(), "it is full");
            bytes.push(log.bytes());
        }
        // The last commit is written again once, and not at every start.
        assert_eq!(bytes[1..], [bytes[0]; 3]);
    }
}
