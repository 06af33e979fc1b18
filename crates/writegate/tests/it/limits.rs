//! Limits, and what is sent to break them: each refused with its reason, none at the cost of memory or of others.

use bytes::Bytes;
use remote_write::{Compression, Protocol};
use testkit::endpoint::{EndpointSettings, Keep};
use testkit::load::{Load, Timestamps};
use testkit::raw::{self, RawConnection};
use testkit::sender::push_headers;
use testkit::workload::{Workload, WorkloadSettings};

use crate::harness::{
    PATIENCE, Program, Setup, assert_exactly, bounded, compress, raw_headers, receiver, receiver_that,
};
use crate::message::{With, encode, points, request, sample_of, series};

#[test]
fn w30_each_limit_is_a_400_that_names_it_and_the_next_request_succeeds() {
    bounded(async {
        let sink = receiver().await;
        let limits = "request_bytes: 2KiB, decoded_bytes: 8KiB, label_names: 4, label_value_bytes: 64";
        let gateway = Setup::new().limits(limits).endpoint("a", &sink).start().await;
        let random: Vec<u8> = (0..4_096).map(|_| fastrand::u8(..)).collect();
        let long = "v".repeat(65);
        let many = series(&[("__name__", "up"), ("a", "1"), ("b", "2"), ("c", "3"), ("d", "4")]).sample(1.0, 1);
        let snappy = |raw: &[u8]| compress(Compression::Snappy, raw);
        let v1 = |series| snappy(&encode(Protocol::V1, &request([series])));
        let cases = [
            ("request_bytes", Bytes::from(random)),
            ("decoded_bytes", snappy(&[0; 16_384])),
            ("label", v1(many)),
            ("label", v1(series(&[("__name__", "up"), ("job", &long)]).sample(1.0, 1))),
        ];
        let sender = gateway.sender();
        let mut connection = sender.connect().await.unwrap();
        let headers = push_headers(Protocol::V1, Compression::Snappy);
        let mut expected = Vec::new();
        for (timestamp, (named, body)) in (0..).zip(cases) {
            let post = http::Method::POST;
            let answer = sender.exchange(&mut connection, post.clone(), headers.clone(), body).await.unwrap();
            assert_eq!(answer.status, 400, "{named}: {}", answer.text());
            assert!(answer.text().contains(named), "{named}: {}", answer.text());
            let good = request([sample_of("good", timestamp)]);
            let body = snappy(&encode(Protocol::V1, &good));
            let answer = sender.exchange(&mut connection, post, headers.clone(), body).await.unwrap();
            assert_eq!(answer.status, 204, "after {named}: {}", answer.text());
            expected.extend(points(&good));
        }
        gateway.settled().await;
        assert_exactly(&sink, &expected);
        let refused = r#"writegate_refused_samples_total{tenant="default",reason="label_limit"}"#;
        assert_eq!(gateway.metric(refused).await, 2.0);
        gateway.finish().await;
    });
}

/// 64 frames of 16 MiB of zeros: 1 GiB, a few tens of kilobytes packed.
fn zstd_bomb() -> Bytes {
    compress(Compression::Zstd, &vec![0; 16 << 20]).repeat(64).into()
}

/// Ten bytes that declare 4 GiB less one.
const SNAPPY_LIE: &[u8] = b"\xff\xff\xff\xff\x0f\x00aaaa";

async fn assert_refused(program: &Program, what: &str, compression: Compression, body: Bytes) {
    let answer = program.sender().push(Protocol::V1, compression, body).await.unwrap();
    assert_eq!(answer.status, 400, "{what}: {}", answer.text());
    assert!(!answer.text().trim().is_empty(), "{what}");
}

