//! OpenTelemetry metrics, from the sender's request to what an endpoint gets: over HTTP in both encodings, and over gRPC.
//!
//! The translation itself is tested in its crate, against another protobuf library.

use std::convert::Infallible;
use std::io::Write;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::{BufMut, Bytes, BytesMut};
use flate2::Compression as Level;
use flate2::write::GzEncoder;
use http::{HeaderMap, Method};
use http_body::{Body, Frame};
use http_body_util::{BodyExt, Full};
use hyper_util::rt::{TokioExecutor, TokioIo};
use otlp::protobuf_of_json;
use remote_write::Compression;
use remote_write::model::{Count, Span};
use remote_write::series_text::describe;
use remote_write::wire::Reader;
use serde_json::{Value, json};
use testkit::endpoint::Endpoint;
use testkit::sender::Answer;
use tokio::net::TcpStream;

use crate::harness::{PATIENCE, Setup, TestGateway, bounded, compress, eventually, header_map, receiver};
use crate::message::STALE;

const JSON: &str = "application/json";
const PROTOBUF: &str = "application/x-protobuf";
const LISTENER: &str = "tenant: default, otlp: true, grpc: true";
const TIME: u64 = 1_700_000_000_000;

fn setup() -> Setup {
    Setup::new().listener(LISTENER)
}

fn nanos(ms: u64) -> String {
    format!("{ms}000000")
}

fn attributes(pairs: &[(&str, &str)]) -> Value {
    pairs.iter().map(|(key, value)| json!({"key": key, "value": {"stringValue": value}})).collect()
}

#[expect(clippy::needless_pass_by_value, reason = "JSON is made where it is used")]
fn of(resource: &[(&str, &str)], metrics: Value) -> Value {
    json!({"resourceMetrics": [{
        "resource": {"attributes": attributes(resource)},
        "scopeMetrics": [{"scope": {"name": "lib"}, "metrics": metrics}],
    }]})
}

fn with(mut value: Value, more: Value) -> Value {
    let (Some(object), Value::Object(more)) = (value.as_object_mut(), more) else { panic!("two objects") };
    object.extend(more);
    value
}

fn point(value: f64, more: Value) -> Value {
    with(json!({"asDouble": value, "timeUnixNano": nanos(TIME), "startTimeUnixNano": nanos(TIME - 5000)}), more)
}

#[expect(clippy::needless_pass_by_value, reason = "JSON is made where it is used")]
fn sum(name: &str, temporality: u32, points: Value) -> Value {
    json!({"name": name, "sum": {"isMonotonic": true, "aggregationTemporality": temporality, "dataPoints": points}})
}

fn gauge(name: &str, value: f64) -> Value {
    json!({"name": name, "gauge": {"dataPoints": [point(value, json!({}))]}})
}

/// A request with one sample.
fn one(name: &str) -> Value {
    of(&[], json!([gauge(name, 1.0)]))
}

fn protobuf(request: &Value) -> Vec<u8> {
    let mut out = Vec::new();
    protobuf_of_json(request.to_string().as_bytes(), usize::MAX, &mut out).unwrap();
    out
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Level::fast());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

async fn post_to(gateway: &TestGateway, path: &str, headers: &[(&str, &str)], body: Vec<u8>) -> Answer {
    gateway.sender_at(path).send(Method::POST, header_map(headers), body.into()).await.unwrap()
}

async fn post(gateway: &TestGateway, headers: &[(&str, &str)], body: Vec<u8>) -> Answer {
    post_to(gateway, "/v1/metrics", headers, body).await
}

async fn push(gateway: &TestGateway, request: &Value) -> Answer {
    post(gateway, &[("content-type", JSON)], request.to_string().into_bytes()).await
}

/// Pushes a request of which every point is taken.
async fn accept(gateway: &TestGateway, request: &Value) {
    let answer = push(gateway, request).await;
    assert_eq!((answer.status.as_u16(), answer.text().as_str()), (200, "{}"));
}

/// How many points were refused, and what was said.
fn partial(answer: &Answer) -> (u64, String) {
    assert_eq!(answer.status, 200, "{}", answer.text());
    let value: Value = serde_json::from_slice(&answer.body).unwrap();
    let partial = &value["partialSuccess"];
    (
        partial["rejectedDataPoints"].as_str().unwrap().parse().unwrap(),
        partial["errorMessage"].as_str().unwrap().to_owned(),
    )
}

/// The code and the message of a `google.rpc.Status` in JSON.
fn status(answer: &Answer) -> (u64, String) {
    assert_eq!(answer.header("content-type"), Some(JSON));
    let value: Value = serde_json::from_slice(&answer.body).unwrap();
    (value["code"].as_u64().unwrap(), value["message"].as_str().unwrap().to_owned())
}

/// The same of one in protobuf.
fn status_in_protobuf(body: &[u8]) -> (u64, String, bool) {
    let (mut code, mut words, mut has_details) = (0, String::new(), false);
    let mut reader = Reader::new(body);
    while !reader.is_empty() {
        match reader.tag().unwrap().field {
            1 => code = reader.varint().unwrap(),
            2 => words = String::from_utf8(reader.bytes().unwrap().to_vec()).unwrap(),
            3 => {
                has_details = String::from_utf8_lossy(reader.bytes().unwrap()).contains("google.rpc.RetryInfo");
            }
            field => panic!("field {field}"),
        }
    }
    (code, words, has_details)
}

/// What arrived, sorted: samples as text, with the kind of their family.
fn arrived(receiver: &Endpoint) -> Vec<String> {
    let mut lines = Vec::new();
    for received in receiver.requests() {
        for series in received.request().unwrap().series {
            let kind = series.metadata.map_or(0, |metadata| metadata.kind);
            for sample in &series.samples {
                let value = if sample.value.to_bits() == STALE { "stale".to_owned() } else { sample.value.to_string() };
                let labels = describe(&series.labels).replace("{}", "");
                lines.push(format!(
                    "{labels} {value} @{} since {} kind {kind}",
                    sample.timestamp, sample.start_timestamp
                ));
            }
        }
    }
    lines.sort();
    lines
}

