//! What an endpoint refuses because it has it already, after an attempt that nobody knows the end of: booked as
//! `dropped{resent}`, never a dead letter, and never more of it than was in flight.

use std::collections::BTreeMap;
use std::time::Duration;

use remote_write::model::{Request, Series};
use remote_write::{Compression, Protocol};
use testkit::endpoint::{Endpoint, EndpointSettings, Gate, Judge, Keep, Reply};

use crate::books::{Book, Row};
use crate::harness::{PATIENCE, Program, Setup, TestGateway, assert_exactly, bounded, compress, receiver_that, takes};
use crate::message::{With, encode, integer_histogram, points, request, sample_of, series};

const QUEUE: &str = "queue_config: {min_backoff: 10ms, max_backoff: 50ms}";

/// A receiver that judges, and keeps what it is sent.
async fn judging(judge: Judge) -> Endpoint {
    receiver_that(EndpointSettings { judge: Some(judge), keep: Keep::Requests, ..EndpointSettings::default() }).await
}

/// A Prometheus without an out-of-order window that does not even forgive an exact repetition.
async fn unforgiving() -> Endpoint {
    judging(Judge::new(400).ordered().refusing_repeats()).await
}

fn reasons<const N: usize>(reasons: [(&str, u64); N]) -> BTreeMap<String, u64> {
    reasons.into_iter().map(|(reason, count)| (reason.to_owned(), count)).collect()
}

/// A book in which everything is settled, and nothing expired.
fn book<const D: usize, const L: usize>(delivered: u64, dropped: [(&str, u64); D], dead: [(&str, u64); L]) -> Book {
    let (dropped, dead_lettered) = (reasons(dropped), reasons(dead));
    let accepted = delivered + dropped.values().chain(dead_lettered.values()).sum::<u64>();
    Book { accepted, delivered, pending: 0, dropped, dead_lettered, expired: 0 }
}

async fn settled_row(gateway: &TestGateway) -> Row {
    gateway.settled().await;
    gateway.ledger("default", "a").await
}

