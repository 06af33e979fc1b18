//! The receiver does as told, and its books tell what it took.

use std::time::Instant;

use remote_write::compression::Compressor;

use super::*;
use crate::raw::{self, RawConnection};
use crate::sender::{Answer, SendError, Sender};
use crate::workload::{Encoder, Slice, Workload, WorkloadSettings};

const SOON: Duration = Duration::from_secs(10);

async fn launch(change: impl FnOnce(&mut EndpointSettings)) -> (Endpoint, Sender) {
    let mut settings = EndpointSettings { keep: Keep::Requests, ..EndpointSettings::default() };
    change(&mut settings);
    let endpoint = Endpoint::launch(settings).await.expect("endpoint");
    let sender = Sender::new(&endpoint.url()).expect("url").with_timeout(SOON);
    (endpoint, sender)
}

fn body(protocol: Protocol, compression: Compression, sequence: u32) -> Bytes {
    let settings = WorkloadSettings {
        series: 64,
        protocol,
        compression,
        histograms: true,
        exemplars: true,
        ..WorkloadSettings::default()
    };
    let workload = Workload::new(settings);
    let slice = Slice { request: 0, sequence, timestamp: 1_700_000_000_000 + i64::from(sequence) };
    Encoder::new(&workload).encode(slice).expect("packed").0
}

async fn push(sender: &Sender, protocol: Protocol) -> Result<Answer, SendError> {
    let body = body(protocol, Compression::Snappy, 0);
    sender.push(protocol, Compression::Snappy, body).await
}

fn written(answer: &Answer) -> [Option<&str>; 3] {
    ["samples", "histograms", "exemplars"]
        .map(|kind| answer.header(&format!("x-prometheus-remote-write-{kind}-written")))
}

#[tokio::test]
async fn a_healthy_receiver_writes_what_it_took_into_v2_answers_only() {
    let (endpoint, sender) = launch(|_| {}).await;
    let answer = push(&sender, Protocol::V2).await.expect("answer");
    assert_eq!((answer.status.as_u16(), written(&answer)), (204, [Some("62"), Some("2"), Some("2")]));
    let answer = push(&sender, Protocol::V1).await.expect("answer");
    assert_eq!((answer.status.as_u16(), written(&answer)), (204, [None; 3]));
    let stats = endpoint.stats();
    assert_eq!(stats.taken, Counts { samples: 124, histograms: 4, exemplars: 4 });
    assert_eq!((stats.taken_requests, stats.taken_v2_requests), (2, 1));
    assert_eq!(endpoint.ledger(Ledger::counts), stats.taken);
    assert_eq!(endpoint.ledger(Ledger::duplicates), 66);
    assert_eq!(endpoint.requests()[0].request().expect("valid").series.len(), 66);
}

#[tokio::test]
async fn a_v1_only_receiver_answers_415_and_a_silent_one_204_without_written() {
    for (speaks, status) in [(Speaks::V1Only, 415), (Speaks::V1Silently, 204)] {
        let (endpoint, sender) = launch(|settings| settings.speaks = speaks).await;
        let answer = push(&sender, Protocol::V2).await.expect("answer");
        assert_eq!((answer.status.as_u16(), written(&answer)), (status, [None; 3]));
        assert_eq!(endpoint.stats().taken, Counts::default());
        assert_eq!(endpoint.requests()[0].protocol, Protocol::V2);
        push(&sender, Protocol::V1).await.expect("answer");
        assert_eq!(endpoint.stats().taken.samples, 62);
    }
}

#[tokio::test]
async fn zstd_is_taken_or_answered_415() {
    for (zstd, status) in [(true, 204), (false, 415)] {
        let (_endpoint, sender) = launch(|settings| settings.zstd = zstd).await;
        let body = body(Protocol::V1, Compression::Zstd, 0);
        let answer = sender.push(Protocol::V1, Compression::Zstd, body).await.expect("answer");
        assert_eq!(answer.status, status);
    }
}

#[tokio::test]
async fn what_cannot_be_understood_is_answered_400_and_not_taken() {
    let (endpoint, sender) = launch(|settings| settings.max_bytes = 100_000).await;
    let mut bomb = Vec::new();
    Compressor::new().compress(Compression::Snappy, &vec![0; 200_000], &mut bomb).expect("packed");
    let mut broken = Vec::new();
    Compressor::new().compress(Compression::Snappy, &[0x0a, 9, 1], &mut broken).expect("packed");
    for body in [Vec::new(), b"\xff\xff\xff".to_vec(), vec![0; 200_000], bomb, broken] {
        let answer = sender.push(Protocol::V1, Compression::Snappy, body.into()).await.expect("answer");
        assert_eq!(answer.status, 400);
        assert!(!answer.body.is_empty());
    }
    let stats = endpoint.stats();
    assert_eq!((stats.malformed, stats.taken_requests), (5, 0));
}

