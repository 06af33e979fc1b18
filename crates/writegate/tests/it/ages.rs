//! `max_age`: what is older expires for that endpoint, counted and with an example; what is newer arrives, also of the same
//! series and the same request.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use remote_write::Protocol;
use remote_write::model::Request;
use testkit::endpoint::{Endpoint, Reply};
use testkit::ledger::Point;

use crate::harness::{Setup, TestGateway, assert_exactly, bounded, eventually, receiver, takes};
use crate::message::{With, float_histogram, integer_histogram, points, request, sample_of, series};

const V1: &str = "protobuf_message: prometheus.WriteRequest";
const V2: &str = "protobuf_message: io.prometheus.write.v2.Request";

/// Milliseconds since 1970, so long ago.
fn ago(age: Duration) -> i64 {
    i64::try_from((SystemTime::now().duration_since(UNIX_EPOCH).unwrap() - age).as_millis()).unwrap()
}

const fn minutes(minutes: u64) -> Duration {
    Duration::from_secs(60 * minutes)
}

/// Of each kind an old one and a new one in one series, and a series that has only an old sample.
fn mixture(old: i64, new: i64) -> Request<'static> {
    let sampled = series(&[("__name__", "sampled")]).sample(1.0, old).sample(2.0, new);
    let counted = series(&[("__name__", "counted_total")]).sample(3.0, new).exemplar(0.1, old).exemplar(0.2, new);
    let integers =
        series(&[("__name__", "integers")]).histogram(integer_histogram(), old).histogram(integer_histogram(), new);
    let floats = series(&[("__name__", "floats")]).histogram(float_histogram(), old);
    request([sampled, counted, integers, floats, sample_of("only_old", old), sample_of("only_new", new)])
}

fn newer_than(request: &Request<'_>, timestamp: i64) -> Vec<Point> {
    points(request).into_iter().filter(|point| point.timestamp > timestamp).collect()
}

