//! Dead letters: kept over restarts, tried again, let go, bounded; and the books follow each of their moves.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use http::Method;
use remote_write::Protocol;
use serde_json::json;
use testkit::endpoint::{Endpoint, EndpointSettings, Judge};

use crate::harness::{Setup, TestGateway, bounded, eventually, receiver_that};
use crate::message::{With, integer_histogram, points, request, series};

/// Refuses all series called `bad…` until it is mended.
async fn picky() -> (Endpoint, Arc<AtomicBool>) {
    let mended = Arc::new(AtomicBool::new(false));
    let is_mended = Arc::clone(&mended);
    let judge = Judge::new(400).refusing(move |series| {
        let is_bad = series.labels.iter().any(|label| label.value.starts_with(b"bad"));
        (is_bad && !is_mended.load(Ordering::Relaxed)).then(|| "this backend wants no such names".to_owned())
    });
    (receiver_that(EndpointSettings { judge: Some(judge), ..EndpointSettings::default() }).await, mended)
}

fn bad(names: &[&'static str], timestamp: i64) -> remote_write::model::Request<'static> {
    let good = series(&[("__name__", "good")]).sample(1.0, timestamp);
    let bad = names.iter().map(|name| series(&[("__name__", name)]).sample(1.0, timestamp));
    request(bad.chain([good]))
}

async fn act(gateway: &TestGateway, body: serde_json::Value) -> serde_json::Value {
    let (status, answer) = gateway.call(Method::POST, "/api/v1/dead_letters", &body.to_string()).await;
    assert_eq!(status, 200, "{answer}");
    answer
}

async fn ids(gateway: &TestGateway) -> Vec<u64> {
    gateway.dead_letters().await.iter().map(|letter| letter["id"].as_u64().unwrap()).collect()
}

#[test]
fn a_dead_letter_that_is_taken_later_moves_to_delivered_and_one_that_is_dropped_to_dropped() {
    bounded(async {
        let (sink, mended) = picky().await;
        let gateway = Setup::new().endpoint("a", &sink).start().await;
        gateway.accept(Protocol::V1, &bad(&["bad_1", "bad_2", "bad_3"], 1_000)).await;
        gateway.settled().await;
        // Kept over a restart.
        let gateway = gateway.restart().await;
        let all = ids(&gateway).await;
        assert_eq!(all.len(), 3);
        let row = gateway.ledger("default", "a").await;
        assert_eq!((row.samples.delivered, row.samples.dead_lettered.get("400")), (1, Some(&3)), "{row:?}");

        let answer = act(&gateway, json!({"action": "retry"})).await;
        assert_eq!((&answer["taken"], &answer["refused"]), (&json!(0), &json!(3)), "{answer}");
        assert!(answer["words"].as_str().unwrap().contains("no such names"), "{answer}");
        assert_eq!(ids(&gateway).await, all, "what is refused again stays");

        // The backend is mended.
        mended.store(true, Ordering::Relaxed);
        let answer = act(&gateway, json!({"action": "retry", "ids": [all[1]]})).await;
        assert_eq!(answer["taken"], 1, "{answer}");
        let row = gateway.ledger("default", "a").await;
        assert_eq!((row.samples.delivered, row.samples.dead_lettered.get("400")), (2, Some(&2)), "{row:?}");
        act(&gateway, json!({"action": "drop", "ids": [all[0]]})).await;
        act(&gateway, json!({"action": "retry", "endpoint": "a", "tenant": "default"})).await;
        let row = gateway.ledger("default", "a").await;
        assert_eq!((row.samples.delivered, row.samples.dropped.get("dead_letter_dropped")), (3, Some(&1)), "{row:?}");
        assert!(gateway.dead_letters().await.is_empty());
        let gateway = gateway.restart().await;
        assert_eq!(gateway.ledger("default", "a").await.samples, row.samples);
        gateway.finish().await;
    });
}

#[test]
fn a_letter_is_shown_with_its_series_and_histograms_and_exemplars_are_in_it() {
    bounded(async {
        for (protocol, message) in
            [(Protocol::V1, "prometheus.WriteRequest"), (Protocol::V2, "io.prometheus.write.v2.Request")]
        {
            let (sink, mended) = picky().await;
            let keys = format!("protobuf_message: {message}");
            let gateway = Setup::new().endpoint_with("a", &sink, &keys).start().await;
            let sent = request([
                series(&[("__name__", "bad_histogram"), ("job", "x")])
                    .histogram(integer_histogram(), 1_000)
                    .exemplar(0.5, 1_000),
                series(&[("__name__", "bad_sample")]).sample(f64::NAN, 1_000),
            ]);
            gateway.accept(protocol, &sent).await;
            gateway.settled().await;
            let row = gateway.ledger("default", "a").await;
            assert_eq!(row.histograms.dead_lettered.get("400"), Some(&1), "{row:?}");
            assert_eq!(row.exemplars.dead_lettered.get("400"), Some(&1), "{row:?}");
            let first = ids(&gateway).await[0];
            let (status, letter) = gateway.call(Method::GET, &format!("/api/v1/dead_letters/{first}"), "").await;
            assert_eq!(status, 200);
            let text = letter.to_string();
            assert!(text.contains(r#"bad_histogram{job=\"x\"}"#), "{text}");
            mended.store(true, Ordering::Relaxed);
            act(&gateway, json!({"action": "retry"})).await;
            sink.ledger(|ledger| assert_eq!(ledger.missing(points(&sent)), []));
            assert!(gateway.dead_letters().await.is_empty());
            gateway.finish().await;
        }
    });
}

#[test]
fn old_letters_give_way_to_new_ones_and_are_booked_as_evicted() {
    bounded(async {
        let (sink, _mended) = picky().await;
        let gateway = Setup::new().endpoint("a", &sink).top("dead_letters: {max_size: 64KiB}").start().await;
        let padding = "x".repeat(2_000);
        let mut sent = 0_u64;
        for timestamp in 0..200 {
            // Incompressible enough: each has another name.
            let name = format!("bad_{timestamp}_{}", fastrand::u64(..));
            let noise: String = (0..1_500).map(|_| fastrand::alphanumeric()).collect();
            let one = request([
                series(&[("__name__", &name), ("noise", &noise), ("padding", &padding)]).sample(1.0, timestamp)
            ]);
            gateway.accept(Protocol::V1, &one).await;
            sent += 1;
        }
        gateway.settled().await;
        eventually("the store is within its bound", || async {
            let kept = gateway.dead_letters().await;
            let size: u64 = kept.iter().map(|letter| letter["body_bytes"].as_u64().unwrap()).sum();
            (size <= 64 << 10).then_some(())
        })
        .await;
        let row = gateway.ledger("default", "a").await;
        let kept = row.samples.dead_lettered.get("400").copied().unwrap_or_default();
        let evicted = row.samples.dropped.get("dead_letter_evicted").copied().unwrap_or_default();
        assert_eq!(kept + evicted, sent, "{row:?}");
        assert!(kept > 0 && evicted > sent / 2, "{row:?}");
        gateway.finish().await;
    });
}

#[test]
fn letters_of_a_removed_endpoint_can_be_dropped_and_a_retry_says_what_is_missing() {
    bounded(async {
        let (sink, _mended) = picky().await;
        let gateway = Setup::new().endpoint("a", &sink).start().await;
        gateway.accept(Protocol::V1, &bad(&["bad_1"], 1_000)).await;
        gateway.settled().await;
        let gateway = gateway.restart_with(Setup::new()).await;
        let (status, answer) = gateway.call(Method::POST, "/api/v1/dead_letters", r#"{"action":"retry"}"#).await;
        assert_eq!(status, 409, "{answer}");
        assert!(answer["error"].as_str().unwrap().contains("no endpoint \"a\""), "{answer}");
        act(&gateway, json!({"action": "drop"})).await;
        let row = gateway.ledger("default", "a").await;
        assert_eq!(row.samples.dropped.get("dead_letter_dropped"), Some(&1), "{row:?}");
        gateway.finish().await;
    });
}
