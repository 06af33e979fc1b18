//! A log that is full and must keep what it holds: refused pushes are never delivered, accepted ones all are.

use remote_write::Protocol;
use remote_write::model::Request;
use testkit::endpoint::Endpoint;
use testkit::ledger::Point;
use testkit::sender::Answer;

use crate::harness::{Setup, TestGateway, assert_exactly, bounded, receiver, written};
use crate::message::{With, points, request, series};

const FULL: &str = "max_size: 1MiB, on_full: refuse, retain: 0s";

/// About 64 KiB that do not compress.
fn bulky(timestamp: i64, value: &str) -> Request<'_> {
    request([series(&[("__name__", "bulky"), ("value", value)]).sample(1.0, timestamp)])
}

fn incompressible() -> String {
    (0..16_000).map(|_| fastrand::alphanumeric()).collect()
}

/// Pushes until the log refuses. Gives what was accepted and what was refused, point by point, and the refusal.
async fn fill(gateway: &TestGateway, protocol: Protocol) -> (Vec<Point>, Vec<Point>, Answer) {
    let (mut accepted, mut refused) = (Vec::new(), Vec::new());
    for timestamp in 0..1_000 {
        let value = incompressible();
        let sent = bulky(timestamp, &value);
        let answer = gateway.push(protocol, &sent).await;
        if answer.status == 204 {
            accepted.extend(points(&sent));
            continue;
        }
        refused.extend(points(&sent));
        if refused.len() == 5 {
            return (accepted, refused, answer);
        }
    }
    panic!("a log of 1 MiB took 16 MB");
}

async fn unreachable() -> Endpoint {
    let sink = receiver().await;
    sink.stop().await;
    sink
}

#[test]
fn w38_a_full_log_is_503_with_retry_after_and_nothing_refused_is_ever_delivered() {
    bounded(async {
        let sink = unreachable().await;
        let gateway = Setup::new().log(FULL).endpoint("a", &sink).start().await;
        let (accepted, refused, answer) = fill(&gateway, Protocol::V1).await;
        assert_eq!(answer.status, 503, "{}", answer.text());
        let seconds: u32 = answer.header("retry-after").unwrap().parse().unwrap();
        assert!((1..=10).contains(&seconds), "{seconds}");
        assert!(!answer.text().trim().is_empty());
        let counted = r#"writegate_refused_samples_total{tenant="default",reason="full"}"#;
        assert_eq!(gateway.metric(counted).await, refused.len() as f64);

        sink.start().await.unwrap();
        gateway.settled().await;
        assert_exactly(&sink, &accepted);
        sink.ledger(|ledger| assert_eq!(ledger.missing(refused.iter().copied()), refused, "refused, yet delivered"));
        let row = gateway.ledger("default", "a").await;
        assert_eq!((row.samples.accepted, row.samples.expired), (accepted.len() as u64, 0));

        // There is room again, as soon as the log has noticed.
        let value = incompressible();
        let later = bulky(5_000, &value);
        crate::harness::eventually("the log takes again", || async {
            (gateway.push(Protocol::V1, &later).await.status == 204).then_some(())
        })
        .await;
        gateway.settled().await;
        sink.ledger(|ledger| assert_eq!(ledger.missing(points(&later)), []));
        gateway.finish().await;
    });
}

#[test]
fn w38_one_endpoint_that_must_have_everything_is_enough_to_refuse() {
    bounded(async {
        let (must, may) = (unreachable().await, unreachable().await);
        let gateway = Setup::new()
            .log("max_size: 1MiB, retain: 0s")
            .endpoint_with("must", &must, "on_full: refuse")
            .endpoint("may", &may)
            .start()
            .await;
        let (accepted, _refused, answer) = fill(&gateway, Protocol::V1).await;
        assert_eq!(answer.status, 503, "{}", answer.text());
        must.start().await.unwrap();
        may.start().await.unwrap();
        gateway.settled().await;
        assert_exactly(&must, &accepted);
        gateway.finish().await;
    });
}

#[test]
fn w28_a_503_to_a_v2_push_says_that_nothing_was_written() {
    bounded(async {
        let sink = unreachable().await;
        let gateway = Setup::new().log(FULL).endpoint("a", &sink).start().await;
        let (_accepted, _refused, answer) = fill(&gateway, Protocol::V2).await;
        assert_eq!(answer.status, 503, "{}", answer.text());
        let says_something = written(&answer).into_iter().flatten().any(|count| count > 0);
        assert!(!says_something, "{:?}", answer.headers);
        gateway.finish().await;
    });
}
