//! Attributes as labels: those of points, of resources and of scopes, and `target_info`.

use otlp::{Limits, Options, Promote, Reason, Strategy};
use remote_write::Counts;
use serde_json::{Value, json};

use super::{TIME, attributes, gauge, nanos, of, only, translate, translate_within};

fn promoting(promote: Promote) -> Options {
    Options { promote, ..Options::default() }
}

fn names(names: &[&str]) -> std::collections::BTreeSet<String> {
    names.iter().map(|name| (*name).to_owned()).collect()
}

const SHOP: &[(&str, &str)] = &[
    ("service.name", "cart"),
    ("service.namespace", "shop"),
    ("service.instance.id", "pod-1"),
    ("host.name", "node-7"),
    ("cloud.region", "eu"),
];

#[test]
fn attributes_that_become_one_label_are_joined_in_the_order_of_their_keys() {
    let point = [("b_c", "3"), ("b.c", "1"), ("b-c", "0"), ("b.c", "2"), ("none", "")];
    let translated = translate(&only(gauge("m", 1.0, &point)), &Options::default());
    assert_eq!(translated.samples(), ["m{b_c=\"0;1;2;3\"} 1 @1700000000000"]);
    let as_is = Options { strategy: Strategy::NoTranslation, ..Options::default() };
    let translated = translate(&only(gauge("m", 1.0, &point[..2])), &as_is);
    assert_eq!(translated.samples(), ["m{b.c=\"1\",b_c=\"3\"} 1 @1700000000000"]);
}

#[test]
fn names_that_are_not_the_senders_are_ignored() {
    let point = [("__name__", "other"), ("..name..", "other"), ("vm_account_id", "7"), ("vm.project.id", "7")];
    let translated = translate(&only(gauge("m", 1.0, &point)), &Options::default());
    assert_eq!(translated.samples(), ["m 1 @1700000000000"]);
}

