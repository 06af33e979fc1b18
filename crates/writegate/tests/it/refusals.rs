//! What an endpoint refuses: found, set aside with its words, and everything else delivered, in few requests.

use std::time::Duration;

use remote_write::Protocol;
use remote_write::model::{Request, Series};
use testkit::endpoint::{Endpoint, EndpointSettings, Judge, Keep, Reply};

use crate::harness::{Setup, TestGateway, assert_exactly, bounded, receiver, receiver_that, takes};
use crate::message::{With, points, request, sample_of, series};

const V1: &str = "protobuf_message: prometheus.WriteRequest";
const V2: &str = "protobuf_message: io.prometheus.write.v2.Request";

/// `n` series with one sample each; those at `bad` have a label that [`poisoned`] refuses.
fn batch<'n>(names: &'n [String], bad: &[usize], timestamp: i64) -> Request<'n> {
    let series = names.iter().enumerate().map(|(index, name)| {
        let poison = [("__name__", name.as_str()), ("poison", "yes")];
        series(if bad.contains(&index) { &poison } else { &poison[..1] }).sample(1.0, timestamp)
    });
    request(series)
}

fn names(n: usize) -> Vec<String> {
    (0..n).map(|number| format!("series_{number:05}")).collect()
}

fn is_bad(series: &Series<'_>) -> bool {
    series.labels.iter().any(|label| label.name == b"poison")
}

/// Refuses series with the label `poison`.
fn poisoned(status: u16) -> Judge {
    Judge::new(status).refusing(|series| is_bad(series).then(|| "the backend does not like this label".to_owned()))
}

async fn judging(judge: Judge) -> Endpoint {
    receiver_that(EndpointSettings { judge: Some(judge), keep: Keep::Requests, ..EndpointSettings::default() }).await
}

/// Pushes a request, and waits until its points are dealt with.
async fn deliver(gateway: &TestGateway, protocol: Protocol, request: &Request<'_>) {
    gateway.accept(protocol, request).await;
    gateway.settled().await;
}

fn good_points(request: &Request<'_>) -> Vec<testkit::ledger::Point> {
    let good = request.series.iter().filter(|series| !is_bad(series)).cloned();
    points(&Request { series: good.collect(), metadata: Vec::new() })
}

/// Whether one bad series among `n` good ones ends alone as a dead letter, at which cost.
async fn one_among(n: usize, bad: usize, judge: Judge, keys: &str, protocol: Protocol, reason: &str) {
    let sink = judging(judge).await;
    let gateway = Setup::new().endpoint_with("a", &sink, keys).start().await;
    let names = names(n + 1);
    let sent = batch(&names, &[bad], 1_000);
    deliver(&gateway, protocol, &sent).await;
    // Receivers keep an exact repetition out, so nothing is there twice.
    assert_exactly(&sink, &good_points(&sent));
    let row = gateway.ledger("default", "a").await;
    assert_eq!(row.samples.delivered, n as u64);
    assert_eq!(row.samples.dead_lettered.get(reason), Some(&1), "{row:?}");
    assert!(row.samples.dropped.is_empty(), "{row:?}");
    let levels = u64::from((n + 1).next_power_of_two().trailing_zeros());
    let requests = sink.stats().requests;
    assert!(requests <= 1 + 2 * levels + 2, "{requests} requests for one of {n}");

    let letters = gateway.dead_letters().await;
    assert_eq!(letters.len(), 1, "{letters:?}");
    assert_eq!(letters[0]["tenant"], "default");
    assert_eq!(letters[0]["endpoint"], "a");
    assert_eq!(letters[0]["reason"], reason);
    let words = letters[0]["words"].as_str().unwrap();
    assert!(words.contains("the backend does not like this label"), "{words}");
    let example = letters[0]["example"].as_str().unwrap();
    assert!(example.contains(&names[bad]) && example.contains("poison"), "{example}");
    gateway.finish().await;
}

#[test]
fn w55_one_bad_series_in_10_000_good_ones_is_one_dead_letter_at_an_endpoint_that_stores_all_or_nothing() {
    bounded(one_among(10_000, 6_543, poisoned(400).ordered().all_or_nothing(), V1, Protocol::V1, "400"));
}

