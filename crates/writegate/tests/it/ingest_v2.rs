//! What comes in by remote write 2.0: negotiation, exact `Written` headers, and broken references.

use bytes::Bytes;
use remote_write::model::{Count, Histogram, Request, Sample, Series, Span};
use remote_write::{Compression, Protocol};
use testkit::endpoint::{Endpoint, Speaks};
use testkit::sender::{Answer, push_headers};

use crate::harness::{Setup, TestGateway, assert_exactly, bounded, compress, receiver, speaking, takes, written};
use crate::message::{
    WireV2, With, counts, custom_histogram, encode, everything, float_histogram, integer_histogram, points, request,
    sample_of, series,
};

const V2: &str = "application/x-protobuf;proto=io.prometheus.write.v2.Request";

fn assert_written(answer: &Answer, status: u16, expected: [u64; 3], what: &str) {
    assert_eq!(answer.status, status, "{what}: {}", answer.text());
    assert_eq!(written(answer), expected.map(Some), "{what}: {}", answer.text());
    assert_eq!(answer.body.is_empty(), status == 204, "{what}: {}", answer.text());
}

fn all_of(request: &Request<'_>) -> [u64; 3] {
    let counts = counts(request);
    [counts.samples, counts.histograms, counts.exemplars]
}

async fn push_wire(gateway: &TestGateway, wire: &WireV2) -> Answer {
    gateway.push_raw(Protocol::V2, Compression::Snappy, &wire.encode()).await
}

/// The start timestamps that arrived, of samples and histograms.
fn arrived_starts(receiver: &Endpoint) -> Vec<i64> {
    let mut starts = Vec::new();
    for received in receiver.requests() {
        for series in received.request().unwrap().series {
            starts.extend(series.samples.iter().map(|sample| sample.start_timestamp));
            starts.extend(series.histograms.iter().map(|histogram| histogram.start_timestamp));
        }
    }
    starts
}

#[test]
fn w13_a_valid_request_gets_204_with_the_three_counts_as_sent() {
    bounded(async {
        let sink = receiver().await;
        let gateway = Setup::new().endpoint("a", &sink).start().await;
        let sent = everything(1_000);
        assert_written(&gateway.push(Protocol::V2, &sent).await, 204, all_of(&sent), "everything");
        gateway.settled().await;
        assert_exactly(&sink, &points(&sent));
        gateway.finish().await;
    });
}

#[test]
fn w13_a_request_of_more_than_10_000_points_is_cut_once_and_answered_and_refused_as_one() {
    bounded(async {
        for protocol in [Protocol::V1, Protocol::V2] {
            let sink = receiver().await;
            let gateway = Setup::new().endpoint_with("a", &sink, "from: earliest").start().await;
            // Series of 21 samples: the cuts are between series, and two are of the same one.
            let names: Vec<String> = (0..1_200).map(|series| format!("metric_{}", series % 1_199)).collect();
            let of_name = |(number, name): (i64, &'static str)| {
                (0..20).fold(sample_of(name, number * 100), |series, step| series.sample(2.0, number * 100 + 1 + step))
            };
            let names: Vec<&'static str> = names.into_iter().map(|name| &*name.leak()).collect();
            let good = request((0..).zip(names.iter().copied()).map(of_name));
            let mut sent = request((0..).zip(names.iter().copied()).map(of_name));
            sent.series.insert(700, series(&[("job", "nameless")]).sample(1.0, 1));
            let answer = gateway.push(protocol, &sent).await;
            assert_eq!(answer.status, 400, "{}", answer.text());
            assert!(answer.text().starts_with("1 of 1201 series refused"), "{}", answer.text());
            let expected = if protocol == Protocol::V2 { all_of(&good).map(Some) } else { [None; 3] };
            assert_eq!(written(&answer), expected);
            gateway.settled().await;
            assert_exactly(&sink, &points(&good));
            assert_eq!(sink.stats().taken_requests, 3, "25,200 samples");
            let book = gateway.ledger("default", "a").await.samples;
            assert_eq!((book.delivered, book.dropped.len()), (25_200, 0), "{book:?}");
            gateway.finish().await;
        }
    });
}

