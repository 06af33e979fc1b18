//! What one series, record, tenant, rule or endpoint does holds up no other.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use http::Method;
use remote_write::{Compression, Protocol};
use testkit::endpoint::{Endpoint, EndpointSettings, Gate, Judge, Received, Reply};

use crate::harness::{
    Setup, TestGateway, assert_exactly, bounded, compress, eventually, receiver, receiver_that, takes,
};
use crate::message::{With, encode, points, request, sample_of, series};
use crate::relabeling::accept_from;

const QUEUE: &str = "queue_config: {min_backoff: 5ms, max_backoff: 20ms}";
const RETRY: &str = r#"{"action":"retry"}"#;

fn holds(received: &Received, text: &str) -> bool {
    String::from_utf8_lossy(&received.decoded).contains(text)
}

async fn accept(gateway: &TestGateway, name: &str) {
    gateway.accept(Protocol::V1, &request([sample_of(name, 1_000)])).await;
}

/// Pushes series of other names until nothing of the first is pending.
async fn push_others_until_settled(gateway: &TestGateway) {
    let number = AtomicU64::new(0);
    eventually("nothing is pending", || async {
        accept(gateway, &format!("good{}", number.fetch_add(1, Ordering::Relaxed))).await;
        let row = gateway.ledger("default", "a").await;
        (row.samples.pending == 0).then_some(())
    })
    .await;
}

async fn found_among_others(poisons: &[&str]) {
    let sink = receiver().await;
    sink.answer_with(|received| match holds(received, "poison") {
        true => Reply::status(500).text("boom"),
        false => Reply::healthy(),
    });
    let gateway = Setup::new().poison_after(Duration::from_millis(50)).endpoint_with("a", &sink, QUEUE).start().await;
    gateway.accept(Protocol::V1, &request(poisons.iter().map(|name| sample_of(name, 1_000)))).await;
    push_others_until_settled(&gateway).await;
    let row = gateway.ledger("default", "a").await;
    assert_eq!(row.samples.dead_lettered.get("5xx"), Some(&(poisons.len() as u64)), "{row:?}");
    assert_eq!(gateway.dead_letters().await.len(), poisons.len());
    gateway.finish().await;
}

#[test]
fn w63_a_batch_of_one_series_that_breaks_the_endpoint_is_found_while_others_go_on() {
    bounded(found_among_others(&["poison"]));
}

#[test]
fn w63_a_batch_of_nothing_but_series_that_break_the_endpoint_is_found_while_others_go_on() {
    bounded(found_among_others(&["poison1", "poison2"]));
}

#[test]
fn w63_an_endpoint_that_is_overloaded_19_times_of_20_costs_no_series() {
    bounded(async {
        let sink = receiver().await;
        let asked = AtomicU64::new(0);
        sink.answer_with(move |_| match asked.fetch_add(1, Ordering::Relaxed) % 20 {
            19 => Reply::healthy(),
            _ => Reply::status(503).text("come back later"),
        });
        let keys = "queue_config: {min_backoff: 1ms, max_backoff: 2ms, max_samples_per_send: 2}";
        let gateway = Setup::new().poison_after(Duration::ZERO).endpoint_with("a", &sink, keys).start().await;
        let names: Vec<String> = (0..40).map(|n| format!("s{n}")).collect();
        for pair in names.chunks(2) {
            gateway.accept(Protocol::V1, &request(pair.iter().map(|name| sample_of(name, 1_000)))).await;
        }
        gateway.settled().await;
        let row = gateway.ledger("default", "a").await;
        assert_eq!((row.samples.delivered, row.samples.dead_lettered.len()), (40, 0), "{row:?}");
        gateway.finish().await;
    });
}