#[test]
fn w55_one_bad_series_in_10_000_good_ones_is_one_dead_letter_at_an_endpoint_that_stores_the_good_part() {
    bounded(one_among(10_000, 17, poisoned(400).ordered().storing_the_good_part(), V1, Protocol::V1, "400"));
}

#[test]
fn w55_a_v2_endpoint_that_stores_the_good_part_gets_one_bad_series_apart() {
    bounded(one_among(1_000, 999, poisoned(400).ordered(), V2, Protocol::V2, "400"));
}

#[test]
fn w55_409_and_422_are_refusals_like_400() {
    bounded(async {
        one_among(100, 0, poisoned(409).ordered().storing_the_good_part(), V1, Protocol::V2, "409").await;
        one_among(100, 50, poisoned(422).ordered(), V2, Protocol::V1, "422").await;
    });
}

#[test]
fn w55_what_is_refused_only_because_it_was_stored_before_is_resent_and_no_dead_letter() {
    bounded(async {
        // The strictest there is: it refuses even the exact repetition of the newest sample.
        for (keys, protocol) in [(V1, Protocol::V1), (V2, Protocol::V2)] {
            let judge = poisoned(400).refusing_repeats().storing_the_good_part();
            let sink = judging(judge).await;
            let gateway = Setup::new().endpoint_with("a", &sink, keys).start().await;
            let names = names(64);
            let sent = batch(&names, &[40], 1_000);
            deliver(&gateway, protocol, &sent).await;
            assert_exactly(&sink, &good_points(&sent));
            let row = gateway.ledger("default", "a").await;
            let dead: u64 = row.samples.dead_lettered.values().sum();
            assert_eq!(dead, 1, "{row:?}");
            let resent = row.samples.dropped.get("resent").copied().unwrap_or_default();
            assert_eq!(row.samples.delivered + resent, 63, "{row:?}");
            gateway.finish().await;
        }
    });
}

#[test]
fn w55_samples_that_are_really_out_of_order_are_dead_letters_with_the_endpoints_words() {
    bounded(async {
        for partly in [false, true] {
            let judge = Judge::new(400).ordered();
            let sink = judging(if partly { judge.storing_the_good_part() } else { judge.all_or_nothing() }).await;
            let gateway = Setup::new().endpoint_with("a", &sink, V1).start().await;
            let names = names(100);
            deliver(&gateway, Protocol::V1, &batch(&names, &[], 2_000)).await;
            // All but one go on; that one comes late.
            let mut sent = batch(&names, &[], 3_000);
            sent.series[77].samples[0].timestamp = 1_000;
            deliver(&gateway, Protocol::V1, &sent).await;
            let row = gateway.ledger("default", "a").await;
            assert_eq!((row.samples.delivered, row.samples.dead_lettered.get("400")), (199, Some(&1)), "{row:?}");
            let letters = gateway.dead_letters().await;
            assert!(letters[0]["words"].as_str().unwrap().contains("out of order sample"), "{letters:?}");
            gateway.finish().await;
        }
    });
}

#[test]
fn w55_several_records_of_a_batch_are_told_apart_and_booked_each_for_itself() {
    bounded(async {
        let sink = judging(poisoned(400).ordered().all_or_nothing()).await;
        let gateway = Setup::new().endpoint_with("a", &sink, V1).start().await;
        gateway.is_down(&sink).await;
        let all = names(90);
        let mut sent = Vec::new();
        for (index, names) in all.chunks(10).enumerate() {
            // The fifth record is bad as a whole, the seventh in one series.
            let bad: Vec<usize> = if index == 4 {
                (0..10).collect()
            } else if index == 6 {
                vec![3]
            } else {
                vec![]
            };
            let request = batch(names, &bad, 1_000).clone();
            gateway.accept(Protocol::V1, &request).await;
            sent.push(request);
        }
        sink.start().await.unwrap();
        gateway.settled().await;
        let row = gateway.ledger("default", "a").await;
        assert_eq!((row.samples.delivered, row.samples.dead_lettered.get("400")), (80, Some(&11)), "{row:?}");
        let good: Vec<_> = sent.iter().flat_map(good_points).collect();
        sink.ledger(|ledger| assert_eq!(ledger.missing(good), []));
        gateway.finish().await;
    });
}