#[test]
fn w14_the_content_type_alone_chooses_the_schema() {
    bounded(async {
        let sink = receiver().await;
        let gateway = Setup::new().endpoint("a", &sink).start().await;
        let version = "x-prometheus-remote-write-version";
        let cases = [
            (Protocol::V2, V2, Some("0.1.0")),
            (Protocol::V2, V2, None),
            (Protocol::V1, "application/x-protobuf", Some("2.0.0")),
            (Protocol::V2, V2, Some("nonsense")),
        ];
        for (timestamp, (protocol, content_type, says)) in (0..).zip(cases) {
            let mut headers = vec![("content-type", content_type), ("content-encoding", "snappy")];
            headers.extend(says.map(|says| (version, says)));
            let sent = request([sample_of("up", timestamp)]);
            let answer = gateway.post(&headers, compress(Compression::Snappy, &encode(protocol, &sent))).await;
            let expected = if protocol == Protocol::V2 { [1, 0, 0].map(Some) } else { [None; 3] };
            assert_eq!((answer.status.as_u16(), written(&answer)), (204, expected), "{headers:?}");
        }
        takes(&sink, 4).await;
        gateway.settle_and_finish().await;
    });
}

/// Spellings of v2's media type that RFC 9110 makes equal.
const SPELLINGS: [&str; 6] = [
    "application/x-protobuf; proto=io.prometheus.write.v2.Request",
    "application/x-protobuf;proto=\"io.prometheus.write.v2.Request\"",
    "Application/X-Protobuf;proto=io.prometheus.write.v2.Request",
    "application/x-protobuf;PROTO=io.prometheus.write.v2.Request",
    "application/x-protobuf ; charset=utf-8 ; proto=io.prometheus.write.v2.Request",
    "application/x-protobuf;proto=io.prometheus.write.v2.Request;",
];

#[test]
fn w15_every_spelling_of_the_content_type_is_v2() {
    bounded(async {
        let sink = receiver().await;
        let gateway = Setup::new().endpoint("a", &sink).start().await;
        for (timestamp, spelling) in (0..).zip(SPELLINGS) {
            let body = compress(Compression::Snappy, &encode(Protocol::V2, &request([sample_of("up", timestamp)])));
            let answer = gateway.post(&[("content-type", spelling), ("content-encoding", "snappy")], body).await;
            assert_written(&answer, 204, [1, 0, 0], spelling);
        }
        takes(&sink, SPELLINGS.len() as u64).await;
        gateway.settle_and_finish().await;
    });
}

#[test]
fn r_x9_the_parameter_decides_between_v1_v2_and_415() {
    bounded(async {
        let sink = receiver().await;
        let gateway = Setup::new().endpoint("a", &sink).start().await;
        let sent = request([sample_of("up", 1_000)]);
        for (protocol, content_type, status) in [
            (Protocol::V1, "application/x-protobuf; proto=\"prometheus.WriteRequest\"", 204),
            (Protocol::V1, "application/x-protobuf; charset=utf-8", 204),
            (Protocol::V2, SPELLINGS[0], 204),
            (Protocol::V2, "application/x-protobuf;proto=io.prometheus.write.v3.Request", 415),
            (Protocol::V1, "application/x-protobuf;proto=", 415),
        ] {
            let body = compress(Compression::Snappy, &encode(protocol, &sent));
            let answer = gateway.post(&[("content-type", content_type)], body).await;
            assert_eq!(answer.status, status, "{content_type}: {}", answer.text());
        }
        takes(&sink, 3).await;
        gateway.settle_and_finish().await;
    });
}

/// Posts under headers that are not supported, and expects that nothing of it arrives.
async fn assert_unsupported(cases: &[[&str; 2]], bodies: &[Bytes]) {
    let sink = receiver().await;
    let gateway = Setup::new().endpoint("a", &sink).start().await;
    for [content_type, encoding] in cases {
        for body in bodies {
            let headers = [("content-type", *content_type), ("content-encoding", *encoding)];
            let answer = gateway.post(&headers, body.clone()).await;
            assert_eq!(answer.status, 415, "{headers:?}: {}", answer.text());
            assert!(!answer.text().trim().is_empty(), "{headers:?}");
        }
    }
    let last = request([sample_of("last", 1_000)]);
    gateway.accept(Protocol::V2, &last).await;
    gateway.settled().await;
    assert_exactly(&sink, &points(&last));
    gateway.finish().await;
}

fn good_and_corrupt() -> [Bytes; 2] {
    let good = compress(Compression::Snappy, &encode(Protocol::V1, &request([sample_of("up", 1_000)])));
    [good, Bytes::from_static(b"\x1f\x8bnot what it says")]
}

