//! Cases one by one: each line is a data point, as it comes to the log.

use replicas::{DataPoint, Limits, Milliseconds, Selection, Value, Verdict};

const SERIES: u64 = 1;

/// Takes points of one series given as replica, seconds of the sample, seconds of receipt, value; what left, as replica and
/// seconds, without what patience lets go at the end.
fn leaves(points: &[(u32, i64, i64, Value)]) -> Vec<(u32, i64)> {
    let (mut selection, mut left) = (Selection::new(Limits::default()), Vec::new());
    for point in points {
        feed(&mut selection, *point, &mut left);
    }
    left
}

fn feed(selection: &mut Selection<(u32, i64)>, point: (u32, i64, i64, Value), left: &mut Vec<(u32, i64)>) {
    let (replica, at, received, value) = point;
    let received = received * 1000;
    let mut tell = |origin, verdict| left.extend((verdict == Verdict::Keep).then_some(origin));
    selection.pass(received, &mut tell);
    let point = DataPoint { origin: (replica, at), replica, at: at * 1000, value, received };
    selection.take(SERIES, point, &mut tell);
}

fn any(replica: u32, at: i64) -> (u32, i64, i64, Value) {
    (replica, at, at + 1, Value::Any)
}

fn stale(replica: u32, at: i64) -> (u32, i64, i64, Value) {
    (replica, at, at + 1, Value::Stale)
}

#[test]
fn a_series_of_one_replica_leaves_at_once_and_whole() {
    let points: Vec<_> = [0, 15, 30, 90, 105, 107, 600].map(|at| any(1, at)).into();
    assert_eq!(leaves(&points), [0, 15, 30, 90, 105, 107, 600].map(|at| (1, at)));
}

#[test]
fn what_waits_fills_the_hole_and_the_series_stays_there() {
    let points = [
        any(1, 0),
        any(2, 5),
        any(1, 15),
        any(2, 20),
        any(1, 30),
        any(2, 35),
        // The first is gone, and comes back.
        any(2, 50),
        any(2, 65),
        any(2, 80),
        any(1, 90),
        any(2, 95),
        any(1, 105),
        any(2, 110),
    ];
    assert_eq!(leaves(&points), [(1, 0), (1, 15), (1, 30), (2, 35), (2, 50), (2, 65), (2, 80), (2, 95), (2, 110)]);
}

#[test]
fn what_is_sent_again_or_out_of_order_leaves_once() {
    let points = [any(1, 0), any(1, 15), any(1, 15), any(1, 0), any(1, 30)];
    assert_eq!(leaves(&points), [(1, 0), (1, 15), (1, 30)]);
}

#[test]
fn a_target_that_only_the_chosen_replica_has_lost_goes_on() {
    let points = [
        any(1, 0),
        any(2, 5),
        any(1, 15),
        any(2, 20),
        any(1, 30),
        any(2, 35),
        stale(1, 45),
        any(2, 50),
        any(2, 65),
        any(2, 80),
        any(2, 95),
    ];
    assert_eq!(leaves(&points), [(1, 0), (1, 15), (1, 30), (2, 35), (2, 50), (2, 65), (2, 80), (2, 95)]);
}

#[test]
fn a_target_that_both_have_lost_ends_with_one_marker() {
    let points = [
        any(1, 0),
        any(2, 5),
        any(1, 15),
        any(2, 20),
        any(1, 30),
        any(2, 35),
        stale(1, 45),
        stale(2, 50),
        // A minute later nothing waits any more.
        any(1, 300),
        any(1, 315),
    ];
    assert_eq!(leaves(&points), [(1, 0), (1, 15), (1, 30), (1, 45), (1, 300), (1, 315)]);
}

#[test]
fn a_counter_does_not_fall_because_of_another_clock_but_because_its_target_began_anew() {
    let rising = |replica, at, value| (replica, at, at + 1, Value::Rising(value));
    let before =
        [rising(1, 0, 100.0), rising(2, 5, 90.0), rising(1, 15, 115.0), rising(2, 20, 105.0), rising(1, 30, 130.0)];
    // The second one's clock is 15 s ahead: at 35 it shows what the first had at 20.
    let skewed = [rising(2, 35, 120.0), rising(2, 50, 135.0), rising(2, 65, 150.0), rising(2, 80, 165.0)];
    let left = leaves(&[&before[..], &skewed].concat());
    assert_eq!(left, [(1, 0), (1, 15), (1, 30), (2, 50), (2, 65), (2, 80)]);
    let anew = [rising(2, 35, 2.0), rising(2, 50, 17.0), rising(2, 65, 32.0)];
    let left = leaves(&[&before[..], &anew].concat());
    assert_eq!(left, [(1, 0), (1, 15), (1, 30), (2, 35), (2, 50), (2, 65)]);
}

#[test]
fn after_a_restart_a_series_goes_on_behind_what_left() {
    let (mut selection, mut left) = (Selection::new(Limits::default()), Vec::new());
    for at in [0, 15, 30] {
        selection.recall(SERIES, at * 1000, Value::Any, at * 1000 + 1000);
    }
    for point in [any(1, 15), any(2, 20), any(1, 30), any(2, 35), any(1, 45), any(2, 50), any(1, 60)] {
        feed(&mut selection, point, &mut left);
    }
    // The choice was not recalled: whoever is first goes on, and stays.
    assert_eq!(left, [(1, 45), (1, 60)]);
}

#[test]
fn series_that_ended_are_forgotten_and_those_that_wait_are_not() {
    let (mut selection, mut left) = (Selection::new(Limits { patience_ms: 30_000, memory_ms: 60_000 }), Vec::new());
    for point in [any(1, 0), any(1, 15), any(2, 20)] {
        feed(&mut selection, point, &mut left);
    }
    let mut pass = |now: Milliseconds| selection.pass(now, &mut |origin, _| left.push(origin));
    pass(21_000);
    pass(60_000);
    assert_eq!(selection.series(), 1);
    selection.pass(200_000, &mut |_, _| {});
    assert_eq!(selection.series(), 0);
    assert_eq!(left, [(1, 0), (1, 15), (2, 20)], "what waited left when patience ended");
}

#[test]
fn more_replicas_than_are_told_apart_still_make_one_series() {
    let rounds = (0..20).flat_map(|round| (0..7).map(move |replica| any(replica, round * 15 + i64::from(replica))));
    let left = leaves(&rounds.collect::<Vec<_>>());
    assert_eq!(left.len(), 20);
    assert!(left.array_windows().all(|[one, next]| one.1 < next.1));
}