#[test]
fn w64_a_record_that_alone_is_forbidden_waits_alone() {
    bounded(async {
        let sink = receiver().await;
        let forbids = Arc::new(AtomicBool::new(true));
        let still = Arc::clone(&forbids);
        sink.answer_with(move |received| match still.load(Ordering::Relaxed) && holds(received, "SELECT") {
            true => Reply::status(403).text("blocked by the firewall"),
            false => Reply::healthy(),
        });
        let gateway = Setup::new().endpoint_with("a", &sink, QUEUE).start().await;
        let suspicious = series(&[("__name__", "x"), ("query", "SELECT")]).sample(1.0, 1_000);
        gateway.accept(Protocol::V1, &request([suspicious])).await;
        gateway.held("a", 403).await;
        for n in 0..20 {
            accept(&gateway, &format!("good{n}")).await;
        }
        takes(&sink, 20).await;
        assert_eq!(gateway.ledger("default", "a").await.samples.pending, 1);
        forbids.store(false, Ordering::Relaxed);
        gateway.settle_and_finish().await;
    });
}

#[test]
fn w56_an_endpoint_that_answers_413_to_everything_costs_a_bounded_number_of_requests() {
    bounded(async {
        let sink = receiver().await;
        sink.answer_with(|_| Reply::status(413));
        let gateway = Setup::new().endpoint_with("a", &sink, QUEUE).start().await;
        let names: Vec<String> = (0..3_000).map(|n| format!("s{n}")).collect();
        gateway.accept(Protocol::V1, &request(names.iter().map(|name| sample_of(name, 1_000)))).await;
        gateway.settled().await;
        let row = gateway.ledger("default", "a").await;
        assert_eq!(row.samples.dead_lettered.values().sum::<u64>(), 3_000, "{row:?}");
        assert!(sink.stats().requests < 200, "{} requests", sink.stats().requests);
        gateway.finish().await;
    });
}

#[test]
fn w57_a_415_in_the_middle_of_a_search_sends_nothing_settled_again_and_books_each_letter_once() {
    bounded(async {
        let sink = receiver().await;
        let gateway = Setup::new().endpoint_with("a", &sink, QUEUE).start().await;
        gateway.is_down(&sink).await;
        for name in ["bad", "c1", "c2", "c3", "c4", "c5"] {
            gateway.accept(Protocol::V2, &request([sample_of(name, 1_000)])).await;
        }
        let speaks_v1_only = AtomicBool::new(false);
        sink.answer_with(move |received| {
            if holds(received, "bad") {
                return Reply::status(400).text("bad");
            }
            let is_v2 = received.protocol == Protocol::V2;
            speaks_v1_only.fetch_or(is_v2 && holds(received, "c1"), Ordering::Relaxed);
            if is_v2 && speaks_v1_only.load(Ordering::Relaxed) { Reply::status(415) } else { Reply::healthy() }
        });
        sink.start().await.unwrap();
        gateway.settled().await;
        let row = gateway.ledger("default", "a").await;
        assert_eq!(row.samples.dead_lettered.values().sum::<u64>(), 1, "{row:?}");
        assert_eq!(gateway.dead_letters().await.len(), 1);
        gateway.finish().await;
    });
}

#[test]
fn w58_a_2xx_without_written_that_did_store_is_resent_and_no_dead_letter() {
    bounded(async {
        let judge = Judge::new(400).ordered().refusing_repeats();
        let sink = receiver_that(EndpointSettings { judge: Some(judge), ..EndpointSettings::default() }).await;
        let gateway = Setup::new().endpoint_with("a", &sink, QUEUE).start().await;
        sink.script([Reply::status(204).taking()]);
        gateway.accept(Protocol::V2, &request([sample_of("x", 1_000), sample_of("y", 1_000)])).await;
        gateway.settled().await;
        let row = gateway.ledger("default", "a").await;
        assert_eq!((row.samples.dropped.get("resent"), row.samples.dead_lettered.len()), (Some(&2), 0), "{row:?}");
        gateway.finish().await;
    });
}

#[test]
fn w68_rules_that_repeat_a_value_without_end_drop_the_series_and_no_other() {
    bounded(async {
        let sink = receiver().await;
        let twice = "{source_labels: [a], target_label: a, replacement: '$1$1'}";
        let rules = format!("write_relabel_configs: [{}]", [twice; 30].join(", "));
        let gateway = Setup::new().endpoint_with("a", &sink, &rules).start().await;
        let grows = series(&[("__name__", "x"), ("a", "0123456789abcdef")]).sample(1.0, 1_000);
        gateway.accept(Protocol::V1, &request([grows, sample_of("y", 1_000)])).await;
        gateway.settled().await;
        let row = gateway.ledger("default", "a").await;
        assert_eq!((row.samples.delivered, row.samples.dropped.get("relabel")), (1, Some(&1)), "{row:?}");
        gateway.finish().await;
    });
}