#[test]
fn w16_an_unknown_content_type_is_415_and_nothing_is_kept() {
    bounded(assert_unsupported(
        &[
            ["application/x-protobuf;proto=io.prometheus.write.v2.Other", "snappy"],
            ["application/json", "snappy"],
            ["image/png", "snappy"],
            ["application/x-protobuf2", "snappy"],
        ],
        &good_and_corrupt(),
    ));
}

#[test]
fn w17_an_unknown_encoding_is_415_whatever_the_body() {
    let encodings = ["gzip", "deflate", "br", "identity", "lz4", "snappy, gzip", "made-up"];
    let cases: Vec<[&str; 2]> =
        encodings.iter().flat_map(|encoding| [["application/x-protobuf", *encoding], [V2, *encoding]]).collect();
    bounded(async move { assert_unsupported(&cases, &good_and_corrupt()).await });
}

#[test]
fn r_x11_type_and_encoding_are_415_and_corrupt_bodies_400() {
    bounded(async {
        let sink = receiver().await;
        let gateway = Setup::new().endpoint("a", &sink).start().await;
        let raw = encode(Protocol::V1, &request([sample_of("up", 1_000)]));
        let [snappy, zstd] = [Compression::Snappy, Compression::Zstd].map(|compression| compress(compression, &raw));
        let cut = |body: &Bytes| body.slice(..body.len() - 2);
        for (content_type, encoding, body, status) in [
            ("application/x-protobuf", "gzip", snappy.clone(), 415),
            ("application/x-protobuf", "deflate", snappy.clone(), 415),
            ("application/x-protobuf", "br", snappy.clone(), 415),
            ("application/json", "snappy", snappy.clone(), 415),
            ("application/x-protobuf", "snappy", cut(&snappy), 400),
            ("application/x-protobuf", "zstd", cut(&zstd), 400),
            ("application/x-protobuf", "snappy", compress(Compression::Snappy, &raw[..raw.len() - 2]), 400),
            (V2, "snappy", compress(Compression::Snappy, b"\x2a\xff"), 400),
        ] {
            let answer = gateway.post(&[("content-type", content_type), ("content-encoding", encoding)], body).await;
            assert_eq!(answer.status, status, "{content_type} {encoding}: {}", answer.text());
        }
        assert_eq!(sink.stats().requests, 0);
        gateway.finish().await;
    });
}

#[test]
fn w18_v2_switched_off_is_415_while_v1_goes_on() {
    bounded(async {
        let sink = receiver().await;
        let gateway = Setup::new().listener("tenant: default, protocols: [v1]").endpoint("a", &sink).start().await;
        let sent = request([sample_of("up", 1_000)]);
        let answer = gateway.push(Protocol::V2, &sent).await;
        assert_eq!(answer.status, 415, "{}", answer.text());
        gateway.accept(Protocol::V1, &sent).await;
        takes(&sink, 1).await;
        gateway.settle_and_finish().await;
    });
}

type Break = fn(&mut WireV2);

/// A reference beyond every symbol table here.
const OUT_OF_RANGE: u32 = 1_000;

/// A good series, one to be broken (with an exemplar and metadata), a good one.
fn breakable(timestamp: i64) -> WireV2 {
    let middle = sample_of("middle", timestamp).exemplar(0.5, timestamp).described(1, "Help.", "seconds");
    WireV2::from(&request([sample_of("first", timestamp), middle, sample_of("last", timestamp)]))
}