/// Pushes rounds of ordinary requests while hostile bodies arrive, and expects that nobody else notices.
#[test]
fn w31_r_o19_hostile_bodies_are_refused_in_bounded_memory_while_another_sender_goes_on() {
    bounded(async {
        let sink = receiver_that(EndpointSettings::default()).await;
        let keys = "tenant: default, timeouts: {body: 2s}";
        let program =
            Setup::new().listener(keys).limits("decoded_bytes: 32MiB").endpoint("a", &sink).start_program().await;
        let settings = WorkloadSettings { series: 400, series_per_request: 100, ..WorkloadSettings::default() };
        let mut load = Load::new(Workload::new(settings).into(), 0);
        load.rounds = None;
        load.rate = Some(4_000.0);
        let neighbour = program.sender().start(&load);
        sink.wait_until(PATIENCE, |stats| stats.taken_requests >= 4).await.unwrap();
        let before = program.peak_memory();

        // A body that never comes, beside all that follows: cut in the end, without an answer.
        let mut slow = RawConnection::open(program.address()).await.unwrap();
        let headers = raw_headers(Protocol::V1);
        let mut headers: Vec<_> = headers.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
        headers.push(("content-length", "100000"));
        slow.write(&raw::head("POST", "/api/v1/write", &headers)).await.unwrap();
        slow.write(b"a little").await.unwrap();

        assert_refused(&program, "10 bytes declaring 4 GiB", Compression::Snappy, SNAPPY_LIE.into()).await;
        let growth = program.peak_memory().saturating_sub(before);
        assert!(growth < 16 << 20, "a lie of ten bytes took {growth} bytes of memory");
        assert_refused(&program, "1 GiB of zeros", Compression::Zstd, zstd_bomb()).await;
        let garbage: Vec<u8> =
            (0..100_u32 << 18).flat_map(|number| number.wrapping_mul(2_654_435_761).to_le_bytes()).collect();
        assert_refused(&program, "100 MiB of garbage", Compression::Snappy, garbage.into()).await;
        assert!(slow.answer(PATIENCE).await.is_err(), "a body that does not come is cut without an answer");
        let growth = program.peak_memory().saturating_sub(before);
        assert!(
            growth < 96 << 20,
            "hostile bodies took {growth} bytes of memory; one may take request or decoded bytes"
        );

        let report = neighbour.stop().await;
        assert_eq!((report.failures, report.refused.len(), report.unanswered.len()), (0, 0, 0), "{report:?}");
        assert!(report.statuses.keys().eq([&204]), "{:?}", report.statuses);
        program.settled().await;
        sink.ledger(|ledger| assert_eq!(ledger.missing(load.workload.points(report.acknowledged)), []));
        program.terminate().await;
    });
}

#[test]
fn r_x14_a_request_of_150_000_samples_and_50_mib_is_accepted_by_default_and_the_limit_can_be_set() {
    bounded(async {
        let settings = WorkloadSettings { series: 150_000, series_per_request: 150_000, ..WorkloadSettings::default() };
        let load = Load::new(Workload::new(settings).into(), 1);
        assert!(load.workload.template(0).len() >= 48 << 20, "about 50 MiB decoded");

        let sink = receiver_that(EndpointSettings::default()).await;
        let program = Setup::new().endpoint("a", &sink).start_program().await;
        // A program without optimisation on a busy machine may answer that four seconds were not enough: senders repeat.
        let report = program.sender().run(&load).await;
        assert_eq!((report.sent.samples, report.refused.len()), (150_000, 0), "{report:?}");
        program.settled().await;
        sink.ledger(|ledger| assert_eq!(ledger.missing(load.workload.points(report.acknowledged)), []));
        assert!(sink.stats().taken_requests >= 15, "it is cut into requests of at most 10,000 samples");
        // The body, what it unpacks to, and what is made of it for the endpoint.
        assert!(program.peak_memory() < 256 << 20, "{} bytes of memory", program.peak_memory());
        program.terminate().await;

        let program = Setup::new().limits("decoded_bytes: 40MiB").endpoint("a", &sink).start_program().await;
        let report = program.sender().run(&load).await;
        assert_eq!(report.refused.len(), 1, "{report:?}");
        assert_eq!(report.refused[0].1, 400);
        program.terminate().await;
    });
}

#[test]
fn r_x15_every_acknowledgement_comes_within_four_seconds_and_nearly_all_within_one() {
    bounded(async {
        let sink = receiver_that(EndpointSettings { keep: Keep::Counts, ..EndpointSettings::default() }).await;
        let program = Setup::new().endpoint("a", &sink).start_program().await;
        let settings = WorkloadSettings { series: 4_000, series_per_request: 500, ..WorkloadSettings::default() };
        let mut load = Load::new(Workload::new(settings).into(), 5);
        load.connections = 4;
        load.rate = Some(10_000.0);
        load.timestamps = Timestamps::Steps { first: 1_000, step: 1_000 };
        let report = program.sender().run(&load).await;
        assert_eq!(report.sent.samples, 20_000, "{report:?}");
        let (p99, longest) = (report.latencies.quantile(0.99), report.latencies.max());
        assert!(p99.as_secs_f64() < 1.0 && longest.as_secs_f64() < 4.0, "p99 {p99:?}, longest {longest:?}");
        program.settled().await;
        program.terminate().await;
    });
}