#[test]
fn w55_an_endpoint_that_refuses_everything_costs_a_bounded_number_of_requests_and_every_sample_is_accounted_for() {
    bounded(async {
        let sink = judging(Judge::new(400).refusing(|_| Some("no".to_owned()))).await;
        let gateway = Setup::new().endpoint_with("a", &sink, V1).start().await;
        let names = names(10_000);
        for timestamp in 1..=3 {
            let before = sink.stats().requests;
            deliver(&gateway, Protocol::V1, &batch(&names, &[], timestamp)).await;
            let requests = sink.stats().requests - before;
            // Once it is known, a record is not looked into.
            let allowed = if timestamp == 1 { 150 } else { 1 };
            assert!(requests <= allowed, "{requests} requests for batch {timestamp}");
        }
        let row = gateway.ledger("default", "a").await;
        assert_eq!(row.samples.dead_lettered.get("400"), Some(&30_000), "{row:?}");
        // It changes its mind: the next bad series is found alone again.
        sink.answer_with(|_| Reply::status(204).taking());
        deliver(&gateway, Protocol::V1, &batch(&names, &[], 4)).await;
        assert_eq!(gateway.ledger("default", "a").await.samples.delivered, 10_000);
        gateway.finish().await;
    });
}

#[test]
fn w56_a_413_halves_until_it_fits_and_the_size_is_remembered() {
    bounded(async {
        for (status, protocol, keys) in [(413, Protocol::V1, V1), (413, Protocol::V2, V2), (400, Protocol::V1, V1)] {
            let sink = judging(Judge::new(400).max_samples(300, status)).await;
            let gateway = Setup::new().endpoint_with("a", &sink, keys).start().await;
            let names = names(1_000);
            let mut expected = Vec::new();
            for timestamp in 1..=2 {
                let before = sink.stats().requests;
                let sent = batch(&names, &[], timestamp);
                deliver(&gateway, protocol, &sent).await;
                expected.extend(points(&sent));
                let requests = sink.stats().requests - before;
                // 1,000, twice 500, four times 250; then 250 at once.
                let allowed = if timestamp == 1 { 7 } else { 4 };
                assert!(requests <= allowed, "{status} {protocol:?}: {requests} requests for batch {timestamp}");
            }
            assert_exactly(&sink, &expected);
            let row = gateway.ledger("default", "a").await;
            assert_eq!(row.samples.delivered, 2_000, "{row:?}");
            gateway.finish().await;
        }
    });
}

#[test]
fn w56_a_series_that_alone_is_too_large_is_cut_and_a_single_sample_that_is_too_large_is_a_dead_letter() {
    bounded(async {
        let sink = judging(Judge::new(400).max_decoded_bytes(2_000, 413)).await;
        let gateway = Setup::new().endpoint_with("a", &sink, V1).start().await;
        let mut long = series(&[("__name__", "long")]);
        for timestamp in 0..500 {
            long = long.sample(1.0, timestamp);
        }
        let padding = "x".repeat(3_000);
        let huge = series(&[("__name__", "huge"), ("padding", &padding)]).sample(1.0, 1);
        let sent = request([sample_of("small", 1), long, huge, sample_of("other", 1)]);
        deliver(&gateway, Protocol::V1, &sent).await;
        let expected: Vec<_> =
            [0, 1, 3].into_iter().flat_map(|index| points(&request([sent.series[index].clone()]))).collect();
        assert_exactly(&sink, &expected);
        let row = gateway.ledger("default", "a").await;
        assert_eq!((row.samples.delivered, row.samples.dead_lettered.get("413")), (502, Some(&1)), "{row:?}");
        gateway.finish().await;
    });
}

