//! Gauges, sums, summaries and exemplars, and what is refused of them.

use otlp::{Options, Reason};
use remote_write::Counts;
use serde_json::{Value, json};

use super::{TIME, attributes, nanos, of, only, translate, with};

fn point(more: Value) -> Value {
    with(json!({"timeUnixNano": nanos(TIME), "startTimeUnixNano": nanos(TIME - 5000)}), more)
}

fn sum(is_monotonic: bool, temporality: u32, points: Value) -> Value {
    json!({"name": "requests", "description": "All of them.", "unit": "1", "sum": {
        "isMonotonic": is_monotonic, "aggregationTemporality": temporality, "dataPoints": points}})
}

fn samples(metric: Value) -> Vec<String> {
    translate(&only(metric), &Options::default()).samples()
}

#[test]
fn a_monotonic_sum_is_a_counter_with_the_time_it_counts_from() {
    let translated = translate(&only(sum(true, 2, json!([point(json!({"asInt": "7"}))]))), &Options::default());
    assert_eq!(translated.samples(), ["requests_total 7 @1700000000000 since 1699999995000"]);
    let request = translated.request();
    let metadata = request.series[0].metadata.unwrap();
    assert_eq!((metadata.kind, metadata.help, metadata.unit), (1, &b"All of them."[..], &b""[..]));
}

#[test]
fn other_sums_and_gauges_are_gauges() {
    let translated = translate(&only(sum(false, 2, json!([point(json!({"asDouble": -0.5}))]))), &Options::default());
    assert_eq!(translated.samples(), ["requests -0.5 @1700000000000 since 1699999995000"]);
    assert_eq!(translated.request().series[0].metadata.unwrap().kind, 2);
    let gauge = json!({"name": "heat", "unit": "Cel", "gauge": {"dataPoints": [point(json!({"asDouble": 21.5}))]}});
    let translated = translate(&only(gauge), &Options::default());
    assert_eq!(translated.samples(), ["heat_celsius 21.5 @1700000000000"]);
    let metadata = translated.request().series[0].metadata.unwrap();
    assert_eq!((metadata.kind, metadata.unit), (2, &b"celsius"[..]));
}

#[test]
fn a_start_that_is_not_before_its_sample_is_left_out() {
    let same = json!({"asInt": 1, "timeUnixNano": nanos(TIME), "startTimeUnixNano": nanos(TIME)});
    assert_eq!(samples(sum(true, 2, json!([same]))), ["requests_total 1 @1700000000000"]);
}

#[test]
fn no_recorded_value_is_a_stale_marker() {
    let gone = point(json!({"flags": 1}));
    assert_eq!(samples(sum(true, 2, json!([gone]))), ["requests_total stale @1700000000000 since 1699999995000"]);
}

#[test]
fn a_summary_is_a_series_for_each_quantile_and_a_sum_and_a_count() {
    let metric = |more| {
        let values = json!([{"quantile": 0.5, "value": 2.0}, {"quantile": 0.999, "value": 1e30}, {"quantile": 1}]);
        let point = point(json!({"count": "3", "sum": 7.5, "quantileValues": values}));
        json!({"name": "wait", "unit": "ms", "summary": {"dataPoints": [with(point, more)]}})
    };
    let end = "@1700000000000 since 1699999995000";
    assert_eq!(
        samples(metric(json!({}))),
        [
            format!("wait_milliseconds_sum 7.5 {end}"),
            format!("wait_milliseconds_count 3 {end}"),
            format!("wait_milliseconds{{quantile=\"0.5\"}} 2 {end}"),
            format!("wait_milliseconds{{quantile=\"0.999\"}} 1000000000000000000000000000000 {end}"),
            format!("wait_milliseconds{{quantile=\"1\"}} 0 {end}"),
        ]
    );
    let ended = samples(metric(json!({"flags": 1})));
    assert!(ended.len() == 5 && ended.iter().all(|line| line.contains(" stale ")), "{ended:?}");
}