/// The labels of what arrived.
fn arrived_series(receiver: &Endpoint) -> Vec<String> {
    arrived(receiver)
        .iter()
        .map(|line| {
            line.rsplit_once('}')
                .map_or_else(|| line.split(' ').next().unwrap().to_owned(), |(labels, _)| format!("{labels}}}"))
        })
        .collect()
}

#[test]
fn w75_protobuf_and_json_compressed_or_not_are_taken_and_answered_in_kind() {
    bounded(async {
        let sink = receiver().await;
        let gateway = setup().endpoint("a", &sink).start().await;
        let mut expected = Vec::new();
        for (content_type, is_json) in [(PROTOBUF, false), (JSON, true), ("application/json; charset=utf-8", true)] {
            for encoding in ["", "identity", "gzip", "zstd"] {
                let name = format!("m{}", expected.len());
                let request = one(&name);
                let raw = if is_json { request.to_string().into_bytes() } else { protobuf(&request) };
                let body = match encoding {
                    "gzip" => gzip(&raw),
                    "zstd" => compress(Compression::Zstd, &raw).to_vec(),
                    _ => raw,
                };
                let mut headers = vec![("content-type", content_type)];
                headers.extend((!encoding.is_empty()).then_some(("content-encoding", encoding)));
                let answer = post(&gateway, &headers, body).await;
                assert_eq!(answer.status, 200, "{content_type} {encoding}: {}", answer.text());
                assert_eq!(answer.header("content-type"), content_type.split(';').next());
                assert_eq!(answer.text(), if is_json { "{}" } else { "" }, "partial_success is unset");
                expected.push(format!("{name} 1 @{TIME} since 0 kind 2"));
            }
        }
        gateway.settled().await;
        expected.sort();
        assert_eq!(arrived(&sink), expected);
        gateway.finish().await;
    });
}

#[test]
fn w75_all_paths_are_served_and_a_request_of_nothing_is_a_success() {
    bounded(async {
        let gateway = setup().start().await;
        for path in ["/v1/metrics", "/v1/metrics/", "/otlp/v1/metrics", "/api/v1/otlp/v1/metrics"] {
            for (content_type, body) in [(JSON, &b"{}"[..]), (JSON, b"{\"resourceMetrics\":[]}"), (PROTOBUF, b"")] {
                let answer = post_to(&gateway, path, &[("content-type", content_type)], body.to_vec()).await;
                assert_eq!(answer.status, 200, "{path}: {}", answer.text());
            }
        }
        gateway.finish().await;
    });
}

#[test]
fn w76_what_cannot_be_taken_gets_a_status_in_the_encoding_of_the_request() {
    bounded(async {
        let gateway = setup().start().await;
        for (headers, body, expected) in [
            (vec![("content-type", JSON)], &b"{"[..], 400),
            (vec![("content-type", JSON)], b"\xff", 400),
            (vec![("content-type", JSON), ("content-encoding", "gzip")], b"{}", 400),
            (vec![("content-type", JSON), ("content-encoding", "zstd")], b"{}", 400),
            (vec![("content-type", JSON), ("content-encoding", "br")], b"{}", 415),
            (vec![("content-type", JSON), ("content-encoding", "snappy")], b"{}", 415),
        ] {
            let answer = post(&gateway, &headers, body.to_vec()).await;
            assert_eq!(answer.status, expected, "{headers:?}: {}", answer.text());
            let (code, words) = status(&answer);
            assert_eq!(code, 3);
            assert!(words.contains("(wg-"), "{words}");
        }
        let answer = post(&gateway, &[("content-type", PROTOBUF)], b"\x0a\x05abc".to_vec()).await;
        assert_eq!((answer.status.as_u16(), answer.header("content-type")), (400, Some(PROTOBUF)));
        let (code, words, _) = status_in_protobuf(&answer.body);
        assert_eq!(code, 3);
        assert!(
            words.contains("the body is not an ExportMetricsServiceRequest: malformed protobuf at byte 2"),
            "{words}"
        );
        for content_type in ["text/plain", "application/grpc", "application/xml"] {
            let answer = post(&gateway, &[("content-type", content_type)], b"{}".to_vec()).await;
            assert_eq!(answer.status, 415, "{content_type}: {}", answer.text());
        }
        assert_eq!(post(&gateway, &[], b"{}".to_vec()).await.status, 415);
        let headers = HeaderMap::from_iter([(http::header::CONTENT_TYPE, JSON.parse().unwrap())]);
        let answer = gateway.sender_at("/v1/metrics").send(Method::GET, headers, Bytes::new()).await.unwrap();
        assert_eq!((answer.status.as_u16(), answer.header("allow")), (405, Some("POST")));
        gateway.finish().await;
    });
}

