//! What each tenant may send: rates, windows, active series, and a share of the memory for requests; and that a tenant above
//! its limits is no one else's concern.

use std::cell::RefCell;

use http::StatusCode;
use http::header::HeaderValue;
use remote_write::model::Request;
use remote_write::{Compression, Protocol};
use testkit::raw::{self, RawConnection};
use testkit::sender::{Answer, Sender};

use crate::cli::run;
use crate::harness::{
    PATIENCE, Setup, TestGateway, assert_exactly, bounded, compress, eventually, raw_headers, receiver, written,
};
use crate::message::{With, encode, points, request, sample_of, series};

/// A listener where a header names the tenant.
const BY_HEADER: &str = "tenant: default, tenant_from: [header: X-Scope-OrgID]";

fn sender(gateway: &TestGateway, tenant: &'static str) -> Sender {
    let name = http::HeaderName::from_static("x-scope-orgid");
    gateway.sender().with_header(name, HeaderValue::from_static(tenant))
}

async fn push(gateway: &TestGateway, tenant: &'static str, request: &Request<'_>) -> Answer {
    let body = compress(Compression::Snappy, &encode(Protocol::V2, request));
    sender(gateway, tenant).push(Protocol::V2, Compression::Snappy, body).await.unwrap()
}

/// So many samples of one series, from this time on.
fn samples(name: &'static str, first: i64, count: i64) -> Request<'static> {
    request([(first + 1..first + count).fold(sample_of(name, first), |series, at| series.sample(1.0, at))])
}

fn seconds(answer: &Answer) -> u64 {
    answer.retry_after().map_or(0, |pause| pause.as_secs())
}

#[test]
fn w39_r_p17_a_tenant_above_its_rate_gets_503_by_default_or_429_and_others_notice_nothing() {
    bounded(async {
        let sink = receiver().await;
        let gateway = Setup::new()
            .listener(BY_HEADER)
            .limits("samples_per_second: 10")
            .top("tenants: [{name: strict, limits: {over_limit: reject}}, {name: free, limits: {samples_per_second: 0}}, {name: '*'}]")
            .endpoint("a", &sink)
            .start()
            .await;
        let mut expected = Vec::new();
        for (tenant, status) in [("late", StatusCode::SERVICE_UNAVAILABLE), ("strict", StatusCode::TOO_MANY_REQUESTS)] {
            // From a full bucket one request may take a minute's worth.
            let large = samples(tenant, 0, 600);
            let answer = push(&gateway, tenant, &large).await;
            assert_eq!(answer.status, 204, "{}", answer.text());
            expected.extend(points(&large));
            let answer = push(&gateway, tenant, &samples(tenant, 600, 1)).await;
            assert_eq!(answer.status, status, "{}", answer.text());
            assert_eq!(
                answer.text(),
                "the tenant's limit of 10 samples per second is reached (limits.samples_per_second); nothing of this \
                 request is stored (wg-rate)\n"
            );
            assert!((40..=76).contains(&seconds(&answer)), "{}", seconds(&answer));
            assert_eq!(answer.header("x-ratelimit-limit"), None);
            assert_eq!(written(&answer), [None; 3], "a sender must not read that something was stored");
            let refused = format!(r#"writegate_refused_samples_total{{tenant="{tenant}",reason="rate"}}"#);
            assert_eq!(gateway.metric(&refused).await, 1.0);
            let limit = format!(r#"writegate_tenant_limit{{tenant="{tenant}",limit="samples_per_second"}}"#);
            assert_eq!(gateway.metric(&limit).await, 10.0);
        }
        for round in 0..5 {
            let large = samples("free", round * 600, 600);
            assert_eq!(push(&gateway, "free", &large).await.status, 204);
            expected.extend(points(&large));
        }
        gateway.settled().await;
        assert_exactly(&sink, &expected);
        gateway.finish().await;
    });
}

#[test]
fn what_is_above_a_rate_for_a_moment_arrives_when_the_sender_comes_again() {
    bounded(async {
        let sink = receiver().await;
        let gateway = Setup::new().limits("samples_per_second: 200").endpoint("a", &sink).start().await;
        let (mut expected, mut delayed) = (Vec::new(), 0);
        for round in 0..4 {
            let batch = samples("up", round * 100, 100);
            eventually("the sender's samples are taken", || async {
                let answer = gateway.push(Protocol::V1, &batch).await;
                let taken = (answer.status == 204).then_some(());
                assert!(taken.is_some() || answer.status == 503, "{}", answer.text());
                taken
            })
            .await;
            expected.extend(points(&batch));
            delayed = gateway.metric(r#"writegate_push_requests_total{code="503"}"#).await as u64;
        }
        assert!(delayed > 0, "four hundred samples take more than a second");
        gateway.settled().await;
        assert_exactly(&sink, &expected);
        gateway.finish().await;
    });
}

#[test]
fn requests_and_bytes_have_rates_of_their_own_and_are_refused_before_the_body_is_read() {
    bounded(async {
        let gateway = Setup::new()
            .listener(BY_HEADER)
            .top(
                "tenants: [{name: chatty, limits: {requests_per_second: 1}}, {name: heavy, limits: {bytes_per_second: 1}}, {name: '*'}]",
            )
            .start()
            .await;
        let refusal = eventually("more than one request comes in a second", || async {
            let answer = push(&gateway, "chatty", &samples("up", 1, 1)).await;
            (answer.status == 503).then_some(answer)
        })
        .await;
        assert!(refusal.text().contains("limit of 1 requests per second"), "{}", refusal.text());
        assert!((1..=3).contains(&seconds(&refusal)), "{}", seconds(&refusal));

        // The first one takes all that comes in a minute or so.
        assert_eq!(push(&gateway, "heavy", &samples("up", 1, 20)).await.status, 204);
        let refusal = push(&gateway, "heavy", &samples("up", 100, 1)).await;
        assert!(refusal.status == 503 && refusal.text().contains("limit of 1 bytes per second"), "{}", refusal.text());

        // The answer comes before the body, and without a `100 Continue`.
        let mut connection = gateway.raw().await;
        let headers = raw_headers(Protocol::V1);
        let mut headers: Vec<_> = headers.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
        headers.extend([("x-scope-orgid", "heavy"), ("content-length", "1000"), ("expect", "100-continue")]);
        connection.write(&raw::head("POST", "/api/v1/write", &headers)).await.unwrap();
        assert_eq!(connection.answer(PATIENCE).await.unwrap().status, 503);

        // In chunks, which do not say how large they are.
        let mut connection = gateway.raw().await;
        let headers = raw_headers(Protocol::V1);
        let mut headers: Vec<_> = headers.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
        headers.extend([("x-scope-orgid", "heavy"), ("transfer-encoding", "chunked")]);
        let body = compress(Compression::Snappy, &encode(Protocol::V1, &samples("up", 200, 1)));
        connection.write(&raw::head("POST", "/api/v1/write", &headers)).await.unwrap();
        connection.write(&raw::chunked(&body, 7)).await.unwrap();
        assert_eq!(connection.answer(PATIENCE).await.unwrap().status, 503);
        gateway.finish().await;
    });
}

#[test]
fn r_o18_rate_limits_by_path_answer_429_and_tell_how_the_tenant_stands() {
    bounded(async {
        let sink = receiver().await;
        let rules = "rate_limits: [{endpoint: /api/metrics/v1/.+/api/v1/receive, limit: 3, window: 1h}]";
        let gateway = Setup::new().limits(rules).endpoint("a", &sink).start().await;
        let path = "/api/metrics/v1/default/api/v1/receive";
        let push_at = async |path: &str, timestamp| {
            let request = request([sample_of("up", timestamp)]);
            let body = compress(Compression::Snappy, &encode(Protocol::V1, &request));
            gateway.sender_at(path).push(Protocol::V1, Compression::Snappy, body).await.unwrap()
        };
        let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_secs();
        for left in [2, 1, 0] {
            let answer = push_at(path, left).await;
            assert_eq!(answer.status, 204, "{}", answer.text());
            assert_eq!(answer.header("x-ratelimit-limit"), Some("3"));
            assert_eq!(answer.header("x-ratelimit-remaining"), Some(left.to_string().as_str()));
            let reset: u64 = answer.header("x-ratelimit-reset").unwrap().parse().unwrap();
            assert!((now..=now + 3_700).contains(&reset), "{reset}, now {now}");
        }
        let answer = push_at(path, 9).await;
        assert_eq!(answer.status, 429, "{}", answer.text());
        assert!(answer.text().contains("limit of 3 requests in 3600s on this path"), "{}", answer.text());
        assert_eq!(answer.header("x-ratelimit-remaining"), Some("0"));
        assert!((1..=76).contains(&seconds(&answer)), "an hour would stop the sender for an hour");
        // Another path is none of this rule's.
        assert_eq!(push_at("/api/v1/write", 10).await.status, 204);
        gateway.settled().await;
        assert_eq!(gateway.metric(r#"writegate_push_refusals_total{reason="rate"}"#).await, 1.0);
        assert_eq!(gateway.metric(r#"writegate_push_requests_total{code="429"}"#).await, 1.0);
        gateway.finish().await;
    });
}

#[test]
fn above_its_active_series_a_tenant_keeps_those_it_has_and_new_ones_are_refused_each() {
    bounded(async {
        let sink = receiver().await;
        let gateway = Setup::new()
            .listener(BY_HEADER)
            .top("tenants: [{name: small, limits: {active_series: 2}}, {name: '*'}]")
            .endpoint("a", &sink)
            .start()
            .await;
        let first = request([sample_of("one", 1), sample_of("two", 1)]);
        assert_eq!(push(&gateway, "small", &first).await.status, 204);
        // Known ones go on, whatever comes beside them.
        let second = request([sample_of("one", 2), sample_of("three", 2), sample_of("two", 2)]);
        let answer = push(&gateway, "small", &second).await;
        assert_eq!(answer.status, 400);
        assert_eq!(
            answer.text(),
            "1 of 3 series refused; first: three{job=\"test\"}: a new series, and the tenant has its 2 active series; the rest, if any, \
             is stored (wg-invalid-series)\n"
        );
        assert_eq!(written(&answer), [Some(2), Some(0), Some(0)]);
        let zstd = compress(Compression::Zstd, &encode(Protocol::V1, &request([sample_of("three", 3)])));
        let answer = sender(&gateway, "small").push(Protocol::V1, Compression::Zstd, zstd).await.unwrap();
        assert_eq!(answer.status, 409, "a 400 would make vmagent give up zstd: {}", answer.text());
        assert_eq!(push(&gateway, "other", &request([sample_of("three", 4)])).await.status, 204);

        let refused = r#"writegate_refused_samples_total{tenant="small",reason="active_series"}"#;
        assert_eq!(gateway.metric(refused).await, 2.0);
        assert_eq!(gateway.metric(r#"writegate_active_series{tenant="small"}"#).await, 2.0);
        assert_eq!(gateway.metric(r#"writegate_active_series{tenant="other"}"#).await, 1.0);
        gateway.settled().await;
        let kept = request([sample_of("one", 2), sample_of("two", 2), sample_of("three", 4)]);
        assert_exactly(&sink, &[points(&first), points(&kept)].concat());
        gateway.finish().await;
    });
}

#[test]
fn a_request_that_is_refused_for_its_rate_leaves_no_active_series_and_status_says_which_limit_it_was() {
    bounded(async {
        let gateway = Setup::new().limits("samples_per_second: 10, active_series: 3").start().await;
        gateway.accept(Protocol::V1, &samples("one", 0, 600)).await;
        for _ in 0..3 {
            let new = request([sample_of("two", 1), sample_of("three", 1), sample_of("four", 1)]);
            assert_eq!(gateway.push(Protocol::V1, &new).await.status, 503);
        }
        assert_eq!(gateway.metric(r#"writegate_active_series{tenant="default"}"#).await, 1.0);
        let limited = r#"writegate_limited_requests_total{tenant="default",limit="samples_per_second"}"#;
        assert_eq!(gateway.metric(limited).await, 3.0);
        let ran = run(&["status", "--reasons", "--admin", &gateway.admin_url()]).await;
        assert_eq!(ran.code, 0, "{ran:?}");
        let words = ran.out.split_whitespace().collect::<Vec<_>>().join(" ");
        assert!(words.contains("default limits.samples_per_second 3"), "{}", ran.out);
        assert!(words.contains("default - refused rate 9"), "{}", ran.out);
        gateway.finish().await;
    });
}

#[test]
fn a_refusal_that_comes_before_the_body_is_read_leaves_the_connection_open() {
    bounded(async {
        let gateway = Setup::new()
            .top("tenants: [{name: default, credentials: [{bearer_token: right}]}]")
            .listener("max_connections: 10")
            .start()
            .await;
        let mut connection = gateway.raw().await;
        for (token, status) in [("Bearer wrong", 401), ("Bearer right", 400), ("Bearer wrong", 401)] {
            let headers = raw_headers(Protocol::V1);
            let mut headers: Vec<_> = headers.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
            headers.push(("authorization", token));
            connection.write(&raw::request("POST", "/api/v1/write", &headers, &[0xff; 300_000])).await.unwrap();
            assert_eq!(connection.answer(PATIENCE).await.unwrap().status, status, "{token}");
        }
        gateway.finish().await;
    });
}

#[test]
fn limits_change_at_a_reload_and_what_was_counted_stays() {
    bounded(async {
        let setup = |limits: &str| Setup::new().limits(limits);
        let mut gateway = setup("active_series: 1, label_names: 3").start().await;
        gateway.accept(Protocol::V1, &request([sample_of("one", 1)])).await;
        assert_eq!(gateway.push(Protocol::V1, &request([sample_of("two", 1)])).await.status, 400);
        gateway.reload(setup("active_series: 2, samples_per_second: 10")).await;
        assert_eq!(
            gateway.push(Protocol::V1, &request([sample_of("two", 2), sample_of("three", 2)])).await.status,
            400
        );
        // The rate holds from here on: the bucket was full, and has a minute's debt now.
        let large = eventually("a second has passed", || async {
            (gateway.push(Protocol::V1, &samples("one", 2, 600)).await.status == 204).then_some(())
        });
        large.await;
        assert_eq!(gateway.push(Protocol::V1, &samples("one", 1_000, 1)).await.status, 503);
        gateway.reload(setup("active_series: 0")).await;
        gateway.accept(Protocol::V1, &request([sample_of("three", 3), sample_of("one", 1_000)])).await;
        gateway.finish().await;
    });
}

#[test]
fn r_s4_a_tenant_that_fills_the_memory_for_requests_does_not_keep_others_out() {
    bounded(async {
        let gateway =
            Setup::new().listener(BY_HEADER).limits("in_flight_bytes: 1MiB, request_bytes: 1MiB").start().await;
        assert_eq!(push(&gateway, "greedy", &samples("up", 1, 1)).await.status, 204);
        assert_eq!(push(&gateway, "modest", &samples("up", 1, 1)).await.status, 204);
        // Requests of one tenant whose bodies do not end, until no more are taken.
        let begin = async || {
            let mut connection: RawConnection = gateway.raw().await;
            let headers = raw_headers(Protocol::V1);
            let mut headers: Vec<_> = headers.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
            headers.extend([("x-scope-orgid", "greedy"), ("content-length", "1000000")]);
            connection.write(&raw::head("POST", "/api/v1/write", &headers)).await.unwrap();
            connection.write(&vec![0; 200_000]).await.unwrap();
            connection
        };
        let hanging = RefCell::new(Vec::new());
        eventually("the greedy tenant holds nearly all there is", || async {
            let held = gateway.metric(r#"writegate_receiving_bytes{tenant="greedy"}"#).await;
            if held < 700_000.0 {
                let connection = begin().await;
                hanging.borrow_mut().push(connection);
            }
            (held >= 700_000.0).then_some(())
        })
        .await;
        let noise: Vec<u8> = (0..200_000).map(|_| fastrand::u8(..)).collect();
        let answer = sender(&gateway, "greedy").push(Protocol::V1, Compression::Snappy, noise.into()).await.unwrap();
        assert_eq!(answer.status, 503, "{}", answer.text());
        for at in 3..20 {
            let answer = push(&gateway, "modest", &samples("up", at, 1)).await;
            assert_eq!(answer.status, 204, "{}", answer.text());
        }
        drop(hanging);
        gateway.finish().await;
    });
}

#[test]
fn r_x27_connections_of_one_address_and_of_one_tenant_are_bounded_and_others_go_on() {
    bounded(async {
        let gateway = Setup::new()
            .listener(&format!("{BY_HEADER}, max_connections_per_ip: 3"))
            .top("tenants: [{name: small, limits: {connections: 1}}, {name: '*'}]")
            .start()
            .await;
        let body = compress(Compression::Snappy, &encode(Protocol::V1, &request([sample_of("up", 1)])));
        let exchange = async |connection: &mut RawConnection, tenant: &str| {
            let headers = raw_headers(Protocol::V1);
            let mut headers: Vec<_> = headers.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
            headers.push(("x-scope-orgid", tenant));
            connection.write(&raw::request("POST", "/api/v1/write", &headers, &body)).await.unwrap();
            connection.answer(PATIENCE).await.unwrap()
        };
        let mut first = gateway.raw().await;
        for _ in 0..3 {
            assert_eq!(exchange(&mut first, "small").await.status, 204);
        }
        let mut second = gateway.raw().await;
        let answer = exchange(&mut second, "small").await;
        assert_eq!(answer.status, 503);
        assert!(answer.text().contains("limit of 1 connections"), "{}", answer.text());
        assert_eq!(answer.header("connection"), Some("close"));
        assert_eq!(gateway.metric(r#"writegate_tenant_connections{tenant="small"}"#).await, 1.0);
        // A connection is the tenant's that speaks on it.
        let mut third = gateway.raw().await;
        for tenant in ["other", "other", "another"] {
            assert_eq!(exchange(&mut third, tenant).await.status, 204);
        }
        drop((first, second));
        let small = eventually("the first connection's place is free", || async {
            let mut connection = RawConnection::open(gateway.address()).await.ok()?;
            (exchange(&mut connection, "small").await.status == 204).then_some(connection)
        })
        .await;

        // Two are open; with a third one the address has all it may have.
        let mut last = gateway.raw().await;
        assert_eq!(exchange(&mut last, "other").await.status, 204);
        let mut refused = gateway.raw().await;
        assert!(refused.closes(PATIENCE).await, "without a word");
        assert_eq!(gateway.metric(r#"writegate_closed_connections_total{reason="too_many"}"#).await, 1.0);
        assert_eq!(exchange(&mut third, "other").await.status, 204);
        drop((small, last));
        gateway.finish().await;
    });
}

#[test]
fn r_x23_query_arguments_stay_here_and_account_labels_are_the_gateways_to_give() {
    bounded(async {
        let sink = receiver().await;
        let gateway = Setup::new()
            .top("tenants: [{name: default, external_labels: {vm_account_id: '12'}}, {name: '*'}]")
            .endpoint("a", &sink)
            .start()
            .await;
        let sent =
            request([series(&[("__name__", "up"), ("vm_account_id", "7"), ("vm_project_id", "9")]).sample(1.0, 1)]);
        let body = compress(Compression::Snappy, &encode(Protocol::V1, &sent));
        let sender = gateway.sender_at("/api/v1/write?extra_label=stolen=1&extra_filters=x");
        assert_eq!(sender.push(Protocol::V1, Compression::Snappy, body).await.unwrap().status, 204);
        gateway.settled().await;
        assert_exactly(
            &sink,
            &points(&request([series(&[("__name__", "up"), ("vm_account_id", "12")]).sample(1.0, 1)])),
        );
        for request in sink.requests() {
            assert_eq!(request.path, "/api/v1/write");
        }
        gateway.finish().await;
    });
}

#[test]
fn connections_of_a_tenant_count_before_it_has_stored_anything() {
    bounded(async {
        let gateway = Setup::new().listener(BY_HEADER).limits("connections: 1").start().await;
        let nothing = compress(Compression::Snappy, &encode(Protocol::V1, &request([])));
        let headers = raw_headers(Protocol::V1);
        let mut headers: Vec<_> = headers.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
        headers.push(("x-scope-orgid", "unborn"));
        let push = raw::request("POST", "/api/v1/write", &headers, &nothing);
        let (mut first, mut second) = (gateway.raw().await, gateway.raw().await);
        first.write(&push).await.unwrap();
        assert_eq!(first.answer(PATIENCE).await.unwrap().status, 204);
        second.write(&push).await.unwrap();
        assert_eq!(second.answer(PATIENCE).await.unwrap().status, 503);
        // It is born with what was counted.
        assert_eq!(push_on(&mut first, "unborn").await, 204);
        assert_eq!(push_on(&mut gateway.raw().await, "unborn").await, 503);
        gateway.finish().await;
    });
}

/// Pushes a sample; the status.
async fn push_on(connection: &mut RawConnection, tenant: &str) -> u16 {
    let headers = raw_headers(Protocol::V1);
    let mut headers: Vec<_> = headers.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
    headers.push(("x-scope-orgid", tenant));
    let body = compress(Compression::Snappy, &encode(Protocol::V1, &request([sample_of("up", 1)])));
    connection.write(&raw::request("POST", "/api/v1/write", &headers, &body)).await.unwrap();
    connection.answer(PATIENCE).await.unwrap().status.as_u16()
}
