//! A load against receivers that are well, slow, failing and refusing.

use super::*;
use crate::endpoint::{Endpoint, EndpointSettings, Gate, Reply, Speaks};
use crate::workload::WorkloadSettings;
use remote_write::Compression;

const SOON: Duration = Duration::from_secs(10);

fn workload(protocol: Protocol) -> Arc<Workload> {
    let settings = WorkloadSettings {
        series: 400,
        series_per_request: 50,
        protocol,
        histograms: true,
        exemplars: true,
        ..WorkloadSettings::default()
    };
    Arc::new(Workload::new(settings))
}

fn hasty() -> Retry {
    Retry { min_backoff: Duration::from_millis(1), max_backoff: Duration::from_millis(4), ..Retry::default() }
}

async fn endpoint() -> (Endpoint, Sender) {
    let endpoint = Endpoint::launch(EndpointSettings::default()).await.expect("endpoint");
    let sender = Sender::new(&endpoint.url()).expect("url").with_timeout(SOON);
    (endpoint, sender)
}

#[tokio::test]
async fn all_that_is_acknowledged_has_arrived_once_and_in_order() {
    for protocol in [Protocol::V1, Protocol::V2] {
        let (endpoint, sender) = endpoint().await;
        let load = Load { connections: 4, ..Load::new(workload(protocol), 5) };
        let report = sender.run(&load).await;
        assert_eq!(report.acknowledged.len(), 40);
        assert_eq!((report.failures, report.statuses.clone()), (0, BTreeMap::from([(204, 40)])));
        assert_eq!(report.latencies.count(), 40);
        let written = if protocol == Protocol::V2 { report.sent } else { Counts::default() };
        assert_eq!(report.written, written);
        let stats = endpoint.stats();
        assert_eq!((stats.connections, stats.taken, stats.body_bytes), (4, report.sent, report.body_bytes));
        let expected: Vec<_> = load.workload.points(report.acknowledged).collect();
        endpoint.ledger(|ledger| {
            assert_eq!(ledger.missing(expected.iter().copied()), []);
            assert_eq!((ledger.duplicates(), ledger.out_of_order()), (0, [].as_slice()));
        });
    }
}

#[tokio::test]
async fn a_later_load_goes_on_where_the_first_ended() {
    let (endpoint, sender) = endpoint().await;
    let workload = workload(Protocol::V1);
    let timestamps = Timestamps::Steps { first: 1_000_000, step: 15_000 };
    let first = Load { timestamps, ..Load::new(Arc::clone(&workload), 2) };
    let second = Load { first_sequence: 2, ..first.clone() };
    let mut acknowledged = sender.run(&first).await.acknowledged;
    acknowledged.extend(sender.run(&second).await.acknowledged);
    let last = acknowledged.last().expect("acknowledged");
    assert_eq!((last.sequence, last.timestamp), (3, 1_045_000));
    endpoint.ledger(|ledger| {
        assert_eq!(ledger.missing(workload.points(acknowledged.iter().copied())), []);
        assert_eq!((ledger.duplicates(), ledger.out_of_order()), (0, [].as_slice()));
    });
}

#[tokio::test]
async fn failures_are_retried_until_taken_and_retry_attempts_are_numbered() {
    let settings = EndpointSettings { keep: crate::endpoint::Keep::Requests, ..EndpointSettings::default() };
    let endpoint = Endpoint::launch(settings).await.expect("endpoint");
    let sender = Sender::new(&endpoint.url()).expect("url").with_timeout(SOON);
    endpoint.script([
        Reply::status(503),
        Reply::status(500).text("not yet"),
        Reply::reset_after_body(),
        Reply::status(429),
    ]);
    let retry = Retry { on_429: true, ..hasty() };
    let report = sender.run(&Load { retry, ..Load::new(workload(Protocol::V1), 1) }).await;
    assert_eq!(report.acknowledged.len(), 8);
    assert_eq!(report.statuses, BTreeMap::from([(204, 8), (429, 1), (500, 1), (503, 1)]));
    assert_eq!(report.failures, 1);
    assert!(report.last_failure.expect("a failure").starts_with("exchange with 127.0.0.1"));
    let attempts: Vec<Option<String>> = endpoint
        .requests()
        .iter()
        .take(6)
        .map(|received| received.header("retry-attempt").map(str::to_owned))
        .collect();
    let expected = [None, Some("1"), Some("2"), Some("3"), Some("4"), None];
    assert_eq!(attempts, expected.map(|attempt| attempt.map(str::to_owned)));
}

#[tokio::test]
async fn a_refusal_is_booked_and_not_repeated() {
    let (endpoint, sender) = endpoint().await;
    endpoint.script([Reply::status(400), Reply::status(429)]);
    let report = sender.run(&Load::new(workload(Protocol::V1), 1)).await;
    let refused: Vec<_> = report.refused.iter().map(|(slice, status)| (slice.request, status.as_u16())).collect();
    assert_eq!(refused, [(0, 400), (1, 429)]);
    assert_eq!((report.acknowledged.len(), endpoint.stats().requests), (6, 8));
}