#[test]
fn w57_a_415_to_v2_switches_to_v1_and_loses_nothing_also_in_the_middle_of_a_search() {
    bounded(async {
        let sink = judging(poisoned(400).ordered()).await;
        let gateway = Setup::new().endpoint_with("a", &sink, V2).start().await;
        let names = names(50);
        let sent = batch(&names, &[20], 1_000);
        // It refuses the whole, then turns out not to speak v2 at all.
        sink.answer_with(|received| match (received.protocol, received.number) {
            (Protocol::V2, 0) => Reply::status(400).text("bad label"),
            (Protocol::V2, _) => Reply::status(415),
            (Protocol::V1, _) => Reply::healthy(),
        });
        deliver(&gateway, Protocol::V2, &sent).await;
        assert_exactly(&sink, &good_points(&sent));
        let row = gateway.ledger("default", "a").await;
        assert_eq!((row.samples.delivered, row.samples.dead_lettered.get("400")), (49, Some(&1)), "{row:?}");
        let before = sink.stats().requests;
        deliver(&gateway, Protocol::V2, &batch(&names, &[], 2_000)).await;
        assert_eq!(sink.stats().requests - before, 1, "the protocol is remembered");
        gateway.finish().await;
    });
}

#[test]
fn w58_a_2xx_to_v2_without_written_is_sent_again_as_v1_and_one_with_less_written_is_booked() {
    bounded(async {
        let sink = receiver().await;
        let gateway = Setup::new().endpoint_with("a", &sink, V2).start().await;
        sink.answer_with(|received| match received.protocol {
            Protocol::V2 => Reply::status(200),
            Protocol::V1 => Reply::healthy(),
        });
        let sent = request([sample_of("up", 1_000)]);
        deliver(&gateway, Protocol::V2, &sent).await;
        assert_exactly(&sink, &points(&sent));
        gateway.finish().await;

        let sink = receiver().await;
        let gateway = Setup::new().endpoint_with("a", &sink, V2).start().await;
        sink.script([Reply::status(200).header("x-prometheus-remote-write-samples-written", "1").taking()]);
        deliver(&gateway, Protocol::V2, &request([sample_of("a", 1_000), sample_of("b", 1_000)])).await;
        let row = gateway.ledger("default", "a").await;
        assert_eq!((row.samples.delivered, row.samples.dropped.get("not_written")), (1, Some(&1)), "{row:?}");
        assert_eq!(sink.stats().requests, 1, "a 2xx with Written is never sent again");
        gateway.finish().await;
    });
}

#[test]
fn w63_a_series_that_breaks_the_endpoint_is_set_aside_while_others_go_on() {
    bounded(async {
        let sink = judging(poisoned(500).ordered()).await;
        let keys = format!("{V1}, queue_config: {{min_backoff: 5ms, max_backoff: 20ms}}");
        let gateway =
            Setup::new().poison_after(Duration::from_millis(200)).endpoint_with("a", &sink, &keys).start().await;
        let all = names(500);
        let sent = batch(&all[..100], &[42], 1_000);
        gateway.accept(Protocol::V1, &sent).await;
        // Batches of other series do not wait for it.
        for names in all[100..].chunks(100) {
            gateway.accept(Protocol::V1, &batch(names, &[], 1_000)).await;
        }
        takes(&sink, 400).await;
        gateway.settled().await;
        let row = gateway.ledger("default", "a").await;
        assert_eq!((row.samples.delivered, row.samples.dead_lettered.get("5xx")), (499, Some(&1)), "{row:?}");
        sink.ledger(|ledger| assert_eq!(ledger.missing(good_points(&sent)), []));
        assert!(sink.stats().requests < 60, "{:?}", sink.stats());
        gateway.finish().await;
    });
}

#[test]
fn w63_an_endpoint_that_answers_500_to_everything_is_down_and_nothing_is_given_up() {
    bounded(async {
        let sink = judging(poisoned(400)).await;
        let keys = format!("{V1}, queue_config: {{min_backoff: 5ms, max_backoff: 20ms}}");
        let gateway =
            Setup::new().poison_after(Duration::from_millis(100)).endpoint_with("a", &sink, &keys).start().await;
        sink.answer_with(|_| Reply::status(500).text("the disk is full"));
        let names = names(100);
        let sent = batch(&names, &[], 1_000);
        gateway.accept(Protocol::V1, &sent).await;
        // Long enough for its halves to be tried several times.
        sink.wait_until(crate::harness::PATIENCE, |stats| stats.requests > 60).await.unwrap();
        let row = gateway.ledger("default", "a").await;
        assert_eq!(row.samples.pending, 100, "{row:?}");
        sink.recover();
        gateway.settled().await;
        assert_exactly(&sink, &points(&sent));
        gateway.finish().await;
    });
}

