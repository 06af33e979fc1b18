//! What goes out: exact headers, strict v2, retries of the same sample set with growing pauses, answers of any size.

use std::collections::HashSet;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant, SystemTime};

use bytes::Bytes;
use http::Method;
use remote_write::Protocol;
use remote_write::model::Label;
use remote_write::wire::Reader;
use testkit::endpoint::{Endpoint, Received, Reply, ReplyBody};
use testkit::sender::push_headers;

use crate::harness::{Setup, TestGateway, assert_exactly, bounded, parse, receiver, takes};
use crate::message::{WireV2, With, encode, everything, points, request, sample_of, series};

#[test]
fn w50_a_request_carries_the_four_headers_of_its_protocol_and_nothing_of_the_senders() {
    bounded(async {
        for (message, content_type, version) in [
            ("prometheus.WriteRequest", "application/x-protobuf", "0.1.0"),
            ("io.prometheus.write.v2.Request", "application/x-protobuf;proto=io.prometheus.write.v2.Request", "2.0.0"),
        ] {
            let sink = receiver().await;
            let keys = format!("protobuf_message: {message}");
            let gateway = Setup::new().endpoint_with("a", &sink, &keys).start().await;
            let mut headers = push_headers(Protocol::V1, remote_write::Compression::Snappy);
            for name in ["authorization", "cookie", "x-scope-orgid", "thanos-tenant", "x-forwarded-for", "x-secret"] {
                headers.insert(name, "of the sender".parse().unwrap());
            }
            let sent = request([sample_of("up", 1_000)]);
            let body = crate::harness::compress(remote_write::Compression::Snappy, &encode(Protocol::V1, &sent));
            let answer = gateway.sender().send(Method::POST, headers, body).await.unwrap();
            assert_eq!(answer.status, 204, "{}", answer.text());
            takes(&sink, 1).await;
            let received = sink.requests().remove(0);
            assert_eq!(received.path, "/api/v1/write");
            let mut names: Vec<_> = received.headers.keys().map(http::HeaderName::as_str).collect();
            names.sort_unstable();
            let version_name = "x-prometheus-remote-write-version";
            let expected = ["content-encoding", "content-length", "content-type", "host", "user-agent", version_name];
            assert_eq!(names, expected);
            assert_eq!(received.header("content-type"), Some(content_type));
            assert_eq!(received.header(version_name), Some(version));
            assert_eq!(received.header("content-encoding"), Some("snappy"));
            assert!(received.header("user-agent").unwrap().starts_with("writegate/"));
            assert!(!received.body.starts_with(b"\xff\x06\x00\x00sNaPpY"), "the block format, not the framed one");
            assert_eq!(points(&received.request().unwrap()), points(&sent));
            gateway.settle_and_finish().await;
        }
    });
}

#[test]
fn w50_reserved_headers_are_refused_when_the_configuration_is_loaded() {
    let reserved = [
        "Host",
        "Content-Encoding",
        "Content-Length",
        "Content-Type",
        "User-Agent",
        "Connection",
        "Keep-Alive",
        "Proxy-Authenticate",
        "Proxy-Authorization",
        "WWW-Authenticate",
        "Accept-Encoding",
        "Authorization",
        "X-Prometheus-Remote-Write-Version",
        "X-Prometheus-Remote-Read-Version",
        "X-Amz-Date",
        "X-Amz-Security-Token",
        "X-Amz-Content-Sha256",
    ];
    for name in reserved {
        let yaml = format!("remote_write: [{{url: 'http://localhost/', headers: {{{name}: x}}}}]");
        let problems = parse(&yaml, std::path::Path::new("")).expect_err(name);
        assert!(problems.to_lowercase().contains(&name.to_lowercase()), "{problems}");
    }
}