#[tokio::test]
async fn a_script_is_followed_in_order_and_then_the_function_and_then_health() {
    let (endpoint, sender) = launch(|_| {}).await;
    endpoint.script([Reply::status(503).retry_after(7), Reply::status(400).text("no").header("x-why", "so")]);
    endpoint.answer_with(|received| Reply::status(if received.number == 2 { 429 } else { 409 }));
    let mut statuses = Vec::new();
    for _ in 0..4 {
        let answer = push(&sender, Protocol::V1).await.expect("answer");
        statuses.push((answer.status.as_u16(), answer.retry_after().is_some(), answer.text()));
    }
    let expected = [(503, true, ""), (400, false, "no"), (429, false, ""), (409, false, "")];
    assert_eq!(statuses, expected.map(|(status, retry, text)| (status, retry, text.to_owned())));
    assert_eq!(endpoint.stats().taken_requests, 0);
    endpoint.recover();
    assert_eq!(push(&sender, Protocol::V1).await.expect("answer").status, 204);
    assert_eq!(endpoint.stats().statuses, BTreeMap::from([(204, 1), (400, 1), (409, 1), (429, 1), (503, 1)]));
}

#[tokio::test]
async fn a_function_sees_the_series_it_decides_about() {
    let (endpoint, sender) = launch(|settings| settings.keep = Keep::Ledger).await;
    endpoint.answer_with(|received| {
        let request = received.request();
        let poisoned = request.is_ok_and(|request| {
            request.series.iter().any(|series| series.labels.iter().any(|label| label.value == b"go_goroutines"))
        });
        if poisoned { Reply::status(400).text("bad series") } else { Reply::healthy() }
    });
    assert_eq!(push(&sender, Protocol::V1).await.expect("answer").status, 400);
    assert_eq!(endpoint.ledger(Ledger::series), 0);
}

#[tokio::test]
async fn a_reset_breaks_the_exchange_whether_the_request_was_taken_or_not() {
    let (endpoint, sender) = launch(|_| {}).await;
    endpoint.script([Reply::reset_before_body(), Reply::reset_after_body(), Reply::reset_after_body().taking()]);
    for taken in [0, 0, 1] {
        let error = push(&sender, Protocol::V1).await.expect_err("broken");
        assert!(matches!(error, SendError::Exchange { .. }), "{error}");
        assert_eq!(endpoint.stats().taken_requests, taken);
    }
    assert_eq!(endpoint.stats().statuses, BTreeMap::new());
}

#[tokio::test]
async fn a_reset_is_a_reset_and_a_half_close_is_not() {
    let (endpoint, _) = launch(|_| {}).await;
    for (reply, kind) in [
        (Reply::reset_after_body(), io::ErrorKind::ConnectionReset),
        (Reply::half_close(), io::ErrorKind::UnexpectedEof),
    ] {
        endpoint.script([reply]);
        let mut connection = RawConnection::open(endpoint.address()).await.expect("connected");
        connection.write(&raw::request("POST", "/", &[], &[0])).await.expect("written");
        assert_eq!(connection.answer(SOON).await.expect_err("no answer").kind(), kind);
    }
    assert_eq!(endpoint.stats().in_flight, 1, "who half closed still reads");
}

#[tokio::test]
async fn a_cut_answer_is_no_answer() {
    let (endpoint, sender) = launch(|_| {}).await;
    endpoint.script([Reply::status(400).body(ReplyBody::Cut(Bytes::from_static(b"half a wo")))]);
    assert!(matches!(push(&sender, Protocol::V1).await, Err(SendError::Exchange { .. })));
}

#[tokio::test]
async fn a_large_answer_is_sent_whole() {
    let (endpoint, sender) = launch(|_| {}).await;
    let chunk = Bytes::from(vec![b'x'; 1 << 16]);
    endpoint.script([Reply::status(500).body(ReplyBody::Repeat { chunk, times: Some(100) })]);
    assert_eq!(push(&sender, Protocol::V1).await.expect("answer").body.len(), 100 << 16);
}

#[tokio::test]
async fn a_delayed_answer_comes_late_but_the_request_is_booked_before() {
    let (endpoint, sender) = launch(|_| {}).await;
    let delay = Duration::from_millis(40);
    endpoint.script([Reply::healthy().after(delay)]);
    let started = Instant::now();
    push(&sender, Protocol::V1).await.expect("answer");
    assert!(started.elapsed() >= delay);

    let gate = Gate::new();
    endpoint.script([Reply::healthy().behind(&gate)]);
    let pushing = tokio::spawn(async move { push(&sender, Protocol::V1).await });
    let stats = endpoint.wait_until(SOON, |stats| stats.taken_requests == 2).await.expect("booked");
    assert_eq!((stats.in_flight, stats.statuses[&204]), (1, 1));
    gate.open();
    assert_eq!(pushing.await.expect("no panic").expect("answer").status, 204);
}

