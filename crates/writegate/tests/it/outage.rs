//! An endpoint that is down for the whole run: nobody else notices, and in the end it has everything in order.

use std::time::Duration;

use remote_write::Protocol;
use testkit::endpoint::{Endpoint, EndpointSettings, Reply};
use testkit::load::{Load, Report, Timestamps};
use testkit::workload::{Workload, WorkloadSettings};

use crate::harness::{PATIENCE, Program, Setup, assert_exactly, bounded, receiver_that};
use crate::message::{points, request, sample_of};

const ROUNDS: u32 = 10;

fn load() -> Load {
    let settings = WorkloadSettings { series: 4_000, series_per_request: 500, ..WorkloadSettings::default() };
    let mut load = Load::new(Workload::new(settings).into(), ROUNDS);
    load.connections = 2;
    load.rate = Some(40_000.0);
    load.timestamps = Timestamps::Steps { first: 1_000, step: 1_000 };
    load
}

async fn two_endpoints() -> (Endpoint, Endpoint, Program) {
    let (a, b) = (receiver_that(EndpointSettings::default()).await, receiver_that(EndpointSettings::default()).await);
    let program = Setup::new().endpoint("a", &a).endpoint("b", &b).start_program().await;
    (a, b, program)
}

fn assert_complete(endpoint: &Endpoint, load: &Load, report: &Report) {
    endpoint.ledger(|ledger| {
        assert_eq!(ledger.missing(load.workload.points(report.acknowledged.iter().copied())), []);
        assert_eq!(ledger.out_of_order(), []);
    });
}

#[test]
fn w61_an_endpoint_that_is_down_changes_neither_answers_nor_memory_nor_the_others() {
    bounded(async {
        let load = load();
        let (a, b, program) = two_endpoints().await;
        let usual = program.sender().run(&load).await;
        program.settled().await;
        let usual_memory = program.peak_memory();
        assert_complete(&a, &load, &usual);
        assert_complete(&b, &load, &usual);
        program.terminate().await;

        let (a, b, program) = two_endpoints().await;
        a.stop().await;
        let report = program.sender().run(&load).await;
        assert_eq!(report.acknowledged.len(), usual.acknowledged.len(), "{report:?}");
        assert_eq!((report.failures, report.statuses.len()), (0, 1), "{report:?}");
        b.wait_until(PATIENCE, |stats| stats.taken.samples >= report.sent.samples).await.unwrap();
        assert_complete(&b, &load, &report);
        let memory = program.peak_memory();
        assert!(memory < usual_memory + (16 << 20), "{memory} bytes of memory, {usual_memory} without the outage");
        // The machine has more to do than this test, so only what no busy neighbour explains is a failure.
        let (p99, usual_p99) = (report.latencies.quantile(0.99), usual.latencies.quantile(0.99));
        let allowance = usual_p99 * 4 + Duration::from_millis(250);
        assert!(p99 < allowance, "acknowledged after {p99:?}, {usual_p99:?} without the outage");
        assert_eq!(a.stats().taken.samples, 0);

        a.start().await.unwrap();
        a.wait_until(PATIENCE, |stats| stats.taken.samples >= report.sent.samples).await.unwrap();
        assert_complete(&a, &load, &report);
        let rows = program.settled().await;
        assert!(rows.iter().all(|row| row.samples.delivered == report.sent.samples), "{rows:?}");
        program.terminate().await;
    });
}

/// An outage is as long as it seems: what the gateway does only after a minute of 5xx it does here at once.
#[test]
fn r_p16_senders_get_2xx_while_the_endpoint_answers_5xx_or_is_gone_and_in_the_end_no_sample_is_missing() {
    bounded(async {
        let sink = receiver_that(EndpointSettings::default()).await;
        let setup = Setup::new().poison_after(Duration::ZERO).endpoint("a", &sink);
        let gateway = setup.start().await;
        let mut expected = Vec::new();
        let mut push = async |first: i64| {
            for timestamp in first..first + 40 {
                let sent = request([sample_of("up", timestamp), sample_of("down", timestamp)]);
                gateway.accept(Protocol::V1, &sent).await;
                expected.extend(points(&sent));
            }
        };
        push(0).await;
        for (round, status) in (1..).zip([500, 502, 503, 504]) {
            sink.answer_with(move |_| Reply::status(status).text("out of order"));
            let refused = sink.stats().requests + 3;
            push(round * 100).await;
            sink.wait_until(PATIENCE, |stats| stats.requests >= refused).await.unwrap();
        }
        sink.stop().await;
        push(1_000).await;
        sink.recover();
        sink.start().await.unwrap();
        push(2_000).await;
        gateway.settled().await;
        assert_exactly(&sink, &expected);
        let row = gateway.ledger("default", "a").await;
        assert_eq!((row.samples.delivered, row.samples.dead_lettered.len()), (expected.len() as u64, 0), "{row:?}");
        gateway.finish().await;
    });
}
