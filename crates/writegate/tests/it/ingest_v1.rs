//! What comes in by remote write 1.0: negotiation, mending, and what is refused series by series.

use bytes::Bytes;
use remote_write::model::{Label, Metadata, Request, Series};
use remote_write::wire::{put_message, put_varint_field};
use remote_write::{Compression, Protocol};
use testkit::endpoint::Endpoint;
use testkit::sender::Answer;

use crate::harness::{PATIENCE, Setup, TestGateway, assert_exactly, bounded, compress, receiver, takes, written};
use crate::message::{
    STALE, With, encode, everything, float_histogram, integer_histogram, points, put_family, put_unknown, request,
    sample_of, series,
};

const EXACT: [(&str, &str); 4] = [
    ("content-type", "application/x-protobuf"),
    ("content-encoding", "snappy"),
    ("x-prometheus-remote-write-version", "0.1.0"),
    ("user-agent", "Prometheus/3.5.3"),
];

fn snappy(raw: &[u8]) -> Bytes {
    compress(Compression::Snappy, raw)
}

fn v1(request: &Request<'_>) -> Bytes {
    snappy(&encode(Protocol::V1, request))
}

fn assert_accepted(answer: &Answer, what: &str) {
    assert_eq!(answer.status, 204, "{what}: {}", answer.text());
    assert!(answer.body.is_empty(), "{what}: {}", answer.text());
    assert_eq!(written(answer), [None; 3], "{what}: a v1 answer must not speak of v2's counts");
}

fn assert_refused(answer: &Answer, status: u16, what: &str) {
    assert_eq!(answer.status, status, "{what}: {}", answer.text());
    assert!(!answer.text().trim().is_empty(), "{what}: a refusal says why");
    assert_eq!(written(answer), [None; 3], "{what}: a v1 answer must not speak of v2's counts");
}

/// Every series that arrived, in order, with its labels as texts.
fn arrived_labels(receiver: &Endpoint) -> Vec<Vec<(String, String)>> {
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
    let mut all = Vec::new();
    for received in receiver.requests() {
        for series in received.request().unwrap().series {
            all.push(series.labels.iter().map(|label| (text(label.name), text(label.value))).collect());
        }
    }
    all
}

#[test]
fn w1_a_request_with_exact_headers_gets_204_without_a_body_and_arrives() {
    bounded(async {
        let sink = receiver().await;
        let gateway = Setup::new().endpoint("a", &sink).start().await;
        let sent = request([sample_of("up", 1_000), sample_of("down", 1_000)]);
        assert_accepted(&gateway.post(&EXACT, v1(&sent)).await, "exact headers");
        gateway.settled().await;
        assert_exactly(&sink, &points(&sent));
        gateway.finish().await;
    });
}

#[test]
fn w2_the_explicit_v1_message_name_is_v1() {
    bounded(async {
        let sink = receiver().await;
        let gateway = Setup::new().endpoint("a", &sink).start().await;
        let mut headers = EXACT;
        headers[0].1 = "application/x-protobuf;proto=prometheus.WriteRequest";
        let sent = request([sample_of("up", 1_000)]);
        assert_accepted(&gateway.post(&headers, v1(&sent)).await, "explicit v1");
        gateway.settled().await;
        assert_exactly(&sink, &points(&sent));
        gateway.finish().await;
    });
}

#[test]
fn w3_any_one_header_may_be_missing() {
    bounded(async {
        let sink = receiver().await;
        let gateway = Setup::new().endpoint("a", &sink).start().await;
        let mut expected = Vec::new();
        for (timestamp, missing) in (0..).zip(EXACT) {
            let headers: Vec<_> = EXACT.into_iter().filter(|header| *header != missing).collect();
            let sent = request([sample_of("up", timestamp)]);
            assert_accepted(&gateway.post(&headers, v1(&sent)).await, missing.0);
            expected.extend(points(&sent));
        }
        gateway.settled().await;
        assert_exactly(&sink, &expected);
        gateway.finish().await;
    });
}