#[tokio::test]
async fn a_stopped_receiver_refuses_and_breaks_off_and_comes_back_on_the_same_port() {
    let (endpoint, sender) = launch(|_| {}).await;
    endpoint.script([Reply::hang()]);
    let hanging = tokio::spawn({
        let sender = sender.clone();
        async move { push(&sender, Protocol::V1).await }
    });
    endpoint.wait_until(SOON, |stats| stats.in_flight == 1).await.expect("under way");
    endpoint.stop().await;
    assert!(matches!(hanging.await.expect("no panic"), Err(SendError::Exchange { .. })));
    assert!(matches!(push(&sender, Protocol::V1).await, Err(SendError::Connect { .. })));
    let stats = endpoint.stats();
    assert_eq!((stats.in_flight, stats.open_connections), (0, 0));
    endpoint.start().await.expect("the port is free");
    endpoint.start().await.expect("nothing to do");
    assert_eq!(push(&sender, Protocol::V1).await.expect("answer").status, 204);
}

#[tokio::test]
async fn connections_can_be_accepted_and_dropped() {
    let (endpoint, sender) = launch(|_| {}).await;
    endpoint.drop_connections(true);
    assert!(push(&sender, Protocol::V1).await.is_err());
    let stats = endpoint.stats();
    assert_eq!((stats.connections, stats.requests), (1, 0));
    endpoint.drop_connections(false);
    assert_eq!(push(&sender, Protocol::V1).await.expect("answer").status, 204);
}

#[tokio::test]
async fn counting_gives_the_same_numbers_as_reading() {
    for protocol in [Protocol::V1, Protocol::V2] {
        let (counting, sender) = launch(|settings| settings.keep = Keep::Counts).await;
        push(&sender, protocol).await.expect("answer");
        let (reading, sender) = launch(|_| {}).await;
        push(&sender, protocol).await.expect("answer");
        assert_eq!(counting.stats().taken, reading.ledger(Ledger::counts));
        assert_eq!(counting.ledger(Ledger::series), 0);
        assert_eq!(counting.requests().len(), 0);
    }
}

#[tokio::test]
async fn samples_tell_on_arrival_how_old_they_are() {
    let (endpoint, sender) = launch(|settings| (settings.keep, settings.arrivals) = (Keep::Counts, true)).await;
    for protocol in [Protocol::V1, Protocol::V2] {
        push(&sender, protocol).await.expect("answer");
        let arrivals = endpoint.take_arrivals();
        // The timestamps are of November 2023.
        assert_eq!(arrivals.count(), 62);
        assert!(arrivals.quantile(0.0) > Duration::from_secs(86_400 * 300), "{arrivals:?}");
    }
    assert_eq!(endpoint.take_arrivals().count(), 0, "asked for once");
}

#[tokio::test]
async fn waiting_ends_with_the_condition_or_tells_what_there_is() {
    let (endpoint, sender) = launch(|_| {}).await;
    let limit = Duration::from_millis(20);
    let error = endpoint.wait_until(limit, |stats| stats.requests > 0).await.expect_err("nothing comes");
    assert!(error.to_string().contains("requests: 0"), "{error}");
    let pushing = push(&sender, Protocol::V1);
    let waiting = endpoint.wait_until(SOON, |stats| stats.statuses.contains_key(&204));
    let (waited, pushed) = tokio::join!(waiting, pushing);
    assert_eq!(waited.expect("in time").requests, 1);
    assert_eq!(pushed.expect("answer").status, 204);
}

#[tokio::test]
async fn http2_with_prior_knowledge_is_served() {
    use http_body_util::{BodyExt, Full};
    use hyper_util::rt::{TokioExecutor, TokioIo};

    let (endpoint, _) = launch(|_| {}).await;
    let stream = tokio::net::TcpStream::connect(endpoint.address()).await.expect("connected");
    let handshake = hyper::client::conn::http2::handshake(TokioExecutor::new(), TokioIo::new(stream));
    let (mut requests, connection) = handshake.await.expect("h2");
    let driver = tokio::spawn(connection);
    let body = Full::new(body(Protocol::V1, Compression::Snappy, 0));
    let request = http::Request::post(endpoint.url()).body(body).expect("request");
    let response = requests.send_request(request).await.expect("response");
    assert_eq!(response.status(), 204);
    assert!(response.into_body().collect().await.expect("body").to_bytes().is_empty());
    assert_eq!(endpoint.stats().taken.samples, 62);
    driver.abort();
}