#[tokio::test]
async fn a_request_is_given_up_after_its_time() {
    let (endpoint, sender) = endpoint().await;
    endpoint.answer_with(|_| Reply::status(503).retry_after(1_000));
    let retry = Retry { give_up_after: Some(Duration::from_secs(30)), ..hasty() };
    let report = sender.run(&Load { retry, ..Load::new(workload(Protocol::V1), 1) }).await;
    assert_eq!((report.unanswered.len(), report.acknowledged.len()), (8, 0));
    assert_eq!(report.statuses, BTreeMap::from([(503, 8)]));
}

#[tokio::test]
async fn a_stopped_load_ends_its_attempts_and_no_more() {
    let (endpoint, sender) = endpoint().await;
    let gate = Gate::new();
    let held = gate.clone();
    endpoint.answer_with(move |_| Reply::healthy().behind(&held));
    let load = Load { connections: 3, rounds: None, ..Load::new(workload(Protocol::V1), 0) };
    let run = sender.start(&load);
    endpoint.wait_until(SOON, |stats| stats.in_flight == 3).await.expect("all connections are busy");
    assert_eq!(run.progress().sent, Counts::default());
    let (report, ()) = tokio::join!(run.stop(), async { gate.open() });
    assert_eq!((report.acknowledged.len(), report.unanswered.len()), (3, 0));
    assert_eq!(endpoint.stats().requests, 3);
}

#[tokio::test]
async fn a_rate_is_kept() {
    let (_endpoint, sender) = endpoint().await;
    // 8 requests of 50 series: the last is due 350 samples after the first.
    let load = Load { rate: Some(2_000.0), ..Load::new(workload(Protocol::V1), 1) };
    let report = sender.run(&load).await;
    assert_eq!(report.acknowledged.len(), 8);
    assert!(report.elapsed >= Duration::from_millis(175), "{:?}", report.elapsed);
}

#[tokio::test]
async fn v1_metadata_goes_ahead_of_the_series() {
    let (endpoint, sender) = endpoint().await;
    let settings = WorkloadSettings { series: 10, metadata: true, ..WorkloadSettings::default() };
    let report = sender.run(&Load::new(Arc::new(Workload::new(settings)), 2)).await;
    assert_eq!(report.acknowledged.len(), 2);
    let stats = endpoint.stats();
    assert_eq!((stats.taken_requests, stats.metadata, stats.taken.samples), (3, 13, 20));
}

#[tokio::test]
async fn zstd_and_silent_receivers_see_what_a_real_sender_sends_them() {
    let settings = EndpointSettings { speaks: Speaks::V1Silently, ..EndpointSettings::default() };
    let endpoint = Endpoint::launch(settings).await.expect("endpoint");
    let sender = Sender::new(&endpoint.url()).expect("url").with_timeout(SOON);
    let settings = WorkloadSettings { series: 10, compression: Compression::Zstd, ..WorkloadSettings::default() };
    sender.run(&Load::new(Arc::new(Workload::new(settings)), 1)).await;
    assert_eq!(endpoint.stats().taken.samples, 10);
    let report = sender.run(&Load::new(workload(Protocol::V2), 1)).await;
    assert_eq!((report.acknowledged.len(), report.written), (8, Counts::default()));
    assert_eq!(endpoint.stats().taken.samples, 10);
}

#[tokio::test]
async fn a_recorded_load_ends_with_its_recording() {
    let (endpoint, sender) = endpoint().await;
    let directory = tempfile::tempdir().expect("directory");
    let workload = workload(Protocol::V1);
    let recording = Recording::make(&workload, 3, (1_000_000, 15_000), &directory.path().join("bodies"));
    let recording = Some(Arc::new(recording.expect("recorded")));
    let first = Load { connections: 4, recording, ..Load::new(Arc::clone(&workload), 1) };
    let rest = Load { rounds: None, first_sequence: 1, ..first.clone() };
    let mut acknowledged = sender.run(&first).await.acknowledged;
    acknowledged.extend(sender.run(&rest).await.acknowledged);
    assert_eq!(acknowledged.len(), 24);
    endpoint.ledger(|ledger| {
        assert_eq!(ledger.missing(workload.points(acknowledged.iter().copied())), []);
        assert_eq!((ledger.duplicates(), ledger.out_of_order()), (0, [].as_slice()));
    });
}

#[tokio::test]
async fn senders_take_turns_over_the_same_connections() {
    let settings = EndpointSettings { keep: crate::endpoint::Keep::Requests, ..EndpointSettings::default() };
    let endpoint = Endpoint::launch(settings).await.expect("endpoint");
    let tenant = |name| {
        let sender = Sender::new(&endpoint.url()).expect("url").with_timeout(SOON);
        sender.with_header(http::HeaderName::from_static("x-scope-orgid"), HeaderValue::from_static(name))
    };
    let load = Load { connections: 2, ..Load::new(workload(Protocol::V1), 2) };
    let senders = [tenant("a"), tenant("b"), tenant("c"), tenant("d")];
    let report = Sender::start_in_turns(&senders, &load).finish().await;
    assert_eq!((report.acknowledged.len(), endpoint.stats().connections), (16, 2));
    let mut tenants = BTreeMap::<_, u32>::new();
    for received in endpoint.requests() {
        *tenants.entry(received.header("x-scope-orgid").unwrap_or_default().to_owned()).or_default() += 1;
    }
    let each = ["a", "b", "c", "d"].map(|name| (name.to_owned(), 4));
    assert_eq!(tenants, BTreeMap::from(each));
}
