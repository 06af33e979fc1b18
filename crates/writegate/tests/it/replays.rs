//! Replays, and where a new endpoint begins: a window of the log, once more or for the first time, beside what is live.

use std::time::Duration;

use http::Method;
use remote_write::Protocol;
use serde_json::{Value, json};
use testkit::endpoint::{Endpoint, EndpointSettings, Gate, Judge, Reply};
use testkit::load::{Load, Timestamps};
use testkit::workload::{Workload, WorkloadSettings};

use crate::books::Row;
use crate::harness::{Setup, TestGateway, assert_exactly, bounded, eventually, receiver, receiver_that};
use crate::message::{points, request, sample_of};

fn now_ms() -> i64 {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
    i64::try_from(since.as_millis()).unwrap()
}

/// A moment that is later than all that was accepted, and earlier than all that will be.
async fn moment() -> f64 {
    let before = now_ms();
    let moment = eventually("the clock goes on", || async { Some(now_ms()).filter(|now| *now > before) }).await;
    eventually("the clock goes on", || async { Some(()).filter(|()| now_ms() > moment) }).await;
    moment as f64 / 1e3
}

async fn begin(gateway: &TestGateway, endpoint: &str, window: Value) -> u64 {
    let mut body = json!({"endpoint": endpoint, "tenant": "default"});
    body.as_object_mut().unwrap().extend(window.as_object().unwrap().clone());
    let (status, answer) = gateway.call(Method::POST, "/api/v1/replays", &body.to_string()).await;
    assert_eq!(status, 202, "{answer}");
    answer["id"].as_u64().unwrap()
}

async fn state(gateway: &TestGateway, id: u64) -> String {
    let (status, answer) = gateway.call(Method::GET, &format!("/api/v1/replays/{id}"), "").await;
    assert_eq!(status, 200, "{answer}");
    answer["state"].as_str().unwrap().to_owned()
}

async fn done(gateway: &TestGateway, id: u64) -> Row {
    eventually("the replay is done", || async { (state(gateway, id).await == "done").then_some(()) }).await;
    gateway.replay_row(id).await
}

#[test]
fn w66_a_replay_sends_exactly_its_window_to_its_endpoint_and_disturbs_no_cursor() {
    bounded(async {
        let (a, b) = (receiver().await, receiver().await);
        let gateway = Setup::new().endpoint("a", &a).endpoint("b", &b).start().await;
        let batches: Vec<_> = (0..3).map(|n| request([sample_of("up", n), sample_of("down", n)])).collect();
        let mut moments = Vec::new();
        for batch in &batches {
            gateway.accept(Protocol::V1, batch).await;
            moments.push(moment().await);
        }
        gateway.settled().await;
        let live = gateway.ledger("default", "b").await;
        let before = b.requests().len();
        let id = begin(&gateway, "b", json!({"from": moments[0], "to": moments[1]})).await;
        let row = done(&gateway, id).await;
        assert_eq!((row.endpoint.as_str(), row.samples.accepted, row.samples.delivered), ("b", 2, 2), "{row:?}");
        let replayed: Vec<_> =
            b.requests()[before..].iter().flat_map(|received| points(&received.request().unwrap())).collect();
        assert_eq!(replayed, points(&batches[1]));
        assert_eq!(a.stats().requests, 3);
        assert_eq!(gateway.ledger("default", "b").await.samples, live.samples);
        gateway.accept(Protocol::V1, &request([sample_of("up", 9)])).await;
        gateway.settle_and_finish().await;
    });
}