#[test]
fn a_point_is_refused_alone_and_the_reason_names_metric_and_cause() {
    let metrics = json!([
        {"name": "good", "gauge": {"dataPoints": [point(json!({"asInt": 1})), point(json!({})), point(json!({"asInt": 2}))]}},
        sum(true, 1, json!([point(json!({"asInt": 1})), point(json!({"asInt": 2}))])),
        {"name": "unsaid", "sum": {"dataPoints": [point(json!({"asInt": 1}))]}},
        {"name": "...", "gauge": {"dataPoints": [point(json!({"asInt": 1}))]}},
        {"name": "odd", "gauge": {"dataPoints": [point(json!({"asInt": 1, "attributes": attributes(&[("", "x")])}))]}},
    ]);
    let translated = translate(&of(&[], metrics), &Options::default());
    assert_eq!(translated.samples(), ["good 1 @1700000000000", "good 2 @1700000000000"]);
    assert_eq!((translated.translation.points, translated.translation.refused.points()), (8, 6));
    assert_eq!(translated.translation.refused.counts(Reason::Invalid), Counts { samples: 6, ..Counts::default() });
    let told = translated.refused();
    for part in [
        "metric \"good\": a point without a value (1 point)",
        "metric \"requests\": delta temporality; set the exporter to cumulative",
        "(2 points)",
        "metric \"unsaid\": no temporality",
        "metric \"...\": its name has no character that may stay",
        "metric \"odd\": no label can be named after the attribute \"\"",
    ] {
        assert!(told.contains(part), "{part} in {told}");
    }
}

#[test]
fn what_is_refused_of_many_metrics_is_told_of_five() {
    let metrics: Vec<_> = (0..9)
        .map(|n| with(sum(true, 1, json!([point(json!({"asInt": 1}))])), json!({"name": format!("m{n}")})))
        .collect();
    let translated = translate(&of(&[], metrics.into()), &Options::default());
    assert!(translated.refused().ends_with("; and 4 more points"), "{}", translated.refused());
}

#[test]
fn a_metric_without_points_or_of_a_kind_that_is_not_known_is_nothing() {
    let metrics =
        json!([{"name": "none"}, {"name": "empty", "gauge": {}}, {"name": "new", "trend": {"dataPoints": [{}]}}]);
    let translated = translate(&of(&[], metrics), &Options::default());
    assert_eq!((translated.translation.points, translated.samples().len()), (0, 0));
}

const TRACE: &str = "0AF7651916CD43DD8448EB211C80319C";
const SPAN: &str = "b7ad6b7169203331";

fn exemplar(more: Value) -> Value {
    with(json!({"timeUnixNano": nanos(TIME - 1), "asDouble": 0.25, "traceId": TRACE, "spanId": SPAN}), more)
}

#[test]
fn exemplars_have_the_ids_and_the_attributes_that_were_filtered() {
    let attribute = |key: &str, value: &str| json!({"filteredAttributes": attributes(&[(key, value)])});
    let exemplars = json!([
        exemplar(attribute("user.id", "7")),
        exemplar(attribute("trace_id", "mine")),
        exemplar(attribute("long", &"x".repeat(62))),
        exemplar(attribute("long", &"ü".repeat(61))),
        exemplar(json!({"traceId": "00000000000000000000000000000000", "spanId": ""})),
    ]);
    let translated = translate(
        &only(sum(true, 2, json!([point(json!({"asInt": 1, "exemplars": exemplars}))]))),
        &Options::default(),
    );
    let request = translated.request();
    let labels = |index: usize| {
        let labels = &request.series[0].exemplars[index].labels;
        labels
            .iter()
            .map(|label| format!("{}={}", String::from_utf8_lossy(label.name), String::from_utf8_lossy(label.value)))
            .collect::<Vec<_>>()
    };
    let ids = [format!("span_id={SPAN}"), format!("trace_id={}", TRACE.to_lowercase())];
    assert_eq!(labels(0), [&ids[..], &["user_id=7".to_owned()]].concat());
    assert_eq!(labels(1), ids);
    assert_eq!(labels(2), ids, "129 characters are one too many");
    assert_eq!(labels(3).len(), 3, "128 characters, whatever their bytes");
    assert!(labels(4).is_empty());
    let first = &request.series[0].exemplars[0];
    assert_eq!((first.value, first.timestamp), (0.25, 1_699_999_999_999));
    assert_eq!(translated.translation.lost_exemplars, 0);
}

#[test]
fn exemplars_of_gauges_and_those_without_a_value_are_left_out() {
    let no_value = json!({"timeUnixNano": nanos(TIME), "traceId": TRACE});
    let exemplars = json!([exemplar(json!({})), no_value]);
    let translated = translate(
        &only(sum(true, 2, json!([point(json!({"asInt": 1, "exemplars": exemplars}))]))),
        &Options::default(),
    );
    assert_eq!(translated.samples(), ["requests_total 1 @1700000000000 since 1699999995000 exemplars 1"]);
    assert_eq!(translated.translation.lost_exemplars, 1);
    let gauge = json!({"name": "heat", "gauge": {"dataPoints": [point(json!({"asInt": 1, "exemplars": exemplars}))]}});
    assert_eq!(samples(gauge), ["heat 1 @1700000000000"]);
}