#[test]
fn w65_a_reload_keeps_no_endpoint_waiting_for_one_that_hangs() {
    bounded(async {
        let (hangs, healthy, new) = (receiver().await, receiver().await, receiver().await);
        let gate = Gate::new();
        gate.close();
        let behind = gate.clone();
        hangs.answer_with(move |_| Reply::healthy().behind(&behind));
        let before = Setup::new().endpoint("a", &hangs).endpoint("b", &healthy);
        let mut gateway = before.start().await;
        accept(&gateway, "x").await;
        takes(&healthy, 1).await;
        hangs.wait_until(crate::harness::PATIENCE, |stats| stats.in_flight == 1).await.unwrap();
        let sender = gateway.sender();
        let after = Setup::new()
            .endpoint_with("a", &hangs, "send_exemplars: false")
            .endpoint_with("b", &healthy, "send_exemplars: false")
            .endpoint_with("c", &new, "from: earliest");
        tokio::join!(gateway.reload(after), async {
            // Both are served while the reload still waits for the request that hangs.
            takes(&new, 1).await;
            accept_from(&sender, Protocol::V1, &request([sample_of("y", 2_000)])).await;
            takes(&healthy, 2).await;
            gate.open();
        });
        gateway.settle_and_finish().await;
    });
}

#[test]
fn an_endpoint_that_is_down_keeps_no_other_from_its_dead_letters() {
    bounded(async {
        let (down, up) = (receiver().await, receiver().await);
        let gateway = Setup::new().endpoint_with("a", &down, QUEUE).endpoint_with("b", &up, QUEUE).start().await;
        down.answer_with(|_| Reply::status(400).text("bad"));
        up.answer_with(|_| Reply::status(400).text("bad"));
        accept(&gateway, "x").await;
        gateway.settled().await;
        down.answer_with(|_| Reply::status(503));
        up.recover();
        let (status, answer) = gateway.call(Method::POST, "/api/v1/dead_letters", RETRY).await;
        assert_eq!(status, 409, "{answer}");
        let left = gateway.dead_letters().await;
        assert!(left.len() == 1 && left[0]["endpoint"] == "a", "{left:?}");
        down.recover();
        gateway.finish().await;
    });
}

#[test]
fn a_dead_letter_is_tried_again_in_the_protocol_that_the_endpoint_speaks_by_then() {
    bounded(async {
        let sink = receiver().await;
        let gateway = Setup::new().endpoint_with("a", &sink, QUEUE).start().await;
        sink.answer_with(|_| Reply::status(400).text("bad"));
        gateway.accept(Protocol::V2, &request([sample_of("x", 1_000)])).await;
        gateway.settled().await;
        sink.answer_with(|received| match received.protocol {
            Protocol::V2 => Reply::status(415),
            Protocol::V1 => Reply::healthy(),
        });
        let (status, answer) = gateway.call(Method::POST, "/api/v1/dead_letters", RETRY).await;
        assert_eq!((status, gateway.dead_letters().await.len()), (200, 0), "{answer}");
        gateway.finish().await;
    });
}