#[test]
fn values_of_all_kinds_are_texts() {
    let value = |value: Value| {
        json!({"name": "m", "gauge": {"dataPoints": [
        {"asInt": 1, "attributes": [{"key": "a", "value": value}]}]}})
    };
    for (json, text) in [
        (json!({"boolValue": true}), "true"),
        (json!({"intValue": "-7"}), "-7"),
        (json!({"doubleValue": 0.1}), "0.1"),
        (json!({"doubleValue": 1e21}), "1e+21"),
        (json!({"doubleValue": 1e-7}), "1e-7"),
        (json!({"bytesValue": "AQI="}), "AQI="),
        (json!({"arrayValue": {"values": [{"intValue": 1}, {"stringValue": "x\"y"}, {}]}}), r#"[1,"x\"y",null]"#),
        (
            json!({"kvlistValue": {"values": [{"key": "b", "value": {"boolValue": false}}, {"key": "a", "value": {"bytesValue": "AQI="}}]}}),
            r#"{"a":"AQI=","b":false}"#,
        ),
    ] {
        let translated = translate(&only(value(json)), &Options::default());
        let request = translated.request();
        let label = request.series[0].labels.iter().find(|label| label.name == b"a").unwrap();
        assert_eq!(std::str::from_utf8(label.value).unwrap(), text);
    }
    let translated = translate(&only(value(json!({}))), &Options::default());
    assert_eq!(translated.samples(), ["m 1 @0"]);
}

#[test]
fn job_and_instance_come_from_the_resource_and_override() {
    let point = [("job", "mine"), ("instance", "mine"), ("x", "1")];
    let metrics = json!([gauge("m", 1.0, &point)]);
    let translated = translate(&of(&SHOP[..3], metrics.clone()), &Options::default());
    assert_eq!(translated.samples(), ["m{instance=\"pod-1\",job=\"shop/cart\",x=\"1\"} 1 @1700000000000"]);
    let translated = translate(&of(&SHOP[..1], metrics.clone()), &Options::default());
    assert_eq!(translated.samples(), ["m{instance=\"mine\",job=\"cart\",x=\"1\"} 1 @1700000000000"]);
    let translated = translate(&of(&SHOP[1..2], metrics), &Options::default());
    assert_eq!(translated.samples(), ["m{instance=\"mine\",job=\"mine\",x=\"1\"} 1 @1700000000000"]);
}

#[test]
fn target_info_says_what_else_is_known_of_a_resource() {
    let translated = translate(&of(SHOP, json!([gauge("m", 1.0, &[])])), &Options::default());
    assert_eq!(
        translated.samples(),
        [
            "m{instance=\"pod-1\",job=\"shop/cart\"} 1 @1700000000000",
            "target_info{cloud_region=\"eu\",host_name=\"node-7\",instance=\"pod-1\",job=\"shop/cart\"} 1 @1700000000000",
        ]
    );
    let request = translated.request();
    let metadata = request.series[1].metadata.unwrap();
    assert_eq!((metadata.kind, metadata.help), (2, &b"Target metadata"[..]));
    let keeping = Options { keep_identifying_resource_attributes: true, ..Options::default() };
    let kept = translate(&of(SHOP, json!([gauge("m", 1.0, &[])])), &keeping).samples();
    for label in
        ["service_name=\"cart\"", "service_namespace=\"shop\"", "service_instance_id=\"pod-1\"", "job=\"shop/cart\""]
    {
        assert!(kept[1].contains(label), "{}", kept[1]);
    }
}

#[test]
fn target_info_is_left_out_where_it_would_say_nothing_or_of_nobody() {
    for resource in [&SHOP[..3], &SHOP[3..], &[("service.namespace", "shop"), ("host.name", "node-7")][..]] {
        let samples = translate(&of(resource, json!([gauge("m", 1.0, &[])])), &Options::default()).samples();
        assert_eq!(samples.len(), 1, "{samples:?}");
    }
    let refused = json!({"name": "m", "gauge": {"dataPoints": [{"timeUnixNano": "1"}]}});
    assert!(translate(&of(SHOP, json!([refused])), &Options::default()).samples().is_empty());
}

fn at(times: &[u64]) -> Value {
    let points: Value = times.iter().map(|time| json!({"asInt": 1, "timeUnixNano": nanos(*time)})).collect();
    json!({"name": "m", "gauge": {"dataPoints": points}})
}

fn target_info_times(request: &Value) -> Vec<u64> {
    let samples = translate(request, &Options::default()).samples();
    let times = samples.iter().filter(|line| line.starts_with("target_info"));
    times.map(|line| line.rsplit_once('@').unwrap().1.parse().unwrap()).collect()
}

#[test]
fn target_info_has_a_sample_every_two_and_a_half_minutes_between_the_earliest_and_the_latest_point() {
    let request = of(SHOP, json!([at(&[TIME + 400_000, TIME])]));
    assert_eq!(target_info_times(&request), [TIME, TIME + 150_000, TIME + 300_000, TIME + 400_000]);
    let request = of(SHOP, json!([at(&[TIME]), at(&[TIME + 150_000])]));
    assert_eq!(target_info_times(&request), [TIME, TIME + 150_000]);
    // From 1970: a day of it is enough.
    assert_eq!(target_info_times(&of(SHOP, json!([at(&[0, TIME])]))).len(), 600);
}

#[test]
fn target_info_of_several_resources_that_are_the_same_is_written_once() {
    let mut request = of(SHOP, json!([at(&[TIME])]));
    let resource = request["resourceMetrics"][0].clone();
    request["resourceMetrics"].as_array_mut().unwrap().push(resource);
    assert_eq!(target_info_times(&request), [TIME]);
}

#[test]
fn promoted_attributes_are_labels_unless_the_point_has_them() {
    let some = promoting(Promote::Only(names(&["host.name", "cloud.region", "absent"])));
    let metrics = json!([gauge("m", 1.0, &[("host_name", "mine")])]);
    let samples = translate(&of(SHOP, metrics.clone()), &some).samples();
    assert_eq!(
        samples[0],
        "m{cloud_region=\"eu\",host_name=\"mine\",instance=\"pod-1\",job=\"shop/cart\"} 1 @1700000000000"
    );
    assert!(!samples[1].contains("mine"));
    let all = promoting(Promote::AllBut(names(&["cloud.region", "service.namespace", "service.instance.id"])));
    let samples = translate(&of(SHOP, metrics), &all).samples();
    assert_eq!(
        samples[0],
        "m{host_name=\"mine\",instance=\"pod-1\",job=\"shop/cart\",service_name=\"cart\"} 1 @1700000000000"
    );
}

#[test]
fn scopes_are_labels_if_they_are_promoted() {
    let mut request = only(gauge("m", 1.0, &[("otel_scope_name", "mine")]));
    let scope = json!({"name": "lib", "version": "1.2", "attributes": attributes(&[("a.b", "c"), ("name", "x")])});
    request["resourceMetrics"][0]["scopeMetrics"][0]["scope"] = scope;
    request["resourceMetrics"][0]["scopeMetrics"][0]["schemaUrl"] = json!("https://example.org/1");
    assert_eq!(translate(&request, &Options::default()).samples(), ["m{otel_scope_name=\"mine\"} 1 @1700000000000"]);
    let promoting = Options { promote_scope_metadata: true, ..Options::default() };
    assert_eq!(
        translate(&request, &promoting).samples(),
        [
            "m{otel_scope_a_b=\"c\",otel_scope_name=\"lib\",otel_scope_schema_url=\"https://example.org/1\",otel_scope_version=\"1.2\"} 1 @1700000000000"
        ]
    );
    request["resourceMetrics"][0]["scopeMetrics"][0]["scope"]["name"] = json!("");
    assert_eq!(translate(&request, &promoting).samples(), ["m{otel_scope_name=\"mine\"} 1 @1700000000000"]);
}

#[test]
fn points_with_too_many_or_too_long_labels_are_refused_alone() {
    let limits = Limits { label_names: 3, label_value_bytes: 10, output_bytes: 0 };
    let metrics = json!([
        gauge("m", 1.0, &[("a", "1"), ("b", "2")]),
        gauge("many", 1.0, &[("a", "1"), ("b", "2"), ("c", "3")]),
        gauge("long", 1.0, &[("a", "01234567890")]),
        gauge("long_name_of_it", 1.0, &[]),
        {"name": "h", "histogram": {"aggregationTemporality": 2, "dataPoints": [
            {"count": 1, "attributes": attributes(&[("a", "1"), ("b", "2")])}]}},
    ]);
    let translated = translate_within(&of(&[], metrics), &Options::default(), limits, None).unwrap();
    assert_eq!(translated.samples(), ["m{a=\"1\",b=\"2\"} 1 @1700000000000"]);
    assert_eq!(translated.translation.refused.counts(Reason::LabelLimit), Counts { samples: 4, ..Counts::default() });
    assert!(translated.refused().contains("4 labels, limit 3 (limits.label_names)"), "{}", translated.refused());
    assert!(translated.refused().contains("the label \"a\" has 11 bytes, limit 10"), "{}", translated.refused());
}

#[test]
fn what_becomes_too_large_ends_the_translation() {
    let limits = Limits { output_bytes: 100, ..Limits::default() };
    let metrics: Vec<_> = (0..10).map(|n| gauge(&format!("metric_{n}"), 1.0, &[])).collect();
    let error = translate_within(&of(&[], metrics.into()), &Options::default(), limits, None).unwrap_err();
    assert_eq!(error, otlp::TranslateError::TooLarge);
}