/// Checks a v2 request on the wire, references and all (remote write 2.0, "Protobuf Message").
fn assert_strict(received: &Received) {
    let (mut symbols, mut all_series) = (Vec::new(), Vec::new());
    let mut message = Reader::new(&received.decoded);
    while !message.is_empty() {
        let tag = message.tag().unwrap();
        match tag.field {
            4 => symbols.push(message.bytes().unwrap()),
            5 => all_series.push(message.message().unwrap()),
            field => panic!("field {field}"),
        }
    }
    assert_eq!(symbols.first(), Some(&b"".as_slice()), "the first symbol is empty");
    let distinct: HashSet<_> = symbols.iter().collect();
    assert_eq!(distinct.len(), symbols.len(), "a symbol stands twice");
    for mut fields in all_series {
        let (mut labels, mut samples, mut histograms) = (Vec::new(), 0, 0);
        while !fields.is_empty() {
            let tag = fields.tag().unwrap();
            match tag.field {
                1 => labels = references(fields.bytes().unwrap(), &symbols),
                2 => samples += u32::from(!fields.message().unwrap().is_empty()),
                3 => histograms += u32::from(!fields.message().unwrap().is_empty()),
                4 => {
                    let mut exemplar = fields.message().unwrap();
                    while !exemplar.is_empty() {
                        let tag = exemplar.tag().unwrap();
                        if tag.field == 1 {
                            references(exemplar.bytes().unwrap(), &symbols);
                        } else {
                            exemplar.skip(tag).unwrap();
                        }
                    }
                }
                5 => {
                    let mut metadata = fields.message().unwrap();
                    while !metadata.is_empty() {
                        let tag = metadata.tag().unwrap();
                        let value = metadata.varint().unwrap();
                        assert!(tag.field == 1 || value < symbols.len() as u64, "help or unit is out of range");
                    }
                }
                field => panic!("field {field} of a series"),
            }
        }
        assert!((samples > 0) != (histograms > 0), "{samples} samples and {histograms} histograms in one series");
        let sorted = labels.windows(2).all(|two| two[0].name < two[1].name);
        assert!(sorted, "labels are sorted and unique: {labels:?}");
        assert!(labels.iter().all(|label| !label.name.is_empty() && !label.value.is_empty()), "{labels:?}");
        assert!(labels.iter().any(|label| label.name == b"__name__"), "{labels:?}");
    }
}

/// References in pairs, resolved.
fn references<'s>(packed: &[u8], symbols: &[&'s [u8]]) -> Vec<Label<'s>> {
    let mut reader = Reader::new(packed);
    let mut resolved = Vec::new();
    while !reader.is_empty() {
        let reference = usize::try_from(reader.varint().unwrap()).unwrap();
        resolved.push(*symbols.get(reference).expect("a reference in range"));
    }
    assert_eq!(resolved.len() % 2, 0, "references come in pairs");
    resolved.chunks(2).map(|pair| Label { name: pair[0], value: pair[1] }).collect()
}

#[test]
fn w51_every_v2_request_an_endpoint_gets_is_strict_whatever_came_in() {
    bounded(async {
        let sink = receiver().await;
        let gateway =
            Setup::new().endpoint_with("a", &sink, "protobuf_message: io.prometheus.write.v2.Request").start().await;
        // It is down at first, so that what comes is there to be merged.
        gateway.is_down(&sink).await;
        for protocol in [Protocol::V2, Protocol::V1] {
            gateway.accept(protocol, &everything(if protocol == Protocol::V2 { 1_000 } else { 2_000 })).await;
        }
        for number in 0..10 {
            let (name, protocol) = (format!("merged_{number}"), [Protocol::V2, Protocol::V1][number / 5]);
            let described = sample_of(&name, 1_000).described(1, "Help.", "seconds");
            gateway.accept(protocol, &request([described])).await;
        }
        let unsorted = series(&[("b", "1"), ("a", "2"), ("__name__", "unsorted"), ("empty", "")]).sample(1.0, 1_000);
        let mixed =
            series(&[("__name__", "mixed")]).sample(1.0, 1_000).histogram(crate::message::integer_histogram(), 2_000);
        let lonely_exemplar = series(&[("__name__", "lonely")]).exemplar(1.0, 1_000);
        let described_only = series(&[("__name__", "described")]).described(1, "Help.", "");
        for protocol in [Protocol::V2, Protocol::V1] {
            let odd = [unsorted.clone(), mixed.clone(), lonely_exemplar.clone(), described_only.clone()];
            let sent = request(odd.into_iter().filter(|series| protocol == Protocol::V2 || series.metadata.is_none()));
            gateway.accept(protocol, &sent).await;
        }
        for wire in odd_tables(1_000) {
            let answer = gateway.push_raw(Protocol::V2, remote_write::Compression::Snappy, &wire.encode()).await;
            assert_eq!(answer.status, 204, "{}", answer.text());
        }
        sink.start().await.unwrap();
        gateway.settled().await;
        // Once more, each by itself: nothing of these is merged with others.
        for wire in odd_tables(2_000) {
            let answer = gateway.push_raw(Protocol::V2, remote_write::Compression::Snappy, &wire.encode()).await;
            assert_eq!(answer.status, 204, "{}", answer.text());
            gateway.settled().await;
        }
        let requests = sink.requests();
        let merged = requests.iter().any(|received| {
            received
                .request()
                .unwrap()
                .series
                .iter()
                .filter(|series| series.labels[0].value.starts_with(b"merged"))
                .count()
                > 1
        });
        assert!(merged, "several records travel together");
        for received in &requests {
            assert_eq!(received.protocol, Protocol::V2);
            assert_strict(received);
        }
        gateway.finish().await;
    });
}

