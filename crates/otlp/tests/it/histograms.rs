//! Histograms of both kinds.

use otlp::Options;
use remote_write::model::{Count, Histogram, Span};
use serde_json::{Value, json};

use super::{STALE, TIME, Translated, nanos, only, translate, with};

fn explicit(more: Value) -> Value {
    let point = json!({
        "timeUnixNano": nanos(TIME), "startTimeUnixNano": nanos(TIME - 5000), "count": "10", "sum": 7.5,
        "explicitBounds": [0.1, 1, 1e21], "bucketCounts": ["1", "0", "6", "3"],
    });
    only(
        json!({"name": "wait", "unit": "s", "histogram": {"aggregationTemporality": 2, "dataPoints": [with(point, more)]}}),
    )
}

fn nhcb() -> Options {
    Options { convert_histograms_to_nhcb: true, ..Options::default() }
}

fn span(offset: i32, length: u32) -> Span {
    Span { offset, length }
}

#[test]
fn explicit_bounds_are_cumulative_series() {
    let end = "@1700000000000 since 1699999995000";
    let translated = translate(&explicit(json!({})), &Options::default());
    assert_eq!(
        translated.samples(),
        [
            format!("wait_seconds_sum 7.5 {end}"),
            format!("wait_seconds_count 10 {end}"),
            format!("wait_seconds_bucket{{le=\"0.1\"}} 1 {end}"),
            format!("wait_seconds_bucket{{le=\"1\"}} 1 {end}"),
            format!("wait_seconds_bucket{{le=\"1000000000000000000000\"}} 7 {end}"),
            format!("wait_seconds_bucket{{le=\"+Inf\"}} 10 {end}"),
        ]
    );
    let request = translated.request();
    assert!(
        request
            .series
            .iter()
            .all(|series| series.metadata.unwrap().kind == 3 && series.metadata.unwrap().unit == b"seconds")
    );
}

#[test]
fn a_sum_that_is_not_known_is_no_series_and_no_bounds_are_one_bucket() {
    let plain = explicit(json!({"sum": null, "explicitBounds": [], "bucketCounts": []}));
    let samples = translate(&plain, &Options::default()).samples();
    assert_eq!(samples.len(), 2);
    assert!(
        samples[0].starts_with("wait_seconds_count 10 ")
            && samples[1].starts_with("wait_seconds_bucket{le=\"+Inf\"} 10 ")
    );
}

#[test]
fn a_bound_of_infinity_is_the_bucket_that_has_none() {
    let infinite = explicit(json!({"explicitBounds": [1, "Infinity"], "bucketCounts": [4, 5, 1]}));
    let samples = translate(&infinite, &Options::default()).samples();
    assert_eq!(samples.len(), 4, "{samples:?}");
    let histogram = translate(&infinite, &nhcb()).histogram();
    assert_eq!((histogram.custom_values, histogram.positive_deltas), (vec![1.0], vec![4, 2]));
}

#[test]
fn exemplars_go_to_the_first_bucket_that_holds_them() {
    let exemplar = |value: f64| json!({"asDouble": value, "timeUnixNano": nanos(TIME)});
    let of =
        |values: &[f64]| explicit(json!({"exemplars": values.iter().map(|value| exemplar(*value)).collect::<Value>()}));
    let translated = translate(&of(&[-5.0, 0.1, 0.5, 2e21]), &Options::default());
    let numbers: Vec<_> = translated.request().series.iter().map(|series| series.exemplars.len()).collect();
    assert_eq!(numbers, [0, 0, 2, 1, 0, 1]);
    let translated = translate(&of(&[0.5, 2.0]), &nhcb());
    assert_eq!(translated.request().series[0].exemplars.len(), 2);
}

#[test]
fn explicit_bounds_are_custom_buckets_if_they_are_converted() {
    let translated = translate(&explicit(json!({})), &nhcb());
    let expected = Histogram {
        count: Some(Count::Int(10)),
        sum: 7.5,
        schema: -53,
        positive_spans: vec![span(0, 4)],
        positive_deltas: vec![1, -1, 6, -3],
        custom_values: vec![0.1, 1.0, 1e21],
        timestamp: 1_700_000_000_000,
        start_timestamp: 1_699_999_995_000,
        ..Histogram::default()
    };
    assert_eq!(translated.histogram(), expected);
    assert!(translated.samples().is_empty());
}

#[test]
fn bounds_and_buckets_that_make_no_histogram_are_refused() {
    for (wrong, cause) in [
        (json!({"explicitBounds": [1, 1, 2]}), "explicit bounds that do not rise"),
        (json!({"explicitBounds": [1, "NaN", 2]}), "explicit bounds that do not rise"),
        (json!({"explicitBounds": [1, 2]}), "4 buckets with 2 bounds"),
        (json!({"bucketCounts": []}), "0 buckets with 3 bounds"),
    ] {
        for options in [Options::default(), nhcb()] {
            let translated = translate(&explicit(wrong.clone()), &options);
            assert!(translated.refused().contains(cause), "{wrong}: {}", translated.refused());
            assert_eq!(translated.request().series.len(), 0);
        }
    }
    let refused = translate(&explicit(json!({"count": 11})), &nhcb()).refused();
    assert!(refused.contains("buckets that do not add up to the count"), "{refused}");
    let nan = translate(&explicit(json!({"count": 11, "sum": "NaN"})), &nhcb());
    assert_eq!(nan.histogram().count, Some(Count::Int(11)), "what is no number is in no bucket");
}