#[test]
fn w19_a_broken_reference_refuses_its_series_with_exact_counts_on_a_connection_that_stays_usable() {
    bounded(async {
        let sink = receiver().await;
        let gateway = Setup::new().endpoint("a", &sink).start().await;
        let breaks: [(&str, Break); 6] = [
            ("odd", |wire| wire.series[1].labels.truncate(3)),
            ("label", |wire| wire.series[1].labels[1] = OUT_OF_RANGE),
            ("far label", |wire| wire.series[1].labels[0] = u32::MAX),
            ("exemplar", |wire| wire.series[1].exemplars[0].0[1] = OUT_OF_RANGE),
            ("help", |wire| wire.series[1].metadata = Some((1, OUT_OF_RANGE, 0))),
            ("unit", |wire| wire.series[1].metadata = Some((1, 0, OUT_OF_RANGE))),
        ];
        let sender = gateway.sender();
        let mut connection = sender.connect().await.unwrap();
        for (timestamp, (what, break_it)) in (0_i64..).zip(breaks) {
            let mut wire = breakable(timestamp * 2);
            break_it(&mut wire);
            let before = sink.stats().taken;
            let headers = push_headers(Protocol::V2, Compression::Snappy);
            let body = compress(Compression::Snappy, &wire.encode());
            let answer = sender.exchange(&mut connection, http::Method::POST, headers.clone(), body).await.unwrap();
            assert_eq!(answer.status, 400, "{what}: {}", answer.text());
            gateway.settled().await;
            let after = sink.stats().taken;
            let arrived = [after.samples - before.samples, 0, after.exemplars - before.exemplars].map(Some);
            assert_eq!(written(&answer), arrived, "{what}: what is said to be written is what arrives");
            assert!(after.samples - before.samples >= 2, "{what}: the good series arrive");
            let body = compress(Compression::Snappy, &breakable(timestamp * 2 + 1).encode());
            let answer = sender.exchange(&mut connection, http::Method::POST, headers, body).await.unwrap();
            assert_written(&answer, 204, [3, 0, 1], what);
            gateway.settled().await;
        }
        assert_eq!(gateway.metric("writegate_connections").await, 1.0, "it was one connection");
        gateway.finish().await;
    });
}

#[test]
fn w20_a_first_symbol_that_is_not_empty_is_accepted() {
    bounded(async {
        let sink = receiver().await;
        let gateway = Setup::new().endpoint("a", &sink).start().await;
        let sent = request([sample_of("up", 1_000)]);
        let mut wire = WireV2::from(&sent);
        wire.symbols.remove(0);
        wire.series[0].labels.iter_mut().for_each(|reference| *reference -= 1);
        assert_written(&push_wire(&gateway, &wire).await, 204, [1, 0, 0], "first symbol in use");
        wire.symbols.clear();
        assert_written(&push_wire(&gateway, &wire).await, 400, [0, 0, 0], "references without symbols");
        gateway.settled().await;
        assert_exactly(&sink, &points(&sent));
        gateway.finish().await;
    });
}

#[test]
fn w21_packed_and_unpacked_references_and_the_old_start_time_decode_alike() {
    bounded(async {
        let sink = receiver().await;
        let gateway = Setup::new().endpoint("a", &sink).start().await;
        let sent = request([sample_of("up", 1_000), sample_of("old", 1_000), sample_of("new", 1_000)]);
        let mut wire = WireV2::from(&sent);
        wire.series[0].unpacked = true;
        wire.series[1].created_timestamp = Some(500);
        wire.series[2].created_timestamp = Some(500);
        wire.series[2].samples[0].start_timestamp = 700;
        assert_written(&push_wire(&gateway, &wire).await, 204, [3, 0, 0], "all ways");
        gateway.settled().await;
        assert_exactly(&sink, &points(&sent));
        assert_eq!(arrived_starts(&sink), [0, 500, 700], "the sample's own start time wins");
        gateway.finish().await;
    });
}

#[test]
fn w22_of_four_series_with_one_nameless_three_are_written() {
    bounded(async {
        let sink = receiver().await;
        let gateway = Setup::new().endpoint("a", &sink).start().await;
        let nameless = series(&[("job", "the_nameless_one")]).sample(1.0, 1_000);
        let sent = request([sample_of("a", 1_000), sample_of("b", 1_000), nameless, sample_of("c", 1_000)]);
        let answer = gateway.push(Protocol::V2, &sent).await;
        assert_written(&answer, 400, [3, 0, 0], "one nameless");
        let text = answer.text();
        assert!(text.contains('1') && text.contains('4') && text.contains("the_nameless_one"), "{text}");
        gateway.settled().await;
        assert_exactly(&sink, &points(&request([sample_of("a", 1_000), sample_of("b", 1_000), sample_of("c", 1_000)])));
        gateway.finish().await;
    });
}

/// Pushes to a tolerant and to a strict listener.
async fn assert_tolerant_and_strict(sent: Request<'static>, tolerant: (u16, [u64; 3]), strict: (u16, [u64; 3])) {
    for (keys, (status, counts)) in [("tenant: default", tolerant), ("tenant: default, strict: true", strict)] {
        let sink = receiver().await;
        let gateway = Setup::new().listener(keys).endpoint("a", &sink).start().await;
        assert_written(&gateway.push(Protocol::V2, &sent).await, status, counts, keys);
        gateway.settle_and_finish().await;
    }
}