#[test]
fn w51_the_symbols_of_a_refused_series_do_not_leave() {
    bounded(async {
        let sink = receiver().await;
        let gateway = Setup::new().endpoint("a", &sink).start().await;
        let refused = series(&[("nameless", "of nobody's business")]).sample(1.0, 1_000);
        let sent = request([sample_of("up", 1_000), refused]);
        assert_eq!(gateway.push(Protocol::V2, &sent).await.status, 400);
        gateway.settled().await;
        let requests = sink.requests();
        assert_eq!(requests.len(), 1);
        assert_strict(&requests[0]);
        let leaks = requests[0].decoded.windows(8).any(|bytes| bytes == b"nameless");
        assert!(!leaks, "the table still holds what only the refused series used");
        gateway.finish().await;
    });
}

/// Valid requests with symbol tables that a strict receiver would not take.
fn odd_tables(timestamp: i64) -> [WireV2; 3] {
    let of = |name| WireV2::from(&request([sample_of(name, timestamp)]));
    let mut repeated = of("repeated");
    repeated.symbols.extend_from_within(1..);
    repeated.series[0].labels[1] += 4;
    let mut unused = of("unused");
    unused.symbols.push(b"never referred to".to_vec());
    let mut not_empty = of("not_empty");
    not_empty.symbols.remove(0);
    not_empty.series[0].labels.iter_mut().for_each(|reference| *reference -= 1);
    [repeated, unused, not_empty]
}

/// When each request came, and what it held: bodies of a repetition may differ, its samples may not.
type Attempts = Arc<Mutex<Vec<(Instant, Received)>>>;

/// Answers what `answer` says by the number of the attempt, and keeps the attempts.
fn record_attempts(sink: &Endpoint, answer: impl Fn(usize) -> Reply + Send + Sync + 'static) -> Attempts {
    let attempts = Attempts::default();
    let kept = Arc::clone(&attempts);
    sink.answer_with(move |received| {
        let mut attempts = kept.lock().unwrap();
        attempts.push((Instant::now(), received.clone()));
        answer(attempts.len() - 1)
    });
    attempts
}

fn pauses(attempts: &Attempts) -> Vec<Duration> {
    attempts.lock().unwrap().windows(2).map(|two| two[1].0 - two[0].0).collect()
}

const QUEUE: &str = "queue_config: {min_backoff: 20ms, max_backoff: 200ms}";

#[test]
fn w53_each_failure_repeats_the_same_samples_with_growing_pauses_while_later_ones_of_the_series_wait() {
    bounded(async {
        let sink = receiver().await;
        let gateway = Setup::new().endpoint_with("a", &sink, &format!("remote_timeout: 2s, {QUEUE}")).start().await;
        let failures = || {
            let [a, b, c, d] = [500, 502, 503, 504].map(Reply::status);
            [a, b, c, d, Reply::reset_after_body(), Reply::hang()]
        };
        let attempts =
            record_attempts(&sink, move |attempt| failures().into_iter().nth(attempt).unwrap_or_else(Reply::healthy));
        let (first, second) = (request([sample_of("up", 1_000)]), request([sample_of("up", 2_000)]));
        gateway.accept(Protocol::V1, &first).await;
        gateway.accept(Protocol::V1, &second).await;
        gateway.settled().await;

        let pauses = pauses(&attempts);
        let attempts = attempts.lock().unwrap().clone();
        assert_eq!(attempts.len(), 8, "six failures, two successes");
        for (number, (_, received)) in attempts.iter().enumerate() {
            let expected = if number < 7 { &first } else { &second };
            assert_eq!(points(&received.request().unwrap()), points(expected), "attempt {number}");
            let attempt = received.header("retry-attempt").map_or(0, |value| value.parse().unwrap());
            assert_eq!(attempt, number % 7, "the header counts the attempts of a batch");
        }
        let (min, max) = (Duration::from_millis(20), Duration::from_millis(200));
        // Between the bounds, but for what a busy machine adds; the last failure's own two seconds are left out.
        let latest = max + Duration::from_secs(2);
        assert!(pauses[..5].iter().all(|pause| (min..latest).contains(pause)), "{pauses:?}");
        assert!(pauses[3] > pauses[0], "{pauses:?}");
        assert_exactly(&sink, &points(&request([sample_of("up", 1_000), sample_of("up", 2_000)])));
        gateway.finish().await;
    });
}

