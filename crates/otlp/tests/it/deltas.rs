//! Deltas made cumulative.

use otlp::accumulate::{Settings, Totals};
use otlp::{Limits, Options, Reason};
use remote_write::model::Count;
use serde_json::{Value, json};

use super::{TIME, Translated, attributes, nanos, only, translate_within, with};

const SETTINGS: Settings = Settings { max_bytes: 1 << 20, max_stale_ms: 60_000 };

fn send(totals: &mut Totals, metric: Value) -> Translated {
    send_at(totals, metric, SETTINGS, 0)
}

fn send_at(totals: &mut Totals, metric: Value, settings: Settings, now_ms: u64) -> Translated {
    let session = totals.session(settings, now_ms);
    translate_within(&only(metric), &Options::default(), Limits::default(), Some(session)).unwrap()
}

/// A delta over an interval in seconds after `TIME`.
fn over(from: u64, to: u64, more: Value) -> Value {
    let at = |second: u64| nanos(TIME + second * 1000);
    with(json!({"startTimeUnixNano": at(from), "timeUnixNano": at(to)}), more)
}

fn sum(points: Value) -> Value {
    json!({"name": "n", "sum": {"isMonotonic": true, "aggregationTemporality": 1, "dataPoints": points}})
}

fn one(from: u64, to: u64, value: f64) -> Value {
    sum(json!([over(from, to, json!({"asDouble": value}))]))
}

#[test]
fn deltas_add_up_from_the_start_of_the_first() {
    let mut totals = Totals::default();
    assert_eq!(send(&mut totals, one(0, 10, 3.0)).samples(), ["n_total 3 @1700000010000 since 1700000000000"]);
    assert_eq!(send(&mut totals, one(10, 20, 4.5)).samples(), ["n_total 7.5 @1700000020000 since 1700000000000"]);
    // A gap is no reset: what was in it is not known.
    assert_eq!(send(&mut totals, one(30, 40, 1.0)).samples(), ["n_total 8.5 @1700000040000 since 1700000000000"]);
    assert_eq!(totals.streams(), 1);
}

#[test]
fn a_delta_that_is_repeated_is_not_added_again_and_an_older_one_is_refused() {
    let mut totals = Totals::default();
    for (from, to) in [(0, 10), (10, 20)] {
        assert!(send(&mut totals, one(from, to, 2.0)).translation.refused.is_empty());
    }
    assert_eq!(send(&mut totals, one(10, 20, 2.0)).samples(), ["n_total 4 @1700000020000 since 1700000000000"]);
    let late = send(&mut totals, one(5, 15, 2.0));
    assert!(late.samples().is_empty());
    assert!(late.refused().contains("a delta that is older than the last of its stream"), "{}", late.refused());
    assert_eq!(send(&mut totals, one(20, 30, 1.0)).samples(), ["n_total 5 @1700000030000 since 1700000000000"]);
}

#[test]
fn what_would_spoil_a_total_for_good_is_refused_and_the_total_goes_on() {
    let mut totals = Totals::default();
    send(&mut totals, one(0, 10, 3.0));
    for (value, why) in [(f64::NAN, "NaN or infinite"), (f64::INFINITY, "NaN or infinite"), (-1.0, "a negative delta")]
    {
        let point = match value {
            _ if value.is_nan() => json!({"asDouble": "NaN"}),
            _ if value.is_infinite() => json!({"asDouble": "Infinity"}),
            value => json!({"asDouble": value}),
        };
        let spoilt = send(&mut totals, sum(json!([over(10, 20, point)])));
        assert!(spoilt.samples().is_empty() && spoilt.refused().contains(why), "{value}: {}", spoilt.refused());
    }
    assert_eq!(send(&mut totals, one(10, 20, 1.0)).samples(), ["n_total 4 @1700000020000 since 1700000000000"]);
    // What has no room in a double begins anew.
    send(&mut totals, one(20, 30, f64::MAX));
    let anew = send(&mut totals, one(30, 40, f64::MAX));
    assert_eq!(anew.samples()[0].split(' ').nth(3), Some("since"));
    assert!(anew.samples()[0].ends_with("since 1700000030000"), "{:?}", anew.samples());
}

#[test]
fn each_set_of_labels_is_a_stream_of_its_own() {
    let mut totals = Totals::default();
    let point = |kind: &str| over(0, 10, json!({"asInt": 1, "attributes": attributes(&[("kind", kind)])}));
    let samples = send(&mut totals, sum(json!([point("a"), point("b")]))).samples();
    assert_eq!((samples.len(), totals.streams()), (2, 2));
    assert!(samples.iter().all(|line| line.contains("} 1 ")), "{samples:?}");
}

#[test]
fn what_is_no_request_adds_nothing() {
    let mut totals = Totals::default();
    send(&mut totals, one(0, 10, 1.0));
    let limits = Limits { output_bytes: 1, ..Limits::default() };
    let session = totals.session(SETTINGS, 0);
    translate_within(&only(one(10, 20, 5.0)), &Options::default(), limits, Some(session)).unwrap_err();
    assert_eq!(send(&mut totals, one(10, 20, 2.0)).samples(), ["n_total 3 @1700000020000 since 1700000000000"]);
}