#[test]
fn w23_an_exemplar_alone_is_written_or_in_strict_mode_refused() {
    let alone = request([series(&[("__name__", "up")]).exemplar(1.0, 1_000)]);
    bounded(assert_tolerant_and_strict(alone, (204, [0, 0, 1]), (400, [0, 0, 0])));
}

#[test]
fn w24_metadata_alone_and_nothing_at_all_get_204_with_zeros_and_strict_refuses_metadata_alone() {
    bounded(async {
        let alone = request([series(&[("__name__", "up")]).described(2, "Help.", "")]);
        assert_tolerant_and_strict(alone, (204, [0, 0, 0]), (400, [0, 0, 0])).await;
        assert_tolerant_and_strict(Request::default(), (204, [0, 0, 0]), (204, [0, 0, 0])).await;
    });
}

#[test]
fn w25_samples_and_histograms_in_one_series_are_split_or_in_strict_mode_refused() {
    bounded(async {
        let both = || request([series(&[("__name__", "up")]).sample(1.0, 1_000).histogram(integer_histogram(), 2_000)]);
        assert_tolerant_and_strict(both(), (204, [1, 1, 0]), (400, [0, 0, 0])).await;
        let sink = receiver().await;
        let gateway = Setup::new().endpoint("a", &sink).start().await;
        assert_written(&gateway.push(Protocol::V2, &both()).await, 204, [1, 1, 0], "both");
        gateway.settled().await;
        assert_exactly(&sink, &points(&both()));
        for received in sink.requests() {
            let mixed = |series: &Series<'_>| !series.samples.is_empty() && !series.histograms.is_empty();
            assert!(!received.request().unwrap().series.iter().any(mixed), "v2 forbids both in one series");
        }
        gateway.finish().await;
    });
}

/// Histograms whose arithmetic is wrong (systems.md, appendix B.3).
fn bad_histograms() -> Vec<(&'static str, Histogram)> {
    let (integer, float, custom) = (integer_histogram, float_histogram, custom_histogram);
    let not_a_number = f64::NAN;
    vec![
        ("unsorted bounds", Histogram { custom_values: vec![1.0, 0.5], ..custom() }),
        ("equal bounds", Histogram { custom_values: vec![1.0, 1.0], ..custom() }),
        ("a NaN bound", Histogram { custom_values: vec![0.5, not_a_number], ..custom() }),
        ("an explicit +Inf bound", Histogram { custom_values: vec![0.5, f64::INFINITY], ..custom() }),
        ("a negative custom offset", Histogram { positive_spans: vec![Span { offset: -1, length: 3 }], ..custom() }),
        ("spans beyond the bounds", Histogram { custom_values: vec![0.5], ..custom() }),
        ("a custom zero count", Histogram { zero_count: Some(Count::Int(1)), count: Some(Count::Int(7)), ..custom() }),
        ("a custom zero threshold", Histogram { zero_threshold: 0.5, ..custom() }),
        (
            "negative custom buckets",
            Histogram {
                negative_spans: vec![Span { offset: 0, length: 1 }],
                negative_deltas: vec![1],
                count: Some(Count::Int(7)),
                ..custom()
            },
        ),
        ("a wrong custom count", Histogram { count: Some(Count::Int(99)), ..custom() }),
        ("a wrong count", Histogram { count: Some(Count::Int(99)), ..integer() }),
        ("a wrong span sum", Histogram { positive_spans: vec![Span { offset: 0, length: 9 }], ..integer() }),
        (
            "a gap below zero",
            Histogram {
                positive_spans: vec![Span { offset: 0, length: 1 }, Span { offset: -1, length: 2 }],
                ..integer()
            },
        ),
        ("a bucket below zero", Histogram { positive_deltas: vec![3, -4, 1], ..integer() }),
        ("a float bucket below zero", Histogram { positive_counts: vec![1.5, -2.5], ..float() }),
        ("custom values of an exponential one", Histogram { custom_values: vec![1.0], ..integer() }),
        ("schema -5", Histogram { schema: -5, ..integer() }),
        ("schema 53", Histogram { schema: 53, ..integer() }),
        ("schema -54", Histogram { schema: -54, ..custom() }),
    ]
}