#[test]
fn w53_a_request_holds_each_series_from_one_record_only_so_that_its_repetition_repeats_newest_samples() {
    bounded(async {
        let sink = receiver().await;
        let gateway = Setup::new().endpoint_with("a", &sink, QUEUE).start().await;
        let mut expected = gateway.is_down(&sink).await;
        for timestamp in 0..30 {
            // Two of three records share a series with their neighbour.
            let sent = request([sample_of(["a", "a", "b"][timestamp as usize % 3], timestamp)]);
            gateway.accept(Protocol::V1, &sent).await;
            expected.extend(points(&sent));
        }
        sink.start().await.unwrap();
        gateway.settled().await;
        assert_exactly(&sink, &expected);
        for received in sink.requests() {
            let request = received.request().unwrap();
            let distinct: HashSet<_> = request.series.iter().map(|series| series.labels.clone()).collect();
            assert_eq!(distinct.len(), request.series.len(), "a series stands twice: {:?}", points(&request));
        }
        assert!(sink.stats().taken_requests < 30, "records that share no series travel together");
        gateway.finish().await;
    });
}

#[test]
fn w53_a_connection_reset_before_the_body_is_a_failure_like_any_other() {
    bounded(async {
        let sink = receiver().await;
        let gateway = Setup::new().endpoint_with("a", &sink, QUEUE).start().await;
        sink.script([Reply::reset_before_body(), Reply::half_close(), Reply::status(408), Reply::status(429)]);
        let sent = request([sample_of("up", 1_000)]);
        gateway.accept(Protocol::V1, &sent).await;
        gateway.settled().await;
        assert_exactly(&sink, &points(&sent));
        assert_eq!(sink.stats().requests, 5);
        gateway.finish().await;
    });
}

/// The pause that follows a 503 with this header, made when it is answered.
async fn pause_after(retry_after: impl Fn() -> String + Send + Sync + 'static) -> Duration {
    let sink = receiver().await;
    let gateway = Setup::new().endpoint_with("a", &sink, QUEUE).start().await;
    let attempts = record_attempts(&sink, move |attempt| match attempt {
        0 => Reply::status(503).header("retry-after", &retry_after()),
        _ => Reply::healthy(),
    });
    gateway.accept(Protocol::V1, &request([sample_of("up", 1_000)])).await;
    takes(&sink, 1).await;
    gateway.settle_and_finish().await;
    pauses(&attempts)[0]
}

#[test]
fn w54_retry_after_is_obeyed_in_seconds_and_as_a_date_and_nonsense_is_ignored() {
    bounded(async {
        let second = Duration::from_secs(1);
        assert!(pause_after(|| "1".to_owned()).await >= second);
        // A date has whole seconds: this one is between one and two seconds away.
        let date = move || httpdate::fmt_http_date(SystemTime::now() + 2 * second);
        assert!(pause_after(date).await >= second);
        for nonsense in ["soon", "0", "-5", "Thu, 01 Jan 1970 00:00:01 GMT"] {
            let pause = pause_after(move || nonsense.to_owned()).await;
            assert!(pause < 5 * second, "{nonsense}: {pause:?}");
        }
    });
}

#[test]
fn w69_answers_of_100_mib_and_without_end_hurt_nobody() {
    bounded(async {
        let (huge, healthy) = (receiver().await, receiver().await);
        let gateway =
            Setup::new().endpoint_with("huge", &huge, QUEUE).endpoint_with("healthy", &healthy, QUEUE).start().await;
        let chunk = Bytes::from(vec![b'x'; 1 << 20]);
        let body = |times| ReplyBody::Repeat { chunk: chunk.clone(), times };
        huge.script([
            Reply::status(500).body(body(Some(100))),
            Reply::status(500).body(body(None)),
            Reply::status(200).taking().body(body(Some(100))),
            Reply::status(200).taking().body(body(None)),
            Reply::status(500).body(ReplyBody::Cut(Bytes::from_static(b"cut"))),
        ]);
        let mut expected = Vec::new();
        for timestamp in 0..4 {
            let sent = request([sample_of("up", timestamp)]);
            gateway.accept(Protocol::V1, &sent).await;
            expected.extend(points(&sent));
            takes(&healthy, expected.len() as u64).await;
        }
        gateway.settled().await;
        assert_exactly(&huge, &expected);
        assert_exactly(&healthy, &expected);
        assert_eq!(sent_again(&gateway).await, 3.0, "a success with a long answer is a success");
        gateway.finish().await;
    });
}

/// Samples sent more than once, over all endpoints.
async fn sent_again(gateway: &TestGateway) -> f64 {
    let page = gateway.admin("/metrics").await;
    let lines = page.lines().filter(|line| line.starts_with("prometheus_remote_storage_samples_retried_total"));
    lines.map(|line| line.rsplit(' ').next().unwrap().parse::<f64>().unwrap()).sum()
}