#[test]
fn w63_several_poison_series_in_both_halves_of_the_only_batch_are_found_and_known_the_next_time() {
    bounded(async {
        let sink = judging(poisoned(500).ordered()).await;
        let keys = format!("{V1}, queue_config: {{min_backoff: 5ms, max_backoff: 20ms}}");
        let gateway =
            Setup::new().poison_after(Duration::from_millis(200)).endpoint_with("a", &sink, &keys).start().await;
        let names = names(64);
        let bad = [3, 4, 40, 41];
        let mut expected = Vec::new();
        for timestamp in 1..=3 {
            let before = sink.stats().requests;
            let sent = batch(&names, &bad, timestamp);
            deliver(&gateway, Protocol::V1, &sent).await;
            expected.extend(good_points(&sent));
            let requests = sink.stats().requests - before;
            // Once they are known: the whole, what lies between them, and each of them between two that are taken.
            assert!(timestamp == 1 || requests <= 1 + 3 + 4 * 4, "{requests} requests for batch {timestamp}");
        }
        assert_exactly(&sink, &expected);
        let row = gateway.ledger("default", "a").await;
        assert_eq!((row.samples.delivered, row.samples.dead_lettered.get("5xx")), (180, Some(&12)), "{row:?}");
        gateway.finish().await;
    });
}

#[test]
fn w63_while_one_batch_breaks_the_endpoint_later_ones_of_other_series_are_delivered() {
    bounded(async {
        let sink = judging(poisoned(500).ordered()).await;
        // Nobody looks for the poison here: it is about what goes on meanwhile.
        let gateway = Setup::new().poison_after(Duration::from_secs(3_600)).endpoint_with("a", &sink, V1).start().await;
        let names = names(10);
        gateway.accept(Protocol::V1, &batch(&names, &[5], 1)).await;
        sink.wait_until(crate::harness::PATIENCE, |stats| stats.requests >= 4).await.unwrap();
        for timestamp in 0..20 {
            gateway.accept(Protocol::V1, &request([sample_of("other", timestamp)])).await;
        }
        takes(&sink, 20).await;
        let row = gateway.ledger("default", "a").await;
        assert_eq!(row.samples.pending, 10, "{row:?}");
        gateway.finish().await;
    });
}

#[test]
fn redirects_307_and_308_are_followed_with_the_body_and_without_credentials_elsewhere_and_others_hold() {
    bounded(async {
        let (here, there) = (receiver().await, receiver().await);
        let keys = "basic_auth: {username: u, password: p}, headers: {X-Plain: kept}";
        for status in [307, 308] {
            let gateway = Setup::new().endpoint_with("a", &here, keys).start().await;
            let (to, before) = (there.url(), there.requests().len());
            here.answer_with(move |_| Reply::status(status).header("location", &to));
            let sent = request([sample_of("up", i64::from(status))]);
            deliver(&gateway, Protocol::V1, &sent).await;
            let received = there.requests().remove(before);
            assert_eq!(points(&received.request().unwrap()), points(&sent));
            assert_eq!(received.header("authorization"), None);
            assert_eq!(received.header("x-plain"), Some("kept"));
            gateway.finish().await;
        }
        // To itself, forever.
        let gateway = Setup::new().endpoint_with("a", &here, "").start().await;
        here.answer_with(|_| Reply::status(308).header("location", "/api/v1/write"));
        gateway.accept(Protocol::V1, &request([sample_of("up", 1)])).await;
        gateway.held("a", 308).await;
        assert!(here.stats().in_flight == 0);
        here.recover();
        gateway.finish().await;
    });
}