#[test]
fn w26_a_histogram_with_wrong_arithmetic_is_refused_and_the_others_are_kept() {
    bounded(async {
        let sink = receiver().await;
        let gateway = Setup::new().endpoint("a", &sink).start().await;
        let mut expected = Vec::new();
        for (timestamp, (what, bad)) in (0..).zip(bad_histograms()) {
            let good = |name| series(&[("__name__", name)]).histogram(integer_histogram(), timestamp);
            let bad = series(&[("__name__", "bad")]).histogram(bad, timestamp);
            let custom = series(&[("__name__", "custom")]).histogram(custom_histogram(), timestamp);
            let sent = request([good("first"), bad, custom.clone()]);
            assert_written(&gateway.push(Protocol::V2, &sent).await, 400, [0, 2, 0], what);
            expected.extend(points(&request([good("first"), custom])));
        }
        gateway.settled().await;
        assert_exactly(&sink, &expected);
        gateway.finish().await;
    });
}

#[test]
fn w27_the_same_labels_in_several_series_of_a_request_keep_their_order() {
    bounded(async {
        let sink = receiver().await;
        let gateway = Setup::new().endpoint("a", &sink).start().await;
        let sent = request((0..50).map(|timestamp| sample_of(["a", "b", "c"][timestamp as usize % 3], timestamp)));
        assert_written(&gateway.push(Protocol::V2, &sent).await, 204, [50, 0, 0], "50 samples of 3 series");
        gateway.settled().await;
        assert_exactly(&sink, &points(&sent));
        gateway.finish().await;
    });
}

#[test]
fn w29_what_the_configuration_keeps_from_an_endpoint_still_counts_as_written() {
    bounded(async {
        let sink = receiver().await;
        let keys = "send_exemplars: false, send_native_histograms: false";
        let gateway = Setup::new().endpoint_with("a", &sink, keys).start().await;
        let sent = everything(1_000);
        assert_written(&gateway.push(Protocol::V2, &sent).await, 204, all_of(&sent), "everything");
        gateway.settled().await;
        let row = gateway.ledger("default", "a").await;
        let [samples, histograms, exemplars] = all_of(&sent);
        assert_eq!((row.samples.delivered, row.histograms.delivered, row.exemplars.delivered), (samples, 0, 0));
        assert_eq!(row.histograms.dropped.values().sum::<u64>(), histograms);
        assert_eq!(row.exemplars.dropped.values().sum::<u64>(), exemplars);
        let taken = sink.stats().taken;
        assert_eq!((taken.samples, taken.histograms, taken.exemplars), (samples, 0, 0));
        gateway.finish().await;
    });
}

#[test]
fn r_o21_v2_reaches_endpoints_that_only_speak_v1_loudly_or_silently() {
    bounded(async {
        let (loud, silent) = (speaking(Speaks::V1Only).await, speaking(Speaks::V1Silently).await);
        let gateway = Setup::new().endpoint("loud", &loud).endpoint("silent", &silent).start().await;
        let sent = everything(1_000);
        assert_written(&gateway.push(Protocol::V2, &sent).await, 204, all_of(&sent), "everything");
        let later = everything(2_000);
        assert_written(&gateway.push(Protocol::V2, &later).await, 204, all_of(&later), "more");
        gateway.settled().await;
        let expected: Vec<_> = points(&sent).into_iter().chain(points(&later)).collect();
        for sink in [&loud, &silent] {
            assert_exactly(sink, &expected);
        }
        gateway.finish().await;
    });
}

#[test]
fn r_x19_v2_to_v2_keeps_start_times_custom_buckets_and_metadata() {
    bounded(async {
        let sink = receiver().await;
        let gateway = Setup::new().endpoint("a", &sink).start().await;
        let mut started = sample_of("started", 1_000).described(1, "Since when.", "seconds");
        started.samples[0] = Sample { start_timestamp: -1, ..started.samples[0] };
        let mut custom = series(&[("__name__", "custom")]).histogram(custom_histogram(), 1_000);
        custom.histograms[0].start_timestamp = 400;
        let sent = request([started, custom]);
        assert_written(&gateway.push(Protocol::V2, &sent).await, 204, [1, 1, 0], "start times");
        gateway.settled().await;
        assert_exactly(&sink, &points(&sent));
        assert_eq!(arrived_starts(&sink), [-1, 400]);
        let requests = sink.requests();
        assert_eq!(requests[0].request().unwrap().series[0].metadata, sent.series[0].metadata);
        gateway.finish().await;
    });
}