#[test]
fn r_x8_a_request_without_any_header_is_v1_snappy() {
    bounded(async {
        let sink = receiver().await;
        let gateway = Setup::new().endpoint("a", &sink).start().await;
        let sent = request([sample_of("up", 1_000)]);
        assert_accepted(&gateway.post(&[], v1(&sent)).await, "no headers");
        gateway.settled().await;
        assert_exactly(&sink, &points(&sent));
        gateway.finish().await;
    });
}

#[test]
fn w4_the_encodings_name_is_read_in_any_case() {
    bounded(async {
        let sink = receiver().await;
        let gateway = Setup::new().endpoint("a", &sink).start().await;
        for (timestamp, spelling) in (0..).zip(["Snappy", "SNAPPY", "sNaPpY"]) {
            let mut headers = EXACT;
            headers[1].1 = spelling;
            assert_accepted(&gateway.post(&headers, v1(&request([sample_of("up", timestamp)]))).await, spelling);
        }
        takes(&sink, 3).await;
        gateway.settle_and_finish().await;
    });
}

fn family(name: &'static [u8]) -> Metadata<'static> {
    Metadata { kind: 1, family: name, help: b"How many.", unit: b"" }
}

#[test]
fn w5_what_holds_no_data_gets_204_and_makes_no_data_request() {
    bounded(async {
        let sink = receiver().await;
        let gateway = Setup::new().endpoint("a", &sink).start().await;
        let metadata_only = Request { metadata: vec![family(b"requests_total")], ..Request::default() };
        let without_samples = request([series(&[("__name__", "up")])]);
        for (what, nothing) in
            [("metadata", metadata_only), ("empty", Request::default()), ("no samples", without_samples)]
        {
            assert_accepted(&gateway.push(Protocol::V1, &nothing).await, what);
        }
        // Behind them in the log, so that they had their chance when it arrives.
        let last = request([sample_of("up", 1_000)]);
        gateway.accept(Protocol::V1, &last).await;
        gateway.settled().await;
        assert_exactly(&sink, &points(&last));
        for received in sink.requests() {
            let request = received.request().unwrap();
            let holds_something = !request.series.is_empty() || !request.metadata.is_empty();
            assert!(holds_something, "an empty request was sent");
            let empty = |series: &Series<'_>| series.samples.is_empty();
            assert!(!request.series.iter().any(empty), "a series without data was sent");
        }
        gateway.finish().await;
    });
}

#[test]
fn r_x13_metadata_reaches_v1_endpoints() {
    bounded(async {
        let sink = receiver().await;
        let gateway = Setup::new().endpoint("a", &sink).start().await;
        let sent = Request { metadata: vec![family(b"requests_total"), family(b"errors_total")], ..Request::default() };
        assert_accepted(&gateway.push(Protocol::V1, &sent).await, "metadata");
        sink.wait_until(PATIENCE, |stats| stats.metadata >= 2).await.unwrap();
        let requests = sink.requests();
        let arrived: Vec<_> = requests.iter().flat_map(|received| received.request().unwrap().metadata).collect();
        assert_eq!(arrived, sent.metadata);
        gateway.finish().await;
    });
}

#[test]
fn w6_exemplars_and_native_histograms_arrive_bit_for_bit() {
    bounded(async {
        let sink = receiver().await;
        let gateway = Setup::new().endpoint("a", &sink).start().await;
        let sent = request([
            series(&[("__name__", "with_exemplar")]).sample(1.5, 1_000).exemplar(0.1, 999).exemplar(-0.0, 1_000),
            series(&[("__name__", "integer")]).histogram(integer_histogram(), 1_000).exemplar(0.2, 999),
            series(&[("__name__", "float")]).histogram(float_histogram(), 1_000),
            series(&[("__name__", "both")]).sample(2.0, 1_000).histogram(integer_histogram(), 2_000),
        ]);
        assert_accepted(&gateway.push(Protocol::V1, &sent).await, "exemplars and histograms");
        gateway.settled().await;
        assert_exactly(&sink, &points(&sent));
        gateway.finish().await;
    });
}

#[test]
fn w7_what_is_no_write_request_is_400_with_a_reason() {
    bounded(async {
        let sink = receiver().await;
        let gateway = Setup::new().endpoint("a", &sink).start().await;
        let raw = encode(Protocol::V1, &request([sample_of("up", 1_000)]));
        let good = snappy(&raw);
        let mut corrupt = good.to_vec();
        corrupt.truncate(corrupt.len() - 3);
        let framed = [b"\xff\x06\x00\x00sNaPpY".as_slice(), &good].concat();
        for (what, body) in [
            ("zero length", Bytes::new()),
            ("corrupt snappy", corrupt.into()),
            ("framed snappy", framed.into()),
            ("not compressed", raw.clone().into()),
            ("truncated protobuf", snappy(&raw[..raw.len() - 1])),
            ("garbage", snappy(b"\xff\xff\xff\xff garbage")),
        ] {
            assert_refused(&gateway.post(&EXACT, body).await, 400, what);
        }
        let last = request([sample_of("last", 1_000)]);
        gateway.accept(Protocol::V1, &last).await;
        gateway.settled().await;
        assert_exactly(&sink, &points(&last));
        gateway.finish().await;
    });
}

#[test]
fn w8_unsorted_labels_are_accepted_and_leave_sorted_bytewise() {
    bounded(async {
        let sink = receiver().await;
        let gateway = Setup::new().endpoint("a", &sink).start().await;
        let unsorted = series(&[("zone", "z"), ("__name__", "up"), ("Zone", "Z"), ("a", "1"), ("é", "2")]);
        let sent = request([unsorted.sample(1.0, 1_000), sample_of("sorted", 1_000)]);
        assert_accepted(&gateway.push(Protocol::V1, &sent).await, "unsorted");
        gateway.settled().await;
        assert_exactly(&sink, &points(&sent));
        let names: Vec<String> = arrived_labels(&sink).swap_remove(0).into_iter().map(|(name, _)| name).collect();
        assert_eq!(names, ["Zone", "__name__", "a", "zone", "é"]);
        gateway.finish().await;
    });
}

#[test]
fn w9_labels_with_empty_values_are_removed_and_a_nameless_rest_is_refused() {
    bounded(async {
        let sink = receiver().await;
        let gateway = Setup::new().endpoint("a", &sink).start().await;
        let sent = request([
            series(&[("__name__", "up"), ("empty", ""), ("job", "a")]).sample(1.0, 1_000),
            series(&[("__name__", ""), ("job", "a")]).sample(1.0, 1_000),
        ]);
        assert_refused(&gateway.push(Protocol::V1, &sent).await, 400, "a nameless series");
        gateway.settled().await;
        let pair = |name: &str, value: &str| (name.to_owned(), value.to_owned());
        assert_eq!(arrived_labels(&sink), [[pair("__name__", "up"), pair("job", "a")]]);
        gateway.finish().await;
    });
}

/// Series that no receiver can take, each for one reason.
fn bad_series() -> Vec<(&'static str, Series<'static>)> {
    let mut not_utf8 = series(&[("__name__", "bad"), ("job", "x")]);
    not_utf8.labels[1].value = b"\xc3\x28";
    let mut name_not_utf8 = series(&[("__name__", "bad"), ("job", "x")]);
    name_not_utf8.labels[1].name = b"j\xff";
    [
        ("a duplicate label name", series(&[("__name__", "bad"), ("job", "a"), ("job", "b")])),
        ("the same label twice", series(&[("__name__", "bad"), ("job", "a"), ("job", "a")])),
        ("an empty label name", series(&[("", "x"), ("__name__", "bad")])),
        ("a value that is not UTF-8", not_utf8),
        ("a name that is not UTF-8", name_not_utf8),
        ("no metric name", series(&[("job", "bad")])),
        ("no label", series(&[])),
    ]
    .into_iter()
    .map(|(what, bad)| (what, bad.sample(1.0, 1_000)))
    .collect()
}

async fn one_bad_among_two_good(
    gateway: &TestGateway,
    timestamp: i64,
    bad: Series<'_>,
    compression: Compression,
) -> Answer {
    let sent = request([sample_of("first", timestamp), bad, sample_of("last", timestamp)]);
    gateway.push_raw(Protocol::V1, compression, &encode(Protocol::V1, &sent)).await
}

#[test]
fn w10_a_bad_series_loses_only_itself() {
    bounded(async {
        let sink = receiver().await;
        let gateway = Setup::new().endpoint("a", &sink).start().await;
        let mut expected = Vec::new();
        for (compression, status) in [(Compression::Snappy, 400), (Compression::Zstd, 409)] {
            for (what, bad) in bad_series() {
                let timestamp = i64::try_from(expected.len()).unwrap();
                let answer = one_bad_among_two_good(&gateway, timestamp, bad, compression).await;
                assert_refused(&answer, status, what);
                expected.extend(points(&request([sample_of("first", timestamp), sample_of("last", timestamp)])));
            }
        }
        gateway.settled().await;
        assert_exactly(&sink, &expected);
        let refused = r#"writegate_refused_samples_total{tenant="default",reason="invalid"}"#;
        assert_eq!(gateway.metric(refused).await, expected.len() as f64 / 2.0);
        gateway.finish().await;
    });
}

#[test]
fn r_x21_a_partial_400_says_how_many_and_names_the_first_in_at_most_1024_bytes() {
    bounded(async {
        let sink = receiver().await;
        let gateway = Setup::new().endpoint("a", &sink).start().await;
        let long = "x".repeat(8_000);
        let offender = series(&[("__name__", "the_offender"), ("job", &long), ("job", "b")]).sample(1.0, 1_000);
        let second = series(&[("job", "the_second")]).sample(1.0, 1_000);
        let sent = request([sample_of("good", 1_000), offender, second, sample_of("fine", 1_000)]);
        let answer = gateway.push(Protocol::V1, &sent).await;
        assert_refused(&answer, 400, "two bad series");
        let text = answer.text();
        assert!(text.len() <= 1_024, "{} bytes: {text}", text.len());
        assert!(text.contains("the_offender") && !text.contains("the_second"), "{text}");
        assert!(text.contains('2') && text.contains('4'), "how many of how many: {text}");
        takes(&sink, 2).await;
        gateway.settle_and_finish().await;
    });
}

#[test]
fn w11_every_float_arrives_with_its_bits() {
    bounded(async {
        let sink = receiver().await;
        let gateway = Setup::new().endpoint("a", &sink).start().await;
        let odd = [
            STALE,
            0x7ff8_0000_0000_0001,
            0x7ff0_0000_0000_0000,
            0xfff0_0000_0000_0000,
            1 << 63,
            1,
            0xfff8_dead_beef_0001,
        ];
        let mut odd_series = series(&[("__name__", "odd")]);
        for (timestamp, bits) in (1..).zip(odd) {
            odd_series = odd_series.sample(f64::from_bits(bits), timestamp);
        }
        let sent = request([odd_series]);
        assert_accepted(&gateway.push(Protocol::V1, &sent).await, "odd floats");
        gateway.settled().await;
        assert_exactly(&sink, &points(&sent));
        gateway.finish().await;
    });
}

#[test]
fn w12_any_timestamp_is_accepted_as_it_is() {
    bounded(async {
        let sink = receiver().await;
        let gateway = Setup::new().endpoint("a", &sink).start().await;
        let mut all = series(&[("__name__", "up")]);
        for timestamp in [i64::MIN, -1, 0, 1, i64::MAX] {
            all = all.sample(1.0, timestamp);
        }
        let sent = request([all]);
        assert_accepted(&gateway.push(Protocol::V1, &sent).await, "odd timestamps");
        gateway.settled().await;
        assert_exactly(&sink, &points(&sent));
        gateway.finish().await;
    });
}

#[test]
fn r_x2_every_path_answers_directly_with_and_without_a_trailing_slash() {
    bounded(async {
        let sink = receiver().await;
        let gateway = Setup::new().endpoint("a", &sink).start().await;
        let paths = ["/api/v1/receive", "/api/v1/write", "/api/v1/push", "/api/prom/push", "/default/api/v1/write"];
        let more = ["/api/metrics/v1/default/api/v1/receive"];
        for (timestamp, path) in (0_i64..).zip(paths.iter().chain(&more)) {
            for (offset, slash) in [(0, ""), (1, "/")] {
                let body = v1(&request([sample_of("up", timestamp * 2 + offset)]));
                let sender = gateway.sender_at(&format!("{path}{slash}"));
                let answer = sender.push(Protocol::V1, Compression::Snappy, body).await.unwrap();
                assert_accepted(&answer, path);
            }
        }
        takes(&sink, 12).await;
        gateway.settle_and_finish().await;
    });
}

#[test]
fn r_x25_unknown_fields_never_cause_an_error_and_never_leave() {
    bounded(async {
        let sink = receiver().await;
        let gateway = Setup::new().endpoint("a", &sink).start().await;
        let sent = request([sample_of("up", 1_000)]);
        let mut raw = encode(Protocol::V1, &sent);
        put_varint_field(&mut raw, 2, 3); // Cortex' `source`.
        put_unknown(&mut raw);
        put_message(&mut raw, 1, |out| {
            out.extend_from_slice(&encode_series_fields());
            put_unknown(out);
        });
        put_message(&mut raw, 3, |out| {
            put_family(out, &family(b"requests_total"));
            put_varint_field(out, 11, 42); // VictoriaMetrics' account…
            put_varint_field(out, 12, 43); // … and project.
        });
        assert_accepted(&gateway.push_raw(Protocol::V1, Compression::Snappy, &raw).await, "unknown fields");
        sink.wait_until(PATIENCE, |stats| stats.metadata == 1 && stats.taken.samples == 2).await.unwrap();
        let known = Request {
            series: vec![sample_of("up", 1_000), sample_of("other", 1_000)],
            metadata: vec![family(b"requests_total")],
        };
        for received in sink.requests() {
            assert_eq!(received.request().unwrap(), known);
            assert_eq!(received.decoded.len(), encode(Protocol::V1, &known).len(), "something else is in it");
        }
        gateway.settle_and_finish().await;
    });
}

/// The fields of a `TimeSeries`, without the tag and length around them.
fn encode_series_fields() -> Vec<u8> {
    let whole = encode(Protocol::V1, &request([sample_of("other", 1_000)]));
    whole[2..].to_vec()
}

#[test]
fn w10_account_labels_of_victoria_metrics_are_cut() {
    bounded(async {
        let sink = receiver().await;
        let gateway = Setup::new().endpoint("a", &sink).start().await;
        let mut smuggled = sample_of("up", 1_000);
        smuggled.labels.push(Label { name: b"vm_account_id", value: b"7" });
        smuggled.labels.push(Label { name: b"vm_project_id", value: b"8" });
        assert_accepted(&gateway.push(Protocol::V1, &request([smuggled])).await, "account labels");
        gateway.settled().await;
        assert_exactly(&sink, &points(&request([sample_of("up", 1_000)])));
        gateway.finish().await;
    });
}

#[test]
fn r_x19_what_v1_can_say_arrives_at_v1_bit_for_bit() {
    bounded(async {
        let sink = receiver().await;
        let gateway = Setup::new().endpoint("a", &sink).start().await;
        let sent = everything(-1);
        assert_accepted(&gateway.push(Protocol::V1, &sent).await, "everything");
        gateway.settled().await;
        assert_exactly(&sink, &points(&sent));
        gateway.finish().await;
    });
}