/// Samples, histograms and exemplars that expired at endpoint `a`, by the ledger and by the metrics, which agree.
async fn expired(gateway: &TestGateway) -> [u64; 3] {
    let row = gateway.ledger("default", "a").await;
    let books = [&row.samples, &row.histograms, &row.exemplars];
    for (kind, book) in ["samples", "histograms", "exemplars"].into_iter().zip(books) {
        let metric = format!(r#"writegate_expired_{kind}_total{{tenant="default",endpoint="a"}}"#);
        assert_eq!(gateway.metric(&metric).await, book.expired as f64, "{kind}");
        assert!(book.dropped.is_empty() && book.dead_lettered.is_empty(), "{row:?}");
    }
    books.map(|book| book.expired)
}

#[test]
fn w64_only_what_is_older_expires_of_every_kind_in_both_protocols() {
    bounded(async {
        for keys in ["max_age: 1h", "queue_config: {sample_age_limit: 1h}"] {
            for came in [Protocol::V1, Protocol::V2] {
                for message in [V1, V2] {
                    let (sink, other) = (receiver().await, receiver().await);
                    let keys = format!("{message}, {keys}");
                    let gateway =
                        Setup::new().endpoint_with("a", &sink, &keys).endpoint("everything", &other).start().await;
                    let (old, new) = (ago(minutes(61)), ago(minutes(50)));
                    let sent = mixture(old, new);
                    gateway.accept(came, &sent).await;
                    gateway.settled().await;
                    assert_exactly(&sink, &newer_than(&sent, old));
                    assert_exactly(&other, &points(&sent));
                    assert_eq!(expired(&gateway).await, [2, 2, 1], "{keys} {came:?}");
                    let row = gateway.ledger("default", "a").await;
                    let example = row.examples.get("expired").unwrap_or_else(|| panic!("no example: {row:?}"));
                    let has_old = ["sampled", "counted_total", "integers", "floats", "only_old"];
                    assert!(has_old.iter().any(|name| example.starts_with(name)), "{example}");
                    assert_eq!(gateway.ledger("default", "everything").await.samples.expired, 0);
                    let empty = sink.requests().iter().any(has_an_empty_series);
                    assert!(!empty, "a series without data does not travel");
                    gateway.finish().await;
                }
            }
        }
    });
}

fn has_an_empty_series(received: &testkit::endpoint::Received) -> bool {
    let request = received.request().unwrap();
    request.series.iter().any(|one| one.samples.is_empty() && one.histograms.is_empty() && one.exemplars.is_empty())
}

#[test]
fn w64_a_request_of_old_samples_only_costs_no_request() {
    bounded(async {
        let sink = receiver().await;
        let gateway = Setup::new().endpoint_with("a", &sink, "max_age: 10m").start().await;
        for (protocol, timestamp) in [(Protocol::V1, i64::MIN), (Protocol::V1, 0), (Protocol::V2, ago(minutes(11)))] {
            gateway.accept(protocol, &request([sample_of("up", timestamp)])).await;
        }
        gateway.settled().await;
        assert_eq!(expired(&gateway).await, [3, 0, 0]);
        assert_eq!(sink.stats().requests, 0);
        gateway.finish().await;
    });
}

#[test]
fn w64_without_a_limit_nothing_is_too_old() {
    bounded(async {
        let sink = receiver().await;
        let gateway = Setup::new().endpoint_with("a", &sink, "max_age: 0s").start().await;
        let sent = request([sample_of("ancient", 0), sample_of("future", ago(Duration::ZERO) + 3_600_000)]);
        gateway.accept(Protocol::V1, &sent).await;
        gateway.settled().await;
        assert_exactly(&sink, &points(&sent));
        assert_eq!(expired(&gateway).await, [0, 0, 0]);
        gateway.finish().await;
    });
}

/// How the endpoint is troubled while its data gets too old.
async fn aged_at(trouble: Option<Reply>) {
    let sink = receiver().await;
    let setup = |keys: &str| Setup::new().endpoint_with("a", &sink, &format!("max_age: 1s{keys}"));
    let mut gateway = setup("").start().await;
    match trouble {
        None => sink.stop().await,
        Some(reply) => sink.answer_with(move |_| reply.clone()),
    }
    // Of one series, in the log and in the batch that is tried: both get too old while they wait.
    let now = ago(Duration::ZERO);
    let old = request([sample_of("up", now), sample_of("down", now)]);
    gateway.accept(Protocol::V1, &old).await;
    gateway.accept(Protocol::V2, &request([sample_of("up", now + 1)])).await;
    eventually("it is older than a second", || async { (ago(Duration::ZERO) > now + 1_001).then_some(()) }).await;
    // Somebody tries to mend an endpoint that is held; the others are tried again and again.
    gateway.reload(setup(", headers: {X-Mended: 'no'}")).await;
    eventually("all of it expires", || async {
        (gateway.ledger("default", "a").await.samples.expired == 3).then_some(())
    })
    .await;
    let late = ago(Duration::ZERO) + 60_000;
    let new = request([sample_of("up", late)]);
    gateway.accept(Protocol::V1, &new).await;
    recovers(&sink).await;
    takes(&sink, 1).await;
    gateway.settled().await;
    assert_exactly(&sink, &points(&new));
    assert_eq!(expired(&gateway).await, [3, 0, 0]);
    gateway.finish().await;
}

async fn recovers(sink: &Endpoint) {
    sink.recover();
    sink.start().await.unwrap();
}

#[test]
fn w64_what_gets_too_old_while_the_endpoint_is_down_expires_also_out_of_the_batch_that_is_tried() {
    bounded(aged_at(None));
}

#[test]
fn w64_what_gets_too_old_while_the_endpoint_is_overloaded_expires_too() {
    bounded(aged_at(Some(Reply::status(503))));
}

#[test]
fn w64_what_gets_too_old_while_the_endpoint_is_held_expires_too() {
    bounded(aged_at(Some(Reply::status(401))));
}

#[test]
fn w64_a_limit_that_a_reload_brings_holds_for_what_is_in_the_log() {
    bounded(async {
        let sink = receiver().await;
        let mut gateway = Setup::new().endpoint("a", &sink).start().await;
        sink.answer_with(|_| Reply::status(503));
        let (old, new) = (ago(minutes(61)), ago(minutes(50)));
        let sent = mixture(old, new);
        gateway.accept(Protocol::V1, &sent).await;
        sink.wait_until(crate::harness::PATIENCE, |stats| stats.requests > 1).await.unwrap();
        gateway.reload(Setup::new().endpoint_with("a", &sink, "max_age: 1h")).await;
        sink.recover();
        gateway.settled().await;
        assert_exactly(&sink, &newer_than(&sent, old));
        assert_eq!(expired(&gateway).await, [2, 2, 1]);
        gateway.finish().await;
    });
}

#[test]
fn w64_the_books_of_what_expired_survive_a_restart() {
    bounded(async {
        let sink = receiver().await;
        let gateway = Setup::new().endpoint_with("a", &sink, "max_age: 1h").start().await;
        let old = ago(minutes(61));
        gateway.accept(Protocol::V1, &mixture(old, ago(minutes(1)))).await;
        gateway.settled().await;
        let gateway = gateway.restart().await;
        assert_eq!(expired(&gateway).await, [2, 2, 1]);
        assert!(gateway.ledger("default", "a").await.examples.contains_key("expired"));
        gateway.finish().await;
    });
}