/// The ways for an endpoint to store a request without anybody knowing.
fn ambiguous_replies() -> [(&'static str, Reply); 6] {
    [
        ("reset", Reply::reset_after_body().taking()),
        ("half closed", Reply::half_close().taking()),
        ("timeout", Reply::hang().taking()),
        ("500", Reply::status(500).taking()),
        ("503", Reply::status(503).taking()),
        ("504", Reply::status(504).taking()),
    ]
}

#[test]
fn w90_what_is_refused_as_a_repetition_after_an_attempt_without_an_answer_is_resent_and_no_dead_letter() {
    bounded(async {
        for (what, reply) in ambiguous_replies() {
            let sink = unforgiving().await;
            let keys = format!("remote_timeout: 300ms, {QUEUE}");
            let gateway = Setup::new().endpoint_with("a", &sink, &keys).start().await;
            sink.script([reply]);
            let sent = request([sample_of("up", 1_000), sample_of("down", 1_000)]);
            gateway.accept(Protocol::V1, &sent).await;
            let row = settled_row(&gateway).await;
            assert_eq!(row.samples, book(0, [("resent", 2)], []), "{what}");
            let example = row.examples.get("resent").unwrap_or_else(|| panic!("{what}: no example: {row:?}"));
            assert!(example.starts_with("up{") || example.starts_with("down{"), "{what}: {example}");
            assert_exactly(&sink, &points(&sent));
            gateway.finish().await;
        }
    });
}

#[test]
fn w90_what_the_endpoint_says_in_between_does_not_end_the_doubt() {
    bounded(async {
        let taken = || Reply::reset_after_body().taking();
        for (what, replies) in [
            ("another protocol", [taken(), Reply::status(415)]),
            ("in smaller parts", [taken(), Reply::status(413)]),
            ("later", [taken(), Reply::status(429)]),
            ("not at all", [taken(), Reply::reset_before_body()]),
            ("to nobody", [taken(), Reply::status(503)]),
        ] {
            for protocol in [Protocol::V1, Protocol::V2] {
                let sink = unforgiving().await;
                let gateway = Setup::new().endpoint_with("a", &sink, QUEUE).start().await;
                sink.script(replies.clone());
                let sent = request(["alpha", "beta", "gamma"].map(|name| sample_of(name, 1_000)));
                gateway.accept(protocol, &sent).await;
                let row = settled_row(&gateway).await;
                assert_eq!(row.samples, book(0, [("resent", 3)], []), "{what}, {protocol:?}");
                assert_exactly(&sink, &points(&sent));
                gateway.finish().await;
            }
        }
    });
}

#[test]
fn w90_a_batch_of_many_records_that_was_stored_without_an_answer_is_resent_record_by_record() {
    bounded(async {
        let sink = unforgiving().await;
        let gateway = Setup::new().endpoint_with("a", &sink, QUEUE).start().await;
        gateway.is_down(&sink).await;
        let names: Vec<String> = (0..40).map(|number| format!("series_{number}")).collect();
        let mut sent = Vec::new();
        for name in &names {
            let one = request([sample_of(name, 1_000)]);
            gateway.accept(Protocol::V1, &one).await;
            sent.extend(points(&one));
        }
        // The batch that was tried first, and the one of all others.
        sink.script([Reply::status(504).taking(), Reply::healthy(), Reply::status(504).taking()]);
        sink.start().await.unwrap();
        let row = settled_row(&gateway).await;
        assert_eq!(row.samples.accepted, 41);
        let resent = row.samples.dropped.get("resent").copied().unwrap_or(0);
        assert!(resent > 1 && row.samples.delivered + resent == 41, "{row:?}");
        assert_eq!(row.samples.dead_lettered, reasons([]), "{row:?}");
        sink.ledger(|ledger| {
            assert_eq!(ledger.missing(sent), []);
            assert_eq!((ledger.duplicates(), ledger.counts().samples), (0, 41));
        });
        gateway.finish().await;
    });
}

#[test]
fn w90_a_repetition_that_the_endpoint_takes_is_delivered_and_booked_once() {
    bounded(async {
        let sink = judging(Judge::new(400).ordered()).await;
        let gateway = Setup::new().endpoint_with("a", &sink, QUEUE).start().await;
        let lost = || Reply::reset_after_body().taking();
        sink.script([lost(), lost(), lost()]);
        let sent = request([sample_of("up", 1_000)]);
        gateway.accept(Protocol::V1, &sent).await;
        assert_eq!(settled_row(&gateway).await.samples, book(1, [], []));
        assert_exactly(&sink, &points(&sent));
        assert_eq!(sink.judged().repeats, 3);
        gateway.finish().await;
    });
}

#[test]
fn w90_without_an_ambiguous_attempt_what_is_out_of_order_is_a_dead_letter() {
    bounded(async {
        let sink = unforgiving().await;
        let gateway = Setup::new().endpoint_with("a", &sink, QUEUE).start().await;
        // Neither a refused connection nor an answer that it is too busy leaves a doubt.
        gateway.is_down(&sink).await;
        sink.script([Reply::status(429)]);
        gateway.accept(Protocol::V1, &request([sample_of("up", 2_000)])).await;
        sink.start().await.unwrap();
        takes(&sink, 2).await;
        gateway.accept(Protocol::V1, &request([sample_of("up", 1_000)])).await;
        let row = settled_row(&gateway).await;
        assert_eq!(row.samples, book(2, [], [("400", 1)]));
        assert!(row.examples["400"].starts_with("up{"), "{row:?}");
        gateway.finish().await;
    });
}

#[test]
fn w90_the_doubt_about_one_batch_does_not_excuse_the_next() {
    bounded(async {
        let sink = unforgiving().await;
        let gateway = Setup::new().endpoint_with("a", &sink, QUEUE).start().await;
        sink.script([Reply::reset_after_body().taking()]);
        gateway.accept(Protocol::V1, &request([sample_of("up", 2_000)])).await;
        assert_eq!(settled_row(&gateway).await.samples, book(0, [("resent", 1)], []));
        gateway.accept(Protocol::V1, &request([sample_of("up", 1_000)])).await;
        assert_eq!(settled_row(&gateway).await.samples, book(0, [("resent", 1)], [("400", 1)]));
        gateway.accept(Protocol::V1, &request([sample_of("up", 3_000)])).await;
        assert_eq!(settled_row(&gateway).await.samples, book(1, [("resent", 1)], [("400", 1)]));
        gateway.finish().await;
    });
}

fn poisoned(series: &Series<'_>) -> Option<String> {
    (series.labels[0].value == b"poison").then(|| "label value is invalid".to_owned())
}

fn with_poison(timestamp: i64) -> Request<'static> {
    request(["alpha", "beta", "gamma", "poison"].map(|name| sample_of(name, timestamp)))
}

