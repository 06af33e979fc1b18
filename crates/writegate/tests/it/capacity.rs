//! A log that may not grow any more: what expires, for whom, and who is told. That a full log refuses is in `overload.rs`.

use std::ops::Range;

use http::{HeaderName, HeaderValue};
use remote_write::model::Request;
use remote_write::{Compression, Protocol};
use testkit::endpoint::{Endpoint, EndpointSettings, Gate, Reply};
use testkit::ledger::Point;
use testkit::sender::{Answer, Sender};

use crate::books::Book;
use crate::harness::{
    PATIENCE, Program, Setup, TestGateway, assert_exactly, bounded, compress, eventually, receiver, receiver_that,
    takes,
};
use crate::message::{With, encode, points, request, series};

/// How much an endpoint is behind after the long outage.
const BACKLOG_MIB: i64 = 256;

/// A log of 1 MiB that keeps nothing for replays.
const SMALL: &str = "max_size: 1MiB, retain: 0s";

/// About 16 KB that do not compress.
fn bulky(timestamp: i64, value: &str) -> Request<'_> {
    request([series(&[("__name__", "bulky"), ("value", value)]).sample(1.0, timestamp)])
}

fn incompressible(bytes: usize) -> String {
    (0..bytes).map(|_| fastrand::alphanumeric()).collect()
}

fn sender_of(gateway: &TestGateway, tenant: &str) -> Sender {
    gateway.sender().with_header(HeaderName::from_static("x-tenant"), HeaderValue::from_str(tenant).unwrap())
}

fn tenants(lines: &str) -> Setup {
    let listener = "tenant: default, tenant_from: [{header: x-tenant}]";
    Setup::new().listener(listener).top(&format!("tenants: [{lines}, {{name: '*'}}]"))
}

async fn push(sender: &Sender, request: &Request<'_>) -> Answer {
    let body = compress(Compression::Snappy, &encode(Protocol::V1, request));
    sender.push(Protocol::V1, Compression::Snappy, body).await.unwrap()
}

/// Pushes that many requests of about 16 KB, which must all be taken; their points, one each.
async fn fill(sender: &Sender, requests: i64) -> Vec<Point> {
    let mut sent = Vec::new();
    for timestamp in 1..=requests {
        let value = incompressible(16_000);
        let one = bulky(timestamp, &value);
        let answer = push(sender, &one).await;
        assert_eq!(answer.status, 204, "{}", answer.text());
        sent.extend(points(&one));
    }
    sent
}

/// Pushes until it is refused; what was accepted, and the refusal.
async fn fill_up(sender: &Sender) -> (Vec<Point>, Answer) {
    let mut accepted = Vec::new();
    for timestamp in 1..1_000 {
        let value = incompressible(16_000);
        let one = bulky(timestamp, &value);
        let answer = push(sender, &one).await;
        if answer.status != 204 {
            return (accepted, answer);
        }
        accepted.extend(points(&one));
    }
    panic!("a log of 1 MiB took 16 MB");
}

/// A receiver that closes every connection, until it recovers. Its port stays its own, whatever other tests run.
async fn down() -> Endpoint {
    let sink = receiver().await;
    sink.drop_connections(true);
    sink
}

fn assert_refused(answer: &Answer) {
    assert_eq!(answer.status, 503, "{}", answer.text());
    let seconds: u64 = answer.header("retry-after").expect("a Retry-After").parse().unwrap();
    assert!((1..=10).contains(&seconds), "{seconds}");
}

/// Everything is settled; `expired` of it expired and the rest was delivered, nothing else.
fn assert_book(book: &Book, accepted: usize, expired: usize) {
    let (accepted, expired) = (accepted as u64, expired as u64);
    assert_eq!((book.accepted, book.delivered, book.expired), (accepted, accepted - expired, expired), "{book:?}");
}