#[test]
fn two_hours_are_replayed_to_a_new_endpoint_while_live_traffic_flows_and_both_end_equal() {
    bounded(async {
        let settings = EndpointSettings::default;
        let (old, new) = (receiver_that(settings()).await, receiver_that(settings()).await);
        // A scrape every 15 s for two hours.
        let workload = WorkloadSettings { series: 500, series_per_request: 250, ..WorkloadSettings::default() };
        let workload = std::sync::Arc::new(Workload::new(workload));
        let mut history = Load::new(std::sync::Arc::clone(&workload), 480);
        history.timestamps = Timestamps::Steps { first: 0, step: 15_000 };
        let gateway = Setup::new().endpoint("old", &old).start().await;
        let sent = gateway.sender().run(&history).await;
        assert_eq!(sent.failures, 0);
        gateway.settled().await;
        let gateway = gateway.restart_with(Setup::new().endpoint("old", &old).endpoint("new", &new)).await;

        let mut live = Load::new(workload, 40);
        live.first_sequence = 480;
        live.rate = Some(5_000.0);
        live.timestamps = Timestamps::Steps { first: 0, step: 15_000 };
        let run = gateway.sender().start(&live);
        let id = begin(&gateway, "new", json!({"from": "2h", "rate": 200_000})).await;
        let age = r#"writegate_oldest_unsent_age_seconds{tenant="default",endpoint="old"}"#;
        let mut oldest: f64 = 0.0;
        while state(&gateway, id).await != "done" {
            oldest = oldest.max(gateway.metric(age).await);
        }
        assert!(oldest < 1.0, "the old endpoint lagged {oldest} s behind");
        let report = run.finish().await;
        assert_eq!(report.failures, 0);
        gateway.settled().await;
        let row = gateway.replay_row(id).await;
        assert!(row.samples.accepted >= 240_000 && row.samples.delivered == row.samples.accepted, "{row:?}");
        let difference = old.ledger(|old| new.ledger(|new| old.difference(new)));
        assert!(difference.is_empty(), "{difference}");
        gateway.finish().await;
    });
}

#[test]
fn a_replay_goes_on_after_a_restart_keeps_its_rate_and_can_be_cancelled() {
    bounded(async {
        let sink = receiver().await;
        let keys = "queue_config: {max_samples_per_send: 1}";
        let gateway = Setup::new().endpoint_with("a", &sink, keys).start().await;
        let mut sent = Vec::new();
        for timestamp in 0..60 {
            let one = request([sample_of("up", timestamp)]);
            gateway.accept(Protocol::V1, &one).await;
            sent.extend(points(&one));
        }
        gateway.settled().await;
        let started = std::time::Instant::now();
        let id = begin(&gateway, "a", json!({"from": "earliest", "rate": 40})).await;
        sink.wait_until(crate::harness::PATIENCE, |stats| stats.requests >= 70).await.unwrap();
        let gateway = gateway.restart().await;
        let row = done(&gateway, id).await;
        assert!(started.elapsed() >= Duration::from_millis(1_000), "{:?}", started.elapsed());
        assert_eq!((row.samples.accepted, row.samples.delivered), (60, 60), "{row:?}");

        let gate = Gate::new();
        let held = gate.clone();
        sink.answer_with(move |_| Reply::healthy().behind(&held));
        let in_flight = sink.stats().requests + 1;
        let second = begin(&gateway, "a", json!({"from": "earliest"})).await;
        assert_eq!(second, id + 1);
        sink.wait_until(crate::harness::PATIENCE, |stats| stats.requests >= in_flight).await.unwrap();
        let path = format!("/api/v1/replays/{second}");
        let (cancelled, ()) = tokio::join!(gateway.call(Method::DELETE, &path, ""), async { gate.open() });
        assert_eq!(cancelled.0, 200, "{}", cancelled.1);
        assert_eq!(state(&gateway, second).await, "cancelled");
        let row = gateway.replay_row(second).await;
        assert_eq!((row.samples.pending, row.samples.accepted), (0, row.samples.delivered), "{row:?}");
        let (status, _) = gateway.call(Method::DELETE, "/api/v1/replays/99", "").await;
        assert_eq!(status, 404);
        gateway.finish().await;
    });
}