#[test]
fn w90_a_poison_series_among_those_that_were_stored_before_is_the_only_dead_letter() {
    bounded(async {
        // Mimir's way in v1, and Prometheus' own in v2: the good part of a refused request is stored.
        let judge = || Judge::new(400).ordered().refusing_repeats().refusing(poisoned);
        for (protocol, message, judge) in [
            (Protocol::V1, "prometheus.WriteRequest", judge().storing_the_good_part()),
            (Protocol::V2, "io.prometheus.write.v2.Request", judge()),
        ] {
            let sink = judging(judge).await;
            let keys = format!("protobuf_message: {message}, {QUEUE}");
            let gateway = Setup::new().endpoint_with("a", &sink, &keys).start().await;
            sink.script([Reply::reset_after_body().taking()]);
            gateway.accept(protocol, &with_poison(1_000)).await;
            let row = settled_row(&gateway).await;
            assert_eq!(row.samples, book(0, [("resent", 3)], [("400", 1)]), "{protocol:?}");
            assert!(row.examples["400"].starts_with("poison"), "{protocol:?}: {row:?}");

            // Its first answer is a refusal that stored the good part: the search repeats that part.
            gateway.accept(protocol, &with_poison(2_000)).await;
            let row = settled_row(&gateway).await;
            assert_eq!(row.samples, book(0, [("resent", 6)], [("400", 2)]), "{protocol:?}");

            let stored =
                [1_000, 2_000].map(|timestamp| ["alpha", "beta", "gamma"].map(|name| sample_of(name, timestamp)));
            assert_exactly(&sink, &points(&request(stored.into_iter().flatten())));
            gateway.finish().await;
        }
    });
}

#[test]
fn w90_a_v2_endpoint_that_stores_the_good_part_and_forgives_repeats_has_it_delivered() {
    bounded(async {
        let sink = judging(Judge::new(400).ordered().refusing(poisoned)).await;
        let keys = format!("protobuf_message: io.prometheus.write.v2.Request, {QUEUE}");
        let gateway = Setup::new().endpoint_with("a", &sink, &keys).start().await;
        gateway.accept(Protocol::V2, &with_poison(1_000)).await;
        assert_eq!(settled_row(&gateway).await.samples, book(3, [], [("400", 1)]));
        assert_exactly(&sink, &points(&request(["alpha", "beta", "gamma"].map(|name| sample_of(name, 1_000)))));
        gateway.finish().await;
    });
}

#[test]
fn w90_histograms_and_exemplars_that_were_stored_before_are_resent_as_well() {
    bounded(async {
        let sink = unforgiving().await;
        let keys = format!("protobuf_message: io.prometheus.write.v2.Request, {QUEUE}");
        let gateway = Setup::new().endpoint_with("a", &sink, &keys).start().await;
        sink.script([Reply::reset_after_body().taking()]);
        let sent = request([
            sample_of("requests_total", 1_000).exemplar(0.5, 1_000),
            series(&[("__name__", "latency_seconds")]).histogram(integer_histogram(), 1_000),
        ]);
        gateway.accept(Protocol::V2, &sent).await;
        let row = settled_row(&gateway).await;
        assert_eq!(row.samples, book(0, [("resent", 1)], []));
        assert_eq!(row.histograms, book(0, [("resent", 1)], []));
        assert_eq!(row.exemplars.dead_lettered, reasons([]), "{row:?}");
        sink.ledger(|ledger| assert_eq!(ledger.missing(points(&sent)), []));
        gateway.finish().await;
    });
}