async fn expired_metric(gateway: &TestGateway, tenant: &str, endpoint: &str) -> f64 {
    let labels = format!(r#"{{tenant="{tenant}",endpoint="{endpoint}"}}"#);
    gateway.metric(&format!("writegate_expired_samples_total{labels}")).await
}

/// Waits until what was in flight to an endpoint that is down is so no more: what expires in flight may arrive all the same.
async fn is_tried_again(gateway: &TestGateway, endpoint: &str) {
    let failures = format!(r#"remote_write_requests_total{{code="<error>",name="{endpoint}"}}"#);
    let before = gateway.metric(&failures).await;
    eventually("it is tried again", || async { (gateway.metric(&failures).await >= before + 2.0).then_some(()) }).await;
}

/// The receiver got the newest of what was sent, all of it from some moment on; how many it did not get.
fn lost_oldest(sink: &Endpoint, sent: &[Point]) -> usize {
    sink.ledger(|ledger| {
        let missing = ledger.missing(sent.iter().copied());
        assert_eq!(missing, sent[..missing.len()], "what is missing is the oldest");
        assert_eq!(ledger.out_of_order(), []);
        assert_eq!(ledger.duplicates(), 0);
        missing.len()
    })
}

#[test]
fn w67_a_full_log_lets_the_oldest_go_for_the_endpoint_that_lags_and_for_no_other() {
    bounded(async {
        let (lagging, well) = (down().await, receiver().await);
        let gateway = Setup::new().log(SMALL).endpoint("lagging", &lagging).endpoint("well", &well).start().await;
        let sent = fill(&gateway.sender(), 200).await;
        takes(&well, 200).await;
        assert_exactly(&well, &sent);
        let book = gateway.ledger("default", "lagging").await.samples;
        assert!(book.expired > 100 && book.pending > 5, "3.2 MB into a log of 1 MiB: {book:?}");
        is_tried_again(&gateway, "lagging").await;
        lagging.recover();
        gateway.settled().await;
        let lost = lost_oldest(&lagging, &sent);
        assert_book(&gateway.ledger("default", "lagging").await.samples, 200, lost);
        assert_book(&gateway.ledger("default", "well").await.samples, 200, 0);
        assert_eq!(expired_metric(&gateway, "default", "lagging").await, lost as f64);
        assert_eq!(expired_metric(&gateway, "default", "well").await, 0.0);
        assert_eq!(well.stats().taken.samples, 200);
        gateway.finish().await;
    });
}

#[test]
fn w67_the_log_keeps_to_its_size_however_long_the_outage() {
    bounded(async {
        let lagging = down().await;
        let gateway = Setup::new().log(SMALL).endpoint("lagging", &lagging).start().await;
        fill(&gateway.sender(), 300).await;
        let bytes = gateway.metric(r#"writegate_log_bytes{tenant="default"}"#).await;
        assert!(bytes <= f64::from(1_u32 << 20), "{bytes} bytes");
        lagging.recover();
        gateway.settle_and_finish().await;
    });
}

#[test]
fn w67_each_tenant_has_a_size_of_its_own() {
    bounded(async {
        let sink = down().await;
        let gateway = tenants("{name: small, log: {max_size: 1MiB}}")
            .log("retain: 0s, max_size: 64MiB")
            .endpoint("a", &sink)
            .start()
            .await;
        fill(&sender_of(&gateway, "small"), 150).await;
        fill(&sender_of(&gateway, "large"), 150).await;
        let small = gateway.ledger("small", "a").await.samples;
        assert!(small.expired > 50 && small.pending > 5, "{small:?}");
        let large = gateway.ledger("large", "a").await.samples;
        assert_eq!((large.expired, large.pending), (0, 150));
        sink.recover();
        gateway.settled().await;
        assert_book(&gateway.ledger("small", "a").await.samples, 150, small.expired as usize);
        assert_book(&gateway.ledger("large", "a").await.samples, 150, 0);
        assert_eq!(expired_metric(&gateway, "large", "a").await, 0.0);
        gateway.finish().await;
    });
}

#[test]
fn w67_a_tenant_whose_log_must_keep_everything_is_refused_and_loses_nothing_while_others_go_on() {
    bounded(async {
        let sink = down().await;
        let gateway = tenants("{name: strict, log: {max_size: 1MiB, on_full: refuse}}")
            .log(SMALL)
            .endpoint("a", &sink)
            .start()
            .await;
        let (accepted, answer) = fill_up(&sender_of(&gateway, "strict")).await;
        assert_refused(&answer);
        let easy = fill(&sender_of(&gateway, "easy"), 150).await;
        assert!(gateway.ledger("easy", "a").await.samples.expired > 0);
        let counted = r#"writegate_refused_samples_total{tenant="strict",reason="full"}"#;
        assert_eq!(gateway.metric(counted).await, 1.0);

        sink.recover();
        gateway.settled().await;
        sink.ledger(|ledger| {
            assert_eq!(ledger.missing(accepted.iter().copied()), []);
            assert_eq!(ledger.out_of_order(), []);
        });
        assert_book(&gateway.ledger("strict", "a").await.samples, accepted.len(), 0);
        assert_eq!(gateway.ledger("easy", "a").await.samples.accepted, easy.len() as u64);
        gateway.finish().await;
    });
}

#[test]
fn w67_an_endpoint_that_must_have_everything_holds_the_log_for_itself_alone() {
    bounded(async {
        // The one that must have everything is well; the other lags, and is no reason to refuse.
        let (must, may) = (receiver().await, down().await);
        let gateway =
            Setup::new().log(SMALL).endpoint_with("must", &must, "on_full: refuse").endpoint("may", &may).start().await;
        let mut sent = Vec::new();
        for timestamp in 1..=200 {
            let value = incompressible(16_000);
            let one = bulky(timestamp, &value);
            // It may be asked to wait until the other's part of the log has gone, not to give up.
            eventually("the push is taken", || async {
                (push(&gateway.sender(), &one).await.status == 204).then_some(())
            })
            .await;
            sent.extend(points(&one));
        }
        takes(&must, 200).await;
        assert_exactly(&must, &sent);
        is_tried_again(&gateway, "may").await;
        may.recover();
        gateway.settled().await;
        let lost = lost_oldest(&may, &sent);
        assert!(lost > 0);
        assert_book(&gateway.ledger("default", "may").await.samples, 200, lost);
        assert_book(&gateway.ledger("default", "must").await.samples, 200, 0);
        gateway.finish().await;
    });
}

#[test]
fn w67_a_larger_size_by_reload_takes_again_what_was_refused() {
    bounded(async {
        let sink = down().await;
        let setup = |size: &str| {
            let log = format!("retain: 0s, on_full: refuse, max_size: {size}");
            Setup::new().log(&log).endpoint("a", &sink)
        };
        let mut gateway = setup("1MiB").start().await;
        let (mut sent, answer) = fill_up(&gateway.sender()).await;
        assert_refused(&answer);
        gateway.reload(setup("64MiB")).await;
        let value = incompressible(16_000);
        let more = bulky(5_000, &value);
        eventually("the push is taken", || async {
            (push(&gateway.sender(), &more).await.status == 204).then_some(())
        })
        .await;
        sent.extend(points(&more));
        sink.recover();
        gateway.settled().await;
        assert_exactly(&sink, &sent);
        gateway.finish().await;
    });
}

#[test]
fn w67_what_expires_while_it_is_in_flight_is_in_the_books_once() {
    bounded(async {
        let sink = receiver().await;
        let gateway = Setup::new().log(SMALL).endpoint("a", &sink).start().await;
        let gate = Gate::new();
        let held = gate.clone();
        sink.answer_with(move |_| Reply::healthy().behind(&held));
        let sent = fill(&gateway.sender(), 200).await;
        assert!(gateway.ledger("default", "a").await.samples.expired > 100);
        gate.open();
        gateway.settled().await;
        let missing = sink.ledger(|ledger| {
            assert_eq!((ledger.out_of_order(), ledger.duplicates()), ([].as_slice(), 0));
            ledger.missing(sent.iter().copied()).len() as u64
        });
        let book = gateway.ledger("default", "a").await.samples;
        assert_eq!((book.accepted, book.delivered + book.expired), (200, 200), "{book:?}");
        assert!(book.expired >= missing, "what is missing expired: {missing}, {book:?}");
        gateway.finish().await;
    });
}

#[test]
fn w67_an_endpoint_that_must_have_everything_holds_the_log_no_more_once_it_is_removed() {
    bounded(async {
        let (must, may) = (down().await, receiver().await);
        let without = || Setup::new().log(SMALL).endpoint("may", &may);
        let mut gateway = without().endpoint_with("must", &must, "on_full: refuse").start().await;
        let (mut sent, answer) = fill_up(&gateway.sender()).await;
        assert_refused(&answer);
        gateway.reload(without()).await;
        let value = incompressible(16_000);
        let more = bulky(5_000, &value);
        eventually("the push is taken", || async {
            (push(&gateway.sender(), &more).await.status == 204).then_some(())
        })
        .await;
        sent.extend(points(&more));
        takes(&may, sent.len() as u64).await;
        assert_exactly(&may, &sent);
        gateway.finish().await;
    });
}

#[test]
fn r_o11_an_endpoint_that_was_away_for_too_long_gets_what_the_log_still_has_and_the_rest_is_expired() {
    bounded(async {
        let (away, stays) = (receiver().await, receiver().await);
        let without = || Setup::new().log(SMALL).endpoint("stays", &stays);
        let with = || without().endpoint("away", &away);
        let mut gateway = with().start().await;
        let mut sent = fill(&gateway.sender(), 1).await;
        gateway.settled().await;
        gateway.reload(without()).await;
        sent.extend(fill(&gateway.sender(), 200).await);
        takes(&stays, 201).await;
        gateway.reload(with()).await;
        gateway.settled().await;
        let book = gateway.ledger("default", "away").await.samples;
        assert!(book.expired > 0, "{book:?}");
        let missing = away.ledger(|ledger| ledger.missing(sent.iter().copied()));
        assert_eq!(missing, sent[1..=missing.len()], "what it missed are the oldest of its absence");
        assert_book(&book, 201, missing.len());
        assert_book(&gateway.ledger("default", "stays").await.samples, 201, 0);
        gateway.finish().await;
    });
}

/// Pushes requests of about 1 MiB, each with series of its own.
async fn push_megabytes(program: &Program, rounds: Range<i64>) -> Vec<Point> {
    let values: Vec<String> = (0..64).map(|_| incompressible(16_000)).collect();
    let mut sent = Vec::new();
    for timestamp in rounds {
        let round = timestamp.to_string();
        let all = values
            .iter()
            .map(|value| series(&[("__name__", "bulky"), ("round", &round), ("value", value)]).sample(1.0, timestamp));
        let one = request(all);
        let answer = push(&program.sender(), &one).await;
        assert_eq!(answer.status, 204, "{}", answer.text());
        sent.extend(points(&one));
    }
    sent
}

#[test]
fn r_o5_a_long_outage_and_the_recovery_from_it_are_complete_and_cost_bounded_memory() {
    bounded(async {
        let sink = receiver_that(EndpointSettings::default()).await;
        let program = Setup::new().endpoint("a", &sink).start_program().await;
        let mut sent = push_megabytes(&program, 0..8).await;
        program.settled().await;
        sink.stop().await;
        let usual = program.peak_memory();
        sent.extend(push_megabytes(&program, 8..8 + BACKLOG_MIB).await);
        let during = program.peak_memory();
        assert!(during < usual + (64 << 20), "{during} bytes during the outage, {usual} before");
        sink.start().await.unwrap();
        sink.wait_until(2 * PATIENCE, |stats| stats.taken.samples >= sent.len() as u64).await.unwrap();
        program.settled().await;
        sink.ledger(|ledger| {
            assert_eq!(ledger.missing(sent), []);
            assert_eq!(ledger.out_of_order(), []);
        });
        let after = program.peak_memory();
        // What is read ahead and in flight is much less than the backlog.
        assert!(after < usual + (160 << 20), "{after} bytes to recover, {usual} before");
        program.terminate().await;
    });
}

#[test]
fn w67_a_log_that_is_too_large_at_a_start_lets_the_oldest_go_as_well() {
    bounded(async {
        let sink = down().await;
        let large = Setup::new().log("retain: 0s, max_size: 64MiB").endpoint("a", &sink);
        let mut gateway = large.start().await;
        let sent = fill(&gateway.sender(), 200).await;
        gateway.reload(Setup::new().log(SMALL).endpoint("a", &sink)).await;
        let gateway = gateway.restart().await;
        eventually("the log has shrunk", || async {
            (gateway.metric(r#"writegate_log_bytes{tenant="default"}"#).await <= f64::from(1_u32 << 20)).then_some(())
        })
        .await;
        sink.recover();
        gateway.settled().await;
        let book = gateway.ledger("default", "a").await.samples;
        assert!(book.expired > 100, "{book:?}");
        assert_book(&book, 200, book.expired as usize);
        sink.ledger(|ledger| {
            assert_eq!((ledger.out_of_order(), ledger.duplicates()), ([].as_slice(), 0));
            // What was in flight when it expired may have arrived.
            assert!(ledger.missing(sent).len() as u64 <= book.expired);
        });
        gateway.finish().await;
    });
}