#[test]
fn a_histogram_that_ends_ends_in_all_its_series() {
    for gone in [json!({"flags": 1}), json!({"flags": 1, "bucketCounts": [], "sum": null, "count": 0})] {
        let samples = translate(&explicit(gone), &Options::default()).samples();
        assert!(samples.len() == 6 && samples.iter().all(|line| line.contains(" stale ")), "{samples:?}");
    }
    let ended = translate(&explicit(json!({"flags": 1})), &nhcb()).histogram();
    assert_eq!((ended.sum.to_bits(), ended.count, ended.schema), (STALE, Some(Count::Int(0)), -53));
}

fn exponential(more: Value) -> Value {
    let point = json!({
        "timeUnixNano": nanos(TIME), "startTimeUnixNano": nanos(TIME - 5000), "count": 12, "sum": 7.5, "scale": 3,
        "zeroCount": "2", "positive": {"offset": -2, "bucketCounts": [1, "2", 0, 0, 0, 4]},
        "negative": {"offset": 1, "bucketCounts": [3]},
    });
    only(
        json!({"name": "wait", "unit": "s", "exponentialHistogram": {"aggregationTemporality": 2, "dataPoints": [with(point, more)]}}),
    )
}

fn exponential_of(more: Value) -> Translated {
    translate(&exponential(more), &Options::default())
}

#[test]
fn exponential_histograms_are_native_ones_whose_buckets_are_called_after_their_upper_bounds() {
    let expected = Histogram {
        count: Some(Count::Int(12)),
        sum: 7.5,
        schema: 3,
        zero_threshold: 1e-128,
        zero_count: Some(Count::Int(2)),
        negative_spans: vec![span(2, 1)],
        negative_deltas: vec![3],
        positive_spans: vec![span(-1, 2), span(3, 1)],
        positive_deltas: vec![1, 1, 2],
        reset_hint: 0,
        timestamp: 1_700_000_000_000,
        start_timestamp: 1_699_999_995_000,
        ..Histogram::default()
    };
    let translated = exponential_of(json!({}));
    assert_eq!(translated.histogram(), expected);
    let request = translated.request();
    assert_eq!(request.series[0].labels[0].value, b"wait_seconds");
    assert_eq!(request.series[0].metadata.unwrap().kind, 3);
}

#[test]
fn a_scale_of_20_is_reduced_to_8() {
    // 2^12 buckets become one: 4095 and 4096 are neighbours on both sides of a bound, -1 is below zero's.
    let mut counts = vec![0; 4098];
    (counts[0], counts[1], counts[4096], counts[4097]) = (1, 2, 3, 4);
    let histogram = exponential_of(json!({
        "scale": 20, "count": 12, "positive": {"offset": -1, "bucketCounts": counts}, "negative": {},
    }))
    .histogram();
    assert_eq!((histogram.schema, histogram.positive_spans), (8, vec![span(0, 3)]));
    assert_eq!(histogram.positive_deltas, [1, 4, -1]);
    let coarse = exponential_of(json!({"scale": -4, "zeroThreshold": 0.5})).histogram();
    assert_eq!((coarse.schema, coarse.zero_threshold), (-4, 0.5));
}

#[test]
fn exponential_histograms_that_no_native_one_can_hold_are_refused() {
    for (wrong, cause) in [
        (json!({"scale": -5}), "an exponential histogram of scale -5; the least is -4"),
        (json!({"count": 13}), "buckets that do not add up to the count"),
        (json!({"zeroThreshold": -1.0}), "a zero threshold that is negative"),
        (json!({"zeroThreshold": "NaN"}), "a zero threshold that is negative or no number"),
        (json!({"negative": {"offset": 2_147_483_647, "bucketCounts": [3]}}), "bucket indexes out of range"),
        (json!({"zeroCount": "18446744073709551615"}), "buckets that do not add up to the count"),
    ] {
        let translated = exponential_of(wrong.clone());
        assert!(translated.refused().contains(cause), "{wrong}: {}", translated.refused());
        assert_eq!(translated.translation.refused.counts(otlp::Reason::Invalid).histograms, 1);
    }
}

#[test]
fn without_a_sum_it_is_zero_and_a_native_histogram_that_ends_has_it_stale() {
    assert_eq!(exponential_of(json!({"sum": null})).histogram().sum, 0.0);
    let ended = exponential_of(json!({"flags": 1})).histogram();
    assert_eq!((ended.sum.to_bits(), ended.count), (STALE, Some(Count::Int(0))));
    assert!(ended.positive_spans.is_empty() && ended.negative_spans.is_empty());
}

#[test]
fn more_buckets_than_any_histogram_needs_are_refused() {
    let translated = exponential_of(json!({"positive": {"bucketCounts": vec![1; (1 << 15) + 1]}}));
    assert!(translated.refused().contains("more than 32768 buckets"), "{}", translated.refused());
}