/// Takes each sample in a request of its own, answered or not.
async fn push_each(program: &Program, sink: &Endpoint, sent: &[Request<'_>]) {
    for one in sent {
        let before = sink.stats().taken.samples;
        let body = compress(Compression::Snappy, &encode(Protocol::V1, one));
        let answer = program.sender().push(Protocol::V1, Compression::Snappy, body).await.unwrap();
        assert_eq!(answer.status, 204, "{}", answer.text());
        takes(sink, before + 1).await;
    }
}

#[test]
fn w90_after_kill_9_between_delivery_and_settle_only_what_was_in_flight_is_sent_again_and_booked_once() {
    bounded(async {
        let sink = unforgiving().await;
        let mut program = Setup::new().endpoint_with("a", &sink, QUEUE).start_program().await;
        let settled: Vec<_> = (1..=5).map(|timestamp| request([sample_of("up", timestamp)])).collect();
        push_each(&program, &sink, &settled).await;
        program.settled().await;

        // Four series in flight at once, all stored, none answered.
        let gate = Gate::new();
        sink.answer_with(move |_| Reply::healthy().behind(&gate));
        let in_flight = ["up", "two", "three", "four"].map(|name| request([sample_of(name, 6)]));
        push_each(&program, &sink, &in_flight).await;
        assert_eq!(sink.stats().in_flight, 4);
        program.kill();
        sink.recover();
        let before = sink.requests().len();
        program.start_again().await;
        let rows = program.settled().await;
        assert_eq!(rows[0].samples, book(5, [("resent", 4)], []), "{rows:?}");

        let again = sink.requests().split_off(before);
        let mut names: Vec<String> = Vec::new();
        for received in &again {
            let request = received.request().unwrap();
            assert!(request.series.iter().all(|series| series.samples.iter().all(|sample| sample.timestamp == 6)));
            names.extend(request.series.iter().map(|series| String::from_utf8_lossy(series.labels[0].value).into()));
        }
        names.sort_unstable();
        names.dedup();
        assert_eq!(names, ["four", "three", "two", "up"]);
        let all: Vec<_> = settled.iter().chain(&in_flight).flat_map(points).collect();
        assert_exactly(&sink, &all);

        // A second kill finds nothing to send again.
        let before = sink.stats().requests;
        program.kill();
        program.start_again().await;
        let rows = program.settled().await;
        assert_eq!(rows[0].samples, book(5, [("resent", 4)], []));
        push_each(&program, &sink, &[request([sample_of("up", 7)])]).await;
        assert_eq!(sink.stats().requests, before + 1);
        program.settled().await;
        program.terminate().await;
    });
}

#[test]
fn w90_after_kill_9_a_receiver_that_forgives_the_repetition_has_everything_delivered_once() {
    bounded(async {
        let sink = judging(Judge::new(400).ordered()).await;
        let mut program = Setup::new().endpoint_with("a", &sink, QUEUE).start_program().await;
        let gate = Gate::new();
        sink.answer_with(move |_| Reply::healthy().behind(&gate));
        let in_flight = ["one", "two"].map(|name| request([sample_of(name, 1)]));
        push_each(&program, &sink, &in_flight).await;
        // Accepted, and waiting for the ones before.
        let waiting = request([sample_of("one", 2), sample_of("two", 2)]);
        let body = compress(Compression::Snappy, &encode(Protocol::V1, &waiting));
        assert_eq!(program.sender().push(Protocol::V1, Compression::Snappy, body).await.unwrap().status, 204);
        program.kill();
        sink.recover();
        program.start_again().await;
        let rows = program.settled().await;
        assert_eq!(rows[0].samples, book(4, [], []));
        assert_eq!(sink.judged().repeats, 2);
        let all: Vec<_> = in_flight.iter().chain([&waiting]).flat_map(points).collect();
        assert_exactly(&sink, &all);
        program.terminate().await;
    });
}

#[test]
fn w90_after_a_kill_9_what_only_waited_and_is_out_of_order_is_a_dead_letter_only_if_it_was_never_sent() {
    bounded(async {
        let sink = unforgiving().await;
        let mut program = Setup::new().endpoint_with("a", &sink, QUEUE).start_program().await;
        push_each(&program, &sink, &[request([sample_of("up", 2_000)])]).await;
        program.settled().await;
        program.kill();
        program.start_again().await;
        // Accepted after the kill: no earlier process can have sent it.
        let late = compress(Compression::Snappy, &encode(Protocol::V1, &request([sample_of("up", 1_000)])));
        assert_eq!(program.sender().push(Protocol::V1, Compression::Snappy, late).await.unwrap().status, 204);
        let rows = program.settled().await;
        assert_eq!(rows[0].samples, book(1, [], [("400", 1)]));
        program.terminate().await;
    });
}

#[test]
fn w90_a_restart_in_order_lets_what_is_in_flight_end_and_sends_nothing_again() {
    bounded(async {
        let sink = unforgiving().await;
        let mut gateway = Setup::new().endpoint_with("a", &sink, QUEUE).start().await;
        let gate = Gate::new();
        let held = gate.clone();
        sink.answer_with(move |_| Reply::healthy().behind(&held));
        let mut sent = Vec::new();
        for name in ["one", "two", "three"] {
            let one = request([sample_of(name, 1_000)]);
            gateway.accept(Protocol::V1, &one).await;
            sent.extend(points(&one));
            takes(&sink, sent.len() as u64).await;
        }
        assert_eq!(sink.stats().in_flight, 3);
        let stopping = tokio::spawn(gateway.shutdown());
        gate.open();
        tokio::time::timeout(PATIENCE, stopping).await.expect("in time").unwrap();
        gateway.start_again().await;
        assert_eq!(settled_row(&gateway).await.samples, book(3, [], []));
        assert_exactly(&sink, &sent);
        assert_eq!(sink.stats().requests, 3);
        gateway.finish().await;
    });
}

#[test]
fn w90_a_restart_that_cannot_wait_any_longer_sends_what_was_in_flight_again_and_books_it_as_resent() {
    bounded(async {
        let sink = unforgiving().await;
        let keys = format!("remote_timeout: 500ms, {QUEUE}");
        let mut gateway = Setup::new().endpoint_with("a", &sink, &keys).start().await;
        sink.answer_with(|_| Reply::hang().taking());
        gateway.accept(Protocol::V1, &request([sample_of("up", 1_000)])).await;
        takes(&sink, 1).await;
        tokio::time::timeout(Duration::from_secs(15), gateway.shutdown()).await.expect("in time");
        sink.recover();
        gateway.start_again().await;
        assert_eq!(settled_row(&gateway).await.samples, book(0, [("resent", 1)], []));
        assert_exactly(&sink, &points(&request([sample_of("up", 1_000)])));
        gateway.finish().await;
    });
}