#[test]
fn a_stale_marker_leaves_the_total_and_cumulative_points_pass() {
    let mut totals = Totals::default();
    send(&mut totals, one(0, 10, 1.0));
    let gone = send(&mut totals, sum(json!([over(10, 20, json!({"flags": 1}))])));
    assert!(gone.samples()[0].starts_with("n_total stale "));
    assert_eq!(send(&mut totals, one(10, 20, 1.0)).samples(), ["n_total 2 @1700000020000 since 1700000000000"]);
    let mut cumulative = one(0, 10, 7.0);
    cumulative["sum"]["aggregationTemporality"] = json!(2);
    assert_eq!(send(&mut totals, cumulative).samples(), ["n_total 7 @1700000010000 since 1700000000000"]);
}

#[test]
fn idle_streams_are_forgotten_and_counted_and_begin_anew() {
    let mut totals = Totals::default();
    send_at(&mut totals, one(0, 10, 1.0), SETTINGS, 1000);
    send_at(&mut totals, one(10, 20, 1.0), SETTINGS, 61_000);
    assert_eq!((totals.streams(), totals.evicted()), (1, 0));
    let anew = send_at(&mut totals, one(90, 100, 1.0), SETTINGS, 121_001);
    assert_eq!(anew.samples(), ["n_total 1 @1700000100000 since 1700000090000"]);
    assert_eq!((totals.streams(), totals.evicted()), (1, 1));
}

#[test]
fn beyond_the_memory_for_totals_new_streams_are_refused_and_others_go_on() {
    let mut totals = Totals::default();
    let settings = Settings { max_bytes: 1000, ..SETTINGS };
    let point = |kind: usize, second| {
        over(second, second + 10, json!({"asInt": 1, "attributes": attributes(&[("kind", &kind.to_string())])}))
    };
    let points: Vec<_> = (0..50).map(|kind| point(kind, 0)).collect();
    let translated = send_at(&mut totals, sum(points.into()), settings, 0);
    let kept = totals.streams();
    assert!((1..10).contains(&kept), "{kept}");
    assert_eq!(translated.translation.refused.counts(Reason::Streams).samples, 50 - kept as u64);
    assert!(translated.refused().contains("no room for the running total"), "{}", translated.refused());
    assert_eq!(send_at(&mut totals, sum(json!([point(0, 10)])), settings, 0).samples().len(), 1);
}

fn explicit(from: u64, to: u64, bounds: Value, counts: [u64; 3]) -> Value {
    let point = over(
        from,
        to,
        json!({"count": counts.iter().sum::<u64>(), "sum": 1.5, "explicitBounds": bounds, "bucketCounts": counts}),
    );
    json!({"name": "h", "histogram": {"aggregationTemporality": 1, "dataPoints": [point]}})
}

#[test]
fn explicit_histograms_add_up_and_other_bounds_begin_anew() {
    let mut totals = Totals::default();
    send(&mut totals, explicit(0, 10, json!([1, 2]), [1, 2, 3]));
    let samples = send(&mut totals, explicit(10, 20, json!([1, 2]), [1, 0, 1])).samples();
    let end = "@1700000020000 since 1700000000000";
    assert_eq!(
        samples,
        [
            format!("h_sum 3 {end}"),
            format!("h_count 8 {end}"),
            format!("h_bucket{{le=\"1\"}} 2 {end}"),
            format!("h_bucket{{le=\"2\"}} 4 {end}"),
            format!("h_bucket{{le=\"+Inf\"}} 8 {end}"),
        ]
    );
    let samples = send(&mut totals, explicit(20, 30, json!([1, 5]), [1, 0, 0])).samples();
    assert_eq!(samples[1], "h_count 1 @1700000030000 since 1700000020000");
}

fn exponential(from: u64, to: u64, scale: i32, offset: i32, counts: &[u64]) -> Value {
    let count = counts.iter().sum::<u64>() + 1;
    let point = over(
        from,
        to,
        json!({"count": count, "sum": 1, "scale": scale, "zeroCount": 1,
        "positive": {"offset": offset, "bucketCounts": counts}}),
    );
    json!({"name": "e", "exponentialHistogram": {"aggregationTemporality": 1, "dataPoints": [point]}})
}

#[test]
fn exponential_histograms_add_up_at_the_coarser_scale() {
    let mut totals = Totals::default();
    send(&mut totals, exponential(0, 10, 3, 0, &[1, 2, 3, 4]));
    let histogram = send(&mut totals, exponential(10, 20, 2, 1, &[5, 0, 6])).histogram();
    // At scale 2 the first is 3 and 7 from index 0; the second adds 5 at 1 and 6 at 3. Prometheus counts from one more.
    assert_eq!(
        (histogram.schema, histogram.count, histogram.zero_count),
        (2, Some(Count::Int(23)), Some(Count::Int(2)))
    );
    assert_eq!((histogram.positive_spans[0].offset, histogram.positive_deltas), (1, vec![3, 9, -12, 6]));
    assert_eq!((histogram.sum, histogram.start_timestamp), (2.0, 1_700_000_000_000));
}

#[test]
fn exponential_histograms_that_are_far_apart_become_coarse_instead_of_large() {
    let mut totals = Totals::default();
    send(&mut totals, exponential(0, 10, 8, 0, &[1]));
    let histogram = send(&mut totals, exponential(10, 20, 8, 200_000, &[1])).histogram();
    assert_eq!((histogram.schema, histogram.count), (0, Some(Count::Int(4))));
    let far = send(&mut totals, exponential(20, 30, 8, -2_147_483_000, &[7])).histogram();
    assert_eq!(far.count, Some(Count::Int(8)), "what no scale holds begins anew");
}