#[test]
fn w76_w30_a_body_that_is_too_large_gets_413_and_a_later_one_is_taken() {
    bounded(async {
        let gateway = setup().limits("request_bytes: 20000, decoded_bytes: 30000").start().await;
        let padded = |bytes: usize| with(one("m"), json!({"x": "y".repeat(bytes)})).to_string().into_bytes();
        let many: Vec<_> = (0..250).map(|n| sum("m", 2, json!([point(n.into(), json!({}))]))).collect();
        let resource: Vec<_> = (0..50).map(|n| (format!("attribute.{n}"), "x".repeat(20))).collect();
        let resource: Vec<_> = resource.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
        let becomes_large = protobuf(&of(&resource, many.into()));
        assert!(becomes_large.len() < 20_000);
        for (content_type, encoding, body, what) in [
            (JSON, "identity", padded(20_000), "the body is over the limit of 20000 bytes"),
            (JSON, "gzip", gzip(&padded(30_000)), "the decompressed body is over the limit of 30000 bytes"),
            (
                JSON,
                "zstd",
                compress(Compression::Zstd, &padded(30_000)).to_vec(),
                "the decompressed body is over the limit",
            ),
            (JSON, "gzip", gzip(&vec![b' '; 1_500_000]), "the decompressed body is over the limit of 30000 bytes"),
        ] {
            let answer = post(&gateway, &[("content-type", content_type), ("content-encoding", encoding)], body).await;
            assert_eq!(answer.status, 413, "{}", answer.text());
            let (code, words) = status(&answer);
            assert_eq!(code, 8);
            assert!(words.contains(what), "{words}");
        }
        assert_eq!(gateway.metric(r#"writegate_push_requests_total{code="413"}"#).await, 4.0);
        accept(&gateway, &one("m")).await;
        gateway.finish().await;

        let promoting = "otlp: {promote_all_resource_attributes: true}";
        let gateway = setup().limits("decoded_bytes: 20000").top(promoting).start().await;
        let answer = post(&gateway, &[("content-type", PROTOBUF)], becomes_large).await;
        assert_eq!(answer.status, 413, "{}", answer.text());
        let (_, words, _) = status_in_protobuf(&answer.body);
        assert!(words.contains("the request as a write request is over the limit of 20000 bytes"), "{words}");
        gateway.finish().await;
    });
}

#[test]
fn w76_overload_is_503_and_a_rate_503_or_429_and_both_say_when_to_come_again() {
    bounded(async {
        let limits = "in_flight_bytes: 17000, request_bytes: 1MiB, requests_per_second: 0";
        let tenants = "tenants: [{name: default}, {name: slow, limits: {samples_per_second: 1}}, {name: strict, limits: {samples_per_second: 1, over_limit: reject}}]";
        let listener = "tenant: default, tenant_from: [header: X-Scope-OrgID], otlp: true";
        let gateway = Setup::new().listener(listener).limits(limits).top(tenants).start().await;
        let large = with(one("m"), json!({"x": "y".repeat(40_000)})).to_string().into_bytes();
        let answer = post(&gateway, &[("content-type", JSON)], large).await;
        assert_eq!((answer.status.as_u16(), status(&answer).0), (503, 14), "{}", answer.text());
        assert!(answer.retry_after().is_some());
        assert!(answer.text().contains("google.rpc.RetryInfo"), "{}", answer.text());
        for (tenant, expected) in [("slow", (503, 14)), ("strict", (429, 8))] {
            let headers = [("content-type", JSON), ("x-scope-orgid", tenant)];
            let points: Vec<_> = (0..60).map(|n| point(n.into(), json!({}))).collect();
            let request = of(&[], json!([sum("m", 2, points.into())]));
            let answer = post(&gateway, &headers, request.to_string().into_bytes()).await;
            assert_eq!(answer.status, 200, "{}", answer.text());
            let answer = post(&gateway, &headers, request.to_string().into_bytes()).await;
            assert_eq!((answer.status.as_u16(), status(&answer).0), expected, "{}", answer.text());
            assert!(answer.retry_after().is_some() && answer.text().contains("RetryInfo"), "{}", answer.text());
        }
        gateway.finish().await;
    });
}

#[test]
fn w76_a_full_log_is_503_and_the_point_is_taken_when_there_is_room() {
    bounded(async {
        let sink = receiver().await;
        sink.stop().await;
        let full = "max_size: 1MiB, on_full: refuse, retain: 0s";
        let gateway = setup().log(full).endpoint("a", &sink).start().await;
        let mut refused = None;
        for number in 0..100 {
            let value: String = (0..15_000).map(|_| fastrand::alphanumeric()).collect();
            let bulky = json!({"attributes": attributes(&[("value", &value)])});
            let request = of(&[], json!([sum("bulky", 2, json!([point(number.into(), bulky)]))]));
            let answer = push(&gateway, &request).await;
            if answer.status != 200 {
                refused = Some((answer, request));
                break;
            }
        }
        let (answer, request) = refused.expect("a log of 1 MiB is full");
        assert_eq!((answer.status.as_u16(), status(&answer).0), (503, 14), "{}", answer.text());
        assert!(answer.retry_after().is_some());
        sink.start().await.unwrap();
        eventually("there is room", || async { (push(&gateway, &request).await.status == 200).then_some(()) }).await;
        gateway.settle_and_finish().await;
    });
}

#[test]
fn w77_points_that_cannot_be_translated_are_counted_exactly_and_the_others_are_delivered() {
    bounded(async {
        let sink = receiver().await;
        let gateway = setup().endpoint("a", &sink).start().await;
        let metrics = json!([
            sum("deltas", 1, json!([point(1.0, json!({})), point(2.0, json!({}))])),
            sum("good", 2, json!([point(3.0, json!({})), {"timeUnixNano": nanos(TIME)}])),
            {"name": "native", "exponentialHistogram": {"aggregationTemporality": 2, "dataPoints": [{"scale": -5}]}},
        ]);
        let answer = push(&gateway, &of(&[], metrics.clone())).await;
        let (refused, words) = partial(&answer);
        assert_eq!(refused, 4);
        for part in [
            "metric \"deltas\": delta temporality",
            "metric \"good\": a point without a value",
            "metric \"native\": an exponential histogram of scale -5",
        ] {
            assert!(words.contains(part), "{words}");
        }
        gateway.settled().await;
        assert_eq!(arrived(&sink), [format!("good_total 3 @{TIME} since {} kind 1", TIME - 5000)]);
        let counted = |what: &str, kind: &str| format!("writegate_{what}_{kind}_total{{tenant=\"default\"");
        assert_eq!(gateway.metric(&format!("{}}}", counted("received", "samples"))).await, 4.0);
        assert_eq!(gateway.metric(&format!("{}}}", counted("accepted", "samples"))).await, 1.0);
        assert_eq!(gateway.metric(&format!("{},reason=\"invalid\"}}", counted("refused", "samples"))).await, 3.0);
        assert_eq!(gateway.metric(&format!("{},reason=\"invalid\"}}", counted("refused", "histograms"))).await, 1.0);
        assert_eq!(gateway.metric(r#"writegate_push_refusals_total{reason="invalid"}"#).await, 1.0);
        // Nothing at all is taken: a success with as many rejected, which no sender repeats.
        let answer = push(&gateway, &of(&[], json!([metrics[0]]))).await;
        assert_eq!(partial(&answer).0, 2);
        gateway.finish().await;
    });
}

#[test]
fn w77_points_for_which_the_tenant_has_no_room_are_refused_whole() {
    bounded(async {
        let sink = receiver().await;
        let gateway = setup().limits("active_series: 4").endpoint("a", &sink).start().await;
        let labelled = |kind: &str| json!({"attributes": attributes(&[("kind", kind)])});
        let first = of(&[], json!([sum("m", 2, json!([point(1.0, labelled("a")), point(1.0, labelled("b"))]))]));
        accept(&gateway, &first).await;
        // A summary of five series, of which two have room, and a point of a series that is known.
        let summary = json!({"name": "s", "summary": {"dataPoints": [{"timeUnixNano": nanos(TIME + 1), "count": 1, "sum": 2,
            "quantileValues": [{"quantile": 0.1, "value": 1}, {"quantile": 0.5, "value": 1}, {"quantile": 0.9, "value": 1}]}]}});
        let known = sum("m", 2, json!([point(2.0, with(labelled("a"), json!({"timeUnixNano": nanos(TIME + 1)})))]));
        let (refused, words) = partial(&push(&gateway, &of(&[], json!([summary, known]))).await);
        assert_eq!(refused, 1, "{words}");
        assert!(words.contains("1 point has series for which the tenant has no room"), "{words}");
        gateway.settled().await;
        let series = arrived_series(&sink);
        assert_eq!(series, ["m_total{kind=\"a\"}", "m_total{kind=\"a\"}", "m_total{kind=\"b\"}"]);
        gateway.finish().await;
    });
}

#[test]
fn large_requests_are_cut_into_records_and_arrive_whole() {
    bounded(async {
        let sink = receiver().await;
        let gateway = setup().endpoint("a", &sink).start().await;
        let points: Vec<_> = (0..12_000_u64).map(|n| json!({"asInt": n, "timeUnixNano": nanos(TIME + n)})).collect();
        accept(&gateway, &of(&[], json!([sum("m", 2, points.into())]))).await;
        gateway.settled().await;
        assert_eq!(arrived(&sink).len(), 12_000);
        assert!(sink.requests().len() > 1);
        gateway.finish().await;
    });
}

#[test]
fn w76_a_sender_without_the_right_credential_is_told_so_in_its_encoding() {
    bounded(async {
        let tenants = "tenants: [{name: blue, credentials: [{bearer_token: secret-1}]}, {name: red, credentials: [{bearer_token: secret-2}], allow: [10.0.0.0/8]}]";
        let gateway = Setup::new().listener("otlp: true, grpc: true").top(tenants).start().await;
        let body = one("m").to_string().into_bytes();
        let with = |token| [("content-type", JSON), ("authorization", token)];
        for (answer, expected) in [
            (post(&gateway, &[("content-type", JSON)], body.clone()).await, (401, 16)),
            (post(&gateway, &with("Bearer wrong"), body.clone()).await, (401, 16)),
            (post(&gateway, &with("Bearer secret-2"), body.clone()).await, (403, 7)),
        ] {
            assert_eq!((answer.status.as_u16(), status(&answer).0), expected, "{}", answer.text());
        }
        assert_eq!(post(&gateway, &with("Bearer secret-1"), body).await.status, 200);
        for (token, code) in [(None, 16), (Some("Bearer secret-2"), 7), (Some("Bearer secret-1"), 0)] {
            let headers: Vec<_> = token.map(|token| ("authorization", token)).into_iter().collect();
            assert_eq!(export(&gateway, &headers, &protobuf(&one("m"))).await.code, code);
        }
        gateway.finish().await;
    });
}

#[test]
fn otlp_is_served_only_where_a_listener_says_so() {
    bounded(async {
        let gateway = Setup::new().start().await;
        let answer = push(&gateway, &one("m")).await;
        assert_eq!((answer.status.as_u16(), answer.header("content-type")), (404, Some("application/json")));
        let status: Value = serde_json::from_str(&answer.text()).unwrap();
        let words = status["message"].as_str().unwrap();
        assert!(words.contains("OTLP is not taken here") && words.contains("`otlp: true`"), "{status}");
        // Their senders read nothing else.
        let off = export(&gateway, &[], &protobuf(&one("m"))).await;
        assert_eq!(off.code, 12, "{off:?}");
        assert!(off.message.contains("grpc"), "{off:?}");
        let path = "/opentelemetry.proto.collector.metrics.v1.MetricsService/Export";
        let answer = post_to(&gateway, path, &[("content-type", "application/grpc")], vec![0; 5]).await;
        assert_eq!(answer.status, 404);
        assert!(answer.text().contains("`grpc: true`"), "{}", answer.text());
        gateway.finish().await;
    });
}

/// A row of the table of names: name, unit, kind, and what it becomes in each strategy.
fn rows() -> Vec<[&'static str; 6]> {
    let table = include_str!("../../../otlp/src/name/table.txt");
    let rows = table.lines().filter(|line| !line.starts_with('#'));
    rows.map(|row| row.split(" | ").map(|cell| cell.trim_matches('\'')).collect::<Vec<_>>().try_into().unwrap())
        .collect()
}

#[test]
fn w79_names_units_and_suffixes_are_those_of_the_table_in_each_strategy() {
    bounded(async {
        let rows = rows();
        assert!(rows.len() >= 60);
        let numbered: Vec<String> = (0..rows.len()).map(|number| number.to_string()).collect();
        let metric = |(number, [name, unit, kind, ..]): (&String, &[&str; 6])| {
            let points = json!([point(1.0, json!({"attributes": attributes(&[("row", number)])}))]);
            let data = match *kind {
                "gauge" => json!({"gauge": {"dataPoints": points}}),
                kind => {
                    json!({"sum": {"dataPoints": points, "aggregationTemporality": 2, "isMonotonic": kind == "counter"}})
                }
            };
            with(json!({"name": name, "unit": unit}), data)
        };
        let request = of(&[], numbered.iter().zip(&rows).map(metric).collect());
        for (column, strategy) in [
            (3, "UnderscoreEscapingWithSuffixes"),
            (4, "UnderscoreEscapingWithoutSuffixes"),
            (5, "NoUTF8EscapingWithSuffixes"),
            (0, "NoTranslation"),
        ] {
            let sink = receiver().await;
            let top = format!("otlp: {{translation_strategy: {strategy}}}");
            let gateway = setup().top(&top).endpoint("a", &sink).start().await;
            let answer = push(&gateway, &request).await;
            let refused = rows.iter().filter(|row| row[column] == "!").count() as u64;
            assert_eq!(if answer.text() == "{}" { 0 } else { partial(&answer).0 }, refused, "{strategy}");
            gateway.settled().await;
            let mut names = vec!["!".to_owned(); rows.len()];
            for received in sink.requests() {
                for series in received.request().unwrap().series {
                    let value = |name: &str| {
                        let label = series.labels.iter().find(|label| label.name == name.as_bytes()).unwrap();
                        String::from_utf8(label.value.to_vec()).unwrap()
                    };
                    names[value("row").parse::<usize>().unwrap()] = value("__name__");
                }
            }
            let expected: Vec<_> = rows.iter().map(|row| row[column]).collect();
            assert_eq!(names, expected, "{strategy}");
            gateway.finish().await;
        }
    });
}

const SHOP: &[(&str, &str)] = &[
    ("service.name", "cart"),
    ("service.namespace", "shop"),
    ("service.instance.id", "pod-1"),
    ("host.name", "node-7"),
    ("cloud.region", "eu"),
];

#[test]
fn w80_resources_and_scopes_are_job_instance_target_info_and_what_is_promoted() {
    bounded(async {
        let colliding =
            json!({"attributes": attributes(&[("a.b", "1"), ("a_b", "2"), ("job", "mine"), ("__name__", "mine")])});
        let request = of(SHOP, json!([sum("m", 2, json!([point(1.0, colliding)]))]));
        for (top, expected) in [
            (
                "",
                [
                    "m_total{a_b=\"1;2\",instance=\"pod-1\",job=\"shop/cart\"}",
                    "target_info{cloud_region=\"eu\",host_name=\"node-7\",instance=\"pod-1\",job=\"shop/cart\"}",
                ],
            ),
            (
                "otlp: {promote_resource_attributes: [host.name], promote_scope_metadata: true}",
                [
                    "m_total{a_b=\"1;2\",host_name=\"node-7\",instance=\"pod-1\",job=\"shop/cart\",otel_scope_name=\"lib\"}",
                    "target_info{cloud_region=\"eu\",host_name=\"node-7\",instance=\"pod-1\",job=\"shop/cart\"}",
                ],
            ),
            (
                "otlp: {promote_all_resource_attributes: true, ignore_resource_attributes: [cloud.region, service.instance.id], keep_identifying_resource_attributes: true}",
                [
                    "m_total{a_b=\"1;2\",host_name=\"node-7\",instance=\"pod-1\",job=\"shop/cart\",service_name=\"cart\",service_namespace=\"shop\"}",
                    "target_info{cloud_region=\"eu\",host_name=\"node-7\",instance=\"pod-1\",job=\"shop/cart\",service_instance_id=\"pod-1\",service_name=\"cart\",service_namespace=\"shop\"}",
                ],
            ),
        ] {
            let sink = receiver().await;
            let gateway = setup().top(top).endpoint("a", &sink).start().await;
            accept(&gateway, &request).await;
            gateway.settled().await;
            assert_eq!(arrived_series(&sink), expected);
            gateway.finish().await;
        }
    });
}

#[test]
fn w80_target_info_is_there_between_the_earliest_and_the_latest_point() {
    bounded(async {
        let sink = receiver().await;
        let gateway = setup().endpoint("a", &sink).start().await;
        let at = |ms| point(1.0, json!({"timeUnixNano": nanos(ms)}));
        accept(&gateway, &of(SHOP, json!([sum("m", 2, json!([at(TIME), at(TIME + 400_000)]))]))).await;
        gateway.settled().await;
        let lines = arrived(&sink);
        let times: Vec<_> = lines
            .iter()
            .filter(|line| line.starts_with("target_info"))
            .map(|line| line.split('@').nth(1).unwrap().split(' ').next().unwrap().parse::<u64>().unwrap())
            .collect();
        assert_eq!(times, [TIME, TIME + 150_000, TIME + 300_000, TIME + 400_000]);
        gateway.finish().await;
    });
}

/// The histograms that arrived.
fn histograms(receiver: &Endpoint) -> Vec<remote_write::model::Histogram> {
    let requests = receiver.requests();
    let series = requests
        .iter()
        .flat_map(|received| received.request().unwrap().series.into_iter().flat_map(|series| series.histograms));
    series.collect()
}

#[test]
fn w81_exponential_histograms_arrive_as_native_ones() {
    bounded(async {
        let sink = receiver().await;
        let gateway = setup().endpoint("a", &sink).start().await;
        let mut counts = vec![0; 4097];
        (counts[0], counts[4096]) = (1, 4);
        let points = json!([
            // 2^12 buckets of scale 20 are one of scale 8; -1 is the last below zero's.
            {"timeUnixNano": nanos(TIME), "scale": 20, "count": 5, "sum": 1.5, "positive": {"offset": -1, "bucketCounts": counts}},
            {"timeUnixNano": nanos(TIME + 1), "scale": 2, "count": 12, "sum": 1.5, "zeroCount": 2, "zeroThreshold": 0.25,
                "positive": {"offset": 2, "bucketCounts": [1, 0, 0, 2, 0, 0, 0, 3]}, "negative": {"offset": -2, "bucketCounts": [4]}},
            {"timeUnixNano": nanos(TIME + 2), "scale": -5},
        ]);
        let metric = json!({"name": "h", "unit": "s", "exponentialHistogram": {"aggregationTemporality": 2, "dataPoints": points}});
        let (refused, words) = partial(&push(&gateway, &of(&[], json!([metric]))).await);
        assert_eq!(refused, 1, "{words}");
        gateway.settled().await;
        let arrived = histograms(&sink);
        assert_eq!(arrived.len(), 2);
        let span = |offset, length| Span { offset, length };
        let fine = &arrived[0];
        assert_eq!((fine.schema, &fine.positive_spans, &fine.positive_deltas), (8, &vec![span(0, 2)], &vec![1, 3]));
        assert_eq!((fine.zero_threshold, fine.count, fine.reset_hint), (1e-128, Some(Count::Int(5)), 0));
        let coarse = &arrived[1];
        assert_eq!(
            (&coarse.positive_spans, &coarse.positive_deltas),
            (&vec![span(3, 4), span(3, 1)], &vec![1, -1, 0, 2, 1])
        );
        assert_eq!((&coarse.negative_spans, &coarse.negative_deltas), (&vec![span(-1, 1)], &vec![4]));
        assert_eq!((coarse.zero_threshold, coarse.zero_count), (0.25, Some(Count::Int(2))));
        gateway.finish().await;
    });
}

#[test]
fn w82_no_recorded_value_is_stale_and_explicit_histograms_are_classic_or_native() {
    bounded(async {
        let explicit = |more| {
            let point = json!({"timeUnixNano": nanos(TIME), "count": 3, "sum": 4.5, "explicitBounds": [1, 2], "bucketCounts": [1, 0, 2]});
            json!({"name": "h", "histogram": {"aggregationTemporality": 2, "dataPoints": [with(point, more)]}})
        };
        let gone = json!({"timeUnixNano": nanos(TIME + 1), "flags": 1});
        let request = of(&[], json!([explicit(json!({})), explicit(gone.clone()), sum("m", 2, json!([gone]))]));
        let sink = receiver().await;
        let gateway = setup().endpoint("a", &sink).start().await;
        accept(&gateway, &request).await;
        gateway.settled().await;
        let series =
            ["h_bucket{le=\"+Inf\"} 3", "h_bucket{le=\"1\"} 1", "h_bucket{le=\"2\"} 1", "h_count 3", "h_sum 4.5"];
        let mut expected: Vec<_> = series.iter().map(|line| format!("{line} @{TIME} since 0 kind 3")).collect();
        expected.extend(
            series.iter().map(|line| format!("{} stale @{} since 0 kind 3", line.split(' ').next().unwrap(), TIME + 1)),
        );
        expected.push(format!("m_total stale @{} since 0 kind 1", TIME + 1));
        expected.sort();
        assert_eq!(arrived(&sink), expected);
        gateway.finish().await;

        let sink = receiver().await;
        let gateway = setup().top("otlp: {convert_histograms_to_nhcb: true}").endpoint("a", &sink).start().await;
        accept(&gateway, &request).await;
        gateway.settled().await;
        let arrived = histograms(&sink);
        assert_eq!(
            (arrived[0].schema, &arrived[0].custom_values, &arrived[0].positive_deltas),
            (-53, &vec![1.0, 2.0], &vec![1, -1, 2])
        );
        assert_eq!((arrived[1].sum.to_bits(), arrived[1].count), (STALE, Some(Count::Int(0))));
        gateway.finish().await;
    });
}

/// An answer over gRPC.
#[derive(Debug)]
struct Exported {
    http: u16,
    code: u16,
    message: String,
    details: Option<Vec<u8>>,
    body: Bytes,
    is_in_trailers: bool,
}

fn framed(message: &[u8], is_compressed: bool) -> Bytes {
    let mut body = BytesMut::new();
    body.put_u8(is_compressed.into());
    body.put_u32(message.len().try_into().unwrap());
    body.put_slice(message);
    body.freeze()
}

async fn export(gateway: &TestGateway, headers: &[(&str, &str)], message: &[u8]) -> Exported {
    call(gateway, "/opentelemetry.proto.collector.metrics.v1.MetricsService/Export", headers, framed(message, false))
        .await
}

/// A call over HTTP/2 with prior knowledge, as gRPC makes it.
async fn call(gateway: &TestGateway, path: &str, headers: &[(&str, &str)], body: Bytes) -> Exported {
    call_with(gateway, path, headers, Full::new(body)).await
}

async fn call_with<B>(gateway: &TestGateway, path: &str, headers: &[(&str, &str)], body: B) -> Exported
where
    B: Body<Data = Bytes, Error = Infallible> + Send + Unpin + 'static,
{
    let stream = TcpStream::connect(gateway.address()).await.unwrap();
    let (mut client, connection) =
        hyper::client::conn::http2::handshake(TokioExecutor::new(), TokioIo::new(stream)).await.unwrap();
    let connection = tokio::spawn(async move { connection.await.is_ok() });
    let mut request = http::Request::post(format!("http://{}{path}", gateway.address()))
        .header("content-type", "application/grpc")
        .header("te", "trailers");
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let response = client.send_request(request.body(body).unwrap());
    let (parts, body) = tokio::time::timeout(PATIENCE, response).await.unwrap().unwrap().into_parts();
    let collected = body.collect().await.unwrap();
    let trailers = collected.trailers().cloned();
    drop(client);
    connection.await.unwrap();
    let header = |name: &str| {
        let value = trailers.as_ref().and_then(|trailers| trailers.get(name)).or_else(|| parts.headers.get(name));
        value.map(|value| value.to_str().unwrap().to_owned())
    };
    assert_eq!(parts.headers["content-type"], "application/grpc");
    Exported {
        http: parts.status.as_u16(),
        code: header("grpc-status").unwrap().parse().unwrap(),
        message: header("grpc-message").unwrap_or_default(),
        details: header("grpc-status-details-bin").map(|text| {
            use base64::Engine;
            base64::engine::general_purpose::STANDARD_NO_PAD.decode(text).unwrap()
        }),
        is_in_trailers: trailers.is_some_and(|trailers| trailers.contains_key("grpc-status")),
        body: collected.to_bytes(),
    }
}

/// A body that does not come.
struct Never;

impl Body for Never {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(self: Pin<&mut Self>, _cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        Poll::Pending
    }
}

#[test]
fn w78_a_body_that_does_not_come_over_grpc_is_answered_so_that_its_sender_tries_again() {
    bounded(async {
        let listener = "tenant: default, grpc: true, timeouts: {body: 100ms}";
        let gateway = Setup::new().listener(listener).start().await;
        let path = "/opentelemetry.proto.collector.metrics.v1.MetricsService/Export";
        let late = call_with(&gateway, path, &[], Never).await;
        let (code, words, has_retry_info) = status_in_protobuf(late.details.as_ref().unwrap());
        assert_eq!((late.http, late.code, code, has_retry_info), (200, 14, 14, true), "{words}");
        assert!(words.contains("wg-late"), "{words}");
        gateway.finish().await;
    });
}

#[test]
fn w76_w31_bodies_that_unpack_to_too_much_are_told_so_or_wait_their_turn_and_leave_nothing_behind() {
    bounded(async {
        let limits = "request_bytes: 1MiB, decoded_bytes: 1MiB, in_flight_bytes: 4MiB";
        let gateway = Arc::new(setup().limits(limits).start().await);
        let bomb = gzip(&vec![0; 20 << 20]);
        let mut pushes = tokio::task::JoinSet::new();
        for _ in 0..24 {
            let (gateway, bomb) = (Arc::clone(&gateway), bomb.clone());
            let headers = [("content-type", "application/x-protobuf"), ("content-encoding", "gzip")];
            pushes.spawn(async move { post_to(&gateway, "/v1/metrics", &headers, bomb).await });
        }
        let mut told = 0;
        while let Some(answer) = pushes.join_next().await {
            let answer = answer.unwrap();
            let is_told = answer.status == 413;
            told += usize::from(is_told);
            assert!(is_told || answer.status == 503 && answer.text().contains("wg-busy"), "{}", answer.text());
        }
        assert!(told > 0);
        let receiving = || async {
            let page = gateway.admin("/metrics").await;
            let held = page.lines().filter(|line| line.starts_with("writegate_receiving_bytes"));
            held.map(|line| line.rsplit(' ').next().unwrap()).all(|bytes| bytes == "0").then_some(())
        };
        eventually("nothing is held any more", receiving).await;
        assert_eq!(push(&gateway, &one("m")).await.status, 200);
        Arc::into_inner(gateway).unwrap().finish().await;
    });
}

#[test]
fn w78_export_over_grpc_is_taken_compressed_or_not_and_tells_what_was_refused() {
    bounded(async {
        let sink = receiver().await;
        let gateway = setup().endpoint("a", &sink).start().await;
        let answer = export(&gateway, &[], &protobuf(&one("plain"))).await;
        assert_eq!((answer.http, answer.code, answer.is_in_trailers), (200, 0, true));
        assert_eq!(answer.body, framed(b"", false), "partial_success is unset");
        let path = "/opentelemetry.proto.collector.metrics.v1.MetricsService/Export";
        let gzipped = framed(&gzip(&protobuf(&one("gzipped"))), true);
        assert_eq!(call(&gateway, path, &[("grpc-encoding", "gzip")], gzipped).await.code, 0);
        // A message may stay as it is where others are compressed.
        let plain = framed(&protobuf(&one("still_plain")), false);
        assert_eq!(call(&gateway, path, &[("grpc-encoding", "gzip")], plain).await.code, 0);
        assert_eq!(export(&gateway, &[], b"").await.code, 0, "a request of nothing");

        let mixed = of(
            &[],
            json!([gauge("good", 1.0), sum("deltas", 1, json!([point(1.0, json!({})), point(2.0, json!({}))]))]),
        );
        let answer = export(&gateway, &[], &protobuf(&mixed)).await;
        assert_eq!(answer.code, 0);
        let mut reader = Reader::new(&answer.body[5..]);
        assert_eq!(reader.tag().unwrap().field, 1);
        let mut partial = reader.message().unwrap();
        assert_eq!((partial.tag().unwrap().field, partial.varint().unwrap()), (1, 2));
        assert_eq!(partial.tag().unwrap().field, 2);
        assert!(String::from_utf8_lossy(partial.bytes().unwrap()).contains("metric \"deltas\": delta temporality"));
        gateway.settled().await;
        assert_eq!(arrived_series(&sink), ["good", "gzipped", "plain", "still_plain"]);
        gateway.finish().await;
    });
}

#[test]
fn w78_what_cannot_be_taken_over_grpc_has_the_code_that_makes_a_sender_do_the_right_thing() {
    bounded(async {
        let limits = "in_flight_bytes: 17000, request_bytes: 50000, decoded_bytes: 40000";
        let tenants = "tenants: [{name: default}, {name: strict, limits: {samples_per_second: 1, over_limit: reject}}]";
        let listener = "tenant: default, tenant_from: [header: X-Scope-OrgID], grpc: true";
        let gateway = Setup::new().listener(listener).limits(limits).top(tenants).start().await;
        let path = "/opentelemetry.proto.collector.metrics.v1.MetricsService/Export";
        let busy = export(&gateway, &[], &vec![0; 40_000]).await;
        let (code, words, has_retry_info) = status_in_protobuf(busy.details.as_ref().unwrap());
        assert_eq!((busy.http, busy.code, code, has_retry_info), (200, 14, 14, true), "{words}");
        assert!(busy.body.is_empty() && !busy.is_in_trailers && busy.message.contains("wg-busy"), "{busy:?}");

        let large = export(&gateway, &[], &vec![0; 60_000]).await;
        let (code, words, has_retry_info) = status_in_protobuf(large.details.as_ref().unwrap());
        assert_eq!((large.code, code, has_retry_info), (8, 8, false), "without RetryInfo nobody repeats it: {words}");
        let bomb = framed(&gzip(&vec![0; 1_000_000]), true);
        assert_eq!(call(&gateway, path, &[("grpc-encoding", "gzip")], bomb).await.code, 8);

        let points: Vec<_> = (0..60).map(|n| point(n.into(), json!({}))).collect();
        let minute = protobuf(&of(&[], json!([sum("m", 2, points.into())])));
        let strict = [("x-scope-orgid", "strict")];
        assert_eq!(export(&gateway, &strict, &minute).await.code, 0);
        let limited = export(&gateway, &strict, &minute).await;
        assert_eq!((limited.code, status_in_protobuf(limited.details.as_ref().unwrap()).2), (8, true));

        for (headers, body, code) in [
            (vec![], framed(b"\xff\xff", false), 3),
            (vec![], Bytes::from_static(b"\0\0"), 3),
            (vec![("grpc-encoding", "gzip")], framed(b"no gzip", true), 3),
            (vec![("x-scope-orgid", "..")], framed(b"", false), 3),
            (vec![("x-scope-orgid", "nobody")], framed(b"", false), 7),
            (vec![("grpc-encoding", "snappy")], framed(b"", true), 12),
        ] {
            let answer = call(&gateway, path, &headers, body).await;
            assert_eq!((answer.http, answer.code), (200, code), "{headers:?} {answer:?}");
        }
        let other =
            call(&gateway, "/opentelemetry.proto.collector.trace.v1.TraceService/Export", &[], framed(b"", false))
                .await;
        assert_eq!(other.code, 12);
        let answer =
            post_to(&gateway, path, &[("content-type", "application/grpc")], framed(b"", false).to_vec()).await;
        assert_eq!(answer.status, 415, "gRPC needs HTTP/2: {}", answer.text());
        assert_eq!(export(&gateway, &[], &protobuf(&one("m"))).await.code, 0);
        gateway.finish().await;
    });
}

fn delta(from: u64, to: u64, value: f64) -> Value {
    let at = |second: u64| nanos(TIME + second * 1000);
    of(&[], json!([sum("n", 1, json!([{"asDouble": value, "startTimeUnixNano": at(from), "timeUnixNano": at(to)}]))]))
}

#[test]
fn deltas_are_added_up_for_a_tenant_that_wants_it_and_begin_anew_after_a_restart() {
    bounded(async {
        let sink = receiver().await;
        let tenants = "tenants: [{name: default, delta_temporality: accumulate}]";
        let gateway = setup().top(tenants).endpoint("a", &sink).start().await;
        accept(&gateway, &delta(0, 10, 3.0)).await;
        accept(&gateway, &delta(10, 20, 4.0)).await;
        let (refused, words) = partial(&push(&gateway, &delta(0, 10, 3.0)).await);
        assert_eq!(refused, 1, "{words}");
        assert!(words.contains("a delta that is older than the last of its stream"), "{words}");
        assert_eq!(gateway.metric(r#"writegate_delta_streams{tenant="default"}"#).await, 1.0);
        assert!(gateway.metric(r#"writegate_delta_bytes{tenant="default"}"#).await > 0.0);
        gateway.settled().await;
        let gateway = gateway.restart().await;
        accept(&gateway, &delta(20, 30, 5.0)).await;
        gateway.settled().await;
        let line = |value: u64, second: u64, start: u64| {
            format!("n_total {value} @{} since {} kind 1", TIME + second * 1000, TIME + start * 1000)
        };
        assert_eq!(arrived(&sink), [line(3, 10, 0), line(5, 30, 20), line(7, 20, 0)]);
        gateway.finish().await;
    });
}

#[test]
fn a_delta_that_is_sent_again_is_not_added_again() {
    bounded(async {
        let sink = receiver().await;
        let tenants = "tenants: [{name: default, delta_temporality: accumulate}]";
        let gateway = setup().top(tenants).endpoint("a", &sink).start().await;
        accept(&gateway, &delta(0, 10, 3.0)).await;
        accept(&gateway, &delta(0, 10, 3.0)).await;
        accept(&gateway, &delta(10, 20, 1.0)).await;
        gateway.settled().await;
        let values: Vec<_> = arrived(&sink).iter().map(|line| line.split(' ').nth(1).unwrap().to_owned()).collect();
        assert_eq!(values, ["3", "3", "4"]);
        gateway.finish().await;
    });
}

#[test]
fn the_options_of_otlp_change_while_running() {
    bounded(async {
        let sink = receiver().await;
        let mut gateway = setup().endpoint("a", &sink).start().await;
        accept(&gateway, &one("a.b")).await;
        gateway.settled().await;
        gateway.reload(setup().top("otlp: {translation_strategy: NoTranslation}").endpoint("a", &sink)).await;
        accept(&gateway, &one("a.b")).await;
        gateway.settled().await;
        let mut series = arrived_series(&sink);
        series.sort();
        assert_eq!(series, ["a.b", "a_b"]);
        gateway.finish().await;
    });
}