#[test]
fn what_an_endpoint_refuses_of_a_replay_is_counted_there_by_the_record_and_kept_nowhere() {
    bounded(async {
        let judge = Judge::new(400).ordered().all_or_nothing();
        let sink = receiver_that(EndpointSettings { judge: Some(judge), ..EndpointSettings::default() }).await;
        let gateway = Setup::new().endpoint("a", &sink).start().await;
        for timestamp in 0..10 {
            gateway.accept(Protocol::V1, &request([sample_of("up", timestamp), sample_of("down", timestamp)])).await;
        }
        gateway.settled().await;
        let id = begin(&gateway, "a", json!({"from": "earliest"})).await;
        let row = done(&gateway, id).await;
        // The newest is taken again, all others are out of order.
        assert_eq!((row.samples.delivered, row.samples.dropped.get("replay_refused")), (2, Some(&18)), "{row:?}");
        assert!(row.samples.dead_lettered.is_empty());
        assert!(gateway.dead_letters().await.is_empty());
        gateway.finish().await;
    });
}

#[test]
fn a_replay_does_not_overtake_what_is_still_to_be_delivered_live() {
    bounded(async {
        let judge = Judge::new(400).ordered().all_or_nothing();
        let sink = receiver_that(EndpointSettings { judge: Some(judge), ..EndpointSettings::default() }).await;
        let gateway = Setup::new().endpoint("a", &sink).start().await;
        gateway.accept(Protocol::V1, &request([sample_of("up", 1)])).await;
        gateway.settled().await;
        let gate = Gate::new();
        sink.script([Reply::healthy().behind(&gate)]);
        gateway.accept(Protocol::V1, &request([sample_of("up", 2)])).await;
        sink.wait_until(crate::harness::PATIENCE, |stats| stats.requests == 2).await.unwrap();
        gateway.accept(Protocol::V1, &request([sample_of("up", 3)])).await;
        let id = begin(&gateway, "a", json!({"from": "earliest"})).await;
        sink.wait_until(crate::harness::PATIENCE, |stats| stats.requests == 3).await.unwrap();
        eventually("the replay has sent what was delivered live", || async {
            (gateway.replay_row(id).await.samples.pending == 2).then_some(())
        })
        .await;
        gate.open();
        gateway.settled().await;
        let (live, row) = (gateway.ledger("default", "a").await, done(&gateway, id).await);
        assert_eq!((live.samples.delivered, live.samples.dropped.len()), (3, 0), "{live:?}");
        assert_eq!(row.samples.accepted, 3, "{row:?}");
        gateway.finish().await;
    });
}

/// What a new endpoint gets of two records that are there already, and one that comes.
async fn new_endpoint(from: &str) -> (Endpoint, TestGateway, Vec<Vec<testkit::ledger::Point>>) {
    let sink = receiver().await;
    let gateway = Setup::new().start().await;
    let records: Vec<_> = (0..3).map(|timestamp| request([sample_of("up", timestamp)])).collect();
    gateway.accept(Protocol::V1, &records[0]).await;
    gateway.accept(Protocol::V1, &records[1]).await;
    let setup = Setup::new().endpoint_with("new", &sink, &format!("from: {from}"));
    let gateway = gateway.restart_with(setup).await;
    gateway.accept(Protocol::V1, &records[2]).await;
    gateway.settled().await;
    (sink, gateway, records.iter().map(points).collect())
}

#[test]
fn a_new_endpoint_starts_where_it_says() {
    bounded(async {
        for (from, first) in [("earliest", 0), ("2h", 0), ("latest", 2)] {
            let (sink, gateway, records) = new_endpoint(from).await;
            assert_exactly(&sink, &records[first..].concat());
            let row = gateway.ledger("default", "new").await;
            assert_eq!(row.samples.accepted, 3 - first as u64, "{from}: accepted begins at the start position");
            gateway.finish().await;
        }
    });
}