#[test]
fn r_o22_a_tenants_data_comes_to_no_endpoint_that_does_not_take_it_also_from_a_backlog_a_reload_or_a_replay() {
    bounded(async {
        let sinks = [receiver().await, receiver().await, receiver().await];
        let [all, blue, teams] = &sinks;
        let names = ["blue", "red", "team-a", "team-b", "teams"];
        let setup = |second: &str| {
            let header = "tenant_header: X-Scope-OrgID";
            let only = |tenants: &str| format!("{header}, tenants: [{tenants}]");
            let listener = "tenant: default, tenant_from: [{path: true}]";
            let setup = Setup::new().listener(listener).endpoint_with("all", all, header);
            setup.endpoint_with("second", blue, &only(second)).endpoint_with("teams", teams, &only("'team-*'"))
        };
        let mut gateway = setup("blue").start().await;
        for sink in &sinks {
            sink.stop().await;
        }
        let push = async |gateway: &TestGateway, timestamp: i64| {
            for name in names {
                let sender = gateway.sender_at(&format!("/{name}/api/v1/write"));
                accept_from(&sender, Protocol::V1, &request([sample_of(name, timestamp)])).await;
            }
        };
        // What an endpoint got: of whom, by the header and by the series, and when.
        let got = |sink: &Endpoint| {
            let mut got = BTreeSet::new();
            for received in sink.requests().iter().filter(|received| received.understood) {
                for series in received.request().unwrap().series {
                    let name = series.labels.iter().find(|label| label.name == b"__name__").unwrap().value;
                    let name = String::from_utf8(name.to_vec()).unwrap();
                    assert_eq!(received.header("x-scope-orgid"), Some(name.as_str()));
                    got.extend(series.samples.iter().map(|sample| (name.clone(), sample.timestamp)));
                }
            }
            got
        };
        let expected = |of: &[(&[&str], &[i64])]| -> BTreeSet<(String, i64)> {
            let pairs =
                of.iter().flat_map(|(names, times)| names.iter().flat_map(|name| times.iter().map(|t| (*name, *t))));
            pairs.map(|(name, timestamp)| (name.to_owned(), timestamp)).collect()
        };
        push(&gateway, 1).await;
        for sink in &sinks {
            sink.start().await.unwrap();
        }
        gateway.settled().await;
        assert_eq!(got(blue), expected(&[(&["blue"], &[1])]));

        gateway.reload(setup("red")).await;
        push(&gateway, 2).await;
        let wanted = r#"{"endpoint":"second","tenant":"team-a","from":0}"#;
        let (status, answer) = gateway.call(Method::POST, "/api/v1/replays", wanted).await;
        assert!(status >= 400, "{answer}");
        // What is left of the tenant that it took before stays pending, so that nothing is settled any more.
        for (sink, samples) in [(all, 10), (blue, 2), (teams, 4)] {
            takes(sink, samples).await;
        }
        assert_eq!(got(all), expected(&[(&names, &[1, 2])]));
        assert_eq!(got(blue), expected(&[(&["blue"], &[1]), (&["red"], &[2])]));
        assert_eq!(got(teams), expected(&[(&["team-a", "team-b"], &[1, 2])]));
        gateway.finish().await;
    });
}

#[test]
fn what_an_unlisted_tenant_stored_is_never_delivered_as_the_data_of_one_that_gets_its_name_as_id() {
    bounded(async {
        let sink = receiver().await;
        let by_header = "tenant: default, tenant_from: [header: X-Scope-OrgID]";
        let setup = |tenants: &str| Setup::new().listener(by_header).top(&format!("tenants: [{tenants}{{name: '*'}}]"));
        let mut gateway = setup("").start().await;
        let name = http::HeaderName::from_static("x-scope-orgid");
        let sender = |gateway: &TestGateway, tenant| {
            gateway.sender().with_header(name.clone(), http::HeaderValue::from_static(tenant))
        };
        let body = |name: &str| compress(Compression::Snappy, &encode(Protocol::V1, &request([sample_of(name, 1)])));
        let evil = sender(&gateway, "1111").push(Protocol::V1, Compression::Snappy, body("evil")).await.unwrap();
        assert_eq!(evil.status, 204);
        let keys = "from: earliest, tenant_header: THANOS-TENANT";
        gateway.reload(setup("{name: blue, id: '1111'}, ").endpoint_with("a", &sink, keys)).await;
        let answer = sender(&gateway, "blue").push(Protocol::V1, Compression::Snappy, body("good")).await.unwrap();
        assert_eq!(answer.status, 204);
        takes(&sink, 1).await;
        let replay = serde_json::json!({"tenant": "1111", "endpoint": "a", "from": "1h"}).to_string();
        let (status, why) = gateway.call(Method::POST, "/api/v1/replays", &replay).await;
        assert!(status >= 400, "{status} {why}");
        assert_exactly(&sink, &points(&request([sample_of("good", 1)])));
        gateway.finish().await;
    });
}
